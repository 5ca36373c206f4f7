"""The notebook guard: run once, top to bottom, without errors or warnings, no widget state, not too large.

`python tests/tools/check_notebooks.py [NOTEBOOK ...]`: pre-commit calls it with those that are committed, without
names it checks all; tests/project/test_notebooks.py asks the same.
"""

import re
import sys
from pathlib import Path

import nbformat

LARGEST = 2_500_000  # bytes; larger ones are slow to open, and no longer shown on GitHub
SECONDS = re.compile(r"\d (s|ms|min|seconds|minutes)\b")
RUN = "run it once, top to bottom (make notebooks)"


def problems(path):
    """Return what is wrong with a notebook, in sentences; none if it may be committed."""
    path = Path(path)
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # no JSON, no notebook, or one of another version
        reason = str(error).strip().split("\n")[0]
        return [f"it is not a valid notebook: {reason}"]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    checked = [cell for cell in cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    printed = "".join(output.get("text", "") for cell in checked for output in cell.outputs)
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    found = {
        f"its cells were not run in order: {RUN}": [c.execution_count for c in cells] != [*range(1, len(cells) + 1)],
        f"a cell ended with an error: mend it and {RUN}": any(o.output_type == "error" for o in outputs),
        f"its outputs hold warnings (stderr): mend them and {RUN}": any(o.get("name") == "stderr" for o in outputs),
        "a cell tagged nbval-check-output prints seconds, which differ each time": SECONDS.search(printed),
        f"a figure has no alt text: {RUN}": not all(
            o.metadata.get("image/png", {}).get("alt") for o in outputs if "image/png" in o.get("data", {})
        ),
        "it has an empty code cell: remove it": any(not cell.source.strip() for cell in cells),
        "it stores the state of widgets, which breaks GitHub's view: run it by make notebooks": "widgets"
        in notebook.metadata,
        f"its kernel is {kernel!r}: it must be 'python3', which every installation has": kernel != "python3",
        f"it has {path.stat().st_size} bytes, over {LARGEST}: smaller figures (dpi, crops)": path.stat().st_size
        > LARGEST,
    }
    return [sentence for sentence, wrong in found.items() if wrong]


def main(paths):
    paths = paths or sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
    found = [f"{path}: {problem}" for path in paths for problem in problems(path)]
    print("\n".join(found) or f"{len(paths)} notebooks: nothing wrong")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
