"""What a person or a program reads of a result: tables, documents, pictures. Here: the options of its commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

from finecausal_cli.config import OptionGroup, option
from finecausal_cli.errors import UsageError

Drawing = Literal["skeleton", "outline", "none"]
"""What is drawn on the athletes."""


@dataclass(frozen=True)
class VideoOptions(OptionGroup):
    """The side-by-side video.

    Raises:
        UsageError: ``slow`` or ``draw`` is given without ``video``.
    """

    panel: ClassVar[str] = "Side by side"

    video: Path | None = option(
        None, "Write both dives side by side as MP4, in step at take-off and entry.", metavar="FILE"
    )
    slow: float = option(1.0, "How many times slower than real time the video plays.", min=1, max=20, metavar="N")
    draw: Drawing = option("skeleton", "What the video draws on the athletes.")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {"--slow": self.slow != type(self).slow, "--draw": self.draw != type(self).draw}
        for flag, is_given in given.items():
            if self.video is None and is_given:
                raise UsageError(f"{flag} is for the side-by-side video", where=flag, hint="add --video FILE")


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
