"""The network: a small U-Net, and one of it for each channel."""

import torch
import torch.nn.functional as F
from torch import nn


class UNet(nn.Module):
    """Predict an image from an image (Ronneberger et al. 2015, as used by Krull et al. 2019).

    in_channels, out_channels: of the images. depth: number of 2x2 poolings. width: channels at
    the top level, doubled at each pooling. n2v2: blur-pool instead of max-pool and no skip
    connection at the top level, against checkerboard artefacts (Höck et al. 2022).
    The output is linear, the network is not residual, and any image size from 1x1 up goes in.

    >>> network = UNet(in_channels=1, out_channels=2, depth=2, width=8)
    >>> network(torch.zeros(1, 1, 37, 53)).shape
    torch.Size([1, 2, 37, 53])
    """

    def __init__(self, in_channels, out_channels, depth=2, width=32, n2v2=False):
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.multiple = 2**depth  # sides are padded to a multiple of this
        self.skips = [level > 0 or not n2v2 for level in range(depth)]
        self.pool = blur_pool if n2v2 else max_pool
        self.encoders = nn.ModuleList(
            two_convolutions(before, after) for before, after in zip([in_channels, *widths[:-2]], widths[:-1])
        )
        self.bottom = two_convolutions(widths[-2], widths[-1])
        self.ups = nn.ModuleList(UpConvolution(2 * w, w, kernel_size=2, stride=2) for w in widths[:-1])
        self.decoders = nn.ModuleList(
            two_convolutions(2 * w if skip else w, w) for w, skip in zip(widths[:-1], self.skips)
        )
        self.last = nn.Conv2d(width, out_channels, kernel_size=1)

    def forward(self, image, asked=None):
        """Map (B, in_channels, Y, X) to (B, out_channels, Y, X).

        asked: rows and columns, (start, stop) each, of which alone the output is wanted, None for all. On the way up,
        most of the arithmetic, it then leaves out what cannot reach them: of tiles with a halo a fifth of the time.
        """
        asked = asked or [(0, length) for length in image.shape[-2:]]
        image = pad_to_multiple(image, self.multiple)
        seen = []
        for encoder in self.encoders:
            image = encoder(image)
            seen.append(image)
            image = self.pool(image)
        parts = [part_needed(asked, level, features.shape) for level, features in enumerate([*seen, image])]
        image = self.bottom(crop(image, parts[-1]))
        for level in reversed(range(len(seen))):
            image = crop(self.ups[level](image), parts[level], [2 * start for start, _ in parts[level + 1]])
            if self.skips[level]:
                image = torch.cat([image, crop(seen[level], parts[level])], dim=1)
            image = self.decoders[level](image)
        return crop(self.last(image), asked, [start for start, _ in parts[0]])


class UpConvolution(nn.ConvTranspose2d):
    """Double the sides of an image: each pixel becomes 2x2 pixels, by one matrix product.

    The same numbers as its parent, whose gradient of the weights took 7 to 17 times its arithmetic: 6 % of a step.
    """

    def forward(self, image):
        """Map (B, in_channels, Y, X) to (B, out_channels, 2 Y, 2 X)."""
        matrix = self.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 * 2 * out_channels, in_channels)
        squares = F.linear(image.permute(0, 2, 3, 1), matrix, self.bias.repeat(4))
        squares = squares.unflatten(3, (2, 2, -1)).transpose(2, 3)  # (B, Y, 2, X, 2, out_channels)
        return squares.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


class ReLU(nn.ReLU):
    """Set what is below 0 to 0, in place."""

    def forward(self, image):
        """Map an image to one of the same shape."""
        if image.dtype == torch.bfloat16 and not image.requires_grad:
            # Seen as an integer, a number has the same sign, and that takes a fifth of the time: 6 % of a prediction.
            image.view(torch.int16).clamp_min_(0)
            return image
        return super().forward(image)


class ChannelwiseUNets(nn.Module):
    """Run one single-channel U-Net for each channel, so that no channel influences another.

    Input (B, C, Y, X), output (B, C * outputs, Y, X), all outputs of channel 0 first.
    """

    def __init__(self, channels, outputs, **settings):
        super().__init__()
        self.networks = nn.ModuleList(UNet(1, outputs, **settings) for _ in range(channels))

    def forward(self, image, asked=None):
        """Apply network c to channel c."""
        return torch.cat([network(image[:, [c]], asked) for c, network in enumerate(self.networks)], dim=1)


def build_network(config, channels):
    """Build the untrained network that `config` describes, with weights drawn from `config.seed`.

    Each channel gets one output, or with a noise model those that `densities` splits: mean and variance, or more.

    >>> from n2vlib.learning import N2VConfig
    >>> network = build_network(N2VConfig(noise_model="gaussian"), channels=3)
    >>> network(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 6, 16, 16])
    """
    outputs = 3 * config.components - 1 if config.noise_model else 1
    settings = dict(depth=config.depth, width=config.num_channels_init, n2v2=config.n2v2)
    with torch.random.fork_rng():  # seeding must not disturb the caller's random numbers
        torch.manual_seed(config.seed)
        if config.independent_channels:
            network = ChannelwiseUNets(channels, outputs, **settings)
        else:
            network = UNet(channels, channels * outputs, **settings)
    if config.components > 1:
        set_apart(network, config.components)
    return network.to(memory_format=torch.channels_last)


def set_apart(network, components, spread=1.0):
    """Let the means of each pixel's densities begin apart (normalised units): equal ones would stay equal."""
    for part in network.modules():
        if isinstance(part, UNet):
            means = part.last.bias.data.unflatten(0, (-1, 3 * components - 1))[:, :components]
            means += torch.linspace(-spread, spread, components)


def two_convolutions(before, after):
    """Return two 3x3 convolutions, each followed by a ReLU; the image size stays."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1),
        ReLU(inplace=True),
        nn.Conv2d(after, after, kernel_size=3, padding=1),
        ReLU(inplace=True),
    )


def max_pool(image):
    """Halve the image: the maximum of each 2x2 square."""
    return F.max_pool2d(image, 2)


def blur_pool(image):
    """Halve the image after a blur with the binomial kernel 1-2-1 (Zhang 2019; Höck et al. 2022)."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=image.dtype, device=image.device)
    kernel = torch.outer(line, line).expand(image.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, stride=2, groups=image.shape[1])


def part_needed(asked, level, shape):
    """Return which rows and columns of a level, (start, stop) each, can still reach the pixels that are asked for.

    asked: rows and columns in pixels of the image. shape: (..., Y, X) of the level. On the way up two 3x3 convolutions
    reach 2 pixels of each level, and of the level above half as many as there and again 2: in all 2, 3, 4, 4, ...

    >>> part_needed([(24, 64), (0, 40)], level=1, shape=(1, 1, 44, 32))
    [(9, 35), (0, 23)]
    """
    step, reach = 2**level, min(2 + level, 4)
    return [
        (max(0, start // step - reach), min(length, -(-stop // step) + reach))
        for (start, stop), length in zip(asked, shape[-2:])
    ]


def crop(image, part, corner=(0, 0)):
    """Return some rows and columns, (start, stop) each, of an image (..., Y, X) that begins at a corner."""
    (top, bottom), (left, right) = part
    if image.shape[-2:] == (bottom - top, right - left):
        return image  # all of it: in a training a view would cost a copy on the way back
    y, x = corner
    return image[..., top - y : bottom - y, left - x : right - x]


def receptive_radius(depth, n2v2=False):
    """Return how many pixels away, at most, an input pixel can influence an output pixel.

    Of each level 2 convolutions on the way down and 2 on the way up reach 2**level pixels each, those at the bottom
    2**depth; a pixel lies anywhere in its square of the coarsest grid, 2**depth wide; the blur of N2V2 adds 2**level.

    >>> [receptive_radius(depth) for depth in (1, 2, 3)], receptive_radius(2, n2v2=True)
    ([9, 23, 51], 26)
    """
    return sum((5 if n2v2 else 4) * 2**level for level in range(depth)) + 3 * 2**depth - 1


def tile_sides(height, width, halo, multiple, most):
    """Return the rows and columns of the tiles of a page, without halo: as few pixels as possible are computed twice.

    halo: pixels around a tile that are computed for it alone. multiple: 2**depth. most: pixels of a tile with its halo.

    >>> tile_sides(1024, 1024, halo=24, multiple=4, most=400**2)
    (344, 344)
    """
    least, options = 16 * multiple, []
    for across in range(1, max(1, width // least) + 1):
        columns = _share(width, across, multiple)
        computed = columns + halo * min(2, across - 1)
        for down in range(1, max(1, height // least) + 1):
            rows = _share(height, down, multiple)
            too_many = max(0, computed * (rows + halo * min(2, down - 1)) - most)
            pixels = (width + 2 * halo * (across - 1)) * (height + 2 * halo * (down - 1))
            options.append((too_many, pixels, rows, columns))
            if not too_many:
                break
    return min(options)[2:]


def _share(length, count, multiple):
    """Return the length of one of `count` parts, all but the last equal, as a multiple of the pooling grid."""
    return -(-length // (count * multiple)) * multiple


def pad_to_multiple(image, multiple):
    """Pad (..., Y, X) below and right to a multiple, by reflection, or repeating the border if too small for that."""
    below, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    if below == right == 0:
        return image
    fits = below < image.shape[-2] and right < image.shape[-1]
    return F.pad(image, (0, right, 0, below), mode="reflect" if fits else "replicate")
