"""Write the student version of all notebooks to build/student: without solutions, without outputs.

A cell tagged `solution` marks what the student is to write, and what stands there until then:

    # solution begins
    # placeholder: return None  # yours
    return 1 + 1
    # solution ends

Of this the student gets the placeholder. The next cell tagged `check` tells whether the answer is right, and
says "is still open" as long as nothing was answered; it may fail without stopping "Run All".
"""

import argparse
import ast
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
BEGIN, PLACEHOLDER, END = "# solution begins", "# placeholder: ", "# solution ends"


def without_solutions(source):
    """Return the code of a `solution` cell with the placeholders in place of the solutions.

    Raises ValueError, in one sentence, if a solution has no end or no placeholder, or if what is left is not Python.
    """
    kept, inside, placeholders = [], False, 0
    for line in source.splitlines():
        text = line.strip()
        indent = line[: len(line) - len(line.lstrip())]
        if text == BEGIN:
            if inside:
                raise ValueError(f"a second '{BEGIN}' before '{END}': {source!r}")
            inside, placeholders = True, 0
        elif text == END:
            if not inside or not placeholders:
                raise ValueError(f"'{END}' without '{BEGIN}' and '{PLACEHOLDER}...' before it: {source!r}")
            inside = False
        elif inside and text.startswith(PLACEHOLDER):
            kept.append(indent + text.removeprefix(PLACEHOLDER))
            placeholders += 1
        elif not inside:
            kept.append(line)
    if inside or kept == source.splitlines():
        raise ValueError(f"a cell tagged solution needs '{BEGIN}' and '{END}': {source!r}")
    code = "\n".join(kept)
    try:
        compile(code, "student version", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        raise ValueError(f"the placeholders are not valid Python ({error}): {code!r}") from error
    return code


def student_version(notebook):
    """Return a copy of a notebook for students: solutions replaced, checks allowed to fail, outputs gone."""
    student = nbformat.from_dict(notebook)
    for cell in student.cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            cell.source = without_solutions(cell.source)
        if "check" in tags:
            cell.metadata.tags = [*tags, "raises-exception"]
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:  # the badges lead to the notebook with the solutions
            lines = [line for line in cell.source.splitlines() if not line.startswith("[![Open In Colab]")]
            cell.source = "\n".join(lines).strip("\n")
    return student


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build" / "student", help="folder (default build/student)"
    )
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        try:
            student = student_version(notebook)
        except ValueError as error:
            sys.exit(f"{path.name}: {error}")
        nbformat.write(student, folder / path.name)
        tasks = sum("task" in cell.metadata.get("tags", []) for cell in notebook.cells)
        print(f"{folder / path.name}: {tasks} tasks")


if __name__ == "__main__":
    sys.exit(main())
