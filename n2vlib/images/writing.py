"""Files that are written whole or not at all, and TIFF files that say their axes."""

import contextlib
import math
import os
from pathlib import Path

LARGEST_IMAGEJ = 2**32 - 2**25  # bytes of data and directories; ImageJ's own TIFF counts in 32 bits
DIRECTORY_BYTES = 256  # more than one page takes beside its pixels
OME_DTYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


@contextlib.contextmanager
def written_beside(path):
    """Yield a file to write to that becomes `path` at the end, or nothing at all if there is an error or a crash.

    A process that is killed leaves behind what it had written so far, as path.NUMBER.tmp, which nothing reads.
    Raises OSError, in one sentence, for a full disk or a folder that cannot be written to.
    """
    path = Path(path)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(beside, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror or error}): free some space, or choose another place; "
            "what was there before is unharmed"
        ) from error


def tiff_keywords(shape, pixel):
    """Return how tifffile is to write a stack (N, C, Y, X) with the axes TCYX: for ImageJ as far as its format reaches.

    pixel: the NumPy dtype. Beyond that it becomes a BigTIFF, of OME where OME knows the dtype.
    """
    size = math.prod(shape) * pixel.itemsize + shape[0] * shape[1] * DIRECTORY_BYTES
    kind = dict(bigtiff=True, ome=pixel.name in OME_DTYPES)
    if size < LARGEST_IMAGEJ and pixel.name in ("uint8", "uint16", "float32"):
        kind = dict(imagej=True)
    return kind | dict(photometric="minisblack", metadata={"axes": "TCYX"})
