"""Training that is watched and stopped while it runs."""

import asyncio
import contextlib
import ctypes
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import torch
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from ..images.arrays import to_stack
from ..learning.training import train
from .png import to_png

REFRESH = 1.0  # seconds between two pictures


def train_live(image, config, crop=None, **keywords):
    """Start `train` in the background and watch it: time left, loss, the crop getting clean, Stop.

    image, config and keywords: as in `train`; crop: (top, left, side) in pixels; the first
    image and channel is shown.
    Returns at once. `await training.finished()` gives the Denoiser in a notebook and lets the Stop
    button work meanwhile, `training.result()` does so in a script.

    >>> from n2vlib import N2VConfig
    >>> noisy = np.random.default_rng(0).normal(size=(16, 16))
    >>> training = train_live(noisy, N2VConfig(max_steps=1, num_channels_init=1))  # doctest: +ELLIPSIS
    VBox(children=(HBox(children=(FloatProgress(...
    >>> training.result().history["steps"]
    [1]
    """
    return LiveTraining(image, config, crop, keywords)


class LiveTraining:
    """A training in the background: `stop()` ends it at once, `finished()` and `result()` wait for the Denoiser."""

    def __init__(self, image, config, crop, keywords):
        top, left, side = crop or (0, 0, 128)
        stack = to_stack(image, keywords.get("channel_axis"))
        self.noisy = np.asarray(stack[:1, :, top : top + side, left : left + side])
        self.stopping = threading.Event()
        self.losses, self.drawn = [], 0.0
        self.bar = widgets.FloatProgress(max=1.0, layout={"width": "320px"})
        self.text = widgets.Label("starting")
        self.button = widgets.Button(description="Stop", icon="stop", button_style="warning")
        self.button.on_click(lambda _: self.stop())
        # Not empty at the start: a browser hides a picture that cannot be drawn, for good.
        self.picture = widgets.Image(
            value=self._draw(), format="png", layout={"height": "290px", "object_fit": "contain"}
        )
        display(widgets.VBox([widgets.HBox([self.bar, self.text, self.button]), self.picture]))
        callbacks = [self._watch, *keywords.pop("callbacks", ())]
        release_threads()
        self.future = Future()
        threading.Thread(target=self._train, args=(image, config, callbacks, keywords), daemon=True).start()

    def _train(self, image, config, callbacks, keywords):
        try:
            self.future.set_result(train(image, config, callbacks=callbacks, **keywords))
        except BaseException as error:  # raised again, where the user sees it, by result()
            self.text.value = f"failed: {error}"
            self.future.set_exception(error)

    def stop(self):
        """End the training after the step under way; what was learned is kept."""
        self.stopping.set()

    def result(self):
        """Wait for the end of the training and return the Denoiser; interrupting the kernel stops it."""
        try:
            return self.future.result()
        except KeyboardInterrupt:
            self.stop()
            return self.future.result()

    async def finished(self):
        """Wait as `result` does, but awaited: the kernel hears the buttons while a cell awaits."""
        try:
            while not self.future.done():
                hear_widgets()
                await asyncio.sleep(0.1)
        except (KeyboardInterrupt, asyncio.CancelledError):  # the kernel was interrupted
            self.stop()
        return self.future.result()

    def _watch(self, progress):
        """Refresh the view now and then; the callback of `train`."""
        self.losses.append(progress.loss)
        stop = self.stopping.is_set()  # asked once: the button may be pressed at any moment
        done = progress.fraction >= 1 or stop
        if done or time.perf_counter() - self.drawn > REFRESH:
            self.bar.value = progress.fraction
            state = "done" if done else f"{progress.seconds_left:.0f} s left"
            self.text.value = f"step {progress.step}, {progress.seconds:.0f} s, {state}"
            self.button.disabled = done
            self.picture.value = self._draw(progress.step, progress.denoiser)
            self.drawn = time.perf_counter()
        return stop

    def _draw(self, step=0, denoiser=None):
        """Draw noisy crop, denoised crop and loss as PNG; without pyplot, which is not for threads."""
        figure = Figure(figsize=(12, 3.8), layout="constrained")
        axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.4))
        low, high = np.quantile(self.noisy[0, 0], (0.01, 0.99))
        now = self.noisy if denoiser is None else denoiser.predict(self.noisy)
        crops = {"noisy": self.noisy, f"after {step} steps": now}
        for axis, (title, crop) in zip(axes, crops.items()):
            axis.imshow(crop[0, 0], vmin=low, vmax=high)
            axis.set_title(title)
            axis.set_axis_off()
        if self.losses:
            width = max(1, len(self.losses) // 50)
            smooth = np.convolve(self.losses, np.ones(width) / width, mode="valid")
            axes[2].plot(np.linspace(0, step, len(smooth)), smooth)
        axes[2].set_xlabel("training step")
        axes[2].set_ylabel("loss (running mean)")
        return to_png(figure)


def release_threads():
    """Let this thread's OpenMP workers go; they come back when it computes again.

    With more workers than cores, GNU's OpenMP puts each to sleep at once, and small steps take
    twice the time (measured): the main thread's must not wait beside those of the training.
    """
    for library in (Path(torch.__file__).parent / "lib").glob("libgomp*"):
        with contextlib.suppress(OSError, AttributeError):  # other systems have other libraries, without the problem
            ctypes.CDLL(str(library)).omp_pause_resource_all(2)


def hear_widgets():
    """Handle what buttons and sliders sent, where the kernel keeps it until the cell under way has ended.

    So do kernels before ipykernel 7, as Colab's is. All other messages stay in their queue, in order. The handlers
    are called without the kernel's `dispatch`, which would send all further output of the cell to the button.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    queue, comms = getattr(kernel, "msg_queue", None), getattr(kernel, "comm_manager", None)
    if queue is None or comms is None or sys.modules["ipykernel"].version_info[0] >= 7:
        return
    for number, dispatch, arguments in [queue.get_nowait() for _ in range(queue.qsize())]:
        identities, parts = kernel.session.feed_identities(arguments[0], copy=False)
        if kernel.session.unpack(parts[1].bytes)["msg_type"] != "comm_msg":
            queue.put_nowait((number, dispatch, arguments))
            continue
        message = kernel.session.deserialize(parts, copy=False)
        comms.comm_msg(None, identities, message)
        for state in ("busy", "idle"):  # the browser sends a slider's next value when it has seen both
            content = {"execution_state": state}
            kernel.session.send(kernel.iopub_socket, "status", content, message, kernel._topic("status"))
