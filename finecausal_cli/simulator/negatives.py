"""Short clips that are no dive, to try a refusal on: other sports, falling things, a cut flight, empty scenes.

Those with an athlete are acted by the simulator's body and filmed as dives of the wild world are.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from math import pi, radians
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator import athlete as poses
from finecausal_cli.simulator.athlete import Athlete, Faults, Pose, ease, steady
from finecausal_cli.simulator.camera import WildCamera, draw_size
from finecausal_cli.simulator.dive import Timing
from finecausal_cli.simulator.footage import Film, Footage
from finecausal_cli.simulator.motion import GRAVITY, RATE_HZ, Motion
from finecausal_cli.simulator.recording import plan_dataset
from finecausal_cli.simulator.stance import Keys
from finecausal_cli.simulator.wild import Act, WildSceneConfig, render_act
from finecausal_cli.simulator.wild_scene import Solid, paint_texture, read_photo
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    from numpy.typing import NDArray

    from finecausal_cli.simulator.athlete import Array
    from finecausal_cli.simulator.backdrop import Colour

NEGATIVES_NAME = "negatives.csv"
COLUMNS = ("video", "kind", "fps", "frames")

_RATES = (24.0, 25.0, 30.0)
_PRESET = "veryfast"
_CROUCH_S, _LAND_S = 0.35, 0.4


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip before it is written.

    Attributes:
        frames: uint8 RGB, one at a time.
        fps: Frames a second.
        crf: Constant rate factor of the video.
    """

    frames: Iterator[NDArray[np.uint8]]
    fps: float
    crf: int


def write_negatives(
    out: str | PathLike[str],
    kinds: Sequence[str],
    count: int,
    seed: int,
    photos: Sequence[str] = (),
    *,
    progress: Callable[[int, int], object] = lambda done, total: None,  # noqa: ARG005
) -> Path:
    """Write ``count`` clips of each kind and a table of them.

    Args:
        out: Folder to write into; made when missing.
        kinds: Names out of ``KINDS``, or "all".
        count: Clips of each kind.
        seed: Same seed, same clips.
        photos: Paths of photographs that may stand behind.
        progress: Called with (finished, all) after every clip.

    Returns:
        The path of the table, ``negatives.csv``: video, kind, fps, frames.

    Raises:
        UsageError: A kind is unknown.
        OutputError: The folder cannot be written.
    """
    chosen = list(KINDS) if list(kinds) == ["all"] else list(kinds)
    unknown = [kind for kind in chosen if kind not in KINDS]
    if unknown or not chosen:
        raise UsageError(
            f"no such negative: {', '.join(unknown)}", where="negatives", hint=f"known: {', '.join(KINDS)}"
        )
    rows = []
    for kind in chosen:
        for number in range(count):
            key = (seed, list(KINDS).index(kind), number)
            clip = KINDS[kind](np.random.default_rng(np.random.SeedSequence((*key, 11))), key, photos)
            name, written = f"{kind}-{number:02d}.mp4", _Counter()
            write_video(Path(out) / name, written.count(clip.frames), clip.fps, crf=clip.crf, preset=_PRESET)
            rows.append((name, kind, round(clip.fps, 4), written.number))
            progress(len(rows), len(chosen) * count)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    path = Path(out) / NEGATIVES_NAME
    with atomic_write(path, "the table of negatives") as part:
        part.write_text(table.getvalue(), encoding="utf-8")
    return path


class _Counter:
    """Counts what passes."""

    number = 0

    def count(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            self.number += 1
            yield frame


# Acts of the simulated body.


def _perform(
    athlete: Athlete, keys: list[tuple[float, Pose]], pitch: Callable[[Array], Array], path: Callable[[Array], Array]
) -> Motion:
    """Return the motion through poses; ``pitch`` and ``path`` give angle [N] and the feet's ground [N, 2].

    The path's height is that of the lowest joint while ``pitch`` is 0, so feet stay where it says.
    """
    end = keys[-1][0]
    times = np.arange(0.0, end + 1 / RATE_HZ, 1 / RATE_HZ)
    rows = Keys.of(keys).at(times)
    body = athlete.joints(rows)
    points, mass = athlete.masses(body)
    middle = np.einsum("npc,p->nc", points, mass) / mass.sum()
    ground = path(times)
    centre = np.stack(
        [ground[:, 0], np.zeros_like(times), ground[:, 1] + middle[:, 2] - body[..., 2].min(axis=1)], axis=-1
    )
    zero = np.zeros_like(times)
    return Motion(
        athlete=athlete,
        times=times,
        pose=rows,
        somersault=pitch(times),
        twist=zero,
        tilt=zero,
        centre=centre,
        board_dip=zero,
        leave_s=0.0,
        contact_s=end,
        momentum=0.0,
        target=0.0,
        open_s=0.0,
        planned_open_s=0.0,
        planned_lead_s=0.0,
        head_first=False,
        sense=1,
        twist_target=0.0,
    )


def _flying(motion: Motion, start_s: float, stop_s: float) -> Motion:
    """Let the centre of mass fall freely between two moments."""
    air = (motion.times >= start_s) & (motion.times <= stop_s)
    times = motion.times[air] - start_s
    ends = motion.track(motion.centre, np.array([start_s, stop_s]))
    speed = (ends[1] - ends[0]) / times[-1] + np.array([0.0, 0.0, GRAVITY * times[-1] / 2])
    centre = motion.centre.copy()
    centre[air] = ends[0] + np.outer(times, speed) - 0.5 * GRAVITY * np.outer(times**2, [0.0, 0.0, 1.0])
    return replace(motion, centre=centre)


def _film(
    rng: np.random.Generator,
    key: tuple[int, ...],
    act: Act,
    photos: Sequence[str],
    fill: tuple[float, float],
    fixed_share: float = 0.4,
) -> Clip:
    """Film an act at normal speed from a camera beside it, led or fixed."""
    config = WildSceneConfig.draw(key, (act.motion, float(act.motion.times[-1])), "plain", photos)
    fps = float(rng.choice(_RATES))
    frames, is_fixed = int(act.motion.times[-1] * fps), rng.random() < fixed_share
    camera = replace(
        config.camera,
        azimuth=float(rng.uniform(-0.9, 0.9)),
        elevation=radians(float(rng.uniform(1, 14))),
        guidance="fixed" if is_fixed else "follow",
        fill=float(rng.uniform(0.6, 0.95) if is_fixed else rng.uniform(*fill)),
        framing=(0.0, 0.0),
        above_water=float(rng.uniform(-0.1, 0.2)),
    )
    config = _clear(replace(config, camera=camera, timing=Timing.even(fps, frames), intro_s=0.0))
    return Clip((shot.frame for shot in render_act(act, config)), fps, config.footage.crf)


def _clear(config: WildSceneConfig) -> WildSceneConfig:
    """Take away what would hide that there is no dive: a picture too bad to see anything in."""
    return replace(config, footage=_clear_footage(config.footage))


def _clear_footage(footage: Footage) -> Footage:
    clear = footage.colour * 0.3 + 0.7 * np.eye(3, 4)
    return replace(footage, colour=clear, gamma=1.0, blur=None, grain=min(footage.grain, 3), crf=min(footage.crf, 27))


def _box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], colour: Colour) -> Solid:
    low, high = np.array([x, y, z], float).T
    return Solid(low, high, colour)


def _jump(start: float, air_s: float, flight: list[tuple[float, Pose]]) -> list[tuple[float, Pose]]:
    """Return poses of standing, crouching, flying as given (shares of the flight) and landing."""
    stand = poses.stand(8)
    return [
        (0.0, stand),
        (start - _CROUCH_S - 0.25, stand),
        (start - _CROUCH_S / 2, poses.crouch(0.9, -30)),
        (start, poses.leave(0.4)),
        *((start + share * air_s, pose) for share, pose in flight),
        (start + air_s, poses.crouch(0.25, 60)),
        (start + air_s + 0.18, poses.crouch(0.75, 50)),
        (start + air_s + _LAND_S + 0.3, stand),
        (start + air_s + 1.6, stand),
    ]


def somersault_on_land(rng: np.random.Generator) -> Motion:
    """Draw a somersault in the air that begins and ends on the ground."""
    start, air_s = float(rng.uniform(1.2, 2.5)), float(rng.uniform(0.58, 0.74))
    sense, drift = float(rng.choice([-1, 1])), float(rng.uniform(0.2, 1.2))
    tuck = poses.tuck(Faults())
    keys = _jump(start, air_s, [(0.25, tuck), (0.7, tuck), (0.9, poses.stand(60))])

    def pitch(times: Array) -> Array:
        return sense * 2 * pi * steady((times - start) / air_s)

    def path(times: Array) -> Array:
        return np.stack([sense * drift * ease((times - start) / air_s), np.zeros_like(times)], axis=-1)

    motion = _flying(_perform(Athlete.draw(rng), keys, pitch, path), start, start + air_s)
    return replace(motion, leave_s=start)


def _land_somersault(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    motion = somersault_on_land(rng)
    red, green, blue = rng.integers(60, 190, 3).tolist()
    floor = _box((-30, 30), (-8, 14), (-0.2, 0.0), (red, green, blue))
    act = Act(motion, key, 0.0, (floor,) if rng.random() < 0.6 else (), has_plank=False, splash=None)
    return _film(rng, key, act, photos, (0.35, 0.6))


def _trampoline(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    """Bounces on one spot."""
    bed_m, air_s, bed_s = float(rng.uniform(0.6, 1.2)), float(rng.uniform(0.9, 1.5)), 0.34
    bounces, somersaults = int(rng.integers(4, 7)), rng.random() < 0.5
    shapes = [poses.tuck(Faults()), poses.straight(Faults()), poses.pike(Faults())]
    keys, starts = [(0.0, poses.stand(20))], []
    time = 0.4
    for _ in range(bounces):
        shape = shapes[int(rng.integers(len(shapes)))]
        starts.append(time)
        keys += [(time, poses.leave(0.2)), (time + 0.45 * air_s, shape), (time + 0.85 * air_s, poses.stand(120))]
        keys += [(time + air_s + bed_s / 2, poses.crouch(0.35, 30))]
        time += air_s + bed_s
    keys.append((time + 0.6, poses.stand(20)))
    turned = [bool(somersaults and rng.random() < 0.4) for _ in starts]

    def pitch(times: Array) -> Array:
        total = np.zeros_like(times)
        for start, turns in zip(starts, turned, strict=True):
            total += turns * 2 * pi * steady((times - start) / air_s)
        return total

    def path(times: Array) -> Array:
        dip = np.zeros_like(times)
        for start in starts:
            dip -= 0.5 * np.sin(pi * np.clip((times - start - air_s) / bed_s, 0, 1))
        return np.stack([np.zeros_like(times), bed_m + dip], axis=-1)

    motion = _perform(Athlete.draw(rng), keys, pitch, path)
    for start in starts:
        motion = _flying(motion, start, start + air_s)
    frame = (70, 80, 140)
    solids = [_box((-2.1, 2.1), (-1.1, 1.1), (bed_m - 0.05, bed_m), (40, 44, 50))]
    for x in (-2.3, 2.2):
        solids.append(_box((x, x + 0.12), (-1.2, 1.2), (bed_m - 0.1, bed_m), frame))
        solids += [_box((x, x + 0.08), (y, y + 0.08), (0, bed_m), frame) for y in (-1.2, 1.1)]
    act = Act(motion, key, 0.0, tuple(solids), has_plank=False, splash=None)
    return _film(rng, key, act, photos, (0.28, 0.45), fixed_share=1.0)


def low_jump(rng: np.random.Generator, height_m: float, *, head_first: bool) -> Motion:
    """Draw a low jump into the water: a swimmer's start from a block, or feet first from a pier."""
    start = float(rng.uniform(1.2, 2.5))
    # Speeds outwards and upwards, metres a second.
    out, up = rng.uniform((3.2, 0.3), (4.2, 1.2)) if head_first else rng.uniform((0.8, 1.2), (1.8, 2.4))
    athlete = Athlete.draw(rng)
    bent = poses.crouch(1.25, -10)._replace(spine=radians(48), neck=radians(20))
    stretched = poses.stretched(Faults(), head_first=head_first)
    standing = bent if head_first else poses.stand(10)
    keys = [
        (0.0, standing),
        (start - 0.45, standing),
        (start - 0.25, bent if head_first else poses.crouch(0.6, -20)),
        (start, poses.leave(0.3)),
        (start + 0.3, stretched),
        (start + 3.0, stretched),
    ]
    lean = radians(float(rng.uniform(62, 80))) if head_first else radians(4)
    turn = radians(float(rng.uniform(38, 56))) if head_first else radians(float(rng.uniform(-8, 8)))

    def pitch(times: Array) -> Array:
        return lean * ease((times - start + 0.3) / 0.3) + turn * np.clip((times - start) / 0.7, 0, 1)

    def path(times: Array) -> Array:
        return np.stack([-0.35 + 0.4 * ease((times - start + 0.3) / 0.3), np.full_like(times, height_m)], axis=-1)

    motion = _perform(athlete, keys, pitch, path)
    centre, since = motion.centre.copy(), np.maximum(motion.times - start, 0.0)
    at = int(np.searchsorted(motion.times, start))
    drop = 0.5 * float(np.sin(lean)) if head_first else 0.0
    centre[:, 2] -= drop * ease((motion.times - start + 0.3) / 0.3)
    centre[at:] = centre[at] + np.stack([out * since, 0 * since, up * since - GRAVITY / 2 * since**2], axis=-1)[at:]
    motion = replace(motion, centre=centre, leave_s=start)
    lowest = motion.body(motion.times)[..., 2].min(axis=1)
    wet = int(np.argmax((lowest < 0) & (motion.times > start)))
    speed = (centre[wet] - centre[wet - 1]) * RATE_HZ
    under = motion.times[wet:] - motion.times[wet]
    centre[wet:] = centre[wet] + 0.4 * (1 - np.exp(-under / 0.4))[:, None] * speed
    contact = float(motion.times[wet])
    return replace(motion, centre=centre, contact_s=contact)


def _into_water(
    rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str], *, height_m: float, head_first: bool
) -> Clip:
    motion = low_jump(rng, height_m, head_first=head_first)
    stone = tuple(rng.integers(90, 200, 3).tolist())
    solids = [_box((-0.8, 0.0), (-0.35, 0.35), (0.0, height_m), stone), _box((-12, -0.1), (-9, 9), (-0.5, 0.1), stone)]
    if not head_first:
        solids = [_box((-9, 0.0), (-1.3, 1.3), (height_m - 0.25, height_m), stone)]
        solids += [_box((x, x + 0.2), (y, y + 0.2), (-1, height_m), stone) for x in (-6.0, -0.4) for y in (-1.1, 0.9)]
    splash = float(rng.uniform(0.5, 0.9))
    return _film(rng, key, Act(motion, key, height_m, tuple(solids), False, splash), photos, (0.3, 0.55))


def _swimming_start(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    return _into_water(rng, key, photos, height_m=0.7, head_first=True)


def _pier_jump(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    return _into_water(rng, key, photos, height_m=float(rng.uniform(0.9, 2.0)), head_first=False)


# Dives of which the essential is missing.


def _cut_flight(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    """A dive that is cut in the middle of its flight: to another camera, or to something else."""
    simulated = plan_dataset(int(rng.integers(1 << 30)), draw="classic").dive(0)
    motion = simulated.motion
    act, fps = Act.of(simulated), float(rng.choice(_RATES))
    shown = motion, simulated.duration_s
    first, second = (WildSceneConfig.draw((*key, part), shown, "plain", photos) for part in (0, 1))
    size = first.camera.size
    timing = Timing.even(fps, int(simulated.duration_s * fps))
    first = _clear(replace(first, timing=timing, intro_s=0.0))
    # The overlay is the first shot's: it has the size of its picture.
    camera = replace(second.camera, size=size, inner=first.camera.inner, azimuth=first.camera.azimuth + pi / 2)
    second = replace(second, timing=timing, intro_s=0.0, camera=camera, overlay=first.overlay)
    second = _clear(second)
    cut = timing.first_at(motion.leave_s + float(rng.uniform(0.35, 0.6)) * (motion.contact_s - motion.leave_s))
    elsewhere = rng.random() < 0.5

    def frames() -> Iterator[NDArray[np.uint8]]:
        yield from (shot.frame for shot in render_act(act, first, range(cut)))
        if elsewhere:
            yield from _still_shot(rng, second, photos, timing.frames - cut)
        else:
            yield from (shot.frame for shot in render_act(act, second, range(cut, timing.frames)))

    return Clip(frames(), fps, first.footage.crf)


def _still_shot(
    rng: np.random.Generator, config: WildSceneConfig, photos: Sequence[str], count: int
) -> Iterator[NDArray[np.uint8]]:
    """A picture that the camera drifts over."""
    film = Film(config.footage, config.camera.size, count)
    view = _backdrop_of(rng, photos, config.camera.size)
    for frame in range(count):
        yield film.copy(film.develop(view(frame, 0), frame, frame / config.timing.fps))


def _splash_alone(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    """Water that splashes though nobody fell in."""
    return _deserted(rng, key, photos, with_splash=True)


def _empty_board(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    """A board and nobody on it."""
    return _deserted(rng, key, photos, with_splash=False)


def _deserted(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str], *, with_splash: bool) -> Clip:
    simulated = plan_dataset(int(rng.integers(1 << 30)), draw="classic").dive(0)
    motion, fps = simulated.motion, float(rng.choice(_RATES))
    never = motion.contact_s if with_splash else float(motion.times[-1]) + 60
    act = replace(Act.of(simulated), motion=replace(motion, contact_s=never), has_athlete=False)
    config = WildSceneConfig.draw(key, (motion, simulated.duration_s), "plain", photos)
    camera = replace(config.camera, guidance="fixed", zoom=1.0)
    timing = Timing.even(fps, int(simulated.duration_s * fps))
    views = camera.views(motion, np.array([motion.leave_s]))
    config = _clear(replace(config, camera=_Tripod.of(camera, views[0]), timing=timing, intro_s=0.0))
    return Clip((shot.frame for shot in render_act(act, config)), fps, config.footage.crf)


@dataclass(frozen=True, slots=True)
class _Tripod(WildCamera):
    """A camera that stays where it is, whatever moves."""

    view: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, camera: WildCamera, view: Array) -> _Tripod:
        fields = {name: getattr(camera, name) for name in WildCamera.__slots__}
        return cls(**fields, view=tuple(map(tuple, view.tolist())))

    def views(self, motion: Motion, times: Array) -> Array:  # noqa: ARG002
        tremble = self.shake * self.size[1] * np.stack([self._tremble(times, k) for k in (0, 4)], axis=-1)
        views = np.repeat(np.array(self.view)[None], len(times), axis=0)
        views[:, :, 2] += tremble
        return views


# Pictures without a body of the simulator.


def _backdrop_of(
    rng: np.random.Generator, photos: Sequence[str], size: tuple[int, int]
) -> Callable[[float, float], NDArray[np.uint8]]:
    """Return a function that shows a picture for a shift (right, down) of the camera in pixels."""
    width, height = size
    picture = read_photo(photos[int(rng.integers(len(photos)))]) if photos else paint_texture(rng)
    factor = 1.6 * max(width / picture.shape[1], height / picture.shape[0])
    start = -0.2 * np.array([width, height])

    def show(right: float, down: float) -> NDArray[np.uint8]:
        matrix = np.array([[factor, 0, start[0] - right], [0, factor, start[1] - down]])
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101
        return np.asarray(cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=border), np.uint8)

    return show


def _drawn(
    rng: np.random.Generator,
    key: tuple[int, ...],
    photos: Sequence[str],
    duration_s: float,
    draw: Callable[[NDArray[np.uint8], float], None],
) -> Clip:
    """A clip of a picture on which something is drawn at every moment; the camera may drift."""
    size, fps = draw_size(rng), float(rng.choice(_RATES))
    footage = _clear_footage(Footage.draw(rng, key, min(size)))
    film = Film(footage, size, int(duration_s * fps))
    show, drift = _backdrop_of(rng, photos, size), rng.normal(0, 12, 2) * (rng.random() < 0.5)

    def frames() -> Iterator[NDArray[np.uint8]]:
        for frame in range(int(duration_s * fps)):
            time = frame / fps
            picture = show(*(drift * time).tolist())
            draw(picture, time)
            yield film.copy(film.develop(picture, frame, time))

    return Clip(frames(), fps, footage.crf)


def _cartoon_fall(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    """A flat drawn figure that falls, turns over and hits the ground."""
    skin, shirt, line = (tuple(rng.integers(30, 250, 3).tolist()) for _ in range(3))
    begin, fall_s = float(rng.uniform(0.8, 1.8)), float(rng.uniform(0.7, 1.4))
    turns, across = float(rng.uniform(0.3, 2.0)), float(rng.uniform(0.3, 0.7))
    limbs = rng.uniform(-0.8, 0.8, 4)

    def draw(picture: NDArray[np.uint8], time: float) -> None:
        height, width = picture.shape[:2]
        side = height * 0.16
        ground = int(0.88 * height)
        cv2.rectangle(picture, (0, ground), (width, height), shirt, -1)
        share = float(np.clip((time - begin) / fall_s, 0, 1))
        angle = 2 * pi * turns * share + 0.1 * np.sin(9 * time)
        middle = np.array([across * width, height * (0.12 + 0.66 * share**2)])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

        def at(x: float, y: float) -> tuple[int, int]:
            point = middle + turn @ np.array([x, y]) * side
            return int(point[0]), int(point[1])

        for k, (x, y) in enumerate(((-0.3, -0.3), (0.3, -0.3), (-0.2, 0.5), (0.2, 0.5))):
            swing = limbs[k] + 0.5 * np.sin(14 * time + k)
            reach = (x * 2.2 + 0.3 * swing, y + (0.7 if k > 1 else 0.5 * swing))
            cv2.line(picture, at(x, y), at(*reach), line, max(int(side * 0.24), 3), cv2.LINE_AA)
            cv2.line(picture, at(x, y), at(*reach), skin, max(int(side * 0.16), 1), cv2.LINE_AA)
        ring = np.array([at(-0.4, -0.4), at(0.4, -0.4), at(0.32, 0.55), at(-0.32, 0.55)])
        cv2.fillPoly(picture, [ring], shirt, cv2.LINE_AA)
        cv2.polylines(picture, [ring], isClosed=True, color=line, thickness=2, lineType=cv2.LINE_AA)
        for radius, tint in ((0.42, line), (0.37, skin)):
            cv2.circle(picture, at(0, -0.85), int(side * radius), tint, -1, cv2.LINE_AA)
        for x in (-0.14, 0.14):
            cv2.circle(picture, at(x, -0.9), max(int(side * 0.06), 1), (10, 10, 10), -1, cv2.LINE_AA)
        if share == 1:
            for k in range(7):
                puff = side * (0.2 + 0.5 * (time - begin - fall_s))
                where = (int(middle[0] + (k - 3) * puff), ground)
                cv2.circle(picture, where, int(side * 0.2), (235, 235, 230), -1, cv2.LINE_AA)

    return _drawn(rng, key, () if rng.random() < 0.6 else photos, begin + fall_s + 1.2, draw)


def _ball(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    """A ball that is thrown across the picture and bounces."""
    colour, stripe = (tuple(rng.integers(40, 255, 3).tolist()) for _ in range(2))
    radius, begin = float(rng.uniform(0.025, 0.06)), float(rng.uniform(0.3, 1.2))
    pull = float(rng.uniform(0.5, 1.1))
    start, speed = np.array([rng.uniform(0.05, 0.3), 0.75]), np.array([rng.uniform(0.18, 0.4), -rng.uniform(0.7, 0.95)])

    def draw(picture: NDArray[np.uint8], time: float) -> None:
        height, width = picture.shape[:2]
        since, y, rise = max(time - begin, 0.0), float(start[1]), float(speed[1])
        x = float(start[0] + speed[0] * since)
        while since > 0:
            # Time until the ball is down again at the height it was thrown from.
            air = (-rise + np.sqrt(rise**2 + 2 * pull * (0.85 - y))) / pull
            if since < air:
                y += rise * since + pull / 2 * since**2
                break
            since, y, rise = since - air, 0.85, -0.72 * (rise + pull * air)
            if abs(rise) < 0.06:
                break
        centre, side = (int(x * width), int(y * height)), int(radius * height)
        cv2.circle(picture, centre, side, colour, -1, cv2.LINE_AA)
        angle = float(np.degrees(6 * time))
        cv2.ellipse(picture, centre, (side, side // 3), angle, 0, 360, stripe, max(side // 6, 1), cv2.LINE_AA)

    return _drawn(rng, key, photos, float(rng.uniform(4, 6)), draw)


def _screen_recording(rng: np.random.Generator, key: tuple[int, ...], photos: Sequence[str]) -> Clip:
    """A screen with windows, scrolling text and a pointer."""
    speed, switch = float(rng.uniform(30, 120)), float(rng.uniform(1.5, 4))
    windows = rng.uniform((0.02, 0.05, 0.35, 0.35), (0.4, 0.35, 0.6, 0.6), (3, 4))
    tints, texts = rng.integers(30, 250, (3, 3)).tolist(), rng.integers(3, 60, 200).tolist()
    stops = rng.uniform(0.1, 0.9, (12, 2))

    def draw(picture: NDArray[np.uint8], time: float) -> None:
        height, width = picture.shape[:2]
        shown = 2 + int(time > switch)
        for number, (x, y, w, h) in enumerate(windows[:shown].tolist()):
            left, top = int(x * width), int(y * height)
            right, bottom = min(left + int(w * width), width - 2), min(top + int(h * height), height - 2)
            cv2.rectangle(picture, (left, top), (right, bottom), (248, 248, 246) if number != 1 else (28, 30, 36), -1)
            cv2.rectangle(picture, (left, top), (right, top + height // 24), tints[number], -1)
            step, inside = max(height // 30, 7), picture[top + height // 22 : bottom, left:right]
            offset = time * speed if number == shown - 1 else 0.0
            ink = (30, 30, 30) if number != 1 else (120, 220, 140)
            for line in range(len(inside) // step + 2):
                index = line + int(offset // step)
                base = int((line + 0.8) * step - offset % step)
                text = "".join(chr(97 + (index * 7 + k * k) % 26) for k in range(texts[index % len(texts)]))
                cv2.putText(inside, text, (6, base), cv2.FONT_HERSHEY_SIMPLEX, step / 32, ink, 1, cv2.LINE_AA)
        index = int(time / 0.7) % (len(stops) - 1)
        share = float(ease(np.array(time / 0.7 % 1.0)))
        tip = ((stops[index] * (1 - share) + stops[index + 1] * share) * (width, height)).astype(int)
        pointer = tip + np.array([[0, 0], [0, 16], [4, 12], [9, 12]])
        cv2.fillPoly(picture, [pointer.astype(np.int32)], (0, 0, 0), cv2.LINE_AA)

    return _drawn(rng, key, photos, float(rng.uniform(5, 8)), draw)


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, ...], Sequence[str]], Clip]] = {
    "land-somersault": _land_somersault,
    "trampoline": _trampoline,
    "swimming-start": _swimming_start,
    "pier-jump": _pier_jump,
    "cartoon-fall": _cartoon_fall,
    "ball": _ball,
    "cut-flight": _cut_flight,
    "splash": _splash_alone,
    "screen": _screen_recording,
    "empty-board": _empty_board,
}
"""What is no dive, by name."""
