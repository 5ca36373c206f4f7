"""Parts of large files: a file on a server that is read like one on the disk, over HTTP ranges.

Why no library: fsspec (whose HTTP needs aiohttp and seven packages more), httpio and smart_open give up where a header
says `Accept-Ranges: none`, as Zenodo has sent it beside a correct 206. remotezip does not, but reads zips alone, and as
fsspec it does not compare `Content-Range` with what it asked for, which no checksum would make good in a TIFF: so the
transport is ours, the formats are zipfile's and tifffile's.
"""

import io
import re

import requests

TIMEOUT = (5, 20)  # seconds to connect, and without a byte
# The least that is read at once: a training image of BSD68 with what a zip puts before it is 1 kB less.
BLOCK = 2**17


def open_url(url, limit):
    """Open a file on a server for reading, seekable, as bytes; what is read is fetched, and not much more.

    limit: bytes; a file that needs more is not a matter of a few parts. Close it, or use `with`.
    Whether the server sends parts is found out by asking for one byte: the status must be 206 and the
    header Content-Range the right one; other headers are not believed. So it is with each further part.
    Raises requests.RequestException without network, without ranges, for an answer that is short,
    not what was asked for, or of a file of another size than before.

    >>> open_url("archive.zip", limit=10**6)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    requests.exceptions.MissingSchema: Invalid URL 'archive.zip': No scheme supplied. ...
    """
    return io.BufferedReader(RangeFile(url, limit), BLOCK)


class RangeFile(io.RawIOBase):
    """The file without a buffer: each read is a request. `failure` is the error of the last one, None if all went well.

    zipfile and tifffile turn an error into one of their own; `failure` still has the reason.
    """

    def __init__(self, url, limit):
        self.url = self.name = url
        self.left, self.position, self.failure = limit, 0, None
        self.session = requests.Session()  # keeps the connection from one request to the next
        self.size = None
        try:
            self._receive(memoryview(bytearray(1)))
        except requests.RequestException:
            self.close()
            raise

    def readable(self):
        """Say that it can be read."""
        return True

    def seekable(self):
        """Say that one can read from anywhere."""
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        """Go to a byte, counted from the start, from here or from the end; returns where that is."""
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if position < 0:
            raise OSError(f"{offset} bytes from {whence} is before the start")  # zipfile relies on an OSError
        self.position = position
        return position

    def readinto(self, buffer):
        """Fill a buffer as far as the file goes; returns the number of bytes."""
        wanted = memoryview(buffer).cast("B")[: max(self.size - self.position, 0)]
        if not len(wanted):
            return 0
        if self.failure:
            raise self.failure  # tifffile would go on to the next page
        try:
            self._receive(wanted)
        except requests.RequestException as error:
            self.failure = error
            raise
        self.position += len(wanted)
        return len(wanted)

    def close(self):
        """Hang up."""
        self.session.close()
        super().close()

    def _receive(self, wanted):
        """Fill `wanted` with what stands at the position, and with nothing else."""
        start, stop = self.position, self.position + len(wanted)
        self.left -= len(wanted)
        if self.left < 0:
            raise requests.RequestException(f"the part is spread over more of {self.url} than is worth fetching")
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
        with self.session.get(self.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                raise requests.RequestException(f"{self.url} is sent whole or not at all")
            told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", "").strip())
            said = tuple(map(int, told.groups())) if told else ()
            if said != (start, stop - 1, self.size or (said and said[2])):
                raise requests.RequestException(f"{self.url} was asked for bytes {start}-{stop - 1} and sent others")
            received = 0
            for chunk in answer.iter_content(2**16):
                if received + len(chunk) > len(wanted):
                    raise requests.RequestException(f"{self.url} sent more than bytes {start}-{stop - 1}")
                wanted[received : received + len(chunk)] = chunk
                received += len(chunk)
            if received < len(wanted):
                raise requests.RequestException(f"{self.url} ended {len(wanted) - received} bytes too early")
        self.size = said[2]
