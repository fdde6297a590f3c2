"""The page to drop videos on: who may use it, what it takes, what it gives back, and that nothing stays behind."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import jsonschema
import numpy as np
import pytest
from filelock import FileLock

from finecausal_cli.config import RuntimeConfig
from finecausal_cli.errors import OutputError
from finecausal_cli.report import ServeOptions
from finecausal_cli.report import upload_queue as queue_module
from finecausal_cli.report.output import explanation_schema
from finecausal_cli.report.server import OWN_HEADER, RequestRefusedError, UploadServer, safe_name, score_options
from finecausal_cli.report.upload_queue import PrivateFolder, UploadQueue
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.video.writer import write_video

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dives"
OURS = {OWN_HEADER: "1"}


@pytest.fixture(scope="module")
def scorer(tiny_model, make_scorer):
    """The smallest scorer there is, with real arithmetic; the dive search is the real one, in its own process."""
    return make_scorer(tiny_model, note="made up", interval={"level": 0.9, "execution_half_width": 1.5})


@contextmanager
def serving(scorer, folder, *, work=True, **options):
    with PrivateFolder(folder) as private:
        uploads = UploadQueue(RuntimeConfig(), private.path, load=lambda _: scorer)
        server = UploadServer(ServeOptions(port=0, **options), uploads, banks=["bundled"], trained_on="simulated")
        with server:
            uploads.load()
            if work:
                uploads.start()
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()
                assert uploads.stop()


@pytest.fixture
def server(scorer, tmp_path):
    """A server whose queue waits."""
    with serving(scorer, tmp_path / "serve", work=False, max_mb=1) as running:
        yield running


def ask(server, method, path, body=None, **headers):
    """Send one request as it is; return status, headers and content."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def upload(server, name, content, **fields):
    return ask(server, "POST", f"/uploads?{urlencode({'name': name, **fields})}", content, **OURS)


def files_of(server):
    return [path for path in server.uploads._folder.rglob("*") if path.is_file() and path.name != ".lock"]


def test_the_page_loads_nothing_from_elsewhere_and_forbids_it(server):
    status, headers, content = ask(server, "GET", "/")
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert b"http://" not in content
    assert b"https://" not in content
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert b"Weights trained on simulated dives only" in content


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:{port}", 200), ("127.0.0.1:{port}", 200), ("127.0.0.2:{port}", 200), ("[::1]:{port}", 200),
        ("evil.example:{port}", 421), ("evil.example", 421), ("127.0.0.1:1", 421), ("192.168.1.5:{port}", 421),
        ("127.0.0.1.evil.example:{port}", 421), ("", 421),
    ],
)  # fmt: skip
def test_a_name_that_points_here_is_refused_unless_it_is_of_this_machine(server, host, status):
    assert ask(server, "GET", "/uploads", Host=host.format(port=server.server_address[1]))[0] == status


@pytest.mark.parametrize(
    "headers",
    [{}, {**OURS, "Origin": "http://evil.example"}, {**OURS, "Origin": "null"}, {"Origin": "http://127.0.0.1:{port}"}],
)
def test_a_page_of_another_site_cannot_upload(server, headers):
    given = {name: value.format(port=server.server_address[1]) for name, value in headers.items()}
    status, _, content = ask(server, "POST", "/uploads?name=a.mp4", b"x", **given)
    assert (status, json.loads(content)["error"]) == (403, "only the page of this server may do that")
    assert ask(server, "OPTIONS", "/uploads", **given)[0] == 501  # and a browser that asks gets no permission
    assert files_of(server) == []


@pytest.mark.parametrize(
    ("fields", "content", "status", "why"),
    [
        ({"name": "a.txt"}, b"x", 415, "a.txt is not a video"),
        ({"name": ""}, b"x", 415, "not a video"),
        ({"name": "a.mp4"}, b"", 400, "empty"),
        ({"name": "a.mp4", "dive": "999Z"}, b"x", 400, "position letter"),
        ({"name": "a.mp4", "dive": "107B", "height": "x"}, b"x", 400, "'x' is not a height"),
        ({"name": "a.mp4", "height": "nan"}, b"x", 400, "1, 3, 5, 7.5 or 10"),
        ({"name": "a.mp4", "bank": "/etc"}, b"x", 400, "no exemplar bank '/etc'"),
        ({"name": "a.mp4"}, b"x" * 1_000_001, 413, "larger than 1 MB"),
    ],
)
def test_what_is_refused_says_why_and_leaves_no_file(server, fields, content, status, why):
    got, _, answer = ask(server, "POST", f"/uploads?{urlencode(fields)}", content, **OURS)
    assert got == status
    assert why in json.loads(answer)["error"]
    assert files_of(server) == []
    assert list(server.uploads._folder.glob("*/")) == []


def test_a_size_must_be_announced(server):
    status, _, _ = ask(server, "POST", "/uploads?name=a.mp4", iter([b"x"]), **OURS, Transfer_Encoding="chunked")
    assert status == 411


def test_an_upload_that_breaks_off_leaves_no_file(server):
    with socket.create_connection(server.server_address[:2]) as connection:
        head = (
            f"POST /uploads?name=a.mp4 HTTP/1.1\r\nHost: localhost\r\n{OWN_HEADER}: 1\r\nContent-Length: 9000\r\n\r\n"
        )
        connection.sendall(head.encode() + b"x" * 5000)
    until = time.monotonic() + 20
    while time.monotonic() < until and list(server.uploads._folder.glob("*/")):
        time.sleep(0.02)
    assert list(server.uploads._folder.glob("*/")) == []
    assert server.uploads.describe() == []


def test_a_full_queue_refuses_more(server, monkeypatch):
    monkeypatch.setattr(queue_module, "MOST_WAITING", 2)
    assert [upload(server, "a.mp4", b"x")[0] for _ in range(3)] == [201, 201, 503]
    assert [each["place"] for each in server.uploads.describe()] == [2, 1]


def test_what_is_removed_makes_room_and_what_is_being_received_takes_some(server, monkeypatch):
    monkeypatch.setattr(queue_module, "MOST_WAITING", 2)
    names = [json.loads(upload(server, "a.mp4", b"x")[2])["id"] for _ in range(2)]
    assert ask(server, "DELETE", f"/uploads/{names[0]}", **OURS)[0] == 200
    receiving = server.uploads.prepare("b.mp4", ScoreOptions(), None)
    assert upload(server, "c.mp4", b"x")[0] == 503
    server.uploads.abandon(receiving)
    assert not receiving.folder.exists()
    assert upload(server, "c.mp4", b"x")[0] == 201


def test_an_upload_for_which_a_bank_is_loaded_cannot_be_removed(scorer, tmp_path):
    loading, loaded = threading.Event(), threading.Event()

    def load(config):
        if config.bank == "bundled":
            loading.set()
            loaded.wait(30)
        return scorer

    uploads = UploadQueue(RuntimeConfig(), tmp_path, load=load)
    uploads.load()
    waits = uploads.prepare("a.mp4", ScoreOptions(), "bundled")
    waits.video.write_bytes(b"no video")
    uploads.add(waits)
    uploads.start()
    assert loading.wait(30)
    assert not uploads.remove(waits.id)
    assert waits.video.exists()
    loaded.set()
    assert uploads.stop()


def test_an_upload_that_waits_can_be_removed(server):
    name = json.loads(upload(server, "a.mp4", b"x")[2])["id"]
    assert ask(server, "DELETE", f"/uploads/{name}")[0] == 403
    assert ask(server, "DELETE", f"/uploads/{name}", **OURS)[0] == 200
    assert server.uploads.describe() == []
    assert files_of(server) == []
    assert ask(server, "DELETE", f"/uploads/{name}", **OURS)[0] == 404


@pytest.mark.parametrize("path", ["/x", "/results/x", "/results/../../etc/passwd", "/results/x.json", "/results/"])
def test_there_is_nothing_else_here(server, path):
    assert ask(server, "GET", path)[0] == 404


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("dive.MP4", "dive.mp4"), ("C:\\clips\\a.mov", "a.mov"), ("../../x.mkv", "x.mkv"), (".a.mp4", "a.mp4"),
        ("ü" * 200 + ".mp4", "ü" * 48 + ".mp4"), ("a\n\x1b[1m.mp4", "a[1m.mp4"),
    ],
)  # fmt: skip
def test_a_name_is_kept_without_its_folders(name, kept):
    assert safe_name(name) == kept


def test_a_form_is_read_as_the_command_line_is():
    options = score_options({"dive": "107b", "height": "7,5"})
    assert (options.dive, options.height_m) == ("107B", 7.5)
    with pytest.raises(RequestRefusedError, match="0"):
        score_options({"dive": "107B", "height": "2"})


def test_a_port_that_is_taken_is_one_line(server):
    with pytest.raises(OutputError, match=r"cannot listen.*--port 0 takes a free port"):
        UploadServer(
            ServeOptions(port=server.server_address[1]), server.uploads, banks=["bundled"], trained_on="simulated"
        )


def test_the_folder_of_a_server_that_crashed_goes_at_the_next_start_and_that_of_one_that_runs_stays(tmp_path):
    for name in ("crashed", "runs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "video.mp4").write_bytes(b"x")
    with FileLock(tmp_path / "runs" / ".lock"), PrivateFolder(tmp_path) as private:
        assert {path.name for path in tmp_path.iterdir()} == {"runs", private.path.name}
        assert private.path.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def finished(server, count, timeout_s=900):
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        shown = server.uploads.describe()
        if len([each for each in shown if each["state"] in ("done", "refused", "failed")]) >= count:
            return {each["name"]: each for each in shown}
        time.sleep(0.05)
    raise TimeoutError(server.uploads.describe())


def test_what_is_no_dive_says_so_and_its_video_goes_at_once(scorer, film, tmp_path):
    folder = tmp_path / "serve"
    with serving(scorer, folder) as server:
        upload(server, "film.mp4", film.read_bytes())
        upload(server, "text.mp4", b"no video" * 100)
        shown = finished(server, 2)
        assert {name: each["state"] for name, each in shown.items()} == {"film.mp4": "refused", "text.mp4": "failed"}
        assert "not a video" in shown["text.mp4"]["message"]
        assert json.loads(ask(server, "GET", f"/results/{shown['film.mp4']['id']}.json")[2])["source"] == "film.mp4"
        assert ask(server, "GET", f"/results/{shown['film.mp4']['id']}")[0] == 404
        assert [path.name for path in files_of(server)] == ["result.json"]
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("breaks_again")
def test_a_decoder_that_fails_at_the_excerpt_costs_one_upload(make_explanation, evidence, tmp_path, monkeypatch):
    """The dive is explained; what then decodes it again for the page hangs, or dies."""
    write_video(tmp_path / "dive.mp4", (np.full((60, 100, 3), index, np.uint8) for index in range(96)), 50)
    monkeypatch.setattr(queue_module, "TIMEOUT_S", 3)
    monkeypatch.setattr(UploadQueue, "_read_ahead", lambda *_: nullcontext())
    explained = SimpleNamespace(explain=lambda path, *_, **__: (make_explanation(text=path), evidence))
    with serving(explained, tmp_path / "serve") as server:
        for name in ("hang.mp4", "crash.mp4", "good.mp4"):
            upload(server, name, (tmp_path / "dive.mp4").read_bytes())
        shown = finished(server, 3, timeout_s=300)
        assert {name: each["state"] for name, each in shown.items()} == {
            "hang.mp4": "failed", "crash.mp4": "failed", "good.mp4": "done",
        }  # fmt: skip
        assert shown["hang.mp4"]["message"] == "Reading took longer than 3 s. (allow more time)"
        assert shown["crash.mp4"]["message"] == "The decoder crashed (signal 11)."
        assert b"data:video/mp4;base64," in ask(server, "GET", f"/results/{shown['good.mp4']['id']}")[2]
        assert sorted(path.name for path in files_of(server)) == ["result.html", "result.json"]


def test_another_bank_of_the_form_is_loaded_in_place_of_the_one_before(scorer, tmp_path):
    loaded = []
    uploads = UploadQueue(RuntimeConfig(), tmp_path, load=lambda config: loaded.append(config.bank) or scorer)
    for bank in (None, "bundled", "bundled", "mine+bundled", None):
        uploads._scorer_of(bank)
    assert loaded == [None, "bundled", "mine+bundled", None]


def test_the_oldest_results_make_room(scorer, tmp_path, monkeypatch):
    monkeypatch.setattr(queue_module, "MOST_KEPT", 2)
    with serving(scorer, tmp_path / "serve") as server:
        for number in range(4):
            upload(server, f"{number}.mp4", b"no video")
            finished(server, min(number + 1, 3))
        assert [each["name"] for each in server.uploads.describe()] == ["3.mp4", "2.mp4", "1.mp4"]


def test_no_line_of_the_list_ends_within_a_flag(server, browser):
    browser.open(server.url)
    upload = '{name: "a.mp4", state: "refused", message: "no dive: give --takeoff, --entry"}'
    kept = f"[...row({upload}).querySelectorAll('.says .whole')].map((each) => each.textContent)"
    assert browser.run(kept) == ["--takeoff", "--entry"]
    assert browser.run(f"row({upload}).querySelector('.says').textContent").endswith("give --takeoff, --entry")


def test_a_person_drops_a_video_in_chromium_and_reads_the_explanation(scorer, tmp_path, browser):
    """A real upload through the form; the same result as that of the command, and no address but the server's."""
    with serving(scorer, tmp_path / "serve") as server:
        dive = shutil.copy(EXAMPLES / "107B-10m-poor.mp4", tmp_path / "my dive.mp4")
        (tmp_path / "notes.txt").write_text("no video")
        browser.open(server.url)
        browser.run("document.getElementById('dive').value = '107b'")
        browser.run("document.getElementById('height').value = '10'")
        browser.choose_files("#files", dive, tmp_path / "notes.txt")
        browser.wait("document.querySelector('#list').textContent.includes('notes.txt is not a video')")
        browser.wait("!!document.querySelector('#list a')", timeout_s=900)
        assert "107B, 10 m: " in browser.run("document.querySelector('#list').textContent")
        address = browser.run("document.querySelector('#list a').href")
        result = json.loads(ask(server, "GET", f"{address.removeprefix(server.url.rstrip('/'))}.json")[2])
        browser.open(address)
        shown = browser.run("document.documentElement.outerHTML")
        assert "my dive.mp4" in shown
        assert str(tmp_path) not in shown
        assert all(request.startswith(server.url) for request in browser.requests)
        assert [error for error in browser.errors if "415" not in error] == []
        assert {path.name for path in files_of(server)} == {"result.html", "result.json"}
    jsonschema.validate(result, json.loads(explanation_schema()))
    assert result["assessment"]["source"] == "my dive.mp4"
    score = scorer.score(dive, score_options({"dive": "107B", "height": "10"})).score
    assert result["assessment"]["score"] == pytest.approx(score, abs=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_code_and_no_file_left(tmp_path, number, code):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "finecausal_cli", "serve", "--port", "0"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        host = run.stdout.readline().strip().removeprefix("http://").rstrip("/")
        with closing(http.client.HTTPConnection(host, timeout=300)) as connection:
            connection.request("POST", "/uploads?name=a.mp4", (EXAMPLES / "107B-10m-poor.mp4").read_bytes(), OURS)
            assert connection.getresponse().status == 201
        assert list(tmp_path.rglob(".lock"))
        run.send_signal(number)
        _, said = run.communicate(timeout=300)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == code
    assert "Traceback" not in said
    assert [path for path in tmp_path.rglob("*") if "serve" in path.parts and path.is_file()] == []
