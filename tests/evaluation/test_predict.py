import dataclasses
import json

import pytest
import torch

from finecausal_cli.evaluation.metrics import bootstrap_interval, relative_l2, spearman
from finecausal_cli.evaluation.predict import Prediction, bank_of, mean_execution, predict, summarise
from finecausal_cli.exemplars.bank import Bank
from finecausal_cli.exemplars.encode import EncodedDives, ForegroundCounts

NUMBERS = ["107B"] * 5 + ["5253B"] * 4
BASELINE = {"": 20.0, "107B": 21.0}


@pytest.fixture
def training(make_encoded):
    return make_encoded(NUMBERS, seed=1)


@pytest.fixture
def bank(training):
    return bank_of(training, name="training dives", weights_digest="w")


@pytest.fixture
def queries(make_encoded):
    return make_encoded(["107B", "5253B", "107B", "626C", None], seed=2)


def scores(model, queries, bank, **options):
    return {one.key: one.predicted for one in predict(model, queries, bank, baseline=BASELINE, **options)}


def subset(encoded, places):
    return EncodedDives(
        tuple(encoded.dives[place] for place in places),
        encoded.encodings.select(places),
        tuple(encoded.transitions[place] for place in places),
        tuple(encoded.foreground[place] for place in places),
    )


def test_a_bank_of_training_dives_knows_what_they_are(bank, training):
    assert [(one.id, one.dive, one.execution, one.difficulty) for one in bank.exemplars] == [
        (dive.key, dive.number, dive.execution, dive.difficulty) for dive in training.dives
    ]
    assert torch.equal(bank.encodings.video, training.encodings.video)


def test_a_score_is_difficulty_times_the_mean_of_execution_plus_difference(tiny_model, queries, bank):
    found = predict(tiny_model, queries, bank, baseline=BASELINE, voters=10)
    for place in (0, 1, 2):
        dive = queries.dives[place]
        voters = [index for index, one in enumerate(bank.exemplars) if one.dive == dive.number]
        verdicts = []
        for voter in voters:
            with torch.inference_mode():
                pair = tiny_model.compare(queries.encodings.select([place]), bank.encodings.select([voter]))
            delta = sum(
                weight * float(part) for weight, part in zip((0.3, 0.5, 0.2), pair.stage_deltas[0, 0], strict=True)
            )
            verdicts.append(bank.exemplars[voter].execution + delta)
        assert found[place].predicted == pytest.approx(dive.difficulty * sum(verdicts) / len(verdicts), abs=1e-4)
        assert found[place].voters == len(voters)


def test_predictions_carry_what_is_known_of_the_dive(tiny_model, queries, bank):
    found = predict(tiny_model, queries, bank, baseline=BASELINE)
    for one, dive in zip(found, queries.dives, strict=True):
        assert (one.key, one.number, one.difficulty) == (dive.key, dive.number, dive.difficulty)
        assert one.score == pytest.approx(dive.score)
        assert 0 <= one.transitions[0] < 48 <= one.transitions[1] < 96


def test_the_baseline_is_the_mean_of_the_number_or_of_all(tiny_model, queries, bank):
    found = predict(tiny_model, queries, bank, baseline=BASELINE)
    executions = [21.0, 20.0, 21.0, 20.0, 20.0]
    assert [one.baseline for one in found] == pytest.approx(
        [execution * dive.difficulty for execution, dive in zip(executions, queries.dives, strict=True)]
    )


def test_the_overlap_is_with_the_true_transitions(tiny_model, make_encoded, queries, bank):
    (first, *_) = predict(tiny_model, queries, bank, baseline=BASELINE)
    flight, entry = first.transitions
    told = dataclasses.replace(queries, transitions=((flight, entry), None, (flight, entry + 10), None, None))
    found = predict(tiny_model, told, bank, baseline=BASELINE)
    assert found[0].temporal_iou == 1.0
    assert found[1].temporal_iou is None


def test_a_score_does_not_depend_on_the_other_queries(tiny_model, queries, bank):
    together = scores(tiny_model, queries, bank)
    for place, dive in enumerate(queries.dives):
        assert scores(tiny_model, subset(queries, [place]), bank)[dive.key] == pytest.approx(
            together[dive.key], abs=1e-4
        )
    backwards = scores(tiny_model, subset(queries, [4, 3, 2, 1, 0]), bank)
    assert backwards == pytest.approx(together, abs=1e-4)


def test_a_score_does_not_depend_on_the_order_of_the_bank(tiny_model, queries, bank):
    order = [7, 2, 5, 0, 8, 1, 3, 6, 4]
    other = Bank("b", tuple(bank.exemplars[place] for place in order), bank.encodings.select(order), "w")
    for voters in (1, 2, 10):
        assert scores(tiny_model, queries, other, voters=voters) == pytest.approx(
            scores(tiny_model, queries, bank, voters=voters), abs=1e-4
        )


def test_dives_get_different_scores(tiny_model, queries, bank):
    """The other tests would mean little if every query got the same difference."""
    found = predict(tiny_model, queries, bank, baseline=BASELINE)
    executions = [one.predicted / one.difficulty for one in found]
    assert max(executions) - min(executions) > 0.1


def test_mean_execution_by_number_and_over_all():
    judged = [("107B", 20.0), ("107B", 22.0), ("5253B", 12.0), (None, 30.0)]
    assert mean_execution(judged) == {"": 21.0, "107B": 21.0, "5253B": 12.0}


def prediction(score, predicted, baseline, overlap=None):
    return Prediction("k", "107B", score, predicted, baseline, 3.0, (30, 70), overlap, 5)


MADE_UP = [
    prediction(50, 54, 60, 0.4),
    prediction(60, 60, 50, 0.6),
    prediction(80, 72, 80, None),
    prediction(90, 92, 90, 0.8),
]


def test_a_summary_gathers_the_metrics():
    found = summarise(MADE_UP, [ForegroundCounts(10, 10, 5), None, ForegroundCounts(10, 10, 10)])
    true, predicted, baseline = [50, 60, 80, 90], [54, 60, 72, 92], [60, 50, 80, 90]
    assert (found.dives, found.rho, found.relative_l2) == (4, 1.0, pytest.approx(1.3125))
    assert (found.rho_low, found.rho_high) == bootstrap_interval(true, predicted)
    assert found.baseline_rho == spearman(true, baseline)
    assert found.baseline_relative_l2 == relative_l2(true, baseline)
    assert (found.aiou_50, found.aiou_75) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert found.foreground_iou == pytest.approx(15 / 25)


def test_what_nobody_labelled_is_not_measured():
    found = summarise([prediction(50, 54, 60), prediction(60, 61, 50)])
    assert (found.aiou_50, found.aiou_75, found.foreground_iou) == (None, None, None)


def test_figures_that_do_not_exist_are_null_and_not_invalid_json():
    figures = summarise([prediction(60, 54, 60), prediction(60, 61, 60)]).figures()
    assert json.loads(json.dumps(figures, allow_nan=False)) == {
        "dives": 2,
        "rho": None,
        "rho_low": None,
        "rho_high": None,
        "relative_l2": None,
        "aiou_50": None,
        "aiou_75": None,
        "foreground_iou": None,
        "baseline_rho": None,
        "baseline_relative_l2": None,
    }
