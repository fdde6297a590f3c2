import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def test_a_link_stays_and_its_target_is_replaced(old, tmp_path):
    link = tmp_path / "link.txt"
    link.symlink_to(old.name)
    write(link, "new")
    assert link.is_symlink()
    assert old.read_text() == "new"
    assert names(tmp_path) == ["link.txt", "list.txt"]


def test_a_device_stays_one_and_a_pipe_gets_what_is_written(tmp_path):
    write("/dev/null", "new")
    assert Path("/dev/null").is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        write(pipe, "new")
        assert read.result(timeout=30) == "new"
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_a_loop_of_links_is_one_line(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OutputError, match="the list cannot be written"):
        write(tmp_path / "a", "new")
