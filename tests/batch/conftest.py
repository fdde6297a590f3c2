from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from finecausal_cli.batch.inputs import Item
from finecausal_cli.batch.records import Row, RunSettings, identify
from finecausal_cli.scoring import ScoreOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finecausal_cli.batch.records import Job
    from finecausal_cli.scoring.scorer import Scorer

SETTING = RunSettings("w" * 64, "b" * 64, "fp32")


@pytest.fixture(scope="session")
def scorer(tiny_model, make_scorer) -> Scorer:
    """The smallest scorer there is, with real arithmetic."""
    return make_scorer(tiny_model, note="made up", interval={"level": 0.9, "execution_half_width": 1.5})


@pytest.fixture
def dives(tmp_path: Path, film: Path) -> Path:
    """A folder of three videos, of which one is none."""
    folder = tmp_path / "dives"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(film, folder / name)
    # Another content, which players ignore: an empty box after the last one.
    with (folder / "b.mp4").open("ab") as stream:
        stream.write(b"\0\0\0\x08free")
    (folder / "text.mp4").write_text("no video")
    return folder


@pytest.fixture
def make_job() -> Callable[..., Job]:
    """Identify a path as ``finecausal score PATH --force`` would: the film shows no dive."""

    def make(path: Path | str, **options: object) -> Job:
        return identify(Item(str(path), str(path), ScoreOptions(attention=False, force=True, **options)), SETTING)

    return make


@pytest.fixture
def make_row() -> Callable[..., Row]:
    """Make the row of a dive that was never looked at."""

    def make(source: str = "a.mp4", score: float | None = 60.0, *, key: str = "k", **more: object) -> Row:
        if score is None:
            status = {"status": "failed", "error_kind": "not_a_video", "error": "no video"}
        else:
            status = {"status": "scored", "score": score}
        return Row(**{"source": source, "key": key, "version": "0", **status, **more})

    return make
