"""From a simulated dive and a venue seed to frames and exact masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from finecausal_cli.diving.difficulty import apparatus
from finecausal_cli.simulator.body import JOINT, Array
from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera
from finecausal_cli.simulator.dive import FPS, SimulatedDive
from finecausal_cli.simulator.figure import Figure, Look
from finecausal_cli.simulator.scene import Scene
from finecausal_cli.simulator.venue import Venue, draw_venue
from finecausal_cli.simulator.water import Splash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_MOST_INSTANTS = 3
"""Sub-frames at most that are accumulated for motion blur."""

_BLUR_STEP_PX = 3.0
_UNDER_WATER = 0.22
"""How much of the body shines through the surface."""

_NOISE_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything a picture needs beyond the dive, drawn from the venue seed.

    Attributes:
        venue: Pool, hall and light.
        camera: Where from.
        shutter: Share of the frame interval that the shutter is open.
        seed: The venue seed.
    """

    venue: Venue
    camera: Camera
    shutter: float
    seed: tuple[int, ...]

    @classmethod
    def draw(cls, seed: tuple[int, ...], style: int | None = None) -> Setting:
        """Draw a setting; ``style`` fixes the kind of venue."""
        rng = np.random.default_rng(np.random.SeedSequence((*seed, 1)))
        return cls(draw_venue(rng, style), Camera.draw(rng), float(rng.uniform(0.18, 0.36)), seed)

    def record(self) -> dict[str, Any]:
        """Return the setting's facts as plain data."""
        camera = self.camera
        return {
            "venue_seed": list(self.seed),
            "venue": self.venue.style.name,
            "camera": {
                "azimuth_deg": round(float(np.degrees(camera.azimuth)), 3),
                "elevation_deg": round(float(np.degrees(camera.elevation)), 3),
                "fill": round(camera.fill, 4),
                "mirrored": camera.mirrored,
            },
        }


def render(simulated: SimulatedDive, setting: Setting) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield frame (uint8 RGB [256, 456, 3]) and mask (uint8 [256, 456], 0 or 255) in turn."""
    motion, camera, venue = simulated.motion, setting.camera, setting.venue
    rng = np.random.default_rng(np.random.SeedSequence((*simulated.seed, 2)))
    grain = np.random.default_rng(np.random.SeedSequence((*setting.seed, 3)))
    look = Look.draw(rng, motion.athlete)
    times = np.arange(simulated.frames) / FPS
    views = camera.follow(motion, times)
    counts = _instants(simulated, setting, times, views)
    moments = np.concatenate(
        [t + setting.shutter / FPS * ((np.arange(n) + 0.5) / n - 0.5) for t, n in zip(times, counts, strict=True)]
    )
    figure = Figure.of(motion.body(np.clip(moments, 0, None)), motion.athlete, look, camera, venue.style.light)
    splash = _splash(rng, simulated)
    scene = Scene(venue, camera, simulated.height_m, apparatus(simulated.height_m) == "springboard")
    surface = camera.screen(splash.place)
    fields = grain.normal(0, venue.noise, (_NOISE_FIELDS, HEIGHT, WIDTH, 3)).astype(np.float32)
    noise = np.clip(np.round(fields), -40, 40).astype(np.int16)
    gain = np.array(venue.gain)
    curve = [np.clip(np.arange(256) * g, 0, 255).astype(np.uint8) for g in gain]
    table = np.stack(curve, axis=-1)[None]

    first = 0
    for frame, time in enumerate(times):
        view, last = views[frame], first + counts[frame]
        picture = scene.paint(view, float(time), float(motion.track(motion.board_dip, time[None])[0]))
        waterline = HEIGHT / 2 - (surface[1] - view[1]) * view[2]
        mask = _add_athlete(picture, figure, range(first, last), (camera, view), waterline)
        splash.paint(picture, camera, view, float(time) - motion.contact_s)
        graded = cv2.LUT(picture, table)
        pick = noise[int(grain.integers(_NOISE_FIELDS))]
        noisy = cv2.add(graded, np.roll(pick, int(grain.integers(HEIGHT)), axis=0), dtype=cv2.CV_8U)
        yield np.asarray(noisy, np.uint8), mask
        first = last


def _instants(simulated: SimulatedDive, setting: Setting, times: Array, views: Array) -> list[int]:
    """Return how many instants each frame accumulates, by how far fingers and toes move in the picture."""
    motion, camera = simulated.motion, setting.camera
    open_s = setting.shutter / FPS
    ends = [JOINT[name] for name in ("finger_l", "finger_r", "toe_l", "toe_r", "vertex")]
    start, stop = (
        camera.screen(motion.body(np.clip(times + offset, 0, None))[:, ends])[..., :2]
        for offset in (-open_s / 2, open_s / 2)
    )
    pan = np.gradient(views[:, :2], times, axis=0) * open_s
    shift = np.linalg.norm(stop - start - pan[:, None], axis=-1).max(axis=1) * views[:, 2]
    return [int(n) for n in np.clip(np.ceil(shift / _BLUR_STEP_PX), 1, _MOST_INSTANTS)]


def _splash(rng: np.random.Generator, simulated: SimulatedDive) -> Splash:
    motion = simulated.motion
    body = motion.body(np.array([motion.contact_s]))[0]
    lowest = body[body[:, 2].argmin()]
    centre = body.mean(axis=0)
    place = np.array([0.7 * lowest[0] + 0.3 * centre[0], 0.0, 0.0])
    return Splash.of(rng, place, simulated.seen.splash, float(np.clip((centre[0] - lowest[0]) * 0.6, -0.8, 0.8)))


def _add_athlete(
    picture: NDArray[np.uint8],
    figure: Figure,
    instants: range,
    place: tuple[Camera, Array],
    waterline: float,
) -> NDArray[np.uint8]:
    """Blend the athlete into ``picture`` in place and return the mask of what is seen above the water."""
    camera, view = place
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    box = figure.box(slice(instants.start, instants.stop), camera, view)
    if box is None:
        return mask
    left, top, right, bottom = box
    total = np.zeros((bottom - top, right - left, 4), np.float32)
    for instant in instants:
        cv2.accumulate(figure.paint(instant, camera, view, box), total)
    total /= len(instants)
    dry = np.clip(waterline - np.arange(top, bottom), 0, 1).astype(np.float32)[:, None]
    cover = total[..., 3] / 255
    mask[top:bottom, left:right] = np.where(cover * dry >= 0.5, 255, 0)
    strength = (dry + (1 - dry) * _UNDER_WATER)[..., None]
    window = picture[top:bottom, left:right]
    blended = window * (1 - cover[..., None] * strength) + total[..., :3] * strength
    picture[top:bottom, left:right] = np.clip(blended, 0, 255).astype(np.uint8)
    return mask
