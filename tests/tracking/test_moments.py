from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from finecausal_cli.tracking.ballistic import BallisticSearch, Paths, apex
from finecausal_cli.tracking.camera import chain, measure_steps
from finecausal_cli.tracking.motion import motion_heat
from finecausal_cli.tracking.transitions import (
    CHANNELS,
    DOWN_M,
    MOMENTS_S,
    Moments,
    find_moments,
    read_moments,
    refine,
    strip_along,
)

from .conftest import ENTRY_S, FPS, TAKEOFF_S, Film


@pytest.fixture(scope="module")
def found(dive: Film) -> tuple[BallisticSearch, Paths]:
    pictures = np.stack(dive.frames)
    with ThreadPoolExecutor(2) as pool:
        camera = chain(np.arange(len(pictures)) / FPS, measure_steps(pictures, pool))
        search = BallisticSearch(motion_heat(pictures, camera, pool))
    return search, search.find().take(np.array([0]))


def test_the_athlete_is_a_level_band_in_the_middle_of_the_strip(found: tuple[BallisticSearch, Paths]) -> None:
    strip = strip_along(*found)
    assert strip.shape == (CHANNELS, len(DOWN_M), len(MOMENTS_S))
    assert strip.min() >= 0
    assert strip.max() <= 1
    in_air = (MOMENTS_S > -0.1) & (MOMENTS_S < 0.8)
    band, away = np.abs(DOWN_M) < 0.3, np.abs(DOWN_M) > 1.5
    clear = strip[2][:, in_air]
    assert clear[band].mean() > 3 * clear[away].mean()


def test_both_moments_are_read_in_the_strip(found: tuple[BallisticSearch, Paths]) -> None:
    search, path = found[0], refine(*found)[0]
    moments = read_moments(strip_along(search, path))
    assert moments.takeoff.sum() == pytest.approx(1)
    assert moments.entry.sum() == pytest.approx(1)
    takeoff, entry = find_moments(moments)
    highest_s = float(search.times[path.middle[0]] + apex(path)[0])
    # An ellipse that rises from a crouch is no body that leaves a board.
    assert highest_s + takeoff == pytest.approx(TAKEOFF_S, abs=0.2)
    assert highest_s + entry == pytest.approx(ENTRY_S, abs=0.08)


def test_nothing_is_entered_before_it_is_left() -> None:
    late, early = (np.exp(-(((MOMENTS_S - at) / 0.1) ** 2)) for at in (1.5, 0.5))
    takeoff, entry = find_moments(Moments(late / late.sum(), early / early.sum()))
    assert takeoff < entry
