"""Figures as a notebook stores them: readable letters, few bytes, a text for those who cannot see them."""

import base64
import io

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient
from PIL import Image

import n2vlib
from n2vlib.show import png


@pytest.fixture
def style():
    with plt.rc_context():
        n2vlib.show.use_style()
        yield


def test_each_figure_that_a_notebook_stores_has_an_alt_text_and_readable_letters():
    source = """import matplotlib.pyplot as plt, numpy as np, n2vlib
from IPython.display import display
from matplotlib.figure import Figure
n2vlib.show.use_style()
n2vlib.show.images({"noisy": np.eye(8)}, crop=(0, 0, 4))
plt.show()
figure = Figure()
figure.subplots().set_title("by hand")
display(figure)
plt.figure()"""  # the last one is empty
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for output in notebook.cells[0].outputs if "image/png" in output.get("data", {})]
    assert [output.metadata["image/png"]["alt"] for output in outputs] == ['Image "noisy".', 'Plot "by hand".']
    picture = Image.open(io.BytesIO(base64.b64decode(outputs[0].data["image/png"])))
    assert picture.mode == "P" and picture.width > 0.9 * 120 * 3.2


def test_the_text_names_titles_axes_legends_and_colour_scales():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], label="training")
    left.set(xlabel="step", ylabel=r"$\\sigma$")
    left.legend()
    figure.colorbar(right.imshow(np.eye(2)), label="correlation")
    assert png.alt_text(figure) == r"Plot: \\sigma against step; training. Colour scale: correlation."
    assert png.alt_text(Figure()) == "An empty figure."
    assert "noisy 20.00" in png.alt_text(n2vlib.show.dots({"noisy": 20}))
    plt.close("all")


def test_few_colours_keep_white_black_and_the_colours_of_lines():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8).repeat(3, axis=2)
    noise[:2], noise[2], noise[3] = 255, 0, (213, 94, 0)  # the paper, a letter, a thin frame
    small = png._with_few_colours(Image.fromarray(noise))
    seen = np.asarray(small.convert("RGB")).astype(int)
    assert (seen[:2] == 255).all() and (seen[2] == 0).all() and np.abs(seen[3] - (213, 94, 0)).max() <= 2
    assert np.abs(seen - noise).max() <= 3
    assert len(png._with_few_colours(Image.fromarray(noise[:2])).getcolors()) == 1


def test_on_the_projector_letters_and_lines_are_larger(style):
    before = plt.rcParams["font.size"], plt.rcParams["lines.linewidth"]
    n2vlib.show.use_style(projector=True)
    assert plt.rcParams["font.size"] > before[0] and plt.rcParams["lines.linewidth"] > before[1]


def test_dots_stand_in_rows_and_a_line_marks_the_reference():
    axis = n2vlib.show.dots({"noisy": 20, "classic": 28, "Noise2Void": 27}, "noisy").axes[0]
    assert [line.get_xdata()[0] for line in axis.lines] == [20, 28, 27, 20]
    assert len({line.get_color() for line in axis.lines[:3]}) == 3 and not axis.patches
    plt.close("all")
