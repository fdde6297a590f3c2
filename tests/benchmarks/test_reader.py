import json
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks.reader import (
    SIZES,
    athlete_masks,
    clips_of,
    figures,
    joined,
    main,
    measure_clip,
    overlap,
)
from finecausal_cli.athlete import JOINT, JOINTS
from finecausal_cli.athlete.network import DIRECTIONS, AthleteNetwork, NetworkConfig
from finecausal_cli.athlete.reader import AthleteReader, BodyReading, save_network
from finecausal_cli.errors import DatasetError
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.training.athlete_sequence import flight_windows

SIZE = 64


@pytest.fixture(scope="module")
def dives(tmp_path_factory):
    root = tmp_path_factory.mktemp("dives")
    write_dataset(root, 2, 7)
    return root


def whole(frames):
    """Windows that cover all of their squares."""
    return np.tile(np.array([SIZE / 2, SIZE / 2, SIZE], np.float32), (frames, 1))


class Knows:
    """A reader that is told where the joints and the athlete are; ``turned`` says it upside down."""

    square_size = SIZE

    def __init__(self, root, *, turned=False):
        self.answers = {}
        for clip in clips_of(root):
            shown = flight_windows(root, clip, SIZE)
            joints = shown.truth.copy()
            if turned:
                pelvis = joints[:, [JOINT["pelvis"]]]
                joints = 2 * pelvis - joints
            masks = athlete_masks(root, clip, shown)
            self.answers[shown.pictures.tobytes()] = (joints + 0.5) * SIZE, masks

    def read_closer(self, windows, moved):
        assert moved.shape == (*windows.shape[:3], 4)
        joints, masks = self.answers[windows.tobytes()]
        frames = len(windows)
        return BodyReading(
            joints.astype(np.float32),
            np.ones((frames, len(JOINTS)), np.float32),
            masks.astype(np.float32),
            np.ones(frames, np.float32),
            np.full((frames, DIRECTIONS), 1 / DIRECTIONS, np.float32),
            whole(frames),
            np.ones(frames, np.float32),
        )

    def read_motion(self, windows, real_times_s, *, moved):
        assert len(real_times_s) == len(windows)
        assert (np.diff(real_times_s) > 0).all()
        return self.read_closer(windows, moved)


def measured(root, reader):
    return figures(joined([measure_clip(root, clip, reader) for clip in clips_of(root)]))


def test_a_perfect_reader_makes_no_error_anywhere(dives):
    found = measured(dives, Knows(dives))
    assert found["outline_iou"] == 1.0
    for scores in (found["single"], found["motion"], *found["motion_by_size"].values()):
        assert scores["pck"] == scores["trunk_within_15"] == scores["trunk_within_30"] == 1.0
        assert scores["turned_over"] == 0.0
        assert scores["trunk_median_deg"] == pytest.approx(0, abs=1e-3)
        assert set(scores["pck_by_joint"].values()) == {1.0}
    assert found["single"]["pck_all_frames"] == 1.0


def test_a_body_that_is_read_upside_down_counts_as_turned_over(dives):
    found = measured(dives, Knows(dives, turned=True))["motion"]
    assert found["turned_over"] == 1.0
    assert found["trunk_within_30"] == 0.0
    assert found["trunk_median_deg"] == pytest.approx(180, abs=1e-2)
    assert found["pck_by_joint"]["pelvis"] == 1.0
    assert found["pck_by_joint"]["head"] == 0.0


def test_only_frames_of_the_flight_count_and_each_has_one_size(dives):
    found = measured(dives, Knows(dives))
    records = [json.loads((dives / "meta" / f"{clip}.json").read_text()) for clip in clips_of(dives)]
    longest = sum(record["entry_start"] - record["twist_start"] for record in records)
    assert 0.8 * longest < found["flight_frames"] <= longest
    assert found["flight_frames"] < found["frames"]
    thirds = [found["motion_by_size"][size] for size in SIZES]
    assert sum(third["frames"] for third in thirds) == found["flight_frames"]
    scales = [third["px_per_m"] for third in thirds if third["px_per_m"]]
    assert all(before[1] <= after[0] for before, after in pairwise(scales))


def test_the_mask_of_a_window_covers_its_joints(dives):
    shown = flight_windows(dives, "00000", SIZE)
    masks = athlete_masks(dives, "00000", shown)
    pelvis = ((shown.truth[:, JOINT["pelvis"]] + 0.5) * SIZE).astype(int)
    on = [mask[y, x] for mask, (x, y) in zip(masks[shown.in_flight], pelvis[shown.in_flight], strict=True)]
    assert np.mean(on) > 0.95


def test_half_an_outline_overlaps_by_half():
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 16:48, 16:48] = True
    outline = np.zeros((1, 64, 64), np.float32)
    outline[0, 16:32, 16:48] = 1
    rest = [np.zeros((1, 1), np.float32)] * 4
    reading = BodyReading(rest[0], rest[1], outline, rest[2], rest[3], whole(1), rest[2])
    assert overlap(reading, mask).tolist() == [[512, 1024]]


def test_the_command_prints_a_table_or_json_of_an_untaught_reader(dives, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    config = NetworkConfig(window_size=SIZE, width=16, embedding=16)
    save_network(tmp_path, config, AthleteNetwork(config).state_dict(), {})
    digest = AthleteReader.load(tmp_path).digest
    asked = ["reader", str(dives), "--reader", str(tmp_path), "--limit", "1"]
    monkeypatch.setattr(sys, "argv", [*asked, "--json"])
    main()
    found = json.loads(capsys.readouterr().out)
    assert (found["reader"], found["clips"]) == (digest, 1)
    assert 0 <= found["motion"]["pck"] < 0.9
    assert found["single"] == found["motion"]  # without a network over time
    monkeypatch.setattr(sys, "argv", asked)
    main()
    printed = capsys.readouterr().out
    assert "PCK at half a trunk" in printed
    assert "PCK ankle_r" in printed


def test_a_folder_without_joints_is_named(tmp_path):
    with pytest.raises(DatasetError, match="no clip with joints"):
        clips_of(tmp_path)
