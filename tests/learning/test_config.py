"""Settings: every wrong value is refused at once, and the message says what would be right."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from n2vlib import N2VConfig
from n2vlib.learning.network import build_network

WRONG = {
    "patch_size": (7, 0, -8, 64.0, "64", True, None),
    "batch_size": (0, 2.0, "4", None, True),
    "augment": (1, 0, "yes", None),
    "masked_pixel_percentage": (0, -1, 44.5, 100, math.nan, math.inf, "5", None, True),
    "roi_size": (1, 4, 0, -5, 5.0, "11", None),
    "strategy": ("best", "Uniform", 1, ["mean"]),
    "struct_mask": (5, "horizontal", [[1]], [[True, True]], [[False]]),
    "covariance": (5, "horizontal", [[1.0]], [[1.0, 2.0], [3.0, 4.0]]),
    "shot": (5, [], [1.0, 2.0], [(1.0,)], [(-1.0, 0.0)], [(1.0, math.nan)]),
    "recorruption": (0, -0.5, math.inf, None, "0.5"),
    "draws": (0, 1.5, None, "8"),
    "depth": (0, 7, 2.0, None, "2"),
    "num_channels_init": (0, 16.0, None, "16"),
    "independent_channels": (1, "no", None),
    "n2v2": (1, "n2v2", None),
    "lines": ([1.0], [[1.0]], 3, "rows"),
    "waves": ([0.1], [[0.1]], 3, "hum"),
    "learning_rate": (0, -0.1, 1, 5, math.nan, "1e-3", None),
    "optimizer": ("sgd", None, 1),
    "lr_scheduler": ("step", None, True),
    "steps_per_epoch": (0, 10.0, None),
    "max_epochs": (0, -1, 1.5, "30"),
    "max_steps": (0, 1e3, "1000"),
    "max_seconds": (0, -60, math.inf, math.nan, "60"),
    "average_weights": (-0.1, 1, 2, True, None, "0.99"),
    "noise_model": ("gauss", True, 25),
    "components": (0, -1, 17, 3.0, True, None, "3"),
    "noise_sigma": (0, -25, math.inf, math.nan, "25", (), (25, 0), (25, "25"), True),
    "noise_gain": (0, -1.0, math.inf, "2", (), (2, 0), True),
    "noise_offset": (math.inf, math.nan, "2", (), (2, "0"), True),
    "per_image": (1, "each"),
    "seed": (-1, 2**63, 0.5, None, "0"),
    "device": ("gpu", "cuda:9", None, 0),
    "checkpoint_dir": (5, True, ["runs"]),
    "save_top_k": (-1, 1.0, None, "3"),
}

ALLOWED = {
    "struct_mask": "the mask",
    "covariance": "an autocovariance is",
    "shot": "a pair (gain, dark) for each channel",
    "lines": "",
    "waves": "",
    "patch_size": "integer of at least 8",
    "roi_size": "odd integer of at least 3",
    "depth": "integer between 1 and 6",
    "masked_pixel_percentage": "above 0 and below 44.44",
    "learning_rate": "above 0 and below 1",
    "average_weights": "at least 0 and below 1",
    "max_steps": "integer of at least 1 or None",
    "max_seconds": "above 0 or None",
    "strategy": "'uniform', 'uniform_withCP', 'median', 'mean', 'zero', 'random'",
    "optimizer": "'muon', 'adam'",
    "lr_scheduler": "'cosine', 'plateau'",
    "noise_model": "None, 'auto', 'gaussian', 'poisson_gaussian'",
    "components": "integer between 1 and 16",
    "noise_sigma": "positive number",
    "noise_gain": "positive number",
    "noise_offset": "a number in intensity units squared",
    "per_image": "True or False or None",
    "device": "'auto', 'cpu', 'cuda', 'mps'",
    "n2v2": "True, False",
    "checkpoint_dir": "folder or None",
}


def test_every_field_has_a_wrong_value_in_the_table():
    assert set(WRONG) == {field.name for field in dataclasses.fields(N2VConfig)}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_and_the_message_says_what_is_allowed(name, value, refused):
    models = {"noise_sigma": "gaussian", "components": "gaussian"}
    models |= {"noise_gain": "poisson_gaussian", "noise_offset": "poisson_gaussian"}
    others = {"noise_model": models[name]} if name in models else {}
    allowed = re.escape(ALLOWED.get(name, "must be"))
    with refused(ValueError, f"^{name} = {re.escape(repr(value))} is not possible: .*{allowed}"):
        N2VConfig(**others, **{name: value})


def test_a_number_beyond_all_floats_is_refused(refused):
    with refused(ValueError, r"^learning_rate = 10+\.\.\.0+ is not possible: it must be a number above 0 and below 1"):
        N2VConfig(learning_rate=10**400)


def test_shot_noise_needs_the_covariance_it_adds_to(refused):
    with refused(ValueError, r"^shot = \[\(1.0, 0.0\)\] is not possible: it must be None unless there is a covariance"):
        N2VConfig(shot=[(1.0, 0.0)])
    assert N2VConfig(shot=[(1.0, 0.0)], covariance=np.eye(3) * [0, 1, 0]).shot == [(1.0, 0.0)]


@pytest.mark.parametrize(
    "name, hint",
    [("patchsize", "patch_size"), ("masked_percentage", "masked_pixel_percentage"), ("epochs", "max_epochs")],
)
def test_an_unknown_field_is_refused_with_the_nearest_known_one(name, hint, refused):
    with refused(ValueError, rf"no field {name} \(set to 5\): did you mean '{hint}'\?"):
        N2VConfig(**{name: 5})


def test_of_several_unknown_fields_the_first_is_named():
    with pytest.raises(ValueError, match=r"no field zzz"):
        N2VConfig(zzz=1, yyy=2, xxx=3)


def test_an_unknown_field_like_no_other_is_refused_with_all_known_ones():
    with pytest.raises(ValueError, match=r"no field zzz.*allowed are patch_size, .*, save_top_k"):
        N2VConfig(zzz=1)


def test_without_any_limit_the_training_ends_after_100_epochs():
    assert N2VConfig().max_epochs == N2VConfig(max_epochs=None).max_epochs == 100
    assert N2VConfig(max_steps=5).max_epochs is None
    assert N2VConfig(max_seconds=60).max_epochs is None


@pytest.mark.parametrize("noise_model", [None, "poisson_gaussian"])
def test_noise_sigma_without_the_gaussian_model_is_refused(noise_model, refused):
    with refused(ValueError, "noise_sigma = 25 is not possible: .*gaussian"):
        N2VConfig(noise_sigma=25, noise_model=noise_model)


def test_several_densities_need_a_noise_model(refused):
    with refused(ValueError, "^components = 3 is not possible: it must be 1 unless there is a noise_model"):
        N2VConfig(components=3)
    assert N2VConfig(components=3, noise_model="poisson_gaussian").components == 3


@pytest.mark.parametrize("sigma", [25, 0.5, (25, 3.5), [25, 3]])
def test_noise_sigma_is_one_number_or_one_a_channel(sigma):
    assert N2VConfig(noise_sigma=sigma, noise_model="gaussian").noise_sigma == sigma


def test_numbers_and_arrays_of_numpy_become_plain_ones():
    sigmas = np.array([25.0, 3.5])
    config = N2VConfig(seed=np.int64(3), learning_rate=np.float64(0.25), noise_sigma=sigmas, noise_model="gaussian")
    assert (config.seed, config.learning_rate) == (3, 0.25)
    assert {type(config.seed), type(config.learning_rate)} == {int, float}
    assert list(config.noise_sigma) == [25, 3.5] and {type(sigma) for sigma in config.noise_sigma} == {float}
    with pytest.raises(ValueError, match="patch_size = 7 "):
        N2VConfig(patch_size=np.int32(7))


def test_limits_of_the_ranges_are_possible():
    N2VConfig(patch_size=8, roi_size=3, depth=6, masked_pixel_percentage=44.4, average_weights=0, save_top_k=0)
    N2VConfig(max_epochs=None, max_seconds=0.001, seed=2**63 - 1, checkpoint_dir=Path("runs"))


def test_defaults_are_those_of_the_field():
    config = N2VConfig()
    assert (config.patch_size, config.roi_size, config.depth, config.save_top_k) == (64, 11, 2, 3)
    assert config.strategy == "uniform" and config.device == "auto"
    assert config.independent_channels and config.augment and not config.n2v2 and config.noise_model is None


def test_n2v2_takes_the_median_unless_another_strategy_is_named():
    assert N2VConfig(n2v2=True).strategy == "median"
    assert N2VConfig(n2v2=True, strategy="uniform").strategy == "uniform"


def test_jump_gives_the_values_of_the_notes():
    notes = dict(
        patch_size=64,
        batch_size=32,
        augment=True,
        masked_pixel_percentage=0.2,  # percent
        roi_size=11,
        strategy="uniform",
        depth=2,
        num_channels_init=32,
        independent_channels=True,
        optimizer="adam",
        learning_rate=1e-4,
        lr_scheduler="plateau",
        max_epochs=100,
        save_top_k=3,
    )
    not_of_noise2void = dict(n2v2=False, noise_model=None, noise_sigma=None, average_weights=0)
    ours = dict(steps_per_epoch=826, max_steps=None, max_seconds=None, seed=0, device="auto", checkpoint_dir=None)
    expected = notes | not_of_noise2void | ours
    fields = dataclasses.asdict(N2VConfig.jump())
    assert {name: fields[name] for name in expected} == expected
    assert N2VConfig.jump(max_seconds=60) == dataclasses.replace(N2VConfig.jump(), max_seconds=60)
    assert 413 * (540 // 64) ** 2 / 32 == 826  # an epoch: each image for training cut into whole patches


def test_jump_describes_the_network_of_the_notes():
    network = build_network(N2VConfig.jump(), 4)
    image = torch.zeros(1, 4, 64, 64)
    assert network(image).shape == (1, 4, 64, 64)  # 4 in, 4 out
    (first, *others) = network.networks
    assert len(others) == 3 and len(first.encoders) == 2  # one each, depth 2
    assert [encoder[0].weight.shape for encoder in first.encoders] == [(32, 1, 3, 3), (64, 32, 3, 3)]  # 2-D
    assert isinstance(first.last, torch.nn.Conv2d)  # and no activation after it: values of both signs come out
    with torch.no_grad():
        first.last.bias.fill_(-1000.0)
        assert network(image)[:, 0].max() < -900


def test_paper_gives_the_values_of_its_authors_notebook():
    config = N2VConfig.paper()
    assert (config.patch_size, config.batch_size, config.roi_size, config.depth) == (64, 128, 5, 2)
    assert (config.num_channels_init, config.optimizer) == (96, "adam")
    assert (config.learning_rate, config.lr_scheduler) == (4e-4, "plateau")
    assert config.masked_pixel_percentage == 0.198  # percent
    assert (config.steps_per_epoch, config.max_epochs) == (400, 200)
    assert config.strategy == "uniform_withCP" and config.average_weights == 0 and not config.n2v2
    assert N2VConfig.paper(max_seconds=60, depth=3) == dataclasses.replace(config, max_seconds=60, depth=3)


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        N2VConfig().seed = 1


def test_replace_changes_one_field_and_checks_it():
    config = N2VConfig(seed=3)
    assert dataclasses.replace(config, depth=3) == N2VConfig(seed=3, depth=3)
    with pytest.raises(ValueError, match="depth = 9"):
        dataclasses.replace(config, depth=9)


def test_fields_are_named_never_positional():
    with pytest.raises(TypeError):
        N2VConfig(64)
