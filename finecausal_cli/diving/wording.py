"""Dive numbers in words: one line for a heading, or part by part."""

from __future__ import annotations

from dataclasses import dataclass

from finecausal_cli.diving.number import DIRECTIONS, GROUPS, POSITIONS, TWISTING, DiveNumber

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
    words = [word for word, said in (("flying", dive.flying), ("armstand", dive.armstand)) if said]
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
