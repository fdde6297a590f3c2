"""People behind the pool: the audience and the judges' panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.simulator.layer import FAR_RATE, Picture, row, scaled

if TYPE_CHECKING:
    from finecausal_cli.simulator.styles import Colour, Style

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
    taken = float(rng.uniform(0.55, 0.95))
    fans = style.accent[int(rng.integers(len(style.accent)))]
    tiers = [_tier(rng, seat, dim, taken, fans) for _ in range(4)]
    for number, y in enumerate(range(bottom - _TIER_PX, top, -_TIER_PX)):
        tier = np.roll(tiers[number % 4], int(rng.integers(_PEOPLE)) * _SEAT_PX, axis=1)
        repeats = -(-picture.shape[1] // tier.shape[1])
        picture[y : y + _TIER_PX] = np.tile(tier, (1, repeats, 1))[:, : picture.shape[1]]
    step = int(rng.integers(200, 420))
    for x in range(int(rng.integers(step)), picture.shape[1], step):
        cv2.rectangle(picture, (x, top), (x + 16, bottom), scaled(style.deck, 0.7 * dim + 0.2), -1)
    cv2.rectangle(picture, (0, bottom), (picture.shape[1], row(floor)), scaled(style.accent[0], 0.75), -1)
    cv2.line(picture, (0, top), (picture.shape[1], top), scaled(style.wall[1], 0.7), 4)


def _tier(rng: np.random.Generator, seat: Colour, dim: float, taken: float, fans: Colour) -> Picture:
    """Return one row of people, [_TIER_PX, _PEOPLE * _SEAT_PX, 3], that can be repeated sideways."""
    tier = np.empty((_TIER_PX, _PEOPLE * _SEAT_PX, 3), np.uint8)
    tier[:] = seat
    tier[-3:] = scaled(seat, 0.6)
    for place in range(_PEOPLE):
        if rng.random() > taken:
            continue
        x, y = place * _SEAT_PX + 5 + int(rng.integers(-1, 2)), int(rng.integers(4, 6))
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
