"""The splash: drops, mist, foam and rings that follow from how the body meets the water."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import cos, exp, sin
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.body import Array
    from finecausal_cli.simulator.camera import Projection
    from finecausal_cli.simulator.styles import Colour

_GRAVITY = 9.81
_DROPS = 420
FOAM: Colour = (236, 243, 248)
"""Colour of drops and foam in white light."""

_STREAK_S = 0.012
"""Time a drop draws its streak for."""

_BREAKS_UP_S = 0.25
"""When foam begins to break up."""

_BUBBLES_LAST_S = 2.0
"""Time in which the cloud of bubbles under the surface falls to a third."""

_RING_SPEED = 0.9
"""Speed at which the rings spread, m/s."""

_RINGS_LAST_S = 2.2
_FOAM_LASTS_S = (0.55, 1.3)
"""Time in which foam falls to a third, for a rip entry and what the biggest splash adds."""


@lru_cache(maxsize=1)
def _patches() -> NDArray[np.uint8]:
    """Return smooth noise [64, 256], 0..255, along which foam breaks up."""
    rng = np.random.default_rng(20)
    noise = cv2.GaussianBlur(rng.standard_normal((64, 256)).astype(np.float32), (0, 0), 3.6, sigmaY=1.1)
    rank = noise.ravel().argsort().argsort().reshape(noise.shape)
    return np.asarray(rank * 255 // noise.size, np.uint8)


@dataclass(frozen=True, slots=True)
class Splash:
    """One splash as the flight of its drops.

    Attributes:
        place: [3] where the water is met, metres.
        size: 0 (rip) to 1.
        colour: Of the foam, as the camera sees it.
        born: [D] seconds after contact at which each drop leaves the surface.
        velocity: [D, 3] m/s.
        offset: [D, 3] start relative to ``place``, metres.
        radius: [D] metres.
    """

    place: Array
    size: float
    colour: Colour
    born: Array
    velocity: Array
    offset: Array
    radius: Array

    @classmethod
    def of(cls, rng: np.random.Generator, place: Array, size: float, slant: float, colour: Colour = FOAM) -> Splash:
        """Draw the drops; ``slant`` (radians) throws them to the side that the body leans to."""
        count = int(40 + _DROPS * size)
        born = rng.uniform(0.0, 0.10 + 0.16 * size, count) + rng.exponential(0.03, count)
        rise = (1.3 + 5.6 * size) * rng.beta(2.2, 1.6, count) * (1 - 0.8 * np.clip(born - 0.1, 0, 0.5))
        around = rng.uniform(0, 2 * np.pi, count)
        spread = (0.25 + 0.22 * rise) * rng.beta(2.0, 2.0, count) * 1.2
        velocity = np.stack([spread * np.cos(around) + 1.3 * slant, spread * np.sin(around), rise], axis=-1)
        ring = (0.10 + 0.28 * size) * np.sqrt(rng.random(count))
        offset = np.stack([ring * np.cos(around), ring * np.sin(around), np.zeros(count)], axis=-1)
        radius = 0.008 + 0.026 * (0.7 + 0.5 * size) * rng.beta(1.3, 3.0, count)
        return cls(place, size, colour, born, velocity, offset, radius)

    def _flying(self, since: float) -> tuple[Array, Array, Array]:
        """Return places [K, 3] of the drops in the air now and an instant ago, and their radii [K]."""
        age = since - self.born
        position = self.place + self.offset + self.velocity * age[:, None]
        position[:, 2] -= 0.5 * _GRAVITY * age**2
        up = (age > 0) & (position[:, 2] > 0)
        speed = self.velocity[up] - np.array([0, 0, _GRAVITY]) * age[up, None]
        return position[up], position[up] - speed * _STREAK_S, self.radius[up]

    def paint(self, picture: NDArray[np.uint8], camera: Projection, view: Array, since: float) -> None:
        """Blend the splash ``since`` seconds after contact into an RGB picture, in place."""
        if since < 0:
            return
        (width, height), elevation = camera.size, max(camera.elevation, 0.0)
        scale, flatness = camera.scale(view), sin(elevation) + 0.03
        middle = camera.pixels(camera.screen(self.place), view)
        drops, before, radius = self._flying(since)
        pixels = camera.pixels(camera.screen(np.stack([drops, before])), view)
        ring = 0.35 + _RING_SPEED * since
        rise = float(np.ptp(np.append(pixels[0, :, 1], middle[1]))) + 0.55 * scale
        half = max(2.0, min(ring, 3.2)) * scale
        left, right = int(max(middle[0] - half, 0)), int(min(middle[0] + half, width))
        top = int(max(middle[1] - max(rise, (ring + 0.2) * flatness * scale), 0))
        bottom = int(min(middle[1] + ((max(ring, 1.5) + 0.3) * flatness + 0.15) * scale, height))
        if right - left < 4 or bottom - top < 4:
            return
        centre = (int(middle[0]) - left, int(middle[1]) - top)
        pixels -= (left, top)
        soft = np.zeros((bottom - top, right - left), np.uint8)
        self._draw_foam(soft, centre, (scale, elevation), since)
        self._draw_rings(soft, centre, (scale, flatness), since)
        for (x, y), size in zip(pixels[0, ::4].astype(int).tolist(), (radius[::4] * scale * 3.2).tolist(), strict=True):
            cv2.circle(soft, (x, y), int(size + 1.5), 84, -1)
        cover = cv2.GaussianBlur(soft, (0, 0), 2.0 * cos(elevation))
        if len(radius):
            cover = cv2.max(cover, _draw_drops(soft.shape, pixels, radius * scale))
        alpha = cv2.cvtColor(cover, cv2.COLOR_GRAY2RGB)
        part = picture[top:bottom, left:right]
        foam = np.empty_like(part)
        foam[:] = self.colour
        under = cv2.multiply(part, cv2.bitwise_not(alpha), scale=1 / 255)
        part[:] = cv2.add(under, cv2.multiply(foam, alpha, scale=1 / 255))

    def _draw_foam(
        self, soft: NDArray[np.uint8], centre: tuple[int, int], lens: tuple[float, float], since: float
    ) -> None:
        """Draw foam and the mound of water; ``lens`` is the scale and the camera's elevation."""
        scale, elevation = lens
        grown = 1 - exp(-since / 0.18)
        wide = (0.22 + 1.05 * self.size) * grown + 0.1 + 0.12 * since
        flat = wide * (sin(elevation) + 0.05) + 0.04 + 0.10 * self.size * exp(-since / 0.5)
        fade = exp(-since / (_FOAM_LASTS_S[0] + _FOAM_LASTS_S[1] * self.size))
        axes = (max(int(wide * scale), 2), max(int(flat * scale), 1))
        cv2.ellipse(soft, centre, axes, 0, 0, 360, int(215 * fade), -1)
        if since > _BREAKS_UP_S:
            self._break_up(soft, since)
            bubbles = (30 + 70 * self.size) * (1 - exp(-(since - _BREAKS_UP_S) / 0.3)) * exp(-since / _BUBBLES_LAST_S)
            rising = np.zeros_like(soft)
            inner = (max(axes[0] * 3 // 4, 1), max(axes[1] * 3 // 4, 1))
            cv2.ellipse(rising, centre, inner, 0, 0, 360, int(bubbles), -1)
            np.copyto(soft, cv2.max(soft, rising))
        mound = (0.05 + 0.5 * self.size) * exp(-(((since - 0.16) / 0.16) ** 2))
        if mound * scale >= 1:
            size = (int(axes[0] * 0.55) + 1, int(mound * scale) + 1)
            cv2.ellipse(soft, centre, size, 0, 180, 360, int(185 * fade), -1)

    @staticmethod
    def _break_up(soft: NDArray[np.uint8], since: float) -> None:
        """Dissolve foam into patches as time goes by."""
        patches = cv2.resize(_patches(), (soft.shape[1], soft.shape[0]), interpolation=cv2.INTER_LINEAR)
        lost = 255 * (1 - exp(-(since - _BREAKS_UP_S) / 0.9))
        kept = np.clip(4 * (np.arange(256) - lost), (255 - lost) / 2, 255).astype(np.uint8)
        np.copyto(soft, cv2.multiply(soft, cv2.LUT(patches, kept), scale=1 / 255))

    def _draw_rings(
        self, soft: NDArray[np.uint8], centre: tuple[int, int], lens: tuple[float, float], since: float
    ) -> None:
        """Draw the crests that run outwards; ``lens`` is the scale and how flat a circle on the water looks."""
        scale, flatness = lens
        strength = (64 + 70 * self.size) * exp(-since / _RINGS_LAST_S)
        for lag, share in ((0.0, 1.0), (0.35, 0.8), (0.7, 0.6), (1.2, 0.5)):
            reach = 0.25 + _RING_SPEED * (since - lag)
            if since <= lag or strength * share < 5:
                continue
            axes = (int(reach * scale), max(int(reach * scale * flatness), 1))
            ring = np.zeros_like(soft)
            cv2.ellipse(ring, centre, axes, 0, 0, 360, int(strength * share), 2, cv2.LINE_AA)
            np.copyto(soft, cv2.add(soft, ring))


def _draw_drops(shape: tuple[int, ...], pixels: Array, radius: Array) -> NDArray[np.uint8]:
    """Return the coverage of drops as streaks from [0, K, 2] to [1, K, 2]."""
    sharp = np.zeros(shape, np.uint8)
    fixed = np.rint(pixels * 8).astype(int).tolist()
    for now, before, size in zip(*fixed, radius.tolist(), strict=True):
        cv2.line(sharp, now, before, 240, max(round(1.6 * size), 1), cv2.LINE_AA, shift=3)
    return np.asarray(cv2.GaussianBlur(sharp, (3, 3), 0.6), np.uint8)
