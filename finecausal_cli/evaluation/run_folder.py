"""Find the weights that training runs left in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.errors import WeightsError
from finecausal_cli.weights.manifest import CONFIG_NAME

if TYPE_CHECKING:
    from pathlib import Path

BEST = "best"
"""Weights of the epoch that did best on the validation dives."""

LAST = "last"
"""Weights of the last epoch."""


def weights_of_run(folder: Path) -> dict[str, Path]:
    """Return the best and the last weights of a run's folder by name; empty if the folder is none."""
    if (folder / CONFIG_NAME).is_file():
        return {}
    return {name: folder / name for name in (BEST, LAST) if (folder / name / CONFIG_NAME).is_file()}


def name_of(weights: Path) -> str:
    """Return what to call a folder of weights: its name, with the run's name if it is the best or last of a run."""
    folder = weights.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name in (BEST, LAST) else folder.name


def find_weights(folder: Path) -> list[Path]:
    """Return the folders of weights at and below a folder; of a run with best and last weights, the best.

    Raises:
        WeightsError: There is none.
    """
    found = sorted(path.parent for path in folder.rglob(CONFIG_NAME))
    kept = [one for one in found if not (one.name == LAST and one.with_name(BEST) in found)]
    if not kept:
        raise WeightsError(
            "no weights in or below the folder", where=folder, hint="train some: finecausal train --ablate gat -o ..."
        )
    return kept
