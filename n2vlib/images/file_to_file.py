"""Prediction from file to file: image by image, resumable, checked, whole or not at all."""

import contextlib
import hashlib
import os
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import tifffile
from tqdm.auto import tqdm

from .arrays import check_values, to_stack
from .calibration import calibration, keywords_like
from .files import TIFF, WRITTEN, image_files, save_image
from .gaps import find_gaps
from .pictures import is_photograph, load_image
from .plates import plate_files
from .stacks import read_stack

try:
    import fcntl
except ImportError:  # Windows: there a second run on the same target is not noticed
    fcntl = None

FORMAT = "n2vlib denoise_file 1"
SAMPLE = 16  # images read back at the end
ENDING = re.compile(r"((?:\.ome)?\.\w+)$", re.IGNORECASE)


def denoise_file(
    denoiser,
    source,
    target,
    axes=None,
    dtype="float32",
    tta=False,
    split_channels=False,
    exact=False,
    series=None,
    similar=False,
):
    """Denoise a TIFF hyperstack of any size into another one, image by image.

    source, axes, series: as in `read_stack`. target: .tif or .tiff, with the axes, sizes, times and channel names of
    the source; OME if that is, else for ImageJ up to 4 GB, as BigTIFF beyond. dtype: "float32", or "same" to
    round and clip to the source's dtype; both in the source's intensity units. tta, exact, similar: as in
    `Denoiser.predict`. split_channels: one file for each channel, target_ch1.tiff, target_ch2.tiff, ...
    The images are written beside the target (target.tiff.part) and moved into place at the end; called
    again with the same model, source and settings, an interrupted run goes on where it stopped.
    Returns the path written, a list of them with split_channels.
    Raises ValueError for what `read_stack` or the model refuse, or a target that will not do, before
    anything is written; OSError for a full disk, a file that does not read back as it was written, or a
    second run on the same target.

    >>> import tempfile
    >>> from n2vlib import load_pretrained
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/noisy.tif", np.ones((2, 32, 32), "uint8"), metadata={"axes": "TYX"})
    ...     clean = denoise_file(load_pretrained("bsd68_n2v2"), f"{folder}/noisy.tif", f"{folder}/clean.tif")
    ...     tifffile.imread(clean).shape
    (2, 32, 32)
    """
    source, target = Path(source), Path(target)
    stack, _ = read_stack(source, axes, series)
    if stack.shape[1] != len(denoiser.mean):
        denoiser.predict(stack[:1])  # says what is wrong
    denoiser.check_similar(similar)
    pixel = _pixel_type(dtype, stack.dtype)
    channels = range(1, stack.shape[1] + 1) if split_channels else []
    targets = [target.with_name(ENDING.sub(rf"_ch{c}\1", target.name)) for c in channels] or [target]
    parts = [path.with_name(f"{path.name}.part") for path in targets]
    journal = target.with_name(f"{target.name}.part.txt")
    _check_target(source, target, [*targets, *parts, journal])
    check_values(stack, source.name)  # before hours of work, not in the middle
    gaps = find_gaps(stack)

    key = _key(denoiser, source, (axes, pixel.name, tta, split_channels, exact, series, similar))
    with _alone(journal):
        sums = _done(journal, key, parts)
        if not sums:
            journal.write_bytes(b"")
            for part in parts:
                part.unlink(missing_ok=True)
        _check_room(target.parent, (len(stack) - len(sums)) * stack[0].size * pixel.itemsize)
        if not sums:
            known = calibration(source, axes, series)
            _lay_out(parts, (len(stack), stack.shape[1] // len(parts), *stack.shape[2:]), pixel, known)
            journal.write_bytes(key.encode() + b"\n")
        _predict_images(
            denoiser, (stack, gaps), parts, journal, pixel, dict(tta=tta, exact=exact, similar=similar), sums
        )
        _read_back(parts, sums)
        for part, path in zip(parts, targets):
            os.replace(part, path)
        journal.write_bytes(b"")
    return targets if split_channels else target


def denoise_folder(denoiser, source, target, tta=False, exact=False, similar=False):
    """Denoise all image files of a folder, one after the other and whatever their sizes, with one trained network.

    TIFF files become TIFF files (see `denoise_file`; photographs as in `save_image`), PNG and JPEG files of 8 bits PNG
    files, of more bits TIFF files with all their values. source, target: folders, not the same. tta, exact,
    similar: as in `Denoiser.predict`. Returns the paths written. Thumbnails of plates are left alone. A file that
    cannot be denoised is left out, and a warning says which and why; another says if one is in other units than the
    images of the training.
    Raises FileNotFoundError for a folder without images, ValueError for two files that would get one name, or for
    `similar` where the noise is not known.

    >>> import tempfile
    >>> from n2vlib import load_pretrained, save_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for side in (32, 48):
    ...         _ = save_image(f"{folder}/{side}.png", np.random.default_rng(0).normal(100, 20, (side, side)))
    ...     [path.name for path in denoise_folder(load_pretrained("bsd68_n2v2"), folder, f"{folder}/clean")]
    ['32.png', '48.png']
    """
    source, target = Path(source), Path(target)
    files = image_files(source)
    kinds = {file: ".tif" if file.suffix.lower() in TIFF else ".png" for file in files}
    names = {file: file.name if file.suffix.lower() in WRITTEN else file.stem + kinds[file] for file in files}
    twice = [file.name for file in files if list(names.values()).count(names[file]) > 1]
    if twice or target.resolve() == source.resolve():
        reason = f"{' and '.join(twice)} would become one file" if twice else "the target is the source itself"
        raise ValueError(f"{source.name} cannot be denoised into {target.name}: {reason}, choose other names")
    denoiser.check_similar(similar)
    written, how = [], dict(tta=tta, exact=exact, similar=similar)
    for file in files:
        path = target / names[file]
        try:
            if kinds[file] == ".tif" and not is_photograph(file):
                written.append(denoise_file(denoiser, file, path, **how))
                continue
            colours = -1 if len(denoiser.mean) == 3 else None
            image = load_image(file, channel_axis=colours)
            clean = denoiser.predict(image, channel_axis=colours, **how)
            if kinds[file] == ".tif" or image.dtype.itemsize == 2 or image.max() > 255:  # which 8 bits cannot hold
                if kinds[file] != ".tif":
                    taken = file.stem + ".tif" in names.values()
                    path = target / (f"{file.name}.tif" if taken else f"{file.stem}.tif")
                like = file if kinds[file] == ".tif" else None
                written.append(save_image(path, to_stack(clean, colours), like))
            else:
                written.append(save_image(path, clean, like=image))
        except (TypeError, ValueError, PermissionError) as error:  # the last: of a source, not of a target
            reason = "you may not open it" if isinstance(error, PermissionError) else error
            warnings.warn(f"{file.name} was not denoised: {reason}", stacklevel=2)
    return written


def _pixel_type(dtype, source):
    """Return the dtype to be written."""
    if dtype not in ("float32", "same"):
        raise ValueError(f"dtype={dtype!r} is not possible: choose 'float32', or 'same' for the dtype of the source")
    if dtype == "same" and source.kind == "b":
        raise ValueError("dtype='same' is not possible for a black and white source (bool): choose dtype='float32'")
    return source.newbyteorder("=") if dtype == "same" else np.dtype("float32")


def _check_target(source, target, written):
    """Raise ValueError for a target that is no TIFF file, or that would overwrite the source."""
    if target.is_dir():
        raise ValueError(f"the target {target.name} is a folder: choose a file name that ends in .tif or .tiff")
    if target.suffix.lower() not in WRITTEN:
        raise ValueError(f"the target {target.name} will be a TIFF file: choose a name that ends in .tif or .tiff")
    into_plate = source.is_dir() and target.parent.resolve() == source.resolve()
    if into_plate or any(path.exists() and path.samefile(source) for path in written):
        raise ValueError(
            f"the target {target.name} would overwrite the source {source.name}: choose another name or folder"
        )


@contextlib.contextmanager
def _alone(journal):
    """Lock the journal, so that no second run writes to the same target; a killed run's lock is gone with it."""
    target = journal.name.removesuffix(".part.txt")
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        opened = open(journal, "ab")
    except OSError as error:
        raise OSError(
            f"{target} cannot be written into {journal.parent} ({error.strerror}): choose a target in another folder"
        ) from error
    with opened as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(
                f"another run is writing {target}: wait until it has ended, stop it, or choose another target"
            ) from error
        try:
            yield
        finally:
            if journal.stat().st_size == 0:  # nothing to go on with
                if not fcntl:
                    file.close()  # Windows removes no open file
                journal.unlink()


def _check_room(folder, needed):
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"the disk of {folder} has {free / 1e9:.3g} GB left and the result needs {needed / 1e9:.3g} GB: "
            "free some space, or choose a target on another disk"
        )


def _key(denoiser, source, settings):
    """Return a number, in hexadecimal, that only the same model, source and settings have."""
    content = denoiser.content()
    model = [content[name] for name in ("config", "mean", "std", "noise", "leak")]
    files = plate_files(source)[0] if source.is_dir() else [source]
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    digest = hashlib.sha256(repr((FORMAT, settings, model, stats)).encode())
    for name, tensor in content["weights"].items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _done(journal, key, parts):
    """Return the checksums of the images that an interrupted run with this key has written; [] to start anew."""
    try:
        found, *sums = journal.read_text().splitlines()
        if found != key:
            return []
        written = [read_stack(part)[0] for part in parts]
    except (OSError, ValueError):  # there is no such run, or it left nothing of use
        return []
    for n, line in enumerate(sums):
        if n == len(written[0]) or line != _checksum(_image(written, n)):
            return sums[:n]
    return sums


def _image(written, n):
    """Return image n, (C, Y, X), of the files written."""
    return written[0][n] if len(written) == 1 else np.concatenate([stack[n] for stack in written])


def _checksum(image):
    """Return a number, in hexadecimal, of the shape and values of an image; as long as `_key`."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()


def _lay_out(paths, shape, pixel, known):
    """Write TIFF files whose pixels are still to come, axes and sizes as in the source; none if there is no room."""
    try:
        for c, path in enumerate(paths):
            full, keywords = keywords_like(known, shape, pixel, c if len(paths) > 1 else None)
            tifffile.memmap(path, shape=full, dtype=pixel, **keywords)
    except BaseException as error:
        for path in paths:
            path.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise OSError(
            f"{paths[0].name} could not be written beside the target ({error.strerror}): free some space, "
            "or choose a target on another disk"
        ) from error


def _predict_images(denoiser, images, parts, journal, pixel, options, sums):
    """Predict the images from number len(sums) on, write each in its place, and append its checksum."""
    (stack, gaps), offsets = images, [read_stack(part)[0].offset for part in parts]
    os.truncate(journal, (1 + len(sums)) * (2 * hashlib.sha256().digest_size + 1))  # no half lines
    with contextlib.ExitStack() as files:
        # Not through maps of the files: a disk that fills up would kill Python. Nor through a buffer,
        # so that what the journal counts as written is out of this process's hands.
        pixels = [files.enter_context(open(part, "r+b", buffering=0)) for part in parts]
        log = files.enter_context(open(journal, "ab", buffering=0))
        numbers = range(len(sums), len(stack))
        for n in tqdm(
            numbers, initial=len(sums), total=len(stack), unit="image", desc=journal.name.removesuffix(".part.txt")
        ):
            image = _rounded(denoiser.predict_image(stack, n, gaps, **options), pixel)
            try:
                for file, offset, piece in zip(pixels, offsets, np.split(image, len(pixels))):
                    file.seek(offset + n * piece.nbytes)
                    _write(file, memoryview(np.ascontiguousarray(piece)).cast("B"))
                sums.append(_checksum(image))
                _write(log, f"{sums[-1]}\n".encode())
                del image, piece  # or two of them would be in memory while the next one is predicted
            except OSError as error:
                raise OSError(
                    f"image {n} of {len(stack)} could not be written beside the target ({error.strerror}): "
                    "free some space and call denoise_file again, it will go on from there"
                ) from error
        for file in pixels:
            os.fsync(file.fileno())


def _write(file, data):
    while data:
        data = data[file.write(data) :]


def _rounded(image, pixel):
    """Convert a float32 image to the dtype `pixel`, integers rounded, all clipped to its range."""
    if pixel == image.dtype:
        return image
    if pixel.kind == "f":
        limit = np.finfo(pixel).max
        return np.where(np.isinf(image), image, np.clip(image, -limit, limit)).astype(pixel)
    low, high = float(np.iinfo(pixel).min), float(np.iinfo(pixel).max)
    if pixel.itemsize == 8:
        high = np.nextafter(high, 0)  # the largest of 64 bits is no float64, and the next one is too large
    return np.clip(np.rint(image.astype(np.float64)), low, high).astype(pixel)


def _read_back(parts, sums):
    """Read a sample of the images from the files written, and compare them with the predictions' checksums."""
    written = [read_stack(part)[0] for part in parts]
    sample = np.random.default_rng(0).choice(len(sums), min(SAMPLE, len(sums)), replace=False)
    wrong = [int(n) for n in sample if _checksum(_image(written, n)) != sums[n]]
    if wrong or len(written[0]) != len(sums):
        raise OSError(
            f"{parts[0].name} does not read back as it was written (images {wrong}): "
            "check the disk and call denoise_file again, it will write them anew"
        )
