"""Which processor computes, with which numbers, in how many threads and processes."""

import contextlib
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

LARGEST_BLOCK = 2**25 - 2**13  # bytes: the largest that the C library takes as a hint, and what it adds to a block


def choose_device(name="auto"):
    """Return the torch.device called `name`; "auto" takes cuda, else mps, else cpu.

    Raises ValueError if this machine has no such device.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, available in here.items() if available)
    if not here[name]:
        raise ValueError(f'device = {name!r} is not available on this machine: use "auto" or "cpu"')
    return torch.device(name)


def fast_numbers(device):
    """Return a context in which convolutions run in bfloat16 where the processor has it built in.

    Measured: about twice the steps a second on a CPU with AVX512-BF16, but slower without.
    Weights, losses and predictions stay float32.
    """
    if device.type == "cuda":
        built_in = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Older versions of torch cannot tell: then float32 is the safe choice.
        features = getattr(torch.cpu, "get_capabilities", dict)()
        built_in = device.type == "cpu" and (features.get("avx512_bf16") or features.get("amx_bf16"))
    return torch.autocast(device.type, torch.bfloat16, enabled=bool(built_in))


def keep_freed_memory():
    """Let the C library of Linux keep the memory that a layer frees, for the next layer, instead of giving it back.

    Given back, it comes again as pages of zeros, 1,100 to 1,600 in each step of a training: 5 to 15 % of its time.
    The library, glibc, changes its mind when a large block is freed (mallopt(3), M_MMAP_THRESHOLD); to others this
    is a block that comes and goes.
    """
    torch.empty(LARGEST_BLOCK, dtype=torch.uint8)


@contextlib.contextmanager
def quickest_threads(work):
    """Compute, while `with` lasts, with all of torch's threads or with one, whichever does `work` sooner now.

    The threads wait for each other at the end of each layer. If another program holds a core (a browser, a video
    call), all of them wait for the one that lost it: measured on two cores, 2 steps a second instead of 20 on one.
    """
    before, seconds = torch.get_num_threads(), {}
    for number in sorted({1, before}):
        torch.set_num_threads(number)
        work()  # the first time is slower
        start = time.perf_counter()
        for _ in range(3):
            work()
        seconds[number] = time.perf_counter() - start
    torch.set_num_threads(min(seconds, key=seconds.get))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_a_group():
    """Return whether torchrun started several processes that joined a group (torch.distributed)."""
    return dist.is_available() and dist.is_initialized()


def process_number():
    """Return the number of this process in its group; 0 without a group."""
    return dist.get_rank() if in_a_group() else 0


def all_processes(network):
    """Wrap a network so that its gradients are averaged over the processes of a group, if there is one."""
    return DistributedDataParallel(network) if in_a_group() else network


def mean_of_processes(value):
    """Return the mean of a number over the processes of a group, so that all decide alike."""
    if not in_a_group():
        return value
    total = torch.tensor(value, dtype=torch.float64, device=choose_device() if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(total)
    return total.item() / dist.get_world_size()
