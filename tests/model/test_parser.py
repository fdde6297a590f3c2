import pytest
import torch
from torch.nn import functional

from finecausal_cli.model.segmentation import SIDE_STRIDES, ForegroundHeads, SpatialActionParser, upsample


@pytest.mark.parametrize("stride", SIDE_STRIDES)
def test_upsample_is_the_transposed_convolution(stride):
    x, kernel = torch.randn(2, 3, 2, 4, 5), torch.randn(3, 1, *(2 * s for s in stride))
    x.requires_grad_()
    kernel.requires_grad_()
    expected = functional.conv_transpose3d(x, kernel, stride=stride, padding=[s // 2 for s in stride])[:, 0]
    actual = upsample(x, kernel, stride)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)
    direction = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad((actual * direction).sum(), (x, kernel)),
        torch.autograd.grad((expected * direction).sum(), (x, kernel)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def make_heads(size=32):
    heads = ForegroundHeads((4, 6, 8, 10))
    taps = [
        torch.randn(2, c, 16 // s[0], size // s[1], size // s[2])
        for c, s in zip((4, 6, 8, 10), SIDE_STRIDES, strict=True)
    ]
    return heads, tuple(taps)


def test_side_outputs_start_as_linear_interpolation():
    heads, taps = make_heads()
    *sides, _ = heads(taps, sides=True)
    for head, tap, side in zip(heads.sides, taps, sides, strict=True):
        small = head.score(head.prepare(tap))
        expected = functional.interpolate(small, scale_factor=head.stride, mode="trilinear", align_corners=False)[:, 0]
        a, b, c = (s // 2 for s in head.stride)  # the border of a transposed convolution fades to zero
        torch.testing.assert_close(side[:, a:-a, b:-b, c:-c], expected[:, a:-a, b:-b, c:-c], atol=1e-5, rtol=1e-5)


def test_foreground_equals_upsampling_all_channels_and_mixing_them():
    heads, taps = make_heads()
    upsamples = [torch.randn(16, 16, *(2 * s for s in head.stride)) for head in heads.sides]
    mix = torch.randn(64)
    for head, kernel, share in zip(heads.sides, upsamples, mix.chunk(4), strict=True):
        head.fused_kernel.data = torch.einsum("ioabc,o->iabc", kernel, share)[:, None]
    heads.bias.data.fill_(0.25)
    full = [
        functional.conv_transpose3d(
            head.prepare(tap), kernel, stride=head.stride, padding=[s // 2 for s in head.stride]
        )
        for head, tap, kernel in zip(heads.sides, taps, upsamples, strict=True)
    ]
    expected = torch.einsum("bcthw,c->bthw", torch.cat(full, dim=1), mix) + 0.25
    (fused,) = heads(taps, sides=False)
    torch.testing.assert_close(fused, expected, atol=1e-3, rtol=1e-3)
    outputs = heads(taps, sides=True)
    assert len(outputs) == 5
    torch.testing.assert_close(outputs[-1], fused)


def test_shared_parser_reads_the_video_trunk():
    parser = SpatialActionParser(1 / 16, shared=True)
    assert parser.trunk is None
    video = torch.randn(2, 64)
    mask, maps = parser(torch.empty(0), video, (), "none")
    torch.testing.assert_close(mask, video @ parser.project.weight.T + parser.project.bias)
    assert maps == ()


def test_own_trunk_ignores_the_video_features():
    parser = SpatialActionParser(1 / 16, shared=False).eval()
    snippets = torch.randn(1, 3, 16, 32, 32)
    with torch.inference_mode():
        mask, maps = parser(snippets, torch.empty(0), (), "fused")
        expected, _ = parser.trunk(snippets)
    torch.testing.assert_close(mask, expected)
    assert [each.shape for each in maps] == [(1, 16, 32, 32)]
