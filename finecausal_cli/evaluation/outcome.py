"""What an evaluation finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finecausal_cli.evaluation.predict import Prediction
    from finecausal_cli.evaluation.summary import Summary


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the voters on a dive are chosen.

    Attributes:
        voters: Most exemplars a dive.
        dive_given: Whether the choice is told the dive number.
    """

    voters: int = 10
    dive_given: bool = True


PROTOCOLS = (Protocol(10), Protocol(1), Protocol(10, dive_given=False), Protocol(1, dive_given=False))
"""The ways of choosing voters that are worth comparing: many or one, with the dive number or without."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one protocol gives on one set of dives.

    Attributes:
        protocol: How voters were chosen.
        summary: The metrics.
        predictions: One a test dive.
        coverage: Share of dives whose true score lies in the stated interval; None if the weights state none.
        recognised: Share of the dives with a known number whose voters' number is theirs; None if it was given.
    """

    protocol: Protocol
    summary: Summary
    predictions: tuple[Prediction, ...]
    coverage: float | None
    recognised: float | None


@dataclass(frozen=True, slots=True)
class Setting:
    """What was evaluated.

    Attributes:
        dataset: Name of the dataset's folder or file.
        split: Which of its dives were scored.
        exemplars: Where voters come from: ``train`` or ``bank``.
        seed: Seed of the voters' order.
        weights: Name of the weights.
        weights_digest: Digest of the weights.
        gat: Whether the network has the causal intervention.
        tca: Whether it has temporal causal attention.
    """

    dataset: str
    split: str
    exemplars: str
    seed: int
    weights: str
    weights_digest: str
    gat: bool
    tca: bool


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        setting: What was evaluated.
        main: The outcome that the figures, the tables and the files tell.
        others: The same dives under other protocols; empty if nobody asked.
        shifted: The same dives in other pictures, under the main protocol; None if nobody asked.
        interval_level: Share of dives that the stated interval is meant to cover; None if the weights state none.
        interval_half_width: Its half-width in execution units.
        interval_width: Its mean width, points.
        caveats: What a reader of the figures should know, one sentence each.
    """

    setting: Setting
    main: Outcome
    others: tuple[Outcome, ...]
    interval_level: float | None
    interval_half_width: float | None
    interval_width: float | None
    caveats: tuple[str, ...] = ()
    shifted: Outcome | None = None

    @property
    def summary(self) -> Summary:
        """The metrics of the main outcome."""
        return self.main.summary

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The predictions of the main outcome, one a test dive."""
        return self.main.predictions

    @property
    def coverage(self) -> float | None:
        """Share of dives inside the stated interval; None if the weights state none."""
        return self.main.coverage
