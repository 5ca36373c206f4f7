"""Noise2Void for the classroom: learn to denoise from noisy images alone.

Data flows one way, and the modules are best read in this order: images and stacks (files and shapes),
data (patches), masking (the blind spot), unet (the network), noise (what it is), losses and training
(the loop), denoiser and streaming (prediction), plots, diagrams, explore and live (figures and widgets).
Structured noise: covariance and structure (what the neighbours share), spectrum (noise of the same kind),
structn2v (hiding it), tasks (the three ways to learn), two_stage (all in one call; inputs, presets and
stages are its images and settings).
bsd68, samples and cells are images to learn with, pretrained are weights to start with; config,
metrics, device, optimizers, turns, checkpoint, download and intact help them.
"""

from .bsd68 import bsd68_test_image, load_bsd68
from .cells import painted_cells
from .config import N2VConfig
from .covariance import noise_autocovariance
from .data import split_images
from .denoiser import Denoiser
from .diagrams import draw_network, draw_pixels, draw_plane, show_unet
from .explore import before_after, explore_masking, explore_stack, explore_structure, redrawn
from .images import load_image
from .live import train_live
from .losses import blind_sigma, recorrupted_error
from .masking import draw_blind_pixels, mask_patches, replace_blind_pixels
from .metrics import evaluate, psnr, scale_invariant_psnr, ssim
from .noise import estimate_poisson_gaussian, expected_signal, mean_and_variance, posterior_mean
from .plots import composite, show_bars, show_history, show_images, show_masking, show_structure, use_style
from .pretrained import load_pretrained, pretrained_record
from .samples import jump_stack, painted_shapes, sample_photographs
from .spectrum import draw_noise, noise_spectrum
from .stacks import read_stack
from .streaming import denoise_file
from .structn2v import draw_full_mask, fill_hidden
from .structure import noise_report, ring_mask, structural_mask
from .training import train
from .two_stage import run_two_stage

__version__ = "0.1.0"  # the one place: pyproject.toml reads it here

__all__ = [
    "Denoiser",
    "N2VConfig",
    "before_after",
    "blind_sigma",
    "bsd68_test_image",
    "composite",
    "denoise_file",
    "draw_blind_pixels",
    "draw_full_mask",
    "draw_network",
    "draw_noise",
    "draw_pixels",
    "draw_plane",
    "estimate_poisson_gaussian",
    "evaluate",
    "expected_signal",
    "explore_masking",
    "explore_stack",
    "explore_structure",
    "fill_hidden",
    "jump_stack",
    "load_bsd68",
    "load_image",
    "load_pretrained",
    "mask_patches",
    "mean_and_variance",
    "noise_autocovariance",
    "noise_report",
    "noise_spectrum",
    "painted_cells",
    "painted_shapes",
    "posterior_mean",
    "pretrained_record",
    "psnr",
    "read_stack",
    "recorrupted_error",
    "redrawn",
    "replace_blind_pixels",
    "ring_mask",
    "run_two_stage",
    "sample_photographs",
    "scale_invariant_psnr",
    "show_bars",
    "show_history",
    "show_images",
    "show_masking",
    "show_structure",
    "show_unet",
    "split_images",
    "ssim",
    "structural_mask",
    "train",
    "train_live",
    "use_style",
]
