"""Hyperstacks on disk: seen as (N, C, Y, X) without loading them into memory."""

import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from .other_formats import refuse_other_formats
from .plates import read_names
from .tiff_damage import open_whole, unreadable
from .tiff_layout import layout


def read_stack(path, axes=None, series=None):
    """Open a TIFF hyperstack, or a plate's folder of single-channel files, as a stack (N, C, Y, X).

    path: ImageJ, OME, NDTiff or plain TIFF, or a folder of r01c01f01p01-ch1....tiff (Opera Phenix) or
    ..._s1_w1.tif (MetaXpress). axes: one letter for each dimension of the file, with Y, X and perhaps C; all others
    (T, Z, S, ...) are counted as images, in the file's order; those of length one, which ImageJ leaves out, may be
    named; lengths split pages of which the file knows but the number: "T4CYX". None: as the file says. series: the
    number of one of several images in the file; None: the image itself, not thumbnails and overviews beside it.
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
        refuse_other_formats(path)
        plate = read_names(path)
        return _gathered(plate), f"SCYX ({plate.kind})"
    if not path.is_file():
        raise FileNotFoundError(f"no file or folder {path}: check the path")
    refuse_other_formats(path)
    with open_whole(path, believe=axes is None) as tiff:
        return stack_of(tiff, path, axes, series)


def stack_of(tiff, path, axes=None, series=None):
    """Return what `read_stack` returns of a TIFF file that `open_whole` opened."""
    found = layout(tiff, axes, path.name, series)
    return _as_stack(path, found), f"{found.letters} ({found.source})"


def _as_stack(path, found):
    """Return the images of a file as a read-only memory map (N, C, Y, X), of the file itself if possible."""
    shape, letters = found.shape, found.letters
    if "C" not in letters:
        shape, letters = (*shape, 1), letters + "C"
    order = [letters.index(axis) for axis in (*(axis for axis in letters if axis not in "CYX"), *"CYX")]
    ordered = [shape[i] for i in order]
    stack_shape = (math.prod(ordered[:-3]), *ordered[-3:])
    # Axes that are neighbours in the file become one without copying, those of length 1 anywhere.
    longer = "".join(axis for axis, length in zip(letters, shape) if length > 1)
    neighbours = "".join(axis for axis in longer if axis not in "CYX") in longer
    first = found.series[0]
    if len(found.series) == 1 and _in_one_piece(first) and neighbours:
        return _mapped(first, path, shape).transpose(order).reshape(stack_shape)
    stack = _temporary(ordered, first.dtype)
    in_file_order = stack.transpose(np.argsort(order))
    page_shape = next(shape[i:] for i in range(len(shape) + 1) if math.prod(shape[i:]) == first.pages[0].size)
    places = np.ndindex(shape[: len(shape) - len(page_shape)])
    try:
        for place, page in zip(places, _pages(found.series, path), strict=True):
            in_file_order[place] = page.reshape(page_shape)
    except Exception as error:  # each compression has its own kind of failure
        raise unreadable(path, error) from error
    stack.flags.writeable = False
    return stack.reshape(stack_shape)


def _in_one_piece(series):
    """Tell whether the data of a series lies in one piece in the file that was opened."""
    return series.dataoffset is not None and not series.is_multifile and series.transform is None


def _mapped(series, path, shape):
    """Return a series whose data is in one piece as a read-only memory map of the file."""
    dtype = series.dtype.newbyteorder(series.keyframe.parent.byteorder)
    return np.memmap(path, dtype, "r", series.dataoffset, shape)


def _pages(series, path):
    """Yield the pages of several series one after the other, as arrays."""
    for one in series:
        if _in_one_piece(one):  # tifffile may know but the first of its pages
            page = one.pages[0]
            yield from _mapped(one, path, (one.size // page.size, *page.shape))
        else:
            pages = map(_decoded, one.pages)
            yield from map(one.transform, pages) if one.transform else pages  # gels are stored as square roots


def _decoded(page):
    """Return a page as an array; of an image in several files, of which only the first is open, it opens the page's."""
    file = page.parent.filehandle
    was_closed = file.closed
    if was_closed:
        file.open()
    try:
        return page.asarray()
    finally:
        if was_closed:
            file.close()


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


def _gathered(plate):
    """Copy single-channel files, all channels of an image after each other, into a stack (N, C, Y, X)."""
    files = plate.files
    first, _ = read_stack(files[0])
    stack = _temporary((plate.images, plate.channels, *first.shape[2:]), first.dtype)
    for place, file in zip(np.ndindex(plate.images, plate.channels), files):
        page, _ = read_stack(file)
        if page.shape != (1, 1, *stack.shape[2:]) or page.dtype.newbyteorder("=") != stack.dtype:
            raise ValueError(
                f"{file.name} holds {page.shape} {page.dtype.name} and {files[0].name} holds "
                f"(1, 1, {stack.shape[2]}, {stack.shape[3]}) {stack.dtype}: one image of one size and dtype each"
            )
        stack[place] = page[0, 0]
    stack.flags.writeable = False
    return stack
