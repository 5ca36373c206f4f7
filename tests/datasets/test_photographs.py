"""BSD68 from every place it can come from, downloads that break, and the trained weights in the repository."""

import hashlib
import http.server
import json
import pickle
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pooch
import pytest
import skimage

import n2vlib
from n2vlib.datasets import downloads, pretrained

# A small BSD68; 64x60 pixels make the spread of the noise known within 0.3.
RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (400, 8, 8)).astype(np.float32)
CLEAN = [RNG.integers(0, 256, (64, 60) if number % 3 else (60, 64)).astype(np.float32) for number in range(68)]
NOISY = [(image + RNG.normal(0, 25, image.shape)).astype(np.float32) for image in CLEAN]
STORED = {"train": TRAIN[:396], "validation": TRAIN[396:], "noisy": NOISY, "clean": CLEAN}
ARCHIVE, PART = "BSD68_reproducibility_data.zip", "BSD68_reproducibility_data.zip.part"
CONTENT = RNG.bytes(300_000)  # of a file to download
NEEDED = """tiff/train tiff/val tiff/test/images/68.tiff tiff/test/gt/3.tiff
npy/train npy/val/DCNN400_validation_gaussian25.npy npy/test/bsd68_gaussian25.npy
png/train400 png/train400/test_7.png png/test68/test068.png""".split()


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """A folder with tiff/, npy/ and png/, and tiff.zip, npy.zip and png.zip."""
    top = tmp_path_factory.mktemp("layouts")
    files = {
        "tiff/train/{}.tiff": TRAIN[:396],
        "tiff/val/{}.tiff": TRAIN[396:],
        "tiff/test/images/{}.tiff": NOISY,
        "tiff/test/gt/{}.tiff": CLEAN,
        "npy/train/DCNN400_train_gaussian25.npy": [TRAIN[:396]],
        "npy/val/DCNN400_validation_gaussian25.npy": [TRAIN[396:]],
        "npy/test/bsd68_gaussian25.npy": [np.array(NOISY, object)],
        "npy/test/bsd68_groundtruth.npy": [np.array(CLEAN, object)],
        "png/train400/test_{}.png": TRAIN.astype(np.uint8),
        "png/test68/test{:03d}.png": [image.astype(np.uint8) for image in CLEAN],
    }
    for name, arrays in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        write = np.save if name.endswith("npy") else skimage.io.imsave
        for number, array in enumerate(arrays, 1):
            write(top / name.format(number), array)
    for layout in ("tiff", "npy", "png"):
        shutil.make_archive(str(top / layout), "zip", root_dir=top, base_dir=layout)
    return top


@pytest.fixture
def arrive(layouts, tmp_path, monkeypatch, server):
    """Let a layout be found in the folder data/, there as a zip file, or on the server; returns the place."""
    monkeypatch.chdir(tmp_path)  # short paths, so that messages are as long on every machine
    monkeypatch.setenv("N2VLIB_DATA", "data")
    Path("data").mkdir()

    def by(layout, route="folder"):
        if route == "folder":
            return shutil.copytree(layouts / layout, Path("data", layout))
        if route == "zip":
            return shutil.copy(layouts / f"{layout}.zip", Path("data", ARCHIVE))
        monkeypatch.delenv("N2VLIB_DATA")
        server.serve((layouts / f"{layout}.zip").read_bytes())

    return by


def same(images, expected):
    return all(a.dtype == np.float32 and np.array_equal(a, b) for a, b in zip(images, expected, strict=True))


def has_the_noise_of_the_paper(noisy, clean):
    noise = np.subtract(noisy, clean, dtype=np.float64)
    error = 25 / noise.size**0.5
    return abs(noise.mean()) < 5 * error and abs(noise.std() - 25) < 5 * error / 2**0.5


@pytest.mark.parametrize("route", ["folder", "zip", "download"])
@pytest.mark.parametrize("layout", ["tiff", "npy"])
def test_stored_images_come_as_they_are_and_in_the_order_of_their_numbers(layout, route, arrive):
    arrive(layout, route)
    images = n2vlib.datasets.bsd68()
    assert all(same(getattr(images, part), stored) for part, stored in STORED.items()) and "BSD68" in images.source


@pytest.mark.parametrize("layout", ["tiff", "npy", "png"])
def test_one_clean_test_image_is_found_by_its_number(layout, arrive, refused):
    with refused(FileNotFoundError, "N2VLIB_DATA=data holds no BSD68"):
        n2vlib.datasets.bsd68_test_image()
    arrive(layout)
    assert all(np.array_equal(n2vlib.datasets.bsd68_test_image(number), CLEAN[number - 1]) for number in (1, 5, 68))
    for number in (0, 69):
        with refused(ValueError, f"number = {number} is not possible.*1 to 68"):
            n2vlib.datasets.bsd68_test_image(number)


def test_clean_pngs_get_the_noise_of_the_paper(arrive):
    arrive("png")
    images = n2vlib.datasets.bsd68(seed=3)
    assert images.train.shape == (396, 8, 8) and images.validation.shape == (4, 8, 8)
    assert same(images.clean, CLEAN) and "seed 3" in images.source
    train = np.concatenate([images.train, images.validation])
    assert train.dtype == np.float32 and has_the_noise_of_the_paper(train, TRAIN)
    assert all(map(has_the_noise_of_the_paper, images.noisy, CLEAN))
    assert train.min() < 0 and train.max() > 255 and np.mean(train == np.round(train)) < 0.01, "clipped or rounded"


def test_training_images_are_handed_on_only_with_noise(arrive):
    arrive("png")
    images = n2vlib.datasets.bsd68()
    for array in (images.train, images.validation, images.train.base, images.validation.base):
        if array is not None:  # the array that a view shows a part of
            distance = ((array[:, None] - TRAIN) ** 2).mean((2, 3)) ** 0.5
            assert distance.min() > 10, "closer to a clean image than noise of sigma 25 comes"


@pytest.mark.parametrize("load", [n2vlib.datasets.bsd68, n2vlib.datasets.sample_photographs])
def test_the_noise_is_the_seeds(load, arrive):
    arrive("png")
    first, again, other = load(seed=0), load(seed=0), load(seed=1)
    for part in ("train", "validation", "noisy"):
        assert same(getattr(first, part), getattr(again, part))
        assert not any(map(np.array_equal, getattr(first, part), getattr(other, part)))


def test_sample_photographs_have_the_same_noise_and_say_that_they_are_not_bsd68():
    images = n2vlib.datasets.sample_photographs()
    assert images.train.shape == (22, 180, 180) and images.validation.shape == (4, 180, 180)
    assert np.shape(images.noisy) == np.shape(images.clean) == (3, 300, 384)
    assert "NOT BSD68" in images.source and has_the_noise_of_the_paper(images.noisy, images.clean)


def test_bsd68_as_published(data_folder, monkeypatch):
    monkeypatch.setenv("N2VLIB_DATA", str(data_folder))
    images = n2vlib.datasets.bsd68(seed=0)
    assert images.train.shape == (396, 180, 180) and images.validation.shape == (4, 180, 180)
    psnr = [n2vlib.psnr(clean, noisy) for clean, noisy in zip(images.clean, images.noisy)]
    assert len(psnr) == 68 and np.mean(psnr) == pytest.approx(20.17, abs=0.02)  # 20 log10(255 / 25)


@pytest.mark.parametrize("name", [*NEEDED, "tiff/test/gt/5.tiff cut short", "png/test68/test005.png cut short"])
def test_files_that_are_missing_or_cut_short_are_noticed(name, arrive, refused):
    layout, path = name.partition("/")[0], Path("data", name.removesuffix(" cut short"))
    arrive(layout)
    if name.endswith("cut short"):
        path.write_bytes(path.read_bytes()[:100])
    else:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with refused(ValueError, f"{layout} is incomplete or damaged"):
        n2vlib.datasets.bsd68()


@pytest.mark.parametrize("one, other", [(0, 1), (1, 2)])  # of different and of equal size
def test_noisy_images_in_another_order_than_the_clean_ones_are_noticed(one, other, arrive, refused):
    noisy = list(NOISY)
    noisy.insert(one, noisy.pop(other))
    np.save(arrive("npy") / "test/bsd68_gaussian25.npy", np.array(noisy, object))
    with refused(ValueError, f"test image {one + 1} and its ground truth do not belong together"):
        n2vlib.datasets.bsd68()


def test_a_damaged_or_incomplete_zip_file_is_noticed(arrive, refused):
    path = arrive("tiff", "zip")
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with refused(ValueError, f"{ARCHIVE} is not a complete zip file"):
        n2vlib.datasets.bsd68()
    inside = content.index(b"tiff/test/gt/5.tiff") + 1000
    path.write_bytes(content[:inside] + b"damaged!" + content[inside + 8 :])
    with refused(ValueError, f"{ARCHIVE}.* is incomplete or damaged"):
        n2vlib.datasets.bsd68()


@pytest.mark.parametrize("member", ["../evil.tiff", "data/../../evil.tiff", "..\\evil.tiff", "/abs.tiff"])
def test_a_zip_file_that_climbs_out_of_its_folder_is_refused(member, tmp_path, arrive, refused):
    with zipfile.ZipFile(arrive("tiff", "zip"), "a") as archive:
        archive.writestr(member, "evil")
    before = sorted(tmp_path.rglob("*"))
    with refused(ValueError, "climbs out of its folder"):
        n2vlib.datasets.bsd68()
    assert sorted(tmp_path.rglob("*")) == before and not Path("/abs.tiff").exists()


def test_a_file_of_arrays_runs_no_code(arrive, refused):
    class Evil:
        def __reduce__(self):
            return open, ("marker", "w")

    path = arrive("npy") / "test/bsd68_gaussian25.npy"
    np.save(path, np.array([Evil()] * 68))
    with refused(ValueError, "which no array of numbers needs"):
        n2vlib.datasets.bsd68()
    assert not Path("marker").exists()
    np.load(path, allow_pickle=True)
    assert Path("marker").exists(), "the attack itself must work"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve the server's `content` (None: 404), hang up after `cuts` bytes, and note what was asked for."""

    def do_GET(self):
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        start = int(asked[len("bytes=") : -1]) if asked and server.knows_ranges else 0
        if server.content is None or start >= len(server.content):
            return self.send_error(404 if server.content is None else 416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        body = server.content[start:][: server.cuts.pop() if server.cuts else None]
        server.sent += len(body)
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """A server on this machine that n2vlib takes for the authors'."""

    def serve(self, content):
        self.content, self.cuts, self.asked, self.sent, self.knows_ranges = content, [], [], 0, True
        downloads.FILES.registry[ARCHIVE] = "sha256:" + hashlib.sha256(content).hexdigest()
        downloads.FILES.urls[ARCHIVE] = f"http://127.0.0.1:{self.server_port}/{ARCHIVE}"


@pytest.fixture
def server(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(downloads, "FILES", pooch.create(tmp_path_factory.mktemp("cache"), ""))
    monkeypatch.setattr(downloads, "CHUNK", 1000)  # what a cut may lose
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("N2VLIB_DOWNLOAD", raising=False)
    with Server(("127.0.0.1", 0), Handler) as running:
        running.serve(CONTENT)
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def kept():
    """Return the files in the folder for downloads: after a success the file, without what led to it."""
    return {path.name: path.read_bytes() for path in downloads.FILES.path.iterdir()}


@pytest.mark.parametrize("knows_ranges, retries", [(True, 0), (True, 1), (False, 0)])
def test_a_download_that_was_cut_goes_on_where_it_stopped(knows_ranges, retries, server, refused):
    server.cuts, server.knows_ranges, downloads.FILES.retry_if_failed = [100_000], knows_ranges, retries
    if not retries:
        with refused(ConnectionError, "call again, it goes on where it stopped"):
            downloads.fetch(ARCHIVE)
        assert list(kept()) == [PART]
    downloads.fetch(ARCHIVE)
    assert kept() == {ARCHIVE: CONTENT}
    first, second = server.asked
    assert first is None and 99_000 <= int(second[len("bytes=") : -1]) <= 100_000
    assert server.sent <= len(CONTENT) + (1000 if knows_ranges else 100_000)


@pytest.mark.parametrize("leftover", [b"", CONTENT, CONTENT + b"more"], ids=["none", "whole", "longer"])
def test_a_file_is_downloaded_once_and_a_leftover_that_is_too_long_dropped(leftover, server):
    (downloads.FILES.path / PART).write_bytes(leftover)
    assert downloads.fetch(ARCHIVE) == downloads.fetch(ARCHIVE) == downloads.FILES.path / ARCHIVE
    assert kept() == {ARCHIVE: CONTENT}
    assert server.asked == ([f"bytes={len(leftover)}-", None] if leftover else [None])


@pytest.mark.parametrize("served, leftover", [(CONTENT[::-1], b""), (CONTENT, b"old")], ids=["lie", "old leftover"])
def test_wrong_content_is_not_kept(served, leftover, server):
    server.content = served
    (downloads.FILES.path / PART).write_bytes(leftover)
    with pytest.raises(ValueError, match="another hash"):
        downloads.fetch(ARCHIVE)
    assert kept() == {}
    server.content = CONTENT
    downloads.fetch(ARCHIVE)
    assert kept() == {ARCHIVE: CONTENT}


def test_no_file_and_no_server_are_said_in_one_sentence(server, refused):
    server.content = None
    with refused(ConnectionError, f"{ARCHIVE} cannot be downloaded .*HTTPError.*N2VLIB_DATA"):
        downloads.fetch(ARCHIVE)
    server.shutdown()
    server.server_close()
    with refused(ConnectionError, f"{ARCHIVE} cannot be downloaded .*Connect.*N2VLIB_DATA"):
        downloads.fetch(ARCHIVE)


def test_downloads_can_be_forbidden(server, monkeypatch, refused):
    monkeypatch.setenv("N2VLIB_DOWNLOAD", "0")
    with refused(ConnectionError, "N2VLIB_DOWNLOAD=0 forbids"):
        downloads.fetch(ARCHIVE)
    (downloads.FILES.path / ARCHIVE).write_bytes(CONTENT)
    assert downloads.fetch(ARCHIVE) and server.asked == []


@pytest.mark.parametrize("data_range", [1, 255, 40])
def test_evaluate_equals_scikit_image(data_range):
    clean = [RNG.uniform(0, data_range, shape) for shape in ((7, 7), (16, 31), (40, 24))]
    images = [image + RNG.normal(0, data_range / 10, image.shape) for image in clean]
    measured = n2vlib.evaluate(clean, images, data_range)
    assert list(measured) == ["psnr", "scale_invariant_psnr", "ssim"]
    for name, theirs in (("psnr", "peak_signal_noise_ratio"), ("ssim", "structural_similarity")):
        expected = [getattr(skimage.metrics, theirs)(a, b, data_range=data_range) for a, b in zip(clean, images)]
        assert measured[name] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ValueError):
        n2vlib.evaluate(clean, images[:2], data_range)


def test_trained_weights_are_those_in_their_record(tmp_path, monkeypatch, untrained, camera, refused):
    monkeypatch.setattr(pretrained, "FOLDERS", (tmp_path,))
    denoiser, path = untrained(), tmp_path / "tiny.pt"
    denoiser.save(path)
    content = path.read_bytes()
    record = {"steps": 3, "sha256": hashlib.sha256(content).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(record))
    assert n2vlib.datasets.pretrained_record("tiny") == record
    assert np.array_equal(n2vlib.load_pretrained("tiny").predict(camera), denoiser.predict(camera))
    with refused(ValueError, "no trained weights 'large': there are tiny"):
        n2vlib.load_pretrained("large")
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with refused(ValueError, r"tiny.pt is not the file in its record \(sha256"):
        n2vlib.load_pretrained("tiny")


# What readers, pooch and the checks let through at first.


@pytest.mark.parametrize("protocol", [2, 3])
def test_files_of_arrays_that_an_older_numpy_wrote_are_read(protocol, arrive):
    with open(arrive("npy") / "test/bsd68_groundtruth.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (68,)})
        file.write(pickle.dumps(np.array(CLEAN, object), protocol).replace(b"numpy._core", b"numpy.core"))
    assert same(n2vlib.datasets.bsd68().clean, CLEAN)


def test_clean_pngs_are_read_out_of_a_zip(arrive):
    arrive("png", "zip")
    assert same(n2vlib.datasets.bsd68().clean, CLEAN)


def test_one_png_is_read_out_of_a_zip(arrive):
    arrive("png", "zip")
    assert np.array_equal(n2vlib.datasets.bsd68_test_image(5), CLEAN[4])


@pytest.mark.parametrize(
    "name, keep",
    [
        ("tiff/test/gt/5.tiff", -1000),  # tifffile's own ValueError, which names no file
        ("tiff/test/gt/5.tiff", 3),  # struct.error
        ("npy/train/DCNN400_train_gaussian25.npy", -9),  # numpy's own ValueError, which names no file
        ("npy/test/bsd68_groundtruth.npy", -1000),  # pickle.UnpicklingError
        ("png/test68/test005.png", 0),  # imageio's advice to install plugins, four lines
        ("png/test68/test005.png", 40),  # SyntaxError, Pillow's for broken PNGs
    ],
)
def test_files_cut_short_are_noticed(name, keep, arrive, refused):
    layout, path = name.partition("/")[0], Path("data", name)
    arrive(layout)
    path.write_bytes(path.read_bytes()[:keep])
    with refused(ValueError, f"{layout} is incomplete or damaged"):
        n2vlib.datasets.bsd68()


@pytest.mark.parametrize(
    "change",
    [
        lambda noisy, clean: clean.pop(),  # zip()'s own ValueError, which names nothing
        lambda noisy, clean: (noisy.pop(), clean.pop()),  # images in .npy files are not counted
        lambda noisy, clean: noisy.append(noisy.pop() * np.nan),  # abs(nan - 25) > 2 is False
        lambda noisy, clean: noisy.append(noisy.pop() + 100),  # std does not see an offset
    ],
    ids=["68 and 67", "67 and 67", "nan", "offset"],
)
def test_test_images_that_do_not_belong_together_are_noticed(change, arrive, refused):
    folder, noisy, clean = arrive("npy") / "test", NOISY.copy(), CLEAN.copy()
    change(noisy, clean)
    np.save(folder / "bsd68_gaussian25.npy", np.array(noisy, object))
    np.save(folder / "bsd68_groundtruth.npy", np.array(clean, object))
    with refused(ValueError, "npy"):
        n2vlib.datasets.bsd68()


def test_one_test_image_out_of_a_damaged_zip(arrive, refused):  # zipfile.BadZipFile
    path = arrive("tiff", "zip")
    content = path.read_bytes()
    inside = content.index(b"tiff/test/gt/5.tiff") + 1000
    path.write_bytes(content[:inside] + b"damaged!" + content[inside + 8 :])
    with refused(ValueError, f"{ARCHIVE}.* is incomplete or damaged"):
        n2vlib.datasets.bsd68_test_image(5)


def test_one_test_image_that_is_missing(arrive, refused):  # FileNotFoundError, which means "no BSD68 here"
    (arrive("png") / "test68/test005.png").unlink()
    with refused(ValueError, "png is incomplete or damaged"):
        n2vlib.datasets.bsd68_test_image(5)


def test_a_good_folder_beside_a_broken_zip(arrive):  # ValueError about the zip, which is not needed
    arrive("png")
    Path("data", ARCHIVE).write_bytes(b"half a download")
    assert same(n2vlib.datasets.bsd68().clean, CLEAN)


def test_a_file_is_not_replaced_where_downloads_are_forbidden(
    server, monkeypatch, refused
):  # pooch replaces a file with a wrong checksum
    (downloads.FILES.path / ARCHIVE).write_bytes(b"an old version")
    monkeypatch.setenv("N2VLIB_DOWNLOAD", "0")
    with refused(ConnectionError, "N2VLIB_DOWNLOAD=0 forbids"):
        downloads.fetch(ARCHIVE)


def test_a_wrong_checksum_is_one_sentence(server, refused):  # pooch's own message, over 300 characters
    server.content = CONTENT[::-1]
    with refused(ValueError, "hash"):
        downloads.fetch(ARCHIVE)


def test_even_an_early_cut_makes_progress(server):  # requests drops an unfinished chunk
    server.cuts = [200_000]
    with pytest.raises(ConnectionError):
        downloads.fetch(ARCHIVE)
    assert (downloads.FILES.path / f"{ARCHIVE}.part").stat().st_size > 0
