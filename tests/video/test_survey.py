from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from finecausal_cli.errors import VideoError
from finecausal_cli.video.reader import probe
from finecausal_cli.video.source import probe_container

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("fps", "unit", "name"),
    [(Fraction(30000, 1001), None, "a.mp4"), (Fraction(30000, 1001), None, "a.mkv"), (Fraction(50), None, "a.mp4")],
)
def test_the_rate_is_the_headers_exact_one(fps: Fraction, unit: Any, name: str, numbered: Callable[..., Path]) -> None:
    # Matroska rounds times to milliseconds, so counting frames would give 29.98 instead of 29.97.
    info = probe(numbered(60, fps=fps, name=name))
    assert info.fps == float(fps)
    assert info.duration_s == pytest.approx(60 / float(fps), abs=2e-3)
    assert info.notes == ()


def test_times_and_stamps_are_those_of_the_packets(numbered: Callable[..., Path]) -> None:
    found = probe_container(numbered(20, stamp=lambda number: 10 * number * number, unit=Fraction(1, 1000)))
    assert found.stamps is not None
    assert found.times_s.tolist() == pytest.approx([number * number / 100 for number in range(20)], abs=1e-3)
    assert "frame rate varies" in found.info.notes[0]
    assert found.info.fps == pytest.approx(19 / 3.61, rel=1e-3)


def test_formats_without_reliable_stamps_are_counted(numbered: Callable[..., Path]) -> None:
    found = probe_container(numbered(50, name="a.avi"))
    assert found.stamps is None
    assert found.times_s.tolist() == pytest.approx([number / 25 for number in range(50)])


def test_a_file_is_probed_once_until_it_changes(numbered: Callable[..., Path]) -> None:
    path = numbered(20)
    first = probe_container(path)
    assert probe_container(path) is first
    path.write_bytes(numbered(30, name="longer.mp4").read_bytes())
    assert probe_container(path).info.frames == 30


@pytest.mark.parametrize(
    ("rotation", "size", "aspect"), [(0, (64, 96), 4 / 3), (90, (96, 64), 3 / 4), (180, (64, 96), 4 / 3)]
)
def test_the_upright_picture_and_its_pixels(
    rotation: int, size: tuple[int, int], aspect: float, numbered: Callable[..., Path]
) -> None:
    info = probe(numbered(20, rotation=rotation, sample_aspect=Fraction(4, 3)))
    assert info.upright_size == size
    assert info.upright_sample_aspect == pytest.approx(aspect)


def test_a_pixel_shape_no_camera_makes_is_taken_for_a_broken_header(numbered: Callable[..., Path]) -> None:
    assert probe(numbered(20, sample_aspect=Fraction(100, 1))).sample_aspect == 1.0


def two_streams(path: Path) -> Path:
    """Write a video of two streams, the second one the larger."""
    with av.open(str(path), "w") as output:
        streams: list[Any] = [output.add_stream("libx264", rate=25, options={"preset": "ultrafast"}) for _ in range(2)]
        for stream, size in zip(streams, (32, 64), strict=True):
            stream.height = stream.width = size
            stream.pix_fmt = "yuv420p"
            stream.disposition = 0
        for _ in range(20):
            for stream in streams:
                picture = np.full((stream.height, stream.width, 3), stream.width, np.uint8)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in streams:
            output.mux(stream.encode(None))
    return path


def test_of_several_streams_one_is_read_and_named(tmp_path: Path) -> None:
    info = probe(two_streams(tmp_path / "two.mkv"))
    assert any("2 video streams" in note and f"({info.width}x{info.height})" in note for note in info.notes)


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    from PIL import Image

    cover = tmp_path / "cover.png"
    Image.new("RGB", (32, 32), "red").save(cover)
    path = tmp_path / "song.mp4"
    with av.open(str(cover)) as image, av.open(str(path), "w") as output:
        source = image.streams.video[0]
        picture: Any = output.add_stream_from_template(source)
        picture.disposition = av.stream.Disposition.attached_pic
        sound: Any = output.add_stream("aac", rate=44_100)
        sound.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), format="fltp", layout="mono")
        frame.rate = 44_100
        for packet in image.demux(source):
            if packet.size:
                packet.stream = picture
                output.mux(packet)
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    with pytest.raises(VideoError, match="sound but no pictures"):
        probe_container(path)


def test_pictures_that_end_before_the_sound_are_noted_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "long_sound.mkv"
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.height = video.width = 32
        video.pix_fmt = "yuv420p"
        sound: Any = output.add_stream("aac", rate=44_100)
        sound.layout = "mono"
        for _ in range(50):
            output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        output.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 6 * 44_100), np.float32), format="fltp", layout="mono")
        frame.rate = 44_100
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    assert any("the pictures end at 2.00 s" in note for note in probe(path).notes)


def test_an_error_in_the_demuxer_is_told_in_one_line(
    numbered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = numbered(20)

    class Container:
        """A container of which PyAV meets a stream it did not know."""

        def demux(self, stream: object) -> Any:
            raise IndexError
            yield

    from finecausal_cli.video.source import packets

    with pytest.raises(VideoError, match="begins in the middle"):
        list(packets(Container(), None, path))  # type: ignore[arg-type]
