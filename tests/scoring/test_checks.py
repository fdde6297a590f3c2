from dataclasses import replace

import numpy as np
import pytest
import torch

from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.voting import VotingContext
from finecausal_cli.scoring import explain as checks
from finecausal_cli.scoring.explain import (
    compare_with_itself,
    delete_snippets,
    freeze_flight,
    score_frozen,
    shift_borders,
    unsure_stages,
    without_snippet,
)
from finecausal_cli.scoring.results import Assessment, AthleteFrame
from finecausal_cli.video import Clip

DIFFICULTY = 3.2


@pytest.fixture(scope="module")
def query():
    return Encoding(*torch.rand(2, 1, 9, 32, generator=torch.Generator().manual_seed(5)))


@pytest.fixture(scope="module")
def context(tiny_model, tiny_bank, query) -> VotingContext:
    return VotingContext.build(tiny_model, query, tiny_bank, range(6), difficulty=DIFFICULTY)


def test_an_antisymmetric_network_finds_no_difference_of_a_dive_with_itself(context):
    assert compare_with_itself(context) == (pytest.approx(0, abs=1e-4), pytest.approx(0, abs=1e-4))


def test_another_network_finds_one_and_the_replaced_dive_has_it_too(make_model, tiny_bank, query):
    model = make_model(antisymmetric=False)
    error, difference = compare_with_itself(
        VotingContext.build(model, query, tiny_bank, range(6), difficulty=DIFFICULTY)
    )
    assert error < 1e-4
    assert difference > 1e-2


def test_an_error_of_the_replacement_is_seen(context, monkeypatch):
    wrong = torch.zeros(6, 3, dtype=torch.float64)
    wrong[4, 1] = -0.01
    monkeypatch.setattr(checks, "regress_with", lambda *given: wrong)
    assert compare_with_itself(context)[0] == pytest.approx(0.01 * DIFFICULTY, abs=1e-4)


def test_shifted_borders_are_those_of_both_dives_and_stay_in_their_halves(context, tiny_model, tiny_bank):
    """By hand, one shift after the other; the snippets of a stage follow from the sum of both dives' transitions."""
    before, changes = context.votes.pairs.transitions, []
    for first, last in [(-2, -2), (-2, 0), (-2, 2), (0, -2), (0, 2), (2, -2), (2, 0), (2, 2)]:
        moved = before.clone()
        for pair in range(6):
            for dive in range(2):
                moved[pair, dive, 0] = min(max(int(before[pair, dive, 0]) + first, 0), 47)
                moved[pair, dive, 1] = min(max(int(before[pair, dive, 1]) + last, 48), 95)
        with torch.inference_mode():
            pairs = tiny_model.compare(context.query, tiny_bank.encodings, transitions=moved)
        executions = context.votes.exemplar_executions + pairs.delta[:, 0]
        changes.append(abs(float(executions.mean()) * DIFFICULTY - context.score))
    found = shift_borders(context)
    assert (found.frames, found.shifts) == (2, 8)
    assert found.mean == pytest.approx(sum(changes) / 8, abs=1e-4)
    assert found.largest == pytest.approx(max(changes), abs=1e-4)
    assert found.largest > 1e-3


def test_borders_where_they_were_change_nothing(context):
    again = context.rescore(context.query, context.votes.pairs.transitions)
    assert again == pytest.approx(context.score, abs=1e-4)


def test_a_deleted_snippet_is_the_mean_of_the_others(query):
    without = without_snippet(query, 3)
    others = [place for place in range(9) if place != 3]
    for found, kept in ((without.video, query.video), (without.mask, query.mask)):
        assert torch.allclose(found[0, 3], sum(kept[0, place] for place in others) / 8, atol=1e-6)
        assert torch.equal(found[0, others], kept[0, others])
    assert torch.allclose(without.fused[0, 3], without.video[0, 3] * without.mask[0, 3].sigmoid())


def test_single_frames_of_a_deleted_snippet_go_with_it(query):
    frames = torch.arange(96.0)[None, :, None].expand(1, 96, 2)
    without = without_snippet(replace(query, frames=frames), 8).frames[0, :, 0]
    assert torch.equal(without[:80], torch.arange(80.0))
    assert without[80:].tolist() == [39.5] * 16


def test_deletion_compares_the_chosen_snippet_with_the_others(context, tiny_model, tiny_bank):
    found = delete_snippets(context, 5)
    transitions = context.votes.pairs.transitions
    for place in (0, 5):
        with torch.inference_mode():
            pairs = tiny_model.compare(
                without_snippet(context.query, place), tiny_bank.encodings, transitions=transitions
            )
        execution = float((context.votes.exemplar_executions + pairs.delta[:, 0]).mean())
        assert found.changes[place] == pytest.approx(execution * DIFFICULTY - context.score, abs=1e-4)
    assert (found.snippet, found.change) == (5, found.changes[5])
    others = [abs(change) for place, change in enumerate(found.changes) if place != 5]
    assert found.others == pytest.approx(sum(others) / 8)


def test_a_dive_of_equal_snippets_loses_nothing(tiny_model, tiny_bank, query):
    flat = Encoding(query.video[:, :1].expand(-1, 9, -1), query.mask[:, :1].expand(-1, 9, -1))
    found = delete_snippets(VotingContext.build(tiny_model, flat, tiny_bank, range(6), difficulty=DIFFICULTY), 0)
    assert found.changes == pytest.approx((0,) * 9, abs=1e-4)


def test_a_frozen_flight_shows_its_first_picture_and_nothing_else_changes():
    pictures = np.arange(96, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    clip = Clip(pictures, np.arange(96), 30.0, "dive.mp4", "frames")
    frozen, frames = freeze_flight(clip, 1.0, 2.0)
    assert frames == 30
    assert (frozen.frames[30:60] == 30).all()
    assert (frozen.frames[:30] == pictures[:30]).all()
    assert (frozen.frames[60:] == pictures[60:]).all()
    assert (clip.frames == pictures).all()
    assert freeze_flight(clip, 9.0, 10.0)[1] == 0


def test_the_score_of_a_frozen_flight_is_that_of_its_encoding_by_the_same_voters(context):
    other = Encoding(*torch.rand(2, 1, 9, 32, generator=torch.Generator().manual_seed(6)))
    found = score_frozen(context, other, 40)
    assert found.score == pytest.approx(context.rescore(other))
    assert found.change == pytest.approx(found.score - context.score)
    assert found.frames == 40
    assert found.moves is (found.change <= -15)
    assert score_frozen(context, context.query, 40).change == pytest.approx(0, abs=1e-4)


@pytest.fixture
def assess(make_stages):
    """Make an assessment whose flight is from 1.0 to 2.0 s, at 25 frames a second."""

    def make(takeoff_s, entry_s, time_scale=1.0):
        found = {"flight_start_s": takeoff_s, "entry_start_s": entry_s, "time_scale": time_scale}
        return Assessment.model_construct(stages=make_stages(25, 50), **found)

    return make


def athlete(seen):
    joints = {"neck": (1.0, 1.0, 0.9)}
    return [
        AthleteFrame(time_s=index / 25, box=(0, 0, 9, 9) if index in seen else None, confidence=0.9, joints=joints)
        for index in range(96)
    ]


def test_stages_are_sure_where_borders_meet_the_dive_and_the_athlete_is_seen(assess):
    assert unsure_stages(assess(1.05, 1.9), athlete(range(96))) == {}
    assert unsure_stages(assess(1.05, 1.9), ()) == {}  # without a reader the borders alone tell


def test_a_border_far_from_take_off_or_entry_makes_both_its_stages_unsure(assess):
    early = unsure_stages(assess(0.6, 2.0), ())
    assert early == dict.fromkeys(("takeoff", "flight"), "its border is 0.40 s after the take-off in the video")
    late = unsure_stages(assess(1.0, 2.5), ())
    assert late == dict.fromkeys(("flight", "entry"), "its border is 0.50 s before the entry in the video")
    assert unsure_stages(assess(0.6, 2.0, time_scale=2.0), ()) == {}  # 0.2 real seconds


def test_without_take_off_or_entry_every_stage_is_unsure(assess):
    assert set(unsure_stages(assess(None, 2.0), ())) == {"takeoff", "flight", "entry"}
    assert set(unsure_stages(assess(1.0, None), ()).values()) == {"the entry is not found in the video"}


def test_a_stage_without_frames_is_unsure_and_why_is_said(assess, make_stages):
    assessment = assess(0.0, 2.0).model_copy(update={"stages": make_stages(0, 50)})
    for seen in ((), athlete(range(96))):
        assert unsure_stages(assessment, seen) == {"takeoff": "no frame of the clip is taken for it"}


def test_a_stage_whose_athlete_is_not_seen_is_unsure(assess):
    unseen = unsure_stages(assess(1.0, 2.0), athlete([*range(25), *range(50, 96)]))
    assert unseen == {"flight": "the athlete is seen in 0 of its 25 frames around the flight"}
    # Under water nobody is seen: of the entry only the first 0.12 s count, frames 50 to 53.
    assert unsure_stages(assess(1.0, 2.0), athlete(range(51))) == {}
    assert list(unsure_stages(assess(1.0, 2.0), athlete(range(50)))) == ["entry"]
