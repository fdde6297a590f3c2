"""Batches of pairs of dives, from clips or from cached encodings."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors

from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.batch import (
    Group,
    PairBatch,
    augment,
    collate,
    mirror_rows,
    normalise,
    pair_batch,
    plan_epoch,
    rows_of,
)
from finecausal_cli.data.cache import NO_TRANSITION, ClipArrays, load_ahead
from finecausal_cli.device import AUTOCAST, available_cores
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import EncodedDives
from finecausal_cli.training import backbones
from finecausal_cli.video import crop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from finecausal_cli.config import Precision
    from finecausal_cli.data import Dive
    from finecausal_cli.data.batch import BackgroundSwap
    from finecausal_cli.data.cache import DiveInputs
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.training import TrainOptions


# Every step's batch is divided into parts, which the processes share.
#
# The batch is the same however many processes share it and however many parts each takes in turn: part k of n holds
# the groups k, k + n, ... of the batch. So a run of two processes is the run of one that takes two parts.


@dataclass(frozen=True, slots=True)
class Part:
    """A micro-batch of one process.

    Attributes:
        batch: Its pairs.
        is_spare: Whether it has no weight: there are more parts than groups, but all processes must go through the
            network together, or normalisation over all of them would wait for ever.
    """

    batch: PairBatch
    is_spare: bool = False

    def pin_memory(self) -> Part:
        """Return the part in memory that a GPU can read by itself."""
        return replace(self, batch=self.batch.pin_memory())


def split_groups(groups: Sequence[Group], parts: int) -> list[tuple[Sequence[Group], bool]]:
    """Divide the groups of a batch into parts; a part without any repeats the first group and is spare."""
    return [(groups[index::parts] or groups[:1], index >= len(groups)) for index in range(parts)]


class StepPlan:
    """Which groups are in the batch of a step.

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
        """Return the epoch of a step, and its groups."""
        epoch, index = divmod(step, self.steps_per_epoch)
        return epoch, self._plan(epoch)[index]

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


class PairBatches:
    """The parts of each step's batch that one process takes.

    Args:
        dives: Training dives, all with scores.
        clips: Where their clips come from.
        options: The run.
        share: Rank of the process and number of processes.
        frame_size: Side of the network's input, pixels.
        views: Encodings of the dives by a frozen backbone, in place of clips.
        swap: Shows some dives before other backgrounds.
    """

    def __init__(
        self,
        dives: Sequence[Dive],
        clips: DiveInputs,
        options: TrainOptions,
        *,
        share: tuple[int, int],
        frame_size: int,
        views: Views | None = None,
        swap: BackgroundSwap | None = None,
    ) -> None:
        self.plan = StepPlan(dives, options)
        self._dives, self._clips, self._options = dives, clips, options
        self._rank, self._count = share
        self._frame_size, self._views, self._swap = frame_size, views, swap

    def __call__(self, step: int) -> list[Part]:
        """Return the parts of a step.

        Raises:
            VideoError: A clip cannot be read.
        """
        epoch, groups = self.plan.groups(step)
        each = self._options.accumulate
        dealt = split_groups(groups, self._count * each)
        mine = range(self._rank * each, (self._rank + 1) * each)
        return [Part(self._collate(dealt[index][0], epoch), dealt[index][1]) for index in mine]

    def _collate(self, groups: Sequence[Group], epoch: int) -> PairBatch:
        dives, seed, size = self._dives, self._options.seed, self._frame_size
        if self._views is not None:
            return self._views.collate(groups, dives, seed=seed, epoch=epoch)
        return collate(groups, dives, self._clips.load, frame_size=size, seed=seed, epoch=epoch, swap=self._swap)


# Encodings of every dive by a frozen backbone, cached: the modules behind it train in minutes instead of hours.
#
# A frozen backbone gives a frame the same features every time. So each dive is encoded once in a few views, as it is
# and augmented as in training, and training samples these. The clip cache has one small file a dive, whose name holds
# the digests of backbone and clip and the number of views, so that runs, seeds and ablations on one backbone share it.

FOLDER = "views"
"""Their folder in the clip cache."""

_SUFFIX = ".safetensors"
_SEED = 23911
"""The views of a dive do not depend on the seed of the run."""

_AT_ONCE = 16
"""Views that a GPU encodes in a batch. A CPU takes one after the other, so that a view is the same to the bit whatever
others are missing."""

_VIEWS_A_PROCESS = 16
"""Views to make that are worth another process."""


@dataclass(frozen=True, slots=True)
class VariedClips:
    """The clips of one dive, as it is and augmented; V of them.

    Attributes:
        frames: uint8 [V, 96, S, S, 3], RGB, not mirrored yet.
        mirrored: int64 [M], which of V are to be mirrored.
        transitions: int64 [V, 2], sampled frames at which flight and entry begin; -1 where unknown.
    """

    frames: Tensor
    mirrored: Tensor
    transitions: Tensor

    def pin_memory(self) -> VariedClips:
        """Return them in memory that a GPU can read by itself."""
        return VariedClips(self.frames.pin_memory(), self.mirrored.pin_memory(), self.transitions)


class ClipVariation:
    """Makes the clips of a dive's views; takes a dive, and may be called in another process.

    Args:
        clips: Where clips come from.
        frame_size: Side S of the network's input, pixels.
        count: V, views of each dive.
        swap: Shows some views but the first before other backgrounds; None none.
    """

    def __init__(self, clips: DiveInputs, frame_size: int, count: int, swap: BackgroundSwap | None) -> None:
        self._clips, self._size, self._count, self._swap = clips, frame_size, count, swap

    def __call__(self, dive: Dive) -> VariedClips:
        """Raises ``VideoError`` where the clip cannot be read."""
        clip, size = self._clips.load(dive), self._size
        seed = int(self._clips.digest(dive)[:8], 16)
        seen = [(ClipArrays(crop(clip.frames, size), None, clip.transitions), False)]
        for view in range(1, self._count):
            rng = np.random.default_rng((_SEED, view, seed))
            seen.append(augment(clip, frame_size=size, rng=rng, swap=self._swap))
        return VariedClips(
            frames=torch.from_numpy(np.stack([one.frames for one, _ in seen])),
            mirrored=rows_of([is_mirrored for _, is_mirrored in seen]),
            transitions=torch.tensor([one.transitions for one, _ in seen]),
        )


@dataclass(frozen=True, slots=True)
class DiveViews:
    """The views of one dive.

    Attributes:
        encoding: V encodings, the first of the dive as it is.
        transitions: int64 [V, 2], sampled frames at which flight and entry begin; -1 where unknown.
    """

    encoding: Encoding
    transitions: Tensor


class Views:
    """The views of dives under one frozen backbone.

    Args:
        model: The network; only its backbones matter.
        clips: Where clips come from.
        folder: The clip cache's folder; None keeps views in memory alone.
        count: Views of each dive.
        swap: Shows some views but the first before other backgrounds; None none.
        precision: That of the backbone, as in training: ``fp32``, or ``bf16`` and ``fp16`` in autocast.
    """

    def __init__(
        self,
        model: FineCausal,
        clips: DiveInputs,
        folder: Path | None,
        count: int,
        precision: Precision = "fp32",
        swap: BackgroundSwap | None = None,
    ) -> None:
        self.count = count
        self._dtype = AUTOCAST.get(precision)
        self._model = model.for_inference()
        self._clips = clips
        self._vary = ClipVariation(clips, model.config.frame_size, count, swap)
        kind = "" if self._dtype is None else f"-{precision}"
        kind += "" if swap is None else f"-{swap.digest}"
        self._folder = None if folder is None else folder / FOLDER / f"{_digest(model)}-{count}{kind}"
        self._known: dict[str, DiveViews] = {}

    def load(self, dive: Dive) -> DiveViews:
        """Return a dive's views, encoding them the first time.

        Raises:
            VideoError: The clip cannot be read.
            OutputError: The views cannot be written.
        """
        key = self._clips.digest(dive)
        if key not in self._known:
            self._known[key] = self._read(key) or self._keep(key, *self._encode([self._vary(dive)]))
        return self._known[key]

    def make(self, dives: Sequence[Dive], *, cores: int | None = None) -> Iterator[None]:
        """Have the views of all dives: clips are read and varied by several processes, and encoded in batches.

        Stopped, it goes on with the dives whose views are not stored yet.

        Args:
            dives: The dives.
            cores: Most processes; None takes as many as there are cores.

        Yields:
            Once a dive has its views; not in the order of the dives.

        Raises:
            VideoError: A clip cannot be read.
            OutputError: The views cannot be written.
        """
        missing: dict[str, Dive] = {}
        for dive in dives:
            key = self._clips.digest(dive)
            views = self._known.get(key) or self._read(key)
            if views is None and key not in missing:
                missing[key] = dive
                continue
            if views is not None:
                self._known[key] = views
            yield
        workers = min(cores or available_cores(), len(missing) * self.count // _VIEWS_A_PROCESS)
        device = next(self._model.parameters()).device
        varied = load_ahead(
            self._vary,
            missing.values(),
            workers=workers if workers > 1 else 0,
            pin_memory=device.type == "cuda",
        )
        at_once = 1 if device.type == "cpu" else max(1, _AT_ONCE // self.count)
        keys = iter(missing)
        with ThreadPoolExecutor(1) as writer:  # a file is written while the next views are encoded
            written: list[Future[DiveViews]] = []
            while batch := list(islice(varied, at_once)):
                encoded = self._encode(batch)
                for future in written:
                    future.result()
                    yield
                chosen = list(islice(keys, len(encoded)))
                self._known.update(zip(chosen, encoded, strict=True))
                written = [writer.submit(self._keep, key, self._known[key]) for key in chosen]
            for future in written:
                future.result()
                yield

    def collate(self, groups: Sequence[Group], dives: Sequence[Dive], *, seed: int, epoch: int) -> PairBatch:
        """Make a batch of one view of each dive, drawn from seed, epoch and dive."""
        indices = [index for group in groups for index in group]
        drawn = [int(np.random.default_rng((seed, epoch, index)).integers(self.count)) for index in indices]
        views = [self.load(dives[index]) for index in indices]
        nothing = torch.zeros(len(indices), 0, dtype=torch.uint8)
        return pair_batch(
            groups,
            dives,
            clips=nothing,
            masks=nothing,
            has_mask=torch.zeros(len(indices), dtype=torch.bool),
            transitions=torch.stack([each.transitions[view] for each, view in zip(views, drawn, strict=True)]),
            encoding=Encoding.concat([each.encoding.select(view) for each, view in zip(views, drawn, strict=True)]),
        )

    def encoded(self, model: FineCausal, dives: Sequence[Dive]) -> EncodedDives:
        """Return dives without augmentation, with the mask features that a network on this backbone now gives them."""
        views = [self.load(dive) for dive in dives]
        with torch.inference_mode():
            encodings = model.project_mask_features(Encoding.concat([each.encoding.select(0) for each in views]))
        starts = [(int(first), int(last)) for first, last in (each.transitions[0].tolist() for each in views)]
        transitions = tuple(None if NO_TRANSITION in each else each for each in starts)
        return EncodedDives(tuple(dives), encodings, transitions, (None,) * len(views))

    def _encode(self, batch: Sequence[VariedClips]) -> list[DiveViews]:
        """Encode the clips of some dives: together on a GPU, one after the other on a CPU."""
        device = next(self._model.parameters()).device
        encodings = []
        with torch.inference_mode(), torch.autocast(device.type, self._dtype, enabled=self._dtype is not None):
            pixels = [
                mirror_rows(normalise(one.frames.to(device, non_blocking=True)), one.mirrored.to(device))
                for one in batch
            ]
            parts = (
                [view for each in pixels for view in torch.split(each, 1)]
                if device.type == "cpu"
                else [torch.cat(pixels)]
            )
            encodings = [self._model.encode(part).map(lambda tensor: tensor.float().cpu()) for part in parts]
        encoded = Encoding.concat(encodings)
        rows = torch.split(torch.arange(len(encoded)), [len(one.frames) for one in batch])
        return [DiveViews(encoded.select(mine), one.transitions) for mine, one in zip(rows, batch, strict=True)]

    def _keep(self, key: str, views: DiveViews) -> DiveViews:
        """Store a dive's views."""
        if self._folder is not None:
            tensors = {"video": views.encoding.video, "mask": views.encoding.mask, "transitions": views.transitions}
            tensors |= {} if views.encoding.frames is None else {"frames": views.encoding.frames}
            with atomic_write(self._folder / f"{key}{_SUFFIX}", "the encoded views") as part:
                part.write_bytes(dump_tensors({name: each.contiguous() for name, each in tensors.items()}))
        return views

    def _read(self, key: str) -> DiveViews | None:
        """Read a dive's views; None if they are not cached."""
        if self._folder is None:
            return None
        try:
            tensors = parse_tensors((self._folder / f"{key}{_SUFFIX}").read_bytes())
            encoding = Encoding(tensors["video"], tensors["mask"], tensors.get("frames"))
            return DiveViews(encoding, tensors["transitions"])
        except (OSError, SafetensorError, KeyError):
            return None


def _digest(model: FineCausal) -> str:
    """Return a digest of everything that an encoding depends on, but for the map to the mask features."""
    facts = hashlib.sha256(model.config.model_dump_json(include={"geometry", "frame_size", "width"}).encode())
    for backbone in backbones(model):
        for name, tensor in backbone.state_dict().items():
            facts.update(name.encode())
            facts.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return facts.hexdigest()[:16]
