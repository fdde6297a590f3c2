"""``finecausal score --cluster`` on two nodes, each a ``ray start`` on this machine.

Ray listens on every interface, and lets whoever reaches it run code. So the nodes live in a network namespace that has
nothing but loopback, and ask for a token besides; where there are no namespaces, these tests are skipped.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from finecausal_cli.batch import BatchConfig
from finecausal_cli.errors import FinecausalError, UsageError
from finecausal_cli.report.files import deliver_batch

DIVES = Path(__file__).resolve().parents[2] / "examples" / "dives"
ADDRESS = "127.0.0.1:6399"


def test_wrong_addresses_and_watching_are_wrong_usage(tmp_path):
    for more, says in (({"cluster": "nowhere"}, "--cluster"), ({"cluster": "auto", "watch": True}, "--watch")):
        with pytest.raises(UsageError, match=says):
            deliver_batch(BatchConfig((str(DIVES),), **more))


@pytest.mark.cluster
def test_where_nobody_answers_one_line_says_so():
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(FinecausalError, match=f"{address}: no cluster to be reached.*ray start") as caught:
            deliver_batch(BatchConfig((str(DIVES),), cluster=address))
    assert caught.value.exit_code == 1


class Nodes:
    """Two nodes of one core each, and commands beside them."""

    def __init__(self, folder: Path) -> None:
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self._env = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # else whatever runs beside the test comes first
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "80",
        }
        script = "ip link set lo up && echo up && exec sleep 1200"
        self._holder = subprocess.Popen(["unshare", "-rn", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
        self._started = [self._holder]
        if self._holder.stdout.readline() != "up\n":
            self.stop()
            pytest.skip("no network namespaces here")
        self._inside = ["nsenter", "-t", str(self._holder.pid), "-U", "-n", "--preserve-credentials"]
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
        ray += ["--object-store-memory=100000000"]
        head = ["--head", "--port=6399", "--include-dashboard=false", f"--temp-dir={folder}"]
        self.node = [self._ray([*ray, *head]), self._ray([*ray, f"--address={ADDRESS}"])]

    def _ray(self, command):
        node = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for line in node.stdout:
            if "runtime started" in line:
                return node
        raise AssertionError(f"{command} ended")

    def start(self, command, **more):
        process = subprocess.Popen([*self._inside, *command], env=self._env, text=True, start_new_session=True, **more)
        self._started.append(process)
        return process

    def score(self, *arguments):
        command = [sys.executable, "-m", "finecausal_cli", "score", *map(str, arguments)]
        return self.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def actors(self):
        """Numbers of the processes that judge: those below our own nodes, and no others."""
        psutil = pytest.importorskip("psutil")
        below = [child for node in self.node for child in psutil.Process(node.pid).children(recursive=True)]
        return [child.pid for child in below if "MapWorker" in " ".join(child.cmdline())]

    def stop(self):
        psutil = pytest.importorskip("psutil")
        ours = [psutil.Process(one.pid) for one in self._started if one.poll() is None]
        ours += [child for one in ours for child in one.children(recursive=True)]
        for process in ours:
            if process.is_running():
                process.kill()
        psutil.wait_procs([one for one in ours if one.pid not in {own.pid for own in self._started}], timeout=30)
        for own in self._started:
            own.wait(30)
            for stream in (own.stdout, own.stderr):
                if stream is not None:
                    stream.close()


@pytest.fixture(scope="module")
def nodes():
    pytest.importorskip("ray")
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("no network namespaces here")
    folder = Path(tempfile.mkdtemp(prefix="fc"))  # short: names of sockets may have no more than 107 letters
    running = Nodes(folder)
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def rows_of(path):
    """Rows by name, without what no two runs share; and no dive twice."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rows = {Path(row["source"]).name: row for row in lines}
    assert len(rows) == len(lines)
    return rows


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        for column in row.keys() - {"seconds", "assessment"}:
            value = row[column]
            same = pytest.approx(value, abs=1e-4) if isinstance(value, float) else value
            assert found[name][column] == same, (name, column)


@pytest.fixture(scope="module")
def dives(tmp_path_factory):
    """Twelve files of different content, one of them no video."""
    folder = tmp_path_factory.mktemp("dives")
    for number in range(11):
        shutil.copy(DIVES / f"107B-10m-{('good', 'poor')[number % 2]}.mp4", folder / f"{number}.mp4")
        with (folder / f"{number}.mp4").open("ab") as stream:
            stream.write(bytes([0, 0, 0, 9]) + b"free" + bytes([number]))
    (folder / "text.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def local(nodes, dives, tmp_path_factory):
    out = tmp_path_factory.mktemp("local") / "r.jsonl"
    run = nodes.score(dives, "-o", out, "--most-exemplars", "1")
    run.communicate(timeout=300)
    assert run.returncode == 1
    return rows_of(out)


@pytest.mark.cluster
def test_two_nodes_give_the_rows_of_one_machine_and_resume_like_it(nodes, dives, local, tmp_path):
    arguments = (dives, "--cluster", ADDRESS, "-o", tmp_path / "r.jsonl", "--most-exemplars", "1")
    run = nodes.score(*arguments)
    said, complained = run.communicate(timeout=600)
    assert (run.returncode, complained) == (1, ""), said
    assert_same(rows_of(tmp_path / "r.jsonl"), local)
    before = (tmp_path / "r.jsonl").read_bytes()
    again = nodes.score(*arguments)
    said, _ = again.communicate(timeout=300)
    assert (again.returncode, (tmp_path / "r.jsonl").read_bytes()) == (1, before)
    assert "Nothing to do" in said


def wait_for_rows(path, count, run):
    end = time.monotonic() + 400
    while not (path.exists() and path.read_bytes().count(b"\n") >= count) and time.monotonic() < end:
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)


@pytest.mark.cluster
def test_an_actor_that_is_killed_loses_and_doubles_nothing(nodes, dives, local, tmp_path):
    out = tmp_path / "r.jsonl"
    run = nodes.score(dives, "--cluster", ADDRESS, "-o", out, "--most-exemplars", "1")
    wait_for_rows(out, 2, run)
    victim = nodes.actors()[0]
    os.kill(victim, signal.SIGKILL)
    said, _ = run.communicate(timeout=600)
    assert run.returncode == 1, said
    assert_same(rows_of(out), local)


@pytest.mark.cluster
def test_interrupted_by_hand_the_code_is_130_and_a_second_run_does_the_rest(nodes, dives, local, tmp_path):
    out = tmp_path / "r.jsonl"
    arguments = (dives, "--cluster", ADDRESS, "-o", out, "--most-exemplars", "1")
    run = nodes.score(*arguments)
    wait_for_rows(out, 2, run)
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 130, said
    kept = rows_of(out)
    assert 2 <= len(kept) < len(local)
    rest = nodes.score(*arguments)
    rest.communicate(timeout=600)
    assert rest.returncode == 1
    assert_same(rows_of(out), local)
    assert {name: rows_of(out)[name] for name in kept} == kept
