"""What the noise is: estimated from the image itself, and used to get the noisy pixel back in.

All models say: variance of the noise = gain * signal + offset. Gaussian noise has gain 0.
"""

import numpy as np
import pywt
import scipy.ndimage as ndi
import scipy.stats
import torch.nn.functional as F
from skimage.restoration import estimate_sigma

from ..images.arrays import as_array

CLASSES, SMALLEST_CLASS = 32, 200  # of signal, and pixels in each, for the Poisson-Gaussian fit
SMALLEST_PAGE = 8  # pixels; the wavelet spans four
SMALLEST_VARIANCE = 1e-4  # of a prediction, normalised: keeps the likelihood finite


def estimate_noise(stack, pages, config):
    """Estimate gain and offset of the noise of each channel of some pages of a stack (N, C, Y, X).

    "gaussian": gain 0, offset sigma**2, sigma from config.noise_sigma or scikit-image's wavelet
    estimate (Donoho & Johnstone 1994); "poisson_gaussian": see `estimate_poisson_gaussian`.
    Returns two lists of C numbers in intensity units: gain, offset (intensity squared).
    Raises ValueError if noise_sigma does not fit the channels or no noise is found.
    """
    channels = stack.shape[1]
    some = stack[pages[:: max(1, len(pages) // 16)]]  # 16 images are plenty, and they fit the memory
    if config.noise_model == "poisson_gaussian":
        pairs = [estimate_poisson_gaussian(some[:, c]) for c in range(channels)]
        return [gain for gain, _ in pairs], [offset for _, offset in pairs]
    sigmas = np.atleast_1d(config.noise_sigma) if config.noise_sigma is not None else None
    if sigmas is None:
        sigmas = [np.mean([estimate_sigma(page.astype(np.float64)) for page in some[:, c]]) for c in range(channels)]
    if len(sigmas) not in (1, channels):
        raise ValueError(f"noise_sigma has {len(sigmas)} values for {channels} channels: give one, or one for each")
    spread = some.std(axis=(0, 2, 3), dtype=np.float64)
    if not np.all(np.isfinite(sigmas)) or np.any(sigmas <= 1e-6 * spread):  # rounding is no noise
        raise ValueError(f"estimated noise sigma {np.round(sigmas, 4).tolist()}: no noise found, give noise_sigma")
    return [0.0] * channels, [float(s) ** 2 for s in np.broadcast_to(sigmas, channels)]


def estimate_poisson_gaussian(pages):
    """Fit noise variance = gain * signal + offset to images, as photon counting with read noise has it.

    Wavelet details hold mostly noise, wavelet averages mostly signal: pixels are sorted into classes of
    equal signal, and in each the median detail gives the variance; a robust line (Theil-Sen)
    through the classes gives gain and offset. After Foi et al., IEEE TIP 2008.

    pages: (N, Y, X) in intensity units. Returns (gain, offset), gain >= 0, in intensity units
    and their square. An offset below 0 is a camera's black level: signal counts from there.
    Raises ValueError if no noise is found.

    >>> photons = np.random.default_rng(0).poisson(np.linspace(0, 100, 256), (1, 256, 256))
    >>> gain, offset = estimate_poisson_gaussian(2 * photons)
    >>> round(gain)
    2
    """
    pages = as_array(pages)
    if pages.ndim != 3 or min(pages.shape) < 1 or min(pages.shape[1:]) < SMALLEST_PAGE or not np.isfinite(pages).all():
        raise ValueError(
            f"pages of shape {pages.shape} are not possible: give (N, Y, X), at least {SMALLEST_PAGE} pixels a side, "
            "all values finite"
        )
    signal, detail = [], []
    for page in pages:
        average, (_, _, diagonal) = pywt.dwt2(page.astype(np.float64), "db2")
        # Smoothed: what noise is left in the signal would sort pixels into wrong classes and flatten the line.
        signal.append(ndi.uniform_filter(average, 3).ravel() / 2)  # db2 doubles a constant image
        detail.append(diagonal.ravel())
    signal, detail = np.concatenate(signal), np.concatenate(detail)
    edges = np.linspace(*np.quantile(signal, (0.001, 0.999)), CLASSES + 1)[1:-1]
    order = np.argsort(signal)
    classes = np.split(order, np.searchsorted(signal[order], edges))
    enough = min(SMALLEST_CLASS, len(signal) // 8)  # equal widths: a large dark background is one class of many
    classes = [pixels for pixels in classes if len(pixels) >= enough] or [order]  # few pixels: all in one class
    level = np.array([np.mean(signal[pixels]) for pixels in classes])
    # The median of |x| of a normal variable is 0.6745 sigma.
    variance = np.array([(np.median(np.abs(detail[pixels])) / 0.6745) ** 2 for pixels in classes])
    if not variance.max() > 1e-12 * np.var(signal):  # rounding is no noise
        raise ValueError("no noise found in the image: a noise model has nothing to work with")
    line = scipy.stats.theilslopes(variance, level) if len(classes) >= 3 else None
    if line is None or not line.slope > 0:
        return 0.0, float(np.median(variance))
    return float(line.slope), float(line.intercept)


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
    mean, variance, share = densities(output, noisy.shape[1])
    noise = noise_variance(mean, gain, offset)
    chances = log_chances(mean, variance, share, noisy, noise).softmax(2)
    each = posterior_mean(mean, variance, noisy[:, :, None], noise)
    return (chances * each).sum(2)


def noise_variance(mean, gain, offset):
    """Return the noise variance gain * mean + offset at predicted means; normalised, (B, C, K, Y, X)."""
    return (gain * mean + offset).clamp(min=SMALLEST_VARIANCE)
