"""A server on loopback that speaks as much of the hub's protocol as fetching a repository takes."""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from finecausal_cli.cli import run
from finecausal_cli.cli.assets import weights_app
from finecausal_cli.errors import OutputError, UsageError, WeightsError
from finecausal_cli.model import FineCausal, ModelConfig
from finecausal_cli.weights import hub
from finecausal_cli.weights.hub import HubName, bank_folder, list_fetched, pull, resolve_hub, resolve_weights
from finecausal_cli.weights.store import load_weights, save_weights

FIRST, SECOND = "1" * 40, "2" * 40


class Hub:
    """Repository ``coach/dives`` with two commits; ``main`` is the second, ``v1`` the first."""

    def __init__(self, commits: dict[str, Path]) -> None:
        self.commits = commits
        self.revisions = {"main": SECOND, "v1": FIRST, **{commit: commit for commit in commits}}
        self.asked: list[str] = []
        self.refuses: tuple[int, str] | None = None
        hub_itself = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                hub_itself.answer(self, with_body=True)

            def do_HEAD(self) -> None:
                hub_itself.answer(self, with_body=False)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        path = request.path.partition("?")[0]
        self.asked.append(path)
        if self.refuses is not None:
            status, code = self.refuses
            return self._send(request, status, b"", {"X-Error-Code": code}, with_body=with_body)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and parts[2:4] != ["coach", "dives"]:
            return self._send(request, 404, b"", {"X-Error-Code": "RepoNotFound"}, with_body=with_body)
        if parts[:2] == ["api", "models"]:
            return self._describe(request, parts[4:], with_body=with_body)
        if parts[:3] == ["coach", "dives", "resolve"]:
            return self._file(request, parts[3], "/".join(parts[4:]), with_body=with_body)
        return self._send(request, 404, b"", {}, with_body=with_body)

    def _describe(self, request: BaseHTTPRequestHandler, parts: list[str], *, with_body: bool) -> None:
        kind, revision = parts[0], "/".join(parts[1:])
        if revision not in self.revisions:
            return self._send(request, 404, b"", {"X-Error-Code": "RevisionNotFound"}, with_body=with_body)
        commit = self.revisions[revision]
        files = [file for file in sorted(self.commits[commit].rglob("*")) if file.is_file()]
        names = [file.relative_to(self.commits[commit]).as_posix() for file in files]
        if kind == "tree":
            body: object = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": _etag(file.read_bytes())}
                for name, file in zip(names, files, strict=True)
            ]
        else:
            siblings = [{"rfilename": name} for name in names]
            body = {"id": "coach/dives", "modelId": "coach/dives", "sha": commit, "siblings": siblings, "tags": []}
        header = {"Content-Type": "application/json"}
        return self._send(request, 200, json.dumps(body).encode(), header, with_body=with_body)

    def _file(self, request: BaseHTTPRequestHandler, revision: str, name: str, *, with_body: bool) -> None:
        commit = self.revisions.get(revision)
        file = None if commit is None else self.commits[commit] / name
        if file is None or not file.is_file():
            return self._send(request, 404, b"", {"X-Error-Code": "EntryNotFound"}, with_body=with_body)
        data = file.read_bytes()
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": str(commit), "Accept-Ranges": "bytes"}
        return self._send(request, 200, data, headers, with_body=with_body)

    @staticmethod
    def _send(
        request: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str], *, with_body: bool
    ) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        if with_body:
            request.wfile.write(data)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
    commits = {}
    for commit, seed in ((FIRST, 1), (SECOND, 2)):
        commits[commit] = tmp_path / "published" / commit
        torch.manual_seed(seed)
        model = FineCausal(ModelConfig(preset="compact", width=1 / 32, shared_trunk=True, frame_size=32))
        save_weights(commits[commit], model, {"note": f"number {seed}"})
        (commits[commit] / "bank").mkdir()
        (commits[commit] / "bank" / "bank.json").write_text("{}")
        (commits[commit] / "train.py").write_text("print('not wanted')")
    running = Hub(commits)
    monkeypatch.setenv("HF_ENDPOINT", running.address)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub.platformdirs, "user_data_dir", lambda *_, **__: str(tmp_path / "home"))
    yield running
    running.close()


def test_weights_come_whole_with_their_bank_and_nothing_else(server):
    folder = pull("hf://coach/dives@v1")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "bank/bank.json",
        "config.json",
        *(path.name for path in folder.glob("*.safetensors")),
    ]
    assert load_weights(folder).digest == load_weights(server.commits[FIRST]).digest
    assert bank_folder(folder).is_dir()
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_what_was_fetched_needs_no_network_and_a_branch_stays_what_it_was(server, monkeypatch):
    first = resolve_weights("hf://coach/dives")
    assert load_weights(first).info["note"] == "number 2"
    server.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve_weights("hf://coach/dives@main") == first
    assert resolve_weights(f"hf://coach/dives@{SECOND}") == first
    monkeypatch.delenv("HF_HUB_OFFLINE")
    server.revisions["main"] = FIRST
    assert resolve_weights("hf://coach/dives") == first
    assert server.asked == []
    again = pull("hf://coach/dives")
    assert load_weights(again).info["note"] == "number 1"
    assert resolve_weights("hf://coach/dives") == again
    assert list_fetched() == {"hf://coach/dives@main": again}


def test_offline_says_what_is_missing_and_asks_nobody(server, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"hf://coach/dives@v1: not here, and the network is forbidden"):
        resolve_hub("hf://coach/dives@v1")
    with pytest.raises(UsageError, match="network"):
        pull("hf://coach/dives@v1")
    assert server.asked == []


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("hf://coach/other@v1", "no such repository on the hub"),
        ("hf://coach/dives@v9", "the repository has no revision 'v9'"),
    ],
)
def test_what_the_hub_lacks_is_named(server, asked, says):
    with pytest.raises(WeightsError) as caught:
        pull(asked)
    assert (caught.value.where, caught.value.what) == (asked, says)
    assert not [*hub.store().rglob("config.json")]


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        ((403, "GatedRepo"), "the hub asks for consent first"),
        ((401, "RepoNotFound"), "no such repository on the hub"),
        ((403, "Forbidden"), "the hub refuses"),
    ],
)
def test_a_refusal_is_one_line(server, refusal, says):
    server.refuses = refusal
    with pytest.raises(WeightsError) as caught:
        pull("hf://coach/dives@v1")
    assert caught.value.what.startswith(says)
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_not_there(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="the hub cannot be reached"):
        pull("hf://coach/dives@v1")


def test_damaged_weights_are_not_kept(server):
    shard = next(server.commits[FIRST].glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match=r"hf://coach/dives@v1: shard is damaged"):
        pull("hf://coach/dives@v1")
    (server.commits[SECOND] / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"holds no config\.json"):
        pull("hf://coach/dives")
    assert [path for path in hub.store().rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_an_interrupted_download_goes_on_where_it_was(server):
    answer = server.answer

    def cut_off(request, *, with_body):
        if request.path.endswith(".safetensors"):
            return server._send(request, 403, b"", {}, with_body=with_body)
        return answer(request, with_body=with_body)

    server.answer = cut_off
    with pytest.raises(WeightsError, match="the hub"):
        pull("hf://coach/dives@v1")
    (part,) = hub.store().rglob(f".{FIRST}.part")
    kept = part / "config.json"
    state = kept.stat()
    server.answer = answer
    folder = pull("hf://coach/dives@v1")
    assert (folder / "config.json").stat().st_mtime_ns == state.st_mtime_ns, "not fetched again"
    assert load_weights(folder).info["note"] == "number 1"
    assert not part.exists()


def test_a_full_disk_is_one_line(server, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(OutputError, match="No space left on device"):
        pull("hf://coach/dives@v1")


@pytest.mark.parametrize(
    "text", ["hf://", "hf://dives", "hf://a/b/c", "hf://a/b@", "hf://../b", "hf://a/..", "hf://a/b@../x", "hf://a b/c"]
)
def test_a_name_written_wrongly_is_wrong_usage(text):
    with pytest.raises(UsageError, match="hf://owner/repo@revision"):
        HubName.parse(text)


def test_revisions_with_slashes_have_files_of_their_own():
    name = HubName.parse("hf://coach/dives@refs/pr/3")
    assert name.revision == "refs/pr/3"
    assert name.ref_file.name == "refs--pr--3"


def test_the_command_fetches_and_lists(server):
    runner = CliRunner()
    result = runner.invoke(weights_app, ["pull", "hf://coach/dives@v1"])
    assert result.exit_code == 0
    assert load_weights(server.commits[FIRST]).digest in result.stdout
    listed = runner.invoke(weights_app, ["list"]).stdout
    assert "hf://coach/dives@v1" in listed
    assert "number 1" in listed
    assert runner.invoke(weights_app, ["verify", "hf://coach/dives@v1"]).exit_code == 0


@pytest.mark.parametrize("place", [1, 3, 4])
def test_offline_may_stand_anywhere_and_is_obeyed(server, monkeypatch, capsys, place):
    words = ["finecausal", "weights", "verify", "hf://coach/dives@v1"]
    words.insert(place, "--offline")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # put back afterwards
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "finecausal: hf://coach/dives@v1: not here, and the network is forbidden (fetch it without --offline)"
    ]
    assert server.asked == []
