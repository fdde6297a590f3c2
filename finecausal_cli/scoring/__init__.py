"""Scoring: the options of one dive, and the corrections that are kept beside a clip."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, cast, get_args

from finecausal_cli.atomic import atomic_write
from finecausal_cli.config import option
from finecausal_cli.diving import HEIGHTS_M, MAX_EXECUTION, parse_dive_number
from finecausal_cli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


# Corrections of a dive that the search located wrongly, kept in a small file beside the clip.
#
# The file is ``<clip>.finecausal.json``. It is used again on the next run, and it is a label for the training of an
# athlete reader::
#
#     {"finecausal_corrections": 1,
#      "dives": [{"start_s": null, "end_s": null, "takeoff_s": 3.2, "entry_s": 4.9, "athlete": [640, 210, 3.5]}]}
#
# A dive is known by the part of the video that was asked for (``--start`` and ``--end``; null for the whole file).
# ``athlete`` is a point on the athlete (x, y in pixels of the upright picture, and when that is, or null) or ``left``
# or ``right`` of two athletes in the air at once.

FORMAT_VERSION: Final = 1
_FORMAT_KEY: Final = "finecausal_corrections"
_SUFFIX: Final = ".finecausal.json"
_MOST_BYTES: Final = 1 << 20

Side = Literal["left", "right"]
"""Which of two athletes in the air at once, as seen in the picture."""


@dataclass(frozen=True, slots=True)
class AthletePoint:
    """A point on the athlete.

    Attributes:
        x: From the left, pixels of the decoded upright picture.
        y: From the top.
        time_s: When that is in the file, seconds; None where only one dive could be meant.
    """

    x: float
    y: float
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class Corrections:
    """Corrections of a dive by a person; None leaves it to the search.

    Attributes:
        takeoff_s: When the athlete leaves the board, seconds of the file.
        entry_s: When the athlete first touches the water, seconds of the file.
        athlete: Who the athlete is: a point on them, or the left or right one of two.
    """

    takeoff_s: float | None = None
    entry_s: float | None = None
    athlete: AthletePoint | Side | None = None

    def __post_init__(self) -> None:
        for flag, value in (("--takeoff", self.takeoff_s), ("--entry", self.entry_s)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{value} is no time in a video", where=flag, hint="seconds from its beginning")
        if self.takeoff_s is not None and self.entry_s is not None and self.entry_s <= self.takeoff_s:
            what = f"the entry at {self.entry_s:g} s does not lie after the take-off at {self.takeoff_s:g} s"
            raise UsageError(what, where="--entry", hint="both are seconds of the file")

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self))

    def over(self, stored: Corrections) -> Corrections:
        """Return these, completed by what is stored; these win."""
        takeoff_s = stored.takeoff_s if self.takeoff_s is None else self.takeoff_s
        entry_s = stored.entry_s if self.entry_s is None else self.entry_s
        if takeoff_s is not None and entry_s is not None and entry_s <= takeoff_s:
            # A new time contradicts the old one of the other: the old one was of another dive, or wrong.
            takeoff_s, entry_s = self.takeoff_s, self.entry_s
        return Corrections(takeoff_s, entry_s, self.athlete or stored.athlete)

    @property
    def athlete_text(self) -> str | None:
        """The athlete as ``parse_athlete`` reads it; None without one."""
        who = self.athlete
        if not isinstance(who, AthletePoint):
            return who
        return ",".join(f"{part!r}" for part in (who.x, who.y, who.time_s) if part is not None)

    def in_words(self) -> str:
        """Say what is corrected, e.g. ``take-off 3.20 s, entry 4.90 s``."""
        parts = [
            f"{name} {value:.2f} s"
            for name, value in (("take-off", self.takeoff_s), ("entry", self.entry_s))
            if value is not None
        ]
        if isinstance(self.athlete, AthletePoint):
            when = "" if self.athlete.time_s is None else f" at {self.athlete.time_s:.2f} s"
            parts.append(f"athlete at {self.athlete.x:g},{self.athlete.y:g}{when}")
        elif self.athlete is not None:
            parts.append(f"the athlete at the {self.athlete}")
        return ", ".join(parts)


def parse_athlete(text: str) -> AthletePoint | Side:
    """Read ``X,Y``, ``X,Y,S``, ``left`` or ``right``.

    Raises:
        UsageError: It is something else.
    """
    if text in get_args(Side):
        return cast("Side", text)
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(math.isfinite(number) and number >= 0 for number in numbers):
        hint = "X,Y or X,Y,S: pixels of the picture and seconds, e.g. 640,210,3.5; or left, right"
        raise UsageError(f"{text!r} is neither a point nor a side", where="--athlete", hint=hint)
    return AthletePoint(*numbers)


def corrections_path(clip: str | os.PathLike[str]) -> Path:
    """Return where the corrections of a clip are kept."""
    whole = os.path.abspath(clip)  # noqa: PTH100 - keeps links as they are, and drops the slash of a folder
    return Path(f"{whole}{_SUFFIX}")


def read_corrections(
    clip: str | os.PathLike[str], start_s: float | None = None, end_s: float | None = None
) -> tuple[Corrections, tuple[str, ...]]:
    """Read the corrections of earlier runs.

    Args:
        clip: The video file or folder of frames.
        start_s: The part of it that is asked for.
        end_s: Its end.

    Returns:
        The corrections, empty where there are none; and a note if there are some that cannot be read.
    """
    path = corrections_path(clip)
    try:
        if not path.is_file():
            return Corrections(), ()
        dives = _read(path)
        entry = next((dive for dive in dives if _part_of(dive) == (start_s, end_s)), None)
        return (Corrections() if entry is None else _corrections(entry)), ()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, UsageError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return Corrections(), (f"the corrections in {path.name} cannot be read and are left out: {why}",)


def write_corrections(
    clip: str | os.PathLike[str],
    corrections: Corrections,
    start_s: float | None = None,
    end_s: float | None = None,
) -> tuple[str, ...]:
    """Keep corrections for the next run; those of other parts of the video stay.

    Returns:
        A note if that is not possible: a folder that cannot be written to, say. Scoring goes on all the same.
    """
    path = corrections_path(clip)
    try:
        dives = _read(path) if path.is_file() else []
    except (OSError, ValueError, RecursionError) as error:
        return (f"the corrections are not kept: {path.name} is there and is something else ({error})",)
    others = [dive for dive in dives if _part_of(dive) != (start_s, end_s)]
    content = {_FORMAT_KEY: FORMAT_VERSION, "dives": [*others, _entry(corrections, start_s, end_s)]}
    try:
        with atomic_write(path, "the corrections") as part:
            part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except (OutputError, ValueError) as error:
        return (f"the corrections are not kept for the next run: {getattr(error, 'what', error)}",)
    return ()


def resolve_corrections(
    clip: str | os.PathLike[str], given: Corrections, start_s: float | None, end_s: float | None
) -> tuple[Corrections, tuple[str, ...]]:
    """Complete corrections by those of earlier runs; also return notes on what comes from there."""
    stored, notes = read_corrections(clip, start_s, end_s)
    joined = given.over(stored)
    earlier = replace(
        joined,
        takeoff_s=None if given.takeoff_s is not None else joined.takeoff_s,
        entry_s=None if given.entry_s is not None else joined.entry_s,
        athlete=None if given.athlete is not None else joined.athlete,
    )
    if earlier:
        undo = f"delete {corrections_path(clip).name} to undo"
        notes += (f"as corrected earlier: {earlier.in_words()} ({undo})",)
    return joined, notes


def keep_corrections(
    clip: str | os.PathLike[str], given: Corrections, start_s: float | None, end_s: float | None
) -> tuple[str, ...]:
    """Keep corrections, completed by those of earlier runs; return a note if that is not possible."""
    stored, _ = read_corrections(clip, start_s, end_s)
    joined = given.over(stored)
    return () if joined == stored else write_corrections(clip, joined, start_s, end_s)


def _read(path: Path) -> list[dict[str, Any]]:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
    return _parse(path.read_text(encoding="utf-8"))


def _parse(text: str) -> list[dict[str, Any]]:
    content = json.loads(text)
    if not isinstance(content, dict) or _FORMAT_KEY not in content:
        raise ValueError("it holds no corrections")
    version = content[_FORMAT_KEY]
    if version != FORMAT_VERSION:
        raise ValueError(f"version {version!r} is not known")
    dives = content.get("dives")
    if not isinstance(dives, list) or not all(isinstance(dive, dict) for dive in dives):
        raise ValueError("its dives are no list of objects")
    return dives


def _part_of(entry: dict[str, Any]) -> tuple[float | None, float | None]:
    return entry.get("start_s"), entry.get("end_s")


def _corrections(entry: dict[str, Any]) -> Corrections:
    athlete = entry.get("athlete")
    who: AthletePoint | Side | None = None
    if isinstance(athlete, str):
        who = parse_athlete(athlete)
    elif athlete is not None:
        who = AthletePoint(*(None if part is None else float(part) for part in cast("Sequence[Any]", athlete)))  # type: ignore[arg-type]
    times = [None if entry.get(name) is None else float(entry[name]) for name in ("takeoff_s", "entry_s")]
    return Corrections(times[0], times[1], who)


def _entry(corrections: Corrections, start_s: float | None, end_s: float | None) -> dict[str, Any]:
    who = corrections.athlete
    athlete = [who.x, who.y, who.time_s] if isinstance(who, AthletePoint) else who
    return {
        "start_s": start_s,
        "end_s": end_s,
        "takeoff_s": corrections.takeoff_s,
        "entry_s": corrections.entry_s,
        "athlete": athlete,
    }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dive of a file is wanted.

    Attributes:
        start_s: Where the clip begins, if that is given.
        end_s: Where it ends.
        takeoff_s: When the athlete leaves the board, if a person says so.
        entry_s: When the athlete touches the water.
        athlete: Who it is: ``X,Y``, ``X,Y,S``, ``left`` or ``right``.
        part: Which dive, counted from 0 in the order of the file; None for the surest.
        force: Read the clip as it is where there is no dive.
    """

    start_s: float | None = None
    end_s: float | None = None
    takeoff_s: float | None = None
    entry_s: float | None = None
    athlete: str | None = None
    part: int | None = None
    force: bool = False

    @property
    def corrections(self) -> Corrections:
        """Corrections of the dive."""
        return Corrections(self.takeoff_s, self.entry_s, None if self.athlete is None else parse_athlete(self.athlete))


# What a caller may say about a dive that is to be scored.


def _check_height(height_m: float | None) -> None:
    if height_m is not None and height_m not in HEIGHTS_M:
        *others, last = (f"{height:g}" for height in HEIGHTS_M)
        hint = f"metres: {', '.join(others)} or {last}"
        raise UsageError(f"no board or platform is {height_m:g} m high", where="--height", hint=hint)


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How to score one dive. Every field may stay as it is.

    Attributes:
        attention: Also return where the network looked.
        timeout_s: Most seconds without progress that reading the clip may take, in a process that can be killed;
            None reads it in this process and sets no limit.
        all_dives: Score every dive of the source, in its order.
    """

    panel: ClassVar[str] = "The dive"

    dive: str | None = option(
        None, "Dive number, e.g. 107B; by default it is recognised, or the nearest exemplars vote."
    )
    height_m: float | None = option(None, "Height in metres: 1, 3, 5, 7.5 or 10.", flag="--height")
    difficulty: float | None = option(None, "Degree of difficulty; overrides the listed one.")
    exemplar: str | None = option(None, "Compare with this exemplar alone.")
    voters: int = option(10, "Most exemplars to compare with.", min=1, flag="--most-exemplars")
    start_s: float | None = option(None, "Where the dive starts in the video, seconds.", flag="--start")
    end_s: float | None = option(None, "Where the dive ends in the video, seconds.", flag="--end")
    takeoff_s: float | None = option(
        None, "Correct the time of take-off, seconds; stored beside the clip.", flag="--takeoff", metavar="S"
    )
    entry_s: float | None = option(
        None, "Correct the time of entry, seconds; stored beside the clip.", flag="--entry", metavar="S"
    )
    athlete: str | None = option(
        None,
        "Correct who the athlete is: a point in pixels and its time, or one of two; stored beside the clip.",
        metavar="X,Y[,S]|left|right",
    )
    force: bool = option(False, "Take clips that would be refused; a warning is shown.")
    seed: int = option(0, "Random seed of the choice among exemplars of one number.")
    attention: bool = True
    timeout_s: float | None = None
    all_dives: bool = False

    def __post_init__(self) -> None:
        if self.voters < 1:
            raise UsageError(f"{self.voters} exemplars", where="--most-exemplars", hint="1 or more")
        _check_height(self.height_m)
        if self.difficulty is not None and not 0 < self.difficulty < 10:
            raise UsageError(f"difficulty {self.difficulty:g}", where="--difficulty", hint="real ones run from 1 to 5")
        if self.exemplar is not None and self.voters != type(self)().voters and self.voters != 1:
            raise UsageError("--exemplar names one dive and --most-exemplars asks for more", where="--most-exemplars")
        if self.all_dives and self.corrections:
            hint = "leave out --all-dives, or give the part with --start and --end"
            raise UsageError("a correction is of one dive, and --all-dives asks for many", hint=hint)

    @property
    def corrections(self) -> Corrections:
        """Corrections of the dive.

        Raises:
            UsageError: The times or the athlete make no sense.
        """
        return Corrections(self.takeoff_s, self.entry_s, None if self.athlete is None else parse_athlete(self.athlete))

    def corrected(self, corrections: Corrections) -> ScoreOptions:
        """Return the same with what is known of the dive."""
        return replace(
            self,
            takeoff_s=corrections.takeoff_s,
            entry_s=corrections.entry_s,
            athlete=corrections.athlete_text,
        )

    @property
    def wanted(self) -> Wanted:
        """Which dive of a file these options ask for, were it only one."""
        return Wanted(self.start_s, self.end_s, self.takeoff_s, self.entry_s, self.athlete, force=self.force)

    def with_canonical_number(self) -> ScoreOptions:
        """Return the same with the dive number as it is written in the rules.

        Raises:
            UsageError: It is no dive number.
        """
        return self if self.dive is None else replace(self, dive=str(parse_dive_number(self.dive)))


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What to explain.

    Attributes:
        picture_size: Short side in pixels, at most, of ``Evidence.frames``; None leaves them at the working size.
    """

    panel: ClassVar[str] = "Options"

    layer: int | None = option(
        None, "Graph layer whose attention is shown; without it the mean of the layers.", metavar="N", min=1
    )
    head: int | None = option(
        None, "Graph head whose attention is shown; without it the mean of the heads.", metavar="N", min=1
    )
    backgrounds: bool = option(True, "Skip the background interventions: faster.", flag="/--no-backgrounds")
    picture_size: int | None = 360

    def __post_init__(self) -> None:
        for name, value, most in (("layer", self.layer, 2), ("head", self.head, 4)):
            if value is not None and not 1 <= value <= most:
                raise UsageError(f"no {name} {value}", where=f"--{name}", hint=f"1 to {most}, or leave it out")
        if self.picture_size is not None and not 64 <= self.picture_size <= 2160:
            raise UsageError(f"pictures of {self.picture_size} pixels", hint="64 to 2160")


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How to compare two dives, A (the query) and B (the exemplar).

    Attributes:
        picture_size: Short side in pixels of the pictures to return; None returns none.
        tracks: Return what is read of the athletes even without pictures.
        timeout_s: Most seconds that reading a clip may take; None sets no limit.
    """

    panel: ClassVar[str] = "The dives"

    dive: str | None = option(None, "Dive number of both, e.g. 107B.")
    height_m: float | None = option(None, "Height in metres: 1, 3, 5, 7.5 or 10.", flag="--height")
    difficulty: float | None = option(
        None, "Degree of difficulty of both; without it differences are in execution, not in points."
    )
    execution: float | None = option(None, "Execution of B as judged, 0 to 30 (score / difficulty).")
    score: float | None = option(None, "Score of B as judged, points.")
    ask_bank: bool = option(False, "Estimate the execution of B from the exemplar bank.")
    voters: int = option(10, "Most exemplars for --ask-bank.", min=1, flag="--most-exemplars")
    start_s: float | None = option(None, "Where A starts in its video, seconds.", flag="--start")
    end_s: float | None = option(None, "Where A ends in its video, seconds.", flag="--end")
    b_start_s: float | None = option(None, "Where B starts in its video, seconds.", flag="--b-start")
    b_end_s: float | None = option(None, "Where B ends in its video, seconds.", flag="--b-end")
    force: bool = option(False, "Compare clips that would be refused; a warning is shown.")
    seed: int = option(0, "Random seed of the choice among exemplars of one number.")
    picture_size: int | None = None
    tracks: bool = False
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        _check_height(self.height_m)
        if self.difficulty is not None and not 0 < self.difficulty < 10:
            raise UsageError(f"difficulty {self.difficulty:g}", where="--difficulty", hint="real ones run from 1 to 5")
        if (self.execution is not None) + (self.score is not None) + self.ask_bank > 1:
            raise UsageError("--execution, --score and --ask-bank each say how good B is", hint="give one of them")
        if self.execution is not None and not 0 <= self.execution <= MAX_EXECUTION:
            raise UsageError(f"execution {self.execution:g}", where="--execution", hint="judges give 0 to 30")
        if self.score is not None and not 0 <= self.score < 10 * MAX_EXECUTION:
            raise UsageError(f"score {self.score:g}", where="--score", hint="execution times difficulty, in points")
        for flag, value, default in (("--most-exemplars", self.voters, 10), ("--seed", self.seed, 0)):
            if value != default and not self.ask_bank:
                raise UsageError(f"{flag} is for exemplars of the bank", where=flag, hint="add --ask-bank")

    @property
    def query_range_s(self) -> tuple[float | None, float | None]:
        """Start and end of A in its source, seconds."""
        return self.start_s, self.end_s

    @property
    def exemplar_range_s(self) -> tuple[float | None, float | None]:
        """Start and end of B in its source, seconds."""
        return self.b_start_s, self.b_end_s


def with_corrections(clip: str | os.PathLike[str], options: ScoreOptions) -> tuple[ScoreOptions, tuple[str, ...]]:
    """Return options completed by the corrections of earlier runs, and what a person should know of them."""
    corrections, notes = resolve_corrections(clip, options.corrections, options.start_s, options.end_s)
    if options.all_dives and corrections:  # kept from a run that asked for one dive
        return options, (*notes, "they are of one dive and left out, for all dives are asked for")
    return (options if corrections == options.corrections else options.corrected(corrections)), notes
