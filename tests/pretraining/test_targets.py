import json

import numpy as np
import pytest

from finecausal_cli.data import Dive
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.errors import DatasetError
from finecausal_cli.simulator.judging import Observation
from finecausal_cli.training.motion_snippets import LEAST_SHOWN, SEEN, read_targets
from finecausal_cli.video import sample_indices

FRAMES = 96


@pytest.fixture
def written(tmp_path):
    """A dive of as many frames as are sampled: it leaves at frame 40, enters at 80 and turns two degrees a frame."""
    turn = [2.0 * frame for frame in range(FRAMES)]
    track = {
        "somersault_deg": turn,
        "twist_deg": [value / 4 for value in turn],
        "centre_m": [[0.0, 0.0, 10 - frame / 10] for frame in range(FRAMES)],
        "pose_deg": {"hip": turn, "knee": [90.0] * FRAMES},
    }
    seen = {name: -0.1 * place for place, name in enumerate(SEEN)}
    record = {"frames": FRAMES, "twist_start": 40, "entry_start": 80, "seen": seen}

    def write(**changes) -> Dive:
        for folder, content in (("meta", {**record, **changes}), ("tracks", {**track, **changes})):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / "00000.json").write_text(json.dumps(content))
        return Dive("videos/00000.mp4", tmp_path / "videos" / "00000.mp4", 60.0, 3.0, "101B")

    return write


def test_what_is_known_of_a_frame_is_read_where_it_was_sampled(written):
    found = read_targets(written())
    assert found.transitions == (40, 80)
    assert [int((found.stage == stage).sum()) for stage in range(3)] == [40, 40, 16]
    assert found.stage[39:41].tolist() == [0, 1]
    assert np.flatnonzero(~found.visible)[0] == 83
    cosine, sine, twice, risen, height, speed, hip, knee = found.motion[60]
    assert cosine == pytest.approx(np.cos(np.radians(120)), abs=1e-6)
    assert sine == pytest.approx(np.sin(np.radians(60)), abs=1e-6)  # as a mirror leaves it
    assert twice == pytest.approx(np.cos(np.radians(60)), abs=1e-6)
    assert (risen, height, speed) == pytest.approx((-2.0, 4.0, -0.1), abs=1e-5)
    assert (hip, knee) == pytest.approx((np.radians(120), np.pi / 2), abs=1e-6)
    np.testing.assert_allclose(found.seen, 0.1 * np.arange(len(SEEN)), atol=1e-6)


def test_a_mirrored_dive_is_held_to_the_same(written):
    found = read_targets(written())
    turn = [-2.0 * frame for frame in range(FRAMES)]
    pose = {"hip": turn, "knee": [-90.0] * FRAMES}
    mirrored = read_targets(written(somersault_deg=turn, twist_deg=[value / 4 for value in turn], pose_deg=pose))
    np.testing.assert_array_equal(mirrored.motion, found.motion)


def test_a_thing_is_asked_where_it_shows(written):
    found = read_targets(written())
    stretches = dict(zip(SEEN, found.stretches().tolist(), strict=True))
    assert stretches["rise"] == [30, 40]
    assert stretches["lean_deg"] == [37, 50]
    assert stretches["steadiness"] == [0, 40]
    assert stretches["openness"] == [40, 80]
    assert stretches["splash"] == [72, 90]
    by_frame = dict(zip(SEEN, found.shown_by_frame().T, strict=True))
    assert np.flatnonzero(by_frame["rise"]).tolist() == [*range(30, 40)]
    assert np.flatnonzero(by_frame["splash"]).tolist() == [*range(72, 90)]
    # Of frames 30 to 45 the crouch is ten, the leaving nine, the stance ten, the flight six, which is too few.
    shown = dict(zip(SEEN, found.shown_by_snippet(30), strict=True))
    assert {SEEN[name] for name, is_shown in shown.items() if is_shown} == {"crouch", "leaving", "stance"}
    assert not found.shown_by_snippet(80)[[*SEEN].index("openness")]
    assert found.shown_by_snippet(80)[[*SEEN].index("arch")]


def test_every_thing_is_one_that_the_judges_see_and_has_its_stretch():
    assert SEEN.keys() <= Observation.__dataclass_fields__.keys()
    assert set(SEEN.values()) == LEAST_SHOWN.keys()


def test_a_simulated_dive_is_read_as_it_was_written(simulated):
    dive = read_dataset(simulated)[2]
    record, track = (json.loads((simulated / each / "00002.json").read_text()) for each in ("meta", "tracks"))
    found, frames = read_targets(dive), sample_indices(0, record["frames"] - 1)
    assert found.motion.shape == (96, 6 + len(track["pose_deg"]))
    np.testing.assert_allclose(found.motion[:, 4], np.array(track["centre_m"])[frames, 2], atol=1e-5)
    leave, enter = found.transitions
    assert frames[leave - 1] < record["twist_start"] <= frames[leave]
    assert frames[enter - 1] < record["entry_start"] <= frames[enter]
    assert found.seen[[*SEEN].index("splash")] == pytest.approx(record["seen"]["splash"])
    height = found.motion[:, 4]
    assert leave < height.argmax() < enter  # it rises before it falls
    assert np.isfinite(found.motion).all()


def test_dives_that_nobody_simulated_are_refused_by_name(written, tmp_path):
    dive = written()
    (tmp_path / "tracks" / "00000.json").unlink()
    with pytest.raises(DatasetError, match=r"No such file.*finecausal simulate") as caught:
        read_targets(dive)
    assert caught.value.where == str(tmp_path / "tracks" / "00000.json")
    (tmp_path / "tracks" / "00000.json").write_text("[1]")
    with pytest.raises(DatasetError, match="not a record"):
        read_targets(dive)
    (tmp_path / "tracks" / "00000.json").write_text("{")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_targets(dive)


@pytest.mark.parametrize("changes", [{"pose_deg": None}, {"seen": {}}, {"centre_m": [[0, 0, 1]]}, {"frames": "many"}])
def test_so_are_records_that_lack_something(written, changes):
    with pytest.raises(DatasetError, match="this version"):
        read_targets(written(**changes))
