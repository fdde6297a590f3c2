from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.video import check_enough, frame_range, replace_corrupt_frames, sample_indices


def test_ninety_six_frames_are_taken_as_they_are() -> None:
    assert sample_indices(0, 95).tolist() == list(range(96))


def test_every_second_frame_of_a_clip_twice_as_long() -> None:
    assert sample_indices(10, 200).tolist() == list(range(10, 201, 2))


def test_positions_are_cut_to_whole_frames() -> None:
    # 101 frames, the median clip of FineDiving: sample i lies at i * 100 / 95.
    expected = [i * 100 // 95 for i in range(96)]
    assert sample_indices(0, 100).tolist() == expected
    assert expected[:4] == [0, 1, 2, 3]
    assert expected[19] == 20


def test_shift_draws_the_last_frame_earlier_and_leaves_the_first() -> None:
    shifted = sample_indices(0, 98, shift=3)
    assert shifted.tolist() == list(range(96))


def test_shift_never_passes_the_first_frame() -> None:
    assert sample_indices(4, 5, shift=3).tolist() == [4] * 96


@pytest.mark.parametrize("wrong", [(-1, 5, 0), (5, 4, 0), (0, 5, -1)])
def test_impossible_ranges_are_refused(wrong: tuple[int, int, int]) -> None:
    first, last, shift = wrong
    with pytest.raises(ValueError, match="Cannot sample"):
        sample_indices(first, last, shift=shift)


@given(first=st.integers(0, 10_000), length=st.integers(0, 5_000), shift=st.integers(0, 3))
def test_samples_never_fall_and_keep_to_the_range(first: int, length: int, shift: int) -> None:
    indices = sample_indices(first, first + length, shift=shift)
    assert indices.dtype == np.int64
    assert len(indices) == 96
    assert (np.diff(indices) >= 0).all()
    assert indices[0] == first
    assert indices[-1] == max(first, first + length - shift)
    assert np.ptp(np.diff(indices)) <= 1


TIMES = np.arange(100) / 25.0


def test_range_takes_the_frames_shown_from_start_up_to_the_end() -> None:
    assert frame_range(TIMES, 4.0, None, None, "x") == (0, 99)
    assert frame_range(TIMES, 4.0, 1.0, 2.0, "x") == (25, 49)
    assert frame_range(TIMES, 4.0, 0.5, None, "x") == (13, 99)
    assert frame_range(TIMES, 4.0, None, 4.0, "x") == (0, 99)


def test_a_time_rounded_to_milliseconds_means_the_frame_it_came_from() -> None:
    times = np.arange(90) / 30.0
    assert frame_range(times, 3.0, 0.033, 0.1, "x") == (1, 2)


@pytest.mark.parametrize(("start", "end"), [(4.0, None), (9.0, None), (0.0, 4.5), (3.0, 99.0)])
def test_times_beyond_the_clip_name_its_end(start: float, end: float | None) -> None:
    with pytest.raises(VideoError, match=r"lies beyond the clip, which ends at 4\.00 s"):
        frame_range(TIMES, 4.0, start, end, "x")


@pytest.mark.parametrize(
    ("start", "end"), [(-1.0, None), (float("nan"), None), (None, float("inf")), (2.0, 2.0), (2.0, 1.0), (None, 0.0)]
)
def test_contradicting_times_are_the_users_mistake(start: float | None, end: float | None) -> None:
    with pytest.raises(UsageError):
        frame_range(TIMES, 4.0, start, end, "x")


def test_a_range_between_two_frames_holds_none() -> None:
    with pytest.raises(VideoError, match="No frame is shown"):
        frame_range(TIMES, 4.0, 0.045, 0.055, "x")


def test_a_lost_frame_is_replaced_by_the_sound_one_before() -> None:
    sound = np.array([True, False, False, True, True])
    assert replace_corrupt_frames(np.array([10, 11, 12, 13, 14]), sound, 10).tolist() == [10, 10, 10, 13, 14]


@pytest.mark.parametrize(("frames", "word"), [(1, "1 frame;"), (2, "2 frames;"), (15, "15 frames;")])
def test_fewer_frames_than_a_snippet_are_refused(frames: int, word: str) -> None:
    with pytest.raises(VideoError, match=word) as caught:
        check_enough(sample_indices(0, frames - 1), "short.mp4")
    assert caught.value.where == "short.mp4"
    assert "at least 16" in str(caught.value)
    assert caught.value.hint


def test_fewer_frames_than_samples_are_noted() -> None:
    assert check_enough(sample_indices(0, 95), "x") is None
    note = check_enough(sample_indices(0, 15), "x")
    assert note is not None
    assert "16 distinct frames" in note
