"""What a data set is made of: which dives are drawn at which heights, and how far their venues follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.diving.difficulty import heights_for
from finecausal_cli.diving.number import DiveNumber, parse_dive_number
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator.dive import SimulatedDive, simulate_dive
from finecausal_cli.simulator.render import Setting

if TYPE_CHECKING:
    from collections.abc import Sequence

# fmt: off
DIVES = (
    "103B", "105B", "107B", "107C", "109C", "205B", "205C", "207C",
    "303C", "305C", "307C", "403B", "405C", "407C", "207B", "5132D",
    "5152B", "5154B", "5253B", "5255B", "5337D", "614B", "626C", "6243D",
)
# fmt: on
"""Dive numbers of a data set unless others are asked for: all six groups; pike, tuck and free."""


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What a data set is made of; every dive follows from it and an index.

    Attributes:
        seed: Seed of the whole data set.
        dives: Dive numbers to draw from, evenly.
        confounding: 0..1, share of dives whose venue follows from their quality.
        height_m: The only height, or None for any height at which a number is listed.
    """

    seed: int
    dives: tuple[str, ...] = DIVES
    confounding: float = 0.0
    height_m: float | None = None

    def __post_init__(self) -> None:
        if not self.dives:
            raise UsageError("no dive number to simulate", where="dives")
        if not 0 <= self.confounding <= 1:
            raise UsageError(f"confounding is {self.confounding}", where="confounding", hint="it is 0 to 1")
        for text in self.dives:
            self.heights(parse_dive_number(text))

    def heights(self, dive: DiveNumber) -> list[float]:
        """Return the heights the dive may be drawn at.

        Raises:
            UsageError: When there is none.
        """
        listed = [h for h in heights_for(dive) if self.height_m in (None, h)]
        if not listed:
            at = "any height" if self.height_m is None else f"{self.height_m:g} m"
            raise UsageError(f"{dive} is not listed at {at}", where="dives")
        return listed

    def dive(self, index: int) -> SimulatedDive:
        """Simulate dive ``index``."""
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index, 4)))
        number = parse_dive_number(self.dives[int(rng.integers(len(self.dives)))])
        heights = self.heights(number)
        return simulate_dive(number, heights[int(rng.integers(len(heights)))], (self.seed, index))

    def setting(self, index: int, simulated: SimulatedDive) -> Setting:
        """Draw the venue of dive ``index``, tied to quality as far as the plan confounds them."""
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index, 5)))
        style = None
        if rng.random() < self.confounding:
            style = confounded_style(simulated)
        return Setting.draw((self.seed, index), style)


def confounded_style(simulated: SimulatedDive) -> int:
    """Return the venue that confounding gives to a dive: the better the execution, the later in the list."""
    return int(np.searchsorted((15.0, 18.75, 21.0, 23.0, 25.5), simulated.execution))


def plan_dataset(
    seed: int, *, dives: Sequence[str] = DIVES, confounding: float = 0.0, height_m: float | None = None
) -> DatasetPlan:
    """Return the plan that `write_dataset` follows for the same arguments.

    Raises:
        UsageError: When the options make no sense.
    """
    return DatasetPlan(seed, tuple(str(parse_dive_number(text)) for text in dives), confounding, height_m)
