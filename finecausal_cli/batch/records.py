"""Rows of a batch: one row a dive, its key, the journal that a resumed run reads, and merging."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeVar

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError, model_validator

from finecausal_cli.atomic import atomic_write
from finecausal_cli.config import __version__
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import DatasetError, DiveNumberError, ErrorKind, FinecausalError, OutputError
from finecausal_cli.scoring import with_corrections
from finecausal_cli.scoring.results import Assessment, Unscored, Value
from finecausal_cli.video.source import PICTURE_SUFFIXES
from finecausal_cli.weights import TrainedOn  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from finecausal_cli.batch.inputs import Item
    from finecausal_cli.scoring import ScoreOptions
    from finecausal_cli.scoring.results import Candidate
    from finecausal_cli.scoring.scorer import Scorer


# One dive's line in a file of results: scored, refused or failed, and why.

ROW_VERSION: Final = 3
"""Part of a row's key: rows of another version are scored anew. Version 1 judged every clip, whatever it showed;
version 2 gave points whether or not the dive number was sure."""

Status = Literal["scored", "refused", "failed"]
"""``refused``: the clip can be read and shows no dive that could be judged."""

RowType = TypeVar("RowType", bound=Value)

ClipKey = tuple[str, float | None, float | None]
"""A requested part of a video: source, start and end."""


class Row(Value):
    """What became of one dive. Every field but ``assessment`` is one column of a table."""

    row_version: Literal[1, 2, 3] = ROW_VERSION
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
    exemplars_chosen: str | None = Field(default=None, description="How the exemplars were chosen, in words.")
    voters: int | None = Field(default=None, description="How many exemplars it was compared with.")
    start_s: float | None = Field(default=None, description="Where the dive starts in the source, if that was given.")
    end_s: float | None = None
    error_kind: ErrorKind | None = Field(default=None, description="Why it has no score, as one of a closed list.")
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
    trained_on: TrainedOn = Field(default="unknown", description="Which dives the weights were trained on.")
    mark: float | None = Field(default=None, description="execution / 3: the mean of the counting marks, 0 to 10.")
    takeoff_marks: float | None = Field(default=None, description="Marks won or lost against the exemplars, 0 to 10.")
    flight_marks: float | None = None
    entry_marks: float | None = None
    points_low: float | None = Field(default=None, description="Lowest points that the possible heights give.")
    points_high: float | None = Field(default=None, description="Highest points that the possible heights give.")
    candidates: str | None = Field(
        default=None,
        description="The likeliest dive numbers where none is sure: number, probability, difficulty and points that it "
        "would give; separated by ' | '.",
    )
    height_from: str | None = Field(default=None, description="Where the height comes from, in words.")
    height_candidates: str | None = Field(default=None, description="Possible heights, metres, likeliest first.")
    interval_withheld: str | None = Field(default=None, description="Why no interval is given.")
    interval_factor: float | None = Field(default=None, description="How many times wider it is than usual.")
    diver: str | None = Field(default=None, description="Who dives, as the manifest says.")
    date: str | None = Field(default=None, description="When, ISO 8601, as the manifest says.")
    file_time: str | None = Field(default=None, description="When the file was last changed, ISO 8601, UTC.")
    assessment: Assessment | None = Field(default=None, description="The whole verdict; not in csv and parquet.")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_an_older_assessment(cls, content: Any) -> Any:
        """Read rows of version 1 without their assessments, which were of another form."""
        if isinstance(content, dict) and content.get("row_version") == 1:
            return {**content, "assessment": None}
        return content

    @property
    def clip_key(self) -> ClipKey:
        """Which part of a video it is of. Rows of a new run replace those of older runs for the same part."""
        return self.source, self.start_s, self.end_s

    @property
    def given(self) -> tuple[str | None, float | None, float | None]:
        """Dive number, height and difficulty as options; None where they were not given."""
        dive = self.dive.strip().upper() if self.dive is not None and self.dive_from in (None, "given") else None
        height_m = self.height_m if self.height_from in (None, "given") else None
        return dive, height_m, self.difficulty if self.difficulty_from in (None, "given") else None

    @property
    def is_scored(self) -> bool:
        """Whether it was scored; then there is a score, unless the clip lacks a part of the dive."""
        return self.status == "scored"

    def light(self) -> Row:
        """Return the row without the whole assessment: some kilobytes less to keep in memory."""
        return self.model_copy(update={"assessment": None})


COLUMNS: tuple[str, ...] = tuple(name for name in Row.model_fields if name != "assessment")
"""Columns of a table of rows, in order."""


def scored_row(job: Job, assessment: Assessment) -> Row:
    """Return the row of an assessment."""
    made = assessment.provenance
    takeoff, flight, entry = assessment.stages
    interval = assessment.interval if assessment.unit == "points" else None
    points_low, points_high = assessment.points_range or (None, None)
    withheld, perhaps = assessment.points_withheld, assessment.dive_from.removeprefix("not sure: ")
    return Row(
        **_identity(job),
        status="scored",
        error_kind=None if withheld is None else "no_number",
        error=None if withheld is None else f"no points are given: {withheld} ({perhaps})",
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
        trained_on=made.trained_on,
        mark=assessment.mark,
        takeoff_marks=takeoff.marks,
        flight_marks=flight.marks,
        entry_marks=entry.marks,
        points_low=points_low,
        points_high=points_high,
        candidates=" | ".join(map(_candidate_in_words, assessment.candidates)) or None,
        height_from=assessment.height_from or None,
        height_candidates=" ".join(f"{height:g}" for height in assessment.height_candidates) or None,
        interval_withheld=assessment.interval_withheld,
        interval_factor=None if interval is None else assessment.interval_factor,
        assessment=assessment.model_copy(update={"source": job.item.source}),
    )


def _candidate_in_words(candidate: Candidate) -> str:
    known = [candidate.dive, f"{candidate.probability:.2f}"]
    for bounds, digits in ((candidate.difficulty, 1), (candidate.score, 2)):
        if bounds is not None:
            known.append("-".join(dict.fromkeys(f"{value:.{digits}f}" for value in bounds)))
    return " ".join(known)


def unscored_row(job: Job, unscored: Unscored, *, seconds: float | None = None) -> Row:
    """Return the row of a dive that is refused, or whose points are withheld."""
    options = job.item.options
    return Row(
        **_identity(job),
        status=unscored.status,
        dive=unscored.dive or options.dive,
        dive_from=unscored.dive_from,
        height_m=options.height_m,
        difficulty=options.difficulty,
        flight_start_s=unscored.flight_start_s,
        entry_start_s=unscored.entry_start_s,
        error_kind=unscored.reason,
        error=unscored.message,
        notes=" | ".join(unscored.notes) or None,
        seconds=seconds,
        time_scale=unscored.time_scale,
        athlete_seen=unscored.athlete_seen,
        forced=unscored.forced,
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
        error=error_in_one_line(error, job),
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
        **labels_of(job.item),
        "file_time": job.file_time,
    }


def labels_of(item: Item) -> dict[str, str | None]:
    """Return who dives when, as columns of a row."""
    return {"diver": item.diver or None, "date": item.date or None}


def _file_time(path: str) -> str | None:
    try:
        changed_s = os.stat(path).st_mtime  # noqa: PTH116 - names that are no valid text
        return datetime.fromtimestamp(int(changed_s), timezone.utc).isoformat()
    except (OSError, ValueError, OverflowError):
        return None


def error_in_one_line(error: Exception, job: Job) -> str:
    """Return what is wrong and what to do; another column names the dive."""
    if not isinstance(error, FinecausalError):
        return " ".join(f"{type(error).__name__}: {error}".split())
    where = None if error.where in (job.item.source, job.item.path) else error.where
    text = error.what if where is None else f"{where}: {error.what}"
    return " ".join((text if error.hint is None else f"{text} ({error.hint})").split())


# What a dive's row belongs to: the content of its file, the weights, the bank and the options that matter.

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the numbers of a row depend on besides content and options.

    Attributes:
        weights_digest: Digest of the weights.
        bank_digest: Digest of the bank.
        precision: How exactly the backbones compute.
        reader_digest: Digest of the athlete reader's weights; empty without one.
        framing: How large athletes are shown to the network; empty for whole pictures.
    """

    weights_digest: str
    bank_digest: str
    precision: str
    reader_digest: str = ""
    framing: str = ""

    @classmethod
    def of(cls, scorer: Scorer) -> RunSettings:
        """Return the settings of a scorer."""
        framing = scorer.model.config.framing
        return cls(
            scorer.weights[1],
            scorer.bank.digest,
            scorer.precision,
            "" if scorer.reader is None else scorer.reader.digest,
            "" if framing is None else framing.model_dump_json(),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A dive to score, and what its row will be known by. Small and picklable: it travels between machines.

    Attributes:
        item: The dive.
        sha256: Digest of its content; None if that cannot be read.
        key: Digest of content, weights, bank and options: equal keys mean equal rows.
        file_time: When the file was last changed, ISO 8601, UTC; None where that is not known.
    """

    item: Item
    sha256: str | None
    key: str
    file_time: str | None = None

    @property
    def row_key(self) -> tuple[ClipKey, str]:
        """What tells its row from the others of a batch."""
        options = self.item.options
        return (self.item.source, options.start_s, options.end_s), self.key


def identify(item: Item, settings: RunSettings | None) -> Job:
    """Read a dive's file once and tell what its row will be known by. Never raises for a bad file.

    Args:
        item: The dive.
        settings: What else its row depends on; None for a dive without a row: its file is not read and it has no key.
    """
    if item.problem is None:
        # Corrections of earlier runs are options too.
        options, notes = with_corrections(item.path, item.options)
        item = replace(item, options=options, notes=notes)
    if settings is None:
        return Job(item, None, "")
    sha256 = None if item.problem is not None else digest_content(item.path)
    facts = {
        "row": ROW_VERSION,
        # What cannot be read has no content: then the name stands for it, until it can.
        "content": sha256 or f"unread:{item.path}",
        **asdict(settings),
        "options": options_that_matter(item.options),
    }
    if item.problem is not None:
        facts["problem"] = str(item.problem)
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Job(item, sha256, key, _file_time(item.path))


def options_that_matter(options: ScoreOptions) -> dict[str, object]:
    """Return the options on which the numbers depend, a dive number in its canonical form."""
    facts = asdict(options)
    for name in ("timeout_s", "attention"):
        del facts[name]
    if options.dive is not None:
        try:
            facts["dive"] = str(parse_dive_number(options.dive))
        except DiveNumberError:
            facts["dive"] = options.dive
    return facts


def digest_content(path: str) -> str | None:
    """Return the SHA-256 of a file, or of a folder's pictures with their names.

    Nothing but regular files is opened: a pipe would block.

    Returns:
        64 hexadecimal digits, or None if it is missing, forbidden or no file.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - Path.stat would refuse names that are no valid text
        if stat.S_ISREG(status.st_mode):
            return _digest_file(path)
        if not stat.S_ISDIR(status.st_mode):
            return None
        whole = hashlib.sha256()
        for file in sorted(Path(path).iterdir(), key=lambda file: os.fsencode(file.name)):
            if file.suffix.lower() in PICTURE_SUFFIXES and file.name[0] != "." and file.is_file():
                whole.update(os.fsencode(file.name) + b"\0" + _digest_file(file).encode() + b"\0")
        return whole.hexdigest()
    except (OSError, ValueError):
        return None


def _digest_file(path: str | os.PathLike[str]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - as above
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


# The journal of a batch: one row a line, on the disk as soon as it is known.
#
# A process killed while it writes leaves at most one line that is not whole, the last one; it is cut off when the
# file is opened again. A dive is scored again only if its row is not in the file, so nothing is lost or doubled.

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Journal:
    """Rows on disk, written by one process at a time. Use it as a context manager.

    Args:
        path: The file, JSON Lines; made when missing.
        kind: What its rows are.
    """

    def __init__(self, path: Path, kind: type[Value] = Row) -> None:
        self.path = path
        self._kind = kind
        self._begin = f'{{"{next(iter(kind.model_fields))}"'.encode()
        # Hidden, and left behind: removing a lock file would let two writers hold "the" lock.
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Journal:
        """Keep other writers out, and cut off what a killed one left unfinished.

        Raises:
            OutputError: Another process writes to it, or it cannot be written.
            DatasetError: It holds something that is no row.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout:
            hint = "wait for it, or write to another file"
            raise OutputError("another run is writing to it", where=self.path, hint=hint) from None
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._cut_off_unfinished_line()
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._lock.release()

    def append(self, row: Value) -> None:
        """Add a row; when this returns it is on the disk.

        Raises:
            OutputError: The disk is full, or gone. What was there before stays whole.
        """
        assert self._stream is not None  # noqa: S101 - used within the context
        line = to_line(row)
        whole = self._stream.seek(0, os.SEEK_END)
        try:
            while line:  # a file without a buffer may take less than it was given
                line = line[self._stream.write(line) :]
            os.fsync(self._stream.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._stream.truncate(whole)
            raise self._unwritable(error) from error

    def drop(self, is_stale: Callable[[Any], bool]) -> int:
        """Take rows out, in one step; return how many.

        Raises:
            OutputError: The file cannot be written; then it is as it was.
        """
        dropped = 0
        if not any(is_stale(row) for row in read_rows_of(self._kind, self.path)):
            return 0
        self._close()
        with atomic_write(self.path, "the results") as part, part.open("wb") as stream:
            for row in read_rows_of(self._kind, self.path):
                if is_stale(row):
                    dropped += 1
                else:
                    stream.write(to_line(row))
        self._open()
        return dropped

    def _open(self) -> None:
        try:
            self._stream = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _cut_off_unfinished_line(self) -> None:
        if not self.path.exists():
            return
        try:
            with self.path.open("rb+") as stream:
                end = _end_of_whole_lines(stream)
                if end < stream.seek(0, os.SEEK_END):
                    stream.seek(0)  # what never was a journal must not be cut
                    if not self._begin.startswith(stream.read(len(self._begin))):
                        raise _no_row(self.path, 1, "it begins as something else")
                    stream.truncate(end)
                    os.fsync(stream.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputError:
        what = f"the results cannot be written: {error.strerror or error}"
        return OutputError(what, where=self.path, hint="check the folder, its rights and the free space")


def to_line(row: Value) -> bytes:
    """Return a row as one line of JSON, with everything that it holds."""
    text = json.dumps(row.model_dump(mode="json"), ensure_ascii=False, allow_nan=False)
    return (_LONE_SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text) + "\n").encode()


def read_result_rows(path: Path) -> Iterator[Row]:
    """Read the rows of a journal of scores; see ``read_rows_of``."""
    return read_rows_of(Row, path)


def read_rows_of(kind: type[RowType], path: Path) -> Iterator[RowType]:
    """Read the rows, of one kind, of a journal one by one; a last line that is not whole is left out.

    Raises:
        DatasetError: The file is missing, unreadable, or a line of it is no row.
    """
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    return
                if line.strip():
                    yield _parse(kind, line, path, number)
    except OSError as error:
        raise DatasetError(f"the results cannot be read: {error.strerror or error}", where=path) from error


def _parse(kind: type[RowType], line: bytes, path: Path, number: int) -> RowType:
    try:
        # Not by pydantic's own reader of JSON: a name that is no valid text is written as escapes that it refuses.
        return kind.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        raise _no_row(path, number, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError:
        raise _no_row(path, number, "it is no line of JSON") from None


def _no_row(path: Path, number: int, why: str) -> DatasetError:
    what = f"line {number} is no row of results: {why}"
    return DatasetError(what, where=path, hint="name another file, or move this one away")


def _end_of_whole_lines(stream: IO[bytes]) -> int:
    """Return where the last line that ends with a line break ends."""
    position = stream.seek(0, os.SEEK_END)
    chunk = 1 << 16
    while position > 0:
        start = max(0, position - chunk)
        stream.seek(start)
        last = stream.read(position - start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        position = start
    return 0


# Join the results of several runs.


@dataclass(frozen=True, slots=True)
class Merged:
    """What several files of results hold together: the line that counts for each dive.

    Attributes:
        journals: The files.
        lines: For each file, the numbers (from 0) of its rows that count.
        replaced: Rows that gave way to another of the same dive.
    """

    journals: tuple[Path, ...]
    lines: tuple[frozenset[int], ...]
    replaced: int

    def rows(self) -> Iterator[Row]:
        """Give the rows that count, file after file; one at a time, for they may be many."""
        for journal, wanted in zip(self.journals, self.lines, strict=True):
            yield from (row for number, row in enumerate(read_result_rows(journal)) if number in wanted)


def merge_journals(journals: Sequence[Path]) -> Merged:
    """Find the row that counts for each dive: a score before a failure, then the later one.

    Rows of one clip with other dive numbers, heights or difficulties given are rows of their own.

    Raises:
        DatasetError: A file is missing, unreadable or holds no rows of results.
    """
    best: dict[tuple[object, ...], tuple[bool, int, int]] = {}
    seen = 0
    for journal_index, journal in enumerate(journals):
        for line, row in enumerate(read_result_rows(journal)):
            seen += 1
            candidate = (row.is_scored, journal_index, line)
            dive = row.clip_key, row.given, row.dive_index
            best[dive] = max(best.get(dive, candidate), candidate)
    lines = tuple(frozenset(line for _, file, line in best.values() if file == index) for index in range(len(journals)))
    return Merged(tuple(journals), lines, seen - len(best))
