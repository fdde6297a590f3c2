"""Motion of a dive: stance, take-off, flight and entry as joint angles and a path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi, radians, sqrt
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.simulator import athlete as poses
from finecausal_cli.simulator.athlete import STRETCHED, Array, Athlete, Faults, Pose, Style, steady
from finecausal_cli.simulator.stance import Keys, turn_x, turn_y, turn_z

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.simulator.stance import Stance


# The flight plan: when to close, twist, open and line up.

_TWIST_START_S = 0.08
_MANY_TWISTS = 4
"""Half-twists from which the line-up is later."""

UNDER_TWIST = radians(62)
"""Twist missing at the end of a fully crossed twist."""


@dataclass(frozen=True, slots=True)
class FlightPlan:
    """The plan of one flight; times count from leaving the board.

    Attributes:
        dive: The dive number.
        faults: Faults that show in the positions.
        duration_s: Flight time that the athlete expects.
        twist_sign: 1 or -1: twist to the left or to the right.
        style: How the athlete dives, whatever the faults.
    """

    dive: DiveNumber
    faults: Faults
    duration_s: float
    twist_sign: int = 1
    style: Style = STRETCHED

    @property
    def has_shape(self) -> bool:
        """Whether a tuck or pike is held, whose opening the athlete can time."""
        return self.dive.position in "BC" or (self.dive.half_twists > 0 and self.dive.half_somersaults >= 3)

    @property
    def close_s(self) -> float:
        """When the tuck or pike is closed (before any twist has pushed it back)."""
        slow = float(np.interp(self.dive.half_somersaults, [1, 3, 5, 8], [0.40, 0.32, 0.26, 0.22]))
        return slow * self.style.closing

    @property
    def open_s(self) -> float:
        """Planned time of opening."""
        halves = self.dive.half_somersaults
        lead = float(np.interp(halves, [1, 3, 5, 7, 9], [0.50, 0.52, 0.47, 0.40, 0.35]))
        if self.dive.half_twists >= _MANY_TWISTS:
            lead = min(lead, 0.40)
        return max(self.duration_s - self.style.opening * lead, self.duration_s * 0.5)

    @property
    def twist_window(self) -> tuple[float, float]:
        """First and last moment of the twist."""
        if not self.dive.half_twists:
            return 0.0, 0.0
        needed, start = 0.24 + 0.16 * self.dive.half_twists, self._twist_start_s
        if self.dive.position in "BC":
            # More twists leave less of the flight for the pike or tuck.
            part = float(np.interp(self.dive.half_twists, [2, 6], [0.62, 0.84]))
            room = part * (self.open_s - 0.18 - start)
        else:
            room = self.open_s - (0.14 if self.has_shape else 0.0) - start
        return start, start + min(needed, max(room, 0.3 * self.duration_s))

    @property
    def _twist_start_s(self) -> float:
        return max(_TWIST_START_S, self.style.twist_after * self.duration_s)

    def twist(self, times: Array) -> Array:
        """Return the twist angle [N] at ``times`` [N], radians."""
        if not self.dive.half_twists:
            return np.zeros_like(times)
        start, end = self.twist_window
        total = self.dive.half_twists * pi - UNDER_TWIST * self.faults.crossed_twist**1.5
        return np.asarray(self.twist_sign * total * steady((times - start) / (end - start)))

    def _shape(self) -> Pose:
        if not self.dive.half_somersaults:
            return poses.stretched(self.faults, head_first=True)
        if self.dive.position == "C":
            return poses.tuck(self.faults)
        if self.dive.position == "B":
            return poses.pike(self.faults)
        return poses.open_pike(self.faults) if self.has_shape else poses.straight(self.faults)

    def keys(self, open_s: float) -> Keys:
        """Return the poses of the flight when the athlete opens at ``open_s``."""
        faults, shape, bend = self.faults, self._shape(), self.style.bend
        line = poses.stretched(faults, head_first=self.dive.head_first)
        keys = [(0.0, poses.leave(faults.flexed_feet, bend))]
        closed = self.close_s
        if self.dive.half_twists:
            start, end = self.twist_window
            wrapped = poses.twist(faults)
            wrapped_s = start + 0.06
            if self.style.twist_after:
                piked, wrapped_s = poses.open_pike(faults), start + 0.12
                keys += [(0.6 * start, piked), (start - 0.02, piked)]
            keys += [(wrapped_s, wrapped), (max(end - 0.08, start + 0.1), wrapped)]
            closed = end + (0.18 if self.has_shape else 0.14)
        elif self.dive.flying:
            closed = 0.52 * open_s
            keys += [(0.2, poses.straight(faults)), (0.3 * open_s, poses.straight(faults))]
        else:
            keys += [(0.4 * closed, poses.reach(faults, bend))]
        unfolding = 0.17 * (1 + 0.35 * faults.late_opening)
        half_open = line._replace(
            hip=0.12 * shape.hip + 0.9 * line.hip,
            knee=0.08 * shape.knee + 0.9 * line.knee,
            arm=0.45 * shape.arm + 0.55 * line.arm,
            elbow=0.35,
        )
        keys += [
            (closed, shape),
            (max(open_s, closed + 0.03), shape),
            (open_s + unfolding, half_open),
            (open_s + unfolding + 0.12, line),
        ]
        return Keys.of(keys)


# The motion of one dive: stance, ballistic flight with constant angular momentum, entry.
#
# World axes: x from the board over the water, y away from the camera, z up; the board's tip is above x = 0, the
# water's surface is z = 0. The somersault turns in the x-z plane. The twist is planned; the tilt that conservation of
# angular momentum demands for it is added. Limits: the momentum is conserved about the somersault axis, segments are
# rigid, no air resistance.

GRAVITY = 9.81
"""m/s^2"""

RATE_HZ = 250.0
"""Steps a second of the dense tracks."""

_COARSE_HZ = 100.0
_MAX_TILT = 0.40
_ENTRY_ERROR = radians(28)
"""Rotation error of the largest timing fault."""

_LOST_TURN = radians(115)
_LATE_S = 0.14
_SHORTEST_LEAD_S = 0.15
_WATER_STOPS_ROTATION_S = 0.10
_WATER_STOPS_FALL_S = 0.45
_FORESIGHT = 0.87
"""Share of faults of form that the athlete compensates in the momentum of the take-off."""

_NOTICED_AT_TAKEOFF = 0.55
"""Share of a bad take-off's lost time that the athlete compensates with more momentum while pushing off."""

_COMPENSATED = 0.8
"""Share of the remaining lost time that the athlete compensates by holding the position longer."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Inertia, inner momentum and tilt over time for one angular momentum."""

    inertia: Array
    inner: Array
    tilt: Array

    def angle(self, momentum: float, start: float, times: Array) -> Array:
        """Integrate the somersault angle [N] from ``start``."""
        rate = (momentum - self.inner) / self.inertia
        steps = np.diff(times) * (rate[1:] + rate[:-1]) / 2
        return np.concatenate([[start], start + np.cumsum(steps)])


@dataclass(frozen=True, slots=True)
class Motion:
    """The dive as tracks over the clip's time.

    Attributes:
        athlete: The athlete.
        times: [N] seconds from the clip's start.
        pose: [N, angles] joint angles.
        somersault: [N] angle about y, radians.
        twist: [N] angle about the long axis, radians, the facing included.
        tilt: [N] tilt out of the somersault plane, radians.
        centre: [N, 3] centre of mass, metres.
        board_dip: [N] height of the board's tip above its rest, metres.
        leave_s: When the feet (hands) leave the board.
        contact_s: When the water is first touched.
        momentum: Angular momentum about the somersault axis in flight, kg m^2/s.
        target: Somersault angle of a perfect entry, radians.
        open_s: Time of opening, seconds after leaving.
        planned_open_s: Planned time of opening.
        planned_lead_s: Time from there to the water after a good take-off.
        head_first: Whether the hands enter first.
        sense: 1 or -1, direction of the somersault.
        twist_target: Twist angle of a square entry, radians.
    """

    athlete: Athlete
    times: Array
    pose: Array
    somersault: Array
    twist: Array
    tilt: Array
    centre: Array
    board_dip: Array
    leave_s: float
    contact_s: float
    momentum: float
    target: float
    open_s: float
    planned_open_s: float
    planned_lead_s: float
    head_first: bool
    sense: int
    twist_target: float

    def track(self, values: Array, times: Array) -> Array:
        """Read a track [N] or [N, C] at other times [M]."""
        if values.ndim == 1:
            return np.interp(times, self.times, values)
        return np.stack([np.interp(times, self.times, column) for column in values.T], axis=-1)

    def body(self, times: Array) -> Array:
        """Return the joints [M, joints, 3] in the world at ``times`` [M]."""
        body = self.athlete.joints(self.track(self.pose, times))
        points, mass = self.athlete.masses(body)
        centre = np.einsum("npc,p->nc", points, mass) / mass.sum()
        turned = turn_z(body - centre[:, None], self.track(self.twist, times))
        turned = turn_y(turn_x(turned, self.track(self.tilt, times)), self.track(self.somersault, times))
        return np.asarray(turned + self.track(self.centre, times)[:, None])

    @property
    def entry_error(self) -> float:
        """Somersault angle at contact beyond the perfect entry, radians; negative is short."""
        return float((np.interp(self.contact_s, self.times, self.somersault) - self.target) * self.sense)

    @property
    def twist_error(self) -> float:
        """Twist missing or in excess at contact, radians, never negative."""
        return abs(float(np.interp(self.contact_s, self.times, self.twist)) - self.twist_target)


def rotation(athlete: Athlete, rows: Array, twist: Array, times: Array, momentum: float) -> Rotation:
    """Return inertia, inner momentum and tilt about the somersault axis.

    The momentum of a body that changes shape is inertia * rate + inner, the latter from the motion of the parts in the
    frame that turns with the pelvis.
    """
    points, mass = athlete.masses(athlete.joints(rows))
    points = points - (np.einsum("npc,p->nc", points, mass) / mass.sum())[:, None]
    long_axis = np.einsum("npc,p->n", points[..., :2] ** 2, mass) + athlete.long_axis_inertia
    spin = np.gradient(twist, times)
    tilt = np.arcsin(np.clip(long_axis * spin / momentum, -0.9, 0.9)) if momentum else np.zeros_like(times)
    tilt = np.clip(tilt, -_MAX_TILT, _MAX_TILT)
    points = turn_x(turn_z(points, twist), tilt)
    inertia = np.einsum("npc,p->n", points[..., ::2] ** 2, mass)
    x, z = points[..., 0], points[..., 2]
    inner = np.einsum("np,p->n", z * np.gradient(x, times, axis=0) - x * np.gradient(z, times, axis=0), mass)
    return Rotation(inertia, inner, tilt)


def solve_momentum(athlete: Athlete, plan: FlightPlan, open_s: float, facing: float, turn: float) -> float:
    """Return the momentum that turns the body by ``turn`` radians within the plan's duration."""
    times = np.linspace(0.0, plan.duration_s, int(plan.duration_s * RATE_HZ) + 1)
    rows, twist = plan.keys(open_s).at(times), facing + plan.twist(times)
    momentum = 25.0 * float(np.sign(turn)) * (1 + abs(turn) / pi)
    for _ in range(5 if plan.dive.half_twists else 1):
        state = rotation(athlete, rows, twist, times, momentum)
        lost = np.trapezoid(state.inner / state.inertia, times)
        momentum = float((turn + lost) / np.trapezoid(1 / state.inertia, times))
    return momentum


def _choose_openings(
    athlete: Athlete, plan: FlightPlan, facing: float, momentum: float, turns: Sequence[float], planned_s: float
) -> list[float]:
    """Return the time of opening that reaches each of ``turns`` at the water, as far as possible."""
    times = np.linspace(0.0, plan.duration_s, int(plan.duration_s * _COARSE_HZ) + 1)
    twist, reached = facing + plan.twist(times), dict[float, float]()

    def turned(open_s: float) -> float:
        if open_s not in reached:  # the searches begin alike, which saves a third of them
            state = rotation(athlete, plan.keys(open_s).at(times), twist, times, momentum)
            reached[open_s] = float(state.angle(momentum, 0.0, times)[-1])
        return reached[open_s]

    chosen = []
    for turn in turns:
        low = max(planned_s - 0.3, 0.3 * plan.duration_s)
        high = max(plan.duration_s - _SHORTEST_LEAD_S, low)
        for _ in range(8):
            middle = (low + high) / 2
            low, high = (middle, high) if np.sign(turn) * (turn - turned(middle)) > 0 else (low, middle)
        chosen.append((low + high) / 2)
    return chosen


def flight_time(rise_mps: float, start_m: float, end_m: float) -> float:
    """Return the time of a centre of mass from height ``start_m`` to ``end_m`` after leaving at ``rise_mps``."""
    return (rise_mps + sqrt(rise_mps**2 + 2 * GRAVITY * (start_m - end_m))) / GRAVITY


def _expected(faults: Faults) -> Faults:
    """Return the faults of form that the athlete compensates."""
    return Faults(
        loose_position=_FORESIGHT * faults.loose_position,
        knees_apart=_FORESIGHT * faults.knees_apart,
        crossed_twist=_FORESIGHT * faults.crossed_twist,
        arched_entry=faults.arched_entry,
        arms_apart=faults.arms_apart,
    )


def _reach(athlete: Athlete, plan: FlightPlan) -> float:
    """Return the distance of the leading point from the centre of mass in the line-up."""
    body = athlete.joints(plan.keys(0.5).rows[-1:])
    points, mass = athlete.masses(body)
    centre = float(np.einsum("npc,p->nc", points, mass)[0, 2] / mass.sum())
    tip = body[0, :, 2].max() if plan.dive.head_first else body[0, :, 2].min()
    return float(abs(tip - centre))


def simulate_motion(stance: Stance, intended_mps: tuple[float, float], twist_sign: int, after_s: float) -> Motion:
    """Simulate stance, flight and entry.

    Args:
        stance: The athlete on the board, faults included.
        intended_mps: Speeds (outwards, upwards) of a good take-off.
        twist_sign: 1 or -1.
        after_s: Time after the first contact with the water.
    """
    faults, athlete, dive = stance.faults, stance.athlete, stance.dive
    base = pi if dive.armstand else 0.0
    target = base + stance.sense * dive.half_somersaults * pi
    before = np.linspace(-stance.duration_s, 0.0, int(stance.duration_s * RATE_HZ) + 1)
    stance_rows, stance_pitch, stance_centre = stance.track(before)
    start, centre = float(stance_pitch[-1]), stance_centre[-1]

    # The intended take-off, the actual one, and what the athlete notices of the difference.
    intended = FlightPlan(dive, Faults(), 1.0, twist_sign, stance.style)
    reach = _reach(athlete, intended)
    rise = intended_mps[1] * (1 - faults.lost_rise)
    out = intended_mps[0] * (1 - 0.72 * faults.close_to_board) + 1.3 * faults.leaning_takeoff
    intended_s = flight_time(intended_mps[1], float(centre[2]), reach)
    actual_s = flight_time(rise, float(centre[2]), reach)
    intended = replace(intended, duration_s=intended_s)
    plan = FlightPlan(dive, faults, actual_s, twist_sign, stance.style)
    expected = replace(
        plan, faults=_expected(faults), duration_s=intended_s + _NOTICED_AT_TAKEOFF * (actual_s - intended_s)
    )
    turn = target - start
    mistimed = stance.sense * _ENTRY_ERROR * (faults.over_rotation - faults.short_rotation)
    lead = intended_s - intended.open_s - _LATE_S * faults.late_opening
    momentum = solve_momentum(athlete, expected, expected.duration_s - lead, stance.facing, turn)
    open_s = actual_s - lead
    if faults.lost:
        missing = min(0.6, _LOST_TURN * (0.6 + 0.4 * faults.lost) / abs(turn))
        momentum *= 1 + (missing if faults.lost < 1 and faults.over_rotation > 0 else -missing)
    elif plan.has_shape and dive.half_somersaults:
        turns = (turn, turn + mistimed)
        square_s, chosen_s = _choose_openings(athlete, plan, stance.facing, momentum, turns, open_s)
        open_s = chosen_s - (1 - _COMPENSATED) * max(square_s - open_s, 0.0)
    elif dive.half_somersaults:
        momentum *= 1 + mistimed / turn

    after = np.arange(1, int((actual_s + 0.4) * RATE_HZ)) / RATE_HZ
    times = np.concatenate([[0.0], after])
    rows, twist = plan.keys(open_s).at(times), stance.facing + plan.twist(times)
    state = rotation(athlete, rows, twist, times, momentum)
    angle = state.angle(momentum, start, times)
    fall = centre + np.outer(times, [out, 0.0, rise]) - 0.5 * GRAVITY * np.outer(times**2, [0.0, 0.0, 1.0])
    motion = Motion(
        athlete=athlete,
        times=np.concatenate([before[:-1], times]) + stance.duration_s,
        pose=np.concatenate([stance_rows[:-1], rows]),
        somersault=np.concatenate([stance_pitch[:-1], angle]),
        twist=np.concatenate([np.full(len(before) - 1, stance.facing), twist]),
        tilt=np.concatenate([np.zeros(len(before) - 1), state.tilt]),
        centre=np.concatenate([stance_centre[:-1], fall]),
        board_dip=np.zeros(0),
        leave_s=stance.duration_s,
        contact_s=0.0,
        momentum=momentum,
        target=target,
        open_s=open_s,
        planned_open_s=intended.open_s,
        planned_lead_s=intended_s - intended.open_s,
        head_first=plan.dive.head_first,
        sense=stance.sense,
        twist_target=stance.facing + twist_sign * dive.half_twists * pi,
    )
    return _enter(motion, stance, after_s)


def _enter(motion: Motion, stance: Stance, after_s: float) -> Motion:
    """Find the first contact with the water; the water stops the motion after it."""
    late = motion.times[motion.times > motion.leave_s + 0.3]
    lowest = motion.body(late)[..., 2].min(axis=1)
    under = int(np.argmax(lowest < 0))
    share = lowest[under - 1] / (lowest[under - 1] - lowest[under])
    contact = float(late[under - 1] + share * (late[under] - late[under - 1]))

    dry = motion.times < contact
    wet = contact + np.arange(0, int(after_s * RATE_HZ) + 3) / RATE_HZ
    since = wet - contact
    times = np.concatenate([motion.times[dry], wet])
    at = np.array([contact - 1 / RATE_HZ, contact])

    def slowed(track: Array, constant_s: float) -> Array:
        ends = motion.track(track, at)
        rate = (ends[1] - ends[0]) * RATE_HZ
        tail = np.multiply.outer(constant_s * (1 - np.exp(-since / constant_s)), rate) + ends[1]
        return np.concatenate([track[dry], tail])

    return replace(
        motion,
        times=times,
        pose=np.concatenate([motion.pose[dry], motion.track(motion.pose, wet)]),
        somersault=slowed(motion.somersault, _WATER_STOPS_ROTATION_S),
        twist=slowed(motion.twist, _WATER_STOPS_ROTATION_S),
        tilt=slowed(motion.tilt, _WATER_STOPS_ROTATION_S),
        centre=slowed(motion.centre, _WATER_STOPS_FALL_S),
        board_dip=stance.board_dip(times - motion.leave_s),
        contact_s=contact,
    )
