"""Images for the pipeline: from an array, a file or a folder, split for training, and the places to learn from."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .data import SMALLEST_SIDE, check_values
from .images import load_image, to_stack
from .stacks import PHENIX, read_stack

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
MOST_CORNERS = 4096  # of one image: plenty, and a stack of many images stays in memory


class Images(NamedTuple):
    """Images as a stack (N, C, Y, X), what they looked like before, and the name and number of images of each file."""

    stack: np.ndarray
    like: np.ndarray
    files: list


def read_images(source, axes=None):
    """Read an array, an image file (TIFF, PNG, JPEG), or all such files of a folder as one stack.

    Intensities stay as they are. axes: of TIFF files, see `read_stack`. Other files of a folder are left alone.
    Returns Images. Raises FileNotFoundError for a path or folder without images, ValueError for files of
    different shapes, and what `read_stack`, `load_image` and `to_stack` raise.
    """
    if not isinstance(source, (str, Path)):
        stack = to_stack(source)
        check_values(stack)
        return Images(stack, np.asanyarray(source), [("denoised", len(stack))])
    path = Path(source)
    if path.is_dir() and not any(PHENIX.fullmatch(file.name) for file in path.iterdir()):
        files = sorted(file for file in path.iterdir() if file.is_file() and file.suffix.lower() in SUFFIXES)
        if not files:
            raise FileNotFoundError(f"folder {path} holds no image: TIFF, PNG or JPEG files are read")
        stacks = [_read(file, axes) for file in files]
    elif path.exists():
        files, stacks = [path], [_read(path, axes)]
    else:
        raise FileNotFoundError(f"no file or folder {path}: check the path")
    for file, stack in zip(files, stacks):
        if stack.shape[1:] != stacks[0].shape[1:]:
            raise ValueError(
                f"{file.name} has (channels, Y, X) = {stack.shape[1:]} and {files[0].name} has {stacks[0].shape[1:]}: "
                "put images of one size in a folder"
            )
        check_values(stack, file.name)
    stack = stacks[0] if len(stacks) == 1 else np.concatenate(stacks)
    like = stack if stack.shape[1] > 1 else stack[:, 0]
    like = like[0] if not path.is_dir() and len(stack) == 1 else like
    return Images(stack, like, [(f"{file.stem}_denoised", len(part)) for file, part in zip(files, stacks)])


def _read(file, axes):
    if file.is_dir() or file.suffix.lower() in (".tif", ".tiff"):
        return read_stack(file, axes)[0]
    return to_stack(load_image(file))


def split_parts(stack, ratio, seed=0):
    """Split a stack into three, for training, validation and test; a part without anything is None.

    By images, drawn at random, if each part gets one; else by regions, strips across the longer side.
    ratio: three fractions. Returns the parts, and "images" or "regions".
    """
    share = np.cumsum(ratio)[:2]
    cuts = np.round(share * len(stack)).astype(int)
    counts = np.diff([0, *cuts, len(stack)])
    if all(count > 0 or part == 0 for count, part in zip(counts, ratio)):
        pages = np.split(np.random.default_rng(seed).permutation(len(stack)), cuts)
        whole = len(pages[0]) == len(stack)
        return [stack if whole else stack[np.sort(pages[0])]] + [
            stack[np.sort(part)] if len(part) else None for part in pages[1:]
        ], "images"
    axis = 2 if stack.shape[2] >= stack.shape[3] else 3
    cuts = np.round(share * stack.shape[axis]).astype(int)
    parts = np.split(stack, cuts, axis=axis)
    if min(part.shape[axis] for part, r in zip(parts, ratio) if r) < SMALLEST_SIDE:
        return [stack, None, None], "regions"  # too small to be split
    return [parts[0]] + [part if part.shape[axis] else None for part in parts[1:]], "regions"


def patch_corners(stack, patch_size, roi_threshold=0.5, scale_factor=0.25, select_background=True):
    """Choose where patches may be cut: on flat background, be it dark or bright, or on structures.

    The images are shrunk by scale_factor, which takes most of the noise along; of all patches of an
    image, the share roi_threshold with the lowest local variance is background, the rest structures.
    Channels count together, each relative to its own spread.

    stack: (N, C, Y, X). Returns integers (K, 3): image, row, column of the patches' upper left pixels.
    """
    factor = max(1, round(1 / scale_factor))
    height, width = stack.shape[-2:]
    side = min(patch_size, height, width)
    small, corners = max(2, side // factor), []
    for number, page in enumerate(stack):
        page = page[:, : height // factor * factor, : width // factor * factor].astype(np.float64)
        shrunk = page.reshape(len(page), page.shape[1] // factor, factor, -1, factor).mean(axis=(2, 4))
        windows = sliding_window_view(shrunk, (small, small), axis=(1, 2))
        spread = shrunk.var(axis=(1, 2))[:, None, None]
        variance = (windows.var(axis=(3, 4)) / np.maximum(spread, 1e-30)).mean(axis=0)
        limit = np.quantile(variance, roi_threshold)
        places = np.argwhere(variance <= limit if select_background else variance >= limit)
        places = places[:: -(-len(places) // MOST_CORNERS)] * factor
        places = np.minimum(places, (height - side, width - side))
        corners.append(np.column_stack([np.full(len(places), number), places]))
    return np.concatenate(corners)
