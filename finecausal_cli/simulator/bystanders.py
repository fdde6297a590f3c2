"""Other people in a filmed dive: spectators who stand or sit, divers who wait their turn, somebody who walks by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi, radians
from typing import TYPE_CHECKING, Literal

import numpy as np

from finecausal_cli.simulator import poses
from finecausal_cli.simulator.body import Athlete, Pose
from finecausal_cli.simulator.figure import Figure, window
from finecausal_cli.simulator.look import Look
from finecausal_cli.simulator.stance import turn_z

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.body import Array
    from finecausal_cli.simulator.venue import Venue
    from finecausal_cli.simulator.wild_camera import WildCamera
    from finecausal_cli.simulator.wild_scene import Backdrop, Solid

_STEP_S, _STRIDE_M = 0.5, 0.68
_INSTANTS = 12
_CROWD = (12, 45)
_LEVEL_TOP_M = 0.06
_ROOM_M = 0.9
"""How far somebody who waits stays behind the edge of a platform."""

Posture = Literal["stand", "sit", "walk"]


@dataclass(frozen=True, slots=True)
class Bystander:
    """One person.

    Attributes:
        figure: Outlines at the instants of a movement that repeats, feet at the origin's height.
        place: [3] in the world at time 0.
        velocity: [3] m/s.
        period_s: Time of the movement; 0 for somebody who keeps still.
    """

    figure: Figure
    place: Array
    velocity: Array
    period_s: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, place: Array, camera: WildCamera, venue: Venue, posture: Posture
    ) -> Bystander:
        """Draw a person at a place."""
        athlete = replace(Athlete.draw(rng), build=float(np.clip(rng.normal(1.12, 0.15), 0.85, 1.5)))
        look = Look.draw(rng, athlete)
        if rng.random() < 0.5:  # in clothes: sleeves and trousers of a colour of their own
            cloth = tuple(rng.integers(20, 235, 3).tolist())
            look = replace(look, skin=(cloth[0], cloth[1], cloth[2]))
        heading = float(rng.uniform(-pi, pi))
        rows = _movement(rng, posture)
        body = turn_z(athlete.joints(rows), np.full(len(rows), heading))
        body -= np.array([0.0, 0.0, 1.0]) * body[..., 2].min(axis=1)[:, None, None]
        speed = _STRIDE_M / _STEP_S if posture == "walk" else 0.0
        velocity = speed * np.array([np.cos(heading), np.sin(heading), 0.0])
        period = {"walk": 2 * _STEP_S, "stand": float(rng.uniform(1.5, 4)), "sit": 0.0}[posture]
        return cls(Figure.of(body, athlete, look, camera, venue), place, velocity, period)

    def paint(
        self, picture: NDArray[np.uint8], camera: WildCamera, view: Array, time_s: float, factor: float = 1.0
    ) -> None:
        """Draw the person in place, ``factor`` times as large as the scale has it; a mask (one channel) gets 255."""
        instant = int(time_s / self.period_s * _INSTANTS) % len(self.figure.outline) if self.period_s else 0
        where = camera.screen(self.place + self.velocity * time_s)[:2]
        outline = self.figure.outline[instant] * factor + where
        pixels = outline @ view[:, :2].T + view[:, 2]
        height, width = picture.shape[:2]
        box = window(pixels[:, [0, -1]], (width, height))
        if box is None:
            return
        left, top, right, bottom = box
        body = self.figure.paint(instant, pixels, box, 1)
        part, cover = picture[top:bottom, left:right], body[..., 3] > 127
        part[cover] = body[cover, :3] if picture.ndim == 3 else 255

    def depth(self, camera: WildCamera, time_s: float) -> float:
        """Return how near to the camera the person is, metres."""
        return float(camera.screen(self.place + self.velocity * time_s)[2])


def draw_passers(
    rng: np.random.Generator, camera: WildCamera, venue: Venue, solids: list[Solid], takeoff_s: float
) -> list[Bystander]:
    """Draw the few who move or may stand before the athlete: waiting on platforms, or walking on the deck."""
    if rng.random() > 0.4:
        return []
    floors = [s for s in solids if s.high[0] - s.low[0] > 2 and s.high[1] - s.low[1] > 0.4 and s.high[2] >= 0]
    people = []
    for _ in range(int(rng.integers(1, 4))):
        posture: Posture = "walk" if rng.random() < 0.4 else "stand"
        place = np.array([rng.uniform(-9, -1.6), rng.choice([-1, 1]) * rng.uniform(1.2, 8), 0.0])
        if floors and posture == "stand" and rng.random() < 0.6:
            floor = floors[int(rng.integers(len(floors)))]
            low = np.maximum(floor.low, (-9, -8, -9))
            high = np.minimum(floor.high, (9, 8, 99)) - (min(_ROOM_M + 0.6, high_room(low, floor.high)), 0, 0)
            place = rng.uniform(low, np.maximum(high, low + 1e-3))
            place[2] = floor.high[2]
        person = Bystander.draw(rng, place, camera, venue, posture)
        # Whoever walks passes the place about when the dive begins.
        people.append(replace(person, place=place - person.velocity * takeoff_s))
    return people


def high_room(low: Array, high: Array) -> float:
    """Return how much of a floor's length may be kept free."""
    return float(max(high[0] - low[0] - 0.4, 0.0))


def add_spectators(
    rng: np.random.Generator, backdrop: Backdrop, camera: WildCamera, venue: Venue, floor_m: float
) -> int:
    """Draw spectators into a backdrop's picture, in place, their feet about ``floor_m`` up; return how many."""
    kind = rng.random()
    count = 0 if kind < 0.5 else int(rng.integers(1, 6)) if kind < 0.85 else int(rng.integers(*_CROWD))
    if not count:
        return 0
    to_screen = np.linalg.inv(backdrop.place[:, :2])
    height, width = backdrop.picture.shape[:2]
    ends = (np.array([[0, 0], [width, height]]) - backdrop.place[:, 2]) @ to_screen.T
    right, up, _ = camera.axes
    factor = float(rng.uniform(0.55, 1.1))
    rows = int(rng.integers(1, 4)) if count > _CROWD[0] else 1
    drawn = sorted(rng.integers(0, rows, count).tolist(), reverse=True)
    for row in drawn:
        posture: Posture = "sit" if rng.random() < (0.6 if rows > 1 else 0.15) else "stand"
        across = float(rng.uniform(min(ends[:, 0]), max(ends[:, 0])))
        above = floor_m + 0.55 * row * factor + float(rng.uniform(0, 0.3))
        person = Bystander.draw(rng, right * across + up * above, camera, venue, posture)
        person.paint(backdrop.picture, camera, backdrop.place, 0.0, factor)
    return count


def _movement(rng: np.random.Generator, posture: Posture) -> Array:
    """Return the poses of a movement that repeats [instants, angles]."""
    if posture == "walk":
        keys = [poses.stride(1), poses.swing(-1), poses.stride(-1), poses.swing(1)]
    else:
        legs = {"hip": radians(86), "knee": radians(84)} if posture == "sit" else {}
        arms = rng.uniform(0, 40, 2) if rng.random() < 0.7 else rng.uniform(0, 170, 2)
        bend, split = radians(float(rng.uniform(0, 70))), radians(float(rng.uniform(-60, 60)))
        keys = [
            poses.stand(float(arm))._replace(
                elbow=bend, arm_split=split, spine=radians(float(rng.uniform(0, 12))), **legs
            )
            for arm in (arms[0], arms[1] if posture == "stand" else arms[0])
        ]
    rows = np.array([poses.vector(Pose(*key)) for key in (*keys, keys[0])])
    at = np.linspace(0, len(keys), _INSTANTS if posture != "sit" else 1, endpoint=False)
    return np.stack([np.interp(at, np.arange(len(rows)), column) for column in rows.T], axis=-1)
