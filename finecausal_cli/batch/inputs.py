"""Inputs of a batch: files, folders, manifests, watched folders."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from finecausal_cli.data.manifest import CellError, PathError, find_manifest, locate_file, read_rows
from finecausal_cli.errors import DatasetError, FinecausalError, UsageError
from finecausal_cli.video.source import (
    FEWEST_FRAMES,
    PICTURE_SUFFIXES,
    STANDARD_INPUT,
    VIDEO_SUFFIXES,
    is_standard_input,
    local_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from threading import Event

    from finecausal_cli.data.manifest import Cells
    from finecausal_cli.scoring import ScoreOptions


# What a manifest says of each dive to score; its scores, masks and boundaries do not matter here.

_OPTIONS = ("difficulty", "height_m", "start_s", "end_s")
_LABELS = ("diver", "date")
_MEASURED = ("height_m", "start_s", "end_s")
"""What measuring takes of a manifest; a wrong cell of another column does not matter then."""

ManifestItem = tuple[str, str, FinecausalError | None, dict[str, Any], dict[str, str]]


def read_manifest_items(path: Path, *, allow_outside: bool = False, measured: bool = False) -> Iterator[ManifestItem]:
    """Read the dives of a manifest; a row that is wrong stops nothing.

    Args:
        path: A ``.csv``, ``.jsonl`` or ``.parquet`` file.
        allow_outside: Accept paths that lead out of the manifest's folder.
        measured: Read only what measuring takes.

    Yields:
        Manifest and row in words, the video as a path, what is wrong with the row (or None), the fields of
        ``ScoreOptions`` that it sets, and who dives when.

    Raises:
        DatasetError: The manifest is missing, unreadable, or has no usable header.
    """
    for cells in read_rows(path):
        yield _read_row(path, cells, allow_outside=allow_outside, measured=measured)


def _read_row(manifest: Path, cells: Cells, *, allow_outside: bool, measured: bool) -> ManifestItem:
    where = f"{manifest}: row {cells.row}"
    row, errors = cells.parse()
    options, labels = (_MEASURED, ()) if measured else (_OPTIONS, _LABELS)
    errors = [error for error in errors if error.column in (None, *options, *labels)]
    changes: dict[str, Any] = {"dive": cells.texts["dive"]} if cells.texts.get("dive") and not measured else {}
    changes |= {column: value for column in options if (value := getattr(row, column)) is not None}
    source = where
    if not row.video:
        errors.insert(0, CellError("video", "empty"))
    else:
        source = os.path.join(os.path.dirname(manifest), row.video)  # noqa: PTH118, PTH120
        try:
            source = locate_file(manifest, row.video, allow_outside=allow_outside)
        except PathError as error:
            errors.insert(0, CellError("video", error.what, error.hint))
    problem = None
    if errors:
        column = "" if errors[0].column is None else f"column {errors[0].column!r}: "
        problem = DatasetError(f"{column}{errors[0].what}", where=where, hint=errors[0].hint, kind="bad_option")
    return where, source, problem, changes, {column: getattr(row, column) for column in _LABELS}


# What to score: files, folders, globs, manifests and lists, as one list of dives in a stable order.

MANIFEST_SUFFIXES = {".csv", ".jsonl", ".parquet"}

_WILD = "*?["

_REPEATED_SHOWN = 3
"""Repeated dives that a note names."""


@dataclass(frozen=True, slots=True)
class Item:
    """A dive to score. Small and picklable.

    Attributes:
        source: The video file or folder of frames, as given: what its row is called.
        path: The same, absolute.
        options: How to score it, with what a manifest says of it.
        problem: Why it cannot be scored, where that is known already: a wrong cell of a manifest.
        notes: What a person should know of how it is scored: corrections of an earlier run.
        named_in: Manifest and row that name it; empty for one that is named directly.
        diver: Who dives, if a manifest says so.
        date: When, ISO 8601, if a manifest says so.
    """

    source: str
    path: str
    options: ScoreOptions
    problem: FinecausalError | None = None
    notes: tuple[str, ...] = ()
    named_in: str = ""
    diver: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The dives, and what a person should know of how they were found.

    Attributes:
        items: In the order of the arguments; within a folder by name.
        notes: For example how many were named twice.
        is_one_dive: Whether a single path was given and that is the dive itself.
    """

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    is_one_dive: bool = False


def find_inputs(
    paths: Sequence[str],
    options: ScoreOptions,
    *,
    recursive: bool = False,
    listed: Sequence[str] = (),
    allow_outside: bool = False,
    may_be_empty: bool = False,
    measured: bool = False,
) -> Inputs:
    """Find the dives to score.

    A folder of pictures is one dive, a folder of videos is many, a folder with a manifest is what that says. What does
    not exist becomes a dive all the same, and its row will say so; only a pattern or a folder without any is refused.

    Args:
        paths: Files, folders, manifests, patterns with ``*``, ``?``, ``[...]`` or ``**``.
        options: How to score; a manifest may say more of each dive.
        recursive: Look into the folders of folders too.
        listed: Further paths, from a list: never patterns.
        allow_outside: Accept paths in a manifest that lead out of its folder.
        may_be_empty: Find nothing in a folder or by a pattern that holds nothing yet.
        measured: They are to be measured: of a manifest only what measuring takes is read.

    Raises:
        UsageError: A pattern or folder holds nothing to score, or nothing was named.
        DatasetError: A manifest cannot be read.
    """
    finder = _Finder(options, recursive, allow_outside, may_be_empty, measured)
    named = [item for path in paths for item in finder.expand(path)]
    named += [item for path in listed for item in finder.look(path)]
    if not named and not may_be_empty:
        raise UsageError("nothing to score", where="PATH", hint="name videos, a folder of them or a manifest")
    items: dict[tuple[object, ...], Item] = {}
    repeated = []
    for item in named:
        # What differs in its times, its dive number or any other option is another row.
        key = os.path.realpath(item.path), item.options, None if item.problem is None else str(item.problem)
        if items.setdefault(key, item) is not item:
            repeated.append(item.named_in or item.source)
    notes = (_repeated_note(repeated),) if repeated else ()
    is_one = len(paths) == 1 and not listed and len(named) == 1 and named[0].source in (paths[0], STANDARD_INPUT)
    return Inputs(tuple(items.values()), notes, is_one)


def _repeated_note(repeated: Sequence[str]) -> str:
    shown = ", ".join(repeated[:_REPEATED_SHOWN])
    more = f" and {len(repeated) - _REPEATED_SHOWN} more" if len(repeated) > _REPEATED_SHOWN else ""
    what = "1 dive was" if len(repeated) == 1 else f"{len(repeated)} dives were"
    return f"{what} named more than once with the same options and kept once: {shown}{more}"


def read_list(stream: IO[bytes]) -> list[str]:
    """Return the paths of a list, one a line, or separated by zero bytes if there are any (``find -print0``)."""
    content = stream.read()
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(line) for line in lines if line.strip()]


def read_listed(name: str | None) -> list[str]:
    """Return the paths in a list, or on standard input for ``-``.

    Raises:
        UsageError: The list cannot be read.
    """
    if name is None:
        return []
    if name == "-":
        return read_list(sys.stdin.buffer)
    try:
        with Path(name).open("rb") as stream:
            return read_list(stream)
    except OSError as error:
        raise UsageError(f"the list cannot be read: {error.strerror}", where=name, hint="--from-file LIST") from None


@dataclass(frozen=True, slots=True)
class _Finder:
    options: ScoreOptions
    recursive: bool
    allow_outside: bool
    may_be_empty: bool
    measured: bool

    def expand(self, path: str) -> Iterator[Item]:
        if not any(sign in path for sign in _WILD) or os.path.lexists(path):
            yield from self.look(path)
            return
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not matches and not self.may_be_empty:
            raise UsageError("no file matches", where=path)
        for match in matches:
            yield from self.look(match)

    def look(self, path: str) -> Iterator[Item]:
        """Give the dives of one path that exists, or the path itself."""
        if os.path.isdir(path):  # noqa: PTH112 - a name with a zero byte is a dive that fails, not an error here
            yield from self._folder(path, is_named=True, seen=set())
        elif Path(path).suffix.lower() in MANIFEST_SUFFIXES:
            yield from self._manifest(Path(path))
        else:
            yield self._item(path)

    def _manifest(self, path: Path) -> Iterator[Item]:
        rows = read_manifest_items(path, allow_outside=self.allow_outside, measured=self.measured)
        for where, source, problem, changes, labels in rows:
            try:
                options = replace(self.options, **changes)
            except FinecausalError as error:
                options, problem = self.options, problem or error
            absolute = os.path.abspath(source)  # noqa: PTH100 - keeps links as they are
            yield Item(source, absolute, options, problem, named_in=where, diver=labels["diver"], date=labels["date"])

    def _folder(self, path: str, *, is_named: bool, seen: set[tuple[int, int]]) -> Iterator[Item]:
        status = os.stat(path)  # noqa: PTH116 - beside os.scandir
        if (status.st_dev, status.st_ino) in seen:  # a loop of links
            return
        seen.add((status.st_dev, status.st_ino))
        manifest = find_manifest(Path(path)) if is_named else None
        if manifest is not None:
            yield from self._manifest(manifest)
            return
        try:
            with os.scandir(path) as listing:
                entries = sorted((entry for entry in listing if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError:
            yield self._item(path)  # its row will say why it cannot be listed
            return
        folders = [entry.path for entry in entries if _is_dir(entry)]
        files = [entry.path for entry in entries if not _is_dir(entry)]
        videos = [file for file in files if Path(file).suffix.lower() in VIDEO_SUFFIXES]
        pictures = sum(Path(file).suffix.lower() in PICTURE_SUFFIXES for file in files)
        if videos and pictures < FEWEST_FRAMES:
            yield from (self._item(video) for video in videos)
        elif pictures:
            yield self._item(path)
        if self.recursive:
            for folder in folders:
                yield from self._folder(folder, is_named=False, seen=seen)
        elif is_named and not videos and not pictures and not self.may_be_empty:
            yield from self._nothing_here(path, has_folders=bool(folders))

    def _nothing_here(self, path: str, *, has_folders: bool) -> Iterator[Item]:
        if has_folders:
            hint = "with --recursive its folders are looked through too"
            raise UsageError("no video and no frames in this folder", where=path, hint=hint)
        yield self._item(path)  # reading it will say that it is empty

    def _item(self, path: str) -> Item:
        # PTH100: keeps links as they are.
        source = STANDARD_INPUT if is_standard_input(path) else path
        return Item(source, os.path.abspath(local_file(path)), self.options)  # noqa: PTH100


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


# Keep scoring what appears, once it has stopped growing.

INTERVAL_S = 1.0
"""How often the folders are looked at."""

SETTLE_S = 3.0
"""How long a file must not have changed: whoever writes it may pause."""

_State = tuple[object, ...]


@dataclass(slots=True)
class StableFileFilter:
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
        """Return the dives that have settled since they were last given; those of one source together."""
        now, settled = self.clock(), []
        by_source: dict[str, list[Item]] = defaultdict(list)
        for item in items:
            by_source[item.source].append(item)
        for source, dives in by_source.items():
            state = _state(dives)
            if self._given.get(source) == state:
                continue
            before, since = self._seen.get(source, (None, now))
            if before != state:
                self._seen[source] = (state, now)
            elif now - since >= self.settle_s:
                del self._seen[source]
                self._given[source] = state
                settled += dives
        return settled


def watch(
    find: Callable[[], Sequence[Item]],
    score: Callable[[Sequence[Item]], None],
    stop: Event,
    *,
    settling: StableFileFilter | None = None,
    interval_s: float = INTERVAL_S,
) -> None:
    """Score dives as they appear, until stopped.

    Args:
        find: Gives every dive that there is now.
        score: Scores new ones, and returns early once ``stop`` is set.
        stop: Set by whoever has seen enough.
        settling: Decides what is ready.
        interval_s: How often to look.
    """
    settled = settling or StableFileFilter()
    while not stop.is_set():
        ready = settled.ready(find())
        if ready:
            score(ready)
        stop.wait(interval_s)


def _state(dives: Sequence[Item]) -> _State:
    """Return what changes when dives of a source do: of the file, or every file in the folder; and of their options."""
    return (*((item.options, str(item.problem)) for item in dives), *_file_states(dives[0].path))


def _file_states(path: str) -> _State:
    try:
        if os.path.isdir(path):  # noqa: PTH112 - a name with a zero byte is a dive that fails, not an error here
            with os.scandir(path) as listing:
                files = sorted(listing, key=lambda entry: entry.name)
            return tuple((entry.name, *_size_and_time(entry.path)) for entry in files)
        return _size_and_time(Path(path))
    except (OSError, ValueError):
        return ("missing",)


def _size_and_time(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - beside os.scandir
    return status.st_size, status.st_mtime_ns


# Share a batch among machines without an engine.

_SHARD = re.compile(r"([0-9]+)/([0-9]+)")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` equal machines, counted from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``.

        Raises:
            UsageError: It is something else, or i is not 1 to n.
        """
        match = _SHARD.fullmatch(text)
        if match is not None:
            index, count = (int(one) for one in match.groups())
            if 1 <= index <= count:
                return cls(index, count)
        raise UsageError(f"{text!r} is no share", where="--shard", hint="i/n with i from 1 to n, e.g. 2/8")

    def holds(self, item: Item) -> bool:
        """Tell whether a dive is this machine's: decided by its name as given, so every machine decides alike."""
        digest = hashlib.sha256(os.fsencode(item.source)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1
