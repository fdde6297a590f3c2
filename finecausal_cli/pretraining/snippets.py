"""Snippets of dives, drawn by chance, with what they are held to."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from finecausal_cli.errors import DatasetError
from finecausal_cli.model.config import SNIPPET_FRAMES
from finecausal_cli.pretraining.targets import read_targets
from finecausal_cli.video.transform import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.data.dive import Dive

BEFORE_LEAVING = (4, 22)
"""Frames before the board is left at which a snippet starts that is cut to show the take-off."""

_LIGHT = 0.15
"""Spread of the brightness and contrast that pictures are given by chance."""

_STILL = 1e-3
"""Added to a spread, for values that never change."""


@dataclass(frozen=True)
class Scale:
    """How values are standardised.

    Attributes:
        motion: [2, M], mean and spread.
        seen: [2, K], mean and spread.
    """

    motion: Tensor
    seen: Tensor


@dataclass(frozen=True)
class Cut:
    """One snippet of a dive, as it lies in the clip.

    Attributes:
        frames: uint8 [16, H, W, 3], RGB.
        mask: uint8 [16, H, W], 1 where the athlete is.
        motion: [16, M].
        visible: bool [16].
        stage: int64 [16].
        seen: [K].
        shown: bool [K].
        shown_by_frame: bool [16, K].
    """

    frames: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    motion: NDArray[np.float32]
    visible: NDArray[np.bool_]
    stage: NDArray[np.int64]
    seen: NDArray[np.float32]
    shown: NDArray[np.bool_]
    shown_by_frame: NDArray[np.bool_]


@dataclass(frozen=True)
class Snippets:
    """B snippets with what they are held to.

    Attributes:
        pictures: float [B, 3, 16, H, W], normalised.
        mask: float [B, 16, H, W].
        motion: [B, 16, M], standardised.
        visible: bool [B, 16].
        stage: int64 [B, 16].
        seen: [B, K], standardised.
        shown: bool [B, K], what the snippet shows.
        shown_by_frame: bool [B, 16, K], what each of its frames shows.
    """

    pictures: Tensor
    mask: Tensor
    motion: Tensor
    visible: Tensor
    stage: Tensor
    seen: Tensor
    shown: Tensor
    shown_by_frame: Tensor

    def to(self, device: torch.device) -> Snippets:
        """Return them on another device."""
        return Snippets(*(getattr(self, one.name).to(device, non_blocking=True) for one in fields(self)))

    def pin_memory(self) -> Snippets:
        """Return them in memory that a GPU can read by itself."""
        return Snippets(*(getattr(self, one.name).pin_memory() for one in fields(self)))


class Shelf:
    """The dives of one split with their targets.

    Args:
        dives: Simulated dives.
        cache: Their clips.

    Raises:
        DatasetError: A dive is not a simulated one.
    """

    def __init__(self, dives: Sequence[Dive], cache: ClipCache) -> None:
        self._dives, self._cache = dives, cache
        self.targets = [read_targets(dive) for dive in dives]

    def __len__(self) -> int:
        return len(self._dives)

    def make_ready(self, report: Callable[[], object]) -> None:
        """Decode every clip once; ``report`` is called after each.

        Raises:
            VideoError: A clip cannot be read.
            DatasetError: It has no masks.
        """
        for dive in self._dives:
            if self._cache.load(dive).mask is None:
                raise DatasetError(f"{dive.key} has no masks", where=dive.video, hint="simulated dives have them")
            report()

    def scale(self) -> Scale:
        """Return mean and spread of the motion that is visible and of what was seen."""
        motion = np.concatenate([one.motion[one.visible] for one in self.targets])
        seen = np.stack([one.seen for one in self.targets])
        return Scale(*(torch.tensor(np.stack([each.mean(0), each.std(0) + _STILL])) for each in (motion, seen)))

    def draw(self, place: int, count: int, rng: np.random.Generator, at_takeoff: float) -> list[int]:
        """Draw where snippets of a dive start: a share shortly before the board is left, the others anywhere."""
        last = len(self.targets[place].motion) - SNIPPET_FRAMES
        anywhere = rng.integers(0, last + 1, count)
        before = self.targets[place].transitions[0] - rng.integers(*BEFORE_LEAVING, count)
        starts: list[int] = np.where(rng.random(count) < at_takeoff, np.clip(before, 0, last), anywhere).tolist()
        return starts

    def cut(self, place: int, starts: Sequence[int], rng: np.random.Generator | None) -> list[Cut]:
        """Cut snippets out of a dive: the middle of its pictures or, with chance, any place, mirrored or not.

        Raises:
            VideoError: The clip cannot be read.
        """
        clip, target, size = self._cache.load(self._dives[place]), self.targets[place], self._cache.frame_size
        assert clip.mask is not None  # noqa: S101 -- make_ready has seen to it
        free = np.array(clip.frames.shape[1:3]) - size
        top, left = free // 2 if rng is None else rng.integers(free + 1)
        step = -1 if rng is not None and rng.random() < 0.5 else 1
        by_frame = target.shown_by_frame()
        cuts = []
        for start in starts:
            asked = slice(start, start + SNIPPET_FRAMES)
            window = (asked, slice(top, top + size), slice(left, left + size))
            cuts.append(
                Cut(
                    frames=np.ascontiguousarray(clip.frames[window][:, :, ::step]),
                    mask=clip.mask[window][:, :, ::step].copy(),
                    motion=target.motion[asked],
                    visible=target.visible[asked],
                    stage=target.stage[asked],
                    seen=target.seen,
                    shown=target.shown_by_snippet(start),
                    shown_by_frame=by_frame[asked],
                )
            )
        return cuts


def put_together(cuts: Sequence[Cut], scale: Scale, light: np.random.Generator | None) -> Snippets:
    """Make a batch; ``light`` changes brightness and contrast a little."""
    pictures = torch.stack([normalise(one.frames) for one in cuts])
    if light is not None:
        gain, shift = (torch.tensor(light.normal(m, _LIGHT, (len(cuts), 1, 1, 1, 1))).float() for m in (1.0, 0.0))
        pictures = pictures * gain + shift

    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(one, name) for one in cuts]))

    return Snippets(
        pictures=pictures,
        mask=stacked("mask").float(),
        motion=(stacked("motion") - scale.motion[0]) / scale.motion[1],
        visible=stacked("visible"),
        stage=stacked("stage"),
        seen=(stacked("seen") - scale.seen[0]) / scale.seen[1],
        shown=stacked("shown"),
        shown_by_frame=stacked("shown_by_frame"),
    )
