"""Noise2Void for the classroom: learn to denoise from noisy images alone.

Six rooms, in the order in which data flows and in which they are best read; each imports only from those above it:

images      a file or an array becomes a stack (N, C, Y, X), and comes back
noise       what noise is, and how it is measured on the image itself
learning    Noise2Void: the blind spot, the network, the loop, the trained denoiser
datasets    images to learn with, and trained weights to start from
show        figures, drawings, sliders, and a training to watch
two_stage   the pipeline for structured noise: noise that neighbours share

Below are the names that a script of your own needs; they are stable, other programs may call them. All others are
called by their room, as in n2vlib.show.history(...).
"""

from . import datasets, images, learning, noise, show, two_stage
from .datasets import load_pretrained
from .images import denoise_file, denoise_folder, load_image, read_stack, save_image
from .learning import (
    Denoiser,
    N2VConfig,
    draw_blind_pixels,
    evaluate,
    mask_patches,
    psnr,
    replace_blind_pixels,
    scale_invariant_psnr,
    split_images,
    ssim,
    train,
)
from .noise import (
    estimate_poisson_gaussian,
    noise_autocovariance,
    noise_report,
    posterior_mean,
    structural_mask,
)
from .two_stage import run_two_stage

__version__ = "0.1.0"  # the one place: pyproject.toml reads it here
