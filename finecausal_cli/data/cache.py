"""Decoded clips of a dataset, kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import platformdirs
from PIL import Image

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import VideoError
from finecausal_cli.video import CLIP_FRAMES, Clip, check_enough, sample_indices, scale_frame
from finecausal_cli.video.reader import read_clip, read_masks
from finecausal_cli.video.source import ASSUMED_FPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.data import Dive, FrameRange


# Where the user's decoded clips are kept when no folder is named.


def default_cache() -> Path:
    """Return the folder of decoded clips in the user's cache."""
    return Path(platformdirs.user_cache_dir("finecausal", appauthor=False)) / "clips"


# One decoded clip in one file: a header, then frames, masks and source frames as they lie in memory.
#
#     offset 0    magic, version of the format
#            12   height, width, whether masks follow
#            24   CRC-32 of these three and of everything after the header
#            64   frames uint8 [96, height, width, 3]; masks uint8 [96, height, width] if any; source frames int64 [96]
#
# The file is mapped into memory, so that clips shared by several processes are in memory once.

VERSION = 3
"""Part of the header and of the files' names: another version is decoded anew, beside the old files."""

SUFFIX = ".clip"

_MAGIC = b"FCLIP\r\n\0"
_HEADER = struct.Struct("<8sIIIII36x")
_SOURCE_BYTES = 8 * CLIP_FRAMES
_LARGEST_SIDE = 1 << 14


@dataclass(frozen=True, slots=True)
class StoredClip:
    """What a file holds.

    Attributes:
        frames: uint8 [96, height, width, 3], RGB.
        mask: uint8 [96, height, width], 0 or 1; None if the dive has none.
        source_frames: int64 [96], frame of the clip that each was taken from.
    """

    frames: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None
    source_frames: NDArray[np.int64]


def write_clip(path: Path, clip: StoredClip) -> None:
    """Write a clip.

    Raises:
        OSError: It cannot be written.
    """
    parts = [np.ascontiguousarray(clip.frames)]
    if clip.mask is not None:
        parts.append(np.ascontiguousarray(clip.mask))
    parts.append(np.ascontiguousarray(clip.source_frames, dtype="<i8"))
    height, width = clip.frames.shape[1:3]
    shape = (height, width, int(clip.mask is not None))
    checksum = _checksum_of_shape(*shape)
    for part in parts:
        checksum = zlib.crc32(part.data, checksum)
    with path.open("wb") as stream:
        stream.write(_HEADER.pack(_MAGIC, VERSION, *shape, checksum))
        for part in parts:
            stream.write(part.data)


def read_stored_clip(path: Path, *, verify: bool) -> StoredClip | None:
    """Map a clip into memory.

    Args:
        path: The file.
        verify: Read it completely and compare its checksum.

    Returns:
        The clip; None if the file is missing, not whole, damaged, or not what this version writes.
    """
    try:
        with path.open("rb") as stream:
            header = stream.read(_HEADER.size)
        size = path.stat().st_size
        magic, version, height, width, masked, checksum = _HEADER.unpack(header)
        known = magic == _MAGIC and version == VERSION and masked in (0, 1)
        if not known or not 0 < height <= _LARGEST_SIDE or not 0 < width <= _LARGEST_SIDE:
            return None
        pixels = CLIP_FRAMES * height * width
        if size != _HEADER.size + pixels * (3 + masked) + _SOURCE_BYTES:
            return None
        content = np.memmap(path, np.uint8, mode="r", offset=_HEADER.size)
    except (OSError, ValueError, struct.error):
        return None
    if verify and zlib.crc32(content.data, _checksum_of_shape(height, width, masked)) != checksum:
        return None
    plain = content.view(np.ndarray)
    frames, masks, source = np.split(plain, [3 * pixels, (3 + masked) * pixels])
    return StoredClip(
        frames.reshape(CLIP_FRAMES, height, width, 3),
        masks.reshape(CLIP_FRAMES, height, width) if masked else None,
        source.view("<i8").astype(np.int64),
    )


def _checksum_of_shape(height: int, width: int, masked: int) -> int:
    return zlib.crc32(struct.pack("<IIII", VERSION, height, width, masked))


# From a dive's files to its sampled frames and masks at working size, nothing kept on disk.

_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_dive(
    dive: Dive, *, geometry: Literal["fit", "squeeze"], frame_size: int, timeout_s: float | None = None
) -> tuple[Clip, NDArray[np.uint8] | None]:
    """Read the sampled frames of a dive and their masks.

    Args:
        dive: The dive.
        geometry: How pictures are brought to size.
        frame_size: Side of the square that the network sees, pixels.
        timeout_s: Most seconds that a video may take to decode; None for no limit.

    Returns:
        The clip, and uint8 [96, height, width] of 0 and 1 of the same size, or None where the dive has no masks.

    Raises:
        VideoError: Frames or masks cannot be read.
    """
    if dive.frames is None:
        clip = read_clip(
            dive.video,
            geometry=geometry,
            frame_size=frame_size,
            timeout_s=timeout_s,
            start_s=dive.start_s,
            end_s=dive.end_s,
        )
    else:
        clip = _read_range(dive.video, dive.frames, geometry, frame_size)
    if dive.mask is None:
        return clip, None
    # Of the frames' size, because masks may be stored smaller than the video.
    return clip, read_masks(dive.mask, clip.source_frames, geometry=geometry, size=clip.frames.shape[1:3])


def _read_range(folder: Path, frames: FrameRange, geometry: Literal["fit", "squeeze"], frame_size: int) -> Clip:
    """Read a dive from the pictures of an untrimmed video, of which there may be hundreds of thousands."""
    indices = sample_indices(0, len(frames) - 1)
    repeats = check_enough(indices, str(folder))
    distinct, places = np.unique(indices, return_inverse=True)
    scaled = [_read_picture(frames.picture(folder, int(index)), geometry, frame_size) for index in distinct]
    if len({picture.shape for picture in scaled}) > 1:
        raise VideoError(f"The pictures of frames {frames.first} to {frames.last} differ in shape.", where=folder)
    notes = (repeats,) if repeats else ()
    return Clip(np.stack(scaled)[places], indices, ASSUMED_FPS, str(folder), "frames", notes)


def _read_picture(file: Path, geometry: Literal["fit", "squeeze"], frame_size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            return scale_frame(np.asarray(image.convert("RGB")), geometry, frame_size)
    except FileNotFoundError:
        raise VideoError("This frame of the dive is missing.", where=file) from None
    except _UNREADABLE as error:
        raise VideoError("The image is broken and cannot be decoded.", where=file) from error


# Keep decoded, scaled clips on disk, so that an epoch does not decode again.
#
# One file a clip, mapped into memory. The name is a digest of the video's path, size and time of change and of the
# picture geometry, so a changed video or another geometry is simply another file. A file appears whole or not at all
# (temporary name, then rename), so parallel writers and interruptions do no harm: whoever comes last replaces a file
# by an equal one. The checksum of a file is compared once, when a process first reads it; a file that is not whole is
# decoded again.

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
            with atomic_write(stored, "the clip cache") as part:
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
    if (dive.start_s, dive.end_s) != (None, None):
        facts += [dive.start_s, dive.end_s]
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
