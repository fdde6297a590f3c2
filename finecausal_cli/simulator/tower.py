"""The tower, its platforms and railings as flat faces in the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from finecausal_cli.simulator.layer import scaled

if TYPE_CHECKING:
    from finecausal_cli.simulator.body import Array
    from finecausal_cli.simulator.styles import Colour
    from finecausal_cli.simulator.venue import Venue

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
