"""Dives as people film them: any side, any background, any light, any file. See `simulate --world wild`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from finecausal_cli.diving import apparatus
from finecausal_cli.simulator.athlete import JOINT, Array
from finecausal_cli.simulator.camera import WildCamera, draw_size
from finecausal_cli.simulator.dive import Timing, draw_timing
from finecausal_cli.simulator.figure import Appearance, Figure, window
from finecausal_cli.simulator.footage import Film, Footage, Obstacle, Overlay, inner_size
from finecausal_cli.simulator.render import FOAM, draw_splash, mean_of
from finecausal_cli.simulator.venue import Venue, draw_venue
from finecausal_cli.simulator.wild_scene import (
    Backdrop,
    Tower,
    add_pool_wall,
    add_spectators,
    draw_passers,
    draw_tower,
    paint_plank,
    paint_stands,
    paint_texture,
    place_backdrop,
    plank,
    plank_hides,
    read_photo,
    venue_to_pixels,
    without_screens,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.simulator.backdrop import Colour
    from finecausal_cli.simulator.dive import SimulatedDive
    from finecausal_cli.simulator.motion import Motion
    from finecausal_cli.simulator.wild_scene import Solid

_MOST_INSTANTS = 12
_BLUR_STEP_PX = 3.0
_FINE_INSTANTS = 2
_UNDER_WATER, _SINKS_S = 0.34, 0.45
_BOARD: Colour = (196, 206, 212)
_PHOTO_SHARE, _VENUE_SHARE = 0.66, 0.5
_STANDS_SHARE, _WALL_SHARE = 0.5, 0.5
_WATER_SHARE = 0.62
_WITHOUT_TOWER, _HIDDEN_SHARE = 0.06, 0.05
_INTRO_SHARE, _LEAST_LEAD_S = 0.1, 1.5
"""How often another shot precedes the dive's, and the file's time from its end to the take-off, at least."""

_SMEAR_PX, _LONG_SMEAR_PX = 1.5, 6.0
_NEARER_M = 0.4
_MEETS_WATER_S = 0.02


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
class WildSceneConfig:
    """The scene of a filmed dive: venue, camera, timing, footage and graphics, drawn from the venue seed.

    Attributes:
        venue: Colours of tower and water, the light on the athlete.
        camera: Where from.
        timing: Which part of the dive, and the file's clock.
        footage: Light, colour, blur, grain and compression.
        overlay: Graphics and bars.
        photo: The photograph behind it, or None.
        intro_s: Until when the file shows another shot, seconds.
        seed: The venue seed.
    """

    venue: Venue
    camera: WildCamera
    timing: Timing
    footage: Footage
    overlay: Overlay
    photo: str | None
    intro_s: float
    seed: tuple[int, ...]

    @classmethod
    def draw(
        cls,
        seed: tuple[int, ...],
        shown: tuple[Motion, float],
        kind: str,
        photos: Sequence[str],
        style: int | None = None,
    ) -> WildSceneConfig:
        """Draw a config.

        Args:
            seed: The venue seed.
            shown: The motion, and for how long it lasts.
            kind: Which part of the dive the file shows, see `timing`.
            photos: Paths of photographs to choose from.
            style: Fixes the kind of venue.
        """
        motion, duration_s = shown
        rng = np.random.default_rng(np.random.SeedSequence((*seed, 7)))
        size = draw_size(rng)
        inner = inner_size(rng, size)
        camera = WildCamera.draw(rng, size, inner)
        footage = Footage.draw(rng, seed, min(size))
        timing = draw_timing(rng, motion, duration_s, kind)
        overlay = Overlay.draw(rng, size, inner)
        has_photo, which = rng.random() < _PHOTO_SHARE, rng.random()
        photo = photos[int(which * len(photos))] if photos and has_photo else None
        venue = draw_venue(rng, style)
        light, gain = float(rng.uniform(0.2, 1.0)), rng.uniform(0.75, 1.2) * rng.normal(1, 0.06, 3)
        venue = replace(venue, light=light, gain=(float(gain[0]), float(gain[1]), float(gain[2])))
        spare = timing.in_file(motion.leave_s) - _LEAST_LEAD_S
        has_intro, until = rng.random() < _INTRO_SHARE, float(rng.uniform(0.3, max(spare, 0.4)))
        intro_s = until if has_intro and spare > 1 else 0.0
        return cls(venue, camera, timing, footage, overlay, photo, intro_s, seed)

    def record(self) -> dict[str, Any]:
        """Return the scene as plain data."""
        return {
            "world": "wild",
            "venue_seed": list(self.seed),
            "venue": self.venue.style.name,
            "background": "painted" if self.photo is None else "photograph",
            "crf": self.footage.crf,
            "camera": self.camera.record(),
            "footage": self.footage.record(),
            "graphics": list(self.overlay.kinds),
            "intro_s": round(self.intro_s, 6),
        }


@dataclass(frozen=True, slots=True)
class Act:
    """The action in front of the camera: a dive, or a negative.

    Attributes:
        motion: Of the athlete; ``contact_s`` is when the water or the ground is met.
        seed: Seed of the athlete's appearance.
        height_m: Height of the board.
        solids: What stands there; None draws a tower for the board.
        has_plank: Whether there is a springboard's plank.
        splash: Size of the splash, 0..1, or None where there is no water.
        has_athlete: Whether the athlete is there at all.
    """

    motion: Motion
    seed: tuple[int, ...]
    height_m: float
    solids: tuple[Solid, ...] | None
    has_plank: bool
    splash: float | None
    has_athlete: bool = True

    @classmethod
    def of(cls, simulated: SimulatedDive) -> Act:
        """Return the act of a dive."""
        has_plank = apparatus(simulated.height_m) == "springboard"
        return cls(simulated.motion, simulated.seed, simulated.height_m, None, has_plank, simulated.seen.splash)


def render_wild(
    simulated: SimulatedDive, config: WildSceneConfig, frames: Sequence[int] | None = None
) -> Iterator[WildPicture]:
    """Yield the frames of a filmed dive in turn; ``frames`` are the frames to yield, None for all."""
    return render_act(Act.of(simulated), config, frames)


def render_act(act: Act, config: WildSceneConfig, frames: Sequence[int] | None = None) -> Iterator[WildPicture]:
    """Yield the frames of whatever is filmed, as ``render_wild`` does."""
    scene, timing = _Scene(act, config), config.timing
    film, overlay = Film(config.footage, config.camera.size, timing.frames), config.overlay
    intro = _Intro(config) if config.intro_s else None
    for frame in range(timing.frames) if frames is None else frames:
        file_s = float(timing.times_s[frame])
        is_intro = intro is not None and file_s < config.intro_s
        shot = intro.paint(file_s) if intro is not None and is_intro else scene.paint(frame)
        hidden = np.zeros(shot.mask.shape, np.uint8) if shot.hidden is None else shot.hidden
        hides = overlay.cover(hidden) or shot.hidden is not None
        if hides:
            shot.mask[hidden > 0] = 0
        picture = overlay.paint(film.develop(shot.frame, frame, file_s), file_s)
        yield WildPicture(film.copy(picture), shot.mask, hidden if hides else None)


class _Scene:
    """The dive before everything that stands and moves around it."""

    def __init__(self, act: Act, config: WildSceneConfig) -> None:
        self.motion, self.camera, self.venue = act.motion, config.camera, config.venue
        motion, camera, venue, timing = self.motion, self.camera, self.venue, config.timing
        rng = np.random.default_rng(np.random.SeedSequence((*config.seed, 8)))
        appearance = Appearance.draw(np.random.default_rng(np.random.SeedSequence((*act.seed, 2))), motion.athlete)
        self.times, self.height_m, self.has_athlete = timing.real_s, act.height_m, act.has_athlete
        self.views = camera.views(motion, self.times)
        open_s = config.footage.shutter / (timing.fps * timing.time_scale)
        counts, moments = _instants(motion, camera, self.times, open_s)
        self.first = np.concatenate([[0], np.cumsum(counts)]).tolist()
        self.joints = motion.body(np.clip(moments, 0, None))
        self.figure = Figure.of(self.joints, motion.athlete, appearance, camera, venue)
        self.moment_views = camera.views(motion, moments)
        self.shifts = _smears(camera, motion, self.times, open_s)
        self.splash = draw_splash(rng, motion, act.splash or 0.0, venue.seen(FOAM))
        surface = camera.screen(self.splash.origin)[:2]
        self.has_water = act.splash is not None
        self.backdrop = _draw_backdrop(rng, config, self.views, float(surface[1]) if self.has_water else None)
        if act.solids is None:
            looks_down = camera.elevation > 0
            solids = draw_tower(rng, venue, act.height_m, springboard=act.has_plank, with_deck=looks_down)
        else:
            solids = list(act.solids)
        if rng.random() >= _HIDDEN_SHARE:
            flight = np.linspace(motion.leave_s, motion.contact_s, 24)
            solids = without_screens(solids, camera, motion.track(motion.centre, flight))
        stands = rng.random() >= _WITHOUT_TOWER or act.solids is not None
        self.tower, self.has_plank = Tower(solids if stands else [], camera, venue), act.has_plank and stands
        floor_m = float(surface[1]) + float(rng.uniform(0, 3)) if self.backdrop.edge_m is None else self.backdrop.edge_m
        add_spectators(rng, self.backdrop, camera, venue, floor_m)
        self.passers = draw_passers(rng, camera, venue, solids if stands else [], motion.leave_s)
        self.obstacle = Obstacle.draw(rng, surface) if self.has_water else None
        self.dips = motion.track(motion.board_dip, self.times)

    def paint(self, frame: int) -> WildPicture:
        """Return one frame before lens and sensor have their part in it."""
        camera, view, time = self.camera, self.views[frame], float(self.times[frame])
        instants = range(self.first[frame], self.first[frame + 1])
        body = self.joints[instants[0]]
        low, high = body.min(axis=0) - 0.02, body.max(axis=0) + 0.02
        depth = float(camera.screen(body.mean(axis=0))[2])
        nearer = [person.depth(camera, time) > depth + _NEARER_M for person in self.passers]
        hiding = self.tower.hiding(low, high)
        plank_is_nearer = self.has_plank and plank_hides(camera, self.height_m, low, high)

        picture = _smear(self.backdrop.paint(camera, view, time, self.venue), self.shifts[frame])
        self._paint_things(picture, frame, ~hiding, self.has_plank and not plank_is_nearer)
        self._paint_passers(picture, frame, [not near for near in nearer])
        since, water = time - self.motion.contact_s, None
        if since > -_MEETS_WATER_S and self.has_water:
            ground = camera.screen(body.mean(axis=0) * (1, 1, 0))
            water = float(ground[1]), _UNDER_WATER * exp(-max(since, 0.0) / _SINKS_S)
        mask = np.zeros(picture.shape[:2], np.uint8)
        if self.has_athlete:
            mask = _add_athlete(picture, self.figure, instants, (camera, self.moment_views), water)
        if self.has_water:
            self.splash.paint(picture, camera, view, since)
        if not (hiding.any() or plank_is_nearer or any(nearer) or self.obstacle):
            return WildPicture(picture, mask, None)
        hidden = np.zeros(mask.shape, np.uint8)
        for canvas in (picture, hidden):
            self._paint_things(canvas, frame, hiding, plank_is_nearer)
            self._paint_passers(canvas, frame, nearer)
            if self.obstacle is not None:
                self.obstacle.paint(canvas, camera, view)
        return WildPicture(picture, mask, hidden)

    def _paint_things(self, canvas: NDArray[np.uint8], frame: int, chosen: NDArray[np.bool_], with_plank: bool) -> None:
        view = self.views[frame]
        self.tower.paint(canvas, view, chosen)
        if with_plank:
            faces = plank(self.height_m, float(self.dips[frame]))
            paint_plank(canvas, self.camera, view, faces, self.venue.seen(_BOARD))

    def _paint_passers(self, canvas: NDArray[np.uint8], frame: int, chosen: list[bool]) -> None:
        for person, is_chosen in zip(self.passers, chosen, strict=True):
            if is_chosen:
                person.paint(canvas, self.camera, self.views[frame], float(self.times[frame]))


class _Intro:
    """Another shot that precedes the dive's: a picture that the camera drifts over."""

    def __init__(self, config: WildSceneConfig) -> None:
        rng = np.random.default_rng(np.random.SeedSequence((*config.seed, 10)))
        width, height = config.camera.size
        picture = paint_texture(rng) if config.photo is None else read_photo(config.photo)[:, ::-1]
        factor = 1.3 * max(width / picture.shape[1], height / picture.shape[0])
        self._picture = cv2.resize(np.ascontiguousarray(picture), None, fx=factor, fy=factor)
        self._size, self._drift = (width, height), rng.uniform(0, 0.08, 2)

    def paint(self, file_s: float) -> WildPicture:
        """Return the shot's frame at a time of the file."""
        width, height = self._size
        spare = np.array([self._picture.shape[1] - width, self._picture.shape[0] - height])
        left, top = (np.minimum(self._drift * file_s, 1) * spare).astype(int).tolist()
        frame = np.asarray(self._picture[top : top + height, left : left + width], np.uint8)
        nothing = np.zeros((height, width), np.uint8)
        return WildPicture(frame, nothing, np.full_like(nothing, 255))


def _draw_backdrop(
    rng: np.random.Generator, config: WildSceneConfig, views: Array, surface_m: float | None
) -> Backdrop:
    """Draw what stands behind; ``surface_m`` is where water is met, screen metres, None where there is none."""
    camera = config.camera
    reach = float(rng.uniform(3, 18)) * max(np.sin(camera.elevation), 0.01)
    edge = (surface_m or 0.0) + max(reach, float(rng.uniform(0.05, 0.5)))
    if config.photo is None and surface_m is not None and rng.random() < _VENUE_SHARE:
        return Backdrop(config.venue.far.copy(), venue_to_pixels(), edge, "venue")
    if config.photo is None:
        picture = paint_stands(rng) if rng.random() < _STANDS_SHARE else paint_texture(rng)
    else:
        picture = read_photo(config.photo)
    hung, to_pixels = place_backdrop(rng, picture, camera, views)
    has_water = rng.random() < _WATER_SHARE and surface_m is not None
    kind = "painting" if config.photo is None else "photograph"
    backdrop = Backdrop(hung, to_pixels, edge if has_water else None, kind)
    if rng.random() < _WALL_SHARE:
        add_pool_wall(rng, backdrop)
    return backdrop


def _instants(motion: Motion, camera: WildCamera, times: Array, open_s: float) -> tuple[list[int], Array]:
    """Return how many instants each frame accumulates, by how far limbs move in the picture, and their moments."""
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
    if length > _LONG_SMEAR_PX:  # half the pixels hold what such a blur leaves, at a tenth of the cost
        height, width = picture.shape[:2]
        half = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(_smear(np.asarray(half, np.uint8), shift / 2), (width, height)), np.uint8)
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
    camera_views: tuple[WildCamera, Array],
    water: tuple[float, float] | None,
) -> NDArray[np.uint8]:
    """Blend the athlete into ``picture`` in place and return the mask of what is seen above the water.

    ``water`` is the screen height of the surface at the athlete and how much shines through it, None before the water
    is met.
    """
    camera, views = camera_views
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
