"""Parts of large files: what is read over HTTP ranges, from servers that serve, refuse, cut off and lie."""

import http.server
import io
import threading
import zipfile
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests
import tifffile

import n2vlib
from n2vlib.datasets import downloads
from n2vlib.datasets.ranges import open_url

ARCHIVE, STACK = "BSD68_reproducibility_data.zip", "jump_noisy.tiff"
PART, IMAGES = "BSD68_8_2.zip", "jump_noisy_first_3_of_30.tiff"
TRAIN, TESTS = 8, 2
RNG = np.random.default_rng(0)
SMALL = 30, 4, 50, 40  # of the JUMP stack
LYING = ["bytes 5-9/{size}", "bytes {start}-{stop}/{more}", "bytes {start}-{stop}/*", "{start}-{stop}", "", None]


def tiff(array):
    file = io.BytesIO()
    tifffile.imwrite(file, array)
    return file.getvalue()


def members(training=396):
    """The authors' layout; the images that a part of 8 and 2 does not need are zeros, as large, made in no time."""
    clean = [RNG.integers(0, 256, size).astype(np.float32) for size in ((321, 481), (481, 321))]
    images = {
        f"train/{n}.tiff": RNG.normal(99, 25, (180, 180)) for n in sorted(37 * i % training for i in range(TRAIN))
    }
    images |= {f"val/{n}.tiff": RNG.normal(99, 25, (180, 180)) for n in range(4)}
    images |= {f"test/gt/{n}.tiff": image for n, image in enumerate(clean)}
    images |= {f"test/images/{n}.tiff": image + RNG.normal(0, 25, image.shape) for n, image in enumerate(clean)}
    files = {name: tiff(image.astype(np.float32)) for name, image in images.items()}
    files |= {name: bytes(130_000) for n in range(training) if (name := f"train/{n}.tiff") not in files}
    return files | {f"test/{kind}/{n}.tiff": bytes(620_000) for kind in ("images", "gt") for n in range(2, 68)}


def zipped(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"BSD68_reproducibility_data/{name}", content)
    return file.getvalue()


@pytest.fixture(scope="module")
def archive():
    return zipped(members())


@pytest.fixture(scope="module")
def stack():
    return RNG.integers(0, 60_000, SMALL).astype(np.uint16)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve the server's `content` in parts, in the way that its attributes say."""

    protocol_version = "HTTP/1.1"  # as the real ones: one connection for all requests
    disable_nagle_algorithm = True  # 40 ms an answer

    def do_GET(self):
        server, size = self.server, len(self.server.content)
        server.asked += 1
        start, stop = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        lies = server.asked >= server.honest  # the first requests may be answered right
        body = server.content if server.ranges is False else server.content[start : stop + 1]
        self.send_response(200 if server.ranges is False else 206)
        told = server.told if lies else "bytes {start}-{stop}/{size}"
        if told is not None and server.ranges is not False:
            self.send_header("Content-Range", told.format(start=start, stop=stop, size=size, more=size + 1))
        for header in server.headers:
            self.send_header(*header)
        body = body + b"more" if lies and server.longer else body
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: server.cut] if lies else body
        try:
            for at in range(0, len(body), 2**16):
                server.sent += self.wfile.write(body[at : at + 2**16])
        except OSError:
            pass  # the other side hung up
        self.close_connection = self.close_connection or (lies and server.cut is not None)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server on this machine that n2vlib takes for those of BSD68 and JUMP."""

    def serve(self, content, honest=0, told="bytes {start}-{stop}/{size}", **ways):
        self.content, self.honest, self.told, self.asked, self.sent = content, honest, told, 0, 0
        self.ranges, self.cut, self.longer, self.headers = None, None, False, []
        for name, value in ways.items():
            setattr(self, name, value)

    def handle_error(self, request, client_address):
        pass  # the other side hung up, which is what some tests are about


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "FILES", pooch.create(tmp_path / "cache", "", registry={ARCHIVE: None, STACK: None}))
    monkeypatch.setattr(downloads, "STACK", SMALL)
    monkeypatch.setattr(downloads, "PIECE", 10_000)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("N2VLIB_DATA", raising=False)
    monkeypatch.delenv("N2VLIB_DOWNLOAD", raising=False)
    with Server(("127.0.0.1", 0), Handler) as running:
        for name in (ARCHIVE, STACK):
            downloads.FILES.urls[name] = f"http://127.0.0.1:{running.server_port}/{name}"
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def kept():
    folder = Path(downloads.FILES.path)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def bsd68():
    return n2vlib.datasets.bsd68(part=(TRAIN, TESTS))


# What arrives, and how little is asked for


def test_a_part_of_bsd68_is_a_small_part_of_the_archive_and_is_read_once(archive, server):
    server.serve(archive)
    images = bsd68()
    assert images.train.shape == (TRAIN, 180, 180) and images.validation.shape == (4, 180, 180)
    with zipfile.ZipFile(io.BytesIO(archive)) as whole:
        read = lambda name: tifffile.imread(io.BytesIO(whole.read(f"BSD68_reproducibility_data/{name}.tiff")))  # noqa: E731
        for number in range(TRAIN):
            assert np.array_equal(images.train[number], read(f"train/{sorted(37 * i for i in range(TRAIN))[number]}"))
        for number in range(TESTS):
            assert np.array_equal(images.noisy[number], read(f"test/images/{number}"))
            assert np.array_equal(images.clean[number], read(f"test/gt/{number}"))
    assert "the first 2 of 68 test images, 8 of its training images" in images.source
    needed = 12 * 130_000 + 4 * 620_000
    assert needed < server.sent < 1.3 * needed < len(archive) / 20
    assert server.asked < 40 and kept() == [PART]
    server.shutdown()
    server.server_close()
    assert np.array_equal(bsd68().train, images.train)


@pytest.mark.parametrize("training", [396, 3168])
def test_the_training_images_of_a_part_are_different_photographs(training):
    numbers = [37 * number % training for number in range(80)]  # however turned copies are ordered:
    assert len({number % 396 for number in numbers}) == len({number * 396 // training for number in numbers}) == 80


LAYOUTS = {
    "ImageJ": dict(imagej=True, metadata={"axes": "TCYX"}),
    "big-endian": dict(imagej=True, byteorder=">", metadata={"axes": "TCYX"}),
    "plain": dict(photometric="minisblack"),
    "OME": dict(ome=True, metadata={"axes": "TCYX"}),
}


def written(stack, **layout):
    file = io.BytesIO()
    tifffile.imwrite(file, stack, **layout)
    return file.getvalue()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_part_of_the_jump_stack_is_read_once_and_is_a_hyperstack(layout, stack, server, monkeypatch):
    monkeypatch.setattr("n2vlib.datasets.ranges.BLOCK", 4000)
    server.serve(written(stack, **layout))
    path = n2vlib.datasets.jump_stack(images=3)
    array, axes = n2vlib.read_stack(path)
    assert np.array_equal(array, stack[:3]) and str(axes).startswith("TCYX") and array.dtype == np.uint16
    assert stack[:3].nbytes < server.sent < stack.nbytes / 4
    assert kept() == [IMAGES]
    server.shutdown()
    server.server_close()
    assert n2vlib.datasets.jump_stack(images=3) == path


@pytest.mark.parametrize(
    "headers", [[("Accept-Ranges", "none")], [("Accept-Ranges", "none"), ("Accept-Ranges", "bytes")]]
)
def test_a_header_that_denies_what_the_server_does_is_not_believed(headers, stack, server):  # Zenodo's, in 2023
    server.serve(written(stack, **LAYOUTS["ImageJ"]), headers=headers)
    assert np.array_equal(tifffile.imread(n2vlib.datasets.jump_stack(images=3)), stack[:3])


def test_a_whole_file_that_is_here_gives_the_part(stack, server):
    folder = Path(downloads.FILES.path)
    folder.mkdir()
    tifffile.imwrite(folder / STACK, stack, **LAYOUTS["ImageJ"])
    downloads.FILES.registry[STACK] = "sha256:" + pooch.file_hash(folder / STACK)
    server.serve(b"")
    assert np.array_equal(tifffile.imread(n2vlib.datasets.jump_stack(images=3)), stack[:3])
    assert server.asked == 0 and kept() == sorted([STACK, IMAGES])


def test_a_part_that_was_damaged_on_the_disk_is_fetched_again(stack, archive, server, monkeypatch, refused):
    server.serve(written(stack, **LAYOUTS["ImageJ"]))
    path = n2vlib.datasets.jump_stack(images=3)
    right = path.read_bytes()
    path.write_bytes(right[:-10_000])
    monkeypatch.setenv("N2VLIB_DOWNLOAD", "0")
    with refused(ConnectionError, r"is not \(or not whole\) in .* and N2VLIB_DOWNLOAD=0 forbids"):
        n2vlib.datasets.jump_stack(images=3)
    monkeypatch.setenv("N2VLIB_DOWNLOAD", "1")
    assert n2vlib.datasets.jump_stack(images=3).read_bytes() == right
    server.serve(archive)
    bsd68()
    path = path.with_name(PART)
    right = path.read_bytes()
    path.write_bytes(right[:5000] + b"damaged!" + right[5008:])
    bsd68()
    assert path.read_bytes() == right


def test_what_is_longer_than_the_part_is_not_gone_on_with(stack, server):
    server.serve(written(stack, **LAYOUTS["ImageJ"]))
    begun = Path(downloads.FILES.path, f"{IMAGES}.part")
    begun.parent.mkdir()
    begun.write_bytes(bytes(stack[:4].nbytes))
    assert np.array_equal(tifffile.imread(n2vlib.datasets.jump_stack(images=3)), stack[:3])
    assert kept() == [IMAGES]


# Servers that refuse, cut off and lie


@pytest.mark.parametrize("load", [bsd68, lambda: n2vlib.datasets.jump_stack(images=3)], ids=["BSD68", "JUMP"])
def test_a_server_without_ranges_is_not_listened_to(load, archive, server, refused):
    server.serve(archive, ranges=False)
    with refused(ConnectionError, "is sent whole or not at all"):
        load()
    server.shutdown()
    assert server.asked == 1 and server.sent < len(archive) / 4 and kept() == []  # what its sockets hold


@pytest.mark.parametrize("honest", [0, 4], ids=["at first", "later"])
@pytest.mark.parametrize("told", LYING, ids=["elsewhere", "another size", "no size", "no unit", "nothing", "no header"])
def test_a_wrong_content_range_is_noticed(told, honest, stack, server, refused):
    if told == LYING[1] and not honest:
        return  # the first answer tells the size
    server.serve(written(stack, **LAYOUTS["ImageJ"]), honest=honest, told=told)
    with refused(ConnectionError, "was asked for bytes .* and sent others"):
        n2vlib.datasets.jump_stack(images=3)
    assert IMAGES not in kept()


def test_an_answer_that_is_too_long_is_noticed(stack, server, refused):
    server.serve(written(stack, **LAYOUTS["ImageJ"]), longer=True)
    with refused(ConnectionError, "sent more than bytes 0-0"):
        n2vlib.datasets.jump_stack(images=3)


def test_a_file_that_changes_between_two_requests_is_noticed(archive, server, refused):
    server.serve(archive, honest=6, told="bytes {start}-{stop}/{more}")
    with refused(ConnectionError, "was asked for bytes .* and sent others"):
        bsd68()
    assert PART not in kept()


@pytest.mark.parametrize("honest", [1, 4, 7, 10])
@pytest.mark.parametrize("name", [PART, IMAGES])
def test_a_cut_loses_little_and_the_next_call_goes_on(name, honest, archive, stack, server, monkeypatch, refused):
    content, load = archive, bsd68
    if name == IMAGES:
        content, load = written(stack, **LAYOUTS["ImageJ"]), lambda: n2vlib.datasets.jump_stack(images=3)
        monkeypatch.setattr("n2vlib.datasets.ranges.BLOCK", 2000)
        monkeypatch.setattr(downloads, "PIECE", 4000)
    server.serve(content)
    load()
    path, needed = Path(downloads.FILES.path, name), server.sent
    expected = path.read_bytes()
    path.unlink()
    server.serve(content, honest=honest, cut=100)
    with refused(ConnectionError, "no part of .* call again"):
        load()
    assert not path.exists()
    before = server.sent
    server.serve(content)
    load()
    assert path.read_bytes() == expected and kept() == [name]
    lost = needed / 5  # the directory is read again, and what came of one request
    assert before + server.sent < needed + lost and server.sent < max(needed - before + lost, needed)


def test_damage_inside_a_member_is_refused_and_nothing_kept(archive, server, refused):
    inside = archive.index(b"test/gt/1.tiff") + 1000
    server.serve(archive[:inside] + b"damaged!" + archive[inside + 8 :])
    with refused(ConnectionError, "Bad CRC-32"):
        bsd68()
    assert kept() == []


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda files: files.pop("train/200.tiff"), "395 training images"),
        (lambda files: files.pop("test/gt/40.tiff"), "holds 67 .tiff files instead of 68"),
        (lambda files: files.update({"test/gt/0.tiff": files["test/gt/1.tiff"]}), "do not belong together"),
        (lambda files: files.update({"train/37.tiff": tiff(np.zeros((90, 90)))}), "same shape"),
        (lambda files: files.update({f"val/{n}.tiff": tiff(np.zeros((90, 90))) for n in range(4)}), r"\(90, 90\)"),
        (lambda files: files.update({"train/37.tiff": tiff(np.full((180, 180), np.nan))}), "not numbers"),
        (lambda files: files.update({"../evil.tiff": b""}), "climbs out"),
    ],
)
def test_an_archive_of_other_images_is_refused(change, message, server, refused):
    files = members()
    change(files)
    server.serve(zipped(files))
    with refused(ConnectionError, message):
        bsd68()
    assert kept() == []


@pytest.mark.parametrize("end", [-100, 0])
def test_an_archive_without_its_end_is_refused(end, archive, server, refused):
    server.serve(archive[:end] + b"?")
    with refused(ConnectionError, "no part of"):
        bsd68()
    assert kept() == []


@pytest.mark.parametrize(
    "content",
    [
        lambda stack: written(stack[:-1], **LAYOUTS["ImageJ"]),
        lambda stack: written(stack[..., :-1], **LAYOUTS["ImageJ"]),
        lambda stack: written(stack.astype(np.float32), **LAYOUTS["ImageJ"]),
        lambda stack: written(stack, photometric="minisblack", compression="zlib"),
        lambda stack: written(stack, **LAYOUTS["ImageJ"])[:-50_000],
        lambda stack: b"<html>moved</html>",
    ],
    ids=["29 images", "39 columns", "float", "compressed", "cut short", "no TIFF"],
)
def test_another_stack_is_refused(content, stack, server, refused):
    server.serve(content(stack))
    with refused(ConnectionError, "no part of jump_noisy.tiff"):
        n2vlib.datasets.jump_stack(images=3)
    assert kept() == []


def test_pages_scattered_over_the_file_are_given_up(stack, server, monkeypatch, refused):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in stack.reshape(-1, *SMALL[2:]):
            writer.write(page)
    monkeypatch.setattr("n2vlib.datasets.ranges.BLOCK", 4000)
    server.serve(file.getvalue())
    with open_url(downloads.FILES.urls[STACK], limit=40_000) as remote, tifffile.TiffFile(remote) as whole:
        with pytest.raises(tifffile.TiffFileError):
            whole.series  # noqa: B018
        with refused(requests.RequestException, "more of .* than is worth fetching"):
            raise remote.raw.failure
    assert server.sent < 45_000


def test_parts_can_be_forbidden(archive, server, monkeypatch, refused):
    server.serve(archive)
    monkeypatch.setenv("N2VLIB_DOWNLOAD", "0")
    with refused(ConnectionError, f"{ARCHIVE} is not .*N2VLIB_DOWNLOAD=0 forbids"):
        bsd68()
    assert server.asked == 0 and kept() == []


def test_no_server_is_said_in_one_sentence(server, refused):
    server.shutdown()
    server.server_close()
    with refused(ConnectionError, f"no part of {ARCHIVE}"):
        bsd68()


@pytest.mark.parametrize("part", [0, (0, 3), (3, 0), (397, 1), (1, 69), (3,), "some"])
def test_a_part_that_cannot_be(part, refused):
    with refused(ValueError, "give numbers of training"):
        n2vlib.datasets.bsd68(part=part)


@pytest.mark.parametrize("images", [0, 518, 1.5, "all"])
def test_a_number_of_images_that_cannot_be(images, refused):
    with refused(ValueError, "the JUMP stack has 517"):
        n2vlib.datasets.jump_stack(images=images)


def test_a_remote_file_is_read_from_anywhere(server):
    content = RNG.bytes(300_000)
    server.serve(content)
    local = io.BytesIO(content)
    with open_url(downloads.FILES.urls[ARCHIVE], limit=10**8) as remote:
        for _ in range(100):
            whence = int(RNG.integers(3))
            offset = int(RNG.integers(*((0, 400_000), (-local.tell(), 1000), (-300_000, 1))[whence]))
            length = int(RNG.choice([0, 1, 30, 5000, 200_000]))
            assert remote.seek(offset, whence) == local.seek(offset, whence)
            assert remote.read(length) == local.read(length)
        assert remote.seek(0) == 0 and remote.read() == content
        with pytest.raises(OSError):
            remote.raw.seek(-1)
