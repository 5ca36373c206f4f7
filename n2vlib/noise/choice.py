"""Which noise model an image asks for: the decision that N2VConfig's noise_model="auto" leaves to its noise."""

import dataclasses

from .report import noise_report

# Texture with white noise gains a decibel by a noise model, correlated noise loses some tenths: so it is taken.
DOUBT = "; whether neighbours share noise cannot be told here: if they do, None (plain Noise2Void) is better"
LARGEST_LOOK = 512  # pixels a side of the part in which noise is looked at before a training: half a second


def choose_noise_model(some, config):
    """Replace "auto" in the config by the noise model that fits some pages, and print in a line which and why.

    some: (N, C, Y, X), intensity units, NaN where nothing was measured. config: N2VConfig, returned as it is unless
    its noise_model is "auto".

    Correlated noise, or none: None, Noise2Void as published, for both other models take each pixel's noise to be
    its own. Variance that grows with the signal: "poisson_gaussian". Else "gaussian".
    """
    if config.noise_model != "auto":
        return config
    model, why = noise_model_for(some)
    print(f"noise_model={model!r}: {why}")
    changes = dict(noise_model=model) | (dict(components=1) if model is None else {})
    return dataclasses.replace(config, **changes)


def noise_model_for(some):
    """Return the noise model that fits pages (N, C, Y, X), None for none, and why, in a sentence."""
    reports = looked_at(some)
    for c, report in enumerate(reports):
        where = f"channel {c}: " * (len(reports) > 1)
        if report.correlated:
            return None, f"{where}{report}; a noise model takes neighbours to have independent noise"
        if report.unfit:
            return None, f"{where}{report.advice}"
    doubt = "" if all(report.decided for report in reports) else DOUBT
    growing = [c for c in range(len(reports)) if reports[c].law.gain > 0]
    if growing:
        where = f" in channel {', '.join(map(str, growing))}" * (len(reports) > 1)
        return "poisson_gaussian", f"the noise's variance grows with the signal{where}, as photons have it{doubt}"
    sigmas = ", ".join(f"{report.law.covariance.max() ** 0.5:.3g}" for report in reports)
    return "gaussian", f"the noise is as strong everywhere, sigma {sigmas}{doubt}"


def looked_at(some):
    """Return the noise's report of each channel, of the middle of two pages at most: half a second each."""
    top, left = (max(0, length // 2 - LARGEST_LOOK // 2) for length in some.shape[2:])
    some = some[:: -(-len(some) // 2), :, top : top + LARGEST_LOOK, left : left + LARGEST_LOOK]
    return [noise_report(some[:, c]) for c in range(some.shape[1])]
