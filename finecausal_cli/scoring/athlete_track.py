"""The athlete in every sampled frame of a dive, and the ends of its flight as the reader sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from finecausal_cli.athlete import ENDS, JOINT, JOINTS
from finecausal_cli.athlete.movement import read_movement
from finecausal_cli.athlete.track import BodyTrack
from finecausal_cli.scoring.dives import DiveSearch, LocatedDive, refine_time_scale, search_dives
from finecausal_cli.scoring.results import AthleteFrame
from finecausal_cli.tracking import crop_window
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.athlete import End
    from finecausal_cli.athlete.ends import EndReading
    from finecausal_cli.athlete.reader import AthleteReader, BodyReading
    from finecausal_cli.scoring import Corrections
    from finecausal_cli.scoring.dive_reading import DiveClip
    from finecausal_cli.tracking.flights import Flight


# The athlete in every sampled frame of a dive: box, joints and outline in pixels of the picture.
#
# The athlete reader sees square windows; here what it reads is brought back into the picture. Where there is no
# reader, the path of the flight tells where the athlete's body is in the air.

SEEN: Final = 0.5
"""Confidence from which on the athlete counts as seen."""

_OUTLINE: Final = 0.5
"""Probability from which on a pixel of the outline is athlete."""

_SURE_JOINT: Final = 0.4
"""Confidence from which on a joint helps to bound the athlete."""

FEWEST: Final = 8
"""Sampled frames in the air from which on what they show together says something."""

_AROUND_FLIGHT_S: Final = 0.3
"""Real time before the take-off up to which frames belong to the motion of the flight; half of it after the entry."""

SURE_END_S: Final = {"takeoff": 0.1, "contact": 0.06}
"""Standard deviation of an end that the reader tells, real seconds, up to which it counts."""

_FAR_END_S: Final = 0.1
"""Real seconds from where the search found an end beyond which it is read once more, from where it was read."""

_EDGE_S: Final = 0.22
"""Real seconds after the moment at which a contact was looked for, beyond which it may be later than can be said."""

_MOST_LOOKS: Final = {"takeoff": 1, "contact": 3}
"""Most such looks: an entry was found up to a second early."""

MEETS_WATER, _LATER_S = 0.25, 0.07
"""Probability of a contact with water below which there is none; before that is believed, it is read once more so many
real seconds later. Of 310 wild films two had none from where the search found it; one of them has one from there."""

_SURELY_WATER, _SURE_UNFOUND_S, _NEAR_UNFOUND_S, _SHOWN_AFTER_S = 0.9, 0.08, 0.22, 0.06
"""Probability of a contact, its standard deviation, how far it is from where the search would have put it, and how long
the pictures go on after it, real seconds: where the reader is taken to see a contact that the search did not find."""

_DOUBTFUL_S: Final = 0.12
"""Real seconds after the entry that the search finds, from which on a contact that is read says that the search lost
the athlete, where it may have lost the camera."""

_LATER_LOOKS_S: Final = (0.2, 0.4, 0.6, 0.8)
_SURE_LATER_S: Final = 0.04
"""Real seconds after that entry at which the contact is looked for then, and the standard deviation up to which the
first of them counts."""

_SEES_TAKEOFF, _SURELY_TAKEOFF, _SURE_TAKEOFF_S = 0.2, 0.97, 0.04
_FAR_LOOKS_S: Final = (-0.6, -0.3, 0.3, 0.6)
_SHOWN_BEFORE_S: Final = 0.06
"""Probability below which there is no take-off where it was looked for; from which on, with what standard deviation,
one is seen elsewhere; where it is looked for then; and how long before it the clip must begin: real seconds. Of 297
wild films four are looked at again: one take-off that was 0.5 s off is found, none is lost."""

_BOX_MARGIN: Final = 0.12
"""Share of the box of the joints that is added on each side: joints lie within a body, not on its edge."""


@dataclass(frozen=True, slots=True)
class BodyInFlight:
    """The body between take-off and entry, as the reader sees it.

    Attributes:
        seen: Share of the frames in which the athlete is seen.
        half_somersaults: How far the trunk turns in the picture, by its joints and by the track of its direction.
        sureness: How peaked the distribution of the trunk's direction is, mean over the frames.
        area_m2: Median area of the outline, by the scale that the pull of the fall gives.
        head_down: Share of the frames in which the neck is lower than the pelvis.
    """

    seen: float
    half_somersaults: tuple[float, float]
    sureness: float
    area_m2: float
    head_down: float = 0.0


@dataclass(frozen=True, slots=True)
class AthleteTrack:
    """The athlete in the sampled frames of a dive.

    Attributes:
        frames: One for each of the 96 sampled frames.
        outlines: float32 [96, h, w], probability of athlete over each window; None without a reader.
        windows: float64 [96, 3], the windows that were read: centre x, centre y and side, pixels; None where nobody
            knows them.
        flight: The path of the athlete's middle through the air; None where nobody knows it.
        body: What is read of the body in flight; None without a reader, or where the flight's ends are not known.
        body_track: The body over time in metres; None without a reader, or where the flight's ends are not known.
        recognised: float32 [96], probability of an athlete by the pictures alone; None without a reader.
    """

    frames: tuple[AthleteFrame, ...]
    outlines: NDArray[np.float32] | None
    windows: NDArray[np.float64] | None
    flight: Flight | None
    body: BodyInFlight | None = None
    body_track: BodyTrack | None = None
    recognised: NDArray[np.float32] | None = None

    @property
    def seen_in(self) -> int | None:
        """In how many of the sampled frames the athlete is seen; None without a reader."""
        if self.outlines is None:
            return None
        return sum(frame.box is not None and frame.confidence >= SEEN for frame in self.frames)


def read_athlete(reader: AthleteReader | None, dive_clip: DiveClip) -> AthleteTrack:
    """Read the athlete in a dive.

    Args:
        reader: Reads joints and outline; None leaves the path of the flight alone.
        dive_clip: The dive, with the windows cut if there is a reader.
    """
    clip, windows = dive_clip.clip, dive_clip.athlete_windows
    flight = dive_clip.dive.flight
    if windows is None:
        unseen = tuple(_unseen_frame(clip.time_s(index)) for index in range(CLIP_FRAMES))
        return AthleteTrack(unseen, None, None, flight)
    if reader is None or dive_clip.crops is None:
        boxes = tuple(_on_the_path(dive_clip.dive, clip.time_s(index)) for index in range(CLIP_FRAMES))
        return AthleteTrack(boxes, None, windows, flight)
    indices = dive_clip.frame_indices
    first = np.unique(indices, return_index=True)[1]
    times_s = np.array([clip.time_s(int(index)) for index in first])
    real_s = times_s / (dive_clip.dive.time_scale or 1.0)
    moved = None
    if flight is not None:
        moved = read_movement(dive_clip.crops, windows[first], flight.camera.at_times(times_s), real_s)
    reading = reader.read_motion(dive_clip.crops, real_s.tolist(), _in_flight(dive_clip, times_s), moved)
    size = dive_clip.crops.shape[1]
    closer = np.array(
        [
            (
                *to_picture(np.asarray(reading.windows[row, :2], np.float64), window, size),
                reading.windows[row, 2] * window[2] / size,
            )
            for row, window in zip(indices.tolist(), windows, strict=True)
        ]
    )
    frames = tuple(
        _frame(reading, int(indices[index]), (windows[index], closer[index]), size, clip.time_s(index))
        for index in range(CLIP_FRAMES)
    )
    outlines = np.asarray(reading.outline, np.float32)[indices]
    body = _body(dive_clip, reading, times_s, windows[first])
    body_track = _body_track(dive_clip, frames, outlines, closer)
    if body_track is not None:
        dive = dive_clip.dive
        assert dive.entry_s is not None  # noqa: S101 -- there is no track without
        since_entry_s = (times_s - dive.entry_s) / (dive.time_scale or 1.0)
        shown = dive_clip.splash_crops
        splash = None if shown is None else reader.size_splash(shown, since_entry_s[-len(shown) :])
        if splash is not None:
            body_track = replace(body_track, splash=splash[0], splash_error=splash[1])
        body_track = replace(body_track, leans_deg=_leans(dive_clip.ends))
    return AthleteTrack(frames, outlines, closer, flight, body, body_track, reading.recognised[indices])


def at_ends(reader: AthleteReader | None, dive_clip: DiveClip) -> DiveClip:
    """Return a dive whose ends are where the reader sees them; what a person gave stays.

    The search finds them by heat in small pictures, the reader sees body, board and water: in 291 and 193 wild films
    the search was within 0.05 s of take-off and contact in 70 and 75%, the reader in 83 and 93%. An end is the
    first frame that shows it, half a frame late on average.
    """
    dive, flight, crops = dive_clip.dive, dive_clip.dive.flight, dive_clip.crops
    if reader is None or crops is None or flight is None:
        return dive_clip
    first = np.unique(dive_clip.frame_indices, return_index=True)[1]
    file_s, scale = np.array([dive_clip.clip.time_s(int(index)) for index in first]), dive.time_scale or 1.0
    searched: dict[End, tuple[float | None, float | None]] = {
        "takeoff": (dive.takeoff_s, flight.takeoff_s),
        "contact": (dive.entry_s, flight.entry_s),
    }
    moments: dict[End, float | None] = {}
    ends: dict[End, EndReading] = {}
    gap_s = float(np.median(np.diff(file_s)))
    if dive.takeoff_s is None:
        # The search puts it before the clip, of which the beginning may show it all the same.
        read = _read_end(reader, "takeoff", crops, (file_s - flight.first_s) / scale)
        seen_s = flight.first_s + (0.0 if read is None else read.moment_s * scale)
        if read is not None and _is_surely_seen(read) and (seen_s - file_s[0]) / scale >= _SHOWN_BEFORE_S:
            ends["takeoff"], moments["takeoff"] = read, seen_s + gap_s / 2
    if dive.entry_s is None and dive.likely_entry_s is not None:
        read = _read_end(reader, "contact", crops, (file_s - dive.likely_entry_s) / scale)
        if read is not None and _is_surely_there(read, (file_s[-1] - dive.likely_entry_s) / scale):
            ends["contact"] = read
            moments["contact"] = dive.likely_entry_s + read.moment_s * scale + gap_s / 2
    for end, (at_s, flight_s) in searched.items():
        moments.setdefault(end, at_s)
        read = None if at_s is None else _read_end(reader, end, crops, (file_s - at_s) / scale)
        if read is None or at_s is None:
            continue
        ends[end] = read
        is_seen = end == "contact" or read.probability >= _SEES_TAKEOFF
        if at_s == flight_s and is_seen and read.moment_sd_s <= SURE_END_S[end]:
            moments[end] = at_s + read.moment_s * scale + gap_s / 2
    return replace(dive_clip, dive=dive.with_ends(moments["takeoff"], moments["contact"]), ends=ends)


def following(reader: AthleteReader | None, dive_clip: DiveClip) -> DiveClip:
    """Return a dive whose windows follow the body where the search lost it on the way to the water.

    A camera that follows a fall before a bare wall is not seen to move, so the athlete seems to hover, and an entry is
    found in the air. The reader follows the body in the wider squares; what it finds counts where it sees a contact
    later than the search.
    """
    wide, squares, dive = dive_clip.wide_crops, dive_clip.wide_windows, dive_clip.dive
    if reader is None or wide is None or squares is None:
        return dive_clip
    if dive_clip.crops is None or dive_clip.athlete_windows is None:
        return dive_clip
    if dive.entry_s is None or dive.flight is None or dive.entry_s != dive.flight.entry_s:  # a person gave it
        return dive_clip
    first, scale = np.unique(dive_clip.frame_indices, return_index=True)[1], dive.time_scale or 1.0
    since_s = (np.array([dive_clip.clip.time_s(int(index)) for index in first]) - dive.entry_s) / scale
    if not _is_lost(_read_end(reader, "contact", dive_clip.crops, since_s)):
        return dive_clip
    rows = np.arange(len(first) - len(wide), len(first))
    side = dive_clip.crops.shape[1]
    windows, crops = dive_clip.athlete_windows[first].copy(), dive_clip.crops.copy()
    px = 2 * side / squares[:, 2:]  # pixels of a wide square in one of the picture
    places = reader.follow(wide, since_s[rows], side + (windows[rows[0], :2] - squares[0, :2]) * px[0])
    crops[rows] = [
        crop_window(picture, np.array([*place, side]), side) for picture, place in zip(wide, places, strict=True)
    ]
    windows[rows, :2] = squares[:, :2] + (places - side) / px
    later_s = _later_contact(reader, crops[rows], since_s[rows])
    if later_s is None:
        return dive_clip
    entry_s = dive.entry_s + later_s * scale
    return replace(
        dive_clip,
        dive=replace(dive.with_ends(dive.takeoff_s, entry_s), flight=replace(dive.flight, entry_s=entry_s)),
        crops=crops,
        athlete_windows=windows[dive_clip.frame_indices],
        splash_crops=None if dive_clip.splash_crops is None else crops[-len(dive_clip.splash_crops) :],
    )


def _later_contact(reader: AthleteReader, crops: NDArray[np.uint8], since_s: NDArray[np.float64]) -> float | None:
    """Return the first sure contact after an entry that is none, real seconds from it; None where there is none."""
    for look_s in _LATER_LOOKS_S:
        read = _read_end(reader, "contact", crops, since_s - look_s)
        if read is None or read.probability < _SURELY_WATER or read.moment_sd_s > _SURE_LATER_S:
            continue
        if look_s + read.moment_s > _DOUBTFUL_S:
            return look_s + read.moment_s
    return None


def _is_lost(contact: EndReading | None) -> bool:
    """Tell whether the contact that is read is later than the search found it, unsure, or none."""
    return (
        contact is None
        or contact.probability < MEETS_WATER
        or contact.moment_sd_s > SURE_END_S["contact"]
        or contact.moment_s > _DOUBTFUL_S
    )


def _is_surely_seen(takeoff: EndReading) -> bool:
    """Tell whether a take-off is seen that the search took to lie elsewhere."""
    return takeoff.probability >= _SURELY_TAKEOFF and takeoff.moment_sd_s <= _SURE_TAKEOFF_S


def _is_surely_there(contact: EndReading, last_s: float) -> bool:
    """Tell whether a contact is seen that the search took to lie below the picture or after the clip.

    Cut off 0.08 s before the contact, 2% of 60 wild films pass; cut off 0.1 s after it 75%.

    Args:
        contact: As it is read.
        last_s: When the last picture was taken, real seconds from where the search would put the contact.
    """
    return (
        contact.probability >= _SURELY_WATER
        and contact.moment_sd_s <= _SURE_UNFOUND_S
        and abs(contact.moment_s) <= _NEAR_UNFOUND_S
        and contact.moment_s <= last_s - _SHOWN_AFTER_S
    )


def read_ends_and_athlete(reader: AthleteReader | None, dive_clip: DiveClip) -> tuple[DiveClip, AthleteTrack]:
    """Read the ends of the flight and the athlete; once more where the body shows another time scale of slow motion."""
    dive_clip = following(reader, dive_clip)
    seen = at_ends(reader, dive_clip)
    track = read_athlete(reader, seen)
    refined = seen.dive if track.body_track is None else refine_time_scale(seen.dive, track.body_track)
    if refined is not seen.dive:
        found = dive_clip.dive
        dive = refined.with_ends(found.takeoff_s, found.entry_s)
        seen = at_ends(reader, replace(dive_clip, dive=dive))
        track = read_athlete(reader, seen)
    return seen, track


def _read_end(
    reader: AthleteReader, end: End, crops: NDArray[np.uint8], since_s: NDArray[np.float64]
) -> EndReading | None:
    """Read an end, and again from where it is read, while that is far from where it was looked for."""
    read = reader.read_end(end, crops, since_s)
    if read is None:
        return None
    if end == "takeoff" and read.probability < _SEES_TAKEOFF:
        return _elsewhere(reader, crops, since_s) or read
    if end == "contact" and read.probability < MEETS_WATER:
        later = reader.read_end(end, crops, since_s - _LATER_S)
        if later is not None and later.probability > read.probability:
            read = later._replace(moment_s=later.moment_s + _LATER_S)
    step_s = read.moment_s
    for _ in range(_MOST_LOOKS[end]):
        if abs(step_s) <= _FAR_END_S:
            break
        again = reader.read_end(end, crops, since_s - read.moment_s)
        is_edge = end == "contact" and step_s > _EDGE_S
        most_s = SURE_END_S[end] if is_edge else read.moment_sd_s
        if again is None or again.moment_sd_s > most_s:
            break
        step_s = again.moment_s
        read = again._replace(moment_s=read.moment_s + step_s)
    return read


def _elsewhere(reader: AthleteReader, crops: NDArray[np.uint8], since_s: NDArray[np.float64]) -> EndReading | None:
    """Read a take-off that is not near where the search found it; None where none is sure."""
    found = []
    for look_s in _FAR_LOOKS_S:
        read = reader.read_end("takeoff", crops, since_s - look_s)
        if read is not None and _is_surely_seen(read):
            found.append(read._replace(moment_s=look_s + read.moment_s))
    return max(found, key=lambda read: read.probability, default=None)


def _body(
    dive_clip: DiveClip, reading: BodyReading, times_s: NDArray[np.float64], squares: NDArray[np.float64]
) -> BodyInFlight | None:
    """Return what is read of the body between take-off and entry."""
    from finecausal_cli.athlete.network import direction_track

    dive, flight = dive_clip.dive, dive_clip.dive.flight
    if flight is None or dive_clip.crops is None or dive.takeoff_s is None or dive.entry_s is None:
        return None
    air = np.flatnonzero((times_s >= dive.takeoff_s) & (times_s <= dive.entry_s))
    if len(air) < FEWEST:
        return None
    trunk = reading.joints[air, JOINT["neck"]] - reading.joints[air, JOINT["pelvis"]]
    by_joints = np.unwrap(np.arctan2(trunk[:, 1], trunk[:, 0]).astype(np.float64))
    steps = np.diff(times_s[air], prepend=times_s[air[:1]]) / (dive.time_scale or 1.0)
    by_track = np.unwrap(direction_track(reading.direction[air], steps))
    halves = tuple(abs(float(angle[-1] - angle[0])) / np.pi for angle in (by_joints, by_track))
    sides = reading.windows[air, 2] * squares[air, 2] / dive_clip.crops.shape[1]
    area_px = (reading.outline[air] > _OUTLINE).mean(axis=(1, 2)) * sides**2
    px_per_m = np.interp(times_s[air], flight.times_s, flight.px_per_m)
    return BodyInFlight(
        seen=float((reading.seen[air] >= SEEN).mean()),
        half_somersaults=(halves[0], halves[1]),
        sureness=float(reading.direction[air].max(axis=1).mean()),
        area_m2=float(np.median(area_px / px_per_m**2)),
        head_down=float((trunk[:, 1] > 0).mean()),
    )


def _body_track(
    dive_clip: DiveClip,
    frames: Sequence[AthleteFrame],
    outlines: NDArray[np.float32],
    windows: NDArray[np.float64],
) -> BodyTrack | None:
    """Return the body over time in metres; None where the ends of the flight are not known."""
    dive, flight = dive_clip.dive, dive_clip.dive.flight
    if flight is None or dive.takeoff_s is None or dive.entry_s is None:
        return None
    scale = dive.time_scale or 1.0
    file_s = np.array([frame.time_s for frame in frames])
    times_s, air_s = (file_s - dive.takeoff_s) / scale, (dive.entry_s - dive.takeoff_s) / scale
    joints = np.array([[frame.joints[name] for name in JOINTS] for frame in frames])
    px_per_m = np.interp(file_s, flight.times_s, flight.px_per_m)
    upwards = np.array([1.0, -1.0])
    about = (joints[:, :, :2] - joints[:, :1, :2]) * upwards / px_per_m[:, None, None]
    from_world = flight.camera.at_times(file_s)
    to_world = np.linalg.inv(from_world)
    pelvis = np.einsum("tij,tj->ti", to_world[:, :2, :2], joints[:, 0, :2]) + to_world[:, :2, 2]
    # Where the camera zooms, a metre of the still world has the length that it has over the flight.
    zoom = np.sqrt(np.abs(np.linalg.det(from_world[:, :2, :2])))
    air = (times_s >= 0) & (times_s <= air_s)
    world_px = float(np.median((px_per_m / zoom)[air])) if air.any() else float(np.median(px_per_m / zoom))
    path = pelvis * upwards / world_px
    return BodyTrack(
        times_s=times_s,
        joints_m=about.astype(np.float32),
        confidence=joints[:, :, 2].astype(np.float32),
        seen=np.array([frame.confidence for frame in frames], np.float32),
        path_m=(path - path[np.argmin(np.abs(times_s))]).astype(np.float32),
        area_m2=((outlines > _OUTLINE).mean(axis=(1, 2)) * (windows[:, 2] / px_per_m) ** 2).astype(np.float32),
        air_s=float(air_s),
    )


def _leans(ends: Mapping[End, EndReading]) -> NDArray[np.float32]:
    """Return lean and error at both ends [2, 2], NaN where they are not read."""
    unread = (np.nan, np.nan)
    rows = [(ends[end].lean_deg, ends[end].lean_error_deg) if end in ends else unread for end in ENDS]
    return np.array(rows, np.float32)


def _in_flight(dive_clip: DiveClip, times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which times lie in the flight or just around it; all where its ends are not known."""
    dive = dive_clip.dive
    around = _AROUND_FLIGHT_S * (dive.time_scale or 1.0)
    begin = -np.inf if dive.takeoff_s is None else dive.takeoff_s - around
    end = np.inf if dive.entry_s is None else dive.entry_s + around / 2
    return (times_s >= begin) & (times_s <= end)


def find_dives(
    path: str | os.PathLike[str],
    *,
    reader: AthleteReader | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    corrections: Corrections | None = None,
    progress: Callable[[float], None] | None = None,
) -> DiveSearch:
    """Find the dives of a video file or a folder of frames.

    Args:
        path: The video.
        reader: Also reads the athlete's outline and joints in the frames that are sampled of each dive.
        start_s: Look from here on, seconds; the clip begins here too.
        end_s: Look up to here; the clip ends here too.
        corrections: Corrections of the dive.
        progress: Told which share of the search is done, 0 to 1.

    Returns:
        The dives, best first, or why there is none.

    Raises:
        VideoError: The file cannot be opened or decoded.
        UsageError: The times make no sense.
    """
    search = search_dives(path, start_s=start_s, end_s=end_s, corrections=corrections, progress=progress)
    if reader is None:
        return search
    return replace(search, dives=tuple(read_located(path, dive, reader) for dive in search.dives))


def read_located(path: str | os.PathLike[str], dive: LocatedDive, reader: AthleteReader) -> LocatedDive:
    """Return a dive with the athlete read in the frames sampled of it."""
    from finecausal_cli.scoring.dive_reading import Viewing, read_one

    dive_clip = read_one(path, dive, Viewing("fit", 112, window_size=reader.square_size))
    dive_clip, track = read_ends_and_athlete(reader, dive_clip)
    return replace(dive_clip.dive, athlete=track.frames)


def path_until(flight: Flight, time_s: float) -> NDArray[np.float64]:
    """Return the path so far as it lies in the picture of a moment, the camera's motion taken into account.

    Returns:
        float64 [points, 2], x and y in pixels; empty before the flight.
    """
    times = np.asarray(flight.times_s, np.float64)
    begun = times <= time_s
    if not begun.any():
        return np.zeros((0, 2))
    to_world = np.linalg.inv(flight.camera.at_times(times[begun]))
    moved = flight.camera.at(time_s) @ to_world
    centres = np.asarray(flight.centres, np.float64)[begun]
    return np.asarray(np.einsum("tij,tj->ti", moved[:, :2, :2], centres) + moved[:, :2, 2])


def to_picture(points: NDArray[np.float64], window: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Bring points of a window into the picture.

    Args:
        points: [..., 2], x and y in pixels of the window.
        window: Centre x, centre y and side of the window, pixels of the picture.
        size: Side of the window in its own pixels.
    """
    corner = window[:2] - window[2] / 2
    return np.asarray(corner + np.asarray(points, np.float64) * (window[2] / size), np.float64)


def _frame(
    reading: BodyReading, index: int, windows: tuple[NDArray[np.float64], NDArray[np.float64]], size: int, time_s: float
) -> AthleteFrame:
    """Return one frame; ``windows`` are the square that was cut and, within it, the one that was read."""
    square, window = windows
    confidence = float(reading.seen[index])
    joints = to_picture(np.asarray(reading.joints[index], np.float64), square, size)
    sure = np.asarray(reading.confidence[index], np.float64)
    box = _bounds(reading.outline[index], joints[sure >= _SURE_JOINT], window)
    return AthleteFrame(
        time_s=time_s,
        box=None if box is None or confidence < SEEN else box,
        confidence=confidence,
        joints={
            name: (float(x), float(y), float(confidence))
            for name, (x, y), confidence in zip(JOINTS, joints, sure, strict=True)
        },
    )


def _bounds(
    outline: NDArray[np.float32], joints: NDArray[np.float64], window: NDArray[np.float64]
) -> tuple[float, float, float, float] | None:
    """Return the box of the outline, or that of the joints where nothing is outlined; None if there is neither."""
    athlete = largest_part(outline)
    if athlete.any():
        rows, columns = np.flatnonzero(athlete.any(1)), np.flatnonzero(athlete.any(0))
        corners = np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], np.float64)
        (left, top), (right, bottom) = to_picture(corners, window, outline.shape[0])
    elif len(joints) > 1:
        (left, top), (right, bottom) = joints.min(0), joints.max(0)
        margin = _BOX_MARGIN * max(right - left, bottom - top)
        left, top, right, bottom = left - margin, top - margin, right + margin, bottom + margin
    else:
        return None
    return float(left), float(top), float(right), float(bottom)


def largest_part(outline: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where the athlete is: the largest connected part of an outline, and what is nearly as large."""
    import cv2

    inside = (outline >= _OUTLINE).astype(np.uint8)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    if count <= 1:
        return np.zeros(outline.shape, np.bool_)
    areas = facts[1:, cv2.CC_STAT_AREA]
    kept = 1 + np.flatnonzero(areas >= 0.25 * areas.max())
    return np.isin(labels, kept)


def _on_the_path(dive: LocatedDive, time_s: float) -> AthleteFrame:
    """Return where the athlete is by the path of the flight; no box outside of it."""
    flight = dive.flight
    if flight is None or not flight.first_s <= time_s <= flight.last_s:
        return _unseen_frame(time_s)
    x, y, size = (
        float(np.interp(time_s, flight.times_s, values))
        for values in (flight.centres[:, 0], flight.centres[:, 1], flight.sizes)
    )
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    return AthleteFrame(time_s=time_s, box=box, confidence=float(flight.confidence), joints={})


def _unseen_frame(time_s: float) -> AthleteFrame:
    return AthleteFrame(time_s=time_s, box=None, confidence=0.0, joints={})
