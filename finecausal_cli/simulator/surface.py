"""Textures of the water: what shines through it and the ripples on it. Rows run from far to near."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.simulator.layer import Picture, scaled

if TYPE_CHECKING:
    from finecausal_cli.simulator.styles import Style

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
