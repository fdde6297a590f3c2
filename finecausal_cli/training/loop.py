"""One training loop over a task, on accelerate: devices, autocast, clipping, averaging, checkpoints, resuming.

A task says what a step learns from (`batch`), what it costs (`loss`) and how good the network is (`validate`). A batch
follows from its step alone, so a run that was stopped goes on as if it had not been: on one CPU process to the bit.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

Batch = TypeVar("Batch")

logger = logging.getLogger(__name__)

STATE = "state"
LOG = "log.jsonl"


class Task(Protocol[Batch]):
    """What is learnt."""

    network: nn.Module

    def batch(self, step: int) -> Batch:
        """Return what step ``step`` learns from; called ahead of time, in another thread."""
        ...

    def loss(self, network: nn.Module, batch: Batch, device: torch.device) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss, and its parts by name for the log."""
        ...

    def validate(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """Return metrics on held-out data by name."""
        ...


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How a run learns.

    Attributes:
        steps: Optimiser steps.
        lr: Highest learning rate; a warm-up leads to it, a cosine away from it.
        backbone_lr: Factor on it for parameters whose name begins with ``backbone.``.
        warmup: Steps of the warm-up.
        weight_decay: AdamW's.
        clip: Largest norm of the gradient.
        average: Decay of the running mean of the weights, which is what is kept; 0 keeps the last ones.
        validate_every: Steps between validations.
        checkpoint_every: Steps between checkpoints.
        precision: ``no``, ``bf16`` or ``fp16``, as accelerate names them.
        seed: Of everything.
        ahead: Batches made ahead of time.
    """

    steps: int = 4000
    lr: float = 1e-3
    backbone_lr: float = 0.3
    warmup: int = 200
    weight_decay: float = 1e-4
    clip: float = 5.0
    average: float = 0.998
    validate_every: int = 500
    checkpoint_every: int = 250
    precision: str = "no"
    seed: int = 0
    ahead: int = 4


@dataclass
class _Progress:
    """How far a run is; part of its checkpoint."""

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.history = state["step"], state["history"]


class _Average:
    """The running mean of a network's parameters and buffers."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, 1 - decay)
            else:
                self.values[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return self.values

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            self.values[name].copy_(value)


class Trainer(Generic[Batch]):
    """Run a task's steps.

    Args:
        task: What is learnt.
        config: How.
        out: Folder of the run: checkpoints and the log.
        device: ``cpu`` to stay there, else accelerate's choice.
    """

    def __init__(self, task: Task[Batch], config: LoopConfig, out: Path, *, device: str = "auto") -> None:
        set_seed(config.seed)
        self.task, self.config, self.out = task, config, out
        self.accelerator = Accelerator(mixed_precision=config.precision, cpu=device == "cpu")
        groups = _parameter_groups(task.network, config)
        optimizer = torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config))
        self.progress = _Progress()
        self.network, self.optimizer, self.schedule = self.accelerator.prepare(task.network, optimizer, schedule)
        self.average = _Average(self.accelerator.unwrap_model(self.network), config.average)
        self.accelerator.register_for_checkpointing(self.progress, self.average)

    def resume(self) -> bool:
        """Go on from the run's checkpoint; False where there is none.

        Raises:
            TrainingError: The run began with other settings.
        """
        if not (self.out / STATE / "config.json").exists():
            return False
        began = json.loads((self.out / STATE / "config.json").read_text())
        differing = [name for name, value in asdict(self.config).items() if began.get(name) != value]
        if differing:
            what = f"the run began with another {', '.join(differing)}"
            raise TrainingError(what, where=self.out, hint="give the same settings, or another folder")
        self.accelerator.load_state(str(self.out / STATE))
        return True

    def run(self, report: Callable[[int, Mapping[str, float]], None] | None = None) -> Mapping[str, float]:
        """Learn to the last step and return the last validation's metrics.

        Args:
            report: Called with step and figures after every step.

        Raises:
            TrainingError: The loss is no number any more.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        metrics: Mapping[str, float] = self.progress.history[-1] if self.progress.history else {}
        with closing(self._batches()) as batches:
            for step, batch in batches:
                figures = self._step(batch)
                self.progress.step = step + 1
                if report is not None:
                    report(step + 1, figures)
                last = step + 1 == self.config.steps
                if last or (step + 1) % self.config.validate_every == 0:
                    metrics = self._validate(step + 1, figures)
                if last or (step + 1) % self.config.checkpoint_every == 0:
                    self.checkpoint()
        return metrics

    def averaged(self) -> dict[str, Tensor]:
        """Return the parameters to keep: the running mean, or the last ones."""
        if self.config.average:
            return self.average.values
        return dict(self.accelerator.unwrap_model(self.network).state_dict())

    def checkpoint(self) -> None:
        """Write everything that resuming needs; a crash in between leaves the checkpoint before."""
        if not self.accelerator.is_main_process:
            return
        fresh, place = self.out / f".{STATE}.new", self.out / STATE
        shutil.rmtree(fresh, ignore_errors=True)
        self.accelerator.save_state(str(fresh))
        (fresh / "config.json").write_text(json.dumps(asdict(self.config)))
        old = self.out / f".{STATE}.old"
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        fresh.rename(place)
        shutil.rmtree(old, ignore_errors=True)

    def _batches(self) -> Generator[tuple[int, Batch], None, None]:
        """Give (step, batch) from where the run is, made ahead in a thread."""
        with ThreadPoolExecutor(1) as pool:
            steps = range(self.progress.step, self.config.steps)
            waiting = [pool.submit(self.task.batch, step) for step in steps[: self.config.ahead]]
            for step in steps:
                batch = waiting.pop(0).result()
                if step + self.config.ahead < self.config.steps:
                    waiting.append(pool.submit(self.task.batch, step + self.config.ahead))
                yield step, batch

    def _step(self, batch: Batch) -> dict[str, float]:
        self.network.train()
        with self.accelerator.autocast():
            loss, parts = self.task.loss(self.network, batch, self.accelerator.device)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(f"the loss is {loss.item()}", where=self.out, hint="lower the learning rate")
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.average.update(self.accelerator.unwrap_model(self.network), self.progress.step)
        return {"loss": float(loss.detach()), **parts}

    def _validate(self, step: int, figures: Mapping[str, float]) -> Mapping[str, float]:
        """Measure the averaged network, and log it."""
        network = self.accelerator.unwrap_model(self.network)
        current = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.averaged())
        network.eval()
        with torch.inference_mode():
            metrics = dict(self.task.validate(network, self.accelerator.device))
        network.load_state_dict(current)
        line = {"step": float(step), **figures, **metrics}
        self.progress.history.append(line)
        if self.accelerator.is_main_process:
            with atomic_write(self.out / LOG, "the run's log") as part:
                part.write_text("".join(json.dumps(one) + "\n" for one in self.progress.history))
        logger.info("step %d: %s", step, line)
        return metrics


def _rate(step: int, config: LoopConfig) -> float:
    """Return the factor on the learning rate at a step."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    share = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def _parameter_groups(network: nn.Module, config: LoopConfig) -> list[dict[str, Any]]:
    groups = []
    for is_backbone, factor in ((True, config.backbone_lr), (False, 1.0)):
        chosen = [
            value
            for name, value in network.named_parameters()
            if value.requires_grad and name.startswith("backbone.") == is_backbone
        ]
        if chosen:
            groups.append({"params": chosen, "lr": config.lr * factor})
    return groups
