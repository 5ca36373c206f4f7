"""Measures of quality, and estimates of the noise."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import skimage.data
import skimage.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

import n2vlib
from n2vlib import estimate_poisson_gaussian
from n2vlib.learning.losses import blind_loss
from n2vlib.noise.choice import noise_model_for
from n2vlib.noise.models import (
    SMALLEST_VARIANCE,
    densities,
    estimate_noise,
    expected_signal,
    mean_and_variance,
    sigma_in_squares,
    wavelet_sigma,
)

scales = st.floats(0.01, 100) | st.floats(-100, -0.01)


@pytest.fixture(scope="module")
def pair(camera, noisy):
    return camera[:64, :80], noisy[:64, :80]


@pytest.mark.parametrize("data_range", [1, 255, 65535.0])
def test_psnr_equals_scikit_image_and_the_formula(pair, data_range):
    clean, image = pair
    expected = 10 * np.log10(data_range**2 / np.mean((clean - image) ** 2))
    assert n2vlib.psnr(clean, image, data_range) == pytest.approx(expected, abs=1e-9)
    theirs = skimage.metrics.peak_signal_noise_ratio(clean, image, data_range=data_range)
    assert n2vlib.psnr(clean, image, data_range=data_range) == pytest.approx(theirs, abs=1e-9)


def test_psnr_of_integers_does_not_wrap_around():
    dark, bright = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    assert n2vlib.psnr(dark, bright) == n2vlib.psnr(bright, dark) == 0


def test_equal_images_are_infinitely_good(pair):
    clean, _ = pair
    assert n2vlib.psnr(clean, clean) == np.inf
    assert n2vlib.ssim(clean, clean) == pytest.approx(1)


@given(scales, st.floats(-1000, 1000))
def test_scale_invariant_psnr_does_not_see_scale_and_shift(pair, scale, shift):
    clean, image = pair
    expected = n2vlib.scale_invariant_psnr(clean, image)
    assert n2vlib.scale_invariant_psnr(clean, scale * image + shift) == pytest.approx(expected, abs=1e-6)


def test_scale_invariant_psnr_equals_the_published_formula(pair):
    """As in CSBDeep and CAREamics: clean in units of its deviation, the image fitted to it."""
    clean, image = pair
    target = (clean - clean.mean()) / clean.std()
    centred = image - image.mean()
    fitted = centred * (target * centred).sum() / (centred * centred).sum()
    data_range = (clean.max() - clean.min()) / clean.std()
    expected = 10 * np.log10(data_range**2 / np.mean((target - fitted) ** 2))
    assert n2vlib.scale_invariant_psnr(clean, image) == pytest.approx(expected, abs=1e-9)
    more = 20 * np.log10(255 / (clean.max() - clean.min()))
    assert n2vlib.scale_invariant_psnr(clean, image, data_range=255) == pytest.approx(expected + more, abs=1e-9)


def test_scale_invariant_psnr_is_never_below_psnr(pair):
    clean, image = pair
    assert n2vlib.scale_invariant_psnr(clean, image, 255) >= n2vlib.psnr(clean, image, 255)


def test_ssim_equals_scikit_image_and_averages_a_stack(pair):
    clean, image = pair
    theirs = skimage.metrics.structural_similarity(clean, image, data_range=255)
    assert n2vlib.ssim(clean, image) == pytest.approx(theirs, abs=1e-12)
    stack = n2vlib.ssim(np.stack([clean, clean]), np.stack([image, clean]))
    assert stack == pytest.approx((theirs + 1) / 2, abs=1e-12)


@pytest.mark.parametrize("measure", [n2vlib.psnr, n2vlib.scale_invariant_psnr, n2vlib.ssim])
def test_measures_refuse_what_cannot_be_compared(measure, refused):
    clean = np.arange(64.0).reshape(8, 8)
    with refused(ValueError, r"shape \(8, 8\) but the image \(8, 7\)"):
        measure(clean, clean[:, :7])
    with refused(ValueError, "finite values only"):
        measure(clean, np.where(clean == 3, np.nan, clean))


def test_measures_refuse_degenerate_images(refused):
    with refused(ValueError, "clean is constant.*give data_range"):
        n2vlib.scale_invariant_psnr(np.ones((8, 8)), np.eye(8))
    with refused(ValueError, r"windows of 7x7 .*\(6, 9\) are too small"):
        n2vlib.ssim(np.ones((6, 9)), np.ones((6, 9)))


def test_an_image_full_of_gaps_has_no_noise_to_fit(refused):
    page = np.where(
        np.indices((1, 64, 64)).sum(axis=0) % 3 == 0, np.nan, np.random.default_rng(0).normal(size=(1, 64, 64))
    )
    with refused(ValueError, "no noise found in the image: no square of 9 pixels a side is without many gaps"):
        n2vlib.estimate_poisson_gaussian(page)


@pytest.mark.parametrize("share", [0.01, 0.03, 0.05, 0.1, 0.2])
def test_gaps_scattered_over_an_image_do_not_change_its_noise(share):
    """A list of bad pixels: 5 % of them leave 1.3 % of all squares free, and 7.9 dB were lost to the wrong model."""
    rng = np.random.default_rng(0)
    hidden = rng.random((256, 256)) < share
    signal = scipy.ndimage.gaussian_filter(rng.random((256, 256)), 8)
    signal = 40 * (signal - signal.min()) / np.ptp(signal)
    photons = np.where(hidden, np.nan, rng.poisson(signal) + rng.normal(0, 2, signal.shape))
    (gain,), (offset,) = noise_of(photons[None, None], "poisson_gaussian")
    assert gain * 20 + offset == pytest.approx(24, rel=0.05)
    assert gain * 35 + offset == pytest.approx(39, rel=0.08)
    assert noise_model_for(photons[None, None])[0] == "poisson_gaussian"
    white = np.where(hidden, np.nan, signal + rng.normal(0, 8, signal.shape))
    assert sigma_in_squares(white) == pytest.approx(8, rel=0.06)  # a fifth of gaps: 5 % too high


@pytest.mark.parametrize("sigma", [10, 760])
def test_half_precision_has_noise_too(sigma):
    """The square of a deviation above 256 is more than float16 holds."""
    image = np.random.default_rng(0).normal(2000, sigma, (1, 1, 64, 64)).astype(np.float16)
    assert noise_of(image)[1][0] ** 0.5 == pytest.approx(sigma, rel=0.1)


def noise_of(stack, model="gaussian", **settings):
    return estimate_noise(stack, n2vlib.N2VConfig(noise_model=model, **settings))


@pytest.mark.parametrize("sigma", [0.02, 5.0, 400.0])
@pytest.mark.parametrize("steepness", [0, 0.1])
def test_sigma_is_estimated_on_flat_and_sloping_images(sigma, steepness):
    # One image of this size scatters by 0.7 %, and squares of second differences do not see a slope.
    # Margin: seven deviations.
    y, x = np.mgrid[:256, :256]
    image = 1000 + steepness * sigma * (x + 2 * y) + np.random.default_rng(0).normal(0, sigma, x.shape)
    gain, offset = noise_of(image[None, None])
    assert gain == [0.0]
    assert offset[0] ** 0.5 == pytest.approx(sigma, rel=0.05)


def test_each_channel_has_its_own_sigma():
    rng = np.random.default_rng(0)
    stack = np.stack([rng.normal(0, sigma, (3, 128, 128)) for sigma in (2, 30)], axis=1)
    gain, offset = noise_of(stack)
    assert gain == [0.0, 0.0]
    assert np.sqrt(offset) == pytest.approx([2, 30], rel=0.05)


@pytest.mark.parametrize("name", ["camera", "coins", "astronaut", "coffee", "chelsea"])
def test_texture_adds_little_to_sigma(name):
    # The median of the finest wavelets is 2 to 19 % too high here, this -0.1 to 6 %.
    photo = getattr(skimage.data, name)()
    photo = (photo if photo.ndim == 2 else photo.mean(-1)).astype(float)[:256, :256]
    found = [sigma_in_squares(photo + np.random.default_rng(seed).normal(0, 10, photo.shape)) for seed in range(3)]
    assert np.mean(found) == pytest.approx(10, rel=0.06)
    assert np.mean(found) < 10 + 0.5 * (wavelet_sigma(photo + np.random.default_rng(0).normal(0, 10, photo.shape)) - 10)


@pytest.mark.parametrize("side, most", [(64, 0.05), (128, 0.025), (256, 0.015)])
def test_sigma_of_white_noise_has_no_bias(side, most):
    # One image's sigma scatters by 3.5, 1.8 and 0.7 %; the mean of 12 by less than a third of that.
    found = [sigma_in_squares(np.random.default_rng(seed).normal(50, 3, (side, side))) for seed in range(12)]
    assert np.mean(found) == pytest.approx(3, rel=most)


def test_texture_that_is_stronger_where_it_is_bright_does_not_pass_for_photons():
    coins = skimage.data.coins().astype(float)[:256, :256]
    for seed in range(3):
        noisy = coins + np.random.default_rng(seed).normal(0, 10, coins.shape)
        model, _ = noise_model_for(noisy[None, None])
        assert model == "gaussian"


def test_noise_that_neighbours_share_is_no_structure():
    # Smooth noise differs more at a larger distance, as structure does: no reason to doubt that photons are there.
    rng, signal = np.random.default_rng(0), np.tile(np.linspace(10, 200, 256), (256, 1))
    smooth = scipy.ndimage.gaussian_filter(15 * rng.normal(size=signal.shape), 1) * 2 * np.sqrt(np.pi)  # still 15
    law = n2vlib.noise_report(rng.poisson(signal) + smooth).law
    assert law.gain == pytest.approx(1, rel=0.1)


def test_a_given_sigma_is_taken_as_it_is(two_channels):
    assert noise_of(two_channels, noise_sigma=25) == ([0.0, 0.0], [625.0, 625.0])
    assert noise_of(two_channels, noise_sigma=(25, 3)) == ([0.0, 0.0], [625.0, 9.0])


def test_noise_sigma_of_wrong_length_is_refused(two_channels, refused, tiny):
    config = tiny(noise_model="gaussian", noise_sigma=(25, 3, 7))
    with refused(ValueError, "noise_sigma has 3 values for 2 channels: give one, or one for each"):
        n2vlib.train(two_channels, config)


def test_poisson_gaussian_recovers_gain_and_offset():
    # 64 groups of 1032 wavelet details: each variance is known to 2 * 1.17 / sqrt(1032) = 7 %, that
    # is about 47 of 650 here. A line through 64 of them over a signal from 0 to 200 (deviation 58)
    # has deviations of 47 / 8 / 58 = 0.10 in the slope (4 % of 2.5) and 2 * 47 / 8 = 12 in the
    # intercept (3 % of 400). Sorting by noisy averages flattens the line by a few percent more.
    rng = np.random.default_rng(0)
    gain, read_noise = 2.5, 20.0
    signal = np.tile(np.linspace(0, 200, 512), (512, 1))
    image = gain * rng.poisson(signal / gain) + rng.normal(0, read_noise, signal.shape)
    found_gain, found_offset = estimate_poisson_gaussian(image[None])
    assert found_gain == pytest.approx(gain, rel=0.15)
    assert found_offset == pytest.approx(read_noise**2, rel=0.15)


def test_poisson_gaussian_takes_a_black_level_as_a_negative_offset():
    # The line of variance meets 0 at the black level: offset = -gain * 100. Margins as above, but
    # the intercept is extrapolated over 100 + 10 more: 0.15 * 2.5 * 110 = 41 of 250.
    rng = np.random.default_rng(0)
    signal = np.tile(np.linspace(10, 400, 512), (512, 1))
    image = 100 + 2.5 * rng.poisson(signal / 2.5)
    gain, offset = estimate_poisson_gaussian(image[None])
    assert gain == pytest.approx(2.5, rel=0.15)
    assert offset == pytest.approx(-250, abs=41)


def test_poisson_gaussian_finds_no_gain_in_gaussian_noise():
    # Variance 100, known to 7 % in each of 64 groups, signal deviation 58: the slope's deviation is
    # 7 / 8 / 58 = 0.015. Margin: five deviations.
    rng = np.random.default_rng(0)
    image = np.tile(np.linspace(0, 200, 512), (512, 1)) + rng.normal(0, 10, (512, 512))
    gain, offset = estimate_poisson_gaussian(image[None])
    assert 0 <= gain < 0.075
    assert gain * 100 + offset == pytest.approx(100, rel=0.05)


def discs(count, side=256, seed=0):
    """1 in some discs of 8 to 16 pixels' radius, else 0."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:side, :side]
    places = rng.uniform((20, 20, 8), (side - 20, side - 20, 16), (count, 3))
    return np.any([np.hypot(y - row, x - column) < radius for row, column, radius in places], axis=0) * 1.0


@pytest.mark.parametrize("background, cells", [(0.05, 1), (0.02, 4), (0.003, 3)])
def test_sparse_counts_have_the_variance_of_their_mean(background, cells):
    # N photons tell a variance to about 1 / sqrt(N / 4) (each is in overlapping squares of one class in four):
    # 3.5 % for the 3300 of 0.05, 14 % for the 200 of 0.003. Margins: 3 deviations, and 2 % for the discs' edges.
    signal = background + cells * discs(8)
    gain, offset = estimate_poisson_gaussian(np.random.default_rng(0).poisson(signal)[None])
    margin = 0.02 + 6 / np.sqrt(background * signal.size)
    assert gain == pytest.approx(1, rel=0.15)
    assert gain * background + offset == pytest.approx(background, rel=margin)
    assert gain * 0.2 * background + offset > 0  # nor negative where fewer photons fell


@pytest.mark.parametrize("cells", [3, 20])
def test_few_bright_cells_on_a_large_dark_background(cells):
    # Background: 900 independent squares of 18 degrees of freedom in each of 16 classes: 1 % a class. Cells: 10
    # classes of 3 independent squares of 18, 19 % each, 6 % together, and some pixels of edges: 25 %.
    rng, signal = np.random.default_rng(0), 1000 * scipy.ndimage.gaussian_filter(discs(cells), 2)
    gain, offset = estimate_poisson_gaussian((100 + rng.poisson(signal) + rng.normal(0, 4.4, signal.shape))[None])
    assert gain == pytest.approx(1, rel=0.25)
    assert gain * 100 + offset == pytest.approx(4.4**2, rel=0.04)


@pytest.mark.parametrize("fill", [0, 100, 5000])
def test_a_constant_border_changes_nothing(fill):
    rng, signal = np.random.default_rng(0), np.tile(np.linspace(100, 400, 256), (256, 1))
    image = 2 * rng.poisson(signal / 2) + rng.normal(0, 5, signal.shape)
    bare = np.array(estimate_poisson_gaussian(image[None]))
    for width in (17, 60, 200):  # 22, 53 and 85 % of the pixels
        padded = np.array(estimate_poisson_gaussian(np.pad(image, width, constant_values=fill)[None]))
        # 2000 squares of 18 degrees of freedom, other ones each time: 16 classes of 3 %, at the line's end 3 %.
        for level in (100, 400):
            assert padded @ (level, 1) == pytest.approx(bare @ (level, 1), rel=0.1)


@pytest.mark.parametrize("gain, read, black", [(1, 0, 0), (0.1, 1, 0), (10, 3, 1000), (2.5, 20, 100), (1, 0.5, 50)])
def test_the_variance_is_right_at_both_ends_and_never_negative(gain, read, black):
    # Some 30 classes of 500 independent squares of 18 degrees of freedom: 1.5 % each, at the end of a line through
    # all 1 %. Where the signal is 0 it is known to that part of the middle class: 1 % of 100 gain at most.
    rng, signal = np.random.default_rng(0), np.tile(np.linspace(0, 200, 512), (512, 1))
    image = black + gain * rng.poisson(signal / gain) + rng.normal(0, read, signal.shape)
    found_gain, found_offset = estimate_poisson_gaussian(image[None])
    for level in (0, 200):
        found = found_gain * (black + level) + found_offset
        assert found == pytest.approx(gain * level + read**2, rel=0.05, abs=gain)
    lowest = scipy.ndimage.uniform_filter(image, 9).min()  # the least local signal
    assert found_gain * lowest + found_offset > 0


@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_gain_and_offset_scale_with_the_image(scale, shift):
    image = np.random.default_rng(0).poisson(np.tile(np.linspace(5, 50, 64), (64, 1)))[None]
    gain, offset = estimate_poisson_gaussian(image)
    assert estimate_poisson_gaussian(scale * image + shift) == pytest.approx(
        (scale * gain, scale**2 * offset - scale * gain * shift), rel=1e-6, abs=1e-6 * scale**2
    )


@pytest.mark.parametrize(
    "level, cells, read, most", [(0.05, 1, 0, 0.02), (100, 1000, 4.4, 0.8)], ids=["sparse", "dark"]
)
def test_a_dark_background_is_as_calm_as_without_noise_model(level, cells, read, most):
    """Noise of 0.22 and 4.4: too small a variance would leave it in."""
    rng, inside = np.random.default_rng(0), discs(8)
    light = cells * (inside if cells == 1 else scipy.ndimage.gaussian_filter(inside, 2))
    counts = rng.poisson(light + level * (cells == 1)) + level * (cells > 1) + rng.normal(0, read, light.shape)
    far = ~scipy.ndimage.binary_dilation(inside, iterations=12)
    config = n2vlib.N2VConfig(noise_model="poisson_gaussian", max_steps=400, device="cpu")
    error = n2vlib.train(counts, config).predict(counts)[far] - level
    assert np.sqrt(np.mean(error**2)) < most


@pytest.mark.parametrize("model", ["gaussian", "poisson_gaussian"])
def test_an_image_without_noise_is_refused(model, refused, tiny):
    steps = np.repeat(np.repeat(np.arange(16.0).reshape(4, 4), 32, axis=0), 32, axis=1)
    with refused(ValueError, "no noise found"):
        n2vlib.train(steps, tiny(noise_model=model))


def test_a_few_pixels_give_one_variance():
    steps = np.random.default_rng(0).normal(np.linspace(0, 1000, 100).reshape(10, 10), 1)
    gain, offset = estimate_poisson_gaussian(steps[None])
    assert gain == 0 and 0 < offset < 1000


@pytest.mark.parametrize(
    "pages", [np.ones((9, 9)), np.ones((0, 9, 9)), np.ones((2, 9, 7)), np.full((2, 9, 9), np.nan)], ids=np.shape
)
def test_pages_that_cannot_be_fitted_are_refused(pages, refused):
    with refused(ValueError, r"pages of shape \(.*\) are not possible: give \(N, Y, X\), at least 8 pixels a side"):
        estimate_poisson_gaussian(pages)


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(-5, 5), st.floats(-5, 5))
def test_posterior_mean_weighs_by_certainty(variance, noise_variance, mean, noisy):
    values = (torch.tensor(v, dtype=torch.float64) for v in (mean, variance, noisy, noise_variance))
    expected = (mean / variance + noisy / noise_variance) / (1 / variance + 1 / noise_variance)
    assert n2vlib.posterior_mean(*values).item() == pytest.approx(expected, abs=1e-9)


GAINS, OFFSETS = np.array([0.0, 0.1]), np.array([0.3, 0.5])  # of the noise of two channels, normalised
SIGNAL = np.linspace(-12, 12, 20001)  # where densities are integrated


def mixtures(count, seed=0):
    """What a network with two channels says of 3x4 pixels, and their noisy values."""
    rng = np.random.default_rng(seed)
    output, noisy = rng.normal(0, 1, (1, 2 * (3 * count - 1), 3, 4)), rng.normal(0, 1, (1, 2, 3, 4))
    noise = [torch.tensor(values)[:, None, None, None] for values in (GAINS, OFFSETS)]
    return torch.tensor(output), torch.tensor(noisy), noise


def by_hand(output, count, channel, pixel):
    """Shares, means and standard deviations of a pixel's densities."""
    numbers = output[0, channel * (3 * count - 1) :, *pixel].numpy()
    means, raw, logits = numbers[:count], numbers[count : 2 * count], np.append(0, numbers[2 * count : 3 * count - 1])
    return np.exp(logits) / np.exp(logits).sum(), means, np.sqrt(np.log1p(np.exp(raw)) + SMALLEST_VARIANCE)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_densities_are_what_the_network_says(count):
    output, _, _ = mixtures(count)
    means, variances, shares = densities(output, 2)
    middle, variance = mean_and_variance(output, 2)
    for channel, *pixel in np.ndindex(2, 3, 4):
        at = (0, channel, slice(None), *pixel)
        share, mean, deviation = by_hand(output, count, channel, pixel)
        for found, expected in ((shares.exp(), share), (means, mean), (variances.sqrt(), deviation)):
            assert found[at].numpy() == pytest.approx(expected, rel=1e-12)
        density = sum(w * scipy.stats.norm.pdf(SIGNAL, m, s) for w, m, s in zip(share, mean, deviation))
        first = np.trapezoid(SIGNAL * density, SIGNAL)
        second = np.trapezoid((SIGNAL - first) ** 2 * density, SIGNAL)
        assert middle[0, channel, *pixel].item() == pytest.approx(first, abs=1e-6)
        assert variance[0, channel, *pixel].item() == pytest.approx(second, rel=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_loss_is_the_likelihood_of_the_noisy_pixel_under_the_mixture(count):
    output, noisy, noise = mixtures(count)
    blind = torch.tensor(np.random.default_rng(1).random(noisy.shape) < 0.5)
    logs = []
    for channel, *pixel in np.argwhere(blind[0].numpy()):
        share, mean, deviation = by_hand(output, count, channel, pixel)
        total = np.hypot(deviation, np.sqrt(np.maximum(GAINS[channel] * mean + OFFSETS[channel], SMALLEST_VARIANCE)))
        logs.append(np.log(share @ scipy.stats.norm.pdf(noisy[0, channel, *pixel].item(), mean, total)))
    expected = -np.mean(logs) - np.log(2 * np.pi) / 2  # the constant is left out
    assert blind_loss(output, noisy, blind, noise, weight=0).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_expected_signal_is_the_posterior_mean_by_integration(count):
    output, noisy, noise = mixtures(count)
    found = expected_signal(output, noisy, *noise)
    for channel, *pixel in np.ndindex(2, 3, 4):
        posterior = 0
        for share, mean, deviation in zip(*by_hand(output, count, channel, pixel)):
            # Each density has the noise of its own mean: the noise of a signal is not known before the signal is.
            sigma = np.sqrt(np.maximum(GAINS[channel] * mean + OFFSETS[channel], SMALLEST_VARIANCE))
            likelihood = scipy.stats.norm.pdf(noisy[0, channel, *pixel].item(), SIGNAL, sigma)
            posterior = posterior + share * scipy.stats.norm.pdf(SIGNAL, mean, deviation) * likelihood
        expected = np.trapezoid(SIGNAL * posterior, SIGNAL) / np.trapezoid(posterior, SIGNAL)
        assert found[0, channel, *pixel].item() == pytest.approx(expected, abs=1e-6)


def test_where_a_pixel_is_dark_or_bright_two_densities_are_better_than_one(tiny):
    """Pixels of 100 or -100, unpredictable: one density can only shrink, two let the noisy pixel decide."""
    rng = np.random.default_rng(0)
    clean = rng.choice([-100.0, 100.0], (2, 64, 64))
    noisy = clean + rng.normal(0, 50, clean.shape)
    errors = {}
    for count in (1, 2):
        config = tiny(noise_model="gaussian", noise_sigma=50, components=count, patch_size=32, max_steps=1000)
        errors[count] = np.mean((n2vlib.train(noisy[:1], config).predict(noisy[1]) - clean[1]) ** 2)
    # One density: v s / (v + s) = 2000 at best. Two: 100 tanh(100 y / 50**2), whose error by integration is 686.
    # The means over 4096 pixels are known to 45; with equal densities at the start both errors would be the same.
    assert 1800 < errors[1] < 2400
    assert 550 < errors[2] < 1000


def test_a_network_of_several_densities_is_saved_and_goes_on(tiny, two_channels, tmp_path):
    config = tiny(noise_model="poisson_gaussian", components=3)
    model = n2vlib.train(two_channels, config)
    model.save(tmp_path / "model.pt")
    loaded = n2vlib.Denoiser.load(tmp_path / "model.pt")
    assert loaded.config.components == 3
    assert np.array_equal(loaded.predict(two_channels), model.predict(two_channels))
    again = n2vlib.train(two_channels, config, start=loaded)
    assert np.isfinite(again.predict(two_channels, tta=True)).all()
    with pytest.raises(ValueError, match="components"):
        n2vlib.train(two_channels, tiny(noise_model="poisson_gaussian"), start=loaded)
