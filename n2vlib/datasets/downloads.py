"""Files from the network: the JUMP stack, and downloads that go on where they were cut off, kept only if right.

A file is downloaded whole (`fetch`), or only what a lesson needs of it (`fetch_part`).
"""

import functools
import os
from pathlib import Path

import numpy as np
import pooch
import requests
import tifffile
from pooch.hashes import hash_matches
from tqdm.auto import tqdm

from .ranges import TIMEOUT, open_url

FILES = pooch.create(
    path=pooch.os_cache("n2vlib"),
    base_url="",
    registry={
        "BSD68_reproducibility_data.zip": "sha256:32c66d41196c9cafff465f3c7c42730f851c24766f70383672e18b8832ea8e55",
        "jump_noisy.tiff": "sha256:394541cd10b5f10cc929e8083e42f757e47eb0a318cf78448a9e4622179c3069",
    },
    urls={
        "BSD68_reproducibility_data.zip": "https://download.fht.org/jug/n2v/BSD68_reproducibility_data.zip",
        # Zenodo's /records/ answers ranges, its /api/ does not.
        "jump_noisy.tiff": "https://zenodo.org/records/10912386/files/noisy.tiff?download=1",
    },
    retry_if_failed=3,
)
CHUNK = 2**16  # bytes; what a cut leaves of a chunk is lost
PIECE = 2**22  # bytes of a stack in one request: Zenodo allows 60 requests a minute
STACK = (517, 4, 540, 540)  # images, channels, Y, X of the JUMP file, uint16


def jump_stack(images=None):
    """Return the path of the noisy JUMP Cell Painting hyperstack, TCYX (517, 4, 540, 540), 1.2 GB, or a part of it.

    From the AI4Life denoising challenge 2024. Looked for in the folder that N2VLIB_DATA names, as noisy.tiff or
    jump_noisy.tiff there or in its subfolder jump; without the variable it is downloaded once.
    images: without the folder only the first so many images are read, 2.3 MB each, into a hyperstack of their own.
    Raises FileNotFoundError for a folder without it, ConnectionError without network, ValueError for a wrong number.

    >>> from tempfile import TemporaryDirectory
    >>> from unittest.mock import patch
    >>> with TemporaryDirectory() as folder, patch.dict(os.environ, N2VLIB_DATA=folder):
    ...     Path(folder, "noisy.tiff").touch()
    ...     jump_stack().name
    'noisy.tiff'
    """
    if images is not None and images not in range(1, STACK[0] + 1):
        raise ValueError(f"images = {images} is not possible: the JUMP stack has {STACK[0]}, give 1 to {STACK[0]}")
    folder = os.environ.get("N2VLIB_DATA")
    if not folder and images is None:
        return fetch("jump_noisy.tiff")
    if not folder:
        part = f"jump_noisy_first_{images}_of_{STACK[0]}.tiff"
        copy, check = (functools.partial(do, images=images) for do in (_copy_images, _check_images))
        return fetch_part("jump_noisy.tiff", part, copy, check, limit=4e6 + 2.4e6 * images)
    names = [Path(folder) / sub / name for sub in ("", "jump") for name in ("noisy.tiff", "jump_noisy.tiff")]
    found = [path for path in names if path.is_file()]
    if not found:
        raise FileNotFoundError(f"N2VLIB_DATA={folder} holds no noisy.tiff, neither there nor in its subfolder jump")
    return found[0]


def fetch(name):
    """Return the path of a file of the registry in the cache folder, downloaded if it is not there.

    Raises ConnectionError, in one sentence, if there is no network or it failed four times (what
    came is kept, the next call goes on from there), or if the environment variable
    N2VLIB_DOWNLOAD is 0; ValueError if the checksum is wrong (then nothing is kept).
    """
    _require_downloads(name)
    try:
        return Path(FILES.fetch(name, downloader=_download))
    except ValueError as error:
        raise ValueError(
            f"what {FILES.get_url(name)} sent has another hash (sha256) than the file should have: "
            "nothing of it was kept; try again, or on another network"
        ) from error
    except requests.RequestException as error:
        raise ConnectionError(
            f"{FILES.get_url(name)} cannot be downloaded ({type(error).__name__}): check the network and "
            "call again, it goes on where it stopped; or put the file into the folder that N2VLIB_DATA names"
        ) from error


def fetch_part(name, part, copy, check, limit):
    """Return the path of a part of a file of the registry, kept in the cache folder under the name `part`.

    Read over HTTP ranges if it is not there, or from the whole file if that is. copy(file, path)
    copies what is wanted from the opened file to a path that may hold what an earlier try left;
    check(path) raises an error if the copy is not right. limit: bytes that may be received for it.
    Raises ConnectionError, in one sentence, if N2VLIB_DOWNLOAD is 0, and for whatever goes wrong at the server: no
    network, no ranges, a cut (what came is kept, the next call goes on from there), wrong content (nothing is kept).
    """
    target = FILES.abspath / part
    if target.exists() and _passes(check, target):
        return target
    _require_downloads(name)
    begun = target.with_name(f"{part}.part")
    begun.parent.mkdir(parents=True, exist_ok=True)
    source = None
    try:
        source = open(FILES.abspath / name, "rb") if _is_here(name) else open_url(FILES.get_url(name), limit)
        copy(source, begun)
        check(begun)
    except Exception as error:  # zipfile and tifffile have kinds of failure of their own at every byte
        if getattr(error, "errno", None):
            raise  # the disk's
        failure = error if source is None else getattr(source.raw, "failure", None)
        if not failure:
            begun.unlink(missing_ok=True)
        cause = failure or error
        ours = not failure or type(failure) is requests.RequestException  # words of requests' own fill half a page
        reason = (ours and " ".join(str(cause).split())[:150]) or type(cause).__name__
        raise ConnectionError(
            f"no part of {name} could be had ({reason}): call again on another network, "
            "or put the file into the folder that N2VLIB_DATA names"
        ) from error
    finally:
        if source:
            source.close()
    os.replace(begun, target)
    return target


def _is_here(name):
    path = FILES.abspath / name
    return path.exists() and hash_matches(path, FILES.registry[name])


def _passes(check, path):
    try:
        check(path)
    except Exception:  # damaged on the disk, in any way
        return False
    return True


def _require_downloads(name):
    if os.environ.get("N2VLIB_DOWNLOAD") == "0" and not _is_here(name):
        folder = str(FILES.abspath).replace(str(Path.home()), "~")  # what a notebook keeps names nobody's home
        raise ConnectionError(f"{name} is not (or not whole) in {folder} and N2VLIB_DOWNLOAD=0 forbids to get it")


def _download(url, output_file, registry):
    """Download `url`, going on from what an earlier try left; the downloader of pooch.

    pooch gives each try a new temporary `output_file` and compares the checksum afterwards, so
    what was received so far is kept beside, as NAME.part, until it is complete.
    """
    part = Path(registry.abspath) / f"{url.rpartition('/')[2].partition('?')[0]}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
            if answer.headers.get("Content-Range") == f"bytes */{have}":
                return os.replace(part, output_file)  # it was complete
            part.unlink()  # longer than the file on the server, which has changed: from the start
            return _download(url, output_file, registry)
        answer.raise_for_status()
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0  # a server that knows no ranges sends everything
        size = have + int(answer.headers.get("Content-Length", 0))
        with open(part, "ab" if resumed else "wb") as file:
            with tqdm.wrapattr(file, "write", size or None, initial=have, desc=part.stem) as counted:
                for chunk in answer.iter_content(CHUNK):
                    counted.write(chunk)
    if part.stat().st_size < size:
        raise requests.ConnectionError(f"{url} ended after {part.stat().st_size} of {size} bytes")
    os.replace(part, output_file)


def _copy_images(file, path, images):
    """Copy the first images out of the JUMP stack, opened as `file`, into a hyperstack of their own."""
    with tifffile.TiffFile(file) as whole:
        series = whole.series[0]
        shape, dtype, start = series.shape, series.dtype.newbyteorder(whole.byteorder), series.dataoffset
    size = file.seek(0, os.SEEK_END)
    if shape != STACK or dtype.type != np.uint16 or start is None or start + np.prod(STACK) * 2 > size:
        raise ValueError(f"it holds {shape} {dtype} in {size} bytes instead of {STACK} uint16 in one piece")
    wanted = images * int(np.prod(STACK[1:])) * 2
    with open(path, "ab") as kept, tqdm(total=wanted, unit="B", unit_scale=True, desc=path.stem) as bar:
        if kept.tell() > wanted:
            kept.seek(kept.truncate(0))  # not what an earlier try left
        bar.update(kept.tell())
        while kept.tell() < wanted:
            file.seek(start + kept.tell())
            bar.update(kept.write(file.read(min(PIECE, wanted - kept.tell()))))
    pixels, finished = np.fromfile(path, dtype).reshape(images, *STACK[1:]), path.with_suffix(".finished")
    tifffile.imwrite(finished, pixels.astype(np.uint16), imagej=True, metadata={"axes": "TCYX"})
    os.replace(finished, path)


def _check_images(path, images):
    array = tifffile.memmap(path, mode="r")
    if array.shape != (images, *STACK[1:]) or array.dtype != np.uint16:
        raise ValueError(f"{path.name} holds {array.shape} {array.dtype}")
