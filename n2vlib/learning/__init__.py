"""Noise2Void itself: settings, blind spots, network, patches, loss, loop, and the denoiser that it makes.

Call the names below, and change what they do by N2VConfig alone; touch `masking` to hide pixels in another way,
`network` for another architecture.

config           all settings of a training and their defaults
allowed_values   the rules by which settings are checked
masking          blind spots, structured blind spots, recorruption: the three tasks
network          the U-Net, one for each channel, and how far it sees
patches          crops of the images, drawn on the fly
losses           what training minimises; measured on trained networks: leak, noise level, recorrupted error
optimizers       Muon and Adam, learning rate, average of the weights
training         the loop
model_files      models and checkpoints on disk, and how an interrupted training is resumed
similar_patches  what patches of the image that look alike, and residuals, tell of a prediction; it is corrected so
denoiser         a trained network: prediction in tiles with a halo, self-ensemble, noise model applied
metrics          PSNR, scale-invariant PSNR, SSIM: how close to the truth
device           processors, number formats, threads, several processes
"""

from .config import N2VConfig
from .denoiser import Denoiser
from .losses import blind_loss, blind_sigma, recorrupted_error
from .masking import draw_blind_pixels, draw_full_mask, fill_hidden, mask_patches, replace_blind_pixels
from .metrics import evaluate, psnr, scale_invariant_psnr, ssim
from .network import UNet, build_network, receptive_radius
from .optimizers import build_optimizers, cosine_schedule
from .patches import split_images
from .similar_patches import corrections, group_ridge, mix_with_similar, nl_ridge
from .training import train
