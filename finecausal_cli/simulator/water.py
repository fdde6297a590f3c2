"""The splash: drops, mist and foam that follow from how the body meets the water."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin
from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.body import Array

_GRAVITY = 9.81
_DROPS = 420
_FOAM: tuple[int, int, int] = (238, 245, 250)


@dataclass(frozen=True, slots=True)
class Splash:
    """One splash as the flight of its drops.

    Attributes:
        place: [3] where the water is met, metres.
        size: 0 (rip) to 1.
        born: [D] seconds after contact at which each drop leaves the surface.
        velocity: [D, 3] m/s.
        offset: [D, 3] start relative to ``place``, metres.
        radius: [D] metres.
    """

    place: Array
    size: float
    born: Array
    velocity: Array
    offset: Array
    radius: Array

    @classmethod
    def of(cls, rng: np.random.Generator, place: Array, size: float, slant: float) -> Splash:
        """Draw the drops; ``slant`` (radians) throws them to the side that the body leans to."""
        count = int(40 + _DROPS * size)
        born = rng.uniform(0.0, 0.10 + 0.16 * size, count) + rng.exponential(0.03, count)
        rise = (1.3 + 5.6 * size) * rng.beta(2.2, 1.6, count) * (1 - 0.8 * np.clip(born - 0.1, 0, 0.5))
        around = rng.uniform(0, 2 * np.pi, count)
        spread = (0.25 + 0.22 * rise) * rng.beta(2.0, 2.0, count) * 1.2
        velocity = np.stack([spread * np.cos(around) + 1.3 * slant, spread * np.sin(around), rise], axis=-1)
        ring = (0.10 + 0.28 * size) * np.sqrt(rng.random(count))
        offset = np.stack([ring * np.cos(around), ring * np.sin(around), np.zeros(count)], axis=-1)
        radius = rng.uniform(0.012, 0.030 + 0.012 * size, count)
        return cls(place, size, born, velocity, offset, radius)

    def _flying(self, since: float) -> tuple[Array, Array]:
        age = since - self.born
        position = self.place + self.offset + self.velocity * age[:, None]
        position[:, 2] -= 0.5 * _GRAVITY * age**2
        up = (age > 0) & (position[:, 2] > 0)
        return position[up], self.radius[up]

    def paint(self, picture: NDArray[np.uint8], camera: Camera, view: Array, since: float) -> None:
        """Blend the splash ``since`` seconds after contact into an RGB picture, in place."""
        if since < 0:
            return
        scale = float(view[2])
        middle = camera.pixels(camera.screen(self.place), view)
        half = 2.3 * scale
        left, right = int(max(middle[0] - half, 0)), int(min(middle[0] + half, WIDTH))
        top, bottom = int(max(middle[1] - 3.0 * scale, 0)), int(min(middle[1] + 0.8 * scale, HEIGHT))
        if right - left < 4 or bottom - top < 4:
            return
        cover = np.zeros((bottom - top, right - left), np.uint8)
        mist = np.zeros_like(cover)
        centre = (int(middle[0]) - left, int(middle[1]) - top)
        grown = 1 - np.exp(-since / 0.18)
        wide = (0.22 + 1.05 * self.size) * grown + 0.1
        flat = wide * (sin(camera.elevation) + 0.05) + 0.04 + 0.10 * self.size * np.exp(-since / 0.5)
        fade = np.exp(-since / (0.5 + 0.9 * self.size))
        axes = (max(int(wide * scale), 2), max(int(flat * scale), 1))
        cv2.ellipse(mist, centre, axes, 0, 0, 360, int(225 * fade), -1)
        mound = (0.05 + 0.5 * self.size) * np.exp(-(((since - 0.16) / 0.16) ** 2))
        cv2.ellipse(mist, centre, (int(axes[0] * 0.55) + 1, int(mound * scale) + 1), 0, 180, 360, int(190 * fade), -1)
        drops, radius = self._flying(since)
        pixels = camera.pixels(camera.screen(drops), view) - (left, top)
        fixed = np.round(pixels * 8).astype(int).tolist()
        sizes = np.round(radius * scale * 8).astype(int)
        for k, (x, y) in enumerate(fixed):
            if k % 4 == 0:
                cv2.circle(mist, (x, y), int(sizes[k] * 4), 95, -1, shift=3)
            cv2.circle(cover, (x, y), int(sizes[k]), 215, -1, cv2.LINE_AA, shift=3)
        mist = np.asarray(cv2.GaussianBlur(mist, (0, 0), 2.2 * cos(camera.elevation)), np.uint8)
        alpha = cv2.cvtColor(np.maximum(mist, cover), cv2.COLOR_GRAY2RGB)
        window = picture[top:bottom, left:right]
        white = np.empty_like(window)
        white[:] = _FOAM
        blended = cv2.add(cv2.multiply(window, 255 - alpha, scale=1 / 255), cv2.multiply(white, alpha, scale=1 / 255))
        picture[top:bottom, left:right] = blended
