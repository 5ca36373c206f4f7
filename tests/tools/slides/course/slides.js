const WIDTH = 1280, HEIGHT = 720, SMALLEST = 0.6, PICTURES = Array.from({ length: 41 }, (_, n) => 2.4 - 0.05 * n), CODE = [26, 24, 22, 20, 18, 17], TEXT = [60, 54, 48, 42];

// Pictures get as large as fits, then the letters of code and printed text, of which no line may be cut off.
// What is too tall even so is drawn smaller, and if that is not enough it can be scrolled.
function fit(slide) {
  const box = slide && slide.querySelector(":scope > .fit");
  if (!box) return;
  const fits = (scale) => box.offsetHeight * scale <= HEIGHT;
  box.style.cssText = "";
  const shown = (what) => [...box.querySelectorAll(what)].filter((one) => !one.closest("aside"));  // not in the notes
  box.classList.toggle("large", !shown("img, pre").length);  // text alone may fill the slide
  for (const pixels of TEXT) {
    box.style.setProperty("--text-size", `${pixels}px`);
    if (fits(1.2)) break;
  }
  for (const factor of PICTURES) {
    for (const picture of shown("img")) picture.style.width = `${factor * picture.naturalWidth}px`;
    if (fits(1)) break;
  }
  const blocks = shown("pre");
  const cut = (block) => block.scrollWidth > block.clientWidth;
  for (const block of blocks) block.style.whiteSpace = "pre";  // measure lines that do not wrap
  for (const pixels of CODE) {
    box.style.setProperty("--jp-code-font-size", `${pixels}px`);
    if (fits(1) && !blocks.some(cut)) break;
  }
  for (const block of blocks) block.style.whiteSpace = "";
  let scale = 1;
  for (; scale > SMALLEST && !fits(scale); scale -= 0.02) {
    box.style.width = `${100 / (scale - 0.02)}%`;
    box.style.transform = `scale(${scale - 0.02})`;
  }
  slide.dataset.scale = scale.toFixed(2);
  slide.style.overflowY = fits(scale) ? "visible" : "auto";
}

function wrap(slide) {
  const box = document.createElement("div");
  box.className = "fit";
  box.append(...slide.childNodes);
  slide.append(box);
}

const leaves = [...document.querySelectorAll(".slides section")].filter((slide) => !slide.querySelector("section"));
leaves.forEach(wrap);
const settings = { width: WIDTH, height: HEIGHT, margin: 0.03, center: false, controls: false, hash: true, slideNumber: "c/t" };
const showing = Reveal.initialize({ ...settings, transition: "none", plugins: [RevealNotes] });
Promise.all([showing, MathJax.startup.promise.then(() => MathJax.typesetPromise())]).then(() => {
  const fitCurrent = () => fit(Reveal.getCurrentSlide());
  Reveal.on("slidechanged", fitCurrent);
  document.addEventListener("toggle", fitCurrent, true);  // an answer that unfolds
  fitCurrent();
  document.body.dataset.ready = "yes";
});
