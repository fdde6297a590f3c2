"""Results as typed data: assessment, explanation, comparison. Their JSON Schema is public."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from finecausal_cli.diving import COUNTING_MARKS
from finecausal_cli.errors import ErrorKind  # noqa: TC001 - pydantic reads it
from finecausal_cli.retrieval import BUNDLED
from finecausal_cli.video import CLIP_FRAMES
from finecausal_cli.weights import TrainedOn  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from typing_extensions import Self

# The verdict on one dive, as one value. The tables, the JSON and a library user all read this.
#
# Points are final-score points unless a field says *execution* (score / difficulty, 0..30). The score decomposes
# exactly: ``exemplar_score + sum(stage.contribution for stage in stages) == score``, and in marks, the scale of a
# judge (execution / 3, 0..10): ``exemplar_mark + sum(stage.marks for stage in stages) == mark``.

SCHEMA_VERSION: Final = 4
"""Raised whenever a reader of an older JSON could misread a newer one. Version 1 had interventions too; version 2 no
``Unscored``; version 3 points for every dive, whether or not its number was sure."""

Unit = Literal["points", "marks"]
"""Points need a difficulty; marks are those of a judge, 0..10."""

StageName = Literal["takeoff", "flight", "entry"]
NodeType = Literal["query", "exemplar", "query_fused", "exemplar_fused"]

NODE_TYPES: tuple[NodeType, ...] = ("query", "exemplar", "query_fused", "exemplar_fused")
"""Node types of the intervention graph, in the order of rows and columns of ``Attention.node_types``."""


class Value(BaseModel):
    """A value that never changes and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def renamed(self, path: str, name: str) -> Self:
        """Return the same with ``name`` wherever the path of a temporary file stands."""
        values = {field: _renamed(getattr(self, field), path, name) for field in type(self).model_fields}
        return self.model_copy(update=values)


def _renamed(value: Any, path: str, name: str) -> Any:
    if isinstance(value, Value):
        return value.renamed(path, name)
    if isinstance(value, tuple):
        return tuple(_renamed(each, path, name) for each in value)
    return value.replace(path, name) if isinstance(value, str) else value


class Stage(Value):
    """One stage of the dive against the exemplars, averaged over the exemplars."""

    name: StageName
    start_frame: int = Field(description="First sampled frame (0..95) of the stage.")
    end_frame: int = Field(description="Sampled frame after the last one (exclusive).")
    start_s: float = Field(description="Time of the first frame in the source, seconds.")
    end_s: float = Field(description="Time of the end in the source, seconds.")
    difference: float = Field(description="Stage value, query minus exemplar, in execution units, before weighting.")
    weight: float = Field(description="Share of the stage in the difference; the three add up to 1.")
    contribution: float | None = Field(
        description="difference * weight * difficulty, in points; None where no points are given."
    )
    marks: float = Field(
        default=0.0,
        description="What it wins or loses against the exemplars in marks of a judge: difference * weight / 3.",
    )

    @property
    def is_empty(self) -> bool:
        """Whether no frame is taken for it: then nothing is said of it."""
        return self.end_frame <= self.start_frame

    @model_validator(mode="before")
    @classmethod
    def _with_marks(cls, content: Any) -> Any:
        """Fill in what older results lack."""
        if isinstance(content, dict) and "marks" not in content and {"difference", "weight"} <= content.keys():
            return {**content, "marks": content["difference"] * content["weight"] / COUNTING_MARKS}
        return content


class StageSpan(Value):
    """When a stage of one dive takes place."""

    name: StageName
    start_frame: int = Field(description="First sampled frame (0..95) of the stage.")
    end_frame: int = Field(description="Sampled frame after the last one (exclusive).")
    start_s: float = Field(description="Time of the first frame in the source, seconds.")
    end_s: float = Field(description="Time of the end in the source, seconds.")


class Vote(Value):
    """What one exemplar says of the dive."""

    exemplar: str = Field(description="Identifier of the exemplar in the bank.")
    bank: str = Field(default=BUNDLED, description="Name of the bank that it is from.")
    dive: str = Field(description="Its dive number.")
    execution: float = Field(description="Its own execution, as judged.")
    similarity: float = Field(description="Cosine similarity of its encoding to the query's, -1..1.")
    stage_differences: tuple[float, float, float] = Field(description="Per stage, execution units, unweighted.")
    difference: float = Field(description="Weighted sum of the stage differences, execution units.")
    calibration: float = Field(
        default=0.0, description="What calibration by judged dives of one's own adds, execution units; see Provenance."
    )
    score: float | None = Field(
        description="(execution + calibration + difference) * difficulty: the score by this exemplar alone; None where "
        "no points are given."
    )


class Attention(Value):
    """Where the model looked, averaged over the exemplars."""

    node_types: tuple[tuple[float, float, float, float], ...] = Field(
        description="Mean attention of the last graph layer from source type (row) to target type (column); "
        "rows and columns in the order query, exemplar, query_fused, exemplar_fused."
    )
    node_uniform: float = Field(description="What every cell would be without preference: 1/35.")
    stages: tuple[tuple[float, float, float], ...] = Field(
        description="Temporal attention of the query: row attends to column; mean over layers; rows add up to 1."
    )


class Interval(Value):
    """A prediction interval for the final score or, where no points are given, for the mark."""

    low: float
    high: float
    level: float = Field(description="Stated coverage, e.g. 0.9.")
    unit: Unit = Field(default="points", description="Of the ends.")


class Familiarity(Value):
    """How far a clip lies from the calibration dives, whose errors the interval comes from."""

    distance: float = Field(ge=0, description="1 is farther than 95% of the calibration dives lie from the others.")
    limit: float = Field(gt=1, description="Distance beyond which the interval is withheld.")
    factor: float = Field(ge=1, description="How many times wider the interval is from distance 1 to the limit.")


Range = tuple[float, float]
"""Lowest and highest value; equal where only one is possible."""


class Candidate(Value):
    """One of the likeliest dive numbers where none is sure."""

    dive: str
    probability: float = Field(
        description="By the recogniser; of weights without one the share of the nearest exemplars."
    )
    difficulty: Range | None = Field(description="Listed at the possible heights, lowest and highest; None if nowhere.")
    score: Range | None = Field(description="Points that it would give, lowest and highest.")


class Competition(Value):
    """How dives of this number were marked in competition: a fact that needs no weights."""

    dives: int = Field(description="How many were counted.")
    mean_mark: float = Field(description="Mean of their marks, 0..10.")
    marks: Range | None = Field(description="Marks between which 90% of them lie; None where too few were counted.")
    better_than: float | None = Field(
        description="Share of them with a lower mark, 0..1; None where no points are given or too few were counted."
    )
    text: str = Field(description="The same in words.")


class Provenance(Value):
    """What produced the verdict."""

    version: str
    weights: str = Field(description="Name or folder of the weights.")
    weights_digest: str
    weights_note: str = Field(description="What the weights know, in one sentence, from their own model card.")
    trained_on: TrainedOn = Field(default="unknown", description="Which dives the weights were trained on.")
    bank: str
    bank_digest: str
    exemplars_chosen: str = Field(description="How the exemplars were chosen, in words.")
    calibration: str | None = Field(
        default=None,
        description="How votes are corrected by judged dives of one's own, in words; None if not.",
    )
    device: str
    precision: str
    decoder: str
    seconds: float = Field(
        description="From opening the file to the verdict, without start-up; of an explanation, to its end."
    )


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

    schema_version: Literal[3, 4] = SCHEMA_VERSION
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
    forced: str | None = Field(
        default=None, description="Why it would have been refused; None unless it was taken by --force."
    )
    version: str
    notes: tuple[str, ...] = Field(default=(), description="Caveats a reader should know.")


class Assessment(Value):
    """A judged dive: its execution and, where its difficulty is known, its points."""

    schema_version: Literal[3, 4] = SCHEMA_VERSION
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
    score: float | None = Field(description="Final score, points; None where they are withheld.")
    points_withheld: str | None = Field(default=None, description="Why no points are given, and what to do.")
    points_range: Range | None = Field(
        default=None, description="Lowest and highest points that the possible heights give; None where one is sure."
    )
    execution: float = Field(description="What the counting marks add up to, 0..30: score / difficulty.")
    mark: float = Field(default=0.0, description="execution / 3: the mean of the counting marks, 0..10.")
    difficulty: float | None = Field(description="None where it is not known: then no points are given.")
    difficulty_from: str = Field(description="Where the difficulty comes from, in words.")
    dive: str | None = Field(description="Dive number; None if neither given nor surely recognised.")
    dive_from: str = Field(description="Where the dive number comes from, in words, with how sure that is.")
    candidates: tuple[Candidate, ...] = Field(
        default=(), description="The likeliest numbers, likeliest first; empty where the number is sure."
    )
    height_m: float | None = Field(description="Given, or told surely; None otherwise.")
    height_from: str = Field(default="", description="Where the height comes from, in words.")
    height_candidates: tuple[float, ...] = Field(
        default=(), description="Heights in metres that are possible, likeliest first; one where it is sure."
    )
    competition: Competition | None = Field(default=None, description="None where the number is not known.")
    exemplar_score: float | None = Field(
        description="Mean execution of the exemplars, calibrated, * difficulty: the sum's start; None without points."
    )
    exemplar_mark: float = Field(
        default=0.0, description="Mean execution of the exemplars, calibrated, / 3: the same in marks."
    )
    interval: Interval | None = Field(description="None where the weights state none, or where it is withheld.")
    interval_withheld: str | None = Field(default=None, description="Why no interval is given.")
    interval_factor: float = Field(default=1.0, description="How many times wider it is than on calibration dives.")
    familiarity: Familiarity | None = Field(default=None, description="None where it is not measured.")
    stages: tuple[Stage, Stage, Stage]
    votes: tuple[Vote, ...]
    attention: Attention | None = Field(description="Present when asked for.")
    provenance: Provenance
    notes: tuple[str, ...] = Field(
        description="Caveats a reader should know; the first says it where the weights come from simulated dives."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_marks(cls, content: Any) -> Any:
        """Fill in what older results lack."""
        if not isinstance(content, dict) or "mark" in content or not isinstance(content.get("execution"), (int, float)):
            return content
        mark, start, degree = content["execution"] / COUNTING_MARKS, content["exemplar_score"], content["difficulty"]
        return {**content, "mark": mark, "exemplar_mark": start / degree / COUNTING_MARKS if degree else mark}

    @property
    def unit(self) -> Unit:
        """What ``value`` and the like are in: points where they are given, else marks."""
        return "marks" if self.score is None else "points"

    @property
    def value_name(self) -> str:
        """What ``value`` is called."""
        return "mark" if self.score is None else "score"

    @property
    def value(self) -> float:
        """The score, or the mark where no points are given."""
        return self.mark if self.score is None else self.score

    @property
    def exemplar_value(self) -> float:
        """The exemplars' mean in the same unit."""
        return self.exemplar_mark if self.exemplar_score is None else self.exemplar_score

    @property
    def stage_values(self) -> tuple[float, float, float]:
        """What each stage wins or loses, in the same unit."""
        takeoff, flight, entry = (
            stage.marks if stage.contribution is None else stage.contribution for stage in self.stages
        )
        return takeoff, flight, entry


# Everything an explanation of a score carries, as values. Tables, pictures, the report and the JSON all read this.
#
# Points are final-score points. Layers and heads count from 1, snippets and sampled frames from 0, ends are
# exclusive.

EXPLANATION_SCHEMA_VERSION: Final = 4
"""Raised whenever a reader of an older JSON could misread a newer one. Version 1 was an assessment alone; version 2 had
no ``Unscored``; version 3 was always in points."""

TOLERANCE: Final = 1e-4
"""How exactly the sums and the self-comparison must hold, points."""

JITTER_FRAMES: Final = 2
"""Sampled frames by which the transitions are shifted to test stability."""

Replacement = Literal["exemplar", "bank_mean", "bank_best"]
"""Each exemplar's own stage; the mean stage of the bank's dives of the same number; that of the best of these."""

BackgroundKind = Literal["bank_mean", "exemplar", "own_mean", "own_colour"]
"""Mean picture of the exemplars' thumbnails; one exemplar's thumbnail (another venue, its athlete still in it). Where
the bank has no pictures: the clip's own mean picture without the athlete; the mean colour of the clip's own
background."""

Row36 = tuple[float, ...]
Row3 = tuple[float, float, float]


MeasurementName = Literal[
    "air_time",
    "file_air_time",
    "rise",
    "takeoff_velocity",
    "entry_velocity",
    "distance",
    "total_turn",
    "half_somersaults",
    "half_twists",
    "rotation",
    "opening",
    "takeoff_lean",
    "entry_angle",
    "splash",
]
"""Time in the air, real and in the file; rise of the centre of mass after the take-off; its velocity upwards then, and
downwards at the entry; distance travelled across the picture; the whole turn; half somersaults and half twists;
fastest rotation; opening before the entry; lean at the take-off; angle at the entry; size of the splash."""

MeasurementReason = Literal[
    "no_dive",
    "no_takeoff",
    "no_entry",
    "not_read",
    "not_seen",
    "camera_along",
    "turns_unsure",
    "twists_hidden",
    "never_closed",
    "no_splash",
]
"""Why a fact is not told, as one of a closed list."""


class Measurement(Value):
    """One measured fact of a dive; docs/measurements.md has the convention of the angles."""

    name: MeasurementName
    value: float | None = Field(description="In `unit`; None where the clip cannot tell.")
    unit: str
    error: float | None = Field(
        description="Usual error, in `unit`: 68% of the errors on simulated footage are smaller. None without a "
        "value, for counts, and where it is not known."
    )
    probability: float | None = Field(default=None, description="Of a count: that it is right, 0..1; else None.")
    reason_kind: MeasurementReason | None = Field(
        default=None, description="Why there is no value, as one of a closed list; None if there is one."
    )
    reason: str | None = Field(default=None, description="The same in words.")


class StageIntervention(Value):
    """What the score would be had one stage been another: do(stage := ...)."""

    stage: StageName
    replaced_by: Replacement
    score: float = Field(description="Score after the replacement, averaged over the exemplars.")
    change: float = Field(description="score after minus score before, points: what the stage has cost if positive.")
    stage_changes: Row3 = Field(
        description="Change of each stage's contribution, points; what differs from 0 in later stages came downstream."
    )
    voters_gaining: int = Field(description="By how many exemplars the score rises with it.")


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


class FrozenFlight(Value):
    """The score with the flight frozen: every frame in the air shows the body of the first one."""

    score: float
    change: float = Field(description="score minus the score of the dive.")
    frames: int = Field(description="Sampled frames that were frozen.")
    moves: bool = Field(
        description="Whether the score falls by 15 points, or 1.7 marks, or more; otherwise it hardly listens to it."
    )


class Checks(Value):
    """Whether the explanation is consistent with the score and with itself."""

    tolerance: float = Field(description="Most that the first two errors may be, points.")
    decomposition_error: float = Field(
        description="|exemplar score + sum of the stages' contributions - score|, points."
    )
    self_error: float = Field(
        description="With all three stages the exemplar's own, the largest distance over the exemplars between the "
        "difference found and that of the exemplar against itself, points."
    )
    self_difference: float = Field(
        description="Largest absolute difference of an exemplar against itself, points; 0 in an antisymmetric network."
    )
    holds: bool = Field(description="Whether both errors are within the tolerance.")
    jitter: Jitter
    deletion: Deletion | None = Field(description="None in a network without graph attention.")
    frozen_flight: FrozenFlight | None = Field(
        default=None, description="Measured whether or not such a clip would be refused; None without a flight."
    )


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
    """The attention of the causal intervention, averaged over the exemplars."""

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
    """The temporal causal attention of the query, averaged over the exemplars."""

    matrices: tuple[tuple[tuple[Row3, Row3, Row3], ...], ...] = Field(
        description="By layer and head: 3 x 3, row attends to column, lower triangular, rows add up to 1."
    )
    mean: tuple[Row3, Row3, Row3] = Field(description="The mean over layers and heads.")


class Explanation(Value):
    """A scored dive with the reasons for its score."""

    schema_version: Literal[4] = EXPLANATION_SCHEMA_VERSION
    status: Literal["scored"] = "scored"
    flight_start_s: float | None = Field(default=None, description="As in the assessment; null if unknown.")
    entry_start_s: float | None = None
    time_scale: float | None = None
    assessment: Assessment
    unit: Unit = Field(
        default="points",
        description="Of every score and change below that is called points: marks where the dive gets no points.",
    )
    athlete: tuple[AthleteFrame, ...] = Field(
        default=(), description="The athlete in each of the 96 sampled frames; empty where no flight was found."
    )
    measurements: tuple[Measurement, ...] = Field(
        default=(), description="What was measured of the dive, without any weights that judge."
    )
    unsure_stages: dict[StageName, str] = Field(
        default={},
        description="Stages of which the summary says nothing, and why: a border is far from the take-off or entry "
        "found in the video, or the athlete is not seen in it.",
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

    def timed(self, seconds: float) -> Explanation:
        """Return the same with how long the whole of it took, not the verdict alone."""
        made = self.assessment.provenance.model_copy(update={"seconds": seconds})
        return self.model_copy(update={"assessment": self.assessment.model_copy(update={"provenance": made})})
