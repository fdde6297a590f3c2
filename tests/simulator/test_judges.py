from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finecausal_cli.simulator.athlete import STAGE_FAULTS, Faults
from finecausal_cli.simulator.judging import deductions, judge, splash_size

DIVE_FOR = {"unsteady_start": ("614B", 10.0), "crossed_twist": ("5253B", 10.0)}


@pytest.mark.parametrize(("stage", "fault"), [(stage, name) for stage, names in STAGE_FAULTS.items() for name in names])
def test_a_fault_costs_points_in_its_own_stage(simulate, stage, fault):
    number, height_m = DIVE_FOR.get(fault, ("107C", 10.0))
    costs = [deductions(simulate(number, height_m, **{fault: size}).seen)[stage] for size in (0.0, 0.5, 1.0)]
    assert costs[0] + 0.05 < costs[1] < costs[2]


@pytest.mark.parametrize("fault", [name for names in STAGE_FAULTS.values() for name in names])
def test_the_worse_a_fault_the_lower_the_mean_mark(simulate, fault):
    number, height_m = DIVE_FOR.get(fault, ("107C", 10.0))
    means = []
    for size in (0.0, 0.35, 0.7, 1.0):
        seen = simulate(number, height_m, **{fault: size}).seen
        rng = np.random.default_rng(7)  # the same judges
        means.append(np.mean([judge(rng, seen, 7) for _ in range(300)]))
    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 0.3


def test_a_clean_dive_loses_almost_nothing(simulate):
    for number in ("107B", "205C", "5253B", "626C"):
        assert sum(deductions(simulate(number, 10.0).seen).values()) < 0.3


@pytest.mark.parametrize("judges", [3, 5, 7])
def test_marks_are_half_points_about_what_was_seen(simulate, judges):
    seen = simulate("107B", 10.0, big_splash=0.5, loose_position=0.5).seen
    merit = 10 - sum(deductions(seen).values())
    rng = np.random.default_rng(1)
    panels = np.array([judge(rng, seen, judges) for _ in range(400)])
    assert panels.shape == (400, judges)
    assert np.all(panels * 2 == np.round(panels * 2))
    assert panels.mean() == pytest.approx(merit, abs=0.05)
    # bias 0.12, noise 0.3 and rounding to half points (0.5 / sqrt(12) = 0.144) add up to 0.35
    assert panels.std() == pytest.approx(0.35, abs=0.04)


def test_a_failed_dive_gets_nothing(simulate):
    seen = replace(simulate("107B", 10.0).seen, failed=True)
    assert judge(np.random.default_rng(0), seen, 7) == [0.0] * 7


def test_splash_grows_with_angle_arch_arms_and_hands():
    rip = splash_size(0.0, 0.0, Faults(), head_first=True)
    assert rip < 0.06
    assert splash_size(25.0, 0.0, Faults(), head_first=True) == splash_size(-25.0, 0.0, Faults(), head_first=True) > 0.3
    for fault in ("arched_entry", "arms_apart", "big_splash"):
        assert splash_size(0.0, 0.0, Faults(**{fault: 1.0}), head_first=True) > rip + 0.15
    assert splash_size(90.0, 90.0, Faults(big_splash=1.0), head_first=False) == 1.0
