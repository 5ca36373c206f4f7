"""Notebooks in an environment like Google Colab's, as far as that can be had without Colab.

It has exactly the versions of Colab's own list, `colab_packages.txt`, but this computer's torch (and, before Python
3.12, the versions that the list names for that); a `google.colab` that does nothing; and no n2vlib: the set-up cell,
unchanged but for the address, has to install it. git is told to take that address for a bare clone of the last commit,
so nothing that is not committed takes part. Widgets are used. `make test-colab` runs it.
"""

import datetime
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import make_colab_list
import nbformat
import pytest
import set_address
from conftest import REPOSITORY as ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAMES = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
LIST = ROOT / "tests" / "project" / "colab_packages.txt"
PINS = [Requirement(line) for line in LIST.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
HERE = {canonicalize_name(pin.name): pin for pin in PINS if pin.marker is None or pin.marker.evaluate()}
ADDED = {"imagecodecs"}  # what the set-up cell installs beside n2vlib: Colab is not known to have it
OWNER = "somebody"  # whose repository the set-up cell is told to install
NEEDS_GIT = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout: there is nothing to clone")
NEEDS_LINKS = pytest.mark.skipif(os.name == "nt", reason="torch comes into the environment by a symbolic link")
INSTALLED = """import importlib.metadata as m, json
print(json.dumps({d.name.lower(): [d.version, str(d.locate_file(""))] for d in m.distributions()}))"""


def set_up(name):
    return nbformat.read(ROOT / "notebooks" / name, as_version=4).cells[1].source


def test_all_notebooks_install_what_colab_lacks_and_no_more():
    (lines,) = {re.search(r"^if .google.colab(?:.*\n    .*)+", set_up(name), re.MULTILINE)[0] for name in NAMES}
    (line,) = [line.strip() for line in lines.splitlines() if "%pip" in line]
    assert line == f'%pip install -q --no-deps {" ".join(sorted(ADDED))} "{{source}}"'
    assert f'else "git+{REPOSITORY}"' in lines
    needed = {canonicalize_name(Requirement(text).name): Requirement(text) for text in PROJECT["dependencies"]}
    assert needed.keys() - HERE.keys() == ADDED
    for name in needed.keys() & HERE.keys():
        (pin,) = HERE[name].specifier
        assert needed[name].specifier.contains(pin.version), f"Colab's {pin} is too old for pyproject.toml"


@pytest.mark.parametrize("wheel", [None, "n2vlib-9.9.9-py3-none-any.whl"])
def test_the_set_up_cell_takes_a_wheel_beside_it_or_else_the_address(wheel, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    (tmp_path / "n2vlib-9.9.9-py3-none-any (1).whl").touch()  # a browser's second download, which pip refuses
    values, code = {}, set_up(NAMES[0]).replace("%pip", "source  #")
    if wheel:
        (tmp_path / wheel).touch()
    elif REPOSITORY.split("/")[-2] == "OWNER":
        with refused(AssertionError, match="upload the wheel"):
            exec(code, values)
        code = code.replace("/OWNER/", f"/{OWNER}/")
    exec(code, values)
    assert values["source"] == wheel or (not wheel and re.fullmatch(r"git\+https://\S+/n2vlib", values["source"]))


def test_readme_has_each_notebook_with_its_badge():
    rows = [row for row in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "colab-badge.svg" in row]
    colab = REPOSITORY.replace("github.com", "colab.research.google.com/github") + "/blob/main/notebooks/"
    for name, row in zip(NAMES, rows, strict=True):
        assert f"](notebooks/{name})" in row and f"({colab}{name})" in row


@NEEDS_GIT
def test_no_other_address_of_the_repository_is_written_anywhere():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if name.endswith((".py", ".md", ".ipynb", ".toml", ".yml", ".cff", "Makefile")) and (ROOT / name).exists():
            text = (ROOT / name).read_text(encoding="utf-8")
            owners = set(re.findall(r"github(?:\.com)?/([\w.-]+)/n2vlib\b", text))
            assert owners <= {REPOSITORY.split("/")[-2]}, name


def test_the_list_is_renewed_from_what_colab_publishes(tmp_path, capsys):
    theirs, ours = tmp_path / "pip-freeze.txt", tmp_path / "list.txt"
    theirs.write_text("numpy==9.1\ntorch==9.2+cu130\npywavelets==9.3\nother==1\ntifffile==9.4\nx @ file:///x.whl\n")
    ours.write_text(LIST.read_text(encoding="utf-8"), encoding="utf-8")
    make_colab_list.main(["--source", theirs.as_uri(), "--list", str(ours)])
    said, before, after = capsys.readouterr().out, LIST.read_text(encoding="utf-8"), ours.read_text(encoding="utf-8")
    changed = set(after.splitlines()) - set(before.splitlines())
    pins = {"numpy==9.1", "torch==9.2", "PyWavelets==9.3", 'tifffile==9.4; python_version >= "3.12"'}
    assert {line for line in changed if line[0] != "#"} == pins
    assert f"state of {datetime.date.today()}" in after and len(after.splitlines()) == len(before.splitlines())
    assert "scipy: not in Colab's list" in said and "tifffile: look whether" in said
    make_colab_list.main(["--source", str(theirs), "--list", str(ours)])
    assert ours.read_text(encoding="utf-8") == after


@pytest.mark.parametrize("text, word", [("numpy==1.0\n", "not Colab's list"), (None, "could not be read")])
def test_another_list_than_colabs_is_refused(text, word, tmp_path, refused):
    source = tmp_path / "source.txt"
    if text:
        source.write_text(text)
    with refused(SystemExit, match=word):
        make_colab_list.main(["--source", str(source), "--list", str(tmp_path / "list.txt")])


def make_environment(folder):
    """Make an environment with Colab's versions and a link to this computer's torch; return its Python."""
    venv.create(folder, with_pip=True, symlinks=True)
    python, linked = folder / "bin" / "python", folder / "linked"
    (folder / "list.txt").write_text("\n".join(str(pin) for name, pin in HERE.items() if name != "torch"))
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "-r", folder / "list.txt"]
    subprocess.run(command, check=True)
    linked.mkdir()
    files = importlib.metadata.distribution("torch")
    for name in {file.parts[0] for file in files.files if file.parts[0] != ".."} - {"__pycache__"}:
        (linked / name).symlink_to(files.locate_file(name))
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    (own / "google").mkdir()
    (own / "google" / "colab.py").write_text("# In Colab this module is loaded in every kernel.\n")
    (own / "like_colab.pth").write_text(f"{linked}\nimport google.colab\n")
    return python


def git(folder, *arguments):
    command = ["git", "-C", folder, *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8").strip()


class Colab:
    """The environment, with all notebooks of the last commit in its folder; what was installed at the beginning."""

    def __init__(self, folder):
        self.bare, self.clone, self.work = folder / "n2vlib.git", folder / "clone", folder / "content"
        subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, self.bare], check=True)
        subprocess.run(["git", "clone", "--quiet", self.bare, self.clone], check=True)
        self.work.mkdir()
        owner = REPOSITORY.split("/")[-2]
        for name in NAMES:
            content = (self.clone / "notebooks" / name).read_bytes()
            (self.work / name).write_bytes(set_address.with_owner(content, owner, OWNER))
        self.python = make_environment(folder / "colab")
        self.before = self.installed()

    def run(self, *command, cwd=None):
        """Run this environment's Python, where the other settings of this process are not seen; return its output."""
        settings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        settings |= {"N2VLIB_MODE": "smoke", "N2VLIB_DATA": "", "N2VLIB_DOWNLOAD": "0"}
        settings |= {"JUPYTER_DATA_DIR": str(self.work), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        settings |= {
            "OMP_NUM_THREADS": "1"
        }  # where other programs run too, two threads that wait for each other take long
        settings |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{self.bare.as_uri()}.insteadOf"}
        settings |= {"GIT_CONFIG_VALUE_0": f"https://github.com/{OWNER}/n2vlib"}
        command = [self.python, *command]
        done = subprocess.run(command, cwd=cwd or self.work, env=settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def installed(self):
        return json.loads(self.run("-c", INSTALLED))

    def origin(self):
        """Return where n2vlib was installed from."""
        code = "import importlib.metadata as m; print(m.distribution('n2vlib').read_text('direct_url.json'))"
        return json.loads(self.run("-c", code))


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    return Colab(tmp_path_factory.mktemp("like_colab"))


@pytest.mark.colab
@NEEDS_GIT
@NEEDS_LINKS
def test_the_environment_has_colabs_versions(colab):
    listed = {name: version for pin in HERE.values() for name, version in [pinned(pin)]}
    brought = {canonicalize_name(name): version for name, (version, _) in colab.before.items()}
    differ = {name for name, version in listed.items() if brought[name] != version}
    assert differ <= {"torch"} and brought.keys() - listed.keys() <= {"pip", "setuptools"}
    theirs = {pinned(pin) for pin in PINS if pin.marker is None or ">" in str(pin.marker)}
    others = sorted(f"{name} {brought[name]} instead of {version}" for name, version in theirs - set(brought.items()))
    print("not as in Colab:", ", ".join(others))
    assert {text.split()[0] for text in others} <= {"torch"} | ({"tifffile"} if sys.version_info < (3, 12) else set())


def pinned(requirement):
    (pin,) = requirement.specifier
    return canonicalize_name(requirement.name), pin.version


# How often a notebook's Stop button and upload are used, and how many sliders and menus change their picture.
USED = {
    "00_from_perceptron_to_unet.ipynb": [0, 0, 19],
    "00b_what_noise2void_learns.ipynb": [0, 0, 5],
    "00c_what_training_does.ipynb": [0, 0, 5],
    "01_single_image_demo.ipynb": [2, 1, 2],
    "02_bsd68_training.ipynb": [3, 0, 0],
    "03_jump_cell_painting.ipynb": [0, 0, 3],
    "04_two_stage_structured.ipynb": [0, 0, 2],  # both methods find the same mask there
    "05_judge_a_result.ipynb": [0, 0, 6],
}


@pytest.mark.colab
@NEEDS_GIT
@NEEDS_LINKS
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_in_an_environment_like_colabs(name, colab):
    assert colab.before.keys().isdisjoint({"n2vlib"} | ADDED)
    said = colab.run(ROOT / "tests" / "tools" / "use_widgets.py", name)
    after = colab.installed()
    assert colab.before.items() <= after.items()  # torch, numpy and all else: same version at the same place
    assert after.keys() - colab.before.keys() == {"n2vlib"} | ADDED
    assert colab.origin()["vcs_info"]["commit_id"] == git(colab.bare, "rev-parse", "HEAD")
    assert list(json.loads(said.splitlines()[-1]).values()) == USED[name]


@pytest.mark.colab
@NEEDS_GIT
@NEEDS_LINKS
def test_a_notebook_runs_from_the_folder_of_make_colab_without_an_address(colab):
    (colab.clone / "build" / "lib" / "n2vlib").mkdir(parents=True)
    (colab.clone / "build" / "lib" / "n2vlib" / "left_over.py").touch()  # of an older wheel; it must not get in
    subprocess.run(["make", "-o", "setup", f'PY="{sys.executable}"', "colab"], cwd=colab.clone, check=True)
    folder = colab.clone / "build" / "colab"
    (wheel,) = folder.glob("*.whl")
    assert sorted(path.name for path in folder.iterdir()) == sorted([wheel.name, *NAMES])
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("n2vlib/") and name[-3:] == ".py"}
    assert packed - {"n2vlib/models/__init__.py"} == set(
        git(colab.bare, "ls-tree", "-r", "--name-only", "HEAD", "n2vlib/").split()
    )
    colab.run("-m", "pip", "uninstall", "--quiet", "--yes", "n2vlib")
    colab.run(ROOT / "tests" / "tools" / "use_widgets.py", "00c_what_training_does.ipynb", cwd=folder)
    assert colab.before.items() <= colab.installed().items()
    assert colab.origin()["url"] == wheel.as_uri()
