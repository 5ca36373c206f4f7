"""Model files: written beside and moved into place, read without ever running code from them."""

import csv
import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import torch

from ..images.writing import written_beside

FORMAT = "n2vlib model 1"


def write_model(path, content):
    """Write a dictionary of tensors and plain Python values to `path`, whole or not at all."""
    buffer = io.BytesIO()  # where torch writes to a disk that is full, it says so in words of its own
    with written_beside(path) as file:
        torch.save({"format": FORMAT, **content}, buffer)
        file.write(buffer.getbuffer())


def read_model(path):
    """Read what `write_model` wrote, on the CPU.

    `weights_only` lets torch build tensors and plain values only, so a model file runs no code.
    Raises FileNotFoundError, or ValueError for a damaged file or one of another program.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model file {path}: check the path, or train and save one first")
    foreign = ValueError(f"{path} is not a model of n2vlib, or it is damaged: save or download it again")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # compares the checksums, which torch does not
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage has its own kind of failure at every byte: one sentence for all
        raise foreign from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise foreign
    return content


def write_checkpoint(run):
    """Save a training at the end of an epoch: last.pt to go on from, and the best save_top_k models.

    Best is by the validation loss, or by the training loss without validation images. Each file
    is a model that Denoiser.load reads; last.pt also holds what `restore_checkpoint` needs.
    """
    folder = Path(run.config.checkpoint_dir)
    epoch = len(run.history["loss"])
    scores = run.history["loss" if run.validation is None else "validation_loss"]
    ranked = sorted(range(epoch), key=lambda e: scores[e])[: run.config.save_top_k]
    names = {e: f"best_epoch{e + 1:04d}_loss{scores[e]:.5f}.pt" for e in ranked}
    if epoch - 1 in names:
        write_model(folder / names[epoch - 1], run.denoiser.content())
    state = dict(
        network=run.network.state_dict(),
        average=run.average.state_dict() if run.average else None,
        optimizers=[optimizer.state_dict() for optimizer in run.optimizers],
        plateaus=[plateau.state_dict() for plateau in run.plateaus],
        crops=run.crops.get_state(),
        masks=run.masks.get_state(),
        step=run.step,
        seconds=run.seconds,
    )
    write_model(folder / "last.pt", run.denoiser.content() | dict(training=state))
    write_log(run)
    # No longer among the best, or what a killed process left half-written.
    for path in (*folder.glob("best_epoch*"), *folder.glob("last.pt.*.tmp"), *folder.glob("log.csv.*.tmp")):
        if path.name not in names.values():
            path.unlink()


def write_log(run):
    """Write the history of a run as checkpoint_dir/log.csv, a line an epoch; times in seconds, rates of that epoch."""
    patches = np.diff(run.history["steps"], prepend=0) * run.config.batch_size
    rates = patches / np.diff(run.history["seconds"], prepend=0).clip(1e-9)
    columns = dict(epoch=range(1, len(rates) + 1)) | run.history | dict(patches_per_second=rates.round(2).tolist())
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([columns, *zip(*columns.values())])
    with written_beside(Path(run.config.checkpoint_dir) / "log.csv") as file:
        file.write(table.getvalue().encode())


def restore_checkpoint(run):
    """Set a fresh training to where checkpoint_dir/last.pt left off; do nothing if there is none.

    The limits and the callbacks may differ from before, all that shapes the weights may not.
    Raises ValueError if the file belongs to other images or settings, or cannot be read.
    """
    if run.config.checkpoint_dir is None:
        raise ValueError("resume=True needs the folder to resume from: set checkpoint_dir in the config")
    path = Path(run.config.checkpoint_dir) / "last.pt"
    if not path.exists():
        return
    content = read_model(path)
    _refuse_other_training(path, content, run)
    try:
        state = content["training"]
        parts = [run.network, run.average, *run.optimizers, *run.plateaus]
        states = [state["network"], state["average"], *state["optimizers"], *state["plateaus"]]
        for part, saved in zip(parts, states, strict=True):
            if part is not None:
                part.load_state_dict(saved)
        run.crops.set_state(state["crops"])
        run.masks.set_state(state["masks"])
        run.step, run.seconds = int(state["step"]), float(state["seconds"])
        run.denoiser.std = content["std"]  # which a `start` may have changed
        run.normal_noise = run.denoiser.normal_noise() if run.denoiser.noise else None
        run.history.update({name: list(content["history"][name]) for name in run.history})
    except Exception as error:  # each part has its own kind of failure
        raise ValueError(
            f"{path} is a checkpoint of n2vlib, but parts are missing or do not fit: resume from another copy, "
            "or choose a new checkpoint_dir"
        ) from error


def _refuse_other_training(path, content, run):
    """Raise ValueError if the content of a checkpoint is damaged, or of a training on other images or settings."""
    fresh = run.denoiser.content()
    if not isinstance(content.get("config"), dict):
        raise ValueError(f"{path} holds no settings, it is damaged: resume from another copy, or train anew")
    may_differ = ("max_epochs", "max_steps", "max_seconds", "checkpoint_dir", "save_top_k", "device")
    saved = {field.name: field.default for field in dataclasses.fields(run.config)} | content["config"]
    saved["per_image"] = bool(saved["per_image"])  # which older checkpoints do not know
    changed = [n for n in fresh["config"] if n not in may_differ and saved[n] != fresh["config"][n]]
    if changed or content.get("mean") != fresh["mean"] or "training" not in content:
        what = f"other settings ({', '.join(changed)})" if changed else "other images, or another start"
        raise ValueError(f"{path} was trained with {what}: resume with the same, or choose a new checkpoint_dir")
    validated = any(loss is not None for loss in content["history"].get("validation_loss", []))
    if validated != (run.validation is not None):
        how = "with" if validated else "without"
        raise ValueError(f"{path} was trained {how} validation images: resume {how} them, or choose a new folder")
