"""The command ``finecausal``: its sub-commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import traceback
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Annotated

import typer

from finecausal_cli.cli import assets, research, score
from finecausal_cli.cli.options import add_command
from finecausal_cli.config import __version__
from finecausal_cli.errors import FinecausalError, UsageError

if TYPE_CHECKING:
    from types import FrameType

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

_INVALID, _FLAG = re.compile(r"Invalid value for (.+?): (.*)", re.DOTALL), re.compile(r"--[\w-]+|[^\s'/]+")
"""How typer writes a wrong value, and the name of an option or argument there."""

_ANYWHERE = {"--debug": "d", "--offline": "o", "--verbose": "v", "--quiet": "q", "-v": "v", "-q": "q"}
"""Flags that may stand before or behind the name of a command."""

_WrongUsage: type[typer.BadParameter] = typer.BadParameter.__bases__[0]
"""What typer raises for an unknown option, a missing argument and a wrong value; it has no public name."""

app = typer.Typer(
    name="finecausal",
    help="Score diving videos and explain the score.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _panel, _commands in {
    "Score": (
        score.score,
        score.merge,
        score.history,
        score.explain,
        score.compare,
        score.measure,
        score.serve,
        assets.dive,
    ),
    "Research": (research.simulate, research.pretrain, research.train, research.evaluate),
}.items():
    for _command in _commands:
        add_command(app, _command, panel=_panel)
app.add_typer(research.dataset_app, name="dataset", rich_help_panel="Research")
app.add_typer(assets.exemplars_app, name="exemplars", rich_help_panel="Weights and exemplars")
app.add_typer(assets.weights_app, name="weights", rich_help_panel="Weights and exemplars")
add_command(app, assets.schema, panel="Weights and exemplars")
add_command(app, assets.doctor, panel="Weights and exemplars")


def _print_version(is_given: bool) -> None:
    if is_given:
        typer.echo(f"finecausal {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Log more; -vv still more.")
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No progress and no notes: only the result and errors.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not use the network.")] = False,
) -> None:
    """Score diving videos and explain the score.

    -v, -q, --debug and --offline may stand anywhere on the line.
    """


def run() -> None:
    """Run the command line and exit with its code: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    flags = ""
    term = _Termination()
    try:
        arguments, flags = _split_flags(sys.argv[1:])
        _apply(flags)
        _call(arguments)
    except FinecausalError as error:
        if "d" in flags:
            raise
        _fail(_as_given(str(error)), error.exit_code)
    except KeyboardInterrupt:
        term.leave()
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        _leave_closed_pipe()
    except OSError as error:
        if "d" in flags:
            raise
        _fail(f"{error.filename or 'standard output'}: {error.strerror or error}", EXIT_FAILED)
    except SystemExit as leaving:
        # typer and rich turn a closed pipe into the exit code 1.
        if isinstance(leaving.__context__, BrokenPipeError):
            _leave_closed_pipe()
        term.leave()
        _flush()
        raise


def _call(arguments: list[str]) -> None:
    """Run a command line and exit with its code; what typer finds wrong with it is one line, like all other errors."""
    try:
        sys.exit(app(arguments, prog_name="finecausal", standalone_mode=False) or 0)
    except _WrongUsage as error:
        if not error.format_message().strip():  # a command without arguments, which has printed its help
            sys.exit(error.exit_code)
        _fail(_usage_in_one_line(error), error.exit_code)
    except typer.Abort:
        _fail("aborted", EXIT_FAILED)


class _Termination:
    """Turns SIGTERM (the limit of a queue, ``docker stop``) into what Ctrl-C is, so that everything is put away."""

    def __init__(self) -> None:
        self._has_come, self._process = False, os.getpid()
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - of the standard library
        if os.getpid() != self._process:  # a process that was forked off ends as it would without us
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._has_come = True
        raise KeyboardInterrupt

    def leave(self) -> None:
        """Exit with the code of SIGTERM, if it has come."""
        if self._has_come:
            _fail("terminated", EXIT_TERMINATED)


def _split_flags(arguments: list[str]) -> tuple[list[str], str]:
    """Take the flags that may stand anywhere out of a command line; behind ``--`` there are none.

    Returns:
        The other arguments, and one letter a flag: d, o, v or q.

    Raises:
        UsageError: An option is the name of a file that is here.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    others, flags = [], ""
    for argument in arguments[:end]:
        if len(argument) > 2 and argument[0] == "-" and os.path.lexists(argument):
            hint = f"write ./{argument}, or put -- before the names"
            raise UsageError("a file of this name is here, and it reads as an option", where=argument, hint=hint)
        if argument in _ANYWHERE:
            flags += _ANYWHERE[argument]
        elif len(argument) > 2 and argument[0] == "-" and set(argument[1:]) == {"v"}:
            flags += argument[1:]
        else:
            others.append(argument)
    return others + arguments[end:], flags


def _apply(flags: str) -> None:
    """Set up logging, and forbid the network with ``--offline``.

    Raises:
        UsageError: ``-v`` and ``-q`` contradict each other.
    """
    if "v" in flags and "q" in flags:
        raise UsageError("-v and -q contradict each other", hint="give one of them")
    if "o" in flags:
        from finecausal_cli.weights.hub import OFFLINE

        os.environ[OFFLINE] = "1"  # the hub's own library obeys it, too
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logger = logging.getLogger("finecausal_cli")
    logger.setLevel(logging.ERROR if "q" in flags else levels[min(flags.count("v"), 2)])
    logger.handlers = [_NoteHandler()]


class _NoteHandler(logging.Handler):
    """Prints what is logged, a line each, on the standard error of the moment: a progress bar puts its own there.

    The traceback of what is logged for finding mistakes follows it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        name = f"{record.name}: " if record.levelno <= logging.DEBUG else ""
        typer.secho(name + _one_line(_as_given(record.getMessage())), dim=True, err=True)
        if record.exc_info and record.levelno <= logging.DEBUG:
            for text in traceback.format_exception(*record.exc_info):
                for line in text.splitlines():
                    typer.secho(_one_line(line), dim=True, err=True)


def _flush() -> None:
    """Flush standard output here: the interpreter would print a traceback at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_closed_pipe()
    except OSError as error:
        _discard_output()
        _fail(f"standard output: {error.strerror or error}", EXIT_FAILED)


def _leave_closed_pipe() -> None:
    """End quietly: the reader of standard output has seen enough, as ``head`` has."""
    _discard_output()
    sys.exit(0)


def _discard_output() -> None:
    """Keep the interpreter from flushing into standard output again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_in_one_line(error: typer.BadParameter) -> str:
    """Write wrong usage as our own errors are written: the option, what is wrong with it, where the help is."""
    named = _INVALID.match(error.format_message())
    text = error.format_message() if named is None else f"{_FLAG.findall(named[1])[-1]}: {named[2]}"
    hint = "" if error.ctx is None else f" (see {error.ctx.command_path} --help)"
    return " ".join(text.replace("Value error, ", "").split()).rstrip(".") + hint


def _as_given(text: str) -> str:
    """Name standard input where the path of its temporary copy stands; nobody reads videos without that module."""
    source = sys.modules.get("finecausal_cli.video.source")
    return text if source is None else str(source.as_given(text))


def _fail(text: str, code: int) -> None:
    typer.echo(f"finecausal: {_one_line(text)}", err=True)
    sys.exit(code)


def _one_line(text: str) -> str:
    """Keep a file name with a line break or an escape sequence in it from breaking the line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
