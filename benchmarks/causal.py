"""Does the causal model hold when the venue no longer tells the quality? ``python -m benchmarks.causal DATA TRUNK``.

DATA is what ``make benchmark-data`` wrote; TRUNK are weights whose trunk was taught on ``DATA/confounded`` alone
(``python weights/pretrain.py DATA/confounded TRUNK``). Everything behind the trunk is trained on the confounded dives,
with and without graph attention (GAT) and temporal causal attention (TCA), in several seeds, by ``finecausal train
--freeze-backbone --views``. Each is then measured where the venue still tells the quality (the validation dives), where
it does not (``test``), on the same dives elsewhere (``shift``), and on pairs of dives that differ in one thing.

A run that was stopped goes on: what is trained stays trained, and the trunk sees every dive once.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

from finecausal_cli.assess.device import resolve_device
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.places import default_cache
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.evaluation.predict import Prediction, bank_of, mean_execution, predict, summarise
from finecausal_cli.exemplars.select import spread_exemplars
from finecausal_cli.training.begin import config_of, locate_init
from finecausal_cli.training.options import TRUNK, build_config, build_options
from finecausal_cli.training.run import Watch, train
from finecausal_cli.training.views import Views
from finecausal_cli.weights.registry import resolve_weights
from finecausal_cli.weights.store import load_weights
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from finecausal_cli.data.dive import Dive
    from finecausal_cli.evaluation.predict import Summary
    from finecausal_cli.exemplars.bank import Bank
    from finecausal_cli.model.finecausal import FineCausal

VARIANTS = {"full": "", "no GAT": "gat", "no TCA": "tca", "sigmoid fusion only": "gat,tca"}
"""What ``train --ablate`` leaves out."""

VOTERS = 10
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
        entry_correlation: Pearson's correlation of the two changes.
    """

    variant: str
    seed: int
    confounded: tuple[float, float]
    test: tuple[float, float]
    shift: tuple[float, float]
    venue_change: float
    entry_change: float
    entry_change_judged: float
    entry_correlation: float


class Ground:
    """The data of the benchmark, and what one trunk sees of it.

    Args:
        data: What ``make benchmark-data`` wrote.
        model: A network with the trunk.
        clips: Where clips come from.
        cache: Where views are kept.
    """

    def __init__(self, data: Path, model: FineCausal, clips: ClipCache, cache: Path) -> None:
        self._views = Views(model, clips, cache, 1)
        training = assign_splits([dive for dive in read_dataset(data / "confounded") if dive.score is not None])
        self.parts = {"confounded": [dive for dive in training if dive.split == "val"]}
        for name in ("test", "shift", HERE, ELSEWHERE, OTHER_ENTRY):
            self.parts[name] = list(read_dataset(data / name))
        self._training = [dive for dive in training if dive.split == "train"]
        self.voters = spread_exemplars(self._training, VOTERS)
        self.baseline = mean_execution((dive.number, dive.execution) for dive in self._training)
        dives = [dive for part in [self.voters, *self.parts.values()] for dive in part]
        for dive in track(dives, "encoding", console=Console(stderr=True)):
            self._views.load(dive)

    def bank(self, model: FineCausal) -> Bank:
        """Return the exemplars as a network sees them."""
        return bank_of(self._views.encoded(model, self.voters), name="confounded dives", weights_digest="benchmark")

    def predict(self, model: FineCausal, bank: Bank, dives: list[Dive]) -> list[Prediction]:
        """Score dives."""
        return predict(model, self._views.encoded(model, dives), bank, baseline=self.baseline, voters=VOTERS)


def measure(ground: Ground, model: FineCausal, variant: str, seed: int) -> tuple[Figures, Figures]:
    """Return what a network reaches, and what the mean of each dive number does on the same dives."""
    bank = ground.bank(model)
    found = {name: ground.predict(model, bank, dives) for name, dives in ground.parts.items()}
    summaries = {name: summarise(found[name]) for name in ("confounded", "test", "shift")}
    ours = _figures(variant, seed, summaries, found, is_baseline=False)
    return ours, _figures("mean of each number", seed, summaries, found, is_baseline=True)


def _figures(
    variant: str, seed: int, summaries: dict[str, Summary], found: dict[str, list[Prediction]], *, is_baseline: bool
) -> Figures:
    def both(summary: Summary) -> tuple[float, float]:
        if is_baseline:
            return summary.baseline_rho, summary.baseline_relative_l2
        return summary.rho, summary.relative_l2

    here, elsewhere, entry = (
        np.array([one.baseline if is_baseline else one.predicted for one in found[name]])
        for name in (HERE, ELSEWHERE, OTHER_ENTRY)
    )
    judged = np.array([b.score - a.score for a, b in zip(found[HERE], found[OTHER_ENTRY], strict=True)])
    changed = entry - here
    constant = float(np.std(changed)) == 0
    return Figures(
        variant=variant,
        seed=seed,
        confounded=both(summaries["confounded"]),
        test=both(summaries["test"]),
        shift=both(summaries["shift"]),
        venue_change=float(np.abs(elsewhere - here).mean()),
        entry_change=float(np.abs(changed).mean()),
        entry_change_judged=float(np.abs(judged).mean()),
        entry_correlation=float("nan") if constant else float(stats.pearsonr(changed, judged)[0]),
    )


def table(figures: list[Figures]) -> Table:
    """Return all figures as a table."""
    shown = Table(title="trained on confounded dives (rho, R-l2)")
    for name in ("variant", "seed", "confounded", "test", "shift", "venue pairs", "entry pairs", "r with judges"):
        shown.add_column(name)
    for one in figures:
        pairs = (f"{rho:.3f} {l2:.3f}" for rho, l2 in (one.confounded, one.test, one.shift))
        entry = f"{one.entry_change:.2f} ({one.entry_change_judged:.2f})"
        shown.add_row(
            one.variant, str(one.seed), *pairs, f"{one.venue_change:.2f}", entry, f"{one.entry_correlation:.2f}"
        )
    return shown


def main() -> None:
    """Train and measure all variants and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.causal", description="Test the causal claim.")
    parser.add_argument("data", type=Path)
    parser.add_argument("trunk")
    parser.add_argument("--out", type=Path, default=Path("runs/causal"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    device = resolve_device(asked.device)
    console = Console(soft_wrap=True)
    init = locate_init(f"{TRUNK}{asked.trunk}")
    loaded = load_weights(resolve_weights(asked.trunk), device=device)
    clips = ClipCache(asked.cache, geometry=loaded.config.geometry, frame_size=loaded.config.frame_size)
    ground = Ground(asked.data, loaded.model, clips, asked.cache)
    figures: list[Figures] = []
    for variant, left_out in VARIANTS.items():
        for seed in range(asked.seeds):
            folder = asked.out / f"{variant.replace(' ', '-').lower()}-{seed}"
            options = build_options(
                init=init,
                freeze_backbone=True,
                views=asked.views,
                epochs=asked.epochs,
                groups_per_batch=3,
                validate_every=asked.epochs,
                seed=seed,
            )
            best = folder / "best"
            if not (best / "config.json").exists():
                best = train(
                    asked.data / "confounded",
                    folder,
                    config=build_config("compact", ablate=left_out, base=config_of(init)),
                    options=options,
                    cache=asked.cache,
                    device=device,
                    resume=(folder / "run.json").exists(),
                    watch=Watch(),
                )
            ours, baseline = measure(ground, load_weights(best, device=device).model, variant, seed)
            figures.append(ours)
            console.print(f"{variant}, seed {seed}: shift rho {ours.shift[0]:.3f}, venue pairs {ours.venue_change:.2f}")
    figures.append(baseline)
    console.print(table(figures))
    with whole_file(asked.out / "figures.json", "the figures") as part:
        part.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
