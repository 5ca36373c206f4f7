"""Structured noise: its autocovariance, the masks made of it, noise drawn from it, and the report."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import skimage.data
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import label
from scipy.signal import correlate2d
from structured_noise import KERNELS, RINGS, known_covariance, noise, true_mask

import n2vlib
from n2vlib.noise.covariance import Autocovariance, lag_products
from n2vlib.noise.spectrum import noise_in_patches


def overlap(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


def synthetic(*entries, size=11):
    """An autocovariance with 1 in the centre and, off it, values at (dy, dx) and (-dy, -dx)."""
    values = np.zeros((size, size))
    values[size // 2, size // 2] = 1
    for dy, dx, value in entries:
        values[size // 2 + dy, size // 2 + dx] = values[size // 2 - dy, size // 2 - dx] = value
    return values


def members(mask):
    return sorted(map(tuple, np.argwhere(mask) - len(mask) // 2))


# The autocovariance


@pytest.mark.parametrize("kind", KERNELS)
def test_known_covariance_is_found_within_the_sampling_error(kind):
    # Every patch is taken, so nothing is chosen. A lag's estimate from N pixels has the variance
    # sum(C(g)**2 + C(g + h) C(g - h)) / N, at most twice the first sum (Bartlett). The quadratic
    # surface takes 6 / 576 of sum(C) from all lags alike, which the outer ring makes up for but for
    # what differs between near and far lags: less than half of it.
    expected = known_covariance(KERNELS[kind])
    found = n2vlib.noise_autocovariance(noise((512, 512), KERNELS[kind]), share=100).values
    sampling = np.sqrt(2 * (expected**2).sum() / 512**2)
    surface = 6 / 24**2 * expected.sum() / 2
    assert np.abs(found - expected).max() < 4 * sampling + surface
    assert 4 * sampling + surface < 0.1 * expected.max()


@pytest.mark.parametrize("kind", KERNELS)
def test_choosing_the_calmest_patches_leaves_the_covariance_alone(kind):
    # The mean of the lowest tenth of a normal distribution is 1.75 deviations low: here 1.75 * sqrt(2 *
    # sum(C**2) / C(0)**2 / 576), 15 to 20 %. That is given back to first order; and 5 % for sampling.
    expected = known_covariance(KERNELS[kind])
    found = n2vlib.noise_autocovariance(noise((512, 512), KERNELS[kind], seed=1)).values
    assert np.abs(found - expected).max() < 0.1 * expected.max()


def test_the_error_is_how_much_white_noise_scatters():
    # The deviation of 150 values is known to 1 / sqrt(300) = 6 %. Detrending removes 1 % more.
    rng = np.random.default_rng(0)
    found = [n2vlib.noise_autocovariance(rng.normal(0, 10, (96, 96)), share=100) for _ in range(150)]
    scatter = np.std([one.values for one in found], axis=0)
    error = np.mean([one.error for one in found], axis=0)
    inner = (RINGS > 0) & (RINGS < 5)
    assert np.mean(scatter[inner] / error[inner]) == pytest.approx(1, abs=0.1)  # of 80 lags
    assert (scatter[inner] / error[inner]).max() < 1.4


def test_products_at_each_distance_are_summed_over_the_pairs_inside_a_patch():
    grain = np.random.default_rng(0).normal(size=(3, 24, 24))
    expected = [correlate2d(patch, patch)[18:29, 18:29] for patch in grain]
    np.testing.assert_allclose(lag_products(grain, 11), expected, atol=1e-9)


def test_the_autocovariance_is_symmetric_and_follows_the_intensity(camera):
    image = camera + noise(camera.shape, KERNELS["diagonal"])
    first = n2vlib.noise_autocovariance(image)
    assert first.values.shape == (11, 11) and first.values.dtype == np.float64
    np.testing.assert_allclose(first.values, first.values[::-1, ::-1], atol=1e-8)
    scaled = n2vlib.noise_autocovariance(1000 - 3 * image)
    np.testing.assert_allclose(scaled.values, 9 * first.values, atol=1e-6)
    np.testing.assert_allclose(scaled.error, 9 * first.error)
    transposed = n2vlib.noise_autocovariance(image.T)
    np.testing.assert_allclose(transposed.values, first.values.T, atol=1e-8)
    assert n2vlib.noise_autocovariance(image, size=7, patch=16).values.shape == (7, 7)


def test_smooth_surfaces_do_not_matter():
    grain = noise((96, 120), KERNELS["blob"])
    y, x = np.mgrid[:96, :120] / 50
    bent = n2vlib.noise_autocovariance(grain + 300 * x * y - 200 * x**2 + 1e4)
    np.testing.assert_allclose(bent.values, n2vlib.noise_autocovariance(grain).values, atol=1e-6)


def test_integers_and_memory_maps_are_read_as_they_are(camera, tmp_path):
    image = np.round(camera + noise(camera.shape, KERNELS["blob"]) + 100).astype(np.uint16)
    expected = n2vlib.noise_autocovariance(image.astype(np.float64)).values
    np.testing.assert_array_equal(n2vlib.noise_autocovariance(image).values, expected)
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    np.testing.assert_array_equal(n2vlib.noise_autocovariance(mapped).values, expected)


def test_images_of_a_stack_are_averaged_and_a_channel_is_chosen():
    stack = np.stack([noise((2, 96, 96), kernel) for kernel in (KERNELS["vertical"], KERNELS["blob"])], axis=1)
    both = n2vlib.noise_autocovariance(stack, channel=1)
    np.testing.assert_array_equal(both.values, n2vlib.noise_autocovariance(stack[:, 1]).values)
    np.testing.assert_array_equal(
        n2vlib.noise_autocovariance(np.repeat(stack[:1, 0], 3, axis=0)).values.round(6),
        n2vlib.noise_autocovariance(stack[0, 0]).values.round(6),
    )
    # Three times the pixels: the error falls by sqrt(3).
    three = n2vlib.noise_autocovariance(np.repeat(stack[:1, 0], 3, axis=0)).error
    np.testing.assert_allclose(three * np.sqrt(3), n2vlib.noise_autocovariance(stack[0, 0]).error)


def test_padding_holds_no_noise():
    padded = np.full((256, 256), 7.0)
    padded[:, 96:] += noise((256, 160), KERNELS["horizontal"])
    assert overlap(n2vlib.structural_mask(n2vlib.noise_autocovariance(padded)), true_mask(KERNELS["horizontal"])) == 1


# The mask


def test_white_noise_gets_the_centre_alone():
    # A false alarm in 1 % of the images at most: of 200, more than 6 have a chance below 0.5 %.
    alarms = []
    for seed in range(200):
        side = (48, 64, 96, 128)[seed % 4]
        measured = n2vlib.noise_autocovariance(np.random.default_rng(seed).normal(0, 10, (side, side)))
        alarms.append([n2vlib.structural_mask(measured, smallest=smallest).sum() > 1 for smallest in (0.15, 0)])
    assert (np.sum(alarms, axis=0) <= [2, 6]).all()


@pytest.mark.parametrize("sigma", [5, 10, 25, 50])
@pytest.mark.parametrize("name", ["camera", "moon", "brick", "grass", "gravel"])
def test_white_noise_on_a_photograph_gets_the_centre_alone(name, sigma):
    image = n2vlib.load_image(name)[128:384, 128:384]
    noisy = image + np.random.default_rng(0).normal(0, sigma, image.shape)
    assert n2vlib.structural_mask(n2vlib.noise_autocovariance(noisy)).sum() == 1


@pytest.mark.parametrize("kind", KERNELS)
def test_masks_on_photographs_overlap_with_the_truth(kind):
    truth = true_mask(KERNELS[kind])
    found = []
    for name in ("camera", "moon", "astronaut"):
        image = n2vlib.load_image(name)[128:384, 128:384]
        noisy = image + noise(image.shape, KERNELS[kind])
        found.append(overlap(n2vlib.structural_mask(n2vlib.noise_autocovariance(noisy)), truth))
    assert min(found) >= 0.8
    assert np.mean(found) >= (0.8 if kind == "blob" else 0.95)  # a blob's corners taper to 0.17, next to the threshold


def test_stripes_are_mostly_found_even_where_texture_is_everywhere():
    # If texture is not removed, the overlap is about 0.25: it is correlated in all directions.
    found = []
    for name in ("grass", "gravel"):
        for kind in ("horizontal", "vertical", "diagonal"):
            measured = n2vlib.noise_autocovariance(n2vlib.load_image(name) + noise((512, 512), KERNELS[kind]))
            assert measured.texture > 0.1
            found.append(overlap(n2vlib.structural_mask(measured), true_mask(KERNELS[kind])))
    assert np.mean(found) > 0.7


def test_horizontal_noise_gets_a_horizontal_mask_and_turns_with_the_image(camera):
    image = camera + noise(camera.shape, KERNELS["horizontal"])
    mask = n2vlib.structural_mask(n2vlib.noise_autocovariance(image))
    assert members(mask) == [(0, dx) for dx in range(-4, 5)]
    turned = n2vlib.structural_mask(n2vlib.noise_autocovariance(image.T))
    np.testing.assert_array_equal(turned, mask.T)


def test_noise_that_is_stronger_in_places_is_no_texture():
    strength = np.linspace(1, 4, 256)[:, None]  # as of photons on a slope; within a patch it varies little
    measured = n2vlib.noise_autocovariance(strength * noise((256, 256), KERNELS["blob"]), share=100)
    assert measured.texture < 0.1
    assert overlap(n2vlib.structural_mask(measured), true_mask(KERNELS["blob"])) >= 0.8


def test_the_threshold_is_relative_to_the_strongest_neighbour():
    values = synthetic((0, 1, 0.5), (0, 2, 0.1), (0, 3, 0.06), (1, 0, 0.07))
    assert members(n2vlib.structural_mask(values)) == [(0, -2), (0, -1), (0, 0), (0, 1), (0, 2)]
    assert members(n2vlib.structural_mask(values, threshold=0.5)) == [(0, -1), (0, 0), (0, 1)]
    assert n2vlib.structural_mask(values, threshold=0.11).sum() == 9
    assert n2vlib.structural_mask(values).dtype == bool


def test_what_is_not_connected_with_the_centre_does_not_count():
    values = synthetic((0, 1, 0.5), (0, 3, 0.5), (4, 4, 0.4))
    assert members(n2vlib.structural_mask(values)) == [(0, -1), (0, 0), (0, 1)]
    corner = synthetic((1, 1, 0.5), (2, 2, 0.3))  # corners touch
    assert n2vlib.structural_mask(corner).sum() == 5


def test_weak_and_insignificant_neighbours_do_not_count():
    assert n2vlib.structural_mask(synthetic((0, 1, 0.14))).sum() == 1
    assert n2vlib.structural_mask(synthetic((0, 1, 0.14)), smallest=0.1).sum() == 3
    values = synthetic((0, 1, 0.5), (0, 2, 0.3))
    # 60 distinct neighbours, 1 %: 3.6 standard errors, here 0.36.
    assert n2vlib.structural_mask(Autocovariance(values, np.full((11, 11), 0.1))).sum() == 3
    assert n2vlib.structural_mask(Autocovariance(values, np.full((11, 11), 0.2))).sum() == 1
    # After texture worth 0.5 of the variance was removed nothing changes; after 0.95, neighbours need 10 times as much.
    assert n2vlib.structural_mask(Autocovariance(values, texture=0.5)).sum() == 5
    assert n2vlib.structural_mask(Autocovariance(values, texture=0.95)).sum() == 1


def test_neighbours_with_opposite_noise_count_unless_texture_left_them_behind():
    assert members(n2vlib.structural_mask(synthetic((0, 1, -0.5)))) == [(0, -1), (0, 0), (0, 1)]
    both = synthetic((0, 1, -0.5), (1, 0, 0.3))
    assert n2vlib.structural_mask(both).sum() == 5
    assert members(n2vlib.structural_mask(Autocovariance(both, texture=0.1))) == [(-1, 0), (0, 0), (1, 0)]


def test_the_strongest_are_kept_in_pairs():
    values = synthetic((0, 1, 0.5), (0, 2, 0.4), (1, 0, 0.3), (1, 1, 0.2))
    five = [(0, -2), (0, -1), (0, 0), (0, 1), (0, 2)]
    for most, expected in ((9, 9), (8, 7), (7, 7), (6, 5), (5, 5), (2, 1), (1, 1)):
        assert n2vlib.structural_mask(values, max_true_pixels=most).sum() == expected
        assert n2vlib.noise.ring_mask(values, max_true_pixels=most).sum() == expected
    assert members(n2vlib.structural_mask(values, max_true_pixels=5)) == five


@given(st.integers(0, 10**6), st.sampled_from([3, 5, 11]), st.integers(1, 40))
def test_every_mask_is_symmetric_connected_and_holds_its_centre(seed, size, most):
    values = np.random.default_rng(seed).normal(0, 0.3, (size, size)).clip(-1, 1)
    values = (values + values[::-1, ::-1]) / 2
    values[size // 2, size // 2] = 1
    for make in (n2vlib.structural_mask, n2vlib.noise.ring_mask):
        mask = make(values, max_true_pixels=most)
        assert mask[size // 2, size // 2] and 1 <= mask.sum() <= most
        np.testing.assert_array_equal(mask, mask[::-1, ::-1])
        assert label(mask, np.ones((3, 3)))[1] == 1
        np.testing.assert_array_equal(make(values.T, max_true_pixels=None), make(values, max_true_pixels=None).T)


def test_rings_have_their_own_thresholds():
    values = synthetic((0, 1, 0.8), (1, 0, 0.3), (1, 1, 0.42), (0, 2, 0.6), (1, 2, 0.36), (0, 3, 0.2), (1, 3, 0.19))
    documented = dict(base_percentile=50, percentile_decay=1.15, center_ratio_threshold=0.3)
    # Ring 1: half of 0.8, so 0.8 and 0.42; ring 2: 57.5 % of 0.6, so 0.6 and 0.36; ring 3 has less than 0.3.
    mask = n2vlib.noise.ring_mask(values, **documented)
    assert members(mask) == sorted(
        [(0, 0)] + [(s * y, s * x) for y, x in ((0, 1), (1, 1), (0, 2), (1, 2)) for s in (1, -1)]
    )
    # Ring 2: 50 * 1.4 = 70 % of 0.6 = 0.42.
    assert not n2vlib.noise.ring_mask(values, **(documented | dict(percentile_decay=1.4)))[6, 7]
    # With a lower ratio ring 3 counts: 50 * 1.15**2 = 66 % of 0.2.
    assert n2vlib.noise.ring_mask(values, **(documented | dict(center_ratio_threshold=0.2))).sum() == 13
    assert n2vlib.noise.ring_mask(values, **(documented | dict(base_percentile=30))).sum() == 11
    assert n2vlib.noise.ring_mask(values, **(documented | dict(center_ratio_threshold=0.9))).sum() == 1


def test_rings_start_at_the_background():
    values = synthetic((0, 1, 0.8), (1, 0, 0.3))
    np.testing.assert_array_equal(
        n2vlib.noise.ring_mask(values + 5, 50, center_ratio_threshold=0), n2vlib.noise.ring_mask(values, 50)
    )


@pytest.mark.parametrize("kind", KERNELS)
def test_rings_find_the_structure_of_denoised_background(kind):
    measured = n2vlib.noise_autocovariance(noise((256, 256), KERNELS[kind], white=2))
    assert overlap(n2vlib.noise.ring_mask(measured.values), true_mask(KERNELS[kind])) >= 0.6


def test_rings_find_stripes_in_what_stage_1_leaves_of_a_photograph(camera):
    """The documented way: stage 1 takes the white noise away, and leaves the stripes, smeared."""
    noisy = camera + noise(camera.shape, KERNELS["horizontal"])
    denoised = n2vlib.train(noisy, n2vlib.N2VConfig(max_steps=300, device="cpu")).predict(noisy)
    left = n2vlib.noise_autocovariance(denoised).values
    assert left.max() < 500  # the variance before
    mask = n2vlib.noise.ring_mask(left, **n2vlib.two_stage.settings.RINGS["stage1"], max_true_pixels=None)
    assert overlap(mask, true_mask(KERNELS["horizontal"])) >= 0.6


# Drawing noise


@pytest.mark.parametrize("kind", KERNELS)
def test_drawn_noise_has_the_covariance_of_its_spectrum(kind):
    expected = known_covariance(KERNELS[kind])
    spectrum = n2vlib.noise.noise_spectrum(expected, (64, 48))
    assert spectrum.shape == (64, 48) and spectrum.min() > 0
    assert spectrum.mean() == pytest.approx(expected.max(), rel=0.01)  # less what the floor adds
    drawn = n2vlib.noise.draw_noise(spectrum, torch.Generator().manual_seed(0), count=100)
    assert drawn.shape == (100, 64, 48) and drawn.dtype == torch.float32
    power = np.abs(np.fft.fft2(drawn.numpy().astype(np.float64))) ** 2
    found = np.roll(np.fft.ifft2(power.mean(axis=0)).real, (5, 5), (0, 1))[:11, :11] / (64 * 48)
    kept = np.where((RINGS > 0) & (expected < 0.09 * expected[RINGS > 0].max()), 0, expected)
    sampling = np.sqrt(2 * (expected**2).sum() / drawn.numel())
    assert np.abs(found - kept).max() < 4 * sampling + 0.01 * expected.max()


def test_drawn_noise_is_gaussian_and_seeded():
    spectrum = n2vlib.noise.noise_spectrum(known_covariance(KERNELS["blob"]), (33, 40))
    first, again, other = (n2vlib.noise.draw_noise(spectrum, torch.Generator().manual_seed(s), 50) for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(n2vlib.noise.draw_noise(spectrum, generator, 50), first)
    assert not torch.equal(n2vlib.noise.draw_noise(spectrum, generator, 50), first)
    values = first / first.std()
    independent = values.numel() / 9  # of a 3x3 blob
    assert (values**4).mean().item() == pytest.approx(3, abs=4 * (96 / independent) ** 0.5)
    assert abs(values.mean().item()) < 4 / independent**0.5


def test_an_estimated_covariance_makes_noise_of_the_same_kind(camera):
    image = camera + noise(camera.shape, KERNELS["diagonal"])
    measured = n2vlib.noise_autocovariance(image)
    drawn = n2vlib.noise.draw_noise(
        n2vlib.noise.noise_spectrum(measured, (128, 128)), torch.Generator().manual_seed(0), 8
    )
    again = n2vlib.noise_autocovariance(drawn.numpy(), share=100)
    assert np.abs(again.values - known_covariance(KERNELS["diagonal"])).max() < 0.12 * 500
    np.testing.assert_array_equal(n2vlib.structural_mask(again), true_mask(KERNELS["diagonal"]))


def test_a_spectrum_is_positive_whatever_the_estimate():
    values = synthetic((0, 1, 0.9), (0, 2, 0.05), (3, 0, -0.5))
    spectrum = n2vlib.noise.noise_spectrum(values, (16, 16))
    assert spectrum.min() == pytest.approx(0.001 * spectrum.max())
    angle = 2 * np.pi * np.arange(16) / 16
    expected = 1 + 1.8 * np.cos(angle) - np.cos(3 * angle)[:, None]  # the small value is gone, the negative one is not
    np.testing.assert_allclose(spectrum, np.maximum(expected, 0.001 * expected.max()), atol=1e-9)


# The report


@pytest.mark.parametrize(
    "kernel, reach, lengths",
    [
        (np.ones((1, 1)), "white", (0, 0)),
        (np.ones((1, 5)), "along x over 4 px", (4, 0)),
        (np.ones((4, 1)), "along y over 3 px", (0, 3)),
        (np.eye(3)[::-1], "along a diagonal over 2 px", (2, 2)),
        (np.ones((2, 2)), "along x over 1 px and along y over 1 px", (1, 1)),
        (np.ones((1, 60)), "along x over 5 px or more", (5, 0)),
    ],
)
def test_the_report_gives_a_verdict(camera, kernel, reach, lengths):
    report = n2vlib.noise_report(camera + noise(camera.shape, kernel))
    sigma = f"{np.hypot(report.white_sigma, report.structured_std):.3g}"
    shared = f"neighbours share the noise, {reach} (sigma {sigma}): run both stages (run_two_stage)"
    alone = f'white, sigma {sigma}: no correlation found, so Noise2Void is enough; noise_model="gaussian" fits'
    assert str(report) == (alone if reach == "white" else shared)
    assert (report.length_x, report.length_y) == lengths
    assert report.false_alarm_rate == 0.01
    assert report.autocorrelation[5, 5] == 1 and report.autocorrelation.shape == report.mask.shape == (11, 11)
    assert "array" not in repr(report) and f"length_x={lengths[0]}, " in repr(report)
    assert "array" not in repr(report.law)


@pytest.mark.parametrize("kind", KERNELS)
def test_the_report_tells_white_from_structured(kind):
    report = n2vlib.noise_report(noise((256, 256), KERNELS[kind]))
    assert report.white_sigma == pytest.approx(10, rel=0.35)  # where the spectrum has few empty places
    assert report.structured_std == pytest.approx(20, rel=0.15)
    assert np.hypot(report.white_sigma, report.structured_std) == pytest.approx(500**0.5, rel=0.08)


def test_the_report_of_white_noise_names_its_sigma(camera):
    report = n2vlib.noise_report(camera + np.random.default_rng(0).normal(0, 20, camera.shape))
    assert report.white_sigma == pytest.approx(20, rel=0.05)
    assert report.structured_std == 0


def test_the_report_says_where_it_cannot_tell():
    report = n2vlib.noise_report(skimage.data.grass()[:256, :256] + np.random.default_rng(0).normal(0, 5, (256, 256)))
    assert str(report).startswith("undecided: no flat background: correlated noise, if any, cannot be told")
    assert report.texture > 0.5


def test_real_fluorescence_gets_a_report(data_folder):
    flies, cells = data_folder / "fly" / "01_POS002_F.TIF", data_folder / "jump" / "cellpainting_4ch.tiff"
    if not (flies.is_file() and cells.is_file()):
        pytest.skip("no fly/01_POS002_F.TIF or jump/cellpainting_4ch.tiff in the folder of real data")
    assert "Noise2Void is enough" in str(n2vlib.noise_report(tifffile.imread(flies)))
    report = n2vlib.noise_report(tifffile.imread(cells), channel=0)  # its dark background is grainy
    assert report.autocorrelation[5, 6] > 0.3 and "run both stages" in str(report)


# Bad input


def test_images_without_measurable_noise_are_refused(refused):
    measure = n2vlib.noise_autocovariance
    with refused(ValueError, r"an image of 47x100 pixels is too small.*two patches of 24"):
        measure(np.zeros((47, 100)))
    for quiet in (
        np.zeros((60, 60)),
        np.full((2, 60, 60), 7, np.uint8),
        np.add.outer(np.arange(60.0) ** 2, np.ones(60)),
    ):
        with refused(ValueError, "no noise found: the image is constant, or smooth as a parabola"):
            measure(quiet)
    broken = np.random.default_rng(0).normal(size=(60, 60))
    broken[3, 4] = -3.4e38
    with refused(ValueError, "holds 1 values beyond 1e.18, which no sensor gives.*row 3, column 4"):
        measure(broken)
    with refused(TypeError, "dtype complex128: only real numbers"):
        measure(np.zeros((60, 60), complex))
    with refused(ValueError, "looks like a colour photograph"):
        measure(np.zeros((60, 60, 3)))


def test_arguments_that_are_not_possible_are_refused(refused):
    grain = np.random.default_rng(0).normal(size=(2, 3, 60, 60))
    for channel in (None, 3, -1, "red"):
        with refused(ValueError, "each of the 3 channels has noise of its own: name one, as in channel=0"):
            n2vlib.noise_autocovariance(grain, channel=channel)
    for channel in (1, -1, "red"):
        with refused(ValueError, f"channel={channel} is not possible: the images have one channel, leave it out"):
            n2vlib.noise_autocovariance(grain[:, 0], channel=channel)
    for size in (10, 1, 25, -3, 5.0, None):
        with refused(ValueError, f"size = {size} is not possible: it must be odd"):
            n2vlib.noise_autocovariance(grain[:, 0], size=size)
    with refused(ValueError, "too small for correlations over 11x11 pixels"):
        n2vlib.noise.noise_spectrum(synthetic(), (64, 10))
    with refused(ValueError, "the covariance is of 2 channels, the images have 3: give one for each"):
        noise_in_patches(np.stack([synthetic()] * 2), (1, 3, 20, 20), torch.Generator())


@pytest.mark.parametrize(
    "use", [n2vlib.structural_mask, n2vlib.noise.ring_mask, lambda v: n2vlib.noise.noise_spectrum(v, (16, 16))]
)
def test_what_is_no_autocovariance_is_refused(use, refused):
    for shape in ((4, 4), (3, 5), (1, 1), (3, 3, 3)):
        with refused(ValueError, "a square of numbers with an odd side of 3 or more"):
            use(np.ones(shape))
    for values in (synthetic((0, 1, 2.0)), -synthetic(), synthetic((0, 1, np.nan)), np.zeros((5, 5))):
        with refused(ValueError, "largest in its centre|above 0 in its centre"):
            use(values)


# Pictures


def test_the_structure_explorer_redraws_for_its_controls(camera):
    measured = n2vlib.noise_autocovariance(camera + noise(camera.shape, KERNELS["cross"]))
    (controls, picture) = n2vlib.show.explore_structure(measured).children
    method, threshold, percentile, size = controls.children
    pictures = [bytes(picture.value)]
    for widget, value in ((threshold, 0.6), (method, "rings"), (percentile, 90), (size, 5)):
        assert not widget.disabled
        widget.value = value
        pictures.append(bytes(picture.value))
    assert all(png.startswith(b"\x89PNG") for png in pictures) and len(set(pictures)) == 5
    assert threshold.disabled and not percentile.disabled  # the rings have no threshold


def test_the_structure_is_drawn_to_scale():
    figure = n2vlib.show.structure(synthetic((0, 1, 0.5)), n2vlib.structural_mask(synthetic((0, 1, 0.5))))
    axis = figure.axes[0]
    assert axis.images[0].get_extent() == [-5.5, 5.5, 5.5, -5.5] and axis.images[0].get_clim() == (-1, 1)
    frames = sorted((frame.get_x(), frame.get_y()) for frame in axis.patches)
    assert frames == [(-1.5, -0.5), (-0.5, -0.5), (0.5, -0.5)]
    plt.close(figure)
    figure = n2vlib.show.structure(None, np.ones((1, 3), bool))
    assert len(figure.axes[0].patches) == 3
    plt.close(figure)
