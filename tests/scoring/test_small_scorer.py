"""The scorer's bookkeeping, on the smallest network and a bank in memory."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from finecausal_cli.errors import DiveNumberError, UsageError
from finecausal_cli.retrieval.bank import Bank
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.results import Assessment

OF_107B = ScoreOptions(force=True, dive="107b", height_m=10.0)


@pytest.fixture(scope="module")
def scorer(tiny_model, make_scorer):
    return make_scorer(tiny_model, note="made up", interval={"level": 0.9, "execution_half_width": 1.5})


@pytest.fixture(scope="module")
def assessment(scorer, film):
    return scorer.score(str(film), OF_107B)


def test_the_column_of_contributions_adds_up(assessment):
    total = sum(stage.contribution for stage in assessment.stages)
    assert assessment.exemplar_score + total == pytest.approx(assessment.score, abs=1e-4)
    assert assessment.exemplar_score == pytest.approx(3.0 * (14 + 16 + 18 + 20) / 4)
    assert abs(total) > 0.1
    for stage, weight in zip(assessment.stages, (0.3, 0.5, 0.2), strict=True):
        assert stage.weight == weight
        assert stage.contribution == pytest.approx(stage.difference * weight * 3.0, abs=1e-9)


def test_stage_differences_are_the_means_of_the_votes(assessment):
    for place, stage in enumerate(assessment.stages):
        mean = sum(vote.stage_differences[place] for vote in assessment.votes) / len(assessment.votes)
        assert stage.difference == pytest.approx(mean, abs=1e-9)
    for vote in assessment.votes:
        weighted = sum(w * part for w, part in zip((0.3, 0.5, 0.2), vote.stage_differences, strict=True))
        assert vote.difference == pytest.approx(weighted, abs=1e-4)


def test_the_canonical_number_and_the_sources_are_told(assessment, film):
    assert (assessment.dive, assessment.dive_from) == ("107B", "given")
    assert (assessment.difficulty, assessment.difficulty_from) == (3.0, "listed for 107B at 10 m")
    assert (assessment.height_m, assessment.source) == (10.0, str(film))
    told = assessment.provenance
    assert (told.weights, told.weights_digest, told.weights_note) == ("tiny", "w" * 64, "made up")
    assert (told.bank, told.bank_digest) == ("small", "b" * 64)
    assert (told.device, told.precision, told.exemplars_chosen) == ("cpu", "fp32", "4 of 4 exemplars of 107B")
    assert told.seconds > 0


def test_stage_times_are_those_of_the_frames_in_the_source(assessment):
    takeoff, flight, entry = assessment.stages
    assert takeoff.start_s == 0
    assert entry.end_s == pytest.approx(2.0)  # 50 frames at 25 a second
    for stage in (flight, entry):
        # Sampled frame k of 96 is frame floor(k * 49 / 95) of 50.
        assert stage.start_s == pytest.approx(int(stage.start_frame * 49 / 95) / 25)
    assert (takeoff.end_s, flight.end_s) == (flight.start_s, entry.start_s)


def test_times_within_a_longer_video_count_from_its_beginning(scorer, film):
    found = scorer.score(str(film), replace(OF_107B, start_s=0.4, end_s=1.6))
    assert found.stages[0].start_s == pytest.approx(0.4)
    assert found.stages[2].end_s == pytest.approx(1.6)


def test_the_interval_is_the_stated_half_width_times_the_difficulty(assessment):
    assert assessment.interval.level == 0.9
    assert assessment.interval.low == pytest.approx(assessment.score - 4.5)
    assert assessment.interval.high == pytest.approx(assessment.score + 4.5)


def test_without_a_number_the_interval_is_in_marks_and_a_difficulty_gives_points(scorer, film, assessment):
    found = scorer.score(str(film), ScoreOptions(force=True))
    assert (found.score, found.exemplar_score, found.unit) == (None, None, "marks")
    assert all(stage.contribution is None for stage in found.stages)
    assert all(vote.score is None for vote in found.votes)
    assert found.interval.unit == "marks"
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.5 / 3)
    assert sum((found.exemplar_value, *found.stage_values)) == pytest.approx(found.value, abs=1e-4)
    given = scorer.score(str(film), ScoreOptions(force=True, difficulty=2.0))
    assert given.score == pytest.approx(2.0 * found.execution)
    assert given.difficulty_from == "given"


def test_weights_without_an_interval_state_none(tiny_model, make_scorer, film):
    assert make_scorer(tiny_model).score(str(film), OF_107B).interval is None


def test_a_wild_guess_is_called_one_and_ends_at_what_judges_can_give(tiny_model, make_scorer, film):
    intervals = set()
    for factor in (-1e4, 1e4):
        model = deepcopy(tiny_model)
        with torch.no_grad():
            model.regression.judge[-1].weight *= factor
        found = make_scorer(model, interval={"level": 0.9, "execution_half_width": 1.5}).score(str(film), OF_107B)
        assert found.execution == pytest.approx(0 if factor < 0 else 30, abs=1e-9)
        assert any("what judges can give" in note for note in found.notes)
        assert sum((found.exemplar_value, *found.stage_values)) == pytest.approx(found.value, abs=1e-4)
        intervals.add((round(found.interval.low, 6), round(found.interval.high, 6)))
    assert intervals == {(0.0, 4.5), (85.5, 90.0)}


def test_a_plausible_score_is_not_called_a_guess(assessment):
    assert 0 <= assessment.execution <= 30
    assert not any("guessing" in note for note in assessment.notes)


def test_without_a_height_the_difficulty_is_that_of_the_most_similar_voter(scorer, film):
    found = scorer.score(str(film), ScoreOptions(force=True, dive="107B"))
    nearest = max(found.votes, key=lambda vote: vote.similarity)
    assert found.difficulty == pytest.approx(3.0 + 0.1 * int(nearest.exemplar[1:]))
    assert found.difficulty_from.startswith(f"that of the most similar voter, {nearest.exemplar}, as the height")


def test_attention_comes_when_asked_for(scorer, film, assessment):
    silent = scorer.score(str(film), replace(OF_107B, attention=False))
    assert silent.attention is None
    kinds = assessment.attention.node_types
    # Each target's attention over its 35 sources adds up to one: 9 of every other kind, 8 of its own.
    for target in range(4):
        total = sum(kinds[source][target] * (8 if source == target else 9) for source in range(4))
        assert total == pytest.approx(1, abs=1e-4)
    assert assessment.attention.node_uniform == pytest.approx(1 / 35)


@pytest.mark.parametrize("left_out", ["gat", "tca"])
def test_a_network_without_attention_tells_none(make_model, make_scorer, film, left_out):
    found = make_scorer(make_model(**{left_out: False})).score(str(film), OF_107B)
    assert found.attention is None
    total = sum(stage.contribution for stage in found.stages)
    assert found.exemplar_score + total == pytest.approx(found.score, abs=1e-4)


def test_the_folded_network_scores_the_same(tiny_model, make_scorer, film, assessment):
    folded = make_scorer(tiny_model.for_inference()).score(str(film), OF_107B)
    assert folded.score == pytest.approx(assessment.score, abs=1e-3)


def test_a_stored_assessment_is_read_back_equal(assessment):
    assert Assessment.model_validate_json(assessment.model_dump_json()) == assessment


def test_the_order_of_the_bank_does_not_matter(scorer, film, tiny_bank, assessment, monkeypatch):
    order = [5, 2, 0, 4, 3, 1]
    other = Bank(
        "small", tuple(tiny_bank.exemplars[place] for place in order), tiny_bank.encodings.select(order), "w", "b"
    )
    monkeypatch.setattr(scorer, "_bank", other)
    found = scorer.score(str(film), OF_107B)
    assert [vote.exemplar for vote in found.votes] == [vote.exemplar for vote in assessment.votes]
    assert found.score == pytest.approx(assessment.score, abs=1e-4)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"dive": "907B"}, DiveNumberError),
        ({"dive": "107B", "height_m": 4.0}, UsageError),
        ({"start_s": 1.0, "end_s": 0.5}, UsageError),
        ({"start_s": float("nan")}, UsageError),
    ],
)
def test_what_cannot_be_asked_is_refused(scorer, film, given, error):
    with pytest.raises(error):
        scorer.score(str(film), ScoreOptions(force=True, **given))


@pytest.mark.parametrize("difficulty", [float("nan"), float("inf"), 10.0])
def test_a_difficulty_is_a_number_between_nought_and_ten(difficulty):
    with pytest.raises(UsageError, match="--difficulty"):
        ScoreOptions(difficulty=difficulty)


def test_one_voter_may_be_named_with_the_usual_number_or_with_one():
    assert ScoreOptions(exemplar="a").voters == 10
    assert ScoreOptions(exemplar="a", voters=1).exemplar == "a"
