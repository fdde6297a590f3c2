"""The training loop. Whatever depends on chance is drawn from seed, step and dive, or saved in the checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from finecausal_cli.data.batch import PairBatch, collate
from finecausal_cli.errors import TrainingError
from finecausal_cli.evaluation.predict import Summary
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.fold import lay_out
from finecausal_cli.training.batches import Part, StepPlan, load_steps
from finecausal_cli.training.checkpoint import Progress, restore, save_checkpoint
from finecausal_cli.training.freezing import set_training
from finecausal_cli.training.log import RunLog
from finecausal_cli.training.step import Stepper

if TYPE_CHECKING:
    from pathlib import Path

    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.data.dive import Dive
    from finecausal_cli.data.pairing import Group
    from finecausal_cli.data.swap import BackgroundSwap
    from finecausal_cli.training.options import TrainOptions
    from finecausal_cli.training.processes import Processes
    from finecausal_cli.training.views import Views

LAST_NAME = "last.pt"

Report = Callable[[Progress, dict[str, float]], object]
Validate = Callable[[FineCausal], Summary]
Keep = Callable[[FineCausal, Summary, Progress], object]


class Trainer:
    """Train one network on one set of dives.

    Args:
        model: The network.
        dives: Training dives, all with scores.
        cache: Where their clips come from.
        options: What to do.
        folder: The run's folder: checkpoint and log.
        processes: Where to compute, and with whom.
        views: What the network's frozen trunk makes of the dives, to be learned from in place of clips.
        swap: Shows some dives before other backgrounds.
    """

    def __init__(
        self,
        model: FineCausal,
        dives: Sequence[Dive],
        cache: ClipCache,
        options: TrainOptions,
        folder: Path,
        processes: Processes,
        *,
        views: Views | None = None,
        swap: BackgroundSwap | None = None,
    ) -> None:
        if len(dives) < 2:
            raise TrainingError("fewer than two training dives with a score", hint="pairs need two")
        model = lay_out(model.to(processes.device))
        if processes.count > 1 and processes.device.type == "cuda":
            # Over all processes, as if the batch were not divided. Torch has no such thing for a CPU.
            model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        self._dives = dives
        self._cache = cache
        self._views = views
        self._swap = swap
        self._options = options
        self._folder = folder
        self._log = RunLog(folder, "epoch")
        self._processes = processes
        self._plan = StepPlan(dives, options)
        self._stepper = Stepper(model, options, processes, self.steps)
        self._waited = self._begun = 0.0
        self.progress = Progress()

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self._options.epochs * self._plan.steps_per_epoch

    @property
    def model(self) -> FineCausal:
        """The network that is validated and kept."""
        return self._stepper.best_model

    @property
    def waiting_share(self) -> float:
        """Share of the current epoch's time that went by waiting for data, 0..1."""
        passed = time.perf_counter() - self._begun
        return self._waited / passed if passed > 0 else 0.0

    def _collate(self, groups: Sequence[Group], epoch: int) -> PairBatch:
        seed, size = self._options.seed, self._stepper.model.config.frame_size
        if self._views is not None:
            return self._views.collate(groups, self._dives, seed=seed, epoch=epoch)
        return collate(groups, self._dives, self._cache.load, frame_size=size, seed=seed, epoch=epoch, swap=self._swap)

    def resume(self) -> None:
        """Go back to the last checkpoint.

        Raises:
            TrainingError: There is none, or it is damaged or of another network.
        """
        self.progress = restore(self._folder / LAST_NAME, self._stepper.parts())
        if self._processes.is_main:
            self._log.forget_after(self.progress.epoch)

    def fit(self, *, report: Report, validate: Validate, keep: Keep) -> None:
        """Run until the last epoch, or until validation has not improved for long enough.

        Args:
            report: Called after every step with the losses.
            validate: Measures the network on the validation set. The main process alone calls it.
            keep: Called with the network when it is the best so far, before the checkpoint that says so. The main
                process alone calls it.

        Raises:
            TrainingError: The loss is no longer a finite number.
            FinecausalError: A clip cannot be read.
        """
        batches = load_steps(
            self._collate, self._plan, self._options, processes=self._processes, first=self.progress.step
        )
        while self.progress.epoch < self._options.epochs and not self._is_stale():
            self._run_epoch(batches, report)
            done = self.progress.epoch + 1
            self._stepper.average_statistics()
            best, stale = self.progress.best_rho, self.progress.stale
            if done % self._options.validate_every == 0 or done == self._options.epochs:
                best, stale = self._validate(validate, keep)
            self.progress = Progress(done, 0, self.progress.step, best, stale)
            self._save()

    def _is_stale(self) -> bool:
        return self._options.patience is not None and self.progress.stale >= self._options.patience

    def _run_epoch(self, batches: Iterator[list[Part]], report: Report) -> None:
        set_training(self._stepper.model, self._options)
        self._waited, self._begun = 0.0, time.perf_counter()
        for _ in range(self.progress.batch, self._plan.steps_per_epoch):
            asked = time.perf_counter()
            parts = next(batches)
            self._waited += time.perf_counter() - asked
            losses = self._stepper(parts, self.progress.step)
            self.progress = replace(self.progress, batch=self.progress.batch + 1, step=self.progress.step + 1)
            report(self.progress, losses)
            if self.progress.step % self._options.save_every == 0:
                self._stepper.average_statistics()
                self._save()

    def _validate(self, validate: Validate, keep: Keep) -> tuple[float | None, int]:
        best, stale = self.progress.best_rho, self.progress.stale
        if self._processes.is_main:
            was_training = self.model.training
            summary = validate(self.model.eval())
            # Equal predictions have no rho: as bad as can be, yet worth keeping.
            rho = -1.0 if math.isnan(summary.rho) else summary.rho
            stale += 1
            if best is None or rho > best:
                best, stale = rho, 0
                keep(self.model, summary, self.progress)
            self._log.append({"epoch": self.progress.epoch + 1, "step": self.progress.step, **summary.figures()})
            self.model.train(was_training)
        return self._processes.tell((best, stale))

    def _save(self) -> None:
        if self._processes.is_main:
            state = {name: part.state_dict() for name, part in self._stepper.parts().items()}
            save_checkpoint(self._folder / LAST_NAME, state, self.progress)
