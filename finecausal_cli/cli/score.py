"""``finecausal score``: one dive, its score and where it comes from."""

from __future__ import annotations

from finecausal_cli.cli import options as given


def score(
    path: given.Clip,
    dive: given.DiveNumber = None,
    height: given.Height = None,
    difficulty: given.Difficulty = None,
    exemplar: given.Exemplar = None,
    voters: given.Voters = 10,
    start: given.Start = None,
    end: given.End = None,
    weights: given.Weights = given.WEIGHTS_DEFAULT,
    bank: given.BankFolder = None,
    device: given.Device = "auto",
    precision: given.Precision = "auto",
    seed: given.Seed = 0,
    output_format: given.Format = given.OutputFormat.TABLE,
    output: given.Output = None,
) -> None:
    """Score a dive and show, stage by stage, where its points come from."""
    from finecausal_cli.assess.scorer import ScoreOptions, Scorer
    from finecausal_cli.report.deliver import deliver
    from finecausal_cli.report.progress import working
    from finecausal_cli.report.tables import print_assessment

    options = ScoreOptions(
        exemplar=exemplar,
        dive=dive,
        height_m=height,
        difficulty=difficulty,
        voters=voters,
        start_s=start,
        end_s=end,
        seed=seed,
        timeout_s=given.DECODE_LIMIT_S,
    )
    with working("scoring"):
        scorer = Scorer.load(weights, bank=bank, device=device, precision=precision)
        assessment = scorer.score(path, options)
    deliver(assessment, output_format.value, output, print_assessment)
