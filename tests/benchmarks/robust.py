"""Measures what real images do to a denoiser: hot pixels, borders, empty frames, NaN, counts, clipping."""

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
import skimage.data
from support import find_data, header, number, parsed, table

import n2vlib
from n2vlib.learning.losses import hidden_pixels, recorrupted_error

MODELS = {"plain": None, "gaussian": "gaussian", "photons": "poisson_gaussian"}
SEEDS, HIDDEN = 6, 150  # of the noise drawn to compare models; batches of hidden pixels
PAGES, SIDE = 8, 384  # of a real file, at most


def photograph():
    """Return the middle of the camera man, (256, 256), and it with Gaussian noise of 25; both brighter by 100."""
    clean = skimage.data.camera().astype(float)[128:384, 128:384] + 100
    return clean, clean + np.random.default_rng(0).normal(0, 25, clean.shape)


def cells(count, side, seed):
    """Return painted cells with photon and read noise, clean and noisy, (count, side, side)."""
    pairs = list(n2vlib.datasets.painted_cells(count, side=side, seed=seed))
    return [np.stack([pair[part][0] for pair in pairs]) for part in (0, 1)]


def rings(count, background, rng):
    """Return thin rings of 3 to 6 photons on a dark background, (256, 256)."""
    signal, (y, x) = np.full((256, 256), background), np.mgrid[:256, :256]
    for _ in range(count):
        row, column, radius = rng.uniform(5, 250), rng.uniform(5, 250), rng.uniform(4, 8)
        signal += rng.uniform(3, 6) * np.exp(-(((np.hypot(y - row, x - column) - radius) / 1.5) ** 2))
    return signal


def troubles():
    """Yield name, clean image, noisy image, where it counts, models, and the case it is compared with (None: none)."""
    clean, noisy = photograph()
    everywhere = np.ones(clean.shape, bool)
    yield "photograph", clean, noisy, everywhere, ("plain", "gaussian"), None
    for share, height in ((0.0005, 1000), (0.002, 1000), (0.002, 4000), (0.002, -1000)):
        broken = np.random.default_rng(1).random(clean.shape) < share
        name = f"{share:.2%} pixels of {height:+}"
        yield name, clean, noisy + height * broken, ~broken, ("plain", "gaussian"), "photograph"
    rays = {"4 pixels of +60000": np.s_[100:102, 70:72], "a track of +20000": (np.arange(100, 110), np.arange(70, 80))}
    for name, where in rays.items():
        hit = np.zeros(clean.shape, bool)
        hit[where] = True
        height = float(name.split("+")[1])
        yield name, clean, noisy + height * hit, ~hit, ("plain", "gaussian"), "photograph"
    missing = np.random.default_rng(2).random(clean.shape) < 0.01
    yield "1 % NaN", clean, np.where(missing, np.nan, noisy), ~missing, ("plain", "gaussian"), "photograph"

    (clean,), (noisy,) = cells(1, 256, 1)
    yield "cells", clean, noisy, everywhere, ("plain", "gaussian", "photons"), None
    for share in (0.05, 0.2):
        missing = np.random.default_rng(1).random(clean.shape) < share
        yield f"{share:.0%} NaN", clean, np.where(missing, np.nan, noisy), ~missing, ("plain", "photons"), "cells"
    for share, level in ((0.2, 100), (0.4, 100), (0.5, 100), (0.2, 0)):
        side = round(256 / (1 - share) ** 0.5)
        top = (side - 256) // 2
        border = ((top, side - 256 - top),) * 2
        image, inside = (np.pad(one, border, constant_values=fill) for one, fill in ((noisy, 0), (everywhere, False)))
        image = np.where(inside, image + level, level)
        truth = np.pad(clean + level, border)
        yield f"{share:.0%} border of {level}", truth, image, inside, ("plain", "gaussian", "photons"), "cells"

    clean, noisy = (one + 100 for one in cells(8, 128, 2))
    others = np.broadcast_to(np.arange(8)[:, None, None] != 3, clean.shape)
    yield "stack", clean, noisy, others, ("plain", "gaussian", "photons"), None
    for name, level in (("a frame of 0", 0), ("a frame of 100", 100)):
        image = np.where(others, noisy, level)
        yield name, clean, image, others, ("plain", "gaussian", "photons"), "stack"
    flash = np.where(others, noisy, 100 + np.random.default_rng(3).poisson(40.0 * (clean - 100)))
    yield "a flash, 40 x", clean, flash, others, ("plain", "photons"), "stack"

    rng = np.random.default_rng(0)
    for count, background in ((60, 0.02), (20, 0.003)):
        clean = rings(count, background, rng)
        counts = rng.poisson(clean).astype(np.float32)
        name = f"counts, {(counts == 0).mean():.0%} zeros"
        yield name, clean, counts, everywhere, ("plain", "photons"), "plain"
    photo = skimage.data.camera().astype(float)[128:384, 128:384] / 255
    signal = np.clip((photo - 0.5) * 1.3 + 0.5, -0.05, 1.05) * 65535
    clipped = (signal + np.random.default_rng(0).normal(0, 9000, signal.shape)).clip(0, 65535).round().astype(np.uint16)
    yield "clipped at both ends", signal.clip(0, 65535), clipped, everywhere, ("plain", "gaussian"), "plain"


def measure(image, model, arguments):
    """Train and predict; return the denoised image and the Denoiser."""
    config = n2vlib.N2VConfig(max_steps=arguments.steps, noise_model=model, seed=arguments.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        denoiser = n2vlib.train(image, config)
    return denoiser.predict(image), denoiser


def quality(clean, image, where):
    """Return PSNR and bias, in percent of the range, of the pixels that count."""
    span = np.ptp(clean[where])
    error = image[where] - clean[where]
    return 10 * np.log10(span**2 / np.mean(error**2)), 100 * error.mean() / span


def print_troubles(arguments):
    """Print what each trouble costs."""
    header(f"{arguments.steps} steps; PSNR of the pixels that are not touched, in dB", arguments)
    found, rows = {}, []
    for name, clean, image, where, models, other in troubles():
        if arguments.cases and name not in arguments.cases:
            continue
        for model in models:
            try:
                psnr, bias = quality(clean, measure(image, MODELS[model], arguments)[0], where)
            except ValueError as error:
                rows.append(dict(image=name, model=model, PSNR=str(error)[:60], without=None, loss=None, bias=None))
                continue
            found[name, model] = psnr
            without = found.get((name, "plain")) if other == "plain" else found.get((other, model))
            loss = None if without is None else without - psnr
            row = dict(image=name, model=model, PSNR=number(psnr), without=number(without), loss=number(loss))
            rows.append(row | dict(bias=f"{bias:+.2f} %"))
    table(rows)


def choices():
    """Yield name, clean and noisy image for the choice of a noise model."""
    for name in ("camera", "coins", "brick"):
        photo = getattr(skimage.data, name)().astype(float)[:256, :256]
        rng = np.random.default_rng(0)
        for sigma in (10, 25):
            yield f"{name}, sigma {sigma}", photo, photo + rng.normal(0, sigma, photo.shape)
        for photons in (2, 10, 40):
            signal = photo / 255 * photons
            yield f"{name}, {photons} photons", signal, rng.poisson(signal).astype(float)
        signal = photo / 255 * 40
        yield f"{name}, 40 photons, read noise 3", signal, rng.poisson(signal) + rng.normal(100, 3, signal.shape) - 100
    (clean,), (noisy,) = cells(1, 256, 1)
    yield "cells", clean, noisy


def automatic(image, arguments):
    """Return which of MODELS noise_model="auto" takes for an image, by a training of one step."""
    chosen = measure(image, "auto", argparse.Namespace(**vars(arguments) | dict(steps=1)))[1].config.noise_model
    return next(name for name, model in MODELS.items() if model == chosen)


def print_choices(arguments):
    """Print what noise_model="auto" chooses, and how far that is from the best of the three."""
    header(f"{arguments.steps} steps; PSNR in dB", arguments)
    rows = []
    for name, clean, noisy in choices():
        if arguments.cases and name not in arguments.cases:
            continue
        everywhere = np.ones(clean.shape, bool)
        each = {}
        for model in MODELS:
            try:
                each[model] = quality(clean, measure(noisy, MODELS[model], arguments)[0], everywhere)[0]
            except ValueError:  # no noise found
                each[model] = -np.inf
        model = automatic(noisy, arguments)
        row = dict(image=name) | {key: number(value) for key, value in each.items()}
        rows.append(row | dict(auto=model, behind=number(max(each.values()) - each[model])))
    table(rows)


def real_files():
    """Yield name and the middle of some pages, (N, C, Y, X), of each file in the folder of real data."""
    for path in sorted((Path(os.environ["N2VLIB_DATA"]) / "real").glob("*.tif")):
        stack = n2vlib.read_stack(path)[0]
        top, left = (max(0, length - SIDE) // 2 for length in stack.shape[2:])
        yield path.stem, np.array(stack[:: -(-len(stack) // PAGES), :, top : top + SIDE, left : left + SIDE])


def errors_without_truth(pages, report, arguments):
    """Return each model's recorrupted and blind errors of pages (N, Y, X), and the last one's squared uncertainty.

    In percent of the noise's variance. The blind error, of hidden pixels, needs no law and holds all of the noise:
    below 100 the law says too much. It is that of the same pixels for all.
    """
    law, recorrupted, blind = report.law, {}, {}
    shot = [(law.gain, law.dark)] if law.gain > 0 else None
    known = dict(covariance=law.covariance.tolist(), shot=shot, lines=[law.lines], waves=[law.frequencies])
    percent = 100 / (law.covariance.max() + law.gain * (pages.mean() - law.dark))
    for name, model in MODELS.items():
        denoiser = measure(pages, model, arguments)[1]
        found = [recorrupted_error(denoiser, pages, **known, draws=2, seed=seed) for seed in range(SEEDS)]
        recorrupted[name] = percent * np.array(found)
        ((_, errors),) = hidden_pixels(denoiser, pages, denoiser.config, HIDDEN)
        blind[name] = percent * errors.numpy()
    return recorrupted, blind, percent * np.nanmean(denoiser.uncertainty(pages) ** 2)


def behind(errors, name):
    """Return how far the errors of one model are above the least, with the standard error, for the table."""
    difference = errors[name] - min(errors.values(), key=np.mean)  # with the same noise drawn, or the same pixels
    return f"{difference.mean():.2f} +- {difference.std(ddof=1) / len(difference) ** 0.5:.2f}"


def print_real(arguments):
    """Print what "auto" chooses for real files, which have no truth, and each model's recorrupted and blind error."""
    find_data()
    header(f"{arguments.steps} steps; errors in percent of the noise's variance", arguments)
    rows = []
    for name, stack in real_files():
        auto = automatic(stack, arguments)
        for c, pages in enumerate(stack.swapaxes(0, 1)):
            report = n2vlib.noise_report(pages)
            errors, blind, unsure = errors_without_truth(pages, report, arguments)
            row = {"file": name, "channel": c} | {key: number(errors[key].mean()) for key in MODELS}
            row |= dict(auto=auto, behind=behind(errors, auto))
            row |= {"blind error": number(blind[auto].mean()), "blind, behind": behind(blind, auto)}
            rows.append(row | {"0.1 dB": number(unsure * (10**0.01 - 1)), "law": "decided" * report.decided})
    table(rows)


def main():
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("troubles", "choices", "real"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--cases", nargs="+", help="only these images of `troubles` or `choices`")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    arguments = parsed(parser)
    dict(troubles=print_troubles, choices=print_choices, real=print_real)[arguments.command](arguments)


if __name__ == "__main__":
    main()
