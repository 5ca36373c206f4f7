"""Execute a notebook as a student does who uses its widgets; also where they are older, as in Google Colab.

Each training of notebooks 01 and 02 that is watched gets a budget that nobody would wait for, and its Stop button is
pressed, by the message that a browser sends. In notebook 01 a file is uploaded, in the form of ipywidgets 7. At the
end each slider and menu is moved. The last line printed says how often what was done, and how many pictures changed.
"""

import argparse
import json
from pathlib import Path

import nbformat
from nbclient import NotebookClient

BUDGET = 600  # seconds, of the trainings that are stopped
TIMEOUT = 150  # seconds, for each cell: less than the budget, so that a button that nobody hears is seen
UPLOAD = """import io

import tifffile

file = io.BytesIO()
rng = np.random.default_rng(0)
tifffile.imwrite(file, rng.poisson(50, (96, 80)).astype(np.uint16))
described = {"name": "my image.tif", "type": "image/tiff", "size": file.tell(), "lastModified": 0}
upload.set_state({"metadata": [described], "data": [file.getbuffer()], "_counter": 1})
assert list(upload.value) == ["my image.tif"]"""
MOVE = """import gc

views = [box.children for box in gc.get_objects() if type(box) is widgets.VBox and len(box.children) == 2]
views = [(box.children, picture) for box, picture in views if isinstance(picture, widgets.Image)]
views = [view for view in views if not any(isinstance(control, widgets.FloatProgress) for control in view[0])]
moved = 0  # without the sliders of trainings: how many steps these took is chance
for controls, picture in views:
    for control in [control for control in controls if isinstance(control, widgets.ValueWidget)]:
        before = bytes(picture.value)
        if control.disabled:
            continue  # it belongs to a choice that is not made
        if hasattr(control, "index"):
            name, ends = "index", [0, len(control.options) - 1]
        else:
            name, ends = "value", [control.min, control.max]
        if isinstance(control, widgets.FloatLogSlider):
            ends = [control.base**end for end in ends]
        old = getattr(control, name)
        for end in ends:  # the second where the first changes nothing: a threshold below all values, say
            control.set_state({name: end})
            changed = bytes(picture.value) != before
            control.set_state({name: old})  # else the next may have nothing to change: a seed, where the strength is 0
            if changed:
                moved += 1
                break
print("moved", moved)"""


class Student(NotebookClient):
    """A notebook client that presses the Stop button of each training as soon as it is under way."""

    pressing, button, stops = False, None, 0

    def process_message(self, message, cell, cell_index):
        data = message["content"].get("data", {})
        state = data.get("state", {}) if message["msg_type"].startswith("comm_") else {}
        if self.pressing and state.get("description") == "Stop":
            self.button = message["content"]["comm_id"]
        if self.button and "s left" in str(state.get("value", "")):
            pressed = {"comm_id": self.button, "data": {"method": "custom", "content": {"event": "click"}}}
            self.kc.shell_channel.send(self.kc.session.msg("comm_msg", pressed))
            self.button, self.stops = None, self.stops + 1
        return super().process_message(message, cell, cell_index)


def prepared(notebook, stop):
    """Put in the cells that use the widgets; with `stop` the trainings that are watched get a long budget."""
    cells = []
    for cell in notebook.cells:
        if stop and cell.cell_type == "code" and "train_live" in cell.source:
            cell.source = cell.source.replace("max_seconds=SECONDS, ", f"max_seconds={BUDGET}, ")
        if cell.cell_type == "code" and "if upload.value:" in cell.source:
            cells.append(nbformat.v4.new_code_cell(UPLOAD))
        cells.append(cell)
    notebook.cells = [*cells, nbformat.v4.new_code_cell("import ipywidgets as widgets\n" + MOVE)]
    return notebook


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    path = parser.parse_args().notebook
    stop = path.name.startswith(("01_", "02_"))
    notebook = prepared(nbformat.read(path, as_version=4), stop)
    client = Student(notebook, timeout=TIMEOUT, resources={"metadata": {"path": path.parent}})
    client.pressing = stop
    client.execute()
    texts = [output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output]
    used = {"stops": client.stops, "uploads": sum("for a slide: " in text for text in texts)}
    print(json.dumps(used | {"moved": int(texts[-1].split()[1])}))


if __name__ == "__main__":
    main()
