"""Figures as PNG files: few colours, so that notebooks stay small, and a text for those who cannot see them."""

import base64
import io

import matplotlib
import numpy as np
from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

GREYS, COLOURS = 64, 64  # of a stored figure: hardly a difference to be seen, and a third of the bytes
GREY = 16  # a pixel whose red, green and blue differ by less counts as grey


def to_png(figure):
    """Draw a figure as PNG and return the bytes: what an image widget shows, from any thread."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def alt_text(figure):
    """Say in words what a figure shows: its label, if it was given one, else its titles, axes and legends.

    >>> figure = Figure()
    >>> axis = figure.subplots()
    >>> axis.set(title="training", xlabel="step", ylabel="loss") and alt_text(figure)
    'Plot "training": loss against step.'
    >>> figure.set_label("The loss falls, then it is flat.")
    >>> alt_text(figure)
    'The loss falls, then it is flat.'
    """
    panels = [f"{_panel(axis)}." for axis in figure.axes]
    named = [panel for panel in panels if " " in panel]  # a crop below a picture has no title of its own
    said = figure.get_label() or " ".join(named or panels) or "An empty figure."
    return " ".join(said.replace("$", "").split())


def _panel(axis):
    """Say what one panel shows."""
    if axis.get_label() == "<colorbar>":
        return f"Colour scale: {axis.get_ylabel() or axis.get_xlabel() or 'intensity'}"
    if axis.images and not axis.lines:
        kind = "Image"
    else:
        kind = "Plot" if axis.axison else "Drawing"
    title = f' "{axis.get_title()}"' if axis.get_title() else ""
    axes = " against ".join(label for label in (axis.get_ylabel(), axis.get_xlabel()) if label)
    legend = axis.get_legend()
    texts = legend.get_texts() if legend else () if kind == "Image" else axis.texts
    names = [text.get_text() for text in texts if text.get_text()]
    said = "; ".join(part for part in (axes, ", ".join(names[:12])) if part)
    return f"{kind}{title}" + (f": {said}" if said else "")


def shown(figure):
    """Return what a notebook stores of a figure: a PNG of few colours in base64, and its alt text."""
    png = print_figure(figure)
    if png is None:  # an empty figure
        return None
    buffer = io.BytesIO()
    _with_few_colours(Image.open(io.BytesIO(png)).convert("RGB")).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii"), {"alt": alt_text(figure)}


def _with_few_colours(picture):
    """Return a picture with a palette: evenly spaced greys, and the colours that stand for the others best."""
    pixels = np.asarray(picture)
    coloured = np.ptp(pixels, axis=2) > GREY
    numbers = np.round(pixels.mean(axis=2) * ((GREYS - 1) / 255)).astype(np.uint8)
    palette = np.repeat(np.linspace(0, 255, GREYS).round().astype(np.uint8), 3).tolist()
    if coloured.any():
        strip = Image.fromarray(pixels[coloured][None]).quantize(COLOURS, dither=Image.Dither.NONE)
        numbers[coloured] = GREYS + np.asarray(strip)[0]
        palette += strip.getpalette()
    reduced = Image.fromarray(numbers)
    reduced.putpalette(palette)
    return reduced


def show_in_notebook():
    """Let Jupyter show each matplotlib figure as `shown` draws it; elsewhere nothing happens."""
    shell = get_ipython()
    if shell is not None and "inline" in matplotlib.get_backend():
        shell.display_formatter.formatters["image/png"].for_type(Figure, shown)
