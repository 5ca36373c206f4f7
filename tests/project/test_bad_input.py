"""Bad input: one clear sentence that says what is wrong, where, and what to do."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import skimage.io
import tifffile
import torch

import n2vlib
from n2vlib import Denoiser, load_image, train
from n2vlib.learning.model_files import FORMAT, read_model, write_model


@pytest.fixture(scope="module")
def image(noisy):
    return noisy[:40, :48]


@pytest.fixture(scope="module")
def model(image, tiny):
    return train(image, tiny(max_steps=3, depth=1, noise_model="gaussian"))


@pytest.fixture(scope="module")
def use(model, tiny):
    """Feed an image to training and to prediction: both must refuse it."""
    return {"train": lambda image, **axis: train(image, tiny(), **axis), "predict": model.predict}


both = pytest.mark.parametrize("way", ["train", "predict"])


# Images


@both
@pytest.mark.parametrize("bad", [3.4e38, -3.4e38, 1e300])
def test_values_that_no_sensor_gives_are_counted_and_located(image, use, way, bad, refused):
    broken = image.copy()
    broken[7, 9] = broken[7, 11] = broken[30, 2] = bad
    with refused(
        ValueError, "holds 3 values beyond 1e.18.*image 0, channel 0, row 7, column 9: if they .*set them to NaN"
    ):
        use[way](broken)


def test_such_a_value_is_located_in_a_stack_and_in_its_channel(two_channels, tiny, refused):
    stack = np.concatenate([two_channels] * 3).astype(np.float32)
    stack[2, 1, 4, 5] = 3.4e38
    with refused(ValueError, "holds 1 value.*image 2, channel 1, row 4, column 5"):
        train(stack, tiny())


def test_such_a_value_in_validation_images_is_named_so(image, tiny, refused):
    broken = image.copy()
    broken[0, 0] = 3.4e38
    with refused(ValueError, "the validation image holds 1 value"):
        train(image, tiny(), validation=broken)


@pytest.mark.parametrize("value", [0, 7, 0.1, -1e6])
def test_a_constant_image_is_refused(tiny, value, refused):
    with refused(ValueError, f"channel 0 is constant, every pixel is {value}: there is nothing to learn"):
        train(np.full((2, 20, 20), value), tiny())


def test_one_constant_channel_is_refused(two_channels, tiny, refused):
    stack = two_channels.copy()
    stack[:, 1] = 3
    with refused(
        ValueError,
        r"channel 1 is constant, every pixel is 3.*leave it out, as in image\[:, \[0\]\], or image\[..., \[0\]\]",
    ):
        train(stack, tiny())


def test_a_constant_image_is_predicted(model):
    assert np.isfinite(model.predict(np.zeros((20, 20)))).all()


@both
@pytest.mark.parametrize("dtype", ["complex64", "complex128", "object", "U5", "S5", "datetime64[s]"])
def test_values_that_are_not_real_numbers_are_refused(use, way, dtype, refused):
    with refused(TypeError, "the image has dtype .*: only real numbers"):
        use[way](np.ones((20, 20)).astype(int).astype(dtype))


@both
@pytest.mark.parametrize("nothing", [None, "image.png", {"image": 1}])
def test_what_is_no_image_at_all_is_refused(use, way, nothing, refused):
    with refused(TypeError, "the image has dtype .*: only real numbers"):
        use[way](nothing)


@both
@pytest.mark.parametrize("odd", [[[1, 2], [3]], torch.ones(20, 20, requires_grad=True)], ids=["ragged", "tensor"])
def test_what_cannot_become_an_array_is_refused(use, way, odd, refused):
    with refused(TypeError, "the image is a (list|Tensor) that cannot be read as an array .*: give a NumPy array"):
        use[way](odd)


@both
@pytest.mark.parametrize("shape", [(0,), (0, 20), (20, 0), (0, 20, 20), (3, 0, 20, 20)])
def test_an_empty_image_is_refused(use, way, shape, refused):
    with refused(ValueError, r"the image is empty, its shape is \(.*0.*\): check"):
        use[way](np.zeros(shape))


@both
@pytest.mark.parametrize("shape", [(), (20,), (1, 1, 1, 20, 20), (1, 1, 20, 20, 3)])
def test_a_wrong_number_of_dimensions_is_refused(use, way, shape, refused):
    with refused(ValueError, rf"has {len(shape)} dimensions: use \(Y, X\), \(N, Y, X\) or \(N, C, Y, X\)"):
        use[way](np.zeros(shape))


@both
@pytest.mark.parametrize("shape", [(40, 48, 3), (40, 48, 4), (2, 40, 48, 3)])
def test_a_colour_photograph_is_refused_with_the_advice_to_name_the_axis(use, way, shape, refused):
    with refused(ValueError, "looks like a colour photograph .*: pass channel_axis=-1"):
        use[way](np.zeros(shape))


@pytest.mark.parametrize("shape", [(40, 48, 3), (40, 48, 4), (2, 40, 48, 3)])
def test_the_advice_for_colour_photographs_works(tiny, shape):
    photograph = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    model = train(photograph, tiny(max_steps=2), channel_axis=-1)
    assert len(model.mean) == shape[-1]
    clean = model.predict(photograph, channel_axis=-1)
    assert clean.shape == shape and np.isfinite(clean).all()


@both
@pytest.mark.parametrize(
    "shape, axis", [((20, 20), -1), ((20, 20, 3), 3), ((20, 20, 3), -4), ((1, 1, 20, 20, 3), -1), ((20, 20, 3), "C")]
)
def test_a_channel_axis_that_does_not_fit_is_refused(use, way, shape, axis, refused):
    with refused(ValueError, rf"channel_axis={axis} does not fit an image of shape .*: use \(Y, X, C\)"):
        use[way](np.zeros(shape), channel_axis=axis)


def test_another_number_of_channels_than_in_training_is_refused(model, two_channels, tiny, refused):
    with refused(ValueError, r"trained on 1 channel.*shape \(1, 2, 48, 56\) has 2: give images with the same"):
        model.predict(two_channels)
    two = train(two_channels, tiny(max_steps=1))
    with refused(ValueError, r"trained on 2 channel.*shape \(48, 56\) has 1"):
        two.predict(two_channels[0, 0])


def test_validation_with_other_channels_is_refused(two_channels, tiny, refused):
    with refused(ValueError, "validation has 1 channel.*training images have 2"):
        train(two_channels, tiny(), validation=two_channels[:, :1])


@pytest.mark.parametrize("shape", [(7, 7), (7, 100), (100, 7), (3, 7, 7), (2, 2, 100, 2)])
def test_an_image_below_eight_pixels_is_refused_for_training(tiny, shape, refused):
    small = np.random.default_rng(0).normal(size=shape)
    with refused(ValueError, f"has {shape[-2]} x {shape[-1]} pixels: at least 8 x 8 are needed"):
        train(small, tiny())


def test_a_small_validation_image_is_named_so(image, tiny, refused):
    with refused(ValueError, "the validation image has 5 x 48 pixels"):
        train(image, tiny(), validation=image[:5])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_here_is_refused(image, tiny, refused):
    with refused(ValueError, 'device = \'cuda\' is not available on this machine: use "auto" or "cpu"'):
        train(image, tiny(device="cuda"))


# Model files


def assert_not_loaded(path, refused, match="is not a model of n2vlib, or it is damaged: save or download it again"):
    with refused(ValueError, f"{path.name} {match}"):
        Denoiser.load(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, "last byte"])
def test_a_truncated_model_file_is_refused(model, tmp_path, share, refused):
    path = tmp_path / "model.pt"
    model.save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] if share == "last byte" else content[: int(share * len(content))])
    assert_not_loaded(path, refused)


def test_a_model_file_with_flipped_bytes_loads_or_is_refused(model, tmp_path):
    path = tmp_path / "model.pt"
    model.save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = {"loaded": 0, "refused": 0}
    for position in rng.integers(0, len(content), 600):
        damaged = bytearray(content)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            assert isinstance(Denoiser.load(path), Denoiser)
            outcomes["loaded"] += 1
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) < 300
            outcomes["refused"] += 1
    assert outcomes["refused"] > 50, outcomes


def test_foreign_files_are_refused(tmp_path, refused):
    path = tmp_path / "model.pt"
    path.write_text("a text, not a model\n" * 100)
    assert_not_loaded(path, refused)
    path.write_bytes(b"")
    assert_not_loaded(path, refused)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "an archive, not a model")
    assert_not_loaded(path, refused)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", "an archive with a name like ours")
    assert_not_loaded(path, refused)
    np.save(tmp_path / "array.npy", np.ones(3))
    assert_not_loaded(tmp_path / "array.npy", refused)


@pytest.mark.parametrize(
    "content", [{"weights": torch.ones(3)}, torch.ones(3), [1, 2], None, {"format": "n2vlib model 99"}, {"format": []}]
)
def test_what_torch_saved_for_others_is_refused(tmp_path, content, refused):
    torch.save(content, tmp_path / "model.pt")
    assert_not_loaded(tmp_path / "model.pt", refused)


@pytest.mark.parametrize(
    "changes",
    [
        dict(weights={}),
        dict(weights={"last.weight": torch.ones(3)}),
        dict(weights=None),
        dict(weights=5),
        dict(config=None),
        dict(config={"depth": 3}),
        dict(config={"depth": 99}),
        dict(config={"depht": 2}),
        dict(config={1: 2}),
        dict(mean=None),
        dict(mean=[1.0, 2.0]),
        dict(mean=["a"]),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_are_refused(model, tmp_path, changes, refused):
    write_model(tmp_path / "model.pt", model.content() | changes)
    with refused(ValueError):
        Denoiser.load(tmp_path / "model.pt")


def test_a_missing_part_is_refused_and_named(model, tmp_path, refused):
    for part in model.content():
        write_model(tmp_path / "model.pt", {name: value for name, value in model.content().items() if name != part})
        with refused(ValueError, f"model.pt .*{part}"):
            Denoiser.load(tmp_path / "model.pt")


class Trap:
    """What a pickle runs when it is loaded: here it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_code_in_a_model_file_is_not_run(model, tmp_path, refused):
    path, trap = tmp_path / "model.pt", Trap(tmp_path / "sprung")
    for save in (
        lambda: path.write_bytes(pickle.dumps({"format": FORMAT, "trap": trap})),
        lambda: torch.save({"format": FORMAT, "trap": trap}, path),
        lambda: torch.save({"format": FORMAT, **model.content(), "history": trap}, path),
        lambda: torch.save(model, path),
    ):
        save()
        assert_not_loaded(path, refused)
        assert not trap.folder.exists()
    torch.save({"trap": trap}, path)
    torch.load(path, weights_only=False)
    assert trap.folder.exists(), "the trap of this test does not work"


def test_a_missing_model_file_is_refused(tmp_path, refused):
    with refused(FileNotFoundError, "no model file .*model.pt: check the path"):
        Denoiser.load(tmp_path / "model.pt")
    with refused(FileNotFoundError, "no model file .*: check the path"):
        Denoiser.load(tmp_path)


def test_resume_without_a_folder_is_refused(image, tiny, refused):
    with refused(ValueError, "resume=True needs the folder to resume from: set checkpoint_dir"):
        train(image, tiny(), resume=True)


@pytest.mark.parametrize("damage", ["truncated", "text", "a plain model", "a part is missing"])
def test_resume_from_a_bad_checkpoint_is_refused(image, tiny, tmp_path, damage, refused):
    config, last = tiny(max_steps=2, checkpoint_dir=tmp_path), tmp_path / "last.pt"
    plain = train(image, config)
    if damage == "truncated":
        last.write_bytes(last.read_bytes()[:1000])
    elif damage == "text":
        last.write_text("not a model")
    elif damage == "a plain model":
        plain.save(last)
    else:
        content = read_model(last)
        content["training"].pop("optimizers")
        write_model(last, content)
    with refused(ValueError, "last.pt"):
        train(image, config, resume=True)


# Image files


def test_an_image_that_is_not_there_is_refused(tmp_path, refused):
    for name in (str(tmp_path / "photo.png"), "no such picture", "", tmp_path):
        with refused(FileNotFoundError, "no image .*: give the path of a file, or the name of one"):
            load_image(name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".tiff", ".txt", ""])
@pytest.mark.parametrize("content", [b"", b"not an image at all\n" * 30])
def test_a_file_that_is_no_image_is_refused(tmp_path, suffix, content, refused):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content)
    with refused(ValueError, "image.* cannot be read as an image .*complete"):
        load_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_truncated_image_file_is_refused(tmp_path, suffix, refused):
    path = tmp_path / f"image{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    skimage.io.imsave(path, pixels, check_contrast=False)
    path.write_bytes(path.read_bytes()[:900])
    with refused(ValueError, "cannot be read as an image|image.tif is cut off"):
        load_image(path)


def test_images_are_loaded_as_they_are_stored(tmp_path):
    grey = np.random.default_rng(0).integers(0, 65536, (3, 20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", grey, photometric="minisblack")
    loaded = load_image(tmp_path / "stack.tif")
    assert loaded.dtype == np.uint16 and np.array_equal(loaded, grey)

    colour = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    skimage.io.imsave(tmp_path / "photo.png", colour, check_contrast=False)
    assert np.array_equal(load_image(tmp_path / "photo.png", channel_axis=-1), colour)
    averaged = load_image(str(tmp_path / "photo.png"))
    assert averaged.dtype == np.float32
    np.testing.assert_allclose(averaged, colour.mean(axis=-1), rtol=1e-6)
    assert load_image("camera").shape == (512, 512)


# The data set


@pytest.mark.parametrize("number", [0, 69, -1])
def test_a_wrong_number_of_a_test_image_is_refused(number, refused):
    with refused(ValueError, f"number = {number} is not possible: BSD68 has the test images 1 to 68"):
        n2vlib.datasets.bsd68_test_image(number)
