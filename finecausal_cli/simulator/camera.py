"""Cameras: broadcast, and any that films in the randomised world."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi, radians
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from finecausal_cli.simulator.athlete import Array
    from finecausal_cli.simulator.motion import Motion


# The broadcast camera: side-on from far away, following the athlete with lag and a little shake.
#
# From a long lens the projection is parallel. Screen metres: X to the right of the picture before mirroring, Y up,
# depth towards the camera.

WIDTH, HEIGHT = 456, 256
"""Size of the picture: 256 rows at 16:9, the width even because H.264 stores colour for 2 x 2 pixels."""

FOLLOW_HZ = 125.0
"""Steps a second of the camera's path."""

_REACH_M = 2.25
"""Height of a stretched athlete with raised arms, by which the zoom is set."""

_HANDHELD = 0.25
"""Share of cameras that are not on a tripod."""


class Projection(Protocol):
    """A parallel projection, and the views that map it to pictures."""

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
    """Position and guidance of the camera.

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
        track = self.follow(motion, times)
        across, down = track[:, 2] * (-1.0 if self.mirrored else 1.0), -track[:, 2]
        zero = np.zeros_like(down)
        right = np.stack([across, zero, WIDTH / 2 - across * track[:, 0]], axis=-1)
        below = np.stack([zero, down, HEIGHT / 2 - down * track[:, 1]], axis=-1)
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
    position, speed = float(goal[0]), 0.0
    path = []
    # Plain floats: the recurrence is serial, and numpy's scalars cost ten times as much.
    for aim, pace in zip(goal.tolist(), lead.tolist(), strict=True):
        speed += step * (stiff * (aim - position) - damp * (speed - pace))
        position += step * speed
        path.append(position)
    return np.array(path)


# Cameras of filmed dives: from every side, following, zooming or on a tripod, with shake.

Guidance = Literal["follow", "zoom", "fixed"]

STRETCHED_M = 2.25
"""Height of a stretched athlete with raised arms, by which the zoom is set."""

_LINES = ((240, 0.22), (270, 0.14), (288, 0.12), (320, 0.12), (360, 0.26), (480, 0.11), (720, 0.03))
"""Lines of the picture's shorter side and how often they are drawn."""

_ASPECTS = ((16 / 9, 0.56), (4 / 3, 0.22), (9 / 16, 0.17), (1.0, 0.05))
_SIDE_ON_SHARE = 0.45
_SIDE_ON = radians(38)
_BODY_M = 1.25
"""Room that a fixed camera leaves on every side of the path of the athlete's middle."""


def _weighted(rng: np.random.Generator, options: tuple[tuple[float, float], ...]) -> float:
    shares = np.array([share for _, share in options])
    return options[int(rng.choice(len(options), p=shares / shares.sum()))][0]


def draw_size(rng: np.random.Generator) -> tuple[int, int]:
    """Draw width and height of a picture, both even: most have 240 to 360 lines."""
    lines, aspect = int(_weighted(rng, _LINES)), _weighted(rng, _ASPECTS)
    longer = 2 * round(lines * max(aspect, 1 / aspect) / 2)
    return (longer, lines) if aspect >= 1 else (lines, longer)


@dataclass(frozen=True, slots=True)
class WildCamera:
    """Position and guidance of the camera.

    Attributes:
        size: Width and height of the picture.
        inner: The same of the part between bars, in its middle, in which the dive is framed.
        azimuth: Turn about the vertical from exactly side-on, radians; pi / 2 looks back at the board from the water.
        elevation: Angle by which it looks down, radians; negative looks up.
        roll: Turn of the picture, radians.
        mirrored: Whether the picture is mirrored.
        guidance: Following the athlete, the same with a zoom, or fixed with the whole dive in view.
        fill: Share of the picture's height that a stretched athlete fills; of a fixed camera, that the dive fills.
        zoom: Factor of the scale from the take-off to the water.
        quickness: How fast it follows, rad/s.
        foresight: Share of the athlete's speed that the operator anticipates, 0..1.
        framing: Where the athlete is held off the picture's middle, shares of the picture (right, up).
        above_water: How high the picture's middle stays above the water, shares of the picture's height.
        shake: Amplitude of the shake, share of the picture's height.
        phases: [12] phases of the shake.
    """

    size: tuple[int, int]
    inner: tuple[int, int]
    azimuth: float
    elevation: float
    roll: float
    mirrored: bool
    guidance: Guidance
    fill: float
    zoom: float
    quickness: float
    foresight: float
    framing: tuple[float, float]
    above_water: float
    shake: float
    phases: tuple[float, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, size: tuple[int, int], inner: tuple[int, int]) -> WildCamera:
        """Draw a camera with a picture of ``size``, of which bars leave ``inner``."""
        side_on, looks_up, is_high, tilts, off_centre = rng.random(5) < (_SIDE_ON_SHARE, 0.2, 0.2, 0.1, 0.15)
        low, high = (-12.0, 0.0) if looks_up else (14.0, 35.0) if is_high else (0.0, 14.0)
        guidance: Guidance = ("follow", "zoom", "fixed")[int(rng.choice(3, p=(0.61, 0.17, 0.22)))]
        fill = float(np.exp(rng.uniform(np.log(0.17), np.log(0.95))))
        if guidance == "fixed":
            fill = float(rng.uniform(0.5, 1.0))
        steadiness = rng.random()
        shake = (
            0.0 if steadiness < 0.35 else rng.uniform(0.001, 0.006) if steadiness < 0.75 else rng.uniform(0.006, 0.02)
        )
        off = np.clip(rng.normal(0, 0.16 if off_centre else 0.05, 2), -0.3, 0.3).tolist()
        return cls(
            size=size,
            inner=inner,
            azimuth=float(rng.uniform(-_SIDE_ON, _SIDE_ON) if side_on else rng.uniform(-pi, pi)),
            elevation=radians(float(rng.uniform(low, high))),
            roll=radians(float(rng.uniform(-9, 9) if tilts else np.clip(rng.normal(0, 1.3), -4, 4))),
            mirrored=bool(rng.random() < 0.5),
            guidance=guidance,
            fill=fill,
            zoom=float(np.exp(rng.uniform(np.log(0.5), np.log(2.0)) if guidance == "zoom" else rng.normal(0, 0.06))),
            quickness=float(rng.uniform(3.5 + 5 * min(fill, 0.8), 14.0)),
            foresight=float(rng.uniform(0.5, 0.95)),
            framing=(off[0], off[1]),
            above_water=float(rng.uniform(-0.15, 0.4)),
            shake=float(shake),
            phases=tuple(rng.uniform(0, 2 * pi, 12).tolist()),
        )

    @property
    def axes(self) -> Array:
        """Rows: right, up and towards the camera, in world axes."""
        return axes_of(self.azimuth, self.elevation)

    def screen(self, points: Array) -> Array:
        """Return screen metres and depth [..., 3] of world points [..., 3]."""
        return np.asarray(points @ self.axes.T)

    def pixels(self, screen: Array, view: Array) -> Array:
        """Return picture coordinates [..., 2] of screen metres [..., >=2]; ``view`` [2, 3] maps one to the other."""
        return np.asarray(screen[..., :2] @ view[:, :2].T + view[:, 2])

    def scale(self, view: Array) -> float:
        """Return the pixels per metre of a view."""
        return float(np.hypot(view[0, 0], view[1, 0]))

    def views(self, motion: Motion, times: Array) -> Array:
        """Return the matrices [N, 2, 3] from screen metres to the picture at ``times`` [N] of the motion."""
        middle, at_takeoff = self._fixed(motion, times) if self.guidance == "fixed" else self._followed(motion, times)
        share = np.clip((times - motion.leave_s) / (motion.contact_s - motion.leave_s), 0, 1)
        scale = at_takeoff * self.zoom ** (share**2 * (3 - 2 * share))
        width, height = self.size
        shift = self.shake * height * np.stack([self._tremble(times, k) for k in (0, 4)], axis=-1)
        turn = self.roll + 0.6 * self.shake * self._tremble(times, 8)
        sign = -1.0 if self.mirrored else 1.0
        cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
        linear = np.stack([np.stack([sign * cos, sin], axis=-1), np.stack([sign * sin, -cos], axis=-1)], axis=1)
        held = np.array([width / 2 + self.inner[0] * self.framing[0], height / 2 - self.inner[1] * self.framing[1]])
        offset = held + shift - np.einsum("nij,nj->ni", linear, middle)
        return np.concatenate([linear, offset[:, :, None]], axis=2)

    def record(self) -> dict[str, Any]:
        """Return the camera's facts as plain data."""
        return {
            "width": self.size[0],
            "height": self.size[1],
            "azimuth_deg": round(float(np.degrees(self.azimuth)), 3),
            "elevation_deg": round(float(np.degrees(self.elevation)), 3),
            "roll_deg": round(float(np.degrees(self.roll)), 3),
            "mirrored": self.mirrored,
            "guidance": self.guidance,
            "fill": round(self.fill, 4),
            "zoom": round(self.zoom, 4),
            "shake": round(self.shake, 5),
        }

    def _reference(self) -> float:
        """Return the length that ``fill`` is a share of, pixels; a narrow picture has to hold a lying athlete."""
        return min(self.inner[1], 1.4 * self.inner[0])

    def _followed(self, motion: Motion, times: Array) -> tuple[Array, float]:
        fine = np.arange(0.0, max(float(times[-1]), float(motion.times[-1])) + 2 / FOLLOW_HZ, 1 / FOLLOW_HZ)
        target = self.screen(motion.track(motion.centre, fine))[:, :2]
        scale = self._reference() * self.fill / STRETCHED_M
        ahead = np.gradient(target, 1 / FOLLOW_HZ, axis=0) * self.foresight
        if motion.contact_s < fine[-1]:
            wet = fine > motion.contact_s
            target[wet] = target[int(np.argmax(wet))]
            ahead[wet] = 0
        water = self.screen(motion.track(motion.centre, np.array([motion.contact_s])) * (1, 1, 0))[0, 1]
        target[:, 1] = np.maximum(target[:, 1], water + self.above_water * self.size[1] / scale)
        path = np.stack(
            [lag(goal, lead, self.quickness) for goal, lead in zip(target.T, ahead.T, strict=True)], axis=-1
        )
        return np.stack([np.interp(times, fine, path[:, axis]) for axis in (0, 1)], axis=-1), scale

    def _fixed(self, motion: Motion, times: Array) -> tuple[Array, float]:
        shown = np.linspace(max(motion.leave_s - 0.7, 0.0), motion.contact_s, 40)
        path = self.screen(motion.track(motion.centre, shown))[:, :2]
        low, high = path.min(axis=0) - _BODY_M, path.max(axis=0) + _BODY_M
        scale = self.fill * float((np.array(self.inner) / (high - low)).min())
        return np.broadcast_to((low + high) / 2, (len(times), 2)), scale

    def _tremble(self, times: Array, first: int) -> Array:
        waves = ((0.35, 1.2), (1.6, 1.0), (4.1, 0.4), (8.7, 0.2))
        return np.asarray(
            sum(size * np.sin(2 * pi * hz * times + self.phases[first + k]) for k, (hz, size) in enumerate(waves))
        )
