"""Evaluation: metrics, predictions over a dataset, and baselines. This module: its options, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from finecausal_cli.config import OptionGroup, option


@dataclass(frozen=True)
class EvaluateOptions(OptionGroup):
    """What is evaluated, and how exemplars are chosen.

    Attributes:
        exemplars: Where exemplars come from: the dataset's training dives, or the bank beside the weights.
        shifted: A dataset of the same dives with venue, light and audience drawn anew.
    """

    panel: ClassVar[str] = "Exemplars"

    split: Literal["test", "val", "all", "events"] = option(
        "test",
        "Which dives to score; 'all' goes with --exemplars bank, 'events' holds whole events out.",
        panel=OptionGroup.panel,
    )
    shifted: Path | None = option(
        None,
        "The same dives with another venue, light and audience: also measure the loss under this shift.",
        metavar="DATASET",
        panel=OptionGroup.panel,
    )
    exemplars: Literal["train", "bank"] = option(
        "train", "Compare with the dataset's training dives, or with the weights' bank."
    )
    voters: int = option(10, "Most exemplars to compare with.", min=1, flag="--most-exemplars")
    dive_given: bool = option(
        True, "Choose exemplars by the dive's number, or without it.", flag="--dive-given/--no-dive"
    )
    protocols: bool = option(False, "Also measure 1 and 10 exemplars, with and without the dive number.")
    seed: int = option(0, "Random seed of the order among exemplars.")
