"""One trunk for features and foreground, or two? ``python -m benchmarks.trunks DATA ONE APART LONGER``.

DATA is what ``make benchmark-data`` wrote; the others are trunks taught on ``DATA/train`` by ``weights/pretrain.py``:
ONE with the foreground, APART for as many steps with ``--foreground-apart``, LONGER as ONE but for twice as many. The
network of two trunks takes its features from APART and foreground and mask features from ONE, so that it was taught
for as long as LONGER, and reads a dive in twice the time. Everything behind the trunks is trained anew in several seeds
and measured on ``DATA/test``, against up to ten training dives of the same number.
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


def join_trunks(features: str, foreground: str, folder: Path) -> Path:
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
    return folder


def main() -> None:
    """Train and measure every row and print the tables."""
    names = ("one", "apart", "longer")
    asked = ask("python -m benchmarks.trunks", "One trunk or two.", "runs/trunks", names)
    console = Console(soft_wrap=True)
    taught = Table("", "foreground IoU", "mean r", title="the trunks, on validation dives, as their teaching found")
    for name in names:
        known = dict(load_weights(resolve_weights(getattr(asked, name))).info["pretrained"])
        seen = [value for key, value in known.items() if key not in {"step", "dataset", "stage", "foreground_iou"}]
        taught.add_row(name, f"{known['foreground_iou']:.3f}", f"{np.mean(seen):.3f}")
    console.print(taught)
    rows = {
        "one trunk": asked.one,
        "one trunk, foreground apart": asked.apart,
        "one trunk, taught twice as long": asked.longer,
        "two trunks": str(join_trunks(asked.apart, asked.one, asked.out / "joined")),
    }
    shown, kept = Table("", "seed", *SHOWN), []
    for row, trunk in rows.items():
        ground = Ground(asked, trunk, "train", ("test",))
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            folder = asked.out / f"{row.replace(' ', '-').replace(',', '')}-{seed}"
            model = ground.train(folder, ground.config, epochs=asked.epochs, views=asked.views, seed=seed)
            figures = summarise(ground.predict(model)["test"]).figures()
            kept.append({"row": row, "seed": seed, **figures})
            shown.add_row(row, str(seed), *(f"{figures[key]:.3f}" for key in SHOWN))
            console.print(f"{row}, seed {seed}: rho {figures['rho']:.3f}, R-l2 {figures['relative_l2']:.3f}")
    console.print(shown)
    with whole_file(asked.out / "figures.json", "the figures") as part:
        part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
