"""The training data: cut into random patches on the fly."""

import math
import warnings

import numpy as np
import torch

from ..images.arrays import TURNS, some_pixels, turn, turns_that_keep
from ..images.gaps import MEASURED, Gaps

SMALLEST_SIDE = 8  # pixels; below that a patch has hardly a neighbour to predict from
NO_GAPS = Gaps({})
MOST_VALUES = 2**26  # of the images whose noise is measured: half a gigabyte in float64
MOST_TRIES = 8  # to find a patch with at least LEAST_MEASURED of its pixels measured
LEAST_MEASURED = 0.5
GREATLY = 5  # times as wide as that of a quarter of the images is the brightest one's spread
FEW_SPREAD = 5  # times the width of the middle two thirds of all values: a spread that few pixels make
OPAQUE = (1, 255, 65535)  # transparency of an image that has none, as files store it
SOME = 2**14  # pixels that tell in which units an image is
MOST_SPREADS, LEAST_SPREADS = 10, 0.01  # of the training images: what is so far away or so wide, or so flat, has others


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


def page_statistics(stack, pages, gaps=NO_GAPS):
    """Return mean and standard deviation of each channel of each of some pages of a stack (N, C, Y, X).

    pages: their numbers. gaps: Gaps of the stack. In intensity units, two float64 arrays (pages, C), and how many
    pixels were measured; 0 for both where none was.
    """
    shape = (len(pages), stack.shape[1])
    mean, std, count = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for i, n in enumerate(pages):
        values, codes = stack[n].reshape(shape[1], -1).astype(np.float64), gaps.of(n)
        valid = np.True_ if codes is None else codes.reshape(shape[1], -1) == MEASURED
        count[i] = np.broadcast_to(valid, values.shape).sum(axis=1)
        some = np.maximum(count[i], 1)
        mean[i] = values.sum(axis=1, where=valid) / some
        std[i] = np.sqrt(((values - mean[i][:, None]) ** 2).sum(axis=1, where=valid) / some)
    return mean, std, count


def channel_statistics(stack, pages, mean, std, count):
    """Return the mean and standard deviation of each channel over some pages of a stack (N, C, Y, X).

    pages: their numbers. mean, std, count: of each, see `page_statistics`. Two float64 arrays (C,), intensity units.
    Raises ValueError for a channel whose pixels are all equal or missing: there is nothing to learn in it.
    """
    weight = count / np.maximum(count.sum(axis=0), 1)
    middle = (weight * mean).sum(axis=0)
    spread = np.sqrt((weight * (std**2 + (mean - middle) ** 2)).sum(axis=0))
    for channel in range(stack.shape[1]):
        if spread[channel] == 0:
            refuse_constant(channel, stack.shape[1], stack[pages[0], channel, 0, 0])
    return middle, spread


def differ_greatly(std, count):
    """Return whether the spreads of the images, (N, C), differ so much that the brightest are all that counts.

    count: of the pixels measured, (N, C); a channel of an image without any says nothing.
    """
    each = [spread[many > 0] for spread, many in zip(std.T, count.T)]
    return any(len(spread) > 1 and spread.max() > GREATLY * np.quantile(spread, 0.25) for spread in each)


def is_wide(some, std):
    """Return whether in some channel of pages (N, C, Y, X) few pixels make the spread, and the others hardly vary.

    std: the channels' standard deviations, (C,). Where most pixels are equal (no photon) they have no noise that
    could be small.
    """
    low, high = np.nanquantile(some, (0.16, 0.84), axis=(0, 2, 3))
    return bool(np.any((low < high) & (high - low < std / FEW_SPREAD)))


def warn_of_other_units(page, mean, std):
    """Warn if a page (C, Y, X) can hardly be in the units of the training, whose mean and spread are (C,) each."""
    for c, channel in enumerate(page):
        low, middle, high = np.quantile(some_pixels(channel, SOME).astype(np.float64), (0.16, 0.5, 0.84))
        spread = (high - low) / 2
        far, wide = abs(middle - mean[c]) / std[c], spread / std[c]
        if max(far, wide) > MOST_SPREADS or (far > 0.5 and 0 < wide < LEAST_SPREADS):
            warnings.warn(
                f"channel {c} has values around {middle:.3g} +- {spread:.2g}, those of the training images were around "
                f"{mean[c]:.3g} +- {std[c]:.2g}: if these are other units (0 to 1, 8 or 16 bits), the result is "
                "nonsense; bring both to the same, or train on such images",
                stacklevel=2,
            )


def refuse_constant(channel, channels, value):
    """Raise the ValueError for a channel without any content."""
    others = [c for c in range(channels) if c != channel]
    advice = f"; leave it out, as in image[:, {others}], or image[..., {others}] where channels come last"
    rest = advice if others else ""
    if (channel, channels) == (3, 4) and value in OPAQUE:
        rest = ", as the transparency of a colour photograph is; leave it out, as in image[..., :3]"
    raise ValueError(f"channel {channel} is constant, every pixel is {value}: there is nothing to learn in it{rest}")


def some_images(stack, pages, count, gaps=NO_GAPS):
    """Return images of a stack (N, C, Y, X) from which its noise is measured, as arrays, with NaN in the gaps.

    pages: the numbers of the images to choose from; of these 16 to 31 are taken, if they are so many, and for a channel
    that is measured on none of them up to 16 of its own. Of large images the middle, MOST_VALUES in all. count: of the
    pixels measured, (pages, C).
    """
    chosen = set(range(0, len(pages), max(1, len(pages) // 16)))
    for many in count.T:
        if not many[list(chosen)].any():
            chosen |= set(np.flatnonzero(many)[:16].tolist())
    numbers = np.asarray(pages)[sorted(chosen)]
    share = min(1.0, MOST_VALUES / (len(numbers) * stack[0].size)) ** 0.5
    rows, columns = (round(length * (1 - share) / 2) for length in stack.shape[2:])
    middle = np.s_[:, rows : stack.shape[2] - rows, columns : stack.shape[3] - columns]
    images, codes = np.stack([stack[n][middle] for n in numbers]), [gaps.of(n) for n in numbers]
    if all(code is None for code in codes):
        return images
    measured = [np.full(images.shape[1:], True) if code is None else code[middle] == MEASURED for code in codes]
    return np.where(measured, images, np.nan)


def checked_corners(corners, stack, pages, patch_size):
    """Return those of some corners of patches, integers (K, 3), that lie in the images (pages) to train on.

    Raises ValueError for none, and for corners whose patches are not inside the stack (N, C, Y, X).
    """
    corners, sides = np.asarray(corners), [min(patch_size, *stack.shape[2:])] * 2
    fits = corners.ndim == 2 and corners.shape[1] == 3 and corners.dtype.kind in "iu"
    last = np.subtract([len(stack) - 1, *stack.shape[2:]], [0, *sides])
    if not fits or (corners < 0).any() or (corners > last).any():
        raise ValueError(f"corners are integers (K, 3): image, row and column, here from 0 to {last.tolist()} each")
    corners = corners[np.isin(corners[:, 0], pages)]
    if not len(corners):
        raise ValueError("corners name no image that is trained on: give some, or leave corners out")
    return corners


def crop_patches(stack, pages, config, generator, corners=None, gaps=NO_GAPS):
    """Cut random square patches out of a stack, and turn and flip them if `config.augment`.

    stack: array or memory map (N, C, Y, X); only the patches are read. pages: the numbers of the images
    to cut from. generator: torch.Generator. corners: the places to choose from, integers (K, 3): page, row,
    column; None: anywhere. Patches turn only in ways that leave structured noise as it is. gaps: Gaps of the
    stack; patches that are mostly gaps are drawn again.
    Returns an array (batch_size, C, side, side) in intensity units, side = patch_size or what fits; NaN in gaps; and
    the numbers of the pages that they are from.
    """
    height, width = stack.shape[-2:]
    side = min(config.patch_size, height, width)
    ranges = (len(pages), height - side + 1, width - side + 1, 2, 2, 2)
    draws = [torch.randint(high, (config.batch_size,), generator=generator).tolist() for high in ranges]
    draws[0] = [pages[page] for page in draws[0]]
    if corners is not None:
        chosen = torch.randint(len(corners), (config.batch_size,), generator=generator).numpy()
        draws[:3] = corners[chosen].T.tolist()
    elif gaps.codes:
        places = zip(*draws[:3])
        draws[:3] = zip(*(_where_measured(place, pages, ranges, side, gaps, generator) for place in places))
    kept = turns_that_keep(config.struct_mask if config.covariance is None else config.covariance)
    patches = []
    for page, y, x, *turned in zip(*draws):
        patch = stack[page, :, y : y + side, x : x + side]
        codes = gaps.of(page)
        if codes is not None:
            patch = np.where(codes[:, y : y + side, x : x + side] == MEASURED, patch, np.nan)
        if config.augment:
            patch = turn(patch, *kept[TURNS.index(tuple(turned)) % len(kept)])  # each of them equally often
        patches.append(patch)
    return np.stack(patches), list(draws[0])


def _where_measured(place, pages, ranges, side, gaps, generator):
    """Return a place (page, row, column) for a patch, drawn again while most of its pixels are no measurements."""
    for _ in range(MOST_TRIES):
        page, y, x = place
        codes = gaps.of(page)
        if codes is None or np.mean(codes[:, y : y + side, x : x + side] == MEASURED) >= LEAST_MEASURED:
            break
        page, y, x = (torch.randint(high, (1,), generator=generator).item() for high in ranges[:3])
        place = pages[page], y, x
    return place
