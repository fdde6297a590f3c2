import pytest
import torch

from finecausal_cli.model.outputs import Encoding


def make(count, *, frames=False, foreground=False):
    return Encoding(
        video=torch.randn(count, 9, 8),
        mask=torch.randn(count, 9, 8),
        frames=torch.randn(count, 96, 512) if frames else None,
        foreground=(torch.randn(count, 9, 16, 4, 4),) * 2 if foreground else None,
    )


def test_mask_features_let_video_features_through():
    encoding = Encoding(torch.tensor([[[2.0, 2.0, 2.0]]]), torch.tensor([[[-100.0, 0.0, 100.0]]]))
    torch.testing.assert_close(encoding.fused, torch.tensor([[[0.0, 1.0, 2.0]]]))


@pytest.mark.parametrize(
    ("index", "expected"),
    [(2, [2]), (-1, [3]), (slice(1, 3), [1, 2]), ([3, 0, 3], [3, 0, 3]), (torch.tensor([1]), [1])],
)
def test_select_keeps_every_field_in_step(index, expected):
    encoding = make(4, frames=True, foreground=True)
    chosen = encoding.select(index)
    assert len(chosen) == len(expected)
    assert torch.equal(chosen.video, encoding.video[expected])
    assert torch.equal(chosen.mask, encoding.mask[expected])
    assert torch.equal(chosen.frames, encoding.frames[expected])
    assert torch.equal(chosen.foreground[1], encoding.foreground[1][expected])


def test_select_refuses_a_clip_that_is_not_there():
    with pytest.raises(IndexError):
        make(2).select(2)


def test_concat_undoes_select():
    encoding = make(3, frames=True, foreground=True)
    again = Encoding.concat([encoding.select(0), encoding.select(slice(1, 3))])
    assert torch.equal(again.video, encoding.video)
    assert torch.equal(again.frames, encoding.frames)
    assert all(torch.equal(a, b) for a, b in zip(again.foreground, encoding.foreground, strict=True))


def test_concat_drops_what_one_part_lacks():
    joined = Encoding.concat([make(1, frames=True, foreground=True), make(2)])
    assert (len(joined), joined.frames, joined.foreground) == (3, None, None)


def test_detach_cuts_gradients():
    encoding = Encoding(torch.ones(1, 9, 8, requires_grad=True), torch.ones(1, 9, 8, requires_grad=True))
    assert encoding.fused.requires_grad
    assert not encoding.detach().fused.requires_grad
