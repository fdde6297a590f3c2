import json

import numpy as np
import pytest

from finecausal_cli.video.writer import write_video


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "spring final"
    folder.mkdir()
    for k, name in enumerate("ab"):
        frames = np.random.default_rng(k).integers(0, 255, (20, 32, 48, 3), np.uint8)
        write_video(folder / f"{name}.mp4", frames, 25)
    (folder / "dives.csv").write_text("video,score,difficulty,dive\na.mp4,60,3,107B\nb.mp4,48.5,3,107B\n")
    return folder


def test_a_clean_dataset_exits_with_0_and_says_what_it_holds(finecausal, dataset):
    done = finecausal("dataset", "check", dataset)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["dives", "2 that can be read"] in [[one.strip() for one in line] for line in lines]
    assert done.stdout.splitlines()[-1] == "No problems."
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout


def test_problems_are_one_line_each_in_a_pipe_and_exit_with_1(finecausal, dataset):
    text = (dataset / "dives.csv").read_text() + "a.mp4,60,3,107B\ngone\x1b[31m.mp4,100,3,107Z\n"
    (dataset / "dives.csv").write_text(text)
    done = finecausal("dataset", "check", dataset)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[-1] == "4 problems."
    assert "dives.csv: row 4, column 'video': 'a.mp4' is listed twice, first in row 2 (one row a dive)" in lines
    assert [line for line in lines if line.endswith(")") and line[:1].isalpha() and ":" not in line] == [
        "video (2)",
        "dive number (1)",
        "score (1)",
    ]


def test_json_has_everything(finecausal, dataset):
    (dataset / "b.mp4").write_bytes((dataset / "a.mp4").read_bytes())
    done = finecausal("dataset", "check", dataset, "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["format"], found["layout"], found["clean"]) == (1, "manifest", False)
    assert found["problems"] == [
        {
            "kind": "duplicate",
            "where": str(dataset / "b.mp4"),
            "what": "the same pictures as a.mp4",
            "hint": "keep one of them",
            "dive": "b.mp4",
            "stops": False,
        }
    ]
    assert found["summary"]["scores"] == {
        "least": 48.5,
        "lower_quartile": 51.375,
        "median": 54.25,
        "upper_quartile": 57.125,
        "most": 60.0,
    }
    assert found["summary"]["numbers"] == {"107B": 2}


def test_no_dataset_is_one_line(finecausal, tmp_path):
    done = finecausal("dataset", "check", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "no dataset of a known layout" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["x", "--format", "xml"], ["x", "--nonsense"]])
def test_wrong_usage_exits_with_2(finecausal, arguments):
    done = finecausal("dataset", "check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_pattern_that_is_none_is_wrong_usage(finecausal, tmp_path):
    (tmp_path / "final_annotations_dict_with_dive_number.pkl").write_bytes(b"x")
    done = finecausal("dataset", "check", tmp_path, "--frames", "frames")
    assert done.returncode == 2
    assert "no pattern of frames" in done.stderr


def test_a_published_table_with_clips_is_imported_and_then_checked(finecausal, dataset):
    (dataset / "dives.csv").unlink()
    table = 'id,action_type,dive_score,difficulty,split,lane\na,107b,60,3.0,train,1\nb,407c,48.5,"3,4",test,2\n'
    (dataset / "labels.csv").write_text(table)
    done = finecausal("dataset", "import", dataset)
    assert (done.returncode, done.stdout.strip()) == (0, str(dataset / "dives.csv"))
    assert "columns that are not recognised: lane" in done.stderr
    assert "2 dives (train 1, test 1) of tables and clips" in done.stderr
    checked = finecausal("dataset", "check", dataset)
    assert "dive numbers   2: 107B 1, 407C 1" in checked.stdout
    assert "2 that can be read" in checked.stdout


def test_an_import_of_nothing_that_is_known_is_one_line_with_what_is_there(finecausal, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    done = finecausal("dataset", "import", tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "there is: notes.txt" in done.stderr
