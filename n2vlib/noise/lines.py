"""Whole rows or columns offset in brightness: found by what far parts of a row share, and taken off a page."""

import itertools

import numpy as np
import scipy.fft
import scipy.ndimage

STRIPS = 4  # of a page, side by side; those that are compared do not touch
FAR = ((0, 2), (1, 3), (0, 3))
CERTAIN = 4  # deviations of chance that the correlation of far parts must reach
SMALLEST_SHARE = 0.2  # of what such parts vary by, that must be shared: less does no harm
BANDS = (0.05, 0.15, 0.3, 0.5)  # cycles a line, in which the offsets' power is measured; slower is shading


def line_covariance(pages, count=64):
    """Measure offsets of whole rows: their covariance at each distance across rows, of either sign.

    Differences of neighbouring rows, a robust mean over a strip of columns, are compared between strips that do
    not touch. In noise only an offset of the whole row is shared by them; edges of the image hardly are, and the
    signs of differences, which are compared first, know no outliers.

    pages: (N, Y, X) in intensity units; transposed for columns. count: of distances.
    Returns (count,) in intensity units squared, all 0 where there are no such offsets.

    >>> rng = np.random.default_rng(0)
    >>> rows = rng.normal(0, 10, (128, 1))
    >>> covariance = line_covariance([rows + rng.normal(0, 10, (128, 128))])
    >>> round(float(covariance[0] ** 0.5)), round(float(covariance[1] / covariance[0]))
    (10, 0)
    """
    pages = [np.array_split(np.asarray(page, np.float64), STRIPS, axis=1) for page in pages]
    rows = len(pages[0][0])
    if min(rows, sum(strip.shape[1] for strip in pages[0])) < 8 * STRIPS:
        return np.zeros(count)
    # Pages may show the same thing, so they do not make it more certain.
    needed = max(SMALLEST_SHARE, CERTAIN * 1.4 / np.sqrt(rows))
    share = np.mean([_shared_part(strips) for strips in pages], axis=0)
    if share.mean() < needed or share.min() < needed / 3:
        return np.zeros(count)
    steps = [np.stack([_row_steps(strip) for strip in strips]) for strips in pages]
    power = np.mean([_shared_power(each) for each in steps], axis=0)
    power[0] = min(power[0], 2 * power[1])  # strips share some shading, too
    bands = np.interp(np.fft.rfftfreq(4 * count), (np.array(BANDS[:-1]) + BANDS[1:]) / 2, power)
    return np.fft.irfft(bands)[:count]


def line_offsets(page, covariance):
    """Estimate the offset of each row of a page, as far as it can be told from the image (Wiener 1949).

    page: (Y, X), transposed for columns. covariance: of `line_covariance`. Returns (Y,) in intensity units. Fast
    changes from row to row are noise; slow ones are taken for noise only in the measure in which the offsets' own
    power explains them.

    >>> rng = np.random.default_rng(0)
    >>> rows, noise = rng.normal(0, 10, 128), rng.normal(0, 10, (128, 128))
    >>> rest = rows - line_offsets(rows[:, None] + noise, [100.0, 0, 0])
    >>> bool(rest.std() < 3)
    True
    """
    page = np.asarray(page, np.float64)
    if np.ptp(page) == 0:
        return np.zeros(len(page))
    offsets = np.concatenate([[0], np.cumsum(_row_steps(page, _flatness(page)))])
    waves = scipy.fft.dct(offsets, norm="ortho")
    frequency = np.arange(len(waves)) / (2 * len(waves))
    lags = np.arange(len(covariance))
    law = np.asarray(covariance, np.float64) * np.where(lags, 2, 1)
    power = np.maximum(law @ np.cos(2 * np.pi * np.outer(lags, frequency)), 0)
    gain = np.minimum(1, power / np.maximum(_smooth(waves**2), 1e-300))
    gain[0] = 0  # the mean of the page
    return scipy.fft.idct(gain * waves, norm="ortho")


def _row_steps(strip, weights=None):
    """Return the difference of each row to the next, a robust weighted mean over the columns: (Y - 1,)."""
    steps = np.diff(strip, axis=0)
    weights = np.ones_like(steps) if weights is None else np.minimum(weights[1:], weights[:-1])
    middle = np.median(steps, axis=1, keepdims=True)
    scale = 1.5 * np.median(np.abs(steps - middle)) / 0.6745
    if scale == 0:  # drawn by a computer, or most pixels without a photon: no offsets can be told
        return np.zeros(len(steps))
    total = weights.sum(axis=1, keepdims=True)
    for _ in range(6):  # what is left is clipped and averaged again (Huber)
        rest = np.clip(steps - middle, -scale, scale)
        middle = middle + 1.15 * (weights * rest).sum(axis=1, keepdims=True) / total
    return middle[:, 0]


def _flatness(page):
    """Return weights, (Y, X), near 1 where a page is calm along the rows, and small where it is not."""
    page = (page - np.median(page)) / page.std()
    mean = scipy.ndimage.uniform_filter1d(page, 9, axis=1)
    variance = scipy.ndimage.uniform_filter1d(page**2, 9, axis=1) - mean**2
    variance = scipy.ndimage.uniform_filter1d(variance, 5, axis=0)
    return 1e-4 + 1 / (1 + (variance / max(2 * np.quantile(variance, 0.2), 1e-12)) ** 4)


def _shared_part(strips):
    """Return the correlation of the rows' changes between strips that do not touch, for each pair of FAR.

    An offset moves all pixels of a row, dark and bright ones; a line of print moves the dark ones. So both quartiles of
    the differences to the next row must move alike, and the smaller correlation counts.
    """
    quartiles = np.stack([np.quantile(np.diff(strip, axis=0), (0.25, 0.75), axis=1) for strip in strips])
    bends = np.diff(quartiles, axis=2)  # shading goes
    signs = [np.sign(bends[a] * bends[b]).mean(axis=1).min() for a, b in FAR]
    return np.sin(np.pi / 2 * np.array(signs))  # the correlation that Gaussian numbers have (Kendall)


def _shared_power(steps):
    """Return the power of the rows' offsets in each of BANDS, from the products of strips that do not touch."""
    limit = 4 * np.median(np.abs(steps), axis=1, keepdims=True) / 0.6745
    steps = np.clip(steps, -limit, limit)
    spectrum = np.fft.rfft(steps * np.hanning(steps.shape[1] + 2)[1:-1])
    weight = (np.hanning(steps.shape[1] + 2)[1:-1] ** 2).sum()
    product = np.mean([(spectrum[a] * spectrum[b].conj()).real for a, b in FAR], axis=0) / weight
    frequency = np.fft.rfftfreq(steps.shape[1])
    power = product / np.maximum(2 - 2 * np.cos(2 * np.pi * frequency), 1e-12)
    inside = [(frequency >= low) & (frequency < high + 1e-9) for low, high in itertools.pairwise(BANDS)]
    return np.maximum([power[band].mean() for band in inside], 0)


def _smooth(power):
    """Average power over the frequencies within a quarter of each: (K,)."""
    total = np.concatenate([[0], np.cumsum(power[1:])])
    numbers = np.arange(len(power))
    reach = np.maximum(2, numbers // 4)
    low, high = np.clip(numbers - reach - 1, 0, None), np.minimum(numbers + reach, len(power) - 1)
    return (total[high] - total[low]) / np.maximum(high - low, 1)
