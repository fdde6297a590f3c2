"""Upload many videos to ``finecausal serve``, some broken and some too large, and watch its memory and its files.

    python -m benchmarks.serve                       # 200 uploads, 20 broken, 5 too large
    python -m benchmarks.serve --uploads 40 --clip dive.mp4

The server is the command itself, in a process of its own. The good uploads are one clip under different names, every
other one with its dive number. Prints resident memory of the server and of its reading process over the uploads, and
ends with 1 if an upload has another end than it should, memory grows by more than a tenth after the first quarter, or a
file is left behind after Ctrl-C.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from finecausal_cli.report.server import OWN_HEADER

CLIP = Path(__file__).resolve().parent.parent / "examples" / "dives" / "107B-10m-poor.mp4"
MOST_MB = 5
GROWTH = 1.1
"""Largest ratio of the mean memory of the last quarter to that of the second one."""

EXPECTED = {"good": ("done",), "broken": ("failed", "refused"), "large": ("413",)}


class Client:
    """Talks to the server as the page does."""

    def __init__(self, address: str) -> None:
        self._host = address.removeprefix("http://").rstrip("/")

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        """Send a request; return status and content."""
        connection = http.client.HTTPConnection(self._host, timeout=600)
        try:
            connection.request(method, path, body, {OWN_HEADER: "1"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def finish(self, upload: str) -> str:
        """Wait until an upload is finished; return its state."""
        while True:
            _, content = self.ask("GET", "/uploads")
            uploads = content["uploads"]
            state = next(each["state"] for each in uploads if each["id"] == upload)
            if state in ("done", "refused", "failed"):
                return str(state)
            time.sleep(0.2)


def resident_mb(pid: int) -> tuple[float, float]:
    """Return the resident memory of a process and of its children, MB (Linux)."""

    def of(process: int) -> float:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1000
        return 0.0

    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return of(pid), sum(of(int(child)) for child in children)


def body_of(kind: str, clip: bytes, rng: random.Random) -> bytes:
    """Return what is uploaded: the clip, a broken one, or more than is taken."""
    if kind == "good":
        return clip
    if kind == "large":
        return bytes(MOST_MB * 10**6 + 1)
    cut = clip[: rng.randrange(100, len(clip) // 2)]
    return rng.choice([cut, rng.randbytes(20_000), b"no video" * 500])


def run(uploads: int, clip: Path, folder: Path) -> int:
    """Run the server and the uploads; return the exit code."""
    rng, content = random.Random(0), clip.read_bytes()  # noqa: S311 - a benchmark
    broken, large = round(uploads * 0.1), round(uploads * 0.025)
    kinds = ["broken"] * broken + ["large"] * large + ["good"] * (uploads - broken - large)
    rng.shuffle(kinds)
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-m", "finecausal_cli", "serve", "--port", "0", "--max-mb", str(MOST_MB)]
    memory: list[float] = []
    ends: Counter[tuple[str, str]] = Counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        address = "" if server.stdout is None else server.stdout.readline().strip()
        client, started = Client(address), time.monotonic()
        for number, kind in enumerate(kinds, start=1):
            fields = "&dive=107B&height=10" if number % 2 else ""
            path = f"/uploads?name={quote(f'{kind}-{number}.mp4')}{fields}"
            status, answer = client.ask("POST", path, body_of(kind, content, rng))
            ends[kind, client.finish(str(answer["id"])) if status == 201 else str(status)] += 1
            own, child = resident_mb(server.pid)
            memory.append(own + child)
            if number % max(1, uploads // 20) == 0:
                spent = time.monotonic() - started
                print(f"{number:4d} uploads  {own:7.0f} MB  reading {child:6.0f} MB  {spent:6.0f} s", flush=True)  # noqa: T201
        server.send_signal(signal.SIGINT)
        code = server.wait(60)
    left = [path for path in folder.rglob("*") if path.is_file() and "serve" in path.parts]
    quarter = max(1, uploads // 4)
    second, last = memory[quarter : 2 * quarter], memory[-quarter:]
    growth = (sum(last) / len(last)) / (sum(second) / len(second))
    print(f"ends {dict(ends)}; exit code {code}; memory grew by {growth - 1:+.1%}; files left {len(left)}")  # noqa: T201
    is_right = all(end in EXPECTED[kind] for kind, end in ends)
    return 0 if is_right and code == 130 and growth <= GROWTH and not left else 1


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--clip", type=Path, default=CLIP)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(run(chosen.uploads, chosen.clip, Path(folder)))


if __name__ == "__main__":
    main()
