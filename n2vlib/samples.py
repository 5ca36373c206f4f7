"""Other images to learn with: JUMP Cell Painting, photographs that ship in scikit-image, and painted shapes."""

import os
from pathlib import Path

import numpy as np
import skimage.data

from .bsd68 import NoisyImages, add_noise
from .download import fetch


def jump_stack():
    """Return the path of the noisy JUMP Cell Painting hyperstack, TCYX (517, 4, 540, 540), 1.2 GB.

    From the AI4Life denoising challenge 2024. Looked for in the folder that N2VLIB_DATA names, as noisy.tiff or
    jump_noisy.tiff there or in its subfolder jump; without the variable it is downloaded once.
    Raises FileNotFoundError for a folder without it, ConnectionError without network.
    """
    folder = os.environ.get("N2VLIB_DATA")
    if not folder:
        return fetch("jump_noisy.tiff")
    names = [Path(folder) / sub / name for sub in ("", "jump") for name in ("noisy.tiff", "jump_noisy.tiff")]
    found = [path for path in names if path.is_file()]
    if not found:
        raise FileNotFoundError(f"N2VLIB_DATA={folder} holds no noisy.tiff, neither there nor in its subfolder jump")
    return found[0]


def sample_photographs(seed=0):
    """Return photographs that ship in scikit-image with BSD68's noise, for a lesson without BSD68.

    The test photographs are not among the training ones. Returns NoisyImages.
    """
    train = ["camera", "astronaut", "rocket", "brick", "grass", "gravel"]
    test = ["chelsea", "coffee", "coins"]
    photographs = {name: _grey(getattr(skimage.data, name)()) for name in train + test}
    rng = np.random.default_rng(seed)
    pieces = np.stack([piece for name in train for piece in _pieces(photographs[name], 180)])
    pieces = add_noise(pieces[rng.permutation(len(pieces))], rng)
    clean = [photographs[name][:300, :384] for name in test]
    noisy = [add_noise(image, rng) for image in clean]
    return NoisyImages(pieces[4:], pieces[:4], noisy, clean, "photographs of scikit-image (these are NOT BSD68)")


def painted_shapes(count, rows=1, columns=1, side=32, seed=0):
    """Return small noisy pictures to classify and to segment, and which pixel is what.

    Each picture is a grid of squares of `side` pixels; each square is empty (0), or holds a disc (1), a ring (2) or a
    bar (3), of random size and place. Returns images (count, 1, side * rows, side * columns), float32, brightness 0
    to 1 plus Gaussian noise of 0.3, and the kind of each pixel (count, side * rows, side * columns), int64.
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


def _grey(image):
    return (image[..., :3].mean(axis=-1) if image.ndim == 3 else image).astype(np.float32)


def _pieces(image, side):
    """Cut an image into squares of `side` pixels."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    return [image[r * side : (r + 1) * side, c * side : (c + 1) * side] for r in range(rows) for c in range(columns)]
