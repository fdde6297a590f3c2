from __future__ import annotations

import json

import numpy as np
import pytest

from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator.dive import simulate_dive
from finecausal_cli.simulator.recording import plan_dataset


def test_score_is_the_counting_marks_times_the_difficulty(sample):
    for dive in sample:
        drop = {3: 0, 5: 1, 7: 2}[len(dive.marks)]
        kept = sorted(dive.marks)[drop : len(dive.marks) - drop]
        assert len(kept) == 3
        assert dive.score == pytest.approx(sum(kept) * dive.difficulty, abs=0.006)


def test_clips_are_as_long_as_real_ones_and_cut_as_the_network_expects(sample):
    frames = np.array([dive.frames for dive in sample])
    assert frames.min() >= 63
    assert frames.max() <= 270
    assert 90 < np.median(frames) < 110  # FineDiving: 101
    for dive in sample:
        assert 5 < dive.twist_start < dive.frames / 2 < dive.entry_start < dive.frames - 10


def test_stage_boundaries_are_the_first_frames_after_the_event(sample):
    for dive in sample[:20]:
        for boundary, event in ((dive.twist_start, dive.motion.leave_s), (dive.entry_start, dive.motion.contact_s)):
            assert (boundary - 1) / 25 < event <= boundary / 25 + 1e-9


def test_the_same_seed_gives_the_same_dive():
    number = parse_dive_number("5253B")
    once, again, other = (simulate_dive(number, 3.0, seed) for seed in ((4, 1), (4, 1), (4, 2)))
    assert once.record() == again.record()
    assert once.record()["faults"] != other.record()["faults"]


def test_changing_a_fault_changes_neither_athlete_nor_intention(simulate):
    clean, late = simulate("107B", 10.0), simulate("107B", 10.0, late_opening=0.9)
    assert clean.motion.athlete == late.motion.athlete
    assert clean.motion.leave_s == late.motion.leave_s
    assert clean.motion.planned_open_s == late.motion.planned_open_s
    assert late.seen.late_s > clean.seen.late_s + 0.05


def test_the_record_is_plain_json_with_causes_and_marks(simulate):
    record = json.loads(json.dumps(simulate("107B", 10.0, big_splash=0.25).record()))
    assert record["dive"] == "107B"
    assert record["faults"]["big_splash"] == 0.25
    assert set(record["deductions"]) == {"takeoff", "flight", "entry"}
    assert len(record["judges"]) in (3, 5, 7)


def test_a_height_that_no_board_has_is_named_by_its_flag():
    with pytest.raises(UsageError, match=r"^--height: no board or platform is 4 m high \(metres: 1, 3, 5, 7.5 or 10\)"):
        plan_dataset(1, height_m=4.0)


def test_a_dive_that_is_not_listed_at_a_height_is_refused_with_the_heights_it_has():
    with pytest.raises(UsageError, match=r"109B is not listed at 1 m.*3, 10"):
        simulate_dive(parse_dive_number("109B"), 1.0, (0,))
