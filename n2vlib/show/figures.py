"""Figures for the projector: one style, same contrast for images that are compared."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ..learning.metrics import psnr
from .png import show_in_notebook

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"  # Okabe & Ito: safe for the colour-blind
STAINS = ("#4060ff", "#20b060", "#f0a020", "#ff3070")  # nuclei, cytoplasm, actin, mitochondria
DPI = 120  # pixels an inch: letters stay readable where a page shows a figure at half its width
PANEL = 3.2  # inches of one image panel
WIDEST = 13.0  # inches of a row of panels: in a wider figure letters are too small at half the width of a page
LINE = 0.32  # inches of a line of a title
FEW = 30  # blind pixels that get a circle each
MASKING_SIZE = (3 * PANEL, 1.1 * PANEL)
STRUCTURE_SIZE = (1.6 * PANEL, 1.3 * PANEL)


def use_style(projector=False):
    """Set fonts and lines so that the back row can read them; call once at the top of a notebook.

    projector: True makes letters and lines larger still, for a large room.

    >>> with plt.rc_context():
    ...     use_style(projector=True)
    ...     plt.rcParams["font.size"]
    20.0
    """
    plt.switch_backend(plt.get_backend())  # chosen now, Jupyter shows figures that were made without pyplot, too
    show_in_notebook()
    size = 20 if projector else 15  # points
    plt.rcParams.update(
        {
            "font.size": size,
            "axes.titlesize": size,
            "axes.labelsize": size,
            "lines.linewidth": 4 if projector else 2.5,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, GREY]),
            "figure.constrained_layout.use": True,
            "figure.dpi": DPI,
        }
    )


def quantiles(image, *shares):
    """Return quantiles of the finite values of an image of any real dtype, 0 if it has none.

    >>> quantiles(np.array([[np.nan, 3], [5, 7]]), 0, 0.5).tolist(), quantiles(np.eye(2, dtype=bool), 1).tolist()
    ([3.0, 5.0], [1.0])
    """
    values = np.asarray(image) + 0.0  # bool has no quantiles
    values = values[np.isfinite(values)]
    return np.quantile(values if values.size else [0.0], shares)


def contrasts(reference):
    """Return black and white of pictures, 1 and 99 % quantiles of `reference`, and of residuals: as far around 0."""
    low, high = quantiles(reference, 0.01, 0.99)
    return (low, high), ((low - high) / 2, (high - low) / 2)


def images(images, clean=None, crop=None, data_range=255):
    """Show images side by side with the same contrast, and below them a zoomed crop.

    images: dictionary title -> (Y, X) array, intensity units. clean: the truth, if known: its 1 and
    99 % quantiles set the contrast (else those of the first image) and titles get the PSNR in dB.
    crop: (top, left, side) in pixels, None for no second row. A title that starts with "residual"
    is shown around 0, over the same span. Returns the matplotlib figure.

    >>> clean = np.zeros((8, 8))
    >>> images({"a tenth brighter": clean + 25.5}, clean).axes[0].get_title()
    'a tenth brighter\\n20.00 dB'
    """
    spans = contrasts(next(iter(images.values())) if clean is None else clean)
    sides = np.shape(next(iter(images.values())))
    panel = min(PANEL, WIDEST / len(images))
    heights = [panel * sides[0] / sides[1], *([] if crop is None else [panel])]
    size = panel * len(images), sum(heights) + LINE * (1 if clean is None else 2)
    figure, axes = plt.subplots(len(heights), len(images), squeeze=False, figsize=size, height_ratios=heights)
    for column, (title, image) in zip(axes.T, images.items()):
        is_residual = title.startswith("residual")
        span = spans[is_residual]
        if clean is not None and not is_residual and image is not clean:
            title = f"{title}\n{psnr(clean, image, data_range):.2f} dB"
        column[0].imshow(image, vmin=span[0], vmax=span[1])
        column[0].set_title(title)
        if crop is not None:
            top, left, side = crop
            column[0].add_patch(Rectangle((left, top), side, side, fill=False, edgecolor=ORANGE, linewidth=2))
            column[1].imshow(image[top : top + side, left : left + side], vmin=span[0], vmax=span[1])
        for axis in column:
            axis.set_axis_off()
    return figure


def composite(page, colours=STAINS):
    """Return a colour picture (Y, X, 3), 0 to 1, of a page (C, Y, X): each channel in its own colour, added up.

    With more channels than colours, the colours begin anew. Missing pixels (NaN) are black.

    >>> composite(np.stack([np.eye(3), 1 - np.eye(3)]), ("red", "blue"))[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    """
    picture = np.zeros((*page.shape[1:], 3))
    for channel, colour in zip(page, cycle(colours)):
        low, high = quantiles(channel, 0.1, 0.997)
        share = np.nan_to_num((channel - low) / max(high - low, 1e-9)).clip(0, 1)
        picture += share[..., None] * to_rgb(colour)
    return np.clip(picture, 0, 1)


def masking(patch, masked, blind, figure=None):
    """Show a patch, where its blind pixels are, and the patch with them replaced.

    patch, masked: (Y, X), any units, shown with one contrast. blind: boolean (Y, X).
    Arrays or tensors. figure: None makes a new one. Returns the matplotlib figure.

    >>> masking(np.ones((4, 4)), 1 - np.eye(4), np.eye(4, dtype=bool)).axes[1].get_title()
    'blind: 4 of 16 (25 %)'
    """
    patch, masked, blind = np.asarray(patch), np.asarray(masked), np.asarray(blind)
    figure = figure or plt.figure(figsize=MASKING_SIZE)
    axes = figure.subplots(1, 3)
    low, high = quantiles(patch, 0, 1)
    share = f"{blind.sum()} of {blind.size} ({100 * blind.mean():.2g} %)"
    for axis, image, title in zip(axes, (patch, patch, masked), ("patch", f"blind: {share}", "what the network sees")):
        axis.imshow(image, vmin=low, vmax=high)
        axis.set_title(title)
        axis.set_axis_off()
    axes[1].imshow(np.ma.masked_equal(blind, False), cmap="autumn", vmin=0, vmax=2)
    if blind.shape[1] <= 16:  # frames help the eye on a toy patch, and would hide a larger one
        for row, column in np.argwhere(blind):
            frame = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=3)
            axes[2].add_patch(frame)
    elif blind.sum() <= FEW:  # and few single pixels of a large one are not seen from afar
        for axis in axes[1:]:
            axis.plot(*np.argwhere(blind).T[::-1], "o", color=ORANGE, markersize=13, fillstyle="none", mew=2)
    return figure


def structure(autocorrelation, mask=None, figure=None):
    """Show how the noise of a pixel is correlated with its neighbours', and the mask as frames.

    autocorrelation: (size, size), 1 in the centre, None for the mask alone. mask: boolean, odd-sized,
    or None. figure: None makes a new one. Returns the matplotlib figure.

    >>> figure = structure(np.eye(5), mask=np.eye(3, dtype=bool))
    >>> len(figure.axes[0].patches), figure.axes[1].get_ylabel()
    (3, 'correlation')
    """
    figure = figure or plt.figure(figsize=STRUCTURE_SIZE)
    axis = figure.subplots()
    values = np.zeros(mask.shape) if autocorrelation is None else autocorrelation
    reach = [side // 2 + 0.5 for side in values.shape]
    extent = (-reach[1], reach[1], reach[0], -reach[0])
    picture = axis.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r", extent=extent)
    figure.colorbar(picture, label="correlation")
    for y, x in np.argwhere(mask) - np.array(mask.shape) // 2 if mask is not None else ():
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2))
    axis.set_xlabel("distance along x (pixels)")
    axis.set_ylabel("along y (pixels)")
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_locator(MaxNLocator(5, integer=True))  # distances are whole pixels
    return figure


def history(history, floor=None, axis=None):
    """Plot training and validation loss over the steps.

    history: of a Denoiser. floor: the noise variance in normalised units, which a blind loss
    (mean squared error) cannot beat, drawn as a dashed line. axis: None makes a new figure.
    Returns the matplotlib axis.

    >>> axis = history({"steps": [200, 400], "loss": [0.9, 0.5], "validation_loss": [None, None]}, floor=0.4)
    >>> axis.get_legend_handles_labels()[1]
    ['training loss', 'noise variance']
    """
    axis = axis or plt.subplots(figsize=(7, 3.6))[1]
    marker = "o" if len(history["steps"]) == 1 else ""  # one point alone has no line
    axis.plot(history["steps"], history["loss"], marker=marker, label="training loss")
    if any(value is not None for value in history["validation_loss"]):
        axis.plot(history["steps"], history["validation_loss"], marker=marker, label="validation loss")
    if floor is not None:
        axis.axhline(floor, color=GREY, linestyle="--", label="noise variance")
    axis.set_xlabel("training step")
    axis.set_ylabel("loss")
    if len(axis.lines) > 1:
        axis.legend(frameon=False)
    return axis


def dots(values, reference=None, label="PSNR in dB", form=".2f", axis=None):
    """Show one dot for each method on a common axis, with its value; a line marks the reference.

    A bar would have to begin at 0 to be honest; dots are compared by their places alone.
    values: dictionary name -> number. reference: the name to compare with, in grey; names that
    start with "Noise2Void" or "+" are ours and get a colour of their own. form: how the numbers are written.
    axis: of matplotlib, None makes a new figure. Returns the matplotlib figure.

    >>> figure = dots({"noisy": 20.17, "Noise2Void": 27.5}, reference="noisy")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['20.17', '27.50']
    """
    alone = axis is None
    axis = plt.subplots(figsize=(10, 0.5 * len(values) + 1))[1] if alone else axis
    for row, (name, value) in enumerate(values.items()):
        colour = GREY if name == reference else BLUE if name.startswith(("Noise2Void", "+")) else ORANGE
        axis.plot(value, row, "o", color=colour, markersize=11)
        axis.annotate(f"{value:{form}}", (value, row), (11, 0), textcoords="offset points", va="center")
    if reference is not None:
        axis.axvline(values[reference], color=GREY, linestyle="--", linewidth=1.5, zorder=0)
    axis.set_yticks(range(len(values)), values)
    axis.set(xlabel=label, ylim=(len(values) - 0.4, -0.6))
    axis.margins(x=0.15)
    axis.grid(axis="y", color="#dddddd")
    if alone:
        written = ", ".join(f"{name} {value:{form}}" for name, value in values.items())
        axis.figure.set_label(f"Dots on a common axis, {label}: {written}.")
    return axis.figure
