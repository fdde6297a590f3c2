import json

import pytest

from finecausal_cli.errors import UsageError
from finecausal_cli.scoring import (
    AthletePoint,
    Corrections,
    corrections_path,
    keep_corrections,
    parse_athlete,
    read_corrections,
    resolve_corrections,
)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "dive.mp4"
    path.write_bytes(b"video")
    return str(path)


SAID = Corrections(3.2, 4.9, AthletePoint(640.0, 210.5, 3.5))


def test_what_is_kept_is_used_again_and_that_is_said(clip):
    assert keep_corrections(clip, SAID, None, None) == ()
    assert read_corrections(clip) == (SAID, ())
    joined, notes = resolve_corrections(clip, Corrections(), None, None)
    assert joined == SAID
    assert "take-off 3.20 s, entry 4.90 s, athlete at 640,210.5 at 3.50 s" in notes[0]
    assert "dive.mp4.finecausal.json" in notes[0]


def test_what_is_said_now_wins_and_the_rest_stays(clip):
    keep_corrections(clip, SAID, None, None)
    joined, notes = resolve_corrections(clip, Corrections(takeoff_s=3.3, athlete="left"), None, None)
    assert joined == Corrections(3.3, 4.9, "left")
    assert notes == ("as corrected earlier: entry 4.90 s (delete dive.mp4.finecausal.json to undo)",)
    keep_corrections(clip, Corrections(takeoff_s=3.3), None, None)
    assert read_corrections(clip)[0] == Corrections(3.3, 4.9, SAID.athlete)


def test_a_new_time_that_contradicts_an_old_one_replaces_it(clip):
    assert Corrections(takeoff_s=30.0).over(Corrections(3.2, 4.9)) == Corrections(30.0, None)


def test_each_part_of_a_video_has_its_own(clip):
    keep_corrections(clip, SAID, None, None)
    keep_corrections(clip, Corrections(takeoff_s=62.0), 60.0, 70.0)
    assert read_corrections(clip, 60.0, 70.0)[0] == Corrections(takeoff_s=62.0)
    assert read_corrections(clip)[0] == SAID
    assert read_corrections(clip, 1.0)[0] == Corrections()
    content = json.loads(corrections_path(clip).read_text())
    assert content["finecausal_corrections"] == 1
    assert len(content["dives"]) == 2


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        '{"finecausal_corrections": 9, "dives": []}',
        '{"finecausal_corrections": 1, "dives": [1]}',
        '{"finecausal_corrections": 1, "dives": [{"start_s": null, "end_s": null, "takeoff_s": "x"}]}',
        '{"finecausal_corrections": 1, "dives": [{"start_s": null, "end_s": null, "takeoff_s": 5, "entry_s": 4}]}',
        '{"finecausal_corrections": 1, "dives": [{"start_s": null, "end_s": null, "athlete": [1, 2, 3, 4]}]}',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_something_else_is_a_note_and_no_error(clip, content):
    corrections_path(clip).write_text(content)
    found, notes = read_corrections(clip)
    assert not found
    assert "cannot be read and are left out" in notes[0]


def test_a_file_that_is_too_large_is_a_note_and_is_not_written_over(clip):
    keep_corrections(clip, SAID, None, None)
    path = corrections_path(clip)
    content = path.read_text() + " " * (1 << 20)
    path.write_text(content)
    corrections, (note,) = read_corrections(clip)
    assert corrections == Corrections()
    assert note.endswith("are left out: it is larger than 1 MiB")
    (note,) = keep_corrections(clip, Corrections(takeoff_s=1.0), None, None)
    assert "not kept" in note
    assert path.read_text() == content


def test_a_file_that_is_something_else_is_not_written_over(clip):
    corrections_path(clip).write_text("mine")
    assert "not kept" in keep_corrections(clip, SAID, None, None)[0]
    assert corrections_path(clip).read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_a_note(tmp_path):
    missing = tmp_path / "file.txt"
    missing.write_text("no folder")
    assert "not kept" in keep_corrections(missing / "dive.mp4", SAID, None, None)[0]


def test_nothing_said_writes_nothing(clip, tmp_path):
    assert keep_corrections(clip, Corrections(), None, None) == ()
    assert [path.name for path in tmp_path.iterdir()] == ["dive.mp4"]


@pytest.mark.parametrize(
    ("text", "means"),
    [("640,210", AthletePoint(640, 210)), ("640, 210.5,3.5", AthletePoint(640, 210.5, 3.5)), ("left", "left")],
)
def test_an_athlete_is_a_point_or_a_side_and_survives_the_way_through_text(text, means):
    assert parse_athlete(text) == means
    assert parse_athlete(Corrections(athlete=means).athlete_text) == means


@pytest.mark.parametrize("text", ["", "middle", "1", "1,2,3,4", "1,x", "nan,2", "-1,2", "inf,1"])
def test_anything_else_is_wrong_usage(text):
    with pytest.raises(UsageError, match="--athlete"):
        parse_athlete(text)


@pytest.mark.parametrize("times", [(3.0, 2.0), (-1.0, None), (float("nan"), None), (2.0, 2.0)])
def test_times_that_make_no_sense_are_wrong_usage(times):
    with pytest.raises(UsageError):
        Corrections(*times)
