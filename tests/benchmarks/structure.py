"""Measures how well n2vlib finds structured noise, on photographs and on fluorescence: prints markdown tables."""

import argparse
import os
from pathlib import Path

import numpy as np
import tifffile
import torch
from support import ROOT, header, load_pair, number, table

import n2vlib
from n2vlib.noise.covariance import square_rings

WHITE, STRUCTURED = 10, 20  # deviations of the two parts of the noise
PHOTOGRAPHS = ("astronaut", "brick", "camera", "coins", "grass", "gravel", "moon")
TEXTURED = ("grass", "gravel")  # nowhere flat
KINDS = ("horizontal", "vertical", "diagonal", "blob", "cross")
LENGTHS = (3, 5, 7)  # of lines and crosses, in pixels
SIGMAS = (5, 10, 15, 25, 50)
MASKS = {
    "rings": n2vlib.noise.ring_mask,
    "rings as documented": lambda one: n2vlib.noise.ring_mask(one, 50, 1.15, 0.3, 25),
    "flat patches": n2vlib.structural_mask,
}


# The noise, and its true mask.


def kernels(kind):
    """Return the filters that make a kind of structured noise of white noise."""
    if kind == "blob":
        return [np.ones((3, 3))]
    cross = [np.maximum(np.eye(n)[n // 2][:, None], np.eye(n)[n // 2]) for n in LENGTHS]
    shapes = {
        "horizontal": [np.ones((1, n)) for n in LENGTHS],
        "vertical": [np.ones((n, 1)) for n in LENGTHS],
        "diagonal": [np.eye(n) for n in LENGTHS],
        "cross": cross,
    }
    return shapes[kind]


def add_noise(image, kernel, seed, white=WHITE, structured=STRUCTURED):
    """Add white noise, and white noise filtered with a kernel, of these two deviations; nothing is clipped."""
    rng = np.random.default_rng(seed)
    noise = white * rng.standard_normal(image.shape)
    gain = np.fft.rfft2(kernel / np.sqrt((kernel**2).sum()), image.shape)
    return (
        image + noise + structured * np.fft.irfft2(np.fft.rfft2(rng.standard_normal(image.shape)) * gain, image.shape)
    )


def autocorrelation(kernel, size=11):
    """Return the correlation at each distance, 1 in the centre, of white noise filtered with a kernel."""
    power = np.abs(np.fft.fft2(kernel, (64, 64))) ** 2
    values = np.fft.fftshift(np.fft.ifft2(power).real)[32 - size // 2 :, 32 - size // 2 :][:size, :size]
    return values / values.max()


def true_mask(kernel, size=11):
    """Return where the kernel's autocorrelation is at least 0.15 of its largest value off the centre."""
    values = autocorrelation(kernel, size)
    neighbours = square_rings(size) > 0
    return (values >= 0.15 * values[neighbours].max()) | ~neighbours


def overlap(mask, truth):
    """Return the intersection over union of two masks."""
    return (mask & truth).sum() / (mask | truth).sum()


def well_oriented(mask, truth):
    """Return whether the main axis of a mask is within 22.5 degrees of the true one; None if that has none."""
    found, wanted = (np.array([(x * x - y * y).sum(), 2 * (x * y).sum()]) for y, x in map(distances, (mask, truth)))
    if not wanted.any():
        return None
    cosine = found @ wanted / (np.linalg.norm(found) * np.linalg.norm(wanted) + 1e-9)
    return bool(cosine > np.cos(np.pi / 4))  # of twice the angle


def distances(mask):
    """Return the rows and columns of a mask's pixels, counted from its centre."""
    return np.argwhere(mask).T - len(mask) // 2


# The images.


def photographs(bsd):
    """Return groups of clean photographs, {group: {name: (Y, X)}}: scikit-image's, and so many of BSD68."""
    groups = {"256x256": {}, "512x512": {}, "256x256, no flat place": {}, "512x512, no flat place": {}}
    for name in PHOTOGRAPHS:
        image = n2vlib.load_image(name).astype(np.float64)
        places = ", no flat place" if name in TEXTURED else ""
        top, left = (side // 2 - 128 for side in image.shape)
        groups["256x256" + places][name] = image[top : top + 256, left : left + 256]
        if image.shape == (512, 512):
            groups["512x512" + places][name] = image
    groups["BSD68"] = {f"{n:03d}": load_pair(n)[0] for n in range(1, bsd + 1)}
    return groups


def fluorescence():
    """Return real fluorescence images, {name: (Y, X)}; none where the folder is absent."""
    folder = Path(os.environ.get("N2VLIB_DATA") or ROOT.parent / "shared" / "data")
    images = {f"fly {path.stem[3:]}": tifffile.imread(path) for path in sorted(folder.glob("fly/*.TIF"))}
    for path in sorted(folder.glob("jump/*.tiff")):
        images |= {f"{path.stem[:11]} channel {c}": page for c, page in enumerate(tifffile.imread(path)[0])}
    return {name: image.astype(np.float64) for name, image in images.items()}


# The tables.


def structured_noise(groups, seeds):
    """Compare found and true masks on photographs with white and structured noise."""
    rows = []
    for group, images in groups.items():
        row, oriented, every, variance = {"images": f"{group} ({len(images)})"}, [], [], []
        for kind in KINDS:
            found = []
            for kernel in kernels(kind):
                truth = true_mask(kernel)
                for image in images.values():
                    for seed in range(seeds):
                        noisy = add_noise(image, kernel, seed)
                        measured = n2vlib.noise_autocovariance(noisy)
                        mask = n2vlib.structural_mask(measured)
                        variance.append(measured.values.max() / (WHITE**2 + STRUCTURED**2))
                        found.append(overlap(mask, truth))
                        oriented.append(well_oriented(mask, truth))
            row[kind] = f"{np.mean(found):.3f} ({min(found):.2f})"
            every += found
        row["all"] = f"{np.mean(every):.3f} ({min(every):.2f})"
        row["below 0.8"] = f"{np.sum(np.array(every) < 0.8)} of {len(every)}"
        oriented = [value for value in oriented if value is not None]
        row["oriented"] = f"{sum(oriented)} of {len(oriented)}"
        row["variance found / true"] = f"{np.mean(variance):.2f} ± {np.std(variance):.2f}"
        rows.append(row)
    print("Intersection over union of found and true mask, mean (minimum):\n")
    table(rows)


def white_noise(groups, seeds):
    """Count the masks that reach beyond the centre though the noise is white."""
    rows = []
    for sigma in SIGMAS:
        row = {"sigma": sigma}
        for group, images in groups.items():
            wrong = []
            for name, image in images.items():
                for seed in range(seeds):
                    noisy = image + np.random.default_rng(seed).normal(0, sigma, image.shape)
                    if n2vlib.structural_mask(n2vlib.noise_autocovariance(noisy)).sum() > 1:
                        wrong.append(name)
            names = ", ".join(sorted(set(wrong)))
            row[group] = f"{len(wrong)} of {len(images) * seeds}" + f" ({names})" * bool(wrong)
        rows.append(row)
    print("White noise on photographs: masks beyond the centre:\n")
    table(rows)


def noise_alone(seeds):
    """Count false alarms on white noise without an image, and compare the two masks on structured noise alone."""
    rows, flat = [], np.zeros((256, 256))
    for side in (48, 64, 128, 256):
        measured = [
            n2vlib.noise_autocovariance(np.random.default_rng(seed).normal(0, 10, (side, side)))
            for seed in range(200 * seeds)
        ]
        row = {"white noise alone": f"{side}x{side}", "images": len(measured)}
        for smallest in (0.15, 0):
            alarms = sum(n2vlib.structural_mask(one, smallest=smallest).sum() > 1 for one in measured)
            row[f"false alarms, smallest={smallest}"] = alarms
        rows.append(row)
    table(rows)
    rows = []
    for white in (0, WHITE):
        for name, make in MASKS.items():
            row, every = {"no image, 256x256": f"{name}, white part {white}"}, []
            for kind in KINDS:
                found = [
                    overlap(make(n2vlib.noise_autocovariance(add_noise(flat, kernel, seed, white))), true_mask(kernel))
                    for kernel in kernels(kind)
                    for seed in range(seeds)
                ]
                row[kind] = f"{np.mean(found):.3f} ({min(found):.2f})"
                every += found
            rows.append(row | {"all": number(np.mean(every), 3)})
    table(rows)


def false_alarms(groups, seeds, steps):
    """Count, over many draws of white noise on photographs in turn, the masks that reach beyond the centre."""
    rows, rate = [], n2vlib.noise_report(np.random.default_rng(0).normal(0, 10, (64, 64))).false_alarm_rate
    config = n2vlib.N2VConfig(max_steps=max(1, steps), num_channels_init=8)
    for group, images in groups.items():
        alarms, names = dict.fromkeys(("noise_report", "run_two_stage"), 0), list(images)
        for seed in range(seeds):
            image, sigma = images[names[seed % len(names)]], SIGMAS[seed % len(SIGMAS)]
            noisy = image + np.random.default_rng(seed).normal(0, sigma, image.shape)
            alarms["noise_report"] += n2vlib.noise_report(noisy).mask.sum() > 1
            if steps:  # there the background is where stage 1 has it
                guide = n2vlib.train(noisy, config).predict(noisy)
                measured = n2vlib.noise_autocovariance(noisy, guide=guide)
                alarms["run_two_stage"] += n2vlib.structural_mask(measured).sum() > 1
        row = {"white noise on": f"{group} ({len(images)})", "draws": seeds, "stated": f"{rate:.0%}"}
        row["noise_report"] = f"{alarms['noise_report']} ({alarms['noise_report'] / seeds:.1%})"
        row[f"run_two_stage, stage 1 of {steps} steps"] = alarms["run_two_stage"] if steps else None
        rows.append(row)
    print(f"False alarms; sigma in turn {', '.join(map(str, SIGMAS))}:\n")
    table(rows)


def real_images(images):
    """Report on fluorescence images: their own noise, and structured noise added, twice as strong."""
    rows = []
    for name, image in images.items():
        report = n2vlib.noise_report(image)
        own = np.hypot(report.white_sigma, report.structured_std)
        row = {"image": name, "white": number(report.white_sigma), "structured": number(report.structured_std)}
        row |= {"texture": number(report.texture), "own noise": str(report)}
        for kind in KINDS:
            kernel = kernels(kind)[-1 if kind == "blob" else 1]
            measured = n2vlib.noise_autocovariance(add_noise(image, kernel, 0, own, 2 * own))
            row[kind] = number(overlap(n2vlib.structural_mask(measured), true_mask(kernel)))
        rows.append(row)
    print("Fluorescence: noise_report, and the overlap after adding white noise as strong as its own noise")
    print("and structured noise twice as strong (lines and cross of 5 px):\n")
    table(rows)


def main():
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=("all", "alarms"))
    parser.add_argument("--bsd", type=int, default=12, help="how many BSD68 test images")
    parser.add_argument("--seeds", type=int, default=2, help="how many seeds of the noise, from 0")
    parser.add_argument("--steps", type=int, default=0, help="of stage 1, for the alarms of run_two_stage (0: none)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.seed = f"0 to {arguments.seeds - 1}"
    groups = photographs(arguments.bsd)
    if arguments.what == "alarms":
        false_alarms(groups, arguments.seeds, arguments.steps)
        header("white noise, not clipped", arguments)
        return
    structured_noise(groups, arguments.seeds)
    white_noise(groups, arguments.seeds)
    noise_alone(arguments.seeds)
    real_images(fluorescence())
    kinds = f"{', '.join(KINDS)}, lengths {LENGTHS} px (blob 3x3)"
    header(f"white noise {WHITE} + structured noise {STRUCTURED} ({kinds}), not clipped", arguments)


if __name__ == "__main__":
    main()
