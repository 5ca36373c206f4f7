"""Structured noise of the kinds that instruments make, with its true power spectrum: for tests and benchmarks."""

import numpy as np
from scipy import ndimage

WHITE = 10.0  # deviation of the white noise that every kind holds, but for those that a filter makes of white noise
SHARPEN = np.array([[0, -0.25, 0], [-0.25, 2, -0.25], [0, -0.25, 0]]) / 1.5
INTERLACE = np.array([[-0.6], [1.0], [-0.6]]) / np.sqrt(1.72)
HALF_A_PIXEL = np.array([[0.5, 0.5]])
LINE, SMEAR = (np.ones((1, length)) / np.sqrt(length) for length in (5, 21))
FILTERS = {"sharpened": (SHARPEN, 14.0), "interlaced": (INTERLACE, 20.0), "shifted": (HALF_A_PIXEL, 20.0)}
# What `noise_report` has to call each kind, "white" aside, which may be there or not.
KINDS = {
    "white": {"white"},
    "rows": {"rows"},
    "columns": {"columns"},
    "wave 8": {"waves"},
    "wave 20": {"waves"},
    "converters": {"waves"},
    "grid": {"waves"},
    "tile": {"waves"},
    "sharpened": {"opposite"},
    "interlaced": {"opposite"},
    "shifted": {"alike"},
    "short lines": {"alike"},
    "long smears": {"alike"},
    "rows and wave": {"rows", "waves"},
    "rows and columns": {"rows", "columns"},
    "rows and short lines": {"rows", "alike"},
}


def instrument_noise(kind, shape, seed):
    """Return noise of one of KINDS, (Y, X), and its power spectrum, whose mean over noise.size is the variance."""
    rng = np.random.default_rng(seed)
    if kind in FILTERS:
        kernel, sigma = FILTERS[kind]
        noise = ndimage.convolve(rng.normal(0, sigma, shape), kernel, mode="wrap")
        return noise, sigma**2 * np.abs(np.fft.fft2(kernel, shape)) ** 2 * noise.size
    noise = rng.normal(0, WHITE, shape)
    power = np.full(shape, WHITE**2 * noise.size)
    for part in kind.split(" and "):
        added, more = _part(part, shape, rng)
        noise, power = noise + added, power + more
    return noise, power


def _part(kind, shape, rng):
    height, width = shape
    size = height * width
    y, x = np.mgrid[:height, :width]
    power = np.zeros(shape)
    if kind == "rows":
        power[:, 0] = 10.0**2 * width * size
        return rng.normal(0, 10, (height, 1)), power
    if kind == "columns":
        power[0] = 10.0**2 * height * size
        return rng.normal(0, 10, (1, width)), power
    if kind in ("short lines", "long smears"):
        kernel = LINE if kind == "short lines" else SMEAR
        noise = ndimage.convolve(rng.normal(0, 20, shape), kernel, mode="wrap")
        return noise, 20.0**2 * np.abs(np.fft.fft2(kernel, shape)) ** 2 * size
    phase = rng.uniform(0, 2 * np.pi)
    patterns = {
        "wave": 14 * np.sin(2 * np.pi * (x + 0.3 * y) / 8 + phase),
        "wave 8": 14 * np.sin(2 * np.pi * (x + 0.3 * y) / 8 + phase),
        "wave 20": 14 * np.sin(2 * np.pi * y / 20 + phase),
        "converters": np.where((x + rng.integers(2)) % 2, 8.0, -8.0),
        "grid": -20.0 * ((x % 16 == rng.integers(16)) | (y % 16 == rng.integers(16))),
        "tile": np.array([[5, -5], [-2, 3]])[y % 2, x % 2],
        "white": np.zeros(shape),
    }
    pattern = patterns[kind] - patterns[kind].mean()
    return pattern, np.abs(np.fft.fft2(pattern)) ** 2
