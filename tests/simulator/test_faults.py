from __future__ import annotations

import numpy as np
import pytest

from finecausal_cli.diving import parse_dive_number
from finecausal_cli.simulator.athlete import STAGE_FAULTS, Faults, draw_faults, draw_quality


def draws(number: str, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng, dive = np.random.default_rng(3), parse_dive_number(number)
    quality = [draw_quality(rng) for _ in range(count)]
    faults = [draw_faults(rng, dive, q).as_dict() for q in quality]
    return np.array(quality), {name: np.array([f[name] for f in faults]) for name in faults[0]}


def test_every_fault_but_the_lost_dive_belongs_to_one_stage():
    named = [name for names in STAGE_FAULTS.values() for name in names]
    assert list(STAGE_FAULTS) == ["takeoff", "flight", "entry"]
    assert sorted([*named, "lost"]) == sorted(Faults().as_dict())


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_fault_outside_its_range_is_refused(value: float):
    with pytest.raises(ValueError, match="big_splash"):
        Faults(big_splash=value)


def test_good_dives_have_smaller_faults_but_not_the_same_ones():
    quality, faults = draws("107B", 1500)
    loose, splash = faults["loose_position"], faults["big_splash"]
    for values in (loose, splash):
        assert -0.7 < np.corrcoef(quality, values)[0, 1] < -0.2
    assert 0.05 < np.corrcoef(loose, splash)[0, 1] < 0.5


def test_opposite_faults_exclude_each_other():
    _, faults = draws("107B", 300)
    assert not np.any((faults["short_rotation"] > 0) & (faults["over_rotation"] > 0))
    assert not np.any((faults["leaning_takeoff"] > 0) & (faults["close_to_board"] > 0))


def test_only_a_twisting_dive_can_cross_its_twist():
    assert draws("107B", 100)[1]["crossed_twist"].max() == 0
    assert draws("5253B", 100)[1]["crossed_twist"].max() > 0


def test_few_dives_are_lost():
    _, faults = draws("107B", 3000)
    assert 0 < faults["lost"].mean() < 0.01
