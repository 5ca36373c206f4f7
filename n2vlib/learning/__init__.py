"""Noise2Void itself, in the order of notebook 01: patches, blind spots, network, loss, loop, and the denoiser it makes.

Call the names below, and change what they do by N2VConfig alone. Touch `masking` to hide pixels in another way and
`network` for another architecture; `training` is the loop that joins them all.
"""

from .config import N2VConfig
from .denoiser import Denoiser
from .losses import blind_loss, blind_sigma, recorrupted_error
from .masking import draw_blind_pixels, draw_full_mask, fill_hidden, mask_patches, replace_blind_pixels
from .metrics import evaluate, psnr, scale_invariant_psnr, ssim
from .network import UNet, build_network, receptive_radius
from .optimizers import build_optimizers, cosine_schedule
from .patches import split_images
from .training import train
