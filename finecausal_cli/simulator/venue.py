"""Where the dive takes place: the pool, the hall behind it, the light. Drawn from a seed of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Colour = tuple[int, int, int]

FAR_RATE = 24
"""Pixels per metre of the far layer."""

FAR_LEFT_M, FAR_RIGHT_M, FAR_BOTTOM_M, FAR_TOP_M = -16.0, 18.0, -3.0, 15.0
"""Extent of the far layer in screen metres."""


@dataclass(frozen=True, slots=True)
class Style:
    """A kind of venue.

    Attributes:
        name: What it is called.
        wall: Colour of the wall at the bottom and at the top.
        water: Colour of the water near the camera and far from it.
        accent: Colours of banners and seats.
        crowd: Share of the wall that the audience fills.
        windows: Whether the wall has tall windows.
        gain: Brightness.
        light: Strength of the directed light, 0..1.
    """

    name: str
    wall: tuple[Colour, Colour]
    water: tuple[Colour, Colour]
    accent: tuple[Colour, ...]
    crowd: float
    windows: bool
    gain: float
    light: float


STYLES: tuple[Style, ...] = (
    Style(
        name="blue hall",
        wall=((40, 74, 122), (24, 44, 84)),
        water=((16, 96, 158), (74, 150, 196)),
        accent=((236, 236, 240), (20, 60, 150), (230, 120, 30)),
        crowd=0.35,
        windows=False,
        gain=1.0,
        light=0.8,
    ),
    Style(
        name="dark arena",
        wall=((26, 26, 34), (12, 12, 18)),
        water=((8, 66, 112), (36, 104, 148)),
        accent=((190, 30, 60), (235, 190, 40), (60, 60, 70)),
        crowd=0.65,
        windows=False,
        gain=0.92,
        light=1.0,
    ),
    Style(
        name="glass hall",
        wall=((196, 204, 206), (222, 230, 234)),
        water=((38, 128, 150), (140, 196, 204)),
        accent=((40, 110, 70), (240, 240, 240), (120, 130, 140)),
        crowd=0.12,
        windows=True,
        gain=1.05,
        light=0.5,
    ),
    Style(
        name="outdoor",
        wall=((112, 150, 96), (150, 190, 228)),
        water=((24, 120, 176), (120, 186, 216)),
        accent=((230, 60, 50), (250, 220, 70), (40, 90, 170)),
        crowd=0.28,
        windows=False,
        gain=1.08,
        light=1.0,
    ),
    Style(
        name="old baths",
        wall=((176, 160, 132), (120, 108, 92)),
        water=((28, 110, 108), (104, 166, 156)),
        accent=((150, 40, 30), (220, 208, 180), (60, 80, 60)),
        crowd=0.2,
        windows=True,
        gain=0.96,
        light=0.65,
    ),
    Style(
        name="club pool",
        wall=((206, 196, 178), (226, 222, 214)),
        water=((30, 104, 170), (120, 176, 210)),
        accent=((30, 80, 160), (240, 240, 240), (210, 60, 60)),
        crowd=0.05,
        windows=False,
        gain=1.0,
        light=0.6,
    ),
)
"""The venues there are; colours vary about these."""


@dataclass(frozen=True, slots=True)
class Venue:
    """One venue as drawn.

    Attributes:
        style: Its kind.
        far: uint8 RGB picture of everything behind the pool, see `FAR_RATE` and the extents.
        water: uint8 RGB texture of the surface, far rows first.
        tower: Colour of the tower and the boards.
        edge_m: Screen height of the pool's far edge above the surface at the diver, metres.
        parallax: Share of the camera's sideways movement that the far layer shows.
        gain: Multiplies the picture, one factor a channel.
        noise: Standard deviation of the picture's noise, grey levels.
    """

    style: Style
    far: NDArray[np.uint8]
    water: NDArray[np.uint8]
    tower: Colour
    edge_m: float
    parallax: float
    gain: tuple[float, float, float]
    noise: float


def draw_venue(rng: np.random.Generator, style: int | None = None) -> Venue:
    """Draw a venue; ``style`` fixes its kind."""
    number = int(rng.integers(len(STYLES)))
    chosen = STYLES[number if style is None else style]
    tint = rng.normal(1.0, 0.05, 3)
    edge = float(rng.uniform(0.8, 1.5))
    far = _paint_far(rng, chosen, edge)
    grey = int(rng.integers(110, 225))
    tower = tuple(int(np.clip(grey + d, 0, 255)) for d in rng.integers(-18, 18, 3))
    gain = chosen.gain * float(rng.normal(1.0, 0.06)) * (1 + rng.normal(0, 0.02, 3))
    return Venue(
        style=chosen,
        far=np.clip(far * tint, 0, 255).astype(np.uint8),
        water=_paint_water(rng, chosen),
        tower=(tower[0], tower[1], tower[2]),
        edge_m=edge,
        parallax=float(rng.uniform(0.7, 0.9)),
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        noise=float(rng.uniform(0.8, 2.4)),
    )


def _row(height_m: float) -> int:
    return round((FAR_TOP_M - height_m) * FAR_RATE)


def _paint_far(rng: np.random.Generator, style: Style, edge_m: float) -> NDArray[np.float64]:
    """Paint wall, windows, audience, banners and the deck behind the pool."""
    width = round((FAR_RIGHT_M - FAR_LEFT_M) * FAR_RATE)
    height = round((FAR_TOP_M - FAR_BOTTOM_M) * FAR_RATE)
    rise = np.linspace(1, 0, height)[:, None, None]
    far = (np.array(style.wall[0]) * (1 - rise) + np.array(style.wall[1]) * rise) * np.ones((1, width, 1))
    picture = np.ascontiguousarray(far.astype(np.uint8))
    step = int(rng.integers(60, 140))
    for x in range(int(rng.integers(step)), width, step):
        shade = 0.8 + 0.3 * rng.random()
        colour = tuple(float(c * shade) for c in style.wall[0])
        cv2.rectangle(picture, (x, 0), (x + int(rng.integers(4, 14)), height), colour, -1)
    if style.windows:
        top, bottom = _row(rng.uniform(10, 13)), _row(rng.uniform(4, 6))
        pane = int(rng.integers(36, 70))
        for x in range(0, width, pane + 10):
            cv2.rectangle(picture, (x, top), (x + pane, bottom), (236, 242, 246), -1)
    if style.name == "outdoor":
        for x in range(-20, width, 26):
            radius = int(rng.integers(18, 46))
            green = tuple(float(v) for v in np.array((50, 96, 48)) * rng.uniform(0.7, 1.3))
            cv2.circle(picture, (x, _row(edge_m + rng.uniform(2.5, 4.5))), radius, green, -1)
    _paint_crowd(rng, picture, style, edge_m)
    for _ in range(int(rng.integers(2, 7))):
        x, base = int(rng.integers(width)), edge_m + rng.uniform(0.8, 9.0)
        length, tall = int(rng.integers(40, 180)), int(rng.integers(12, 34))
        colour = style.accent[int(rng.integers(len(style.accent)))]
        cv2.rectangle(picture, (x, _row(base)), (x + length, _row(base) + tall), colour, -1)
        for mark in range(x + 6, x + length - 8, 14):
            cv2.rectangle(
                picture, (mark, _row(base) + tall // 3), (mark + 8, _row(base) + 2 * tall // 3), (245, 245, 245), -1
            )
    deck = tuple(float(c) for c in rng.integers(130, 220) + rng.integers(-12, 12, 3))
    cv2.rectangle(picture, (0, _row(edge_m + 0.45)), (width, height), deck, -1)
    blurred = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.9, 2.4)))
    return np.asarray(blurred, dtype=np.float64)


def _paint_crowd(rng: np.random.Generator, picture: NDArray[np.uint8], style: Style, edge_m: float) -> None:
    """Fill a band above the deck with spectators."""
    top = edge_m + 0.9 + 11 * style.crowd * rng.uniform(0.7, 1.3)
    dim = rng.uniform(0.45, 0.85)
    seats = np.array(style.wall[0]) * 0.7
    for level in np.arange(edge_m + 0.8, top, 0.42):
        cv2.line(picture, (0, _row(level)), (picture.shape[1], _row(level)), tuple(float(c) for c in seats), 2)
        for x in np.arange(0, picture.shape[1], 7):
            if rng.random() < 0.8:
                shirt = dim * (0.55 * rng.integers(30, 230, 3) + 0.45 * rng.integers(40, 220))
                spot = (int(x + rng.integers(-2, 3)), _row(level + 0.13))
                cv2.ellipse(picture, spot, (3, 4), 0, 0, 360, tuple(float(c) for c in shirt), -1)
                face = np.array((215, 170, 140)) * dim * rng.uniform(0.5, 1.0)
                cv2.circle(picture, (spot[0], spot[1] - 5), 2, tuple(float(c) for c in face), -1)


def _paint_water(rng: np.random.Generator, style: Style) -> NDArray[np.uint8]:
    """Paint a tileable rippled surface; rows run from far to near."""
    rows, columns = 256, 768
    ripples = np.zeros((rows, columns), np.float32)
    for cells, strength in ((10, 0.35), (28, 0.4), (70, 0.3)):
        coarse = rng.normal(0, 1, (cells * 2, cells)).astype(np.float32)
        coarse[:, -1] = coarse[:, 0]
        ripples += strength * cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    share = np.linspace(0, 1, rows)[:, None, None] ** 0.6
    base = np.array(style.water[1]) * (1 - share) + np.array(style.water[0]) * share
    bright = np.clip(ripples - 0.55, 0, None)[..., None]
    surface = np.clip(base * (1 + 0.13 * ripples[..., None]) + 110 * bright, 0, 255)
    return np.asarray(surface, np.uint8)
