"""One loop: crop patches, hide or recorrupt them, predict, compare where the task says so, step."""

import copy
import dataclasses
import time
import warnings
from contextlib import nullcontext

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..images.arrays import check_values, to_stack
from ..images.gaps import MEASURED, checked_valid, fill_gaps, find_gaps
from ..noise.choice import choose_noise_model, looked_at
from ..noise.law import without_patterns
from ..noise.models import estimate_noise, normalised_as_known
from .config import N2VConfig
from .denoiser import Denoiser, copy_weights
from .device import (
    all_processes,
    choose_device,
    fast_numbers,
    keep_freed_memory,
    mean_of_processes,
    process_number,
    quickest_threads,
)
from .losses import blind_loss, measure_leak, validation_loss
from .masking import task_of
from .model_files import restore_checkpoint, write_checkpoint, write_log
from .network import build_network
from .optimizers import build_optimizers, cosine_schedule, update_average
from .patches import (
    NO_GAPS,
    SMALLEST_SIDE,
    channel_statistics,
    checked_corners,
    crop_patches,
    differ_greatly,
    is_wide,
    page_statistics,
    refuse_constant,
    some_images,
    split_images,
)


def train(
    image,
    config=None,
    *,
    validation=None,
    callbacks=(),
    start=None,
    resume=False,
    channel_axis=None,
    corners=None,
    valid=None,
):
    """Train a network to denoise from noisy images alone (Noise2Void, Krull et al., CVPR 2019).

    With config.struct_mask the neighbours with the same noise are hidden too (structN2V), with
    config.covariance nothing is hidden and the patches are recorrupted: see `masking`.

    image: (Y, X), (N, Y, X) or (N, C, Y, X), any real dtype, in intensity units; an array, or a
        memory map of which only patches are read (with config.lines or waves: a copy without these).
    config: N2VConfig, default N2VConfig().
    validation: for the validation loss at the end of each epoch: noisy images of the same kind, or a
        fraction such as 0.2: that share of the images, drawn from config.seed, is held out (`split_images`).
    callbacks: functions called after each step with a `Progress`; one that returns True ends it.
    start: a Denoiser with whose weights to begin (fine-tuning), else random ones; depth, width, n2v2,
        noise model, components and channels must be the same, all other settings may differ. It stays as it is. With a
        noise model the images are normalised such that it knows the strength of their noise (`normalised_as_known`).
    resume: go on from config.checkpoint_dir/last.pt, or begin if there is none; with the same start.
    channel_axis: the axis of the channels, for (Y, X, C) and (N, Y, X, C).
    corners: where patches may be cut, (K, 3) integers: image, row, column of the upper left pixel (None: anywhere).
    valid: booleans of the image's shape or (Y, X), False where a pixel is no measurement. Constant and saturated
        places, hot and dead pixels, empty frames and NaN are left out anyway, and a warning says what was.

    Started by torchrun, after torch.distributed.init_process_group(), each process draws batches of its own, from
    config.seed plus its number, and steps with the mean gradient (DistributedDataParallel); process 0 writes the
    checkpoints. All return the same weights.

    Returns a Denoiser: the running average of the weights, or the last ones if average_weights
    is 0. Ctrl-C ends the training and returns the weights reached so far.
    Raises TypeError or ValueError, in one sentence, for images that cannot be trained on, or a `start` that
    does not fit.

    >>> noisy = np.random.default_rng(0).normal(100, 20, (64, 64))
    >>> denoiser = train(noisy, N2VConfig(max_steps=1, num_channels_init=4))
    >>> denoiser.predict(noisy).shape, denoiser.history["steps"]
    ((64, 64), [1])
    """
    config = N2VConfig() if config is None else config
    if not isinstance(config, N2VConfig):
        raise TypeError(f"config is a {type(config).__name__}: make it with n2vlib.N2VConfig(...)")
    stack = _check(image, channel_axis, "the image")
    gaps = find_gaps(stack, checked_valid(valid, stack, np.shape(image), channel_axis))
    if not (validation is None or isinstance(validation, float)):
        validation = _check(validation, channel_axis, "the validation image")
    run = Run(stack, validation, config, start, corners, gaps)
    if gaps.words:
        warnings.warn(f"left out: {gaps.words}", stacklevel=2)
    if resume:
        restore_checkpoint(run)
    if process_number() > 0:  # draws patches of its own
        for generator in (run.crops, run.masks):
            generator.manual_seed(config.seed + process_number() + run.step)
    keep_freed_memory()
    # Steps that are counted must be the same again, so these keep the threads; a budget of time takes the quickest.
    threads = quickest_threads(run.rehearse) if config.max_seconds and run.device.type == "cpu" else nullcontext()
    stopped = False
    try:
        with threads:
            while not (stopped or run.finished()):
                stopped = _train_epoch(run, callbacks)
                saves = config.checkpoint_dir is not None and process_number() == 0
                if saves and stopped:
                    write_log(run)  # no checkpoint: a resumed training begins this epoch again
                elif saves:
                    run.denoiser.leak = measure_leak(run)
                    write_checkpoint(run)
    except KeyboardInterrupt:
        pass  # came during validation or a checkpoint: what was learned is kept all the same
    run.denoiser.leak = measure_leak(run)
    return run.denoiser


def _check(image, channel_axis, name):
    stack = to_stack(image, channel_axis)
    if min(stack.shape[-2:]) < SMALLEST_SIDE:
        raise ValueError(
            f"{name} has {stack.shape[-2]} x {stack.shape[-1]} pixels: "
            f"at least {SMALLEST_SIDE} x {SMALLEST_SIDE} are needed to learn from neighbours"
            + "; if the channels come last, say so: channel_axis=-1"
            * (channel_axis is None and np.ndim(image) > 2)
        )
    check_values(stack, name)
    return stack.view(np.uint8) if stack.dtype == bool else stack  # NumPy does not subtract truth values


def _warn_of_other_noise(some, model):
    """Warn if a noise model is given noise that is not as it takes it to be: independent, or as strong everywhere.

    some: pages (N, C, Y, X), NaN where there are gaps.
    """
    for c, report in enumerate(looked_at(some)):
        if report.correlated:
            warnings.warn(
                f"channel {c}: {report}; a noise model takes neighbours to have independent noise, so it "
                "keeps more than plain Noise2Void: use run_two_stage, or at least noise_model=None",
                stacklevel=4,
            )
        elif model == "gaussian" and report.decided and "photons" in report.kinds:
            warnings.warn(
                f'channel {c}: {report}; noise_model="gaussian" takes it to be as strong everywhere, so it keeps what '
                'is brighter: use "poisson_gaussian", or "auto"',
                stacklevel=4,
            )


def _parts(stack, validation, seed, gaps, held_out_gaps):
    """Return what to train on and what to validate with (or None), each as a stack and numbers of images not empty."""
    full = _without_empty(stack, gaps)
    if validation is None:
        return (stack, full), None
    if isinstance(validation, float):
        return tuple((stack, full[pages]) for pages in split_images(len(full), validation, seed))
    if validation.shape[1] != stack.shape[1]:
        raise ValueError(
            f"validation has {validation.shape[1]} channels, the training images have {stack.shape[1]}: use the same"
        )
    return (stack, full), (validation, _without_empty(validation, held_out_gaps))


def _settled(config, some, std, count):
    """Return a config in which the noise model and the normalisation are chosen, as far as the images are to decide."""
    config = choose_noise_model(some, config)
    if config.per_image is None:
        config = dataclasses.replace(config, per_image=config.covariance is None and differ_greatly(std, count))
    return config


def _without_empty(stack, gaps):
    """Return the numbers of the images in which at least one pixel is measured."""
    full = [n for n in range(len(stack)) if gaps.of(n) is None or (gaps.of(n) == MEASURED).any()]
    if not full:
        if np.ptp(stack[0, 0]) == 0:
            refuse_constant(0, stack.shape[1], stack[0, 0, 0, 0])
        raise ValueError(f"no pixel is left to learn from: {gaps.words}")
    return np.asarray(full)


def _begin_with(start, network, mean, std, noise):
    """Give a network the weights of a Denoiser, or None; return by which mean and spread it is to see the images."""
    if start is not None:
        copy_weights(start, network)
    if start is None or start.config.per_image or not (noise and start.noise):
        return mean, std
    known = start.mean, start.std, start.normal_noise()[1].flatten().cpu().numpy()
    return normalised_as_known(mean, std, noise, *np.array(known))


class Run:
    """All that changes while a network trains, in one place, so that it can be saved and resumed."""

    def __init__(self, stack, validation, config, start=None, corners=None, gaps=NO_GAPS):
        self.task, self.gaps = task_of(config), gaps
        stack, self.held_out_gaps = without_patterns(stack, config.lines, config.waves, gaps), gaps
        if isinstance(validation, np.ndarray):
            self.held_out_gaps = find_gaps(validation)
            validation = without_patterns(validation, config.lines, config.waves, self.held_out_gaps)
        self.training, self.validation = _parts(stack, validation, config.seed, gaps, self.held_out_gaps)
        self.corners = None if corners is None else checked_corners(corners, *self.training, config.patch_size)
        each = page_statistics(*self.training, gaps)
        mean, std = channel_statistics(*self.training, *each)
        some = some_images(*self.training, each[2], gaps)
        automatic = config.noise_model == "auto"
        self.config = config = _settled(config, some, *each[1:])
        # Rounding to bfloat16, 1/256 of a value, is more than a background's noise next to rare cells 1000 times as
        # bright: measured, a bias of 3 where the noise is 16, and of 0.3 without rounding.
        self.rounds = not is_wide(some, std)
        noise = estimate_noise(some, config) if config.noise_model else None
        if noise is not None and not automatic:
            _warn_of_other_noise(some, config.noise_model)
        self.device = choose_device(config.device)
        self.network = build_network(config, len(mean)).to(self.device)
        mean, std = _begin_with(start, self.network, mean, std, noise)
        self.trained = all_processes(self.network)
        self.average = copy.deepcopy(self.network) if config.average_weights else None
        self.weights = list(self.network.parameters())
        self.averages = list(self.average.parameters()) if self.average else []
        self.optimizers = build_optimizers(self.network, config)
        on_plateau = config.lr_scheduler == "plateau"
        self.plateaus = [ReduceLROnPlateau(optimizer) for optimizer in self.optimizers if on_plateau]
        self.crops = torch.Generator().manual_seed(config.seed)
        self.masks = torch.Generator(self.device).manual_seed(config.seed)
        self.step, self.seconds, self.clock, self.levels = 0, 0.0, time.perf_counter(), {}
        history = {name: [] for name in ("steps", "loss", "validation_loss", "learning_rate", "seconds")}
        self.denoiser = Denoiser(self.average or self.network, config, mean, std, noise, history)
        self.normal_noise = self.denoiser.normal_noise() if noise else None

    @property
    def history(self):
        """The lists that grow by one entry an epoch."""
        return self.denoiser.history

    def numbers(self):
        """Return a context for the network: bfloat16 where that is fast, float32 where a range is too wide for it."""
        return fast_numbers(self.device) if self.rounds else nullcontext()

    def normalised_patches(self, images, generator):
        """Crop a batch of patches, (B, C, side, side), in normalised units, on the device, their gaps filled.

        images: `training` or `validation`, pairs of a stack (N, C, Y, X) and the numbers of its pages to take.
        Returns the patches; where they are measured, or True if all of them is; and gain and offset of their noise, or
        None without a noise model.
        """
        corners = self.corners if images is self.training else None
        gaps = self.gaps if images is self.training else self.held_out_gaps
        patches, pages = crop_patches(*images, self.config, generator, corners, gaps)
        level, noise = (), self.normal_noise
        if self.config.per_image:
            level = self._levels_of(images, gaps, pages)
            noise = self.denoiser.normal_noise(*level) if noise else None
        missing = np.isnan(patches) if gaps.codes else None
        if missing is None or not missing.any():
            return self.denoiser.normalise(patches, *level).to(self.device), True, noise
        patches = self.denoiser.normalise(fill_gaps(patches, missing), *level).to(self.device)
        measured = torch.from_numpy(~missing).to(self.device)
        return patches, measured, noise

    def _levels_of(self, images, gaps, pages):
        """Return mean and spread of each of some pages, (B, C) each; measured once."""
        known = self.levels.setdefault(images is self.training, {})
        for n in set(pages) - set(known):
            known[n] = [values[0] for values in self.denoiser.levels(images[0], gaps, [n])]
        return [np.stack([known[n][k] for n in pages]) for k in (0, 1)]

    def rehearse(self):
        """Do the work of a step, or of a part of it if it is long, on empty patches, and learn nothing."""
        side, patches = self.config.patch_size, min(self.config.batch_size, 4)
        empty = torch.zeros(patches, len(self.denoiser.mean), side, side, device=self.device)
        with self.numbers():
            output = self.network(empty.contiguous(memory_format=torch.channels_last))
        output.float().sum().backward()
        self.network.zero_grad()

    def fraction(self):
        """Return how much of the training is done, 0 to 1, by whichever limit comes first."""
        limits = (
            (self.step, self.config.max_steps),
            (self.step, self.config.max_epochs and self.config.max_epochs * self.config.steps_per_epoch),
            (self.seconds, self.config.max_seconds),
        )
        return min(1.0, max(done / limit for done, limit in limits if limit))

    def passes(self):
        """Return how often each pixel of the images was cropped so far, on average, by this process."""
        stack, pages = self.training
        cropped = self.step * self.config.batch_size * self.config.patch_size**2
        return cropped / (len(pages) * stack.shape[2] * stack.shape[3])

    def tick(self):
        """Add the time since the last tick to the seconds spent: a budget is what a clock on the wall shows."""
        now = time.perf_counter()
        self.seconds, self.clock = mean_of_processes(self.seconds + now - self.clock), now

    def finished(self):
        """Return whether a limit is reached."""
        return self.fraction() >= 1


def _train_epoch(run, callbacks):
    """Train config.steps_per_epoch steps and note them in the history; True if it was stopped early."""
    losses, stopped = [], False
    try:
        while len(losses) < run.config.steps_per_epoch and not (stopped or run.finished()):
            losses.append(_train_step(run))
            run.step += 1
            run.tick()
            progress = Progress(run.step, run.fraction(), run.seconds, losses[-1], run.denoiser)
            stopped = mean_of_processes(any([callback(progress) is True for callback in callbacks])) > 0
    except KeyboardInterrupt:
        stopped = True  # what was learned so far is worth keeping
    if not losses:
        return stopped
    loss, held_out = mean_of_processes(float(np.mean(losses))), validation_loss(run)
    for plateau in run.plateaus:
        plateau.step(loss if held_out is None else held_out)
    run.tick()
    rate = run.optimizers[0].param_groups[0]["lr"]
    entry = dict(steps=run.step, loss=loss, validation_loss=held_out, learning_rate=rate, seconds=run.seconds)
    for name, value in entry.items():
        run.history[name].append(value)
    return stopped


def _train_step(run):
    """Take one step and return its loss."""
    if run.config.lr_scheduler == "cosine":
        for optimizer in run.optimizers:
            optimizer.param_groups[0]["lr"] = run.config.learning_rate * cosine_schedule(run.fraction())
    patches, measured, noise = run.normalised_patches(run.training, run.crops)
    seen, target, where = run.task(run.denoiser, patches, run.masks, measured, run.passes())
    with run.numbers():
        output = run.trained(seen.contiguous(memory_format=torch.channels_last))
    loss = blind_loss(output.float(), target, where, noise)
    for weight in run.weights:
        weight.grad = None
    loss.backward()
    for optimizer in run.optimizers:
        optimizer.step()
    if run.average:
        update_average(run.averages, run.weights, run.step, run.config.average_weights)
    return loss.item()


@dataclasses.dataclass
class Progress:
    """What a callback is told after each step.

    step: steps done. fraction: of the training, 0 to 1. seconds, seconds_left: since the start,
    and until the end at this pace. loss: of this step, normalised units. history: as in Denoiser.
    denoiser: predicts with the weights reached so far. stage: of `run_two_stage`, "stage1" or "stage2", else None.
    """

    step: int
    fraction: float
    seconds: float
    loss: float
    denoiser: Denoiser
    stage: str | None = None

    @property
    def history(self):
        """The lists that grow by one entry an epoch."""
        return self.denoiser.history

    @property
    def seconds_left(self):
        """The seconds to the end of the training if it goes on at this pace."""
        return self.seconds * (1 / self.fraction - 1) if self.fraction else float("inf")
