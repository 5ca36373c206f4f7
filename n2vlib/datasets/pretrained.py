"""Trained weights that come with the project, and beside each a record of how it was made."""

import hashlib
import json
from pathlib import Path

from ..learning.denoiser import Denoiser

# In the installed package the models lie inside it, in a checkout in data/models.
FOLDERS = (Path(__file__).parents[1] / "models", Path(__file__).parents[2] / "data" / "models")


def load_pretrained(name):
    """Load trained weights that come with the project, e.g. "bsd68_noise_model".

    Returns a Denoiser. Raises ValueError for a name that does not exist (the message lists those
    that do), or if the file is not the one in its record (sha256).

    >>> load_pretrained("bsd68_noise_model").config.noise_model
    'gaussian'
    """
    path = _path(name)
    if hashlib.sha256(path.read_bytes()).hexdigest() != pretrained_record(name)["sha256"]:
        raise ValueError(f"{path} is not the file in its record (sha256 differs): restore or install it again")
    return Denoiser.load(path)


def pretrained_record(name):
    """Return how trained weights were made, a dictionary: data, command, config, steps, seconds, hardware, PSNRs.

    "bsd68_classical" is such a record too, of methods that have no weights. Raises ValueError as `load_pretrained`.

    >>> decibels = pretrained_record("bsd68_noise2void")["psnr"]
    >>> len(decibels), round(sum(decibels) / 68, 1)
    (68, 27.5)
    """
    return json.loads(_path(name, ".json").read_text())


def _path(name, suffix=".pt"):
    there = {path.stem: path for folder in FOLDERS for path in folder.glob(f"*{suffix}")}
    if not isinstance(name, str) or name not in there:
        what = "trained weights" if suffix == ".pt" else "record"
        raise ValueError(f"no {what} {name!r}: there are {', '.join(sorted(there)) or 'none'}")
    return there[name]
