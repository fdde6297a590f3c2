"""Test the causal claim with venues confounded with quality: ``python -m benchmarks.causal DATA BACKBONE``.

DATA is the output of ``make benchmark-data``; BACKBONE are weights pretrained on ``DATA/confounded`` alone
(``finecausal pretrain DATA/confounded -o BACKBONE``). The heads are trained on the confounded dives, with and without
graph attention (GAT) and temporal causal attention (TCA), with several seeds, by ``finecausal train --freeze-backbone
--views``. Each is measured where venue and quality are confounded (the validation dives), where they are independent
(``test``), on the same dives in other venues (``shift``), and on pairs of dives that differ in one factor.

A stopped run resumes: finished runs are reused, and the backbone encodes every dive once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.frozen_backbone import FrozenBackbone, parse_arguments
from finecausal_cli.atomic import atomic_write
from finecausal_cli.evaluation.predict import summarise
from finecausal_cli.training import build_config

if TYPE_CHECKING:
    from pathlib import Path

    from finecausal_cli.data import Dive
    from finecausal_cli.evaluation.predict import ErrorSummary, Prediction

TWINS = 500
"""Dives paired with themselves in another venue."""


@dataclass(frozen=True)
class Variant:
    """A way to train the heads.

    Attributes:
        ablate: Modules that ``train --ablate`` leaves out.
        swap: Share of augmented dives with another dive's background: ``train --swap-backgrounds``.
        elsewhere: Also train on each dive as in ``DATA/train``, in a venue independent of its quality: a counterfactual
            that only a simulator provides.
        twins: Also pair dives with themselves in the other venue; the difference of such a pair is zero.
    """

    ablate: str = ""
    swap: float = 0.0
    elsewhere: bool = False
    twins: bool = False


VARIANTS = {
    "full": Variant(),
    "no GAT": Variant(ablate="gat"),
    "no TCA": Variant(ablate="tca"),
    "sigmoid fusion only": Variant(ablate="gat,tca"),
    "full, backgrounds swapped": Variant(swap=0.5),
    "full, each dive in two venues": Variant(elsewhere=True),
    "full, in two venues, paired with itself": Variant(elsewhere=True, twins=True),
}
"""Variants by name."""

BASELINE = "mean of each number"
HERE, ELSEWHERE, OTHER_ENTRY = "pairs/here", "pairs/elsewhere", "pairs/other-entry"


@dataclass(frozen=True)
class Figures:
    """Metrics of one network.

    Attributes:
        variant: Its name.
        seed: Its seed.
        confounded: Rho and R-l2 where venue and quality are confounded as in training: the validation dives.
        test: The same where they are independent.
        shift: The same on the dives of ``test`` in other venues.
        venue_change: Mean absolute change of the score when only the venue changes, points.
        entry_change: The same when only the entry changes.
        entry_change_judged: Mean absolute change of the judges' score then.
        entry_correlation: Pearson's correlation of the two changes; None where nothing changes.
    """

    variant: str
    seed: int
    confounded: tuple[float, float]
    test: tuple[float, float]
    shift: tuple[float, float]
    venue_change: float
    entry_change: float
    entry_change_judged: float
    entry_correlation: float | None


def figures_of(variant: str, seed: int, predictions: dict[str, list[Prediction]]) -> Figures:
    """Return the metrics of predictions, or of their baseline where that is the variant."""
    is_baseline = variant == BASELINE

    def both(summary: ErrorSummary) -> tuple[float, float]:
        if is_baseline:
            return summary.baseline_rho, summary.baseline_relative_l2
        return summary.rho, summary.relative_l2

    here, elsewhere, entry = (
        np.array([item.baseline if is_baseline else item.predicted for item in predictions[name]])
        for name in (HERE, ELSEWHERE, OTHER_ENTRY)
    )
    judged = np.array(
        [after.score - before.score for before, after in zip(predictions[HERE], predictions[OTHER_ENTRY], strict=True)]
    )
    changed = entry - here
    return Figures(
        variant=variant,
        seed=seed,
        confounded=both(summarise(predictions["validation"])),
        test=both(summarise(predictions["test"])),
        shift=both(summarise(predictions["shift"])),
        venue_change=float(np.abs(elsewhere - here).mean()),
        entry_change=float(np.abs(changed).mean()),
        entry_change_judged=float(np.abs(judged).mean()),
        entry_correlation=float(stats.pearsonr(changed, judged)[0]) if np.ptp(changed) > 0 else None,
    )


def table(figures: list[Figures]) -> Table:
    """Return all figures as a table."""
    shown = Table(title="trained on confounded dives (rho, R-l2)")
    for name in ("variant", "seed", "confounded", "test", "shift", "venue pairs", "entry pairs", "r with judges"):
        shown.add_column(name)
    for item in figures:
        pairs = (f"{rho:.3f} {l2:.3f}" for rho, l2 in (item.confounded, item.test, item.shift))
        entry = f"{item.entry_change:.2f} ({item.entry_change_judged:.2f})"
        follows = "-" if item.entry_correlation is None else f"{item.entry_correlation:.2f}"
        shown.add_row(item.variant, str(item.seed), *pairs, f"{item.venue_change:.2f}", entry, follows)
    return shown


def counterfactuals(frozen: FrozenBackbone, elsewhere: Path, settings: Variant) -> list[Dive]:
    """Return the additional training dives of a variant.

    Twins are copies of both dives under a dive number of their own, so that they form a pair with each other only.
    """
    if not settings.elsewhere:
        return []
    others = frozen.also(elsewhere)
    if not settings.twins:
        return others
    both = [*zip(frozen.training, others, strict=True)][:TWINS]
    return others + [
        replace(dive, key=f"twin of {dive.key}", number=f"{own.key} itself")
        for own, other in both
        for dive in (own, other)
    ]


def main() -> None:
    """Train and measure all variants."""
    args = parse_arguments("python -m benchmarks.causal", "Test the causal claim.", "runs/causal")
    frozen = FrozenBackbone(args, args.backbone, "confounded", ("test", "shift", HERE, ELSEWHERE, OTHER_ENTRY))
    console = Console(soft_wrap=True)
    figures = []
    for variant, settings in VARIANTS.items():
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            model = frozen.train(
                args.out / f"{variant.replace(' ', '-').replace(',', '').lower()}-{seed}",
                build_config(frozen.config.preset, ablate=settings.ablate, base=frozen.config),
                more=counterfactuals(frozen, args.data / "train", settings),
                epochs=args.epochs // 2 if settings.elsewhere else args.epochs,  # of twice as many dives
                views=args.views,
                swap_backgrounds=settings.swap,
                seed=seed,
            )
            predictions = frozen.predict(model)
            figures.append(figures_of(variant, seed, predictions))
            console.print(f"{variant}, seed {seed}: rho {figures[-1].shift[0]:.3f} on the shifted dives")
    figures.append(figures_of(BASELINE, 0, predictions))
    console.print(table(figures))
    with atomic_write(args.out / "figures.json", "the figures") as part:
        part.write_text(json.dumps([asdict(item) for item in figures], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
