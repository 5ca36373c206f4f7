"""Pin the dependencies of pyproject.toml in requirements.lock, for all systems and Pythons (`make lock`).

torch is pinned by hand, in TORCH below; the packages that only its CUDA builds need are left out
of the lock, because pip adds them itself where the default wheel of torch asks for them.
"""

import re
import subprocess
import sys
from pathlib import Path

TORCH = "2.13.0"
ROOT = Path(__file__).parents[2]
HEADER = "# Made by `make lock` from pyproject.toml; do not edit.\n"


def main():
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--constraints", "-"]
    command += ["--universal", "--python-version", "3.11", "--extra", "notebook", "--extra", "dev"]
    command += ["--no-header", "--no-annotate", "--quiet"]
    pins = subprocess.run(command, cwd=ROOT, input=f"torch=={TORCH}", capture_output=True, text=True, check=True).stdout
    kept = [line for line in pins.splitlines() if not re.match(r"(nvidia|cuda|triton)", line)]
    (ROOT / "requirements.lock").write_text(HEADER + "\n".join(kept) + "\n")
    print(f"requirements.lock: {len(kept)} packages")


if __name__ == "__main__":
    main()
