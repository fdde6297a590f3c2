import dataclasses

import pytest
import torch

from finecausal_cli.evaluation.predict import bank_of, mean_execution, predict
from finecausal_cli.model.outputs import PairOutput
from finecausal_cli.retrieval.bank import Bank, EncodedDives
from finecausal_cli.retrieval.voting import choose_voters

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


class TwoVoters:
    """Stands for a network: the first voter sees the query's flight at 10..70, the second at 50..70."""

    def compare(self, query, exemplars, *, attention):
        seen = torch.tensor([[[10, 70], [30, 70]], [[50, 70], [30, 70]]])
        nothing = torch.zeros(2, 2)
        return PairOutput(frame_logits=nothing, transitions=seen, tokens=nothing, stage_deltas=nothing, delta=nothing)


def test_both_protocols_of_the_overlap_come_from_the_voters(make_encoded):
    bank = bank_of(make_encoded(["107B", "107B"], seed=1), name="two", weights_digest="w")
    (found,) = predict(TwoVoters(), make_encoded(["107B"], seed=2, transitions=(30, 70)), bank, baseline=BASELINE)
    assert (found.transitions, found.true_transitions, found.temporal_iou) == ((30, 70), (30, 70), 1)
    assert found.reference_iou == pytest.approx((40 / 60 + 20 / 40) / 2)


def test_without_the_number_the_nearest_vote(tiny_model, queries, bank):
    given = predict(tiny_model, queries, bank, baseline=BASELINE, voters=3)
    found = predict(tiny_model, queries, bank, baseline=BASELINE, voters=3, dive_given=False)
    assert [one.recognised for one in given[:3]] == ["107B", "5253B", "107B"]
    for place, one in enumerate(found):
        choice = choose_voters(bank, queries.encodings.select([place]), voters=3)
        assert one.recognised == choice.dive
        assert one.voters == 3
    assert found[4] == given[4]  # its number is unknown anyway
    assert [one.predicted for one in found[:3]] != [one.predicted for one in given[:3]]
    assert [one.baseline for one in found] == [one.baseline for one in given]
