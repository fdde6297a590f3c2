import struct
import zlib

import numpy as np
import pytest

from finecausal_cli.data.cache import StoredClip, read_stored_clip, write_clip


@pytest.fixture(params=[True, False], ids=["masks", "no masks"])
def clip(request, rng):
    return StoredClip(
        rng.integers(0, 256, (96, 9, 7, 3), np.uint8),
        rng.integers(0, 2, (96, 9, 7), np.uint8) if request.param else None,
        np.linspace(0, 2**40, 96).astype(np.int64),
    )


def test_what_is_written_is_read(clip, tmp_path):
    write_clip(tmp_path / "a.clip", clip)
    for verify in (True, False):
        found = read_stored_clip(tmp_path / "a.clip", verify=verify)
        assert np.array_equal(found.frames, clip.frames)
        assert np.array_equal(found.mask, clip.mask) if clip.mask is not None else found.mask is None
        assert np.array_equal(found.source_frames, clip.source_frames)
        assert found.frames.flags.c_contiguous
        assert not found.frames.flags.writeable, "others read the same memory"


def test_the_file_is_laid_out_as_documented(clip, tmp_path):
    write_clip(tmp_path / "a.clip", clip)
    whole = (tmp_path / "a.clip").read_bytes()
    masked = int(clip.mask is not None)
    body = clip.frames.tobytes() + (clip.mask.tobytes() if masked else b"") + clip.source_frames.astype("<i8").tobytes()
    checksum = zlib.crc32(struct.pack("<IIII", 3, 9, 7, masked) + body)
    assert whole[:28] == b"FCLIP\r\n\0" + struct.pack("<IIIII", 3, 9, 7, masked, checksum)
    assert whole[28:64] == bytes(36)
    assert whole[64:] == body


def test_views_of_a_larger_picture_are_written_as_they_look(clip, tmp_path):
    window = StoredClip(clip.frames[:, 1:8, ::2], None, clip.source_frames)
    write_clip(tmp_path / "a.clip", window)
    assert np.array_equal(read_stored_clip(tmp_path / "a.clip", verify=True).frames, clip.frames[:, 1:8, ::2])


@pytest.mark.parametrize("height", [0, 2**31])
def test_an_impossible_shape_is_not_believed(clip, tmp_path, height):
    write_clip(tmp_path / "a.clip", clip)
    whole = (tmp_path / "a.clip").read_bytes()
    (tmp_path / "a.clip").write_bytes(whole[:12] + struct.pack("<I", height) + whole[16:])
    assert read_stored_clip(tmp_path / "a.clip", verify=False) is None


def test_a_missing_file_and_a_folder_are_none(tmp_path):
    assert read_stored_clip(tmp_path / "a.clip", verify=True) is None
    assert read_stored_clip(tmp_path, verify=True) is None
