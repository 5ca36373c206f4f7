"""One image, or a folder of them, written back: values, grey levels, axes and sizes as they were."""

import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest
import skimage.data
import skimage.io
import tifffile

import n2vlib
from n2vlib.images import writing
from n2vlib.images.calibration import calibration


def noisy_photograph(seed=0):
    photo = skimage.data.camera()[100:164, 100:172].astype(float)
    return (photo + np.random.default_rng(seed).normal(0, 25, photo.shape)).clip(0, 255).round().astype(np.uint8)


# PNG


def test_a_result_of_an_8_bit_image_keeps_its_grey_levels(tmp_path):
    noisy = noisy_photograph()
    clean = noisy - 40.4
    read = n2vlib.load_image(n2vlib.save_image(tmp_path / "clean.png", clean, like=noisy))
    assert read.dtype == np.uint8
    assert np.array_equal(read, np.rint(clean).clip(0, 255))


@pytest.mark.parametrize("offset, scale", [(100, 20.0), (-5, 1e-4), (30000, 300.0)])
def test_other_images_are_shown_from_black_to_white_as_the_noisy_one_is(tmp_path, offset, scale):
    noisy = offset + scale * np.random.default_rng(0).random((50, 60))
    low, high = np.quantile(noisy, (0.001, 0.999))
    read = n2vlib.load_image(n2vlib.save_image(tmp_path / "clean.png", (noisy + low) / 2, like=noisy)).astype(float)
    expected = ((noisy + low) / 2 - low) / (high - low) * 255
    assert np.abs(read - expected.clip(0, 255)).max() <= 0.51


def test_colours_and_missing_pixels_in_a_png(tmp_path):
    colours = skimage.data.astronaut()[:40, :50]
    path = n2vlib.save_image(tmp_path / "colours.png", colours)
    assert np.array_equal(n2vlib.load_image(path, channel_axis=-1), colours)
    holes = noisy_photograph().astype(float)
    holes[3, 4] = np.nan
    assert n2vlib.load_image(n2vlib.save_image(tmp_path / "holes.png", holes))[3, 4] == 0


@pytest.mark.parametrize("truth", [False, True])
def test_a_result_of_a_black_and_white_image_is_grey(tmp_path, truth):
    noisy, clean = np.array([[False, True], [truth, True]]), np.array([[0.2, 0.8], [0.9, 1.2]], np.float32)
    read = n2vlib.load_image(n2vlib.save_image(tmp_path / "clean.png", clean, like=noisy))
    assert read.tolist() == [[51, 204], [230, 255]]
    assert n2vlib.load_image(n2vlib.save_image(tmp_path / "noisy.png", noisy)).tolist() == (255 * noisy).tolist()


# TIFF


@pytest.mark.parametrize("shape", [(20, 30), (5, 20, 30), (5, 2, 20, 30), (1, 2, 20, 30)])
@pytest.mark.parametrize("dtype", ["float32", "uint16", "uint8"])
def test_values_and_shape_survive_a_tiff_file(tmp_path, shape, dtype):
    image = (1000 * np.random.default_rng(0).random(shape)).astype(dtype)
    stack, _ = n2vlib.read_stack(n2vlib.save_image(tmp_path / "clean.tif", image), axes="TCYX")
    assert stack.dtype == dtype and np.array_equal(stack.reshape(shape), image)


KINDS = {
    "ImageJ": dict(imagej=True, resolution=(9.7, 9.7)),
    "OME": dict(ome=True),
    "OME, BigTIFF": dict(ome=True, bigtiff=True),
    "plain": dict(resolution=(300, 300), resolutionunit=2),
    "plain, BigTIFF": dict(resolution=(300, 300), resolutionunit=2, bigtiff=True),
}
ABOUT = {
    "ImageJ": {"spacing": 0.3, "unit": "um", "finterval": 2.5, "min": 3.0, "max": 90.0, "mode": "composite"},
    "OME": {"PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.5},
    "plain": {},
}


@pytest.mark.parametrize("axes, shape", [("ZYX", (7, 32, 40)), ("TZCYX", (3, 4, 2, 32, 40)), ("CYX", (2, 32, 40))])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_denoised_file_has_the_axes_and_sizes_of_its_source(tmp_path, untrained, kind, axes, shape, byteorder):
    source, noisy = tmp_path / "in.tif", np.random.default_rng(0).poisson(9, shape).astype(np.uint16)
    settings, kind = KINDS[kind], kind.partition(",")[0]
    tifffile.imwrite(source, noisy, byteorder=byteorder, metadata={"axes": axes} | ABOUT[kind], **settings)
    denoiser = untrained(2 if "C" in axes else 1)
    target = n2vlib.denoise_file(denoiser, source, tmp_path / "out.tif", dtype="same", axes=axes)
    before, after = calibration(source, axes), calibration(target)
    assert {k: v for k, v in after.lengths.items() if v > 1} == before.lengths
    assert after.resolution == before.resolution
    if kind != "plain":
        assert after.kind == kind and ABOUT[kind].items() <= after.metadata.items()
    assert n2vlib.read_stack(target)[0].size == noisy.size
    stack = n2vlib.read_stack(source, axes)[0].astype(float)
    if kind != "plain":  # which does not say its axes
        for array in (stack, stack[:, 0] if stack.shape[1] == 1 else stack, stack[0] if axes == "CYX" else stack):
            saved = calibration(n2vlib.save_image(tmp_path / "saved.tif", array, like=source))
            assert (saved.lengths, saved.metadata) == (after.lengths, after.metadata)


ORDERS = {
    "ZTCYX": ((3, 4, 2), "ZTCYX"),
    "ZCTYX": ((3, 2, 4), "ZTCYX"),
    "CZTYX": ((2, 3, 4), "ZTCYX"),
    "CTZYX": ((2, 4, 3), "TZCYX"),
    "RZCYX": ((4, 3, 2), "TZCYX"),
    "RTZYX": ((2, 2, 3), "TZYX"),
    "ZTRYX": ((3, 2, 2), "ZTYX"),
}


# In OME positions are images of their own.
@pytest.mark.parametrize(
    "axes, ome", [(axes, ome) for axes in ORDERS for ome in (False, True) if not ("R" in axes and ome)]
)
def test_z_stays_z_in_any_order(tmp_path, untrained, axes, ome):
    (lengths, expected), source = ORDERS[axes], tmp_path / "in.tif"
    noisy = np.random.default_rng(0).poisson(9, (*lengths, 16, 18)).astype(np.uint16)
    tifffile.imwrite(source, noisy, ome=ome, photometric="minisblack", metadata={"axes": axes})
    target = n2vlib.denoise_file(untrained(2 if "C" in axes else 1), source, tmp_path / "out.tif")
    stack, text = n2vlib.read_stack(target)
    assert text.startswith(expected) and calibration(target).lengths["Z"] == 3
    before = n2vlib.read_stack(source)[0]
    assert stack.shape == before.shape
    saved = n2vlib.save_image(tmp_path / "saved.tif", before.astype(np.float32), like=source)
    assert np.array_equal(n2vlib.read_stack(saved)[0], before) and n2vlib.read_stack(saved)[1] == text


OF_CHANNELS = {
    "Name": ["DAPI", "GFP"],
    "Color": [255, -16776961],
    "EmissionWavelength": [460.0, 520.5],
    "EmissionWavelengthUnit": ["nm", "nm"],
    "Fluor": ["one", "two"],
}


@pytest.mark.parametrize("axes", ["TCYX", "CTYX", "CZTYX"])
def test_channels_and_pages_of_ome_keep_what_is_said_of_each(tmp_path, untrained, axes):
    source, lengths = tmp_path / "in.ome.tif", {"T": 3, "C": 2, "Z": 2}
    shape = [lengths[axis] for axis in axes[:-2]]
    noisy = np.random.default_rng(0).poisson(9, (*shape, 16, 18)).astype(np.uint16)
    seconds = np.arange(np.prod(shape)) * 1.5
    about = {"Name": "cells", "Description": "the second try", "Channel": OF_CHANNELS}
    pages = {"DeltaT": seconds.tolist(), "DeltaTUnit": ["s"] * len(seconds)}
    tifffile.imwrite(source, noisy, photometric="minisblack", metadata=about | {"axes": axes, "Plane": pages})
    order = [axes.index(axis) for axis in "ZTC" if axis in axes]
    expected = seconds.reshape(shape).transpose(order)
    metadata = calibration(n2vlib.denoise_file(untrained(2), source, tmp_path / "out.tif")).metadata
    assert about.items() <= metadata.items()
    assert metadata["Plane"] == {"DeltaT": expected.ravel().tolist(), "DeltaTUnit": pages["DeltaTUnit"]}
    for c, path in enumerate(n2vlib.denoise_file(untrained(2), source, tmp_path / "out.tif", split_channels=True)):
        metadata = calibration(path).metadata
        assert metadata["Channel"] == {name: [values[c]] for name, values in OF_CHANNELS.items()}
        assert metadata["Plane"]["DeltaT"] == expected[..., c].ravel().tolist()


def test_pages_of_several_positions_are_not_mixed_up(tmp_path, untrained):
    noisy = np.random.default_rng(0).poisson(9, (3, 2, 16, 18)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "in.ome.tif", ome=True) as file:
        for position in noisy:
            file.write(position, photometric="minisblack", metadata={"axes": "TYX", "Plane": {"DeltaT": [0.0, 2.0]}})
    target = n2vlib.denoise_file(untrained(), tmp_path / "in.ome.tif", tmp_path / "out.tif")
    assert calibration(target).lengths == {"T": 6} and calibration(target).metadata["Plane"] == {}


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m", "nm", "pixel"])
def test_sizes_and_times_survive_where_imagejs_format_ends(tmp_path, untrained, unit, monkeypatch):
    noisy = np.random.default_rng(0).poisson(9, (2, 3, 16, 18)).astype(np.uint16)
    about = {"axes": "TZYX", "spacing": 0.25, "unit": unit, "finterval": 2.5}
    tifffile.imwrite(tmp_path / "in.tif", noisy, imagej=True, resolution=(10, 5), metadata=about)
    monkeypatch.setattr(writing, "LARGEST_IMAGEJ", 0)  # as if it had 4 GB
    after = calibration(n2vlib.denoise_file(untrained(), tmp_path / "in.tif", tmp_path / "out.tif"))
    assert (after.kind, after.lengths, after.resolution["resolution"]) == ("OME", {"T": 2, "Z": 3}, (10, 5))
    assert (after.metadata["TimeIncrement"], after.metadata["TimeIncrementUnit"]) == (2.5, "s")
    sizes = {name: value for name, value in after.metadata.items() if name.startswith("PhysicalSize")}
    ome = "nm" if unit == "nm" else "µm"
    expected = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (0.1, 0.2, 0.25))}
    expected |= {f"PhysicalSize{axis}Unit": ome for axis in "XYZ"}
    assert sizes == ({} if unit == "pixel" else expected)


def test_sizes_of_other_makers_and_of_scripts_are_kept(tmp_path, untrained):
    noisy = np.random.default_rng(0).poisson(9, (3, 16, 18)).astype(np.uint16)
    about = {"axes": "ZYX", "spacing": 0.25, "unit": "um", "of my own": 7}
    tifffile.imwrite(tmp_path / "script.tif", noisy, photometric="minisblack", resolution=(10, 5), metadata=about)
    numbers = struct.pack("<I9i", 67127628, 500, 18, 16, 3, 1, 1, 2, 10, 8) + struct.pack("<3d", 1e-7, 2e-7, 2.5e-7)
    tags = [(34412, "B", 500, numbers.ljust(500, b"\0"), True)]  # of Zeiss: sizes in metres
    with tifffile.TiffWriter(tmp_path / "zeiss.lsm") as file:
        for n, page in enumerate(noisy):
            file.write(page, photometric="minisblack", metadata=None, extratags=tags if n == 0 else [])
            file.write(page[::4, ::4], photometric="minisblack", metadata=None, subfiletype=1)
    for name in ("script.tif", "zeiss.lsm"):
        after = calibration(n2vlib.denoise_file(untrained(), tmp_path / name, tmp_path / "out.tif"))
        assert (after.kind, after.lengths) == ("ImageJ", {"Z": 3}), name
        assert np.allclose(after.resolution["resolution"], (10, 5)), name
        assert np.isclose(after.metadata["spacing"], 0.25) and after.metadata["unit"] == "um", name


def test_each_file_of_a_split_result_knows_its_own_channel(tmp_path, untrained):
    source, noisy = tmp_path / "in.tif", np.random.default_rng(0).poisson(9, (3, 2, 32, 40)).astype(np.uint16)
    tables = [np.stack([np.arange(256, dtype=np.uint8) // part] * 3) for part in (1, 2)]
    labels = [f"t{t} c{c}" for t in range(3) for c in range(2)]
    about = {"axes": "TCYX", "LUTs": tables, "Ranges": (0.0, 10.0, 5.0, 50.0), "Labels": labels}
    tifffile.imwrite(source, noisy, imagej=True, metadata=about)
    paths = n2vlib.denoise_file(untrained(2), source, tmp_path / "out.tif", split_channels=True)
    for c, path in enumerate(paths):
        metadata = calibration(path).metadata
        assert metadata["Labels"] == labels[c::2] and tuple(metadata["Ranges"]) == (0.0, 10.0, 5.0, 50.0)[2 * c :][:2]
        assert np.array_equal(np.squeeze(metadata["LUTs"]), tables[c])


@pytest.mark.parametrize("name", ["Bead_Image1_crop.tif", "image_tzcyx.tif"])
def test_real_calibrated_files_keep_what_they_say(tmp_path, untrained, data_folder, name):
    source = data_folder / "real" / name
    if not source.is_file():
        pytest.skip(f"no real/{name} in the folder of real data")
    target = n2vlib.denoise_file(untrained(n2vlib.read_stack(source)[0].shape[1]), source, tmp_path / "out.tif")
    before, after = calibration(source), calibration(target)
    assert (after.lengths, after.resolution, after.kind) == (before.lengths, before.resolution, before.kind)
    assert before.metadata and set(before.metadata) <= set(after.metadata)
    assert all(np.array_equal(after.metadata[key], value) for key, value in before.metadata.items())


def test_a_result_without_the_channels_of_its_source_has_none_of_their_names(tmp_path):
    source, noisy = tmp_path / "in.tif", np.random.default_rng(0).poisson(9, (3, 2, 32, 40)).astype(np.uint16)
    about = {"axes": "TCYX", "unit": "um", "Ranges": (0.0, 1.0, 2.0, 3.0)}
    tifffile.imwrite(source, noisy, imagej=True, metadata=about)
    metadata = calibration(n2vlib.save_image(tmp_path / "one.tif", noisy[:, 0], like=source)).metadata
    assert metadata["unit"] == "um" and "Ranges" not in metadata


def test_axes_can_be_told(tmp_path):
    source, noisy = tmp_path / "in.tif", np.random.default_rng(0).poisson(9, (3, 32, 40)).astype(np.uint16)
    tifffile.imwrite(source, noisy, photometric="minisblack", metadata=None, resolution=(50, 50))
    saved = calibration(n2vlib.save_image(tmp_path / "out.tif", noisy, like=source, axes="ZYX"))
    assert saved.lengths == {"Z": 3} and saved.resolution["resolution"] == (50, 50)


def test_colours_are_channels_in_a_tiff_file(tmp_path):
    colours = skimage.data.astronaut()[:40, :50]
    stack, text = n2vlib.read_stack(n2vlib.save_image(tmp_path / "colours.tif", colours))
    assert text == "CYX (ImageJ)" and np.array_equal(stack[0], np.moveaxis(colours, -1, 0))


@pytest.mark.parametrize("axes", ["CZYX", "CTZYX", "ZCTYX", "TCYX"])
def test_channels_stored_before_other_axes_are_not_taken_for_images(tmp_path, axes):
    lengths = {"C": 3, "Z": 3, "T": 2}
    shape = [lengths[axis] for axis in axes[:-2]]
    noisy = np.random.default_rng(0).poisson(9, (*shape, 16, 18)).astype(np.uint16)
    source = tmp_path / "in.ome.tif"
    tifffile.imwrite(source, noisy, photometric="minisblack", metadata={"axes": axes})
    image, stack = n2vlib.load_image(source), n2vlib.read_stack(source)[0]
    assert image.shape[-3] == 3 and np.array_equal(image.reshape(stack.shape), stack)
    saved = n2vlib.save_image(tmp_path / "out.tif", image.reshape(stack.shape), like=source)
    assert np.array_equal(n2vlib.read_stack(saved)[0], stack)


def test_of_several_images_each_result_has_the_sizes_of_its_own(tmp_path, untrained, refused):
    source, noisy = tmp_path / "in.ome.tif", np.random.default_rng(0).poisson(9, (4, 32, 40)).astype(np.uint16)
    with tifffile.TiffWriter(source, ome=True) as file:
        for side, size in ((32, 5.0), (24, 0.1)):
            about = {"axes": "ZYX", "Name": f"{side}", "PhysicalSizeX": size, "Channel": {"Name": ["007"]}}
            file.write(noisy[:, :side], photometric="minisblack", metadata=about)
    for number, (side, size) in enumerate(((32, 5.0), (24, 0.1))):
        image = n2vlib.load_image(source, series=number).astype(np.float32)
        saved = n2vlib.save_image(tmp_path / "saved.tif", image, like=source, series=number)
        for path in (saved, n2vlib.denoise_file(untrained(), source, tmp_path / "out.tif", series=number)):
            found = calibration(path)
            assert (found.lengths, found.metadata["PhysicalSizeX"]) == ({"Z": 4}, size)
            assert (found.metadata["Name"], found.metadata["Channel"]) == (f"{side}", {"Name": ["007"]})
    with refused(ValueError, "holds 2 kinds of images"):
        n2vlib.save_image(tmp_path / "saved.tif", image, like=source)


@pytest.mark.parametrize("name", ["007", "1.10", "true", "2024_01_05", "1e3", "µ & <b>"])
def test_names_that_look_like_numbers_stay_as_they_are(tmp_path, untrained, name):
    source, noisy = tmp_path / "in.ome.tif", np.random.default_rng(0).poisson(9, (2, 32, 40)).astype(np.uint16)
    about = {"Name": name, "Description": name, "Channel": {"Name": [name, "b"], "Fluor": [name, "c"]}}
    tifffile.imwrite(source, noisy, photometric="minisblack", metadata=about | {"axes": "CYX"})
    metadata = calibration(n2vlib.denoise_file(untrained(2), source, tmp_path / "out.tif")).metadata
    assert about.items() <= metadata.items()


@pytest.mark.parametrize("stored", ["µm", "Å", "um"])
@pytest.mark.parametrize("coding", ["latin-1", "utf-8"])
def test_units_of_imagej_that_are_not_ascii_are_written_as_imagej_does(tmp_path, untrained, stored, coding):
    source, noisy = tmp_path / "in.tif", np.random.default_rng(0).poisson(9, (3, 32, 40)).astype(np.uint16)
    about = {"axes": "TYX", "unit": "????", "Info": "µ → 日本", "Labels": ["µ", "Å", "c"]}
    tifffile.imwrite(source, noisy, imagej=True, metadata=about)
    unit = b"unit=" + stored.encode(coding).ljust(4, b"\n")
    source.write_bytes(source.read_bytes().replace(b"unit=????", unit))
    escaped = {"µm": "\\u00B5m", "Å": "\\u00C5", "um": "um"}[stored]
    saved = n2vlib.save_image(tmp_path / "saved.tif", noisy, like=source)
    for path in (saved, n2vlib.denoise_file(untrained(), source, tmp_path / "out.tif")):
        metadata = calibration(path).metadata
        assert (metadata["unit"], metadata["Info"], metadata["Labels"]) == (escaped, about["Info"], about["Labels"])


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_lists_that_are_not_of_so_many_channels_are_left_out(tmp_path, untrained, count, split):
    noisy = np.random.default_rng(0).poisson(9, (2, 2, 32, 40)).astype(np.uint16)
    table, names = np.stack([np.arange(256, dtype=np.uint8)] * 3), [f"name {n}" for n in range(count)]
    about = {"axes": "TCYX", "LUTs": [table] * count, "Ranges": (0.0, 9.0) * count, "Labels": names}
    tifffile.imwrite(tmp_path / "in.tif", noisy, imagej=True, metadata=about)
    tifffile.imwrite(tmp_path / "in.ome.tif", noisy, photometric="minisblack", metadata={"axes": "TCYX"})
    text = tifffile.tiffcomment(tmp_path / "in.ome.tif")
    head, pages = text[: text.index("<Channel")], text[text.index("<TiffData") :]
    channels = "".join(
        f'<Channel ID="Channel:0:{n}" SamplesPerPixel="1" Name="{name}"/>' for n, name in enumerate(names)
    )
    tifffile.tiffcomment(tmp_path / "in.ome.tif", (head + channels + pages).encode())
    for name, listed in (("in.tif", "Ranges"), ("in.ome.tif", "Channel")):
        paths = n2vlib.denoise_file(untrained(2), tmp_path / name, tmp_path / "out.tif", split_channels=split)
        for c, path in enumerate(paths if split else [paths]):
            found = calibration(path).metadata
            assert bool(found.get(listed)) == (count == 2), name
            if count == 2 and listed == "Ranges":
                assert len(found["LUTs"]) == (1 if split else 2) and np.array_equal(found["LUTs"][0], table)
            elif count == 2:
                assert found["Channel"] == {"Name": names[c : c + 1] if split else names}


@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
def test_what_is_white_stays_white(tmp_path, untrained, photometric):
    source, noisy = tmp_path / "in.tif", np.random.default_rng(0).poisson(9, (6, 32, 40)).astype(np.uint8)
    tifffile.imwrite(source, noisy, photometric=photometric, metadata={"axes": "TYX"})
    saved = n2vlib.save_image(tmp_path / "saved.tif", noisy, like=source)
    for path in (saved, n2vlib.denoise_file(untrained(), source, tmp_path / "out.tif")):
        with tifffile.TiffFile(path) as tiff:
            assert tiff.pages[0].photometric.name == photometric.upper()
    assert np.array_equal(n2vlib.load_image(saved), noisy)


@pytest.mark.parametrize("images", [1, 2])
def test_a_photographs_result_keeps_its_resolution_and_nothing_else(tmp_path, images):
    colours = np.squeeze(np.stack([skimage.data.astronaut()[:40, :50]] * images))
    source = tmp_path / "photo.tif"
    tifffile.imwrite(source, colours, photometric="rgb", resolution=(100, 50), resolutionunit=3)
    grey, three = n2vlib.load_image(source), n2vlib.load_image(source, channel_axis=-3)
    for image in (grey, three, *([three[..., :1, :, :]] if images == 2 else [n2vlib.load_image(source, -1)])):
        saved = n2vlib.save_image(tmp_path / "clean.tif", image, like=source)
        found = calibration(saved)
        assert found.resolution == {"resolution": (100, 50), "resolutionunit": 3}
        assert n2vlib.read_stack(saved)[0].size == image.size and found.channels == image.size // grey.size


def test_a_tiff_file_is_written_without_a_second_copy_of_its_values(tmp_path):
    image = np.zeros((8, 512, 512), np.float32)
    n2vlib.save_image(tmp_path / "first.tif", image[:1])  # what is loaded on the way
    tracemalloc.start()
    n2vlib.save_image(tmp_path / "clean.tif", image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < image.nbytes / 4


# A folder


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_photographs_of_any_format_are_denoised_with_their_folder(tmp_path, untrained, channels):
    (tmp_path / "in").mkdir()
    colours = skimage.data.astronaut()[:40, :50]
    deep, opaque = colours.astype(np.uint16) * 256, np.full((40, 50), 255, np.uint8)
    (tmp_path / "in" / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    tifffile.imwrite(tmp_path / "in" / "deep.tif", deep, photometric="rgb", resolution=(100, 50), resolutionunit=3)
    tifffile.imwrite(tmp_path / "in" / "four.tiff", np.dstack([colours, opaque]), photometric="rgb", extrasamples=[2])
    tifffile.imwrite(tmp_path / "in" / "two.TIF", np.stack([colours] * 2), photometric="rgb")
    model, axis = untrained(channels), -1 if channels == 3 else None
    paths = n2vlib.denoise_folder(model, tmp_path / "in", tmp_path / "out")
    assert [path.name for path in paths] == ["deep.png.tif", "deep.tif", "four.tiff", "two.TIF"]
    for path in paths:
        source = tmp_path / "in" / path.name.replace(".png.tif", ".png")
        expected = model.predict(n2vlib.load_image(source, channel_axis=axis), channel_axis=axis)
        assert np.array_equal(n2vlib.load_image(path, channel_axis=axis), expected), path.name
    assert calibration(paths[1]).resolution == {"resolution": (100, 50), "resolutionunit": 3}


def test_a_folder_of_mixed_sizes_and_kinds_is_denoised_one_after_the_other(tmp_path, untrained):
    folder = tmp_path / "in"
    folder.mkdir()
    noisy = noisy_photograph()
    skimage.io.imsave(folder / "a.png", noisy)
    skimage.io.imsave(folder / "b.jpg", noisy[:40])
    tifffile.imwrite(folder / "c.tif", np.stack([noisy] * 3), metadata={"axes": "ZYX"}, imagej=True)
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not an image either")
    skimage.io.imsave(folder / "d.png", noisy.astype(np.uint16) * 200, check_contrast=False)
    denoiser = untrained()
    with pytest.warns(UserWarning, match="broken.png was not denoised: .*cannot be read as an image"):
        paths = n2vlib.denoise_folder(denoiser, folder, tmp_path / "out")
    assert [path.name for path in paths] == ["a.png", "b.png", "c.tif", "d.tif"]
    assert n2vlib.load_image(paths[3]).dtype == np.float32 and n2vlib.load_image(paths[3]).max() > 255
    assert np.array_equal(n2vlib.load_image(paths[0]), np.rint(denoiser.predict(noisy)).clip(0, 255))
    assert n2vlib.load_image(paths[1]).shape == (40, 72) and n2vlib.read_stack(paths[2])[0].shape == (3, 1, 64, 72)


def test_a_folder_that_will_not_do_is_refused_before_anything_is_written(tmp_path, untrained, refused):
    (tmp_path / "folder.tif").mkdir()
    with refused(FileNotFoundError, "holds no image: TIFF, PNG or JPEG"):
        n2vlib.denoise_folder(untrained(), tmp_path, tmp_path / "out")
    for suffix in ("png", "jpg"):
        skimage.io.imsave(tmp_path / f"a.{suffix}", noisy_photograph())
    with refused(ValueError, "a.jpg and a.png would become one file"):
        n2vlib.denoise_folder(untrained(), tmp_path, tmp_path / "out")
    (tmp_path / "a.jpg").unlink()
    with refused(ValueError, "the target is the source itself"):
        n2vlib.denoise_folder(untrained(), tmp_path, tmp_path)
    assert not (tmp_path / "out").exists()


# Bad input


def test_what_cannot_be_saved_is_refused_and_nothing_is_written(tmp_path, refused):
    image = np.zeros((3, 20, 30))
    with refused(ValueError, "clean.jpg would be no TIFF or PNG file: choose a name that ends in .tif or .png"):
        n2vlib.save_image(tmp_path / "clean.jpg", image)
    with refused(ValueError, r"shape \(3, 20, 30\) is no PNG file: choose one of its pages, or save a .tif"):
        n2vlib.save_image(tmp_path / "clean.png", image)
    source = n2vlib.save_image(tmp_path / "five.tif", np.zeros((5, 20, 30)))
    with refused(ValueError, "five.tif has .* images and this has 3: leave like= out"):
        n2vlib.save_image(tmp_path / "clean.tif", image, like=source)
    with refused(ValueError, "like is a ndarray: for a TIFF file give the path of the file it comes from"):
        n2vlib.save_image(tmp_path / "clean.tif", image, like=image)
    with refused(FileNotFoundError, "like='none.tif' is no file: give the path of the one"):
        n2vlib.save_image(tmp_path / "clean.tif", image, like="none.tif")
    with refused(ValueError, "like is a path: for a PNG file give the noisy image itself, as an array"):
        n2vlib.save_image(tmp_path / "clean.png", image[0], like=source)
    for name in ("clean.png", "clean.tif"):
        with refused(ValueError, r"the image is empty, its shape is \(0, 20\): check how it was cut or loaded"):
            n2vlib.save_image(tmp_path / name, image[0, :0, :20])
    (tmp_path / "file").write_text("")
    with refused(OSError, "could not be written"):
        n2vlib.save_image(tmp_path / "file" / "clean.tif", image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "five.tif"]
