from __future__ import annotations

from math import degrees, pi, sqrt

import numpy as np
import pytest

from finecausal_cli.diving import heights_for, listed_dives, parse_dive_number
from finecausal_cli.simulator.athlete import JOINT, Athlete, Faults, Pose, Style
from finecausal_cli.simulator.dive import simulate_dive
from finecausal_cli.simulator.judging import deductions
from finecausal_cli.simulator.motion import Motion, flight_time
from finecausal_cli.simulator.recording import DIVES
from finecausal_cli.simulator.stance import Stance

SAMPLE = [
    ("107B", 10.0),
    ("109C", 3.0),
    ("207C", 7.5),
    ("305C", 1.0),
    ("403B", 3.0),
    ("5253B", 10.0),
    ("5337D", 3.0),
    ("626C", 10.0),
    ("6243D", 5.0),
    ("101A", 5.0),
    ("402C", 1.0),
    ("113B", 3.0),
]
FAULTY = {"low_takeoff": 0.7, "loose_position": 0.6, "knees_apart": 0.5, "arched_entry": 0.4}


def points_in_flight(motion: Motion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Point masses [N, P, 3] in the world, from joints that the motion places, at 500 Hz in flight."""
    times = np.arange(motion.leave_s + 0.002, motion.contact_s - 0.002, 0.002)
    points, mass = motion.athlete.masses(motion.body(times))
    return times, points, mass


@pytest.mark.parametrize(("number", "height_m"), SAMPLE)
@pytest.mark.parametrize("faults", [{}, FAULTY], ids=["clean", "faulty"])
def test_centre_of_mass_flies_a_parabola(simulate, number, height_m, faults):
    times, points, mass = points_in_flight(simulate(number, height_m, **faults).motion)
    centre = np.einsum("npc,p->nc", points, mass) / mass.sum()
    since = times - times[0]
    rise = np.polyfit(since, centre[:, 2] + 0.5 * 9.81 * since**2, 1)
    np.testing.assert_allclose(centre[:, 2], np.polyval(rise, since) - 0.5 * 9.81 * since**2, atol=0.01)
    np.testing.assert_allclose(centre[:, 0], np.polyval(np.polyfit(since, centre[:, 0], 1), since), atol=0.01)
    np.testing.assert_allclose(centre[:, 1], centre[0, 1], atol=0.01)


@pytest.mark.parametrize(("number", "height_m"), SAMPLE)
def test_angular_momentum_is_constant_in_flight(simulate, number, height_m):
    motion = simulate(number, height_m, **FAULTY).motion
    times = motion.times[(motion.times > motion.leave_s + 0.01) & (motion.times < motion.contact_s - 0.01)]
    points, mass = motion.athlete.masses(motion.body(times))
    centre = (np.einsum("npc,p->nc", points, mass) / mass.sum())[:, None]
    arm = points - centre
    speed = np.gradient(arm, times, axis=0)
    momentum = np.einsum("np,p->n", arm[..., 2] * speed[..., 0] - arm[..., 0] * speed[..., 2], mass)[1:-1]
    smooth = np.convolve(momentum, np.ones(3) / 3, mode="valid")  # differences of differences jump at key poses
    np.testing.assert_allclose(smooth, motion.momentum, rtol=0.01)


@pytest.mark.parametrize("number", DIVES)
def test_a_clean_dive_finishes_its_rotation_at_the_water(simulate, number):
    dive = parse_dive_number(number)
    for height_m in heights_for(dive):
        motion = simulate(number, height_m).motion
        angle = np.interp(motion.contact_s, motion.times, motion.somersault)
        start = pi if dive.armstand else 0.0
        assert degrees(abs(abs(angle - start) - dive.half_somersaults * pi)) < 5
        turned = np.interp(motion.contact_s, motion.times, motion.twist) - motion.twist[0]
        assert degrees(abs(abs(turned) - dive.half_twists * pi)) < 5


@pytest.mark.slow
def test_every_listed_dive_at_every_height_is_clean_without_faults(simulate):
    for dive in listed_dives():
        for height_m in heights_for(dive):
            seen = simulate(str(dive), height_m).seen
            assert abs(seen.entry_deg) < 5, (str(dive), height_m)
            assert seen.twist_deg < 5, (str(dive), height_m)


def test_flight_time_agrees_with_the_closed_form(simulate):
    for number, height_m in SAMPLE:
        motion = simulate(number, height_m, **FAULTY).motion
        flight = motion.times[(motion.times >= motion.leave_s) & (motion.times <= motion.contact_s)]
        heights = np.interp(flight, motion.times, motion.centre[:, 2])
        drop, climb = heights.max() - heights[-1], heights.max() - heights[0]
        expected = sqrt(2 * climb / 9.81) + sqrt(2 * drop / 9.81)
        assert motion.contact_s - motion.leave_s == pytest.approx(expected, rel=0.03)


def test_closed_form_of_a_fall_from_rest():
    assert flight_time(0.0, 10.0, 0.0) == pytest.approx(sqrt(2 * 10.0 / 9.81))


@pytest.mark.parametrize("number", ["105B", "205B", "305C", "405C", "626C", "614B", "612B"])
def test_the_leading_end_touches_first_and_the_body_stands_upright(simulate, number):
    motion = simulate(number, 10.0).motion
    body = motion.body(np.array([motion.contact_s]))[0]
    assert body[:, 2].min() == pytest.approx(0.0, abs=0.005)
    assert body[:, 2].max() > 1.9
    assert motion.head_first == (
        parse_dive_number(number).armstand != (parse_dive_number(number).half_somersaults % 2 == 1)
    )


@pytest.mark.parametrize(("number", "away"), [("105C", True), ("205C", True), ("305C", False), ("405C", False)])
def test_forward_and_back_turn_away_from_the_board_reverse_and_inward_towards_it(simulate, number, away):
    motion = simulate(number, 3.0).motion
    assert (np.interp(motion.contact_s, motion.times, motion.somersault) > 0) == away


@pytest.mark.parametrize(
    ("number", "over_the_water"), [("105C", True), ("305C", True), ("205C", False), ("405C", False)]
)
def test_athlete_faces_as_the_group_says(simulate, number, over_the_water):
    motion = simulate(number, 3.0).motion
    body = motion.body(np.array([0.0]))[0]
    assert (body[JOINT["toe_l"], 0] > body[JOINT["heel_l"], 0]) == over_the_water


def test_a_tuck_turns_faster_than_the_opening(simulate):
    motion = simulate("107C", 10.0).motion
    rate = np.abs(np.gradient(motion.somersault, motion.times))
    middle = rate[np.searchsorted(motion.times, motion.leave_s + 0.7)]
    end = rate[np.searchsorted(motion.times, motion.contact_s - 0.05)]
    assert middle > 2.5 * end


def test_low_takeoff_propagates_to_a_late_opening_and_a_worse_entry(simulate):
    chain = [simulate("107B", 3.0, low_takeoff=fault) for fault in (0.0, 0.5, 1.0)]
    flights = [dive.motion.contact_s - dive.motion.leave_s for dive in chain]
    late = [dive.seen.late_s for dive in chain]
    assert flights[0] > flights[1] > flights[2]
    assert late[0] < 0.01 < late[1] < late[2]
    hurried = [simulate("109C", 3.0, low_takeoff=fault, loose_position=0.9) for fault in (0.0, 0.5, 1.0)]
    error = [abs(dive.seen.entry_deg) for dive in hurried]
    assert error[0] < error[1] < error[2]
    assert hurried[2].seen.splash > hurried[0].seen.splash + 0.2


@pytest.mark.parametrize("number", ["107B", "109C", "207C", "307C", "407C", "5253B", "103B"])
def test_a_low_takeoff_spoils_the_entry_through_time_and_rotation_alone(simulate, number):
    # The entry's own faults are off: what is lost there comes from the lost time in the air.
    chain = [simulate(number, 3.0, low_takeoff=fault) for fault in (0.0, 0.35, 0.7, 1.0)]
    short = [-dive.seen.entry_deg for dive in chain]
    entry = [deductions(dive.seen)["entry"] for dive in chain]
    assert short == sorted(short)
    assert short[-1] > short[0] + 5
    assert entry == sorted(entry)
    assert entry[-1] > entry[0] + 0.2


def test_a_lost_dive_fails(simulate):
    assert simulate("205B", 3.0, lost=1.0).score == 0


def test_board_gives_on_the_springboard_only(simulate):
    assert simulate("105B", 3.0).motion.board_dip.min() < -0.2
    assert not simulate("105B", 10.0).motion.board_dip.any()


def test_body_never_passes_through_the_board(simulate):
    for number, height_m in [*SAMPLE, ("614B", 7.5), ("6245D", 10.0), ("636C", 10.0), ("612B", 5.0)]:
        motion = simulate(number, height_m).motion
        body = motion.body(np.arange(motion.leave_s + 0.25, motion.contact_s, 0.01))
        beside = (body[..., 0] < -0.1) & (np.abs(body[..., 2] - height_m) < 0.1)
        assert not beside.any(), (number, height_m)


def hips_deg(motion: Motion, since_s: float) -> float:
    """Bend of the hips so long after the board is left, degrees."""
    pose = motion.track(motion.pose, np.array([motion.leave_s + since_s]))
    return degrees(float(pose[0, Pose._fields.index("hip")]))


def test_forward_dives_leave_the_board_bent_and_back_dives_stretched():
    forward, back = (
        [hips_deg(simulate_dive(parse_dive_number(number), 3.0, (5, seed)).motion, 0.0) for seed in range(20)]
        for number in ("107B", "205B")
    )
    assert 50 < np.mean(forward) < 80
    assert np.std(forward) > 8
    assert max(back) < 6


def test_the_classic_draw_leaves_every_athlete_stretched():
    dives = [simulate_dive(parse_dive_number("107B"), 3.0, (5, seed), draw="classic") for seed in range(5)]
    assert max(hips_deg(dive.motion, 0.0) for dive in dives) < 6


def test_forward_twists_begin_out_of_a_pike():
    dives = [simulate_dive(parse_dive_number("5152B"), 3.0, (5, seed), Faults()) for seed in range(20)]
    started = []
    for dive in dives:
        motion = dive.motion
        times = np.linspace(motion.leave_s, motion.contact_s, 200)
        twisted = np.abs(motion.track(motion.twist, times) - motion.track(motion.twist, times[:1]))
        begun = int(np.argmax(twisted > 0.02 * twisted[-1]))
        started.append((times[begun] - motion.leave_s) / (motion.contact_s - motion.leave_s))
        assert twisted[-1] == pytest.approx(2 * pi, abs=0.05)
        if started[-1] > 0.15:
            assert hips_deg(motion, times[begun] - motion.leave_s) > 55
    assert 10 <= sum(start > 0.12 for start in started) <= 20


def test_who_stands_rises_less_than_who_leaps():
    def rise_m(number: str, seed: int) -> float:
        motion = simulate_dive(parse_dive_number(number), 3.0, (5, seed), Faults()).motion
        heights = motion.centre[motion.times >= motion.leave_s, 2]
        return float(heights.max() - heights[0])

    leapt, stood = (np.mean([rise_m(number, seed) for seed in range(12)]) for number in ("107B", "207B"))
    assert stood < 0.95 * leapt


def test_a_springboard_throws_a_body_whose_legs_are_straight_already():
    knees, speeds = [], []
    for ride in (0.0, 0.18):
        style = Style(bend=1.0, ride=ride)
        stance = Stance(
            parse_dive_number("107B"), Athlete("male", 1.7, 65.0), Faults(), 3.0, 2.0, True, True, 3, 0.0, style
        )
        rows, _, centre = stance.track(np.linspace(-0.5, 0.0, 126))
        knees.append(np.degrees(rows[-46, Pose._fields.index("knee")]))  # 0.18 s before the feet leave
        speeds.append((centre[-1, 2] - centre[-6, 2]) / 0.02)
        tip = stance.board_dip(np.array([-0.25, -0.02, 0.0]))
        assert (tip[0], tip[2]) == pytest.approx((-0.55, 0.0), abs=0.03)
        assert (-tip[1] / 0.02 > 3) == (ride > 0)
    assert knees[0] > 40
    assert knees[1] < 8
    assert speeds[1] > 2.5
