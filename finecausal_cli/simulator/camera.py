"""The broadcast camera: side-on from far away, following the athlete with lag and a little shake.

From a long lens the projection is parallel. Screen metres: X to the right of the picture before mirroring, Y up,
depth towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from finecausal_cli.simulator.body import Array
    from finecausal_cli.simulator.motion import Motion

WIDTH, HEIGHT = 456, 256
"""Size of the picture: 256 rows at 16:9, the width even because H.264 stores colour for 2 x 2 pixels."""

FOLLOW_HZ = 125.0
"""Steps a second of the camera's path."""

_REACH_M = 2.25
"""Height of a stretched athlete with raised arms, by which the zoom is set."""

_HANDHELD = 0.25
"""Share of cameras that are not on a tripod."""


class Projection(Protocol):
    """What figures and splashes are drawn with: a parallel projection, and views that place it in a picture."""

    @property
    def elevation(self) -> float:
        """Angle by which it looks down, radians."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""

    @property
    def axes(self) -> Array:
        """Rows: right, up and towards the camera, in world axes."""

    def screen(self, points: Array) -> Array:
        """Return screen metres and depth [..., 3] of world points [..., 3]."""

    def pixels(self, screen: Array, view: Array) -> Array:
        """Return picture coordinates [..., 2] of screen metres [..., >=2]."""

    def scale(self, view: Array) -> float:
        """Return the pixels per metre of a view."""


@lru_cache(maxsize=64)
def axes_of(azimuth: float, elevation: float) -> Array:
    """Return rows right, up and towards the camera, in world axes, of a view from this direction (radians)."""
    sin, cos = np.sin(azimuth), np.cos(azimuth)
    low, high = np.cos(elevation), np.sin(elevation)
    axes = np.array([[cos, sin, 0.0], [-high * sin, high * cos, low], [low * sin, -low * cos, high]])
    axes.flags.writeable = False
    return axes


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera stands and how it is led.

    Attributes:
        azimuth: Turn about the vertical from exactly side-on, radians.
        elevation: Angle by which it looks down, radians.
        fill: Share of the picture's height that a stretched athlete fills.
        quickness: How fast it follows, rad/s.
        foresight: Share of the athlete's speed that the operator anticipates, 0..1.
        framing: Where the athlete is held, (right, up) of the picture's middle, metres.
        shake_m: Amplitude of the shake, metres at the athlete.
        mirrored: Whether the dive goes to the left of the picture.
        zoom: Relative change of scale from the board to the water; negative widens.
        phases: Phases of the shake.
    """

    azimuth: float
    elevation: float
    fill: float
    quickness: float
    foresight: float
    framing: tuple[float, float]
    shake_m: float
    mirrored: bool
    zoom: float
    phases: tuple[float, float, float]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return WIDTH, HEIGHT

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Camera:
        """Draw a camera."""
        handheld = rng.random() < _HANDHELD
        return cls(
            azimuth=float(rng.uniform(-0.32, 0.32)),
            elevation=float(rng.uniform(0.06, 0.17)),
            fill=float(rng.uniform(0.56, 0.71)),
            quickness=float(rng.uniform(7.5, 14.0)),
            foresight=float(rng.uniform(0.6, 0.9)),
            framing=(float(rng.normal(0, 0.12)), float(rng.normal(0, 0.08))),
            shake_m=float(rng.uniform(0.010, 0.028) if handheld else rng.uniform(0.001, 0.008)),
            mirrored=bool(rng.random() < 0.5),
            zoom=float(rng.uniform(-0.14, 0.09)),
            phases=(float(rng.uniform(0, 6)), float(rng.uniform(0, 6)), float(rng.uniform(0, 6))),
        )

    @property
    def axes(self) -> Array:
        """Rows: right, up and towards the camera, in world axes."""
        return axes_of(self.azimuth, self.elevation)

    def screen(self, points: Array) -> Array:
        """Return screen metres and depth [..., 3] of world points [..., 3]."""
        return np.asarray(points @ self.axes.T)

    def scale(self, view: Array) -> float:
        """Return the pixels per metre of a view."""
        return float(view[2])

    def views(self, motion: Motion, times: Array) -> Array:
        """Return the matrices [N, 2, 3] from screen metres to the picture at ``times`` [N] of the motion."""
        led = self.follow(motion, times)
        across, down = led[:, 2] * (-1.0 if self.mirrored else 1.0), -led[:, 2]
        zero = np.zeros_like(down)
        right = np.stack([across, zero, WIDTH / 2 - across * led[:, 0]], axis=-1)
        below = np.stack([zero, down, HEIGHT / 2 - down * led[:, 1]], axis=-1)
        return np.stack([right, below], axis=1)

    def follow(self, motion: Motion, times: Array) -> Array:
        """Return the picture's middle and the scale at ``times``: [N, 3] of X, Y (metres) and pixels per metre."""
        end = float(max(motion.times[-1], times[-1]))
        fine = np.arange(0.0, end + 1 / FOLLOW_HZ, 1 / FOLLOW_HZ)
        target = self.screen(motion.track(motion.centre, fine))[:, :2]
        scale = HEIGHT * self.fill / _REACH_M
        floor = 0.26 * HEIGHT / scale
        target[:, 1] = np.maximum(target[:, 1], floor)
        ahead = np.gradient(target, 1 / FOLLOW_HZ, axis=0) * self.foresight
        path = np.stack(
            [lag(goal, lead, self.quickness) for goal, lead in zip(target.T, ahead.T, strict=True)], axis=-1
        )
        path[:, 1] = np.maximum(path[:, 1], floor - 0.25)
        middle = np.stack([np.interp(times, fine, path[:, axis]) for axis in (0, 1)], axis=-1) - self.framing
        for axis, phase in enumerate(self.phases[:2]):
            middle[:, axis] += self.shake_m * (
                np.sin(2 * pi * 1.7 * times + phase)
                + 0.5 * np.sin(2 * pi * 4.3 * times + 2 * phase)
                + 0.25 * np.sin(2 * pi * 9.1 * times + 3 * phase)
            )
        share = np.clip((times - motion.leave_s) / (motion.contact_s - motion.leave_s), 0, 1)
        breath = 0.015 * np.sin(0.9 * times + self.phases[2])
        zoom = scale * (1 + self.zoom * share**2 * (3 - 2 * share) + breath)
        return np.concatenate([middle, zoom[:, None]], axis=1)

    def pixels(self, screen: Array, view: Array) -> Array:
        """Return picture coordinates [..., 2] of screen metres [..., >=2] for one view (X, Y, scale)."""
        sign = -1.0 if self.mirrored else 1.0
        out = np.empty((*screen.shape[:-1], 2))
        np.multiply(screen[..., 0] - view[0], view[2] * sign, out=out[..., 0])
        out[..., 0] += WIDTH / 2
        np.multiply(view[1] - screen[..., 1], view[2], out=out[..., 1])
        out[..., 1] += HEIGHT / 2
        return out


def lag(goal: Array, lead: Array, quickness: float) -> Array:
    """Follow a path [N] like a critically damped spring whose rest also moves at ``lead`` [N] m/s."""
    step, stiff, damp = 1 / FOLLOW_HZ, quickness**2, 2 * quickness
    place, speed = float(goal[0]), 0.0
    path = []
    # Plain floats: the recurrence is serial, and numpy's scalars cost ten times as much.
    for aim, pace in zip(goal.tolist(), lead.tolist(), strict=True):
        speed += step * (stiff * (aim - place) - damp * (speed - pace))
        place += step * speed
        path.append(place)
    return np.array(path)
