import json

import numpy as np
import pytest

from finecausal_cli.simulator.athlete import Pose
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.simulator.dive import FPS
from finecausal_cli.simulator.recording import tracks


def test_every_frame_has_every_value(simulate):
    dive = simulate("5253B", 10.0)
    found = json.loads(json.dumps(tracks(dive)))
    for name in ("somersault_deg", "twist_deg", "tilt_deg"):
        assert len(found[name]) == dive.frames
    assert np.shape(found["centre_m"]) == (dive.frames, 3)
    assert set(found["pose_deg"]) == set(Pose._fields)
    assert {len(angles) for angles in found["pose_deg"].values()} == {dive.frames}


def test_the_flight_turns_the_dive_number_and_falls(simulate):
    dive = simulate("107B", 10.0)
    found = tracks(dive)
    leave, enter = dive.twist_start, dive.entry_start
    turned = abs(found["somersault_deg"][enter] - found["somersault_deg"][leave])
    assert turned == pytest.approx(3.5 * 360, abs=60)  # less the lean at take-off, more or less the rotation's error
    height = np.array(found["centre_m"])[leave:enter, 2]
    assert np.diff(height, 2) == pytest.approx(-9.81 / FPS**2, abs=0.003)  # second difference of a parabola, mm rounded
    # In the pike the hips are closed, at the water they are not.
    hip = found["pose_deg"]["hip"]
    assert max(hip[leave:enter]) > 90 > hip[enter] + 45


def test_a_data_set_holds_one_for_each_dive(tmp_path):
    write_dataset(tmp_path / "d", 2, 5, dives=["101B"])
    assert sorted(path.name for path in (tmp_path / "d" / "tracks").iterdir()) == ["00000.json", "00001.json"]
    record = json.loads((tmp_path / "d" / "meta" / "00001.json").read_text())
    held = json.loads((tmp_path / "d" / "tracks" / "00001.json").read_text())
    assert len(held["somersault_deg"]) == record["frames"]
