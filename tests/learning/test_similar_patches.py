"""What patches that look alike tell of each other: its formula, its weight, and what a prediction makes of it."""

import contextlib

import numpy as np
import pytest
import skimage.data
import torch
from instrument_noise import instrument_noise

from n2vlib import N2VConfig, load_pretrained, psnr, train
from n2vlib.learning import group_ridge, mix_with_similar, nl_ridge
from n2vlib.learning.similar_patches import (
    GROUP,
    REACH,
    SIDE,
    STRIDE,
    _most_alike,
    corrections,
    covariance_table,
    mean_with_similar,
)
from n2vlib.noise import noise_law


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def photograph():
    clean = skimage.data.camera()[::4, ::4].astype(np.float32)
    return clean, clean + np.random.default_rng(0).normal(0, 25, clean.shape).astype(np.float32)


@pytest.fixture(scope="module")
def denoiser(photograph):
    return train(photograph[1], N2VConfig(noise_model="gaussian", max_steps=150, device="cpu"))


def test_a_group_is_denoised_by_the_formula_of_the_docstring():
    noisy, pilot = torch.randn(2, 3, GROUP, SIDE**2, generator=seeded(), dtype=torch.float64)
    variance = torch.rand(3, GROUP, 1, generator=seeded(), dtype=torch.float64) + 0.5
    better, trust = group_ridge(noisy, pilot, variance)
    gram = pilot @ pilot.mT  # X'X: here a patch is a row
    weights = torch.linalg.solve(gram + torch.diag_embed(variance[..., 0]), gram)
    assert torch.allclose(better, weights.mT @ noisy)
    assert torch.allclose(trust[..., 0], 1 / weights.square().sum(1))


def test_patches_that_share_noise_are_weighted_by_its_covariance():
    noisy, pilot = torch.randn(2, 3, GROUP, SIDE**2, generator=seeded(), dtype=torch.float64)
    factor = torch.randn(3, GROUP, 2 * GROUP, generator=seeded(), dtype=torch.float64)
    shared = factor @ factor.mT / GROUP
    better, trust = group_ridge(noisy, pilot, shared)
    gram = pilot @ pilot.mT
    weights = torch.linalg.solve(gram + shared, gram)
    assert torch.allclose(better, weights.mT @ noisy)
    left = torch.stack([(w.T @ v @ w).diagonal() for w, v in zip(weights, shared)])
    assert torch.allclose(trust[..., 0] * left, (trust[..., 0] * left).mean()), "as much as noise is left"


@pytest.mark.parametrize("kind", ["sharpened", "interlaced", "short lines"])
def test_no_sum_of_pixels_has_a_negative_variance(kind):
    noise, _ = instrument_noise(kind, (128, 128), 0)
    table = covariance_table(noise_law(noise).covariance).double()
    assert table.shape == (64, 64) and torch.allclose(table, table.roll((-1, -1), (0, 1)).flip(0, 1), atol=1e-3)
    places = torch.randint(-REACH, REACH + 1, (GROUP, 2), generator=seeded()).unique(dim=0)
    apart = places[:, None] - places
    values = torch.linalg.eigvalsh(table[apart[..., 0], apart[..., 1]])
    assert values.min() > -1e-4 * values.max()
    assert abs(table[0, 0].item() - noise.var()) < 0.1 * noise.var()


def test_a_covariance_may_be_wider_than_the_table():
    values = np.zeros((71, 71))
    values[35, 30:41] = 1 - np.abs(np.arange(-5, 6)) / 6
    table = covariance_table(values)
    assert table.shape == (71, 71) and table[0, 3].item() == pytest.approx(0.5, abs=0.01)


def test_white_noise_in_a_table_is_white_noise():
    noisy, pilot = torch.rand(2, 40, 45, generator=seeded())
    table = covariance_table([[0, 0, 0], [0, 0.04, 0], [0, 0, 0]])
    as_table = nl_ridge(noisy, pilot, torch.zeros(40, 45), table)
    assert torch.allclose(as_table, nl_ridge(noisy, pilot, torch.full((40, 45), 0.04)), atol=1e-4)
    both = nl_ridge(noisy, pilot, torch.full((40, 45), 0.01), 0.75 * table)
    assert torch.allclose(as_table, both, atol=1e-4), "what photons add is added"


def test_the_most_alike_are_found_by_looking_at_all():
    pilot = torch.rand(43, 51, generator=seeded())
    y, x = _most_alike(pilot, 0)
    assert y.shape[1] == GROUP and (y[:, 0] % STRIDE == 0).all() and (x[:, 0] % STRIDE == 0).all(), (
        "each is most like itself"
    )
    row, column = y[40, 0].item(), x[40, 0].item()
    patches = {
        (r, c): pilot[r : r + SIDE, c : c + SIDE]
        for r in range(max(0, row - REACH), min(43 - SIDE, row + REACH) + 1)
        for c in range(max(0, column - REACH), min(51 - SIDE, column + REACH) + 1)
    }
    here = patches[row, column]
    nearest = sorted(patches, key=lambda place: (patches[place] - here).square().sum().item())[:GROUP]
    assert set(nearest) == set(zip(y[40].tolist(), x[40].tolist()))


@pytest.mark.parametrize("shape", [(31, 31), (33, 40), (64, 47), (100, 31)])
def test_every_pixel_of_any_size_is_denoised(shape):
    noisy = 3 + torch.randn(shape, generator=seeded())
    result = nl_ridge(noisy, torch.full(shape, 3.0), torch.ones(shape))
    assert result.shape == shape and result.isfinite().all()
    assert (result - 3).square().mean() < 0.05


def test_an_image_too_small_for_a_group_stays_as_it_is():
    pilot = torch.rand(30, 100)
    assert torch.equal(nl_ridge(torch.rand(30, 100), pilot, torch.ones(30, 100)), pilot)
    one = torch.ones(1, 1, 1, 1)
    mean, [weights] = mix_with_similar(torch.randn(1, 30, 100), pilot[None], torch.zeros_like, one, one, seeded())
    assert weights[0] == 0 and mean.isfinite().all()


def test_a_strip_of_references_more_changes_nothing_above(monkeypatch):
    noisy, pilot = torch.rand(2, 80, 40, generator=seeded())
    whole = nl_ridge(noisy, pilot, torch.full((80, 40), 0.1))
    monkeypatch.setattr("n2vlib.learning.similar_patches.ROWS", 3)
    monkeypatch.setattr("n2vlib.learning.similar_patches.CHUNK", 7)
    assert torch.allclose(nl_ridge(noisy, pilot, torch.full((80, 40), 0.1)), whole, atol=1e-5)


def box(image):
    """Denoise by the mean of 3x3 pixels: what anybody can follow."""
    return torch.nn.functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False)


def mixed_boxes(clean, said=25):
    """Return squared errors of an image: of the mean of 3x3 pixels, as it was corrected, and of the best correction."""
    truth = torch.from_numpy(clean)[None]
    noisy = truth + 25 * torch.randn(truth.shape, generator=seeded())
    pilot, variance = box(noisy), torch.full((1, 1, 1, 1), float(said**2))
    mean, [weights] = mix_with_similar(noisy, pilot, box, 0 * variance, variance, seeded(1))
    ways = corrections(noisy[0], pilot[0], torch.full(clean.shape, float(said**2)))
    best = torch.linalg.lstsq(ways.flatten(1).T, (truth - pilot).flatten()[:, None]).solution
    at_best = pilot[0] + (best[:, :, None] * ways).sum(0)
    return [((image - truth) ** 2).mean().item() for image in (pilot, mean, at_best)], weights


def test_the_weights_are_nearly_those_that_the_truth_would_say(photograph):
    (alone, mixed, best), weights = mixed_boxes(photograph[0])
    assert len(weights) == 4
    assert best < mixed < best + 0.02 * alone and mixed < 0.8 * alone


def test_a_noise_level_that_is_a_little_wrong_does_little_harm(photograph):
    (alone, mixed, best), _ = mixed_boxes(photograph[0], said=26)  # 8 % of the variance
    assert mixed < best + 0.03 * alone


def test_where_the_noise_is_weaker_than_told_nothing_is_corrected(photograph):
    (alone, mixed, _), weights = mixed_boxes(photograph[0], said=50)
    assert mixed == alone and weights == [0] * 4


def test_no_pixel_is_corrected_by_its_own_residual():
    noisy = torch.randn(40, 45, generator=seeded())
    other = noisy.clone()
    other[17, 0] += 5
    ways, after = (corrections(image, torch.zeros(40, 45), torch.ones(40, 45))[1:] for image in (noisy, other))
    changed = (ways - after).abs() > 0.01
    assert not changed[:, 17, 0].any() and changed[:, 16, 0].all() and changed[:, 17, 1].all()


def test_a_prediction_that_needs_no_help_gets_little():
    truth = torch.rand(1, 64, 64, generator=seeded())  # nothing looks alike
    noisy = truth + torch.randn(truth.shape, generator=seeded(1))
    mean, [weights] = mix_with_similar(
        noisy, truth, lambda harder: truth, torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), seeded(2)
    )
    assert abs(weights[0]) < 0.2
    alone = nl_ridge(noisy[0], truth[0], torch.ones(64, 64))
    assert (mean - truth).square().mean() < 0.15 * (alone - truth).square().mean()


def test_what_is_not_measured_does_not_count(photograph):
    truth, counts = torch.from_numpy(photograph[0])[None], torch.ones(1, 128, 128, dtype=torch.bool)
    noisy, variance = truth + 25 * torch.randn(truth.shape, generator=seeded()), torch.full((1, 1, 1, 1), 625.0)
    counts[..., 64:] = False
    weights = []
    for beside in (0, 50):
        filled = noisy.clone()
        filled[..., 64:] = truth[..., 64:] + beside  # as a gap is: smooth, without noise
        _, [one] = mix_with_similar(filled, box(filled), box, 0 * variance, variance, seeded(1), counts=counts)
        weights.append(one)
    np.testing.assert_allclose(*weights, atol=0.1)


def test_trained_weights_gain_too_and_a_photograph_without_repetition_loses_nothing():
    denoiser, rng = load_pretrained("bsd68_noise_model"), np.random.default_rng(0)
    gains = []
    for clean in (skimage.data.camera()[100:260, 100:260], skimage.data.coffee()[100:260, 100:260].mean(axis=-1)):
        noisy = clean + rng.normal(0, 25, clean.shape)
        gains.append(psnr(clean, denoiser.predict(noisy, similar=True)) - psnr(clean, denoiser.predict(noisy)))
    assert min(gains) > -0.01 and max(gains) > 0.1, gains


def test_it_helps_where_an_image_repeats_itself(denoiser, photograph):
    clean, noisy = photograph
    alone, mixed = denoiser.predict(noisy, tta=True), denoiser.predict(noisy, tta=True, similar=True)
    assert mixed.shape == noisy.shape and mixed.dtype == np.float32
    assert psnr(clean, mixed) > psnr(clean, alone) + 0.1
    assert np.array_equal(mixed, denoiser.predict(noisy, tta=True, similar=True)), "the same each time"


@pytest.mark.parametrize("kind", ["sharpened", "interlaced"])
def test_it_helps_where_noise_is_correlated(kind, photograph):
    clean = photograph[0]
    noisy = clean + instrument_noise(kind, clean.shape, 0)[0]
    config = N2VConfig(covariance=noise_law(noisy).covariance, strategy=None, max_steps=100, device="cpu")
    denoiser = train(noisy, config)
    alone, mixed = denoiser.predict(noisy), denoiser.predict(noisy, similar=True)
    assert psnr(clean, mixed) > psnr(clean, alone) + 0.5
    assert np.array_equal(mixed, denoiser.predict(noisy, similar=True)), "the same each time"


def test_intensities_are_scaled_with_their_covariance(photograph, monkeypatch):
    # In bfloat16 both would be rounded in places of their own, by up to 1.2 in the result.
    monkeypatch.setattr("n2vlib.learning.training.fast_numbers", lambda device: contextlib.nullcontext())
    noisy = photograph[0] + instrument_noise("sharpened", photograph[0].shape, 0)[0]
    covariance, results = noise_law(noisy).covariance, []
    for scale in (1, 10):
        small = dict(max_steps=3, num_channels_init=4, device="cpu")
        denoiser = train(scale * noisy + 300, N2VConfig(covariance=scale**2 * covariance, strategy=None, **small))
        results.append((denoiser.predict(scale * noisy + 300, similar=True, exact=True) - 300) / scale)
    np.testing.assert_allclose(*results, atol=0.1)


def test_each_channel_has_its_own_correlated_noise(photograph):
    clean = photograph[0]
    noise = [instrument_noise(kind, clean.shape, 0)[0] for kind in ("sharpened", "short lines")]
    laws = [noise_law(clean + one).covariance for one in noise]
    noisy = np.stack([clean + one for one in noise])
    page, pilot, none = (
        torch.from_numpy(noisy).float(),
        torch.from_numpy(np.stack([clean] * 2)),
        torch.zeros(2, 1, 1, 1),
    )
    both = mean_with_similar(page, pilot, none, none, np.stack(laws))
    for c in (0, 1):
        alone = mean_with_similar(page[[c]], pilot[[c]], none[:1], none[:1], laws[c][None])
        assert torch.allclose(both[c], alone[0], atol=1e-3)


def test_gaps_come_back_as_they_were(denoiser, photograph):
    noisy = photograph[1].copy()
    noisy[:40] = 100.0
    result = denoiser.predict(noisy, similar=True)
    assert (result[:40] == 100).all() and np.isfinite(result).all()


def test_each_channel_has_its_own_noise(photograph):
    noisy = np.stack([photograph[1], photograph[1] * 3 + 1000])
    model = train(
        noisy, N2VConfig(noise_model="gaussian", max_steps=5, num_channels_init=4, device="cpu"), channel_axis=0
    )
    both = model.predict(noisy, similar=True, channel_axis=0)
    assert both.shape == noisy.shape and not np.array_equal(both, model.predict(noisy, channel_axis=0))


def test_without_a_noise_model_one_sentence_says_why_not(photograph):
    plain = train(photograph[1], N2VConfig(max_steps=1, num_channels_init=4, device="cpu"))
    with pytest.raises(ValueError, match=r"^similar=True needs to know how noisy each pixel is.*leave similar out$"):
        plain.predict(photograph[1], similar=True)
