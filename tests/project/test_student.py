"""The student version: tasks without solutions, that runs from top to bottom and says what is still open.

That the version with solutions runs whole, its checks included, is tested by nbval with all other cells.
"""

import nbformat
import pytest
from conftest import REPOSITORY
from make_student import student_version, without_solutions
from nbclient import NotebookClient

PATHS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


def tagged(notebook):
    """Return which of task, solution, check follow each other in a notebook."""
    order = [
        [tag for tag in ("task", "solution", "check") if tag in c.metadata.get("tags", [])] for c in notebook.cells
    ]
    return [tag for tags in order for tag in tags]


def test_solution_becomes_its_placeholder():
    source = """def double(x):
    # solution begins
    # placeholder: return None  # yours
    # twice:
    return 2 * x
    # solution ends


answer = double(2)"""
    student = without_solutions(source)
    assert student == "def double(x):\n    return None  # yours\n\n\nanswer = double(2)"
    values = {}
    exec(student, values)
    assert values["answer"] is None


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        "# solution begins\nx = 1\n# solution ends",
        "# solution begins\n# placeholder: x = None\nx = 1",
        "# solution begins\n# placeholder: x = \nx = 1\n# solution ends",
        "x = 1\n# solution ends",
    ],
    ids=["no solution", "no placeholder", "no end", "placeholder is not Python", "no beginning"],
)
def test_a_solution_cell_with_a_fault_is_refused(source, refused):
    with refused(ValueError):
        without_solutions(source)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_student_version_holds_no_solutions_and_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    order = tagged(notebook)
    assert order == ["task", "solution", "check"] * (len(order) // 3)
    student = student_version(notebook)
    nbformat.validate(student)
    assert not [cell for cell in student.cells if cell.cell_type == "code" and cell.outputs]
    assert not [cell for cell in student.cells if "# solution" in cell.source or "# placeholder" in cell.source]
    assert "colab-badge" not in student.cells[0].source and "kaggle" not in student.cells[0].source
    assert len(student.cells) == len(notebook.cells)
    untouched = [a.source == b.source for a, b in zip(notebook.cells[1:], student.cells[1:])]
    assert untouched.count(False) == order.count("solution")


WITH_TASKS = [path for path in PATHS if tagged(nbformat.read(path, as_version=4))]


@pytest.mark.parametrize("path", WITH_TASKS, ids=lambda path: path.name)
def test_student_version_runs_and_each_check_says_that_its_task_is_open(path, tmp_path, monkeypatch):
    monkeypatch.setenv("N2VLIB_MODE", "smoke")
    student = student_version(nbformat.read(path, as_version=4))
    # Raises an error at the first cell that fails and is no check.
    NotebookClient(student, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    for cell in student.cells:
        errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
        if "check" in cell.metadata.get("tags", []):
            assert [error.ename for error in errors] == ["AssertionError"]
            assert "is still open" in errors[0].evalue
        else:
            assert not errors
