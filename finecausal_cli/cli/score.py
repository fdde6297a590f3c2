"""``finecausal score``: one dive, its score and where it comes from."""

from __future__ import annotations

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread


@spread
def score(
    path: given.Clip,
    asked: given.Asked,
    engine: given.Engine,
    output_format: given.Format = given.OutputFormat.TABLE,
    output: given.Output = None,
) -> None:
    """Score a dive and show, stage by stage, where its points come from."""
    from finecausal_cli.assess.scorer import ScoreOptions, Scorer
    from finecausal_cli.report.deliver import deliver
    from finecausal_cli.report.progress import working
    from finecausal_cli.report.tables import print_assessment
    from finecausal_cli.report.targets import check_targets

    check_targets([path], output=output)
    options = ScoreOptions(**asked.options())
    with working("scoring"):
        assessment = Scorer.load(**engine.arguments()).score(path, options)
    deliver(assessment, output_format.value, output, print_assessment)
