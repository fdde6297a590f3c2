"""The exceptions a user may meet.

    FinecausalError            exit code 1
    +-- UsageError             exit code 2: the command line or an option is wrong
    |   +-- DiveNumberError    a dive number breaks the grammar of the sport
    +-- VideoError             a clip cannot be opened, decoded or sampled
    +-- WeightsError           weights or their configuration cannot be trusted
    +-- BankError              an exemplar bank is broken or cannot serve the request
    +-- DatasetError           a dataset (manifest, folder, annotation) is wrong
    +-- OutputError            a result cannot be written
    +-- TrainingError          a training run cannot start, go on or be resumed

Every error says what is wrong, where, and what to do. The command line prints it as one line and exits
with its code; a library user reads the same three parts from the attributes.
"""

from __future__ import annotations

from os import PathLike, fspath


class FinecausalError(Exception):
    """Base of every error that finecausal raises on purpose.

    Args:
        what: What is wrong, in plain words.
        where: The file, row, column, tensor or option it was found in.
        hint: What the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | PathLike[str] | None = None, hint: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else fspath(where)
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        message = self.what if self.where is None else f"{self.where}: {self.what}"
        return message if self.hint is None else f"{message} ({self.hint})"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between worker processes with every part intact."""
        return (_rebuild, (type(self), self.what, self.where, self.hint))


def _rebuild(kind: type[FinecausalError], what: str, where: str | None, hint: str | None) -> FinecausalError:
    return kind(what, where=where, hint=hint)


class UsageError(FinecausalError):
    """The command line or an option is wrong."""

    exit_code = 2


class DiveNumberError(UsageError):
    """A dive number breaks the grammar of the sport."""


class VideoError(FinecausalError):
    """A clip cannot be opened, decoded or sampled."""


class WeightsError(FinecausalError):
    """Weights or their configuration cannot be trusted."""


class BankError(FinecausalError):
    """An exemplar bank is broken or cannot serve the request."""


class DatasetError(FinecausalError):
    """A dataset is wrong: its manifest, a row, a column or a file it names."""


class OutputError(FinecausalError):
    """A result cannot be written."""


class TrainingError(FinecausalError):
    """A training run cannot start, go on or be resumed."""
