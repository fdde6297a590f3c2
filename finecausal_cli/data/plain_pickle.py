"""Read a pickle that holds nothing but plain data and arrays of numbers, and run nothing of what it asks for.

The pickle format is a small program. Python's own reader calls whatever the program names. This one is a machine
of its own that knows only the steps that put plain data together (numbers, texts, lists, tuples, dictionaries) and
six names, none of which it ever calls: each stands for a conversion written here. Any other name, and any step that
would make an object, ends the reading before that object exists, with the name of what was asked for.

The steps are those that Python's ``pickletools`` documents, protocols 0 to 5.
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from finecausal_cli.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

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
    machine = _Machine()
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


class _Machine:
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
