"""Image files of any kind: one picture, or all that a folder holds, as an array or a stack (N, C, Y, X)."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data
import skimage.io
import tifffile

from .arrays import check_values, to_stack
from .stacks import plate_files, read_stack

SHIPPED = ("astronaut", "brick", "camera", "coins", "grass", "gravel", "moon", "page", "text")  # with scikit-image
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def load_image(source, channel_axis=None):
    """Read one image: the name of a picture that ships in scikit-image, or the path of an image file.

    source: "camera", "coins", "moon", ... or a TIFF, PNG or JPEG file. Colour photographs become
    grey unless channel_axis names their channels. Returns an array as stored (no rescaling), or
    float32 in 0..255 where colours were averaged.
    Raises FileNotFoundError for neither, ValueError for a file that cannot be read.

    >>> load_image("astronaut").shape, load_image("astronaut", channel_axis=-1).shape
    ((512, 512), (512, 512, 3))
    """
    path = Path(source)
    if path.is_file():
        try:
            reader = tifffile if path.suffix.lower() in (".tif", ".tiff") else skimage.io
            image = reader.imread(path)
        except Exception as error:  # each reader has its own kinds of failure: one sentence for all
            reason = str(error).split("\n")[0]
            raise ValueError(
                f"{path} cannot be read as an image ({reason}): is it a complete TIFF, PNG or JPEG?"
            ) from error
    elif str(source) in SHIPPED:
        image = getattr(skimage.data, str(source))()
    else:
        raise FileNotFoundError(
            f"no image {str(source)!r}: give the path of a file, or the name of one of scikit-image's (camera, coins)"
        )
    if channel_axis is None and image.ndim == 3 and image.shape[-1] in (3, 4):
        image = image[..., :3].mean(axis=-1).astype(np.float32)
    return image


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
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {path}: check the path")
    files, stacks = [path], []
    if path.is_dir() and not plate_files(path):
        files = sorted(file for file in path.iterdir() if file.is_file() and file.suffix.lower() in SUFFIXES)
        if not files:
            raise FileNotFoundError(f"folder {path} holds no image: TIFF, PNG or JPEG files are read")
    for file in files:
        is_stack = file.is_dir() or file.suffix.lower() in (".tif", ".tiff")
        stack = read_stack(file, axes)[0] if is_stack else to_stack(load_image(file))
        if stacks and stack.shape[1:] != stacks[0].shape[1:]:
            raise ValueError(
                f"{file.name} has (channels, Y, X) = {stack.shape[1:]} and {files[0].name} has {stacks[0].shape[1:]}: "
                "put images of one size in a folder"
            )
        check_values(stack, file.name)
        stacks.append(stack)
    stack = stacks[0] if len(stacks) == 1 else np.concatenate(stacks)
    like = stack if stack.shape[1] > 1 else stack[:, 0]
    like = like[0] if not path.is_dir() and len(stack) == 1 else like
    return Images(stack, like, [(f"{file.stem}_denoised", len(part)) for file, part in zip(files, stacks)])
