"""Noise2Void for the classroom: learn to denoise from noisy images alone.

Data flows one way, and the modules are best read in this order: images (files and shapes), data
(patches), masking (the blind spot), unet (the network), noise (what it is), training (the loop),
denoiser (prediction), plots and live (figures and widgets). config, metrics, device and
checkpoint help them.
"""

from .bsd68 import bsd68_test_image, load_bsd68
from .config import N2VConfig
from .denoiser import Denoiser
from .explore import explore_masking
from .images import load_image
from .live import train_live
from .masking import draw_blind_pixels, mask_patches, replace_blind_pixels
from .metrics import evaluate, psnr, scale_invariant_psnr, ssim
from .noise import posterior_mean
from .plots import show_bars, show_history, show_images, show_masking, use_style
from .pretrained import load_pretrained, pretrained_record
from .samples import sample_photographs
from .training import train

__all__ = [
    "Denoiser",
    "N2VConfig",
    "bsd68_test_image",
    "draw_blind_pixels",
    "evaluate",
    "explore_masking",
    "load_bsd68",
    "load_image",
    "load_pretrained",
    "mask_patches",
    "posterior_mean",
    "pretrained_record",
    "psnr",
    "replace_blind_pixels",
    "sample_photographs",
    "scale_invariant_psnr",
    "show_bars",
    "show_history",
    "show_images",
    "show_masking",
    "ssim",
    "train",
    "train_live",
    "use_style",
]
