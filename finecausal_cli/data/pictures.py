"""Which pictures a folder of frames holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def frame_names(folder: Path) -> set[str]:
    """Return the names, without suffix, of the pictures of a folder.

    Raises:
        OSError: The folder cannot be listed.
    """
    with os.scandir(folder) as listing:
        names = [one.name for one in listing]
    return {name.rsplit(".", 1)[0] for name in names if name.lower().endswith(_SUFFIXES) and name[0] != "."}
