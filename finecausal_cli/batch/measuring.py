"""Measure dives: the athlete reader alone, one dive or many, a row each that a later run need not measure again."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field

from finecausal_cli.batch import TIMEOUT_S, BatchConfig, MeasureConfig
from finecausal_cli.batch.inputs import Item, find_inputs, read_listed
from finecausal_cli.batch.pipeline import ReadJob, log_unforeseen, read_job, run_jobs
from finecausal_cli.batch.records import (
    ClipKey,
    Job,
    Journal,
    RunSettings,
    error_in_one_line,
    identify,
    read_rows_of,
)
from finecausal_cli.config import __version__
from finecausal_cli.device import one_thread, resolve_device
from finecausal_cli.errors import ErrorKind, FinecausalError, RefusedError, UsageError
from finecausal_cli.scoring import ScoreOptions, keep_corrections
from finecausal_cli.scoring.dive_reading import reading_process
from finecausal_cli.scoring.measurements import CountRecogniser, Kinematics, ReadDive
from finecausal_cli.scoring.prepared_dive import PreparedDive, prepare_dive
from finecausal_cli.scoring.results import Measurement, Unscored, Value
from finecausal_cli.scoring.tracks import track_viewing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    import torch

    from finecausal_cli.athlete.reader import AthleteReader
    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.batch.inputs import Inputs
    from finecausal_cli.scoring.dive_reading import ReadAhead, Viewing

MEASURED_VERSION: Final = 1


class MeasuredDive(Value):
    """What was measured of one dive, or why nothing was."""

    measured_version: Literal[1] = MEASURED_VERSION
    source: str = Field(description="The video file or folder of frames, as given.")
    status: Literal["measured", "refused", "failed"] = Field(
        description="refused: the clip shows no dive; failed: it cannot be read."
    )
    dive_index: int = Field(default=1, description="Which of the dives in the file it is, in their order, from 1.")
    dives_found: int = Field(default=0, description="How many dives the file holds.")
    flight_start_s: float | None = Field(
        default=None, description="When the athlete leaves the board, seconds of the file; None if nobody found it."
    )
    entry_start_s: float | None = Field(default=None, description="When the athlete touches the water; the same.")
    time_scale: float | None = Field(default=None, description="Times slower than real time, 1 = normal.")
    height_m: float | None = Field(default=None, description="Height of the board, given or told surely.")
    height_from: str = Field(default="", description="Where the height comes from, in words.")
    measurements: tuple[Measurement, ...] = Field(
        default=(), description="Every fact, in one order; empty where nothing was read."
    )
    athlete_seen: int | None = Field(default=None, description="In how many of the 96 sampled frames.")
    forced: str | None = Field(default=None, description="Why it would have been refused; measured by --force.")
    error_kind: ErrorKind | None = Field(default=None, description="Why nothing was measured, of a closed list.")
    error: str | None = Field(default=None, description="The same in one line of words, with what to do.")
    notes: tuple[str, ...] = Field(default=(), description="Caveats a reader should know.")
    start_s: float | None = Field(default=None, description="Where the dive starts in the source, if that was given.")
    end_s: float | None = Field(default=None, description="Where it ends, if that was given.")
    seconds: float | None = Field(default=None, description="From the start of reading to the result.")
    key: str = Field(default="", description="Digest of content, reader and options: equal keys, equal results.")
    version: str = __version__

    @property
    def clip_key(self) -> ClipKey:
        """Which part of a video it is of."""
        return self.source, self.start_s, self.end_s

    def of(self, name: str) -> Measurement | None:
        """Return a fact by its name; None where nothing was read."""
        return next((fact for fact in self.measurements if fact.name == name), None)


@dataclass(frozen=True)
class DiveBody:
    """The body in a measured dive, frame by frame.

    Attributes:
        kinematics: Joints and angles of each distinct frame.
        track: What they come from.
        file_s: float64 [T], when each of these frames is shown, seconds of the file.
        frames: int64 [T], their numbers in the file.
    """

    kinematics: Kinematics
    track: BodyTrack
    file_s: np.ndarray[Any, np.dtype[np.float64]]
    frames: np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Measured:
    """A result with what it was measured on; no body where the flight was not read."""

    dive: MeasuredDive
    body: DiveBody | None = None


class Measurer:
    """Measures dives. It holds the athlete reader and what recognises counts, and nothing that judges.

    Args:
        reader: Reads joints and outlines.
        device: Where it computes.
        recognise: Helps to count half somersaults; without it they are counted by the track alone.
    """

    def __init__(self, reader: AthleteReader, device: torch.device, recognise: CountRecogniser | None = None) -> None:
        self._reader = reader
        self._device = device
        self._recognise = recognise

    @classmethod
    def load(cls, device: str = "auto") -> Measurer:
        """Load the networks that come with the package.

        Raises:
            WeightsError: One is missing.
            UsageError: The device is not to be had.
        """
        from finecausal_cli.athlete.reader import AthleteReader

        resolved = resolve_device(device)
        with one_thread():
            return cls(AthleteReader.load(device=resolved), resolved, CountRecogniser.load(resolved))

    @property
    def viewing(self) -> Viewing:
        """How it wants its clips."""
        return track_viewing(self._reader)

    @property
    def settings(self) -> RunSettings:
        """What its results depend on besides content and options."""
        counting = "" if self._recognise is None else self._recognise.digest
        return RunSettings(counting, "", "", self._reader.digest, f"measured {MEASURED_VERSION} {__version__}")

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on the CPU."""
        return self._device.type == "cpu"

    def measure(self, path: str | os.PathLike[str], options: ScoreOptions | None = None) -> MeasuredDive:
        """Measure the surest dive of a file.

        Args:
            path: A video file or a folder of frames.
            options: ``start_s``, ``end_s``, ``takeoff_s``, ``entry_s``, ``athlete``, ``height_m`` and ``force`` count.

        Raises:
            RefusedError: It shows no dive.
            VideoError: It cannot be read.
            UsageError: The times or the athlete make no sense.
        """
        options = replace(options or ScoreOptions(), all_dives=False)
        (found,) = self.run(Item(os.fspath(path), os.fspath(path), options))
        if found.dive.status == "refused":
            raise RefusedError(found.dive.error or "no dive", where=os.fspath(path), kind=found.dive.error_kind)
        return found.dive

    def run(self, item: Item, ahead: ReadAhead | None = None, timeout_s: float = TIMEOUT_S) -> Iterator[Measured]:
        """Measure the surest dive of a file, or all of them with ``all_dives``; raises where it cannot be read."""
        job = identify(item, None)
        with closing(reading_process()) as process:
            for read in read_job(process, job, self.viewing, timeout_s, ahead):
                if isinstance(read.dive, Exception):
                    raise read.dive
                yield self._measured(read, read.dive)

    def finish(self, reads: Sequence[ReadJob]) -> list[Measured]:
        """Measure dives that were read; never raises for a bad clip."""
        results = []
        for read in reads:
            try:
                if isinstance(read.dive, Exception):
                    raise read.dive
                results.append(self._measured(read, read.dive))
            except Exception as error:
                log_unforeseen(error)
                results.append(Measured(_failed(read, error)))
        return results

    def _measured(self, read: ReadJob, dives: Any) -> Measured:
        item = read.job.item
        prepared = prepare_dive(dives, item.options, self._reader, source=item.source, notes=item.notes)
        facts = _identity(read.job, read.started)
        if isinstance(prepared, Unscored):
            refused = MeasuredDive(
                **facts,
                status="refused",
                dive_index=read.index or 1,
                dives_found=len(dives.search.dives),
                flight_start_s=prepared.flight_start_s,
                entry_start_s=prepared.entry_start_s,
                time_scale=prepared.time_scale,
                error_kind=prepared.reason,
                error=prepared.message,
                notes=prepared.notes,
                athlete_seen=prepared.athlete_seen,
                measurements=(),
            )
            return Measured(refused)
        dive = prepared.dive_clip.dive
        read_dive = ReadDive.of(dive, prepared.body_track, item.options.height_m, self._recognise)
        measured = MeasuredDive(
            **facts,
            status="measured",
            dive_index=prepared.index,
            dives_found=prepared.dives,
            flight_start_s=dive.takeoff_s,
            entry_start_s=dive.entry_s,
            time_scale=None if dive.time_scale is None else read_dive.time_scale,
            height_m=read_dive.height.metres,
            height_from=read_dive.height.source,
            measurements=read_dive.measure(),
            athlete_seen=prepared.track.seen_in,
            forced=prepared.forced,
            notes=(*dive.missing, *dive.notes, *prepared.notes),
        )
        return Measured(measured, _body(prepared, read_dive))


def _body(prepared: PreparedDive, read_dive: ReadDive) -> DiveBody | None:
    if read_dive.track is None or read_dive.turns is None:
        return None
    kinematics, clip = Kinematics.of(read_dive.track, read_dive.turns), prepared.dive_clip.clip
    file_s = np.array([clip.time_s(row) for row in kinematics.rows.tolist()])
    return DiveBody(kinematics, read_dive.track, file_s, np.asarray(clip.source_frames, np.int64)[kinematics.rows])


def _identity(job: Job, started: float) -> dict[str, Any]:
    options = job.item.options
    return {
        "source": job.item.source,
        "start_s": options.start_s,
        "end_s": options.end_s,
        "key": job.key,
        "seconds": time.perf_counter() - started,
    }


def _failed(read: ReadJob, error: Exception) -> MeasuredDive:
    return MeasuredDive(
        **_identity(read.job, read.started),
        status="failed",
        dive_index=read.index or 1,
        error_kind=error.kind if isinstance(error, FinecausalError) else "unexpected",
        error=error_in_one_line(error, read.job),
    )


def measure(path: str | os.PathLike[str], options: ScoreOptions | None = None, *, device: str = "auto") -> MeasuredDive:
    """Measure the surest dive of a video, judging nothing; see ``Measurer.measure``, which it raises as.

    For many videos keep a ``Measurer``: it loads the athlete reader once.
    """
    return Measurer.load(device).measure(path, options)


# Many dives: what is measured already is left, and rows are on the disk as they come.


def find_clips(config: MeasureConfig) -> Inputs:
    """Find the dives to measure.

    Raises:
        UsageError: Nothing is named, or corrections of one dive come with several.
        DatasetError: A manifest cannot be read.
    """
    if not config.paths and config.from_file is None:
        raise UsageError("Missing argument PATH", hint="name a video, a folder of them, a manifest, or --from-file")
    inputs = find_inputs(
        config.paths,
        config.options,
        recursive=config.recursive,
        listed=read_listed(config.from_file),
        allow_outside=config.allow_outside,
        measured=True,
    )
    if config.options.corrections and len(inputs.items) != 1:
        what = "--takeoff, --entry and --athlete are of one dive"
        raise UsageError(what, where=f"{len(inputs.items)} dives", hint="give one video")
    return inputs


def keep_given_corrections(inputs: Inputs, options: ScoreOptions, measured: Sequence[MeasuredDive]) -> tuple[str, ...]:
    """Keep the corrections of the only dive for the next run, unless it was refused with them.

    Returns:
        Notes if that is not possible.
    """
    if not options.corrections or not inputs.items or any(dive.status != "measured" for dive in measured):
        return ()
    return keep_corrections(inputs.items[0].path, options.corrections, options.start_s, options.end_s)


def measure_many(
    measurer: Measurer,
    items: Sequence[Item],
    config: MeasureConfig,
    *,
    journal: Path | None = None,
    show: Callable[[Measured], object] = lambda _: None,
    begin: Callable[[int], object] = lambda _: None,
) -> list[MeasuredDive]:
    """Measure dives, those aside that a journal holds already; return their rows by name of the source.

    Args:
        measurer: Measures.
        items: The dives.
        config: How to use this machine, and whether to measure again.
        journal: File, JSON Lines, to which rows are added as they come; None keeps none.
        show: Called with every new result as it comes, in any order.
        begin: Told how many there are to measure.

    Raises:
        OutputError: The journal cannot be written, or another run writes to it.
        DatasetError: It holds something else.
    """
    with ExitStack() as stack:
        kept = None if journal is None else stack.enter_context(Journal(journal, MeasuredDive))
        jobs = [identify(item, measurer.settings) for item in items]
        rows: list[MeasuredDive] = []
        if kept is not None and journal is not None:
            rows = _standing(kept, journal, jobs, config)
        known = {(row.clip_key, row.key) for row in rows}
        todo = [job for job in jobs if job.row_key not in known]
        begin(len(todo))
        pipeline = BatchConfig(workers=config.workers, timeout_s=config.timeout_s)
        results: Iterator[Measured] = run_jobs(
            iter(todo), measurer.viewing, measurer.finish, pipeline, is_cpu=measurer.on_cpu
        )
        with closing(_generator(results)) as each:
            for result in each:
                if kept is not None:
                    kept.append(result.dive)
                rows.append(result.dive)
                show(result)
    return sorted(rows, key=lambda row: (row.source, row.start_s or 0.0, row.end_s or 0.0, row.dive_index))


def _standing(kept: Journal, journal: Path, jobs: Sequence[Job], config: MeasureConfig) -> list[MeasuredDive]:
    """Return the rows that stand, after those to be measured again are dropped; rows of other clips stay."""
    wanted = {job.row_key for job in jobs}
    clips = {clip for clip, _ in wanted}
    rows: dict[tuple[ClipKey, str], list[MeasuredDive]] = defaultdict(list)
    for row in read_rows_of(MeasuredDive, journal):
        rows[row.clip_key, row.key].append(row)
    whole = {key for key, each in rows.items() if _is_whole(each, all_dives=config.options.all_dives)}

    def is_stale(row: MeasuredDive) -> bool:
        key = row.clip_key, row.key
        return row.clip_key in clips and (config.overwrite or key not in wanted or key not in whole)

    kept.drop(is_stale)
    return [row for each in rows.values() for row in each if not is_stale(row)]


def _is_whole(rows: Sequence[MeasuredDive], *, all_dives: bool) -> bool:
    """Tell whether rows are all of their clip: none failed and, of all dives, no run was stopped among them."""
    if any(row.status == "failed" for row in rows):
        return False
    return not all_dives or len(rows) >= max(row.dives_found for row in rows)


def _generator(results: Iterator[Measured]) -> Generator[Measured]:
    yield from results
