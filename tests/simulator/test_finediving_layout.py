from __future__ import annotations

import json
import pickle
import pickletools
import resource
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.diving import final_score
from finecausal_cli.errors import OutputError, UsageError
from finecausal_cli.simulator.dataset import (
    first_frame,
    key_of,
    lacks_entry,
    split_keys,
    whole_folder,
    write_dataset,
    write_frames,
)
from finecausal_cli.simulator.dive import SimulatedDive

COUNT = 3
DIVES = ["5253B", "407C"]
SEED = 4


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("finediving"), COUNT, SEED, layout="finediving", dives=DIVES)


@pytest.fixture(scope="module")
def records(written: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((written / "meta").iterdir())]


@pytest.fixture
def read(written: Path) -> Callable[[str], Any]:
    """Load an annotation file as Python does; NumPy still knows its old names."""

    def call(name: str) -> Any:
        return pickle.loads((written / "Annotations" / f"{name}.pkl").read_bytes())  # noqa: S301 - our own

    return call


pytestmark = pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning")


def test_the_folders_are_those_of_the_real_data(written, records):
    assert {path.name for path in written.iterdir()} == {
        "FineDiving",
        "FineDiving_HM",
        "Annotations",
        "meta",
        "plan.json",
        "tracks",
    }
    assert {path.name for path in (written / "Annotations").iterdir()} == {
        "fine-grained_annotation_aqa.pkl",
        "FineDiving_coarse_annotation.pkl",
        "FineDiving_fine-grained_annotation.pkl",
        "Sub_action_Types_Table.pkl",
        "train_split.pkl",
        "test_split.pkl",
    }
    for record in records:
        competition, number = record["key"]
        names = [f"{n:05d}.jpg" for n in range(record["start_frame"], record["end_frame"] + 1)]
        assert len(names) == record["frames"]
        for root in ("FineDiving", "FineDiving_HM"):
            assert sorted(p.name for p in (written / root / competition / str(number)).iterdir()) == names


def test_frames_are_pictures_in_colour_and_masks_are_white_where_the_athlete_is(written, records):
    frames = sorted((written / records[0]["frames_folder"]).iterdir())
    masks = sorted((written / records[0]["masks_folder"]).iterdir())
    whites = 0
    for frame, mask in zip(frames, masks, strict=True):
        assert frame.read_bytes()[:3] == b"\xff\xd8\xff"
        picture = cv2.imread(str(frame), cv2.IMREAD_UNCHANGED)
        assert picture.shape == (256, 455, 3)
        gray = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
        assert gray.shape == (256, 455)
        assert ((gray < 64) | (gray > 191)).mean() > 0.99
        whites += int((gray > 127).any())
    assert whites > len(frames) / 2


def test_the_aqa_annotation_has_the_five_values_of_every_dive(read, records):
    annotation = read("fine-grained_annotation_aqa")
    assert list(annotation) == [tuple(record["key"]) for record in records]
    for record in records:
        number, score, difficulty, transitions, labels = annotation[tuple(record["key"])]
        assert type(annotation[tuple(record["key"])]) is list
        assert number == record["dive"].lower()
        assert isinstance(score, float)
        assert score == record["score"] == final_score(record["judges"], difficulty)
        assert difficulty == record["difficulty"]
        assert (transitions.dtype, labels.dtype) == (np.int64, np.int64)
        assert (transitions[0], transitions[-1]) == (record["twist_start"], record["entry_start"])
        assert len(labels) == record["frames"]
        assert [0, *(np.flatnonzero(np.diff(labels)) + 1)] == [0, *transitions]
        assert len(transitions) == (3 if number == "5253b" else 2)


def test_the_coarse_annotation_speaks_of_the_untrimmed_recording(read, records):
    coarse = read("FineDiving_coarse_annotation")
    for record in records:
        assert coarse[tuple(record["key"])] == {
            "action_type": record["dive"].lower(),
            "start_frame": record["start_frame"],
            "end_frame": record["end_frame"],
            "dive_score": record["score"],
            "difficulty": record["difficulty"],
            "judge_scores": record["judges"],
        }


def test_the_fine_annotation_names_its_labels_by_the_table(read, records):
    fine, table = read("FineDiving_fine-grained_annotation"), read("Sub_action_Types_Table")
    aqa = read("fine-grained_annotation_aqa")
    for key, entry in fine.items():
        number, score, difficulty, transitions, labels = aqa[key]
        assert (entry["action_type"], entry["dive_score"], entry["difficulty"]) == (number, score, difficulty)
        np.testing.assert_array_equal(entry["steps_transit_frames"], transitions)
        np.testing.assert_array_equal(entry["frames_labels"], labels)
        assert entry["sub-action_types"] == {label: table[label] for label in set(labels.tolist())}
        names = list(entry["sub-action_types"].values())
        if number == "5253b":
            assert set(names) == {"Back", "2.5 Soms.Pike", "1.5 Twists", "Entry"}
        else:
            assert names == ["Inward", "3.5 Soms.Tuck", "Entry"]


def test_the_pickles_are_as_an_old_numpy_wrote_them(written):
    asked: set[str] = set()
    for path in (written / "Annotations").iterdir():
        for opcode, argument, _ in pickletools.genops(path.read_bytes()):
            assert opcode.proto <= 3
            asked |= {argument.replace(" ", ".")} if opcode.code == "c" else set()
    assert asked == {
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
    }


def test_the_splits_share_the_keys_among_them(read, records):
    train, test = read("train_split"), read("test_split")
    assert sorted(train + test) == sorted(tuple(record["key"]) for record in records)


def test_the_reader_of_the_real_data_reads_the_same_labels(written, records, read):
    dives = {dive.key: dive for dive in read_dataset(written)}
    assert len(dives) == COUNT
    train = read("train_split")
    for record in records:
        competition, number = record["key"]
        dive = dives[f"{competition}/{number}"]
        assert (dive.number, dive.difficulty, dive.score) == (record["dive"], record["difficulty"], record["score"])
        assert (dive.twist_start, dive.entry_start) == (record["twist_start"], record["entry_start"])
        assert dive.judges == tuple(record["judges"])
        assert dive.split == ("train" if (competition, number) in train else "test")
        assert dive.height_m == (None if competition == "01" else record["height_m"])
        assert (dive.video, dive.mask) == (written / record["frames_folder"], written / record["masks_folder"])


def test_a_quarter_of_every_number_is_tested_and_some_single_ones_have_no_exemplar():
    counts = {"407C": 347, "205B": 40, "107B": 3} | {f"single {n}": 1 for n in range(8)}
    numbers = {(number, index): number for number, count in counts.items() for index in range(count)}
    train, test = split_keys(numbers, seed=1)
    assert [key for key in numbers if key in set(train)] == train
    assert len(test) == int(0.25 * len(numbers))
    assert set(train) | set(test) == set(numbers)
    tested = Counter(numbers[key] for key in test)
    assert tested["407C"] in (86, 87, 88)
    assert tested["205B"] in (9, 10, 11)
    assert tested["107B"] <= 2
    assert 1 <= sum(tested[f"single {n}"] for n in range(8)) <= 3
    assert split_keys(numbers, seed=1) == (train, test)
    assert split_keys(numbers, seed=2) != (train, test)


def test_a_number_that_has_two_dives_always_keeps_one_to_train_on():
    numbers = {(f"n{n}", index): f"n{n}" for n in range(20) for index in range(2)}
    for seed in range(20):
        train, test = split_keys(numbers, seed)
        assert len(test) == 10
        assert {numbers[key] for key in train} == set(numbers.values())


def diver(sex: str, height_m: float) -> SimulatedDive:
    motion = SimpleNamespace(athlete=SimpleNamespace(sex=sex))
    return cast("SimulatedDive", SimpleNamespace(motion=motion, height_m=height_m))


def test_competitions_are_called_by_a_number_or_by_an_event_and_no_key_comes_twice():
    assert key_of(0, diver("male", 3.0)) == ("01", 1)
    assert key_of(1, diver("female", 10.0)) == ("SimulatedDivingCup2026_Women10m_final_r1", 1)
    assert key_of(203, diver("male", 7.5)) == ("SimulatedDivingCup2026_Men7.5m_final_r3", 3)
    assert len({key_of(index, diver("male", 3.0)) for index in range(3000)}) == 3000


def test_the_dives_of_a_recording_follow_one_another_with_gaps():
    starts = [first_frame(7, index, frames=273) for index in range(100)]
    gaps = [later - earlier - 273 for earlier, later in pairwise(starts)]
    assert min(gaps) >= 0
    assert len(set(gaps)) > 50
    assert 0 <= starts[0] < 900
    assert starts[-1] + 273 <= 99_999


def test_a_clip_that_does_not_fit_between_two_dives_is_an_error():
    with pytest.raises(ValueError, match="900"):
        first_frame(7, 0, frames=900)


def test_about_five_dives_in_a_thousand_lack_the_label_of_the_entry():
    assert 5 <= sum(lacks_entry(0, index) for index in range(3000)) <= 30


def test_a_dive_without_the_label_of_the_entry_is_written_so(tmp_path):
    seed = next(seed for seed in range(5000) if lacks_entry(seed, 0))
    root = write_dataset(tmp_path, 1, seed, layout="finediving", dives=["401B"])
    data = (root / "Annotations" / "FineDiving_fine-grained_annotation.pkl").read_bytes()
    (entry,) = pickle.loads(data).values()  # noqa: S301 - our own
    assert list(entry["sub-action_types"].values()) == ["Inward", "0.5 Som.Pike", "Background"]
    assert len(entry["steps_transit_frames"]) == 2


def test_dives_without_a_name_in_the_table_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="4 Soms"):
        write_dataset(tmp_path / "out", 1, 0, layout="finediving", dives=["108C"])
    assert not (tmp_path / "out").exists()


def test_a_folder_of_the_other_layout_is_refused(written):
    with pytest.raises(OutputError, match="another plan"):
        write_dataset(written, COUNT, SEED, dives=DIVES)


def test_a_longer_and_a_shorter_run_keep_what_is_there(written, tmp_path):
    root = write_dataset(tmp_path, 1, SEED, layout="finediving", dives=DIVES)
    write_dataset(root, COUNT, SEED, layout="finediving", dives=DIVES, workers=2)
    assert files_of(root) == files_of(written)
    write_dataset(root, 2, SEED, layout="finediving", dives=DIVES)
    train, test = (
        pickle.loads((root / "Annotations" / f"{part}_split.pkl").read_bytes())  # noqa: S301 - our own
        for part in ("train", "test")
    )
    assert len(train) + len(test) == 2
    pictures = [path for path in files_of(written) if path.endswith(".jpg")]
    assert [path for path in files_of(root) if path.endswith(".jpg")] == pictures


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def noise(frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, (256, 456, 3), np.uint8), np.zeros((256, 456), np.uint8)) for _ in range(frames)]


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="pictures cannot be written") as caught:
            write_frames(tmp_path / "frames" / "0", tmp_path / "masks" / "0", 489, noise(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "frames").iterdir())
    assert not list((tmp_path / "masks").iterdir())


def test_an_older_unfinished_folder_is_replaced(tmp_path):
    frames = tmp_path / "frames" / "0"
    frames.mkdir(parents=True)
    (frames / "00001.jpg").write_bytes(b"old")
    write_frames(frames, tmp_path / "masks" / "0", 489, noise(2))
    for folder in (frames, tmp_path / "masks" / "0"):
        assert sorted(path.name for path in folder.iterdir()) == ["00489.jpg", "00490.jpg"]


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    def stop_half_way() -> None:
        with whole_folder(tmp_path / "0", "it") as part:
            (part / "a").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert not list(tmp_path.iterdir())
