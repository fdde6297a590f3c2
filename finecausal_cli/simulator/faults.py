"""What can go wrong in a dive, by stage.

Every fault is a number from 0 (none) to 1 (gross). A fault acts on the motion, never on a mark directly: the judges
see only what the motion shows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from math import erf, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from finecausal_cli.diving.number import DiveNumber

TAKEOFF_FAULTS = ("low_takeoff", "leaning_takeoff", "close_to_board", "unsteady_start")
FLIGHT_FAULTS = ("loose_position", "knees_apart", "flexed_feet", "crossed_twist", "late_opening")
ENTRY_FAULTS = ("short_rotation", "over_rotation", "arched_entry", "arms_apart", "big_splash")

STAGE_FAULTS: Mapping[str, tuple[str, ...]] = {
    "takeoff": TAKEOFF_FAULTS,
    "flight": FLIGHT_FAULTS,
    "entry": ENTRY_FAULTS,
}
"""Which faults belong to which stage."""

_SHARED = 0.45
"""Correlation of every fault with the dive's general quality."""

_STAGE_SHARED = 0.45
"""Correlation of every fault with the quality of its stage."""

_LEAST, _WORST = 0.11, 0.78
"""Range of the faults that are drawn: nobody dives without any."""

_RARITY = 2.1
"""Exponent that makes small faults common and gross ones rare."""

FAILURE_RATE = 0.002
"""Share of dives in which the athlete loses the dive altogether."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one dive, each from 0 to 1.

    Attributes:
        low_takeoff: Too little vertical speed.
        leaning_takeoff: The body falls away from the board: too far out and lower.
        close_to_board: Too little distance from the board.
        unsteady_start: Balance not held; in an armstand, a wobble.
        loose_position: A tuck or pike that is not closed; a straight body that bends.
        knees_apart: Legs or knees that part.
        flexed_feet: Toes not pointed.
        crossed_twist: Legs part and the body bends in the twist, which ends short.
        late_opening: The athlete holds the position too long.
        short_rotation: The athlete comes out too early.
        over_rotation: The athlete comes out too late to stop the rotation.
        arched_entry: A hollow back at the water.
        arms_apart: Arms not closed overhead (or not at the sides).
        big_splash: The hands or feet do not open the water.
        lost: 1 when the athlete loses the dive at take-off; the dive fails.
    """

    low_takeoff: float = 0.0
    leaning_takeoff: float = 0.0
    close_to_board: float = 0.0
    unsteady_start: float = 0.0
    loose_position: float = 0.0
    knees_apart: float = 0.0
    flexed_feet: float = 0.0
    crossed_twist: float = 0.0
    late_opening: float = 0.0
    short_rotation: float = 0.0
    over_rotation: float = 0.0
    arched_entry: float = 0.0
    arms_apart: float = 0.0
    big_splash: float = 0.0
    lost: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise ValueError(f"fault {field.name} must lie in 0..1, not {value}")

    def as_dict(self) -> dict[str, float]:
        """Return name -> value."""
        return asdict(self)


def draw_quality(rng: np.random.Generator) -> float:
    """Draw a dive's general quality; 0 is average, 1 a standard deviation better."""
    return float(rng.normal())


def draw_faults(rng: np.random.Generator, dive: DiveNumber, quality: float) -> Faults:
    """Draw faults that correlate moderately with each other through quality, and more within a stage.

    Args:
        rng: Source of chance.
        dive: Decides which faults can occur (no crossed twist without a twist).
        quality: From `draw_quality`.
    """
    values: dict[str, float] = {}
    own = sqrt(1 - _SHARED**2 - _STAGE_SHARED**2)
    for names in STAGE_FAULTS.values():
        stage = float(rng.normal())
        for name in names:
            latent = -_SHARED * quality + _STAGE_SHARED * stage + own * float(rng.normal())
            share = 0.5 * (1 + erf(latent / sqrt(2)))
            values[name] = _LEAST + (_WORST - _LEAST) * share**_RARITY
    if rng.random() < 0.5:
        values["close_to_board"] *= 0.0
    else:
        values["leaning_takeoff"] *= 0.0
    if rng.random() < 0.6:
        values["over_rotation"] *= 0.0
    else:
        values["short_rotation"] *= 0.0
    faults = Faults(**values, lost=float(rng.random() < FAILURE_RATE))
    return faults if dive.half_twists else replace(faults, crossed_twist=0.0)
