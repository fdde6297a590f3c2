"""One pass that judges and keeps the frames gives the clip that judging first and decoding then gives, to the byte."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from finecausal_cli.errors import VideoError
from finecausal_cli.video import reader
from finecausal_cli.video.decoders import PyAVSource
from finecausal_cli.video.reader import read_clip

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.video import Clip

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("**/*.mp4"))
X264 = {"crf": "12", "preset": "veryfast"}
VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "10"}
INTERLACED = {**X264, "x264-params": "interlaced=1:tff=1"}

ONE_PASS: dict[str, dict[str, Any]] = {
    "plain": {"options": X264},
    "turned": {"options": X264, "rotation": 90},
    "open key frames": {"options": {**X264, "x264-params": "open-gop=1:keyint=15:bframes=5"}},
    "pixels that are not square": {"options": X264, "sample_aspect": Fraction(4, 3)},
    "uneven times": {"stamp": lambda k: 40 * k + 13 * (k % 3) + 2000 * (k > 60), "unit": Fraction(1, 1000)},
    "frames before the start": {"stamp": lambda k: k - 7, "options": {**X264, "g": "30"}},
    "full colour": {"pix_fmt": "yuv444p"},
    "full range": {"pix_fmt": "yuvj420p"},
    "10 bits": {"pix_fmt": "yuv420p10le"},
    "vp9": {"name": "a.webm", "codec": "libvpx-vp9", "options": VP9},
    "avi": {"name": "a.avi", "options": X264},
}


def read_twice(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Clip, Clip, list[object]]:
    """Read in one pass, then in two; return also how often the first way had to decode again."""
    again: list[object] = []
    decode = reader._decode_prepared
    with monkeypatch.context() as patch:
        patch.setattr(reader, "_decode_prepared", lambda *given: (again.append(given), decode(*given))[1])
        one = read_clip(path, **options)
    with monkeypatch.context() as patch:
        patch.setattr(reader, "_suits_one_pass", lambda *_: False)
        two = read_clip(path, **options)
    return one, two, again


def assert_same(one: Clip, two: Clip) -> None:
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.source_frames, two.source_frames)
    assert (one.fps, one.notes, one.source) == (two.fps, two.notes, two.source)


@pytest.mark.parametrize("kind", ONE_PASS)
def test_both_ways_give_the_same_bytes(
    kind: str, coloured: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, again = read_twice(coloured(**ONE_PASS[kind]), monkeypatch)
    assert not again
    assert_same(one, two)


def test_both_ways_give_the_same_bytes_of_a_part(
    coloured: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"start_s": 0.3, "end_s": 1.1, "shift": 2, "geometry": "squeeze", "frame_size": 40}
    one, two, again = read_twice(coloured(), monkeypatch, **options)
    assert not again
    assert_same(one, two)


def test_both_ways_give_the_same_bytes_of_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("decord")
    one, two, again = read_twice(EXAMPLES[0], monkeypatch)
    assert not again
    assert (one.decoder, two.decoder) == ("pyav", "decord")
    assert_same(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_both_ways_give_the_same_bytes_of_every_example(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, _ = read_twice(path, monkeypatch)
    assert_same(one, two)


@pytest.mark.parametrize(
    "how",
    [
        {"options": INTERLACED, "size": (64, 96)},
        {"name": "a.webm", "codec": "libvpx-vp9", "options": VP9, "size": (65, 97)},
        {"options": {**X264, "x264-params": "colormatrix=YCgCo"}},  # of which PyAV converts nothing
    ],
    ids=["interlaced", "odd sides", "colours unknown to PyAV"],
)
def test_what_decoders_disagree_about_is_left_to_decord(
    how: dict[str, Any], coloured: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("decord")
    one, two, again = read_twice(coloured(**how), monkeypatch)
    assert len(again) == 1
    assert one.decoder == two.decoder == "decord"
    assert_same(one, two)


def test_a_damaged_frame_is_replaced_as_before(
    numbered: Callable[..., Path], break_packet: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = numbered(100, options={"crf": "12", "preset": "ultrafast", "g": "10", "sc_threshold": "0"})
    break_packet(path, 41)
    one, two, again = read_twice(path, monkeypatch)
    assert len(again) == 1
    assert_same(one, two)


def test_colours_that_cannot_be_converted_are_named(coloured: Callable[..., Path]) -> None:
    path = coloured(options={**X264, "x264-params": "colormatrix=YCgCo"})
    with pytest.raises(VideoError, match=r"colours of the video .* cannot be converted"):
        read_clip(path, decoder="pyav")


def test_frames_are_kept_only_if_all_are_met(coloured: Callable[..., Path]) -> None:
    source = PyAVSource(coloured())
    sound, kept = source.decodable_and_collected(0, 29, np.array([0, 7, 29]), lambda _, frame: frame)
    assert sound.all()
    assert kept is not None
    assert all(map(np.array_equal, kept, source.frames(np.array([0, 7, 29]))))
    assert source.decodable_and_collected(0, 29, np.array([0, 7, 30]), lambda _, frame: frame)[1] is None
