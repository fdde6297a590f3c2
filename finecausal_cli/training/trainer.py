"""The training loop. Whatever depends on chance is drawn from seed, epoch and dive, or saved in the checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from finecausal_cli.data.batch import PairBatch, collate
from finecausal_cli.data.cache import NO_TRANSITION, ClipArrays, ClipCache
from finecausal_cli.data.pairing import Group, plan_epoch
from finecausal_cli.errors import TrainingError
from finecausal_cli.evaluation.predict import Summary
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from finecausal_cli.training.losses import UncertaintyWeights, all_losses
from finecausal_cli.video.transform import normalise

if TYPE_CHECKING:
    from pathlib import Path

    from finecausal_cli.data.dive import Dive
    from finecausal_cli.training.options import TrainOptions

LAST_NAME = "last.pt"
LOG_NAME = "log.jsonl"

Report = Callable[[Progress, dict[str, float]], object]
Validate = Callable[[FineCausal], Summary]
Keep = Callable[[FineCausal, Summary, Progress], object]


@dataclass(frozen=True)
class _Epoch:
    """What the batches of one epoch are made of."""

    dives: Sequence[Dive]
    load: Callable[[Dive], ClipArrays]
    plan: Sequence[Sequence[Group]]
    frame_size: int
    seed: int
    epoch: int


class _EpochBatches(Dataset[PairBatch]):
    def __init__(self, epoch: _Epoch, first: int) -> None:
        self._epoch = epoch
        self._first = first

    def __len__(self) -> int:
        return len(self._epoch.plan) - self._first

    def __getitem__(self, index: int) -> PairBatch:
        made_of = self._epoch
        return collate(
            made_of.plan[self._first + index],
            made_of.dives,
            made_of.load,
            frame_size=made_of.frame_size,
            seed=made_of.seed,
            epoch=made_of.epoch,
        )


class Trainer:
    """Train one network on one set of dives.

    Args:
        model: The network.
        dives: Training dives, all with scores.
        cache: Where their clips come from.
        options: What to do.
        folder: The run's folder: checkpoint and log.
        device: Where to compute.
    """

    def __init__(
        self,
        model: FineCausal,
        dives: Sequence[Dive],
        cache: ClipCache,
        options: TrainOptions,
        folder: Path,
        device: torch.device,
    ) -> None:
        if len(dives) < 2:
            raise TrainingError("fewer than two training dives with a score", hint="pairs need two")
        if options.precision == "bf16" and device.type == "cpu":
            # Measured with torch 2.13: gradients of 3-D convolutions in bf16 on a CPU hold garbage of size 1e14.
            raise TrainingError("bf16 gradients are wrong on a CPU", where="--precision", hint="train in fp32")
        # Channels last is what 3-D convolutions run fastest on, forward and backward, on CPU and GPU alike.
        self._model = model.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._weights = UncertaintyWeights().to(device)
        self._dives = dives
        self._cache = cache
        self._options = options
        self._folder = folder
        self._device = device
        self._numbers = [dive.number for dive in dives]
        self._steps = options.epochs * len(self._plan(0))
        self._optimizer = _optimizer(model, self._weights, options)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._rate)
        self.progress = Progress()

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self._steps

    def resume(self) -> None:
        """Go back to the last checkpoint.

        Raises:
            TrainingError: There is none, or it is damaged or of another network.
        """
        path = self._folder / LAST_NAME
        state, self.progress = load_checkpoint(path)
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(
                f"a checkpoint of another network or version: {error}", where=path, hint="start anew elsewhere"
            ) from None

    def fit(self, *, report: Report, validate: Validate, keep: Keep) -> None:
        """Run until the last epoch.

        Args:
            report: Called after every step with the losses.
            validate: Measures the network on the validation set.
            keep: Called with the network when it is the best so far, before the checkpoint that says so.

        Raises:
            TrainingError: The loss is no longer a finite number.
        """
        while self.progress.epoch < self._options.epochs:
            self._run_epoch(report)
            done = self.progress.epoch + 1
            best = self.progress.best_rho
            if done % self._options.validate_every == 0 or done == self._options.epochs:
                best = self._validate(validate, keep)
            self.progress = Progress(done, 0, self.progress.step, best)
            self._save()

    def _run_epoch(self, report: Report) -> None:
        plan = self._plan(self.progress.epoch)
        self._model.train()
        for batch in self._batches(plan):
            losses = self._step(batch.to(self._device))
            self.progress = replace(self.progress, batch=self.progress.batch + 1, step=self.progress.step + 1)
            report(self.progress, losses)
            if self.progress.step % self._options.save_every == 0:
                self._save()

    def _batches(self, plan: Sequence[Sequence[Group]]) -> Iterator[PairBatch]:
        size, seed = self._model.config.frame_size, self._options.seed
        epoch = _Epoch(self._dives, self._cache.load, plan, size, seed, self.progress.epoch)
        # Batches come whole and in order, so neither the sampler nor the workers draw anything at random.
        generator = torch.Generator().manual_seed(0)
        yield from DataLoader(_EpochBatches(epoch, self.progress.batch), batch_size=None, generator=generator)

    def _step(self, batch: PairBatch) -> dict[str, float]:
        bf16 = self._options.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
            wants_mask = bool(batch.has_mask.any())
            encoding = self._model.encode(normalise(batch.clips), foreground="all" if wants_mask else "none")
        foreground = None if encoding.foreground is None else [one.float() for one in encoding.foreground]
        encoding = replace(encoding, video=encoding.video.float(), mask=encoding.mask.float(), foreground=None)
        pairs = self._model.compare(
            encoding.select(batch.query), encoding.select(batch.exemplar), transitions=_known_transitions(batch)
        )
        losses = all_losses(foreground, pairs, batch)
        total: Tensor = self._weights(losses)
        if not math.isfinite(float(total.detach())):
            raise TrainingError(
                f"the loss is {float(total.detach())} at step {self.progress.step}", hint="lower --lr, or use fp32"
            )
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters(), self._options.clip_norm)
        self._optimizer.step()
        self._schedule.step()
        numbers = {name: float(loss.detach()) for name, loss in losses.items()}
        return {"total": float(total.detach()), "gradient": float(norm), **numbers}

    def _validate(self, validate: Validate, keep: Keep) -> float | None:
        rng = torch.get_rng_state()
        self._model.eval()
        summary = validate(self._model)
        best = self.progress.best_rho
        rho = -1.0 if math.isnan(summary.rho) else summary.rho  # equal predictions: as bad as can be, yet worth keeping
        if best is None or rho > best:
            best = rho
            keep(self._model, summary, self.progress)
        self.log({"epoch": self.progress.epoch + 1, "step": self.progress.step, **summary.figures()})
        torch.set_rng_state(rng)
        return best

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to the run's log."""
        with (self._folder / LOG_NAME).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self._model,
            "weights": self._weights,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
        }

    def _save(self) -> None:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        save_checkpoint(self._folder / LAST_NAME, state, self.progress)

    def _parameters(self) -> Iterator[nn.Parameter]:
        yield from self._model.parameters()
        yield from self._weights.parameters()

    def _plan(self, epoch: int) -> list[list[Group]]:
        options = self._options
        return plan_epoch(
            self._numbers,
            group=options.group,
            groups_per_batch=options.groups_per_batch,
            seed=options.seed,
            epoch=epoch,
        )

    def _rate(self, step: int) -> float:
        """Return the share of the peak rate: up in a line, down in a cosine."""
        warm = max(1, round(self._options.warmup * self._steps))
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, self._steps - warm))))


def _known_transitions(batch: PairBatch) -> Tensor | None:
    """Cut the stages where they truly are, if that is known of every dive; else where the network says."""
    transitions = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]], 1)
    return None if bool((transitions == NO_TRANSITION).any()) else transitions


def _optimizer(model: FineCausal, weights: UncertaintyWeights, options: TrainOptions) -> torch.optim.Optimizer:
    trunks = {
        id(parameter)
        for trunk in (model.video_trunk, model.parser.trunk)
        if trunk is not None
        for parameter in trunk.parameters()
    }
    heads = [parameter for parameter in model.parameters() if id(parameter) not in trunks]
    groups = [
        {
            "params": [parameter for parameter in model.parameters() if id(parameter) in trunks],
            "lr": options.backbone_lr,
        },
        {"params": heads, "lr": options.lr},
        {"params": list(weights.parameters()), "lr": 10 * options.lr, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.lr, weight_decay=options.weight_decay)
