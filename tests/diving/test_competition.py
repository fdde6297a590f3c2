import json
from importlib import resources

import pytest

from finecausal_cli.diving import heights_for, parse_dive_number
from finecausal_cli.diving.competition import (
    Quantiles,
    competition_marks,
    competition_statistics,
    describe_competition,
)
from finecausal_cli.simulator import DIVES

STATISTICS = competition_statistics()


def test_a_number_has_its_counts_its_mean_and_its_middle_nine_tenths():
    marks = competition_marks(parse_dive_number("107B"))
    assert marks is not None
    assert (marks.dives, marks.heights_m) == (324, {3.0: 85, 10.0: 87})
    assert marks.mean == pytest.approx(7.04, abs=0.005)
    assert marks.central() == (4.86, 8.5)
    assert marks.central(0.5) == (6.5, 8.0)


def test_a_number_is_described_in_one_line_as_far_as_it_was_counted():
    lines = {text: describe_competition(parse_dive_number(text)) for text in ("107B", "409C", "109B", "101A")}
    assert lines == {
        "107B": "107B in competition (324 dives): mean mark 7.04, 90% from 4.9 to 8.5",
        "409C": "409C in competition (6 dives): mean mark 7.36",
        "109B": "109B in competition (1 dive): too few to say",
        "101A": None,
    }
    assert describe_competition() == "all numbers in competition (3,000 dives): mean mark 7.13, 90% from 4.5 to 8.8"


def test_where_a_mark_stands_rises_with_it_and_equals_the_median_at_one_half():
    marks = competition_marks(parse_dive_number("107B"))
    assert marks is not None
    shares = [marks.share_below(tenth / 10) for tenth in range(101)]
    assert shares == sorted(shares)
    assert (shares[0], shares[100]) == (0.05, 0.95)  # what is beyond was not counted
    assert marks.share_below(7.33) == 0.5
    assert marks.share_below(7.5) == pytest.approx(0.625)  # stands at 60% and at 65%
    assert STATISTICS.all.share_below(10.0) == 1.0
    assert STATISTICS.all.share_below(7.33) == 0.5


def test_a_quantile_and_its_share_are_inverse_where_values_rise():
    quantiles = Quantiles((0.05, 0.5, 0.95), (4.0, 7.0, 9.0))
    assert quantiles.at(0.5) == 7.0
    assert quantiles.at(0.275) == pytest.approx(5.5)
    assert quantiles.share_below(5.5) == pytest.approx(0.275)
    assert (quantiles.at(0.0), quantiles.at(1.0)) == (4.0, 9.0)


def test_too_few_dives_have_no_distribution_and_those_not_counted_nothing():
    few = competition_marks(parse_dive_number("409C"))
    assert few is not None
    assert (few.dives, few.marks, few.central(), few.share_below(7.0)) == (6, None, None, None)
    assert competition_marks(parse_dive_number("101A")) is None
    assert STATISTICS.marks_of(parse_dive_number("101A")) is STATISTICS.marks_of(None) is STATISTICS.all


def test_the_numbers_are_those_of_finediving_and_their_counts_add_up():
    assert {str(number) for number in STATISTICS.numbers} == {str(parse_dive_number(text)) for text in DIVES}
    counts = [marks.dives for marks in STATISTICS.numbers.values()]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == STATISTICS.all.dives == 3000
    for number, marks in STATISTICS.numbers.items():
        assert sum(marks.heights_m.values()) <= marks.dives
        assert set(marks.heights_m) == {3.0, 10.0}
        assert heights_for(number)


def test_the_mean_of_the_numbers_is_that_of_all_dives():
    weighted = sum(marks.dives * marks.mean for marks in STATISTICS.numbers.values()) / STATISTICS.all.dives
    assert weighted == pytest.approx(STATISTICS.all.mean, abs=0.005)


def test_points_of_the_mean_mark():
    assert STATISTICS.marks_of(parse_dive_number("107B")).points(3.0) == pytest.approx(9 * 7.039)


def test_panels_differ_most_about_bad_dives():
    levels, deviations = zip(*STATISTICS.panel_sd, strict=True)
    assert levels == (0.0, 4.25, 5.75, 7.25, 8.25)
    assert list(deviations) == sorted(deviations, reverse=True)
    assert (deviations[0], deviations[-1]) == (0.671, 0.279)


def test_the_source_is_named_and_the_file_is_part_of_the_package():
    text = resources.files("finecausal_cli.diving").joinpath("competition_statistics.json").read_text(encoding="utf-8")
    assert "FineDiving (Xu et al., CVPR 2022" in json.loads(text)["source"] == STATISTICS.source
    assert STATISTICS.failed_share == 0.0017
    assert STATISTICS.stage_frames["takeoff"].at(0.5) == 29.0
