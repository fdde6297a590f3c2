from __future__ import annotations

import tracemalloc
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.video import sample_indices
from finecausal_cli.video.reader import probe, read_clip, read_masks
from finecausal_cli.video.writer import write_mask_video, write_video

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finecausal_cli.video import Clip

DECODERS = ["decord", "pyav"]


def shown(clip: Clip, read_number: Callable[..., int]) -> list[int]:
    return [read_number(frame) for frame in clip.frames]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("frames", [96, 101, 250])
@pytest.mark.parametrize("geometry", ["fit", "squeeze"])
def test_the_clip_shows_the_frames_it_says(
    frames: int, decoder: Any, geometry: Any, numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    path = numbered(frames)
    clip = read_clip(path, decoder=decoder, geometry=geometry)
    assert clip.source_frames.tolist() == sample_indices(0, frames - 1).tolist()
    assert shown(clip, read_number) == clip.source_frames.tolist()
    assert clip.frames.shape == (96, 128, 192, 3) if geometry == "fit" else (96, 200, 112, 3)
    assert clip.frames.dtype == np.uint8
    assert (clip.decoder, clip.source, clip.fps, clip.notes) == (decoder, str(path), 25.0, ())


@pytest.mark.parametrize("how", [{}, {"name": "a.gif", "codec": "gif", "pix_fmt": "rgb8"}, {"name": "a.avi"}])
def test_pyav_reads_what_it_reads_as_decord_does_or_alone(how: Any, numbered: Callable[..., Path]) -> None:
    assert read_clip(numbered(**how)).decoder == "pyav"


def test_both_decoders_give_the_same_clip(numbered: Callable[..., Path]) -> None:
    path = numbered(rotation=90, sample_aspect=Fraction(4, 3))
    one, other = (read_clip(path, decoder=decoder) for decoder in ("decord", "pyav"))
    assert np.array_equal(one.frames, other.frames)
    # Stored 96x64 with pixels 4:3 wide is 2:1; upright, 1:2.
    assert one.frames.shape == (96, 256, 128, 3)


def test_pixels_that_are_not_square_are_corrected(numbered: Callable[..., Path]) -> None:
    clip = read_clip(numbered(sample_aspect=Fraction(4, 3)))
    assert clip.frames.shape == (96, 128, 256, 3)
    assert probe(clip.source).sample_aspect == pytest.approx(4 / 3)


def test_shift_draws_the_last_frame_earlier(numbered: Callable[..., Path], read_number: Callable[..., int]) -> None:
    clip = read_clip(numbered(99), shift=3)
    assert clip.source_frames.tolist() == shown(clip, read_number) == list(range(96))


@pytest.mark.parametrize("decoder", DECODERS)
def test_start_and_end_choose_the_dive_and_keep_the_sources_numbers(
    decoder: Any, numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    clip = read_clip(numbered(200), start_s=2.0, end_s=6.0, decoder=decoder)
    assert clip.source_frames.tolist() == sample_indices(50, 149).tolist()
    assert shown(clip, read_number) == clip.source_frames.tolist()
    assert clip.time_s(0) == pytest.approx(2.0)


def test_start_follows_uneven_times(numbered: Callable[..., Path], read_number: Callable[..., int]) -> None:
    # The first 60 frames come at 25 a second, the others at 10: 5 s is frame 60 + 2.6 * 10.
    def stamp(number: int) -> int:
        return 40 * number if number < 60 else 2400 + 100 * (number - 60)

    clip = read_clip(numbered(120, stamp=stamp, unit=Fraction(1, 1000)), start_s=5.0)
    assert shown(clip, read_number)[0] == 86
    assert "frame rate varies" in clip.notes[0]


def test_a_dive_late_in_a_long_video_is_sought(numbered: Callable[..., Path], read_number: Callable[..., int]) -> None:
    path = numbered(400, options={"crf": "12", "preset": "veryfast", "g": "20"})
    clip = read_clip(path, start_s=12.0)
    assert clip.decoder == "pyav"
    assert clip.source_frames[[0, -1]].tolist() == [300, 399]
    assert shown(clip, read_number) == [number % 256 for number in clip.source_frames]


def test_times_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_clip(tmp_path / "missing.mp4", start_s=2, end_s=1)
    with pytest.raises(UsageError, match="time limit"):
        read_clip(tmp_path / "missing.mp4", timeout_s=0)


def test_times_beyond_the_clip_are_refused(numbered: Callable[..., Path]) -> None:
    path = numbered(100)
    with pytest.raises(VideoError, match=r"ends at 4\.00 s") as caught:
        read_clip(path, end_s=4.5)
    assert caught.value.where == str(path)


def test_a_short_clip_repeats_frames_and_says_so(
    numbered: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    clip = read_clip(numbered(16))
    assert shown(clip, read_number) == sample_indices(0, 15).tolist()
    assert "16 distinct frames" in clip.notes[0]


def test_a_long_clip_is_noted(numbered: Callable[..., Path]) -> None:
    assert "longer than a dive" in read_clip(numbered(60, fps=2)).notes[-1]


def test_a_folder_is_read_like_a_video(numbered_folder: Callable[..., Path], read_number: Callable[..., int]) -> None:
    clip = read_clip(numbered_folder(range(489, 590)))
    assert clip.source_frames.tolist() == shown(clip, read_number) == sample_indices(0, 100).tolist()
    assert (clip.decoder, clip.fps) == ("frames", 25.0)


def test_gaps_in_a_folder_are_noted_and_the_frame_before_stands_in(
    numbered_folder: Callable[..., Path], read_number: Callable[..., int]
) -> None:
    clip = read_clip(numbered_folder([number for number in range(100, 196) if number not in (120, 121, 150)]))
    expected = list(range(96))
    expected[20] = expected[21] = 19
    expected[50] = 49
    assert clip.source_frames.tolist() == shown(clip, read_number) == expected
    assert any("3 of 96 frames are lost" in note for note in clip.notes)


def test_a_folder_with_too_many_gaps_is_refused(numbered_folder: Callable[..., Path]) -> None:
    with pytest.raises(VideoError, match="only 75 of 99 frames"):
        read_clip(numbered_folder(number for number in range(100) if number % 4 != 3))


def test_pictures_of_several_sizes_are_refused(numbered_folder: Callable[..., Path]) -> None:
    folder = numbered_folder(range(100))
    Image.new("RGB", (64, 96)).save(folder / "00050.png")
    with pytest.raises(VideoError, match="changes from 96x64 to 64x96 at frame 50"):
        read_clip(folder)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (65, 97), (3, 5)])
@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_odd_sizes_are_read(height: int, width: int, decoder: Any, tmp_path: Path) -> None:
    path = tmp_path / "odd.mkv"
    write_mask_video(path, (np.full((height, width), k % 2, np.uint8) for k in range(96)), 25)
    clip = read_clip(path, decoder=decoder)
    assert (clip.frames[0::2] == 0).all()
    assert (clip.frames[1::2] == 255).all()
    assert min(clip.frames.shape[1:3]) == 128


def test_a_strip_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "strip.mp4"
    write_video(path, (np.zeros((2, 1800, 3), np.uint8) for _ in range(20)), 25)
    with pytest.raises(VideoError, match="1800x2 is too narrow"):
        read_clip(path)
    assert read_clip(path, geometry="squeeze").frames.shape == (96, 200, 112, 3)


def test_memory_holds_one_large_picture_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    write_video(path, (np.full((720, 1280, 3), 2 * k, np.uint8) for k in range(40)), 25)
    all_pictures = 40 * 720 * 1280 * 3
    for decoder in ("pyav", "decord"):
        tracemalloc.start()
        read_clip(path, decoder=decoder)  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < all_pictures / 3


def test_awkward_names_are_files_not_addresses(numbered: Callable[..., Path]) -> None:
    for name in ("12:30 100% d\u00efve #1?.mp4", "concat:x.mp4", "a\nb.mp4", "-i.mp4", "x%03d.mp4"):
        path = numbered(20, name="plain.mp4").rename(numbered(20, name="plain.mp4").with_name(name))
        for decoder in ("pyav", "decord"):
            assert read_clip(path, decoder=decoder).source == str(path)  # type: ignore[arg-type]


def test_probe_decodes_next_to_nothing_and_tells_everything(numbered: Callable[..., Path]) -> None:
    info = probe(numbered(50, rotation=-90, fps=30))
    assert (info.codec, info.container.split(",")[0]) == ("h264", "mov")
    assert (info.width, info.height, info.upright_size) == (96, 64, (96, 64))
    assert (info.frames, info.fps, info.rotation) == (50, 30.0, 270)
    assert info.duration_s == pytest.approx(50 / 30, abs=1e-3)


def discs(frames: int, height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    x = np.arange(frames)[:, None, None] * width / frames
    return ((rows - height / 2) ** 2 + (columns - x) ** 2 < (height / 4) ** 2).astype(np.uint8)


@pytest.mark.parametrize("geometry", ["fit", "squeeze"])
def test_masks_keep_step_with_the_frames(geometry: Any, tmp_path: Path) -> None:
    masks = discs(120, 64, 96)
    write_mask_video(tmp_path / "m.mkv", masks, 25)
    write_video(tmp_path / "v.mp4", (np.repeat(mask[..., None] * 255, 3, axis=2) for mask in masks), 25, crf=1)
    clip = read_clip(tmp_path / "v.mp4", geometry=geometry)
    read = read_masks(tmp_path / "m.mkv", clip.source_frames, geometry=geometry)
    assert read.dtype == np.uint8
    assert read.shape == clip.frames.shape[:3]
    assert set(np.unique(read)) == {0, 1}
    assert np.mean(read != (clip.frames.mean(axis=3) >= 128)) < 0.01


def test_masks_of_a_folder_as_white_or_as_labels(tmp_path: Path) -> None:
    masks = discs(100, 64, 96)
    for name, athlete in (("white", 255), ("labels", 1)):
        (tmp_path / name).mkdir()
        for number, mask in enumerate(masks):
            Image.fromarray(mask * np.uint8(athlete)).save(tmp_path / name / f"{number:05d}.png")
    sampled = sample_indices(0, 99)
    white, labels = (read_masks(tmp_path / name, sampled) for name in ("white", "labels"))
    assert np.array_equal(white, labels)
    assert white.mean() == pytest.approx(masks[sampled].mean(), abs=0.002)


def test_masks_stored_smaller_are_brought_to_the_size_of_the_frames(tmp_path: Path) -> None:
    write_mask_video(tmp_path / "m.mkv", discs(96, 33, 47), 25)
    assert read_masks(tmp_path / "m.mkv", sample_indices(0, 95), size=(128, 192)).shape == (96, 128, 192)


def test_too_few_masks_are_refused(tmp_path: Path) -> None:
    write_mask_video(tmp_path / "m.mkv", discs(50, 64, 96), 25)
    with pytest.raises(VideoError, match="There are 50 masks, and frame 99"):
        read_masks(tmp_path / "m.mkv", sample_indices(0, 99))


def test_missing_masks_are_refused(numbered_folder: Callable[..., Path]) -> None:
    folder = numbered_folder(number for number in range(96) if number != 40)
    with pytest.raises(VideoError, match="missing or damaged"):
        read_masks(folder, sample_indices(0, 95))
