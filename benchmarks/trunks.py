"""Which trunk serves best? ``python -m benchmarks.trunks DATA NAME=TRUNK NAME=TRUNK ...``.

DATA is what ``make benchmark-data`` wrote; a TRUNK are weights that ``finecausal pretrain DATA/train`` taught.
Everything behind each is trained anew in several seeds and measured on ``DATA/test``, against up to ten training dives
of the same number. So one trunk for features and foreground, or two; and how pictures are brought to size:

    finecausal pretrain DATA/train -o runs/one --steps 1200
    finecausal pretrain DATA/train -o runs/longer --steps 2400
    finecausal pretrain DATA/train -o runs/two --steps 1200 --two-trunks
    finecausal pretrain DATA/train -o runs/squeezed --steps 1200 --geometry squeeze
    python -m benchmarks.trunks DATA one=runs/one longer=runs/longer two=runs/two squeezed=runs/squeezed
"""

from __future__ import annotations

import json

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.ground import Ground, ask
from finecausal_cli.atomic import atomic_write
from finecausal_cli.evaluation.predict import summarise
from finecausal_cli.training.motion_snippets import SEEN
from finecausal_cli.weights import WeightsInfo, read_manifest
from finecausal_cli.weights.hub import resolve_weights

SHOWN = ("rho", "relative_l2", "aiou_50", "aiou_75", "mean_absolute_error")


def understood(trunk: str) -> tuple[str, str]:
    """Return what pretraining found on its validation dives: the foreground's IoU, and the mean correlation."""
    folder = resolve_weights(trunk)
    figures = WeightsInfo.read(read_manifest(folder).info, folder).training["understood"]
    assert isinstance(figures, dict)  # noqa: S101 -- so pretraining writes it
    seen = [r for name in SEEN if isinstance(r := figures[name], float)]
    return f"{figures['foreground_iou']:.3f}", f"{np.mean(seen):.3f}"


def main() -> None:
    """Train and measure every row and print the table."""
    asked = ask("python -m benchmarks.trunks", "Which trunk serves best.", "runs/trunks", many=True)
    console = Console(soft_wrap=True)
    shown, kept = Table("", "foreground IoU", "mean r", "seed", *SHOWN), []
    for row, _, trunk in (each.partition("=") for each in asked.trunk):
        ground = Ground(asked, trunk, "train", ("test",))
        taught = understood(trunk)
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            folder = asked.out / f"{row}-{seed}"
            model = ground.train(folder, ground.config, epochs=asked.epochs, views=asked.views, seed=seed)
            figures = summarise(ground.predict(model)["test"]).figures()
            kept.append({"row": row, "seed": seed, **figures})
            shown.add_row(row, *taught, str(seed), *(f"{figures[key]:.3f}" for key in SHOWN))
            console.print(f"{row}, seed {seed}: rho {figures['rho']:.3f}, R-l2 {figures['relative_l2']:.3f}")
    console.print(shown)
    with atomic_write(asked.out / "figures.json", "the figures") as part:
        part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
