from __future__ import annotations

from pathlib import Path
from threading import Event

from finecausal_cli.batch.inputs import StableFileFilter, find_inputs, watch
from finecausal_cli.scoring import ScoreOptions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def names(items) -> list[str]:
    return [Path(item.source).name for item in items]


def test_a_file_is_ready_once_it_has_stopped_growing(tmp_path: Path) -> None:
    clock = Clock()
    settling = StableFileFilter(3.0, clock)

    def ready_at(now: float) -> list[str]:
        clock.now = now
        return names(settling.ready(find_inputs([str(tmp_path)], ScoreOptions(), may_be_empty=True).items))

    assert ready_at(0) == []
    (tmp_path / "a.mp4").write_bytes(b"begin")
    assert ready_at(1) == []
    with (tmp_path / "a.mp4").open("ab") as stream:
        stream.write(b" and more")
    assert ready_at(3) == []
    assert ready_at(5.9) == []
    assert ready_at(6) == ["a.mp4"]
    assert ready_at(20) == []
    (tmp_path / "a.mp4").write_bytes(b"another dive")
    assert ready_at(21) == []
    assert ready_at(24) == ["a.mp4"]


def test_a_folder_of_frames_is_ready_once_no_frame_comes_any_more(tmp_path: Path) -> None:
    clock = Clock()
    settling = StableFileFilter(3.0, clock)
    folder = tmp_path / "dive"
    folder.mkdir()
    found = []
    for frame in range(5):
        (folder / f"{frame}.jpg").write_bytes(b"x")
        clock.now += 2
        found.append(names(settling.ready(find_inputs([str(folder)], ScoreOptions()).items)))
    clock.now += 3
    found.append(names(settling.ready(find_inputs([str(folder)], ScoreOptions()).items)))
    assert found == [[], [], [], [], [], ["dive"]]


def test_watching_scores_each_dive_once_and_ends_when_told(tmp_path: Path) -> None:
    stop, scored = Event(), []
    clock = Clock()

    def find():
        clock.now += 5
        (tmp_path / f"{len(list(tmp_path.iterdir()))}.mp4").write_bytes(b"x")
        return find_inputs([str(tmp_path)], ScoreOptions()).items

    def score(items) -> None:
        scored.extend(names(items))
        if len(scored) == 3:
            stop.set()

    watch(find, score, stop, settling=StableFileFilter(3.0, clock), interval_s=0.001)
    assert scored == ["0.mp4", "1.mp4", "2.mp4"]


def test_dives_of_one_video_are_ready_together_and_once(tmp_path: Path) -> None:
    clock = Clock()
    settling = StableFileFilter(3.0, clock)
    (tmp_path / "a.mp4").write_bytes(b"x")
    manifest = tmp_path / "dives.csv"

    def ready_at(now: float) -> list[str | None]:
        clock.now = now
        return [item.options.dive for item in settling.ready(find_inputs([str(manifest)], ScoreOptions()).items)]

    manifest.write_text("video,dive\na.mp4,107B\na.mp4,301B\n")
    assert [ready_at(now) for now in (0, 3, 6)] == [[], ["107B", "301B"], []]
    manifest.write_text("video,dive\na.mp4,107B\na.mp4,301B\na.mp4,405C\n")
    assert [ready_at(now) for now in (7, 10)] == [[], ["107B", "301B", "405C"]]
