"""From flights to dives: which one, from when to when, what it lacks, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from finecausal_cli.errors import UsageError, VideoError, WeightsError
from finecausal_cli.scoring import AthletePoint, Corrections, keep_corrections
from finecausal_cli.scoring import dives as dives_module
from finecausal_cli.scoring.athlete_track import find_dives
from finecausal_cli.scoring.dives import AFTER_S, BEFORE_S, locate_dives


def locate(search, corrections=None, **times):
    return locate_dives("dive.mp4", search, corrections or Corrections(), **times)


def test_a_file_with_the_margins_of_training_is_taken_whole(make_flight, make_search):
    dive = locate(make_search(make_flight(2.0, 3.4), shots=((0.0, 5.96),))).best
    assert (dive.start_s, dive.end_s) == (0.0, 6.0)
    assert (dive.takeoff_s, dive.entry_s, dive.is_whole) == (2.0, 3.4, True)
    assert dive.air_s == pytest.approx(1.4)
    assert dive.missing == dive.notes == ()


def test_what_is_put_before_a_dive_is_cut_off_again(make_flight, make_search):
    """Five and seven seconds more before the dive: the clip begins at the same moment of it."""
    starts = []
    for more_s in (5.0, 7.0):
        dive = locate(make_search(make_flight(2.0 + more_s, 3.4 + more_s), duration_s=6.0 + more_s)).best
        starts.append(dive.start_s - more_s)
        assert dive.end_s == 6.0 + more_s
    assert starts == pytest.approx([2.0 - BEFORE_S] * 2, abs=0.1)


def test_in_a_long_file_both_sides_are_cut_with_training_margins(make_flight, make_search):
    dive = locate(make_search(make_flight(60.0, 61.5), duration_s=3600.0)).best
    assert (dive.start_s, dive.end_s) == pytest.approx((60.0 - BEFORE_S, 61.5 + AFTER_S))


def test_in_slow_motion_margins_are_of_real_time_and_both_times_are_told(make_flight, make_search):
    dive = locate(make_search(make_flight(60.0, 65.6, time_scale=4.0), duration_s=300.0)).best
    assert (dive.start_s, dive.end_s) == pytest.approx((60.0 - 4 * BEFORE_S, 65.6 + 4 * AFTER_S))
    assert dive.air_s == pytest.approx(1.4)
    assert "4.0 times slower" in dive.notes[0]
    assert "5.60 s in the air are 1.40 s" in dive.notes[0]


def test_given_times_are_the_clip_whatever_is_found(make_flight, make_search):
    dive = locate(make_search(make_flight(60.0, 61.5), duration_s=3600.0), start_s=50.0, end_s=62.0).best
    assert (dive.start_s, dive.end_s) == (50.0, 62.0)
    one = locate(make_search(make_flight(60.0, 61.5), duration_s=3600.0), start_s=50.0).best
    assert (one.start_s, one.end_s) == pytest.approx((50.0, 61.5 + AFTER_S))


def test_no_clip_crosses_a_change_of_the_shot(make_flight, make_search):
    shots = ((0.0, 1.5), (1.5, 4.0), (4.0, 9.0))
    dive = locate(make_search(make_flight(2.0, 3.4, shot=1), duration_s=9.0, shots=shots)).best
    assert (dive.start_s, dive.end_s) == (1.5, 4.0)


@pytest.mark.parametrize(
    ("takeoff_s", "entry_s", "says"),
    [
        (0.2, 1.6, "begins 0.20 s before the take-off"),
        (4.4, 5.8, "ends 0.20 s after the entry"),
        (None, 1.0, "begins after the take-off"),
        (5.0, None, "ends before the entry"),
    ],
)
def test_what_the_clip_lacks_is_said(make_flight, make_search, takeoff_s, entry_s, says):
    flight = make_flight(takeoff_s, entry_s, first_s=takeoff_s or 0.0, last_s=entry_s or 6.0)
    dive = locate(make_search(flight)).best
    assert len(dive.missing) == 1
    assert says in dive.missing[0]
    assert dive.is_whole == (takeoff_s is not None and entry_s is not None)
    assert dive.refusal is None


def test_a_flight_cut_by_another_shot_is_refused_and_one_cut_by_the_end_of_the_file_is_not(make_flight, make_search):
    flight = make_flight(None, 4.0, first_s=3.0, shot=1)
    assert locate(make_search(flight, shots=((0.0, 3.0), (3.0, 6.0)))).best.refusal.reason == "several_shots"
    at_the_start = make_flight(None, 1.0, first_s=0.0)
    assert locate(make_search(at_the_start)).best.refusal is None


@pytest.mark.parametrize("reason", ["no_dive", "still", "black", "too_short"])
def test_without_a_flight_the_reason_and_what_to_do_are_said(make_search, reason):
    found = locate(make_search(reason=reason))
    assert found.dives == ()
    assert found.refusal.reason == reason
    assert "--force" in found.refusal.message
    assert "\n" not in found.refusal.message


def test_a_person_corrects_the_ends_of_the_flight(make_flight, make_search):
    dive = locate(make_search(make_flight(2.0, 3.4)), Corrections(2.2, None)).best
    assert (dive.takeoff_s, dive.entry_s) == (2.2, 3.4)


def test_the_flight_nearest_to_a_given_time_is_meant(make_flight, make_search):
    search = make_search(make_flight(2.0, 3.4), make_flight(30.0, 31.4), duration_s=40.0)
    assert locate(search).best.takeoff_s == 2.0
    found = locate(search, Corrections(entry_s=31.5))
    assert (found.best.takeoff_s, found.best.entry_s) == (30.0, 31.5)
    assert [dive.entry_s for dive in found.in_order()] == [3.4, 31.5]


def test_times_given_by_a_person_make_a_dive_where_the_search_has_none(make_search):
    dive = locate(make_search(), Corrections(2.0, 3.4)).best
    assert (dive.start_s, dive.end_s, dive.takeoff_s, dive.entry_s) == (0.0, 6.0, 2.0, 3.4)
    assert dive.flight is None
    assert any("given" in note for note in dive.notes)


def test_a_point_on_the_athlete_chooses_the_flight(make_flight, make_search):
    search = make_search(make_flight(2.0, 3.4, x=40.0), make_flight(2.1, 3.5, x=250.0, confidence=0.6))
    assert locate(search, Corrections(athlete=AthletePoint(255, 70, 2.3))).best.takeoff_s == 2.1
    nobody = locate(search, Corrections(athlete=AthletePoint(150, 170, 2.3)))
    assert nobody.refusal.reason == "no_dive"
    assert "--athlete" in nobody.refusal.message


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        (Corrections(takeoff_s=99.0), "--takeoff"),
        (Corrections(entry_s=99.0), "--entry"),
        (Corrections(athlete=AthletePoint(40, 70, 99.0)), "--athlete"),
    ],
)
def test_a_correction_beyond_the_clip_is_wrong_usage_and_a_stored_one_says_how_to_undo_it(
    make_flight, make_search, tmp_path, given, flag
):
    clip = str(tmp_path / "dive.mp4")
    for search in (make_search(make_flight()), make_search()):
        with pytest.raises(UsageError, match=f"^{flag}: 99 s lies beyond the clip, which ends at 6.00 s$"):
            locate_dives(clip, search, given)
    keep_corrections(clip, given, None, None)
    with pytest.raises(VideoError, match=r"stored correction.*delete dive.mp4.finecausal.json to undo") as caught:
        locate_dives(clip, make_search(make_flight()), given)
    assert caught.value.kind == "out_of_range"


def test_a_stored_point_where_nobody_falls_says_how_to_undo_it(make_flight, make_search, tmp_path):
    clip, given = str(tmp_path / "dive.mp4"), Corrections(athlete=AthletePoint(150, 170, 2.3))
    keep_corrections(clip, given, None, None)
    refusal = locate_dives(clip, make_search(make_flight()), given).refusal
    assert "stored point" in refusal.message
    assert "delete dive.mp4.finecausal.json" in refusal.message


def test_of_two_in_the_air_the_side_chooses_and_that_is_said(make_flight, make_search):
    search = make_search(make_flight(2.0, 3.4, x=40.0), make_flight(2.1, 3.5, x=250.0, confidence=0.6))
    plain = locate(search)
    assert plain.best.takeoff_s == 2.0
    assert "--athlete right" in plain.best.beside
    assert "the one at the right is judged" in plain.dives[1].beside
    right = locate(search, Corrections(athlete="right"))
    assert right.best.takeoff_s == 2.1
    assert "the one at the right is judged" in right.best.beside
    alone = locate(make_search(make_flight()), Corrections(athlete="left"))
    assert alone.best.beside == ""
    assert alone.beside(alone.best) == ()
    assert plain.beside(plain.best) == (plain.dives[1],)


def test_the_time_of_a_point_on_the_athlete_chooses_among_dives_from_one_board(make_flight, make_search):
    flights = make_flight(3.0, 4.4, x=40.0), make_flight(60.0, 61.4, x=40.0, confidence=0.6)
    search = make_search(*flights, duration_s=70.0)
    at = search.flights[1].centres[5]
    assert locate(search, Corrections(athlete=AthletePoint(*at, 60.4))).best.takeoff_s == 60.0
    assert locate(search, Corrections(athlete=AthletePoint(*at, 3.4))).best.takeoff_s == 3.0
    assert locate(search, Corrections(athlete=AthletePoint(*at, 30.0))).refusal.reason == "no_dive"


def test_an_entry_that_the_search_did_not_find_is_where_the_path_was_followed_to(make_flight, make_search):
    found = locate(make_search(make_flight(2.0, 3.4))).best
    assert found.likely_entry_s == 3.4
    followed = make_flight(2.0, 3.4)
    followed.entry_s, followed.last_s = None, 3.65
    lost = locate(make_search(followed)).best
    assert (lost.entry_s, lost.likely_entry_s) == (None, pytest.approx(3.4))
    assert any("before the entry" in note for note in lost.missing)
    seen = lost.with_ends(2.0, 3.42)
    assert (seen.entry_s, seen.is_whole, seen.missing) == (3.42, True, ())


def test_what_is_said_of_a_dive_follows_its_ends(make_flight, make_search):
    found = locate(make_search(make_flight(0.6, 6.2, time_scale=4.0), duration_s=9.0)).best
    assert "5.60 s in the air are 1.40 s" in found.notes[0]
    assert any("0.60 s before the take-off" in note for note in found.missing)
    moved = found.with_ends(0.2, 6.4)
    assert "6.20 s in the air are 1.55 s" in moved.notes[0]
    assert any("0.20 s before the take-off" in note for note in moved.missing)


def test_the_public_search_passes_its_times_on_and_takes_corrections(make_flight, make_search, monkeypatch):
    asked = {}

    def find(path, **how):
        asked.update(how, path=path)
        how["progress"](30.0, 60.0)
        return make_search(make_flight())

    monkeypatch.setattr(dives_module, "_find_flights", find)
    seen = []
    found = find_dives("a.mp4", start_s=1.0, end_s=5.0, corrections=Corrections(entry_s=3.3), progress=seen.append)
    assert (asked["path"], asked["start_s"], asked["end_s"]) == ("a.mp4", 1.0, 5.0)
    assert seen == [0.5]
    assert (found.best.start_s, found.best.end_s, found.best.entry_s) == (1.0, 5.0, 3.3)
    assert replace(found, dives=()).best is None
    assert np.isfinite(found.duration_s)


@pytest.mark.parametrize(
    ("duration_s", "reason", "searches"), [(6.0, "no_dive", 2), (6.0, "still", 1), (600.0, "no_dive", 1)]
)
def test_a_short_film_without_a_flight_is_searched_once_more_with_the_reader(
    make_flight, make_search, monkeypatch, duration_s, reason, searches
):
    calls = []

    def search(path, **how):
        calls.append(how)
        if "heat" in how:
            return make_search(make_flight(2.0, 3.4), duration_s=duration_s)
        return make_search(reason=reason, duration_s=duration_s)

    monkeypatch.setattr("finecausal_cli.tracking.flights.find_flights", search)
    found = find_dives("a.mp4", start_s=0.5)
    assert len(calls) == searches
    assert all(how["start_s"] == 0.5 for how in calls)
    assert [dive.takeoff_s for dive in found.dives] == ([2.0] if searches == 2 else [])


def test_without_reader_weights_the_first_search_stands(make_search, monkeypatch):
    def missing():
        raise WeightsError("none")

    monkeypatch.setattr("finecausal_cli.tracking.flights.find_flights", lambda path, **how: make_search())
    monkeypatch.setattr("finecausal_cli.athlete.reader.AthleteReader.load", missing)
    dives_module._reader.cache_clear()
    assert find_dives("a.mp4").refusal.reason == "no_dive"


@pytest.mark.parametrize(("first", "second", "taken"), [(0.9, 0.99, 2.0), (0.7, 0.72, 2.0), (0.7, 0.9, 2.1)])
def test_a_doubtful_flight_is_looked_for_once_more_and_the_surer_one_taken(
    make_flight, make_search, monkeypatch, first, second, taken
):
    def search(path, **how):
        looks = make_flight(2.1, 3.5, confidence=second), make_flight(2.0, 3.4, confidence=first)
        return make_search(looks[0 if "heat" in how else 1])

    monkeypatch.setattr("finecausal_cli.tracking.flights.find_flights", search)
    assert find_dives("a.mp4").best.takeoff_s == taken
