"""Is a TIFF file whole? Damage that its reader would pass over in silence, or meet only hours later."""

import contextlib
import logging
import math
import re
import struct
from pathlib import PurePosixPath

import numpy as np
import tifffile

AS_TO_READ_STACK = " (as to read_stack)"  # for load_image knows no axes
# Bytes of one value of each TIFF type, by its number; 0 for numbers that mean nothing.
TYPE_BYTES = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8, 0])


def is_tiff(path):
    """Tell by its first bytes whether a file is TIFF or BigTIFF, whatever its name."""
    with open(path, "rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_whole(path, believe=True):
    """Open a TIFF file after checking that all it refers to is there.

    believe: if False, metadata that contradict the pages are left aside, and the pages speak for themselves.
    Returns a tifffile.TiffFile, to be closed by the caller.
    Raises ValueError for a file that is no TIFF, is cut off anywhere, lacks a file beside it, or contradicts itself.
    """
    directories = count_directories(path)
    tiff, problem = _opened(path, directories)
    if problem and not believe:
        tiff.close()
        tiff, problem = _opened(path, directories, is_imagej=False, is_ome=False, is_shaped=False)
    if problem:
        tiff.close()
        raise ValueError(f"{path.name} {problem}")
    return tiff


def _opened(path, directories, **formats):
    """Open a TIFF file; return it, and what is wrong with it, if anything."""
    try:
        with contextlib.ExitStack() as files, _quiet_tifffile():
            tiff = files.enter_context(tifffile.TiffFile(path, **formats))
            companion = _companion(tiff, path)
            if companion:
                tiff = files.enter_context(tifffile.TiffFile(path, omexml=companion))
            lacking = _files_not_there(tiff, path)
            missing = 0 if lacking else _missing_bytes(tiff)
            found = sum(_directories_of(series) for series in tiff.series)
            files.pop_all()  # stays open
    except Exception as error:  # damage has its own kind of failure at every byte: one sentence for all
        raise unreadable(path, error) from error
    if lacking:
        more = f"put it there, or pass axes= of this{AS_TO_READ_STACK}"
        return tiff, f"is one of several files of an image, and {lacking} is not beside it: {more}"
    if missing == math.inf:
        more = f"copy it again, or pass the axes= of those that are there{AS_TO_READ_STACK}"
        return tiff, f"lacks pages that its metadata name: {more}"
    if missing > 0:
        return tiff, f"is cut off, at least {missing} bytes are missing: copy or download it again"
    return tiff, _contradiction(tiff, directories, found)


@contextlib.contextmanager
def _quiet_tifffile():
    """Keep from the screen what tifffile logs of damage and doubts: what matters of it is said here in one sentence."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _companion(tiff, path):
    """Return what the companion of an OME file says, if the file names one that keeps its metadata; else None."""
    named = tiff.is_ome and re.search(r'<(?:\w+:)?BinaryOnly[^>]*MetadataFile="([^"]+)"', tiff.ome_metadata)
    companion = named and path.with_name(PurePosixPath(named[1].replace("\\", "/")).name)
    return companion.read_text(encoding="utf-8") if companion and companion.is_file() else None


def _files_not_there(tiff, path):
    """Return the names of those files that an OME file says it is one of, and that are not beside it."""
    if not tiff.is_ome:
        return ""
    named = re.findall(r'\b(?:FileName|MetadataFile)="([^"]+)"', tiff.ome_metadata)
    absent = [name for name in dict.fromkeys(named) if not path.with_name(PurePosixPath(name).name).exists()]
    multifile = len(set(named)) > 1 or "BinaryOnly" in tiff.ome_metadata
    return ", ".join(absent[:3]) if multifile else ""  # one name may be what the file was called before


def unreadable(path, error):
    """Return the ValueError for a file that tifffile gave up on with `error`."""
    reason = " ".join(str(error).split())[:100]
    if "imagecodecs" in reason:
        return ValueError(
            f"{path.name} is compressed in a way that needs one more package: pip install imagecodecs, "
            "or save it again without compression"
        )
    return ValueError(f"{path.name} cannot be read as a TIFF stack ({reason}): is it complete? Copy or save it again")


def count_directories(path):
    """Follow the chain of a TIFF file's directories, one a page, and return their number.

    tifffile itself stops without an error where the chain is broken.
    Raises ValueError if the file is no TIFF, or if a directory or a value it points to is missing.
    """
    size, seen = path.stat().st_size, set()
    cut = ValueError(f"{path.name} is cut off or damaged, its list of pages is broken: copy or download it again")
    with open(path, "rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        version = struct.unpack_from(order + "H", head, 2)[0] if order and len(head) >= 4 else None
        if version not in (42, 43):
            raise ValueError(
                f"{path.name} ({size} bytes) is not a TIFF file: choose a .tif or .tiff, or export it as one"
            )
        # TIFF counts in 16 and 32 bits, BigTIFF in 64; NDPI's directories are TIFF's but for where they are.
        number, pointer, value, start = ("Q", "Q", "u8", 8) if version == 43 else ("H", "I", "u4", 4)
        pointer = "Q" if order == "<" and path.suffix.lower() == ".ndpi" else pointer
        fields = [("tag", "u2"), ("type", "u2"), ("count", value), ("offset", value)]
        entry = np.dtype([(name, order + kind) for name, kind in fields])
        try:
            (offset,) = struct.unpack_from(order + pointer, head, start)
            while offset:
                if offset in seen or offset >= size:
                    raise cut
                seen.add(offset)
                file.seek(offset)
                (entries,) = struct.unpack(order + number, file.read(struct.calcsize(number)))
                tags = np.frombuffer(file.read(min(entries, 65535) * entry.itemsize), entry)
                (offset,) = struct.unpack(order + pointer, file.read(struct.calcsize(pointer)))
                if len(tags) < entries or _end_of_values(tags) > size:
                    raise cut
        except (struct.error, ValueError) as error:
            raise cut from error
    return len(seen)


def _end_of_values(tags):
    """Return where the last value ends that does not fit into its directory entry, in bytes; 0 without any."""
    sizes = TYPE_BYTES[np.minimum(tags["type"], len(TYPE_BYTES) - 1)] * tags["count"].astype(float)
    outside = sizes > tags["offset"].itemsize
    return (tags["offset"] + sizes)[outside].max(initial=0)


def _missing_bytes(tiff):
    """Return by how many bytes the images reach beyond the end of their file; 0 or less if all are there.

    Infinitely many if whole pages are missing, of those that the metadata name.
    """
    missing = []
    for series in tiff.series:
        if series.dataoffset is not None:
            missing.append(series.dataoffset + series.nbytes - tiff.filehandle.size)
            continue
        for page in series.pages:
            if page is None:
                return math.inf
            size = page.parent.filehandle.size
            parts = list(zip(page.dataoffsets, page.databytecounts))
            if not parts or not min(count for _, count in parts):
                raise ValueError("a page has no data")
            missing.append(max(offset + count for offset, count in parts) - size)
    return max(missing)


def _directories_of(series):
    """Return how many directories the images of a series should have, with those of smaller copies in a pyramid."""
    copies = [level for level in series.levels[1:] if len(level.pages[0].treeindex) == 1]  # the others hang on these
    return sum(1 if one.is_truncated else one.size // one.keyframe.size for one in (series, *copies))


def _contradiction(tiff, directories, found):
    """Say what is wrong with the number of pages; None if directories, axes and metadata agree."""
    first, metadata = tiff.series[0], tiff.imagej_metadata
    again = f"pass the right axes={AS_TO_READ_STACK}, or save it again with them"
    given_up = first.kind in ("uniform", "generic")  # so tifffile calls the pages whose metadata do not fit
    if tiff.is_imagej and (given_up or first.kind == "imagej"):
        product = math.prod(metadata.get(name, 1) for name in ("channels", "slices", "frames"))
        images = metadata.get("images", product)
        if images not in (product, found):
            return f"contradicts itself, it names {images} images and has axes for {product}: {again}"
        if given_up and directories == 1:  # ImageJ may write one page for the images of all pages
            return f"is cut off, it should hold {images} images: copy it again, or pass axes='YX'{AS_TO_READ_STACK}"
    if given_up and (tiff.is_imagej or tiff.is_ome or tiff.is_shaped):
        return f"contradicts itself, its metadata do not fit its {directories} pages: {again}"
    if found != directories and not first.is_multifile:
        return f"has {directories} pages, but its axes ({first.kind}) make {found}: {again}"
    return None
