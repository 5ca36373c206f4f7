#!/bin/sh
# A training step of a small network on a CPU (torch, Linux with glibc) gets its memory from the system anew each time:
# each step takes many hundred page faults, which no profile of torch shows, though nothing is swapped or copied. Whether
# it does hangs on what ran before: glibc keeps freed memory as soon as one large block (up to 32 MiB) has been freed
# (mallopt(3), M_MMAP_THRESHOLD). So the same training is quicker after some large array was thrown away, and two
# timings in one process are not of the same thing. Seen with torch 2.13.0 (CPU), numpy 2.3.5, glibc 2.36:
# 770 to 2,940 faults a step before, none after; steps of 30.6, 24.5 and 22.9 ms then took 22.7, 22.6 and 14.5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.3.5
"$folder/env/bin/python" - <<'PYTHON'
import platform
import resource
import time

import torch

torch.set_num_threads(2)
torch.manual_seed(0)
layers = [torch.nn.Conv2d(inside, 16, 3, padding=1) for inside in (1, 16, 16, 16)]
network = torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.ReLU())))
patches = torch.randn(4, 1, 64, 64)


def measured(steps=50):
    """Return the page faults and the milliseconds of a step, medians."""
    faults, clock = [], []
    for _ in range(steps):
        network(patches).square().mean().backward()
        network.zero_grad()
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
        clock.append(time.perf_counter())
    middle = [torch.tensor(values, dtype=torch.float64).diff()[10:].median().item() for values in (faults, clock)]
    return middle[0], middle[1] * 1e3


before = measured()
del_me = torch.empty(2**25 - 2**13, dtype=torch.uint8)  # never written to, so it takes no memory
del del_me
after = measured()
print(f"torch {torch.__version__}, {' '.join(platform.libc_ver())}")
print(f"before: {before[0]:.0f} page faults, {before[1]:.2f} ms a step; after: {after[0]:.0f}, {after[1]:.2f} ms")
assert platform.libc_ver()[0] == "glibc", "another C library: not the case that this is about"
assert before[0] > 200, "a step takes no page faults any more"
assert after[0] < 20, "a freed block does not end the page faults any more"
PYTHON
