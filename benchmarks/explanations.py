"""Print how well explanations hold: ``python -m benchmarks.explanations --dataset DATASET``.

Single-fault dives are simulated on the spot. The deletion, jitter and background tests take the held-out dives of a
data set. Everything is compared with the bank of the weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from finecausal_cli.assess.device import resolve_device
from finecausal_cli.assess.scorer import Scorer
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.places import default_cache
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.evaluation.explanations import (
    Disturbed,
    disturb,
    figures,
    summarise_backgrounds,
    summarise_deletion,
    summarise_jitter,
)
from finecausal_cli.evaluation.single_faults import STAGES, FaultRanking, Raised, rank_single_faults
from finecausal_cli.exemplars.build import build_bank
from finecausal_cli.weights.registry import bank_folder, resolve_weights
from finecausal_cli.weights.store import load_weights
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from finecausal_cli.data.dive import Dive
    from finecausal_cli.model.config import ModelConfig

RAISED: dict[Raised, str] = {
    "all": "all its faults raised",
    "one gross": "one fault as gross as can be",
    "one": "one fault raised",
}

_WIDTH = 100
"""Columns of the tables, wherever they are printed."""

PER_NUMBER = 5
"""Exemplars of one dive number in a bank that is made here, as in the bundled one."""


def main() -> None:
    """Measure and print."""
    asked = _ask()
    with tempfile.TemporaryDirectory() as folder:
        _measure(asked, _load(asked, Path(folder)))


def _measure(asked: argparse.Namespace, scorer: Scorer) -> None:
    console = Console(width=_WIDTH)
    found: dict[str, object] = {"weights": asked.weights}
    rankings = []
    if asked.single_faults:
        for raised in RAISED:
            with Progress(console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task(RAISED[raised], total=asked.single_faults)
                ranking = rank_single_faults(
                    scorer,
                    asked.single_faults,
                    raised=raised,
                    voters=asked.voters,
                    advance=partial(progress.advance, task),
                )
            rankings.append(ranking)
            console.print(ranking_table(ranking))
    found["single_faults"] = {
        one.raised: {"first": one.figures(), "separation": {stage: one.separation(stage) for stage in STAGES}}
        for one in rankings
    }
    if asked.dataset is not None:
        disturbed = _disturb(scorer, asked)
        for table in disturbance_tables(disturbed):
            console.print(table)
        found |= {"dataset": asked.dataset.resolve().name, "dives": len(disturbed), **figures(disturbed)}
    if asked.output is not None:
        with whole_file(asked.output, "the figures") as part:
            part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _ask() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explanations", description=main.__doc__)
    parser.add_argument("--weights", default="compact", help="bundled weights by name, or a folder")
    parser.add_argument("--single-faults", type=int, default=100, metavar="N", help="dives to plant faults in; 0: none")
    parser.add_argument(
        "--dataset",
        type=Path,
        help="data set whose held-out dives are disturbed (and whose training dives make a bank where there is none)",
    )
    parser.add_argument("--dives", type=int, default=100, help="most of them")
    parser.add_argument("--no-backgrounds", action="store_true", help="leave out the background test")
    parser.add_argument("--voters", type=int, default=10)
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, help="also write every figure as JSON")
    return parser.parse_args()


def _load(asked: argparse.Namespace, folder: Path) -> Scorer:
    """Load weights with their bank; weights without one get a bank of the data set's training dives."""
    weights = resolve_weights(asked.weights)
    if bank_folder(weights).exists() or asked.dataset is None:
        return Scorer.load(asked.weights, device=asked.device)
    loaded = load_weights(weights, device=resolve_device(asked.device))
    training = [dive for dive in _scored(asked) if dive.split == "train"]
    build_bank(
        training,
        folder,
        model=loaded.model.for_inference(),
        weights_digest=loaded.digest,
        cache=_clips(asked, loaded.config),
        per_number=PER_NUMBER,
        origin=str(asked.dataset),
    )
    return Scorer.load(asked.weights, bank=folder, device=asked.device)


def _scored(asked: argparse.Namespace) -> list[Dive]:
    return assign_splits([dive for dive in read_dataset(asked.dataset) if dive.score is not None])


def _clips(asked: argparse.Namespace, config: ModelConfig) -> ClipCache:
    return ClipCache(asked.cache, geometry=config.geometry, frame_size=config.frame_size)


def _disturb(scorer: Scorer, asked: argparse.Namespace) -> list[Disturbed]:
    clips = _clips(asked, scorer.model.config)
    held_out = [dive for dive in _scored(asked) if dive.split == "test"][: asked.dives]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("disturbing", total=len(held_out))
        return disturb(
            scorer,
            held_out,
            clips,
            voters=asked.voters,
            backgrounds=not asked.no_backgrounds,
            advance=partial(progress.advance, task),
        )


def ranking_table(ranking: FaultRanking) -> Table:
    """Return how often each method names the planted stage first, in all and by planted stage."""
    title = f"named first: the planted stage, {RAISED[ranking.raised]}"
    table = Table(title=title, caption=f"{len(ranking.namings)} dives; chance is a third")
    for name in ("by", "right", "95%", *STAGES, "costliest"):
        table.add_column(name, no_wrap=True)
    for method, row in ranking.figures().items():
        table.add_row(
            method,
            str(row["first"]),
            f"{100 * row['low']:.0f}-{row['high']:.0%}",
            *(f"{row[f'first_{stage}']}/{row[f'dives_{stage}']}" for stage in STAGES),
            str(row["first_costliest"]),
        )
    separated = (f"{ranking.separation(stage):.2f}" for stage in STAGES)
    table.add_row("separation (chance .5)", "", "", *separated, "", end_section=True)
    return table


def disturbance_tables(disturbed: list[Disturbed]) -> list[Table]:
    """Return the deletion, jitter and background figures."""
    jitter, deletion = summarise_jitter(disturbed), summarise_deletion(disturbed)
    tests = Table("test", "dives", "points", title="disturbed dives: mean absolute change of the score")
    tests.add_row(f"borders shifted by {jitter.frames} frames", str(jitter.dives), f"{jitter.mean:.2f}")
    tests.add_row("the same, largest of 8 shifts", "", f"{jitter.largest_mean:.2f}")
    tests.add_row("the same, largest of all dives", "", f"{jitter.largest:.2f}")
    if deletion is not None:
        tests.add_row("snippet of most attention deleted", str(deletion.dives), f"{deletion.highest:.2f}")
        tests.add_row("another snippet deleted", "", f"{deletion.others:.2f}")
        share = f"{deletion.more} of {deletion.dives}, 95% {deletion.more_low:.0%} to {deletion.more_high:.0%}"
        tests.add_row("the first moves more", "", share)
        tests.add_row("and more than any other (chance 1/9)", "", f"{deletion.most} of {deletion.dives}")
    places = Table("background", "replaced", "dives", "change", "absolute", "rho", title="other backgrounds, points")
    for one in summarise_backgrounds(disturbed):
        extent = "before the entry" if one.before_entry else "whole clip"
        row = f"{one.mean:+.2f}", f"{one.absolute:.2f}", f"{one.rho:.3f}"
        places.add_row(one.background, extent, str(one.dives), *row)
    return [tests, places] if places.row_count else [tests]


if __name__ == "__main__":
    main()
