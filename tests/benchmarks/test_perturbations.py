import json
from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.perturbations import (
    KEPT,
    PARTS,
    TAKEN,
    Film,
    Measured,
    Result,
    Subject,
    figures,
    main,
    measure,
    other_of,
    read_film,
    subjects_of,
    tables,
)
from finecausal_cli.config import DEFAULT_WEIGHTS
from finecausal_cli.errors import DatasetError, RefusedError
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.simulator.dataset import write_dataset
from finecausal_cli.video.reader import open_footage
from finecausal_cli.video.writer import write_video

HEIGHT, WIDTH = 40, 60


def film(first=0, *, count=40, takeoff=8, entry=26, fps=10.0, size=(HEIGHT, WIDTH)):
    """A film whose frames are numbered by their grey, darker on the left half."""
    frames = []
    for index in range(count):
        frame = np.full((*size, 3), first + 2 * index, np.uint8)
        frame[:, : size[1] // 2] //= 2
        frames.append(frame)
    return Film(frames, fps, 1.0, takeoff, entry)


def numbers(frames, first=0):
    """Which frame of ``film`` each one is."""
    return [(int(frame[0, -1, 0]) - first) // 2 for frame in frames]


def changed(name, one=None, other=None):
    return (KEPT | TAKEN)[name](one or film(), other or film(101), np.random.default_rng(0))


def test_pictures_change_and_their_times_do_not():
    one = film()
    for name in KEPT:
        if name == "2 s before":
            continue
        frames = changed(name, one)
        assert len(frames) == len(one.frames)
        assert len({frame.shape for frame in frames}) == 1
        assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}


def test_what_each_change_does_to_a_picture():
    coloured = film()
    coloured.frames[5][...] = (100, 200, 30)
    coloured.frames[5][:, :10] = (10, 20, 30)
    assert np.array_equal(changed("mirror", coloured)[5][:, ::-1], coloured.frames[5])
    bars = changed("bars", coloured)[5]
    assert bars.shape == (50, WIDTH, 3)  # 12% of 40 are 5 rows
    assert not bars[:5].any()
    assert not bars[-5:].any()
    assert np.array_equal(bars[5:-5], coloured.frames[5])
    grey = changed("grey", coloured)[5]
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    assert grey[0, -1, 0] == round(0.299 * 100 + 0.587 * 200 + 0.114 * 30)  # luma of BT.601
    bright = changed("brighter", coloured)[5]
    assert bright[0, -1].tolist() == [130, 255, 39]
    half = changed("half size", coloured)[5]
    assert half.shape == (20, 30, 3)
    assert half[0, -1].tolist() == [100, 200, 30]


def test_standing_before_holds_the_first_picture_for_two_seconds():
    one = film(100)
    frames = changed("2 s before", one)
    held, rest = frames[:20], frames[20:]
    assert all(np.array_equal(*pair) for pair in zip(rest, one.frames, strict=True))
    assert all(0 < np.abs(frame.astype(int) - one.frames[0]).mean() < 3 for frame in held)
    assert not np.array_equal(held[0], held[1])


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_only_flight_or_splash_is_taken_away(name):
    one = film()
    frames = changed(name, one)
    assert len(frames) == len(one.frames)
    assert numbers(frames[: one.takeoff]) == list(range(one.takeoff))
    if name == "another's splash":
        assert numbers(frames[: one.entry]) == list(range(one.entry))
    else:
        assert numbers(frames[one.entry :]) == list(range(one.entry, 40))


def test_a_frozen_flight_shows_its_first_picture():
    assert numbers(changed("flight frozen")) == [*range(8), *[8] * 18, *range(26, 40)]
    shaken = changed("frozen, shaken", film(100))[8:26]
    still = film(100).frames[8].astype(int)
    inner = [frame[:, 35:55].astype(int) - still[:, 35:55] for frame in shaken]
    assert all(abs(each.mean()) < 1 and 4 < each.std() < 6 for each in inner)  # grain alone
    edges = {tuple((frame[:, 24:36].mean((0, 2)) > 87).tolist()) for frame in shaken}
    assert len(edges) > 1  # the edge between dark and light moves


def test_a_shuffled_flight_keeps_its_parts_in_another_order():
    order = numbers(changed("flight shuffled"))[8:26]
    assert sorted(order) == list(range(8, 26))
    assert order != sorted(order)
    parts = {tuple(range(start, start + 18 // PARTS)) for start in range(8, 26, 18 // PARTS)}
    assert {tuple(order[start : start + 3]) for start in range(0, 18, 3)} == parts
    for seed in range(2000):  # one of 720 orders is the true one
        frames = TAKEN["flight shuffled"](film(), film(), np.random.default_rng(seed))
        assert numbers(frames)[8:26] != list(range(8, 26))


def test_another_dives_flight_is_brought_to_length_and_size():
    other = film(101, takeoff=10, entry=19, size=(20, 30))
    frames = changed("another's flight", other=other)
    assert {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert numbers(frames[8:26], 101) == [10 + round(8 * step / 17) for step in range(18)]


def test_another_dives_splash_has_its_own_pace_and_ends_in_its_last_picture():
    other = film(101, count=50, takeoff=10, entry=30, fps=20.0)
    assert (
        numbers(changed("another's splash", other=other)[26:], 101)
        == [30, 32, 34, 36, 38, 40, 42, 44, 46, 48] + [49] * 4
    )


RESULTS = (
    Measured(
        "a",
        70.0,
        {"mirror": Result(71.0), "flight frozen": Result(40.0), "another's splash": Result(75.0)},
    ),
    Measured(
        "b",
        50.0,
        {
            "mirror": Result(47.0),
            "flight frozen": Result(45.0, "no flight"),
            "another's splash": Result(None, "no_dive"),
        },
    ),
    Measured("c", 60.0, {"mirror": Result(20.0, "still"), "flight frozen": Result(None, "no_dive")}),
)


def test_figures_of_a_change():
    kept = figures(RESULTS, "mirror")
    assert (kept.count, kept.refused) == (3, 1)
    assert kept.mean == 2.0  # of those that are not refused
    assert kept.largest == -3.0
    taken = figures(RESULTS, "flight frozen")
    assert (taken.count, taken.refused, taken.judged) == (3, 2, 2)
    assert (taken.lost, taken.least_lost) == (17.5, 5.0)
    assert taken.noticed == 3
    splash = figures(RESULTS, "another's splash")
    assert (splash.count, splash.lost, splash.noticed) == (2, -5.0, 1)
    assert np.isnan(figures(RESULTS[2:], "flight frozen").lost)


def test_the_tables_show_each_change_that_was_measured():
    kept, taken = tables(RESULTS, "three")
    assert [list(column.cells) for column in kept.columns] == [["mirror"], ["2.00"], ["-3.00"], ["1 of 3"]]
    assert [next(iter(column.cells)) for column in taken.columns] == [
        "flight frozen",
        "2 of 3",
        "2 of 3",
        "+17.50",
        "+5.00",
        "3 of 3",
    ]


def test_films_are_read_where_their_flight_is_known_and_their_rate_is_constant(tmp_path):
    write_video(tmp_path / "a.mp4", film().frames, 10.0)
    uneven = np.cumsum([0, *np.tile([0.1, 0.1, 0.4, 0.1], 10)])
    write_video(tmp_path / "b.mp4", film().frames, 10.0, times_s=uneven)
    labels = {
        "a.mp4": {"takeoff": 8, "entry": 26, "dive": "107B", "height_m": 3},
        "b.mp4": {"takeoff": 8, "entry": 26, "dive": "207C", "height_m": 3},
        "c.mp4": {"nothing": True},
    }
    with pytest.raises(DatasetError, match="dives"):
        subjects_of(tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps({"c.mp4": labels["c.mp4"]}))
    with pytest.raises(DatasetError, match="no dive with a known take-off and entry"):
        subjects_of(tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    first, second = subjects_of(tmp_path)
    assert first.options == ScoreOptions(dive="107B", height_m=3)
    read = read_film(first)
    assert (len(read.frames), read.fps, read.takeoff, read.entry) == (40, 10.0, 8, 26)
    assert read_film(second) == "its frame rate varies"
    assert list(other_of([first, second, first], 0)) == [second]  # the third one is the same number


class Judge:
    """Gives 50 points and remembers what it was shown; refuses pictures below 30 rows, by force too."""

    def __init__(self):
        self.shown = []

    def assess(self, path, options):
        assert options.force
        assert options.dive == "107B"
        pictures = list(open_footage(path).frames())
        self.shown.append((path.name, len(pictures), pictures[0].shape[:2], path.stat().st_size))
        if pictures[0].shape[0] < 30:
            raise RefusedError("too small", kind="athlete_not_seen")
        return [Assessed(50.0, None)]


@dataclass
class Assessed:
    score: float
    forced: str | None


def test_each_changed_file_is_scored_as_a_file(tmp_path):
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path in paths:
        write_video(path, film(100).frames, 10.0, crf=0)
    options = ScoreOptions(dive="107B", height_m=3.0)
    subjects = [Subject(path.name, path, 8, 26, options) for path in paths]
    judge, lines = Judge(), []
    names = ["bars", "codec", "half size", "2 s before", "another's flight"]
    (found,) = measure(judge, subjects, names, limit=1, say=lines.append)
    assert found.score == 50.0
    # Both are of one number, so there is no other dive's flight to show.
    assert list(found.changed) == names[:-1]
    assert found.changed["bars"] == Result(50.0)
    assert found.changed["half size"] == Result(None, "athlete_not_seen")
    assert [shown[:3] for shown in judge.shown] == [
        ("a.mp4", 40, (40, 60)),
        ("changed.mp4", 40, (50, 60)),
        ("changed.mp4", 40, (40, 60)),
        ("changed.mp4", 40, (20, 30)),
        ("changed.mp4", 60, (40, 60)),
    ]
    assert judge.shown[2][3] < judge.shown[0][3]  # the coarse copy is smaller
    assert lines == [
        "1. a.mp4: 50.0 points as it is",
        "1. a.mp4: bars +0.00",
        "1. a.mp4: codec +0.00",
        "1. a.mp4: half size no points, refused: athlete_not_seen",
        "1. a.mp4: 2 s before +0.00",
    ]


@pytest.mark.thorough
def test_a_simulated_dive_is_measured_and_the_same_again(tmp_path, capsys):
    write_dataset(tmp_path / "dives", 2, 3)
    arguments = [str(tmp_path / "dives"), "--limit", "1", "--changes", "codec", "flight frozen", "another's flight"]
    main([*arguments, "--json", str(tmp_path / "one.json")])
    shown = capsys.readouterr()
    assert f"1 dives, weights {DEFAULT_WEIGHTS} " in shown.out
    assert "flight frozen" in shown.out
    assert shown.err.startswith("1. ")
    main([*arguments, "--json", str(tmp_path / "two.json")])
    found = json.loads((tmp_path / "one.json").read_text())
    assert json.loads((tmp_path / "two.json").read_text()) == found
    (dive,) = found["dives"]
    assert set(dive["changed"]) == {"codec", "flight frozen", "another's flight"}
    assert found["figures"]["flight frozen"]["count"] == 1
    frozen = dive["changed"]["flight frozen"]
    assert frozen["refused"] is not None or frozen["score"] != dive["score"]
