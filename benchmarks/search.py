"""Measure the search for dives: ``python -m benchmarks.search FOLDER``.

FOLDER holds clips and ``labels.json`` (take-off, entry, boxes by frame number), or a simulated dataset (``dives.csv``
with ``twist_start`` and ``entry_start``). Prints for each clip and over all: dives found, errors of take-off and entry
in seconds, centres in the labelled box, error of the time scale, run time and its ratio to the clip's length.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from rich.console import Console

from finecausal_cli.tracking.flights import Flight, Search, find_flights

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[str], None]

Box = tuple[float, float, float, float]

LIMITS_S = (0.05, 0.08, 0.1, 0.15, 0.25)
"""Errors up to which shares are counted."""

SLOW_FROM = 1.2
"""Time scale from which on a clip counts as slow motion."""


@dataclass(slots=True)
class Truth:
    """Labels of one clip, times in seconds."""

    path: Path
    takeoff_s: float | None = None
    entry_s: float | None = None
    slow: float | None = None
    holds_dive: bool = True
    boxes: dict[float, Box] = field(default_factory=dict)


@dataclass(slots=True)
class Measured:
    """Result for one clip; errors in seconds, None without a label or a prediction."""

    truth: Truth
    search: Search
    seconds: float
    takeoff: float | None = None
    entry: float | None = None
    hits: int = 0

    @property
    def is_found(self) -> bool:
        """Whether the best flight overlaps the labelled one."""
        if not self.search.flights:
            return False
        best, truth = self.search.flights[0], self.truth
        starts, ends = truth.takeoff_s, truth.entry_s
        return starts is None or ends is None or (best.first_s < ends - 0.3 and best.last_s > starts + 0.3)


def main() -> None:
    """Measure all clips of a folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, help="only so many clips")
    parser.add_argument("--quiet", action="store_true", help="only the clips with large errors, and the summary")
    args = parser.parse_args()
    write = partial(Console(soft_wrap=True, highlight=False).print, markup=False)
    results = [_measure(truth) for truth in _truths(args.folder)[: args.limit]]
    for result in results:
        if not args.quiet or _is_bad(result):
            write(_row(result))
    _summarise(results, write)


def _truths(folder: Path) -> list[Truth]:
    labels = folder / "labels.json"
    if labels.exists():
        return [_labelled(folder / name, label) for name, label in json.loads(labels.read_text()).items()]
    with (folder / "dives.csv").open(newline="") as table:
        return [_simulated(folder, row) for row in csv.DictReader(table)]


def _labelled(path: Path, label: dict[str, object]) -> Truth:
    stamps = _stamps(path)
    moments = {key: label.get(key) for key in ("takeoff", "entry", "slow")}
    boxes = label.get("boxes") or {}
    assert isinstance(boxes, dict)  # noqa: S101 - the format of labels.json
    return Truth(
        path,
        takeoff_s=stamps[moments["takeoff"]] if isinstance(moments["takeoff"], int) else None,
        entry_s=stamps[moments["entry"]] if isinstance(moments["entry"], int) else None,
        slow=float(moments["slow"]) if isinstance(moments["slow"], int | float) else None,
        holds_dive=not label.get("nothing"),
        boxes={stamps[int(frame)]: tuple(box) for frame, box in boxes.items()},
    )


def _simulated(folder: Path, row: dict[str, str]) -> Truth:
    path = folder / row["video"]
    stamps = _stamps(path)
    truth = Truth(path, _at(stamps, row["twist_start"]), _at(stamps, row["entry_start"]))
    meta, joints = folder / "meta" / f"{path.stem}.json", folder / "joints" / f"{path.stem}.npz"
    if meta.exists():
        scale = float(json.loads(meta.read_text()).get("time_scale", 1.0))
        truth.slow = scale if scale > SLOW_FROM else None
    if joints.exists():
        with np.load(joints) as known:
            times, boxes = known["times_s"] - known["times_s"][0], known["box"]
        first, last = truth.takeoff_s or 0.0, truth.entry_s or np.inf
        inside = np.isfinite(boxes).all(axis=1) & (times >= first) & (times <= last)
        for index in np.flatnonzero(inside).tolist():
            truth.boxes[float(times[index])] = tuple(boxes[index].tolist())
    return truth


def _at(stamps: list[float], frame: str) -> float | None:
    """Return the time of a frame; None without a frame inside the file."""
    return stamps[int(frame)] if frame and 0 < int(frame) < len(stamps) else None


def _stamps(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        times = [
            index / rate if frame.time is None else frame.time for index, frame in enumerate(container.decode(stream))
        ]
    return [moment - times[0] for moment in times]


def _measure(truth: Truth) -> Measured:
    began = time.perf_counter()
    search = find_flights(truth.path)
    result = Measured(truth, search, time.perf_counter() - began)
    if result.is_found:
        best = search.flights[0]
        result.takeoff, result.entry = _error(best.takeoff_s, truth.takeoff_s), _error(best.entry_s, truth.entry_s)
        result.hits = sum(_is_hit(best, moment, box) for moment, box in truth.boxes.items())
    return result


def _error(predicted: float | None, true: float | None) -> float | None:
    return None if predicted is None or true is None else predicted - true


def _is_hit(flight: Flight, moment: float, box: Box) -> bool:
    x, y = (float(np.interp(moment, flight.times_s, flight.centres[:, axis])) for axis in (0, 1))
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _is_bad(result: Measured) -> bool:
    if result.is_found != result.truth.holds_dive or len(result.search.flights) > 1:
        return True
    errors = [(result.takeoff, result.truth.takeoff_s, 0.15), (result.entry, result.truth.entry_s, 0.1)]
    scale = result.truth.slow or 1.0
    return any(label is not None and (error is None or abs(error) > limit * scale) for error, label, limit in errors)


def _row(result: Measured) -> str:
    flights = result.search.flights
    what = f"{len(flights)} found" if flights else f"none ({result.search.reason})"
    parts = [f"{result.truth.path.name:24}", f"{what:15}"]
    parts += [
        f"{name} {'-' if error is None else format(error, '+.3f'):>7}"
        for name, error in (("take-off", result.takeoff), ("entry", result.entry))
    ]
    parts.append(f"in box {result.hits}/{len(result.truth.boxes)}")
    if flights:
        parts.append(
            f"slow {flights[0].time_scale:.2f} sure " + " ".join(f"{flight.confidence:.2f}" for flight in flights)
        )
    parts.append(f"{result.seconds:.2f} s, {result.seconds / result.search.duration_s:.2f} of the clip")
    return "  ".join(parts)


def _summarise(results: list[Measured], write: Write) -> None:
    dives = [result for result in results if result.truth.holds_dive]
    others = [result for result in results if not result.truth.holds_dive]
    false = sum(bool(result.search.flights) for result in others)
    found = sum(result.is_found for result in dives)
    write(f"dives found: {found} of {len(dives)}; false detections: {false} of {len(others)}")
    write(_errors([(result.takeoff, result.truth.takeoff_s) for result in dives if not result.truth.slow], "take-off"))
    write(_errors([(result.entry, result.truth.entry_s) for result in dives if not result.truth.slow], "entry"))
    found_slow = [result for result in dives if result.truth.slow and result.is_found]
    slow = [result.search.flights[0].time_scale / (result.truth.slow or 1.0) for result in found_slow]
    if slow:
        near = np.mean([abs(ratio - 1) <= 0.3 for ratio in slow])
        write(f"time scale over the true one: median {np.median(slow):.2f}, within 30% {near:.3f} of {len(slow)}")
    normal = [result.search.flights[0].time_scale for result in dives if not result.truth.slow and result.is_found]
    write(f"normal speed read as slow motion: {sum(scale > 1.3 for scale in normal)} of {len(normal)}")
    boxes, hits = sum(len(result.truth.boxes) for result in dives), sum(result.hits for result in dives)
    if boxes:
        write(f"centre in the box {hits} of {boxes} ({hits / boxes:.3f})")
    ratio = sum(result.seconds for result in results) / sum(result.search.duration_s for result in results)
    write(f"more than one flight {sum(len(result.search.flights) > 1 for result in dives)} of {len(dives)}")
    write(f"{np.mean([result.seconds for result in results]):.2f} s a clip, {ratio:.2f} of its length")


def _errors(pairs: list[tuple[float | None, float | None]], name: str) -> str:
    """Summarise the errors of labelled moments; a missing prediction counts as infinite."""
    errors = np.array([np.inf if error is None else error for error, label in pairs if label is not None])
    if not len(errors):
        return f"{name}: no labels"
    known = errors[np.isfinite(errors)]
    shares = ", ".join(f"{limit:g} s {np.mean(np.abs(errors) <= limit):.3f}" for limit in LIMITS_S)
    bias = float(np.median(known)) if len(known) else float("nan")
    return f"{name}: median {np.median(np.abs(errors)):.3f} s, bias {bias:+.3f}, within {shares} of {len(errors)}"


if __name__ == "__main__":
    main()
