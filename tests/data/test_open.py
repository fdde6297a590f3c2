import pickle

import pytest

from finecausal_cli.data.datasets import find_layout, read_dataset
from finecausal_cli.errors import DatasetError


def manifest(folder):
    (folder / "a.mp4").write_bytes(b"video")
    (folder / "dives.csv").write_text("video,difficulty\na.mp4,3\n")
    return folder


def test_a_manifest_or_its_folder(tmp_path):
    (dive,) = read_dataset(manifest(tmp_path))
    assert dive.key == "a.mp4"
    assert read_dataset(tmp_path / "dives.csv") == [dive]


@pytest.mark.parametrize(
    ("file", "layout"),
    [
        ("fine-grained_annotation_aqa.pkl", "FineDiving-HM"),
        ("final_annotations_dict_with_dive_number.pkl", "MTL-AQA"),
    ],
)
@pytest.mark.parametrize("below", ["", "Annotations"])
def test_a_layout_is_told_by_the_file_that_only_it_has(tmp_path, file, layout, below):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    (folder / file).write_bytes(pickle.dumps({}))
    found = find_layout(tmp_path)
    assert (found.name, found.labels) == (layout, folder)


def test_a_manifest_says_what_the_folder_holds(tmp_path):
    (manifest(tmp_path) / "fine-grained_annotation_aqa.pkl").write_bytes(b"")
    assert find_layout(tmp_path).name == "manifest"
    assert find_layout(tmp_path, tmp_path).name == "FineDiving-HM", "unless the annotations are named"


def test_two_editions_of_annotations_must_be_told_apart(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fine-grained_annotation_aqa.pkl").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"FineDiving-HM in new and FineDiving-HM in old \(name one folder"):
        find_layout(tmp_path)
    assert find_layout(tmp_path, tmp_path / "old").labels == tmp_path / "old"


def test_where_nothing_fits_the_error_says_what_was_looked_for(tmp_path):
    with pytest.raises(DatasetError) as caught:
        read_dataset(tmp_path)
    for name in ("dives.csv", "dives.jsonl", "dives.parquet", "fine-grained_annotation_aqa.pkl", "final_annotations"):
        assert name in caught.value.hint
    assert caught.value.where == str(tmp_path)
    with pytest.raises(DatasetError, match="gone: no such file or folder"):
        read_dataset(tmp_path / "gone")
    (tmp_path / "video.mp4").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"video\.mp4: a manifest is a \.csv, \.jsonl or \.parquet file"):
        read_dataset(tmp_path / "video.mp4")


def test_the_folder_of_another_users_annotations_may_be_closed(tmp_path, monkeypatch):
    def forbidden(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", forbidden)
    with pytest.raises(DatasetError, match="cannot be listed: Permission denied"):
        find_layout(tmp_path)
