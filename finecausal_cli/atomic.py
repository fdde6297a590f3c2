"""Write a file whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from finecausal_cli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path leads to a pipe, a socket or a device: written into, never replaced."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - names that are no valid text
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def atomic_write(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Give a temporary name that becomes ``path`` only when the block ends well.

    A symbolic link stays and its target is replaced. Into a pipe or a device the content is copied.

    Args:
        path: The file; its folder is made if need be, an older file is replaced in one step.
        what: What is being written, for the error: "the bank", "the checkpoint".

    Yields:
        The temporary name to write to.

    Raises:
        OutputError: The file cannot be written (disk full, no permission).
    """
    whole = Path(path)
    part: Path | None = None
    try:
        target = whole.resolve() if whole.is_symlink() else whole
        into_stream = is_stream(target)
        folder = Path(tempfile.gettempdir()) if into_stream else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
        yield part
        if into_stream:
            with part.open("rb") as source, whole.open("wb") as stream:
                shutil.copyfileobj(source, stream)
            return
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(target)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        if isinstance(error, RuntimeError) and part is not None:
            raise
        raise OutputError(
            f"{what} cannot be written: {getattr(error, 'strerror', None) or error}",
            where=whole,
            hint="check the folder, its rights and the free space",
        ) from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()
