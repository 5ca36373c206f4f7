"""What a TIFF file says of its pixels beside their values: axes, sizes, times, channels; kept in the file written."""

import contextlib
import math
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import tifffile

from .plates import plate_files
from .tiff_damage import open_whole
from .tiff_layout import SOURCES, layout, stored
from .writing import OME_DTYPES, tiff_keywords


def _with_units(*sizes):
    """Return the names of sizes in OME, each followed by that of its unit."""
    return [f"{size}{unit}" for size in sizes for unit in ("", "Unit")]


STORED = {"ImageJ", "images", "channels", "slices", "frames", "hyperstack", "axes"}  # what tifffile writes by itself
PLAIN = ("spacing", "unit", "finterval")  # of ImageJ, that scripts also write into files that are not ImageJ's
UNICODE = ("Info", "Labels", "Properties")  # of ImageJ, outside its description
PER_CHANNEL = ("LUTs", "Ranges", "Labels", "Channel", "Plane")
# What tifffile writes into OME: of an image, of its pixels, of each channel, and of each page.
OF_IMAGES = ("Name", "AcquisitionDate", "Description")
OF_PIXELS = _with_units("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement")
OF_CHANNELS = "Name AcquisitionMode Color ContrastMethod Fluor IlluminationType NDFilter PockelCellSetting".split()
OF_CHANNELS += _with_units("EmissionWavelength", "ExcitationWavelength", "PinholeSize")
OF_PAGES = _with_units("DeltaT", "ExposureTime", "PositionX", "PositionY", "PositionZ")
TEXTS = ("Name", "Description", "Fluor")  # also where they look like numbers: "007", "2024_01_05"
UNITS = {"um": "µm", "micron": "µm", "microns": "µm", "\\u00B5m": "µm", "µm": "µm", "nm": "nm", "mm": "mm", "cm": "cm"}


class Calibration(NamedTuple):
    """What `calibration` read: lengths of the axes beside C, Y and X by letter, resolution as tifffile takes it.

    It says too where 0 is white (photometric). metadata: of ImageJ or of OME, by the names that tifffile writes; kind:
    which of the two, or "". channels: how many.
    """

    lengths: dict
    resolution: dict
    metadata: dict
    kind: str
    channels: int = 1


def calibration(path, axes=None, series=None):
    """Read the Calibration of a TIFF file; axes, series: as for `read_stack`.

    Of a photograph, and of a plate's folder that of its first file, the resolution and its unit alone.
    """
    path = Path(path)
    file = plate_files(path)[0][0] if path.is_dir() else path
    with open_whole(file, believe=axes is None) as tiff:
        found = stored(tiff, series, file.name)
        alone = path.is_dir() or (found.colours and axes is None)
        found = found if alone else layout(tiff, axes, file.name, series)
        page = found.series[0].keyframe
        kind = "OME" if tiff.is_ome else "ImageJ" if tiff.is_imagej else ""
        resolution = _resolution(page)
        if tiff.is_lsm:
            resolution, metadata = _of_lsm(tiff.lsm_metadata or {})
        elif kind == "OME" and not alone:
            metadata = _of_ome(tiff, found)
        else:
            metadata = dict(tiff.imagej_metadata or {}) or _of_script(tiff.shaped_metadata)
        images = math.prod(found.shape) // page.size
    if alone:
        return Calibration({"T": images}, resolution, {k: v for k, v in metadata.items() if k == "unit"}, "")
    lengths = dict(zip(found.letters, found.shape))
    channels = lengths.get("C", 1)
    metadata = _of_channels({name: value for name, value in metadata.items() if name not in STORED}, channels)
    return Calibration({k: v for k, v in lengths.items() if k not in "CYX"}, resolution, metadata, kind, channels)


def _resolution(page):
    """Return what a page says of its resolution, and whether 0 is white in it, as tifffile takes it."""
    tags, found = page.tags, {}
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:  # or the result would look like the source's negative
        found["photometric"] = "miniswhite"
    if "XResolution" in tags and "YResolution" in tags:
        pairs = [tags[name].value for name in ("XResolution", "YResolution")]
        unit = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
        found |= dict(resolution=tuple(a / b if b else 0.0 for a, b in pairs), resolutionunit=unit)
    return found


def _of_channels(metadata, channels):
    """Return metadata with a list of what belongs to each channel, without lists that are not of so many."""
    alone = {name: [metadata[name]] for name in ("Labels", "LUTs") if not isinstance(metadata.get(name, []), list)}
    metadata = metadata | alone  # tifffile takes a list of one apart
    expected = {"LUTs": channels, "Ranges": 2 * channels}
    wrong = [name for name, count in expected.items() if len(metadata.get(name, ())) not in (0, count)]
    return {name: value for name, value in metadata.items() if name not in wrong}


def _of_script(shaped):
    """Return the sizes that a script wrote with tifffile into a plain file."""
    return {name: shaped[0][name] for name in PLAIN if shaped and name in shaped[0]}


def _of_lsm(known):
    """Return the resolution and ImageJ's metadata for the sizes of an LSM file, which are in metres and seconds."""
    x, y, z = (known.get(f"VoxelSize{axis}", 0) * 1e6 for axis in "XYZ")
    sizes = {"unit": "um", "spacing": z, "finterval": known.get("TimeIntervall", 0)}
    resolution = dict(resolution=(1 / x, 1 / y), resolutionunit=1) if x and y else {}
    return resolution, {name: value for name, value in sizes.items() if value}


def _of_ome(tiff, found):
    """Return what the image of an OME file that was read says of itself, its sizes, times, channels and pages."""
    images = ElementTree.fromstring(tiff.ome_metadata).findall("{*}Image")
    told_apart = len(images) == len(tiff.series) and found.series[0] in tiff.series
    image = images[tiff.series.index(found.series[0]) if told_apart else 0]
    pixels = image.find("{*}Pixels")
    channels, pages = ([_said(part) for part in pixels.findall(f"{{*}}{name}")] for name in ("Channel", "Plane"))
    known = {name: value for name, value in _said(image).items() if name in OF_IMAGES}
    known |= {name: value for name, value in _said(pixels).items() if name in OF_PIXELS}
    # In the order in which pages are written, channels last.
    order = [f"The{letter}" for letter in found.letters if letter in "TZ"] + ["TheC"]
    lengths = dict(zip(found.letters, found.shape))
    stored_pages = math.prod(length for axis, length in lengths.items() if axis not in "YX")
    all_known = found.source == SOURCES["ome"] and len(pages) == stored_pages
    pages = sorted(pages, key=lambda page: [page.get(name, 0) for name in order]) if all_known else []
    channels = channels if len(channels) == lengths.get("C", 1) else []  # else it cannot be told which these are
    return known | {"Channel": _lists(channels, OF_CHANNELS), "Plane": _lists(pages, OF_PAGES)}


def _said(element):
    """Return by name what an element of OME's XML says in attributes and in texts inside it, numbers as numbers."""
    said = {part.tag.rpartition("}")[2]: part.text for part in element if part.text} | element.attrib
    return {name: text if name in TEXTS else _number(text) for name, text in said.items()}


def _number(text):
    """Return a text as the number that it is, if it is one."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _lists(parts, names):
    """Return by name the values that each of the channels or pages has."""
    return {name: [part[name] for part in parts] for name in names if parts and all(name in part for part in parts)}


def keywords_like(known, shape, pixel, channel=None):
    """Return the shape and tifffile's keywords for a stack (N, C, Y, X) that is to be written as another file was.

    known: its Calibration, or None. pixel: the NumPy dtype. channel: the number of the one that is written, of
    several. Images along T and Z stay so, Z before T in OME alone; along other axes they are counted as T.
    """
    keywords = tiff_keywords(shape, pixel)
    if known is None:
        return shape, keywords
    full, axes = _with_depth(known.lengths, shape)
    if (known.kind == "OME" or axes == "ZTCYX") and pixel.name in OME_DTYPES:
        keywords = dict(ome=True, bigtiff=keywords.get("bigtiff", False), photometric="minisblack")
    metadata = known.metadata
    if known.kind != "OME" and keywords.get("ome"):
        metadata = _as_ome(known)
    metadata = _of_one_channel(metadata, channel, math.prod(full[:2]))
    if channel is None and shape[1] != known.channels:  # it cannot be told which these are
        metadata = {name: value for name, value in metadata.items() if name not in PER_CHANNEL}
    if keywords.get("imagej"):
        metadata = {name: _ascii(value) if name not in UNICODE else value for name, value in metadata.items()}
    return full, keywords | known.resolution | dict(metadata=metadata | {"axes": axes})


def _ascii(value):
    """Return a text with what is not ASCII escaped as ImageJ does in its description; all else as it is."""
    if not isinstance(value, str):
        return value
    return "".join(sign if sign.isascii() else f"\\u{ord(sign):04X}" for sign in value)


def _with_depth(lengths, shape):
    """Return the shape and axes in which a stack (N, C, Y, X) is written whose images had axes of these lengths."""
    letters, depth = list(lengths), lengths.get("Z", 1)
    if shape[0] % depth == 0 and letters[-1:] == ["Z"]:
        return (shape[0] // depth, depth, *shape[1:]), "TZCYX"
    if shape[0] % depth == 0 and letters[:1] == ["Z"]:
        return (depth, shape[0] // depth, *shape[1:]), "ZTCYX"
    return (shape[0], 1, *shape[1:]), "TZCYX"


def _as_ome(known):
    """Return ImageJ's sizes and times as OME names them, for what ImageJ's format cannot hold."""
    per_unit = dict(zip("XY", known.resolution.get("resolution", ())))
    sizes = {axis: 1 / count for axis, count in per_unit.items() if count}
    if "spacing" in known.metadata:
        sizes["Z"] = known.metadata["spacing"]
    unit = UNITS.get(known.metadata.get("unit"))
    found = {f"PhysicalSize{axis}": size for axis, size in sizes.items() if unit}
    found |= {f"PhysicalSize{axis}Unit": unit for axis in sizes if unit}
    if "finterval" in known.metadata:
        found |= {"TimeIncrement": known.metadata["finterval"], "TimeIncrementUnit": "s"}
    return found


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
    if "Plane" in parts:
        parts["Plane"] = {name: values[channel :: len(values) // images] for name, values in parts["Plane"].items()}
    return parts
