"""Every image is a stack (N, C, Y, X): how it becomes one, is checked, comes back, and is flipped and turned."""

import numpy as np

# (flip y, flip x, turn): first the flips, then a quarter turn against the clock.
TURNS = ((0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0), (1, 1, 1), (0, 1, 1))
LARGEST = 1e18  # of an intensity: its square is a float32
STRIP = 256  # rows
SAME = 0.15  # of the largest entry beside the centre: covariances that differ less, differ by chance


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
    if isinstance(array, np.ma.MaskedArray):
        if np.ma.is_masked(array):
            raise TypeError(f"{name} is a masked array: give its data, and valid=~mask to leave out what is masked")
        array = array.data
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
        axis = channel_axis if isinstance(channel_axis, (int, np.integer)) else image.ndim  # which is refused
        if image.ndim not in (3, 4) or not -image.ndim <= axis < image.ndim:
            raise ValueError(
                f"channel_axis={channel_axis} does not fit an image of shape {image.shape}: "
                "use (Y, X, C) or (N, Y, X, C), the channels at any place"
            )
        image = np.moveaxis(image, channel_axis, -3)
        return image[None] if image.ndim == 3 else image
    looks_rgb = image.ndim in (3, 4) and image.shape[-1] in (3, 4) and min(image.shape[-3:-1]) > 4
    if looks_rgb:
        alpha = ", and image[..., :3] if the fourth is its transparency" if image.shape[-1] == 4 else ""
        raise ValueError(
            f"an image of shape {image.shape} looks like a colour photograph (Y, X, channels): "
            f"pass channel_axis=-1{alpha}"
        )
    if image.ndim in (3, 4) and image.shape[-1] == 1 and min(image.shape[-3:-1]) > 1:
        raise ValueError(
            f"an image of shape {image.shape} has one channel, stored last: pass channel_axis=-1, or image[..., 0]"
        )
    if image.ndim not in (2, 3, 4):
        raise ValueError(
            f"an image of shape {image.shape} has {image.ndim} dimensions: use (Y, X), (N, Y, X) or (N, C, Y, X)"
        )
    if image.ndim == 4:
        return image
    return image[None, None] if image.ndim == 2 else image[:, None]


def from_stack(stack, like, channel_axis=None):
    """Give a stack (N, C, Y, X) the shape that `like` had before `to_stack`."""
    if channel_axis is None:
        return stack.reshape(np.shape(like))
    return np.moveaxis(stack[0] if np.ndim(like) == 3 else stack, -3, channel_axis)


def check_values(stack, name="the image"):
    """Raise ValueError if a stack (N, C, Y, X) holds numbers that no sensor gives; NaN and infinity may be in it."""
    if stack.dtype.kind == "u" and stack.dtype.itemsize > 1 and any(map(_has_wrapped, stack[0])):
        raise ValueError(
            f"{name} has values near 0 and near {np.iinfo(stack.dtype).max} and none between, so what went below 0 in "
            "a subtraction has wrapped around: subtract anew in numbers that have a sign, as "
            'image.astype("float32") - dark'
        )
    if stack.dtype.kind != "f" or stack.dtype.itemsize < 4:
        return
    count, first = 0, None
    for n, c in np.ndindex(stack.shape[:2]):
        for rows in strips(stack.shape):
            size = np.abs(stack[n, c][rows])
            bad = (size > LARGEST) & (size < np.inf)
            if bad.any():
                count += bad.sum()
                y, x = np.argwhere(bad)[0]
                first = first or (n, c, y + rows[1].start, x)
    if count:
        n, c, y, x = first
        raise ValueError(
            f"{name} holds {count} values beyond {LARGEST:.0g}, which no sensor gives, the first in image {n}, channel "
            f"{c}, row {y}, column {x}: if they stand for missing pixels, set them to NaN, and they are left out"
        )


def _has_wrapped(page):
    """Return whether numbers below 0 came out as the largest ones of a page's unsigned dtype: a 50th of them or more.

    Fewer are broken pixels. Saturated pixels have one value, and some beside them lie between.
    """
    largest, some = np.iinfo(page.dtype).max, some_pixels(page, 2**16)
    high, low = some > largest / 16 * 15, some < largest / 16
    return bool(high.mean() > 0.02 and (high | low).mean() > 0.9999 and len(np.unique(some[high])) > 8)


def some_pixels(page, count):
    """Return about so many pixels of a page (Y, X), (K,): at an odd step, not the same columns in each row."""
    return page.ravel()[:: page.size // count | 1]


def strips(shape):
    """Yield indices of STRIP rows each of an array (..., Y, X), so that what is computed of it needs little memory."""
    for top in range(0, shape[-2], STRIP):
        yield np.s_[..., top : top + STRIP, :]


def turn(image, flip_y, flip_x, quarter):
    """Flip and turn an array (..., Y, X), without copying."""
    image = image[..., ::-1, :] if flip_y else image
    image = image[..., ::-1] if flip_x else image
    return np.rot90(image, axes=(-2, -1)) if quarter else image


def turn_tensor(image, flip_y, flip_x, quarter, back=False):
    """Flip and turn a tensor (..., Y, X), or undo it with `back`; the tensor itself if nothing is to be done."""
    flips = [axis for axis, flip in ((-2, flip_y), (-1, flip_x)) if flip]
    if back and quarter:
        image = image.rot90(-quarter, (-2, -1))
    image = image.flip(flips) if flips else image
    return image.rot90(quarter, (-2, -1)) if quarter and not back else image


def turns_that_keep(structure):
    """Return those of TURNS that map a mask or a covariance (..., size, size) onto itself; None: all.

    Stripes stay stripes under flips, and a quarter turn would make them another noise.
    They are 2, 4 or 8, because noise looks the same from both ends of a line.
    """
    if structure is None:
        return TURNS
    structure = np.asarray(structure, np.float64)
    beside = structure.copy()
    beside[..., structure.shape[-2] // 2, structure.shape[-1] // 2] = 0
    allowed = SAME * np.abs(beside).max()
    square = structure.shape[-2] == structure.shape[-1]
    fits = [t for t in TURNS if square or not t[2]]
    kept = [t for t in fits if np.abs(turn(structure, *t) - structure).max() <= allowed]
    return tuple(kept) if len(kept) in (2, 4, 8) else ((0, 0, 0), (1, 1, 0))


def symmetrised(covariance):
    """Average an estimated covariance (size, size) over the turns that leave it as it is, but for chance."""
    return np.mean([turn(covariance, *t) for t in turns_that_keep(covariance)], axis=0)
