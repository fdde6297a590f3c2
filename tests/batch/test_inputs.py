from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from finecausal_cli.batch.inputs import find_inputs, read_list
from finecausal_cli.errors import DatasetError, UsageError
from finecausal_cli.scoring import ScoreOptions

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = ScoreOptions(voters=3)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """videos/{b,a}.mp4 and a text, frames/ of 20 pictures, deep/er/c.mkv."""
    monkeypatch.chdir(tmp_path)
    for name in ("videos/b.mp4", "videos/a.MP4", "videos/notes.txt", "videos/.hidden.mp4", "deep/er/c.mkv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "frames").mkdir()
    for number in range(20):
        Image.new("RGB", (4, 4)).save(tmp_path / "frames" / f"{number:03d}.png")
    return tmp_path


def sources(*paths: str, **how: object) -> list[str]:
    return [item.source for item in find_inputs(paths, OPTIONS, **how).items]


def test_a_folder_of_videos_is_many_dives_and_one_of_pictures_is_one(tree: Path) -> None:
    assert sources("videos", "frames") == ["videos/a.MP4", "videos/b.mp4", "frames"]
    assert find_inputs(["videos"], OPTIONS).items[0].path == str(tree / "videos" / "a.MP4")


def test_one_path_that_is_the_dive_itself_is_one_dive(tree: Path) -> None:
    for path in ("videos/b.mp4", "frames", "nowhere.mp4"):
        assert find_inputs([path], OPTIONS).is_one_dive
    (tree / "videos" / "b.mp4").unlink()
    assert not find_inputs(["videos"], OPTIONS).is_one_dive
    assert not find_inputs([], OPTIONS, listed=["frames"]).is_one_dive


def test_pictures_beside_a_video_are_a_dive_if_they_fill_a_snippet(tree: Path) -> None:
    (tree / "frames" / "preview.mp4").write_bytes(b"x")
    assert sources("frames") == ["frames"]
    for number in range(5, 20):
        (tree / "frames" / f"{number:03d}.png").unlink()
    assert sources("frames") == ["frames/preview.mp4"]


def test_folders_of_folders_need_recursive_and_a_loop_of_links_ends(tree: Path) -> None:
    with pytest.raises(UsageError, match="--recursive"):
        sources("deep")
    (tree / "deep" / "er" / "again").symlink_to(tree / "deep")
    assert sources("deep", recursive=True) == ["deep/er/c.mkv"]
    assert sources(".", recursive=True) == ["./deep/er/c.mkv", "./frames", "./videos/a.MP4", "./videos/b.mp4"]


def test_patterns_are_sorted_and_must_match(tree: Path) -> None:
    assert sources("v*/*.[mM]*4") == ["videos/a.MP4", "videos/b.mp4"]
    assert sources("**/*.mkv") == ["deep/er/c.mkv"]
    with pytest.raises(UsageError, match=r"\*\.avi: no file matches"):
        sources("*.avi")
    (tree / "a[1].mp4").write_bytes(b"x")
    assert sources("a[1].mp4") == ["a[1].mp4"]


def test_what_is_missing_is_a_dive_that_will_fail_but_nothing_is_refused(tree: Path) -> None:
    assert sources("videos/b.mp4", "gone.mp4") == ["videos/b.mp4", "gone.mp4"]
    (tree / "empty").mkdir()
    assert sources("empty") == ["empty"]
    with pytest.raises(UsageError, match="nothing to score"):
        sources()
    assert sources("empty", may_be_empty=True) == []


def test_a_dive_named_twice_is_kept_once_with_a_note(tree: Path) -> None:
    (tree / "link.mp4").symlink_to(tree / "videos" / "b.mp4")
    found = find_inputs(["videos/b.mp4", "videos", "link.mp4"], OPTIONS)
    assert [item.source for item in found.items] == ["videos/b.mp4", "videos/a.MP4"]
    assert found.notes == (
        "2 dives were named more than once with the same options and kept once: videos/b.mp4, link.mp4",
    )


def test_a_list_has_a_path_a_line_or_zero_bytes_between_them(tree: Path) -> None:
    assert read_list(io.BytesIO(b"videos/b.mp4\n\n my dive.mp4\r\n")) == ["videos/b.mp4", " my dive.mp4"]
    assert read_list(io.BytesIO(b"two\nlines.mp4\0*.mp4\0")) == ["two\nlines.mp4", "*.mp4"]
    assert os.fsencode(read_list(io.BytesIO(b"bad\xff.mp4"))[0]) == b"bad\xff.mp4"
    # Names of a list are names, even with a star; folders among them are looked into.
    assert sources(listed=["*.mp4", "videos"]) == ["*.mp4", "videos/a.MP4", "videos/b.mp4"]


def test_a_manifest_says_more_of_each_dive(tree: Path) -> None:
    header = "video,dive,height_m,difficulty,start_s,end_s,score\n"
    (tree / "dives.csv").write_text(header + "videos/b.mp4,107B,10,,1.5,6,99\nframes,,,3.1,,,\n")
    first, second = find_inputs([str(tree)], OPTIONS).items
    assert first.source == str(tree / "videos" / "b.mp4")
    assert first.options == ScoreOptions(voters=3, dive="107B", height_m=10.0, start_s=1.5, end_s=6.0)
    assert second.options == ScoreOptions(voters=3, difficulty=3.1)
    assert sources("dives.csv") == ["videos/b.mp4", "frames"]


def test_two_dives_of_one_video_are_two(tree: Path) -> None:
    (tree / "m.csv").write_text("video,start_s,end_s\nvideos/b.mp4,0,4\nvideos/b.mp4,4,8\n")
    assert [item.options.end_s for item in find_inputs(["m.csv"], OPTIONS).items] == [4, 8]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (",107B,10,3", "column 'video': empty"),
        ("videos/b.mp4,107B,ten,3", "column 'height_m': 'ten' is not a number"),
        ("videos/b.mp4,107B,10,-1", "column 'difficulty': -1 is out of range"),
        ("videos/b.mp4,107B,10,nan", "column 'difficulty'"),
        ("videos/b.mp4,107B,10,50", "difficulty 50"),
        ("../outside.mp4,107B,10,3", "leads out of the manifest's folder"),
    ],
)
def test_a_wrong_row_is_a_dive_that_fails_and_stops_nothing(tree: Path, row: str, says: str) -> None:
    (tree / "m.csv").write_text(f"video,dive,height_m,difficulty\n{row}\nvideos/a.MP4,,,\n")
    wrong, right = find_inputs(["m.csv"], OPTIONS).items
    assert says in str(wrong.problem)
    assert wrong.problem is not None
    assert wrong.problem.kind == "bad_option"
    assert right.problem is None


def test_measuring_takes_no_notice_of_what_it_does_not_use(tree: Path) -> None:
    (tree / "m.csv").write_text("video,difficulty,date,height_m\nvideos/b.mp4,-1,yesterday,10\nvideos/a.MP4,,,ten\n")
    measured = find_inputs(["m.csv"], OPTIONS, measured=True).items
    assert [item.problem is None for item in measured] == [True, False]
    assert measured[0].options == replace(OPTIONS, height_m=10.0)
    assert all(item.problem is not None for item in find_inputs(["m.csv"], OPTIONS).items)


def test_a_manifest_may_be_allowed_to_lead_outside(tree: Path) -> None:
    (tree / "deep" / "m.csv").write_text("video\n../videos/b.mp4\n")
    (item,) = find_inputs(["deep/m.csv"], OPTIONS, allow_outside=True).items
    assert item.problem is None
    assert item.path == str(tree / "videos" / "b.mp4")


def test_a_manifest_without_a_usable_header_is_refused(tree: Path) -> None:
    (tree / "m.csv").write_text("clip\nx.mp4\n")
    with pytest.raises(DatasetError, match="no column 'video'"):
        sources("m.csv")
