"""Which neighbours of a pixel carry the same noise: what structN2V hides, from an autocovariance."""

import numpy as np
import scipy.ndimage
import scipy.special
from skimage.segmentation import flood

from .covariance import Autocovariance, checked_values, square_rings

SOME_TEXTURE = 0.05  # of a correlation of 1
FALSE_ALARMS = 0.01  # white noise alone gets a mask beyond the centre in at most this share of images


def structural_mask(autocovariance, threshold=0.15, max_true_pixels=None, smallest=0.15):
    """Return which neighbours carry the same noise as a pixel: what structN2V hides (Broaddus et al. 2020).

    A neighbour counts if its covariance, of either sign, is at least `threshold` times the strongest neighbour's,
    and beyond the chance of white noise (see FALSE_ALARMS). Where even the strongest has a correlation
    below `smallest`, none counts: so little does hardly any harm, and faint texture looks the same.
    Of all that count, those connected with the centre are kept.

    autocovariance: an Autocovariance, or its values. max_true_pixels: keep the strongest, at most so many.
    Returns a boolean array of the same size, symmetric about the centre, which is True.
    Raises ValueError for what is no autocovariance.

    >>> structural_mask([[0, 0, 0], [0.5, 1, 0.5], [0, 0.1, 0]]).astype(int)
    array([[0, 0, 0],
           [1, 1, 1],
           [0, 0, 0]])
    """
    values = checked_values(autocovariance)
    # Texture leaves neighbours of either sign behind; then only those alike are believed.
    values = np.abs(values) if getattr(autocovariance, "texture", 0) < SOME_TEXTURE else np.maximum(values, 0)
    neighbours = square_rings(len(values)) > 0
    strongest = values[neighbours].max()
    limit = max(threshold * strongest, np.finfo(float).tiny)
    variance = values.max()
    if isinstance(autocovariance, Autocovariance):
        tests = neighbours.sum() // 2  # opposite neighbours have the same covariance
        limit = np.maximum(limit, -scipy.special.ndtri(FALSE_ALARMS / tests) * autocovariance.error)
        # Texture is never removed neatly: what is left of much of it must not pass for structured noise.
        variance *= max(1, 0.5 / max(1 - autocovariance.texture, 0.01))
    found = neighbours & (values >= limit) & (strongest >= smallest * variance)
    return _around_centre(found, values, max_true_pixels)


def ring_mask(
    autocorrelation, base_percentile=30, percentile_decay=1.15, center_ratio_threshold=0.1, max_true_pixels=25
):
    """Return which neighbours carry the same noise by the autoStructN2V documentation's rule, ring by ring.

    On the square ring r = 1, 2, ... around the centre a neighbour counts from base_percentile *
    percentile_decay**(r - 1) percent of the way between the background (the median of the outer
    ring) and the ring's maximum; if that maximum is at least center_ratio_threshold of the centre.
    Of all that count, those connected with the centre are kept, at most max_true_pixels, the strongest.
    The documentation's values are 50, 1.15, 0.3 and 25; ours find more on noisy images, and `two_stage.settings.RINGS`
    has those for background denoised by stage 1. That must be trained well: at first it smears a diagonal into a
    broad band.

    autocorrelation: square, of odd side, in any units; of noise alone, or of denoised background.
    Returns a boolean array as `structural_mask` does. Raises ValueError for what is no autocorrelation.

    >>> values = np.outer([0, 0.1, 1, 0.1, 0], [0.2, 0.5, 1, 0.5, 0.2])
    >>> ring_mask(values)[2].astype(int), ring_mask(values, center_ratio_threshold=0.3)[2].astype(int)
    (array([1, 1, 1, 1, 1]), array([0, 1, 1, 1, 0]))
    """
    values = checked_values(autocorrelation)
    rings = square_rings(len(values))
    radius = np.arange(rings.max() + 1)
    highest = scipy.ndimage.maximum(values, rings, radius)
    background = np.median(values[rings == radius[-1]])
    percent = np.minimum(base_percentile * percentile_decay ** (radius - 1.0), 100)
    limit = background + percent / 100 * (highest - background)
    limit[highest < center_ratio_threshold * highest[0]] = np.inf
    return _around_centre(values >= limit[rings], values, max_true_pixels)


def with_whole_lines(mask, rows, columns, side):
    """Return a mask that hides whole rows or columns besides, where these are offset in brightness.

    mask: of `structural_mask`. rows, columns: whether to hide the row (the column) of the centre. side: of the patches
    in pixels: hidden are side - 1 pixels to either side. Returns a boolean array with odd sides, no larger than needed.

    >>> with_whole_lines(np.array([[False, False, False], [True, True, True], [False, False, False]]), True, False, 4)
    array([[ True,  True,  True,  True,  True,  True,  True]])
    """
    y, x = np.abs(np.argwhere(mask) - np.array(mask.shape) // 2).max(axis=0)
    height, width = (side - 1 if columns else y), (side - 1 if rows else x)
    whole = np.zeros((2 * height + 1, 2 * width + 1), bool)
    top, left = height - y, width - x
    centre = np.array(mask.shape) // 2
    whole[top : top + 2 * y + 1, left : left + 2 * x + 1] = mask[
        centre[0] - y : centre[0] + y + 1, centre[1] - x : centre[1] + x + 1
    ]
    if rows:
        whole[height] = True
    if columns:
        whole[:, width] = True
    return whole


def is_compact(mask):
    """Return whether a mask hides all eight neighbours of its centre, so that no near one is left to predict from."""
    y, x = (side // 2 for side in mask.shape)
    return min(y, x) > 0 and bool(mask[y - 1 : y + 2, x - 1 : x + 2].all())


def _around_centre(found, values, most):
    """Keep the entries connected with the centre (diagonally too), at most so many, in symmetric pairs."""
    centre = (len(values) // 2, len(values) // 2)
    found[centre] = True
    mask = flood(found, centre, connectivity=2)
    if most is not None and mask.sum() > most:
        half = np.where(mask, values, -np.inf).ravel()[: values.size // 2]
        kept = np.argsort(-half, kind="stable")[: max(0, (most - 1) // 2)]
        mask = np.zeros_like(mask)
        mask.flat[kept] = mask.flat[values.size - 1 - kept] = mask[centre] = True
        mask = flood(mask, centre, connectivity=2)
    return mask
