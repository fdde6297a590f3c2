from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.video.reader import open_footage
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_every_frame_comes_in_order(numbered: Callable[..., Path], read_number: Callable[..., int]) -> None:
    footage = open_footage(numbered(40))
    assert len(footage) == 40
    assert [read_number(frame) for frame in footage.frames()] == list(range(40))
    assert footage.is_even
    assert footage.times_s[[0, 1, -1]].tolist() == pytest.approx([0, 0.04, 1.6])


def test_it_can_be_played_twice(numbered: Callable[..., Path], read_number: Callable[..., int]) -> None:
    footage = open_footage(numbered(20))
    assert [[read_number(frame) for frame in footage.frames()] for _ in range(2)] == [list(range(20))] * 2


def test_a_range_is_cut_out_and_its_times_count_from_nought(
    numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    footage = open_footage(numbered(50), 0.4, 1.2)
    assert footage.first == 10
    assert [read_number(frame) for frame in footage.frames()] == list(range(10, 30))
    assert footage.times_s[[0, -1]].tolist() == pytest.approx([0, 0.8])
    assert footage.is_even


def test_a_missing_frame_shows_the_one_before(
    numbered_folder: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    footage = open_footage(numbered_folder([0, 1, 2, 5, 6, 7]))
    assert [read_number(frame) for frame in footage.frames()] == [0, 1, 2, 2, 2, 5, 6, 7]


def test_a_range_that_begins_with_a_missing_frame_shows_the_first_there_is(
    numbered_folder: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    footage = open_footage(numbered_folder([0, 1, 4, 5, 6]), 2 / 25)
    assert [read_number(frame) for frame in footage.frames()] == [4, 4, 4, 5, 6]


def test_a_varying_frame_rate_is_seen_and_kept_when_written_again(
    numbered: Callable[..., Path], tmp_path: Path
) -> None:
    source = numbered(30, stamp=lambda number: number * 40 + (200 if number > 10 else 0), unit=Fraction(1, 1000))
    footage = open_footage(source)
    assert not footage.is_even
    again = tmp_path / "again.mp4"
    write_video(again, footage.frames(), footage.info.fps, times_s=footage.times_s)
    copy = open_footage(again)
    assert len(copy) == 30
    assert copy.times_s == pytest.approx(footage.times_s, abs=1e-3)
    with av.open(str(again)) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(footage.info.duration_s, abs=1e-3)


def test_the_shape_of_the_pixels_survives(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, (np.full((32, 48, 3), 9, np.uint8) for _ in range(3)), 25, sample_aspect=64 / 45)
    assert open_footage(path).info.sample_aspect == pytest.approx(64 / 45)


@pytest.mark.parametrize(("times", "error"), [((2.0, 1.0), UsageError), ((9.0, None), VideoError)])
def test_times_that_make_no_sense_are_refused(
    numbered: Callable[..., Path], times: tuple[float, float | None], error: type[Exception]
) -> None:
    with pytest.raises(error):
        open_footage(numbered(20), *times)
