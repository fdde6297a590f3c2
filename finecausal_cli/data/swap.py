"""Show an athlete in the place of another dive: do(background := another's), on dives whose masks are known.

A network that is trained on dives alone may read the place instead of the dive. Here the athlete is cut out along the
mask and put before the background of another dive, its own athlete painted over. Stage by stage the background is that
of the same stage: board behind the take-off, air behind the flight. From the entry on the dive stays as it is, because
the splash is judged and belongs to no mask.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.data.cache import NO_TRANSITION, ClipArrays
from finecausal_cli.errors import DatasetError
from finecausal_cli.video.masks import widen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.data.dive import Dive

_PAINTED_FROM = 3
"""Pixels around a hole that it is painted over from."""


class BackgroundSwap:
    """Shows some of the dives before the background of others.

    Args:
        dives: Dives to take backgrounds from; those without mask or stages are left out.
        clips: Their clips.
        share: Share of dives that are changed, 0 to 1.

    Raises:
        DatasetError: No dive has both a mask and its stages.
    """

    def __init__(self, dives: Sequence[Dive], clips: ClipCache, share: float) -> None:
        self._share = share
        self._clips = clips
        self._dives = [dive for dive in dives if dive.mask is not None and dive.entry_start is not None]
        if not self._dives:
            raise DatasetError("no dive has a mask and stages", hint="leave --swap-backgrounds out")

    @property
    def digest(self) -> str:
        """What its changes depend on besides the dive and chance."""
        facts = hashlib.sha256(f"{self._share:g}".encode())
        for dive in self._dives:
            facts.update(self._clips.digest(dive).encode())
        return facts.hexdigest()[:16]

    def __call__(self, clip: ClipArrays, rng: np.random.Generator) -> ClipArrays:
        """Return the clip before another background, or as it is, by chance.

        Raises:
            VideoError: The other clip cannot be read.
        """
        if rng.random() >= self._share:
            return clip
        other = self._dives[int(rng.integers(len(self._dives)))]
        return swap_background(clip, self._clips.load(other), margin=bool(rng.random() < 0.5))


def swap_background(clip: ClipArrays, other: ClipArrays, *, margin: bool = False) -> ClipArrays:
    """Put the athlete of a clip before the background of another one, frame by frame up to the entry.

    Args:
        clip: The clip.
        other: Whose background is taken. Where either has no mask or no stages, the clip is returned as it is.
        margin: Keep a rim of the true background around the athlete, as where the mask is only predicted.
    """
    if clip.mask is None or other.mask is None or NO_TRANSITION in (*clip.transitions, *other.transitions):
        return clip
    frames = clip.frames.copy()
    entry, places = clip.transitions[1], _same_stage(clip.transitions, other.transitions)
    athlete, hole = clip.mask[:entry] > 0, widen(other.mask > 0)
    if margin and entry:
        athlete = widen(athlete)
    size = frames.shape[2], frames.shape[1]
    for frame, place in enumerate(places):
        empty = cv2.inpaint(other.frames[place], hole[place].astype(np.uint8), _PAINTED_FROM, cv2.INPAINT_TELEA)
        if empty.shape != frames[frame].shape:
            empty = cv2.resize(empty, size, interpolation=cv2.INTER_AREA)
        np.copyto(frames[frame], empty, where=~athlete[frame][..., None])
    return replace(clip, frames=frames)


def _same_stage(own: tuple[int, int], other: tuple[int, int]) -> NDArray[np.int64]:
    """Return, for every frame before the entry, the frame of another clip that is as far into the same stage."""
    (_, enter), (_, other_enter) = own, other
    leave, other_leave = min(own), min(other)
    before = np.arange(leave) * other_leave // max(leave, 1)
    within = np.arange(enter - leave) * (other_enter - other_leave) // max(enter - leave, 1)
    return np.concatenate([before, other_leave + within])
