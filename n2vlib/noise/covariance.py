"""How the noise of neighbouring pixels is correlated, measured on the noisy image itself.

image -> flat patches -> autocovariance of their noise.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.special
from numpy.lib.stride_tricks import sliding_window_view

from ..images.arrays import check_values, to_stack
from ..images.gaps import fill_gaps

MOST_PAGES = 64  # of a stack: plenty, and the time does not grow with it
MOST_PATCHES = 64  # in a row or column of one page
SQUARE = "a square of numbers with an odd side of 3 or more"
LONG = 41  # size of a covariance, in pixels, for noise along lines longer than 11 pixels show
OPPOSITE, SMOOTH = 0.1, 1.5  # a correlation, and pixels: see `_smooth_part`
HEAVY_TAILS = 1.5  # excess kurtosis that texture shows, for a correlation of 1 (measured: 1.3 to 3, and more)


class Autocovariance(NamedTuple):
    """Covariance of the noise of two pixels at each distance, in intensity units squared.

    values: (size, size), size odd, [c + dy, c + dx] for the centre c. error: the standard error that
    each value would have if the noise were white. texture: the correlation of neighbours, 0 to 1,
    that was taken for texture of the image instead of noise. level: the mean intensity where it was measured.
    tails: the excess kurtosis of the noise there, 0 for Gaussian noise.
    """

    values: np.ndarray
    error: np.ndarray | float = 0.0
    texture: float = 0.0
    level: float = 0.0
    tails: float = 0.0


def noise_autocovariance(images, size=11, patch=24, share=10, channel=None, guide=None, valid=None, wider=False):
    """Measure the autocovariance of the noise where the image is flat, be it dark or bright.

    Each image is cut into patches that overlap by half. The `share` percent with the lowest variance
    lose a quadratic surface; what is left is noise. The products of all its pixel pairs at each
    distance are averaged, and the median of the outer ring, where noise should be independent, is
    subtracted: it makes up for what the surface took along. Texture is removed as far as it has heavy
    tails and no direction, or lies beneath opposite neighbours, and what the choice of the calmest patches took away is
    given back: see `_texture_share`, `_isotropic_part`, `_smooth_part` and `_lost_by_selection`.

    images: (Y, X), (N, Y, X) or (N, C, Y, X), any units; of several channels, name one. size, patch:
    sides in pixels, size odd. guide: the same images denoised, in which the calmest patches are looked for
    instead. valid: boolean, of the images' shape (one channel): patches with more than 1 % of pixels that are not
    (clipped, say) are left out, if others remain. wider: take then all patches that differ from these by chance at
    most: the values are a third as uncertain, but texture is seldom told from noise. Returns an Autocovariance.
    Raises ValueError for images smaller than two patches, or without noise. NaN is left out.

    >>> white = np.random.default_rng(0).normal(0, 10, (128, 129))
    >>> values = noise_autocovariance(white[:, 1:] + white[:, :-1]).values  # neighbours in a row share a half
    >>> (values[5, 4:7] / values.max()).round(1)
    array([0.5, 1. , 0.5])
    """
    stack = _one_channel(images, size, patch, channel)
    guides = stack if guide is None else _one_channel(guide, size, patch, channel)
    usable = np.broadcast_to(True, stack.shape) if valid is None else np.reshape(valid, stack.shape)
    basis = _quadratic_surfaces(patch)
    found = _gathered(stack, guides, usable, basis, size, share)
    if wider:
        values, _ = _centred(found, size, patch)
        scatter, mean = _scatter(values, patch), _mean_of_calmest(values, found.cut / found.count, patch)
        limit = found.variance / found.count / mean * (1 + scatter)
        found = _gathered(stack, guides, usable, basis, size, share, limit)
    return _autocovariance(found, size, patch)


class Sums(NamedTuple):
    """What is summed over the flattest patches of all pages, their number, and how much they overlap."""

    products: np.ndarray
    moments: np.ndarray
    count: int
    overlap: float
    cut: float
    level: float
    tails: float
    variance: float


def _gathered(stack, guides, usable, basis, size, share, limit=None):
    """Sum over the flattest patches of all pages; limit: the variance up to which they are taken, not by share."""
    total = None
    for n in range(0, len(stack), -(-len(stack) // MOST_PAGES)):
        page, where = stack[n].astype(np.float64), guides[n].astype(np.float64)
        finite = np.isfinite(page)
        page, where = fill_gaps(page, ~finite), fill_gaps(where, ~np.isfinite(where))
        noise, shared, mean = _flat_patches(page, basis, share, where, usable[n] & finite, limit)
        if len(noise) == 0:
            continue
        variance, many = np.square(noise).mean(axis=(1, 2)), len(noise)
        sums = Sums(
            lag_products(noise, size).sum(axis=0),
            _detail_moments(noise).sum(axis=2),
            many,
            shared,
            many * (variance.max() if limit is None else limit) / variance.mean(),
            mean * many,
            ((noise**4).mean(axis=(1, 2)) / variance**2 - 3).sum(),
            variance.sum(),
        )
        total = sums if total is None else Sums(*(one + more for one, more in zip(total, sums)))
    if total is None:
        raise ValueError("no noise found: the image is constant, or smooth as a parabola, wherever it is flat")
    return total


def _centred(found, size, patch):
    """Return the mean products at each distance, without what the outer ring has; and the pairs of each, in a patch."""
    side = patch - np.abs(np.arange(size) - size // 2)
    pairs = np.outer(side, side)  # of pixels at each distance, in one patch
    values = found.products / (found.count * pairs)
    return values - np.median(values[square_rings(size) == size // 2]), pairs


def _autocovariance(found, size, patch):
    """Make the Autocovariance of what was summed."""
    values, pairs = _centred(found, size, patch)
    count, cut = found.count, found.cut / found.count
    pixels = (count * patch) ** 2 / found.overlap  # independent ones: patches that overlap share some
    strongest, weakest = (f(values[square_rings(size) > 0]) / values.max() for f in (np.max, np.min))
    # Texture makes neighbours alike, never opposite.
    part = _texture_share(found.moments / count, pixels, strongest) if strongest > -weakest else 0.0
    values -= part * _isotropic_part(values)
    if weakest < -max(strongest, OPPOSITE):
        values -= _smooth_part(values)
    values += (1 - part) * _lost_by_selection(values, cut, patch)
    error = values.max() * patch / np.sqrt(pixels * pairs)
    return Autocovariance(
        values, error, float(part * strongest), float(found.level / count), float(found.tails / count)
    )


def square_rings(size):
    """Return (size, size) integers: 0 in the centre, r on the square ring r pixels around it."""
    distance = np.abs(np.arange(size) - size // 2)
    return np.maximum(distance[:, None], distance)


def resized(values, size):
    """Return the middle of square values, (size, size), with a border of zeros if they are smaller."""
    cut = (len(values) - size) // 2
    return values[cut : len(values) - cut, cut : len(values) - cut] if cut >= 0 else np.pad(values, -cut)


def checked_values(autocovariance):
    """Return the values of an Autocovariance or array as float64, made exactly symmetric about the centre.

    Raises ValueError unless they are a square of odd side, finite, above 0 in the centre, and nowhere beyond that.
    """
    values = autocovariance.values if isinstance(autocovariance, Autocovariance) else autocovariance
    values = _array(values)
    height, width = values.shape if values.ndim == 2 else (0, 0)
    if values.dtype.kind not in "iuf" or height != width or height < 3 or height % 2 == 0:
        raise ValueError(f"an autocovariance is {SQUARE}: {values.dtype} of shape {values.shape} is not")
    values = (values + values[::-1, ::-1]) / 2.0
    centre = values[len(values) // 2, len(values) // 2]
    if not np.isfinite(values).all() or not centre == np.abs(values).max() > 0:
        raise ValueError("an autocovariance is finite, above 0 in its centre, and nowhere larger: this is none")
    return values


def _array(values):
    try:
        return np.asarray(values)
    except Exception as error:  # lists of unequal length, tensors that want a gradient
        raise ValueError(f"an autocovariance is {SQUARE}: this {type(values).__name__} is not") from error


def checked_covariances(values):
    """Check one autocovariance (size, size), or one for each channel (C, size, size), and return what is checked."""
    values = _array(values)
    return np.stack([checked_values(one) for one in values]) if values.ndim == 3 else checked_values(values)


def checked_shot(shot):
    """Check the shot noise (gain, dark) of each channel, intensity units, and return it as an array (C, 2)."""
    pairs = np.asarray(shot, np.float64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all() or pairs[:, 0].min(initial=0) < 0:
        raise ValueError("shot noise is a pair (gain, dark) for each channel, with a gain of at least 0")
    return pairs


def _one_channel(images, size, patch, channel):
    """Check the arguments and return one channel of the images, (N, Y, X)."""
    stack = to_stack(images)
    channels, height, width = stack.shape[1:]
    whole = all(isinstance(side, (int, np.integer)) for side in (size, patch))
    if not whole or size % 2 == 0 or not 3 <= size < patch:
        raise ValueError(f"size = {size} is not possible: it must be odd, at least 3 and below patch = {patch}")
    if min(height, width) < 2 * patch:
        raise ValueError(
            f"an image of {height}x{width} pixels is too small to measure its noise: "
            f"each side must hold two patches of {patch}"
        )
    channel = checked_channel(channels, channel)
    check_values(stack)
    return stack[:, channel]


def checked_channel(channels, channel):
    """Return the number of the channel to measure; raise ValueError unless one of several is named."""
    if channels > 1 and channel not in range(channels):
        raise ValueError(f"each of the {channels} channels has noise of its own: name one, as in channel=0")
    if channels == 1 and channel not in (None, 0):
        raise ValueError(f"channel={channel} is not possible: the images have one channel, leave it out")
    return channel or 0


def _quadratic_surfaces(patch):
    """Return the surfaces 1, x, y, x², xy, y² over a patch, made orthonormal: (patch * patch, 6)."""
    y, x = np.mgrid[-1 : 1 : patch * 1j, -1 : 1 : patch * 1j]
    return np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6))[0]


def _flat_patches(page, basis, share, guide, usable, limit=None):
    """Return the noise of a page where `guide` is flattest, (K, patch, patch), how much these overlap, and their mean.

    limit: the variance up to which patches are taken, None: the share, in percent, of the flattest.

    The overlap is the number of pixels that two of them share, in units of a patch, summed over
    all pairs, each patch with itself included: K if none overlap.
    """
    patch = round(len(basis) ** 0.5)
    step = max(patch // 2, -(-(max(page.shape) - patch) // MOST_PATCHES))
    windows = sliding_window_view(guide, (patch, patch))[::step, ::step]
    variance = _detrended(windows, basis).var(axis=1)
    pieces = sliding_window_view(page, (patch, patch))[::step, ::step]
    noise = _detrended(pieces, basis)
    # Padding and saturated pixels have no noise but that of rounding.
    noisy = (noise**2).mean(axis=1) > 1e-14 * np.square(page).mean()
    whole = sliding_window_view(usable, (patch, patch))[::step, ::step].mean(axis=(2, 3)).ravel() > 0.99
    noisy &= whole if (noisy & whole).sum() > 10 else True
    calmest = np.argsort(np.where(noisy, variance, np.inf))
    few = np.ceil(share / 100 * noisy.sum()).astype(int)
    keep = calmest[: few if limit is None else max(few, np.count_nonzero(noisy & (variance <= limit)))]
    grid = np.zeros(windows.shape[:2])
    grid.flat[keep] = 1
    beside = max(0, 1 - step / patch)  # the part of its side that a patch shares with the next one
    shared = scipy.ndimage.convolve(grid, np.outer([beside, 1, beside], [beside, 1, beside]), mode="constant")
    level = pieces.mean(axis=(2, 3)).ravel()[keep].mean() if len(keep) else 0.0
    return noise[keep].reshape(-1, patch, patch), (grid * shared).sum(), level


def _detrended(windows, basis):
    """Return windows (rows, columns, patch, patch) as rows of pixels, without their quadratic surface."""
    pixels = windows.reshape(-1, len(basis))
    return pixels - pixels @ basis @ basis.T


def lag_products(noise, size):
    """Sum the products of all pixel pairs at each distance, of patches (K, patch, patch): (K, size, size).

    >>> lag_products(np.ones((1, 4, 4)), 3).round()
    array([[[ 9., 12.,  9.],
            [12., 16., 12.],
            [ 9., 12.,  9.]]])
    """
    padded = scipy.fft.next_fast_len(noise.shape[-1] + size // 2, real=True)  # keeps opposite borders apart
    power = np.abs(scipy.fft.rfft2(noise, (padded, padded))) ** 2
    lags = np.arange(size) - size // 2
    return scipy.fft.irfft2(power, (padded, padded))[:, lags[:, None], lags]


def residual_autocorrelation(noisy, denoised, size=11):
    """Return how alike what was removed is at each distance: the autocorrelation of noisy - denoised, 1 in the centre.

    White noise gives 0 beside the centre, but for the faint negative rim of a denoiser that used these neighbours. Of
    structured noise its shape is seen, if it was removed; a wide positive blob is signal that was lost.

    noisy, denoised: (Y, X) or (N, Y, X), in the same units. size: odd side of the result, (size, size). Returns zeros
    but for the centre where nothing was removed.

    >>> noisy = np.random.default_rng(0).normal(size=(64, 64))
    >>> abs(residual_autocorrelation(noisy, np.zeros((64, 64)), size=3)).round(1).tolist()[1]
    [0.0, 1.0, 0.0]
    """
    residual = np.asarray(noisy, np.float64) - denoised
    residual = (residual - residual.mean()).reshape(-1, *residual.shape[-2:])
    products = lag_products(residual, size).sum(axis=0)
    counts = lag_products(np.ones((1, *residual.shape[1:])), size)[0]  # of pairs at each distance
    means = products / np.maximum(counts, 1)
    centre = means[size // 2, size // 2]
    return means / centre if centre > 0 else np.pad([[1.0]], size // 2)


def _lost_by_selection(values, cut, patch):
    """Return what the autocovariance lost because the patches with the lowest variance were taken.

    The variances of patches with the same noise scatter by chance, normally, and how much follows
    from the autocovariance. cut: the highest variance taken over the mean of those taken; it tells
    where in that distribution the cut was, and so how far the mean of those taken is off.
    """
    found = _mean_of_calmest(values, cut, patch)
    shape = scipy.ndimage.convolve(values, values, mode="constant")  # what goes along with the variance, to first order
    return (1 / found - 1) * values.max() * shape / shape.max()


def _scatter(values, patch):
    """Return the deviation of patches' variances by chance, as part of their mean."""
    return np.sqrt(2 * np.square(values / values.max()).sum()) / patch


def _mean_of_calmest(values, cut, patch):
    """Return the mean variance of the patches taken as part of that of all with the same noise."""
    scatter, deviations = _scatter(values, patch), np.linspace(-2.5, 3, 100)
    density = np.exp(-(deviations**2) / 2) / np.sqrt(2 * np.pi)
    mean = 1 - scatter * density / scipy.special.ndtr(deviations)
    return mean[np.abs((1 + scatter * deviations) / mean - cut).argmin()]


def _detail_moments(noise):
    """Return the second and fourth moments of three details (along x, y, diagonal) of K patches, (3, 2, K).

    Details are differences of 2x2 means. Each patch is scaled to variance 1, so that noise which is
    stronger in some patches than in others does not pass for heavy tails.
    """
    noise = noise / noise.std(axis=(1, 2), keepdims=True)
    means = sliding_window_view(noise, (2, 2), axis=(1, 2)).mean(axis=(3, 4))
    a, b, c, d = means[:, :-2, :-2], means[:, :-2, 2:], means[:, 2:, :-2], means[:, 2:, 2:]
    details = (a - b + c - d, a + b - c - d, a - b - c + d)
    return np.array([[(detail**power).mean(axis=(1, 2)) for power in (2, 4)] for detail in details])


def _texture_share(moments, pixels, strongest):
    """Estimate from the details' mean moments (3, 2) which share, 0 to 1, of the correlation is texture.

    Correlated Gaussian noise has Gaussian details; natural images have details with heavy tails (Wainwright
    & Simoncelli 1999). The excess kurtosis beyond chance is set against the strongest correlation.
    """
    second, fourth = moments.T
    excess = (fourth / second**2).max() - 3 - 7 / np.sqrt(pixels)  # chance: measured on noise
    return float(np.clip(excess / (HEAVY_TAILS * strongest), 0, 1)) if strongest > 0 else 0.0


def _smooth_part(values):
    """Return the median of the neighbours' values at a distance within SMOOTH; (size, size), not negative, centre 0.

    Where noise makes some neighbours opposite, what is left of the image's own detail lies beneath: it makes all that
    are near a little more alike, in all directions, while the noise makes few of them opposite.
    """
    lags = np.arange(len(values)) - len(values) // 2
    distance = np.hypot(lags[:, None], lags).ravel()
    around = [(np.abs(distance - one) <= SMOOTH) & (distance > 0) for one in distance]
    middle = np.array([np.median(values.ravel()[near]) for near in around])
    return np.where(distance > 0, np.maximum(middle, 0), 0).reshape(values.shape)


def _isotropic_part(values):
    """Return the median of all values at a similar distance, whatever the direction; (size, size), not negative.

    It holds the texture of most images. Stripes, in whatever direction, are left over without it.
    """
    lags = np.arange(len(values)) - len(values) // 2
    square = np.add.outer(lags**2, lags**2).ravel()
    centre = square == 0
    square[centre] = 1  # white noise adds to the centre; texture adds about what it adds to the neighbours
    similar = (np.abs(square / square[:, None] - 1) <= 0.5) & ~centre
    around = np.where(similar, values.ravel(), np.nan)
    middle = np.nanmedian(around, axis=1)
    # Nearest to the centre are but four values, and a line is two of them: there the lower pair. (Short lines are told
    # better without: less is left of their strongest neighbour, beside which the last one counts.)
    if len(values) >= LONG:
        middle[square == 1] = np.nanquantile(around[square == 1], 0.5, axis=1, method="lower")
    return np.maximum(middle, 0).reshape(values.shape)
