"""The benchmark of n2vlib: each command prints one or two markdown tables (see README.md)."""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import skimage
import torch
from measure import timed
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet, estimate_sigma
from support import (
    SIGMA,
    ask,
    digest,
    header,
    load_pair,
    number,
    ours,
    parsed,
    peer_python,
    run_bm3d,
    say,
    table,
    train_careamics,
)
from torch import nn

import n2vlib
from n2vlib.learning.device import choose_device, fast_numbers
from n2vlib.learning.network import UNet, build_network

MODELS = {"plain": None, "gaussian": "gaussian"}  # our noise models, by their name in the tables
PHOTOGRAPHS = ("camera", "astronaut", "coffee", "chelsea")
WARM_UP = 20  # steps that `floor` does not time

# Single: everyone on one image.


def single(arguments):
    """Compare ours, CAREamics, BM3D and classical filters on one noisy photograph."""
    clean, noisy = load_pair(arguments.image)
    rows = [score("noisy", clean, noisy)]
    limit = dict(max_seconds=arguments.seconds)
    rows += score_ours("ours, plain Noise2Void", clean, noisy, ours(arguments, **limit))
    rows += score_ours("ours, Gaussian noise model", clean, noisy, ours(arguments, **limit, noise_model="gaussian"))
    paper = n2vlib.N2VConfig.paper(**limit, seed=arguments.seed)
    rows += score_ours("ours, N2VConfig.paper()", clean, noisy, paper, both=False)
    rows += score_filters(clean, noisy)
    target, peer_seconds = arguments.target, None
    if not arguments.no_peers:
        with tempfile.TemporaryDirectory() as folder:
            rows += score_bm3d(clean, noisy, Path(folder))
            peers, target, peer_seconds = score_careamics(clean, noisy, Path(folder), arguments)
            rows += peers
    races = [] if target is None else [race(clean, noisy, target, peer_seconds, m, arguments) for m in MODELS]
    header(f"BSD68 test image {arguments.image:03d} ({digest(clean)}), noise sigma {SIGMA}, not clipped", arguments)
    table(rows)
    if races:
        print(f"Training time from scratch to {target:.2f} dB, without self-ensemble:\n")
        table(races)


def score(name, clean, image, train=None, predict=None, steps=None):
    """Return the table row of one denoised image."""
    row = {
        "method": name,
        "PSNR (dB)": number(n2vlib.psnr(clean, image)),
        "scale-invariant PSNR": number(n2vlib.scale_invariant_psnr(clean, image, data_range=255)),
        "SSIM": number(n2vlib.ssim(clean, image), 3),
        "training (s)": number(train, 1),
        "prediction (s)": number(predict),
        "steps": steps,
    }
    say(" ".join(str(value) for value in row.values() if value is not None))
    return row


def score_ours(name, clean, noisy, config, both=True):
    """Train once, and return the rows of the prediction without and with self-ensemble."""
    denoiser, train = timed(n2vlib.train, noisy, config)
    rows = []
    for tta in (False, True)[: 1 + both]:
        image, predict = timed(denoiser.predict, noisy, tta=tta)
        label = f"{name}, self-ensemble" if tta else name
        rows.append(score(label, clean, image, train, predict, denoiser.history["steps"][-1]))
    return rows


def score_filters(clean, noisy):
    """Return the rows of scikit-image's filters, told the sigma that scikit-image estimates."""
    sigma = estimate_sigma(noisy)
    filters = {
        "wavelet, BayesShrink": lambda: denoise_wavelet(noisy, sigma=sigma, method="BayesShrink", rescale_sigma=True),
        # The default weight, 0.1, suits noise of 0.1 of the range.
        "total variation, Chambolle": lambda: denoise_tv_chambolle(noisy / 255, weight=sigma / 255) * 255,
        "non-local means": lambda: denoise_nl_means(noisy, h=0.8 * sigma, sigma=sigma, patch_size=5, patch_distance=6),
    }
    results = {name: timed(run) for name, run in filters.items()}
    return [score(f"scikit-image, {name}", clean, image, None, s) for name, (image, s) in results.items()]


def score_bm3d(clean, noisy, folder):
    """Return the row of BM3D, told the true sigma."""
    results, version = run_bm3d(dict(noisy=noisy), folder)
    image, seconds = results["noisy"]
    return [score(f"BM3D {version}, told sigma {SIGMA}", clean, image, None, seconds)]


def score_careamics(clean, noisy, folder, arguments):
    """Return CAREamics' rows, and the PSNR and the training seconds of the last."""
    say("CAREamics trains")
    answer = train_careamics(noisy, folder, arguments, arguments.marks)
    versions, rows = answer["versions"], []
    for mark in answer["marks"]:
        image = np.load(mark["file"])
        rate = f"{mark['epochs']} epochs, rate now {mark['learning_rate']:.0e}"
        name = f"CAREamics {versions['careamics']} (torch {versions['torch']}; {rate})"
        rows.append(score(name, clean, image, mark["seconds"], mark["predict_seconds"], mark["steps"]))
    return rows, n2vlib.psnr(clean, image), mark["seconds"]


def race(clean, noisy, target, peer_seconds, model, arguments):
    """Train from scratch with longer and longer budgets until a PSNR is reached; return the row."""
    for budget in arguments.budgets:
        config = ours(arguments, max_seconds=budget, noise_model=MODELS[model])
        denoiser, seconds = timed(n2vlib.train, noisy, config)
        reached = n2vlib.psnr(clean, denoiser.predict(noisy))
        say(f"{model}, budget {budget:g} s: {reached:.2f} dB, wanted {target:.2f}")
        if reached >= target:
            break
    there = reached >= target
    return {
        "ours": model,
        "first budget (s)": f"{budget:g}" if there else f"not within {budget:g}",
        "seconds taken": number(seconds),
        "PSNR (dB)": number(reached),
        "CAREamics (s)": number(peer_seconds, 1),
        "ratio": number(peer_seconds / seconds, 1) if there and peer_seconds else None,
    }


# Twelve: image by image beside BM3D.


def twelve(arguments):
    """Compare ours with BM3D, which is told the true sigma, image by image."""
    pairs = {n: photograph_pair(n) if n in PHOTOGRAPHS else load_pair(int(n)) for n in map(str, arguments.images)}
    theirs, version = {}, ""
    if not arguments.no_peers:
        with tempfile.TemporaryDirectory() as folder:
            theirs, version = run_bm3d({name: noisy for name, (_, noisy) in pairs.items()}, Path(folder))
            version = f"; BM3D {version}, told sigma"
    model = MODELS[arguments.model]
    config = ours(arguments, max_seconds=arguments.seconds, noise_model=model)
    rows = []
    for name, (clean, noisy) in pairs.items():
        rows.append(compare(clean, noisy, config, theirs.get(name), arguments.start))
        say(name + "".join(f"  {key} {value:.3f}" for key, value in rows[-1].items() if value is not None))
    which = f"BSD68 test images, or scikit-image's at 256x256: {', '.join(pairs)}"
    header(f"{which}; noise sigma {SIGMA}, not clipped{version}", arguments)
    rows.append({key: mean(row[key] for row in rows) for key in rows[0]})
    digits = dict(steps=0, leak=4)
    names = [*pairs, "mean"]
    table([{"image": n} | {k: number(v, digits.get(k, 2)) for k, v in row.items()} for n, row in zip(names, rows)])


def photograph_pair(name):
    """Return one of scikit-image's photographs, the middle at 256x256 pixels in grey, and its noisy version."""
    image = getattr(skimage.data, name)()
    grey = skimage.color.rgb2gray(image[..., :3]) * 255 if image.ndim == 3 else image.astype(np.float64)
    side = min(grey.shape)
    top, left = ((length - side) // 2 for length in grey.shape)
    square = grey[top : top + side, left : left + side]
    clean = skimage.transform.resize(square, (256, 256), anti_aliasing=True, preserve_range=True)
    return clean, clean + np.random.default_rng(0).normal(0, SIGMA, clean.shape)


def compare(clean, noisy, config, bm3d, start=None):
    """Train on one image and return its numbers: PSNR in dB, sigma in intensity units."""
    denoiser = n2vlib.train(noisy, config, start=start and n2vlib.load_pretrained(start))
    with_tta = n2vlib.psnr(clean, denoiser.predict(noisy, tta=True))
    similar = None
    if denoiser.noise is not None:
        similar = n2vlib.psnr(clean, denoiser.predict(noisy, tta=True, similar=True))
    peer = bm3d and n2vlib.psnr(clean, bm3d[0])
    return {
        "noisy": n2vlib.psnr(clean, noisy),
        "ours": n2vlib.psnr(clean, denoiser.predict(noisy)),
        "ours, self-ensemble": with_tta,
        "BM3D": peer,
        "gap": peer and with_tta - peer,
        "ours, similar patches too": similar,
        "its gap": peer and similar and similar - peer,
        "sigma": denoiser.noise and denoiser.noise[1][0] ** 0.5,
        "leak": denoiser.leak if denoiser.noise else None,
        "steps": denoiser.history["steps"][-1],
    }


def mean(values):
    """Return the mean of numbers, or None if one is missing."""
    values = list(values)
    return None if None in values else statistics.fmean(values)


# Predict: memory and speed.


def predict(arguments):
    """Measure the peak memory and the speed of prediction on a large image, each in a fresh process."""
    _, noisy = load_pair(5)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows = [predict_ours(noisy, model, folder, arguments) for model in MODELS]
        if not arguments.no_peers:
            rows.append(predict_careamics(noisy, folder, arguments))
    header("BSD68 test image 005 with noise, repeated to the size named, float32; one warm-up on 256x256", arguments)
    table(rows)


def large_image(noisy, side, folder):
    """Repeat an image to a large square, save it as float32 and return the path."""
    times = [-(-side // length) for length in noisy.shape]
    np.save(folder / f"{side}.npy", np.tile(noisy.astype(np.float32), times)[:side, :side])
    return folder / f"{side}.npy"


def predict_ours(noisy, model, folder, arguments):
    """Return our row: a network trained for 5 steps, loaded and run in a fresh process."""
    denoiser = n2vlib.train(noisy, ours(arguments, max_steps=5, noise_model=MODELS[model]))
    denoiser.save(folder / "model.pt")
    image = large_image(noisy, arguments.side, folder)
    threads = torch.get_num_threads()
    answer = ask(sys.executable, "predict_ours.py", folder / "model.pt", image, "--threads", threads)
    leak = f" (leak {denoiser.leak:.4f})" if denoiser.noise else ""  # above 0.05 the pixels are hidden, in many passes
    return row_of_prediction(f"ours, {model}{leak}", arguments.side, answer)


def predict_careamics(noisy, folder, arguments):
    """Return CAREamics' row, after a few seconds of training, in tiles of 256 px that overlap by 48."""
    mark = train_careamics(noisy, folder, arguments, marks=[3])["marks"][0]
    image = large_image(noisy, arguments.peer_side, folder)
    options = ("--checkpoint", mark["checkpoint"], "--image", image, "--folder", folder)
    threads = ("--threads", torch.get_num_threads())
    answer = ask(peer_python("careamics"), "peer_careamics.py", "predict", *options, *threads)
    return row_of_prediction("CAREamics 0.3.5, tiles of 256, overlap 48", arguments.peer_side, answer)


def row_of_prediction(name, side, answer):
    """Return a table row with memory in GB and speed in megapixels a second."""
    row = {
        "method": name,
        "image": f"{side}x{side}",
        "seconds": number(answer["seconds"], 1),
        "megapixels/s": number(side**2 / 1e6 / answer["seconds"], 3),
        "peak memory (GB)": number(answer["peak"] / 1000),
        "above imports (GB)": number((answer["peak"] - answer["imported"]) / 1000),
    }
    say(" ".join(row.values()))
    return row


# Floor: how far from the arithmetic.


def floor(arguments):
    """Compare the time of a training step with the time that its multiplications alone would take."""
    _, noisy = load_pair(5)
    device = choose_device()
    used = numbers_used(device)
    speeds = {dtype: product_speed(dtype, device) for dtype in dict.fromkeys((torch.float32, used))}
    rows = []
    for model, noise_model in MODELS.items():
        config = ours(arguments, max_steps=arguments.steps + WARM_UP, noise_model=noise_model)
        operations = 2 * step_products(config)
        step = step_seconds(noisy, config)
        row = {"ours": model, "GFLOP a step": number(operations / 1e9), "step (ms)": number(step * 1e3)}
        row |= {f"floor, {str(dtype)[6:]} (ms)": number(operations / speed * 1e3) for dtype, speed in speeds.items()}
        rows.append(row | {f"step / floor in {str(used)[6:]}": number(step * speeds[used] / operations)})
    header(f"BSD68 test image 005, noise sigma {SIGMA}; median of {arguments.steps} steps after {WARM_UP}", arguments)
    print("Matrix product 2048x2048:", end=" ")
    print(", ".join(f"{str(dtype)[6:]} {speed / 1e9:.0f} GFLOP/s" for dtype, speed in speeds.items()), end="\n\n")
    table(rows)


def numbers_used(device):
    """Return the type of the numbers in which training computes on this machine: bfloat16 only where it is built in."""
    with fast_numbers(device):
        return torch.bfloat16 if torch.is_autocast_enabled(device.type) else torch.float32


def product_speed(dtype, device, side=2048, times=7):
    """Return the operations a second of the matrix product, the median of several after a warm-up."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = [timed(lambda: (left @ right)[0, 0].item())[1] for _ in range(times + 2)]
    return 2 * side**3 / statistics.median(seconds[2:])


def step_products(config):
    """Count the multiply-adds of a step: forward, and twice backward except for the input's gradient."""
    network = build_network(config, channels=1)
    inputs = {id(unet.encoders[0][0]) for unet in network.modules() if isinstance(unet, UNet)}
    counts = []

    def count(layer, arguments, output):
        # An output value takes weight[0] once; of a transposed convolution, an input value does.
        values = arguments[0] if isinstance(layer, nn.ConvTranspose2d) else output
        counts.append(values.numel() * layer.weight[0].numel() * (2 if id(layer) in inputs else 3))

    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(config.batch_size, 1, config.patch_size, config.patch_size))
    return sum(counts)


def step_seconds(noisy, config):
    """Return the median seconds of a training step after a warm-up."""
    clock = []
    n2vlib.train(noisy, config, callbacks=[lambda progress: clock.append(progress.seconds)])
    return float(np.median(np.diff(clock)[WARM_UP - 1 :]))


# The command line.


def command_line():
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    chosen = {run: commands.add_parser(run.__name__, help=run.__doc__) for run in (single, twelve, predict, floor)}
    for run, command in chosen.items():
        command.set_defaults(run=run)
        command.add_argument("--seed", type=int, default=0, help="of weights, patches and blind spots")
        command.add_argument("--threads", type=int, help="of torch, ours and CAREamics'")
        command.add_argument("--config", default="", help="fields of N2VConfig: 'key=value key=value'")
    for run in (single, twelve, predict):
        chosen[run].add_argument("--no-peers", action="store_true", help="measure ours alone")
    for run in (single, twelve):
        chosen[run].add_argument("--seconds", type=float, default=60, help="budget of each training of ours")
    for run in (single, predict):
        chosen[run].add_argument("--careamics-batch", type=int, default=8, help="it has no default; its guides use 8")
        chosen[run].add_argument("--careamics-copies", type=int, default=1, help="of the image: longer epochs")
    budgets = (2, 3, 4, 5, 6, 8, 10, 15)
    chosen[single].add_argument("--image", type=int, default=5)
    chosen[single].add_argument("--marks", type=float, nargs="+", default=[52, 137], help="seconds for CAREamics")
    chosen[single].add_argument("--budgets", type=float, nargs="+", default=budgets, help="seconds of ours, to race")
    chosen[single].add_argument("--target", type=float, help="with --no-peers: race to this PSNR")
    chosen[twelve].add_argument("--images", nargs="+", default=range(1, 13), help="numbers, or camera coffee ...")
    chosen[twelve].add_argument("--model", choices=MODELS, default="gaussian")
    chosen[twelve].add_argument("--start", help="go on from these shipped weights, such as bsd68_noise_model")
    chosen[predict].add_argument("--side", type=int, default=4096, help="of the image for ours")
    chosen[predict].add_argument("--peer-side", type=int, default=1024, help="of the image for CAREamics")
    chosen[floor].add_argument("--steps", type=int, default=100)
    return parser


def main():
    """Run one of the four measurements."""
    arguments = parsed(command_line())
    arguments.run(arguments)


if __name__ == "__main__":
    main()
