"""What several test files share."""

import os
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import skimage.data
import torch

import n2vlib
from n2vlib.learning.network import build_network

# Every example is drawn from a fixed seed, and none is timed: the same tests on any machine, every time.
SEEDED = dict(derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("quick", **SEEDED, max_examples=10)
hypothesis.settings.register_profile("thorough", **SEEDED, max_examples=40)
SIZE = os.environ.get("N2VLIB_TESTS", "quick")  # of all tests that try many cases; .ci/run asks for "thorough"
hypothesis.settings.load_profile(SIZE)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums depend on how many threads share them; and tiny networks are fastest on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def camera():
    """A clean real image, 256x256, intensities 0 to 255."""
    return skimage.data.camera()[100:356, 100:356].astype(np.float64)


@pytest.fixture(scope="session")
def noisy(camera):
    """The same with Gaussian noise of sigma 25."""
    return camera + np.random.default_rng(0).normal(0, 25, camera.shape)


@pytest.fixture(scope="session")
def two_channels(noisy):
    """A small noisy image with two different channels, (1, 2, 48, 56)."""
    return np.stack([noisy[:48, :56], 3 * noisy[100:148, 100:156] + 40])[None]


@pytest.fixture(scope="session")
def tiny():
    """Settings with which a step takes milliseconds; keywords change them."""

    def settings(**changes):
        small = dict(patch_size=16, batch_size=2, num_channels_init=4, max_epochs=None, max_steps=10, device="cpu")
        return n2vlib.N2VConfig(**(small | changes))

    return settings


@pytest.fixture(scope="session")
def untrained(tiny):
    """A Denoiser with random weights, mean 100 and spread 50 in each channel."""

    def build(channels=1, gain=0.0, **changes):
        config = tiny(**changes)
        noise = ([gain] * channels, [400.0] * channels) if config.noise_model else None
        return n2vlib.Denoiser(build_network(config, channels), config, [100] * channels, [50] * channels, noise)

    return build


@pytest.fixture
def refused():
    """Like pytest.raises, and the message must be one line of reasonable length."""

    @contextmanager
    def check(kind, match=None):
        with pytest.raises(kind, match=match) as caught:
            yield
        message = str(caught.value)
        assert caught.type is kind
        assert "\n" not in message
        assert 20 < len(message) < 300

    return check


@pytest.fixture(scope="session")
def data_folder():
    """The folder of real data, which not every checkout has."""
    folder = Path(os.environ.get("N2VLIB_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "bsd68" / "test68" / "test005.png").is_file():
        pytest.skip("no bsd68/test68/test005.png: set N2VLIB_DATA to the folder of real data")
    return folder
