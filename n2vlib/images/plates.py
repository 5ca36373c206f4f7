"""A plate's folder: one file for each image and channel, told by their names."""

import itertools
import re
from typing import NamedTuple

# How microscopes name the files of a plate. Opera Phenix: row, column, field, plane; channel; times.
PHENIX = re.compile(r"(?P<image>r\d+c\d+f\d+p\d+)-ch(?P<channel>\d+)(?P<times>\w*)\.tiff?", re.IGNORECASE)
# MetaXpress (ImageXpress): plate, well or site or both, wavelength, and a number that is another for each file.
PLACE = r"(?P<image>.*_[A-P]\d{1,2}|.*(?=_s\d))(?P<times>_s\d+)?_w(?P<channel>\d+)"
EACH_ITS_OWN = r"(?:_?[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12})?"
METAXPRESS = re.compile(rf"{PLACE}{EACH_ITS_OWN}\.tiff?", re.IGNORECASE)
NAMES = {"Opera Phenix": PHENIX, "MetaXpress": METAXPRESS}
LEFT_ALONE = re.compile(r"\.|.*_thumb", re.IGNORECASE)  # what systems hide beside images, and thumbnails


class Plate(NamedTuple):
    """The files of a plate's folder, sorted by image and channel: how many of each, and whose names they are."""

    files: list
    images: int
    channels: int
    kind: str


def plate_files(folder):
    """Return those files of a folder, sorted, that are named like a plate's, and whose names these are ("" if none)."""
    files = [file for file in sorted(folder.iterdir()) if not LEFT_ALONE.match(file.name)]
    for kind, pattern in NAMES.items():
        found = [file for file in files if pattern.fullmatch(file.name)]
        if found:
            return found, kind
    return [], ""


def read_names(folder):
    """Return the Plate that the names of a folder's files tell: images by name, channels by number.

    Raises FileNotFoundError without such files, ValueError for one image twice or without one of its channels.
    """
    found, kind = plate_files(folder)
    if not found:
        raise FileNotFoundError(
            f"folder {folder} has no file named like r01c01f01p01-ch1sk1fk1fl1.tiff (Opera Phenix) "
            "or plate_A01_s1_w1.tif (MetaXpress): check the path"
        )
    files = {}
    for file in found:
        parts = NAMES[kind].fullmatch(file.name).groupdict(default="")
        numbers = re.split(r"(\d+)", parts["image"] + parts["times"])
        key = tuple(int(n) if n.isdigit() else n for n in numbers), int(parts["channel"])
        if key in files:
            raise ValueError(f"{folder.name} has both {files[key].name} and {file.name}: remove one of the two")
        files[key] = file
    images, channels = ({key[part]: None for key in sorted(files)} for part in (0, 1))
    for image, channel in itertools.product(images, channels):
        if (image, channel) not in files:
            other = next(file for key, file in files.items() if key[0] == image)
            raise ValueError(
                f"{folder.name} has {other.name}, but no channel {channel} of that image: "
                "add the missing file, or remove the others of the image"
            )
    return Plate([files[key] for key in sorted(files)], len(images), len(channels), kind)
