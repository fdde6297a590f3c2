"""One decoded clip in one file: a header, then frames, masks and source frames as they lie in memory.

    offset 0    magic, version of the format
           12   height, width, whether masks follow
           24   CRC-32 of these three and of everything after the header
           64   frames uint8 [96, height, width, 3]; masks uint8 [96, height, width] if any; source frames int64 [96]

The file is mapped into memory, so that clips shared by several processes are in memory once.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.video.clip import CLIP_FRAMES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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
