"""Show on standard error that something is going on; silent where nobody watches."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from finecausal_cli.assess.dive_reading import ReadAhead


def error_console() -> Console:
    """Return the console for everything that is not data."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner while a block runs, on a terminal only."""
    console = error_console()
    if console.is_terminal:
        with console.status(f"{what} ..."):
            yield
    else:
        yield


@contextmanager
def searching(what: str, ahead: ReadAhead | None) -> Iterator[None]:
    """Show a spinner while a block runs, and how far the search in a video is; on a terminal only."""
    console = error_console()
    if not console.is_terminal:
        yield
        return
    with console.status(f"{what} ...") as status:
        if ahead is not None:
            ahead.progress = lambda share: status.update(f"{what} ... searched {share:.0%} of the video")
        yield


def progress_bar(console: Console) -> Progress:
    """Return a progress bar with count, time spent and time left; it vanishes when done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class BarDisplay:
    """A context in which a progress bar stands on standard error; silent where nobody watches.

    Args:
        quiet: Show nothing, lines neither.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = error_console()
        self._console.quiet = quiet
        self._bar = progress_bar(self._console)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
