import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from finecausal_cli.data.batch import PairBatch
from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.model.outputs import PairOutput
from finecausal_cli.training.pairs import (
    UncertaintyWeights,
    all_losses,
    foreground_loss,
    regression_loss,
    stage_loss,
    transition_loss,
)

SIDE = 4


UNKNOWN_STAGES = ((math.nan,) * 3,) * 2


def make_batch(
    executions=(20.0, 14.0), *, masks=True, transitions=((30, 70), (35, 75)), stages=UNKNOWN_STAGES
) -> PairBatch:
    """Two dives and the one pair they make; the upper half of every mask is athlete."""
    mask = torch.zeros(2, 96, SIDE, SIDE, dtype=torch.uint8)
    mask[:, :, :2] = 1
    return PairBatch(
        clips=torch.zeros(2, 96, SIDE, SIDE, 3, dtype=torch.uint8),
        masks=mask,
        has_mask=torch.tensor([masks, masks] if isinstance(masks, bool) else masks),
        transitions=torch.tensor(transitions),
        execution=torch.tensor(executions),
        stage_execution=torch.tensor(stages),
        query=torch.tensor([0]),
        exemplar=torch.tensor([1]),
    )


def make_pairs(*, delta=((6.0, -6.0),), logits=None, stage_deltas=None) -> PairOutput:
    logits = torch.zeros(1, 2, 96, 2) if logits is None else logits
    return PairOutput(
        logits,
        torch.zeros(1, 2, 2, dtype=torch.int64),
        torch.zeros(1),
        torch.zeros(1, 2, 3) if stage_deltas is None else torch.tensor(stage_deltas),
        torch.tensor(delta),
    )


def focal(probability: float, *, athlete: bool) -> float:
    """Lin et al. 2017, eq. 5: -alpha_t (1 - p_t)^2 ln p_t, with alpha 0.75 for the athlete."""
    right = probability if athlete else 1 - probability
    return -(0.75 if athlete else 0.25) * (1 - right) ** 2 * math.log(right)


@settings(max_examples=40, deadline=None)
@given(some.floats(0.02, 0.98), some.floats(0.02, 0.98))
def test_the_foreground_loss_is_the_focal_loss(above, below):
    """A prediction of one probability for the upper half of the picture and another one for the lower."""
    logits = torch.empty(2, 9, 16, SIDE, SIDE)
    logits[..., :2, :], logits[..., 2:, :] = math.log(above / (1 - above)), math.log(below / (1 - below))
    expected = (focal(above, athlete=True) + focal(below, athlete=False)) / 2
    assert float(foreground_loss([logits], make_batch())) == pytest.approx(expected, rel=1e-4)


def test_the_predictions_are_averaged():
    good, bad = torch.full((2, 9, 16, SIDE, SIDE), -3.0), torch.full((2, 9, 16, SIDE, SIDE), 3.0)
    good[..., :2, :], bad[..., :2, :] = 3.0, -3.0
    one, two = (float(foreground_loss([each], make_batch())) for each in (good, bad))
    assert one < 0.01 * two
    assert float(foreground_loss([good, bad, bad], make_batch())) == pytest.approx((one + 2 * two) / 3)


def test_snippets_are_held_against_their_own_frames():
    """The athlete shows in frame 25 alone: frame 15 of the snippet at 10 and frame 5 of the one at 20."""
    batch = make_batch()
    batch.masks.zero_()
    batch.masks[:, 25] = 1
    right = torch.full((2, 9, 16, SIDE, SIDE), -8.0)
    right[:, 1, 15] = right[:, 2, 5] = 8.0
    wrong = right.roll(1, dims=2)
    assert float(foreground_loss([right], batch)) < 1e-6
    assert float(foreground_loss([wrong], batch)) > 1e-2


def test_dives_without_masks_do_not_count():
    logits = torch.randn(2, 9, 16, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    first = float(foreground_loss([logits], make_batch(masks=[True, False])))
    logits[1] = 50.0
    assert float(foreground_loss([logits], make_batch(masks=[True, False]))) == first
    assert foreground_loss([logits], make_batch(masks=False)) is None


def entropy(probability: float, target: int) -> float:
    return -math.log(probability if target else 1 - probability)


def test_the_transition_loss_is_the_cross_entropy_with_the_one_frame():
    logits = torch.full((1, 2, 96, 2), math.log(0.1 / 0.9))
    for dive, starts in enumerate(((30, 70), (35, 75))):
        for transition, frame in enumerate(starts):
            logits[0, dive, frame, transition] = math.log(0.6 / 0.4)
    expected = (entropy(0.6, 1) + 95 * entropy(0.1, 0)) / 96
    assert float(transition_loss(make_pairs(logits=logits), make_batch())) == pytest.approx(expected, rel=1e-5)


def test_first_and_last_transition_and_both_dives_keep_apart():
    best = torch.full((1, 2, 96, 2), -20.0)
    for dive, starts in enumerate(((30, 70), (35, 75))):
        for transition, frame in enumerate(starts):
            best[0, dive, frame, transition] = 20.0
    assert float(transition_loss(make_pairs(logits=best), make_batch())) < 1e-6
    for swapped in (best.flip(1), best.flip(3)):
        assert float(transition_loss(make_pairs(logits=swapped), make_batch())) > 0.1


def test_unknown_transitions_do_not_count():
    batch = make_batch(transitions=((30, -1), (-1, -1)))
    logits = torch.zeros(1, 2, 96, 2)
    logits[0, 0, :, 0] = math.log(0.1 / 0.9)
    logits[0, 0, 30, 0] = math.log(0.6 / 0.4)
    expected = (entropy(0.6, 1) + 95 * entropy(0.1, 0)) / 96
    assert float(transition_loss(make_pairs(logits=logits), batch)) == pytest.approx(expected, rel=1e-5)
    logits[0, 0, :, 1] = 99.0
    logits[0, 1] = -99.0
    assert float(transition_loss(make_pairs(logits=logits), batch)) == pytest.approx(expected, rel=1e-5)
    assert transition_loss(make_pairs(logits=logits), make_batch(transitions=((-1, -1), (-1, -1)))) is None


@pytest.mark.parametrize(
    ("delta", "loss"),
    [
        # The query is 6 execution units better; errors are counted in units of 5.
        ((6.0, -6.0), 0.0),
        ((0.0, 0.0), (1.2**2 + 1.2**2) / 2),
        ((6.0, 0.0), 1.2**2 / 2),
        ((0.0, -6.0), 1.2**2 / 2),
        ((-6.0, 6.0), 2.4**2),
    ],
)
def test_the_regression_loss_looks_both_ways(delta, loss):
    assert float(regression_loss(make_pairs(delta=(delta,)), make_batch())) == pytest.approx(loss, abs=1e-6)


STAGES = ((-1.0, -3.0, -0.5), (-2.5, -1.0, -2.0))
"""What the stages cost two dives: the query does better by 1.5 at take-off, by -2 in flight, by 1.5 at entry."""


def test_the_stage_loss_holds_every_share_to_its_stage():
    """Shares are weighted stage differences; a stage of weight 0.3 that differs by 5 adds 1.5."""
    right = ((5.0, -4.0, 7.5), (-5.0, 4.0, -7.5))
    batch = make_batch(stages=STAGES)
    assert float(stage_loss(make_pairs(stage_deltas=(right,)), batch)) == pytest.approx(0, abs=1e-10)
    # The same sum, divided otherwise: the regression loss is blind to it, and this one is not.
    shifted = ((5.0, 0.0, -2.5), (-5.0, 0.0, 2.5))
    weighed = [sum(w * d for w, d in zip(STAGE_WEIGHTS, each, strict=True)) for each in (right[0], shifted[0])]
    assert weighed == pytest.approx([1.0, 1.0])
    # Errors of 0, 2 and 2 execution units; the spread of a stage squared is 25 / 3.
    expected = (0 + 4 + 4) / 3 / (25 / 3)
    assert float(stage_loss(make_pairs(stage_deltas=(shifted,)), batch)) == pytest.approx(expected, rel=1e-5)


def test_the_stage_loss_looks_both_ways():
    one_way = ((5.0, -4.0, 7.5), (0.0, 0.0, 0.0))
    loss = stage_loss(make_pairs(stage_deltas=(one_way,)), make_batch(stages=STAGES))
    assert float(loss) == pytest.approx((1.5**2 + 2**2 + 1.5**2) / 6 / (25 / 3), rel=1e-5)


def test_unknown_stages_do_not_count_and_pass_no_gradient():
    stages = (STAGES[0], (-2.5, math.nan, -2.0))
    deltas = torch.tensor([((5.0, 9.0, 2.5), (-5.0, 9.0, -7.5))], requires_grad=True)
    pairs = dataclasses.replace(make_pairs(), stage_deltas=deltas)
    loss = stage_loss(pairs, make_batch(stages=stages))
    assert loss.item() == pytest.approx(1.0 / 4 / (25 / 3), rel=1e-5)
    loss.backward()
    assert deltas.grad[0, :, 1].tolist() == [0, 0]
    assert deltas.grad.isfinite().all()
    assert stage_loss(make_pairs(), make_batch()) is None


def test_uncertainty_weights_by_hand():
    weights = UncertaintyWeights()
    with torch.no_grad():
        weights.scale.copy_(torch.tensor([0.5, 2.0, 1.5, 3.0]))
    numbers = {"foreground": 0.3, "transitions": 0.7, "regression": 2.0, "stages": 0.9}
    losses = {name: torch.tensor(number) for name, number in numbers.items()}
    parts = {
        "foreground": 0.3 / (2 * 0.25) + math.log(1.25),
        "transitions": 0.7 / (2 * 4.0) + math.log(5.0),
        "regression": 2.0 / (2 * 2.25) + math.log(3.25),
        "stages": 0.9 / (2 * 9.0) + math.log(10.0),
    }
    assert weights(losses).item() == pytest.approx(sum(parts.values()), rel=1e-6)
    for name, loss in losses.items():
        assert weights({name: loss}).item() == pytest.approx(parts[name], rel=1e-6)


def test_a_scale_settles_where_the_derivative_vanishes():
    """d/ds of L / 2s^2 + ln(1 + s^2) is zero where 2 s^4 = L (1 + s^2): L = 1 gives s^2 = 1."""
    weights = UncertaintyWeights()
    weights({"regression": torch.tensor(1.0)}).backward()
    assert weights.scale.grad.tolist() == pytest.approx([0, 0, 0, 0], abs=1e-6)
    weights.scale.grad = None
    weights({"regression": torch.tensor(4.0)}).backward()
    assert weights.scale.grad[2] < 0  # a greater loss wants a greater scale
    assert weights.scale.grad[[0, 1, 3]].tolist() == [0, 0, 0]


def test_a_loss_is_there_only_if_its_targets_are():
    logits = [torch.zeros(2, 9, 16, SIDE, SIDE)]
    unknown = ((-1, -1), (-1, -1))
    assert set(all_losses(logits, make_pairs(), make_batch())) == {"foreground", "transitions", "regression"}
    assert set(all_losses(None, make_pairs(), make_batch())) == {"transitions", "regression"}
    assert set(all_losses(logits, make_pairs(), make_batch(masks=False))) == {"transitions", "regression"}
    assert set(all_losses(None, make_pairs(), make_batch(transitions=unknown))) == {"regression"}
    known = make_batch(transitions=unknown, stages=STAGES)
    assert set(all_losses(None, make_pairs(), known)) == {"regression", "stages"}
    assert set(all_losses(None, make_pairs(), known, stages=False)) == {"regression"}
