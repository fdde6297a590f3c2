import pytest
import torch
from pydantic import ValidationError

from finecausal_cli.model.config import PRESETS, ModelConfig
from finecausal_cli.model.frame_encoder import FrameForeground

CHANNELS = (4, 6, 8, 10)


def make_inputs(size=32):
    taps = tuple(torch.randn(2, c, size >> n, size >> n) for n, c in enumerate(CHANNELS, 1))
    return taps, torch.randn(2, 3, size, size)


def test_every_depth_and_the_picture_have_a_say():
    torch.manual_seed(0)
    heads, (taps, frames) = FrameForeground(CHANNELS), make_inputs()
    for each in (*taps, frames):
        each.requires_grad_()
    logits = heads(taps, frames)
    assert logits.shape == (2, 32, 32)
    for gradient in torch.autograd.grad(logits.square().sum(), (*taps, frames)):
        assert float(gradient.abs().sum()) > 0


def test_it_learns_a_square_that_moves():
    torch.manual_seed(0)
    heads, (taps, frames) = FrameForeground(CHANNELS), make_inputs()
    square = torch.zeros(2, 32, 32)
    for frame in range(2):
        square[frame, 8 * frame : 8 * frame + 6, 8:14] = 1
    frames = frames + 3 * square[:, None]
    optimizer = torch.optim.Adam(heads.parameters(), 1e-2)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(heads(taps, frames), square)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mask = heads(taps, frames) > 0
    overlap = (mask & (square > 0)).sum() / (mask | (square > 0)).sum()
    assert overlap > 0.8


@pytest.mark.parametrize(("backbone", "foreground"), [("i3d", "top_down"), ("frames", "linear")])
def test_each_backbone_has_one_decoder_of_the_foreground(backbone, foreground):
    with pytest.raises(ValidationError, match=f'trunk "{backbone}" needs foreground'):
        ModelConfig(trunk=backbone, foreground=foreground)


def test_compact_reads_top_down_and_the_paper_does_not():
    assert {name: config.foreground for name, config in PRESETS.items()} == {
        "reference": "linear",
        "finecausal": "linear",
        "compact": "top_down",
        "skeleton": "none",
    }
