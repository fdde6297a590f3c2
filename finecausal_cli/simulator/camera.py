"""The broadcast camera: side-on from far away, following the athlete with lag and a little shake.

From a long lens the projection is parallel. Screen metres: X to the right of the picture before mirroring, Y up,
depth towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from finecausal_cli.simulator.body import Array
    from finecausal_cli.simulator.motion import Motion

WIDTH, HEIGHT = 456, 256
"""Size of the picture: 256 rows at 16:9, the width even because H.264 stores colour for 2 x 2 pixels."""

_FOLLOW_HZ = 250.0
_REACH_M = 2.25
"""Height of a stretched athlete with raised arms, by which the zoom is set."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera stands and how it is led.

    Attributes:
        azimuth: Turn about the vertical from exactly side-on, radians.
        elevation: Angle by which it looks down, radians.
        fill: Share of the picture's height that a stretched athlete fills.
        quickness: How fast it follows, rad/s.
        shake_m: Amplitude of the shake, metres at the athlete.
        mirrored: Whether the dive goes to the left of the picture.
        drift: Relative change of zoom over the clip.
        phases: Phases of the shake.
    """

    azimuth: float
    elevation: float
    fill: float
    quickness: float
    shake_m: float
    mirrored: bool
    drift: float
    phases: tuple[float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Camera:
        """Draw a camera."""
        return cls(
            azimuth=float(rng.uniform(-0.30, 0.30)),
            elevation=float(rng.uniform(0.07, 0.15)),
            fill=float(rng.uniform(0.60, 0.74)),
            quickness=float(rng.uniform(9.0, 14.0)),
            shake_m=float(rng.uniform(0.003, 0.02)),
            mirrored=bool(rng.random() < 0.5),
            drift=float(rng.uniform(-0.06, 0.06)),
            phases=(float(rng.uniform(0, 6)), float(rng.uniform(0, 6)), float(rng.uniform(0, 6))),
        )

    @property
    def axes(self) -> Array:
        """Rows: right, up and towards the camera, in world axes."""
        sin, cos = np.sin(self.azimuth), np.cos(self.azimuth)
        low, high = np.cos(self.elevation), np.sin(self.elevation)
        return np.array([[cos, sin, 0.0], [-high * sin, high * cos, low], [low * sin, -low * cos, high]])

    def screen(self, points: Array) -> Array:
        """Return screen metres and depth [..., 3] of world points [..., 3]."""
        return np.asarray(points @ self.axes.T)

    def follow(self, motion: Motion, times: Array) -> Array:
        """Return the picture's middle and the scale at ``times``: [N, 3] of X, Y (metres) and pixels per metre."""
        end = float(max(motion.times[-1], times[-1]))
        fine = np.arange(0.0, end + 1 / _FOLLOW_HZ, 1 / _FOLLOW_HZ)
        target = self.screen(motion.track(motion.centre, fine))[:, :2]
        scale = HEIGHT * self.fill / _REACH_M
        floor = 0.26 * HEIGHT / scale
        target[:, 1] = np.maximum(target[:, 1], floor)
        place, speed = target[0].copy(), np.zeros(2)
        path = np.empty_like(target)
        ahead = np.gradient(target, 1 / _FOLLOW_HZ, axis=0) * 0.75
        for k, goal in enumerate(target):
            pull = self.quickness**2 * (goal - place) - 2 * self.quickness * (speed - ahead[k])
            speed = speed + pull / _FOLLOW_HZ
            place = place + speed / _FOLLOW_HZ
            path[k] = place
        path[:, 1] = np.maximum(path[:, 1], floor - 0.25)
        middle = np.stack([np.interp(times, fine, path[:, axis]) for axis in (0, 1)], axis=-1)
        for axis, phase in enumerate(self.phases[:2]):
            middle[:, axis] += self.shake_m * (
                np.sin(2 * pi * 1.7 * times + phase) + 0.5 * np.sin(2 * pi * 4.3 * times + 2 * phase)
            )
        zoom = scale * (1 + self.drift * np.sin(times / end * pi - pi / 2 + 0.3 * self.phases[2]))
        return np.concatenate([middle, zoom[:, None]], axis=1)

    def pixels(self, screen: Array, view: Array) -> Array:
        """Return picture coordinates [..., 2] of screen metres [..., >=2] for one view (X, Y, scale)."""
        sign = -1.0 if self.mirrored else 1.0
        x = (screen[..., 0] - view[0]) * view[2] * sign + WIDTH / 2
        y = HEIGHT / 2 - (screen[..., 1] - view[1]) * view[2]
        return np.stack([x, y], axis=-1)
