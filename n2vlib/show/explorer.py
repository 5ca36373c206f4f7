"""Results compared: two pictures of a choice at the same place, with one contrast, side by side and in turn."""

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from .figures import contrasts
from .sliders import redrawn

SIDES = ("left", "right")
FIRST_ZOOM = 4
BLINK = 700  # milliseconds for which each of the two pictures is shown
LONGEST = 9999  # pictures shown in turn, two hours: every version of ipywidgets plays at least once through


def explore_results(images, clean=None, zoom=FIRST_ZOOM):
    """Show two of several images at the same place, side by side, and in turn at one place when Play is pressed.

    A small difference that is easily missed side by side is seen where two pictures blink.
    images: dictionary title -> (Y, X), two or more of one shape, intensity units. clean: the truth, if known: its 1 and
    99 % quantiles set the one contrast, else those of the first image. A title that starts with "residual" is shown
    around 0, over the same span. zoom: 1 shows the whole image, 4 a quarter of its sides. Returns the widget.
    Raises ValueError for fewer than two images, or images of different shapes.

    >>> controls, picture = explore_results({"noisy": np.eye(32), "denoised": np.ones((32, 32)) / 2}).children
    >>> [control.description for control in controls.children]
    ['left', 'right', 'zoom', 'across', 'down', 'blink']
    """
    arrays = {title: np.asarray(image, np.float32) for title, image in images.items()}
    shapes = {image.shape for image in arrays.values()}
    if len(arrays) < 2 or len(shapes) > 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f"{len(arrays)} images of shapes {sorted(shapes)}: give two or more (Y, X) of one shape")
    spans = contrasts(next(iter(arrays.values())) if clean is None else clean)
    names = list(arrays)
    left, right = (widgets.Dropdown(options=names, value=name, description=side) for name, side in zip(names, SIDES))
    late = dict(continuous_update=False)
    places = [widgets.FloatSlider(value=0.5, max=1, step=0.02, description=name, **late) for name in ("across", "down")]
    magnified = widgets.FloatSlider(value=zoom, min=1, max=16, step=0.5, description="zoom", **late)
    blink = widgets.Play(max=LONGEST, interval=BLINK, description="blink")

    def draw(left, right, zoom, across, down, blink):
        part = _crop(next(iter(shapes)), zoom, across, down)
        figure = Figure(figsize=(12, 4.4), layout="constrained")
        in_turn = (left, right)[blink % 2]
        for axis, name, where in zip(figure.subplots(1, 3), (left, right, in_turn), ("", "", "in turn: ")):
            span = spans[name.startswith("residual")]
            axis.imshow(arrays[name][part], vmin=span[0], vmax=span[1])
            axis.set_title(where + name)
            axis.set_axis_off()
        return figure

    return redrawn(draw, [left, right, magnified, *places, blink], height=330)


def _crop(shape, zoom, across, down):
    """Return the part of an image that is seen: a share 1 / zoom of each side, at a place from 0 to 1 in each way."""
    sides = [max(8, round(length / zoom)) for length in shape]
    starts = [round(place * max(0, length - side)) for place, length, side in zip((down, across), shape, sides)]
    return tuple(slice(start, start + side) for start, side in zip(starts, sides))
