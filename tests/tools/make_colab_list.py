"""Take the versions that Google Colab has today into tests/project/colab_packages.txt (`make colab-list`).

Colab publishes the list of its packages; of it we keep those that our list names. A package that is not in it keeps
its version here, and is reported; so is one whose line for older Pythons has to be looked at.
"""

import argparse
import datetime
import re
import sys
import urllib.request
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LIST = Path(__file__).resolve().parents[1] / "project" / "colab_packages.txt"
SOURCE = "https://raw.githubusercontent.com/googlecolab/backend-info/main/pip-freeze.txt"
STATE = re.compile(r"(?<=state of )\d{4}-\d\d-\d\d")


def published(text):
    """Return {name: version} of what `pip freeze` wrote; packages without a version (from files) are left out."""
    pins = re.findall(r"^([A-Za-z0-9][\w.-]*)==([\w.+!-]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version.partition("+")[0] for name, version in pins}


def renewed(text, versions, today):
    """Return our list with the published versions and today's date, and a sentence on each line to be looked at."""
    lines, remarks = [], []
    for line in STATE.sub(str(today), text).splitlines():
        pin, hash_sign, comment = line.partition("#")
        if pin.strip():
            requirement = Requirement(pin)
            version = versions.get(canonicalize_name(requirement.name))
            if version is None:
                remarks.append(f"{requirement.name}: not in Colab's list, its version stays")
            elif "python_version <" in str(requirement.marker).replace('"', ""):
                remarks.append(f"{requirement.name}: look whether older Pythons still need a version of their own")
            else:
                line = re.sub(r"==[\w.+!-]+", f"=={version}", pin, count=1) + hash_sign + comment
        lines.append(line)
    return "\n".join(lines) + "\n", remarks


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default=SOURCE, help="address, or file, of a list made by pip freeze")
    parser.add_argument("--list", type=Path, default=LIST, help="our list")
    options = parser.parse_args(arguments)
    try:
        if "://" in options.source:
            with urllib.request.urlopen(options.source, timeout=60) as answer:
                versions = published(answer.read().decode("utf-8"))
        else:
            versions = published(Path(options.source).read_text(encoding="utf-8"))
    except OSError as error:
        sys.exit(f"Colab's list could not be read from {options.source} ({error}): try later, or name a file: --source")
    if "torch" not in versions:
        sys.exit(
            f"{options.source} is not Colab's list: it has no line torch==...; name a list of pip freeze: --source"
        )
    text, remarks = renewed(options.list.read_text(encoding="utf-8"), versions, datetime.date.today())
    options.list.write_text(text, encoding="utf-8")
    print(f"{options.list.name}: renewed", *remarks, sep="\n")


if __name__ == "__main__":
    main()
