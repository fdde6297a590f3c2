"""Cut every step's batch into the parts that the processes compute, and load them ahead.

The batch of a step is the same however many processes share it and however many parts each takes in turn: part number
k of n holds the groups k, k + n, ... of the batch. So a run of two processes is the run of one that takes two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader, Dataset

from finecausal_cli.data.batch import PairBatch
from finecausal_cli.data.pairing import Group, plan_epoch
from finecausal_cli.errors import FinecausalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finecausal_cli.data.dive import Dive
    from finecausal_cli.training.options import TrainOptions
    from finecausal_cli.training.processes import Processes


Collate = Callable[[Sequence[Group], int], PairBatch]
"""Makes the batch of some groups in an epoch."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one process computes at once.

    Attributes:
        batch: Its pairs.
        number: Its place among the parts of the step; chance in the network is drawn from it.
        is_spare: Whether it counts for nothing: there are more parts than groups, but all processes must go through
            the network together, or normalisation over all of them would wait for ever.
    """

    batch: PairBatch
    number: int
    is_spare: bool = False

    def to(self, device: torch.device) -> Part:
        """Return the part on another device."""
        return replace(self, batch=self.batch.to(device))

    def pin_memory(self) -> Part:
        """Return the part in memory that a GPU can read by itself."""
        return replace(self, batch=self.batch.pin_memory())


def split_groups(groups: Sequence[Group], parts: int) -> list[tuple[Sequence[Group], bool]]:
    """Deal the groups of a batch out to parts; a part that gets none repeats the first group and is spare."""
    return [(groups[number::parts] or groups[:1], number >= len(groups)) for number in range(parts)]


class StepPlan:
    """Which groups meet in which step.

    Args:
        dives: The training dives.
        options: The run.
    """

    def __init__(self, dives: Sequence[Dive], options: TrainOptions) -> None:
        self._numbers = [dive.number for dive in dives]
        self._options = options
        self._epoch: tuple[int, list[list[Group]]] | None = None
        self.steps_per_epoch = len(self._plan(0))

    def groups(self, step: int) -> tuple[int, list[Group]]:
        """Return the epoch of a step and its groups."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return epoch, self._plan(epoch)[place]

    def _plan(self, epoch: int) -> list[list[Group]]:
        if self._epoch is None or self._epoch[0] != epoch:
            options = self._options
            plan = plan_epoch(
                self._numbers,
                group=options.group,
                groups_per_batch=options.groups_per_batch,
                seed=options.seed,
                epoch=epoch,
            )
            self._epoch = epoch, plan
        return self._epoch[1]


class _Steps(Dataset[list[Part] | FinecausalError]):
    """The parts of this process by step. An error is an item too: a loading process would garble it if it raised."""

    def __init__(
        self,
        collate: Collate,
        plan: StepPlan,
        options: TrainOptions,
        *,
        place: tuple[int, int],
    ) -> None:
        self._collate = collate
        self._plan = plan
        self._options = options
        self._rank, self._count = place

    def __getitem__(self, step: int) -> list[Part] | FinecausalError:
        epoch, groups = self._plan.groups(step)
        each = self._options.accumulate
        mine = range(self._rank * each, (self._rank + 1) * each)
        dealt = split_groups(groups, self._count * each)
        try:
            return [Part(self._collate(dealt[number][0], epoch), number, dealt[number][1]) for number in mine]
        except FinecausalError as error:
            return error


def load_steps(
    collate: Collate,
    plan: StepPlan,
    options: TrainOptions,
    *,
    processes: Processes,
    first: int,
) -> Iterator[list[Part]]:
    """Yield the parts of this process, step by step, to the end of the run.

    Args:
        collate: Puts a batch of groups together.
        plan: Which groups meet in which step.
        options: The run.
        processes: This process and the others.
        first: Step to begin with.

    Raises:
        FinecausalError: A clip cannot be read.
    """
    steps = _Steps(collate, plan, options, place=(processes.rank, processes.count))
    loader = DataLoader(
        steps,
        batch_size=None,
        sampler=range(first, options.epochs * plan.steps_per_epoch),
        num_workers=options.workers,
        pin_memory=processes.device.type == "cuda",
        # Steps come whole and in order: neither sampler nor workers may touch the generator of the run.
        generator=torch.Generator().manual_seed(0),
    )
    for parts in loader:
        if isinstance(parts, FinecausalError):
            raise parts
        yield parts
