from __future__ import annotations

import numpy as np
import pytest

from finecausal_cli.diving import heights_for, parse_dive_number
from finecausal_cli.simulator.recording import DIVES
from finecausal_cli.simulator.render import SceneConfig, render


@pytest.mark.slow
@pytest.mark.parametrize("number", DIVES)
def test_every_dive_of_finediving_is_drawn_at_every_height_where_it_is_listed(simulate, number):
    for height_m in heights_for(parse_dive_number(number)):
        dive = simulate(number, height_m)
        middle = (dive.twist_start + dive.entry_start) // 2
        chosen = [dive.twist_start, middle, dive.entry_start - 1]
        for frame, mask in render(dive, SceneConfig.draw((4, 4)), chosen):
            assert frame.shape == (256, 456, 3)
            rows, columns = np.nonzero(mask)
            # The athlete is in the picture, of a person's size, and whole: not cut by its edge at both ends.
            assert 400 < len(rows) < 12000, (number, height_m)
            assert np.ptp(rows) < 230
            assert columns.min() > 0
            assert columns.max() < 455
