"""Shared by the benchmarks that train heads on a frozen backbone: data, encodings and runs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track

from finecausal_cli.data.cache import ClipCache, default_cache
from finecausal_cli.data.datasets import assign_splits, read_dataset
from finecausal_cli.device import resolve_device
from finecausal_cli.errors import TrainingError
from finecausal_cli.evaluation.predict import bank_of, mean_execution, predict
from finecausal_cli.retrieval.bank import spread_exemplars
from finecausal_cli.training import TRUNK, TrainOptions
from finecausal_cli.training.batches import Views
from finecausal_cli.training.checkpoint import RUN_NAME, read_run
from finecausal_cli.training.run import locate_init, train
from finecausal_cli.weights.hub import resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.data import Dive
    from finecausal_cli.evaluation.predict import Prediction
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.model.finecausal import FineCausal

EXEMPLARS = 10
EPOCHS = 10
GROUPS_PER_BATCH = 3


def parse_arguments(program: str, description: str, out: str, *, many: bool = False) -> argparse.Namespace:
    """Parse the command line: data, one backbone or many, and how to train."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("data", type=Path)
    parser.add_argument("backbone", nargs="+" if many else None)
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the frozen backbone")
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


class FrozenBackbone:
    """A frozen backbone with the training and test dives of its heads.

    Args:
        args: Result of `parse_arguments`.
        backbone: Weights of the backbone.
        training: Part to train on; its validation dives are the part ``validation``.
        parts: Further parts to measure on.
    """

    def __init__(self, args: argparse.Namespace, backbone: str, training: str, parts: Sequence[str]) -> None:
        self._folder, self._cache, self._precision = args.data / training, args.cache, args.precision
        self._device = resolve_device(args.device)
        self._init = locate_init(f"{TRUNK}{backbone}")
        loaded = load_weights(resolve_weights(backbone), device=self._device)
        self.config = loaded.config.model_copy(update={"recognises": False})
        clips = ClipCache(args.cache, geometry=loaded.config.geometry, frame_size=loaded.config.frame_size)
        self._views = Views(loaded.model, clips, args.cache, 1, args.precision)
        self._dives = assign_splits([dive for dive in read_dataset(self._folder) if dive.score is not None])
        self.training = [dive for dive in self._dives if dive.split == "train"]
        self.parts = {"validation": [dive for dive in self._dives if dive.split == "val"]}
        self.parts |= {name: list(read_dataset(args.data / name)) for name in parts}
        self._exemplars = spread_exemplars(self.training, EXEMPLARS)
        everything = [dive for part in (self._exemplars, *self.parts.values()) for dive in part]
        for dive in track(everything, "encoding", console=Console(stderr=True)):
            self._views.load(dive)

    def also(self, folder: Path) -> list[Dive]:
        """Return the training dives of another part of the benchmark, with unique keys."""
        dives = assign_splits([dive for dive in read_dataset(folder) if dive.score is not None])
        return [replace(dive, key=f"{folder.name}/{dive.key}") for dive in dives if dive.split == "train"]

    def train(
        self, folder: Path, config: ModelConfig, *, dives: int | None = None, more: Sequence[Dive] = (), **given: Any
    ) -> FineCausal:
        """Train the heads; resume a stopped run and reuse a finished one.

        Args:
            folder: The run's folder.
            config: The network.
            dives: Number of training dives, from the first; None for all.
            more: Additional training dives.
            given: Options of the run.

        Returns:
            The weights of the last epoch, which is chosen without validation dives.

        Raises:
            TrainingError: The folder holds a run on another backbone.
        """
        if (folder / RUN_NAME).exists() and read_run(folder, TrainOptions).options.init != self._init:
            raise TrainingError(
                "a run on another backbone", where=folder, hint="remove it, or give --out another folder"
            )
        epochs = given["epochs"]
        options = TrainOptions(
            init=self._init,
            freeze_backbone=True,
            groups_per_batch=GROUPS_PER_BATCH,
            precision=self._precision,
            validate_every=epochs,
            **given,
        )
        if not (folder / "last" / "config.json").exists() or not (folder / "best" / "config.json").exists():
            chosen = set(self.training[:dives])
            train(
                self._folder,
                folder,
                config=config,
                options=options,
                cache=self._cache,
                device=self._device,
                resume=(folder / "run.json").exists(),
                read=lambda _: [*(dive for dive in self._dives if dive.split != "train" or dive in chosen), *more],
            )
        return load_weights(folder / "last", device=self._device).model

    def predict(self, model: FineCausal, *, dives: int | None = None) -> dict[str, list[Prediction]]:
        """Score every part against exemplars from the training dives, or from the first ``dives`` of them."""
        training = self.training[:dives]
        exemplars = self._exemplars if dives is None else spread_exemplars(training, EXEMPLARS)
        bank = bank_of(self._views.encoded(model, exemplars), name="training dives", weights_digest="benchmark")
        baseline = mean_execution((dive.number, dive.execution) for dive in training)
        return {
            name: predict(model, self._views.encoded(model, part), bank, baseline=baseline, voters=EXEMPLARS)
            for name, part in self.parts.items()
        }
