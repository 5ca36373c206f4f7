"""What kind of noise an image has, in plain sentences: before any training, and with what cannot be known."""

from dataclasses import dataclass, field

import numpy as np

from .covariance import Autocovariance, square_rings
from .law import SIZE, NoiseLaw, law_of_pages
from .masks import FALSE_ALARMS, is_compact, structural_mask
from .pages import channel_pages
from .spectrum import noise_spectrum
from .validity import UNEQUAL, clipping_bias

TEXTURE = 0.15  # correlation taken for the image's own structure, from which no neighbours' correlation is believed
MOST_TEXTURE = 0.4  # from which a correlation is not believed even if it was found (true ones: at most 0.32)
BROAD, MOST_NEIGHBOURS = 3.3, 45  # pixels: noise shared over so wide a disc, or by so many, may be small objects
HARDLY = "hardly any noise"
MOST_OF_IT = 0.45  # of the image's variance, likewise


@dataclass(frozen=True)
class NoiseReport:
    """What `noise_report` found: deviations in intensity units, lengths in pixels; str() is the verdict.

    kinds: the names of what was found, of "white", "rows", "columns", "waves", "alike" (neighbours with the same
    noise), "opposite" (neighbours with noise of the other sign), "photons" (grows with the signal).
    decided: whether that can be relied on; if not, `doubts` says why. advice: what to do. law: the NoiseLaw,
    None where nothing could be measured. white_sigma, structured_std: of the part without and with correlation to
    neighbours, lines and waves aside. length_x, length_y: how far the mask reaches. autocorrelation: 1 in the centre.
    mask: boolean, which neighbours share the noise. texture: as in NoiseLaw. false_alarm_rate: the share, at most, of
    images with white noise and flat places that are called correlated.
    """

    kinds: tuple = ()
    decided: bool = False
    doubts: tuple = ()
    advice: str = ""
    law: NoiseLaw | None = field(default=None, repr=False)
    white_sigma: float = float("nan")
    structured_std: float = float("nan")
    length_x: int = 0
    length_y: int = 0
    autocorrelation: np.ndarray = field(default_factory=lambda: np.pad([[1.0]], 5), repr=False)
    mask: np.ndarray = field(default_factory=lambda: np.pad([[True]], 5), repr=False)
    texture: float = 0.0
    false_alarm_rate: float = FALSE_ALARMS

    @property
    def correlated(self):
        """Whether noise that neighbours share was found beyond doubt."""
        return self.decided and bool({"rows", "columns", "waves", "alike", "opposite"} & set(self.kinds))

    @property
    def unfit(self):
        """Whether a noise model cannot work: there is hardly any noise, or neighbours are copies of each other."""
        return self.law is None or self.advice.startswith(HARDLY) or self.law.enlarged > 1

    @property
    def covariance(self):
        """The law's covariance, without neighbours where none are found to share the noise."""
        centre = len(self.law.covariance) // 2
        alone = np.pad([[self.law.covariance[centre, centre]]], centre)
        return self.law.covariance if {"alike", "opposite"} & set(self.kinds) else alone

    def __str__(self):
        found = "; ".join(_in_words(self, kind) for kind in self.kinds)
        start = found if self.decided else "undecided"
        return f"{start}: {self.advice}" + "".join(f". {doubt}" for doubt in self.doubts)


def noise_report(image, channel=None, channel_axis=None, size=SIZE, share=10, valid=None):
    """Say before any training what kind of noise an image has, what to do about it, and what cannot be known.

    image, channel, channel_axis, size, share, valid: as for `noise_law`. Returns a NoiseReport; where nothing can be
    measured it is undecided and says why. Raises TypeError or ValueError for what is no image.

    >>> white = np.random.default_rng(0).normal(0, 10, (128, 129))
    >>> print(noise_report(white[:, 1:] + white[:, :-1]))
    neighbours share the noise, along x over 1 px (sigma 15.1): run both stages (run_two_stage)
    """
    some = channel_pages(image, channel, channel_axis, valid)
    pages = some.values
    if not (isinstance(size, (int, np.integer)) and size % 2 == 1 and size >= 3 and 0 < share <= 100):
        raise ValueError(f"size = {size}, share = {share} is not possible: an odd size from 3 on, a share in percent")
    try:
        law = law_of_pages(some, size, share)
    except ValueError as reason:  # too small, or no noise
        return NoiseReport(advice=str(reason))
    mask = structural_mask(Autocovariance(law.measured, law.error, law.texture))
    white, structured = _deviations(law, mask)
    centre = len(mask) // 2
    length_y, length_x = np.abs(np.argwhere(mask) - centre).max(axis=0)
    kinds, doubts = _kinds(law, mask), _doubts(law, pages)
    reason, of_neighbours = _undecided(law, mask, pages, (white, structured))
    if of_neighbours and {"rows", "columns", "waves"} & set(kinds) and law.texture < MOST_TEXTURE:
        kinds = tuple(kind for kind in kinds if kind not in ("alike", "opposite", "white"))  # the others are certain
        doubts, reason, mask = (*doubts, f"Of neighbours there is {reason}"), "", np.pad([[True]], centre)
    return NoiseReport(
        kinds=kinds,
        decided=not reason,
        doubts=doubts,
        advice=reason or _advice(kinds),
        law=law,
        white_sigma=white,
        structured_std=structured,
        length_x=int(length_x),
        length_y=int(length_y),
        autocorrelation=law.measured / law.measured[centre, centre],
        mask=mask,
        texture=law.texture,
    )


def _deviations(law, mask):
    """Return the deviations of the part of the noise that neighbours do not share, and of the part they do.

    White noise has the same power at all frequencies, structured noise leaves some nearly empty: the variance of the
    white part is the floor of the power spectrum.
    """
    variance = law.measured.max()
    spectrum = noise_spectrum(np.where(mask, law.measured, 0), (3 * len(mask), 3 * len(mask)))
    white = min(np.quantile(spectrum, 0.15), variance)
    return float(np.sqrt(white)), float(np.sqrt(variance - white))


def _kinds(law, mask):
    """Return the names of what a law holds."""
    neighbours = np.where(mask, law.measured, 0)[square_rings(len(mask)) > 0]
    strongest = neighbours[np.abs(neighbours).argmax()]
    names = {
        "rows": law.rows.any(),
        "columns": law.columns.any(),
        "waves": len(law.waves) > 0,
        "alike": strongest > 0,
        "opposite": strongest < 0,
        "white": strongest == 0,
        "photons": law.gain > 0,
    }
    return tuple(name for name, found in names.items() if found)


def _undecided(law, mask, pages, deviations):
    """Return why the noise cannot be judged, in a sentence, or ""; and whether that is so of neighbours only."""
    white, structured = deviations
    waves = sum(wave.amplitude**2 / 2 for wave in law.waves)
    total = np.sqrt(white**2 + structured**2 + law.rows[0] + law.columns[0] + waves)
    span = np.subtract(*np.quantile(pages, (0.999, 0.001)))
    if law.enlarged > 1:
        step = f"::{law.enlarged}"
        return f"enlarged {law.enlarged} x by repeating pixels: shrink it first (image[{step}, {step}])", False
    halfway = np.hypot(total, np.sqrt(law.gain * span / 2))  # what it is at half the signal
    rounded = total < 1.5 * law.step and halfway < 0.01 * span
    if rounded or (law.texture > TEXTURE and total < 0.02 * span):
        return (
            f"{HARDLY} (at most {total:.2g}, of a range of {span:.3g}), too little to tell from detail",
            False,
        )
    patterns = law.rows.any() or law.columns.any() or law.waves
    most = TEXTURE if mask.sum() == 1 else MOST_TEXTURE if patterns or is_compact(mask) else 1.5 * MOST_TEXTURE
    if law.texture > most:  # of a narrow mask alone half as much again: a direction is hardly the image's own
        return "no flat background: correlated noise, if any, cannot be told from the image's own texture", True
    beside = law.measured[mask & (square_rings(len(mask)) > 0)]
    alike = beside.size > 0 and beside.max() >= -beside.min()  # what an image shows makes no neighbours opposite
    if alike and is_compact(mask) and _may_be_objects(mask, structured**2 / max(pages.var() - white**2, 1e-300)):
        return "structure as broad as small objects: noise, if it is that, cannot be told from what is shown", True
    return "", False


def _may_be_objects(mask, explained):
    """Return whether what neighbours share in all directions may be what the image shows, crowded cells for example.

    explained: its share of the image's variance. Noise of instruments is narrower, and the image shows more than it.
    """
    distance = np.hypot(*(np.indices(mask.shape) - len(mask) // 2))
    filled = mask.sum() / np.prod(np.ptp(np.argwhere(mask), axis=0) + 1)
    broad = mask[distance <= BROAD].all() or mask.sum() > MOST_NEIGHBOURS
    return bool(broad or explained > MOST_OF_IT or (explained > 0.3 and mask.sum() > 25 and filled > 0.55))


def _doubts(law, pages):
    """Return in sentences what makes the measurement less certain, or the image a worse one."""
    sigma, doubts = np.sqrt(law.measured.max()), [f"Left out: {law.left_out}"] if law.left_out else []
    for value, share in law.clipped:
        side = "bright" if value == pages.min() else "dark"
        bias = abs(clipping_bias(pages[0], value, sigma))
        where = "the background" if side == "bright" else "bright places"
        doubts.append(
            f"{share:.2%} of the pixels are clipped at {value:.6g}: {where} will come out {bias:.2g} too {side}"
        )
    if law.places > UNEQUAL:
        doubts.append("The noise differs in a 2x2 pattern, as after demosaicking: use the raw image")
    if law.step and sigma < law.step:
        doubts.append("The noise is weaker than one grey level, so rounding hides some of it")
    return tuple(doubts)


def _advice(kinds):
    """Return what to do about noise of some kinds."""
    both = "run both stages (run_two_stage)"
    if "opposite" in kinds:
        return f"as after sharpening or resampling: use the raw image, or {both}"
    if {"rows", "columns", "waves", "alike"} & set(kinds):
        return both
    model = "poisson_gaussian" if "photons" in kinds else "gaussian"
    return f'no correlation found, so Noise2Void is enough; noise_model="{model}" fits'


def _in_words(report, kind):
    """Return what was found of one kind."""
    law, sigma = report.law, np.hypot(report.white_sigma, report.structured_std)
    if kind == "rows":
        return f"rows offset in brightness by {np.sqrt(law.rows[0]):.2g}"
    if kind == "columns":
        return f"columns offset in brightness by {np.sqrt(law.columns[0]):.2g}"
    if kind == "waves" and len(law.waves) == 1:
        wave = law.waves[0]
        return f"a wave of period {wave.period:.1f} px at {wave.angle:.0f} degrees, amplitude {wave.amplitude:.2g}"
    if kind == "waves":
        periods = [wave.period for wave in law.waves]
        most = max(wave.amplitude for wave in law.waves)
        return f"{len(periods)} waves of {min(periods):.1f} to {max(periods):.1f} px, amplitudes up to {most:.2g}"
    if kind == "alike":
        return f"neighbours share the noise, {_reach(report)} (sigma {sigma:.3g})"
    if kind == "opposite":
        lowest = report.autocorrelation.min()
        return f"neighbours correlate {lowest:.2f} (sigma {sigma:.3g})"
    return f"white, sigma {sigma:.3g}" if kind == "white" else f"growing with the signal (gain {law.gain:.2g})"


def _reach(report):
    """Return in which directions the mask reaches how far."""
    centre = len(report.mask) // 2
    y, x = np.abs(np.argwhere(report.mask) - centre).T
    reach = {"x": report.length_x, "y": report.length_y}
    if np.array_equal(x, y):
        reach = {"a diagonal": report.length_x}
    words = (f"along {axis} over {far} px" + " or more" * (far == centre) for axis, far in reach.items() if far)
    return " and ".join(words)
