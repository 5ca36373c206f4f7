"""The folder of a two-stage run: models, mask, settings, metrics, and the denoised images with their axes."""

import json
from pathlib import Path

import numpy as np
import tifffile
from matplotlib.figure import Figure

from .checkpoint import written_beside
from .plots import STRUCTURE_SIZE, show_structure, to_png


def make_folder(path):
    """Make the folder of a run, before hours of training; raise OSError, in one sentence, if that is not possible."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"output_dir = {path} cannot be a folder ({error.strerror}): choose another place") from error


def write_run(result, files):
    """Write models, mask, settings, metrics and denoised images of a TwoStageResult to settings["output_dir"].

    files: the names of the denoised images, and how many of them each holds. Each file is written whole or not at all.
    Returns the folder. Raises OSError for a full disk.
    """
    folder = Path(result.settings["output_dir"])
    for name in ("stage1", "stage2"):
        if getattr(result, name) is not None:
            getattr(result, name).save(folder / f"{name}.pt")
    if result.mask is not None:
        with written_beside(folder / "mask.npy") as file:
            np.save(file, result.mask)
        figure = Figure(figsize=STRUCTURE_SIZE, layout="constrained")
        _write(folder / "mask.png", to_png(show_structure(result.autocorrelation, result.mask, figure)))
    notes = result.metrics | dict(messages=result.messages)
    _write(folder / "config.json", json.dumps(result.settings, indent=2, default=str).encode())
    _write(folder / "metrics.json", json.dumps(notes, indent=2).encode())
    channels = len((result.stage1 or result.stage2).mean)
    stack, start = result.denoised.reshape(-1, channels, *result.denoised.shape[-2:]), 0
    for name, count in files:
        _write_tiff(folder / f"{name}.tif", stack[start : start + count])
        start += count
    return folder


def _write(path, data):
    with written_beside(path) as file:
        file.write(data)


def _write_tiff(path, stack):
    """Write a stack (N, C, Y, X) as float32 TIFF, with its axes, for ImageJ as far as its format reaches."""
    kind = dict(imagej=True) if stack.nbytes < 2**32 - 2**25 else dict(bigtiff=True)
    with written_beside(path) as file:
        tifffile.imwrite(file, stack.astype(np.float32), photometric="minisblack", metadata={"axes": "TCYX"}, **kind)
