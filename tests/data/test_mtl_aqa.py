import pickle

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.data import Dive, FrameRange
from finecausal_cli.data.cache import ClipCache, read_dive
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.data.importing import import_datasets
from finecausal_cli.data.manifest import read_manifest
from finecausal_cli.data.published import read_mtl_aqa
from finecausal_cli.errors import DatasetError, UsageError, VideoError

LABELS = "final_annotations_dict_with_dive_number.pkl"


def entry(first, last, **facts):
    return {
        "primary_view": 0,
        "start_frame": first,
        "end_frame": last,
        "position": 2,
        "difficulty": 3.2,
        "armstand": 0,
        "rotation_type": 3,
        "ss_no": 7,
        "tw_no": 0,
        "final_score": 91.2,
        "judge_scores": [9.5, 9.0, 9.5, 9.5, 9.5, 9.5, 10.0],
        "dive_number": "407C",
        **facts,
    }


@pytest.fixture
def root(tmp_path):
    """Video 3 with forty pictures, numbered from 100 as in the whole competition; picture k has the grey value k."""
    folder = tmp_path / "mtl"
    (folder / "03").mkdir(parents=True)
    for number in range(100, 140):
        Image.fromarray(np.full((32, 40, 3), number, np.uint8)).save(folder / "03" / f"{number:06d}.jpg", quality=95)
    write(folder, {(3, 1): entry(100, 119), (3, 2): entry(120, 138, final_score=64.0)})
    return folder


def write(folder, labels, train=((3, 1),), test=((3, 2),)):
    for name, content in ((LABELS, labels), ("train_split_0.pkl", list(train)), ("test_split_0.pkl", list(test))):
        (folder / name).write_bytes(pickle.dumps(content, 2))


def test_every_label_of_a_dive(root):
    first, second = read_dataset(root)
    assert first == Dive(
        key="03/01",
        video=root / "03",
        score=91.2,
        difficulty=3.2,
        number="407C",
        judges=(9.5, 9.0, 9.5, 9.5, 9.5, 9.5, 10.0),
        split="train",
        frames=FrameRange("{frame:06d}.jpg", 100, 119),
    )
    assert (second.split, second.score, len(second.frames)) == ("test", 64.0, 19)


def test_a_clip_is_its_own_frames_and_no_others(root, tmp_path):
    cache = ClipCache(tmp_path / "cache", geometry="fit", frame_size=28)
    _, dive = read_dataset(root)
    clip = cache.load(dive)
    # From picture 120 to 138, both included; JPEG keeps an even grey to within one.
    expected = np.linspace(120, 138, 96).astype(int)
    assert np.abs(clip.frames[..., 0].mean((1, 2)) - expected).max() <= 1
    assert (clip.mask, clip.transitions) == (None, (-1, -1))


def test_the_cache_sees_a_change_of_the_clips_own_pictures_only(root, tmp_path):
    cache = ClipCache(tmp_path / "cache", geometry="fit", frame_size=28)
    _, dive = read_dataset(root)
    cache.load(dive)
    Image.fromarray(np.zeros((32, 40, 3), np.uint8)).save(root / "03" / "000100.jpg")
    cache.load(dive)
    assert cache.size().clips == 1
    Image.fromarray(np.zeros((32, 40, 3), np.uint8)).save(root / "03" / "000120.jpg")
    assert cache.load(dive).frames[0].max() <= 1
    assert cache.size().clips == 2


@pytest.mark.parametrize("harm", ["gone", "broken", "other size"])
def test_a_frame_that_cannot_be_read_is_named(root, tmp_path, harm):
    picture = root / "03" / "000110.jpg"
    if harm == "gone":
        picture.unlink()
    elif harm == "broken":
        picture.write_bytes(b"no picture")
    else:
        Image.new("RGB", (80, 32)).save(picture)
    dive, _ = read_dataset(root)
    with pytest.raises(VideoError) as caught:
        ClipCache(None, geometry="fit", frame_size=28).load(dive)
    assert str(root / "03") in caught.value.where


def test_the_frames_may_be_called_otherwise(root):
    frames = root / "frames" / "video_3"
    frames.parent.mkdir()
    (root / "03").rename(frames)
    for file in frames.iterdir():
        file.rename(frames / f"img-{int(file.stem)}.jpg")
    first, _ = read_dataset(root, frames="frames/video_{video}/img-{frame}.jpg")
    assert first.video == frames
    assert first.frames.picture(first.video, 3) == frames / "img-103.jpg"
    with pytest.raises(DatasetError, match=r"000100\.jpg \(check the pattern"):
        read_dataset(root)


@pytest.mark.parametrize(
    "pattern",
    ["", "{frame}.jpg", "{video}/frame.jpg", "{video}/{time}.jpg", "{video}/{frame:q}.jpg", "{}/{}", "{video/{frame}"],
)
def test_a_pattern_that_is_none_is_refused(root, pattern):
    with pytest.raises(UsageError, match="no pattern of frames"):
        read_dataset(root, frames=pattern)


@pytest.mark.parametrize(
    ("facts", "kind", "says"),
    [
        ({"dive_number": "407"}, "dive number", "position letter"),
        ({"dive_number": 407}, "dive number", "the dive number is 407"),
        ({"final_score": 97.0}, "score", "97 is out of range"),
        ({"difficulty": -1}, "score", "the difficulty is -1"),
        ({"judge_scores": [10.5]}, "score", "one of the marks"),
        ({"end_frame": 100}, "boundaries", "from frame 100 to 100"),
        ({"end_frame": 200}, "frames", "no picture"),
        ({"start_frame": "a"}, "annotation", "start_frame is 'a'"),
    ],
)
def test_a_wrong_entry_is_named_and_the_others_are_still_read(root, facts, kind, says):
    write(root, {(3, 1): entry(100, 119) | facts, (3, 2): entry(120, 138)})
    with pytest.raises(DatasetError) as caught:
        read_mtl_aqa(root, root)
    assert says in caught.value.what
    assert "entry 3/1" in caught.value.what
    problems = []
    assert [dive.key for dive in read_mtl_aqa(root, root, report=problems.append)] == ["03/02"]
    assert [one.kind for one in problems] == [kind]


@pytest.mark.parametrize("part", ["difficulty", "final_score", "dive_number", "start_frame", "end_frame"])
def test_a_missing_part_is_named(root, part):
    broken = entry(100, 119)
    del broken[part]
    write(root, {(3, 1): broken, (3, 2): entry(120, 138)})
    with pytest.raises(DatasetError, match=f"entry 3/1: no {part}"):
        read_dataset(root)


def test_a_part_of_a_long_folder_is_the_same_clip_through_the_manifest_of_an_import(root):
    import_datasets([root], root / "dives.csv")
    published, imported = read_dataset(root, annotations=root), read_manifest(root / "dives.csv")
    assert [dive.score for dive in imported] == [91.2, 64.0]
    for ours, theirs in zip(imported, published, strict=True):
        clips = [read_dive(dive, geometry="fit", frame_size=32)[0] for dive in (ours, theirs)]
        assert np.array_equal(clips[0].frames, clips[1].frames)
