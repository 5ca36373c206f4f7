"""`make address OWNER=name` writes the repository's address everywhere, and changes nothing else."""

import re
import subprocess
import sys
import tomllib

import pytest
from conftest import REPOSITORY as ROOT
from set_address import checked, set_address

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWNER = PROJECT["urls"]["Repository"].split("/")[-2]
ADDRESS = re.compile(rb"github(\.com)?/" + OWNER.encode() + rb"/n2vlib\b")
NEEDS_GIT = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout: no list of tracked files")


@pytest.fixture
def copy(tmp_path):
    """A repository of its own, with the tracked files as they are now: its folder, and the bytes of each."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {name: (ROOT / name).read_bytes() for name in listed.split("\0") if (ROOT / name).is_file()}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "--force", "."], cwd=tmp_path, check=True)
    return tmp_path, files


@NEEDS_GIT
def test_the_address_is_set_everywhere_and_all_else_stays_byte_for_byte(copy):
    folder, files = copy
    for name in ("some-lab", "Other1"):  # and a second time, from one name to the next
        changed = set_address(folder, name)
        assert sorted(changed) == sorted(file for file, content in files.items() if ADDRESS.search(content))
        for file, content in files.items():
            wanted = ADDRESS.sub(rb"github\g<1>/" + name.encode() + rb"/n2vlib", content)
            assert (folder / file).read_bytes() == wanted, file
        for file in (file for file in files if file.endswith(".ipynb")):  # badge of Kaggle, line for feedback
            for place in (f"src=https://github.com/{name}/n2vlib/blob/main/{file}", f"/{name}/n2vlib/issues/new"):
                assert place.encode() in (folder / file).read_bytes()
        # OWNER is left where the command is told of, and where the scripts and tests know it as the placeholder.
        left = {file for file in files if re.search(rb"\bOWNER\b", (folder / file).read_bytes())}
        assert {file for file in left if not file.startswith("tests/")} <= {"Makefile", "CONTRIBUTING.md"}
        for file in left:
            assert not re.search(rb"github(\.com)?/OWNER/", (folder / file).read_bytes()), file
        assert b"make address OWNER=name" in (folder / "CONTRIBUTING.md").read_bytes()
    assert {"pyproject.toml", "CITATION.cff", "README.md", "CONTRIBUTING.md"} < set(changed)
    assert sum(file.endswith(".ipynb") for file in changed) == len(list((ROOT / "notebooks").glob("*.ipynb")))


@pytest.mark.parametrize("name", ["", "a b", "-a", "a-", "a--b", "a_b", "a/b", "ä", "a" * 40, "a\n", "OWNER", "owner"])
def test_a_name_that_cannot_be_is_refused(name, refused):
    with refused(ValueError, match="OWNER="):
        checked(name)


@NEEDS_GIT
def test_the_command_refuses_in_one_sentence_and_changes_nothing(copy):
    folder, files = copy
    command = [sys.executable, "tests/tools/set_address.py", "two words"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("OWNER='two words' is no name") and done.stderr.count("\n") == 1
    assert all((folder / file).read_bytes() == content for file, content in files.items())


@pytest.mark.parametrize("name", ["a", "A1", "some-lab", "x" * 39])
def test_names_that_github_allows_are_taken(name):
    assert checked(name) == name
