"""Hyperstacks on disk: seen as (N, C, Y, X) without loading them into memory."""

import itertools
import math
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np

from .tiff_damage import open_whole, unreadable

# How the Opera Phenix microscope of the JUMP plates names its files: row, column, field, plane; channel; times.
PHENIX = re.compile(r"(r\d+c\d+f\d+p\d+)-ch(\d+)(\w*)\.tiff?", re.IGNORECASE)
FEW = 5  # pages of unknown meaning, up to this many, may as well be the channels of one image
SOURCES = {"imagej": "ImageJ", "ome": "OME"}  # as tifffile and as users call them
RGB_LIKE = (2, 5, 6, 8)  # photometric interpretations: RGB, CMYK, YCbCr, CIELab


def read_stack(path, axes=None):
    """Open a TIFF hyperstack, or a plate's folder of single-channel files, as a stack (N, C, Y, X).

    path: ImageJ, OME or plain TIFF, or a folder of r01c01f01p01-ch1....tiff (Opera Phenix). axes: one
    letter for each dimension of the file, with Y, X and perhaps C; all others (T, Z, S, ...) are
    counted as images, in the file's order; those of length one, which ImageJ leaves out, may be named.
    None: as the file says.
    Returns (stack, axes): a read-only memory map (N, C, Y, X) in the file's dtype and intensity units,
    in a temporary file if the data is compressed or scattered; and the axes that were assumed, with
    their source, as in "TCYX (ImageJ)".
    Raises FileNotFoundError, ValueError for a damaged file, an RGB photograph, unknown or wrong axes,
    or OSError if the temporary file finds no room.

    >>> import tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/cells.tif", np.zeros((5, 4, 2, 8, 8), "uint8"), metadata={"axes": "TZCYX"})
    ...     read_stack(f"{folder}/cells.tif")[0].shape
    (20, 2, 8, 8)
    """
    path = Path(path)
    if path.is_dir():
        if axes is not None:
            raise ValueError(
                f"axes={axes!r} is for files, and {path.name} is a folder: its names tell images and channels"
            )
        return _read_plate(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file or folder {path}: check the path")
    with open_whole(path) as tiff:
        shape, letters, source = layout(tiff, axes, path.name)
        return _as_stack(tiff, path, shape, letters), f"{letters} ({source})"


def layout(tiff, axes, name):
    """Return shape and axes letters of the images in a file, and who says so."""
    first, page = tiff.series[0], tiff.pages.first
    kinds = {(series.shape, str(series.dtype), series.axes) for series in tiff.series}
    if len(kinds) > 1:
        listed = " and ".join(f"{shape} {dtype}" for shape, dtype, _ in sorted(kinds)[:2])
        raise ValueError(
            f"{name} holds {len(kinds)} kinds of images ({listed}): save those to be denoised in a file of their own"
        )
    if first.dtype.kind not in "buif":
        raise ValueError(f"{name} has dtype {first.dtype}: only real numbers can be denoised, save e.g. the magnitude")
    shape, letters = first.shape, first.axes
    if len(tiff.series) > 1:  # written one by one: images, unless nothing at all is known about the axes
        shape, letters = (len(tiff.series), *shape), ("Q" if set(letters) <= set("IQYX") else "S") + letters
    if axes is not None:
        return *_checked(axes, shape, letters, name), "as given"
    if page.photometric in RGB_LIKE or (page.samplesperpixel > 1 and "S" in letters):
        raise ValueError(
            f"{name} is a colour photograph (RGB), not a stack, its axes are {letters}: read it with load_image, "
            "or pass axes= with C if its colours are channels"
        )
    kept = [(n, letter) for n, letter in zip(shape, letters) if n > 1 or letter in "CYX"]
    shape, letters = tuple(n for n, _ in kept), "".join(letter for _, letter in kept)
    return shape, *_known(shape, letters, SOURCES.get(first.kind, "from the file"), name)


def _checked(axes, shape, known, name):
    """Return shape and axes as a user gave them, in capitals; raise ValueError if they don't fit.

    ImageJ leaves out axes of length one, so "TCYX" fits the single image of a file that knows "CYX" as well.
    """
    letters = str(axes).upper()
    if len(letters) > len(known) and "".join(axis for axis in letters if axis in known) == known:
        shape = tuple(dict(zip(known, shape)).get(axis, 1) for axis in letters)
    if len(letters) != len(shape) or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters):
        raise ValueError(
            f"axes={axes!r} does not fit {name} of shape {shape}: give {len(shape)} different letters, "
            "with Y and X, and C for channels"
        )
    return shape, letters


def _known(shape, letters, source, name):
    """Return the letters and their source, with what has to be assumed if the file doesn't say; or raise ValueError."""
    if {"Y", "X"} <= set(letters) and not set(letters) & set("IQ") and len(set(letters)) == len(letters):
        return letters, source
    if letters.endswith("YX") and len(shape) == 3 and shape[0] > FEW:
        return "SYX", f"assumed: {shape[0]} images of one channel"
    examples = {2: "axes='YX'", 3: "axes='CYX' for channels, axes='TYX' for images", 4: "axes='TCYX'"}
    example = examples.get(len(shape), "axes='TZCYX'")
    raise ValueError(f"{name} does not say what its shape {shape} means: pass axes=, for example {example}")


def _as_stack(tiff, path, shape, letters):
    """Return the images of a file as a read-only memory map (N, C, Y, X), of the file itself if possible."""
    if "C" not in letters:
        shape, letters = (*shape, 1), letters + "C"
    order = [letters.index(axis) for axis in (*(axis for axis in letters if axis not in "CYX"), *"CYX")]
    ordered = [shape[i] for i in order]
    stack_shape = (math.prod(ordered[:-3]), *ordered[-3:])
    # Axes that are neighbours in the file become one without copying, those of length 1 anywhere.
    longer = "".join(axis for axis, length in zip(letters, shape) if length > 1)
    neighbours = "".join(axis for axis in longer if axis not in "CYX") in longer
    first = tiff.series[0]
    if len(tiff.series) == 1 and first.dataoffset is not None and neighbours:
        return _mapped(tiff, first, path, shape).transpose(order).reshape(stack_shape)
    stack = _temporary(ordered, first.dtype)
    in_file_order = stack.transpose(np.argsort(order))
    page_shape = next(shape[i:] for i in range(len(shape) + 1) if math.prod(shape[i:]) == first.pages[0].size)
    places = np.ndindex(shape[: len(shape) - len(page_shape)])
    try:
        for place, page in zip(places, _pages(tiff, path), strict=True):
            in_file_order[place] = page.reshape(page_shape)
    except Exception as error:  # each compression has its own kind of failure
        raise unreadable(path, error) from error
    stack.flags.writeable = False
    return stack.reshape(stack_shape)


def _mapped(tiff, series, path, shape):
    """Return a series whose data is in one piece as a read-only memory map of the file."""
    return np.memmap(path, series.dtype.newbyteorder(tiff.byteorder), "r", series.dataoffset, shape)


def _pages(tiff, path):
    """Yield the pages of a file one after the other, as arrays."""
    for series in tiff.series:
        if series.dataoffset is None:
            yield from (page.asarray() for page in series.pages)
        else:  # tifffile may know but the first of its pages
            page = series.pages[0]
            yield from _mapped(tiff, series, path, (series.size // page.size, *page.shape))


def _temporary(shape, dtype):
    """Return a memory map, to be written, of a temporary file that disappears with the array."""
    folder, size = tempfile.gettempdir(), math.prod(shape) * dtype.itemsize
    full = OSError(
        f"{folder} has no room for the {size / 1e9:.3g} GB of the decoded images: "
        "free some space, or set the environment variable TMPDIR to a folder on a larger disk"
    )
    if shutil.disk_usage(folder).free < size:
        raise full
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # a disk that fills up while a map is written kills Python
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                raise full from error
        return np.memmap(file, dtype.newbyteorder("="), "r+", shape=tuple(shape))


def plate_files(folder):
    """Return those files of a folder, sorted, that are named like a plate's."""
    return [file for file in sorted(folder.iterdir()) if PHENIX.fullmatch(file.name)]


def _read_plate(folder):
    """Return the single-channel files of a folder as a stack (N, C, Y, X): images by name, channels by number."""
    files = {}
    for file in plate_files(folder):
        position, channel, times = PHENIX.fullmatch(file.name).groups()
        key = tuple(int(number) for number in re.findall(r"\d+", position + times)), int(channel)
        if key in files:
            raise ValueError(f"{folder.name} has both {files[key].name} and {file.name}: remove one of the two")
        files[key] = file
    if not files:
        raise FileNotFoundError(
            f"folder {folder} has no file named like r01c01f01p01-ch1sk1fk1fl1.tiff (Opera Phenix): check the path"
        )
    images, channels = (sorted(set(part)) for part in zip(*files))
    for image, channel in itertools.product(images, channels):
        if (image, channel) not in files:
            other = next(file for key, file in files.items() if key[0] == image)
            raise ValueError(
                f"{folder.name} has {other.name}, but no channel {channel} of that image: "
                "add the missing file, or remove the others of the image"
            )
    return _gathered([files[key] for key in sorted(files)], len(images), len(channels)), "SCYX (Opera Phenix)"


def _gathered(files, images, channels):
    """Copy single-channel files, all channels of an image after each other, into a stack (N, C, Y, X)."""
    first, _ = read_stack(files[0])
    stack = _temporary((images, channels, *first.shape[2:]), first.dtype)
    for place, file in zip(np.ndindex(images, channels), files):
        page, _ = read_stack(file)
        if page.shape != (1, 1, *stack.shape[2:]) or page.dtype.newbyteorder("=") != stack.dtype:
            raise ValueError(
                f"{file.name} holds {page.shape} {page.dtype.name} and {files[0].name} holds "
                f"(1, 1, {stack.shape[2]}, {stack.shape[3]}) {stack.dtype}: one image of one size and dtype each"
            )
        stack[place] = page[0, 0]
    stack.flags.writeable = False
    return stack
