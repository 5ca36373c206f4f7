"""Two stages in one call: Noise2Void, then what the neighbours carry too, with a mask learned from the images."""

import contextlib
import dataclasses
import time
import warnings

import numpy as np

from ..images.arrays import from_stack, symmetrised
from ..images.files import read_images
from ..images.gaps import fill_gaps, find_gaps
from ..learning.losses import recorrupted_error, shared_with_residual
from ..learning.masking import load_mask
from ..learning.training import train
from ..noise.covariance import Autocovariance, noise_autocovariance, resized
from ..noise.law import without_patterns
from ..noise.masks import is_compact, ring_mask, structural_mask, with_whole_lines
from ..noise.report import noise_report
from .regions import patch_corners, split_parts
from .result import TwoStageResult, make_folder, write_run
from .settings import NUMBERED, RINGS, complete_settings, network_config

FEW_PAGES = 16  # from which the noise is measured, and on which the stages are compared: plenty
LEAST_SHARED = -0.2  # correlation of residual and result: -0.14 to 0.45 where the law was right, -0.25 and less else
FEW_PIXELS = 2**20  # of all images and channels: so many take half a minute to mix with similar patches
HEAVY_TAILS = 1.0  # excess kurtosis of the noise from which recorruption, which draws Gaussian noise, is not chosen


def run_two_stage(images, config=None, callbacks=(), channel_axis=None):
    """Denoise images whose noise is random, structured, or both; learn from these images alone.

    Stage 1 is Noise2Void (Krull et al. 2019). It keeps what a pixel's neighbours carry too. So the law of the noise is
    measured (`noise_report`), and stage 2 is trained on the original noisy images: structN2V (Broaddus et al.
    2020) hides the neighbours that share the noise, recorrupted training (Pang et al. 2021) draws more noise of the
    same law, and takes lines and waves off each page first. "method": "auto" recorrupts where the law is known,
    hides where flat places hold noise far from Gaussian, and leaves stage 2 out where no correlation is found.

    images: (Y, X), (N, Y, X) or (N, C, Y, X) in intensity units, or the path of a file or folder.
    config: a plain dictionary with any of the names in `settings`, e.g. {"max_seconds": 60, "stage2": {"method":
        "recorrupted"}}; what is left out is taken from "preset": "best" (ours) or "documented". {}: both stages.
        "quiet": True prints nothing, else a line for each stage says what it does, and how long it took. "similar":
        True mixes similar patches into a recorrupted stage 2 (see `Denoiser.predict`); "auto": up to a million pixels,
        and where no neighbours are alike.
    channel_axis: where an array has its channels, as in `train`; of photographs in files, which become grey without
        it, -1 makes channels of their colours.
    callbacks: as in `train`, for both stages; their Progress has the stage, "stage1" or "stage2".
    Returns a TwoStageResult; its `denoised` is stage 1's, with a warning, where stage 2 is skipped or worse. Where
    output_dir finds no room at the end, a warning says so and `folder` is None.
    Raises ValueError, TypeError or FileNotFoundError, in one sentence, for a wrong setting, image or mask.

    >>> noisy = np.random.default_rng(0).normal(100, 20, (64, 32)).repeat(2, axis=1)  # two neighbours, one noise
    >>> config = {"num_epochs": 1, "run_stage1": False, "quiet": True}
    >>> config["stage2"] = {"features": 1, "patches_per_image": 4, "mask_source": "extractor"}
    >>> print(run_two_stage(noisy, config).mask[5].astype(int))
    [0 0 0 0 1 1 1 0 0 0 0]
    """
    settings = complete_settings(config)
    images = read_images(images, settings["axes"], channel_axis)
    if settings["output_dir"] is not None:
        make_folder(settings["output_dir"])
    result, some = TwoStageResult(settings=settings), images.stack[:: -(-len(images.stack) // FEW_PAGES)]
    left_out = find_gaps(images.stack).words
    result.messages += [f"left out: {left_out}"] if left_out else []
    if settings["run_stage2"]:  # a mask or an image that will not do is refused before any training
        if settings["stage2"]["mask_source"] == "file":
            result.mask = _square(load_mask(settings["stage2"]["mask_file_path"]))
        _measure(result, some)
    parts, how = split_parts(images.stack, settings["split_ratio"], settings["random_seed"])
    result.metrics["split_by"] = how
    if settings["run_stage1"]:
        result.stage1 = _train_stage("stage1", parts, settings, callbacks)
    if settings["run_stage2"]:
        method = _method(result)
        if settings["stage2"]["mask_source"] == "stage1" and method == "structn2v":
            _measure_with_stage1(result, some)
        _second_stage(result, method, parts, callbacks)
    with _told("denoising", settings):
        _predict(result, images)
        result.metrics["denoised_by"] = _better(result, images, images.stack if parts[2] is None else parts[2])
    result.denoised = _handed_out(result, images)
    if settings["output_dir"] is not None:
        try:
            result.folder = write_run(result, images)
        except OSError as error:  # the disk is full: what was learned must not be lost with it
            result.messages.append(f"{error}. The result is complete in memory: save it before Python ends")
    for message in result.messages:
        warnings.warn(message, stacklevel=2)
    return result


def _train_stage(stage, parts, settings, callbacks, **structure):
    """Train one stage on the first part, with the second for validation."""
    options, (training, validation, _) = settings[stage], parts
    if stage == "stage1" and options["mask_strategy"] in (*range(3), *NUMBERED):  # as documented: kernels on a patch
        structure["struct_mask"] = np.pad(np.ones((options["mask_center_size"],) * 2, bool), 1)
    config = network_config(settings, stage, len(training), **structure)
    corners = None
    if options["use_roi"]:
        choice = [options[name] for name in ("patch_size", "roi_threshold", "scale_factor", "select_background")]
        corners = patch_corners(training, *choice)
    callbacks = [_in_stage(stage, callback) for callback in callbacks]
    if settings["early_stopping"]:
        callbacks.append(_early_stop(settings["early_stopping_patience"]))
    with _told(_in_words(stage, config), settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "left out")  # that is said once, at the end
        return train(training, config, validation=validation, callbacks=callbacks, corners=corners)


def _in_stage(stage, callback):
    """Return a callback whose Progress says the stage."""
    return lambda progress: callback(dataclasses.replace(progress, stage=stage))


def _early_stop(patience):
    """Return a callback that ends a training when so many epochs brought no lower (validation) loss."""

    def stop(progress):
        losses = progress.history["validation_loss"]
        losses = progress.history["loss"] if None in losses else losses
        return len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])

    return stop


def _measure(result, pages):
    """Measure the noise of each channel on the noisy images alone, and learn the mask from it unless it was loaded."""
    channels, how, options = np.moveaxis(pages, 1, 0), _how_to_measure(result, pages), result.settings["stage2"]
    result.reports = [noise_report(one, size=how["size"], share=how["share"]) for one in channels]
    blank = [str(report) for report in result.reports if report.law is None]
    if blank:
        if options["mask_source"] != "file" and (options["method"] != "auto" or not result.settings["run_stage1"]):
            raise ValueError(blank[0])
        result.messages.append(f"the noise cannot be measured, so the stages are not compared ({blank[0]})")
        return
    laws = [report.law for report in result.reports]
    inner = [[resized(values, how["size"]) for values in (law.measured, law.error)] for law in laws]
    measured = [Autocovariance(*values, law.texture) for values, law in zip(inner, laws)]
    _learn(result, measured, [None] * len(channels), how)
    size = max(len(law.covariance) for law in laws)
    result.covariance = np.stack([symmetrised(resized(report.covariance, size)) for report in result.reports])
    result.shot = [(law.gain, law.dark) for law in laws] if any(law.gain for law in laws) else None
    result.lines = [law.lines for law in laws] if any(map(any, (law.lines for law in laws))) else None
    result.waves = [law.frequencies for law in laws] if any(law.waves for law in laws) else None


def _method(result):
    """Return what stage 2 does, "structn2v" or "recorrupted", or None where there is nothing for it to do."""
    options, reports = result.settings["stage2"], result.reports
    if options["method"] != "auto":
        return options["method"]
    if options["mask_source"] == "file":
        return "structn2v"
    correlated = [report for report in reports if report.correlated]
    if not correlated or result.covariance is None:
        return None
    return "structn2v" if max(report.law.tails for report in correlated) > HEAVY_TAILS else "recorrupted"


def _measure_with_stage1(result, pages):
    """Learn the mask again, where stage 1's output tells that the background is."""
    # The covariance stays: stage 1 keeps some of the noise, so that its output is calmest where the noise happens to
    # be weak (a third of the covariance was missing there, see tests/benchmarks/README.md).
    how = _how_to_measure(result, pages)
    gaps = find_gaps(pages)
    missing = gaps.missing(pages)
    still = fill_gaps(without_patterns(pages, result.lines, result.waves, gaps), missing)
    guide = fill_gaps(result.stage1.predict(pages), missing)
    channels, guides, valid = (np.moveaxis(each, 1, 0) for each in (still, guide, ~missing))
    each = zip(channels, guides, valid)
    measured = [noise_autocovariance(one, **how, guide=guide, valid=usable) for one, guide, usable in each]
    _learn(result, measured, guides, how)


def _how_to_measure(result, pages):
    """Return the sizes for `noise_autocovariance` that fit the images, and the mask if there is one."""
    extractor, patch = result.settings["stage2"]["extractor"], max(16, min(24, min(pages.shape[-2:]) // 2))
    size = extractor["mask_size"] if result.mask is None else len(result.mask)
    return dict(size=min(max(3, size), patch - 1 - patch % 2), patch=patch, share=extractor["share"])


def _learn(result, measured, guides, how):
    """Take the autocorrelation, and the mask unless it was loaded, from what was measured in each channel."""
    options = result.settings["stage2"]
    if options["mask_source"] != "file":
        masks = [_learned_mask(one, guide, options, how) for one, guide in zip(measured, guides)]
        result.mask = np.any(masks, axis=0)  # hide what is correlated in any channel
    result.autocorrelation = np.mean([symmetrised(one.values) / one.values.max() for one in measured], axis=0)


def _learned_mask(measured, guide, options, how):
    """Make a mask of one channel by the method asked for; rings look at the denoised background itself."""
    extractor = options["extractor"]
    if options["mask_method"] == "flat_patches":
        return structural_mask(measured, extractor["threshold"], extractor["max_true_pixels"])
    pattern = measured if guide is None else noise_autocovariance(guide, **how)
    rings = RINGS["extractor" if guide is None else "stage1"]
    rings = {name: best if extractor[name] is None else extractor[name] for name, best in rings.items()}
    return ring_mask(pattern.values, **rings, max_true_pixels=extractor["max_true_pixels"])


def _square(mask):
    """Return a mask with a border of False that makes it as wide as it is high, 3 pixels at least."""
    side = max(3, *mask.shape)
    return np.pad(mask, [((side - length) // 2,) * 2 for length in mask.shape])


def _second_stage(result, method, parts, callbacks):
    """Train stage 2 on the original images if there is structured noise."""
    options, result.hidden = result.settings["stage2"], _hidden(result)
    patterns = dict(lines=result.lines, waves=result.waves)
    alone = result.mask is None or (result.mask.sum() == 1 and not any(patterns.values()))
    if method is None or alone:
        needless = _why_needless(result.reports)
        if result.stage1 is not None:
            result.messages.append(f"{needless}: the images are denoised by stage 1 alone")
            return
        result.messages.append(f"{needless}: without stage 1, it was trained as plain Noise2Void")
        structure = dict(struct_mask=np.pad([[True]], 1))
    elif method == "recorrupted":
        if result.covariance is None:
            raise ValueError(f"method = 'recorrupted' needs the noise's covariance, but {result.messages[-1]}")
        structure = dict(covariance=result.covariance, shot=result.shot, strategy=None, **patterns)
        structure |= dict(recorruption=options["recorruption"], draws=options["draws"])
    else:
        structure = dict(struct_mask=result.hidden)
        if options["mask_method"] == "flat_patches":  # nothing hides a wave; the documented way knows of none
            structure |= dict(waves=result.waves)
        if is_compact(result.mask):
            result.messages.append(
                "the noise is compact (correlated in all directions): hiding it hides most of what a pixel could be "
                "predicted from; stage2's method = 'recorrupted' hides nothing"
            )
    result.stage2 = _train_stage("stage2", parts, result.settings, callbacks, **structure)


def _why_needless(reports):
    """Return in words why stage 2 has nothing to do."""
    doubtful = [str(report) for report in reports if not report.decided]
    if doubtful:
        return f"the noise's law is not known ({doubtful[0]})"
    return "no correlation was found in the noise, so stage 2 is not needed"


def _hidden(result):
    """Return the mask that structN2V hides: the one learned, and whole lines that are offset in brightness."""
    options = result.settings["stage2"]
    if options["mask_source"] == "file" or result.lines is None or result.mask is None:
        return result.mask
    rows, columns = (any(channel[axis] for channel in result.lines) for axis in (0, 1))
    return with_whole_lines(result.mask, rows, columns, options["patch_size"])


def _predict(result, images):
    """Denoise the images with each stage that ran."""
    result.metrics["similar"] = _similar_help(result, images)
    for stage, denoiser in result.stages.items():
        similar = stage == "stage2" and result.metrics["similar"]
        clean = denoiser.predict(images.stack, tta=result.settings["tta"], similar=similar)
        setattr(result, f"denoised{stage[-1]}", from_stack(clean, images.like, images.channel_axis))
        result.metrics[stage] = {key: values[-1] for key, values in denoiser.history.items() if values}


def _similar_help(result, images):
    """Return whether similar patches are to be mixed into the images of a recorrupted stage 2.

    Measured: 0.1 to 0.5 dB where neighbours are opposite, -0.06 to 0.33 after lines or waves were taken off, but -0.02
    to -0.50 where neighbours are alike: patches that look alike then do so for their noise, too.
    """
    if result.stage2 is None or result.stage2.config.covariance is None:
        return False
    alike = any("alike" in report.kinds for report in result.reports)
    wanted = result.settings["similar"]
    return bool(not alike and images.stack.size <= FEW_PIXELS if wanted == "auto" else wanted)


def _better(result, images, stack):
    """Return which stage is handed out: stage 2, unless something speaks against it, which is said."""
    some, errors = stack[:: -(-len(stack) // FEW_PAGES)], {}
    if result.covariance is not None:
        law = (result.covariance, result.shot, result.lines, result.waves)
        for stage, denoiser in result.stages.items():
            errors[stage] = recorrupted_error(denoiser, some, *law)
        result.metrics["recorrupted_error"] = errors
    if len(result.stages) < 2:
        return list(result.stages)[-1]
    against = _against_stage_2(result, images, errors)
    if against:
        result.messages.append(f"{against}: the images are denoised by stage 1")
    return "stage1" if against else "stage2"


def _handed_out(result, images):
    """Return the better stage's images; channels whose noise's law is not known are stage 1's in any case."""
    if result.metrics["denoised_by"] == "stage1":
        return result.denoised1
    unknown = [c for c, report in enumerate(result.reports) if report.law is not None and not report.decided]
    if result.denoised1 is None or not unknown:
        return result.denoised2
    first, second = (images.again_as_stack(image) for image in (result.denoised1, result.denoised2.copy()))
    for c in unknown:
        second[:, c] = first[:, c]
        result.messages.append(f"channel {c}: {result.reports[c]}: it is denoised by stage 1")
    return from_stack(second, images.like, images.channel_axis)


def _against_stage_2(result, images, errors):
    """Return in words what speaks against stage 2's images, or ""."""
    if result.covariance is None:  # a mask from a file, and nothing to judge it by: that was said
        return ""
    doubtful = [str(report) for report in result.reports if not report.decided]
    if len(doubtful) == len(result.reports):
        return f"which stage is better cannot be told, for the noise's law is not known ({doubtful[0]})"
    # Two judges, and one of them knows nothing of the law, which may be wrong.
    known = [c for c, report in enumerate(result.reports) if report.decided]
    alike = [c for c in known if "alike" in result.reports[c].kinds]  # what an image shows is never opposite, or a line
    if result.stage2.config.covariance is not None and alike:
        step = -(-len(images.stack) // FEW_PAGES)
        noisy, clean = images.stack[::step], images.again_as_stack(result.denoised2)[::step]
        missing = find_gaps(noisy).missing(noisy)
        clean = fill_gaps(clean, missing)
        noisy = np.where(missing, clean, noisy)  # nothing was taken from there
        shared = [shared_with_residual(noisy[:, c], clean[:, c]) for c in alike]
        result.metrics["shared_with_residual"] = shared
        if min(shared) < LEAST_SHARED:
            return (
                "stage 2 may take away what the image shows (its residual goes against its result, with a "
                f"correlation of {min(shared):.2f})"
            )
    gaussian = max(result.reports[c].law.tails for c in known) < HEAVY_TAILS  # else the errors mean little
    if gaussian and errors and errors["stage2"] >= errors["stage1"]:
        other = "'recorrupted'" if result.stage2.config.covariance is None else "'structn2v'"
        return (
            f"stage 2 is worse than stage 1 (error against recorrupted targets {errors['stage2']:.4g} instead of "
            f"{errors['stage1']:.4g}; train longer, or try stage2's method = {other})"
        )
    return ""


@contextlib.contextmanager
def _told(what, settings):
    """Print a line: what is being done, at once, and how long it took, afterwards."""
    start = time.perf_counter()
    if not settings["quiet"]:
        print(f"{what} ...", end=" ", flush=True)
    yield
    if not settings["quiet"]:
        print(f"{time.perf_counter() - start:.0f} s", flush=True)


def _in_words(stage, config):
    """Say what a stage will do, and when it ends at the latest."""
    hidden = 1 if config.struct_mask is None else np.sum(config.struct_mask)
    task = "Noise2Void" if hidden == 1 else f"structN2V, {hidden} pixels hidden together"
    task = task if config.covariance is None else "recorrupted training"
    seconds = f" or {config.max_seconds:g} s" if config.max_seconds else ""
    return f"stage {stage[-1]}: {task}, at most {config.max_epochs * config.steps_per_epoch} steps{seconds}"
