"""What the speed was and is: a step beside that of another commit, and how time and memory grow.

    git worktree add build/benchmarks/before 1b7daf5
    python tests/benchmarks/faster.py steps --against build/benchmarks/before   # ~11 min on two cores at rest
    python tests/benchmarks/faster.py scale                                     # ~6 min

The two checkouts take turns, each measurement in a process of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
if __name__ == "__main__" and len(sys.argv) > 2 and sys.argv[1] == "one":
    sys.path.insert(0, sys.argv[2])  # the checkout to measure
import torch  # noqa: E402
from measure import peak_megabytes  # noqa: E402

import n2vlib  # noqa: E402

KINDS = dict(
    plain={},
    gaussian=dict(noise_model="gaussian"),
    structN2V=dict(struct_mask=np.array([[False, True, True, True, False]])),
    recorrupted=dict(covariance=np.pad([[625.0]], 1)),
    four=dict(noise_model="gaussian"),  # channels
)
ROUNDS = 4


def one(arguments):
    """Print the milliseconds of a step, or the seconds and megabytes of a prediction, of the library in a folder."""
    if not Path(n2vlib.__file__).is_relative_to(arguments.root):
        sys.exit(f"{arguments.root} holds no n2vlib: {n2vlib.__file__} would have been measured in its place")
    torch.set_num_threads(arguments.threads)
    if arguments.group:
        torch.distributed.init_process_group("gloo")
    channels = 4 if arguments.what == "four" else arguments.channels
    rng = np.random.default_rng(0)
    if arguments.what == "predict":
        denoiser = n2vlib.train(rng.normal(100, 25, (64, 64)), n2vlib.N2VConfig(max_steps=1))
        image = rng.normal(100, 25, (arguments.images, arguments.side, arguments.side)).astype(np.float32)
        denoiser.predict(image[:1, :256, :256])
        start, before = time.perf_counter(), peak_megabytes()
        denoiser.predict(image)
        print(time.perf_counter() - start, peak_megabytes() - before)
        return
    waves = 50 * np.sin(np.arange(256) / 10) * np.ones((channels, 256, 1)) + 128
    config = n2vlib.N2VConfig(max_steps=arguments.steps, **KINDS[arguments.what])
    clock = []
    n2vlib.train((waves + rng.normal(0, 25, waves.shape))[None], config, callbacks=[lambda p: clock.append(p.seconds)])
    print(statistics.median(np.diff(clock)[20:].tolist()) * 1e3, peak_megabytes())


def ask(root, what, threads, processes=1, **settings):
    """Return what `one` prints, in a process of its own, or in two that torchrun starts."""
    words = [HERE / "faster.py", "one", root, what, "--threads", threads]
    for name, value in settings.items():
        words += [f"--{name}", value]
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
        words.append("--group")
    command = [*start, *map(str, words)]
    environment = os.environ | dict(PYTHONPATH=str(root), PYTHONWARNINGS="ignore")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return [float(number) for number in done.stdout.split()[:2]]


def steps(arguments):
    """Compare the median milliseconds of a step with those of another commit, turn by turn."""
    from run import numbers_used, product_speed, step_products
    from support import ROOT, circumstances, table

    print({name: value for name, value in circumstances().items() if name in ("hardware", "software", "date")})
    rows, cpu = [], torch.device("cpu")
    for threads in (2, 1):
        torch.set_num_threads(threads)
        floor = 2e3 * step_products(n2vlib.N2VConfig()) / product_speed(numbers_used(cpu), cpu)
        for kind in KINDS:
            times = [[ask(root, kind, threads)[0] for root in (arguments.against, ROOT)] for _ in range(ROUNDS)]
            before, now = (min(column) for column in zip(*times))
            bare = floor * (4 if kind == "four" else 1)
            rows.append(
                {
                    "threads": threads,
                    "training": kind,
                    "before (ms)": f"{before:.1f}",
                    "now (ms)": f"{now:.1f}",
                    "steps a second, now / before": f"{before / now:.2f}",
                    "now / arithmetic": f"{now / bare:.2f}",
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    table(rows)


def scale(arguments):
    """Show how seconds and memory grow with the side, the images, the channels, threads and processes."""
    from support import ROOT, circumstances, table

    print({name: value for name, value in circumstances().items() if name in ("hardware", "software", "date")})
    rows = []
    for what, name, values, fixed in (
        ("predict", "side", (256, 512, 1024, 2048, 4096, 8192), dict(images=1)),
        ("predict", "images", (1, 10, 100, 1000), dict(side=256)),
        ("gaussian", "channels", (1, 2, 4, 8), dict(steps=60)),
    ):
        for value in values:
            rows.append((what, name, value, *ask(ROOT, what, 2, **{name: value}, **fixed)))
            print(rows[-1], file=sys.stderr, flush=True)
        chosen = [row for row in rows if row[1] == name][-3:]  # where start-up counts no more
        size = [row[2] ** (2 if name == "side" else 1) for row in chosen]
        slope = np.polyfit(np.log(size), np.log([row[3] for row in chosen]), 1)[0]
        print(f"time grows as {'pixels' if name == 'side' else name} to the power of {slope:.2f}")
    for threads, processes in ((1, 1), (2, 1), (1, 2)):
        milliseconds, memory = ask(ROOT, "gaussian", threads, processes, steps=60)
        rows.append(("gaussian", "threads x processes", f"{threads} x {processes}", milliseconds, memory))
    names = ("work", "what grows", "value", "seconds, or ms a step", "MB")
    table([dict(zip(names, (*row[:3], f"{row[3]:.3g}", f"{row[4]:.0f}"))) for row in rows])


def folder(name):
    """Return a folder's whole path: the measurements start in another one."""
    return Path(name).resolve()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="command")
    chosen = {run: commands.add_parser(run.__name__, help=run.__doc__) for run in (steps, scale, one)}
    for run, command in chosen.items():
        command.set_defaults(run=run)
    chosen[steps].add_argument("--against", type=folder, required=True, help="a checkout of another commit")
    chosen[one].add_argument("root", type=folder)
    chosen[one].add_argument("what", choices=(*KINDS, "predict"))
    for name, value in dict(threads=2, steps=150, side=256, images=1, channels=1).items():
        chosen[one].add_argument(f"--{name}", type=int, default=value)
    chosen[one].add_argument("--group", action="store_true", help="join the processes of torchrun")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
