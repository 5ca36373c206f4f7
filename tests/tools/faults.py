"""Bad input, damaged files, full disks, cut downloads and kills, many of each, counted in a table.

`python tests/tools/faults.py --count 1000` is the long run, `--only damaged killed` a part of it, and
tests/project/test_faults.py runs a short one. Each case is tried in a process of its own (a fork: a few milliseconds),
whose memory, file size and time are limited. It ends well in one of two ways: with a result that is checked, or with
one clear error, that is: an exception of a documented kind, raised by a `raise` of n2vlib, in one line of at most 300
characters (or by the operating system, if it names the file). Anything else is BAD: another error, a crash, a hang,
too much memory, a file half-written, a temporary file left behind, code of a model file that was run. Linux only.
"""

import argparse
import collections
import functools
import hashlib
import http.server
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import hypothesis
import numpy as np
import pooch
import skimage.io
import tifffile
import torch
from hypothesis import strategies as st
from tiff_kinds import WHOLE
from tqdm.auto import tqdm

import n2vlib
from n2vlib import Denoiser, N2VConfig
from n2vlib.datasets import downloads
from n2vlib.images.files import read_images
from n2vlib.learning.masking import load_mask
from n2vlib.learning.network import build_network

LIBRARY = Path(n2vlib.__file__).parent
KINDS = (ValueError, TypeError, FileNotFoundError, ConnectionError, OSError)
SECONDS, MEMORY, DISK = 60, 2**30, 10**8  # of one case: processor time, bytes beyond what torch takes, bytes of a file
SMALL = dict(patch_size=16, batch_size=2, num_channels_init=2, depth=1, device="cpu", steps_per_epoch=1)
MOUNT = False  # --mount: full disks are real ones, which needs root
WENT_ON, CLEAR, KILLED = "went on correctly", "clear error", "killed"


# One case


def judged(action):
    """Do it; say how it ended."""
    try:
        action()
        return WENT_ON
    except BaseException as error:
        text, last = str(error), traceback.extract_tb(error.__traceback__)[-1]
        ours = LIBRARY in Path(last.filename).parents and last.line.startswith("raise ")
        system = isinstance(error, OSError) and error.filename is not None
        if (type(error) in KINDS and ours and 20 < len(text) < 300 and "\n" not in text) or system:
            return CLEAR
        return f"BAD: {type(error).__name__} in {Path(last.filename).name}:{last.lineno}: {text[:200]!r}"


def attempt(action, file_size=DISK, kill_after=None):
    """Do it in a process of its own with limits, or killed after some seconds; say how it ended."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            limit(file_size)
            os.write(send, judged(action).encode())
        finally:
            os._exit(0)
    os.close(send)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with open(receive, "rb") as file:
        ending = file.read().decode(errors="replace")
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and not ending:
        name = signal.Signals(os.WTERMSIG(status)).name
        return KILLED if name == "SIGKILL" and kill_after is not None else f"BAD: ended by {name}"
    return ending or "BAD: ended without a word"


def limit(file_size):
    """Limit memory, file size and time of this process, and silence it."""
    tqdm.set_lock(
        threading.RLock()
    )  # its own: tqdm's is shared with forks, and one that is killed may hold it for ever
    silent = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(silent, number)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS,) * 2)
    signal.alarm(10 * SECONDS)  # for what hangs without computing; generous, for machines that are busy


class Counts:
    """How many cases of each kind ended how, and what was bad."""

    def __init__(self):
        self.kinds, self.bad = collections.defaultdict(collections.Counter), []

    def add(self, kind, case, ending):
        self.kinds[kind][ending.partition(":")[0]] += 1
        if ending.startswith("BAD"):
            self.bad.append(f"{kind}: {case}: {ending}")

    def table(self):
        columns = [WENT_ON, CLEAR, "BAD"]
        rows = [[kind, sum(ends.values()), *(ends[c] for c in columns)] for kind, ends in self.kinds.items()]
        rows.append(["all", *np.sum([row[1:] for row in rows], axis=0)])
        lines = [["kind of fault", "tried", *columns], ["---", *["---:"] * 4], *rows]
        return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def drawn(count, seed, strategy):
    """Return `count` examples of a hypothesis strategy (fewer if there are no more)."""
    examples = []
    settings = dict(max_examples=count, database=None, deadline=None, derandomize=False)
    settings |= dict(phases=[hypothesis.Phase.generate], suppress_health_check=list(hypothesis.HealthCheck))

    @hypothesis.seed(seed)
    @hypothesis.settings(**settings)
    @hypothesis.given(strategy)
    def draw(example):
        examples.append(example)

    draw()
    return examples


def small_model(channels=1, **settings):
    config = N2VConfig(**SMALL | settings)
    torch.manual_seed(0)
    noise = ([0.0] * channels, [400.0] * channels) if config.noise_model else None
    return Denoiser(build_network(config, channels), config, [100] * channels, [50] * channels, noise)


def noisy(shape, seed=0):
    return np.random.default_rng(seed).poisson(100, shape)


def predicted_well(image, clean):
    assert clean.shape == np.shape(image) and clean.dtype == np.float32 and np.isfinite(clean).all()


# Arguments of any shape, dtype, axis and value

DTYPES = """bool uint8 int8 uint16 >u2 int32 uint64 int64 float16 float32 >f4 float64 longdouble complex64 object U3
datetime64[s]""".split()
ODD = (None, "camera", b"bytes", {"a": 1}, {1, 2}, 3, 2.5, [[1, 2], [3]], [[1, "a"]], [], [None], object(), np.nan)
LAYOUTS = (
    np.asfortranarray,
    lambda array: array[..., ::-1],
    lambda array: array.T,
    lambda array: array.tolist(),
    lambda array: np.ma.masked_array(array),
    lambda array: torch.from_numpy(array.copy()) if array.dtype.name in ("float64", "uint8", "int64") else array,
    lambda array: torch.ones(20, 20, requires_grad=True),
    lambda array: np.broadcast_to(array, (2, *array.shape)),
)
NUMBERS = st.one_of(
    st.none(),
    st.integers(-3, 60),
    st.floats(),
    st.floats(0, 1),
    st.sampled_from([True, "3", [], (1, 2), 10**4, np.int8(3)]),
)
AXES = st.one_of(st.none(), st.none(), st.integers(-5, 5), st.sampled_from([0.5, "C", (0,), np.int64(-1)]))
COVARIANCE = 100 * np.outer([0, 0, 1, 0, 0], [0.1, 0.6, 1, 0.6, 0.1])
SIDES = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 24, 33, 48, 50, 64])


@st.composite
def arrays(draw):
    """Draw an array, or something that is none, as a user may hand it over."""
    sort = draw(st.integers(0, 19))
    if sort <= 2:
        return draw(st.sampled_from(ODD)) if sort else COVARIANCE
    good = st.tuples(st.integers(48, 64), st.integers(48, 64))
    shape = draw(
        st.one_of(st.lists(SIDES, max_size=5), st.lists(st.integers(8, 64), min_size=2, max_size=3), good, good)
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["noise"] * 6 + ["photons", "constant", "tiny", "huge", "far from zero", "padded"]))
    values = {
        "noise": lambda: rng.normal(100, 20, shape),
        "photons": lambda: rng.poisson(3, shape) * 1.0,
        "constant": lambda: np.full(shape, 7.0),
        "tiny": lambda: rng.normal(0, 1e-40, shape),
        "huge": lambda: rng.normal(0, 1e38, shape),
        "far from zero": lambda: 1e15 + rng.normal(0, 1, shape),
        "padded": lambda: rng.normal(100, 20, shape) * (rng.random(shape) > 0.9),
    }[kind]()
    dtype = draw(st.sampled_from(["float64", "uint16"] * 4 + DTYPES))
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        array = np.asarray(values).astype("int64" if "date" in dtype else dtype).astype(dtype)
    if array.size and array.dtype.kind == "f" and draw(st.integers(0, 3)) == 0:
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return draw(st.sampled_from([np.asarray] * 4 + list(LAYOUTS)))(array)


Case = collections.namedtuple("Case", "a b axis m n pick")
CASES = st.builds(Case, arrays(), arrays(), AXES, NUMBERS, NUMBERS, st.integers(0, 999))


def call_train(c):
    model = ([None, "gaussian", "poisson_gaussian"])[c.pick % 3]
    config = N2VConfig(**SMALL, max_steps=1, noise_model=model)
    predicted_well(c.a, n2vlib.train(c.a, config, channel_axis=c.axis).predict(c.a, channel_axis=c.axis))


def call_train_validated(c):
    validation = c.b if c.pick % 2 else c.m
    predicted_well(c.a, n2vlib.train(c.a, N2VConfig(**SMALL, max_steps=1), validation=validation).predict(c.a))


def call_two_stages(c):
    short = dict(features=2, num_layers=1, patch_size=16, patches_per_image=2)
    config = dict(num_epochs=1, tta=False, quiet=True, stage1=short, stage2=short | dict(extractor=dict(mask_size=5)))
    predicted_well(c.a, n2vlib.run_two_stage(c.a, config).denoised)


def call_config(c):
    names = list(N2VConfig.__dataclass_fields__)
    N2VConfig(**{names[c.pick % len(names)]: c[c.pick % 5]})


def call_stages_config(c):
    names = "num_epochs axes split_ratio preset stage1 stage2 output_dir device tta max_seconds xyz".split()
    n2vlib.run_two_stage(np.ones((2, 2)), {names[c.pick % len(names)]: c.m})  # the image is too small to be trained on


def call_measures(c):
    b = c.a if c.pick % 2 else c.b
    for measure in (n2vlib.psnr, n2vlib.scale_invariant_psnr, n2vlib.ssim):
        assert not np.isnan(measure(c.a, b))
    assert not np.isnan(n2vlib.evaluate([c.a], [b])["psnr"]).any()


def call_draw_noise(c):
    assert (
        n2vlib.noise.draw_noise(
            n2vlib.noise.noise_spectrum(COVARIANCE if c.pick % 3 else c.a, (c.m, 64 + c.pick)), torch.Generator()
        )
        .isfinite()
        .all()
    )


def call_autocovariance(c):
    sizes = {} if c.pick % 2 else dict(size=c.m, patch=c.n)
    assert np.isfinite(n2vlib.noise_autocovariance(c.a, channel=c.axis, **sizes).values).all()


def call_law(c):
    law = n2vlib.noise.noise_law(c.a, channel=c.axis)
    assert np.isfinite(law.covariance).all() and law.covariance.max() > 0
    page = np.asarray(c.a, np.float64).reshape(-1, *np.shape(c.a)[-2:])[0]
    assert np.isfinite(n2vlib.noise.pattern(page, law.lines, law.frequencies)).all()
    assert n2vlib.noise.draw_from_law(law, (64, 48), torch.Generator()).isfinite().all()


def call_names(c):
    if c.pick % 2:
        n2vlib.datasets.bsd68_test_image(c.m)
    n2vlib.load_pretrained("bsd68_n2v2" if c.pick % 3 else c.n)


def call_paths(c):
    open_path = (n2vlib.read_stack, n2vlib.load_image, Denoiser.load, load_mask, read_images)[c.pick % 5]
    open_path(["", "no/such/file.tif", "/", "x" * 5000, "a\0b", Path("."), "~", " ", "file:///x.tif"][c.pick // 5 % 9])


@functools.cache
def functions():
    """Return public functions that take images, numbers or paths, by name."""
    model = small_model()
    gaussian = small_model(noise_model="gaussian")
    return {
        "train": call_train,
        "train, validation": call_train_validated,
        "predict": lambda c: predicted_well(c.a, model.predict(c.a, channel_axis=c.axis)),
        "run_two_stage": call_two_stages,
        "N2VConfig": call_config,
        "run_two_stage, config": call_stages_config,
        "psnr, ssim, evaluate": call_measures,
        "noise_spectrum, draw_noise": call_draw_noise,
        "noise_autocovariance": call_autocovariance,
        "noise_law, pattern, draw_from_law": call_law,
        "noise_report": lambda c: str(n2vlib.noise_report(c.a, channel=c.axis)),
        "structural_mask, ring_mask": lambda c: [n2vlib.structural_mask, n2vlib.noise.ring_mask][c.pick % 2](c.a),
        "estimate_poisson_gaussian": lambda c: n2vlib.estimate_poisson_gaussian(c.a),
        "blind_sigma": lambda c: n2vlib.learning.blind_sigma(gaussian, c.a, batches=2),
        "recorrupted_error": lambda c: n2vlib.learning.recorrupted_error(model, c.a, c.b if c.pick % 2 else COVARIANCE),
        "split_images": lambda c: n2vlib.split_images(c.pick if c.pick % 2 else c.m, c.n),
        "load_pretrained, bsd68_test_image": call_names,
        "paths": call_paths,
    }


def arguments(counts, count, seed, folder):
    """Call the functions with arrays, axes, numbers and settings of all kinds."""
    os.environ["N2VLIB_DATA"] = str(folder)  # no data is there
    for name, function in functions().items():
        for case in drawn(max(1, count // len(functions())), seed, CASES):
            text = ", ".join(f"{v.dtype}{tuple(v.shape)}" if hasattr(v, "dtype") else repr(v)[:60] for v in case)
            counts.add(f"arguments of {name}", text, attempt(lambda: function(case)))  # noqa: B023 (called at once)


# Damaged files


def damaged_bytes(content, rng):
    """Cut bytes off at a random place, or change up to eight, often near an end, where headers are."""
    if rng.random() < 0.3:
        return content[: rng.randrange(len(content))]
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place = rng.randrange(len(content))
        if rng.random() < 0.5:
            place = min(len(content) - 1, int(rng.expovariate(1 / 200)))
            place = place if rng.random() < 0.5 else len(content) - 1 - place
        content[place] = rng.randrange(256)
    return bytes(content)


def damaged_images(counts, count, seed, folder):
    """Read TIFF files of all kinds, PNG and JPEG files whose bytes were changed or cut off."""
    rng, model = random.Random(seed), small_model(2)
    files = {}
    for kind, how in WHOLE.items():
        tifffile.imwrite(folder / "whole.tif", noisy((6, 2, 17, 18)).astype("uint16"), photometric="minisblack", **how)
        files[kind] = "x.tif", (folder / "whole.tif").read_bytes()
    for suffix in ("png", "jpg"):
        skimage.io.imsave(folder / f"whole.{suffix}", noisy((20, 24)).astype("uint8"), check_contrast=False)
        files[suffix] = f"x.{suffix}", (folder / f"whole.{suffix}").read_bytes()

    def denoised(path):
        target = n2vlib.denoise_file(model, path, folder / "out" / "out.tif")
        assert np.isfinite(np.array(n2vlib.read_stack(target)[0])).all()

    reads = {
        "read_stack": lambda path: np.array(n2vlib.read_stack(path)[0]),
        "load_image": n2vlib.load_image,
        "run_two_stage, reading": read_images,
        "denoise_file": denoised,
    }
    for n in range(count):
        kind, action = rng.choice(list(files)), rng.choice(list(reads))
        path = folder / files[kind][0]
        path.write_bytes(damaged_bytes(files[kind][1], rng))
        shutil.rmtree(folder / "out", ignore_errors=True)
        ending = attempt(lambda: reads[action](path))  # noqa: B023 (called at once)
        left = [file.name for file in (folder / "out").glob("*")] if action == "denoise_file" else []
        if left != (["out.tif"] if ending == WENT_ON and action == "denoise_file" else []):
            ending = f"BAD: {ending}, and left {left}"
        if ending.startswith("BAD"):
            shutil.copy(path, folder / f"bad{n}{path.suffix}")
        counts.add(f"damaged image file: {action}", f"{kind} {n}", ending)


class Trap:
    """What a pickle runs when it is loaded: here it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def places(content):
    """Return the keys that lead to every value of nested dictionaries and lists."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [(key, *rest) for key, value in pairs for rest in [(), *places(value)]]


def replaced(content, place, value):
    """Return nested dictionaries and lists with another value at one place."""
    copy = content.copy()
    copy[place[0]] = value if len(place) == 1 else replaced(copy[place[0]], place[1:], value)
    return copy


def damaged_models(counts, count, seed, folder):
    """Load, and resume from, model files with changed bytes, changed values, and code."""
    rng, images, trap = random.Random(seed), noisy((2, 20, 20)), Trap(folder / "sprung")
    config = N2VConfig(**SMALL, max_steps=2, checkpoint_dir=folder / "run")
    n2vlib.train(images, config)
    path = folder / "run" / "last.pt"
    whole = path.read_bytes()
    content = torch.load(path, weights_only=True)
    content["history"] = {name: list(values) for name, values in content["history"].items()}

    def bytes_changed():
        path.write_bytes(damaged_bytes(whole, rng))

    def bytes_changed_checksums_right():
        with zipfile.ZipFile(folder / "whole.zip", "w") as archive, zipfile.ZipFile(path) as before:
            parts = {name: before.read(name) for name in before.namelist()}
            name = next(n for n in parts if n.endswith("data.pkl")) if rng.random() < 0.8 else rng.choice(list(parts))
            for part, data in parts.items():
                archive.writestr(part, damaged_bytes(data, rng) if part == name and data else data)
        os.replace(folder / "whole.zip", path)

    def value_changed():
        odd = [None, "x", -1, 0, 1e9, float("nan"), [], {}, [1.0, "a"], True, torch.ones(2), 10**30]
        torch.save(replaced(content, rng.choice(places(content)), rng.choice(odd)), path)

    def code_inside():
        bad = replaced(content, rng.choice(places(content)), trap)
        rng.choice([lambda: torch.save(bad, path), lambda: path.write_bytes(pickle.dumps(bad))])()

    uses = {
        "load": lambda: predicted_well(images, Denoiser.load(path).predict(images)),
        "resume": lambda: predicted_well(images, n2vlib.train(images, config, resume=True).predict(images)),
    }
    for n in range(count):
        damage = rng.choice([bytes_changed, bytes_changed_checksums_right, value_changed, code_inside])
        use = rng.choice(list(uses))
        path.write_bytes(whole)
        damage()
        before = path.read_bytes()
        ending = attempt(uses[use])
        if trap.folder.exists() or list(folder.glob("**/*.tmp")) or (ending == CLEAR and path.read_bytes() != before):
            ending = f"BAD: {ending}, but the file was changed, ran code ({trap.folder.exists()}) or left another"
        if ending.startswith("BAD"):
            (folder / f"bad{n}.pt").write_bytes(before)
        counts.add(f"damaged model file, {damage.__name__.replace('_', ' ')}: {use}", n, ending)
    torch.save(replaced(content, places(content)[0], trap), path)
    torch.load(path, weights_only=False)
    assert trap.folder.exists(), "the trap itself does not work"


def damaged_arrays(counts, count, seed, folder):
    """Read .npy files (masks, the older archive of BSD68) with changed bytes, or with code."""
    rng, trap = random.Random(seed), Trap(folder / "sprung")
    data = folder / "data" / "test"
    data.mkdir(parents=True)
    os.environ["N2VLIB_DATA"] = str(folder / "data")
    mask = np.zeros((5, 5), bool)
    mask[2] = True
    pictures = np.empty(68, object)
    pictures[:] = [noisy((5, 6 + n % 2)).astype("float32") for n in range(68)]
    traps = np.array([trap] * 68, dtype=object)
    files = {
        "mask": (folder / "mask.npy", mask, lambda: load_mask(folder / "mask.npy")),
        "BSD68": (data / "bsd68_groundtruth.npy", pictures, lambda: n2vlib.datasets.bsd68_test_image(3)),
    }
    for n in range(count):
        name = rng.choice(list(files))
        path, array, read = files[name]
        np.save(path, traps if n % 10 == 0 else array, allow_pickle=True)
        path.write_bytes(path.read_bytes() if n % 10 == 0 else damaged_bytes(path.read_bytes(), rng))
        ending = attempt(read)
        counts.add(f"damaged .npy file: {name}", n, "BAD: ran code" if trap.folder.exists() else ending)


# A full disk


def on_full_disk(folder, action, size):
    """Do it where no file may grow beyond `size` bytes, or with --mount, where the disk has that many bytes left."""
    if not MOUNT:
        return attempt(action, size)
    used = sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))
    remount = ["mount", "-o", f"remount,size={used + size}", str(folder)]
    subprocess.run(remount, check=True)
    try:
        return attempt(action)
    finally:
        subprocess.run([*remount[:2], "remount,size=100m", remount[3]], check=True)


def full_disk(counts, count, seed, folder):
    """Write with ever other limits to the size of a file; then once more with room enough."""
    rng, images = random.Random(seed), noisy((6, 40, 48)).astype("uint16")
    model, source = small_model(num_channels_init=8), folder / "in.tif"
    tifffile.imwrite(source, images, photometric="minisblack", metadata={"axes": "TYX"}, compression="zlib")
    kinds = {
        "save": (disk_save, dict(model=model)),
        "checkpoints": (disk_checkpoints, dict(images=images)),
        "denoise_file": (disk_denoise, dict(model=model, source=source, images=images)),
        "run_two_stage": (disk_two_stage, dict(images=images[0])),
    }
    for n in range(count):
        name = list(kinds)[n % len(kinds)]
        there = folder / f"case{n}"
        there.mkdir()
        if MOUNT:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none", str(there)], check=True)
        function, given = kinds[name]
        try:
            ending = function(there, lambda: int(10 ** rng.uniform(0, 5.5)), **given)
        except AssertionError as error:
            ending = f"BAD: {traceback.extract_tb(error.__traceback__)[-1].line}: {error}"
        counts.add(f"full disk: {name}", n, ending)
        if MOUNT:
            subprocess.run(["umount", str(there)], check=True)
        shutil.rmtree(there)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def disk_save(folder, size, model):
    path = folder / "model.pt"
    old = small_model()
    old.save(path)
    before = path.read_bytes()
    ending = on_full_disk(folder, lambda: model.save(path), size())
    assert names(folder) == ["model.pt"], names(folder)
    assert ending == WENT_ON or path.read_bytes() == before, "the old model is lost"
    model.save(path)
    Denoiser.load(path)
    return ending


def disk_checkpoints(folder, size, images):
    config = N2VConfig(**SMALL | dict(max_steps=4, lr_scheduler="plateau", save_top_k=2))
    kept = N2VConfig(**SMALL | dict(max_steps=4, lr_scheduler="plateau", save_top_k=2), checkpoint_dir=folder / "run")
    limit = size() + 20_000  # here and there a first checkpoint (of some 30 kB) fits, and the log does not
    ending = on_full_disk(folder, lambda: n2vlib.train(images, kept), limit)
    left = names(folder / "run") if (folder / "run").exists() else []
    assert not [name for name in left if name.endswith(".tmp")], left
    for name in left:
        assert name == "log.csv" or Denoiser.load(folder / "run" / name)
    same_weights(n2vlib.train(images, kept, resume=True), n2vlib.train(images, config))
    return ending


def same_weights(one, other):
    one, other = one.network.state_dict(), other.network.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in other), "resuming gave other weights"


def disk_denoise(folder, size, model, source, images):
    target = folder / "out.tif"
    target.write_bytes(b"an older result")
    ending = on_full_disk(folder, lambda: n2vlib.denoise_file(model, source, target), size())
    assert ending == WENT_ON or target.read_bytes() == b"an older result"
    assert set(names(folder)) <= {"out.tif", "out.tif.part", "out.tif.part.txt"}, names(folder)  # to go on from
    quietly(n2vlib.denoise_file, model, source, target)
    assert names(folder) == ["out.tif"], names(folder)
    assert np.array_equal(n2vlib.read_stack(target)[0][:, 0], model.predict(images))
    return ending


def disk_two_stage(folder, size, images):
    short = dict(features=8, num_layers=1, patch_size=16, patches_per_image=2)
    stage2 = short | dict(extractor=dict(mask_size=5), mask_source="extractor", method="recorrupted")
    config = dict(num_epochs=1, tta=False, stage1=short, stage2=stage2, output_dir=str(folder / "run"))
    config["quiet"] = True  # what it prints may go to a file, for which the limit holds too
    wanted = {"stage1.pt", "stage2.pt", "mask.npy", "mask.png", "config.json", "metrics.json", "denoised.tif"}

    def action():
        result = n2vlib.run_two_stage(images, config)
        predicted_well(images, result.denoised)
        complete = wanted - {path.name for path in (folder / "run").iterdir()} <= {"stage2.pt"}  # if it was needed
        assert complete if result.folder else "could not be written" in result.messages[-1]

    ending = on_full_disk(folder, action, size())
    assert {path.name for path in (folder / "run").glob("*")} <= wanted, names(folder / "run")
    readers = {".pt": Denoiser.load, ".json": lambda p: json.loads(p.read_text()), ".npy": load_mask}
    for path in (folder / "run").glob("*"):  # what is there is whole
        readers.get(path.suffix, n2vlib.load_image)(path)
    return ending


def quietly(function, *arguments):
    assert attempt(lambda: function(*arguments)) == WENT_ON


# Killed at random moments


def killed(counts, count, seed, folder):
    """Kill training, checkpointing, and the writing of a prediction and of a model, then go on."""
    rng = random.Random(seed)
    kinds = {"training": 3, "checkpointing": 1, "prediction": None, "saving": None}
    for kind, epoch in kinds.items():
        done = tried = middle = 0
        start, seconds = time.perf_counter(), None
        while done < max(1, count // len(kinds)) and tried < 3 * count:
            there = folder / f"{kind}{tried}"
            there.mkdir()
            action, check = killable(kind, epoch, there)
            if seconds is None:
                start = time.perf_counter()
                attempt(action)
                seconds = time.perf_counter() - start
                shutil.rmtree(there), there.mkdir()
            tried += 1
            ending = attempt(action, kill_after=rng.uniform(0, seconds))
            seconds *= 1 if ending == KILLED else 0.7  # it was over already: the machine got faster
            if ending == KILLED:
                done += 1
                middle += bool([*there.glob("**/*.tmp"), *there.glob("**/*.part")])
                counts.add(f"SIGKILL: {kind}", tried, judged_check(check))
            shutil.rmtree(there)
        print(f"{kind}: {done} kills within {seconds:.2f} s, {middle} of them with a file being written", flush=True)


def judged_check(check):
    ending = judged(check)
    return ending if ending == WENT_ON else f"BAD: {ending}"


def killable(kind, epoch, folder):
    """Return what is to be killed, and what checks afterwards that nothing is lost and that it can go on."""
    if epoch:
        width = 16 if kind == "checkpointing" else 4
        how = dict(steps_per_epoch=epoch, max_steps=12 if kind == "checkpointing" else 30, num_channels_init=width)
        config = N2VConfig(**SMALL | how, checkpoint_dir=folder / "run")
        return (
            lambda: n2vlib.train(noisy((3, 20, 20)), config),
            lambda: check_training(config, folder, N2VConfig(**SMALL | how)),
        )
    model = small_model(num_channels_init=16, depth=2)
    if kind == "saving":
        model.save(folder / "model.pt")
        return lambda: [model.save(folder / "model.pt") for _ in range(20)], lambda: Denoiser.load(folder / "model.pt")
    images = noisy((30, 24, 24)).astype("uint16")
    tifffile.imwrite(folder / "in.tif", images, photometric="minisblack", metadata={"axes": "TYX"})
    return (
        lambda: n2vlib.denoise_file(model, folder / "in.tif", folder / "out.tif"),
        lambda: check_denoised(model, folder, images),
    )


def check_training(config, folder, plain):
    for path in (folder / "run").glob("*.pt"):
        Denoiser.load(path)
    images = noisy((3, 20, 20))
    same_weights(n2vlib.train(images, config, resume=True), whole_training(plain))
    assert not list((folder / "run").glob("*.tmp")), names(folder / "run")


@functools.cache
def whole_training(config):
    return n2vlib.train(noisy((3, 20, 20)), config)


def check_denoised(model, folder, images):
    if (folder / "out.tif").exists():
        assert np.array_equal(n2vlib.read_stack(folder / "out.tif")[0][:, 0], model.predict(images))
    quietly(n2vlib.denoise_file, model, folder / "in.tif", folder / "out.tif")
    assert np.array_equal(n2vlib.read_stack(folder / "out.tif")[0][:, 0], model.predict(images))
    assert names(folder) == ["in.tif", "out.tif"], names(folder)


# Downloads


class Handler(http.server.BaseHTTPRequestHandler):
    """A server that hangs up, lies, fails, or knows no ranges, as its `faults` say; without any left it is good."""

    def do_GET(self):
        server, asked = self.server, self.headers["Range"]
        fault = server.faults.pop(0) if server.faults else {}
        if "status" in fault:
            return self.send_error(fault["status"])
        content = server.content[::-1] if "lie" in fault else server.content
        start = int(asked[len("bytes=") : -1]) if asked and "no ranges" not in fault else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if "no length" not in fault:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: fault.get("cut")])

    def log_message(self, *arguments):
        pass


def cut_downloads(counts, count, seed, folder):
    """Download from servers that fail in all ways, over and over until it is there; or there is none at all."""
    rng = random.Random(seed)
    os.environ |= dict(NO_PROXY="127.0.0.1", N2VLIB_DOWNLOAD="1")
    for n in range(count):
        kinds = [
            dict(cut=rng.randrange(300_000)),
            {"cut": rng.randrange(300_000), "no ranges": True},
            {"cut": rng.randrange(300_000), "no length": True},
            dict(lie=True),
            dict(status=rng.choice([404, 416, 500, 503])),
        ]
        faults = [rng.choice(kinds) for _ in range(rng.randrange(1, 4))]
        cache = folder / f"cache{n}"
        counts.add("download cut, wrong or refused", faults, attempt(lambda: download_all(cache, faults)))  # noqa: B023
        counts.add("no network", n, attempt(lambda: download_without_network(folder / "none", n)))  # noqa: B023
        shutil.rmtree(cache, ignore_errors=True)


def download_all(cache, faults):
    """Fetch until it works: each failure must be a clear error, and only the right file may ever be there."""
    content = np.random.default_rng(0).bytes(300_000)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.faults, server.content = list(faults), content
        files(cache, server.server_port, content)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for tried in range(2 * len(faults) + 2):
            ending = judged(lambda: downloads.fetch("a.zip"))
            path = cache / "a.zip"
            assert not path.exists() or path.read_bytes() == content, f"a wrong file after {tried + 1} tries"
            if ending == WENT_ON:
                assert names(cache) == ["a.zip"], names(cache)
                return
            assert ending == CLEAR, ending
        raise AssertionError("it never got there")


def files(cache, port, content):
    """Let n2vlib take a server on this machine for that of its data."""
    urls = {"a.zip": f"http://127.0.0.1:{port}/a.zip"}
    registry = {"a.zip": "sha256:" + hashlib.sha256(content).hexdigest()}
    downloads.FILES = pooch.create(cache, "", registry=registry, urls=urls)


def download_without_network(cache, n):
    files(cache, 9, b"")  # nobody listens there
    if n % 2:
        os.environ["N2VLIB_DOWNLOAD"] = "0"
    downloads.fetch("a.zip")


PARTS = dict(
    arguments=arguments,
    damaged_images=damaged_images,
    damaged_models=damaged_models,
    damaged_arrays=damaged_arrays,
    full_disk=full_disk,
    killed=killed,
    downloads=cut_downloads,
)
SHARES = dict(full_disk=0.1, killed=0.04, downloads=0.1)  # of the cases of the others: these take longer


def run(count, parts=PARTS, seed=0, folder=None):
    """Try about `count` cases of each large part, fewer of the slow ones; return the Counts."""
    counts = Counts()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    base = Path(folder or tempfile.mkdtemp())
    for part in parts:
        there = base / part
        there.mkdir(parents=True)
        before = dict(os.environ)
        PARTS[part](counts, max(4, round(SHARES.get(part, 1) * count)), seed, there)
        os.environ.clear()
        os.environ.update(before)
        if not counts.bad:
            shutil.rmtree(there)
    if folder is None and not counts.bad:
        base.rmdir()
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="cases of each large part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--mount", action="store_true", help="fill small real disks (Linux, root) instead of limiting files"
    )
    arguments = parser.parse_args()
    global MOUNT
    MOUNT = arguments.mount
    start = time.perf_counter()
    counts = run(arguments.count, arguments.only, arguments.seed)
    print(counts.table())
    print(f"{' '.join(sys.argv)}, {time.perf_counter() - start:.0f} s")
    for line in counts.bad:
        print(line)
    return bool(counts.bad)


if __name__ == "__main__":
    sys.exit(main())
