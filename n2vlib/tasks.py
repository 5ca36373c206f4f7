"""Three ways to learn from noisy patches alone. Each turns a batch into (network input, target, where to compare).

patches, input and target: (B, C, Y, X), normalised; where: boolean, same shape.
"""

import math

import torch

from .masking import mask_patches
from .structn2v import draw_full_mask, fill_hidden


def _noise2void(denoiser, patches, generator):
    """Hide single pixels, and predict them (Krull et al., CVPR 2019)."""
    masked, blind = mask_patches(patches, denoiser.config, generator)
    return masked, patches, blind


def _structn2v(denoiser, patches, generator):
    """Hide pixels together with all that carry the same noise, and predict them (Broaddus et al., ISBI 2020)."""
    config = denoiser.config
    percentage = config.masked_pixel_percentage
    hidden, centres = draw_full_mask(patches.shape, config.struct_mask, percentage, generator, patches.device)
    return fill_hidden(patches, hidden, config.strategy, generator), patches, centres


def _recorrupted(denoiser, patches, generator):
    """Add noise z to the input, take z / a from the target: no pixel need be hidden (Pang et al., CVPR 2021).

    With z of the noise's own covariance S, the noises n + a z and n - z / a have the covariance S - S = 0:
    for Gaussian noise they are independent. Shot noise, stronger where it is bright, needs config.shot as well: of 40
    photons with stripes (benchmarks/claims.py shot) without it 21.6 dB were reached, with it 27.0, by structN2V 26.3.
    """
    noise = denoiser.same_noise(patches, generator)
    if denoiser.config.augment and len(patches) > 1:
        patches, noise = _overlaid(patches, noise, generator)
    strength = denoiser.config.recorruption
    return patches + strength * noise, patches - noise / strength, torch.ones_like(patches, dtype=torch.bool)


def _overlaid(patches, noise, generator):
    """Lay patches over one another, and their noise alike, with weights whose squares add up to 1.

    Both noises keep their covariance, and a network that never sees the same picture twice cannot learn one image
    by heart, noise included: of one photograph more training made the result worse (see benchmarks/README.md).
    """
    angle = math.pi / 2 * (torch.rand(len(patches), 1, 1, 1, generator=generator, device=patches.device) - 0.5)
    return (angle.cos() * values + angle.sin() * values.roll(1, dims=0) for values in (patches, noise))


def task_of(config):
    """Return the task that a configuration asks for."""
    if config.covariance is not None:
        return _recorrupted
    return _noise2void if config.struct_mask is None else _structn2v
