from pathlib import Path

import pytest

from finecausal_cli.data.dive import Dive
from finecausal_cli.data.manifest import COLUMNS, read_manifest
from finecausal_cli.errors import DatasetError


@pytest.fixture
def dataset(tmp_path):
    """A folder with two videos, a folder of masks, and something outside that a manifest must not reach."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(b"video")
    (folder / "masks").mkdir()
    (tmp_path / "outside.mp4").write_bytes(b"video")
    return folder


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "dives.csv"
    path.write_bytes(text.encode(encoding))
    return path


def refused(folder: Path, text: str, **options) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        read_manifest(write(folder, text), **options)
    assert caught.value.where == str(folder / "dives.csv")
    return caught.value


def test_a_full_row(dataset):
    write(
        dataset,
        ",".join(COLUMNS) + "\na.mp4,82.5,3.3,5253b,10,41,77,masks,7 7.5 8 8.5 8,val\n",
    )
    assert read_manifest(dataset) == [
        Dive(
            key="a.mp4",
            video=dataset / "a.mp4",
            score=82.5,
            difficulty=3.3,
            number="5253B",
            height_m=10.0,
            twist_start=41,
            entry_start=77,
            mask=dataset / "masks",
            judges=(7.0, 7.5, 8.0, 8.5, 8.0),
            split="val",
        )
    ]


def test_a_row_needs_no_more_than_a_video_and_a_difficulty(dataset):
    (dive,) = read_manifest(write(dataset, "video,difficulty\na.mp4,3.3\n"))
    assert (dive.score, dive.number, dive.height_m, dive.twist_start, dive.entry_start) == (None,) * 5
    assert (dive.mask, dive.judges, dive.split, dive.difficulty) == (None, (), None, 3.3)


def test_the_file_may_be_named_or_its_folder(dataset):
    path = write(dataset, "video,difficulty\na.mp4,3\n")
    other = path.rename(dataset / "spring final.csv")
    assert read_manifest(other)[0].video == dataset / "a.mp4"
    write(dataset, "video,difficulty\nb.mp4,3\n")
    assert read_manifest(dataset)[0].video == dataset / "b.mp4"


@pytest.mark.parametrize(
    ("dive", "height", "listed"),
    # World Aquatics' list: 107B is 3.1 from 3 m and 3.0 from 10 m, 5253B from 10 m is 3.2.
    [("107B", "3", 3.1), ("107b", "10", 3.0), ("5253B", "10", 3.2)],
)
def test_the_difficulty_follows_from_dive_and_height(dataset, dive, height, listed):
    (found,) = read_manifest(write(dataset, f"video,dive,height_m\na.mp4,{dive},{height}\n"))
    assert found.difficulty == listed


def test_a_given_difficulty_wins_over_the_list(dataset):
    (found,) = read_manifest(write(dataset, "video,difficulty,dive,height_m\na.mp4,2.9,107B,3\n"))
    assert found.difficulty == 2.9


def test_rows_keep_their_order(dataset):
    dives = read_manifest(write(dataset, "video,difficulty\nb.mp4,3\na.mp4,3\n"))
    assert [dive.key for dive in dives] == ["b.mp4", "a.mp4"]


def test_a_spreadsheet_may_leave_a_byte_order_mark_blanks_and_empty_lines(dataset):
    text = " video , score ,difficulty\r\n\r\n a.mp4 , 60 , 3.0 \r\nb.mp4,,3\r\n"
    first, second = read_manifest(write(dataset, text, "utf-8-sig"))
    assert (first.key, first.score, first.difficulty, second.score) == ("a.mp4", 60.0, 3.0, None)


def test_names_with_commas_newlines_and_other_letters_work(dataset):
    name = "prova,\n飛び込み é.mp4"
    (dataset / name).write_bytes(b"video")
    (dive,) = read_manifest(write(dataset, f'video,difficulty\n"{name}",3\n'))
    assert dive.video == dataset / name


@pytest.mark.parametrize(
    ("header", "row", "column", "says"),
    [
        ("video,difficulty", ",3", "video", "empty"),
        ("video,difficulty", "c.mp4,3", "video", "'c.mp4' does not exist"),
        ("video,difficulty", "a\0.mp4,3", "video", "cannot be looked at"),
        ("video,difficulty", "x" * 300 + ",3", "video", "cannot be looked at"),
        ("video,difficulty", "loop,3", "video", "loop"),
        ("video,difficulty,mask", "a.mp4,3,m.mkv", "mask", "'m.mkv' does not exist"),
        ("video", "a.mp4", "difficulty", "missing"),
        ("video,difficulty", "a.mp4,", "difficulty", "missing"),
        ("video,difficulty", "a.mp4,0", "difficulty", "0 is out of range"),
        ("video,difficulty,dive,height_m", "a.mp4,0,107B,3", "difficulty", "0 is out of range"),
        ("video,difficulty", "a.mp4,three", "difficulty", "'three' is not a number"),
        ("video,difficulty", "a.mp4,nan", "difficulty", "nan is out of range"),
        ("video,dive", "a.mp4,107B", "difficulty", "missing"),
        ("video,dive,height_m", "a.mp4,101D,3", "dive", "free"),
        ("video,dive,height_m", "a.mp4,107B,4", "height_m", "no difficulty list for 4 m"),
        ("video,difficulty,dive", "a.mp4,3,999B", "dive", "digit 1"),
        ("video,difficulty,height_m", "a.mp4,3,-1", "height_m", "-1 is out of range"),
        ("video,difficulty,score", "a.mp4,3,-5", "score", "-5 is out of range"),
        ("video,difficulty,score", "a.mp4,3,inf", "score", "inf is out of range"),
        ("video,difficulty,score", "a.mp4,3,90.5", "score", "90.5 is out of range"),
        ("video,difficulty,twist_start", "a.mp4,3,4.5", "twist_start", "4.5 is not a frame index"),
        ("video,difficulty,entry_start", "a.mp4,3,soon", "entry_start", "'soon' is not a number"),
        ("video,difficulty,twist_start,entry_start", "a.mp4,3,40,40", "entry_start", "40 is not after twist_start 40"),
        ("video,difficulty,judges", "a.mp4,3,8;8;8", "judges", "not a list of marks"),
        ("video,difficulty,judges", "a.mp4,3,8 8 11", "judges", "11 is out of range"),
        ("video,difficulty,judges", "a.mp4,3,8 nan 8", "judges", "nan is out of range"),
        ("video,difficulty,split", "a.mp4,3,Train", "split", "'Train' is not a split"),
    ],
)
def test_every_error_names_file_row_and_column(dataset, header, row, column, says):
    (dataset / "loop").symlink_to(dataset / "loop")
    error = refused(dataset, f"{header}\n{row}\n")
    assert f"row 2, column {column!r}" in error.what
    assert says in error.what


def test_the_row_of_an_error_is_the_line_a_text_editor_shows(dataset):
    error = refused(dataset, 'video,difficulty\n\na.mp4,3\n\n"b.mp4",x\n')
    assert "row 5, column 'difficulty'" in error.what


@pytest.mark.parametrize("cell", ["../outside.mp4", "masks/../../outside.mp4", "link.mp4", "{outside}"])
@pytest.mark.parametrize("column", ["video", "mask"])
def test_no_path_leads_out_of_the_folder_unless_allowed(dataset, cell, column):
    outside = dataset.parent / "outside.mp4"
    (dataset / "link.mp4").symlink_to(outside)
    cell = cell.format(outside=outside)
    text = f"video,difficulty\n{cell},3\n" if column == "video" else f"video,difficulty,mask\na.mp4,3,{cell}\n"
    error = refused(dataset, text)
    assert f"row 2, column {column!r}" in error.what
    assert "leads out of the dataset's folder" in error.what
    (dive,) = read_manifest(dataset, allow_outside=True)
    assert getattr(dive, column).samefile(outside)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column 'video'"),
        ("score,difficulty\n1,2\n", "no column 'video'"),
        ("video,difficulty\n", "no dives"),
        ("video,difficulty,colour\na.mp4,3,red\n", "unknown column 'colour'"),
        ("video,difficulty,score,score\na.mp4,3,60,61\n", "column 'score' occurs twice"),
        ("video,difficulty\na.mp4,3,4\n", "row 2: more cells than columns"),
        (
            "video,difficulty\na.mp4,3\nb.mp4,3\na.mp4,3\n",
            "row 4, column 'video': 'a.mp4' is listed twice, first in row 2",
        ),
        ("video,difficulty\na.mp4," + "3" * 200_000 + "\n", "not a readable CSV file"),
    ],
)
def test_a_manifest_that_is_wrong_as_a_whole_is_refused(dataset, text, says):
    assert says in refused(dataset, text).what


def test_a_manifest_that_is_not_text_is_refused(dataset):
    (dataset / "dives.csv").write_bytes(b"video,difficulty\n\xff\xfe\x00,3\n")
    with pytest.raises(DatasetError, match="not a readable CSV file"):
        read_manifest(dataset)


def test_a_missing_manifest_says_what_to_name(dataset):
    with pytest.raises(DatasetError, match=r"no such manifest \(name a folder with dives\.csv"):
        read_manifest(dataset)
