"""``finecausal merge``: the results of several machines, or of several days, as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="A file (.jsonl, .csv, .parquet, .json, .html) or a folder.")
    ],
    results: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Folders of results, .jsonl of results, or tables of them.")
    ],
) -> None:
    """Join the results of several runs, such as the shares of --shard, one row a dive.

    Of two rows of one dive a score wins over a failure, then the later file. Rows already in OUT take part.
    """
    from finecausal_cli.report.batch_merge import merge_results

    merge_results(output, results)
