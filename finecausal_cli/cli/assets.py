"""The commands weights, exemplars, schema, doctor and dive."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from finecausal_cli.cli.options import (
    CacheOptions,
    Dataset,
    DeviceOptions,
    FormatOptions,
    OutputFormat,
    Said,
    Weights,
    Without,
    add_command,
)
from finecausal_cli.config import DEFAULT_WEIGHTS, REQUIRED, OptionGroup, RuntimeConfig, option
from finecausal_cli.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.progress import Progress, TaskID

    from finecausal_cli.data import LayoutOptions
    from finecausal_cli.retrieval import BankOptions, JudgedOptions
    from finecausal_cli.retrieval.calibration import LeaveOneOut
    from finecausal_cli.retrieval.own_bank import OwnBank
    from finecausal_cli.scoring import ScoreOptions
    from finecausal_cli.scoring.judged_dives import JudgedRow
    from finecausal_cli.scoring.scorer import Scorer
    from finecausal_cli.training import ClassifierOptions, EndOptions, EndPart, ReaderOptions, SkeletonOptions


logger = logging.getLogger(__name__)

# ``finecausal weights``: what there is, what it is, whether it is whole; the hub; foreign checkpoints.

weights_app = typer.Typer(help="List, describe, verify, fetch, convert and train weights.", no_args_is_help=True)


@weights_app.command("list")
def list_weights() -> None:
    """List the bundled weights, and those that were fetched from a hub."""
    from finecausal_cli.report.assets import print_weights_list
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights import read_manifest
    from finecausal_cli.weights.hub import list_bundled, list_fetched

    weights = {**list_bundled(), **list_fetched()}
    print_weights_list({name: read_manifest(folder) for name, folder in weights.items()}, open_console())


@weights_app.command()
def info(
    weights: Weights = DEFAULT_WEIGHTS,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is stored, as JSON.")] = False,
) -> None:
    """Say what weights are, where they come from and what they know."""
    from finecausal_cli.report.assets import print_weights
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights import read_manifest
    from finecausal_cli.weights.hub import resolve_weights

    folder = resolve_weights(weights)
    manifest = read_manifest(folder)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        print_weights(folder, manifest, open_console())


@weights_app.command()
def verify(weights: Weights = DEFAULT_WEIGHTS) -> None:
    """Read weights completely and refuse anything missing, damaged or not finite."""
    from finecausal_cli.report.assets import print_verified
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights.hub import resolve_weights
    from finecausal_cli.weights.store import load_weights

    folder = resolve_weights(weights)
    print_verified(folder, load_weights(folder), open_console())


@weights_app.command()
def pull(
    weights: Annotated[str, typer.Argument(metavar="hf://OWNER/REPO@REVISION", help="Weights on the hub.")],
) -> None:
    """Fetch weights from the hub, check them and keep them: at a commit, at a tag, or at what a branch is now."""
    from finecausal_cli.report.assets import print_weights
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights import read_manifest
    from finecausal_cli.weights.hub import pull as pull_weights

    folder = pull_weights(weights)
    print_weights(folder, read_manifest(folder), open_console())


@dataclass(frozen=True)
class ClassifierRunOptions(OptionGroup):
    """Where the classifier goes, and the weights that it is added to."""

    output: Path = option(REQUIRED, "Folder to write.", flag="-o,--output")
    weights: str = option(
        DEFAULT_WEIGHTS, "Weights whose backbone reads single frames, as that of compact does.", is_path=True
    )


def recogniser(
    dataset: Dataset,
    run: ClassifierRunOptions,
    options: ClassifierOptions,
    cache: Annotated[CacheOptions, Without("no_cache")],
    computing: DeviceOptions,
) -> None:
    """Train a classifier of dive numbers and add it to weights, whose scores stay the same.

    Encode their exemplars again afterwards: finecausal exemplars build
    """
    from finecausal_cli.device import resolve_device
    from finecausal_cli.report.assets import print_recognition
    from finecausal_cli.report.console import error_console, progress_bar
    from finecausal_cli.training.dive_classifier import train_dive_classifier
    from finecausal_cli.weights.hub import resolve_weights

    with progress_bar() as bar:
        task = bar.add_task("encoding dives, then training", total=None)
        accuracy = train_dive_classifier(
            resolve_weights(run.weights),
            dataset,
            run.output,
            cache=cache.folder,
            device=resolve_device(computing.device),
            options=options,
            total=lambda count: bar.update(task, total=count),
            advance=lambda: bar.advance(task),
        )
    print_recognition(accuracy, error_console())
    typer.echo(run.output)


add_command(weights_app, recogniser)


def skeleton(options: SkeletonOptions) -> None:
    """Train a network that judges the athlete's body, on simulated bodies and films; a stopped run continues."""
    from finecausal_cli.device import resolve_device
    from finecausal_cli.report.console import progress_bar
    from finecausal_cli.scoring.scorer import load_reader
    from finecausal_cli.training.skeleton import train_skeleton
    from finecausal_cli.training.trainer import Callbacks

    device = resolve_device(options.device)
    athlete_reader = load_reader(device)
    if athlete_reader is None:
        raise WeightsError("the athlete reader's weights are missing", hint="install the package again")
    with progress_bar() as bar:
        reading = bar.add_task("reading films", total=None)
        training = bar.add_task("training", total=None)
        folder = train_skeleton(
            options,
            athlete_reader,
            device,
            callbacks=Callbacks(
                data=lambda bodies, films, steps: bar.update(training, total=steps),  # noqa: ARG005
                step=lambda progress, losses: bar.update(training, completed=progress.step),  # noqa: ARG005
            ),
            read=lambda: bar.advance(reading),
        )
    typer.echo(folder)


add_command(weights_app, skeleton)


def reader(options: ReaderOptions) -> None:
    """Train the athlete reader (outline, joints, motion) on simulated clips; a stopped run continues."""
    from finecausal_cli.report.console import progress_bar
    from finecausal_cli.training.athlete_reader import train_athlete_reader

    with progress_bar() as bar:
        written = train_athlete_reader(options, _phases(bar))
    typer.echo(written)


def _phases(bar: Progress) -> Callable[[str, int, int, Mapping[str, float]], None]:
    """Return a callback that shows each phase of a run as a row of a progress bar."""
    tasks: dict[str, TaskID] = {}

    def show(phase: str, done: int, of: int, figures: Mapping[str, float]) -> None:
        if phase not in tasks:
            tasks[phase] = bar.add_task(phase, total=of)
        loss = f"  loss {figures['total']:.3f}" if "total" in figures else ""
        bar.update(tasks[phase], completed=done, total=of, description=phase + loss)

    return show


add_command(weights_app, reader)


def splash(options: EndOptions) -> None:
    """Train the network that sizes splashes on simulated entries, and add it to an athlete reader.

    A stopped run continues.
    """
    _train_end("splash", options)


def takeoff(options: EndOptions) -> None:
    """Train the network that tells when the body leaves the board, and its lean, and add it to an athlete reader.

    A stopped run continues.
    """
    _train_end("takeoff", options)


def contact(options: EndOptions) -> None:
    """Train the network that tells when the body touches the water, and its lean, and add it to an athlete reader.

    A stopped run continues.
    """
    _train_end("contact", options)


def _train_end(what: EndPart, options: EndOptions) -> None:
    from finecausal_cli.report.console import progress_bar
    from finecausal_cli.training.ends import train_end

    with progress_bar() as bar:
        written = train_end(what, options, _phases(bar))
    typer.echo(written)


add_command(weights_app, takeoff)
add_command(weights_app, contact)
add_command(weights_app, splash)


@weights_app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth file of the released code; none of its code is run.")],
    output: Annotated[Path, typer.Argument(help="Folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace weights that are there.")] = False,
) -> None:
    """Convert a checkpoint of the released code to weights of the reference preset."""
    from finecausal_cli.report.assets import print_weights
    from finecausal_cli.report.console import open_console
    from finecausal_cli.weights import read_manifest
    from finecausal_cli.weights.convert import convert_checkpoint

    convert_checkpoint(checkpoint, output, overwrite=overwrite)
    print_weights(output, read_manifest(output), open_console())


# ``finecausal exemplars``: the bank that dives are compared with.

exemplars_app = typer.Typer(
    help="The exemplars that dives are compared with: list and build them, add judged dives of your own.",
    no_args_is_help=True,
)


@dataclass(frozen=True)
class ListOptions(OptionGroup):
    """Which exemplars are listed."""

    dive: str | None = option(None, "Only the exemplars of this dive number, e.g. 107B.")


def list_exemplars(options: ListOptions, runtime: Annotated[RuntimeConfig, Without("precision", "calibrate")]) -> None:
    """List the exemplars of a bank; of one of your own also how well the others predict each."""
    from finecausal_cli.diving import parse_dive_number
    from finecausal_cli.report.assets import print_beside, print_exemplars, print_leave_one_out
    from finecausal_cli.report.console import open_console
    from finecausal_cli.retrieval.bank import read_index
    from finecausal_cli.weights.hub import resolve_weights

    number = None if options.dive is None else str(parse_dive_number(options.dive))
    console = open_console()
    for name, folder in _banks(runtime):
        index = read_index(folder)
        judged = None
        if any(each.clip is not None for each in index.exemplars):
            judged = _judge_own(resolve_weights(runtime.weights), name, folder, runtime.device)
        print_exemplars(index, name, number, console, judged[-1] if judged else None)
        if judged:
            print_leave_one_out(judged, console)
    for name, folder in _own_bank(runtime):
        print_beside(read_index(folder), name, number, console)


def show(
    exemplar: Annotated[str, typer.Argument(help="Identifier, as listed.")],
    runtime: Annotated[RuntimeConfig, Without("device", "precision", "calibrate")],
) -> None:
    """Show one exemplar of the bundled bank or of your own one, mine, unless --bank names another."""
    from finecausal_cli.report.assets import print_exemplar
    from finecausal_cli.report.console import open_console
    from finecausal_cli.retrieval.bank import read_index

    banks = _banks(runtime)
    indices = [(read_index(folder), name, folder) for name, folder in (*banks, *_own_bank(runtime))]
    found = (each for each in indices if any(one.id == exemplar for one in each[0].exemplars))
    index, name, folder = next(found, indices[len(banks) - 1])
    print_exemplar(index.find(exemplar, name), folder, open_console())


def _banks(runtime: RuntimeConfig) -> tuple[tuple[str, Path], ...]:
    from finecausal_cli.retrieval.own_bank import require_bank, resolve_banks
    from finecausal_cli.weights.hub import resolve_weights

    banks = resolve_banks(runtime.bank, resolve_weights(runtime.weights))
    for name, folder in banks:
        require_bank(name, folder)
    return banks


def _own_bank(runtime: RuntimeConfig) -> tuple[tuple[str, Path], ...]:
    """Return the bank of one's own that is looked into, too, where none is named and there is one."""
    from finecausal_cli.retrieval import OWN_BANK
    from finecausal_cli.retrieval.own_bank import list_own_banks

    own = list_own_banks()
    return ((OWN_BANK, own[OWN_BANK]),) if runtime.bank is None and OWN_BANK in own else ()


def _judge_own(weights: Path, name: str, folder: Path, device: str) -> list[LeaveOneOut]:
    """Predict the exemplars of a bank of one's own: alone and, where the weights have a bank, with that; best last.

    Empty, with a note, where other weights encoded it.
    """
    from finecausal_cli.device import resolve_device
    from finecausal_cli.errors import BankError
    from finecausal_cli.retrieval import BUNDLED
    from finecausal_cli.retrieval.bank import INDEX_NAME
    from finecausal_cli.retrieval.own_bank import leave_one_out, load_banks
    from finecausal_cli.weights.hub import bank_folder
    from finecausal_cli.weights.store import load_weights

    resolved = resolve_device(device)
    loaded = load_weights(weights, device=resolved)
    model, bundled = loaded.model.for_inference(), bank_folder(weights)
    chosen: list[tuple[tuple[str, Path], ...]] = [((name, folder),)]
    if (bundled / INDEX_NAME).is_file():
        chosen.append(((name, folder), (BUNDLED, bundled)))
    try:
        banks = [load_banks(each, weights_digest=loaded.digest) for each in chosen]
    except BankError as error:
        logger.warning("note: %s", error)
        return []
    judged = [leave_one_out(model, bank, device=resolved) for bank in banks]
    return [each for each in judged if each is not None]


_OF_ONE_BANK = Said(bank="The bank of your own: mine (default), another name, or a folder.")

KeptClip = Annotated[
    str,
    typer.Argument(metavar="PATH", help="A video file or a folder of frames; it is read again.", show_default=False),
]


def add(
    clip: KeptClip,
    dive: Annotated[
        ScoreOptions, Without("exemplar", "voters", "seed"), Said(dive="Dive number, e.g. 107B; it must be given.")
    ],
    judged: JudgedOptions,
    runtime: Annotated[RuntimeConfig, Without("calibrate"), _OF_ONE_BANK],
) -> None:
    """Add a judged dive to a bank of your own, mine unless --bank names another; then score with --bank mine+bundled.

    The clip is searched, read and refused as by score. The same part of the same video is replaced.
    """
    from finecausal_cli.batch import TIMEOUT_S
    from finecausal_cli.report.assets import print_added, print_leave_one_out
    from finecausal_cli.report.console import open_console, working
    from finecausal_cli.report.score import store_corrections
    from finecausal_cli.retrieval.own_bank import OwnBank
    from finecausal_cli.scoring.judged_dives import JudgedLabels, add_exemplar
    from finecausal_cli.weights.hub import resolve_weights

    if clip == "-":
        what = "standard input cannot be an exemplar: its video is read again when other weights encode it"
        raise UsageError(what, where="PATH", hint="save it to a file and name that")
    JudgedLabels.of(dive, judged)  # refuses before anything that takes long
    bank = OwnBank.open(runtime.bank)
    with working("reading the dive"):
        scorer = _encoder(runtime)
        bank.require_weights(scorer.weights[1])
        row = add_exemplar(scorer, bank, clip, replace(dive, timeout_s=TIMEOUT_S), judged)
        store_corrections(clip, dive)
    print_added(row, bank, open_console())
    print_leave_one_out(
        _judge_own(resolve_weights(runtime.weights), bank.name, bank.folder, runtime.device), open_console()
    )


def remove(
    exemplar: Annotated[str, typer.Argument(help="Identifier, as listed.")],
    runtime: Annotated[RuntimeConfig, Without("weights", "device", "precision", "calibrate"), _OF_ONE_BANK],
) -> None:
    """Remove an exemplar from a bank of your own, mine unless --bank names another. Its video stays where it is."""
    from finecausal_cli.retrieval.own_bank import OwnBank

    bank = OwnBank.open(runtime.bank)
    removed = bank.remove(exemplar)
    typer.echo(f"{removed.id} is no longer in {bank.name}")


@dataclass(frozen=True)
class ImportReport(OptionGroup):
    """What becomes of the rows of an import or rebuild."""

    output: Path | None = option(None, "Write what became of each dive as CSV.", flag="-o,--output", metavar="FILE")


def import_manifest(
    manifest: Dataset,
    target: ImportReport,
    layout: Annotated[LayoutOptions, Without("annotations", "frames")],
    runtime: Annotated[RuntimeConfig, Without("calibrate"), _OF_ONE_BANK],
) -> None:
    """Add every judged dive of a manifest to a bank of your own; run it again to go on after a stop."""
    from finecausal_cli.batch import TIMEOUT_S
    from finecausal_cli.retrieval.own_bank import OwnBank
    from finecausal_cli.scoring.judged_dives import import_exemplars

    bank = OwnBank.open(runtime.bank)
    scorer = _encoder(runtime)

    def rows(total: Callable[[int], object]) -> Iterator[JudgedRow]:
        return import_exemplars(
            scorer, bank, manifest, allow_outside=layout.allow_outside, timeout_s=TIMEOUT_S, total=total
        )

    _run(rows, "reading dives", bank, target.output, runtime)


@dataclass(frozen=True)
class RebuildOptions(ImportReport):
    """How a bank is encoded again."""

    clips: Path | None = option(None, "Look here for videos that have moved, by their names.", metavar="FOLDER")


def rebuild(options: RebuildOptions, runtime: Annotated[RuntimeConfig, Without("calibrate"), _OF_ONE_BANK]) -> None:
    """Encode the exemplars of a bank of your own with other weights; run it again to go on after a stop."""
    from finecausal_cli.batch import TIMEOUT_S
    from finecausal_cli.retrieval.own_bank import OwnBank
    from finecausal_cli.scoring.judged_dives import rebuild_bank

    bank = OwnBank.open(runtime.bank)
    _ = bank.index  # refuses before the weights are loaded
    scorer = _encoder(runtime)

    def rows(total: Callable[[int], object]) -> Iterator[JudgedRow]:
        return rebuild_bank(scorer, bank, clips=options.clips, timeout_s=TIMEOUT_S, total=total)

    _run(rows, "encoding exemplars", bank, options.output, runtime)


def _encoder(runtime: RuntimeConfig) -> Scorer:
    """Load what locates and encodes dives; nobody votes."""
    from finecausal_cli.scoring.scorer import Scorer

    return Scorer.load(runtime.weights, bank=(), device=runtime.device, precision=runtime.precision)


def _run(
    rows: Callable[[Callable[[int], object]], Iterator[JudgedRow]],
    what: str,
    bank: OwnBank,
    output: Path | None,
    runtime: RuntimeConfig,
) -> None:
    """Change a bank dive by dive, and report on every dive, also on those before an interruption."""
    from finecausal_cli.report.assets import print_judged_rows, print_leave_one_out, write_judged_rows
    from finecausal_cli.report.console import open_console, progress_bar
    from finecausal_cli.weights.hub import resolve_weights

    done: list[JudgedRow] = []
    try:
        with progress_bar() as bar:
            task = bar.add_task(what, total=None)
            for row in rows(lambda count: bar.update(task, total=count)):
                done.append(row)
                bar.advance(task)
    finally:
        if output is not None:
            write_judged_rows(output, done)
        print_judged_rows(done, bank.name, open_console())
    if bank.exists:
        judged = _judge_own(resolve_weights(runtime.weights), bank.name, bank.folder, runtime.device)
        print_leave_one_out(judged, open_console())
    if any(row.outcome in ("refused", "failed") for row in done):
        raise typer.Exit(1)


@dataclass(frozen=True)
class BankOutput(OptionGroup):
    """Where a bank goes."""

    output: Path | None = option(None, "Folder of the bank; inside the weights by default.", flag="-o,--output")


def build(
    dataset: Dataset,
    target: BankOutput,
    options: BankOptions,
    layout: LayoutOptions,
    cache: CacheOptions,
    runtime: Annotated[RuntimeConfig, Without("bank", "precision", "calibrate")],
) -> None:
    """Build a bank from a dataset's training dives, spread over the range of execution."""
    from finecausal_cli.data.datasets import assign_splits, read_dataset
    from finecausal_cli.device import resolve_device
    from finecausal_cli.report.console import progress_bar
    from finecausal_cli.retrieval.bank import build_bank
    from finecausal_cli.scoring.tracks import inputs_for
    from finecausal_cli.weights.hub import bank_folder, resolve_weights
    from finecausal_cli.weights.store import load_weights

    folder = resolve_weights(runtime.weights)
    loaded = load_weights(folder, device=resolve_device(runtime.device))
    scored = [dive for dive in read_dataset(dataset, **layout.arguments()) if dive.score is not None]
    clips = inputs_for(loaded.model, cache.folder)
    with progress_bar() as bar:
        task = bar.add_task("encoding exemplars", total=None)
        bank = build_bank(
            [dive for dive in assign_splits(scored) if dive.split == "train"],
            target.output or bank_folder(folder),
            options,
            model=loaded.model,
            weights_digest=loaded.digest,
            cache=clips,
            total=lambda count: bar.update(task, total=count),
            advance=lambda: bar.advance(task),
        )
    typer.echo(f"{len(bank.exemplars)} exemplars of {len({each.dive for each in bank.exemplars})} dive numbers")


add_command(exemplars_app, list_exemplars, name="list")
add_command(exemplars_app, show)
add_command(exemplars_app, build)
add_command(exemplars_app, add)
add_command(exemplars_app, remove)
add_command(exemplars_app, import_manifest, name="import")
add_command(exemplars_app, rebuild)


# ``finecausal schema``: the published schemas of the JSON output.


def schema(
    result: Annotated[
        Literal["score", "explain", "compare", "measure", "row", "unscored", "history"],
        typer.Argument(
            metavar="COMMAND",
            help="score, explain, compare, measure or history; row for a line of many; unscored without points.",
        ),
    ] = "score",
) -> None:
    """Print the JSON Schema of a command's --format json, or of a row of score with many dives."""
    from finecausal_cli.report.history import history_schema
    from finecausal_cli.report.output import (
        assessment_schema,
        comparison_schema,
        explanation_schema,
        measured_schema,
        row_schema,
        unscored_schema,
    )

    schemas = {
        "score": assessment_schema,
        "explain": explanation_schema,
        "compare": comparison_schema,
        "measure": measured_schema,
        "row": row_schema,
        "unscored": unscored_schema,
        "history": history_schema,
    }
    typer.echo(schemas[result]())


# ``finecausal doctor``: is everything here that scoring needs, and does it give the numbers it should?


@dataclass(frozen=True)
class DoctorOptions(FormatOptions):
    """What is checked."""

    self_test: bool = option(True, "Score a bundled clip.", flag="--self-test/--no-self-test")


def doctor(
    options: DoctorOptions, runtime: Annotated[RuntimeConfig, Without("bank", "precision", "calibrate")]
) -> None:
    """Check versions, devices, decoders and weights, and score a bundled clip against the expected number."""
    from finecausal_cli.report.assets import diagnostics_json, print_diagnostics
    from finecausal_cli.report.console import open_console, working
    from finecausal_cli.scoring.doctor import diagnose

    with working("examining"):
        diagnostics = diagnose(runtime.weights, device=runtime.device, self_test=options.self_test)
    if options.output_format == "json":
        typer.echo(diagnostics_json(diagnostics))
    else:
        print_diagnostics(diagnostics, open_console())
    if not diagnostics.healthy:
        raise typer.Exit(1)


# ``finecausal dive``: what a dive number means and how difficult it is.


def dive(
    number: Annotated[list[str], typer.Argument(help="Dive number such as 5253B; any case, blanks allowed.")],
    height: Annotated[
        float | None, typer.Option(help="Height in metres: 1, 3, 5, 7.5 or 10. Without it, every listed height.")
    ] = None,
    output_format: Annotated[OutputFormat, typer.Option("--format", help="How to print it.")] = "table",
) -> None:
    """Say what a dive number means, digit by digit, and its degree of difficulty."""
    from finecausal_cli.diving import parse_dive_number
    from finecausal_cli.report.assets import dive_json, print_dive
    from finecausal_cli.report.console import open_console

    parsed = parse_dive_number(" ".join(number))
    if output_format == "json":
        typer.echo(dive_json(parsed, height))
    else:
        print_dive(parsed, height, open_console())
