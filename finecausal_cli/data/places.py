"""Where the user's decoded clips are kept when no folder is named."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def default_cache() -> Path:
    """Return the folder of decoded clips in the user's cache."""
    return Path(platformdirs.user_cache_dir("finecausal", appauthor=False)) / "clips"
