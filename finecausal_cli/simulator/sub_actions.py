"""The steps of a dive in the vocabulary of FineDiving: 'Back', '2.5 Soms.Pike', '1.5 Twists', 'Entry'.

The data set's authors number 42 names. Known of that table are 1-7, the kinds of 8-28 (somersaults) and 29-35
(twists), and 36-42. The 21 and 7 names in between are the counts that its 52 dive numbers need beyond those listed
from 37 on. Their exact order is not known to us; ours ascends by count and, for equal counts, by the position's name
as 37, 39 and 40 do. Read the numbers through the table, never by heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.errors import UsageError
from finecausal_cli.simulator.dive import FPS

if TYPE_CHECKING:
    from finecausal_cli.diving.number import DiveNumber
    from finecausal_cli.simulator.dive import SimulatedDive

_DIRECTIONS = ("Forward", "Back", "Reverse", "Inward")
_ARMSTAND_DIRECTIONS = ("Arm.Forward", "Arm.Back", "Arm.Reverse")
_SOMERSAULTS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.5)
_POSITIONS = ("Pike", "Straight", "Tuck")
_TWISTS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)


def _somersaults(count: float, position: str) -> str:
    return f"{count:g} Som{'s' if count > 1 else ''}.{position}"


def _twists(count: float) -> str:
    return f"{count:g} Twist{'s' if count > 1 else ''}"


ENTRY, BACKGROUND = "Entry", "Background"

SUB_ACTIONS: dict[int, str] = dict(
    enumerate(
        (
            *_DIRECTIONS,
            *_ARMSTAND_DIRECTIONS,
            *(_somersaults(count, position) for count in _SOMERSAULTS for position in _POSITIONS),
            *map(_twists, _TWISTS),
            ENTRY,
            _somersaults(0.5, "Pike"),
            BACKGROUND,
            _somersaults(0.5, "Straight"),
            _somersaults(0.5, "Tuck"),
            _twists(4.0),
            _twists(4.5),
        ),
        start=1,
    )
)
"""Name of every label of FineDiving."""

_LABELS = {name: label for label, name in SUB_ACTIONS.items()}

_PIKE_FROM_HALVES = 3
"""Half-somersaults from which a free dive is held in an open pike; with fewer the body stays straight."""

_TWIST_BEGUN, _TWIST_DONE = 0.05, 0.95
"""Shares of the whole twist between which an annotator would see the body twist."""

_SHORTEST_STEP = 8
"""Frames of somersault beside a twist below which nobody would mark a step of its own."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one clip.

    Attributes:
        transitions: Frames at which a new step begins, increasing: first the flight, last the entry.
        labels: Label of every step, one more than the transitions.
    """

    transitions: tuple[int, ...]
    labels: tuple[int, ...]


def flight_labels(dive: DiveNumber) -> tuple[int, int, int | None]:
    """Return the labels of a dive's take-off, somersault and twist, the last None without a twist.

    Raises:
        UsageError: When FineDiving has no name for one of them, as for four somersaults.
    """
    names = [_direction(dive), _somersaults(dive.half_somersaults / 2, _position(dive))]
    if dive.half_twists:
        names.append(_twists(dive.half_twists / 2))
    missing = [name for name in names if name not in _LABELS]
    if missing:
        raise UsageError(
            f"{dive} has a step that FineDiving has no name for: {missing[0]}",
            where="dives",
            hint="leave it out, or write the format manifest",
        )
    labels = [_LABELS[name] for name in names]
    return labels[0], labels[1], labels[2] if dive.half_twists else None


def _direction(dive: DiveNumber) -> str:
    if dive.direction == 0:
        return "an armstand without direction"
    return (_ARMSTAND_DIRECTIONS if dive.armstand else _DIRECTIONS)[dive.direction - 1]


def _position(dive: DiveNumber) -> str:
    if dive.position == "D":
        return "Pike" if dive.half_somersaults >= _PIKE_FROM_HALVES else "Straight"
    return {"A": "Straight", "B": "Pike", "C": "Tuck"}[dive.position]


def divide_into_steps(simulated: SimulatedDive, *, marks_entry: bool = True) -> Steps:
    """Divide a clip into the steps that an annotator of FineDiving would mark.

    A twisting dive has a twist step and a somersault step in the flight, in the order in which the body does them;
    a twist in mid-flight has somersaults on both sides.

    Args:
        simulated: The dive.
        marks_entry: Whether the entry is called so; a few dives of the real data lack that label.

    Raises:
        UsageError: When FineDiving has no name for a step.
    """
    takeoff, somersault, twist = flight_labels(simulated.dive)
    start, end = simulated.twist_start, simulated.entry_start
    flight = [(start, somersault)]
    if twist is not None:
        begun, done = find_twist(simulated)
        flight = [(start, somersault), (begun, twist), (done, somersault)]
        if end - done < _SHORTEST_STEP and end - done <= begun - start:
            flight = [(start, somersault), (min(max(begun, start + 1), end - 1), twist)]
        elif begun - start < _SHORTEST_STEP:
            flight = [(start, twist), (min(max(done, start + 1), end - 1), somersault)]
    last = _LABELS[ENTRY if marks_entry else BACKGROUND]
    return Steps((*(frame for frame, _ in flight), end), (takeoff, *(label for _, label in flight), last))


def find_twist(simulated: SimulatedDive) -> tuple[int, int]:
    """Return the first frame of the flight in which the body twists and the first in which it no longer does."""
    frames = np.arange(simulated.twist_start, simulated.entry_start + 1)
    motion = simulated.motion
    angle = motion.track(motion.twist, frames / FPS)
    turned = np.abs(angle - angle[0])
    begun = int(np.argmax(turned > _TWIST_BEGUN * turned.max()))
    done = int(np.argmax(turned >= _TWIST_DONE * turned.max()))
    return int(frames[begun]), int(frames[done])
