from pathlib import Path

import numpy as np
import pytest

from finecausal_cli.errors import VideoError
from finecausal_cli.scoring import Corrections
from finecausal_cli.scoring.dives import search_dives
from finecausal_cli.tracking.flights import Search, find_flights
from finecausal_cli.tracking.transitions import slow_motion_scale
from finecausal_cli.video.writer import write_video

from .conftest import ENTRY_S, FPS, PX_PER_M, TAKEOFF_S, WIDTH, Film, film, line

FRAME_S = 1 / FPS


def search(folder: Path, frames: list[np.ndarray], fps: float = FPS, **options: float) -> Search:
    path = folder / "film.mp4"
    write_video(path, frames, fps)
    return find_flights(path, **options)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, dive: Film) -> Search:
    return search(tmp_path_factory.mktemp("dive"), dive.frames)


def test_a_fall_before_a_panning_world_is_found(found: Search, dive: Film) -> None:
    assert found.reason is None
    (flight,) = found.flights
    assert flight.takeoff_s == pytest.approx(TAKEOFF_S, abs=2 * FRAME_S)
    assert flight.entry_s == pytest.approx(ENTRY_S, abs=2 * FRAME_S)
    assert flight.time_scale == 1.0
    assert found.size == dive.frames[0].shape[:2]


def test_the_pull_tells_the_scale(found: Search) -> None:
    assert np.median(found.flights[0].px_per_m) == pytest.approx(PX_PER_M, rel=0.05)


def test_the_centres_lie_on_the_athlete(found: Search, dive: Film) -> None:
    flight = found.flights[0]
    in_air = (flight.times_s > TAKEOFF_S) & (flight.times_s < ENTRY_S)
    right = dive.centres[np.rint(flight.times_s * FPS).astype(int)]
    assert np.hypot(*(flight.centres - right)[in_air].T).max() < 0.4 * PX_PER_M


def test_who_walks_does_not_fly(tmp_path: Path) -> None:
    walked = search(tmp_path, film(line).frames)
    assert (walked.flights, walked.reason) == ((), "no_dive")


def test_slow_motion_is_told_from_the_size_of_the_body(tmp_path: Path) -> None:
    (flight,) = search(tmp_path, film(seconds=3.4, slow=3.0).frames).flights
    assert flight.time_scale == pytest.approx(3.0, rel=0.3)
    assert flight.entry_s == pytest.approx(3 * ENTRY_S, abs=0.4)


@pytest.mark.parametrize(
    ("height_m", "rise_s"), [(1.0, 0.45), (3.0, 0.47), (3.0, 0.38), (5.0, 0.28), (10.0, 0.26), (10.0, 0.08)]
)
@pytest.mark.parametrize("slow", [1.7, 3.0, 8.0])
def test_the_share_of_the_rise_tells_how_slow_a_film_is(height_m: float, rise_s: float, slow: float) -> None:
    # The body's middle falls by the board's height and by its rise; what it seems to weigh errs by a third.
    fall_s = np.sqrt(2 * height_m / 9.81 + rise_s**2)
    for seems in (0.7, 1.4):
        scale = slow_motion_scale(slow**2 * seems, slow * rise_s, slow * fall_s)
        assert scale == pytest.approx(slow, rel=0.06)


@pytest.mark.parametrize(("after_s", "is_known"), [(-0.3, False), (-0.12, False), (0.16, True)])
def test_an_entry_is_known_as_soon_as_the_film_shows_it(
    tmp_path: Path, dive: Film, after_s: float, is_known: bool
) -> None:
    (flight,) = search(tmp_path, dive.frames, end_s=ENTRY_S + after_s).flights
    assert flight.takeoff_s == pytest.approx(TAKEOFF_S, abs=0.25)
    assert (flight.entry_s is not None) == is_known


def test_a_flight_ends_at_a_shot_change(tmp_path: Path, dive: Film) -> None:
    cut = round((TAKEOFF_S + 1.0) * FPS)
    found = search(tmp_path, [*dive.frames[:cut], *film(line, seed=9, seconds=1.5).frames])
    assert len(found.shots) == 2
    assert found.shots[0][1] == pytest.approx(cut / FPS, abs=1e-3)
    for flight in found.flights:
        assert flight.last_s < cut / FPS
        assert flight.entry_s is None


def test_two_dives_of_a_film_are_both_found(tmp_path: Path, dive: Film) -> None:
    found = search(tmp_path, [*dive.frames, *film(seed=5).frames])
    times = sorted(flight.takeoff_s or 0 for flight in found.flights)
    assert times == pytest.approx([TAKEOFF_S, TAKEOFF_S + len(dive.frames) / FPS], abs=2 * FRAME_S)
    assert {flight.shot for flight in found.flights} == {0, 1}


def test_two_divers_in_the_air_are_both_found_and_the_side_chooses(tmp_path: Path, dive: Film) -> None:
    beside = [np.hstack(pair) for pair in zip(dive.frames, film(seed=3).frames, strict=True)]
    flights = search(tmp_path, beside).flights
    assert sorted(int(np.median(flight.centres[:, 0])) // WIDTH for flight in flights) == [0, 1]
    assert [flight.entry_s for flight in flights] == pytest.approx([ENTRY_S, ENTRY_S], abs=2 * FRAME_S)
    for side, half in (("left", 0), ("right", 1)):
        found = search_dives(tmp_path / "film.mp4", corrections=Corrections(athlete=side))
        assert found.best is not None
        assert found.best.flight is not None
        assert int(np.median(found.best.flight.centres[:, 0])) // WIDTH == half
        assert f"the one at the {side} is judged" in found.best.beside


def test_an_entry_below_the_picture_is_not_known(tmp_path: Path, dive: Film) -> None:
    (flight,) = search(tmp_path, [frame[:160] for frame in dive.frames]).flights
    assert flight.takeoff_s == pytest.approx(TAKEOFF_S, abs=0.25)
    assert flight.entry_s is None


def test_only_the_times_asked_for_are_searched(tmp_path: Path, dive: Film) -> None:
    found = search(tmp_path, [*dive.frames, *film(seed=5).frames], start_s=4.0)
    (flight,) = found.flights
    assert flight.takeoff_s == pytest.approx(4.0 + TAKEOFF_S, abs=2 * FRAME_S)


def test_a_held_first_picture_changes_nothing(tmp_path: Path, dive: Film, found: Search) -> None:
    held = 45
    (late,), (flight,) = search(tmp_path, [dive.frames[0]] * held + dive.frames).flights, found.flights
    assert late.takeoff_s == pytest.approx(flight.takeoff_s + held / FPS, abs=FRAME_S / 2)
    assert late.entry_s == pytest.approx(flight.entry_s + held / FPS, abs=FRAME_S / 2)
    assert np.median(late.px_per_m) == pytest.approx(np.median(flight.px_per_m), rel=0.02)


def test_a_flight_that_begins_behind_a_held_picture_lacks_its_take_off(tmp_path: Path, dive: Film) -> None:
    in_air = round((TAKEOFF_S + 0.35) * FPS)
    search(tmp_path, [dive.frames[in_air]] * 45 + dive.frames[in_air:])
    found = search_dives(tmp_path / "film.mp4").best
    assert (found.refusal, found.takeoff_s) == (None, None)
    assert "take-off" in found.missing[0]


def test_progress_ends_at_the_end(tmp_path: Path, dive: Film) -> None:
    path, said = tmp_path / "film.mp4", []
    write_video(path, dive.frames, FPS)
    find_flights(path, progress=lambda done, total: said.append((done, total)))
    assert said[-1][1] == pytest.approx(len(dive.frames) / FPS)
    assert said[-1][0] == pytest.approx(said[-1][1], abs=2 * FRAME_S)


def test_progress_comes_while_a_stretch_is_decoded(tmp_path: Path, dive: Film) -> None:
    path, said = tmp_path / "film.mp4", []
    write_video(path, dive.frames, FPS)
    find_flights(path, progress=lambda done, _: said.append(done))
    assert said == sorted(said)
    assert np.diff([0.0, *said]).max() < 1.0 + 2 * FRAME_S


@pytest.mark.parametrize(
    ("kind", "reason"), [("black", "black"), ("still", "still"), ("noise", "no_dive"), ("short", "too_short")]
)
def test_what_holds_no_dive_says_why(tmp_path: Path, dive: Film, kind: str, reason: str) -> None:
    rng = np.random.default_rng(0)
    frames = {
        "black": [np.zeros((120, 160, 3), np.uint8)] * 40,
        "still": [dive.frames[0]] * 40,
        "noise": [rng.integers(0, 255, (120, 160, 3), dtype=np.uint8) for _ in range(60)],
        "short": dive.frames[:5],
    }[kind]
    found = search(tmp_path, frames)
    assert (found.flights, found.reason) == ((), reason)


def test_a_missing_file_is_a_video_error(tmp_path: Path) -> None:
    with pytest.raises(VideoError):
        find_flights(tmp_path / "none.mp4")
