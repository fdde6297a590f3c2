"""Render a dive in a venue, water included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import cos, exp, sin
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from finecausal_cli.diving import apparatus
from finecausal_cli.simulator.athlete import JOINT, Array
from finecausal_cli.simulator.backdrop import FAR_LEFT_M, FAR_RATE, FAR_TOP_M, scaled
from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera
from finecausal_cli.simulator.dive import FPS, SimulatedDive
from finecausal_cli.simulator.figure import Appearance, Figure, window
from finecausal_cli.simulator.venue import SURFACE_RATE, Venue, build, draw_venue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.simulator.backdrop import Colour
    from finecausal_cli.simulator.camera import Projection
    from finecausal_cli.simulator.motion import Motion


# The splash: drops, mist, foam and rings that follow from how the body meets the water.

_GRAVITY = 9.81
_DROPS = 420
FOAM: Colour = (236, 243, 248)
"""Colour of drops and foam in white light."""

_STREAK_S = 0.012
"""Time a drop draws its streak for."""

_BREAKS_UP_S = 0.25
"""When foam begins to break up."""

_BUBBLES_LAST_S = 2.0
"""Time in which the cloud of bubbles under the surface falls to a third."""

_RING_SPEED = 0.9
"""Speed at which the rings spread, m/s."""

_RINGS_LAST_S = 2.2
_FOAM_LASTS_S = (0.55, 1.3)
"""Time in which foam falls to a third, for a rip entry and what the biggest splash adds."""


@lru_cache(maxsize=1)
def _patches() -> NDArray[np.uint8]:
    """Return smooth noise [64, 256], 0..255, along which foam breaks up."""
    rng = np.random.default_rng(20)
    noise = cv2.GaussianBlur(rng.standard_normal((64, 256)).astype(np.float32), (0, 0), 3.6, sigmaY=1.1)
    rank = noise.ravel().argsort().argsort().reshape(noise.shape)
    return np.asarray(rank * 255 // noise.size, np.uint8)


@dataclass(frozen=True, slots=True)
class Splash:
    """One splash as the flight of its drops.

    Attributes:
        origin: [3] where the water is met, metres.
        size: 0 (rip) to 1.
        colour: Of the foam, as the camera sees it.
        born: [D] seconds after contact at which each drop leaves the surface.
        velocity: [D, 3] m/s.
        offset: [D, 3] start relative to ``origin``, metres.
        radius: [D] metres.
    """

    origin: Array
    size: float
    colour: Colour
    born: Array
    velocity: Array
    offset: Array
    radius: Array

    @classmethod
    def of(cls, rng: np.random.Generator, origin: Array, size: float, slant: float, colour: Colour = FOAM) -> Splash:
        """Draw the drops; ``slant`` (radians) throws them to the side that the body leans to."""
        count = int(40 + _DROPS * size)
        born = rng.uniform(0.0, 0.10 + 0.16 * size, count) + rng.exponential(0.03, count)
        rise = (1.3 + 5.6 * size) * rng.beta(2.2, 1.6, count) * (1 - 0.8 * np.clip(born - 0.1, 0, 0.5))
        around = rng.uniform(0, 2 * np.pi, count)
        spread = (0.25 + 0.22 * rise) * rng.beta(2.0, 2.0, count) * 1.2
        velocity = np.stack([spread * np.cos(around) + 1.3 * slant, spread * np.sin(around), rise], axis=-1)
        ring = (0.10 + 0.28 * size) * np.sqrt(rng.random(count))
        offset = np.stack([ring * np.cos(around), ring * np.sin(around), np.zeros(count)], axis=-1)
        radius = 0.008 + 0.026 * (0.7 + 0.5 * size) * rng.beta(1.3, 3.0, count)
        return cls(origin, size, colour, born, velocity, offset, radius)

    def _flying(self, since: float) -> tuple[Array, Array, Array]:
        """Return positions [K, 3] of the drops in the air now and an instant ago, and their radii [K]."""
        age = since - self.born
        position = self.origin + self.offset + self.velocity * age[:, None]
        position[:, 2] -= 0.5 * _GRAVITY * age**2
        up = (age > 0) & (position[:, 2] > 0)
        speed = self.velocity[up] - np.array([0, 0, _GRAVITY]) * age[up, None]
        return position[up], position[up] - speed * _STREAK_S, self.radius[up]

    def paint(self, picture: NDArray[np.uint8], camera: Projection, view: Array, since: float) -> None:
        """Blend the splash ``since`` seconds after contact into an RGB picture, in place."""
        if since < 0:
            return
        (width, height), elevation = camera.size, max(camera.elevation, 0.0)
        scale, flatness = camera.scale(view), sin(elevation) + 0.03
        middle = camera.pixels(camera.screen(self.origin), view)
        drops, before, radius = self._flying(since)
        pixels = camera.pixels(camera.screen(np.stack([drops, before])), view)
        ring = 0.35 + _RING_SPEED * since
        rise = float(np.ptp(np.append(pixels[0, :, 1], middle[1]))) + 0.55 * scale
        half = max(2.0, min(ring, 3.2)) * scale
        left, right = int(max(middle[0] - half, 0)), int(min(middle[0] + half, width))
        top = int(max(middle[1] - max(rise, (ring + 0.2) * flatness * scale), 0))
        bottom = int(min(middle[1] + ((max(ring, 1.5) + 0.3) * flatness + 0.15) * scale, height))
        if right - left < 4 or bottom - top < 4:
            return
        centre = (int(middle[0]) - left, int(middle[1]) - top)
        pixels -= (left, top)
        soft = np.zeros((bottom - top, right - left), np.uint8)
        self._draw_foam(soft, centre, (scale, elevation), since)
        self._draw_rings(soft, centre, (scale, flatness), since)
        for (x, y), size in zip(pixels[0, ::4].astype(int).tolist(), (radius[::4] * scale * 3.2).tolist(), strict=True):
            cv2.circle(soft, (x, y), int(size + 1.5), 84, -1)
        cover = cv2.GaussianBlur(soft, (0, 0), 2.0 * cos(elevation))
        if len(radius):
            cover = cv2.max(cover, _draw_drops(soft.shape, pixels, radius * scale))
        alpha = cv2.cvtColor(cover, cv2.COLOR_GRAY2RGB)
        part = picture[top:bottom, left:right]
        foam = np.empty_like(part)
        foam[:] = self.colour
        under = cv2.multiply(part, cv2.bitwise_not(alpha), scale=1 / 255)
        part[:] = cv2.add(under, cv2.multiply(foam, alpha, scale=1 / 255))

    def _draw_foam(
        self, soft: NDArray[np.uint8], centre: tuple[int, int], lens: tuple[float, float], since: float
    ) -> None:
        """Draw foam and the mound of water; ``lens`` is the scale and the camera's elevation."""
        scale, elevation = lens
        grown = 1 - exp(-since / 0.18)
        wide = (0.22 + 1.05 * self.size) * grown + 0.1 + 0.12 * since
        flat = wide * (sin(elevation) + 0.05) + 0.04 + 0.10 * self.size * exp(-since / 0.5)
        fade = exp(-since / (_FOAM_LASTS_S[0] + _FOAM_LASTS_S[1] * self.size))
        axes = (max(int(wide * scale), 2), max(int(flat * scale), 1))
        cv2.ellipse(soft, centre, axes, 0, 0, 360, int(215 * fade), -1)
        if since > _BREAKS_UP_S:
            self._break_up(soft, since)
            bubbles = (30 + 70 * self.size) * (1 - exp(-(since - _BREAKS_UP_S) / 0.3)) * exp(-since / _BUBBLES_LAST_S)
            rising = np.zeros_like(soft)
            inner = (max(axes[0] * 3 // 4, 1), max(axes[1] * 3 // 4, 1))
            cv2.ellipse(rising, centre, inner, 0, 0, 360, int(bubbles), -1)
            np.copyto(soft, cv2.max(soft, rising))
        mound = (0.05 + 0.5 * self.size) * exp(-(((since - 0.16) / 0.16) ** 2))
        if mound * scale >= 1:
            size = (int(axes[0] * 0.55) + 1, int(mound * scale) + 1)
            cv2.ellipse(soft, centre, size, 0, 180, 360, int(185 * fade), -1)

    @staticmethod
    def _break_up(soft: NDArray[np.uint8], since: float) -> None:
        """Dissolve foam into patches as time goes by."""
        patches = cv2.resize(_patches(), (soft.shape[1], soft.shape[0]), interpolation=cv2.INTER_LINEAR)
        lost = 255 * (1 - exp(-(since - _BREAKS_UP_S) / 0.9))
        kept = np.clip(4 * (np.arange(256) - lost), (255 - lost) / 2, 255).astype(np.uint8)
        np.copyto(soft, cv2.multiply(soft, cv2.LUT(patches, kept), scale=1 / 255))

    def _draw_rings(
        self, soft: NDArray[np.uint8], centre: tuple[int, int], lens: tuple[float, float], since: float
    ) -> None:
        """Draw the crests that run outwards; ``lens`` is the scale and how flat a circle on the water looks."""
        scale, flatness = lens
        strength = (64 + 70 * self.size) * exp(-since / _RINGS_LAST_S)
        for lag, share in ((0.0, 1.0), (0.35, 0.8), (0.7, 0.6), (1.2, 0.5)):
            reach = 0.25 + _RING_SPEED * (since - lag)
            if since <= lag or strength * share < 5:
                continue
            axes = (int(reach * scale), max(int(reach * scale * flatness), 1))
            ring = np.zeros_like(soft)
            cv2.ellipse(ring, centre, axes, 0, 0, 360, int(strength * share), 2, cv2.LINE_AA)
            np.copyto(soft, cv2.add(soft, ring))


def _draw_drops(shape: tuple[int, ...], pixels: Array, radius: Array) -> NDArray[np.uint8]:
    """Return the coverage of drops as streaks from [0, K, 2] to [1, K, 2]."""
    sharp = np.zeros(shape, np.uint8)
    fixed = np.rint(pixels * 8).astype(int).tolist()
    for now, before, size in zip(*fixed, radius.tolist(), strict=True):
        cv2.line(sharp, now, before, 240, max(round(1.6 * size), 1), cv2.LINE_AA, shift=3)
    return np.asarray(cv2.GaussianBlur(sharp, (3, 3), 0.6), np.uint8)


# What stands still around the diver: hall, deck, water surface, tower and boards.

_SHIFT = 4
_WATER_SPAN_M = 3.2
_BOARD: Colour = (196, 206, 212)
_SHADOW = 0.55
"""What a full shadow leaves of the light."""

_SHADOW_FADES_M = 1.3
"""Height of the feet above the board at which their shadow is gone."""


class Scene:
    """A venue seen by a camera, with the board the dive starts from."""

    def __init__(self, venue: Venue, camera: Camera, height_m: float, springboard: bool) -> None:
        """Build the scene.

        Args:
            venue: Colours and textures.
            camera: The projection.
            height_m: Height of the board.
            springboard: Whether it is a springboard.
        """
        self.venue, self.camera, self.height_m, self.springboard = venue, camera, height_m, springboard
        faces = build(venue, height_m, springboard=springboard)
        self._corners = camera.screen(np.stack([face.corners for face in faces]))[..., :2]
        self._colours = [venue.seen(face.colour) for face in faces]

    def paint(self, view: Array, time_s: float, board_dip_m: float) -> NDArray[np.uint8]:
        """Return the picture without diver and splash, uint8 RGB [HEIGHT, WIDTH, 3]."""
        picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        top = HEIGHT / 2 - (self.venue.edge_m - view[1]) * view[2]
        first = int(np.clip(np.floor(top), 0, HEIGHT))
        if first > 0:
            picture[:first] = self._far(view, first)
        if first < HEIGHT:
            picture[first:] = self._water(view, time_s, top, first)
        pixels = self.camera.pixels(self._corners, view)
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        seen = (high > 0).all(axis=1) & (low < (WIDTH, HEIGHT)).all(axis=1)
        fixed = np.rint(np.clip(pixels, -1500, 1500) * (1 << _SHIFT)).astype(np.int32)
        for number in np.flatnonzero(seen).tolist():
            cv2.fillPoly(picture, [fixed[number]], self._colours[number], cv2.LINE_AA, shift=_SHIFT)
        if self.springboard:
            for corners, colour in self._springboard(board_dip_m):
                corners_px = np.clip(self.camera.pixels(self.camera.screen(corners), view), -1500, 1500)
                outline = np.rint(corners_px * (1 << _SHIFT)).astype(np.int32)
                cv2.fillPoly(picture, [outline], self.venue.seen(colour), cv2.LINE_AA, shift=_SHIFT)
        return picture

    def shade(self, picture: NDArray[np.uint8], view: Array, lowest: Array, board_dip_m: float) -> None:
        """Darken the board under the athlete, whose lowest joint is at ``lowest`` [3], in place."""
        above = float(lowest[2]) - self.height_m - board_dip_m
        if lowest[0] > 0.25 or not -0.3 < above < _SHADOW_FADES_M:
            return
        ground = np.array([min(float(lowest[0]), -0.06), float(lowest[1]), self.height_m + board_dip_m])
        x, y = self.camera.pixels(self.camera.screen(ground), view)
        scale, spread = float(view[2]), 0.24 + 0.12 * max(above, 0.0)
        axes = (max(int(spread * scale), 2), max(int((spread if not self.springboard else 0.2) * scale * 0.14), 1))
        left, right = max(int(x) - axes[0] - 2, 0), min(int(x) + axes[0] + 3, WIDTH)
        top, bottom = max(int(y) - axes[1] - 2, 0), min(int(y) + axes[1] + 3, HEIGHT)
        if right <= left or bottom <= top:
            return
        strength = (1 - _SHADOW) * self.venue.light * (1 - max(above, 0.0) / _SHADOW_FADES_M)
        light = np.full((bottom - top, right - left), 255, np.uint8)
        cv2.ellipse(light, (int(x) - left, int(y) - top), axes, 0, 0, 360, int(255 * (1 - strength)), -1, cv2.LINE_AA)
        part = picture[top:bottom, left:right]
        part[:] = cv2.multiply(part, cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), scale=1 / 255)

    def _far(self, view: Array, rows: int) -> NDArray[np.uint8]:
        sign = -1.0 if self.camera.mirrored else 1.0
        step = FAR_RATE / view[2]
        shift_x = (view[0] * self.venue.parallax - FAR_LEFT_M) * FAR_RATE - sign * step * WIDTH / 2
        shift_y = (FAR_TOP_M - view[1]) * FAR_RATE - step * HEIGHT / 2
        half = _warp(self.venue.far, np.array([[sign * step, 0, shift_x], [0, step, shift_y]]), rows)
        return _enlarge(half, rows)

    def _water(self, view: Array, time_s: float, top: float, first: int) -> NDArray[np.uint8]:
        sign = -1.0 if self.camera.mirrored else 1.0
        across = sign * SURFACE_RATE / view[2]
        down = self.venue.floor.shape[0] / (_WATER_SPAN_M * view[2])
        layers = []
        for texture, drift, start in ((self.venue.ripples, 14.0, 0.0), (self.venue.floor, 0.0, 301.0)):
            wobble = 3 * np.sin(2 * time_s + start)
            offset = view[0] * SURFACE_RATE - across * WIDTH / 2 + drift * time_s + start + 380
            matrix = np.array([[across, 0, offset + wobble], [0, down, (first - top) * down + wobble]])
            layers.append(_warp(texture, matrix, HEIGHT - first))
        return _enlarge(cv2.addWeighted(layers[0], 0.6, layers[1], 0.4, 0), HEIGHT - first)

    def _springboard(self, dip: float) -> list[tuple[Array, Colour]]:
        x = np.linspace(-4.8, 0.0, 9)
        bend = dip * np.clip((x + 2.9) / 2.9, 0, 1) ** 1.8
        top = np.stack([x, np.full_like(x, -0.25), self.height_m + bend], axis=-1)
        back = top + np.array([0.0, 0.5, 0.0])
        under = top - np.array([0.0, 0.0, 0.055])
        return [
            (np.concatenate([top, back[::-1]]), _BOARD),
            (np.concatenate([top, under[::-1]]), scaled(_BOARD, 0.6)),
        ]


def _warp(texture: NDArray[np.uint8], matrix: Array, rows: int) -> NDArray[np.uint8]:
    """Show ``rows`` rows of a texture at half the picture's size; ``matrix`` maps whole pixels to the texture.

    The textures hold fewer pixels a metre than half the picture does, so nothing is lost, and three quarters of the
    work is saved.
    """
    halved = matrix * (2, 2, 1)
    halved[:, 2] += matrix[:, :2].sum(axis=1) / 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (WIDTH // 2, (rows + 1) // 2)
    return np.asarray(cv2.warpAffine(texture, halved, size, flags=flags, borderMode=cv2.BORDER_REFLECT), np.uint8)


def _enlarge(half: NDArray[np.uint8] | cv2.typing.MatLike, rows: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(half, (WIDTH, 2 * half.shape[0]), interpolation=cv2.INTER_LINEAR)[:rows], np.uint8)


# From a simulated dive and a venue seed to frames and exact masks.

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
class SceneConfig:
    """The scene of a dive: venue, camera and exposure, drawn from the venue seed.

    Attributes:
        venue: Pool, hall and light.
        camera: The camera.
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
    def draw(cls, seed: tuple[int, ...], style: int | None = None) -> SceneConfig:
        """Draw a scene; ``style`` fixes the kind of venue."""
        rng = np.random.default_rng(np.random.SeedSequence((*seed, 1)))
        camera, shutter, crf = Camera.draw(rng), float(rng.uniform(0.15, 0.34)), int(rng.integers(19, 27))
        return cls(draw_venue(rng, style), camera, shutter, crf, seed)

    def record(self) -> dict[str, Any]:
        """Return the scene as plain data."""
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
    simulated: SimulatedDive, config: SceneConfig, frames: Sequence[int] | None = None
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield frame (uint8 RGB [256, 456, 3]) and mask (uint8 [256, 456], 0 or 255) in turn.

    Args:
        simulated: The dive.
        config: Venue and camera.
        frames: Numbers of the frames to yield, in that order; all when None. A frame does not depend on the others.
    """
    motion, camera, venue = simulated.motion, config.camera, config.venue
    rng = np.random.default_rng(np.random.SeedSequence((*simulated.seed, 2)))
    appearance = Appearance.draw(rng, motion.athlete)
    chosen = np.arange(simulated.frames) if frames is None else np.asarray(frames, dtype=int)
    times = chosen / FPS
    views = camera.follow(motion, np.arange(simulated.frames) / FPS)
    pan = np.gradient(views[:, :2], 1 / FPS, axis=0)[chosen]
    views = views[chosen]
    counts = _instants(simulated, config, times, (views, pan))
    moments = np.concatenate(
        [t + config.shutter / FPS * ((np.arange(n) + 0.5) / n - 0.5) for t, n in zip(times, counts, strict=True)]
    )
    joints = motion.body(np.clip(moments, 0, None))
    figure = Figure.of(joints, motion.athlete, appearance, camera, venue)
    splash = draw_splash(rng, motion, simulated.seen.splash, venue.seen(FOAM))
    scene = Scene(venue, camera, simulated.height_m, apparatus(simulated.height_m) == "springboard")
    surface = camera.screen(splash.origin)
    dips = motion.track(motion.board_dip, times)
    noise = _SensorNoise.of(config, simulated.frames)

    first = 0
    for number, time, view, count, dip in zip(chosen, times.tolist(), views, counts, dips.tolist(), strict=True):
        picture = scene.paint(view, time, dip)
        body = joints[first]
        scene.shade(picture, view, body[body[:, 2].argmin()], dip)
        waterline = HEIGHT / 2 - (surface[1] - view[1]) * view[2]
        shines = _UNDER_WATER * exp(-max(time - motion.contact_s, 0.0) / _SINKS_S)
        mask = _add_athlete(picture, figure, range(first, first + count), (camera, view), (waterline, shines))
        splash.paint(picture, camera, view, time - motion.contact_s)
        yield noise.apply(picture, int(number)), mask
        first += count


@dataclass(frozen=True, slots=True)
class _SensorNoise:
    """Noise of the sensor and vignetting of the lens.

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
    def of(cls, config: SceneConfig, frames: int) -> _SensorNoise:
        """Draw the noise of a clip from the venue seed."""
        rng = np.random.default_rng(np.random.SeedSequence((*config.seed, 3)))
        size = (HEIGHT + _GRAIN_MARGIN, WIDTH + _GRAIN_MARGIN, 3)
        field = np.rint(rng.standard_normal(size, dtype=np.float32) * np.float32(config.venue.noise))
        corners = None
        if config.venue.falloff > 0:
            across = np.linspace(-1, 1, WIDTH) ** 2 + np.linspace(-1, 1, HEIGHT)[:, None] ** 2
            corners = np.repeat((config.venue.falloff / 2 * across).astype(np.uint8)[..., None], 3, axis=2)
        shifts = rng.integers(_GRAIN_MARGIN, size=(frames, 4))
        return cls(np.maximum(field, 0).astype(np.uint8), np.maximum(-field, 0).astype(np.uint8), corners, shifts)

    def apply(self, picture: NDArray[np.uint8], frame: int) -> NDArray[np.uint8]:
        """Add noise and darken the corners."""
        if self.corners is not None:
            picture = np.asarray(cv2.subtract(picture, self.corners), np.uint8)
        a, b, c, d = self.shifts[frame].tolist()
        brighter = cv2.add(picture, self.brighter[a : a + HEIGHT, b : b + WIDTH])
        return np.asarray(cv2.subtract(brighter, self.darker[c : c + HEIGHT, d : d + WIDTH]), np.uint8)


def _instants(
    simulated: SimulatedDive, config: SceneConfig, times: Array, camera_track: tuple[Array, Array]
) -> list[int]:
    """Return how many instants each frame accumulates, by how far fingers and toes move in the picture."""
    motion, camera = simulated.motion, config.camera
    views, pan = camera_track
    open_s = config.shutter / FPS
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
    origin = np.array([0.7 * lowest[0] + 0.3 * centre[0], 0.0, 0.0])
    slant = float(np.clip((centre[0] - lowest[0]) * 0.6, -0.8, 0.8))
    return Splash.of(rng, origin, size, slant, colour)


def _add_athlete(
    picture: NDArray[np.uint8],
    figure: Figure,
    instants: range,
    camera_view: tuple[Camera, Array],
    water: tuple[float, float],
) -> NDArray[np.uint8]:
    """Blend the athlete into ``picture`` in place and return the mask of what is seen above the water."""
    camera, view = camera_view
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
