"""Photographs with noise: BSD68, the benchmark of the Noise2Void paper, and those of scikit-image in its place.

BSD68 is found in a folder, or downloaded once and checked. Three layouts of it are read, from a folder or straight
out of a zip file (nothing is unpacked):
train/*.tiff, val/*.tiff, test/images/*.tiff, test/gt/*.tiff (the authors' archive);
train/*.npy, val/*.npy, test/*.npy (their older archive); train400/*.png, test68/*.png (clean).
"""

import contextlib
import functools
import io
import itertools
import os
import pickle
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import skimage.data
import skimage.io
import tifffile
from skimage.io.collection import alphanumeric_key
from skimage.util import view_as_windows
from tqdm.auto import tqdm

from .downloads import fetch, fetch_part

SIGMA = 25  # standard deviation of the benchmark's noise, intensities 0 to 255
ARCHIVE = "BSD68_reproducibility_data.zip"
COUNTS = ((396, 4, 68, 68), (3168, 4, 68, 68))  # images to train (or turned ones too), validate, test noisy and clean
SIZES = {(180, 180)}, {(321, 481), (481, 321)}  # of the images to train and to test
APART = 37  # numbers between two training images of a part, see _copy_part


class NoisyImages(NamedTuple):
    """A denoising benchmark. All images are float32, in intensity units, and noisy but `clean`.

    train: (N, Y, X). validation: (M, Y, X). noisy, clean: lists of test images (Y, X), each of its
    own size. source: where they come from, in words.
    """

    train: np.ndarray
    validation: np.ndarray
    noisy: list
    clean: list
    source: str


def bsd68(seed=0, part=None):
    """Load the BSD68 benchmark: 396 noisy training images or their 3168 turned copies, 4 for validation, 68 tests.

    Looked for in the folder that the environment variable N2VLIB_DATA names, in the layouts above;
    without the variable the authors' archive (395 MB) is downloaded once. Clean PNGs get the paper's noise:
    Gaussian, sigma 25 of 255, drawn from `seed`, neither clipped nor rounded (Krull et al. 2019).
    part: without the folder only so many training and test images are read, e.g. (64, 3), and the 4 for validation:
    0.13 MB each to train and validate, 1.2 MB to test. What is measured on a part is not the benchmark's number.
    Returns NoisyImages. Of the training images only noisy ones are handed on.
    Raises FileNotFoundError for a folder without BSD68, ConnectionError without network,
    ValueError for damaged or incomplete data, and for a part that cannot be.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, N2VLIB_DATA="nowhere"):
    ...     bsd68()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: N2VLIB_DATA=nowhere holds no BSD68: it needs train400/*.png and test68/*.png, or BSD68...
    """
    if part is not None and not (np.shape(part) == (2,) and part[0] in range(1, 397) and part[1] in range(1, 69)):
        raise ValueError(f"part = {part} is not possible: give numbers of training (to 396) and test images (to 68)")
    if part is not None and not os.environ.get("N2VLIB_DATA"):
        return _fetch_part(*part)
    place, layout = _find()
    with _one_sentence(place):
        images = {"png": _from_png, "tiff": _from_tiff, "npy": _from_npy}[layout](place, seed)
        _check(images)
    return images


def bsd68_test_image(number=5):
    """Return one clean test image of BSD68 (Martin et al. 2001), (Y, X), intensities 0 to 255.

    number: 1 to 68. Found or downloaded as in `bsd68`; the PNGs (test68/test005.png) and the
    authors' archive number the images differently.
    Raises ValueError for a wrong number, and what `bsd68` raises.

    >>> bsd68_test_image(69)
    Traceback (most recent call last):
    ValueError: number = 69 is not possible: BSD68 has the test images 1 to 68
    """
    if number not in range(1, 69):
        raise ValueError(f"number = {number} is not possible: BSD68 has the test images 1 to 68")
    place, layout = _find()
    with _one_sentence(place):
        if layout == "png":
            return _read_image(place / "test68" / f"test{number:03d}.png")
        if layout == "npy":
            return _read_npy(place / "test" / "bsd68_groundtruth.npy")[number - 1]
        return _read_image(_files(place / "test" / "gt", 68)[number - 1])


def sample_photographs(seed=0):
    """Return photographs that ship in scikit-image with BSD68's noise, for a lesson without BSD68.

    The test photographs are not among the training ones. Returns NoisyImages.

    >>> images = sample_photographs()
    >>> images.train.shape, len(images.noisy), round(float(np.std(images.noisy[0] - images.clean[0])))
    ((22, 180, 180), 3, 25)
    """
    train = ["camera", "astronaut", "rocket", "brick", "grass", "gravel"]
    test = ["chelsea", "coffee", "coins"]
    colours = {name: np.atleast_3d(getattr(skimage.data, name)()) for name in train + test}
    grey = {name: photograph.mean(axis=-1).astype(np.float32) for name, photograph in colours.items()}
    rng = np.random.default_rng(seed)
    pieces = np.concatenate([view_as_windows(grey[name], 180, step=180).reshape(-1, 180, 180) for name in train])
    pieces = add_noise(pieces[rng.permutation(len(pieces))], rng)
    clean = [grey[name][:300, :384] for name in test]
    noisy = [add_noise(image, rng) for image in clean]
    return NoisyImages(pieces[4:], pieces[:4], noisy, clean, "photographs of scikit-image (these are NOT BSD68)")


def add_noise(clean, rng):
    """Add the benchmark's noise to clean images, neither clipped nor rounded; returns float32."""
    return (clean + rng.normal(0, SIGMA, clean.shape)).astype(np.float32)


def _find():
    """Return where BSD68 is, a Path or zipfile.Path, and the name of its layout."""
    folder = os.environ.get("N2VLIB_DATA")
    if folder:
        top, name = Path(folder), f"N2VLIB_DATA={folder}"
        folders = [top, *sorted(top.glob("*/")), *sorted(top.glob("*/*/"))]
        zips = map(_open_zip, sorted(top.glob("BSD68*.zip")))  # opened only if no folder will do
        places = itertools.chain(folders, zips)
    else:
        places, name = [_open_zip(fetch(ARCHIVE))], ARCHIVE
    marks = {"png": "test68", "tiff": "test/gt", "npy": "test/bsd68_groundtruth.npy"}
    for place in places:
        for layout, mark in marks.items():
            if (place / mark).exists():
                return place, layout
    raise FileNotFoundError(
        f"{name} holds no BSD68: it needs train400/*.png and test68/*.png, or {ARCHIVE} (packed or not)"
    )


def _open_zip(path):
    """Return the folder inside a zip file, opened or not, that holds the data; a zipfile.Path unpacks nothing."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        path = path if isinstance(path, os.PathLike) else path.name
        raise ValueError(f"{path} is not a complete zip file ({error}): download it again") from error
    for name in archive.namelist():
        if PurePosixPath(name).is_absolute() or ".." in re.split(r"[/\\]", name):
            raise ValueError(f"{path} holds a file that climbs out of its folder ({name}): do not use this archive")
    root = zipfile.Path(archive)
    folders = [child for child in root.iterdir() if child.is_dir() and child.name != "__MACOSX"]
    return folders[0] if len(folders) == 1 and folders[0].name != "test" else root


def _fetch_part(train, tests):
    """Return a part of BSD68 as NoisyImages; the archive in the cache folder holds what the authors' does, but less."""
    copy, check = (functools.partial(do, train=train, tests=tests) for do in (_copy_part, _read_part))
    limit = 4e6 + 3e5 * train + 2e6 * tests  # twice as much as expected, and the archive's table of contents
    return _read_part(fetch_part(ARCHIVE, f"BSD68_{train}_{tests}.zip", copy, check, limit), train, tests)


def _copy_part(file, path, train, tests):
    """Copy members of the authors' archive, opened as `file`, into a zip file that may hold some of them already.

    The test images are the first ones. The training images are 37 numbers apart: these are different photographs, be
    the 3168 each photograph turned eight times, one after the other, or all photographs, and then all of them turned.
    """
    place = _open_zip(file)
    every = _files(place / "train")
    if len(every) not in (396, 3168):
        raise ValueError(f"{len(every)} training images instead of 396 or 3168")
    chosen = [every[APART * number % len(every)] for number in range(train)] + _files(place / "val", 4)
    chosen += [file for kind in ("images", "gt") for file in _files(place / "test" / kind, 68)[:tests]]
    with zipfile.ZipFile(path, "a") as part:
        there = set(part.namelist())
        for member in tqdm(chosen, unit="image", desc=path.stem):
            if member.at not in there:
                content = member.read_bytes()  # zipfile compares the checksum (CRC) at the end
                part.writestr(zipfile.ZipInfo(member.at), content)


def _read_part(path, train, tests):
    """Read the zip file of a part, and check it."""
    place = _open_zip(path)
    with place.root:
        images = _from_tiff(place, 0, tests)
    _check(images, [(train, 4, tests, tests)])
    for expected, parts in zip(SIZES, ([images.train, images.validation], [images.noisy])):
        sizes = {image.shape for part in parts for image in part}
        if not sizes <= expected or not all(np.isfinite(image).all() for part in parts for image in part):
            raise ValueError(f"images of {sizes} instead of {expected}, or some pixels are not numbers")
    told = f"the first {tests} of 68 test images, {train} of its training images"
    return images._replace(source=f"BSD68, a part of it: {told} ({path})")


def _from_tiff(place, seed, tests=68):
    train, validation = (np.stack([_read_image(f) for f in _files(place / part)]) for part in ("train", "val"))
    noisy, clean = ([_read_image(f) for f in _files(place / "test" / part, tests)] for part in ("images", "gt"))
    return NoisyImages(train, validation, noisy, clean, f"BSD68, {place}")


def _from_npy(place, seed):
    train = _read_npy(place / "train" / "DCNN400_train_gaussian25.npy")
    validation = _read_npy(place / "val" / "DCNN400_validation_gaussian25.npy")
    noisy, clean = (list(_read_npy(place / "test" / f"bsd68_{part}.npy")) for part in ("gaussian25", "groundtruth"))
    return NoisyImages(train, validation, noisy, clean, f"BSD68, {place}")


def _from_png(place, seed):
    rng = np.random.default_rng(seed)
    train = add_noise(np.stack([_read_image(file) for file in _files(place / "train400", 400, ".png")]), rng)
    clean = [_read_image(file) for file in _files(place / "test68", 68, ".png")]
    noisy = [add_noise(image, rng) for image in clean]
    source = f"BSD68, {place}, with noise of sigma {SIGMA} drawn from seed {seed}"
    return NoisyImages(train[:-4], train[-4:], noisy, clean, source)


def _check(images, possible=COUNTS):
    """Raise ValueError if images are missing, or the noisy ones are not the clean ones with the benchmark's noise."""
    counts = len(images.train), len(images.validation), len(images.noisy), len(images.clean)
    if counts not in possible:
        right = " or ".join(map(str, possible))
        raise ValueError(f"{counts} images to train, validate and test, noisy and clean, instead of {right}")
    for number, (noisy, clean) in enumerate(zip(images.noisy, images.clean), 1):
        fits = noisy.shape == clean.shape and clean.min() >= 0 and clean.max() <= 255
        if not fits or not (abs(np.std(noisy - clean) - SIGMA) < 2 and abs(np.mean(noisy - clean)) < 2):
            raise ValueError(f"test image {number} and its ground truth do not belong together")


@contextlib.contextmanager
def _one_sentence(place):
    """Turn whatever damage makes the readers raise into a ValueError of one sentence."""
    try:
        yield
    except Exception as error:  # each reader has its own kinds of failure at every byte
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise ValueError(f"{place} is incomplete or damaged ({reason}): get BSD68 again") from error


def _files(folder, count=None, suffix=".tiff"):
    """Return the files of a folder in the order of the numbers in their names."""
    if not folder.exists():
        raise FileNotFoundError(f"no folder {folder}")
    files = [file for file in folder.iterdir() if file.name.endswith((suffix, suffix.replace("ff", "f")))]
    if not files or (count and len(files) != count):
        raise FileNotFoundError(f"{folder} holds {len(files)} {suffix} files instead of {count or 'some'}")
    return sorted(files, key=lambda file: alphanumeric_key(file.name))  # 2 comes before 12


def _read_image(file):
    read = skimage.io.imread if file.name.endswith(".png") else tifffile.imread
    try:
        return read(io.BytesIO(file.read_bytes())).astype(np.float32)
    except Exception as error:
        raise ValueError(f"{file.name}: {type(error).__name__}") from error


def _read_npy(file):
    """Read an array, or an array of arrays of different sizes, without running code from the file."""
    with file.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read_header[version](stream)
        if not dtype.hasobject:
            stream.seek(0)
            return np.lib.format.read_array(stream, allow_pickle=False).astype(np.float32)
        try:
            images = ArraysOnly(stream).load()
        except (pickle.UnpicklingError, EOFError, AttributeError) as error:
            raise ValueError(f"{file.name}: {type(error).__name__}") from error
    return [np.asarray(image, np.float32) for image in images.reshape(shape)]


class ArraysOnly(pickle.Unpickler):
    """Unpickle arrays of numbers and nothing else: a pickle can name any function, only four are called here."""

    def find_class(self, module, name):
        """Return one of the parts that numpy makes arrays of."""
        from_numpy = module.partition(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype")
        if from_numpy or (module, name) == ("_codecs", "encode"):  # text to bytes: how older numpy stored numbers
            return super().find_class(module, name)
        raise ValueError(f"a .npy file asks for {module}.{name}, which no array of numbers needs: do not use this file")
