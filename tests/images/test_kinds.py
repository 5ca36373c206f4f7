"""Image files of all kinds that microscopes and programs write: each read right, or refused with the way out."""

import json
import struct
import uuid
import warnings
import zlib

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
from conftest import REPOSITORY

import n2vlib
from n2vlib import load_image, read_stack
from n2vlib.images.files import image_files, read_images
from n2vlib.images.other_formats import READERS

RNG = np.random.default_rng(0)
PAGES = RNG.integers(0, 999, (12, 40, 50)).astype(np.uint16)
RGB = RNG.integers(0, 65535, (40, 50, 3)).astype(np.uint16)
GREY = dict(photometric="minisblack")
OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def written(path, array, **settings):
    tifffile.imwrite(path, array, **(GREY | settings))
    return path


def one_by_one(path, images, **settings):
    with tifffile.TiffWriter(path) as file:
        for image in images:
            array, own = image if isinstance(image, tuple) else (image, {})
            file.write(array, **(GREY | settings | own))
    return path


# One reader


def test_pages_written_one_by_one_are_all_there(tmp_path):
    path = one_by_one(tmp_path / "one.tif", PAGES)
    assert np.array_equal(load_image(path), PAGES) and np.array_equal(read_stack(path)[0][:, 0], PAGES)


@pytest.mark.parametrize("name", ["a.btf", "a.tf8", "a.stk", "a.lsm", "a.tif", "a.picture"])
@pytest.mark.parametrize("slices", [3, 4])
def test_slices_stay_first_whatever_the_file_is_called(tmp_path, name, slices):
    path = written(tmp_path / name, PAGES[:slices], bigtiff=name in ("a.btf", "a.tf8"))
    assert np.array_equal(load_image(path), PAGES[:slices])
    assert np.array_equal(read_stack(path, "ZYX")[0][:, 0], PAGES[:slices])


@pytest.mark.parametrize("compression", ["lzw", "jpeg", "packbits", "deflate", "zstd", "lzma", "jpeg2000"])
def test_compressed_files(tmp_path, compression):
    smooth = np.broadcast_to(np.linspace(0, 255, 48).astype(np.uint8), (2, 32, 48))
    path = written(tmp_path / "c.tif", smooth, compression=compression)
    stack, image = read_stack(path, "TYX")[0][:, 0], load_image(path)
    assert np.array_equal(stack, image) and np.abs(image - smooth.astype(int)).max() <= (
        3 if compression == "jpeg" else 0
    )


@pytest.mark.parametrize("bits", [1, 4, 10, 12, 14])
def test_packed_bits(tmp_path, bits):
    pages = (PAGES[:7] % 2**bits).astype(np.uint16 if bits > 8 else np.uint8)
    path = written(tmp_path / "b.tif", pages, bitspersample=bits, compression=None)
    assert np.array_equal(load_image(path), pages) and np.array_equal(read_stack(path)[0][:, 0], pages)


# Colours, transparency, palettes


def test_colours_are_the_same_in_any_layout_and_format(tmp_path):
    small = (RGB >> 8).astype(np.uint8)
    eight = [
        written(tmp_path / "contig.tif", small, photometric="rgb"),
        written(tmp_path / "planar.tif", np.moveaxis(small, -1, 0), photometric="rgb", planarconfig="separate"),
        written(tmp_path / "imagej.tif", small, photometric="rgb", imagej=True),
        tmp_path / "photo.png",
    ]
    PIL.Image.fromarray(small).save(eight[-1])
    sixteen = [written(tmp_path / "deep.tif", RGB, photometric="rgb"), tmp_path / "deep.png"]
    sixteen[-1].write_bytes(imagecodecs.png_encode(RGB))
    for colours, paths in ((small, eight), (RGB, sixteen)):
        for path in paths:
            assert np.array_equal(load_image(path, channel_axis=-1), colours), path
            assert np.array_equal(load_image(path, channel_axis=0), np.moveaxis(colours, -1, 0)), path
            grey = load_image(path)
            assert grey.dtype == np.float32 and np.allclose(grey, colours.mean(axis=-1)), path


@pytest.mark.parametrize("deep", [False, True])
def test_transparency_is_named_and_left_out(tmp_path, deep):
    dtype, opaque = (np.uint16, 65535) if deep else (np.uint8, 255)
    grey, colours = RGB[..., 0].astype(dtype), RGB.astype(dtype)
    for alpha, said in ((np.full_like(grey, opaque), False), (grey, True)):
        images = {"la": np.dstack([grey, alpha]), "rgba": np.dstack([colours, alpha])}
        for name, image in images.items():
            (tmp_path / f"{name}.png").write_bytes(imagecodecs.png_encode(image))
            photometric = "rgb" if name == "rgba" else "minisblack"
            written(tmp_path / f"{name}.tif", image, photometric=photometric, extrasamples=["unassalpha"])
            for suffix in (".png", ".tif"):
                with warnings.catch_warnings(record=True) as warned:
                    warnings.simplefilter("always")
                    read = load_image(tmp_path / f"{name}{suffix}")
                assert [f"{name}{suffix} is transparent in places" in str(one.message) for one in warned] == [
                    True
                ] * said
                assert read.shape == grey.shape and np.allclose(read, colours.mean(-1) if name == "rgba" else grey)


def test_stains_are_never_averaged(tmp_path):
    four = RNG.integers(0, 999, (40, 50, 4)).astype(np.uint16)
    first = np.moveaxis(four, -1, 0)
    paths = [
        written(tmp_path / "samples.tif", four, planarconfig="contig"),
        written(tmp_path / "rgb_and_one.tif", four, photometric="rgb", extrasamples=["unspecified"]),
        written(tmp_path / "imagej.tif", first, imagej=True, metadata={"axes": "CYX"}),
        written(tmp_path / "x.ome.tif", first, metadata={"axes": "CYX"}),
    ]
    for path in paths:
        assert np.array_equal(load_image(path), first), path
        assert np.array_equal(load_image(path, channel_axis=-1), four), path
        assert np.array_equal(read_stack(path)[0], first[None]), path


def test_a_ramp_is_intensities_and_another_palette_a_photograph(tmp_path, refused):
    numbers = np.arange(256, dtype=np.uint8).reshape(16, 16)
    ramp = np.zeros((256, 3), np.uint8)
    ramp[:, 1] = np.arange(256)  # green, as a fluorescent stain is shown
    photograph = RNG.integers(0, 256, (256, 3)).astype(np.uint8)
    for palette, is_photograph in ((ramp, False), (photograph, True)):
        image = PIL.Image.new("P", (16, 16))
        image.putdata(numbers.ravel().tolist())
        image.putpalette(palette.ravel().tolist())
        image.save(tmp_path / "p.png")
        written(tmp_path / "p.tif", numbers, photometric="palette", colormap=palette.T.astype(np.uint16) * 257)
        for name in ("p.png", "p.tif"):
            expected = palette[numbers].mean(axis=-1) if is_photograph else numbers
            assert np.allclose(load_image(tmp_path / name), expected), (name, is_photograph)
        if not is_photograph:
            assert np.array_equal(read_stack(tmp_path / "p.tif")[0][0, 0], numbers)
    with refused(ValueError, r"p.tif is a colour photograph \(RGB\)"):
        read_stack(tmp_path / "p.tif")
    assert np.array_equal(read_stack(tmp_path / "p.tif", "YX")[0][0, 0], numbers)


@pytest.mark.parametrize("photometric, what", [("separated", "CMYK"), ("cielab", "CIELab")])
def test_colours_that_are_not_read_are_named(tmp_path, photometric, what, refused):
    samples = 4 if what == "CMYK" else 3
    path = written(tmp_path / "x.tif", np.zeros((8, 9, samples), np.uint8), photometric=photometric)
    for read in (load_image, read_stack):
        with refused(ValueError, f"x.tif holds {what}, which is not read: save it as grey levels or RGB"):
            read(path)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_pictures_of_few_bits_are_as_stored(tmp_path, bits):
    levels = PAGES[0] % 2**bits
    rows = np.packbits((levels[..., None] >> np.arange(bits - 1, -1, -1) & 1).reshape(40, -1), axis=1)
    header, content = struct.pack(">2I5B", 50, 40, bits, 0, 0, 0, 0), b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [b"IHDR" + header, b"IDAT" + zlib.compress(content), b"IEND"]
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert np.array_equal(load_image(tmp_path / "x.png"), levels)


@pytest.mark.parametrize("axis", [3, -4, "last", 1.0])
def test_an_axis_for_channels_that_is_not_there(tmp_path, axis, refused):
    with refused(ValueError, f"channel_axis={axis!r} does not fit an image of 3 axes: give a number from -3 to 2"):
        load_image("astronaut", channel_axis=axis)
    path = written(tmp_path / "x.tif", PAGES[:2], imagej=True, metadata={"axes": "CYX"})
    for read in (load_image, read_images):
        with refused(ValueError, "does not fit an image of 3 axes"):
            read(path, channel_axis=axis)


def test_a_grey_photograph_with_transparency_is_no_stack_but_is_read_with_its_folder(tmp_path, refused):
    opaque = np.dstack([RGB[..., 0], np.full((40, 50), 65535, np.uint16)])
    path = written(tmp_path / "x.tif", opaque, extrasamples=["unassalpha"])
    with refused(ValueError, "x.tif is a grey photograph with transparency, not a stack"):
        read_stack(path)
    for source in (path, tmp_path):
        assert np.array_equal(read_images(source).stack[0, 0], RGB[..., 0])


def test_a_film_of_pictures_is_refused(tmp_path, refused):
    frames = [PIL.Image.fromarray((page // 4).astype(np.uint8)) for page in PAGES[:3]]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with refused(ValueError, "film.gif holds 3 images, which is not read: save it as TIFF"):
        load_image(tmp_path / "film.gif")


# Thumbnails, labels, overviews


def check_image(path, image):
    assert np.array_equal(load_image(path), image) and np.array_equal(read_stack(path)[0][0, 0], image)


@pytest.mark.parametrize("metadata", [None, {}])
def test_reduced_pages_are_left_alone(tmp_path, metadata):
    smaller = [(PAGES[0][::n, ::n], dict(subfiletype=1)) for n in (2, 4)]
    check_image(one_by_one(tmp_path / "overviews.tif", [PAGES[0], *smaller], metadata=metadata), PAGES[0])
    mask = (PAGES[0] > 500, dict(subfiletype=4))
    check_image(one_by_one(tmp_path / "mask.tif", [PAGES[0], mask], metadata=metadata), PAGES[0])


def test_a_pyramid_is_read_at_full_size(tmp_path):
    with tifffile.TiffWriter(tmp_path / "p.ome.tif", ome=True) as file:
        file.write(PAGES, subifds=1, metadata={"axes": "TYX"}, **GREY)
        file.write(PAGES[:, ::2, ::2], subfiletype=1, **GREY)
    assert np.array_equal(read_stack(tmp_path / "p.ome.tif")[0][:, 0], PAGES)
    assert np.array_equal(load_image(tmp_path / "p.ome.tif"), PAGES)


def test_a_slide_with_thumbnail_label_and_macro(tmp_path):
    slide, name = RNG.integers(0, 255, (128, 128, 3)).astype(np.uint8), "Aperio Image Library v10\n"
    images = [
        (slide, dict(tile=(64, 64), description=f"{name}128x128 |AppMag = 20")),
        (slide[::4, ::4], dict(description=f"{name}thumbnail")),
        (slide[::2, ::2], dict(tile=(64, 64), description=f"{name}64x64")),
        (slide[:30, :40], dict(subfiletype=1, description=f"{name}label 30x40")),
        (slide[:50, :40], dict(subfiletype=9, description=f"{name}macro 50x40")),
    ]
    path = one_by_one(tmp_path / "slide.svs", images, photometric="rgb", metadata=None)
    assert np.array_equal(load_image(path, channel_axis=-1), slide)


@pytest.mark.parametrize("flag", [0, 1])
def test_olympus_sis_has_a_thumbnail_behind_the_image(tmp_path, flag):
    metadata = [(33471, "s", 0, "[Camera]\nName=DP74\n", True)]
    images = [(PAGES[0], dict(extratags=metadata)), (PAGES[0][::4, ::4], dict(subfiletype=flag))]
    check_image(one_by_one(tmp_path / "sis.tif", images, metadata=None), PAGES[0])


def test_lsm_has_a_thumbnail_after_each_page(tmp_path):
    numbers = struct.pack(
        "<I9i", 67127628, 500, 50, 40, 3, 1, 1, 2, 10, 8
    )  # magic, bytes, X, Y, Z, C, T, dtype, thumbnail
    about = (numbers + struct.pack("<3d", 1e-7, 1e-7, 3e-7)).ljust(500, b"\0")
    images = []
    for n, page in enumerate(PAGES[:3]):
        images.append((page, dict(extratags=[(34412, "B", 500, about, True)] if n == 0 else [])))
        images.append((page[::5, ::5].astype(np.uint8), dict(subfiletype=1)))
    path = one_by_one(tmp_path / "x.lsm", images, metadata=None)
    stack, text = read_stack(path)
    assert text == "ZYX (LSM)" and np.array_equal(stack[:, 0], PAGES[:3])
    assert np.array_equal(load_image(path), PAGES[:3])


def test_channels_of_an_lsm_page_are_stains(tmp_path):
    numbers = struct.pack("<I9i", 67127628, 500, 50, 40, 1, 3, 1, 2, 10, 8)
    about = (numbers + struct.pack("<3d", 1e-7, 1e-7, 3e-7)).ljust(500, b"\0")
    tag = [(34412, "B", 500, about, True)]
    thumbnail = (PAGES[:3, ::5, ::5].astype(np.uint8), dict(subfiletype=1))
    images = [(PAGES[:3], dict(extratags=tag)), thumbnail]
    path = one_by_one(tmp_path / "x.lsm", images, metadata=None, planarconfig="separate")
    assert np.array_equal(load_image(path), PAGES[:3]) and np.array_equal(read_stack(path)[0][0], PAGES[:3])


def test_two_images_of_equal_standing_are_asked_about(tmp_path, refused):
    path = one_by_one(tmp_path / "two.tif", [PAGES[0], PAGES[1][:30]], metadata=None)
    message = (
        r"two.tif holds 2 kinds of images \(0: \(40, 50\) uint16 and 1: \(30, 50\) uint16\): name one by its number"
    )
    for read in (load_image, read_stack):
        with refused(ValueError, message):
            read(path)
        with refused(ValueError, "series=2 does not fit two.tif: it holds the images 0 to 1"):
            read(path, series=2)
    for number, image in ((0, PAGES[0]), (1, PAGES[1][:30])):
        assert np.array_equal(load_image(path, series=number), image)
        assert np.array_equal(read_stack(path, series=number)[0][0, 0], image)


# Axes


def test_lengths_in_axes_split_the_pages(tmp_path, refused):
    path = written(tmp_path / "p.tif", PAGES, metadata=None)
    for axes, shape in (
        ("T4CYX", (4, 3)),
        ("TC3YX", (4, 3)),
        ("T4C3YX", (4, 3)),
        ("t2z3cyx", (6, 2)),
        ("T12YX", (12, 1)),
    ):
        stack, text = read_stack(path, axes)
        assert stack.shape == (*shape, 40, 50) and np.array_equal(stack.reshape(PAGES.shape), PAGES), axes
        assert text.endswith("(as given)")
    assert np.array_equal(read_stack(path, "C3TYX")[0], PAGES.reshape(3, 4, 40, 50).swapaxes(0, 1))
    for axes in ("T5CYX", "T4C4YX", "TCZ2YX", "T4Y41X", "T0CYX", "4TCYX", "T4CXY"):
        with refused(ValueError, f"axes='{axes}' does not fit p.tif .*lengths, as in axes='T4CYX'"):
            read_stack(path, axes)


def test_axes_overrule_a_stale_description(tmp_path, refused):
    with tifffile.TiffFile(written(tmp_path / "ten.tif", PAGES[:10], imagej=True)) as tiff:
        description = tiff.pages[0].description
    path = written(tmp_path / "left.tif", PAGES[0], metadata=None, description=description)
    with refused(ValueError, "left.tif .*10 images: copy it again, or pass axes='YX'"):
        read_stack(path)
    assert np.array_equal(read_stack(path, "YX")[0][0, 0], PAGES[0])


@pytest.mark.parametrize("left", [slice(3), slice(11)])
def test_axes_overrule_a_stale_ome_description(tmp_path, left, refused):
    with tifffile.TiffFile(written(tmp_path / "all.ome.tif", PAGES, metadata={"axes": "TYX"})) as tiff:
        description = tiff.ome_metadata
    path = written(tmp_path / "left.ome.tif", PAGES[left], metadata=None, description=description)
    for read in (load_image, read_stack):
        message = r"lacks pages that its metadata name: copy it again, or pass the axes= .* \(as to read_stack\)"
        with refused(ValueError, message):
            read(path)
    assert np.array_equal(read_stack(path, "TYX")[0][:, 0], PAGES[left])


def ndtiff(path, places):
    """Write pages that say their axes, as Micro-Manager does."""
    with tifffile.TiffWriter(path) as file:
        for page, place in zip(PAGES, places, strict=True):
            tag = (51123, "s", 0, json.dumps({"Axes": place} if place else {"Exposure": 5}), True)
            file.write(page, metadata=None, extratags=[tag], **GREY)
    return path


def test_axes_that_each_page_says(tmp_path, refused):
    places = [{"time": t, "channel": c, "z": z} for t in (0, 1) for z in (0, 1, 2) for c in ("DAPI", "GFP")]
    stack, text = read_stack(ndtiff(tmp_path / "nd.tif", places))
    assert text == "TZCYX (NDTiff)" and np.array_equal(stack, PAGES.reshape(6, 2, 40, 50))
    shuffled = [places[n] for n in (3, 0, 7, 1, 2, 11, 10, 4, 5, 6, 8, 9)]
    stack, text = read_stack(ndtiff(tmp_path / "mixed.tif", shuffled))
    order = {"T": [0, 1], "Z": [0, 1, 2], "C": ["DAPI", "GFP"]}
    names = {"T": "time", "Z": "z", "C": "channel"}
    for place, page in zip(shuffled, PAGES):
        at = {letter: order[letter].index(place[names[letter]]) for letter in "TZC"}
        images = [letter for letter in text[:5] if letter in "TZ"]
        number = at[images[0]] * len(order[images[1]]) + at[images[1]]
        assert np.array_equal(stack[number, at["C"]], page)
    with refused(ValueError, "gap.tif has no page of "):
        read_stack(ndtiff(tmp_path / "gap.tif", [*places[:-1], {"time": 2, "channel": "GFP", "z": 2}]))
    assumed = "SYX (assumed: 12 images of one channel)"
    for odd in ([None] * 12, [*places[:-1], places[0]], [{"time": [n]} for n in range(12)], [*places[:-1], None]):
        assert read_stack(ndtiff(tmp_path / "odd.tif", odd))[1] == assumed


# OME in several files


def ome_set(folder, companion=None):
    """Write four files of one image, (T, C) = (4, 2), their metadata in each or in a companion; return the image."""
    folder.mkdir()
    image, ids = PAGES[:8].reshape(4, 2, 40, 50), [f"urn:uuid:{uuid.UUID(int=n)}" for n in range(4)]
    parts = "".join(
        f'<TiffData FirstT="{t}" FirstC="{c}" IFD="{c}" PlaneCount="1"><UUID FileName="f{t}.ome.tif">{ids[t]}</UUID>'
        "</TiffData>"
        for t, c in np.ndindex(4, 2)
    )
    pixels = 'DimensionOrder="XYCZT" Type="uint16" SizeX="50" SizeY="40" SizeC="2" SizeZ="1" SizeT="4"'
    whole = f'<Image ID="Image:0"><Pixels ID="Pixels:0" {pixels}><Channel ID="Channel:0:0"/>{parts}</Pixels></Image>'
    only = f'<BinaryOnly MetadataFile="{companion}" UUID="{ids[0]}"/>'
    for t in range(4):
        text = f'<?xml version="1.0"?><OME xmlns="{OME}" UUID="{ids[t]}">{only if companion else whole}</OME>'
        written(folder / f"f{t}.ome.tif", image[t], metadata=None, description=text)
    if companion:
        (folder / companion).write_text(f'<?xml version="1.0"?><OME xmlns="{OME}">{whole}</OME>')
    return image


@pytest.mark.parametrize("companion", [None, "x.companion.ome"])
@pytest.mark.parametrize("member", [0, 2])
def test_an_image_in_several_files(tmp_path, companion, member, refused, caplog):
    image = ome_set(tmp_path / "set", companion)
    path = tmp_path / "set" / f"f{member}.ome.tif"
    stack, text = read_stack(path)
    assert text == "TCYX (OME)" and np.array_equal(stack, image) and np.array_equal(load_image(path), image)
    assert not caplog.records
    lost = companion or "f3.ome.tif"
    (tmp_path / "set" / lost).unlink()
    for read in (load_image, read_stack):
        with refused(ValueError, f"f{member}.ome.tif is one of several files of an image, and {lost} is not beside it"):
            read(path)
    assert np.array_equal(read_stack(path, "CYX")[0][0], image[member])


# Formats of others


@pytest.mark.parametrize("suffix", sorted(READERS))
def test_other_formats_are_named_with_what_reads_them(tmp_path, suffix, refused):
    what, package, read = READERS[suffix]
    path = tmp_path / f"Image{suffix.upper()}"
    path.write_bytes(b"anything")
    sentence = rf"{path.name} is {what}, which n2vlib does not read: pip install .* Fiji \(Bio-Formats\) .* OME-TIFF"
    for function in (load_image, read_stack, lambda path: n2vlib.run_two_stage(path, {"quiet": True})):
        with pytest.raises(ValueError, match=sentence) as caught:
            function(path)
        assert f"pip install {package}," in str(caught.value) and read in str(caught.value)


def test_the_readme_lists_the_same_formats():
    rows = [row for row in (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines() if row.startswith("| ")]
    for suffix, (_, package, read) in READERS.items():
        assert any(f"`{suffix}`" in row and f"| `{package}` | `{read}` |" in row for row in rows), suffix


# Folders


def test_metaxpress_folders(tmp_path, refused):
    for site in (1, 2, 10):
        for wave in (1, 2, 3):
            name = f"plate_B02_s{site}_w{wave}"
            written(
                tmp_path / f"{name}{uuid.UUID(int=10 * site + wave)}.tif", np.full((8, 9), 10 * site + wave, np.uint16)
            )
            written(tmp_path / f"{name}_thumb{uuid.UUID(int=wave)}.tif", np.zeros((4, 4), np.uint16))
    stack, text = read_stack(tmp_path)
    assert text == "SCYX (MetaXpress)"
    assert stack[:, :, 0, 0].tolist() == [[11, 12, 13], [21, 22, 23], [101, 102, 103]]
    next(tmp_path.glob("plate_B02_s2_w30*.tif")).unlink()
    with refused(ValueError, "has plate_B02_s2_w1.*tif, but no channel 3 of that image"):
        read_stack(tmp_path)


NAMES = {
    "exp_b02_S{site}_W{wave}{number}.TIF": 2,
    "exp_B2_s{site}_w{wave}_{number}.tiff": 2,
    "exp_s{site}_w{wave}.tif": 2,
    "exp_A0{site}_w{wave}{number}.tif": 2,
    "exp_A01_s{site}_w{wave}.tif": 11,
}


@pytest.mark.parametrize("name, waves", NAMES.items(), ids=NAMES)
def test_names_of_metaxpress(tmp_path, name, waves):
    for site in (1, 2):
        for wave in range(1, waves + 1):
            number = str(
                uuid.UUID(int=16**31 * wave + site)
            ).upper()  # begins with a digit, as a channel's number may end
            file = name.format(site=site, wave=wave, number=number)
            written(tmp_path / file, np.full((8, 9), 100 * site + wave, np.uint16))
    (tmp_path / "._exp_A01_s1_w1.tif").write_bytes(b"what Macs put on other disks")
    stack, text = read_stack(tmp_path)
    assert text == "SCYX (MetaXpress)"
    assert stack[:, :, 0, 0].tolist() == [[100 * site + wave for wave in range(1, waves + 1)] for site in (1, 2)]


def test_names_that_only_end_like_metaxpress_are_images_of_their_own(tmp_path, refused):
    for week in (1, 2):
        written(tmp_path / f"mouse_w{week}.tif", PAGES[week])
    with refused(FileNotFoundError, "has no file named like"):
        read_stack(tmp_path)
    assert np.array_equal(read_images(tmp_path).stack[:, 0], PAGES[1:3])


def test_thumbnails_and_hidden_files_in_a_folder_are_left_alone(tmp_path):
    for site in (1, 2):  # as a plate of one wavelength is named
        written(tmp_path / f"plate_A01_s{site}.tif", PAGES[site])
        written(tmp_path / f"plate_A01_s{site}_thumb.tif", PAGES[site, ::4, ::4])
        (tmp_path / f"._plate_A01_s{site}.tif").write_bytes(b"what Macs put on other disks")
    assert [file.name for file in image_files(tmp_path)] == ["plate_A01_s1.tif", "plate_A01_s2.tif"]
    assert np.array_equal(read_images(tmp_path).stack[:, 0], PAGES[1:3])


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("empty", [0, np.nan, -3])
def test_an_empty_file_does_not_hide_that_others_differ(tmp_path, empty):
    for name, level in (("a.tif", 100), ("b.tif", 900)):
        written(tmp_path / name, RNG.normal(level, 9, (40, 40)).astype(np.float32))
    written(tmp_path / "c.tif", np.full((40, 40), empty, np.float32))
    with pytest.warns(UserWarning, match="b.tif is [89] times as bright as a.tif"):
        assert len(read_images(tmp_path).stack) == 3


def test_a_folder_of_very_different_brightness_is_asked_about(tmp_path):
    short = {"run_stage2": False, "num_epochs": 1, "quiet": True, "stage1": {"patches_per_image": 4, "features": 1}}
    for name, level in (("a.tif", 100), ("b.tif", 900)):
        written(tmp_path / name, RNG.normal(level, 9, (40, 40)).astype(np.float32))
    with pytest.warns(UserWarning, match="b.tif is [89] times as bright as a.tif: are they channels of one image"):
        n2vlib.run_two_stage(tmp_path, short)
