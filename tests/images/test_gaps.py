"""What holds no measurement is found, and nothing else: borders, empty frames, saturation, NaN, hot and dead pixels."""

import warnings

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
from conftest import SIZE
from hypothesis import example, given
from hypothesis import strategies as st

import n2vlib
from n2vlib.images import gaps
from n2vlib.images.gaps import BROKEN, GAP, MEASURED, fill_gaps, find_gaps
from n2vlib.images.hot_pixels import broken_pixels

MEGAPIXELS = 8 if SIZE == "thorough" else 1  # of pure noise, in which hardly a pixel may be called broken


def noise(shape, seed=0, sigma=10.0, level=100.0):
    return np.random.default_rng(seed).normal(level, sigma, shape)


def codes_of(page, valid=None):
    """Codes and words of one page (Y, X)."""
    found = find_gaps(page[None, None], None if valid is None else valid[None, None])
    return (np.zeros(page.shape, np.uint8) if found.of(0) is None else found.of(0)[0]), found.words


# What is found


@given(st.integers(0, 10**6), st.sampled_from([-1000.0, 0.0, 100.0, 65535.0]), st.tuples(*[st.integers(0, 20)] * 4))
@example(1, -1000.0, (17, 18, 12, 19))  # more than half of the page is border, and what fills it has no noise
def test_a_constant_border_is_a_gap_and_nothing_else_is(seed, value, widths):
    border = widths[:2], widths[2:]
    page = np.pad(noise((64, 72), seed), border, constant_values=value)
    codes, words = codes_of(page)
    assert np.array_equal(codes == GAP, np.pad(np.zeros((64, 72), bool), border, constant_values=True))
    assert not (codes == BROKEN).any() and (f"constant at {value:.6g}" in words) == any(widths)


@given(st.integers(0, 10**6), st.sampled_from([1.0, 1e-4, 3e5]), st.floats(-1e6, 1e6))
def test_gaps_do_not_depend_on_scale_and_offset(seed, scale, offset):
    page = noise((64, 64), seed)
    page[:, :9], page[40, 40], page[20:24, 30:40] = 0, 900, 2000
    expected, _ = codes_of(page)
    assert (expected == GAP).sum() >= 9 * 64 + 30 and expected[40, 40] == BROKEN
    assert np.array_equal(codes_of(scale * page + offset * scale)[0], expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_dead_lines_are_gaps_whatever_their_values(axis):
    page = noise((96, 96))
    lines, values = [3, 50, 51, 95], [0, 100, 255, 90.5]
    np.moveaxis(page, axis, 0)[lines] = np.array(values)[:, None]
    found = np.flatnonzero((np.moveaxis(codes_of(page)[0], axis, 0) == GAP).all(axis=1))
    assert found.tolist() == lines


def test_a_dead_column_between_borders_is_a_gap():
    page = noise((64, 64))
    page[:, 20] = 7
    codes, words = codes_of(np.pad(page, 8, constant_values=100))
    assert (codes[:, 28] == GAP).all() and "constant at 7" in words and not codes[10:60, 30:60].any()


def test_the_corners_of_a_turned_image_are_gaps():
    turned = scipy.ndimage.rotate(noise((128, 128)), 20, order=0, reshape=True, cval=0.0)
    codes, _ = codes_of(turned)
    assert ((codes == GAP) == (turned == 0)).mean() > 0.99


def test_saturated_spots_are_gaps_and_single_bright_pixels_are_not():
    y, x = np.mgrid[:128, :128]
    signal = 6000 * np.exp(-((y - 40) ** 2 + (x - 60) ** 2) / 200) + 300
    page = (signal + noise(signal.shape, level=0, sigma=60)).clip(0, 4095).astype(np.uint16)
    codes, words = codes_of(page)
    inside = scipy.ndimage.binary_erosion(page == 4095, np.ones((3, 3)))
    assert (codes[inside] == GAP).all() and not codes[page < 4095].any() and "constant at 4095" in words


@pytest.mark.parametrize("rate", [0.003, 0.05, 0.3, 1.5, 6.0])
def test_counts_of_few_photons_are_measurements(rate):
    y, x = np.mgrid[:256, :256]
    signal = rate + 4 * np.exp(-((y - 100) ** 2 + (x - 100) ** 2) / 300)
    for dtype in (np.uint8, np.float32):
        assert codes_of(np.random.default_rng(0).poisson(signal).astype(dtype))[1] == ""


def test_nan_infinity_and_what_the_user_says_are_gaps():
    page, valid = noise((64, 64)), np.ones((64, 64), bool)
    page[3, 4], page[5, 6], valid[10:20, 10:20] = np.nan, -np.inf, False
    codes, words = codes_of(page, valid)
    assert (codes == GAP).sum() == 102 and "100 pixels" not in words and "2.4% not valid as you say" in words


def test_empty_frames_are_named():
    stack = noise((6, 1, 32, 32))
    stack[2], stack[4] = 0, np.nan
    found = find_gaps(stack)
    assert sorted(found.codes) == [2, 4] and "frame 2 empty" in found.words and "NaN" in found.words


# Broken pixels


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, shape: rng.normal(0, 1, shape),
        lambda rng, shape: rng.laplace(0, 1, shape),
        *(lambda rng, shape, rate=rate: rng.poisson(rate, shape) for rate in (0.003, 0.05, 0.5, 2, 20, 1000)),
    ],
    ids=["white", "laplacian", *(f"{rate} photons" for rate in (0.003, 0.05, 0.5, 2, 20, 1000))],
)
def test_of_a_million_pixels_of_noise_at_most_one_is_called_broken(draw):
    found = sum(broken_pixels(draw(np.random.default_rng(seed), (1000, 1000))).sum() for seed in range(MEGAPIXELS))
    assert found <= MEGAPIXELS


@pytest.mark.parametrize("height", [1000, 4000, -1000])
@pytest.mark.parametrize("share", [0.0005, 0.002])
def test_hot_and_dead_pixels_of_a_photograph_are_found(camera, share, height):
    broken = np.random.default_rng(1).random(camera.shape) < share
    found = broken_pixels(camera + noise(camera.shape, sigma=25) + height * broken)
    assert (found & broken).sum() >= 0.95 * broken.sum() and not (found & ~broken).any()


@pytest.mark.parametrize(
    "cluster", [[(0, 0), (0, 1)], [(0, 0), (1, 1)], [(0, 0), (0, 1), (1, 0)], [(0, 0), (1, 0), (2, 0)]]
)
def test_small_clusters_are_found_whole(cluster):
    page = noise((64, 64))
    for y, x in cluster:
        page[30 + y, 30 + x] += 700
    assert np.argwhere(broken_pixels(page)).tolist() == sorted([30 + y, 30 + x] for y, x in cluster)


@pytest.mark.parametrize("apart", [(0, 1), (0, 2), (0, 3), (3, 0), (3, 3), (0, 4), (0, 6)])
@pytest.mark.parametrize("height", [4000, -4000])
def test_two_broken_pixels_do_not_hide_each_other(apart, height):
    noisy = np.random.default_rng(0).normal(100, 10, (64, 80))
    expected = np.zeros(noisy.shape, bool)
    expected[20, 30] = expected[20 + apart[0], 30 + apart[1]] = True
    assert np.array_equal(broken_pixels(noisy + height * expected), expected)


SQUARE = [(0, 0), (0, 1), (1, 0), (1, 1)]
TRACKS = [[(k, k) for k in range(10)], [(0, k) for k in range(12)], [(2 * (k // 4), k) for k in range(14)]]


@pytest.mark.parametrize("cluster", [SQUARE, *TRACKS], ids=["square", "diagonal", "row", "broken line"])
@pytest.mark.parametrize("height", [1500, 60000])
def test_what_cosmic_rays_leave_is_found_whole(camera, cluster, height):
    """Four pixels of 60000 cost a noise model 3.3 dB, and plain Noise2Void all."""
    page, expected = camera + noise(camera.shape, sigma=25), np.zeros(camera.shape, bool)
    for y, x in cluster:
        expected[100 + y, 70 + x] = True
    assert np.array_equal(broken_pixels(page + height * expected), expected)


@pytest.mark.parametrize("sharpness", [0.7, 1, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_single_bright_or_dark_object_is_not_broken(sharpness, sign):
    """However far outside of the range of all other pixels it is, and whatever its border looks like."""
    y, x = np.mgrid[:256, :256]
    for radius in (1.5, 4, 9):
        clean = 5000 / (1 + np.exp((np.hypot(y - 130, x - 120) - radius) / sharpness))
        page = np.random.default_rng(0).poisson(clean) + noise(clean.shape, sigma=2)
        assert not broken_pixels(sign * page).any()


@given(st.integers(0, 10**6), st.floats(0.6, 3.0), st.floats(20, 2000))
def test_the_image_of_a_point_is_not_broken(seed, width, height):
    """A blurred point, its width (sigma) from 0.6 pixels on, at any place within a pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    page = noise(y.shape, seed)
    for row, column in rng.uniform(8, 56, (6, 2)):
        page += 10 * height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2))
    assert not broken_pixels(page).any()


@pytest.mark.parametrize("name", ["hubble_deep_field", "text", "grass", "clock"])
def test_stars_letters_and_texture_are_not_broken(name):
    image = getattr(skimage.data, name)()
    image = image.mean(axis=-1) if image.ndim == 3 else image.astype(float)
    assert broken_pixels(image).mean() < 1e-5


def test_pixels_that_are_weakly_hot_are_found_where_a_stack_shows_them_again_and_again():
    stack, hot = noise((64, 1, 64, 64)), [(10, 20), (40, 50)]
    for y, x in hot:
        stack[..., y, x] += 60  # six times the noise of one image
    found = find_gaps(stack)
    assert all(np.argwhere(found.of(n)[0] == BROKEN).tolist() == [[10, 20], [40, 50]] for n in range(64))
    assert find_gaps(stack[:1]).words == ""


def test_a_cosmic_ray_is_broken_in_its_own_frame_alone():
    stack = noise((8, 1, 64, 64))
    for n in range(8):
        stack[n, 0, 10 + n, 20] += 3000
    stack[..., 50, 50] += 3000  # a hot pixel is in all of them
    found = find_gaps(stack)
    assert all(np.argwhere(found.of(n)[0] == BROKEN).tolist() == [[10 + n, 20], [50, 50]] for n in range(8))
    assert found.words == "16 broken pixels"


# Filling


@given(st.integers(0, 10**6), st.floats(0, 0.9))
def test_filling_keeps_what_is_measured_and_gives_finite_values_within_its_range(seed, share):
    page = noise((40, 50), seed)
    missing = np.random.default_rng(seed).random(page.shape) < share
    missing[:, :20] = True
    filled = fill_gaps(np.where(missing, np.nan, page), missing)
    assert np.array_equal(filled[~missing], page[~missing])
    low, high = page[~missing].min(), page[~missing].max()
    assert low - 1e-6 <= filled.min() and filled.max() <= high + 1e-6


# Training, prediction and the report


@pytest.fixture
def quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def damaged(page):
    """A page with a border, a hot pixel and NaN, and where it is as it was."""
    page, as_it_was = page.copy(), np.ones(page.shape, bool)
    page[:, :12], page[30, 40], page[50, 20:24] = 0, 5000, np.nan
    as_it_was[:, :12] = as_it_was[30, 40] = as_it_was[50, 20:24] = False
    return page, as_it_was


@pytest.mark.usefixtures("quietly")
@pytest.mark.parametrize("model", [None, "gaussian", "poisson_gaussian"])
def test_gaps_come_back_as_they_were_and_broken_pixels_are_predicted(noisy, tiny, model):
    page, as_it_was = damaged(noisy)
    denoiser = n2vlib.train(page, tiny(noise_model=model))
    for image in (page, np.stack([page, noisy])):
        clean = denoiser.predict(image)
        first = clean if clean.ndim == 2 else clean[0]
        assert np.array_equal(first[:, :12], page[:, :12]) and np.isnan(first[50, 20:24]).all()
        assert np.isfinite(first[as_it_was]).all() and abs(first[30, 40] - page[30, 40]) > 3000
        if clean.ndim == 3:
            assert np.array_equal(clean[1], denoiser.predict(noisy))  # one image's gaps are not another's


@pytest.mark.usefixtures("quietly")
def test_what_stands_in_a_gap_changes_nothing(noisy, tiny):
    page, as_it_was = damaged(noisy)
    results = []
    for value in (0.0, -1e6, 12345.0):
        page[:, :12] = value
        denoiser = n2vlib.train(page, tiny(noise_model="gaussian"))
        results.append((denoiser.mean, denoiser.std, denoiser.noise, denoiser.predict(page)[as_it_was]))
    for other in results[1:]:
        assert other[:3] == results[0][:3] and np.array_equal(other[3], results[0][3])


@pytest.mark.usefixtures("quietly")
def test_statistics_and_noise_are_those_of_the_measured_pixels(noisy, tiny):
    page, _ = damaged(noisy)
    alone = n2vlib.train(noisy[:, 12:], tiny(noise_model="gaussian"))
    around = n2vlib.train(page, tiny(noise_model="gaussian"))
    assert around.mean == pytest.approx(alone.mean, rel=1e-3) and around.std == pytest.approx(alone.std, rel=1e-3)
    assert around.noise[1] == pytest.approx(alone.noise[1], rel=0.02)


def test_one_line_says_what_was_left_out(noisy, tiny):
    page, _ = damaged(noisy)
    with pytest.warns(UserWarning, match="left out: 4.7% constant at 0, 4 pixels NaN or infinite, 1 broken pixel"):
        n2vlib.train(page, tiny())
    assert "Left out: 4.7% constant at 0, 4 pixels" in str(n2vlib.noise_report(page))


@pytest.mark.usefixtures("quietly")
def test_pixels_that_the_user_calls_invalid_are_left_out_everywhere(noisy, tiny, refused):
    page, valid = noisy.copy(), np.ones(noisy.shape, bool)
    page[:, :100], valid[:, :100] = 3 * page[:, :100] + 1000, False  # noise of 75, which nothing tells from a signal
    assert n2vlib.noise_report(page, valid=valid).white_sigma == pytest.approx(25, rel=0.1)
    denoiser = n2vlib.train(page, tiny(noise_model="gaussian"), valid=valid)
    assert denoiser.noise[1][0] ** 0.5 == pytest.approx(25, rel=0.1)
    assert np.array_equal(denoiser.predict(page, valid=valid)[:, :100], page[:, :100].astype(np.float32))
    for wrong in (valid.astype(int), valid[1:], valid[None, None, None]):
        with refused(ValueError, r"valid of .* and shape .* is not possible: give booleans"):
            n2vlib.train(page, tiny(), valid=wrong)


@pytest.mark.usefixtures("quietly")
def test_a_clean_image_is_trained_on_as_before(noisy, tiny):
    """No gap: the same patches, the same weights, as if nobody had looked for gaps."""
    assert find_gaps(noisy[None, None]).codes == {}
    same = [n2vlib.train(noisy, tiny(), valid=valid) for valid in (None, np.ones(noisy.shape, bool))]
    assert np.array_equal(same[0].predict(noisy), same[1].predict(noisy))


@pytest.mark.usefixtures("quietly")
def test_an_empty_frame_is_never_cut_from(noisy, tiny):
    stack = np.stack([noisy, np.zeros_like(noisy), noisy + 5])
    denoiser = n2vlib.train(stack, tiny(noise_model="gaussian"))
    assert denoiser.mean[0] == pytest.approx(stack[[0, 2]].mean(), rel=1e-3)
    assert not denoiser.predict(stack)[1].any()


def test_images_that_differ_greatly_in_brightness_have_a_normalisation_of_their_own(noisy, tiny, tmp_path):
    flash = np.stack([noisy, 1.02 * noisy, 0.98 * noisy, 40 * noisy])
    denoiser = n2vlib.train(flash, tiny())
    assert denoiser.config.per_image and not n2vlib.train(flash[:3], tiny()).config.per_image
    # An image in other units is the same to it.
    np.testing.assert_allclose(denoiser.predict(7 * noisy + 3), 7 * denoiser.predict(noisy) + 3, rtol=1e-4, atol=1e-2)
    denoiser.save(tmp_path / "model.pt")
    assert np.array_equal(n2vlib.Denoiser.load(tmp_path / "model.pt").predict(flash), denoiser.predict(flash))


@pytest.mark.usefixtures("quietly")
@pytest.mark.parametrize("kind", ["gaussian", "poisson_gaussian"])
def test_a_law_of_the_noise_holds_in_intensity_units_for_each_image(noisy, tiny, kind):
    flash = np.stack([noisy, noisy, noisy, 40 * noisy])
    denoiser = n2vlib.train(flash, tiny(noise_model=kind, per_image=True))
    mean, std = np.array([[200.0], [400.0]]), np.array([[10.0], [50.0]])
    gain, offset = (values[..., 0, 0, 0].numpy() for values in denoiser.normal_noise(mean, std))
    variance = (gain * (300 - mean) / std + offset) * std**2
    np.testing.assert_allclose(variance, 300 * denoiser.noise[0][0] + denoiser.noise[1][0], rtol=1e-4)


@pytest.mark.parametrize("hidden", ["NaN", "valid"])
def test_one_missing_pixel_changes_nothing_elsewhere(hidden):
    """Extremes and steps are those of the measured pixels."""
    dark = np.random.default_rng(0).poisson(0.05, (128, 128)).astype(np.float32)
    y, x = np.mgrid[:128, :128]
    spot = (6000 * np.exp(-((y - 40) ** 2 + (x - 60) ** 2) / 200) + noise((128, 128))).clip(0, 4095)
    for page in (dark, spot):
        before, valid = codes_of(page)[0], np.ones(page.shape, bool)
        valid[100, 100] = False
        page = np.where(valid, page, np.nan if hidden == "NaN" else 1e6)
        codes, _ = codes_of(page, valid)
        assert codes[100, 100] == GAP and np.array_equal(codes[valid], before[valid])


@pytest.mark.usefixtures("quietly")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int16", ">u2", ">f4"])
def test_any_dtype(tiny, dtype):
    image = noise((64, 64)).clip(0, 255).astype(dtype)
    image[:10] = 7
    denoiser = n2vlib.train(image, tiny())
    clean = denoiser.predict(image)
    assert (clean[:10] == 7).all() and np.isfinite(clean).all() and 90 < clean[10:].mean() < 110


@pytest.mark.usefixtures("quietly")
def test_gaps_of_validation_images_are_left_out(noisy, tiny):
    page, _ = damaged(noisy)
    losses = [n2vlib.train(noisy, tiny(), validation=held).history["validation_loss"][-1] for held in (noisy, page)]
    assert np.isfinite(losses).all() and losses[1] == pytest.approx(losses[0], rel=0.5)


@pytest.mark.usefixtures("quietly")
def test_a_file_is_denoised_like_the_stack_in_memory(tmp_path, tiny):
    """Pixels that only the mean of all images shows to be broken are predicted in both."""
    stack = noise((40, 64, 64))
    stack[:, 30, 40] += 80
    stack[3], stack[5, 10, 11] = 0, np.inf
    stack = stack.astype(np.float32)
    denoiser = n2vlib.train(stack, tiny(noise_model="gaussian"))
    source = n2vlib.save_image(tmp_path / "in.tif", stack)
    written = n2vlib.read_stack(n2vlib.denoise_file(denoiser, source, tmp_path / "out.tif"))[0][:, 0]
    assert np.array_equal(written, denoiser.predict(stack)) and np.isinf(written[5, 10, 11])
    assert abs(written[:, 30, 40].mean() - 100) < 40


@pytest.mark.usefixtures("quietly")
def test_the_noise_level_is_measured_around_gaps(noisy, tiny):
    page, _ = damaged(noisy)
    for patterns in ({}, dict(waves=[[(0.25, 0.0)]])):
        denoiser = n2vlib.train(page, tiny(noise_model="gaussian", **patterns))
        assert np.isfinite(n2vlib.learning.blind_sigma(denoiser, page, batches=5)).all()


def test_codes_of_a_large_stack_are_kept_small(monkeypatch):
    stack = noise((5, 2, 64, 64))
    stack[:, 0, :, :9], stack[3, 1, 30, 30] = 0, 900
    plain = find_gaps(stack)
    monkeypatch.setattr(gaps, "LARGE", 1)
    packed = find_gaps(stack)
    assert packed.words == plain.words and all(np.array_equal(packed.of(n), plain.of(n)) for n in range(5))
    assert sum(len(codes) for codes, _ in packed.codes.values()) < stack.size / 50


def test_codes_are_three():
    assert len({MEASURED, BROKEN, GAP}) == 3
