"""The track of a body through a dive: joints, path and outline over time, in metres and real seconds. Needs no torch.

This is what the judging network reads: it is the same on film and in the simulator, whereas colours, crowds and walls
are not. `track_features` turns it into the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np

from finecausal_cli.athlete import JOINT, JOINTS, MIRRORED
from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BEFORE_S: Final = 0.6
"""Real time before the take-off that is sampled."""

AFTER_S: Final = 0.9
"""Real time after the entry that is sampled: while the splash rises."""

_READ_FROM_S: Final = 0.45
"""Real time before the take-off from which on the joints count: the window around the athlete holds the place of the
take-off, and a run-up begins outside of it."""

_READ_TO_S: Final = 0.12
"""Real time after the entry up to which the joints count: then the body is under water."""

_LIMBS: Final = tuple(
    (JOINT[a], JOINT[b], JOINT[c])
    for side in "lr"
    for a, b, c in (
        ("neck", f"shoulder_{side}", f"elbow_{side}"),
        (f"shoulder_{side}", f"elbow_{side}", f"wrist_{side}"),
        ("neck", "pelvis", f"knee_{side}"),
        (f"hip_{side}", f"knee_{side}", f"ankle_{side}"),
    )
)
"""Joints whose angle at the middle one tells how open the body is."""

_SEGMENTS: Final = (
    (("pelvis", "neck"),),
    *(
        tuple((f"{near}_{side}", f"{far}_{side}") for side in "lr")
        for near, far in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
    ),
)
"""Trunk, thigh, shank, upper arm and forearm: the joints at their ends, on both sides of the body."""

_SEEN, _FEWEST_SEEN = 0.5, 6

_MOST_JOINT_M, _MOST_PATH_M, _MOST_AREA_M2 = 1.5, 15.0, 1.2
_SPIN_RAD_S, _SPEED_M_S, _PATH_M = 20.0, 10.0, 5.0
_LEAN_DEG, _LEAN_SD_DEG = 20.0, 12.0
"""Unit of a lean at the contact, and what leans are apart by: an error as large says nothing of one."""

FLAT_LEAN_DEG, FLAT_ERROR_DEG = 95.0, 5.0
"""What is read of a body that lands flat: the median of such leans, and an error as of others that are surely read."""

_LEAST_STEP_S: Final = 5e-3
_SPLASH_SD, _LEAST_CERTAIN = 0.28, 0.05
"""Standard deviation of the sizes of splashes: an error as large says nothing of a splash, but that there is one."""


CHANNELS: Final = 2 * 2 * len(JOINTS) + len(JOINTS) + 3 + 4 + 1 + 3 + 3 + 2 * len(_LIMBS) + 1 + 2 + 3
"""Numbers that describe a body at one moment: joints as they are and about the trunk, their confidence, direction and
spin of the trunk, path and speed, whether it is seen, the stage, three times, the limbs' angles, area, splash, lean at
the contact."""


@dataclass(frozen=True, slots=True)
class BodyTrack:
    """What is read of one dive, in metres and real seconds; F sampled frames, J joints.

    Attributes:
        times_s: float64 [F], real seconds since the take-off.
        joints_m: float32 [F, J, 2], right and up from the pelvis as the picture shows them, metres (by the pull of the
            fall), in the order of ``athlete.JOINTS``.
        confidence: float32 [F, J], 0..1.
        seen: float32 [F], probability that an athlete is there.
        path_m: float32 [F, 2], the pelvis in the still world since the take-off, right and up, metres.
        area_m2: float32 [F], area of the outline.
        air_s: Real seconds in the air.
        splash: Size of the splash, 0 (none) to 1; None where it is not known.
        splash_error: Standard deviation of the error that is expected of it; 0 where it is exact.
        leans_deg: float32 [2, 2], at take-off and contact: how far the body has turned beyond the vertical, degrees,
            counter-clockwise in the picture, and the error that is expected of it; NaN where it is not read. None where
            nothing reads it.
    """

    times_s: NDArray[np.float64]
    joints_m: NDArray[np.float32]
    confidence: NDArray[np.float32]
    seen: NDArray[np.float32]
    path_m: NDArray[np.float32]
    area_m2: NDArray[np.float32]
    air_s: float
    splash: float | None = None
    splash_error: float = 0.0
    leans_deg: NDArray[np.float32] | None = None

    @property
    def transitions(self) -> tuple[int, int]:
        """First sampled frame of the flight and of the entry; the last frame where neither is sampled any more."""
        first, entry = np.searchsorted(self.times_s, (0.0, self.air_s)).tolist()
        return min(first, len(self.times_s) - 1), min(entry, len(self.times_s) - 1)

    @property
    def in_flight(self) -> NDArray[np.bool_]:
        """Which frames show the athlete in the air, bool [F]."""
        return np.asarray((self.times_s >= 0) & (self.times_s < self.air_s))

    def mirrored(self) -> BodyTrack:
        """Return the track in the mirrored picture."""
        order, flip = list(MIRRORED), np.array([-1, 1], np.float32)
        return replace(
            self,
            joints_m=self.joints_m[:, order] * flip,
            confidence=self.confidence[:, order],
            path_m=self.path_m * flip,
            leans_deg=None if self.leans_deg is None else self.leans_deg * flip,
        )

    def varied(self, rng: np.random.Generator) -> BodyTrack:
        """Return the track a little changed for training: mirrored or not, of another size, its joints jittered."""
        seen = self.mirrored() if rng.random() < 0.5 else self
        joints = seen.joints_m * np.exp(rng.normal(0, 0.05)) + rng.normal(0, 0.02, seen.joints_m.shape)
        confidence = np.clip(seen.confidence + rng.normal(0, 0.04, seen.confidence.shape), 0, 1)
        return replace(seen, joints_m=joints.astype(np.float32), confidence=confidence.astype(np.float32))

    def within(self, first_s: float, last_s: float) -> BodyTrack:
        """Return the track of a clip that shows no more than this, real seconds since the take-off."""
        if first_s <= self.times_s[0] and last_s >= self.times_s[-1]:
            return self
        first_s, last_s = max(first_s, float(self.times_s[0])), min(last_s, float(self.times_s[-1]))
        wanted = np.linspace(first_s, max(first_s, last_s), len(self.times_s))
        inside = np.flatnonzero((self.times_s >= first_s) & (self.times_s <= last_s))
        if not len(inside):
            return self
        rows = inside[np.abs(self.times_s[inside][None] - wanted[:, None]).argmin(axis=1)]
        names = ("times_s", "joints_m", "confidence", "seen", "path_m", "area_m2")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def segment_length_m(self) -> float | None:
        """Return the lengths of trunk, thigh, shank, upper arm and forearm, summed; None where hardly any is seen.

        Each is as long as in the longest fifth of the frames in flight: in the others it points at the camera.
        """
        air = self.in_flight & (self.seen > _SEEN)
        if air.sum() < _FEWEST_SEEN:
            return None
        joints, sure = np.asarray(self.joints_m[air], np.float64), np.asarray(self.confidence[air], np.float64)
        total = 0.0
        for pairs in _SEGMENTS:
            first, second = ([JOINT[pair[end]] for pair in pairs] for end in (0, 1))
            lengths = np.hypot(*np.moveaxis(joints[:, first] - joints[:, second], 2, 0)).ravel()
            weights = np.sqrt(sure[:, first] * sure[:, second]).ravel()
            order = np.argsort(lengths)
            reached = np.cumsum(weights[order])
            total += float(np.interp(0.8 * reached[-1], reached, lengths[order]))
        return total

    def frozen(self) -> BodyTrack:
        """Return the track with the body of the flight's first frame held through the flight; the path stays."""
        air = np.flatnonzero(self.in_flight)
        if not len(air):
            return self
        joints, confidence = self.joints_m.copy(), self.confidence.copy()
        joints[air], confidence[air] = joints[air[0]], confidence[air[0]]
        return replace(self, joints_m=joints, confidence=confidence)


def turn(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrices [..., 2, 2] that turn by angles [...], radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def trunk_angle(joints_m: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the direction pelvis to neck [...] of joints [..., J, 2], radians from right towards up."""
    trunk = joints_m[..., JOINT["neck"], :] - joints_m[..., JOINT["pelvis"], :]
    return np.asarray(np.arctan2(trunk[..., 1], trunk[..., 0]), np.float64)


def _angles_at(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cosines and sines [F, 2 L] of the angles between the limbs."""
    first, middle, last = (joints[:, list(index)] for index in zip(*_LIMBS, strict=True))
    u, v = first - middle, last - middle
    angle = np.arctan2(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0], (u * v).sum(-1))
    return np.concatenate([np.cos(angle), np.sin(angle)], -1)


def track_features(track: BodyTrack) -> NDArray[np.float32]:
    """Return the input of the judging network, float32 [CHANNELS, F].

    Joints that are not read (before the last step, under water) and their confidence are 0.
    """
    t, air = np.asarray(track.times_s, np.float64), track.air_s
    step = np.maximum(np.gradient(t), _LEAST_STEP_S) if len(t) > 1 else np.full(len(t), _LEAST_STEP_S)
    live = ((t > -_READ_FROM_S) & (t < air + _READ_TO_S)).astype(np.float64)[:, None]
    joints = np.asarray(track.joints_m, np.float64)
    sure = np.clip(track.confidence, 0, 1) * live
    angle = trunk_angle(track.joints_m)
    upright = np.einsum("tij,tkj->tki", turn(-angle), joints)
    spin = np.clip(np.gradient(np.unwrap(angle)) / step / _SPIN_RAD_S, -2, 2)
    path = np.clip(np.asarray(track.path_m, np.float64), -_MOST_PATH_M, _MOST_PATH_M)
    speed = np.clip(np.gradient(path, axis=0) / step[:, None] / _SPEED_M_S, -2, 2)
    wet = (t >= air).astype(np.float64)
    certainty = 0.0 if track.splash is None else float(np.clip(1 - track.splash_error / _SPLASH_SD, _LEAST_CERTAIN, 1))
    splash = np.stack([wet * (track.splash or 0.0), wet * certainty], -1)
    lean, error = (
        (0.0, _LEAN_SD_DEG)
        if track.leans_deg is None
        else np.nan_to_num(np.asarray(track.leans_deg[1], np.float64), nan=_LEAN_SD_DEG).tolist()
    )
    read = float(np.clip(1 - error / _LEAN_SD_DEG, 0, 1))
    leans = [wet * value for value in (read * abs(lean) / _LEAN_DEG, read * lean / _LEAN_DEG, read)]
    weighed = [np.clip(each, -_MOST_JOINT_M, _MOST_JOINT_M) * sure[..., None] for each in (joints, upright)]
    parts = (
        *(each.reshape(len(t), -1) for each in weighed),
        2 * sure - 1,
        np.stack([np.cos(angle), np.sin(angle), spin], -1) * live,
        path / _PATH_M * live,
        speed * live,
        np.asarray(track.seen, np.float64)[:, None] * live,
        np.stack([t < 0, (t >= 0) & (t < air), t >= air], -1),
        np.stack([t / 2, (t - air) / 2, np.full_like(t, air / 2)], -1),
        _angles_at(joints) * live,
        np.clip(track.area_m2, 0, _MOST_AREA_M2)[:, None] * live,
        splash,
        np.stack(leans, -1),
    )
    return np.concatenate(parts, -1).T.astype(np.float32)


@dataclass(frozen=True, slots=True)
class BodyMotion:
    """A simulated body in space, from which tracks are made as cameras and readers would give them.

    Attributes:
        times_s: float32 [N], real seconds since the take-off.
        joints_m: float32 [N, J, 3], metres in the world: outwards from the board, away from a camera at the side, up.
        air_s: Real seconds in the air.
        splash: Size of the splash, 0..1.
    """

    times_s: NDArray[np.float32]
    joints_m: NDArray[np.float32]
    air_s: float
    splash: float

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the joints [M, J, 3] at the samples nearest to times [M]; the ends hold beyond them."""
        step = float(self.times_s[1] - self.times_s[0])
        index = np.rint((times_s - float(self.times_s[0])) / step).astype(np.int64)
        return self.joints_m[np.clip(index, 0, len(self.times_s) - 1)]

    def write(self, path: Path) -> None:
        """Write it as an npz file; joints in millimetres.

        Raises:
            OutputError: It cannot be written.
        """
        millimetres = np.rint(np.asarray(self.joints_m, np.float64) * 1000).astype(np.int16)
        facts = np.array([self.air_s, self.splash], np.float64)
        with atomic_write(path, "the body's motion") as part, part.open("wb") as stream:
            np.savez_compressed(
                stream, allow_pickle=False, times_s=self.times_s, joints_mm=millimetres, air_splash=facts
            )

    @classmethod
    def read(cls, path: Path) -> BodyMotion:
        """Read what `write` wrote.

        Raises:
            DatasetError: It is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                air_s, splash = file["air_splash"].tolist()
                return cls(file["times_s"], (file["joints_mm"] / 1000).astype(np.float32), air_s, splash)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            hint = "simulate it again with --format bodies"
            raise DatasetError("not the motion of a simulated body", where=path, hint=hint) from error


def project(joints_m: NDArray[np.float32], axes: NDArray[np.float64], *, mirrored: bool = False) -> NDArray[np.float64]:
    """Return joints [M, J, 2] of the world [M, J, 3] as a far camera sees them: right and up, metres.

    Args:
        joints_m: The joints.
        axes: [3, 3], rows right, up and towards the camera, in world axes.
        mirrored: Show the mirrored picture, in which left and right joints change their names.
    """
    seen = np.asarray(joints_m, np.float64) @ axes[:2].T
    return seen[:, list(MIRRORED)] * np.array([-1.0, 1.0]) if mirrored else seen
