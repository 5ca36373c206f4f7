"""Image files of any kind: one picture, or all that a folder holds, as an array or a stack (N, C, Y, X); and back."""

import io
import math
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import tifffile

from .arrays import as_array, check_values, to_stack
from .calibration import calibration, keywords_like
from .colours import moved
from .other_formats import refuse_other_formats
from .pictures import image_of, load_image
from .plates import LEFT_ALONE, plate_files
from .stacks import read_stack, stack_of
from .tiff_damage import is_tiff, open_whole
from .tiff_layout import stored
from .writing import written_beside

WRITTEN = (".tif", ".tiff")
TIFF = (*WRITTEN, ".btf", ".tf8", ".stk", ".lsm", ".svs", ".ndpi", ".qptiff", ".gel")  # whatever makers call theirs
SUFFIXES = (*TIFF, ".png", ".jpg", ".jpeg")
FAR_BRIGHTER = 5  # times, from which files of one folder are asked about


def save_image(path, image, like=None, axes=None, series=None):
    """Write an image to one file, whole or not at all: as TIFF with all its values, or as PNG for a slide.

    image: (Y, X), (N, Y, X) or (N, C, Y, X), in intensity units; or colours (Y, X, 3), which are channels in a TIFF
    file. As PNG (Y, X) or colours.
    like: for TIFF, the path of the file it comes from, whose axes, pixel size and channel names are kept, of a
    photograph its resolution (axes, series: as for `read_stack`). For PNG, the noisy array: both are shown with the
    same black (its 0.1 % quantile) and white (99.9 %). Of 8-bit images and those of `load_image` (float32, 0..255)
    values stay as they are, rounded and clipped to 0..255. Returns the path.
    Raises ValueError for another suffix, an empty image or a shape that does not fit; OSError for a full disk.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_image(f"{folder}/clean.png", np.array([[-3.0, 127.6], [128.4, 300.0]]), like=np.uint8([[0]]))
    ...     load_image(path).tolist()
    [[0, 128], [128, 255]]
    """
    path, image = Path(path), as_array(image)
    suffix = path.suffix.lower()
    if suffix not in (".png", *WRITTEN):
        raise ValueError(f"{path.name} would be no TIFF or PNG file: choose a name that ends in .tif or .png")
    if image.size == 0:
        raise ValueError(f"the image is empty, its shape is {image.shape}: check how it was cut or loaded")
    if suffix == ".png" and isinstance(like, (str, Path)):
        raise ValueError("like is a path: for a PNG file give the noisy image itself, as an array")
    if suffix == ".png":
        content = _as_png(image, image if like is None else as_array(like, "like"))
    else:
        content, keywords = _for_tiff(image, like, axes, series)
    with written_beside(path) as file:
        if suffix == ".png":
            file.write(content)
        else:
            tifffile.imwrite(file, content, **keywords)
    return path


def _as_png(image, like):
    """Return the bytes of a PNG file of an image (Y, X) or (Y, X, 3), grey levels as those of `like`."""
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[-1] == 3):
        raise ValueError(f"an image of shape {image.shape} is no PNG file: choose one of its pages, or save a .tif")
    if like.dtype == bool:
        like, image = like.astype(np.uint8) * 255, image * 255.0
    low, high = np.nanmin(like), np.nanmax(like)
    if like.dtype != np.uint8 and not (like.dtype == np.float32 and low >= 0 and 1 < high <= 255):
        low, high = np.nanquantile(like, (0.001, 0.999))
        image = (image - low) * (255 / max(high - low, 1e-300))
    values = np.nan_to_num(np.rint(image.astype(np.float64))).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def _for_tiff(image, like, axes, series):
    """Return an image, float64 as float32, and tifffile's keywords, with what the file `like` says of its pixels."""
    image = image.astype(np.float32) if image.dtype == np.float64 else image
    if like is not None and not isinstance(like, (str, Path)):
        raise ValueError(f"like is a {type(like).__name__}: for a TIFF file give the path of the file it comes from")
    if like is not None and not Path(like).is_file():
        raise FileNotFoundError(f"like={str(like)!r} is no file: give the path of the one that the image comes from")
    known = calibration(like, axes, series) if like is not None and is_tiff(like) else None
    if image.ndim == 3 and image.shape[-1] == 3 and min(image.shape[:2]) > 4:
        image = np.moveaxis(image, -1, 0)[None]  # colours
    count = 0 if known is None else math.prod(known.lengths.values())
    stack = to_stack(image[None] if count == 1 and image.ndim == 3 else image)  # of one image the channels come first
    if known is not None and count != len(stack):
        raise ValueError(f"{Path(like).name} has {count} images and this has {len(stack)}: leave like= out")
    shape, keywords = keywords_like(known, stack.shape, stack.dtype)
    return stack.reshape(shape), keywords


def image_files(folder):
    """Return the image files of a folder, sorted, without thumbnails; raise FileNotFoundError if there are none."""
    inside = Path(folder).iterdir() if Path(folder).is_dir() else []
    known = [file for file in inside if file.suffix.lower() in SUFFIXES and not LEFT_ALONE.match(file.name)]
    known = [file for file in known if file.is_file()]
    if not known:
        raise FileNotFoundError(f"folder {folder} holds no image: TIFF, PNG or JPEG files are read")
    return sorted(known)


class Images(NamedTuple):
    """Images as a stack (N, C, Y, X), what they looked like before, and each file's name, number, and source.

    files: of each that can be written the name, the number of images, and the TIFF file that they are from, or None.
    channel_axis: where they had their channels, as in `to_stack`.
    """

    stack: np.ndarray
    like: np.ndarray
    files: list
    channel_axis: int | None = None

    def again_as_stack(self, image):
        """Return an image that looks like `like` as a stack (N, C, Y, X)."""
        if self.channel_axis is None:
            return image.reshape(self.stack.shape)
        return to_stack(image, self.channel_axis)


def read_images(source, axes=None, channel_axis=None):
    """Read an array, an image file (TIFF, PNG, JPEG), or all such files of a folder as one stack.

    Intensities stay as they are. axes: of TIFF files, see `read_stack`. Other files of a folder are left alone.
    channel_axis: of an array, as in `to_stack`; of colour photographs, which become grey without it: see `load_image`.
    A warning asks about files of a folder that differ greatly in brightness.
    Returns Images. Raises FileNotFoundError for a path or folder without images, ValueError for files of
    different shapes, and what `read_stack`, `load_image` and `to_stack` raise.
    """
    if not isinstance(source, (str, Path)):
        stack = to_stack(source, channel_axis)
        check_values(stack)
        return Images(stack, np.asanyarray(source), [("denoised", len(stack), None)], channel_axis)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {path}: check the path")
    files, stacks, sources = [path], [], []
    refuse_other_formats(path)
    if path.is_dir() and not plate_files(path)[0]:
        files = image_files(path)
    for file in files:
        stack, like = _read(file, axes, channel_axis)
        if stacks and stack.shape[1:] != stacks[0].shape[1:]:
            raise ValueError(
                f"{file.name} has (channels, Y, X) = {stack.shape[1:]} and {files[0].name} has {stacks[0].shape[1:]}: "
                "put images of one size in a folder"
            )
        check_values(stack, file.name)
        stacks.append(stack)
        sources.append(like)
    _ask_about_brightness(files, stacks)
    stack = stacks[0] if len(stacks) == 1 else np.concatenate(stacks)
    like = stack if stack.shape[1] > 1 else stack[:, 0]
    like = like[0] if not path.is_dir() and len(stack) == 1 else like
    channel_axis = channel_axis if stack.shape[1] > 1 else None
    like = like if channel_axis is None else moved(like, -3, channel_axis)
    written = [(f"{file.stem}_denoised", len(part), source) for file, part, source in zip(files, stacks, sources)]
    return Images(stack, like, written, channel_axis)


def _read(file, axes, channel_axis):
    """Return what a file or a plate's folder holds (N, C, Y, X), and the file if it is a TIFF file with axes, or None.

    With channel_axis the colours of a photograph are C, else it is grey.
    """
    colours = None if channel_axis is None else -1
    if file.is_dir():
        return read_stack(file, axes)[0], None
    if is_tiff(file):
        with open_whole(file, believe=axes is None) as tiff:
            if axes is not None or not stored(tiff, None, file.name).colours:
                return stack_of(tiff, file, axes)[0], file
            image = image_of(tiff, file, colours)
    else:
        image = load_image(file, channel_axis=colours)
    return to_stack(image, colours if image.ndim > 2 else None), None


def _ask_about_brightness(files, stacks):
    """Warn if files of a folder, which are taken for images of one kind, differ greatly in what is bright in them."""
    if len(stacks) < 2:
        return
    bright = [stack[:, :, ::4, ::4] for stack in stacks]
    levels = [float(np.quantile(some[np.isfinite(some)], 0.9)) if np.isfinite(some).any() else 0 for some in bright]
    lit = {level: file for level, file in zip(levels, files) if level > 0}  # an empty image has no level to compare
    if lit and max(lit) > FAR_BRIGHTER * min(lit):
        warnings.warn(
            f"{lit[max(lit)].name} is {max(lit) / min(lit):.0f} times as bright as "
            f"{lit[min(lit)].name}: are they channels of one image, or of different exposures? They are taken for "
            "images of one kind; if they are not, put them in folders of their own",
            stacklevel=4,
        )
