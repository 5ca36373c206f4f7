"""The settings of the two-stage pipeline: a plain dictionary with names of its own, completed and checked."""

import copy

from ..learning.allowed_values import SWITCH, choice, is_number, must_be, nearest, number, refuse, whole
from ..learning.config import RULES as FIELDS
from ..learning.config import STRATEGIES, N2VConfig
from ..learning.masking import FILLS

# The pipeline's names, and N2VConfig's. Rules and defaults are N2VConfig's too, unless the tables below differ.
NAMES = {
    "features": "num_channels_init",
    "num_layers": "depth",
    "patch_size": "patch_size",
    "batch_size": "batch_size",
    "mask_percentage": "masked_pixel_percentage",
    "mask_strategy": "strategy",
    "roi_size": "roi_size",
    "use_augmentation": "augment",
    "optimizer": "optimizer",
    "learning_rate": "learning_rate",
    "lr_scheduler": "lr_scheduler",
    "average_weights": "average_weights",
    "num_epochs": "max_epochs",
    "max_seconds": "max_seconds",
    "random_seed": "seed",
    "device": "device",
}
NUMBERED = FILLS  # mask_strategy 0, 1, 2


def _is_split(value):
    parts = isinstance(value, (tuple, list)) and len(value) == 3 and all(map(is_number, value))
    return parts and min(value) >= 0 and value[0] > 0 and abs(sum(value) - 1) < 1e-6


_PATH = must_be("a path", lambda v: isinstance(v, str) or hasattr(v, "__fspath__"), or_none=True)
RULES = {name: FIELDS[field] for name, field in NAMES.items()} | {
    "run_stage1": SWITCH,
    "run_stage2": SWITCH,
    "split_ratio": must_be("three fractions that add up to 1: training (not 0), validation, test", _is_split),
    "num_epochs": whole(1),
    "early_stopping": SWITCH,
    "early_stopping_patience": whole(1),
    "axes": must_be("letters such as 'TCYX'", lambda v: isinstance(v, str), or_none=True),
    "tta": SWITCH,
    "similar": choice(True, False, "auto"),
    "output_dir": _PATH,
    "quiet": SWITCH,
    "patches_per_image": whole(1),
    "mask_center_size": whole(1, 9, odd=True),
    "mask_strategy": choice(0, 1, 2, *STRATEGIES),
    "use_roi": SWITCH,
    "roi_threshold": number(at_least=0.01, at_most=0.99),
    "scale_factor": number(at_least=0.05, at_most=1),
    "select_background": SWITCH,
    "method": choice("auto", "structn2v", "recorrupted"),
    "mask_source": choice("stage1", "file", "extractor"),
    "mask_file_path": _PATH,
    "mask_method": choice("flat_patches", "rings"),
    "recorruption": FIELDS["recorruption"],
    "draws": FIELDS["draws"],
    "mask_size": whole(3, 23, odd=True),
    "share": number(at_least=0.1, at_most=100),
    "threshold": number(at_least=0, at_most=1),
    "base_percentile": number(at_least=0, at_most=100, or_none=True),
    "percentile_decay": number(at_least=0.1, at_most=10, or_none=True),
    "center_ratio_threshold": number(at_least=0, at_most=1, or_none=True),
    "max_true_pixels": whole(1, or_none=True),
}

# "best", our preset, for a minute a stage on two cores: N2VConfig's defaults as measured there, but for what is written
# out here: the names that only the pipeline has, its own seed, and the kernels of stage 2 with their mask_percentage.
# Training on all of an image instead of 70 % changes nothing that can be seen (27.87 dB either way), and is simpler.
_N2V = N2VConfig()
_DEFAULTS = {name: getattr(_N2V, field) for name, field in NAMES.items()}
_RUN = ("num_epochs", "max_seconds", "random_seed", "device")  # the same for both stages
_STAGE = {name: value for name, value in _DEFAULTS.items() if name not in _RUN}
_STAGE |= dict(use_roi=False, roi_threshold=0.5, scale_factor=0.25)
BEST = {name: _DEFAULTS[name] for name in _RUN} | dict(
    preset="best",
    run_stage1=True,
    run_stage2=True,
    split_ratio=(1, 0, 0),
    early_stopping=False,
    early_stopping_patience=10,
    random_seed=42,
    axes=None,
    tta=True,
    similar="auto",
    output_dir=None,
    quiet=False,
    stage1=_STAGE | dict(patches_per_image=100, mask_center_size=1, select_background=True),
    stage2=_STAGE
    | dict(
        patches_per_image=200,
        mask_percentage=10,
        mask_strategy=0,
        roi_size=3,
        select_background=False,
        method="auto",
        recorruption=_N2V.recorruption,
        draws=_N2V.draws,
        mask_source="stage1",
        mask_file_path=None,
        mask_method="flat_patches",
        extractor=dict(
            mask_size=11,
            share=10,
            threshold=0.15,
            base_percentile=None,
            percentile_decay=None,
            center_ratio_threshold=None,
            max_true_pixels=None,
        ),
    ),
)
# What None stands for: the best on background denoised by stage 1, which smears the noise, and on the noise itself.
RINGS = {
    "stage1": dict(base_percentile=55, percentile_decay=1.0, center_ratio_threshold=0.175),
    "extractor": dict(base_percentile=30, percentile_decay=1.15, center_ratio_threshold=0.1),
}
# "documented": as the documentation of autoStructN2V has it; where that says nothing: as in N2VConfig.paper().
_SLOW = dict(features=64, optimizer="adam", lr_scheduler="plateau", average_weights=0, use_roi=True)
_FIRST = dict(patch_size=32, mask_percentage=15, mask_strategy=0, roi_size=3, learning_rate=1e-4)
_SECOND = dict(batch_size=2, learning_rate=1e-5, method="structn2v", mask_method="rings")
_RINGS = dict(base_percentile=50, percentile_decay=1.15, center_ratio_threshold=0.3, max_true_pixels=25)
DOCUMENTED = BEST | dict(
    preset="documented",
    split_ratio=(0.7, 0.15, 0.15),
    early_stopping=True,
    tta=False,
    similar=False,
    stage1=BEST["stage1"] | _SLOW | _FIRST,
    stage2=BEST["stage2"] | _SLOW | _SECOND | dict(extractor=BEST["stage2"]["extractor"] | _RINGS),
)
PRESETS = {"best": BEST, "documented": DOCUMENTED}


def complete_settings(config=None):
    """Return the settings of `run_two_stage` with all that was left out, after checking each of them.

    config: a plain dictionary, nested as PRESETS are: general keys, "stage1", "stage2", and in that
    "extractor". Raises TypeError for no dictionary, ValueError for an unknown key or a wrong value.
    """
    config = {} if config is None else config
    preset = config.get("preset", "best") if isinstance(config, dict) else "best"
    refuse("preset", preset, choice(*PRESETS)(preset))
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
        strategy = settings[stage]["mask_strategy"]
        kernels = stage == "stage2" or settings[stage]["mask_center_size"] > 1
        if kernels and strategy not in (0, 1, 2, *NUMBERED):
            refuse(f"{stage}'s mask_strategy", strategy, "for kernels it must be 0, 1 or 2")
    return settings


def _merged(preset, config, where):
    """Return a preset with the values of a dictionary, each checked."""
    if not isinstance(config, dict):
        raise TypeError(f"{where} is a {type(config).__name__}: it must be a dictionary, such as {{'num_epochs': 20}}")
    merged = copy.deepcopy(preset)
    for key, value in config.items():
        if key not in preset:
            raise ValueError(f"{where} has no key {key!r}: {nearest(key, preset)}")
        if isinstance(preset[key], dict):
            merged[key] = _merged(preset[key], value, key)
            continue
        merged[key] = value.tolist() if hasattr(value, "tolist") else value  # numpy's numbers become Python's
        if key in RULES:  # all but the preset's name, which was found
            refuse(key if where == "config" else f"{where}'s {key}", merged[key], RULES[key](merged[key]))
    return merged


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
