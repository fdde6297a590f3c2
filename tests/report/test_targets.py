from pathlib import Path

import pytest

from finecausal_cli.errors import UsageError
from finecausal_cli.report.output import check_targets


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "dive.mp4"
    path.write_bytes(b"x")
    return path


def test_places_that_clash_with_nothing_pass(clip, tmp_path):
    check_targets(
        [str(clip)], output=tmp_path / "a.json", html=None, figures=tmp_path / "new", overlay=tmp_path / "o.MP4"
    )


@pytest.mark.parametrize("name", ["output", "html", "overlay"])
def test_the_dive_itself_is_never_written_over(clip, tmp_path, name):
    (tmp_path / "link.mp4").symlink_to(clip)
    (tmp_path / "hard.mp4").hardlink_to(clip)
    for same in (clip, tmp_path / "x" / ".." / "dive.mp4", tmp_path / "link.mp4", tmp_path / "hard.mp4"):
        with pytest.raises(UsageError, match="over the dive that is read"):
            check_targets(["other.mp4", str(clip)], **{name: same})


def test_nothing_is_written_among_the_frames_that_are_read(tmp_path):
    for name, place in (("figures", tmp_path), ("overlay", tmp_path / "o.mp4"), ("html", tmp_path / "o.html")):
        with pytest.raises(UsageError, match="read"):
            check_targets([str(tmp_path)], **{name: place})


def test_two_results_need_two_places(clip, tmp_path):
    with pytest.raises(UsageError, match="-o and --html"):
        check_targets([str(clip)], output=tmp_path / "a.html", html=tmp_path / "." / "a.html")


def test_a_folder_is_no_file_and_a_file_no_folder(clip, tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(UsageError, match="--html needs a file"):
        check_targets([str(clip)], html=tmp_path / "d")
    (tmp_path / "f").write_text("x")
    with pytest.raises(UsageError, match="--figures needs a folder"):
        check_targets([str(clip)], figures=tmp_path / "f")


def test_an_overlay_is_named_as_what_it_is(clip, tmp_path):
    with pytest.raises(UsageError, match="MP4"):
        check_targets([str(clip)], overlay=tmp_path / "o.avi")


def test_a_page_is_named_as_what_it_is(clip, tmp_path):
    with pytest.raises(UsageError, match=r"x.txt: --html writes HTML \(end the name in .html\)"):
        check_targets([str(clip)], html=tmp_path / "x.txt")
    check_targets([str(clip)], html=Path("/dev/stdout"))
