"""The athlete's figure as it is drawn: build, skin, swimwear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import cv2
import numpy as np

from finecausal_cli.simulator.athlete import JOINT, Array, Athlete

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.camera import Projection
    from finecausal_cli.simulator.venue import Venue


# What an athlete looks like: skin, hair or cap, and the suit.

Colour = tuple[int, int, int]

_SKIN: tuple[Colour, ...] = (
    (240, 200, 174),
    (230, 184, 150),
    (214, 164, 128),
    (190, 138, 102),
    (160, 110, 78),
    (124, 84, 60),
    (96, 66, 50),
)
_HAIR: tuple[Colour, ...] = ((26, 22, 20), (52, 34, 24), (96, 66, 40), (176, 136, 82), (40, 40, 44), (120, 56, 30))
_SUIT: tuple[Colour, ...] = (
    (18, 24, 60),
    (160, 18, 32),
    (14, 14, 16),
    (20, 90, 160),
    (20, 110, 70),
    (206, 170, 30),
    (90, 30, 110),
    (220, 220, 224),
    (210, 80, 24),
    (20, 130, 140),
)
_CAPPED = 0.12
"""Share of athletes with a cap; most divers wear none."""

Suit = Literal["one-piece", "briefs", "jammers"]
_COVERED: dict[Suit, frozenset[str]] = {
    "one-piece": frozenset({"hips", "belly", "waist", "chest"}),
    "briefs": frozenset({"hips"}),
    "jammers": frozenset({"hips", "shorts"}),
}


@dataclass(frozen=True, slots=True)
class Appearance:
    """Colours of an athlete, RGB, and what is worn.

    Attributes:
        skin: Of the body.
        hair: Of hair or cap.
        suit: Of the suit.
        cut: The suit's form.
        bun: Whether long hair is tied behind the head.
    """

    skin: Colour
    hair: Colour
    suit: Colour
    cut: Suit
    bun: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, athlete: Athlete) -> Appearance:
        """Draw skin, hair or cap, and a suit."""
        woman = athlete.sex == "female"
        capped, jammers, tied = rng.random(3) < (_CAPPED, 0.25, 0.75)
        skin = _SKIN[int(rng.integers(len(_SKIN)))]
        hair = _HAIR[int(rng.integers(len(_HAIR)))]
        suit, cap = (_SUIT[int(k)] for k in rng.integers(len(_SUIT), size=2))
        man: Suit = "jammers" if jammers else "briefs"
        return cls(skin, cap if capped else hair, suit, "one-piece" if woman else man, bool(woman and tied))

    def of(self, material: str) -> Colour:
        """Return the colour of a material."""
        if material in ("hair", "bun"):
            return self.hair
        return self.suit if material in _COVERED[self.cut] else self.skin

    def shows(self, material: str) -> bool:
        """Whether there is anything of this material to see."""
        return {"bun": self.bun, "shorts": self.cut == "jammers"}.get(material, True)


# The athlete's picture: shaded limbs in depth order, and the exact coverage they give.
#
# Every part of the body is a tube with elliptic cross-sections between two joints. Its silhouette depends on the
# view, so a twisting trunk changes its width. Across its width a tube is drawn in strips that are lit like a
# cylinder.

Box = tuple[int, int, int, int]
"""Left, top, right, bottom of a window in pixels; right and bottom are outside."""

_EDGES = np.array([-1.0, -0.80, -0.34, 0.20, 0.68, 1.0])
"""Where a tube's strips begin and end across its half-width."""

_RIM = np.array([0.84, 1.0, 1.0, 1.0, 0.84])
"""Less light reaches the rim of a limb: this parts limbs of one colour that lie on one another."""

_FINE = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))
_COARSE = ((0, 5), (1, 3), (3, 4))
"""Edges between which a tube is filled: strip by strip; or, where it is small or blurred, all of it and two strips."""

_STATIONS = 9
_OVERSAMPLE = 2
_SHIFT = 4
"""Fractional bits of the drawing coordinates."""

_FAR_SIDE = 0.16
"""How much darker a limb on the far side of the trunk is than one on the near side."""

_GLOSS = 34.0
"""Grey levels that wet skin adds where it mirrors the light."""


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
_SHORTS = ((-0.10, 0.089, 0.089), (0.2, 0.088, 0.088), (0.48, 0.078, 0.078))
_TUBES: tuple[_Tube, ...] = (
    _Tube("pelvis", "navel", ((-0.35, 0.150, 0.100), (0.0, 0.168, 0.114), (0.5, 0.160, 0.108)), "hips"),
    _Tube("pelvis", "navel", ((0.42, 0.160, 0.108), (0.7, 0.150, 0.100), (1.0, 0.138, 0.092)), "belly"),
    _Tube("navel", "chest", ((0.0, 0.138, 0.092), (0.5, 0.142, 0.098), (1.0, 0.160, 0.112)), "waist"),
    _Tube("chest", "collar", ((0.0, 0.160, 0.112), (0.4, 0.172, 0.116), (0.6, 0.168, 0.110)), "chest"),
    _Tube("chest", "collar", ((0.62, 0.168, 0.108), (0.8, 0.156, 0.096), (1.0, 0.126, 0.076)), "skin"),
    _Tube("collar", "neck", ((0.0, 0.075, 0.062), (1.0, 0.054, 0.054), (1.6, 0.052, 0.054)), "skin"),
    _Tube("neck", "vertex", ((0.28, 0.054, 0.064), (0.62, 0.074, 0.090), (0.92, 0.064, 0.078)), "skin"),
    _Tube("neck", "vertex", ((0.45, 0.060, 0.060), (0.70, 0.079, 0.082), (0.97, 0.068, 0.074)), "hair"),
    _Tube("neck", "vertex", ((0.74, 0.034, 0.034), (0.84, 0.046, 0.046), (0.94, 0.034, 0.034)), "bun"),
    *(_Tube(f"{a}_{side}", f"{b}_{side}", shape, kind) for side in "lr" for a, b, shape, kind in (*_ARM, *_LEG)),
    *(_Tube(f"hip_{side}", f"knee_{side}", _SHORTS, "shorts") for side in "lr"),
)
_TRUNK = 9
"""The first tubes are drawn as one, in this order, at the depth of the trunk."""

_SHOULDERS = 4
_CAPS = {
    "hips": (1.0, 0.25),
    "belly": (0.25, 0.25),
    "waist": (0.25, 0.25),
    "chest": (0.25, 0.25),
    "shorts": (0.3, 0.3),
}
"""How far the ends of a tube are rounded, as shares of a round end; flat where the trunk goes on."""

_IS_THICK = [tube.start[:4] in ("pelv", "nave", "ches", "hip_", "knee") for tube in _TUBES]

_BACK_M = {"hair": 0.034, "bun": 0.125}
"""How far behind the head's axis hair sits, metres."""


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
        low, high = _CAPS.get(tube.material, (1.0, 1.0)) if row != _SHOULDERS else (0.25, 1.0)
        caps = [low * a[0] / span * s for s in (0.95, 0.6)], [high * a[-1] / span * s for s in (0.6, 0.95)]
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
        colour: uint8 [N, tubes, fills, 3], those of `_FINE` and then those of `_COARSE`.
        order: [N, tubes shown] drawing order, far to near.
    """

    outline: Array
    colour: NDArray[np.uint8]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, joints: Array, athlete: Athlete, appearance: Appearance, camera: Projection, venue: Venue) -> Figure:
        """Build from joints [N, joints, 3] in the world, lit and coloured as the venue's light has it."""
        along, wide, deep = _table(athlete)
        start = joints[:, [JOINT[t.start] for t in _TUBES]]
        end = joints[:, [JOINT[t.end] for t in _TUBES]]
        hips = joints[:, JOINT["hip_l"]] - joints[:, JOINT["hip_r"]]
        lateral = (hips / np.linalg.norm(hips, axis=-1, keepdims=True))[:, None]
        axis = end - start
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
        front = np.cross(np.broadcast_to(lateral, axis.shape), axis)
        back = np.array([_BACK_M.get(t.material, 0.0) for t in _TUBES])[:, None]
        start, end = start - back * front, end - back * front

        screen_start, screen_end = camera.screen(start), camera.screen(end)
        screen = screen_start[:, :, None] + along[None, :, :, None] * (screen_end - screen_start)[:, :, None]
        flat = camera.screen(axis)[..., :2]
        flat = flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)
        normal = np.stack([-flat[..., 1], flat[..., 0]], axis=-1)
        across = normal @ camera.axes[:2]
        a = np.einsum("ntc,ntc->nt", across, np.broadcast_to(lateral, across.shape))[..., None]
        b = np.einsum("ntc,ntc->nt", across, front)[..., None]
        width = np.sqrt((a * wide) ** 2 + (b * deep) ** 2)
        offset = _EDGES[None, None, :, None, None] * width[:, :, None, :, None] * normal[:, :, None, None, :]
        outline = screen[:, :, None, :, :2] + offset

        depth = screen[..., 2].mean(axis=2)
        trunk = depth[:, :4].mean(axis=1, keepdims=True)
        nearness = np.clip((depth - trunk) / 0.16, -1, 1)
        nearness[:, :_TRUNK] = 0
        depth[:, :_TRUNK] = trunk + 1e-4 * np.arange(_TRUNK)
        facing = camera.screen(front)[..., 2]
        for k, tube in enumerate(_TUBES):
            if tube.material in _BACK_M:
                behind = 5.5e-4 if tube.material == "hair" else 4.5e-4
                depth[:, k] = trunk[:, 0] + np.where(facing[:, k] > 0.45, behind, 1e-4 * k)
            elif tube.material == "shorts":
                depth[:, k] += 1e-3
        shown = np.array([k for k, tube in enumerate(_TUBES) if appearance.shows(tube.material)])
        order = shown[np.argsort(depth[:, shown], axis=1, kind="stable")]
        return cls(outline, _light_up(normal, nearness, appearance, venue), order)

    def paint(self, instant: int, pixels: Array, box: Box, oversample: int = _OVERSAMPLE) -> NDArray[np.uint8]:
        """Draw one instant into a window of the picture.

        Args:
            instant: Which of the N.
            pixels: [tubes, strips + 1, stations, 2] its outline in the picture.
            box: left, top, right, bottom of the window in pixels.
            oversample: Side of the grid of samples in a pixel.

        Returns:
            uint8 [rows, columns, 4]: RGB times coverage, and coverage 0..255.
        """
        left, top, right, bottom = box
        canvas = np.zeros(((bottom - top) * oversample, (right - left) * oversample, 4), np.uint8)
        unit = oversample << _SHIFT
        fixed = np.rint(pixels * unit - (left * unit + (1 << _SHIFT) // 2, top * unit + (1 << _SHIFT) // 2))
        edges = fixed.astype(np.int32)
        first, last = (list(side) for side in zip(*_FINE, *_COARSE, strict=True))
        rings = np.concatenate([edges[:, first], edges[:, last, ::-1]], axis=2)
        colours = self.colour[instant].tolist()
        fine, coarse = slice(0, len(_FINE)), slice(len(_FINE), None)
        for tube in self.order[instant].tolist():
            fills = fine if oversample > 1 and _IS_THICK[tube] else coarse
            for ring, tint in zip(rings[tube, fills], colours[tube][fills], strict=True):
                cv2.fillPoly(canvas, [ring], (*tint, 255), shift=_SHIFT)
        if oversample == 1:
            return canvas
        return np.asarray(cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA), np.uint8)


def _light_up(normal: Array, nearness: Array, appearance: Appearance, venue: Venue) -> NDArray[np.uint8]:
    """Return the colour of every fill, uint8 [N, tubes, fills, 3], lit like a cylinder."""
    mids = (_EDGES[1:] + _EDGES[:-1]) / 2
    outwards = mids[None, None, :, None] * normal[:, :, None, :]
    sun = np.array(venue.sun) / np.linalg.norm(venue.sun)
    lit = np.clip(outwards @ sun[:2] + np.sqrt(1 - mids**2) * sun[2], 0, 1)
    light = venue.light
    shade = ((1.2 - 0.55 * light) + 0.55 * light * (2 * lit - 0.85)) * _RIM
    shade = shade * (1 + _FAR_SIDE / 2 * (nearness - 0.3))[..., None]
    base = np.array([appearance.of(t.material) for t in _TUBES], dtype=float)
    gloss = _GLOSS * light * lit**8
    colour = (base[None, :, None] * shade[..., None] + gloss[..., None]) * venue.gain
    coarse = [colour[:, :, [0, -1]].mean(axis=2), colour[:, :, 1:3].mean(axis=2), colour[:, :, 3]]
    every = np.concatenate([colour, np.stack(coarse, axis=2)], axis=2)
    return np.asarray(np.clip(every, 0, 255), np.uint8)


def window(pixels: Array, size: tuple[int, int]) -> Box | None:
    """Return the window of a picture of (width, height) that holds the points [..., 2], or None when none is in it."""
    flat = pixels.reshape(-1, 2)
    low = np.maximum(np.floor(flat.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(flat.max(axis=0)).astype(int) + 2, size)
    return None if (high <= low).any() else (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
