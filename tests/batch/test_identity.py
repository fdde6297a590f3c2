from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from finecausal_cli.batch.inputs import Item
from finecausal_cli.batch.records import RunSettings, digest_content, identify
from finecausal_cli.errors import DatasetError
from finecausal_cli.scoring import ScoreOptions

if TYPE_CHECKING:
    from pathlib import Path

SETTING = RunSettings("w", "b", "fp32")


def key(path: Path, setting: RunSettings = SETTING, **options: object) -> str:
    return identify(Item(path.name, str(path), ScoreOptions(**options)), setting).key


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than is read at once
    (tmp_path / "a.mp4").write_bytes(content)
    assert digest_content(str(tmp_path / "a.mp4")) == hashlib.sha256(content).hexdigest()


def test_the_digest_of_a_folder_is_that_of_its_pictures_and_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(b"one")
    (folder / "2.jpg").write_bytes(b"two")
    first = digest_content(str(folder))
    (folder / "notes.txt").write_text("more")
    (folder / ".3.jpg.part").write_text("more")
    assert digest_content(str(folder)) == first
    (folder / "2.jpg").rename(folder / "3.jpg")
    renamed = digest_content(str(folder))
    (folder / "3.jpg").write_bytes(b"other")
    assert len({first, renamed, digest_content(str(folder))}) == 3


def test_what_is_no_file_has_no_digest_and_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    for name in ("pipe.mp4", "loop.mp4", "gone.mp4", "a\0b.mp4"):
        assert digest_content(str(tmp_path / name)) is None


def test_the_key_follows_content_judges_and_options_but_not_the_name(tmp_path: Path) -> None:
    first, copy, other = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4"))
    for path, content in ((first, b"1"), (copy, b"1"), (other, b"2")):
        path.write_bytes(content)
    assert key(first) == key(copy)
    assert key(first, timeout_s=5.0, attention=False) == key(first)
    assert key(first, dive=" 107b ") == key(first, dive="107B")
    settings = [replace(SETTING, **{name: "x"}) for name in ("weights_digest", "bank_digest", "precision")]
    options = [{"dive": "107B"}, {"height_m": 3.0}, {"start_s": 1.0}, {"voters": 5}, {"seed": 1}, {"exemplar": "e"}]
    different = [key(first), key(other), *(key(first, each) for each in settings), *(key(first, **o) for o in options)]
    assert len(set(different)) == len(different)


def test_a_file_that_appears_gets_another_key(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    missing = identify(Item("a.mp4", str(path), ScoreOptions()), SETTING)
    assert missing.sha256 is None
    path.write_bytes(b"1")
    assert key(path) != missing.key
    assert missing.key != identify(Item("b.mp4", str(tmp_path / "b.mp4"), ScoreOptions()), SETTING).key


def test_a_job_travels_between_processes(tmp_path: Path) -> None:
    problem = DatasetError("no number", where="m.csv: row 2", hint="write one", kind="bad_option")
    job = identify(Item("a.mp4", str(tmp_path / "a.mp4"), ScoreOptions(dive="nonsense"), problem), SETTING)
    there = pickle.loads(pickle.dumps(job))  # noqa: S301 - our own
    assert (there.key, there.item.source, there.item.options) == (job.key, "a.mp4", job.item.options)
    assert (there.item.problem.kind, str(there.item.problem)) == ("bad_option", str(problem))


@pytest.mark.parametrize("options", [{}, {"dive": "107B"}])
def test_a_corrected_manifest_gets_another_key(tmp_path: Path, options: dict[str, str]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"1")
    item = Item("a.mp4", str(tmp_path / "a.mp4"), ScoreOptions(**options))
    wrong = replace(item, problem=DatasetError("column 'height_m': 'x' is not a number"))
    assert identify(item, SETTING).key != identify(wrong, SETTING).key
