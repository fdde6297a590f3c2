"""What still moves before the stilled world: a heat map for each frame, and how to look things up in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from finecausal_cli.tracking.camera import AGREEMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from finecausal_cli.tracking.camera import Camera
    from finecausal_cli.video.decoders import SmallFrame

SHRINK = 2
"""Pixels of the small picture, along each side, in one of the heat."""

HOTTEST = 60
"""Difference of colour, in grey values, beyond which heat does not rise."""

_DELAYS_S = (0.067, 0.133, 0.4)
"""How far before and after a frame the frames lie that it is compared with, in seconds."""

_OUTLINE_HEAT = 8.0
"""Heat of an athlete who is certain and does not move."""

_GRAPHICS_S, _GRAPHICS_PX = 0.25, 8.0
"""What stays in its pixels over this time, while the camera moves by so many, is burnt in."""

_GRAPHICS_HEAT, _GRAPHICS_NOISE, _GRAPHICS_PAIRS, _GRAPHICS_SHARE = 5, 14, 5, 0.85
"""Least heat at both times, most difference of colour, fewest pairs of frames, and share of the warm ones."""

_PANEL_GAP, _PANEL_MARGIN, _LEAST_PANEL, _PANEL_SHARE = 15, (7, 13), 20, 0.35
"""Pixels of the heat between letters and edges that are of one panel, and its margin, high and wide: digits of a clock
that change beside those that stay. From how many pixels on, and from which share of the rectangle around them, all of
it is a panel. With gaps and margins of 5, half a panel was taken for the athlete in five of 310 wild films."""

_STILL_PX = 0.3
"""Motion of the camera, in pixels, that needs no correction."""

_CONTRAST, _MOST_GAIN = 160.0, 4.0
"""Grey values between dark and bright of a well lit film, and how far a dim one is raised."""

_HELD, _HELD_S, _HELD_FRAMES, _HELD_CELL_PX = 10, 0.8, 8, 8
"""Largest difference of two codings of a picture, grey values of the means of cells so wide; seconds and frames from
which on a held picture is left out. Held ones differ by 1 to 6, coarsely coded ones by 10; from the first picture of 62
filmed and simulated clips the others were 13 and more away within half a second."""

_EROSION = np.ones((2, 2), np.uint8)

_BLUR = 0.0125
"""Standard deviation of the blur over the long side of the heat: about half of an athlete."""


@dataclass(frozen=True, slots=True)
class Heat:
    """Heat of what moves, with where the world lies.

    Attributes:
        raw: uint8 [frames, height, width], 0 to ``HOTTEST``, at half of the small picture's size.
        smooth: uint8 [frames, height, width], four times the blurred heat.
        known: uint8 [frames], 1 where the camera's motion around the frame is known.
        camera: World -> pixels of the heat.
    """

    raw: NDArray[np.uint8]
    smooth: NDArray[np.uint8]
    known: NDArray[np.bool_]
    camera: Camera


SMOOTH_GAIN = 4.0
"""Value in ``Heat.smooth`` of one grey value."""


def after_hold(frames: Iterator[SmallFrame]) -> Iterator[SmallFrame]:
    """Leave out a held picture at the beginning, all but its last frame; of a film that never moves, its beginning.

    Nothing happens in it, and yet scores of two filmed dives rose by 3 to 4 points where the first picture was held for
    two seconds more: the shot is longer, and the flight is looked for in all of it.
    """
    held: list[SmallFrame] = []
    first: NDArray[np.uint8] | None = None
    for frame in frames:
        cells = _cells(frame.picture)
        first = cells if first is None else first
        if int(cv2.absdiff(first, cells).max()) > _HELD:
            yield from held[-1:] if held[-1].time_s - held[0].time_s > _HELD_S else held
            yield frame
            yield from frames
            return
        if len(held) > _HELD_FRAMES and frame.time_s - held[0].time_s > _HELD_S:
            held.pop()  # as many as tell that nothing moves, and the last one
        held.append(frame)
    yield from held


def _cells(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (max(1, length // _HELD_CELL_PX) for length in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def motion_heat(
    pictures: NDArray[np.uint8],
    camera: Camera,
    pool: Executor,
    outline: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None,
) -> Heat:
    """Measure what moves before the still world.

    A frame is compared with those shortly before and after, brought to where its camera stands; the smaller of both
    differences counts, for a ghost shows in one only.

    Args:
        pictures: uint8 [frames, height, width, 3].
        camera: World -> pixels of ``pictures``.
        pool: Where frames are shared out.
        outline: How likely each pixel is the athlete's, 0 to 1, from pictures; what moves and is likely is hotter.

    Returns:
        The heat, and the camera in its pixels.
    """
    frames, height, width = pictures.shape[:3]
    size = max(2, height // SHRINK), max(2, width // SHRINK)
    raw = np.zeros((frames, *size), np.uint8)
    smooth = np.zeros((frames, *size), np.uint8)
    likely = None if outline is None else outline(pictures)
    neighbours = [_neighbours(camera, index) for index in range(frames)]
    sigma = _BLUR * max(size)
    gain = _contrast_gain(pictures)

    def measure(index: int) -> None:
        heat = _heat(pictures, camera, index, neighbours[index], gain)
        small = cv2.resize(heat, size[::-1], interpolation=cv2.INTER_AREA)
        if likely is not None:
            share = cv2.resize(likely[index], size[::-1], interpolation=cv2.INTER_LINEAR)
            # Motion counts half by itself, twice on a likely athlete, who is also seen while still.
            small = np.clip(small * (0.5 + 1.5 * share) + _OUTLINE_HEAT * share, 0, HOTTEST).astype(np.uint8)
        raw[index] = small

    def blur(index: int) -> None:
        smooth[index] = cv2.GaussianBlur(raw[index].astype(np.float32) * SMOOTH_GAIN, (0, 0), sigma)

    list(pool.map(measure, range(frames)))
    raw[:, find_graphics(pictures, raw, camera, pool)] = 0
    list(pool.map(blur, range(frames)))
    known = np.array([bool(pairs) for pairs in neighbours])
    return Heat(raw, smooth, known, camera.scaled(size[1] / width, size[0] / height))


def find_graphics(
    pictures: NDArray[np.uint8], raw: NDArray[np.uint8], camera: Camera, pool: Executor
) -> NDArray[np.bool_]:
    """Find what is burnt into the picture: it stays in its pixels while the camera moves.

    When the camera follows a fall, a logo before the stilled world falls just so.

    Args:
        pictures: uint8 [frames, height, width, 3].
        raw: uint8 [frames, rows, columns], heat.
        camera: World -> pixels of ``pictures``.
        pool: Where pairs of frames are shared out.

    Returns:
        bool [rows, columns].
    """
    rows, columns = raw.shape[1:]
    hot, same = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    middle = np.array([pictures.shape[2] / 2, pictures.shape[1] / 2, 1.0])
    pairs = []
    for first in range(0, len(pictures), 2):
        second = int(np.searchsorted(camera.times_s, camera.times_s[first] + _GRAPHICS_S))
        if second >= len(pictures) or camera.shots[first] != camera.shots[second]:
            continue
        motion = camera.to_picture[second] @ np.linalg.inv(camera.to_picture[first])
        if np.hypot(*(motion @ middle - middle)[:2]) >= _GRAPHICS_PX:
            pairs.append((first, second))

    def compare(pair: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        red, green, blue = cv2.split(cv2.absdiff(pictures[pair[0]], pictures[pair[1]]))
        apart = cv2.resize(cv2.max(cv2.max(red, green), blue), (columns, rows), interpolation=cv2.INTER_AREA)
        warm = cv2.min(raw[pair[0]], raw[pair[1]]) > _GRAPHICS_HEAT
        return warm, warm & (apart < _GRAPHICS_NOISE)

    for warm, still in pool.map(compare, pairs):
        hot += warm
        same += still
    mask = ((hot >= _GRAPHICS_PAIRS) & (same > _GRAPHICS_SHARE * hot)).astype(np.uint8)
    return _panels(mask)


def _panels(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the panels and lines of text, bool [rows, columns], of whose edges and letters parts are known."""
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((_PANEL_GAP, _PANEL_GAP), np.uint8))
    _, _, parts, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    for left, top, width, height, area in parts[1:]:
        if area >= max(_LEAST_PANEL, _PANEL_SHARE * width * height):
            closed[top : top + height, left : left + width] = 1
    return np.asarray(cv2.dilate(closed, np.ones(_PANEL_MARGIN, np.uint8)), np.bool_)


def _neighbours(camera: Camera, index: int) -> list[tuple[int, int]]:
    """Pairs of frames, one before and one after, to compare a frame with; at a shot's ends two on the same side."""
    before = [_neighbour(camera, index, -delay) for delay in _DELAYS_S]
    after = [_neighbour(camera, index, delay) for delay in _DELAYS_S]
    pairs = {(one, other) for one, other in zip(before, after, strict=True) if one is not None and other is not None}
    for side in (after, before):
        near, far = side[:2]
        if not pairs and near is not None and far is not None and near != far:
            pairs.add((near, far))
    return sorted(pairs)


def _neighbour(camera: Camera, index: int, delay_s: float) -> int | None:
    """Return the frame about so much later (or earlier) if the camera's motion to it is known."""
    times = camera.times_s
    if delay_s < 0:
        other = int(np.searchsorted(times, times[index] + delay_s * 0.9, side="right")) - 1
    else:
        other = int(np.searchsorted(times, times[index] + delay_s * 0.9))
    if not 0 <= other < len(times) or camera.shots[other] != camera.shots[index]:
        return None
    low, high = sorted((index, other))
    return other if camera.agreement[low + 1 : high + 1].min() >= AGREEMENT else None


def _contrast_gain(pictures: NDArray[np.uint8]) -> float:
    """By how much differences of colour are raised so that a dim film counts as a well lit one."""
    some = pictures[:: max(1, len(pictures) // 20), ::4, ::4]
    dark, bright = np.percentile(some, (5, 95))
    return float(np.clip(_CONTRAST / max(bright - dark, 1.0), 1.0, _MOST_GAIN))


def _heat(
    pictures: NDArray[np.uint8], camera: Camera, index: int, pairs: list[tuple[int, int]], gain: float
) -> NDArray[np.uint8]:
    total = np.zeros(pictures.shape[1:3], np.float32)
    here = _opaque(pictures[index])
    for pair in pairs:
        total += cv2.min(*(_difference(here, pictures[other], _between(camera, other, index)) for other in pair))
    total *= gain / max(1, len(pairs))
    # Grain and shimmer are everywhere; what moves is not.
    usual = float(np.median(total[::4, ::4]))
    return np.asarray(np.clip(total - usual, 0, HOTTEST), np.uint8)


def _between(camera: Camera, first: int, second: int) -> NDArray[np.float64]:
    """Motion of the picture from one frame to another, float64 [2, 3]."""
    return np.asarray((camera.to_picture[second] @ np.linalg.inv(camera.to_picture[first]))[:2])


def _opaque(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add a fourth channel of 255: it tells where a warped picture shows something."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), np.uint8)


def _difference(here: NDArray[np.uint8], other: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Largest difference over the colours to another frame, where it shows the same place; 0 elsewhere.

    Args:
        here: uint8 [height, width, 4], with a channel of 255.
        other: uint8 [height, width, 3].
        matrix: float64 [2, 3], from the other picture to this one.
    """
    size = other.shape[1], other.shape[0]
    stays = np.abs(matrix @ [size[0], size[1], 1] - size).max() < _STILL_PX and np.abs(matrix[:, 2]).max() < _STILL_PX
    # OpenCV warps four channels twice as fast as three.
    there = _opaque(other) if stays else cv2.warpAffine(_opaque(other), matrix, size)
    red, green, blue, hidden = cv2.split(cv2.absdiff(here, there))
    most = cv2.max(cv2.max(red, green), blue)
    if not stays:
        most[hidden > 0] = 0
    # The erosion takes away what the camera's motion leaves at edges.
    return np.asarray(cv2.erode(most, _EROSION), np.uint8)


def sample(
    maps: NDArray[np.uint8], frames: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Look up maps at places in pixels of the heat, all arrays of one shape.

    Returns:
        The values, 0 outside of the picture; and which places lie inside.
    """
    height, width = maps.shape[1:]
    column, row = np.rint(x), np.rint(y)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column = np.where(inside, column, 0).astype(np.int64)
    row = np.where(inside, row, 0).astype(np.int64)
    values = maps.reshape(-1)[(frames * height + row) * width + column]
    return np.where(inside, values, 0).astype(np.float32), inside


def peaks(heat: Heat, count: int, floor: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Find the highest places of the smooth heat in each frame.

    Args:
        heat: The heat.
        count: How many, at most.
        floor: Least heat in grey values.

    Returns:
        float64 [frames, count, 2], x and y in pixels of the heat; float32 [frames, count], their heat, 0 where there
        are fewer.
    """
    frames = len(heat.smooth)
    points, values = np.zeros((frames, count, 2)), np.zeros((frames, count), np.float32)
    kernel = np.ones((7, 7), np.uint8)
    ties = np.arange(1, heat.smooth[0].size + 1, dtype=np.float32).reshape(heat.smooth.shape[1:])
    for index, smooth in enumerate(heat.smooth):
        # Of a flat top one place is enough: the next ones must be a kernel away.
        top = (smooth == cv2.dilate(smooth, kernel)) & (smooth > floor * SMOOTH_GAIN)
        top &= ties == cv2.dilate(np.where(top, ties, 0), kernel)
        rows, columns = np.nonzero(top)
        height = smooth[rows, columns]
        order = np.argsort(-height.astype(np.int64), kind="stable")[:count]
        points[index, : len(order)] = np.stack([columns[order], rows[order]], axis=1)
        values[index, : len(order)] = height[order] / SMOOTH_GAIN
    return points, values
