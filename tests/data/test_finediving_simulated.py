"""What the simulator writes as FineDiving-HM is read as what it simulated, and as a manifest of the same files."""

import json

import numpy as np
import pytest

from finecausal_cli.data.annotation import read_plain_pickle
from finecausal_cli.data.batch import collate
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import check_dataset, read_dataset
from finecausal_cli.simulator.dataset import write_dataset

DIVES = 3


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    root = tmp_path_factory.mktemp("simulated")
    write_dataset(root, DIVES, 11, layout="finediving", dives=["107B", "5253B"])
    return root


@pytest.fixture(scope="module")
def records(simulated):
    """What the simulator noted down of each dive, by the key that the reader gives it."""
    found = [json.loads(file.read_text()) for file in sorted((simulated / "meta").glob("*.json"))]
    return {"/".join(map(str, record["key"])): record for record in found}


def test_every_label_comes_back(simulated, records):
    dives = read_dataset(simulated)
    test = {"/".join(map(str, key)) for key in read_plain_pickle(simulated / "Annotations" / "test_split.pkl")}
    assert {dive.key for dive in dives} == set(records)
    assert len(dives) == DIVES
    for dive in dives:
        record = records[dive.key]
        assert dive.number == record["dive"]
        assert dive.score == record["score"]
        assert dive.difficulty == record["difficulty"]
        assert dive.judges == tuple(record["judges"])
        assert (dive.twist_start, dive.entry_start) == (record["twist_start"], record["entry_start"])
        assert dive.height_m == (None if dive.key[:2].isdigit() else record["height_m"])
        assert dive.split == ("test" if dive.key in test else "train")
        assert dive.video == simulated / "FineDiving" / dive.key
        assert dive.mask == simulated / "FineDiving_HM" / dive.key


def test_a_check_finds_nothing_but_dives_without_exemplars(simulated, records):
    check = check_dataset(simulated, decode=True)
    assert {problem.kind for problem in check.problems} <= {"exemplars"}
    lengths = [record["frames"] for record in records.values()]
    assert (check.summary.frames.least, check.summary.frames.most) == (min(lengths), max(lengths))


def test_the_same_dives_as_a_manifest_give_identical_batches(simulated, records, tmp_path):
    names = ["video", "mask", "score", "difficulty", "dive", "twist_start", "entry_start", "split"]
    dives = read_dataset(simulated)
    rows = [
        [f"FineDiving/{dive.key}", f"FineDiving_HM/{dive.key}"]
        + [f"{value}" for value in (dive.score, dive.difficulty, dive.number, dive.twist_start, dive.entry_start)]
        + [str(dive.split)]
        for dive in dives
    ]
    manifest = simulated / "same.csv"
    manifest.write_text("\n".join(",".join(cells) for cells in [names, *rows]) + "\n")
    listed = read_dataset(manifest)
    load = ClipCache(tmp_path / "cache", geometry="fit", frame_size=32).load
    for load_listed in (load, ClipCache(None, geometry="fit", frame_size=32).load):
        one, other = (
            collate([(0, 1, 2)], given, read, frame_size=32, seed=5, epoch=1)
            for given, read in ((dives, load), (listed, load_listed))
        )
        for name in one.__slots__:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
