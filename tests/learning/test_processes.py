"""Training in several processes (torchrun), and training in a process that is killed."""

import ast
import dataclasses
import os
import re
import signal
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import tifffile
import torch
from conftest import REPOSITORY, SIZE

from n2vlib import Denoiser, N2VConfig, mask_patches, train
from n2vlib.learning.device import fast_numbers
from n2vlib.learning.losses import blind_loss
from n2vlib.learning.training import Run

SMALL = dict(patch_size=16, batch_size=2, num_channels_init=4, device="cpu")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")


def environment(**changes):
    return os.environ | dict(PYTHONPATH=str(REPOSITORY), OMP_NUM_THREADS="1", **changes)


def run_two(script, folder, **changes):
    """Run a script in two processes; they find each other on this machine alone."""
    (folder / "script.py").write_text(script)
    command = [*TORCHRUN, "script.py"]
    done = subprocess.run(command, cwd=folder, env=environment(**changes), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def weights(model):
    return model.network.state_dict()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).poisson(100, (3, 2, 40, 40)).astype(np.float32)


# Several processes

TWO = """
import numpy, torch, n2vlib

torch.distributed.init_process_group("gloo")
number = torch.distributed.get_rank()
images = numpy.load("images.npy")
config = n2vlib.N2VConfig(**{settings}, checkpoint_dir="checkpoints")
n2vlib.train(images, config, validation=images).save(f"model{{number}}.pt")
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize(
    "settings",
    [
        SMALL | dict(max_steps=5, steps_per_epoch=5, optimizer="adam", lr_scheduler="plateau", average_weights=0),
        SMALL | dict(max_seconds=0.5, steps_per_epoch=3, noise_model="gaussian"),
    ],
    ids=["five steps", "half a second"],
)
def test_two_processes_train_one_network(images, tmp_path, settings):
    np.save(tmp_path / "images.npy", images)
    run_two(TWO.format(settings=settings), tmp_path)
    first, second = (Denoiser.load(tmp_path / f"model{number}.pt") for number in (0, 1))
    assert all(torch.equal(weights(first)[name], weights(second)[name]) for name in weights(first))
    assert first.history == second.history and len(first.history["steps"]) >= 1
    last = Denoiser.load(tmp_path / "checkpoints" / "last.pt")
    assert last.history["steps"] == first.history["steps"]
    if "max_seconds" not in settings:
        expected, loss = gradients_averaged_by_hand(images, N2VConfig(**settings))
        for name, tensor in weights(first).items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-7)
        assert first.history["loss"] == [pytest.approx(loss, rel=1e-6)]


def gradients_averaged_by_hand(images, config):
    """Train as two processes should, in one: two batches, two gradients, their mean, one step."""
    run, losses = Run(images, images, config), []
    draws = [[torch.Generator().manual_seed(config.seed + number) for _ in "cm"] for number in (0, 1)]
    for _ in range(config.max_steps):
        gradients = []
        for crops, masks in draws:
            patches, _, _ = run.normalised_patches(run.training, crops)
            masked, blind = mask_patches(patches, config, masks)
            with fast_numbers(run.device):
                output = run.network(masked.contiguous(memory_format=torch.channels_last))
            loss = blind_loss(output.float(), patches, blind)
            gradients.append(torch.autograd.grad(loss, list(run.network.parameters())))
            losses.append(loss.item())
        for weight, one, two in zip(run.network.parameters(), *gradients):
            weight.grad = (one + two) / 2
        for optimizer in run.optimizers:
            optimizer.step()
    return run.network.state_dict(), np.mean(losses)


def notebooks_script():
    """Return the script that notebook 03 shows for several GPUs."""
    notebook = nbformat.read(REPOSITORY / "notebooks" / "03_jump_cell_painting.ipynb", as_version=4)
    (text,) = [c.source for c in notebook.cells if c.cell_type == "markdown" and "torchrun" in c.source]
    assert "torchrun --nproc-per-node=2 train_jump.py" in text
    return re.search(r"```python\n(.+?)```", text, re.DOTALL)[1]


def test_the_script_of_the_notebook_trains_in_two_processes(images, tmp_path):
    script = notebooks_script()
    ast.parse(script)
    small = "N2VConfig.jump(max_steps=3, steps_per_epoch=2, batch_size=2, num_channels_init=4, device='cpu', "
    assert script.count("N2VConfig.jump(") == 1
    stack = np.concatenate([images, images], axis=1).round().astype(np.uint16)  # four channels
    tifffile.imwrite(tmp_path / "noisy.tiff", stack, imagej=True, metadata={"axes": "TCYX"})
    run_two(script.replace("N2VConfig.jump(", small), tmp_path, N2VLIB_DATA=str(tmp_path), CUDA_VISIBLE_DEVICES="")
    model = Denoiser.load(tmp_path / "jump.pt")
    assert model.history["steps"] == [2, 3] and model.predict(stack).shape == stack.shape


# Killed at any moment

FORKS = """
import os, pathlib, random, shutil, signal, sys, time
import numpy, torch, n2vlib

torch.set_num_threads(1)
images = numpy.load(sys.argv[1])
folder = pathlib.Path(sys.argv[2])
settings = dict(patch_size=16, batch_size=2, num_channels_init=4, device="cpu", max_steps=90, steps_per_epoch=3)


def train(name, resume=False):
    config = n2vlib.N2VConfig(**settings, checkpoint_dir=folder / name)
    n2vlib.train(images, config, validation=images, resume=resume).save(folder / f"{name}.pt")


def in_a_process(function, kill_after=None):  # a fork has imported everything already: seconds saved
    number = os.fork()
    if number == 0:
        function()
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(number, signal.SIGKILL)
    return os.waitpid(number, 0)[1]


start = time.perf_counter()
assert in_a_process(lambda: train("whole")) == 0
seconds = time.perf_counter() - start
moments, killed = random.Random(0), 0
while killed < int(sys.argv[3]):
    if in_a_process(lambda: train("killed", resume=True), moments.uniform(0.1, 0.5) * seconds) == signal.SIGKILL:
        killed += 1
    else:  # at its end before that, on a machine that was busy when the whole training was timed: once more, sooner
        shutil.rmtree(folder / "killed")
        seconds, killed = seconds / 2, 0
assert in_a_process(lambda: train("killed", resume=True)) == 0
print(killed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_killed_at_any_moment_and_resumed_gives_the_same_weights(images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    kills = "8" if SIZE == "thorough" else "3"
    command = [sys.executable, "-c", FORKS, str(tmp_path / "images.npy"), str(tmp_path), kills]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) == int(kills)
    whole, killed = (Denoiser.load(tmp_path / f"{name}.pt") for name in ("whole", "killed"))
    assert all(torch.equal(weights(whole)[name], weights(killed)[name]) for name in weights(whole))
    assert len(whole.history["steps"]) == 30
    for name in ("loss", "validation_loss", "learning_rate", "steps"):
        assert whole.history[name] == killed.history[name]
    files = [sorted(p.name for p in (tmp_path / name).iterdir() if p.suffix != ".tmp") for name in ("whole", "killed")]
    assert files[0] == files[1], "the same best models are kept"


HALFWAY = """
import os, signal, sys
import numpy, torch, n2vlib
from n2vlib.learning import model_files

torch.set_num_threads(1)
real, calls = (torch.save, iter(range(99))) if sys.argv[3] == "save" else (os.replace, iter(range(99)))


def save(content, file):
    if next(calls) != int(sys.argv[4]):
        return real(content, file)
    file.write(b"half a checkpoint")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def replace(beside, path):
    if next(calls) != int(sys.argv[4]):
        return real(beside, path)
    os.kill(os.getpid(), signal.SIGKILL)


setattr(*((torch, "save", save) if sys.argv[3] == "save" else (os, "replace", replace)))
settings = dict(patch_size=16, batch_size=2, num_channels_init=4, device="cpu", max_steps=12, steps_per_epoch=3)
config = n2vlib.N2VConfig(**settings, lr_scheduler="plateau", checkpoint_dir=sys.argv[2])
n2vlib.train(numpy.load(sys.argv[1]), config)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("where, call", [("save", 3), ("replace", 4)])  # of the second epoch's last.pt
def test_killed_in_the_middle_of_a_checkpoint(images, tmp_path, where, call):
    np.save(tmp_path / "images.npy", images)
    folder = tmp_path / "checkpoints"
    command = [sys.executable, "-c", HALFWAY, str(tmp_path / "images.npy"), str(folder), where, str(call)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert [p for p in folder.iterdir() if p.suffix == ".tmp"], "nothing was being written"
    readable = [Denoiser.load(path) for path in folder.glob("*.pt")]
    assert len(readable) >= 2 and Denoiser.load(folder / "last.pt").history["steps"] == [3]
    config = N2VConfig(**SMALL, max_steps=12, steps_per_epoch=3, lr_scheduler="plateau")
    resumed = train(images, dataclasses.replace(config, checkpoint_dir=folder), resume=True)
    assert not list(folder.glob("*.tmp")), "what the killed process left"
    whole = train(images, config)
    assert all(torch.equal(weights(resumed)[name], weights(whole)[name]) for name in weights(whole))
