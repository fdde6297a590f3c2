"""``finecausal compare``: two dives against each other, stage by stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread

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


@spread
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A video file, or a folder of frames.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The dive to hold it against.", show_default=False)],
    pair: Pair,
    engine: given.Engine,
    html: given.Html = None,
    figures: given.Figures = None,
    output_format: given.Format = given.OutputFormat.TABLE,
    output: given.Output = None,
) -> None:
    """Hold dive A against dive B, stage by stage; B and A give the negated numbers.

    No absolute score, unless that of B is known: give --execution or --score, or --ask-bank.
    """
    from finecausal_cli.assess.compare import compare_dives
    from finecausal_cli.assess.comparison import CompareOptions
    from finecausal_cli.assess.scorer import Scorer
    from finecausal_cli.errors import RefusedError
    from finecausal_cli.report.comparison import print_comparison, reels_of, write_comparison_page
    from finecausal_cli.report.deliver import deliver
    from finecausal_cli.report.drawing import require_figures
    from finecausal_cli.report.progress import working
    from finecausal_cli.report.targets import check_targets
    from finecausal_cli.report.unscored import deliver_unscored

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
        from finecausal_cli.report.explanation_figures import write_side_by_side

        write_side_by_side(figures, reels_of(comparison, evidence))
    if html is not None and evidence is not None:
        write_comparison_page(html, comparison, evidence)
    deliver(comparison, output_format.value, output, print_comparison)
