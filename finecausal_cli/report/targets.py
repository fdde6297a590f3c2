"""Where results may go: never over what is read, never two into one place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLAGS = {"output": "-o"}


def check_targets(sources: Sequence[str], **targets: Path | None) -> None:
    """Refuse what could only fail, or destroy what is read, before anything is computed.

    Args:
        sources: Videos or folders of frames that are read.
        targets: Where results go, by the name of their option; ``figures`` is a folder, the others are files.

    Raises:
        UsageError: A target is one of the sources or lies among their frames, is a folder where a file is meant or the
            other way round, has the wrong suffix, or is named twice.
    """
    taken: dict[Path, str] = {}
    for name, target in targets.items():
        if target is None:
            continue
        flag = _FLAGS.get(name, f"--{name}")
        whole = target.resolve()
        for source in (Path(source).resolve() for source in sources):
            if whole == source or (target.exists() and source.exists() and target.samefile(source)):
                raise UsageError(f"{flag} would write over the dive that is read", where=target)
            if source.is_dir() and whole.parent == source:
                raise UsageError(f"{flag} would write among the frames that are read", where=target)
        _check_kind(flag, name, target)
        if whole in taken:
            raise UsageError(f"{taken[whole]} and {flag} name the same place", where=target)
        taken[whole] = flag


def _check_kind(flag: str, name: str, target: Path) -> None:
    if name == "figures":
        if target.exists() and not target.is_dir():
            raise UsageError(f"{flag} needs a folder, and this is a file", where=target)
        return
    if target.is_dir():
        raise UsageError(f"{flag} needs a file, and this is a folder", where=target)
    if name == "overlay" and target.suffix.lower() != ".mp4":
        raise UsageError(f"{flag} writes MP4", where=target, hint="end the name in .mp4")
