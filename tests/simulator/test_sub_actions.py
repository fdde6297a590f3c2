from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator.dive import FPS, SUB_ACTIONS, SimulatedDive, divide_into_steps, find_twist, flight_labels
from finecausal_cli.simulator.recording import DIVES


def named(dive: str) -> list[str]:
    return [SUB_ACTIONS[label] for label in flight_labels(parse_dive_number(dive)) if label is not None]


def clip(dive: str, twist: tuple[int, int] = (0, 0), *, start: int = 30, end: int = 70) -> SimulatedDive:
    """A clip whose body twists steadily between two frames."""
    times = np.arange(0, 100) / FPS
    angle = np.interp(np.arange(100), twist, [0.0, 9.42]) if twist[1] else np.zeros(100)
    motion = SimpleNamespace(twist=angle, track=lambda values, at: np.interp(at, times, values))
    fields = {"dive": parse_dive_number(dive), "twist_start": start, "entry_start": end, "motion": motion}
    return cast("SimulatedDive", SimpleNamespace(**fields))


def test_the_table_has_what_is_known_of_the_published_one():
    assert list(SUB_ACTIONS) == list(range(1, 43))
    assert len(set(SUB_ACTIONS.values())) == 42
    first = ["Forward", "Back", "Reverse", "Inward", "Arm.Forward", "Arm.Back", "Arm.Reverse"]
    assert [SUB_ACTIONS[label] for label in range(1, 8)] == first
    assert all("Som" in SUB_ACTIONS[label] for label in range(8, 29))
    assert all("Twist" in SUB_ACTIONS[label] for label in range(29, 36))
    last = ["Entry", "0.5 Som.Pike", "Background", "0.5 Som.Straight", "0.5 Som.Tuck", "4 Twists", "4.5 Twists"]
    assert [SUB_ACTIONS[label] for label in range(36, 43)] == last
    assert {"3.5 Soms.Tuck", "1.5 Twists"} <= set(SUB_ACTIONS.values())


@pytest.mark.parametrize(
    ("dive", "names"),
    [
        ("101B", ["Forward", "0.5 Som.Pike"]),
        ("201A", ["Back", "0.5 Som.Straight"]),
        ("407C", ["Inward", "3.5 Soms.Tuck"]),
        ("109C", ["Forward", "4.5 Soms.Tuck"]),
        ("612B", ["Arm.Forward", "1 Som.Pike"]),
        ("5253B", ["Back", "2.5 Soms.Pike", "1.5 Twists"]),
        ("5331D", ["Reverse", "1.5 Soms.Pike", "0.5 Twist"]),
        ("6142D", ["Arm.Forward", "2 Soms.Pike", "1 Twist"]),
        ("5122D", ["Forward", "1 Som.Straight", "1 Twist"]),
    ],
)
def test_steps_are_named_as_the_dive_number_says(dive, names):
    assert named(dive) == names


def test_every_dive_number_of_the_real_data_has_its_labels():
    for dive in DIVES:
        labels = flight_labels(parse_dive_number(dive))
        assert (labels[2] is not None) == parse_dive_number(dive).twisting


@pytest.mark.parametrize("dive", ["108C", "600A"])
def test_a_step_that_the_table_lacks_is_refused(dive):
    with pytest.raises(UsageError, match=dive):
        flight_labels(parse_dive_number(dive))


def test_a_plain_dive_has_two_transitions_and_three_steps():
    steps = divide_into_steps(clip("407C"))
    assert steps.transitions == (30, 70)
    assert [SUB_ACTIONS[label] for label in steps.labels] == ["Inward", "3.5 Soms.Tuck", "Entry"]


def test_an_entry_that_is_not_marked_is_background():
    steps = divide_into_steps(clip("407C"), marks_entry=False)
    assert steps.transitions == (30, 70)
    assert [SUB_ACTIONS[label] for label in steps.labels] == ["Inward", "3.5 Soms.Tuck", "Background"]


@pytest.mark.parametrize(
    ("twist", "transitions", "flight"),
    [
        # A steady twist of 20 frames is seen from its second frame (5 %) to its twentieth (95 %).
        ((32, 52), (30, 51, 70), ["1.5 Twists", "2.5 Soms.Pike"]),
        ((50, 70), (30, 52, 70), ["2.5 Soms.Pike", "1.5 Twists"]),
        ((40, 60), (30, 42, 59, 70), ["2.5 Soms.Pike", "1.5 Twists", "2.5 Soms.Pike"]),
        # A body that twists nearly all the time somersaults on the side that has more room.
        ((31, 69), (30, 33, 70), ["2.5 Soms.Pike", "1.5 Twists"]),
        ((30, 64), (30, 63, 70), ["1.5 Twists", "2.5 Soms.Pike"]),
    ],
)
def test_twist_and_somersault_stand_in_the_order_in_which_they_are_done(twist, transitions, flight):
    steps = divide_into_steps(clip("5253B", twist))
    assert [SUB_ACTIONS[label] for label in steps.labels] == ["Back", *flight, "Entry"]
    assert steps.transitions == transitions


def test_the_twist_of_a_simulated_dive_is_found_where_the_body_turns(simulate):
    dive = simulate("5255B", 10.0)
    begun, done = find_twist(dive)
    assert dive.twist_start <= begun < done <= dive.entry_start
    angle = dive.motion.track(dive.motion.twist, np.array([begun - 1, done]) / FPS)
    assert abs(angle[1] - angle[0]) == pytest.approx(2.5 * 2 * np.pi, rel=0.15)
    steps = divide_into_steps(dive)
    assert steps.transitions[0] == dive.twist_start
    assert steps.transitions[-1] == dive.entry_start
    assert len(steps.transitions) > 2
    assert "2.5 Twists" in [SUB_ACTIONS[label] for label in steps.labels]
