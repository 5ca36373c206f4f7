"""What the noise is measured on: some pages of one channel, cut to where they hold measurements, gaps filled."""

from typing import NamedTuple

import numpy as np

from ..images.arrays import check_values, to_stack
from ..images.gaps import MEASURED, checked_valid, fill_gaps, find_gaps
from .covariance import checked_channel

FEW_PAGES = 16  # of a stack, from which the law is measured: plenty
LARGEST_SIDE, MOST_PIXELS = 4096, 2**24  # of a page, from its middle; and of all: so that a measurement fits the memory


class Pages(NamedTuple):
    """Some pages of one channel: values, float64 (N, Y, X), all finite; usable, booleans alike; left_out, in words."""

    values: np.ndarray
    usable: np.ndarray
    left_out: str = ""


def channel_pages(images, channel=None, channel_axis=None, valid=None):
    """Check the images and return some pages of the channel asked for, without empty frames and borders: Pages."""
    stack = to_stack(images, channel_axis)
    valid = checked_valid(valid, stack, np.shape(images), channel_axis)
    channel = checked_channel(stack.shape[1], channel)
    top, left = (max(0, (length - LARGEST_SIDE) // 2) for length in stack.shape[2:])
    part = np.s_[:, channel : channel + 1, top : top + LARGEST_SIDE, left : left + LARGEST_SIDE]
    middle = stack[part]
    some = slice(None, None, -(-len(middle) // min(FEW_PAGES, max(1, MOST_PIXELS // middle[0].size))))
    middle = middle[some]
    check_values(middle)
    gaps = find_gaps(middle, None if valid is None else valid[part][some])
    values, usable = middle[:, 0], np.ones((len(middle), *middle.shape[2:]), bool)
    for n in gaps.codes:
        usable[n] = gaps.of(n)[0] == MEASURED
    if not usable.all():
        values, usable = _cut(values, usable)
    return Pages(fill_gaps(values.astype(np.float64), ~usable), usable, gaps.words)


def _cut(values, usable):
    """Return pages without the empty ones and without borders of which less than half is usable; if any are left."""
    full = usable.any(axis=(1, 2))
    if not full.any():
        return values, np.ones_like(usable)  # constant: nothing to measure, which is said later
    values, usable = values[full], usable[full]
    for axis in (1, 2):
        lines = np.flatnonzero(usable.mean(axis=(0, 3 - axis)) >= 0.5)
        if lines.size:
            inside = (slice(None),) * axis + (slice(lines[0], lines[-1] + 1),)
            values, usable = values[inside], usable[inside]
    return values, usable
