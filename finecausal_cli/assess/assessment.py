"""The verdict on one dive, as one value. The tables, the JSON and a library user all read this.

Points are final-score points unless a field says *execution* (score / difficulty, 0..30). The score decomposes
exactly: ``exemplar_score + sum(stage.contribution for stage in stages) == score``.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = 2
"""Raised whenever a reader of an older JSON could misread a newer one. Version 1 had interventions too."""

StageName = Literal["takeoff", "flight", "entry"]
NodeType = Literal["query", "exemplar", "query_fused", "exemplar_fused"]

NODE_TYPES: tuple[NodeType, ...] = ("query", "exemplar", "query_fused", "exemplar_fused")
"""Node types of the intervention graph, in the order of rows and columns of ``Attention.node_types``."""


class Value(BaseModel):
    """A value that never changes and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Stage(Value):
    """One stage of the dive against the exemplars, averaged over the voters."""

    name: StageName
    start_frame: int = Field(description="First sampled frame (0..95) of the stage.")
    end_frame: int = Field(description="Sampled frame after the last one (exclusive).")
    start_s: float = Field(description="Time of the first frame in the source, seconds.")
    end_s: float = Field(description="Time of the end in the source, seconds.")
    difference: float = Field(description="Stage value, query minus exemplar, in execution units, before weighting.")
    weight: float = Field(description="Share of the stage in the difference; the three add up to 1.")
    contribution: float = Field(description="difference * weight * difficulty, in points.")


class Vote(Value):
    """What one exemplar says of the dive."""

    exemplar: str = Field(description="Identifier of the exemplar in the bank.")
    dive: str = Field(description="Its dive number.")
    execution: float = Field(description="Its own execution, as judged.")
    similarity: float = Field(description="Cosine similarity of its encoding to the query's, -1..1.")
    stage_differences: tuple[float, float, float] = Field(description="Per stage, execution units, unweighted.")
    difference: float = Field(description="Weighted sum of the stage differences, execution units.")
    score: float = Field(description="(execution + difference) * difficulty: the score by this voter alone.")


class Attention(Value):
    """Where the model looked, averaged over the voters."""

    node_types: tuple[tuple[float, float, float, float], ...] = Field(
        description="Mean attention of the last graph layer from source type (row) to target type (column); "
        "rows and columns in the order query, exemplar, query_fused, exemplar_fused."
    )
    node_uniform: float = Field(description="What every cell would be without preference: 1/35.")
    stages: tuple[tuple[float, float, float], ...] = Field(
        description="Temporal attention of the query: row attends to column; mean over layers; rows add up to 1."
    )


class Interval(Value):
    """A prediction interval for the final score."""

    low: float
    high: float
    level: float = Field(description="Stated coverage, e.g. 0.9.")


class Provenance(Value):
    """What produced the verdict."""

    version: str
    weights: str = Field(description="Name or folder of the weights.")
    weights_digest: str
    weights_note: str = Field(description="What the weights know, in one sentence, from their own model card.")
    bank: str
    bank_digest: str
    exemplars_chosen: str = Field(description="How the voters were chosen, in words.")
    device: str
    precision: str
    decoder: str
    seconds: float = Field(description="From opening the file to the verdict, without start-up.")


class Assessment(Value):
    """A scored dive."""

    schema_version: Literal[2] = SCHEMA_VERSION
    source: str
    score: float = Field(description="Final score, points.")
    execution: float = Field(description="score / difficulty.")
    difficulty: float
    difficulty_from: str = Field(description="Where the difficulty comes from, in words.")
    dive: str | None = Field(description="Dive number; None if neither given nor recognised.")
    dive_from: str = Field(description="Where the dive number comes from, in words, with how sure that is.")
    height_m: float | None
    exemplar_score: float = Field(description="Mean execution of the voters * difficulty: where the sum starts.")
    interval: Interval | None
    stages: tuple[Stage, Stage, Stage]
    votes: tuple[Vote, ...]
    attention: Attention | None = Field(description="Present when asked for.")
    provenance: Provenance
    notes: tuple[str, ...] = Field(description="Caveats a reader should know.")
