"""What is known of a dive in its verdict, and the verdict withheld or refused; the athlete in the picture."""

from types import SimpleNamespace

import numpy as np
import pytest

from finecausal_cli.athlete import JOINT, JOINTS
from finecausal_cli.athlete.ends import EndReading
from finecausal_cli.athlete.network import DIRECTIONS
from finecausal_cli.athlete.reader import BodyReading
from finecausal_cli.errors import RefusedError, UsageError
from finecausal_cli.scoring import Corrections, ExplainOptions, ScoreOptions, corrections_path, keep_corrections
from finecausal_cli.scoring import dives as dives_module
from finecausal_cli.scoring.athlete_track import AthleteTrack, BodyInFlight, largest_part, to_picture
from finecausal_cli.scoring.prepared_dive import refuse_dry, refuse_unlike
from finecausal_cli.scoring.results import Unscored
from finecausal_cli.video.writer import write_video

OF_107B = {"dive": "107B", "height_m": 10.0}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    frames = np.random.default_rng(0).integers(0, 90, (150, 90, 160, 3), np.uint8)
    path = tmp_path_factory.mktemp("film") / "dive.mp4"
    write_video(path, frames, 25)
    return str(path)


@pytest.fixture
def scorer(tiny_model, make_scorer):
    return make_scorer(tiny_model)


class Reader:
    """Sees the athlete in the middle of every window; or nobody."""

    square_size = 64
    digest = "r" * 16

    def __init__(self, seen=1.0, recognised=None, **ends):
        self.seen, self.recognised = seen, recognised
        self.ends = ends
        self.asked = 0
        self.first_s = {}

    def read_end(self, end, pictures, since_s):
        """Return the end as told from where it is asked first, and how sure it is from there and, if told, later."""
        assert len(pictures) == len(since_s)
        told = self.ends.get(end)
        moved_s = self.first_s.setdefault(end, since_s[0]) - since_s[0]
        if isinstance(told, tuple) and not isinstance(told, EndReading):
            told = told[int(moved_s != 0)]
        return told and told._replace(moment_s=told.moment_s - moved_s)

    def size_splash(self, pictures, since_entry_s):
        return None

    def read_motion(self, windows, real_times_s, in_flight, moved=None):
        count = len(windows)
        assert len(real_times_s) == len(in_flight) == count
        self.asked += count
        outline = np.zeros((count, 16, 16), np.float32)
        outline[:, 4:12, 6:10] = 1
        return BodyReading(
            joints=np.tile(np.array([32.0, 24.0], np.float32), (count, len(JOINTS), 1)),
            confidence=np.full((count, len(JOINTS)), 0.8, np.float32),
            outline=outline,
            seen=np.full(count, self.seen, np.float32),
            direction=np.full((count, DIRECTIONS), 1 / DIRECTIONS, np.float32),
            windows=np.tile(np.array([32.0, 32.0, 64.0], np.float32), (count, 1)),
            recognised=np.full(count, self.seen if self.recognised is None else self.recognised, np.float32),
        )


@pytest.fixture
def found(make_flight, make_search, monkeypatch):
    def let(*flights, **more):
        search = make_search(*flights, size=(90, 160), **more)
        monkeypatch.setattr(dives_module, "_find_flights", lambda path, **how: search)

    return let


def test_a_verdict_says_where_the_dive_is(scorer, film, found, make_flight):
    found(make_flight(2.0, 3.4))
    verdict = scorer.score(film, ScoreOptions(**OF_107B))
    assert (verdict.status, verdict.flight_start_s, verdict.entry_start_s, verdict.time_scale) == (
        "scored",
        2.0,
        3.4,
        1,
    )
    assert (verdict.clip_start_s, verdict.clip_end_s, verdict.dives_found) == (0.0, 6.0, 1)
    assert verdict.forced is None
    assert any("no athlete reader" in note for note in verdict.notes)


def test_what_is_no_dive_is_refused_and_says_why(scorer, film, found):
    found(reason="still")
    with pytest.raises(RefusedError) as caught:
        scorer.score(film, ScoreOptions(**OF_107B))
    assert (caught.value.kind, caught.value.exit_code) == ("still", 1)
    refused = caught.value.found
    assert isinstance(refused, Unscored)
    assert (refused.status, refused.reason, refused.score, refused.flight_start_s) == ("refused", "still", None, None)
    assert scorer.assess(film, ScoreOptions(**OF_107B)) == [refused]


def test_by_force_it_is_scored_and_that_is_said(scorer, film, found):
    found(reason="still")
    verdict = scorer.score(film, ScoreOptions(**OF_107B, force=True))
    assert verdict.forced == "nothing moves in it"
    assert verdict.flight_start_s is None
    assert verdict.dives_found == 0


@pytest.mark.parametrize(("takeoff_s", "entry_s", "reason"), [(None, 1.0, "no_takeoff"), (5.0, None, "no_entry")])
def test_points_of_a_dive_that_is_not_all_there_are_withheld(
    scorer, film, found, make_flight, takeoff_s, entry_s, reason
):
    found(make_flight(takeoff_s, entry_s, first_s=takeoff_s or 0.0, last_s=entry_s or 6.0))
    (verdict,) = scorer.assess(film, ScoreOptions(**OF_107B))
    assert (verdict.status, verdict.score, verdict.reason) == ("scored", None, reason)
    assert (verdict.flight_start_s, verdict.entry_start_s) == (takeoff_s, entry_s)
    assert (verdict.dive, verdict.height_m) == ("107B", 10.0)
    assert sum(frame.box is not None for frame in verdict.athlete) > 10
    forced = scorer.score(film, ScoreOptions(**OF_107B, force=True))
    assert forced.forced is not None


def test_of_several_dives_the_surest_is_judged_and_all_when_asked(scorer, film, found, make_flight):
    found(make_flight(4.0, 5.4), make_flight(1.0, 2.4, confidence=0.6))
    verdict = scorer.score(film, ScoreOptions(**OF_107B))
    assert (verdict.flight_start_s, verdict.dive_index, verdict.dives_found) == (4.0, 2, 2)
    assert any("--all-dives" in note for note in verdict.notes)
    both = scorer.assess(film, ScoreOptions(**OF_107B, all_dives=True))
    assert [(one.flight_start_s, one.dive_index) for one in both] == [(1.0, 1), (4.0, 2)]


def test_corrections_of_an_earlier_run_are_used_again(scorer, film, found, make_flight):
    found(make_flight(2.0, 3.4))
    keep_corrections(film, Corrections(entry_s=3.6), None, None)
    try:
        verdict = scorer.score(film, ScoreOptions(**OF_107B))
        assert verdict.entry_start_s == 3.6
        assert any("as corrected earlier: entry 3.60 s" in note for note in verdict.notes)
        assert scorer.score(film, ScoreOptions(**OF_107B, entry_s=3.5)).entry_start_s == 3.5
    finally:
        corrections_path(film).unlink()


def test_a_correction_is_of_one_dive():
    with pytest.raises(UsageError, match="--all-dives"):
        ScoreOptions(takeoff_s=2.0, all_dives=True)


def test_the_athlete_is_brought_back_into_the_picture(tiny_model, make_scorer, film, found, make_flight):
    reader = Reader()
    scorer = make_scorer(tiny_model, reader=reader)
    found(make_flight(2.0, 3.4))
    explanation, evidence = scorer.explain(film, ScoreOptions(**OF_107B), ExplainOptions(backgrounds=False))
    assert reader.asked == 96
    assert explanation.assessment.athlete_seen == 96
    assert (explanation.flight_start_s, explanation.entry_start_s, explanation.time_scale) == (2.0, 3.4, 1.0)
    frame = next(one for one in explanation.athlete if 2.6 < one.time_s < 2.8)
    along = (frame.time_s - 2.0) / 1.4
    middle = (160 + 20 * along, 70 + 50 * along**2)
    side = 2.4 * 1.25 * 40  # the reader's window, pixels
    left, top, right, bottom = frame.box
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(middle, abs=1.5)
    assert (right - left, bottom - top) == pytest.approx((side / 4, side / 2), rel=0.02)
    assert frame.joints["head"] == pytest.approx((middle[0], middle[1] - side / 8, 0.8), abs=1.5)
    assert set(frame.joints) == set(JOINT)
    assert evidence.track.outlines.shape == (96, 16, 16)


def test_the_ends_are_brought_nearer_to_those_that_the_reader_sees(tiny_model, make_scorer, film, found, make_flight):
    def ends(asked=None, **read):
        scorer = make_scorer(tiny_model, reader=Reader(**{end: EndReading(*told) for end, told in read.items()}))
        result = scorer.score(film, ScoreOptions(**OF_107B, **asked or {}))
        return result.flight_start_s, result.entry_start_s

    found(make_flight(2.0, 3.4))
    half_a_frame = 3.0 / 95  # 6 s of film in 96 samples
    early, unsure = (-0.15, 0.01, 3.0, 2.0, 1.0), (-0.15, 0.2, 3.0, 2.0, 1.0)
    assert ends(contact=early) == (2.0, pytest.approx(3.4 + half_a_frame - 0.15, abs=0.012))
    assert ends(takeoff=early) == (pytest.approx(2.0 + half_a_frame - 0.15, abs=0.012), 3.4)
    assert ends(contact=unsure, takeoff=unsure) == (2.0, 3.4)
    assert ends() == (2.0, 3.4)
    scorer = make_scorer(tiny_model, reader=Reader(contact=(EndReading(*unsure), EndReading(*early))))
    surer = scorer.score(film, ScoreOptions(**OF_107B))  # once more, from where it was read
    assert surer.entry_start_s == pytest.approx(3.4 + half_a_frame - 0.15, abs=0.012)
    assert ends({"entry_s": 3.5, "takeoff_s": 1.9}, contact=early, takeoff=early) == (1.9, 3.5)  # a person says so
    found(make_flight(1.0, 3.8, time_scale=2.0))
    later = 3.8 + half_a_frame + 2 * 0.04
    assert ends(contact=(0.04, 0.01, 0.0, 9.0, 1.0)) == (1.0, pytest.approx(later, abs=0.012))


def test_a_flight_without_an_athlete_is_refused(tiny_model, make_scorer, film, found, make_flight):
    scorer = make_scorer(tiny_model, reader=Reader(seen=0.1))
    found(make_flight(2.0, 3.4))
    (verdict,) = scorer.assess(film, ScoreOptions(**OF_107B))
    assert (verdict.status, verdict.reason, verdict.athlete_seen) == ("refused", "athlete_not_seen", 0)
    assert all(frame.box is None for frame in verdict.athlete)
    assert scorer.score(film, ScoreOptions(**OF_107B, force=True)).forced.startswith("an athlete is recognised in 0 of")


def test_what_moves_like_an_athlete_and_is_recognised_as_none_is_refused(
    tiny_model, make_scorer, film, found, make_flight
):
    scorer = make_scorer(tiny_model, reader=Reader(recognised=0.1))  # a ball, a drawn figure
    for entry_s in (3.4, None):
        found(make_flight(2.0, entry_s, last_s=3.65))
        (verdict,) = scorer.assess(film, ScoreOptions(**OF_107B))
        assert (verdict.status, verdict.reason) == ("refused", "athlete_not_seen")
        assert "an athlete is recognised in 0 of" in verdict.message


def test_who_falls_beside_what_is_no_athlete_is_judged(tiny_model, make_scorer, film, found, make_flight):
    class Sees(Reader):
        """Sees nobody in the first dive that it is asked of."""

        def read_motion(self, windows, real_times_s, in_flight, moved=None):
            self.seen = 0.1 if self.asked == 0 else 1.0
            return super().read_motion(windows, real_times_s, in_flight, moved)

    panel, athlete = make_flight(2.0, 3.4, x=20.0), make_flight(2.1, 3.5, x=120.0, confidence=0.6)
    found(panel, athlete)
    scorer = make_scorer(tiny_model, reader=Sees())
    (verdict,) = scorer.assess(film, ScoreOptions(**OF_107B))
    assert (verdict.status, verdict.flight_start_s) == ("scored", 2.1)
    assert any("is no athlete" in note for note in verdict.notes)
    assert not any("athletes are in the air" in note for note in verdict.notes)
    scorer = make_scorer(tiny_model, reader=Reader())
    (verdict,) = scorer.assess(film, ScoreOptions(**OF_107B))
    assert verdict.flight_start_s == 2.0
    assert any("2 athletes are in the air" in note for note in verdict.notes)
    found(panel)
    (verdict,) = make_scorer(tiny_model, reader=Sees()).assess(film, ScoreOptions(**OF_107B))
    assert (verdict.status, verdict.reason) == ("refused", "athlete_not_seen")


def test_an_entry_that_the_search_did_not_find_is_where_the_reader_sees_it(
    tiny_model, make_scorer, film, found, make_flight
):
    def entry(last_s, *told):
        found(make_flight(2.0, None, first_s=2.0, last_s=last_s))
        contact = EndReading(*told)
        (verdict,) = make_scorer(tiny_model, reader=Reader(contact=contact)).assess(film, ScoreOptions(**OF_107B))
        return verdict.entry_start_s

    half_a_frame = 3.0 / 95
    assert entry(3.65, 0.05, 0.02, 3.0, 2.0, 0.99) == pytest.approx(3.45 + half_a_frame, abs=0.012)
    assert entry(3.65, 0.05, 0.02, 3.0, 2.0, 0.5) is None  # hardly water
    assert entry(3.65, 0.05, 0.12, 3.0, 2.0, 0.99) is None  # unsure when
    assert entry(3.65, 0.27, 0.02, 3.0, 2.0, 0.99) is None  # far from where the fall ends
    assert entry(6.0, 0.2, 0.02, 3.0, 2.0, 0.99) is None  # with the last frame of the film


def test_a_flight_that_meets_no_water_is_refused(tiny_model, make_scorer, film, found, make_flight):
    found(make_flight(2.0, 3.4))
    land, water = (EndReading(0.01, 0.01, 3.0, 2.0, probability) for probability in (0.05, 0.9))
    scorer = make_scorer(tiny_model, reader=Reader(contact=land))
    (verdict,) = scorer.assess(film, ScoreOptions(**OF_107B))
    assert (verdict.status, verdict.reason) == ("refused", "no_dive")
    assert "meets no water" in verdict.message
    assert "no water" in scorer.score(film, ScoreOptions(**OF_107B, force=True)).forced
    scorer = make_scorer(tiny_model, reader=Reader(contact=water))
    assert scorer.score(film, ScoreOptions(**OF_107B)).status == "scored"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (BodyInFlight(1.0, (5.0, 4.9), 0.30, 0.40), None),
        (BodyInFlight(1.0, (1.0, 0.9), 0.30, 0.40), None),
        (BodyInFlight(1.0, (0.1, 0.0), 0.30, 0.60), "no_dive"),
        (BodyInFlight(1.0, (0.1, 2.9), 0.30, 0.40), None),
        (BodyInFlight(1.0, (0.1, 0.0), 0.15, 0.40), None),
        (BodyInFlight(1.0, (0.17, 0.11), 0.22, 0.80), "no_dive"),
        (BodyInFlight(1.0, (0.25, 0.2), 0.22, 0.40), None),
        (BodyInFlight(1.0, (0.0, 0.1), 0.30, 0.40, 0.9), None),  # 600A: from the hands into the water
        (BodyInFlight(1.0, (0.08, 0.07), 0.22, 0.58, 0.46), None),  # 207C seen from in front
        (BodyInFlight(0.5, (0.1, 0.0), 0.30, 0.40), None),
        (BodyInFlight(0.6, (2.0, 2.0), 0.12, 0.01), "athlete_not_seen"),
        (BodyInFlight(1.0, (2.0, 2.0), 0.30, 1.50), "no_dive"),
        (None, None),
    ],
)
def test_what_falls_is_refused_where_it_is_no_body_of_the_wrong_size_or_does_not_turn(body, reason):
    refusal = refuse_unlike(AthleteTrack((), None, None, None, body))
    assert (refusal and refusal.reason) == reason


@pytest.mark.parametrize(
    ("halves", "water", "moment_sd_s", "reason"),
    [
        ((0.65, 0.06), 0.97, 0.02, "no_dive"),  # a hurdle on the board
        ((0.65, 0.06), 0.999, 0.02, None),
        ((0.65, 0.06), 0.999, 0.1, "no_dive"),  # players of a match, before a wall as blue as water
        ((3.1, 0.06), 0.97, 0.1, None),  # the track was lost, the joints turn
        ((0.65, 0.4), 0.97, 0.02, None),
        ((5.0, 4.9), 0.2, 0.02, "no_dive"),
    ],
)
def test_what_is_not_seen_to_turn_must_meet_water_surely(halves, water, moment_sd_s, reason):
    contact = EndReading(0.0, moment_sd_s, 3.0, 6.0, water)
    refusal = refuse_dry(SimpleNamespace(ends={"contact": contact}), BodyInFlight(1.0, halves, 0.19, 0.40, 0.41))
    assert (refusal and refusal.reason) == reason
    assert refuse_dry(SimpleNamespace(ends={}), None) is None


def test_points_of_a_window_lie_where_they_lie_in_the_picture():
    window = np.array([100.0, 50.0, 40.0])
    assert to_picture(np.array([[0, 0], [64, 64], [32, 16]]), window, 64).tolist() == [[80, 30], [120, 70], [100, 40]]


def test_the_athlete_is_the_largest_part_of_an_outline():
    outline = np.zeros((20, 20), np.float32)
    outline[2:12, 2:8] = 1
    outline[15:17, 15:17] = 1
    kept = largest_part(outline)
    assert kept[2:12, 2:8].all()
    assert not kept[15:].any()
    assert not largest_part(np.zeros((4, 4), np.float32)).any()
