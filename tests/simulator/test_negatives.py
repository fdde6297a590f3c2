from __future__ import annotations

import csv
from itertools import pairwise
from math import pi

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from finecausal_cli.cli import app
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator.negatives import KINDS, low_jump, somersault_on_land, write_negatives


def pictures(path):
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24").astype(np.float32) for frame in video.decode(video=0)]


def test_a_somersault_on_land_turns_once_and_ends_on_the_ground():
    motion = somersault_on_land(np.random.default_rng(4))
    lowest = motion.body(motion.times)[..., 2].min(axis=1)
    assert abs(motion.somersault[-1] - motion.somersault[0]) == pytest.approx(2 * pi)
    assert lowest[[0, -1]] == pytest.approx(0, abs=1e-6)
    before = motion.times < motion.leave_s
    assert lowest[before] == pytest.approx(0, abs=1e-6)
    assert 0.3 < np.ptp(motion.centre[:, 2]) < 1.2


@pytest.mark.parametrize(("height_m", "head_first"), [(0.7, True), (1.8, False)])
def test_a_low_jump_falls_freely_into_the_water_without_a_somersault(height_m, head_first):
    motion = low_jump(np.random.default_rng(2), height_m, head_first=head_first)
    air = (motion.times > motion.leave_s + 0.02) & (motion.times < motion.contact_s - 0.02)
    fall = np.gradient(np.gradient(motion.centre[air, 2], motion.times[air]), motion.times[air])
    assert np.median(fall) == pytest.approx(-9.81, rel=0.01)
    assert np.ptp(motion.somersault) < 0.9 * pi
    body = motion.body(np.array([motion.contact_s, motion.times[-1]]))
    assert body[0, :, 2].min() == pytest.approx(0, abs=0.05)
    assert body[1, :, 2].max() < body[0, :, 2].max()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_negatives(tmp_path_factory.mktemp("negatives"), ["cut-flight", "screen"], 1, seed=3)


def test_the_table_names_every_clip(written):
    with written.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["kind"] for row in rows] == ["cut-flight", "screen"]
    for row in rows:
        frames = pictures(written.parent / row["video"])
        assert len(frames) == int(row["frames"]) > 40


def test_a_cut_flight_has_one_change_of_shot_in_its_middle(written):
    frames = pictures(written.parent / "cut-flight-00.mp4")
    steps = np.array([np.abs(after - before).mean() for before, after in pairwise(frames)])
    cut = int(steps.argmax())
    assert steps[cut] > 2 * np.sort(steps)[-2]
    assert 0.2 < cut / len(steps) < 0.9


def test_one_seed_gives_the_same_bytes(written, tmp_path):
    again = write_negatives(tmp_path, ["screen"], 1, seed=3)
    assert (again.parent / "screen-00.mp4").read_bytes() == (written.parent / "screen-00.mp4").read_bytes()


def test_there_are_ten_kinds_and_others_are_refused(tmp_path):
    assert len(KINDS) == 10
    with pytest.raises(UsageError, match="unicorn"):
        write_negatives(tmp_path, ["unicorn"], 1, seed=0)


def test_the_command_writes_them_instead_of_dives(tmp_path):
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "out"), "--negatives", "screen", "--count", "1"])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "out" / "negatives.csv")
    assert not (tmp_path / "out" / "dives.csv").exists()
