"""Full masks for a patch, and the three tasks: what is hidden, what is seen, and what it is compared with."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, label
from structured_noise import KERNELS, known_covariance, noise, true_mask

import n2vlib
from n2vlib.images.arrays import TURNS, symmetrised, turn, turn_tensor, turns_that_keep
from n2vlib.learning import masking
from n2vlib.learning.masking import _noise2void, _overlaid, _recorrupted, _structn2v, checked_mask, load_mask, task_of

MASKS = {kind: true_mask(kernel) for kind, kernel in KERNELS.items()} | {
    "single": np.ones((1, 1), bool),
    "line": np.ones((1, 9), bool),
    "square": np.pad(np.ones((3, 3), bool), 1),
    "skew": np.pad(np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1]], bool), 4),  # not symmetric about its centre
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def kernel_at(mask, row, column, shape):
    """Where a kernel with this centre hides pixels, by a loop over its pixels."""
    placed = np.zeros(shape, bool)
    for y, x in np.argwhere(mask) - np.array(mask.shape) // 2:
        if 0 <= row + y < shape[0] and 0 <= column + x < shape[1]:
            placed[row + y, column + x] = True
    return placed


# The full mask


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("percentage", [3, 10, 30])
def test_kernels_lie_around_their_centres_and_do_not_touch(kind, percentage):
    mask = MASKS[kind]
    hidden, centres = n2vlib.learning.draw_full_mask((2, 2, 48, 40), mask, percentage, seeded())
    assert hidden.dtype == centres.dtype == torch.bool and hidden.shape == centres.shape == (2, 2, 48, 40)
    assert not (centres & ~hidden).any()
    for plane_hidden, plane_centres in zip(hidden.flatten(0, 1).numpy(), centres.flatten(0, 1).numpy()):
        kernels = [kernel_at(mask, *at, (48, 40)) for at in np.argwhere(plane_centres)]
        assert kernels and all((plane_hidden[kernel]).all() for kernel in kernels)
        count = np.zeros((48, 40), int)
        for kernel in kernels:
            count += binary_dilation(kernel, np.ones((3, 3))) & np.logical_or.reduce(kernels)
        # A kernel's own pixels are counted once; one that touched another would be counted by both.
        assert (count[np.logical_or.reduce(kernels)] == 1).all()


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("percentage", [3, 10, 30])
def test_the_percentage_is_reached_exactly_and_not_exceeded(kind, percentage):
    mask = MASKS[kind]
    hidden, centres = n2vlib.learning.draw_full_mask((4, 1, 64, 64), mask, percentage, seeded())
    wanted = round(percentage / 100 * 64 * 64)
    assert (hidden.sum((1, 2, 3)) == wanted).all()
    assert (centres.sum((1, 2, 3)) * int(mask.sum()) <= wanted).all()
    assert (centres.sum((1, 2, 3)) >= 1).all()


def test_most_of_the_percentage_is_kernels_where_they_fit():
    # 9 pixels in a row, at 10 %: up to 45 kernels in 64x64 pixels.
    _, centres = n2vlib.learning.draw_full_mask((32, 1, 64, 64), MASKS["line"], 10, seeded())
    assert 30 < centres.sum((1, 2, 3)).float().mean() <= 45


@pytest.mark.parametrize("kind", MASKS)
def test_one_kernel_is_placed_even_if_it_alone_exceeds_the_percentage(kind):
    for shape in ((3, 1, 8, 8), (3, 1, 9, 30)):
        hidden, centres = n2vlib.learning.draw_full_mask(shape, MASKS[kind], 0.1, seeded())
        assert (centres.sum((1, 2, 3)) == 1).all()
        for n in range(3):
            at = np.argwhere(centres[n, 0].numpy())[0]
            np.testing.assert_array_equal(hidden[n, 0].numpy(), kernel_at(MASKS[kind], *at, shape[2:]))


def test_every_pixel_is_predicted_about_equally_often():
    # Fewer are placed where more would fit, so rows and columns differ by more than chance, but not by half.
    _, centres = n2vlib.learning.draw_full_mask((600, 1, 24, 20), MASKS["horizontal"], 20, seeded())
    count = centres.sum((0, 1)).float()
    assert count.min() > 0
    for lines in (count.sum(0), count.sum(1)):
        assert (lines / lines.mean() - 1).abs().max() < 0.35


def test_full_masks_are_drawn_afresh_and_from_the_seed():
    draw = n2vlib.learning.draw_full_mask
    generator = seeded()
    first, second = (draw((4, 2, 32, 32), MASKS["cross"], 10, generator) for _ in range(2))
    again = draw((4, 2, 32, 32), MASKS["cross"], 10, seeded())
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], second[1])
    planes = first[1].flatten(0, 1)
    assert not any(torch.equal(planes[0], plane) for plane in planes[1:])


# Filling


def test_hidden_pixels_get_the_mean_of_the_nearest_seen():
    patch = torch.arange(25.0).view(1, 1, 5, 5)
    hidden = torch.zeros((1, 1, 5, 5), dtype=torch.bool)
    hidden[0, 0, 2, 1:4] = True  # their 3x3 windows have seen pixels above and below
    filled = n2vlib.learning.fill_hidden(patch, hidden)
    assert filled[0, 0, 2, 2] == (6 + 7 + 8 + 16 + 17 + 18) / 6
    assert filled[0, 0, 2, 1] == pytest.approx((5 + 6 + 7 + 10 + 15 + 16 + 17) / 7)
    assert torch.equal(filled[~hidden], patch[~hidden])


def test_the_window_grows_until_something_is_seen():
    patch = torch.rand((1, 1, 9, 9), generator=seeded())
    hidden = torch.zeros((1, 1, 9, 9), dtype=torch.bool)
    hidden[0, 0, 3:6, 3:6] = True
    filled = n2vlib.learning.fill_hidden(patch, hidden)[0, 0, 4, 4]
    ring = patch[0, 0, 2:7, 2:7].sum() - patch[0, 0, 3:6, 3:6].sum()  # the centre sees nothing in 3x3
    assert filled == pytest.approx(ring.item() / 16)
    hidden[:] = True
    assert torch.equal(n2vlib.learning.fill_hidden(patch, hidden), torch.zeros_like(patch))


@pytest.mark.parametrize("strategy", ["mean", "zero", "random"])
def test_nothing_hidden_leaks_and_nothing_seen_changes(strategy):
    patches = torch.randn((2, 2, 24, 24), generator=seeded())
    hidden, _ = n2vlib.learning.draw_full_mask(patches.shape, MASKS["blob"], 12, seeded(1))
    filled = n2vlib.learning.fill_hidden(patches, hidden, strategy, seeded(2))
    assert torch.equal(filled[~hidden], patches[~hidden])
    other = torch.where(hidden, torch.full_like(patches, 1e6), patches)
    assert torch.equal(n2vlib.learning.fill_hidden(other, hidden, strategy, seeded(2)), filled)
    if strategy == "random":
        for plane, mask, value in zip(patches.flatten(0, 1), hidden.flatten(0, 1), filled.flatten(0, 1)):
            assert torch.isin(value[mask], plane[~mask]).all()
            assert len(value[mask].unique()) > 0.5 * mask.sum()


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["mean", "zero", "random"]))
def test_no_prediction_depends_on_what_is_hidden_whatever_the_mask(seed, reach_y, reach_x, strategy):
    """The property structN2V stands on: change any hidden input value, and no predicted centre changes."""
    rng = np.random.default_rng(seed)
    mask = rng.random((2 * reach_y + 1, 2 * reach_x + 1)) < 0.5
    mask[reach_y, reach_x], mask[0, 0] = True, False
    config = n2vlib.N2VConfig(
        struct_mask=mask, strategy=strategy, num_channels_init=2, depth=1, device="cpu", masked_pixel_percentage=15
    )
    denoiser = n2vlib.Denoiser(n2vlib.learning.build_network(config, 1), config, [0], [1])
    patches = torch.from_numpy(rng.normal(size=(2, 1, 20, 20)).astype(np.float32))
    seen, target, where = _structn2v(denoiser, patches, seeded(seed))
    assert torch.equal(target, patches)
    hidden, centres = n2vlib.learning.draw_full_mask(patches.shape, mask, 15, seeded(seed))
    assert torch.equal(where, centres)
    changed = torch.where(hidden, patches + 100, patches)
    again, _, _ = _structn2v(denoiser, changed, seeded(seed))
    with torch.no_grad():
        assert torch.equal(denoiser.network(seen)[where], denoiser.network(again)[where])


# The tasks


def test_the_configuration_chooses_the_task(tiny):
    assert task_of(tiny()) is _noise2void
    assert task_of(tiny(struct_mask=MASKS["blob"])) is _structn2v
    assert task_of(tiny(covariance=known_covariance(KERNELS["blob"]))) is _recorrupted


@pytest.mark.parametrize("kind", KERNELS)
def test_recorrupted_input_and_target_have_independent_noise(kind, tiny):
    """Of a black image, input and target are noise alone: their correlation is 0 at every distance."""
    covariance = known_covariance(KERNELS[kind])
    config = tiny(covariance=covariance)
    denoiser = n2vlib.Denoiser(n2vlib.learning.build_network(config, 1), config, [0], [10])
    grain = torch.from_numpy(noise((200, 1, 32, 32), KERNELS[kind]).astype(np.float32) / 10)
    seen, target, where = _recorrupted(denoiser, grain, seeded())
    torch.testing.assert_close(where, torch.ones_like(where))
    # Products of independent noises with the covariance C, over N pixels, scatter by sqrt(sum(C**2) / N).
    a = config.recorruption
    sampling = np.sqrt((covariance**2).sum() / grain.numel()) / 100 * np.sqrt((1 + a**2) * (1 + 1 / a**2))
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 4), (2, 2)):
        one = seen[..., dy:, dx:].double()
        other = target[..., : 32 - dy, : 32 - dx].double()
        # Entries of C below 0.09 of the largest beside the centre are taken for chance and left out.
        left_out = 0.09 * np.where(np.arange(121).reshape(11, 11) == 60, 0, covariance).max() / 100
        assert abs((one * other).mean().item()) < 4 * sampling + left_out
    # That is no matter of course: without z, they are the same noise.
    assert (grain.double() ** 2).mean() > 4 * (4 * sampling)


def test_recorrupted_shot_noise_is_independent_where_it_is_dark_and_where_it_is_bright(tiny):
    """Without shot noise in z, input and target would share what photons add: here 30 where it is bright."""
    covariance, shot = known_covariance(KERNELS["horizontal"], white=2, structured=4), [(1.0, 10.0)]
    config = tiny(covariance=covariance, shot=shot, augment=False)  # no overlays: the signal stays where it is
    denoiser = n2vlib.Denoiser(n2vlib.learning.build_network(config, 1), config, [25], [5])
    signal = torch.full((400, 1, 32, 32), 10.0)
    signal[..., 16:] = 40.0
    grain = torch.from_numpy(noise((400, 1, 32, 32), KERNELS["horizontal"], white=2, structured=4)).float()
    photons = (signal - 10).sqrt() * torch.randn(signal.shape, generator=seeded(1))
    seen, target, counts = _recorrupted(denoiser, (signal + grain + photons - 25) / 5, seeded())
    assert (counts[..., :12] / counts[..., 20:]).mean().item() == pytest.approx(50 / 20, rel=0.1)  # as variances are
    assert counts.mean().item() == pytest.approx(1)
    low, high = config.recorruption * np.array(masking.STRENGTHS)
    a2 = (low**2 + low * high + high**2) / 3  # the mean of a**2
    for part, variance in ((np.s_[..., :12], 20), (np.s_[..., 20:], 50)):  # 2**2 + 4**2, and 30 more
        one, other = (5 * values[part].double() + 25 - signal[part] for values in (seen, target))
        # Scatter as of independent noises; and z follows a mean of 25 noisy pixels instead of the signal itself.
        sampling = variance * np.sqrt((1 + a2) * (1 + 1 / a2) * 5 / one.numel())
        assert abs((one * other).mean().item()) < 4 * sampling + 0.02 * variance
        assert one.var().item() == pytest.approx((1 + a2) * variance, rel=0.05)


def test_overlaid_patches_keep_the_noise_of_each():
    """Signals are mixed, and the noise of the mixture is the mixture of the noises, as strong as each of them."""
    signal = torch.arange(800.0)[:, None, None, None].expand(800, 1, 32, 32)
    grain = torch.randn(signal.shape, generator=seeded(1))
    mixed, own, _, _ = _overlaid(signal + grain, grain, signal, signal > 0, seeded())
    assert mixed.shape == (400, 1, 32, 32)
    weights = (mixed - own)[:, 0, 0, 0]
    torch.testing.assert_close(mixed - own, weights[:, None, None, None].expand_as(mixed), atol=1e-3, rtol=0)
    assert ((weights - signal[:400, 0, 0, 0]).abs() > 1e-3).sum() > 390  # hardly a patch is left as it was
    assert (weights < 0).float().mean() == pytest.approx(0.5, abs=0.1), "of either sign"
    for patch in own.flatten(1).var(dim=1):
        assert patch.item() == pytest.approx(1, abs=6 * (2 / 1024) ** 0.5)  # of 1024 pixels; 400 patches


def test_overlaid_patches_know_how_strong_their_noise_is():
    """Of one half of the patches the noise is three times as strong."""
    strength = torch.tensor([1.0, 3.0]).repeat_interleave(400)[:, None, None, None].expand(800, 1, 32, 32)
    grain = strength * torch.randn(strength.shape, generator=seeded(1))
    _, own, variance, _ = _overlaid(grain, grain, strength**2, strength > 0, seeded())
    assert variance.min() > 0.99 and variance.max() < 9.01
    ratio = own.flatten(1).var(dim=1) / variance[:, 0, 0, 0]
    assert (ratio - 1).abs().max() < 6 * (2 / 1024) ** 0.5  # of 1024 pixels; 400 patches


def test_training_overlays_patches_once_each_pixel_was_cropped_often(tiny, monkeypatch):
    """Two images of 64x64 are 8 patches of 32x32; with batches of 4 each pixel was cropped 1.5 times after 3 steps."""
    overlays, images = [], np.random.default_rng(0).normal(100, 20, (2, 64, 64))

    def noted(*parts):
        overlays.append(parts[-1])
        return _overlaid(*parts)

    monkeypatch.setattr(masking, "_overlaid", noted)
    monkeypatch.setattr(masking, "BY_HEART", 1.5)
    config = tiny(covariance=known_covariance(KERNELS["blob"]), patch_size=32, batch_size=4, max_steps=5)
    n2vlib.train(images, config)
    assert overlays == [False] * 3 + [True] * 2
    overlays.clear()
    n2vlib.train(images, dataclasses.replace(config, augment=False))
    assert overlays == [False] * 5


def test_a_patch_alone_or_without_augmentation_is_not_overlaid(tiny):
    covariance, flat = known_covariance(KERNELS["blob"]), torch.arange(4.0)[:, None, None, None].expand(4, 1, 32, 32)
    for augment, patches in ((False, flat), (True, flat[2:3])):
        config = tiny(covariance=covariance, augment=augment)
        denoiser = n2vlib.Denoiser(n2vlib.learning.build_network(config, 1), config, [0], [1])
        seen, target, _ = _recorrupted(denoiser, patches, seeded())
        # f(y + a z) and f(y - a z): without z, what is left is the patch itself.
        for values in (seen, target):
            one, other = values.chunk(2)
            torch.testing.assert_close((one + other) / 2, patches[: max(1, len(patches) // 2)], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("share", [0, 0.5, 1, 2])
def test_strengths_spread_until_images_could_be_known_by_heart(share, tiny):
    config = tiny(covariance=known_covariance(KERNELS["blob"]), augment=False)
    denoiser = n2vlib.Denoiser(n2vlib.learning.build_network(config, 1), config, [0], [20])
    patches = torch.zeros((400, 1, 16, 16))
    seen, target, _ = _recorrupted(denoiser, patches, seeded(), passes=share * masking.BY_HEART)
    one, other = seen.chunk(2)
    up, down = target.chunk(2)
    a = ((one - other).norm(dim=(2, 3)) / (down - up).norm(dim=(2, 3))) ** 0.5 / config.recorruption
    low, high = (1 + min(1, share) * (bound - 1) for bound in masking.STRENGTHS)
    assert a.min().item() == pytest.approx(low, abs=0.03) and a.max().item() == pytest.approx(high, abs=0.03)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_noise_is_added_both_ways(count, tiny):
    """Two inputs lie as far above a patch as below it, their targets the other way round, 1 / a**2 times as far.

    Each patch has an a of its own, near that of the config.
    """
    config = tiny(covariance=known_covariance(KERNELS["blob"]))
    denoiser = n2vlib.Denoiser(n2vlib.learning.build_network(config, 1), config, [0], [20])
    patches = torch.randn((count, 1, 32, 32), generator=seeded(1))
    seen, target, where = _recorrupted(denoiser, patches, seeded())
    assert seen.shape == target.shape == where.shape == (2 * max(1, count // 2), 1, 32, 32)
    one, other = seen.chunk(2)
    up, down = target.chunk(2)
    torch.testing.assert_close(one + other, up + down, atol=1e-4, rtol=1e-4)  # twice the patch that they are made of
    far, back = ((values**2).sum((1, 2, 3), keepdim=True) ** 0.5 for values in (one - other, down - up))
    a = (far / back) ** 0.5
    torch.testing.assert_close((one - other) / a**2, down - up, atol=1e-3, rtol=1e-3)
    low, high = masking.STRENGTHS
    assert ((low * config.recorruption <= a) & (a <= high * config.recorruption)).all() and len(a.unique()) == len(a)
    assert (far > 0).all()


def test_what_is_not_measured_counts_for_nothing_in_any_task(tiny):
    """Overlaid patches count where both are measured."""
    patches = torch.randn((4, 1, 32, 32), generator=seeded(1))
    measured = torch.ones_like(patches, dtype=torch.bool)
    measured[0, :, :10], measured[3, :, :, 20:] = False, False
    recorrupted = dict(covariance=known_covariance(KERNELS["blob"]))
    for settings in (dict(), dict(struct_mask=MASKS["blob"]), recorrupted, recorrupted | dict(augment=False)):
        config = tiny(**settings)
        denoiser = n2vlib.Denoiser(n2vlib.learning.build_network(config, 1), config, [0], [20])
        _, _, where = task_of(config)(denoiser, patches, seeded(), measured)
        if "covariance" in settings:
            both = measured[:2] & measured[2:] if config.augment else measured[:2]
            assert torch.equal(where > 0, both.repeat(2, 1, 1, 1))
        else:
            assert where.any() and not (where & ~measured).any()


def test_recorrupted_noise_is_in_the_units_of_each_channel(tiny):
    covariances = np.stack([known_covariance(KERNELS["blob"]), 4 * known_covariance(KERNELS["horizontal"])])
    config = tiny(covariance=covariances)
    denoiser = n2vlib.Denoiser(n2vlib.learning.build_network(config, 2), config, [100, 0], [50, 10])
    drawn = denoiser.same_noise(torch.zeros((50, 2, 32, 32)), seeded())
    assert drawn.std(dim=(0, 2, 3)).tolist() == pytest.approx([500**0.5 / 50, 2 * 500**0.5 / 10], rel=0.05)
    opposite = (drawn[..., 0, :] * drawn[..., -1, :]).mean((0, 2)) / drawn.var(dim=(0, 2, 3))
    assert opposite.abs().max() < 4 * 3 / 1600**0.5  # borders are no neighbours; 3: values beside each other go along


# Flips and turns


def test_turning_a_tensor_is_turning_an_array_and_can_be_undone():
    array = np.arange(12.0).reshape(1, 3, 4)
    results = set()
    for flips in TURNS:
        turned = turn_tensor(torch.from_numpy(array), *flips)
        np.testing.assert_array_equal(turned.numpy(), turn(array, *flips))
        np.testing.assert_array_equal(turn_tensor(turned, *flips, back=True).numpy(), array)
        results.add((turned.shape, tuple(turned.flatten().tolist())))
    assert len(results) == 8


@pytest.mark.parametrize(
    "kind, number", [("horizontal", 4), ("vertical", 4), ("diagonal", 4), ("blob", 8), ("cross", 8)]
)
def test_only_turns_that_leave_the_noise_as_it_is_are_kept(kind, number):
    for structure in (MASKS[kind], known_covariance(KERNELS[kind])):
        kept = turns_that_keep(structure)
        assert len(kept) == number and kept[0] == (0, 0, 0)
        for flips in TURNS:
            assert (flips in kept) == np.allclose(turn(np.float64(structure), *flips), structure)
    assert turns_that_keep(None) == TURNS
    assert turns_that_keep(MASKS["skew"]) == ((0, 0, 0), (1, 1, 0))
    assert len(turns_that_keep(MASKS["line"])) == 4
    averaged = symmetrised(known_covariance(KERNELS[kind]) + 0.01 * np.arange(121).reshape(11, 11))
    assert all(np.allclose(turn(averaged, *flips), averaged) for flips in turns_that_keep(MASKS[kind]))


def test_patches_of_striped_noise_are_never_turned_on_their_side(tiny):
    from n2vlib.learning.patches import crop_patches

    stripes = np.arange(64.0)[:, None] * np.ones(64)  # constant along x
    crops, _ = crop_patches(stripes[None, None], [0], tiny(struct_mask=MASKS["horizontal"], batch_size=64), seeded())
    assert np.ptp(crops, axis=-1).max() == 0
    upside_down = (np.diff(crops[:, 0, :, 0], axis=-1) < 0).all(-1).mean()
    assert 0.25 < upside_down < 0.75  # 64 tosses: 0.5 +- 4 * 0.0625
    free, _ = crop_patches(stripes[None, None], [0], tiny(batch_size=64), seeded())
    assert np.ptp(free, axis=-1).max() > 0


# Training and prediction


@pytest.mark.parametrize("structure", ["struct_mask", "covariance"])
def test_a_trained_network_survives_saving_and_predicts_the_same(structure, tiny, noisy, tmp_path):
    value = dict(struct_mask=MASKS["horizontal"], covariance=known_covariance(KERNELS["horizontal"]))[structure]
    denoiser = n2vlib.train(noisy[:64, :64], tiny(**{structure: value}))
    denoiser.save(tmp_path / "model.pt")
    again = n2vlib.Denoiser.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(np.array(getattr(again.config, structure)), value)
    for tta in (False, True):
        np.testing.assert_array_equal(again.predict(noisy, tta=tta), denoiser.predict(noisy, tta=tta))


def test_training_with_structure_is_reproducible_and_resumes(tiny, noisy, tmp_path):
    settings = dict(covariance=known_covariance(KERNELS["blob"]), steps_per_epoch=5, lr_scheduler="plateau")
    whole = n2vlib.train(noisy[:64, :64], tiny(**settings))
    n2vlib.train(noisy[:64, :64], tiny(**(settings | dict(max_steps=5, checkpoint_dir=tmp_path))))
    resumed = n2vlib.train(noisy[:64, :64], tiny(**settings, checkpoint_dir=tmp_path), resume=True)
    for one, other in zip(whole.network.parameters(), resumed.network.parameters()):
        assert torch.equal(one, other)


def test_checkpoints_of_before_there_were_structures_can_be_resumed(tiny, noisy, tmp_path):
    n2vlib.train(noisy[:64, :64], tiny(max_steps=4, steps_per_epoch=2, checkpoint_dir=tmp_path))
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    for name in ("struct_mask", "covariance", "shot", "recorruption", "draws"):
        del content["config"][name]
    torch.save(content, tmp_path / "last.pt")
    resumed = n2vlib.train(noisy[:64, :64], tiny(max_steps=6, steps_per_epoch=2, checkpoint_dir=tmp_path), resume=True)
    assert resumed.history["steps"] == [2, 4, 6]


def test_recorrupted_predictions_average_over_draws(untrained, noisy):
    denoiser = untrained(covariance=known_covariance(KERNELS["blob"]))
    page = noisy[:64, :64]
    many = [denoiser.predict(page, draws=k) for k in (1, 16, 16)]
    np.testing.assert_array_equal(many[1], many[2])
    limit = denoiser.predict(page, draws=64)
    # The mean of K draws is off by 1 / sqrt(K): 16 draws by a quarter of one draw, but for the limit's own error.
    assert np.abs(many[1] - limit).std() < 0.4 * np.abs(many[0] - limit).std()
    assert not np.array_equal(denoiser.predict(page, draws=0), limit)
    np.testing.assert_array_equal(denoiser.predict(page), denoiser.predict(page, draws=8))


def test_corners_limit_where_patches_come_from(tiny):
    image = np.random.default_rng(0).normal(size=(2, 1, 64, 64))
    image[1, :, 20:36, 30:46] += 1000
    from n2vlib.learning.patches import crop_patches

    corners = np.array([[1, 20, 30]])
    crops, _ = crop_patches(image, np.arange(2), tiny(batch_size=8), seeded(), corners)
    assert crops.min() > 900
    denoiser = n2vlib.train(image, tiny(), corners=corners)
    assert denoiser.mean == pytest.approx([image.mean()])  # normalised by all of the images


def test_recorrupted_error_ranks_denoisers_as_the_truth_does(camera):
    """Of three fake denoisers, without the truth; and by as much as the truth says."""

    class Fake:
        def __init__(self, blur):
            self.blur = blur

        def predict(self, image, draws=None):
            from scipy.ndimage import gaussian_filter

            return gaussian_filter(image, (0, 0, self.blur, self.blur))

    grain = noise(camera.shape, KERNELS["horizontal"])
    covariance = known_covariance(KERNELS["horizontal"])
    found, true = [], []
    for blur in (0.5, 1.5, 6):
        found.append(n2vlib.learning.recorrupted_error(Fake(blur), camera + grain, covariance, draws=8))
        z = noise(camera.shape, KERNELS["horizontal"], seed=5)
        true.append(np.square(Fake(blur).predict((camera + grain + z / 2)[None, None]) - camera).mean())
    assert np.argsort(found).tolist() == np.argsort(true).tolist() == [1, 0, 2]
    # Both differ by the target's noise, (1 + 1 / a**2) * 500 = 2500.
    assert np.subtract(found, true) == pytest.approx([2500] * 3, rel=0.06)


# Bad masks


BAD = {
    "has dtype int64: it must be boolean": np.ones((3, 3), int),
    "has dtype float64: it must be boolean": np.eye(5),
    r"has shape \(4, 4\): it must have two odd sides": np.eye(4, dtype=bool),
    r"has shape \(3, 4\)": np.eye(3, 4, dtype=bool),
    r"has shape \(3,\)": np.ones(3, bool),
    r"has shape \(3, 3, 3\)": np.ones((3, 3, 3), bool),
    "is False in its centre": ~np.eye(3, dtype=bool),
    "is True everywhere": np.ones((5, 5), bool),
}


@pytest.mark.parametrize("reason", BAD)
def test_what_is_no_mask_is_refused(reason, refused, tmp_path, tiny):
    np.save(tmp_path / "mask.npy", BAD[reason])
    with refused(ValueError, f"the mask of mask.npy {reason}"):
        load_mask(tmp_path / "mask.npy")
    with refused(ValueError, f"^struct_mask = .* is not possible: .*{reason}"):
        tiny(struct_mask=BAD[reason])


def test_what_is_no_mask_file_is_refused(refused, tmp_path):
    with refused(FileNotFoundError, "no mask file .*absent.npy"):
        load_mask(tmp_path / "absent.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "several.npz", a=np.ones(3))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("objects.npy", "several.npz", "text.npy", "empty.npy"):
        with refused(ValueError, f"{name} is not a mask saved with numpy.save"):
            load_mask(tmp_path / name)


def test_good_masks_are_accepted(tmp_path):
    for mask in MASKS.values():
        np.save(tmp_path / "mask.npy", mask)
        np.testing.assert_array_equal(load_mask(tmp_path / "mask.npy"), mask)
        assert label(checked_mask(mask), np.ones((3, 3)))[1] == 1


def test_structures_that_exclude_each_other_are_refused(refused, tiny):
    covariance = known_covariance(KERNELS["blob"])
    with refused(ValueError, "covariance = .*None if there is a struct_mask"):
        tiny(struct_mask=MASKS["blob"], covariance=covariance)
    with refused(
        ValueError, "noise_model = 'gaussian' is not possible.*None if there is a struct_mask or a covariance"
    ):
        tiny(covariance=covariance, noise_model="gaussian")
    with refused(ValueError, "strategy = 'median' is not possible: it must be one of 'mean', 'zero', 'random'"):
        tiny(struct_mask=MASKS["blob"], strategy="median")
