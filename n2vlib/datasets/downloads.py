"""Files from the network: the JUMP stack, and downloads that go on where they were cut off, kept only if right."""

import os
from pathlib import Path

import pooch
import requests
from pooch.hashes import hash_matches
from tqdm.auto import tqdm

FILES = pooch.create(
    path=pooch.os_cache("n2vlib"),
    base_url="",
    registry={
        "BSD68_reproducibility_data.zip": "sha256:32c66d41196c9cafff465f3c7c42730f851c24766f70383672e18b8832ea8e55",
        "jump_noisy.tiff": None,  # nobody published its checksum: recorded at the first download
    },
    urls={
        "BSD68_reproducibility_data.zip": "https://download.fht.org/jug/n2v/BSD68_reproducibility_data.zip",
        "jump_noisy.tiff": "https://zenodo.org/records/10912386/files/noisy.tiff?download=1",
    },
    retry_if_failed=3,
)
CHUNK = 2**16  # bytes; what a cut leaves of a chunk is lost
TIMEOUT = (5, 20)  # seconds to connect, and without a byte


def jump_stack():
    """Return the path of the noisy JUMP Cell Painting hyperstack, TCYX (517, 4, 540, 540), 1.2 GB.

    From the AI4Life denoising challenge 2024. Looked for in the folder that N2VLIB_DATA names, as noisy.tiff or
    jump_noisy.tiff there or in its subfolder jump; without the variable it is downloaded once.
    Raises FileNotFoundError for a folder without it, ConnectionError without network.

    >>> from tempfile import TemporaryDirectory
    >>> from unittest.mock import patch
    >>> with TemporaryDirectory() as folder, patch.dict(os.environ, N2VLIB_DATA=folder):
    ...     Path(folder, "noisy.tiff").touch()
    ...     jump_stack().name
    'noisy.tiff'
    """
    folder = os.environ.get("N2VLIB_DATA")
    if not folder:
        return fetch("jump_noisy.tiff")
    names = [Path(folder) / sub / name for sub in ("", "jump") for name in ("noisy.tiff", "jump_noisy.tiff")]
    found = [path for path in names if path.is_file()]
    if not found:
        raise FileNotFoundError(f"N2VLIB_DATA={folder} holds no noisy.tiff, neither there nor in its subfolder jump")
    return found[0]


def fetch(name):
    """Return the path of a file of the registry in the cache folder, downloaded if it is not there.

    Raises ConnectionError, in one sentence, if there is no network or it failed four times (what
    came is kept, the next call goes on from there), or if the environment variable
    N2VLIB_DOWNLOAD is 0; ValueError if the checksum is wrong (then nothing is kept). Where no
    checksum is known, that of the first download is kept beside the file, and compared from then on.
    """
    path, record = FILES.abspath / name, FILES.abspath / f"{name}.sha256"
    unknown = FILES.registry[name] is None
    if unknown and record.exists():
        FILES.registry[name] = record.read_text()
    forbidden = os.environ.get("N2VLIB_DOWNLOAD") == "0"
    if forbidden and not (path.exists() and hash_matches(path, FILES.registry[name])):
        raise ConnectionError(
            f"{name} is not (or not whole) in {FILES.abspath} and N2VLIB_DOWNLOAD=0 forbids to get it"
        )
    try:
        path = Path(FILES.fetch(name, downloader=_download))
        if unknown and not record.exists():
            record.write_text("sha256:" + pooch.file_hash(path))
        return path
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
