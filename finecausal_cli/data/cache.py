"""Keep decoded, scaled clips on disk, so that an epoch does not decode again.

One file a clip, mapped into memory. The name is a digest of the video's path, size and time of change and of the
picture geometry, so a changed video or another geometry is simply another file. A file appears whole or not at all
(temporary name, then rename), so parallel writers and interruptions do no harm: whoever comes last replaces a file by
an equal one. The checksum of a file is compared once, when a process first reads it; a file that is not whole is
decoded again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from finecausal_cli.data.clip_file import SUFFIX, VERSION, StoredClip, read_stored_clip, write_clip
from finecausal_cli.data.clip_reader import read_dive
from finecausal_cli.errors import VideoError
from finecausal_cli.video.clip import CLIP_FRAMES
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.data.dive import Dive

NO_TRANSITION = -1
"""Stands for an unknown transition."""

_ABANDONED_S = 3600.0
"""A temporary file this old belongs to a process that was killed."""


@dataclass(frozen=True, slots=True)
class ClipArrays:
    """A dive's sampled frames, ready for cropping.

    Attributes:
        frames: uint8 [96, height, width, 3], RGB, at working size.
        mask: uint8 [96, height, width], 1 = athlete; None if the dataset has none.
        transitions: Sampled frame (0..95) at which flight and entry begin; -1 where unknown.
    """

    frames: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None
    transitions: tuple[int, int]


@dataclass(frozen=True, slots=True)
class CacheSize:
    """How much a cache holds.

    Attributes:
        clips: Number of clips.
        bytes: Size of their files.
    """

    clips: int
    bytes: int


class ClipCache:
    """Clips of one picture geometry on disk.

    A loaded clip holds one file open until it is dropped, so keep no more of them than you need.

    Args:
        folder: Where the files go; created on first use. None keeps nothing and decodes every time.
        geometry: Picture geometry of the network.
        frame_size: Side of the square that the network sees, pixels.
    """

    def __init__(self, folder: Path | None, *, geometry: Literal["fit", "squeeze"], frame_size: int) -> None:
        self._folder = folder
        self._geometry: Literal["fit", "squeeze"] = geometry
        self.frame_size = frame_size
        self._verified: dict[str, tuple[int, int, int]] = {}
        self._has_swept = False

    def load(self, dive: Dive) -> ClipArrays:
        """Return a dive's clip, decoding it the first time.

        Raises:
            VideoError: The video or its masks cannot be read.
            OutputError: The cache cannot be written.
        """
        if self._folder is None:
            return _arrays(dive, self._decode(dive))
        stored = self._folder / f"{self.digest(dive)}{SUFFIX}"
        clip = self._read(stored)
        if clip is None:
            clip = self._decode(dive)
            self._sweep(self._folder)
            with whole_file(stored, "the clip cache") as part:
                write_clip(part, clip)
        return _arrays(dive, clip)

    def size(self) -> CacheSize:
        """Return how many clips the folder holds, of every geometry and version, and their size."""
        sizes = []
        if self._folder is not None and self._folder.is_dir():
            for file in self._folder.glob(f"*{SUFFIX}"):
                with suppress(OSError):  # replaced or removed by another process meanwhile
                    sizes.append(file.stat().st_size)
        return CacheSize(len(sizes), sum(sizes))

    def digest(self, dive: Dive) -> str:
        """Return what a dive's clip is known by here: another file, picture geometry or version has another digest.

        Raises:
            VideoError: The dive's files are not there.
        """
        paths = [None if path is None else str(path.resolve()) for path in (dive.video, dive.mask)]
        facts = [VERSION, self._geometry, self.frame_size, *paths, *_states(dive)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def _read(self, stored: Path) -> StoredClip | None:
        """Map a stored clip into memory; None if it has to be decoded."""
        try:
            state = stored.stat()
        except OSError:
            return None
        seen = (state.st_ino, state.st_size, state.st_mtime_ns)
        clip = read_stored_clip(stored, verify=self._verified.get(stored.name) != seen)
        if clip is None or min(clip.frames.shape[1:3]) < self.frame_size:
            return None
        self._verified[stored.name] = seen
        return clip

    def _decode(self, dive: Dive) -> StoredClip:
        clip, mask = read_dive(dive, geometry=self._geometry, frame_size=self.frame_size)
        window = slice(None)
        if self._geometry == "fit":
            height, width = clip.frames.shape[1:3]
            # Chosen so that the centre crop of what is kept is the centre crop of the whole picture.
            start = max(0, (width - self.frame_size) // 2 - (height - self.frame_size) // 2)
            window = slice(start, start + min(height, width))
        return StoredClip(
            np.ascontiguousarray(clip.frames[:, :, window]),
            None if mask is None else np.ascontiguousarray(mask[:, :, window]),
            clip.source_frames,
        )

    def _sweep(self, folder: Path) -> None:
        """Remove, once a process, what killed writers have left."""
        if self._has_swept:
            return
        self._has_swept = True
        now = time.time()
        for part in folder.glob(f".*{SUFFIX}.*part"):
            with suppress(OSError):
                if now - part.stat().st_mtime > _ABANDONED_S:
                    part.unlink()


def _arrays(dive: Dive, clip: StoredClip) -> ClipArrays:
    return ClipArrays(clip.frames, clip.mask, _transitions(dive, clip.source_frames))


def _states(dive: Dive) -> list[object]:
    """Return size and time of change of a dive's files, of every picture where they are folders.

    A picture that is written over does not change its folder, so each one is asked.
    """
    facts: list[object] = []
    if dive.frames is not None:
        facts += [dive.frames.name, dive.frames.first, dive.frames.last]
        pictures = [dive.frames.picture(dive.video, index) for index in range(len(dive.frames))]
        facts += [_state(picture) for picture in pictures if picture.exists()]
    else:
        facts += _folder_states(dive.video)
    if dive.mask is not None:
        facts += _folder_states(dive.mask)
    return facts


def _folder_states(path: Path) -> list[tuple[int, int]]:
    if not path.is_dir():
        return [_state(path)]
    try:
        with os.scandir(path) as listing:
            states = [one.stat() for one in sorted(listing, key=lambda one: one.name)]
        return [(state.st_size, state.st_mtime_ns) for state in states]
    except OSError as error:
        raise VideoError(f"Cannot be read: {error.strerror}.", where=path) from error


def _state(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError as error:
        raise VideoError(f"Cannot be read: {error.strerror}.", where=path) from error
    return state.st_size, state.st_mtime_ns


def _transitions(dive: Dive, source_frames: NDArray[np.int64]) -> tuple[int, int]:
    """Map clip frames to sampled frames: the first sampled frame at or after the stage's start."""
    starts = (dive.twist_start, dive.entry_start)
    flight, entry = (
        NO_TRANSITION if start is None else min(int(np.searchsorted(source_frames, start)), CLIP_FRAMES - 1)
        for start in starts
    )
    return flight, entry
