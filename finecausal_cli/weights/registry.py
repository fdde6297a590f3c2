"""Find weights by name or folder."""

from __future__ import annotations

from pathlib import Path

from finecausal_cli.errors import WeightsError
from finecausal_cli.weights.hub import SCHEME, fetched
from finecausal_cli.weights.manifest import CONFIG_NAME

DEFAULT_WEIGHTS = "compact"
"""What is used when the user names none."""

BANK_NAME = "bank"
"""Folder, inside a folder of weights, of the exemplars that those weights encoded."""

READER_NAME = "athlete"
READER_CONFIG_NAME = "reader.json"
"""Folder of the athlete reader beside the weights, and what tells that it is there."""

_PACKAGE = Path(__file__).resolve().parent.parent


def _shelves() -> tuple[Path, ...]:
    """Folders that may hold bundled weights: of an installed wheel, then of a checkout."""
    return _PACKAGE / "bundled" / "weights", _PACKAGE.parent / "weights"


def list_readers() -> list[Path]:
    """Return the folders of athlete readers that come with the package, the one that counts first."""
    return [shelf / READER_NAME for shelf in _shelves() if (shelf / READER_NAME / READER_CONFIG_NAME).is_file()]


def list_bundled() -> dict[str, Path]:
    """Return the bundled weights by name, sorted; the installed ones win over a checkout's."""
    found: dict[str, Path] = {}
    for shelf in _shelves():
        for config in shelf.glob(f"*/{CONFIG_NAME}"):
            found.setdefault(config.parent.name, config.parent)
    return dict(sorted(found.items()))


def resolve_weights(name_or_folder: str | Path = DEFAULT_WEIGHTS) -> Path:
    """Find the folder that a user means.

    Args:
        name_or_folder: The name of bundled weights, the path of a folder, or ``hf://owner/repo@revision``, which is
            fetched unless it was before. A name wins over a folder of the same name in the working directory, so that
            a command means the same everywhere; write ``./compact`` for the folder.

    Returns:
        A folder that holds a ``config.json``.

    Raises:
        WeightsError: Nothing of that name exists, or the folder holds no weights.
        UsageError: The name of weights on a hub is written wrongly.
    """
    bundled = list_bundled()
    text = str(name_or_folder)
    if text.startswith(SCHEME):
        return fetched(text)
    if text in bundled:
        return bundled[text]
    known = f"bundled weights: {', '.join(bundled) or 'none'}; or give a folder, or hf://owner/repo@revision"
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise WeightsError("no such weights", where=text, hint=known)
    if not (folder / CONFIG_NAME).is_file():
        raise WeightsError(f"the folder holds no {CONFIG_NAME}", where=text, hint=known)
    return folder


def bank_folder(weights: Path) -> Path:
    """Return the folder of the bank that belongs to a folder of weights; it need not exist yet."""
    return weights / BANK_NAME
