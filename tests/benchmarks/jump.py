"""The JUMP benchmark: stacks of four channels, beside CAREamics (see README.md).

python tests/benchmarks/jump.py training     # patches a second, N2VConfig.jump() on both sides
python tests/benchmarks/jump.py prediction   # megapixels a second
python tests/benchmarks/jump.py memory       # anonymous memory with 50 and with 517 images
python tests/benchmarks/jump.py quality      # real images with noise: PSNR and SSIM after three minutes of training
python tests/benchmarks/jump.py channels     # four networks: one after another, grouped, or batched
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
import torch
from measure import timed
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, estimate_sigma
from support import ROOT, ask, find_data, header, number, overrides, parsed, peer_python, say, table, train_careamics
from torch import nn
from torch.nn import functional as F

import n2vlib
from n2vlib.learning.device import choose_device, fast_numbers
from n2vlib.learning.network import build_network, max_pool

PHOTONS, READ_NOISE = 40, 3  # of the real images with noise: PSNR has the range 40
SIDE = 540
DEFAULTS = "settings of notebook 01"
CONFIGS = {"N2VConfig.jump()": n2vlib.N2VConfig.jump, DEFAULTS: n2vlib.N2VConfig}
WARM_UP = 3  # steps that are not timed

# Generated stacks.


def generated(images, seed=0):
    """Return generated noisy cells, uint16 (images, 4, 540, 540), the camera's offset of 100 included."""
    pages = [noisy for _, noisy in n2vlib.datasets.painted_cells(images, SIDE, seed)]
    return np.clip(np.round(np.stack(pages) + 100), 0, None).astype(np.uint16)


def stack_file(images):
    """Return the path of a generated hyperstack under build/: ten different images, turned and repeated."""
    path = ROOT / "build" / "benchmarks" / f"cells_{images}.tiff"
    if not path.exists():
        say(f"writing {path.relative_to(ROOT)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        ten, beside = generated(10), path.with_suffix(".tmp")
        pages = (np.ascontiguousarray(np.rot90(ten[n % 10], n // 10, (1, 2))) for n in range(images))
        shape = (images, *ten.shape[1:])
        channels = (channel for page in pages for channel in page)
        metadata = dict(imagej=True, metadata={"axes": "TCYX"})
        tifffile.imwrite(beside, channels, shape=shape, dtype=ten.dtype, photometric="minisblack", **metadata)
        os.replace(beside, path)
    return path


# Training: patches a second.


def training(arguments):
    """Compare the patches a second of training, four channels each, with N2VConfig.jump()'s settings."""
    stack = generated(arguments.images, arguments.seed)
    config = n2vlib.N2VConfig.jump(seed=arguments.seed, max_steps=arguments.steps + WARM_UP)
    rows = [speed_row("ours", step_times(stack, config))]
    if not arguments.no_peers:
        rates = ("--learning-rate", config.learning_rate, "--no-prediction", "--steps", config.max_steps)
        for name, flags in (("", rates), (", without batch normalisation, as ours", (*rates, "--no-batch-norm"))):
            with tempfile.TemporaryDirectory() as folder:
                answer = train_careamics(stack, Path(folder), arguments, [arguments.seconds], *flags)
            rows.append(speed_row(f"CAREamics 0.3.5{name}", answer["clock"]))
        for row in rows:
            row["ours is faster by"] = f"{float(rows[0]['patches/s']) / float(row['patches/s']):.1f}"
    header(f"{arguments.images} generated images of 4 channels, {SIDE}x{SIDE}; batches of 32", arguments)
    table(rows)


def step_times(stack, config):
    """Return when each training step ended, in seconds."""
    clock = []
    n2vlib.train(stack, config, callbacks=[lambda progress: clock.append(progress.seconds)])
    return clock


def speed_row(name, clock):
    """Return a row with the mean of patches a second after a warm-up."""
    steps, seconds = len(clock) - WARM_UP, clock[-1] - clock[WARM_UP - 1]
    row = {"method": name, "patches/s": number(32 * steps / seconds), "steps timed": steps}
    row["first step ended after (s)"] = number(clock[0], 1)
    say(str(row))
    return row


# Prediction: megapixels a second.


def prediction(arguments):
    """Compare the megapixels a second of prediction; each channel's pixels count."""
    stack, rows = generated(arguments.images, arguments.seed), []
    for name, settings in CONFIGS.items():
        denoiser = n2vlib.train(stack[:2], settings(max_steps=2, batch_size=2, seed=arguments.seed))
        for exact in (True, False):
            denoiser.predict(stack[:1], exact=exact)  # warm up
            _, seconds = timed(denoiser.predict, stack, exact=exact)
            rows.append(row_of_prediction(f"ours, {name}{', exact=True (float32)' * exact}", stack, seconds))
    if not arguments.no_peers:
        few = stack[: arguments.peer_images]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            flags = ("--learning-rate", 1e-4, "--no-prediction")
            (mark,) = train_careamics(few, folder, arguments, [1], *flags)["marks"]
            options = ("--checkpoint", mark["checkpoint"], "--image", folder / "noisy.npy", "--folder", folder)
            threads = ("--threads", torch.get_num_threads())
            answer = ask(peer_python("careamics"), "peer_careamics.py", "predict", *options, *threads)
        name = "CAREamics 0.3.5, N2VConfig.jump()'s network, tiles of 256, overlap 48"
        rows.append(row_of_prediction(name, few, answer["seconds"]))
        speeds = [float(row["megapixels/s"]) for row in rows]
        for row, speed in zip(rows, speeds):
            row["faster than CAREamics by"] = f"{speed / speeds[-1]:.1f}"
    header(f"generated images of 4 channels, {SIDE}x{SIDE}; one warm-up; pixels of all channels count", arguments)
    table(rows)


def row_of_prediction(name, stack, seconds):
    """Return a table row with the speed in megapixels a second."""
    speed = stack.size / 1e6 / seconds
    row = {"method": name, "images": len(stack), "seconds": number(seconds, 1), "megapixels/s": number(speed, 3)}
    say(str(row))
    return row


# Memory.


def memory(arguments):
    """Measure the peak anonymous memory of training and of denoise_file, with few and with many images."""
    rows, threads = [], ("--threads", torch.get_num_threads())
    for what, name in (("train", "N2VConfig.jump()"), ("train", DEFAULTS), ("denoise", DEFAULTS)):
        row = {"what": f"{'training' if what == 'train' else 'denoise_file'}, {name}"}
        fields = f"{NOTEBOOK_01 if name == DEFAULTS else ''} max_steps={arguments.steps} {arguments.config}"
        for images in arguments.images:
            path = stack_file(images)
            options = ("--model", path.with_suffix(".pt"), "--config", fields)  # denoised with the model trained before
            answer = ask(sys.executable, "memory_ours.py", what, path, *options, *threads)
            row[f"{images} images (GB)"] = number(answer["peak"] / 1000, 3)
            row[f"{images} images (s)"] = number(answer["seconds"], 0)
        few, many = (float(row[f"{images} images (GB)"]) for images in arguments.images)
        rows.append(row | {"growth": f"{100 * (many / few - 1):+.1f} %"})
        say(str(rows[-1]))
    header(f"generated hyperstacks, 4 channels, {SIDE}x{SIDE}, uint16; {arguments.steps} steps of training", arguments)
    table(rows)


# Quality.


def quality(arguments):
    """Compare PSNR and SSIM on real channels with noise, after three minutes of training on each side."""
    clean, noisy = real_pair()
    rows = [row_of_quality("noisy", clean, noisy)]
    for name, method in FILTERS.items():
        filtered, seconds = timed(lambda method=method: np.array([[method(c) for c in page] for page in noisy]))
        rows.append(row_of_quality(f"{name} (scikit-image)", clean, filtered, None, seconds))
    fields = dict(noise_model="poisson_gaussian", max_seconds=arguments.seconds, seed=arguments.seed)
    denoiser = n2vlib.train(noisy, n2vlib.N2VConfig(**(fields | overrides(arguments.config))))
    steps, seconds = denoiser.history["steps"][-1], denoiser.history["seconds"][-1]
    say(f"noise: gain and offset {denoiser.noise}, leak {denoiser.leak:.4f}")
    for name, tta in (("ours", False), ("ours, self-ensemble", True)):
        image, predict = timed(denoiser.predict, noisy, tta=tta)
        rows.append(row_of_quality(f"{name} ({steps} steps)", clean, image, seconds, predict))
    if not arguments.no_peers:
        with tempfile.TemporaryDirectory() as folder:
            answer = train_careamics(noisy, Path(folder), arguments, [arguments.seconds])
            (mark,) = answer["marks"]
            image = np.load(mark["file"])
        name = f"CAREamics 0.3.5, batches of {arguments.careamics_batch} ({mark['steps']} steps)"
        rows.append(row_of_quality(name, clean, image, mark["seconds"], mark["predict_seconds"]))
    header(f"jump_BR00117006_3ch.tiff, {clean.shape}, 0 to {PHOTONS} photons, read noise {READ_NOISE}", arguments)
    table(rows)


def real_pair():
    """Return the real JUMP channels in photons and with noise, each (4, 3, 540, 540)."""
    find_data()
    path = Path(os.environ.get("N2VLIB_DATA", "")) / "jump" / "jump_BR00117006_3ch.tiff"
    if not path.is_file():
        sys.exit("no jump/jump_BR00117006_3ch.tiff: let N2VLIB_DATA name the folder of real data")
    stack = n2vlib.read_stack(path)[0].astype(np.float64)
    low, high = (q[:, None, None] for q in np.quantile(stack, (0.001, 0.999), axis=(0, 2, 3)))
    clean = np.clip((stack - low) / (high - low) * PHOTONS, 0, None)
    rng = np.random.default_rng(0)
    return clean, rng.poisson(clean) + rng.normal(0, READ_NOISE, clean.shape)


def non_local_means(image):
    """Filter an image (Y, X), told the sigma that scikit-image estimates."""
    sigma = estimate_sigma(image)
    return denoise_nl_means(image, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, preserve_range=True)


def total_variation(image):
    """Filter an image (Y, X), told the sigma that scikit-image estimates."""
    return denoise_tv_chambolle(image, weight=0.9 * estimate_sigma(image))


FILTERS = {"non-local means": non_local_means, "total variation": total_variation}


def row_of_quality(name, clean, image, train=None, predict=None):
    """Return a table row: PSNR and SSIM of each channel, over all images."""
    row = {"method": name}
    for channel in range(clean.shape[1]):
        pair = clean[:, channel], image[:, channel]
        decibels, similarity = n2vlib.psnr(*pair, PHOTONS), n2vlib.ssim(*pair, PHOTONS)
        row[f"channel {channel + 1}, PSNR (dB) / SSIM"] = f"{decibels:.2f} / {similarity:.3f}"
    row |= {"training (s)": number(train, 0), "prediction (s)": number(predict, 1)}
    say(str(row))
    return row


# Channels.


class GroupedUNets(nn.Module):
    """The same as n2vlib's ChannelwiseUNets, of which it takes the weights, in one pass of grouped convolutions."""

    def __init__(self, channelwise):
        super().__init__()
        networks = list(channelwise.networks)
        self.groups = len(networks)
        first = networks[0]
        self.encoders = nn.ModuleList(self._pair([n.encoders[i] for n in networks]) for i in range(len(first.encoders)))
        self.decoders = nn.ModuleList(self._pair([n.decoders[i] for n in networks]) for i in range(len(first.decoders)))
        self.bottom = self._pair([n.bottom for n in networks])
        self.ups = nn.ModuleList(self._grouped([n.ups[i] for n in networks]) for i in range(len(first.ups)))
        self.last = self._grouped([n.last for n in networks])

    def _pair(self, parts):
        first, second = (self._grouped([part[i] for part in parts]) for i in (0, 2))
        return nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))

    def _grouped(self, layers):
        one, groups = layers[0], self.groups
        settings = dict(kernel_size=one.kernel_size, stride=one.stride, padding=one.padding, groups=groups)
        layer = type(one)(groups * one.in_channels, groups * one.out_channels, **settings)
        with torch.no_grad():
            layer.weight.copy_(torch.cat([part.weight for part in layers]))
            layer.bias.copy_(torch.cat([part.bias for part in layers]))
        return layer

    def forward(self, image):
        """Map (B, C, Y, X), sides multiples of the pooling's, to (B, C * outputs, Y, X)."""
        seen = []
        for encoder in self.encoders:
            image = encoder(image)
            seen.append(image)
            image = max_pool(image)
        image = self.bottom(image)
        for level in reversed(range(len(seen))):
            both = [part.unflatten(1, (self.groups, -1)) for part in (self.ups[level](image), seen[level])]
            image = self.decoders[level](torch.cat(both, dim=2).flatten(1, 2))
        return self.last(image)


class BatchedUNets(nn.Module):
    """The same again: torch.func.vmap over the stacked weights of the networks."""

    def __init__(self, channelwise):
        super().__init__()
        networks = list(channelwise.networks)
        stacked, _ = torch.func.stack_module_state(networks)
        self.names = list(stacked)
        self.stacked = nn.ParameterList(stacked.values())
        self.one = [networks[0]]  # in a list: its own weights are not ours

    def forward(self, image):
        """Map (B, C, Y, X) to (B, C * outputs, Y, X)."""

        def apply(weights, channel):
            return torch.func.functional_call(self.one[0], weights, (channel[:, None],))

        weights = dict(zip(self.names, self.stacked))
        return torch.vmap(apply, in_dims=(0, 1), out_dims=1)(weights, image).flatten(1, 2)


def channels(arguments):
    """Compare four networks, one for each channel: run one after another, as grouped convolutions, and batched."""
    rows, device = [], choose_device("cpu")
    for name, settings in CONFIGS.items():
        config = settings(seed=arguments.seed)
        network = build_network(config, 4)
        shape = (config.batch_size, 4, config.patch_size, config.patch_size)
        patches = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        ways = {"one after another": network, "grouped convolutions": GroupedUNets(network)}
        ways["batched (vmap)"] = BatchedUNets(network)
        with torch.no_grad():
            results = [way(patches) for way in ways.values()]
        assert all(torch.allclose(results[0], result, atol=1e-5) for result in results), "not the same networks"
        for way, module in ways.items():
            for layout in (torch.channels_last, torch.contiguous_format):
                if module is not ways["batched (vmap)"]:
                    module.to(memory_format=layout)
                seconds = pass_seconds(module, patches.to(memory_format=layout), device, arguments.repeats)
                row = {"settings": name, "way": way, "memory format": str(layout)[6:]}
                rows.append(row | {"forward and backward (ms)": number(1e3 * seconds, 1)})
                say(str(rows[-1]))
    header(f"random patches, 4 channels; median of {arguments.repeats} passes after one", arguments)
    table(rows)


def pass_seconds(module, patches, device, repeats):
    """Return the median seconds of a forward and backward pass, with the numbers that training uses."""

    def once():
        with fast_numbers(device):
            output = module(patches)
        F.mse_loss(output.float(), patches.repeat_interleave(output.shape[1] // 4, dim=1)).backward()

    once()
    return statistics.median(timed(once)[1] for _ in range(repeats))


NOTEBOOK_01 = " ".join(
    f"{name}={getattr(n2vlib.N2VConfig(), name)!r}"
    for name in n2vlib.N2VConfig.__dataclass_fields__
    if name not in ("max_epochs", "max_steps", "max_seconds", "seed", "checkpoint_dir")
)

# The command line.


def main():
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="command")
    runs = (training, prediction, memory, quality, channels)
    chosen = {run: commands.add_parser(run.__name__, help=run.__doc__) for run in runs}
    for run, command in chosen.items():
        command.set_defaults(run=run)
        command.add_argument("--seed", type=int, default=0, help="of weights, patches and blind spots")
        command.add_argument("--threads", type=int, help="of torch, ours and CAREamics'")
    for run in (memory, quality):
        chosen[run].add_argument("--config", default="", help="fields of N2VConfig: 'key=value key=value'")
    for run, batch in ((training, 32), (prediction, 32), (quality, 8)):
        chosen[run].add_argument("--no-peers", action="store_true", help="measure ours alone")
        chosen[run].add_argument("--careamics-batch", type=int, default=batch, help="it has no default")
        chosen[run].set_defaults(careamics_copies=1)
    chosen[training].add_argument("--images", type=int, default=20)
    chosen[training].add_argument("--steps", type=int, default=20, help="after a warm-up")
    chosen[training].add_argument("--seconds", type=float, default=200, help="for CAREamics, at most")
    chosen[prediction].add_argument("--images", type=int, default=10, help="for ours")
    chosen[prediction].add_argument("--peer-images", type=int, default=3, help="for CAREamics")
    chosen[memory].add_argument("--images", type=int, nargs=2, default=[50, 517])
    chosen[memory].add_argument("--steps", type=int, default=10)
    chosen[quality].add_argument("--seconds", type=float, default=180, help="of training, on each side")
    chosen[channels].add_argument("--repeats", type=int, default=7)
    arguments = parsed(parser)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
