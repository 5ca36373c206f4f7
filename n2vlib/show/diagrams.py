"""Drawings of networks: neurons with their weights, the plane as they cut it, the U of a U-Net from its shapes."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from .figures import BLUE, GREEN, GREY, ORANGE

ARROWS = {
    "3×3 convolution": BLUE,
    "1×1 convolution": "black",
    "2×2 max pooling": ORANGE,
    "2×2 up-convolution": GREEN,
    "skip connection": GREY,
}


def network(axis, weights, names=()):
    """Draw layers of neurons, data flowing from left to right; a line is as thick as the weight beside it is large.

    weights: for each layer of arrows an array (neurons to the right, neurons to the left); positive ones are blue,
    negative ones orange. names: for each layer of neurons a list of texts, written into them.

    >>> axis = Figure().subplots()
    >>> network(axis, [np.array([[1, -2]])], [["a", "b"], ["sum"]])
    >>> [line.get_linewidth() for line in axis.lines]
    [2.5, 5.0]
    >>> [text.get_text() for text in axis.texts]
    ['1', '−2', 'a', 'b', 'sum']
    """
    sizes = [np.shape(weights[0])[1], *(len(layer) for layer in weights)]
    places = [[(column, (size - 1) / 2 - row) for row in range(size)] for column, size in enumerate(sizes)]
    largest = max(np.abs(layer).max() for layer in weights) or 1
    for layer, left, right in zip(weights, places, places[1:]):
        for (row, column), weight in np.ndenumerate(layer):
            style = dict(color=BLUE if weight > 0 else ORANGE, linewidth=5 * abs(weight) / largest)
            axis.plot(*zip(left[column], right[row]), **style, zorder=1)
            place = np.add(np.multiply(left[column], 0.58), np.multiply(right[row], 0.42))  # where lines do not cross
            box = dict(facecolor="white", edgecolor="none", pad=1.5)
            written = f"{weight:.2g}".replace("-", "−")
            axis.text(*place, written, ha="center", va="center", color=style["color"], bbox=box, zorder=2)
    for layer, texts in zip(places, [*names, *[()] * len(places)]):
        axis.scatter(*zip(*layer), s=2600, color="white", edgecolor="black", linewidth=2, zorder=2)
        for place, text in zip(layer, texts):
            axis.text(*place, text, ha="center", va="center", zorder=3)
    height = max(sizes) / 2
    axis.set(xlim=(-0.4, len(sizes) - 0.6), ylim=(-height - 0.1, height + 0.1))
    axis.set_axis_off()


def plane(axis, net_sum, points, classes, activation=np.sign):
    """Draw what a neuron makes of the plane: its output as shade, where its net sum is 0 as an orange line.

    net_sum: function of an array (N, 2) that returns N numbers. points: (N, 2), drawn as circles where `classes` is
    0, as squares where it is 1. activation: function of the net sums, numpy's sign for two shades.

    >>> axis = Figure().subplots()
    >>> plane(axis, lambda points: points[:, 0] - 0.5, [[0, 0], [0, 1], [1, 0]], [0, 0, 1])
    >>> [len(marks.get_offsets()) for marks in axis.collections[1:]]
    [2, 1]
    """
    low, high = np.min(points, axis=0) - 0.5, np.max(points, axis=0) + 0.5
    x, y = np.meshgrid(np.linspace(low[0], high[0], 200), np.linspace(low[1], high[1], 200))
    net_sums = net_sum(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)
    extent = (low[0], high[0], low[1], high[1])
    axis.imshow(activation(net_sums), extent=extent, origin="lower", cmap="Blues", alpha=0.6, aspect="auto")
    if net_sums.min() < 0 < net_sums.max():
        axis.contour(x, y, net_sums, [0], colors=ORANGE, linewidths=3)
    for number, marker in enumerate("os"):
        style = dict(marker=marker, s=110, color=("white", "black")[number], edgecolor="black")
        axis.scatter(*np.asarray(points)[np.asarray(classes) == number].T, **style)


def pixels(axis, picture, numbers, corner=(0, 0)):
    """Draw a small picture, and write numbers into a framed window of it.

    picture: (Y, X); if some of it is negative, 0 is shown as medium grey. numbers: (rows, columns) of the window,
    whose first pixel is `corner`, (row, column).

    >>> axis = Figure().subplots()
    >>> pixels(axis, np.eye(3), np.eye(3)[:2, :2])
    >>> [text.get_text() for text in axis.texts]
    ['1', '0', '0', '1']
    """
    picture, numbers = np.asarray(picture), np.asarray(numbers)
    high = np.abs(picture).max()
    shown = axis.imshow(picture, vmin=-high if picture.min() < 0 else 0, vmax=high)
    for (row, column), number in np.ndenumerate(numbers):
        place = (corner[1] + column, corner[0] + row)
        colour = "black" if shown.norm(picture[place[::-1]]) > 0.5 else "white"
        style = dict(ha="center", va="center", color=colour, fontsize=min(18, 115 / picture.shape[1]))
        axis.text(*place, f"{number:.0f}".replace("-", "−"), **style)
    frame = dict(fill=False, edgecolor=ORANGE, linewidth=4)
    axis.add_patch(Rectangle((corner[1] - 0.5, corner[0] - 0.5), *numbers.shape[::-1], **frame))
    axis.set_axis_off()


def unet(steps, title=""):
    """Draw the tensors of a U-Net as a U: heights are sides, widths grow with the channels.

    steps: one (name as in ARROWS, input shape, output shape) for each convolution in the order of the data's flow,
    shapes (C, Y, X), as forward hooks see them. Pooling and skip connections show in the input of the convolution
    that follows. Returns the matplotlib figure.

    >>> figure = unet([("3×3 convolution", (1, 64, 64), (8, 64, 64)), ("3×3 convolution", (8, 32, 32), (16, 32, 32))])
    >>> [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    ['1', '64²', '8', '8', '32²', '16']
    """
    boxes = _boxes(steps)
    depth, largest = max(level for _, level, _, _ in boxes), boxes[0][0][1]
    figure = Figure(figsize=(max(13, 0.6 * len(boxes)), 2 + 1.3 * depth))
    axis = figure.subplots()
    edges, left = [], 0.0
    for number, (shape, level, kind, skipped) in enumerate(boxes):
        width, height = 0.12 + 0.045 * np.log2(shape[0]), max(1.15 * shape[1] / largest, 0.08)
        bottom = -1.75 * level - height / 2
        _draw_box(axis, (left, bottom, width, height), shape, skipped, number, boxes)
        if edges:
            arrow = dict(arrowstyle="-|>", color=ARROWS[kind], linewidth=2, shrinkA=2, shrinkB=2)
            axis.annotate("", (left, -1.75 * level), edges[-1], arrowprops=arrow)
        if skipped:
            start = max(n for n in range(number) if boxes[n][1] == level and boxes[n + 1][1] > level)
            arrow = dict(arrowstyle="->", color=GREY, linestyle="--", linewidth=2)
            place = (left, -1.75 * level + 0.25 * height)
            axis.annotate("", place, (edges[start][0], place[1]), arrowprops=arrow)
        edges.append((left + width, -1.75 * level))
        turns = number + 1 < len(boxes) and boxes[number + 1][1] != level
        left += width + (0.8 if skipped or turns or len(edges) < 3 else 0.5)
    axis.set(xlim=(-0.4, left), ylim=(-1.75 * depth - 1.5, 1.0), title=title)
    axis.set_axis_off()
    lines = [Line2D([], [], color=colour, linestyle="--" if colour == GREY else "-") for colour in ARROWS.values()]
    axis.legend(lines, ARROWS, loc="lower center", ncols=5, frameon=False, fontsize=13)
    return figure


def _boxes(steps):
    """Return (shape, level, kind of the arrow that leads to it, channels skipped to it) of each tensor."""
    boxes, level = [(steps[0][1], 0, None, 0)], 0
    for name, before, after in steps:
        last = boxes[-1][0]
        if before[1] <= 0.6 * last[1]:
            level += 1
            boxes.append((before, level, "2×2 max pooling", 0))
        elif before[0] > last[0]:  # joined by a skip connection
            boxes[-1] = (before, level, boxes[-1][2], before[0] - last[0])
        level -= after[1] >= 1.5 * before[1]
        boxes.append((after, level, name, 0))
    return boxes


def _draw_box(axis, place, shape, skipped, number, boxes):
    left, bottom, width, height = place
    share = skipped / shape[0]
    axis.add_patch(Rectangle((left, bottom), width * share, height, color=GREY, linewidth=0))
    axis.add_patch(Rectangle((left + width * share, bottom), width * (1 - share), height, color=BLUE, linewidth=0))
    middle = left + width / 2
    channels = f"{shape[0] - skipped}+{skipped}" if skipped else str(shape[0])
    style = dict(ha="center", fontsize=15 if len(boxes) < 20 else 13.5)
    axis.text(middle, bottom + height + 0.06, channels, va="bottom", **style)
    first = number  # of its level, on its side of the U
    while first and boxes[first - 1][1] == boxes[number][1]:
        first -= 1
    ends = number + 1 == len(boxes) or boxes[number + 1][1] != boxes[number][1]
    if number == first or (ends and boxes[first][0][1:] != shape[1:]):
        size = f"{shape[1]}²" if shape[1] == shape[2] else f"{shape[1]}×{shape[2]}"
        axis.text(middle, bottom - 0.1, size, va="top", color=GREY, **style)
