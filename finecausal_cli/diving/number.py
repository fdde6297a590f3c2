"""Dive numbers such as 107B, 5253B or 626C, read and written.

The grammar, position by position:

    groups 1-4   group, 0 or 1 (1 = flying), half-somersaults, letter               107B, 113C
    group 5      5, direction 1-4, half-somersaults, half-twists, letter            5253B
    group 6      6, direction 0-3 (0 = none), half-somersaults, [half-twists], letter   600A, 626C, 6245D

One number needs more digits than the rule gives it: 1011C, forward with eleven half-somersaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from finecausal_cli.errors import DiveNumberError

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
