from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from finecausal_cli.errors import OutputError
from finecausal_cli.video.writer import write_mask_video, write_video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def gradient(frames: int, height: int, width: int) -> Iterator[np.ndarray]:
    rows, columns = np.mgrid[:height, :width]
    for frame in range(frames):
        yield np.stack([columns + 3 * frame, 2 * rows, rows + columns], axis=-1).astype(np.uint8)


def decode(path: Path, pixels: str) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=pixels) for frame in container.decode(video=0)]


def test_colours_and_order_survive(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 30), (128, 128, 128), (0, 0, 0)]
    write_video(tmp_path / "a.mp4", (np.full((48, 64, 3), colour, np.uint8) for colour in colours), 25)
    decoded = decode(tmp_path / "a.mp4", "rgb24")
    assert [frame[20, 30].tolist() for frame in decoded] == [pytest.approx(colour, abs=3) for colour in colours]


def test_the_file_is_h264_yuv420p_at_its_rate_and_starts_to_play_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, gradient(30, 48, 64), 30000 / 1001)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate or 0) == pytest.approx(30000 / 1001, rel=1e-6)
        assert stream.frames == 30


@pytest.mark.parametrize(("height", "width"), [(49, 65), (1, 1), (2, 3)])
def test_odd_sides_get_their_last_row_or_column_doubled(tmp_path: Path, height: int, width: int) -> None:
    write_video(tmp_path / "a.mp4", gradient(3, height, width), 25, crf=0)
    luma = decode(tmp_path / "a.mp4", "gray")[0].astype(int)
    assert luma.shape == (height + height % 2, width + width % 2)
    if height % 2:
        assert np.abs(luma[-1] - luma[-2]).max() <= 1
    if width % 2:
        assert np.abs(luma[:, -1] - luma[:, -2]).max() <= 1


def test_equal_frames_give_equal_bytes_whatever_memory_holds(tmp_path: Path) -> None:
    # glibc fills fresh memory with this pattern, which brings out an encoder that reads what it never set.
    program = (
        "import sys, numpy as np; from finecausal_cli.video.writer import write_video\n"
        "y, x = np.mgrid[:101, :151]\n"
        "f = (np.stack([2 * x + 3 * i, 2 * y, x + y], -1).astype(np.uint8) for i in range(30))\n"
        "write_video(sys.argv[1], f, 29.97)"
    )
    contents = set()
    for pattern in ("0", "85", "170"):
        path = tmp_path / f"{pattern}.mp4"
        env = {**os.environ, "MALLOC_PERTURB_": pattern, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", program, str(path)], env=env, check=True)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_frames_made_ahead_by_a_second_thread_give_the_same_bytes(tmp_path: Path) -> None:
    for ahead in (0, 1, 3, 40):
        write_video(tmp_path / f"{ahead}.mp4", gradient(20, 48, 64), 25, ahead=ahead)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_masks_come_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (5, 37, 51), dtype=np.uint8)
    write_mask_video(tmp_path / "m.mkv", masks, 25)
    assert np.array_equal(np.stack(decode(tmp_path / "m.mkv", "gray")), masks * 255)


def test_any_grey_and_true_mean_the_athlete(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[2, 2], mask[3, 3] = 1, 255
    write_mask_video(tmp_path / "m.mkv", [mask, mask > 0], 25)  # type: ignore[list-item]
    first, second = decode(tmp_path / "m.mkv", "gray")
    assert np.array_equal(first, second)
    assert set(np.unique(first)) == {0, 255}


def test_no_frames_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], 25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frames",
    [
        [np.zeros((8, 8), np.uint8)],
        [np.zeros((8, 8, 3), np.float32)],
        [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)],
    ],
)
def test_wrong_frames_are_refused_and_leave_nothing(tmp_path: Path, frames: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="must"):
        write_video(tmp_path / "a.mp4", frames, 25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_interrupted_writing_keeps_the_old_file(tmp_path: Path, ahead: int) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def broken() -> Iterator[np.ndarray]:
        yield from gradient(5, 48, 64)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, broken(), 25, ahead=ahead)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource limits")
@pytest.mark.parametrize("room", [0, 500, 5_000, 40_000])
def test_a_full_disk_is_one_clear_line(tmp_path: Path, room: int) -> None:
    # A limit on the size of a file fails every write beyond it, as a full disk does, at the same places.
    program = (
        "import resource, sys, numpy as np; from finecausal_cli.errors import OutputError\n"
        "from finecausal_cli.video.writer import write_video\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "rng = np.random.default_rng(0)\n"
        "try: write_video(sys.argv[1], (rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(20)), 25)\n"
        "except OutputError as error: print(error)"
    )
    path = tmp_path / "a.mp4"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program, str(path)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith(f"{path}: The video cannot be written: File too large")
    assert list(tmp_path.iterdir()) == []
