"""Dives as people film them: any side, any background, any light, any file. See `simulate --world wild`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from finecausal_cli.diving.difficulty import apparatus
from finecausal_cli.simulator.body import JOINT, Array
from finecausal_cli.simulator.figure import Figure, window
from finecausal_cli.simulator.footage import Film, Footage
from finecausal_cli.simulator.look import Look
from finecausal_cli.simulator.render import draw_splash, mean_of
from finecausal_cli.simulator.timing import Timing, draw_timing
from finecausal_cli.simulator.venue import Venue, draw_venue
from finecausal_cli.simulator.water import FOAM
from finecausal_cli.simulator.wild_camera import WildCamera, draw_size
from finecausal_cli.simulator.wild_scene import (
    Backdrop,
    Tower,
    draw_tower,
    paint_plank,
    paint_texture,
    place_backdrop,
    plank,
    plank_hides,
    read_photo,
    venue_place,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.simulator.dive import SimulatedDive
    from finecausal_cli.simulator.motion import Motion
    from finecausal_cli.simulator.styles import Colour

_MOST_INSTANTS = 8
_BLUR_STEP_PX = 3.0
_FINE_INSTANTS = 2
_UNDER_WATER, _SINKS_S = 0.34, 0.45
_BOARD: Colour = (196, 206, 212)
_PHOTO_SHARE, _VENUE_SHARE = 0.72, 0.6
_WATER_SHARE = 0.62
_WITHOUT_TOWER = 0.06
_SMEAR_PX = 1.5


@dataclass(frozen=True, slots=True)
class WildPicture:
    """One frame of a filmed dive.

    Attributes:
        frame: uint8 RGB.
        mask: uint8, 255 where the athlete is seen.
        hidden: uint8, not 0 where something stands before the athlete, or None.
    """

    frame: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    hidden: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class WildSetting:
    """Everything that a filmed dive's file needs beyond the dive, drawn from the venue seed.

    Attributes:
        venue: Colours of tower and water, the light on the athlete.
        camera: Where from.
        timing: Which part of the dive, and the file's clock.
        footage: Light, colour, blur, grain and compression.
        photo: The photograph behind it, or None.
        seed: The venue seed.
    """

    venue: Venue
    camera: WildCamera
    timing: Timing
    footage: Footage
    photo: str | None
    seed: tuple[int, ...]

    @classmethod
    def draw(
        cls, seed: tuple[int, ...], simulated: SimulatedDive, kind: str, photos: Sequence[str], style: int | None = None
    ) -> WildSetting:
        """Draw a setting; ``kind`` is the part of the dive that the file shows, ``photos`` are paths to choose from."""
        rng = np.random.default_rng(np.random.SeedSequence((*seed, 7)))
        size = draw_size(rng)
        camera = WildCamera.draw(rng, size)
        footage = Footage.draw(rng, seed, min(size))
        timing = draw_timing(rng, simulated.motion, simulated.duration_s, kind)
        has_photo, which = rng.random() < _PHOTO_SHARE, rng.random()
        photo = photos[int(which * len(photos))] if photos and has_photo else None
        venue = draw_venue(rng, style)
        light, gain = float(rng.uniform(0.2, 1.0)), rng.uniform(0.75, 1.2) * rng.normal(1, 0.06, 3)
        venue = replace(venue, light=light, gain=(float(gain[0]), float(gain[1]), float(gain[2])))
        return cls(venue, camera, timing, footage, photo, seed)

    def record(self) -> dict[str, Any]:
        """Return the setting's facts as plain data."""
        return {
            "world": "wild",
            "venue_seed": list(self.seed),
            "venue": self.venue.style.name,
            "background": "painted" if self.photo is None else "photograph",
            "crf": self.footage.crf,
            "camera": self.camera.record(),
            "footage": self.footage.record(),
        }


def render_wild(simulated: SimulatedDive, setting: WildSetting) -> Iterator[WildPicture]:
    """Yield the frames of a filmed dive in turn."""
    motion, camera, venue, timing = simulated.motion, setting.camera, setting.venue, setting.timing
    rng = np.random.default_rng(np.random.SeedSequence((*setting.seed, 8)))
    look = Look.draw(np.random.default_rng(np.random.SeedSequence((*simulated.seed, 2))), motion.athlete)
    times = timing.real_s
    views = camera.views(motion, times)
    open_s = setting.footage.shutter / (timing.fps * timing.time_scale)
    counts, moments = _instants(simulated, camera, times, open_s)
    joints = motion.body(np.clip(moments, 0, None))
    figure = Figure.of(joints, motion.athlete, look, camera, venue)
    moment_views = camera.views(motion, moments)
    splash = draw_splash(rng, simulated, venue.seen(FOAM))
    backdrop = _draw_backdrop(rng, setting, views, float(camera.screen(splash.place)[1]))
    on_springboard = apparatus(simulated.height_m) == "springboard"
    solids = draw_tower(rng, venue, simulated.height_m, springboard=on_springboard)
    stands = rng.random() >= _WITHOUT_TOWER
    tower = Tower(solids if stands else [], camera, venue)
    dips = motion.track(motion.board_dip, times)
    film = Film(setting.footage, camera.size)
    shutter = _smears(camera, motion, times, open_s)

    first = 0
    for frame, (time, count) in enumerate(zip(times.tolist(), counts, strict=True)):
        view, since = views[frame], time - motion.contact_s
        file_s = float(timing.times_s[frame])
        picture = _smear(backdrop.paint(camera, view, time, venue), shutter[frame])
        body = joints[first]
        corners = body.min(axis=0) - 0.02, body.max(axis=0) + 0.02
        before = tower.hiding(*corners)
        tower.paint(picture, view, ~before)
        board = plank(simulated.height_m, float(dips[frame])) if on_springboard and stands else []
        board_first = not (board and plank_hides(camera, simulated.height_m, *corners))
        if board_first:
            paint_plank(picture, camera, view, board, venue.seen(_BOARD))
        water = None
        if since > -0.02:
            ground = camera.screen(body.mean(axis=0) * (1, 1, 0))
            water = float(ground[1]), _UNDER_WATER * exp(-max(since, 0.0) / _SINKS_S)
        instants = range(first, first + count)
        mask = _add_athlete(picture, figure, instants, (camera, moment_views), water)
        splash.paint(picture, camera, view, since)
        hidden = None
        if before.any() or not board_first:
            hidden = np.zeros(mask.shape, np.uint8)
            for canvas in (picture, hidden):
                tower.paint(canvas, view, before)
                if not board_first:
                    paint_plank(canvas, camera, view, board, venue.seen(_BOARD))
            mask[hidden > 0] = 0
        yield WildPicture(film.copy(film.develop(picture, file_s)), mask, hidden)
        first += count


def _draw_backdrop(rng: np.random.Generator, setting: WildSetting, views: Array, surface_m: float) -> Backdrop:
    """Draw what stands behind, with or without water; ``surface_m`` is where the water is met, screen metres."""
    camera = setting.camera
    reach = float(rng.uniform(3, 18)) * max(np.sin(camera.elevation), 0.01)
    edge = surface_m + max(reach, float(rng.uniform(0.05, 0.5)))
    if setting.photo is None and rng.random() < _VENUE_SHARE:
        return Backdrop(setting.venue.far, venue_place(), edge, "venue")
    picture = paint_texture(rng) if setting.photo is None else read_photo(setting.photo)
    hung, place = place_backdrop(rng, picture, camera, views)
    has_water = rng.random() < _WATER_SHARE
    return Backdrop(hung, place, edge if has_water else None, "painting" if setting.photo is None else "photograph")


def _instants(simulated: SimulatedDive, camera: WildCamera, times: Array, open_s: float) -> tuple[list[int], Array]:
    """Return how many instants each frame accumulates, by how far limbs move in the picture, and their moments."""
    motion = simulated.motion
    ends = [JOINT[name] for name in ("finger_l", "finger_r", "toe_l", "toe_r", "vertex")]
    seen = []
    for offset in (-open_s / 2, open_s / 2):
        screen = camera.screen(motion.body(np.clip(times + offset, 0, None))[:, ends])[..., :2]
        view = camera.views(motion, times + offset)
        seen.append(np.einsum("nij,nkj->nki", view[:, :, :2], screen) + view[:, None, :, 2])
    shift = np.linalg.norm(seen[1] - seen[0], axis=-1).max(axis=1)
    counts = np.clip(np.ceil(shift / _BLUR_STEP_PX), 1, _MOST_INSTANTS).astype(int).tolist()
    moments = [t + open_s * ((np.arange(n) + 0.5) / n - 0.5) for t, n in zip(times, counts, strict=True)]
    return counts, np.concatenate(moments)


def _smears(camera: WildCamera, motion: Motion, times: Array, open_s: float) -> Array:
    """Return how far the still world moves in the picture while the shutter is open, [frames, 2] pixels."""
    start, stop = (camera.views(motion, times + offset) for offset in (-open_s / 2, open_s / 2))
    inverse = np.linalg.inv(start[:, :, :2])
    middle = np.array(camera.size) / 2
    ground = np.einsum("nij,nj->ni", inverse, middle - start[:, :, 2])
    return np.asarray(np.einsum("nij,nj->ni", stop[:, :, :2], ground) + stop[:, :, 2] - middle)


def _smear(picture: NDArray[np.uint8], shift: Array) -> NDArray[np.uint8]:
    """Blur a picture along a shift in pixels."""
    length = float(np.linalg.norm(shift))
    if length < _SMEAR_PX:
        return picture
    side = 2 * int(min(length, 40) / 2 + 0.5) + 1
    end = shift / length * (side - 1) / 2
    kernel = np.zeros((side, side), np.float32)
    middle = (side - 1) / 2
    ends = [tuple(np.rint((middle + sign * end) * 16).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _add_athlete(
    picture: NDArray[np.uint8],
    figure: Figure,
    instants: range,
    place: tuple[WildCamera, Array],
    water: tuple[float, float] | None,
) -> NDArray[np.uint8]:
    """Blend the athlete into ``picture`` in place and return the mask of what is seen above the water.

    ``water`` is the screen height of the surface at the athlete and how much shines through it, None before the water
    is met.
    """
    camera, views = place
    width, height = camera.size
    mask = np.zeros((height, width), np.uint8)
    outlines = np.stack([camera.pixels(figure.outline[k], views[k]) for k in instants])
    box = window(outlines[:, :, [0, -1]], camera.size)
    if box is None:
        return mask
    left, top, right, bottom = box
    oversample = 2 if len(instants) <= _FINE_INSTANTS else 1
    painted = [figure.paint(k, outline, box, oversample) for k, outline in zip(instants, outlines, strict=True)]
    body = painted[0] if len(painted) == 1 else mean_of(painted)
    seen = body[..., 3] > 127
    if water is not None:
        level, shines = water
        to_screen = cv2.invertAffineTransform(views[instants[len(instants) // 2]])
        x, y = np.arange(left, right) + 0.5, np.arange(top, bottom)[:, None] + 0.5
        wet = to_screen[1, 0] * x + to_screen[1, 1] * y + to_screen[1, 2] < level
        seen &= ~wet
        body[wet] = (body[wet] * shines).astype(np.uint8)
    mask[top:bottom, left:right][seen] = 255
    part = picture[top:bottom, left:right]
    lets_through = cv2.cvtColor(cv2.bitwise_not(np.ascontiguousarray(body[..., 3])), cv2.COLOR_GRAY2RGB)
    part[:] = cv2.add(cv2.multiply(part, lets_through, scale=1 / 255), cv2.cvtColor(body, cv2.COLOR_RGBA2RGB))
    return mask
