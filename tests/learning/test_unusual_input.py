"""What is rare but valid goes through; what cannot be right is refused in one sentence."""

import warnings

import numpy as np
import pytest

import n2vlib
from n2vlib import Denoiser, train
from n2vlib.images.gaps import Gaps, find_gaps
from n2vlib.learning import patches
from n2vlib.learning.patches import page_statistics, some_images
from n2vlib.learning.training import Run


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(100, 10, shape)


@pytest.mark.parametrize(
    "changes",
    [
        dict(noise_model="gaussian", noise_sigma=(np.float64(10),)),
        dict(noise_model="gaussian", noise_sigma=(np.float32(10),)),
        dict(covariance=[np.pad([[100.0]], 1)], shot=[(np.float64(1), np.float64(0))]),
        dict(covariance=np.pad([[100.0]], 1), lines=[([np.float64(1.0)], [])], waves=[[np.array([0.0, 0.25])]]),
        dict(struct_mask=list(np.array([[True, True, True]]))),
    ],
)
def test_numpy_in_lists_of_settings_can_be_saved_and_loaded(tiny, tmp_path, changes):
    model = train(noise((64, 64)), tiny(max_steps=1, **changes))
    model.save(tmp_path / "model.pt")
    assert Denoiser.load(tmp_path / "model.pt").config == model.config


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.bool_])
@pytest.mark.parametrize("noise_model", [None, "auto"])
def test_rare_dtypes_are_learned_from_hot_pixels_and_all(tiny, dtype, noise_model):
    image = noise((64, 64))
    image[20, 30] = 1000
    image = image > 100 if dtype == np.bool_ else image.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which says that a pixel is broken
        model = train(image, tiny(max_steps=2, noise_model=noise_model))
    assert np.isfinite(model.predict(image)).all()


def test_masked_arrays_are_refused_unless_nothing_is_masked(untrained, tiny, refused):
    image = np.ma.masked_less(noise((32, 32)), 90)
    for work in (untrained().predict, lambda image: train(image, tiny(max_steps=1))):
        with refused(TypeError, match="masked array: give its data, and valid=~mask"):
            work(image)
    assert untrained().predict(np.ma.array(image.data)).shape == (32, 32)


@pytest.mark.parametrize("draws", [-1, 2.5])
def test_draws_are_counted(untrained, refused, draws):
    with refused(ValueError, match="draws = .* must be an integer of at least 0 or None"):
        untrained(covariance=np.pad([[100.0]], 1)).predict(noise((32, 32)), draws=draws)


@pytest.mark.parametrize("noise_model", [None, "auto", "gaussian", "poisson_gaussian"])
def test_a_channel_may_be_recorded_at_every_second_frame_alone(tiny, noise_model, capsys):
    """Where the frames that noise is measured on are just those without it."""
    images = noise((34, 2, 32, 32))
    images[::2, 1] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "left out: 17 frames empty in some channels$")
        model = train(images, tiny(max_steps=2, noise_model=noise_model))
    if noise_model == "auto":
        assert model.config.noise_model == "gaussian", capsys.readouterr().out
    if noise_model == "gaussian":
        assert [round(offset**0.5, -1) for offset in model.noise[1]] == [10, 10]


def test_noise_is_measured_on_a_part_of_large_images(monkeypatch):
    images = noise((40, 1, 50, 70))
    _, _, count = page_statistics(images, range(40))
    assert some_images(images, range(40), count).shape == (20, 1, 50, 70)
    monkeypatch.setattr(patches, "MOST_VALUES", 20 * 25 * 35)
    some = some_images(images, range(40), count)
    assert 0.9 * patches.MOST_VALUES < some.size < 1.1 * patches.MOST_VALUES
    assert np.array_equal(some[0, 0], images[0, 0, 12:-12, 18:-18])
    images[0, 0, 20, 30] = np.nan
    gaps = find_gaps(images)
    assert isinstance(gaps, Gaps) and np.isnan(some_images(images, range(40), count, gaps)).sum() == 1


@pytest.mark.parametrize(
    "corners, words",
    [
        ([[0, 0, 60]], r"from 0 to \[1, 48, 48\]"),
        ([[2, 0, 0]], r"from 0 to \[1, 48, 48\]"),
        ([[0, 0, -1]], "corners are integers"),
        ([[0.0, 0.0, 0.0]], "corners are integers"),
        ([0, 0, 0], "corners are integers"),
        (np.zeros((0, 3), int), "name no image"),
    ],
)
def test_corners_outside_the_images_are_refused(tiny, refused, corners, words):
    with refused(ValueError, match=words):
        train(noise((2, 64, 64)), tiny(), corners=corners)


def test_corners_leave_the_validation_images_alone(tiny):
    corners = [[n, 0, 0] for n in range(10)]
    run = Run(noise((10, 1, 16, 16)), 0.3, tiny(), corners=corners)
    assert set(run.corners[:, 0]) == set(run.training[1]) and len(run.corners) == 7


@pytest.mark.parametrize("first, then", [(None, noise((32, 32))), (noise((32, 32)), None)])
def test_resuming_needs_validation_images_as_before(tiny, refused, tmp_path, first, then):
    train(noise((32, 32)), tiny(max_steps=2, checkpoint_dir=tmp_path), validation=first)
    with refused(ValueError, match="was trained with(out)? validation images"):
        train(noise((32, 32)), tiny(max_steps=4, checkpoint_dir=tmp_path), validation=then, resume=True)


def test_the_level_of_an_image_is_that_without_its_waves(tiny):
    """As in training: with per_image the waves would else count as spread."""
    wave = 40 * np.cos(np.pi * np.arange(64) / 4)
    config = tiny(max_steps=20, struct_mask=[[True, True, True]], waves=[[[0.0, 0.125]]], per_image=True)
    model = train(noise((2, 64, 64)) + wave, config)
    one, other = (model.predict(noise((64, 64)) + strength * wave) for strength in (1, 2))
    assert np.abs(one - other).max() < 1
    _, missing, level = model._prepared(noise((1, 64, 64)) + wave, None)
    assert missing is None and level[1] == pytest.approx(10, rel=0.05)


def test_similar_patches_beside_gaps(untrained):
    """Each channel by itself, beside a gap and a hot pixel: what is predicted is finite, the gap is as it was."""
    image = noise((3, 64, 64))
    image[0, :20, :20], image[1, 40, 40] = np.nan, 1000
    clean = untrained(channels=3, noise_model="gaussian").predict(image[None], similar=True)
    assert np.array_equal(np.isnan(clean[0]), np.isnan(image))
    assert n2vlib.psnr(np.full((64, 64), 100.0), clean[0, 2], 255) > 20


@pytest.mark.parametrize("change", [lambda x: 257 * x, lambda x: 16 * x, lambda x: x / 255, lambda x: x + 32768])
def test_an_image_in_other_units_is_told_from_one_of_the_training(untrained, change):
    """A network that knows 8 bits makes nonsense of the same image between 0 and 1, as it can come from a folder."""
    image, rng = noise((64, 64)) + np.linspace(-50, 50, 64), np.random.default_rng(0)
    with pytest.warns(UserWarning, match="channel 0 has values around .* if these are other units"):
        untrained().predict(change(image))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in (image, image / 2, 3 * image, rng.normal(20, 2, (64, 64)), rng.poisson(0.01, (64, 64)), 0 * image):
            untrained().predict(fine)


@pytest.mark.parametrize("model", [None, "auto"])
def test_where_no_pixel_is_left_the_reason_is_named(tiny, refused, model):
    with refused(ValueError, match="no pixel is left to learn from: 100.0% not valid as you say"):
        train(noise((32, 32)), tiny(max_steps=1, noise_model=model), valid=np.zeros((32, 32), bool))
    with refused(ValueError, match="no pixel is left to learn from: 100.0% NaN or infinite"):
        train(np.full((32, 32), np.nan), tiny(max_steps=1, noise_model=model))
    with refused(ValueError, match="channel 0 is constant, every pixel is 7"):
        train(np.full((32, 32), 7), tiny(max_steps=1, noise_model=model))


def test_channels_that_come_last_are_asked_for(tiny, refused):
    with refused(ValueError, match="has 64 x 5 pixels.*; if the channels come last, say so: channel_axis=-1"):
        train(noise((64, 64, 5)), tiny(max_steps=1))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_numbers_that_wrapped_around_are_refused(tiny, untrained, refused, dtype):
    """A dark image subtracted in unsigned numbers: the noise below 0 becomes 65535, and nothing was denoised."""
    dark = np.random.default_rng(0).normal(100, 10, (64, 64)).round().astype(dtype)
    image = noise((64, 64), seed=1).round().astype(dtype)
    for work in (n2vlib.noise_report, untrained().predict, lambda image: train(image, tiny(max_steps=1))):
        with refused(ValueError, match="has wrapped around: subtract anew in numbers that have a sign"):
            work(image - dark)
    spots = np.where(noise((64, 64), 2) > 110, np.iinfo(dtype).max, image)  # saturated, or a mask
    for fine in (image.astype("float32") - dark, spots):
        train(fine, tiny(max_steps=1))
