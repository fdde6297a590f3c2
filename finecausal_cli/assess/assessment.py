"""The verdict on one dive, as one value. The tables, the JSON and a library user all read this.

Points are final-score points unless a field says *execution* (score / difficulty, 0..30). The score decomposes
exactly: ``exemplar_score + sum(stage.contribution for stage in stages) == score``.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from finecausal_cli.errors import ErrorKind  # noqa: TC001 - pydantic reads it

SCHEMA_VERSION: Final = 3
"""Raised whenever a reader of an older JSON could misread a newer one. Version 1 had interventions too; version 2 no
``Unscored``."""

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


Box = tuple[float, float, float, float]
"""Left, top, right and bottom, pixels of the decoded upright picture."""

Status = Literal["scored", "refused"]


class AthleteFrame(Value):
    """The athlete in one sampled frame; places are pixels of the decoded upright picture."""

    time_s: float = Field(description="When the frame is shown, seconds of the file.")
    box: Box | None = Field(description="Left, top, right, bottom; None where the athlete is not seen.")
    confidence: float = Field(description="How sure it is that the athlete is there, 0..1.")
    joints: dict[str, tuple[float, float, float]] = Field(
        description="By name: x, y and confidence 0..1; pelvis, neck, head (crown), and shoulder, elbow, wrist, hip, "
        "knee and ankle with _l or _r. Empty without an athlete reader."
    )


class Unscored(Value):
    """A clip without points: refused, since it shows no dive, or a dive of which the clip lacks a part."""

    schema_version: Literal[3] = SCHEMA_VERSION
    status: Status = Field(description="refused: no dive to judge; scored: a dive, but its points are withheld.")
    source: str
    score: None = Field(default=None, description="Never any points.")
    reason: ErrorKind = Field(description="Why, as one of a closed list.")
    message: str = Field(description="The same in words, with what to do about it.")
    flight_start_s: float | None = Field(description="When the flight begins, seconds of the file; None if unknown.")
    entry_start_s: float | None = Field(description="When the athlete touches the water; None if unknown.")
    time_scale: float | None = Field(description="Times slower than real time, 1 = normal; None if unknown.")
    dive: str | None = Field(default=None, description="Dive number, given or recognised.")
    dive_from: str | None = None
    height_m: float | None = None
    athlete: tuple[AthleteFrame, ...] = Field(default=(), description="Where known, for each of the 96 sampled frames.")
    athlete_seen: int | None = Field(default=None, description="In how many of the 96 frames; None without a reader.")
    version: str
    notes: tuple[str, ...] = Field(default=(), description="Caveats a reader should know.")


class Assessment(Value):
    """A scored dive."""

    schema_version: Literal[3] = SCHEMA_VERSION
    status: Literal["scored"] = "scored"
    source: str
    flight_start_s: float | None = Field(
        default=None, description="When the athlete leaves the board, seconds of the file; None if nobody found it."
    )
    entry_start_s: float | None = Field(default=None, description="When the athlete touches the water; the same.")
    time_scale: float | None = Field(default=None, description="Times slower than real time, 1 = normal.")
    clip_start_s: float | None = Field(default=None, description="Where the part of the file begins that was judged.")
    clip_end_s: float | None = Field(default=None, description="Where it ends.")
    athlete_seen: int | None = Field(
        default=None, description="In how many of the 96 sampled frames the athlete is seen; None without a reader."
    )
    dive_index: int = Field(default=1, description="Which of the dives in the file it is, in their order, from 1.")
    dives_found: int = Field(default=0, description="How many dives the file holds; 0 where it was scored by force.")
    forced: str | None = Field(
        default=None, description="Why it would have been refused; None unless it was scored by --force."
    )
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
