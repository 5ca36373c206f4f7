"""What README.md and notebooks/README.md say: their code runs, and their tables agree with what is there."""

import dataclasses
import inspect
import re
import tomllib
import urllib.parse

import nbformat
import numpy as np
import pytest
import tifffile
import torch
from conftest import REPOSITORY as ROOT
from make_picture import noisy_photograph

import n2vlib
from n2vlib.learning.network import build_network
from n2vlib.two_stage.settings import complete_settings

README, COURSE = (ROOT / "README.md").read_text(), (ROOT / "notebooks" / "README.md").read_text()
BENCHMARKS = (ROOT / "tests" / "benchmarks" / "README.md").read_text()
NOTEBOOKS = {path.name: nbformat.read(path, as_version=4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
MINUTES = re.compile(r"^\| (\d+) to (\d+) \|", re.MULTILINE)


def section(text, title):
    """Return what stands between a heading and the next one of its level."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return found


def rows(text):
    """Return the rows of the tables of a text, each a list of its cells, without headers and rules."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    rules = [number for number, cells in enumerate(lines) if set("".join(cells)) <= set("-:")]
    return [cells for number, cells in enumerate(lines) if number not in rules and number + 1 not in rules]


@pytest.mark.parametrize("text, folder", [(README, "notebooks/"), (COURSE, "")], ids=["README", "course"])
def test_the_table_of_notebooks_agrees_with_the_folder(text, folder):
    linked = [row for row in rows(text) if ".ipynb)" in row[0]]
    assert [re.search(r"\]\((.*)\)", row[0]).group(1) for row in linked] == [folder + name for name in NOTEBOOKS]
    for row, (name, notebook) in zip(linked, NOTEBOOKS.items()):
        number, title = re.search(r"\[(\w+) (.*)\]", row[0]).groups()
        assert name.startswith(f"{number}_") and title
        minutes = re.search(r"\*\*Time\*\* (\d+ min)", notebook.cells[0].source).group(1)
        assert minutes in row, name


def test_badges_agree_with_the_address_of_the_repository():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    path = urllib.parse.urlsplit(project["urls"]["Repository"]).path
    badges = re.findall(r"\]\((https://colab\.research\.google\.com/github/[^)]*)\)", README)
    start = f"https://colab.research.google.com/github{path}/blob/main/notebooks/"
    assert badges == [start + name for name in NOTEBOOKS]


@pytest.mark.filterwarnings("ignore::UserWarning")  # so short a training makes a worse stage 2, and is told so
def test_the_code_for_your_own_images_runs(tmp_path, monkeypatch, noisy, capsys):
    monkeypatch.chdir(tmp_path)
    small = noisy[:64, :64].astype(np.float32)
    tifffile.imwrite("my_image.tif", small)
    tifffile.imwrite("hyperstack.tiff", np.stack([small, small])[:, None], imagej=True, metadata={"axes": "TCYX"})
    (tmp_path / "my_folder").mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / "my_folder" / f"{name}.tif", small)
    (code,) = re.findall(r"```python\n(.*?)```", section(README, "Your own images"), re.DOTALL)
    stage = {"features": 4, "patch_size": 16, "patches_per_image": 4}
    budget = {"num_epochs": 1, "device": "cpu", "stage1": stage, "stage2": stage}
    shorter = {
        "max_seconds=60": "max_steps=2, num_channels_init=4, patch_size=16, device='cpu'",
        '"max_seconds": 60': repr(budget)[1:-1],
    }
    for long, short in shorter.items():
        assert long in code
        code = code.replace(long, short)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["clean"].shape == small.shape and names["clean"].dtype == np.float32
    assert n2vlib.read_stack("denoised.tiff")[0].shape == (2, 1, 64, 64)
    assert names["result"].denoised.shape == (2, 64, 64)
    assert {"a_denoised.tif", "b_denoised.tif"} <= {path.name for path in (tmp_path / "denoised").rglob("*.tif")}


def test_the_troubleshooting_names_what_there_is():
    advice = rows(section(README, "Troubleshooting"))
    symptoms = {"out of memory", "stripes left", "blurry", "checkerboard", "flat loss", "wrong axes"}
    assert symptoms < {row[0] for row in advice}
    fields = {field.name for field in dataclasses.fields(n2vlib.N2VConfig)}
    functions = [n2vlib.Denoiser.predict, *filter(callable, vars(n2vlib).values())]
    parameters = {name for function in functions for name in inspect.signature(function).parameters}
    for code in re.findall(r"`([^`]+)`", " ".join(row[1] for row in advice)):
        name, _, value = code.partition("=")
        if code.startswith("{"):
            complete_settings(eval(code))  # refuses what it does not know
        elif name in fields:
            n2vlib.N2VConfig(**({name: eval(value)} if value else {}))
        else:
            assert name in parameters if value else hasattr(n2vlib, name), code


def kept_for_gradients(config):
    """Return how many numbers a training step keeps for its gradients."""
    kept = []

    def note(tensor):
        kept.append(tensor.numel())
        return tensor

    patches = torch.zeros(config.batch_size, 1, config.patch_size, config.patch_size)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        build_network(config, channels=1)(patches)
    return sum(kept)


@pytest.mark.parametrize("change", [{"batch_size": 2}, {"patch_size": 32}, {"num_channels_init": 8}], ids=str)
def test_each_advice_on_memory_halves_it(change):
    assert kept_for_gradients(n2vlib.N2VConfig(**change)) < 0.55 * kept_for_gradients(n2vlib.N2VConfig())


def test_the_advice_on_axes_helps(tmp_path, tiny, refused):
    stack = np.random.default_rng(0).normal(size=(2, 3, 32, 40)).astype(np.float32)
    tifffile.imwrite(tmp_path / "stack.tiff", stack, photometric="minisblack")
    with refused(ValueError, match="axes="):
        n2vlib.read_stack(tmp_path / "stack.tiff")
    assert n2vlib.read_stack(tmp_path / "stack.tiff", axes="CTYX")[0].shape == (3, 2, 32, 40)
    colours = np.moveaxis(stack[0], 0, -1)
    denoiser = n2vlib.train(colours, tiny(max_steps=1), channel_axis=-1)
    assert denoiser.predict(colours, channel_axis=-1).shape == (32, 40, 3)


def test_each_figure_of_the_results_stands_in_the_benchmarks():
    results = rows(section(README, "What it reaches"))
    assert len(results) >= 5
    known = f"{BENCHMARKS} {n2vlib.psnr(*noisy_photograph()):.2f}"
    for *cells, command in results:
        for figure in re.findall(r"\d\d\.\d\d", " ".join(cells[1:])):
            assert figure in known, figure
        (script,) = re.findall(r"`(\w+\.py) ", command)
        assert (ROOT / "tests" / "benchmarks" / script).is_file()
        assert f"benchmarks/{script}" in BENCHMARKS


def test_files_and_commands_that_are_named_exist():
    for text, folder in ((README, ROOT), (COURSE, ROOT / "notebooks")):
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (folder / target).exists(), target
        headings = [heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)", text, re.MULTILINE)]
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(headings)
        for target in re.findall(r"`make (\w+)`", text):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    picture = (ROOT / "data" / "picture.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 300_000


@pytest.mark.parametrize("title, total", [("A 45-minute lecture", 45), ("A 3-hour practical", 180)])
def test_the_minutes_of_the_course_add_up(title, total):
    spans = [(int(start), int(end)) for start, end in MINUTES.findall(section(COURSE, title))]
    ends = [0] + [end for _, end in spans]
    assert [start for start, _ in spans] == ends[:-1] and ends[-1] == total


def test_the_sections_that_the_course_names_exist():
    named = re.findall(r"(\d\d[bc]?), sections? (\d+)(?: (?:to|and) (\d+))?", COURSE)
    assert len(named) >= 8
    for number, *sections in named:
        (notebook,) = [notebook for name, notebook in NOTEBOOKS.items() if name.startswith(f"{number}_")]
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        for wanted in filter(None, sections):
            assert re.search(rf"^## {wanted} ·", text, re.MULTILINE), (number, wanted)


def test_the_quiz_has_thirty_questions_with_folded_answers_over_all_notebooks():
    text = (ROOT / "notebooks" / "quiz.md").read_text()
    numbers = re.findall(
        r"^\*\*(\d+)\.\*\* .+\?\n\n<details><summary>Answer</summary>.+</details>$", text, re.MULTILINE
    )
    others = re.findall(r"^\*\*(\d+)\.\*\*", text, re.MULTILINE)
    assert [int(number) for number in others] == [*range(1, 31)] and text.count("<details>") == 30
    assert len(numbers) >= 28, "questions end with a question mark, but for a few"
    notebooks = {path.name.split("_")[0] for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(re.findall(r"^## Notebook (\w+)", text, re.MULTILINE)) == notebooks
    points = re.findall(r"^\| .+ \| (\d+) \|$", text, re.MULTILINE)
    assert sum(map(int, points)) == 100
    assert "(quiz.md)" in (ROOT / "notebooks" / "README.md").read_text()
