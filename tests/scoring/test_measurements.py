"""Measured facts against the physics of simulated dives, and what is left open where a clip cannot tell."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import get_args

import numpy as np
import pytest

from finecausal_cli.athlete import JOINT, JOINTS
from finecausal_cli.athlete.track import BodyTrack
from finecausal_cli.athlete.turns import count_turns
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.scoring.dives import LocatedDive, refine_time_scale
from finecausal_cli.scoring.measurements import REASONS, UNITS, Kinematics, ReadDive, measure_dive
from finecausal_cli.scoring.results import MeasurementReason
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
    # It is found half a frame late in films, and so it is read earlier than here.
    assert facts["entry_angle"] == pytest.approx(dive.seen.entry_deg, abs=12)
    assert facts["total_turn"] == pytest.approx(np.degrees(np.ptp(motion.somersault[air])), rel=0.03)
    velocity = np.gradient(height, motion.times[air])
    assert facts["takeoff_velocity"] == pytest.approx(velocity[1], abs=0.3)
    assert facts["entry_velocity"] == pytest.approx(-velocity[-2], abs=0.3)
    opened = motion.contact_s - motion.leave_s - motion.open_s
    assert facts["opening"] == pytest.approx(opened, abs=0.15)


def test_the_mirrored_picture_gives_the_same_facts() -> None:
    track = side_on(dived("205C", 3.0), camera_deg=25.0)
    plain, mirrored = values(track), values(track.mirrored())
    assert {name: value for name, value in mirrored.items() if value is not None} == pytest.approx(
        {name: value for name, value in plain.items() if value is not None}, abs=1e-4
    )


@pytest.mark.parametrize("lean_deg", [20.0, 75.0])
def test_a_body_that_leans_to_where_it_travels_leans_forward(lean_deg: float) -> None:
    track = side_on(dived("107B", 10.0))
    upright = track.joints_m.copy()
    angle = np.radians(lean_deg)
    at_takeoff = np.abs(track.times_s + 0.07) <= 0.09
    straight = np.zeros((len(JOINTS), 2), np.float32)
    straight[JOINT["neck"]] = 0.5 * np.sin(angle), 0.5 * np.cos(angle)
    for side in "lr":
        straight[JOINT[f"ankle_{side}"]] = -0.8 * np.sin(angle), -0.8 * np.cos(angle)
    upright[at_takeoff] = straight
    turns = count_turns(track)
    lean = {fact.name: fact for fact in measure_dive(replace(track, joints_m=upright), turns)}["takeoff_lean"]
    assert turns is not None
    if lean_deg > 60.0:  # nobody stands like that: it is no take-off
        assert (lean.value, lean.reason_kind) == (None, "not_seen")
    else:
        assert lean.value == pytest.approx(lean_deg, abs=2.0)  # the dive travels to the right, and so it leans


def test_the_height_gives_the_velocities_of_a_fall() -> None:
    dive = dived("205C", 3.0)
    track, motion = side_on(dive), dive.motion
    facts = {fact.name: fact.value for fact in measure_dive(track, height_m=3.0)}
    up, down = facts["takeoff_velocity"], facts["entry_velocity"]
    assert up is not None
    assert down is not None
    assert up + down == pytest.approx(9.81 * track.air_s)
    assert down**2 - up**2 == pytest.approx(2 * 9.81 * 2.9, rel=1e-6)  # 1.1 m above the board, 1.2 m above the water
    air = (motion.times >= motion.leave_s) & (motion.times <= motion.contact_s)
    assert up == pytest.approx(np.gradient(motion.centre[air][:, 2], motion.times[air])[1], abs=0.3)


@pytest.mark.parametrize(("number", "height_m"), [("107B", 10.0), ("205C", 3.0), ("407C", 10.0), ("6243D", 10.0)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_trunk_turns_without_a_jump_from_take_off_to_entry(number: str, height_m: float, mirrored: bool) -> None:
    dive = dived(number, height_m)
    track, motion = side_on(dive), dive.motion
    track = track.mirrored() if mirrored else track
    turns = count_turns(track, by_travel=True)
    assert turns is not None
    body = Kinematics.of(track, turns)
    air = (body.times_s >= 0) & (body.times_s <= track.air_s)
    true = np.degrees(motion.track(motion.somersault, body.times_s + motion.leave_s)) * motion.sense
    off = (body.trunk_deg - true)[air]
    # One convention: 0 upright, growing the way that the dive turns, whichever side the picture shows.
    assert np.abs(np.diff(body.trunk_deg[air])).max() < 60
    assert (
        np.abs(off - 360 * np.round(np.median(off) / 360)).max() < 45
    )  # the trunk bends at the waist, the pelvis turns
    assert body.trunk_deg[air][-1] > body.trunk_deg[air][0] + 500
    assert body.joints_m[air][-1, 0, 0] > body.joints_m[air][0, 0, 0]  # it travels to the right


def test_what_cannot_be_told_is_none_with_a_reason() -> None:
    nothing = measure_dive(None)
    assert [fact.name for fact in nothing] == list(UNITS)
    assert all(fact.value is None and fact.error is None for fact in nothing)
    assert {(fact.reason_kind, fact.reason) for fact in nothing} == {("not_read", REASONS["not_read"])}
    assert set(REASONS) == set(get_args(MeasurementReason))

    track = side_on(dived("107B", 10.0))
    unseen = {fact.name: fact for fact in measure_dive(replace(track, seen=0 * track.seen))}
    assert unseen["air_time"].value == pytest.approx(track.air_s)
    assert (
        unseen["rotation"].reason == "the athlete is not seen well enough in the air, or falls already at the take-off"
    )

    along = {fact.name: fact for fact in measure_dive(side_on(dived("107B", 10.0), camera_deg=88.0))}
    assert (along["rotation"].reason_kind, along["rotation"].reason) == (
        "camera_along",
        "the camera looks along the dive",
    )
    assert along["entry_angle"].value is not None  # as the picture shows it, with an error of its own
    assert along["takeoff_lean"].value is None
    assert along["rise"].value is not None

    assert values(track)["splash"] is None
    assert values(replace(track, splash=0.25))["splash"] == 0.25


def test_a_body_that_stays_straight_opens_nothing() -> None:
    straight = {fact.name: fact for fact in measure_dive(side_on(dived("101A", 3.0)))}
    assert straight["opening"].value is None
    assert straight["opening"].reason_kind == "never_closed"


def test_a_clip_without_take_off_or_entry_says_which_it_lacks() -> None:
    for takeoff_s, entry_s, kind in ((None, 2.0, "no_takeoff"), (1.0, None, "no_entry")):
        facts = ReadDive.of(LocatedDive(0.0, 3.0, takeoff_s, entry_s, 1.0), None).measure()
        assert {fact.reason_kind for fact in facts} == {kind}
        assert {fact.value for fact in facts} == {None}


def test_an_early_bend_shows_that_there_is_no_twist() -> None:
    assert values(side_on(dived("107B", 10.0)))["half_twists"] == 0
    twisting = {fact.name: fact for fact in measure_dive(side_on(dived("5152B", 3.0)))}
    assert twisting["half_twists"].reason_kind == "twists_hidden"


@pytest.mark.parametrize(("number", "height_m"), [("205C", 3.0), ("107B", 10.0), ("201B", 1.0)])
@pytest.mark.parametrize("seems", [2.2, 3.0])
def test_a_body_that_is_read_too_large_is_shown_more_slowly_than_was_thought(
    number: str, height_m: float, seems: float
) -> None:
    slow, real = 3.0, side_on(dived(number, height_m))
    wrong = slow / seems  # times and, by the pull of the fall, lengths that are too large
    read = replace(
        real,
        times_s=real.times_s * wrong,
        joints_m=real.joints_m * wrong**2,
        path_m=real.path_m * wrong**2,
        air_s=real.air_s * wrong,
    )
    flight = LocatedDive(0.0, 9.0, takeoff_s=2.0, entry_s=2.0 + slow * real.air_s, time_scale=seems)
    refined = refine_time_scale(flight, read)
    assert refined.time_scale == pytest.approx(slow, rel=0.06)
    assert refined.air_s == pytest.approx(real.air_s, rel=0.06)
    assert refined is flight or refined.notes[0].startswith(f"slow motion, about {refined.time_scale:.1f} times slower")


def test_the_length_of_a_body_is_that_of_its_bones() -> None:
    track = side_on(dived("301B", 3.0))
    assert track.segment_length_m() == pytest.approx(1.83, rel=0.12)
    assert replace(track, joints_m=2 * track.joints_m).segment_length_m() == pytest.approx(
        2 * (track.segment_length_m() or 0.0)
    )
    assert replace(track, seen=0 * track.seen).segment_length_m() is None
    at_life = LocatedDive(0.0, 9.0, takeoff_s=2.0, entry_s=3.4, time_scale=1.0)
    assert refine_time_scale(at_life, track) is at_life
