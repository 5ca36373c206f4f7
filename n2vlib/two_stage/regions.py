"""Which images, or regions of one image, to learn from, and where patches may be cut in them."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..images.gaps import fill_gaps, find_gaps
from ..learning.patches import LEAST_MEASURED, SMALLEST_SIDE

MOST_CORNERS = 4096  # of one image: plenty, and a stack of many images stays in memory


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
        # All pages together are the stack itself, which may be a memory map: no copy.
        parts, how = [stack if len(part) == len(stack) else stack[np.sort(part)] for part in pages], "images"
    else:
        axis = 2 if stack.shape[2] >= stack.shape[3] else 3
        parts, how = np.split(stack, np.round(share * stack.shape[axis]).astype(int), axis=axis), "regions"
        if min(part.shape[axis] for part, r in zip(parts, ratio) if r) < SMALLEST_SIDE:
            return [stack, None, None], how  # too small to be split
    return [part if part.size else None for part in parts], how


def patch_corners(stack, patch_size, roi_threshold=0.5, scale_factor=0.25, select_background=True):
    """Choose where patches may be cut: on flat background, be it dark or bright, or on structures.

    The images are shrunk by scale_factor, which takes most of the noise along; of all patches of an
    image, the share roi_threshold with the lowest local variance is background, the rest structures.
    Channels count together, each relative to its own spread.

    stack: (N, C, Y, X). Returns integers (K, 3): image, row, column of the patches' upper left pixels; None (anywhere)
    where there is no such place that is mostly measured.
    """
    factor = max(1, round(1 / scale_factor))
    height, width = stack.shape[-2:]
    side = min(patch_size, height, width)
    small, corners, missing = max(2, side // factor), [], find_gaps(stack).missing(stack)
    for number, page in enumerate(fill_gaps(stack, missing)):
        page = page[:, : height // factor * factor, : width // factor * factor].astype(np.float64)
        shrunk = page.reshape(len(page), page.shape[1] // factor, factor, -1, factor).mean(axis=(2, 4))
        windows = sliding_window_view(shrunk, (small, small), axis=(1, 2))
        spread = shrunk.var(axis=(1, 2))[:, None, None]
        variance = (windows.var(axis=(3, 4)) / np.maximum(spread, 1e-30)).mean(axis=0)
        limit = np.quantile(variance, roi_threshold)
        places = np.argwhere(variance <= limit if select_background else variance >= limit)
        places = np.minimum(places * factor, (height - side, width - side))
        places = places[_measured_shares(missing[number], places, side) >= LEAST_MEASURED]
        if len(places):
            places = places[:: -(-len(places) // MOST_CORNERS)]
            corners.append(np.column_stack([np.full(len(places), number), places]))
    return np.concatenate(corners) if corners else None


def _measured_shares(missing, places, side):
    """Return of patches at places (K, 2) the share of pixels that every channel has measured; missing: (C, Y, X)."""
    sums = np.pad(missing.any(axis=0), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)  # of all above and to the left
    y, x = places.T
    gap = sums[y + side, x + side] - sums[y, x + side] - sums[y + side, x] + sums[y, x]
    return 1 - gap / side**2
