"""The eight flips and quarter turns of an image, and which of them leave the noise as it is."""

import numpy as np

# (flip y, flip x, turn): first the flips, then a quarter turn against the clock.
TURNS = ((0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0), (1, 1, 1), (0, 1, 1))
SAME = 0.15  # of the largest entry beside the centre: covariances that differ less, differ by chance


def turn(image, flip_y, flip_x, quarter):
    """Flip and turn an array (..., Y, X), without copying."""
    image = image[..., ::-1, :] if flip_y else image
    image = image[..., ::-1] if flip_x else image
    return np.rot90(image, axes=(-2, -1)) if quarter else image


def turn_tensor(image, flip_y, flip_x, quarter, back=False):
    """Flip and turn a tensor (..., Y, X), or undo it with `back`."""
    flips = [axis for axis, flip in ((-2, flip_y), (-1, flip_x)) if flip]
    return image.rot90(-quarter, (-2, -1)).flip(flips) if back else image.flip(flips).rot90(quarter, (-2, -1))


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
    return tuple(kept if len(kept) in (2, 4, 8) else [t for t in TURNS if t in ((0, 0, 0), (1, 1, 0))])


def symmetrised(covariance):
    """Average an estimated covariance (size, size) over the turns that leave it as it is, but for chance."""
    return np.mean([turn(covariance, *t) for t in turns_that_keep(covariance)], axis=0)
