"""An explanation as a whole: on the smallest network and bank, and on the weights that ship."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.scoring import ExplainOptions, ScoreOptions
from finecausal_cli.scoring.dive_reading import read_dives, reading_process
from finecausal_cli.scoring.results import Explanation
from finecausal_cli.scoring.scorer import Scorer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dives"
OF_107B = ScoreOptions(force=True, dive="107B", height_m=10.0)
STAGES = ("takeoff", "flight", "entry")


@pytest.fixture(scope="module")
def scorer(tiny_model, make_scorer):
    return make_scorer(tiny_model)


@pytest.fixture(scope="module")
def small(scorer, film):
    return scorer.explain(str(film), OF_107B)


@pytest.fixture(scope="module")
def shipped_scorer():
    return Scorer.load("compact", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def shipped(shipped_scorer):
    clip = sorted(EXAMPLES.glob("107B-10m-*.mp4"))[0]
    return shipped_scorer.explain(str(clip), OF_107B)


@pytest.fixture(params=["small", "shipped"])
def explained(request):
    return request.getfixturevalue(request.param)


def test_sums_and_the_comparison_with_itself_hold(explained):
    found, _ = explained
    checks, assessment = found.checks, found.assessment
    assert checks.holds
    assert max(checks.decomposition_error, checks.self_error, checks.self_difference) < 1e-4
    total = assessment.exemplar_score + sum(stage.contribution for stage in assessment.stages)
    assert total == pytest.approx(assessment.score, abs=1e-4)
    for one in found.interventions:
        assert sum(one.stage_changes) == pytest.approx(one.change, abs=1e-4)
        assert assessment.score + one.change == pytest.approx(one.score, abs=1e-4)
        assert one.stage_changes[: STAGES.index(one.stage)] == pytest.approx((0,) * STAGES.index(one.stage), abs=1e-4)


def test_stages_are_replaced_by_the_voters_own_and_by_the_banks_mean_and_best(shipped):
    found, _ = shipped
    assert [one.stage for one in found.interventions] == [*STAGES] * 3
    assert [one.replaced_by for one in found.rankings] == ["exemplar", "bank_mean", "bank_best"]
    assert (found.bank_mean.dive, found.bank_mean.exemplars) == ("107B", 10)
    assert (found.bank_best.dive, found.bank_best.exemplars) == ("107B", 2)
    assert found.ranking == found.rankings[0]
    assert found.ranking.changes[0] == max(one.change for one in found.interventions[:3])


def test_the_verdict_is_the_one_that_scoring_gives(scorer, film, small):
    plain = scorer.score(str(film), OF_107B)
    told = small[0].assessment
    assert told.score == pytest.approx(plain.score, abs=1e-4)
    assert [vote.exemplar for vote in told.votes] == [vote.exemplar for vote in plain.votes]
    assert [stage.start_frame for stage in told.stages] == [stage.start_frame for stage in plain.stages]


def test_it_survives_json(explained):
    found, _ = explained
    assert Explanation.model_validate_json(found.model_dump_json()) == found
    assert found.schema_version == 4


def test_attention_and_snippets_speak_of_the_same(explained):
    found, _ = explained
    graph = np.asarray(found.graph_attention.nodes)
    assert graph.sum(0) == pytest.approx(np.ones(36), abs=1e-4)
    shares = [one.attention for one in found.snippets]
    assert sum(shares) == pytest.approx(1, abs=1e-6)
    given = graph.sum(1)
    assert shares[4] == pytest.approx((given[4] + given[22]) / (given[:9].sum() + given[18:27].sum()))
    assert found.snippets[4].fused_attention == pytest.approx(given[22] / 35)
    assert found.checks.deletion.snippet == int(np.argmax(shares))
    assert [one.start_frame for one in found.snippets] == list(range(0, 81, 10))
    for one in found.snippets:
        assert sum(one.stage_shares) == pytest.approx(1)
        assert one.start_s < one.end_s


def test_snippets_times_are_those_of_the_source(small):
    """50 frames at 25 a second: sampled frame k is frame floor(k * 49 / 95)."""
    snippets = small[0].snippets
    assert snippets[2].start_s == pytest.approx(int(20 * 49 / 95) / 25)
    assert snippets[2].end_s == pytest.approx(int(36 * 49 / 95) / 25)
    assert snippets[8].end_s == pytest.approx(2.0)


def test_masks_and_shares_agree(shipped):
    found, evidence = shipped
    assert evidence.frames.shape == (*evidence.masks.shape, 3)
    top, left, height, width = evidence.crop
    inside = evidence.masks[:, top : top + height, left : left + width]
    assert inside.sum() == evidence.masks.sum() > 0
    # Outlines are drawn from scaled probabilities, so a share may differ by the width of an outline.
    assert inside.mean() == pytest.approx(np.mean(found.foreground.frames), rel=0.15)
    takeoff = found.assessment.stages[0]
    assert found.foreground.stages[0] == pytest.approx(np.mean(found.foreground.frames[: takeoff.end_frame]))


def test_the_backgrounds_are_the_banks_where_it_has_pictures(shipped, small):
    assert [one.background for one in shipped[0].backgrounds] == ["bank_mean", "bank_mean", "exemplar", "exemplar"]
    assert {one.background for one in small[0].backgrounds} <= {"own_mean", "own_colour"}
    assert any("no pictures" in note for note in small[0].notes)
    for found, _ in (shipped, small):
        for one in found.backgrounds:
            assert one.score - found.assessment.score == pytest.approx(one.change, abs=1e-9)


def test_layer_and_head_are_those_asked_for(scorer, film, small, tiny_bank):
    one, _ = scorer.explain(str(film), OF_107B, ExplainOptions(layer=2, head=3, backgrounds=False, picture_size=None))
    assert (one.graph_attention.layer, one.graph_attention.head) == (2, 3)
    assert one.backgrounds == ()
    assert not np.allclose(one.graph_attention.nodes, small[0].graph_attention.nodes, atol=1e-4)
    assert one.interventions == small[0].interventions


def test_pictures_at_the_working_size_when_asked(scorer, film):
    _, evidence = scorer.explain(str(film), OF_107B, ExplainOptions(backgrounds=False, picture_size=None))
    assert evidence.frames.shape[1] == 37  # 32 * 128 / 112
    assert evidence.crop[2:] == (32, 32)


def test_without_a_known_number_there_is_no_bank_mean_and_that_is_said(scorer, film):
    found, _ = scorer.explain(
        str(film), ScoreOptions(force=True, dive="101A", difficulty=2.0), ExplainOptions(backgrounds=False)
    )
    assert found.bank_mean is found.bank_best is None
    assert len(found.rankings) == 1
    assert any("the bank has no 101A" in note for note in found.notes)


@pytest.mark.parametrize("left_out", ["gat", "tca"])
def test_a_network_without_a_module_is_explained_without_it(make_model, make_scorer, film, left_out):
    scorer = make_scorer(make_model(**{left_out: False}))
    found, _ = scorer.explain(str(film), OF_107B, ExplainOptions(backgrounds=False, picture_size=None))
    assert found.checks.holds
    assert (found.graph_attention is None) == (found.checks.deletion is None) == (left_out == "gat")
    assert (found.stage_attention is None) == (left_out == "tca")
    assert (found.snippets[0].attention is None) == (left_out == "gat")


@pytest.mark.parametrize("given", [{"layer": 0}, {"layer": 3}, {"head": 5}, {"picture_size": 10}])
def test_what_is_not_there_cannot_be_asked_for(given):
    with pytest.raises(UsageError):
        ExplainOptions(**given)


def test_scoring_computes_none_of_it(scorer, film, monkeypatch):
    """A score is one encoding without the foreground and one comparison."""
    calls = []
    model = scorer.model
    planned, compare = scorer._encode, model.compare
    encode = planned._encode
    monkeypatch.setattr(
        planned, "_encode", lambda *a, **k: calls.append(k.get("foreground", "none")) or encode(*a, **k)
    )
    monkeypatch.setattr(model, "compare", lambda *a, **k: calls.append("compare") or compare(*a, **k))
    scorer.score(str(film), OF_107B)
    assert calls == ["none", "compare"]


@pytest.mark.usefixtures("breaks_again")
def test_pictures_that_hang_end_with_the_time_limit_in_the_process_that_read_the_dive(scorer, film, small, tmp_path):
    hangs = shutil.copy(film, tmp_path / "hang.mp4")
    limited, plain = replace(OF_107B, timeout_s=1), ExplainOptions(backgrounds=False)
    read = read_dives(film, OF_107B.wanted, scorer.viewing)  # only the second reading is asked of the process
    with reading_process() as process:
        ahead = SimpleNamespace(result=lambda *_: read, process=process)
        with pytest.raises(VideoError, match=r"Reading took longer than 1 s") as caught:
            scorer.explain(str(hangs), limited, plain, ahead=ahead)
        _, evidence = scorer.explain(str(film), replace(limited, timeout_s=60), plain, ahead=ahead)
        assert process.pid is not None
    assert (caught.value.kind, caught.value.where) == ("timeout", str(hangs))
    assert np.array_equal(evidence.frames, small[1].frames)
