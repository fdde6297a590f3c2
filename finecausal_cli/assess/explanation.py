"""Everything an explanation of a score carries, as values. Tables, pictures, the report and the JSON all read this.

Points are final-score points. Layers and heads count from 1, snippets and sampled frames from 0, ends are exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from finecausal_cli.assess.assessment import Assessment, AthleteFrame, StageName, Value
from finecausal_cli.errors import UsageError
from finecausal_cli.video.clip import CLIP_FRAMES

EXPLANATION_SCHEMA_VERSION: Final = 3
"""Raised whenever a reader of an older JSON could misread a newer one. Version 1 was an assessment alone; version 2 had
no ``Unscored``."""

TOLERANCE: Final = 1e-4
"""How exactly the sums and the self-comparison must hold, points."""

JITTER_FRAMES: Final = 2
"""Sampled frames by which the transitions are shifted to test stability."""

Replacement = Literal["exemplar", "bank_mean", "bank_best"]
"""Each voter's own stage; the mean stage of the bank's dives of the same number; that of the best of these."""

BackgroundKind = Literal["bank_mean", "exemplar", "own_mean", "own_colour"]
"""Mean picture of the voters' thumbnails; one exemplar's thumbnail (another venue, its athlete still in it). Where the
bank has no pictures: the clip's own mean picture without the athlete; the mean colour of the clip's own background."""

Row36 = tuple[float, ...]
Row3 = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What to explain. Every field may stay as it is.

    Attributes:
        layer: Graph layer whose attention is told, 1 or 2; None takes the mean of both.
        head: Graph head, 1 to 4; None takes the mean of all.
        backgrounds: Replace the background and encode again (four more encodings).
        picture_size: Short side in pixels, at most, of ``Evidence.frames``; None leaves them at the working size.
    """

    layer: int | None = None
    head: int | None = None
    backgrounds: bool = True
    picture_size: int | None = 360

    def __post_init__(self) -> None:
        for name, value, most in (("layer", self.layer, 2), ("head", self.head, 4)):
            if value is not None and not 1 <= value <= most:
                raise UsageError(f"no {name} {value}", where=f"--{name}", hint=f"1 to {most}, or leave it out")
        if self.picture_size is not None and not 64 <= self.picture_size <= 2160:
            raise UsageError(f"pictures of {self.picture_size} pixels", hint="64 to 2160")


class StageIntervention(Value):
    """What the score would be had one stage been another: do(stage := ...)."""

    stage: StageName
    replaced_by: Replacement
    score: float = Field(description="Score after the replacement, averaged over the voters.")
    change: float = Field(description="score after minus score before, points: what the stage has cost if positive.")
    stage_changes: Row3 = Field(
        description="Change of each stage's contribution, points; what differs from 0 in later stages came downstream."
    )
    voters_gaining: int = Field(description="How many voters' verdicts rise by it.")


class Ranking(Value):
    """Stages by what the dive would have gained most from, best first."""

    replaced_by: Replacement
    stages: tuple[StageName, StageName, StageName]
    changes: Row3 = Field(description="Change of the score by each, points, in the same order; falling.")


class BankMean(Value):
    """What the mean stage was taken over."""

    dive: str
    exemplars: int = Field(description="Dives of that number in the bank.")


class Jitter(Value):
    """How the score moves when the stage borders of both dives are shifted by a few frames."""

    frames: int = Field(description="Largest shift of each transition, sampled frames.")
    shifts: int = Field(description="Combinations tried: each transition by minus, nought or plus that many frames.")
    mean: float = Field(description="Mean absolute change of the score, points.")
    largest: float = Field(description="Largest absolute change of the score, points.")


class Deletion(Value):
    """What happens when a snippet is taken away: its features become the mean of the dive's other snippets."""

    snippet: int = Field(description="The snippet with most attention (0..8).")
    change: float = Field(description="Change of the score without it, points.")
    others: float = Field(description="Mean absolute change without one of the other snippets, points.")
    changes: tuple[float, ...] = Field(description="Change of the score without each of the nine snippets, points.")


class Checks(Value):
    """Whether the explanation is consistent with the score and with itself."""

    tolerance: float = Field(description="Most that the first two errors may be, points.")
    decomposition_error: float = Field(
        description="|exemplar score + sum of the stages' contributions - score|, points."
    )
    self_error: float = Field(
        description="With all three stages the exemplar's own, the largest distance over the voters between the "
        "difference found and that of the exemplar against itself, points."
    )
    self_difference: float = Field(
        description="Largest absolute difference of an exemplar against itself, points; 0 in an antisymmetric network."
    )
    holds: bool = Field(description="Whether both errors are within the tolerance.")
    jitter: Jitter
    deletion: Deletion | None = Field(description="None in a network without graph attention.")


class BackgroundChange(Value):
    """The score when the predicted athlete is put before another background and the clip is encoded again."""

    background: BackgroundKind
    description: str = Field(description="What the background is, in words.")
    exemplar: str | None = Field(description="Whose thumbnail it is; None if nobody's.")
    score: float
    change: float = Field(description="score minus the score before the true background, points.")
    end_frame: int = Field(
        default=CLIP_FRAMES,
        description="Sampled frame up to which the background is replaced: 96 for the whole clip, or where the entry "
        "starts, which leaves the splash (no part of the athlete, and judged) as it was.",
    )


class Foreground(Value):
    """How much of the picture the predicted athlete takes."""

    stages: Row3 = Field(description="Mean share of athlete pixels in the frames of each stage, 0..1.")
    frames: tuple[float, ...] = Field(description="Share of athlete pixels in each of the 96 sampled frames, 0..1.")


class Snippet(Value):
    """One of the nine snippets: when it is and how much attention it gets."""

    index: int
    start_frame: int = Field(description="First sampled frame.")
    end_frame: int = Field(description="Sampled frame after the last one.")
    start_s: float = Field(description="Time of the first frame in the source, seconds.")
    end_s: float = Field(description="Time of the end in the source, seconds.")
    stage: StageName = Field(description="The stage in which most of its frames lie.")
    stage_shares: Row3 = Field(description="Share of its frames in each stage; they add up to 1.")
    video_attention: float | None = Field(description="Mean attention that the query's video node of it gets.")
    fused_attention: float | None = Field(description="Mean attention that the query's fused node of it gets.")
    attention: float | None = Field(
        description="Share of the attention given to the query that falls on it; the nine add up to 1."
    )


class GraphAttention(Value):
    """The attention of the causal intervention, averaged over the voters."""

    layer: int | None = Field(description="Layer shown; None for the mean of all.")
    head: int | None = Field(description="Head shown; None for the mean of all.")
    layers: int = Field(description="Layers there are.")
    heads: int = Field(description="Heads a layer has.")
    nodes: tuple[Row36, ...] = Field(
        description="36 x 36, from source (row) to target (column); nine snippets each of query, exemplar, query_fused "
        "and exemplar_fused. Every column adds up to 1; the diagonal is 0."
    )
    node_types: tuple[tuple[float, float, float, float], ...] = Field(
        description="4 x 4 mean over the edges between two types, from source (row) to target (column)."
    )
    uniform: float = Field(description="What every edge would have without preference: 1/35.")
    stage_shares: Row3 = Field(
        description="Share of the attention given to the query that falls on each stage (snippets shared out by their "
        "frames), over the share of the stage in all snippets' frames: 1 is no preference."
    )


class StageAttention(Value):
    """The temporal causal attention of the query, averaged over the voters."""

    matrices: tuple[tuple[tuple[Row3, Row3, Row3], ...], ...] = Field(
        description="By layer and head: 3 x 3, row attends to column, lower triangular, rows add up to 1."
    )
    mean: tuple[Row3, Row3, Row3] = Field(description="The mean over layers and heads.")


class Explanation(Value):
    """A scored dive with the reasons for its score."""

    schema_version: Literal[3] = EXPLANATION_SCHEMA_VERSION
    status: Literal["scored"] = "scored"
    flight_start_s: float | None = Field(default=None, description="As in the assessment; null if unknown.")
    entry_start_s: float | None = None
    time_scale: float | None = None
    assessment: Assessment
    athlete: tuple[AthleteFrame, ...] = Field(
        default=(), description="The athlete in each of the 96 sampled frames; empty where no flight was found."
    )
    interventions: tuple[StageIntervention, ...] = Field(
        description="By replacement (exemplar first), then by stage; by the bank's mean only if `bank_mean`, by its "
        "best only if `bank_best`."
    )
    rankings: tuple[Ranking, ...] = Field(description="One for each kind of replacement, in the same order.")
    bank_mean: BankMean | None = Field(
        description="None if the dive number is unknown or the bank has no dive of it; then nothing is replaced by it."
    )
    bank_best: BankMean | None = Field(
        default=None, description="The best of these, by execution; None also if the bank has a single dive of it."
    )
    checks: Checks
    backgrounds: tuple[BackgroundChange, ...] = Field(description="Empty if not asked for.")
    foreground: Foreground
    snippets: tuple[Snippet, ...] = Field(description="All nine, in order.")
    graph_attention: GraphAttention | None = Field(description="None in a network without the graph.")
    stage_attention: StageAttention | None = Field(description="None in a network without the stage attention.")
    notes: tuple[str, ...] = Field(description="What could not be done, and limits a reader should know.")

    @property
    def ranking(self) -> Ranking:
        """The ranking by the exemplars' own stages."""
        return self.rankings[0]
