"""Ends of a flight that the reader sees elsewhere, and the body where the search lost it on the way to the water."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from finecausal_cli.athlete.ends import EndReading
from finecausal_cli.scoring import Wanted
from finecausal_cli.scoring import dives as dives_module
from finecausal_cli.scoring.athlete_track import at_ends, following
from finecausal_cli.scoring.dive_reading import Viewing, _pack, _unpack, read_dives
from finecausal_cli.tracking.camera import Camera
from finecausal_cli.tracking.flights import Flight
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.scoring.dive_reading import DiveClip

FPS, SIDE, REACH_S = 25, 64, 0.28
VIEWING = Viewing("fit", 112, window_size=SIDE, margins_s=(0.6, 0.9))


@dataclass
class SeesEnds:
    """A reader to whom the ends of a flight are at set times of the file, if it looks near enough.

    Attributes:
        end_s: When the last picture was taken.
        takeoff_s: When the take-off is.
        contact_s: When the contact is.
        drift_px: How far the body goes down from frame to frame where it is followed.
        looked: Ends that were looked for, and when.
    """

    end_s: float
    takeoff_s: float = 2.0
    contact_s: float = 3.4
    drift_px: float = 0.0
    looked: list[tuple[str, float]] = field(default_factory=list)

    def read_end(self, end: str, pictures: np.ndarray, since_s: np.ndarray) -> EndReading:
        at_s = self.end_s - float(since_s[-1])
        self.looked.append((end, round(at_s, 2)))
        away_s = (self.takeoff_s if end == "takeoff" else self.contact_s) - at_s
        if abs(away_s) > REACH_S:  # unsure; and of a take-off it is known that there is none
            return EndReading(0.0, 0.12, 0.0, 9.0, 0.1 if end == "takeoff" else 0.95)
        return EndReading(away_s, 0.02, 5.0, 6.0, 0.99)

    def follow(self, pictures: np.ndarray, real_times_s: np.ndarray, place: np.ndarray) -> np.ndarray:
        return place + np.outer(np.arange(len(pictures)), (0.0, self.drift_px))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Six seconds of 320 x 180 whose brightness tells the row."""
    rows = np.repeat(np.linspace(0, 250, 180).astype(np.uint8)[:, None], 320, axis=1)
    path = tmp_path_factory.mktemp("film") / "dive.mp4"
    write_video(path, [np.repeat(rows[..., None], 3, axis=2)] * (6 * FPS), FPS)
    return path


@pytest.fixture
def located(film, make_flight, make_search, monkeypatch) -> Callable[..., DiveClip]:
    """Read the dive of the film, whose camera the search followed as said."""

    def read(agreement: float = 1.0, **more: object) -> DiveClip:
        times = np.arange(0.0, 6.0, 1 / FPS)
        still, shots = np.tile(np.eye(3), (len(times), 1, 1)), np.zeros(len(times), np.int64)
        camera = Camera(times, still, shots, np.full(len(times), agreement))
        made = make_flight(**{"takeoff_s": 2.0, "entry_s": 3.4, "px_per_m": 20.0, "camera": camera, **more})
        flight = Flight(**{name: value for name, value in vars(made).items() if name != "drop_m"})
        monkeypatch.setattr(dives_module, "_find_flights", lambda path, **how: make_search(flight))
        (one,) = read_dives(film, Wanted(), VIEWING).clips
        return one

    return read


def reader_for(dive_clip: DiveClip, **what: float) -> SeesEnds:
    last = np.unique(dive_clip.frame_indices, return_index=True)[1][-1]
    return SeesEnds(dive_clip.clip.time_s(int(last)), **what)


HALF_A_FRAME_S = 0.5 / FPS


def test_a_takeoff_that_is_not_where_the_search_found_it_is_looked_for_elsewhere(located):
    dive_clip = located()
    for truth_s in (1.45, 2.1, 2.75):
        seen = at_ends(reader_for(dive_clip, takeoff_s=truth_s), dive_clip)
        assert seen.dive.takeoff_s == pytest.approx(truth_s + HALF_A_FRAME_S)
        assert seen.dive.entry_s == pytest.approx(3.4 + HALF_A_FRAME_S)
    nowhere = at_ends(reader_for(dive_clip, takeoff_s=9.0), dive_clip)
    assert nowhere.dive.takeoff_s == 2.0  # as the search has it


def test_a_takeoff_that_the_search_puts_before_the_clip_is_seen_if_its_beginning_shows_it(located):
    dive_clip = located(takeoff_s=None, first_s=1.8, last_s=3.6, entry_s=3.4)
    seen = at_ends(reader_for(dive_clip, takeoff_s=1.9), dive_clip)
    assert seen.dive.takeoff_s == pytest.approx(1.94)  # every second frame is sampled
    first_s = dive_clip.clip.time_s(0)
    for truth_s in (first_s + 0.02, first_s - 1.0):  # nothing of the board is shown before it
        assert at_ends(reader_for(dive_clip, takeoff_s=truth_s), dive_clip).dive.takeoff_s is None


def test_a_wider_square_is_kept_where_the_search_may_have_lost_the_camera(located, film):
    assert located().wide_crops is None
    dive_clip = located(0.2)
    first = np.unique(dive_clip.frame_indices, return_index=True)[1]
    times = np.array([dive_clip.clip.time_s(int(index)) for index in first])
    assert len(dive_clip.wide_crops) == len(dive_clip.wide_windows) == (times >= 3.4 - 0.45).sum()
    assert dive_clip.wide_crops.shape[1:] == (2 * SIDE, 2 * SIDE, 3)
    narrow = dive_clip.athlete_windows[first][-len(dive_clip.wide_windows) :]
    assert dive_clip.wide_windows[:, 2] == pytest.approx(2 * narrow[:, 2])
    top, bottom = (dive_clip.wide_windows[:, 1] + sign * narrow[:, 2] for sign in (-1, 1))
    assert (top >= -1e-6).all()  # it lies inside of the picture, as far as it can
    assert (bottom <= 180 + 1e-6).all()
    again = _unpack(_pack(read_dives(film, Wanted(), VIEWING)), film).clips[0]
    assert np.array_equal(again.wide_crops, dive_clip.wide_crops)
    assert np.array_equal(again.wide_windows, dive_clip.wide_windows)


def test_the_body_is_followed_to_a_contact_later_than_the_search_found(located):
    dive_clip = located(0.2)
    reader = reader_for(dive_clip, contact_s=3.95, drift_px=2.0)
    followed = following(reader, dive_clip)
    assert followed.dive.entry_s == pytest.approx(3.95)
    first = np.unique(dive_clip.frame_indices, return_index=True)[1]
    before, after = (each.athlete_windows[first] for each in (dive_clip, followed))
    count = len(dive_clip.wide_crops)
    assert np.array_equal(after[:-count], before[:-count])
    # From where the body was, two pixels of a wide square a frame down, which moves itself.
    px = dive_clip.wide_windows[:, 2] / (2 * SIDE)
    down = after[-count:, 1] - dive_clip.wide_windows[:, 1]
    start = before[-count, 1] - dive_clip.wide_windows[0, 1]
    assert down == pytest.approx(start / px[0] * px + 2.0 * px * np.arange(count))
    # The film's brightness tells the row of the middle.
    middle = followed.crops[-count:, SIDE // 2 - 1 : SIDE // 2 + 1].mean(axis=(1, 2, 3))
    inside = after[-count:, 1] < 175
    assert middle[inside] == pytest.approx(after[-count:, 1][inside] / 179 * 250, abs=4)
    assert at_ends(reader, followed).dive.entry_s == pytest.approx(3.95 + HALF_A_FRAME_S)


@pytest.mark.parametrize(("agreement", "contact_s"), [(0.2, 3.42), (0.2, 9.0), (1.0, 3.95)])
def test_where_the_contact_is_sure_or_never_seen_the_windows_stay(located, agreement, contact_s):
    dive_clip = located(agreement)
    assert following(reader_for(dive_clip, contact_s=contact_s), dive_clip) is dive_clip
