from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from finecausal_cli.batch.records import Row
from finecausal_cli.evaluation.predict import Prediction, summarise, temporal_iou
from finecausal_cli.evaluation.run import PROTOCOLS, Evaluation, EvaluationSettings, Outcome, Protocol
from finecausal_cli.scoring.background import Evidence
from finecausal_cli.scoring.results import (
    Assessment,
    Attention,
    BackgroundChange,
    BankMean,
    Candidate,
    Checks,
    Deletion,
    Explanation,
    Foreground,
    FrozenFlight,
    GraphAttention,
    Interval,
    Jitter,
    Measurement,
    Provenance,
    Ranking,
    Replacement,
    Snippet,
    Stage,
    StageAttention,
    StageIntervention,
    StageName,
    Vote,
)

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


@pytest.fixture(scope="session")
def without_points() -> Callable[[Assessment], Assessment]:
    """Take the number of an assessed dive away, and with it the points."""

    def take(assessment: Assessment) -> Assessment:
        return assessment.model_copy(
            update={
                "score": None,
                "points_withheld": "the dive number is not sure: name it with --dive, or give --difficulty",
                "difficulty": None,
                "difficulty_from": "not known, as the dive number is not sure",
                "dive": None,
                "dive_from": "not sure: perhaps 5253B 55%, 5251B 30%",
                "candidates": (
                    Candidate(dive="5253B", probability=0.55, difficulty=(3.2, 3.2), score=(80.0, 80.0)),
                    Candidate(dive="5251B", probability=0.3, difficulty=(2.2, 2.6), score=(55.0, 65.0)),
                    Candidate(dive="109A", probability=0.01, difficulty=None, score=None),
                ),
                "height_m": None,
                "height_from": "not sure: 10 m, or 7.5 m by the 1.66 s in the air",
                "height_candidates": (10.0, 7.5),
                "exemplar_score": None,
                "interval": Interval(low=7.1, high=8.9, level=0.9, unit="marks"),
                "stages": tuple(stage.model_copy(update={"contribution": None}) for stage in assessment.stages),
                "votes": tuple(vote.model_copy(update={"score": None}) for vote in assessment.votes),
            }
        )

    return take


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
        setting=EvaluationSettings(dataset, "test", "train", 0, "mine/best", "d1" * 32, gat=True, tca=True),
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


@pytest.fixture(scope="session")
def make_explanation() -> Callable[..., Explanation]:
    return _explain


@pytest.fixture
def explanation() -> Explanation:
    return _explain()


@pytest.fixture(scope="session")
def evidence() -> Evidence:
    return _evidence()


def _explain(
    assessment: Assessment | None = None,
    *,
    bank_mean: bool = True,
    backgrounds: bool = True,
    graph: bool = True,
    tca: bool = True,
    jitter: float = 0.3,
    layer: int | None = None,
    heads: int = 1,
    text: str = "",
    unsure: dict[StageName, str] | None = None,
) -> Explanation:
    """Return an explanation of a made-up assessment whose parts follow from each other.

    The exemplars' stage takes the stage's contribution away and adds a tenth of that to each later stage; the bank's
    mean gives half as much, its best a third more. Snippet 6 has most attention. ``text`` stands for whatever comes
    from outside.
    """
    assessment = assessment or _make([(0.3, -1.1, -2.2), (0.5, -1.31, -1.4)], [24.0, 25.5], source=text or "dive.mp4")
    kinds: tuple[Replacement, ...] = ("exemplar", "bank_mean", "bank_best") if bank_mean else ("exemplar",)
    interventions = tuple(_replace(assessment, k, kind) for kind in kinds for k in range(3))
    shares = np.array([8, 9, 10, 11, 12, 13, 20, 9, 8]) / 100
    return Explanation(
        assessment=assessment,
        unit=assessment.unit,
        measurements=_measurements(text),
        unsure_stages=unsure or {},
        interventions=interventions,
        rankings=tuple(_rank(interventions, kind) for kind in kinds),
        bank_mean=BankMean(dive=text or "5253B", exemplars=7) if bank_mean else None,
        bank_best=BankMean(dive=text or "5253B", exemplars=1) if bank_mean else None,
        checks=Checks(
            tolerance=1e-4,
            decomposition_error=2e-7,
            self_error=3e-6,
            self_difference=0.0,
            holds=True,
            jitter=Jitter(frames=2, shifts=8, mean=jitter / 3, largest=jitter),
            deletion=Deletion(
                snippet=6, change=-1.2, others=0.4, changes=(0.1, 0.2, -0.3, 0.4, 0.5, -0.6, -1.2, 0.8, 0.3)
            )
            if graph
            else None,
            frozen_flight=FrozenFlight(score=assessment.value - 17.25, change=-17.25, frames=44, moves=True),
        ),
        backgrounds=(
            BackgroundChange(
                background="bank_mean",
                description=text or "mean of the voters' thumbnails",
                exemplar=None,
                score=assessment.value - 2.5,
                change=-2.5,
            ),
        )
        if backgrounds
        else (),
        foreground=Foreground(stages=(0.031, 0.022, 0.008), frames=tuple(0.02 for _ in range(96))),
        snippets=tuple(_snippet(place, float(share) if graph else None) for place, share in enumerate(shares)),
        graph_attention=_graph(layer) if graph else None,
        stage_attention=_stage_attention(heads) if tca else None,
        notes=(text or "the bank's mean is over 7 dives only",),
    )


def _measurements(text: str) -> tuple[Measurement, ...]:
    return (
        Measurement(name="air_time", value=1.43, unit="s", error=0.05),
        Measurement(name="half_somersaults", value=5, unit="half somersaults", error=None, probability=0.97),
        Measurement(name="rotation", value=812.4, unit="deg/s", error=61.0),
        Measurement(name="entry_angle", value=-6.2, unit="deg", error=8.0),
        Measurement(name="takeoff_lean", value=None, unit="deg", error=None, reason=text or "filmed along the dive"),
    )


def _replace(assessment: Assessment, place: int, kind: Replacement) -> StageIntervention:
    gain = -assessment.stage_values[place] * {"exemplar": 1, "bank_mean": 1 / 2, "bank_best": 4 / 3}[kind]
    changes = tuple(0.0 if k < place else gain if k == place else gain / 10 for k in range(3))
    return StageIntervention(
        stage=NAMES[place],
        replaced_by=kind,
        score=assessment.value + sum(changes),
        change=sum(changes),
        stage_changes=changes,  # type: ignore[arg-type]
        voters_gaining=len(assessment.votes) if gain > 0 else 0,
    )


def _rank(interventions: tuple[StageIntervention, ...], kind: Replacement) -> Ranking:
    best = sorted((one for one in interventions if one.replaced_by == kind), key=lambda one: -one.change)
    return Ranking(
        replaced_by=kind,
        stages=tuple(one.stage for one in best),  # type: ignore[arg-type]
        changes=tuple(one.change for one in best),  # type: ignore[arg-type]
    )


def _snippet(place: int, attention: float | None) -> Snippet:
    start, end = 10 * place, 10 * place + 16
    shares = tuple(max(0, min(end, after) - max(start, before)) / 16 for before, after in pairwise(BOUNDS))
    return Snippet(
        index=place,
        start_frame=start,
        end_frame=end,
        start_s=start / FPS,
        end_s=end / FPS,
        stage=NAMES[int(np.argmax(shares))],
        stage_shares=shares,  # type: ignore[arg-type]
        video_attention=attention and 0.3 * attention,
        fused_attention=attention and 0.7 * attention,
        attention=attention,
    )


def _graph(layer: int | None) -> GraphAttention:
    """Every node listens to the exemplar's snippets twice as much as to others."""
    nodes = np.ones((36, 36))
    nodes[9:18] = 2
    np.fill_diagonal(nodes, 0)
    nodes /= nodes.sum(0)
    kinds = nodes.reshape(4, 9, 4, 9).sum((1, 3)) / (81 - 9 * np.eye(4))
    return GraphAttention(
        layer=layer,
        head=None,
        layers=2,
        heads=4,
        nodes=tuple(map(tuple, nodes.tolist())),
        node_types=tuple(map(tuple, kinds.tolist())),
        uniform=1 / 35,
        stage_shares=(0.9, 1.0, 1.2),
    )


def _stage_attention(heads: int) -> StageAttention:
    first = ((1.0, 0.0, 0.0), (0.4, 0.6, 0.0), (0.2, 0.3, 0.5))
    second = ((1.0, 0.0, 0.0), (0.8, 0.2, 0.0), (0.4, 0.5, 0.1))
    mean = ((1.0, 0.0, 0.0), (0.6, 0.4, 0.0), (0.3, 0.4, 0.3))
    return StageAttention(matrices=((first,) * heads, (second,) * heads), mean=mean)


def _evidence() -> Evidence:
    """Return 96 wide grey frames in which a white square, the athlete, falls through the part the network sees."""
    frames = np.full((96, 120, 200, 3), 90, np.uint8)
    masks = np.zeros((96, 120, 200), np.uint8)
    for index in range(96):
        top = 10 + index
        masks[index, top : top + 12, 94:106] = 1
        frames[index, top : top + 12, 94:106] = 255
    crop = (4, 44, 112, 112)
    seen = np.zeros_like(masks)
    seen[:, 4:116, 44:156] = masks[:, 4:116, 44:156]
    return Evidence(frames=frames, masks=seen, crop=crop, source_frames=np.arange(96) * 2, fps=2 * FPS)


@pytest.fixture
def make_batch_row() -> Callable[..., Row]:
    """Make the row of a dive, scored or (without a score) failed."""

    def make(source: str = "a.mp4", score: float | None = 60.0, **more: object) -> Row:
        if score is None:
            known: dict[str, object] = {"status": "failed", "error_kind": "not_a_video", "error": "no video"}
        else:
            known = {"status": "scored", "score": score, "dive": "107B", "dive_from": "given", "weights": "compact"}
        return Row.model_validate({"source": source, "key": "k", "version": "0", **known, **more})

    return make
