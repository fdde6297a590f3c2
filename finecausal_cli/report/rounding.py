"""Numbers as a reader sees them: rounded, and still adding up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HUNDREDTHS = 100
_TOLERANCE = 0.015
"""More than rounding can explain, also where the total is a difference of two rounded values."""


def hundredths_that_add_up(parts: Sequence[float], total: float) -> list[float]:
    """Round parts to 0.01 so that the rounded parts add up to the rounded total.

    Largest remainder: all are rounded down, then those that lost most get 0.01 back; each ends within 0.02 of
    its value.

    Args:
        parts: Values that add up to ``total`` but for floating point.
        total: Their sum, or that sum rounded.

    Raises:
        ValueError: When the parts do not add up to the total.
    """
    if abs(math.fsum(parts) - total) > _TOLERANCE:
        raise ValueError(f"parts {list(parts)} add up to {math.fsum(parts)}, not to {total}")
    scaled = [round(part * HUNDREDTHS, 6) for part in parts]
    counts = [math.floor(value) for value in scaled]
    missing = round(total * HUNDREDTHS) - sum(counts)
    by_loss = sorted(range(len(parts)), key=lambda index: counts[index] - scaled[index])
    for step in range(abs(missing)):
        index = by_loss[step % len(parts)] if missing > 0 else by_loss[-1 - step % len(parts)]
        counts[index] += 1 if missing > 0 else -1
    return [count / HUNDREDTHS for count in counts]


def signed(value: float, digits: int = 2) -> str:
    """Write a change with its sign, and zero without a minus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
