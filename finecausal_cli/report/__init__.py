"""What a person or a program reads of a result: tables, documents, pictures. Here: the options of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from finecausal_cli.config import OptionGroup, option

DEFAULT_PORT: Final = 8107
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class ServeOptions(OptionGroup):
    """Where the server listens, and what it takes."""

    panel: ClassVar[str] = "Server"

    port: int = option(DEFAULT_PORT, "Port; 0 takes a free one.", min=0, max=65535)
    host: str = option(
        LOOPBACK, "Address to listen at. With any other than loopback everybody who reaches it can use the page."
    )
    max_mb: int = option(500, "Largest video, MB.", min=1)
