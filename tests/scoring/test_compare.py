import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from finecausal_cli.errors import BankError, UsageError, VideoError
from finecausal_cli.retrieval.voting import choose_voters
from finecausal_cli.scoring import CompareOptions, ScoreOptions
from finecausal_cli.scoring.compare import compare_dives, exchange_stages
from finecausal_cli.scoring.comparison_results import Comparison
from finecausal_cli.scoring.dive_reading import read_dives, reading_process
from finecausal_cli.video.writer import write_video

FORCED = CompareOptions(force=True)  # the films show no dive
OF_107B = replace(FORCED, dive="107b", height_m=10)


SEARCHED = {}


def searched_once(scorer):
    """Let scorers of one geometry share what the search found: it is the same for all, and takes most of the time."""
    locate = scorer.locate

    def once(path, options, ahead=None):
        if (path, options) not in SEARCHED:
            SEARCHED[path, options] = locate(path, options)
        return SEARCHED[path, options]

    scorer.locate = once
    return scorer


@pytest.fixture(scope="module")
def rise(tmp_path_factory):
    """Another clip: a square rises."""
    frames = np.random.default_rng(1).integers(60, 160, (60, 36, 64, 3), np.uint8)
    for index in range(60):
        top = 28 - index // 2 if index < 56 else 0
        frames[index, top : top + 8, 20:30] = 250
    path = tmp_path_factory.mktemp("rise") / "other.mp4"
    write_video(path, frames, 30)
    return path


@pytest.fixture(scope="module")
def scorer(tiny_model, make_scorer):
    return searched_once(make_scorer(tiny_model, note="made up"))


@pytest.fixture(scope="module")
def comparison(scorer, film, rise):
    return compare_dives(scorer, str(film), str(rise), OF_107B)[0]


def test_the_stages_add_up_to_the_difference(comparison):
    assert sum(stage.contribution for stage in comparison.stages) == pytest.approx(comparison.difference, abs=1e-4)
    assert abs(comparison.difference) > 0.01
    assert comparison.points == pytest.approx(3.0 * comparison.difference)
    for stage, weight in zip(comparison.stages, (0.3, 0.5, 0.2), strict=True):
        assert stage.contribution == pytest.approx(weight * stage.difference)
        assert stage.points == pytest.approx(3.0 * stage.contribution)


def test_the_other_order_gives_the_negated_numbers(scorer, film, rise, comparison):
    swapped, _ = compare_dives(scorer, str(rise), str(film), OF_107B)
    assert comparison.antisymmetric
    assert comparison.reversal_error < 1e-4
    assert swapped.difference == pytest.approx(-comparison.difference, abs=1e-4)
    assert (swapped.query.stages, swapped.exemplar.stages) == (comparison.exemplar.stages, comparison.query.stages)
    for ours, theirs in zip(comparison.stages, swapped.stages, strict=True):
        assert theirs.difference == pytest.approx(-ours.difference, abs=1e-4)
    other = {"query": "exemplar", "exemplar": "query"}
    changes = {(one.stage, other[one.given_to]): one.stage_changes for one in swapped.exchanges}
    for one in comparison.exchanges:
        assert changes[one.stage, one.given_to] == pytest.approx([-part for part in one.stage_changes], abs=1e-4)
    assert swapped.attention.query_stages[2] == pytest.approx(comparison.attention.exemplar_stages[2], abs=1e-5)


def test_weights_that_are_not_antisymmetric_say_so(make_model, make_scorer, film, rise):
    scorer = searched_once(make_scorer(make_model(antisymmetric=False)))
    found, _ = compare_dives(scorer, str(film), str(rise), FORCED)
    assert not found.antisymmetric
    assert found.reversal_error > 1e-3
    assert any("not exactly the negated" in note for note in found.notes)


def test_a_dive_against_itself_differs_by_nothing(scorer, film):
    found, _ = compare_dives(scorer, str(film), str(film), OF_107B)
    assert found.difference == pytest.approx(0, abs=3e-5)  # float32 sums: 1.2e-5 on some processors
    assert all(one.change == pytest.approx(0, abs=3e-5) for one in found.exchanges)


def test_an_exchange_changes_its_stage_and_later_ones_only(comparison):
    assert [(one.given_to, one.stage) for one in comparison.exchanges] == [
        (dive, stage) for dive in ("query", "exemplar") for stage in ("takeoff", "flight", "entry")
    ]
    for one in comparison.exchanges:
        place = ("takeoff", "flight", "entry").index(one.stage)
        assert one.stage_changes[:place] == pytest.approx([0.0] * place, abs=1e-5)
        assert abs(one.stage_changes[place]) > 1e-4
        assert one.difference == pytest.approx(comparison.difference + one.change, abs=1e-5)
        assert sum(one.stage_changes) == pytest.approx(one.change)


def test_the_last_stage_exchanged_differs_by_nothing_any_more(comparison):
    # With equal entries the entry adds only what the earlier stages still make of it, which nothing but the causal
    # attention carries; with the causal attention off, nothing at all.
    entry = comparison.stages[2].contribution
    for one in comparison.exchanges:
        if one.stage == "entry":
            assert abs(entry + one.stage_changes[2]) < abs(entry)


def test_without_causal_attention_an_exchanged_stage_is_level(make_model, tiny_bank):
    model = make_model(tca=False)
    with torch.inference_mode():
        pairs = model.compare(tiny_bank.encodings.select(0), tiny_bank.encodings.select(1))
    before = pairs.stage_deltas[0, 0].double() * torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
    for one in exchange_stages(model, pairs):
        place = ("takeoff", "flight", "entry").index(one.stage)
        assert one.stage_changes[place] == pytest.approx(-float(before[place]), abs=1e-5)
        assert one.change == pytest.approx(-float(before[place]), abs=1e-5)


def test_times_are_those_of_each_video(comparison):
    assert comparison.query.stages[2].end_s == pytest.approx(2.0)  # 50 frames at 25 a second
    assert comparison.exemplar.stages[2].end_s == pytest.approx(2.0)  # 60 at 30
    for dive, frames, fps in ((comparison.query, 50, 25), (comparison.exemplar, 60, 30)):
        flight = dive.stages[1]
        assert flight.start_s == pytest.approx(int(flight.start_frame * (frames - 1) / 95) / fps)


@pytest.mark.thorough
def test_each_dive_has_a_range_of_its_own(scorer, film, rise):
    options = replace(OF_107B, start_s=0.4, end_s=1.6, b_start_s=0.5)
    found, _ = compare_dives(scorer, str(film), str(rise), options)
    assert (found.query.stages[0].start_s, found.query.stages[2].end_s) == pytest.approx((0.4, 1.6))
    assert (found.exemplar.stages[0].start_s, found.exemplar.stages[2].end_s) == pytest.approx((0.5, 2.0))


def test_without_a_known_execution_there_is_no_score(comparison):
    assert (comparison.query.score, comparison.query.execution, comparison.exemplar.score) == (None, None, None)
    assert "--execution" in comparison.execution_from


@pytest.mark.parametrize("known", [{"execution": 20.0}, {"score": 60.0}])
def test_a_known_execution_makes_scores(scorer, film, rise, comparison, known):
    found, _ = compare_dives(scorer, str(film), str(rise), replace(OF_107B, **known))
    assert found.exemplar.execution == pytest.approx(20)
    assert found.exemplar.score == pytest.approx(60)
    assert found.query.score == pytest.approx(60 + comparison.points, abs=1e-4)


@pytest.mark.thorough
def test_the_bank_can_judge_the_second_dive(scorer, film, rise, comparison):
    found, _ = compare_dives(scorer, str(film), str(rise), replace(OF_107B, ask_bank=True))
    alone = scorer.score(str(rise), ScoreOptions(force=True, dive="107B", height_m=10))
    assert found.exemplar.score == pytest.approx(alone.score, abs=1e-4)
    assert found.query.score == pytest.approx(alone.score + comparison.points, abs=1e-4)
    assert "4 of 4 exemplars of 107B" in found.execution_from


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        (("107B", "107B"), None),
        (("107B", "305C"), "A is 107B, B 305C: this compares the bodies of different dives"),
        (("107B", None), "the dive number of B is not sure: this may compare the bodies of different dives"),
        ((None, None), "the dive number of A and B is not sure"),
    ],
)
def test_numbers_that_differ_or_are_not_sure_are_said(scorer, film, rise, monkeypatch, numbers, says):
    found = iter(numbers)
    monkeypatch.setattr(scorer, "recognise", lambda query, track: next(found))
    found, _ = compare_dives(scorer, str(film), str(rise), FORCED)
    assert (found.query.dive, found.exemplar.dive) == numbers
    said = [note for note in found.notes if "different dives" in note]
    assert len(said) == (says is not None)
    assert all(note.startswith(says) and "may rank the two otherwise" in note for note in said)


def test_a_number_is_recognised_as_score_recognises_it(scorer, film, monkeypatch):
    query = scorer.encode_dive(scorer.locate(str(film), ScoreOptions(force=True)))
    choice = choose_voters(scorer.bank, query, dive="107B")
    unsure = replace(choice, is_sure=False)
    for chosen, number in ((choice, "107B"), (unsure, None), (BankError("an empty bank"), None)):
        monkeypatch.setattr(scorer, "_choose", lambda *_, chosen=chosen: chosen)
        assert scorer.recognise(query, None) == number


def test_a_number_that_is_given_is_that_of_both_dives(comparison):
    assert (comparison.query.dive, comparison.exemplar.dive) == ("107B", "107B")
    assert not any("different dives" in note for note in comparison.notes)


def test_without_a_difficulty_nothing_is_in_points(scorer, film, rise, comparison):
    found, _ = compare_dives(scorer, str(film), str(rise), replace(FORCED, execution=20))
    assert (found.difficulty, found.points, found.stages[0].points, found.query.score) == (None, None, None, None)
    assert found.difference == pytest.approx(comparison.difference, abs=1e-5)
    assert found.query.execution == pytest.approx(20 + found.difference)


def test_pictures_come_when_asked_for(scorer, film, rise):
    assert compare_dives(scorer, str(film), str(rise), FORCED)[1] is None
    _, evidence = compare_dives(scorer, str(film), str(rise), replace(FORCED, picture_size=64))
    for one, source in zip(evidence, (film, rise), strict=True):
        assert one.frames.shape[:3] == one.masks.shape
        assert one.source_frames[-1] == (49 if source == film else 59)


@pytest.mark.parametrize("left_out", ["gat", "tca"])
def test_a_network_without_attention_tells_none(make_model, make_scorer, film, rise, left_out):
    found, _ = compare_dives(searched_once(make_scorer(make_model(**{left_out: False}))), str(film), str(rise), FORCED)
    assert found.attention is None


def test_a_stored_comparison_is_read_back_equal(comparison):
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"execution": 20.0, "ask_bank": True}, "give one of them"),
        ({"execution": 31.0}, "--execution"),
        ({"execution": float("nan")}, "--execution"),
        ({"score": -1.0}, "--score"),
        ({"difficulty": 0.0}, "--difficulty"),
        ({"height_m": 4.0}, "--height"),
        ({"height_m": float("nan")}, "--height"),
        ({"voters": 3}, "--most-exemplars is for exemplars of the bank"),
        ({"seed": 1, "execution": 20.0}, "add --ask-bank"),
    ],
)
def test_options_that_contradict_themselves_are_refused(given, says):
    with pytest.raises(UsageError, match=says):
        CompareOptions(**given)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (CompareOptions(score=60), "needs a difficulty"),
        (CompareOptions(score=120, difficulty=3), "more than judges can give"),
        (CompareOptions(dive="907B"), "907B"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_dive_is_read(scorer, options, says):
    with pytest.raises(UsageError, match=says):
        compare_dives(scorer, "missing.mp4", "missing too.mp4", options)


def test_a_clip_that_cannot_be_read_is_named(scorer, film):
    with pytest.raises(VideoError, match="missing"):
        compare_dives(scorer, str(film), "missing.mp4", FORCED)


@pytest.mark.usefixtures("breaks_again")
def test_pictures_that_hang_end_with_the_time_limit(tiny_model, make_scorer, film, rise, tmp_path):
    hangs = shutil.copy(film, tmp_path / "hang.mp4")
    limited = replace(FORCED, picture_size=64, timeout_s=1)
    with reading_process() as process:
        ahead = SimpleNamespace(result=read_dives, process=process)  # only the second reading is asked of the process
        with pytest.raises(VideoError, match=r"Reading took longer than 1 s") as caught:
            compare_dives(make_scorer(tiny_model), str(hangs), str(rise), limited, ahead=(ahead, None))
    assert (caught.value.kind, caught.value.where) == ("timeout", str(hangs))
