"""Which images of a TIFF file are meant, and what their axes are: as the file or a user says, or as can be assumed."""

import itertools
import math
import re
from typing import NamedTuple

import numpy as np
import tifffile

from .colours import is_ramp

FEW = 5  # pages of unknown meaning, up to this many, may as well be the channels of one image
SOURCES = {"imagej": "ImageJ", "ome": "OME", "ndtiff": "NDTiff", "lsm": "LSM"}  # as tifffile and as users call them
IMAGE_FIRST = ("lsm", "svs", "ndpi")  # makers' formats, in which thumbnails, labels, overviews follow the image
BESIDE = ("thumbnail", "label", "macro", "map", "overview")
COLOURS = {2: 3, 6: 3}  # photometric interpretations of photographs, RGB and YCbCr, and how many colours they have
OTHER_COLOURS = {5: "CMYK", 8: "CIELab", 9: "ICCLab", 32803: "raw colour of a camera (CFA)"}
ALPHA = (1, 2)  # extra samples that are transparency
PALETTE, GREY = 3, (0, 1)
PAGE_METADATA = 51123  # the tag in which Micro-Manager keeps a page's metadata


class Layout(NamedTuple):
    """The images of a TIFF file that are meant.

    series: those of tifffile that hold them. shape, letters: their axes. source: who says so. colours: how many of the
    samples of a pixel (axis S) are those of a photograph, 0 if it is none.
    """

    series: list
    shape: tuple
    letters: str
    source: str
    colours: int = 0


def stored(tiff, series, name):
    """Return the Layout of the images in a file as they are stored, whatever their axes may mean.

    series: the number of one of tifffile's series; None: the image itself, not thumbnails, labels, overviews.
    Raises ValueError for two images of equal standing, a number that is not there, and what is no image of numbers.
    """
    meant = _meant(tiff, series, name)
    first, shape, letters = meant[0], meant[0].shape, meant[0].axes
    if first.dtype is None or first.dtype.kind not in "buif":
        raise ValueError(f"{name} has dtype {first.dtype}: only real numbers can be denoised, save e.g. the magnitude")
    page = first.keyframe
    if first.kind == "bif" and page.is_tiled:
        raise ValueError(
            f"{name} is Ventana BIF, whose tiles overlap and would have to be joined: open it in Fiji (Bio-Formats) "
            "and save it as OME-TIFF"
        )
    if page.photometric in OTHER_COLOURS or (page.photometric == 6 and page.compression == 1):
        kind = OTHER_COLOURS.get(page.photometric, "YCbCr")
        raise ValueError(f"{name} holds {kind}, which is not read: save it as grey levels or RGB")
    if len(meant) > 1:  # written one by one: images, unless nothing at all is known about the axes
        shape, letters = (len(meant), *shape), ("Q" if set(letters) <= set("IQYX") else "S") + letters
    return Layout(meant, shape, letters, SOURCES.get(first.kind, "from the file"), _colours(tiff, page))


def layout(tiff, axes, name, series=None):
    """Return the Layout of the images in a file with axes that are known: as given, as the file says, or assumed."""
    found = stored(tiff, series, name)
    if axes is not None:
        return found._replace(source="as given", **_checked(axes, found.shape, found.letters, name))
    if found.colours:
        what = "colour photograph (RGB)" if found.colours > 1 else "grey photograph with transparency"
        raise ValueError(
            f"{name} is a {what}, not a stack, its axes are {found.letters}: read it with load_image, "
            "or pass axes= with C if its colours are channels"
        )
    if found.source != SOURCES["ndtiff"] and _is_ndtiff(tiff):
        raise ValueError(
            f"{name} is NDTiff, and the file NDTiff.index, which says what its {found.shape[0]} pages are, is not "
            "beside it: put it there, or pass axes=, for example axes='T4CYX'"
        )
    letters, page = found.letters, found.series[0].keyframe
    if page.samplesperpixel > 1 and "C" not in letters:  # stains of one pixel, stored beside each other
        before, _, after = letters.rpartition("S")  # a first S may be images that were written one by one
        letters = f"{before}C{after}"
    kept = [(n, letter) for n, letter in zip(found.shape, letters) if n > 1 or letter in "CYX"]
    shape, letters = tuple(n for n, _ in kept), "".join(letter for _, letter in kept)
    letters, source = _known(shape, letters, found.source, name)
    return found._replace(shape=shape, letters=letters, source=source)


def _meant(tiff, series, name):
    """Return the series, one or several of one kind, that hold the image itself."""
    if series is not None:
        if not isinstance(series, (int, np.integer)) or not 0 <= series < len(tiff.series):
            raise ValueError(f"series={series!r} does not fit {name}: it holds the images 0 to {len(tiff.series) - 1}")
        return [tiff.series[series]]
    if tiff.series[0].kind in IMAGE_FIRST:
        return [tiff.series[0]]
    meant = [one for one in tiff.series if not _is_beside(one)] or tiff.series
    kinds = {(one.shape, str(one.dtype), one.axes): number for number, one in reversed([*enumerate(meant)])}
    if len(kinds) > 1:
        numbers = {tiff.series.index(meant[n]): kind for kind, n in kinds.items()}
        listed = " and ".join(f"{number}: {shape} {dtype}" for number, (shape, dtype, _) in sorted(numbers.items()))
        raise ValueError(
            f"{name} holds {len(kinds)} kinds of images ({listed}): name one by its number, series=0, "
            "or save those to be denoised in a file of their own"
        )
    return _by_page_axes(tiff, meant, name)


def _is_beside(series):
    """Tell a thumbnail, label or overview by its flag, or by its name, as in "label image" of Bio-Formats."""
    named = series.name.lower().removesuffix(" image") in BESIDE
    return named or series.keyframe.is_reduced or series.keyframe.is_mask


def _colours(tiff, page):
    """Return how many samples of a page's pixels are colours of a photograph; 0: none, these are intensities."""
    if page.photometric == PALETTE:
        return 0 if tiff.is_imagej or page.colormap is None or is_ramp(page.colormap.T) else 3
    colours = COLOURS.get(page.photometric, 1 if page.photometric in GREY and page.samplesperpixel == 2 else 0)
    others = page.extrasamples
    transparent = page.samplesperpixel == colours + 1 and len(others) == 1 and others[0] in ALPHA
    return colours if transparent or (colours > 1 and page.samplesperpixel == colours) else 0


def _by_page_axes(tiff, series, name):
    """Return the series with its pages in the order of the axes that Micro-Manager wrote into each (NDTiff).

    tifffile reads them from the index beside the file; a file that was copied without it still says them.
    """
    pages = series[0].pages
    if series[0].kind not in ("uniform", "generic") or PAGE_METADATA not in tiff.pages.first.tags or len(series) > 1:
        return series
    places = [_place(tiff.pages[n]) for n in range(len(tiff.pages))]
    if not all(places) or len(places) != len(pages) or len({frozenset(place) for place in places}) > 1:
        return series
    values = {axis: sorted({place[axis] for place in places}, key=_in_order) for axis in places[0]}
    changes = {axis: sum(a[axis] != b[axis] for a, b in itertools.pairwise(places)) for axis in values}
    order = sorted(values, key=changes.get)  # the slowest first
    by_place = {tuple(values[axis].index(place[axis]) for axis in order): page for place, page in zip(places, pages)}
    lengths = tuple(len(values[axis]) for axis in order)
    if len(by_place) < len(pages):  # two of one place: these are no axes
        return series
    if len(by_place) < math.prod(lengths):
        missing = next(place for place in np.ndindex(lengths) if place not in by_place)
        where = ", ".join(f"{axis} {values[axis][n]}" for axis, n in zip(order, missing))
        raise ValueError(f"{name} has no page of {where}: it was cut short, or parts of it are in other files")
    letters = "".join(tifffile.TIFF.AXES_CODES.get(axis.lower(), "Q") for axis in order)
    pages, page = [by_place[place] for place in np.ndindex(lengths)], series[0].keyframe
    return [tifffile.TiffPageSeries(pages, lengths + page.shape, page.dtype, letters + page.axes, kind="ndtiff")]


def _place(page):
    """Return the axes that Micro-Manager wrote into a page, numbers or names by axis; None if there are none."""
    tag = page.tags.get(PAGE_METADATA)
    place = tag.value.get("Axes") if tag is not None and isinstance(tag.value, dict) else None
    known = isinstance(place, dict) and all(isinstance(value, (int, str)) for value in place.values())
    return place if known else None


def _is_ndtiff(tiff):
    """Tell whether Micro-Manager wrote a file as NDTiff, whose axes stand in an index beside it, or in each page."""
    summary = tiff.micromanager_metadata if tiff.is_micromanager else None
    return bool(summary) and summary.get("MajorVersion", 0) >= 2 and len(tiff.pages) > 1


def _in_order(value):
    """Sort numbers as numbers, before names."""
    return (isinstance(value, str), value)


def _checked(axes, shape, known, name):
    """Return shape and letters as a user gave them, in capitals; raise ValueError if they don't fit.

    ImageJ leaves out axes of length one, so "TCYX" fits the single image of a file that knows "CYX" as well. Lengths
    after the letters ("T4CYX") say how pages of which the file knows but the number are to be counted.
    """
    named, stored = re.findall(r"([A-Z])(\d*)", str(axes).upper()), shape
    letters = "".join(letter for letter, _ in named)
    if any(length for _, length in named):
        shape = _split(named, shape, known)
    elif len(letters) > len(known) and "".join(axis for axis in letters if axis in known) == known:
        shape = tuple(dict(zip(known, shape)).get(axis, 1) for axis in letters)
    written = "".join(letter + length for letter, length in named) == str(axes).upper()
    fits = shape and len(letters) == len(shape) and len(set(letters)) == len(letters) and {"Y", "X"} <= set(letters)
    if not fits or not written:
        raise ValueError(
            f"axes={axes!r} does not fit {name} of shape {stored}: give {len(stored)} different letters, with Y and X, "
            "and C for channels; lengths, as in axes='T4CYX', split pages of which it knows but the number"
        )
    return dict(shape=shape, letters=letters)


def _split(named, shape, known):
    """Return the shape in which axes with lengths split the pages (..., Y, X) of a file; None if they do not fit."""
    if not known.endswith("YX") or [letter for letter, _ in named[-2:]] != ["Y", "X"]:
        return None
    lengths = [int(length) if length else 0 for _, length in named[:-2]]
    pages, given = math.prod(shape[:-2]), math.prod(length for length in lengths if length)
    if lengths.count(0) > 1 or not given or pages % given or (0 not in lengths and pages != given):
        return None
    sides = [int(length) if length else side for (_, length), side in zip(named[-2:], shape[-2:])]
    return tuple(length or pages // given for length in lengths) + shape[-2:] if sides == [*shape[-2:]] else None


def _known(shape, letters, source, name):
    """Return the letters and their source, with what has to be assumed if the file doesn't say; or raise ValueError."""
    if {"Y", "X"} <= set(letters) and not set(letters) & set("IQ") and len(set(letters)) == len(letters):
        return letters, source
    if letters.endswith("YX") and len(shape) == 3 and shape[0] > FEW:
        return "SYX", f"assumed: {shape[0]} images of one channel"
    examples = {2: "axes='YX'", 3: "axes='CYX' for channels, axes='TYX' for images", 4: "axes='TCYX'"}
    example = examples.get(len(shape), "axes='TZCYX'")
    raise ValueError(f"{name} does not say what its shape {shape} means: pass axes=, for example {example}")
