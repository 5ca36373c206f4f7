"""Painted images with the truth kept, for a lesson without a download: cells to denoise, shapes to classify.

The cells look like Cell Painting: four stains of the same cells, each with structures of its own: nuclei, cytoplasm,
actin fibres, mitochondria. Made of smooth random fields; no real image is in them.
"""

import numpy as np
import scipy.ndimage as ndi
from scipy.spatial import cKDTree

CHANNELS = ("nuclei", "cytoplasm", "actin fibres", "mitochondria")
PHOTONS = 40.0  # of the brightest structures
READ_NOISE = 3.0  # standard deviation of the camera's own noise, in photons
BACKGROUND = 1.0  # photons without any cell


def painted_cells(count, side=540, seed=0):
    """Yield `count` pairs (clean, noisy) of generated four-channel images, one at a time.

    clean: expected photons, float32 (4, side, side), channels as in CHANNELS. noisy: the same as a camera
    counts it: Poisson noise of the photons plus Gaussian read noise, float32, not clipped.

    >>> clean, noisy = next(painted_cells(1, side=64))
    >>> noisy.shape, round(float(np.var(noisy - clean) / np.mean(clean + READ_NOISE**2)), 1)
    ((4, 64, 64), 1.0)
    """
    for image in range(count):
        rng = np.random.default_rng([seed, image])
        clean = np.stack(_stains(side, rng)).astype(np.float32) * PHOTONS + BACKGROUND
        noisy = rng.poisson(clean) + rng.normal(0, READ_NOISE, clean.shape)
        yield clean, noisy.astype(np.float32)


def painted_shapes(count, rows=1, columns=1, side=32, seed=0):
    """Return small noisy pictures to classify and to segment, and which pixel is what.

    Each picture is a grid of squares of `side` pixels; each square is empty (0), or holds a disc (1), a ring (2) or a
    bar (3), of random size and place. Returns images (count, 1, side * rows, side * columns), float32, brightness 0
    to 1 plus Gaussian noise of 0.3, and the kind of each pixel (count, side * rows, side * columns), int64.

    >>> images, kinds = painted_shapes(10, rows=1, columns=3)
    >>> images.shape, kinds.shape, np.unique(kinds).tolist()
    ((10, 1, 32, 96), (10, 32, 96), [0, 1, 2, 3])
    """
    rng = np.random.default_rng(seed)
    grid = (count, rows, columns, 1, 1)
    kind, radius, angle = rng.integers(0, 4, grid), rng.uniform(6, 9, grid), rng.uniform(0, np.pi, grid)
    y, x = np.mgrid[:side, :side][:, None, None, None] - rng.uniform(11, side - 12, (2, *grid))
    distance = np.hypot(y, x)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    shapes = [distance < radius, abs(distance - radius) < 1.5, (abs(along) < radius) & (abs(across) < 2)]
    kinds = sum((kind == number) * shape * number for number, shape in enumerate(shapes, start=1))
    kinds = kinds.swapaxes(2, 3).reshape(count, side * rows, side * columns)
    images = (kinds > 0) + rng.normal(0, 0.3, kinds.shape)
    return images[:, None].astype(np.float32), kinds


def _stains(side, rng):
    """Return the four stains of one field of cells, each (side, side), 0 to about 1."""
    cell, distance, gap = _cells(side, rng)
    size = rng.uniform(11, 17, cell.max() + 1)[cell]  # radius of each nucleus, in pixels
    bright = rng.uniform(0.5, 1, cell.max() + 1)[cell]
    nucleus = _edge(size - distance, 1.5)
    body = _edge(3.2 * size - distance, 3) * _edge(gap - 1, 2)
    grain, cloud = _field(side, 2, rng), _field(side, 9, rng)
    spots = _edge(_field(side, 3, rng) - 1.5, 0.3) * nucleus  # nucleoli
    nuclei = nucleus * bright * (0.75 + 0.08 * grain + 0.06 * cloud)
    around = np.exp(-np.maximum(distance - size, 0) / (1.1 * size))  # brighter near the nucleus
    cytoplasm = body * bright * (around * (0.6 + 0.1 * cloud + 0.05 * grain) * (1 - 0.6 * nucleus) + 0.5 * spots)
    fibres = _fibres(cell, rng)
    rim = np.exp(-((gap - 3) ** 2) / 8) * _edge(3.2 * size - distance, 3)
    actin = body * (0.2 + 0.3 * fibres * (1 - nucleus) + 0.1 * nucleus) * bright + 0.4 * rim * bright
    worms = _edge(_field(side, 1.6, rng) - _field(side, 4, rng) - 1.1, 0.25)
    mitochondria = body * around * (1 - nucleus) * bright * (0.15 + 0.85 * worms)
    return [ndi.gaussian_filter(np.clip(stain, 0, 1.2), 0.9) for stain in (nuclei, cytoplasm, actin, mitochondria)]


def _cells(side, rng):
    """Place cells; return for each pixel its cell, the distance to that cell's centre, and to the next cell's area."""
    step = 62  # pixels between neighbouring cells
    grid = np.mgrid[-step : side + step : step, -step : side + step : step].reshape(2, -1).T
    centres = grid + rng.uniform(-0.45 * step, 0.45 * step, grid.shape)
    centres = centres[rng.random(len(centres)) > 0.15]
    pixels = np.moveaxis(np.mgrid[:side, :side].astype(float), 0, -1)
    bend = np.stack([_field(side, 25, rng), _field(side, 25, rng)], axis=-1)
    distances, cells = cKDTree(centres).query(pixels + 9 * bend, k=2)
    return cells[..., 0], distances[..., 0], (distances[..., 1] - distances[..., 0]) / 2


def _fibres(cell, rng):
    """Return thin parallel fibres, 0 to 1, in a direction of its own in each cell."""
    side = len(cell)
    noise, fibres = rng.normal(size=(side, side)), np.zeros((side, side))
    direction = rng.integers(6, size=cell.max() + 1)[cell]
    frequency = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    for number in range(6):
        angle = np.pi * number / 6
        along = np.cos(angle) * frequency[0] + np.sin(angle) * frequency[1]
        across = np.cos(angle) * frequency[1] - np.sin(angle) * frequency[0]
        band = np.exp(-((along * 60) ** 2)) * np.exp(-(((np.abs(across) - 0.09) / 0.04) ** 2))
        lines = np.fft.ifft2(np.fft.fft2(noise) * band).real
        fibres[direction == number] = (lines / lines.std())[direction == number]
    return _edge(fibres - 0.8, 0.35)


def _field(side, width, rng):
    """Return a smooth random field (side, side) of mean 0 and spread 1; `width` is its grain in pixels."""
    field = ndi.gaussian_filter(rng.normal(size=(side, side)), width, mode="wrap")
    return field / field.std()


def _edge(depth, width):
    """Return a soft step from 0 (depth below 0) to 1, `width` pixels wide."""
    return 1 / (1 + np.exp(-np.clip(depth / width * 2, -30, 30)))
