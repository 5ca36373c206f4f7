"""Generated cells, where the JUMP stack comes from, and the widgets that show stacks."""

import hashlib
import itertools
import types
from pathlib import Path

import numpy as np
import pooch
import pytest

import n2vlib
from n2vlib.datasets import downloads, painted
from n2vlib.show import sliders

# Generated cells


@pytest.fixture(scope="module")
def pairs():
    return list(n2vlib.datasets.painted_cells(2, side=128, seed=3))


def test_cells_come_one_at_a_time_as_pairs(pairs):
    endless = n2vlib.datasets.painted_cells(10**9, side=64)
    assert isinstance(endless, types.GeneratorType)  # an endless stack costs the memory of one image
    assert [image.shape for image in next(endless)] == [(4, 64, 64)] * 2
    for clean, noisy in pairs:
        assert clean.shape == noisy.shape == (4, 128, 128) and clean.dtype == noisy.dtype == np.float32
    assert len(painted.CHANNELS) == 4


def test_cells_are_the_seeds(pairs):
    again = list(n2vlib.datasets.painted_cells(3, side=128, seed=3))  # one more changes none before it
    for (clean, noisy), (same_clean, same_noisy) in zip(pairs, again):
        assert np.array_equal(clean, same_clean) and np.array_equal(noisy, same_noisy)
    others = [clean for clean, _ in (*again, *n2vlib.datasets.painted_cells(2, side=128, seed=4))]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(others, 2))


def test_the_truth_is_in_photons_and_the_noise_is_photons_and_camera(pairs):
    clean, noisy = (np.stack(images).astype(np.float64) for images in zip(*pairs))
    assert clean.min() >= painted.BACKGROUND and clean.max() <= 1.2 * painted.PHOTONS + painted.BACKGROUND
    assert (clean.max(axis=(0, 2, 3)) > 0.3 * painted.PHOTONS).all(), "a channel without bright structures"
    assert (np.quantile(clean, 0.02, axis=(0, 2, 3)) < 2 * painted.BACKGROUND).all(), "a channel without background"
    variance = clean + painted.READ_NOISE**2
    z = (noisy - clean) / np.sqrt(variance)
    # A mean of N numbers of variance 1 scatters by N**-0.5; the square of a count scatters by (2 + kurtosis)**0.5,
    # where the kurtosis is that of the Poisson part, clean / variance**2 < 1 / 36. Five times that is the margin.
    for channel in np.moveaxis(z, 1, 0):
        assert abs(channel.mean()) < 5 * channel.size**-0.5
        assert abs((channel**2).mean() - 1) < 5 * (2.03 / channel.size) ** 0.5
    neighbours = (z[..., 1:] * z[..., :-1]).mean()
    assert abs(neighbours) < 5 * z.size**-0.5, "the noise of neighbours must be independent"


def test_each_stain_has_structures_of_its_own(pairs):
    clean = pairs[0][0]
    correlation = np.corrcoef(clean.reshape(4, -1))
    assert (correlation[np.triu_indices(4, 1)] < 0.9).all()
    spectra = [np.abs(np.fft.fft2(channel - channel.mean())) ** 2 for channel in clean]
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    fine = [spectrum[frequency > 0.06].sum() / spectrum.sum() for spectrum in spectra]
    assert max(fine[0], fine[1]) < min(fine[2], fine[3]), "fibres and grains are finer than nuclei and cytoplasm"


# Where the JUMP stack comes from


@pytest.mark.parametrize("name", ["noisy.tiff", "jump_noisy.tiff", "jump/noisy.tiff", "jump/jump_noisy.tiff"])
def test_the_jump_stack_in_the_folder_of_data(tmp_path, monkeypatch, name):
    monkeypatch.setenv("N2VLIB_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "fetch", None)  # no download now
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"pixels")
    assert n2vlib.datasets.jump_stack() == tmp_path / name


def test_a_folder_of_data_without_the_jump_stack(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("N2VLIB_DATA", "data")
    with refused(FileNotFoundError, "N2VLIB_DATA=data holds no noisy.tiff, neither there nor in its subfolder jump"):
        n2vlib.datasets.jump_stack()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A place that sends whatever `content` holds, and a cache folder that is empty."""
    (tmp_path / "cache").mkdir()
    sent = types.SimpleNamespace(content=b"1.2 GB of pixels", times=0)
    checksum = "sha256:" + hashlib.sha256(sent.content).hexdigest()
    files = pooch.create(tmp_path / "cache", "", registry={"jump_noisy.tiff": checksum})
    monkeypatch.setattr(downloads, "FILES", files)
    monkeypatch.delenv("N2VLIB_DATA", raising=False)
    monkeypatch.delenv("N2VLIB_DOWNLOAD", raising=False)

    def send(url, output_file, registry):
        Path(output_file).write_bytes(sent.content)
        sent.times += 1

    monkeypatch.setattr(downloads, "_download", send)
    monkeypatch.setattr(files, "get_url", lambda name: f"https://example.org/{name}")
    return sent


def test_the_jump_stack_is_downloaded_once_and_its_checksum_compared(server, refused):
    path = n2vlib.datasets.jump_stack()
    assert path.read_bytes() == server.content and n2vlib.datasets.jump_stack() == path and server.times == 1
    path.write_bytes(b"damaged")  # on the disk: fetched again, and compared
    assert n2vlib.datasets.jump_stack().read_bytes() == server.content and server.times == 2
    path.unlink()
    server.content = b"another file"
    with refused(ValueError, "jump_noisy.tiff sent has another hash"):
        n2vlib.datasets.jump_stack()
    assert not path.exists()


def test_the_jump_stack_where_downloads_are_forbidden(server, monkeypatch):
    monkeypatch.setenv("N2VLIB_DOWNLOAD", "0")
    with pytest.raises(ConnectionError, match="N2VLIB_DOWNLOAD=0 forbids to get it"):
        n2vlib.datasets.jump_stack()
    assert server.times == 0


def test_all_files_of_the_registry_have_checksums():
    assert all(checksum.startswith("sha256:") for checksum in downloads.FILES.registry.values())


# The widgets


@pytest.fixture
def drawn(monkeypatch):
    """All figures drawn by widgets so far."""
    figures, to_png = [], sliders.to_png

    def keep(figure):
        figures.append(figure)
        return to_png(figure)

    monkeypatch.setattr(sliders, "to_png", keep)
    return figures


class Pages:
    """A stack that notes which of its images are read."""

    def __init__(self, array):
        self.array, self.read = array, []

    def __len__(self):
        return len(self.array)

    def __getitem__(self, number):
        self.read.append(number)
        return self.array[number]


@pytest.mark.parametrize("array", [np.full((2, 2, 9, 9), 7, np.uint16), np.random.default_rng(0).random((2, 5, 9, 9))])
def test_the_stack_explorer_takes_a_constant_image_and_fractions(array, drawn):
    n2vlib.show.explore_stack(array, list("abcde")[: array.shape[1]])
    heights = [patch.get_xy()[:, 1].max() for patch in drawn[-1].axes[1].patches]
    assert len(heights) == array.shape[1] and all(height > 0 for height in heights)


def test_the_stack_explorer_draws_the_image_and_histogram_chosen(drawn):
    array = np.random.default_rng(0).poisson(50, (5, 3, 20, 30)).astype(np.uint16)
    stack, names = Pages(array), ["red", "green", "blue"]
    controls, picture = n2vlib.show.explore_stack(stack, names).children
    image, channel = controls.children
    assert (image.min, image.max) == (0, 4) and list(channel.options)[1:] == names and stack.read == [0]
    left, right = drawn[-1].axes
    np.testing.assert_array_equal(left.images[0].get_array(), n2vlib.show.composite(array[0].astype(np.float32)))
    assert [text.get_text() for text in right.get_legend().get_texts()] == names

    pictures = [bytes(picture.value)]
    image.value = 3
    pictures.append(bytes(picture.value))
    channel.value = "green"
    pictures.append(bytes(picture.value))
    left, right = drawn[-1].axes
    np.testing.assert_array_equal(left.images[0].get_array(), array[3, 1])
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["green"]
    heights = [patch.get_xy()[:, 1] for patch in right.patches]
    assert len(heights) == 1 and heights[0].max() == np.bincount(array[3, 1].ravel()).max()
    assert np.unique(np.diff(np.unique(right.patches[0].get_xy()[:, 0]))).tolist() == [1], "each bin holds one integer"
    assert stack.read == [0, 3, 3], "one image at a time"
    assert len(set(pictures)) == 3 and all(png.startswith(b"\x89PNG") for png in pictures)


@pytest.mark.parametrize("colours", [(), (3,)])
def test_before_and_after_meet_at_the_slider(drawn, colours):
    before, after = np.zeros((20, 50, *colours)), np.ones((20, 50, *colours))
    controls, picture = n2vlib.show.before_after(before, after).children
    (split,) = controls.children
    pictures = []
    for value in (0.5, 0.0, 0.24, 1.0):
        split.value = value
        shown = np.asarray(drawn[-1].axes[0].images[0].get_array())
        assert (shown[:, : round(50 * value)] == 0).all() and (shown[:, round(50 * value) :] == 1).all()
        pictures.append(bytes(picture.value))
    assert len(set(pictures)) == 4 and shown.shape == before.shape


def test_before_and_after_share_the_contrast_of_after(drawn):
    rng = np.random.default_rng(0)
    before, after = rng.normal(0, 50, (20, 50)), rng.normal(10, 1, (20, 50))
    n2vlib.show.before_after(before, after)
    assert drawn[-1].axes[0].images[0].get_clim() == tuple(np.quantile(after, (0.005, 0.997)))


def test_a_composite_adds_each_channel_in_its_own_colour():
    page = np.zeros((2, 4, 4))
    page[0, 0], page[1, 1] = 5, 700  # each channel is scaled by itself
    picture = n2vlib.show.composite(page, ("#ff0000", "#0000ff"))
    assert picture.shape == (4, 4, 3)
    np.testing.assert_array_equal(picture[0], [[1, 0, 0]] * 4)
    np.testing.assert_array_equal(picture[1], [[0, 0, 1]] * 4)
    np.testing.assert_array_equal(picture[2:], 0)
