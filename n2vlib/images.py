"""Images in and out: read a file, and view every image as a stack (N, C, Y, X)."""

from pathlib import Path

import numpy as np
import skimage.data
import skimage.io
import tifffile


def load_image(source, channel_axis=None):
    """Read one image: the name of a picture that ships in scikit-image, or the path of an image file.

    source: "camera", "coins", "moon", ... or a TIFF, PNG or JPEG file. Colour photographs become
    grey unless channel_axis names their channels. Returns an array as stored (no rescaling), or
    float32 in 0..255 where colours were averaged.
    Raises FileNotFoundError for neither, ValueError for a file that cannot be read.
    """
    path = Path(source)
    if path.is_file():
        image = _read_file(path)
    elif str(source) in ("astronaut", "brick", "camera", "coins", "grass", "gravel", "moon", "page", "text"):
        image = getattr(skimage.data, str(source))()
    else:
        raise FileNotFoundError(
            f"no image {str(source)!r}: give the path of a file, or the name of one of scikit-image's (camera, coins)"
        )
    if channel_axis is None and image.ndim == 3 and image.shape[-1] in (3, 4):
        image = image[..., :3].mean(axis=-1).astype(np.float32)
    return image


def _read_file(path):
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return tifffile.imread(path)
        return skimage.io.imread(path)
    except Exception as error:  # each reader has its own kinds of failure: one sentence for all
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{path} cannot be read as an image ({reason}): is it a complete TIFF, PNG or JPEG?"
        ) from error


def as_array(image, name="the image"):
    """Return an array, a tensor or nested lists of numbers as an array, memory maps as they are.

    Raises TypeError for anything that is no array of real numbers (integer, float or bool).
    """
    try:
        array = np.asanyarray(image)
    except Exception as error:  # of tensors, lists and others, each in its own way
        reason = " ".join(str(error).split())[:100]
        raise TypeError(
            f"{name} is a {type(image).__name__} that cannot be read as an array ({reason}): give a NumPy array"
        ) from error
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has dtype {array.dtype}: only real numbers (integer or float) can be denoised")
    return array


def to_stack(image, channel_axis=None):
    """View an image as a stack (N, C, Y, X) after checking that it is one.

    image: (Y, X), (N, Y, X) or (N, C, Y, X), any real dtype; with channel_axis (scikit-image's
    convention) one axis more than without channels: (Y, X, C) or (N, Y, X, C) for -1.
    Raises TypeError for values that are not real numbers, ValueError for everything else.
    """
    image = as_array(image)
    if image.size == 0:
        raise ValueError(f"the image is empty, its shape is {image.shape}: check how it was cut or loaded")
    if channel_axis is not None:
        return _stack_with_channels(image, channel_axis)
    looks_rgb = image.ndim in (3, 4) and image.shape[-1] in (3, 4) and min(image.shape[-3:-1]) > 4
    if looks_rgb:
        raise ValueError(
            f"an image of shape {image.shape} looks like a colour photograph (Y, X, channels): pass channel_axis=-1"
        )
    if image.ndim not in (2, 3, 4):
        raise ValueError(
            f"an image of shape {image.shape} has {image.ndim} dimensions: use (Y, X), (N, Y, X) or (N, C, Y, X)"
        )
    if image.ndim == 4:
        return image
    return image[None, None] if image.ndim == 2 else image[:, None]


def _stack_with_channels(image, channel_axis):
    axis = channel_axis if isinstance(channel_axis, (int, np.integer)) else image.ndim  # which is refused
    if image.ndim not in (3, 4) or not -image.ndim <= axis < image.ndim:
        raise ValueError(
            f"channel_axis={channel_axis} does not fit an image of shape {image.shape}: "
            "use (Y, X, C) or (N, Y, X, C), the channels at any place"
        )
    image = np.moveaxis(image, channel_axis, -3)
    return image[None] if image.ndim == 3 else image


def from_stack(stack, like, channel_axis=None):
    """Give a stack (N, C, Y, X) the shape that `like` had before `to_stack`."""
    if channel_axis is None:
        return stack.reshape(np.shape(like))
    return np.moveaxis(stack[0] if np.ndim(like) == 3 else stack, -3, channel_axis)
