"""Pictures under sliders: masking, the structure of noise, the images of a stack, before and after."""

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.figure import Figure

from ..learning.masking import draw_blind_pixels, replace_blind_pixels
from ..noise.masks import ring_mask, structural_mask
from .figures import MASKING_SIZE, STAINS, STRUCTURE_SIZE, composite, masking, quantiles, structure
from .png import to_png


def explore_masking(patch, strategies=("uniform", "median", "mean", "zero", "random")):
    """Show a patch's blind pixels under a slider for the percentage and a menu for the strategy.

    patch: (Y, X) array, any units. Returns the widget; show it by making it a cell's last line.

    >>> controls, picture = explore_masking(np.eye(16)).children
    >>> {control.description: control.value for control in controls.children}
    {'percent': 11.0, 'strategy': 'uniform'}
    """
    percentage = widgets.FloatLogSlider(
        value=11, base=10, min=-0.7, max=1.6, step=0.1, description="percent", continuous_update=False
    )
    strategy = widgets.Dropdown(options=strategies, description="strategy")
    batch = torch.as_tensor(np.ascontiguousarray(patch), dtype=torch.float32)[None, None]
    batch = batch - batch.nanmean()  # so that "zero" is the mean, as in training

    def draw(percentage, strategy):
        generator = torch.Generator().manual_seed(0)
        blind = draw_blind_pixels(batch.shape, percentage, generator)
        masked = replace_blind_pixels(batch, blind, strategy, generator=generator)
        return masking(batch[0, 0], masked[0, 0], blind[0, 0], Figure(figsize=MASKING_SIZE, layout="constrained"))

    return redrawn(draw, [percentage, strategy])


def explore_structure(autocovariance):
    """Show the mask on the noise's autocorrelation, under a menu for the method and sliders for its settings.

    autocovariance: of `noise_autocovariance`. threshold belongs to the flat patches, percentile (that of the
    innermost ring) to the rings; size is the side of the square that is looked at, in pixels.
    Returns the widget.

    >>> from n2vlib import noise_autocovariance
    >>> measured = noise_autocovariance(np.random.default_rng(0).normal(size=(64, 64)))
    >>> controls, picture = explore_structure(measured).children
    >>> [control.description for control in controls.children if not control.disabled]
    ['method', 'threshold', 'size']
    """
    method = widgets.Dropdown(options=["flat patches", "rings"], description="method")
    threshold = widgets.FloatSlider(
        value=0.15, min=0.02, max=0.9, step=0.01, description="threshold", continuous_update=False
    )
    percentile = widgets.IntSlider(value=30, min=5, max=95, description="percentile", continuous_update=False)
    whole = len(autocovariance.values)
    size = widgets.IntSlider(value=whole, min=3, max=whole, step=2, description="size", continuous_update=False)

    def draw(method, threshold, percentile, size):
        part = slice((whole - size) // 2, (whole + size) // 2)
        seen = autocovariance._replace(
            values=autocovariance.values[part, part],
            error=np.broadcast_to(autocovariance.error, (whole, whole))[part, part],
        )
        flat = method == "flat patches"
        controls[1].disabled, controls[2].disabled = not flat, flat  # grey: it belongs to the other method
        mask = structural_mask(seen, threshold) if flat else ring_mask(seen.values, percentile, max_true_pixels=None)
        figure = Figure(figsize=STRUCTURE_SIZE, layout="constrained")
        return structure(seen.values / seen.values.max(), mask, figure)

    controls = [method, threshold, percentile, size]
    return redrawn(draw, controls, height=330)


def explore_stack(stack, names):
    """Show an image of a stack and its histogram under a slider for the image and a menu for the channel.

    stack: (N, C, Y, X), array or memory map, of which one image at a time is read. names: of the channels.
    Returns the widget.

    >>> stack = np.random.default_rng(0).poisson(9, (3, 2, 16, 16))
    >>> controls, picture = explore_stack(stack, ["nuclei", "actin"]).children
    >>> image, channel = controls.children
    >>> image.max, channel.options
    (2, ('all, in colours', 'nuclei', 'actin'))
    """
    image = widgets.IntSlider(max=len(stack) - 1, description="image", continuous_update=False)
    channel = widgets.Dropdown(options=["all, in colours", *names], description="channel")

    def draw(image, channel):
        page = np.asarray(stack[image])
        counts, page = np.issubdtype(page.dtype, np.integer), page.astype(np.float32)
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
        if channel in names:
            single = page[names.index(channel)]
            low, high = quantiles(single, 0.01, 0.997)
            left.imshow(single, vmin=low, vmax=high)
        else:
            left.imshow(composite(page))
        left.set_axis_off()
        low, high = quantiles(page, 0, 1)
        step = (high - low) / 60 or 1
        step = np.ceil(step) if counts else step  # or some bins would hold one integer, others two: a comb
        bins = np.arange(low - step / 2, high + step, step)
        for name in [channel] if channel in names else names:
            values, colour = page[names.index(name)].ravel(), STAINS[names.index(name) % len(STAINS)]
            values = values[np.isfinite(values)]
            right.hist(values, bins, histtype="step", log=True, label=name, color=colour, linewidth=2)
        right.set_xlabel("intensity")
        right.set_ylabel("pixels")
        right.legend(frameon=False)
        return figure

    return redrawn(draw, [image, channel], height=320)


def before_after(before, after):
    """Show two images as one, split by a slider: `before` on its left, `after` on its right.

    before, after: (Y, X) or colour (Y, X, 3), in one unit: both are shown with the same contrast. Returns the widget.

    >>> controls, picture = before_after(np.zeros((8, 8)), np.eye(8)).children
    >>> controls.children[0].value, picture.format
    (0.5, 'png')
    """
    split = widgets.FloatSlider(value=0.5, max=1.0, step=0.02, description="split", continuous_update=False)
    low, high = quantiles(after, 0.005, 0.997)
    if np.ndim(after) == 3 and high > low:  # of colours matplotlib takes 0 to 1 alone, whatever vmin and vmax are
        before, after = (np.nan_to_num((image - low) / (high - low)).clip(0, 1) for image in (before, after))

    def draw(split):
        column = round(split * before.shape[1])
        figure = Figure(figsize=(7, 7 * before.shape[0] / before.shape[1]), layout="constrained")
        axis = figure.subplots()
        axis.imshow(np.concatenate([before[:, :column], after[:, column:]], axis=1), vmin=low, vmax=high)
        axis.axvline(column - 0.5, color="white", linewidth=2)
        axis.set_axis_off()
        return figure

    return redrawn(draw, [split], height=420)


def redrawn(draw, controls, height=270):
    """Return a widget that shows `draw(*values of the controls)`, a matplotlib Figure, anew at each change.

    controls: sliders and menus of ipywidgets. height: of the picture on screen, in pixels. `draw` must make a
    matplotlib.figure.Figure, not one of pyplot: while another cell runs, widgets are served from a thread.

    >>> drawn, slider = [], widgets.IntSlider(3)
    >>> widget = redrawn(lambda number: drawn.append(number) or Figure(), [slider])
    >>> slider.value = 5
    >>> drawn
    [3, 5]
    """
    picture = widgets.Image(format="png", layout={"height": f"{height}px", "object_fit": "contain"})

    def update(_=None):
        picture.value = to_png(draw(*(control.value for control in controls)))

    for control in controls:
        control.observe(update, "value")
    update()
    return widgets.VBox([widgets.HBox(controls, layout={"flex_flow": "row wrap"}), picture])
