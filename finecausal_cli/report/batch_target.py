"""Where the rows of a batch go: one file, a folder of files, or standard output."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from finecausal_cli.assess.batch.inputs import MANIFEST_SUFFIXES
from finecausal_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from finecausal_cli.assess.batch.inputs import Item

BatchFormat = Literal["table", "json", "jsonl", "csv", "parquet"]
FileFormat = Literal["json", "jsonl", "csv", "parquet", "html"]

_FORMATS: dict[str, FileFormat] = {f".{name}": name for name in get_args(FileFormat)}
_ENDINGS = ", ".join(_FORMATS)

RESULTS_NAME = "results.jsonl"
TABLE_NAME = "results.csv"
PAGE_NAME = "report.html"
_JOURNAL_ENDING = ".journal.jsonl"


@dataclass(frozen=True, slots=True)
class BatchTarget:
    """Files of a batch.

    Attributes:
        output: What the user named.
        journal: The file to which rows are added as they come; it alone is read when a run is repeated.
        files: What is made of the journal at the end, by format.
    """

    output: Path
    journal: Path
    files: tuple[tuple[FileFormat, Path], ...] = ()


def plan_target(output: Path, asked: BatchFormat | None = None) -> BatchTarget:
    """Tell which files a batch writes.

    Args:
        output: A folder (it exists, ends in a slash, or its name has no ending), or a file.
        asked: Format of the file; its ending decides when absent.

    Raises:
        UsageError: The ending is none that is known, or the format and the ending differ.
    """
    if output.is_dir() or str(output).endswith(os.sep) or (not output.suffix and asked is None):
        if asked not in (None, "table"):
            hint = "name a file, or leave out --format: a folder gets jsonl, csv and html"
            raise UsageError(f"-o is a folder, and --format {asked} is one file", where=output, hint=hint)
        files: tuple[tuple[FileFormat, Path], ...] = (("csv", output / TABLE_NAME), ("html", output / PAGE_NAME))
        return BatchTarget(output, output / RESULTS_NAME, files)
    by_ending = _FORMATS.get(output.suffix.lower())
    if asked == "table":
        hint = f"leave out --format and let the name end in one of {_ENDINGS}, or name a folder"
        raise UsageError("--format table is for the screen", where=output, hint=hint)
    if asked is not None and by_ending not in (None, asked):
        raise UsageError(f"--format {asked} and a name that says otherwise", where=output, hint="leave out --format")
    chosen = asked or by_ending
    if chosen is None:
        hint = f"let it end in one of {_ENDINGS}, or name a folder"
        raise UsageError("the name of -o does not say its format", where=output, hint=hint)
    if chosen == "jsonl":
        return BatchTarget(output, output)
    return BatchTarget(output, journal_beside(output), ((chosen, output),))


def journal_beside(output: Path) -> Path:
    """Return where the rows of a table are kept as they come."""
    return output.with_name(output.name + _JOURNAL_ENDING)


def find_journal(given: Path) -> Path:
    """Return the journal that a user means: of a folder of results, of a table, or the file itself.

    Raises:
        UsageError: There is none.
    """
    if given.is_dir():
        found = given / RESULTS_NAME
    elif given.suffix.lower() == ".jsonl":
        found = given
    else:
        found = journal_beside(given)
    if not found.is_file():
        hint = "name a folder of results, a .jsonl of results, or a table beside its journal"
        raise UsageError(f"no results here: {found.name} is missing", where=given, hint=hint)
    return found


def check_batch_target(target: BatchTarget, items: Sequence[Item], named: Iterable[str]) -> None:
    """Refuse to write over what is read, before anything is computed.

    Args:
        target: Where results go.
        items: What is read.
        named: The arguments: manifests and lists among them are read too.

    Raises:
        UsageError: A file of the results is a dive, lies among the frames of one, or is a manifest.
    """
    writes = [target.journal, *(path for _, path in target.files)]
    sources = {os.path.realpath(item.path) for item in items}
    for path in writes:
        real = os.path.realpath(path)
        if real in sources:
            raise UsageError("-o would write over a dive that is read", where=path)
        if os.path.dirname(real) in sources:  # noqa: PTH120 - names that are no valid text
            raise UsageError("-o would write among the frames that are read", where=path)
        if path.exists() and any(
            Path(one).suffix.lower() in MANIFEST_SUFFIXES and os.path.realpath(one) == real for one in named
        ):
            raise UsageError("-o would write over the manifest that is read", where=path)
        if path.is_dir():
            raise UsageError("-o needs a file, and this is a folder", where=path)
