"""Batches of pairs: collated, augmented, with exchanged backgrounds."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from finecausal_cli.athlete.track import track_features
from finecausal_cli.data.cache import NO_TRANSITION, ClipArrays
from finecausal_cli.diving import MAX_EXECUTION, MAX_MARK
from finecausal_cli.errors import DatasetError
from finecausal_cli.video import CLIP_FRAMES, MEAN, STD, crop, dilate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.data import Dive
    from finecausal_cli.data.cache import DiveInputs
    from finecausal_cli.model.outputs import Encoding


# Sampling of training batches.
#
# A batch consists of groups of dives of one number; every two dives of a group are a pair. A group of g dives gives
# g (g - 1) / 2 pairs from g encodings, so encoding, the costly part, is done once a dive and not once a pair.

Group = tuple[int, ...]


def plan_epoch(
    numbers: Sequence[str | None], *, group: int, groups_per_batch: int, seed: int, epoch: int
) -> list[list[Group]]:
    """Plan one epoch, with every dive at least once.

    A dive left over when its number is divided into groups is paired with another dive of the same number; a single
    dive of a number with any other dive.

    Args:
        numbers: Dive number of each dive, None if unknown (the unknown form one class).
        group: Dives in a group, 2 or more.
        groups_per_batch: Groups in a batch.
        seed: Seed of the run.
        epoch: Index of the epoch; with the seed it fixes the plan.

    Returns:
        Batches of groups of indices into ``numbers``.

    Raises:
        ValueError: Fewer than two dives, or a group of fewer than two.
    """
    if len(numbers) < 2 or group < 2:
        raise ValueError("pairs need two dives and groups of two")
    rng = np.random.default_rng((seed, epoch))
    members: dict[str, list[int]] = defaultdict(list)
    for index, number in enumerate(numbers):
        members[number or ""].append(index)
    groups: list[Group] = []
    for _, indices in sorted(members.items()):
        shuffled = [indices[index] for index in rng.permutation(len(indices))]
        groups += [tuple(shuffled[start : start + group]) for start in range(0, len(shuffled), group)]
    groups = [_with_partner(each, members[numbers[each[0]] or ""], len(numbers), rng) for each in groups]
    order = [groups[index] for index in rng.permutation(len(groups))]
    return [order[start : start + groups_per_batch] for start in range(0, len(order), groups_per_batch)]


def _with_partner(group: Group, same_number: Sequence[int], dives: int, rng: np.random.Generator) -> Group:
    if len(group) > 1:
        return group
    others = [index for index in same_number if index != group[0]]
    if not others:
        others = [index for index in range(dives) if index != group[0]]
    return (group[0], others[int(rng.integers(len(others)))])


def pairs_of(groups: Sequence[Group]) -> list[tuple[int, int]]:
    """List the pairs of a batch as indices into its flattened list of dives."""
    pairs: list[tuple[int, int]] = []
    start = 0
    for group in groups:
        pairs += list(combinations(range(start, start + len(group)), 2))
        start += len(group)
    return pairs


# Background swap, do(background := another's), on dives with masks.
#
# A network may read the venue instead of the dive. Here the athlete is cut out along the mask and pasted before the
# background of another dive, whose athlete is inpainted. The background is that of the same stage: board behind the
# take-off, air behind the flight. From the entry on the dive stays as it is, because the splash is judged and belongs
# to no mask.

_INPAINT_RADIUS = 3
"""Radius of inpainting, pixels."""


class BackgroundSwap:
    """Replaces the background of some dives by that of others.

    Args:
        dives: Dives of the backgrounds; those without mask or stages are left out.
        clips: Their clips.
        share: Probability of a swap, 0 to 1.

    Raises:
        DatasetError: No dive has both a mask and its stages.
    """

    def __init__(self, dives: Sequence[Dive], clips: DiveInputs, share: float) -> None:
        self._share = share
        self._clips = clips
        self._dives = [dive for dive in dives if dive.mask is not None and dive.entry_start is not None]
        if not self._dives:
            raise DatasetError("no dive has a mask and stages", hint="leave --swap-backgrounds out")

    @property
    def digest(self) -> str:
        """Digest of everything that a swap depends on, besides the dive and the generator."""
        facts = hashlib.sha256(f"{self._share:g}".encode())
        for dive in self._dives:
            facts.update(self._clips.digest(dive).encode())
        return facts.hexdigest()[:16]

    def __call__(self, clip: ClipArrays, rng: np.random.Generator) -> ClipArrays:
        """Return the clip with another background, with the probability ``share``.

        Raises:
            VideoError: The other clip cannot be read.
        """
        if rng.random() >= self._share:
            return clip
        other = self._dives[int(rng.integers(len(self._dives)))]
        return swap_background(clip, self._clips.load(other), margin=bool(rng.random() < 0.5))


def swap_background(clip: ClipArrays, other: ClipArrays, *, margin: bool = False) -> ClipArrays:
    """Replace the background of a clip by that of another one, frame by frame up to the entry.

    Args:
        clip: The clip.
        other: The clip of the background. If either has no mask or no stages, the clip is returned unchanged.
        margin: Keep a rim of the true background around the athlete, as with predicted masks.
    """
    if clip.mask is None or other.mask is None or NO_TRANSITION in (*clip.transitions, *other.transitions):
        return clip
    frames = clip.frames.copy()
    entry, other_frames = clip.transitions[1], _same_stage(clip.transitions, other.transitions)
    athlete, hole = clip.mask[:entry] > 0, dilate(other.mask > 0)
    if margin and entry:
        athlete = dilate(athlete)
    size = frames.shape[2], frames.shape[1]
    for frame, source in enumerate(other_frames):
        empty = cv2.inpaint(other.frames[source], hole[source].astype(np.uint8), _INPAINT_RADIUS, cv2.INPAINT_TELEA)
        if empty.shape != frames[frame].shape:
            empty = cv2.resize(empty, size, interpolation=cv2.INTER_AREA)
        np.copyto(frames[frame], empty, where=~athlete[frame][..., None])
    return replace(clip, frames=frames)


def _same_stage(own: tuple[int, int], other: tuple[int, int]) -> NDArray[np.int64]:
    """Return, for every frame before the entry, the frame at the same share of the same stage of another clip."""
    (_, enter), (_, other_enter) = own, other
    leave, other_leave = min(own), min(other)
    before = np.arange(leave) * other_leave // max(leave, 1)
    within = np.arange(enter - leave) * (other_enter - other_leave) // max(enter - leave, 1)
    return np.concatenate([before, other_leave + within])


# One batch of pairs.

MAX_SHIFT = 3
"""Largest temporal shift in training, frames."""


COUNTING_MARKS = MAX_EXECUTION / MAX_MARK
"""Marks of a panel that make the score, whatever its size; execution is their sum."""


@dataclass(frozen=True, slots=True)
class PairBatch:
    """U dives, each once, and the P pairs among them.

    Attributes:
        clips: uint8 [U, 96, S, S, 3], RGB, cropped, neither mirrored nor normalised yet; of a network that reads
            bodies, features of tracks float32 [U, 96, channels].
        masks: uint8 [U, 96, S, S], 1 = athlete; zero where unknown; not mirrored yet.
        has_mask: bool [U].
        transitions: int64 [U, 2], sampled frame at which flight and entry begin; -1 where unknown.
        execution: float32 [U], score / difficulty, 0..30.
        stage_execution: float32 [U, 3], execution that take-off, flight and entry each cost, 0 or less; NaN where
            unknown. A perfect dive, which loses nothing, has an execution of 30.
        query: int64 [P], index into U of each pair's query.
        exemplar: int64 [P], index into U of each pair's exemplar.
        encoding: U encodings by a frozen backbone, with empty clips and masks; else None.
        mirrored: int64 [M], index into U of the clips and masks that are to be mirrored; none by default.
        masked: int64 [N], index into U of the dives with a mask; from ``has_mask``.
        counts: What each loss is a mean over, by its name: masks, transitions, pairs and stages that are known. Counted
            where a batch is made, so that nothing waits for a device.
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
    mirrored: Tensor = field(default_factory=lambda: rows_of([]))
    masked: Tensor | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.masked is None:  # a new batch, not one that is moved
            object.__setattr__(self, "masked", self.has_mask.nonzero()[:, 0])
            object.__setattr__(self, "counts", _count_targets(self))

    def to(self, device: torch.device) -> PairBatch:
        """Return the batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> PairBatch:
        """Return the batch in pinned memory."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> PairBatch:
        mapped = {name: function(getattr(self, name)) for name in self.__slots__ if name not in ("encoding", "counts")}
        encoding = None if self.encoding is None else self.encoding.map(function)
        return PairBatch(**mapped, encoding=encoding, counts=self.counts)


def _count_targets(batch: PairBatch) -> dict[str, int]:
    transitions = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]])
    stages = batch.stage_execution[batch.query] - batch.stage_execution[batch.exemplar]
    return {
        "foreground": int(batch.has_mask.sum()),
        "transitions": int((transitions != NO_TRANSITION).sum()),
        "regression": len(batch.query),
        "stages": int((~stages.isnan()).sum()),
    }


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
    """Augment the dives of a batch and stack them; mirroring and normalisation are left to the device.

    The augmentation depends on seed, epoch and dive, not on the batch or the worker.

    Args:
        groups: Groups of indices into ``dives``.
        dives: The training dives.
        load: Loads a dive's clip; called one by one, because a mapped clip holds a file open.
        frame_size: Side S of the crop, pixels.
        seed: Seed of the run.
        epoch: Index of the epoch.
        swap: Swaps backgrounds.
    """
    indices = [index for group in groups for index in group]
    varied = [
        augment(load(dives[index]), frame_size=frame_size, rng=np.random.default_rng((seed, epoch, index)), swap=swap)
        for index in indices
    ]
    samples = [sample for sample, _ in varied]
    empty = np.zeros((CLIP_FRAMES, frame_size, frame_size), np.uint8)
    return pair_batch(
        groups,
        dives,
        clips=torch.from_numpy(np.stack([sample.frames for sample in samples])),
        masks=torch.from_numpy(np.stack([empty if sample.mask is None else sample.mask for sample in samples])),
        has_mask=torch.tensor([sample.mask is not None for sample in samples]),
        transitions=torch.tensor([sample.transitions for sample in samples]),
        mirrored=rows_of([is_mirrored for _, is_mirrored in varied]),
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
    mirrored: Tensor | None = None,
) -> PairBatch:
    """Build a batch from its inputs, in the order of the groups, with their labels and pairs."""
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
        mirrored=rows_of([]) if mirrored is None else mirrored,
    )


def stage_execution(dive: Dive) -> tuple[float, float, float]:
    """Return the execution lost in take-off, flight and entry, 0 or less; NaN if unknown.

    Three marks count, so a deduction costs three times its points. A failed dive scores 0 whatever its deductions, so
    it counts as unknown.
    """
    if dive.deductions is None or dive.execution == 0:
        return (math.nan, math.nan, math.nan)
    takeoff, flight, entry = (-COUNTING_MARKS * points for points in dive.deductions)
    return takeoff, flight, entry


def augment(
    clip: ClipArrays, *, frame_size: int, rng: np.random.Generator, swap: BackgroundSwap | None = None
) -> tuple[ClipArrays, bool]:
    """Random temporal shift and crop, the same for frames and mask.

    Args:
        clip: A clip at working size.
        frame_size: Side of the crop, pixels.
        rng: Random generator.
        swap: Swaps the background first.

    Returns:
        The clip, and whether it is to be mirrored, which `mirror_rows` does on the device.
    """
    if clip.track is not None:
        track = clip.track.varied(rng)
        return ClipArrays(track_features(track).T, None, track.transitions, track), False
    if swap is not None:
        clip = swap(clip, rng)
    shift = int(rng.integers(MAX_SHIFT + 1))
    sampled = np.linspace(0, CLIP_FRAMES - 1 - shift, CLIP_FRAMES).astype(np.int64)
    height, width = clip.frames.shape[1:3]
    top = int(rng.integers(height - frame_size + 1))
    left = int(rng.integers(width - frame_size + 1))
    is_mirrored = bool(rng.random() < 0.5)

    def crop_planes(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return planes[sampled, top : top + frame_size, left : left + frame_size]

    cropped = ClipArrays(
        frames=crop_planes(clip.frames),
        mask=None if clip.mask is None else crop_planes(clip.mask),
        transitions=_shifted(clip.transitions, sampled),
    )
    return cropped, is_mirrored


def _shifted(transitions: tuple[int, int], sampled: NDArray[np.int64]) -> tuple[int, int]:
    flight, entry = (
        NO_TRANSITION if frame == NO_TRANSITION else min(int(np.searchsorted(sampled, frame)), CLIP_FRAMES - 1)
        for frame in transitions
    )
    return flight, entry


def network_input(clip: ClipArrays, frame_size: int) -> Tensor:
    """Return what a network is given of a clip: its centre crop, or the features of its track; a batch of one."""
    if clip.track is not None:
        return track_input(clip.frames)[None]
    return normalise(crop(clip.frames, frame_size))[None]


def track_input(features: NDArray[np.float32] | Tensor) -> Tensor:
    """Bring features of tracks [..., 96, channels] into the order that a network reads: [..., channels, 96]."""
    return torch.as_tensor(features).transpose(-1, -2).contiguous()


def normalise(frames: NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
    """Normalise pixels by ImageNet's mean and standard deviation, channels first.

    Args:
        frames: uint8 [..., 96, size, size, 3], RGB.

    Returns:
        float32 [..., 3, 96, size, size], contiguous, on the device of ``frames``.

    Raises:
        ValueError: The pixels are not uint8.
    """
    pixels = frames if isinstance(frames, torch.Tensor) else torch.from_numpy(np.array(frames))
    if pixels.dtype != torch.uint8:
        raise ValueError(f"Pixels are uint8 from 0 to 255, not {pixels.dtype}.")
    pixels = pixels.movedim(-1, -4).to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = _statistics(pixels.device)
    return pixels.div_(255).sub_(mean).div_(std)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ImageNet's mean and standard deviation on a device, copied there once: a copy waits for the device."""
    with torch.inference_mode(mode=False):
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1, 1) for values in (MEAN, STD))
    return mean, std


def rows_of(chosen: Sequence[bool]) -> Tensor:
    """Return the indices of those that are chosen, int64."""
    return torch.tensor([row for row, is_chosen in enumerate(chosen) if is_chosen], dtype=torch.int64)


def mirror_rows(pictures: Tensor, rows: Tensor) -> Tensor:
    """Mirror some pictures of a batch left to right, in place.

    Args:
        pictures: [B, ..., width].
        rows: int64 [M], which of B.
    """
    return pictures.index_copy_(0, rows, pictures.index_select(0, rows).flip(-1))
