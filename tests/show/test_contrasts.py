"""Black and white of pictures: of images with missing pixels, of bool ones, of colours, of many channels."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import n2vlib
from n2vlib import show
from n2vlib.show import figures, sliders

RNG = np.random.default_rng(0)
HOLES = RNG.normal(100, 5, (24, 30))
HOLES[3, 4], HOLES[5, 6] = np.nan, np.inf
WHOLE = HOLES[np.isfinite(HOLES)]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that widgets draw, the last one last."""
    seen, to_png = [], sliders.to_png
    monkeypatch.setattr(sliders, "to_png", lambda figure: seen.append(figure) or to_png(figure))
    yield seen
    plt.close("all")


def contrast(axis):
    return axis.images[0].get_clim()


def test_missing_pixels_leave_the_contrast_as_it_is(drawn):
    low, high = np.quantile(WHOLE, (0.01, 0.99))
    axes = show.images({"noisy": HOLES, "residual": HOLES - 100}).axes
    assert np.allclose([contrast(axis) for axis in axes], [(low, high), ((low - high) / 2, (high - low) / 2)])
    show.explore_results({"noisy": HOLES, "denoised": HOLES})
    assert np.allclose(contrast(drawn[-1].axes[0]), (low, high))
    controls, _ = show.explore_stack(HOLES[None, None], ["stain"]).children
    picture, histogram = drawn[-1].axes
    assert np.isfinite(picture.images[0].get_array()).all() and np.isfinite(histogram.get_xlim()).all()
    controls.children[1].value = "stain"
    assert np.allclose(contrast(drawn[-1].axes[0]), np.quantile(WHOLE, (0.01, 0.997)))
    show.before_after(HOLES, HOLES)
    assert np.allclose(contrast(drawn[-1].axes[0]), np.quantile(WHOLE, (0.005, 0.997)))
    show.explore_masking(np.where(np.isinf(HOLES), np.nan, HOLES))
    assert np.isfinite(contrast(drawn[-1].axes[0])).all()
    assert figures.contrasts(np.full((4, 4), np.nan)) == ((0, 0), (0, 0))


def test_more_channels_than_colours_begin_the_colours_anew():
    page = np.zeros((9, 8, 8))
    page[4] = RNG.random((8, 8))
    assert np.array_equal(show.composite(page, ("red", "blue", "lime")), show.composite(page[4:5], ("blue",)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_colours_before_and_after_have_one_black_and_white(drawn, dtype):
    before, after = (RNG.integers(0, 200, (20, 30, 3)).astype(dtype) for _ in range(2))
    show.before_after(before, after)
    low, high = np.quantile(after, (0.005, 0.997))
    meet = np.concatenate([before[:, :15], after[:, 15:]], axis=1).astype(float)
    assert np.allclose(drawn[-1].axes[0].images[0].get_array(), ((meet - low) / (high - low)).clip(0, 1))


def test_black_and_white_images_are_shown(drawn):
    mask = np.nan_to_num(HOLES) > 100
    assert contrast(show.images({"mask": mask}).axes[0]) == (0, 1)
    training = show.train_live(mask, n2vlib.N2VConfig(max_steps=2, num_channels_init=1), crop=(0, 0, 24))
    assert training.result().predict(mask).shape == mask.shape
    assert len(training.film_strip().axes) == 5
