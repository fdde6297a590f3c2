"""The processes that share a run: one by default, several under ``torchrun``.

Whatever decides a number is the same for every count of processes; only one of them writes.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist

from finecausal_cli.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def join(device: torch.device) -> Processes:
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


def leave(processes: Processes) -> None:
    """Part from the other processes; the counterpart of `join`."""
    if processes.count > 1 and dist.is_initialized():
        dist.destroy_process_group()
