"""The committed notebooks: executed, clean, small enough to read, and using all of n2vlib.

That they run is tested by nbval (`pytest` collects the notebooks too, see pyproject.toml).
"""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from check_notebooks import main, problems
from conftest import REPOSITORY as ROOT

import n2vlib

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]

every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def syntax_tree(path):
    """Parse all code of a notebook, without the lines that are IPython's own (%pip)."""
    lines = "\n".join(cell.source for cell in code_cells(path)).splitlines()
    code = "\n".join(line.replace("%pip", "pass  #") for line in lines)
    return compile(code, path.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_there_are_notebooks():
    assert [path.name for path in PATHS][:1] == ["00_from_perceptron_to_unet.ipynb"]
    numbers = [path.name.split("_")[0] for path in PATHS]
    assert len(set(numbers)) == len(numbers), "the order on screen is the order of the course"


@every_notebook
def test_committed_notebook_was_run_and_renders_everywhere(path):
    assert problems(path) == []


def unrun(notebook):
    notebook.cells[1].execution_count = None


def skipped(notebook):
    for cell in notebook.cells:
        if cell.get("execution_count", 0) > 3:
            cell.execution_count += 1


def failed(notebook):
    notebook.cells[1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]


def warned(notebook):
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", name="stderr", text="a warning")]


def empty(notebook):
    notebook.cells[1].source = " "


def with_widgets(notebook):
    notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {}}}


def timed(notebook):
    notebook.cells[1].metadata["tags"] = ["nbval-check-output"]
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="stage 1 ... 4 s\n")]


def other_kernel(notebook):
    notebook.metadata.kernelspec.name = "my_environment"


def large(notebook):
    notebook.cells[0].source += "x" * 2_500_000


def described(notebook, alt="What the figure shows."):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.metadata["image/png"] = {"alt": alt} if alt else {}


def undescribed(notebook):
    described(notebook, alt="")


@pytest.mark.parametrize(
    "damage, word",
    [
        (undescribed, "no alt text"),
        (unrun, "not run in order"),
        (skipped, "not run in order"),
        (failed, "ended with an error"),
        (warned, "warnings"),
        (empty, "empty code cell"),
        (with_widgets, "state of widgets"),
        (timed, "prints seconds"),
        (other_kernel, "my_environment"),
        (large, "bytes, over"),
    ],
)
def test_the_guard_refuses(damage, word, tmp_path, capsys):
    notebook = read(PATHS[0])
    described(notebook)
    damage(notebook)
    nbformat.write(notebook, tmp_path / "x.ipynb")
    assert main([tmp_path / "x.ipynb"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{tmp_path / 'x.ipynb'}: ") and word in line


def test_the_guard_refuses_what_is_no_notebook(tmp_path, capsys):
    (tmp_path / "x.ipynb").write_text("<<<<<<< half a merge")
    assert main([tmp_path / "x.ipynb"]) == 1 and "not a valid notebook" in capsys.readouterr().out


def test_running_a_notebook_prints_what_its_cells_print_and_no_warning(tmp_path):
    cells = [nbformat.v4.new_code_cell("print('hello')")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "x.ipynb")
    command = [sys.executable, ROOT / "tests" / "tools" / "run_notebook.py", "x.ipynb", "--output", "executed"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "hello" in done.stdout and done.stderr == ""


@every_notebook
def test_notebook_can_be_read_in_class(path):
    notebook = read(path)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert 20 <= len(kinds) <= 45
    assert "codecode" not in "".join(kinds), "prose between any two code cells"
    for cell in code_cells(path):
        assert len([line for line in cell.source.splitlines() if line.strip()]) <= 20, cell.source
    assert all("slide_type" in cell.metadata.get("slideshow", {}) for cell in notebook.cells)


@every_notebook
def test_notebook_opens_with_badge_goals_set_up_and_settings(path):
    title, set_up, _, settings = read(path).cells[:4]
    slug = REPOSITORY.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{slug}/blob/main/notebooks/{path.name}"
    kaggle = f"https://kaggle.com/kernels/welcome?src={REPOSITORY}/blob/main/notebooks/{path.name}"
    badges = re.findall(r"\[!\[(.*?)\]\(\S+\)\]\((\S+)\)", title.source.splitlines()[0])
    assert badges == [("Open In Colab", colab), ("Open In Kaggle", kaggle)]
    assert "You will learn" in title.source and "Time" in title.source
    assert "google.colab" in set_up.source and "KAGGLE_KERNEL_RUN_TYPE" in set_up.source
    assert f"git+{REPOSITORY}" in set_up.source
    assert "--no-deps" in set_up.source, "Colab's torch and numpy must stay as they are"
    assert "N2VLIB_MODE" in settings.source


@every_notebook
def test_notebook_ends_with_questions_and_a_line_for_feedback(path):
    cells = read(path).cells
    headings = [line for cell in cells for line in cell.source.splitlines() if line.startswith("## ")]
    assert any(re.search("questions|Exercises", heading) for heading in headings[-3:])
    (line,) = [line for line in cells[-1].source.splitlines() if line.startswith("**Feedback**")]
    assert f"({REPOSITORY}/issues/new)" in line


@every_notebook
def test_headings_are_ordered(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    headings = re.findall(r"^(#+) (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    levels = [len(marks) for marks, _ in headings]
    assert levels[0] == 1 and levels.count(1) == 1 and max(levels) <= 3
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), "no level is left out"
    numbers = [int(found[1]) for marks, name in headings if marks == "##" and (found := re.match(r"(\d+) · ", name))]
    assert numbers == [*range(1, len(numbers) + 1)]


ASKED = re.compile(r'<div class="alert alert-info"><b>Question(?: \d+)?\.</b> .+?</div>\n(.*)')
ANSWER = re.compile(r"<details><summary>Answer</summary>.{10,}?</details>")


@every_notebook
def test_each_question_has_its_answer_folded_below_it(path):
    asked = 0
    for cell in read(path).cells:
        text = cell.source if cell.cell_type == "markdown" else ""
        below = ASKED.findall(text)
        assert len(below) == text.count("<b>Question") == text.count("<summary>Answer</summary>"), text
        assert all(ANSWER.match(line) for line in below), text
        assert "Checkpoint." not in text and "TODO" not in text, text
        asked += len(below)
    assert asked >= 10


def public(module):
    """Return the names that a room, or n2vlib itself, hands on."""
    tree = ast.parse(Path(module.__file__).read_text())
    return {name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names}


ROOMS = [getattr(n2vlib, path.parent.name) for path in sorted((ROOT / "n2vlib").glob("*/__init__.py"))]


def test_every_public_name_of_the_library_is_used_by_a_notebook():
    trees = [syntax_tree(path) for path in PATHS]
    used = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {
        name.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    for room in ROOMS:
        assert public(room) - used == set()
    assert public(n2vlib) - {room.__name__.rpartition(".")[2] for room in ROOMS} <= set().union(*map(public, ROOMS))
    assert len(public(n2vlib)) - len(ROOMS) <= 25


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_function_has_an_example(room):
    functions = [getattr(room, name) for name in public(room)]
    assert [f.__name__ for f in functions if callable(f) and ">>> " not in (f.__doc__ or "")] == []


def test_no_function_of_the_library_is_dead():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "n2vlib").rglob("*.py")]
    defined = {node.name for tree in trees for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    used = set().union(*map(public, ROOMS))
    for tree in trees:
        for node in ast.walk(tree):
            used |= {node.id} if isinstance(node, ast.Name) else set()
    assert defined - used == set()


def test_no_function_is_defined_in_two_notebooks():
    seen = {}
    for path in PATHS:
        for node in ast.walk(syntax_tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                assert seen.setdefault(node.name, path) == path, f"{node.name}: move it to n2vlib"


WEB = re.compile(r"https://[a-z0-9.-]+\.[a-z]{2,}(/\S*)?")
PAPER = re.compile(r"https://(arxiv\.org/abs/\d{4}\.\d{4,5}|doi\.org/10\.\d{4,9}/\S+)")


@every_notebook
def test_links_and_references_have_the_right_form(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    text = re.sub(r"`[^`]*`|<code>.*?</code>", "", text)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "badge", text)
    links = re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", text)
    links += [(name, target) for target, name in re.findall(r'<a href="([^"]+)">([^<]+)</a>', text)]
    for name, target in links:
        if target.endswith(".ipynb") and "://" not in target:
            assert (path.parent / target).is_file(), f"{name}: no notebook {target}"
        else:
            assert WEB.fullmatch(target), f"{name}: {target}"
            if "arxiv.org" in target or "doi.org" in target:
                assert PAPER.fullmatch(target), f"{name}: {target} is no address of a paper"
    bare = re.findall(r"""(?<![("=])https?://\S+""", text)
    assert not bare, "make it a link with a name"
    (references,) = re.findall(r"\*\*References\*\* (.+)", text)
    for reference in references.rstrip(".").split(" · "):
        assert re.search(r"\b(1[89]|20)\d\d\b", reference), f"no year: {reference}"
