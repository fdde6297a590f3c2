"""The athlete's picture: shaded limbs in depth order, and the exact coverage they give.

Every part of the body is a tube with elliptic cross-sections between two joints. Its silhouette depends on the view,
so a twisting trunk changes its width. Across its width a tube is drawn in strips that are lit like a cylinder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from finecausal_cli.simulator.body import JOINT, Array, Athlete
from finecausal_cli.simulator.camera import HEIGHT, WIDTH, Camera

if TYPE_CHECKING:
    from numpy.typing import NDArray

Colour = tuple[int, int, int]

_SKIN: tuple[Colour, ...] = (
    (236, 194, 166),
    (224, 176, 142),
    (205, 152, 114),
    (168, 116, 82),
    (122, 82, 58),
    (92, 62, 46),
)
_HAIR: tuple[Colour, ...] = ((24, 20, 18), (52, 34, 24), (96, 66, 40), (172, 132, 78), (40, 40, 44))
_SUIT: tuple[Colour, ...] = (
    (18, 24, 60),
    (150, 16, 28),
    (12, 12, 14),
    (20, 90, 150),
    (20, 110, 70),
    (196, 160, 30),
    (90, 30, 110),
    (220, 220, 224),
)
_STRIPS = 5
_STATIONS = 9
_OVERSAMPLE = 2
_SHIFT = 4
"""Fractional bits of the drawing coordinates."""

_LIGHT = np.array([-0.35, 0.72, 0.60])


class _Tube(NamedTuple):
    start: str
    end: str
    profile: tuple[tuple[float, float, float], ...]
    """(position along the axis, lateral half-width, front half-width), the widths in metres at 1.74 m stature."""
    material: str


def _round(first: float, middle: float, last: float, bulge: float = 0.4) -> tuple[tuple[float, float, float], ...]:
    return ((0.0, first, first), (bulge, middle, middle), (1.0, last, last))


_ARM = (
    ("shoulder", "elbow", _round(0.050, 0.047, 0.037, 0.35), "skin"),
    ("elbow", "wrist", _round(0.037, 0.040, 0.026, 0.25), "skin"),
    ("wrist", "finger", ((0.0, 0.026, 0.020), (0.45, 0.042, 0.018), (1.0, 0.020, 0.010)), "skin"),
)
_LEG = (
    ("hip", "knee", _round(0.086, 0.080, 0.051, 0.25), "skin"),
    ("knee", "ankle", _round(0.051, 0.057, 0.033, 0.28), "skin"),
    ("heel", "toe", ((0.0, 0.034, 0.034), (0.5, 0.042, 0.032), (1.0, 0.030, 0.014)), "skin"),
)
_TUBES: tuple[_Tube, ...] = (
    _Tube("pelvis", "navel", ((-0.35, 0.150, 0.100), (0.2, 0.168, 0.112), (1.0, 0.138, 0.092)), "hips"),
    _Tube("navel", "chest", ((0.0, 0.138, 0.092), (0.5, 0.142, 0.098), (1.0, 0.160, 0.112)), "waist"),
    _Tube("chest", "collar", ((0.0, 0.160, 0.112), (0.5, 0.172, 0.114), (1.0, 0.130, 0.076)), "chest"),
    _Tube("collar", "neck", ((0.0, 0.075, 0.062), (1.0, 0.054, 0.054), (1.6, 0.052, 0.054)), "skin"),
    _Tube("neck", "vertex", ((0.28, 0.056, 0.066), (0.62, 0.075, 0.092), (0.92, 0.066, 0.080)), "skin"),
    _Tube("neck", "vertex", ((0.45, 0.060, 0.060), (0.70, 0.077, 0.080), (0.96, 0.066, 0.072)), "hair"),
    *(_Tube(f"{a}_{side}", f"{b}_{side}", shape, kind) for side in "lr" for a, b, shape, kind in (*_ARM, *_LEG)),
)
_TRUNK = 6
"""The first tubes are drawn as one, in this order, at the depth of the trunk."""

_HAIR_BACK_M = 0.036


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of an athlete, RGB."""

    skin: Colour
    hair: Colour
    suit: Colour
    covered: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, athlete: Athlete) -> Look:
        """Draw skin, hair and suit; a one-piece covers the trunk."""
        return cls(
            _SKIN[int(rng.integers(len(_SKIN)))],
            _HAIR[int(rng.integers(len(_HAIR)))],
            _SUIT[int(rng.integers(len(_SUIT)))],
            athlete.sex == "female",
        )

    def of(self, material: str) -> Colour:
        """Return the colour of a material."""
        if material == "hair":
            return self.hair
        if material == "hips" or (self.covered and material in ("waist", "chest")):
            return self.suit
        return self.skin


def _table(athlete: Athlete) -> tuple[Array, Array, Array]:
    """Return stations [T, K] along each tube and half-widths [T, K] (lateral, front) with rounded ends."""
    along, lateral, front = (np.empty((len(_TUBES), _STATIONS)) for _ in range(3))
    size = athlete.stature_m / 1.74 * athlete.build
    length = {"neck": 0.243, "collar": 0.04}
    for row, tube in enumerate(_TUBES):
        t, a, b = (np.array(column) for column in zip(*tube.profile, strict=True))
        inner = np.linspace(t[0], t[-1], _STATIONS - 4)
        # A cap half a width long rounds either end; typical part lengths turn metres into shares of the axis.
        span = length.get(tube.start, 0.26 if tube.start[-2] == "_" else 0.17)
        caps = [a[0] / span * share for share in (0.95, 0.6)], [a[-1] / span * share for share in (0.6, 0.95)]
        reach = (0.35, 0.8), (0.8, 0.35)
        along[row] = np.concatenate([t[0] - 0.8 * np.array(caps[0]), inner, t[-1] + 0.8 * np.array(caps[1])])
        for widths, given in ((lateral, a), (front, b)):
            body = np.interp(inner, t, given)
            widths[row] = size * np.concatenate([body[0] * np.array(reach[0]), body, body[-1] * np.array(reach[1])])
    return along, lateral, front


@dataclass(frozen=True, slots=True)
class Figure:
    """Outlines of the athlete for many instants, ready to draw.

    Attributes:
        outline: [N, tubes, strips + 1, stations, 2] screen metres.
        colour: uint8 [N, tubes, strips, 3].
        order: [N, tubes] drawing order, far to near.
    """

    outline: Array
    colour: NDArray[np.uint8]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, joints: Array, athlete: Athlete, look: Look, camera: Camera, light: float) -> Figure:
        """Build from joints [N, joints, 3] in the world; ``light`` is the strength of the directed light, 0..1."""
        along, wide, deep = _table(athlete)
        start = joints[:, [JOINT[t.start] for t in _TUBES]]
        end = joints[:, [JOINT[t.end] for t in _TUBES]]
        hips = joints[:, JOINT["hip_l"]] - joints[:, JOINT["hip_r"]]
        lateral = (hips / np.linalg.norm(hips, axis=-1, keepdims=True))[:, None]
        axis = end - start
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
        front = np.cross(np.broadcast_to(lateral, axis.shape), axis)
        hair = [k for k, t in enumerate(_TUBES) if t.material == "hair"]
        start, end = start.copy(), end.copy()
        start[:, hair] -= _HAIR_BACK_M * front[:, hair]
        end[:, hair] -= _HAIR_BACK_M * front[:, hair]

        points = start[:, :, None] + along[None, :, :, None] * (end - start)[:, :, None]
        screen = camera.screen(points)
        flat = camera.screen(axis)[..., :2]
        flat = flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)
        normal = np.stack([-flat[..., 1], flat[..., 0]], axis=-1)
        across = normal @ camera.axes[:2]
        a = np.einsum("ntc,ntc->nt", across, np.broadcast_to(lateral, across.shape))[..., None]
        b = np.einsum("ntc,ntc->nt", across, front)[..., None]
        width = np.sqrt((a * wide) ** 2 + (b * deep) ** 2)
        edges = np.linspace(-1, 1, _STRIPS + 1)
        offset = edges[None, None, :, None, None] * width[:, :, None, :, None] * normal[:, :, None, None, :]
        outline = screen[:, :, None, :, :2] + offset

        mids = (edges[1:] + edges[:-1]) / 2
        outwards = mids[None, None, :, None] * normal[:, :, None, :]
        nearer = np.broadcast_to(np.sqrt(1 - mids**2)[:, None], (*normal.shape[:2], _STRIPS, 1))
        facing = np.concatenate([outwards, nearer], axis=-1)
        lit = np.clip(facing @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
        base = np.array([look.of(t.material) for t in _TUBES], dtype=float)
        shade = (1.08 - 0.55 * light) + 0.55 * light * (2 * lit - 0.85)
        colour = np.clip(base[None, :, None] * shade[..., None], 0, 255).astype(np.uint8)

        depth = screen[..., 2].mean(axis=2)
        trunk = depth[:, :3].mean(axis=1, keepdims=True)
        depth[:, :_TRUNK] = trunk + 1e-4 * np.arange(_TRUNK)
        face = camera.screen(front[:, hair])[..., 2]
        depth[:, hair] = np.where(face > 0.45, trunk + 3.5e-4, trunk + 5e-4)
        return cls(outline, colour, np.argsort(depth, axis=1, kind="stable"))

    def paint(self, instant: int, camera: Camera, view: Array, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Draw one instant into a window of the picture.

        Args:
            instant: Which of the N.
            camera: Projection to pixels.
            view: X, Y, scale of the picture.
            box: left, top, right, bottom of the window in pixels.

        Returns:
            uint8 [rows, columns, 4]: RGB times coverage, and coverage 0..255.
        """
        left, top, right, bottom = box
        canvas = np.zeros(((bottom - top) * _OVERSAMPLE, (right - left) * _OVERSAMPLE, 4), np.uint8)
        pixels = (camera.pixels(self.outline[instant], view) - (left, top)) * _OVERSAMPLE - 0.5
        fixed = np.round(pixels * (1 << _SHIFT)).astype(np.int32)
        colours = self.colour[instant].tolist()
        for tube in self.order[instant]:
            edges, tints = fixed[tube], colours[tube]
            for strip in range(_STRIPS):
                ring = np.concatenate([edges[strip], edges[strip + 1][::-1]])
                cv2.fillPoly(canvas, [ring], (*tints[strip], 255), shift=_SHIFT)
        return np.asarray(cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA), np.uint8)

    def box(self, instants: slice, camera: Camera, view: Array) -> tuple[int, int, int, int] | None:
        """Return the window that holds the athlete, or None when the athlete is out of the picture."""
        pixels = camera.pixels(self.outline[instants], view).reshape(-1, 2)
        low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 2, 0)
        high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 2, (WIDTH, HEIGHT))
        return None if (high <= low).any() else (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
