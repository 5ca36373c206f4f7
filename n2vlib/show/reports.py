"""A denoised image handed on with its evidence: pictures, the structure of what was removed, settings, noise report."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from skimage.metrics import structural_similarity

from ..images.files import save_image
from ..images.writing import written_beside
from ..noise.covariance import residual_autocorrelation
from ..noise.report import noise_report
from .figures import STRUCTURE_SIZE, structure
from .png import to_png

SMALLEST = 7  # pixels, the window of SSIM


def save_report(folder, noisy, denoised, denoiser=None):
    """Write what a reader needs to judge a denoised image: five pictures, and all numbers in report.json.

    noisy.png and denoised.png have the same black and white; residual.png shows noisy - denoised around grey, over the
    same span. ssim.png maps how alike noisy and denoised are in windows of 7x7 pixels (white: 1, black: 0 or less):
    dark is where the picture is mostly the denoiser's. autocorrelation.png is that of the residual. report.json holds
    the noise report, numbers of the residual, and of a Denoiser settings, noise, leak and steps.

    folder: made if it is not there. noisy, denoised: (Y, X) of one shape, intensity units. denoiser: a Denoiser, or
    None. Each file is written whole or not at all, report.json last. Returns its content, a dictionary.
    Raises ValueError for images that are no finite (Y, X) of one shape; OSError for a full disk.

    >>> import tempfile
    >>> noisy = np.random.default_rng(0).normal(100, 9, (64, 64))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     content = save_report(folder, noisy, np.full((64, 64), 100.0))
    ...     sorted(os.listdir(folder))[-1], round(content["residual"]["deviation"])
    ('ssim.png', 9)
    """
    noisy, denoised = (np.asarray(image, np.float32) for image in (noisy, denoised))
    if noisy.ndim != 2 or noisy.shape != denoised.shape or min(noisy.shape) < SMALLEST:
        raise ValueError(
            f"noisy has shape {noisy.shape} and denoised {denoised.shape}: give one (Y, X) page of each, 7 pixels a "
            "side or more; of a stack choose a page"
        )
    if not (np.isfinite(noisy).all() and np.isfinite(denoised).all()):
        raise ValueError("noisy or denoised holds values that are not finite: cut a part that holds none")
    low, high = np.quantile(noisy, (0.001, 0.999))
    span = max(float(high - low), 1e-6)
    residual = noisy - denoised
    alike, similarity = structural_similarity(noisy, denoised, data_range=span, full=True)
    grey = {"noisy": (noisy - low) / span, "denoised": (denoised - low) / span, "residual": residual / span + 0.5}
    for name, shares in (grey | {"ssim": similarity}).items():
        save_image(Path(folder) / f"{name}.png", np.rint(255 * shares.clip(0, 1)).astype(np.uint8))
    correlation = residual_autocorrelation(noisy, denoised)
    with written_beside(Path(folder) / "autocorrelation.png") as file:
        file.write(to_png(structure(correlation, figure=Figure(figsize=STRUCTURE_SIZE, layout="constrained"))))
    content = dict(shape=list(noisy.shape), noise_report=str(noise_report(noisy)), ssim=float(alike))
    content["residual"] = _numbers(residual, correlation)
    content["denoiser"] = None if denoiser is None else _origin(denoiser)
    with written_beside(Path(folder) / "report.json") as file:
        file.write(json.dumps(content, indent=2, default=os.fspath).encode())
    return content


def _numbers(residual, correlation):
    """Return mean and deviation of a residual, and its strongest correlation with a neighbour (one pixel away)."""
    centre = len(correlation) // 2
    around = np.delete(correlation[centre - 1 : centre + 2, centre - 1 : centre + 2].ravel(), 4)
    strongest = float(around[np.abs(around).argmax()])
    return dict(mean=float(residual.mean()), deviation=float(residual.std()), strongest_neighbour=strongest)


def _origin(denoiser):
    """Return as plain values how a Denoiser was made."""
    history = {name: values[-1] for name, values in denoiser.history.items() if name in ("steps", "seconds") and values}
    noise = None if denoiser.noise is None else dict(zip(("gain", "offset"), denoiser.noise))
    return dict(settings=dataclasses.asdict(denoiser.config), noise=noise, leak=denoiser.leak) | history
