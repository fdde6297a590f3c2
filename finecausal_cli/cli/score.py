"""The commands score, merge, explain and compare."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from finecausal_cli.cli.options import Clip, PageOptions, ResultOptions, Without
from finecausal_cli.config import OptionGroup, RuntimeConfig, option

if TYPE_CHECKING:
    from finecausal_cli.batch import BatchConfig, MeasureConfig
    from finecausal_cli.report import ServeOptions, VideoOptions
    from finecausal_cli.scoring import CompareOptions, ExplainOptions, ScoreOptions
    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.comparison_results import Comparison

logger = logging.getLogger(__name__)

# ``finecausal score``: one dive with the reasons for its score, or many, a line each.


def score(
    score: ScoreOptions,
    config: BatchConfig,
    runtime: RuntimeConfig,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Videos, folders of videos or of frames, patterns, manifests; - is standard input.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Score dives.

    One dive: stage by stage, where its points come from. Many: a line each,
    and a summary. A folder of videos is many dives, a folder of pictures is
    one. In a longer video the dive is found; a video without one is refused.
    """
    from finecausal_cli.report.score import reading_ahead

    is_alone = len(paths or ()) == 1 and config == type(config)(output_format=config.output_format)
    config = replace(config, paths=tuple(paths or ()), score=score, runtime=runtime)
    with reading_ahead(config.paths[0] if is_alone else "", asdict(config.options), runtime.weights) as ahead:
        from finecausal_cli.report.files import deliver_batch

        code = deliver_batch(config, ahead)
    if code:
        raise typer.Exit(code)


# ``finecausal merge``: the results of several machines, or of several days, as one.


def merge(
    output: Annotated[
        str, typer.Argument(metavar="OUT", help="A file (.jsonl, .csv, .parquet, .json, .html) or a folder.")
    ],
    results: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Folders of results, .jsonl of results, or tables of them.")
    ],
) -> None:
    """Join the results of several runs, such as the shares of --shard, one row a dive.

    Of two rows of one dive a score wins over a failure, then the later file. Rows already in OUT take part.
    """
    from finecausal_cli.report.files import merge_results

    merge_results(output, results)


# ``finecausal history``: the dives of an athlete over weeks, out of one file of results.


@dataclass(frozen=True)
class HistoryOptions(OptionGroup):
    """Whose dives are shown, and how."""

    diver: str | None = option(None, "Only this athlete, with every dive.", metavar="NAME")
    dive: str | None = option(None, "Only this dive number, e.g. 107B.")
    output_format: Literal["table", "json", "csv"] = option("table", "How to print the history.", flag="--format")


def history(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS",
            help="A .csv or .jsonl that score has written, or a folder of results.",
            show_default=False,
        ),
    ],
    options: HistoryOptions,
) -> None:
    """Show the dives of each athlete over time: marks, best, last, and a trend where there are enough.

    Score into one file over weeks: finecausal score week-23/ -o results.csv.
    A manifest says who dives when (columns diver and date); else the folder's
    name and the time of the file.
    """
    from finecausal_cli.diving import parse_dive_number
    from finecausal_cli.report.history import deliver_history

    dive = None if options.dive is None else str(parse_dive_number(options.dive))
    deliver_history(results, options.output_format, diver=options.diver, dive=dive)


# ``finecausal explain``: one dive, the reasons for its score, and what it would be if a stage were another.


@dataclass(frozen=True)
class OverlayOptions(PageOptions):
    """Further forms of an explanation."""

    overlay: Path | None = option(
        None, "Write the clip as MP4 with athlete, stages and points drawn on.", metavar="FILE"
    )


def explain(
    path: Clip,
    score: ScoreOptions,
    options: ExplainOptions,
    pages: OverlayOptions,
    target: ResultOptions,
    runtime: RuntimeConfig,
) -> None:
    """Explain the score of a dive: stages, interventions, and where the network looked."""
    from finecausal_cli.batch import TIMEOUT_S
    from finecausal_cli.report.score import reading_ahead
    from finecausal_cli.video.source import STANDARD_INPUT, is_standard_input, local_file

    given = STANDARD_INPUT if is_standard_input(path) else path
    path = local_file(path)
    score, started = replace(score, timeout_s=TIMEOUT_S), time.perf_counter()
    with reading_ahead(path, asdict(score), runtime.weights) as ahead:
        from finecausal_cli.errors import RefusedError
        from finecausal_cli.report.console import searching
        from finecausal_cli.report.explanation import print_explanation
        from finecausal_cli.report.output import check_targets, deliver, require_figures
        from finecausal_cli.report.overlay import overlay_clip
        from finecausal_cli.report.pages import write_page
        from finecausal_cli.report.score import deliver_unscored, store_corrections
        from finecausal_cli.scoring.results import Unscored
        from finecausal_cli.scoring.scorer import Scorer

        files = asdict(pages)
        check_targets([path], output=target.output, **files)
        if pages.figures is not None:
            require_figures("leave out --figures")
        try:
            with searching("explaining", ahead):
                explanation, evidence = Scorer.load(**asdict(runtime)).explain(path, score, options, ahead=ahead)
        except RefusedError as error:
            if isinstance(error.found, Unscored):
                store_corrections(path, score, error.found)
                error.found = error.found.renamed(path, given)
            raise typer.Exit(deliver_unscored(error, target.output_format, target.output, *files.values())) from None
        store_corrections(path, score)
        explanation = explanation.timed(time.perf_counter() - started)
    if pages.overlay is not None:
        overlay_clip(pages.overlay, explanation.assessment, evidence)
    if pages.figures is not None:
        from finecausal_cli.report.figures import write_explanation_figures

        write_explanation_figures(pages.figures, explanation, evidence)
    if pages.html is not None:
        write_page(pages.html, explanation, evidence, source=given, timeout_s=TIMEOUT_S)
    deliver(explanation.renamed(path, given), target.output_format, target.output, print_explanation)


# ``finecausal serve``: a page on this machine to drop videos on.


def serve(options: ServeOptions, runtime: RuntimeConfig) -> None:
    """Open a page on this machine to drop videos on: a queue, and the same results as score and explain.

    It listens to this machine alone unless --host names another address.
    Videos are deleted after scoring, results when it ends: Ctrl-C.
    """
    from finecausal_cli.report.console import working
    from finecausal_cli.report.server import is_loopback, run_server

    if not is_loopback(options.host):
        logger.warning(
            "warning: everybody who reaches %s can upload videos and see all results, without a password", options.host
        )
    with ExitStack() as stack:
        stack.enter_context(working("loading the weights"))

        def ready(url: str) -> None:
            stack.close()
            typer.echo(url)
            logger.warning("open %s in a browser; Ctrl-C ends it", url)

        code, has_ended = run_server(options, runtime, ready=ready)
    if not has_ended:  # a computation that cannot be interrupted; no file is left
        sys.stdout.flush()
        os._exit(code)
    raise typer.Exit(code)


# ``finecausal measure``: the physics of dives; nothing is judged.


def measure(
    dive: Annotated[ScoreOptions, Without("dive", "difficulty", "exemplar", "voters", "seed")],
    config: MeasureConfig,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLIP...",
            help="Videos, folders of videos or of frames, patterns, manifests; - is standard input.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure dives: times, rise, velocities, turns, opening, lean, entry, splash.

    Nothing that judges takes part. Every fact has its unit and its usual
    error; what a clip cannot tell has the reason. One dive is a table, many
    are a line each. --joints writes the body frame by frame.
    """
    from finecausal_cli.report.score import measuring_ahead

    config = replace(config, paths=tuple(paths or ()), dive=dive)
    alone = config.paths[0] if len(config.paths) == 1 and not config.all_dives and config.from_file is None else ""
    with measuring_ahead(alone, replace(config.options, timeout_s=config.timeout_s)) as ahead:
        from finecausal_cli.report.measurements import deliver_measured

        code = deliver_measured(config, ahead)
    if code:
        raise typer.Exit(code)


# ``finecausal compare``: two dives against each other, stage by stage.

_PICTURE_SIZE = 360
"""Short side, in pixels, of the pictures on a page and in a figure."""


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A video file, or a folder of frames.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The dive to compare it with.", show_default=False)],
    options: CompareOptions,
    pages: PageOptions,
    video: VideoOptions,
    target: ResultOptions,
    runtime: RuntimeConfig,
) -> None:
    """Compare two dives, A with B, stage by stage.

    The result is a difference. For a score of A, say how good B is: --execution, --score or --ask-bank.
    """
    from finecausal_cli.batch import TIMEOUT_S
    from finecausal_cli.report.score import reading_ahead
    from finecausal_cli.video.source import STANDARD_INPUT, is_standard_input, local_file

    given = {local_file(path): STANDARD_INPUT if is_standard_input(path) else path for path in (a, b)}
    a, b = (local_file(path) for path in (a, b))
    options = replace(options, tracks=video.video is not None, timeout_s=TIMEOUT_S)
    shared = {"timeout_s": TIMEOUT_S, "force": options.force}
    ranges = [
        {"start_s": start_s, "end_s": end_s, **shared}
        for start_s, end_s in (options.query_range_s, options.exemplar_range_s)
    ]
    with reading_ahead(a, ranges[0], runtime.weights) as first, reading_ahead(b, ranges[1], runtime.weights) as second:
        from finecausal_cli.errors import RefusedError
        from finecausal_cli.report.comparison import print_comparison
        from finecausal_cli.report.console import working
        from finecausal_cli.report.output import check_targets, deliver, require_figures
        from finecausal_cli.report.score import deliver_unscored
        from finecausal_cli.scoring.compare import compare_dives
        from finecausal_cli.scoring.results import Unscored
        from finecausal_cli.scoring.scorer import Scorer

        check_targets([a, b], output=target.output, video=video.video, **asdict(pages))
        if pages.figures is not None:
            require_figures("leave out --figures")
        if pages.html is not None or pages.figures is not None:
            options = replace(options, picture_size=_PICTURE_SIZE)
        try:
            with working("comparing"):
                scorer = Scorer.load(**asdict(runtime))
                comparison, evidence = compare_dives(scorer, a, b, options, ahead=(first, second))
        except RefusedError as error:
            for path, name in given.items():
                error.found = error.found.renamed(path, name) if isinstance(error.found, Unscored) else error.found
            raise typer.Exit(deliver_unscored(error, target.output_format, target.output)) from None
    if video.video is not None and evidence is not None:
        from finecausal_cli.report.console import file_name
        from finecausal_cli.report.side_by_side import side_by_side_clip

        titles = [file_name(given[path]) for path in (a, b)]
        side_by_side_clip(video.video, comparison, evidence, video, titles)
    for path, name in given.items():
        comparison = comparison.renamed(path, name)
    if evidence is not None:
        _write_pictures(comparison, evidence, pages)
    deliver(comparison, target.output_format, target.output, print_comparison)


def _write_pictures(comparison: Comparison, evidence: tuple[Evidence, Evidence], pages: PageOptions) -> None:
    from finecausal_cli.report.comparison import strips_of, write_comparison_page

    if pages.figures is not None:
        from finecausal_cli.report.figures import write_side_by_side

        write_side_by_side(pages.figures, strips_of(comparison, evidence))
    if pages.html is not None:
        write_comparison_page(pages.html, comparison, evidence)
