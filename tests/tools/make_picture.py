"""Make the picture on top of the README: one photograph, four ways; prints how it was made.

The photograph is scikit-image's camera, which its photographer (Lav Varshney) gave away under CC0, at half its size.
Every network learns from the one noisy image, for a fixed number of steps: the seed gives the same picture again.
"""

import argparse
import io
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from skimage.transform import downscale_local_mean

import n2vlib

ROOT = Path(__file__).resolve().parents[2]
SEED, WHITE, STRUCTURED, CROP = 0, 10, 20, (30, 75, 96)
PATCHES = {"stage1": 100, "stage2": 200}  # an epoch of the pipeline, in batches of 4


def noisy_photograph():
    """Return the clean photograph (256, 256) and the same with white noise and noise that five neighbours share."""
    clean = downscale_local_mean(n2vlib.load_image("camera").astype(np.float32), (2, 2))
    rng = np.random.default_rng(SEED)
    white, shared = rng.normal(0, WHITE, clean.shape), rng.normal(0, STRUCTURED, clean.shape)
    return clean, clean + white + ndimage.convolve1d(shared, np.ones(5) / 5**0.5, axis=1, mode="wrap")


def denoise(noisy, steps):
    """Return the panels (title -> image): each network is trained here, for the same number of steps."""
    panels = {"noisy": noisy}
    for title, noise_model in (("Noise2Void", None), ("with noise model", "gaussian")):
        config = n2vlib.N2VConfig(max_steps=steps, noise_model=noise_model, seed=SEED, device="cpu")
        panels[title] = n2vlib.train(noisy, config).predict(noisy, tta=True)
    stage2 = {"method": "recorrupted", "batch_size": 4, "patches_per_image": PATCHES["stage2"]}
    settings = {"num_epochs": max(1, steps // 50), "random_seed": SEED, "device": "cpu", "stage2": stage2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the pipeline noticed is printed below, as its message
        result = n2vlib.run_two_stage(noisy, settings)
    print(result)
    return panels | {"two stages": result.denoised}


def save(figure, path):
    """Write a figure as a small PNG: 64 colours are plenty for grey images."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=75)
    small = Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    small.save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000, help="training steps of each network (default 1000)")
    parser.add_argument("--output", type=Path, default=ROOT / "data" / "picture.png")
    arguments = parser.parse_args()
    n2vlib.show.use_style()
    torch.set_num_threads(1)  # sums depend on the number of threads
    clean, noisy = noisy_photograph()
    panels = denoise(noisy, arguments.steps)
    save(n2vlib.show.images(panels, clean, CROP), arguments.output)
    print(", ".join(f"{title} {n2vlib.psnr(clean, image):.2f} dB" for title, image in panels.items()))
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1000:.0f} kB, seed {SEED}, {arguments.steps} steps")
    system = f"{platform.system()} {platform.machine()}, one thread, torch {torch.__version__}"
    print(f"{time.process_time():.0f} s of processor time on {system}")


if __name__ == "__main__":
    sys.exit(main())
