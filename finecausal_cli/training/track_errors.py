"""Errors of the athlete reader, measured on simulated films.

A film of a simulated dive is read as any film is, and compared with what is known of it. What is off at each phase of
the flight is kept: joints about the true trunk, bodies turned over, left taken for right, confidence, scale, path,
take-off and entry; and what is read of splashes and leans. ``body_film`` gives these errors to simulated bodies.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np

from finecausal_cli.athlete import MIRRORED
from finecausal_cli.athlete.track import BodyMotion, trunk_angle, turn
from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.batch import stage_execution
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import DatasetError, VideoError
from finecausal_cli.training.pairs import EXECUTION_SPREAD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.data import Dive
    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.scoring.tracks import StoredTrack, TrackCache

logger = logging.getLogger(__name__)

# Phases: some before the take-off, most in the air, some after the entry.

FIRST_IN_AIR, IN_AIR, _AFTER = 14, 64, 8
"""First phase in the air, how many there are, and how many after the entry."""

PHASES: Final = FIRST_IN_AIR + IN_AIR + _AFTER
_BEFORE_S, _AFTER_STEP_S = 0.5, 0.03

_TURNED_OVER: Final = np.radians(120)
_SWAPPED: Final = 0.8
"""Left counts as taken for right where that makes the error so much smaller."""

_FEWEST_FRAMES: Final = 10
_MOST_M, _MOST_PATH_M, _MOST_S = 1.5, 5.0, 0.4
SWAP: Final = list(MIRRORED)
"""Order of the joints in which left and right have changed places."""


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


def phase_of(times_s: NDArray[np.float64], air_s: float) -> NDArray[np.int64]:
    """Return the phase [T], 0 to `PHASES` - 1, at real times [T] since the take-off, seconds."""
    before = np.rint((times_s + _BEFORE_S) / (_BEFORE_S / FIRST_IN_AIR))
    air = FIRST_IN_AIR + np.floor(times_s / air_s * IN_AIR)
    after = FIRST_IN_AIR + IN_AIR + np.floor((times_s - air_s) / _AFTER_STEP_S)
    chosen = np.where(times_s < 0, np.minimum(before, FIRST_IN_AIR - 1), np.where(times_s < air_s, air, after))
    return np.clip(chosen, 0, PHASES - 1).astype(np.int64)


def _phase_times(air_s: float) -> NDArray[np.float64]:
    before = np.arange(FIRST_IN_AIR) * (_BEFORE_S / FIRST_IN_AIR) - _BEFORE_S
    air = (np.arange(IN_AIR) + 0.5) / IN_AIR * air_s
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
        np.linalg.norm(each - scale * true, axis=-1).mean(axis=-1) for each in (righted, righted[:, SWAP])
    )
    swapped = exchanged < _SWAPPED * as_named
    righted = np.where(swapped[:, None, None], righted[:, SWAP], righted)
    confidence = np.where(swapped[:, None], track.confidence[:, SWAP], track.confidence)
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


_SPLASH_UNSEEN: Final = 0.08
_ALIKE_SPLASHES, _ALIKE_LEANS = 8, 6
"""So many films with smaller splashes (leans), and so many with larger ones, lend one their errors."""

_BEYOND_DEG: Final = 15.0
"""How much farther a body must lean than that of any film to be read as anything: the leans of 48 failed dives, 62 to
180 degrees, were read as 0 to 45, as those of other dives are."""


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
