"""Read a dataset, whichever of the known layouts it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.data.manifest import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from finecausal_cli.data.dive import Dive


def read_dataset(path: Path) -> list[Dive]:
    """Read the dives of a dataset.

    Args:
        path: A manifest or the folder of one.

    Raises:
        DatasetError: The dataset is missing or wrong; names the file and the place in it.
    """
    return read_manifest(path)
