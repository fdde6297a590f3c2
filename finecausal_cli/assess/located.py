"""What is known of a dive besides its points: where it is, what it lacks, whether its athlete is seen.

A *subject* is a dive that was read and is about to be judged. Afterwards what is known of it is put into the verdict,
or the points are withheld because the clip lacks a part of the dive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from finecausal_cli.assess.assessment import Unscored
from finecausal_cli.assess.athlete_track import AthleteTrack, read_athlete, refuse_unlike, refuse_unseen
from finecausal_cli.assess.dives import Refusal
from finecausal_cli.errors import ErrorKind, RefusedError
from finecausal_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.dive_reading import DiveClip, DivesRead
    from finecausal_cli.assess.dives import DiveSearch, LocatedDive
    from finecausal_cli.assess.score_options import ScoreOptions
    from finecausal_cli.athlete.reader import AthleteReader

NO_READER: Final = "no athlete reader: outline and joints are not read"

_WITHHELD_HINT: Final = "give more of the video; --force gives points all the same"


@dataclass(frozen=True)
class Subject:
    """A dive that was read and is about to be judged.

    Attributes:
        found: The dive and its clip.
        track: Its athlete.
        index: Which dive of the file it is, in their order, from 1.
        dives: How many the file holds.
        notes: What a person should know of how it was found.
        forced: Why it would have been refused; None unless it is judged by force.
    """

    found: DiveClip
    track: AthleteTrack
    index: int
    dives: int
    notes: tuple[str, ...]
    forced: str | None = None

    def complete(self, assessment: Assessment, *, force: bool) -> Assessment | Unscored:
        """Add to a verdict what is known of the dive; withhold the points of a dive that is not all there."""
        dive = self.found.dive
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
                "notes": (*dive.missing, *dive.notes, *self.notes, *assessment.notes),
            }
        )

    def _withheld(self, assessment: Assessment, reason: ErrorKind, what: str) -> Unscored:
        dive = self.found.dive
        return Unscored(
            status="scored",
            source=assessment.source,
            reason=reason,
            message=f"no points are given: {what} ({_WITHHELD_HINT})",
            flight_start_s=dive.takeoff_s,
            entry_start_s=dive.entry_s,
            time_scale=dive.time_scale,
            dive=assessment.dive,
            dive_from=assessment.dive_from,
            height_m=assessment.height_m,
            athlete=self.track.frames,
            athlete_seen=self.track.seen_in,
            version=__version__,
            notes=(*dive.missing, *dive.notes, *self.notes, *assessment.notes),
        )


def _lacking(dive: LocatedDive) -> tuple[ErrorKind, str] | None:
    """Return what a dive must have for points and has not; None also where nobody knows where the dive is."""
    if dive.flight is None and dive.takeoff_s is None and dive.entry_s is None:
        return None
    if dive.takeoff_s is None:
        return "no_takeoff", dive.missing[0] if dive.missing else "the take-off is not in the clip"
    if dive.entry_s is None:
        return "no_entry", dive.missing[-1] if dive.missing else "the entry is not in the clip"
    return None


def prepare_subject(
    read: DivesRead,
    options: ScoreOptions,
    reader: AthleteReader | None,
    *,
    source: str,
    notes: Sequence[str] = (),
) -> Subject | Unscored:
    """Read the athlete of a dive and refuse what must not be judged.

    Args:
        read: What was read of the file.
        options: What was asked.
        reader: Reads joints and outlines; None if there is none.
        source: The file, as given.
        notes: Of the corrections.
    """
    search = read.search
    said = (*notes, *search.notes, *_of_several(search, options), *(() if reader else (NO_READER,)))
    if read.refused:
        return _refused(source, read.refused[0].refusal or Refusal.of("no_dive"), read.refused[0], None, said)
    if not read.clips:
        return _refused(source, search.refusal or Refusal.of("no_dive"), None, None, said)
    (found,) = read.clips
    track = read_athlete(reader, found)
    unseen = refuse_unseen(track, found.dive) or refuse_unlike(track)
    if unseen is not None and not options.force:
        return _refused(source, unseen, found.dive, track, said)
    why = found.refused_as or unseen
    starts = [(dive.start_s, dive.end_s, dive.takeoff_s) for dive in search.in_order()]
    known = (found.dive.start_s, found.dive.end_s, found.dive.takeoff_s)
    return Subject(
        found=found,
        track=track,
        index=starts.index(known) + 1 if known in starts else 1,
        dives=len(search.dives),
        notes=said,
        forced=None if why is None else why.what,
    )


def _of_several(search: DiveSearch, options: ScoreOptions) -> tuple[str, ...]:
    if len(search.dives) < 2 or options.all_dives or options.corrections:
        return ()
    best = search.dives[0]
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


def refused_error(found: Unscored) -> RefusedError:
    """Return what a caller who wants points, and nothing else, gets."""
    error = RefusedError(found.message, where=found.source, kind=found.reason)
    error.found = found
    return error
