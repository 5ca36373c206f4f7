"""noise_model="auto": which model is chosen, what is said, and what the models are told by hand."""

import warnings

import numpy as np
import pytest
import skimage.data
from instrument_noise import instrument_noise

import n2vlib
from n2vlib.noise.choice import noise_model_for


def photo(side=256):
    return skimage.data.camera()[128 : 128 + side, 128 : 128 + side].astype(np.float64)


def chosen(image, tiny, capsys=None, **changes):
    """The model that "auto" becomes, and the line that says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        denoiser = n2vlib.train(image, tiny(noise_model="auto", max_steps=1, **changes))
    return denoiser.config.noise_model, capsys.readouterr().out if capsys else ""


@pytest.mark.parametrize("sigma", [15, 25, 60])
def test_noise_of_one_strength_is_gaussian(sigma, tiny, capsys):
    model, line = chosen(photo() + np.random.default_rng(0).normal(0, sigma, (256, 256)), tiny, capsys)
    assert model == "gaussian"
    assert line.startswith("noise_model='gaussian': the noise is as strong everywhere, sigma") and line.count("\n") == 1


@pytest.mark.parametrize("photons, read", [(2, 0), (5, 0), (20, 0), (40, 0), (20, 2), (40, 2)])
def test_photons_are_poisson_gaussian(photons, read, tiny, capsys):
    rng, signal = np.random.default_rng(0), photo() / 255 * photons
    model, line = chosen(rng.poisson(signal) + rng.normal(0, read, signal.shape), tiny, capsys)
    assert model == "poisson_gaussian" and "grows with the signal, as photons have it" in line


@pytest.mark.parametrize("kind", ["rows", "wave 8", "sharpened", "shifted", "short lines"])
def test_correlated_noise_is_left_to_the_two_stages(kind, tiny, capsys):
    model, line = chosen(photo() + instrument_noise(kind, (256, 256), 0)[0], tiny, capsys)
    assert model is None and "run_two_stage" in line and "independent noise" in line


@pytest.mark.parametrize("name", ["camera", "page"])
def test_without_noise_there_is_no_model(name, tiny, capsys):
    model, line = chosen(getattr(skimage.data, name)(), tiny, capsys)
    assert model is None and "hardly any noise" in line


def test_one_channel_of_photons_makes_the_model_of_all(tiny, capsys):
    rng = np.random.default_rng(0)
    two = np.stack([photo() + rng.normal(0, 25, (256, 256)), rng.poisson(photo() / 10)])[None]
    model, line = chosen(two, tiny, capsys)
    assert model == "poisson_gaussian" and "in channel 1" in line


def test_several_densities_need_a_model(tiny):
    smooth = np.add.outer(np.arange(64.0), np.arange(64.0))
    denoiser = n2vlib.train(smooth, tiny(noise_model="auto", components=3))
    assert denoiser.config.noise_model is None and denoiser.config.components == 1


def test_another_choice_is_left_alone(noisy):
    for model in (None, "gaussian", "poisson_gaussian"):
        config = n2vlib.N2VConfig(noise_model=model)
        assert n2vlib.noise.choice.choose_noise_model(noisy[None, None], config) is config


def test_the_reason_names_the_channel(noisy):
    rows = noisy + np.random.default_rng(1).normal(0, 15, (256, 1))
    model, why = noise_model_for(np.stack([noisy, rows])[None])
    assert model is None and why.startswith("channel 1: rows offset in brightness by 1")


def test_gaussian_on_photons_warns_and_says_what_fits(tiny):
    image = np.random.default_rng(0).poisson(photo() / 10)
    with pytest.warns(
        UserWarning, match='channel 0: .*takes it to be as strong everywhere.*"poisson_gaussian", or "auto"'
    ):
        n2vlib.train(image, tiny(noise_model="gaussian"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        n2vlib.train(image, tiny(noise_model="poisson_gaussian"))


def test_gain_and_offset_that_are_known_are_used(tiny, noisy, refused):
    denoiser = n2vlib.train(noisy, tiny(noise_model="poisson_gaussian", noise_gain=2.5, noise_offset=-150))
    assert denoiser.noise == ([2.5], [-150.0])
    fitted = n2vlib.train(noisy, tiny(noise_model="poisson_gaussian"))
    half = n2vlib.train(noisy, tiny(noise_model="poisson_gaussian", noise_gain=2.5))
    level = noisy.mean()  # there the variance stays as it was fitted
    assert half.noise[0] == [2.5]
    expected = fitted.noise[0][0] * level + fitted.noise[1][0]
    assert half.noise[0][0] * level + half.noise[1][0] == pytest.approx(expected, rel=1e-3)
    two = np.stack([noisy, noisy])[None]
    each = n2vlib.train(two, tiny(noise_model="poisson_gaussian", noise_gain=(1.0, 2.0), noise_offset=9))
    assert each.noise == ([1.0, 2.0], [9.0, 9.0])
    with refused(ValueError, "noise_gain has 2 values for 1 channels: give one, or one for each"):
        n2vlib.train(noisy, tiny(noise_model="poisson_gaussian", noise_gain=(1.0, 2.0)))
    for name in ("noise_gain", "noise_offset"):
        with refused(
            ValueError, f'{name} = 2 is not possible: it must be None unless noise_model = "poisson_gaussian"'
        ):
            n2vlib.N2VConfig(noise_model="gaussian", **{name: 2})


@pytest.mark.parametrize("value", [0, 65535])
def test_clipped_noise_does_not_pass_for_weaker_noise(value):
    signal = np.clip((photo() / 255 - 0.5) * 1.3 + 0.5, -0.05, 1.05) * 65535
    noisy = signal + np.random.default_rng(0).normal(0, 9000, signal.shape)
    clipped = np.maximum(noisy, 0) if value == 0 else np.minimum(noisy, value)
    sigma = (
        n2vlib.noise.models.estimate_noise(clipped[None, None], n2vlib.N2VConfig(noise_model="gaussian"))[1][0] ** 0.5
    )
    assert sigma == pytest.approx(9000, rel=0.05)


def test_what_cannot_be_told_is_said(tiny, capsys):
    texture = skimage.data.grass()[:256, :256] + np.random.default_rng(0).normal(0, 25, (256, 256))
    model, line = chosen(texture, tiny, capsys)
    assert model is not None and "whether neighbours share noise cannot be told here: if they do, None" in line
    assert "cannot be told" not in chosen(photo() + np.random.default_rng(0).normal(0, 25, (256, 256)), tiny, capsys)[1]
