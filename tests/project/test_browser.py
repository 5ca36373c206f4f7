"""The notebooks in JupyterLab in a real browser: widgets are moved with the mouse, and the figures must change.

Outside `make test`; `make test-browser` runs it. Notebook 01 runs whole, of each other notebook the cells up to one
widget. With N2VLIB_SCREENSHOTS=folder a picture of each step is kept, to be looked at.
"""

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.browser

NOTEBOOKS = REPOSITORY / "notebooks"
INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Of the other notebooks: a piece of the cell that makes the widget; the cells up to it are run.
SLIDERS = {
    "00_from_perceptron_to_unet": "decision_line, [",
    "00b_what_noise2void_learns": "mean_of_shots, [",
    "00c_what_training_does": "show_downhill, [",
    "03_jump_cell_painting": "n2vlib.show.before_after(",
    "04_two_stage_structured": "n2vlib.show.explore_structure(",
    "05_judge_a_result": "n2vlib.show.explore_results(",
}
STOPPED = ("01_single_image_demo", "02_bsd68_training")
BUDGET = 600  # seconds, of the trainings that are stopped
# A picture's width and height, which must be drawn on the screen (and no broken image), and its bytes. A training
# under way takes a picture away to put the next in its place: then we look at that one.
PICTURE = """async img => {
  for (;;) {
    const src = img.src
    try {
      await img.decode()
      const png = new Uint8Array(await (await fetch(src)).arrayBuffer())
      if (img.src === src) return [img.naturalWidth, img.width, Array.from(png)]
    } catch (error) {
      if (img.src === src) throw error
    }
  }
}"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of our own in an empty folder, with none of the user's settings: its folder, address and token."""
    folder, token, port = tmp_path_factory.mktemp("lab"), secrets.token_hex(16), free_port()
    settings = {f"JUPYTER_{kind}_DIR": str(folder / f".{kind}") for kind in ("CONFIG", "DATA", "RUNTIME")}
    settings |= {"N2VLIB_DATA": "", "N2VLIB_DOWNLOAD": "0", "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings")}
    settings |= {"JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces")}
    news = folder / ".settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # else a dialog asks, in front of the notebook
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    address = f"http://127.0.0.1:{port}"
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(command, cwd=folder, env=os.environ | settings, stdout=log, stderr=log)
    try:
        wait_for_answer(f"{address}/api?token={token}", server, folder / "lab.log")
        yield folder, address, token
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_for_answer(address, server, log):
    for _ in range(240):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(address, timeout=5).close()
        assert server.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def chromium():
    """The browser: the one on this computer, or else playwright's own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser")
    found = next(filter(None, map(shutil.which, INSTALLED)), None)
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, args=options)
        except sync_api.Error as error:
            if found:
                raise
            pytest.skip(f"no browser: install Chromium, or run `playwright install chromium` ({str(error)[:60]} ...)")
        yield browser
        browser.close()


class Opened:
    """A notebook in JupyterLab: what a student sees of it and does with it."""

    def __init__(self, page, name):
        self.page, self.name, self.pictures = page, name, 0

    def run_all_cells(self):
        """Start all cells; returns at once."""
        self.page.evaluate(
            "() => { window.ran = 0; window.jupyterapp.commands.execute('notebook:run-all-cells')"
            ".finally(() => { window.ran = 1 }) }"
        )

    def wait_until_all_ran(self, seconds):
        """Wait for the last cell; fails where a cell raised or wrote to stderr."""
        self.page.wait_for_function("window.ran", timeout=1000 * seconds)
        cells = "window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
        outputs = self.page.evaluate(f"{cells}.flatMap(cell => cell.outputs ?? [])")
        assert outputs
        assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]

    def figure(self, number):
        """Return the bytes of a widget's picture."""
        picture = self.page.locator(".widget-image").nth(number)
        picture.scroll_into_view_if_needed()
        width, height, png = picture.evaluate(PICTURE)
        assert width > 100 and height > 100
        return bytes(png)

    def changed(self, number, before, seconds=60):
        """Wait until a widget's picture is another one; return it."""
        end = time.monotonic() + seconds
        while (now := self.figure(number)) == before:
            assert time.monotonic() < end, "the figure stayed as it was"
            self.page.wait_for_timeout(100)
        return now

    def drag(self, slider, pixels):
        """Pull a slider's handle with the mouse, `pixels` to the right."""
        handle = slider.locator(".noUi-handle")
        handle.hover()  # scrolls there, and waits until it stands still
        box = handle.bounding_box()
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + box["width"] / 2 + pixels, box["y"] + box["height"] / 2, steps=5)
        self.page.mouse.up()

    def keep_screenshot(self):
        if folder := os.environ.get("N2VLIB_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.pictures += 1
            self.page.screenshot(path=Path(folder) / f"{self.name[:3].rstrip('_')}_{self.pictures}.png")


@pytest.fixture
def open_notebook(chromium, lab):  # the browser first: without one, no JupyterLab is started
    """Open a notebook without its outputs, up to the cell that holds the text `last`.

    It runs in smoke mode; only the trainings that are to be stopped get a budget that nobody would wait for.
    """
    folder, address, token = lab
    pages = []

    def opened(name, last=""):
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
                if name in STOPPED:
                    cell.source = cell.source.replace("max_seconds=SECONDS, ", f"max_seconds={BUDGET}, ")
        settings = notebook.cells[3]
        assert 'os.environ.get("N2VLIB_MODE", "quick")' in settings.source
        settings.source = settings.source.replace('os.environ.get("N2VLIB_MODE", "quick")', '"smoke"')
        if last:
            (end,) = [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code" and last in cell.source]
            del notebook.cells[end + 1 :]
        nbformat.write(notebook, folder / f"{name}.ipynb")
        pages.append(chromium.new_page(viewport={"width": 1280, "height": 900}))
        pages[-1].set_default_timeout(180_000)  # a guard against waiting for ever, not a measure
        pages[-1].goto(f"{address}/lab/tree/{name}.ipynb?reset&token={token}")
        kernel = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
        pages[-1].wait_for_function(f"{kernel}?.status === 'idle'")
        return Opened(pages[-1], name)

    yield opened
    for page in pages:
        page.evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")
        page.close()


def test_each_notebook_is_opened_in_the_browser():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {*SLIDERS, *STOPPED}


def live_view(notebook, training):
    """Wait until the first, second, ... training is under way and draws; return its view and its picture's number."""
    view = notebook.page.locator(".widget-vbox:has(button:has-text('Stop'))").nth(training)
    view.get_by_text("s left").wait_for()
    number = view.locator("xpath=preceding::img[contains(@class, 'widget-image')]").count()
    notebook.changed(number, notebook.figure(number))  # the crop gets clean while we watch
    notebook.keep_screenshot()
    return view, number


def stop(notebook, view, number):
    """Press Stop in a training that would go on for BUDGET seconds, and see it end."""
    before = notebook.figure(number)
    view.locator("button").click()
    pressed = time.monotonic()
    view.get_by_text("done").wait_for()
    assert time.monotonic() - pressed < 30  # seconds, for the step under way
    view.locator("button:disabled").wait_for()  # it follows the text
    step, seconds = re.fullmatch(r"step (\d+), (\d+) s, done", view.locator("div.widget-label").inner_text()).groups()
    assert int(step) > 0 and int(seconds) < BUDGET  # so it was the button that ended it
    notebook.changed(number, before)  # the last picture
    notebook.keep_screenshot()


def test_notebook_01_whole(open_notebook):
    notebook = open_notebook("01_single_image_demo")
    notebook.run_all_cells()
    stop(notebook, *live_view(notebook, 0))
    second = live_view(notebook, 1)
    masking = notebook.page.locator(".widget-vbox:has(select)")
    before = notebook.figure(0)
    notebook.drag(masking.locator(".widget-slider"), -60)  # while the network trains and a cell waits for it
    moved = notebook.changed(0, before)
    notebook.keep_screenshot()
    stop(notebook, *second)
    notebook.wait_until_all_ran(seconds=300)
    masking.locator("select").select_option("median")
    assert notebook.changed(0, moved) != before
    notebook.keep_screenshot()


def test_notebook_02_stops_in_the_middle_of_a_training(open_notebook):
    notebook = open_notebook("02_bsd68_training", last='denoisers["Noise2Void"] = await')
    notebook.run_all_cells()
    view, number = live_view(notebook, 0)
    stop(notebook, view, number)
    notebook.wait_until_all_ran(seconds=300)  # the cell that waited goes on with what was learned
    last = notebook.figure(number)
    notebook.drag(view.locator(".widget-slider"), -200)  # back to the first step, of however few
    notebook.changed(number, last)
    notebook.keep_screenshot()


@pytest.mark.parametrize("name", SLIDERS)
def test_a_slider_redraws_its_figure(open_notebook, name):
    notebook = open_notebook(name, last=SLIDERS[name])
    notebook.run_all_cells()
    notebook.wait_until_all_ran(seconds=600)
    last = notebook.page.locator(".jp-CodeCell").last
    last.locator(".widget-image").first.wait_for()  # the browser draws it after the cell has run
    number = notebook.page.locator(".widget-image").count() - last.locator(".widget-image").count()
    before = notebook.figure(number)
    notebook.keep_screenshot()
    notebook.drag(last.locator(".widget-slider").first, 50)
    notebook.changed(number, before)
    notebook.keep_screenshot()
    for player in last.locator(".widget-play").all():
        player.locator("button").first.click()
        for _ in range(2):  # there and back: it goes on by itself
            notebook.changed(number, notebook.figure(number))
        notebook.keep_screenshot()
