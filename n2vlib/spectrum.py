"""Noise of the same kind as an image has: from its autocovariance to a power spectrum, and from that drawn anew."""

import numpy as np
import torch

from .covariance import checked_covariances, checked_values, square_rings


def noise_spectrum(autocovariance, shape):
    """Turn an autocovariance into a power spectrum, from which noise can be drawn.

    Values under 0.09 of the strongest neighbour's are chance, and set to zero. The spectrum is kept
    above 0.001 of its maximum: an estimate can come out negative, a power cannot.

    autocovariance: an Autocovariance, or its values. shape: (Y, X) of the noise to draw.
    Returns a float64 array (Y, X) in the order of numpy.fft, whose mean is the variance of the noise.
    Raises ValueError for a shape smaller than the autocovariance.
    """
    values = checked_values(autocovariance)
    size = len(values)
    if not all(isinstance(side, (int, np.integer)) and side >= size for side in shape):
        raise ValueError(f"noise of shape {tuple(shape)} is too small for correlations over {size}x{size} pixels")
    neighbours = square_rings(size) > 0
    chance = neighbours & (values < 0.09 * values[neighbours].max())
    whole = np.zeros(shape)
    whole[:size, :size] = np.where(chance, 0, values)
    spectrum = np.fft.fft2(np.roll(whole, (-(size // 2), -(size // 2)), axis=(0, 1))).real
    return np.maximum(spectrum, 0.001 * spectrum.max())


def draw_noise(spectrum, generator, count=1):
    """Draw Gaussian noise that has a power spectrum: white noise, filtered by Fourier transform.

    spectrum: (Y, X) of `noise_spectrum`. generator: torch.Generator; the noise is made on its device.
    Returns a float32 tensor (count, Y, X) in intensity units. Opposite borders are correlated as if
    they were neighbours (circulant embedding, Dietrich & Newsam 1997).
    """
    spectrum = torch.as_tensor(spectrum, dtype=torch.float32, device=generator.device)
    white = torch.randn((count, *spectrum.shape), generator=generator, device=generator.device)
    gain = spectrum[:, : spectrum.shape[1] // 2 + 1].sqrt()
    return torch.fft.irfft2(torch.fft.rfft2(white) * gain, s=spectrum.shape)


def noise_in_patches(covariance, shape, generator):
    """Draw Gaussian noise with a known covariance for patches, float32 (B, C, Y, X), in intensity units.

    covariance: (size, size), or (C, size, size) with one for each channel. Drawn larger than the patches
    and cropped, so that opposite borders are independent.
    """
    each = checked_covariances(covariance)
    if each.ndim == 3 and len(each) != shape[1]:
        raise ValueError(f"the covariance is of {len(each)} channels, the images have {shape[1]}: give one for each")
    each = np.broadcast_to(each, (shape[1], *each.shape[-2:]))
    size = each.shape[-1]
    channels = []
    for values in each:
        spectrum = noise_spectrum(values, (shape[2] + size - 1, shape[3] + size - 1))
        channels.append(draw_noise(spectrum, generator, shape[0])[:, : shape[2], : shape[3]])
    return torch.stack(channels, dim=1)
