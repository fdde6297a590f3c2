"""Two dives against each other, as one value: the table, the page and the JSON all read this.

The second dive plays the exemplar. Values are in execution units (0..30, score / difficulty) unless a field says
points. They decompose exactly: ``sum(stage.contribution for stage in stages) == difference``, and where the execution
of the exemplar is known, ``exemplar.execution + difference == query.execution``.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from finecausal_cli.scoring.results import Row3, StageName, StageSpan, Value
from finecausal_cli.weights import TrainedOn  # noqa: TC001 - pydantic reads it

COMPARISON_SCHEMA_VERSION: Final = 2
"""Raised whenever a reader of an older JSON could misread a newer one. Version 1 had no ``Unscored``."""

PairSide = Literal["query", "exemplar"]
"""Which of the two dives: the first or the second."""


class ComparedDive(Value):
    """One of the two dives."""

    source: str
    decoder: str
    stages: tuple[StageSpan, StageSpan, StageSpan]
    execution: float | None = Field(description="Score / difficulty; None if that of the exemplar is not known.")
    score: float | None = Field(description="Points; None without execution or difficulty.")
    notes: tuple[str, ...] = Field(description="Caveats about the clip.")
    flight_start_s: float | None = Field(
        default=None, description="When the athlete leaves the board; None if unknown."
    )
    entry_start_s: float | None = Field(default=None, description="When the athlete touches the water; the same.")
    time_scale: float | None = Field(default=None, description="Times slower than real time, 1 = normal.")
    dive: str | None = Field(
        default=None, description="Dive number, given or recognised surely enough for points; None if neither."
    )
    forced: str | None = Field(
        default=None, description="Why it would have been refused; None unless --force was given."
    )


class ComparedStage(Value):
    """One stage of the query against the same stage of the exemplar."""

    name: StageName
    difference: float = Field(description="Query minus exemplar, execution units, before weighting.")
    weight: float = Field(description="Share of the stage in the difference; the three add up to 1.")
    contribution: float = Field(description="difference * weight, execution units.")
    points: float | None = Field(description="contribution * difficulty; None without a difficulty.")
    marks: float = Field(default=0.0, description="contribution / 3: the same in marks of a judge.")


class Exchange(Value):
    """What the difference would be, had one dive had the other's stage: do(stage := the other's)."""

    stage: StageName
    given_to: PairSide = Field(description="Which dive gets the other's stage.")
    difference: float = Field(description="Query minus exemplar after it, execution units.")
    change: float = Field(description="difference after minus difference before, execution units.")
    stage_changes: Row3 = Field(
        description="Change of each stage's contribution, execution units; later stages follow, earlier ones never do."
    )


class PairAttention(Value):
    """Where the network looked."""

    node_types: tuple[tuple[float, float, float, float], ...] = Field(
        description="Mean attention of all graph layers and heads from source type (row) to target type (column); rows "
        "and columns in the order query, exemplar, query_fused, exemplar_fused."
    )
    node_uniform: float = Field(description="What every cell would be without preference: 1/35.")
    query_stages: tuple[Row3, Row3, Row3] = Field(
        description="Temporal attention of the query: row attends to column; mean over layers; rows add up to 1."
    )
    exemplar_stages: tuple[Row3, Row3, Row3] = Field(description="The same of the exemplar.")


class ComparisonProvenance(Value):
    """What produced the comparison."""

    version: str
    weights: str = Field(description="Name or folder of the weights.")
    weights_digest: str
    weights_note: str = Field(description="What the weights know, in one sentence, from their own model card.")
    trained_on: TrainedOn = Field(default="unknown", description="Which dives the weights were trained on.")
    device: str
    precision: str
    seconds: float = Field(description="From opening the first file to the verdict, without start-up.")


class Comparison(Value):
    """Two dives against each other, stage by stage."""

    schema_version: Literal[2] = COMPARISON_SCHEMA_VERSION
    status: Literal["scored"] = "scored"
    query: ComparedDive
    exemplar: ComparedDive
    dive: str | None = Field(description="Dive number of both, as given.")
    height_m: float | None
    difficulty: float | None = Field(description="Of both dives; None if not known, and then nothing is in points.")
    difficulty_from: str = Field(description="Where the difficulty comes from, in words.")
    execution_from: str = Field(description="Where the execution of the exemplar comes from, in words.")
    difference: float = Field(description="Query minus exemplar, execution units.")
    points: float | None = Field(description="difference * difficulty; None without a difficulty.")
    stages: tuple[ComparedStage, ComparedStage, ComparedStage]
    exchanges: tuple[Exchange, ...] = Field(description="Six: by stage for the query, then by stage for the exemplar.")
    attention: PairAttention | None = Field(description="None in a network without graph or stage attention.")
    antisymmetric: bool = Field(
        description="Whether the network is built so that the dives in the other order give the negated numbers."
    )
    reversal_error: float = Field(
        description="Largest distance, execution units, between a stage's difference and the negated one that the same "
        "network finds with the dives in the other order; rounding only, if antisymmetric."
    )
    provenance: ComparisonProvenance
    notes: tuple[str, ...] = Field(description="Caveats a reader should know.")
