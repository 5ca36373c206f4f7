"""Notebooks in an environment like Google Colab's, as far as that can be had without Colab.

It has this environment's packages (torch, numpy, scipy, matplotlib, scikit-image, ipywidgets, ...), a `google.colab`
that does nothing, and no n2vlib: the set-up cell, unchanged, has to install it. git is told to take the project's
address for a bare clone of the last commit, so nothing that is not committed takes part. `make test-colab` runs it.
"""

import json
import os
import re
import subprocess
import sysconfig
import tomllib
import venv
from pathlib import Path

import nbformat
import pytest
from conftest import REPOSITORY as ROOT
from packaging.requirements import Requirement

NAMES = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
# What Colab brings of our dependencies. It may have others too, but nobody promises them.
COLAB = {"torch", "numpy", "scipy", "matplotlib", "pillow", "scikit-image", "ipywidgets", "requests", "tqdm"}
# The demo, and the notebook that loads the weights of the package. All set-up cells install by the same line, and what
# follows it in the other notebooks was run by `make test`, with the same versions of all packages.
RUN = ("01_single_image_demo.ipynb", "02_bsd68_training.ipynb")
NEEDS_GIT = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout: there is nothing to clone")
NEEDS_LINKS = pytest.mark.skipif(os.name == "nt", reason="the environment is made of symbolic links")
INSTALLED = """import importlib.metadata as m, json
print(json.dumps({d.name.lower(): [d.version, str(d.locate_file(""))] for d in m.distributions()}))"""


def install_line(path):
    cell = nbformat.read(path, as_version=4).cells[1]
    (line,) = [line.strip() for line in cell.source.splitlines() if "%pip" in line]
    return line


def test_all_notebooks_install_what_colab_lacks_and_no_more():
    (line,) = {install_line(ROOT / "notebooks" / name) for name in NAMES}
    assert line.startswith("%pip install -q --no-deps ") and line.endswith(f" git+{REPOSITORY}")
    added = set(line.removeprefix("%pip install -q --no-deps ").split()[:-1])
    assert added | COLAB == {Requirement(text).name for text in PROJECT["dependencies"]} and not added & COLAB


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


def make_environment(folder):
    """Make an environment with links to this one's packages, less what Colab need not have; return its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages, python = folder / "packages", folder / "bin" / "python"
    packages.mkdir()
    missing = ("n2vlib", "__editable__", "google", "__pycache__")
    missing += ("imagecodecs", "pooch", "pywt", "pywavelets", "tifffile")
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(site).iterdir():
            if not entry.name.lower().startswith(missing):
                (packages / entry.name).symlink_to(entry)
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    (own / "google").mkdir()
    (own / "google" / "colab.py").write_text("# In Colab this module is loaded in every kernel.\n")
    (own / "like_colab.pth").write_text(f"{packages}\nimport google.colab\n")
    return python


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A bare clone of the last commit: its path."""
    bare = tmp_path_factory.mktemp("repository") / "n2vlib.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, bare], check=True)
    return bare


def git(bare, *arguments):
    command = ["git", "--git-dir", bare, *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8").strip()


@pytest.mark.colab
@NEEDS_GIT
@NEEDS_LINKS
@pytest.mark.parametrize("name", RUN)
def test_notebook_runs_in_an_environment_like_colabs(name, repository, tmp_path):
    python, work = make_environment(tmp_path / "colab"), tmp_path / "content"
    work.mkdir()
    (work / name).write_text(git(repository, "show", f"HEAD:notebooks/{name}"), encoding="utf-8")
    settings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    settings |= {"N2VLIB_MODE": "smoke", "N2VLIB_DATA": "", "N2VLIB_DOWNLOAD": "0", "JUPYTER_DATA_DIR": str(work)}
    settings |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf"}
    settings |= {"GIT_CONFIG_VALUE_0": REPOSITORY}

    def run(*command):
        done = subprocess.run([python, *command], cwd=work, env=settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    before = json.loads(run("-c", INSTALLED))
    assert before.keys() >= COLAB and not before.keys() & {"n2vlib", "imagecodecs", "pooch", "pywavelets", "tifffile"}
    run(ROOT / "tests" / "tools" / "run_notebook.py", name, "--output", "executed")
    after = json.loads(run("-c", INSTALLED))
    assert before.items() <= after.items()  # torch, numpy and all else: same version at the same place
    assert after.keys() - before.keys() == {"n2vlib", "imagecodecs", "pooch", "pywavelets", "tifffile"}
    origin = run("-c", "import importlib.metadata as m; print(m.distribution('n2vlib').read_text('direct_url.json'))")
    assert json.loads(origin)["vcs_info"]["commit_id"] == git(repository, "rev-parse", "HEAD")
