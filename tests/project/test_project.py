"""The project's own promises: one place for the dependencies, a layout that stays, modules one can read."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import setuptools.config.pyprojecttoml
import yaml
from conftest import REPOSITORY as ROOT
from packaging.requirements import Requirement

import n2vlib

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, PACKAGES = SETTINGS["project"], SETTINGS["tool"]["setuptools"]["packages"]
LIBRARY = sorted((ROOT / "n2vlib").rglob("*.py"))
LOCK = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
# Data flows from left to right, and a room imports only from rooms to its left.
ROOMS = "images noise learning datasets show two_stage".split()
# So do the files of a room.
FILES = {
    "images": "arrays hot_pixels gaps writing tiff_damage colours tiff_layout other_formats plates stacks "
    "calibration pictures files file_to_file",
    "noise": "validity models covariance waves lines spectrum masks pages law report choice",
    "learning": "metrics device optimizers allowed_values masking config network patches "
    "model_files similar_patches denoiser losses training",
    "datasets": "ranges downloads photographs painted pretrained",
    "show": "png figures diagrams sliders explorer reports live_training",
    "two_stage": "settings regions result pipeline",
}


def declared():
    extras = PROJECT["optional-dependencies"]
    return [Requirement(text) for text in [*PROJECT["dependencies"], *extras["notebook"], *extras["dev"]]]


def pins(name, environment):
    """Return the versions that the lock gives a package on a system."""
    found = [pin for pin in LOCK if pin.name.lower() == name.lower()]
    return [str(pin.specifier) for pin in found if pin.marker is None or pin.marker.evaluate(environment)]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_lock_pins_each_declared_dependency_once_and_in_range(python, system):
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": system,
        "os_name": "nt" if system == "win32" else "posix",
    }
    for requirement in declared():
        versions = pins(requirement.name, environment)
        assert len(versions) == 1 and versions[0].startswith("=="), (requirement.name, versions)
        assert requirement.specifier.contains(versions[0].removeprefix("==")), requirement


def test_an_import_leaves_large_packages_out():
    # 36 MB and half a second: scipy.special has the same functions.
    command = [sys.executable, "-c", "import sys, n2vlib; print(*sys.modules)"]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "n2vlib.noise.law" in loaded
    assert not {"scipy.stats", "scipy.signal", "skimage.restoration"} & set(loaded)


def test_everything_installs_from_the_lock():
    assert "-r requirements.lock" in (ROOT / "environment.yml").read_text()
    assert "-r requirements.lock" in (ROOT / "Makefile").read_text()
    assert "-r requirements.lock" in (ROOT / "README.md").read_text()
    for name in ("environment.yml", "Makefile", "README.md"):  # and no version is pinned anywhere else
        text = (ROOT / name).read_text()
        assert not [r for r in declared() if re.search(rf"\b{r.name}\s*==", text, re.IGNORECASE)], name


def test_ci_runs_the_command_of_the_readme():
    run = (ROOT / ".ci/run").read_text()
    assert [line.split()[1] for line in run.splitlines() if line.startswith("make")] == [
        "test",
        "playwright",
        "test-colab",
        "test-browser",
    ]
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme and "make test" in readme


def test_ci_and_pre_commit_use_what_the_project_declares():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    job, triggers = workflow["jobs"]["test"], workflow[True]  # YAML 1.1 reads the key `on` as True
    assert {"push", "pull_request", "schedule"} <= set(triggers)
    assert job["strategy"]["matrix"] == {
        "os": ["ubuntu-latest", "macos-latest", "windows-latest"],
        "python": ["3.11", "3.13"],
    }
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert job["strategy"]["matrix"]["python"][0] == oldest
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    test = re.search(r"^test:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert "make test" in commands
    for command in re.findall(r"\$\(PY\) (.+)", test):  # Windows has no make: it gets the same commands
        assert f"python {command}\n" in commands + "\n", command
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {hook["id"] for hook in hooks} == {"ruff-check", "ruff-format", "notebooks"}
    for needed in (package for hook in hooks for package in hook["additional_dependencies"]):
        assert needed in (ROOT / "requirements.lock").read_text().splitlines(), f"{needed}: not what the lock pins"


def test_the_address_is_the_one_of_pyproject():
    address = PROJECT["urls"]["Repository"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == address and citation["license"] == PROJECT["license"]
    for name in ("CITATION.cff", ".github/workflows/test.yml", "README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text()
        found = set(re.findall(r"github\.com/([\w.-]+/n2vlib)\b", text)) | set(re.findall(r"\b(\w+/n2vlib)\.git", text))
        assert found <= {address.removeprefix("https://github.com/")}, name


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["dynamic"] and re.fullmatch(r"\d+\.\d+\.\d+", n2vlib.__version__)
    assert f"\n## {n2vlib.__version__} " in (ROOT / "CHANGELOG.md").read_text()
    tracked = [path for path in ROOT.glob("*.*") if path.suffix in (".toml", ".yml", ".cff", ".md")]
    assert [path.name for path in tracked if n2vlib.__version__ in path.read_text()] == ["CHANGELOG.md"]
    config = setuptools.config.pyprojecttoml.read_configuration(ROOT / "pyproject.toml")
    assert config["project"]["version"] == n2vlib.__version__, "what pip will call it"


def test_the_layout_stays():
    files = {path.name for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")}
    usual = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md"}
    assert files == usual | {"environment.yml", "pyproject.toml", "requirements.lock"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert {"notebooks", "n2vlib", "data", "tests"} <= folders
    # findings: surprises of other people's libraries, scripts that anyone can run
    assert folders - {"notebooks", "n2vlib", "data", "tests", "findings", "build", "n2vlib.egg-info"} == set()


def test_the_library_has_six_rooms_and_the_tests_mirror_them():
    library = {path.name for path in (ROOT / "n2vlib").iterdir() if path.name != "__pycache__"}
    assert library == {"__init__.py", *ROOMS}
    for room, names in FILES.items():
        assert {path.stem for path in (ROOT / "n2vlib" / room).glob("*.py")} == {"__init__", *names.split()}
        assert list((ROOT / "tests" / room).glob("test_*.py")), room
    assert set(PACKAGES) == {"n2vlib", "n2vlib.models", *(f"n2vlib.{room}" for room in ROOMS)}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_can_be_read_in_one_sitting(path):
    source = path.read_text()
    assert source.count("\n") <= 400
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.end_lineno - (node.body[0].end_lineno if ast.get_docstring(node) else node.lineno)
            assert body <= 35, f"{node.name} has {body} lines"


@pytest.mark.parametrize("path", [path for path in LIBRARY if path.stem != "__init__"], ids=lambda path: path.stem)
def test_arrows_point_to_what_stands_before(path):
    room, files = path.parent.name, FILES[path.parent.name].split()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            assert files.index(node.module) < files.index(path.stem), f"{path.stem} imports {node.module}"
        elif isinstance(node, ast.ImportFrom) and node.level == 2:
            other, _, file = node.module.partition(".")
            assert file and ROOMS.index(other) < ROOMS.index(room), f"{room} imports {node.module}"


def test_the_readme_shows_the_tree():
    tree = (ROOT / "README.md").read_text()
    shown = re.findall(r"^  (\w+)(?:/|\.py) +\S", tree, re.MULTILINE)
    assert [name for name in shown if name in (*ROOMS, "__init__")] == ["__init__", *ROOMS]
