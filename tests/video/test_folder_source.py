from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.errors import VideoError
from finecausal_cli.video.source import FolderSource

if TYPE_CHECKING:
    from pathlib import Path


def fill(folder: Path, *names: str) -> Path:
    """Write images whose grey is their place among ``names``."""
    for place, name in enumerate(names):
        Image.new("RGB", (4, 3), (place, place, place)).save(folder / name)
    return folder


def order(source: FolderSource) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in source.frames(np.flatnonzero(source.decodable(0, source.info.frames - 1)))]


def test_numbers_count_not_letters(tmp_path: Path) -> None:
    source = FolderSource(fill(tmp_path, "img_9.png", "img_10.png", "img_11.png"))
    assert order(source) == [0, 1, 2]
    assert (source.info.frames, source.info.codec, source.info.width, source.info.height) == (3, "png", 4, 3)


def test_the_last_number_of_a_name_counts(tmp_path: Path) -> None:
    assert order(FolderSource(fill(tmp_path, "cam2_1.png", "cam1_2.png", "cam2_3x.png"))) == [0, 1, 2]


def test_equal_steps_are_no_gaps(tmp_path: Path) -> None:
    source = FolderSource(fill(tmp_path, "10.png", "15.png", "20.png", "30.png"))
    assert source.info.frames == 5
    assert source.decodable(0, 4).tolist() == [True, True, True, False, True]


def test_names_without_numbers_go_by_the_alphabet(tmp_path: Path) -> None:
    assert order(FolderSource(fill(tmp_path, "a.png", "b.png", "c1.png"))) == [0, 1, 2]


def test_two_images_of_one_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="same number"):
        FolderSource(fill(tmp_path, "1.png", "01.png"))


def test_numbers_that_are_no_frame_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="Only 3 of the frames numbered 1000 to 900000000000"):
        FolderSource(fill(tmp_path, "1000.png", "1001.png", "900000000000.png"))


def test_grey_palette_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    for number, mode in enumerate(("L", "P", "RGBA", "1", "LA")):
        Image.new("RGB", (4, 3), "white").convert(mode).save(tmp_path / f"{number}.png")
    frames = list(FolderSource(tmp_path).frames(np.arange(5)))
    assert all(frame.shape == (3, 4, 3) and (frame == 255).all() for frame in frames)


@pytest.mark.parametrize(("videos", "says"), [(["a.mp4"], "a folder of 1 video"), (["a.mp4", "b/c.MOV"], "2 videos")])
def test_a_folder_of_videos_is_called_one_and_one_of_them_is_named(
    tmp_path: Path, videos: list[str], says: str
) -> None:
    for name in videos:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    fill(tmp_path, "contact-sheet.png")
    with pytest.raises(VideoError, match=says) as caught:
        FolderSource(tmp_path)
    assert str(tmp_path / "a.mp4") in str(caught.value)


def test_frames_with_a_video_beside_them_are_frames(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{number:02d}.png" for number in range(16)))
    (tmp_path / "preview.mp4").write_bytes(b"x")
    assert FolderSource(tmp_path).info.frames == 16
