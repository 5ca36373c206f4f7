"""Reading hyperstacks: every layout gives the same (N, C, Y, X), every damaged file one clear sentence."""

import itertools
import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from tiff_kinds import WHOLE

from n2vlib import read_stack
from n2vlib.images import stacks
from n2vlib.images.tiff_damage import unreadable

DTYPES = ["uint8", "uint16", "int16", "uint32", "float16", "float32", "float64"]


def numbered(shape, dtype="uint16"):
    """Images in which no two pixels are alike, as far as the dtype can hold them."""
    return np.arange(math.prod(shape)).reshape(shape).astype(dtype)


def as_stack(array, letters):
    """What read_stack must return, made the simple way, in memory."""
    if "C" not in letters:
        array, letters = array[..., None], letters + "C"
    others = [axis for axis in letters if axis not in "CYX"]
    ordered = array.transpose([letters.index(axis) for axis in (*others, *"CYX")])
    return ordered.reshape(-1, *ordered.shape[-3:])


def written(path, array, **settings):
    tifffile.imwrite(path, array, **({"photometric": "minisblack"} | settings))
    return path


@st.composite
def layouts(draw, others="TZ", order=None, dtypes=tuple(DTYPES)):
    """Draw axes letters, in any order or as `order` sorts them, an array and how to write it."""
    letters = draw(st.permutations([*"YX", *draw(st.sets(st.sampled_from([*others, "C"])))]))
    letters = "".join(sorted(letters, key=order.index) if order else letters)
    shape = [draw(st.integers(2, 6) if axis in "YX" else st.integers(1, 4)) for axis in letters]
    return letters, numbered(shape, draw(st.sampled_from(dtypes)))


def check(path, array, letters, axes=None):
    stack, text = read_stack(path, axes)
    assert isinstance(stack, np.memmap) and not stack.flags.writeable
    assert stack.dtype.name == array.dtype.name
    np.testing.assert_array_equal(stack, as_stack(array, letters), strict=False)
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stacks")


# Every layout


@given(layouts("TZRP"), st.sampled_from([None, "zlib"]), st.sampled_from("<>"), st.booleans())
def test_axes_in_any_order_from_the_files_own_words(folder, layout, compression, byteorder, big):
    letters, array = layout
    settings = dict(metadata={"axes": letters}, compression=compression, byteorder=byteorder, bigtiff=big)
    text = check(written(folder / "any.tif", array, **settings), array, letters)
    kept = "".join(axis for axis, length in zip(letters, array.shape) if length > 1 or axis in "CYX")
    assert text == f"{kept} (from the file)"


@given(layouts("TZ", order="TZCYX", dtypes=("uint8", "uint16", "float32")), st.booleans())
def test_imagej_hyperstacks(folder, layout, only_first_page):
    letters, array = layout
    path = written(folder / "i.tif", array, imagej=True, metadata={"axes": letters}, truncate=only_first_page)
    kept = "".join(axis for axis, length in zip(letters, array.shape) if length > 1 or axis in "YX")
    assert check(path, array, letters) == f"{kept} (ImageJ)"


@given(layouts("TZ", order="TZCYX", dtypes=("uint8", "int16", "float64")), st.permutations("TZC"), st.booleans())
def test_ome(folder, layout, order, compressed):
    letters, array = layout
    wanted = "".join(axis for axis in (*order, *"YX") if axis in letters)
    array = array.transpose([letters.index(axis) for axis in wanted])
    compression = "zlib" if compressed else None
    path = written(folder / "o.ome.tif", array, metadata={"axes": wanted}, compression=compression)
    assert check(path, array, wanted).endswith("(OME)")


@given(layouts("TZ"))
def test_given_axes_have_the_last_word(folder, layout):
    letters, array = layout
    path = written(folder / "given.tif", array)
    assert check(path, array, letters, letters.lower()) == f"{letters} (as given)"


def test_a_view_of_the_file_wherever_one_exists(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "_temporary", None)  # no copies now
    for letters in ("TCYX", "TZCYX", "CTYX", "CTZYX", "YXC", "TYXC", "YX", "XY"):
        array = numbered(range(2, 2 + len(letters)))
        check(written(tmp_path / f"{letters}.tif", array, metadata={"axes": letters}), array, letters)
    array = numbered((2, 1, 3, 5, 6))  # the channel axis stands between T and Z, but is none
    check(written(tmp_path / "gap.tif", array, metadata={"axes": "TCZYX"}), array, "TCZYX")


def test_the_full_jump_stack_is_not_read_when_it_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "_temporary", None)
    path, shape = tmp_path / "jump.tif", (517, 4, 540, 540)
    tifffile.memmap(path, shape=shape, dtype="uint16", imagej=True, metadata={"axes": "TCYX"})[-1, -1, -1, -1] = 7
    stack, text = read_stack(path)
    assert stack.shape == shape and stack[-1, -1, -1, -1] == 7 and text == "TCYX (ImageJ)"


def test_plain_files_of_many_pages_are_images(tmp_path):
    array = numbered((8, 5, 6))
    for settings in (dict(), dict(metadata=None), dict(compression="zlib"), dict(metadata=None, tile=(16, 16))):
        text = check(written(tmp_path / "plain.tif", array, **settings), array, "SYX")
        assert text == "SYX (assumed: 8 images of one channel)"


@pytest.mark.parametrize("pages", [2, 3, 4, 5])
def test_few_pages_of_unknown_meaning_are_asked_about(tmp_path, pages, refused):
    for settings in (dict(), dict(metadata=None), dict(compression="zlib")):
        path = written(tmp_path / "few.tif", numbered((pages, 5, 6)), **settings)
        with refused(ValueError, rf"few.tif does not say what its shape \({pages}, 5, 6\) means: pass axes="):
            read_stack(path)
    assert read_stack(path, "CYX")[0].shape == (1, pages, 5, 6)
    assert read_stack(path, "TYX")[0].shape == (pages, 1, 5, 6)


def test_four_dimensions_of_unknown_meaning_are_asked_about(tmp_path, refused):
    path = written(tmp_path / "four.tif", numbered((7, 4, 5, 6)))
    with refused(ValueError, r"shape \(7, 4, 5, 6\) means: pass axes=, for example axes='TCYX'"):
        read_stack(path)


@pytest.mark.parametrize("letters, example", [("ZT", "axes='YX'"), ("ZXT", "axes='CYX' for"), ("YXYX", "axes='TCYX'")])
def test_axes_without_rows_and_columns_are_asked_about(tmp_path, letters, example, refused):
    path = written(tmp_path / "odd.tif", numbered(range(6, 6 + len(letters))), metadata={"axes": letters})
    with refused(ValueError, f"odd.tif does not say what its shape .* means: pass axes=, for example {example}"):
        read_stack(path)


def test_unknown_axes_of_length_one_do_not_matter(tmp_path):
    array = numbered((1, 1, 5, 6))
    assert check(written(tmp_path / "one.tif", array), array[0, 0], "YX") == "YX (from the file)"


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_axes_of_length_one_that_imagej_left_out_may_be_given(tmp_path, compression, refused):
    array = numbered((1, 3, 5, 6))
    imagej = dict(imagej=True) if compression is None else dict(compression=compression)
    path = written(tmp_path / "one.tif", array[0], metadata={"axes": "CYX"}, **imagej)
    assert read_stack(path)[1].startswith("CYX")
    for letters in ("CYX", "TCYX", "TZCYX", "tcyx"):
        assert check(path, array[0], "CYX", letters) == f"{letters.upper()} (as given)"
    for letters in ("TCXY", "TTCYX", "ZYXT"):
        with refused(ValueError, r"does not fit one.tif of shape \("):
            read_stack(path, letters)


def test_images_written_one_by_one_are_one_stack(tmp_path, refused):
    array = numbered((7, 5, 6))
    for settings in (dict(), dict(compression="zlib")):
        with tifffile.TiffWriter(tmp_path / "loop.tif") as file:
            for image in array:
                file.write(image, photometric="minisblack", **settings)
        assert check(tmp_path / "loop.tif", array, "SYX").startswith("SYX (assumed: 7 images")
    with tifffile.TiffWriter(tmp_path / "fields.ome.tif") as file:
        for image in array.reshape(7, 1, 5, 6).repeat(2, axis=1):
            file.write(image, photometric="minisblack", metadata={"axes": "CYX"})
    assert check(tmp_path / "fields.ome.tif", array[:, None].repeat(2, axis=1), "SCYX") == "SCYX (OME)"


def test_palette_images_are_intensities(tmp_path):
    array = numbered((5, 6), "uint8")
    colours = np.zeros((3, 256), np.uint16)
    check(written(tmp_path / "p.tif", array, photometric="palette", colormap=colours), array, "YX")


# What can't be read


def test_a_missing_path(tmp_path, refused):
    with refused(FileNotFoundError, "no file or folder .*nothing.tif: check the path"):
        read_stack("nothing.tif")


@pytest.mark.parametrize(
    "content", [b"", b"II", b"PK\3\4 and more", b"axes,TCYX\n" * 20, b"II*", b"MM\0\x2c" + bytes(90)]
)
def test_not_a_tiff(tmp_path, content, refused):
    (tmp_path / "x.tif").write_bytes(content)
    with refused(ValueError, rf"x.tif \({len(content)} bytes\) is not a TIFF file"):
        read_stack(tmp_path / "x.tif")


def test_a_png_is_not_a_tiff(tmp_path, refused):
    skimage.io.imsave(tmp_path / "x.png", numbered((8, 8), "uint8"), check_contrast=False)
    with refused(ValueError, r"x.png \(\d+ bytes\) is not a TIFF file: choose a .tif"):
        read_stack(tmp_path / "x.png")


@pytest.fixture(params=WHOLE)
def whole(request, tmp_path):
    """A file of each kind, 6 images of 2 channels, and its axes= (None but for the plain one)."""
    path = written(tmp_path / "whole.tif", numbered((6, 2, 7, 8)), **WHOLE[request.param])
    return path, None if WHOLE[request.param]["metadata"] else "TYX"


@pytest.mark.filterwarnings("ignore")
def test_files_cut_off_anywhere(whole, refused):
    path, axes = whole
    content, full = path.read_bytes(), np.array(read_stack(path, axes)[0])
    cuts = {*range(0, 40), *range(40, len(content) - 40, 29), *range(len(content) - 40, len(content))}
    passed = []
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        try:
            stack, _ = read_stack(path, axes)
        except ValueError:
            with refused(ValueError, "whole.tif (is cut off|.* is not a TIFF file)"):
                read_stack(path, axes)
        else:  # tifffile ends some files with a value that nothing refers to
            np.testing.assert_array_equal(stack, full)
            passed.append(cut)
    assert len(passed) <= 16


@pytest.mark.filterwarnings("ignore")
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4), st.data())
def test_no_damage_ends_in_anything_but_a_stack_or_a_sentence(folder, damages, data):
    name = data.draw(st.sampled_from(sorted(WHOLE)))
    path = written(folder / "d.tif", numbered((6, 2, 7, 8)), **WHOLE[name])
    content = bytearray(path.read_bytes())
    for place, value in damages:
        content[int(place * len(content))] = value
    path.write_bytes(content)
    little = shutil._ntuple_diskusage(10**6, 0, 10**6)  # a file may now claim to be huge
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks.shutil, "disk_usage", lambda folder: little)
        try:
            assert read_stack(path)[0].ndim == 4
        except (ValueError, OSError) as error:
            assert type(error) in (ValueError, OSError)
            assert 20 < len(str(error)) < 300 and "\n" not in str(error)


def test_damaged_compressed_data(tmp_path, refused):
    path = written(tmp_path / "z.tif", numbered((6, 40, 40)), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[3].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 30] = bytes(30)
    path.write_bytes(content)
    with refused(ValueError, r"z.tif cannot be read as a TIFF stack \(.+\): is it complete"):
        read_stack(path)


def test_compression_that_nothing_reads_and_one_that_a_missing_package_reads(tmp_path, refused):
    path = written(tmp_path / "odd.tif", numbered((8, 8)), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(60000)
    with refused(ValueError, r"odd.tif cannot be read as a TIFF stack \(.*60000.*\): is it complete"):
        read_stack(path)
    missing = ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")
    assert "odd.tif is compressed in a way that needs one more package: pip install" in str(unreadable(path, missing))


@pytest.mark.parametrize("one_page", [False, True])
@pytest.mark.parametrize(
    "change", ["images=12 images=11", "images=12 images=13", "frames=6 frames=7", "channels=2 channels=3"]
)
def test_page_counts_that_contradict_the_imagej_metadata(tmp_path, change, one_page, refused):
    settings = dict(imagej=True, metadata={"axes": "TCYX"}, truncate=one_page)
    path = written(tmp_path / "c.tif", numbered((6, 2, 7, 8)), **settings)
    old, new = (word.encode() for word in change.split())
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    with refused(ValueError, "c.tif (contradicts itself|is cut off|has 12 pages)"):
        read_stack(path)


@pytest.mark.parametrize(
    "claims", ["images=6\nframes=6", "images=12\nslices=3\nframes=3", "images=-1", "images=x\nframes=y"]
)
@pytest.mark.filterwarnings("ignore")
def test_imagej_metadata_that_claim_the_impossible(tmp_path, claims, refused):
    description = f"ImageJ=1.54f\n{claims}\n"
    path = written(tmp_path / "c.tif", numbered((12, 7, 8)), metadata=None, description=description)
    with refused(ValueError, "c.tif"):
        read_stack(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("claim", ["9, 7, 8", "3, 7, 8", "5, 7, 8", "6, 7, 9", "1, 7, 8"])
@pytest.mark.filterwarnings("ignore")
def test_page_counts_that_contradict_the_axes_of_the_file(tmp_path, claim, compression, refused):
    path = written(tmp_path / "s.tif", numbered((6, 7, 8)), metadata={"axes": "TYX"}, compression=compression)
    content = path.read_bytes()
    assert content.count(b'"shape": [6, 7, 8]') == 1
    path.write_bytes(content.replace(b"[6, 7, 8]", f"[{claim}]".encode()))
    with refused(ValueError, "s.tif (has 6 pages, but its axes|contradicts itself|cannot be read|is cut off)"):
        read_stack(path)


def test_colour_photographs(tmp_path, refused):
    array = numbered((6, 7, 3), "uint8")
    path = written(tmp_path / "rgb.tif", array, photometric="rgb")
    with refused(
        ValueError, r"rgb.tif is a colour photograph \(RGB\), not a stack, its axes are YXS: read it with load_image"
    ):
        read_stack(path)
    assert check(path, array, "YXC", "YXC") == "YXC (as given)"
    many = numbered((4, 3, 6, 7))
    path = written(tmp_path / "planes.tif", many, photometric="rgb", planarconfig="separate")
    with refused(ValueError, "planes.tif is a colour photograph"):
        read_stack(path)
    check(path, many, "TCYX", "TCYX")  # how some programs save three channels
    path = written(tmp_path / "samples.tif", array, planarconfig="contig", extrasamples=(0, 0))
    check(path, array, "YXC", None)  # three stains of one pixel beside each other, no photograph
    path = written(tmp_path / "imagej.tif", numbered((4, 6, 7, 3), "uint8"), photometric="rgb", imagej=True)
    with refused(ValueError, "imagej.tif is a colour photograph"):
        read_stack(path)


def test_images_of_several_shapes_or_dtypes(tmp_path, refused):
    for other in (numbered((5, 7)), numbered((5, 6), "uint8")):
        for metadata in ({}, None):
            with tifffile.TiffWriter(tmp_path / "two.tif") as file:
                for image in (numbered((5, 6)), other, numbered((5, 6))):
                    file.write(image, photometric="minisblack", metadata=metadata)
            with refused(
                ValueError, "two.tif holds 2 kinds of images .*save those to be denoised in a file of their own"
            ):
                read_stack(tmp_path / "two.tif")


@pytest.mark.parametrize("axes", ["YX", "TCYXS", "TTYX", "TCZX", "TCYZ", "", "YXYX", 5])
def test_axes_that_do_not_fit(tmp_path, axes, refused):
    path = written(tmp_path / "a.tif", numbered((3, 4, 5, 6)))
    with refused(ValueError, r"does not fit a.tif of shape \(3, 4, 5, 6\): give 4 different letters, with Y and X"):
        read_stack(path, axes)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers(tmp_path, dtype, refused):
    path = written(tmp_path / "c.tif", numbered((5, 6), dtype))
    with refused(ValueError, f"c.tif has dtype {dtype}: only real numbers can be denoised"):
        read_stack(path)


# The temporary file of what can't be mapped


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An empty folder for temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture
def compressed(tmp_path):
    return written(tmp_path / "z.tif", numbered((7, 2, 5, 6)), metadata={"axes": "TCYX"}, compression="zlib")


def test_the_temporary_file_goes_away_by_itself(compressed, temporary):
    stack, _ = read_stack(compressed)
    assert stack.sum() and (os.name == "nt" or not list(temporary.iterdir()))
    del stack
    assert not list(temporary.iterdir())


def test_no_room_for_the_temporary_file(compressed, temporary, monkeypatch, refused):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1000, 200, 800))
        with refused(
            OSError, "has no room for the 8.4e-07 GB of the decoded images: free some space, or set .* TMPDIR"
        ):
            read_stack(compressed)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with refused(OSError, "has no room for"):
        read_stack(compressed)


# Plates


@pytest.fixture
def plate(tmp_path):
    """A folder of 2 wells, 2 fields and 11 channels, and what else lies about in such folders."""
    folder = tmp_path / "Images"
    folder.mkdir()
    names = itertools.product((1, 2), (1, 10), range(1, 12))
    for n, (row, field, channel) in enumerate(names):
        path = folder / f"r{row:02d}c01f{field:02d}p01-ch{channel}sk1fk1fl1.tiff"
        written(path, np.full((5, 6), n, np.uint16), compression="zlib" if n % 2 else None)
    for name in (
        "Index.idx.xml",
        "thumbnail.tiff",
        "._r01c01f01p01-ch1sk1fk1fl1.tiff",
        "r01c01f01p01-ch1sk1fk1fl1.png",
    ):
        (folder / name).write_bytes(b"not an image")
    return folder


def test_a_plate_is_sorted_by_image_and_channel_number(plate):
    stack, text = read_stack(plate)
    assert stack.shape == (4, 11, 5, 6) and stack.dtype == np.uint16 and text == "SCYX (Opera Phenix)"
    assert isinstance(stack, np.memmap) and not stack.flags.writeable
    np.testing.assert_array_equal(stack[:, :, 0, 0].ravel(), np.arange(44))


def test_time_points_of_a_plate_are_images(plate):
    for path in list(plate.glob("r01c01f01*.tiff")):
        written(Path(str(path).replace("sk1", "sk2")), np.full((5, 6), 99, np.uint16))
    stack, _ = read_stack(plate)
    assert stack.shape == (5, 11, 5, 6) and (stack[1] == 99).all()


def test_a_plate_without_one_of_its_files(plate, refused):
    (plate / "r02c01f01p01-ch3sk1fk1fl1.tiff").unlink()
    with refused(ValueError, r"Images has r02c01f01p01-ch\d+sk1fk1fl1.tiff, but no channel 3 of that image: add"):
        read_stack(plate)


@pytest.mark.parametrize("odd", [numbered((6, 6)), numbered((5, 6), "uint8"), numbered((7, 5, 6))])
def test_a_plate_with_an_image_of_another_kind(plate, odd, refused):
    written(plate / "r02c01f01p01-ch3sk1fk1fl1.tiff", odd)
    with refused(ValueError, r"r02c01f01p01-ch3sk1fk1fl1.tiff holds .* and r01c01f01p01-ch1sk1fk1fl1.tiff holds"):
        read_stack(plate)


def test_a_plate_with_a_damaged_file(plate, refused):
    path = plate / "r02c01f01p01-ch3sk1fk1fl1.tiff"
    path.write_bytes(path.read_bytes()[:-7])
    with refused(ValueError, "r02c01f01p01-ch3sk1fk1fl1.tiff is cut off"):
        read_stack(plate)


def test_a_plate_with_one_image_twice(plate, refused):
    shutil.copy(plate / "r02c01f01p01-ch3sk1fk1fl1.tiff", plate / "r02c01f01p01-ch3sk1fk1fl1.tif")
    with refused(ValueError, "Images has both r02c01f01p01-ch3sk1fk1fl1.tif and .*: remove one of the two"):
        read_stack(plate)


def test_a_folder_that_is_no_plate(tmp_path, plate, refused):
    (tmp_path / "empty").mkdir()
    written(tmp_path / "empty" / "image.tiff", numbered((5, 6)))
    with refused(FileNotFoundError, "empty has no file named like r01c01f01p01-ch1sk1fk1fl1.tiff"):
        read_stack(tmp_path / "empty")
    with refused(ValueError, "axes='TCYX' is for files, and Images is a folder"):
        read_stack(plate, "TCYX")


# Real images


@pytest.mark.parametrize("name, channels", [("jump_BR00117006_3ch", 3), ("cellpainting_4ch", 4)])
def test_real_cell_painting_stacks(data_folder, name, channels):
    path = data_folder / "jump" / f"{name}.tiff"
    if not path.is_file():
        pytest.skip(f"no jump/{name}.tiff in the folder of real data")
    stack, text = read_stack(path)
    assert stack.shape == (4, channels, 540, 540) and stack.dtype == np.uint16 and text == "TCYX (ImageJ)"
    np.testing.assert_array_equal(stack, tifffile.imread(path))


def test_real_plain_images(data_folder):
    paths = sorted((data_folder / "fly").glob("*.TIF"))
    if not paths:
        pytest.skip("no fly/*.TIF in the folder of real data")
    for path in paths:
        stack, text = read_stack(path)
        assert stack.shape == (1, 1, 1006, 1000) and stack.dtype == np.uint8 and text == "YX (from the file)"
        np.testing.assert_array_equal(stack[0, 0], tifffile.imread(path))
