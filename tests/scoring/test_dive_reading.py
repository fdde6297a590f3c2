"""From a file to clips: what is cut in time, what the virtual camera shows, what goes between processes."""

import numpy as np
import pytest

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.scoring import Wanted, dive_reading
from finecausal_cli.scoring import dives as dives_module
from finecausal_cli.scoring.dive_reading import ReadAhead, Viewing, hold_inside, is_framed, read_dives, read_each
from finecausal_cli.tracking.camera import Camera
from finecausal_cli.tracking.flights import Flight
from finecausal_cli.video.pictures import sampled_like
from finecausal_cli.video.reader import read_clip
from finecausal_cli.video.writer import write_video

FRAMING = {"reach": 0.635, "least": 0.56, "most": 0.71}
WHOLE = Viewing("fit", 112)
FRAMED = Viewing("fit", 112, FRAMING, window_size=64)
FPS = 25


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Six seconds of 320 x 180 in which a white square of 30 pixels goes along the path of ``make_flight``."""
    frames = []
    for index in range(6 * FPS):
        frame = np.full((180, 320, 3), 60, np.uint8)
        along = np.clip((index / FPS - 2.0) / 1.4, 0, 1)
        x, y = round(60 + 20 * along), round(70 + 50 * along**2)
        frame[y - 15 : y + 15, x - 15 : x + 15] = 250
        frames.append(frame)
    path = tmp_path_factory.mktemp("film") / "dive.mp4"
    write_video(path, frames, FPS)
    return path


@pytest.fixture
def found(make_flight, make_search, monkeypatch):
    """Let the search find something."""

    def let(*flights, **more):
        monkeypatch.setattr(dives_module, "_find_flights", lambda path, **how: make_search(*flights, **more))

    return let


def small(make_flight, **more):
    """An athlete a third as large as training had, at the left."""
    return make_flight(2.0, 3.4, x=60.0, px_per_m=15.0, **more)


def test_a_clip_that_is_framed_like_training_is_read_as_it_always_was(film, found, make_flight):
    found(make_flight(px_per_m=44.0))
    (one,) = read_dives(film, Wanted(), FRAMED).clips
    plain = read_clip(film)
    assert np.array_equal(one.clip.frames, plain.frames)
    assert np.array_equal(one.clip.source_frames, plain.source_frames)
    assert one.clip.windows is None
    assert one.crops.shape == (96, 64, 64, 3)


def test_otherwise_a_camera_follows_the_athlete_at_the_framing_of_the_weights(film, found, make_flight):
    found(small(make_flight))
    (one,) = read_dives(film, Wanted(), FRAMED).clips
    clip = one.clip
    assert clip.frames.shape == (96, 128, 128, 3)
    side = 2.25 * 15.0 / FRAMING["reach"]
    assert clip.windows[:, 2] == pytest.approx(side * 128 / 112, rel=0.01)
    in_air = (clip.times_s > 2.1) & (clip.times_s < 3.3)
    middles = clip.frames[in_air][:, 44:84, 44:84].mean(axis=(1, 2, 3))
    assert (middles > 200).all()  # the athlete is in the middle of every picture


def test_the_camera_stays_in_the_picture_where_it_can():
    windows = np.array([[10.0, 50.0, 40.0], [310.0, 175.0, 40.0], [160.0, 90.0, 200.0]])
    assert hold_inside(windows, (180, 320)).tolist() == [[20, 50, 40], [300, 160, 40], [160, 90, 200]]


def test_weights_without_a_framing_see_the_whole_picture_cut_in_time(film, found, make_flight):
    found(small(make_flight), duration_s=6.0)
    (one,) = read_dives(film, Wanted(start_s=1.0, end_s=5.0), WHOLE).clips
    assert np.array_equal(one.clip.frames, read_clip(film, start_s=1.0, end_s=5.0).frames)
    assert one.crops is None


@pytest.mark.parametrize(
    ("px_per_m", "x", "is_so"), [(44.0, 160.0, True), (20.0, 160.0, False), (90.0, 160.0, False), (44.0, 40.0, False)]
)
def test_framed_is_who_is_as_large_as_in_training_and_inside_the_square(make_flight, px_per_m, x, is_so):
    assert is_framed(make_flight(x=x, px_per_m=px_per_m), (180, 320), FRAMING, 112) == is_so


def test_nothing_is_read_of_what_is_refused_unless_it_is_forced(film, found):
    found(reason="black")
    read = read_dives(film, Wanted(), FRAMED)
    assert (read.clips, read.search.refusal.reason) == ((), "black")
    (one,) = read_dives(film, Wanted(force=True), FRAMED).clips
    assert one.refused_as.reason == "black"
    assert np.array_equal(one.clip.frames, read_clip(film).frames)


def test_every_dive_in_the_order_of_the_file_or_the_surest(film, found, make_flight):
    found(make_flight(4.0, 5.4), make_flight(1.0, 2.4, confidence=0.6))
    assert [read.clips[0].dive.takeoff_s for read in read_each(film, Wanted(), FRAMED)] == [1.0, 4.0]
    assert [one.dive.takeoff_s for one in read_dives(film, Wanted(), FRAMED).clips] == [4.0]


def test_a_repeated_frame_is_cut_once(film, found, make_flight):
    found(make_flight())
    (one,) = read_dives(film, Wanted(start_s=2.0, end_s=3.4), FRAMED).clips
    assert len(one.crops) == 35
    assert one.frame_indices[0] == 0
    assert one.frame_indices[-1] == 34
    assert len(one.frame_indices) == 96


def test_the_splash_is_cut_from_shortly_before_the_entry_on(film, found, make_flight):
    found(make_flight())
    (one,) = read_dives(film, Wanted(start_s=2.0, end_s=4.0), FRAMED).clips
    times = one.clip.times_s[np.unique(one.clip.source_frames, return_index=True)[1]]
    assert len(one.splash_crops) == (times >= 3.4 - 0.3).sum()
    assert one.splash_crops.shape[1:] == (64, 64, 3)


def test_what_cannot_be_asked_is_refused_before_anything_is_read(film):
    for wanted in (Wanted(start_s=3.0, end_s=2.0), Wanted(athlete="nobody"), Wanted(takeoff_s=3.0, entry_s=2.0)):
        with pytest.raises(UsageError):
            read_dives(film, wanted, FRAMED)
    with pytest.raises(VideoError) as caught:
        read_dives(film, Wanted(start_s=60.0), FRAMED)
    assert caught.value.kind == "out_of_range"


def test_all_that_is_read_survives_the_way_between_processes(film, found, make_flight):
    times = np.linspace(2.0, 3.4, 30)
    camera = Camera(times, np.tile(np.eye(3), (30, 1, 1)), np.zeros(30, np.int64), np.ones(30))
    made = small(make_flight, camera=camera)
    found(Flight(**{name: value for name, value in vars(made).items() if name != "drop_m"}), notes=("said",))
    read = read_dives(film, Wanted(), FRAMED)
    again = dive_reading._unpack(dive_reading._pack(read), film)
    assert again.search.notes == read.search.notes
    assert again.search.best.missing == read.search.best.missing
    here, there = read.clips[0], again.clips[0]
    for name in ("start_s", "end_s", "takeoff_s", "entry_s", "time_scale", "confidence", "notes"):
        assert getattr(here.dive, name) == getattr(there.dive, name)
    for name in ("frames", "source_frames", "times_s", "windows"):
        assert np.array_equal(getattr(here.clip, name), getattr(there.clip, name))
    assert (here.clip.end_s, here.clip.source_size) == (there.clip.end_s, there.clip.source_size)
    assert np.array_equal(here.crops, there.crops)
    assert np.array_equal(here.splash_crops, there.splash_crops)
    assert np.array_equal(here.dive.flight.centres, there.dive.flight.centres)
    assert there.dive.flight.camera.at(2.5) == pytest.approx(np.eye(3))


def test_the_real_search_runs_in_a_process_of_its_own_and_finds_nothing_in_noise(tmp_path):
    rng = np.random.default_rng(0)
    write_video(tmp_path / "noise.mp4", [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(60)], FPS)
    read = read_dives(str(tmp_path / "noise.mp4"), Wanted(), FRAMED, timeout_s=60.0)
    assert read.clips == ()
    assert read.search.refusal is not None


def test_what_has_read_ahead_shows_the_pictures_too(tmp_path):
    rng = np.random.default_rng(0)
    path = str(tmp_path / "noise.mp4")
    write_video(path, [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(30)], FPS)
    clip = read_clip(path)
    with ReadAhead(path, Wanted(), WHOLE, timeout_s=60) as ahead:
        there = sampled_like(path, clip, 64, timeout_s=60, process=ahead.process)
        assert ahead.result(path, Wanted(), WHOLE).clips == ()
    assert np.array_equal(there, sampled_like(path, clip, 64))
