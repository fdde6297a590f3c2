"""What a step learns from: pairs of dives, or cached views of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors

from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.batch import Group, PairBatch, augment, normalise, pair_batch, plan_epoch
from finecausal_cli.data.cache import NO_TRANSITION, ClipArrays
from finecausal_cli.device import AUTOCAST
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import EncodedDives
from finecausal_cli.training import Precision, backbones
from finecausal_cli.video import crop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from finecausal_cli.data import Dive
    from finecausal_cli.data.batch import BackgroundSwap
    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.training import TrainOptions


# Cut every step's batch into the parts that the processes compute, and load them ahead.
#
# The batch of a step is the same however many processes share it and however many parts each takes in turn: part
# number k of n holds the groups k, k + n, ... of the batch. So a run of two processes is the run of one that takes
# two parts.


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


# What a frozen trunk makes of every dive, kept: minutes instead of hours to train what stands behind it.
#
# A trunk that stays as it is gives a picture the same features every time. So each dive is encoded once in a few
# views, as it is and as training would vary it, and training draws from these. One small file a dive lies in the clip
# cache, under a name that says trunk, clip and number of views, so that runs, seeds and ablations on one trunk share
# them.

FOLDER = "views"
"""Where they lie in the clip cache."""

_SUFFIX = ".safetensors"
_SEED = 23911
"""Views are those of their dive, whatever the seed of the run."""


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
    """The views of dives under one frozen trunk.

    Args:
        model: The network; only its trunks matter.
        clips: Where clips come from.
        folder: The clip cache's folder; None keeps views in memory alone.
        count: Views of each dive.
        swap: Shows some views but the first before other backgrounds; None none.
        precision: What the trunk computes in, as in training: ``fp32``, or ``bf16`` and ``fp16`` in autocast.
    """

    def __init__(
        self,
        model: FineCausal,
        clips: ClipCache,
        folder: Path | None,
        count: int,
        precision: Precision = "fp32",
        swap: BackgroundSwap | None = None,
    ) -> None:
        self.count = count
        self._dtype = AUTOCAST.get(precision)
        self._model = model.for_inference()
        self._clips = clips
        self._swap = swap
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
            self._known[key] = self._read(key) or self._make(dive, key)
        return self._known[key]

    def collate(self, groups: Sequence[Group], dives: Sequence[Dive], *, seed: int, epoch: int) -> PairBatch:
        """Put a batch together from one view of each dive, drawn from seed, epoch and dive."""
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
            transitions=torch.stack([one.transitions[view] for one, view in zip(views, drawn, strict=True)]),
            encoding=Encoding.concat([one.encoding.select(view) for one, view in zip(views, drawn, strict=True)]),
        )

    def encoded(self, model: FineCausal, dives: Sequence[Dive]) -> EncodedDives:
        """Return dives as they are, with the mask features that a network on this trunk now gives them."""
        views = [self.load(dive) for dive in dives]
        with torch.inference_mode():
            encodings = model.project_mask_features(Encoding.concat([one.encoding.select(0) for one in views]))
        found = [(int(first), int(last)) for first, last in (one.transitions[0].tolist() for one in views)]
        transitions = tuple(None if NO_TRANSITION in each else each for each in found)
        return EncodedDives(tuple(dives), encodings, transitions, (None,) * len(views))

    def _make(self, dive: Dive, key: str) -> DiveViews:
        clip, size = self._clips.load(dive), self._model.config.frame_size
        varied = [
            augment(clip, frame_size=size, rng=np.random.default_rng((_SEED, view, int(key[:8], 16))), swap=self._swap)
            for view in range(1, self.count)
        ]
        seen = [ClipArrays(crop(clip.frames, size), None, clip.transitions), *varied]
        device = next(self._model.parameters()).device
        with torch.inference_mode(), torch.autocast(device.type, self._dtype, enabled=self._dtype is not None):
            encodings = [self._model.encode(normalise(one.frames).unsqueeze(0).to(device)) for one in seen]
        encodings = [one.map(lambda tensor: tensor.float().cpu()) for one in encodings]
        views = DiveViews(Encoding.concat(encodings), torch.tensor([one.transitions for one in seen]))
        if self._folder is not None:
            tensors = {"video": views.encoding.video, "mask": views.encoding.mask, "transitions": views.transitions}
            tensors |= {} if views.encoding.frames is None else {"frames": views.encoding.frames}
            with atomic_write(self._folder / f"{key}{_SUFFIX}", "the encoded views") as part:
                part.write_bytes(dump_tensors({name: each.contiguous() for name, each in tensors.items()}))
        return views

    def _read(self, key: str) -> DiveViews | None:
        """Read a dive's views; None if they have to be made."""
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
