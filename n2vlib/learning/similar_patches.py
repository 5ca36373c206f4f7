"""What a small network does not see: patches elsewhere that look alike, and what its residual still shows."""

import numpy as np
import torch
import torch.nn.functional as F

from ..noise.models import noise_variance
from ..noise.spectrum import noise_spectrum

SIDE, STRIDE = 7, 4  # of the patches, and from one reference to the next, in pixels
REACH = 12  # pixels, how far away similar patches are looked for
GROUP = 55  # patches that look most alike
ROWS, CHUNK = 16, 1024  # rows of references, and references, at a time, to bound the memory
FAR = 1e4  # standard deviations: what lies beyond the image looks like nothing in it
RECORRUPTION = 0.5  # of the noise's deviation, added to compare denoisers, here and in losses
NUDGE = 0.1  # of the noise's deviation, added and taken off to see how much a result follows it
AROUND = 3, 5, 9  # sides of the squares of neighbours whose residuals are looked at, in pixels
WIDE = 64  # side of a table of covariances, in pixels: patches of a group are at most 2 * REACH apart


@torch.no_grad()
@torch.autocast("cpu", enabled=False)  # inside a prediction in bfloat16 too
def nl_ridge(noisy, pilot, variance, covariance=None):
    """Denoise an image by groups of similar patches, found in a first result, the pilot (NL-Ridge).

    Each patch of a group becomes the weighted sum of all of them with the least expected squared error, the pilot
    being taken for the truth: X (X'X + V)^-1 X'Y, with the noisy patches as columns of Y, those of the pilot as columns
    of X, and the sums of their noise's variances on the diagonal of V (Herbreteau & Kervrann, ICIP 2022; the second
    step of BM3D, Dabov et al. 2007, in another form). Of correlated noise V has the covariances of patches
    with each other, too.

    noisy, pilot, variance: (Y, X) float tensors, normalised units (squared). covariance: a table (see
    `covariance_table`) of correlated noise beside what `variance` says, or None. Returns one more image; of an image
    with a side below 31 pixels the pilot itself.

    >>> wave = torch.sin(torch.arange(64) / 3).expand(64, 64)
    >>> noisy = wave + 0.5 * torch.randn((64, 64), generator=torch.Generator().manual_seed(0))
    >>> result = nl_ridge(noisy, wave, torch.full((64, 64), 0.25))
    >>> bool((result - wave).std() < 0.1)
    True
    """
    height, width = noisy.shape
    if min(height, width) < SIDE + 2 * REACH:
        return pilot
    padding = (0, (SIDE - width) % STRIDE, 0, (SIDE - height) % STRIDE)
    noisy, pilot, variance = (F.pad(part[None], padding, mode="reflect")[0] for part in (noisy, pilot, variance))
    total = F.avg_pool2d(variance[None], SIDE, 1)[0] * SIDE**2
    across = pilot.shape[1]
    pixels = (torch.arange(SIDE)[:, None] * across + torch.arange(SIDE)).flatten()
    results, weights = torch.zeros(2, pilot.numel())
    for top in range(0, len(pilot) - SIDE + 1, ROWS * STRIDE):
        for y, x in zip(*(places.split(CHUNK) for places in _most_alike(pilot, top))):
            where = (y * across + x)[..., None] + pixels  # (references, GROUP, SIDE**2)
            noise = total[y, x][..., None]
            if covariance is not None:  # a negative distance counts from the table's end, where opposite lags are
                apart = [places[:, :, None] - places[:, None] for places in (y, x)]
                noise = torch.diag_embed(noise[..., 0]) + SIDE**2 * covariance[tuple(apart)]
            better, trust = group_ridge(noisy.flatten()[where], pilot.flatten()[where], noise)
            results.index_add_(0, where.flatten(), (better * trust).flatten())
            weights.index_add_(0, where.flatten(), trust.expand_as(better).flatten())
    return (results / weights).view(pilot.shape)[:height, :width]


def _most_alike(pilot, top):
    """Return rows and columns, (references, GROUP) each, of the patches most like those of some rows of references."""
    wide = F.pad(pilot, (REACH,) * 4, value=FAR)
    rows = min(ROWS, (len(pilot) - SIDE - top) // STRIDE + 1)
    height, width = (rows - 1) * STRIDE + SIDE, pilot.shape[1]
    here = pilot[top : top + height]
    offsets = torch.cartesian_prod(*[torch.arange(-REACH, REACH + 1)] * 2)
    distances = []
    for y, x in offsets.tolist():
        there = wide[REACH + top + y :, REACH + x :][:height, :width]
        distances.append(F.avg_pool2d((here - there).square_()[None], SIDE, STRIDE)[0])
    columns = distances[0].shape[1]
    distances = torch.stack(distances).flatten(1)
    distances[len(offsets) // 2] = -1  # itself, also where others are equal: so every pixel is in some group
    nearest = offsets[distances.topk(GROUP, dim=0, largest=False).indices.T]
    y = (top + torch.arange(rows) * STRIDE).repeat_interleave(columns)
    x = (torch.arange(columns) * STRIDE).repeat(rows)
    return y[:, None] + nearest[..., 0], x[:, None] + nearest[..., 1]


def group_ridge(noisy, pilot, variance):
    """Return groups of patches denoised, and how far to trust each patch: one over its noise.

    noisy, pilot: (K, patches, pixels), a patch a row. variance: the sum of its noise's variances, (K, patches, 1); of
    noise that patches share, the sums of their pixels' covariances, (K, patches, patches). For the first, by Woodbury's
    identity, the matrix to invert has the size of a patch, whatever the size of the group.

    >>> alike = torch.ones(1, 4, 9)  # four patches of 3x3 pixels; the noise of variance 1 is much weaker than they
    >>> noisy = torch.tensor([9.0, 11, 10, 10])[None, :, None] * alike
    >>> better, trust = group_ridge(noisy, 10 * alike, 9 * alike[..., :1])
    >>> better.mean(2).round(decimals=1).tolist()
    [[10.0, 10.0, 10.0, 10.0]]
    """
    if variance.shape[2] > 1:
        gram = pilot @ pilot.mT
        weights = torch.cholesky_solve(gram, torch.linalg.cholesky(gram + variance))
        left = (variance @ weights * weights).sum(1)[..., None]  # of the noise
        return weights.mT @ noisy, variance.diagonal(dim1=1, dim2=2).mean() / left.clamp(min=1e-6 * left.mean())
    shares = (pilot / variance).mT
    matrix = shares @ pilot
    matrix.diagonal(dim1=1, dim2=2).add_(1)
    left = torch.cholesky_solve(pilot.mT, torch.linalg.cholesky(matrix)).mT
    return left @ (shares @ noisy), 1 / (left @ shares).square().sum(2, keepdim=True).clamp(min=1e-6)


def covariance_table(covariance):
    """Return the covariance of two pixels at each distance, [dy, dx] with negative ones from the end.

    covariance: (size, size) as measured, of which chance is taken off (`noise_spectrum`), so that no sum of pixels has
    a variance below 0. Returns a square float32 tensor, of WIDE or size, whichever is larger.

    >>> table = covariance_table([[0, 0, 0], [10, 25, 10], [0, 0, 0]])
    >>> [round(table[at].item()) for at in ((0, 0), (0, 1), (0, -1), (1, 0), (-24, 24))]
    [25, 10, 10, 0, 0]
    """
    spectrum = noise_spectrum(covariance, (max(WIDE, len(covariance)),) * 2)
    return torch.from_numpy(np.fft.ifft2(spectrum).real.astype(np.float32))


def mix_with_similar(noisy, pilot, predict, gain, offset, generator, counts=True):
    """Correct a prediction by what similar patches and its own residual say, as far as the noisy image tells it helps.

    A network and a group of patches get mostly different things wrong. And a residual, noisy - pilot, should be nothing
    but noise: where its neighbours know something of it, the network took away a part of the image. How much of each
    `corrections` is best, the noisy image tells: it is nudged by some noise z more, both ways, and what both results
    lack is compared with y - z / a where a z was added. For Gaussian noise that is independent of the noise they have
    (Pang et al., CVPR 2021), and for so small a it is Stein's lemma (1981): the sum of a correction times the noise is
    on average the noise's variance times how much the correction follows its pixel. So the error is known but for a
    constant, and is smallest where a linear equation holds (SURE-LET, Blu & Luisier, IEEE TIP 2007). If the error of
    the prediction itself comes out below 0, the noise is weaker than gain and offset say, and nothing is corrected.

    noisy, pilot: (C, Y, X), normalised. predict: a function that denoises such an image. gain, offset: of the noise,
    (C, 1, 1, 1) each. counts: booleans (C, Y, X), which pixels are measured, default all.
    Returns the corrected images, (C, Y, X), and the weights of the corrections, -1.5 to 1.5, a list for each channel.

    >>> wave = torch.sin(torch.arange(64) / 3).expand(1, 64, 64)
    >>> noisy = wave + 0.5 * torch.randn((1, 64, 64), generator=torch.Generator().manual_seed(0))
    >>> gain, offset = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.25)
    >>> blurred = lambda image: F.avg_pool2d(image, 5, 1, 2, count_include_pad=False)
    >>> mean, [weights] = mix_with_similar(noisy, blurred(noisy), blurred, gain, offset, torch.Generator())
    >>> bool((mean - wave).std() < 0.75 * (blurred(noisy) - wave).std()), weights[0] > 0.5
    (True, True)
    """
    variance, counts = _variance_at(pilot, gain, offset), torch.as_tensor(counts).expand_as(pilot)
    noise = torch.randn(noisy.shape, generator=generator) * variance.sqrt()
    error, known, products = -(variance * counts).sum((1, 2)), 0, 0
    for drawn in (noise, -noise):  # what goes along with it by chance goes the other way
        nudged = noisy + NUDGE * drawn
        first = predict(nudged)
        rest = (noisy - first) * counts
        lacking = rest - counts * drawn / NUDGE
        error = error + (rest * (2 * lacking - rest)).sum((1, 2)) / 2
        ways = torch.stack([corrections(*channel) for channel in zip(nudged, first, variance)])
        known = known + (ways * lacking[:, None]).sum((2, 3))
        products = products + torch.stack([(ways * way * counts[:, None]).sum((2, 3)) for way in ways.split(1, 1)], 2)
    inverse = torch.linalg.pinv(products.double(), rtol=1e-6, hermitian=True)
    weights = (inverse @ known.double()[..., None]).float()[..., 0].clamp(-1.5, 1.5) * (error > 0)[:, None]
    ways = torch.stack([corrections(*channel) for channel in zip(noisy, pilot, variance)])
    return pilot + (weights[..., None, None] * ways).sum(1), weights.tolist()


@torch.autocast("cpu", enabled=False)
def corrections(noisy, pilot, variance):
    """Return what may be wrong with a prediction, images (K, Y, X): by similar patches, and by neighbours' residuals.

    The first is what `nl_ridge` makes of it, minus the prediction. The others are the mean residual of the other
    pixels in squares of AROUND pixels: nothing, on average, if the residual is white noise, whatever its strength.
    (Each pixel's own residual would help, too, but only where that strength is known to 1 %.)
    noisy, pilot, variance: (Y, X), normalised (squared).

    >>> noisy, pilot = torch.zeros(2, 40, 40)
    >>> noisy[20, 20] = 8
    >>> ways = corrections(noisy, pilot, torch.ones(40, 40))
    >>> ways.shape, ways[1, 20, 19:22].tolist()  # no pixel corrects itself
    (torch.Size([4, 40, 40]), [1.0, 0.0, 1.0])
    """
    rest = noisy - pilot
    sums = [F.avg_pool2d(rest[None], side, 1, side // 2)[0] * side**2 for side in AROUND]
    around = [(total - rest) / (side**2 - 1) for side, total in zip(AROUND, sums)]
    return torch.stack([nl_ridge(noisy, pilot, variance) - pilot, *around])


def _variance_at(pilot, gain, offset):
    """Return the variance of the noise in each pixel, (C, Y, X), if the pilot is the truth."""
    gain, offset = gain.to(pilot.device), offset.to(pilot.device)
    return noise_variance(pilot[:, None], gain, offset)[:, 0].expand_as(pilot)


def mean_with_similar(noisy, pilot, gain, offset, covariance):
    """Return the plain mean of a prediction and of what similar patches make of it, where noise is correlated.

    No weight is measured: a network that was trained on recorrupted copies of this very image knows it in part, and
    with it the noise that was added, so such copies praise it. (Measured on five images and kinds of noise: a weight
    of -0.06 to 0.22, where 0.8 was best in four of them.)

    noisy, pilot, gain, offset: as for `mix_with_similar`, of the white noise that photons add. covariance: (C, size,
    size), normalised squared, of the other noise. Returns (C, Y, X).

    >>> wave, generator = torch.sin(torch.arange(64) / 3).expand(1, 64, 64), torch.Generator().manual_seed(0)
    >>> white = torch.randn((1, 64, 65), generator=generator)
    >>> noisy = wave + white[..., 1:] - white[..., :-1]  # neighbours in a row are opposite
    >>> covariance, none = [[[0, 0, 0], [-1, 2, -1], [0, 0, 0]]], torch.zeros(1, 1, 1, 1)
    >>> pilot = F.avg_pool2d(noisy, 3, 1, 1, count_include_pad=False)
    >>> bool((mean_with_similar(noisy, pilot, none, none, covariance) - wave).std() < 0.7 * (pilot - wave).std())
    True
    """
    variance = _variance_at(pilot, gain, offset)
    tables = [covariance_table(values).to(pilot.device) for values in covariance]
    others = torch.stack([nl_ridge(*channel) for channel in zip(noisy, pilot, variance, tables)])
    return (pilot + others) / 2
