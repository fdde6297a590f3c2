"""The shipped weights, bank and examples, through the scorer that the command line calls."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from finecausal_cli.errors import BankError, UsageError, VideoError
from finecausal_cli.retrieval import voting
from finecausal_cli.retrieval.voting import choose_voters, compare_with_exemplars
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.video.reader import read_clip
from finecausal_cli.weights import SIMULATED_ONLY

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dives"
GOOD, POOR = (str(EXAMPLES / f"107B-10m-{how}.mp4") for how in ("good", "poor"))
OF_107B = ScoreOptions(dive="107B", height_m=10.0)


@pytest.fixture(scope="module")
def scorer():
    return Scorer.load("compact", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def assessment(scorer):
    return scorer.score(GOOD, OF_107B)


@pytest.fixture(scope="module")
def encoding(scorer):
    return scorer.encode(read_clip(GOOD, geometry="fit", frame_size=scorer.frame_size))


def test_stage_contributions_add_up_to_score_minus_exemplar(assessment):
    total = sum(stage.contribution for stage in assessment.stages)
    assert assessment.exemplar_score + total == pytest.approx(assessment.score, abs=1e-4)
    assert sum(stage.weight for stage in assessment.stages) == pytest.approx(1)
    for stage in assessment.stages:
        points = stage.difference * stage.weight * assessment.difficulty
        assert stage.contribution == pytest.approx(points, abs=1e-9)


def test_the_score_is_the_mean_of_the_votes(assessment):
    assert len(assessment.votes) == 10
    assert sum(vote.score for vote in assessment.votes) / 10 == pytest.approx(assessment.score, abs=1e-9)
    for vote in assessment.votes:
        expected = (vote.execution + vote.difference) * assessment.difficulty
        assert vote.score == pytest.approx(expected, abs=1e-9)


def test_the_stages_cover_the_clip_without_a_gap(assessment):
    takeoff, flight, entry = assessment.stages
    assert (takeoff.start_frame, entry.end_frame) == (0, 96)
    assert takeoff.end_frame == flight.start_frame < flight.end_frame == entry.start_frame


def test_difficulty_comes_from_the_list_unless_given(assessment, scorer):
    assert assessment.difficulty == 3.0
    given = scorer.score(GOOD, replace(OF_107B, difficulty=2.5))
    assert (given.difficulty, given.difficulty_from) == (2.5, "given")
    assert given.execution == pytest.approx(assessment.execution, abs=1e-5)
    assert given.score == pytest.approx(assessment.execution * 2.5, abs=1e-4)


def test_stage_attention_never_looks_ahead_and_adds_up(assessment):
    stages = assessment.attention.stages
    assert stages[0][1:] == pytest.approx((0, 0), abs=1e-7)
    assert stages[1][2] == pytest.approx(0, abs=1e-7)
    assert [sum(row) for row in stages] == pytest.approx([1, 1, 1], abs=1e-5)


@pytest.mark.thorough
def test_the_number_of_threads_does_not_matter(scorer, assessment):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        other = scorer.score(GOOD, OF_107B)
    finally:
        torch.set_num_threads(threads)
    assert other.score == pytest.approx(assessment.score, abs=1e-4)


def test_the_order_and_company_of_voters_do_not_matter(scorer, encoding):
    bank = scorer.bank
    indices = bank.of_dive("107B")
    orders = [indices, indices[::-1], *([index] for index in indices)]
    together, backwards, *alone = (
        votes.executions for votes in compare_with_exemplars(scorer.model, [encoding] * len(orders), bank, orders)
    )
    backwards, alone = backwards.flip(0), torch.cat(alone)
    assert together.tolist() == pytest.approx(backwards.tolist(), abs=3e-5)
    assert together.tolist() == pytest.approx(alone.tolist(), abs=3e-5)


def test_scored_together_or_alone_a_clip_has_the_same_numbers(scorer, assessment):
    clips = [read_clip(path, geometry="fit", frame_size=scorer.frame_size) for path in (POOR, GOOD, POOR)]
    alone = [scorer.score_clips([clip], [OF_107B])[0] for clip in clips]
    together = scorer.score_clips(clips, [OF_107B] * 3)
    for one, other in zip(alone, together, strict=True):
        assert other.score == pytest.approx(one.score, abs=1e-4)
        assert [vote.score for vote in other.votes] == pytest.approx([vote.score for vote in one.votes], abs=1e-4)
    assert [stage.start_frame for stage in together[1].stages] == [stage.start_frame for stage in alone[1].stages]


def test_an_exemplar_that_is_not_there_is_named(scorer):
    with pytest.raises(BankError, match="no exemplar 'nobody'"):
        scorer.score(GOOD, ScoreOptions(exemplar="nobody"))


def test_a_named_exemplar_votes_alone(scorer):
    name = scorer.bank.exemplars[0].id
    found = scorer.score(GOOD, ScoreOptions(exemplar=name, dive="107B", height_m=10.0))
    assert [vote.exemplar for vote in found.votes] == [name]


def test_a_number_without_exemplars_is_scored_with_a_caveat(scorer):
    found = scorer.score(GOOD, ScoreOptions(dive="101A", height_m=3.0))
    assert any("no exemplar of 101A" in note for note in found.notes)


def test_a_number_not_listed_at_a_height_asks_for_the_difficulty(scorer):
    with pytest.raises(UsageError, match="--difficulty"):
        scorer.score(GOOD, ScoreOptions(dive="5255B", height_m=1.0))


def test_without_a_sure_number_there_is_execution_and_what_the_likeliest_would_give(scorer, assessment, monkeypatch):
    monkeypatch.setattr(voting, "SURE_NUMBER", 1.01)
    found = scorer.score(GOOD)
    assert (found.dive, found.score, found.difficulty, found.unit) == (None, None, None, "marks")
    assert found.dive_from.startswith("not sure: perhaps 107B ")
    assert "--dive" in found.points_withheld
    assert {vote.dive for vote in found.votes} == {"107B"}
    assert found.execution == pytest.approx(assessment.execution, abs=1e-4)
    assert found.exemplar_mark + sum(stage.marks for stage in found.stages) == pytest.approx(found.mark, abs=1e-4)
    first = found.candidates[0]
    assert [each.dive for each in found.candidates] == ["107B"]  # the turns counted fit no other of the bank
    assert first.score[0] <= assessment.score <= first.score[1]


def test_the_first_note_says_that_the_weights_come_from_simulated_dives(assessment):
    assert assessment.notes[0] == SIMULATED_ONLY
    assert assessment.provenance.trained_on == "simulated"


def test_the_height_is_told_from_the_time_in_the_air(scorer):
    found = scorer.score(GOOD, ScoreOptions(dive="107B"))
    assert found.height_candidates[0] == 10.0
    assert found.score is not None
    assert "in the air" in found.height_from


def test_how_the_number_was_marked_in_competition_stands_beside_the_score(assessment):
    assert assessment.competition.dives == 324
    assert 0 < assessment.competition.better_than < 1


def test_weights_that_recognise_nothing_take_the_nearest(scorer, encoding):
    nearest = choose_voters(scorer.bank, replace(encoding, number_logits=None))
    assert nearest.how == "the 10 nearest by encoding"
    assert any("name it with --dive" in caveat for caveat in nearest.caveats)


def test_a_missing_file_is_named(scorer, tmp_path):
    with pytest.raises(VideoError, match="nothing"):
        scorer.score(str(tmp_path / "nothing.mp4"))


def test_better_dives_score_better(scorer):
    """The two 107B examples lie 6 execution points apart; the weights must see which is which, and a third of that."""
    poor = scorer.score(POOR, OF_107B)
    good = scorer.score(GOOD, OF_107B)
    assert good.execution - poor.execution > 2
