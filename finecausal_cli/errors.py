"""The exceptions a user may meet.

    FinecausalError            exit code 1
    +-- UsageError             exit code 2: the command line or an option is wrong
    |   +-- DiveNumberError    a dive number breaks the grammar of the sport
    +-- VideoError             a clip cannot be opened, decoded or sampled
    |   +-- NoTrackError       it shows no whole dive for weights that judge bodies
    +-- RefusedError           a clip shows no dive that could be judged
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
from typing import ClassVar, Literal

ErrorKind = Literal[
    "missing", "no_permission", "unreadable", "not_a_file", "empty",
    "not_a_video", "not_a_dive", "no_frames", "too_short", "truncated", "damaged", "unsupported", "out_of_range",
    "timeout", "crashed",
    "no_dive", "still", "black", "athlete_not_seen", "several_shots", "no_takeoff", "no_entry",
    "no_number",
    "bad_option", "no_exemplar", "unexpected", "failed",
]  # fmt: skip
"""What went wrong, as a word that a program can count on; said where the error is raised.

Of the file: ``missing``, ``no_permission``, ``unreadable`` (the system cannot open it), ``not_a_file`` (a pipe or a
device), ``empty``. Of what is in it: ``not_a_video``, ``not_a_dive`` (a folder of several videos), ``no_frames`` (sound
only, an empty folder, no picture can be decoded), ``too_short`` (fewer frames than a snippet), ``truncated``,
``damaged``, ``unsupported`` (a picture of an impossible shape), ``out_of_range`` (the times asked for lie outside). Of
the decoder: ``timeout``, ``crashed``. Of what is shown: ``no_dive`` (nobody falls freely), ``still``, ``black``,
``athlete_not_seen``, ``several_shots`` (the shot changes within the dive), ``no_takeoff`` and ``no_entry`` (the clip
lacks that part of the dive), ``no_number`` (the dive number is not sure). Of the request: ``bad_option``,
``no_exemplar``. A mistake of ours or of a library, an exception that nobody foresaw: ``unexpected``. Anything else:
``failed``.
"""


class FinecausalError(Exception):
    """Base of every error that finecausal raises on purpose.

    Args:
        what: What is wrong, in plain words.
        where: The file, row, column, tensor or option it was found in.
        hint: What the user can do about it.
        kind: What went wrong, for programs; that of the class when absent.
    """

    exit_code = 1
    usual_kind: ClassVar[ErrorKind] = "failed"

    def __init__(
        self,
        what: str,
        *,
        where: str | PathLike[str] | None = None,
        hint: str | None = None,
        kind: ErrorKind | None = None,
    ) -> None:
        self.what = what
        self.where = None if where is None else fspath(where)
        self.hint = hint
        self.kind: ErrorKind = kind or self.usual_kind
        super().__init__(str(self))

    def __str__(self) -> str:
        message = self.what if self.where is None else f"{self.where}: {self.what}"
        return message if self.hint is None else f"{message} ({self.hint})"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip between worker processes with every part intact."""
        return (_rebuild, (type(self), self.what, self.where, self.hint, self.kind))


def _rebuild(
    error: type[FinecausalError], what: str, where: str | None, hint: str | None, kind: ErrorKind
) -> FinecausalError:
    return error(what, where=where, hint=hint, kind=kind)


class UsageError(FinecausalError):
    """The command line or an option is wrong."""

    exit_code = 2
    usual_kind = "bad_option"


class DiveNumberError(UsageError):
    """A dive number breaks the grammar of the sport."""


class VideoError(FinecausalError):
    """A clip cannot be opened, decoded or sampled."""

    usual_kind = "unreadable"


class NoTrackError(VideoError):
    """A file can be read, but shows no whole dive that a network which reads bodies could judge."""


class RefusedError(FinecausalError):
    """A clip shows no dive that could be judged, or not enough of one; ``kind`` says why.

    Attributes:
        found: What is known of it all the same, a ``scoring.results.Unscored``; None on the way there.
    """

    usual_kind = "no_dive"
    found: object = None


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
