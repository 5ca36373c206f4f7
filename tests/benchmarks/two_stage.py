"""Measures the two-stage pipeline on structured noise beside CAREamics and BM3D: prints markdown tables.

Each case is measured once and kept as JSON in build/benchmarks/two_stage; `table` prints all that are there.
"""

import argparse
import dataclasses
import itertools
import json
import os
import tempfile
from pathlib import Path

import noise_kinds
import numpy as np
import skimage.data
import torch
from measure import timed
from structure import KINDS, STRUCTURED, WHITE, add_noise, fluorescence, kernels, overlap, true_mask, well_oriented
from support import ROOT, ask, header, load_pair, number, parsed, peer_python, say, table

import n2vlib
from n2vlib.images.arrays import symmetrised
from n2vlib.noise.spectrum import split_shot_noise
from n2vlib.two_stage.settings import RINGS, complete_settings, network_config

PHOTOGRAPHS = ("camera", "astronaut", "coffee", "chelsea", "moon", "coins")
KEPT = ROOT / "build" / "benchmarks" / "two_stage"
AXES = {
    "horizontal": "horizontal",
    "vertical": "vertical",
    "cross": "cross",
    "blob": "square",
}  # CAREamics has no other
CAREAMICS = "CAREamics, told the axis"
CAREAMICS_STEPS = 376  # of batch 8 in 60 s on two cores (`run.py single`: 326 in 52 s)
DOCUMENTED = dict(base_percentile=50, percentile_decay=1.15, center_ratio_threshold=0.3, max_true_pixels=25)


def clean_image(name, side):
    """Return the middle of a photograph of scikit-image or BSD68 (a number), or of a fluorescence image."""
    if name.isdigit():
        image = load_pair(int(name))[0]
    elif name in PHOTOGRAPHS:
        image = getattr(skimage.data, name)()
        image = (image[..., :3].mean(axis=-1) if image.ndim == 3 else image).astype(np.float64)
    else:
        image = fluorescence()[name]
    top, left = (max(0, length // 2 - side // 2) for length in image.shape)
    return image[top : top + side, left : left + side]


def make(name, side, kind, seed):
    """Return the clean and the noisy image, the kernel, and the two deviations of the noise."""
    clean = clean_image(name, side)
    kernel = kernels(kind)[-1 if kind == "blob" else 1]  # lines and crosses of 5 pixels, a blob of 3x3
    levels = noise_levels(name, clean)
    return clean, add_noise(clean, kernel, seed, *levels), kernel, levels


def measure(name, side, kind, arguments):
    """Measure all methods in one case and return a dictionary of plain numbers."""
    clean, noisy, kernel, levels = make(name, side, kind, arguments.seed)
    span = 255 if is_photograph(name) else float(np.quantile(clean, 0.999) - np.quantile(clean, 0.001))
    case = dict(image=name, side=side, kind=kind, range=span, levels=levels)
    case["noisy"] = decibels(case, clean, noisy)
    first = train(noisy, "stage1", {}, arguments)
    denoised = first.predict(noisy)
    masks = learn_masks(noisy, denoised)
    truth = true_mask(kernel)
    case["iou"] = {how: float(overlap(mask, truth)) for how, mask in masks.items()}
    case["oriented"] = {how: well_oriented(mask, truth) for how, mask in masks.items()}
    case["stage 1"] = decibels(case, clean, denoised)
    noise = measured_noise(noisy)
    stages = {
        "structN2V": train(noisy, "stage2", dict(struct_mask=masks["flat patches, stage 1"]), arguments),
        "recorrupted": train(noisy, "stage2", noise, arguments),
    }
    case["errors"] = {"stage 1": n2vlib.learning.recorrupted_error(first, noisy, **noise)}
    for method, denoiser in stages.items():
        case |= qualities(method, denoiser, case, clean, noisy)
        case["errors"][method] = n2vlib.learning.recorrupted_error(denoiser, noisy, **noise)
    return case


def measured_noise(noisy):
    """Return covariance and shot noise as `run_two_stage` measures them."""
    dark, shot = split_shot_noise(noisy[None], n2vlib.noise_autocovariance(noisy))
    return dict(covariance=symmetrised(dark), shot=[shot] if any(shot) else None)


def decibels(case, clean, image):
    """Return the PSNR of a case's image as a plain number."""
    return float(n2vlib.psnr(clean, image, case["range"]))


def qualities(method, denoiser, case, clean, noisy):
    """Return what a denoiser reaches, and in how many steps."""
    return {
        method: decibels(case, clean, denoiser.predict(noisy)),
        f"{method}, self-ensemble": decibels(case, clean, denoiser.predict(noisy, tta=True)),
        f"{method}, steps": denoiser.history["steps"][-1],
    }


def measure_recorrupted(case, arguments):
    """Measure recorrupted training alone again; the errors go, which hold for one covariance."""
    clean, noisy, *_ = make(case["image"], case["side"], case["kind"], arguments.seed)
    denoiser = train(noisy, "stage2", measured_noise(noisy), arguments)
    return qualities("recorrupted", denoiser, case, clean, noisy) | dict(errors={})


def is_photograph(name):
    """Return whether an image is a photograph, without noise of its own; else it is fluorescence."""
    return name.isdigit() or name in PHOTOGRAPHS


def noise_levels(name, clean):
    """Return the deviations of the noise to add: as on all photographs, or in terms of the image's own noise."""
    if is_photograph(name):
        return WHITE, STRUCTURED
    report = n2vlib.noise_report(clean)
    own = float(np.hypot(report.white_sigma, report.structured_std))
    return own, 2 * own


def train(noisy, stage, structure, arguments):
    """Train one stage as `run_two_stage` does, for so many steps or seconds."""
    structure = structure | (dict(strategy=None) if "covariance" in structure else {})
    config = network_config(complete_settings(), stage, 1, **structure)
    limits = dict(
        max_steps=arguments.steps, max_epochs=None, max_seconds=None if arguments.steps else arguments.seconds
    )
    return n2vlib.train(noisy, dataclasses.replace(config, **limits, seed=arguments.seed))


def learn_masks(noisy, denoised):
    """Learn the mask in every way; return the masks by name."""
    raw, guided = (n2vlib.noise_autocovariance(noisy, guide=guide) for guide in (None, denoised))
    left = n2vlib.noise_autocovariance(denoised)
    return {
        "flat patches, raw": n2vlib.structural_mask(raw),
        "flat patches, stage 1": n2vlib.structural_mask(guided),
        "rings, raw": n2vlib.noise.ring_mask(raw.values),
        "rings, stage 1": n2vlib.noise.ring_mask(left.values, **RINGS["stage1"], max_true_pixels=None),
        "rings, stage 1, as documented": n2vlib.noise.ring_mask(left.values, **DOCUMENTED),
    }


def measure_bm3d(case, arguments):
    """Return what BM3D reaches in the same case, told sigma or the true power spectrum."""
    clean, noisy, kernel, (white, structured) = make(case["image"], case["side"], case["kind"], arguments.seed)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path, spectrum = Path(folder) / "noisy.npy", Path(folder) / "power.npy"
        np.save(path, noisy.astype(np.float32))
        power = np.abs(np.fft.fft2(kernel / np.sqrt((kernel**2).sum()), noisy.shape)) ** 2
        np.save(spectrum, (white**2 + structured**2 * power) * noisy.size)
        for told, value in (("sigma", float(np.hypot(white, structured))), ("spectrum", spectrum)):
            answer = ask(peer_python("bm3d"), "peer_bm3d.py", value, path)
            image = np.load(answer["results"][0]["file"])
            found[f"BM3D, told {told}"] = decibels(case, clean, image)
    return found


def measure_careamics(case, arguments):
    """Return what CAREamics' structN2V reaches in the same case, told the axis; None where it has no such mask."""
    if case["kind"] not in AXES:
        return {CAREAMICS: None}
    clean, noisy, kernel, _ = make(case["image"], case["side"], case["kind"], arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noisy.npy"
        np.save(path, noisy.astype(np.float32))
        options = dict(image=path, folder=folder, batch=8, threads=torch.get_num_threads(), seed=arguments.seed)
        reach = np.abs(np.argwhere(true_mask(kernel)) - 5).max()
        options |= dict(axes=AXES[case["kind"]], span=2 * reach + 1, marks=arguments.seconds)
        options["copies"] = arguments.careamics_copies
        if arguments.steps:
            options |= dict(marks=10**6, steps=CAREAMICS_STEPS)
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        mark = ask(peer_python("careamics"), "peer_careamics.py", "train", *flags)["marks"][-1]
        image = np.load(mark["file"])
    return {CAREAMICS: decibels(case, clean, image), "CAREamics, steps": mark["steps"]}


def run(arguments):
    """Measure the cases that are not there yet, and the peers where they are missing."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for side, name, kind in itertools.product(arguments.sides, arguments.images, arguments.kinds or KINDS):
        path = KEPT / f"{name.replace(' ', '_')}_{side}_{kind}.json"
        case = json.loads(path.read_text()) if path.exists() and not arguments.fresh else {}
        parts = {"noisy": lambda c, n=name, s=side, k=kind: measure(n, s, k, arguments)}
        if not arguments.no_peers:
            parts["BM3D, told spectrum"] = lambda c: measure_bm3d(c, arguments)
            parts[CAREAMICS] = lambda c: measure_careamics(c, arguments)
        if arguments.recorrupted and case:
            case.pop("recorrupted", None)
            parts["recorrupted"] = lambda c: measure_recorrupted(c, arguments)
        for sign, part in parts.items():
            if sign not in case:
                found, seconds = timed(part, case)
                case |= found
                path.write_text(json.dumps(case))
                say(f"{path.stem}: {seconds:.0f} s, {found}")


def print_tables(arguments):
    """Print the masks and the denoising of all cases measured."""
    cases = [json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))]
    names = sorted({case["image"] for case in cases})
    limit = f"{arguments.steps} steps" if arguments.steps else f"{arguments.seconds} s"
    header(f"{', '.join(names)}; white {WHITE} + structured {STRUCTURED}; {limit} a stage", arguments)
    methods = ("noisy", "stage 1", "structN2V", "structN2V, self-ensemble", "recorrupted", "recorrupted, self-ensemble")
    peers = (CAREAMICS, "BM3D, told sigma", "BM3D, told spectrum")
    rows = []
    for case in cases:
        row = {"case": f"{case['image']} {case['side']} {case['kind']}"}
        row |= {method: number(case.get(method)) for method in (*methods, *peers)}
        errors = case["errors"]
        better = [m for m in ("structN2V", "recorrupted") if errors and errors[m] < errors["stage 1"]]
        row["better by error"] = ", ".join(better)
        rows.append(row)
    table(rows)
    rows = []
    for how in cases[0]["iou"]:
        row = {"intersection over union of the mask": how}
        for kind in KINDS:
            found = [case["iou"][how] for case in cases if case["kind"] == kind]
            row[kind] = f"{np.mean(found):.2f} ({min(found):.2f})" if found else None
        every = [case["iou"][how] for case in cases]
        row["mean (minimum)"] = f"{np.mean(every):.3f} ({min(every):.2f})"
        oriented = [case["oriented"][how] for case in cases if case["oriented"][how] is not None]
        row["oriented"] = f"{sum(oriented)} of {len(oriented)}"
        rows.append(row)
    table(rows)
    goals(cases)


def goals(cases):
    """Say for each goal in how many cases it is met, and by how much the worst case misses or passes it."""

    def gaps(method, other, plus, kinds):
        return [c[method] - c[other] - plus for c in cases if c["kind"] in kinds and c.get(other) is not None]

    lines = ("horizontal", "vertical", "diagonal")
    checks = {
        "structN2V above stage 1": gaps("structN2V", "stage 1", 0, KINDS),
        "structN2V 4 dB above stage 1, lines": gaps("structN2V", "stage 1", 4, lines),
        "structN2V 2 dB above CAREamics, told the axis": gaps("structN2V", CAREAMICS, 2, KINDS),
        "recorrupted above BM3D, told the spectrum": gaps("recorrupted", "BM3D, told spectrum", 0, KINDS),
        "the same with self-ensemble": gaps("recorrupted, self-ensemble", "BM3D, told spectrum", 0, KINDS),
    }
    rows = []
    for goal, gap in checks.items():
        met = f"{sum(g >= 0 for g in gap)} of {len(gap)}"
        worst = number(min(gap)) if gap else None
        rows.append({"goal": goal, "met": met, "worst (dB)": worst, "mean (dB)": number(np.mean(gap)) if gap else None})
    table(rows)


def main():
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("run", "table", "kinds"), help="kinds: of instruments, see noise_kinds.py")
    parser.add_argument(
        "--images", nargs="+", default=PHOTOGRAPHS[:4], help="scikit-image's, BSD68 numbers, fly or jump"
    )
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 512])
    parser.add_argument("--kinds", nargs="+", choices=sorted({*KINDS, *noise_kinds.KINDS}), help="default: all")
    parser.add_argument("--table", action="store_true", help="of kinds: print what is there, measure nothing")
    parser.add_argument("--seconds", type=float, default=60, help="of each training, CAREamics' too")
    parser.add_argument("--steps", type=int, help=f"instead of seconds; CAREamics then takes {CAREAMICS_STEPS}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    # One image makes epochs of 2 steps, and CAREamics' plateau schedule ends the learning after a few of them.
    parser.add_argument("--careamics-copies", type=int, default=25, help="of the image: longer epochs")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is there")
    parser.add_argument("--recorrupted", action="store_true", help="measure recorrupted training alone anew")
    parser.add_argument("--no-peers", action="store_true")
    arguments = parsed(parser)
    if arguments.command == "kinds":
        if not arguments.table:
            noise_kinds.run(arguments)
        return noise_kinds.print_table(arguments)
    return (run if arguments.command == "run" else print_tables)(arguments)


if __name__ == "__main__":
    main()
