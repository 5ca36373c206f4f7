"""The training data: cut into random patches on the fly."""

import math

import numpy as np
import torch

from ..images.arrays import TURNS, turn, turns_that_keep

SMALLEST_SIDE = 8  # pixels; below that a patch has hardly a neighbour to predict from


def split_images(count, share=0.2, seed=0):
    """Split the numbers 0..count-1 of images at random into those to train on and those to validate with.

    share: of validation, a fraction; floor((1 - share) * count) images are left for training.
    Returns two sorted integer arrays without common numbers. Raises ValueError if either were empty.

    >>> training, validation = split_images(10)
    >>> len(training), len(validation), set(training) & set(validation)
    (8, 2, set())
    """
    if not (isinstance(count, (int, np.integer)) and isinstance(share, (int, float)) and 0 <= share <= 1):
        raise ValueError(f"{count} images and a share of {share} are not possible: give an integer and a fraction")
    training = math.floor(round((1 - share) * count, 9))  # 0.7 * 10 is 6.999... in floating point
    if not 0 < training < count:
        raise ValueError(f"{count} image(s) cannot be split with a share of {share}: one part would be empty")
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[:training]), np.sort(order[training:])


def channel_statistics(stack, pages):
    """Return the mean and standard deviation of each channel of some pages of a stack (N, C, Y, X), page by page.

    pages: their numbers. In intensity units, two float64 arrays of shape (C,).
    Raises ValueError for a channel whose pixels are all equal: there is nothing to learn in it.
    """
    channels, first_page = stack.shape[1], stack[pages[0]]
    shift = first_page.mean(axis=(1, 2), dtype=np.float64)  # keeps the sums of squares small
    total, squares = np.zeros(channels), np.zeros(channels)
    for page in pages:
        values = stack[page].astype(np.float64) - shift[:, None, None]
        total += values.mean(axis=(1, 2)) / len(pages)
        squares += (values**2).mean(axis=(1, 2)) / len(pages)
    std = np.sqrt(np.maximum(squares - total**2, 0))
    for channel in range(channels):
        first = first_page[channel, 0, 0]
        if std[channel] == 0 or all((stack[page, channel] == first).all() for page in pages):
            raise ValueError(f"channel {channel} is constant, every pixel is {first}: there is nothing to learn in it")
    return shift + total, std


def crop_patches(stack, pages, config, generator, corners=None):
    """Cut random square patches out of a stack, and turn and flip them if `config.augment`.

    stack: array or memory map (N, C, Y, X); only the patches are read. pages: the numbers of the images
    to cut from. generator: torch.Generator. corners: the places to choose from, integers (K, 3): page, row,
    column; None: anywhere. Patches turn only in ways that leave structured noise as it is.
    Returns an array (batch_size, C, side, side) in intensity units, side = patch_size or what fits.
    """
    height, width = stack.shape[-2:]
    side = min(config.patch_size, height, width)
    ranges = (len(pages), height - side + 1, width - side + 1, 2, 2, 2)
    draws = [torch.randint(high, (config.batch_size,), generator=generator).tolist() for high in ranges]
    draws[0] = [pages[page] for page in draws[0]]
    if corners is not None:
        chosen = torch.randint(len(corners), (config.batch_size,), generator=generator).numpy()
        draws[:3] = corners[chosen].T.tolist()
    kept = turns_that_keep(config.struct_mask if config.covariance is None else config.covariance)
    patches = []
    for page, y, x, *turned in zip(*draws):
        patch = stack[page, :, y : y + side, x : x + side]
        if config.augment:
            patch = turn(patch, *kept[TURNS.index(tuple(turned)) % len(kept)])  # each of them equally often
        patches.append(patch)
    return np.stack(patches)
