import subprocess
import sys

import pytest

from finecausal_cli.atomic import atomic_write
from finecausal_cli.errors import OutputError

resource = pytest.importorskip("resource")  # not on Windows

KILLED = """
import os, sys
from pathlib import Path
from finecausal_cli.atomic import atomic_write
with atomic_write(sys.argv[1], "the list") as part:
    part.write_text("half of the new")
    os._exit(9)
"""


def write(path, text, stop=None):
    with atomic_write(path, "the list") as part:
        part.write_text(text)
        if stop is not None:
            raise stop


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("old")
    return path


def test_the_file_appears_at_the_end_with_its_folders_and_nothing_else(tmp_path):
    path = tmp_path / "a" / "b" / "list.txt"
    with atomic_write(path, "the list") as part:
        part.write_text("new")
        assert not path.exists()
        assert part.parent == path.parent  # a rename is only one step within one file system
    assert path.read_text() == "new"
    assert names(path.parent) == ["list.txt"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_what_stops_the_writing_leaves_the_old_file_and_no_other(old, stop):
    with pytest.raises(stop):
        write(old, "half", stop)
    assert old.read_text() == "old"
    assert names(old.parent) == ["list.txt"]


def test_a_killed_writer_leaves_the_old_file(old):
    assert subprocess.run([sys.executable, "-c", KILLED, str(old)], check=False).returncode == 9
    assert old.read_text() == "old"
    write(old, "new")
    assert old.read_text() == "new"


def test_a_file_system_that_takes_no_more_is_one_clear_error(old):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match=r"list\.txt: the list cannot be written: File too large \(check"):
            write(old, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert old.read_text() == "old"
    assert names(old.parent) == ["list.txt"]


def test_a_folder_that_is_a_file_is_refused(old):
    with pytest.raises(OutputError, match="the list cannot be written"):
        write(old / "list.txt", "new")


def test_a_block_that_writes_nothing_makes_no_file(tmp_path):
    with pytest.raises(OutputError), atomic_write(tmp_path / "list.txt", "the list"):
        pass
    assert names(tmp_path) == []
