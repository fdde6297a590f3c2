"""Which trunk serves best? ``python -m benchmarks.trunks DATA NAME=TRUNK NAME=FEATURES+FOREGROUND ...``.

DATA is what ``make benchmark-data`` wrote; a TRUNK are weights that ``weights/pretrain.py`` taught on ``DATA/train``.
Two joined by a plus become a network of two trunks: its features come from the first, foreground and mask features from
the second. Everything behind the trunks is trained anew in several seeds and measured on ``DATA/test``, against up to
ten training dives of the same number. One trunk or two, for instance:

    python weights/pretrain.py DATA/train runs/one --steps 1200
    python weights/pretrain.py DATA/train runs/apart --steps 1200 --foreground-apart
    python weights/pretrain.py DATA/train runs/longer --steps 2400
    python -m benchmarks.trunks DATA one=runs/one longer=runs/longer two=runs/apart+runs/one
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.ground import Ground, ask
from finecausal_cli.evaluation.predict import summarise
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.weights.registry import resolve_weights
from finecausal_cli.weights.store import load_weights, save_weights
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = ("rho", "relative_l2", "aiou_50", "aiou_75", "mean_absolute_error")
NOT_SEEN = {"stage", "foreground_iou"}
"""What a teaching records besides the correlations of what judges see."""


def join_trunks(features: str, foreground: str, folder: Path) -> str:
    """Write the network whose features come from one trunk, and foreground and mask features from another.

    Args:
        features: Weights of one shared trunk.
        foreground: Weights of another, with its foreground.
        folder: Where to write it.

    Returns:
        The folder.
    """
    one, other = (load_weights(resolve_weights(name)) for name in (features, foreground))
    network = FineCausal(one.config.model_copy(update={"shared_trunk": False}))
    assert network.parser.trunk is not None  # noqa: S101 -- two trunks were asked for
    network.video_trunk.load_state_dict(one.model.video_trunk.state_dict())
    network.parser.trunk.load_state_dict(other.model.video_trunk.state_dict())
    network.parser.heads.load_state_dict(other.model.parser.heads.state_dict())
    save_weights(folder, network, {"features": features, "foreground": foreground})
    return str(folder)


def taught(trunk: str) -> tuple[str, str]:
    """Return what a teaching found on its validation dives: the foreground's IoU, and the mean correlation."""
    known = load_weights(resolve_weights(trunk)).info["pretrained"]
    assert isinstance(known, dict)  # noqa: S101 -- so the teaching writes it
    figures = {name: value for name, value in known.items() if isinstance(value, float)}
    return f"{figures['foreground_iou']:.3f}", f"{np.mean([figures[name] for name in figures.keys() - NOT_SEEN]):.3f}"


def main() -> None:
    """Train and measure every row and print the tables."""
    asked = ask("python -m benchmarks.trunks", "Which trunk serves best.", "runs/trunks", many=True)
    console = Console(soft_wrap=True)
    learnt = Table("", "foreground IoU", "mean r", title="the trunks, on validation dives, as their teaching found")
    shown, kept = Table("", "seed", *SHOWN), []
    for row, _, named in (each.partition("=") for each in asked.trunk):
        first, _, second = named.partition("+")
        trunk = join_trunks(first, second, asked.out / f"{row}-joined") if second else first
        if not second:
            learnt.add_row(row, *taught(trunk))
        ground = Ground(asked, trunk, "train", ("test",))
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            model = ground.train(
                asked.out / f"{row}-{seed}", ground.config, epochs=asked.epochs, views=asked.views, seed=seed
            )
            figures = summarise(ground.predict(model)["test"]).figures()
            kept.append({"row": row, "seed": seed, **figures})
            shown.add_row(row, str(seed), *(f"{figures[key]:.3f}" for key in SHOWN))
            console.print(f"{row}, seed {seed}: rho {figures['rho']:.3f}, R-l2 {figures['relative_l2']:.3f}")
    console.print(learnt, shown)
    with whole_file(asked.out / "figures.json", "the figures") as part:
        part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
