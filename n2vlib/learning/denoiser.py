"""A trained network with all it needs to denoise: normalisation, noise model, history."""

import dataclasses
import functools
from contextlib import nullcontext

import numpy as np
import torch

from ..images.arrays import as_array, check_values, from_stack, strips, to_stack, turn, turn_tensor, turns_that_keep
from ..images.gaps import GAP, MEASURED, Gaps, checked_valid, fill_gaps, find_gaps
from ..noise.law import without_patterns
from ..noise.models import expected_signal, mean_and_variance, signal_variance
from ..noise.spectrum import covariances_of, noise_like, variance_like
from .allowed_values import refuse, whole
from .config import N2VConfig
from .device import choose_device, fast_numbers, keep_freed_memory
from .masking import box_side, replace_blind_pixels
from .model_files import read_model, write_model
from .network import build_network, crop, receptive_radius, tile_sides
from .patches import NO_GAPS, page_statistics, warn_of_other_units
from .similar_patches import mean_with_similar, mix_with_similar

LARGEST_LEAK = 0.05  # a network that follows its own pixel more than this predicts it hidden
CROP = 256  # pixels, the side of the square that the noise is looked at in
ACTIVATION_BYTES = 2**27  # about what the activations of one tile may take
ENOUGH = 52  # bytes a squared halo and top channel of the network: larger tiles are no faster on a processor
NORMALISED = 0, 1  # mean and spread
MEAN, VARIANCE = 0, 1  # of the posterior: which of them is asked of a tile
NOISY = 0.2  # of the image's spread: noise beside which rounding to bfloat16, some thousandths of it, is harmless


class Denoiser:
    """A trained network: `predict` images, `save` it, and `Denoiser.load` it again.

    network: maps normalised (B, C, Y, X) to (B, C, Y, X), or with a noise model to what `densities` splits, as `UNet`.
    mean, std: of each channel of the training images, in intensity units, C numbers each.
    noise: (gain, offset) of each channel in intensity units, or None. history: dict of lists,
    one entry an epoch. leak: mean derivative of the prediction at a pixel by that pixel's value.

    >>> untrained = Denoiser(build_network(N2VConfig(), channels=1), N2VConfig(), mean=[100], std=[20])
    >>> untrained.normalise(np.array([[[80.0, 100.0, 140.0]]])).tolist()
    [[[-1.0, 0.0, 2.0]]]
    """

    def __init__(self, network, config, mean, std, noise=None, history=None, leak=0.0):
        self.network, self.config = network, config
        self.mean, self.std = [float(m) for m in mean], [float(s) for s in std]
        self.noise = noise
        self.history = history if history is not None else {}
        self.leak = leak

    @property
    def device(self):
        """Where the network computes."""
        return next(self.network.parameters()).device

    def predict(self, image, tta=False, channel_axis=None, draws=None, exact=False, valid=None, similar=False):
        """Denoise an image of any size: padded, cut into tiles and put together again by itself.

        image: (Y, X), (N, Y, X) or (N, C, Y, X), as in training, in intensity units.
        tta: average over the 8 flips and quarter turns, with structured noise over the 2 or 4 that leave it
            as it is (test-time augmentation, so many times slower).
        channel_axis: the axis of the channels, for (Y, X, C) and (N, Y, X, C).
        draws: with recorrupted training, over how many draws of the noise to average (default: config.draws, with
            tta so many for each turn); 0: predict from the image without more noise.
        exact: convolve in float32. Else in bfloat16, as training does, where the processor has it built in and the
            image is so noisy that its rounding is less than a tenth of the noise that is left: twice as fast.
        similar: correct by what similar patches elsewhere and the residual around each pixel say, as far as the noisy
            image tells that it helps (`mix_with_similar`): up to some tenths of a dB; needs a noise model. With a
            covariance the mean of both (`mean_with_similar`), which helps where no neighbours share noise of one sign.
        valid: as in `train`. What is not valid, constant, saturated, empty or NaN comes back as it is; hot and dead
            pixels are predicted from their neighbours.
        Returns a float32 array of the same shape, in the intensity units of the input.
        Raises ValueError for another number of channels than in training, numbers no sensor gives, or `similar` where
        the noise is not known.

        >>> untrained = Denoiser(build_network(N2VConfig(), channels=1), N2VConfig(), mean=[100], std=[20])
        >>> untrained.predict(np.full((5, 37, 53), 100)).shape
        (5, 37, 53)
        """
        self.check_similar(similar)
        refuse("draws", draws, whole(0, or_none=True)(draws))
        work = functools.partial(self.predict_image, tta=tta, draws=draws, exact=exact, similar=similar)
        return self._page_by_page(work, image, channel_axis, valid)

    def check_similar(self, similar):
        """Raise ValueError if similar patches are asked for that this denoiser cannot use."""
        if similar and self.noise is None and self.config.covariance is None:
            raise ValueError(
                "similar=True needs to know how noisy each pixel is, and this denoiser has no noise model: "
                'train with noise_model="gaussian" or "poisson_gaussian", or leave similar out'
            )

    def _page_by_page(self, work, image, channel_axis, valid):
        """Check an image, find its gaps, and return in its shape what work(stack, n, gaps) makes of each page."""
        image = as_array(image)
        stack = self.stack_of(image, channel_axis)
        check_values(stack)
        gaps = find_gaps(stack, checked_valid(valid, stack, np.shape(image), channel_axis))
        if len(stack) == 1:  # which may be large: no copy of it
            made = work(stack, 0, gaps)[None].astype(np.float32, copy=False)
        else:
            made = np.empty(stack.shape, np.float32)
            for n, target in enumerate(made):
                target[:] = work(stack, n, gaps)
        return from_stack(made, image, channel_axis)

    def predict_image(self, stack, n, gaps, tta=False, draws=None, exact=False, similar=False):
        """Denoise image n of a stack (N, C, Y, X) whose Gaps are known; see `predict`. Returns float32 (C, Y, X)."""
        page, codes = stack[n], gaps.of(n)
        filled, missing, level = self._prepared(page, codes)
        rounded = not exact and self._is_noisy(page, level)
        with fast_numbers(self.device) if rounded else nullcontext():
            clean = self._predict_page(filled, tta, draws, level, missing, similar)
        clean = clean if codes is None else np.where(codes == GAP, page, clean)
        return clean.astype(np.float32, copy=False)

    def _is_noisy(self, page, level):
        """Return whether the noise in the middle of each channel of a (C, Y, X) page is above NOISY spreads."""
        if min(page.shape[1:]) < 2:
            return False
        (top, left), side = ((length - min(length, CROP)) // 2 for length in page.shape[1:]), CROP
        crop = self.normalise(page[:, top : top + side, left : left + side], *level).unfold(1, 2, 2).unfold(2, 2, 2)
        details = (crop[..., 0, 0] - crop[..., 0, 1] - crop[..., 1, 0] + crop[..., 1, 1]) / 2
        return bool((details.abs().flatten(1).nanmedian(1).values / 0.6745 > NOISY).all())

    def levels(self, stack, gaps, pages=None):
        """Return mean and spread of some pages of a stack (N, C, Y, X), default all: arrays (pages, C)."""
        pages = range(len(stack)) if pages is None else pages
        if not self.config.per_image:
            return [np.broadcast_to(values, (len(pages), len(values))) for values in (self.mean, self.std)]
        mean, std, _ = page_statistics(stack, pages, gaps)
        return mean, np.where(std > 0, std, self.std)

    def _prepared(self, page, codes):
        """Return a (C, Y, X) page with gaps filled, lines and waves taken off; what is missing in it; and its level."""
        missing = None if codes is None else codes != MEASURED
        filled = self.without_patterns(fill_gaps(page, missing)[None])
        level = [values[0] for values in self.levels(filled, NO_GAPS if codes is None else Gaps({0: codes}), [0])]
        warn_of_other_units(filled[0], *level)
        return filled[0], missing, level

    def uncertainty(self, image, channel_axis=None, valid=None):
        """Return how unsure the denoiser is of each pixel of its result: the standard deviation of its posterior.

        The network with a noise model predicts a mean and a variance of each signal, and the noisy pixel adds what it
        knows. What both leave open is this; if the noise model is right and training has come to an end, about 68 % of
        the true signals are at most one such deviation away from `predict(image)`. It speaks of single pixels, not of
        structures, and of images of the kind that was trained on.

        image, channel_axis, valid: as for `predict`. Returns a float32 array of the same shape, in the intensity units
        of the input; NaN where nothing was predicted, and what the neighbours alone leave open at hot and dead pixels.
        Raises ValueError for a denoiser without a noise model, and as `predict` does.

        >>> config = N2VConfig(noise_model="gaussian")
        >>> untrained = Denoiser(build_network(config, channels=1), config, mean=[100], std=[20], noise=([0], [25]))
        >>> noisy = np.random.default_rng(0).normal(100, 5, (37, 53))
        >>> bool((untrained.uncertainty(noisy) < 5).all())  # less than the noise, 25 ** 0.5, alone
        True
        """
        if self.noise is None:
            raise ValueError(
                "this denoiser has no noise model, so it does not say how unsure it is: "
                'train with noise_model="auto", "gaussian" or "poisson_gaussian"'
            )
        return self._page_by_page(self._uncertainty_of_image, image, channel_axis, valid)

    def _uncertainty_of_image(self, stack, n, gaps):
        """Return the deviation of image n of a stack (N, C, Y, X) whose Gaps are known; NaN in these."""
        codes = gaps.of(n)
        filled, missing, level = self._prepared(stack[n], codes)
        missing = None if missing is None else torch.from_numpy(missing)
        deviation = self._predict_tiles(filled, level, self.normal_noise(*level), missing, VARIANCE).sqrt().numpy()
        deviation = deviation * np.reshape(level[1], (-1, 1, 1))
        return deviation if codes is None else np.where(codes == GAP, np.nan, deviation)

    def stack_of(self, image, channel_axis=None):
        """View an image as a stack (N, C, Y, X); raise ValueError unless it has the channels of the training."""
        stack = to_stack(image, channel_axis)
        channels = len(self.mean)
        if stack.shape[1] != channels:
            raise ValueError(
                f"the model was trained on {channels} channel(s), an image of shape {np.shape(image)} has "
                f"{stack.shape[1]}: give images with the same channels, or name their axis (channel_axis=)"
            )
        return stack

    def without_patterns(self, stack, gaps=None):
        """Return a stack (N, C, Y, X) without the lines and waves that the config names, estimated on each page."""
        return without_patterns(stack, self.config.lines, self.config.waves, gaps)

    def _predict_page(self, page, tta, draws, level, missing=None, similar=False):
        """Denoise one (C, Y, X) page: into normalised units, through the network, and back.

        level: its mean and spread. missing: booleans (C, Y, X), where no noisy pixel is that could be combined with the
        prediction, or None.
        """
        missing = None if missing is None or not self.config.noise_model else torch.from_numpy(missing)
        turns = turns_that_keep(self.config.struct_mask if self.config.covariance is None else self.config.covariance)
        noise = self.normal_noise(*level) if self.config.noise_model else None
        if self.config.covariance is None or draws == 0:
            clean = self._predict_turned(page, turns if tta else turns[:1], noise, missing, level)
        else:
            clean = self._mean_of_draws(page, (draws or self.config.draws) * (len(turns) if tta else 1), turns, level)
        if similar:
            once = functools.partial(self._predict_turned, turns=turns[:1], noise=noise, missing=missing)
            clean = self._mixed_with_similar(self.normalise(page, *level), clean, once, level, missing)
        return self.denormalise(clean.numpy(), *level)

    def _mean_of_draws(self, page, draws, turns, level):
        """Return the mean prediction of a page to which noise of its own kind is added, drawn anew each time."""
        normal = self.normalise(page, *level)
        clean = torch.zeros_like(normal)
        generator = torch.Generator().manual_seed(self.config.seed)  # the same image is denoised the same way
        for draw in range(draws):
            noise = self.same_noise(normal[None], generator)[0]
            # Another turn for each draw: the mean over turns comes without more work.
            way = turns[draw % len(turns)]
            clean += self._predict_turned(normal + self.config.recorruption * noise, [way]) / draws
        return clean

    def _mixed_with_similar(self, page, clean, once, level, missing):
        """Mix similar patches into the prediction of a normalised page; once: what predicts such a page."""
        noise = self.normal_noise(*level)
        if self.config.covariance is None:
            generator = torch.Generator().manual_seed(self.config.seed)
            return mix_with_similar(page, clean, once, *noise, generator, True if missing is None else ~missing)[0]
        each = covariances_of(self.config.covariance, len(self.std))
        return mean_with_similar(page, clean, *noise, each / np.reshape(self.std, (-1, 1, 1)) ** 2)

    def _predict_turned(self, page, turns, noise=None, missing=None, level=NORMALISED):
        """Return the mean prediction of a (C, Y, X) page over some of its flips and turns, normalised."""
        clean, page = None, np.asarray(page)
        for way in turns:
            hidden = None if missing is None else turn_tensor(missing, *way)
            one = turn_tensor(self._predict_tiles(turn(page, *way), level, noise, hidden), *way, back=True)
            clean = one if clean is None else clean.add_(one)
        return clean if len(turns) == 1 else clean.div_(len(turns))

    def same_noise(self, patches, generator):
        """Draw normalised noise of the kind that normalised patches (B, C, Y, X) have: config.covariance and shot."""
        images, std = self._in_intensities(patches)
        return noise_like(images, self.config.covariance, generator, self.config.shot) / std

    def variance_there(self, patches):
        """Return the variance, in intensity units squared, of such noise in normalised patches (B, C, Y, X)."""
        return variance_like(self._in_intensities(patches)[0], self.config.covariance, self.config.shot)

    def _in_intensities(self, patches):
        mean, std = torch.tensor([self.mean, self.std], device=patches.device)[:, :, None, None]
        return patches * std + mean, std

    def normalise(self, image, mean=None, std=None):
        """Turn (..., C, Y, X) from intensity units into a float32 tensor of mean 0 and spread 1.

        mean, std: (C,), or (B, C) of each of a batch; None: the training's.
        """
        mean, std = self._level(mean, std)
        normal = np.empty(image.shape, np.float32)
        for rows in strips(image.shape):
            normal[rows] = (image[rows] - mean) / std
        return torch.from_numpy(normal)

    def _level(self, mean, std):
        given = (self.mean if mean is None else mean, self.std if std is None else std)
        return [np.asarray(values, np.float64)[..., None, None] for values in given]

    def denormalise(self, normal, mean=None, std=None):
        """Turn a normalised float32 array (..., C, Y, X) back into intensity units; mean, std: as for `normalise`."""
        mean, std = self._level(mean, std)
        for rows in strips(normal.shape):
            normal[rows] = normal[rows] * std + mean
        return normal

    @torch.no_grad()
    def _predict_tiles(self, page, level, noise=None, missing=None, part=MEAN):
        """Predict a (C, Y, X) page tile by tile; part: with a noise model, VARIANCE for that of the signal.

        level: the page's mean and spread, by which each tile is normalised. Returns a normalised tensor.
        Each tile carries a halo as wide as the receptive field, and starts on the pooling grid,
        so that the tiles put together equal the page predicted whole. There is no halo beyond
        the page: the network pads there as it did at the borders of the training patches.
        (Reflecting the page would show it mirrored copies of the pixels it must not know.)
        """
        keep_freed_memory()
        multiple = 2**self.config.depth
        reach = receptive_radius(self.config.depth, self.config.n2v2) + self._hides() * (self.config.roi_size // 2)
        halo = -(-reach // multiple) * multiple
        clean = torch.empty(page.shape)
        rows, columns = self._tile_sides(*page.shape[1:], halo, multiple)
        for top in range(0, page.shape[1], rows):
            for left in range(0, page.shape[2], columns):
                y, x = max(0, top - halo), max(0, left - halo)
                target = clean[:, top : top + rows, left : left + columns]
                asked = [(first, first + length) for first, length in zip((top - y, left - x), target.shape[1:])]
                noisy = self.normalise(page[None, :, y : top + rows + halo, x : left + columns + halo], *level)
                hidden = None if missing is None else missing[None, :, top : top + rows, left : left + columns]
                target[:] = self._predict_tile(noisy, asked, noise, hidden, part)[0]
        return clean

    def _tile_sides(self, height, width, halo, multiple):
        """Return rows and columns of a tile, without halo: within ACTIVATION_BYTES, of larger pages within ENOUGH."""
        number = 2 if torch.is_autocast_enabled(self.device.type) else 4  # bytes; about six top-level maps live at once
        most = ACTIVATION_BYTES / (6 * number * self.config.num_channels_init)
        if height * width > most and self.device.type == "cpu":
            most = min(most, ENOUGH / number * halo**2 * self.config.num_channels_init)
        return tile_sides(height, width, halo, multiple, most)

    def _predict_tile(self, tile, asked, noise=None, missing=None, part=MEAN):
        """Run network and noise model (not where pixels are missing) on a tile (1, C, Y, X); return what is asked."""
        tile = tile.to(self.device).contiguous(memory_format=torch.channels_last)
        # Contiguous: what each density needs lies side by side, 5 % of the time.
        output = (self._output_hidden if self._hides() else self.network)(tile, asked).float().contiguous()
        tile = crop(tile, asked)
        if self.config.noise_model:
            alone = None if missing is None else mean_and_variance(output, tile.shape[1])[part]
            output = (expected_signal, signal_variance)[part](output, tile, *noise)
            output = output if missing is None else torch.where(missing.to(self.device), alone, output)
        return output.cpu()

    def _hides(self):
        """Return whether pixels are hidden in prediction too."""
        return bool(self.config.noise_model) and self.leak > LARGEST_LEAK

    def _output_hidden(self, tile, asked):
        """Predict every pixel while it is hidden as in training, one blind pixel a box, in side**2 passes."""
        side, output = box_side(self.config.masked_pixel_percentage), None
        # No random draws here, so that tiles put together equal the page predicted whole.
        strategy = self.config.strategy if self.config.strategy in ("mean", "zero") else "median"
        for start in range(side * side):
            blind = torch.zeros_like(tile, dtype=torch.bool)
            blind[..., start // side :: side, start % side :: side] = True
            masked = replace_blind_pixels(tile, blind, strategy, self.config.roi_size)
            now = self.network(masked, asked)
            everywhere = crop(blind, asked).repeat_interleave(now.shape[1] // tile.shape[1], dim=1)
            output = now if output is None else torch.where(everywhere, now, output)
        return output

    def normal_noise(self, mean=None, std=None):
        """Return gain and offset of the noise in normalised units, as tensors (..., C, 1, 1, 1); as for `normalise`.

        Beside a covariance it is what photons add.
        """
        photons = self.config.shot or [(0.0, 0.0)] * len(self.mean)
        noise = self.noise or ([gain for gain, _ in photons], [-gain * dark for gain, dark in photons])
        gain, offset = (torch.tensor(values, dtype=torch.float64) for values in noise)
        mean, std = (torch.from_numpy(values[..., 0, 0].copy()) for values in self._level(mean, std))
        normal = gain / std, (gain * mean + offset) / std**2
        return [value.float().to(self.device)[..., None, None, None] for value in normal]

    def save(self, path):
        """Write weights, settings and normalisation to one file, whole or not at all."""
        write_model(path, self.content())

    def content(self):
        """Return all that `load` needs as tensors and plain Python values."""
        folder = self.config.checkpoint_dir
        settings = dataclasses.asdict(self.config) | dict(checkpoint_dir=None if folder is None else str(folder))
        weights = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
        statistics = dict(mean=self.mean, std=self.std, noise=self.noise, leak=self.leak)
        return dict(weights=weights, config=settings, history=self.history, **statistics)

    @classmethod
    def load(cls, path):
        """Read a model that `save` wrote; no code from the file is run.

        Raises FileNotFoundError, or ValueError for a damaged file or one of another program.

        >>> import tempfile
        >>> untrained = Denoiser(build_network(N2VConfig(), channels=1), N2VConfig(), mean=[100], std=[20])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     untrained.save(f"{folder}/model.pt")
        ...     Denoiser.load(f"{folder}/model.pt").mean
        [100.0]
        """
        content = read_model(path)
        try:
            config = N2VConfig(**content["config"])
            network = build_network(config, len(content["mean"]))
            network.load_state_dict(content["weights"])
            network.to(choose_device())  # not where it was trained: this machine may have no such device
            names = ("mean", "std", "noise", "history", "leak")
            return cls(network, config, **{name: content[name] for name in names})
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:100]
            raise ValueError(f"{path} is a model of n2vlib, but parts are missing or do not fit: {reason}") from error


def copy_weights(start, network):
    """Give a network the weights of the Denoiser that a training starts from."""
    if not isinstance(start, Denoiser):
        raise TypeError(f"start is a {type(start).__name__}: give a Denoiser, such as Denoiser.load(path) returns")
    try:
        network.load_state_dict(start.network.state_dict())
    except RuntimeError as error:
        raise ValueError(
            "start is another network than the config describes: use the same depth, num_channels_init, n2v2, "
            "noise_model, components, independent_channels and number of channels"
        ) from error
