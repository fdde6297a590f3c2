"""What a dive number means and how difficult it is, for a person and for a program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.text import Text

from finecausal_cli.diving.difficulty import apparatus, difficulty, heights_for
from finecausal_cli.diving.wording import describe_dive, explain_dive
from finecausal_cli.report.terminal import words

if TYPE_CHECKING:
    from rich.console import Console

    from finecausal_cli.diving.number import DiveNumber

DIVE_SCHEMA_VERSION = 1
"""Raised whenever a reader of an older JSON could misread a newer one."""


def print_dive(dive: DiveNumber, height_m: float | None, console: Console) -> None:
    """Print what each symbol of a dive number means and its difficulty.

    Args:
        dive: The dive.
        height_m: Height in metres, or None for every height where the dive is listed.
        console: Where to print.

    Raises:
        UsageError: When no difficulty list exists for that height.
    """
    rows = _difficulty_rows(dive, height_m)
    console.print(Text.assemble((str(dive), "bold cyan"), "  ", words(describe_dive(dive), console)))
    for part in explain_dive(dive):
        meaning = words(part.meaning, console)
        console.print(Text.assemble((f"  {part.symbol:<2}", "cyan"), (f"  {part.name:<16}  ", "dim"), meaning))
    console.print(Text("difficulty", style="bold"))
    for row in rows:
        console.print(Text(f"  {row}"))


def dive_json(dive: DiveNumber, height_m: float | None) -> str:
    """Return the same as a JSON document; ``difficulty`` is a list of ``{height_m, apparatus, difficulty}``.

    Args:
        dive: The dive.
        height_m: Height in metres, or None for every height where the dive is listed. A dive that is not listed
            at the height has difficulty null there.

    Raises:
        UsageError: When no difficulty list exists for that height.
    """
    document = {
        "schema_version": DIVE_SCHEMA_VERSION,
        "dive": str(dive),
        "description": describe_dive(dive),
        "group": dive.group,
        "flying": dive.flying,
        "armstand": dive.armstand,
        "direction": dive.direction,
        "half_somersaults": dive.half_somersaults,
        "half_twists": dive.half_twists,
        "position": dive.position,
        "parts": [{"symbol": part.symbol, "name": part.name, "meaning": part.meaning} for part in explain_dive(dive)],
        "difficulty": [
            {"height_m": height, "apparatus": apparatus(height), "difficulty": value}
            for height, value in _difficulties(dive, height_m).items()
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)


def _difficulties(dive: DiveNumber, height_m: float | None) -> dict[float, float] | dict[float, float | None]:
    return heights_for(dive) if height_m is None else {height_m: difficulty(dive, height_m)}


def _difficulty_rows(dive: DiveNumber, height_m: float | None) -> list[str]:
    difficulties = _difficulties(dive, height_m)
    if not difficulties:
        return ["not listed at any height: give --difficulty to score it"]
    return [
        f"{f'{height:g} m':<5}  {apparatus(height):<11}  "
        + ("not listed: give --difficulty to score it" if value is None else f"{value:.1f}")
        for height, value in difficulties.items()
    ]
