"""Outputs of the network: encodings of clips, and comparisons of pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Encoding:
    """Everything about B clips that does not depend on a partner; computed once and worth storing.

    Attributes:
        video: [B, S, D], video features O.
        mask: [B, S, D], mask features, before the sigmoid.
        frames: [B, F, 512], single-frame features; only with the static branch.
        foreground: Logits [B, S, 16, H, W], one or five (four side outputs, then the foreground); only on request.
        number_logits: [B, K], logits of the parts of the dive number; only with a dive-number classifier.
    """

    video: Tensor
    mask: Tensor
    frames: Tensor | None = None
    foreground: tuple[Tensor, ...] | None = None
    number_logits: Tensor | None = None

    @property
    def fused(self) -> Tensor:
        """Fused features F [B, S, D]: the video features gated by the mask features."""
        return self.video * self.mask.sigmoid()

    def __len__(self) -> int:
        return self.video.shape[0]

    def select(self, index: int | slice | Sequence[int] | Tensor) -> Encoding:
        """Return the clips at `index`, in its order; a single integer gives a batch of one."""
        if isinstance(index, int):
            positions: slice | Tensor = torch.tensor([range(len(self))[index]])
        else:
            positions = index if isinstance(index, slice | Tensor) else torch.tensor(index, dtype=torch.long)
        return self.map(lambda tensor: tensor[positions])

    def expand(self, count: int) -> Encoding:
        """Expand a batch of one to `count` clips without copying."""
        return self.map(lambda tensor: tensor.expand(count, *tensor.shape[1:]))

    def to(self, device: torch.device | str) -> Encoding:
        """Move the encoding to a device."""
        return self.map(lambda tensor: tensor.to(device))

    def detach(self) -> Encoding:
        """Detach the encoding from the autograd graph."""
        return self.map(lambda tensor: tensor.detach())

    @staticmethod
    def concat(encodings: Sequence[Encoding]) -> Encoding:
        """Join batches. A field that one of them lacks is dropped."""

        def join(parts: Sequence[Tensor | None]) -> Tensor | None:
            present = [part for part in parts if part is not None]
            return torch.cat(present) if len(present) == len(parts) else None

        maps = [encoding.foreground for encoding in encodings]
        joined = None
        if all(level is not None for level in maps):
            joined = tuple(torch.cat(level) for level in zip(*(level or () for level in maps), strict=True))
        return Encoding(
            video=torch.cat([encoding.video for encoding in encodings]),
            mask=torch.cat([encoding.mask for encoding in encodings]),
            frames=join([encoding.frames for encoding in encodings]),
            foreground=joined,
            number_logits=join([encoding.number_logits for encoding in encodings]),
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> Encoding:
        """Apply a function to every tensor."""
        return Encoding(
            video=function(self.video),
            mask=function(self.mask),
            frames=None if self.frames is None else function(self.frames),
            foreground=None if self.foreground is None else tuple(function(each) for each in self.foreground),
            number_logits=None if self.number_logits is None else function(self.number_logits),
        )


@dataclass(frozen=True, slots=True)
class Regression:
    """Differences between the dives of B pairs, in execution units.

    Attributes:
        stage_deltas: [B, 2, G], this dive minus the other, stage by stage.
        delta: [B, 2], the weighted sum of the stage differences.
        stage_attention: [B, 2, layers, G, G], temporal causal attention (row attends to column), or None.
    """

    stage_deltas: Tensor
    delta: Tensor
    stage_attention: Tensor | None = None


@dataclass(frozen=True, slots=True)
class PairOutput:
    """The comparison of B pairs.

    Attributes:
        frame_logits: [B, 2, F, 2], log-odds of each frame being the (first, last) transition.
        transitions: int64 [B, 2, 2], sampled frame of the (first, last) transition that the stages were cut at.
        tokens: [B, 2, G, T, 64], stage features S.
        stage_deltas: [B, 2, G], this dive minus the other, stage by stage, in execution units.
        delta: [B, 2], the stage differences summed with `STAGE_WEIGHTS`.
        static_tokens: [B, 2, G, 4, 64], stage features of single frames; only with the static branch.
        node_attention: [B, 2, N, N, heads] (layer, source, target), attention of the intervention, or None.
        stage_attention: [B, 2, layers, G, G], temporal causal attention (row attends to column), or None.
    """

    frame_logits: Tensor
    transitions: Tensor
    tokens: Tensor
    stage_deltas: Tensor
    delta: Tensor
    static_tokens: Tensor | None = None
    node_attention: Tensor | None = None
    stage_attention: Tensor | None = None
