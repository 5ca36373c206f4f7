"""Watching a training, stopping it, and reading image files."""

import asyncio
import time
from types import SimpleNamespace

import ipykernel
import matplotlib.pyplot as plt
import numpy as np
import pytest
import skimage.io
import tifffile
import zmq
from jupyter_client.session import Session
from tornado.queues import Queue

import n2vlib
from n2vlib.show import live_training

NOISY = np.random.default_rng(0).normal(100, 20, (64, 64))


def endless(**changes):
    return n2vlib.N2VConfig(max_seconds=600, max_epochs=None, num_channels_init=4, **changes)


def test_stop_ends_a_live_training_at_once_and_keeps_what_was_learned():
    training = n2vlib.show.train_live(NOISY, endless(), crop=(0, 0, 32))
    while not training.losses:
        time.sleep(0.01)
    pressed = time.perf_counter()
    training.button.click()
    denoiser = training.result()
    assert time.perf_counter() - pressed < 10  # seconds; a step takes milliseconds, the budget is 600 s
    assert denoiser.history["steps"][-1] == len(training.losses) > 0
    assert denoiser.predict(NOISY).shape == NOISY.shape
    assert training.button.disabled and "done" in training.text.value
    assert training.bar.value < 1 and max(training.kept) == len(training.losses)


def test_live_view_shows_a_picture_and_the_time_left():
    training = n2vlib.show.train_live(NOISY, n2vlib.N2VConfig(max_steps=5, num_channels_init=4), crop=(8, 8, 32))
    assert len(training.result().history["steps"]) == 1
    assert bytes(training.picture.value).startswith(b"\x89PNG")
    assert training.bar.value == 1
    assert "step 5" in training.text.value


def test_the_slider_goes_back_to_the_steps_1_2_4_and_the_last():
    training = n2vlib.show.train_live(NOISY, n2vlib.N2VConfig(max_steps=11, num_channels_init=4), crop=(8, 8, 32))
    training.result()
    assert training.slider.options == (1, 2, 4, 8, 11) and training.slider.value == 11
    assert not training.slider.disabled
    last = bytes(training.picture.value)
    training.slider.value = 2
    assert bytes(training.picture.value) != last
    training.slider.value = 11
    assert bytes(training.picture.value) == last
    assert {crop.shape for crop in training.kept.values()} == {(32, 32)}, "few and small, however long the training"


def test_a_film_strip_shows_five_steps_and_the_loss_without_the_noise():
    training = n2vlib.show.train_live(NOISY, n2vlib.N2VConfig(max_steps=40, num_channels_init=4), crop=(8, 8, 32))
    denoiser = training.result()
    plain, minus = (training.film_strip(sigma) for sigma in (None, 10))
    assert [axis.get_title() for axis in plain.axes[:-1:2]] == [f"step {n}" for n in (1, 2, 8, 16, 40)]
    assert np.array_equal(plain.axes[-2].images[0].get_array(), training.noisy[0, 0] - training.kept[40])
    losses, above = (figure.axes[-1].lines[0].get_ydata() for figure in (plain, minus))
    assert np.allclose(losses - above, 100 / denoiser.std[0] ** 2)
    assert (plain.axes[-1].get_yscale(), minus.axes[-1].get_yscale()) == ("linear", "log")
    assert np.isclose(losses[0], training.losses[0]) and len(losses) <= 40
    assert "1, 2, 8, 16, 40" in plain.get_label() and "loss minus" in minus.get_label()
    plt.close("all")


def test_a_film_strip_takes_no_sigma_where_the_loss_is_no_squared_error(refused):
    config = n2vlib.N2VConfig(max_steps=2, num_channels_init=4, noise_model="gaussian")
    training = n2vlib.show.train_live(NOISY, config, crop=(0, 0, 32))
    with refused(ValueError, match="leave sigma out"):
        training.film_strip(20)


def test_an_interrupted_wait_stops_the_training_and_returns_the_weights(monkeypatch):
    training = n2vlib.show.train_live(NOISY, endless(), crop=(0, 0, 32))
    wait, calls = training.future.result, []

    def interrupted_once():
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt  # what pressing the kernel's stop button raises here
        return wait()

    monkeypatch.setattr(training.future, "result", interrupted_once)
    assert isinstance(training.result(), n2vlib.Denoiser)


def test_waiting_in_a_notebook_leaves_room_for_the_stop_button():
    async def press_while_waiting():
        training = n2vlib.show.train_live(NOISY, endless(), crop=(0, 0, 32))
        waiting = asyncio.create_task(training.finished())
        while not training.losses:
            await asyncio.sleep(0.01)  # the loop turns while the task waits: the kernel hears the button
        training.button.click()
        return await waiting

    assert isinstance(asyncio.run(press_while_waiting()), n2vlib.Denoiser)


def test_a_button_is_heard_where_the_kernel_would_keep_it_waiting_and_the_other_messages_stay(monkeypatch):
    session, queue, heard, sent = Session(), Queue(), [], []  # a kernel of ipykernel 6, as Colab's: one by one
    for number, kind in enumerate(("execute_request", "comm_msg", "inspect_request")):
        message = session.msg(kind, {"comm_id": "button"})
        queue.put_nowait((number, None, ([zmq.Message(part) for part in session.serialize(message, b"browser")],)))
    monkeypatch.setattr(session, "send", lambda socket, kind, content, parent, ident: sent.append((content, parent)))
    comms = SimpleNamespace(comm_msg=lambda stream, identities, message: heard.append(message))
    kernel = SimpleNamespace(session=session, msg_queue=queue, comm_manager=comms, iopub_socket=None, _topic=str)
    monkeypatch.setattr(live_training, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    monkeypatch.setattr(ipykernel, "version_info", (7, 0, 0))
    live_training.hear_widgets()
    assert queue.qsize() == 3 and not heard  # the kernel itself hears it
    monkeypatch.setattr(ipykernel, "version_info", (6, 17, 1))
    live_training.hear_widgets()
    assert [message["content"] for message in heard] == [{"comm_id": "button"}]
    assert [queue.get_nowait()[0] for _ in range(queue.qsize())] == [0, 2]
    assert sent == [({"execution_state": state}, heard[0]) for state in ("busy", "idle")]


def test_an_interrupted_cell_gets_the_weights_reached_so_far():
    async def interrupt():
        training = n2vlib.show.train_live(NOISY, endless(), crop=(0, 0, 32))
        waiting = asyncio.create_task(training.finished())
        while not training.losses:
            await asyncio.sleep(0.01)
        waiting.cancel()  # what the kernel does with an awaiting cell
        return await waiting

    assert isinstance(asyncio.run(interrupt()), n2vlib.Denoiser)


def test_an_error_in_the_background_is_raised_where_the_user_waits():
    training = n2vlib.show.train_live(np.full((64, 64), 7.0), endless(), crop=(0, 0, 32))
    with pytest.raises(ValueError, match="constant"):
        training.result()


def test_live_view_takes_colour_photographs():
    photograph = np.random.default_rng(0).normal(100, 20, (40, 50, 3))
    config = n2vlib.N2VConfig(max_steps=2, num_channels_init=4)
    training = n2vlib.show.train_live(photograph, config, crop=(0, 0, 32), channel_axis=-1)
    assert training.result().predict(photograph, channel_axis=-1).shape == photograph.shape


def test_masking_explorer_redraws_for_its_sliders():
    (controls, picture) = n2vlib.show.explore_masking(NOISY).children
    percentage, strategy = controls.children
    pictures = [bytes(picture.value)]
    for widget, value in ((percentage, 0.2), (percentage, 25), (strategy, "median"), (strategy, "zero")):
        widget.value = value
        pictures.append(bytes(picture.value))
    assert all(png.startswith(b"\x89PNG") for png in pictures) and len(set(pictures)) == 5


def test_load_image_keeps_intensities(tmp_path):
    image = np.arange(70000, 70000 + 64 * 64, dtype=np.uint32).reshape(64, 64)
    tifffile.imwrite(tmp_path / "deep.tif", image)
    assert np.array_equal(n2vlib.load_image(tmp_path / "deep.tif"), image)
    colour = np.zeros((8, 9, 3), np.uint8)
    colour[..., 0] = 30
    skimage.io.imsave(tmp_path / "colour.png", colour, check_contrast=False)
    assert np.array_equal(n2vlib.load_image(tmp_path / "colour.png"), np.full((8, 9), 10))
    assert n2vlib.load_image(tmp_path / "colour.png", channel_axis=-1).shape == (8, 9, 3)
    assert n2vlib.load_image("camera").shape == (512, 512)
