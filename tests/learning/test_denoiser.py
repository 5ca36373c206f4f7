"""Prediction: any size, in tiles or whole, in the units and the shape of the input."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage
import skimage.io
import torch
from hypothesis import given
from hypothesis import strategies as st

import n2vlib
from n2vlib import Denoiser
from n2vlib.learning import denoiser
from n2vlib.learning.config import STRATEGIES
from n2vlib.noise.models import SMALLEST_VARIANCE


def noise_image(shape, seed=0):
    return np.random.default_rng(seed).normal(100, 50, shape)


def with_tiles(model, side):
    """Make a Denoiser cut tiles of this side, rounded up to the pooling grid."""
    model._tile_sides = lambda height, width, halo, multiple: [-(-side // multiple) * multiple] * 2
    return model


@pytest.fixture(scope="module")
def trained(two_channels, tiny):
    """A model of two channels, shortly trained."""
    return n2vlib.train(two_channels, tiny(max_steps=30, num_channels_init=8))


@given(
    st.tuples(st.integers(8, 130), st.integers(8, 130)),
    st.integers(4, 60),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from((None, "gaussian")),
)
def test_tiled_equals_whole(untrained, shape, side, depth, n2v2, noise_model):
    model = untrained(depth=depth, n2v2=n2v2, noise_model=noise_model, num_channels_init=8)
    image = noise_image(shape)
    whole, tiled = with_tiles(model, 1000).predict(image), with_tiles(model, side).predict(image)
    assert np.abs(whole - tiled).max() <= 1e-4 * np.ptp(whole)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_tiled_equals_whole_where_pixels_are_hidden(untrained, strategy):
    # Boxes of side 3 do not follow the pooling grid.
    model = untrained(noise_model="gaussian", masked_pixel_percentage=11, strategy=strategy)
    model.leak = 1.0
    image = noise_image((70, 90))
    whole, tiled = with_tiles(model, 1000).predict(image), with_tiles(model, 16).predict(image)
    assert np.abs(whole - tiled).max() <= 1e-4 * np.ptp(whole)


def test_the_tile_size_follows_the_memory(untrained, monkeypatch):
    model, image, sizes = untrained(), noise_image((200, 150)), []
    model.network.register_forward_pre_hook(lambda network, inputs: sizes.append(inputs[0].numel()))
    whole = model.predict(image)
    assert len(sizes) == 1
    monkeypatch.setattr(denoiser, "ACTIVATION_BYTES", 1)
    tiled = model.predict(image)
    assert len(sizes) > 4 and max(sizes[1:]) < sizes[0]
    assert np.abs(whole - tiled).max() <= 1e-4 * np.ptp(whole)


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from((8, 32, 96)), st.integers(1, 3))
def test_tiles_cover_a_page_and_stay_in_the_memory(untrained, height, width, channels, depth):
    halo, multiple = 2**depth * 8, 2**depth
    sides = untrained(num_channels_init=channels, depth=depth)._tile_sides(height, width, halo, multiple)
    most = denoiser.ACTIVATION_BYTES / (4 * 6 * channels)
    counts = [-(-length // side) for length, side in zip((height, width), sides)]
    computed = [side + halo * min(2, count - 1) for side, count in zip(sides, counts)]
    assert all(side % multiple == 0 and side > 0 for side in sides)
    assert np.prod(computed) <= most or max(sides) < 32 * multiple
    if (height + multiple) * (width + multiple) <= most:
        assert counts == [1, 1]


def test_few_pixels_are_computed_twice(untrained):
    """A JUMP page, with the network of N2VConfig.jump(): tiles with the same sides would compute 1.25 times as many."""
    model, sizes = untrained(num_channels_init=32), []
    model.network.register_forward_pre_hook(lambda network, inputs: sizes.append(inputs[0].numel()))
    built_in = torch.cpu.get_capabilities().get("avx512_bf16")
    for exact, most in ((True, 1.12), (False, 1.0 if built_in else 1.12)):
        sizes.clear()
        model.predict(noise_image((540, 540)), exact=exact)
        assert 1 <= sum(sizes) / 540**2 <= most


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.sampled_from((None, "poisson_gaussian")))
def test_any_size_is_predicted(untrained, shape, noise_model):
    clean = untrained(noise_model=noise_model, gain=2.0).predict(noise_image(shape))
    assert clean.shape == shape and clean.dtype == np.float32
    assert np.isfinite(clean).all()


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (9, 13), (1, 300), (321, 481)])
@pytest.mark.parametrize("tta", [False, True])
def test_named_sizes_are_predicted(untrained, shape, tta):
    clean = untrained().predict(noise_image(shape), tta=tta)
    assert clean.shape == shape and np.isfinite(clean).all()


def test_a_real_image_of_321_by_481_is_denoised(data_folder, monkeypatch):
    monkeypatch.setenv("N2VLIB_DATA", str(data_folder))
    clean = n2vlib.datasets.bsd68_test_image(5)
    assert clean.shape == (321, 481)
    assert np.array_equal(clean, skimage.io.imread(data_folder / "bsd68" / "test68" / "test005.png"))
    noisy = clean + np.random.default_rng(0).normal(0, 25, clean.shape)
    model = n2vlib.train(noisy, n2vlib.N2VConfig(max_steps=200, average_weights=0, device="cpu"))
    assert n2vlib.psnr(clean, model.predict(noisy)) > n2vlib.psnr(clean, noisy)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32", "float64", ">f4", ">u2"])
def test_every_real_dtype_gives_the_same_float32(untrained, dtype):
    image = noise_image((20, 30)).clip(0, 255).round()
    model = untrained()
    clean = model.predict(image.astype(dtype))
    assert clean.dtype == np.float32 and clean.dtype.isnative
    assert np.array_equal(clean, model.predict(image))


def test_bool_and_views_are_predicted(untrained):
    image, model = noise_image((40, 30)), untrained()
    flipped = image[::-1, ::-2]
    assert np.array_equal(model.predict(flipped), model.predict(flipped.copy()))
    assert np.array_equal(model.predict(image > 100), model.predict((image > 100).astype(float)))


def test_prediction_leaves_the_image_alone(untrained):
    image = noise_image((20, 30)).astype(np.float32)
    before = image.copy()
    image.flags.writeable = False
    untrained(noise_model="gaussian").predict(image, tta=True)
    assert np.array_equal(image, before)


def test_stacks_equal_their_pages(trained, untrained):
    pages = noise_image((3, 20, 30))
    single = untrained()
    assert np.array_equal(single.predict(pages), np.stack([single.predict(page) for page in pages]))
    assert np.array_equal(single.predict(pages[:, None])[:, 0], single.predict(pages))
    pages = noise_image((3, 2, 20, 30))
    assert np.array_equal(trained.predict(pages), np.concatenate([trained.predict(page[None]) for page in pages]))


def test_fast_prediction_is_off_by_the_rounding_of_bfloat16_alone(trained, two_channels):
    exact, fast = trained.predict(two_channels, exact=True), trained.predict(two_channels)
    assert fast.dtype == np.float32 and np.array_equal(fast, trained.predict(two_channels))
    # Eleven layers, each rounded to 8 bits (2**-9 at most): sqrt(11) * 2**-9 = 0.6 % of the spread by chance.
    for channel, error in enumerate(np.moveaxis(fast - exact, -3, 0)):
        assert np.sqrt((error**2).mean()) < 2 * 11**0.5 * 2**-9 * trained.std[channel]


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_channel_axis_equals_moving_the_axis(trained, axis):
    image = noise_image((1, 2, 20, 30))
    clean = trained.predict(image)
    moved = trained.predict(np.moveaxis(image[0], 0, axis), channel_axis=axis)
    assert moved.shape == np.moveaxis(image[0], 0, axis).shape
    assert np.array_equal(moved, np.moveaxis(clean[0], 0, axis))


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -4])
def test_channel_axis_of_a_stack_equals_moving_the_axis(trained, axis):
    image = noise_image((3, 2, 20, 30))
    moved = trained.predict(np.moveaxis(image, 1, axis), channel_axis=axis)
    assert np.array_equal(moved, np.moveaxis(trained.predict(image), 1, axis))


def test_no_channel_influences_another_after_training(trained, two_channels):
    clean = trained.predict(two_channels, tta=True)
    for channel in (0, 1):
        changed = two_channels.copy()
        changed[:, channel] = changed[:, channel, ::-1] * 2
        moved = trained.predict(changed, tta=True)
        assert np.array_equal(moved[:, 1 - channel], clean[:, 1 - channel])
        assert not np.array_equal(moved[:, channel], clean[:, channel])


@pytest.mark.parametrize("noise_model", [None, "gaussian", "poisson_gaussian"])
def test_intensity_units_are_preserved(noisy, tiny, noise_model):
    # Normalisation in float64 undoes scale and shift up to 1e-13, then rounds to float32: both
    # trainings see the same numbers but for single roundings, which a few steps hardly magnify.
    # The noise estimates differ by rounding too, and for Poisson noise the offset by the shift.
    image, config = noisy[:48, :64], tiny(max_steps=8, noise_model=noise_model)
    clean = n2vlib.train(image, config).predict(image)
    scaled = n2vlib.train(1000 * image + 500, config).predict(1000 * image + 500)
    assert np.abs(scaled - (1000 * clean + 500)).max() < 1e-3 * 1000 * np.ptp(clean)


def test_tta_is_the_mean_over_flips_and_quarter_turns(untrained):
    model, image = untrained(channels=2), noise_image((1, 2, 21, 30))
    clean = np.zeros(image.shape)
    for turns in range(4):
        for flip in (1, -1):
            turned = np.rot90(image, turns, axes=(2, 3))[..., ::flip]
            clean += np.rot90(model.predict(turned)[..., ::flip], -turns, axes=(2, 3)) / 8
    averaged = model.predict(image, tta=True)
    # Values around 100 in float32, of which eight are summed: 8 * 2**-24 * 100 is 5e-5.
    np.testing.assert_allclose(averaged, clean, atol=1e-4)
    assert np.abs(averaged - model.predict(image)).max() > 1e-2


@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(n2v2=True, depth=1, independent_channels=False),
        dict(noise_model="gaussian", noise_sigma=(20.0, 60.0)),
        dict(noise_model="gaussian", noise_sigma=np.float64(20)),
        dict(noise_model="poisson_gaussian", learning_rate=np.float64(1e-3)),
    ],
)
def test_save_and_load(two_channels, tiny, tmp_path, settings):
    model = n2vlib.train(two_channels, tiny(steps_per_epoch=4, **settings), validation=two_channels)
    model.save(tmp_path / "new folder" / "model.pt")
    model.save(str(tmp_path / "new folder" / "model.pt"))  # over the old one
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["model.pt"]

    loaded = Denoiser.load(tmp_path / "new folder" / "model.pt")
    loaded.network.to("cpu")
    assert loaded.config == model.config
    assert loaded.history == model.history and len(loaded.history["loss"]) == 3
    assert (loaded.mean, loaded.std, loaded.noise, loaded.leak) == (model.mean, model.std, model.noise, model.leak)
    assert np.array_equal(loaded.predict(two_channels, tta=True), model.predict(two_channels, tta=True))


def test_a_saved_model_forgets_where_it_was_trained(two_channels, tiny, tmp_path):
    """A model trained with a checkpoint folder, or on a device that is not here, loads anywhere."""
    model = n2vlib.train(two_channels, tiny(max_steps=2, checkpoint_dir=tmp_path / "run"))
    model.config = dataclasses.replace(model.config, device="mps")
    model.save(tmp_path / "model.pt")
    loaded = Denoiser.load(str(tmp_path / "model.pt"))
    loaded.network.to("cpu")
    assert np.array_equal(loaded.predict(two_channels), model.predict(two_channels))


@pytest.mark.parametrize("noise_model, gain", [("gaussian", 0.0), ("poisson_gaussian", 3.0)])
def test_posterior_mean_follows_the_formula(untrained, noise_model, gain):
    model = untrained(channels=2, noise_model=noise_model, gain=gain)
    image = noise_image((1, 2, 40, 60))
    with torch.no_grad():
        raw = model.network(torch.from_numpy((image - 100) / 50).float()).double().numpy()
    mu = raw[:, [0, 2]] * 50 + 100
    v = (np.log1p(np.exp(raw[:, [1, 3]])) + SMALLEST_VARIANCE) * 50**2
    s2 = np.maximum(gain * mu + 400, SMALLEST_VARIANCE * 50**2)
    expected = (mu / v + image / s2) / (1 / v + 1 / s2)
    assert np.abs(model.predict(image, exact=True) - expected).max() < 1e-5 * np.ptp(image)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("percentage", [6.25, 44])
def test_the_hidden_prediction_does_not_see_the_pixels_own_value(untrained, percentage, strategy):
    model = untrained(noise_model="gaussian", masked_pixel_percentage=percentage, strategy=strategy)
    tile, whole = torch.randn(1, 1, 40, 48, generator=torch.Generator().manual_seed(0)), [(0, 40), (0, 48)]
    with torch.no_grad():
        before, seen_before = model._output_hidden(tile, whole), model.network(tile)
        for y, x in [(20, 24), (9, 17), (30, 11), (21, 39)]:
            changed = tile.clone()
            changed[..., y, x] += 1000 / 3
            after, seen_after = model._output_hidden(changed, whole), model.network(changed)
            assert torch.equal(before[..., y, x], after[..., y, x])
            assert not torch.equal(before[..., y + 1, x], after[..., y + 1, x]), "others may see it"
            assert not torch.equal(seen_before[..., y, x], seen_after[..., y, x]), "it matters when not hidden"


class Identity(torch.nn.Module):
    """The worst network of all: its mean is the pixel itself, its variance the same everywhere."""

    def __init__(self):
        super().__init__()
        self.raw = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, image, asked):
        return torch.cat([image, self.raw.expand_as(image)], dim=1)


def test_a_network_that_leaks_predicts_hidden(untrained):
    model = untrained(noise_model="gaussian", masked_pixel_percentage=6.25, strategy="mean", roi_size=3)
    model.network = Identity()
    image = noise_image((40, 48))
    assert np.abs(model.predict(image) - image).max() < 1e-3

    model.leak = 1.0
    # At the border the window moves inwards; inside, the mean is that of the eight neighbours.
    around = sum(image[i : i + 38, j : j + 46] for i in range(3) for j in range(3) if (i, j) != (1, 1)) / 8
    v, s2 = (np.log(2) + SMALLEST_VARIANCE) * 50**2, 400
    expected = (around / v + image[1:-1, 1:-1] / s2) / (1 / v + 1 / s2)
    assert np.abs(model.predict(image)[1:-1, 1:-1] - expected).max() < 1e-5 * np.ptp(image)


def test_rounding_is_less_than_a_tenth_of_the_error_that_is_left():
    clean = skimage.data.camera()[::4, ::4].astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 1, clean.shape)
    noisy = clean + 25 * noise
    model = n2vlib.train(noisy, n2vlib.N2VConfig(noise_model="gaussian", max_steps=150, device="cpu"))
    exact, default = model.predict(noisy, exact=True), model.predict(noisy)
    assert np.square(default - exact).mean() < 0.1**2 * np.square(exact - clean).mean()
    if torch.cpu.get_capabilities().get("avx512_bf16"):
        assert not np.array_equal(default, exact)
    weak = clean + 3 * noise  # beside so little noise, rounding would count: the default is exact
    assert np.array_equal(model.predict(weak, exact=True), model.predict(weak))


@given(st.tuples(st.integers(8, 90), st.integers(8, 90)), st.integers(4, 40), st.integers(1, 3))
def test_uncertainty_in_tiles_equals_that_of_the_whole(untrained, shape, side, components):
    model = untrained(noise_model="gaussian", components=components, num_channels_init=8)
    image = noise_image(shape)
    whole, tiled = with_tiles(model, 1000).uncertainty(image), with_tiles(model, side).uncertainty(image)
    assert whole.shape == shape and whole.dtype == np.float32 and (whole > 0).all()
    assert np.abs(whole - tiled).max() <= 1e-4 * whole.max()


def test_uncertainty_is_the_deviation_of_the_posterior_in_intensity_units(untrained):
    model, image = untrained(channels=2, noise_model="gaussian"), noise_image((1, 2, 20, 30))
    with torch.no_grad():
        output = model.network(model.normalise(image))
    _, variance = n2vlib.noise.mean_and_variance(output, channels=2)
    prior = variance.numpy()[0] * 50.0**2  # 50: the spread that the image was normalised by
    wanted = np.sqrt(prior * 400 / (prior + 400))  # 400: the variance of the noise
    assert np.allclose(model.uncertainty(image)[0], wanted, rtol=1e-3)


def test_as_many_true_signals_lie_within_a_deviation_as_a_normal_density_has(tiny):
    rng = np.random.default_rng(0)
    signal = 100 + 400 * scipy.ndimage.gaussian_filter(rng.normal(size=(128, 128)), 6)  # smooth: neighbours tell it
    noisy = signal + rng.normal(0, 20, signal.shape)
    model = n2vlib.train(noisy, tiny(noise_model="gaussian", num_channels_init=8, max_steps=300, patch_size=32))
    within = np.abs(model.predict(noisy, exact=True) - signal) < model.uncertainty(noisy)
    assert 0.55 < within.mean() < 0.8  # 0.68 for a network that has come to an end


def test_uncertainty_knows_nothing_where_nothing_was_measured(untrained):
    model, image = untrained(noise_model="gaussian"), noise_image((64, 64))
    image[:, 50:] = np.nan
    image[20, 20] = 1e5  # a hot pixel: predicted from its neighbours alone, which leave more open
    unsure = model.uncertainty(image)
    assert np.isnan(unsure[:, 50:]).all() and np.isfinite(unsure[:, :50]).all()
    assert unsure[20, 20] > unsure[20, 18]


def test_uncertainty_needs_a_noise_model(untrained, refused):
    with refused(ValueError, match="noise_model="):
        untrained().uncertainty(noise_image((16, 16)))
