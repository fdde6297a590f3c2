"""The body frame by frame as a file: CSV, Parquet, and OpenSim's ``.trc`` (positions) and ``.mot`` (coordinates)."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from finecausal_cli.athlete import JOINT, JOINTS
from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import FinecausalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import IO

    from numpy.typing import NDArray

    from finecausal_cli.batch.measuring import DiveBody, Measured

    Array = NDArray[np.float64]

ENDINGS: Final = (".csv", ".parquet", ".trc", ".mot")
_ONE_DIVE: Final = (".trc", ".mot")

_READ_FROM_S, _READ_TO_S = -0.45, 0.12
"""Real time about take-off and entry in which the body is read: before it is a run-up, after it under water."""

_SEEN: Final = 0.5

MARKERS: Final[dict[str, str]] = {
    "pelvis": "Hip",
    "neck": "Neck",
    "head": "Head",
    **{
        f"{name}_{side}": f"{side.upper()}{name.capitalize()}"
        for side in "lr"
        for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}
"""Names of the joints in a ``.trc``: those of Sports2D and Pose2Sim."""

COORDINATES: Final = {
    "hip_flexion": "hips_deg",
    "knee_angle": "knees_deg",
    "arm_flex": "shoulders_deg",
    "elbow_flex": "elbows_deg",
}
"""Names of the angles in a ``.mot``, as OpenSim's models of the whole body call them; ``_l`` and ``_r`` follow."""

_ANGLES: Final = {"hip": "hips_deg", "knee": "knees_deg", "shoulder": "shoulders_deg", "elbow": "elbows_deg"}

COLUMNS: Final = (
    "source",
    "dive_index",
    "frame",
    "file_s",
    "real_s",
    "stage",
    "seen",
    "trunk_deg",
    *(f"{name}_{side}_deg" for name in _ANGLES for side in "lr"),
    "centre_x_m",
    "centre_y_m",
    *(f"{name}_{part}" for name in JOINTS for part in ("x_m", "y_m", "confidence")),
)
"""Columns of CSV and Parquet. Angles and positions are empty where the body is not read."""


def rows_of(measured: Measured) -> Iterator[dict[str, Any]]:
    """Yield a row for each frame of a dive; none where its flight was not read."""
    body = measured.body
    if body is None:
        return
    motion, track = body.kinematics, body.track
    is_read = readable(body)
    for index, row in enumerate(motion.rows.tolist()):
        time_s = float(motion.times_s[index])
        values: dict[str, Any] = dict.fromkeys(COLUMNS)
        values |= {
            "source": measured.dive.source.encode("utf-8", "backslashreplace").decode(),
            "dive_index": measured.dive.dive_index,
            "frame": int(body.frames[index]),
            "file_s": float(body.file_s[index]),
            "real_s": time_s,
            "stage": "takeoff" if time_s < 0 else "flight" if time_s < track.air_s else "entry",
            "seen": float(track.seen[row]),
        }
        if is_read[index]:
            values |= _angles(body, index)
            for joint, name in enumerate(JOINTS):
                x, y = motion.joints_m[index, joint].tolist()
                values |= {
                    f"{name}_x_m": x,
                    f"{name}_y_m": y,
                    f"{name}_confidence": float(track.confidence[row, joint]),
                }
        yield values


def _angles(body: DiveBody, index: int) -> dict[str, float]:
    motion = body.kinematics
    centre_x, centre_y = motion.centre_m[index].tolist()
    return {
        "trunk_deg": float(motion.trunk_deg[index]),
        "centre_x_m": centre_x,
        "centre_y_m": centre_y,
        **{
            f"{name}_{side}_deg": float(getattr(motion, field)[index, column])
            for name, field in _ANGLES.items()
            for column, side in enumerate("lr")
        },
    }


def readable(body: DiveBody) -> NDArray[np.bool_]:
    """Tell in which frames the body is read, bool [T]: seen, not long before the take-off, not under water."""
    times = body.kinematics.times_s
    near = (times >= _READ_FROM_S) & (times <= body.track.air_s + _READ_TO_S)
    return np.asarray(near & (body.track.seen[body.kinematics.rows] >= _SEEN))


class JointWriter:
    """Writes bodies into one file, which appears whole or not at all. Use it as a context manager.

    Args:
        path: Its ending says the format.

    Raises:
        UsageError: The ending is another one.
        OutputError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.check(path)
        self._path = path
        self._stack = ExitStack()
        self._dives = 0

    @staticmethod
    def check(path: Path, dives: int | None = 1) -> None:
        """Refuse an ending that is not known, and several dives (None: nobody knows) where a file holds one."""
        ending = path.suffix.lower()
        if ending not in ENDINGS:
            hint = f"let it end in one of {', '.join(ENDINGS)}"
            raise UsageError("the name of --joints does not say its format", where=path, hint=hint)
        if path.is_dir():
            raise UsageError("--joints needs a file, and this is a folder", where=path)
        if ending in _ONE_DIVE and dives != 1:
            hint = "name one video without --all-dives, or write .csv or .parquet"
            raise UsageError(f"{ending} holds one dive", where=path, hint=hint)

    def __enter__(self) -> JointWriter:
        part = self._stack.enter_context(atomic_write(self._path, "the joints"))
        stream = self._stack.enter_context(part.open("wb"))
        kinds: dict[str, Callable[[IO[bytes], Path], _File]] = {
            ".csv": _Csv,
            ".parquet": _Parquet,
            ".trc": _OpenSim,
            ".mot": _OpenSim,
        }
        self._file = kinds[self._path.suffix.lower()](stream, self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._file.close()
            except BaseException as problem:
                self._stack.__exit__(type(problem), problem, problem.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)

    def add(self, measured: Measured) -> None:
        """Write the frames of a dive; none where its flight was not read."""
        self._file.add(measured)


class _File(Protocol):
    def add(self, measured: Measured) -> None: ...

    def close(self) -> None: ...


class _Csv:
    def __init__(self, stream: IO[bytes], _: Path) -> None:
        import io

        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.DictWriter(self._text, COLUMNS, lineterminator="\n")
        self._writer.writeheader()

    def add(self, measured: Measured) -> None:
        for row in rows_of(measured):
            self._writer.writerow(
                {name: f"{value:.5f}" if isinstance(value, float) else value for name, value in row.items()}
            )

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _Parquet:
    def __init__(self, stream: IO[bytes], _: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"source": pa.string(), "stage": pa.string(), "dive_index": pa.int64(), "frame": pa.int64()}
        self._schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in COLUMNS])
        self._writer = pq.ParquetWriter(stream, self._schema)

    def add(self, measured: Measured) -> None:
        import pyarrow as pa

        rows = list(rows_of(measured))
        if rows:
            self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _OpenSim:
    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path, self._written = stream, path, False

    def add(self, measured: Measured) -> None:
        if measured.body is None:
            return
        text = as_trc if self._path.suffix.lower() == ".trc" else as_mot
        self._stream.write(text(measured.body, self._path.name).encode())
        self._written = True

    def close(self) -> None:
        if not self._written:
            hint = "see the reasons that the command prints without --joints"
            raise FinecausalError("no joints: the flight is not read", where=self._path, hint=hint)


# OpenSim: x to where the dive travels, y up, z to the right of x; seconds from the first frame, at one rate.


def resampled(body: DiveBody) -> tuple[Array, float, dict[str, Array]]:
    """Return real times from 0 [M] at one rate, the rate, and joints [M, J, 2] and angles by their name at these."""
    motion, chosen = body.kinematics, np.flatnonzero(readable(body))
    if len(chosen) < 2:
        raise FinecausalError("no joints: hardly any frame of the flight is read")
    times = motion.times_s[chosen]
    rate = (len(times) - 1) / float(times[-1] - times[0])
    even = np.linspace(times[0], times[-1], len(times))

    def at(values: Array) -> Array:
        flat = values[chosen].reshape(len(chosen), -1)
        columns = [np.interp(even, times, column) for column in flat.T]
        return np.stack(columns, axis=1).reshape(len(even), *values.shape[1:])

    values = {name: at(getattr(motion, name)) for name in ("joints_m", "trunk_deg", *COORDINATES.values())}
    return even - even[0], rate, values


def as_trc(body: DiveBody, name: str) -> str:
    """Return the positions of the joints, metres, as a ``.trc`` file.

    Args:
        body: The body.
        name: Of the file.
    """
    times, rate, values = resampled(body)
    joints, count = values["joints_m"], len(JOINTS)
    numbers = (f"{rate:.6g}", f"{rate:.6g}", str(len(times)), str(count), "m", f"{rate:.6g}", "1", str(len(times)))
    axes = (f"{axis}{number}" for number in range(1, count + 1) for axis in "XYZ")
    lines = [
        ("PathFileType", "4", "(X/Y/Z)", name),
        (
            "DataRate",
            "CameraRate",
            "NumFrames",
            "NumMarkers",
            "Units",
            "OrigDataRate",
            "OrigDataStartFrame",
            "OrigNumFrames",
        ),
        numbers,
        ("Frame#", "Time", *(part for joint in JOINTS for part in (MARKERS[joint], "", ""))),
        ("", "", *axes),
        (),
    ]
    for index, time_s in enumerate(times.tolist()):
        places = [f"{value:.6f}" for x, y in joints[index].tolist() for value in (x, y, 0.0)]
        lines.append((str(index + 1), f"{time_s:.6f}", *places))
    return "".join("\t".join(line) + "\n" for line in lines)


def as_mot(body: DiveBody, name: str) -> str:
    """Return angles, degrees, and the pelvis' position, metres, as a ``.mot`` file of coordinates.

    ``pelvis_tilt`` is the trunk's direction about z, counter-clockwise from upright, through all somersaults.
    """
    times, _, values = resampled(body)
    motion, pelvis = body.kinematics, values["joints_m"][:, JOINT["pelvis"]]
    table: dict[str, Array] = {
        "time": times,
        "pelvis_tilt": motion.sense * motion.travel * values["trunk_deg"],
        "pelvis_tx": pelvis[:, 0],
        "pelvis_ty": pelvis[:, 1],
    }
    for coordinate, field in COORDINATES.items():
        for column, side in enumerate("lr"):
            table[f"{coordinate}_{side}"] = values[field][:, column]
    lines = [
        name.rpartition(".")[0],
        "version=1",
        f"nRows={len(times)}",
        f"nColumns={len(table)}",
        "inDegrees=yes",
        "",
        "Units are S.I. units (second, meters, Newtons, ...)",
        "If the header above contains a line with 'inDegrees', this indicates whether rotational values are in degrees "
        "(yes) or radians (no).",
        "",
        "endheader",
        "\t".join(table),
        *("\t".join(f"{value:.6f}" for value in row) for row in np.stack([*table.values()], axis=1).tolist()),
    ]
    return "\n".join(lines) + "\n"
