"""The U-Net: any size, no leak between channels, and no way to learn the identity."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from n2vlib import N2VConfig, draw_blind_pixels, mask_patches, replace_blind_pixels
from n2vlib.learning.config import STRATEGIES
from n2vlib.learning.losses import blind_loss
from n2vlib.learning.network import ReLU, UNet, blur_pool, build_network, pad_to_multiple, receptive_radius

depths = st.integers(1, 3)

HIDING = [name for name in STRATEGIES if name != "uniform_withCP"]  # those that never show a pixel to itself


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def positive(network):
    """Make all weights positive and all biases 0: on positive images every ReLU then lets through."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.zeros_like(parameter) if name.endswith("bias") else parameter.abs() + 0.01)
    return network


@given(st.integers(1, 40), st.integers(1, 40), depths, st.booleans())
def test_any_image_size_goes_in_and_comes_out(height, width, depth, n2v2):
    network = UNet(2, 3, depth, width=2, n2v2=n2v2)
    with torch.no_grad():
        output = network(torch.randn(1, 2, height, width, generator=seeded()))
    assert output.shape == (1, 3, height, width)
    assert torch.isfinite(output).all()


def test_output_is_linear_not_rectified():
    network = UNet(1, 1, depth=1, width=2)
    torch.nn.init.constant_(network.last.bias, -100.0)
    assert (network(torch.zeros(1, 1, 8, 8)) < -50).all()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_n2v2_has_no_skip_at_the_top_level_only(depth):
    def joined(n2v2):  # what enters a decoder, in multiples of what leaves it
        return [d[0].in_channels // d[0].out_channels for d in UNet(1, 1, depth, 4, n2v2).decoders]

    assert joined(n2v2=False) == [2] * depth
    assert joined(n2v2=True) == [1] + [2] * (depth - 1)


@pytest.mark.parametrize("n2v2", [False, True])
def test_no_channel_influences_another(n2v2):
    config = N2VConfig(n2v2=n2v2, noise_model="gaussian")
    image = torch.randn(1, 3, 24, 20, generator=seeded())
    changed = image.clone()
    changed[:, 1] += torch.randn(24, 20, generator=seeded(1))
    with torch.no_grad():
        network = build_network(config, 3)
        before, after = network(image), network(changed)
        moved = (before != after).flatten(2).any(2)[0].tolist()
        assert moved == [False, False, True, True, False, False]  # mean and variance of channel 1

        joint = build_network(N2VConfig(independent_channels=False), 3)
        assert (joint(image) != joint(changed)).flatten(2).any(2).all(), "joint channels should influence each other"


def test_weights_come_from_the_seed_and_leave_the_callers_random_numbers_alone():
    before = torch.get_rng_state()
    first, again, other = (build_network(N2VConfig(seed=s), 2).state_dict() for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    one, two = (first[f"networks.{channel}.last.weight"] for channel in (0, 1))
    assert not torch.equal(one, two), "channels start from the same weights"


@pytest.mark.parametrize("numbers", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_rectified_is_what_torch_rectifies_with_a_gradient_and_without(numbers, layout):
    image = torch.randn(2, 16, 37, 53, generator=torch.Generator().manual_seed(0)).to(numbers, memory_format=layout)
    image[0, 0, 0, :4] = torch.tensor([-0.0, 0.0, -torch.inf, torch.inf])
    expected = image.clamp(min=0)
    with torch.no_grad():
        whole, part = image.clone(), image[..., 3:30, 5:47].clone()
        assert torch.equal(ReLU(inplace=True)(whole), expected) and torch.equal(whole, expected)
        assert torch.equal(ReLU(inplace=True)(part), expected[..., 3:30, 5:47])
    asked = image.clone().requires_grad_()
    ReLU(inplace=True)(asked * 1).sum().backward()
    assert torch.equal(asked.grad, (image > 0).to(numbers))


@pytest.mark.parametrize("n2v2", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nothing_beyond_the_receptive_radius_has_an_influence(depth, n2v2):
    radius = receptive_radius(depth, n2v2)
    side = 2 * radius + 3 * 2**depth
    network = positive(UNet(1, 1, depth, width=2, n2v2=n2v2).double())
    reach = 0
    for y, x in [(side // 2 + i, side // 2 + (i * 3) % 8) for i in range(2**depth)] + [(0, 0), (side - 1, 3)]:
        image = torch.rand(1, 1, side, side, dtype=torch.float64, generator=seeded(y)).requires_grad_()
        (gradient,) = torch.autograd.grad(network(image)[0, 0, y, x], image)
        rows, columns = gradient[0, 0].nonzero(as_tuple=True)
        reach = max(reach, *(rows - y).abs().tolist(), *(columns - x).abs().tolist())
    assert reach == radius


@given(st.data(), depths, st.booleans())
def test_a_part_of_the_output_is_the_same_as_that_part_of_the_whole(data, depth, n2v2):
    """Wherever the part lies, at borders and in corners too, and whatever must be padded."""
    height, width = shape = [data.draw(st.integers(1, 70)) for _ in range(2)]
    asked = [tuple(sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True)))) for n in shape]
    network = UNet(1, 2, depth, width=2, n2v2=n2v2).double()
    image = torch.randn(1, 1, height, width, dtype=torch.float64, generator=seeded())
    with torch.no_grad():
        part, whole = network(image, asked), network(image)
    (top, bottom), (left, right) = asked
    assert torch.allclose(part, whole[..., top:bottom, left:right], rtol=0, atol=1e-12)


def test_a_part_of_the_output_takes_less_work():
    network, image = UNet(1, 1, depth=2, width=4), torch.zeros(1, 1, 392, 392)
    pixels = {}  # of what the first convolution of each pair gets
    for name in ("encoders.0", "encoders.1", "bottom", "decoders.1", "decoders.0"):
        layer = network.get_submodule(name)[0]
        layer.register_forward_pre_hook(lambda _, inputs, name=name: pixels.update({name: inputs[0].shape[-1]}))
    with torch.no_grad():
        network(image, [(24, 368), (24, 368)])
    assert pixels == {"encoders.0": 392, "encoders.1": 196, "bottom": 94, "decoders.1": 178, "decoders.0": 348}


@pytest.mark.parametrize("n2v2", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_not_a_number_spreads_no_further_than_the_receptive_radius(depth, n2v2):
    """Unlike a gradient, NaN also passes pixels that lose in the max-pool: the full dependence."""
    radius = receptive_radius(depth, n2v2)
    side = 2 * radius + 3 * 2**depth
    network = UNet(1, 1, depth, width=2, n2v2=n2v2).double()
    for y, x in [(side // 2 + i, side // 2 + 2 * i + 1) for i in range(2**depth)]:
        image = torch.zeros(1, 1, side, side, dtype=torch.float64)
        image[..., y, x] = torch.nan
        with torch.no_grad():
            rows, columns = network(image)[0, 0].isnan().nonzero(as_tuple=True)
        assert len(rows) > 0
        assert max((rows - y).abs().max(), (columns - x).abs().max()) <= radius


@pytest.mark.parametrize("n2v2", [False, True])
@pytest.mark.parametrize("strategy", HIDING)
def test_prediction_at_a_blind_pixel_does_not_depend_on_its_own_value(strategy, n2v2):
    config = N2VConfig(strategy=strategy, n2v2=n2v2)
    network = build_network(config, 1)
    patches = torch.randn(2, 1, 30, 32, generator=seeded())
    blind = draw_blind_pixels(patches.shape, 6.25, seeded(1))
    changed = torch.where(blind, 1000.0, patches)
    masked = [replace_blind_pixels(p, blind, strategy, 11, seeded(2)) for p in (patches, changed)]
    assert torch.equal(*masked)
    with torch.no_grad():
        assert torch.equal(network(masked[0]), network(masked[1]))


@pytest.mark.parametrize("strategy", HIDING)
def test_no_gradient_flows_from_the_loss_to_a_blind_pixels_own_value(strategy):
    config = N2VConfig(strategy=strategy, num_channels_init=4)
    network = build_network(config, 1).double()
    patches = torch.randn(2, 1, 32, 32, dtype=torch.float64, generator=seeded()).requires_grad_()
    masked, blind = mask_patches(patches, config, seeded(1))
    loss = blind_loss(network(masked), patches.detach(), blind)
    (gradient,) = torch.autograd.grad(loss, patches)
    assert (gradient[blind] == 0).all()
    assert (gradient[~blind] != 0).any()


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_blur_pool_equals_blur_then_every_second_pixel(half_height, half_width, seed):
    image = torch.randn(2, 3, 2 * half_height, 2 * half_width, dtype=torch.float64, generator=seeded(seed))
    padded = np.pad(image.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    blurred = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    np.testing.assert_allclose(blur_pool(image).numpy(), blurred[:, :, ::2, ::2], atol=1e-12)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from((1, 2, 4, 8)))
def test_padding_reflects_up_to_a_multiple(height, width, multiple):
    image = torch.randn(1, 1, height, width, generator=seeded())
    padded = pad_to_multiple(image, multiple)
    assert all(side % multiple == 0 for side in padded.shape[2:])
    below, right = padded.shape[2] - height, padded.shape[3] - width
    assert 0 <= below < multiple and 0 <= right < multiple
    mode = "reflect" if below < height and right < width else "edge"
    assert np.array_equal(padded[0, 0].numpy(), np.pad(image[0, 0].numpy(), ((0, below), (0, right)), mode=mode))
