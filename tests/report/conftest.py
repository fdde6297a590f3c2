from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from finecausal_cli.assess.assessment import (
    Assessment,
    Attention,
    Interval,
    Intervention,
    Provenance,
    Stage,
    StageName,
    Vote,
)
from finecausal_cli.evaluation.metrics import temporal_iou
from finecausal_cli.evaluation.outcome import PROTOCOLS, Evaluation, Outcome, Protocol, Setting
from finecausal_cli.evaluation.predict import Prediction
from finecausal_cli.evaluation.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES: tuple[StageName, StageName, StageName] = ("takeoff", "flight", "entry")
WEIGHTS = (0.3, 0.5, 0.2)
BOUNDS = (0, 41, 77, 96)
FPS = 30.0


def _make(
    differences: list[tuple[float, float, float]],
    executions: list[float],
    *,
    difficulty: float = 3.3,
    source: str = "finals/round 3.mp4",
    dive: str | None = "5253B",
    start_s: float = 0.0,
) -> Assessment:
    """Return an assessment whose parts follow from the stage differences and executions of its voters."""
    weighted = [sum(w * d for w, d in zip(WEIGHTS, each, strict=True)) for each in differences]
    votes = tuple(
        Vote(
            exemplar=f"sim-5253B-{index:04d}",
            dive="5253B",
            execution=execution,
            similarity=0.98 - 0.01 * index,
            stage_differences=each,
            difference=total,
            score=(execution + total) * difficulty,
        )
        for index, (each, execution, total) in enumerate(zip(differences, executions, weighted, strict=True))
    )
    means = [sum(each[stage] for each in differences) / len(differences) for stage in range(3)]
    stages = tuple(
        Stage(
            name=NAMES[k],
            start_frame=BOUNDS[k],
            end_frame=BOUNDS[k + 1],
            start_s=start_s + BOUNDS[k] / FPS,
            end_s=start_s + BOUNDS[k + 1] / FPS,
            difference=means[k],
            weight=WEIGHTS[k],
            contribution=means[k] * WEIGHTS[k] * difficulty,
        )
        for k in range(3)
    )
    exemplar_score = sum(executions) / len(executions) * difficulty
    score = exemplar_score + sum(stage.contribution for stage in stages)
    changes = [
        (-stages[0].contribution, 0.114, -0.067),
        (0.0, -stages[1].contribution, 0.233),
        (0.0, 0.0, -stages[2].contribution),
    ]
    return Assessment(
        source=source,
        score=score,
        execution=score / difficulty,
        difficulty=difficulty,
        difficulty_from="listed for 5253B at 10 m",
        dive=dive,
        dive_from="recognised from the video, 94% sure",
        height_m=10.0,
        exemplar_score=exemplar_score,
        interval=Interval(low=score - 4.2, high=score + 4.2, level=0.9),
        stages=stages,  # type: ignore[arg-type]
        votes=votes,
        attention=Attention(
            node_types=(
                (0.0286, 0.0310, 0.0250, 0.0301),
                (0.0280, 0.0290, 0.0270, 0.0311),
                (0.0266, 0.0300, 0.0260, 0.0321),
                (0.0276, 0.0320, 0.0280, 0.0331),
            ),
            node_uniform=1 / 35,
            stages=((1.0, 0.0, 0.0), (0.4, 0.6, 0.0), (0.2, 0.33, 0.47)),
        ),
        interventions=tuple(
            Intervention(
                stage=NAMES[k],
                replaced_by="exemplar",
                score=score + sum(changes[k]),
                change=sum(changes[k]),
                stage_changes=changes[k],
            )
            for k in range(3)
        ),
        provenance=Provenance(
            version="0.1.0",
            weights="bundled",
            weights_digest="3f2a" * 16,
            weights_note="Trained on simulated dives only; not calibrated for competition footage.",
            bank="bundled",
            bank_digest="ab12" * 16,
            exemplars_chosen="2 of 48 with the same dive number, nearest by encoding",
            device="cpu",
            precision="fp32",
            decoder="decord",
            seconds=3.21,
        ),
        notes=("only 71 distinct frames: 25 of the 96 sampled frames repeat a neighbour",),
    )


@pytest.fixture(scope="session")
def make_assessment() -> Callable[..., Assessment]:
    return _make


@pytest.fixture
def assessment() -> Assessment:
    return _make([(0.3, -1.1, 2.2), (0.5, -1.31, 1.4)], [24.0, 25.5])


NUMBERS = ("107B", "5253B", "626C", "405C", None)


def _evaluate(
    *,
    dives: int = 20,
    key: str = "videos/{:05d}.mp4",
    dataset: str = "dives",
    interval: bool = True,
    staged: bool = True,
    protocols: bool = False,
    caveats: tuple[str, ...] = (),
    shifted: bool = False,
    lift: float = 0.0,
) -> Evaluation:
    """Return an evaluation of made-up dives: errors of -4, -2, 0, 2, 4 points and ``lift`` in turn."""
    predictions = _predict(dives, key, staged=staged, lift=lift)

    def outcome(protocol: Protocol, predictions: tuple[Prediction, ...] = predictions) -> Outcome:
        recognised = None if protocol.dive_given else 0.75
        return Outcome(protocol, summarise(predictions), predictions, 0.6 if interval else None, recognised)

    return Evaluation(
        setting=Setting(dataset, "test", "train", 0, "mine/best", "d1" * 32, gat=True, tca=True),
        main=outcome(Protocol()),
        others=tuple(outcome(protocol) for protocol in PROTOCOLS[1:]) if protocols else (),
        interval_level=0.9 if interval else None,
        interval_half_width=1.0 if interval else None,
        interval_width=5.1 if interval else None,
        caveats=caveats,
        shifted=outcome(Protocol(), _predict(dives, key, staged=staged, lift=lift + 3)) if shifted else None,
    )


def _predict(dives: int, key: str, *, staged: bool, lift: float) -> tuple[Prediction, ...]:
    true, seen = (30, 70), (32, 69)
    return tuple(
        Prediction(
            key.format(index),
            NUMBERS[index % 5],
            score := 40 + 2.5 * index,
            score + 2 * (index % 5 - 2) + lift,
            60.0 + index % 2,
            1.6 + 0.1 * index,
            seen,
            temporal_iou(true, seen) if staged else None,
            10,
            true if staged else None,
            0.9 if staged else None,
            NUMBERS[index % 5],
        )
        for index in range(dives)
    )


@pytest.fixture(scope="session")
def make_evaluation() -> Callable[..., Evaluation]:
    return _evaluate
