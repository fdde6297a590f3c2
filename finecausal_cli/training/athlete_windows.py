"""Windows around the athlete, cut from clips whose joints and masks are known, and made harder to read.

Cutting decodes every clip once and keeps windows as plain arrays, some margin around each for turning and shifting.
Drawing a batch then costs about a millisecond a window. Both follow from seeds alone.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cv2
import numpy as np

from finecausal_cli.athlete import JOINT, JOINTS, MIRRORED
from finecausal_cli.athlete.movement import MOVEMENT_CHANNELS, moved_between, neighbours, to_square
from finecausal_cli.athlete.reader import cut_window
from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import DatasetError
from finecausal_cli.scoring import corrections_path, read_corrections
from finecausal_cli.scoring.dives import search_dives
from finecausal_cli.simulator.dataset import for_each
from finecausal_cli.tracking import athlete_window, crop_window
from finecausal_cli.tracking.camera import chain, measure_steps
from finecausal_cli.video.reader import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.tracking.camera import Camera

MARGIN: Final = 1.45
"""Side of a stored window over that of the window that is read: the diagonal, for any rotation."""

WHOLE_SIZE: Final = 192
"""Side, in pixels, of the letterboxed square that whole frames are brought to."""

_CUT_VERSION: Final = 4
"""Raised whenever windows are cut otherwise: older ones are not taken for new ones."""

_SIDES_M: Final = (1.5, 3.8)
"""Shortest and longest side of a window, metres at the athlete. In use windows come from the pull of the fall or
from a person's extent, and are seldom off by more than a third."""

_EXTENTS: Final = (1.12, 2.1)
"""Side of a window over the extent of what is seen of the athlete: tight ones show a tucked body large. In windows that
it was not trained on, a network of 850 steps had 0.47 of a filmed flight's trunks within 30 degrees at 1.25 extents,
0.74 at 1.9, where most of its windows lay."""

_TIGHT_SHARE: Final = 0.6
_SMALLEST_PX: Final = 22.0
"""Extent of an athlete in the picture below which joints can hardly be seen; few of these are kept."""

_SMALL_SHARE: Final = 0.2
_OFF_CENTRE: Final = 0.16
_RECOLOURED_SHARE: Final = 0.35
_PHOTOGRAPH_SHARE: Final = 0.35
_PHOTOGRAPH_SIDE: Final = 800
_LEAST_PHOTOGRAPH: Final = 128
_NO_MOVEMENT_SHARE: Final = 0.2
"""Share of the windows that are drawn without what moves in them: in use there may be no neighbour, or no camera."""

_SQUARE_M, _SQUARE_PX = (2.5, 3.6), 256
_SCAN_SIDE: Final = 384
"""Side of the squares in which the neighbouring pictures are known in use, metres and pixels; and the long side of the
pictures in which the search follows the camera."""

_PICTURES: Final = {".jpg", ".jpeg", ".png", ".webp"}
_EMPTY_SHARE: Final = 0.12
_FLIGHT_SHARE: Final = 0.7
_TRUNK: Final = (JOINT["pelvis"], JOINT["neck"])


@dataclass(frozen=True, slots=True)
class CutConfig:
    """How windows are cut.

    Attributes:
        window_size: Side of the window that the network reads, pixels; stored ones are larger by `MARGIN`.
        per_clip: Windows a clip.
        whole_per_clip: Whole frames a clip.
        seed: Of the choice of frames and windows.
    """

    window_size: int = 128
    per_clip: int = 16
    whole_per_clip: int = 2
    seed: int = 0

    @property
    def stored_size(self) -> int:
        """Side of a stored window, pixels."""
        return round(self.window_size * MARGIN / 16) * 16


class Windows(NamedTuple):
    """Windows as stored, N of them.

    Attributes:
        pictures: uint8 [N, S, S, 3].
        masks: uint8 [N, S, S], 0 to 255.
        joints: float32 [N, J, 2], pixels of the stored window.
        visible: bool [N, J].
        seen: bool [N], whether the athlete is in it.
        labelled: bool [N], whether joints and mask are known; without them only ``seen`` is.
        moved: uint8 [N, S, S, 4], what moves (``movement.read_movement``); [N, 0, 0, 4] of whole frames, which are read
            without.
    """

    pictures: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    joints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    moved: NDArray[np.uint8]


class Batch(NamedTuple):
    """Training data of one step; shapes as in ``Windows``, positions in sides of the picture."""

    pictures: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    joints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    moved: NDArray[np.uint8]


def cut_dataset(
    root: Path, out: Path, config: CutConfig, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Cut windows from every clip of a simulated dataset; clips that were cut before stay.

    Args:
        root: Folder with ``meta``, ``videos``, ``masks`` and ``joints``, as ``simulate`` writes.
        out: Folder of the windows.
        config: How.
        workers: Processes; with one, the work is done in this process.
        progress: Called with (finished, all).

    Raises:
        DatasetError: There are no clips with joints.
    """
    clips = sorted(
        path.stem for path in (root / "joints").glob("*.npz") if (root / "meta" / f"{path.stem}.json").exists()
    )
    if not clips:
        raise DatasetError("no clip with joints", where=root, hint="simulate it with this version")
    out.mkdir(parents=True, exist_ok=True)
    stamp = out / "cut.json"
    cut_as = {**asdict(config), "version": _CUT_VERSION}
    if stamp.exists() and json.loads(stamp.read_text()) != cut_as:
        raise DatasetError("the folder holds windows that were cut otherwise", where=out, hint="choose another folder")
    with atomic_write(stamp, "the windows") as part:
        part.write_text(json.dumps(cut_as))
    missing = [clip for clip in clips if not (out / f"{clip}.npz").exists()]
    done = len(clips) - len(missing)
    work = partial(cut_clip, root, out, config)
    with closing(for_each(work, missing, workers)) as cut:
        for _ in cut:
            done += 1
            if progress is not None:
                progress(done, len(clips))
    return [out / f"{clip}.npz" for clip in clips]


def cut_clip(root: Path, out: Path, config: CutConfig, clip: str) -> None:
    """Cut the windows of one clip and store them."""
    meta = json.loads((root / "meta" / f"{clip}.json").read_text())
    known = np.load(root / "joints" / f"{clip}.npz")
    rng = np.random.default_rng(np.random.SeedSequence((config.seed, int(meta["seed"]), int(clip))))
    chosen = _choose_frames(rng, meta, known, config.per_clip + config.whole_per_clip)
    windows, whole = [], []
    side_m = np.random.default_rng((config.seed, int(meta["seed"]), int(clip), 18)).uniform(*_SQUARE_M)
    film = _Film(root / meta["video"], known, chosen, float(side_m))
    masks = open_source(root / meta["mask"]).frames(chosen)
    whole_frames = set(rng.choice(len(chosen), min(config.whole_per_clip, len(chosen)), replace=False).tolist())
    for number, (frame, coloured) in enumerate(zip(chosen.tolist(), masks, strict=True)):
        picture = film.pictures[frame]
        mask = np.ascontiguousarray(coloured[..., 0])
        joints, visible = known["joints"][frame], known["visible"][frame]
        if _is_small(joints, visible) and rng.random() > _SMALL_SHARE:
            continue
        if number in whole_frames:
            whole.append(_letterboxed(picture, mask, joints, visible))
        else:
            box = _draw_window(rng, joints, visible, float(known["px_per_m"][frame]), picture.shape[:2])
            cut = _cut(picture, mask, joints, visible, box, config.stored_size)
            windows.append(cut._replace(moved=film.moved(frame, box, cut.pictures)))
    with atomic_write(out / f"{clip}.npz", "the windows of a clip") as part, part.open("wb") as file:
        arrays: dict[str, Any] = {}
        for name, group in (("window", windows), ("whole", whole)):
            for field, values in zip(Windows._fields, zip(*group, strict=True), strict=len(group) > 0):
                arrays[f"{name}_{field}"] = np.stack(values)
        np.savez(file, **arrays)


def cut_corrected(folder: Path, out: Path, config: CutConfig) -> list[Path]:
    """Cut windows from filmed clips whose dive a person has corrected.

    A correction (``<clip>.finecausal.json``, kept by ``score`` with ``--takeoff``, ``--entry`` or ``--athlete``) says
    where in its clip an athlete is in the air, and so what a window along the flight holds, and what one beside it does
    not. Joints and outline stay unknown. Clips without a correction, and those in which no flight is found, are left
    out.

    Args:
        folder: Videos with their corrections beside them.
        out: Folder of the windows.
        config: How; ``per_clip`` windows a clip, half of them without the athlete.

    Raises:
        DatasetError: No clip of the folder has a correction.
    """
    clips = sorted(path for path in folder.iterdir() if path.is_file() and corrections_path(path).exists())
    if not clips:
        hint = "correct a dive first: finecausal score CLIP --athlete X,Y,S"
        raise DatasetError("no clip with a correction beside it", where=folder, hint=hint)
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for number, clip in enumerate(clips):
        rng = np.random.default_rng(np.random.SeedSequence((config.seed, number)))
        windows = _corrected_windows(rng, clip, config)
        if windows:
            path = out / f"{clip.name}.npz"
            with atomic_write(path, "the windows of a clip") as part, part.open("wb") as file:
                fields = zip(Windows._fields, zip(*windows, strict=True), strict=True)
                arrays: dict[str, Any] = {f"window_{field}": np.stack(values) for field, values in fields}
                np.savez(file, **arrays)
            files.append(path)
    return files


def _corrected_windows(rng: np.random.Generator, clip: Path, config: CutConfig) -> list[Windows]:
    dives = search_dives(clip, corrections=read_corrections(clip)[0]).dives
    flight = dives[0].flight if dives else None
    if flight is None or dives[0].takeoff_s is None:
        return []
    source = open_source(clip)
    end_s = flight.last_s if dives[0].entry_s is None else dives[0].entry_s
    in_air = np.flatnonzero((source.times_s >= dives[0].takeoff_s) & (source.times_s < end_s))
    if not len(in_air):
        return []
    frames = np.sort(rng.choice(in_air, min(config.per_clip // 2, len(in_air)), replace=False))
    squares = athlete_window(flight, source.times_s[frames], source.info.upright_size)
    nothing = np.zeros((len(JOINTS), 2), np.float32), np.zeros(len(JOINTS), np.bool_)
    cover, still = (np.zeros((config.stored_size,) * 2 + more, np.uint8) for more in ((), (MOVEMENT_CHANNELS,)))
    windows = []
    for picture, (x, y, side) in zip(source.frames(frames), squares.tolist(), strict=True):
        for seen in (True, False):
            # Beside the athlete: a square's side away, so that no part of the body is in it.
            angle, away = rng.uniform(0, 2 * np.pi), (rng.uniform(0, 0.1) if seen else rng.uniform(1.3, 2.5)) * side
            square = np.array([x + away * np.cos(angle), y + away * np.sin(angle), MARGIN * side])
            window = cut_window(picture, square, config.stored_size)
            windows.append(Windows(window, cover, *nothing, np.asarray(seen), np.asarray(not seen), still))
    return windows


def decode_film(
    path: Path, times_s: NDArray[np.float64], wanted: Collection[int]
) -> tuple[dict[int, NDArray[np.uint8]], Camera]:
    """Decode a clip once: the frames wanted, by number, and how the camera moves, by its corners as in use."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    small, size = [], (1, 1)
    for frame, picture in enumerate(open_source(path).frames(np.arange(len(times_s)))):
        size = picture.shape[:2]
        scale = min(_SCAN_SIDE / max(size), 1.0)
        small.append(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        if frame in wanted:
            pictures[frame] = picture
    with ThreadPoolExecutor(1) as pool:
        camera = chain(np.asarray(times_s, np.float64), measure_steps(np.stack(small), pool))
    return pictures, camera.scaled(size[1] / small[0].shape[1], size[0] / small[0].shape[0])


class _Film:
    """A clip's pictures and what moves in them, as it is known in use.

    Args:
        path: The clip.
        known: Its ``joints`` file.
        chosen: The frames that windows are cut of.
        side_m: Side of the squares in which the pictures before and after are known, metres.

    Attributes:
        pictures: The chosen frames and those that they are compared with, by number.
    """

    def __init__(self, path: Path, known: Any, chosen: NDArray[np.int64], side_m: float) -> None:
        times_s, self._side_m = known["real_time_s"], side_m
        self._others = neighbours(times_s)
        self._joints, self._px_per_m = known["joints"], known["px_per_m"]
        wanted = {*chosen.tolist(), *self._others[chosen].ravel().tolist()} - {-1}
        self.pictures, self._camera = decode_film(path, times_s, wanted)

    def moved(self, frame: int, box: tuple[float, float, float], window: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what moves in a window [S, S, 3] with its margin that was cut at a box of a frame: [S, S, 4]."""
        size, camera = window.shape[0], self._camera
        moved = np.zeros((size, size, MOVEMENT_CHANNELS), np.uint8)
        here = to_square(np.array([*box[:2], MARGIN * box[2]]), size)
        here[:2, 2] -= 0.5 * here[0, 0] - 0.5  # as ``cut_window`` counts pixels
        here = here @ camera.to_picture[frame]
        for side, other in enumerate(self._others[frame].tolist()):
            there = self._joints[other].mean(axis=0)
            if other < 0 or camera.shots[other] != camera.shots[frame] or not np.isfinite(there).all():
                continue
            square = np.array([*there, self._side_m * self._px_per_m[other]])
            picture = crop_window(self.pictures[other], square, _SQUARE_PX)
            matrix = here @ np.linalg.inv(to_square(square, _SQUARE_PX) @ camera.to_picture[other])
            moved[..., side], moved[..., 2 + side] = moved_between(window, picture, matrix)
        return moved


def _choose_frames(rng: np.random.Generator, meta: dict[str, Any], known: Any, count: int) -> NDArray[np.int64]:
    """Choose frames, most of them in the flight, few of water alone."""
    frames = len(known["joints"])
    flight = np.arange(max(int(meta["twist_start"]), 0), min(int(meta["entry_start"]) + 2, frames))
    before = np.arange(0, max(int(meta["twist_start"]), 0))
    after = np.arange(min(int(meta["entry_start"]) + 2, frames), frames)
    inside = min(round(count * _FLIGHT_SHARE), len(flight))
    picks = [rng.choice(flight, inside, replace=False)] if len(flight) else []
    rest = count - inside
    late = min(rest // 4, len(after))
    early = min(rest - late, len(before))
    picks += [rng.choice(before, early, replace=False), rng.choice(after, late, replace=False)]
    chosen = np.unique(np.concatenate(picks)).astype(np.int64)
    there = np.isfinite(known["px_per_m"][chosen]) & np.isfinite(known["joints"][chosen]).all(axis=(1, 2))
    return np.asarray(chosen[there])  # clips of older versions know no scale in another shot


def _is_small(joints: NDArray[np.float32], visible: NDArray[np.bool_]) -> bool:
    return bool(visible.any() and np.ptp(joints[visible], axis=0).max() < _SMALLEST_PX)


def _draw_window(
    rng: np.random.Generator,
    joints: NDArray[np.float32],
    visible: NDArray[np.bool_],
    px_per_m: float,
    size: tuple[int, int],
) -> tuple[float, float, float]:
    """Draw a window (centre x, centre y, side in pixels) around the athlete, or somewhere else."""
    height, width = size
    side = px_per_m * float(np.exp(rng.uniform(*np.log(_SIDES_M))))
    if rng.random() < _EMPTY_SHARE or visible.sum() < 3:
        return float(rng.uniform(0, width)), float(rng.uniform(0, height)), side
    inside = joints[visible]
    centre = (inside.min(axis=0) + inside.max(axis=0)) / 2
    extent = float(np.ptp(inside, axis=0).max())
    if rng.random() < _TIGHT_SHARE:
        side = max(extent, 0.35 * px_per_m) * float(rng.uniform(*_EXTENTS))
    else:
        side = max(side, extent * float(rng.uniform(0.9, 1.15)))
    x, y = centre + rng.normal(0, _OFF_CENTRE / 2, 2) * side
    return float(x), float(y), side


def _cut(
    picture: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    joints: NDArray[np.float32],
    visible: NDArray[np.bool_],
    box: tuple[float, float, float],
    size: int,
) -> Windows:
    """Cut one window with its margin, `MARGIN` times the side."""
    x, y, side = box
    scale = size / (MARGIN * side)
    square = np.array([x, y, MARGIN * side])
    window, cover = cut_window(picture, square, size), cut_window(mask, square, size, cv2.BORDER_CONSTANT)
    there = (joints - np.array([x, y])) * scale + size / 2
    inner = np.abs(there - size / 2).max(axis=1) < size / (2 * MARGIN)
    seen = bool((visible & inner)[list(_TRUNK)].any() or (visible & inner).sum() > 5)
    still = np.zeros((size, size, MOVEMENT_CHANNELS), np.uint8)
    return Windows(window, cover, there.astype(np.float32), visible, np.asarray(seen), np.asarray(True), still)


def _letterboxed(
    picture: NDArray[np.uint8], mask: NDArray[np.uint8], joints: NDArray[np.float32], visible: NDArray[np.bool_]
) -> Windows:
    """Bring a whole frame into a square."""
    height, width = picture.shape[:2]
    scale = WHOLE_SIZE / max(height, width)
    size = (round(width * scale), round(height * scale))
    left, top = (WHOLE_SIZE - size[0]) // 2, (WHOLE_SIZE - size[1]) // 2
    square = np.zeros((WHOLE_SIZE, WHOLE_SIZE, 3), np.uint8)
    cover = np.zeros((WHOLE_SIZE, WHOLE_SIZE), np.uint8)
    square[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    cover[top : top + size[1], left : left + size[0]] = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    there = (joints * scale + np.array([left, top])).astype(np.float32)
    is_seen, still = np.asarray(visible.sum() > 3), np.zeros((0, 0, MOVEMENT_CHANNELS), np.uint8)
    return Windows(square, cover, there, visible, is_seen, np.asarray(True), still)


class WindowSet:
    """All stored windows, in memory, and batches drawn from them.

    Args:
        files: What ``cut_dataset`` returned.
        window_size: Side of the windows to draw.
        photographs: Folder of pictures to put behind some of the athletes.
    """

    def __init__(self, files: Sequence[Path], window_size: int, photographs: Path | None = None) -> None:
        self.window_size = window_size
        self._photographs = [] if photographs is None else _load_photographs(photographs)
        self._windows, self._whole = (_load(files, name) for name in ("window", "whole"))

    def __len__(self) -> int:
        return len(self._windows.seen)

    def draw(self, rng: np.random.Generator, count: int) -> Batch:
        """Draw windows, turned, shifted, mirrored and made worse to see."""
        picks = rng.integers(0, len(self), count)
        return _stack([self._augmented(rng, int(pick)) for pick in picks])

    def draw_whole(self, rng: np.random.Generator, count: int) -> Batch:
        """Draw whole frames, mirrored and made worse to see."""
        picks = rng.integers(0, len(self._whole.seen), count)
        return _stack([self._augmented(rng, int(pick), whole=True) for pick in picks])

    def plain(self, first: int, last: int) -> Batch:
        """Return windows as they are, uncut margin aside: what validation reads."""
        return _stack(
            [_placed(_one(self._windows, index), np.eye(2), self.window_size, MARGIN) for index in range(first, last)]
        )

    def _augmented(self, rng: np.random.Generator, index: int, *, whole: bool = False) -> Batch:
        stored = _one(self._whole if whole else self._windows, index)
        if not whole and stored.labelled:
            stored = stored._replace(pictures=self._restaged(rng, stored))
        mirrored = bool(rng.random() < 0.5)
        if whole:
            angle, zoom, shift, size, margin = (
                rng.uniform(-8, 8),
                float(np.exp(rng.uniform(-0.2, 0.35))),
                rng.uniform(-0.1, 0.1, 2),
                WHOLE_SIZE,
                1.0,
            )
        else:
            # Half of them turned freely: a body in flight has no upright.
            angle = rng.uniform(-180, 180) if rng.random() < 0.5 else rng.normal(0, 12)
            zoom, shift, size, margin = (
                float(np.exp(rng.uniform(-0.2, 0.2))),
                rng.normal(0, 0.04, 2),
                self.window_size,
                MARGIN,
            )
        turn = np.radians(angle)
        matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        if mirrored:
            matrix = matrix @ np.diag([-1.0, 1.0])
        placed = _placed(stored, matrix, size, margin, shift, mirrored=mirrored)
        return placed._replace(pictures=degrade(rng, placed.pictures), moved=_degraded(rng, placed.moved))

    def _restaged(self, rng: np.random.Generator, stored: Windows) -> NDArray[np.uint8]:
        """Return the picture with the athlete in other colours, or before a photograph, each at random."""
        picture, cover = stored.pictures, stored.masks[..., None].astype(np.float32) / 255
        if rng.random() < _RECOLOURED_SHARE:
            gain, lift = np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.12, 3)), rng.normal(0, 20)
            coloured = np.clip(picture * gain.astype(np.float32) + np.float32(lift), 0, 255)
            picture = (picture * (1 - cover) + coloured * cover).astype(np.uint8)
        if self._photographs and rng.random() < _PHOTOGRAPH_SHARE:
            photograph = self._photographs[int(rng.integers(len(self._photographs)))]
            side = int(min(photograph.shape[:2]) * rng.uniform(0.25, 1.0))
            top, left = (int(rng.integers(length - side + 1)) for length in photograph.shape[:2])
            part = photograph[top : top + side, left : left + side]
            behind = cv2.resize(part, picture.shape[1::-1], interpolation=cv2.INTER_AREA)
            picture = (picture * cover + behind * (1 - cover)).astype(np.uint8)
        return picture


def _load_photographs(folder: Path) -> list[NDArray[np.uint8]]:
    """Read every picture of a folder, RGB, at a moderate size.

    Raises:
        DatasetError: There is none.
    """
    photographs = []
    for path in sorted(folder.rglob("*")):
        picture = cv2.imread(str(path)) if path.suffix.lower() in _PICTURES else None
        if picture is not None and min(picture.shape[:2]) >= _LEAST_PHOTOGRAPH:
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            scale = min(_PHOTOGRAPH_SIDE / max(picture.shape[:2]), 1.0)
            photographs.append(
                np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
            )
    if not photographs:
        raise DatasetError("no photographs", where=folder, hint="JPEG, PNG or WebP")
    return photographs


def _placed(
    stored: Windows,
    matrix: NDArray[np.float64],
    size: int,
    margin: float,
    shift: NDArray[np.float64] | tuple[float, float] = (0.0, 0.0),
    *,
    mirrored: bool = False,
) -> Batch:
    """Cut the window to be read out of a stored one, through a linear map about the middle."""
    source = stored.pictures.shape[0]
    scaled = matrix * (size * margin / source)
    offset = np.array([size / 2, size / 2]) + np.asarray(shift) * size - scaled @ np.array([source / 2, source / 2])
    matrix = np.column_stack([scaled, offset])
    picture = cv2.warpAffine(
        stored.pictures, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    mask = cv2.warpAffine(stored.masks, matrix, (size, size), flags=cv2.INTER_LINEAR)
    moved = stored.moved if not stored.moved.size else cv2.warpAffine(stored.moved, matrix, (size, size))
    joints = (stored.joints @ scaled.T + offset) / size
    visible = stored.visible
    if mirrored:
        joints, visible = joints[list(MIRRORED)], visible[list(MIRRORED)]
    inside = ((joints > 0) & (joints < 1)).all(axis=1)
    visible = visible & inside
    seen = stored.seen & ((visible.sum() >= 3) | ~stored.labelled)
    placed = np.asarray(picture, np.uint8), np.asarray(mask, np.uint8), joints.astype(np.float32)
    return Batch(*placed, visible, np.asarray(seen), stored.labelled, np.asarray(moved, np.uint8))


def degrade(rng: np.random.Generator, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture [S, S, 3] with other light and colour, blurred, noisy and compressed, each at random."""
    image = _relit(rng, picture.astype(np.float32))
    side = picture.shape[0]
    kind = rng.random()
    if kind < 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 2.2))), np.float32)
    elif kind < 0.45:
        image = _motion_blurred(rng, image)
    elif kind < 0.7:  # as few lines as a small athlete in an old clip has
        small = int(side * rng.uniform(0.25, 0.7))
        reduced = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(reduced, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    if rng.random() < 0.5:
        image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(1, 12))
    out = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = int(rng.integers(12, 80))
        _, coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    if rng.random() < 0.15:
        out = _with_bar(rng, out)
    return out


def _degraded(rng: np.random.Generator, moved: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what moves [S, S, 4] in other light and grain, from one side alone, or not known, each at random."""
    if not moved.size or rng.random() < _NO_MOVEMENT_SHARE:
        return np.zeros_like(moved)
    differs = moved[..., :2].astype(np.float32) * np.float32(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.5:
        grain = np.abs(rng.standard_normal(differs.shape, dtype=np.float32)) * np.float32(rng.uniform(0, 10))
        differs += grain * (moved[..., 2:] > 0)
    if rng.random() < 0.3:
        differs = np.asarray(cv2.GaussianBlur(differs, (0, 0), float(rng.uniform(0.4, 2.0))), np.float32)
    out = moved.copy()
    out[..., :2] = np.clip(differs, 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        out[..., int(rng.integers(2)) :: 2] = 0
    return out


def _relit(rng: np.random.Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a picture in other light and colour."""
    if rng.random() < 0.8:
        gain, lift = np.exp(rng.normal(0, 0.25)), rng.normal(0, 18)
        image = (image - 128) * gain + 128 + lift
    if rng.random() < 0.6:
        image *= np.exp(rng.normal(0, 0.10, 3)).astype(np.float32)
    if rng.random() < 0.15:
        image[:] = image.mean(axis=2, keepdims=True)
    elif rng.random() < 0.4:
        grey = image.mean(axis=2, keepdims=True)
        image = grey + (image - grey) * np.float32(rng.uniform(0.3, 1.6))
    return image


def _motion_blurred(rng: np.random.Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    length = int(rng.integers(3, 9))
    kernel = np.zeros((length, length), np.float32)
    angle = float(rng.uniform(0, np.pi))
    ends = [
        (
            round(length / 2 - 0.5 + sign * length / 2 * np.cos(angle)),
            round(length / 2 - 0.5 + sign * length / 2 * np.sin(angle)),
        )
        for sign in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1)), np.float32)


def _with_bar(rng: np.random.Generator, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a graphic or a letterbox bar along an edge."""
    side = picture.shape[0]
    depth = int(side * rng.uniform(0.04, 0.2))
    quarter = int(rng.integers(4))
    turned = np.rot90(picture, quarter).copy()
    turned[:depth] = rng.integers(0, 256, 3) if rng.random() < 0.5 else 0
    return np.ascontiguousarray(np.rot90(turned, -quarter))


def _one(windows: Windows, index: int) -> Windows:
    return Windows(*(values[index] for values in windows))


def _stack(batches: Sequence[Batch]) -> Batch:
    return Batch(*(np.stack(values) for values in zip(*batches, strict=True)))


def _load(files: Sequence[Path], name: str) -> Windows:
    """Read all windows of a kind into one array each, without holding them twice."""
    counts: list[int] = []
    shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    for path in files:
        with np.load(path) as stored:
            key = f"{name}_seen"
            counts.append(len(stored[key]) if key in stored else 0)
            if counts[-1] and not shapes:
                shapes = {
                    field: (stored[f"{name}_{field}"].shape[1:], stored[f"{name}_{field}"].dtype)
                    for field in Windows._fields
                    if f"{name}_{field}" in stored
                }
    # Filmed clips have no whole frames: of those there may be none at all.
    shapes = shapes or dict.fromkeys(Windows._fields, ((), np.dtype(np.bool_)))
    arrays = {field: np.empty((sum(counts), *shape), kind) for field, (shape, kind) in shapes.items()}
    arrays["labelled"] = np.ones(sum(counts), np.bool_)  # simulated windows of before are, all of them
    start = 0
    for path, count in zip(files, counts, strict=True):
        if count:
            with np.load(path) as stored:
                for field, values in arrays.items():
                    if f"{name}_{field}" in stored:
                        values[start : start + count] = stored[f"{name}_{field}"]
        start += count
    return Windows(**arrays)
