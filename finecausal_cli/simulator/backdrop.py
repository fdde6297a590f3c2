"""Venues: their styles, and what stands behind a pool: stands, spectators, landscape."""

from __future__ import annotations

import sys
from importlib import resources
from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Styles of venues, read from ``venues.toml``.

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]

Backdrop = Literal["panels", "curtain", "glass", "bricks", "slats", "tiles", "leds", "sky"]
Land = Literal["", "trees", "skyline", "mountains", "stands"]
Tower = Literal["block", "columns", "slab", "stairs", "truss"]
Rail = Literal["bars", "mesh", "panel", "glass"]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Style:
    """The style of a venue.

    Attributes:
        name: Its name.
        backdrop: The wall behind the pool, or the sky.
        wall: Colour of the backdrop at the bottom and at the top.
        water: Colour of the water near the camera and far from it.
        accent: Colours of banners and seats.
        deck: Colour of the floor around the pool.
        crowd: Share of the backdrop that the audience fills.
        gain: Brightness.
        warmth: White balance: red up and blue down by this share.
        light: Strength of the directed light, 0..1.
        tower: Construction of the tower.
        rail: Railing of the platforms.
        land: Landscape in front of the sky.
        windows: Whether the wall has windows.
        lamps: Whether spotlights hang in the picture.
        scoreboard: Whether there is a scoreboard.
        flags: Whether flags hang over the pool.
        tiles: Whether the tiles of the floor shine through the water.
        ropes: Whether lane ropes lie on the water.
    """

    name: str
    backdrop: Backdrop
    wall: tuple[Colour, Colour]
    water: tuple[Colour, Colour]
    accent: tuple[Colour, ...]
    deck: Colour
    crowd: float
    gain: float
    warmth: float
    light: float
    tower: Tower
    rail: Rail
    land: Land = ""
    windows: bool = False
    lamps: bool = False
    scoreboard: bool = False
    flags: bool = False
    tiles: bool = False
    ropes: bool = False


def read_venues(text: str) -> tuple[Style, ...]:
    """Read venues from TOML, one ``[[venue]]`` each, and check every field.

    Raises:
        pydantic.ValidationError: A field is missing, unknown or of another type.
    """
    return _Venues.model_validate(tomllib.loads(text)).venue


class _Venues(BaseModel):
    model_config = ConfigDict(extra="forbid")

    venue: tuple[Style, ...]


STYLES = read_venues((resources.files(__package__) / "venues.toml").read_text(encoding="utf-8"))
"""The venues; colours vary about these."""


# The far layer's geometry: a picture in screen metres.

Picture = NDArray[np.uint8]

FAR_RATE = 30
"""Pixels per metre of the far layer."""

FAR_LEFT_M, FAR_RIGHT_M, FAR_BOTTOM_M, FAR_TOP_M = -16.0, 18.0, 0.0, 15.0
"""Extent of the far layer in screen metres."""


def row(height_m: float) -> int:
    """Return the row of the far layer at a height."""
    return round((FAR_TOP_M - height_m) * FAR_RATE)


def scaled(colour: Colour, factor: float) -> Colour:
    """Return a colour made brighter or darker."""
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue


# People behind the pool: the audience and the judges' panel.

_SEAT_PX, _TIER_PX = 10, 16
_FULL_M = 11.0
"""Height of a stand that fills the whole backdrop."""

_SKIN: tuple[Colour, ...] = ((232, 190, 160), (206, 158, 122), (150, 104, 74), (104, 72, 52))
_FANS = 0.12
"""Share of people in the colour of their team."""

_PEOPLE = 61
"""Seats of a tier before its people repeat."""


def paint_crowd(rng: np.random.Generator, picture: Picture, style: Style, floor: float) -> None:
    """Fill a band above the deck with spectators in tiers, with aisles."""
    top = row(floor + 0.7 + _FULL_M * style.crowd * float(rng.uniform(0.75, 1.25)))
    bottom = row(floor + 0.35)
    dim, seat = float(rng.uniform(0.5, 0.9)), scaled(style.wall[0], 0.6)
    occupied = float(rng.uniform(0.55, 0.95))
    fans = style.accent[int(rng.integers(len(style.accent)))]
    tiers = [_tier(rng, seat, dim, occupied, fans) for _ in range(4)]
    for number, y in enumerate(range(bottom - _TIER_PX, top, -_TIER_PX)):
        tier = np.roll(tiers[number % 4], int(rng.integers(_PEOPLE)) * _SEAT_PX, axis=1)
        repeats = -(-picture.shape[1] // tier.shape[1])
        picture[y : y + _TIER_PX] = np.tile(tier, (1, repeats, 1))[:, : picture.shape[1]]
    step = int(rng.integers(200, 420))
    for x in range(int(rng.integers(step)), picture.shape[1], step):
        cv2.rectangle(picture, (x, top), (x + 16, bottom), scaled(style.deck, 0.7 * dim + 0.2), -1)
    cv2.rectangle(picture, (0, bottom), (picture.shape[1], row(floor)), scaled(style.accent[0], 0.75), -1)
    cv2.line(picture, (0, top), (picture.shape[1], top), scaled(style.wall[1], 0.7), 4)


def _tier(rng: np.random.Generator, seat: Colour, dim: float, occupied: float, fans: Colour) -> Picture:
    """Return one row of people, [_TIER_PX, _PEOPLE * _SEAT_PX, 3], that can be repeated sideways."""
    tier = np.empty((_TIER_PX, _PEOPLE * _SEAT_PX, 3), np.uint8)
    tier[:] = seat
    tier[-3:] = scaled(seat, 0.6)
    for index in range(_PEOPLE):
        if rng.random() > occupied:
            continue
        x, y = index * _SEAT_PX + 5 + int(rng.integers(-1, 2)), int(rng.integers(4, 6))
        grey = int(rng.integers(40, 220))
        red, green, blue = ((rng.integers(30, 230, 3) + grey) // 2).tolist()
        shirt = fans if rng.random() < _FANS else (red, green, blue)
        cv2.ellipse(tier, (x, y + 8), (4, 6), 0, 0, 360, scaled(shirt, dim), -1)
        cv2.circle(tier, (x, y), 3, scaled(_SKIN[int(rng.integers(len(_SKIN)))], dim), -1)
        cv2.ellipse(tier, (x, y - 2), (3, 2), 0, 180, 360, scaled((60, 44, 34), dim * float(rng.uniform(0.5, 2))), -1)
    return tier


def paint_judges(rng: np.random.Generator, picture: Picture, style: Style, floor: float) -> None:
    """Seat a panel of judges on raised chairs on the deck, sometimes with a table before them."""
    x, count = int(rng.integers(picture.shape[1] - 300)), int(rng.choice([5, 7]))
    shirt: Colour = ((245, 245, 245), (30, 40, 90), (200, 30, 40), (240, 220, 120))[int(rng.integers(4))]
    lift = float(rng.uniform(0.2, 0.9))
    size = FAR_RATE / 30
    for number in range(count):
        middle, seat = x + round(number * 34 * size), row(floor + lift)
        cv2.rectangle(picture, (middle - 9, seat), (middle + 9, row(floor) + 8), (150, 150, 156), -1)
        cv2.rectangle(picture, (middle - 9, seat - 18), (middle - 6, seat), (110, 110, 116), -1)
        cv2.rectangle(picture, (middle - 5, seat - 6), (middle + 9, seat), (30, 32, 44), -1)
        cv2.rectangle(picture, (middle + 5, seat - 2), (middle + 10, seat + 12), (30, 32, 44), -1)
        cv2.ellipse(picture, (middle, seat - 12), (6, 11), 0, 0, 360, scaled(shirt, 0.86), -1)
        cv2.circle(picture, (middle + 1, seat - 26), 5, _SKIN[int(rng.integers(len(_SKIN)))], -1)
        cv2.ellipse(picture, (middle + 1, seat - 28), (5, 4), 0, 180, 360, (50, 38, 30), -1)
    if rng.random() < 0.5:
        table = (x - 24, row(floor + lift) - 6), (x + round(count * 34 * size), row(floor) + 10)
        cv2.rectangle(picture, *table, scaled(style.accent[int(rng.integers(len(style.accent)))], 0.9), -1)


# What an open-air pool is surrounded by: sky, clouds, sun, trees, houses, mountains, stands.


def paint_land(rng: np.random.Generator, picture: Picture, style: Style, floor: float) -> None:
    """Paint clouds and the style's land above the deck at height ``floor``."""
    _clouds(rng, picture)
    if rng.random() < 0.4:
        centre = (int(rng.integers(picture.shape[1])), row(float(rng.uniform(8, 13))))
        cv2.circle(picture, centre, int(rng.integers(14, 26)), (255, 250, 226), -1, cv2.LINE_AA)
    if style.land == "skyline":
        _skyline(rng, picture, floor)
    elif style.land == "mountains":
        _mountains(rng, picture, floor)
        _trees(rng, picture, floor, 1.4)
    elif style.land == "trees":
        _trees(rng, picture, floor, 3.4)
    elif style.land == "stands":
        roof = row(float(rng.uniform(8.5, 10.5)))
        cv2.rectangle(picture, (0, roof), (picture.shape[1], roof + 14), scaled(style.accent[1], 0.8), -1)
        cv2.rectangle(picture, (0, roof + 14), (picture.shape[1], row(floor)), scaled(style.accent[1], 0.6), -1)


def _clouds(rng: np.random.Generator, picture: Picture) -> None:
    veil = np.zeros((picture.shape[0] // 8, picture.shape[1] // 8), np.uint8)
    for _ in range(int(rng.integers(2, 9))):
        x, y = int(rng.integers(veil.shape[1])), int(rng.integers(veil.shape[0] * 2 // 3))
        for _ in range(6):
            centre = (x + int(rng.integers(-12, 13)), y + int(rng.integers(-2, 3)))
            cv2.ellipse(veil, centre, (int(rng.integers(4, 13)), int(rng.integers(2, 4))), 0, 0, 360, 150, -1)
    veil = np.asarray(cv2.GaussianBlur(veil, (0, 0), 1.6), np.uint8)
    large = cv2.resize(veil, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
    share = cv2.cvtColor(large, cv2.COLOR_GRAY2RGB)
    white = cv2.convertScaleAbs(share, alpha=246 / 255)
    picture[:] = cv2.add(cv2.multiply(picture, 255 - share, scale=1 / 255), white)


def _trees(rng: np.random.Generator, picture: Picture, floor: float, rise_m: float) -> None:
    """Plant a hedge of crowns, the far ones first and darker."""
    for depth, lift in ((0.8, 1.0), (1.0, 0.55)):
        for x in range(-20, picture.shape[1], 26):
            height = floor + lift * rise_m * float(rng.uniform(0.6, 1.2))
            green = scaled((58, 104, 48), depth * float(rng.uniform(0.7, 1.25)))
            cv2.rectangle(picture, (x - 13, row(height)), (x + 13, row(floor)), scaled(green, 0.85), -1)
            cv2.circle(picture, (x, row(height)), int(rng.integers(16, 40)), green, -1)


def _skyline(rng: np.random.Generator, picture: Picture, floor: float) -> None:
    """Build houses with rows of windows."""
    x = -int(rng.integers(40))
    while x < picture.shape[1]:
        wide, height = int(rng.integers(40, 120)), float(rng.uniform(2.0, 10.0))
        grey = int(rng.integers(110, 190))
        wall = scaled((grey, grey + 4, grey + 12), 1.0)
        cv2.rectangle(picture, (x, row(height)), (x + wide, row(floor)), wall, -1)
        pane = scaled(wall, 0.7)
        for y in range(row(height) + 8, row(floor) - 8, 14):
            for left in range(x + 6, x + wide - 8, 13):
                cv2.rectangle(picture, (left, y), (left + 7, y + 7), pane, -1)
        x += wide + int(rng.integers(0, 24))


def _mountains(rng: np.random.Generator, picture: Picture, floor: float) -> None:
    """Raise ridges, the far ones paler and with snow."""
    for colour, low, high in (((150, 166, 190), 5.0, 11.0), ((96, 122, 116), 2.5, 6.0)):
        across = np.arange(0, picture.shape[1] + 60, 60)
        heights = rng.uniform(low, high, len(across))
        ridge = [(int(x), row(float(h))) for x, h in zip(across, heights, strict=True)]
        foot = [(picture.shape[1], row(floor)), (0, row(floor))]
        cv2.fillPoly(picture, [np.array(ridge + foot, np.int32)], colour, cv2.LINE_AA)
        for x, y in ridge:
            if y < row(8.0):
                cap = [(x, y), (x + 16, y + 26), (x + 4, y + 20), (x - 6, y + 30), (x - 16, y + 24)]
                cv2.fillPoly(picture, [np.array(cap, np.int32)], (240, 244, 250), cv2.LINE_AA)


# Everything behind the pool: walls or sky, audience, banners, the far deck with the judges. Painted once a venue.
#
# The far layer is a picture in screen metres, see `FAR_RATE` and the extents; `row` maps heights to its rows.

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
        radius, centre = int(rng.integers(20, 60)), (x, row(float(rng.uniform(2, 4.5))))
        cv2.circle(picture, centre, radius, scaled(tree, float(rng.uniform(0.85, 1.1))), -1)
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
    points = [(round(s * picture.shape[1]), row(h)) for s, h in zip(share, heights, strict=True)]
    cv2.polylines(picture, [np.array(points, np.int32)], False, (210, 210, 210), 1, cv2.LINE_AA)
    for number, (x, y) in enumerate(points):
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
