"""The blind spot: hide some pixels of a patch, so that a network must predict them from the rest.

Everything is drawn in torch, on the device of the patches, for a whole batch at once.
"""

import math

import torch

NO_NEIGHBOUR = "a blind pixel has only blind pixels in its roi: lower masked_pixel_percentage or enlarge roi_size"


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
    """Hide blind pixels in a batch as `config` says; return (masked patches, blind), both (B, C, Y, X)."""
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
