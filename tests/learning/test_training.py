"""Training: reproducible, can be interrupted and resumed, and it denoises."""

import csv
import dataclasses
import itertools
import os
import platform
import random
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.stats
import torch
from conftest import REPOSITORY
from skimage.restoration import estimate_sigma

import n2vlib
from n2vlib import Denoiser, N2VConfig, split_images, train
from n2vlib.learning import training
from n2vlib.learning.config import STRATEGIES
from n2vlib.learning.device import quickest_threads
from n2vlib.learning.losses import blind_loss, measure_leak
from n2vlib.learning.optimizers import Muon, orthogonalise
from n2vlib.learning.patches import channel_statistics, crop_patches, page_statistics
from n2vlib.learning.training import Run, _train_epoch, _train_step
from n2vlib.noise.models import LARGER, SMALLER, SMALLEST_VARIANCE


def weights(model):
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def same_weights(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def without_times(history):
    return {name: values for name, values in history.items() if name != "seconds"}


@pytest.fixture(scope="module")
def image(noisy):
    return noisy[:48, :56]


def stop_at(step, error=None):
    """A callback that ends the training after a step, or raises `error`."""

    def callback(progress):
        if progress.step == step and error:
            raise error
        return progress.step == step

    return callback


# Reproducible


def test_same_seed_and_steps_give_the_same_weights_bit_for_bit(image, tiny):
    first, again, other = (train(image, tiny(seed=seed)) for seed in (1, 1, 2))
    assert same_weights(weights(first), weights(again))
    assert without_times(first.history) == without_times(again.history)
    assert not same_weights(weights(first), weights(other))


def test_another_process_gives_the_same_weights_bit_for_bit(image, tmp_path):
    program = f"""
import sys, numpy, torch, n2vlib
torch.set_num_threads(1)
config = n2vlib.N2VConfig(patch_size=16, batch_size=2, max_steps=5, device="cpu")
n2vlib.train(numpy.load({str(tmp_path / "image.npy")!r}), config).save(sys.argv[1])
"""
    np.save(tmp_path / "image.npy", image)
    files = [tmp_path / name for name in ("one.pt", "two.pt")]
    running = [subprocess.Popen([sys.executable, "-c", program, str(file)], cwd=REPOSITORY) for file in files]
    assert [process.wait() for process in running] == [0, 0]
    one, two = (weights(Denoiser.load(file)) for file in files)
    assert same_weights(one, two)


@pytest.mark.parametrize("quick", [1, 2])
def test_the_quickest_number_of_threads_is_taken_and_put_back(quick):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with quickest_threads(lambda: time.sleep(0.001 if torch.get_num_threads() == quick else 0.02)):
            assert torch.get_num_threads() == quick
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only this C library gives memory back and can be told")
def test_a_step_does_not_ask_for_its_memory_anew():
    """Some hundred page faults a step were 5 to 15 % of its time, where nothing large had been freed before."""
    program = """
import resource, numpy, n2vlib
faults = []
count = lambda progress: faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
n2vlib.train(numpy.random.default_rng(0).normal(100, 10, (64, 64)), n2vlib.N2VConfig(max_steps=12), callbacks=[count])
print(numpy.median(numpy.diff(faults)[4:]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert float(done.stdout.splitlines()[-1]) < 50


def test_a_rehearsal_teaches_nothing(image, tiny):
    run, fresh = (Run(image[None, None], None, tiny()) for _ in range(2))
    run.rehearse()
    assert _train_step(run) == _train_step(fresh)
    assert same_weights(run.network.state_dict(), fresh.network.state_dict())


def test_the_callers_random_numbers_and_image_are_left_alone(image, tiny):
    random_states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    read_only = image.copy()
    read_only.flags.writeable = False
    train(read_only, tiny(max_steps=3, noise_model="gaussian"), validation=read_only)
    assert np.array_equal(read_only, image)
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert np.array_equal(np.random.get_state()[1], random_states[1])  # noqa: NPY002
    assert random.getstate() == random_states[2]


def test_the_callers_random_numbers_have_no_influence(image, tiny):
    torch.manual_seed(1)
    first = train(image, tiny(max_steps=3))
    torch.manual_seed(2)
    assert same_weights(weights(first), weights(train(image, tiny(max_steps=3))))


# What goes in


@pytest.mark.parametrize("shape", [(20, 13), (8, 8), (3, 20, 13), (2, 2, 9, 40)])
def test_images_smaller_than_the_patch_train_on_what_fits(shape, tiny):
    small = np.random.default_rng(0).normal(0, 1, shape)
    model = train(small, tiny(patch_size=64, max_steps=3))
    assert np.isfinite(model.history["loss"]).all()
    assert model.predict(small).shape == shape


def test_dtype_memory_layout_and_memory_map_do_not_matter(image, tiny, tmp_path):
    image = image.clip(0, 255).round()
    expected = weights(train(image, tiny()))
    np.save(tmp_path / "image.npy", image.astype(np.uint8))
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    for same in (mapped, image.astype(">f4"), np.asfortranarray(image), image[::-1][::-1], image[None, None]):
        assert same_weights(weights(train(same, tiny())), expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_channel_axis_equals_moving_the_axis(two_channels, tiny, axis):
    moved = np.moveaxis(two_channels[0], 0, axis)
    model = train(moved, tiny(), validation=moved, channel_axis=axis)
    expected = train(two_channels, tiny(), validation=two_channels)
    assert same_weights(weights(model), weights(expected))
    assert without_times(model.history) == without_times(expected.history)


@pytest.mark.parametrize(
    "settings",
    [dict(strategy=strategy) for strategy in STRATEGIES]
    + [
        dict(n2v2=True),
        dict(independent_channels=False),
        dict(noise_model="gaussian"),
        dict(noise_model="poisson_gaussian", n2v2=True),
        dict(noise_model="gaussian", noise_sigma=(25, 75), independent_channels=False),
        dict(lr_scheduler="plateau", augment=False, average_weights=0),
        dict(depth=1, masked_pixel_percentage=44, roi_size=3),
        dict(depth=4, masked_pixel_percentage=0.2),
    ],
    ids=str,
)
def test_every_setting_trains(two_channels, tiny, settings):
    config = tiny(max_steps=3, num_channels_init=8, **settings)
    model = train(two_channels, config, validation=two_channels)
    assert np.isfinite(model.history["loss"] + model.history["validation_loss"]).all()
    start = Run(two_channels, None, config).network.state_dict()
    assert not same_weights(weights(model), start)
    assert np.isfinite(model.predict(two_channels)).all()


def test_patches_are_parts_of_the_image(tiny):
    stack = np.arange(2 * 3 * 20 * 30).reshape(2, 3, 20, 30)
    patches, _ = crop_patches(stack, [0, 1], tiny(augment=False, batch_size=200), torch.Generator().manual_seed(0))
    assert patches.shape == (200, 3, 16, 16)
    corners = set()
    for patch in patches:
        page, channel, y, x = np.unravel_index(patch[0, 0, 0], stack.shape)
        assert channel == 0
        assert np.array_equal(patch, stack[page, :, y : y + 16, x : x + 16])
        corners.add((page, y, x))
    pages, rows, columns = (set(values) for values in zip(*corners))
    assert (pages, rows, columns) == (set(range(2)), set(range(5)), set(range(15)))


def test_augmentation_draws_all_eight_orientations_equally_often(tiny):
    stack = np.arange(16 * 16).reshape(1, 1, 16, 16)
    turned = [np.rot90(stack[0, 0], k)[:, ::flip] for k in range(4) for flip in (1, -1)]
    patches, _ = crop_patches(stack, range(len(stack)), tiny(batch_size=1600), torch.Generator().manual_seed(0))
    counts = [sum(np.array_equal(patch[0], orientation) for patch in patches) for orientation in turned]
    assert sum(counts) == 1600
    assert scipy.stats.chisquare(counts).pvalue > 1e-6


def test_statistics_are_those_of_each_channel():
    stack = np.random.default_rng(0).normal([[[[1e6]], [[-3]]]], [[[[0.5]], [[40]]]], (5, 2, 30, 20))
    mean, std = channel_statistics(stack, range(5), *page_statistics(stack, range(5)))
    np.testing.assert_allclose(mean, stack.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, stack.std(axis=(0, 2, 3)), rtol=1e-9)


# Limits, history, callbacks


@pytest.mark.parametrize(
    "limits, steps",
    [
        (dict(max_epochs=3, max_steps=None), [4, 8, 12]),
        (dict(max_epochs=3, max_steps=10), [4, 8, 10]),
        (dict(max_epochs=2, max_steps=10), [4, 8]),
        (dict(max_steps=1), [1]),
        (dict(max_epochs=2, max_seconds=1000), [4, 8]),
    ],
)
def test_whichever_limit_comes_first_ends_the_training(image, tiny, limits, steps):
    model = train(image, tiny(steps_per_epoch=4, **limits))
    history = model.history
    assert set(history) == {"loss", "validation_loss", "learning_rate", "seconds", "steps"}
    assert history["steps"] == steps
    assert history["validation_loss"] == [None] * len(steps)
    assert all(len(values) == len(steps) for values in history.values())
    assert np.isfinite(history["loss"]).all()
    assert history["seconds"] == sorted(history["seconds"]) and history["seconds"][0] > 0


def test_a_time_budget_is_kept_within_one_step(image, tiny):
    seen = []
    start = time.perf_counter()
    train(image, tiny(max_steps=None, max_seconds=1.0), callbacks=[lambda p: seen.append((p.seconds, p.fraction))])
    elapsed = time.perf_counter() - start
    seconds, fractions = np.transpose(seen)
    assert len(seconds) > 5
    assert seconds[-2] < 1.0 <= seconds[-1], "not the first step that reaches the budget was the last"
    assert fractions[-1] == 1 and (np.diff(fractions) > 0).all()
    # Beside the steps there are only the set-up and the calls between them: far below a second.
    assert elapsed < seconds[-1] + 1.0


def test_the_cosine_schedule_ends_when_the_training_does(image, tiny):
    model = train(image, tiny(steps_per_epoch=1, max_steps=200, learning_rate=1e-3))
    rates = model.history["learning_rate"]
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert np.argmax(rates) < 10, "warming up takes a few percent of the training"
    assert rates[100] == pytest.approx(0.5e-3, rel=0.01)
    assert 0 < rates[-1] < 1e-3 * 1e-3  # (1 + cos(0.995 pi)) / 2 is 6e-5


def test_the_plateau_schedule_lowers_the_rate_when_the_loss_stays(tiny):
    # On pure noise the loss cannot fall below the variance: after ten epochs without a better one
    # the rate goes down by a factor of ten.
    noise = np.random.default_rng(0).standard_normal((64, 64))
    model = train(noise, tiny(steps_per_epoch=1, max_steps=80, learning_rate=1e-3, lr_scheduler="plateau"))
    rates = model.history["learning_rate"]
    assert rates[0] == 1e-3
    assert rates[-1] <= 1.01e-4
    drops = [now / before for before, now in itertools.pairwise(rates) if now != before]
    assert drops == pytest.approx([0.1] * len(drops))


def test_the_plateau_follows_the_validation_loss(image, tiny):
    config = tiny(steps_per_epoch=1, max_steps=3, lr_scheduler="plateau")
    run = Run(image[None, None], image[None, None], config)
    assert [plateau.optimizer for plateau in run.plateaus] == run.optimizers
    model = train(image, config, validation=image)
    assert None not in model.history["validation_loss"]


def test_jumps_plateau_over_two_epochs(image):
    small = dict(patch_size=16, batch_size=2, num_channels_init=4, steps_per_epoch=2, device="cpu")
    config = N2VConfig.jump(**small, max_epochs=2)
    run = Run(image[None, None], image[None, None], config)
    (plateau,) = run.plateaus
    # torch's own settings: a tenth of the rate after more than ten epochs without a better validation loss.
    assert (plateau.mode, plateau.factor, plateau.patience) == ("min", 0.1, 10)
    losses = iter([0.5, 0.6])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "validation_loss", lambda run: next(losses))
        for bad_epochs in (0, 1):
            _train_epoch(run, [])
            assert (plateau.best, plateau.num_bad_epochs) == (0.5, bad_epochs)
    history = train(image, config, validation=image).history
    assert history["learning_rate"] == [1e-4, 1e-4] and history["steps"] == [2, 4]


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_every_weight_is_trained_by_exactly_one_optimizer(image, tiny, optimizer):
    run = Run(image[None, None], None, tiny(optimizer=optimizer))
    stepped = [w for o in run.optimizers for group in o.param_groups for w in group["params"]]
    assert sorted(map(id, stepped)) == sorted(map(id, run.network.parameters()))
    before = [weight.detach().clone() for weight in run.network.parameters()]
    _train_step(run)
    changed = [not torch.equal(old, new) for old, new in zip(before, run.network.parameters())]
    assert all(changed)


@pytest.mark.parametrize("shape", [(16, 144), (64, 576), (64, 32), (5, 5)])
def test_muon_makes_all_singular_values_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, before, right = torch.linalg.svd(matrix, full_matrices=False)
    small = torch.eye(5)[:, :3]
    result, other = orthogonalise([matrix, small])
    assert other.shape == small.shape and torch.allclose(result, orthogonalise([matrix])[0], atol=1e-5)
    after = torch.linalg.svdvals(result)
    # The quintic drives values to 0.7 ... 1.2 (Jordan et al. 2024); tiny ones may lag behind.
    assert (after[before > 0.05 * before.max()] > 0.5).all() and (after < 1.3).all()
    # The directions stay: left and right singular vectors still make the result diagonal.
    diagonal = left.T @ result @ right.T
    assert torch.allclose(diagonal, torch.diag(torch.diagonal(diagonal)), atol=1e-3)


def test_muon_follows_its_formula():
    weight = torch.nn.Parameter(torch.zeros(8, 4, 3, 3))
    muon, momentum = Muon([weight], 0.1), torch.zeros(8, 36)
    expected = torch.zeros(8, 36)
    for seed in range(3):
        gradient = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
        weight.grad = gradient
        muon.step()
        momentum = 0.95 * momentum + 0.05 * gradient.flatten(1)
        (step,) = orthogonalise([0.05 * gradient.flatten(1) + 0.95 * momentum])
        expected -= 0.1 * 0.2 * 36**0.5 * step
    assert torch.allclose(weight.flatten(1), expected, atol=1e-5)


def test_validation_losses_are_noted_and_change_nothing_else(image, noisy, tiny):
    config = tiny(steps_per_epoch=5)
    plain, validated = train(image, config), train(image, config, validation=noisy[100:130, 100:150])
    assert len(validated.history["validation_loss"]) == 2
    assert np.isfinite(validated.history["validation_loss"]).all()
    assert same_weights(weights(plain), weights(validated))


def test_a_share_of_the_images_is_held_out(tiny):
    # Each image has its own grey value, so each patch tells which image it is from.
    stack = np.arange(10)[:, None, None] + np.linspace(0, 0.1, 400).reshape(20, 20)
    run = Run(stack[:, None], 0.3, tiny(seed=3))
    learned, held_out = (set(images[1]) for images in (run.training, run.validation))
    assert len(learned) == 7 and len(held_out) == 3 and not learned & held_out
    for images, pages in ((run.training, learned), (run.validation, held_out)):
        patches = run.denoiser.denormalise(
            torch.cat([run.normalised_patches(images, run.crops)[0] for _ in range(40)]).numpy()
        )
        assert set(np.floor(patches[:, 0, 0, 0] + 1e-3).astype(int)) == pages
    assert run.denoiser.mean[0] == pytest.approx(stack[sorted(learned)].mean())
    history = train(stack, tiny(), validation=0.3).history
    assert np.isfinite(history["validation_loss"]).all()


@pytest.mark.parametrize("count, training", [(517, 413), (10, 8), (2, 1), (5, 4)])
def test_the_split_is_seeded_and_without_overlap(count, training):
    first, second = split_images(count, 0.2, seed=1)
    assert len(first) == training and sorted([*first, *second]) == list(range(count))
    again, other = split_images(count, 0.2, seed=1)[0], split_images(count, 0.2, seed=2)[0]
    assert np.array_equal(first, again) and (count < 10 or not np.array_equal(first, other))


@pytest.mark.parametrize("count, share", [(1, 0.2), (5, 0.0), (5, 1.0), (3, 0.9)])
def test_a_split_without_images_in_a_part_is_refused(count, share, refused):
    with refused(ValueError, "cannot be split"):
        split_images(count, share)


def test_the_log_is_a_csv_with_a_line_an_epoch(image, tiny, tmp_path):
    config = tiny(steps_per_epoch=5, max_steps=15, checkpoint_dir=tmp_path)
    history = train(image, config).history
    with open(tmp_path / "log.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == [1, 2, 3] and [int(line["steps"]) for line in lines] == [5, 10, 15]
    assert [float(line["loss"]) for line in lines] == history["loss"]
    assert [float(line["learning_rate"]) for line in lines] == history["learning_rate"]
    assert all(line["validation_loss"] == "" for line in lines)
    speed = 5 * config.batch_size / (history["seconds"][1] - history["seconds"][0])
    assert float(lines[1]["patches_per_second"]) == pytest.approx(speed, rel=1e-3)


def test_a_training_stopped_in_its_first_epoch_leaves_a_log_and_can_be_begun_again(image, tiny, tmp_path):
    config = tiny(steps_per_epoch=5, checkpoint_dir=tmp_path)
    stopped = train(image, config, callbacks=[stop_at(2)])
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]  # no checkpoint in the middle of an epoch
    (line,) = csv.DictReader((tmp_path / "log.csv").read_text().splitlines())
    assert line["steps"] == "2" and float(line["loss"]) == stopped.history["loss"][0]
    again = train(image, config, resume=True)
    assert same_weights(weights(again), weights(train(image, tiny(steps_per_epoch=5))))
    assert [line["steps"] for line in csv.DictReader((tmp_path / "log.csv").read_text().splitlines())] == ["5", "10"]


def test_a_callback_is_told_where_the_training_stands(image, tiny):
    seen = []
    model = train(image, tiny(steps_per_epoch=4), callbacks=[seen.append])
    assert [progress.step for progress in seen] == list(range(1, 11))
    assert [progress.fraction for progress in seen] == pytest.approx(np.arange(1, 11) / 10)
    assert seen[-1].seconds_left == 0 < seen[0].seconds_left
    assert np.mean([progress.loss for progress in seen[:4]]) == pytest.approx(model.history["loss"][0])
    assert seen[-1].history is model.history
    assert seen[-1].denoiser.predict(image).shape == image.shape


def test_a_callback_that_returns_true_stops_at_once_and_all_are_called(image, tiny):
    called = []
    callbacks = [stop_at(7), lambda progress: called.append(progress.step)]
    model = train(image, tiny(steps_per_epoch=5), callbacks=callbacks)
    assert called == list(range(1, 8))
    assert model.history["steps"] == [5, 7]


@pytest.mark.parametrize("average", [0, 0.9])
@pytest.mark.parametrize("noise_model", [None, "gaussian"])
def test_ctrl_c_returns_the_weights_reached_so_far(image, tiny, average, noise_model):
    config = tiny(steps_per_epoch=5, average_weights=average, noise_model=noise_model)
    interrupted = train(image, config, callbacks=[stop_at(7, KeyboardInterrupt)])
    stopped = train(image, config, callbacks=[stop_at(7)])
    assert same_weights(weights(interrupted), weights(stopped))
    assert np.array_equal(interrupted.predict(image), stopped.predict(image))
    assert interrupted.history["steps"] == stopped.history["steps"] == [5, 7]


@contextmanager
def ctrl_c_is_caught():
    """Fail if Ctrl-C gets through, which else would end the whole test session."""
    try:
        yield
    except KeyboardInterrupt:
        pytest.fail("Ctrl-C got through, and what was learned is lost")


def test_ctrl_c_during_validation_returns_the_weights_reached_so_far(image, tiny):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    def interrupt_validation(progress):
        if progress.step == 5:  # the last of an epoch; the network to be returned is next used for validation
            hooks.append(progress.denoiser.network.register_forward_pre_hook(interrupt))

    hooks = []
    config = tiny(steps_per_epoch=5)
    with ctrl_c_is_caught():
        interrupted = train(image, config, validation=image, callbacks=[interrupt_validation])
    hooks[0].remove()
    stopped = train(image, config, validation=image, callbacks=[stop_at(5)])
    assert same_weights(weights(interrupted), weights(stopped))
    assert len({len(values) for values in interrupted.history.values()}) == 1


def test_ctrl_c_during_a_checkpoint_returns_the_weights_reached_so_far(image, tiny, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    config = tiny(steps_per_epoch=5, max_steps=20, lr_scheduler="plateau", checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch, ctrl_c_is_caught():
        patch.setattr(torch, "save", interrupt)
        interrupted = train(image, config)
    stopped = train(image, dataclasses.replace(config, max_steps=5))
    assert same_weights(weights(interrupted), weights(stopped))


def test_other_errors_of_a_callback_are_not_swallowed(image, tiny):
    with pytest.raises(RuntimeError, match="mine"):
        train(image, tiny(), callbacks=[stop_at(3, RuntimeError("mine"))])


# Checkpoints and resume


@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(lr_scheduler="plateau", average_weights=0),
        dict(noise_model="gaussian", n2v2=True),
    ],
    ids=str,
)
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(image, tiny, tmp_path, settings):
    config = tiny(steps_per_epoch=10, max_steps=40, **settings)
    whole = train(image, config, validation=image)

    config = dataclasses.replace(config, checkpoint_dir=tmp_path)
    with pytest.raises(RuntimeError):
        train(image, config, validation=image, callbacks=[stop_at(25, RuntimeError())])
    steps = []
    resumed = train(
        image, config, validation=image, resume=True, callbacks=[lambda progress: steps.append(progress.step)]
    )
    assert steps == list(range(21, 41)), "the crash costs the epoch it happened in, no more"
    assert same_weights(weights(resumed), weights(whole))
    assert without_times(resumed.history) == without_times(whole.history)
    assert np.array_equal(resumed.predict(image), whole.predict(image))


def test_a_finished_training_can_go_on_with_a_higher_limit(image, tiny, tmp_path):
    config = tiny(steps_per_epoch=10, max_steps=20, lr_scheduler="plateau", checkpoint_dir=tmp_path)
    train(image, config)
    longer = train(image, dataclasses.replace(config, max_steps=40), resume=True)
    assert longer.history["steps"] == [10, 20, 30, 40]
    whole = train(image, tiny(steps_per_epoch=10, max_steps=40, lr_scheduler="plateau"))
    assert same_weights(weights(longer), weights(whole))


def test_resuming_a_finished_training_returns_it(image, tiny, tmp_path):
    config = tiny(checkpoint_dir=tmp_path, noise_model="gaussian")
    first, again = train(image, config), train(image, config, resume=True)
    assert same_weights(weights(first), weights(again))
    assert first.history == again.history
    assert np.array_equal(first.predict(image), again.predict(image))


def test_resume_without_a_checkpoint_starts_afresh(image, tiny, tmp_path):
    model = train(image, tiny(checkpoint_dir=tmp_path / "none yet"), resume=True)
    assert same_weights(weights(model), weights(train(image, tiny())))


@pytest.mark.parametrize("changes", [dict(seed=1), dict(learning_rate=1e-4), dict(num_channels_init=8)], ids=str)
def test_resume_with_other_settings_is_refused(image, tiny, tmp_path, changes, refused):
    train(image, tiny(checkpoint_dir=tmp_path, max_steps=2))
    with refused(ValueError, f"last.pt was trained with other settings .{next(iter(changes))}.*: resume with the same"):
        train(image, tiny(checkpoint_dir=tmp_path, max_steps=4, **changes), resume=True)


def test_resume_with_other_images_is_refused(image, noisy, tiny, tmp_path, refused):
    train(image, tiny(checkpoint_dir=tmp_path, max_steps=2))
    with refused(ValueError, "other images"):
        train(noisy[100:150, 100:150], tiny(checkpoint_dir=tmp_path, max_steps=4), resume=True)


@pytest.mark.parametrize("validated", [False, True])
def test_the_folder_holds_the_last_and_the_best_models(image, tiny, tmp_path, validated):
    reached = {}

    def remember(progress):
        if progress.step % 5 == 0:
            reached[progress.step // 5] = weights(progress.denoiser)

    config = tiny(steps_per_epoch=5, max_steps=30, save_top_k=2, checkpoint_dir=tmp_path)
    validation = image if validated else None
    history = train(image, config, validation=validation, callbacks=[remember]).history

    scores = history["validation_loss" if validated else "loss"]
    best = np.argsort(scores)[:2] + 1
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([f"best_epoch{e:04d}_loss{scores[e - 1]:.5f}.pt" for e in best] + ["last.pt", "log.csv"])
    for epoch in best:
        (path,) = tmp_path.glob(f"best_epoch{epoch:04d}*")
        assert same_weights(weights(Denoiser.load(path)), reached[epoch])
    assert same_weights(weights(Denoiser.load(tmp_path / "last.pt")), reached[6])


def test_a_checkpoint_predicts_like_the_model_itself(image, tiny, tmp_path):
    config = tiny(noise_model="gaussian", max_steps=4, average_weights=0, checkpoint_dir=tmp_path)
    model = train(image, config)
    last = Denoiser.load(tmp_path / "last.pt")
    last.network.to("cpu")
    assert last.leak == model.leak != 0
    assert np.array_equal(last.predict(image), model.predict(image))


def fail_after(calls, real):
    """Replace a function by one that breaks down at its n-th call, having written half a file."""
    count = 0

    def function(*arguments):
        nonlocal count
        count += 1
        if count == calls:
            if hasattr(arguments[1], "write"):
                arguments[1].write(b"half a file")
            raise OSError("the disk is full")
        return real(*arguments)

    return function


# In the second epoch: the best model, and last.pt. An epoch also replaces the log.
@pytest.mark.parametrize(
    "module, name, calls", [(os, "replace", 4), (os, "replace", 5), (torch, "save", 3), (torch, "save", 4)]
)
def test_a_crash_while_writing_leaves_only_readable_files(image, tiny, tmp_path, monkeypatch, module, name, calls):
    config = tiny(steps_per_epoch=5, max_steps=20, lr_scheduler="plateau", save_top_k=9, checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk is full"):
        patch.setattr(module, name, fail_after(calls, getattr(module, name)))
        train(image, config)
    assert all(path.suffix in (".pt", ".csv") for path in tmp_path.iterdir())
    assert all(Denoiser.load(path).history["steps"] for path in tmp_path.glob("*.pt"))
    assert Denoiser.load(tmp_path / "last.pt").history["steps"] == [5]

    resumed = train(image, config, resume=True)
    whole = train(image, dataclasses.replace(config, checkpoint_dir=None))
    assert same_weights(weights(resumed), weights(whole))
    assert len(list(tmp_path.glob("*.pt"))) == 1 + 4


def test_a_crash_while_saving_keeps_the_old_model(image, tiny, tmp_path, monkeypatch):
    model = train(image, tiny(max_steps=2))
    model.save(tmp_path / "model.pt")
    before = (tmp_path / "model.pt").read_bytes()
    monkeypatch.setattr(torch, "save", fail_after(1, torch.save))
    with pytest.raises(OSError):
        model.save(tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


# What is learned


def loss_cases():
    rng = np.random.default_rng(0)
    target = rng.normal(0, 1, (2, 2, 6, 6))
    blind = rng.random((2, 2, 6, 6)) < 0.3
    return target, blind, rng.normal(0, 1, (2, 2, 6, 6)), rng.normal(0, 1, (2, 2, 6, 6))


def test_the_loss_is_the_squared_error_at_the_blind_pixels():
    target, blind, mean, _ = loss_cases()
    loss = blind_loss(torch.tensor(mean), torch.tensor(target), torch.tensor(blind))
    assert loss.item() == pytest.approx(np.mean((mean - target)[blind] ** 2), rel=1e-12)


def test_a_noise_model_warns_of_noise_that_neighbours_share(camera, tiny):
    """Demosaicked, shifted by half a pixel, in stripes: its sigma comes out too low, and nothing else would say so."""
    grain = np.random.default_rng(0).normal(0, 20, (256, 257))
    config = tiny(noise_model="gaussian", max_steps=1)
    with pytest.warns(
        UserWarning, match="channel 0: neighbours share.*use run_two_stage, or at least noise_model=None"
    ) as seen:
        train(camera + (grain[:, 1:] + grain[:, :-1]) / 2, config)
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(camera + grain[:, 1:], config)
        train(camera + (grain[:, 1:] + grain[:, :-1]) / 2, tiny(max_steps=1))  # plain: no promise to break


@pytest.mark.parametrize("gain, offset", [([0.0, 0.0], [0.3, 2.0]), ([0.2, 0.05], [0.5, 0.01])])
def test_the_loss_with_a_noise_model_is_the_negative_log_likelihood(gain, offset):
    target, blind, mean, raw = loss_cases()
    output = np.stack([mean, raw], axis=2).reshape(2, 4, 6, 6)
    noise = [torch.tensor(values, dtype=torch.float64)[:, None, None, None] for values in (gain, offset)]
    loss = blind_loss(torch.tensor(output), torch.tensor(target), torch.tensor(blind), noise, weight=0)

    variance = np.log(1 + np.exp(raw)) + SMALLEST_VARIANCE
    gain, offset = np.reshape(gain, (2, 1, 1)), np.reshape(offset, (2, 1, 1))
    total = variance + np.maximum(gain * mean + offset, SMALLEST_VARIANCE)
    density = np.exp(-((mean - target) ** 2) / (2 * total)) / np.sqrt(2 * np.pi * total)
    expected = -np.log(density)[blind].mean() - np.log(2 * np.pi) / 2  # the constant is left out
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    if np.any(gain):  # and where noise grows with the signal, each pixel counts by its variance to a power
        weights, errors = total[blind] ** 0.75, -np.log(density)[blind] - np.log(2 * np.pi) / 2
        weighted = blind_loss(torch.tensor(output), torch.tensor(target), torch.tensor(blind), noise)
        assert weighted.item() == pytest.approx((weights * errors).sum() / weights.sum(), rel=1e-9)


def test_the_noise_model_is_normalised_like_the_image(untrained):
    model = untrained(noise_model="poisson_gaussian", gain=3.0)
    gain, offset = (value.item() for value in model.normal_noise())
    for signal in (50, 100, 400):
        in_units = 3.0 * signal + 400
        assert (gain * (signal - 100) / 50 + offset) * 50**2 == pytest.approx(in_units, rel=1e-6)


def test_pure_noise_is_not_reproduced():
    # Nothing predicts a pixel of white noise: the best answer is 0, and a network that learned the
    # identity would return the noise with slope, correlation and deviation 1. What is left of 150
    # steps is a small random mixture of at least the 5x5 nearest pixels (two 3x3 convolutions), of
    # which the pixel itself has a share of about 1 / sqrt(25) = 0.2 in correlation. Margin: 0.5.
    noise = np.random.default_rng(0).standard_normal((128, 128))
    clean = train(noise, N2VConfig(max_steps=150, device="cpu")).predict(noise)
    assert clean.std() < 0.3
    assert abs(np.cov(clean.ravel(), noise.ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(clean.ravel(), noise.ravel())[0, 1]) < 0.5


@pytest.mark.parametrize(
    "settings",
    [dict(max_steps=200), dict(max_steps=200, noise_model="gaussian"), dict(max_steps=300, n2v2=True)],
    ids=str,
)
def test_a_real_image_gains_three_decibels_in_a_few_seconds(camera, noisy, settings):
    model = train(noisy, N2VConfig(device="cpu", **settings))
    assert n2vlib.psnr(camera, model.predict(noisy)) > n2vlib.psnr(camera, noisy) + 3
    # Training makes the pixel's own value useless; the identity would have a leak of 1.
    assert abs(model.leak) < 0.2


def test_each_channel_is_denoised_in_its_own_units(camera):
    clean = np.stack([camera[:128, :128], 5 * camera[128:, 128:] + 1000])
    noise = np.random.default_rng(0).normal(0, 1, clean.shape) * np.array([25, 125])[:, None, None]
    noisy = (clean + noise)[None]
    # After 100 steps 0.80 of the noise is left in the second channel, told its true sigma or not; after 150 less.
    config = N2VConfig(max_steps=150, patch_size=48, device="cpu", noise_model="gaussian", average_weights=0)
    error = train(noisy, config).predict(noisy)[0] - clean
    assert (error.std(axis=(1, 2)) < 0.8 * noise.std(axis=(1, 2))).all()
    assert (abs(error.mean(axis=(1, 2))) < 0.2 * noise.std(axis=(1, 2))).all()


def test_the_leak_of_the_identity_is_one_and_of_a_constant_zero(image, tiny):
    run = Run(image[None, None], None, tiny(noise_model="gaussian"))
    run.denoiser.network = lambda patches: torch.cat([patches, patches], dim=1)
    assert measure_leak(run) == pytest.approx(1)
    run.denoiser.network = lambda patches: torch.cat([0 * patches, patches], dim=1)
    assert measure_leak(run) == 0


# Starting from trained weights


def test_fine_tuning_begins_with_the_weights_of_start_and_leaves_them_alone(image, noisy, tiny):
    first = train(noisy, tiny(seed=1))
    before = weights(first)
    barely = tiny(seed=2, max_steps=1, optimizer="adam", learning_rate=1e-9, masked_pixel_percentage=3.0)
    tuned, fresh = train(image, barely, start=first), train(image, barely)
    assert same_weights(weights(first), before)
    for name, tensor in weights(tuned).items():  # one step of Adam moves a weight by the rate, at most; and rounding
        torch.testing.assert_close(tensor, before[name], rtol=1e-6, atol=2e-9)
    assert not same_weights(weights(fresh), weights(tuned))
    assert tuned.mean == [pytest.approx(image.mean())]  # normalised as its own images are


@pytest.mark.parametrize("model", [dict(noise_model="gaussian"), dict(noise_model="poisson_gaussian", noise_gain=0.1)])
@pytest.mark.parametrize("times", [0.6, 1.5, 3.0])
def test_noise_of_another_strength_is_as_strong_as_the_weights_know_it(camera, tiny, model, times):
    """Which unit an image has, a network cannot tell: it is the noise that is made alike, not the picture."""

    def config(sigma):
        known = dict(noise_sigma=sigma) if model["noise_model"] == "gaussian" else dict(noise_offset=sigma**2)
        return tiny(max_steps=1, **model, **known)

    first = Run(camera[None, None], None, config(20.0)).denoiser
    other = Run(camera[None, None], None, config(20.0 * times), first).denoiser
    known, now = (float(denoiser.normal_noise()[1]) for denoiser in (first, other))
    assert now == pytest.approx(known)
    assert other.mean == [pytest.approx(camera.mean())]


def test_images_of_the_kind_of_the_start_are_normalised_as_its_own(camera, tiny):
    config = tiny(max_steps=1, noise_model="gaussian", noise_sigma=20.0)
    first = Run(camera[None, None], None, config).denoiser
    nearly = dataclasses.replace(config, noise_sigma=21.0)
    part = Run(camera[None, None, :40, :40] + 5, None, nearly, first).denoiser
    assert (part.mean, part.std) == (first.mean, first.std)
    far = Run(camera[None, None] + 5 * first.std[0], None, nearly, first).denoiser  # dark and bright mean nothing there
    assert far.mean == [pytest.approx(first.mean[0] + 5 * first.std[0])]


@pytest.mark.parametrize("sigma, times", [(0.1, 1 / LARGER), (2000.0, SMALLER)])
def test_images_are_not_scaled_without_limit_for_the_sake_of_their_noise(camera, tiny, sigma, times):
    config = tiny(max_steps=1, noise_model="gaussian", noise_sigma=20.0)
    first = Run(camera[None, None], None, config).denoiser
    other = Run(camera[None, None], None, dataclasses.replace(config, noise_sigma=sigma), first).denoiser
    assert other.std == [pytest.approx(times * camera.std())]


@pytest.mark.parametrize("started", [True, False])
def test_a_fine_tuning_is_resumed_in_the_units_in_which_it_was_saved(noisy, tiny, tmp_path, started):
    first = train(noisy, tiny(max_steps=1, noise_model="gaussian", noise_sigma=20.0))
    settings = dict(noise_model="gaussian", noise_sigma=40.0, steps_per_epoch=2, lr_scheduler="plateau")
    whole = train(noisy, tiny(**settings, max_steps=4), start=first)
    train(noisy, tiny(**settings, max_steps=2, checkpoint_dir=tmp_path), start=first)
    longer = tiny(**settings, max_steps=4, checkpoint_dir=tmp_path)
    half = train(noisy, longer, start=first if started else None, resume=True)
    assert half.std == whole.std != [pytest.approx(noisy.std())]


@pytest.mark.parametrize("changes", [dict(depth=1), dict(n2v2=True), dict(noise_model="gaussian")])
def test_weights_of_another_network_are_refused(image, tiny, changes):
    other = train(image, tiny(max_steps=1, **changes))
    with pytest.raises(ValueError, match="start is another network than the config describes: use the same depth"):
        train(image, tiny(max_steps=1), start=other)


def test_a_start_that_is_no_denoiser_is_refused(image, tiny):
    with pytest.raises(TypeError, match="start is a str: give a Denoiser"):
        train(image, tiny(), start="model.pt")


# The noise level, seen from a trained network


def test_a_network_knows_the_noise_level_where_texture_fools_an_estimate_from_the_image(tiny):
    rng = np.random.default_rng(0)
    clean = np.full((128, 128), 100.0)
    clean[:, 64:] += rng.uniform(-60, 60, (128, 64))  # a texture that no neighbour predicts
    noisy = clean + rng.normal(0, 10, clean.shape)
    model = train(noisy, tiny(max_steps=300, noise_model="gaussian", noise_sigma=8.0, num_channels_init=8))
    (sigma,) = n2vlib.learning.blind_sigma(model, noisy)
    pixels = 200 * 2 * 16 * 16 * 0.11 * 0.05  # hidden ones looked at, and the share of them that is used
    chance = 4 * 10 / np.sqrt(2 * pixels)
    assert 10 - chance < sigma < 10 * 1.05 + chance  # the flat half is not predicted without any error either
    assert estimate_sigma(noisy) > 1.5 * sigma


def test_the_noise_level_needs_a_gaussian_noise_model(image, tiny):
    with pytest.raises(ValueError, match="the denoiser has noise_model = None: train one with"):
        n2vlib.learning.blind_sigma(train(image, tiny(max_steps=1)), image)


def test_the_noise_level_of_other_channels_is_refused(image, two_channels, tiny, refused):
    with refused(ValueError, r"trained on 1 channel.* has 2: give images with the same"):
        n2vlib.learning.blind_sigma(train(image, tiny(max_steps=1, noise_model="gaussian")), two_channels)


def test_a_wide_range_is_not_rounded(tiny):
    rng, clean = np.random.default_rng(0), np.full((3, 1, 64, 64), 200.0)
    clean[..., 20:28, 20:28] = 20000
    assert not Run(clean + rng.normal(0, 16, clean.shape), None, tiny()).rounds
    for image in (clean + rng.normal(0, 4000, clean.shape), rng.poisson(clean / 1e4)):  # noise as large as the rest
        assert Run(image, None, tiny()).rounds
