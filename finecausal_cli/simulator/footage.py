"""What lens, sensor and the way of a clip to its file do to its pictures: light, colour, blur, grain, JPEG, H.264."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finecausal_cli.simulator.body import Array

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
