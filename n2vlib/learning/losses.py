"""What training minimises, and measures of what it has learned."""

import dataclasses

import numpy as np
import scipy.ndimage
import torch

from ..images.arrays import to_stack
from ..images.gaps import fill_gaps, find_gaps
from ..noise.law import without_patterns
from ..noise.models import densities, log_chances, mean_and_variance, noise_variance
from ..noise.spectrum import noise_like
from .masking import mask_patches
from .patches import crop_patches
from .similar_patches import RECORRUPTION

VALIDATION_PATCHES = 32
WEIGHT = 0.75  # 0: of 3 photons in 1000 pixels 4 dB were lost to plain Noise2Void; 1: a background of 0.05 was noisier
DETAILS = 2  # pixels: what a Gaussian of this width does not smooth away


def blind_loss(output, target, blind, noise=None, weight=WEIGHT):
    """Compare a prediction with the noisy pixels that were hidden from it, and with no others.

    output: (B, C, Y, X), or what `densities` splits with a noise model. target, blind: (B, C, Y, X); blind: boolean, or
    how much each pixel counts.
    noise: (gain, offset) of the normalised noise, or None.
    Returns the mean squared error (Krull et al. 2019), or with a noise model the negative log
    likelihood of the noisy pixel under a normal density (or the mixture of some) with the predicted mean,
    and with the predicted variance plus that of the noise (Laine et al., NeurIPS 2019). Where that of the noise
    grows with the signal, each pixel counts by its variance to the power of `weight` (Seitzer et al., ICLR 2022): a
    likelihood alone is nearly blind to errors where it is bright, and stops learning there.

    >>> output, target = torch.tensor([[[[1.0, 5.0]]]]), torch.tensor([[[[3.0, 0.0]]]])
    >>> blind_loss(output, target, blind=torch.tensor([[[[True, False]]]])).item()
    4.0
    """
    if noise is None:
        error = (output - target) ** 2
    else:
        mean, variance, share = densities(output, target.shape[1])
        # Detached: the likelihood must not be raised by moving the mean to where noise is weak.
        noise_there = noise_variance(mean.detach(), *noise)
        error = -log_chances(mean, variance, share, target, noise_there).logsumexp(2)
        if torch.as_tensor(noise[0]).any():
            counts = (share.exp() * (variance + noise_there)).sum(2).detach() ** weight
            error = error * counts / ((counts * blind).sum() / blind.sum().clamp(min=1)).clamp(min=1e-12)
    return (error * blind).sum() / blind.sum().clamp(min=1)


@torch.no_grad()
def validation_loss(run):
    """Return the loss of the weights to be returned, on the same patches and pixels each time."""
    if run.validation is None:
        return None
    crops = torch.Generator().manual_seed(run.config.seed)
    masks = torch.Generator(run.device).manual_seed(run.config.seed)
    losses = []
    for _ in range(max(1, VALIDATION_PATCHES // run.config.batch_size)):
        patches, measured, noise = run.normalised_patches(run.validation, crops)
        seen, target, where = run.task(run.denoiser, patches, masks, measured)
        losses.append(blind_loss(run.denoiser.network(seen), target, where, noise).item())
    return float(np.mean(losses))


def recorrupted_error(denoiser, images, covariance, shot=None, lines=None, waves=None, draws=4, seed=0):
    """Return a denoiser's mean squared error on noisy images alone, plus the same constant for every denoiser.

    Noise z of the images' own covariance is added to the input and z / a taken from the target: for Gaussian noise
    these are independent, so the target's adds only its variance (Pang et al., CVPR 2021). Training losses of
    different tasks cannot be compared, these errors can, with the same covariance and seed. They are
    those on images with a quarter more noise, and as right as the covariance. Lines and waves are not Gaussian, and of
    each there is but one: they are taken off the target, and so count as errors of a denoiser that keeps them.

    images: as for `predict`. covariance, shot, lines, waves: as in N2VConfig, intensity units (squared), as the result.

    >>> from n2vlib.learning import N2VConfig, train
    >>> noisy = np.random.default_rng(0).normal(100, 20, (64, 64))  # no signal: the best answer is 100 everywhere
    >>> denoiser = train(noisy, N2VConfig(max_steps=1, num_channels_init=4))
    >>> round(recorrupted_error(denoiser, noisy, np.pad([[20.0**2]], 1)), -3)  # 20**2 + (20 / 0.5)**2
    2000.0
    """
    stack, errors = to_stack(images), []
    missing = find_gaps(stack).missing(stack)
    stack = np.asarray(fill_gaps(stack, missing), np.float32)
    pages, generator = torch.from_numpy(stack), torch.Generator().manual_seed(seed)
    target = without_patterns(stack, lines, waves)
    for draw in range(draws):
        if draw % 2 == 0:
            noise = noise_like(pages, covariance, generator, shot).numpy()
        else:
            noise = -noise  # what goes along with it by chance goes the other way
        predicted = denoiser.predict(stack + RECORRUPTION * noise, draws=0)
        errors.append(np.square(predicted - (target - noise / RECORRUPTION)).mean(where=~missing))
    return float(np.mean(errors))


def shared_with_residual(noisy, denoised):
    """Return the correlation, -1 to 1, of a denoised image with what was taken from the noisy one, details alone.

    The best denoiser's error is orthogonal to its result (the projection theorem), so what it takes away goes along
    with the result only through the noise that is still in it: not negatively. A denoiser that was told a wrong law
    takes away what it sees, or adds what it does not. Of the noise only a mean of zero is assumed.

    noisy, denoised: (..., Y, X), in the same units. Returns 0.0 where either has no details.

    >>> signal = np.sin(np.arange(64) / 2) * np.ones((64, 1))
    >>> noisy = signal + np.random.default_rng(0).normal(0, 0.2, (64, 64))
    >>> round(shared_with_residual(noisy, 2 * signal))
    -1
    """
    sides = (0,) * (np.ndim(noisy) - 2) + (DETAILS,) * 2
    noisy, denoised = (np.asarray(image, np.float64) for image in (noisy, denoised))
    details = [image - scipy.ndimage.gaussian_filter(image, sides) for image in (noisy - denoised, denoised)]
    if min(one.std() for one in details) == 0:
        return 0.0
    return float(np.corrcoef(details[0].ravel(), details[1].ravel())[0, 1])


def measure_leak(run, batches=16):
    """Return how much a prediction follows its own pixel: the mean of d mean_i / d y_i, 0 if blind.

    Nothing hides a pixel at prediction; training taught the network to ignore it. The posterior
    mean counts the pixel once more, so it relies on that. Measured at the centres of patches.
    """
    if not run.config.noise_model:
        return 0.0
    crops = torch.Generator().manual_seed(run.config.seed)
    leaks = []
    for _ in range(batches):
        patches, _, _ = run.normalised_patches(run.training, crops)
        centre = patches.shape[-1] // 2
        leaks.append(own_influence(run.denoiser.network, patches, np.s_[..., centre, centre]))
    return float(np.mean(leaks))


def blind_sigma(denoiser, images, share=5, batches=200, **changes):
    """Measure the noise's sigma with a network that has a Gaussian noise model, better than from the image alone.

    A hidden pixel's squared error is v + sigma**2 on average, v being the variance that the network
    predicts from the neighbours alone: where v is smallest, sigma**2 is left. Which pixels these are
    does not depend on their own noise. Texture, which raises an estimate from the image, is where v is large.

    images: (Y, X), (N, Y, X) or (N, C, Y, X), as in training. share: of the hidden pixels, in percent, that is used;
    N of them tell sigma to about sigma / sqrt(N), so a denoiser whose config hides few needs more batches,
    or changes of its config that hold for the measurement, such as masked_pixel_percentage=11.0.
    Returns a tuple of C numbers in intensity units, as N2VConfig's noise_sigma takes them.
    Raises ValueError for a denoiser without a Gaussian noise model.

    >>> from n2vlib.learning import N2VConfig, train
    >>> noisy = np.random.default_rng(0).normal(100, 20, (64, 64))
    >>> denoiser = train(noisy, N2VConfig(max_steps=1, num_channels_init=4, noise_model="gaussian"))
    >>> [round(sigma, -1) for sigma in blind_sigma(denoiser, noisy, batches=10)]
    [20.0]
    """
    config = dataclasses.replace(denoiser.config, **changes)
    if config.noise_model != "gaussian":
        raise ValueError(f'the denoiser has noise_model = {config.noise_model!r}: train one with "gaussian"')
    sigmas = []
    for variance, error in hidden_pixels(denoiser, images, config, batches):
        calmest = variance.argsort()[: max(1, round(share / 100 * len(variance)))]
        sigmas.append(error[calmest].mean().sqrt().item())
    return tuple(sigmas)


@torch.no_grad()
def hidden_pixels(denoiser, images, config, batches):
    """Return what a network does not know of pixels that are hidden from it, in intensity units squared.

    images, batches: as for `blind_sigma`. config: how many pixels are hidden in patches of which size, and the seed.
    Returns for each channel a tensor (2, K): the variance that is expected (0 without a noise model), and the squared
    error, which holds the noise of the pixel too.
    """
    stack = denoiser.stack_of(images)
    gaps = find_gaps(stack)
    stack = denoiser.without_patterns(stack, gaps)
    generator = torch.Generator().manual_seed(config.seed)
    seen = [[] for _ in denoiser.mean]
    levels = denoiser.levels(stack, gaps)
    for _ in range(batches):
        patches, pages = crop_patches(stack, range(len(stack)), config, generator, gaps=gaps)
        mean, std = (level[pages] for level in levels)
        missing = np.isnan(patches)
        patches = denoiser.normalise(fill_gaps(patches, missing), mean, std)
        masked, blind = mask_patches(patches, config, generator)
        output = denoiser.network(masked.to(denoiser.device)).cpu()
        mean, variance = mean_and_variance(output, patches.shape[1]) if config.noise_model else (output, 0 * output)
        scale = torch.from_numpy(std**2).float()[:, :, None, None]
        variance, error = scale * variance, scale * (patches - mean) ** 2
        for c, hidden in enumerate((blind & torch.from_numpy(~missing)).unbind(1)):
            seen[c].append(torch.stack([variance[:, c][hidden], error[:, c][hidden]]))
    return [torch.cat(pairs, dim=1) for pairs in seen]


def own_influence(network, patches, pixels):
    """Return the mean of d mean_i / d y_i over some pixels i, which must be too far apart to see each other.

    patches: normalised, (B, C, Y, X). pixels: an index into them.
    """
    patches = patches.requires_grad_()
    output, channels = network(patches), patches.shape[1]
    mean = output if output.shape[1] == channels else mean_and_variance(output, channels)[0]
    (gradient,) = torch.autograd.grad(mean[pixels].sum(), patches)
    return gradient[pixels].mean().item()
