"""Waves in the noise (mains hum, interference, grids, converters): found, fitted to a page, and told from texture.

page -> differences of neighbours, clipped -> peaks of the spectrum -> those with one phase all over the page.
"""

import itertools
from typing import NamedTuple

import numpy as np
import scipy.ndimage

FALSE_WAVES = 0.001  # of white noise alone, at most this share of pages has a peak that is looked at any further
ON_AXES = 4  # times the power around: along the axes, where images have edges, blocks of the page decide alone
FAST, OFFSET = 0.15, 4  # cycles a pixel; times the power beside an axis, above which lines are offset at random
MOST_WAVES = 32  # of one page: a grid's harmonics
LONGEST = 4  # periods in a page, at least: slower ones look like shading
SMALLEST = 64  # pixels a side: of less there are not enough blocks to compare
LARGEST = 512  # pixels a side in which waves are looked for: more shows no more
WEAKEST = 0.05  # of the noise's deviation: less does no harm
CLIP = 3  # deviations of the differences between neighbours: what is beyond is an edge
BOTH = (np.conj, np.asarray)
FITS = 8  # rounds that make the clipped fit as good as one to noise without edges


class Wave(NamedTuple):
    """A wave amplitude * cos(2 pi (y * row + x * column) + phase), the same all over a page.

    y, x: cycles a pixel along each axis, at most 0.5. amplitude: in intensity units.
    """

    y: float
    x: float
    amplitude: float

    @property
    def period(self):
        """The distance of two crests, in pixels."""
        return float(1 / np.hypot(self.y, self.x))

    @property
    def angle(self):
        """The direction in which the wave runs, in degrees from the x axis towards larger row numbers, -90 to 90."""
        return float(np.degrees(np.arctan2(self.y, self.x)))


def find_waves(page):
    """Find the waves that run through all of a page with one phase (a periodic texture does not).

    Differences of neighbours are clipped, so that edges count little. A peak must stand out of its neighbourhood
    in the spectrum (FALSE_WAVES), and its phase and strength must be the same in the blocks of the
    page, in the calm ones too: that tells a wave in the noise from brick, fabric or print.

    page: (Y, X), intensity units. Returns a list of Wave, strongest peak first.

    >>> rows, columns = np.mgrid[:128, :128]
    >>> hum = 14 * np.cos(2 * np.pi * (columns + 0.5 * rows) / 8)
    >>> [wave] = find_waves(hum + np.random.default_rng(0).normal(0, 10, hum.shape))
    >>> round(wave.period, 1), round(wave.angle), round(wave.amplitude)
    (7.2, 27, 14)
    """
    whole = np.asarray(page, np.float64)
    page = _middle(whole)
    slopes, scales = _slopes(page)
    if min(scales) <= 0 or min(page.shape) < SMALLEST:
        return []
    found = []
    for _ in range(3):
        rest = _clipped(_without(slopes, found, _amplitudes(slopes, scales, found)), scales)
        new = [f for f in _peaks(rest) if not any(same_wave(f, other, page.shape) for other in found)]
        new = [f for number, f in enumerate(new) if not any(same_wave(f, other, page.shape) for other in new[:number])]
        new = [f for f in new if _everywhere(rest, f)]
        new += [f for f in _overtones(found + new, page.shape) if _everywhere(rest, f, coherence=0.3, alike=0.3)]
        if not new:
            break
        found = (found + new)[:MOST_WAVES]
        found = [_polished(slopes, scales, found, number) for number in range(len(found))]
    if max(whole.shape) > LARGEST:
        found = [_along_all(whole, f) for f in found]
    amplitudes, least = np.abs(_amplitudes(slopes, scales, found)), WEAKEST * min(scales) / np.sqrt(2)
    return [Wave(*map(float, f), float(a)) for f, a in zip(found, amplitudes) if a > least]


def wave_amplitudes(page, frequencies):
    """Return how strong waves of known frequencies are on a page, (K,) in intensity units: half their heights."""
    page = np.asarray(page, np.float64)
    amplitudes = _amplitudes(*_slopes(page), [np.asarray(f, np.float64) for f in frequencies])
    mirrors = np.array([is_own_mirror(f) for f in frequencies])
    return np.where(mirrors, np.abs(amplitudes.real), np.abs(amplitudes))


def fitted_waves(page, frequencies):
    """Fit waves of known frequencies to a page and return their sum, (Y, X) in intensity units.

    frequencies: pairs (y, x) in cycles a pixel. Each page has amplitudes and phases of its own. Edges hardly count.

    >>> rows, columns = np.mgrid[:128, :128]
    >>> hum = 14 * np.cos(2 * np.pi * columns / 8 + 1)
    >>> fitted = fitted_waves(hum + np.random.default_rng(0).normal(0, 10, hum.shape), [(0, 1 / 8)])
    >>> round(float(np.abs(fitted - hum).max()))
    0
    """
    page = np.asarray(page, np.float64)
    slopes, scales = _slopes(page)
    frequencies = [np.asarray(f, np.float64) for f in frequencies]
    amplitudes = _amplitudes(slopes, scales, frequencies)
    down, right, _ = _turns(page.shape, frequencies)
    return ((down * amplitudes) @ right).real


def _middle(page):
    return page[tuple(map(_middle_part, page.shape))]


def _slopes(page):
    """Return the differences of a page to the next row and column, (2, Y - 1, X - 1), and their robust deviations."""
    down, right = np.diff(page, axis=0)[:, :-1], np.diff(page, axis=1)[:-1]
    slopes = np.stack([down, right])
    return slopes, np.median(np.abs(slopes), axis=(1, 2)) / 0.6745


def _clipped(slopes, scales):
    limit = CLIP * scales[:, None, None]
    return np.clip(slopes, -limit, limit)


def _turns(shape, frequencies):
    """Return exp(2 pi i f n) along each axis, (Y, K) and (K, X), and what the slopes of such waves are, (2, K)."""
    y, x = np.array(frequencies, np.float64).reshape(-1, 2).T
    down = np.exp(2j * np.pi * np.arange(shape[0])[:, None] * y)
    right = np.exp(2j * np.pi * x[:, None] * np.arange(shape[1]))
    return down, right, np.exp(2j * np.pi * np.array([y, x])) - 1


def _without(slopes, frequencies, amplitudes):
    """Return the slopes less those of waves with complex amplitudes."""
    if not frequencies:
        return slopes
    down, right, steps = _turns(slopes.shape[1:], frequencies)
    return np.stack([slope - ((down * amplitudes * step) @ right).real for slope, step in zip(slopes, steps)])


def _amplitudes(slopes, scales, frequencies):
    """Fit complex amplitudes of waves to slopes that hold edges: what is left is clipped and fitted again (Huber)."""
    amplitudes = np.zeros(len(frequencies), complex)
    if not len(frequencies):
        return amplitudes
    down, right, steps = _turns(slopes.shape[1:], frequencies)
    # The real parts of a * exp(i ...) and their products with each other: waves need not be orthogonal on a page.
    same, mirrored = (sum(_products(f(down), f(right), f(step), down, right, step) for step in steps) for f in BOTH)
    products = np.block(
        [
            [(same + mirrored).real, -(same + mirrored).imag],
            [-(same + mirrored).imag.T, (same - mirrored).real],
        ]
    )
    for _ in range(FITS):
        rest = _clipped(_without(slopes, frequencies, amplitudes), scales)
        held = _projected(rest, frequencies) * slopes[0].size * (np.abs(steps) ** 2).sum(axis=0)
        more = np.linalg.lstsq(products / 2, np.concatenate([held.real, held.imag]), rcond=1e-6)[0]
        amplitudes = amplitudes + more[: len(more) // 2] + 1j * more[len(more) // 2 :]
    return amplitudes


def _products(down, right, step, other_down, other_right, other_step):
    """Return the sums of products of waves and others over all pixels, (K, K)."""
    return (down.T @ other_down) * (right @ other_right.T) * np.outer(step, other_step)


def _projected(slopes, frequencies):
    """Return how much of each wave slopes hold: half its complex amplitude, (K,); 0 of frequency 0, which has none."""
    down, right, steps = _turns(slopes.shape[1:], frequencies)
    total = sum(
        np.conj(step) * np.einsum("yk,yk->k", down.conj(), slope @ right.conj().T) for step, slope in zip(steps, slopes)
    )
    size = slopes[0].size * (np.abs(steps) ** 2).sum(axis=0)
    return np.divide(total, size, out=np.zeros_like(total), where=size > 0)


def _peaks(slopes):
    """Return the frequencies (y, x) of peaks in the spectrum that chance alone hardly makes, strongest first."""
    shape = slopes.shape[1:]
    window = np.hanning(shape[0] + 2)[1:-1, None] * np.hanning(shape[1] + 2)[1:-1]
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    steps = [np.exp(2j * np.pi * y) - 1, np.exp(2j * np.pi * x) - 1]
    # The image whose slopes these are nearest to (Frankot & Chellappa 1988): edges are gone, white noise is white.
    image = sum(np.conj(step) * np.fft.rfft2(window * slope) for step, slope in zip(steps, slopes))
    power = np.abs(image / np.maximum(sum(np.abs(step) ** 2 for step in steps), 1e-12)) ** 2
    ratio = power / _smooth_spectrum(power, y, x)
    ratio[np.hypot(y * shape[0], x * shape[1]) < LONGEST] = 0
    limit = np.full(ratio.shape, np.log(ratio.size / FALSE_WAVES))  # power of noise has an exponential distribution
    fast_y, fast_x = np.abs(y[:, 0]) > FAST, x > FAST
    beside = np.median(power[fast_y, 3:12]), np.median(power[3:12, fast_x])
    for lines, along, around in (
        (np.s_[:, :2], power[fast_y, 0], beside[0]),
        ([0, 1, -1], power[0, fast_x], beside[1]),
    ):
        # Where whole rows (columns) are offset, each frequency of the axis is the same everywhere.
        offset = np.median(along) > OFFSET * around
        limit[lines] = np.log(power.shape[0] / FALSE_WAVES) if offset else ON_AXES
    high = (ratio == scipy.ndimage.maximum_filter(ratio, 5, mode="wrap")) & (ratio > limit)
    places = np.argwhere(high)[np.argsort(-ratio[high])][:MOST_WAVES]
    refined = [_refined(slopes * window, (y[i, 0], x[j])) for i, j in places]
    # Beside a strong edge or a shade the search walks down to frequency 0: that is no wave.
    return [f for f in refined if np.hypot(*f * shape) >= LONGEST - 0.5]


def _smooth_spectrum(power, y, x):
    """Return the mean power around each frequency, peaks aside: the largest of the means of several neighbourhoods."""
    # Images have ever more power towards frequency 0; times the frequency's square they have about as much everywhere.
    rise = y**2 + x**2 + 1 / power.size
    flat = power * rise
    rows, columns = (-length % 8 for length in flat.shape)
    tiles = np.pad(flat, ((0, rows), (0, columns)), mode="reflect")
    tiles = tiles.reshape(tiles.shape[0] // 8, 8, tiles.shape[1] // 8, 8)
    around = np.median(tiles, axis=(1, 3)).repeat(8, axis=0).repeat(8, axis=1)[: flat.shape[0], : flat.shape[1]]
    ring = np.round(12 * np.log2(rise / rise.min()) / 2).astype(int)
    numbers = np.unique(ring)
    means = np.zeros(ring.max() + 1)
    means[numbers] = scipy.ndimage.median(flat, ring, numbers)
    around = np.maximum(around, means[ring])
    # Offsets of whole rows and columns, and the page's borders, make the axes a neighbourhood of their own.
    for line in (np.s_[:, 0], np.s_[:, 1], np.s_[:, 2]):
        around[line] = np.maximum(around[line], scipy.ndimage.median_filter(flat[line], 31, mode="wrap"))
    for line in (-2, -1, 0, 1, 2):
        around[line] = np.maximum(around[line], scipy.ndimage.median_filter(flat[line], 31, mode="mirror"))
    return around / np.log(2) / rise


def _refined(slopes, start, bins=0.5):
    """Return the frequency near `start` that slopes hold most of, to a hundredth of a bin, x from 0 to 0.5."""
    best, step = np.array(start), bins / np.array(slopes.shape[1:])
    around = np.array([(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)])
    for _ in range(16):
        tried = best + around * step
        chosen = np.abs(_projected(slopes, list(tried))).argmax()
        best = tried[chosen]
        if (around[chosen] == 0).all():
            step = step / 2
        if (step * slopes.shape[1:]).max() < 0.004:
            break
    best = (best + 0.5) % 1 - 0.5
    best = np.where(np.abs(np.abs(best) - 0.5) < 0.1 / np.array(slopes.shape[1:]), 0.5, best)
    best = np.where(np.abs(best) < 0.02 / np.array(slopes.shape[1:]), 0, best)
    return -best if best[1] < 0 or (best[1] == 0 and best[0] < 0) else best


def _along_all(page, f):
    """Return a frequency, found in the middle of a page, as exactly as all of the page tells it."""
    for axis in (0, 1):
        rows, columns = (slice(None) if axis == n else _middle_part(page.shape[n]) for n in (0, 1))
        slopes, scales = _slopes(page[rows, columns])
        f = _refined(_clipped(slopes, scales), f, bins=0.5)
    return f


def _middle_part(length):
    start = max(0, length // 2 - LARGEST // 2)
    return slice(start, start + LARGEST)


def _polished(slopes, scales, frequencies, number):
    """Return one of the frequencies again, from slopes without the other waves, and without a window."""
    others = frequencies[:number] + frequencies[number + 1 :]
    rest = _clipped(_without(slopes, others, _amplitudes(slopes, scales, others)), scales)
    return _refined(rest, frequencies[number], bins=0.1)


def is_own_mirror(f):
    """Return whether a wave turns by 0 or half a cycle from pixel to pixel along both axes."""
    return bool(np.isin(np.abs(f), (0, 0.5)).all())


def same_wave(f, other, shape):
    """Return whether two frequencies, or one and the other's mirror image, are within a bin."""
    bins = np.array(shape)
    return min(np.abs(((f - sign * other + 0.5) % 1 - 0.5) * bins).max() for sign in (1, -1)) < 1.5


def _overtones(frequencies, shape):
    """Return the missing ones of frequencies of which three or more are multiples of one: a grid has all of them."""
    bins, missing = np.array(shape), []
    for one, other in itertools.combinations(frequencies, 2):
        base = one - other
        orders = [np.round((f @ base) / (base @ base)) for f in frequencies]
        fits = [np.abs(f - order * base).max() < 1 / bins.min() for f, order in zip(frequencies, orders)]
        if np.abs(base * bins).max() < LONGEST or sum(fits) < 3:
            continue
        multiples = [order * base for order in range(1, int(0.5 / np.abs(base).max() + 0.01) + 1)]
        known = [*frequencies, *missing]
        missing += [f for f in multiples if not any(same_wave(f, other, shape) for other in known)]
    return missing


def _everywhere(slopes, f, coherence=0.7, alike=0.6):
    """Return whether a wave has one phase and one amplitude in all of a page, its calm places included."""
    shape = np.array(slopes.shape[1:])
    side = int(np.clip(shape.min() // 4, 16, 64))
    down, right, steps = _turns(shape, [f])
    turned = sum(np.conj(step[0]) * slope for step, slope in zip(steps, slopes)) * (down @ right).conj()
    strength, energy = _blocks(turned, side), _blocks((slopes**2).sum(axis=0), side)
    mean = strength.mean()
    near = np.abs(strength - mean) < 0.5 * np.abs(mean)
    calm = energy <= np.quantile(energy, 0.3)
    found = np.abs(mean) ** 2 / np.mean(np.abs(strength) ** 2)
    whole = found > coherence and near.mean() > alike and near[calm].mean() > alike + 0.1
    return bool(whole and _moves_all(slopes, steps[:, 0], down @ right))


def _moves_all(slopes, steps, turns):
    """Return whether a wave moves bright and dark pixels alike: print that is set in lines moves the dark ones.

    The slopes at each eighth of a turn have two quartiles, and both must go up and down with the wave.
    """
    steepest = np.abs(steps).argmax()
    slope, phase = slopes[steepest].ravel(), np.angle(turns * np.exp(1j * np.angle(steps[steepest]))).ravel()
    eighth = np.floor((phase / (2 * np.pi) + 1 / 16) * 8).astype(int) % 8
    order = np.argsort(eighth, kind="stable")
    groups = np.split(slope[order], np.searchsorted(eighth[order], np.arange(1, 8)))
    seen = np.array([number for number, group in enumerate(groups) if group.size])
    middles = np.array([[group.mean(), *np.quantile(group, (0.25, 0.75))] for group in groups if group.size])
    wave = np.exp(-2j * np.pi * seen / 8)
    mean, *quartiles = np.abs(wave @ (middles - middles.mean(axis=0)))
    return min(quartiles) > 0.6 * mean


def _blocks(values, side):
    rows, columns = (length // side for length in values.shape)
    return values[: rows * side, : columns * side].reshape(rows, side, columns, side).mean(axis=(1, 3))
