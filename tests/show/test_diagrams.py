"""Drawings of networks, and the painted shapes that the first networks learn from."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

import n2vlib

STEPS = [
    ("3×3 convolution", (1, 64, 64), (8, 64, 64)),
    ("3×3 convolution", (8, 32, 32), (16, 32, 32)),
    ("2×2 up-convolution", (16, 32, 32), (8, 64, 64)),
    ("3×3 convolution", (16, 64, 64), (8, 64, 64)),
    ("1×1 convolution", (8, 64, 64), (1, 64, 64)),
]


@pytest.fixture
def axis():
    return Figure().subplots()


def texts(axis):
    return [text.get_text() for text in axis.texts if text.get_text()]


def test_unet_shows_each_tensor_once_with_channels_and_sides():
    axis = n2vlib.show.unet(STEPS, "title").axes[0]
    assert texts(axis) == ["1", "64²", "8", "8", "32²", "16", "8+8", "64²", "8", "1"]
    heights = [patch.get_height() for patch in axis.patches[::2]]  # two rectangles a tensor: skipped and own channels
    assert np.allclose(np.divide(heights, heights[0]), [1, 1, 0.5, 0.5, 1, 1, 1])
    levels = [patch.get_y() + patch.get_height() / 2 for patch in axis.patches[::2]]
    assert np.allclose(np.diff(levels) != 0, [False, True, False, True, False, False])
    skipped = [patch.get_width() > 0 for patch in axis.patches[::2]]
    assert skipped == [False] * 4 + [True] + [False] * 2
    arrows = [note.arrow_patch for note in axis.texts if isinstance(note, Annotation)]
    dashed = [arrow for arrow in arrows if arrow.get_linestyle() == "--"]
    assert len(arrows) == 7 and len(dashed) == 1 and axis.get_title() == "title"


def test_unet_sides_that_differ_are_both_written():
    assert "64×48" in texts(n2vlib.show.unet([("3×3 convolution", (1, 64, 48), (8, 64, 48))]).axes[0])


def test_network_draws_one_line_a_weight_in_the_colour_of_its_sign_with_its_number(axis):
    n2vlib.show.network(axis, [np.array([[1, -2, 4]])], [["a", "b", "c"], ["y"]])
    assert texts(axis) == ["1", "−2", "4", "a", "b", "c", "y"]
    assert [line.get_linewidth() for line in axis.lines] == [1.25, 2.5, 5]
    assert len({line.get_color() for line in axis.lines}) == 2
    n2vlib.show.network(axis, [np.zeros((1, 2))])  # no weight at all is no reason to divide by zero


def test_plane_shows_points_by_class_and_a_line_where_the_net_sum_is_zero(axis):
    points = np.array([[0, 0], [0, 1], [1, 0]])
    n2vlib.show.plane(axis, lambda x: x[:, 0] - 0.5, points, [0, 0, 1])
    circles, squares = (marks.get_offsets() for marks in axis.collections[-2:])
    assert np.array_equal(circles, points[:2]) and np.array_equal(squares, points[2:])
    line = np.concatenate(axis.collections[0].get_paths()[0].to_polygons(closed_only=False))
    assert np.allclose(line[:, 0], 0.5)


def test_plane_without_a_line_draws_none_and_does_not_warn(axis, recwarn):
    n2vlib.show.plane(axis, lambda x: np.ones(len(x)), np.array([[0, 0], [1, 1]]), [0, 1])
    assert len(axis.collections) == 2 and not recwarn


def test_pixels_carry_their_numbers_in_the_window(axis):
    n2vlib.show.pixels(axis, np.arange(16).reshape(4, 4), np.array([[6, 7], [10, 11]]), corner=(1, 2))
    assert [(text.get_text(), text.get_position()) for text in axis.texts] == [
        ("6", (2, 1)),
        ("7", (3, 1)),
        ("10", (2, 2)),
        ("11", (3, 2)),
    ]
    assert axis.patches[0].get_bbox().bounds == (1.5, 0.5, 2, 2)
    assert axis.images[0].get_clim() == (0, 15)


def test_pixels_show_zero_as_medium_grey_if_some_are_negative(axis):
    n2vlib.show.pixels(axis, np.array([[-1.0, 4]]), np.array([[-1, 4]]))
    assert axis.images[0].get_clim() == (-4, 4)


def test_dots_draw_on_an_axis_that_is_given_and_write_numbers_as_asked(axis):
    assert n2vlib.show.dots({"a": 1234, "b": 5}, form=",", axis=axis) is axis.figure
    assert texts(axis) == ["1,234", "5"] and not axis.figure.get_label()
    assert "a 1,234" in n2vlib.show.dots({"a": 1234}, form=",").get_label()
    plt.close("all")


def test_few_blind_pixels_of_a_large_patch_get_circles():
    blind = np.zeros((64, 64), bool)
    blind[3, 5] = True
    figure = n2vlib.show.masking(np.zeros((64, 64)), np.ones((64, 64)), blind, Figure())
    assert [len(axis.lines) for axis in figure.axes] == [0, 1, 1]
    assert (figure.axes[1].lines[0].get_xdata(), figure.axes[1].lines[0].get_ydata()) == (5, 3)
    figure = n2vlib.show.masking(np.zeros((64, 64)), np.ones((64, 64)), np.ones((64, 64), bool), Figure())
    assert not any(axis.lines for axis in figure.axes)


def test_images_are_as_high_as_they_need_and_no_row_is_wider_than_the_page():
    wide, square = (n2vlib.show.images({"a": np.eye(8)[:rows]}).get_size_inches() for rows in (4, 8))
    assert wide[0] == square[0] and wide[1] < square[1]
    assert n2vlib.show.images(dict.fromkeys("abcdef", np.eye(8))).get_size_inches()[0] == pytest.approx(13)
    plt.close("all")


def test_style_makes_the_backend_be_chosen():
    before = plt.get_backend()
    n2vlib.show.use_style()
    assert plt.get_backend() == before


def test_painted_shapes_hold_one_kind_a_square():
    images, kinds = n2vlib.datasets.painted_shapes(200, rows=2, columns=3, seed=0)
    assert images.shape == (200, 1, 64, 96) and kinds.shape == (200, 64, 96) and kinds.dtype == np.int64
    squares = kinds.reshape(200, 2, 32, 3, 32).swapaxes(2, 3).reshape(1200, -1)
    assert all(len(set(square)) <= 2 for square in squares)
    shares = np.bincount(squares.max(axis=1)) / 1200
    assert np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 1200)  # four standard deviations of a share
    noise = images[:, 0] - (kinds > 0)
    assert abs(noise.mean()) < 4 * 0.3 / np.sqrt(noise.size)
    assert abs(noise.std() - 0.3) < 4 * 0.3 / np.sqrt(2 * noise.size)


def test_painted_shapes_stay_inside_their_squares_and_repeat_with_their_seed():
    images, kinds = n2vlib.datasets.painted_shapes(50, side=48, seed=[3, 1])
    assert not kinds[:, [0, -1]].any() and not kinds[:, :, [0, -1]].any()
    again, other = (n2vlib.datasets.painted_shapes(50, side=48, seed=seed)[0] for seed in ([3, 1], 4))
    assert np.array_equal(images, again) and not np.array_equal(images, other)
