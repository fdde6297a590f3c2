"""Train the sequence network on the athlete reader's predictions for simulated flights and their true joints.

Every clip is read once, frame by frame, in windows that move as in use; what was read is kept. Batches then cost
nothing: stretches of frames, mirrored, subsampled, and with the faults that real frames have more of: frames that
are turned over or lost, alone and for a while.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch

from finecausal_cli.athlete import JOINT, MIRRORED
from finecausal_cli.athlete.movement import read_movement
from finecausal_cli.athlete.network import DIRECTIONS, Observations, SequenceNetwork, direction_track, mirrored, turned
from finecausal_cli.athlete.reader import cut_window
from finecausal_cli.atomic import atomic_write
from finecausal_cli.training.athlete_windows import decode_film
from finecausal_cli.training.trainer import Task, linear_cosine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from finecausal_cli.athlete.reader import AthleteReader

_SIDES_M: Final = (2.3, 3.7)
_FRAMES: Final = 48
"""Frames of a training stretch."""

_DRAWN_TRACKS: Final = 0.5
"""Share of the stretches whose track is drawn about the truth. Found tracks are turned over in a tenth of the frames of
wild clips, most of which are seen from in front or behind, where a trunk's picture turns by leaps; hardly ever in films
from the side, which are most of what people film, and where frames alone are turned over more often than simulated."""

_LOST_TRACKS: Final = 0.06
"""Share of the stretches in whose track a part is turned over."""

_SHORTEST: Final = 12
_AROUND_S: Final = 0.35
"""Real time before the take-off and after the entry that is read as well."""

_PELVIS, _NECK = JOINT["pelvis"], JOINT["neck"]
_SHORT_TRUNK: Final = 0.05
"""Length of the projected trunk, sides of the window, up to which it has no direction and measures nothing."""

_FEWEST: Final = 6
"""Frames below which a flight is not read."""

_WARMUP: Final = 100
"""Steps over which the learning rate rises."""

LR_FLOOR: Final = 0.02
"""Share of the peak learning rate at the end of a run."""

NEAR_TRUNKS: Final = 0.5
"""Lengths of the trunk up to which a joint counts as near the truth."""


class ClipWindows(NamedTuple):
    """Windows that follow the athlete of a simulated clip through its flight, T of them.

    Attributes:
        pictures: uint8 [T, S, S, 3], RGB.
        windows: float64 [T, 3], x and y of the middle and the side, pixels of the clip's picture.
        truth: float32 [T, J, 2], where the joints are, sides of the window from its middle.
        known: bool [T, J], whether a joint can be seen.
        frames: int64 [T], the clip's frame of each window.
        times_s: float64 [T], when each was, in real time.
        in_flight: bool [T], from the take-off to the entry; the others lie shortly before and after.
        px_per_m: float32 [T], scale of the clip's picture at the athlete.
        moved: uint8 [T, S, S, 4], what moves in the windows.
    """

    pictures: NDArray[np.uint8]
    windows: NDArray[np.float64]
    truth: NDArray[np.float32]
    known: NDArray[np.bool_]
    frames: NDArray[np.int64]
    times_s: NDArray[np.float64]
    in_flight: NDArray[np.bool_]
    px_per_m: NDArray[np.float32]
    moved: NDArray[np.uint8]


def flight_windows(root: Path, clip: str, size: int, seed: int = 0) -> ClipWindows | None:
    """Cut the windows of a simulated clip's flight, as they move in use; None where hardly any of it is seen.

    Args:
        root: Folder with ``meta``, ``videos`` and ``joints``, as ``simulate`` writes.
        clip: Name of the clip, e.g. ``00000``.
        size: Side of the windows that are returned, pixels.
        seed: Of the windows' errors; with the clip's own seed and name it decides them.
    """
    meta = json.loads((root / "meta" / f"{clip}.json").read_text())
    known = np.load(root / "joints" / f"{clip}.npz")
    real_s = known["real_time_s"]
    rng = np.random.default_rng(np.random.SeedSequence((seed, int(meta["seed"]), int(clip), 12)))
    first, last = (int(np.clip(meta[name], 0, len(real_s) - 1)) for name in ("twist_start", "entry_start"))
    span = np.flatnonzero((real_s >= real_s[first] - _AROUND_S) & (real_s <= real_s[last] + _AROUND_S / 2))
    span = span[known["visible"][span].sum(axis=1) >= 3]
    if len(span) < _FEWEST:
        return None
    windows = _moving_windows(rng, known, span, real_s)
    pictures, camera = decode_film(root / meta["video"], real_s, set(span.tolist()))
    middle, side = windows[:, None, :2], windows[:, None, 2:]
    squares = np.stack(
        [cut_window(pictures[frame], window, size) for frame, window in zip(span.tolist(), windows, strict=True)]
    )
    return ClipWindows(
        squares,
        windows,
        ((known["joints"][span] - middle) / side).astype(np.float32),
        known["visible"][span],
        span,
        real_s[span],
        (span >= meta["twist_start"]) & (span < meta["entry_start"]),
        known["px_per_m"][span],
        read_movement(squares, windows, camera.to_picture[span], real_s[span]),
    )


def read_clip(root: Path, out: Path, clip: str, reader: AthleteReader, seed: int = 0) -> None:
    """Read one simulated clip frame by frame and store the predictions with the truth.

    Stored, T frames: ``joints`` and ``truth`` [T, J, 2] in sides of the window from its middle, ``confidence``
    [T, J], ``direction`` [T, A], ``seen`` [T], ``known`` bool [T, J], ``times_s`` [T] (real time).
    """
    size = reader.square_size
    shown = flight_windows(root, clip, size, seed)
    if shown is None:
        return
    read = reader.read_closer(shown.pictures, shown.moved)
    with atomic_write(out / f"{clip}.npz", "what was read of a clip") as part, part.open("wb") as file:
        np.savez(
            file,
            joints=(read.joints / size - 0.5).astype(np.float32),
            confidence=read.confidence,
            direction=read.direction,
            seen=read.seen,
            truth=shown.truth,
            known=shown.known,
            times_s=shown.times_s,
        )


def _moving_windows(
    rng: np.random.Generator,
    known: Mapping[str, NDArray[np.float32]],
    span: NDArray[np.int64],
    real_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return windows [T, 3] (x, y, side) that follow the athlete with the slow errors of a predicted path."""
    joints, visible = known["joints"][span], known["visible"][span]
    masked = np.where(visible[..., None], joints, np.nan)
    centre = (np.nanmin(masked, axis=1) + np.nanmax(masked, axis=1)) / 2
    side = known["px_per_m"][span] * float(np.exp(rng.uniform(*np.log(_SIDES_M))))
    side = side * (1 + 0.06 * np.sin(rng.uniform(1, 4) * real_s[span] + rng.uniform(0, 6)))
    for axis in (0, 1):
        wander = rng.normal(0, 0.04) + rng.uniform(0, 0.05) * np.sin(
            rng.uniform(2, 9) * real_s[span] + rng.uniform(0, 6)
        )
        centre[:, axis] += (wander + rng.normal(0, 0.008, len(span))) * side
    return np.column_stack([centre, side])


class SequenceTask(Task[tuple[Observations, "Tensor", "Tensor"]]):
    """Train the sequence network on stretches of flights.

    Args:
        network: The network.
        train: Files of ``read_clip``.
        held_out: Others, to validate on.
        batch_size: Stretches a step.
        seed: Of the draws.
    """

    def __init__(
        self,
        network: SequenceNetwork,
        train: Sequence[Path],
        held_out: Sequence[Path],
        *,
        batch_size: int = 48,
        seed: int = 0,
    ) -> None:
        self.network: nn.Module = network
        self._train, self._held_out = ([_load(path) for path in files] for files in (train, held_out))
        self._batch_size, self._seed = batch_size, seed

    def batch(self, step: int) -> tuple[Observations, Tensor, Tensor]:
        """Return predictions, the truth [B, T, J, 2] and where it is known [B, T, J]."""
        rng = np.random.default_rng(np.random.SeedSequence((self._seed, step, 13)))
        rows = [_stretch(rng, self._train[int(rng.integers(len(self._train)))]) for _ in range(self._batch_size)]
        observations = Observations(*(torch.stack(values) for values in zip(*(row[0] for row in rows), strict=True)))
        return observations, torch.stack([row[1] for row in rows]), torch.stack([row[2] for row in rows])

    def loss(
        self, network: nn.Module, batch: tuple[Observations, Tensor, Tensor], device: torch.device
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step and its parts."""
        seen = Observations(*(values.to(device) for values in batch[0]))
        truth, known = batch[1].to(device), batch[2].to(device)
        motion = network(seen)
        error = (motion.joints - truth).abs().sum(-1)
        count = known.sum().clamp(min=1)
        position = 10 * (error * known).sum() / count
        laplace = ((error.detach() / motion.spread.exp() + motion.spread) * known).sum() / count
        return position + 0.1 * laplace, {"place": position, "spread": laplace}

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rate."""
        return linear_cosine(step, steps, _WARMUP, LR_FLOOR)

    def validate(
        self, network: nn.Module, device: torch.device, *, is_last: bool = True, held_out: Iterator[Any] | None = None
    ) -> Mapping[str, float]:
        """Measure before and after on whole held-out clips: trunk within 30 degrees, turned over, joints near."""
        before, after = [], []
        for clip in self._held_out:
            seen = Observations(*(values[None].to(device) for values in observed(clip)))
            truth, known = clip["truth"], clip["known"].astype(bool)
            before.append(joint_errors(truth, known, clip["joints"]))
            after.append(joint_errors(truth, known, network(seen).joints[0].float().cpu().numpy()))
        figures: dict[str, float] = {}
        for name, rows in (("frames", before), ("motion", after)):
            angle = np.concatenate([row.angle_deg[row.has_trunk] for row in rows])
            near = np.concatenate([(row.far <= NEAR_TRUNKS)[row.counts] for row in rows])
            figures |= {
                f"{name}_within_15": float((angle <= 15).mean()),
                f"{name}_within_30": float((angle <= 30).mean()),
                f"{name}_turned_over": float((angle > 120).mean()),
                f"{name}_pck": float(near.mean()),
            }
        return figures


def observed(clip: Mapping[str, NDArray[np.float32]]) -> Observations:
    """Return the predictions of a stored clip, [T, ...]."""
    step = np.diff(clip["times_s"], prepend=clip["times_s"][:1])
    angle = clip["track"] if "track" in clip else track_of(clip)
    track = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    fields = (clip["joints"], clip["confidence"], clip["direction"], track, clip["seen"], step, np.ones(len(step)))
    return Observations(*(torch.from_numpy(np.asarray(values, np.float32)) for values in fields))


def _load(path: Path) -> dict[str, NDArray[np.float32]]:
    clip = dict(np.load(path))
    return {**clip, "track": track_of(clip)}


def track_of(clip: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the track of the trunk's direction, radians [T], in the predictions of a stored clip."""
    step = np.diff(clip["times_s"], prepend=clip["times_s"][:1]).astype(np.float64)
    return direction_track(clip["direction"], step).astype(np.float32)


def _stretch(rng: np.random.Generator, clip: Mapping[str, NDArray[np.float32]]) -> tuple[Observations, Tensor, Tensor]:
    """Draw a stretch of a clip at a frame rate, with faults added, padded to a fixed length."""
    frames = len(clip["seen"])
    every = int(rng.choice([1, 1, 2])) if frames > 2 * _FRAMES // 3 else 1
    kept = np.arange(int(rng.integers(every)), frames, every)
    # A film may begin or end anywhere in the flight: half of the stretches do.
    longest = min(len(kept), _FRAMES)
    length = longest if rng.random() < 0.5 else int(rng.integers(min(_SHORTEST, longest), longest + 1))
    start = int(rng.integers(len(kept) - length + 1))
    kept = kept[start : start + length]
    part = {name: values[kept] for name, values in clip.items()}
    if rng.random() < _DRAWN_TRACKS:
        part["track"] = _drawn_track(rng, part["truth"])
    seen = observed(part)
    truth, known = torch.from_numpy(part["truth"]), torch.from_numpy(part["known"].astype(np.float32))
    seen = _with_faults(rng, seen)
    bins = int(rng.integers(-2, 3))
    if rng.random() < 0.5:
        seen = mirrored(Observations(*(values[None] for values in seen)))
        seen = Observations(*(values[0] for values in seen))
        order = list(MIRRORED)
        truth, known = truth[:, order] * torch.tensor([-1.0, 1.0]), known[:, order]
    joints, direction = turned(seen.joints, seen.direction, bins)
    truth, _ = turned(truth, seen.direction, bins)
    track, _ = turned(seen.track, seen.direction, bins)
    seen = seen._replace(joints=joints, direction=direction, track=track)
    pad = _FRAMES - len(kept)
    padded = [torch.cat([values, values.new_zeros(pad, *values.shape[1:])]) for values in (*seen, truth, known)]
    return Observations(*padded[:7]), padded[7], padded[8]


def _drawn_track(rng: np.random.Generator, truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a track of the trunk's direction [T] as predicted for dives seen from the side: seldom turned over."""
    trunk = truth[:, _NECK] - truth[:, _PELVIS]
    angle = np.unwrap(np.arctan2(trunk[:, 1], trunk[:, 0]))
    frames = np.arange(len(angle))
    off = rng.normal(0, 0.1) + rng.uniform(0, 0.35) * np.sin(rng.uniform(0.05, 0.6) * frames + rng.uniform(0, 6))
    if rng.random() < _LOST_TRACKS:
        first, last = np.sort(rng.integers(0, len(angle) + 1, 2))
        off[first:last] += np.pi
    return np.asarray(angle + off + rng.normal(0, 0.05, len(angle)), np.float32)


def _with_faults(rng: np.random.Generator, seen: Observations) -> Observations:
    """Add the faults of predictions on real frames: stretches that are turned over, lost, or off."""
    joints, direction, confidence = seen.joints.clone(), seen.direction.clone(), seen.confidence.clone()
    frames = len(joints)
    for _ in range(int(rng.poisson(1.0))):
        first = int(rng.integers(frames))
        # A pose that looks the same upside down is turned over for as long as it lasts: up to half of a flight.
        span = slice(first, first + 1 + int(rng.geometric(0.5 if rng.random() < 0.5 else 0.1)))
        middle = joints[span].mean(1, keepdim=True)
        turned_over, half = turned(joints[span] - middle, direction[span], DIRECTIONS // 2)
        joints[span] = middle + turned_over
        share = float(rng.uniform(0.4, 1.0))
        direction[span] = share * half + (1 - share) * direction[span]
        confidence[span] *= float(rng.uniform(0.5, 1.0))
    for _ in range(int(rng.poisson(0.5))):
        first = int(rng.integers(frames))
        span = slice(first, first + 1 + int(rng.geometric(0.4)))
        noise = torch.from_numpy(rng.normal(0, 0.12, joints[span].shape).astype(np.float32))
        joints[span] = joints[span] + noise
        confidence[span] *= float(rng.uniform(0.1, 0.8))
        direction[span] = 0.5 * direction[span] + 0.5 / DIRECTIONS
    jitter = torch.from_numpy(rng.normal(0, float(rng.uniform(0, 0.02)), joints.shape).astype(np.float32))
    return seen._replace(joints=joints + jitter, direction=direction, confidence=confidence)


class JointErrors(NamedTuple):
    """How far joints that were read are off, T frames.

    Attributes:
        angle_deg: float [T], error of the trunk's direction (pelvis to neck), 0..180.
        has_trunk: bool [T], whether pelvis and neck can be seen and the trunk is long enough to have a direction.
        far: float [T, J], distance from the truth, in lengths of the trunk as it is seen.
        counts: bool [T, J], which of these count: joints that can be seen, where there is a trunk.
    """

    angle_deg: NDArray[np.float64]
    has_trunk: NDArray[np.bool_]
    far: NDArray[np.float64]
    counts: NDArray[np.bool_]


def joint_errors(truth: NDArray[np.float32], known: NDArray[np.bool_], joints: NDArray[np.float32]) -> JointErrors:
    """Compare joints [T, J, 2] with the truth, both in sides of the window; ``known`` bool [T, J]."""
    trunk, read = (pose[:, _NECK] - pose[:, _PELVIS] for pose in (truth, joints))
    length = np.linalg.norm(trunk, axis=1)
    good = known[:, _NECK] & known[:, _PELVIS] & (length > _SHORT_TRUNK)
    off = np.arctan2(read[:, 1], read[:, 0]) - np.arctan2(trunk[:, 1], trunk[:, 0])
    angle = np.degrees(np.abs((off + np.pi) % (2 * np.pi) - np.pi))
    far = np.linalg.norm(joints - truth, axis=-1) / np.maximum(length, _SHORT_TRUNK)[:, None]
    return JointErrors(angle, good, far, known & good[:, None])
