"""Hot and dead pixels: far from all their neighbours, beyond what the noise can do."""

import numpy as np
import scipy.ndimage as ndi

from .arrays import some_pixels

FAR = 3  # pixels, beyond which no cluster reaches
TIMES = 15  # the noise: of Laplacian noise, which has heavy tails, 1 pixel in 5 million is as far from the others
SMALLEST_STEP = 0.01  # of an image's range
BEYOND = 3  # times what any pixel of the ring around differs by: where that is less than TIMES their deviation
ELEVATED = 0.3  # of a pixel's height, from which a neighbour belongs to the same cluster
MOST = 3  # pixels in a cluster: four in a square are what a point between them looks like
SHARP = 0.12  # of a cluster's height, that its neighbours have at most: of a point 0.19 (its sigma 0.6 px) or more
# Larger clusters and tracks, as cosmic rays leave them, are outside of the range of 98 % of the pixels by 30 times the
# noise and twice that range, and half of their neighbours know nothing of them: of a point that lies between four
# pixels 0.05 (its sigma 0.5 px) or more.
OUTSIDE, RANGES, SHARPER = 30, 2, 0.03
LARGEST = 20  # pixels of such a cluster in a window of 9 x 9
PLACES = 32  # in each direction, at which the noise is measured
ROUNDS = 3
STRIP = 256  # rows that are looked at together: what is compared stays in the processor's cache


def broken_pixels(page, measured=None):
    """Find hot and dead pixels, single or up to three together; far outside of the range of the others, tracks too.

    A broken pixel has no neighbours that know of it; the image of a point, however small, has, as no lens is sharper
    than a pixel (so cosmic rays are told from stars: van Dokkum, PASP 2001). It differs from the pixels around by
    more than 15 robust deviations of these, more than noise does, of heavy tails or few counts, too.

    page: (Y, X), finite, in any units. measured: booleans (Y, X), False where the page was filled and has no noise, or
    None. Returns booleans (Y, X).

    >>> noisy = np.random.default_rng(0).normal(100, 10, (64, 64))
    >>> noisy[20, 30] += 500
    >>> np.argwhere(broken_pixels(noisy)).tolist()
    [[20, 30]]
    """
    broken = np.zeros(page.shape, bool)
    if min(page.shape) < 3 * FAR:
        return broken
    if page.dtype.kind == "f" and page.dtype.itemsize not in (4, 8):  # of which SciPy has no median filter
        page = page.astype(np.float32 if page.dtype.itemsize == 2 else np.float64)
    for _ in range(ROUNDS):  # one of the pixels that another is compared with may be broken
        more = _broken_beside(page, *_noise_and_range(page, measured)) & ~broken
        if not more.any():
            break
        broken |= more
        page = np.where(broken, ndi.median_filter(page, 2 * FAR + 1), page)
    return broken


def _broken_beside(page, least, bounds):
    """Return the broken pixels of a page in which few others are, booleans (Y, X)."""
    broken = np.zeros(page.shape, bool)
    rows, columns = _candidates(page, TIMES * least)
    if not rows.size or rows.size > page.size / 20:
        return broken
    near = np.arange(-FAR - 1, FAR + 2)
    down, across = (_reflected(at[:, None] + near, n) for at, n in zip((rows, columns), page.shape))
    clusters = _clusters(page[down[:, :, None], across[:, None, :]].astype(np.float32), least, bounds)
    which, y, x = np.nonzero(clusters)
    y, x = y + rows[which] + near[0], x + columns[which] + near[0]
    inside = (y >= 0) & (x >= 0) & (y < page.shape[0]) & (x < page.shape[1])
    broken[y[inside], x[inside]] = True
    return broken


def _reflected(at, length):
    """Return numbers of pixels, those beyond the borders reflected there."""
    return length - 1 - abs(length - 1 - abs(at))


def _noise_and_range(page, measured):
    """Return the deviation of a page's noise, and the values that large clusters lie beyond, (lowest, highest).

    The deviation is never less than a hundredth of the page's range or, of few counts, one count.
    """
    rows, columns = (np.linspace(FAR, length - FAR - 1, PLACES).astype(int) for length in page.shape)
    windows = np.lib.stride_tricks.sliding_window_view(page, (7, 7))[rows - 3][:, columns - 3]
    spread = _spread(_ring(windows.astype(np.float32)))
    if measured is not None:
        whole = np.lib.stride_tricks.sliding_window_view(measured, (7, 7))[rows - 3][:, columns - 3].all((2, 3))
        spread = spread[whole] if whole.any() else spread
    spread = np.median(spread)
    some = some_pixels(page, 2**14).astype(np.float32)
    low, high = np.quantile(some, (0.01, 0.99))
    values, counts = np.unique(some, return_counts=True)
    most = values[counts.argmax()]
    count = np.median(np.abs(some[some != most] - most)) if 2 * counts.max() > some.size > counts.max() else 0
    least = max(spread, SMALLEST_STEP * (high - low), count)
    further = max(OUTSIDE * least, RANGES * (high - low))
    return least, (low - further, high + further)


def _ring(windows):
    """Return the pixels of the outermost ring of windows (..., side, side), in a last axis."""
    return np.concatenate(
        [windows[..., 0, :], windows[..., -1, :], windows[..., 1:-1, 0], windows[..., 1:-1, -1]], axis=-1
    )


def _spread(ring):
    """Return the robust deviation of the last axis."""
    return 1.4826 * np.median(np.abs(ring - np.median(ring, axis=-1, keepdims=True)), axis=-1)


def _candidates(page, step):
    """Return where a page differs from three of the four pixels FAR away, in one direction, by more than a step.

    From three, not all: two broken pixels just as far apart would hide each other.
    """
    height, width = page.shape
    rows, columns = [], []
    for top in range(0, height, STRIP):
        near = _reflected(np.arange(top - FAR, min(top + STRIP, height) + FAR), height)
        beside = np.pad(page[near].astype(np.float32), ((0, 0), (FAR, FAR)), mode="reflect")
        above, below, middle = beside[: -2 * FAR, FAR:-FAR], beside[2 * FAR :, FAR:-FAR], beside[FAR:-FAR]
        here, far = middle[:, FAR:-FAR], (above, below, middle[:, :width], middle[:, 2 * FAR :])
        where = np.nonzero(np.maximum(abs(here - above), abs(here - below)) > step)
        differences = here[where] - np.stack([one[where] for one in far])
        certain = ((differences > step).sum(axis=0) > 2) | ((differences < -step).sum(axis=0) > 2)
        rows.append(where[0][certain] + top)
        columns.append(where[1][certain])
    return np.concatenate(rows), np.concatenate(columns)


def _clusters(windows, least, bounds):
    """Return the pixels of windows (K, side, side) that are broken together with the centre; none for sharp detail."""
    ring, centre = _ring(windows[:, 1:-1, 1:-1]), windows.shape[-1] // 2
    middle = np.median(ring, axis=1)
    height = windows - middle[:, None, None]
    here = windows[:, centre, centre]
    height *= np.sign(height[:, centre, centre])[:, None, None]
    peak = height[:, centre, centre]
    elevated = height > ELEVATED * peak[:, None, None]
    plane = np.zeros((3, 3, 3), bool)
    plane[1] = True
    labels, _ = ndi.label(elevated, plane)
    cluster = (labels == labels[:, centre, centre][:, None, None]) & elevated
    beside = ndi.binary_dilation(cluster, ndi.generate_binary_structure(2, 1)[None]) & ~cluster
    lowest = np.where(cluster, height, np.inf).min(axis=(1, 2))
    neighbours = np.where(beside, height, 0).sum(axis=(1, 2)) / np.maximum(beside.sum(axis=(1, 2)), 1)
    detail = np.minimum(TIMES * _spread(ring), BEYOND * np.abs(ring - middle[:, None]).max(axis=1))
    size = cluster.sum(axis=(1, 2))
    far = peak > np.maximum(TIMES * least, detail)
    broken = far & (size <= MOST)
    broken &= neighbours < SHARP * lowest - least  # which the noise may have taken away
    large = np.flatnonzero(far & ((here < bounds[0]) | (here > bounds[1])) & (size <= LARGEST) & ~broken)
    if large.size:
        half = np.nanmedian(np.where(beside, height, np.nan)[large], axis=(1, 2))  # of the neighbours is no higher
        broken[large] = half + least < SHARPER * lowest[large]
    return cluster & broken[:, None, None]
