"""Train on a stack, or denoise it file to file, in a process of its own, to measure its anonymous memory."""

import argparse
from pathlib import Path

import support
import torch
from measure import AnonymousMemory, one_answer, timed

import n2vlib


def main():
    """Answer with the seconds and the peak of the anonymous memory, in MB; a trained model is kept beside the stack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "denoise"))
    parser.add_argument("stack", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="written by train, read by denoise")
    parser.add_argument("--config", default="", help="fields of N2VConfig.jump(): 'key=value key=value'")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with one_answer() as answer, AnonymousMemory() as memory:
        if arguments.what == "train":
            stack, _ = n2vlib.read_stack(arguments.stack)
            config = n2vlib.N2VConfig.jump(**support.overrides(arguments.config))
            denoiser, seconds = timed(n2vlib.train, stack, config, validation=0.2)
            denoiser.save(arguments.model)
        else:
            denoiser, target = n2vlib.Denoiser.load(arguments.model), arguments.stack.with_suffix(".out.tiff")
            _, seconds = timed(n2vlib.denoise_file, denoiser, arguments.stack, target)
            target.unlink()
        answer(dict(seconds=seconds, peak=memory.peak))


if __name__ == "__main__":
    main()
