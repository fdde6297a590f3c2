"""The degree of difficulty of a dive at a height, from the published lists."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING

from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finecausal_cli.diving.number import DiveNumber

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
        raise UsageError(f"no difficulty list for {height_m:g} m", where="height", hint=f"heights in metres: {known}")
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
