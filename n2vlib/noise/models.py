"""What the noise is: estimated from the image itself, and used to get the noisy pixel back in.

All models say: variance of the noise = gain * signal + offset. Gaussian noise has gain 0.
"""

import numpy as np
import pywt
import scipy.ndimage as ndi
import scipy.special
import torch.nn.functional as F

from ..images.arrays import as_array
from .validity import clipped_values

SQUARE = 7  # pixels a side whose second differences tell one variance, for the Poisson-Gaussian fit
CLASSES, SMALLEST_CLASS = 32, 10  # of signal, and squares in each
ABOVE = 0.4  # what a class above the line counts, against 0.6 below
DISTANCES = (1, 2, 3)  # pixels, between the neighbours whose difference is taken
POWERS = np.arange(2, 8.1, 0.1)  # of distance, with which a structure's mean square difference may grow; noise's stays
MOST = 0.5  # of a class's variance may be structure
SMALLEST_PAGE = 8  # pixels
DENSE = 0.1  # of the measured pixels, in whose squares at least gaps must leave something
LARGER, SMALLER = 2, 4  # times: as much as images may grow or shrink for their noise's sake; growing more was worse
ALIKE = 0.1  # two deviations of noise that differ by less are of images of one kind, if their means fit, too
SMALLEST_VARIANCE = 1e-8  # of a prediction, normalised: keeps the likelihood finite, and is below any noise


def estimate_noise(some, config):
    """Estimate gain and offset of the noise of each channel of some pages (N, C, Y, X), NaN where there are gaps.

    "gaussian": gain 0, offset sigma**2, sigma from config.noise_sigma or `sigma_in_squares`; "poisson_gaussian":
    config.noise_gain and noise_offset, or `estimate_poisson_gaussian`.
    Returns two lists of C numbers in intensity units: gain, offset (intensity squared).
    Raises ValueError if noise_sigma does not fit the channels or no noise is found.
    """
    channels = some.shape[1]
    known = {name: each_channel(config, name, channels) for name in ("noise_sigma", "noise_gain", "noise_offset")}
    if config.noise_model == "poisson_gaussian":
        gain, offset = known["noise_gain"], known["noise_offset"]
        if gain is not None and offset is not None:
            return gain, offset
        fitted = np.array([estimate_poisson_gaussian(some[:, c]) for c in range(channels)])
        if gain is offset is None:
            return fitted[:, 0].tolist(), fitted[:, 1].tolist()
        signal = np.nanmean(some, axis=(0, 2, 3), dtype=np.float64)  # where the variance stays as it was fitted
        variance = fitted[:, 0] * signal + fitted[:, 1]
        if gain is not None:
            return gain, (variance - gain * signal).tolist()
        return np.maximum((variance - offset) / np.where(signal > 0, signal, np.inf), 0).tolist(), offset
    sigmas = known["noise_sigma"] or [_sigma_not_clipped(some[:, c]) for c in range(channels)]
    wide = some.astype(np.float32) if some.dtype == np.float16 else some  # whose squares end at 65504
    spread = np.nanstd(wide, axis=(0, 2, 3), dtype=np.float64)
    if not np.all(np.isfinite(sigmas)) or np.any(sigmas <= 1e-6 * spread):  # rounding is no noise
        raise ValueError(f"estimated noise sigma {np.round(sigmas, 4).tolist()}: no noise found, give noise_sigma")
    return [0.0] * channels, [float(s) ** 2 for s in sigmas]


def each_channel(config, name, channels):
    """Return a setting that is one number, or one a channel, as a list of floats; None stays None."""
    value = getattr(config, name)
    if value is None:
        return None
    values = np.atleast_1d(value)
    if len(values) not in (1, channels):
        raise ValueError(f"{name} has {len(values)} values for {channels} channels: give one, or one for each")
    return [float(v) for v in np.broadcast_to(values, channels)]


def normalised_as_known(mean, std, noise, known_mean, known_std, known_variance):
    """Return by which mean and spread to normalise images so that a trained network knows the strength of their noise.

    A network knows noise of one strength, in normalised units. If that of other images is stronger there, it takes
    it for signal; if it is weaker, it smooths too much. Dividing by something else than the images' own spread mends
    that: trained weights made for sigma 25 turn sigma 60 into 25.1 dB instead of 15 (tests/benchmarks/README.md).
    Images of the kind that it learned from, with such noise, are normalised as those were.

    mean, std: of the images' channels, (C,). noise: their gain and offset, as of `estimate_noise`. known_mean,
    known_std: by which the network's images were normalised, (C,); all these in intensity units. known_variance: that
    of the noise that it knows, normalised, (C,). Returns two arrays (C,), intensity units.

    >>> known = np.array([[110.0], [60.0], [0.25]])
    >>> normalised_as_known(np.array([100.0]), np.array([50.0]), ([0.0], [40.0**2]), *known)
    (array([100.]), array([80.]))
    """
    variance = np.multiply(noise[0], mean) + noise[1]
    wanted = np.sqrt(np.maximum(variance, 0) / np.maximum(known_variance, SMALLEST_VARIANCE))
    alike = (np.abs(wanted / known_std - 1) < ALIKE) & (np.abs(mean - known_mean) < known_std)
    return np.where(alike, known_mean, mean), np.where(alike, known_std, np.clip(wanted, std / LARGER, std * SMALLER))


def _sigma_not_clipped(pages):
    """Return the mean of the pages' sigmas, away from clipped pixels, which would make the noise weaker than it is."""
    pages = [page for page in pages if np.isfinite(page).any()]
    sigma = float(np.mean([sigma_in_squares(page) for page in pages]))
    clipped = [value for value, _ in clipped_values(np.concatenate([page[np.isfinite(page)] for page in pages]), sigma)]
    if not clipped:
        return sigma
    apart = [wavelet_sigma(np.where(np.isin(page, clipped), np.nan, page)) for page in pages]
    return float(np.mean(apart)) or sigma


def sigma_in_squares(page):
    """Estimate the deviation of a page's noise, as strong everywhere: a horizontal line through the same classes.

    page: (Y, X), NaN where there are gaps. Returns 0.0 if there is no noise. Of five photographs with sigma 10 it says
    10.0 to 10.6, the median of the finest wavelets 10.2 to 11.9, for texture adds to it (tests/noise/test_models.py).

    >>> noisy = np.random.default_rng(0).normal(0, 10, (64, 64))
    >>> noisy[:20] = np.nan
    >>> round(sigma_in_squares(noisy))
    10
    """
    if min(page.shape) < SMALLEST_PAGE:
        return wavelet_sigma(page)
    signal, *squares = noise_in_squares(page.astype(np.float64))
    if np.isnan(squares[0]).all():
        return wavelet_sigma(page)
    noisy = squares[0] > 1e-12 * np.nanvar(signal)  # rounding is no noise
    if not noisy.any():
        return wavelet_sigma(page)
    level, variance, count = variance_by_signal(signal[noisy], np.stack(squares)[:, noisy])
    return variance_line(level, variance, count, lowest=level.min(), growing=False)[1] ** 0.5


def wavelet_sigma(page):
    """Estimate the deviation of a page's noise from its finest wavelets (Donoho & Johnstone 1994).

    As scikit-image's estimate_sigma does, but for wavelets that touch a gap, which are left out.

    >>> noisy = np.random.default_rng(0).normal(0, 10, (64, 64))
    >>> noisy[:20] = np.nan
    >>> round(wavelet_sigma(noisy))
    10
    """
    details = pywt.dwtn(page.astype(np.float64), "db2")["dd"]
    details = details[np.isfinite(details) & (details != 0)]
    return float(np.median(np.abs(details)) / scipy.special.ndtri(0.75)) if details.size else 0.0


def estimate_poisson_gaussian(pages, strict=False):
    """Fit noise variance = gain * signal + offset to images, as photon counting with read noise has it.

    Second differences hold mostly noise (Immerkaer, CVIU 1996). In squares of 9 x 9 pixels their mean square is the
    variance of the noise, and the mean with the same weights is the signal: so each photon counts alike in
    both, however few there are. Squares are sorted into classes of equal signal (after Foi et al., IEEE TIP 2008),
    and a line is fitted to the classes' medians: see `variance_line`. Squares of one constant value are no evidence:
    a border that was added, saturation, or no photon.

    pages: (N, Y, X) in intensity units; NaN is left out. strict: take off what structure may add to white
    noise (`without_structure`), for the question whether it grows at all: texture that is stronger where it is bright
    does not count then, but where fluorescence is finely structured the gain comes out 5 % too low.
    Returns (gain, offset), gain >= 0, in intensity units and their square. An offset below 0 is a camera's black level:
    signal counts from there. In the range of the local signal the variance is never negative; down to the darkest
    pixel, wherever such a line fits as well.
    Raises ValueError if no noise is found.

    >>> photons = np.random.default_rng(0).poisson(np.linspace(0, 100, 256), (1, 256, 256))
    >>> gain, offset = estimate_poisson_gaussian(2 * photons)
    >>> round(gain)
    2
    """
    pages = as_array(pages)
    if pages.ndim != 3 or min(pages.shape) < 1 or min(pages.shape[1:]) < SMALLEST_PAGE or np.isnan(pages).all():
        raise ValueError(
            f"pages of shape {pages.shape} are not possible: give (N, Y, X), at least {SMALLEST_PAGE} pixels a side, "
            "not all NaN"
        )
    darkest, brightest = float(np.nanmin(pages)), float(np.nanmax(pages))
    scale = brightest - darkest or 1.0
    distances = DISTANCES if strict else DISTANCES[:1]
    found = [noise_in_squares((page - darkest) / scale, distances) for page in pages.astype(float)]
    signal, *squares = np.stack(found, axis=1)
    square = squares[0]
    if np.isnan(square).all():
        raise ValueError("no noise found in the image: no square of 9 pixels a side is without many gaps")
    noisy = square > 1e-12 * np.nanvar(signal)  # rounding is no noise
    # A border has one value, darkness and saturation are the ends; more constants are a picture without noise.
    constants = np.unique(signal[~noisy & np.isfinite(signal)].round(9), return_counts=True)[1]
    if np.sort(constants[1:-1])[:-1].sum() >= noisy.sum() / 4:
        raise ValueError("no noise found in the image: a noise model has nothing to work with")
    # Squares across the edge of a border hold a step; where these were most, constants are not a border but darkness.
    inside = noisy & ~ndi.maximum_filter(~noisy, (1, SQUARE + 2, SQUARE + 2))
    noisy = inside if inside.sum() >= noisy.sum() / 4 else noisy
    classes = variance_by_signal(signal[noisy], np.stack(squares)[:, noisy])
    lowest = signal[noisy].min() - classes[1].min() ** 0.5 / SQUARE  # at the edges there may be darker squares
    gain, offset = variance_line(*classes, max(lowest, 1e-9))
    return gain * scale, offset * scale**2 - gain * scale * darkest


def noise_in_squares(page, distances=DISTANCES):
    """Return signal, and mean square differences of neighbours at some distances, in squares of a page, (1 + D, K, L).

    page: (Y, X), NaN where there are gaps, which only the differences that touch them are left out for. distances: D,
    in pixels. Of white noise each mean square is the variance. Every other square is taken, NaN where gaps leave less
    than an eighth of it, and everywhere if they are so dense (a quarter of the pixels, scattered) that few are left.
    """
    gaps = np.isnan(page)
    page = np.where(gaps, 0, page)
    difference = np.outer([1, -2, 1], [1, -2, 1]) / 6  # no answer to a slope; white noise keeps its variance
    found = [_mean_in_squares(ndi.correlate(page, difference**2), gaps, difference)]
    for distance in distances:
        apart = np.zeros((2 * distance + 1,) * 2)
        apart[::distance, ::distance] = difference
        found.append(_mean_in_squares(ndi.correlate(page, apart) ** 2, gaps, apart))
    signal, near, *further = found
    return np.stack([signal, near, *(np.where(far > 0, far, near) for far in further)])  # near a gap: nothing is known


def _mean_in_squares(values, gaps, kernel):
    """Return the means in squares of what a kernel made of each pixel of a page (Y, X), but where it saw a gap."""
    ones = np.ones(min(SQUARE, min(values.shape) - 2))  # not uniform_filter: its running sums do not come back to 0
    inside = np.s_[len(ones) // 2 + 1 : -1 - (len(ones) - 1) // 2 : 2]

    def sums(one):
        return ndi.correlate1d(ndi.correlate1d(one, ones, axis=0), ones, axis=1)[inside, inside]

    if not gaps.any():
        return sums(values) / len(ones) ** 2
    known = ~ndi.binary_dilation(gaps, kernel != 0)
    share = sums(known.astype(float))
    enough = share > len(ones) ** 2 / 8
    enough &= enough.mean() > DENSE * (1 - gaps.mean())
    return np.where(enough, sums(np.where(known, values, 0)) / np.maximum(share, 1), np.nan)


def variance_by_signal(signal, squares):
    """Sort squares into classes of signal; return each class's mean signal, variance, and number of squares.

    signal, (K,), squares, (D, K): as from `noise_in_squares`; with D = 1 the variance holds what structure adds.
    Classes of equal number tell the variance of a large dark background, those of equal width of a few bright cells.
    Structure only adds to a mean square, so the lower half of a class decides: its logarithms are
    nearly normal (Jensen & Solomon 1972, for squares of second differences), hence exp(middle + spread**2 / 2).
    """
    order = np.argsort(signal)
    signal, logarithms = signal[order], np.log(squares[:, order])
    edges = np.append(np.linspace(*signal[[0, -1]], CLASSES + 1), np.quantile(signal, np.linspace(0, 1, CLASSES // 2)))
    parts = np.split(np.arange(len(signal)), np.searchsorted(signal, np.sort(edges)))
    parts = [part for part in parts if len(part) >= SMALLEST_CLASS] or [order]  # few squares: all in one class
    lower, middle = np.array([np.quantile(logarithms[:, part], (0.16, 0.5), axis=1) for part in parts]).swapaxes(0, 1)
    level, count = np.array([(np.mean(signal[part]), len(part)) for part in parts]).T
    each = np.exp(middle + (middle - lower) ** 2 / 2).T  # 0.16: 1 sigma below
    return level, without_structure(*each, np.sqrt(count)) if len(each) > 1 else each[0], count


def without_structure(near, far, farther, weight):
    """Return the variance of the noise in classes (K,), from mean square differences at three distances, (K,) each.

    What structure adds to them grows with distance, the noise does not, as in a variogram, whose value at distance 0 is
    the noise (the nugget, Matheron 1963). Structure is taken to grow with a power of distance, which is read off the
    second step, from far to farther, of all classes together; the first step then tells how much of it is in `near`.

    >>> without_structure(*(np.array([9 + h**2.0]) for h in DISTANCES), weight=1)
    array([9.])
    """
    first, second = ((step * weight / near).sum() for step in (far - near, farther - far))
    ratios = (3**POWERS - 2**POWERS) / (2**POWERS - 1)  # of the second step to the first
    power = np.interp(second / first, ratios, POWERS) if first > 0 else POWERS[0]
    return near - np.minimum((far - near) / (2**power - 1), MOST * near)


def variance_line(level, variance, count, lowest, growing=True):
    """Return gain >= 0 and offset of the line through classes, each an array (K,); positive from `lowest` on.

    Least sum of absolute relative deviations, weighted by the root of the classes' numbers of squares. Such a line
    passes through two of the points, so all pairs are tried (K is small), and horizontal lines; these alone unless the
    noise is `growing` with the signal. Deviations above the line cost less than those below: they may be structure. A
    line that is not negative at signal 0, the darkest pixel, is preferred, unless it fits worse.
    """
    if len(level) < 3:
        return 0.0, float(np.median(variance))
    one, other = np.triu_indices(len(level) + 1, 1)
    x, y = np.append(level, 0), np.append(variance, 0)  # photons alone have no variance where there is no light
    gain = np.append((y[other] - y[one]) / (x[other] - x[one]), 0 * variance)
    offset = np.append(y[one] - gain[: len(one)] * x[one], variance)
    possible = (gain >= 0) & (gain * lowest + offset > 0) & (growing | (gain == 0))
    gain, offset = gain[possible], offset[possible]
    above = np.log(variance / (gain[:, None] * level + offset[:, None]))
    cost = np.where(above > 0, ABOVE * above, (ABOVE - 1) * above) @ np.sqrt(count)
    best = np.argmin(np.where((offset >= 0) & (cost <= 1.1 * cost.min()), cost - cost.max(), cost))
    return float(gain[best]), float(offset[best])


def posterior_mean(mean, variance, noisy, noise_variance):
    """Combine the blind prediction with the noisy pixel itself, each weighted by its certainty.

    x = (mean / variance + noisy / noise_variance) / (1 / variance + 1 / noise_variance), for
    normal densities (Laine et al., NeurIPS 2019; Krull et al. 2020). Tensors of one
    shape, all in the same units, the variances in their square.

    >>> posterior_mean(mean=10, variance=1, noisy=20, noise_variance=4)
    12.0
    """
    return (mean * noise_variance + noisy * variance) / (variance + noise_variance)


def densities(output, channels):
    """Split the output of a network with noise model into the K normal densities of each pixel's signal (Bishop 1994).

    output: (B, C (3 K - 1), Y, X), for each channel K means, K raw variances, K - 1 logits (the first one's is 0).
    Returns means, variances and logarithms of shares, (B, C, K, Y, X) each; the shares of a pixel add up to 1.
    """
    each = output.unflatten(1, (channels, -1))
    count = (each.shape[2] + 1) // 3
    mean, raw, logits = each.split((count, count, count - 1), dim=2)
    logits = F.pad(logits, (0, 0, 0, 0, 1, 0))
    return mean, F.softplus(raw) + SMALLEST_VARIANCE, logits.log_softmax(2)


def mean_and_variance(output, channels):
    """Return what a network with noise model expects of each pixel without looking at it.

    output: as in `densities`, normalised. Returns mean and variance, (B, C, Y, X) each, of all densities together.

    >>> import torch
    >>> output = torch.tensor([-1.0, 1.0, -9.0, -9.0, 0.0]).reshape(1, 5, 1, 1)  # -1 or 1, with equal shares
    >>> [round(number.item(), 2) for number in mean_and_variance(output, channels=1)]
    [0.0, 1.0]
    """
    mean, variance, share = densities(output, channels)
    share = share.exp()
    middle = (share * mean).sum(2)
    return middle, (share * (variance + (mean - middle[:, :, None]) ** 2)).sum(2)


def log_chances(mean, variance, share, noisy, noise):
    """Return how likely each density makes the noisy pixel: log(share * normal density), but for a constant.

    mean, variance, share: of `densities`. noisy: (B, C, Y, X). noise: its variance. Returns (B, C, K, Y, X).
    """
    total = variance + noise
    return share - ((mean - noisy[:, :, None]) ** 2 / total + total.log()) / 2


def expected_signal(output, noisy, gain, offset):
    """Return the posterior mean of the signal: what a network with noise model and the noisy pixel say together.

    output: as in `densities`. noisy: (B, C, Y, X). gain, offset: of the noise variance, numbers or (C, 1, 1, 1).
    All in the same units, in a Denoiser normalised. Returns (B, C, Y, X).
    With one density this is `posterior_mean` (Laine et al., NeurIPS 2019). With several the noisy pixel
    decides between them, and is then averaged with each one's mean.

    >>> import torch
    >>> output = torch.tensor([-1.0, 1.0, -9.0, -9.0, 0.0]).reshape(1, 5, 1, 1)  # -1 or 1, with equal shares
    >>> round(expected_signal(output, torch.full((1, 1, 1, 1), 0.5), gain=0.0, offset=0.1).item(), 2)
    1.0
    """
    chances, each, _, _ = _posteriors(output, noisy, gain, offset)
    return (chances * each).sum(2)


def signal_variance(output, noisy, gain, offset):
    """Return the posterior variance of the signal: what network and noisy pixel together leave open.

    Arguments and shape as for `expected_signal`, the result in the square of their units. With one density it is
    v * n / (v + n), v being the network's variance and n the noise's: less than either. With several, the spread of
    their means comes on top.

    >>> import torch
    >>> output = torch.tensor([0.0, 0.5413]).reshape(1, 2, 1, 1)  # one density, mean 0, variance softplus(0.5413) = 1
    >>> round(signal_variance(output, torch.zeros(1, 1, 1, 1), gain=0.0, offset=1.0).item(), 3)
    0.5
    """
    chances, each, variance, noise = _posteriors(output, noisy, gain, offset)
    middle = (chances * each).sum(2, keepdim=True)
    return (chances * (variance * noise / (variance + noise) + (each - middle) ** 2)).sum(2)


def _posteriors(output, noisy, gain, offset):
    """Return each density's chance given the noisy pixel, posterior mean, own and noise variance, (B, C, K, Y, X)."""
    mean, variance, share = densities(output, noisy.shape[1])
    noise = noise_variance(mean, gain, offset)
    chances = log_chances(mean, variance, share, noisy, noise).softmax(2)
    each = posterior_mean(mean, variance, noisy[:, :, None], noise)
    return chances, each, variance, noise


def noise_variance(mean, gain, offset):
    """Return the noise variance gain * mean + offset at predicted means; normalised, (B, C, K, Y, X)."""
    return (gain * mean + offset).clamp(min=SMALLEST_VARIANCE)
