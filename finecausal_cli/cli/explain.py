"""``finecausal explain``: one dive, the reasons for its score, and what it would be if a stage were another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread


@spread
def explain(
    path: given.Clip,
    asked: given.Asked,
    engine: given.Engine,
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
    from finecausal_cli.report.ahead import reading_ahead

    with reading_ahead(path, asked.options(), engine.weights) as ahead:
        from finecausal_cli.assess.explanation import ExplainOptions
        from finecausal_cli.assess.score_options import ScoreOptions
        from finecausal_cli.assess.scorer import Scorer
        from finecausal_cli.errors import RefusedError
        from finecausal_cli.report.deliver import deliver
        from finecausal_cli.report.drawing import require_figures
        from finecausal_cli.report.explanation import print_explanation
        from finecausal_cli.report.explanation_page import write_page
        from finecausal_cli.report.overlay import overlay_clip
        from finecausal_cli.report.progress import searching
        from finecausal_cli.report.targets import check_targets
        from finecausal_cli.report.unscored import deliver_unscored, keep

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
        from finecausal_cli.report.explanation_figures import write_figures

        write_figures(figures, explanation, evidence)
    if html is not None:
        write_page(html, explanation, evidence, overlay=overlay)
    deliver(explanation, output_format.value, output, print_explanation)
