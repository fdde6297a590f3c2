"""Pickled annotations of the published datasets, read without running code."""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from finecausal_cli.data import Kind, Problem
from finecausal_cli.diving import MAX_EXECUTION, MAX_MARK, parse_dive_number
from finecausal_cli.errors import DatasetError, FinecausalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from finecausal_cli.data import Dive, Report, Split


# Read a pickle that holds nothing but plain data and arrays of numbers, and run nothing of what it asks for.
#
# The pickle format is a small program. Python's own reader calls whatever the program names. This one is a machine of
# its own that knows only the steps that put plain data together (numbers, texts, lists, tuples, dictionaries) and six
# names, none of which it ever calls: each stands for a conversion written here. Any other name, and any step that
# would make an object, ends the reading before that object exists, with the name of what was asked for.
#
# The steps are those that Python's ``pickletools`` documents, protocols 0 to 5.

MOST_BYTES = 512 * 2**20
"""The largest annotation known is a hundredth of this."""

_MOST_DIMENSIONS = 4

_NUMBER_CODE = re.compile(r"(?:b1|[iu][1248]|f[248]|[SU]\d{1,4})")
"""Kinds of array elements that hold no reference to anything: truth values, integers, floats and short texts."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A name that the pickle may ask for."""

    called: str


@dataclass(slots=True)
class _Kind:
    """A NumPy element type under construction."""

    code: str
    order: str = "="

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order.replace("|", "=") + self.code)


@dataclass(slots=True)
class _Array:
    """A NumPy array under construction; ``values`` is complete once its state has been read."""

    values: np.ndarray[Any, Any] | None = None


_DTYPE: Final = _Name("numpy.dtype")
_NDARRAY: Final = _Name("numpy.ndarray")
_RECONSTRUCT: Final = _Name("numpy.core.multiarray._reconstruct")
_SCALAR: Final = _Name("numpy.core.multiarray.scalar")
_ENCODE: Final = _Name("_codecs.encode")

_ALLOWED = {
    "numpy.dtype": _DTYPE,
    "numpy.ndarray": _NDARRAY,
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy.core.multiarray.scalar": _SCALAR,
    # Where NumPy 2 keeps the same two.
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray.scalar": _SCALAR,
    "_codecs.encode": _ENCODE,
}

_MARK: Final = object()

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"}
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_VALUES = _NUMBERS | _TEXTS | _BYTES
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_PUT = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GET = frozenset({"GET", "BINGET", "LONG_BINGET"})
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset({"PROTO", "FRAME"})

_BROKEN = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError, UnicodeError)
"""What a damaged pickle makes the machine stumble over."""


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of plain data and NumPy arrays of numbers.

    Returns:
        None, truth values, numbers, texts, bytes, lists, tuples, dictionaries and arrays, nested as stored. NumPy
        scalars become Python numbers.

    Raises:
        DatasetError: The file is missing, too large or damaged, or it asks for anything else, which is named.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DatasetError(f"{size / 2**20:.0f} MiB is too large for annotations", where=path)
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=path) from None
    machine = _RestrictedUnpickler()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        return machine.result()
    except _RefusedError as refusal:
        raise DatasetError(
            f"asks for {refusal}, which no annotation needs; nothing of it was run",
            where=path,
            hint="delete it unless you trust its author",
        ) from None
    except _BROKEN as error:
        raise DatasetError(f"not a whole pickle of plain data: {error}", where=path) from None


class _RefusedError(Exception):
    """The pickle asks for something that is not allowed."""


class _RestrictedUnpickler:
    """The stack and the memory of the pickle's program."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Do one step.

        Raises:
            _RefusedError: The step would make an object or name something that is not allowed.
        """
        stack = self._stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _PUT:
            self._memory[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memory[len(self._memory)] = stack[-1]
        elif name in _GET:
            stack.append(self._memory[argument])
        elif name not in _IGNORED:
            self._build(name, argument)

    def result(self) -> Any:
        """Return what the program made."""
        (made,) = self._stack
        return _finished(made)

    def _build(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _SHORT_TUPLES:
            count = _SHORT_TUPLES[name]
            if len(stack) < count:
                raise ValueError("a tuple of what is not there")
            stack[-count:] = [tuple(map(_finished, stack[-count:]))]
        elif name in ("TUPLE", "LIST", "DICT"):
            parts = self._since_mark()
            stack.append(tuple(parts) if name == "TUPLE" else parts if name == "LIST" else _filled({}, parts))
        elif name in ("APPEND", "APPENDS"):
            parts = [_finished(stack.pop())] if name == "APPEND" else self._since_mark()
            _expected(stack[-1], list).extend(parts)
        elif name in ("SETITEM", "SETITEMS"):
            pair = [stack.pop(-2), stack.pop()] if name == "SETITEM" else []
            parts = [_finished(one) for one in pair] or self._since_mark()
            _filled(_expected(stack[-1], dict), parts)
        elif name in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"):
            self._name_or_make(name, argument)
        elif name != "STOP":
            asked = "" if argument is None else f" {argument!s:.80}".replace("\n", " ")
            raise _RefusedError(f"the step {name}{asked}")

    def _since_mark(self) -> list[Any]:
        stack = self._stack
        back = next((back for back, one in enumerate(reversed(stack)) if one is _MARK), None)
        if back is None:
            raise ValueError("the end of a list that never began")
        start = len(stack) - 1 - back
        parts = [_finished(one) for one in stack[start + 1 :]]
        del stack[start:]
        return parts

    def _name_or_make(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name == "GLOBAL":
            stack.append(_allowed(str(argument).replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            called, module = _expected(stack.pop(), str), _expected(stack.pop(), str)
            stack.append(_allowed(f"{module}.{called}"))
        elif name == "REDUCE":
            arguments, maker = stack.pop(), stack.pop()
            stack.append(_made(_expected(maker, _Name), _expected(arguments, tuple)))
        else:
            state = _expected(stack.pop(), tuple)
            _set_state(stack[-1], state)


def _allowed(called: str) -> _Name:
    if called not in _ALLOWED:
        raise _RefusedError(f"{called:.120}")
    return _ALLOWED[called]


def _made(maker: _Name, arguments: tuple[Any, ...]) -> Any:
    """Do what NumPy's constructors would do, for numbers alone."""
    if maker is _DTYPE:
        return _Kind(_number_code(arguments[0]))
    if maker is _RECONSTRUCT and arguments[0] is _NDARRAY:
        return _Array()
    if maker is _SCALAR:
        kind, raw = arguments
        (value,) = np.frombuffer(_bytes(raw), _expected(kind, _Kind).dtype)
        return value.item()
    if maker is _ENCODE and arguments[1] in ("latin1", "latin-1"):
        return _expected(arguments[0], str).encode("latin-1")
    raise _RefusedError(f"{maker.called} with other arguments than annotations have")


def _number_code(code: object) -> str:
    if isinstance(code, bytes):
        code = code.decode("ascii")
    if not isinstance(code, str) or not _NUMBER_CODE.fullmatch(code):
        asked = f"numpy.dtype({code!r:.20})" if isinstance(code, str) else f"numpy.dtype of a {type(code).__name__}"
        raise _RefusedError(f"{asked}, which is no number")
    return code


def _set_state(made: object, state: tuple[Any, ...]) -> None:
    if isinstance(made, _Kind):
        _, order, subarray, names, fields = state[:5]
        if (subarray, names, fields) != (None, None, None) or order not in ("<", ">", "=", "|"):
            raise _RefusedError("an array of records, which are no numbers")
        made.order = order
    elif isinstance(made, _Array):
        _, shape, kind, is_fortran, raw = state
        made.values = _filled_array(_expected(shape, tuple), _expected(kind, _Kind).dtype, is_fortran is True, raw)
    else:
        raise _RefusedError(f"a state for a {type(made).__name__}")


def _filled_array(shape: tuple[Any, ...], dtype: np.dtype[Any], is_fortran: bool, raw: Any) -> np.ndarray[Any, Any]:
    if len(shape) > _MOST_DIMENSIONS or any(type(side) is not int or side < 0 for side in shape):
        raise ValueError("an array of an impossible shape")
    content = _bytes(raw)
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError("an array that is cut short")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _filled(made: dict[Any, Any], parts: list[Any]) -> dict[Any, Any]:
    if len(parts) % 2:
        raise ValueError("a dictionary with a key and no value")
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        # Anything deeper could be nested so far that looking it up would exhaust the stack of the process.
        if not all(isinstance(one, (str, int, float)) for one in (key if type(key) is tuple else (key,))):
            raise ValueError("a key that is neither text nor number nor a tuple of them")
        made[key] = value
    return made


def _finished(made: Any) -> Any:
    """Put a complete array in the place of the one under construction."""
    if isinstance(made, _Array) and made.values is not None:
        return made.values
    if made is _MARK:
        raise ValueError("a mark in the place of a value")
    return made


def _bytes(raw: Any) -> bytes:
    """Return the content of an array; Python 2 wrote it as text."""
    if type(raw) is str:
        return raw.encode("latin-1")
    content: bytes = _expected(raw, bytes)
    return content


def _expected(value: Any, kind: type[Any]) -> Any:
    if type(value) is not kind:
        raise ValueError(f"a {type(value).__name__} in the place of a {kind.__name__.lstrip('_').lower()}")
    return value


# What the entries of foreign annotations have in common: keys, splits, and values that are checked one by one.

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


def parse_difficulty(value: object) -> float:
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
