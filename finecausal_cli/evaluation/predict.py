"""Predict the scores of encoded dives against a bank, with the baseline beside them."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.evaluation.metrics import (
    average_iou_at,
    bootstrap_interval,
    foreground_scores,
    relative_l2,
    spearman,
    temporal_iou,
)
from finecausal_cli.exemplars.bank import Bank, Exemplar
from finecausal_cli.exemplars.choice import choose_voters
from finecausal_cli.exemplars.vote import cast_votes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from finecausal_cli.exemplars.encode import EncodedDives, ForegroundCounts
    from finecausal_cli.model.finecausal import FineCausal


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one dive of a dataset.

    Attributes:
        key: The dive.
        number: Its dive number.
        score: Its true score.
        predicted: The model's score.
        baseline: Mean execution of the training dives of its number, times its difficulty.
        difficulty: Its difficulty.
        transitions: Predicted sampled frames of flight and entry, the mean over voters.
        temporal_iou: Against the true transitions; None if those are unknown.
        voters: How many exemplars voted.
    """

    key: str
    number: str | None
    score: float
    predicted: float
    baseline: float
    difficulty: float
    transitions: tuple[int, int]
    temporal_iou: float | None
    voters: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Metrics over a test set (metrics.md of the design; see evaluation.metrics for the formulas)."""

    dives: int
    rho: float
    rho_low: float
    rho_high: float
    relative_l2: float
    aiou_50: float | None
    aiou_75: float | None
    foreground_iou: float | None
    baseline_rho: float
    baseline_relative_l2: float

    def figures(self) -> dict[str, float | int | None]:
        """Return every figure by name, None for one that is not a number: JSON has no NaN."""
        return {name: None if value is None or math.isnan(value) else value for name, value in asdict(self).items()}


def bank_of(encoded: EncodedDives, *, name: str, weights_digest: str) -> Bank:
    """Turn encoded training dives into a bank."""
    exemplars = tuple(
        Exemplar(
            id=dive.key, dive=dive.number, height_m=dive.height_m, difficulty=dive.difficulty, execution=dive.execution
        )
        for dive in encoded.dives
    )
    return Bank(name, exemplars, encoded.encodings, weights_digest)


def predict(
    model: FineCausal,
    queries: EncodedDives,
    bank: Bank,
    *,
    baseline: dict[str, float],
    voters: int = 10,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> list[Prediction]:
    """Score every encoded dive.

    Args:
        model: The network, in evaluation mode.
        queries: The dives to score, with true scores.
        bank: The exemplars.
        baseline: Mean execution by dive number, from ``mean_execution``.
        voters: Most exemplars a dive.
        seed: Seed of the voters' order.
        advance: Called after each dive.
    """
    found: list[Prediction] = []
    for place, dive in enumerate(queries.dives):
        query = queries.encodings.select([place])
        choice = choose_voters(bank, query, dive=dive.number, voters=voters, seed=seed)
        ballot = cast_votes(model, query, bank, choice.places)
        flight, entry = (round(frame) for frame in ballot.transitions.double().mean(0).tolist())
        true = queries.transitions[place]
        found.append(
            Prediction(
                key=dive.key,
                number=dive.number,
                score=dive.execution * dive.difficulty,
                predicted=ballot.execution * dive.difficulty,
                baseline=baseline.get(dive.number or "", baseline[""]) * dive.difficulty,
                difficulty=dive.difficulty,
                transitions=(flight, entry),
                temporal_iou=None if true is None else temporal_iou(true, (flight, entry)),
                voters=len(choice.places),
            )
        )
        advance()
    return found


def mean_execution(judged: Iterable[tuple[str | None, float]]) -> dict[str, float]:
    """Return the mean execution by dive number; the mean of all under the empty name.

    Args:
        judged: Dive number and execution of each dive.
    """
    by_number: dict[str, list[float]] = defaultdict(list)
    for number, execution in judged:
        by_number[""].append(execution)
        if number is not None:
            by_number[number].append(execution)
    return {number: float(np.mean(executions)) for number, executions in by_number.items()}


def summarise(predictions: Sequence[Prediction], foreground: Sequence[ForegroundCounts | None] = ()) -> Summary:
    """Compute the metrics of a set of predictions."""
    true = [one.score for one in predictions]
    predicted = [one.predicted for one in predictions]
    baseline = [one.baseline for one in predictions]
    overlaps = [one.temporal_iou for one in predictions if one.temporal_iou is not None]
    masks = [counts for counts in foreground if counts is not None]
    low, high = bootstrap_interval(true, predicted)
    return Summary(
        dives=len(predictions),
        rho=spearman(true, predicted),
        rho_low=low,
        rho_high=high,
        relative_l2=relative_l2(true, predicted),
        aiou_50=average_iou_at(overlaps, 0.5) if overlaps else None,
        aiou_75=average_iou_at(overlaps, 0.75) if overlaps else None,
        foreground_iou=foreground_scores(masks)[0] if masks else None,
        baseline_rho=spearman(true, baseline),
        baseline_relative_l2=relative_l2(true, baseline),
    )
