"""Colours, transparency and palettes, treated in one way whatever file they come from.

A colour photograph becomes grey, unless its colours are asked for as channels. Stains are never averaged: they are
measurements of their own. A palette that only rises from dark to bright is how intensities are shown, not a photograph.
"""

import warnings

import numpy as np

OPAQUE = 0.999  # of the largest value: what is less transparent than that is not worth a sentence


def is_ramp(palette):
    """Tell a look-up table of intensities, whose colours (N, 3) all rise with their number, from a photograph's."""
    return bool((np.diff(np.asarray(palette).astype(np.int64), axis=0) >= 0).all())


def without_alpha(image, colours, name):
    """Return the colours (..., Y, X, S) of an image, without the transparency that may follow them, which is named."""
    if image.shape[-1] > colours:
        alpha = image[..., colours]
        largest = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "ui" else 1
        if alpha.min() < OPAQUE * largest:
            warnings.warn(f"{name} is transparent in places: its transparency is left out", stacklevel=2)
    return image[..., :colours]


def grey_or_channels(image, channel_axis):
    """Return a photograph (..., Y, X, S) in grey, as the mean of its colours, or with its colours at channel_axis.

    One colour is grey as it is; the mean of several is float32, in the units of the file.

    >>> grey_or_channels(np.uint8([[[0, 30, 60]]]), None), grey_or_channels(np.uint8([[[0, 30, 60]]]), 0).shape
    (array([[30.]], dtype=float32), (3, 1, 1))
    """
    if image.shape[-1] == 1:
        return image[..., 0]
    return image.mean(axis=-1).astype(np.float32) if channel_axis is None else moved(image, -1, channel_axis)


def moved(image, axis, channel_axis):
    """Return an image with the axis of its channels at channel_axis; raise ValueError if it has no such axis."""
    if not isinstance(channel_axis, (int, np.integer)) or not -image.ndim <= channel_axis < image.ndim:
        raise ValueError(
            f"channel_axis={channel_axis!r} does not fit an image of {image.ndim} axes: give a number from "
            f"{-image.ndim} to {image.ndim - 1}, -1 for (..., Y, X, channels)"
        )
    return np.moveaxis(image, axis, channel_axis)
