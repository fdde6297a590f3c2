"""Tracks of bodies for training and evaluation: read from files once, kept as arrays."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from zipfile import BadZipFile

import numpy as np

from finecausal_cli.athlete.track import AFTER_S, BEFORE_S, BodyTrack, track_features
from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.cache import (
    NO_TRANSITION,
    CacheSize,
    ClipArrays,
    ClipCache,
    DiveInputs,
    file_states,
    true_transitions,
)
from finecausal_cli.errors import NoTrackError
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.dive_reading import Viewing, read_dives
from finecausal_cli.scoring.prepared_dive import prepare_dive
from finecausal_cli.scoring.results import Unscored

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from finecausal_cli.athlete.reader import AthleteReader
    from finecausal_cli.data import Dive
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.scoring.prepared_dive import PreparedDive

SUFFIX: Final = ".track.npz"
_VERSION: Final = 2
_PICTURE_SIZE: Final = 112
"""Side of the pictures that are decoded beside the windows; nobody looks at them here."""


@dataclass(frozen=True)
class StoredTrack:
    """The body in one file.

    Attributes:
        track: The body over time.
        source_frames: int64 [F], the file's frame of each sample.
        takeoff_s: When the athlete leaves the board, file time.
        entry_s: When the athlete meets the water, file time.
        time_scale: Times slower than real time.
    """

    track: BodyTrack
    source_frames: NDArray[np.int64]
    takeoff_s: float
    entry_s: float
    time_scale: float

    @classmethod
    def of(cls, prepared: PreparedDive) -> StoredTrack | None:
        """Return the track of a dive that is found and read; None where the ends of its flight are not known."""
        dive, track = prepared.dive_clip.dive, prepared.body_track
        if track is None or dive.takeoff_s is None or dive.entry_s is None:
            return None
        frames = np.asarray(prepared.dive_clip.clip.source_frames, np.int64)
        return cls(track, frames, dive.takeoff_s, dive.entry_s, dive.time_scale or 1.0)

    def write(self, path: Path) -> None:
        """Write it as an npz file.

        Raises:
            OutputError: It cannot be written.
        """
        arrays = {
            field.name: np.asarray(np.nan if value is None else value)
            for field in fields(BodyTrack)
            if (value := getattr(self.track, field.name)) is not None or field.name == "splash"
        }
        times = np.array([self.takeoff_s, self.entry_s, self.time_scale])
        with atomic_write(path, "a track") as part, part.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, source_frames=self.source_frames, located=times, **arrays)

    @classmethod
    def read(cls, path: Path) -> StoredTrack | None:
        """Read what `write` wrote; None where there is nothing, or something else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                values: dict[str, Any] = {
                    field.name: file[field.name] for field in fields(BodyTrack) if field.name in file
                }
                values |= {name: float(values[name]) for name in ("air_s", "splash", "splash_error")}
                values["splash"] = None if np.isnan(values["splash"]) else values["splash"]
                return cls(BodyTrack(**values), file["source_frames"], *file["located"].tolist())
        except (OSError, ValueError, KeyError, TypeError, BadZipFile):
            return None


def track_viewing(reader: AthleteReader) -> Viewing:
    """Return how a reader of athletes alone wants its clips."""
    return Viewing("fit", _PICTURE_SIZE, None, reader.square_size, (BEFORE_S, AFTER_S))


def read_track(
    path: str | os.PathLike[str],
    reader: AthleteReader,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
) -> StoredTrack:
    """Find the surest dive of a file and read its athlete.

    Raises:
        VideoError: The file cannot be read, or shows no whole dive.
    """
    options = ScoreOptions(start_s=start_s, end_s=end_s)
    prepared = prepare_dive(read_dives(path, options.wanted, track_viewing(reader)), options, reader, source=str(path))
    stored = None if isinstance(prepared, Unscored) else StoredTrack.of(prepared)
    if stored is None:
        why = prepared.message if isinstance(prepared, Unscored) else "an end of the flight is not in the file"
        raise NoTrackError(f"no track of an athlete: {why}", where=str(path))
    return stored


class TrackCache:
    """Tracks of dives on disk: what a network that reads bodies is given in place of clips.

    Args:
        folder: Where the files go; created on first use. None keeps nothing and reads every time.
        reader: Reads athletes.
    """

    geometry: Literal["fit"] = "fit"

    def __init__(self, folder: Path | None, reader: AthleteReader) -> None:
        self._folder = None if folder is None else folder / "bodies"
        self._reader = reader

    def track(self, dive: Dive) -> StoredTrack:
        """Return the track of a dive's video, reading it the first time.

        Raises:
            VideoError: The video cannot be read, or shows no whole dive.
            OutputError: The cache cannot be written.
        """
        file = None if self._folder is None else self._folder / f"{self.digest(dive)}{SUFFIX}"
        known = None if file is None else StoredTrack.read(file)
        if known is not None:
            return known
        stored = read_track(dive.video, self._reader, start_s=dive.start_s, end_s=dive.end_s)
        if file is not None:
            stored.write(file)
        return stored

    def load(self, dive: Dive) -> ClipArrays:
        """Return what the network is given of a dive, with its annotated transitions, else those that were read.

        Raises as ``track`` does.
        """
        stored = self.track(dive)
        track = stored.track
        known = true_transitions(dive, stored.source_frames)
        first, entry = (
            read if true == NO_TRANSITION else true for true, read in zip(known, track.transitions, strict=True)
        )
        return ClipArrays(track_features(track).T, None, (first, entry), track)

    def size(self) -> CacheSize:
        """Return how many tracks the folder holds, and their size."""
        files = [] if self._folder is None or not self._folder.is_dir() else [*self._folder.glob(f"*{SUFFIX}")]
        return CacheSize(len(files), sum(file.stat().st_size for file in files))

    def digest(self, dive: Dive) -> str:
        """Return the digest of a dive's track: by its files, the reader and the version of the format.

        Raises:
            VideoError: The dive's files are not there.
        """
        states = file_states(replace(dive, mask=None))  # the athlete is read without them
        facts = [_VERSION, self._reader.digest, str(Path(dive.video).resolve()), *states]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def inputs_for(model: FineCausal, cache: Path | None) -> DiveInputs:
    """Return where what a network is given of dives comes from: clips, or tracks of bodies.

    Args:
        model: The network.
        cache: Folder of what is kept; None reads every time.

    Raises:
        WeightsError: The network reads bodies, and the athlete reader's weights are missing.
    """
    if model.config.trunk != "skeleton":
        return ClipCache(cache, geometry=model.config.geometry, frame_size=model.config.frame_size)
    from finecausal_cli.athlete.reader import AthleteReader

    device = next(model.parameters()).device
    return TrackCache(cache, AthleteReader.load(device=device))
