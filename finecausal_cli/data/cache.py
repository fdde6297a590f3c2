"""Keep decoded, scaled clips on disk, so that an epoch does not decode again.

One file a clip, a NumPy array mapped into memory. The name is a digest of the video's path, size and time of
change and of the picture geometry, so a changed video or another geometry is simply another file. A file appears whole
or not at all (temporary name, then rename), so parallel writers and interruptions do no harm.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from tokenize import TokenError
from typing import TYPE_CHECKING, Literal

import numpy as np

from finecausal_cli.errors import VideoError
from finecausal_cli.video.clip import CLIP_FRAMES
from finecausal_cli.video.reader import read_clip, read_masks
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.data.dive import Dive

_VERSION = 1

NO_TRANSITION = -1
"""Stands for an unknown transition."""


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


class ClipCache:
    """Clips of one picture geometry on disk.

    Args:
        folder: Where the files go; created on first use.
        geometry: Picture geometry of the network.
        frame_size: Side of the square that the network sees, pixels.
    """

    def __init__(self, folder: Path, *, geometry: Literal["fit", "squeeze"], frame_size: int) -> None:
        self._folder = folder
        self._geometry: Literal["fit", "squeeze"] = geometry
        self._frame_size = frame_size

    def load(self, dive: Dive) -> ClipArrays:
        """Return a dive's clip, decoding it the first time.

        Raises:
            VideoError: The video or its masks cannot be read.
            OutputError: The cache cannot be written.
        """
        stored = self._folder / f"{self._digest(dive)}.npy"
        packed = self._read(stored)
        if packed is None:
            packed = self._decode(dive)
            with whole_file(stored, "the clip cache") as part, part.open("wb") as stream:
                np.save(stream, packed, allow_pickle=False)
        frames = packed[:CLIP_FRAMES, ..., :3]
        source_frames = _source_frames_of(packed)
        mask = None if dive.mask is None else packed[:CLIP_FRAMES, ..., 3]
        return ClipArrays(frames, mask, _transitions(dive, source_frames))

    def _digest(self, dive: Dive) -> str:
        facts: list[object] = [_VERSION, self._geometry, self._frame_size]
        for path in (dive.video, dive.mask):
            if path is not None:
                facts += [str(path.resolve()), *_states(path)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def _read(self, stored: Path) -> NDArray[np.uint8] | None:
        """Map a stored clip into memory; None if it is missing or not what this version writes."""
        try:
            packed: NDArray[np.uint8] = np.lib.format.open_memmap(stored, mode="r")
        except (OSError, ValueError, TokenError):
            return None
        shape = packed.shape
        ours = len(shape) == 4 and shape[0] == CLIP_FRAMES + 1 and shape[3] == 4 and min(shape[1:3]) >= self._frame_size
        return packed if ours and packed.dtype == np.uint8 else None

    def _decode(self, dive: Dive) -> NDArray[np.uint8]:
        """Pack frames, mask and source frames into one array [97, height, width, 4].

        The first 96 planes hold RGB and the mask; the last one starts with the 96 source frames as int64.
        """
        clip = read_clip(dive.video, geometry=self._geometry, frame_size=self._frame_size)
        window = slice(None)
        if self._geometry == "fit":
            height, width = clip.frames.shape[1:3]
            # Chosen so that the centre crop of what is kept is the centre crop of the whole picture.
            start = max(0, (width - self._frame_size) // 2 - (height - self._frame_size) // 2)
            window = slice(start, start + min(height, width))
        frames = clip.frames[:, :, window]
        packed = np.zeros((CLIP_FRAMES + 1, *frames.shape[1:3], 4), np.uint8)
        packed[:CLIP_FRAMES, ..., :3] = frames
        if dive.mask is not None:
            size = clip.frames.shape[1:3]  # masks may be stored smaller than the video
            mask = read_masks(dive.mask, clip.source_frames, size=size)
            packed[:CLIP_FRAMES, ..., 3] = mask[:, :, window]
        source = np.frombuffer(clip.source_frames.astype("<i8").tobytes(), np.uint8)
        packed[CLIP_FRAMES].reshape(-1)[: source.size] = source
        return packed


def _states(path: Path) -> list[tuple[int, int]]:
    """Return size and time of change of a file, or of every picture of a folder.

    A picture that is written over does not change its folder, so each one is asked.
    """
    try:
        found = [one.stat() for one in (sorted(path.iterdir()) if path.is_dir() else (path,))]
    except OSError as error:
        raise VideoError(f"Cannot be read: {error.strerror}.", where=path) from error
    return [(state.st_size, state.st_mtime_ns) for state in found]


def _source_frames_of(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    raw = np.ascontiguousarray(packed[CLIP_FRAMES]).reshape(-1)[: CLIP_FRAMES * 8]
    return raw.view("<i8").astype(np.int64)


def _transitions(dive: Dive, source_frames: NDArray[np.int64]) -> tuple[int, int]:
    """Map clip frames to sampled frames: the first sampled frame at or after the stage's start."""
    starts = (dive.twist_start, dive.entry_start)
    flight, entry = (
        NO_TRANSITION if start is None else min(int(np.searchsorted(source_frames, start)), CLIP_FRAMES - 1)
        for start in starts
    )
    return flight, entry
