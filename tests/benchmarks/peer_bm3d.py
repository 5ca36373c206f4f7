"""Denoise images with BM3D, told the true sigma or power spectrum; runs in an environment with bm3d."""

import argparse
from importlib.metadata import version
from pathlib import Path

import bm3d
import numpy as np
from measure import one_answer, timed

if not hasattr(np, "trapz"):
    np.trapz = np.trapezoid  # noqa: NPY201  bm3d 4.0.3 calls it by the name it had before numpy 2


def main():
    """Write FOLDER/bm3d_NAME.npy for each NAME.npy and answer with the seconds each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sigma", help="of the noise, or a .npy file with its power spectrum")
    parser.add_argument("images", nargs="+", type=Path)
    arguments = parser.parse_args()
    sigma = np.load(arguments.sigma) if arguments.sigma.endswith(".npy") else float(arguments.sigma)
    results = []
    with one_answer() as answer:
        for path in arguments.images:
            clean, seconds = timed(bm3d.bm3d, np.load(path), sigma_psd=sigma)
            target = path.with_name(f"bm3d_{path.name}")
            np.save(target, clean)
            results.append(dict(file=str(target), seconds=seconds))
        answer(dict(version=version("bm3d"), results=results))


if __name__ == "__main__":
    main()
