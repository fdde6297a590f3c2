"""Two dives against each other, as one value. The table, the page and the JSON all read this.

The second dive plays the exemplar. Values are in execution units (0..30, score / difficulty) unless a field says
points. They decompose exactly: ``sum(stage.contribution for stage in stages) == difference``, and where the execution
of the exemplar is known, ``exemplar.execution + difference == query.execution``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from finecausal_cli.assess.assessment import StageName, Value
from finecausal_cli.diving.judging import MAX_EXECUTION
from finecausal_cli.errors import UsageError

COMPARISON_SCHEMA_VERSION: Final = 2
"""Raised whenever a reader of an older JSON could misread a newer one. Version 1 had no ``Unscored``."""

Place = Literal["query", "exemplar"]
"""Which of the two dives: the first or the second."""

Row3 = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How to compare two dives. Every field may stay as it is.

    Attributes:
        dive: Dive number of both.
        height_m: Height of the board or platform, metres.
        difficulty: Degree of difficulty of both; wins over the listed one.
        execution: Execution of the second dive, 0..30, as judged.
        score: Score of the second dive, points, as judged; needs a difficulty.
        ask_bank: Let the exemplar bank judge the second dive.
        voters: Most exemplars that the bank asks.
        seed: Seed of the choice among exemplars of one number.
        query_range_s: Start and end of the first dive in its source, seconds.
        exemplar_range_s: The same of the second dive.
        picture_size: Short side in pixels of the pictures to return; None returns none.
        timeout_s: Most seconds that reading a clip may take; None sets no limit.
        force: Compare what shows no dive, too.
    """

    dive: str | None = None
    height_m: float | None = None
    difficulty: float | None = None
    execution: float | None = None
    score: float | None = None
    ask_bank: bool = False
    voters: int = 10
    seed: int = 0
    query_range_s: tuple[float | None, float | None] = (None, None)
    exemplar_range_s: tuple[float | None, float | None] = (None, None)
    picture_size: int | None = None
    timeout_s: float | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.difficulty is not None and not 0 < self.difficulty < 10:
            raise UsageError(f"difficulty {self.difficulty:g}", where="--difficulty", hint="real ones run from 1 to 5")
        if (self.execution is not None) + (self.score is not None) + self.ask_bank > 1:
            raise UsageError("--execution, --score and --ask-bank each say how good B is", hint="give one of them")
        if self.execution is not None and not 0 <= self.execution <= MAX_EXECUTION:
            raise UsageError(f"execution {self.execution:g}", where="--execution", hint="judges give 0 to 30")
        if self.score is not None and not 0 <= self.score < 10 * MAX_EXECUTION:
            raise UsageError(f"score {self.score:g}", where="--score", hint="execution times difficulty, in points")


class StageSpan(Value):
    """When a stage of one dive takes place."""

    name: StageName
    start_frame: int = Field(description="First sampled frame (0..95) of the stage.")
    end_frame: int = Field(description="Sampled frame after the last one (exclusive).")
    start_s: float = Field(description="Time of the first frame in the source, seconds.")
    end_s: float = Field(description="Time of the end in the source, seconds.")


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


class Exchange(Value):
    """What the difference would be, had one dive had the other's stage: do(stage := the other's)."""

    stage: StageName
    given_to: Place = Field(description="Which dive gets the other's stage.")
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
