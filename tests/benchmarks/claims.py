"""Tests what is said about two-stage denoising, one claim at a time, by short trainings: prints markdown tables."""

import argparse
import math
import time

import numpy as np
import torch
from skimage.transform import downscale_local_mean
from structure import KINDS, STRUCTURED, WHITE, add_noise, autocorrelation, kernels, overlap, true_mask
from support import header, number, say, table

import n2vlib
from n2vlib.images.arrays import symmetrised
from n2vlib.learning import masking
from n2vlib.noise.spectrum import split_shot_noise
from n2vlib.two_stage.settings import RINGS

LENGTH = 1  # of KINDS' lines and crosses: 5 pixels
PHOTONS, READ, STRIPES = 40, 2, 4  # of `shot`: the brightest pixel, and the deviations of what the camera adds


def photograph(name):
    """Return a photograph of scikit-image at half its size, float32."""
    return downscale_local_mean(n2vlib.load_image(name).astype(np.float32), (2, 2)).astype(np.float32)


def config(arguments, **changes):
    """Return the settings of a run: a number of steps, so that it can be repeated."""
    return n2vlib.N2VConfig(**(dict(max_steps=arguments.steps, seed=arguments.seed) | changes))


def strength(measured, kernel):
    """Return the sum of a measured covariance where the true one is not zero, over the sum of that one."""
    true = autocorrelation(kernel, len(measured.values))
    return measured.values[true > 1e-9].sum() / (WHITE**2 + STRUCTURED**2 * true.sum())


def masks(arguments):
    """Compare masks and covariances found on the noisy image and with the help of stage 1."""
    clean, rows, strengths = photograph(arguments.image), [], []
    documented = dict(base_percentile=50, percentile_decay=1.15, center_ratio_threshold=0.3, max_true_pixels=25)
    for kind in KINDS:
        kernel = kernels(kind)[0 if kind == "blob" else LENGTH]
        noisy, truth = add_noise(clean, kernel, arguments.seed).astype(np.float32), true_mask(kernel)
        first = n2vlib.train(noisy, config(arguments)).predict(noisy)
        raw, guided = n2vlib.noise_autocovariance(noisy), n2vlib.noise_autocovariance(noisy, guide=first)
        denoised = n2vlib.noise_autocovariance(first)
        found = {
            "flat_patches, noisy image": n2vlib.structural_mask(raw),
            "flat_patches, background from stage 1": n2vlib.structural_mask(guided),
            "flat_patches, stage 1's output": n2vlib.structural_mask(denoised),
            "rings, noisy image": n2vlib.noise.ring_mask(raw.values),
            "rings as in run_two_stage, stage 1's output": n2vlib.noise.ring_mask(
                denoised.values, **RINGS["stage1"], max_true_pixels=None
            ),
            "rings as documented, noisy image": n2vlib.noise.ring_mask(raw.values, **documented),
            "rings as documented, stage 1's output": n2vlib.noise.ring_mask(denoised.values, **documented),
        }
        rows.append({"noise": kind} | {name: number(overlap(mask, truth)) for name, mask in found.items()})
        guides = {"noisy image": raw, "background from stage 1": guided}
        guides["background from the clean image"] = n2vlib.noise_autocovariance(noisy, guide=clean)
        strengths.append({"noise": kind} | {name: number(strength(one, kernel)) for name, one in guides.items()})
    print("Intersection over union of found and true mask:\n")
    table(turned(rows, "mask"))
    print("Strength of the found covariance (its sum), over that of the true one:\n")
    table(turned(strengths, "covariance"))


def turned(rows, title):
    """Return a table with one row a kind of noise as one with a column a kind of noise."""
    names = [name for name in rows[0] if name != "noise"]
    return [{title: name} | {row["noise"]: row[name] for row in rows} for name in names]


def stage2(arguments):
    """Train stage 2 on other images, with another mask, and after it stage 1 once more."""
    _, mask, run, rows = prepared(arguments)
    first = run("stage 1 alone: Noise2Void", {})
    second = run("stage 2: structN2V, 10 % hidden, mean fill, the noisy image", dict(struct_mask=mask))
    for seed in (1, 2):
        run(f"the same, seed {seed}", dict(struct_mask=mask, seed=seed))
    run("trained on stage 1's output", dict(struct_mask=mask), first)
    run("Noise2Void on stage 2's output", {}, second)
    run("mask of the wrong orientation", dict(struct_mask=mask.T))
    table(rows)


def settings(arguments):
    """Train stage 2 with one setting changed at a time."""
    measured, mask, run, rows = prepared(arguments)
    hide, adam = dict(struct_mask=mask), dict(optimizer="adam", average_weights=0)
    run("zero fill", hide | dict(strategy="zero"))
    run("random fill", hide | dict(strategy="random"))
    for percentage in (5, 20):
        run(f"{percentage} % hidden", hide | dict(masked_pixel_percentage=percentage))
    run("patches of 32", hide | dict(patch_size=32))
    run("patches of 32, 16 in a step", hide | dict(patch_size=32, batch_size=16))
    run("features 32", hide | dict(num_channels_init=32))
    run("num_layers 3", hide | dict(depth=3))
    run("not turned or flipped", hide | dict(augment=False))
    for rate in (1e-3, 1e-4, 1e-5):
        run(f"optimizer adam, learning rate {rate:g}", hide | adam | dict(learning_rate=rate))
    for strength in (0.5, 0.25, 1.0):
        run(f"recorrupted, a = {strength}", dict(covariance=measured.values, recorruption=strength))
    table(rows)


def overlays(arguments):
    """Train recorrupted for more and more steps, with patches laid over one another early, late, and never."""
    measured, _, run, rows = prepared(arguments)
    late = masking.BY_HEART
    ways = {"overlaid from the beginning": 1e-9, f"overlaid after {late} passes": late, "never overlaid": math.inf}
    for name, masking.BY_HEART in ways.items():
        for times in (1, 3, 6):
            steps = times * arguments.steps
            run(f"{name}, {steps} steps", dict(covariance=symmetrised(measured.values), max_steps=steps))
    table(rows)


def shot(arguments):
    """Train on photons, whose noise grows with the signal, plus read and structured noise, which does not."""
    clean = photograph(arguments.image)
    clean *= PHOTONS / clean.max()
    kernel = kernels(arguments.kind)[0 if arguments.kind == "blob" else LENGTH]
    photons = np.random.default_rng(arguments.seed).poisson(clean)
    noisy = add_noise(photons, kernel, arguments.seed, READ, STRIPES).astype(np.float32)
    measured = n2vlib.noise_autocovariance(noisy)
    mask, covariance = n2vlib.structural_mask(measured), symmetrised(measured.values)
    dark, shot = split_shot_noise(noisy[None], measured)
    ways = {
        "stage 1 alone: Noise2Void": {},
        "stage 2: structN2V": dict(struct_mask=mask, masked_pixel_percentage=10),
        "stage 2: recorrupted, the same noise everywhere": dict(covariance=covariance),
        "stage 2: recorrupted, more noise where it is bright": dict(covariance=symmetrised(dark), shot=[shot]),
    }
    rows = [{"method": "noisy", "PSNR": number(n2vlib.psnr(clean, noisy, PHOTONS)), "error": None, "error, shot": None}]
    for name, changes in ways.items():
        denoiser = n2vlib.train(noisy, config(arguments, **changes))
        errors = [
            n2vlib.learning.recorrupted_error(denoiser, noisy, *of)
            for of in ((covariance,), (symmetrised(dark), [shot]))
        ]
        decibels = n2vlib.psnr(clean, denoiser.predict(noisy), PHOTONS)
        errors = dict(zip(("error", "error, shot"), (number(error, 1) for error in errors)))
        rows.append({"method": name, "PSNR": number(decibels)} | errors)
        say(rows[-1])
    print(f"{arguments.kind}; overlap of the mask {overlap(mask, true_mask(kernel)):.2f}; PSNR with range {PHOTONS}; ")
    print(f"variance measured {covariance.max():.1f}, mean {clean.mean() + READ**2 + STRIPES**2:.1f}\n")
    table(rows)


def prepared(arguments):
    """Return the noise of a noisy photograph, its mask, a function that trains and measures, and the list it fills."""
    clean, rows = photograph(arguments.image), []
    kernel = kernels(arguments.kind)[0 if arguments.kind == "blob" else LENGTH]
    noisy = add_noise(clean, kernel, arguments.seed).astype(np.float32)
    measured = n2vlib.noise_autocovariance(noisy)

    def run(name, changes, image=noisy):
        """Train on an image, denoise it, and note the PSNR and the seconds."""
        hidden = dict(masked_pixel_percentage=10) if "struct_mask" in changes else {}
        start = time.perf_counter()
        denoised = n2vlib.train(image, config(arguments, **(hidden | changes))).predict(image)
        row = {"setting": name, "PSNR": number(n2vlib.psnr(clean, denoised))}
        rows.append(row | {"seconds": number(time.perf_counter() - start, 0)})
        say(rows[-1])
        return denoised

    return measured, n2vlib.structural_mask(measured), run, rows


TASKS = {task.__name__: task for task in (masks, stage2, settings, overlays, shot)}


def main():
    """Run the measurements that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=TASKS)
    parser.add_argument("--image", default="camera", help="a photograph of scikit-image")
    parser.add_argument("--kind", default="horizontal", choices=KINDS)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    TASKS[arguments.what](arguments)
    added = f"white noise {WHITE} + structured noise {STRUCTURED}"
    if arguments.what == "shot":
        added = f"{PHOTONS} photons at most, read noise {READ} + structured noise {STRIPES}"
    header(f"{arguments.image} at half size, {added}, not clipped", arguments)


if __name__ == "__main__":
    main()
