"""What the network's choices are worth, and how it grows with data: ``python -m benchmarks.choices DATA TRUNK``.

DATA is what ``make benchmark-data`` wrote; TRUNK are weights whose trunk was taught on ``DATA/train``
(``finecausal pretrain DATA/train -o TRUNK``). Everything behind the trunk is trained anew for each row and
measured on ``DATA/test``, against up to ten training dives of the same number. The trunk has seen all training dives,
so the rows of fewer dives tell how many of them the rest of the network needs, not the whole.
"""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ground import Ground, ask
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
    """Train and measure every row and print the table."""
    asked = ask("python -m benchmarks.choices", "What choices and data give.", "runs/choices")
    ground = Ground(asked, asked.trunk, "train", ("test",))
    rows: list[tuple[str, dict[str, Any], int | None]] = [(name, change, None) for name, change in CHOICES.items()]
    rows += [(f"{count} training dives", {}, count) for count in SIZES]
    console = Console(soft_wrap=True)
    shown = Table("", "seed", *SHOWN)
    kept = []
    for name, change, count in rows:
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            # As many steps from fewer dives, so that a row tells of the dives and not of the time.
            epochs = asked.epochs if count is None else round(asked.epochs * len(ground.training) / count)
            model = ground.train(
                asked.out / f"{name.replace(' ', '-').replace(',', '').lower()}-{seed}",
                ground.config.model_copy(update=change),
                dives=count,
                epochs=epochs,
                views=asked.views,
                seed=seed,
            )
            found = summarise(ground.predict(model, dives=count)["test"])
            figures = found.figures()
            kept.append({"row": name, "seed": seed, **figures})
            shown.add_row(name, str(seed), *(f"{figures[key]:.3f}" for key in SHOWN))
            console.print(f"{name}, seed {seed}: rho {found.rho:.3f}, R-l2 {found.relative_l2:.3f}")
    shown.add_row("mean of each number", "", f"{found.baseline_rho:.3f}", f"{found.baseline_relative_l2:.3f}")
    console.print(shown)
    with atomic_write(asked.out / "figures.json", "the figures") as part:
        part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
