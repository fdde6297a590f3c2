"""Published datasets become one manifest; what a layout holds beyond what is known is named."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from finecausal_cli.data import Problem, group_problems
from finecausal_cli.data.datasets import check_dataset, read_dataset
from finecausal_cli.data.importing import import_datasets
from finecausal_cli.data.manifest import read_manifest
from finecausal_cli.errors import DatasetError
from finecausal_cli.report.assets import print_problems
from finecausal_cli.report.console import open_console
from finecausal_cli.video.writer import write_mask_video

FRAMES = 20


def row(index, **more):
    return {
        "competition": "01",
        "index": index,
        "action_type": "407c",
        "dive_score": 60.5,
        "difficulty": 3.2,
        "judge_scores": [6.5, 7.0, 6.5],
        "steps_transit_frames": [4, 14],
        **more,
    }


def frames(index):
    for number in range(FRAMES):
        picture = io.BytesIO()
        Image.fromarray(np.full((32, 48, 3), 10 * number + index, np.uint8)).save(picture, "PNG")
        yield f"{number:05d}.png", picture.getvalue()


@pytest.fixture
def hub(tmp_path):
    """Three tables, one a split and each of another format; two clips in frames.zip and one as FFV1."""
    root = tmp_path / "FineDiving"
    (root / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row(1), row(2)]), root / "data" / "train-00000-of-00001.parquet")
    with (root / "data" / "validation.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, row(3))
        writer.writeheader()
        writer.writerow(row(3))
    (root / "data" / "test.jsonl").write_text(json.dumps(row(4, weather="rain")) + "\n")
    with zipfile.ZipFile(root / "frames.zip", "w") as archive:
        for index in (1, 2):
            for name, content in frames(index):
                archive.writestr(f"frames/01/{index}/{name}", content)
        archive.writestr("../../evil/5/00000.png", next(frames(5))[1])
    (root / "videos" / "01").mkdir(parents=True)
    write_mask_video(root / "videos" / "01" / "3.mkv", np.ones((FRAMES, 32, 48), np.uint8), 25)
    return root


def test_tables_with_clips_in_an_archive_and_as_videos_become_one_manifest(hub):
    imported = import_datasets([hub], hub / "dives.csv")
    assert (imported.dives, imported.splits) == (3, {"train": 2, "val": 1, "test": 0, "": 0})
    dives = read_manifest(hub)
    assert [dive.video.relative_to(hub).as_posix() for dive in dives] == [
        "frames/01/1",
        "frames/01/2",
        "videos/01/3.mkv",
    ]
    first = dives[0]
    assert (first.number, first.score, first.difficulty, first.judges) == ("407C", 60.5, 3.2, (6.5, 7.0, 6.5))
    assert (first.twist_start, first.entry_start, first.split) == (4, 14, "train")
    assert len(list(first.video.iterdir())) == FRAMES
    assert [problem.kind for problem in check_dataset(hub).problems if problem.stops] == []


def test_what_is_not_recognised_is_named(hub):
    said = [problem.what for problem in import_datasets([hub], hub / "dives.csv").problems]
    assert "columns that are not recognised: weather" in said
    assert "'01/4': no clip of this name is here" in said


def test_a_second_import_reads_the_dataset_and_not_the_manifest_of_the_first(hub):
    import_datasets([hub], hub / "dives.csv")
    before = (hub / "dives.csv").read_bytes()
    import_datasets([hub], hub / "dives.csv")
    assert (hub / "dives.csv").read_bytes() == before


def test_nothing_of_an_archive_is_written_outside_of_its_folder(hub, tmp_path):
    (hub / "data" / "test.jsonl").write_text(json.dumps(row(5, competition="evil")) + "\n")
    import_datasets([hub], hub / "dives.csv")
    assert (hub / "frames" / "evil" / "5" / "00000.png").is_file()
    assert not list(tmp_path.glob("evil"))


def test_a_folder_without_labels_is_refused_with_what_is_there(tmp_path):
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(DatasetError, match=r"columns such as action_type; there is: readme.txt"):
        import_datasets([tmp_path], tmp_path / "dives.csv")


def test_finediving_hm_says_the_same_through_its_manifest(finediving):
    published = read_dataset(finediving.root)
    import_datasets([finediving.root], finediving.root / "dives.csv")
    imported = read_manifest(finediving.root / "dives.csv")
    assert len(imported) == len(published) == 5
    for ours, theirs in zip(imported, published, strict=True):
        for name in ("score", "difficulty", "number", "height_m", "twist_start", "entry_start", "judges", "split"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert (ours.video.resolve(), ours.mask.resolve()) == (theirs.video.resolve(), theirs.mask.resolve())


def test_two_datasets_become_one_manifest(hub, finediving, tmp_path):
    imported = import_datasets([hub, finediving.root], tmp_path / "dives.csv")
    assert imported.dives == 8
    assert len(read_manifest(tmp_path / "dives.csv")) == 8


@pytest.mark.parametrize("move", [("FineDiving", "x/FineDiving"), ("FineDiving", "FineDiving2/FineDiving")])
def test_frames_one_folder_level_off_are_found_and_named(finediving, move):
    there, here = move
    (finediving.root / here).parent.mkdir(parents=True)
    shutil.move(finediving.root / there, finediving.root / here)
    said = []
    assert len(read_dataset(finediving.root, report=said.append)) == 5
    assert [problem.what for problem in said] == [f"FineDiving is read from {here}"]


def test_a_dataset_without_its_frames_is_one_line_and_not_one_a_dive(finediving):
    shutil.rmtree(finediving.root / "FineDiving")
    said = []
    with pytest.raises(DatasetError, match=r"no folder FineDiving with the frames .* there is: Annotations, Fine"):
        read_dataset(finediving.root, report=said.append)
    assert said == []


def problems(count):
    return [
        Problem("video", "dives.csv", f"row {n}, column 'video': 'clips/{n}.mp4' does not exist", dive=str(n))
        for n in range(count)
    ]


def test_three_thousand_problems_of_one_kind_are_one_line_with_three_examples_and_a_count(tmp_path):
    out = io.StringIO()
    other = Problem("video", "dives.csv", "row 9, column 'end_s': 3 is not after start_s 4")
    print_problems([*problems(3000), other], tmp_path, open_console(out))
    lines = out.getvalue().splitlines()
    assert len(lines) == 4  # heading, the kind, the other one, a blank
    assert lines[1].startswith("dives.csv: 3000 times, for example: row 0, column 'video': 'clips/0.mp4'")
    assert lines[1].count("does not exist") == 3
    assert lines[1].endswith("and 2997 more")
    out.truncate(0)
    print_problems(problems(5), tmp_path, open_console(out), every=True)
    assert out.getvalue().count("does not exist") == 5


def test_problems_are_of_one_kind_where_only_names_and_numbers_differ():
    groups = group_problems([*problems(2), Problem("video", "a", "row 1, column 'video': empty"), *problems(1)])
    assert [len(group) for group in groups] == [3, 1]


@pytest.mark.parametrize("output", ["dives.csv", "elsewhere.csv"])
def test_a_manifest_is_not_imported_into_another(tmp_path, output):
    manifest = tmp_path / "dives.csv"
    manifest.write_text("video,score,dive,mask\na.mp4,60,107B,masks/a.mkv\n")
    for source in (tmp_path, manifest):
        with pytest.raises(DatasetError, match=r"dives.csv: this is a manifest already \(dataset check reads it"):
            import_datasets([source], tmp_path / output)
    assert not (tmp_path / "elsewhere.csv").exists()
    assert "masks" in manifest.read_text()
