"""Write the repository's address on GitHub everywhere: `make address OWNER=name`.

The address stands in pyproject.toml, CITATION.cff, README.md, CONTRIBUTING.md and, as badges (Colab, Kaggle), set-up
cell and line for feedback, in each notebook. Until it is known, the owner's name in it is OWNER. A later call moves
from one owner to the next.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[A-Za-z0-9](-?[A-Za-z0-9]){0,38}")  # what GitHub allows; it allows 39 characters


def checked(name):
    """Return the name if GitHub allows it for an account; raises ValueError, in one sentence, if it does not."""
    if not NAME.fullmatch(name) or len(name) > 39:
        raise ValueError(
            f"OWNER={name!r} is no name of an account on GitHub, which has 1 to 39 letters, digits and single hyphens "
            "between them: give the name in the repository's address, as in make address OWNER=name"
        )
    if name.lower() == "owner":  # the set-up cells go by it
        raise ValueError(f"OWNER={name} stands for an address that is not known: give the account's own name")
    return name


def with_owner(content, old, new):
    """Return a file's bytes with the owner `new` in each address of the repository that had the owner `old`."""
    address = rb"(github(?:\.com)?/)" + re.escape(old.encode()) + rb"(?=/n2vlib\b)"
    return re.sub(address, lambda match: match[1] + new.encode(), content)


def set_address(root, name):
    """Write the owner's name into each tracked file below `root`; return the names of the files that changed."""
    name = checked(name)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    old = project["urls"]["Repository"].split("/")[-2]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    changed = []
    for path in (root / file for file in listed.split("\0") if (root / file).is_file()):
        before = path.read_bytes()
        after = with_owner(before, old, name)
        if after != before:
            path.write_bytes(after)
            changed.append(str(path.relative_to(root)))
    return changed


def main():
    try:
        changed = set_address(ROOT, "".join(sys.argv[1:]))
    except ValueError as error:
        sys.exit(str(error))
    print(f"https://github.com/{sys.argv[1]}/n2vlib is now the address in {len(changed)} files: {', '.join(changed)}")


if __name__ == "__main__":
    main()
