"""Processes of a run, and the trackers that draw its curves."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from finecausal_cli.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from finecausal_cli.training import TrainOptions
    from finecausal_cli.training.checkpoint import Progress


# The processes that share a run: one by default, several under ``torchrun``.
#
# Whatever decides a number is the same for every count of processes; only one of them writes.

_PATIENCE = timedelta(hours=12)
"""How long a process waits for another one, which may be validating or reading clips. One that dies is not waited for:
torchrun stops the others."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's place among those that share a run.

    Attributes:
        device: Where this one computes.
        rank: Its place, 0..count - 1.
        count: How many there are.
    """

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add up a tensor of the same shape from every process, in place, and return it."""
        if self.count > 1:
            with _others_needed():
                dist.all_reduce(tensor)
        return tensor

    def tell(self, value: Value) -> Value:
        """Return the main process's value in every process; what the others give is forgotten."""
        if self.count == 1:
            return value
        told = [value]
        with _others_needed():
            dist.broadcast_object_list(told, device=self.device)
        return told[0]

    def wait(self) -> None:
        """Wait until every process has come here."""
        self.tell(None)


@contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # a connection that another process closed by ending
        raise TrainingError(
            f"another process of the run has stopped: {str(error).splitlines()[0]}", hint="its own message says why"
        ) from error


def process_count() -> int:
    """Return how many processes share the work, as ``torchrun`` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Say whether this is the process that writes and speaks, before anything heavy is loaded."""
    return process_count() == 1 or os.environ.get("RANK", "0") == "0"


def start_processes(device: torch.device) -> Processes:
    """Meet the other processes, if there are any.

    Args:
        device: Where to compute. Of several processes on GPUs each takes the one of its place on its machine.

    Raises:
        TrainingError: The device cannot be shared among processes.
    """
    if process_count() == 1:
        return Processes(device)
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(f"several processes cannot share {device.type}", where="--device", hint="cpu or cuda")
    # Only who needs several processes pays for its import.
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu", timeout=_PATIENCE)
    return Processes(torch.device(str(state.device)), state.process_index, state.num_processes)


def end_processes(processes: Processes) -> None:
    """Part from the other processes; the counterpart of `join`."""
    if processes.count > 1 and dist.is_initialized():
        dist.destroy_process_group()


# Curves of a run for TensorBoard, and for whatever tracker else the user names.

BOARD_NAME = "tensorboard"

_PROJECT = "finecausal"


class MetricLogger:
    """Curves over the optimiser steps.

    Args:
        folder: The run's folder; TensorBoard reads ``tensorboard`` in it.
        options: The run; its ``trackers`` are fed too.
        first: Step to go on from; what was drawn beyond it is forgotten.

    Raises:
        TrainingError: A tracker is unknown or not installed.
    """

    def __init__(self, folder: Path, options: TrainOptions, *, first: int) -> None:
        self._trackers = _open_trackers(options.trackers, folder, options)
        # Costs a quarter of a second, and a process that only computes does not need it.
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(folder / BOARD_NAME), purge_step=first + 1 if first else None)

    def step(self, progress: Progress, losses: Mapping[str, float], waiting_share: float) -> None:
        """Draw the losses of a step, and the share of time that went by waiting for data."""
        curves = {f"training/{name}": value for name, value in losses.items()}
        self._draw({**curves, "time/waiting_for_data": waiting_share}, progress.step)

    def validation(self, progress: Progress, figures: Mapping[str, float | int | None]) -> None:
        """Draw the figures of a validation; those that are not numbers are left out."""
        known = {f"validation/{name}": float(value) for name, value in figures.items() if value is not None}
        self._draw(known, progress.step)

    def close(self) -> None:
        """Write what is left."""
        self._board.close()
        for tracker in self._trackers:
            tracker.finish()

    def _draw(self, curves: Mapping[str, float], step: int) -> None:
        for name, value in curves.items():
            self._board.add_scalar(name, value, step)
        for tracker in self._trackers:
            tracker.log(dict(curves), step=step)


def _open_trackers(names: Sequence[str], folder: Path, options: TrainOptions) -> list[Any]:  # accelerate has no types
    """Start the named trackers, those of accelerate."""
    if not names:
        return []
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    available = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise TrainingError(f"no tracker {name!r}", where="--track", hint=f"accelerate knows {known}")
        if name not in available:
            raise TrainingError(f"{name} is not installed", where="--track", hint=f"pip install {name}")
    told = {
        name: value if isinstance(value, int | float | str) else str(value) for name, value in options.to_dict().items()
    }
    trackers = []
    for name in names:
        kind = LOGGER_TYPE_TO_CLASS[name]
        tracker = kind(_PROJECT, str(folder)) if kind.requires_logging_directory else kind(_PROJECT)
        tracker.start()
        tracker.store_init_configuration(told)
        trackers.append(tracker)
    return trackers
