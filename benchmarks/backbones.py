"""Compare pretrained backbones: ``python -m benchmarks.backbones DATA NAME=BACKBONE NAME=BACKBONE ...``.

DATA is the output of ``make benchmark-data``; a BACKBONE are weights from ``finecausal pretrain DATA/train``. The heads
of each are trained with several seeds and measured on ``DATA/test``, against up to ten training dives of the same
number. For example one backbone for features and foreground or two, and fitted or squeezed pictures:

    finecausal pretrain DATA/train -o runs/one --steps 1200
    finecausal pretrain DATA/train -o runs/longer --steps 2400
    finecausal pretrain DATA/train -o runs/two --steps 1200 --two-trunks
    finecausal pretrain DATA/train -o runs/squeezed --steps 1200 --geometry squeeze
    python -m benchmarks.backbones DATA one=runs/one longer=runs/longer two=runs/two squeezed=runs/squeezed
"""

from __future__ import annotations

import json

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.frozen_backbone import FrozenBackbone, parse_arguments
from finecausal_cli.atomic import atomic_write
from finecausal_cli.evaluation.predict import summarise
from finecausal_cli.training.motion_snippets import SEEN
from finecausal_cli.weights import WeightsInfo, read_manifest
from finecausal_cli.weights.hub import resolve_weights

SHOWN = ("rho", "relative_l2", "aiou_50", "aiou_75", "mean_absolute_error")


def pretraining_metrics(backbone: str) -> tuple[str, str]:
    """Return foreground IoU and mean correlation on the validation dives of pretraining."""
    folder = resolve_weights(backbone)
    figures = WeightsInfo.read(read_manifest(folder).info, folder).training["understood"]
    assert isinstance(figures, dict)  # noqa: S101 -- pretraining writes a table
    seen = [r for name in SEEN if isinstance(r := figures[name], float)]
    return f"{figures['foreground_iou']:.3f}", f"{np.mean(seen):.3f}"


def main() -> None:
    """Train and measure every backbone."""
    args = parse_arguments(
        "python -m benchmarks.backbones", "Compare pretrained backbones.", "runs/backbones", many=True
    )
    console = Console(soft_wrap=True)
    table, results = Table("", "foreground IoU", "mean r", "seed", *SHOWN), []
    for row, _, backbone in (pair.partition("=") for pair in args.backbone):
        frozen = FrozenBackbone(args, backbone, "train", ("test",))
        metrics = pretraining_metrics(backbone)
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            folder = args.out / f"{row}-{seed}"
            model = frozen.train(folder, frozen.config, epochs=args.epochs, views=args.views, seed=seed)
            figures = summarise(frozen.predict(model)["test"]).figures()
            results.append({"row": row, "seed": seed, **figures})
            table.add_row(row, *metrics, str(seed), *(f"{figures[key]:.3f}" for key in SHOWN))
            console.print(f"{row}, seed {seed}: rho {figures['rho']:.3f}, R-l2 {figures['relative_l2']:.3f}")
    console.print(table)
    with atomic_write(args.out / "figures.json", "the figures") as part:
        part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
