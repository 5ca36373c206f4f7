"""Make slides of notebooks that work without a network: build/slides/NAME.slides.html, with all they load in lib/.

reveal.js and MathJax are fetched once, by npm, in the versions of slides/package-lock.json. Each slide has a heading,
at most LIMIT words, and at most one picture, with the words about it; the whole text, the answers and the minutes are
in the speaker notes. Code stands on a slide only where its cell is tagged `solution` or `show-code`. Widgets are left
out: each has a figure beside it.
"""

import argparse
import dataclasses
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from make_student import BEGIN, END, PLACEHOLDER
from nbconvert.exporters import SlidesExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[2]
SLIDES = Path(__file__).resolve().parent / "slides"
WIDGET, HIDE = "application/vnd.jupyter.widget-view+json", "hide-code"
MARKS = (BEGIN, PLACEHOLDER, END)  # of the student version
LIMIT = 40  # words on a slide
SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z0-9*$`(\[])")
FOLDED = r"<details>\s*<summary>Answer</summary>(.*?)</details>"
HINT = re.compile(r"<details>.*?</details>", re.DOTALL)
QUESTION = re.compile(rf'<div class="alert alert-info">(.*?)</div>(?:\s*{FOLDED})?', re.DOTALL)
COPIED = {
    "reveal.js/dist": "reveal",
    "reveal.js/plugin/notes": "reveal/plugin/notes",
    "mathjax/es5/tex-svg-full.js": "mathjax/tex-svg-full.js",
}


def fetch(packages):
    """Fetch reveal.js and MathJax into the folder `packages`, unless they are there; RuntimeError if that fails."""
    lock = (SLIDES / "package-lock.json").read_text()
    done = packages / "fetched.json"  # written last, so that a fetch that was cut off is repeated
    if done.is_file() and done.read_text() == lock:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("no npm here: install Node.js (https://nodejs.org), once; it fetches reveal.js and MathJax")
    packages.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SLIDES / name, packages)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retry-mintimeout=1000")
    command = [npm, "ci", *quiet, "--fetch-retries=1"]
    result = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=600)
    if result.returncode:
        why = " ".join((result.stderr or result.stdout).split())[:200]
        raise RuntimeError(f"npm could not fetch reveal.js and MathJax, it needs the network this once: {why}")
    done.write_text(lock)


def copy_library(packages, folder):
    """Copy what the slides load from `packages` to folder/lib."""
    for source, target in COPIED.items():
        source, target = packages / "node_modules" / source, folder / "lib" / target
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def deck(notebook):
    """Return the slides of a notebook as HTML; its links to other notebooks lead to their slides."""
    cells = [cell for number, slide in enumerate(slides(notebook)) for cell in slide.cells(first=number == 0)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
    config = Config()
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = (HIDE,)
    paths = dict(reveal_url_prefix="lib/reveal", extra_template_basedirs=[str(SLIDES)], template_name="course")
    html, _ = SlidesExporter(config=config, reveal_theme="white", **paths).from_notebook_node(notebook)
    return html.replace("lib/reveal/dist/", "lib/reveal/")


@dataclasses.dataclass
class Slide:
    """One slide: a heading, a few words, at most one picture, what was printed, or code; the whole text is its note."""

    heading: str
    text: str = ""
    shown: list = dataclasses.field(default_factory=list)  # code cells: one with code, or with one output each
    notes: list = dataclasses.field(default_factory=list)

    @property
    def words(self):
        """The number of words that are read on the slide: code is looked at."""
        printed = [text_of(output) for cell in self.shown for output in cell.outputs]
        return sum(map(count_words, (self.heading, self.text, *printed)))

    @property
    def picture(self):
        """Whether a picture stands on the slide."""
        return any("image/png" in output.get("data", {}) for cell in self.shown for output in cell.outputs)

    @property
    def minutes(self):
        """What a lecturer needs: 130 words a minute, half a minute for a picture, code or question; in halves."""
        spoken = max(count_words("\n".join(self.notes)), self.words) / 130
        return math.ceil(2 * (spoken + 0.5 * bool(self.shown or QUESTION.search(self.text)))) / 2

    def cells(self, first):
        """Return the slide as cells of a notebook."""
        place = lambda kind: {"slideshow": {"slide_type": kind}}  # noqa: E731
        level = "#" if first else "##"
        source = f"{level} {self.heading}\n\n{self.text}"
        note = "\n\n".join([f"**{self.minutes:g} min**", *self.notes])
        shown = [nbformat.from_dict({**cell, "metadata": {**cell.metadata, **place("-")}}) for cell in self.shown]
        top = nbformat.v4.new_markdown_cell(source, metadata=place("slide"))
        return [top, *shown, nbformat.v4.new_markdown_cell(note, metadata=place("notes"))]


def slides(notebook):
    """Cut a notebook into slides: text is shortened, and whole in the notes; a picture joins the words before it."""
    made, heading, words, waiting = [], "", "", None
    for cell in notebook.cells:
        if cell.metadata.get("slideshow", {}).get("slide_type") == "skip":
            continue
        if cell.cell_type == "markdown":
            for text in pieces(cell.source):
                found = re.match(r"#+ (.+)\n?", text)
                if found:
                    heading, text, words = found[1], text[found.end() :], ""
                before = made[-1] if made and not found and made[-1].shown else None
                prose, questions = asked(text, heading)
                if re.match(r"\*\*(Footnotes|Further reading|References)\*\*", prose.strip()):  # after the questions
                    made, questions, heading = made + questions, [], "References and feedback"
                short = shortened(prose, LIMIT - count_words(heading))
                if before and count_words(short) + before.words <= LIMIT:
                    before.text = f"{before.text}\n\n{short}".strip()
                    before.notes.append(prose)
                elif prose.strip():
                    waiting, words = Slide(heading, short, notes=[prose]), short
                    made.append(waiting)
                made += questions
            continue
        beside = None  # the slide with what this cell printed or drew before
        for shown in looked_at(cell):
            picture = not shown.source and "image/png" in shown.outputs[0].get("data", {})
            slide = waiting or Slide(heading, words if picture else "", notes=[])
            slide = dataclasses.replace(slide, shown=[shown])
            added = sum(count_words(text_of(output)) for output in shown.outputs)
            if beside and picture != beside.picture and beside.words + added <= LIMIT:
                beside.shown.append(shown)  # a picture and the numbers about it
                beside = None
                continue
            if slide.words > LIMIT:  # a long print: the lecturer reads it
                if made:
                    made[-1].notes.append(f"```\n{text_of(shown.outputs[0])}\n```")
                continue
            made = [one for one in made if one is not waiting] + [slide]  # questions are asked before the picture
            waiting, beside = None, None if shown.source else slide
    kept = []
    for slide in made:
        if kept and not (slide.text.strip() or slide.shown):  # a heading alone: what stood below it is spoken
            kept[-1].notes += [f"**{slide.heading}**", *slide.notes]
        else:
            kept.append(slide)
    return kept


def pieces(source):
    """Cut text at its headings, without badges; links lead to slides."""
    lines = [line for line in source.splitlines() if not line.startswith("[![Open In")]
    text = re.sub(r"\]\(([\w.]+)\.ipynb\)", r"](\1.slides.html)", "\n".join(lines)).strip("\n")
    return [part for part in re.split(r"^(?=#)", text, flags=re.MULTILINE) if part.strip()]


def asked(text, heading):
    """Return text without its questions and folded parts, and one slide a question, the answer in its notes."""
    questions = []
    for match in QUESTION.finditer(text):
        room = LIMIT - count_words(heading)
        sentences, kept = SENTENCE.split(match[1]), []
        while sentences and count_words(" ".join([sentences[-1], *kept])) <= room:
            kept.insert(0, sentences.pop())
        said = f'<div class="alert alert-info">{" ".join(kept)}</div>'
        questions.append(Slide(heading, said, notes=[match[1], *filter(None, [match[2] and f"Answer: {match[2]}"])]))
    return QUESTION.sub("", text), questions


def shortened(prose, room):
    """Return the sentences, items, formulas and rows of tables with which text begins, of at most `room` words."""
    kept = []
    for block in re.split(r"\n\s*\n", HINT.sub("", prose).strip()):
        whole, table = block.startswith(("$$", "<")), block.startswith("|")
        lines = table or re.match(r"[-*\d]+\.? ", block) or "\n- " in block
        parts = [block] if whole else block.splitlines() if lines else SENTENCE.split(block)
        if table:  # its head says nothing without a row
            parts = ["\n".join(parts[:3]), *parts[3:]]
        fitting = []
        for part in parts:
            if count_words("\n".join([*kept, *fitting, part])) > room:
                break
            fitting.append(part)
        if fitting and not (lines and fitting[-1].startswith("**")):  # a title without its items says nothing
            kept.append(("\n" if lines or whole else " ").join(fitting))
        if len(fitting) < len(parts) and kept:
            break
    return "\n\n".join(kept)


def looked_at(cell):
    """Return what a code cell puts on slides, one cell each: code that is the point, then each picture and print."""
    tags = cell.metadata.get("tags", [])
    lines = [line for line in cell.source.splitlines() if not line.strip().startswith(MARKS)]
    code = [nbformat.v4.new_code_cell("\n".join(lines))] if {"solution", "show-code"} & set(tags) else []
    seen = [output for output in joined(cell.outputs) if "image/png" in output.get("data", {}) or text_of(output)]
    return code + [nbformat.v4.new_code_cell(outputs=[output], metadata={"tags": [HIDE]}) for output in seen]


def text_of(output):
    """Return what an output prints, nothing for pictures and widgets."""
    data = output.get("data", {})
    plain = "" if {WIDGET, "image/png"} & set(data) else data.get("text/plain", "")
    return (output.get("text", "") or plain).strip()


def count_words(text):
    """Return how many words, numbers among them, text has without formulas, tags and addresses."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$|<[^>]+>", " ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return len([word for word in text.split() if re.search(r"\w", word)])


def joined(outputs):
    """Return outputs with what was printed bit by bit as one."""
    together = []
    for output in outputs:
        if output.output_type == "stream" and together and together[-1].output_type == "stream":
            together[-1] = nbformat.v4.new_output("stream", text=together[-1].text + output.text)
        else:
            together.append(output)
    return together


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", type=Path, nargs="*", help="default: all in notebooks/")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "slides", help="folder (default build/slides)")
    arguments = parser.parse_args()
    packages = ROOT / "build" / "npm"
    try:
        fetch(packages)
    except RuntimeError as error:
        sys.exit(str(error))
    copy_library(packages, arguments.output)
    for path in arguments.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
        target = arguments.output / f"{path.stem}.slides.html"
        notebook = nbformat.read(path, as_version=4)
        target.write_text(deck(notebook), encoding="utf-8")
        made = slides(notebook)
        print(f"{target}: {len(made)} slides, {sum(slide.minutes for slide in made):g} minutes")
    print("open one in a browser: F shows it full screen, the space bar goes to the next slide, S shows the notes")


if __name__ == "__main__":
    sys.exit(main())
