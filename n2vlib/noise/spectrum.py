"""Noise of the same kind as an image has: from its autocovariance to a power spectrum, and from that drawn anew."""

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F

from ..images.gaps import fill_gaps
from .covariance import checked_covariances, checked_values, square_rings
from .models import estimate_poisson_gaussian

NEAR = 5  # side of the square whose mean tells a pixel's signal, in pixels
LEAST_PIXELS = 64 * 64  # of all pages: fewer do not tell whether it grows
GROWS = 0.4  # from this share of the noise's variance on, between dark and bright, it is taken to grow with the signal
SURELY = 3  # from this share on there is no doubt: structure makes up half of what is seen at most
WHITE = 0.12  # of the variance: neighbours share less (by chance up to 0.07; correlated noise of any kind from 0.19 on)


def noise_spectrum(autocovariance, shape):
    """Turn an autocovariance into a power spectrum, from which noise can be drawn.

    Values weaker than 0.09 of the strongest neighbour's, of either sign, are chance, and set to zero. The spectrum is
    kept above 0.001 of its maximum: an estimate can come out negative, a power cannot.

    autocovariance: an Autocovariance, or its values. shape: (Y, X) of the noise to draw.
    Returns a float64 array (Y, X) in the order of numpy.fft, whose mean is the variance of the noise.
    Raises ValueError for a shape smaller than the autocovariance.

    >>> spectrum = noise_spectrum([[0, 0, 0], [10, 25, 10], [0, 0, 0]], (64, 64))
    >>> [round(float(power), 3) for power in (spectrum.min(), spectrum.mean(), spectrum.max())]
    [5.0, 25.0, 45.0]
    """
    values = checked_values(autocovariance)
    size = len(values)
    if not all(isinstance(side, (int, np.integer)) and side >= size for side in shape):
        raise ValueError(f"noise of shape {tuple(shape)} is too small for correlations over {size}x{size} pixels")
    neighbours = square_rings(size) > 0
    chance = neighbours & (np.abs(values) < 0.09 * np.abs(values[neighbours]).max())
    whole = np.zeros(shape)
    whole[:size, :size] = np.where(chance, 0, values)
    spectrum = np.fft.fft2(np.roll(whole, (-(size // 2), -(size // 2)), axis=(0, 1))).real
    return np.maximum(spectrum, 0.001 * spectrum.max())


def draw_noise(spectrum, generator, count=1):
    """Draw Gaussian noise that has a power spectrum: white noise, filtered by Fourier transform.

    spectrum: (Y, X) of `noise_spectrum`. generator: torch.Generator; the noise is made on its device.
    Returns a float32 tensor (count, Y, X) in intensity units. Opposite borders are correlated as if
    they were neighbours (circulant embedding, Dietrich & Newsam 1997).

    >>> noise = draw_noise(np.full((64, 64), 25.0), torch.Generator().manual_seed(0), count=3)
    >>> tuple(noise.shape), round(noise.std().item())
    ((3, 64, 64), 5)
    """
    spectrum = torch.as_tensor(spectrum, dtype=torch.float32, device=generator.device)
    white = torch.randn((count, *spectrum.shape), generator=generator, device=generator.device)
    gain = spectrum[:, : spectrum.shape[1] // 2 + 1].sqrt()
    return torch.fft.irfft2(torch.fft.rfft2(white) * gain, s=spectrum.shape)


def covariances_of(covariance, channels):
    """Return a covariance for each channel, (C, size, size), of one for all or one for each, checked.

    >>> covariances_of([[0, 0, 0], [10, 25, 10], [0, 0, 0]], channels=2).shape
    (2, 3, 3)
    """
    each = checked_covariances(covariance)
    if each.ndim == 3 and len(each) != channels:
        raise ValueError(f"the covariance is of {len(each)} channels, the images have {channels}: give one for each")
    return np.broadcast_to(each, (channels, *each.shape[-2:]))


def noise_in_patches(covariance, shape, generator):
    """Draw Gaussian noise with a known covariance for patches, float32 (B, C, Y, X), in intensity units.

    covariance: (size, size), or (C, size, size) with one for each channel. Drawn larger than the patches
    and cropped, so that opposite borders are independent.
    """
    each = covariances_of(covariance, shape[1])
    size = each.shape[-1]
    channels = []
    for values in each:
        spectrum = noise_spectrum(values, (shape[2] + size - 1, shape[3] + size - 1))
        channels.append(draw_noise(spectrum, generator, shape[0])[:, : shape[2], : shape[3]])
    return torch.stack(channels, dim=1)


def noise_like(images, covariance, generator, shot=None):
    """Draw noise of the kind that images have, stronger where they are brighter if they hold shot noise.

    images: tensor (B, C, Y, X) in intensity units. covariance: as for `noise_in_patches`. shot: for each channel
    (gain, dark): at a signal s the white part has gain * (s - dark) more variance than in the covariance.
    """
    noise = noise_in_patches(covariance, images.shape, generator)
    if shot is None:
        return noise
    white = torch.randn(images.shape, generator=generator, device=generator.device)
    return noise + _photons(images, shot).sqrt() * white


def variance_like(images, covariance, shot=None):
    """Return the variance of the noise that images have, (B, C, Y, X); arguments as for `noise_like`.

    >>> variance_like(torch.tensor([[[[10.0, 30.0]]]]), [[0, 0, 0], [10, 25, 10], [0, 0, 0]], shot=[(2, 10)])
    tensor([[[[45., 45.]]]])
    """
    each = covariances_of(covariance, images.shape[1]).max(axis=(1, 2))[:, None, None]
    dark = torch.tensor(each, dtype=images.dtype, device=images.device)
    return dark.expand_as(images) if shot is None else dark + _photons(images, shot)


def _photons(images, shot):
    """Return what photons add to the variance, as the mean of near pixels tells it."""
    gain, dark = torch.tensor(shot, dtype=torch.float32, device=images.device).T[:, :, None, None]
    signal = F.avg_pool2d(images, NEAR, 1, NEAR // 2, count_include_pad=False)
    return gain * (signal - dark).clamp(min=0)


def split_shot_noise(pages, measured):
    """Tell the noise that images have in the dark from what photons add where it is bright.

    pages: (N, Y, X), NaN where pixels are clipped or missing. measured: their Autocovariance, which holds for its own
    level only: flat background is mostly dark. Returns the covariance in the dark, (size, size), and (gain, dark) as
    in `noise_like`; the covariance as measured and (0.0, 0.0) where the variance hardly grows with the signal.
    """
    if pages.size < LEAST_PIXELS:
        return checked_values(measured), (0.0, 0.0)
    values, missing = checked_values(measured), np.isnan(pages)
    signal = scipy.ndimage.uniform_filter(fill_gaps(pages, missing).astype(np.float64), (0, NEAR, NEAR))[~missing]
    dark, low, high = np.quantile(signal, (0.001, 0.05, 0.95))
    white = np.abs(values[square_rings(len(values)) > 0]).max() < WHITE * values.max()
    try:
        gain = sure = estimate_poisson_gaussian(pages)[0]
        if white and GROWS < gain * (high - low) / values.max() < SURELY:
            sure, _ = estimate_poisson_gaussian(pages, strict=True)
    except ValueError:  # noise in a few pixels, none in most
        gain = sure = 0.0
    if min(gain, sure) * (high - low) < GROWS * values.max():
        return values, (0.0, 0.0)
    return in_the_dark(measured, gain, dark), (gain, float(dark))


def in_the_dark(measured, gain, dark):
    """Return the covariance of an Autocovariance in the dark, (size, size): without the photons at its level."""
    values = checked_values(measured)
    neighbours = np.abs(values[square_rings(len(values)) > 0]).max()
    values[len(values) // 2, len(values) // 2] = max(values.max() - gain * max(measured.level - dark, 0), neighbours)
    return values
