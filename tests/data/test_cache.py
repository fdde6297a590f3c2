import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from finecausal_cli.data import cache as cache_module
from finecausal_cli.data import cache as clip_file
from finecausal_cli.data import cache as clip_reader
from finecausal_cli.data.cache import CacheSize, ClipCache, fill, load_ahead
from finecausal_cli.errors import OutputError, VideoError
from finecausal_cli.video import crop
from finecausal_cli.video.reader import read_clip, read_masks
from finecausal_cli.video.writer import write_mask_video, write_video

FRAMES, HEIGHT, WIDTH = 60, 40, 66
SIZE = 32


@pytest.fixture(scope="module")
def pictures():
    """A square that crosses the picture: frames [60, 40, 66, 3] and its masks [60, 40, 66]."""
    frames = np.random.default_rng(1).integers(0, 80, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for index in range(FRAMES):
        masks[index, 10:26, index : index + 6] = 1
    frames[masks == 1] = 250
    return frames, masks


@pytest.fixture
def dive(tmp_path, pictures, make_dive):
    frames, masks = pictures
    write_video(tmp_path / "a.mp4", frames, 25)
    write_mask_video(tmp_path / "a.mkv", masks, 25)
    return make_dive(0, video=tmp_path / "a.mp4", mask=tmp_path / "a.mkv", twist_start=21, entry_start=50)


@pytest.fixture
def decoded(monkeypatch):
    """The videos decoded so far."""
    paths = []

    def count(path, **options):
        paths.append(path)
        return read_clip(path, **options)

    monkeypatch.setattr(clip_reader, "read_clip", count)
    return paths


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def make_cache(folder, geometry="fit", frame_size=SIZE):
    return ClipCache(folder, geometry=geometry, frame_size=frame_size)


def same(one, other):
    return (
        np.array_equal(one.frames, other.frames)
        and np.array_equal(one.mask, other.mask)
        and one.transitions == other.transitions
    )


def test_only_the_times_of_a_dive_are_read_and_kept_apart(folder, dive):
    part = replace(dive, key="a.mp4 [0.8-2 s]", start_s=0.8, end_s=2.0)
    cache = make_cache(folder)
    whole, cut = cache.load(dive), cache.load(part)
    clip = read_clip(dive.video, geometry="fit", frame_size=SIZE, start_s=0.8, end_s=2.0)
    assert (clip.source_frames[0], clip.source_frames[-1]) == (20, 49)
    assert np.array_equal(crop(cut.frames, SIZE), crop(clip.frames, SIZE))
    assert not np.array_equal(cut.frames, whole.frames)
    assert cut.transitions == (int(np.searchsorted(clip.source_frames, 21)), 95)  # counted in the video
    assert same(cut, cache.load(part))
    assert cache.size().clips == 2


@pytest.mark.parametrize("geometry", ["fit", "squeeze"])
def test_what_comes_out_is_what_the_reader_gives(dive, folder, geometry):
    clip = read_clip(dive.video, geometry=geometry, frame_size=SIZE)
    masks = read_masks(dive.mask, clip.source_frames, geometry=geometry, frame_size=SIZE)
    for _ in range(2):  # decoded, then from the file
        arrays = make_cache(folder, geometry).load(dive)
        assert arrays.frames.shape[0] == arrays.mask.shape[0] == 96
        assert set(np.unique(arrays.mask)) == {0, 1}
        # The network sees the same centre crop whether a clip comes from the cache or from the scorer's reader.
        assert np.array_equal(crop(arrays.frames, SIZE), crop(clip.frames, SIZE))
        assert np.array_equal(crop(arrays.mask, SIZE), crop(masks, SIZE))


def test_a_wide_picture_keeps_its_middle_square_and_a_narrow_one_everything(tmp_path, pictures, make_dive, folder):
    frames, _ = pictures
    wide, narrow = tmp_path / "wide.mp4", tmp_path / "narrow.mp4"
    write_video(wide, frames, 25)
    write_video(narrow, frames.transpose(0, 2, 1, 3), 25)
    side = round(SIZE * 128 / 112)
    assert make_cache(folder).load(make_dive(0, video=wide)).frames.shape == (96, side, side, 3)
    assert make_cache(folder).load(make_dive(1, video=narrow)).frames.shape == (96, round(side * 66 / 40), side, 3)


@pytest.mark.parametrize("frame_size", [32, 48, 64, 80, 96, 112])
@pytest.mark.parametrize("width", [64, 66, 90])
def test_the_kept_window_has_the_centre_of_the_picture(tmp_path, make_dive, folder, frame_size, width):
    ramp = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[:, None], (20, 48, width, 3))
    write_video(tmp_path / "ramp.mp4", ramp, 25)
    whole = read_clip(tmp_path / "ramp.mp4", frame_size=frame_size).frames
    kept = make_cache(folder, frame_size=frame_size).load(make_dive(0, video=tmp_path / "ramp.mp4")).frames
    assert np.array_equal(crop(kept, frame_size), crop(whole, frame_size))


def test_transitions_become_the_first_sampled_frame_at_or_after_them(dive, folder):
    arrays = make_cache(folder).load(dive)
    sampled = np.linspace(0, FRAMES - 1, 96).astype(int)
    flight, entry = arrays.transitions
    assert sampled[flight] >= 21 > sampled[flight - 1]
    assert sampled[entry] >= 50 > sampled[entry - 1]


@pytest.mark.parametrize(
    ("twist", "entry", "expected"),
    [(None, None, (-1, -1)), (0, None, (0, -1)), (None, 59, (-1, 95)), (5, 999, (9, 95))],
)
def test_unknown_and_late_transitions(dive, folder, make_dive, twist, entry, expected):
    other = make_dive(1, video=dive.video, twist_start=twist, entry_start=entry)
    assert make_cache(folder).load(other).transitions == expected


def test_a_dive_without_masks_has_none(dive, folder, make_dive):
    assert make_cache(folder).load(make_dive(0, video=dive.video)).mask is None


def test_masks_may_be_stored_smaller_than_the_video(dive, folder, pictures, tmp_path):
    write_mask_video(tmp_path / "a.mkv", pictures[1][:, ::2, ::3], 25)
    arrays = make_cache(folder).load(dive)
    assert arrays.mask.shape == arrays.frames.shape[:3]
    bright = arrays.frames.min(axis=-1) > 150
    assert (bright & (arrays.mask == 1)).sum() > 0.7 * bright.sum() > 0


def test_the_second_time_nothing_is_decoded(dive, folder, decoded):
    first = make_cache(folder).load(dive)
    second = make_cache(folder).load(dive)
    assert decoded == [dive.video]
    assert same(first, second)
    assert len(list(folder.iterdir())) == 1


def test_labels_are_read_anew_without_decoding(dive, folder, decoded, make_dive):
    make_cache(folder).load(dive)
    moved = make_dive(0, video=dive.video, mask=dive.mask, twist_start=0, entry_start=59)
    assert make_cache(folder).load(moved).transitions == (0, 95)
    assert decoded == [dive.video]


@pytest.mark.parametrize("change", ["geometry", "size", "video", "mask", "no mask"])
def test_whatever_changes_the_pictures_makes_another_file(dive, folder, decoded, make_dive, change):
    make_cache(folder).load(dive)
    geometry, size = "fit", SIZE
    if change == "geometry":
        geometry = "squeeze"
    elif change == "size":
        size = 48
    elif change == "no mask":
        dive = make_dive(0, video=dive.video)
    else:
        path = dive.video if change == "video" else dive.mask
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    make_cache(folder, geometry, size).load(dive)
    assert len(decoded) == len(list(folder.iterdir())) == 2


def test_a_picture_written_over_in_a_folder_of_frames_is_seen(tmp_path, folder, pictures, make_dive):
    frames = tmp_path / "frames"
    frames.mkdir()
    for index, picture in enumerate(pictures[0][:20]):
        Image.fromarray(picture).save(frames / f"{index:03d}.png")
    dive = make_dive(0, video=frames)
    before = make_cache(folder).load(dive).frames.copy()
    with (frames / "000.png").open("r+b") as stream:
        Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0)).save(stream, format="PNG")
    os.utime(frames / "000.png", ns=(1, 1))
    after = make_cache(folder).load(dive).frames
    assert (after[0] == (255, 0, 0)).all()
    assert np.array_equal(after[-1], before[-1])


def damage(stored, how):
    whole = stored.read_bytes()
    if how == "empty":
        stored.write_bytes(b"")
    elif how == "text":
        stored.write_text("not a clip")
    elif how == "truncated":
        stored.write_bytes(whole[: len(whole) // 2])
    elif how == "longer":
        stored.write_bytes(whole + b"\0")
    elif how == "other version":
        stored.write_bytes(whole[:8] + b"\x01" + whole[9:])
    elif how == "other shape":
        height, width = whole[12:16], whole[16:20]
        stored.write_bytes(whole[:12] + width + height + whole[20:])
    elif how == "older format":
        np.save(stored, np.zeros((97, 40, 40, 4), np.uint8))
        stored.with_suffix(".clip.npy").rename(stored)
    else:
        place = {"a frame": 64, "a mask": len(whole) - 8 * 96 - 1, "source frames": len(whole) - 1}[how]
        stored.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


DAMAGES = ["empty", "text", "truncated", "longer", "other version", "other shape", "older format"]


@pytest.mark.parametrize("how", [*DAMAGES, "a frame", "a mask", "source frames"])
def test_a_damaged_or_foreign_file_is_decoded_again(tmp_path, pictures, make_dive, folder, decoded, how):
    # Higher than wide, so that the other shape is a possible one.
    write_video(tmp_path / "a.mp4", pictures[0].transpose(0, 2, 1, 3), 25)
    write_mask_video(tmp_path / "a.mkv", pictures[1].transpose(0, 2, 1), 25)
    dive = make_dive(0, video=tmp_path / "a.mp4", mask=tmp_path / "a.mkv", twist_start=21, entry_start=50)
    first = make_cache(folder).load(dive)
    (stored,) = folder.iterdir()
    damage(stored, how)
    second = make_cache(folder).load(dive)
    assert same(first, second)
    assert len(decoded) == 2
    third = make_cache(folder).load(dive)
    assert same(first, third)
    assert len(decoded) == 2  # and the file is whole again


def test_a_checksum_is_compared_once_a_process_and_again_when_the_file_changes(dive, folder, decoded, monkeypatch):
    make_cache(folder).load(dive)
    summed = []
    crc32 = clip_file.zlib.crc32
    monkeypatch.setattr(clip_file.zlib, "crc32", lambda data, start=0: summed.append(len(data)) or crc32(data, start))
    cache = make_cache(folder)
    for _ in range(3):
        cache.load(dive)
    assert sum(size > 1000 for size in summed) == 1
    (stored,) = folder.iterdir()
    damage(stored, "a frame")
    cache.load(dive)
    assert len(decoded) == 2


def test_what_was_verified_goes_along_to_a_worker(dive, folder, monkeypatch):
    cache = make_cache(folder)
    cache.load(dive)
    cache.load(dive)
    monkeypatch.setattr(clip_file.zlib, "crc32", lambda data, start=0: 0)  # nothing would compare equal
    assert pickle.loads(pickle.dumps(cache)).load(dive).frames.shape[0] == 96  # noqa: S301 - made here


def test_the_version_is_in_the_header_and_in_the_name(dive, folder, monkeypatch):
    make_cache(folder).load(dive)
    (stored,) = folder.iterdir()
    assert stored.read_bytes()[:12] == b"FCLIP\r\n\0\x03\0\0\0"
    monkeypatch.setattr(cache_module, "VERSION", 4)
    make_cache(folder).load(dive)
    assert len(list(folder.iterdir())) == 2


def test_without_a_folder_every_load_decodes_and_nothing_is_written(dive, folder, decoded, tmp_path):
    before = sorted(tmp_path.iterdir())
    kept = make_cache(folder).load(dive)
    cache = make_cache(None)
    assert same(cache.load(dive), kept)
    assert same(cache.load(dive), kept)
    assert len(decoded) == 3
    assert sorted(tmp_path.iterdir()) == sorted([*before, folder])
    assert cache.size() == CacheSize(0, 0)


def test_the_size_counts_whole_clips(dive, folder, make_dive):
    cache = make_cache(folder)
    assert cache.size() == CacheSize(0, 0)
    with_mask = cache.load(dive)
    pixels = with_mask.frames[..., 0].size
    assert cache.size() == CacheSize(1, 64 + 4 * pixels + 96 * 8)
    cache.load(make_dive(0, video=dive.video))
    (folder / ".half.clip.12.part").write_bytes(b"half")
    (folder / "beside.txt").write_bytes(b"something else")
    assert cache.size() == CacheSize(2, 2 * (64 + 96 * 8) + 7 * pixels)


def test_what_a_killed_writer_left_is_removed_in_time(dive, folder, make_dive):
    folder.mkdir()
    old, new = folder / ".a.clip.1.part", folder / ".b.clip.2.part"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (1, 1))
    make_cache(folder).load(dive)
    assert (old.exists(), new.exists()) == (False, True), "the new one may be in the making"


WRITER = """
import hashlib, sys, time
from pathlib import Path
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data import Dive
folder, video, mask, begin = sys.argv[1:]
dive = Dive(key="a", video=Path(video), score=60.0, difficulty=3.0, mask=Path(mask))
Path(folder + ".ready" + sys.argv[4] ).touch()
while not Path(folder + ".go").exists():
    time.sleep(0.001)
for _ in range(5):
    clip = ClipCache(Path(folder), geometry="fit", frame_size=32).load(dive)
    print(hashlib.sha256(clip.frames.tobytes() + clip.mask.tobytes()).hexdigest(), flush=True)
    for stored in Path(folder).glob("*.clip"):
        stored.unlink(missing_ok=True)  # so that all write again and again while others read
"""


def test_writers_and_readers_of_one_clip_do_not_disturb_each_other(dive, folder):
    clip = make_cache(None).load(dive)
    expected = hashlib.sha256(clip.frames.tobytes() + clip.mask.tobytes()).hexdigest()
    command = [sys.executable, "-c", WRITER, str(folder), str(dive.video), str(dive.mask)]
    writers = [
        subprocess.Popen([*command, str(k)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for k in range(3)
    ]
    limit = time.monotonic() + 60
    while not all(Path(f"{folder}.ready{k}").exists() for k in range(3)):
        assert time.monotonic() < limit, "the writers do not start"
        time.sleep(0.01)
    Path(f"{folder}.go").touch()
    for writer in writers:
        printed, complained = writer.communicate(timeout=60)
        assert writer.returncode == 0, complained
        assert printed.split() == [expected] * 5
    assert list(folder.glob(".*")) == []
    assert same(make_cache(folder).load(dive), clip)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 KiB; a clip of the tests takes more than that."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("mount") is None, reason="mounts a small disk")
def test_a_full_disk_is_one_line_and_leaves_no_half_file(dive, small_disk):
    with pytest.raises(OutputError) as caught:
        make_cache(small_disk / "cache").load(dive)
    assert "the clip cache cannot be written: No space left on device" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((small_disk / "cache").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux lists them")
def test_loaded_clips_hold_no_file_open_once_dropped(dive, folder):
    cache = make_cache(folder)
    cache.load(dive)

    def open_files():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = open_files()
    for _ in range(20):
        cache.load(dive)
    assert open_files() == before


def test_a_video_that_is_gone_or_broken_is_named(tmp_path, folder, make_dive):
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        make_cache(folder).load(make_dive(0, video=tmp_path / "gone.mp4"))
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        make_cache(folder).load(make_dive(0, video=tmp_path / "text.mp4"))
    assert not folder.exists()


def test_too_few_masks_are_refused(dive, folder, pictures, tmp_path):
    write_mask_video(tmp_path / "a.mkv", pictures[1][:50], 25)
    with pytest.raises(VideoError, match=r"a\.mkv: There are 50 masks"):
        make_cache(folder).load(dive)


def test_a_cache_that_cannot_be_written_is_named(dive, tmp_path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(OutputError, match="the clip cache cannot be written"):
        make_cache(tmp_path / "plain").load(dive)


@pytest.fixture
def several(tmp_path, dive, make_dive):
    """Four dives whose files are the same but for their names; the last has no masks."""
    dives = []
    for index in range(4):
        video = tmp_path / f"b{index}.mp4"
        shutil.copy(dive.video, video)
        dives.append(make_dive(index, video=video, mask=None if index == 3 else dive.mask))
    return dives


@pytest.fixture
def few_are_enough(monkeypatch):
    """Processes are started for a single clip."""
    monkeypatch.setattr(cache_module, "_CLIPS_A_PROCESS", 1)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_fill_a_cache_as_one_does(several, folder, tmp_path, few_are_enough, decoded, monkeypatch):
    cache, alone = make_cache(folder), make_cache(tmp_path / "alone")
    assert list(fill(cache, several, cores=2)) == [True, True, True, False]
    assert decoded == []  # by others
    assert list(fill(alone, several, cores=1)) == [True, True, True, False]
    assert len(decoded) == 4
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "alone").iterdir())  # no part of a file is left
    assert all((folder / name).read_bytes() == (tmp_path / "alone" / name).read_bytes() for name in names)
    monkeypatch.setattr(clip_file.zlib, "crc32", lambda data, start=0: 0)  # nothing would compare equal
    assert all(same(cache.load(dive), alone.load(dive)) for dive in several)
    assert len(decoded) == 4


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("cores", [1, 2])
def test_a_cache_that_was_not_filled_to_the_end_goes_on(several, folder, few_are_enough, decoded, cores):
    whole = several[2].video.read_bytes()
    several[2].video.write_bytes(whole[:200])
    with pytest.raises(VideoError, match=r"b2\.mp4"):
        list(fill(make_cache(folder), several, cores=cores))
    assert {path.suffix for path in folder.iterdir()} == {".clip"}
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(kept) >= 2
    several[2].video.write_bytes(whole)
    decoded.clear()
    assert list(fill(make_cache(folder), several, cores=1)) == [True, True, True, False]
    assert len(decoded) == 4 - len(kept)
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_reads_ahead_does_not_wait_for_opencvs_threads(pictures):
    """OpenCV keeps threads once it has used them; a copy of the process has none of them."""
    picture = np.zeros((2000, 1500, 3), np.uint8)
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        cv2.GaussianBlur(picture, (31, 31), 3)
        blurred = list(load_ahead(lambda _: int(cv2.GaussianBlur(picture + 7, (31, 31), 3).max()), [0, 1], workers=1))
        assert (blurred, cv2.getNumThreads()) == ([7, 7], 2)
    finally:
        cv2.setNumThreads(threads)
