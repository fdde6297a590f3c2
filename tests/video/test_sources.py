"""One contract that every decoder must keep, on a clip whose frame k shows the number k."""

from __future__ import annotations

import gc
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from finecausal_cli.errors import VideoError
from finecausal_cli.video.decoders import DecordSource, PyAVSource
from finecausal_cli.video.source import FolderSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finecausal_cli.video.source import VideoSource

FRAMES = 120
SPARSE = [0, 1, 5, 6, 30, 31, 59, 60, 61, 90, 117, 118, 119]


def open_decord(path: Path) -> VideoSource:
    return DecordSource(PyAVSource(path).info)


@pytest.fixture(params=["decord", "pyav", "frames"])
def source(request: pytest.FixtureRequest, numbered: Any, numbered_folder: Any) -> VideoSource:
    if request.param == "frames":
        return FolderSource(numbered_folder(range(FRAMES)))
    if request.param == "decord":
        pytest.importorskip("decord")
        return open_decord(numbered(FRAMES))
    return PyAVSource(numbered(FRAMES))


class TestEverySource:
    def test_knows_its_name_and_what_it_reads(self, source: VideoSource) -> None:
        info = source.info
        assert source.name in {"decord", "pyav", "frames"}
        assert (info.frames, info.fps, info.width, info.height) == (FRAMES, 25.0, 96, 64)
        assert (info.rotation, info.sample_aspect, info.bits) == (0, 1.0, 8)
        assert info.duration_s == pytest.approx(FRAMES / 25)

    def test_gives_exactly_the_frames_asked_for(self, source: VideoSource, read_number: Callable[..., int]) -> None:
        numbers = [read_number(frame) for frame in source.frames(np.array(SPARSE))]
        assert numbers == SPARSE

    def test_gives_all_frames_in_order(self, source: VideoSource, read_number: Callable[..., int]) -> None:
        numbers = [read_number(frame) for frame in source.frames(np.arange(FRAMES))]
        assert numbers == list(range(FRAMES))

    def test_gives_upright_rgb_pictures(self, source: VideoSource) -> None:
        (frame,) = source.frames(np.array([7]))
        assert frame.dtype == np.uint8
        assert frame.shape == (64, 96, 3)
        assert frame[2, 50].tolist() == pytest.approx([200, 40, 40], abs=6)
        assert frame[-3, 50].tolist() == pytest.approx([40, 40, 200], abs=6)

    def test_can_be_read_again_and_left_half_way(self, source: VideoSource, read_number: Callable[..., int]) -> None:
        begun = source.frames(np.arange(FRAMES))
        assert read_number(next(begun)) == 0
        assert [read_number(frame) for frame in source.frames(np.array([3, 70]))] == [3, 70]
        assert read_number(next(begun)) == 1

    def test_refuses_a_frame_that_is_not_there(self, source: VideoSource) -> None:
        with pytest.raises(VideoError) as caught:
            list(source.frames(np.array([FRAMES - 1, FRAMES])))
        assert caught.value.where == source.info.path


X264 = {"crf": "12", "preset": "veryfast"}
KINDS: dict[str, dict[str, Any]] = {
    "many key frames": {"options": {**X264, "g": "10"}},
    # Across an open key frame, and in these three containers, decord's own seeking gives other frames, silently.
    "open key frames": {"options": {**X264, "x264-params": "open-gop=1:keyint=15:bframes=5"}},
    "avi": {"name": "a.avi", "options": X264},
    "wmv": {"name": "a.wmv", "codec": "wmv2", "options": {"q": "3"}},
    "mpeg": {"name": "a.mpg", "codec": "mpeg2video", "options": {"q": "3"}},
    "matroska": {"name": "a.mkv", "options": X264},
    "fragments": {"container": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc": {"codec": "libx265", "options": {"crf": "12", "preset": "ultrafast", "x265-params": "log-level=none"}},
    "vp8": {"name": "a.webm", "codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8", "b": "2M"}},
    "vp9": {"name": "a.webm", "codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8", "crf": "10"}},
    "motion jpeg": {"name": "a.avi", "codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "uneven times": {"stamp": lambda k: 40 * k + 13 * (k % 3) + 2000 * (k > 60), "unit": Fraction(1, 1000)},
    "full colour": {"pix_fmt": "yuv444p"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_both_decoders_give_the_same_pixels(
    kind: str, numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    pytest.importorskip("decord")
    path = numbered(FRAMES, **KINDS[kind])
    indices = np.array(SPARSE)
    by_pyav = list(PyAVSource(path).frames(indices))
    by_decord = list(open_decord(path).frames(indices))
    assert [read_number(frame) for frame in by_pyav] == SPARSE
    assert all(np.array_equal(one, other) for one, other in zip(by_pyav, by_decord, strict=True))


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_both_decoders_turn_the_picture_upright(rotation: int, numbered: Callable[..., Path]) -> None:
    pytest.importorskip("decord")
    path = numbered(20, rotation=rotation)
    plain = next(PyAVSource(numbered(20, name="plain.mp4")).frames(np.array([5])))
    source = PyAVSource(path)
    (by_pyav,) = source.frames(np.array([5]))
    (by_decord,) = open_decord(path).frames(np.array([5]))
    assert source.info.rotation == rotation % 360
    assert by_pyav.shape[:2] == source.info.upright_size
    assert np.array_equal(by_pyav, np.rot90(plain, rotation // 90))
    assert np.array_equal(by_pyav, by_decord)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
        ("a.mp4", {"codec": "libx264", "pix_fmt": "yuv420p10le"}),
        ("a.ts", {}),
        ("a.h264", {}),
        ("a.flv", {}),
    ],
)
def test_pyav_reads_what_decord_does_not(
    name: str, how: dict[str, Any], numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    source = PyAVSource(numbered(FRAMES, name=name, **how))
    assert source.decodable(0, FRAMES - 1).all()
    assert [read_number(frame) for frame in source.frames(np.array(SPARSE))] == SPARSE


def test_frames_before_the_start_of_an_edited_file_are_left_out(
    numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    # Cut without re-encoding: the seven frames before time 0 are stored, to decode the others, but not shown.
    source = PyAVSource(numbered(FRAMES, stamp=lambda number: number - 7, options={**X264, "g": "30"}))
    assert source.info.frames == FRAMES - 7
    assert [read_number(frame) for frame in source.frames(np.array([0, 1, 50, 112]))] == [7, 8, 57, 119]


@pytest.mark.parametrize("options", [{**X264, "g": "10"}, KINDS["open key frames"]["options"]])
@pytest.mark.parametrize("first", [1, 14, 15, 16, 44, 100, 119])
def test_pyav_seeks_to_the_very_frame(
    first: int, options: dict[str, str], numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    source = PyAVSource(numbered(FRAMES, options=options))
    assert source.decodable(first, FRAMES - 1).all()
    (frame,) = source.frames(np.array([first]))
    assert read_number(frame) == first


def test_decord_refuses_to_make_frames_up(numbered: Callable[..., Path]) -> None:
    pytest.importorskip("decord")
    path = numbered(FRAMES, options=X264, container={"movflags": "faststart"})
    info = PyAVSource(path).info
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.9)])
    with pytest.raises(VideoError, match="decord c"):
        list(DecordSource(info).frames(np.arange(FRAMES)))


def test_decord_leaves_its_bridge_alone_and_minds_no_other(
    numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    decord = pytest.importorskip("decord")
    source = open_decord(numbered(20))
    (plain,) = source.frames(np.array([9]))
    assert type(decord.VideoReader(source.info.path)[0]).__module__ == "decord.ndarray"
    decord.bridge.set_bridge("torch")
    try:
        (bridged,) = source.frames(np.array([9]))
    finally:
        decord.bridge.set_bridge("native")
    assert isinstance(bridged, np.ndarray)
    assert np.array_equal(plain, bridged)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts files in /proc")
def test_no_file_stays_open(source: VideoSource) -> None:
    from pathlib import Path

    for _ in range(3):
        next(source.frames(np.arange(5)))
    gc.collect()
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(link.resolve()) == source.info.path]
