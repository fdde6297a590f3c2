from __future__ import annotations

import csv
import json
import resource
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.stats import spearmanr

from finecausal_cli.diving import difficulty, parse_dive_number
from finecausal_cli.errors import DiveNumberError, OutputError, UsageError
from finecausal_cli.simulator import ALL_DIVES
from finecausal_cli.simulator.athlete import STAGE_FAULTS
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.simulator.recording import COLUMNS, DIVES, DatasetPlan, confounded_style, plan_dataset
from finecausal_cli.simulator.venue import STYLES

COUNT = 3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dives"), COUNT, seed=5)


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_manifest_has_one_row_a_dive_that_agrees_with_its_files(written):
    rows = rows_of(written)
    assert len(rows) == COUNT
    assert tuple(rows[0]) == COLUMNS
    for row in rows:
        marks = sorted(float(mark) for mark in row["judges"].split())
        drop = {3: 0, 5: 1, 7: 2}[len(marks)]
        assert float(row["score"]) == pytest.approx(
            sum(marks[drop : len(marks) - drop]) * float(row["difficulty"]), abs=0.006
        )
        assert float(row["difficulty"]) == difficulty(parse_dive_number(row["dive"]), float(row["height_m"]))
        record = json.loads((written.parent / "meta" / f"{Path(row['video']).stem}.json").read_text())
        deductions = record["deductions"]
        assert [float(points) for points in row["deductions"].split()] == pytest.approx(
            [deductions["takeoff"], deductions["flight"], deductions["entry"]], rel=1e-5
        )
        assert int(row["twist_start"]) == record["twist_start"] < int(row["entry_start"]) < record["frames"]
        with av.open(str(written.parent / row["video"])) as video, av.open(str(written.parent / row["mask"])) as masks:
            assert video.streams.video[0].codec_context.name == "h264"
            assert float(video.streams.video[0].average_rate) == 25
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
            gray = [frame.to_ndarray(format="gray") for frame in masks.decode(video=0)]
        assert len(frames) == len(gray) == record["frames"]
        assert frames[0].shape[:2] == gray[0].shape == (256, 456)
        assert set(np.unique(np.stack(gray))) == {0, 255}


def test_files_do_not_depend_on_the_number_of_workers(written, tmp_path):
    other = write_dataset(tmp_path, COUNT, seed=5, workers=4)
    assert other.read_bytes() == written.read_bytes()
    for path in sorted(tmp_path.rglob("*.*")):
        assert path.read_bytes() == (written.parent / path.relative_to(tmp_path)).read_bytes(), path.name


@pytest.fixture
def copied(written, tmp_path):
    """The folder of ``written`` again, to be changed: simulating takes a second a dive."""
    return shutil.copytree(written.parent, tmp_path / "dives")


def test_a_second_run_writes_only_what_is_missing(written, copied):
    for path in copied.rglob("00001.*"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("0*.*")}
    told: list[tuple[int, int]] = []
    manifest = write_dataset(copied, 2, seed=5, progress=lambda done, count: told.append((done, count)))
    assert told == [(1, 2), (2, 2)]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert rows_of(manifest) == rows_of(written)[:2]
    assert (copied / "videos" / "00001.mp4").read_bytes() == (written.parent / "videos" / "00001.mp4").read_bytes()


def test_an_unfinished_dive_is_written_again(written, copied):
    (copied / "meta" / "00000.json").unlink()
    (copied / "videos" / "00000.mp4").write_bytes(b"half a file")
    write_dataset(copied, 1, seed=5)
    assert (copied / "videos" / "00000.mp4").read_bytes() == (written.parent / "videos" / "00000.mp4").read_bytes()


def test_a_shorter_run_lists_fewer_dives_and_keeps_the_others(written, copied):
    assert rows_of(write_dataset(copied, 1, seed=5)) == rows_of(written)[:1]
    assert (copied / "meta" / "00001.json").exists()


def test_a_record_that_cannot_be_read_is_named(copied):
    (copied / "meta" / "00000.json").write_text("{")
    with pytest.raises(OutputError, match=r"00000\.json: not the record of a dive .*delete it"):
        write_dataset(copied, 1, seed=5)


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written") as caught:
            write_dataset(tmp_path, 1, seed=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["plan.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be used"):
        write_dataset(tmp_path / "file" / "out", 1, seed=5)


def test_nothing_temporary_is_left(written):
    assert not [path.name for path in written.parent.rglob("*") if "part" in path.name]


def test_a_folder_of_another_plan_is_refused(written):
    with pytest.raises(OutputError, match="another plan"):
        write_dataset(written.parent, COUNT, seed=6)


def test_a_folder_of_the_classic_draw_names_the_option_that_goes_on_with_it(tmp_path):
    stamp = {"format": "manifest"} | DatasetPlan(seed=5, draw="classic").stamp()
    (tmp_path / "plan.json").write_text(json.dumps(stamp))
    with pytest.raises(OutputError, match="add --draw classic"):
        write_dataset(tmp_path, 1, seed=5)
    with pytest.raises(OutputError, match="choose another folder"):
        write_dataset(tmp_path, 1, seed=6)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"count": 0}, UsageError),
        ({"workers": 0}, UsageError),
        ({"dives": []}, UsageError),
        ({"dives": ["907B"]}, DiveNumberError),
        ({"dives": ["109B"], "height_m": 1.0}, UsageError),
        ({"confounding": 1.5}, UsageError),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, options, error):
    with pytest.raises(error):
        write_dataset(tmp_path / "out", **{"count": 1, "seed": 0, **options})
    assert not (tmp_path / "out").exists()


def test_the_default_dives_cover_all_groups_and_are_listed_somewhere():
    dives = [parse_dive_number(text) for text in DIVES]
    assert {dive.group for dive in dives} == {1, 2, 3, 4, 5, 6}
    assert len(set(dives)) == len(DIVES) >= 16
    DatasetPlan(seed=0)


def test_the_classic_draw_has_hard_numbers_and_competition_heights_more_often():
    plan = DatasetPlan(seed=1, dives=("103B", "614B"), draw="classic")
    drawn = [plan.dive(index) for index in range(60)]
    numbers = Counter(str(dive.dive) for dive in drawn)
    # 103B is worth 1.7 at most and 614B 2.5: (1.7 / 2.5)^3 = 0.31 times as common, so 14 of 60.
    assert 5 <= numbers["103B"] <= 24
    assert sum(dive.height_m in (3.0, 10.0) for dive in drawn) > 40
    assert all(difficulty(dive.dive, dive.height_m) == dive.difficulty for dive in drawn)


def test_in_practice_every_listed_number_is_dived_easy_ones_more_often_and_from_every_height():
    plan = plan_dataset(3, dives=(ALL_DIVES,), draw="practice")
    assert {"105C", "101A", "1011C", "638C"} <= set(plan.dives)
    assert not any(parse_dive_number(text).flying for text in plan.dives)
    drawn = [plan.dive(index) for index in range(80)]
    assert len({str(dive.dive) for dive in drawn}) > 45
    assert {dive.height_m for dive in drawn} == {1.0, 3.0, 5.0, 7.5, 10.0}
    assert np.median([dive.difficulty for dive in drawn]) < 2.2  # of competitions 3.2
    assert all(difficulty(dive.dive, dive.height_m) == dive.difficulty for dive in drawn)
    low = plan_dataset(3, dives=(ALL_DIVES,), draw="practice", height_m=1.0)
    assert "626C" not in low.dives


def test_confounding_ties_the_venue_to_the_execution(plan, sample):
    tied = replace(plan, confounding=1.0)
    execution = np.array([dive.execution for dive in sample])
    styles = [confounded_style(dive) for dive in sample]
    assert set(styles) == set(range(len(STYLES)))
    assert spearmanr(execution, styles).statistic > 0.95
    for index, dive in enumerate(sample[:12]):
        assert tied.scene_config(index, dive).venue.style is STYLES[styles[index]]


def test_without_confounding_the_venue_knows_nothing_of_the_dive(plan, sample):
    for index in range(4):
        venues = [plan.scene_config(index, dive).record() for dive in (sample[index], sample[index + 1])]
        assert venues[0] == venues[1]


def test_another_venue_seed_shows_the_same_dive_elsewhere(plan, sample):
    moved = replace(plan, venue_seed=99)
    assert moved.dive(3).record() == sample[3].record()
    here, there = (each.scene_config(3, sample[3]).record() for each in (plan, moved))
    assert here != there
    assert there == DatasetPlan(seed=99).scene_config(3, sample[3]).record()


def test_another_entry_seed_changes_the_entry_alone(plan, sample):
    other = replace(plan, entry_seed=99).dive(3)
    assert other.motion.leave_s == sample[3].motion.leave_s
    assert other.motion.athlete == sample[3].motion.athlete
    before, after = sample[3].faults.as_dict(), other.faults.as_dict()
    changed = {name for name in before if before[name] != after[name]}
    assert changed
    assert changed <= set(STAGE_FAULTS["entry"])
    assert plan.scene_config(3, other).record() == plan.scene_config(3, sample[3]).record()


def test_only_seeds_that_were_asked_for_are_part_of_a_plans_stamp(plan):
    assert "venue_seed" not in plan.stamp()
    assert replace(plan, venue_seed=4).stamp() == {**plan.stamp(), "venue_seed": 4}
