"""Measure faithfulness and stability of explanations: ``python -m benchmarks.explanations --dataset DATASET``.

Dives with planted faults are simulated on the spot (``single_faults.py``). The tests of deletion, shifted borders and
other backgrounds use the held-out dives of a dataset. Everything is compared with the bank of the weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.single_faults import STAGES, FaultRanking, Raised, rank_single_faults
from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.cache import ClipCache, default_cache
from finecausal_cli.data.datasets import assign_splits, read_dataset
from finecausal_cli.device import resolve_device
from finecausal_cli.evaluation.predict import share_interval, spearman
from finecausal_cli.retrieval import BankOptions
from finecausal_cli.retrieval.bank import build_bank
from finecausal_cli.retrieval.voting import VotingContext, choose_voters
from finecausal_cli.scoring.background import change_backgrounds, find_backgrounds, merge_snippets
from finecausal_cli.scoring.explain import (
    compare_with_itself,
    delete_snippets,
    shift_borders,
    snippet_shares,
    view_graph,
)
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.video import CLIP_FRAMES, Clip
from finecausal_cli.weights.hub import bank_folder, resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from finecausal_cli.data import Dive
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.scoring.results import BackgroundChange, Deletion, Jitter

RAISED: dict[Raised, str] = {"all": "all its faults raised", "one gross": "one gross fault", "one": "one fault raised"}

PER_NUMBER = 5
"""Exemplars per dive number in a bank that is built here."""

_WIDTH = 100
"""Columns of the tables."""

_ANY_FPS = 25.0
"""Frame rate of the clips; times are not used."""


@dataclass(frozen=True, slots=True)
class Disturbed:
    """One dive of a dataset and the effect of disturbances on its score.

    Attributes:
        key: The dive.
        score: Its score by the network, points.
        self_error: Difference to the exemplar with all stages replaced by the exemplar's own, points.
        jitter: Borders shifted.
        deletion: Snippets removed; None in a network without graph attention.
        backgrounds: Backgrounds replaced; may be empty.
    """

    key: str
    score: float
    self_error: float
    jitter: Jitter
    deletion: Deletion | None
    backgrounds: tuple[BackgroundChange, ...]


@dataclass(frozen=True, slots=True)
class DeletionFigures:
    """The deletion test over a dataset.

    Attributes:
        dives: How many.
        highest: Mean absolute change of the score without the snippet of most attention, points.
        others: The same without another snippet, points: the effect of a random one.
        more: Dives in which it changes the score more than the others do on average.
        most: Dives in which no other snippet changes the score as much; by chance one in nine.
        more_low: Lower end of Wilson's 95% interval of the share ``more / dives``.
        more_high: Its upper end.
    """

    dives: int
    highest: float
    others: float
    more: int
    most: int
    more_low: float
    more_high: float


@dataclass(frozen=True, slots=True)
class JitterFigures:
    """Stability under shifted borders over a dataset.

    Attributes:
        dives: How many.
        frames: The shift, sampled frames.
        mean: Mean over dives and shifts of the absolute change of the score, points.
        largest_mean: Mean over dives of their largest change, points.
        largest: The largest change of all, points.
    """

    dives: int
    frames: int
    mean: float
    largest_mean: float
    largest: float


@dataclass(frozen=True, slots=True)
class BackgroundFigures:
    """One kind of background over a dataset.

    Attributes:
        dives: How many.
        background: Where it comes from.
        before_entry: Whether it was replaced in the frames before the entry only.
        mean: Mean change of the score, points.
        absolute: Mean absolute change, points.
        rho: Spearman's rho between the scores before and after.
    """

    dives: int
    background: str
    before_entry: bool
    mean: float
    absolute: float
    rho: float


def disturb(
    scorer: Scorer,
    dives: Iterable[Dive],
    clips: ClipCache,
    *,
    voters: int = 10,
    seed: int = 0,
    backgrounds: bool = True,
    advance: Callable[[], object] = lambda: None,
) -> list[Disturbed]:
    """Disturb the dives of a dataset one by one, compared with the bank's exemplars of their number.

    Args:
        scorer: Weights and bank.
        dives: Dives that are not in the bank.
        clips: Where their clips come from.
        voters: Most exemplars per dive.
        seed: Seed of the exemplars' order.
        backgrounds: Also replace the background; encodes every dive four more times.
        advance: Called after each dive.
    """
    results = []
    for dive in dives:
        clip = Clip(clips.load(dive).frames, np.arange(CLIP_FRAMES), _ANY_FPS, dive.key, "cache")
        results.append(_disturb(scorer, dive, clip, voters=voters, seed=seed, backgrounds=backgrounds))
        advance()
    return results


def _disturb(scorer: Scorer, dive: Dive, clip: Clip, *, voters: int, seed: int, backgrounds: bool) -> Disturbed:
    encoding = scorer.encode(clip, foreground=backgrounds)
    indices = choose_voters(scorer.bank, encoding, dive=dive.number, voters=voters, seed=seed).indices
    context = VotingContext.build(scorer.model, encoding, scorer.bank, indices, difficulty=dive.difficulty)
    graph = view_graph(context.votes, None, None)
    changes: tuple[BackgroundChange, ...] = ()
    if encoding.foreground is not None:
        athlete = merge_snippets(encoding.foreground[-1][0])
        pictures, _ = find_backgrounds(context, clip, athlete, scorer.bank_folder)
        changes = change_backgrounds(context, clip, athlete, pictures, scorer.encode, context.votes.borders[2])
    return Disturbed(
        key=dive.key,
        score=context.score,
        self_error=compare_with_itself(context)[0],
        jitter=shift_borders(context),
        deletion=None if graph is None else delete_snippets(context, int(snippet_shares(graph).argmax())),
        backgrounds=changes,
    )


def summarise_deletion(disturbed: Sequence[Disturbed]) -> DeletionFigures | None:
    """Summarise the deletion test; None where no dive has one."""
    deletions = [dive.deletion for dive in disturbed if dive.deletion is not None]
    if not deletions:
        return None
    highest = [abs(deletion.change) for deletion in deletions]
    more = sum(change > deletion.others for change, deletion in zip(highest, deletions, strict=True))
    most = sum(change >= max(map(abs, deletion.changes)) for change, deletion in zip(highest, deletions, strict=True))
    low, high = share_interval(more, len(deletions))
    others = float(np.mean([deletion.others for deletion in deletions]))
    return DeletionFigures(len(deletions), float(np.mean(highest)), others, more, most, low, high)


def summarise_jitter(disturbed: Sequence[Disturbed]) -> JitterFigures:
    """Summarise stability under shifted borders over one dive or more."""
    jitters = [dive.jitter for dive in disturbed]
    largest = [jitter.largest for jitter in jitters]
    mean = float(np.mean([jitter.mean for jitter in jitters]))
    return JitterFigures(len(jitters), jitters[0].frames, mean, float(np.mean(largest)), max(largest))


def summarise_backgrounds(disturbed: Sequence[Disturbed]) -> list[BackgroundFigures]:
    """Summarise each kind of background."""
    groups: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for dive in disturbed:
        for change in dive.backgrounds:
            kind = (change.background, change.end_frame < CLIP_FRAMES)
            groups.setdefault(kind, []).append((dive.score, change.score))
    results = []
    for (background, before_entry), scores in groups.items():
        before, after = np.asarray(scores, np.float64).T
        changes = after - before
        rho = spearman(before, after) if len(scores) > 1 else float("nan")
        figures = float(changes.mean()), float(np.abs(changes).mean()), rho
        results.append(BackgroundFigures(len(scores), background, before_entry, *figures))
    return results


def figures(disturbed: Sequence[Disturbed]) -> dict[str, object]:
    """Return all metrics as plain data."""
    deletion = summarise_deletion(disturbed)
    return {
        "self_error": max(item.self_error for item in disturbed),
        "deletion": None if deletion is None else asdict(deletion),
        "jitter": asdict(summarise_jitter(disturbed)),
        "backgrounds": [asdict(item) for item in summarise_backgrounds(disturbed)],
    }


def ranking_table(ranking: FaultRanking) -> Table:
    """Return how often each method ranks the planted stage first, in all and by planted stage."""
    title = f"ranked first: the planted stage, {RAISED[ranking.raised]}"
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
    separations = (f"{ranking.separation(stage):.2f}" for stage in STAGES)
    table.add_row("AUC of the contribution (chance .5)", "", "", *separations, "", end_section=True)
    return table


def disturbance_tables(disturbed: Sequence[Disturbed]) -> list[Table]:
    """Return the tables of deletion, shifted borders and backgrounds."""
    jitter, deletion = summarise_jitter(disturbed), summarise_deletion(disturbed)
    tests = Table("test", "dives", "points", title="disturbed dives: mean absolute change of the score")
    tests.add_row(f"borders shifted by {jitter.frames} frames", str(jitter.dives), f"{jitter.mean:.2f}")
    tests.add_row("the same, largest of 8 shifts", "", f"{jitter.largest_mean:.2f}")
    tests.add_row("the same, largest of all dives", "", f"{jitter.largest:.2f}")
    if deletion is not None:
        tests.add_row("snippet of most attention deleted", str(deletion.dives), f"{deletion.highest:.2f}")
        tests.add_row("another snippet deleted", "", f"{deletion.others:.2f}")
        share = f"{deletion.more} of {deletion.dives}, 95% {deletion.more_low:.0%} to {deletion.more_high:.0%}"
        tests.add_row("the first changes it more", "", share)
        tests.add_row("and more than any other (chance 1/9)", "", f"{deletion.most} of {deletion.dives}")
    backgrounds = Table("background", "replaced", "dives", "change", "absolute", "rho", title="backgrounds, points")
    for item in summarise_backgrounds(disturbed):
        extent = "before the entry" if item.before_entry else "whole clip"
        changes = f"{item.mean:+.2f}", f"{item.absolute:.2f}", f"{item.rho:.3f}"
        backgrounds.add_row(item.background, extent, str(item.dives), *changes)
    return [tests, backgrounds] if backgrounds.row_count else [tests]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explanations", description=main.__doc__)
    parser.add_argument("--weights", default="compact", help="bundled weights by name, or a folder")
    parser.add_argument("--single-faults", type=int, default=100, metavar="N", help="dives to plant faults in; 0: none")
    parser.add_argument(
        "--dataset",
        type=Path,
        help="its held-out dives are disturbed; its training dives are the bank of weights without",
    )
    parser.add_argument("--dives", type=int, default=100, help="most dives to disturb")
    parser.add_argument("--no-backgrounds", action="store_true", help="leave out the background test")
    parser.add_argument("--voters", type=int, default=10, help="most exemplars per dive")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, help="also write all metrics as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _run(args, _load_scorer(args, Path(folder)))


def _run(args: argparse.Namespace, scorer: Scorer) -> None:
    console = Console(width=_WIDTH)
    results: dict[str, object] = {"weights": args.weights}
    rankings = []
    for raised in RAISED if args.single_faults else ():
        with Progress(console=Console(stderr=True), transient=True) as progress:
            advance = partial(progress.advance, progress.add_task(RAISED[raised], total=args.single_faults))
            ranking = rank_single_faults(scorer, args.single_faults, raised=raised, voters=args.voters, advance=advance)
        rankings.append(ranking)
        console.print(ranking_table(ranking))
    results["single_faults"] = {
        ranking.raised: {
            "first": ranking.figures(),
            "separation": {stage: ranking.separation(stage) for stage in STAGES},
        }
        for ranking in rankings
    }
    if args.dataset is not None:
        held_out = [dive for dive in _scored_dives(args) if dive.split == "test"][: args.dives]
        clips = _clip_cache(args, scorer.model.config)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            advance = partial(progress.advance, progress.add_task("disturbing", total=len(held_out)))
            disturbed = disturb(
                scorer, held_out, clips, voters=args.voters, backgrounds=not args.no_backgrounds, advance=advance
            )
        for table in disturbance_tables(disturbed):
            console.print(table)
        results |= {"dataset": args.dataset.resolve().name, "dives": len(disturbed), **figures(disturbed)}
    if args.output is not None:
        with atomic_write(args.output, "the metrics") as part:
            part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _load_scorer(args: argparse.Namespace, folder: Path) -> Scorer:
    """Load weights with their bank; weights without one get a bank of the dataset's training dives."""
    weights = resolve_weights(args.weights)
    if bank_folder(weights).exists() or args.dataset is None:
        return Scorer.load(args.weights, device=args.device)
    loaded = load_weights(weights, device=resolve_device(args.device))
    build_bank(
        [dive for dive in _scored_dives(args) if dive.split == "train"],
        folder,
        BankOptions(per_number=PER_NUMBER, origin=str(args.dataset)),
        model=loaded.model.for_inference(),
        weights_digest=loaded.digest,
        cache=_clip_cache(args, loaded.config),
    )
    return Scorer.load(args.weights, bank=folder, device=args.device)


def _scored_dives(args: argparse.Namespace) -> list[Dive]:
    return assign_splits([dive for dive in read_dataset(args.dataset) if dive.score is not None])


def _clip_cache(args: argparse.Namespace, config: ModelConfig) -> ClipCache:
    return ClipCache(args.cache, geometry=config.geometry, frame_size=config.frame_size)


if __name__ == "__main__":
    main()
