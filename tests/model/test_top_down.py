import pytest
import torch

from finecausal_cli.model.config import PRESETS, ModelConfig
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.segmentation import SIDE_STRIDES, TopDownForeground

CHANNELS = (4, 6, 8, 10)


def make_inputs(size=32):
    taps = tuple(
        torch.randn(2, c, 16 // s[0], size // s[1], size // s[2]) for c, s in zip(CHANNELS, SIDE_STRIDES, strict=True)
    )
    return taps, torch.randn(2, 3, 16, size, size)


def test_every_depth_and_the_picture_have_a_say():
    torch.manual_seed(0)
    heads, (taps, snippets) = TopDownForeground(CHANNELS), make_inputs()
    for each in (*taps, snippets):
        each.requires_grad_()
    logits = heads(taps, snippets)
    assert logits.shape == (2, 16, 32, 32)
    for gradient in torch.autograd.grad(logits.square().sum(), (*taps, snippets)):
        assert float(gradient.abs().sum()) > 0


def test_it_learns_a_square_that_moves():
    torch.manual_seed(0)
    heads, (taps, snippets) = TopDownForeground(CHANNELS), make_inputs()
    square = torch.zeros(2, 16, 32, 32)
    for frame in range(16):
        square[:, frame, frame : frame + 6, 8:14] = 1
    snippets = snippets + 3 * square[:, None]
    optimizer = torch.optim.Adam(heads.parameters(), 1e-2)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(heads(taps, snippets), square)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = heads(taps, snippets) > 0
    overlap = (found & (square > 0)).sum() / (found | (square > 0)).sum()
    assert overlap > 0.8


@pytest.mark.parametrize("request_", ["fused", "all"])
def test_a_network_gives_its_foreground_in_one_piece(request_):
    config = ModelConfig(preset="compact", width=1 / 16, shared_trunk=True, foreground="top_down", frame_size=32)
    encoding = FineCausal(config).eval().encode(torch.randn(1, 3, 96, 32, 32), foreground=request_)
    assert [tuple(each.shape) for each in encoding.foreground] == [(1, 9, 16, 32, 32)]


def test_compact_reads_top_down_and_the_paper_does_not():
    assert {name: config.foreground for name, config in PRESETS.items()} == {
        "reference": "linear",
        "finecausal": "linear",
        "compact": "top_down",
    }
