"""Predict one large image with a saved model of ours, in a process of its own, to measure its memory."""

import argparse
from pathlib import Path

import numpy as np
import support  # noqa: F401  finds n2vlib
import torch
from measure import one_answer, peak_megabytes, timed

import n2vlib

IMPORTED = peak_megabytes()


def main():
    """Answer with the seconds and the peak memory, in all and right after the imports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with one_answer() as answer:
        denoiser = n2vlib.Denoiser.load(arguments.model)
        image = np.load(arguments.image)
        denoiser.predict(image[:256, :256])  # warm up
        _, seconds = timed(denoiser.predict, image)
        answer(dict(seconds=seconds, peak=peak_megabytes(), imported=IMPORTED, leak=denoiser.leak))


if __name__ == "__main__":
    main()
