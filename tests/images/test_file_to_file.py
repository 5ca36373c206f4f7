"""Prediction from file to file: what predict gives, written whole or not at all, resumable, in bounded memory."""

import copy
import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from n2vlib import Denoiser, denoise_file, denoise_folder, read_stack
from n2vlib.images import file_to_file, writing
from n2vlib.images.calibration import calibration

IMAGES = 9


@pytest.fixture(scope="module")
def denoiser(untrained):
    return untrained(2)


@pytest.fixture(scope="module")
def noisy_stack():
    return np.random.default_rng(0).poisson(100, (IMAGES, 2, 18, 23)).astype(np.uint16)


@pytest.fixture
def source(tmp_path, noisy_stack):
    return stored(tmp_path / "in.tiff", noisy_stack)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "results" / "out.tiff"


def stored(path, stack):
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "TCYX"}, ome=False)
    return path


@pytest.fixture
def count(monkeypatch):
    """Replace a model's predict_image by one that counts, and that raises `error` at call number `stop`."""

    def start(model, stop=None, error=RuntimeError):
        calls, predict = itertools.count(1), type(model).predict_image
        seen = []

        def counting(stack, n, *others, **keywords):
            if next(calls) == stop:
                raise error("stopped by the test")
            seen.append(np.array(stack[n]))
            return predict(model, stack, n, *others, **keywords)

        monkeypatch.setattr(model, "predict_image", counting, raising=False)
        return seen

    return start


def interrupted(count, denoiser, source, target, after, **settings):
    """Leave behind what a run leaves that fails after some images."""
    count(denoiser, stop=after + 1)
    with pytest.raises(RuntimeError):
        denoise_file(denoiser, source, target, **settings)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# What is written


def test_the_same_as_predict_on_the_whole_stack(denoiser, noisy_stack, source, target, capsys):
    path = denoise_file(denoiser, source, str(target))
    assert path == target and files(target.parent) == ["out.tiff"]
    assert f"{IMAGES}/{IMAGES}" in capsys.readouterr().err  # the progress bar
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_imagej and tiff.series[0].axes == "TCYX" and not tiff.is_bigtiff
        assert tiff.imagej_metadata["channels"] == 2 and tiff.imagej_metadata["frames"] == IMAGES
    written, text = read_stack(path)
    assert written.dtype == np.float32 and text == "TCYX (ImageJ)"
    np.testing.assert_array_equal(written, denoiser.predict(noisy_stack))


@given(st.data())
def test_round_trips(untrained, tmp_path_factory, data):
    shape = [data.draw(st.integers(1, high)) for high in (4, 3)] + [data.draw(st.integers(5, 12)) for _ in "YX"]
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "int16", "int32", "uint64", "float16", "float32", "float64"]))
    big, split, same = (data.draw(st.booleans()) for _ in range(3))
    folder, model = tmp_path_factory.mktemp("round"), untrained(shape[1])
    stack = np.random.default_rng(0).poisson(100, shape).astype(dtype)
    source = stored(folder / "in.tif", stack)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "LARGEST_IMAGEJ", 0 if big else 2**31)
        settings = dict(dtype="same" if same else "float32", split_channels=split)
        paths = denoise_file(model, source, folder / "out.tif", **settings)
    written = np.concatenate([read_stack(path)[0] for path in (paths if split else [paths])], axis=1)
    expected = model.predict(stack)
    if same and np.dtype(dtype).kind in "ui":
        expected = np.clip(np.rint(expected), np.iinfo(dtype).min, np.iinfo(dtype).max)
    expected = expected.astype(dtype if same else "float32")
    np.testing.assert_array_equal(written, expected, strict=True)
    assert written.dtype == expected.dtype


def test_the_sources_dtype_is_rounded_and_clipped_to():
    image = np.array([-7.3, 0.4, 0.6, 99.5, 254.7, 255.6, 70000, -1e30, 1e30], np.float32)
    assert file_to_file._rounded(image, np.dtype("uint8")).tolist() == [0, 0, 1, 100, 255, 255, 255, 0, 255]
    assert file_to_file._rounded(image, np.dtype("uint16"))[-3:].tolist() == [65535, 0, 65535]
    assert file_to_file._rounded(image, np.dtype("int16"))[[0, -3, -2]].tolist() == [-7, 32767, -32768]
    for dtype in ("int32", "uint32", "int64", "uint64"):
        low, high = file_to_file._rounded(image, np.dtype(dtype))[-2:].tolist()
        assert low == np.iinfo(dtype).min and np.iinfo(dtype).max * 0.999 < high <= np.iinfo(dtype).max
    assert file_to_file._rounded(image, np.dtype("float16"))[-3:].tolist() == [65504, -65504, 65504]
    assert file_to_file._rounded(image, np.dtype("float64")).tolist() == image.astype(float).tolist()


def test_same_keeps_the_dtype_and_writes_for_imagej(denoiser, noisy_stack, source, target):
    written, text = read_stack(denoise_file(denoiser, source, target, dtype="same"))
    assert written.dtype == np.uint16 and text == "TCYX (ImageJ)"
    np.testing.assert_array_equal(written, np.rint(denoiser.predict(noisy_stack)))


def test_one_file_for_each_channel(denoiser, noisy_stack, source, target):
    paths = denoise_file(denoiser, source, target, split_channels=True)
    assert [path.name for path in paths] == files(target.parent) == ["out_ch1.tiff", "out_ch2.tiff"]
    expected = denoiser.predict(noisy_stack)
    for channel, path in enumerate(paths):
        stack, text = read_stack(path)
        np.testing.assert_array_equal(stack, expected[:, [channel]])
        assert text == "TYX (ImageJ)"


@pytest.mark.parametrize("name", ["res.ome.tif", "a.b.c.TIFF"])
def test_the_channel_stands_before_the_whole_ending(denoiser, source, target, name):
    paths = denoise_file(denoiser, source, target.with_name(name), split_channels=True)
    stem, ending = (name[:3], name[3:]) if ".ome" in name else (name[:5], name[5:])
    assert [path.name for path in paths] == files(target.parent) == [f"{stem}_ch{c}{ending}" for c in (1, 2)]


def test_bigtiff_beyond_the_limit(denoiser, noisy_stack, source, target, monkeypatch):
    monkeypatch.setattr(writing, "LARGEST_IMAGEJ", noisy_stack.size * 4)
    path = denoise_file(denoiser, source, target)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff and not tiff.is_imagej and tiff.series[0].axes == "TCYX"
    written, text = read_stack(path)
    assert text == "TCYX (OME)"
    np.testing.assert_array_equal(written, denoiser.predict(noisy_stack))


def test_self_ensemble(denoiser, noisy_stack, source, target):
    written, _ = read_stack(denoise_file(denoiser, source, target, tta=True))
    np.testing.assert_array_equal(written, denoiser.predict(noisy_stack, tta=True))


def test_similar_patches(untrained, noisy_stack, source, target, tmp_path, refused):
    model = untrained(2, noise_model="gaussian")
    written, _ = read_stack(denoise_file(model, source, target, similar=True))
    np.testing.assert_array_equal(written, model.predict(noisy_stack, similar=True))
    (alone,) = denoise_folder(model, source.parent, tmp_path / "all", similar=True)
    np.testing.assert_array_equal(read_stack(alone)[0], written)
    for run in (denoise_file, denoise_folder):
        place = (source, target) if run is denoise_file else (source.parent, tmp_path / "none")
        with refused(ValueError, "needs to know how noisy"):
            run(untrained(2), *place, similar=True)
    assert not (tmp_path / "none").exists()


def test_files_of_unknown_axes_need_axes(untrained, tmp_path, target, refused):
    model, stack = untrained(1), np.random.default_rng(0).poisson(100, (4, 18, 23)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "plain.tif", stack, photometric="minisblack", metadata=None, byteorder=">")
    with refused(ValueError, "does not say what its shape"):
        denoise_file(model, tmp_path / "plain.tif", target)
    written, _ = read_stack(denoise_file(model, tmp_path / "plain.tif", target, axes="TYX", dtype="same"))
    np.testing.assert_array_equal(written[:, 0], np.rint(model.predict(stack)))


def test_a_plates_folder_goes_in_as_well(denoiser, noisy_stack, tmp_path, target, count, refused):
    plate = tmp_path / "Images"
    plate.mkdir()
    for field, channel in itertools.product(range(4), range(2)):
        path = plate / f"r01c01f{field + 1:02d}p01-ch{channel + 1}sk1fk1fl1.tiff"
        tifffile.imwrite(path, noisy_stack[field, channel], resolution=(10_000, 5_000), resolutionunit=3)
    written, _ = read_stack(denoise_file(denoiser, plate, target))
    assert calibration(target).resolution == {"resolution": (10_000, 5_000), "resolutionunit": 3}
    np.testing.assert_array_equal(written, denoiser.predict(noisy_stack[:4]))
    with refused(ValueError, "the target out.tiff would overwrite the source Images"):
        denoise_file(denoiser, plate, plate / "out.tiff")
    interrupted(count, denoiser, plate, target, 2)
    (plate / "Index.idx.xml").write_text("of no account")
    seen = count(denoiser)
    denoise_file(denoiser, plate, target)
    assert len(seen) == 2
    interrupted(count, denoiser, plate, target, 2)
    tifffile.imwrite(plate / "r01c01f01p01-ch1sk1fk1fl1.tiff", noisy_stack[5, 0])
    seen = count(denoiser)
    denoise_file(denoiser, plate, target)
    assert len(seen) == 4


def test_real_cell_painting(untrained, data_folder, tmp_path):
    path = data_folder / "jump" / "jump_BR00117006_3ch.tiff"
    if not path.is_file():
        pytest.skip("no jump/jump_BR00117006_3ch.tiff in the folder of real data")
    model = untrained(3)
    written, text = read_stack(denoise_file(model, path, tmp_path / "out.tiff", dtype="same"))
    assert written.shape == (4, 3, 540, 540) and written.dtype == np.uint16 and text == "TCYX (ImageJ)"
    expected = np.clip(np.rint(model.predict(tifffile.imread(path)[3:])), 0, 65535)
    np.testing.assert_array_equal(written[3:], expected)


# Interrupted, and gone on with


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("split", [False, True])
def test_an_interrupted_run_goes_on_where_it_stopped(denoiser, noisy_stack, source, target, count, error, split):
    count(denoiser, stop=6, error=error)
    with pytest.raises(error, match="stopped by the test"):
        denoise_file(denoiser, source, target, split_channels=split)
    assert not [name for name in files(target.parent) if name.endswith(".tiff")]
    seen = count(denoiser)
    paths = denoise_file(denoiser, source, target, split_channels=split)
    np.testing.assert_array_equal(seen, noisy_stack[5:])
    written = np.concatenate([read_stack(path)[0] for path in (paths if split else [paths])], axis=1)
    np.testing.assert_array_equal(written, denoiser.predict(noisy_stack))
    assert files(target.parent) == [path.name for path in (paths if split else [paths])]


@pytest.mark.parametrize("change", ["model", "statistics", "settings", "source", "time", "axes"])
def test_another_model_source_or_setting_starts_anew(denoiser, noisy_stack, source, target, count, change):
    interrupted(count, denoiser, source, target, 6)
    model, stack, settings = denoiser, noisy_stack, {}
    if change == "model":
        model = Denoiser(copy.deepcopy(denoiser.network), denoiser.config, denoiser.mean, denoiser.std)
        next(model.network.parameters()).data[0] += 1e-3
    elif change == "statistics":
        model = Denoiser(denoiser.network, denoiser.config, [100, 101], [50, 50])
    elif change == "settings":
        settings = dict(dtype="same")
    elif change == "source":
        stack = stored(source, noisy_stack[:8]) and noisy_stack[:8]
    elif change == "time":
        os.utime(source, (1, 1))
    else:
        settings = dict(axes="ZCYX")
    seen = count(model)
    written, _ = read_stack(denoise_file(model, source, target, **settings))
    assert len(seen) == len(stack)
    np.testing.assert_array_equal(
        written, np.rint(model.predict(stack)) if settings.get("dtype") else model.predict(stack)
    )


@pytest.mark.parametrize(
    "damage", ["half a line", "no journal", "no part", "a cut part", "a foreign part", "a changed image"]
)
def test_what_a_crash_may_leave_behind(denoiser, noisy_stack, source, target, count, damage):
    interrupted(count, denoiser, source, target, 6)
    part, journal = target.with_name("out.tiff.part"), target.with_name("out.tiff.part.txt")
    if damage == "half a line":
        os.truncate(journal, journal.stat().st_size - 30)
    elif damage == "no journal":
        journal.unlink()
    elif damage == "no part":
        part.unlink()
    elif damage == "a cut part":
        os.truncate(part, 500)
    elif damage == "a foreign part":
        stored(part, noisy_stack[:3])
    else:  # the machine went down before image 2 reached the disk
        with open(part, "r+b") as file:
            file.seek(read_stack(part)[0].offset + int(2.5 * 4 * noisy_stack[0].size))
            file.write(b"x")
    seen = count(denoiser)
    written, _ = read_stack(denoise_file(denoiser, source, target))
    left = {"half a line": 4, "a changed image": 7}
    assert len(seen) == left.get(damage, IMAGES)
    np.testing.assert_array_equal(written, denoiser.predict(noisy_stack))
    assert files(target.parent) == ["out.tiff"]


def test_interrupted_twice(denoiser, noisy_stack, source, target, count):
    interrupted(count, denoiser, source, target, 5)
    os.truncate(target.with_name("out.tiff.part.txt"), 65 * 6 - 30)
    interrupted(count, denoiser, source, target, 3)
    seen = count(denoiser)
    written, _ = read_stack(denoise_file(denoiser, source, target))
    assert len(seen) == IMAGES - 4 - 3
    np.testing.assert_array_equal(written, denoiser.predict(noisy_stack))


KILLED = """
import os, signal, sys
from n2vlib import Denoiser
from n2vlib.images import file_to_file, writing

write, calls = file_to_file._write, iter(range(1000))

def killing(file, data):
    if next(calls) == 11:  # two writes an image, pixels and journal: image 5 is half written
        file.write(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write(file, data)

file_to_file._write = killing
model, source, target = sys.argv[1:]
file_to_file.denoise_file(Denoiser.load(model), source, target)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_in_the_middle_of_writing(denoiser, source, target, tmp_path, count):
    denoiser.save(tmp_path / "model.pt")
    arguments = [str(path) for path in (tmp_path / "model.pt", source, target)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert files(target.parent) == ["out.tiff.part", "out.tiff.part.txt"]
    model = Denoiser.load(tmp_path / "model.pt")
    seen = count(model)
    denoise_file(model, source, target)
    assert len(seen) == IMAGES - 5 and files(target.parent) == ["out.tiff"]
    uninterrupted = denoise_file(model, source, tmp_path / "uninterrupted.tiff")
    assert target.read_bytes() == uninterrupted.read_bytes()


def test_the_same_axes_for_one_image_as_for_many(denoiser, noisy_stack, tmp_path, target):
    source = tmp_path / "in.tif"
    for images in (1, 2):  # ImageJ leaves out the T of a single image
        tifffile.imwrite(source, noisy_stack[:images], imagej=True, metadata={"axes": "TCYX"})
        written, text = read_stack(denoise_file(denoiser, source, target, axes="TCYX"))
        np.testing.assert_array_equal(written, denoiser.predict(noisy_stack[:images]))
        assert text == {1: "CYX (ImageJ)", 2: "TCYX (ImageJ)"}[images]


# Two runs on one target


@pytest.mark.skipif(file_to_file.fcntl is None, reason="this system has no locks of this kind")
def test_a_second_run_on_the_same_target_is_refused_and_harms_nothing(
    denoiser, noisy_stack, source, target, monkeypatch, refused
):
    predict, calls = type(denoiser).predict_image, itertools.count()

    def second_run(*image, **keywords):
        if next(calls) == 4:  # in the middle of the first run
            with refused(OSError, "another run is writing out.tiff: wait until it has ended, stop it, or choose"):
                denoise_file(denoiser, source, target)
            denoise_file(denoiser, source, target.with_name("other.tiff"))  # beside it is free
        return predict(denoiser, *image, **keywords)

    monkeypatch.setattr(denoiser, "predict_image", second_run, raising=False)
    denoise_file(denoiser, source, target)
    monkeypatch.undo()
    for name in ("out.tiff", "other.tiff"):
        np.testing.assert_array_equal(read_stack(target.with_name(name))[0], denoiser.predict(noisy_stack))
    assert files(target.parent) == ["other.tiff", "out.tiff"]


# Nothing half-written, nothing overwritten


def test_the_target_stays_as_it_is_until_the_end(denoiser, source, target, count):
    target.parent.mkdir()
    target.write_bytes(b"an older result")
    interrupted(count, denoiser, source, target, 6)
    assert target.read_bytes() == b"an older result"
    count(denoiser)
    denoise_file(denoiser, source, target)
    assert read_stack(target)[0].shape[0] == IMAGES


@pytest.mark.parametrize("way", ["itself", "symlink", "hard link", "other spelling", "part"])
def test_never_onto_the_source(denoiser, source, tmp_path, way, refused):
    before, target = source.read_bytes(), tmp_path / "same.tiff"
    if way == "itself":
        target = source
    elif way == "symlink":
        target.symlink_to(source)
    elif way == "hard link":
        target.hardlink_to(source)
    elif way == "other spelling":
        (tmp_path / "folder").mkdir()
        target = tmp_path / "folder" / ".." / "in.tiff"
    else:
        source = source.rename(tmp_path / "out.tiff.part")
        target = tmp_path / "out.tiff"
    with refused(ValueError, f"the target {target.name} would overwrite the source {source.name}: choose another"):
        denoise_file(denoiser, source, target)
    assert source.read_bytes() == before


def test_never_onto_the_source_with_one_file_for_each_channel(denoiser, source, tmp_path, refused):
    source = source.rename(tmp_path / "out_ch2.tiff")
    with refused(ValueError, "would overwrite the source out_ch2.tiff"):
        denoise_file(denoiser, source, tmp_path / "out.tiff", split_channels=True)


def test_requests_that_make_no_sense(denoiser, untrained, source, target, tmp_path, refused):
    with refused(ValueError, "the model was trained on 3 channel.* has 2: give images with the same channels"):
        denoise_file(untrained(3), source, target)
    with refused(ValueError, "dtype='uint8' is not possible: choose 'float32', or 'same'"):
        denoise_file(denoiser, source, target, dtype="uint8")
    with refused(ValueError, "the target out.png will be a TIFF file: choose a name that ends in .tif"):
        denoise_file(denoiser, source, target.with_suffix(".png"))
    (tmp_path / "folder.tiff").mkdir()
    with refused(ValueError, "the target folder.tiff is a folder: choose a file name that ends in .tif"):
        denoise_file(denoiser, source, tmp_path / "folder.tiff")
    with refused(FileNotFoundError, "no file or folder"):
        denoise_file(denoiser, tmp_path / "none.tiff", target)
    tifffile.imwrite(tmp_path / "mask.tif", np.ones((7, 18, 23), bool))
    with refused(ValueError, "dtype='same' is not possible for a black and white source"):
        denoise_file(untrained(1), tmp_path / "mask.tif", target, dtype="same")
    assert not target.parent.exists()


def test_what_no_sensor_gives_is_found_before_anything_is_predicted(
    denoiser, noisy_stack, source, target, count, refused
):
    broken = noisy_stack.astype(np.float32)
    broken[7, 1, 4, 5] = 3.4e38
    seen = count(denoiser)
    with refused(ValueError, "in.tiff holds 1 values beyond 1e.18.*image 7, channel 1, row 4, column 5: if they"):
        denoise_file(denoiser, stored(source, broken), target)
    assert not seen and not target.parent.exists()


def test_a_disk_without_enough_room(denoiser, source, target, monkeypatch, refused):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9 - 9, 9))
    with refused(OSError, "the disk of .*results has 9e-09 GB left and the result needs 2.98e-05 GB: free some space"):
        denoise_file(denoiser, source, target)
    assert not files(target.parent)


def test_a_folder_that_cannot_be_written(denoiser, source, tmp_path, refused):
    (tmp_path / "file").write_text("")
    with refused(OSError, r"out.tiff cannot be written into .*file \(File exists\): choose a target in another folder"):
        denoise_file(denoiser, source, tmp_path / "file" / "out.tiff")


def test_a_failure_of_the_writer_leaves_nothing_behind(denoiser, source, target, monkeypatch):
    def failing(path, **keywords):
        path.write_bytes(b"half")
        raise UnicodeError("stopped by the test")

    monkeypatch.setattr(tifffile, "memmap", failing)
    with pytest.raises(UnicodeError):
        denoise_file(denoiser, source, target)
    assert not files(target.parent)


def test_a_file_that_may_not_be_opened_is_left_out_and_a_full_disk_ends_the_folder(
    denoiser, noisy_stack, source, tmp_path, monkeypatch, refused
):
    stored(source.with_name("locked.tiff"), noisy_stack)
    ask = file_to_file.is_photograph

    def locked(file):
        if file.name == "locked.tiff":
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return ask(file)

    monkeypatch.setattr(file_to_file, "is_photograph", locked)
    with pytest.warns(UserWarning, match="locked.tiff was not denoised: you may not open it$"):
        paths = denoise_folder(denoiser, tmp_path, tmp_path / "all")
    assert [path.name for path in paths] == ["in.tiff"]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9 - 9, 9))
    with refused(OSError, "the disk of .* has 9e-09 GB left"):
        denoise_folder(denoiser, tmp_path, tmp_path / "all")


@pytest.mark.parametrize("call", [8, 9])
def test_a_disk_that_fills_up(denoiser, noisy_stack, source, target, count, monkeypatch, refused, call):
    write, calls = file_to_file._write, itertools.count()

    def full(file, data):
        if next(calls) == call:
            file.write(data[:7])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(file_to_file, "_write", full)
        with refused(OSError, r"image 4 of 9 could not be written beside the target \(No space left on device\): free"):
            denoise_file(denoiser, source, target)
    assert "out.tiff" not in files(target.parent)
    seen = count(denoiser)
    written, _ = read_stack(denoise_file(denoiser, source, target))
    assert len(seen) == IMAGES - 4
    np.testing.assert_array_equal(written, denoiser.predict(noisy_stack))


def test_a_disk_that_does_not_keep_what_is_written(denoiser, noisy_stack, source, target, monkeypatch, refused):
    write = file_to_file._write

    def forgetful(file, data):
        write(file, b"x" + data[1:] if len(data) > 100 else data)

    with monkeypatch.context() as patch:
        patch.setattr(file_to_file, "_write", forgetful)
        with refused(OSError, r"out.tiff.part does not read back as it was written \(images \[.*\]\): check the disk"):
            denoise_file(denoiser, source, target)
    assert not target.exists()
    written, _ = read_stack(denoise_file(denoiser, source, target))
    np.testing.assert_array_equal(written, denoiser.predict(noisy_stack))


# Memory

MEASURE = """
import json, re, sys, threading, time
import torch
from n2vlib import Denoiser
from n2vlib import denoise_file

torch.set_num_threads(1)
peak, running = 0, True

def watch():
    global peak
    while running:
        status = open("/proc/self/status").read()
        peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+) kB", status)[1]))
        time.sleep(0.005)

model, peaks = Denoiser.load(sys.argv[1]), []
threading.Thread(target=watch).start()
for source in sys.argv[2:]:
    peak = 0
    denoise_file(model, source, source + ".out.tiff")
    peaks.append(peak / 1024)
running = False
print(json.dumps(peaks))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="anonymous memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_images(untrained, tmp_path):
    untrained(1, num_channels_init=2, depth=1).save(tmp_path / "model.pt")
    page = np.random.default_rng(0).poisson(100, (400, 400)).astype(np.uint16)
    for images in (15, 60):  # compressed: decoded into a temporary file first
        stack = np.broadcast_to(page, (images, 400, 400))
        tifffile.imwrite(tmp_path / f"{images}.tiff", stack, photometric="minisblack", compression="zlib")
    command = [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in ("model.pt", "15.tiff", "60.tiff"))]
    measured = subprocess.run(command, capture_output=True, text=True, check=True)
    few, many = json.loads(measured.stdout)
    assert 30 < few < many + 10 < few + 20  # MB; the 45 images more are 14 MB of source and 29 MB of predictions
