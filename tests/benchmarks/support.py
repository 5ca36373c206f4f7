"""What surrounds the measurements: data, environments of the peers, settings, and the printed tables."""

import ast
import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from instrument_noise import KINDS as INSTRUMENTS  # noqa: E402, F401  for noise_kinds.py
from instrument_noise import instrument_noise  # noqa: E402, F401

import n2vlib  # noqa: E402

SIGMA = 25
PEERS = dict(careamics=("N2VLIB_BENCH_CAREAMICS", "careamics==0.3.5"), bm3d=("N2VLIB_BENCH_BM3D", "bm3d==4.0.3"))


def say(text):
    """Print progress to stderr, so that stdout holds the tables only."""
    print(text, file=sys.stderr, flush=True)


def find_data():
    """Look for real data beside the checkout too, if no folder is named."""
    beside = ROOT.parent / "shared" / "data"
    if beside.is_dir():
        os.environ.setdefault("N2VLIB_DATA", str(beside))


def load_pair(number):
    """Return one clean BSD68 test image and its noisy version: sigma 25, generator seeded afresh, no clipping."""
    find_data()
    clean = n2vlib.datasets.bsd68_test_image(number).astype(np.float64)
    return clean, clean + np.random.default_rng(0).normal(0, SIGMA, clean.shape)


def peer_python(name):
    """Return the Python of a peer's environment, made under build/benchmarks if none is named."""
    variable, requirement = PEERS[name]
    if os.environ.get(variable):
        return os.environ[variable]
    folder = ROOT / "build" / "benchmarks" / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / f"{requirement}.installed"
    if not ready.exists():
        say(f"making an environment for {requirement} in {folder.relative_to(ROOT)}")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True, stdout=sys.stderr)
        ready.touch()
    return str(python)


def ask(python, script, *arguments):
    """Run a script of this folder with another Python and return its answer, one line of JSON."""
    command = [str(part) for part in (python, HERE / script, *arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_bm3d(images, folder):
    """Denoise a dictionary of named images with BM3D; return it as name: (image, seconds), and its version."""
    paths = [folder / f"{name}.npy" for name in images]
    for path, image in zip(paths, images.values()):
        np.save(path, image)
    answer = ask(peer_python("bm3d"), "peer_bm3d.py", SIGMA, *paths)
    results = {name: (np.load(r["file"]), r["seconds"]) for name, r in zip(images, answer["results"])}
    return results, answer["version"]


def train_careamics(noisy, folder, arguments, marks, *flags):
    """Train CAREamics on an image or stack in its own environment and return its answer (see peer_careamics.py)."""
    np.save(folder / "noisy.npy", noisy.astype(np.float32))
    options = dict(
        image=folder / "noisy.npy",
        folder=folder,
        batch=arguments.careamics_batch,
        copies=arguments.careamics_copies,
        seed=arguments.seed,
        threads=torch.get_num_threads(),
    )
    flags = [*flags, *(part for name, value in options.items() for part in (f"--{name}", value))]
    return ask(peer_python("careamics"), "peer_careamics.py", "train", *flags, "--marks", *marks)


def parsed(parser):
    """Read the command line, and let torch compute with the number of threads that it names, if it does."""
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return arguments


def overrides(text):
    """Read 'key=value key=value' into a dictionary of Python values; a word that is none stays a string."""
    fields = {}
    for pair in text.split():
        name, _, value = pair.partition("=")
        try:
            fields[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            fields[name] = value
    return fields


def ours(arguments, **fields):
    """Return the N2VConfig of a run: defaults, what the command needs, then --seed and --config."""
    return n2vlib.N2VConfig(**(fields | dict(seed=arguments.seed) | overrides(arguments.config)))


def header(data, arguments):
    """Print on what and with what a table was made."""
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    print(f"- hardware: {processor()}, {torch.get_num_threads()} threads{load}")
    print(f"- software: Python {platform.python_version()}, torch {torch.__version__}, {commit()}")
    print(f"- data: {data}; seed {arguments.seed}; {datetime.date.today()}")
    script = Path(sys.argv[0]).name
    print(f"- command: `python tests/benchmarks/{script} {' '.join(map(quoted, sys.argv[1:]))}`\n")


def circumstances():
    """Return how and where a record was made."""
    return dict(
        command=" ".join(["python", f"tests/benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        hardware=f"{processor()}, {torch.get_num_threads()} threads",
        software=f"Python {platform.python_version()}, torch {torch.__version__}, {commit()}",
        date=str(datetime.date.today()),
    )


def processor():
    """Return what computes here, in words."""
    cpu, info = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{cpu}{gpu}, {os.cpu_count()} cores"


def commit():
    """Return the checked-out version of n2vlib in words."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(git, capture_output=True, text=True)
    return f"n2vlib {done.stdout.strip() or 'of unknown version'}"


def quoted(argument):
    """Return a command-line argument as it would be typed."""
    return f"'{argument}'" if " " in argument else argument


def digest(image):
    """Return the shape of an image and the first digits of its checksum."""
    name = hashlib.sha256(np.ascontiguousarray(image)).hexdigest()[:8]
    return f"{image.shape[0]}x{image.shape[1]}, sha256 {name}"


def table(rows):
    """Print dictionaries with the same keys as a markdown table; None is an empty cell."""
    names = list(rows[0])
    print("|", " | ".join(names), "|")
    print("|", " | ".join("---" if name == names[0] else "---:" for name in names), "|")
    for row in rows:
        print("|", " | ".join("" if row[name] is None else str(row[name]) for name in names), "|")
    print(flush=True)


def number(value, digits=2):
    """Return a number as text with so many decimals; None stays None."""
    return None if value is None else f"{value:.{digits}f}"
