"""One dive's line in a file of results: scored, refused or failed, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pydantic import Field, model_validator

from finecausal_cli.assess.assessment import Assessment, Unscored, Value
from finecausal_cli.errors import ErrorKind, FinecausalError
from finecausal_cli.version import __version__

if TYPE_CHECKING:
    from finecausal_cli.assess.batch.identity import Job

ROW_VERSION: Final = 2
"""Part of a row's key: rows of another version are scored anew. Version 1 judged every clip, whatever it showed."""

Status = Literal["scored", "refused", "failed"]
"""``refused``: the clip can be read and shows no dive that could be judged."""

Place = tuple[str, float | None, float | None]
"""The part of a video that was asked for: source, start and end."""

RowErrorKind = Literal[ErrorKind, "unexpected"]
"""``unexpected`` is a mistake of ours or of a library: an exception that nobody foresaw."""

ERROR_KINDS: tuple[str, ...] = get_args(RowErrorKind)


class Row(Value):
    """What became of one dive. Every field but ``assessment`` is one column of a table."""

    row_version: Literal[1, 2] = ROW_VERSION
    source: str = Field(description="The video file or folder of frames, as given.")
    status: Status
    score: float | None = Field(default=None, description="Final score, points; None without one.")
    interval_low: float | None = None
    interval_high: float | None = None
    interval_level: float | None = Field(default=None, description="Stated coverage of the interval, e.g. 0.9.")
    execution: float | None = Field(default=None, description="score / difficulty, 0 to 30.")
    difficulty: float | None = None
    difficulty_from: str | None = None
    dive: str | None = Field(default=None, description="Dive number, given or recognised.")
    dive_from: str | None = None
    height_m: float | None = None
    exemplar_score: float | None = Field(default=None, description="Where the sum of the stages starts, points.")
    takeoff_points: float | None = Field(default=None, description="Points won or lost against the exemplars.")
    flight_points: float | None = None
    entry_points: float | None = None
    flight_start_s: float | None = Field(
        default=None, description="When the athlete leaves the board, seconds of the source; None if nobody found it."
    )
    entry_start_s: float | None = Field(default=None, description="When the athlete touches the water; the same.")
    exemplars_chosen: str | None = Field(default=None, description="How the voters were chosen, in words.")
    voters: int | None = Field(default=None, description="How many exemplars voted.")
    start_s: float | None = Field(default=None, description="Where the dive starts in the source, if that was given.")
    end_s: float | None = None
    error_kind: RowErrorKind | None = Field(default=None, description="Why it has no score, as one of a closed list.")
    error: str | None = Field(default=None, description="The same in one line of words.")
    notes: str | None = Field(default=None, description="Caveats, separated by ' | '.")
    seconds: float | None = Field(default=None, description="From the start of reading to the row, this dive alone.")
    sha256: str | None = Field(default=None, description="Digest of the content; None if it cannot be read.")
    key: str = Field(description="Digest of content, weights, bank and options: equal keys, equal numbers.")
    version: str
    weights: str | None = None
    weights_digest: str | None = None
    bank: str | None = None
    bank_digest: str | None = None
    device: str | None = None
    precision: str | None = None
    decoder: str | None = None
    time_scale: float | None = Field(default=None, description="Times slower than real time, 1 = normal.")
    clip_start_s: float | None = Field(default=None, description="Where the part of the source begins that was judged.")
    clip_end_s: float | None = None
    athlete_seen: int | None = Field(default=None, description="In how many of the 96 sampled frames.")
    forced: str | None = Field(default=None, description="Why it would have been refused; scored by --force.")
    dive_index: int | None = Field(default=None, description="With --all-dives: which of the dives in the source.")
    dives_found: int | None = Field(default=None, description="With --all-dives: how many rows the source has.")
    assessment: Assessment | None = Field(default=None, description="The whole verdict; not in csv and parquet.")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_an_older_verdict(cls, content: Any) -> Any:
        """Read rows of version 1 without their verdicts, which were of another form."""
        if isinstance(content, dict) and content.get("row_version") == 1:
            return {**content, "assessment": None}
        return content

    @property
    def place(self) -> Place:
        """Which part of a video it is of. Newer rows of the same place replace older ones."""
        return self.source, self.start_s, self.end_s

    @property
    def is_scored(self) -> bool:
        """Whether it was judged; then there is a score, unless the clip lacks a part of the dive."""
        return self.status == "scored"

    def light(self) -> Row:
        """Return the row without the whole verdict: some kilobytes less to keep in memory."""
        return self.model_copy(update={"assessment": None})


COLUMNS: tuple[str, ...] = tuple(name for name in Row.model_fields if name != "assessment")
"""Columns of a table of rows, in order."""


def scored_row(job: Job, assessment: Assessment) -> Row:
    """Return the row of a verdict."""
    made = assessment.provenance
    takeoff, flight, entry = assessment.stages
    interval = assessment.interval
    return Row(
        **_identity(job),
        status="scored",
        score=assessment.score,
        interval_low=None if interval is None else interval.low,
        interval_high=None if interval is None else interval.high,
        interval_level=None if interval is None else interval.level,
        execution=assessment.execution,
        difficulty=assessment.difficulty,
        difficulty_from=assessment.difficulty_from,
        dive=assessment.dive,
        dive_from=assessment.dive_from,
        height_m=assessment.height_m,
        exemplar_score=assessment.exemplar_score,
        takeoff_points=takeoff.contribution,
        flight_points=flight.contribution,
        entry_points=entry.contribution,
        flight_start_s=assessment.flight_start_s,
        entry_start_s=assessment.entry_start_s,
        exemplars_chosen=made.exemplars_chosen,
        voters=len(assessment.votes),
        notes=" | ".join(assessment.notes) or None,
        seconds=made.seconds,
        weights=made.weights,
        weights_digest=made.weights_digest,
        bank=made.bank,
        bank_digest=made.bank_digest,
        device=made.device,
        precision=made.precision,
        decoder=made.decoder,
        time_scale=assessment.time_scale,
        clip_start_s=assessment.clip_start_s,
        clip_end_s=assessment.clip_end_s,
        athlete_seen=assessment.athlete_seen,
        forced=assessment.forced,
        assessment=assessment.model_copy(update={"source": job.item.source}),
    )


def unscored_row(job: Job, found: Unscored, *, seconds: float | None = None) -> Row:
    """Return the row of a dive that is refused, or whose points are withheld."""
    options = job.item.options
    return Row(
        **_identity(job),
        status=found.status,
        dive=found.dive or options.dive,
        dive_from=found.dive_from,
        height_m=options.height_m,
        difficulty=options.difficulty,
        flight_start_s=found.flight_start_s,
        entry_start_s=found.entry_start_s,
        error_kind=found.reason,
        error=found.message,
        notes=" | ".join(found.notes) or None,
        seconds=seconds,
        time_scale=found.time_scale,
        athlete_seen=found.athlete_seen,
    )


def failed_row(job: Job, error: Exception, *, seconds: float | None = None) -> Row:
    """Return the row of a dive that could not be scored."""
    options = job.item.options
    return Row(
        **_identity(job),
        status="failed",
        dive=options.dive,
        height_m=options.height_m,
        difficulty=options.difficulty,
        error_kind=error.kind if isinstance(error, FinecausalError) else "unexpected",
        error=_in_one_line(error, job),
        seconds=seconds,
    )


def _identity(job: Job) -> dict[str, Any]:
    options = job.item.options
    return {
        "source": job.item.source,
        "start_s": options.start_s,
        "end_s": options.end_s,
        "sha256": job.sha256,
        "key": job.key,
        "version": __version__,
    }


def _in_one_line(error: Exception, job: Job) -> str:
    """Say what is wrong and what to do; the dive itself is named by another column."""
    if not isinstance(error, FinecausalError):
        return " ".join(f"{type(error).__name__}: {error}".split())
    where = None if error.where in (job.item.source, job.item.path) else error.where
    said = error.what if where is None else f"{where}: {error.what}"
    return " ".join((said if error.hint is None else f"{said} ({error.hint})").split())
