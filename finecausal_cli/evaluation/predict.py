"""Predict the scores of encoded dives against a bank, with the baseline beside them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.evaluation.metrics import Transitions, reference_temporal_iou, temporal_iou
from finecausal_cli.evaluation.summary import Summary, summarise
from finecausal_cli.exemplars.bank import Bank, Exemplar
from finecausal_cli.exemplars.choice import choose_voters
from finecausal_cli.exemplars.vote import cast_votes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from finecausal_cli.exemplars.encode import EncodedDives
    from finecausal_cli.model.finecausal import FineCausal

__all__ = ["Prediction", "Summary", "bank_of", "mean_execution", "predict", "summarise"]


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
        true_transitions: True sampled frames of flight and entry; None if unknown.
        reference_iou: Mean over voters of the tIoU of the query as each sees it; None if the truth is unknown.
        recognised: The dive number that the choice of voters rests on; None if it rests on likeness alone and no
            number prevails.
    """

    key: str
    number: str | None
    score: float
    predicted: float
    baseline: float
    difficulty: float
    transitions: Transitions
    temporal_iou: float | None
    voters: int
    true_transitions: Transitions | None = None
    reference_iou: float | None = None
    recognised: str | None = None


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
    dive_given: bool = True,
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
        dive_given: Tell the choice of voters the dive number; otherwise it is as for a user who does not know it. The
            difficulty is known either way.
        seed: Seed of the voters' order.
        advance: Called after each dive.
    """
    found: list[Prediction] = []
    for place, dive in enumerate(queries.dives):
        query = queries.encodings.select([place])
        choice = choose_voters(bank, query, dive=dive.number if dive_given else None, voters=voters, seed=seed)
        ballot = cast_votes(model, query, bank, choice.places)
        flight, entry = (round(frame) for frame in ballot.transitions.double().mean(0).tolist())
        per_voter = [(first, last) for first, last in ballot.transitions.tolist()]
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
                true_transitions=true,
                reference_iou=None if true is None else reference_temporal_iou(true, per_voter),
                recognised=choice.dive,
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
