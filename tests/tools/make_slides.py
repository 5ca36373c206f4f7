"""Make slides of notebooks that work without a network: build/slides/NAME.slides.html, with all they load in lib/.

reveal.js and MathJax are fetched once, by npm, in the versions of slides/package-lock.json. The code of a cell
tagged `hide-code` is left out, and so are widgets: each has a figure beside it. A slide begins where the notebook says
so (slide_type), at each heading of a section, and where the one before is full.
"""

import argparse
import base64
import re
import shutil
import struct
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
FULL = 800  # pixels; a slide has 720, and what is a little too tall is drawn a little smaller (slides.js)
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
    cells = [part for cell in notebook.cells for part in parts(cell)]
    used = 0
    for cell in cells:
        place = cell.metadata.slideshow
        if place.slide_type in ("skip", "notes"):
            continue
        if place.slide_type == "-" and used + height(cell) > FULL:
            place.slide_type = "subslide"
        used = height(cell) + (used if place.slide_type == "-" else 0)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
    config = Config()
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = (HIDE,)
    paths = dict(reveal_url_prefix="lib/reveal", extra_template_basedirs=[str(SLIDES)], template_name="course")
    html, _ = SlidesExporter(config=config, reveal_theme="white", **paths).from_notebook_node(notebook)
    return html.replace("lib/reveal/dist/", "lib/reveal/")


def parts(cell):
    """Cut a cell into what may stand on different slides: text at its headings, code, and each of its outputs."""
    kind = cell.metadata.get("slideshow", {}).get("slide_type", "-")
    if cell.cell_type == "markdown":
        lines = [line for line in cell.source.splitlines() if not line.startswith("[![Open In Colab]")]
        source = re.sub(r"\]\(([\w.]+)\.ipynb\)", r"](\1.slides.html)", "\n".join(lines)).strip("\n")
        texts = [text for text in re.split(r"^(?=##)", source, flags=re.MULTILINE) if text.strip()]
        # What stands before a heading still belongs to the slide before.
        first = "-" if kind == "slide" and len(texts) > 1 and not texts[0].startswith("#") else kind
        kinds = [first] + ["slide" if text.startswith("## ") else "-" for text in texts[1:]]
        new = [nbformat.v4.new_markdown_cell(text) for text in texts]
    else:
        tags = cell.metadata.get("tags", [])
        shown = joined(output for output in cell.outputs if WIDGET not in output.get("data", {}))
        numbered = dict(execution_count=cell.execution_count)
        lines = [line for line in cell.source.splitlines() if not line.strip().startswith(MARKS)]
        new = [] if HIDE in tags else [nbformat.v4.new_code_cell("\n".join(lines), **numbered)]
        new += [nbformat.v4.new_code_cell(outputs=[o], metadata={"tags": [HIDE]}, **numbered) for o in shown]
        kinds = [kind, *["-"] * len(new)]
    for part, kind_of_part in zip(new, kinds):
        part.metadata["slideshow"] = nbformat.from_dict({"slide_type": kind if kind == "skip" else kind_of_part})
    return new


def joined(outputs):
    """Return outputs with what was printed bit by bit as one."""
    together = []
    for output in outputs:
        if output.output_type == "stream" and together and together[-1].output_type == "stream":
            together[-1] = nbformat.v4.new_output("stream", text=together[-1].text + output.text)
        else:
            together.append(output)
    return together


def height(cell):
    """Return about how many pixels of a slide a part needs, where FULL are too many."""
    if cell.cell_type == "markdown":
        visible = re.sub(r"</summary>.*?</details>", "", cell.source, flags=re.DOTALL)
        return sum(34 * (1 + len(line) // 105) for line in visible.splitlines() if line.strip()) + 20
    pixels = 22 * len(cell.source.splitlines())
    for output in cell.outputs:
        picture = output.get("data", {}).get("image/png")
        if picture:  # width and height stand at fixed places of a PNG file
            wide, high = struct.unpack(">II", base64.b64decode(picture[:64])[16:24])
            pixels += high * min(1.3, 1280 / wide)
        else:
            pixels += 22 * len(str(output.get("text", "")).splitlines())
    return pixels + 20


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
        target.write_text(deck(nbformat.read(path, as_version=4)), encoding="utf-8")
        print(target)
    print("open one in a browser: F shows it full screen, the space bar goes to the next slide, S shows the notes")


if __name__ == "__main__":
    sys.exit(main())
