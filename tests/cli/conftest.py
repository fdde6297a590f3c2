import logging
import signal
import sys
from dataclasses import dataclass

import pytest

from finecausal_cli.cli import run


@pytest.fixture(autouse=True)
def _read_once(read_once):
    """Commands within this process read the examples over and over."""


@pytest.fixture
def log_level():
    """Leave the log as it was: the level is that of the process."""
    logger = logging.getLogger("finecausal_cli")
    level = logger.level
    yield
    logger.setLevel(level)


@dataclass(frozen=True)
class Done:
    """What a command left behind, under the names of ``subprocess.CompletedProcess``."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def finecausal(monkeypatch, capfd):
    """Run a command line within this process: starting Python and importing torch anew takes seconds.

    The streams are those of the file descriptors, for libraries that write in C write there too. What only a process
    can show (its exit code, a bare start, signals) is tested with one in ``test_main.py``.
    """
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # typer puts its own there, for good

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["finecausal", *map(str, arguments)])
        capfd.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as left:
            run()
        signal.signal(signal.SIGTERM, handler)
        streams = capfd.readouterr()
        return Done(left.value.code, streams.out, streams.err)

    return call
