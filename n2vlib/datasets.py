"""BSD68, the benchmark of the Noise2Void paper: found in a folder, or downloaded once and checked.

Three layouts are read, from a folder or straight out of a zip file (nothing is unpacked):
train/*.tiff, val/*.tiff, test/images/*.tiff, test/gt/*.tiff (the authors' archive);
train/*.npy, val/*.npy, test/*.npy (their older archive); train400/*.png, test68/*.png (clean).
"""

import io
import os
import pickle
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import skimage.data
import skimage.io
import tifffile

from .download import fetch

SIGMA = 25  # standard deviation of the benchmark's noise, intensities 0 to 255
ARCHIVE = "BSD68_reproducibility_data.zip"


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


def load_bsd68(seed=0):
    """Load the BSD68 benchmark: 396 noisy training images or their 3168 turned copies, 4 for validation, 68 tests.

    Looked for in the folder that the environment variable N2VLIB_DATA names, in the layouts above;
    without the variable the authors' archive (395 MB) is downloaded once. Clean PNGs get the paper's noise:
    Gaussian, sigma 25 of 255, drawn from `seed`, neither clipped nor rounded (Krull et al. 2019).
    Returns NoisyImages. Of the training images only noisy ones are handed on.
    Raises FileNotFoundError for a folder without BSD68, ConnectionError without network,
    ValueError for damaged or incomplete data.
    """
    place, layout = _find()
    try:
        return {"png": _from_png, "tiff": _from_tiff, "npy": _from_npy}[layout](place, seed)
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, tifffile.TiffFileError) as error:
        raise ValueError(f"{place} is incomplete or damaged ({error}): get BSD68 again") from error


def bsd68_test_image(number=5):
    """Return one clean test image of BSD68 (Martin et al. 2001), (Y, X), intensities 0 to 255.

    number: 1 to 68. Found or downloaded as in `load_bsd68`; the PNGs (test68/test005.png) and the
    authors' archive number the images differently.
    Raises ValueError for a wrong number, and what `load_bsd68` raises.
    """
    if not 1 <= number <= 68:
        raise ValueError(f"number = {number} is not possible: BSD68 has the test images 1 to 68")
    place, layout = _find()
    if layout == "png":
        return skimage.io.imread(place / "test68" / f"test{number:03d}.png")
    if layout == "npy":
        return _read_npy(place / "test" / "bsd68_groundtruth.npy")[number - 1]
    return _read_tiff(_files(place / "test" / "gt", 68)[number - 1])


def sample_photographs(seed=0):
    """Return photographs that ship in scikit-image with BSD68's noise, for a lesson without BSD68.

    The test photographs are not among the training ones. Returns NoisyImages.
    """
    train = ["camera", "astronaut", "rocket", "brick", "grass", "gravel"]
    test = ["chelsea", "coffee", "coins"]
    photographs = {name: _grey(getattr(skimage.data, name)()) for name in train + test}
    rng = np.random.default_rng(seed)
    pieces = np.stack([piece for name in train for piece in _pieces(photographs[name], 180)])
    pieces = _add_noise(pieces[rng.permutation(len(pieces))], rng)
    clean = [photographs[name][:300, :384] for name in test]
    noisy = [_add_noise(image, rng) for image in clean]
    return NoisyImages(pieces[4:], pieces[:4], noisy, clean, "photographs of scikit-image (these are NOT BSD68)")


def _find():
    """Return where BSD68 is, a Path or zipfile.Path, and the name of its layout."""
    folder = os.environ.get("N2VLIB_DATA")
    if not folder:
        return _recognise([_open_zip(fetch(ARCHIVE))], ARCHIVE)
    top = Path(folder)
    zips = sorted(top.glob("BSD68*.zip"))
    places = [top, *sorted(top.glob("*/")), *sorted(top.glob("*/*/")), *(_open_zip(path) for path in zips)]
    return _recognise(places, f"N2VLIB_DATA={folder}")


def _recognise(places, name):
    marks = {"png": "test68", "tiff": "test/gt", "npy": "test/bsd68_groundtruth.npy"}
    for place in places:
        for layout, mark in marks.items():
            if (place / mark).exists():
                return place, layout
    raise FileNotFoundError(
        f"{name} holds no BSD68: it needs train400/*.png and test68/*.png, or {ARCHIVE} (packed or not)"
    )


def _open_zip(path):
    """Return the folder inside a zip file that holds the data, as a zipfile.Path, which reads without unpacking."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is not a complete zip file ({error}): download it again") from error
    for name in archive.namelist():
        if PurePosixPath(name).is_absolute() or ".." in re.split(r"[/\\]", name):
            raise ValueError(f"{path} holds a file that climbs out of its folder ({name}): do not use this archive")
    root = zipfile.Path(archive)
    folders = [child for child in root.iterdir() if child.is_dir()]
    return folders[0] if len(folders) == 1 and folders[0].name != "test" else root


def _from_tiff(place, seed):
    train, validation = (np.stack([_read_tiff(file) for file in _files(place / part)]) for part in ("train", "val"))
    noisy, clean = ([_read_tiff(f) for f in _files(place / "test" / part, 68)] for part in ("images", "gt"))
    return _checked(NoisyImages(train, validation, noisy, clean, f"BSD68, {place}"))


def _from_npy(place, seed):
    train = _read_npy(place / "train" / "DCNN400_train_gaussian25.npy")
    validation = _read_npy(place / "val" / "DCNN400_validation_gaussian25.npy")
    noisy, clean = (list(_read_npy(place / "test" / f"bsd68_{part}.npy")) for part in ("gaussian25", "groundtruth"))
    return _checked(NoisyImages(train, validation, noisy, clean, f"BSD68, {place}"))


def _from_png(place, seed):
    rng = np.random.default_rng(seed)
    train = _add_noise(np.stack([skimage.io.imread(file) for file in _files(place / "train400", 400, ".png")]), rng)
    clean = [skimage.io.imread(file).astype(np.float32) for file in _files(place / "test68", 68, ".png")]
    noisy = [_add_noise(image, rng) for image in clean]
    source = f"BSD68, {place}, with noise of sigma {SIGMA} drawn from seed {seed}"
    return _checked(NoisyImages(train[:-4], train[-4:], noisy, clean, source))


def _checked(images):
    """Raise ValueError if the noisy test images are not the clean ones with the benchmark's noise."""
    for number, (noisy, clean) in enumerate(zip(images.noisy, images.clean, strict=True), 1):
        if noisy.shape != clean.shape or abs(np.std(noisy - clean) - SIGMA) > 2:
            raise ValueError(f"{images.source}: test image {number} and its ground truth do not belong together")
    return images


def _files(folder, count=None, suffix=".tiff"):
    """Return the files of a folder in the order of the numbers in their names."""
    if not folder.exists():
        raise FileNotFoundError(f"no folder {folder}")
    files = [file for file in folder.iterdir() if file.name.endswith((suffix, suffix.replace("ff", "f")))]
    if not files or (count and len(files) != count):
        raise FileNotFoundError(f"{folder} holds {len(files)} {suffix} files instead of {count or 'some'}")
    return sorted(files, key=lambda file: [int(part) if part.isdigit() else part for part in _parts(file.name)])


def _parts(name):
    """Split "image_12.tiff" into ("image_", "12", ".tiff"), so that 2 comes before 12."""
    return re.split(r"(\d+)", name)


def _read_tiff(file):
    return tifffile.imread(io.BytesIO(file.read_bytes())).astype(np.float32)


def _read_npy(file):
    """Read an array, or an array of arrays of different sizes, without running code from the file."""
    with file.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read_header[version](stream)
        if not dtype.hasobject:
            stream.seek(0)
            return np.lib.format.read_array(stream, allow_pickle=False).astype(np.float32)
        images = ArraysOnly(stream).load()
    return [np.asarray(image, np.float32) for image in images.reshape(shape)]


class ArraysOnly(pickle.Unpickler):
    """Unpickle arrays of numbers and nothing else: a pickle can name any function, only three are called here."""

    def find_class(self, module, name):
        """Return one of the three parts that numpy makes arrays of."""
        if module.partition(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        raise ValueError(f"a .npy file asks for {module}.{name}, which no array of numbers needs: do not use this file")


def _add_noise(clean, rng):
    return (clean + rng.normal(0, SIGMA, clean.shape)).astype(np.float32)


def _grey(image):
    return (image[..., :3].mean(axis=-1) if image.ndim == 3 else image).astype(np.float32)


def _pieces(image, side):
    """Cut an image into squares of `side` pixels."""
    rows, columns = image.shape[0] // side, image.shape[1] // side
    return [image[r * side : (r + 1) * side, c * side : (c + 1) * side] for r in range(rows) for c in range(columns)]
