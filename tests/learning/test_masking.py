"""The blind spot: how many pixels are hidden, where, and by what."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from n2vlib import N2VConfig, draw_blind_pixels, mask_patches, replace_blind_pixels
from n2vlib.learning.config import STRATEGIES
from n2vlib.learning.masking import box_side

HIDING = [name for name in STRATEGIES if name != "uniform_withCP"]  # those that never show a pixel to itself
sides = st.integers(1, 80)
# A single pixel has no other to take a value from.
shapes = st.tuples(st.integers(1, 2), st.integers(1, 2), sides, sides).filter(lambda s: s[2] * s[3] > 1)
percentages = st.floats(0.1, 44)
seeds = st.integers(0, 2**31)
roi_sizes = st.sampled_from((3, 5, 11, 21))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def distinct(shape):
    """Patches in which every pixel's value is its own flat index."""
    return torch.arange(np.prod(shape), dtype=torch.float32).reshape(shape)


def window(centre, roi_size, length):
    """First and last coordinate of a roi that is moved inwards at the border."""
    roi_size = min(roi_size, length)
    start = np.clip(centre - roi_size // 2, 0, length - roi_size)
    return start, start + roi_size - 1


def assert_uniform(counts):
    """Chi-square test at one in a million: a fair draw that is not seeded fails once in 10**6 runs."""
    assert scipy.stats.chisquare(counts).pvalue > 1e-6


@given(shapes, percentages, seeds)
def test_one_blind_pixel_in_each_box(shape, percentage, seed):
    blind = draw_blind_pixels(shape, percentage, seeded(seed)).numpy()
    assert blind.shape == shape and blind.dtype == bool
    side = round((100 / percentage) ** 0.5)
    rows, columns = np.arange(0, shape[2], side), np.arange(0, shape[3], side)
    in_boxes = np.add.reduceat(np.add.reduceat(blind.astype(int), rows, axis=2), columns, axis=3)
    assert (in_boxes == 1).all()
    assert blind.sum() == shape[0] * shape[1] * len(rows) * len(columns)


@pytest.mark.parametrize("percentage, side", [(0.2, 22), (1, 10), (1.5625, 8), (6.25, 4), (25, 2), (44, 2)])
def test_percentage_is_in_percent(percentage, side):
    assert box_side(percentage) == side
    blind = draw_blind_pixels((1, 1, 20 * side, 20 * side), percentage, seeded())
    assert blind.sum() == 400


@given(shapes, percentages, seeds, roi_sizes, st.sampled_from(HIDING))
def test_replacement_never_comes_from_a_blind_pixel(shape, percentage, seed, roi_size, strategy):
    patches = distinct(shape)
    blind = draw_blind_pixels(shape, percentage, seeded(seed))
    masked = replace_blind_pixels(patches, blind, strategy, roi_size, seeded(seed))

    assert torch.equal(patches, distinct(shape)), "the input was modified"
    assert torch.equal(masked[~blind], patches[~blind]), "a pixel that is not blind was changed"
    assert not torch.isnan(masked).any()

    values = masked[blind].numpy()
    if strategy == "zero":
        assert (values == 0).all()
        return
    image, channel, y, x = (index.numpy() for index in blind.nonzero(as_tuple=True))
    (top, bottom), (left, right) = window(y, roi_size, shape[2]), window(x, roi_size, shape[3])
    if strategy == "mean":
        # All values of the roi lie between those of its first and last pixel; float32 rounds the sum.
        first = patches.numpy()[image, channel, top, left]
        last = patches.numpy()[image, channel, bottom, right]
        assert (values >= first * (1 - 1e-5)).all() and (values <= last * (1 + 1e-5)).all()
        return
    source = np.unravel_index(values.astype(int), shape)
    assert (values == values.astype(int)).all()
    assert not blind.numpy()[source].any()
    assert (source[0] == image).all() and (source[1] == channel).all()
    if strategy != "random":
        assert ((top <= source[2]) & (source[2] <= bottom)).all()
        assert ((left <= source[3]) & (source[3] <= right)).all()


@pytest.mark.parametrize("strategy", ["median", "mean"])
@pytest.mark.parametrize(
    "shape, percentage, roi_size", [((2, 2, 16, 16), 6.25, 5), ((1, 1, 9, 14), 44, 3), ((1, 2, 1, 7), 20, 11)]
)
def test_median_and_mean_equal_a_slow_loop(strategy, shape, percentage, roi_size):
    patches = torch.randn(shape, generator=seeded())
    blind = draw_blind_pixels(shape, percentage, seeded())
    masked = replace_blind_pixels(patches, blind, strategy, roi_size).numpy()
    for b, c, y, x in blind.nonzero().tolist():
        (top, bottom), (left, right) = window(y, roi_size, shape[2]), window(x, roi_size, shape[3])
        roi = (b, c, slice(top, bottom + 1), slice(left, right + 1))
        seen = np.sort(patches[roi].numpy()[~blind[roi].numpy()])
        # Of an even number of values the median is the lower middle one: a value that occurs.
        expected = seen.mean() if strategy == "mean" else seen[(len(seen) - 1) // 2]
        assert masked[b, c, y, x] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("roi_size", [3, 11])
@pytest.mark.parametrize("y, x", [(7, 7), (0, 0), (2, 14)])
@pytest.mark.parametrize("others", [0, 1, 4])
def test_uniform_draws_each_seeing_neighbour_equally_often(y, x, roi_size, others):
    (top, bottom), (left, right) = window(y, roi_size, 15), window(x, roi_size, 15)
    candidates = torch.zeros(15, 15, dtype=torch.bool)
    candidates[top : bottom + 1, left : right + 1] = True
    candidates[y, x] = False
    hidden = candidates.nonzero()[: others * roi_size // 3]  # some neighbours are blind too, at the most half
    candidates[hidden[:, 0], hidden[:, 1]] = False
    blind = torch.zeros(12000, 1, 15, 15, dtype=torch.bool)
    blind[:, :, y, x] = True
    blind[:, :, hidden[:, 0], hidden[:, 1]] = True
    masked = replace_blind_pixels(distinct((1, 1, 15, 15)).expand(blind.shape), blind, "uniform", roi_size, seeded())
    counts = np.bincount(masked[:, 0, y, x].int().numpy(), minlength=225)
    candidates = candidates.flatten().numpy()
    assert counts[~candidates].sum() == 0
    assert_uniform(counts[candidates])


@pytest.mark.parametrize("roi_size", [3, 5, 11])
def test_with_centre_pixel_one_in_the_window_keeps_its_value(roi_size):
    blind = draw_blind_pixels((200, 1, 60, 60), 4, seeded())
    patches = distinct(blind.shape)
    masked = replace_blind_pixels(patches, blind, "uniform_withCP", roi_size, seeded())
    kept, draws, chance = int((masked == patches)[blind].sum()), int(blind.sum()), 1 / roi_size**2
    assert abs(kept - draws * chance) < 5 * (draws * chance * (1 - chance)) ** 0.5


def test_random_draws_each_seeing_pixel_of_the_patch_equally_often():
    blind = draw_blind_pixels((1, 1, 10, 12), 4, seeded()).expand(3000, 1, 10, 12)
    patches = distinct((1, 1, 10, 12)).expand(3000, 1, 10, 12)
    masked = replace_blind_pixels(patches, blind, "random", generator=seeded())
    counts = np.bincount(masked[blind].int().numpy(), minlength=120)
    assert counts[blind[0].flatten().numpy()].sum() == 0
    assert_uniform(counts[~blind[0].flatten().numpy()])


def test_every_place_in_a_box_is_blind_equally_often():
    blind = draw_blind_pixels((300, 1, 30, 30), 4, seeded())
    boxes = blind.view(300, 6, 5, 6, 5)
    assert_uniform(boxes.sum((0, 1, 3)).flatten().numpy())


def test_boxes_cut_by_the_border_draw_fairly_too():
    blind = draw_blind_pixels((5000, 1, 7, 8), 4, seeded())  # boxes of side 5, the last is 2 x 3
    assert_uniform(blind[:, 0, 5:, 5:].sum(0).flatten().numpy())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_masks_are_fresh_each_time_and_the_same_for_the_same_seed(strategy):
    config = N2VConfig(strategy=strategy)
    patches = torch.randn(2, 2, 32, 32, generator=seeded())
    generator = seeded(1)
    first, second = mask_patches(patches, config, generator), mask_patches(patches, config, generator)
    again = mask_patches(patches, config, seeded(1))
    assert not torch.equal(first[1], second[1])
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1][0], first[1][1]), "both patches have the same blind pixels"
    assert not torch.equal(first[1][:, 0], first[1][:, 1]), "both channels have the same blind pixels"


def test_mask_patches_follows_the_config():
    config = N2VConfig(masked_pixel_percentage=1, roi_size=5, strategy="median")
    patches = torch.randn(1, 1, 40, 40, generator=seeded())
    masked, blind = mask_patches(patches, config, seeded(3))
    assert torch.equal(blind, draw_blind_pixels(patches.shape, 1, seeded(3)))
    assert torch.equal(masked, replace_blind_pixels(patches, blind, "median", 5))


def test_memory_layout_of_the_patches_does_not_matter():
    patches = distinct((2, 3, 20, 20))
    last = patches.contiguous(memory_format=torch.channels_last)
    blind = draw_blind_pixels(patches.shape, 10, seeded())
    for strategy in STRATEGIES:
        masked = [replace_blind_pixels(p, blind, strategy, 5, seeded()) for p in (patches, last)]
        assert torch.equal(*masked)


def test_unknown_strategy_is_refused(refused):
    patches = distinct((1, 1, 8, 8))
    with refused(ValueError, "strategy = 'best' is not one of uniform"):
        replace_blind_pixels(patches, draw_blind_pixels(patches.shape, 10), "best")


@pytest.mark.parametrize("strategy", ["uniform", "uniform_withCP", "median", "mean"])
def test_a_blind_pixel_without_a_seeing_neighbour_is_refused(strategy, refused):
    single = distinct((1, 1, 1, 1))
    with refused(ValueError, "only blind pixels in its roi: lower masked_pixel_percentage or enlarge roi_size"):
        replace_blind_pixels(single, draw_blind_pixels(single.shape, 10), strategy)
