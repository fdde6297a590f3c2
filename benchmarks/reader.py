"""Measure an athlete reader on simulated clips: ``python -m benchmarks.reader DATASET [--reader DIR]``.

DATASET is the output of ``finecausal simulate``, above all ``--world wild`` (the set ``wild`` of the named benchmark),
with the athlete's joints (``joints/``) and masks. Each flight is read in windows that follow the athlete with the slow
errors of a predicted path, as in training and use, once frame by frame and once as one motion. Prints PCK at half the
trunk's length, errors of the trunk's direction, how often the body is upside down, and the IoU of outline and mask; and
the same for small, medium and large athletes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from finecausal_cli.athlete import JOINTS
from finecausal_cli.athlete.reader import AthleteReader, cut_window, outline_in
from finecausal_cli.errors import DatasetError, FinecausalError
from finecausal_cli.training.athlete_sequence import NEAR_TRUNKS, JointErrors, flight_windows, joint_errors
from finecausal_cli.video.reader import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from finecausal_cli.athlete.reader import BodyReading
    from finecausal_cli.training.athlete_sequence import ClipWindows

TURNED_OVER_DEG = 120
"""Error of the trunk's direction beyond which the body is read upside down."""

SIZES = ("small", "middle", "large")
"""Thirds of the frames by the pixels in a metre."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of T frames.

    Attributes:
        single: Errors of the joints, frame by frame.
        motion: Errors of the same frames as one motion.
        overlap: int64 [T, 2], pixels of the window in both outline and mask, and in either.
        in_flight: bool [T], from the take-off to the entry.
        px_per_m: float32 [T], scale of the clip's picture at the athlete.
    """

    single: JointErrors
    motion: JointErrors
    overlap: NDArray[np.int64]
    in_flight: NDArray[np.bool_]
    px_per_m: NDArray[np.float32]


def clips_of(root: Path) -> list[str]:
    """Return the names of the clips with joints.

    Raises:
        DatasetError: There are none.
    """
    clips = sorted(path.stem for path in (root / "joints").glob("*.npz"))
    if not clips:
        raise DatasetError("no clip with joints", where=root, hint="simulate it with this version")
    return clips


def measure_clip(root: Path, clip: str, reader: AthleteReader, seed: int = 0) -> Measured | None:
    """Read and measure the flight of a clip; None where hardly any of it is seen."""
    size = reader.square_size
    shown = flight_windows(root, clip, size, seed)
    if shown is None:
        return None
    single = reader.read_closer(shown.pictures, shown.moved)
    motion = reader.read_motion(shown.pictures, shown.times_s.tolist(), moved=shown.moved)
    errors = [
        joint_errors(shown.truth, shown.known, (read.joints / size - 0.5).astype(np.float32))
        for read in (single, motion)
    ]
    masks = athlete_masks(root, clip, shown)
    return Measured(errors[0], errors[1], overlap(single, masks), shown.in_flight, shown.px_per_m)


def athlete_masks(root: Path, clip: str, shown: ClipWindows) -> NDArray[np.bool_]:
    """Return the athlete's mask in each window, bool [T, S, S]."""
    meta = json.loads((root / "meta" / f"{clip}.json").read_text(encoding="utf-8"))
    pictures = open_source(root / meta["mask"]).frames(shown.frames)
    size = shown.pictures.shape[1]
    cut = [
        cut_window(np.ascontiguousarray(picture[..., 0]), window, size, cv2.BORDER_CONSTANT)
        for picture, window in zip(pictures, shown.windows, strict=True)
    ]
    return np.stack(cut) > 127


def overlap(reading: BodyReading, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count pixels in both and in either of the outlines of T squares and their masks [T, S, S]: [T, 2]."""
    size = masks.shape[1]
    read = np.stack([outline_in(reading, index, size) for index in range(len(masks))]) > 0.5
    return np.stack([(read & masks).sum((1, 2)), (read | masks).sum((1, 2))], axis=1)


def joined(parts: Sequence[Measured]) -> Measured:
    """Concatenate the frames of several clips."""
    single, motion = (
        JointErrors(*(np.concatenate(values) for values in zip(*errors, strict=True)))
        for errors in ([part.single for part in parts], [part.motion for part in parts])
    )
    rest = (np.concatenate([getattr(part, name) for part in parts]) for name in ("overlap", "in_flight", "px_per_m"))
    return Measured(single, motion, *rest)


def figures(measured: Measured) -> dict[str, Any]:
    """Return all metrics; None where no frame gives one.

    All figures are of the frames from take-off to entry but ``pck_all_frames``, which counts those shortly before and
    after too. The trunk is measured where pelvis and neck are seen and it does not point at the camera.
    """
    flight = measured.in_flight
    edges = np.quantile(measured.px_per_m[flight], (1 / 3, 2 / 3)) if flight.any() else np.zeros(2)
    third = np.searchsorted(edges, measured.px_per_m, side="right")
    sizes = {}
    for number, name in enumerate(SIZES):
        chosen = flight & (third == number)
        scale = measured.px_per_m[chosen]
        sizes[name] = {
            "px_per_m": [float(scale.min()), float(scale.max())] if len(scale) else None,
            "frames": int(chosen.sum()),
            **_scores(measured.motion, chosen),
            "outline_iou": _iou(measured.overlap[chosen]),
        }
    whole = {
        name: {**_scores(errors, flight), "pck_all_frames": _pck(errors, np.ones_like(flight))}
        for name, errors in (("single", measured.single), ("motion", measured.motion))
    }
    return {
        "frames": len(flight),
        "flight_frames": int(flight.sum()),
        "trunk_frames": int((flight & measured.single.has_trunk).sum()),
        "outline_iou": _iou(measured.overlap[flight]),
        **whole,
        "motion_by_size": sizes,
    }


def _scores(errors: JointErrors, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    angle = errors.angle_deg[chosen & errors.has_trunk]
    near, counts = errors.far <= NEAR_TRUNKS, errors.counts & chosen[:, None]
    return {
        "pck": _pck(errors, chosen),
        "trunk_within_15": _share(angle <= 15),
        "trunk_within_30": _share(angle <= 30),
        "turned_over": _share(angle > TURNED_OVER_DEG),
        "trunk_median_deg": float(np.median(angle)) if len(angle) else None,
        "pck_by_joint": {name: _share(near[counts[:, index], index]) for index, name in enumerate(JOINTS)},
    }


def _pck(errors: JointErrors, chosen: NDArray[np.bool_]) -> float | None:
    return _share((errors.far <= NEAR_TRUNKS)[errors.counts & chosen[:, None]])


def _share(right: NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if right.size else None


def _iou(overlap: NDArray[np.int64]) -> float | None:
    both, either = overlap.sum(axis=0).tolist()
    return both / either if either else None


def table(metrics: dict[str, Any], name: str) -> Table:
    """Return one table of everything."""
    columns = [metrics["single"], metrics["motion"], *(metrics["motion_by_size"][size] for size in SIZES)]
    ranges = [metrics["motion_by_size"][size]["px_per_m"] for size in SIZES]
    heads = ["" if ends is None else f"{ends[0]:.0f} to {ends[1]:.0f} px/m" for ends in ranges]
    out = Table(name, "frame by frame", "motion", *(f"{size}\n{head}" for size, head in zip(SIZES, heads, strict=True)))
    out.add_row(
        "frames in flight", *2 * [f"{metrics['flight_frames']}"], *(f"{column['frames']}" for column in columns[2:])
    )
    rows = (
        ("PCK at half a trunk", "pck"),
        ("trunk within 15 degrees", "trunk_within_15"),
        ("trunk within 30 degrees", "trunk_within_30"),
        ("turned over", "turned_over"),
    )
    for label, key in rows:
        out.add_row(label, *(_number(column[key]) for column in columns))
    out.add_row("trunk, median error, degrees", *(_number(column["trunk_median_deg"], 1) for column in columns))
    ious = [metrics["outline_iou"], *(column["outline_iou"] for column in columns[2:])]
    out.add_row("outline IoU", _number(ious[0]), "", *(_number(iou) for iou in ious[1:]), end_section=True)
    for joint in JOINTS:
        out.add_row(f"PCK {joint}", *(_number(column["pck_by_joint"][joint]) for column in columns))
    out.caption = f"PCK with the frames around the flight: {_number(metrics['single']['pck_all_frames'])}, " + (
        f"as one motion {_number(metrics['motion']['pck_all_frames'])}"
    )
    return out


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reader", description="Measure an athlete reader.")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--reader", type=Path, help="folder of its weights; the package's own by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=int, help="only so many clips")
    parser.add_argument("--seed", type=int, default=0, help="of the windows' errors")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    try:
        reader = AthleteReader.load(args.reader, args.device)
        clips = clips_of(args.dataset)[: args.limit]
    except FinecausalError as error:
        parser.error(str(error))
    progress = track(clips, "reading", console=Console(stderr=True), transient=True)
    parts = [measure_clip(args.dataset, clip, reader, args.seed) for clip in progress]
    measured = [part for part in parts if part is not None]
    if not measured:
        parser.error(f"{args.dataset}: no clip with enough of the athlete in it")
    metrics = {"reader": reader.digest, "clips": len(measured), "clips_left_out": len(parts) - len(measured)}
    metrics |= figures(joined(measured))
    if args.json:
        Console(soft_wrap=True, highlight=False).print(json.dumps(metrics, indent=1), markup=False)
    else:
        skipped = f", {metrics['clips_left_out']} left out" if metrics["clips_left_out"] else ""
        Console(width=120).print(table(metrics, f"{len(measured)} clips{skipped}"))


if __name__ == "__main__":
    main()
