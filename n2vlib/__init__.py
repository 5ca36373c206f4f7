"""Noise2Void for the classroom: learn to denoise from noisy images alone.

Data flows one way, and the modules are best read in this order: images (files and shapes), data
(patches), masking (the blind spot), unet (the network), noise (what it is), training (the loop),
denoiser (prediction), plots and live (figures and widgets). config, metrics, device and
checkpoint help them.
"""

from .config import N2VConfig
from .covariance import draw_noise, noise_autocovariance, noise_spectrum
from .datasets import bsd68_test_image
from .denoiser import Denoiser
from .images import load_image
from .live import explore_masking, train_live
from .masking import draw_blind_pixels, mask_patches, replace_blind_pixels
from .metrics import psnr, scale_invariant_psnr, ssim
from .noise import posterior_mean
from .plots import show_bars, show_history, show_images, show_masking, use_style
from .structure import noise_report, ring_mask, structural_mask
from .training import train

__all__ = [
    "Denoiser",
    "N2VConfig",
    "bsd68_test_image",
    "draw_blind_pixels",
    "draw_noise",
    "explore_masking",
    "load_image",
    "mask_patches",
    "noise_autocovariance",
    "noise_report",
    "noise_spectrum",
    "posterior_mean",
    "psnr",
    "replace_blind_pixels",
    "ring_mask",
    "scale_invariant_psnr",
    "show_bars",
    "show_history",
    "show_images",
    "show_masking",
    "ssim",
    "structural_mask",
    "train",
    "train_live",
    "use_style",
]
