"""Snippets of simulated dives with the motion to be predicted from them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from finecausal_cli.data.batch import mirror_rows, normalise, rows_of
from finecausal_cli.data.cache import fill
from finecausal_cli.errors import DatasetError
from finecausal_cli.model.config import FRAMES, SNIPPET_FRAMES
from finecausal_cli.training import STRETCHES
from finecausal_cli.video import sample_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.data import Dive
    from finecausal_cli.data.cache import ClipCache


# Targets that the simulator knows of a dive.

SEEN = {
    "rise": "crouch",
    "lean_deg": "leaving",
    "clearance": "leaving",
    "steadiness": "stance",
    "openness": "flight",
    "legs_apart": "flight",
    "feet": "flight",
    "crossed": "flight",
    "late_s": "flight",
    "entry_deg": "entry",
    "twist_deg": "entry",
    "arch": "entry",
    "arms": "entry",
    "splash": "entry",
}
"""Quantities that judges see, and the stretch of the dive that shows each."""

LEAST_SHOWN = dict(zip(STRETCHES, (6, 8, 6, 8, 1), strict=True))
"""The stretches, and how many frames of one a snippet must show to have its targets."""

_FOLDERS = ("meta", "tracks")
"""Folders of the simulator: facts of a dive, and of each of its frames."""

_CROUCH, _LEAVING, _ENTERING = (-10, 0), (-3, 10), (-8, 10)
"""Frames around a transition that show its quantities. How high a dive rises shows in how deep its crouch is."""

_BELOW_SURFACE = 3
"""Frames of the entry, of the clip, in which the body is still visible."""


@dataclass(frozen=True)
class Targets:
    """Targets of one dive; F sampled frames, M values of motion, K quantities that judges see.

    Attributes:
        motion: [F, M]: cosine of the turn, amount of its sine, cosine of twice the twist; height above where the flight
            began, height above the water (m), its change from frame to frame (m); then the joint angles' amounts (rad).
        visible: [F], False under water.
        stage: [F], 0 before, 1 in, 2 after the flight.
        seen: [K], the judged quantities, in the order of `SEEN`.
        transitions: Sampled frames at which flight and entry begin.
    """

    motion: NDArray[np.float32]
    visible: NDArray[np.bool_]
    stage: NDArray[np.int64]
    seen: NDArray[np.float32]
    transitions: tuple[int, int]

    def stretches(self) -> NDArray[np.int64]:
        """Return first frame and end of the stretch that shows each of `SEEN`: [K, 2]."""
        leave, enter = self.transitions
        spans = {
            "stance": (0, leave),
            "crouch": (leave + _CROUCH[0], leave + _CROUCH[1]),
            "leaving": (leave + _LEAVING[0], leave + _LEAVING[1]),
            "flight": (leave, enter),
            "entry": (enter + _ENTERING[0], enter + _ENTERING[1]),
        }
        return np.array([spans[stretch] for stretch in SEEN.values()])

    def shown_by_frame(self) -> NDArray[np.bool_]:
        """Return which frames show which of `SEEN`: [F, K]."""
        first, end = self.stretches().T
        frame = np.arange(len(self.motion))[:, None]
        shown: NDArray[np.bool_] = (frame >= first) & (frame < end)
        return shown

    def shown_by_snippet(self, start: int) -> NDArray[np.bool_]:
        """Return which of `SEEN` the snippet from frame ``start`` shows: [K]."""
        first, end = self.stretches().T
        overlap = np.minimum(end, start + SNIPPET_FRAMES) - np.maximum(first, start)
        shown: NDArray[np.bool_] = overlap >= np.array([LEAST_SHOWN[stretch] for stretch in SEEN.values()])
        return shown


def read_targets(dive: Dive) -> Targets:
    """Read the targets that the simulator wrote beside a dive.

    Raises:
        DatasetError: They are missing or incomplete.
    """
    root, name = dive.video.parent.parent, dive.video.with_suffix(".json").name
    record, track = (_read(root / folder / name) for folder in _FOLDERS)
    try:
        return _targets(record, track)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DatasetError(
            f"what is known of {dive.key} ({', '.join(_FOLDERS)}) is not what this version writes: {error!r}",
            where=root,
            hint="simulate the dives anew",
        ) from None


def _targets(record: dict[str, Any], track: dict[str, Any]) -> Targets:
    frames = sample_indices(0, record["frames"] - 1)
    turn, twist = (np.radians(np.array(track[key]))[frames] for key in ("somersault_deg", "twist_deg"))
    height = np.array(track["centre_m"])[frames, 2]
    after = np.searchsorted(frames, [record["twist_start"], record["entry_start"]])
    stage = (np.arange(len(frames))[:, None] >= after).sum(1)
    # Clips are mirrored at random: only quantities that a mirror leaves alone are targets.
    path = [np.cos(turn), np.abs(np.sin(turn)), np.cos(2 * twist), height - height[min(after[0], FRAMES - 1)], height]
    path.append(np.gradient(height))
    angles = [np.radians(np.abs(np.array(track["pose_deg"][key]))[frames]) for key in track["pose_deg"]]
    seen = [abs(float(record["seen"][key])) for key in SEEN]
    return Targets(
        motion=np.stack([*path, *angles], axis=1).astype(np.float32),
        visible=frames < record["entry_start"] + _BELOW_SURFACE,
        stage=stage,
        seen=np.array(seen, np.float32),
        transitions=(int(after[0]), int(after[1])),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"what the simulator knows of the dive cannot be read: {getattr(error, 'strerror', None) or error}",
            where=path,
            hint="pretraining needs dives that finecausal simulate wrote, in its own layout",
        ) from None
    if not isinstance(content, dict):
        raise DatasetError("not a record of a simulated dive", where=path)
    return content


# Snippets of dives, drawn at random, with their targets.

BEFORE_LEAVING = (4, 22)
"""Frames before the take-off at which a snippet starts that is cropped to show it."""

_LIGHT = 0.15
"""Standard deviation of the random brightness and contrast."""

_STILL = 1e-3
"""Added to a standard deviation, for values that never change."""


@dataclass(frozen=True)
class Scale:
    """How targets are standardised.

    Attributes:
        motion: [2, M], mean and standard deviation.
        seen: [2, K], mean and standard deviation.
    """

    motion: Tensor
    seen: Tensor


@dataclass(frozen=True)
class Snippet:
    """One snippet of a dive with its targets, before standardisation.

    Attributes:
        frames: uint8 [16, H, W, 3], RGB; not mirrored yet.
        mask: uint8 [16, H, W], 1 where the athlete is; not mirrored yet.
        motion: [16, M].
        visible: bool [16].
        stage: int64 [16].
        seen: [K].
        shown: bool [K].
        shown_by_frame: bool [16, K].
        is_mirrored: Whether it is to be mirrored.
    """

    frames: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    motion: NDArray[np.float32]
    visible: NDArray[np.bool_]
    stage: NDArray[np.int64]
    seen: NDArray[np.float32]
    shown: NDArray[np.bool_]
    shown_by_frame: NDArray[np.bool_]
    is_mirrored: bool


@dataclass(frozen=True)
class Snippets:
    """B snippets with their targets: as they were cut, or as a network reads them.

    Attributes:
        frames: uint8 [B, 16, H, W, 3], RGB, as they were cut; after ``prepare`` float [B, 3, 16, H, W], normalised.
        mask: uint8 [B, 16, H, W].
        motion: [B, 16, M], standardised.
        visible: bool [B, 16].
        stage: int64 [B, 16].
        seen: [B, K], standardised.
        shown: bool [B, K], the quantities that the snippet shows.
        shown_by_frame: bool [B, 16, K], those that each of its frames shows.
        mirrored: int64 [R], which of B are to be mirrored.
        light: float [2, B, 1, 1, 1, 1], factor on the normalised pixels, and what is added to them.
    """

    frames: Tensor
    mask: Tensor
    motion: Tensor
    visible: Tensor
    stage: Tensor
    seen: Tensor
    shown: Tensor
    shown_by_frame: Tensor
    mirrored: Tensor
    light: Tensor | None

    def to(self, device: torch.device) -> Snippets:
        """Return them on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Snippets:
        """Return them in memory that a GPU can read by itself."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Snippets:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(self, **{name: function(value) for name, value in values.items() if value is not None})

    def prepare(self) -> Snippets:
        """Return them as a network reads them, all at once where they are: mirrored, normalised, in other light."""
        frames = mirror_rows(normalise(self.frames), self.mirrored)
        if self.light is not None:
            frames = frames.mul_(self.light[0]).add_(self.light[1])
        mask = mirror_rows(self.mask.clone(), self.mirrored)
        return replace(self, frames=frames, mask=mask, mirrored=self.mirrored[:0], light=None)


class SnippetDataset:
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
        """Decode every clip once, on all cores; ``report`` is called after each.

        Raises:
            VideoError: A clip cannot be read.
            DatasetError: It has no masks.
        """
        for dive, has_mask in zip(self._dives, fill(self._cache, self._dives), strict=True):
            if not has_mask:
                raise DatasetError(f"{dive.key} has no masks", where=dive.video, hint="simulated dives have them")
            report()

    def scale(self) -> Scale:
        """Return mean and standard deviation of the motion that is visible and of the judged quantities."""
        motion = np.concatenate([one.motion[one.visible] for one in self.targets])
        seen = np.stack([one.seen for one in self.targets])
        return Scale(*(torch.tensor(np.stack([each.mean(0), each.std(0) + _STILL])) for each in (motion, seen)))

    def draw(self, index: int, count: int, rng: np.random.Generator, at_takeoff: float) -> list[int]:
        """Draw first frames of snippets of a dive: a share shortly before the take-off, the others anywhere."""
        last = len(self.targets[index].motion) - SNIPPET_FRAMES
        anywhere = rng.integers(0, last + 1, count)
        before = self.targets[index].transitions[0] - rng.integers(*BEFORE_LEAVING, count)
        starts: list[int] = np.where(rng.random(count) < at_takeoff, np.clip(before, 0, last), anywhere).tolist()
        return starts

    def crop_snippets(self, index: int, starts: Sequence[int], rng: np.random.Generator | None) -> list[Snippet]:
        """Crop snippets out of a dive: the centre of its frames or, with ``rng``, a random crop, to be mirrored or not.

        Raises:
            VideoError: The clip cannot be read.
        """
        clip, target, size = self._cache.load(self._dives[index]), self.targets[index], self._cache.frame_size
        assert clip.mask is not None  # noqa: S101 -- make_ready has seen to it
        free = np.array(clip.frames.shape[1:3]) - size
        top, left = free // 2 if rng is None else rng.integers(free + 1)
        is_mirrored = rng is not None and bool(rng.random() < 0.5)
        by_frame = target.shown_by_frame()
        snippets = []
        for start in starts:
            span = slice(start, start + SNIPPET_FRAMES)
            window = (span, slice(top, top + size), slice(left, left + size))
            snippets.append(
                Snippet(
                    frames=clip.frames[window],
                    mask=clip.mask[window],
                    motion=target.motion[span],
                    visible=target.visible[span],
                    stage=target.stage[span],
                    seen=target.seen,
                    shown=target.shown_by_snippet(start),
                    shown_by_frame=by_frame[span],
                    is_mirrored=is_mirrored,
                )
            )
        return snippets


def collate_snippets(snippets: Sequence[Snippet], scale: Scale, rng: np.random.Generator | None) -> Snippets:
    """Make a batch of snippets as they were cut; ``rng`` draws brightness and contrast, which vary a little."""
    light = None
    if rng is not None:
        light = torch.from_numpy(np.stack([rng.normal(mean, _LIGHT, (len(snippets), 1, 1, 1, 1)) for mean in (1, 0)]))

    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(one, name) for one in snippets]))

    return Snippets(
        frames=stacked("frames"),
        mask=stacked("mask"),
        motion=(stacked("motion") - scale.motion[0]) / scale.motion[1],
        visible=stacked("visible"),
        stage=stacked("stage"),
        seen=(stacked("seen") - scale.seen[0]) / scale.seen[1],
        shown=stacked("shown"),
        shown_by_frame=stacked("shown_by_frame"),
        mirrored=rows_of([one.is_mirrored for one in snippets]),
        light=None if light is None else light.float(),
    )
