"""What a network must not see of a patch: blind spots, structured blind spots, or nothing but recorrupted noise.

Single pixels (Noise2Void, Krull et al. 2019), pixels with all neighbours that carry the same noise (structN2V,
Broaddus et al. 2020), or none, with noise added instead (recorruption, Pang et al. 2021). Everything is drawn in
torch, on the device of the patches, for a whole batch at once, fresh for each step.
"""

import functools
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

FILLS = ("mean", "zero", "random")  # strategies for structured blind spots
STRENGTHS = 0.7, 1.8  # times config.recorruption: between these is the strength with which a patch is recorrupted
BY_HEART = 100  # passes: as often as each pixel is cropped before one image could be known by heart
NO_NEIGHBOUR = "a blind pixel has only blind pixels in its roi: lower masked_pixel_percentage or enlarge roi_size"


# Single blind spots


def box_side(masked_pixel_percentage):
    """Return the side in pixels of the box that holds one blind pixel: round(sqrt(100 / percent))."""
    return round(math.sqrt(100 / masked_pixel_percentage))


def draw_blind_pixels(shape, masked_pixel_percentage, generator=None, device="cpu"):
    """Draw which pixels are blind: one in each box of a grid (stratified sampling, Krull et al. 2019).

    Plain random drawing makes clusters, in which blind pixels would lose their neighbours. Boxes
    at the lower and right border may be cut by it and still hold one blind pixel each.

    shape: (B, C, Y, X) of the patches; every patch and channel gets its own blind pixels.
    masked_pixel_percentage: percent of pixels, see `box_side`.
    Returns a boolean tensor (B, C, Y, X), True = blind.

    >>> blind = draw_blind_pixels((1, 1, 9, 9), masked_pixel_percentage=11)  # boxes of 3 x 3
    >>> blind.sum().item(), blind[..., :3, :3].sum().item()
    (9, 1)
    """
    batch, channels, height, width = shape
    side = box_side(masked_pixel_percentage)
    positions = []
    for length in (height, width):
        start = torch.arange(0, length, side, device=device)
        positions.append((start, (length - start).clamp(max=side)))
    (top, box_height), (left, box_width) = positions
    grid = (batch, channels, len(top), len(left))
    rows = top[:, None] + (torch.rand(grid, generator=generator, device=device) * box_height[:, None]).long()
    columns = left + (torch.rand(grid, generator=generator, device=device) * box_width).long()
    blind = torch.zeros(batch, channels, height * width, dtype=torch.bool, device=device)
    blind.scatter_(2, (rows * width + columns).flatten(2), True)
    return blind.view(shape)


def replace_blind_pixels(patches, blind, strategy="uniform", roi_size=11, generator=None):
    """Overwrite the blind pixels with values taken from pixels that are not blind themselves.

    patches: float tensor (B, C, Y, X), normalised; it is not changed. blind: boolean, same shape.
    strategy: "uniform", "median", "mean" (of the roi_size x roi_size window around the pixel,
        moved inwards at the border), "uniform_withCP" (the same as "uniform", but the pixel itself is
        in the draw too: 1 in roi_size**2 keeps its value), "zero", or "random" (from the whole patch).
    Returns the masked patches, (B, C, Y, X). Krull et al. 2019 (uniform), Höck et al. 2022 (median).

    >>> patch = torch.arange(9.0).view(1, 1, 3, 3)
    >>> replace_blind_pixels(patch, patch == 8, strategy="mean", roi_size=3)[0, 0].tolist()
    [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 3.5]]
    """
    masked = patches.contiguous().clone()
    if strategy == "zero":
        masked[blind] = 0
    elif strategy == "random":
        masked[blind] = _random_values(patches, blind, generator)
    else:
        where = blind.nonzero(as_tuple=True)
        masked[where] = _roi_values(patches, blind, where, strategy, roi_size, generator)
    return masked


def mask_patches(patches, config, generator=None):
    """Hide blind pixels in a batch as `config` says; return (masked patches, blind), both (B, C, Y, X).

    >>> from n2vlib.learning import N2VConfig
    >>> masked, blind = mask_patches(torch.ones(4, 1, 64, 64), N2VConfig(strategy="zero"))
    >>> torch.equal(masked == 0, blind)
    True
    """
    blind = draw_blind_pixels(patches.shape, config.masked_pixel_percentage, generator, patches.device)
    return replace_blind_pixels(patches, blind, config.strategy, config.roi_size, generator), blind


def _roi_values(patches, blind, where, strategy, roi_size, generator):
    """Look up one value for each blind pixel in its roi; `where` = (b, c, y, x), K entries each."""
    height, width = patches.shape[-2:]
    image, channel, rows, columns = where
    plane = (image * patches.shape[1] + channel) * height
    rows, columns = plane[:, None] + _window(rows, roi_size, height), _window(columns, roi_size, width)
    if strategy.startswith("uniform"):
        values = patches.flatten()[_seeing_neighbour(blind.flatten(), rows * width, columns, generator)]
        if strategy == "uniform":
            return values
        own = torch.rand(len(values), generator=generator, device=values.device) < 1 / roi_size**2
        return torch.where(own, patches[where], values)
    # All roi pixels of all K blind pixels at once: flat indices of shape (K, roi * roi).
    index = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    values, seeing = patches.flatten()[index], ~blind.flatten()[index]
    if not seeing.any(1).all():
        raise ValueError(NO_NEIGHBOUR)
    if strategy == "mean":
        return (values * seeing).sum(1) / seeing.sum(1)
    if strategy == "median":
        return values.masked_fill(~seeing, torch.nan).nanmedian(1).values
    raise ValueError(f"strategy = {strategy!r} is not one of uniform, median, mean, zero, random")


def _seeing_neighbour(blind, rows, columns, generator):
    """Draw for each of K windows the flat index of a pixel that sees, each with the same chance.

    rows, columns: (K, roi), whose sums are flat indices into `blind`. A draw that hits a blind
    pixel is repeated; what is still blind after a few rounds is drawn from the seeing ones alone.
    """

    def draw(window_rows, window_columns):
        size = (len(window_rows), 1)
        row, column = (
            side.gather(1, torch.randint(side.shape[1], size, generator=generator, device=blind.device))
            for side in (window_rows, window_columns)
        )
        return (row + column)[:, 0]

    index = draw(rows, columns)
    for _ in range(3):
        again = blind[index].nonzero()[:, 0]
        index[again] = draw(rows[again], columns[again])
    last = blind[index].nonzero()[:, 0]
    if len(last):
        every = (rows[last][:, :, None] + columns[last][:, None, :]).flatten(1)
        seeing = ~blind[every]
        if not seeing.any(1).all():
            raise ValueError(NO_NEIGHBOUR)
        keys = torch.rand(every.shape, generator=generator, device=blind.device)  # the largest key wins
        index[last] = every.gather(1, keys.masked_fill_(~seeing, -1).argmax(1, keepdim=True))[:, 0]
    return index


def _window(centre, roi_size, length):
    """Return the coordinates (K, roi) of windows around `centre`, moved to lie within 0..length-1."""
    roi_size = min(roi_size, length)
    start = (centre - roi_size // 2).clamp(0, length - roi_size)
    return start[:, None] + torch.arange(roi_size, device=centre.device)


def _random_values(patches, blind, generator):
    """Draw for each blind pixel a value of its own patch and channel, in the order of patches[blind]."""
    # Sorting the flags puts the seeing pixels first; stratified drawing makes their number equal everywhere.
    order = blind.flatten(2).to(torch.uint8).sort(dim=2, stable=True).indices
    hidden = int(blind[0, 0].sum())
    total = order.shape[2]
    shape = (*blind.shape[:2], hidden)
    pick = torch.randint(total - hidden, shape, generator=generator, device=blind.device)
    return patches.flatten(2).gather(2, order.gather(2, pick)).flatten()


# Structured blind spots


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

    >>> hidden, centres = draw_full_mask((1, 1, 50, 50), np.ones((1, 3), bool), masked_pixel_percentage=10)
    >>> hidden.sum().item(), hidden[centres].all().item()
    (250, True)
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
    missing = (wanted - hidden.flatten(1).sum(1, keepdim=True)).clamp(min=0)
    most = int(missing.max())
    largest = keys.masked_fill_(hidden.flatten(1), -1).topk(most, dim=1).indices  # sorting all took a tenth of a step
    single = torch.zeros_like(hidden.flatten(1)).scatter_(1, largest, torch.arange(most, device=device) < missing)
    hidden = hidden | single.view_as(hidden)
    return hidden.view(shape), centres.view(shape)


def _draw_centres(shape, mask, most, generator):
    """Draw the centres of at most `most` kernels for each plane of (K, Y, X): one at least, no two touching."""
    planes, height, width = shape
    uniform = functools.partial(torch.rand, generator=generator, device=mask.device)
    reach = (mask.nonzero() - torch.tensor(mask.shape, device=mask.device) // 2).abs().amax(0)
    smallest = (2 * reach + 2).tolist()  # a kernel, and the pixel that keeps it apart from the next
    stretch = max(1.0, (height * width / most / math.prod(smallest)) ** 0.5)
    boxes, starts = [], []
    for least, length in zip(smallest, (height, width)):
        box = min(int(least * stretch), max(length, least))
        shift = (uniform((planes, 1)) * box).long()
        boxes.append(box)
        starts.append(torch.arange(-(-length // box) + 1, device=mask.device) * box - shift)
    cells = (planes, starts[0].shape[1], starts[1].shape[1])
    rows = starts[0][:, :, None] + (uniform(cells) * (boxes[0] - smallest[0] + 1)).long()
    columns = starts[1][:, None, :] + (uniform(cells) * (boxes[1] - smallest[1] + 1)).long()
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    keys = uniform(cells).masked_fill_(~inside, -1).flatten(1)
    rank = keys.argsort(dim=1, descending=True).argsort(dim=1)
    chosen = (rank < most) & inside.flatten(1)
    centres = torch.zeros((planes, height * width), dtype=torch.bool, device=mask.device)
    centres[chosen.nonzero()[:, 0], (rows * width + columns).flatten(1)[chosen]] = True
    empty = (~centres.any(1)).nonzero()[:, 0]  # a large box, shifted out of a small patch
    centres[empty, (uniform(len(empty)) * height * width).long()] = True
    return centres.view(shape)


def fill_hidden(patches, hidden, strategy="mean", generator=None):
    """Overwrite all hidden pixels with values of pixels that are not hidden.

    patches: float (B, C, Y, X), normalised; not changed. hidden: boolean, same shape.
    strategy: "mean" (of the nearest: the 3x3 window, and where all of it is hidden 5x5, 9x9, 17x17 ...),
        "zero", or "random" (a pixel of the same patch).

    >>> patch = torch.tensor([[[[2.0, 9.0, 4.0]]]])
    >>> fill_hidden(patch, patch == 9).tolist()
    [[[[2.0, 3.0, 4.0]]]]
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


# The three tasks: each turns a batch of patches into (network input, target, where to compare), all (B, C, Y, X) and
# normalised; where: boolean, or how much each pixel counts. measured: boolean, what is not counts for nothing.
# passes: how often each pixel of the images was cropped before; matters for recorrupted patches alone.


def _noise2void(denoiser, patches, generator, measured=True, passes=BY_HEART):
    """Hide single pixels, and predict them (Krull et al., CVPR 2019)."""
    masked, blind = mask_patches(patches, denoiser.config, generator)
    return masked, patches, blind & measured


def _structn2v(denoiser, patches, generator, measured=True, passes=BY_HEART):
    """Hide pixels together with all that carry the same noise, and predict them (Broaddus et al., ISBI 2020)."""
    config = denoiser.config
    percentage = config.masked_pixel_percentage
    hidden, centres = draw_full_mask(patches.shape, config.struct_mask, percentage, generator, patches.device)
    return fill_hidden(patches, hidden, config.strategy, generator), patches, centres & measured


def _recorrupted(denoiser, patches, generator, measured=True, passes=BY_HEART):
    """Add noise z to the input, take z / a from the target: no pixel need be hidden (Pang et al., CVPR 2021).

    With z of the noise's own covariance S, the noises n + a z and n - z / a have the covariance S - S = 0:
    for Gaussian noise they are independent. Shot noise, stronger where it is bright, needs config.shot as well: of 40
    photons with stripes (benchmarks/claims.py shot) without it 22.6 dB were reached, with it 26.9, by structN2V 26.2.

    Half as many patches as were cropped are made of them, and each is recorrupted by z and by -z: of z / a, the
    greatest part of the target's noise, only what the network makes of z is left, as in the estimate of the error by
    Ramani et al. (IEEE TIP 2008). That alone gains 0.05 to 0.24 dB in 1500 steps, but cells before a dark background
    are learned by heart sooner; so each patch has an a of its own, which costs half of that (benchmarks/README.md).
    It costs more before an image can be known by heart, so the range of a widens with the passes until BY_HEART.
    """
    half, known = max(1, len(patches) // 2), min(1, passes / BY_HEART)
    low, high = (1 + known * (bound - 1) for bound in STRENGTHS)
    measured = torch.as_tensor(measured, device=patches.device).expand_as(patches)[: 2 * half]
    patches = patches[: 2 * half]
    noise = denoiser.same_noise(patches, generator)
    drawn = torch.rand(half, 1, 1, 1, generator=generator, device=patches.device)
    strength = denoiser.config.recorruption * (low + (high - low) * drawn)
    added = strength.repeat(2, 1, 1, 1)[: len(patches)] * noise
    variance = torch.stack([denoiser.variance_there(patches + way * added) for way in (1, -1)])
    turning = known == 1 and denoiser.config.augment and len(patches) > 1
    patches, noise, variance, measured = _overlaid(patches, noise, variance, measured, generator, turning)
    # Least squares count each pixel by one over its variance (Aitken 1936): with photons 0.12 dB, see two_stage.py
    # kinds, fly and jump, sharpened. It is that of the input alone, which is independent of the target's noise.
    counts = 1 / variance
    counts = measured * counts / counts.mean((0, 1, 3, 4), keepdim=True)
    noise = torch.stack([noise, -noise])
    seen, target = patches + strength * noise, patches - noise / strength
    return seen.flatten(0, 1), target.flatten(0, 1), counts.flatten(0, 1)


def _overlaid(patches, noise, variance, measured, generator, turning=True):
    """Lay patches over one another, and their noise alike, with weights whose squares add up to 1.

    Of B patches, an even number, half as many are made, of one alone itself; variance may be of several kinds,
    (K, B, C, Y, X). turning: False leaves the first half as it is.

    Both noises keep their covariance, and a network that never sees the same picture twice cannot learn one image
    by heart, noise included: of one photograph more training made the result worse (see benchmarks/README.md).
    All angles, so weights of either sign: cells before a dark background were learned by heart while one patch had a
    weight of at least 0.7 (two_stage.py kinds, fly, sharpened, 3500 steps: 31.1 dB instead of 32.2). Until an image
    can be known by heart they only make the task harder, so training begins without them (BY_HEART): in 400 steps
    that gains 0.1 to 0.8 dB, and with many images they never come (benchmarks/README.md).
    """
    half = -(-len(patches) // 2)
    angle = turning * 2 * math.pi * torch.rand(half, 1, 1, 1, generator=generator, device=patches.device)
    one, other = angle.cos(), angle.sin()

    def laid(values, one, other):
        return one * values.narrow(-4, 0, half) + other * values.narrow(-4, -half, half)

    measured = measured[:half] & (measured[-half:] | (not turning))
    return laid(patches, one, other), laid(noise, one, other), laid(variance, one**2, other**2), measured


def task_of(config):
    """Return the task that a configuration asks for."""
    if config.covariance is not None:
        return _recorrupted
    return _noise2void if config.struct_mask is None else _structn2v
