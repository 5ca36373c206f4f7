"""Results compared under menus, sliders and a player; and a result handed on in a folder."""

import json
import os

import numpy as np
import PIL.Image
import pytest

import n2vlib
from n2vlib.show import explorer

RNG = np.random.default_rng(0)
CLEAN = np.tile(np.arange(48.0), (40, 1))
IMAGES = {
    "noisy": CLEAN + RNG.normal(0, 5, CLEAN.shape),
    "blurred": CLEAN / 2 + 12,
    "residual": RNG.normal(size=(40, 48)),
}


def test_each_control_changes_the_picture():
    controls, picture = n2vlib.show.explore_results(IMAGES, CLEAN).children
    changes = dict(left="blurred", right="noisy", zoom=2, across=0.0, down=1.0, blink=1)
    assert [control.description for control in controls.children] == list(changes)
    pictures = [bytes(picture.value)]
    for control, value in zip(controls.children, changes.values()):
        control.value = value
        pictures.append(bytes(picture.value))
    assert all(png.startswith(b"\x89PNG") for png in pictures) and len(set(pictures)) == len(pictures)


def test_the_third_panel_shows_left_and_right_in_turn_at_the_same_place(monkeypatch):
    drawn = []
    monkeypatch.setattr(explorer, "redrawn", lambda draw, controls, height: drawn.append(draw))
    n2vlib.show.explore_results(IMAGES, CLEAN)
    for blink, name in enumerate(("noisy", "residual", "noisy")):
        figure = drawn[0]("noisy", "residual", 4, 1.0, 0.5, blink)
        shown = [axis.images[0] for axis in figure.axes]
        assert [axis.get_title() for axis in figure.axes] == ["noisy", "residual", f"in turn: {name}"]
        assert np.allclose(shown[2].get_array(), IMAGES[name][15:25, 36:48])
        assert np.allclose(shown[0].get_array(), IMAGES["noisy"][15:25, 36:48])
    low, high = np.quantile(CLEAN, (0.01, 0.99))
    assert shown[0].get_clim() == (low, high) and np.allclose(shown[1].get_clim(), [(low - high) / 2, (high - low) / 2])


@pytest.mark.parametrize("zoom", [1, 3.5, 16])
@pytest.mark.parametrize("place", [0.0, 0.4, 1.0])
def test_a_crop_stays_inside_the_image(zoom, place):
    rows, columns = explorer._crop((40, 300), zoom, across=place, down=1 - place)
    for part, length in ((rows, 40), (columns, 300)):
        assert 0 <= part.start and part.stop <= length
        assert part.stop - part.start == max(8, round(length / zoom))


@pytest.mark.parametrize(
    "images",
    [{"one": CLEAN}, {"one": CLEAN, "other": CLEAN[1:]}, {"one": CLEAN[None], "other": CLEAN[None]}],
    ids=["one", "two shapes", "stacks"],
)
def test_images_that_cannot_be_compared_are_refused(images, refused):
    with refused(ValueError, match="two or more"):
        n2vlib.show.explore_results(images)


def test_a_report_holds_pictures_numbers_and_settings(tmp_path, noisy, tiny):
    denoiser = n2vlib.train(noisy, tiny(noise_model="gaussian"))
    denoised = denoiser.predict(noisy)
    content = n2vlib.show.save_report(tmp_path / "new" / "report", noisy, denoised, denoiser)
    names = {"noisy.png", "denoised.png", "residual.png", "ssim.png", "autocorrelation.png", "report.json"}
    assert set(os.listdir(tmp_path / "new" / "report")) == names
    assert json.loads((tmp_path / "new" / "report" / "report.json").read_text()) == content
    assert content["noise_report"] == str(n2vlib.noise_report(noisy.astype(np.float32)))
    assert content["denoiser"]["settings"]["noise_model"] == "gaussian" and content["denoiser"]["steps"] == 10
    assert np.isclose(content["residual"]["deviation"], (noisy - denoised).std(), rtol=1e-3)


def test_noisy_and_denoised_have_the_same_grey_levels_and_a_residual_of_zero_is_medium_grey(tmp_path):
    noisy = np.linspace(100, 200, 64 * 64).reshape(64, 64)
    content = n2vlib.show.save_report(tmp_path, noisy, noisy)
    grey = {
        name: np.asarray(PIL.Image.open(tmp_path / f"{name}.png")) for name in ("noisy", "denoised", "residual", "ssim")
    }
    assert np.array_equal(grey["noisy"], grey["denoised"]) and np.ptp(grey["noisy"]) == 255
    assert np.unique(grey["residual"]).tolist() == [128] and np.unique(grey["ssim"]).tolist() == [255]
    assert content["ssim"] == 1 and content["residual"]["strongest_neighbour"] == 0 and content["denoiser"] is None


@pytest.mark.parametrize("shape", [(2, 64, 64), (64, 63), (6, 64)])
def test_what_is_no_pair_of_pages_is_refused(shape, tmp_path, refused):
    denoised = np.zeros(shape[-2:] if shape != (64, 63) else (64, 64))
    with refused(ValueError, match="page"):
        n2vlib.show.save_report(tmp_path / "report", np.zeros(shape), denoised)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("pages", [1, 3])
def test_the_autocorrelation_of_a_residual_is_that_of_what_was_removed(pages):
    white = RNG.normal(size=(pages, 128, 129))
    removed = white[..., 1:] + white[..., :-1]  # neighbours in a row share a half
    signal = np.broadcast_to(np.arange(128.0), removed.shape)
    found = n2vlib.noise.residual_autocorrelation(signal + removed + 7, signal, size=5)  # whatever its mean
    assert found.shape == (5, 5) and found[2, 2] == 1
    assert np.allclose(found[2], [0, 0.5, 1, 0.5, 0], atol=0.05) and np.abs(found[:2]).max() < 0.05
    nothing = n2vlib.noise.residual_autocorrelation(signal, signal, size=3)
    assert nothing.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_a_page_with_gaps_is_refused_before_anything_is_written(tmp_path, refused):
    noisy = np.zeros((20, 20))
    noisy[3, 3] = np.nan
    with refused(ValueError, match="not finite"):
        n2vlib.show.save_report(tmp_path / "report", noisy, np.zeros((20, 20)))
    assert not (tmp_path / "report").exists()
