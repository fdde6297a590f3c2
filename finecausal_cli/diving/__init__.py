"""Diving: dive numbers, degrees of difficulty, marks and how they make points."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from finecausal_cli.errors import DiveNumberError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# Dive numbers such as 107B, 5253B or 626C, read and written.
#
# The grammar, position by position:
#
#     groups 1-4   group, 0 or 1 (1 = flying), half-somersaults, letter               107B, 113C
#     group 5      5, direction 1-4, half-somersaults, half-twists, letter            5253B
#     group 6      6, direction 0-3 (0 = none), half-somersaults, [half-twists], letter   600A, 626C, 6245D
#
# One number needs more digits than the rule gives it: 1011C, forward with eleven half-somersaults.

Position = Literal["A", "B", "C", "D"]

TWISTING = 5
ARMSTAND = 6
GROUPS = {1: "forward", 2: "back", 3: "reverse", 4: "inward", TWISTING: "twisting", ARMSTAND: "armstand"}
DIRECTIONS = {1: "forward", 2: "back", 3: "reverse", 4: "inward"}
POSITIONS: dict[Position, str] = {"A": "straight", "B": "pike", "C": "tuck", "D": "free"}

_ELEVEN = 11
_EXAMPLE = "write it like 107B, 5253B or 626C"


@dataclass(frozen=True, slots=True)
class DiveNumber:
    """What a dive number says about a dive. A value that exists is a valid number.

    Attributes:
        group: 1 forward, 2 back, 3 reverse, 4 inward, 5 twisting, 6 armstand.
        flying: Whether the dive starts with a flying part; groups 1-4 only.
        direction: Direction of the somersaults: 1 forward, 2 back, 3 reverse, 4 inward; 0 for the armstand
            dive that has none. In groups 1-4 it equals the group.
        half_somersaults: Half-somersaults, 1..9; 0 only for direction 0, 11 only in 1011.
        half_twists: Half-twists, 1..9 in group 5, 0..9 in group 6, otherwise 0.
        position: A straight, B pike, C tuck, D free.

    Raises:
        DiveNumberError: When the parts do not make a dive number; the message names the digit.
    """

    group: int
    flying: bool
    direction: int
    half_somersaults: int
    half_twists: int
    position: Position

    def __post_init__(self) -> None:
        _check(self)

    def __str__(self) -> str:
        """Return the canonical number, e.g. ``5253B``."""
        if self.group < TWISTING:
            return f"{self.group}{int(self.flying)}{self.half_somersaults}{self.position}"
        twists = str(self.half_twists) if self.group == TWISTING or self.half_twists else ""
        return f"{self.group}{self.direction}{self.half_somersaults}{twists}{self.position}"

    @property
    def armstand(self) -> bool:
        """Whether the dive starts from an armstand."""
        return self.group == ARMSTAND

    @property
    def twisting(self) -> bool:
        """Whether the dive has a twist, in group 5 or in group 6."""
        return self.half_twists > 0

    @property
    def head_first(self) -> bool:
        """Whether the hands meet the water first."""
        return (self.half_somersaults + self.armstand) % 2 == 1


def parse_dive_number(text: str) -> DiveNumber:
    """Read a dive number as a person types it: any case, with or without blanks.

    Args:
        text: For example ``"107B"``, ``" 5253 b "`` or ``"1011c"``.

    Raises:
        DiveNumberError: When the text breaks the grammar; the message says which digit is wrong and why.
    """
    compact = "".join(text.split()).upper()
    digits, letter = _split(compact, shown=text.strip() or "(nothing)")
    group = int(digits[0])
    if group not in GROUPS:
        raise _wrong(compact, 1, "group", digits[0], "it is 1 to 6: " + _choices(GROUPS))
    _check_length(compact, digits, group)
    if group < TWISTING:
        if digits[1] not in "01":
            raise _wrong(compact, 2, "flying", digits[1], "in groups 1 to 4 it is 0, or 1 for a flying dive")
        somersaults = int(digits[2:])
        return DiveNumber(group, digits[1] == "1", group, somersaults, 0, letter)
    half_twists = int(digits[3]) if len(digits) > 3 else 0
    if group == ARMSTAND and digits[3:] == "0":
        raise _wrong(compact, 4, "half-twists", "0", "it is 1 to 9; leave it out of an armstand dive without twists")
    return DiveNumber(group, False, int(digits[1]), int(digits[2]), half_twists, letter)


def _split(compact: str, *, shown: str) -> tuple[str, Position]:
    """Separate the digits from the position letter."""
    digits, letter = compact[:-1], compact[-1:]
    if compact.isascii() and compact.isdigit():
        raise DiveNumberError(
            "the position letter is missing at the end", where=shown, hint="add one: " + _choices(POSITIONS)
        )
    if not (digits.isascii() and digits.isdigit()):
        raise DiveNumberError("a dive number is three or four digits and a letter", where=shown, hint=_EXAMPLE)
    if letter not in POSITIONS:
        raise DiveNumberError(
            f"the position letter is {letter!r}", where=shown, hint="it is one of " + _choices(POSITIONS)
        )
    return digits, letter


def _check_length(compact: str, digits: str, group: int) -> None:
    allowed: tuple[int, ...] = (3,) if group < TWISTING else (4,) if group == TWISTING else (3, 4)
    if len(digits) in allowed or digits == f"10{_ELEVEN}":
        return
    if group < TWISTING:
        rule = "groups 1 to 4 have three: group, 0 or 1 for flying, half-somersaults"
    elif group == TWISTING:
        rule = "group 5 has four: 5, direction, half-somersaults, half-twists"
    else:
        rule = "group 6 has three, or four with twists: 6, direction, half-somersaults, half-twists"
    count = f"{len(digits)} digit" + ("" if len(digits) == 1 else "s")
    raise DiveNumberError(f"{count}, but {rule}", where=compact, hint=_EXAMPLE)


def _check(dive: DiveNumber) -> None:
    """Refuse parts that do not make a dive number, naming the digit they would be written in."""
    number = str(dive)
    if dive.group not in GROUPS:
        raise _wrong(number, 1, "group", dive.group, "it is 1 to 6: " + _choices(GROUPS))
    if dive.position not in POSITIONS:
        raise DiveNumberError(f"no position {dive.position!r}", where=number, hint=_choices(POSITIONS))
    _check_direction(dive, number)
    _check_somersaults(dive, number)
    _check_twists(dive, number)
    if dive.position == "D" and not dive.twisting:
        raise DiveNumberError(
            "the position letter is D, free, but the dive has no twist",
            where=number,
            hint="only twisting dives are free; use A, B or C",
        )


def _check_direction(dive: DiveNumber, number: str) -> None:
    if dive.group < TWISTING:
        if dive.direction != dive.group:
            raise DiveNumberError(f"direction {dive.direction} in group {dive.group}", where=number)
        return
    if dive.flying:
        raise DiveNumberError("a flying dive outside groups 1 to 4", where=number)
    if dive.group == TWISTING and dive.direction not in DIRECTIONS:
        raise _wrong(number, 2, "direction", dive.direction, "in group 5 it is " + _choices(DIRECTIONS))
    if dive.group == ARMSTAND and dive.direction not in (0, 1, 2, 3):
        raise _wrong(number, 2, "direction", dive.direction, "in group 6 it is 0 none, 1 forward, 2 back or 3 reverse")


def _check_somersaults(dive: DiveNumber, number: str) -> None:
    count = dive.half_somersaults
    if dive.direction == 0:
        if count != 0:
            raise _wrong(number, 3, "half-somersaults", count, "an armstand dive without direction (60) has 0")
        return
    eleven = dive.group == 1 and not dive.flying and count == _ELEVEN
    if not 1 <= count <= 9 and not eleven:
        raise _wrong(number, 3, "half-somersaults", count, "it is 1 to 9")


def _check_twists(dive: DiveNumber, number: str) -> None:
    count = dive.half_twists
    if dive.group < TWISTING:
        if count != 0:
            raise DiveNumberError(f"{count} half-twists in group {dive.group}", where=number, hint="twists are group 5")
        return
    if dive.group == TWISTING and count == 0:
        plain = f"{dive.direction}0{dive.half_somersaults}"
        raise _wrong(number, 4, "half-twists", 0, f"it is 1 to 9; without a twist the dive is {plain}")
    if not 0 <= count <= 9:
        raise _wrong(number, 4, "half-twists", count, "it is 1 to 9")


def _wrong(number: str, digit: int, name: str, value: object, why: str) -> DiveNumberError:
    return DiveNumberError(f"digit {digit} ({name}) is {value}", where=number, hint=why)


def _choices(meanings: dict[int, str] | dict[Position, str]) -> str:
    words = [f"{symbol} {meaning}" for symbol, meaning in meanings.items()]
    return ", ".join(words[:-1]) + " or " + words[-1]


# Dive numbers in words: one line for a heading, or part by part.

_POSITION_RULES = {
    "A": "straight: no bend at the hips or knees",
    "B": "pike: bent at the hips, legs straight",
    "C": "tuck: bent at the hips and knees, knees together",
    "D": "free: any mix of positions, in dives with a twist",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One symbol of a dive number and what it means.

    Attributes:
        symbol: The digit, digits or letter as written, e.g. ``"5"``.
        name: What the place stands for, e.g. ``"half-somersaults"``.
        meaning: What this symbol says there, e.g. ``"2½ somersaults"``.
    """

    symbol: str
    name: str
    meaning: str


def describe_dive(dive: DiveNumber) -> str:
    """Say a dive in the sport's words, e.g. ``back 2½ somersaults 1½ twists pike``."""
    words = [word for word, applies in (("flying", dive.flying), ("armstand", dive.armstand)) if applies]
    if dive.direction:
        words.append(DIRECTIONS[dive.direction])
    words.append(_somersaults(dive))
    if dive.twisting:
        words.append(_counted(dive.half_twists, "twist"))
    words.append(POSITIONS[dive.position])
    return " ".join(words)


def explain_dive(dive: DiveNumber) -> tuple[Part, ...]:
    """Take a dive number apart, symbol by symbol, in the order they are written."""
    parts = [Part(str(dive.group), "group", GROUPS[dive.group])]
    if dive.group < TWISTING:
        parts.append(Part(str(int(dive.flying)), "flying", "flying" if dive.flying else "not flying"))
    else:
        direction = DIRECTIONS.get(dive.direction, "none: a dive without somersault")
        parts.append(Part(str(dive.direction), "direction", direction))
    parts.append(Part(str(dive.half_somersaults), "half-somersaults", _counted(dive.half_somersaults, "somersault")))
    if dive.twisting:
        parts.append(Part(str(dive.half_twists), "half-twists", _counted(dive.half_twists, "twist")))
    parts.append(Part(dive.position, "position", _POSITION_RULES[dive.position]))
    return tuple(parts)


def _somersaults(dive: DiveNumber) -> str:
    """Name the somersaults as announcers do: a plain dive for one half, no count for a single one."""
    if dive.half_somersaults == 0 or (dive.half_somersaults == 1 and not dive.armstand):
        return "dive"
    if dive.half_somersaults == 2:
        return "somersault"
    return _counted(dive.half_somersaults, "somersault")


def _counted(halves: int, noun: str) -> str:
    """Write a count of halves, e.g. 5 -> ``2½ somersaults``."""
    whole, half = divmod(halves, 2)
    count = (str(whole) if whole else "") + ("½" if half else "") or "0"
    return f"{count} {noun}" + ("" if halves in (1, 2) else "s")


# The degree of difficulty of a dive at a height, from the published lists.

HEIGHTS_M = (1.0, 3.0, 5.0, 7.5, 10.0)
"""Heights in metres that have a list: 1 and 3 springboard; 5, 7.5 and 10 platform."""

_LIST = "degree_of_difficulty.json"


def difficulty(dive: DiveNumber, height_m: float) -> float | None:
    """Return the degree of difficulty of a dive at a height, or None where the list has no such dive.

    Args:
        dive: The dive.
        height_m: One of ``HEIGHTS_M``, in metres.

    Raises:
        UsageError: When no list exists for that height.
    """
    if height_m not in HEIGHTS_M:
        known = ", ".join(f"{height:g}" for height in HEIGHTS_M)
        raise UsageError(f"no difficulty list for {height_m:g} m", where="--height", hint=f"heights in metres: {known}")
    return _table()[float(height_m)].get(dive)


def heights_for(dive: DiveNumber) -> dict[float, float]:
    """Return the difficulty at every height where the dive is listed, lowest height first."""
    return {height: table[dive] for height, table in _table().items() if dive in table}


def listed_dives() -> tuple[DiveNumber, ...]:
    """Return every dive that is listed at any height, once each, in the order of their numbers."""
    return tuple(sorted({dive for table in _table().values() for dive in table}, key=str))


def apparatus(height_m: float) -> str:
    """Return what a dive from this height starts on: ``springboard`` up to 3 m, ``platform`` above."""
    return "springboard" if height_m <= 3.0 else "platform"


@lru_cache(maxsize=1)
def _table() -> Mapping[float, Mapping[DiveNumber, float]]:
    text = resources.files("finecausal_cli.diving").joinpath(_LIST).read_text(encoding="utf-8")
    lists: dict[str, dict[str, float]] = json.loads(text)["difficulty"]
    return MappingProxyType(
        {
            height: {parse_dive_number(number): value for number, value in lists[f"{height:g}m"].items()}
            for height in HEIGHTS_M
        }
    )


# From judges' marks to a score, in exact arithmetic.
#
# Execution is what the counting marks add up to, 0..30 for three counting judges; final score = execution *
# difficulty. Marks are half points and difficulties tenths, so every score here is exact to 0.01.

MAX_MARK = 10.0
COUNTING_MARKS = 3
"""Marks that make up an execution: execution / 3 is their mean, on the scale of a judge."""

MAX_EXECUTION = COUNTING_MARKS * MAX_MARK

_DROPPED_EACH_END = {3: 0, 5: 1, 7: 2}
_SYNCHRO_SHARE = Decimal("0.6")


def execution_from_marks(marks: Sequence[float]) -> float:
    """Add up the three counting marks of an individual dive.

    Args:
        marks: 3, 5 or 7 marks, 0..10 in half points. Of 5 the highest and the lowest are dropped, of 7 the two
            highest and the two lowest.

    Returns:
        Execution, 0..30 in half points.

    Raises:
        UsageError: When the number of judges or a mark is impossible.
    """
    if len(marks) not in _DROPPED_EACH_END:
        raise UsageError(f"{len(marks)} marks", where="--judges", hint="a panel has 3, 5 or 7 judges")
    return float(sum(_counting(marks, _DROPPED_EACH_END[len(marks)])))


def execution_from_synchro_marks(marks: Sequence[float]) -> float:
    """Scale the marks of a synchronised dive to three counting judges.

    Args:
        marks: Either the 5 counting marks, or all 11 in the order diver 1's execution (3), diver 2's
            execution (3), synchronisation (5); of these each panel's highest and lowest are dropped.

    Returns:
        Execution: the five counting marks times 0.6, 0..30, exact to 0.1.

    Raises:
        UsageError: When the number of judges or a mark is impossible.
    """
    if len(marks) == 5:
        counting = _counting(marks, 0)
    elif len(marks) == 11:
        counting = [mark for panel in (marks[:3], marks[3:6], marks[6:]) for mark in _counting(panel, 1)]
    else:
        raise UsageError(
            f"{len(marks)} marks for a synchronised dive", where="marks", hint="give the 5 counting marks or all 11"
        )
    return float(sum(counting) * _SYNCHRO_SHARE)


def final_score(marks: Sequence[float], difficulty: float, *, synchro: bool = False) -> float:
    """Return the final score of a dive: execution times difficulty, to 0.01.

    Args:
        marks: As in ``execution_from_marks`` or, with ``synchro``, ``execution_from_synchro_marks``.
        difficulty: Degree of difficulty, above 0.
        synchro: Whether the marks are those of a synchronised dive.

    Raises:
        UsageError: When a mark, their number or the difficulty is impossible.
    """
    execution = execution_from_synchro_marks(marks) if synchro else execution_from_marks(marks)
    if not (math.isfinite(difficulty) and difficulty > 0):
        raise UsageError(f"difficulty {difficulty:g}", where="--difficulty", hint="it is above 0, such as 3.2")
    product = Decimal(str(execution)) * Decimal(str(difficulty))
    return float(product.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


def _counting(marks: Sequence[float], dropped_each_end: int) -> list[Decimal]:
    """Return the marks that count, once the same number of high and low ones is dropped."""
    ranked = sorted(_exact(mark) for mark in marks)
    return ranked[dropped_each_end : len(ranked) - dropped_each_end]


def _exact(mark: float) -> Decimal:
    if not (math.isfinite(mark) and 0 <= mark <= MAX_MARK and float(2 * mark).is_integer()):
        raise UsageError(f"mark {mark:g}", where="--judges", hint="a mark is 0 to 10 in half points, such as 7.5")
    return Decimal(float(mark))
