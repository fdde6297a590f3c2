"""File -> the dives in it, as clips that the scoring network and the athlete reader can look at.

The file is searched once at a small size, and a short one that has no sure flight once more with the athlete reader,
for which alone torch is loaded; then only the frames that are sampled of a dive are decoded at full size, and
everything that anybody needs of them is cut on that pass: the picture for the network and the window around the
athlete. Where a time limit is set, all of this runs in a process that can be killed.

The network sees the centre of the whole picture where that frames the athlete as its training did, and otherwise a
*virtual camera*: a smooth square window that follows the athlete.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from finecausal_cli.athlete.track import AFTER_S, BEFORE_S
from finecausal_cli.scoring import Wanted
from finecausal_cli.scoring import dives as dive_search
from finecausal_cli.scoring.dives import DiveSearch, LocatedDive, Refusal
from finecausal_cli.video import Geometry, check_range, frame_range, working_size
from finecausal_cli.video.pictures import run_task
from finecausal_cli.video.reader import check_shape, length_note, open_source, sample_frames, scaler
from finecausal_cli.video.worker import WorkerProcess, pack_clip, serve_tasks, unpack_clip

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from finecausal_cli.athlete import End
    from finecausal_cli.athlete.ends import EndReading
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.tracking.flights import Flight
    from finecausal_cli.video import Clip
    from finecausal_cli.video.source import InspectedSource
    from finecausal_cli.video.worker import Answer, Progress

STRETCHED_M: Final = 2.25
"""Length of an athlete from fingertips to toes, metres: what ``framing`` is measured in."""

_SPLASH_FROM_S: Final = 0.3
"""Real time before the entry, as the search finds it, from which on the splash is cut: the entry may be earlier."""

_LOST_CAMERA: Final = 0.5
_FALLING_S: Final = (0.35, 0.15)
"""Mean share of the corners that move with the camera, from before the entry as the search finds it to after, below
which the search may have lost the camera, and the athlete with it. Of 290 wild films 55 have less, among them 13 of the
16 whose entry was missed by more than 0.2 s: cameras that follow a fall before walls that show no motion."""

_WIDE_FROM_S: Final = 0.45
"""Real time before the entry, as the search finds it, from which on a wider square is kept of such a film."""

_TOLERANCE: Final = 1.2
"""Scales are read off a fall, some tenths too large or too small; a picture is framed anew only beyond that."""

_FROM_THE_MIDDLE: Final = 0.22
"""Farthest of an athlete in the air from the middle of the square, in its side, in 90% of the frames: simulated clips,
whose camera follows, have 0.07 to 0.18."""

_MOST_OUTSIDE: Final = 0.05
"""Share of the frames in the air in which a part of the athlete may lie outside of the square."""

_MOST_BESIDE: Final = 2
"""Most dives in the air with the one wanted that are read, too. Of 310 wild films 11 have any."""

_PATHS: Final = ("times_s", "centres", "px_per_m", "sizes")
_CAMERA: Final = ("times_s", "to_picture", "shots", "agreement")
_ALONE: Final = ("takeoff_s", "entry_s", "first_s", "last_s", "time_scale", "confidence", "shot")
"""Parts of a ``Flight``: arrays of its path, arrays of its camera, and single values."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """How clips are to be shown to a network and to a reader of athletes.

    Attributes:
        geometry: How pictures are brought to size.
        frame_size: Side in pixels of the square that the network sees.
        framing: ``reach``, ``least`` and ``most`` of the network's framing; None shows the whole picture.
        window_size: Side of the athlete reader's windows; None cuts none.
        margins_s: Real time before the take-off and after the entry that is read at most, where both are known; None
            reads the whole clip.
    """

    geometry: Geometry
    frame_size: int
    framing: Mapping[str, float] | None = None
    window_size: int | None = None
    margins_s: tuple[float, float] | None = None


def viewing_of(config: ModelConfig, window_size: int | None) -> Viewing:
    """Return how a network of a configuration, and an athlete reader, want their clips."""
    framing = None if config.framing is None else config.framing.model_dump()
    margins_s = (BEFORE_S, AFTER_S) if config.trunk == "skeleton" else None
    return Viewing(config.geometry, config.frame_size, framing, window_size, margins_s)


@dataclass(frozen=True, slots=True)
class DiveClip:
    """A dive as read, ready to be scored.

    Attributes:
        dive: Where it is.
        clip: Its 96 frames at the network's working size.
        athlete_windows: float64 [96, 3], the square around the athlete in each sampled frame: centre x, centre y and
            side, pixels; None where nobody knows where the athlete is.
        crops: uint8 [D, S, S, 3], that square of each of the D distinct frames; None where no reader wants it.
        splash_crops: uint8 [W, S, S, 3], the square around the place of the entry in the last W distinct frames, from
            shortly before the entry on; None where no reader wants it, or the entry is not known.
        wide_crops: uint8 [V, 2S, 2S, 3], squares twice as wide as those of ``crops``, in the last V distinct frames;
            None unless the search may have lost the camera there.
        wide_windows: float64 [V, 3], where they lie: about the same places, but inside of the picture.
        refused_as: Why it would have been refused; None unless it is read by force.
        ends: What the reader saw of the ends of the flight, which moved those of the dive.
    """

    dive: LocatedDive
    clip: Clip
    athlete_windows: NDArray[np.float64] | None = None
    crops: NDArray[np.uint8] | None = None
    splash_crops: NDArray[np.uint8] | None = None
    wide_crops: NDArray[np.uint8] | None = None
    wide_windows: NDArray[np.float64] | None = None
    refused_as: Refusal | None = None
    ends: Mapping[End, EndReading] = field(default_factory=dict)

    @property
    def frame_indices(self) -> NDArray[np.int64]:
        """Which of the distinct frames each sampled frame is: int64 [96]."""
        return np.unique(self.clip.source_frames, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True, slots=True)
class DivesRead:
    """What was read of a file.

    Attributes:
        search: All dives of the file.
        clips: The dive wanted, and behind it those in the air with it, if nobody said who is meant: what the search is
            surest of may be no athlete. Empty where the dive is refused, or there is none.
        refused: The dive wanted, where it is refused.
    """

    search: DiveSearch
    clips: tuple[DiveClip, ...]
    refused: tuple[LocatedDive, ...] = ()


def read_dives(
    path: str | os.PathLike[str],
    wanted: Wanted,
    viewing: Viewing,
    *,
    process: WorkerProcess | None = None,
    timeout_s: float | None = None,
    progress: Progress = lambda _: None,
) -> DivesRead:
    """Find the dives of a file and read the one that is wanted.

    Args:
        path: Video file or folder of frames.
        wanted: Which dive.
        viewing: How it is to be shown.
        process: A process to do it in, made with ``reading_process``; one is made where a time limit needs it.
        timeout_s: Most seconds without any progress; None works in this process and sets no limit.
        progress: Told which share of the search is done.

    Raises:
        VideoError: The file cannot be read, or reading took too long.
        UsageError: The times or the athlete asked for make no sense.
    """
    with ExitStack() as stack:
        return _reader(path, viewing, process, timeout_s, progress, stack)(wanted)


def read_each(
    path: str | os.PathLike[str],
    wanted: Wanted,
    viewing: Viewing,
    *,
    process: WorkerProcess | None = None,
    timeout_s: float | None = None,
    progress: Progress = lambda _: None,
) -> Iterator[DivesRead]:
    """Find the dives of a file and read one after the other, in their order; see ``read_dives``.

    Yields:
        One for each dive, so that no two of them need be in memory; the first one also where there is none.
    """
    with ExitStack() as stack:
        read = _reader(path, viewing, process, timeout_s, progress, stack)
        first = read(replace(wanted, part=0))
        yield first
        for part in range(1, len(first.search.dives)):
            yield read(replace(wanted, part=part))


def _reader(
    path: str | os.PathLike[str],
    viewing: Viewing,
    process: WorkerProcess | None,
    timeout_s: float | None,
    progress: Progress,
    stack: ExitStack,
) -> Callable[[Wanted], DivesRead]:
    """Return what reads a dive of a file, here or in a process, and searches the file but once."""
    if timeout_s is None:
        files = _Files()
        return lambda wanted: files.read(path, _checked(wanted), viewing, progress)
    worker = process or stack.enter_context(reading_process())
    limit_s = timeout_s

    def ask(wanted: Wanted) -> DivesRead:
        options = {"wanted": asdict(_checked(wanted)), "viewing": asdict(viewing)}
        return _unpack(worker.run(path, options, timeout_s=limit_s, progress=progress), path)

    return ask


def _checked(wanted: Wanted) -> Wanted:
    """Refuse what makes no sense before anything is read."""
    check_range(wanted.start_s, wanted.end_s)
    _ = wanted.corrections
    return wanted


class ReadAhead:
    """Finds and reads the dives of a file in a process of its own, while the caller still loads the weights.

    Use it as a context manager: the process ends with it.

    Args:
        path: Video file or folder of frames.
        wanted: Which dives.
        viewing: How they will have to be shown.
        timeout_s: Most seconds without any progress.
        process: Another one to do it in, which stays; made with ``reading_process``.
    """

    def __init__(
        self, path: str, wanted: Wanted, viewing: Viewing, *, timeout_s: float, process: WorkerProcess | None = None
    ) -> None:
        self.progress: Progress = lambda _: None
        self._request = (path, wanted, viewing)
        self._timeout_s = timeout_s
        self._process, self._is_mine = process or reading_process(), process is None
        self._found: DivesRead | Exception | None = None
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_mine:
            self._process.close()
        self._thread.join()

    def result(self, path: str, wanted: Wanted, viewing: Viewing) -> DivesRead | None:
        """Wait for what was read; None if something else was asked for.

        Raises:
            VideoError: What ``read_dives`` raises.
            UsageError: The same.
        """
        if (path, wanted, viewing) != self._request:
            return None
        self._thread.join()
        if isinstance(self._found, Exception):
            raise self._found
        return self._found

    @property
    def process(self) -> WorkerProcess:
        """The process, once it has read: it can decode the file again, with ``sampled_like``, until this one exits."""
        self._thread.join()
        return self._process

    def _read(self) -> None:
        path, wanted, viewing = self._request
        try:
            self._found = read_dives(
                path,
                wanted,
                viewing,
                process=self._process,
                timeout_s=self._timeout_s,
                progress=lambda share: self.progress(share),
            )
            self.progress(1.0)
        except Exception as error:  # raised by the thread that asks for the result
            self._found = error


def reading_process() -> WorkerProcess:
    """Return a process that finds and reads dives, and decodes frames again to be shown; its first task starts it."""
    return WorkerProcess(__name__)


def serve() -> None:
    """Find and read the dives that standard input asks for, and run the tasks of ``video.pictures``."""
    # Before the first task, whose time limit is not for imports.
    import_module("finecausal_cli.tracking.flights")
    files = _Files()

    def work(path: str, options: dict[str, Any], progress: Progress) -> Answer:
        if "wanted" not in options:
            return run_task(path, options, progress)
        wanted, viewing = Wanted(**options["wanted"]), Viewing(**options["viewing"])
        return _pack(files.read(path, wanted, viewing, progress))

    serve_tasks(work)


class _Files:
    """Reads dives, and remembers the last search, for the other dives of its file may follow."""

    def __init__(self) -> None:
        self._last: tuple[object, DiveSearch] | None = None

    def read(self, path: str | os.PathLike[str], wanted: Wanted, viewing: Viewing, progress: Progress) -> DivesRead:
        source = open_source(path)
        info = source.info
        check_shape(info, viewing.geometry)
        frame_range(
            source.times_s, info.duration_s, wanted.start_s, wanted.end_s, info.path
        )  # refuses what lies outside
        search = self._search(path, wanted, progress)
        if not search.dives:
            if not wanted.force:
                return DivesRead(search, ())
            start_s, end_s = wanted.start_s or 0.0, wanted.end_s or info.duration_s
            return DivesRead(search, (_read_one(source, LocatedDive(start_s, end_s), viewing, search.refusal),))
        dive = search.dives[0] if wanted.part is None else search.in_order()[wanted.part]
        if dive.refusal is not None and not wanted.force:
            return DivesRead(search, (), (dive,))
        clips = [_read_one(source, dive, viewing, dive.refusal)]
        if wanted.part is None and wanted.athlete is None and not wanted.force:
            clips += [_read_one(source, other, viewing, None) for other in search.beside(dive)[:_MOST_BESIDE]]
        return DivesRead(search, tuple(clips))

    def _search(self, path: str | os.PathLike[str], wanted: Wanted, progress: Progress) -> DiveSearch:
        key = path, wanted.start_s, wanted.end_s, wanted.corrections
        if wanted.part and self._last is not None and self._last[0] == key:
            return self._last[1]
        search = dive_search.search_dives(
            path, start_s=wanted.start_s, end_s=wanted.end_s, corrections=wanted.corrections, progress=progress
        )
        self._last = key, search
        return search


def read_one(path: str | os.PathLike[str], dive: LocatedDive, viewing: Viewing) -> DiveClip:
    """Read a dive that is located, in this process.

    Raises:
        VideoError: The file cannot be read.
    """
    return _read_one(open_source(path), dive, viewing, None)


def _read_one(source: InspectedSource, dive: LocatedDive, viewing: Viewing, refusal: Refusal | None) -> DiveClip:
    info, dive = source.info, _tightened(dive, viewing.margins_s)
    first, last = frame_range(source.times_s, info.duration_s, dive.start_s, dive.end_s, info.path)
    camera = _Cameras(source, dive, viewing, first, last)
    sampled = sample_frames(source, first, last, camera.shoot)
    pictures = np.stack([picture for picture, *_ in sampled.prepared])
    long = length_note(source, first, last) if dive.flight is None else None
    notes = (*info.notes, *sampled.notes, *(() if long is None else (long,)))
    indices = sampled.indices - first
    clip = sampled.clip(pictures, notes, None if camera.seen is None else camera.seen[indices])
    windows, crops, splashes, wide = None, None, [], []
    if camera.around is not None:
        windows = camera.around[indices]
        if viewing.window_size is not None:
            distinct = np.unique(sampled.indices, return_index=True)[1]
            crops = np.stack([sampled.prepared[index][1] for index in distinct.tolist()])
            splashes, wide = (
                [picture for index in distinct.tolist() if (picture := sampled.prepared[index][part]) is not None]
                for part in (2, 3)
            )
    splash, wider = (np.stack(each) if each else None for each in (splashes, wide))
    squares = np.stack([camera.wide[row] for row in np.unique(indices)[-len(wide) :].tolist()]) if wide else None
    return DiveClip(dive, clip, windows, crops, splash, wider, squares, refusal)


def _tightened(dive: LocatedDive, margins_s: tuple[float, float] | None) -> LocatedDive:
    """Return a dive with no more around its flight than the network's training had."""
    entry_s = dive.likely_entry_s
    if margins_s is None or dive.flight is None or dive.takeoff_s is None or entry_s is None:
        return dive
    scale = dive.time_scale or 1.0
    start_s = max(dive.start_s, dive.takeoff_s - margins_s[0] * scale)
    return replace(dive, start_s=start_s, end_s=min(dive.end_s, entry_s + margins_s[1] * scale))


class _Cameras:
    """What is cut from each frame of a dive while it is decoded.

    Attributes:
        seen: float64 [frames, 3], squares of the virtual camera; None where the whole picture is shown.
        around: float64 [frames, 3], squares around the athlete; None where nobody knows where that is.
        wide: Wider squares [3] of the frames about the entry, by frame, where the search may have lost the camera.
    """

    def __init__(self, source: InspectedSource, dive: LocatedDive, viewing: Viewing, first: int, last: int) -> None:
        self._first = first
        self._side = viewing.window_size
        self._scale = scaler(source.info, viewing.geometry, viewing.frame_size)
        self._working = working_size(1, 1, "fit", viewing.frame_size)[0]
        self.seen: NDArray[np.float64] | None = None
        self.around: NDArray[np.float64] | None = None
        self._splash: dict[int, NDArray[np.float64]] = {}  # the square around the place of the entry, by frame
        self.wide: dict[int, NDArray[np.float64]] = {}
        flight = dive.flight
        if flight is None:
            return
        from finecausal_cli.tracking import athlete_window, splash_window

        times_s, size = source.times_s[first : last + 1], source.info.upright_size
        self.around = np.asarray(athlete_window(flight, times_s, size), np.float64)
        entry_s = dive.likely_entry_s
        if entry_s is not None:
            rows = np.flatnonzero(times_s >= entry_s - _SPLASH_FROM_S * (dive.time_scale or 1.0))
            self._splash = dict(zip(rows.tolist(), splash_window(flight, entry_s, times_s[rows], size), strict=True))
            if _has_lost_camera(flight, entry_s):
                rows = np.flatnonzero(times_s >= entry_s - _WIDE_FROM_S * flight.time_scale)
                self.wide = dict(zip(rows.tolist(), hold_inside(self.around[rows] * (1, 1, 2), size), strict=True))
        framing = viewing.framing
        if framing is not None and not is_framed(flight, size, framing, viewing.frame_size):
            seen = athlete_window(flight, times_s, size, reach_m=STRETCHED_M, margin=1 / framing["reach"])
            # The network sees the centre of what is cut, as it does of a whole picture.
            wide = np.asarray(seen, np.float64) * (1, 1, self._working / viewing.frame_size)
            self.seen = hold_inside(wide, size)

    def shoot(
        self, index: int, picture: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.uint8] | None, NDArray[np.uint8] | None]:
        """Return what the network is shown of a frame, and the reader: the athlete, and about the entry the splash.

        The last one is the wider square about the athlete.
        """
        row = index - self._first
        cut = partial(_cut, picture)
        shown = self._scale(index, picture) if self.seen is None else cut(self.seen[row], self._working)
        if self.around is None or self._side is None:
            return shown, None, None, None
        splash = cut(self._splash[row], self._side) if row in self._splash else None
        wide = cut(self.wide[row], 2 * self._side) if row in self.wide else None
        return shown, cut(self.around[row], self._side), splash, wide


def _has_lost_camera(flight: Flight, entry_s: float) -> bool:
    """Tell whether the camera's motion is hardly known about an entry."""
    camera, (before_s, after_s) = flight.camera, _FALLING_S
    since_s = (camera.times_s - entry_s) / flight.time_scale
    near = (since_s > -before_s) & (since_s < after_s)
    return bool(near.any() and camera.agreement[near].mean() < _LOST_CAMERA)


def _cut(picture: NDArray[np.uint8], window: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    from finecausal_cli.tracking import crop_window

    return np.asarray(crop_window(picture, window, side), np.uint8)


def hold_inside(windows: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Shift windows [M, 3] until they lie in the picture (height, width); one that is too large lies in its middle.

    A camera sees no further than the picture does, and what would be made up there is larger than the athlete.
    """
    held = windows.copy()
    half = windows[:, 2] / 2
    for axis, length in ((0, size[1]), (1, size[0])):
        least, most = np.minimum(half, length / 2), np.maximum(length - half, length / 2)
        held[:, axis] = np.clip(windows[:, axis], least, most)
    return held


def is_framed(flight: Flight, size: tuple[int, int], framing: Mapping[str, float], frame_size: int) -> bool:
    """Tell whether the centre square of the whole picture shows the athlete as the network's training did.

    Args:
        flight: The athlete's path.
        size: Height and width of the picture, pixels.
        framing: Of the network.
        frame_size: Side in pixels of the square that the network sees.
    """
    height, width = size
    side = min(height, width) * frame_size / working_size(1, 1, "fit", frame_size)[0]
    reach = STRETCHED_M * float(np.median(flight.px_per_m)) / side
    if not framing["least"] / _TOLERANCE <= reach <= framing["most"] * _TOLERANCE:
        return False
    times = np.asarray(flight.times_s)
    in_air = (times >= (flight.takeoff_s or flight.first_s)) & (times <= (flight.entry_s or flight.last_s))
    away = (np.abs(np.asarray(flight.centres) - (width / 2, height / 2)).max(axis=1) / side)[in_air]
    outside = away + np.asarray(flight.sizes)[in_air] / (2 * side) > 0.5
    return bool(len(away)) and bool(np.quantile(away, 0.9) <= _FROM_THE_MIDDLE and outside.mean() <= _MOST_OUTSIDE)


def _pack(read: DivesRead) -> Answer:
    """Take apart what was read for the way between processes: facts for JSON, and arrays by name."""
    arrays: dict[str, NDArray[Any]] = {}
    search = {
        **{name: getattr(read.search, name) for name in ("shots", "duration_s", "size", "notes")},
        "refusal": _refusal_facts(read.search.refusal),
        "dives": [_pack_dive(dive, f"dive{index}.", arrays) for index, dive in enumerate(read.search.dives)],
    }
    clips = []
    for index, dive_clip in enumerate(read.clips):
        facts, parts = pack_clip(dive_clip.clip)
        if dive_clip.athlete_windows is not None:
            parts["athlete_windows"] = dive_clip.athlete_windows
        if dive_clip.crops is not None:
            parts["crops"] = dive_clip.crops
        if dive_clip.splash_crops is not None:
            parts["splash_crops"] = dive_clip.splash_crops
        if dive_clip.wide_crops is not None and dive_clip.wide_windows is not None:
            parts["wide_crops"], parts["wide_windows"] = dive_clip.wide_crops, dive_clip.wide_windows
        arrays.update({f"clip{index}.{name}": part for name, part in parts.items()})
        clips.append(
            {
                "clip": facts,
                "dive": _pack_dive(dive_clip.dive, f"clip{index}.dive.", arrays),
                "refused_as": _refusal_facts(dive_clip.refused_as),
            }
        )
    refused = [_pack_dive(dive, f"refused{index}.", arrays) for index, dive in enumerate(read.refused)]
    return {"search": search, "clips": clips, "refused": refused}, arrays


def _unpack(answer: Answer, path: str | os.PathLike[str]) -> DivesRead:
    facts, arrays = answer
    header = facts["search"]
    search = DiveSearch(
        source=str(path),
        dives=tuple(_unpack_dive(dive, f"dive{index}.", arrays) for index, dive in enumerate(header["dives"])),
        refusal=_refusal(header["refusal"]),
        shots=tuple((begin, end) for begin, end in header["shots"]),
        duration_s=header["duration_s"],
        size=(header["size"][0], header["size"][1]),
        notes=tuple(header["notes"]),
    )
    clips = []
    for index, packed in enumerate(facts["clips"]):
        parts = {name.partition(".")[2]: part for name, part in arrays.items() if name.startswith(f"clip{index}.")}
        clips.append(
            DiveClip(
                _unpack_dive(packed["dive"], "dive.", parts),
                unpack_clip(packed["clip"], parts, path),
                parts.get("athlete_windows"),
                parts.get("crops"),
                parts.get("splash_crops"),
                parts.get("wide_crops"),
                parts.get("wide_windows"),
                _refusal(packed["refused_as"]),
            )
        )
    refused = (_unpack_dive(dive, f"refused{index}.", arrays) for index, dive in enumerate(facts["refused"]))
    return DivesRead(search, tuple(clips), tuple(refused))


def _pack_dive(dive: LocatedDive, prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    flight = dive.flight
    facts = {
        name: getattr(dive, name)
        for name in (
            "start_s",
            "end_s",
            "takeoff_s",
            "entry_s",
            "time_scale",
            "confidence",
            "missing",
            "notes",
            "beside",
        )
    }
    facts["refusal"] = _refusal_facts(dive.refusal)
    facts["flight"] = None
    if flight is not None:
        arrays.update({f"{prefix}{name}": np.asarray(getattr(flight, name)) for name in _PATHS})
        arrays.update({f"{prefix}camera.{name}": np.asarray(getattr(flight.camera, name)) for name in _CAMERA})
        facts["flight"] = {name: _plain(getattr(flight, name)) for name in _ALONE}
    return facts


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _unpack_dive(facts: dict[str, Any], prefix: str, arrays: dict[str, NDArray[Any]]) -> LocatedDive:
    flight = None
    if facts["flight"] is not None:
        from finecausal_cli.tracking.camera import Camera
        from finecausal_cli.tracking.flights import Flight

        parts: dict[str, Any] = {name: arrays[f"{prefix}{name}"] for name in _PATHS}
        camera = Camera(**{name: arrays[f"{prefix}camera.{name}"] for name in _CAMERA})
        flight = Flight(**facts["flight"], **parts, camera=camera)
    fields = {**facts, "missing": tuple(facts["missing"]), "notes": tuple(facts["notes"])}
    return LocatedDive(**{**fields, "refusal": _refusal(facts["refusal"]), "flight": flight})


def _refusal_facts(refusal: Refusal | None) -> dict[str, Any] | None:
    return None if refusal is None else asdict(refusal)


def _refusal(facts: dict[str, Any] | None) -> Refusal | None:
    return None if facts is None else Refusal(**facts)
