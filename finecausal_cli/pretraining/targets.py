"""What the simulator knows of a dive that a snippet of it may be held to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from finecausal_cli.errors import DatasetError
from finecausal_cli.model.config import FRAMES, SNIPPET_FRAMES
from finecausal_cli.video.sampling import sample_indices

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.data.dive import Dive

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
"""What the judges see, and the stretch of the dive in which it shows."""

LEAST_SHOWN = {"stance": 6, "crouch": 8, "leaving": 6, "flight": 8, "entry": 1}
"""The stretches, and how many frames of one a snippet must show to be asked what shows in it."""

_FOLDERS = ("meta", "tracks")
"""Where the simulator writes what it knows: of a dive, and of each of its frames."""

_CROUCH, _LEAVING, _ENTERING = (-10, 0), (-3, 10), (-8, 10)
"""Frames around a transition that show how it went. How high a dive rises shows in how deep it is begun."""

_BELOW_SURFACE = 3
"""Frames of the entry, of the clip, in which the body still shows."""


@dataclass(frozen=True)
class Targets:
    """What is known of one dive; F sampled frames, M values of motion, K things that judges see.

    Attributes:
        motion: [F, M]: cosine of the turn, amount of its sine, cosine of twice the twist; height above where the flight
            began, height above the water (m), its change from frame to frame (m); then the joint angles' amounts (rad).
        visible: [F], False under water.
        stage: [F], 0 before, 1 in, 2 after the flight.
        seen: [K], what the judges saw, in the order of `SEEN`.
        transitions: Sampled frames at which flight and entry begin.
    """

    motion: NDArray[np.float32]
    visible: NDArray[np.bool_]
    stage: NDArray[np.int64]
    seen: NDArray[np.float32]
    transitions: tuple[int, int]

    def stretches(self) -> NDArray[np.int64]:
        """Return first frame and end of the stretch in which each of `SEEN` shows: [K, 2]."""
        leave, enter = self.transitions
        found = {
            "stance": (0, leave),
            "crouch": (leave + _CROUCH[0], leave + _CROUCH[1]),
            "leaving": (leave + _LEAVING[0], leave + _LEAVING[1]),
            "flight": (leave, enter),
            "entry": (enter + _ENTERING[0], enter + _ENTERING[1]),
        }
        return np.array([found[stretch] for stretch in SEEN.values()])

    def shown_by_frame(self) -> NDArray[np.bool_]:
        """Tell which frames show what of `SEEN`: [F, K]."""
        first, end = self.stretches().T
        frame = np.arange(len(self.motion))[:, None]
        shown: NDArray[np.bool_] = (frame >= first) & (frame < end)
        return shown

    def shown_by_snippet(self, start: int) -> NDArray[np.bool_]:
        """Tell what of `SEEN` the snippet from frame ``start`` shows: [K]."""
        first, end = self.stretches().T
        overlap = np.minimum(end, start + SNIPPET_FRAMES) - np.maximum(first, start)
        shown: NDArray[np.bool_] = overlap >= np.array([LEAST_SHOWN[stretch] for stretch in SEEN.values()])
        return shown


def read_targets(dive: Dive) -> Targets:
    """Read what the simulator wrote beside a dive.

    Raises:
        DatasetError: It wrote nothing there, or not what is needed.
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
    # Mirrored pictures show the same dive: only what a mirror leaves alone is asked for.
    place = [np.cos(turn), np.abs(np.sin(turn)), np.cos(2 * twist), height - height[min(after[0], FRAMES - 1)], height]
    place.append(np.gradient(height))
    angles = [np.radians(np.abs(np.array(track["pose_deg"][key]))[frames]) for key in track["pose_deg"]]
    seen = [abs(float(record["seen"][key])) for key in SEEN]
    return Targets(
        motion=np.stack([*place, *angles], axis=1).astype(np.float32),
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
