"""Where the dive takes place: the pool, the hall behind it, the light. Drawn from a seed of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.simulator.backdrop import paint_far
from finecausal_cli.simulator.layer import scaled
from finecausal_cli.simulator.styles import STYLES, Colour, Style
from finecausal_cli.simulator.surface import paint_floor, paint_ripples

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STYLES", "Colour", "Style", "Venue", "draw_venue"]

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
