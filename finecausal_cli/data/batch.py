"""One batch of pairs: what the network and the losses need, with every shape stated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from finecausal_cli.data.cache import NO_TRANSITION, ClipArrays
from finecausal_cli.data.pairing import Group, pairs_of
from finecausal_cli.diving.judging import MAX_EXECUTION, MAX_MARK
from finecausal_cli.video.clip import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.data.dive import Dive
    from finecausal_cli.data.swap import BackgroundSwap
    from finecausal_cli.model.outputs import Encoding

MAX_SHIFT = 3
"""In training the last sampled frame is drawn up to this many frames earlier."""


COUNTING_MARKS = MAX_EXECUTION / MAX_MARK
"""Marks of a panel that make the score, whatever its size; execution is their sum."""


@dataclass(frozen=True, slots=True)
class PairBatch:
    """U dives, each once, and the P pairs among them.

    Attributes:
        clips: uint8 [U, 96, S, S, 3], RGB, cropped and perhaps flipped, not yet normalised.
        masks: uint8 [U, 96, S, S], 1 = athlete; zero where unknown.
        has_mask: bool [U].
        transitions: int64 [U, 2], sampled frame at which flight and entry begin; -1 where unknown.
        execution: float32 [U], score / difficulty, 0..30.
        stage_execution: float32 [U, 3], execution that take-off, flight and entry each cost, 0 or less; NaN where
            unknown. A perfect dive, which loses nothing, has an execution of 30.
        query: int64 [P], place in U of each pair's query.
        exemplar: int64 [P], place in U of each pair's exemplar.
        encoding: U encodings by a trunk that learns nothing, in place of clips and masks, which are empty then; else
            None.
    """

    clips: Tensor
    masks: Tensor
    has_mask: Tensor
    transitions: Tensor
    execution: Tensor
    stage_execution: Tensor
    query: Tensor
    exemplar: Tensor
    encoding: Encoding | None = None

    def to(self, device: torch.device) -> PairBatch:
        """Return the batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> PairBatch:
        """Return the batch in memory that a GPU can read by itself."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> PairBatch:
        changed = {name: change(getattr(self, name)) for name in self.__slots__ if name != "encoding"}
        return PairBatch(**changed, encoding=None if self.encoding is None else self.encoding.map(change))


def collate(
    groups: Sequence[Group],
    dives: Sequence[Dive],
    load: Callable[[Dive], ClipArrays],
    *,
    frame_size: int,
    seed: int,
    epoch: int,
    swap: BackgroundSwap | None = None,
) -> PairBatch:
    """Augment the dives of a batch and put them together.

    What a dive looks like depends on seed, epoch and the dive alone, not on its batch or the worker.

    Args:
        groups: Groups of indices into ``dives``.
        dives: The training dives.
        load: Gives a dive's clip; called when its turn comes, because a mapped clip holds a file open.
        frame_size: Side S of the crop, pixels.
        seed: Seed of the run.
        epoch: Index of the epoch.
        swap: Shows some dives before other backgrounds.
    """
    indices = [index for group in groups for index in group]
    samples = [
        augment(load(dives[index]), frame_size=frame_size, rng=np.random.default_rng((seed, epoch, index)), swap=swap)
        for index in indices
    ]
    empty = np.zeros((CLIP_FRAMES, frame_size, frame_size), np.uint8)
    return pair_batch(
        groups,
        dives,
        clips=torch.from_numpy(np.stack([sample.frames for sample in samples])),
        masks=torch.from_numpy(np.stack([empty if sample.mask is None else sample.mask for sample in samples])),
        has_mask=torch.tensor([sample.mask is not None for sample in samples]),
        transitions=torch.tensor([sample.transitions for sample in samples]),
    )


def pair_batch(
    groups: Sequence[Group],
    dives: Sequence[Dive],
    *,
    clips: Tensor,
    masks: Tensor,
    has_mask: Tensor,
    transitions: Tensor,
    encoding: Encoding | None = None,
) -> PairBatch:
    """Add to what is seen of the dives of a batch, in the order of its groups, their judgements and their pairs."""
    members = [dives[index] for group in groups for index in group]
    pairs = pairs_of(groups)
    return PairBatch(
        clips=clips,
        masks=masks,
        has_mask=has_mask,
        transitions=transitions,
        execution=torch.tensor([dive.execution for dive in members], dtype=torch.float32),
        stage_execution=torch.tensor([stage_execution(dive) for dive in members], dtype=torch.float32),
        query=torch.tensor([query for query, _ in pairs]),
        exemplar=torch.tensor([exemplar for _, exemplar in pairs]),
        encoding=encoding,
    )


def stage_execution(dive: Dive) -> tuple[float, float, float]:
    """Return the execution that take-off, flight and entry each cost a dive, 0 or less; NaN if that is unknown.

    Three marks count, so a deduction costs three times its points. A failed dive scores 0 whatever its stages
    were worth: its deductions say nothing about its score, and it counts as unknown.
    """
    if dive.deductions is None or dive.execution == 0:
        return (math.nan, math.nan, math.nan)
    takeoff, flight, entry = (-COUNTING_MARKS * points for points in dive.deductions)
    return takeoff, flight, entry


def augment(
    clip: ClipArrays, *, frame_size: int, rng: np.random.Generator, swap: BackgroundSwap | None = None
) -> ClipArrays:
    """Shift in time, crop at random and flip at random, frames and mask alike.

    Args:
        clip: A clip at working size.
        frame_size: Side of the crop, pixels.
        rng: Where chance comes from.
        swap: Shows it before another background first, by chance.
    """
    if swap is not None:
        clip = swap(clip, rng)
    shift = int(rng.integers(MAX_SHIFT + 1))
    sampled = np.linspace(0, CLIP_FRAMES - 1 - shift, CLIP_FRAMES).astype(np.int64)
    height, width = clip.frames.shape[1:3]
    top = int(rng.integers(height - frame_size + 1))
    left = int(rng.integers(width - frame_size + 1))
    step = -1 if rng.random() < 0.5 else 1

    def cut(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        window = planes[:, top : top + frame_size, left : left + frame_size]
        return np.ascontiguousarray(window[sampled][:, :, ::step])

    return ClipArrays(
        frames=cut(clip.frames),
        mask=None if clip.mask is None else cut(clip.mask),
        transitions=_shifted(clip.transitions, sampled),
    )


def _shifted(transitions: tuple[int, int], sampled: NDArray[np.int64]) -> tuple[int, int]:
    flight, entry = (
        NO_TRANSITION if frame == NO_TRANSITION else min(int(np.searchsorted(sampled, frame)), CLIP_FRAMES - 1)
        for frame in transitions
    )
    return flight, entry
