"""Structured blind spots: hide, with a pixel, all neighbours that carry the same noise (structN2V).

Broaddus et al., ISBI 2020. Everything is drawn in torch, for a whole batch at once, fresh for each step.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

STRATEGIES = ("mean", "zero", "random")


def checked_mask(mask, name="the mask"):
    """Return a mask of the noise's structure as a boolean array, after checking that it is one.

    mask: boolean (height, width), both odd, True = carries the same noise as the centre, centre True.
    Raises ValueError, in one sentence, for anything else.
    """
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"{name} has dtype {mask.dtype}: it must be boolean, e.g. mask.astype(bool)")
    if mask.ndim != 2 or mask.shape[0] % 2 == 0 or mask.shape[1] % 2 == 0:
        raise ValueError(f"{name} has shape {mask.shape}: it must have two odd sides, so that one pixel is its centre")
    if not mask[mask.shape[0] // 2, mask.shape[1] // 2]:
        raise ValueError(f"{name} is False in its centre: the pixel that is predicted must be hidden itself")
    if mask.all() and min(mask.shape) > 1:
        raise ValueError(
            f"{name} is True everywhere: noise correlated beyond it leaves no pixel to predict from; "
            "if it ends there, add a border of False"
        )
    return mask


def load_mask(path):
    """Read a mask that was saved with numpy.save; raise FileNotFoundError or ValueError for what is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no mask file {path}: check the path, or let the pipeline learn one from the images")
    try:
        mask = np.load(path, allow_pickle=False)
        assert isinstance(mask, np.ndarray)
    except Exception as error:  # numpy fails in many ways on what is no .npy file
        raise ValueError(f"{path.name} is not a mask saved with numpy.save (.npy): save it again") from error
    return checked_mask(mask, f"the mask of {path.name}")


def draw_full_mask(shape, mask, masked_pixel_percentage, generator=None, device="cpu"):
    """Place kernels over patches, and hide single pixels besides until the percentage is reached.

    Each kernel lies at a random place in a box of a randomly shifted grid; boxes are one pixel larger
    than the kernel, so no two kernels touch. Where the kernels alone would hide more than the
    percentage, fewer are placed, but at least one. Single pixels are hidden, and never scored. Every pixel
    is a centre about equally often.

    shape: (B, C, Y, X) of the patches. mask: as in `checked_mask`.
    Returns two boolean tensors (B, C, Y, X): the hidden pixels, and those to predict, the kernels' centres.
    """
    mask = torch.as_tensor(np.asarray(mask), device=device)
    planes, pixels = shape[0] * shape[1], shape[2] * shape[3]
    wanted = round(masked_pixel_percentage / 100 * pixels)
    most = max(1, wanted // int(mask.sum()))
    centres = _draw_centres((planes, *shape[2:]), mask, most, generator)
    weight = mask.flip(0, 1).float()[None, None]  # a convolution flips nothing: hidden = centre + offset
    pads = tuple(side // 2 for side in mask.shape)
    hidden = F.conv2d(centres[:, None].float(), weight, padding=pads)[:, 0] > 0.5
    keys = torch.rand((planes, pixels), generator=generator, device=device)
    rank = keys.masked_fill_(hidden.flatten(1), -1).argsort(dim=1, descending=True).argsort(dim=1)
    missing = wanted - hidden.flatten(1).sum(1, keepdim=True)
    hidden = hidden | (rank < missing).view_as(hidden)
    return hidden.view(shape), centres.view(shape)


def _draw_centres(shape, mask, most, generator):
    """Draw the centres of at most `most` kernels for each plane of (K, Y, X): one at least, no two touching."""
    planes, height, width = shape
    reach = [int(r) for r in (mask.nonzero() - torch.tensor(mask.shape, device=mask.device) // 2).abs().amax(0)]
    smallest = [2 * r + 2 for r in reach]  # a kernel, and the pixel that keeps it apart from the next
    stretch = max(1.0, (height * width / most / (smallest[0] * smallest[1])) ** 0.5)
    places = []
    for least, length, axis in zip(smallest, (height, width), (1, 2)):
        box = min(int(least * stretch), max(length, least))
        count = -(-length // box) + 1
        grid = (planes, count, 1) if axis == 1 else (planes, 1, count)
        shift = (torch.rand((planes, 1, 1), generator=generator, device=mask.device) * box).long()
        start = torch.arange(count, device=mask.device).view(grid[1:]) * box - shift
        places.append((start, box - least + 1, length))
    cells = (planes, places[0][0].shape[1], places[1][0].shape[2])
    rows, columns = (
        start + (torch.rand(cells, generator=generator, device=mask.device) * slack).long()
        for start, slack, _ in places
    )
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    keys = torch.rand(cells, generator=generator, device=mask.device).masked_fill_(~inside, -1).flatten(1)
    rank = keys.argsort(dim=1, descending=True).argsort(dim=1)
    chosen = (rank < most) & inside.flatten(1)
    centres = torch.zeros((planes, height * width), dtype=torch.bool, device=mask.device)
    plane, cell = chosen.nonzero(as_tuple=True)
    centres[plane, (rows * width + columns).flatten(1)[plane, cell]] = True
    empty = (~centres.any(1)).nonzero()[:, 0]  # a large box, shifted out of a small patch
    anywhere = torch.rand(len(empty), generator=generator, device=mask.device) * height * width
    centres[empty, anywhere.long()] = True
    return centres.view(shape)


def fill_hidden(patches, hidden, strategy="mean", generator=None):
    """Overwrite all hidden pixels with values of pixels that are not hidden.

    patches: float (B, C, Y, X), normalised; not changed. hidden: boolean, same shape.
    strategy: "mean" (of the nearest: the 3x3 window, and where all of it is hidden 5x5, 9x9, 17x17 ...),
        "zero", or "random" (a pixel of the same patch).
    """
    if strategy == "zero":
        return patches.masked_fill(hidden, 0)
    if strategy == "random":
        keys = torch.rand(hidden.flatten(2).shape, generator=generator, device=patches.device)
        order = keys.masked_fill_(hidden.flatten(2), 2).argsort(dim=2)  # seeing pixels first
        seeing = (~hidden).flatten(2).sum(2, keepdim=True)
        pick = (torch.rand(order.shape, generator=generator, device=patches.device) * seeing).long()
        values = patches.flatten(2).gather(2, order.gather(2, pick)).view_as(patches)
        return torch.where(hidden, values, patches)
    sees = (~hidden).to(patches.dtype)
    filled, missing, radius = patches * sees, hidden, 1
    while bool(missing.any()):
        window = dict(kernel_size=2 * radius + 1, stride=1, padding=radius, count_include_pad=True)
        share = F.avg_pool2d(sees, **window)
        mean = F.avg_pool2d(patches * sees, **window) / share.clamp(min=1e-9)
        reached = missing & (share > 1e-9)
        filled, missing = torch.where(reached, mean, filled), missing & ~reached
        if radius > max(patches.shape[-2:]):
            break  # nothing in the whole patch is seen: zero, the mean of the image
        radius *= 2
    return filled
