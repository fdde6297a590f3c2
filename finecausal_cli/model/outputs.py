"""What the network returns, as values."""

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
        opinions: [B, K], what a recogniser says of the dive number; only where the network has one.
    """

    video: Tensor
    mask: Tensor
    frames: Tensor | None = None
    foreground: tuple[Tensor, ...] | None = None
    opinions: Tensor | None = None

    @property
    def fused(self) -> Tensor:
        """Fused features F [B, S, D]: the video features let through by the mask features."""
        return self.video * self.mask.sigmoid()

    def __len__(self) -> int:
        return self.video.shape[0]

    def select(self, index: int | slice | Sequence[int] | Tensor) -> Encoding:
        """Return some of the clips, in the order asked for; a single number gives a batch of one."""
        if isinstance(index, int):
            positions: slice | Tensor = torch.tensor([range(len(self))[index]])
        else:
            positions = index if isinstance(index, slice | Tensor) else torch.tensor(index, dtype=torch.long)
        return self.map(lambda tensor: tensor[positions])

    def expand(self, count: int) -> Encoding:
        """Repeat a batch of one `count` times without copying."""
        return self.map(lambda tensor: tensor.expand(count, *tensor.shape[1:]))

    def to(self, device: torch.device | str) -> Encoding:
        """Return the same encoding on a device."""
        return self.map(lambda tensor: tensor.to(device))

    def detach(self) -> Encoding:
        """Return the same numbers cut off from the computation of gradients."""
        return self.map(lambda tensor: tensor.detach())

    @staticmethod
    def concat(encodings: Sequence[Encoding]) -> Encoding:
        """Join batches. A field that one of them lacks is dropped."""

        def join(parts: Sequence[Tensor | None]) -> Tensor | None:
            present = [part for part in parts if part is not None]
            return torch.cat(present) if len(present) == len(parts) else None

        maps = [encoding.foreground for encoding in encodings]
        joined = None
        if all(each is not None for each in maps):
            joined = tuple(torch.cat(level) for level in zip(*(each or () for each in maps), strict=True))
        return Encoding(
            video=torch.cat([encoding.video for encoding in encodings]),
            mask=torch.cat([encoding.mask for encoding in encodings]),
            frames=join([encoding.frames for encoding in encodings]),
            foreground=joined,
            opinions=join([encoding.opinions for encoding in encodings]),
        )

    def map(self, change: Callable[[Tensor], Tensor]) -> Encoding:
        """Return an encoding of changed tensors."""
        return Encoding(
            video=change(self.video),
            mask=change(self.mask),
            frames=None if self.frames is None else change(self.frames),
            foreground=None if self.foreground is None else tuple(change(each) for each in self.foreground),
            opinions=None if self.opinions is None else change(self.opinions),
        )


@dataclass(frozen=True, slots=True)
class Regression:
    """How much better one dive of a pair is than the other, in execution units.

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
    """What comparing B pairs gives.

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

    @property
    def frame_probabilities(self) -> Tensor:
        """Probability [B, 2, F, 2] of each frame being the (first, last) transition."""
        return self.frame_logits.sigmoid()
