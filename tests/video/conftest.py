"""Tiny videos whose frames show their own number, so that a test can read which frame it was given."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

BITS = 8
HEIGHT, WIDTH = 64, 96


def paint(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Draw a number as eight bars, least bit left, on grey; the top rows are red and the bottom rows blue."""
    picture = np.full((height, width, 3), 50, dtype=np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            picture[:, bit * width // BITS : (bit + 1) * width // BITS] = 210
    picture[: height // 8] = (200, 40, 40)
    picture[-(height // 8) :] = (40, 40, 200)
    return picture


def number_of(picture: np.ndarray) -> int:
    """Read the number off an upright picture of any size."""
    height, width = picture.shape[:2]
    middle = picture[height // 2 - 1 : height // 2 + 1].mean(axis=(0, 2))
    return sum(int(middle[(2 * bit + 1) * width // (2 * BITS)] > 130) << bit for bit in range(BITS))


def encode(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    fps: int = 25,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    rotation: int = 0,
    sample_aspect: Fraction | None = None,
    stamp: Callable[[int], int] | None = None,
    unit: Fraction = Fraction(1, 25),
) -> Path:
    """Write pictures with any codec, container, rotation, pixel shape and time stamps."""
    if options is None:
        options = {"crf": "12", "preset": "ultrafast"} if codec == "libx264" else {}
    with av.open(str(path), "w", options=container or {}) as output:
        stream: Any = output.add_stream(codec, rate=fps, options=options)
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.codec_context.thread_count = 1
                if rotation:
                    stream.set_display_rotation(rotation)
                if stamp:
                    stream.codec_context.time_base = unit
                if sample_aspect:
                    stream.codec_context.sample_aspect_ratio = sample_aspect
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if stamp:
                frame.pts, frame.time_base = stamp(number), unit
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.fixture
def read_number() -> Callable[[np.ndarray], int]:
    """Read the number off an upright picture of any size."""
    return number_of


@pytest.fixture
def numbered(tmp_path: Path) -> Callable[..., Path]:
    """Write a video of ``frames`` pictures that show 0, 1, 2, ...; see ``encode`` for the rest."""

    def write(frames: int = 120, name: str = "dive.mp4", **how: Any) -> Path:
        return encode(tmp_path / name, (paint(number) for number in range(frames)), **how)

    return write


@pytest.fixture
def coloured(tmp_path: Path) -> Callable[..., Path]:
    """Write a video of 30 pictures of coloured squares of three pixels, which every way to scale colours changes."""

    def write(name: str = "a.mp4", size: tuple[int, int] = (62, 98), **how: Any) -> Path:
        height, width = size
        squares = np.random.default_rng(0).integers(0, 256, (height // 3 + 1, width // 3 + 1, 3), dtype=np.uint8)
        picture = np.kron(squares, np.ones((3, 3, 1), np.uint8))[:height, :width]
        return encode(tmp_path / name, (np.roll(picture, number, axis=1) for number in range(30)), **how)

    return write


@pytest.fixture
def break_packet() -> Callable[[Path, int], None]:
    """Overwrite one packet but for its length and type, leaving the container as it is."""

    def overwrite(path: Path, which: int) -> None:
        with av.open(str(path)) as container:
            packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
        position, length = packets[which]
        content = bytearray(path.read_bytes())
        content[position + 5 : position + length] = b"\xa5" * (length - 5)
        path.write_bytes(content)

    return overwrite


@pytest.fixture
def numbered_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of PNG pictures, each showing its index in ``numbers`` and named by its number."""
    from PIL import Image

    def write(numbers: Iterable[int] = range(120), name: str = "frames") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        first = None
        for number in numbers:
            first = number if first is None else first
            Image.fromarray(paint(number - first)).save(folder / f"{number:05d}.png", compress_level=1)
        return folder

    return write
