"""Keep scoring what appears, once it has stopped growing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from threading import Event

    from finecausal_cli.assess.batch.inputs import Item

INTERVAL_S = 1.0
"""How often the folders are looked at."""

SETTLE_S = 3.0
"""How long a file must not have changed: whoever writes it may pause."""

_State = tuple[object, ...]


@dataclass(slots=True)
class Settling:
    """Tells which dives have stopped changing, each of them once for each content.

    Args:
        settle_s: How long size and time of change must have stayed the same.
        clock: Seconds, never going back.
    """

    settle_s: float = SETTLE_S
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, tuple[_State, float]] = field(default_factory=dict)
    _given: dict[str, _State] = field(default_factory=dict)

    def ready(self, items: Iterable[Item]) -> list[Item]:
        """Return the dives that have settled since they were last given."""
        now, found = self.clock(), []
        for item in items:
            state = _state(item)
            if self._given.get(item.source) == state:
                continue
            before, since = self._seen.get(item.source, (None, now))
            if before != state:
                self._seen[item.source] = (state, now)
            elif now - since >= self.settle_s:
                del self._seen[item.source]
                self._given[item.source] = state
                found.append(item)
        return found


def watch(
    find: Callable[[], Sequence[Item]],
    score: Callable[[Sequence[Item]], None],
    stop: Event,
    *,
    settling: Settling | None = None,
    interval_s: float = INTERVAL_S,
) -> None:
    """Score dives as they appear, until told to stop.

    Args:
        find: Gives every dive that there is now.
        score: Scores new ones, and returns early when told to stop.
        stop: Set by whoever has seen enough.
        settling: Decides what is ready.
        interval_s: How often to look.
    """
    settled = settling or Settling()
    while not stop.is_set():
        ready = settled.ready(find())
        if ready:
            score(ready)
        stop.wait(interval_s)


def _state(item: Item) -> _State:
    """Return what changes when a dive does: of the file, or of every file in the folder; and of its options."""
    return (item.options, str(item.problem), *_file_states(item.path))


def _file_states(path: str) -> _State:
    try:
        if os.path.isdir(path):  # noqa: PTH112 - a name with a zero byte is a dive that fails, not an error here
            with os.scandir(path) as listing:
                files = sorted((one for one in listing), key=lambda one: one.name)
            return tuple((one.name, *_size_and_time(one.path)) for one in files)
        return _size_and_time(Path(path))
    except (OSError, ValueError):
        return ("missing",)


def _size_and_time(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - beside os.scandir
    return status.st_size, status.st_mtime_ns
