"""Pictures about the ends of simulated flights, to train the networks that read the ends and the splash.

Only these pictures are rendered, which takes a third of a second a dive: thousands of ends cost what a hundred
whole films do. Others are found in films, with the errors of the search. Windows are cut wider than they are read, so
that drawing a batch can shift, scale, turn and mirror them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import cv2
import numpy as np
import torch

from finecausal_cli.athlete.ends import (
    END_BINS_S,
    END_LOOKS_S,
    END_PX,
    FEWEST_LOOKS,
    SPLASH_LOOKS_S,
    TOLERANCE_S,
    WINDOW_M,
    WINDOW_PX,
    end_looks,
    halved,
    nearest_pictures,
    shows_end,
    splash_looks,
)
from finecausal_cli.athlete.track import AFTER_S, BEFORE_S
from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.device import fast_precision
from finecausal_cli.errors import DatasetError, VideoError
from finecausal_cli.scoring.tracks import read_track
from finecausal_cli.simulator.negatives import NEGATIVES_NAME
from finecausal_cli.simulator.recording import axes_in_picture_deg, lean_in_picture_deg
from finecausal_cli.simulator.wild import render_wild
from finecausal_cli.tracking import SPLASH_BELOW_BODY_M, crop_window
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from finecausal_cli.athlete import End
    from finecausal_cli.athlete.ends import EndReading
    from finecausal_cli.athlete.reader import AthleteReader
    from finecausal_cli.scoring.tracks import StoredTrack
    from finecausal_cli.simulator.dive import SimulatedDive
    from finecausal_cli.simulator.recording import DatasetPlan
    from finecausal_cli.simulator.wild import WildSceneConfig
    from finecausal_cli.training import EndPart

logger = logging.getLogger(__name__)

LOOKS_S: Final[Mapping[EndPart, tuple[float, ...]]] = {
    "takeoff": END_LOOKS_S["takeoff"],
    "contact": END_LOOKS_S["contact"],
    "splash": SPLASH_LOOKS_S,
}
"""When the pictures are taken, real seconds from the end."""

CUT_PX: Final[Mapping[EndPart, int]] = {"takeoff": 160, "contact": 160, "splash": 96}
"""Side of a stored window, pixels."""

CUT_M: Final = 1.4 * WINDOW_M
"""What it shows, metres."""

_A_SHARD: Final = 500
_AT_ONCE: Final = 32
_REDRAWN: Final = 0.6
"""Share of the dives whose splash is drawn anew, whatever the body does: else its size would follow from the
body's lean, and big ones, which are rare, would hardly be seen."""

_ENTRY_SD_S, _PLACE_SD_M, _SCALE_SD, _DRIFT_SD_M = 0.035, 0.12, 0.1, 0.05
_SHIFT_SD_M, _ZOOM_SD = 0.3, 0.1
"""Errors of the entry's time and place, of the scale, and of the camera's motion, as the search of dives has them; and
those that every batch adds. With a third of these shifts windows as they are found were read with rho 0.66."""

_FAR: Final[Mapping[End, tuple[float, float]]] = {"takeoff": (0.5, 0.28), "contact": (0.5, 0.28)}
"""Share of the ends that the search is taken to miss by more, and by how much at most, real seconds. With 0.2 and 0.16,
ten take-offs and seven contacts of films that it had missed by 0.08 to 0.46 s were read within 0.07 s of where it put
them."""

_SINKING_M_S, _SINKING_M = 9.0, 1.0
"""How fast and how far the window follows the body into the water, as ``tracking`` has it."""

_MOVED_SD_S: Final = 0.02
"""By how much the entry from which contacts are counted is moved in half of a batch."""

_TURNED_SD_DEG: Final = 12.0
"""By how much pictures of a batch are turned, and leans with them: what leans is the body, and not what it dives."""

_CLIP_SHARE: Final = 0.15
"""Share of the windows whose last pictures are taken away: clips that end in the splash."""

_CLIP_S: Final = (0.03, 0.3)
"""When such clips end after the contact, real seconds."""

_OFTEN_DEG: Final = 12.0
"""Lean of bodies that are drawn twice as often as upright ones: drawn alike, of leans from 20 degrees on 40% were read
within 8 degrees, and as 10 degrees less, those below 10 degrees in 84%."""

_MOST_OFTEN: Final = 3.0
"""How much more often at most: failed dives lean by up to 180 degrees."""

_MOVES: Final = 4
"""Windows that are kept of an end of a film: as the search finds it, and from where it might have."""

_ABSENT_S: Final = (0.36, 0.9)
"""How far from an end a film is looked at to learn that there is none, real seconds."""

FILMED_SHIFT_M: Final = 0.1
"""Shifts of windows that are found in films, standard deviation, metres."""

Windows = dict[str, Any]
"""``pictures`` uint8 [K, S, S, 3], ``known`` bool [K], ``since`` float32 [K] (of contacts alone) and ``truth``."""

# Pictures about entries: rendered alone, or found in films.


def cut_splash(plan: DatasetPlan, index: int) -> Windows | None:
    """Render the pictures after a dive's entry, at `SPLASH_LOOKS_S`; None where the film lacks them.

    The truth is the size of the splash, 0 to 1. Windows show `CUT_M`.
    """
    simulated = plan.dive(index)
    rng = np.random.default_rng(np.random.SeedSequence((plan.seed, index, 99)))
    if rng.random() < _REDRAWN:
        simulated = replace(simulated, seen=replace(simulated.seen, splash=float(rng.beta(1.0, 1.4))))
    config = plan.wild_config(index, simulated)
    motion, real_s, looks = simulated.motion, config.timing.real_s, np.array(SPLASH_LOOKS_S)
    since, step = real_s - motion.contact_s, _step_s(simulated)
    wanted = np.round((looks + rng.normal(0, _ENTRY_SD_S)) / step) * step
    nearest, known = nearest_pictures(since, wanted, _near_s(since))
    if not known[:FEWEST_LOOKS].all():
        return None
    contact = np.array([motion.contact_s + rng.normal(0, _ENTRY_SD_S)])
    place = motion.track(motion.centre, contact) - (0, 0, SPLASH_BELOW_BODY_M)
    centre = config.camera.screen(place)[:, :2]
    pictures = _windows(
        simulated, config, nearest, known, np.repeat(centre, len(looks), axis=0), looks, rng, CUT_PX["splash"]
    )
    return {"pictures": pictures, "known": known, "truth": np.float32(simulated.seen.splash)}


def cut_end(end: End, plan: DatasetPlan, index: int) -> Windows | None:
    """Render the pictures about an end of a dive's flight, at `END_LOOKS_S`; None where the film lacks them.

    The truth is when feet or hands leave the board, or the body first touches the water, real seconds from where the
    search might find it; how the body leans then (`lean_in_picture_deg`); and the body's long axis in every picture.
    """
    simulated = plan.dive(index)
    rng = np.random.default_rng(np.random.SeedSequence((plan.seed, index, 77 if end == "contact" else 78)))
    config = plan.wild_config(index, simulated)
    motion, real_s, looks = simulated.motion, config.timing.real_s, np.array(END_LOOKS_S[end])
    end_s, inwards = (motion.contact_s, -1.0) if end == "contact" else (motion.leave_s, 1.0)
    far_share, far_s = _FAR[end]
    error = rng.uniform(-far_s, far_s) if rng.random() < far_share else rng.normal(0, _ENTRY_SD_S)
    since, step = real_s - end_s - error, _step_s(simulated)
    begin = rng.uniform(0, step)
    wanted = np.round((looks - begin) / step) * step + begin
    nearest, known = nearest_pictures(since, wanted, _near_s(since))
    if not shows_end(end, known) or not since[0] < -error - inwards * _CLIP_S[0] < since[-1]:
        return None
    flying = inwards * np.maximum(inwards * since[nearest], 0.0)
    centre = motion.track(motion.centre, end_s + error + flying).copy()
    if end == "contact":
        centre[:, 2] -= np.clip(since[nearest] * _SINKING_M_S, 0.0, _SINKING_M)
    centres = config.camera.screen(centre)[:, :2]
    pictures = _windows(simulated, config, nearest, known, centres, since[nearest], rng, CUT_PX[end])
    axes = np.where(known, axes_in_picture_deg(motion, config.camera, real_s[nearest]), np.nan)
    return {
        "pictures": pictures,
        "known": known,
        "since": since[nearest].astype(np.float32),
        "truth": np.array([-error, lean_in_picture_deg(end, motion, config.camera), *axes], np.float32),
    }


_CUTS: Final[Mapping[EndPart, Callable[[DatasetPlan, int], Windows | None]]] = {
    "takeoff": partial(cut_end, "takeoff"),
    "contact": partial(cut_end, "contact"),
    "splash": cut_splash,
}


def _step_s(simulated: SimulatedDive) -> float:
    """Return the real seconds between the frames that are sampled of a dive."""
    return float(BEFORE_S + simulated.motion.contact_s - simulated.motion.leave_s + AFTER_S) / (CLIP_FRAMES - 1)


def _near_s(since: NDArray[np.float64]) -> float:
    """Return how far a frame may be from the moment that is wanted."""
    return max(TOLERANCE_S, float(np.median(np.diff(since))))


def _windows(
    simulated: SimulatedDive,
    config: WildSceneConfig,
    nearest: NDArray[np.int64],
    known: NDArray[np.bool_],
    centres: NDArray[np.float64],
    since: NDArray[np.float64],
    rng: np.random.Generator,
    side_px: int,
) -> NDArray[np.uint8]:
    """Render frames [K] and cut windows about centres [K, 2] of the scene, with the errors of a search."""
    frames = sorted(set(nearest[known].tolist()))
    shown = {frame: each.frame for frame, each in zip(frames, render_wild(simulated, config, frames), strict=True)}
    camera, real_s = config.camera, config.timing.real_s
    centres = centres + rng.normal(0, _PLACE_SD_M, 2)
    scale, drift = float(np.exp(rng.normal(0, _SCALE_SD))), rng.normal(0, _DRIFT_SD_M, 2)
    pictures = np.zeros((len(nearest), side_px, side_px, 3), np.uint8)
    for look in np.flatnonzero(known).tolist():
        view = camera.views(simulated.motion, real_s[nearest[look : look + 1]])[0]
        middle = view[:, :2] @ (centres[look] + drift * since[look]) + view[:, 2]
        window = np.array([*middle, CUT_M * camera.scale(view) * scale])
        pictures[look] = crop_window(shown[nearest[look]], window, side_px)
    return pictures


def cut_windows(
    what: EndPart,
    plan: DatasetPlan,
    count: int,
    out: Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Cut the windows of dives into files that are kept; what is there is not cut again.

    Returns:
        The files, some hundred dives each.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    out.mkdir(parents=True, exist_ok=True)
    stamp = out / "plan.json"
    facts = json.dumps(
        {
            **plan.stamp(),
            "looks_s": LOOKS_S[what],
            "cut_m": CUT_M,
            "cut_px": CUT_PX[what],
            "below_m": SPLASH_BELOW_BODY_M,
        },
        sort_keys=True,
    )
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != facts:
        for old in out.glob("entries-*.npz"):
            old.unlink()
        with atomic_write(stamp, "the plan of the entries") as part:
            part.write_text(facts, encoding="utf-8")
    files = []
    with ExitStack() as stack:
        each: Callable[..., Iterable[dict[str, NDArray[Any]] | None]] = map  # with one, in this process
        if workers > 1:
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
            each = partial(pool.map, chunksize=8)
        for first in range(0, count, _A_SHARD):
            last = min(first + _A_SHARD, count)
            files.append(out / f"entries-{first:06d}-{last:06d}.npz")
            if not files[-1].is_file():
                cut = each(partial(_CUTS[what], plan), range(first, last))
                _write(files[-1], [entry for entry in cut if entry])
            if progress is not None:
                progress(last, count)
    return files


class _WindowRecorder:
    """An athlete reader that keeps the pictures about the entry, as they are found, instead of reading them."""

    def __init__(self, reader: AthleteReader) -> None:
        self._reader = reader
        self.splash: tuple[NDArray[Any], ...] | None = None
        self.ends: dict[End, tuple[NDArray[np.uint8], NDArray[np.float64]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def size_splash(self, pictures: NDArray[np.uint8], since_entry_s: NDArray[np.float64]) -> None:
        """Keep the pictures."""
        self.splash = splash_looks(pictures, since_entry_s)

    def read_end(self, end: End, pictures: NDArray[np.uint8], since_s: NDArray[np.float64]) -> EndReading | None:
        """Keep the pictures; for a splash they are wanted from the contact on as it is read."""
        self.ends[end] = pictures, since_s
        return self._reader.read_end(end, pictures, since_s)


def read_films(
    what: EndPart,
    dataset: Path,
    reader: AthleteReader,
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Find the dives of simulated films and keep the windows about an end, with the errors of the search.

    Args:
        what: ``splash``, ``takeoff`` or ``contact``.
        dataset: Simulated films.
        reader: The athlete reader; for an end one without a network for it.
        out: Folder for the file.
        progress: Called with the films that are read, and their number.

    Returns:
        A file as `cut_windows` writes them, but of windows that show `WINDOW_M`.

    Raises:
        DatasetError: None of the films shows it.
    """
    file = _file_of("films", what, dataset, reader, out)
    if file.is_file():
        return file
    dives, kept = read_dataset(dataset), []
    for done, dive in enumerate(dives):
        recorder, record = _WindowRecorder(reader), dive.video.parent.parent / "meta" / f"{dive.video.stem}.json"
        truth = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        try:
            stored = read_track(dive.video, cast("AthleteReader", recorder))
        except VideoError as error:
            logger.info("passed over: %s", error)
        else:
            kept += _filmed(what, recorder, truth, stored, np.random.default_rng((done, 18)))
        if progress is not None:
            progress(done + 1, len(dives))
    if not kept:
        raise DatasetError("no film shows an end of a flight whose truth is known", where=dataset)
    _write(file, kept)
    return file


def read_negatives(
    end: End, clips: Path, reader: AthleteReader, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Find flights in clips that are no dive, and keep the windows about their end, at which no water is met.

    Args:
        end: Which end.
        clips: Folder with a table of clips (``simulate --negatives``).
        reader: An athlete reader without a network for the end.
        out: Folder for the file.
        progress: Called with the clips that are read, and their number.

    Returns:
        A file as `read_films` writes them, whose truth is not a number.

    Raises:
        DatasetError: There is no such table, or no flight is found in any clip.
    """
    file, kept = _file_of("negatives", end, clips, reader, out), list[Windows]()
    if file.is_file():
        return file
    table = clips / NEGATIVES_NAME
    if not table.is_file():
        raise DatasetError("no table of clips that are no dive", where=table, hint="finecausal simulate --negatives")
    with table.open(encoding="utf-8", newline="") as stream:
        videos = [clips / row["video"] for row in csv.DictReader(stream)]
    for done, video in enumerate(videos):
        recorder = _WindowRecorder(reader)
        with suppress(VideoError):  # most are refused; where a flight is found, its end has been shown
            read_track(video, cast("AthleteReader", recorder))
        if end in recorder.ends:
            kept += negative_windows(end, *recorder.ends[end], np.random.default_rng((done, 19)))
        if progress is not None:
            progress(done + 1, len(videos))
    if not kept:
        raise DatasetError("a flight is found in none of the clips", where=clips)
    _write(file, kept)
    return file


def _file_of(kind: str, what: EndPart, folder: Path, reader: AthleteReader, out: Path) -> Path:
    """Return where the windows go that a reader finds in the clips of a folder."""
    facts = f"{what} {_MOVES} {END_PX} {folder.resolve()} {reader.digest}"
    return out / f"{kind}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.npz"


def negative_windows(
    end: End, pictures: NDArray[np.uint8], since_s: NDArray[np.float64], rng: np.random.Generator
) -> list[Windows]:
    """Return windows about the end of a flight that is no dive, from about where the search finds it."""
    looks = [end_looks(end, pictures, since_s - moved_s) for moved_s in (0.0, *rng.normal(0, 0.1, _MOVES - 1))]
    truth = [np.nan] * (2 + len(END_LOOKS_S[end]))
    return [_window(each, truth) for each in looks if each is not None]


def _filmed(
    what: EndPart,
    recorder: _WindowRecorder,
    truth: Mapping[str, Any],
    stored: StoredTrack,
    rng: np.random.Generator,
) -> list[Windows]:
    """Return what a film shows, and the truth; nothing where there is neither, or the search is far off."""
    if what == "splash":
        size = truth.get("seen", {}).get("splash")
        return [] if size is None or recorder.splash is None else [_window(recorder.splash, size)]
    name, read_s = ("flight_start_s", stored.takeoff_s) if what == "takeoff" else ("entry_start_s", stored.entry_s)
    if what not in recorder.ends or name not in truth or "lean_deg" not in truth:
        return []
    pictures, since_s = recorder.ends[what]
    moment_s = (truth[name] - read_s) / stored.time_scale
    windows = moved_windows(what, pictures, since_s, moment_s, truth["lean_deg"][what], rng)
    return windows + (far_windows(what, pictures, since_s - moment_s, rng) if what == "takeoff" else [])


def moved_windows(
    end: End,
    pictures: NDArray[np.uint8],
    since_s: NDArray[np.float64],
    moment_s: float,
    lean_deg: float,
    rng: np.random.Generator,
) -> list[Windows]:
    """Return the windows about an end of a film from where the search finds it, and from where it might have.

    Args:
        end: Which end.
        pictures: uint8 [N, S, S, 3], about it.
        since_s: [N], when they were taken, real seconds from where the search finds it.
        moment_s: The truth, from there.
        lean_deg: How the body leans then.
        rng: Draws where the search might have found it.
    """
    far_s = _FAR[end][1]
    axes = [np.nan] * len(END_LOOKS_S[end])  # of films they are not known
    windows = []
    for error_s in (moment_s, *rng.uniform(-far_s, far_s, _MOVES - 1)):
        looks = end_looks(end, pictures, since_s - (moment_s - error_s))
        if looks is not None and abs(error_s) < END_BINS_S[-1]:
            windows.append(_window(looks, (error_s, lean_deg, *axes)))
    return windows


def far_windows(
    end: End, pictures: NDArray[np.uint8], since_s: NDArray[np.float64], rng: np.random.Generator
) -> list[Windows]:
    """Return windows of a film from where an end is too early or too late to be seen: there is none.

    Args:
        end: Which end.
        pictures: uint8 [N, S, S, 3], about it.
        since_s: [N], when they were taken, real seconds from the end.
        rng: Draws from where.
    """
    away = rng.uniform(*_ABSENT_S, 2) * (1, -1)
    looks = [end_looks(end, pictures, since_s + away_s) for away_s in away]
    return [_window(each, [np.nan] * (2 + len(END_LOOKS_S[end]))) for each in looks if each is not None]


def _window(looks: Sequence[NDArray[Any]], truth: Any) -> Windows:
    return {**dict(zip(("pictures", "known", "since"), looks, strict=False)), "truth": np.asarray(truth, np.float32)}


def _write(file: Path, entries: Sequence[Windows]) -> None:
    arrays: dict[str, Any] = {name: np.stack([each[name] for each in entries]) for name in entries[0]}
    with atomic_write(file, "windows of entries") as part, part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


# Batches of them.

Batch = tuple["NDArray[Any]", ...]
"""What the network is given, [B, ...], and last the truth [B]."""


class WindowSet:
    """Windows about an end of flights, of which batches are drawn.

    Args:
        files: As `cut_windows` writes them.
        side_m: What the windows show, metres.
        shift_m: Standard deviation of the shifts, metres.
        end: Which end they are about: at it, films are cut short.
    """

    def __init__(
        self, files: Sequence[Path], side_m: float = CUT_M, shift_m: float = _SHIFT_SD_M, end: End = "contact"
    ) -> None:
        self._end = end
        parts = [np.load(file, allow_pickle=False) for file in files]  # read array by array: pictures are large
        self.known, self.truth = (np.concatenate([part[name] for part in parts]) for name in ("known", "truth"))
        self.since = np.concatenate([part["since"] for part in parts]) if "since" in parts[0] else None
        self.pictures = _joined(parts, len(self.truth))
        side = self.pictures.shape[2]
        often = np.ones(len(self))
        if self.since is not None:  # what is no dive, and has no lean, twice as often too
            often += np.minimum(np.abs(np.nan_to_num(self.truth[:, 1], nan=_OFTEN_DEG)) / _OFTEN_DEG, _MOST_OFTEN)
        self._shares = often / often.sum()
        self._side = WINDOW_PX if self.since is None else END_PX
        self._scale, self._shift_px = self._side * side_m / (side * WINDOW_M), shift_m * side / side_m

    def __len__(self) -> int:
        return len(self.truth)

    def plain(self, first: int, last: int) -> Batch:
        """Return windows as they are read."""
        middle = np.full(2, self.pictures.shape[2] / 2)
        matrix = _matrix(self._scale, middle, self._side, mirrored=False)
        shown = np.stack([_shown(pictures, matrix, self._side) for pictures in self.pictures[first:last]])
        since = () if self.since is None else (self.since[first:last],)
        return shown, self.known[first:last], *since, self.truth[first:last]

    def draw(self, rng: np.random.Generator, count: int) -> Batch:
        """Draw windows, made harder to read; of ends, those of leaning bodies more often."""
        rows = rng.choice(len(self), count, p=self._shares)
        known, truth = self.known[rows].copy(), self.truth[rows]
        cut = rng.random(count) < _CLIP_SHARE
        if self.since is None:
            looks = known.shape[1]
            known[cut] &= np.arange(looks) < rng.integers(FEWEST_LOOKS, looks, count)[cut, None]
            return (
                np.stack([self._vary(self.pictures[row], rng, mirrored=rng.random() < 0.5) for row in rows]),
                known,
                truth,
            )
        since, moment = self.since[rows], np.nan_to_num(truth[:, 0])
        shown = rng.uniform(*_CLIP_S, count)
        inside = since < (moment + shown)[:, None] if self._end == "contact" else since > (moment - shown)[:, None]
        known[cut] &= inside[cut]
        moved = np.where(rng.random(count) < 0.5, rng.normal(0, _MOVED_SD_S, count), 0.0).astype(np.float32)
        mirrored, turned = rng.random(count) < 0.5, rng.normal(0, _TURNED_SD_DEG, count)
        pictures = [
            self._vary(self.pictures[row], rng, mirrored=flip, turned_deg=turn)
            for row, flip, turn in zip(rows, mirrored, turned, strict=True)
        ]
        # Mirrored first and then turned counter-clockwise: so are the directions.
        directions = np.where(mirrored[:, None], -truth[:, 1:], truth[:, 1:]) + turned[:, None]
        truth = np.column_stack([truth[:, 0] - moved, directions]).astype(np.float32)
        return np.stack(pictures), known, since - moved[:, None], truth

    def _vary(
        self, pictures: NDArray[np.uint8], rng: np.random.Generator, *, mirrored: bool, turned_deg: float = 0.0
    ) -> NDArray[np.uint8]:
        """Return windows shifted, scaled, mirrored and turned, with other light and the marks of another codec."""
        middle = np.full(2, pictures.shape[1] / 2) + rng.normal(0, self._shift_px, 2)
        scale = self._scale * float(np.exp(rng.normal(0, _ZOOM_SD)))
        matrix = _matrix(scale, middle, self._side, mirrored=mirrored, turned_deg=turned_deg)
        gain, offset = rng.uniform(0.75, 1.25) * rng.normal(1, 0.08, 3), rng.normal(0, 12)
        quality = int(rng.integers(25, 90)) if rng.random() < 0.4 else None
        blur = float(rng.uniform(0.3, 1.2)) * pictures.shape[1] / 96 if rng.random() < 0.3 else 0.0
        noise = float(rng.uniform(2, 10)) if rng.random() < 0.3 else 0.0
        if quality is not None:
            pictures = np.stack([_compressed(each, quality) for each in pictures])
        if blur:
            pictures = np.stack([np.asarray(cv2.GaussianBlur(each, (0, 0), blur), np.uint8) for each in pictures])
        lit = _shown(pictures, matrix, self._side) * gain + offset
        if noise:
            lit = lit + rng.normal(0, noise, lit.shape)
        return np.clip(lit, 0, 255).astype(np.uint8)


def _joined(parts: Sequence[Any], count: int) -> NDArray[np.uint8]:
    """Return the pictures of all parts; no more than one of them is in memory beside the result."""
    joined: NDArray[np.uint8] | None = None
    first = 0
    for part in parts:
        pictures = part["pictures"]
        joined = np.empty((count, *pictures.shape[1:]), np.uint8) if joined is None else joined
        joined[first : first + len(pictures)] = pictures
        first += len(pictures)
    assert joined is not None  # noqa: S101 -- there is a file
    return joined


class DrawnWindows:
    """Windows about ends that are drawn once, with what the frozen stages of a network see in them, to be used again.

    To see them takes five times as long as the rest of a step on a CPU.

    Args:
        windows: What they are drawn from.
        count: How many.
        see: ``EndNetwork.features``.
        device: Where that network is.
        rng: Draws them.
        progress: Called with how many are drawn, and of how many.
    """

    def __init__(
        self,
        windows: WindowSet,
        count: int,
        see: Callable[[Tensor], Tensor],
        device: torch.device,
        rng: np.random.Generator,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        parts: list[Batch] = []
        is_fast = fast_precision(device) == "bf16"
        for first in range(0, count, _AT_ONCE):
            pictures, *others, truth = windows.draw(rng, min(_AT_ONCE, count - first))
            shown = torch.from_numpy(pictures)
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=is_fast):
                features = see(shown.to(device)).half().cpu().numpy()
            parts.append((halved(shown).numpy(), *others, features, truth))
            if progress is not None:
                progress(first + len(pictures), count)
        self._arrays = tuple(np.concatenate(each) for each in zip(*parts, strict=True))

    def __len__(self) -> int:
        return len(self._arrays[0])

    def draw(self, rng: np.random.Generator, count: int) -> Batch:
        """Draw some of them."""
        rows = rng.integers(0, len(self), count)
        return tuple(each[rows] for each in self._arrays)


def _matrix(
    scale: float, middle: NDArray[np.float64], side: int, *, mirrored: bool, turned_deg: float = 0.0
) -> NDArray[np.float64]:
    """Return the map [2, 3] that brings a place of a stored window to the middle of what is read, of a side.

    The picture is mirrored, or not, and then turned counter-clockwise.
    """
    cos, sin = np.cos(np.radians(turned_deg)), np.sin(np.radians(turned_deg))
    axes = np.array([[cos, sin], [-sin, cos]]) @ np.diag([-scale if mirrored else scale, scale])
    return np.column_stack([axes, side / 2 - axes @ middle])


def _shown(pictures: NDArray[np.uint8], matrix: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    cut = [cv2.warpAffine(each, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE) for each in pictures]
    return np.asarray(np.stack(cut), np.uint8)


def _compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
