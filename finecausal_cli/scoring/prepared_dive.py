"""A dive that is found and read: refused where it is no dive, or prepared for judging.

A *prepared dive* is one that is read and about to be scored. Afterwards what is known of it is added to the assessment,
or the points are withheld because the clip lacks a part of the dive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from finecausal_cli.config import __version__
from finecausal_cli.errors import ErrorKind, RefusedError
from finecausal_cli.scoring.athlete_track import FEWEST, MEETS_WATER, SEEN, SURE_END_S, read_ends_and_athlete
from finecausal_cli.scoring.dives import DiveSearch, LocatedDive, Refusal
from finecausal_cli.scoring.results import Unscored
from finecausal_cli.weights import SIMULATED_ONLY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.athlete.reader import AthleteReader
    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.scoring import ScoreOptions
    from finecausal_cli.scoring.athlete_track import AthleteTrack, BodyInFlight
    from finecausal_cli.scoring.dive_reading import DiveClip, DivesRead
    from finecausal_cli.scoring.results import Assessment

_LEAST_OF_FLIGHT: Final = 0.35
"""Share of the frames in the air in which an athlete must be recognised by the picture alone. Of twelve wild films the
least is 0.72; drawn figures that fall have up to 0.29, though with what moves they are taken for athletes in 0.83."""

_LEAST_M2, _MOST_M2 = 0.04, 1.45
_SEEN_WELL: Final = 0.8
_STILL: Final = ((0.28, 0.24), (0.2, 0.2))
"""Half somersaults below which a body does not turn, where its direction is as sure as this: of 345 simulated dives
none that is read rightly; people who stand beside a shuffled flight turn by 0.09 to 0.17, with 0.22."""

_HEAD_UP: Final = 0.3
"""Share of the frames in the air with the head down below which a body may be one that does not turn. A dive on the
hands that does not turn has it down throughout; seen from in front, a body that turns is only seen to stand on its
head now and then, and its direction may turn back and forth."""

_SEEN_TO_TURN, _CLEARLY_WATER = (0.7, 0.15), 0.985
"""Half somersaults, by the joints and by the track of the trunk's direction, below which a body is not seen to turn,
and the probability of water that such a flight needs, at a moment that is sure. Of 125 wild dives two do not seem to
turn, with 1.0; of all of them 1% have less than 0.986. A hurdle on the board before a flight that was frozen has 0.6,
0.06 and 0.97. Of a basketball match, in which the search finds a flight by the players' outlines, the moment is known
to 0.1 s."""

NO_READER: Final = "no athlete reader: outline and joints are not read"

_WITHHELD_HINT: Final = "give more of the video; --force gives points all the same"


# What is no dive.


def refuse_unlike(track: AthleteTrack) -> Refusal | None:
    """Refuse what falls but is no diver: no body, one of the wrong size for the pull, or one that does not turn.

    Measured on simulated clips and five filmed dives: bodies of dives have 0.14 to 0.79 square metres, up to 1.35 where
    a camera above them makes the fall seem short (ten of 690 wild films have more than 1.2, two of 310 1.5 and 1.9, of
    which the ends are read 0.2 s and more off), drawn figures 0.01 at most, somersaults on land, whose flight is
    shorter than it seems, up to 1.5. Dives turn by a half somersault, a
    failed one by 0.44; jumps from piers and trampolines by 0.12 at most, with the trunk's direction read surely (0.22
    to 0.34; where it is read unsurely, below 0.2, a dive's turns may be missed).
    """
    body = track.body
    if body is None:
        return None
    if body.area_m2 < _LEAST_M2:
        return Refusal.of("athlete_not_seen", "what falls in it has no body's outline")
    if body.area_m2 > _MOST_M2:
        what = f"what falls in it is no diver: {body.area_m2:.1f} m² for the pull of its fall"
        return Refusal.of("no_dive", what)
    turned, upright = max(body.half_somersaults), body.head_down < _HEAD_UP
    if upright and body.seen >= _SEEN_WELL and any(turned < most and body.sureness >= sure for most, sure in _STILL):
        return Refusal.of("no_dive", "the body in the air does not turn, as it does in every dive")
    return None


def refuse_unseen(track: AthleteTrack, dive: LocatedDive) -> Refusal | None:
    """Refuse a flight in which hardly ever an athlete is recognised: what falls is something else."""
    begin_s = dive.flight.first_s if dive.takeoff_s is None and dive.flight is not None else dive.takeoff_s
    end_s = dive.likely_entry_s
    if track.recognised is None or begin_s is None or end_s is None:
        return None
    times_s = np.array([frame.time_s for frame in track.frames])
    in_air = track.recognised[(times_s >= begin_s) & (times_s <= end_s)]
    seen = int((in_air >= SEEN).sum())
    if len(in_air) < FEWEST or seen >= _LEAST_OF_FLIGHT * len(in_air):
        return None
    return Refusal.of("athlete_not_seen", f"an athlete is recognised in {seen} of {len(in_air)} frames in the air")


def refuse_dry(dive_clip: DiveClip, body: BodyInFlight | None = None) -> Refusal | None:
    """Refuse a flight that ends on a floor or a bed: a somersault on land, a trampoline, a hurdle on the board.

    Args:
        dive_clip: The dive, its ends read.
        body: What is read of the body in flight: one that is not seen to turn must meet water surely.
    """
    contact = dive_clip.ends.get("contact")
    if contact is None:
        return None
    if contact.probability < MEETS_WATER:
        return Refusal.of("no_dive", "what falls in it lands, and meets no water")
    is_turning = body is None or any(
        turned >= least for turned, least in zip(body.half_somersaults, _SEEN_TO_TURN, strict=True)
    )
    is_clear = contact.probability >= _CLEARLY_WATER and contact.moment_sd_s <= SURE_END_S["contact"]
    if is_turning or is_clear:
        return None
    return Refusal.of("no_dive", "what falls in it is not seen to turn, nor surely to meet water")


# What is ready to be judged.


@dataclass(frozen=True)
class PreparedDive:
    """A dive that is read and about to be scored.

    Attributes:
        dive_clip: The dive and its clip.
        track: Its athlete.
        index: Which dive of the file it is, in their order, from 1.
        dives: How many the file holds.
        notes: What a person should know of how it was located.
        forced: Why it would have been refused; None unless it is scored by force.
    """

    dive_clip: DiveClip
    track: AthleteTrack
    index: int
    dives: int
    notes: tuple[str, ...]
    forced: str | None = None

    @property
    def body_track(self) -> BodyTrack | None:
        """The body over time in metres; None where it is not read."""
        return self.track.body_track

    def complete(self, assessment: Assessment, *, force: bool) -> Assessment | Unscored:
        """Add to an assessment what is known of the dive; withhold the points of a dive that is not all there."""
        dive = self.dive_clip.dive
        forced = self.forced
        lacks = _lacking(dive)
        if lacks is not None and not force:
            return self._withheld(assessment, *lacks)
        if lacks is not None:
            forced = forced or lacks[1]
        return assessment.model_copy(
            update={
                "flight_start_s": dive.takeoff_s,
                "entry_start_s": dive.entry_s,
                "time_scale": dive.time_scale,
                "clip_start_s": dive.start_s,
                "clip_end_s": dive.end_s,
                "athlete_seen": self.track.seen_in,
                "dive_index": self.index,
                "dives_found": self.dives,
                "forced": forced,
                "notes": self._notes(assessment),
            }
        )

    def withheld(self) -> Unscored:
        """Return the result of a dive that a network which judges bodies cannot judge at all."""
        reason, what = _lacking(self.dive_clip.dive) or ("athlete_not_seen", "the athlete's joints are not read")
        return self._withheld(None, reason, what)

    def _withheld(self, assessment: Assessment | None, reason: ErrorKind, what: str) -> Unscored:
        dive = self.dive_clip.dive
        hint = "give more of the video" if assessment is None else _WITHHELD_HINT
        return Unscored(
            status="scored",
            source=self.dive_clip.clip.source,
            reason=reason,
            message=f"no points are given: {what} ({hint})",
            flight_start_s=dive.takeoff_s,
            entry_start_s=dive.entry_s,
            time_scale=dive.time_scale,
            dive=None if assessment is None else assessment.dive,
            dive_from=None if assessment is None else assessment.dive_from,
            height_m=None if assessment is None else assessment.height_m,
            athlete=self.track.frames,
            athlete_seen=self.track.seen_in,
            forced=self.forced,
            version=__version__,
            notes=self._notes(assessment),
        )

    def _notes(self, assessment: Assessment | None) -> tuple[str, ...]:
        """Join the notes, what the weights were trained on first."""
        dive = self.dive_clip.dive
        judged = () if assessment is None else assessment.notes
        notes = (*dive.missing, *dive.notes, *self.notes, *judged)
        return tuple(sorted(notes, key=lambda note: note != SIMULATED_ONLY))


def _lacking(dive: LocatedDive) -> tuple[ErrorKind, str] | None:
    """Return what a dive must have for points and has not; None also where nobody knows where the dive is."""
    if dive.flight is None and dive.takeoff_s is None and dive.entry_s is None:
        return None
    if dive.takeoff_s is None:
        return "no_takeoff", dive.missing[0] if dive.missing else "the take-off is not in the clip"
    if dive.entry_s is None:
        return "no_entry", dive.missing[-1] if dive.missing else "the entry is not in the clip"
    return None


def prepare_dive(
    read: DivesRead,
    options: ScoreOptions,
    reader: AthleteReader | None,
    *,
    source: str,
    notes: Sequence[str] = (),
) -> PreparedDive | Unscored:
    """Read the athlete of a dive and refuse what must not be scored.

    Args:
        read: What was read of the file.
        options: How it is to be scored.
        reader: Reads joints and outlines; None if there is none.
        source: The file, as given.
        notes: Of the corrections.
    """
    search = read.search
    notes = (*notes, *search.notes, *(() if reader else (NO_READER,)))
    if read.refused:
        return _refused(source, read.refused[0].refusal or Refusal.of("no_dive"), read.refused[0], None, notes)
    if not read.clips:
        return _refused(source, search.refusal or Refusal.of("no_dive"), None, None, notes)
    several = _of_several(search, options)
    seen = [_see(reader, read.clips[0])]
    if seen[0].unlike is not None and seen[0].unlike.reason == "athlete_not_seen" and not options.force:
        seen += [_see(reader, dive_clip) for dive_clip in read.clips[1:]]
    dive_clip, track, unseen = next((each for each in seen if each.unlike is None), seen[0])
    dive = dive_clip.dive
    if dive_clip is not seen[0].dive_clip:
        several = ("what falls most surely is no athlete: who is in the air beside it is judged",)
    notes = (*notes, *several)
    if unseen is not None and not options.force:
        return _refused(source, unseen, dive, track, notes)
    why = dive_clip.refused_as or unseen
    # The clip may be shorter than the dive that was located: its flight tells which one it is.
    starts = [each.takeoff_s if each.flight else each.start_s for each in search.in_order()]
    start = dive.takeoff_s if dive.flight else dive.start_s
    return PreparedDive(
        dive_clip=dive_clip,
        track=track,
        index=starts.index(start) + 1 if start in starts else 1,
        dives=len(search.dives),
        notes=notes,
        forced=None if why is None else why.what,
    )


class _Seen(NamedTuple):
    """A dive as the reader sees it.

    Attributes:
        dive_clip: The dive, its ends where the reader sees them.
        track: Its athlete.
        unlike: Why it is no dive, or shows no athlete; None if it may be judged.
    """

    dive_clip: DiveClip
    track: AthleteTrack
    unlike: Refusal | None


def _see(reader: AthleteReader | None, dive_clip: DiveClip) -> _Seen:
    seen, track = read_ends_and_athlete(reader, dive_clip)
    return _Seen(seen, track, refuse_unseen(track, seen.dive) or refuse_unlike(track) or refuse_dry(seen, track.body))


def _of_several(search: DiveSearch, options: ScoreOptions) -> tuple[str, ...]:
    """Say which dive of a file is judged, and who else is in the air with it."""
    if options.all_dives or not search.dives:
        return ()
    best = search.dives[0]
    if best.beside:
        return (best.beside,)
    if len(search.dives) < 2 or options.corrections:
        return ()
    where = best.start_s if best.takeoff_s is None else best.takeoff_s
    return (f"{len(search.dives)} dives are found; the surest, at {where:.1f} s, is judged: --all-dives judges each",)


def _refused(
    source: str, refusal: Refusal, dive: LocatedDive | None, track: AthleteTrack | None, notes: Sequence[str]
) -> Unscored:
    return Unscored(
        status="refused",
        source=source,
        reason=refusal.reason,
        message=refusal.message,
        flight_start_s=None if dive is None else dive.takeoff_s,
        entry_start_s=None if dive is None else dive.entry_s,
        time_scale=None if dive is None else dive.time_scale,
        athlete=() if track is None else track.frames,
        athlete_seen=None if track is None else track.seen_in,
        version=__version__,
        notes=(*(() if dive is None else dive.notes), *notes),
    )


def refused_error(unscored: Unscored) -> RefusedError:
    """Return the error for a caller who wants points and nothing else."""
    error = RefusedError(unscored.message, where=unscored.source, kind=unscored.reason)
    error.found = unscored
    return error
