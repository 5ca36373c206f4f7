"""The settings of a training run, each checked the moment it is set."""

import dataclasses
import difflib
import math
import reprlib
from pathlib import Path

from .covariance import checked_covariances, checked_shot
from .structn2v import STRATEGIES as FILLS
from .structn2v import checked_mask

STRATEGIES = ("uniform", "uniform_withCP", "median", "mean", "zero", "random")
NOISE_MODELS = (None, "gaussian", "poisson_gaussian")
SHORT = reprlib.Repr()  # of a value in a message: of an array its corner
SHORT.maxlevel, SHORT.maxlist = 2, 3


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
            are recorrupted by recorruption times such noise, predictions average over draws of it (Pang et al. 2021).
        shot: with a covariance, for each channel (gain, dark), or None: the variance grows by gain * (signal - dark).
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
            mean and a variance, and combine them with the noisy pixel (Laine et al., 2019).
        components: normal densities in a prediction (Bishop 1994): several can say "either dark or bright".
        noise_sigma: standard deviation for "gaussian" in intensity units, one or one a channel; None: estimated.
    Housekeeping
        seed: of weights, patches and blind spots; device: "auto", "cpu", "cuda" or "mps".
        checkpoint_dir: folder for last.pt and the best ones; save_top_k: how many best to keep.

    Raises ValueError for an unknown field or a wrong value; the message names both.
    """

    patch_size: int = 64
    batch_size: int = 4
    augment: bool = True
    masked_pixel_percentage: float = 11.0
    roi_size: int = 11
    strategy: str | None = None
    struct_mask: list | None = None
    covariance: list | None = None
    shot: list | None = None
    recorruption: float = 0.5
    draws: int = 8
    depth: int = 2
    num_channels_init: int = 16
    independent_channels: bool = True
    n2v2: bool = False
    optimizer: str = "muon"
    learning_rate: float = 2e-3
    lr_scheduler: str = "cosine"
    steps_per_epoch: int = 200
    max_epochs: int | None = None
    max_steps: int | None = None
    max_seconds: float | None = None
    average_weights: float = 0.99
    noise_model: str | None = None
    components: int = 1
    noise_sigma: float | tuple | None = None
    seed: int = 0
    device: str = "auto"
    checkpoint_dir: str | Path | None = None
    save_top_k: int = 3

    def __new__(cls, **fields):
        """Refuse unknown fields with a ValueError that names the nearest known one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name, value in fields.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(known)}"
                raise ValueError(f"N2VConfig has no field {name} (set to {value!r}): {hint}")
        return super().__new__(cls)

    def __post_init__(self):
        for field in dataclasses.fields(self):  # numpy's numbers and arrays become Python's: model files hold no others
            value = getattr(self, field.name)
            if hasattr(value, "tolist"):
                object.__setattr__(self, field.name, value.tolist())  # how a frozen object sets its own fields
        if self.max_epochs is None and self.max_steps is None and self.max_seconds is None:
            object.__setattr__(self, "max_epochs", 100)
        if self.strategy is None:
            fill = "mean" if self.struct_mask is not None else "median" if self.n2v2 else "uniform"
            object.__setattr__(self, "strategy", fill)
        least = dict(patch_size=8, batch_size=1, num_channels_init=1, steps_per_epoch=1, draws=1, save_top_k=0)
        for name, low in least.items():
            self._whole(name, low)
        self._whole("roi_size", 3, odd=True)
        self._whole("depth", 1, 6)
        self._whole("components", 1, 16)
        self._whole("max_epochs", 1, optional=True)
        self._whole("max_steps", 1, optional=True)
        self._whole("seed", 0, 2**63 - 1)
        self._number("recorruption", 0, 10)
        # Above 44.4 % a box has one pixel only, which leaves none to take a replacement from.
        self._number("masked_pixel_percentage", 0, 100 / 1.5**2)
        self._number("learning_rate", 0, 1)
        self._number("max_seconds", 0, optional=True)
        self._number("average_weights", 0, 1, zero=True)
        self._choice("strategy", STRATEGIES)
        self._choice("optimizer", ("muon", "adam"))
        self._choice("lr_scheduler", ("cosine", "plateau"))
        self._choice("noise_model", NOISE_MODELS)
        self._choice("device", ("auto", "cpu", "cuda", "mps"))
        for name in ("augment", "independent_channels", "n2v2"):
            self._choice(name, (True, False))
        self._check_combinations()

    def _check_combinations(self):
        if self.noise_sigma is not None:
            sigmas = self.noise_sigma if isinstance(self.noise_sigma, (tuple, list)) else (self.noise_sigma,)
            if not sigmas or not all(_is_number(sigma) and 0 < sigma < math.inf for sigma in sigmas):
                self._refuse("noise_sigma", "a positive number in intensity units, one for each channel, or None")
            if self.noise_model != "gaussian":
                self._refuse("noise_sigma", 'None unless noise_model = "gaussian"')
        if self.components > 1 and self.noise_model is None:
            self._refuse("components", "1 unless there is a noise_model")
        self._check_structure()
        if self.checkpoint_dir is not None and not isinstance(self.checkpoint_dir, (str, Path)):
            self._refuse("checkpoint_dir", "a folder or None")

    def _check_structure(self):
        checks = dict(struct_mask=checked_mask, covariance=checked_covariances, shot=checked_shot)
        for name, check in checks.items():
            value = getattr(self, name)
            try:
                None if value is None else check(value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name} = {SHORT.repr(value)} is not possible: {error}") from error
        if self.shot is not None and self.covariance is None:
            self._refuse("shot", "None unless there is a covariance")
        if self.struct_mask is not None:
            self._choice("strategy", FILLS)
            if self.covariance is not None:
                self._refuse("covariance", "None if there is a struct_mask: pixels are hidden or recorrupted")
        if self.noise_model is not None and (self.covariance is not None or self.struct_mask is not None):
            self._refuse("noise_model", "None if there is a struct_mask or a covariance: it needs independent noise")

    @classmethod
    def paper(cls, **changes):
        """Return the settings with which the authors of Noise2Void reproduce its BSD68 result.

        From their notebook BSD68_reproducibility: 0.198 % blind pixels, a 5x5 roi with centre, batches of 128
        patches, width 96, Adam at 4e-4 reduced on plateaus, 200 epochs of 400 steps. Their network also has batch
        normalisation and a residual connection. `changes` overrides fields: N2VConfig.paper(max_seconds=60).
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

    def _refuse(self, name, allowed):
        raise ValueError(f"{name} = {SHORT.repr(getattr(self, name))} is not possible: it must be {allowed}")

    def _choice(self, name, allowed):
        value = getattr(self, name)
        # 1 == True in Python, but a 1 where a switch is meant is a slip that should be seen.
        if not any(value == option and type(value) is type(option) for option in allowed):
            self._refuse(name, "one of " + ", ".join(repr(option) for option in allowed))

    def _whole(self, name, low, high=math.inf, odd=False, optional=False):
        value = getattr(self, name)
        if optional and value is None:
            return
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        if not fits or (odd and value % 2 == 0):
            limit = f"of at least {low}" if high == math.inf else f"between {low} and {high}"
            self._refuse(name, f"an {'odd ' if odd else ''}integer {limit}" + (" or None" if optional else ""))

    def _number(self, name, low, high=math.inf, zero=False, optional=False):
        value = getattr(self, name)
        if optional and value is None:
            return
        if not _is_number(value) or not (low < value < high or (zero and value == low)):
            start = f"at least {low}" if zero else f"above {low}"
            limit = start if high == math.inf else f"{start} and below {high:.4g}"
            self._refuse(name, f"a number {limit}" + (" or None" if optional else ""))


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
