"""Measured facts against the physics of simulated dives, and what is left open where a clip cannot tell."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from finecausal_cli.athlete import JOINT, JOINTS
from finecausal_cli.athlete.track import BodyTrack
from finecausal_cli.athlete.turns import count_turns
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.scoring.measurements import UNITS, measure_dive
from finecausal_cli.simulator.athlete import JOINT as SIMULATED
from finecausal_cli.simulator.dive import SimulatedDive, simulate_dive


@cache
def dived(dive: str, height_m: float, seed: int = 3) -> SimulatedDive:
    return simulate_dive(parse_dive_number(dive), height_m, (11, seed))


def side_on(dive: SimulatedDive, camera_deg: float = 0.0) -> BodyTrack:
    """Return the true joints of a dive as seen from the side."""
    motion = dive.motion
    times = np.arange(motion.leave_s - 0.5, motion.contact_s + 0.3, 1 / 60)
    body = motion.body(times)[:, [SIMULATED["vertex" if name == "head" else name] for name in JOINTS]]
    angle = np.radians(camera_deg)
    seen = np.stack([body[..., 0] * np.cos(angle) + body[..., 1] * np.sin(angle), body[..., 2]], -1)
    ones = np.ones(len(times), np.float32)
    path = seen[:, 0] - seen[np.abs(times - motion.leave_s).argmin(), 0]
    joints = (seen - seen[:, :1]).astype(np.float32)
    sure = np.full(seen.shape[:2], 0.9, np.float32)
    air_s = motion.contact_s - motion.leave_s
    return BodyTrack(times - motion.leave_s, joints, sure, ones, path.astype(np.float32), 0.4 * ones, air_s)


def values(track: BodyTrack | None) -> dict[str, float | None]:
    return {fact.name: fact.value for fact in measure_dive(track)}


@pytest.mark.parametrize(("number", "height_m"), [("107B", 10.0), ("205C", 3.0), ("305C", 3.0), ("405C", 3.0)])
def test_facts_of_a_dive_from_the_side_are_those_of_its_physics(number: str, height_m: float) -> None:
    dive = dived(number, height_m)
    motion, facts = dive.motion, values(side_on(dive))
    air = (motion.times >= motion.leave_s) & (motion.times <= motion.contact_s)
    height = motion.centre[air, 2]
    assert facts["air_time"] == pytest.approx(motion.contact_s - motion.leave_s)
    assert facts["rise"] == pytest.approx(height.max() - height[0], abs=0.12)
    across = motion.centre[air][-1, 0] - motion.centre[air][0, 0]
    assert facts["distance"] == pytest.approx(across, abs=0.2)
    assert facts["half_somersaults"] == parse_dive_number(number).half_somersaults
    turned = np.degrees(np.abs(np.gradient(motion.somersault[air], motion.times[air])))
    assert facts["rotation"] == pytest.approx(turned.max(), rel=0.15)
    assert facts["entry_angle"] == pytest.approx(dive.seen.entry_deg, abs=18)  # of the pelvis, not of the whole body
    opened = motion.contact_s - motion.leave_s - motion.open_s
    assert facts["opening"] == pytest.approx(opened, abs=0.15)


def test_the_mirrored_picture_gives_the_same_facts() -> None:
    track = side_on(dived("205C", 3.0), camera_deg=25.0)
    plain, mirrored = values(track), values(track.mirrored())
    assert {name: value for name, value in mirrored.items() if value is not None} == pytest.approx(
        {name: value for name, value in plain.items() if value is not None}, abs=1e-4
    )


def test_a_body_that_leans_to_where_it_travels_leans_forward() -> None:
    track = side_on(dived("107B", 10.0))
    upright = track.joints_m.copy()
    angle = np.radians(20.0)
    at_takeoff = np.abs(track.times_s + 0.07) <= 0.09
    straight = np.zeros((len(JOINTS), 2), np.float32)
    straight[JOINT["neck"]] = 0.5 * np.sin(angle), 0.5 * np.cos(angle)
    for side in "lr":
        straight[JOINT[f"ankle_{side}"]] = -0.8 * np.sin(angle), -0.8 * np.cos(angle)
    upright[at_takeoff] = straight
    turns = count_turns(track)
    lean = {fact.name: fact.value for fact in measure_dive(replace(track, joints_m=upright), turns)}["takeoff_lean"]
    assert turns is not None
    assert lean == pytest.approx(20.0, abs=2.0)  # the dive travels to the right, and so it leans


def test_what_cannot_be_told_is_none_with_a_reason() -> None:
    nothing = measure_dive(None)
    assert [fact.name for fact in nothing] == list(UNITS)
    assert all(fact.value is None and fact.reason and fact.error is None for fact in nothing)

    track = side_on(dived("107B", 10.0))
    unseen = {fact.name: fact for fact in measure_dive(replace(track, seen=0 * track.seen))}
    assert unseen["air_time"].value == pytest.approx(track.air_s)
    assert (
        unseen["rotation"].reason == "the athlete is not seen well enough in the air, or falls already at the take-off"
    )

    along = {fact.name: fact for fact in measure_dive(side_on(dived("107B", 10.0), camera_deg=88.0))}
    assert along["entry_angle"].reason == "the camera looks along the dive"
    assert along["takeoff_lean"].value is None
    assert along["rise"].value is not None

    assert values(track)["splash"] is None
    assert values(replace(track, splash=0.25))["splash"] == 0.25


def test_a_body_that_stays_straight_opens_nothing() -> None:
    straight = {fact.name: fact for fact in measure_dive(side_on(dived("101A", 3.0)))}
    assert straight["opening"].value is None
    assert straight["opening"].reason == "the body is not closed long enough to open"
