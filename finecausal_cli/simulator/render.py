"""From a simulated dive and a venue seed to frames and exact masks."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from finecausal_cli.diving.difficulty import apparatus
from finecausal_cli.simulator.body import JOINT, Array
from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera
from finecausal_cli.simulator.dive import FPS, SimulatedDive
from finecausal_cli.simulator.figure import Figure, window
from finecausal_cli.simulator.look import Look
from finecausal_cli.simulator.scene import Scene
from finecausal_cli.simulator.venue import Venue, draw_venue
from finecausal_cli.simulator.water import FOAM, Splash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.simulator.motion import Motion
    from finecausal_cli.simulator.styles import Colour

_MOST_INSTANTS = 5
"""Sub-frames at most that are accumulated for motion blur."""

_FINE_INSTANTS = 2
"""Up to this many sub-frames each is anti-aliased; beyond, their sum is smooth enough."""

_BLUR_STEP_PX = 3.0
_UNDER_WATER = 0.34
"""How much of the body shines through the surface at the entry."""

_SINKS_S = 0.45
"""Time in which a body under water fades to a third."""

_GRAIN_MARGIN = 64
"""Rows and columns by which the noise field is larger than the picture, so that it can be shifted."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything a picture needs beyond the dive, drawn from the venue seed.

    Attributes:
        venue: Pool, hall and light.
        camera: Where from.
        shutter: Share of the frame interval that the shutter is open.
        crf: Constant rate factor with which the clip is compressed.
        seed: The venue seed.
    """

    venue: Venue
    camera: Camera
    shutter: float
    crf: int
    seed: tuple[int, ...]

    @classmethod
    def draw(cls, seed: tuple[int, ...], style: int | None = None) -> Setting:
        """Draw a setting; ``style`` fixes the kind of venue."""
        rng = np.random.default_rng(np.random.SeedSequence((*seed, 1)))
        camera, shutter, crf = Camera.draw(rng), float(rng.uniform(0.15, 0.34)), int(rng.integers(19, 27))
        return cls(draw_venue(rng, style), camera, shutter, crf, seed)

    def record(self) -> dict[str, Any]:
        """Return the setting's facts as plain data."""
        camera = self.camera
        return {
            "venue_seed": list(self.seed),
            "venue": self.venue.style.name,
            "crf": self.crf,
            "camera": {
                "azimuth_deg": round(float(np.degrees(camera.azimuth)), 3),
                "elevation_deg": round(float(np.degrees(camera.elevation)), 3),
                "fill": round(camera.fill, 4),
                "mirrored": camera.mirrored,
            },
        }


def render(
    simulated: SimulatedDive, setting: Setting, frames: Sequence[int] | None = None
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield frame (uint8 RGB [256, 456, 3]) and mask (uint8 [256, 456], 0 or 255) in turn.

    Args:
        simulated: The dive.
        setting: Venue and camera.
        frames: Numbers of the frames to yield, in that order; all when None. A frame does not depend on the others.
    """
    motion, camera, venue = simulated.motion, setting.camera, setting.venue
    rng = np.random.default_rng(np.random.SeedSequence((*simulated.seed, 2)))
    look = Look.draw(rng, motion.athlete)
    chosen = np.arange(simulated.frames) if frames is None else np.asarray(frames, dtype=int)
    times = chosen / FPS
    views = camera.follow(motion, np.arange(simulated.frames) / FPS)
    pan = np.gradient(views[:, :2], 1 / FPS, axis=0)[chosen]
    views = views[chosen]
    counts = _instants(simulated, setting, times, (views, pan))
    moments = np.concatenate(
        [t + setting.shutter / FPS * ((np.arange(n) + 0.5) / n - 0.5) for t, n in zip(times, counts, strict=True)]
    )
    joints = motion.body(np.clip(moments, 0, None))
    figure = Figure.of(joints, motion.athlete, look, camera, venue)
    splash = draw_splash(rng, motion, simulated.seen.splash, venue.seen(FOAM))
    scene = Scene(venue, camera, simulated.height_m, apparatus(simulated.height_m) == "springboard")
    surface = camera.screen(splash.place)
    dips = motion.track(motion.board_dip, times)
    film = _Film.of(setting, simulated.frames)

    first = 0
    for number, time, view, count, dip in zip(chosen, times.tolist(), views, counts, dips.tolist(), strict=True):
        picture = scene.paint(view, time, dip)
        body = joints[first]
        scene.shade(picture, view, body[body[:, 2].argmin()], dip)
        waterline = HEIGHT / 2 - (surface[1] - view[1]) * view[2]
        shines = _UNDER_WATER * exp(-max(time - motion.contact_s, 0.0) / _SINKS_S)
        mask = _add_athlete(picture, figure, range(first, first + count), (camera, view), (waterline, shines))
        splash.paint(picture, camera, view, time - motion.contact_s)
        yield film.expose(picture, int(number)), mask
        first += count


@dataclass(frozen=True, slots=True)
class _Film:
    """What lens and sensor add to a picture.

    Attributes:
        brighter: uint8 field of the noise's positive part, larger than the picture.
        darker: Its negative part.
        corners: uint8 [HEIGHT, WIDTH, 3] that the lens takes away, or None.
        shifts: [frames, 4] where the noise field of a frame begins, and for the negative part.
    """

    brighter: NDArray[np.uint8]
    darker: NDArray[np.uint8]
    corners: NDArray[np.uint8] | None
    shifts: NDArray[np.int64]

    @classmethod
    def of(cls, setting: Setting, frames: int) -> _Film:
        """Draw the noise of a clip from the venue seed."""
        rng = np.random.default_rng(np.random.SeedSequence((*setting.seed, 3)))
        size = (HEIGHT + _GRAIN_MARGIN, WIDTH + _GRAIN_MARGIN, 3)
        field = np.rint(rng.standard_normal(size, dtype=np.float32) * np.float32(setting.venue.noise))
        corners = None
        if setting.venue.falloff > 0:
            across = np.linspace(-1, 1, WIDTH) ** 2 + np.linspace(-1, 1, HEIGHT)[:, None] ** 2
            corners = np.repeat((setting.venue.falloff / 2 * across).astype(np.uint8)[..., None], 3, axis=2)
        shifts = rng.integers(_GRAIN_MARGIN, size=(frames, 4))
        return cls(np.maximum(field, 0).astype(np.uint8), np.maximum(-field, 0).astype(np.uint8), corners, shifts)

    def expose(self, picture: NDArray[np.uint8], frame: int) -> NDArray[np.uint8]:
        """Return the picture with noise and darker corners."""
        if self.corners is not None:
            picture = np.asarray(cv2.subtract(picture, self.corners), np.uint8)
        a, b, c, d = self.shifts[frame].tolist()
        brighter = cv2.add(picture, self.brighter[a : a + HEIGHT, b : b + WIDTH])
        return np.asarray(cv2.subtract(brighter, self.darker[c : c + HEIGHT, d : d + WIDTH]), np.uint8)


def _instants(simulated: SimulatedDive, setting: Setting, times: Array, led: tuple[Array, Array]) -> list[int]:
    """Return how many instants each frame accumulates, by how far fingers and toes move in the picture."""
    motion, camera = simulated.motion, setting.camera
    views, pan = led
    open_s = setting.shutter / FPS
    ends = [JOINT[name] for name in ("finger_l", "finger_r", "toe_l", "toe_r", "vertex")]
    start, stop = (
        camera.screen(motion.body(np.clip(times + offset, 0, None))[:, ends])[..., :2]
        for offset in (-open_s / 2, open_s / 2)
    )
    shift = np.linalg.norm(stop - start - pan[:, None] * open_s, axis=-1).max(axis=1) * views[:, 2]
    return [int(n) for n in np.clip(np.ceil(shift / _BLUR_STEP_PX), 1, _MOST_INSTANTS)]


def draw_splash(rng: np.random.Generator, motion: Motion, size: float, colour: Colour) -> Splash:
    """Draw a splash of a size (0..1) where a motion meets the water."""
    body = motion.body(np.array([motion.contact_s]))[0]
    lowest = body[body[:, 2].argmin()]
    centre = body.mean(axis=0)
    place = np.array([0.7 * lowest[0] + 0.3 * centre[0], 0.0, 0.0])
    slant = float(np.clip((centre[0] - lowest[0]) * 0.6, -0.8, 0.8))
    return Splash.of(rng, place, size, slant, colour)


def _add_athlete(
    picture: NDArray[np.uint8],
    figure: Figure,
    instants: range,
    place: tuple[Camera, Array],
    water: tuple[float, float],
) -> NDArray[np.uint8]:
    """Blend the athlete into ``picture`` in place and return the mask of what is seen above the water."""
    camera, view = place
    waterline, shines = water
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    outlines = camera.pixels(figure.outline[instants.start : instants.stop], view)
    box = window(outlines[:, :, [0, -1]], camera.size)
    if box is None or (waterline < box[1] and shines < 0.01):
        return mask
    left, top, right, bottom = box
    oversample = 2 if len(instants) <= _FINE_INSTANTS else 1
    painted = [
        figure.paint(instant, outline, box, oversample) for instant, outline in zip(instants, outlines, strict=True)
    ]
    body = painted[0] if len(painted) == 1 else mean_of(painted)
    cover = body[..., 3]
    dry = min(max(int(waterline), top), bottom)
    mask[top:dry, left:right] = np.where(cover[: dry - top] > 127, np.uint8(255), np.uint8(0))
    if dry < bottom:
        body[dry - top :] = cv2.convertScaleAbs(body[dry - top :], alpha=shines)
    part = picture[top:bottom, left:right]
    lets_through = cv2.cvtColor(cv2.bitwise_not(np.ascontiguousarray(cover)), cv2.COLOR_GRAY2RGB)
    part[:] = cv2.add(cv2.multiply(part, lets_through, scale=1 / 255), cv2.cvtColor(body, cv2.COLOR_RGBA2RGB))
    return mask


def mean_of(painted: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the mean of equally large pictures, as sub-frames add up to a blurred one."""
    total = np.zeros(painted[0].shape, np.float32)
    for body in painted:
        cv2.accumulate(body, total)
    return np.asarray(cv2.convertScaleAbs(total, alpha=1 / len(painted)), np.uint8)
