"""What an open-air pool is surrounded by: sky, clouds, sun, trees, houses, mountains, stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.simulator.layer import Picture, row, scaled

if TYPE_CHECKING:
    from finecausal_cli.simulator.styles import Style


def paint_land(rng: np.random.Generator, picture: Picture, style: Style, floor: float) -> None:
    """Paint clouds and the style's land above the deck at height ``floor``."""
    _clouds(rng, picture)
    if rng.random() < 0.4:
        place = (int(rng.integers(picture.shape[1])), row(float(rng.uniform(8, 13))))
        cv2.circle(picture, place, int(rng.integers(14, 26)), (255, 250, 226), -1, cv2.LINE_AA)
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
            place = (x + int(rng.integers(-12, 13)), y + int(rng.integers(-2, 3)))
            cv2.ellipse(veil, place, (int(rng.integers(4, 13)), int(rng.integers(2, 4))), 0, 0, 360, 150, -1)
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
