"""Each kind of problem is found in a dataset that is otherwise sound, and a sound one has none."""

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.data.datasets import Quantiles, check_dataset
from finecausal_cli.errors import DatasetError
from finecausal_cli.video.writer import write_mask_video, write_video

HEADER = "video,score,difficulty,dive,height_m,twist_start,entry_start,mask,judges,deductions,split"
FRAMES = 20


@pytest.fixture
def dataset(tmp_path):
    """Four dives with masks: three of 107B, one each to train, to validate on and to test; one more to train."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    rng = np.random.default_rng(4)
    for name in "abcd":
        write_video(folder / f"{name}.mp4", rng.integers(0, 255, (FRAMES, 32, 48, 3), np.uint8), 25)
        write_mask_video(folder / f"{name}.mkv", rng.integers(0, 2, (FRAMES, 32, 48), np.uint8), 25)
    write(folder, row("a"), row("b", split="val"), row("c", split="test"), row("d", dive="5253B"))
    return folder


def row(name, **cells):
    given = {
        "video": f"{name}.mp4",
        "score": "60",
        "difficulty": "3",
        "dive": "107B",
        "height_m": "3",
        "twist_start": "5",
        "entry_start": "15",
        "mask": f"{name}.mkv",
        "judges": "6.5 7 6.5",
        "deductions": "1 0.5 2",
        "split": "train",
    }
    return ",".join((given | cells).values())


def write(folder, *rows):
    (folder / "dives.csv").write_text("\n".join([HEADER, *rows]) + "\n")


def found(folder, **options):
    return [(one.kind, one.dive, one.what) for one in check_dataset(folder, **options).problems]


def test_a_sound_dataset_has_no_problem_and_its_figures_are_right(dataset):
    write(
        dataset,
        row("a"),
        row("b", split="val", score="40", height_m="", mask=""),
        row("c", split="test", score="50", judges="", deductions=""),
        row("d", dive="5253B", score="", twist_start="", height_m="10"),
    )
    counted = []
    check = check_dataset(dataset, start=counted.append, advance=lambda: counted.append("one"))
    assert check.problems == ()
    assert counted == [4, "one", "one", "one", "one"]
    assert check.layout == "manifest"
    summary = check.summary
    assert (summary.dives, summary.scored, summary.judged, summary.masked) == (4, 3, 3, 3)
    assert (summary.flights, summary.entries, summary.deductions) == (3, 4, 3)
    assert summary.splits == {"train": 2, "val": 1, "test": 1}
    assert summary.splits_given
    assert list(summary.numbers.items()) == [("107B", 3), ("5253B", 1)]
    assert list(summary.heights_m.items()) == [("3", 2), ("10", 1), ("", 1)]
    assert summary.scores == Quantiles(40.0, 45.0, 50.0, 55.0, 60.0)
    assert summary.frames == Quantiles(*[float(FRAMES)] * 5)
    assert found(dataset, decode=True) == []


def test_one_problem_does_not_hide_another(dataset):
    write(dataset, row("a", score="95"), row("b", dive="x"), row("gone"), row("d", entry_start="25", mask=""))
    kinds = [kind for kind, _, _ in found(dataset)]
    assert kinds == ["score", "dive number", "video", "masks", "boundaries"]


def test_a_boundary_beyond_the_clip(dataset):
    write(dataset, row("a", twist_start="20", entry_start="21"), row("b"))
    assert found(dataset) == [
        ("boundaries", "a.mp4", "twist_start is 20 in a clip of 20 frames"),
        ("boundaries", "a.mp4", "entry_start is 21 in a clip of 20 frames"),
    ]


@pytest.mark.parametrize("count", [15, 25])
def test_too_few_or_too_many_masks(dataset, count):
    write_mask_video(dataset / "c.mkv", np.ones((count, 32, 48), np.uint8), 25)
    assert found(dataset) == [("masks", "c.mp4", f"{count} masks for 20 frames")]


def test_a_video_that_is_none_and_one_of_too_few_frames(dataset):
    (dataset / "a.mp4").write_text("not a video")
    write_video(dataset / "d.mp4", np.random.default_rng(1).integers(0, 255, (9, 32, 48, 3), np.uint8), 25)
    (first, second) = found(dataset)
    assert first[:2] == ("video", "a.mp4")
    assert second == ("frames", "d.mp4", "The clip has 9 frames; a score needs at least 16, better 96.")


def test_masks_that_are_none(dataset):
    (dataset / "a.mkv").write_text("not a video")
    ((kind, dive, _),) = found(dataset)
    assert (kind, dive) == ("masks", "a.mp4")


def test_only_decoding_finds_what_is_damaged_inside(dataset, tmp_path):
    rng = np.random.default_rng(5)
    write_video(dataset / "a.mp4", rng.integers(0, 255, (60, 64, 64, 3), np.uint8), 25)
    write_mask_video(dataset / "a.mkv", np.ones((60, 64, 64), np.uint8), 25)
    whole = (dataset / "a.mp4").read_bytes()
    start = whole.index(b"mdat") + len(whole) // 2
    (dataset / "a.mp4").write_bytes(whole[:start] + bytes(len(whole) // 8) + whole[start + len(whole) // 8 :])
    assert found(dataset) == []
    problems = found(dataset, decode=True)
    assert [(kind, dive) for kind, dive, _ in problems] == [("video", "a.mp4")]


def frames_of(folder, name, count, leave_out=()):
    (folder / name).mkdir()
    for k in range(count):
        if k not in leave_out:
            picture = np.random.default_rng(k).integers(0, 255, (32, 48, 3), np.uint8)
            Image.fromarray(picture).save(folder / name / f"{k:03d}.png")


def test_gaps_among_frames_and_masks(dataset):
    frames_of(dataset, "frames", 20, leave_out=(7, 8))
    frames_of(dataset, "masks", 20, leave_out=(3,))
    (dataset / "empty").mkdir()
    write(
        dataset,
        row("a", video="frames", mask="masks"),
        row("b", video="empty", split="val"),
        row("c"),
    )
    assert found(dataset) == [
        ("frames", "frames", "2 of 20 frames are missing"),
        ("masks", "frames", "1 of 20 masks are missing"),
        ("frames", "empty", "The folder holds no videos and no frames (jpg, png, bmp, tif or webp images)."),
    ]


def test_the_same_clip_twice(dataset):
    (dataset / "b.mp4").write_bytes((dataset / "a.mp4").read_bytes())
    frames_of(dataset, "one", 20)
    frames_of(dataset, "two", 20)
    frames_of(dataset, "other", 20)
    Image.new("RGB", (48, 32)).save(dataset / "other" / "000.png")
    given = [row("a"), row("b", split="test"), *(row("c", video=name) for name in ("one", "two", "other"))]
    write(dataset, *given)
    assert found(dataset) == [
        ("duplicate", "b.mp4", "the same pictures as a.mp4"),
        ("duplicate", "two", "the same pictures as one"),
    ]


def test_clips_of_one_size_are_no_duplicates(dataset):
    size = max((dataset / f"{name}.mp4").stat().st_size for name in "abcd")
    for name in "abcd":
        whole = (dataset / f"{name}.mp4").read_bytes()
        (dataset / f"{name}.mp4").write_bytes(
            whole + bytes([0, 0, 0, size - len(whole) + 8]) + b"free" + bytes(size - len(whole))
        )
    assert len({(dataset / f"{name}.mp4").stat().st_size for name in "abcd"}) == 1
    assert found(dataset) == []


def test_a_dive_that_nobody_trained(dataset):
    write(dataset, row("a"), row("b", dive="405C", split="val"), row("c", dive="626C", split="test"), row("d", dive=""))
    assert found(dataset) == [
        ("exemplars", "b.mp4", "b.mp4: no training dive of 405C to compare this val dive with"),
        ("exemplars", "c.mp4", "c.mp4: no training dive of 626C to compare this test dive with"),
    ]


def test_a_number_that_no_list_knows(dataset):
    write(dataset, row("a", dive="119B"), row("b", dive="119B", split="val"))
    assert [(kind, dive) for kind, dive, _ in found(dataset)] == [("dive number", "a.mp4"), ("dive number", "b.mp4")]


def test_paths_that_lead_out_are_a_problem_unless_allowed(dataset):
    (dataset / "a.mp4").rename(dataset.parent / "a.mp4")
    write(dataset, row("b"), row("c"), row("a", video="../a.mp4"))
    assert [kind for kind, _, _ in found(dataset)] == ["video"]
    assert found(dataset, allow_outside=True) == []


def test_what_cannot_be_read_at_all_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no dataset of a known layout"):
        check_dataset(tmp_path)


def test_a_sound_finediving_tree(finediving):
    check = check_dataset(finediving.root, decode=True)
    assert (check.layout, check.problems) == ("FineDiving-HM", ())
    assert check.summary.splits == {"train": 3, "val": 1, "test": 1}
    assert (check.summary.masked, check.summary.judged, check.summary.flights) == (5, 5, 5)


def test_every_kind_of_problem_in_one_finediving_tree(finediving):
    root = finediving.root
    for name in ("FineDiving", "FineDiving_HM"):  # a frame and its mask
        (root / name / "01" / "1" / "01005.jpg").unlink()
    for file in (root / "FineDiving_HM" / "01" / "2").iterdir():
        file.unlink()
    (root / "FineDiving" / "01" / "3").rename(root / "away")
    finediving.labels["01", 4][0] = "626c"
    finediving.labels["01", 5] = "no entry"
    finediving.train.append(("01", 5))
    finediving.write()
    assert found(root) == [
        ("frames", "01/1", "19 frames, and 20 are labelled"),
        ("masks", "01/2", "20 of 20 frames have no mask, the first 02000"),
        ("frames", "01/3", f"entry 01/3: no folder of frames {root / 'FineDiving' / '01' / '3'}"),
        ("annotation", "01/5", "entry 01/5: a str, and five values are meant"),
        ("frames", "01/1", "1 of 20 frames are missing"),
        ("masks", "01/1", "1 of 20 masks are missing"),
        ("exemplars", "01/4", "01/4: no training dive of 626C to compare this test dive with"),
    ]
