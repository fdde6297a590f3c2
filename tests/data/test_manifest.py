import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finecausal_cli.data import Dive
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
        ",".join(COLUMNS) + "\na.mp4,82.5,3.3,5253b,10,41,77,masks,7 7.5 8 8.5 8,0.5 0 2.25,val\n",
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
            deductions=(0.5, 0.0, 2.25),
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
        ("video,difficulty", "a.mp4,1e999", "difficulty", "1e999 is out of range"),
        ("video,difficulty", "a.mp4,-Infinity", "difficulty", "-Infinity is out of range"),
        ("video,difficulty", "a.mp4,1_000", "difficulty", "'1_000' is not a number"),
        ("video,difficulty,score", "a.mp4,3,1e999", "score", "1e999 is out of range"),
        ("video,difficulty,twist_start", "a.mp4,3,nan", "twist_start", "nan is out of range"),
        ("video,difficulty,start_s", "a.mp4,3,inf", "start_s", "inf is out of range"),
        ("video,difficulty,start_s,end_s", "a.mp4,3,4,4", "end_s", "4 is not after start_s 4"),
        ("video,difficulty,judges", "a.mp4,3,8 1e999 8", "judges", "inf is out of range"),
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
        ("video,difficulty,deductions", "a.mp4,3,0.5 1", "deductions", "2 numbers"),
        ("video,difficulty,deductions", "a.mp4,3,0.5 1 -1", "deductions", "-1 is out of range"),
        ("video,difficulty,deductions", "a.mp4,3,0.5 1 inf", "deductions", "inf is out of range"),
        ("video,difficulty,deductions", "a.mp4,3,0.5 nan 1", "deductions", "nan is out of range"),
        ("video,difficulty,deductions", "a.mp4,3,0.5;1;1", "deductions", "not a list of points"),
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
    assert "leads out of the manifest's folder" in error.what
    (dive,) = read_manifest(dataset, allow_outside=True)
    assert getattr(dive, column).samefile(outside)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column 'video'"),
        ("score,difficulty\n1,2\n", "no column 'video'"),
        ("video,difficulty\n", "no dives"),
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


RECORD = {
    "video": "a.mp4",
    "score": 82.5,
    "difficulty": 3.3,
    "dive": "5253b",
    "height_m": 10,
    "twist_start": 41,
    "entry_start": 77,
    "mask": "masks",
    "judges": [7, 7.5, 8, 8.5, 8],
    "deductions": [0.5, 0.0, 2.25],
    "split": "val",
}


def write_jsonl(folder, *records):
    path = folder / "dives.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in records) + "\n")
    return path


def write_parquet(folder, *records):
    path = folder / "dives.parquet"
    pq.write_table(pa.Table.from_pylist(list(records)), path)
    return path


@pytest.mark.parametrize("write_records", [write_jsonl, write_parquet])
def test_every_format_says_the_same(dataset, write_records):
    expected = read_manifest(
        write(dataset, ",".join(COLUMNS) + "\na.mp4,82.5,3.3,5253b,10,41,77,masks,7 7.5 8 8.5 8,0.5 0 2.25,val\n")
    )
    (dataset / "dives.csv").unlink()
    texts = RECORD | {"judges": "7 7.5 8 8.5 8", "deductions": "0.5 0 2.25"}
    for record in (RECORD, texts):
        write_records(dataset, record)
        assert read_manifest(dataset) == expected


@pytest.mark.parametrize("write_records", [write_jsonl, write_parquet])
def test_what_is_null_is_not_given(dataset, write_records):
    first, second = read_manifest(
        write_records(dataset, RECORD, dict.fromkeys(RECORD) | {"video": "b.mp4", "difficulty": 3})
    )
    assert first.twist_start == 41, "a column with gaps becomes one of floats"
    assert (second.score, second.number, second.mask, second.judges, second.deductions) == (None, None, None, (), None)


def test_lines_of_json_may_hold_different_columns_and_gaps_between_them(dataset):
    path = write_jsonl(dataset, {"video": "b.mp4", "difficulty": 3}, "", "  ", RECORD)
    assert [dive.key for dive in read_manifest(path)] == ["b.mp4", "a.mp4"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"video": "a.mp4", "difficulty": "x"}, "row 2, column 'difficulty': 'x' is not a number"),
        ({"video": "a.mp4", "difficulty": [True]}, "row 2, column 'difficulty': a list is neither"),
        ({"video": "a.mp4", "difficulty": True}, "row 2, column 'difficulty': a bool is neither"),
        ({"video": "a.mp4", "difficulty": {"a": 1}}, "row 2, column 'difficulty': a dict is neither"),
        ({"difficulty": 3}, "row 2, column 'video': empty"),
        ('{"video": "a.mp4", "difficulty": NaN}', "row 2, column 'difficulty': nan is out of range"),
        ('{"video": "a.mp4", "difficulty": 3, "difficulty": 3}', "row 2: not a JSON object: 'difficulty' occurs twice"),
        ("[1, 2]", "row 2: not a JSON object"),
        ('{"video": ', "row 2: not a JSON object"),
        ("[" * 100_000, "row 2: not a JSON object"),
    ],
)
def test_every_error_in_json_names_file_row_and_column(dataset, line, says):
    path = write_jsonl(dataset, {"video": "b.mp4", "difficulty": 3}, line)
    with pytest.raises(DatasetError) as caught:
        read_manifest(path)
    assert caught.value.where == str(path)
    assert says in caught.value.what


def test_every_error_in_parquet_names_file_row_and_column(dataset):
    path = write_parquet(
        dataset,
        {"video": "b.mp4", "score": 60.0, "difficulty": 3.0},
        {"video": "a.mp4", "score": 99.0, "difficulty": 3.0},
    )
    with pytest.raises(DatasetError, match=r"dives\.parquet: row 2, column 'score': 99 is out of range"):
        read_manifest(path)


@pytest.mark.parametrize("damage", [b"", b"no table", "cut", "flipped"])
def test_a_damaged_parquet_file_is_one_error(dataset, damage):
    path = write_parquet(dataset, RECORD)
    whole = path.read_bytes()
    path.write_bytes(
        damage
        if isinstance(damage, bytes)
        else whole[:-50]
        if damage == "cut"
        else whole[:4] + b"\xff" * 40 + whole[44:]
    )
    with pytest.raises(DatasetError, match=r"dives\.parquet: not a readable Parquet file"):
        read_manifest(path)


def test_of_two_manifests_one_must_be_named(dataset):
    write(dataset, "video,difficulty\na.mp4,3\n")
    path = write_jsonl(dataset, {"video": "b.mp4", "difficulty": 3})
    with pytest.raises(DatasetError, match=r"two manifests, dives\.csv and dives\.jsonl \(name the one"):
        read_manifest(dataset)
    assert [dive.key for dive in read_manifest(path)] == ["b.mp4"]


def test_a_collecting_reader_is_told_of_every_wrong_cell_and_reads_the_sound_rows(dataset):
    text = (
        "video,score,difficulty,dive,height_m,twist_start,entry_start,judges,split\n"
        "a.mp4,60,3,107B,3,40,70,7 7 7,train\n"
        ",95,3,999B,3,70,40,11,both\n"
        "b.mp4,60,x,107B,3,1.5,,7 7 7,train\n"
        "a.mp4,,,,,,,,\n"
        "a.mp4,60,3,107B,3,40,70,7 7 7,train,more\n"
    )
    problems = []
    dives = read_manifest(write(dataset, text), report=problems.append)
    assert [dive.key for dive in dives] == ["a.mp4"]
    found = [(one.kind, one.what.split(":")[0]) for one in problems]
    assert found == [
        ("video", "row 3, column 'video'"),
        ("dive number", "row 3, column 'dive'"),
        ("score", "row 3, column 'score'"),
        ("boundaries", "row 3, column 'entry_start'"),
        ("manifest", "row 3, column 'judges'"),
        ("split", "row 3, column 'split'"),
        ("manifest", "row 4, column 'difficulty'"),
        ("boundaries", "row 4, column 'twist_start'"),
        ("video", "row 5, column 'video'"),
        ("manifest", "row 5, column 'difficulty'"),
        ("manifest", "row 6"),
        ("video", "row 6, column 'video'"),
    ]
    assert {one.where for one in problems} == {str(dataset / "dives.csv")}
    assert [one.dive for one in problems][-1] == "a.mp4"


TABLE = [
    ["video", "score", "difficulty", "judges"],
    ["a.mp4", "82.5", "3.3", "8 8.5 8"],
    ["b.mp4", "", "3", ""],
]


def sheet(delimiter, *, comma=False, newline="\r\n", rows=TABLE):
    lines = [delimiter.join(row) + newline for row in rows]
    return "".join(lines).replace(".5", ",5").replace("3.3", "3,3") if comma else "".join(lines)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        sheet(","),
        sheet(";"),
        sheet(";", comma=True),
        sheet("\t", comma=True),
        "sep=;\r\n" + sheet(";", comma=True),
        sheet(",", newline="\n", rows=[[name.title() for name in TABLE[0]], *TABLE[1:]]),
        sheet(";", rows=[["", "", "", ""], *([*row, "", ""] for row in TABLE), [""] * 6, [" "] * 6]),
        'video,score,difficulty,judges\n"a.mp4","82,5","3,3","8 8,5 8"\nb.mp4,,3,\n',
    ],
)
def test_a_manifest_is_read_as_any_spreadsheet_writes_it(dataset, text, encoding):
    first, second = read_manifest(write(dataset, text, encoding))
    assert (first.key, first.score, first.difficulty, first.judges) == ("a.mp4", 82.5, 3.3, (8.0, 8.5, 8.0))
    assert (second.key, second.score, second.difficulty, second.judges) == ("b.mp4", None, 3.0, ())


def test_an_encoding_that_is_not_read_is_named_with_the_line_and_the_way_out(dataset):
    error = refused(dataset, "x")  # only for the name of the file
    (dataset / "dives.csv").write_bytes("video;difficulty\na.mp4;3\nMäder.mp4;3\n".encode("cp1252"))
    with pytest.raises(DatasetError) as caught:
        read_manifest(dataset)
    assert caught.value.where == error.where
    assert "line 3 is not UTF-8" in caught.value.what
    assert caught.value.hint == "it seems to be Windows-1252; save it as CSV UTF-8"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("dives.xlsx", b"PK\x03\x04", "a manifest is a .csv, .jsonl or .parquet file (save the sheet as CSV UTF-8)"),
        ("dives.csv", b"PK\x03\x04 sheet", "it is a workbook of a spreadsheet (save the sheet as CSV UTF-8)"),
        ("dives.txt", b"video", "a manifest is a .csv, .jsonl or .parquet file (name one"),
    ],
)
def test_a_file_of_another_format_says_how_to_save_it(dataset, name, content, says):
    (dataset / name).write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read_manifest(dataset / name)
    assert says in str(caught.value)


def test_a_header_without_videos_names_the_columns_that_are_there_and_the_one_meant(dataset):
    error = refused(dataset, "vidoe;score;difficulty\na.mp4;60;3\n")
    assert error.what == "no column 'video'; the columns are 'vidoe', 'score', 'difficulty'"
    assert error.hint.startswith("rename 'vidoe' to 'video'; a manifest's columns are video, score,")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_unknown_columns_are_named_and_ignored(dataset, kind, caplog):
    row = {"video": "a.mp4", "difficulty": 3, "colour": "red", "hight_m": 3}
    if kind == "csv":
        path = write(dataset, "video,difficulty,colour,hight_m\na.mp4,3,red,3\n")
    else:
        path = (write_jsonl if kind == "jsonl" else write_parquet)(dataset, row)
    (dive,) = read_manifest(path)
    assert (dive.difficulty, dive.height_m) == (3.0, None)
    said = f"{path}: unknown columns are ignored: 'colour', 'hight_m' (meant 'height_m'?)"
    assert [record.getMessage() for record in caplog.records] == [said]
    problems = []
    assert read_manifest(path, report=problems.append) == [dive]
    assert [(problem.stops, problem.kind) for problem in problems] == [(False, "manifest")]


def test_rows_of_one_video_are_told_apart_by_their_times(dataset):
    text = 'video,difficulty,start_s,end_s\na.mp4,3,,2.5\na.mp4,3,2.5,5\na.mp4,3,"5,25",\na.mp4,3,,\n'
    dives = read_manifest(write(dataset, text))
    assert [(dive.key, dive.start_s, dive.end_s) for dive in dives] == [
        ("a.mp4 [-2.5 s]", None, 2.5),
        ("a.mp4 [2.5-5 s]", 2.5, 5.0),
        ("a.mp4 [5.25- s]", 5.25, None),
        ("a.mp4", None, None),
    ]
    error = refused(dataset, text + "a.mp4,3,2.50,5.0\n")
    assert "row 6, column 'video': 'a.mp4 [2.5-5 s]' is listed twice, first in row 3" in error.what


def test_folders_may_be_written_as_windows_writes_them(dataset):
    (dataset / "final").mkdir()
    (dataset / "final" / "c.mp4").write_bytes(b"video")
    (dive,) = read_manifest(write(dataset, "video,difficulty\nfinal\\c.mp4,3\n"))
    assert dive.video == dataset / "final" / "c.mp4"
    (dataset / "odd\\name.mp4").write_bytes(b"video")
    (dive,) = read_manifest(write(dataset, "video,difficulty\nodd\\name.mp4,3\n"))
    assert dive.video == dataset / "odd\\name.mp4"


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("C:\\dives\\a.mp4", "write 'a.mp4', which lies beside the manifest"),
        ("\\\\server\\dives\\z.mp4", "write paths from the manifest's folder on"),
    ],
)
def test_an_absolute_path_of_windows_is_said_to_be_one(dataset, cell, hint):
    error = refused(dataset, f"video,difficulty\n{cell},3\n")
    assert error.what == f"row 2, column 'video': {cell!r} is a path of Windows"
    assert error.hint == hint
