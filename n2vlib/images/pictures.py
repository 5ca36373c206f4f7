"""One image from a file of any kind, or one that ships with scikit-image, as an array."""

from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import skimage.data

from .colours import grey_or_channels, is_ramp, moved, without_alpha
from .other_formats import refuse_other_formats
from .tiff_damage import is_tiff, open_whole, unreadable
from .tiff_layout import PALETTE, stored

SHIPPED = ("astronaut", "brick", "camera", "coins", "grass", "gravel", "moon", "page", "text")  # with scikit-image
PNG_BITS = 24  # the byte of a PNG file that says how many bits a sample has
GREY_MODES = ("1", "L", "I", "F", "I;16", "I;16B", "LA", "La")  # of Pillow


def load_image(source, channel_axis=None, series=None):
    """Read one image: the name of a picture that ships in scikit-image, or the path of an image file.

    source: "camera", "coins", "moon", ... or a TIFF, PNG or JPEG file, told by its content. Colour photographs become
    grey, the mean of their colours (float32, in the units of the file); channel_axis: where their colours are put
    instead, as are the channels of other files. Stains in the channels of a TIFF file are never averaged, they come
    directly before Y, X: of a file CZYX as (Z, C, Y, X). Transparency is left out, with a warning. series: of several
    images in a TIFF file.
    All else is an array as stored, nothing rescaled. A stack's axes: see `read_stack`.
    Raises FileNotFoundError for neither, ValueError for a file that cannot be read as it is stored.

    >>> load_image("astronaut").shape, load_image("astronaut", channel_axis=-1).shape
    ((512, 512), (512, 512, 3))
    """
    path = Path(source)
    if path.is_file():
        refuse_other_formats(path)
        if not is_tiff(path):
            return _from_picture(path, channel_axis)
        with open_whole(path) as tiff:
            return image_of(tiff, path, channel_axis, series)
    if str(source) not in SHIPPED:
        refuse_other_formats(path)
        raise FileNotFoundError(
            f"no image {str(source)!r}: give the path of a file, or the name of one of scikit-image's (camera, coins)"
        )
    image = getattr(skimage.data, str(source))()
    return grey_or_channels(image, channel_axis) if image.ndim == 3 else image


def is_photograph(path):
    """Tell whether the image in a TIFF file is a photograph, in colour or with transparency."""
    with open_whole(path) as tiff:
        return stored(tiff, None, path.name).colours > 0


def image_of(tiff, path, channel_axis=None, series=None):
    """Return what `load_image` returns of a TIFF file that `open_whole` opened."""
    found = stored(tiff, series, path.name)
    try:
        image = [one.asarray() for one in found.series]
    except Exception as error:  # each compression has its own kind of failure
        raise unreadable(path, error) from error
    image, letters, page = image[0] if len(image) == 1 else np.stack(image), found.letters, found.series[0].keyframe
    if page.photometric == PALETTE and found.colours:
        image, letters = (page.colormap.T >> 8).astype(np.uint8)[image], letters + "S"
    elif page.samplesperpixel > 1 and "S" in letters:
        before, _, after = letters.rpartition("S")  # a first S may be images that were written one by one
        image, letters = np.moveaxis(image, len(before), -1), f"{before}{after}S"
    if found.colours:
        return grey_or_channels(without_alpha(image, found.colours, path.name), channel_axis)
    if letters.endswith("XS"):
        image, letters = np.moveaxis(image, -1, -3), letters.replace("YXS", "CYX")
    if "C" not in letters:
        return image
    if channel_axis is None:  # first of all they would be taken for images
        return np.moveaxis(image, letters.index("C"), letters.replace("C", "").index("Y"))
    return moved(image, letters.index("C"), channel_axis)


def _from_picture(path, channel_axis):
    """Return the one image of a PNG or JPEG file, or of any other that Pillow reads."""
    try:
        with PIL.Image.open(path) as picture:
            frames, mode = getattr(picture, "n_frames", 1), picture.mode
            image, colours = _pixels(path, picture)
    except Exception as error:  # each format has its own kinds of failure: one sentence for all
        unknown = isinstance(error, PIL.UnidentifiedImageError)
        reason = "its content is of no kind that is known here" if unknown else str(error).split("\n")[0]
        raise ValueError(
            f"{path.name} cannot be read as an image ({reason}): is it a complete TIFF, PNG or JPEG? "
            "A file of another program can be opened in Fiji (Bio-Formats) and saved as OME-TIFF"
        ) from error
    if frames > 1 or colours is None:
        what = f"{frames} images" if frames > 1 else f"colours as {mode}"
        raise ValueError(f"{path.name} holds {what}, which is not read: save it as TIFF, or as PNG in grey or RGB")
    return grey_or_channels(without_alpha(image, colours, path.name), channel_axis) if colours else image


def _pixels(path, picture):
    """Return the pixels of an opened file, (Y, X) or (Y, X, S), and how many samples are colours, None if unknown."""
    if picture.mode == "P":
        numbers, palette = np.asarray(picture), np.reshape(picture.getpalette(), (-1, 3)).astype(np.uint8)
        ramp = is_ramp(palette[: int(numbers.max()) + 1]) and "transparency" not in picture.info
        return (numbers, 0) if ramp else (np.asarray(picture.convert("RGBA")), 3)
    content = path.read_bytes() if picture.format == "PNG" else b""
    bits = content[PNG_BITS] if content else 8
    if bits == 16:  # of which Pillow keeps 8 in colour
        image = imagecodecs.png_decode(content)
    else:
        image = np.asarray(picture.convert("RGB") if picture.mode in ("CMYK", "YCbCr") else picture)
    if bits in (2, 4):  # which Pillow stretches to 8
        image = image // (255 // (2**bits - 1))
    known = picture.mode in (*GREY_MODES, "RGB", "RGBA", "CMYK", "YCbCr")
    colours = 0 if image.ndim == 2 else 3 if image.shape[-1] > 2 else 1
    return image, colours if known else None
