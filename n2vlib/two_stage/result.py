"""What a two-stage run returns, and its folder: models, mask, settings, metrics, and the denoised images."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import tifffile
from matplotlib.figure import Figure

from ..images.calibration import calibration, keywords_like
from ..images.writing import written_beside
from ..learning.denoiser import Denoiser
from ..show.figures import STRUCTURE_SIZE, structure
from ..show.png import to_png


@dataclasses.dataclass
class TwoStageResult:
    """What `run_two_stage` returns.

    stage1, stage2: Denoisers, None where a stage did not run. mask: boolean (size, size), odd, True = carries
    the same noise as the centre. autocorrelation: float, the same size, 1 in the centre (mean of the
    channels). covariance: of each channel, (C, size, size), intensity units squared. All three None if not measured.
    shot: what photons add to the covariance, (gain, dark) of each channel, lines and waves: what is taken off each page
    (see N2VConfig for all three), or None. hidden: the mask, and whole lines that are offset: what structN2V
    hides, and what is written as mask.npy. reports: a NoiseReport of each channel.
    denoised: the better stage's images, float32, in the shape and units of the input; denoised1, denoised2:
    each stage's. messages: what was noticed, in sentences. metrics: a dictionary of plain values.
    settings: all of them, defaults included. folder: where the files are, or None.
    """

    stage1: Denoiser | None = None
    stage2: Denoiser | None = None
    mask: np.ndarray | None = None
    autocorrelation: np.ndarray | None = None
    covariance: np.ndarray | None = None
    shot: list | None = None
    lines: list | None = None
    waves: list | None = None
    hidden: np.ndarray | None = None
    reports: list = dataclasses.field(default_factory=list)
    denoised: np.ndarray | None = None
    denoised1: np.ndarray | None = None
    denoised2: np.ndarray | None = None
    messages: list = dataclasses.field(default_factory=list)
    metrics: dict = dataclasses.field(default_factory=dict)
    settings: dict = dataclasses.field(default_factory=dict)
    folder: Path | None = None

    @property
    def stages(self):
        """Return the Denoisers of the stages that ran, by their names."""
        both = {"stage1": self.stage1, "stage2": self.stage2}
        return {stage: denoiser for stage, denoiser in both.items() if denoiser is not None}

    def __str__(self):
        return "\n".join([f"denoised by {self.metrics.get('denoised_by', 'no stage')}", *self.messages])


def make_folder(path):
    """Make the folder of a run, before hours of training; raise OSError, in one sentence, if that is not possible."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"output_dir = {path} cannot be a folder ({error.strerror}): choose another place") from error


def write_run(result, images):
    """Write models, mask, settings, metrics and denoised images of a TwoStageResult to settings["output_dir"].

    images: the Images that were denoised; their files tell names, axes and sizes. Each is written whole or not at all.
    Returns the folder. Raises OSError for a full disk.
    """
    folder = Path(result.settings["output_dir"])
    for stage, denoiser in result.stages.items():
        denoiser.save(folder / f"{stage}.pt")
    if result.mask is not None:
        with written_beside(folder / "mask.npy") as file:
            np.save(file, result.mask if result.hidden is None else result.hidden)
        figure = Figure(figsize=STRUCTURE_SIZE, layout="constrained")
        with written_beside(folder / "mask.png") as file:
            file.write(to_png(structure(result.autocorrelation, result.mask, figure)))
    notes = {"config.json": result.settings, "metrics.json": result.metrics | dict(messages=result.messages)}
    for name, values in notes.items():
        with written_beside(folder / name) as file:
            file.write(json.dumps(values, indent=2, default=os.fspath).encode())  # a setting may be a path
    stack, start = images.again_as_stack(result.denoised), 0
    for name, count, source in images.files:
        part = stack[start : start + count].astype(np.float32)
        known = None if source is None else calibration(source, result.settings["axes"])
        shape, keywords = keywords_like(known, part.shape, part.dtype)
        with written_beside(folder / f"{name}.tif") as file:
            tifffile.imwrite(file, part.reshape(shape), **keywords)
        start += count
    return folder
