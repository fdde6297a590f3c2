import pytest
import torch

from benchmarks.explanations import (
    Disturbed,
    disturb,
    figures,
    summarise_backgrounds,
    summarise_deletion,
    summarise_jitter,
)
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.evaluation.predict import bank_of
from finecausal_cli.retrieval.bank import encode_dives
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.results import BackgroundChange, Deletion, Jitter
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.weights import WeightsInfo


@pytest.fixture(scope="module")
def clips():
    return ClipCache(None, geometry="fit", frame_size=32)


@pytest.fixture(scope="module")
def scorer(tiny_model, dataset, clips):
    training = [dive for dive in read_dataset(dataset) if dive.split == "train"]
    return Scorer(
        tiny_model,
        bank_of(encode_dives(tiny_model, training, clips), name="made", weights_digest="w" * 64),
        info=WeightsInfo(),
        weights_name="tiny",
        weights_digest="w" * 64,
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module")
def held_out(dataset):
    return [dive for dive in read_dataset(dataset) if dive.split == "test"][:2]


@pytest.mark.thorough
def test_a_dive_is_disturbed_as_its_explanation_says(scorer, held_out, clips):
    """The two ways to the same numbers: over a data set, and one file as a user explains it."""
    seen = []
    disturbed = disturb(scorer, held_out, clips, backgrounds=True, advance=lambda: seen.append(1))
    assert len(seen) == 2
    for dive, one in zip(held_out, disturbed, strict=True):
        found, _ = scorer.explain(
            str(dive.video), ScoreOptions(force=True, dive=dive.number, difficulty=dive.difficulty)
        )
        assert one.key == dive.key
        assert one.score == pytest.approx(found.assessment.score, abs=1e-3)
        assert one.deletion.changes == pytest.approx(found.checks.deletion.changes, abs=1e-3)
        assert one.deletion.snippet == found.checks.deletion.snippet
        assert one.jitter.largest == pytest.approx(found.checks.jitter.largest, abs=1e-3)
        assert one.self_error < 1e-4
        told = [(change.background, change.end_frame) for change in found.backgrounds]
        assert [(change.background, change.end_frame) for change in one.backgrounds] == told
        changes = [change.change for change in found.backgrounds]
        assert [change.change for change in one.backgrounds] == pytest.approx(changes, abs=1e-3)
    assert disturb(scorer, held_out[:1], clips, backgrounds=False)[0].backgrounds == ()


def made(score, *, deletion=None, jitter=(0.0, 0.0), backgrounds=()):
    return Disturbed(
        key=str(score),
        score=score,
        self_error=score / 1e9,
        jitter=Jitter(frames=2, shifts=8, mean=jitter[0], largest=jitter[1]),
        deletion=deletion,
        backgrounds=tuple(
            BackgroundChange(
                background="bank_mean",
                description="made",
                exemplar=None,
                score=score + change,
                change=change,
                end_frame=end_frame,
            )
            for change, end_frame in backgrounds
        ),
    )


def deletion(snippet, *changes):
    others = [abs(change) for place, change in enumerate(changes) if place != snippet]
    return Deletion(snippet=snippet, change=changes[snippet], others=sum(others) / len(others), changes=changes)


def test_deletion_counts_by_hand():
    found = summarise_deletion(
        [
            made(50, deletion=deletion(1, 0, -4, 1, 0, 0, 0, 0, 0, 3)),  # more than the others, and the most
            made(60, deletion=deletion(0, 2, 0, 0, 0, 0, 0, 0, 0, -8)),  # more than the others' mean of 1
            made(70, deletion=deletion(2, 0, 0, 0, 8, 0, 0, 0, 0, 0)),  # less
        ]
    )
    assert (found.dives, found.more, found.most) == (3, 2, 1)
    assert found.highest == pytest.approx((4 + 2 + 0) / 3)
    assert found.others == pytest.approx((0.5 + 1 + 1) / 3)
    assert found.more_low < 2 / 3 < found.more_high


def test_without_graph_attention_there_is_no_deletion():
    assert summarise_deletion([made(50)]) is None
    assert figures([made(50)])["deletion"] is None


def test_jitter_counts_by_hand():
    found = summarise_jitter([made(50, jitter=(0.2, 1.0)), made(60, jitter=(0.4, 3.0))])
    assert (found.dives, found.frames, found.largest) == (2, 2, 3.0)
    assert (found.mean, found.largest_mean) == (pytest.approx(0.3), pytest.approx(2.0))


def test_backgrounds_are_told_apart_by_how_far_they_reach():
    dives = [made(50, backgrounds=[(-4, 96), (1, 70)]), made(60, backgrounds=[(-20, 96), (-1, 71)])]
    whole, before = summarise_backgrounds(dives)
    assert (whole.before_entry, before.before_entry) == (False, True)
    assert (whole.mean, whole.absolute) == (-12, 12)
    assert (before.mean, before.absolute) == (0, 1)
    assert (whole.rho, before.rho) == (pytest.approx(-1), pytest.approx(1))


def test_the_worst_self_comparison_is_told():
    assert figures([made(50), made(90), made(70)])["self_error"] == pytest.approx(90e-9)
