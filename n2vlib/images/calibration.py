"""What a TIFF file says of its pixels beside their values: axes, sizes, times, channels; kept in the file written."""

import math
from pathlib import Path
from typing import NamedTuple

import tifffile

from .tiff_damage import open_whole
from .tiff_layout import layout
from .writing import OME_DTYPES, tiff_keywords

STORED = {"ImageJ", "images", "channels", "slices", "frames", "hyperstack", "axes"}  # what tifffile writes by itself
SIZES = ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement")  # of OME, each with its ...Unit
OF_CHANNELS = ("Name", "Color")
PER_CHANNEL = ("LUTs", "Ranges", "Labels", "Channel")


class Calibration(NamedTuple):
    """What `calibration` read: lengths of the axes beside C, Y and X by letter, resolution as tifffile takes it.

    metadata: of ImageJ or of OME, by the names that tifffile writes; kind: which of the two, or "". channels: how many.
    """

    lengths: dict
    resolution: dict
    metadata: dict
    kind: str
    channels: int = 1


def calibration(path, axes=None, series=None):
    """Read the Calibration of a TIFF file; axes, series: as for `read_stack`."""
    with open_whole(Path(path), believe=axes is None) as tiff:
        found = layout(tiff, axes, Path(path).name, series)
        tags, resolution = found.series[0].keyframe.tags, {}
        if "XResolution" in tags and "YResolution" in tags:
            pairs = [tags[name].value for name in ("XResolution", "YResolution")]
            unit = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
            resolution = dict(resolution=tuple(a / b if b else 0.0 for a, b in pairs), resolutionunit=unit)
        kind = "OME" if tiff.is_ome else "ImageJ" if tiff.is_imagej else ""
        metadata = _of_ome(tiff) if kind == "OME" else dict(tiff.imagej_metadata or {})
        metadata = {name: value for name, value in metadata.items() if name not in STORED}
    lengths = dict(zip(found.letters, found.shape))
    channels = lengths.get("C", 1)
    return Calibration({k: v for k, v in lengths.items() if k not in "CYX"}, resolution, metadata, kind, channels)


def _of_ome(tiff):
    """Return the sizes, times and channels that the first image of an OME file names."""
    image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    found = {name: pixels[name] for size in SIZES for name in (size, f"{size}Unit") if name in pixels}
    channels = pixels.get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    named = {name: [channel[name] for channel in channels if name in channel] for name in OF_CHANNELS}
    return found | {"Channel": {name: values for name, values in named.items() if len(values) == len(channels) > 0}}


def keywords_like(known, shape, pixel, channel=None):
    """Return the shape and tifffile's keywords for a stack (N, C, Y, X) that is to be written as another file was.

    known: its Calibration, or None. pixel: the NumPy dtype. channel: the number of the one that is written, of
    several. Images along T and Z stay so; along other axes they are counted as T.
    """
    if known is None:
        return shape, tiff_keywords(shape, pixel)
    depth = known.lengths.get("Z", 1)
    in_order = [letter for letter in known.lengths if letter in "TZ"] == list(known.lengths)
    depth = depth if in_order and list(known.lengths) != ["Z", "T"] and shape[0] % depth == 0 else 1
    full = (shape[0] // depth, depth, *shape[1:])
    keywords = tiff_keywords(shape, pixel)
    if known.kind == "OME" and pixel.name in OME_DTYPES:
        keywords = dict(ome=True, bigtiff=keywords.get("bigtiff", False), photometric="minisblack", metadata={})
    same = known.kind == ("ImageJ" if keywords.get("imagej") else "OME")
    metadata = _of_one_channel(known.metadata, channel, math.prod(full[:2])) if same else {}
    if channel is None and shape[1] != known.channels:  # it cannot be told which these are
        metadata = {name: value for name, value in metadata.items() if name not in PER_CHANNEL}
    return full, keywords | known.resolution | dict(metadata=metadata | {"axes": "TZCYX"})


def _of_one_channel(metadata, channel, images):
    """Return what belongs to one channel, of the metadata of all; all if channel is None."""
    if channel is None:
        return metadata
    parts = dict(metadata)
    if "LUTs" in parts:
        parts["LUTs"] = [parts["LUTs"][channel]]
    if "Ranges" in parts:
        parts["Ranges"] = parts["Ranges"][2 * channel : 2 * channel + 2]
    if "Labels" in parts:
        step = len(parts["Labels"]) // images or 1
        parts["Labels"] = parts["Labels"][channel::step]
    if "Channel" in parts:
        parts["Channel"] = {name: [values[channel]] for name, values in parts["Channel"].items()}
    return parts
