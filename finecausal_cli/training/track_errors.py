"""Errors of the athlete reader, measured on simulated films and given to simulated bodies.

A film of a simulated dive is read as any film is, and compared with what is known of it. What is off at each phase of
the flight is kept: joints about the true trunk, bodies turned over, left taken for right, confidence, scale, path,
take-off and entry. A body in space is then shown by a camera like that film's and given these errors, mixed and
shifted in time so that a network cannot learn them by heart. So a network learns from bodies as they are read, and ten
times as many bodies can be simulated as films.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal
from zipfile import BadZipFile

import numpy as np

from finecausal_cli.athlete import MIRRORED
from finecausal_cli.athlete.track import AFTER_S, BEFORE_S, BodyMotion, BodyTrack, project, trunk_angle, turn
from finecausal_cli.athlete.turns import body_axis
from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.batch import stage_execution
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import DatasetError, VideoError
from finecausal_cli.simulator.camera import axes_of
from finecausal_cli.training.pairs import EXECUTION_SPREAD
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.data import Dive
    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.scoring.tracks import StoredTrack, TrackCache

logger = logging.getLogger(__name__)

# Phases: some before the take-off, most in the air, some after the entry.

_BEFORE, _IN_AIR, _AFTER = 14, 64, 8
PHASES: Final = _BEFORE + _IN_AIR + _AFTER
_BEFORE_S, _AFTER_STEP_S = 0.5, 0.03

_TURNED_OVER: Final = np.radians(120)
_SWAPPED: Final = 0.8
"""Left counts as taken for right where that makes the error so much smaller."""

_FEWEST_FRAMES: Final = 10
_MOST_M, _MOST_PATH_M, _MOST_S = 1.5, 5.0, 0.4
_SWAP: Final = list(MIRRORED)

Loss = Literal["frozen", "shuffled", "reversed", "foreign"]
"""What can be done to a flight so that it is no dive any more."""

LOSSES: Final[tuple[Loss, ...]] = ("frozen", "shuffled", "reversed", "foreign")


@dataclass(frozen=True)
class TrackErrors:
    """Errors in N films.

    Attributes:
        residual: float16 [N, PHASES, J, 2], read minus true joints about the pelvis, metres, along and across the true
            trunk, where bodies turned over and sides exchanged have been put right.
        turned_over: bool [N, PHASES].
        swapped: bool [N, PHASES], left taken for right.
        confidence: float16 [N, PHASES, J].
        seen: float16 [N, PHASES].
        area_m2: float16 [N, PHASES].
        path: float16 [N, PHASES, 2], read minus true path, metres.
        scale: float32 [N], read over true lengths.
        takeoff_s: float32 [N], read minus true take-off, real seconds.
        entry_s: float32 [N], the same of the entry.
        time_scale: float32 [N], read over true slow-motion factor.
        fps: float32 [N], frames a real second.
        azimuth: float32 [N], of the camera, radians.
        elevation: float32 [N], the same.
        position: uint8 [N], code of the letter of the position.
    """

    residual: NDArray[np.float16]
    turned_over: NDArray[np.bool_]
    swapped: NDArray[np.bool_]
    confidence: NDArray[np.float16]
    seen: NDArray[np.float16]
    area_m2: NDArray[np.float16]
    path: NDArray[np.float16]
    scale: NDArray[np.float32]
    takeoff_s: NDArray[np.float32]
    entry_s: NDArray[np.float32]
    time_scale: NDArray[np.float32]
    fps: NDArray[np.float32]
    azimuth: NDArray[np.float32]
    elevation: NDArray[np.float32]
    position: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.scale)

    @classmethod
    def stack(cls, each: Sequence[Mapping[str, Any]]) -> TrackErrors:
        """Join what `measure` returns of films.

        Raises:
            DatasetError: There are none.
        """
        if not each:
            raise DatasetError("no simulated film could be read", hint="simulate --world wild makes some")
        kinds = {"turned_over": np.bool_, "swapped": np.bool_, "position": np.uint8}
        small = {"residual", "confidence", "seen", "area_m2", "path"}
        return cls(
            **{
                field.name: np.stack([film[field.name] for film in each]).astype(
                    kinds.get(field.name, np.float16 if field.name in small else np.float32)
                )
                for field in fields(cls)
            }
        )

    def write(self, path: Path) -> None:
        """Write them as one npz file.

        Raises:
            OutputError: It cannot be written.
        """
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        with atomic_write(path, "the reader's errors") as part, part.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path) -> TrackErrors:
        """Read what `write` wrote.

        Raises:
            DatasetError: It is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**{field.name: file[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DatasetError("no file of the reader's errors", where=path) from error

    def like(self, position: str) -> NDArray[np.int64]:
        """Return the films of dives in a position; all films where there are none."""
        same = np.flatnonzero(self.position == ord(position))
        return same if len(same) else np.arange(len(self))


def _phase(times_s: NDArray[np.float64], air_s: float) -> NDArray[np.int64]:
    """Return the phase at real times since the take-off."""
    before = np.rint((times_s + _BEFORE_S) / (_BEFORE_S / _BEFORE))
    air = _BEFORE + np.floor(times_s / air_s * _IN_AIR)
    after = _BEFORE + _IN_AIR + np.floor((times_s - air_s) / _AFTER_STEP_S)
    chosen = np.where(times_s < 0, np.minimum(before, _BEFORE - 1), np.where(times_s < air_s, air, after))
    return np.clip(chosen, 0, PHASES - 1).astype(np.int64)


def _phase_times(air_s: float) -> NDArray[np.float64]:
    before = np.arange(_BEFORE) * (_BEFORE_S / _BEFORE) - _BEFORE_S
    air = (np.arange(_IN_AIR) + 0.5) / _IN_AIR * air_s
    return np.concatenate([before, air, air_s + (np.arange(_AFTER) + 0.5) * _AFTER_STEP_S])


def _flight_of(record: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return take-off and entry of a simulated film, file time, and its slow-motion factor.

    Films of the clean world name the first frames after them alone, and are never slow.
    """
    if "flight_start_s" in record:
        return record["flight_start_s"], record["entry_start_s"], record["time_scale"]
    begin, end = ((record[name] - 0.5) / record["fps"] for name in ("twist_start", "entry_start"))
    return begin, end, 1.0


def measure(read: StoredTrack, record: Mapping[str, Any], truth: Mapping[str, NDArray[Any]]) -> dict[str, Any] | None:
    """Compare what was read of a simulated film with what is known of it.

    Args:
        read: The track as read.
        record: Of the dive: ``meta/NNNNN.json``.
        truth: Of its pictures: ``joints/NNNNN.npz``.

    Returns:
        The fields of one film of `TrackErrors`; None where it shows too little of the flight.
    """
    begin, end, scale_s = _flight_of(record)
    track, frames = read.track, np.clip(read.source_frames, 0, len(truth["px_per_m"]) - 1)
    px_per_m = truth["px_per_m"][frames].astype(np.float64)
    upwards = np.array([1.0, -1.0])
    pixels = truth["joints"][frames].astype(np.float64)
    true = (pixels - pixels[:, :1]) * upwards / px_per_m[:, None, None]
    camera = truth["camera"][frames].astype(np.float64)
    shown = np.isfinite(camera).all(axis=(1, 2))
    air_s, times_s = (end - begin) / scale_s, (truth["times_s"][frames] - begin) / scale_s
    inside = (times_s > -_BEFORE_S) & (times_s < air_s) & shown
    if inside.sum() < _FEWEST_FRAMES:
        return None
    camera[~shown] = camera[np.flatnonzero(shown)[0]]
    pelvis = np.linalg.solve(camera[:, :, :2], (pixels[:, 0] - camera[:, :, 2])[..., None])[..., 0]
    pelvis[:, 0] *= -np.sign(np.linalg.det(camera[:, :, :2]))  # a mirrored picture shows outwards on the other side
    pelvis -= pelvis[np.argmin(np.abs(times_s))]
    joints = np.asarray(track.joints_m, np.float64)
    sizes = [np.linalg.norm(each[inside], axis=-1).mean(axis=-1) for each in (joints, true)]
    scale = float(np.clip(np.median(sizes[0] / np.maximum(sizes[1], 1e-3)), 0.4, 2.5))
    angle = trunk_angle(true.astype(np.float32))
    off = np.abs((trunk_angle(track.joints_m) - angle + np.pi) % (2 * np.pi) - np.pi)
    turned_over = off > _TURNED_OVER
    righted = np.where(turned_over[:, None, None], -joints, joints)
    as_named, exchanged = (
        np.linalg.norm(each - scale * true, axis=-1).mean(axis=-1) for each in (righted, righted[:, _SWAP])
    )
    swapped = exchanged < _SWAPPED * as_named
    righted = np.where(swapped[:, None, None], righted[:, _SWAP], righted)
    confidence = np.where(swapped[:, None], track.confidence[:, _SWAP], track.confidence)
    residual = np.einsum("tij,tkj->tki", turn(-angle), righted - scale * true)
    path = np.asarray(track.path_m, np.float64) - scale * pelvis
    at = np.abs(times_s[None] - _phase_times(air_s)[:, None]).argmin(axis=1)
    return {
        "residual": np.clip(residual[at], -_MOST_M, _MOST_M),
        "turned_over": turned_over[at],
        "swapped": swapped[at],
        "confidence": confidence[at],
        "seen": track.seen[at],
        "area_m2": np.clip(track.area_m2[at], 0, 3),
        "path": np.clip(path[at], -_MOST_PATH_M, _MOST_PATH_M),
        "scale": scale,
        "takeoff_s": np.clip((read.takeoff_s - begin) / scale_s, -_MOST_S, _MOST_S),
        "entry_s": np.clip((read.entry_s - end) / scale_s, -_MOST_S, _MOST_S),
        "time_scale": np.clip(read.time_scale / scale_s, 0.6, 1.7),
        "fps": record["fps"] * scale_s,
        "azimuth": np.radians(record["camera"]["azimuth_deg"]),
        "elevation": np.radians(record["camera"]["elevation_deg"]),
        "position": ord(record["dive"][-1]),
    }


# What the judges see of a simulated dive (``seen`` of its record), with the size of a usual difference.
SEEN: Final[dict[str, float]] = {
    "rise": 0.3,
    "lean_deg": 10,
    "clearance": 0.4,
    "steadiness": 0.4,
    "openness": 0.4,
    "legs_apart": 0.4,
    "feet": 0.4,
    "crossed": 0.4,
    "late_s": 0.15,
    "entry_deg": 20,
    "twist_deg": 30,
    "arch": 0.4,
    "arms": 0.4,
    "splash": 0.3,
}


CONTACT_LEAN: Final = "contact_lean_deg"
"""Name of how a simulated film's body leans at the contact, counter-clockwise in the picture, beside these."""


@dataclass(frozen=True)
class JudgedBody:
    """A dive of a training set.

    Attributes:
        dive: Its labels.
        number: The dive number.
        seen: What the judges saw, by name; NaN where unknown.
        motion: The body in space; None of a film.
        read: The body as it was read; None of a simulated body.
    """

    dive: Dive
    number: DiveNumber
    seen: Mapping[str, float]
    motion: BodyMotion | None = None
    read: StoredTrack | None = None

    @property
    def targets(self) -> NDArray[np.float32]:
        """What the backbone is to tell, float32 [K]: faults, deductions of the stages, execution; NaN where unknown."""
        faults = [abs(self.seen.get(name, math.nan)) / scale for name, scale in SEEN.items()]
        stages = [-cost / EXECUTION_SPREAD for cost in stage_execution(self.dive)]
        return np.clip(np.array([*faults, *stages, self.dive.execution / EXECUTION_SPREAD], np.float32), -9, 9)


def read_bodies(dataset: Path) -> list[JudgedBody]:
    """Read simulated bodies, as ``finecausal simulate --format bodies`` writes them.

    Raises:
        DatasetError: It is no such dataset.
    """
    bodies = []
    for dive in read_dataset(dataset):
        if dive.number is None or dive.score is None:
            continue
        motion = BodyMotion.read(dive.video)
        bodies.append(JudgedBody(dive, parse_dive_number(dive.number), read_seen(dive), motion))
    return bodies


def read_seen(dive: Dive) -> dict[str, float]:
    """Return what the judges of a simulated dive saw, by name; nothing where its record is missing."""
    record = dive.video.parent.parent / "meta" / f"{dive.video.stem}.json"
    if not record.is_file():
        return {}
    facts = json.loads(record.read_text(encoding="utf-8"))
    lean = {} if "lean_deg" not in facts else {CONTACT_LEAN: facts["lean_deg"]["contact"]}
    return {name: float(value) for name, value in {**facts["seen"], **lean}.items()}


def read_films(
    datasets: Sequence[Path], cache: TrackCache, advance: Callable[[], object] = lambda: None
) -> list[JudgedBody]:
    """Read the athletes of judged films; one that shows no whole dive is passed over.

    Raises:
        DatasetError: A dataset is wrong.
    """
    films = []
    for dataset in datasets:
        for dive in read_dataset(dataset):
            advance()
            if dive.number is None or dive.score is None:
                continue
            try:
                read = cache.track(dive)
            except VideoError as error:
                logger.info("passed over: %s", error)
                continue
            films.append(JudgedBody(dive, parse_dive_number(dive.number), read_seen(dive), None, read))
    return films


def poses_are_its_own(film: JudgedBody) -> bool:
    """Tell whether a film shows the poses that its marks are for: ``simulate --varied-poses`` shows random ones."""
    plan = film.dive.video.parent.parent / "plan.json"
    return not (plan.is_file() and json.loads(plan.read_text(encoding="utf-8")).get("varied_poses"))


def measure_errors(films: Sequence[JudgedBody]) -> TrackErrors:
    """Measure what the reader got wrong in simulated films.

    Raises:
        DatasetError: None of them is simulated with its joints.
    """
    each = []
    for film in films:
        root, name = film.dive.video.parent.parent, film.dive.video.stem
        joints, record = root / "joints" / f"{name}.npz", root / "meta" / f"{name}.json"
        if film.read is None or not (joints.is_file() and record.is_file()):
            continue
        with np.load(joints, allow_pickle=False) as truth:
            facts = json.loads(record.read_text(encoding="utf-8"))
            measured = measure(film.read, facts, {key: truth[key] for key in truth.files})
        if measured is not None:
            each.append(measured)
    return TrackErrors.stack(each)


@dataclass(frozen=True)
class SplashErrors:
    """Sizes of splashes as they are and as they were read, N films in the order of the true ones.

    Attributes:
        true: float64 [N], 0 to 1.
        read: float64 [N], not-a-number where none was read.
        expected: float64 [N], the error that was expected of them.
    """

    true: NDArray[np.float64]
    read: NDArray[np.float64]
    expected: NDArray[np.float64]

    @classmethod
    def of(cls, films: Sequence[JudgedBody]) -> SplashErrors:
        """Collect those of simulated films."""
        known = [
            (
                film.seen["splash"],
                math.nan if film.read.track.splash is None else film.read.track.splash,
                film.read.track.splash_error,
            )
            for film in films
            if film.read is not None and "splash" in film.seen
        ]
        rows = np.array(sorted(known), np.float64).reshape(-1, 3)
        return cls(rows[:, 0], rows[:, 1], rows[:, 2])

    def rmse(self) -> float | None:
        """Return the root of the mean squared error; None where nothing was read."""
        error = (self.read - self.true)[~np.isnan(self.read)]
        return float(np.sqrt((error**2).mean())) if len(error) else None

    def draw(self, size: float, rng: np.random.Generator) -> tuple[float, float] | None:
        """Return how a splash may be read, with the error of a film with a like splash, and the error expected of it.

        None where it is not seen.
        """
        if rng.random() < _SPLASH_UNSEEN or not len(self.true):
            return None
        at = int(np.searchsorted(self.true, size)) + int(rng.integers(-_ALIKE_SPLASHES, _ALIKE_SPLASHES + 1))
        index = int(np.clip(at, 0, len(self.true) - 1))
        if np.isnan(self.read[index]):
            return None
        factor = rng.uniform(0.8, 1.2)
        error = factor * float(self.read[index] - self.true[index]) + rng.normal(0, 0.02)
        return float(np.clip(size + error, 0, 1)), float(factor * self.expected[index])


@dataclass(frozen=True)
class LeanErrors:
    """Leans at the contact as they are and as they were read, N films in the order of how far they lean.

    Attributes:
        true: float64 [N], how far the body leans, degrees, 0 and more.
        off: float64 [N], how much farther it was read, not-a-number where nothing was read.
        expected: float64 [N], the error that was expected.
    """

    true: NDArray[np.float64]
    off: NDArray[np.float64]
    expected: NDArray[np.float64]

    @classmethod
    def of(cls, films: Sequence[JudgedBody]) -> LeanErrors:
        """Collect those of simulated films."""
        known = []
        for film in films:
            lean = film.seen.get(CONTACT_LEAN, math.nan)
            if film.read is None or math.isnan(lean):
                continue
            leans = film.read.track.leans_deg
            read, expected = (math.nan, 0.0) if leans is None else np.asarray(leans[1], np.float64).tolist()
            known.append((abs(lean), math.copysign(1.0, lean) * read - abs(lean), expected))
        rows = np.array(sorted(known), np.float64).reshape(-1, 3)
        return cls(rows[:, 0], rows[:, 1], rows[:, 2])

    def draw(self, lean_deg: float, rng: np.random.Generator) -> NDArray[np.float32] | None:
        """Return leans [2, 2] as one at the contact may be read, one beyond all films as any; None where none is."""
        if not len(self.true):
            return None
        if abs(lean_deg) > self.true[-1] + _BEYOND_DEG:
            index = int(rng.integers(len(self.true)))
            anything = float(rng.choice((-1.0, 1.0)) * (self.true[index] + self.off[index]))
            return np.array([(np.nan, np.nan), (anything, self.expected[index])], np.float32)
        at = int(np.searchsorted(self.true, abs(lean_deg))) + int(rng.integers(-_ALIKE_LEANS, _ALIKE_LEANS + 1))
        index = int(np.clip(at, 0, len(self.true) - 1))
        factor = rng.uniform(0.8, 1.2)
        off = factor * float(self.off[index]) + rng.normal(0, 1.0)
        read = (lean_deg + math.copysign(off, lean_deg * off), factor * float(self.expected[index]))
        return np.array([(np.nan, np.nan), read], np.float32)


def contact_lean_deg(motion: BodyMotion) -> float:
    """Return how far a body has turned beyond the vertical at the contact, degrees, from outwards towards up."""
    body = motion.at(np.array([motion.air_s]))[:, :, [0, 2]]
    return float(np.degrees(body_axis(body)[0])) - 90.0


class BodyFilm:
    """Shows bodies as the reader reads them in films: with its errors, or with none.

    Args:
        errors: The reader's errors.
        splashes: Its errors on splashes.
        leans: Its errors on leans at the contact.
    """

    def __init__(self, errors: TrackErrors, splashes: SplashErrors, leans: LeanErrors) -> None:
        self._errors = errors
        self._splashes = splashes
        self._leans = leans

    def __call__(
        self,
        motion: BodyMotion,
        position: str,
        rng: np.random.Generator,
        *,
        loss: Loss | None = None,
        other: BodyMotion | None = None,
    ) -> BodyTrack:
        """Return a body's track as a reader would give it.

        Args:
            motion: The body in space.
            position: Letter of the dive's position: films of such dives are preferred.
            rng: Source of camera, errors and frames.
            loss: What is done to the flight.
            other: Whose flight takes its place, if it is ``foreign``.
        """
        errors = self._errors
        alike = errors.like(position) if rng.random() < _ALIKE else np.arange(len(errors))
        film = int(alike[rng.integers(len(alike))])
        axes = _camera(rng, float(errors.azimuth[film]), float(errors.elevation[film]))
        is_mirrored, is_exact = bool(rng.random() < 0.5), bool(rng.random() < _EXACT)
        takeoff_s, entry_s, time_scale = (
            (0.0, 0.0, 1.0)
            if is_exact
            else (float(each[film]) for each in (errors.takeoff_s, errors.entry_s, errors.time_scale))
        )
        if not is_exact:
            takeoff_s, entry_s = (each + float(rng.normal(0, _END_SD_S)) for each in (takeoff_s, entry_s))
        # Frames at the film's pace; the samples are the nearest ones, as in a clip.
        fps = float(errors.fps[film]) * float(np.exp(rng.normal(0, 0.15)))
        real_s = np.arange(-BEFORE_S - 0.15, motion.air_s + AFTER_S + 0.2, 1 / fps) + rng.random() / fps
        read_s, air_s = (real_s - takeoff_s) / time_scale, (motion.air_s + entry_s - takeoff_s) / time_scale
        chosen = np.abs(read_s[None] - np.linspace(-BEFORE_S, air_s + AFTER_S, CLIP_FRAMES)[:, None]).argmin(axis=1)
        real_s, read_s = real_s[chosen], read_s[chosen]
        body = _lost(motion, real_s, rng, loss, other)
        joints = project(body, axes, mirrored=is_mirrored)
        pelvis = project(motion.at(real_s), axes, mirrored=is_mirrored)[:, 0]
        joints, path = joints - joints[:, :1], pelvis - pelvis[np.argmin(np.abs(real_s))]
        phase = _phase(real_s, motion.air_s)
        confidence, seen = np.full(joints.shape[:2], _SURE), np.ones(len(joints))
        if not is_exact:
            joints, confidence, path = self._spoil(joints, path, film, phase, rng)
            seen = errors.seen[film, phase].astype(np.float64)
        track = BodyTrack(
            times_s=read_s,
            joints_m=joints.astype(np.float32),
            confidence=confidence.astype(np.float32),
            seen=seen.astype(np.float32),
            path_m=path.astype(np.float32),
            area_m2=errors.area_m2[film, phase].astype(np.float32),
            air_s=float(air_s),
        )
        if loss is None or rng.random() < 0.5:
            right, up = (axes[:2, axis] * (-1.0 if is_mirrored else 1.0, 1.0) for axis in (0, 2))
            sense = math.copysign(1.0, float(right[0] * up[1] - right[1] * up[0]))
            track = self.with_lean(track, sense * contact_lean_deg(motion), rng)
        return self.with_splash(track, motion.splash, rng)

    def with_lean(self, track: BodyTrack, lean_deg: float, rng: np.random.Generator) -> BodyTrack:
        """Return a track with a lean at the contact as it may be read; as it is where the true one is not known."""
        return track if math.isnan(lean_deg) else replace(track, leans_deg=self._leans.draw(lean_deg, rng))

    def with_splash(self, track: BodyTrack, size: float | None, rng: np.random.Generator) -> BodyTrack:
        """Return a track with a splash of a true size as it may be read; as it is where the true size is not known."""
        if size is None:
            return track
        read = self._splashes.draw(size, rng)
        return (
            replace(track, splash=None, splash_error=0.0)
            if read is None
            else replace(track, splash=read[0], splash_error=read[1])
        )

    def _spoil(
        self,
        joints: NDArray[np.float64],
        path: NDArray[np.float64],
        film: int,
        phase: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Give joints and path the errors of a film; return them with the joints' confidence.

        The errors are shifted along the flight, scaled and mixed with another film's: a few hundred films would
        otherwise be recognised and their errors undone, which is how a first trial overfitted (rank correlation on
        films that were not in it fell from 0.87 to 0.75 while training improved).
        """
        errors, flip = self._errors, bool(rng.random() < 0.5)
        shifted = _shift(phase, int(rng.integers(-_SHIFT, _SHIFT + 1)))
        residual = errors.residual[film, shifted].astype(np.float64) * rng.uniform(0.7, 1.5)
        if rng.random() < 0.5:
            share, other = rng.uniform(0.3, 0.8), int(rng.integers(len(errors)))
            mixed = errors.residual[other, _shift(phase, int(rng.integers(-_SHIFT, _SHIFT + 1)))]
            residual = np.sqrt(1 - share**2) * residual + share * mixed.astype(np.float64)
        confidence = errors.confidence[film, shifted].astype(np.float64)
        off = errors.path[film, phase].astype(np.float64)
        if flip:
            residual, confidence, off = residual[:, _SWAP] * (1, -1), confidence[:, _SWAP], off * (-1, 1)
        scale = float(errors.scale[film]) * float(np.exp(rng.normal(0, 0.05)))
        spoilt = scale * joints + np.einsum("tij,tkj->tki", turn(trunk_angle(joints)), residual)
        if rng.random() < 0.6:  # left and right are pulled together where a reader cannot tell them apart
            pull = rng.uniform(0, 0.5)
            spoilt = (1 - pull) * spoilt + pull * (spoilt + spoilt[:, _SWAP]) / 2
        swapped = errors.swapped[film, shifted][:, None]
        spoilt = np.where(swapped[..., None], spoilt[:, _SWAP], spoilt)
        confidence = np.where(swapped, confidence[:, _SWAP], confidence) * rng.uniform(0.8, 1.05)
        spoilt = np.where(errors.turned_over[film, shifted][:, None, None], -spoilt, spoilt)
        jitter = rng.normal(0, 0.05, (len(joints), 1)) + rng.normal(0, 0.04, confidence.shape)
        return spoilt, np.clip(confidence + jitter, 0, 1), scale * path + off


_ALIKE: Final = 0.8
"""How often the errors are those of a film of a dive in the same position."""

_EXACT: Final = 0.05
"""How often a body is shown without any error."""

_SPLASH_UNSEEN: Final = 0.08
_ALIKE_SPLASHES, _ALIKE_LEANS = 8, 6
"""So many films with smaller splashes (leans), and so many with larger ones, lend one their errors."""

_BEYOND_DEG: Final = 15.0
"""How much farther a body must lean than that of any film to be read as anything: the leans of 48 failed dives, 62 to
180 degrees, were read as 0 to 45, as those of other dives are."""

_SURE: Final = 0.9
_END_SD_S: Final = 0.015
_SHIFT: Final = 8
_AZIMUTH_SD, _ELEVATION_SD = np.radians(10), np.radians(3)
_LOWEST, _HIGHEST = np.radians(-14), np.radians(38)


def _camera(rng: np.random.Generator, azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Draw a camera near another one, or near its mirror image; return its axes [3, 3]."""
    turned = azimuth + float(rng.normal(0, _AZIMUTH_SD))
    raised = float(np.clip(elevation + rng.normal(0, _ELEVATION_SD), _LOWEST, _HIGHEST))
    return np.asarray(axes_of(-turned if rng.random() < 0.5 else turned, raised), np.float64)


def _shift(phase: NDArray[np.int64], by: int) -> NDArray[np.int64]:
    """Shift phases in the air along the flight, around its ends; leave the others."""
    in_air = (phase >= _BEFORE) & (phase < _BEFORE + _IN_AIR)
    return np.where(in_air, _BEFORE + (phase - _BEFORE + by) % _IN_AIR, phase)


def _lost(
    motion: BodyMotion,
    real_s: NDArray[np.float64],
    rng: np.random.Generator,
    loss: Loss | None,
    other: BodyMotion | None,
) -> NDArray[np.float32]:
    """Return the body [F, J, 3] at real times, with something done to its flight."""
    air = np.flatnonzero((real_s >= 0) & (real_s < motion.air_s))
    source = real_s.copy()
    if loss == "frozen" and len(air):
        source[air] = real_s[air[0]]
    elif loss == "reversed":
        source[air] = motion.air_s - real_s[air]
    elif loss == "shuffled":
        parts = np.array_split(air, int(rng.integers(4, 9)))
        source[air] = real_s[np.concatenate([parts[index] for index in rng.permutation(len(parts))])]
    body = motion.at(source)
    if loss == "foreign" and other is not None:
        body = body.copy()
        body[air] = other.at(real_s[air] / motion.air_s * other.air_s)
    return body
