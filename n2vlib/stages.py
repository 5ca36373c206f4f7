"""The settings of the two-stage pipeline: a plain dictionary, completed and checked, and put into words."""

import contextlib
import difflib
import math
import time

import numpy as np

from .config import STRATEGIES, N2VConfig
from .presets import NAMES, NUMBERED, PRESETS


def _whole(low, high=math.inf, odd=False, none=False):
    words = f"an {'odd ' * odd}integer of at least {low}" + f" and at most {high}" * (high < math.inf)
    return lambda v: _is(v, int) and low <= v <= high and not (odd and v % 2 == 0), words, none


def _number(low, high=None, none=False):
    """Allow numbers from low to high, or all above low."""
    if high is None:
        return lambda v: _is(v, (int, float)) and low < v < math.inf, f"a number above {low}", none
    return lambda v: _is(v, (int, float)) and low <= v <= high, f"a number from {low} to {high}", none


def _choice(*options):
    return (
        lambda v: any(v == o and type(v) is type(o) for o in options),
        "one of " + ", ".join(map(repr, options)),
        False,
    )


def _is(value, kinds):
    return isinstance(value, kinds) and not isinstance(value, bool)


def _is_split(value):
    parts = isinstance(value, (tuple, list)) and len(value) == 3 and all(_is(v, (int, float)) for v in value)
    return parts and min(value) >= 0 and value[0] > 0 and abs(sum(value) - 1) < 1e-6


_SWITCH = _choice(True, False)
_TEXT = (lambda v: isinstance(v, (str, bytes)) or hasattr(v, "__fspath__"), "a path", True)
# Key: what is allowed, in code and in words, and whether None is. What is left to N2VConfig stands not here.
RULES = {
    "run_stage1": _SWITCH,
    "run_stage2": _SWITCH,
    "split_ratio": (_is_split, "three fractions that add up to 1: training (not 0), validation, test", False),
    "num_epochs": _whole(1),
    "early_stopping": _SWITCH,
    "early_stopping_patience": _whole(1),
    "max_seconds": _number(0, none=True),
    "random_seed": _whole(0, 2**63 - 1),
    "device": _choice("auto", "cpu", "cuda", "mps"),
    "axes": (lambda v: isinstance(v, str), "letters such as 'TCYX'", True),
    "tta": _SWITCH,
    "output_dir": _TEXT,
    "quiet": _SWITCH,
    "features": _whole(1),
    "num_layers": _whole(1, 6),
    "patch_size": _whole(8),
    "batch_size": _whole(1),
    "patches_per_image": _whole(1),
    "mask_percentage": _number(0.01, 44),
    "mask_center_size": _whole(1, 9, odd=True),
    "mask_strategy": _choice(0, 1, 2, *STRATEGIES),
    "roi_size": _whole(3, odd=True),
    "use_augmentation": _SWITCH,
    "optimizer": _choice("muon", "adam"),
    "learning_rate": _number(1e-9, 0.999),
    "lr_scheduler": _choice("cosine", "plateau"),
    "average_weights": _number(0, 0.99999),
    "use_roi": _SWITCH,
    "roi_threshold": _number(0.01, 0.99),
    "scale_factor": _number(0.05, 1),
    "select_background": _SWITCH,
    "method": _choice("structn2v", "recorrupted"),
    "mask_source": _choice("stage1", "file", "extractor"),
    "mask_file_path": _TEXT,
    "mask_method": _choice("flat_patches", "rings"),
    "recorruption": _number(0.01, 10),
    "draws": _whole(1),
    "mask_size": _whole(3, 23, odd=True),
    "share": _number(0.1, 100),
    "threshold": _number(0, 1),
    "base_percentile": _number(0, 100, none=True),
    "percentile_decay": _number(0.1, 10, none=True),
    "center_ratio_threshold": _number(0, 1, none=True),
    "max_true_pixels": _whole(1, none=True),
}


def complete_settings(config=None):
    """Return the settings of `run_two_stage` with all that was left out, after checking each of them.

    config: a plain dictionary, nested as PRESETS are: general keys, "stage1", "stage2", and in that
    "extractor". Raises TypeError for no dictionary, ValueError for an unknown key or a wrong value.
    """
    config = {} if config is None else config
    preset = config.get("preset", "best") if isinstance(config, dict) else "best"
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ValueError(f"preset = {preset!r} is not possible: it must be one of {', '.join(map(repr, PRESETS))}")
    settings = _merged(PRESETS[preset], config, "config")
    stage2 = settings["stage2"]
    if not (settings["run_stage1"] or settings["run_stage2"]):
        raise ValueError("run_stage1 and run_stage2 are both False: nothing would be done, set one of them True")
    if settings["run_stage2"] and not settings["run_stage1"] and stage2["mask_source"] == "stage1":
        raise ValueError(
            "mask_source = 'stage1' needs stage 1: set run_stage1 = True, or learn the mask from the images "
            "('extractor') or load it ('file')"
        )
    if settings["run_stage2"] and stage2["mask_source"] == "file" and stage2["mask_file_path"] is None:
        raise ValueError("mask_source = 'file' needs the file: set stage2's mask_file_path to a saved .npy mask")
    for stage in ("stage1", "stage2"):
        values = settings[stage]
        kernels = stage == "stage2" or values["mask_center_size"] > 1
        if kernels and values["mask_strategy"] not in (0, 1, 2, *NUMBERED):
            strategy = values["mask_strategy"]
            raise ValueError(
                f"{stage}'s mask_strategy = {strategy!r} is not possible for kernels: it must be 0, 1 or 2"
            )
    return settings


def _merged(preset, config, where):
    """Return a preset with the values of a dictionary, each checked."""
    if not isinstance(config, dict):
        raise TypeError(f"{where} is a {type(config).__name__}: it must be a dictionary, such as {{'num_epochs': 20}}")
    merged = {key: _merged(value, {}, key) if isinstance(value, dict) else value for key, value in preset.items()}
    for key, value in config.items():
        if key not in preset:
            near = difflib.get_close_matches(str(key), preset, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(preset)}"
            raise ValueError(f"{where} has no key {key!r}: {hint}")
        if isinstance(preset[key], dict):
            merged[key] = _merged(preset[key], value, key)
        else:
            merged[key] = _checked(key, value, where)
    return merged


def _checked(key, value, where):
    value = value.tolist() if hasattr(value, "tolist") else value  # numpy's numbers become Python's
    if key not in RULES:  # preset
        return value
    allowed, words, none = RULES[key]
    if not (none and value is None) and not (value is not None and allowed(value)):
        what = key if where == "config" else f"{where}'s {key}"
        raise ValueError(f"{what} = {value!r} is not possible: it must be {words}" + " or None" * none)
    return value


def network_config(settings, stage, images, **structure):
    """Return the N2VConfig of "stage1" or "stage2" for a number of images.

    structure: struct_mask or covariance. An epoch takes patches_per_image patches of each image, drawn afresh.
    """
    values = settings | settings[stage]
    fields = {field: values[name] for name, field in NAMES.items()}
    if fields["strategy"] in range(3):
        fields["strategy"] = NUMBERED[fields["strategy"]]
    steps = -(-images * values["patches_per_image"] // values["batch_size"])
    return N2VConfig(**(fields | structure), steps_per_epoch=steps)


@contextlib.contextmanager
def told(what, settings):
    """Print a line: what is being done, at once, and how long it took, afterwards."""
    start = time.perf_counter()
    if not settings["quiet"]:
        print(f"{what} ...", end=" ", flush=True)
    yield
    if not settings["quiet"]:
        print(f"{time.perf_counter() - start:.0f} s", flush=True)


def in_words(stage, config):
    """Say what a stage will do, and when it ends at the latest."""
    hidden = 1 if config.struct_mask is None else np.sum(config.struct_mask)
    task = "Noise2Void" if hidden == 1 else f"structN2V, {hidden} pixels hidden together"
    task = task if config.covariance is None else "recorrupted training"
    seconds = f" or {config.max_seconds:g} s" if config.max_seconds else ""
    return f"stage {stage[-1]}: {task}, at most {config.max_epochs * config.steps_per_epoch} steps{seconds}"
