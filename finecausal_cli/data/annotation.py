"""Pickled annotations of the published datasets, read without running code."""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from finecausal_cli.data import Kind, Problem
from finecausal_cli.diving import MAX_EXECUTION, MAX_MARK, parse_dive_number
from finecausal_cli.errors import DatasetError, FinecausalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from finecausal_cli.data import Dive, Report, Split


# A pickle is a program that names functions to call. This reader resolves six names, those of NumPy arrays and numbers
# as NumPy 1 and 2 write them, to the functions below, which check their arguments. NumPy's own functions are never
# called: a crafted state of ``numpy.dtype`` could make numbers be followed as pointers. Every other name is refused
# before anything is imported. What remains possible: a crafted file can exhaust memory, or the stack by tuples nested
# 100,000 deep in a key, and so end the process; it cannot run anything.

MAX_BYTES = 64 * 2**20
"""Ten times the largest published annotation."""

_MAX_DIMENSIONS = 4

_NUMBER_DTYPE = re.compile(r"(?:b1|[iu][1248]|f[248]|[SU]\d{1,4})")
"""Element types without references: booleans, integers, floats and short strings."""

_DAMAGED = (
    *(pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError),
    *(MemoryError, ImportError, struct.error),
)
"""What the standard reader raises on a damaged pickle."""


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of plain data and NumPy arrays of numbers, of Python 2 too; nothing that it names is run.

    Returns:
        Numbers, strings, lists, tuples, dictionaries, sets and arrays, nested as stored. NumPy scalars become Python
        numbers, strings of Python 2 are decoded as Latin-1.

    Raises:
        DatasetError: The file is missing, too large or damaged, or names anything else; the name is in the message.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DatasetError(f"{size / 2**20:.0f} MiB is too large for annotations", where=path)
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=path) from None
    try:
        return _RestrictedUnpickler(io.BytesIO(data), encoding="latin1").load()
    except _RefusedError as refusal:
        raise DatasetError(
            f"asks for {refusal}, which no annotation needs; nothing of it was run",
            where=path,
            hint="delete it unless you trust its author",
        ) from None
    except _DAMAGED as error:
        raise DatasetError(f"not a whole pickle of plain data: {error}", where=path) from None


class _RefusedError(Exception):
    """The pickle names something that is not allowed."""


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get(f"{module}.{name}")
        if allowed is None:
            raise _RefusedError(f"{module}.{name}"[:120])
        return allowed

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _RefusedError(f"the persistent object {pid!s:.80}")


class _Allowed:
    """A function that a pickle may name and call. It has no attributes that a pickle could set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError("a state for a function")


class _Dtype:
    """Stands in for ``numpy.dtype`` while a pickle is read."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, subarray, names, fields = state[:5]
        if (subarray, names, fields) != (None, None, None) or order not in ("<", ">", "=", "|"):
            raise _RefusedError("an array of records, which are no numbers")
        self.order = order

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order.replace("|", "=") + self.code)


class _Array(np.ndarray[Any, Any]):
    """An array whose state is checked before NumPy reads it."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, raw = state
        if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
            raise ValueError("an array of an impossible shape")
        if any(type(side) is not int or side < 0 for side in shape):
            raise ValueError("an array of an impossible shape")
        dtype, content = _checked_dtype(dtype), _to_bytes(raw)
        if math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError("an array that is cut short")
        super().__setstate__((1, shape, dtype, is_fortran is True, content))  # type: ignore[arg-type]


def _make_dtype(code: Any, *_: Any) -> _Dtype:
    code = code.decode("ascii") if isinstance(code, bytes) else code
    if not isinstance(code, str) or not _NUMBER_DTYPE.fullmatch(code):
        shown_code = repr(code)[:20] if isinstance(code, str) else f"a {type(code).__name__}"
        raise _RefusedError(f"numpy.dtype({shown_code}), which is no number")
    return _Dtype(code)


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _ALLOWED["numpy.ndarray"]:
        raise _RefusedError("numpy.core.multiarray._reconstruct with other arguments than annotations have")
    return np.empty(0, np.int8).view(_Array)


def _scalar(dtype: Any, raw: Any) -> Any:
    (value,) = np.frombuffer(_to_bytes(raw), _checked_dtype(dtype))
    return value.item()


def _encode(text: Any, encoding: Any, *_: Any) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise _RefusedError("_codecs.encode with other arguments than annotations have")
    return _to_bytes(text)


def _ndarray(*_: Any) -> NoReturn:
    raise _RefusedError("numpy.ndarray with a shape of its own")


def _checked_dtype(dtype: Any) -> np.dtype[Any]:
    if type(dtype) is not _Dtype:
        raise ValueError(f"a {type(dtype).__name__} in place of an element type")
    return dtype.dtype


def _to_bytes(raw: Any) -> bytes:
    """Return the content of an array; Python 2 wrote it as text."""
    if type(raw) is str:
        return raw.encode("latin-1")
    if type(raw) is not bytes:
        raise ValueError(f"a {type(raw).__name__} in place of bytes")
    return raw


_ALLOWED = {
    "numpy.dtype": _Allowed(_make_dtype),
    "numpy.ndarray": _Allowed(_ndarray),
    "_codecs.encode": _Allowed(_encode),
    **{
        f"numpy.{core}.multiarray.{name}": _Allowed(function)
        for core in ("core", "_core")  # NumPy 1 and NumPy 2
        for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
}


# Entries of published annotations: keys, splits, and values that are checked one by one.

_ROUNDING = 1e-9
_MOST_FRAMES = 10**9
_SHOWN = 60
"""Characters of a wrong value that an error shows."""

_LONGEST_INTEGER = 1000  # bits; Python refuses to write an integer of many thousand


class WrongEntryError(Exception):
    """An entry of an annotation cannot be used: kind, what is wrong, and a hint."""

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
        report: Called with keys that are in both splits, in none, or have no annotation.

    Returns:
        The split of every annotated key that has one.

    Raises:
        DatasetError: A file is missing, refused or holds something else.
    """
    split_of: dict[Any, Split] = {}
    for split, path in files.items():
        keys = read_plain_pickle(path)
        if not isinstance(keys, list):
            raise DatasetError(f"holds a {type(keys).__name__}, and a list of keys is meant", where=path)
        for raw in keys:
            key = tuple(raw) if isinstance(raw, list) else raw
            if not _is_key(key) or key not in labelled:
                what = f"{show(key)} has no annotation"
                report(Problem("annotation", str(path), what, "the files are of different editions?"))
            elif split_of.setdefault(key, split) != split:
                what = f"{show(key)} is a {split_of[key]} dive too"
                report(Problem("split", str(path), what, "a dive either trains or tests"))
    for key in labelled:
        if key not in split_of:
            what = f"{show(key)} is in no split and is left out"
            report(Problem("split", str(next(iter(files.values())).parent), what, stops=False))
    return split_of


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
        report: Called with every entry that cannot be used.
    """
    dives = []
    for key, entry in entries.items():
        if key not in splits:
            continue
        try:
            dives.append(make(key, entry))
        except WrongEntryError as wrong:
            report(Problem(wrong.kind, str(path), f"entry {show(key)}: {wrong.what}", wrong.hint, dive=show(key)))
        except OSError as error:
            what = f"entry {show(key)}: {error.filename}: {error.strerror}"
            report(Problem("frames", str(path), what, "check the rights of the folder", dive=show(key)))
    return dives


def show(value: object) -> str:
    """Format a key or a value for an error; containers that are no key by their type alone."""
    if type(value) is tuple and len(value) == 2 and all(isinstance(part, (str, int)) for part in value):
        return "/".join(part[:_SHOWN] if isinstance(part, str) else show(part) for part in value)
    if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
        return "an integer of more digits than any"
    if isinstance(value, (str, int, float)) or value is None:
        return f"{value!r:.{_SHOWN}}"
    return "an array" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def parse_decimal(value: object) -> float | None:
    """Return a value as a finite number, or None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def parse_number(value: object) -> str:
    """Read a dive number, in canonical form."""
    if not isinstance(value, str):
        _wrong("dive number", f"the dive number is {show(value)}", "a text such as 107b is meant")
    try:
        return str(parse_dive_number(value))
    except FinecausalError as error:
        raise WrongEntryError("dive number", f"dive {show(value)}: {error.what}", error.hint) from None


def parse_difficulty(value: object) -> float:
    """Read a degree of difficulty."""
    difficulty = parse_decimal(value)
    if difficulty is None or difficulty <= 0:
        _wrong("score", f"the difficulty is {show(value)}", "a number above 0 is meant")
    return difficulty


def parse_score(value: object, difficulty: float) -> float:
    """Read a final score, which three tens limit."""
    score = parse_decimal(value)
    if score is None or score < 0:
        _wrong("score", f"the score is {show(value)}", "a number from 0 on is meant")
    if score > MAX_EXECUTION * difficulty * (1 + _ROUNDING):
        most = f"three tens at difficulty {difficulty:g} make {MAX_EXECUTION * difficulty:g}"
        _wrong("score", f"the score {score:g} is out of range", most)
    return score


def parse_marks(value: object) -> tuple[float, ...]:
    """Read the judges' marks."""
    if not isinstance(value, (list, tuple)) and not (isinstance(value, np.ndarray) and value.ndim == 1):
        _wrong("score", f"the marks are {show(value)}", "a list of numbers is meant")
    marks = [parse_decimal(mark) for mark in value]
    valid = tuple(mark for mark in marks if mark is not None and 0 <= mark <= MAX_MARK)
    if len(valid) < len(marks):
        _wrong("score", "one of the marks is no number from 0 to 10")
    return valid


def parse_frame(value: object, called: str) -> int:
    """Read a frame number."""
    if isinstance(value, np.integer):
        value = int(value)
    if type(value) is not int or not 0 <= value < _MOST_FRAMES:
        _wrong("annotation", f"{called} is {show(value)}", "a whole number from 0 on is meant")
    return value


def parse_frames(value: object, called: str) -> list[int]:
    """Read a list, or an array of one dimension, of frame numbers or labels."""
    whole = isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu"
    if not whole and not (isinstance(value, (list, tuple)) and all(type(label) is int for label in value)):
        _wrong("annotation", f"{called}: {show(value)}, and whole numbers are meant")
    return [int(label) for label in value]  # type: ignore[attr-defined]


def parse_folder_name(value: object) -> str:
    """Read the name of a folder, which must not lead anywhere else."""
    leads_away = isinstance(value, str) and (value in ("", ".", "..") or set(value) & set("/\\\0"))
    if not isinstance(value, str) or leads_away:
        _wrong("annotation", f"{show(value)} is not the name of a folder", "it would lead out of the dataset")
    return value


def _is_key(key: object) -> bool:
    return isinstance(key, (str, int)) or (type(key) is tuple and all(isinstance(part, (str, int)) for part in key))


def _wrong(kind: Kind, what: str, hint: str | None = None) -> NoReturn:
    raise WrongEntryError(kind, what, hint)
