"""Version and options: declared once, as fields of frozen dataclasses whose metadata is the command line's help.

A field that a person may set is made with ``option``. ``cli`` turns such fields into flags and the keys of a
configuration file, and passes the dataclass on whole; fields without it are for programs only. Nothing heavy is
imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Union, get_args, get_origin, get_type_hints

from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Self

__version__ = "0.1.0"

Precision = Literal["fp32", "bf16", "fp16"]
"""Numbers that the backbones compute in."""

DEFAULT_WEIGHTS = "skeleton"
"""The bundled weights that are used unless others are named."""

REQUIRED: Final[Any] = MISSING
"""The default of an option that must be given."""

_KEY = "option"
_NAMES = {int: "a whole number (integer)", float: "a number", bool: "true or false", str: "text", Path: "a path"}


@dataclass(frozen=True)
class OptionInfo:
    """How a field appears to the user; `option` explains each part."""

    help: str
    flag: str = ""
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    panel: str | None = None
    show_default: bool = True
    parse: Callable[[str], Any] | None = None
    file_only: bool = False
    is_path: bool = False

    @property
    def is_negative(self) -> bool:
        """Whether its only flag turns it off."""
        return self.flag.startswith("/")

    @property
    def flags(self) -> list[str]:
        """The flags; empty where the field's name says them."""
        return [flag for flag in self.flag.removeprefix("/").split(",") if flag]


def option(default: Any, help: str, **metadata: Any) -> Any:  # noqa: A002 - the word of every command line library
    """Declare a field that is an option of a command.

    Args:
        default: Value of the field when the option is not given; `REQUIRED` if it must be given. None for a field that
            is not optional leaves the value to ``__post_init__``.
        help: Help text of the option.
        metadata: ``flag`` (``--name``, where the field's name does not say it; ``-r`` may follow after a comma;
            ``--on/--off`` or ``/--off`` for a boolean that can be turned off), ``metavar``, ``min`` and ``max``,
            ``above`` and ``below`` for bounds that are excluded themselves, ``panel`` where it is not the ``panel`` of
            the dataclass, ``show_default``, ``parse`` (reads the value from text, or raises ValueError), ``file_only``
            for a key of configuration files without a flag, and ``is_path`` for text that may be a path.
    """
    info = {_KEY: OptionInfo(help, **metadata)}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=info)
    return field(default=default, metadata=info)


def info_of(declared: Field[Any]) -> OptionInfo | None:
    """Return how a field appears to the user; None for one that is for programs only."""
    return declared.metadata.get(_KEY)


def flag_of(declared: Field[Any]) -> str:
    """Return the long flag of a field, e.g. ``--height`` of ``height_m``."""
    info = info_of(declared)
    flags = [] if info is None else [part for flag in info.flags for part in flag.split("/")]
    long = (flag for flag in flags if flag.startswith("--"))
    return next(long, "--" + declared.name.replace("_", "-"))


_hints: dict[type[Any], dict[str, Any]] = {}


def hints_of(group: type[Any]) -> dict[str, Any]:
    """Return the types of a dataclass's fields; they are read once, for options are built for every row of a batch."""
    if group not in _hints:
        _hints[group] = get_type_hints(group)
    return _hints[group]


@dataclass(frozen=True)
class OptionGroup:
    """Base of frozen dataclasses of options that checks types, choices and ranges of what it is built from.

    Attributes:
        panel: Panel of the help that shows the options.
        changeable: Fields that may change when a run is resumed.

    Raises:
        UsageError: A value has the wrong type or is out of range; names its flag.
    """

    panel: ClassVar[str] = "Options"
    changeable: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for declared in fields(self):
            value = getattr(self, declared.name)
            try:
                checked = check_value(type(self), declared, value)
            except ValueError as error:
                raise UsageError(str(error), where=flag_of(declared)) from None
            if checked is not value:
                object.__setattr__(self, declared.name, checked)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build options from what `to_dict` returned.

        Raises:
            UsageError: A key is unknown, or a value has the wrong type or is out of range.
        """
        unknown = sorted(values.keys() - {declared.name for declared in fields(cls)})
        if unknown:
            raise UsageError("no such option", where="--" + unknown[0].replace("_", "-"))
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as data for JSON: paths as text, tuples as lists."""
        return {declared.name: _plain(getattr(self, declared.name)) for declared in fields(self)}


def check_value(group: type[Any], declared: Field[Any], value: Any) -> Any:
    """Return a value as its field keeps it: a list as a tuple, text as a path or as what ``parse`` reads.

    Raises:
        ValueError: It has the wrong type, is none of the choices, is not finite or out of range.
    """
    if value is None and declared.default is None:
        return None
    info = info_of(declared)
    if info is not None and info.parse is not None and isinstance(value, str):
        value = info.parse(value)
    value = _convert(hints_of(group)[declared.name], value)
    if info is not None and isinstance(value, int | float) and not isinstance(value, bool):
        _check_range(info, value)
    return value


def _convert(kind: Any, value: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and type(None) in parts:
            return None
        (kind,) = (part for part in parts if part is not type(None))
        return _convert(kind, value)
    if origin is Literal:
        if value not in parts:
            *others, last = map(repr, parts)
            raise ValueError(f"must be {', '.join(others)} or {last}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, not {value!r}")
        items = tuple(_convert(parts[0], item) for item in value)
        return value if items == value else items
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table, not {value!r}")
        return value
    return _convert_scalar(kind, value)


def _convert_scalar(kind: Any, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind not in _NAMES:
        return value
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"must be {_NAMES[kind]}, not {value!r}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"must be finite, not {value!r}")
    return value


def _check_range(info: OptionInfo, value: float) -> None:
    for limit, words, is_kept in (
        (info.min, "at least", info.min is None or value >= info.min),
        (info.above, "greater than", info.above is None or value > info.above),
        (info.max, "at most", info.max is None or value <= info.max),
        (info.below, "less than", info.below is None or value < info.below),
    ):
        if not is_kept:
            raise ValueError(f"must be {words} {limit:g}, not {value!r}")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """Weights, exemplar bank and device: the arguments of ``Scorer.load``."""

    panel: ClassVar[str] = "Computing"

    weights: str = option(
        DEFAULT_WEIGHTS, "Bundled weights by name, a folder, or hf://owner/repo@revision.", is_path=True
    )
    bank: str | None = option(
        None, "Exemplar banks: bundled (default), mine, mine+bundled, or a folder.", is_path=True, metavar="NAME"
    )
    calibrate: bool = option(
        True, "Leave votes as they are where a bank of your own is used.", flag="/--no-calibration"
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.")
    precision: str = option("auto", "auto, fp32, bf16 or fp16.")
