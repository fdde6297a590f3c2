"""Write a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from finecausal_cli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def atomic_write(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Give a temporary name beside ``path`` that becomes ``path`` only when the block ends well.

    Args:
        path: The file; its folder is made if need be, an older file is replaced in one step.
        what: What is being written, for the error: "the bank", "the checkpoint".

    Yields:
        The temporary name to write to.

    Raises:
        OutputError: The file cannot be written (disk full, no permission).
    """
    whole = Path(path)
    part = whole.with_name(f".{whole.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        whole.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(whole)
    except OSError as error:
        raise OutputError(
            f"{what} cannot be written: {error.strerror or error}",
            where=whole,
            hint="check the folder, its rights and the free space",
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()
