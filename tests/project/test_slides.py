"""The slides: one deck a notebook, that loads nothing from a network."""

import re
from html.parser import HTMLParser

import nbformat
import pytest
from conftest import REPOSITORY as ROOT
from make_slides import FULL, copy_library, deck, fetch, height, parts
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}

every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)


class Loads(HTMLParser):
    """Collects what a browser loads to show a page: by tags, and by style sheets and modules within it."""

    def __init__(self, html):
        super().__init__()
        self.urls, self.inside = [], None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.urls += [value for name, value in attributes if LOADED.get(tag) == name and value]

    def handle_data(self, data):
        if self.inside == "style":
            self.urls += re.findall(r"""@import\s+(?:url\()?["']?([^"')\s;]+)""", data)
            self.urls += re.findall(r"""url\(["']?([^"')\s]+)""", data)
        if self.inside == "script":
            self.urls += re.findall(r"""(?:import\s+|from\s+|import\()["']([^"']+)""", data)


def from_network(urls):
    return sorted({url for url in urls if re.match(r"(https?:)?//", url)})


def test_what_a_page_loads_is_found():
    page = """<link href="a.css"><style>@import url(https://b.c/d.css); p { background: url('//e.f/g.png') }</style>
    <script src="http://h.i/j.js"></script><script type="module">import m from 'https://k.l/m.js';</script>
    <img src="data:image/png;base64,AA"><a href="https://n.o">a link may lead to the network</a>"""
    assert len(from_network(Loads(page).urls)) == 4


@every_notebook
def test_deck_loads_nothing_from_a_network(path):
    notebook = nbformat.read(path, as_version=4)
    html = deck(notebook)
    urls = Loads(html).urls
    assert from_network(urls) == []
    local = {url for url in urls if not url.startswith(("data:", "#"))}
    assert local and all(url.startswith("lib/") for url in local)
    begins = [cell for cell in notebook.cells if cell.metadata["slideshow"]["slide_type"] in ("slide", "subslide")]
    assert html.count("<section>") >= len(begins) >= 10
    for cell in notebook.cells:
        if "hide-code" in cell.metadata.get("tags", []):
            assert not any(part.source for part in parts(cell))


def test_a_full_slide_is_followed_by_another():
    place = {"slideshow": {"slide_type": "slide"}}
    text = new_markdown_cell("An answer.\n\n## Title\n\n[next](02_x.ipynb)", metadata=place)
    code = new_code_cell("\n".join(["x = 1"] * 40), metadata={"slideshow": {"slide_type": "-"}})
    code.outputs = [new_output("stream", text="1\n")]
    answer, title = parts(text)
    assert [part.metadata.slideshow.slide_type for part in (answer, title)] == ["-", "slide"]
    assert "02_x.slides.html" in title.source
    assert [part.source == "" for part in parts(code)] == [False, True]  # code, then its output
    assert height(title) < FULL < height(code)
    notebook = nbformat.v4.new_notebook(cells=[text, code])
    assert deck(notebook).count("<section>") == 2 + 4  # two slides, of one part and of three


def test_what_decks_load_can_be_fetched_and_loads_nothing_else(tmp_path):
    try:
        fetch(ROOT / "build" / "npm")
    except RuntimeError as error:
        pytest.skip(str(error))
    copy_library(ROOT / "build" / "npm", tmp_path)
    urls = Loads(deck(nbformat.read(PATHS[0], as_version=4))).urls
    files = [tmp_path / url for url in urls if url.startswith("lib/")]
    assert len(files) >= 5
    for file in files:
        assert file.is_file()
        if file.suffix == ".css":
            assert from_network(re.findall(r"""(?:url\(|@import )["']?([^"')\s]+)""", file.read_text())) == []


def test_without_npm_there_is_one_clear_sentence(tmp_path, monkeypatch, refused):
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused(RuntimeError, match="Node.js"):
        fetch(tmp_path / "npm")
