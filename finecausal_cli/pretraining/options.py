"""What a pretraining is asked to do, as one value that refuses contradictions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from finecausal_cli.pretraining.targets import LEAST_SHOWN, SEEN
from finecausal_cli.training.options import make_options


class PretrainOptions(BaseModel):
    """Options of a pretraining.

    Attributes:
        steps: Optimiser steps.
        dives: Dives in a batch.
        snippets: Snippets of each.
        at_takeoff: Share of the snippets that are cut to show the take-off, the others anywhere.
        counts: How much an error of what judges see counts, by the stretch in which it shows; 1 where not said.
        lr: Peak learning rate (AdamW): it rises over the first hundred steps and falls as a cosine to zero.
        weight_decay: Decoupled weight decay.
        clip_norm: Longest gradient.
        precision: What trunks compute in, by autocast.
        init: What trunks and foreground begin with: ``trunk:`` and weights, or ``kinetics:`` and a file; None draws
            them by chance.
        seed: Of whatever is drawn by chance.
        workers: Processes that cut snippets ahead.
        save_every: Steps between checkpoints, at each of which some validation dives are looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(default=4000, ge=1)
    dives: int = Field(default=12, ge=1)
    snippets: int = Field(default=1, ge=1)
    at_takeoff: float = Field(default=0.3, ge=0, le=1)
    counts: dict[str, float] = Field(default_factory=dict)
    lr: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    init: str | None = None
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    save_every: int = Field(default=500, ge=1)

    @field_validator("counts", mode="before")
    @classmethod
    def _may_be_text(cls, counts: object) -> object:
        return read_counts(counts) if isinstance(counts, str) else counts

    @field_validator("counts")
    @classmethod
    def _stretches_are_known(cls, counts: dict[str, float]) -> dict[str, float]:
        for stretch, count in counts.items():
            if stretch not in LEAST_SHOWN:
                raise ValueError(f"no stretch {stretch!r}: one of {', '.join(LEAST_SHOWN)} is meant")
            if not 0 <= count < float("inf"):
                raise ValueError(f"{stretch}={count:g}: a number of 0 or more is meant")
        return counts

    def counts_of_seen(self) -> list[float]:
        """Return how much an error of each of `SEEN` counts: [K]."""
        return [self.counts.get(stretch, 1.0) for stretch in SEEN.values()]


def read_counts(text: str) -> dict[str, float]:
    """Read how much an error counts in some stretches, as in ``crouch=3,flight=2``.

    Raises:
        ValueError: It is not of this form.
    """
    counts = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        stretch, _, count = part.partition("=")
        try:
            counts[stretch.strip()] = float(count)
        except ValueError:
            raise ValueError(f"{part!r} is not of the form crouch=3") from None
    return counts


def build_pretrain_options(**given: Any) -> PretrainOptions:
    """Make options from what the user gave; what is None counts as not given.

    Raises:
        UsageError: A value is out of range; names its option.
    """
    return make_options(PretrainOptions, given)
