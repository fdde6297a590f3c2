"""``finecausal score``: one dive with the reasons for its score, or many, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread


class RowFormat(str, Enum):
    """How to print verdicts."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True)
class Found:
    """Where dives come from."""

    panel: ClassVar[str] = "Many dives: what"

    all_dives: Annotated[
        bool, typer.Option("--all-dives", help="Score every dive of a video, not the surest alone.")
    ] = False
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into the folders of folders too.")] = False
    from_file: Annotated[
        str | None,
        typer.Option("--from-file", metavar="LIST|-", help="Read more PATHs, one a line; - is standard input."),
    ] = None
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Accept paths in a manifest that leave its folder.")
    ] = False
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Score the I-th of N equal shares; join them with merge.")
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be done, and do nothing.")] = False


@dataclass(frozen=True)
class Doing:
    """How many dives are worked through."""

    panel: ClassVar[str] = "Many dives: how"

    workers: Annotated[int | None, typer.Option(min=1, help="Processes that read clips; one a core by default.")] = None
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Most dives in one pass: 1 on a CPU, 8 on a GPU.")
    ] = None
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="S", help="Most seconds to read one clip without progress.")
    ] = given.DECODE_LIMIT_S
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Score again what is scored already.")] = False
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed.")] = False
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first dive that fails.")] = False
    cluster: Annotated[
        str | None, typer.Option(metavar="auto|ADDRESS", help="Score on a Ray cluster; see docs/batch.md.")
    ] = None
    watch: Annotated[bool, typer.Option("--watch", help="Keep scoring what appears, until Ctrl-C.")] = False


@spread
def score(
    asked: given.Asked,
    found: Found,
    doing: Doing,
    engine: given.Engine,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Videos, folders of videos or of frames, patterns, manifests.",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        RowFormat | None, typer.Option("--format", help="table by default; -o FILE says it by its ending.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE|DIR",
            help="Write the result to a file; many also to a folder, and a rerun does what is missing.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Score dives.

    One dive: stage by stage, where its points come from. Many: a line each,
    and a summary. A folder of videos is many dives, a folder of pictures is
    one. In a longer video the dive is found; a video without one is refused.
    """
    from finecausal_cli.report.ahead import reading_ahead

    options = {**asked.options(), "timeout_s": doing.timeout_s, "all_dives": found.all_dives}
    is_alone = len(paths or ()) == 1 and (found, doing) == (Found(), Doing()) and output is None
    with reading_ahead(paths[0] if paths and is_alone else "", options, engine.weights) as ahead:
        from finecausal_cli.report.batch_command import BatchRequest, score_dives

        request = BatchRequest(
            paths=tuple(paths or ()),
            options=options,
            engine=engine.arguments(),
            recursive=found.recursive,
            from_file=found.from_file,
            allow_outside=found.allow_outside,
            shard=found.shard,
            dry_run=found.dry_run,
            workers=doing.workers,
            batch_size=doing.batch_size,
            timeout_s=doing.timeout_s,
            overwrite=doing.overwrite,
            retry_failed=doing.retry_failed,
            fail_fast=doing.fail_fast,
            watch=doing.watch,
            cluster=doing.cluster,
            output_format=None if output_format is None else output_format.value,
            output=output,
        )
        code = score_dives(request, ahead)
    if code:
        raise typer.Exit(code)
