"""The pool, its tower and its boards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from finecausal_cli.simulator.backdrop import STYLES, Colour, Picture, Style, paint_far, scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.athlete import Array

__all__ = ["STYLES", "Colour", "Style", "Venue", "draw_venue"]


# Textures of the water: what shines through it and the ripples on it. Rows run from far to near.

SURFACE_RATE = 55.0
"""Pixels per metre across."""

_ROWS, _COLUMNS = 256, 768


def paint_floor(rng: np.random.Generator, style: Style) -> Picture:
    """Paint the water's colour with what does not drift: tiles of the floor and lane ropes."""
    share = np.linspace(0, 1, _ROWS)[:, None, None] ** 0.6
    base = np.array(style.water[1]) * (1 - share) + np.array(style.water[0]) * share
    picture = np.ascontiguousarray(np.broadcast_to(base, (_ROWS, _COLUMNS, 3)).astype(np.uint8))
    if style.tiles:
        line = scaled(style.water[0], float(rng.uniform(0.6, 0.85)))
        step, lean = int(rng.integers(48, 110)), int(rng.integers(-60, 61))
        for x in range(-step, _COLUMNS + step, step):
            cv2.line(picture, (x, 0), (x + lean, _ROWS), line, 3, cv2.LINE_AA)
        for y in (_ROWS * np.linspace(0.08, 1, 9) ** 1.6).astype(int).tolist():
            cv2.line(picture, (0, y), (_COLUMNS, y), line, 2, cv2.LINE_AA)
    if style.ropes:
        for y in rng.integers(6, 70, int(rng.integers(1, 3))).tolist():
            colours = (250, 250, 250), style.accent[-1]
            for number, x in enumerate(range(0, _COLUMNS, 24)):
                cv2.rectangle(picture, (x, y), (x + 23, y + 5), colours[number % 2], -1)
    return picture


def paint_ripples(rng: np.random.Generator, style: Style) -> Picture:
    """Paint a rippled surface with glints."""
    ripples = np.zeros((_ROWS, _COLUMNS), np.float32)
    roughness = float(rng.uniform(0.7, 1.4))
    for cells, strength in ((10, 0.35), (28, 0.4), (70, 0.3)):
        coarse = rng.standard_normal((cells * 2, cells), dtype=np.float32)
        ripples += roughness * strength * cv2.resize(coarse, (_COLUMNS, _ROWS), interpolation=cv2.INTER_CUBIC)
    share = np.linspace(0, 1, _ROWS, dtype=np.float32)[:, None] ** 0.6
    bright = np.maximum(ripples - 0.55, 0) * np.float32(110 * style.light + 30)
    wave = 1 + 0.15 * ripples
    channels = [
        (far + (near - far) * share) * wave + bright for near, far in zip(style.water[0], style.water[1], strict=True)
    ]
    return np.asarray(np.clip(cv2.merge(channels), 0, 255), np.uint8)


# The tower, its platforms and railings as flat faces in the world.

DECK_ENDS_M = -1.4
"""Where the floor under the tower ends and the water begins."""

_LEVELS_M = (5.0, 7.5, 10.0)
_RAIL_M = 0.95
_CREAM = (205, 208, 212)


class Face(NamedTuple):
    """A flat part: corners [4, 3] in the world and its colour."""

    corners: Array
    colour: Colour


def build(venue: Venue, height_m: float, *, springboard: bool) -> list[Face]:
    """Return all that stands still in front of the pool, far to near. A springboard itself is not in it: it bends."""
    tower = venue.tower
    deck = np.array([(-30, 12, 0), (DECK_ENDS_M, 12, 0), (DECK_ENDS_M, -14, 0), (-30, -14, 0)], float)
    faces = [Face(deck, venue.deck)]
    faces += box((DECK_ENDS_M - 30, DECK_ENDS_M), (-1.4, -1.4), (-2.5, 0.0), scaled(venue.deck, 0.72))
    if venue.others:
        levels = (5.0,) if springboard else tuple(level for level in _LEVELS_M if level != height_m)
        for level in levels:
            faces += box((-6.0, -0.6), (4.0, 6.0), (level - 0.25, level), scaled(tower, 0.72))
            faces += _railing(venue, level, (-6.0, -1.4), 4.0, 0.8)
        faces += _carrier(venue, (-5.2, -4.2), (4.0, 6.0), 7.5 if springboard else 10.0, 0.66)
    if springboard:
        faces += box((-4.7, -2.5), (-0.5, 0.5), (0.0, height_m - 0.42), scaled(tower, 0.85))
        faces += box((-3.0, -2.75), (-0.35, 0.35), (height_m - 0.42, height_m - 0.06), (90, 94, 100))
        if venue.others:
            faces += box((-4.7, -2.6), (2.6, 3.4), (0.0, 0.6), scaled(tower, 0.75))
            faces += box((-4.8, -0.1), (2.75, 3.25), (0.95, 1.0), (180, 190, 196))
        return faces + _railing(venue, height_m, (-4.8, -2.2), 0.7, 1.0)
    faces += _carrier(venue, (-4.4, -2.9), (-0.8, 0.8), height_m - 0.28, 0.82)
    faces += box((-6.5, 0.0), (-1.0, 1.0), (height_m - 0.28, height_m), tower, venue.mat)
    if height_m > 4:
        faces += box((-0.5, 0.0), (-1.0, -1.0), (height_m - 0.28, height_m), scaled(venue.mat, 0.9))
    return faces + _railing(venue, height_m, (-6.2, -1.3), 0.9, 1.0)


def box(
    x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], colour: Colour, top: Colour | None = None
) -> list[Face]:
    """Return the visible faces of an upright box: end and top, then the side towards the camera."""
    (left, right), (near, far), (low, high) = x, y, z
    front = [(left, near, low), (right, near, low), (right, near, high), (left, near, high)]
    upper = [(left, near, high), (right, near, high), (right, far, high), (left, far, high)]
    end = [(right, near, low), (right, far, low), (right, far, high), (right, near, high)]
    faces = []
    if far > near:
        faces.append(Face(np.array(end, float), scaled(colour, 0.6)))
        faces.append(Face(np.array(upper, float), top or scaled(colour, 1.08)))
    return [*faces, Face(np.array(front, float), scaled(colour, 0.88))]


def _carrier(venue: Venue, x: tuple[float, float], y: tuple[float, float], high: float, shade: float) -> list[Face]:
    """Return what carries the platforms, by the venue's style."""
    colour = scaled(venue.tower, shade)
    (left, right), kind = x, venue.style.tower
    if kind == "block":
        return box(x, y, (0.0, high), colour)
    if kind == "slab":
        lean = np.array([(left - 1.2, y[0], 0), (right + 0.9, y[0], 0), (right - 0.1, y[0], high), (left, y[0], high)])
        return [Face(np.asarray(lean, float), scaled(colour, 0.95))]
    posts = [*box((left, left + 0.28), y, (0.0, high), colour), *box((right - 0.28, right), y, (0.0, high), colour)]
    if kind == "columns":
        return posts
    faces, step = posts, 1.25 if kind == "truss" else 2.5
    bar = 0.12 if kind == "truss" else 0.3
    start, stop = (left, right) if kind == "truss" else (left - 2.4, right - 0.4)
    for number, low in enumerate(np.arange(0.0, high - 0.5, step)):
        ends = (start, stop) if number % 2 == 0 else (stop, start)
        up = min(low + step, high)
        strut = [(ends[0], y[0], low), (ends[1], y[0], up), (ends[1], y[0], up + bar), (ends[0], y[0], low + bar)]
        faces.append(Face(np.array(strut, float), scaled(colour, 0.8 if kind == "stairs" else 1.1)))
        if kind == "stairs":
            rail = np.array(strut, float) + np.array([0.0, 0.0, 0.9])
            rail[2:, 2] -= bar - 0.05
            faces.append(Face(rail, venue.railing))
    return faces


def _railing(venue: Venue, height: float, x: tuple[float, float], y: float, shade: float) -> list[Face]:
    """Return a railing along a platform's far side, by the venue's style."""
    colour, kind = scaled(venue.railing, shade), venue.style.rail
    faces: list[Face] = []
    (left, right), top = x, height + _RAIL_M
    if kind == "panel":
        faces += box((left, right), (y, y), (height + 0.12, top - 0.1), scaled(venue.mat, 0.8 * shade))
    elif kind == "glass":
        pane = tuple(int(0.55 * a + 0.45 * b) for a, b in zip(venue.style.wall[0], _CREAM, strict=True))
        faces += box((left, right), (y, y), (height + 0.08, top - 0.06), (pane[0], pane[1], pane[2]))
    bars = {"bars": (0.5,), "mesh": (0.16, 0.32, 0.48, 0.64, 0.8)}.get(kind, ())
    for lift in bars:
        faces += box((left, right), (y, y), (height + lift, height + lift + 0.03), colour)
    for post in np.arange(left, right + 0.01, (right - left) / 5):
        faces += box((float(post), float(post) + 0.045), (y, y), (height, top), colour)
    return faces + box((left, right + 0.045), (y, y), (top - 0.03, top + 0.03), colour)


# Where the dive takes place: the pool, the hall behind it, the light. Drawn from a seed of its own.

_RAIL: tuple[Colour, ...] = ((206, 208, 212), (236, 238, 240), (60, 64, 70), (230, 190, 40), (40, 90, 170))


@dataclass(frozen=True, slots=True)
class Venue:
    """One venue as drawn. Its colours are as the camera sees them, white balance and exposure included.

    Attributes:
        style: Its kind.
        far: uint8 RGB picture of everything behind the pool, see `layer`.
        floor: uint8 RGB texture of the water that does not drift, far rows first.
        ripples: uint8 RGB texture of the waves.
        tower: Colour of the tower and the boards.
        mat: Colour of the platforms' covering.
        deck: Colour of the floor under the tower.
        railing: Colour of the railing.
        others: Whether the other platforms are in view.
        edge_m: Screen height of the pool's far edge above the surface at the diver, metres.
        parallax: Share of the camera's sideways movement that the far layer shows.
        light: Strength of the directed light on the athlete, 0..1.
        sun: Where that light comes from: right, up, towards the camera.
        gain: Multiplies the colours, one factor a channel.
        falloff: Grey levels by which the corners of the picture are darker.
        noise: Standard deviation of the picture's noise, grey levels.
    """

    style: Style
    far: NDArray[np.uint8]
    floor: NDArray[np.uint8]
    ripples: NDArray[np.uint8]
    tower: Colour
    mat: Colour
    deck: Colour
    railing: Colour
    others: bool
    edge_m: float
    parallax: float
    light: float
    sun: tuple[float, float, float]
    gain: tuple[float, float, float]
    falloff: float
    noise: float

    def seen(self, colour: Colour) -> Colour:
        """Return a colour as the camera sees it in this light."""
        red, green, blue = (min(255, int(c * g)) for c, g in zip(colour, self.gain, strict=True))
        return red, green, blue


def draw_venue(rng: np.random.Generator, style: int | None = None) -> Venue:
    """Draw a venue; ``style`` fixes its kind."""
    number = int(rng.integers(len(STYLES)))
    chosen = STYLES[number if style is None else style]
    edge = float(rng.uniform(0.8, 1.5))
    warmth = 1 + (chosen.warmth + rng.normal(0, 0.025)) * np.array([1.0, 0.0, -1.0])
    gain = chosen.gain * float(rng.normal(1.0, 0.07)) * warmth
    far_gain = gain * rng.normal(1.0, 0.05, 3)
    water_gain = gain * rng.normal(1.0, (0.08, 0.05, 0.05))
    grey, tints = int(rng.integers(105, 228)), rng.integers(-18, 18, 3).tolist()
    tower = (grey + tints[0], grey + tints[1], grey + tints[2])
    covered = rng.random() < 0.5
    mat = chosen.accent[int(rng.integers(len(chosen.accent)))] if covered else scaled(tower, 1.08)
    return Venue(
        style=chosen,
        far=_graded(paint_far(rng, chosen, edge), far_gain),
        floor=_graded(paint_floor(rng, chosen), water_gain),
        ripples=_graded(paint_ripples(rng, chosen), water_gain),
        tower=tower,
        mat=mat,
        deck=scaled(chosen.deck, float(rng.uniform(0.85, 1.1))),
        railing=_RAIL[int(rng.integers(len(_RAIL)))],
        others=bool(rng.random() < 0.65),
        edge_m=edge,
        parallax=float(rng.uniform(0.7, 0.9)),
        light=float(np.clip(chosen.light + rng.normal(0, 0.1), 0.3, 1.0)),
        sun=(float(rng.uniform(-0.8, 0.8)), float(rng.uniform(0.45, 0.85)), float(rng.uniform(0.35, 0.8))),
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        falloff=float(rng.choice([0.0, rng.uniform(8, 34)])),
        noise=float(rng.uniform(0.6, 3.2)),
    )


def _graded(picture: NDArray[np.uint8], gain: NDArray[np.float64]) -> NDArray[np.uint8]:
    levels = np.clip(np.arange(256)[:, None] * gain, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, levels[None]), np.uint8)
