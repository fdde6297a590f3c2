"""Measured dives as tables and files, and the body frame by frame, read back by other rules than those that write."""

from __future__ import annotations

import csv
import io
import json
from functools import cache
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from finecausal_cli.athlete import JOINTS
from finecausal_cli.athlete.track import BodyTrack
from finecausal_cli.athlete.turns import count_turns
from finecausal_cli.batch import MeasureConfig
from finecausal_cli.batch.measuring import DiveBody, Measured, MeasuredDive
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import FinecausalError, UsageError
from finecausal_cli.report.joints import COLUMNS, JointWriter
from finecausal_cli.report.measurements import cells, column_of, columns, format_of, print_line, print_measured
from finecausal_cli.report.output import measured_schema, to_json
from finecausal_cli.scoring.measurements import UNITS, Kinematics, measure_dive
from finecausal_cli.simulator.athlete import JOINT as SIMULATED
from finecausal_cli.simulator.dive import simulate_dive


@cache
def measured(number: str = "205C", height_m: float = 3.0, *, to_the_left: bool = False) -> Measured:
    """Return a simulated dive, measured on its true joints from the side at 50 frames a second."""
    motion = simulate_dive(parse_dive_number(number), height_m, (11, 3)).motion
    times = np.arange(motion.leave_s - 0.5, motion.contact_s + 0.4, 1 / 50)
    body = motion.body(times)[:, [SIMULATED["vertex" if name == "head" else name] for name in JOINTS]]
    seen = body[..., [0, 2]]
    ones = np.ones(len(times), np.float32)
    path = (seen[:, 0] - seen[np.abs(times - motion.leave_s).argmin(), 0]).astype(np.float32)
    joints = (seen - seen[:, :1]).astype(np.float32)
    sure = np.full(seen.shape[:2], 0.9, np.float32)
    air_s = motion.contact_s - motion.leave_s
    track = BodyTrack(times - motion.leave_s, joints, sure, ones, path, 0.4 * ones, air_s)
    track = track.mirrored() if to_the_left else track
    turns = count_turns(track, by_travel=True)
    assert turns is not None
    dive = MeasuredDive(
        source="clips/a.mp4",
        status="measured",
        dives_found=1,
        flight_start_s=1.0,
        entry_start_s=1.0 + air_s,
        time_scale=1.0,
        measurements=measure_dive(track, turns),
    )
    kinematics = Kinematics.of(track, turns)
    frames = np.arange(len(times))[kinematics.rows]
    return Measured(dive, DiveBody(kinematics, track, times[kinematics.rows], frames))


def refused() -> MeasuredDive:
    return MeasuredDive(source="clips/b.mp4", status="refused", error_kind="no_dive", error="no dive is found in it")


def printed(width: int, *dives: MeasuredDive, line: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, markup=False, highlight=False, emoji=False)
    for dive in dives:
        (print_line if line else print_measured)(dive, console)
    return stream.getvalue()


def written(path: Path, *dives: Measured) -> Path:
    with JointWriter(path) as writer:
        for dive in dives:
            writer.add(dive)
    return path


@pytest.mark.parametrize("width", [40, 80])
def test_the_table_of_a_dive_fits_its_terminal_and_breaks_no_word(width: int) -> None:
    text = printed(width, measured().dive, refused())
    assert max(map(len, text.splitlines())) <= width
    words = set(text.replace("│", " ").split())
    assert {"somersaults", "vertical,", "simulated", "footage", "REFUSED"} <= words
    assert f"{measured().dive.of('air_time').value:.2f} s in the air" in text


def test_a_dive_of_many_is_one_line_with_its_name() -> None:
    lines = printed(80, measured().dive, refused(), line=True).splitlines()
    assert len(lines) == 2
    assert lines[0].split()[:2] == [f"{measured().dive.of('air_time').value:.2f}", "s"]
    assert lines[0].endswith("clips/a.mp4")
    assert lines[1].split()[:2] == ["refused", "no_dive:"]
    assert all(len(line) <= 40 for line in printed(40, measured().dive, line=True).splitlines())


def test_the_json_of_a_dive_follows_its_schema() -> None:
    schema = json.loads(measured_schema())
    for dive in (measured().dive, refused()):
        content = json.loads(to_json(dive))
        jsonschema.validate(content, schema)
        assert MeasuredDive.model_validate(content) == dive
    assert [fact["name"] for fact in json.loads(to_json(measured().dive))["measurements"]] == list(UNITS)


def test_a_row_has_units_in_its_columns_and_a_reason_for_every_empty_fact() -> None:
    row = cells(measured().dive)
    assert tuple(row) == columns()
    assert {"air_time_s", "rise_m", "entry_velocity_m_s", "rotation_deg_s", "entry_angle_deg"} <= set(row)
    for name in UNITS:
        assert (row[column_of(name)] is None) == (row[f"{name}_reason"] is not None)


def test_the_name_of_a_file_says_its_format() -> None:
    assert format_of(MeasureConfig(output="a.csv")) == "csv"
    assert format_of(MeasureConfig(output="a.txt")) == "table"
    assert format_of(MeasureConfig(output_format="jsonl")) == "jsonl"
    for config in (MeasureConfig(output="a.doc"), MeasureConfig(output="a.csv", output_format="json")):
        with pytest.raises(UsageError):
            format_of(config)
    with pytest.raises(UsageError, match="Parquet cannot be printed"):
        format_of(MeasureConfig(output_format="parquet"))


def test_csv_and_parquet_hold_the_same_row_for_each_frame(tmp_path: Path) -> None:
    dive = measured()
    with written(tmp_path / "a.csv", dive).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    table = pq.read_table(written(tmp_path / "a.parquet", dive)).to_pylist()
    assert dive.body is not None
    assert len(rows) == len(table) == len(dive.body.frames)
    assert tuple(rows[0]) == COLUMNS
    for row, other in zip(rows, table, strict=True):
        for name in ("real_s", "trunk_deg", "knee_l_deg", "wrist_r_y_m"):
            assert (row[name] == "") == (other[name] is None)
            assert row[name] == "" or float(row[name]) == pytest.approx(other[name], abs=1e-5)
    stages = [row["stage"] for row in table]
    assert stages == sorted(stages, key=["takeoff", "flight", "entry"].index)
    assert table[-1]["trunk_deg"] is None  # under water nothing is read


def test_several_dives_share_a_csv_and_no_opensim_file(tmp_path: Path) -> None:
    rows = written(tmp_path / "a.csv", measured(), measured("107B", 10.0)).read_text().splitlines()
    assert len(rows) > 150
    JointWriter.check(tmp_path / "a.csv", dives=2)
    for name in ("a.trc", "a.mot"):
        with pytest.raises(UsageError, match="holds one dive"):
            JointWriter.check(tmp_path / name, dives=2)
    with pytest.raises(UsageError, match="does not say its format"):
        JointWriter.check(tmp_path / "a.c3d")


def test_nothing_is_written_where_the_flight_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(FinecausalError, match="the flight is not read"):
        written(tmp_path / "a.trc", Measured(refused()))
    assert list(tmp_path.iterdir()) == []


def read_trc(path: Path) -> tuple[dict[str, str], list[str], np.ndarray]:
    """Read a track row column file by the five lines of its header, as OpenSim documents them."""
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines[0].split("\t")[:3] == ["PathFileType", "4", "(X/Y/Z)"]
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    names = [name for name in lines[3].split("\t")[2:] if name]
    assert lines[4].split("\t")[2:5] == ["X1", "Y1", "Z1"]
    rows = [[float(cell) for cell in line.split("\t")] for line in lines[5:] if line.strip()]
    return header, names, np.array(rows)


def test_a_trc_says_where_each_joint_is_in_metres(tmp_path: Path) -> None:
    dive = measured()
    header, names, rows = read_trc(written(tmp_path / "a.trc", dive))
    assert dive.body is not None
    assert header["Units"] == "m"
    assert (int(header["NumMarkers"]), int(header["NumFrames"])) == (len(names), len(rows)) == (15, len(rows))
    assert rows.shape[1] == 2 + 3 * len(names)
    assert rows[:, 0].tolist() == list(range(1, len(rows) + 1))
    assert np.diff(rows[:, 1]) == pytest.approx(1 / float(header["DataRate"]), abs=1e-5)
    assert float(header["DataRate"]) == pytest.approx(50, abs=0.5)
    # The centre falls freely: the second difference of its height is the pull.
    knee, hip = (rows[:, 2 + 3 * names.index(name) : 4 + 3 * names.index(name)] for name in ("LKnee", "LHip"))
    assert np.median(np.linalg.norm(knee - hip, axis=1)) == pytest.approx(0.39, abs=0.06)  # a thigh
    assert 4.0 < np.ptp(rows[:, 3]) < 6.0  # from a metre above the hips' place on the 3 m board to under water
    assert not rows[:, 4::3].any()


def read_mot(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Read an OpenSim motion file: a header up to ``endheader``, then a table."""
    head, _, table = path.read_text(encoding="utf-8").partition("endheader\n")
    header = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    names, *lines = table.strip().split("\n")
    columns = np.array([[float(cell) for cell in line.split("\t")] for line in lines]).T
    return header, dict(zip(names.split("\t"), columns, strict=True))


@pytest.mark.parametrize("to_the_left", [False, True])
def test_a_mot_follows_the_turns_in_degrees_whichever_side_is_seen(tmp_path: Path, to_the_left: bool) -> None:
    dive = measured(to_the_left=to_the_left)
    header, columns = read_mot(written(tmp_path / "a.mot", dive))
    assert header["inDegrees"] == "yes"
    assert (int(header["nRows"]), int(header["nColumns"])) == (len(columns["time"]), len(columns))
    tilt = columns["pelvis_tilt"]
    assert np.abs(np.diff(tilt)).max() < 40
    # In a back dive the head tips to where the dive travels, along x: clockwise, which is negative about z.
    assert tilt[-1] - tilt[0] == pytest.approx(-2.5 * 360, abs=60)
    other = read_mot(written(tmp_path / "b.mot", measured(to_the_left=not to_the_left)))[1]
    assert tilt == pytest.approx(other["pelvis_tilt"], abs=1e-3)
    assert columns["pelvis_tx"][-1] > 0.5
    for name in ("knee_angle_l", "hip_flexion_r"):
        assert columns[name].max() > 80  # tucked
        assert columns[name].min() >= 0
