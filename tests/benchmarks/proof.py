"""The proof beside the peers: all do the same work in one run; prints one table and draws its charts (README.md).

    python tests/benchmarks/proof.py            # ~9 min on two cores, with nothing else running
    python tests/benchmarks/proof.py charts     # draws the charts of the last run again

The numbers are written to data/benchmark.json, the charts to data/benchmark.png.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from run import (
    MODELS,
    WARM_UP,
    numbers_used,
    predict_careamics,
    predict_ours,
    product_speed,
    race,
    score_bm3d,
    score_filters,
    step_products,
)
from support import ROOT, SIGMA, circumstances, digest, load_pair, ours, parsed, say, table, train_careamics

import n2vlib
from n2vlib.images.writing import written_beside
from n2vlib.learning.device import choose_device
from n2vlib.show import figures

RECORD, CHARTS = ROOT / "data" / "benchmark.json", ROOT / "data" / "benchmark.png"
NAMES = dict(plain="n2vlib, Noise2Void", gaussian="n2vlib, noise model")
SETTINGS = SimpleNamespace(
    seed=0,
    config="",
    side=4096,
    peer_side=1024,
    careamics_batch=8,
    careamics_copies=25,  # of the image: longer epochs, or its plateau schedule stops the learning too soon
    budgets=(2, 3, 4, 5, 6, 8, 10, 15, 20, 30),
    seconds=60,
    longer=120,
    earlier=(30, 40, 50),  # CAREamics' result swings from one moment to the next: its best of these counts, too
)


def measure(arguments):
    """Run everything, keep the numbers, print the table and draw the charts."""
    clean, noisy = load_pair(arguments.image)
    with tempfile.TemporaryDirectory() as folder:
        peer, target = measure_careamics(clean, noisy, Path(folder))
        rows = [measure_ours(clean, noisy, model, target, Path(folder)) for model in MODELS]
        rows += [peer, *measure_filters(clean, noisy, target, Path(folder))]
    data = f"BSD68 test image {arguments.image:03d} ({digest(clean)}), noise sigma {SIGMA}, not clipped, seed 0"
    record = dict(data=data, target=target, seconds=SETTINGS.seconds, **circumstances(), rows=rows)
    with written_beside(RECORD) as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())
    charts(arguments)


def measure_careamics(clean, noisy, folder):
    """Return CAREamics' row, and the PSNR that it reaches in the longer time: the quality to race to."""
    say("CAREamics trains")
    answer = train_careamics(noisy, folder, SETTINGS, [*SETTINGS.earlier, SETTINGS.seconds, SETTINGS.longer])
    psnrs = [n2vlib.psnr(clean, np.load(mark["file"])) for mark in answer["marks"]]
    say(", ".join(f"{mark['seconds']:.0f} s: {value:.2f} dB" for mark, value in zip(answer["marks"], psnrs)))
    reached = [mark["seconds"] for mark, value in zip(answer["marks"], psnrs) if value >= max(psnrs)]
    step = statistics.median(np.diff(answer["clock"]))
    name = f"CAREamics {answer['versions']['careamics']}"
    speeds = prediction(predict_careamics(noisy, folder, SETTINGS))
    return row(name, max(psnrs[:-1]), reached[0], SETTINGS.careamics_batch / step, **speeds), max(psnrs)


def measure_ours(clean, noisy, model, target, folder):
    """Return our row with one of the two noise models."""
    clock = []
    config = ours(SETTINGS, max_seconds=SETTINGS.seconds, noise_model=MODELS[model])
    denoiser = n2vlib.train(noisy, config, callbacks=[lambda progress: clock.append(progress.seconds)])
    step = float(np.median(np.diff(clock)[WARM_UP:]))
    raced = race(clean, noisy, target, None, model, SETTINGS)
    reached = None if raced["first budget (s)"].startswith("not") else float(raced["seconds taken"])
    speeds = prediction(predict_ours(noisy, model, folder, SETTINGS))
    quality = n2vlib.psnr(clean, denoiser.predict(noisy))
    ratio = step / floor_seconds(config)
    return row(NAMES[model], quality, reached, config.batch_size / step, **speeds, floor=ratio)


def measure_filters(clean, noisy, target, folder):
    """Return the rows of BM3D and scikit-image's filters, which need no training."""
    rows = []
    for scored in (*score_bm3d(clean, noisy, folder), *score_filters(clean, noisy)):
        quality, seconds = float(scored["PSNR (dB)"]), float(scored["prediction (s)"])
        speed = noisy.size / 1e6 / seconds if seconds else None  # 0.00: too quick to be told
        rows.append(row(scored["method"], quality, seconds if quality >= target else None, None, speed))
    return rows


def prediction(printed):
    """Return speed and memory out of the row that `predict` prints."""
    return dict(megapixels=float(printed["megapixels/s"]), memory=float(printed["peak memory (GB)"]))


def floor_seconds(config):
    """Return how long the multiplications of a training step take at the speed of this machine's matrix product."""
    device = choose_device()
    return 2 * step_products(config) / product_speed(numbers_used(device), device)


def row(method, psnr, seconds, patches, megapixels, memory=None, floor=None):
    """Return the numbers of one method."""
    return dict(
        method=method, psnr=psnr, seconds=seconds, patches=patches, megapixels=megapixels, memory=memory, floor=floor
    )


def charts(arguments):
    """Print the table of the last run and draw its charts."""
    record = json.loads(RECORD.read_text())
    for name in ("hardware", "software", "data", "command"):
        print(f"- {name}: {record[name]}")
    columns = dict(
        psnr=(f"PSNR after {record['seconds']} s of training (dB)", "{:.2f}"),
        seconds=(f"seconds to {record['target']:.2f} dB", "{:.1f}"),
        patches=("training: patches/s", "{:.0f}"),
        megapixels=("prediction: megapixels/s", "{:.2f}"),
        memory=("prediction: peak memory (GB)", "{:.2f}"),
        floor=("training step / its arithmetic", "{:.1f}"),
    )
    rows = record["rows"]
    print()
    table(
        [
            {"method": r["method"]}
            | {t: None if r[k] is None else form.format(r[k]) for k, (t, form) in columns.items()}
            for r in rows
        ]
    )
    draw(record, {key: columns[key] for key in ("psnr", "seconds", "patches", "megapixels")})


def draw(record, columns):
    """Draw one chart of bars a column, with the numbers beside the bars."""
    figure, axes = figures.plt.subplots(1, len(columns), figsize=(16, 4), sharey=True, layout="constrained")
    names = [one["method"].split(",  told")[0].replace("scikit-image, ", "") for one in record["rows"]]
    colours = ["C0" if name.startswith("n2vlib") else "0.6" for name in names]
    for axis, (key, (title, form)) in zip(axes, columns.items()):
        values = [one[key] for one in record["rows"]]
        bars = axis.barh(names, [value or 0 for value in values], color=colours)
        axis.bar_label(
            bars, [form.format(value) if value is not None else "–" for value in values], padding=4, fontsize=12
        )
        axis.set_title(title, fontsize=13)
        axis.tick_params(labelsize=12)
        axis.margins(x=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_xlim(20, 29)  # noisy: 20.2 dB
    axes[3].set(xscale="log", xlim=(0.003, 200))
    axes[3].set_title("prediction: megapixels/s (log)", fontsize=13)
    axes[0].invert_yaxis()
    figure.savefig(CHARTS, dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="measure", choices=("measure", "charts"))
    parser.add_argument("--image", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch, ours and CAREamics'")
    arguments = parsed(parser)
    (measure if arguments.what == "measure" else charts)(arguments)


if __name__ == "__main__":
    main()
