"""One dive's line in a file of results: scored, or failed and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from pydantic import Field

from finecausal_cli import __version__
from finecausal_cli.assess.assessment import Assessment, Value
from finecausal_cli.errors import ErrorKind, FinecausalError

if TYPE_CHECKING:
    from finecausal_cli.assess.batch.identity import Job

ROW_VERSION: Final = 1
"""Part of a row's key: rows of another version are scored anew."""

Status = Literal["scored", "failed"]
RowErrorKind = Literal[ErrorKind, "unexpected"]
"""``unexpected`` is a mistake of ours or of a library: an exception that nobody foresaw."""

ERROR_KINDS: tuple[str, ...] = get_args(RowErrorKind)


class Row(Value):
    """What became of one dive. Every field but ``assessment`` is one column of a table."""

    row_version: Literal[1] = ROW_VERSION
    source: str = Field(description="The video file or folder of frames, as given.")
    status: Status
    score: float | None = Field(default=None, description="Final score, points; None for a dive that failed.")
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
    flight_start_s: float | None = Field(default=None, description="Where the flight starts in the source, seconds.")
    entry_start_s: float | None = None
    exemplars_chosen: str | None = Field(default=None, description="How the voters were chosen, in words.")
    voters: int | None = Field(default=None, description="How many exemplars voted.")
    start_s: float | None = Field(default=None, description="Where the dive starts in the source, if that was given.")
    end_s: float | None = None
    error_kind: RowErrorKind | None = Field(default=None, description="Why it failed, as one of a closed list.")
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
    assessment: Assessment | None = Field(default=None, description="The whole verdict; not in csv and parquet.")

    @property
    def place(self) -> tuple[str, float | None, float | None]:
        """Which dive it is: a place in a video. A newer row of the same place replaces an older one."""
        return self.source, self.start_s, self.end_s

    @property
    def is_scored(self) -> bool:
        """Whether there is a score."""
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
        flight_start_s=flight.start_s,
        entry_start_s=entry.start_s,
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
        assessment=assessment.model_copy(update={"source": job.item.source}),
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
