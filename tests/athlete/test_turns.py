"""Counting turns: true joints of simulated dives, side on, oblique, mirrored, and what must rule nothing out."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from finecausal_cli.athlete import JOINTS
from finecausal_cli.athlete.track import BodyTrack
from finecausal_cli.athlete.turns import BodyTurns, body_inertia, count_turns
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import DiveNumberError
from finecausal_cli.simulator.athlete import JOINT as SIMULATED
from finecausal_cli.simulator.dive import simulate_dive

DIVES = (("107B", 10.0), ("205C", 3.0), ("305C", 3.0), ("405C", 3.0), ("626C", 10.0), ("5253B", 10.0), ("5152B", 3.0))


@cache
def filmed(dive: str, height_m: float, camera_deg: float = 20.0) -> BodyTrack:
    """Return the true joints of a simulated dive as a camera so far off the side sees them."""
    motion = simulate_dive(parse_dive_number(dive), height_m, (7, 3)).motion
    times = np.arange(motion.leave_s - 0.5, motion.contact_s + 0.3, 1 / 30)
    body = motion.body(times)[:, [SIMULATED["vertex" if name == "head" else name] for name in JOINTS]]
    angle = np.radians(camera_deg)
    seen = np.stack([body[..., 0] * np.cos(angle) + body[..., 1] * np.sin(angle), body[..., 2]], -1)
    ones = np.ones(len(times), np.float32)
    path = seen[:, 0] - seen[np.abs(times - motion.leave_s).argmin(), 0]
    return BodyTrack(
        times - motion.leave_s,
        (seen - seen[:, :1]).astype(np.float32),
        np.full(seen.shape[:2], 0.9, np.float32),
        ones,
        path.astype(np.float32),
        0.4 * ones,
        motion.contact_s - motion.leave_s,
    )


def counted(track: BodyTrack) -> BodyTurns:
    turns = count_turns(track)
    assert turns is not None
    return turns


@pytest.mark.parametrize(("dive", "height_m"), DIVES)
def test_half_somersaults_are_counted_and_the_number_is_allowed(dive: str, height_m: float) -> None:
    number, turns = parse_dive_number(dive), counted(filmed(dive, height_m))
    assert turns.half_somersaults[0] == number.half_somersaults
    assert turns.half_somersaults[1] > 0.5
    assert turns.allows(number)
    assert turns.rotation.halves.sum() == pytest.approx(1.0)


def test_other_turns_positions_directions_and_starts_are_ruled_out() -> None:
    turns = counted(filmed("305C", 3.0))
    assert set(turns.possible_half_somersaults) <= {4, 5, 6}
    ruled_out = {"303C": "too few", "307C": "too many", "205C": "the head tips to the board"}
    ruled_out |= {"405C": "it turns backwards", "635C": "it starts on the feet", "5353B": "it bends at once"}
    assert [number for number in ruled_out if turns.allows(number)] == []
    assert not counted(filmed("107B", 10.0)).allows("107C")  # straight knees


def test_what_was_counted_speaks_for_numbers_with_as_many_turns_and_not_at_all_for_what_it_rules_out() -> None:
    turns = counted(filmed("405C", 3.0))
    assert turns.log_evidence(parse_dive_number("405C")) == pytest.approx(0.0, abs=1e-9)
    assert turns.log_evidence(parse_dive_number("405C")) > turns.log_evidence(parse_dive_number("407C")) + 2
    assert turns.log_evidence(parse_dive_number("205C")) == -math.inf
    assert turns.rotation.likelihood.max() == 1.0


def test_who_leaves_the_board_bent_starts_on_the_feet_all_the_same() -> None:
    track = filmed("107B", 10.0)
    at = int(np.abs(track.times_s).argmin())
    trunk = track.joints_m[at, JOINTS.index("neck")] - track.joints_m[at, JOINTS.index("pelvis")]
    assert np.degrees(np.arctan2(abs(trunk[0]), trunk[1])) > 50  # nearly level
    feet, hands = counted(track), counted(filmed("626C", 10.0))
    assert (feet.on_hands, hands.on_hands) == (False, True)
    assert feet.rotation.halves[:, 1].sum() < 0.01


def test_nobody_leaps_from_an_armstand() -> None:
    track = filmed("626C", 10.0)
    leapt = replace(track, path_m=(track.path_m + np.outer(3.0 * track.times_s, [0.0, 1.0])).astype(np.float32))
    assert counted(track).rotation.halves[:, 1].sum() > 0.95
    assert counted(leapt).rotation.halves[:, 1].sum() < 0.6
    assert (counted(track).allows("626C"), counted(leapt).allows("626C")) == (True, False)


def test_the_mirrored_picture_shows_the_same_dive() -> None:
    track = filmed("205C", 3.0)
    plain, mirrored = counted(track), counted(track.mirrored())
    assert mirrored.half_somersaults == pytest.approx(plain.half_somersaults, abs=1e-6)
    assert mirrored.shape.front == pytest.approx(plain.shape.front, abs=1e-6)
    assert mirrored.shape.away == pytest.approx(plain.shape.away, abs=1e-6)
    assert mirrored.rotation.counter_clockwise == pytest.approx(1 - plain.rotation.counter_clockwise, abs=1e-6)


def test_a_camera_along_the_dive_rules_out_no_direction_and_no_position() -> None:
    turns = counted(filmed("107B", 10.0, camera_deg=87.0))
    assert turns.rotation.camera < 0.35
    assert all(turns.allows(number) for number in ("107B", "207C", "307C", "407B"))


def test_a_body_read_upside_down_in_a_tenth_of_the_frames_is_counted_all_the_same() -> None:
    track = filmed("107B", 10.0)
    joints = track.joints_m.copy()
    joints[::10] *= -1
    assert counted(replace(track, joints_m=joints)).half_somersaults[0] == 7


def test_without_the_athlete_nothing_is_counted() -> None:
    track = filmed("107B", 10.0)
    assert count_turns(replace(track, seen=0 * track.seen)) is None
    assert count_turns(replace(track, times_s=np.linspace(-3, 40, len(track.times_s)))) is None


def test_a_flight_that_begins_too_late_is_not_counted() -> None:
    track = filmed("107B", 10.0)
    late = replace(track, times_s=track.times_s - 0.7, air_s=track.air_s - 0.7)
    assert count_turns(late) is None


def test_what_is_no_number_is_an_error() -> None:
    with pytest.raises(DiveNumberError):
        counted(filmed("107B", 10.0)).allows("907B")


def test_the_inertia_of_a_body_drawn_out_to_twice_its_length_is_fourfold() -> None:
    joints = np.random.default_rng(0).normal(size=(5, len(JOINTS), 2))
    centre, inertia = body_inertia(joints)
    moved, larger = body_inertia(2 * joints + 3)
    assert larger == pytest.approx(4 * inertia)
    assert moved == pytest.approx(2 * centre + 3)
