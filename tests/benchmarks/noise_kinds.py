"""Measures `run_two_stage` as it is by default on the noise of instruments, beside BM3D told the true spectrum."""

import itertools
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import skimage.data
from measure import timed
from structure import add_noise, fluorescence, kernels
from support import INSTRUMENTS, ROOT, ask, header, instrument_noise, number, peer_python, say, table

import n2vlib

KEPT = ROOT / "build" / "benchmarks" / "noise_kinds"
SHORT = ("horizontal", "diagonal", "blob", "cross")  # those of `two_stage.py run`: white 10, structured 20
KINDS = (*INSTRUMENTS, *SHORT)
GOALS = {
    "rows": 31.3,
    "columns": 31.3,
    "wave 8": 31.8,
    "wave 20": 30.5,
    "converters": 33.4,
    "sharpened": 32.2,
    "interlaced": 34.3,
}  # dB, for the camera at half size
PHOTONS, READ, STRUCTURED = 40, 2, 4  # of fluorescence: the clean image's brightest, and deviations of what is added


def is_photograph(name):
    """Return whether an image is one of scikit-image's; all others are fluorescence."""
    return hasattr(skimage.data, name)


def clean_image(name, side):
    """Return a photograph, or a fluorescence image scaled to PHOTONS."""
    if name == "camera" and side == 256:
        return skimage.data.camera().astype(np.float64).reshape(256, 2, 256, 2).mean(axis=(1, 3))
    if is_photograph(name):
        image = getattr(skimage.data, name)()
        image = (image[..., :3].mean(axis=-1) if image.ndim == 3 else image).astype(np.float64)
    else:
        image = fluorescence()[name]
        low, high = np.quantile(image, (0.001, 0.999))
        image = (image - low).clip(0) / (high - low) * PHOTONS
    top, left = (max(0, length // 2 - side // 2) for length in image.shape)
    return image[top : top + side, left : left + side]


def make(name, side, kind, seed):
    """Return the clean and the noisy image, the true power spectrum of the added noise, and the range for PSNR."""
    clean = clean_image(name, side)
    if kind in SHORT:
        kernel = kernels(kind)[-1 if kind == "blob" else 1]
        noise = add_noise(np.zeros(clean.shape), kernel, seed)
        power = (100 + 400 * np.abs(np.fft.fft2(kernel / np.sqrt((kernel**2).sum()), clean.shape)) ** 2) * clean.size
    else:
        noise, power = instrument_noise(kind, clean.shape, seed)
    if is_photograph(name):
        return clean, clean + noise, power, 255
    scale = STRUCTURED / noise.std()
    rng = np.random.default_rng(seed)
    noisy = rng.poisson(clean) + rng.normal(0, READ, clean.shape) + scale * noise
    return clean, noisy, scale**2 * power + (clean.mean() + READ**2) * clean.size, PHOTONS


def measure(name, side, kind, arguments):
    """Run both stages and return plain numbers."""
    clean, noisy, _, span = make(name, side, kind, arguments.seed)
    result = run_stages(noisy, arguments)
    [report] = result.reports
    right = INSTRUMENTS.get(kind, {"alike"}) - {"white"} == set(report.kinds) - {"white", "photons"}
    case = dict(image=name, side=side, kind=kind, report=str(report), right=bool(right and report.decided))
    case |= {"handed out": result.metrics["denoised_by"], "messages": result.messages}
    images = {"noisy": noisy, "stage 1": result.denoised1, "stage 2": result.denoised2, "out": result.denoised}
    if result.stage2 is not None and result.stage2.config.covariance is not None:
        for what, similar in (("network", False), ("with similar patches", True)):
            images[what] = result.stage2.predict(noisy, tta=True, similar=similar)
    for what, image in images.items():
        case[what] = None if image is None else float(n2vlib.psnr(clean, image, span))
    return case


def run_stages(noisy, arguments, **stage2):
    """Return the result of both stages, or of stage 2 alone if it is said how."""
    config = dict(max_seconds=arguments.seconds, random_seed=arguments.seed, quiet=True, run_stage1=not stage2)
    if arguments.steps:  # 25 an epoch, in both stages
        config |= dict(max_seconds=None, num_epochs=-(-arguments.steps // 25))
        stage2 |= dict(patches_per_image=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return n2vlib.run_two_stage(noisy, config | dict(stage2=stage2))


def measure_structn2v(name, side, kind, arguments):
    """Return what structN2V reaches in as long a training, with the mask that is read off the same law."""
    clean, noisy, _, span = make(name, side, kind, arguments.seed)
    result = run_stages(noisy, arguments, method="structn2v", mask_source="extractor")
    return {"structN2V": float(n2vlib.psnr(clean, result.denoised2, span))}


def measure_bm3d(name, side, kind, arguments):
    """Return what BM3D reaches, told the true power spectrum; of photons also after Anscombe's transform.

    Photons have the mean of their variances in the spectrum. After the generalised Anscombe transform
    (Makitalo & Foi, IEEE TIP 2013, eq. 2; the asymptotic inverse) they are white of variance 1, and the
    structured noise is weaker where the image is brighter: it has the mean of its variances.
    """
    clean, noisy, power, span = make(name, side, kind, arguments.seed)
    ways = {"BM3D": denoised_by_bm3d(noisy, power)}
    if span == PHOTONS:
        offset = 3 / 8 + READ**2
        structured = power - (clean.mean() + READ**2) * clean.size
        power = clean.size + structured * (1 / (clean + offset)).mean()
        stable = denoised_by_bm3d(2 * np.sqrt((noisy + offset).clip(0)), power)
        ways["BM3D, Anscombe"] = stable**2 / 4 - 1 / 8 - READ**2
    return {way: float(n2vlib.psnr(clean, image, span)) for way, image in ways.items()}


def denoised_by_bm3d(noisy, power):
    """Return what BM3D makes of an image, in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path, spectrum = Path(folder) / "noisy.npy", Path(folder) / "power.npy"
        np.save(path, noisy.astype(np.float32))
        np.save(spectrum, power)
        answer = ask(peer_python("bm3d"), "peer_bm3d.py", spectrum, path)
        return np.load(answer["results"][0]["file"])


def run(arguments):
    """Measure the cases that are not there yet."""
    KEPT.mkdir(parents=True, exist_ok=True)
    kinds = arguments.kinds or [kind for kind in KINDS if kind != "white"]
    for side, name, kind in itertools.product(arguments.sides, arguments.images, kinds):
        path = KEPT / f"{name}_{side}_{kind}_{arguments.seed}.json".replace(" ", "_")
        case = json.loads(path.read_text()) if path.exists() and not arguments.fresh else {}
        if "out" not in case:
            found, seconds = timed(measure, name, side, kind, arguments)
            case |= found
            path.write_text(json.dumps(case))
            say(f"{path.stem}: {seconds:.0f} s, out {case['out']:.2f} dB by {case['handed out']}, {case['report']}")
        if "structN2V" not in case and not is_photograph(name):
            case |= measure_structn2v(name, side, kind, arguments)
            path.write_text(json.dumps(case))
        if "BM3D" not in case and not arguments.no_peers:
            case |= measure_bm3d(name, side, kind, arguments)
            path.write_text(json.dumps(case))


def best_bm3d(case):
    """Return the better of BM3D's ways, or None."""
    return max((case[way] for way in ("BM3D", "BM3D, Anscombe") if way in case), default=None)


def print_table(arguments):
    """Print all cases measured, and how many meet the goals."""
    cases = [json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))]
    images = ", ".join(sorted({case["image"] for case in cases}))
    length = f"{arguments.steps} steps" if arguments.steps else f"{arguments.seconds:g} s"
    header(f"{images}; {length} a stage; BM3D is told the true spectrum", arguments)
    rows, gaps, losses, leads = [], [], [], []
    for case in sorted(cases, key=lambda case: (case["side"], case["image"], KINDS.index(case["kind"]))):
        at_half = case["image"] == "camera" and case["side"] == 256
        row = {"case": f"{case['image']} {case['side']} {case['kind']}"}
        row |= {what: number(case[what]) for what in ("noisy", "stage 1", "stage 2", "out")}
        row |= {what: number(case.get(what)) for what in ("network", "with similar patches", "structN2V")}
        row |= {"goal": number(GOALS.get(case["kind"]) if at_half else None), "BM3D": number(best_bm3d(case))}
        rows.append(row | {"by": case["handed out"], "verdict": case["report"] if not case["right"] else "right"})
        losses.append(case["out"] - case["stage 1"])
        gaps += [case["out"] - best_bm3d(case)] if "BM3D" in case else []
        leads += [case["out"] - case["structN2V"]] if "structN2V" in case else []
    table(rows)
    print(f"- out minus BM3D: least {min(gaps):.2f} dB, mean {np.mean(gaps):.2f} dB, of {len(gaps)} cases")
    if leads:
        print(f"- out minus structN2V: least {min(leads):.2f} dB, mean {np.mean(leads):.2f} dB, of {len(leads)} cases")
    print(f"- out minus stage 1: least {min(losses):.2f} dB")
    print(f"- verdicts right: {sum(case['right'] for case in cases)} of {len(cases)}")
