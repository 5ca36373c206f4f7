"""Places that hold no measurement: found once, counted, left out of all that is learned, and filled for the network.

A constant border, an empty frame, a saturated spot, NaN: each pixel gets a code, MEASURED, BROKEN or GAP.
"""

import functools
import math
import zlib
from typing import NamedTuple

import numpy as np
import scipy.ndimage as ndi

from .arrays import as_array, some_pixels, to_stack
from .hot_pixels import broken_pixels

MEASURED, BROKEN, GAP = 0, 1, 2  # broken pixels are predicted from their neighbours; a gap stays as it came
TILE = 8  # pixels a side: noise is not the same in all of them
CERTAIN = 30  # -log of the chance that pixels are equal, from which they are no measurement
MOST_ALIKE = 0.1  # of the pixels around a constant place
MOST_VALUES = 64  # of constant lines
SMALLEST_PART = 0.001  # of a page, that a constant value must fill
LARGE = 2**27  # pixels of a stack, from which codes are kept compressed: a thousandth of a byte a pixel
NEAR = 11  # pixels: the window whose mean fills a gap
LEAST_PAGES = 4  # of a stack, in whose mean broken pixels are looked for as well


class Gaps(NamedTuple):
    """What is left out of a stack (N, C, Y, X).

    codes: for each image with such places, by its number, uint8 (C, Y, X) of MEASURED, BROKEN and GAP; of a large
    stack as compressed bytes: see `of`. words: what they are, for a sentence, "" if there are none.
    """

    codes: dict
    words: str = ""

    def of(self, n):
        """Return the codes of image n, uint8 (C, Y, X), or None if all of it is measured."""
        codes = self.codes.get(n)
        return codes if codes is None or isinstance(codes, np.ndarray) else _unpacked(codes)

    def missing(self, stack):
        """Return where a stack (N, C, Y, X) is not measured, booleans of its shape."""
        missing = np.zeros(stack.shape, bool)
        for n in self.codes:
            missing[n] = self.of(n) != MEASURED
        return missing


def find_gaps(stack, valid=None):
    """Find the places of a stack (N, C, Y, X) that hold no measurement, page by page.

    valid: boolean, (Y, X) or of the stack's shape or any that NumPy broadcasts to it, False where there is none; None:
    what is found is all. Constant are whole rows and columns and wide places of one value where chance cannot be
    the cause, and spots at the page's largest or smallest value; broken pixels: see `broken_pixels`.
    Returns Gaps.

    >>> noisy = np.random.default_rng(0).normal(100, 10, (1, 1, 64, 64))
    >>> noisy[..., 5, 7], noisy[..., 60:, :] = 1000, 100
    >>> find_gaps(noisy).words
    '6.2% constant at 100, 1 broken pixel'
    """
    codes, found, total = {}, {}, np.zeros(stack.shape[1:]) if len(stack) >= LEAST_PAGES else None
    for n, image in enumerate(stack):
        one = np.zeros(image.shape, np.uint8)
        for c, page in enumerate(image):
            _mark_page(page, None if valid is None else valid[n, c], one[c], found, n)
        if one.any():
            codes[n] = one if stack.size < LARGE else _packed(one)
        if total is not None:
            total += np.where(one == MEASURED, image, 0) if one.any() else image  # a cosmic ray is not there again
    if total is not None:
        _mark_fixed(total, len(stack), codes, found)
    return Gaps(codes, _in_words(found, stack.shape))


def _packed(codes):
    return zlib.compress(codes.tobytes(), 1), codes.shape


@functools.lru_cache(maxsize=16)
def _unpacked(packed):
    return np.frombuffer(zlib.decompress(packed[0]), np.uint8).reshape(packed[1])


def _mark_page(page, valid, codes, found, n):
    """Write the codes of one page (Y, X), and count by kind what was found in image n."""
    if page.dtype.kind == "f":
        _mark(codes, ~np.isfinite(page), found, "NaN or infinite")
    if valid is not None:
        _mark(codes, ~valid, found, "not valid as you say")
    if codes.all():
        return
    known = page[codes == MEASURED] if codes.any() else page
    if known.min() == known.max():
        codes[:] = GAP
        empty = found.setdefault("empty", {})
        empty[n] = empty.get(n, 0) + 1  # of its channels
        return
    for value, lines in _constant_lines(page, codes):
        _mark(codes, lines, found, ("constant", value))
    for value in _constant_values(page, codes):
        _mark(codes, _constant_places(page, value, codes), found, ("constant", value))
    if codes.any():  # a line may be dead between borders
        for value, lines in _constant_lines(page, codes):
            _mark(codes, lines, found, ("constant", value))
    if not codes.all():
        measured = codes == MEASURED
        _mark(codes, broken_pixels(fill_gaps(page, ~measured), measured), found, "broken", BROKEN)


def _mark(codes, where, found, kind, code=GAP):
    """Give measured pixels a code, and count them."""
    where = where & (codes == MEASURED)
    count = int(np.count_nonzero(where))
    if count:
        codes[where] = code
        found[kind] = found.get(kind, 0) + count


def _mark_fixed(total, pages, codes, found):
    """Mark the pixels that are broken in the mean of all images, where noise is weaker, in each of them."""
    for c, page in enumerate(total):
        measured = np.full(page.shape, pages)
        for n in codes:
            measured -= Gaps(codes).of(n)[c] != MEASURED
        fixed = broken_pixels(fill_gaps(page / np.maximum(measured, 1), measured == 0), measured > 0)
        if not fixed.any():
            continue
        for n in range(pages):
            one = np.zeros(total.shape, np.uint8) if n not in codes else Gaps(codes).of(n).copy()
            _mark(one[c], fixed, found, "broken", BROKEN)
            codes[n] = one if pages * total.size < LARGE else _packed(one)


def _constant_values(page, codes):
    """Return the values, some at most, that may fill places of a page: cheap, for most pages have none."""
    rows, columns = (length // TILE * TILE for length in page.shape)
    tiles = page[:rows, :columns].reshape(rows // TILE, TILE, columns // TILE, TILE)
    first = tiles[:, 0, :, 0]
    maybe = (first == tiles[:, 0, :, 1]) & (first == tiles[:, -1, :, -1])  # cheap, and mostly none
    some = tiles.swapaxes(1, 2)[maybe]
    values = [some[(some == some[:, :1, :1]).all(axis=(1, 2)), 0, 0]]
    values += [[value] for value in _extremes(page, codes) if np.count_nonzero(page == value) > TILE]
    values, counts = np.unique(np.concatenate(values), return_counts=True)
    return values[np.argsort(-counts, kind="stable")][:4]


def _constant_lines(page, codes):
    """Return for each value of rows or columns whose measured pixels are all equal the value and booleans (Y, X)."""
    found, gaps = {}, codes.any()
    for lines, hidden, axis in ((page, codes > 0, 1), (page.T, codes.T > 0, 0)):
        if lines.shape[1] < TILE:
            continue
        if gaps:
            low, high = np.where(hidden, np.inf, lines).min(axis=1), np.where(hidden, -np.inf, lines).max(axis=1)
            constant = np.flatnonzero((low == high) & ((~hidden).sum(axis=1) >= TILE))
        else:
            low = lines[:, 0]
            maybe = np.flatnonzero((low == lines[:, 1]) & (low == lines[:, -1]))  # cheap, and mostly none
            constant = maybe[(lines[maybe] == lines[maybe, :1]).all(axis=1)]
        if not constant.size:
            continue
        rest = np.delete(lines, constant, axis=0)[~np.delete(hidden, constant, axis=0)]
        for value in np.unique(low[constant])[:MOST_VALUES]:
            at = constant[low[constant] == value]
            if rest.size and _chance((rest == value).mean(), (~hidden[at]).sum(axis=1).min()) > CERTAIN:
                where = np.isin(np.arange(len(lines)), at)
                found.setdefault(value, np.zeros(page.shape, bool))[:] |= np.expand_dims(where, axis)
    return found.items()


def _extremes(page, codes):
    """Return the smallest and the largest value of the measured pixels of a page."""
    known = page[codes == MEASURED] if codes.any() else page
    return known.min(), known.max()


def _constant_places(page, value, codes):
    """Return where a page (Y, X) is constant at a value, so that chance cannot be the cause."""
    equal, (darkest, brightest) = (page == value) & (codes == MEASURED), _extremes(page, codes)
    extreme = value in (darkest, brightest)
    around = np.pad(equal, 1, mode="edge")  # places go on beyond the page
    wide = ndi.binary_opening(around, np.ones((3, 3) if extreme else (5, 5)))[1:-1, 1:-1]
    if wide.sum() >= max(9, SMALLEST_PART * page.size if not extreme else 0):
        return _certain_places(wide, equal if value > darkest else page <= value + 2 * _step(page))
    return np.zeros(page.shape, bool)


def _step(page):
    """Return the smallest difference of two values of a page: 1 of counts, 0 or 1 where it is dark."""
    values = np.unique(some_pixels(page, 2**16).astype(np.float64))
    steps = np.diff(values[np.isfinite(values)])
    return steps.min() if steps.size else 0.0


def _certain_places(wide, equal):
    """Return those connected parts of `wide` that chance cannot make, values being equal as often as around them."""
    labels, count = ndi.label(wide)
    size = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    near, far = (ndi.maximum_filter(labels, side) for side in (NEAR // 2, NEAR + 2))
    ring = np.where(near == 0, far, 0)
    around = np.bincount(ring.ravel(), minlength=count + 1)[1:]
    alike = np.bincount(ring.ravel(), equal.ravel(), minlength=count + 1)[1:]
    share = np.where(around > 0, alike / np.maximum(around, 1), 1.0)
    certain = (share < MOST_ALIKE) & (_chance(share, size) > CERTAIN)
    return np.append(False, certain)[labels]


def _chance(share, count):
    """Return -log of the chance that so many pixels have a value that a share of others has."""
    return -count * np.log(np.maximum(share, 1e-9))


def fill_gaps(values, missing):
    """Fill the missing pixels of pages (..., Y, X) with the mean of those around them that are measured.

    missing: boolean, of the same shape, or None. Where the window of NEAR pixels holds none, a window four times as
    wide, then the page. The missing pixels may be NaN. Returns float64, or the values themselves if none is missing.

    >>> fill_gaps(np.array([[1.0, np.nan, 3.0]]), np.array([[False, True, False]]))
    array([[1., 2., 3.]])
    """
    if missing is None or not missing.any():
        return values
    values = np.where(missing, 0.0, values).astype(np.float64, order="C")  # so that a page of it is a view
    for page, hidden in zip(values.reshape(-1, *values.shape[-2:]), missing.reshape(-1, *values.shape[-2:])):
        left = hidden.copy()
        if not left.any() or left.all():
            continue
        sees = (~hidden).astype(np.float64)
        filled = page.copy()
        for side in (NEAR, 4 * NEAR + 1):
            share, mean = (ndi.uniform_filter(one, side, mode="constant") for one in (sees, page))
            reached = left & (share > 0.5 / side**2)
            filled[reached] = mean[reached] / share[reached]
            left &= ~reached
        filled[left] = page.sum() / sees.sum()
        page[:] = filled
    return values


def _in_words(found, shape):
    """Return what was found in a stack of this shape as a list in one sentence."""
    words, empty = [], found.pop("empty", {})
    for kind, count in sorted(found.items(), key=lambda item: -item[1]):
        share = count / math.prod(shape)
        what = f"constant at {kind[1]:.6g}" if isinstance(kind, tuple) else kind
        if kind == "broken":
            words.append(f"{count} broken pixel" + "s" * (count > 1))
        else:
            words.append(f"{share:.1%} {what}" if share >= 0.001 else f"{count} pixels {what}")
    if shape[0] > 1:
        whole = [n for n, channels in empty.items() if channels == shape[1]]
        for numbers, where in ((whole, ""), ([n for n in empty if n not in whole], " in some channels")):
            many = f"{len(numbers)} frames" if len(numbers) > 5 else "frame" + "s" * (len(numbers) > 1) + " "
            which = many + ", ".join(map(str, numbers)) * (len(numbers) <= 5)
            words += [f"{which} empty{where}"] if numbers else []
    return ", ".join(words)


def checked_valid(valid, stack, shape, channel_axis=None):
    """Return a mask of valid pixels, broadcast to a stack (N, C, Y, X); None stays None.

    shape, channel_axis: of the image before `to_stack`. Raises ValueError for another dtype or shape.
    """
    if valid is None:
        return None
    valid = as_array(valid, "valid")
    if valid.dtype != bool or valid.shape not in (tuple(shape), stack.shape, stack.shape[-2:]):
        raise ValueError(
            f"valid of {valid.dtype} and shape {valid.shape} is not possible: give booleans of the image's shape "
            f"{tuple(shape)} or (Y, X) = {stack.shape[-2:]}, True where a pixel is a measurement"
        )
    as_image = valid.shape == tuple(shape) and valid.shape != stack.shape[-2:]
    return np.broadcast_to(to_stack(valid, channel_axis) if as_image else valid, stack.shape)
