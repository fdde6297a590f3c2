"""The commands score, merge, explain and compare."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.options import options_from_fields

# ``finecausal score``: one dive with the reasons for its score, or many, a line each.


class RowFormat(str, Enum):
    """How to print verdicts."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True)
class InputArgs:
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
class BatchArgs:
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


@options_from_fields
def score(
    asked: given.QueryArgs,
    found: InputArgs,
    doing: BatchArgs,
    engine: given.RuntimeArgs,
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
        str | None,
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
    from finecausal_cli.batch import BatchConfig
    from finecausal_cli.config import RuntimeConfig
    from finecausal_cli.report.score import reading_ahead
    from finecausal_cli.scoring import ScoreOptions

    config = BatchConfig(
        paths=tuple(paths or ()),
        score=ScoreOptions(**asked.options()),
        runtime=RuntimeConfig(**engine.arguments()),
        output_format=None if output_format is None else output_format.value,
        output=output,
        **asdict(found),
        **asdict(doing),
    )
    is_alone = len(config.paths) == 1 and (found, doing) == (InputArgs(), BatchArgs()) and output is None
    with reading_ahead(config.paths[0] if is_alone else "", asdict(config.options), engine.weights) as ahead:
        from finecausal_cli.report.files import deliver_batch

        code = deliver_batch(config, ahead)
    if code:
        raise typer.Exit(code)


# ``finecausal merge``: the results of several machines, or of several days, as one.


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
    from finecausal_cli.report.files import merge_results

    merge_results(output, results)


# ``finecausal explain``: one dive, the reasons for its score, and what it would be if a stage were another.


@options_from_fields
def explain(
    path: given.Clip,
    asked: given.QueryArgs,
    engine: given.RuntimeArgs,
    layer: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Graph layer whose attention is told, not the mean.")
    ] = None,
    head: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Graph head whose attention is told, not the mean.")
    ] = None,
    no_backgrounds: Annotated[
        bool, typer.Option("--no-backgrounds", help="Leave out the other backgrounds: faster.")
    ] = False,
    html: given.Html = None,
    figures: given.Figures = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the clip as MP4 with athlete, stages and points drawn on.",
            show_default=False,
        ),
    ] = None,
    output_format: given.Format = given.OutputFormat.TABLE,
    output: given.Output = None,
) -> None:
    """Explain the score of a dive: stages, interventions, and where the model looked."""
    from finecausal_cli.report.score import reading_ahead

    with reading_ahead(path, asked.options(), engine.weights) as ahead:
        from finecausal_cli.errors import RefusedError
        from finecausal_cli.report.console import searching
        from finecausal_cli.report.explanation import print_explanation
        from finecausal_cli.report.output import check_targets, deliver, require_figures
        from finecausal_cli.report.overlay import overlay_clip
        from finecausal_cli.report.pages import write_page
        from finecausal_cli.report.score import deliver_unscored, keep
        from finecausal_cli.scoring import ScoreOptions
        from finecausal_cli.scoring.results import ExplainOptions
        from finecausal_cli.scoring.scorer import Scorer

        check_targets([path], output=output, html=html, figures=figures, overlay=overlay)
        if figures is not None:
            require_figures("leave out --figures")
        options = ScoreOptions(**asked.options())
        what = ExplainOptions(layer=layer, head=head, backgrounds=not no_backgrounds)
        keep(path, options)
        try:
            with searching("explaining", ahead):
                explanation, evidence = Scorer.load(**engine.arguments()).explain(path, options, what, ahead=ahead)
        except RefusedError as error:
            raise typer.Exit(deliver_unscored(error, output_format.value, output, html, figures, overlay)) from None
    if overlay is not None:
        overlay_clip(overlay, explanation.assessment, evidence)
    if figures is not None:
        from finecausal_cli.report.figures import write_explanation_figures

        write_explanation_figures(figures, explanation, evidence)
    if html is not None:
        write_page(html, explanation, evidence, overlay=overlay)
    deliver(explanation, output_format.value, output, print_explanation)


# ``finecausal compare``: two dives against each other, stage by stage.

_PICTURE_SIZE = 360
"""Short side, in pixels, of the pictures on a page and in a figure."""


@dataclass(frozen=True)
class Pair:
    """What is known of the two dives; fields are those of ``CompareOptions`` but for the times."""

    panel: ClassVar[str] = "The dives"

    dive: Annotated[str | None, typer.Option(help="Dive number of both, e.g. 107B.")] = None
    height_m: given.Height = None
    difficulty: Annotated[float | None, typer.Option(help="Degree of difficulty of both; without it, no points.")] = (
        None
    )
    execution: Annotated[float | None, typer.Option(help="Execution of B as judged, 0 to 30 (score / difficulty).")] = (
        None
    )
    score: Annotated[float | None, typer.Option(help="Score of B as judged, points.")] = None
    ask_bank: Annotated[bool, typer.Option("--ask-bank", help="Let the bank's exemplars judge B.")] = False
    voters: Annotated[int, typer.Option(min=1, help="Most exemplars for --ask-bank.")] = 10
    start_s: Annotated[float | None, typer.Option("--start", help="Where A starts in its video, seconds.")] = None
    end_s: Annotated[float | None, typer.Option("--end", help="Where A ends in its video, seconds.")] = None
    b_start_s: Annotated[float | None, typer.Option("--b-start", help="Where B starts in its video, seconds.")] = None
    b_end_s: Annotated[float | None, typer.Option("--b-end", help="Where B ends in its video, seconds.")] = None
    force: given.Force = False
    seed: given.Seed = 0

    def options(self) -> dict[str, Any]:
        """Return the arguments of ``CompareOptions``."""
        known = asdict(self)
        known["query_range_s"] = known.pop("start_s"), known.pop("end_s")
        known["exemplar_range_s"] = known.pop("b_start_s"), known.pop("b_end_s")
        return {**known, "timeout_s": given.DECODE_LIMIT_S}


@options_from_fields
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A video file, or a folder of frames.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The dive to hold it against.", show_default=False)],
    pair: Pair,
    engine: given.RuntimeArgs,
    html: given.Html = None,
    figures: given.Figures = None,
    output_format: given.Format = given.OutputFormat.TABLE,
    output: given.Output = None,
) -> None:
    """Hold dive A against dive B, stage by stage; B and A give the negated numbers.

    No absolute score, unless that of B is known: give --execution or --score, or --ask-bank.
    """
    from finecausal_cli.errors import RefusedError
    from finecausal_cli.report.comparison import print_comparison, strips_of, write_comparison_page
    from finecausal_cli.report.console import working
    from finecausal_cli.report.output import check_targets, deliver, require_figures
    from finecausal_cli.report.score import deliver_unscored
    from finecausal_cli.scoring.compare import compare_dives
    from finecausal_cli.scoring.results import CompareOptions
    from finecausal_cli.scoring.scorer import Scorer

    check_targets([a, b], output=output, html=html, figures=figures)
    if figures is not None:
        require_figures("leave out --figures")
    wants_pictures = html is not None or figures is not None
    options = CompareOptions(**pair.options(), picture_size=_PICTURE_SIZE if wants_pictures else None)
    try:
        with working("comparing"):
            comparison, evidence = compare_dives(Scorer.load(**engine.arguments()), a, b, options)
    except RefusedError as error:
        raise typer.Exit(deliver_unscored(error, output_format.value, output)) from None
    if figures is not None and evidence is not None:
        from finecausal_cli.report.figures import write_side_by_side

        write_side_by_side(figures, strips_of(comparison, evidence))
    if html is not None and evidence is not None:
        write_comparison_page(html, comparison, evidence)
    deliver(comparison, output_format.value, output, print_comparison)
