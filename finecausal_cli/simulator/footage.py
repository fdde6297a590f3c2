"""What makes pictures filmed ones: graphics, blur, noise, codec, frame rate."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.athlete import Array
    from finecausal_cli.simulator.camera import WildCamera


# What lies over the picture of a filmed dive: score bugs, clocks, logos, tickers, bars, and obstacles at the water.

_GRAPHICS_SHARE, _BARS_SHARE, _OBSTACLE_SHARE = 0.35, 0.12, 0.06
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_TRIPLEX)
_LETTERS = np.array(list("ABCDEFGHIKLMNOPRSTUVWZ"))
_LETS_THROUGH = 128
"""Share (of 255) of the picture that graphics must leave, or they hide it."""


def inner_size(rng: np.random.Generator, size: tuple[int, int]) -> tuple[int, int]:
    """Draw the part of a picture of (width, height) that bars leave free; most pictures have none."""
    width, height = size
    if rng.random() > _BARS_SHARE:
        return size
    if width > height and rng.random() < 0.5:  # a portrait or 4:3 picture in a wide one
        return min(2 * round(height * float(rng.choice([9 / 16, 3 / 4, 1.0, 4 / 3])) / 2), width), height
    share = float(rng.choice([0.75, rng.uniform(0.55, 0.95)]))
    return width, 2 * round(height * share / 2)


@dataclass(frozen=True, slots=True)
class Overlay:
    """Graphics that are burnt into every frame.

    Attributes:
        ink: uint8 [height, width, 3] colours times opacity.
        clear: uint8 [height, width, 3] what the graphics leave of the picture, 0..255.
        ticker: uint8 [rows, length, 3] that runs along the bottom, or None; its top row; its speed, pixels a second.
        clock: (x, y, size) of a running clock's text, or None.
        inner: Size of the part between bars; blurred says whether a blurred copy fills them instead of black.
        blurred: See ``inner``.
        kinds: Names of what is there.
    """

    ink: NDArray[np.uint8]
    clear: NDArray[np.uint8]
    ticker: tuple[NDArray[np.uint8], int, float] | None
    clock: tuple[int, int, float] | None
    inner: tuple[int, int]
    blurred: bool
    kinds: tuple[str, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, size: tuple[int, int], inner: tuple[int, int]) -> Overlay:
        """Draw the graphics of a clip."""
        width, height = size
        colour, opacity = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
        kinds: list[str] = []
        ticker = clock = None
        if rng.random() < _GRAPHICS_SHARE:
            bug, lower, logo, runs, ticks = (rng.random(5) < (0.5, 0.35, 0.5, 0.2, 0.35)).tolist()
            if bug:
                kinds.append("bug")
                corner = (
                    rng.uniform((0.02, 0.03), (0.55, 0.12))
                    if rng.random() < 0.6
                    else rng.uniform((0.02, 0.7), (0.55, 0.85))
                )
                _panel(rng, (colour, opacity), corner, rng.uniform((0.12, 0.05), (0.4, 0.15)), int(rng.integers(1, 4)))
            if lower:
                kinds.append("lower third")
                _panel(
                    rng,
                    (colour, opacity),
                    np.array([rng.uniform(0.03, 0.2), 0.78]),
                    rng.uniform((0.35, 0.08), (0.75, 0.17)),
                    2,
                )
            if logo:
                kinds.append("logo")
                _logo(rng, colour, opacity)
            if runs:
                kinds.append("ticker")
                rows = max(int(height * rng.uniform(0.05, 0.09)), 12)
                ticker = (_strip(rng, rows, 3 * width), height - rows, float(rng.uniform(20, 120)))
            if ticks:
                kinds.append("clock")
                clock = (int(width * rng.choice([0.04, 0.7])), int(height * rng.choice([0.08, 0.95])), height / 480)
        if inner != size:
            kinds.append("bars")
        ink = (colour * opacity[..., None]).astype(np.uint8)
        clear = np.repeat((255 * (1 - opacity)).astype(np.uint8)[..., None], 3, axis=2)
        return cls(ink, clear, ticker, clock, inner, bool(rng.random() < 0.35), tuple(kinds))

    def paint(self, picture: NDArray[np.uint8], file_s: float) -> NDArray[np.uint8]:
        """Return the picture with its graphics ``file_s`` after the clip's start."""
        if not self.kinds:
            return picture
        height, width = picture.shape[:2]
        left, top = (width - self.inner[0]) // 2, (height - self.inner[1]) // 2
        if self.inner != (width, height):
            middle = picture[top : top + self.inner[1], left : left + self.inner[0]]
            fill = np.zeros_like(picture)
            if self.blurred:
                tiny = cv2.resize(middle, (24, 24), interpolation=cv2.INTER_AREA)
                fill = np.asarray(cv2.resize(cv2.blur(tiny, (5, 5)), (width, height)), np.uint8) // 2
            fill[top : top + self.inner[1], left : left + self.inner[0]] = middle
            picture = fill
        if self.kinds != ("bars",):
            picture = np.asarray(cv2.add(cv2.multiply(picture, self.clear, scale=1 / 255), self.ink), np.uint8)
        if self.ticker is not None:
            strip, row, speed = self.ticker
            start = int(file_s * speed) % (strip.shape[1] - width)
            picture[row : row + strip.shape[0]] = strip[:, start : start + width]
        if self.clock is not None:
            x, y, size = self.clock
            text = f"{int(file_s) // 60:02d}:{int(file_s) % 60:02d}.{int(file_s * 10) % 10}"
            for tint, line in (((0, 0, 0), 3), ((255, 255, 255), 1)):
                cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, tint, line, cv2.LINE_AA)
        return picture

    def cover(self, hidden: NDArray[np.uint8]) -> bool:
        """Mark in ``hidden`` what graphics and bars hide, in place; return whether they hide anything."""
        if not self.kinds:
            return False
        height, width = hidden.shape
        left, top = (width - self.inner[0]) // 2, (height - self.inner[1]) // 2
        hidden[self.clear[..., 0] < _LETS_THROUGH] = 255
        free = hidden[top : top + self.inner[1], left : left + self.inner[0]].copy()
        hidden[:] = 255
        hidden[top : top + self.inner[1], left : left + self.inner[0]] = free
        if self.ticker is not None:
            hidden[self.ticker[1] :] = 255
        return True


def _text(rng: np.random.Generator, letters: int) -> str:
    if rng.random() < 0.4:
        return f"{rng.uniform(0, 100):.{int(rng.integers(0, 3))}f}"
    return "".join(rng.choice(_LETTERS, letters).tolist())


def _panel(
    rng: np.random.Generator,
    canvas: tuple[NDArray[np.uint8], NDArray[np.float32]],
    corner: Array,
    sides: Array,
    lines: int,
) -> None:
    """Draw a box with lines of text; ``corner`` and ``sides`` are shares of the picture."""
    colour, opacity = canvas
    size = np.array(opacity.shape[::-1])
    left, top = (corner * size).astype(int).tolist()
    right, bottom = np.minimum((corner + sides) * size, size - 2).astype(int).tolist()
    cv2.rectangle(colour, (left, top), (right, bottom), rng.integers(0, 255, 3).tolist(), -1)
    opacity[top:bottom, left:right] = float(rng.uniform(0.55, 1.0))
    each, font = (bottom - top) / lines, _FONTS[int(rng.integers(len(_FONTS)))]
    ink = (250, 250, 250) if rng.random() < 0.7 else (10, 10, 10)
    for line in range(lines):
        base = int(top + each * (line + 0.8))
        cv2.putText(colour, _text(rng, 12), (left + 4, base), font, max(each, 8) / 32, ink, 1, cv2.LINE_AA)


def _logo(rng: np.random.Generator, colour: NDArray[np.uint8], opacity: NDArray[np.float32]) -> None:
    """Draw a half-transparent sign in a corner."""
    height, width = opacity.shape
    shape = np.zeros((height, width), np.uint8)
    x, y = int(width * rng.choice([0.08, 0.9])), int(height * rng.choice([0.1, 0.9]))
    radius = int(min(width, height) * rng.uniform(0.03, 0.08))
    if rng.random() < 0.5:
        cv2.circle(shape, (x, y), radius, 255, int(rng.choice([-1, 2, 4])), cv2.LINE_AA)
    cv2.putText(shape, _text(rng, 3), (x - radius, y + radius // 2), _FONTS[1], radius / 22, 255, 2, cv2.LINE_AA)
    inked = shape > 0
    colour[inked] = (255, 255, 255) if rng.random() < 0.6 else tuple(rng.integers(0, 255, 3).tolist())
    np.maximum(opacity, shape.astype(np.float32) / 255 * np.float32(rng.uniform(0.3, 0.95)), out=opacity)


def _strip(rng: np.random.Generator, rows: int, length: int) -> NDArray[np.uint8]:
    strip = np.empty((rows, length, 3), np.uint8)
    strip[:] = rng.integers(0, 255, 3)
    x = 10
    while x < length:
        text = _text(rng, int(rng.integers(4, 14)))
        cv2.putText(strip, text, (x, int(rows * 0.75)), _FONTS[0], rows / 34, (245, 245, 245), 1, cv2.LINE_AA)
        x += int(rows * 0.62 * len(text)) + 20
    return strip


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something near the camera that hides the entry: a wall, a hedge, heads of spectators.

    Attributes:
        top: [K, 2] outline of its upper edge, screen metres.
        colour: Of its body.
    """

    top: Array
    colour: tuple[int, int, int]

    @classmethod
    def draw(cls, rng: np.random.Generator, surface: Array) -> Obstacle | None:
        """Draw an obstacle before the point [2] where the water is met, screen metres; mostly there is none."""
        if rng.random() > _OBSTACLE_SHARE:
            return None
        x = np.linspace(-14, 14, 280)
        edge = np.full_like(x, float(rng.uniform(0.15, 0.9)))
        if rng.random() < 0.6:  # heads
            for middle in np.arange(-14, 14, float(rng.uniform(0.5, 1.4))):
                head = float(rng.uniform(0.2, 0.5)) * np.sqrt(
                    np.clip(1 - ((x - middle - rng.normal(0, 0.1)) / 0.22) ** 2, 0, 1)
                )
                edge = np.maximum(edge, edge.min() + head)
        grey = int(rng.integers(10, 150))
        tint = (grey + rng.integers(-10, 30, 3)).clip(0, 255).tolist()
        return cls(np.stack([x, edge], axis=-1) + surface, (tint[0], tint[1], tint[2]))

    def paint(self, picture: NDArray[np.uint8], camera: WildCamera, view: Array) -> None:
        """Draw it in place; a mask (one channel) gets 255."""
        low = self.top[[-1, 0]] - (0, 60)
        ring = np.rint(np.clip(camera.pixels(np.concatenate([self.top, low]), view), -9999, 9999) * 16)
        tint = self.colour if picture.ndim == 3 else 255
        cv2.fillPoly(picture, [ring.astype(np.int32)], tint, cv2.LINE_AA if picture.ndim == 3 else cv2.LINE_8, shift=4)


# What lens, sensor and the way of a clip to its file do to its pictures: light, colour, blur, grain, JPEG, H.264.

_GRAIN_MARGIN = 64
"""Rows and columns by which the noise field is larger than the picture, so that it can be shifted."""

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class Footage:
    """How a clip was recorded and copied; one draw holds for all of its frames.

    Attributes:
        colour: [3, 4] matrix that light, cast and saturation make of RGB and 1.
        gamma: Exponent of the tone curve.
        falloff: Grey levels that the lens takes from the corners.
        blur: Kernel that the picture is blurred with, or a line of one that is applied along and across; or None.
        grain: Standard deviation of the noise, grey levels.
        coarse: Side of a grain, pixels.
        breathing: Amplitude of slow changes of exposure, and their phase.
        jpeg: Quality of a JPEG generation before the video's own, or None.
        crf: Constant rate factor of the video.
        shutter: Share of the frame interval that the shutter is open.
        seed: Of the noise.
    """

    colour: Array
    gamma: float
    falloff: float
    blur: Array | None
    grain: float
    coarse: int
    breathing: tuple[float, float]
    jpeg: int | None
    crf: int
    shutter: float
    seed: tuple[int, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, seed: tuple[int, ...], lines: int) -> Footage:
        """Draw a look for a picture of so many lines."""
        is_grey, has_cast, is_dull, recoded, dim = rng.random(5) < (0.06, 0.5, 0.4, 0.3, 0.15)
        saturation = 0.0 if is_grey else float(rng.uniform(0.3, 0.9) if is_dull else rng.uniform(0.85, 1.35))
        gain = float(np.exp(rng.normal(-0.45 if dim else 0.0, 0.22)))
        cast = np.exp(rng.normal(0, 0.13, 3)) if has_cast else np.exp(rng.normal(0, 0.03, 3))
        contrast = float(rng.uniform(0.65, 1.25))
        grey = np.outer(np.ones(3), _LUMA)
        matrix = gain * contrast * np.diag(cast) @ (saturation * np.eye(3) + (1 - saturation) * grey)
        shift = float(rng.normal(0, 10)) + 118 * (1 - contrast)
        noisy = rng.random() < 0.3
        return cls(
            colour=np.concatenate([matrix, np.full((3, 1), shift)], axis=1),
            gamma=float(np.exp(rng.normal(0, 0.18))),
            falloff=float(rng.uniform(8, 60) if rng.random() < 0.35 else 0.0),
            blur=_draw_blur(rng, lines),
            grain=float(rng.uniform(4, 14) if noisy else rng.uniform(0.4, 4)),
            coarse=int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])),
            breathing=(float(rng.uniform(0, 0.06) if rng.random() < 0.3 else 0.0), float(rng.uniform(0, 2 * pi))),
            jpeg=int(rng.integers(15, 81)) if recoded else None,
            crf=18 + int(23 * rng.beta(1.2, 1.9)),
            shutter=float(rng.uniform(0.08, 0.35) if rng.random() < 0.6 else rng.uniform(0.35, 0.95)),
            seed=seed,
        )

    def record(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        return {
            "gain": round(float(self.colour[:, :3].sum() / 3), 4),
            "gamma": round(self.gamma, 4),
            "blurred": self.blur is not None,
            "grain": round(self.grain, 3),
            "jpeg": self.jpeg,
            "crf": self.crf,
            "shutter": round(self.shutter, 4),
        }


class Film:
    """Develops the pictures of one clip."""

    def __init__(self, footage: Footage, size: tuple[int, int], frames: int) -> None:
        """Draw the clip's noise for so many pictures of ``size`` (width, height)."""
        self._footage, (self._width, self._height) = footage, size
        rng = np.random.default_rng(np.random.SeedSequence((*footage.seed, 3)))
        self._shifts = rng.integers(_GRAIN_MARGIN, size=(frames, 4))
        side, coarse = np.array([self._height, self._width]) + _GRAIN_MARGIN, footage.coarse
        small = tuple((side // coarse + 1).tolist())
        noise = np.asarray(rng.standard_normal((*small, 3), dtype=np.float32))
        noise = noise if coarse == 1 else np.asarray(cv2.resize(noise, (int(side[1]), int(side[0]))))
        field = np.rint(noise * np.float32(footage.grain))
        self._brighter = np.clip(field, 0, 255).astype(np.uint8)
        self._darker = np.clip(-field, 0, 255).astype(np.uint8)
        self._curve = (255 * (np.arange(256) / 255) ** footage.gamma).astype(np.uint8)
        self._corners: NDArray[np.uint8] | None = None
        if footage.falloff > 0:
            across = np.linspace(-1, 1, self._width) ** 2 + np.linspace(-1, 1, self._height)[:, None] ** 2
            self._corners = np.repeat((footage.falloff / 2 * across).astype(np.uint8)[..., None], 3, axis=2)

    def develop(self, picture: NDArray[np.uint8], frame: int, file_s: float) -> NDArray[np.uint8]:
        """Return the picture of a frame, ``file_s`` after the clip's start, as lens and sensor leave it."""
        footage = self._footage
        if footage.blur is not None:
            line, edge = footage.blur, cv2.BORDER_REPLICATE
            is_line = line.shape[1] == 1
            blurred = (
                cv2.sepFilter2D(picture, -1, line, line, borderType=edge)
                if is_line
                else cv2.filter2D(picture, -1, line, borderType=edge)
            )
            picture = np.asarray(blurred, np.uint8)
        amplitude, phase = footage.breathing
        matrix = footage.colour * (1 + amplitude * np.sin(1.7 * file_s + phase))
        picture = np.asarray(cv2.LUT(cv2.transform(picture, matrix), self._curve), np.uint8)
        if self._corners is not None:
            picture = np.asarray(cv2.subtract(picture, self._corners), np.uint8)
        a, b, c, d = self._shifts[frame].tolist()
        picture = np.asarray(cv2.add(picture, self._brighter[a : a + self._height, b : b + self._width]), np.uint8)
        return np.asarray(cv2.subtract(picture, self._darker[c : c + self._height, d : d + self._width]), np.uint8)

    def copy(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture after its JPEG generation, if it has one."""
        if self._footage.jpeg is None:
            return picture
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._footage.jpeg])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _draw_blur(rng: np.random.Generator, lines: int) -> Array | None:
    """Draw the kernel of soft focus, defocus or a copy's ghost; None leaves the picture sharp."""
    kind, strength = rng.random(), float(rng.uniform(0.3, 1.0)) * lines / 240
    if kind < 0.45:
        return None
    if kind < 0.8:
        return np.asarray(cv2.getGaussianKernel(2 * int(2 * strength + 1) + 1, 1.1 * strength))
    side = 2 * int(1.8 * strength + 1) + 1
    kernel = np.zeros((side, side))
    if kind < 0.92:
        cv2.circle(kernel, (side // 2, side // 2), side // 2, 1.0, -1)
    else:
        reach = float(rng.uniform(0, pi))
        end = np.rint(side // 2 * np.array([np.cos(reach), np.sin(reach)])).astype(int)
        cv2.line(kernel, tuple((side // 2 - end).tolist()), tuple((side // 2 + end).tolist()), 1.0)
    return np.asarray(kernel / kernel.sum())
