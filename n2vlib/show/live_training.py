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
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from ..images.arrays import to_stack
from ..learning.training import train
from .figures import GREY, contrasts
from .png import to_png

REFRESH, SHARE = 1.0, 0.05  # seconds between two pictures, and the share of the time that they may take at most
STAGES = 5  # on a film strip
REACH = 128  # its first stage comes after one step in this many: before that all pictures are alike
BINS = 40  # of the loss over the logarithm of the steps


def train_live(image, config, crop=None, **keywords):
    """Start `train` in the background and watch it: time left, loss, the crop getting clean, Stop.

    image, config and keywords: as in `train`; crop: (top, left, side) in pixels; the first
    image and channel is shown.
    Returns at once. `await training.finished()` gives the Denoiser in a notebook and lets the Stop
    button work meanwhile, `training.result()` does so in a script. Then a slider goes back to the crop as it was after
    1, 2, 4, 8, ... steps (these are kept), and `training.film_strip()` draws five such stages.

    >>> from n2vlib import N2VConfig
    >>> noisy = np.random.default_rng(0).normal(size=(16, 16))
    >>> training = train_live(noisy, N2VConfig(max_steps=3, num_channels_init=1))  # doctest: +ELLIPSIS
    VBox(children=(HBox(children=(FloatProgress(...
    >>> training.result().history["steps"], training.slider.options
    ([3], (1, 2, 3))
    >>> training.film_strip().get_label()
    'The crop after 1, 2, 3 steps, and its residual. Plot: loss against training step.'
    """
    return LiveTraining(image, config, crop, keywords)


class LiveTraining:
    """A training in the background: `stop()` ends it at once, `finished()` and `result()` wait for the Denoiser."""

    def __init__(self, image, config, crop, keywords):
        top, left, side = crop or (0, 0, 128)
        stack = to_stack(image, keywords.get("channel_axis"))
        self.noisy = np.asarray(stack[:1, :, top : top + side, left : left + side])
        self.stopping = threading.Event()
        self.losses, self.kept, self.next, self.progress = [], {}, 0.0, None
        self.bar = widgets.FloatProgress(max=1.0, layout={"width": "320px"})
        self.text = widgets.Label("starting")
        self.button = widgets.Button(description="Stop", icon="stop", button_style="warning")
        self.button.on_click(lambda _: self.stop())
        self.slider = widgets.SelectionSlider(options=[0], description="at step", disabled=True)
        # Not empty at the start: a browser hides a picture that cannot be drawn, for good.
        self.picture = widgets.Image(
            value=self._draw(), format="png", layout={"height": "260px", "object_fit": "contain"}
        )
        controls = widgets.HBox([self.bar, self.text, self.button, self.slider], layout={"flex_flow": "row wrap"})
        display(widgets.VBox([controls, self.picture]))
        callbacks = [self._watch, *keywords.pop("callbacks", ())]
        release_threads()
        self.future = Future()
        threading.Thread(target=self._train, args=(image, config, callbacks, keywords), daemon=True).start()

    def _train(self, image, config, callbacks, keywords):
        try:
            denoiser = train(image, config, callbacks=callbacks, **keywords)
            self._end(denoiser)
            self.future.set_result(denoiser)
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

    def film_strip(self, sigma=None):
        """Wait for the end, then draw how the image came into being: at five steps crop and residual, and the loss.

        sigma: standard deviation of the noise, intensity units, if it is known: then its square, which stays in the
        loss whatever the network does, is taken from it, and what is left gets a logarithmic axis. Only for plain
        Noise2Void with one mean and spread for all images; else ValueError.
        Returns the matplotlib figure.
        """
        denoiser = self.result()
        if sigma is not None and (denoiser.config.noise_model or denoiser.config.per_image):
            raise ValueError("this loss is no mean squared error in one unit for all images: leave sigma out")
        last = max(self.kept)
        wanted = np.geomspace(max(1, last / REACH), last, STAGES)
        stages = sorted({min(self.kept, key=lambda step, near=near: abs(np.log(step / near))) for near in wanted})
        figure = plt.figure(figsize=(12, 7.2))
        grid = figure.add_gridspec(3, len(stages), height_ratios=(1, 1, 0.9))
        for column, step in enumerate(stages):
            above, below = (figure.add_subplot(grid[row, column]) for row in (0, 1))
            show_crop(above, self.noisy[0, 0], self.kept[step], f"step {step}")
            show_crop(below, self.noisy[0, 0], self.kept[step], residual=True)
            for axis, name in ((above, "denoised"), (below, "residual")) if column == 0 else ():
                axis.text(-0.07, 0.5, name, rotation=90, ha="right", va="center", transform=axis.transAxes)
        floor = None if sigma is None else np.mean((sigma / np.array(denoiser.std)) ** 2)
        axis = figure.add_subplot(grid[2, :])
        show_loss(axis, self.losses, last, floor)
        for step in stages:
            axis.axvline(step, color=GREY, linestyle="--", linewidth=1.5, zorder=0)
        axis.set_xticks(stages, stages)
        when, what = ", ".join(map(str, stages)), axis.get_ylabel()
        figure.set_label(f"The crop after {when} steps, and its residual. Plot: {what} against training step.")
        return figure

    def _watch(self, progress):
        """Keep the crop after 1, 2, 4, ... steps, and refresh the view now and then; the callback of `train`."""
        self.losses.append(progress.loss)
        self.progress, step = progress, progress.step
        begun = time.perf_counter()
        keeps, shows = step & (step - 1) == 0, begun > self.next
        if keeps or shows:
            crop = progress.denoiser.predict(self.noisy)[0, 0]
        if keeps:
            self.kept[step] = crop
        if shows:
            self.bar.value = progress.fraction
            self.text.value = f"step {step}, {progress.seconds:.0f} s, {progress.seconds_left:.0f} s left"
            self.picture.value = self._draw(step, crop)
            self.next = time.perf_counter() + max(REFRESH, (time.perf_counter() - begun) / SHARE)
        return self.stopping.is_set()

    def _end(self, denoiser):
        """Show the result, and let the slider go back to what was kept."""
        last = denoiser.history["steps"][-1]
        self.kept[last] = denoiser.predict(self.noisy)[0, 0]
        self._go_to(last)
        self.slider.options, self.slider.value = tuple(self.kept), last
        self.slider.observe(lambda _: self._go_to(self.slider.value), "value")
        self.slider.disabled = False
        self.bar.value = self.progress.fraction if self.progress else 1.0
        self.text.value = f"step {last}, {denoiser.history['seconds'][-1]:.0f} s, done"
        self.button.disabled = True

    def _go_to(self, step):
        self.picture.value = self._draw(step, self.kept[step])

    def _draw(self, step=0, crop=None):
        """Draw noisy crop, denoised crop, residual and loss as PNG; without pyplot, which is not for threads."""
        figure, noisy = Figure(figsize=(13, 3.3), layout="none"), self.noisy[0, 0]
        axes = [figure.add_axes((0.01 + 0.21 * n, 0.03, 0.2, 0.85)) for n in range(3)]
        axes.append(figure.add_axes((0.72, 0.2, 0.27, 0.68)))
        show_crop(axes[0], noisy, noisy, "noisy")
        show_crop(axes[1], noisy, noisy if crop is None else crop, f"after {step} steps")
        show_crop(axes[2], noisy, noisy if crop is None else crop, "residual", residual=True)
        last = self.progress.step if self.progress else step
        show_loss(axes[3], self.losses, last)
        axes[3].axvline(max(step, 1), color=GREY, linestyle="--", linewidth=1.5)
        return to_png(figure)


def show_crop(axis, noisy, denoised, title="", residual=False):
    """Draw a denoised crop, or what was removed from the noisy one, with the contrast of the noisy one."""
    low, high = contrasts(noisy)[residual]
    shown = np.subtract(noisy, denoised, dtype=float) if residual else denoised  # of bool too, which has no minus
    axis.imshow(shown, vmin=low, vmax=high)
    axis.set_title(title)
    axis.set_axis_off()


def show_loss(axis, losses, last, floor=None):
    """Plot the mean loss of each stretch of steps on a logarithmic axis.

    losses: of all steps, the last of which has the number `last`. floor: what is taken from the losses, None: nothing.
    """
    axis.set(xscale="log", xlabel="training step", ylabel="loss")
    if floor is not None:
        axis.set(yscale="log", ylabel="loss minus $\\sigma^2$")
    axis.minorticks_off()
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter("{x:g}")
    if not losses:
        return
    ends = np.unique(np.geomspace(1, len(losses) + 1, BINS).astype(int)) - 1
    means = np.add.reduceat(losses, ends[:-1]) / np.diff(ends)
    middles = last - len(losses) + (ends[:-1] + 1 + ends[1:]) / 2
    above = means - (floor or 0)
    axis.plot(middles, np.where(above > 0, above, np.nan), "o-", markersize=4, linewidth=1.5)


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
