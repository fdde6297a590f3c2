"""Find the flights of a video: who falls freely, and from when to when."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from finecausal_cli.tracking.ballistic import FLOOR, FULL_HEAT, GRAVITY, BallisticSearch, Paths, apex
from finecausal_cli.tracking.camera import Camera, chain, measure_steps
from finecausal_cli.tracking.motion import HOTTEST, SHRINK, after_hold, motion_heat
from finecausal_cli.tracking.transitions import (
    BODY_RADIUS_M,
    REACH_M,
    Ends,
    body_radius,
    diameters,
    implausibility,
    refine,
    slow_motion_scale,
    time_scale,
    track,
)
from finecausal_cli.video.decoders import Scanner, SmallFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from finecausal_cli.tracking.camera import Step
    from finecausal_cli.tracking.motion import Heat


# Find the dives in a film, without anything learnt: who falls freely before a still world is the athlete.

_LOG = logging.getLogger(__name__)

SIDE = 384
"""Long side, in pixels, of the pictures that are searched."""

MOST_FPS = 33.0
"""Frames a second that are looked at; more say nothing new."""

CHUNK_S, OVERLAP_S = 30.0, 12.0
"""Seconds that are searched at once, and that the next ones share: the longest flight in slow motion."""

_REPORT_S = 1.0
"""Seconds of film after which progress is reported."""

_LEAST_FALL_M = 1.5
"""From 1 m the body's middle falls by more than this before the hands are in the water; a jump on land by less."""

_LEAST_DROP_M = 1.2
"""From the take-off to the entry the middle of a body drops by the height of the board, or more."""

_LEAST_S = 0.4
_FEWEST_FRAMES = 8
_COVERED = 0.6
"""Share of the flight that its path must cover to tell how deep the fall was."""

_BLACK = 24
"""Brightest grey value of a black film."""

_STILL = 6
"""Heat below which nothing moves."""

_TRIED = 12
"""Paths of a chunk that are looked at closely."""

_LEAST_SHARE = 0.15
"""Least motion on such a path, over that on the best."""

_LEAST_CONFIDENCE = 0.5
_SURE = 0.9
"""Confidence of a flight that needs no comparison."""

_BESIDE_SHARE = 0.6
"""How strong a second athlete in the air must be, over the first."""

_WANDER_M = 0.25
"""How far, in metres, an athlete wanders in the picture of the steadiest camera that follows."""

_SHARE_IN_AIR = 0.8
"""Time in the air over the time that something moves on the path: the push and the splash are on it too."""

_SLOW_SHARE_IN_AIR = 0.9
"""The same in slow motion."""

_DOUBTFUL = 2.2
"""Time scale up to which real speed is tried as well."""

_SAME_PULL = 0.25
"""Difference of the logarithms of the pull before and after refinement beyond which it is done again."""

_SAME_SCALE = 0.1
"""Difference of the logarithms of two time scales that are one."""

_BOUNCE_SHARE = 0.5
"""How strong a flight must be, over the one before it, to make that a run-up."""

_SAME_PLACE_M = 2.5
"""Two places closer than this, in metres, may be the same athlete's."""

_AROUND_S = 2.0
"""Real seconds before and after a flight for which its camera is kept."""

_LEAST_SHOWN = 0.6
"""Likelihood that the shot shows the entry, and does not end in the air, from which on the entry is known. Of films cut
0.04 s after the entry the median is 0.65, 0.08 s after it 0.93, 0.05 s before it 0.13."""

_BEFORE_S, FOLLOWED_S = 0.4, 0.25
"""Real seconds before the take-off and after the entry over which the athlete is followed."""


_FASTEST_FORWARD_M_S = 3.1
"""Fastest that a diver travels forward. Of 53 simulated and filmed dives none did more than 2.3 m/s, of 640 others one,
seen from 31 degrees above, 3.0; of the simulated negatives most swimming starts and some jumps from a pier and thrown
balls did 3.2 to 8."""


@dataclass(frozen=True, slots=True)
class Flight:
    """One athlete in the air.

    Attributes:
        takeoff_s: First moment in the air, file time from the first frame; None: before the film or the shot begins.
        entry_s: First contact with the water; None: after the end, or out of the picture.
        first_s: When the path is first observed.
        last_s: When it is last observed.
        time_scale: How many times slower than life it is shown; 1 is normal.
        confidence: 0 to 1.
        shot: Index into ``Search.shots``.
        times_s: float64 [frames], every frame that was looked at from ``first_s`` to ``last_s``.
        centres: float64 [frames, 2], x and y of the athlete's middle in pixels of the decoded upright picture.
        px_per_m: float64 [frames], pixels in a metre, from the pull; along the height of the picture.
        sizes: float64 [frames], longest extent of the athlete in pixels.
        camera: Where the still world lies in the decoded upright picture, from some seconds before the flight to some
            after, in its shot.
    """

    takeoff_s: float | None
    entry_s: float | None
    first_s: float
    last_s: float
    time_scale: float
    confidence: float
    shot: int
    times_s: NDArray[np.float64]
    centres: NDArray[np.float64]
    px_per_m: NDArray[np.float64]
    sizes: NDArray[np.float64]
    camera: Camera

    @property
    def forward_m_s(self) -> float:
        """How fast the athlete travels across the picture in the air, metres a second of real time."""
        from_s = self.first_s if self.takeoff_s is None else self.takeoff_s
        to_s = self.last_s if self.entry_s is None else self.entry_s
        in_air = (self.times_s >= from_s) & (self.times_s <= to_s)
        if in_air.sum() < _FEWEST_FRAMES:
            return 0.0
        times_s = self.times_s[in_air]
        middle_s = float(times_s[len(times_s) // 2])
        x = [
            float(self.camera.moved(centre[None], float(time_s), middle_s)[0, 0])
            for centre, time_s in zip(self.centres[in_air], times_s, strict=True)
        ]
        px_per_s = float(np.polyfit(times_s, x, 1)[0]) * self.time_scale
        return abs(px_per_s) / float(np.median(self.px_per_m[in_air]))

    def drop_m(self, takeoff_s: float, entry_s: float) -> float | None:
        """Return how much lower the athlete's middle is at the entry than at the take-off, metres.

        The pull and the times of rise and fall tell it, whatever the size of the picture. None where the path does not
        cover the flight, or is none of a fall.

        Args:
            takeoff_s: First moment in the air, file time.
            entry_s: First contact with the water, file time.
        """
        in_air = (self.times_s >= takeoff_s) & (self.times_s <= entry_s)
        if in_air.sum() < _FEWEST_FRAMES:
            return None
        times_s = self.times_s[in_air]
        if times_s[-1] - times_s[0] < _COVERED * (entry_s - takeoff_s):
            return None
        y = [
            float(self.camera.moved(centre[None], float(time_s), float(times_s[0]))[0, 1])
            for centre, time_s in zip(self.centres[in_air], times_s, strict=True)
        ]
        real_s, air_s = (times_s - takeoff_s) / self.time_scale, (entry_s - takeoff_s) / self.time_scale
        pull, speed, _ = np.polyfit(real_s, y, 2)  # y grows downwards
        if pull <= 0:
            return None
        top_s = float(-speed / (2 * pull))
        return GRAVITY * (air_s**2 / 2 - top_s * air_s)


@dataclass(frozen=True, slots=True)
class Search:
    """What was found in a film.

    Attributes:
        flights: Best first. Flights that overlap in time are of several athletes.
        shots: Start and end of each shot, seconds.
        duration_s: Length of the film.
        size: Height and width of the decoded upright picture.
        reason: Why there is no flight: ``no_dive``, ``still``, ``too_short`` or ``black``; None if there is one.
        notes: Caveats worth showing to a person.
    """

    flights: tuple[Flight, ...]
    shots: tuple[tuple[float, float], ...]
    duration_s: float
    size: tuple[int, int]
    reason: str | None
    notes: tuple[str, ...] = ()


def find_flights(
    path: str | os.PathLike[str],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    progress: Callable[[float, float], None] | None = None,
    heat: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None,
) -> Search:
    """Search a video for dives.

    Args:
        path: Video file or folder of frames.
        start_s: First time that is searched, seconds; the beginning when absent.
        end_s: Last time that is searched.
        progress: Called with the seconds searched and the seconds to search.
        heat: A learned outline, added to the heat of motion: from uint8 [frames, height, width, 3] to how likely each
            pixel is the athlete's, 0 to 1, float32 [frames, any height, any width].

    Returns:
        The flights, best first, and why there is none.

    Raises:
        VideoError: The file is missing, is no video, or cannot be decoded.
    """
    scanner = Scanner(path, side=SIDE, most_fps=MOST_FPS, start_s=start_s, end_s=end_s)
    total = min(scanner.duration_s, end_s or np.inf) - (start_s or 0.0)

    def report(time_s: float) -> None:
        if progress is not None:
            progress(min(time_s - (start_s or 0.0), total), total)

    finder = _Finder(scanner, heat, report)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for chunk in _chunks(after_hold(_reported(scanner.frames(), report))):
            finder.search(chunk, pool)
    return finder.result()


def _reported(frames: Iterator[SmallFrame], report: Callable[[float], None]) -> Iterator[SmallFrame]:
    """Report every second of film that is decoded: a stretch takes long on a slow or busy machine."""
    last_s = 0.0
    for frame in frames:
        if frame.time_s - last_s >= _REPORT_S:
            last_s = frame.time_s
            report(frame.time_s)
        yield frame


@dataclass(slots=True)
class _Chunk:
    """A stretch of film: uint8 [frames, height, width, 3], its times, and how many frames the one before shares."""

    times_s: NDArray[np.float64]
    pictures: NDArray[np.uint8]
    shared: int


def _chunks(frames: Iterator[SmallFrame]) -> Iterator[_Chunk]:
    """Cut the film into stretches that overlap."""
    held: list[SmallFrame] = []
    shared = 0
    for frame in frames:
        held.append(frame)
        if frame.time_s - held[0].time_s >= CHUNK_S:
            chunk = _chunk(held, shared)
            yield chunk
            tail = np.flatnonzero(chunk.times_s > frame.time_s - OVERLAP_S)
            held = [SmallFrame(float(chunk.times_s[index]), chunk.pictures[index].copy()) for index in tail]
            shared = len(held)
    if len(held) > shared or (held and not shared):
        yield _chunk(held, shared)


def _chunk(held: list[SmallFrame], shared: int) -> _Chunk:
    """Put frames into one array; the list is emptied, so that no picture is held twice."""
    pictures = np.empty((len(held), *held[0].picture.shape), np.uint8)
    times = np.array([one.time_s for one in held])
    held.reverse()
    for index in range(len(pictures)):
        pictures[index] = held.pop().picture
    return _Chunk(times, pictures, shared)


@dataclass(slots=True)
class _Finder:
    """Searches stretch by stretch and keeps what was found."""

    scanner: Scanner
    outline: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None
    report: Callable[[float], None]
    flights: list[tuple[float, Flight]] = field(default_factory=list)
    cuts_s: set[float] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    first_s: float | None = None
    last_s: float = 0.0
    frames: int = 0
    brightest: int = 0
    hottest: int = 0

    def search(self, chunk: _Chunk, pool: ThreadPoolExecutor) -> None:
        """Search one stretch."""
        times, pictures = chunk.times_s, chunk.pictures
        self.first_s = float(times[0]) if self.first_s is None else self.first_s
        self.last_s = float(times[-1])
        self.frames += len(times) - chunk.shared
        self.brightest = max(self.brightest, int(np.percentile(pictures[::8, ::2, ::2], 99.5)))
        known = self.steps[len(self.steps) - chunk.shared + 1 :] if chunk.shared else []
        self.steps = known + measure_steps(pictures[max(0, chunk.shared - 1) :], pool)
        self.report(self.last_s)
        if len(times) < _FEWEST_FRAMES or self.brightest < _BLACK:
            return
        camera = chain(times, self.steps)
        self.cuts_s.update(float(times[index + 1]) for index in np.flatnonzero(np.diff(camera.shots)))
        heat = motion_heat(pictures, camera, pool, self.outline)
        self.report(self.last_s)
        # Where the camera's motion is not known, as in noise, something moves.
        hottest = np.where(heat.known, heat.raw.max(axis=(1, 2)), HOTTEST)
        self.hottest = max(self.hottest, int(np.percentile(hottest, 80)))
        if self.hottest < _STILL:
            return
        self.add(heat)

    def add(self, heat: Heat) -> None:
        """Add the flights of one stretch."""
        search = BallisticSearch(heat)
        paths = search.find()
        for index in np.flatnonzero(paths.score[:_TRIED] > _LEAST_SHARE * paths.score.max(initial=0.0)):
            path = paths.take(np.array([index]))
            judged = None if self._is_outdone(search, path) else self._judge(search, path)
            self.report(self.last_s)
            if judged is not None:
                self.flights.append(judged)

    def _is_outdone(self, search: BallisticSearch, path: Paths) -> bool:
        """Tell whether a sure flight at the same time is so much stronger that this one would be dropped anyway."""
        first_s, last_s = (float(search.times[one[0]]) for one in (path.first, path.last))
        at_best = float(path.score[0]) / np.sqrt(float(path.slow[0]))
        return any(
            min(last_s, flight.last_s) - max(first_s, flight.first_s) > 0.5 * (last_s - first_s)
            and flight.confidence > _SURE
            and at_best < _BESIDE_SHARE * strength
            for strength, flight in self.flights
        )

    def _judge(self, search: BallisticSearch, path: Paths) -> tuple[float, Flight] | None:
        """Look closely at one path."""
        air_s = float(search.times[path.last[0]] - search.times[path.first[0]])
        ratio = _radius_ratio(search, path)
        scale = time_scale(ratio, _SHARE_IN_AIR * air_s)
        if scale > 1.0:
            scale = time_scale(ratio, _SLOW_SHARE_IN_AIR * air_s)
        weighed = [_weighed(search, path, scale)]
        refined, ends, _ = weighed[0]
        others = {1.0, time_scale(_radius_ratio(search, refined), ends.entry_s - ends.takeoff_s)}
        weighed += [
            _weighed(search, refined, other)
            for other in others
            if max(scale, other) < _DOUBTFUL or other != 1.0
            if abs(np.log(other / scale)) > _SAME_SCALE
        ]
        path, ends, evidence = max(weighed, key=lambda one: one[2].confidence)
        confidence = evidence.confidence
        if float(path.slow[0]) > 1.0:
            apex_s = float(search.times[path.middle[0]] + apex(path)[0])
            rise_s, fall_s = apex_s - ends.takeoff_s, ends.entry_s - apex_s
            scale = slow_motion_scale(_radius_ratio(search, path), rise_s, fall_s)
            _LOG.debug("slow %.2f, by rise and fall %.2f s and %.2f s %.2f", path.slow[0], rise_s, fall_s, scale)
            path, ends, evidence = _weighed(search, path, scale)
            confidence = max(confidence, evidence.confidence)
        _LOG.debug("score %.2f, confidence %.2f, %s, %s", path.score[0], confidence, ends, evidence)
        if confidence < 0.1:
            return None
        flight = self._flight(search, path, ends, confidence)
        if flight.forward_m_s > _FASTEST_FORWARD_M_S:
            return None
        # What keeps its place in the picture while the camera follows may be a logo.
        moves = float(np.clip(evidence.wander_m / _WANDER_M, 0.5, 1.0))
        return confidence * float(path.score[0]) / np.sqrt(flight.time_scale) * moves, flight

    def _flight(
        self,
        search: BallisticSearch,
        path: Paths,
        found: Ends,
        confidence: float,
    ) -> Flight:
        times, slow = search.times, float(path.slow[0])
        takeoff, entry = found.takeoff_s, found.entry_s
        shot = np.flatnonzero(search.heat.camera.shots == search.heat.camera.shots[path.middle[0]])
        begins, ends = float(times[shot[0]]), float(times[shot[-1]])
        index = shot[(times[shot] >= takeoff - _BEFORE_S * slow) & (times[shot] <= entry + FOLLOWED_S * slow)]
        x, y = _places(search, path, index, (takeoff, entry))
        fx, fy = search.picture(index, x, y)
        sizes = gaussian_filter1d(diameters(search, path, index, fx, fy), 2.0, mode="nearest")
        to_full = np.array(self.scanner.to_full) * SHRINK * self._odd(search)
        around = shot[(times[shot] >= takeoff - _AROUND_S * slow) & (times[shot] <= entry + _AROUND_S * slow)]
        middle_s = float(times[path.middle[0]])
        # An entry below the picture is no more than a guess: of five wild files three were off by 0.3 s and more.
        is_below = float(np.interp(entry, times[index], fy)) > search.heat.raw.shape[1]
        return Flight(
            takeoff_s=None if takeoff < begins + search.gap_s else takeoff,
            entry_s=None if entry > ends or found.shown < _LEAST_SHOWN or is_below else entry,
            first_s=float(times[index[0]]),
            last_s=float(times[index[-1]]),
            time_scale=slow,
            confidence=confidence,
            shot=sum(cut <= middle_s for cut in self.cuts_s),
            times_s=times[index],
            centres=(np.stack([fx, fy], axis=1) + 0.5) * to_full,
            px_per_m=float(search.metre(path)[0]) * search.zoom[index] * to_full[1],
            sizes=sizes * to_full[1],
            camera=search.heat.camera.cut(int(around[0]), int(around[-1])).scaled(*to_full),
        )

    def _odd(self, search: BallisticSearch) -> NDArray[np.float64]:
        """A side of odd length is not halved exactly."""
        height, width = search.heat.raw.shape[1:]
        return np.array([self.scanner.size[1] / (width * SHRINK), self.scanner.size[0] / (height * SHRINK)])

    def result(self) -> Search:
        """Put together what was found."""
        first = self.first_s or 0.0
        cuts = sorted(self.cuts_s)
        shots = tuple(zip([first, *cuts], [*cuts, self.last_s], strict=True))
        flights = _distinct(self.flights)
        return Search(
            flights=flights,
            shots=shots,
            duration_s=self.scanner.duration_s,
            size=self.scanner.info.upright_size,
            reason=None if flights else self._reason(),
            notes=tuple(self.scanner.notes),
        )

    def _reason(self) -> str:
        if self.frames < _FEWEST_FRAMES or self.last_s - (self.first_s or 0.0) < _LEAST_S:
            return "too_short"
        if self.brightest < _BLACK:
            return "black"
        return "still" if self.hottest < _STILL else "no_dive"


def _radius_ratio(search: BallisticSearch, path: Paths) -> float:
    """Radius of what falls over that of a body, in metres that the pull gives at real speed."""
    real = float(search.metre(path)[0]) / float(path.slow[0]) ** 2
    return body_radius(search, path) / real / BODY_RADIUS_M


def _weighed(search: BallisticSearch, path: Paths, scale: float) -> tuple[Paths, Ends, Evidence]:
    """Refine a path that is shown so many times slower than life, and weigh it."""
    before = replace(path, slow=np.array([scale]))
    path, ends = refine(search, before)
    if abs(np.log(float(path.y[0, 2] / before.y[0, 2]))) > _SAME_PULL:
        path, ends = refine(search, path)
    cost = implausibility(_radius_ratio(search, path), ends.entry_s - ends.takeoff_s, np.array([scale]))
    return path, ends, weigh(search, path, body_radius(search, path), ends, float(cost[0]))


def _places(
    search: BallisticSearch, path: Paths, index: NDArray[np.int64], ends_s: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the athlete's middle lies in the world: on the board as followed, then on the path, then at the water."""
    times = search.times[index]
    metre = float(search.metre(path)[0])
    x, y = (one[0] for one in search.position(path, index[None]))
    off = np.zeros((len(index), 2))
    before = np.flatnonzero(times < ends_s[0])[::-1]
    if len(before):
        off[before] = track(search, path, index[before])[0]
    x, y = x + off[:, 0] * metre, y + off[:, 1] * metre
    # The middle of what is seen of an athlete stays at the water.
    entry = ends_s[1] - search.times[path.middle[0]]
    water = float(np.polynomial.polynomial.polyval(entry, path.y[0])) + REACH_M * metre
    after = times > ends_s[1]
    y = np.where(after, np.minimum(y, water), y)
    return x, y


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a path being a dive.

    Attributes:
        fall_m: Fall from the highest point to the entry over the size of the body, in metres of a body's size.
        rise_m: The same from the take-off to the highest point.
        water: How well the slit along the path shows an entry.
        cost: How implausible the body's size and the time in the air are together.
        strength: Motion on the path beyond that beside it, as real seconds of full motion.
        covered: Share of the flight over which the athlete is seen to move.
        stray_m: How far the athlete's track strays from free fall, root mean square, in metres of a body's size.
        wander_m: How far the athlete wanders in the picture, standard deviation in metres; a logo stays.
        slow: Logarithm of the time scale.
    """

    fall_m: float
    rise_m: float
    water: float
    cost: float
    strength: float
    covered: float
    stray_m: float
    wander_m: float
    slow: float

    @property
    def confidence(self) -> float:
        """How sure it is that the path is a dive, 0 to 1."""
        # Rounded from a logistic fit to 180 paths, right and wrong ones, of simulated and filmed clips.
        logit = (
            1.8 * np.log(np.clip(self.fall_m, 0.2, 6.0) / 2.6)
            - 5.0 * max(_LEAST_FALL_M - self.fall_m, 0.0)
            - 3.0 * max(_LEAST_DROP_M - (self.fall_m - self.rise_m), 0.0)
            + 2.0 * (min(self.water, 1.6) - 1.1)
            - 0.9 * (min(self.cost, 8.0) - 1.0)
            + 1.7 * np.log(np.clip(self.strength, 0.02, 1.0) / 0.5)
            - 1.5 * np.log(np.clip(self.stray_m, 0.1, 1.0) / 0.3)
            # Dives stray by 0.1 to 0.7 m, by up to 3 m where the camera's motion is half lost.
            - 1.5 * max(min(self.stray_m, 5.0) - 3.0, 0.0)
            - 0.2
        )
        return float(1 / (1 + np.exp(-logit)))


def weigh(search: BallisticSearch, path: Paths, radius: float, ends: Ends, cost: float) -> Evidence:
    """Collect what speaks for a path being a dive.

    Args:
        search: The heat.
        path: One path.
        radius: Radius of what falls, in pixels of the world.
        ends: Its take-off and entry.
        cost: How implausible body and time are.
    """
    slow = float(path.slow[0])
    body = max(radius / BODY_RADIUS_M, 1e-6)
    apex_s = float(search.times[path.middle[0]] + apex(path)[0])
    pull = float(path.y[0, 2])
    index = np.flatnonzero((search.times >= ends.takeoff_s) & (search.times <= ends.entry_s))
    index = index[search.heat.camera.shots[index] == search.heat.camera.shots[path.middle[0]]]
    if len(index) < 2:
        return Evidence(0.0, 0.0, 0.0, 99.0, 0.0, 0.0, 9.0, 0.0, float(np.log(slow)))
    hot, shown = search.contrast(path, index[None])
    real_s = (search.times[index[-1]] - search.times[index[0]]) / slow
    picture = np.stack(search.picture(index, *(one[0] for one in search.centres(path, index[None])[:2])))
    wander = float(np.hypot(*picture.std(axis=1)) / (body * search.zoom[index].mean()))
    stray = _stray(search, path, index) * float(search.metre(path)[0]) / body
    return Evidence(
        fall_m=pull * max(ends.entry_s - max(apex_s, ends.takeoff_s), 0) ** 2 / body,
        rise_m=pull * max(apex_s - ends.takeoff_s, 0) ** 2 / body,
        water=ends.water,
        cost=cost,
        strength=float(np.minimum(hot, FULL_HEAT).mean() / FULL_HEAT * real_s),
        covered=float(((hot > FLOOR) & shown)[0].mean()),
        stray_m=stray,
        wander_m=wander,
        slow=float(np.log(slow)),
    )


def _stray(search: BallisticSearch, path: Paths, index: NDArray[np.int64]) -> float:
    """How far what moves, followed from the middle of the path to both ends, strays from it: rms in metres."""
    middle = len(index) // 2
    off, heat = (
        np.concatenate(one)
        for one in zip(track(search, path, index[middle:]), track(search, path, index[middle::-1]), strict=True)
    )
    if heat.sum() <= 0:
        return 9.0
    return float(np.sqrt(np.average((off**2).sum(axis=1), weights=np.minimum(heat, np.median(heat) + 1e-6))))


def _distinct(flights: list[tuple[float, Flight]]) -> tuple[Flight, ...]:
    """Keep the best of the flights that are one, and of several in the air at once those that are nearly as strong.

    Args:
        flights: How strong each is, by the motion on its path, and the flight.
    """
    chosen: list[tuple[float, Flight]] = []
    sure = [one for one in flights if one[1].confidence >= _LEAST_CONFIDENCE]
    for strength, flight in sorted(sure, key=lambda one: -one[0]):
        if _is_followed(flight, strength, sure) or _is_followed_by_less(flight, strength, sure):
            continue
        rivals = [one for one in chosen if _overlap(one[1], flight) > 0.25]
        if any(_is_same(one, flight) for _, one in rivals):
            continue
        if all(strength > _BESIDE_SHARE * other for other, _ in rivals):
            chosen.append((strength, flight))
    return tuple(flight for _, flight in chosen)


def _is_followed(flight: Flight, strength: float, flights: list[tuple[float, Flight]]) -> bool:
    """Tell whether another flight, nearly as strong, begins where this one ends: a hurdle or a bounce, not a dive."""
    return any(_is_run_up(flight, other) for more, other in flights if more > _BOUNCE_SHARE * strength)


def _is_followed_by_less(flight: Flight, strength: float, flights: list[tuple[float, Flight]]) -> bool:
    """Tell whether this is a weak path that begins where a stronger one ends: what moves in the water."""
    return any(_is_run_up(other, flight) for more, other in flights if strength <= _BOUNCE_SHARE * more)


def _is_run_up(one: Flight, other: Flight) -> bool:
    """Tell whether the first path ends, just before the other begins, where that begins: a hurdle, not a dive."""
    gap_s = other.times_s[0] - one.times_s[-1]
    if one.shot != other.shot or not -0.8 < gap_s / other.time_scale < 0.8 or other.times_s[0] < one.times_s[0]:
        return False
    end = one.camera.moved(one.centres[-1:], float(one.times_s[-1]), float(other.times_s[0]))[0]
    return bool(np.hypot(*(end - other.centres[0])) < _SAME_PLACE_M * float(other.px_per_m[0]))


def _overlap(one: Flight, other: Flight) -> float:
    """Seconds that two flights share over the length of the shorter."""
    shared = min(one.last_s, other.last_s) - max(one.first_s, other.first_s)
    return shared / max(min(one.last_s - one.first_s, other.last_s - other.first_s), 1e-6)


def _is_same(one: Flight, other: Flight) -> bool:
    """Tell whether two flights that overlap are of the same athlete."""
    times = np.linspace(max(one.first_s, other.first_s), min(one.last_s, other.last_s), 9)
    positions = [
        np.stack([np.interp(times, flight.times_s, flight.centres[:, axis]) for axis in (0, 1)])
        for flight in (one, other)
    ]
    apart = np.hypot(*(positions[0] - positions[1]))
    return bool(apart.min() < 0.8 * max(float(np.median(one.sizes)), float(np.median(other.sizes))))
