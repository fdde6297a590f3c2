"""``finecausal evaluate``: metrics on a dataset's held-out dives."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from finecausal_cli.cli import options as given
from finecausal_cli.cli.spread import spread

_VOTERS = "Voters"
_ABLATION = "Ablation"


class Exemplars(str, Enum):
    """Whom the dives are compared with."""

    TRAIN = "train"
    BANK = "bank"


class Split(str, Enum):
    """Which dives are scored."""

    TEST = "test"
    VAL = "val"
    ALL = "all"
    EVENTS = "events"


class By(str, Enum):
    """What a table of groups goes by."""

    NUMBER = "number"
    DIFFICULTY = "difficulty"


@spread
def evaluate(
    dataset: given.Dataset,
    layout: given.Layout,
    clips: given.Clips,
    weights: Annotated[
        str, typer.Option("--weights", help="Bundled weights by name, a folder, or a run: its best and last epoch.")
    ] = given.WEIGHTS_DEFAULT,
    split: Annotated[
        Split,
        typer.Option(help="Which dives to score; 'all' goes with --exemplars bank, 'events' leaves whole events out."),
    ] = Split.TEST,
    by: Annotated[
        By | None, typer.Option(help="Also print a table by number or difficulty.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for metrics.json, predictions.csv, figures and report.html.",
            show_default=False,
        ),
    ] = None,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="With -o: draw figures.")] = True,
    output_format: given.Format = given.OutputFormat.TABLE,
    exemplars: Annotated[
        Exemplars,
        typer.Option(
            help="Compare with the dataset's training dives, or with the weights' bank.", rich_help_panel=_VOTERS
        ),
    ] = Exemplars.TRAIN,
    voters: Annotated[
        int, typer.Option("--voters", min=1, help="Most exemplars to compare with.", rich_help_panel=_VOTERS)
    ] = 10,
    dive_given: Annotated[
        bool,
        typer.Option(
            "--dive-given/--no-dive",
            help="Choose voters by the dive's number, or as for a user who does not know it.",
            rich_help_panel=_VOTERS,
        ),
    ] = True,
    protocols: Annotated[
        bool,
        typer.Option(
            "--protocols",
            help="Also measure 1 and 10 voters, with and without the dive number.",
            rich_help_panel=_VOTERS,
        ),
    ] = False,
    shifted: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="The same dives with venue, light and audience drawn anew: show what that costs.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the order among voters.", rich_help_panel=_VOTERS)] = 0,
    ablate: Annotated[
        str | None,
        typer.Option(
            metavar="MODULES",
            help="Compare networks without gat, tca or gat,tca: the paper's Table 2.",
            rich_help_panel=_ABLATION,
            show_default=False,
        ),
    ] = None,
    variants: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the runs of 'train --ablate ...', any seeds and names.",
            rich_help_panel=_ABLATION,
            show_default=False,
        ),
    ] = None,
    device: given.Device = "auto",
) -> None:
    """Score a dataset's test dives and print the field's metrics, with the mean of each dive number beside them."""
    from finecausal_cli.assess.device import resolve_device
    from finecausal_cli.data.open import read_dataset
    from finecausal_cli.errors import UsageError
    from finecausal_cli.evaluation.ablation import evaluate_variants, find_variants, parse_variants
    from finecausal_cli.evaluation.outcome import PROTOCOLS
    from finecausal_cli.evaluation.run import evaluate as run_evaluation
    from finecausal_cli.evaluation.run import own_bank
    from finecausal_cli.evaluation.run_folder import weights_of_run
    from finecausal_cli.report.evaluation import EvaluationProgress
    from finecausal_cli.report.evaluation_files import deliver_ablation, deliver_evaluation, require_figures
    from finecausal_cli.weights.registry import resolve_weights

    if (ablate is None) != (variants is None):
        raise UsageError("--ablate and --variants go together", hint="--ablate gat,tca --variants FOLDER")
    if output is not None and figures:
        require_figures()
    bank = own_bank if exemplars is Exemplars.BANK else None
    with EvaluationProgress() as progress:
        options: dict[str, Any] = {
            "cache": clips.folder(),
            "read": partial(read_dataset, **layout.arguments()),
            "device": resolve_device(device),
            "split": split.value,
            "voters": voters,
            "dive_given": dive_given,
            "also": PROTOCOLS if protocols else (),
            "shifted": shifted,
            "seed": seed,
            "start": progress.start,
            "advance": progress.advance,
        }
        if ablate is not None and variants is not None:
            found = find_variants(variants, parse_variants(ablate))
            results = evaluate_variants(dataset, variants, found, bank=bank, watch=progress.name, **options)
        else:
            folders = list(weights_of_run(Path(weights)).values()) or [resolve_weights(weights)]
            evaluations = [run_evaluation(dataset, folder, bank=bank and bank(folder), **options) for folder in folders]
    if ablate is not None:
        deliver_ablation(results, output_format.value, output)
    else:
        deliver_evaluation(evaluations, output_format.value, output, by=by and by.value, figures=figures)
