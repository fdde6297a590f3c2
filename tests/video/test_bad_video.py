"""Whatever a user hands in: scored, or refused with one line that names the file and the cause. Never noise."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from PIL import Image

from finecausal_cli.errors import VideoError
from finecausal_cli.video.reader import probe, read_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("silence")


@pytest.fixture
def silence(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fail a test during which a library writes to the terminal."""
    yield
    assert capfd.readouterr() == ("", "")


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(VideoError) as caught:
        read_clip(path, **options)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    assert caught.value.__class__ is VideoError
    return line


def sound_only(path: Path, *, codec: str = "aac", cover: bool = False) -> Path:
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=44_100)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), format="fltp", layout="mono")
        frame.rate = 44_100
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def test_missing(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "dive.mp4")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "dive.mp4").touch()
    assert "is empty" in refusal(tmp_path / "dive.mp4")


@pytest.mark.parametrize("content", [b"To be or not to be.\n" * 50, b"\0" * 5000, bytes(range(256)) * 40])
def test_not_a_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dive.mp4").write_bytes(content)
    assert "not a video" in refusal(tmp_path / "dive.mp4")


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {other}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_a_playlist_opens_nothing_else(tmp_path: Path, content: str, numbered: Callable[..., Path]) -> None:
    other = numbered(20, name="other.ts")
    path = tmp_path / "list.m3u8"
    path.write_text(content.format(other=other.name))
    assert "not a video" in refusal(path)


def test_sound_only(tmp_path: Path) -> None:
    assert "holds sound but no pictures" in refusal(sound_only(tmp_path / "dive.mp4"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dive.mp4")
    assert "pipe or a device" in refusal(tmp_path / "dive.mp4")
    (tmp_path / "frames").mkdir()
    os.mkfifo(tmp_path / "frames" / "1.jpg")
    assert "no frames" in refusal(tmp_path / "frames")


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev")
def test_a_device_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "dive.mp4").symlink_to("/dev/zero")
    assert "pipe or a device" in refusal(tmp_path / "dive.mp4")


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(tmp_path / "b.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    assert "cannot be opened" in refusal(tmp_path / "a.mp4")


def test_a_name_with_a_null(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot be opened"):
        read_clip(f"{tmp_path}/a\0b.mp4")


def test_no_permission(numbered: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = numbered(20)
    # Whoever runs the tests as root may read everything, so the answer of the system is made up here.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "no permission" in refusal(path)


def test_an_empty_folder_and_one_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    assert "no frames" in refusal(tmp_path / "frames")
    (tmp_path / "frames" / "notes.txt").write_text("x")
    (tmp_path / "frames" / ".hidden.jpg").write_text("x")
    assert "no frames" in refusal(tmp_path / "frames")


def test_a_broken_image_is_named(numbered_folder: Callable[..., Path]) -> None:
    folder = numbered_folder(range(96))
    image = folder / "00030.png"
    image.write_bytes(image.read_bytes()[:60])
    assert "00030.png: The image is broken" in refusal(folder)


@pytest.mark.parametrize("frames", [1, 2, 5, 15])
@pytest.mark.parametrize("decoder", ["auto", "decord", "pyav"])
def test_too_few_frames(frames: int, decoder: str, numbered: Callable[..., Path]) -> None:
    line = refusal(numbered(frames), decoder=decoder)
    assert f"The clip has {frames} frame" in line
    assert "at least 16" in line


def test_a_single_picture(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "dive.png")
    assert "The clip has 1 frame" in refusal(tmp_path / "dive.png")


def test_an_mp4_without_its_index(numbered: Callable[..., Path]) -> None:
    path = numbered(100)
    for share in (0.9, 0.5):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        assert "cut short or was never finished" in refusal(path)


WHOLE_INDEX = {"container": {"movflags": "faststart"}, "options": {"crf": "12", "preset": "veryfast"}}


@pytest.mark.parametrize("decoder", ["auto", "decord", "pyav"])
def test_half_a_file(decoder: str, numbered: Callable[..., Path]) -> None:
    path = numbered(200, **WHOLE_INDEX)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    line = refusal(path, decoder=decoder)
    assert "cut short: only" in line
    assert "copy or download it again" in line


def test_half_a_matroska_file(numbered: Callable[..., Path]) -> None:
    path = numbered(200, name="dive.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cut short: only" in refusal(path)


def test_a_file_without_its_last_tenth_is_read_with_a_note(
    numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    path = numbered(200, **WHOLE_INDEX)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.92)])
    clip = read_clip(path)
    numbers = [read_number(frame) for frame in clip.frames]
    assert numbers == clip.source_frames.tolist()
    assert 160 < numbers[-1] < 199
    assert clip.decoder == "pyav"
    assert any("may be cut short" in note for note in clip.notes)
    assert any("lost or damaged" in note for note in clip.notes)


def test_decord_never_hands_out_made_up_frames(numbered: Callable[..., Path]) -> None:
    path = numbered(200, **WHOLE_INDEX)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.92)])
    refusal(path, decoder="decord")


def test_a_damaged_frame_spoils_no_more_than_its_group(
    numbered: Callable[..., Path], read_number: Callable[..., int], break_packet: Callable[[Path, int], None]
) -> None:
    path = numbered(100, options={"crf": "12", "preset": "ultrafast", "g": "10", "sc_threshold": "0"})
    break_packet(path, 41)
    clip = read_clip(path)
    numbers = [read_number(frame) for frame in clip.frames]
    assert numbers == clip.source_frames.tolist()
    # The four before it go too: had the encoder used B-frames, they could have been predicted from it.
    assert set(range(100)) - set(numbers) >= set(range(37, 50))
    assert {36, 50} <= set(numbers)
    assert any("lost or damaged" in note for note in clip.notes)


def test_a_video_damaged_from_its_middle_on_is_refused(
    numbered: Callable[..., Path], break_packet: Callable[[Path, int], None]
) -> None:
    path = numbered(100, options={"crf": "12", "preset": "ultrafast", "g": "250"})
    break_packet(path, 41)
    assert "damaged: only" in refusal(path)


@pytest.mark.parametrize("seed", range(12))
def test_noise_in_a_file_never_crashes(seed: int, numbered: Callable[..., Path]) -> None:
    path = numbered(60, **WHOLE_INDEX)
    rng = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for position in rng.integers(0, len(content), 20):
        content[position] ^= 1 << rng.integers(8)
    path.write_bytes(content)
    try:
        outcome = str(read_clip(path).frames.shape)
    except VideoError as error:
        outcome = str(error)
    assert outcome == "(96, 128, 192, 3)" or (outcome.startswith(str(path)) and "\n" not in outcome)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
        ("a.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8", "crf": "10"}}),
        (
            "a.mp4",
            {
                "codec": "libx265",
                "pix_fmt": "yuv420p10le",
                "options": {"crf": "12", "preset": "ultrafast", "x265-params": "log-level=none"},
            },
        ),
        ("a.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
    ],
)
def test_what_phones_and_tools_make_is_read(
    name: str, how: dict[str, Any], numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    clip = read_clip(numbered(100, name=name, **how))
    assert [read_number(frame) for frame in clip.frames] == clip.source_frames.tolist()
    assert clip.notes == ()


def test_av1_is_read(read_number: Callable[..., int]) -> None:
    path = Path(__file__).with_name("av1.mp4")  # 100 numbered frames; encoders of AV1 are not in every build
    clip = read_clip(path)
    assert clip.decoder == "pyav"
    assert probe(path).codec == "av1"
    assert [read_number(frame) for frame in clip.frames] == clip.source_frames.tolist()
