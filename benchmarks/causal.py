"""Does the causal model hold when the venue no longer tells the quality? ``python -m benchmarks.causal DATA TRUNK``.

DATA is what ``make benchmark-data`` wrote; TRUNK are weights whose trunk was taught on ``DATA/confounded`` alone
(``finecausal pretrain DATA/confounded -o TRUNK``). Everything behind the trunk is trained on the confounded dives,
with and without graph attention (GAT) and temporal causal attention (TCA), in several seeds, by ``finecausal train
--freeze-backbone --views``. Each is then measured where the venue still tells the quality (the validation dives), where
it does not (``test``), on the same dives elsewhere (``shift``), and on pairs of dives that differ in one thing.

A run that was stopped goes on: what is trained stays trained, and the trunk sees every dive once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.ground import Ground, ask
from finecausal_cli.atomic import atomic_write
from finecausal_cli.evaluation.predict import summarise
from finecausal_cli.training import build_config

if TYPE_CHECKING:
    from pathlib import Path

    from finecausal_cli.data import Dive
    from finecausal_cli.evaluation.predict import ErrorSummary, Prediction

TWINS = 500
"""Dives that meet themselves in another venue."""


@dataclass(frozen=True)
class Variant:
    """A way to train what stands behind the trunk.

    Attributes:
        ablate: What ``train --ablate`` leaves out.
        swap: Share of the augmented dives before another dive's background: ``train --swap-backgrounds``.
        elsewhere: Learn also from each dive as ``DATA/train`` has it, in a venue that has nothing to do with its
            quality: a counterfactual that only a simulator can give.
        twins: Beside that, let dives meet themselves in the other venue, a pair whose difference is nothing.
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
    "full, in two venues and held to the same": Variant(elsewhere=True, twins=True),
}
"""What is trained, in words."""

BASELINE = "mean of each number"
HERE, ELSEWHERE, OTHER_ENTRY = "pairs/here", "pairs/elsewhere", "pairs/other-entry"


@dataclass(frozen=True)
class Figures:
    """What one network reaches.

    Attributes:
        variant: Which one.
        seed: Its seed.
        confounded: Rho and R-l2 where the venue tells the quality as in training: the validation dives.
        test: The same where it does not.
        shift: The same on the dives of ``test`` in other venues.
        venue_change: Mean absolute change of the score when only the venue changes, points.
        entry_change: The same when only the entry changes.
        entry_change_judged: What the judges changed then.
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


def figures_of(variant: str, seed: int, found: dict[str, list[Prediction]]) -> Figures:
    """Return the figures of predictions; of the baseline beside them, where that is the variant."""
    is_baseline = variant == BASELINE

    def both(summary: ErrorSummary) -> tuple[float, float]:
        if is_baseline:
            return summary.baseline_rho, summary.baseline_relative_l2
        return summary.rho, summary.relative_l2

    here, elsewhere, entry = (
        np.array([one.baseline if is_baseline else one.predicted for one in found[name]])
        for name in (HERE, ELSEWHERE, OTHER_ENTRY)
    )
    judged = np.array(
        [after.score - before.score for before, after in zip(found[HERE], found[OTHER_ENTRY], strict=True)]
    )
    changed = entry - here
    return Figures(
        variant=variant,
        seed=seed,
        confounded=both(summarise(found["validation"])),
        test=both(summarise(found["test"])),
        shift=both(summarise(found["shift"])),
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
    for one in figures:
        pairs = (f"{rho:.3f} {l2:.3f}" for rho, l2 in (one.confounded, one.test, one.shift))
        entry = f"{one.entry_change:.2f} ({one.entry_change_judged:.2f})"
        follows = "-" if one.entry_correlation is None else f"{one.entry_correlation:.2f}"
        shown.add_row(one.variant, str(one.seed), *pairs, f"{one.venue_change:.2f}", entry, follows)
    return shown


def counterfactuals(ground: Ground, elsewhere: Path, how: Variant) -> list[Dive]:
    """Return what a variant learns from besides the confounded dives.

    Twins are further copies of both dives under a number of their own, so that they meet each other and nobody else.
    """
    if not how.elsewhere:
        return []
    others = ground.also(elsewhere)
    if not how.twins:
        return others
    both = [*zip(ground.training, others, strict=True)][:TWINS]
    return others + [
        replace(dive, key=f"twin of {dive.key}", number=f"{own.key} itself")
        for own, other in both
        for dive in (own, other)
    ]


def main() -> None:
    """Train and measure all variants and print the table."""
    asked = ask("python -m benchmarks.causal", "Test the causal claim.", "runs/causal")
    ground = Ground(asked, asked.trunk, "confounded", ("test", "shift", HERE, ELSEWHERE, OTHER_ENTRY))
    console = Console(soft_wrap=True)
    figures = []
    for variant, how in VARIANTS.items():
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            model = ground.train(
                asked.out / f"{variant.replace(' ', '-').replace(',', '').lower()}-{seed}",
                build_config(ground.config.preset, ablate=how.ablate, base=ground.config),
                more=counterfactuals(ground, asked.data / "train", how),
                epochs=asked.epochs // 2 if how.elsewhere else asked.epochs,  # of twice as many dives
                views=asked.views,
                swap_backgrounds=how.swap,
                seed=seed,
            )
            found = ground.predict(model)
            figures.append(figures_of(variant, seed, found))
            console.print(f"{variant}, seed {seed}: rho {figures[-1].shift[0]:.3f} on the shifted dives")
    figures.append(figures_of(BASELINE, 0, found))
    console.print(table(figures))
    with atomic_write(asked.out / "figures.json", "the figures") as part:
        part.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
