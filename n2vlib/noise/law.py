"""One law of an image's noise, measured once and used by all: neighbours, lines, waves, growth with the signal.

image -> waves -> lines -> covariance of what is left -> growth with the signal; and from the law noise drawn anew.
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.ndimage
import torch

from ..images.gaps import MEASURED, fill_gaps
from .covariance import LONG, noise_autocovariance, square_rings
from .lines import line_covariance, line_offsets
from .masks import is_compact, structural_mask
from .pages import channel_pages
from .spectrum import draw_noise, in_the_dark, noise_spectrum, split_shot_noise
from .validity import clipped_values, enlargement, grey_level, unequal_places
from .waves import Wave, find_waves, fitted_waves, is_own_mirror, same_wave, wave_amplitudes

WAVE_PAGES = 3  # of those that are measured, in which waves are looked for
MUCH_MORE = 1.25  # times the variance of the calmest patches
DARK = 0.1  # of the range of intensities, up to which nothing is seen
FEW_PATCHES = 1.6  # times the error that many patches would have: what is chosen of a few scatters more
PATCH, SMALLEST_PATCH = 24, 16  # sides of the patches in which neighbours are compared
SIZE = 11  # of a covariance, in pixels
LONG_PATCH = 48  # side of the patches where noise along a line is longer than SIZE shows
LONG_TEXTURE = 0.4  # up to which long lines may look like texture in patches that are hardly longer


@dataclass(frozen=True)
class NoiseLaw:
    """What one channel's noise is, in intensity units and pixels.

    covariance: (size, size), of a pixel and its neighbours, without lines and waves, in the dark; intensity squared.
    error: (size, size), what each value would scatter by if the noise were white. measured: as covariance, where
    the image is flat, at the mean intensity level. rows, columns: (64,), covariance of the offsets of whole rows
    (columns) at each distance; zeros: none. waves: a tuple of Wave. gain, dark: at a signal s the variance is
    higher by gain * (s - dark); gain 0: the same everywhere. texture: the correlation of neighbours, 0 to 1, that
    was taken for the image's own. tails: excess kurtosis, 0 for Gaussian noise. clipped: pairs (value, share of the
    pixels). step: between grey levels, 0 for none. enlarged: the factor by which pixels were repeated. places: ratio
    of the noise's variances in a 2x2 tile. left_out: in words, what held no measurement (see `images.gaps`).
    """

    covariance: np.ndarray = field(repr=False)
    error: np.ndarray = field(repr=False)
    measured: np.ndarray = field(repr=False)
    rows: np.ndarray = field(repr=False)
    columns: np.ndarray = field(repr=False)
    waves: tuple[Wave, ...] = ()
    gain: float = 0.0
    dark: float = 0.0
    level: float = 0.0
    texture: float = 0.0
    tails: float = 0.0
    clipped: tuple = ()
    step: float = 0.0
    enlarged: int = 1
    places: float = 1.0
    left_out: str = ""

    @property
    def lines(self):
        """The covariances of rows and columns as plain lists, as N2VConfig takes them for a channel; [] for none."""
        return [one.tolist() if one.any() else [] for one in (self.rows, self.columns)]

    @property
    def frequencies(self):
        """The waves' frequencies (y, x) as plain lists, as N2VConfig takes them for a channel."""
        return [[wave.y, wave.x] for wave in self.waves]


def noise_law(images, channel=None, channel_axis=None, size=SIZE, share=10, valid=None):
    """Measure the law of the noise on the noisy images themselves, the slow and regular parts first.

    images: (Y, X), (N, Y, X) or (N, C, Y, X), intensity units; of several channels, name one. size: of the
    covariance, odd; 41 where noise along a line is longer than 11 pixels show, if the image has 96 a side. share: of
    the calmest patches that is used, in percent. valid: booleans (Y, X) or of the images' shape, False where a pixel
    is no measurement; constant places, broken pixels and NaN are left out anyway.
    Returns a NoiseLaw. Raises ValueError for images too small (32 pixels a side at least), or without noise.

    >>> noisy = np.random.default_rng(0).normal(100, 10, (128, 128)) + 8 * (-1) ** np.arange(128)
    >>> law = noise_law(noisy)
    >>> [(round(wave.period, 1), round(wave.amplitude)) for wave in law.waves], round(law.covariance[5, 5] ** 0.5)
    ([(2.0, 8)], 10)
    """
    return law_of_pages(channel_pages(images, channel, channel_axis, valid), size, share)


def law_of_pages(some, size=SIZE, share=10):
    """Measure the law of the noise on Pages; see `noise_law`."""
    pages, usable, left_out = some
    if min(pages.shape[1:]) < 2 * SMALLEST_PATCH:
        size = "x".join(map(str, pages.shape[1:]))
        raise ValueError(
            f"an image of {size} pixels is too small to measure its noise: each side needs {2 * SMALLEST_PATCH}; plain "
            "Noise2Void needs no measurement (train, or run_two_stage with run_stage2=False)"
        )
    patch = int(np.clip(min(pages.shape[1:]) // 2, SMALLEST_PATCH, PATCH))
    size = min(size, patch - 1 - patch % 2)
    frequencies = _all_waves(pages)
    still, rows, columns = _without_lines(np.stack([page - _waves_of(page, frequencies) for page in pages]))
    measured, surer, wider, clipped = _neighbours(pages, still, usable, size, patch, share)
    texture = measured.texture
    if size >= SIZE and min(pages.shape[1:]) >= 2 * LONG_PATCH and _goes_on(measured):
        measured, surer, wider, clipped = _neighbours(pages, still, usable, max(size, LONG), LONG_PATCH, share)
    whole = np.where(np.isin(pages, [value for value, _ in clipped]) | ~usable, np.nan, still)
    covariance, (gain, dark) = _dark_and_photons(whole, surer, wider)
    return NoiseLaw(
        covariance=covariance,
        error=measured.error * (1 if patch == PATCH else FEW_PATCHES),
        measured=measured.values,
        rows=rows,
        columns=columns,
        waves=tuple(_measured_waves(pages[:: -(-len(pages) // WAVE_PAGES)], frequencies)),
        gain=float(gain),
        dark=float(dark),
        level=measured.level,
        texture=min(texture, measured.texture),  # that of the calmer patches
        tails=measured.tails,
        clipped=tuple(clipped),
        step=grey_level(pages[usable]),
        enlarged=min(enlargement(page) for page in pages),
        places=unequal_places(still[0]),
        left_out=left_out,
    )


def _without_lines(pages):
    """Measure the offsets of rows, then those of columns; return the pages without both, and the two covariances."""
    rows = line_covariance(pages)
    if rows.any():
        pages = pages - np.stack([line_offsets(page, rows) for page in pages])[:, :, None]
    columns = line_covariance(pages.transpose(0, 2, 1))
    if columns.any():
        pages = pages - np.stack([line_offsets(page.T, columns) for page in pages])[:, None, :]
    return pages, rows, columns


def _neighbours(pages, still, usable, size, patch, share):
    """Measure the autocovariance of still pages where no pixels are clipped; return it thrice, and what is clipped.

    First that of the calmest patches, which hold the least texture. Then the same correlations with the variance of all
    patches that are like them but for chance: it scatters by 1 % instead of 4 to 7 % (256x256, one half of it flat).
    Last that of all these patches, in which the texture of a photograph shows.
    """
    valid = usable
    measured = noise_autocovariance(still, size, patch, share, valid=valid)
    clipped = clipped_values(pages[usable], measured.values.max() ** 0.5)
    if clipped:  # there the noise is weaker
        valid = usable & ~np.isin(pages, [value for value, _ in clipped])
        measured = noise_autocovariance(still, size, patch, share, valid=valid)
    if measured.values[size // 2, size // 2] < np.abs(measured.values).max():
        raise ValueError("hardly any noise: what is left where the image is flat is its own structure")
    wider = noise_autocovariance(still, size, patch, share, valid=valid, wider=True)
    centre = wider.values[size // 2, size // 2]
    scale = centre / measured.values.max()
    if not 1 / MUCH_MORE < scale < MUCH_MORE:  # there is texture in it
        return measured, measured, measured, clipped
    surer = measured._replace(values=scale * measured.values)
    return measured, surer, wider if centre == np.abs(wider.values).max() else surer, clipped


def _dark_and_photons(pages, surer, wider):
    """Return the covariance in the dark, and what photons add, of two Autocovariances: see `_neighbours`."""
    covariance, shot = split_shot_noise(pages, surer)
    return in_the_dark(wider, *shot) if shot[0] > 0 and _is_dark(wider.level, pages) else covariance, shot


def _is_dark(level, pages):
    """Return whether a level is that of the darkest twentieth of the places, or near: where no light is, no texture is.

    Then all calm patches tell the noise, and each neighbour's covariance is half as uncertain: of cells before a dark
    background with sharpened noise 0.2 to 0.5 dB (two_stage.py kinds, fly).
    """
    filled = fill_gaps(pages, np.isnan(pages)).astype(np.float64)
    means = scipy.ndimage.uniform_filter(filled, (0, PATCH, PATCH))[:, ::PATCH, ::PATCH]
    low, high = np.quantile(means, (0.05, 0.95))
    return bool(level - low <= DARK * (high - low))


def _goes_on(measured):
    """Return whether noise is shared along lines that may be longer than an Autocovariance shows."""
    mask = structural_mask(measured)
    centre = len(mask) // 2
    border = mask[square_rings(len(mask)) == centre].any()
    return bool(border and not is_compact(mask) and measured.texture < LONG_TEXTURE)


def pattern(page, lines=((), ()), frequencies=()):
    """Return the lines and waves of a page, (Y, X) in intensity units: what can be subtracted from it.

    lines: covariances of the offsets of rows and of columns, () for none. frequencies: (y, x) of waves, in cycles a
    pixel. How strong they are on this page is estimated from it. See `NoiseLaw` for both.

    >>> noisy = np.random.default_rng(0).normal(100, 10, (64, 64)) + 8 * (-1) ** np.arange(64)
    >>> round(pattern(noisy, frequencies=[(0, 0.5)])[0, 0])
    8
    """
    page = np.asarray(page, np.float64)
    if min(page.shape) < SMALLEST_PATCH:  # too little to estimate them from
        return np.zeros(page.shape)
    found = _waves_of(page, frequencies)
    rows, columns = lines
    if len(rows):
        found = found + line_offsets(page - found, rows)[:, None]
    if len(columns):
        found = found + line_offsets((page - found).T, columns)[None]
    return found


def draw_from_law(law, shape, generator):
    """Draw noise of a law for a page: neighbours, lines through the whole of it, waves with a phase of chance.

    law: a NoiseLaw. shape: (Y, X). generator: torch.Generator. Returns a float32 tensor (Y, X), intensity units.
    The growth with the signal is not in it.

    >>> law = noise_law(np.random.default_rng(0).normal(0, 10, (64, 64)))
    >>> drawn = draw_from_law(law, (128, 128), torch.Generator().manual_seed(0))
    >>> tuple(drawn.shape), round(drawn.std().item(), -1)
    ((128, 128), 10.0)
    """
    size = len(law.covariance)
    wide = (shape[0] + size - 1, shape[1] + size - 1)
    noise = draw_noise(noise_spectrum(law.covariance, wide), generator)[0, : shape[0], : shape[1]]
    return noise + draw_patterns(law, shape, generator)


def draw_patterns(law, shape, generator):
    """Draw the lines and waves of a law alone, float32 (Y, X); waves have a phase of chance."""
    noise = torch.zeros(tuple(shape))
    if law.rows.any():
        noise = noise + _draw_offsets(law.rows, shape[0], generator)[:, None]
    if law.columns.any():
        noise = noise + _draw_offsets(law.columns, shape[1], generator)
    down, right = (torch.arange(length, dtype=torch.float32) for length in shape)
    for wave in law.waves:
        phase = torch.rand((), generator=generator) * 2 * torch.pi
        if is_own_mirror(wave[:2]):  # whose phase is 0 or half a turn: its sign is all that can differ
            phase = (phase > torch.pi) * torch.pi
        turns = 2 * torch.pi * (wave.y * down[:, None] + wave.x * right) + phase
        noise = noise + wave.amplitude * torch.cos(turns)
    return noise


def _draw_offsets(covariance, count, generator):
    symmetric = np.concatenate([covariance, np.zeros(count), covariance[:0:-1]])  # what is far apart has none in common
    spectrum = np.maximum(np.fft.fft(symmetric).real, 0)
    return draw_noise(spectrum[None], generator)[0, 0, :count]


def without_patterns(stack, lines=None, waves=None, gaps=None):
    """Return a stack (N, C, Y, X) without its lines and waves, float32; the stack itself if it is to have none.

    lines, waves: as in N2VConfig, for each channel (rows, columns) and frequencies. Page by page. gaps: Gaps of the
    stack, which are filled for it.
    """
    if not _any(lines) and not _any(waves):
        return stack
    channels = stack.shape[1]
    for name, values in (("lines", lines), ("waves", waves)):
        if values and len(values) != channels:
            raise ValueError(f"{name} are of {len(values)} channels, the images have {channels}: give some for each")
    lines, waves = lines or [((), ())] * channels, waves or [()] * channels
    clean = np.empty(stack.shape, np.float32)
    for n, target in enumerate(clean):
        codes = gaps.of(n) if gaps else None
        page = stack[n] if codes is None else fill_gaps(stack[n], codes != MEASURED)
        for c in range(channels):
            target[c] = page[c] - pattern(page[c], lines[c], waves[c])
    return clean


def _any(nested):
    """Return whether there is any number in nested lists."""
    return any(map(_any, nested)) if isinstance(nested, (list, tuple)) else nested is not None


def checked_lines(lines):
    """Check the covariances of lines, for each channel (rows, columns); raise ValueError, in one sentence."""
    numbers = _is_list(lines) and all(_is_list(channel) and len(channel) == 2 for channel in lines)
    numbers = numbers and all(_are_numbers(one) for channel in lines for one in channel)
    if not numbers:
        raise ValueError("lines are, for each channel, two lists: covariances of rows and of columns, [] for none")
    return lines


def checked_waves(waves):
    """Check the frequencies of waves, for each channel pairs (y, x); raise ValueError, in one sentence."""
    pairs = _is_list(waves) and all(_is_list(channel) for channel in waves)
    pairs = pairs and all(_are_numbers(pair) and len(pair) == 2 for channel in waves for pair in channel)
    if not pairs or any(not 0 < np.abs(pair).max() <= 0.5 for channel in waves for pair in channel):
        raise ValueError("waves are, for each channel, pairs (y, x) in cycles a pixel, at most 0.5 and not both 0")
    return waves


def _is_list(value):
    return isinstance(value, (list, tuple))


def _are_numbers(values):
    return _is_list(values) and all(isinstance(v, (int, float)) and np.isfinite(v) for v in values)


def _all_waves(pages):
    """Return the frequencies of the waves of some pages, each once."""
    found = []
    for page in pages[:: -(-len(pages) // WAVE_PAGES)]:
        new = [np.array([wave.y, wave.x]) for wave in find_waves(page)]
        found += [f for f in new if not any(same_wave(f, other, page.shape) for other in found)]
    return found


def _waves_of(page, frequencies):
    return fitted_waves(page, frequencies) if len(frequencies) else np.zeros(page.shape)


def _measured_waves(pages, frequencies):
    """Return each frequency as a Wave with its mean amplitude on some pages."""
    if not frequencies:
        return []
    amplitudes = np.mean([wave_amplitudes(page, frequencies) for page in pages], axis=0)
    return [Wave(float(y), float(x), float(amplitude)) for (y, x), amplitude in zip(frequencies, amplitudes)]
