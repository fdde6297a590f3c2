"""Synthetic films: an athlete, drawn as an ellipse, before a textured world that the camera pans over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

HEIGHT, WIDTH, FPS = 240, 320, 25.0
PX_PER_M = 20.0
TAKEOFF_S, ENTRY_S = 1.2, 2.6
RISE = 3.0
"""Metres a second, upward, at the take-off."""


@dataclass(frozen=True)
class Film:
    """Frames, and where the athlete's middle is in each, x and y in pixels."""

    frames: list[np.ndarray]
    centres: np.ndarray


def world(seed: int = 0) -> np.ndarray:
    """A texture, twice as large as the picture, that corners can be followed in."""
    rng = np.random.default_rng(seed)
    fine = rng.integers(60, 190, (2 * HEIGHT // 12, 2 * WIDTH // 12, 3), dtype=np.uint8)
    return cv2.resize(fine, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_LINEAR)


def fall(seconds: float) -> tuple[float, float]:
    """Metres from the take-off, to the right and down, of an athlete who stands, flies and sinks."""
    flight = np.clip(seconds - TAKEOFF_S, 0, ENTRY_S - TAKEOFF_S)
    after = max(0.0, seconds - ENTRY_S)
    crouch = max(0.0, TAKEOFF_S - seconds)
    # Before the take-off the body rises from a crouch, with the speed of the take-off at its end.
    down = RISE * min(crouch, 0.3) * max(0.0, 1 - min(crouch, 0.3) / 0.6)
    return 0.8 * flight, down - RISE * flight + 9.81 / 2 * flight**2 + 3.0 * after


def line(seconds: float) -> tuple[float, float]:
    """Metres of one who walks."""
    return 1.5 * seconds - 3.0, 1.0


def film(
    path: Callable[[float], tuple[float, float]] = fall,
    *,
    seconds: float = 4.0,
    fps: float = FPS,
    pan: float = 12.0,
    slow: float = 1.0,
    seed: int = 0,
) -> Film:
    """Draw a film; the camera pans by so many pixels a second, to the right and half as fast downward."""
    back = world(seed)
    rng = np.random.default_rng(seed + 1)
    frames, centres = [], []
    water = HEIGHT // 2 - 20 + PX_PER_M * (fall(ENTRY_S)[1] + 1.0)
    for index in range(round(seconds * fps * slow)):
        now = index / fps / slow
        over, down = pan * now, pan * now / 2
        shift = np.array([[1, 0, -over - 60], [0, 1, -down - 60]])
        frame = cv2.warpAffine(back, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        x, y = path(now)
        centre = np.array([WIDTH / 2 + PX_PER_M * x - over, HEIGHT / 2 - 20 + PX_PER_M * y - down])
        angle = 300.0 * now
        visible = frame.copy()
        axes = (round(0.6 * PX_PER_M), round(0.3 * PX_PER_M))
        cv2.ellipse(visible, tuple(np.rint(centre).astype(int).tolist()), axes, angle, 0, 360, (230, 120, 60), -1)
        if path is fall and now > ENTRY_S:
            visible[max(0, round(water - down)) :] = frame[max(0, round(water - down)) :]
            spray = rng.normal(0, 0.4 * PX_PER_M, (60, 2)) + np.array([centre[0], water - down])
            for drop in np.rint(spray).astype(int).tolist():
                cv2.circle(visible, tuple(drop), 2, (255, 255, 255), -1)
        frames.append(visible)
        centres.append(centre)
    return Film(frames, np.array(centres))


@pytest.fixture(scope="session")
def dive() -> Film:
    return film()
