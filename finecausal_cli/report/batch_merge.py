"""Join results and write them as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.assess.batch.journal import Journal, to_line
from finecausal_cli.assess.batch.shards import merge_journals
from finecausal_cli.report.batch import print_figures
from finecausal_cli.report.batch_files import write_files
from finecausal_cli.report.batch_rows import summarise_rows
from finecausal_cli.report.batch_target import find_journal, plan_target
from finecausal_cli.report.progress import working
from finecausal_cli.report.terminal import open_console, printable
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def merge_results(output: Path, results: Sequence[Path]) -> None:
    """Write the rows of several runs, and of ``output`` if it is there already, to ``output``.

    Raises:
        UsageError: The name of ``output`` does not say its format, or one of the results is missing.
        DatasetError: One of them holds something that is no row of results.
        OutputError: ``output`` cannot be written, or another run writes to it.
    """
    target = plan_target(output)
    journals = [find_journal(each) for each in results]
    with working("merging"), Journal(target.journal):
        there = {journal.resolve() for journal in journals}
        if target.journal.resolve() not in there:
            journals.insert(0, target.journal)
        merged = merge_journals([journal for journal in journals if journal.exists()])
        light = []
        with whole_file(target.journal, "the results") as part, part.open("wb") as stream:
            for row in merged.rows():
                stream.write(to_line(row))
                light.append(row.light())
        write_files(target)
    console = open_console()
    print_figures(summarise_rows(light), console)
    said = f"{len(light)} rows from {len(results)} files"
    if merged.replaced:
        said += f"; {merged.replaced} gave way to another row of the same dive"
    files = ", ".join(str(path) for path in [*(path for _, path in target.files), target.journal])
    console.print(printable(f"{said}", console), soft_wrap=True)
    console.print(printable(f"written: {files}", console), soft_wrap=True, style="dim")
