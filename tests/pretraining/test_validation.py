import numpy as np
import pytest
import torch
from torch import nn

from finecausal_cli.training.motion_pretraining import (
    HeadOutputs,
    HeldOutDives,
    MaskPrediction,
    correlation,
    validate_pretraining,
)
from finecausal_cli.training.motion_snippets import SEEN


class Knowing(nn.Module):
    """Answers what is true, but for some frames' stages and half of every mask."""

    def __init__(self, *, wrong: int = 0, half: bool = False) -> None:
        super().__init__()
        self._wrong, self._half = wrong, half

    def forward(self, batch, every):
        assert not self.training
        stage = batch.stage.clone()
        stage[:, : self._wrong] = (stage[:, : self._wrong] + 1) % 3
        drawn = batch.mask.clone()
        if self._half:
            drawn.view(-1)[drawn.view(-1).nonzero()[::2]] = 0
        seen = 5 * batch.seen.where(batch.shown, torch.full_like(batch.seen, 99)) + 2
        answers = HeadOutputs(batch.motion, nn.functional.one_hot(stage, 3).float(), seen, None)
        return [answers, answers], MaskPrediction(drawn - 0.5, batch.mask)


def dives(shelf, count):
    return map(HeldOutDives(shelf, shelf.scale()), range(count))


def test_who_knows_everything_is_found_to(shelf):
    model = Knowing().train()
    found = validate_pretraining(model, dives(shelf, 5), torch.device("cpu"))
    assert model.training
    assert (found.stage, found.foreground_iou) == (1.0, 1.0)
    known = {name: r for name, r in found.seen.items() if r is not None}
    assert known.keys() >= {"rise", "splash", "entry_deg"}
    assert all(r == pytest.approx(1, abs=1e-5) for r in known.values())
    assert [*found.figures()] == ["stage", "foreground_iou", *SEEN]


def test_who_knows_half_too(shelf):
    found = validate_pretraining(Knowing(wrong=4, half=True), dives(shelf, 2), torch.device("cpu"))
    assert found.stage == pytest.approx(12 / 16)
    assert found.foreground_iou == pytest.approx(0.5, abs=1e-2)


def test_correlation_agrees_with_scipy_and_is_none_where_nothing_varies():
    from scipy import stats

    left, right = np.random.default_rng(0).normal(size=(2, 20))
    assert correlation(left, right) == pytest.approx(stats.pearsonr(left, right)[0])
    assert correlation(np.ones(5), np.arange(5.0)) is None
    assert correlation(np.ones(1), np.ones(1)) is None
