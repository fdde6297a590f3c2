"""The trainer: one loop for every task, on accelerate.

A task says what a step is trained on, what it costs and how good the network is. Batches and random numbers follow
from seed and step alone, so a resumed run equals an uninterrupted one: on one CPU process to the bit.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list
from torch import Tensor, distributed, nn
from torch.optim.swa_utils import AveragedModel

from finecausal_cli.data.cache import load_ahead
from finecausal_cli.device import ExecutionPlan
from finecausal_cli.errors import TrainingError
from finecausal_cli.training import process_count
from finecausal_cli.training.checkpoint import Progress, RunLog, restore, save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from finecausal_cli.data.cache import CacheSize
    from finecausal_cli.training.checkpoint import HasState

Batch = TypeVar("Batch")

BOARD_NAME = "tensorboard"
"""Folder of the curves in a run's folder."""

_PROJECT = "finecausal"
_TIMEOUT = timedelta(hours=12)
"""How long a process waits for another, which may be validating or reading clips. One that dies is not waited for:
torchrun stops the others."""


class Task(ABC, Generic[Batch]):
    """What is trained, on what, by which loss.

    Attributes:
        network: The network that is trained, averaged, validated and kept.
        batch: Makes what this process trains on at a step; called ahead of time, maybe in another process.
        held_out_batch: Makes what a validation reads by its index, likewise; None where ``validate`` reads by itself.
    """

    network: nn.Module
    batch: Callable[[int], Batch]
    held_out_batch: Callable[[int], Any] | None = None

    def held_out_count(self, *, is_last: bool) -> int:
        """Return how many batches a validation reads."""
        return 0

    def micro_batches(self, batch: Batch) -> Sequence[Any]:
        """Return the parts of a batch to take one after the other; their gradients add up."""
        return (batch,)

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a micro-batch, and its parts by name. Over micro-batches and processes both add up."""

    def validate(
        self, network: nn.Module, device: torch.device, *, is_last: bool = True, held_out: Iterator[Any] | None = None
    ) -> Mapping[str, Any]:
        """Return metrics on held-out data by name; none by default. Called by the main process alone.

        Args:
            network: What is measured, in evaluation mode.
            device: Where it is.
            is_last: Whether the run ends.
            held_out: The batches by ``held_out_batch``, in order; None makes them here.
        """
        return {}

    def held_out(self, *, is_last: bool) -> Iterator[Any]:
        """Make the batches of a validation one by one."""
        make = self.held_out_batch
        return iter(()) if make is None else map(make, range(self.held_out_count(is_last=is_last)))

    def keep(self, network: nn.Module, metrics: Mapping[str, Any], progress: Progress, *, is_best: bool) -> None:
        """Store a network that has been validated, before the checkpoint says so; the main process alone calls it."""

    @abstractmethod
    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak learning rates, 0..1, at a step of so many."""

    def parameter_groups(self, config: TrainerConfig) -> list[dict[str, Any]]:
        """Return the parameters to optimise, as torch's optimisers take them; ``config`` has the default rates."""
        return [{"params": [each for each in self.network.parameters() if each.requires_grad]}]

    def state(self) -> dict[str, HasState]:
        """Return what a checkpoint holds besides network and optimiser, by name."""
        return {}

    def train_mode(self) -> None:
        """Switch to training mode."""
        self.network.train()


_CHANGEABLE = ("workers", "steps", "patience", "read_every")
"""Settings that may differ from those of the checkpoint that a run is resumed from."""

_READ_EVERY = 20
"""Steps between readings of the losses where a reading waits for a device that computes by itself."""


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """How a run is trained.

    Attributes:
        steps: Optimiser steps.
        lr: Peak learning rate (AdamW) of groups of parameters without their own.
        weight_decay: Decoupled weight decay of groups without their own.
        clip_norm: Largest norm of the gradient.
        ema: Decay of the running mean of the weights, which is then what is validated and kept; 0 is off.
        steps_per_epoch: Steps of an epoch; None counts no epochs.
        validate_every: Steps between validations, the last step has one too; None never validates.
        checkpoint_every: Steps between checkpoints; validations and epochs end with one too.
        monitor: Metric by which a network is the best; None calls every one the best.
        patience: Validations without a better one after which the run ends; None never ends it early.
        log_losses: Whether a line of the log holds the losses of its step too.
        seed: Numbers that everything random follows from, with the step.
        workers: Processes that make batches ahead of time; 0 makes them in between.
        read_every: Steps after which the losses are read from the device, logged and reported, all at once; before a
            validation and a checkpoint they always are. None reads each step's on a CPU, where it costs nothing.
    """

    steps: int
    lr: float = 1e-3
    weight_decay: float = 1e-2
    clip_norm: float = math.inf
    ema: float = 0.0
    steps_per_epoch: int | None = None
    validate_every: int | None = None
    checkpoint_every: int = 250
    monitor: str | None = None
    patience: int | None = None
    log_losses: bool = False
    seed: tuple[int, ...] = (0,)
    workers: int = 0
    read_every: int | None = None


def _noop(*_: object) -> None:
    """No-op callback."""


@dataclass(frozen=True)
class Callbacks:
    """Callbacks of a run; each is optional. The main process alone calls them.

    Attributes:
        data: Called once with the number of training and validation dives and of optimiser steps.
        decoded: Called after each clip that is read before the first step.
        cached: Called once with the size of the clip cache; not at all without a cache.
        step: Called once for each optimiser step, in order, with the losses by name, ``total`` and ``gradient`` (its
            norm) among them; on a GPU some steps late, when they are read.
        waited: Called before each validation with the share of the epoch's time spent waiting for data, 0..1.
        validated: Called after each validation with its result.
    """

    data: Callable[[int, int, int], object] = _noop
    decoded: Callable[[], object] = _noop
    cached: Callable[[CacheSize], object] = _noop
    step: Callable[[Progress, dict[str, float]], object] = _noop
    waited: Callable[[float], object] = _noop
    validated: Callable[[Any], object] = _noop


@dataclass(frozen=True, slots=True)
class _Step:
    """A step whose losses lie on the device still: where the run stood after it, waiting share, losses by name."""

    progress: Progress
    waited: float
    losses: dict[str, Tensor]


class Trainer(Generic[Batch]):
    """Train the network of a task.

    Args:
        task: What is trained.
        config: How.
        accelerator: Device, precision and processes, from `start_accelerator`.
        folder: The run's folder: checkpoint and log; None keeps neither.
        checkpoint_name: Name of the checkpoint in it.
    """

    def __init__(
        self,
        task: Task[Batch],
        config: TrainerConfig,
        accelerator: Accelerator,
        folder: Path | None = None,
        *,
        checkpoint_name: str = "last.pt",
    ) -> None:
        self.task, self.config, self.accelerator = task, config, accelerator
        self._checkpoint = None if folder is None else folder / checkpoint_name
        self._log = None if folder is None else RunLog(folder, "step")
        self.network = task.network.to(accelerator.device)
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            # Normalise over all processes, as if the batch were not divided. Torch has no such layer for a CPU.
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)  # type: ignore[no-untyped-call]
            task.network = self.network
        optimizer = torch.optim.AdamW(task.parameter_groups(config), lr=config.lr, weight_decay=config.weight_decay)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self._parameters = [each for group in optimizer.param_groups for each in group["params"]]
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        self.average = average_weights(self.network, config.ema) if config.ema else None
        self._waited = self._epoch_start = 0.0
        self._unread: list[_Step] = []
        self._read_every = config.read_every or (1 if accelerator.device.type == "cpu" else _READ_EVERY)
        self.progress = Progress()

    @property
    def best_network(self) -> nn.Module:
        """The network to validate and to keep: the running mean of the weights, if there is one."""
        return self.network if self.average is None else self.average.module

    @property
    def waiting_share(self) -> float:
        """Share of the current epoch's time spent waiting for data, 0..1."""
        passed = time.perf_counter() - self._epoch_start
        return self._waited / passed if passed > 0 else 0.0

    def resume(self, *, missing_ok: bool = False) -> bool:
        """Go back to the checkpoint, and drop what was logged after it.

        Args:
            missing_ok: Start from the first step where there is no checkpoint.

        Returns:
            Whether there is one.

        Raises:
            TrainingError: It is missing, damaged, or of another network or other settings.
        """
        if self._checkpoint is None:
            raise TrainingError("a run without a folder has no checkpoint")
        exists = self._checkpoint.exists() or not missing_ok
        if exists:
            self.progress = restore(self._checkpoint, self._state(), self._settings())
        if self._log is not None and self.accelerator.is_main_process:
            self._log.forget_after(self.progress.step)
        return exists

    def fit(self, callbacks: Callbacks | None = None) -> dict[str, Any]:
        """Train to the last step, or until validation has not improved for long enough.

        Returns:
            What was logged last; empty on other processes than the main one.

        Raises:
            TrainingError: The loss is no longer a finite number.
            FinecausalError: A clip cannot be read.
        """
        calls, config = callbacks or Callbacks(), self.config
        self.task.train_mode()
        self._unread.clear()
        self._waited, self._epoch_start = 0.0, time.perf_counter()
        batches = load_ahead(
            _Feed(self.task),
            self._order(),
            workers=config.workers,
            pin_memory=self.accelerator.device.type == "cuda",
        )
        while not self.is_done:
            began = time.perf_counter()
            batch = next(batches)
            self._waited += time.perf_counter() - began
            losses = self.train_step(batch)
            step, at = self.progress.step + 1, self.progress.batch + 1
            self.progress = replace(self.progress, batch=at, step=step)
            self._unread.append(_Step(self.progress, self.waiting_share, losses))
            is_due, ends_epoch = self._is_due(step), at == config.steps_per_epoch
            saves = is_due or ends_epoch or step % config.checkpoint_every == 0
            if saves or len(self._unread) >= self._read_every:
                values = self._read(calls)
            if is_due:
                calls.waited(self.waiting_share)
                self._validate(values, batches)
            if ends_epoch:
                self.progress = replace(self.progress, epoch=self.progress.epoch + 1, batch=0)
                self._waited, self._epoch_start = 0.0, time.perf_counter()
            if saves:
                self._save()
        return self._log.last() if self._log is not None and self.accelerator.is_main_process else {}

    def _is_due(self, step: int) -> bool:
        """Return whether a validation follows so many steps."""
        every = self.config.validate_every
        return every is not None and (step % every == 0 or step == self.config.steps)

    def _order(self) -> Iterator[tuple[bool, int]]:
        """Yield what is read, in order: steps and, between them, batches of validations (True).

        So the processes that read ahead know what comes after what, and go on with the next steps while one validates.
        """
        for step in range(self.progress.step, self.config.steps):
            yield False, step
            if self.accelerator.is_main_process and self._is_due(step + 1):
                is_last = step + 1 == self.config.steps
                yield from ((True, index) for index in range(self.task.held_out_count(is_last=is_last)))

    def _read(self, calls: Callbacks) -> dict[str, float]:
        """Read the losses of the steps since the last reading, which waits for the device; log and report them.

        Returns:
            Those of the last step.

        Raises:
            TrainingError: A loss is not a finite number.
        """
        flat = torch.stack([value.float() for each in self._unread for value in each.losses.values()])
        values = iter(flat.tolist())
        losses: dict[str, float] = {}
        for each in self._unread:
            losses = {name: next(values) for name in each.losses}
            step, total = each.progress.step, losses["total"]
            if not math.isfinite(total):
                raise TrainingError(f"the loss is {total} at step {step - 1}", hint="lower --lr, or use fp32")
            curves = {f"training/{name}": value for name, value in losses.items()}
            self.accelerator.log({**curves, "time/waiting_for_data": each.waited}, step=step)
            calls.step(each.progress, losses)
        self._unread.clear()
        return losses

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """Take one optimiser step; nothing waits for the device.

        Returns:
            The ``total`` loss, the norm of its ``gradient`` before clipping, and the parts of the loss by name; numbers
            on the device.
        """
        step = self.progress.step
        factor = self.task.lr_factor(step, self.config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.optimizer.zero_grad()
        losses = self._forward_backward(batch, step)
        self._reduce_gradients()
        norm = self.accelerator.clip_grad_norm_(self._parameters, self.config.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return {"total": losses.pop("total"), "gradient": norm, **losses}

    def _forward_backward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Add up losses and gradients of the micro-batches; the losses over all processes too."""
        micro_batches = self.task.micro_batches(batch)
        sums: dict[str, Tensor] = {}
        for index, micro_batch in enumerate(micro_batches, self.accelerator.process_index * len(micro_batches)):
            seed_from(*self.config.seed, step, index)
            with self.accelerator.autocast():
                loss, parts = self.task.loss(self.network, micro_batch, self.accelerator.device)
            self.accelerator.backward(loss)
            for name, value in {"total": loss, **parts}.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        return dict(zip(sums, all_reduce(self.accelerator, torch.stack([*sums.values()])), strict=True))

    def _reduce_gradients(self) -> None:
        """Add up the gradients of all processes; the loss of each is its share of the batch's already."""
        if self.accelerator.num_processes == 1:
            return
        used = sum_counts(self.accelerator, [each.grad is not None for each in self._parameters])
        grads = [torch.zeros_like(each) if each.grad is None else each.grad for each in self._parameters]
        flat = all_reduce(self.accelerator, torch.cat([grad.flatten() for grad in grads]))
        pieces = torch.split(flat, [grad.numel() for grad in grads])
        for parameter, grad, piece, count in zip(self._parameters, grads, pieces, used, strict=True):
            # What no process used has no gradient, and its moments rest, as with one process.
            parameter.grad = grad.copy_(piece.view(grad.shape)) if count else None

    def _average_buffers(self) -> None:
        """Give every process the mean of all processes' running statistics: each saw its own parts of the batches."""
        if self.accelerator.num_processes == 1:
            return
        for module in (self.network, self.average):
            for buffer in () if module is None else module.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(all_reduce(self.accelerator, buffer) / self.accelerator.num_processes)

    @property
    def is_done(self) -> bool:
        """Whether the last step is done, or validation has not improved for long enough."""
        is_stale = self.config.patience is not None and self.progress.stale >= self.config.patience
        return is_stale or self.progress.step >= self.config.steps

    def _validate(self, losses: Mapping[str, float], batches: Iterator[Any]) -> None:
        self._average_buffers()
        best, stale = self.progress.best, self.progress.stale
        if self.accelerator.is_main_process:
            network = self.best_network.eval()
            with torch.no_grad():
                is_last = self.progress.step == self.config.steps
                held_out = islice(batches, self.task.held_out_count(is_last=is_last))
                metrics = dict(self.task.validate(network, self.accelerator.device, is_last=is_last, held_out=held_out))
                deque(held_out, maxlen=0)  # what was not read of it, or it would be taken for a step
            value = metrics[self.config.monitor] if self.config.monitor else 0.0
            # Equal predictions have no correlation: as bad as can be, yet worth keeping.
            value = -1.0 if value is None else value
            is_best = best is None or value > best or self.config.monitor is None
            best, stale = (value, 0) if is_best else (best, stale + 1)
            self.task.keep(network, metrics, self.progress, is_best=is_best)
            at = {"step": self.progress.step}
            if self.config.steps_per_epoch is not None:
                at = {"epoch": self.progress.epoch + 1, **at}
            if self._log is not None:
                self._log.append({**at, **(losses if self.config.log_losses else {}), **metrics})
            curves = {f"validation/{name}": float(value) for name, value in metrics.items() if value is not None}
            self.accelerator.log(curves, step=self.progress.step)
            self.task.train_mode()
        best, stale = broadcast(self.accelerator, (best, stale))
        self.progress = replace(self.progress, best=best, stale=stale)

    def _save(self) -> None:
        self._average_buffers()
        if self._checkpoint is not None and self.accelerator.is_main_process:
            state = {name: part.state_dict() for name, part in self._state().items()}
            save_checkpoint(self._checkpoint, {**state, "settings": self._settings()}, self.progress)

    def _state(self) -> dict[str, Any]:
        state = {"model": self.network, "optimizer": self.optimizer, **self.task.state()}
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler
        return state if self.average is None else {**state, "average": self.average}

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self.config).items() if name not in _CHANGEABLE}


class _Feed:
    """What a run reads: batches of steps, and of validations."""

    def __init__(self, task: Task[Any]) -> None:
        self._step, self._held_out = task.batch, task.held_out_batch

    def __call__(self, key: tuple[bool, int]) -> Any:
        is_held_out, index = key
        return self._held_out(index) if is_held_out and self._held_out is not None else self._step(index)


# Random numbers, schedules and the running mean of the weights.


def seed_from(*facts: int) -> None:
    """Seed torch from a few numbers alone: seed, step and the like.

    So a resumed run needs no state of a generator, and two processes draw what one draws in two micro-batches.
    """
    torch.manual_seed(int(np.random.SeedSequence(facts).generate_state(1, np.uint32)[0]))


def linear_cosine(step: int, steps: int, warmup: int, floor: float = 0.0) -> float:
    """Return the share of the peak rate at a step: a line up over the warm-up, then a cosine down to a floor."""
    if step < warmup:
        return (step + 1) / warmup
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
    return floor + (1 - floor) * cosine


def warmed_cosine(step: int, steps: int, warmup: int) -> float:
    """Return the share of the peak rate at a step: a cosine to zero over all steps, held down in the warm-up."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


_EMA_WARMUP = 10
"""After n steps the mean keeps at most (1 + n) / (10 + n) of itself, or a short run would end near where it began."""

Tensors = tuple[Tensor, ...] | list[Tensor]


def average_weights(network: nn.Module, decay: float) -> AveragedModel:
    """Return the running mean of a network's weights and buffers: new = decay * old + (1 - decay) * current.

    Args:
        network: The network; give it to ``update_parameters`` after each step.
        decay: Share that the mean keeps at a step, 0..1, reached as the run goes on.
    """

    def update(means: Tensors, currents: Tensors, count: Tensor | int) -> None:
        done = int(count)
        kept = min(decay, (1 + done) / (_EMA_WARMUP + done))
        if means[0].is_floating_point():
            torch._foreach_lerp_(means, currents, 1 - kept)
        else:  # counters
            torch._foreach_copy_(means, currents)

    mean = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    mean.requires_grad_(requires_grad=False)
    return mean.eval()


# Processes that share a run: one by default, several under ``torchrun``. The main one alone writes.


def start_accelerator(device: torch.device, precision: str = "fp32") -> Accelerator:
    """Set up device, precision and, under ``torchrun``, the other processes of a run.

    Args:
        device: Where to compute. Of several processes on GPUs each takes the one of its rank on its machine.
        precision: ``fp32``, which GPUs multiply in TF32, or ``bf16`` and ``fp16`` in autocast.

    Raises:
        TrainingError: The device cannot be shared among processes.
    """
    if process_count() > 1 and device.type not in ("cpu", "cuda"):
        raise TrainingError(f"several processes cannot share {device.type}", where="--device", hint="cpu or cuda")
    if process_count() == 1 and device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # accelerate takes the current one
    ExecutionPlan(tf32=True).apply(device)
    # Accelerate keeps device and precision for the life of a program; another run in it may want others.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=device.type == "cpu",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_TIMEOUT)],
    )


@contextmanager
def _names_a_lost_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # a connection that another process closed by ending
        raise TrainingError(
            f"another process of the run has stopped: {str(error).splitlines()[0]}", hint="its own message says why"
        ) from error


def all_reduce(accelerator: Accelerator, tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    with _names_a_lost_process():
        summed: Tensor = accelerator.reduce(tensor, "sum")
    return summed


def sum_counts(accelerator: Accelerator, counts: Sequence[int]) -> list[int]:
    """Return the sums over all processes of whole numbers that lie in main memory; no device is waited for."""
    if accelerator.num_processes == 1:
        return list(counts)
    with _names_a_lost_process():
        sums = torch.tensor(counts, dtype=torch.int64)
        distributed.all_reduce(sums, group=_host_group(distributed.group.WORLD))
    return [int(value) for value in sums]


@cache
def _host_group(_: object) -> Any:
    """Return the processes of a run as a group that exchanges what lies in main memory."""
    return distributed.new_group(backend="gloo", timeout=_TIMEOUT)


Value = TypeVar("Value")


def broadcast(accelerator: Accelerator, value: Value) -> Value:
    """Return the main process's value in every process."""
    values = [value]
    if accelerator.num_processes > 1:
        with _names_a_lost_process():
            broadcast_object_list(values)
    return values[0]


def barrier(accelerator: Accelerator) -> None:
    """Wait for every process."""
    with _names_a_lost_process():
        accelerator.wait_for_everyone()


def start_trackers(
    accelerator: Accelerator, folder: Path, names: Sequence[str], options: Mapping[str, Any], *, first: int
) -> None:
    """Start TensorBoard in a run's folder, and other trackers of accelerate.

    Args:
        accelerator: That of the run; the main process alone draws curves.
        folder: The run's folder.
        names: The other trackers, such as ``wandb``.
        options: Options of the run, for these to store.
        first: Step to go on from; curves beyond it are dropped.

    Raises:
        TrainingError: A tracker is unknown or not installed.
    """
    if not accelerator.is_main_process:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, TensorBoardTracker, get_available_trackers

    available = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise TrainingError(f"no tracker {name!r}", where="--track", hint=f"accelerate knows {known}")
        if name not in available:
            raise TrainingError(f"{name} is not installed", where="--track", hint=f"pip install {name}")
    board = TensorBoardTracker(BOARD_NAME, folder, purge_step=first + 1 if first else None)
    accelerator.project_configuration.set_directories(str(folder))
    accelerator.log_with = [board, *names]
    accelerator.init_trackers(_PROJECT)
    plain = {name: value if isinstance(value, int | float | str) else str(value) for name, value in options.items()}
    for tracker in accelerator.trackers:
        if tracker is not board:  # its table of options would add a run to the folder
            tracker.store_init_configuration(plain)
