"""The log of a run: one JSON line a validation, each once, however often the run was stopped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from finecausal_cli.errors import TrainingError
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

LOG_NAME = "log.jsonl"


class RunLog:
    """The log in a run's folder.

    Args:
        folder: The run's folder.
        key: What of a line says when it was written: a number that grows.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path, self._key = folder / LOG_NAME, key

    def append(self, line: dict[str, Any]) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def forget_after(self, last: int) -> None:
        """Drop what was logged after the checkpoint, whole or torn: it is going to be logged again.

        Raises:
            TrainingError: It is the log of something else.
        """
        if not self._path.exists():
            return
        whole = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        try:
            kept = [line for line in whole if line.endswith("\n") and json.loads(line)[self._key] <= last]
        except (ValueError, KeyError, TypeError):
            raise TrainingError("not the log of this run", where=self._path, hint="start anew elsewhere") from None
        if kept != whole:
            with whole_file(self._path, "the log") as part:
                part.write_text("".join(kept), encoding="utf-8")
