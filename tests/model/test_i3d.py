import pytest
import torch
from torch.nn import functional

from finecausal_cli.model.i3d import I3D, TAPS, ConvUnit, mixed_widths


def test_full_width_is_the_published_network():
    assert mixed_widths("mixed_3b", 1.0) == (64, 96, 128, 16, 32, 32)
    assert mixed_widths("mixed_5c", 1.0).outputs == 1024
    with torch.device("meta"):
        trunk = I3D()
    assert trunk.tap_channels == (64, 192, 480, 832)
    parameters = sum(parameter.numel() for parameter in trunk.parameters())
    assert parameters == 12_287_264, "12.3 million, as published without the classifier"


@pytest.mark.parametrize("sixty_fourths", [2, 3, 16, 24, 37, 63])
def test_any_width_ends_in_exactly_d_features(sixty_fourths):
    width = sixty_fourths / 64
    last = mixed_widths("mixed_5c", width)
    assert last.outputs == 16 * sixty_fourths
    assert min(last) >= 4


def test_stem_pads_two_in_front_and_three_behind():
    unit = ConvUnit(1, 1, kernel=7, stride=2).eval()
    torch.nn.init.zeros_(unit.conv.weight)
    with torch.no_grad():
        unit.conv.weight[0, 0, 2, 2, 2] = 1  # with two zeros in front, this tap reads voxel 2 i
    x = torch.rand(1, 1, 8, 8, 8)
    torch.testing.assert_close(unit(x), x[:, :, ::2, ::2, ::2], rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [64, 80, 112])
def test_pools_equal_padding_zeros_behind(size):
    trunk = I3D(1 / 16).eval()
    previous = {"pool_2a": (1, 3, 3), "pool_3a": (1, 3, 3), "pool_4a": (3, 3, 3), "pool_5a": (2, 2, 2)}
    x = torch.randn(1, 3, 16, size, size)
    with torch.inference_mode():
        for name, output in trunk.walk(x):
            if name in previous:
                kernel = previous[name]
                stride = (1, 2, 2) if kernel[0] == 1 else (2, 2, 2)
                behind = [k - s for k, s in zip(kernel, stride, strict=True)]
                padded = functional.pad(x, (0, behind[2], 0, behind[1], 0, behind[0]))
                expected = functional.max_pool3d(padded, kernel, stride, ceil_mode=True)
                torch.testing.assert_close(output, expected, rtol=0, atol=0)
            x = output
    assert x.shape[2:] == (2, -(-size // 32), -(-size // 32))


def test_features_are_the_mean_of_the_last_layer_and_taps_its_named_layers():
    trunk = I3D(1 / 16).eval()
    snippets = torch.randn(2, 3, 16, 32, 32)
    with torch.inference_mode():
        features, taps = trunk(snippets, taps=True)
        outputs = dict(trunk.walk(snippets))
        assert trunk(snippets)[1] == ()
    torch.testing.assert_close(features, outputs["mixed_5c"].flatten(2).mean(dim=2))
    for tap, name, channels in zip(taps, TAPS, trunk.tap_channels, strict=True):
        assert torch.equal(tap, outputs[name])
        assert tap.shape[1] == channels
