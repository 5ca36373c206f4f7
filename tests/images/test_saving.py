"""One image, or a folder of them, written back: values, grey levels, axes and sizes as they were."""

import numpy as np
import pytest
import skimage.data
import skimage.io
import tifffile

import n2vlib
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


# A folder


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
    (tmp_path / "file").write_text("")
    with refused(OSError, "could not be written"):
        n2vlib.save_image(tmp_path / "file" / "clean.tif", image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "five.tif"]
