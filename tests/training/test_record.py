import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import finecausal_cli
from finecausal_cli.data import Dive
from finecausal_cli.training import TrainOptions
from finecausal_cli.training import checkpoint as record
from finecausal_cli.training.checkpoint import (
    RUN_NAME,
    RunMetadata,
    describe_data,
    digest_files,
    digest_labels,
    read_run,
    write_run,
)


@pytest.fixture
def dives(tmp_path):
    made = []
    for index in range(3):
        video = tmp_path / f"{index}.mp4"
        video.write_bytes(b"x" * (10 + index))
        made.append(Dive(f"{index}.mp4", video, 50.0 + index, 2.0, "107B", twist_start=5, entry_start=9, split="train"))
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "0.jpg").write_bytes(b"jpg")
    return [*made, Dive("frames", frames, 40.0, 2.0, split="val", mask=tmp_path / "0.mp4")]


def test_a_run_describes_itself(tmp_path, config, make_options, dives):
    write_run(
        tmp_path / "run",
        config,
        make_options(),
        tmp_path,
        dives,
        begun={"from": "random"},
        processes=2,
        command=["finecausal", "train", "my dives", "--epochs", "3"],
    )
    run = json.loads((tmp_path / "run" / RUN_NAME).read_text())
    assert run["dives"] == {"train": 3, "val": 1, "test": 0}
    assert run["command"] == "finecausal train 'my dives' --epochs 3"
    assert (run["processes"], run["init"]) == (2, {"from": "random"})
    assert run["versions"]["finecausal"] == finecausal_cli.__version__
    assert {"python", "torch", "numpy"} <= set(run["versions"])
    begun = {"from": "random"}
    assert read_run(tmp_path / "run", TrainOptions) == RunMetadata(config, make_options(), digest_labels(dives), begun)


def test_the_state_of_the_checkout_is_recorded(monkeypatch):
    """Of the checkout that this code is in, if there is git; a package that is installed has none."""
    state = record._git_state()
    if state is not None:
        assert re.fullmatch("[0-9a-f]{40}", state["commit"])
        assert isinstance(state["is_changed"], bool)
    monkeypatch.setattr(record.shutil, "which", lambda name: None)
    assert record._git_state() is None


@pytest.mark.parametrize(
    "change",
    [
        {"score": 51.0},
        {"difficulty": 2.1},
        {"number": "107C"},
        {"twist_start": 6},
        {"entry_start": None},
        {"deductions": (0.1, 0.2, 0.3)},
        {"split": "val"},
        {"key": "other.mp4"},
    ],
)
def test_every_label_counts(dives, change):
    changed = [replace(dives[0], **change), *dives[1:]]
    assert digest_labels(changed) != digest_labels(dives)
    assert digest_labels(list(dives)) == digest_labels(dives)


def test_names_and_sizes_of_files_count(dives, tmp_path):
    found = {digest_files(dives)}
    (tmp_path / "1.mp4").write_bytes(b"longer than before")
    found.add(digest_files(dives))
    (tmp_path / "frames" / "1.jpg").write_bytes(b"")
    found.add(digest_files(dives))
    (tmp_path / "1.mp4").unlink()  # reading it will fail; describing it does not
    found.add(digest_files(dives))
    found.add(digest_files([*dives[:-1], replace(dives[-1], mask=None)]))
    assert len(found) == 5


def test_where_a_dataset_lies_does_not_count(dives, tmp_path):
    other = tmp_path / "moved"
    other.mkdir()
    for dive in dives[:3]:
        (other / dive.video.name).write_bytes(Path(dive.video).read_bytes())
    moved = [replace(dive, video=other / dive.video.name) for dive in dives[:3]]
    assert digest_files(moved) == digest_files(dives[:3])
    assert digest_labels(moved) == digest_labels(dives[:3])


@pytest.mark.parametrize(
    ("init", "told"),
    [
        ("/home/coach/runs/a", "a"),
        ("trunk:/home/coach/runs/a", "trunk:a"),
        ("/home/coach/runs/10:30", "10:30"),
        ("kinetics:/data/i3d.pt", "kinetics:i3d.pt"),
    ],
)
def test_weights_do_not_tell_where_those_lay_that_they_began_from_but_a_run_does(
    tmp_path, config, make_options, dives, init, told
):
    options = make_options(init=init)
    assert describe_data(tmp_path, dives, options)["options"]["init"] == told
    write_run(tmp_path, config, options, tmp_path, dives, begun={}, processes=1, command=())
    assert read_run(tmp_path, TrainOptions).options.init == init
