"""Structured noise: which neighbours of a pixel carry the same noise, and is there any such noise at all?"""

from dataclasses import dataclass, field

import numpy as np
import scipy.ndimage
import scipy.stats
from skimage.segmentation import flood

from .covariance import Autocovariance, checked_values, noise_autocovariance, square_rings
from .spectrum import noise_spectrum

FALSE_ALARMS = 0.01  # white noise alone gets a mask beyond the centre in at most this share of images


def structural_mask(autocovariance, threshold=0.15, max_true_pixels=None, smallest=0.15):
    """Return which neighbours carry the same noise as a pixel: what structN2V hides (Broaddus et al. 2020).

    A neighbour counts if its covariance is at least `threshold` times the strongest neighbour's, and
    beyond the chance of white noise (see FALSE_ALARMS). Where even the strongest has a correlation
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
    neighbours = square_rings(len(values)) > 0
    strongest = values[neighbours].max()
    limit = max(threshold * strongest, np.finfo(float).tiny)
    variance = values.max()
    if isinstance(autocovariance, Autocovariance):
        tests = neighbours.sum() // 2  # opposite neighbours have the same covariance
        limit = np.maximum(limit, scipy.stats.norm.isf(FALSE_ALARMS / tests) * autocovariance.error)
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


def is_compact(mask):
    """Return whether a mask hides all eight neighbours of its centre, so that no near one is left to predict from."""
    y, x = (side // 2 for side in mask.shape)
    return min(y, x) > 0 and bool(mask[y - 1 : y + 2, x - 1 : x + 2].all())


@dataclass(frozen=True)
class NoiseReport:
    """What `noise_report` found: deviations in intensity units, lengths in pixels; str() is the verdict.

    autocorrelation: 1 in the centre. texture: the correlation of neighbours that was taken for texture.
    false_alarm_rate: the share, at most, of images with white noise and flat places that are called correlated. A
    photograph of texture everywhere can be called so at any time: 1 of 20 of BSD68 was, at sigma 5.
    """

    white_sigma: float
    structured_std: float
    length_x: int
    length_y: int
    autocorrelation: np.ndarray = field(repr=False)  # two pictures would fill a notebook's cell with digits
    mask: np.ndarray = field(repr=False)
    texture: float
    false_alarm_rate: float

    def __str__(self):
        rate = f" (false alarms: {self.false_alarm_rate:.0%})"
        if self.mask.sum() > 1:
            centre = len(self.mask) // 2
            y, x = np.abs(np.argwhere(self.mask) - centre).T
            reach = {"x": self.length_x, "y": self.length_y}
            if np.array_equal(x, y):
                reach = {"a diagonal": self.length_x}
            words = (f"along {axis} over {far} px" + " or more" * (far == centre) for axis, far in reach.items() if far)
            return f"correlated {' and '.join(words)}: run both stages{rate}"
        if self.texture > 0.15:
            return "no flat background: correlated noise, if any, cannot be told from the image's own texture"
        return f"independent between pixels: Noise2Void is enough{rate}"


def noise_report(image, channel=None):
    """Say before any training whether the noise is correlated between pixels, so that stage 2 is needed.

    image, channel: as for `noise_autocovariance`, whose errors it raises. Returns a NoiseReport; its
    lengths are how far the mask reaches from the centre, 0 for white noise.

    >>> white = np.random.default_rng(0).normal(0, 10, (128, 129))
    >>> print(noise_report(white[:, 1:] + white[:, :-1]))
    correlated along x over 1 px: run both stages (false alarms: 1%)
    """
    measured = noise_autocovariance(image, channel=channel)
    mask = structural_mask(measured)
    centre = len(mask) // 2
    variance = measured.values[centre, centre]
    # White noise has the same power at all frequencies, structured noise leaves some nearly empty: the variance
    # of the white part is the floor of the power spectrum.
    spectrum = noise_spectrum(np.where(mask, measured.values, 0), (3 * len(mask), 3 * len(mask)))
    white = min(np.quantile(spectrum, 0.15), variance)
    length_y, length_x = np.abs(np.argwhere(mask) - centre).max(axis=0)
    return NoiseReport(
        white_sigma=float(np.sqrt(white)),
        structured_std=float(np.sqrt(variance - white)),
        length_x=int(length_x),
        length_y=int(length_y),
        autocorrelation=measured.values / variance,
        mask=mask,
        texture=measured.texture,
        false_alarm_rate=FALSE_ALARMS,
    )


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
