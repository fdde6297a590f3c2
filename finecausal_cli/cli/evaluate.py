"""``finecausal evaluate``: metrics on a dataset's held-out dives."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from finecausal_cli.cli import options as given


class Exemplars(str, Enum):
    """Whom the dives are compared with."""

    TRAIN = "train"
    BANK = "bank"


class Split(str, Enum):
    """Which dives are scored."""

    TEST = "test"
    VAL = "val"
    ALL = "all"


def evaluate(
    dataset: given.Dataset,
    weights: given.Weights = given.WEIGHTS_DEFAULT,
    exemplars: Annotated[
        Exemplars, typer.Option(help="Compare with the dataset's training dives, or with the weights' bank.")
    ] = Exemplars.TRAIN,
    split: Annotated[Split, typer.Option(help="Which dives to score; 'all' goes with --exemplars bank.")] = Split.TEST,
    voters: given.Voters = 10,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for metrics.json and predictions.csv.")
    ] = None,
    output_format: given.Format = given.OutputFormat.TABLE,
    seed: given.Seed = 0,
    device: given.Device = "auto",
    cache: given.Cache = None,
) -> None:
    """Score a dataset's test dives and print the field's metrics, with the mean of each dive number beside them."""
    from finecausal_cli.assess.device import resolve_device
    from finecausal_cli.data.places import default_cache
    from finecausal_cli.evaluation.run import evaluate as run_evaluation
    from finecausal_cli.evaluation.run import write_evaluation
    from finecausal_cli.exemplars.bank import load_bank
    from finecausal_cli.report.evaluation import EvaluationProgress, evaluation_json, print_evaluation
    from finecausal_cli.report.terminal import open_console
    from finecausal_cli.weights.registry import bank_folder, resolve_weights

    folder = resolve_weights(weights)
    with EvaluationProgress() as progress:
        evaluation = run_evaluation(
            dataset,
            folder,
            cache=cache or default_cache(),
            device=resolve_device(device),
            bank=(lambda digest: load_bank(bank_folder(folder), weights_digest=digest))
            if exemplars is Exemplars.BANK
            else None,
            split=split.value,
            voters=voters,
            seed=seed,
            start=progress.start,
            advance=progress.advance,
        )
    if output is not None:
        write_evaluation(output, evaluation)
    if output_format is given.OutputFormat.JSON:
        typer.echo(evaluation_json(evaluation))
    else:
        print_evaluation(evaluation, open_console())
