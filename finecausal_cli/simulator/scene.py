"""What stands still around the diver: hall, deck, water surface, tower and boards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera
from finecausal_cli.simulator.layer import FAR_LEFT_M, FAR_RATE, FAR_TOP_M, scaled
from finecausal_cli.simulator.surface import SURFACE_RATE
from finecausal_cli.simulator.tower import build

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.body import Array
    from finecausal_cli.simulator.styles import Colour
    from finecausal_cli.simulator.venue import Venue

_SHIFT = 4
_WATER_SPAN_M = 3.2
_BOARD: Colour = (196, 206, 212)
_SHADOW = 0.55
"""What a full shadow leaves of the light."""

_SHADOW_FADES_M = 1.3
"""Height of the feet above the board at which their shadow is gone."""


class Scene:
    """A venue seen by a camera, with the board the dive starts from."""

    def __init__(self, venue: Venue, camera: Camera, height_m: float, springboard: bool) -> None:
        """Build the scene.

        Args:
            venue: Colours and textures.
            camera: The projection.
            height_m: Height of the board.
            springboard: Whether it is a springboard.
        """
        self.venue, self.camera, self.height_m, self.springboard = venue, camera, height_m, springboard
        faces = build(venue, height_m, springboard=springboard)
        self._corners = camera.screen(np.stack([face.corners for face in faces]))[..., :2]
        self._colours = [venue.seen(face.colour) for face in faces]

    def paint(self, view: Array, time_s: float, board_dip_m: float) -> NDArray[np.uint8]:
        """Return the picture without diver and splash, uint8 RGB [HEIGHT, WIDTH, 3]."""
        picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        top = HEIGHT / 2 - (self.venue.edge_m - view[1]) * view[2]
        first = int(np.clip(np.floor(top), 0, HEIGHT))
        if first > 0:
            picture[:first] = self._far(view, first)
        if first < HEIGHT:
            picture[first:] = self._water(view, time_s, top, first)
        pixels = self.camera.pixels(self._corners, view)
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        seen = (high > 0).all(axis=1) & (low < (WIDTH, HEIGHT)).all(axis=1)
        fixed = np.rint(np.clip(pixels, -1500, 1500) * (1 << _SHIFT)).astype(np.int32)
        for number in np.flatnonzero(seen).tolist():
            cv2.fillPoly(picture, [fixed[number]], self._colours[number], cv2.LINE_AA, shift=_SHIFT)
        if self.springboard:
            for corners, colour in self._springboard(board_dip_m):
                place = np.clip(self.camera.pixels(self.camera.screen(corners), view), -1500, 1500)
                outline = np.rint(place * (1 << _SHIFT)).astype(np.int32)
                cv2.fillPoly(picture, [outline], self.venue.seen(colour), cv2.LINE_AA, shift=_SHIFT)
        return picture

    def shade(self, picture: NDArray[np.uint8], view: Array, lowest: Array, board_dip_m: float) -> None:
        """Darken the board under the athlete, whose lowest joint is at ``lowest`` [3], in place."""
        above = float(lowest[2]) - self.height_m - board_dip_m
        if lowest[0] > 0.25 or not -0.3 < above < _SHADOW_FADES_M:
            return
        ground = np.array([min(float(lowest[0]), -0.06), float(lowest[1]), self.height_m + board_dip_m])
        x, y = self.camera.pixels(self.camera.screen(ground), view)
        scale, spread = float(view[2]), 0.24 + 0.12 * max(above, 0.0)
        axes = (max(int(spread * scale), 2), max(int((spread if not self.springboard else 0.2) * scale * 0.14), 1))
        left, right = max(int(x) - axes[0] - 2, 0), min(int(x) + axes[0] + 3, WIDTH)
        top, bottom = max(int(y) - axes[1] - 2, 0), min(int(y) + axes[1] + 3, HEIGHT)
        if right <= left or bottom <= top:
            return
        strength = (1 - _SHADOW) * self.venue.light * (1 - max(above, 0.0) / _SHADOW_FADES_M)
        light = np.full((bottom - top, right - left), 255, np.uint8)
        cv2.ellipse(light, (int(x) - left, int(y) - top), axes, 0, 0, 360, int(255 * (1 - strength)), -1, cv2.LINE_AA)
        part = picture[top:bottom, left:right]
        part[:] = cv2.multiply(part, cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), scale=1 / 255)

    def _far(self, view: Array, rows: int) -> NDArray[np.uint8]:
        sign = -1.0 if self.camera.mirrored else 1.0
        step = FAR_RATE / view[2]
        shift_x = (view[0] * self.venue.parallax - FAR_LEFT_M) * FAR_RATE - sign * step * WIDTH / 2
        shift_y = (FAR_TOP_M - view[1]) * FAR_RATE - step * HEIGHT / 2
        half = _warp(self.venue.far, np.array([[sign * step, 0, shift_x], [0, step, shift_y]]), rows)
        return _enlarge(half, rows)

    def _water(self, view: Array, time_s: float, top: float, first: int) -> NDArray[np.uint8]:
        sign = -1.0 if self.camera.mirrored else 1.0
        across = sign * SURFACE_RATE / view[2]
        down = self.venue.floor.shape[0] / (_WATER_SPAN_M * view[2])
        layers = []
        for texture, drift, start in ((self.venue.ripples, 14.0, 0.0), (self.venue.floor, 0.0, 301.0)):
            wobble = 3 * np.sin(2 * time_s + start)
            offset = view[0] * SURFACE_RATE - across * WIDTH / 2 + drift * time_s + start + 380
            matrix = np.array([[across, 0, offset + wobble], [0, down, (first - top) * down + wobble]])
            layers.append(_warp(texture, matrix, HEIGHT - first))
        return _enlarge(cv2.addWeighted(layers[0], 0.6, layers[1], 0.4, 0), HEIGHT - first)

    def _springboard(self, dip: float) -> list[tuple[Array, Colour]]:
        x = np.linspace(-4.8, 0.0, 9)
        bend = dip * np.clip((x + 2.9) / 2.9, 0, 1) ** 1.8
        top = np.stack([x, np.full_like(x, -0.25), self.height_m + bend], axis=-1)
        back = top + np.array([0.0, 0.5, 0.0])
        under = top - np.array([0.0, 0.0, 0.055])
        return [
            (np.concatenate([top, back[::-1]]), _BOARD),
            (np.concatenate([top, under[::-1]]), scaled(_BOARD, 0.6)),
        ]


def _warp(texture: NDArray[np.uint8], matrix: Array, rows: int) -> NDArray[np.uint8]:
    """Show ``rows`` rows of a texture at half the picture's size; ``matrix`` maps whole pixels to the texture.

    The textures hold fewer pixels a metre than half the picture does, so nothing is lost, and three quarters of the
    work is saved.
    """
    halved = matrix * (2, 2, 1)
    halved[:, 2] += matrix[:, :2].sum(axis=1) / 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (WIDTH // 2, (rows + 1) // 2)
    return np.asarray(cv2.warpAffine(texture, halved, size, flags=flags, borderMode=cv2.BORDER_REFLECT), np.uint8)


def _enlarge(half: NDArray[np.uint8] | cv2.typing.MatLike, rows: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(half, (WIDTH, 2 * half.shape[0]), interpolation=cv2.INTER_LINEAR)[:rows], np.uint8)
