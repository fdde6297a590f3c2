"""Scenes of the randomised world, and the people in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi, radians
from typing import TYPE_CHECKING, Literal, NamedTuple

import cv2
import numpy as np

from finecausal_cli.errors import OutputError
from finecausal_cli.simulator import athlete as poses
from finecausal_cli.simulator.athlete import Athlete, Pose
from finecausal_cli.simulator.backdrop import FAR_LEFT_M, FAR_RATE, FAR_TOP_M, scaled
from finecausal_cli.simulator.figure import Appearance, Figure, window
from finecausal_cli.simulator.stance import turn_z
from finecausal_cli.simulator.venue import SURFACE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.athlete import Array
    from finecausal_cli.simulator.backdrop import Colour
    from finecausal_cli.simulator.camera import WildCamera
    from finecausal_cli.simulator.venue import Venue


# The still world of a filmed dive: a photograph or a painted venue, the water before it, and the tower in 3-D.
#
# Everything behind the pool moves as one with the camera, so that a still world stands behind the athlete from which
# the camera's motion can be told. The tower is made of solid boxes and can be seen from every side; those nearer to
# the camera than the athlete hide it.

_SHIFT = 4
_LARGEST_PHOTO = 1280
_WATER_ROWS_M = 3.2
_FAR_AWAY_PX = 6000
_PLATFORM_LEVELS_M = (1.0, 3.0, 5.0, 7.5, 10.0)
_RAIL_M = 0.95
_BODY_M = 0.4
_LONGEST_HIDDEN = 0.15
"""Share of the flight for which one part of the tower may hide the athlete."""

_TOUCHING_M = 0.05
_SKIN = np.array([236, 190, 160])
_SOFT = 0.55
"""Pixels of a backdrop's picture for one of the frame below which half the frame's pixels hold it all."""


class Solid(NamedTuple):
    """An upright box: lowest and highest corner [3] in the world, and its colour."""

    low: Array
    high: Array
    colour: Colour


_FACES = (
    ((0, 0, 1), ((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1))),
    ((0, 0, -1), ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0))),
    ((0, -1, 0), ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1))),
    ((0, 1, 0), ((0, 1, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1))),
    ((1, 0, 0), ((1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1))),
    ((-1, 0, 0), ((0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1))),
)
"""Outward normal of each face of a box, and its corners as shares of the sides."""


def draw_tower(
    rng: np.random.Generator, venue: Venue, height_m: float, *, springboard: bool, with_deck: bool = True
) -> list[Solid]:
    """Draw what the dive starts from and what stands beside it; a springboard's plank itself is not in it.

    ``with_deck`` allows for the floor under it, whose edge hides the water from a camera that looks up.
    """
    site = _Site(rng, venue, posts=rng.random() < 0.6)
    has_deck, has_rails, has_others = (rng.random(3) < (0.8, 0.75, 0.6)).tolist()
    if has_deck and with_deck:
        site.put((-30, rng.uniform(-2.2, -0.9)), (-14, 14), (-1.5, 0.0), venue.deck)
    if springboard:
        site.put((-4.7, -2.5), (-0.5, 0.5), (0.0, height_m - 0.42), scaled(venue.tower, 0.9))
        site.put((-3.0, -2.75), (-0.35, 0.35), (height_m - 0.42, height_m - 0.06), (90, 94, 100))
        sides = (-0.62, 0.58)
    else:
        half, back = float(rng.uniform(0.75, 1.4)), float(rng.uniform(-6.8, -5.5))
        site.carry((rng.uniform(-5.2, -4.2), rng.uniform(-3.2, -1.8)), (-0.8 * half, 0.8 * half), height_m - 0.28)
        site.put((back, 0.0), (-half, half), (height_m - 0.28, height_m - 0.03), venue.tower)
        site.put((back, 0.0), (-half, half), (height_m - 0.03, height_m), venue.mat)
        sides = (-half, half - 0.04)
    if has_rails:
        for side in sides:
            site.fence((-4.8 if springboard else -6.0, rng.uniform(-2.6, -1.2)), side, height_m)
    if has_others:
        for level in rng.permutation(_PLATFORM_LEVELS_M)[: int(rng.integers(1, 4))].tolist():
            site.platform(level)
    return site.solids


class _Site:
    """Where solids are put."""

    def __init__(self, rng: np.random.Generator, venue: Venue, *, posts: bool) -> None:
        self.solids: list[Solid] = []
        self._rng, self._venue, self._posts = rng, venue, posts

    def put(self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], colour: Colour) -> None:
        low, high = np.array([x, y, z], float).T
        self.solids.append(Solid(low, high, colour))

    def carry(self, x: tuple[float, float], y: tuple[float, float], top: float) -> None:
        """Put a block or four posts under a platform."""
        if not self._posts:
            self.put(x, y, (0, top), scaled(self._venue.tower, 0.82))
            return
        for left in (x[0], x[1] - 0.28):
            for near in (y[0], y[1] - 0.28):
                self.put((left, left + 0.28), (near, near + 0.28), (0, top), scaled(self._venue.tower, 0.8))

    def fence(self, x: tuple[float, float], y: float, level: float) -> None:
        """Put a railing along a platform's side."""
        top, rail = level + _RAIL_M, self._venue.railing
        self.put(x, (y, y + 0.04), (top - 0.04, top), rail)
        if self._rng.random() < 0.3:
            self.put(x, (y, y + 0.03), (level + 0.1, top - 0.1), scaled(self._venue.mat, 0.9))
            return
        self.put(x, (y, y + 0.03), (level + 0.45, level + 0.48), rail)
        for post in np.linspace(x[0], x[1] - 0.04, 5).tolist():
            self.put((post, post + 0.04), (y, y + 0.04), (level, top), rail)

    def platform(self, level: float) -> None:
        """Put another platform or board beside the athlete's."""
        rng = self._rng
        near = float(rng.choice([-1, 1]) * rng.uniform(2.5, 7.0))
        length, half, tip = (float(value) for value in rng.uniform((4.5, 0.25, -1.0), (6.5, 1.1, 0.0)))
        self.put(
            (tip - length, tip), (near - half, near + half), (level - 0.22, level), scaled(self._venue.tower, 0.95)
        )
        self.carry((tip - length, tip - 0.6 * length), (near - 0.8 * half, near + 0.8 * half), level - 0.22)
        if rng.random() < 0.6:
            self.fence((tip - length, tip - 0.8), near + half, level)


def without_screens(solids: list[Solid], camera: WildCamera, path: Array) -> list[Solid]:
    """Take out what would hide the athlete's path [N, 3] for long: nobody films from there."""
    at = camera.screen(path)[:, :2]
    kept = []
    for solid in solids:
        corners = solid.low + np.array(list(np.ndindex(2, 2, 2)), float) * (solid.high - solid.low)
        ring = cv2.convexHull(camera.screen(corners)[:, :2].astype(np.float32))
        is_nearer = _hides(camera.axes[2], solid.low, solid.high, path - _BODY_M, path + _BODY_M)
        hidden = [
            bool(near) and cv2.pointPolygonTest(ring, (float(x), float(y)), measureDist=False) >= 0
            for near, (x, y) in zip(is_nearer, at, strict=True)
        ]
        if np.mean(hidden) <= _LONGEST_HIDDEN:
            kept.append(solid)
    return kept


class Tower:
    """Solid boxes as a camera sees them."""

    def __init__(self, solids: list[Solid], camera: WildCamera, venue: Venue) -> None:
        """Project the boxes and sort them, far ones first."""
        towards = camera.axes[2]
        sun = np.array(venue.sun) @ camera.axes
        sun = sun / np.linalg.norm(sun)
        # The deck lies under everything else, whatever the depth of its middle.
        under = 1 if towards[2] >= 0 else -1
        solids = sorted(solids, key=lambda s: (under * (s.high[2] > 0), float((s.low + s.high) @ towards)))
        sides = [(normal, np.array(corners, float)) for normal, corners in _FACES if np.dot(normal, towards) > 1e-6]
        corners, self._colours = [], []
        for solid in solids:
            for normal, shares in sides:
                shade = 0.78 + 0.3 * venue.light * float(np.clip(np.dot(normal, sun), -0.5, 1))
                corners.append(solid.low + shares * (solid.high - solid.low))
                self._colours.append(venue.seen(scaled(solid.colour, shade)))
        self._camera, self._towards, self._sides = camera, towards, len(sides)
        self._corners = camera.screen(np.array(corners).reshape(-1, 4, 3))[..., :2]
        self._low = np.array([solid.low for solid in solids]).reshape(-1, 3)
        self._high = np.array([solid.high for solid in solids]).reshape(-1, 3)

    def hiding(self, low: Array, high: Array) -> NDArray[np.bool_]:
        """Return for each box whether it may hide what lies between the corners ``low`` and ``high`` [3]."""
        return _hides(self._towards, self._low, self._high, low, high)

    def paint(self, picture: NDArray[np.uint8], view: Array, chosen: NDArray[np.bool_]) -> None:
        """Draw the chosen boxes in place; a mask (one channel) gets 255."""
        height, width = picture.shape[:2]
        pixels = self._camera.pixels(self._corners, view)
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        seen = (high > 0).all(axis=1) & (low < (width, height)).all(axis=1) & np.repeat(chosen, self._sides)
        fixed = np.rint(np.clip(pixels, -_FAR_AWAY_PX, _FAR_AWAY_PX) * (1 << _SHIFT)).astype(np.int32)
        line = cv2.LINE_AA if picture.ndim == 3 else cv2.LINE_8
        for face in np.flatnonzero(seen).tolist():
            cv2.fillPoly(picture, [fixed[face]], self._colours[face] if picture.ndim == 3 else 255, line, shift=_SHIFT)


def plank(height_m: float, dip: float) -> list[tuple[Array, float]]:
    """Return the faces of a springboard's plank, corners [K, 3] in the world and their brightness."""
    x = np.linspace(-4.8, 0.0, 9)
    bend = dip * np.clip((x + 2.9) / 2.9, 0, 1) ** 1.8
    top = np.stack([x, np.full_like(x, -0.25), height_m + bend], axis=-1)
    across, down = np.array([0.0, 0.5, 0.0]), np.array([0.0, 0.0, 0.055])

    def ring(edge: Array, other: Array) -> Array:
        return np.concatenate([edge, other[::-1]])

    return [
        (ring(top - down, top - down + across), 0.55),
        (ring(top + across, top + across - down), 0.6),
        (ring(top, top - down), 0.6),
        (ring(top, top + across), 1.0),
        (np.stack([top[-1], top[-1] + across, top[-1] + across - down, top[-1] - down]), 0.7),
    ]


def plank_hides(camera: WildCamera, height_m: float, low: Array, high: Array) -> bool:
    """Return whether a springboard may hide what lies between the corners ``low`` and ``high`` [3]."""
    box = np.array([-4.8, -0.25, height_m - 0.1]), np.array([0.0, 0.25, height_m])
    return bool(_hides(camera.axes[2], *box, low, high))


def paint_plank(
    picture: NDArray[np.uint8], camera: WildCamera, view: Array, faces: list[tuple[Array, float]], colour: Colour
) -> None:
    """Draw a springboard's plank in place."""
    looks_up = camera.axes[2][2] < 0
    height, width = picture.shape[:2]
    for corners, shade in reversed(faces) if looks_up else faces:
        _fill(picture, camera.pixels(camera.screen(corners), view), scaled(colour, shade), (width, height))


def _hides(towards: Array, low: Array, high: Array, other_low: Array, other_high: Array) -> NDArray[np.bool_]:
    """Return which boxes [..., 3] may hide the other one: a plane parts them, and no plane says the contrary."""
    side = np.where(np.abs(towards) < 1e-6, 0, np.sign(towards))
    apart: Array = (low >= other_high - _TOUCHING_M) * side - (high <= other_low + _TOUCHING_M) * side
    return np.asarray((apart > 0).any(axis=-1) & ~(apart < 0).any(axis=-1))


def _fill(picture: NDArray[np.uint8], pixels: Array, colour: Colour, size: tuple[int, int]) -> None:
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if (high < 0).any() or (low > size).any():
        return
    fixed = np.rint(np.clip(pixels, -_FAR_AWAY_PX, _FAR_AWAY_PX) * (1 << _SHIFT)).astype(np.int32)
    tint = colour if picture.ndim == 3 else 255
    cv2.fillPoly(picture, [fixed], tint, cv2.LINE_AA if picture.ndim == 3 else cv2.LINE_8, shift=_SHIFT)


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What stands still behind the athlete.

    Attributes:
        picture: uint8 RGB.
        to_pixels: [2, 3] from screen metres to its pixels.
        edge_m: Screen height at which the water begins, or None for a backdrop without water.
        kind: photograph, venue or painting.
    """

    picture: NDArray[np.uint8]
    to_pixels: Array
    edge_m: float | None
    kind: str

    def paint(self, camera: WildCamera, view: Array, time_s: float, venue: Venue) -> NDArray[np.uint8]:
        """Return the picture of a view, uint8 RGB."""
        to_screen = np.asarray(cv2.invertAffineTransform(view), float)
        matrix = _chain(self.to_pixels, to_screen)
        soft = float(np.hypot(matrix[0, 0], matrix[1, 0])) < _SOFT
        picture = _warp(self.picture, matrix, camera.size, cv2.BORDER_REFLECT_101, halve=soft)
        if self.edge_m is not None:
            self._add_water(picture, to_screen, camera.size, time_s, venue)
        return picture

    def _add_water(
        self, picture: NDArray[np.uint8], to_screen: Array, size: tuple[int, int], time_s: float, venue: Venue
    ) -> None:
        width, height = size
        edge = float(self.edge_m or 0.0)
        y = to_screen[1, 1] or 1e-9
        # The edge's row at the left and the right side of the picture.
        at = [(edge - to_screen[1, 2] - to_screen[1, 0] * x) / y for x in (0.0, float(width))]
        first = int(np.clip(min(at), 0, height))
        if first >= height:
            return
        wobble = 3 * np.sin(2 * time_s)
        down = venue.floor.shape[0] / _WATER_ROWS_M
        layers = []
        for texture, drift in ((venue.ripples, 14.0), (venue.floor, 0.0)):
            to_pixels = np.array(
                [[SURFACE_RATE, 0, 380 + drift * time_s + wobble], [0, -down, down * edge + wobble]], float
            )
            matrix = _chain(to_pixels, to_screen)
            matrix[:, 2] += matrix[:, 1] * first
            layers.append(_warp(texture, matrix, (width, height - first), cv2.BORDER_REFLECT_101, halve=True))
        water = np.asarray(cv2.addWeighted(layers[0], 0.6, layers[1], 0.4, 0), np.uint8)
        ring = np.array([[0, at[0]], [width, at[1]], [width, height + 9999], [0, height + 9999]]) - (0, first)
        wet = np.zeros((height - first, width), np.uint8)
        cv2.fillPoly(wet, [np.rint(np.clip(ring, -9999, 9999) * 16).astype(np.int32)], 255, cv2.LINE_8, shift=_SHIFT)
        cv2.copyTo(water, wet, picture[first:])


def place_backdrop(
    rng: np.random.Generator, picture: NDArray[np.uint8], camera: WildCamera, views: Array
) -> tuple[NDArray[np.uint8], Array]:
    """Hang a picture so that it lies behind all views; return it, perhaps mirrored, and the map [2, 3] to pixels."""
    width, height = camera.size
    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    inverse = np.stack([cv2.invertAffineTransform(view) for view in views[:: max(len(views) // 12, 1)]])
    seen = np.einsum("nij,kj->nki", inverse[:, :, :2], corners) + inverse[:, None, :, 2]
    low, high = seen.min(axis=(0, 1)), seen.max(axis=(0, 1))
    held = float((np.array(picture.shape[1::-1]) / (high - low)).min())
    scale = float(np.median([camera.scale(view) for view in views]))
    rate = float(np.clip(scale * rng.uniform(0.5, 1.5), 0.6 * held, 1.7 * held))
    slack = np.array(picture.shape[1::-1]) / rate - (high - low)
    middle = (low + high) / 2 + rng.uniform(-0.5, 0.5, 2) * np.maximum(slack, 0)
    right, down = np.array(picture.shape[1::-1]) / 2
    to_pixels = np.array([[rate, 0, right - rate * middle[0]], [0, -rate, down + rate * middle[1]]])
    return picture, to_pixels


def venue_to_pixels() -> Array:
    """Return the map [2, 3] from screen metres to pixels of a painted venue's far layer."""
    return np.array([[FAR_RATE, 0, -FAR_LEFT_M * FAR_RATE], [0, -FAR_RATE, FAR_TOP_M * FAR_RATE]])


def read_photo(path: str) -> NDArray[np.uint8]:
    """Read a photograph as RGB, at most 1280 pixels across.

    Raises:
        OutputError: When it is no picture.
    """
    picture = cv2.imread(path, cv2.IMREAD_COLOR)
    if picture is None:
        raise OutputError("not a picture that can be read", where=path, hint="take it out of the backgrounds")
    factor = _LARGEST_PHOTO / max(picture.shape[:2])
    if factor < 1:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture[..., ::-1], np.uint8)


def paint_texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint a wall or a view out of nothing: gradient, cloudy noise, and tiles, panes or patches before it."""
    width, height = 960, 640
    ends = (rng.uniform(20, 230, (2, 1)) + rng.normal(0, 28, (2, 3))).astype(np.float32)
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(ends[0] * (1 - share) + ends[1] * share, (height, width, 3)).copy()
    for cells in (6, 24, 96):
        noise = rng.standard_normal((cells, cells, 1), dtype=np.float32) * rng.uniform(0, 22)
        noise = noise + rng.standard_normal((cells, cells, 3), dtype=np.float32) * rng.uniform(0, 7)
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        step, line = int(rng.integers(16, 120)), rng.integers(0, 255, 3).tolist()
        thick = int(rng.integers(1, 5))
        for x in range(int(rng.integers(step)), width, step):
            cv2.line(picture, (x, 0), (x, height), line, thick)
        for y in range(int(rng.integers(step)), height, max(int(step * rng.uniform(0.4, 2)), 6)):
            cv2.line(picture, (0, y), (width, y), line, thick)
    for _ in range(int(rng.integers(0, 90))):
        colour = (rng.integers(30, 230) + rng.normal(0, 34, 3)).clip(0, 255).astype(int).tolist()
        x, y, w, h = rng.integers((0, 0, 6, 6), (width, height, 160, 160)).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1)
        else:
            cv2.ellipse(
                picture, (x, y), (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA
            )
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.6, 3.0))), np.uint8)


def paint_stands(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint stands: rows of seats with people on some of them, aisles and banners between the blocks."""
    width, height = 960, 640
    wall, seat, floor = (rng.integers(30, 200, 3) for _ in range(3))
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = wall
    row_px, filled = int(rng.integers(14, 34)), float(rng.uniform(0.1, 0.95))
    aisle = int(rng.integers(6, 16)) * row_px
    top, bottom = int(rng.uniform(0, 0.3) * height), int(rng.uniform(0.75, 1.0) * height)
    picture[top:bottom] = floor
    for y in range(top + row_px, bottom, row_px):
        cv2.rectangle(picture, (0, y - row_px // 8), (width, y), (floor * 0.6).astype(int).tolist(), -1)
        for x in range(row_px // 2, width, max(int(row_px * 0.72), 6)):
            if x % aisle < row_px:
                continue
            shade = float(rng.uniform(0.8, 1.1))
            half = max(int(row_px * 0.3), 2)
            tint = (seat * shade).clip(0, 255).astype(int).tolist()
            cv2.rectangle(picture, (x - half, y - row_px // 2), (x + half, y - 2), tint, -1)
            if rng.random() < filled:
                shirt, skin = rng.integers(20, 240, 3).tolist(), (rng.uniform(0.4, 1) * _SKIN).astype(int).tolist()
                cv2.ellipse(picture, (x, y - row_px // 4), (half, row_px // 2), 0, 180, 360, shirt, -1, cv2.LINE_AA)
                cv2.circle(picture, (x, y - int(row_px * 0.85)), max(row_px // 5, 2), skin, -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        y, tall = int(rng.uniform(top, bottom)), int(rng.uniform(0.8, 2.5) * row_px)
        colour, ink = rng.integers(10, 245, 3).tolist(), rng.integers(0, 255, 3).tolist()
        cv2.rectangle(picture, (0, y), (width, y + tall), colour, -1)
        for x in range(int(rng.integers(200)), width, int(rng.integers(150, 400))):
            text = "".join(chr(65 + int(k)) for k in rng.integers(0, 26, 6))
            cv2.putText(
                picture, text, (x, y + int(0.75 * tall)), cv2.FONT_HERSHEY_DUPLEX, tall / 34, ink, 2, cv2.LINE_AA
            )
    return picture


def add_pool_wall(rng: np.random.Generator, backdrop: Backdrop) -> None:
    """Draw a low wall with a deck along the far edge of the water into a backdrop's picture, in place."""
    if backdrop.edge_m is None:
        return
    rate, offset = backdrop.to_pixels[1, 1], backdrop.to_pixels[1, 2]
    level = backdrop.edge_m
    width = backdrop.picture.shape[1]
    for _ in range(int(rng.integers(1, 4))):
        above = level + float(rng.uniform(0.08, 1.1))
        low, high = (int(np.clip(rate * y + offset, -9, 9999)) for y in (level, above))
        cv2.rectangle(backdrop.picture, (0, high), (width, low), rng.integers(20, 240, 3).tolist(), -1)
        level = above


def _chain(outer: Array, inner: Array) -> Array:
    """Return the affine map [2, 3] that applies ``inner`` first."""
    return np.concatenate([outer[:, :2] @ inner[:, :2], (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, None]], axis=1)


def _warp(
    texture: NDArray[np.uint8], matrix: Array, size: tuple[int, int], border: int, *, halve: bool = False
) -> NDArray[np.uint8]:
    """Show a texture; ``matrix`` maps the picture's pixels to the texture's. ``halve`` saves work where it is soft."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if not halve:
        return np.asarray(cv2.warpAffine(texture, matrix, size, flags=flags, borderMode=border), np.uint8)
    halved = matrix * (2, 2, 1)
    halved[:, 2] += matrix[:, :2].sum(axis=1) / 2
    small = cv2.warpAffine(texture, halved, ((size[0] + 1) // 2, (size[1] + 1) // 2), flags=flags, borderMode=border)
    return np.asarray(cv2.resize(small, (2 * small.shape[1], 2 * small.shape[0]))[: size[1], : size[0]], np.uint8)


# Other people in a filmed dive: spectators who stand or sit, divers who wait their turn, somebody who walks by.

_STEP_S, _STRIDE_M = 0.5, 0.68
_INSTANTS = 12
_CROWD = (12, 45)
_ROOM_M = 0.9
"""How far somebody who waits stays behind the edge of a platform."""

Posture = Literal["stand", "sit", "walk"]


@dataclass(frozen=True, slots=True)
class Bystander:
    """One person.

    Attributes:
        figure: Outlines at the instants of a movement that repeats, feet at the origin's height.
        position: [3] in the world at time 0.
        velocity: [3] m/s.
        period_s: Time of the movement; 0 for somebody who keeps still.
    """

    figure: Figure
    position: Array
    velocity: Array
    period_s: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, position: Array, camera: WildCamera, venue: Venue, posture: Posture
    ) -> Bystander:
        """Draw a person at a position."""
        athlete = replace(Athlete.draw(rng), build=float(np.clip(rng.normal(1.12, 0.15), 0.85, 1.5)))
        appearance = Appearance.draw(rng, athlete)
        if rng.random() < 0.5:  # in clothes: sleeves and trousers of a colour of their own
            cloth = tuple(rng.integers(20, 235, 3).tolist())
            appearance = replace(appearance, skin=(cloth[0], cloth[1], cloth[2]))
        heading = float(rng.uniform(-pi, pi))
        rows = _movement(rng, posture)
        body = turn_z(athlete.joints(rows), np.full(len(rows), heading))
        body -= np.array([0.0, 0.0, 1.0]) * body[..., 2].min(axis=1)[:, None, None]
        speed = _STRIDE_M / _STEP_S if posture == "walk" else 0.0
        velocity = speed * np.array([np.cos(heading), np.sin(heading), 0.0])
        period = {"walk": 2 * _STEP_S, "stand": float(rng.uniform(1.5, 4)), "sit": 0.0}[posture]
        return cls(Figure.of(body, athlete, appearance, camera, venue), position, velocity, period)

    def paint(
        self, picture: NDArray[np.uint8], camera: WildCamera, view: Array, time_s: float, factor: float = 1.0
    ) -> None:
        """Draw the person in place, ``factor`` times as large as the scale has it; a mask (one channel) gets 255."""
        instant = int(time_s / self.period_s * _INSTANTS) % len(self.figure.outline) if self.period_s else 0
        where = camera.screen(self.position + self.velocity * time_s)[:2]
        outline = self.figure.outline[instant] * factor + where
        pixels = outline @ view[:, :2].T + view[:, 2]
        height, width = picture.shape[:2]
        box = window(pixels[:, [0, -1]], (width, height))
        if box is None:
            return
        left, top, right, bottom = box
        body = self.figure.paint(instant, pixels, box, 1)
        part, cover = picture[top:bottom, left:right], body[..., 3] > 127
        part[cover] = body[cover, :3] if picture.ndim == 3 else 255

    def depth(self, camera: WildCamera, time_s: float) -> float:
        """Return how near to the camera the person is, metres."""
        return float(camera.screen(self.position + self.velocity * time_s)[2])


def draw_passers(
    rng: np.random.Generator, camera: WildCamera, venue: Venue, solids: list[Solid], takeoff_s: float
) -> list[Bystander]:
    """Draw the few who move or may stand before the athlete: waiting on platforms, or walking on the deck."""
    if rng.random() > 0.4:
        return []
    floors = [s for s in solids if s.high[0] - s.low[0] > 2 and s.high[1] - s.low[1] > 0.4 and s.high[2] >= 0]
    people = []
    for _ in range(int(rng.integers(1, 4))):
        posture: Posture = "walk" if rng.random() < 0.4 else "stand"
        position = np.array([rng.uniform(-9, -1.6), rng.choice([-1, 1]) * rng.uniform(1.2, 8), 0.0])
        if floors and posture == "stand" and rng.random() < 0.6:
            floor = floors[int(rng.integers(len(floors)))]
            low = np.maximum(floor.low, (-9, -8, -9))
            high = np.minimum(floor.high, (9, 8, 99)) - (min(_ROOM_M + 0.6, high_room(low, floor.high)), 0, 0)
            position = rng.uniform(low, np.maximum(high, low + 1e-3))
            position[2] = floor.high[2]
        person = Bystander.draw(rng, position, camera, venue, posture)
        # Whoever walks passes the position when the dive begins.
        people.append(replace(person, position=position - person.velocity * takeoff_s))
    return people


def high_room(low: Array, high: Array) -> float:
    """Return how much of a floor's length may be kept free."""
    return float(max(high[0] - low[0] - 0.4, 0.0))


def add_spectators(
    rng: np.random.Generator, backdrop: Backdrop, camera: WildCamera, venue: Venue, floor_m: float
) -> int:
    """Draw spectators into a backdrop's picture, in place, their feet about ``floor_m`` up; return how many."""
    kind = rng.random()
    count = 0 if kind < 0.5 else int(rng.integers(1, 6)) if kind < 0.85 else int(rng.integers(*_CROWD))
    if not count:
        return 0
    to_screen = np.linalg.inv(backdrop.to_pixels[:, :2])
    height, width = backdrop.picture.shape[:2]
    ends = (np.array([[0, 0], [width, height]]) - backdrop.to_pixels[:, 2]) @ to_screen.T
    right, up, _ = camera.axes
    factor = float(rng.uniform(0.55, 1.1))
    rows = int(rng.integers(1, 4)) if count > _CROWD[0] else 1
    drawn = sorted(rng.integers(0, rows, count).tolist(), reverse=True)
    for row in drawn:
        posture: Posture = "sit" if rng.random() < (0.6 if rows > 1 else 0.15) else "stand"
        across = float(rng.uniform(min(ends[:, 0]), max(ends[:, 0])))
        above = floor_m + 0.55 * row * factor + float(rng.uniform(0, 0.3))
        person = Bystander.draw(rng, right * across + up * above, camera, venue, posture)
        person.paint(backdrop.picture, camera, backdrop.to_pixels, 0.0, factor)
    return count


def _movement(rng: np.random.Generator, posture: Posture) -> Array:
    """Return the poses of a movement that repeats [instants, angles]."""
    if posture == "walk":
        keys = [poses.stride(1), poses.swing(-1), poses.stride(-1), poses.swing(1)]
    else:
        legs = {"hip": radians(86), "knee": radians(84)} if posture == "sit" else {}
        arms = rng.uniform(0, 40, 2) if rng.random() < 0.7 else rng.uniform(0, 170, 2)
        bend, split = radians(float(rng.uniform(0, 70))), radians(float(rng.uniform(-60, 60)))
        keys = [
            poses.stand(float(arm))._replace(
                elbow=bend, arm_split=split, spine=radians(float(rng.uniform(0, 12))), **legs
            )
            for arm in (arms[0], arms[1] if posture == "stand" else arms[0])
        ]
    rows = np.array([poses.vector(Pose(*key)) for key in (*keys, keys[0])])
    at = np.linspace(0, len(keys), _INSTANTS if posture != "sit" else 1, endpoint=False)
    return np.stack([np.interp(at, np.arange(len(rows)), column) for column in rows.T], axis=-1)
