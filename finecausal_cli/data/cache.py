"""Decoded clips of a dataset, kept on disk; processes that read ahead."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

import cv2
import numpy as np
import platformdirs
from PIL import Image

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import FinecausalError, VideoError
from finecausal_cli.video import CLIP_FRAMES, Clip, check_enough, sample_indices, scale_frame
from finecausal_cli.video.reader import read_clip, read_masks
from finecausal_cli.video.source import ASSUMED_FPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.data import Dive, FrameRange


def default_cache() -> Path:
    """Return the folder of decoded clips in the user's cache."""
    return Path(platformdirs.user_cache_dir("finecausal", appauthor=False)) / "clips"


# One decoded clip in one file: a header, then the arrays as they lie in memory. Mapped into memory, so that processes
# share the pages of a clip.

VERSION = 3
"""Part of the header and of the files' names: another version is decoded anew, beside the old files."""

SUFFIX = ".clip"

_MAGIC = b"FCLIP\r\n"
_HEADER = np.dtype(
    [
        *(("magic", "S8"), ("version", "<u4"), ("height", "<u4"), ("width", "<u4"), ("masked", "<u4")),
        ("checksum", "<u4"),  # CRC-32 of the four numbers before it and of everything after the header
        ("unused", "V36"),
    ]
)
_LARGEST_SIDE = 1 << 14


def _layout(height: int, width: int, *, masked: bool) -> np.dtype[np.void]:
    """Return the layout of a file."""
    mask = [("mask", "u1", (CLIP_FRAMES, height, width))] if masked else []
    frames = ("frames", "u1", (CLIP_FRAMES, height, width, 3))
    return np.dtype([("header", _HEADER), frames, *mask, ("source_frames", "<i8", (CLIP_FRAMES,))])


@dataclass(frozen=True, slots=True)
class StoredClip:
    """The content of a file.

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
    masked = clip.mask is not None
    file = np.zeros(1, _layout(*clip.frames.shape[1:3], masked=masked))
    file["frames"], file["source_frames"] = clip.frames, clip.source_frames
    if masked:
        file["mask"] = clip.mask
    file["header"] = (_MAGIC, VERSION, *clip.frames.shape[1:3], masked, 0, b"")
    file["header"]["checksum"] = _checksum(file)
    with path.open("wb") as stream:
        stream.write(file.data)


def read_stored_clip(path: Path, *, verify: bool) -> StoredClip | None:
    """Map a clip into memory.

    Args:
        path: The file.
        verify: Read it completely and compare its checksum.

    Returns:
        The clip; None if the file is missing, not whole, damaged, or not what this version writes.
    """
    try:
        header = np.fromfile(path, _HEADER, count=1)[0]
        height, width, masked = (int(header[name]) for name in ("height", "width", "masked"))
        known = (header["magic"], header["version"]) == (_MAGIC, VERSION) and masked in (0, 1)
        if not known or not 0 < height <= _LARGEST_SIDE or not 0 < width <= _LARGEST_SIDE:
            return None
        layout = _layout(height, width, masked=bool(masked))
        if path.stat().st_size != layout.itemsize:
            return None
        file = np.memmap(path, layout, mode="r", shape=(1,)).view(np.ndarray)
    except (OSError, ValueError, IndexError):
        return None
    if verify and _checksum(file) != header["checksum"]:
        return None
    return StoredClip(file["frames"][0], file["mask"][0] if masked else None, file["source_frames"][0].astype(np.int64))


def _checksum(file: NDArray[np.void]) -> int:
    content = file.view(np.uint8).data
    start, end = (_HEADER.fields[name][1] for name in ("version", "checksum"))  # type: ignore[index]
    return zlib.crc32(content[_HEADER.itemsize :], zlib.crc32(content[start:end]))


# Reading: from a dive's files to its sampled frames and masks at working size.

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
    distinct, positions = np.unique(indices, return_inverse=True)
    scaled = [_read_picture(frames.picture(folder, int(index)), geometry, frame_size) for index in distinct]
    if len({picture.shape for picture in scaled}) > 1:
        raise VideoError(f"The pictures of frames {frames.first} to {frames.last} differ in shape.", where=folder)
    notes = (repeats,) if repeats else ()
    return Clip(np.stack(scaled)[positions], indices, ASSUMED_FPS, str(folder), "frames", notes)


def _read_picture(file: Path, geometry: Literal["fit", "squeeze"], frame_size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            return scale_frame(np.asarray(image.convert("RGB")), geometry, frame_size)
    except FileNotFoundError:
        raise VideoError("This frame of the dive is missing.", where=file) from None
    except _UNREADABLE as error:
        raise VideoError("The image is broken and cannot be decoded.", where=file) from error


# The cache: decoded, scaled clips on disk, so that an epoch does not decode again.
#
# A file's name is a digest of the video's path, size and modification time and of the geometry, so a changed video or
# another geometry is another file. Files are written atomically; parallel writers write equal files. A checksum is
# compared when a process first reads the file; a damaged one is decoded again.

NO_TRANSITION = -1
"""An unknown transition."""

_ABANDONED_S = 3600.0
"""Age of a temporary file whose writer was killed."""


@dataclass(frozen=True, slots=True)
class ClipArrays:
    """A dive's sampled frames, ready for cropping.

    Attributes:
        frames: uint8 [96, height, width, 3], RGB, at working size.
        mask: uint8 [96, height, width], 1 = athlete; None if the dataset has none.
        transitions: Sampled frame (0..95) at which flight and entry begin; -1 where unknown.
        track: The body that a network reads in place of the pictures; then ``frames`` are its features, float32
            [96, channels].
    """

    frames: NDArray[Any]
    mask: NDArray[np.uint8] | None
    transitions: tuple[int, int]
    track: BodyTrack | None = None


@dataclass(frozen=True, slots=True)
class CacheSize:
    """Size of a cache.

    Attributes:
        clips: Number of clips.
        bytes: Size of their files.
    """

    clips: int
    bytes: int


FileState = tuple[int, int, int]
"""Inode, size and time (ns) of a file."""


class DiveInputs(Protocol):
    """Where what a network is given of a dive comes from: a `ClipCache`, or one of tracks of bodies."""

    def load(self, dive: Dive) -> ClipArrays:
        """Return what the network is given of a dive, reading it the first time."""

    def size(self) -> CacheSize:
        """Return how much is kept."""

    def digest(self, dive: Dive) -> str:
        """Return a digest of a dive's input."""


class ClipCache:
    """Clips of one picture geometry on disk.

    A loaded clip holds a file open until it is dropped.

    Args:
        folder: Where the files go; created on first use. None keeps nothing and decodes every time.
        geometry: Resizing of the pictures.
        frame_size: Side of the square that the network sees, pixels.
    """

    def __init__(self, folder: Path | None, *, geometry: Literal["fit", "squeeze"], frame_size: int) -> None:
        self._folder = folder
        self._geometry: Literal["fit", "squeeze"] = geometry
        self.frame_size = frame_size
        self._verified: dict[str, FileState] = {}
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
            with suppress(OSError):  # removed by another process meanwhile; else as good as verified
                self._verified[stored.name] = _file_state(stored)
        return _arrays(dive, clip)

    def holds(self, dive: Dive) -> bool:
        """Return whether a dive's clip is stored, sound or not.

        Raises:
            VideoError: The dive's files are not there.
        """
        return self._folder is not None and (self._folder / f"{self.digest(dive)}{SUFFIX}").exists()

    def store(self, dive: Dive) -> tuple[bool, dict[str, FileState]]:
        """Load a dive's clip for others; return whether it has masks, and the file that was verified, to ``trust``.

        Raises as ``load`` does.
        """
        has_mask, name = self.load(dive).mask is not None, f"{self.digest(dive)}{SUFFIX}"
        return has_mask, {name: self._verified[name]} if name in self._verified else {}

    def trust(self, verified: dict[str, FileState]) -> None:
        """Take over which files another process has verified."""
        self._verified.update(verified)

    def size(self) -> CacheSize:
        """Return how many clips the folder holds, of every geometry and version, and their size."""
        sizes = []
        if self._folder is not None and self._folder.is_dir():
            for file in self._folder.glob(f"*{SUFFIX}"):
                with suppress(OSError):  # replaced or removed by another process meanwhile
                    sizes.append(file.stat().st_size)
        return CacheSize(len(sizes), sum(sizes))

    def digest(self, dive: Dive) -> str:
        """Return the digest of a dive's clip: by its files, the geometry and the version of the format.

        Raises:
            VideoError: The dive's files are not there.
        """
        paths = [None if path is None else str(path.resolve()) for path in (dive.video, dive.mask)]
        facts = [VERSION, self._geometry, self.frame_size, *paths, *file_states(dive)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def _read(self, stored: Path) -> StoredClip | None:
        """Map a stored clip into memory; None if it has to be decoded."""
        try:
            seen = _file_state(stored)
        except OSError:
            return None
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
        """Remove, once a process, temporary files of killed writers."""
        if self._has_swept:
            return
        self._has_swept = True
        now = time.time()
        for part in folder.glob(f".*{SUFFIX}.*part"):
            with suppress(OSError):
                if now - part.stat().st_mtime > _ABANDONED_S:
                    part.unlink()


def _file_state(file: Path) -> FileState:
    state = file.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def _arrays(dive: Dive, clip: StoredClip) -> ClipArrays:
    return ClipArrays(clip.frames, clip.mask, true_transitions(dive, clip.source_frames))


def file_states(dive: Dive) -> list[object]:
    """Return size and modification time of a dive's files, and of every picture of folders.

    Overwriting a picture does not change its folder, so each picture counts.
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
            states = [entry.stat() for entry in sorted(listing, key=lambda entry: entry.name)]
        return [(state.st_size, state.st_mtime_ns) for state in states]
    except OSError as error:
        raise VideoError(f"Cannot be read: {error.strerror}.", where=path) from error


def _state(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError as error:
        raise VideoError(f"Cannot be read: {error.strerror}.", where=path) from error
    return state.st_size, state.st_mtime_ns


def true_transitions(dive: Dive, source_frames: NDArray[np.int64]) -> tuple[int, int]:
    """Map clip frames to sampled frames: the first sampled frame at or after the stage's start."""
    starts = (dive.twist_start, dive.entry_start)
    flight, entry = (
        NO_TRANSITION if start is None else min(int(np.searchsorted(source_frames, start)), CLIP_FRAMES - 1)
        for start in starts
    )
    return flight, entry


# Reading ahead: processes make what is needed next while something else is computed.

Item = TypeVar("Item")

_CLIPS_A_PROCESS = 8
"""Clips to decode that are worth another process; one is started in about 30 ms."""

_VERIFIED_A_DECODED = 32
"""Stored clips that are verified in the time in which one is decoded."""


def load_ahead(
    make: Callable[[Any], Item], keys: Iterable[Any], *, workers: int = 0, pin_memory: bool = False
) -> Iterator[Item]:
    """Yield what is made of some keys, in their order, whatever the number of processes.

    Args:
        make: Makes an item of a key.
        keys: The keys; read a little ahead of what is yielded.
        workers: Processes that make items ahead of time; 0 makes each when it is asked for.
        pin_memory: Bring tensors, and what has a method ``pin_memory``, into memory that a GPU reads by itself.

    Raises:
        FinecausalError: What ``make`` raised.
    """
    import torch
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        cast("Any", _Made(make)),  # keys in place of a sampler's indices ask for no length
        batch_size=None,
        collate_fn=_unchanged,
        sampler=keys,
        num_workers=workers,
        pin_memory=pin_memory,
        # Batches come whole and in order: neither sampler nor workers may touch the generator of the run.
        generator=torch.Generator().manual_seed(0),
    )
    with _one_opencv_thread():
        items = iter(loader)
    try:
        for item in items:
            if isinstance(item, FinecausalError):
                raise item
            yield item
    finally:
        del items  # ends the processes now, not when whoever handles an error lets go of it


class _Made:
    """Items by key. An error is an item too: a loading process would garble it if it raised."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._make(key)
        except FinecausalError as error:
            return error


def _unchanged(item: Any) -> Any:
    return item


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Let OpenCV have one thread while processes are started.

    They are copies of this one without its threads: with more, they would wait for ever for threads that are not there.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def fill(clips: DiveInputs, dives: Sequence[Dive], *, cores: int | None = None) -> Iterator[bool]:
    """Read what a network is given of every dive once, so that a cache holds it; clips on all cores.

    Stopped, it goes on with the clips that are not stored yet.

    Args:
        clips: Where it comes from.
        dives: The dives.
        cores: Most processes; None takes as many as there are cores.

    Yields:
        Of each dive, in order, whether it has masks.

    Raises:
        VideoError: A dive cannot be read.
        OutputError: The cache cannot be written.
    """
    if not isinstance(clips, ClipCache):
        yield from (clips.load(dive).mask is not None for dive in dives)
        return
    from finecausal_cli.device import available_cores

    work = sum(1.0 if not clips.holds(dive) else 1 / _VERIFIED_A_DECODED for dive in dives)
    workers = min(cores or available_cores(), int(work / _CLIPS_A_PROCESS))
    for has_mask, verified in load_ahead(clips.store, dives, workers=workers if workers > 1 else 0):
        clips.trust(verified)
        yield has_mask
