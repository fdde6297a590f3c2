"""Score many dives from a program: what ``finecausal score`` does with a folder, without the screen."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from finecausal_cli.assess.batch.identity import Setting
from finecausal_cli.assess.batch.inputs import find_inputs
from finecausal_cli.assess.batch.journal import Journal, read_rows
from finecausal_cli.assess.batch.pipeline import PipelineOptions, score_jobs
from finecausal_cli.assess.batch.run import Tally, plan_batch, run_batch
from finecausal_cli.assess.score_options import ScoreOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from finecausal_cli.assess.batch.row import Row
    from finecausal_cli.assess.scorer import Scorer


def score_many(
    scorer: Scorer,
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    options: ScoreOptions | None = None,
    *,
    recursive: bool = False,
    results: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    pipeline: PipelineOptions | None = None,
    on_row: Callable[[Row], object] = lambda _: None,
) -> list[Row]:
    """Score videos, folders of them, patterns or manifests; one row a dive, in the order of the inputs.

    A clip that cannot be scored is a row with ``error_kind`` and ``error``; it stops nothing.

    Args:
        scorer: Judges.
        paths: One or several.
        options: How to score; a manifest may say more of each dive. Where the model looked is left out.
        recursive: Look into the folders of folders too.
        results: A ``.jsonl`` to which rows are added as they come. A call that names it again scores only what is
            missing: what is there is known by the content of the file, the weights, the bank and the options.
        retry_failed: Try again what failed.
        pipeline: How to use this machine.
        on_row: Told of every new row as it comes, with the whole verdict in ``row.assessment``.

    Returns:
        The rows, without their verdicts.

    Raises:
        UsageError: There is nothing to score.
        DatasetError: A manifest cannot be read, or ``results`` is something else.
        OutputError: ``results`` cannot be written, or another run writes to it.
    """
    named = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    # Attention is for one dive that somebody looks at; a row does not show it.
    rowwise = replace(options or ScoreOptions(), attention=False)
    inputs = find_inputs([os.fspath(path) for path in named], rowwise, recursive=recursive)
    tally = Tally()
    with ExitStack() as stack:
        journal = None if results is None else stack.enter_context(Journal(Path(results)))
        known = () if journal is None else read_rows(journal.path)
        plan = plan_batch(inputs.items, Setting.of(scorer), known, retry_failed=retry_failed)
        run_batch(plan, lambda jobs: score_jobs(scorer, jobs, pipeline), tally, journal=journal, on_row=on_row)
    return tally.rows
