"""Execute a notebook without a browser, printing what its cells print while they run.

`make demo` runs it on notebook 01; `make notebooks` stores the outputs in the notebooks themselves.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config


class Printing(NotebookClient):
    """A notebook client that passes printed text on to the terminal."""

    def process_message(self, message, cell, cell_index):
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            print(message["content"]["text"], end="", flush=True)
        return super().process_message(message, cell, cell_index)


def run(path, target):
    """Execute the notebook at `path` and write it with its outputs to `target`, whole or not at all."""
    notebook = nbformat.read(path, as_version=4)
    # Else ipykernel warns, before each notebook, that it talks over TCP without encryption.
    encrypted = Config(KernelManager=dict(transport_encryption="auto"))
    client = Printing(notebook, timeout=3600, resources={"metadata": {"path": path.parent}}, config=encrypted)
    client.execute()
    notebook.metadata.pop("widgets", None)  # the widgets' state: GitHub would show an error for it
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # time stamps, which would differ at every run
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".tmp")
    nbformat.write(notebook, beside)
    os.replace(beside, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", type=Path)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--output", type=Path, help="folder for the executed notebook")
    where.add_argument("--inplace", action="store_true", help="store the outputs in the notebook itself")
    arguments = parser.parse_args()
    target = arguments.notebook if arguments.inplace else arguments.output / arguments.notebook.name
    mode = os.environ.get("N2VLIB_MODE", "quick")
    print(f"running {arguments.notebook} in {mode} mode", flush=True)
    start = time.perf_counter()
    run(arguments.notebook, target)
    print(f"\nran {arguments.notebook} in {time.perf_counter() - start:.0f} s; with its figures it is now {target}")
    if not arguments.inplace:
        print("look at it and play with it in JupyterLab: make lab")


if __name__ == "__main__":
    sys.exit(main())
