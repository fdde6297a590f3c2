"""The camera's motion: corners of the still world followed from frame to frame, a similarity each, chained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from numpy.typing import NDArray

_CORNER_SIDE = 256
"""Long side of the pictures that corners are followed in."""

_CORNERS = 160
_CORNER_QUALITY = 0.004
"""Least strength of a corner over the strongest; low, since water and blurred stands have weak ones."""
_CORNER_DISTANCE = 6.0
_FEWEST_CORNERS = 10
_INLIER_PX = 1.2
"""Most distance, in pixels of the small picture, between a corner and where the camera's motion puts it."""

AGREEMENT = 0.15
"""Least share of the corners that must move with the camera, or its motion is not known."""

_SURE = 0.35
"""Share of corners below which the motion is sought again from other guesses."""

_BLACK = 28
"""Brightest grey value that a black bar may reach, with the noise of compression."""

_CUT_CHANGE = 9.0
"""Least mean difference of two thumbnails, in grey values, at a cut."""

_CUT_CONTRAST = 2.5
"""Least ratio of that difference to the usual one of the frames around."""

_LARGEST_ZOOM = 1.25
_THUMBNAIL = (16, 12)


@dataclass(frozen=True, slots=True)
class Step:
    """The camera's motion from one frame to the next.

    Attributes:
        matrix: float64 [3, 3], from pixels of the first picture to pixels of the second.
        agreement: Share of the corners that moved so, 0 to 1; 0 where the motion is not known.
        change: Mean difference of the two pictures' thumbnails, in grey values.
    """

    matrix: NDArray[np.float64]
    agreement: float
    change: float


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the still world lies in the picture, over time.

    Attributes:
        times_s: float64 [frames], rising.
        to_picture: float64 [frames, 3, 3], similarity from the world (pixels of the first frame of the shot) to pixels
            of the picture.
        shots: int64 [frames], number of the shot of each frame; the world is another in each.
        agreement: float64 [frames], share of the corners that moved with the camera since the frame before.
    """

    times_s: NDArray[np.float64]
    to_picture: NDArray[np.float64]
    shots: NDArray[np.int64]
    agreement: NDArray[np.float64] = field(default_factory=lambda: np.ones(0))

    @property
    def zoom(self) -> NDArray[np.float64]:
        """float64 [frames], pixels of the picture in one of the world."""
        return np.asarray(np.sqrt(np.abs(np.linalg.det(self.to_picture[:, :2, :2]))))

    def at(self, time_s: float) -> NDArray[np.float64]:
        """Return the world -> picture transform, float64 [3, 3], at a time; at the ends that of the last frame."""
        return np.asarray(self.at_times(np.array([time_s]))[0])

    def at_times(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 [times, 3, 3], interpolated between frames, constant beyond the ends."""
        flat = self.to_picture.reshape(len(self.times_s), 9)
        columns = [np.interp(times_s, self.times_s, flat[:, column]) for column in range(9)]
        return np.stack(columns, axis=1).reshape(-1, 3, 3)

    def moved(self, points: NDArray[np.float64], from_s: float, to_s: float) -> NDArray[np.float64]:
        """Say where places of the still world, float64 [points, 2] in the picture at one time, lie at another."""
        matrix = self.at(to_s) @ np.linalg.inv(self.at(from_s))
        return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])

    def cut(self, first: int, last: int) -> Camera:
        """Return the part from one frame to another, inclusive."""
        part = slice(first, last + 1)
        return Camera(self.times_s[part], self.to_picture[part], self.shots[part], self.agreement[part])

    def scaled(self, x: float, y: float) -> Camera:
        """Return the same camera in a picture that is stretched by ``x`` and ``y``; the world is stretched alike."""
        stretch = np.diag([x, y, 1.0])
        return Camera(self.times_s, stretch @ self.to_picture @ np.linalg.inv(stretch), self.shots, self.agreement)


def live_area(pictures: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Find rows and columns inside black bars (letterbox, pillarbox).

    Args:
        pictures: uint8 [frames, height, width, 3].

    Returns:
        Rows and columns that are not black all the time; everything if little would be left.
    """
    brightest = pictures[:: max(1, len(pictures) // 24)].max(axis=(0, 3))
    # The mean of a line, not its brightest pixel: a logo may lie on the bar.
    rows = np.flatnonzero(np.percentile(brightest, 80, axis=1) > _BLACK)
    columns = np.flatnonzero(np.percentile(brightest, 80, axis=0) > _BLACK)
    height, width = brightest.shape
    if len(rows) < height // 4 or len(columns) < width // 5:
        return slice(0, height), slice(0, width)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def measure_steps(pictures: NDArray[np.uint8], pool: Executor) -> list[Step]:
    """Measure the camera's motion between neighbouring frames.

    Args:
        pictures: uint8 [frames, height, width, 3].
        pool: Where pairs of frames are shared out.

    Returns:
        One step fewer than there are frames.
    """
    area = live_area(pictures)
    mask: NDArray[np.uint8] = np.zeros(pictures.shape[1:3], np.uint8)
    mask[area] = 255
    # A black bar's edge is a corner that never moves.
    kernel = np.ones((5, 5), np.uint8)
    mask = np.asarray(cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=255), np.uint8)
    # Corners are placed to a fraction of a pixel: a smaller picture serves as well.
    shrink = min(1.0, _CORNER_SIDE / max(mask.shape))
    size = max(1, round(mask.shape[1] * shrink)), max(1, round(mask.shape[0] * shrink))
    to_full = np.diag([mask.shape[1] / size[0], mask.shape[0] / size[1], 1.0])
    mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    grey = list(pool.map(lambda picture: _grey(picture, size), pictures))
    steps = list(pool.map(lambda index: _step(grey[index], grey[index + 1], mask), range(len(grey) - 1)))
    lost = [index for index, step in enumerate(steps) if step.agreement < _SURE]
    again = list(pool.map(lambda index: _retry(grey[index], grey[index + 1], mask, steps, index), lost))
    for index, step in zip(lost, again, strict=True):
        steps[index] = step
    to_small = np.linalg.inv(to_full)
    return [Step(to_full @ step.matrix @ to_small, step.agreement, step.change) for step in steps]


def chain(times_s: NDArray[np.float64], steps: list[Step]) -> Camera:
    """Chain the steps to one camera; a cut begins another shot, whose world is that of its first frame."""
    cuts = find_cuts(steps)
    to_picture, shots = [np.eye(3)], [0]
    before = np.eye(3)
    for step, is_cut in zip(steps, cuts, strict=True):
        if is_cut:
            to_picture.append(np.eye(3))
            before = np.eye(3)
        else:
            # Where nothing is known (blur, a flash) the camera goes on as before.
            before = step.matrix if step.agreement >= AGREEMENT else before
            to_picture.append(before @ to_picture[-1])
        shots.append(shots[-1] + bool(is_cut))
    agreement = np.array([1.0, *(0.0 if is_cut else step.agreement for step, is_cut in zip(steps, cuts, strict=True))])
    return Camera(times_s, np.stack(to_picture), np.array(shots), agreement)


def find_cuts(steps: list[Step]) -> NDArray[np.bool_]:
    """Tell at which steps the shot changes: the corners do not agree and the pictures differ as never around."""
    change = np.array([step.change for step in steps])
    agreement = np.array([step.agreement for step in steps])
    cuts = np.zeros(len(steps), np.bool_)
    for index in np.flatnonzero((agreement < AGREEMENT) & (change > _CUT_CHANGE)):
        around = np.r_[change[max(0, index - 6) : index], change[index + 1 : index + 7]]
        cuts[index] = not len(around) or change[index] > _CUT_CONTRAST * np.median(around)
    return cuts


def _grey(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _step(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    guess: NDArray[np.float64] | None = None,
) -> Step:
    """Follow corners from one picture to the next, from where ``guess``, float64 [3, 3], puts them."""
    change = float(np.abs(_thumbnail(first) - _thumbnail(second)).mean())
    unknown = Step(np.eye(3), 0.0, change)
    corners = cv2.goodFeaturesToTrack(first, _CORNERS, _CORNER_QUALITY, _CORNER_DISTANCE, mask=mask)
    if corners is None or len(corners) < _FEWEST_CORNERS:
        return unknown
    options: dict[str, Any] = {"winSize": (15, 15), "maxLevel": 4}
    start = corners
    if guess is not None:
        start = np.asarray(cv2.perspectiveTransform(corners, guess), np.float32)
        options = {"winSize": (15, 15), "maxLevel": 2, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    followed, status, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, np.array(start), **options)
    corners, followed = corners.reshape(-1, 2), followed.reshape(-1, 2)
    seen = status.ravel() == 1
    if seen.sum() < _FEWEST_CORNERS:
        return unknown
    matrix, inliers = cv2.estimateAffinePartial2D(
        corners[seen], followed[seen], method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PX, maxIters=500
    )
    if matrix is None or not 1 / _LARGEST_ZOOM < np.sqrt(abs(np.linalg.det(matrix[:, :2]))) < _LARGEST_ZOOM:
        return unknown
    return Step(np.vstack([matrix, [0.0, 0.0, 1.0]]), float(inliers.mean() * seen.mean()), change)


def _retry(
    first: NDArray[np.uint8], second: NDArray[np.uint8], mask: NDArray[np.uint8], steps: list[Step], index: int
) -> Step:
    """Follow the corners again, from where the neighbouring steps, or the correlation of both pictures, put them."""
    guesses = []
    for order in (range(index - 1, max(-1, index - 4), -1), range(index + 1, min(len(steps), index + 4))):
        near = next((steps[other].matrix for other in order if steps[other].agreement >= _SURE), None)
        if near is not None:
            guesses.append(near)
    guesses.append(_correlated(first, second))
    return max(
        [steps[index], *(_step(first, second, mask, guess) for guess in guesses)], key=lambda step: step.agreement
    )


def _correlated(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Shift between two pictures by phase correlation, as float64 [3, 3]."""
    pictures = [
        np.asarray(cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)) for one in (first, second)
    ]
    window = cv2.createHanningWindow(pictures[0].shape[::-1], cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(pictures[0].astype(np.float32), pictures[1].astype(np.float32), window)
    matrix = np.eye(3)
    matrix[:2, 2] = 2 * x, 2 * y
    return matrix


def _thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(picture, _THUMBNAIL, interpolation=cv2.INTER_AREA), np.float32)
