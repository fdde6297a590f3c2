import os
import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.data import Dive
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import assign_splits, read_dataset
from finecausal_cli.data.published import height_in, read_finediving
from finecausal_cli.errors import DatasetError

EVENT = "FINADivingWorldCup2021_Men3m_final_r1"


@pytest.fixture
def read(finediving):
    def read_tree(**options):
        return read_finediving(finediving.root, finediving.annotations, **options)

    return read_tree


def by_key(dives):
    return {dive.key: dive for dive in dives}


def test_every_label_of_a_dive(read, finediving):
    dive = read()[0]
    assert dive == Dive(
        key=f"{EVENT}/0",
        video=finediving.root / "FineDiving" / EVENT / "0",
        score=88.0,
        difficulty=3.2,
        number="407C",
        height_m=3.0,
        twist_start=2,
        entry_start=14,
        mask=finediving.root / "FineDiving_HM" / EVENT / "0",
        judges=(9.0, 9.0, 9.5),
        split="train",
    )


def test_a_dive_of_more_steps_begins_its_flight_at_the_first_and_its_entry_at_the_last(read):
    dive = by_key(read())["01/1"]
    assert (dive.twist_start, dive.entry_start, dive.number, dive.height_m) == (3, 15, "5253B", None)


def test_where_no_frame_is_labelled_entry_the_entry_is_unknown(read, finediving):
    finediving.labels["01", 1][4][:] = 8
    finediving.write()
    dive = by_key(read())["01/1"]
    assert (dive.twist_start, dive.entry_start) == (3, None)


def test_the_splits_are_the_authors_and_validation_dives_come_out_of_training(read):
    dives = read()
    assert [dive.split for dive in dives] == ["train", "train", "train", "train", "test"]
    divided = assign_splits(dives)
    assert divided[-1].split == "test"
    assert Counter(dive.split for dive in divided) == {"train": 3, "val": 1, "test": 1}


@pytest.mark.parametrize(
    ("name", "height"),
    [
        (EVENT, 3.0),
        ("FINADivingWorldCup2021_Women10m_semi", 10.0),
        ("Men_1m_Springboard", 1.0),
        ("Synchronised7.5m", 7.5),
        ("10mPlatform", 10.0),
        ("01", None),
        ("Top10men", None),
        ("heat13m", None),
        ("over 0.3m", None),
        ("2021min", None),
    ],
)
def test_the_height_is_what_the_competition_is_called(name, height):
    assert height_in(name) == height


def test_annotations_may_lie_beside_one_level_below_or_elsewhere(read, finediving, tmp_path):
    expected = read()
    assert read_dataset(finediving.root) == expected
    elsewhere = tmp_path / "elsewhere" / "labels"
    elsewhere.parent.mkdir()
    finediving.annotations.rename(elsewhere)
    with pytest.raises(DatasetError, match=r"no dataset of a known layout.*fine-grained_annotation_aqa\.pkl"):
        read_dataset(finediving.root)
    assert read_dataset(finediving.root, annotations=elsewhere) == expected
    for file in elsewhere.iterdir():
        file.rename(finediving.root / file.name)
    assert read_dataset(finediving.root) == expected


def test_without_masks_or_marks_the_rest_is_read(read, finediving):
    (finediving.root / "FineDiving_HM").rename(finediving.root / "away")
    (finediving.annotations / "FineDiving_coarse_annotation.pkl").unlink()
    dives = read()
    assert len(dives) == 5
    assert {dive.mask for dive in dives} == {None}
    assert {dive.judges for dive in dives} == {()}
    problems = []
    read(report=problems.append)
    assert [(one.kind, one.what, one.stops) for one in problems] == [
        ("masks", "no folder FineDiving_HM: no dive has masks", False)
    ]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("first", "1 of 20 frames have no mask, the first 00489"),
        ("middle", "1 of 20 frames have no mask, the first 00495"),
        ("all", "no folder of masks"),
        ("surplus", "1 masks have no frame, the first 00488"),
    ],
)
def test_a_dive_lacking_a_mask_is_read_without_masks(read, finediving, change, what):
    """Masks are counted from the first that is there, so a missing one would shift all others in silence."""
    folder = finediving.root / "FineDiving_HM" / EVENT / "0"
    if change == "surplus":
        (folder / "00488.jpg").write_bytes((folder / "00489.jpg").read_bytes())
    for file in sorted(folder.iterdir()):
        if change == "all" or file.stem == {"first": "00489", "middle": "00495"}.get(change):
            file.unlink()
    if change == "all":
        folder.rmdir()
    problems = []
    dives = by_key(read(report=problems.append))
    assert dives[f"{EVENT}/0"].mask is None
    assert dives["01/1"].mask is not None
    assert by_key(read())[f"{EVENT}/0"].mask is None, "no reason to stop a run"
    assert [(one.kind, one.what, one.dive, one.where) for one in problems] == [
        ("masks", what, f"{EVENT}/0", str(folder))
    ]


def test_frames_and_masks_reach_the_network_as_they_are(read, finediving, tmp_path):
    clip = ClipCache(tmp_path / "cache", geometry="fit", frame_size=28).load(read()[0])
    sampled = np.linspace(0, 19, 96).astype(int)
    # Frame k of the tree has the grey value 10 k, and its mask is white from column k on.
    assert np.abs(clip.frames[..., 0].mean((1, 2)) - 10 * sampled).max() < 3
    assert (np.diff(clip.mask.sum((1, 2)).astype(int)) <= 0).all()
    assert clip.transitions == (int(np.searchsorted(sampled, 2)), int(np.searchsorted(sampled, 14)))


KEY = (EVENT, 0)


def spoil(part, value):
    def change(tree):
        tree.labels[KEY][part] = value

    return change


def rename(key):
    def change(tree):
        tree.labels[key] = tree.labels.pop(KEY)
        tree.train[0] = key

    return change


def replace(value):
    def change(tree):
        tree.labels[KEY] = value

    return change


def missing_frames(tree):
    folder = tree.root / "FineDiving" / EVENT / "0"
    folder.rename(folder.with_name("away"))


def both_splits(tree):
    tree.test.append(KEY)


def unlabelled(tree):
    tree.train.append((EVENT, 99))


WRONG = [
    (spoil(0, "999z"), "dive number", "position letter"),
    (spoil(0, 407), "dive number", "the dive number is 407"),
    (spoil(1, -1.0), "score", "the score is -1.0"),
    (spoil(1, float("nan")), "score", "the score is nan"),
    (spoil(1, "88"), "score", "the score is '88'"),
    (spoil(1, 96.5), "score", "the score 96.5 is out of range"),
    (spoil(2, 0.0), "score", "the difficulty is 0.0"),
    (spoil(3, np.array([34])), "boundaries", "1 transitions"),
    (spoil(3, np.array([14, 2])), "boundaries", "transitions 14, 2 in a clip of 20 frames"),
    (spoil(3, np.array([2, 20])), "boundaries", "transitions 2, 20 in a clip of 20 frames"),
    (spoil(3, np.array([-1, 14])), "boundaries", "transitions -1, 14"),
    (spoil(3, np.array([2.0, 14.0])), "annotation", "the transitions: an array, and whole numbers are meant"),
    (spoil(4, None), "annotation", "the frames' labels"),
    (replace(["407c", 88.0]), "annotation", "a list of 2, and five values are meant"),
    (replace({"score": 88.0}), "annotation", "a dict, and five values are meant"),
    (replace(None), "annotation", "a NoneType, and five values are meant"),
    (rename(("../../etc", 0)), "annotation", "not the name of a folder"),
    (rename(("..", 0)), "annotation", "not the name of a folder"),
    (rename((EVENT, -1)), "annotation", "the index is -1"),
    (rename("0"), "annotation", "the key is not a competition and an index"),
    (missing_frames, "frames", "no folder of frames"),
    (both_splits, "split", "a train dive too"),
    (unlabelled, "annotation", "has no annotation"),
]


@pytest.mark.parametrize(("change", "kind", "says"), WRONG)
def test_a_wrong_entry_is_named_and_the_others_are_still_read(read, finediving, change, kind, says):
    change(finediving)
    finediving.write()
    with pytest.raises(DatasetError) as caught:
        read()
    assert says in caught.value.what
    assert caught.value.where.startswith(str(finediving.annotations))
    problems = []
    others = by_key(read(report=problems.append))
    assert {"01/1", "01/2", "01/3", "01/4"} <= set(others)
    (problem,) = problems
    assert (problem.kind, problem.stops) == (kind, True)
    assert problem.what == caught.value.what


def coarse(part, value):
    def change(tree):
        tree.coarse[KEY][part] = value

    return change


def no_split(tree):
    tree.train.remove(KEY)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (no_split, "split", "is in no split and is left out"),
        (coarse("judge_scores", [9.0, 11.0]), "score", "one of the marks"),
        (coarse("judge_scores", None), "score", "the marks are None"),
        (coarse("dive_score", 80.0), "score", "the score is 80.0, and 88 in fine-grained_annotation_aqa.pkl"),
        (lambda tree: tree.coarse.pop(KEY), "annotation", "None, and a dictionary is meant"),
        (spoil(4, np.full(25, 36)), "frames", "20 frames, and 25 are labelled"),
    ],
)
def test_what_need_not_stop_a_run_is_only_reported(read, finediving, change, kind, says):
    change(finediving)
    finediving.write()
    read()
    problems = []
    read(report=problems.append)
    (problem,) = problems
    assert (problem.kind, problem.stops) == (kind, False)
    assert says in problem.what


@pytest.mark.parametrize(
    "name", ["fine-grained_annotation_aqa", "train_split", "test_split", "FineDiving_coarse_annotation"]
)
@pytest.mark.parametrize("content", [b"", pickle.dumps(5, 3), b"\x80\x03cos\nsystem\n)R."])
def test_a_file_that_cannot_be_trusted_is_named(read, finediving, name, content):
    path = finediving.annotations / f"{name}.pkl"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read(report=lambda problem: None)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("name", ["train_split", "test_split"])
def test_both_splits_must_be_there(read, finediving, name):
    (finediving.annotations / f"{name}.pkl").unlink()
    with pytest.raises(DatasetError, match=f"{name}.pkl: cannot be read: No such file"):
        read()


def test_without_frames_the_folder_to_name_is_told(read, finediving):
    (finediving.root / "FineDiving").rename(finediving.root / "frames")
    with pytest.raises(DatasetError, match="no folder FineDiving "):
        read()


def test_a_picture_of_another_kind_does_not_count(read, finediving):
    folder = finediving.root / "FineDiving" / EVENT / "0"
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "._00489.jpg").write_bytes(b"x")
    Image.new("RGB", (4, 4)).save(finediving.root / "beside.jpg")
    problems = []
    read(report=problems.append)
    assert problems == []


def test_a_folder_that_may_not_be_listed_is_named_and_the_others_are_still_read(read, finediving, monkeypatch):
    closed = finediving.root / "FineDiving" / "01" / "2"

    def forbid(folder):
        if folder == closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", forbid)
    problems = []
    assert len(read(report=problems.append)) == 4
    (problem,) = problems
    assert (problem.kind, problem.what) == ("frames", f"entry 01/2: {closed}: Permission denied")
    with pytest.raises(DatasetError, match="Permission denied"):
        read()


STRANGE = [
    None,
    True,
    2**600,
    -1,
    float("inf"),
    "x" * 5000,
    "\x1b[31m",
    b"bytes",
    [],
    {},
    (),
    [[1]],
    [None],
    {"a": 1},
    np.array(3),
    np.zeros((2, 2), np.int64),
    np.array([2**63 + 5], np.uint64),
    np.array(["a"]),
    np.array([True]),
    np.array([0.5]),
]


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: f"{value!r:.20}")
def test_strange_values_anywhere_are_problems_and_never_crash(finediving, value):
    tree, original = finediving, list(finediving.labels[KEY])
    for part in range(5):
        tree.labels[KEY] = [value if place == part else one for place, one in enumerate(original)]
        tree.coarse[KEY] = {"dive_score": value, "judge_scores": value}
        tree.write()
        problems = []
        dives = read_finediving(tree.root, tree.annotations, report=problems.append)
        assert problems
        assert len(dives) >= 4
    tree.labels[KEY], tree.coarse[KEY] = original, value
    tree.train.append(value)
    tree.write()
    problems = []
    assert len(read_finediving(tree.root, tree.annotations, report=problems.append)) == 5
    # A dictionary is an entry without marks; everything else is wrong there, and all of it is wrong as a key.
    assert len(problems) == (1 if isinstance(value, dict) else 2)
    assert all(len(problem.what) < 400 for problem in problems)


@pytest.mark.parametrize(
    "key", [("x" * 5000, 0), ("\ud800", 0), ("a\nb", 0), (EVENT, 2**600), (EVENT, 0.5), 7, (EVENT,)]
)
def test_strange_keys_are_problems_and_never_crash(finediving, key):
    rename(key)(finediving)
    finediving.write()
    problems = []
    assert len(read_finediving(finediving.root, finediving.annotations, report=problems.append)) == 4
    assert problems
