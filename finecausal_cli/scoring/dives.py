"""Find the dives of a video: who falls freely, from when to when, and which part of the file to score.

``tracking`` searches for flights; here they become dives: a person's corrections are applied, the clip is cut with the
margins that training has, what is missing of the dive is named, and what is no dive is refused. Times are seconds of
the file unless they are called real; pixels are those of the decoded upright picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from finecausal_cli.athlete.turns import body_inertia
from finecausal_cli.errors import RefusedError, UsageError, VideoError, WeightsError
from finecausal_cli.scoring import AthletePoint, Corrections, corrections_path, read_corrections
from finecausal_cli.video import check_range

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.athlete.reader import AthleteReader
    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.scoring.results import AthleteFrame
    from finecausal_cli.tracking.flights import Flight, Search

BEFORE_S: Final = 1.3
"""Real seconds of a cut clip before the take-off: the mean of what training had."""

AFTER_S: Final = 1.1
"""Real seconds of a cut clip after the entry."""

MOST_MARGIN_S: Final = 3.0
"""Real seconds before the take-off or after the entry up to which a clip reaches to the end of the file, as in
training."""

LEAST_MARGIN_S: Final = 0.5
"""Real seconds below which something is missing that training had."""

SLOW_FROM: Final = 1.3
"""Times slower than real time from which on a clip is called slow motion."""

_SAME_END_S: Final = 0.15
"""Two times nearer than this are the same end of a shot or file."""

_USUAL_FLIGHT_S: Final = 1.6
"""Real seconds in the air where only one end of the flight is known."""

_TOGETHER: Final = 0.5
"""Share of the shorter of two flights in which both are in the air, from which on the dives are simultaneous."""

_APART: Final = 0.8
"""Least distance of two simultaneous athletes, in their size."""

_SECOND_LOOK_S: Final = 30.0
"""Longest film that is searched once more with the athlete reader, which takes about a second for each of its own. Of
40 clean simulated dives motion alone misses two, one of which the second look finds."""

_SURE: Final = 0.85
"""Confidence of the best flight below which a film is searched once more."""

_SURER: Final = 0.05
"""How much surer the second look must be. Of 63 wild films motion alone found 57 and missed an end of one; the second
look found one more and that end, and moved the take-off of another, of which it was less sure, by 0.24 s."""

_SEGMENT_LENGTH_M, _LENGTH_ERROR = 1.83, 0.2
"""Length of limbs and trunk as read (`BodyTrack.segment_length_m`, 298 simulated films at their own speed), and the
standard deviation of its logarithm (0.14) with some of what the pull of the fall errs."""

_SAME_SCALE: Final = 0.03
"""Difference of the logarithms of two time scales that are one."""

_REACH: Final = 1.5
"""Farthest from an athlete's middle, in their size, that a point on them may lie."""

_POINTED_S: Final = 1.0
"""Longest real time before or after a flight at which a point on the athlete still means it."""

RefusalReason = Literal["no_dive", "still", "black", "too_short", "athlete_not_seen", "several_shots"]
"""Why a clip is not judged."""

_FORCE: Final = "--force takes it as it is"

_WHY: Final[dict[RefusalReason, tuple[str, str]]] = {
    "no_dive": ("no dive is found in it", "say when with --takeoff and --entry if there is one"),
    "still": ("nothing moves in it", "give the video itself, not a picture of it"),
    "black": ("its picture is black or empty", "record or export it again"),
    "too_short": ("it is too short to hold a dive", "give the whole dive, from take-off to entry"),
    "athlete_not_seen": ("the athlete is not seen in it", "say who it is with --athlete X,Y,S"),
    "several_shots": ("the shot changes within the dive", "give one shot with --start and --end"),
}


_REASONS: Final[dict[str, RefusalReason]] = {reason: reason for reason in _WHY}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a clip is not judged, or not given points.

    Attributes:
        reason: One of a closed list.
        what: The same in words.
        hint: What to do.
    """

    reason: RefusalReason
    what: str
    hint: str

    @classmethod
    def of(cls, reason: RefusalReason, what: str | None = None, hint: str | None = None) -> Refusal:
        """Return the refusal for a reason, in the usual words unless better ones are known."""
        usual, usual_hint = _WHY[reason]
        return cls(reason, what or usual, f"{hint or usual_hint}; {_FORCE}")

    @property
    def message(self) -> str:
        """What is wrong and what to do, in one line."""
        return f"{self.what} ({self.hint})"

    def error(self, where: str | os.PathLike[str]) -> RefusedError:
        """Return it as an error."""
        return RefusedError(self.what, where=where, hint=self.hint, kind=self.reason)


@dataclass(frozen=True, slots=True)
class LocatedDive:
    """A dive in a video.

    Attributes:
        start_s: Where the clip to be judged begins.
        end_s: Where it ends.
        takeoff_s: When the athlete leaves the board; None if that lies before the clip.
        entry_s: When the athlete first touches the water; None if that lies after the clip or out of the picture.
        time_scale: Times slower than real time; None if nothing tells.
        confidence: How sure the search is, 0 to 1; None where a person says so.
        flight: The path through the air; None where a person gave the times and nothing else is known.
        missing: What the clip lacks of the dive, in words.
        notes: What else a person should know.
        beside: Who else is in the air with the athlete, in words; empty if nobody.
        refusal: Why it is not judged; None if it is.
        athlete: The athlete in each sampled frame; empty before they were looked for.
    """

    start_s: float
    end_s: float
    takeoff_s: float | None = None
    entry_s: float | None = None
    time_scale: float | None = None
    confidence: float | None = None
    flight: Flight | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    beside: str = ""
    refusal: Refusal | None = None
    athlete: tuple[AthleteFrame, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether both ends of the flight lie in the clip: only then are points given."""
        return self.takeoff_s is not None and self.entry_s is not None

    @property
    def likely_entry_s(self) -> float | None:
        """The entry, or where the search would put it, though that may lie below the picture or after the clip."""
        if self.entry_s is not None or self.flight is None:
            return self.entry_s
        from finecausal_cli.tracking.flights import FOLLOWED_S

        return self.flight.last_s - FOLLOWED_S * self.flight.time_scale

    def with_ends(self, takeoff_s: float | None, entry_s: float | None) -> LocatedDive:
        """Return the dive with other ends of its flight, and what is said of them."""
        scale = self.time_scale or 1.0
        return replace(
            self,
            takeoff_s=takeoff_s,
            entry_s=entry_s,
            missing=_missing(self.start_s, self.end_s, takeoff_s, entry_s, scale),
            notes=_slow_motion(takeoff_s, entry_s, scale),
        )

    @property
    def air_s(self) -> float | None:
        """Real seconds in the air; None if not known."""
        if self.takeoff_s is None or self.entry_s is None:
            return None
        return (self.entry_s - self.takeoff_s) / (self.time_scale or 1.0)

    @property
    def drop_m(self) -> float | None:
        """How much lower the athlete's middle is at the entry than at the take-off, metres; None if not known."""
        if self.flight is None or self.takeoff_s is None or self.entry_s is None:
            return None
        return self.flight.drop_m(self.takeoff_s, self.entry_s)

    def with_time_scale(self, scale: float) -> LocatedDive:
        """Return the dive as shown so many times slower than life: the slower, the longer a metre in the picture."""
        flight = self.flight
        if flight is not None:
            px_per_m = flight.px_per_m * (scale / flight.time_scale) ** 2
            flight = replace(flight, time_scale=scale, px_per_m=px_per_m)
        notes = _slow_motion(self.takeoff_s, self.entry_s, scale)
        return replace(self, time_scale=scale, flight=flight, notes=notes)


def refine_time_scale(dive: LocatedDive, body: BodyTrack) -> LocatedDive:
    """Estimate the time scale of slow motion anew from the body that was read; the same dive where it changes little.

    The search knows the size of what falls to 30%. Limbs that are read are as long as those of others to 14%.
    """
    from finecausal_cli.tracking.transitions import slow_motion_scale

    length_m, scale = body.segment_length_m(), dive.time_scale
    if length_m is None or scale is None or scale < SLOW_FROM or dive.entry_s is None or dive.takeoff_s is None:
        return dive
    air = body.in_flight
    centre = body.path_m[air] + body_inertia(body.joints_m[air])[0]
    pull, speed, _ = np.polyfit(body.times_s[air], centre[:, 1], 2)
    apex_s = float(-speed / (2 * pull)) * scale if pull < 0 else 0.0
    fall_s = dive.entry_s - dive.takeoff_s - apex_s
    if apex_s <= 0 or fall_s <= 0:
        return dive
    refined = slow_motion_scale(scale**2 * length_m / _SEGMENT_LENGTH_M, apex_s, fall_s, _LENGTH_ERROR)
    return dive.with_time_scale(refined) if abs(np.log(refined / scale)) > _SAME_SCALE else dive


@dataclass(frozen=True, slots=True)
class DiveSearch:
    """The result of a search for dives.

    Attributes:
        source: The video, as given.
        dives: Best first.
        refusal: Why there is none; None if there is one.
        shots: Where each shot begins and ends.
        duration_s: When the last frame ends.
        size: Height and width of the decoded upright picture, pixels.
        notes: What a person should know of the search.
    """

    source: str
    dives: tuple[LocatedDive, ...]
    refusal: Refusal | None
    shots: tuple[tuple[float, float], ...] = ()
    duration_s: float = 0.0
    size: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> LocatedDive | None:
        """The dive that is judged unless all are; None if there is none."""
        return self.dives[0] if self.dives else None

    def beside(self, dive: LocatedDive) -> tuple[LocatedDive, ...]:
        """Return the dives that are in the air with one of them and are not refused, best first."""
        return tuple(
            other
            for other in self.dives
            if other is not dive and other.refusal is None
            if other.flight is not None and dive.flight is not None and are_together(dive.flight, other.flight)
        )

    def in_order(self) -> tuple[LocatedDive, ...]:
        """Return the dives as they follow each other in the file."""
        return tuple(sorted(self.dives, key=lambda dive: (dive.start_s, dive.end_s)))


def search_dives(
    path: str | os.PathLike[str],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    corrections: Corrections | None = None,
    progress: Callable[[float], None] | None = None,
) -> DiveSearch:
    """Find the dives of a video file or a folder of frames by motion; see ``find_dives``."""
    check_range(start_s, end_s)
    report = None if progress is None else _as_share(progress)
    search = _find_flights(path, start_s=start_s, end_s=end_s, progress=report)
    return locate_dives(str(path), search, corrections or Corrections(), start_s=start_s, end_s=end_s)


def _as_share(progress: Callable[[float], None]) -> Callable[[float, float], None]:
    return lambda done_s, all_s: progress(min(1.0, done_s / all_s) if all_s > 0 else 1.0)


def _find_flights(path: str | os.PathLike[str], **how: Any) -> Search:
    """Search by motion alone, and by what looks like an athlete too where that finds no sure flight in a short film."""
    from finecausal_cli.tracking.flights import find_flights

    search = find_flights(path, **how)
    sure = max((flight.confidence for flight in search.flights), default=0.0)
    is_doubtful = sure < _SURE if search.flights else search.reason == "no_dive"
    if not is_doubtful or search.duration_s > _SECOND_LOOK_S:
        return search
    try:
        reader = _reader()
    except WeightsError:
        return search
    second = find_flights(path, heat=reader.likely, **how)
    surer = max((flight.confidence for flight in second.flights), default=0.0)
    return second if surer > sure + _SURER or not search.flights else search


@cache
def _reader() -> AthleteReader:
    """Load the reader once for all files that a process looks at twice."""
    from finecausal_cli.athlete.reader import AthleteReader

    return AthleteReader.load()


def locate_dives(
    source: str,
    search: Search,
    corrections: Corrections,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
) -> DiveSearch:
    """Turn the flights of a search into dives.

    Args:
        source: The video, as given.
        search: Its flights, best first.
        corrections: What a person corrects.
        start_s: Where the clip begins, if that was given.
        end_s: Where it ends.

    Raises:
        UsageError: A correction lies beyond the clip.
        VideoError: One that was stored earlier does.
    """
    stored, _ = read_corrections(source, start_s, end_s) if corrections else (Corrections(), ())
    _check_within(corrections, float(search.duration_s), stored, source)
    scene = _Scene(search, corrections, start_s, end_s)
    flights = scene.choose()
    shots = tuple((float(begin), float(end)) for begin, end in search.shots)
    size = (int(search.size[0]), int(search.size[1]))
    nothing = DiveSearch(source, (), None, shots, float(search.duration_s), size, tuple(search.notes))
    if not flights:
        by_hand = scene.from_corrections()
        if by_hand is not None:
            return replace(nothing, dives=(by_hand,))
        if search.flights:
            is_stored = corrections.athlete == stored.athlete
            pointer = "the stored point on the athlete lies" if is_stored else "--athlete points to"
            hint = f"point at the athlete in flight{_undo(source) if is_stored else ''}"
            return replace(nothing, refusal=Refusal.of("no_dive", f"nobody falls freely where {pointer}", hint))
        return replace(nothing, refusal=Refusal.of(_REASONS.get(search.reason or "", "no_dive")))
    first, *others = flights
    dives = (scene.dive(first, corrections), *(scene.dive(flight, Corrections()) for flight in others))
    return replace(nothing, dives=dives)


def _check_within(corrections: Corrections, duration_s: float, stored: Corrections, source: str) -> None:
    """Refuse a correction that lies beyond the clip, and say which one: given now, or stored by an earlier run."""
    who_s, stored_who_s = (
        each.athlete.time_s if isinstance(each.athlete, AthletePoint) else None for each in (corrections, stored)
    )
    times = (
        ("--takeoff", "take-off", corrections.takeoff_s, stored.takeoff_s, duration_s),
        ("--entry", "entry", corrections.entry_s, stored.entry_s, duration_s + _SAME_END_S),
        ("--athlete", "athlete", who_s, stored_who_s, duration_s + _SAME_END_S),
    )
    for flag, name, time_s, stored_s, last_s in times:
        if time_s is None or time_s <= last_s:
            continue
        beyond = f"lies beyond the clip, which ends at {duration_s:.2f} s"
        if time_s == stored_s:
            what = f"the stored correction, {name} at {time_s:g} s, {beyond}"
            hint = f"correct it with {flag}{_undo(source)}"
            raise VideoError(what, where=source, hint=hint, kind="out_of_range")
        raise UsageError(f"{time_s:g} s {beyond}", where=flag)


def _undo(source: str) -> str:
    return f", or delete {corrections_path(source).name} to undo the correction"


@dataclass(frozen=True, slots=True)
class _Scene:
    """A search, with the corrections and the times that are given."""

    search: Search
    corrections: Corrections
    start_s: float | None
    end_s: float | None
    end_of_file_s: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "end_of_file_s", float(self.search.duration_s))

    def choose(self) -> tuple[Flight, ...]:
        """Put the flight that is meant first."""
        flights = list(self.search.flights)
        if not flights:
            return ()
        who, times = self.corrections.athlete, (self.corrections.takeoff_s, self.corrections.entry_s)
        if isinstance(who, AthletePoint):
            near = [(distance_to(flight, who), flight) for flight in flights]
            flights = [flight for far, flight in sorted(near, key=lambda pair: pair[0]) if far <= _REACH]
            if not flights:
                return ()
        elif any(time is not None for time in times):
            flights.sort(key=lambda flight: _away(flight, times))
            if _away(flights[0], times) > _USUAL_FLIGHT_S * flights[0].time_scale:
                return ()
        if who in ("left", "right"):
            meant = self._together(flights[0])[0 if who == "left" else -1]
            flights = [meant, *(flight for flight in flights if flight is not meant)]
        return tuple(flights)

    def _together(self, flight: Flight) -> list[Flight]:
        """Return a flight and those that are in the air with it, from left to right."""
        together = [each for each in self.search.flights if each is flight or are_together(flight, each)]
        return sorted(together, key=lambda each: float(np.median(each.centres[:, 0])))

    def _beside(self, flight: Flight) -> str:
        """Say who else is in the air with an athlete."""
        together = self._together(flight)
        if len(together) == 1:
            return ""
        at_left, at_right = flight is together[0], flight is together[-1]
        side, other = ("left", "right") if at_left else ("right", "left") if at_right else ("middle", "left or right")
        note = f"{len(together)} athletes are in the air; the one at the {side} is judged, alone"
        return note if self.corrections.athlete in ("left", "right") else f"{note}: --athlete {other} takes another"

    def dive(self, flight: Flight, corrections: Corrections) -> LocatedDive:
        """Turn a flight into a dive: its ends as corrected, the clip around it, and what that lacks."""
        takeoff_s = flight.takeoff_s if corrections.takeoff_s is None else corrections.takeoff_s
        entry_s = flight.entry_s if corrections.entry_s is None else corrections.entry_s
        scale = float(flight.time_scale)
        shot = self._shot(flight.shot)
        begin_s = flight.first_s if takeoff_s is None else takeoff_s
        finish_s = flight.last_s if entry_s is None else entry_s
        start_s, end_s = self._cut(begin_s, finish_s, scale, shot)
        if takeoff_s is not None and takeoff_s < start_s - _SAME_END_S:
            takeoff_s = None
        if entry_s is not None and entry_s > end_s + _SAME_END_S:
            entry_s = None
        cut_off = self._cut_by_a_shot(takeoff_s, entry_s, flight.shot, shot)
        return LocatedDive(
            start_s=start_s,
            end_s=end_s,
            takeoff_s=takeoff_s,
            entry_s=entry_s,
            time_scale=scale,
            confidence=float(flight.confidence),
            flight=flight,
            missing=_missing(start_s, end_s, takeoff_s, entry_s, scale),
            notes=_slow_motion(takeoff_s, entry_s, scale),
            beside=self._beside(flight),
            refusal=Refusal.of("several_shots") if cut_off else None,
        )

    def from_corrections(self) -> LocatedDive | None:
        """Return the dive that a person gives the times of, where the search has no flight there."""
        takeoff_s, entry_s = self.corrections.takeoff_s, self.corrections.entry_s
        if takeoff_s is None and entry_s is None:
            return None
        begin_s = takeoff_s if takeoff_s is not None else max(0.0, (entry_s or 0.0) - _USUAL_FLIGHT_S)
        finish_s = entry_s if entry_s is not None else begin_s + _USUAL_FLIGHT_S
        if begin_s >= self.end_of_file_s:
            return None
        shots = [index for index, shot in enumerate(self.search.shots) if shot[0] <= begin_s < shot[1]]
        start_s, end_s = self._cut(begin_s, finish_s, 1.0, self._shot(shots[0] if shots else None))
        return LocatedDive(
            start_s=start_s,
            end_s=end_s,
            takeoff_s=takeoff_s,
            entry_s=entry_s if entry_s is None or entry_s <= end_s + _SAME_END_S else None,
            missing=_missing(start_s, end_s, takeoff_s, entry_s, 1.0),
            notes=("the search finds no flight there; the times are those that were given",),
        )

    def _shot(self, index: int | None) -> tuple[float, float]:
        """Return where a shot begins and ends; at an end of the file, with its very first or last frame."""
        if index is None or index >= len(self.search.shots):
            return 0.0, self.end_of_file_s
        begin_s, end_s = self.search.shots[index]
        begins, ends = begin_s <= _SAME_END_S, end_s >= self.end_of_file_s - _SAME_END_S
        return 0.0 if begins else begin_s, self.end_of_file_s if ends else end_s

    def _cut(self, begin_s: float, finish_s: float, scale: float, shot: tuple[float, float]) -> tuple[float, float]:
        """Return start and end of the clip: as given, else to the ends of the shot if near, else training's margins."""
        start_s, end_s = self.start_s, self.end_s
        if start_s is None:
            most = MOST_MARGIN_S * scale
            start_s = shot[0] if begin_s - shot[0] <= most else begin_s - BEFORE_S * scale
        if end_s is None:
            most = MOST_MARGIN_S * scale
            end_s = shot[1] if shot[1] - finish_s <= most else finish_s + AFTER_S * scale
        return max(0.0, start_s), min(self.end_of_file_s, end_s)

    def _cut_by_a_shot(
        self, takeoff_s: float | None, entry_s: float | None, index: int, shot: tuple[float, float]
    ) -> bool:
        """Tell whether an end of the flight is missing because another shot begins, not because the file ends.

        The first shot begins with the file, or with what moves in it.
        """
        last_s = self.end_of_file_s if self.end_s is None else self.end_s
        begins_inside = takeoff_s is None and index > 0
        ends_inside = entry_s is None and shot[1] < last_s - _SAME_END_S
        return begins_inside or ends_inside


def distance_to(flight: Flight, point: AthletePoint) -> float:
    """Return how far a point lies from an athlete's path, in the athlete's size; at its time if it says one."""
    near = _within(flight, point.time_s)
    if not len(near):
        return float("inf")
    far = np.hypot(flight.centres[near, 0] - point.x, flight.centres[near, 1] - point.y)
    return float((far / np.maximum(flight.sizes[near], 1.0)).min())


def _within(flight: Flight, time_s: float | None) -> NDArray[np.int64]:
    """Return the indices of a path near a time, or nearest to it; all without one, none where it is of another dive."""
    times = np.asarray(flight.times_s)
    if time_s is None:
        return np.arange(len(times))
    away = np.abs(times - time_s)
    nearest = float(away.min(initial=np.inf))
    if nearest > _POINTED_S * flight.time_scale:
        return np.arange(0)
    return np.flatnonzero(away <= max(_SAME_END_S, nearest))


def are_together(flight: Flight, other: Flight) -> bool:
    """Tell whether two flights are of two athletes in the air at once."""
    if flight.shot != other.shot:
        return False
    begin, end = max(flight.first_s, other.first_s), min(flight.last_s, other.last_s)
    shorter = min(flight.last_s - flight.first_s, other.last_s - other.first_s)
    if shorter <= 0 or end - begin < _TOGETHER * shorter:
        return False
    times = np.linspace(begin, end, 8)
    paths = [
        np.stack([np.interp(times, each.times_s, each.centres[:, axis]) for axis in (0, 1)], axis=1)
        for each in (flight, other)
    ]
    far = float(np.median(np.hypot(*(paths[0] - paths[1]).T)))
    return far > _APART * float(max(np.median(flight.sizes), np.median(other.sizes)))


def _away(flight: Flight, times: Sequence[float | None]) -> float:
    """Return how far given times of take-off and entry lie from those of a flight, seconds."""
    ends = (
        flight.first_s if flight.takeoff_s is None else flight.takeoff_s,
        flight.last_s if flight.entry_s is None else flight.entry_s,
    )
    return max(abs(end - time) for end, time in zip(ends, times, strict=True) if time is not None)


def _missing(
    start_s: float, end_s: float, takeoff_s: float | None, entry_s: float | None, scale: float
) -> tuple[str, ...]:
    """Say what a clip lacks of its dive."""
    lacks = []
    if takeoff_s is None:
        lacks.append("the clip begins after the take-off")
    elif (takeoff_s - start_s) / scale < LEAST_MARGIN_S:
        lacks.append(f"the clip begins {max(0.0, takeoff_s - start_s):.2f} s before the take-off: little of it is seen")
    if entry_s is None:
        lacks.append("the clip ends before the entry, or the entry is not in the picture")
    elif (end_s - entry_s) / scale < LEAST_MARGIN_S:
        lacks.append(f"the clip ends {max(0.0, end_s - entry_s):.2f} s after the entry: little of the splash is seen")
    return tuple(lacks)


def _slow_motion(takeoff_s: float | None, entry_s: float | None, scale: float) -> tuple[str, ...]:
    if scale < SLOW_FROM:
        return ()
    note = f"slow motion, about {scale:.1f} times slower than real time"
    if takeoff_s is not None and entry_s is not None:
        air_s = entry_s - takeoff_s
        note += f": {air_s:.2f} s in the air are {air_s / scale:.2f} s"
    return (note,)
