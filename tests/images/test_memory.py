"""Memory: what a training and a prediction need does not grow with the number of images on disk."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from conftest import REPOSITORY

import n2vlib

MEASURE = """
import json, sys, torch, n2vlib
sys.path.insert(0, "tests/benchmarks")
from measure import AnonymousMemory

torch.set_num_threads(1)
path, peaks = sys.argv[1], []
stack, _ = n2vlib.read_stack(path)
config = n2vlib.N2VConfig.jump(max_steps=2, num_channels_init=2, depth=1, batch_size=8, device="cpu")
with AnonymousMemory() as memory:
    denoiser = n2vlib.train(stack, config, validation=0.2)
peaks.append(memory.peak)
with AnonymousMemory() as memory:
    n2vlib.denoise_file(denoiser, path, path + ".out.tiff")
peaks.append(memory.peak)
print(json.dumps(peaks))
"""


def measured(path):
    """Return the peaks of anonymous memory, in MB, of a training and of a prediction in a process of their own."""
    environment = os.environ | dict(PYTHONPATH=str(REPOSITORY), OMP_NUM_THREADS="1")
    command = [sys.executable, "-c", MEASURE, str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="anonymous memory is read from /proc")
def test_five_times_the_images_need_no_more_memory(tmp_path):
    (_, cells), few, many = next(n2vlib.datasets.painted_cells(1, side=256)), 20, 100
    page = np.clip(np.round(cells + 100), 0, None).astype(np.uint16)
    peaks = {}
    for images in (few, many):
        path = tmp_path / f"{images}.tiff"
        tifffile.imwrite(path, np.stack([page] * images), imagej=True, metadata={"axes": "TCYX"})
        peaks[images] = measured(path)
    for what, one, other in zip(("training", "prediction"), peaks[few], peaks[many]):
        # 80 images more are 42 MB to read and 84 MB to write: held in memory, they would be seen.
        assert 30 < one < 400, what
        assert abs(other / one - 1) < 0.1, what
