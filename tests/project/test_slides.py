"""The slides: one deck a notebook, that loads nothing from a network."""

import re
from html.parser import HTMLParser

import nbformat
import pytest
from conftest import REPOSITORY as ROOT
from make_slides import LIMIT, copy_library, count_words, deck, fetch, slides
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
    assert html.count("<section>") >= len(slides(notebook)) >= 10


@every_notebook
def test_a_slide_has_a_heading_few_words_one_picture_and_a_note_with_minutes(path):
    notebook = nbformat.read(path, as_version=4)
    seen = Slides(deck(notebook)).slides
    assert len(seen) == len(slides(notebook))
    for slide in seen:
        assert slide["heading"].strip()
        assert count_words(slide["words"]) <= LIMIT, slide["words"]
        assert slide["pictures"] <= 1 and slide["pictures"] + slide["code"] <= 1
        assert re.match(r"\s*[\d.]+ min\b", slide["notes"])
    shown = [cell for cell in notebook.cells if cell.metadata["slideshow"]["slide_type"] != "skip"]
    pictures = [o for cell in shown for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert sum(slide["pictures"] for slide in seen) == len(pictures), "none is left out"


class Slides(HTMLParser):
    """Collects what stands on each slide, as a browser shows it, and in its notes."""

    def __init__(self, html):
        super().__init__()
        self.slides, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        kind = dict(attributes).get("class") or ""
        if tag == "section" and "section" in [name for name, _ in self.open]:  # each stands in one of its own
            self.slides.append(dict(heading="", words="", notes="", pictures=0, code=0))
        if tag == "img" and self.slides:
            self.slides[-1]["pictures"] += 1
        if tag == "div" and "jp-CodeMirrorEditor" in kind:
            self.slides[-1]["code"] += 1
        self.open.append((tag, "code" if "highlight" in kind and tag == "div" else tag))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag("img" if tag == "img" else "br", attributes)

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:  # what needs no end, as an image
            pass

    def handle_data(self, data):
        kinds = [kind for _, kind in self.open]
        if not self.slides or {"script", "style", "code"} & set(kinds):
            return
        slide = self.slides[-1]
        slide["notes" if "aside" in kinds else "words"] += data.replace("¶", "")
        if kinds and kinds[-1] in ("h1", "h2", "h3"):
            slide["heading"] += data


def test_a_question_comes_before_the_picture_and_its_answer_is_a_note():
    place = {"slideshow": {"slide_type": "slide"}}
    question = (
        '<div class="alert alert-info"><b>Question.</b> Why?</div>\n<details><summary>Answer</summary>So.</details>'
    )
    text = new_markdown_cell(f"## Title\n\nOne sentence. {'Word ' * 50}end.\n\n{question}", metadata=place)
    code = new_code_cell("x = 1", metadata={"slideshow": {"slide_type": "-"}})
    code.outputs = [new_output("display_data", {"image/png": "AA=="}), new_output("stream", text="number " * 60)]
    ask, picture = slides(nbformat.v4.new_notebook(cells=[text, code]))
    assert "Why?" in ask.text and "So." not in ask.text and "So." in "".join(ask.notes)
    assert picture.text == "One sentence." and len(picture.shown) == 1 and ask.heading == picture.heading == "Title"
    assert "Word end." in picture.notes[0] and "number number" in picture.notes[-1]
    assert ask.minutes == 1 and picture.minutes == 1.5


def test_of_a_long_table_the_first_rows_are_shown_and_references_come_last():
    place = {"slideshow": {"slide_type": "slide"}}
    rows = [f"| {'word ' * 12}| {n} |" for n in range(5)]
    table = new_markdown_cell("\n".join(["## Table", "", "| a | b |", "|---|---|", *rows]), metadata=place)
    question = (
        '<div class="alert alert-info"><b>Question 1.</b> Why?</div>\n<details><summary>Answer</summary>So.</details>'
    )
    last = new_markdown_cell(f"## Questions\n\n{question}\n\n**References** Somebody, 2019", metadata=place)
    first, ask, end = slides(nbformat.v4.new_notebook(cells=[table, last]))
    assert first.text.splitlines() == ["| a | b |", "|---|---|", *rows[:2]]
    assert "Why?" in ask.text and end.heading == "References and feedback" and "Somebody" in end.text
    long = new_markdown_cell(f"### Long\n\n{'word ' * 50}end.", metadata=place)  # nothing of it fits: no heading alone
    (only,) = slides(nbformat.v4.new_notebook(cells=[table, long]))
    assert only.heading == "Table" and "end." in only.notes[-1]


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
