"""What is said of number, height, difficulty and interval, worked by hand; no network."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from finecausal_cli.errors import UsageError
from finecausal_cli.retrieval.voting import Choice
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.assessment import (
    Height,
    air_range_s,
    build_candidates,
    build_competition,
    build_interval,
    is_number_sure,
    resolve_degree,
    tell_height,
)
from finecausal_cli.scoring.dives import LocatedDive
from finecausal_cli.scoring.results import Familiarity
from finecausal_cli.weights import StoredInterval

STORED = StoredInterval(level=0.9, execution_half_width=1.5)
BANK = SimpleNamespace(
    exemplars=[SimpleNamespace(id="sim-1", difficulty=2.9), SimpleNamespace(id="sim-2", difficulty=3.1)]
)
UNKNOWN = Height(None, "not known")


def dive(air_s: float, time_scale: float | None = 1.0, *, drop_m: float | None = None) -> LocatedDive:
    entry_s, flight = 2.0 + air_s * (time_scale or 1.0), SimpleNamespace(drop_m=lambda takeoff_s, entry_s: drop_m)
    return LocatedDive(0.0, 9.0, takeoff_s=2.0, entry_s=entry_s, time_scale=time_scale, flight=flight)  # type: ignore[arg-type]


def choice(
    dive: str | None = "107B", *, is_sure: bool = True, candidates: tuple[tuple[str, float], ...] = ()
) -> Choice:
    return Choice((0, 1), (0.1, 0.8), "named", dive, "given", (), is_sure, candidates)


def degree(of: Choice, options: ScoreOptions | None = None, height: Height = UNKNOWN, *, is_sure: bool = True):
    return resolve_degree(BANK, of, options or ScoreOptions(), height, is_sure=is_sure)  # type: ignore[arg-type]


def test_free_fall_gives_the_time_in_the_air() -> None:
    # From 3 m 0.3 m up take 0.247 s and 3.2 m down 0.808 s, 1.3 m up 0.515 s and 4.2 m down 0.925 s.
    assert air_range_s(3.0) == pytest.approx((1.055, 1.440), abs=1e-3)
    # From 10 m 0.2 m up take 0.202 s and 10.1 m down 1.435 s, 0.6 m up 0.350 s and 10.5 m down 1.463 s.
    assert air_range_s(10.0) == pytest.approx((1.637, 1.813), abs=1e-3)
    assert air_range_s(10.0, armstand=True) < air_range_s(10.0)


@pytest.mark.parametrize(
    ("air_s", "number", "metres", "candidates"),
    [
        (1.70, "107B", 10.0, (10.0,)),
        (1.60, "107B", None, (10.0, 7.5)),
        (1.38, "107B", 3.0, (3.0,)),
        (1.50, "626C", 10.0, (10.0,)),  # an armstand dive hardly rises
        (1.50, None, None, (10.0, 3.0, 7.5)),  # which may be one
    ],
)
def test_the_height_is_told_where_one_is_much_likelier(
    air_s: float, number: str | None, metres: float | None, candidates: tuple[float, ...]
) -> None:
    height = tell_height(None, number, dive(air_s))
    assert height.metres == metres
    assert set(height.candidates) == set(candidates)
    assert height.source.startswith("not sure: " if metres is None else "told from the ")


def test_the_depth_of_the_fall_tells_what_the_time_leaves_open() -> None:
    assert tell_height(None, None, dive(1.50)).metres is None
    assert tell_height(None, None, dive(1.50, drop_m=3.5)).metres == 3.0
    deep = tell_height(None, None, dive(1.50, drop_m=10.4))
    assert deep.metres == 10.0
    assert deep.source == "told from the 1.50 s in the air and a fall of 10.4 m"
    against = tell_height(None, "107B", dive(1.70, drop_m=3.0))  # one of the two is wrong
    assert against.metres is None
    assert {3.0, 10.0} <= set(against.candidates)
    slow = tell_height(None, None, dive(1.50, time_scale=4.0, drop_m=3.5))  # whose time was told from the fall
    assert slow == tell_height(None, None, dive(1.50, time_scale=4.0))


def test_a_given_height_needs_no_time() -> None:
    assert tell_height(7.5, None, None) == Height(7.5, "given", (7.5,))


def test_nothing_tells_the_height_without_a_real_time() -> None:
    assert tell_height(None, "107B", None).candidates == ()
    assert tell_height(None, "107B", dive(1.7, time_scale=None)).candidates == ()
    assert tell_height(None, "107B", LocatedDive(0.0, 9.0, takeoff_s=2.0)).candidates == ()
    assert "fit no height" in tell_height(None, "107B", dive(4.0)).source


def test_where_every_height_is_possible_none_is_named() -> None:
    height = tell_height(None, None, dive(1.30, time_scale=3.0))
    assert height.source == "not known from the 1.30 s in the air, slow motion"


def test_in_slow_motion_no_height_is_sure() -> None:
    height = tell_height(None, "107B", dive(1.72, time_scale=4.0))
    assert height.metres is None
    assert 10.0 in height.candidates
    assert len(height.candidates) > 1
    assert "slow motion" in height.source


def test_a_given_difficulty_gives_points_without_a_number() -> None:
    found = degree(choice(None, is_sure=False), ScoreOptions(difficulty=2.5), is_sure=False)
    assert (found.difficulty, found.source, found.withheld) == (2.5, "given", None)


def test_a_number_that_is_not_sure_gives_no_points() -> None:
    found = degree(choice("107B", is_sure=False), height=Height(10.0, "given", (10.0,)), is_sure=False)
    assert found.difficulty is None
    assert "--dive" in str(found.withheld)


def test_the_list_gives_the_difficulty_at_a_sure_height() -> None:
    found = degree(choice(), height=Height(10.0, "told from the 1.70 s in the air", (10.0,)))
    assert (found.difficulty, found.bounds) == (3.0, None)
    assert found.source == "listed for 107B at 10 m, told from the 1.70 s in the air"


def test_heights_of_one_difficulty_need_not_be_told_apart() -> None:
    found = degree(choice("103B"), height=Height(None, "not sure", (10.0, 7.5)))
    assert found.bounds is None
    assert found.source == "listed for 103B at 10 m and 7.5 m alike"


def test_heights_of_two_difficulties_give_a_range() -> None:
    found = degree(choice(), height=Height(None, "not sure", (10.0, 3.0)))
    assert (found.difficulty, found.bounds) == (3.0, (3.0, 3.1))
    assert found.source == "listed for 107B at 10 m, the likeliest height; 3.1 at 3 m: give --height"


def test_the_most_similar_voter_is_the_last_resort_and_says_so() -> None:
    found = degree(choice())
    assert found.difficulty == 3.1  # of the more similar of the two
    assert found.source == "that of the most similar voter, sim-2, as the height is not known: give --height"
    assert found.bounds is not None


def test_a_named_dive_that_is_not_listed_at_its_height_is_wrong_usage() -> None:
    options = ScoreOptions(dive="5255B", height_m=1.0)
    with pytest.raises(UsageError, match="no listed difficulty"):
        degree(choice("5255B"), options, Height(1.0, "given", (1.0,)))
    recognised = degree(choice("5255B"), ScoreOptions(height_m=1.0), Height(1.0, "given", (1.0,)))
    assert recognised.difficulty is None
    assert "no listed difficulty at 1 m" in str(recognised.withheld)


def test_candidates_say_what_each_would_give() -> None:
    unsure = choice(None, is_sure=False, candidates=(("107B", 0.5), ("5255B", 0.2), ("other", 0.1)))
    first, second, third = build_candidates(unsure, Height(1.0, "given", (1.0,)), 20.0)
    assert (second.difficulty, second.score) == (None, None)
    assert (third.difficulty, third.score) == (None, None)
    assert first.probability == 0.5
    first, *_ = build_candidates(unsure, Height(None, "not sure", (10.0, 3.0)), 20.0)
    assert (first.difficulty, first.score) == ((3.0, 3.1), (60.0, 62.0))


def test_competition_facts_need_a_number_and_a_place_among_them_points() -> None:
    found = build_competition("107B", 8.5)
    assert found is not None
    assert (found.dives, round(found.mean_mark, 2)) == (324, 7.04)
    assert "107B in competition (324 dives): mean mark 7.04" in found.text
    assert found.better_than is not None
    assert found.better_than > 0.9
    placed = build_competition("107B", None)
    assert placed is not None
    assert placed.better_than is None
    assert build_competition(None, 8.0) is None
    assert build_competition("XYZ", 8.0) is None


@pytest.mark.parametrize(("distance", "factor"), [(0.4, 1.0), (1.0, 1.0), (1.5, 1.6)])
def test_the_interval_is_widened_between_the_calibration_dives_and_the_limit(distance: float, factor: float) -> None:
    found, withheld, by = build_interval(STORED, 20.0, 3.0, Familiarity(distance=distance, limit=2.0, factor=1.6))
    assert found is not None
    assert (withheld, by) == (None, factor)
    assert (found.low, found.high) == pytest.approx((60 - 4.5 * factor, 60 + 4.5 * factor))


def test_beyond_the_limit_the_interval_is_withheld_and_a_recognised_number_not_sure() -> None:
    far = Familiarity(distance=2.3, limit=2.0, factor=1.6)
    found, withheld, _ = build_interval(STORED, 20.0, 3.0, far)
    assert found is None
    assert withheld == "the clip is 2.3 times farther from the calibration dives than 95% of them"
    assert not is_number_sure(choice(candidates=(("107B", 0.97),)), far)
    assert is_number_sure(choice(candidates=(("107B", 0.97),)), None)
    assert is_number_sure(choice(), far)  # given by a person


def test_no_interval_leaves_what_judges_can_give() -> None:
    found, _, _ = build_interval(STORED, 29.5, 2.0)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((56.0, 60.0))
    found, _, _ = build_interval(STORED, 20.0, 3.0, bounds=(2.8, 3.4))  # by the heights that are possible
    assert found is not None
    assert (found.low, found.high) == pytest.approx((18.5 * 2.8, 21.5 * 3.4))
    found, _, _ = build_interval(STORED, 1.0, None)
    assert found is not None
    assert (found.low, found.high, found.unit) == (0.0, pytest.approx(2.5 / 3), "marks")
