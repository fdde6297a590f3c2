"""Ablate design choices and the number of training dives: ``python -m benchmarks.choices DATA BACKBONE``.

DATA is the output of ``make benchmark-data``; BACKBONE are weights pretrained on ``DATA/train``
(``finecausal pretrain DATA/train -o BACKBONE``). The heads are trained for each row and measured on ``DATA/test``,
against up to ten training dives of the same number. The backbone was pretrained on all training dives, so the rows of
fewer dives tell how many dives the heads need, not the whole network.
"""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.frozen_backbone import FrozenBackbone, parse_arguments
from finecausal_cli.atomic import atomic_write
from finecausal_cli.evaluation.predict import summarise

CHOICES: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "intervention returns O, not F": {"readout": "o"},
    "TCA replaces the tokens": {"tca_mode": "replace"},
    "no GAT": {"gat": False},
    "no TCA": {"tca": False},
    "neither": {"gat": False, "tca": False},
}
SIZES = (250, 500, 1000)
"""Training dives, besides all of them."""

SHOWN = ("rho", "relative_l2", "aiou_50", "aiou_75", "mean_absolute_error")


def main() -> None:
    """Train and measure every row."""
    args = parse_arguments(
        "python -m benchmarks.choices", "Ablate design choices and the number of dives.", "runs/choices"
    )
    frozen = FrozenBackbone(args, args.backbone, "train", ("test",))
    rows: list[tuple[str, dict[str, Any], int | None]] = [(name, change, None) for name, change in CHOICES.items()]
    rows += [(f"{count} training dives", {}, count) for count in SIZES]
    console = Console(soft_wrap=True)
    table = Table("", "seed", *SHOWN)
    results = []
    for name, change, count in rows:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            # The same number of steps with fewer dives.
            epochs = args.epochs if count is None else round(args.epochs * len(frozen.training) / count)
            model = frozen.train(
                args.out / f"{name.replace(' ', '-').replace(',', '').lower()}-{seed}",
                frozen.config.model_copy(update=change),
                dives=count,
                epochs=epochs,
                views=args.views,
                seed=seed,
            )
            summary = summarise(frozen.predict(model, dives=count)["test"])
            figures = summary.figures()
            results.append({"row": name, "seed": seed, **figures})
            table.add_row(name, str(seed), *(f"{figures[key]:.3f}" for key in SHOWN))
            console.print(f"{name}, seed {seed}: rho {summary.rho:.3f}, R-l2 {summary.relative_l2:.3f}")
    table.add_row("mean of each number", "", f"{summary.baseline_rho:.3f}", f"{summary.baseline_relative_l2:.3f}")
    console.print(table)
    with atomic_write(args.out / "figures.json", "the figures") as part:
        part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
