"""The trained weights: small, recorded, checked, and in the wheel. What they reach is measured where BSD68 is."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from conftest import REPOSITORY as ROOT

import n2vlib
from n2vlib.noise.models import mean_and_variance

MODELS = sorted((ROOT / "data" / "models").glob("*.pt"))
NAMES = ["bsd68_n2v2", "bsd68_noise2void", "bsd68_noise_model", "bsd68_recorrupted"]
FIRST = {"bsd68_recorrupted": "bsd68_noise_model"}  # whose trainings it went on from

every_model = pytest.mark.parametrize("name", NAMES)


def test_weights_are_small_and_each_has_its_record():
    assert [path.stem for path in MODELS] == NAMES
    for path in MODELS:
        assert path.stat().st_size < 6_000_000
        record = json.loads(path.with_suffix(".json").read_text())
        told = {"sha256", "data", "config", "steps", "training_seconds", "hardware", "software", "command", "psnr"}
        assert told <= set(record)
        assert record["command"].startswith("python tests/benchmarks/bsd68.py ")
        steps = [record["command"] for record in (*record.get("before", []), record)]
        if path.stem in FIRST:
            assert steps.pop().endswith(f" train {path.stem}")
        first = FIRST.get(path.stem, path.stem)
        assert steps[0].endswith(f" train {first}")
        assert all(command.endswith(f" tune {first}") for command in steps[1:])
        assert len(record["psnr"]) == len(record["psnr_tta"]) == len(record["ssim"]) == 68


@every_model
def test_weights_are_those_of_the_record(name):
    denoiser, record = n2vlib.load_pretrained(name), n2vlib.datasets.pretrained_record(name)
    built = n2vlib.N2VConfig(**record["config"])  # fields added since have their defaults
    as_json = [json.dumps(dataclasses.asdict(config)) for config in (denoiser.config, built)]
    assert as_json[0] == as_json[1]
    assert denoiser.history["steps"][-1] == record["steps"] == record["config"]["max_steps"]
    assert np.isclose(denoiser.leak, record["leak"])


@every_model
def test_weights_reach_what_the_record_says(name, data_folder, monkeypatch):
    monkeypatch.setenv("N2VLIB_DATA", str(data_folder))
    images, record = n2vlib.datasets.bsd68(seed=0), n2vlib.datasets.pretrained_record(name)
    denoiser = n2vlib.load_pretrained(name)
    once, eight = (dict(draws=1), dict(draws=8)) if name in FIRST else (dict(tta=False), dict(tta=True))
    for number in (4, 30, 55):
        decibels = n2vlib.psnr(images.clean[number], denoiser.predict(images.noisy[number], **once))
        assert abs(decibels - record["psnr"][number]) < 0.05
    decibels = n2vlib.psnr(images.clean[4], denoiser.predict(images.noisy[4], **eight))
    assert abs(decibels - record["psnr_tta"][4]) < 0.05


def test_weights_travel_with_the_wheel(tmp_path):
    # Colab installs from the repository, without a checkout to find data/models in.
    source = tmp_path / "source"  # a copy: building leaves files behind
    for part in ("n2vlib", "data/models"):
        shutil.copytree(ROOT / part, source / part)
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(tmp_path), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode and "No matching distribution found for setuptools" in built.stderr:
        pytest.skip("no network: pip cannot fetch setuptools to build a wheel")
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    code = (
        f"import n2vlib; print([n2vlib.load_pretrained(n).config.num_channels_init for n in {NAMES}], n2vlib.__file__)"
    )
    here = dict(cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")})
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **here)
    assert run.stdout.startswith("[32, 32, 32, 32]") and str(tmp_path) in run.stdout, run.stderr


def test_several_densities_begin_as_the_one_they_are_split_from(tiny, two_channels, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    from bsd68 import split_densities

    one = n2vlib.train(two_channels[:, 0], tiny(noise_model="gaussian"))
    several = split_densities(one, 3)
    patch = torch.from_numpy(two_channels[:1, :1]).float() / 100
    with torch.no_grad():
        mean, variance = mean_and_variance(one.network(patch), 1)
        middle, spread = mean_and_variance(several.network(patch), 1)
    assert torch.allclose(middle, mean, atol=1e-6)
    assert torch.allclose(spread, variance + 0.15**2 * 2 / 3, atol=1e-6)  # -0.15, 0 and 0.15 with equal shares


def test_recorruption_goes_on_from_the_means_of_the_densities_alone(tiny, two_channels, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    from bsd68 import means_alone, split_densities

    one = n2vlib.train(two_channels[:, 0], tiny(noise_model="gaussian"))
    alone = means_alone(split_densities(one, 3), tiny(covariance=np.pad([[25.0]], 1)))
    patch = torch.from_numpy(two_channels[:1, :1]).float() / 100
    with torch.no_grad():
        assert torch.allclose(alone.network(patch), mean_and_variance(one.network(patch), 1)[0], atol=1e-6)


@every_model
def test_the_script_that_made_the_weights_would_train_them_so_again(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    from bsd68 import COMMON, RECIPES, TUNING

    record = n2vlib.datasets.pretrained_record(name)
    parts = [part for part in (*record.get("before", []), record) if part["command"].endswith(name)]
    plans = [{}, *TUNING.get(name, [])]
    assert 1 <= len(parts) <= len(plans)  # that of row 1 changed nothing and was not kept
    for number, (part, plan) in enumerate(zip(parts, plans)):
        settings = COMMON | RECIPES[name] | plan | dict(seed=number)
        found = ("noise_sigma", "covariance", "per_image")  # by the training on the images
        measured = {key: part["config"][key] for key in found if part["config"].get(key) is not None}
        assert n2vlib.N2VConfig(**settings | measured) == n2vlib.N2VConfig(**part["config"])
