from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest
from pydantic import ValidationError

from finecausal_cli.simulator.backdrop import (
    FAR_BOTTOM_M,
    FAR_LEFT_M,
    FAR_RATE,
    FAR_RIGHT_M,
    FAR_TOP_M,
    STYLES,
    read_venues,
    row,
)
from finecausal_cli.simulator.venue import draw_venue


def drawn(seed, style=None):
    return draw_venue(np.random.default_rng(seed), style)


@pytest.fixture(scope="module")
def one_of_each():
    return [drawn(7, style) for style in range(len(STYLES))]


def test_there_are_at_least_ten_kinds_of_venue_with_names_of_their_own():
    assert len({style.name for style in STYLES}) == len(STYLES) >= 10


def test_kinds_differ_in_towers_railings_backdrops_and_surroundings():
    assert {style.tower for style in STYLES} == {"block", "columns", "slab", "stairs", "truss"}
    assert {style.rail for style in STYLES} == {"bars", "mesh", "panel", "glass"}
    assert {style.land for style in STYLES} == {"", "trees", "skyline", "mountains", "stands"}
    assert len({style.backdrop for style in STYLES}) == 8


def test_every_two_kinds_differ_in_backdrop_or_water(one_of_each):
    def colours(venue):
        bands = [band.reshape(-1, 3).mean(axis=0) for band in np.array_split(venue.far, 4)]
        return np.concatenate([*bands, venue.ripples.reshape(-1, 3).mean(axis=0)])

    for first, second in combinations(one_of_each, 2):
        assert np.abs(colours(first) - colours(second)).max() > 12, (first.style.name, second.style.name)


def test_water_runs_from_turquoise_to_dark_blue_and_green(one_of_each):
    red, green, blue = np.array([venue.ripples.reshape(-1, 3).mean(axis=0) for venue in one_of_each]).T
    assert (blue > 1.3 * green).any()
    assert (green > blue).any()
    assert np.ptp(red + green + blue) > 200


def test_one_seed_gives_one_venue_and_another_seed_another(one_of_each):
    again, other = drawn(7, 3), drawn(8, 3)
    np.testing.assert_array_equal(again.far, one_of_each[3].far)
    np.testing.assert_array_equal(again.ripples, one_of_each[3].ripples)
    assert again.gain == one_of_each[3].gain != other.gain
    assert np.abs(other.far.astype(int) - again.far).mean() > 5


def test_a_drawn_kind_leaves_the_rest_of_the_draw_alone():
    """The kind that is asked for takes the place of one that is drawn, so that venues can be swapped one for one."""
    free = drawn(5)
    fixed = drawn(5, STYLES.index(free.style))
    np.testing.assert_array_equal(free.far, fixed.far)
    assert free.noise == fixed.noise


def test_all_kinds_come_up():
    numbers = [int(np.random.default_rng(seed).integers(len(STYLES))) for seed in range(100)]
    assert set(numbers) == set(range(len(STYLES)))


def test_the_far_layer_covers_its_extent(one_of_each):
    height, width = (FAR_TOP_M - FAR_BOTTOM_M) * FAR_RATE, (FAR_RIGHT_M - FAR_LEFT_M) * FAR_RATE
    for venue in one_of_each:
        assert venue.far.shape == (height, width, 3)
        assert venue.far.dtype == np.uint8
    assert row(FAR_TOP_M) == 0
    assert row(FAR_TOP_M - 2) == 2 * FAR_RATE


def test_the_camera_sees_colours_through_white_balance_and_exposure(one_of_each):
    venue = one_of_each[0]
    red, green, blue = venue.seen((100, 100, 100))
    assert (red, green, blue) == tuple(int(100 * g) for g in venue.gain)
    assert max(venue.seen((255, 255, 255))) <= 255


def test_the_file_of_venues_holds_what_dives_were_drawn_with():
    """Datasets are made again from their seed: colours and shares stay to the last digit."""
    values = json.dumps([asdict(style) for style in STYLES], sort_keys=True).encode()
    assert hashlib.sha256(values).hexdigest() == "640dbe21188f9e4d479260997a0714999a435183778e67dffe2d0ce5c26f79a2"


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("wall = [[1, 2, 3], [4, 5, 256]]", "wall.1.2"),
        ('tower = "tent"', "tower"),
        ("water = [[1, 2, 3]]", "water"),
        ("clouds = 3", "clouds"),
    ],
)
def test_a_wrong_field_of_a_venue_is_named(line, field):
    good = {
        "name": '"a"', "backdrop": '"sky"', "wall": "[[1, 2, 3], [4, 5, 6]]", "water": "[[1, 2, 3], [4, 5, 6]]",
        "accent": "[[1, 2, 3]]", "deck": "[1, 2, 3]", "crowd": "0.1", "gain": "1.0", "warmth": "0.0", "light": "0.5",
        "tower": '"slab"', "rail": '"bars"',
    }  # fmt: skip
    key, _, value = line.partition(" = ")
    text = "[[venue]]\n" + "\n".join(f"{name} = {content}" for name, content in (good | {key: value}).items())
    with pytest.raises(ValidationError) as caught:
        read_venues(text)
    assert f"venue.0.{field}" in str(caught.value)
