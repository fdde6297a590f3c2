import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from finecausal_cli.errors import UsageError, VideoError
from finecausal_cli.report.overlay import nearest_samples, outlines, overlay_clip, write_overlay
from finecausal_cli.video.reader import open_footage
from finecausal_cli.video.writer import write_video

GREY = 90


@pytest.fixture
def clip(tmp_path):
    """A plain grey clip of 192 frames, of the shape of the evidence's pictures, at twice their size."""
    path = tmp_path / "dive.mp4"
    write_video(path, (np.full((240, 400, 3), GREY, np.uint8) for _ in range(192)), 60)
    return path


@pytest.fixture
def played(assessment, evidence, clip, tmp_path):
    """The overlay's frames, as decoded."""
    write_overlay(tmp_path / "out.mp4", open_footage(clip), assessment, evidence)
    with av.open(str(tmp_path / "out.mp4")) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def drawn(frame, top=0, bottom=240):
    """Rows and columns that are no longer grey."""
    return np.argwhere((np.abs(frame[top:bottom].astype(int) - GREY) > 60).any(-1))


def facts(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        return {
            "codec": context.name,
            "pixels": context.pix_fmt,
            "size": (context.width, context.height),
            "frames": stream.frames,
            "duration": Fraction(stream.duration) * stream.time_base,
            "rate": stream.average_rate,
            "container": container.format.name,
        }


def test_it_is_what_browsers_play_and_as_long_as_the_clip(assessment, evidence, clip, tmp_path, played):
    ours, theirs = facts(tmp_path / "out.mp4"), facts(clip)
    assert (ours["codec"], ours["pixels"]) == ("h264", "yuv420p")
    for fact in ("size", "frames", "duration", "rate", "container"):
        assert ours[fact] == theirs[fact], fact
    assert len(played) == ours["frames"] == 192
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("sample", [20, 60])
def test_the_outline_is_where_the_mask_is(played, evidence, sample):
    # Sampled frame k is frame 2 k of the clip; pictures of the clip are twice as large as those of the evidence.
    rows, columns = np.nonzero(evidence.masks[sample])
    found = drawn(played[2 * sample][:, 130:270], 40, 190) + np.array([40, 130])
    assert found[:, 0].min() == pytest.approx(2 * rows.min(), abs=3)
    assert found[:, 0].max() == pytest.approx(2 * rows.max() + 1, abs=3)
    assert found[:, 1].min() == pytest.approx(2 * columns.min(), abs=3)
    assert found[:, 1].max() == pytest.approx(2 * columns.max() + 1, abs=3)


def test_the_strip_lies_where_it_hides_least(assessment, evidence, clip, tmp_path, played):
    # The athlete falls out of the square at the bottom, so there is more of it below than above.
    assert played[0][:3].mean() < GREY / 2
    upside_down = replace(evidence, masks=evidence.masks[:, ::-1].copy())
    write_overlay(tmp_path / "other.mp4", open_footage(clip), assessment, upside_down)
    with av.open(str(tmp_path / "other.mp4")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert frame[-3:].mean() < GREY / 2
    assert frame[:3].mean() > GREY / 2


def test_a_range_is_as_long_as_asked(assessment, evidence, clip, tmp_path):
    part = replace(evidence, source_frames=np.linspace(60, 119, 96).astype(np.int64))
    judged = assessment.model_copy(update={"source": str(clip), "clip_start_s": 1.0, "clip_end_s": 2.0})
    overlay_clip(tmp_path / "part.mp4", judged, part)
    assert facts(tmp_path / "part.mp4")["frames"] == 60
    assert facts(tmp_path / "part.mp4")["duration"] == 1


def test_a_frame_takes_the_nearest_sample():
    assert nearest_samples(np.array([0, 4, 8]), 10).tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    repeated = np.array([0, 0, 1, 1, 2])
    assert repeated[nearest_samples(repeated, 3)].tolist() == [0, 1, 2]


def test_an_outline_is_scaled_with_its_mask():
    mask = np.zeros((10, 20), np.uint8)
    mask[2:6, 4:12] = 1
    (line,) = outlines(mask, (100, 200))
    x, y = line[:, 0, 0], line[:, 0, 1]
    assert (x.min(), x.max(), y.min(), y.max()) == (40, 119, 20, 59)
    assert outlines(np.zeros((10, 20), np.uint8), (100, 200)) == ()


def test_a_failure_leaves_nothing_and_keeps_what_was_there(assessment, evidence, clip, tmp_path, monkeypatch):
    footage = open_footage(clip)
    target = tmp_path / "there" / "out.mp4"
    target.parent.mkdir()
    target.write_bytes(b"older")

    def breaking(indices):
        yield from (np.full((240, 400, 3), GREY, np.uint8) for _ in range(50))
        raise VideoError("broken")

    monkeypatch.setattr(footage._source, "frames", breaking)
    with pytest.raises(VideoError):
        write_overlay(target, footage, assessment, evidence)
    assert [file.name for file in target.parent.iterdir()] == ["out.mp4"]
    assert target.read_bytes() == b"older"


def test_an_interruption_leaves_nothing(assessment, evidence, clip, tmp_path):
    target = tmp_path / "there" / "out.mp4"
    seen = []

    def advance():
        seen.append(1)
        if len(seen) == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_overlay(target, open_footage(clip), assessment, evidence, advance=advance)
    assert list(target.parent.iterdir()) == []


def test_a_picture_without_room_is_refused(assessment, evidence, tmp_path):
    write_video(tmp_path / "tiny.mp4", (np.zeros((8, 8, 3), np.uint8) for _ in range(20)), 25)
    with pytest.raises(UsageError, match="too small"):
        write_overlay(tmp_path / "out.mp4", open_footage(tmp_path / "tiny.mp4"), assessment, evidence)


def test_the_pages_helpers_need_no_torch():
    code = "import sys; from finecausal_cli.report import overlay; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
