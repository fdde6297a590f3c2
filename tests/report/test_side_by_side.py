"""Two dives beside each other as a video."""

import av
import numpy as np
import pytest

from finecausal_cli.errors import UsageError
from finecausal_cli.report import VideoOptions
from finecausal_cli.report.side_by_side import Clock, Moments, frame_rate, panel_sizes, write_side_by_side_video
from finecausal_cli.scoring.background import Evidence
from finecausal_cli.scoring.comparison_results import ComparedDive, ComparedStage, Comparison, ComparisonProvenance
from finecausal_cli.scoring.results import StageSpan
from finecausal_cli.video.writer import write_video

FPS, FRAMES = 25, 60
NAMES = ("takeoff", "flight", "entry")


def test_both_dives_take_off_and_enter_together_whatever_their_pace():
    normal = Moments(begin_s=0.0, takeoff_s=1.0, entry_s=2.5, end_s=3.5)
    slow = Moments(begin_s=10.0, takeoff_s=12.0, entry_s=18.0, end_s=22.0, time_scale=4.0)
    clock = Clock.of(normal, slow)
    # A has 1.0 s before the take-off, B 2 / 4 = 0.5 s; A is 1.5 s in the air; both have 1 s after the entry.
    assert (clock.takeoff_s, clock.entry_s, clock.end_s) == (1.0, 2.5, 3.5)
    assert [clock.file_time(time, normal) for time in (0, 1.0, 1.75, 2.5, 3.0)] == [0, 1.0, 1.75, 2.5, 3.0]
    # B rests on its first frame until 0.5 s before its take-off; in the air it moves in proportion.
    assert [clock.file_time(time, slow) for time in (0, 0.5, 1.0, 1.75, 2.5, 3.0)] == [10, 10, 12, 15, 18, 20]


def test_a_long_approach_and_a_long_swim_are_cut():
    clock = Clock.of(Moments(0.0, 8.0, 9.5, 20.0), Moments(0.0, 1.0, 2.4, 3.0))
    assert clock.takeoff_s == 2.0
    assert clock.end_s == pytest.approx(2.0 + 1.5 + 1.5)


@pytest.mark.parametrize(
    ("source", "slow", "expected"), [(25, 1, 25), (25, 4, 25), (30, 4, 30), (60, 1, 60), (60, 2, 30), (240, 1, 60)]
)
def test_every_frame_of_the_source_is_shown_equally_often(source, slow, expected):
    assert frame_rate(source, slow) == pytest.approx(expected)


def test_both_are_equally_high_even_and_fit_a_screen():
    for heights, aspects in (
        ((1080, 1080), (16 / 9, 16 / 9)),
        ((1280, 256), (9 / 16, 16 / 9)),
        ((101, 99), (1.37, 0.5)),
    ):
        (tall, first), (same, other) = panel_sizes(heights, aspects)
        assert tall == same
        assert all(side % 2 == 0 for side in (tall, first, other))
        assert first + other <= 1440
        assert 360 <= tall <= 720 or first + other > 1430
        assert first / tall == pytest.approx(aspects[0], rel=0.02)


def test_slow_motion_without_a_video_is_refused():
    with pytest.raises(UsageError, match="side-by-side"):
        VideoOptions(slow=4)


@pytest.fixture(scope="module")
def dives(tmp_path_factory):
    """Two clips whose brightness tells the frame, with other moments of take-off and entry; and their comparison."""
    moments = {"a": (0.8, 1.6), "b": (0.4, 1.4)}
    compared, evidence, folder = [], [], tmp_path_factory.mktemp("dives")
    samples = np.rint(np.linspace(0, FRAMES - 1, 96)).astype(np.int64)
    for name, (takeoff, entry) in moments.items():
        path = folder / f"{name}.mp4"
        write_video(path, (np.full((64, 96, 3), 4 * index, np.uint8) for index in range(FRAMES)), FPS)
        times = (0.0, takeoff, entry, FRAMES / FPS)
        spans = tuple(
            StageSpan(name=stage, start_frame=32 * k, end_frame=32 * k + 32, start_s=times[k], end_s=times[k + 1])
            for k, stage in enumerate(NAMES)
        )
        compared.append(
            ComparedDive(source=str(path), decoder="pyav", stages=spans, execution=None, score=None, notes=())
        )
        empty = np.zeros((96, 8, 8, 3), np.uint8)
        evidence.append(Evidence(empty, empty[..., 0], (0, 0, 8, 8), samples, FPS))
    comparison = Comparison.model_construct(
        query=compared[0],
        exemplar=compared[1],
        difficulty=3.0,
        difference=0.5,
        stages=tuple(
            ComparedStage(name=name, difference=0.5, weight=weight, contribution=0.5 * weight, points=1.5 * weight)
            for name, weight in zip(NAMES, (0.3, 0.5, 0.2), strict=True)
        ),
        provenance=ComparisonProvenance(
            version="0", weights="w", weights_digest="0", weights_note="", device="cpu", precision="fp32", seconds=1.0
        ),
    )
    return comparison, tuple(evidence)


@pytest.fixture(scope="module")
def played(dives, tmp_path_factory):
    """The video at half the speed: its path and its frames."""
    path = tmp_path_factory.mktemp("video") / "both.mp4"
    written = write_side_by_side_video(path, *dives, VideoOptions(video=path, slow=2))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == written
        yield path, frames, float(stream.average_rate)


def test_the_pictures_bear_the_names_that_are_given(dives, tmp_path):
    files = [tmp_path / f"{name}.mp4" for name in ("files", "same", "given")]
    for path, titles in zip(files, (None, ["a.mp4", "b.mp4"], ["standard input", "b.mp4"]), strict=True):
        write_side_by_side_video(path, *dives, VideoOptions(video=path), titles=titles)
    files, same, given = (path.read_bytes() for path in files)
    assert files == same != given


def test_it_is_what_browsers_and_phones_play(played):
    path, frames, _ = played
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert context.width % 2 == context.height % 2 == 0
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    # 0.8 s before and in the air, and the rest of the clip (0.76 s of A, 0.96 s of B), at half the speed.
    assert len(frames) == pytest.approx(2 * FPS * (0.8 + 0.8 + 0.96), abs=2)


@pytest.mark.parametrize(("moment", "a_s", "b_s"), [(0.8, 0.8, 0.4), (1.2, 1.2, 0.9), (1.6, 1.6, 1.4)])
def test_take_off_and_entry_stand_beside_each_other(played, moment, a_s, b_s):
    _, frames, rate = played
    picture = frames[round(moment * 2 * rate)]
    middle = picture[picture.shape[0] // 2]
    half = picture.shape[1] // 4
    # Brightness is four times the frame's index.
    assert middle[half].mean() == pytest.approx(4 * a_s * FPS, abs=6)
    assert middle[-half].mean() == pytest.approx(4 * b_s * FPS, abs=6)


def test_the_cursor_moves_along_the_stages(played):
    _, frames, _ = played
    found = []
    for frame in (frames[10], frames[len(frames) // 2], frames[-5]):
        coloured = frame.max(-1).astype(int) - frame.min(-1) > 40
        bar = frame[coloured.sum(1).argmax()]
        found.append(int(np.median(np.flatnonzero(bar.min(-1) > 200))))
    assert found == sorted(found)
    assert found[2] - found[0] > frames[0].shape[1] / 2
