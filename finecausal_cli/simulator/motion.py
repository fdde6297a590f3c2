"""The motion of one dive: stance, ballistic flight with constant angular momentum, entry.

World axes: x from the board over the water, y away from the camera, z up; the board's tip is above x = 0, the
water's surface is z = 0. The somersault turns in the x-z plane. The twist is planned; the tilt that conservation of
angular momentum demands for it is added. Limits: the momentum is conserved about the somersault axis, segments are
rigid, the air does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi, radians, sqrt
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.simulator.faults import Faults
from finecausal_cli.simulator.plan import FlightPlan
from finecausal_cli.simulator.stance import Stance, turn_y, turn_z

if TYPE_CHECKING:
    from finecausal_cli.simulator.body import Array, Athlete

GRAVITY = 9.81
"""m/s^2"""

RATE_HZ = 250.0
"""Steps a second of the dense tracks."""

_COARSE_HZ = 100.0
_MAX_TILT = 0.40
_ENTRY_ERROR = radians(28)
"""Rotation that the grossest timing fault leaves out or adds."""

_LOST_TURN = radians(115)
_LATE_S = 0.14
_SHORTEST_LEAD_S = 0.15
_WATER_STOPS_ROTATION_S = 0.10
_WATER_STOPS_FALL_S = 0.45
_FORESIGHT = 0.87
"""Share of loose habits that the athlete allows for in the momentum of the take-off."""

_FELT_AT_TAKEOFF = 0.55
"""Share of a bad take-off's lost time that the athlete feels while pushing off and makes up for with more momentum."""

_MADE_UP = 0.8
"""Share of the remaining lost time that the athlete makes up for by holding the position longer."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """The rotational state over time: inertia, inner momentum and tilt for one momentum."""

    inertia: Array
    inner: Array
    tilt: Array

    def angle(self, momentum: float, start: float, times: Array) -> Array:
        """Integrate the somersault angle [N] from ``start``."""
        rate = (momentum - self.inner) / self.inertia
        steps = np.diff(times) * (rate[1:] + rate[:-1]) / 2
        return np.concatenate([[start], start + np.cumsum(steps)])


def turn_x(points: Array, angle: Array) -> Array:
    """Turn [..., P, 3] about the x axis: a positive ``angle`` tips the head towards +y."""
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([x, y * cos + z * sin, z * cos - y * sin], axis=-1)


@dataclass(frozen=True, slots=True)
class Motion:
    """The dive as tracks over the clip's time.

    Attributes:
        athlete: Who dives.
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
        open_s: When the athlete opens, seconds after leaving.
        planned_open_s: When the athlete meant to open.
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
    velocity = np.gradient(points, times, axis=0)
    inertia = np.einsum("npc,p->n", points[..., ::2] ** 2, mass)
    inner = np.einsum("np,p->n", points[..., 2] * velocity[..., 0] - points[..., 0] * velocity[..., 2], mass)
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


def _choose_opening(
    athlete: Athlete, plan: FlightPlan, facing: float, momentum: float, turn: float, wanted_s: float
) -> float:
    """Return when to open so that ``turn`` is reached at the water, within what is possible."""
    times = np.linspace(0.0, plan.duration_s, int(plan.duration_s * _COARSE_HZ) + 1)
    twist, sense = facing + plan.twist(times), np.sign(turn)

    def short(open_s: float) -> bool:
        state = rotation(athlete, plan.keys(open_s).at(times), twist, times, momentum)
        return bool(sense * (turn - state.angle(momentum, 0.0, times)[-1]) > 0)

    low = max(wanted_s - 0.3, 0.3 * plan.duration_s)
    high = max(plan.duration_s - _SHORTEST_LEAD_S, low)
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle) else (low, middle)
    return (low + high) / 2


def flight_time(rise_mps: float, start_m: float, end_m: float) -> float:
    """Return how long a centre of mass takes from height ``start_m`` to ``end_m`` when it leaves at ``rise_mps``."""
    return (rise_mps + sqrt(rise_mps**2 + 2 * GRAVITY * (start_m - end_m))) / GRAVITY


def _expected(faults: Faults) -> Faults:
    """Return the faults of form that the athlete knows of and allows for."""
    return Faults(
        loose_position=_FORESIGHT * faults.loose_position,
        knees_apart=_FORESIGHT * faults.knees_apart,
        crossed_twist=_FORESIGHT * faults.crossed_twist,
        arched_entry=faults.arched_entry,
        arms_apart=faults.arms_apart,
    )


def _reach(athlete: Athlete, plan: FlightPlan) -> float:
    """Return how far the leading point is from the centre of mass in the line-up."""
    body = athlete.joints(plan.keys(0.5).rows[-1:])
    points, mass = athlete.masses(body)
    centre = float(np.einsum("npc,p->nc", points, mass)[0, 2] / mass.sum())
    tip = body[0, :, 2].max() if plan.head_first else body[0, :, 2].min()
    return float(abs(tip - centre))


def simulate_motion(stance: Stance, intended_mps: tuple[float, float], twist_sign: int, after_s: float) -> Motion:
    """Simulate stance, flight and entry.

    Args:
        stance: The athlete on the board, faults included.
        intended_mps: Speeds (outwards, upwards) of a good take-off.
        twist_sign: 1 or -1.
        after_s: Time shown after the first contact with the water.
    """
    faults, athlete, dive = stance.faults, stance.athlete, stance.dive
    base = pi if dive.armstand else 0.0
    target = base + stance.sense * dive.half_somersaults * pi
    before = np.linspace(-stance.duration_s, 0.0, int(stance.duration_s * RATE_HZ) + 1)
    stance_rows, stance_pitch, stance_centre = stance.track(before)
    start, centre = float(stance_pitch[-1]), stance_centre[-1]

    # What the athlete intends, what the take-off really gave, and what the athlete knew of that on leaving the board.
    intended = FlightPlan(dive, Faults(), 1.0, twist_sign)
    reach = _reach(athlete, intended)
    lost_rise = 0.22 * faults.low_takeoff + 0.08 * faults.leaning_takeoff + 0.04 * faults.unsteady_start
    rise = intended_mps[1] * (1 - lost_rise)
    out = intended_mps[0] * (1 - 0.72 * faults.close_to_board) + 1.3 * faults.leaning_takeoff
    learnt_s = flight_time(intended_mps[1], float(centre[2]), reach)
    actual_s = flight_time(rise, float(centre[2]), reach)
    intended = replace(intended, duration_s=learnt_s)
    plan = FlightPlan(dive, faults, actual_s, twist_sign)
    expected = replace(plan, faults=_expected(faults), duration_s=learnt_s + _FELT_AT_TAKEOFF * (actual_s - learnt_s))
    turn = target - start
    mistimed = stance.sense * _ENTRY_ERROR * (faults.over_rotation - faults.short_rotation)
    lead = learnt_s - intended.open_s - _LATE_S * faults.late_opening
    momentum = solve_momentum(athlete, expected, expected.duration_s - lead, stance.facing, turn)
    open_s = actual_s - lead
    if faults.lost:
        momentum *= 1 - min(0.6, _LOST_TURN / abs(turn))
    elif plan.has_shape and dive.half_somersaults:
        square_s, chosen_s = (
            _choose_opening(athlete, plan, stance.facing, momentum, turn + error, open_s) for error in (0.0, mistimed)
        )
        open_s = chosen_s - (1 - _MADE_UP) * max(square_s - open_s, 0.0)
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
        planned_lead_s=learnt_s - intended.open_s,
        head_first=plan.head_first,
        sense=stance.sense,
        twist_target=stance.facing + twist_sign * dive.half_twists * pi,
    )
    return _enter(motion, stance, after_s)


def _enter(motion: Motion, stance: Stance, after_s: float) -> Motion:
    """Find the first contact with the water and let the water stop what follows."""
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
