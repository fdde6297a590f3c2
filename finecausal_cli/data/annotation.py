"""What the entries of foreign annotations have in common: keys, splits, and values that are checked one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from finecausal_cli.data.plain_pickle import read_plain_pickle
from finecausal_cli.data.problem import Kind, Problem
from finecausal_cli.diving.judging import MAX_EXECUTION, MAX_MARK
from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import DatasetError, FinecausalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from finecausal_cli.data.dive import Dive, Split
    from finecausal_cli.data.problem import Report

_ROUNDING = 1e-9
_MOST_FRAMES = 10**9
_SHOWN = 60
"""Characters of a wrong value that an error shows."""


class WrongEntryError(Exception):
    """An entry of an annotation cannot be used: of what kind it is, what is wrong and what would be right."""

    def __init__(self, kind: Kind, what: str, hint: str | None = None) -> None:
        self.kind = kind
        self.what = what
        self.hint = hint
        super().__init__(what)


def read_annotation(path: Path) -> dict[Any, Any]:
    """Read a pickled dictionary.

    Raises:
        DatasetError: The file is missing, refused or holds something else.
    """
    content = read_plain_pickle(path)
    if not isinstance(content, dict) or not content:
        raise DatasetError(f"holds a {type(content).__name__}, and a dictionary of dives is meant", where=path)
    return content


def read_splits(files: Mapping[Split, Path], labelled: Mapping[Any, Any], report: Report) -> dict[Any, Split]:
    """Read which dives train and which test.

    Args:
        files: The pickled list of keys of each split.
        labelled: The annotations; keys without one are reported.
        report: Told of keys that are in both splits, in none, or have no annotation.

    Returns:
        The split of every annotated key that has one.

    Raises:
        DatasetError: A file is missing, refused or holds something else.
    """
    found: dict[Any, Split] = {}
    for split, path in files.items():
        keys = read_plain_pickle(path)
        if not isinstance(keys, list):
            raise DatasetError(f"holds a {type(keys).__name__}, and a list of keys is meant", where=path)
        for raw in keys:
            key = tuple(raw) if isinstance(raw, list) else raw
            if not _can_be_looked_up(key) or key not in labelled:
                what = f"{shown(key)} has no annotation"
                report(Problem("annotation", str(path), what, "the files are of different editions?"))
            elif found.setdefault(key, split) != split:
                what = f"{shown(key)} is a {found[key]} dive too"
                report(Problem("split", str(path), what, "a dive either trains or tests"))
    for key in labelled:
        if key not in found:
            what = f"{shown(key)} is in no split and is left out"
            report(Problem("split", str(next(iter(files.values())).parent), what, stops=False))
    return found


def read_entries(
    path: Path,
    entries: Mapping[Any, Any],
    splits: Mapping[Any, Split],
    make: Callable[[Any, Any], Dive],
    report: Report,
) -> list[Dive]:
    """Make a dive of every entry that is in a split.

    Args:
        path: The annotation file, for errors.
        entries: Its content.
        splits: The split of each key.
        make: Makes a dive of a key and its entry; raises ``WrongEntryError``.
        report: Told of every entry that cannot be used.
    """
    dives = []
    for key, entry in entries.items():
        if key not in splits:
            continue
        try:
            dives.append(make(key, entry))
        except WrongEntryError as wrong:
            report(Problem(wrong.kind, str(path), f"entry {shown(key)}: {wrong.what}", wrong.hint, dive=shown(key)))
        except OSError as error:
            what = f"entry {shown(key)}: {error.filename}: {error.strerror}"
            report(Problem("frames", str(path), what, "check the rights of the folder", dive=shown(key)))
    return dives


def shown(value: object) -> str:
    """Write a key or a value of an annotation in an error; containers that are no key by their kind alone."""
    if type(value) is tuple and len(value) == 2 and all(isinstance(one, (str, int)) for one in value):
        return f"{value[0]!s:.{_SHOWN}}/{value[1]!s:.{_SHOWN}}"
    if isinstance(value, (str, int, float)) or value is None:
        return f"{value!r:.{_SHOWN}}"
    return f"a {type(value).__name__}"


def decimal_of(value: object) -> float | None:
    """Return a value as a finite number, or None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def number_of(value: object) -> str:
    """Read a dive number, in canonical form."""
    if not isinstance(value, str):
        _wrong("dive number", f"the dive number is {shown(value)}", "a text such as 107b is meant")
    try:
        return str(parse_dive_number(value))
    except FinecausalError as error:
        raise WrongEntryError("dive number", f"dive {shown(value)}: {error.what}", error.hint) from None


def difficulty_of(value: object) -> float:
    """Read a degree of difficulty."""
    difficulty = decimal_of(value)
    if difficulty is None or difficulty <= 0:
        _wrong("score", f"the difficulty is {shown(value)}", "a number above 0 is meant")
    return difficulty


def score_of(value: object, difficulty: float) -> float:
    """Read a final score, which three tens limit."""
    score = decimal_of(value)
    if score is None or score < 0:
        _wrong("score", f"the score is {shown(value)}", "a number from 0 on is meant")
    if score > MAX_EXECUTION * difficulty * (1 + _ROUNDING):
        most = f"three tens at difficulty {difficulty:g} make {MAX_EXECUTION * difficulty:g}"
        _wrong("score", f"the score {score:g} is out of range", most)
    return score


def marks_of(value: object) -> tuple[float, ...]:
    """Read the judges' marks."""
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim == 1):
        _wrong("score", f"the marks are {shown(value)}", "a list of numbers is meant")
    marks = [decimal_of(one) for one in value]
    known = tuple(mark for mark in marks if mark is not None and 0 <= mark <= MAX_MARK)
    if len(known) < len(marks):
        _wrong("score", "one of the marks is no number from 0 to 10")
    return known


def frame_of(value: object, called: str) -> int:
    """Read a frame number."""
    if isinstance(value, np.integer):
        value = int(value)
    if type(value) is not int or not 0 <= value < _MOST_FRAMES:
        _wrong("annotation", f"{called} is {shown(value)}", "a whole number from 0 on is meant")
    return value


def frames_of(value: object, called: str) -> list[int]:
    """Read a list, or an array of one dimension, of frame numbers or labels."""
    whole = isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu"
    if not whole and not (isinstance(value, (list, tuple)) and all(type(one) is int for one in value)):
        _wrong("annotation", f"{called}: {shown(value)}, and whole numbers are meant")
    return [int(one) for one in value]  # type: ignore[attr-defined]


def folder_name_of(value: object) -> str:
    """Read the name of a folder, which must not lead anywhere else."""
    leads_away = isinstance(value, str) and (value in ("", ".", "..") or set(value) & set("/\\\0"))
    if not isinstance(value, str) or leads_away:
        _wrong("annotation", f"{shown(value)} is not the name of a folder", "it would lead out of the dataset")
    return value


def _can_be_looked_up(key: object) -> bool:
    return isinstance(key, (str, int)) or (type(key) is tuple and all(isinstance(one, (str, int)) for one in key))


def _wrong(kind: Kind, what: str, hint: str | None = None) -> NoReturn:
    raise WrongEntryError(kind, what, hint)
