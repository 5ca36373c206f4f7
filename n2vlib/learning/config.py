"""The settings of a training run: a table of defaults and of what is allowed, checked the moment a value is set."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated

from ..noise.covariance import checked_covariances, checked_shot
from ..noise.law import checked_lines, checked_waves
from .allowed_values import SWITCH, choice, is_number, must_be, nearest, number, passes, refuse, whole
from .masking import FILLS, checked_mask

STRATEGIES = ("uniform", "uniform_withCP", "median", "mean", "zero", "random")
POSITIVE = "a positive number in intensity units, one for each channel,"
OFFSETS = "a number in intensity units squared, one for each channel,"
MOST_PERCENT = 100 / 1.5**2  # blind pixels: above, a box has one pixel only, and none to take a replacement from


def _are_numbers(value, above=-math.inf):
    values = value if isinstance(value, (tuple, list)) else (value,)
    return bool(values) and all(is_number(one) and one > above for one in values)


def _are_positive(value):
    return _are_numbers(value, above=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class N2VConfig:
    """All settings of one training run; every default works, and a wrong value is refused at once.

    The defaults are what we measured to be best in one minute on two CPU cores; `N2VConfig.paper()` has the authors'.

    Patches
        patch_size: side of the square training patches in pixels (smaller images: what fits).
        batch_size: patches in one step.
        augment: flips and quarter turns of each patch, each with probability 0.5.
    Blind spots
        masked_pixel_percentage: share of blind pixels in PERCENT: 0.2 means 0.2 %, that is 0.002 of all pixels (often
            misread). One blind pixel is drawn in each box of side round(sqrt(100 / percentage)), so at most 44 %.
        roi_size: odd side, in pixels, of the window in which the replacement value is looked for.
        strategy: what replaces a blind pixel: "uniform" (a random neighbour of the roi), "median" (of the roi, N2V2),
            "mean" (of the roi), "zero" (0 in normalised units: the image mean), "random" (a random pixel of the
            patch). Never a pixel that is blind itself, but for "uniform_withCP", the authors' way: the centre
            pixel is in the draw as well. Default "uniform", with n2v2 "median", with a struct_mask "mean".
    Structured noise (one of the first two)
        struct_mask: odd-sized, boolean, True where the noise is that of the centre: hidden with it (structN2V).
        covariance: of the noise at each distance, (size, size) or (C, size, size), intensity units squared: patches
            are recorrupted by recorruption times such noise (each by 0.7 to 1.8 times as much, once it is possible that
            images are known by heart), predictions average over draws of it (Pang et al. 2021).
        shot: with a covariance, for each channel (gain, dark), or None: the variance grows by gain * (signal - dark).
        lines: for each channel (rows, columns), the covariances of the offsets of whole ones, [] for none; waves: for
            each channel frequencies (y, x) in cycles a pixel. Both are estimated on each page and taken off it first.
    Network
        depth: number of poolings of the U-Net; num_channels_init: its width, doubled per pooling.
        independent_channels: one network per channel, so that no channel influences another.
        n2v2: blur-pool instead of max-pool and no skip at the top level (Höck et al., 2022).
    Training
        optimizer: "muon" (Jordan et al. 2024: learns more per step, see optimizers) or "adam" (Kingma & Ba 2015).
        learning_rate: the highest rate of the schedule; lr_scheduler: "cosine" (falls to 0 just
            when the training ends) or "plateau" (ReduceLROnPlateau on the validation loss).
        steps_per_epoch: an epoch is this number of steps, whatever the size of the data.
        max_epochs, max_steps, max_seconds: whichever is reached first ends the training (None: no such limit; all
            None: 100 epochs). Only max_steps and max_epochs give the same weights twice, a time budget does not.
        average_weights: decay of the running average of weights that the training returns (0: the last weights).
    Noise model
        noise_model: None (Noise2Void as published), "gaussian" or "poisson_gaussian": predict a
            mean and a variance, and combine them with the noisy pixel (Laine et al., 2019); "auto": one of these
            three, as the image's noise asks for (`choose_noise_model`), and a line that says which and why.
        components: normal densities in a prediction (Bishop 1994): several can say "either dark or bright".
        noise_sigma: standard deviation for "gaussian" in intensity units, one or one a channel; None: estimated.
        noise_gain, noise_offset: for "poisson_gaussian" the variance is gain * signal + offset, one or one a channel;
            of a camera with black level b and read noise r: offset = r**2 - gain * b. None: estimated.
    Brightness
        per_image: normalise each image by its own mean and spread, not by those of all; None: if their spreads differ
            so greatly that the brightest ones would be all that counts (a flash, bleaching) and there is no covariance.
    Housekeeping
        seed: of weights, patches and blind spots; device: "auto", "cpu", "cuda" or "mps".
        checkpoint_dir: folder for last.pt and the best ones; save_top_k: how many best to keep.

    Raises ValueError for an unknown field or a wrong value; the message names both.

    >>> N2VConfig(n2v2=True).strategy
    'median'
    >>> N2VConfig(patch_size=7)
    Traceback (most recent call last):
    ValueError: patch_size = 7 is not possible: it must be an integer of at least 8
    """

    patch_size: Annotated[int, whole(8)] = 64
    batch_size: Annotated[int, whole(1)] = 4
    augment: Annotated[bool, SWITCH] = True
    masked_pixel_percentage: Annotated[float, number(above=0, below=MOST_PERCENT)] = 11.0
    roi_size: Annotated[int, whole(3, odd=True)] = 11
    strategy: Annotated[str | None, choice(*STRATEGIES)] = None
    struct_mask: Annotated[list | None, passes(checked_mask)] = None
    covariance: Annotated[list | None, passes(checked_covariances)] = None
    shot: Annotated[list | None, passes(checked_shot)] = None
    lines: Annotated[list | None, passes(checked_lines)] = None
    waves: Annotated[list | None, passes(checked_waves)] = None
    recorruption: Annotated[float, number(above=0, below=10)] = 0.5
    draws: Annotated[int, whole(1)] = 8
    depth: Annotated[int, whole(1, 6)] = 2
    num_channels_init: Annotated[int, whole(1)] = 16
    independent_channels: Annotated[bool, SWITCH] = True
    n2v2: Annotated[bool, SWITCH] = False
    optimizer: Annotated[str, choice("muon", "adam")] = "muon"
    learning_rate: Annotated[float, number(above=0, below=1)] = 2e-3
    lr_scheduler: Annotated[str, choice("cosine", "plateau")] = "cosine"
    steps_per_epoch: Annotated[int, whole(1)] = 200
    max_epochs: Annotated[int | None, whole(1, or_none=True)] = None
    max_steps: Annotated[int | None, whole(1, or_none=True)] = None
    max_seconds: Annotated[float | None, number(above=0, or_none=True)] = None
    average_weights: Annotated[float, number(at_least=0, below=1)] = 0.99
    noise_model: Annotated[str | None, choice(None, "auto", "gaussian", "poisson_gaussian")] = None
    components: Annotated[int, whole(1, 16)] = 1
    noise_sigma: Annotated[float | tuple | None, must_be(POSITIVE, _are_positive, or_none=True)] = None
    noise_gain: Annotated[float | tuple | None, must_be(POSITIVE, _are_positive, or_none=True)] = None
    noise_offset: Annotated[float | tuple | None, must_be(OFFSETS, _are_numbers, or_none=True)] = None
    per_image: Annotated[bool | None, must_be("True or False", lambda v: isinstance(v, bool), or_none=True)] = None
    seed: Annotated[int, whole(0, 2**63 - 1)] = 0
    device: Annotated[str, choice("auto", "cpu", "cuda", "mps")] = "auto"
    checkpoint_dir: Annotated[str | Path | None, must_be("a folder", lambda v: isinstance(v, (str, Path)), True)] = None
    save_top_k: Annotated[int, whole(0)] = 3

    def __new__(cls, **fields):
        """Refuse unknown fields with a ValueError that names the nearest known one."""
        for name, value in fields.items():
            if name not in RULES:
                raise ValueError(f"N2VConfig has no field {name} (set to {value!r}): {nearest(name, RULES)}")
        return super().__new__(cls)

    def __post_init__(self):
        fields = vars(self)  # the way in: the object itself is frozen
        for name, value in fields.items():
            fields[name] = _plain(value)
        if self.max_epochs is None and self.max_steps is None and self.max_seconds is None:
            fields["max_epochs"] = 100
        if self.strategy is None:
            fields["strategy"] = "mean" if self.struct_mask is not None else "median" if self.n2v2 else "uniform"
        for name, rule in RULES.items():
            refuse(name, fields[name], rule(fields[name]))
        self._check_combinations()

    def _check_combinations(self):
        structured = self.covariance is not None or self.struct_mask is not None
        if self.noise_sigma is not None and self.noise_model != "gaussian":
            refuse("noise_sigma", self.noise_sigma, 'it must be None unless noise_model = "gaussian"')
        for name in ("noise_gain", "noise_offset"):
            if getattr(self, name) is not None and self.noise_model != "poisson_gaussian":
                refuse(name, getattr(self, name), 'it must be None unless noise_model = "poisson_gaussian"')
        if self.per_image and self.covariance is not None:
            refuse("per_image", self.per_image, "it must be None or False if there is a covariance, in intensity units")
        if self.components > 1 and self.noise_model is None:
            refuse("components", self.components, "it must be 1 unless there is a noise_model")
        if self.shot is not None and self.covariance is None:
            refuse("shot", self.shot, "it must be None unless there is a covariance")
        if self.struct_mask is not None:
            refuse("strategy", self.strategy, choice(*FILLS)(self.strategy))
            if self.covariance is not None:
                reason = "it must be None if there is a struct_mask: pixels are hidden or recorrupted"
                refuse("covariance", self.covariance, reason)
        if self.noise_model is not None and structured:
            reason = "it must be None if there is a struct_mask or a covariance: it needs independent noise"
            refuse("noise_model", self.noise_model, reason)

    @classmethod
    def paper(cls, **changes):
        """Return the settings with which the authors of Noise2Void reproduce its BSD68 result.

        From their notebook BSD68_reproducibility: 0.198 % blind pixels, a 5x5 roi with centre, batches of 128
        patches, width 96, Adam at 4e-4 reduced on plateaus, 200 epochs of 400 steps. Their network also has batch
        normalisation and a residual connection. `changes` overrides fields: N2VConfig.paper(max_seconds=60).

        >>> paper = N2VConfig.paper(max_seconds=60)
        >>> paper.steps_per_epoch * paper.max_epochs, paper.max_seconds
        (80000, 60)
        """
        values = dict(
            batch_size=128,
            masked_pixel_percentage=0.198,
            roi_size=5,
            strategy="uniform_withCP",
            num_channels_init=96,
            optimizer="adam",
            learning_rate=4e-4,
            lr_scheduler="plateau",
            steps_per_epoch=400,
            max_epochs=200,
            average_weights=0,
        )
        return cls(**(values | changes))

    @classmethod
    def jump(cls, **changes):
        """Return the settings of the usual JUMP Cell Painting tutorial, as its users wrote them down.

        0.2 PERCENT blind pixels (not 20 %), and an epoch of 826 steps: 32 x 826 patches of 64 x 64 are as
        many pixels as 413 images of 540 x 540 hold (nearly). `changes` overrides fields.

        >>> jump = N2VConfig.jump()
        >>> jump.batch_size * jump.steps_per_epoch == 413 * (540 // 64) ** 2  # whole patches of 64 x 64
        True
        """
        values = dict(
            patch_size=64,
            batch_size=32,
            augment=True,
            masked_pixel_percentage=0.2,
            roi_size=11,
            strategy="uniform",
            depth=2,
            num_channels_init=32,
            independent_channels=True,
            optimizer="adam",
            learning_rate=1e-4,
            lr_scheduler="plateau",
            steps_per_epoch=826,
            max_epochs=100,
            average_weights=0,
            save_top_k=3,
        )
        return cls(**(values | changes))


def _plain(value):
    """Return a value whose NumPy numbers and arrays, in lists too, are Python's: model files hold no others."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


RULES = {field.name: field.type.__metadata__[0] for field in dataclasses.fields(N2VConfig)}
