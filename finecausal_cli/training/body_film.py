"""Simulated bodies as the athlete reader would read them in films, to train the network that judges.

A body in space is shown by a camera like that of a film and given the errors that were measured on it
(``track_errors``), mixed and shifted in time so that a network cannot learn them by heart. So a network learns from
bodies as they are read, and ten times as many bodies can be simulated as films. Clips begin and end as people cut them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from finecausal_cli.athlete.ends import FEWEST_LOOKS, SPLASH_LOOKS_S
from finecausal_cli.athlete.track import AFTER_S, BEFORE_S, BodyMotion, BodyTrack, project, trunk_angle, turn
from finecausal_cli.athlete.turns import body_axis
from finecausal_cli.simulator.camera import axes_of
from finecausal_cli.training.track_errors import CONTACT_LEAN, FIRST_IN_AIR, IN_AIR, SWAP, phase_of
from finecausal_cli.video import CLIP_FRAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.training.track_errors import JudgedBody, LeanErrors, SplashErrors, TrackErrors

Loss = Literal["frozen", "shuffled", "reversed", "foreign"]
"""What can be done to a flight so that it is no dive any more."""

LOSSES: Final[tuple[Loss, ...]] = ("frozen", "shuffled", "reversed", "foreign")


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
        whole: bool = False,
    ) -> BodyTrack:
        """Return a body's track as a reader would give it.

        Args:
            motion: The body in space.
            position: Letter of the dive's position: films of such dives are preferred.
            rng: Source of camera, errors and frames.
            loss: What is done to the flight.
            other: Whose flight takes its place, if it is ``foreign``.
            whole: Show a clip that neither begins late nor ends early.
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
        first_s, last_s = (-BEFORE_S, air_s + AFTER_S) if whole else draw_span(rng, air_s)
        inside = np.flatnonzero((read_s >= first_s) & (read_s <= last_s))
        sampled = np.linspace(first_s, last_s, CLIP_FRAMES)
        chosen = inside[np.abs(read_s[inside][None] - sampled[:, None]).argmin(axis=1)]
        real_s, read_s = real_s[chosen], read_s[chosen]
        body = _lost(motion, real_s, rng, loss, other)
        joints = project(body, axes, mirrored=is_mirrored)
        pelvis = project(motion.at(real_s), axes, mirrored=is_mirrored)[:, 0]
        joints, path = joints - joints[:, :1], pelvis - pelvis[np.argmin(np.abs(real_s))]
        phase = phase_of(real_s, motion.air_s)
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

    def reread(self, film: JudgedBody, rng: np.random.Generator) -> BodyTrack:
        """Return the track of a film as another clip of it may be read: its splash and its lean are drawn anew."""
        assert film.read is not None  # noqa: S101 -- a film
        track = film.read.track
        track = self.with_lean(track, film.seen.get(CONTACT_LEAN, math.nan), rng)
        return self.with_splash(track.within(*draw_span(rng, track.air_s)), film.seen.get("splash"), rng).varied(rng)

    def with_lean(self, track: BodyTrack, lean_deg: float, rng: np.random.Generator) -> BodyTrack:
        """Return a track with a lean at the contact as it may be read; as it is where the true one is not known."""
        return track if math.isnan(lean_deg) else replace(track, leans_deg=self._leans.draw(lean_deg, rng))

    def with_splash(self, track: BodyTrack, size: float | None, rng: np.random.Generator) -> BodyTrack:
        """Return a track with a splash of a true size as it may be read; as it is where the true size is not known.

        A clip that ends in the splash does not show how large it is.
        """
        if size is None:
            return track
        is_shown = track.times_s[-1] >= track.air_s + SPLASH_LOOKS_S[FEWEST_LOOKS - 1]
        read = self._splashes.draw(size, rng) if is_shown else None
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
            residual, confidence, off = residual[:, SWAP] * (1, -1), confidence[:, SWAP], off * (-1, 1)
        scale = float(errors.scale[film]) * float(np.exp(rng.normal(0, 0.05)))
        spoilt = scale * joints + np.einsum("tij,tkj->tki", turn(trunk_angle(joints)), residual)
        if rng.random() < 0.6:  # left and right are pulled together where a reader cannot tell them apart
            pull = rng.uniform(0, 0.5)
            spoilt = (1 - pull) * spoilt + pull * (spoilt + spoilt[:, SWAP]) / 2
        swapped = errors.swapped[film, shifted][:, None]
        spoilt = np.where(swapped[..., None], spoilt[:, SWAP], spoilt)
        confidence = np.where(swapped, confidence[:, SWAP], confidence) * rng.uniform(0.8, 1.05)
        spoilt = np.where(errors.turned_over[film, shifted][:, None, None], -spoilt, spoilt)
        jitter = rng.normal(0, 0.05, (len(joints), 1)) + rng.normal(0, 0.04, confidence.shape)
        return spoilt, np.clip(confidence + jitter, 0, 1), scale * path + off


_ALIKE: Final = 0.8
"""How often the errors are those of a film of a dive in the same position."""

_EXACT: Final = 0.05
"""How often a body is shown without any error."""

_BEGINS_LATE, _ENDS_EARLY = 0.25, 0.15
"""Share of the clips that begin less than `BEFORE_S` before the take-off, and of those that end less than `AFTER_S`
after the entry: what people film and cut often does, and of 10,000 simulated dives none did."""

_LATEST_S, _EARLIEST_S = 0.02, 0.1
"""When such clips begin after the take-off, and end after the entry, at the worst, real seconds."""

_SURE: Final = 0.9
_END_SD_S: Final = 0.015
_SHIFT: Final = 8
_AZIMUTH_SD, _ELEVATION_SD = np.radians(10), np.radians(3)
_LOWEST, _HIGHEST = np.radians(-14), np.radians(38)


def draw_span(rng: np.random.Generator, air_s: float) -> tuple[float, float]:
    """Draw when a clip begins and ends, real seconds since the take-off."""
    first_s = rng.uniform(-BEFORE_S, _LATEST_S) if rng.random() < _BEGINS_LATE else -BEFORE_S
    last_s = rng.uniform(_EARLIEST_S, AFTER_S) if rng.random() < _ENDS_EARLY else AFTER_S
    return float(first_s), float(air_s + last_s)


def _camera(rng: np.random.Generator, azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Draw a camera near another one, or near its mirror image; return its axes [3, 3]."""
    turned = azimuth + float(rng.normal(0, _AZIMUTH_SD))
    raised = float(np.clip(elevation + rng.normal(0, _ELEVATION_SD), _LOWEST, _HIGHEST))
    return np.asarray(axes_of(-turned if rng.random() < 0.5 else turned, raised), np.float64)


def _shift(phase: NDArray[np.int64], by: int) -> NDArray[np.int64]:
    """Shift phases in the air along the flight, around its ends; leave the others."""
    in_air = (phase >= FIRST_IN_AIR) & (phase < FIRST_IN_AIR + IN_AIR)
    return np.where(in_air, FIRST_IN_AIR + (phase - FIRST_IN_AIR + by) % IN_AIR, phase)


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
