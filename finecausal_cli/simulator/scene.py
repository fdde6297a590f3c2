"""What stands still around the diver: hall, deck, water surface, tower and boards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera
from finecausal_cli.simulator.venue import FAR_LEFT_M, FAR_RATE, FAR_TOP_M, Venue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.body import Array

_SHIFT = 4
_WATER_RATE = 55.0
_WATER_SPAN_M = 3.2
_DECK_ENDS_M = -1.4


@dataclass(frozen=True, slots=True)
class Scene:
    """A venue seen by a camera, with the board the dive starts from.

    Attributes:
        venue: Colours and textures.
        camera: The projection.
        height_m: Height of the board.
        springboard: Whether it is a springboard.
    """

    venue: Venue
    camera: Camera
    height_m: float
    springboard: bool

    def paint(self, view: Array, time_s: float, board_dip_m: float) -> NDArray[np.uint8]:
        """Return the picture without diver and splash, uint8 RGB [HEIGHT, WIDTH, 3]."""
        picture = self._far(view)
        self._water(picture, view, time_s)
        for corners, colour in self._solids(board_dip_m):
            pixels = self.camera.pixels(self.camera.screen(corners), view)
            fixed = np.round(np.clip(pixels, -4000, 4000) * (1 << _SHIFT)).astype(np.int32)
            cv2.fillPoly(picture, [fixed], colour, cv2.LINE_AA, shift=_SHIFT)
        return picture

    def _far(self, view: Array) -> NDArray[np.uint8]:
        sign = -1.0 if self.camera.mirrored else 1.0
        step = FAR_RATE / view[2]
        shift_x = (view[0] * self.venue.parallax - FAR_LEFT_M) * FAR_RATE - sign * step * WIDTH / 2
        shift_y = (FAR_TOP_M - view[1]) * FAR_RATE - step * HEIGHT / 2
        matrix = np.array([[sign * step, 0, shift_x], [0, step, shift_y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (WIDTH, HEIGHT)
        far = cv2.warpAffine(self.venue.far, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(far, np.uint8)

    def _water(self, picture: NDArray[np.uint8], view: Array, time_s: float) -> None:
        top = HEIGHT / 2 - (self.venue.edge_m - view[1]) * view[2]
        first = max(int(np.floor(top)), 0)
        if first >= HEIGHT:
            return
        sign = -1.0 if self.camera.mirrored else 1.0
        across, down = sign * _WATER_RATE / view[2], self.venue.water.shape[0] / (_WATER_SPAN_M * view[2])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        layers = []
        for drift, start in ((14.0, 0.0), (-9.0, 301.0)):
            offset = view[0] * _WATER_RATE - across * WIDTH / 2 + drift * time_s + start + 380
            matrix = np.array([[across, 0, offset], [0, down, (first - top) * down + 3 * np.sin(2 * time_s + start)]])
            size = (WIDTH, HEIGHT - first)
            layers.append(cv2.warpAffine(self.venue.water, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT))
        picture[first:] = cv2.addWeighted(layers[0], 0.55, layers[1], 0.45, 0)

    def _solids(self, dip: float) -> list[tuple[Array, tuple[int, int, int]]]:
        """Return polygons [K, 3] in the world with their colours, far to near."""
        tower, height = self.venue.tower, self.height_m
        deck = [(-30, 12, 0), (_DECK_ENDS_M, 12, 0), (_DECK_ENDS_M, -14, 0), (-30, -14, 0)]
        solids = [(np.array(deck, float), _shaded(tower, 0.92))]
        solids += _box(_DECK_ENDS_M - 30, _DECK_ENDS_M, -1.4, -1.4, -2.5, 0.0, _shaded(tower, 0.7))
        others = [level for level in (5.0, 7.5, 10.0) if level != height] if not self.springboard else [5.0]
        for level in others:
            solids += _box(-6.0, -0.6, 4.0, 6.0, level - 0.25, level, _shaded(tower, 0.72))
        solids += _box(-5.2, -4.2, 4.0, 6.0, 0.0, 10.0, _shaded(tower, 0.66))
        if self.springboard:
            solids += _box(-4.6, -2.6, -0.4, 0.4, 0.0, height - 0.45, _shaded(tower, 0.85))
            solids += self._springboard(dip)
        else:
            solids += _box(-4.4, -2.9, -0.8, 0.8, 0.0, height - 0.3, _shaded(tower, 0.82))
            solids += _box(-6.5, 0.0, -1.0, 1.0, height - 0.28, height, tower)
        for post in np.arange(-6.0, -1.2, 0.9):
            solids += _box(post, post + 0.04, 0.9, 0.9, height, height + 0.95, (205, 208, 212))
        solids += _box(-6.2, -1.3, 0.9, 0.9, height + 0.93, height + 0.99, (205, 208, 212))
        return solids

    def _springboard(self, dip: float) -> list[tuple[Array, tuple[int, int, int]]]:
        x = np.linspace(-4.8, 0.0, 9)
        bend = dip * np.clip((x + 2.9) / 2.9, 0, 1) ** 1.8
        top = np.stack([x, np.full_like(x, -0.25), self.height_m + bend], axis=-1)
        back = top + np.array([0.0, 0.5, 0.0])
        under = top - np.array([0.0, 0.0, 0.055])
        colour = (196, 206, 212)
        return [
            (np.concatenate([top, back[::-1]]), colour),
            (np.concatenate([top, under[::-1]]), _shaded(colour, 0.6)),
        ]


def _shaded(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    return int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor)


def _box(
    left: float, right: float, near: float, far: float, low: float, high: float, colour: tuple[int, int, int]
) -> list[tuple[Array, tuple[int, int, int]]]:
    """Return the visible faces of an upright box: top and ends, then the side towards the camera."""
    front = [(left, near, low), (right, near, low), (right, near, high), (left, near, high)]
    top = [(left, near, high), (right, near, high), (right, far, high), (left, far, high)]
    end = [(right, near, low), (right, far, low), (right, far, high), (right, near, high)]
    faces = [(np.array(end, float), _shaded(colour, 0.6))] if far > near else []
    if far > near:
        faces.append((np.array(top, float), _shaded(colour, 1.08 if max(colour) < 230 else 1.0)))
    return [*faces, (np.array(front, float), _shaded(colour, 0.88))]
