"""Structured noise for tests: white noise, filtered, so that its covariance and its mask are known."""

import numpy as np
from scipy.signal import fftconvolve

from n2vlib.noise.covariance import square_rings

KERNELS = {
    "horizontal": np.ones((1, 5)),
    "vertical": np.ones((5, 1)),
    "diagonal": np.eye(5),
    "blob": np.ones((3, 3)),
    "cross": np.maximum(np.eye(5)[2], np.eye(5)[2][:, None]),
}
RINGS = square_rings(11)


def known_covariance(kernel, white=10, structured=20, size=11):
    """What white noise plus filtered white noise has, by the theorem of Wiener and Khinchin."""
    values = np.zeros((size, size))
    full = structured**2 * fftconvolve(kernel, kernel[::-1, ::-1]) / (kernel**2).sum()
    top, left = ((size - side) // 2 for side in full.shape)
    values[top : top + full.shape[0], left : left + full.shape[1]] = full
    values[size // 2, size // 2] += white**2
    return values


def noise(shape, kernel, seed=0, white=10, structured=20):
    rng = np.random.default_rng(seed)
    gain = np.fft.rfft2(kernel / np.sqrt((kernel**2).sum()), shape[-2:])
    filtered = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * gain, shape[-2:])
    return white * rng.standard_normal(shape) + structured * filtered


def true_mask(kernel):
    """Where the filter's autocorrelation is at least 0.15 of its largest value off the centre."""
    values = known_covariance(kernel)
    return (values >= 0.15 * values[RINGS > 0].max()) | (RINGS == 0)
