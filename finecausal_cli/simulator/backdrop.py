"""Everything behind the pool: walls or sky, audience, banners, the far deck with the judges. Painted once a venue.

The far layer is a picture in screen metres, see `FAR_RATE` and the extents; `row` and `column` place things in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.simulator.audience import paint_crowd, paint_judges
from finecausal_cli.simulator.landscape import paint_land
from finecausal_cli.simulator.layer import (
    FAR_BOTTOM_M,
    FAR_LEFT_M,
    FAR_RATE,
    FAR_RIGHT_M,
    FAR_TOP_M,
    Picture,
    row,
    scaled,
)

if TYPE_CHECKING:
    from finecausal_cli.simulator.styles import Style

_DECK_M = 0.5
"""How far the far deck reaches up in the picture beyond the pool's edge."""

_GUTTER_M = 0.16
_DAYLIGHT = (232, 240, 246)


def paint_far(rng: np.random.Generator, style: Style, edge_m: float) -> Picture:
    """Paint the far layer of a venue whose pool ends ``edge_m`` above the water at the diver."""
    width = round((FAR_RIGHT_M - FAR_LEFT_M) * FAR_RATE)
    height = round((FAR_TOP_M - FAR_BOTTOM_M) * FAR_RATE)
    rise = np.linspace(1, 0, height)[:, None, None]
    column = np.array(style.wall[0]) * (1 - rise) + np.array(style.wall[1]) * rise
    picture = np.ascontiguousarray(np.broadcast_to(column.astype(np.uint8), (height, width, 3)))
    floor = edge_m + _DECK_M
    if style.backdrop == "sky":
        paint_land(rng, picture, style, floor)
    else:
        _WALLS[style.backdrop](rng, picture, style)
    if style.windows:
        _windows(rng, picture)
    if style.crowd > 0:
        paint_crowd(rng, picture, style, floor)
    if style.scoreboard:
        _scoreboard(rng, picture)
    _banners(rng, picture, style, floor)
    if style.flags:
        _flags(rng, picture, style)
    if style.lamps:
        picture = _lamps(rng, picture)
    deck = scaled(style.deck, float(rng.uniform(0.85, 1.12)))
    cv2.rectangle(picture, (0, row(floor)), (width, height), deck, -1)
    cv2.rectangle(picture, (0, row(floor)), (width, row(floor - 0.08)), scaled(deck, 0.72), -1)
    paint_judges(rng, picture, style, floor - 0.1)
    _gutter(rng, picture, style, edge_m)
    blurred = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 1.9)))
    return np.asarray(blurred, np.uint8)


def _panels(rng: np.random.Generator, picture: Picture, style: Style) -> None:
    step = int(rng.integers(90, 190))
    for x in range(int(rng.integers(step)), picture.shape[1], step):
        colour = scaled(style.wall[0], float(rng.uniform(0.75, 1.25)))
        cv2.rectangle(picture, (x, 0), (x + int(rng.integers(8, 40)), picture.shape[0]), colour, -1)
    for height in (11.5, 12.4):
        cv2.line(picture, (0, row(height)), (picture.shape[1], row(height)), scaled(style.wall[1], 1.5), 3)


def _curtain(rng: np.random.Generator, picture: Picture, _: Style) -> None:
    folds = 1 + 0.35 * np.sin(np.arange(picture.shape[1]) / rng.uniform(5, 12) + rng.uniform(0, 6))
    picture[:] = np.clip(picture * folds[None, :, None], 0, 255).astype(np.uint8)


def _glass(rng: np.random.Generator, picture: Picture, style: Style) -> None:
    outside = int(rng.integers(3))
    tree = ((120, 150, 110), (150, 170, 190), (170, 180, 170))[outside]
    for x in range(0, picture.shape[1], 30):
        radius, place = int(rng.integers(20, 60)), (x, row(float(rng.uniform(2, 4.5))))
        cv2.circle(picture, place, radius, scaled(tree, float(rng.uniform(0.85, 1.1))), -1)
    frame, pane = scaled(style.accent[2], float(rng.uniform(0.5, 1.2))), int(rng.integers(60, 120))
    for x in range(int(rng.integers(pane)), picture.shape[1], pane):
        cv2.line(picture, (x, 0), (x, picture.shape[0]), frame, 5)
    for height in np.arange(1.0, FAR_TOP_M, float(rng.uniform(1.8, 3.2))):
        cv2.line(picture, (0, row(height)), (picture.shape[1], row(height)), frame, 4)


def _bricks(rng: np.random.Generator, picture: Picture, style: Style) -> None:
    joint = scaled(style.wall[0], 0.82)
    for number, y in enumerate(range(0, picture.shape[0], 9)):
        cv2.line(picture, (0, y), (picture.shape[1], y), joint, 1)
        for x in range(11 * (number % 2), picture.shape[1], 22):
            cv2.line(picture, (x, y), (x, y + 9), joint, 1)
    height = float(rng.uniform(3.0, 3.8))
    cv2.rectangle(picture, (0, row(height)), (picture.shape[1], row(height - 0.25)), scaled(style.accent[2], 1.2), -1)


def _slats(rng: np.random.Generator, picture: Picture, style: Style) -> None:
    step = int(rng.integers(9, 18))
    for x in range(0, picture.shape[1], step):
        colour = scaled(style.wall[0], float(rng.uniform(0.72, 1.12)))
        cv2.rectangle(picture, (x, 0), (x + step - 3, picture.shape[0]), colour, -1)
    for height in (6.0, 11.0):
        beam = (0, row(height)), (picture.shape[1], row(height - 0.35))
        cv2.rectangle(picture, *beam, scaled(style.wall[1], 0.6), -1)


def _tiles(rng: np.random.Generator, picture: Picture, style: Style) -> None:
    joint, step = scaled(style.wall[0], 0.92), int(rng.integers(12, 26))
    for x in range(0, picture.shape[1], step):
        cv2.line(picture, (x, 0), (x, picture.shape[0]), joint, 1)
    for y in range(0, picture.shape[0], step):
        cv2.line(picture, (0, y), (picture.shape[1], y), joint, 1)
    for height in rng.uniform(2.0, 9.0, 2):
        stripe = scaled(style.accent[int(rng.integers(len(style.accent)))], 0.9)
        cv2.rectangle(picture, (0, row(height)), (picture.shape[1], row(height - 0.3)), stripe, -1)


def _leds(rng: np.random.Generator, picture: Picture, style: Style) -> None:
    """Paint large coloured screens with slanted stripes, one above the other."""
    for base in np.arange(float(rng.uniform(2.4, 3.6)), FAR_TOP_M, float(rng.uniform(3.0, 4.4))):
        x = int(rng.integers(-100, 60))
        while x < picture.shape[1]:
            length, tall = int(rng.integers(110, 260)), float(rng.uniform(1.0, 1.7))
            colour = style.accent[int(rng.integers(len(style.accent)))]
            top, bottom = row(base + tall), row(base)
            cv2.rectangle(picture, (x, top), (x + length, bottom), scaled(colour, 0.85), -1)
            for lean in range(x + 20, x + length - 30, 60):
                stripe = [(lean, bottom), (lean + 14, bottom), (lean + 34, top), (lean + 20, top)]
                cv2.fillPoly(picture, [np.array(stripe, np.int32)], scaled(colour, 1.25))
            x += length + int(rng.integers(6, 40))


_WALLS = {
    "panels": _panels,
    "curtain": _curtain,
    "glass": _glass,
    "bricks": _bricks,
    "slats": _slats,
    "tiles": _tiles,
    "leds": _leds,
}


def _windows(rng: np.random.Generator, picture: Picture) -> None:
    """Paint tall windows with round tops and bars."""
    top, bottom, pane = float(rng.uniform(9.5, 12.0)), float(rng.uniform(4.6, 6.2)), int(rng.integers(44, 84))
    for x in range(int(rng.integers(pane)), picture.shape[1], round(1.6 * pane)):
        cv2.rectangle(picture, (x, row(top)), (x + pane, row(bottom)), _DAYLIGHT, -1)
        cv2.ellipse(picture, (x + pane // 2, row(top)), (pane // 2, pane // 2), 0, 180, 360, _DAYLIGHT, -1)
        cv2.line(picture, (x + pane // 2, row(top) - pane // 2), (x + pane // 2, row(bottom)), (120, 116, 108), 3)
        for height in np.arange(bottom, top, 1.3):
            cv2.line(picture, (x, row(height)), (x + pane, row(height)), (120, 116, 108), 2)


def _banners(rng: np.random.Generator, picture: Picture, style: Style, floor: float) -> None:
    """Hang banners with marks that stand for letters."""
    for _ in range(int(rng.integers(2, 8))):
        x, base = int(rng.integers(picture.shape[1])), floor + float(rng.choice([0.9, rng.uniform(1.0, 9.0)]))
        length, tall = int(rng.integers(60, 250)), int(rng.integers(16, 42))
        colour = style.accent[int(rng.integers(len(style.accent)))]
        ink = (250, 250, 250) if sum(colour) < 480 else (40, 50, 90)
        cv2.rectangle(picture, (x, row(base)), (x + length, row(base) + tall), colour, -1)
        mark = x + 8
        while mark < x + length - 14:
            wide = int(rng.integers(5, 16))
            low, high = row(base) + tall // 4, row(base) + 3 * tall // 4
            cv2.rectangle(picture, (mark, low), (mark + wide, high), ink, -1 if wide % 2 else 2)
            mark += wide + int(rng.choice([4, 4, 4, 14]))


def _scoreboard(rng: np.random.Generator, picture: Picture) -> None:
    x, top = int(rng.integers(40, picture.shape[1] - 260)), row(float(rng.uniform(7.0, 12.5)))
    wide, tall = int(rng.integers(150, 240)), int(rng.integers(70, 110))
    cv2.rectangle(picture, (x - 4, top - 4), (x + wide + 4, top + tall + 4), (70, 72, 78), -1)
    cv2.rectangle(picture, (x, top), (x + wide, top + tall), (10, 12, 22), -1)
    for number, y in enumerate(range(top + 10, top + tall - 8, 15)):
        colour = (250, 200, 60) if number == 0 else (220, 230, 240)
        long = int(rng.integers(40, wide - 60))
        cv2.line(picture, (x + 10, y), (x + 10 + long, y), colour, 4)
        cv2.line(picture, (x + wide - 36, y), (x + wide - 12, y), (90, 240, 120), 4)


def _flags(rng: np.random.Generator, picture: Picture, style: Style) -> None:
    """String little flags across the hall."""
    ends, sag = rng.uniform(6.0, 11.5, 2), float(rng.uniform(0.3, 1.0))
    share = np.linspace(0, 1, 70)
    heights = ends[0] * (1 - share) + ends[1] * share - sag * 4 * share * (1 - share)
    places = [(round(s * picture.shape[1]), row(h)) for s, h in zip(share, heights, strict=True)]
    cv2.polylines(picture, [np.array(places, np.int32)], False, (210, 210, 210), 1, cv2.LINE_AA)
    for number, (x, y) in enumerate(places):
        colour = style.accent[number % len(style.accent)]
        cv2.fillPoly(picture, [np.array([(x - 6, y), (x + 6, y), (x, y + 14)], np.int32)], colour)


def _lamps(rng: np.random.Generator, picture: Picture) -> Picture:
    """Hang lamps with a glow."""
    glow = np.zeros((picture.shape[0] // 4, picture.shape[1] // 4), np.uint8)
    step, y = int(rng.integers(90, 200)), row(float(rng.uniform(10.5, 13.0)))
    for x in range(int(rng.integers(step)), picture.shape[1], step):
        cv2.circle(glow, (x // 4, y // 4), 4, 255, -1)
    halo = cv2.max(cv2.GaussianBlur(glow, (0, 0), 7.0) * 2, cv2.GaussianBlur(glow, (0, 0), 1.2))
    large = cv2.resize(halo, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.add(picture, cv2.cvtColor(large, cv2.COLOR_GRAY2RGB)), np.uint8)


def _gutter(rng: np.random.Generator, picture: Picture, style: Style, edge_m: float) -> None:
    """Paint the pool's far wall above the water with its coloured tiles."""
    top, bottom = row(edge_m + _GUTTER_M), row(edge_m) + 2
    light, dark = (228, 232, 232), scaled(style.water[0], 0.8)
    cv2.rectangle(picture, (0, top), (picture.shape[1], bottom), light, -1)
    step = int(rng.integers(10, 40))
    for x in range(0, picture.shape[1], 2 * step):
        cv2.rectangle(picture, (x, top + 2), (x + step, bottom), dark, -1)
