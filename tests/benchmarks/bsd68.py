"""BSD68: train the weights in data/models, and print the table of the README (see README.md).

    python tests/benchmarks/bsd68.py train bsd68_noise_model   # writes data/models/bsd68_noise_model.pt and .json
    python tests/benchmarks/bsd68.py tune bsd68_noise_model    # goes on from these with fewer blind pixels
    python tests/benchmarks/bsd68.py classical                 # writes data/models/bsd68_classical.json
    python tests/benchmarks/bsd68.py seconds                   # times predictions anew, on a machine at rest
    python tests/benchmarks/bsd68.py table                     # evaluates all weights on all 68 images
    python tests/benchmarks/bsd68.py study                     # what mattered: short trainings that differ in one thing
    python tests/benchmarks/bsd68.py leaks                     # how far a blind prediction and a constant leak can come
    python tests/benchmarks/bsd68.py told                      # how far row 3's network comes if it is told the truth
    python tests/benchmarks/bsd68.py similar                   # row 3, corrected by similar patches and residuals
    python tests/benchmarks/bsd68.py adapted                   # row 3, trained a little more on each noisy test image
    python tests/benchmarks/bsd68.py levels                    # row 3 and noise of other strengths than it learned

BSD68 is looked for as everywhere in n2vlib: N2VLIB_DATA, or the authors' archive is downloaded.
"""

import argparse
import copy
import dataclasses
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import timed
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet
from support import ROOT, SIGMA, circumstances, find_data, header, parsed, run_bm3d, say, table

import n2vlib
from n2vlib.images.writing import written_beside
from n2vlib.learning.losses import own_influence
from n2vlib.learning.network import build_network, set_apart
from n2vlib.learning.optimizers import build_optimizers, cosine_schedule, update_average
from n2vlib.learning.patches import crop_patches
from n2vlib.noise.models import expected_signal, mean_and_variance

MODELS = ROOT / "data" / "models"
COMMON = dict(num_channels_init=32, seed=0)
RECIPES = {
    "bsd68_noise2void": dict(max_steps=14000, strategy="uniform_withCP", roi_size=5),
    "bsd68_n2v2": dict(max_steps=14000, n2v2=True, roi_size=5),
    "bsd68_noise_model": dict(max_steps=40000, noise_model="gaussian"),
    "bsd68_recorrupted": dict(max_steps=8000, batch_size=8, learning_rate=1e-3, recorruption=0.25),  # and covariance
}
# Blind pixels in the context are a hindrance that prediction does not have: at the end few of them are better.
FEW = dict(masked_pixel_percentage=2.8, learning_rate=5e-4, batch_size=8)
FEWEST = dict(masked_pixel_percentage=1.0, learning_rate=3e-4, batch_size=8, patch_size=128, max_steps=3000)
TUNING = {  # one after the other
    "bsd68_noise2void": [FEW | dict(max_steps=4000)],
    "bsd68_n2v2": [FEW | dict(max_steps=4000), FEWEST],
    "bsd68_noise_model": [FEW | dict(max_steps=8000)] * 2 + [FEWEST, FEWEST | dict(components=3)],
}
MANY = dict(masked_pixel_percentage=11.0, patch_size=160, batch_size=4)  # hidden pixels, to measure the noise level
ADAPTING = FEW | dict(learning_rate=3e-4, patch_size=64, seed=0)
BEGIN_WITH = {"bsd68_recorrupted": "bsd68_noise_model"}  # recorruption goes on from its weights, by `means_alone`
HOW = "sha256 config steps training_seconds command hardware software date remark".split()
SMALL = dict(max_steps=4000, seed=0)  # of the study: the defaults of N2VConfig, about a minute on two cores
STUDY = {
    "Noise2Void, neighbours alone, roi 11": dict(),
    "Noise2Void, centre in the draw, roi 5": dict(strategy="uniform_withCP", roi_size=5),
    "Noise2Void, centre in the draw, roi 3": dict(strategy="uniform_withCP", roi_size=3),
    "N2V2, roi 11": dict(n2v2=True),
    "N2V2, roi 5": dict(n2v2=True, roi_size=5),
    "noise model": dict(noise_model="gaussian"),
    "noise model, 6.25 % blind": dict(noise_model="gaussian", masked_pixel_percentage=6.25),
}
FILTERS = {
    "noisy": lambda noisy: noisy,
    "wavelet": lambda noisy: denoise_wavelet(noisy, SIGMA, rescale_sigma=False),
    "total variation": lambda noisy: denoise_tv_chambolle(noisy, weight=0.9 * SIGMA),
    "non-local means": lambda noisy: denoise_nl_means(
        noisy, patch_size=5, patch_distance=6, h=0.8 * SIGMA, sigma=SIGMA, preserve_range=True
    ),
}


def train(arguments):
    """Train one row of the table and write its weights and record."""
    settings, start = RECIPES[arguments.name], None
    if arguments.name in BEGIN_WITH:  # the noise level is measured on the images too, by the network of row 3
        start = n2vlib.load_pretrained(BEGIN_WITH[arguments.name])
        measured = n2vlib.learning.blind_sigma(start, n2vlib.datasets.bsd68(seed=0).train)
        settings = settings | dict(covariance=covariance_of_white(measured[0]))
        start = means_alone(start, n2vlib.N2VConfig(**(COMMON | settings)))
    make(arguments, settings, start)


def tune(arguments):
    """Go on from the trained weights of a row with few blind pixels, and write weights and record anew."""
    start, plans = n2vlib.load_pretrained(arguments.name), TUNING[arguments.name]
    done = len(n2vlib.datasets.pretrained_record(arguments.name).get("before", []))
    if done == len(plans):
        raise SystemExit(f"{arguments.name} has had its {done} tunings: add one to TUNING, or begin with train")
    settings, calmest = RECIPES[arguments.name] | plans[done] | dict(seed=done + 1), {}
    if start.noise is not None:  # the sigma of the first training was an estimate from the images, too high
        if done > 1:
            calmest = dict(share=1, batches=1000, **MANY)
        settings["noise_sigma"] = n2vlib.learning.blind_sigma(start, n2vlib.datasets.bsd68(seed=0).train, **calmest)
    if settings.get("components", 1) > start.config.components:
        start = split_densities(start, settings["components"])
    make(arguments, settings, start)


def covariance_of_white(sigma):
    """Return the covariance of white noise as N2VConfig takes it: 3x3 distances, none but 0 with any."""
    return np.pad([[float(sigma) ** 2]], 1).tolist()


def means_alone(start, config):
    """Return a Denoiser whose one output is the mean of the means of the normal densities of the Denoiser `start`."""
    network, weights = build_network(config, len(start.mean)), start.network.state_dict()
    for name in [name for name in weights if ".last." in name]:
        weights[name] = weights[name][: start.config.components].mean(dim=0, keepdim=True)
    network.load_state_dict(weights)
    return n2vlib.Denoiser(network, config, start.mean, start.std)


def split_densities(one, count):
    """Return a Denoiser that predicts `count` normal densities, each nearly the only one of the Denoiser `one`."""
    config = dataclasses.replace(one.config, components=count)
    network, weights = build_network(config, len(one.mean)), one.network.state_dict()
    for name in [name for name in weights if ".last." in name]:
        mean, variance = weights[name]
        weights[name] = torch.zeros_like(network.state_dict()[name])  # logits of 0: equal shares
        weights[name][:count], weights[name][count : 2 * count] = mean, variance
    network.load_state_dict(weights)
    set_apart(network, count, 0.15)
    return n2vlib.Denoiser(network, config, one.mean, one.std, one.noise, {}, one.leak)


def make(arguments, settings, start=None):
    """Train (from `start` on), evaluate, and write weights and record."""
    images = n2vlib.datasets.bsd68(seed=0)
    config = n2vlib.N2VConfig(**(COMMON | settings))
    said = [time.perf_counter()]

    def report(progress):
        if time.perf_counter() - said[0] > 60:
            said[0] = time.perf_counter()
            say(f"step {progress.step}, loss {progress.loss:.4f}, {progress.seconds_left / 60:.0f} min left")

    denoiser = n2vlib.train(images.train, config, callbacks=[report], start=start)
    path = arguments.folder / f"{arguments.name}.pt"
    denoiser.save(path)
    scores, prediction = timed(evaluate, images, denoiser)
    record = dict(
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        data=source(images),
        config=dataclasses.asdict(denoiser.config),
        noise_sigma=None if denoiser.noise is None else denoiser.noise[1][0] ** 0.5,
        leak=denoiser.leak,
        steps=denoiser.history["steps"][-1],
        training_seconds=round(denoiser.history["seconds"][-1]),
        **circumstances(),
        **scores,
    )
    if start is not None:
        first = n2vlib.datasets.pretrained_record(BEGIN_WITH.get(arguments.name, arguments.name))
        record["before"] = [*first.get("before", []), training_before(first)]
    write(path.with_suffix(".json"), record)
    say(f"{arguments.name}: {record['training_seconds']} s of training, evaluation {prediction:.0f} s")
    say(json.dumps({name: round(float(np.mean(scores[name])), 3) for name in scores}))


def training_before(record):
    """Return what a record says of its training, for the record of the training that went on from it."""
    kept = {name: record[name] for name in HOW if name in record}
    return kept | {f"mean_{name}": round(float(np.mean(record[name])), 3) for name in ("psnr", "psnr_tta")}


def all_seconds(record):
    """Return how long a row was trained in all."""
    return sum(part["training_seconds"] for part in (*record.get("before", []), record))


def evaluate(images, denoiser):
    """Return the metrics of each test image, without and with self-ensemble, and the seconds of a prediction."""
    scores = {}
    for suffix, how in passes(denoiser).items():
        results, seconds = zip(*(timed(denoiser.predict, noisy, **how) for noisy in images.noisy))
        scores |= {name + suffix: values for name, values in entry(images, results, seconds).items()}
    return scores


def passes(denoiser):
    """Return, by suffix in the record, how to predict with one pass of the network and with eight."""
    if denoiser.config.covariance is None:
        return {"": dict(tta=False), "_tta": dict(tta=True)}
    return {"": dict(draws=1), "_tta": dict(draws=8)}  # each draw of the noise in another of the 8 turns


def classical(arguments):
    """Denoise the 68 images with the classical methods and BM3D, told the true sigma, and write the record."""
    images = n2vlib.datasets.bsd68(seed=0)
    record = circumstances() | dict(data=source(images))
    results, version = run_classical(images.noisy)
    for name, pairs in results.items():
        record[name] = entry(images, *zip(*pairs))
    record["BM3D"]["version"] = version
    write(arguments.folder / "bsd68_classical.json", record)


def run_classical(noisy):
    """Denoise images by each classical method; return, by name, pairs of image and seconds; and BM3D's version."""
    noisy = {f"{n:03d}": image.astype(np.float64) for n, image in enumerate(noisy)}
    results = {name: [timed(method, image) for image in noisy.values()] for name, method in FILTERS.items()}
    with tempfile.TemporaryDirectory() as folder:
        by_bm3d, version = run_bm3d(noisy, Path(folder))
    return results | {"BM3D": list(by_bm3d.values())}, version


def entry(images, results, seconds):
    """Return metrics and seconds of one method's results."""
    metrics = n2vlib.evaluate(images.clean, results)
    metrics = {name: np.round(values, 4).tolist() for name, values in metrics.items()}
    return metrics | dict(seconds=np.round(seconds, 4).tolist())


def seconds(arguments):
    """Measure the seconds of a prediction on every 11th test image again, and put them into the records."""
    noisy = n2vlib.datasets.bsd68(seed=0).noisy[::11]
    for name in RECIPES:
        denoiser, record = n2vlib.load_pretrained(name), n2vlib.datasets.pretrained_record(name)
        denoiser.predict(noisy[0])  # the first one is slower
        for suffix, how in passes(denoiser).items():
            times = [timed(denoiser.predict, image, **how)[1] for image in noisy]
            record["seconds" + suffix] = np.round(times, 4).tolist()
        record["seconds_hardware"] = circumstances()["hardware"]
        write(arguments.folder / f"{name}.json", record)
        say(f"{name}: {np.mean(record['seconds']):.2f} s, self-ensemble {np.mean(record['seconds_tta']):.2f} s")
    seconds_of_others(arguments, noisy)


def seconds_of_others(arguments, noisy):
    """Measure the classical methods' seconds again, and put them into their record."""
    record = n2vlib.datasets.pretrained_record("bsd68_classical")
    for name, pairs in run_classical(noisy)[0].items():
        record[name]["seconds"] = [round(seconds, 4) for _, seconds in pairs]
    record["seconds_hardware"] = circumstances()["hardware"]
    write(arguments.folder / "bsd68_classical.json", record)


def source(images):
    """Return where images come from, without this machine's folder."""
    return images.source.replace(str(os.environ.get("N2VLIB_DATA")), "N2VLIB_DATA")


def write(path, record):
    """Write a record as JSON, one line an entry, beside and then into place."""
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in record.items()]
    with written_beside(path) as file:
        file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())


def show(arguments):
    """Evaluate the weights on the 68 images and print all rows as markdown."""
    images = n2vlib.datasets.bsd68(seed=0)
    recorded = n2vlib.datasets.pretrained_record("bsd68_classical")
    names = ["noisy", "wavelet", "total variation", "non-local means", "BM3D"]
    rows = [row(f"{name} (recorded)", recorded[name]) for name in names]
    for name in RECIPES:
        scores, record = evaluate(images, n2vlib.load_pretrained(name)), n2vlib.datasets.pretrained_record(name)
        rows.append(row(name, scores, "", all_seconds(record)))
        rows.append(row(f"{name}, self-ensemble", scores, "_tta", all_seconds(record)))
    arguments.seed = 0
    header(source(images), arguments)
    table(rows)


def study(arguments):
    """Train briefly with one setting changed at a time, and print what every fourth test image gained."""
    images = n2vlib.datasets.bsd68(seed=0)
    noisy, clean, rows = images.noisy[::4], images.clean[::4], []
    for name, changes in STUDY.items():
        denoiser = n2vlib.train(images.train, n2vlib.N2VConfig(**(SMALL | changes)))
        decibels = [
            np.mean(n2vlib.evaluate(clean, [denoiser.predict(image, tta=tta) for image in noisy])["psnr"])
            for tta in (False, True)
        ]
        pixels = np.s_[..., 16::32, 16::32]  # further apart than the network sees
        leaks = [own_influence(denoiser.network, denoiser.normalise(image[None, None]), pixels) for image in noisy]
        values = dict(psnr=decibels[0], tta=decibels[1], leak=float(np.mean(leaks)))
        rows.append(dict(setting=name, seconds=round(denoiser.history["seconds"][-1])) | values)
        say(json.dumps(rows[-1]))
    arguments.seed = 0
    header(f"{len(noisy)} test images of BSD68, {SMALL['max_steps']} steps, width 16", arguments)
    table([row | {key: f"{row[key]:.3f}" for key in ("psnr", "tta", "leak")} for row in rows])


def leaks(arguments):
    """Mix the blind mean of the noise model's network with the noisy image, and print the PSNR of each share."""
    images, denoiser = n2vlib.datasets.bsd68(seed=0), n2vlib.load_pretrained("bsd68_noise_model")
    shares, values = (0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24), []
    for clean, noisy in zip(images.clean, images.noisy):
        clean, noisy = (image[: len(image) // 4 * 4, : image.shape[1] // 4 * 4] for image in (clean, noisy))
        with torch.no_grad():
            mean, _ = mean_and_variance(denoiser.network(denoiser.normalise(noisy[None])[None]), 1)
        blind = denoiser.denormalise(mean[0].numpy())[0]
        values.append([n2vlib.psnr(clean, (1 - share) * blind + share * noisy) for share in shares])
    arguments.seed = 0
    header(f"{len(values)} test images of BSD68, mean PSNR (dB)", arguments)
    table([{"share of the noisy pixel": w, "PSNR": f"{v:.2f}"} for w, v in zip(shares, np.mean(values, axis=0))])


def told(arguments):
    """Go on from row 3 with targets that nobody has, nearly clean: what could its network reach at all?"""
    arguments.seed = 0
    images, start = n2vlib.datasets.bsd68(seed=0), n2vlib.load_pretrained("bsd68_noise_model")
    targets = np.mean([n2vlib.datasets.bsd68(seed=seed).train for seed in range(1, 9)], axis=0)
    if np.allclose(targets, images.train):
        raise SystemExit("this needs the clean PNGs of BSD68, of which other noisy copies can be made")
    config = n2vlib.N2VConfig(batch_size=8, learning_rate=5e-4, max_steps=1600)
    network, generator = start.network, torch.Generator().manual_seed(arguments.seed)
    average, optimizers = copy.deepcopy(network), build_optimizers(network, config)
    both = np.stack([images.train, targets], axis=1)
    for step in range(config.max_steps):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = config.learning_rate * cosine_schedule(step / config.max_steps)
        patches = start.normalise(crop_patches(both, range(len(both)), config, generator)[0])
        noisy, target = patches.split(1, dim=1)
        network.zero_grad()
        guess = expected_signal(network(noisy), noisy, *start.normal_noise())
        ((guess - target) ** 2).mean().backward()
        for optimizer in optimizers:
            optimizer.step()
        update_average(list(average.parameters()), list(network.parameters()), step, config.average_weights)
        if step % 100 == 0:
            say(f"step {step}")
    start.network = average
    scores = evaluate(images, start)
    header(f"BSD68, targets with noise of {SIGMA / 8**0.5:.0f} instead of {SIGMA}, {config.max_steps} steps", arguments)
    table([row("row 3, told the truth", scores), row("row 3, told the truth, self-ensemble", scores, "_tta")])


def recorruption(arguments):
    """Train recorrupted from row 1's weights, briefly, with less and less noise added: how much is best?"""
    arguments.seed = 0
    images, rows = n2vlib.datasets.bsd68(seed=0), []
    sigma = n2vlib.datasets.pretrained_record("bsd68_noise_model")["noise_sigma"]
    known = dict(covariance=covariance_of_white(sigma), max_steps=arguments.steps)
    for a in (0.5, 0.35, 0.25):
        config = n2vlib.N2VConfig(**(COMMON | RECIPES["bsd68_recorrupted"] | known | dict(recorruption=a)))
        denoiser = n2vlib.train(images.train, config, start=n2vlib.load_pretrained("bsd68_noise2void"))
        pairs = list(zip(images.clean[::8], images.noisy[::8]))
        scores = {n: np.mean([n2vlib.psnr(s, denoiser.predict(y, draws=n)) for s, y in pairs]) for n in (1, 8)}
        rows.append({"a": a} | {f"PSNR (dB), draws: {n}": f"{score:.2f}" for n, score in scores.items()})
        say(rows[-1])
    header(f"every eighth test image of BSD68, {arguments.steps} steps", arguments)
    table(rows)


def similar(arguments):
    """Correct row 3's results by similar patches and residuals, and print what each image gains."""
    arguments.seed = 0
    images, denoiser = n2vlib.datasets.bsd68(seed=0), n2vlib.load_pretrained("bsd68_noise_model")
    results, seconds = zip(*(timed(denoiser.predict, noisy, tta=True, similar=True) for noisy in images.noisy))
    scores = entry(images, results, seconds)
    header(source(images), arguments)
    table([row("row 3, self-ensemble, similar patches and residuals", scores)])
    print_gains(scores["psnr"], range(len(images.noisy)))


def print_gains(decibels, numbers):
    """Print how far results of some test images are above row 3 with self-ensemble, and above BM3D."""
    recorded = n2vlib.datasets.pretrained_record
    row3, bm3d = recorded("bsd68_noise_model")["psnr_tta"], recorded("bsd68_classical")["BM3D"]["psnr"]
    gains, ahead = (np.subtract(decibels, [other[n] for n in numbers]) for other in (row3, bm3d))
    print(f"- gain over self-ensemble alone: mean {gains.mean():.3f} dB, {gains.min():.2f} to {gains.max():.2f} dB")
    print(f"- above BM3D on {(ahead > 0).sum()} of {len(ahead)} images, mean {ahead.mean():.2f} dB")


def adapted(arguments):
    """Go on from row 3 with each noisy test image by itself, and print what each of them gains."""
    arguments.seed = 0
    images, start = n2vlib.datasets.bsd68(seed=0), n2vlib.load_pretrained("bsd68_noise_model")
    config = dataclasses.replace(start.config, **ADAPTING, max_steps=arguments.steps)
    ways = {"self-ensemble": {}, "similar patches too": dict(similar=True)}
    numbers, spent, pairs = range(arguments.first, len(images.noisy), arguments.every), [], {way: [] for way in ways}
    for n in numbers:
        own, seconds = timed(n2vlib.train, images.noisy[n], config, start=start)
        spent.append(seconds)
        for way, how in ways.items():
            pairs[way].append(timed(own.predict, images.noisy[n], tta=True, **how))
        say(f"{n + 1}: {[round(n2vlib.psnr(images.clean[n], results[-1][0]), 3) for results in pairs.values()]}")
    header(source(images), arguments)
    chosen = images._replace(clean=[images.clean[n] for n in numbers])
    scores = {way: entry(chosen, *zip(*results)) for way, results in pairs.items()}
    table([row(f"row 3, adapted, {way}", values, "", round(sum(spent))) for way, values in scores.items()])
    for way, values in scores.items():
        print(f"\n{way}:\n")
        print_gains(values["psnr"], numbers)


def levels(arguments):
    """Give row 3's weights noise of other strengths: as they are, normalised as they know it, and after some steps."""
    arguments.seed = 0
    images, start, rows = n2vlib.datasets.bsd68(seed=0), n2vlib.load_pretrained("bsd68_noise_model"), []
    for sigma in (10, 15, 25, 40, 60):
        config = dataclasses.replace(start.config, **ADAPTING | dict(noise_sigma=sigma, max_steps=arguments.steps))
        scores = []
        for clean in images.clean[::8]:
            noisy = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
            tuned = n2vlib.train(noisy, config, start=start)
            units = ([noisy.mean()], [noisy.std()]), (tuned.mean, tuned.std)
            told = [n2vlib.Denoiser(start.network, start.config, *each, tuned.noise, {}, start.leak) for each in units]
            scores.append([n2vlib.psnr(clean, denoiser.predict(noisy)) for denoiser in (start, *told, tuned)])
        names = "as they are", "told sigma, own spread", "noise as they know it", f"{arguments.steps} steps more"
        rows.append({"sigma": sigma} | {name: f"{mean:.2f}" for name, mean in zip(names, np.mean(scores, axis=0))})
        say(rows[-1])
    header("every eighth test image of BSD68, PSNR (dB) without self-ensemble", arguments)
    table(rows)


def row(name, scores, suffix="", training=None):
    """Return one row of the table: means over the images."""
    mean = {key: float(np.mean(scores[key + suffix])) for key in ("psnr", "scale_invariant_psnr", "ssim", "seconds")}
    return {
        "method": name,
        "PSNR (dB)": f"{mean['psnr']:.2f}",
        "scale-invariant PSNR": f"{mean['scale_invariant_psnr']:.2f}",
        "SSIM": f"{mean['ssim']:.3f}",
        "seconds an image": f"{mean['seconds']:.2f}",
        "training (s)": training,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--folder", type=Path, default=MODELS, help="where weights and records are written")
    commands = parser.add_subparsers(required=True, metavar="command")
    for task in (train, tune):
        command = commands.add_parser(task.__name__, help=task.__doc__)
        command.add_argument("name", choices=RECIPES if task is train else TUNING)
        command.set_defaults(run=task)
    commands.add_parser("classical", help=classical.__doc__).set_defaults(run=classical)
    commands.add_parser("seconds", help=seconds.__doc__).set_defaults(run=seconds)
    commands.add_parser("table", help=show.__doc__).set_defaults(run=show)
    for task in (study, leaks, told, similar):
        commands.add_parser(task.__name__, help=task.__doc__).set_defaults(run=task)
    command = commands.add_parser("adapted", help=adapted.__doc__)
    command.add_argument("--steps", type=int, default=1000, help="of training on each image")
    command.add_argument("--every", type=int, default=1, help="2: on every second image")
    command.add_argument("--first", type=int, default=0, help="1: from the second image on")
    command.set_defaults(run=adapted)
    command = commands.add_parser("levels", help=levels.__doc__)
    command.add_argument("--steps", type=int, default=100)
    command.set_defaults(run=levels)
    command = commands.add_parser("recorruption", help=recorruption.__doc__)
    command.add_argument("--steps", type=int, default=800)
    command.set_defaults(run=recorruption)
    arguments = parsed(parser)
    find_data()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
