"""What is decoded once more for people: the same in a process as here, and a decoder that fails then ends alone."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from finecausal_cli.errors import FinecausalError, VideoError
from finecausal_cli.video.pictures import run_task, sampled_like, write_excerpt
from finecausal_cli.video.reader import read_clip
from finecausal_cli.video.worker import WorkerProcess
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finecausal_cli.video import Clip
    from finecausal_cli.video.pictures import Excerpt

MODULES = ("finecausal_cli.video.pictures", "finecausal_cli.scoring.dive_reading")
"""Whose processes know how to do it."""


@pytest.fixture
def clip(numbered: Callable[..., Path]) -> Clip:
    return read_clip(numbered(40))


@pytest.mark.parametrize(("asked", "short"), [(64, 64), (120, 120), (360, 120)])
def test_pictures_are_never_larger_than_the_source(tmp_path: Path, asked: int, short: int) -> None:
    path = tmp_path / "dive.mp4"
    write_video(path, np.zeros((20, 120, 200, 3), np.uint8), 25)
    assert min(sampled_like(path, read_clip(path), asked).shape[1:3]) == short


@pytest.mark.parametrize("module", MODULES)
def test_a_process_gives_the_same_pictures_and_the_same_file(module: str, clip: Clip, tmp_path: Path) -> None:
    def excerpt(name: str, **how: object) -> tuple[Excerpt, bytes]:
        made = write_excerpt(tmp_path / name, clip.source, 0.2, 1.0, **how)
        return made, (tmp_path / name).read_bytes()

    here, file = excerpt("here.mp4")
    with WorkerProcess(module) as process:
        again = {"timeout_s": 60, "process": process}
        assert np.array_equal(sampled_like(clip.source, clip, 64, **again), sampled_like(clip.source, clip, 64))
        there, same = excerpt("there.mp4", **again)
    assert same == file
    assert np.array_equal(there.times_s, here.times_s)
    assert (there.first, there.size, there.aspect) == (here.first, here.size, here.aspect)
    assert here.first == 5
    assert len(here.times_s) == 21


def test_errors_cross_over_in_all_their_parts(clip: Clip, tmp_path: Path) -> None:
    gone = tmp_path / "gone.mp4"
    errors = []
    for limit_s in (None, 60):
        for ask in (
            lambda how: sampled_like(gone, clip, 64, **how),
            lambda how: write_excerpt(tmp_path / "x.mp4", gone, **how),
            lambda how: write_excerpt(tmp_path / "x.mp4", clip.source, 3.0, 2.0, **how),
        ):
            with pytest.raises(FinecausalError) as caught:
                ask({"timeout_s": limit_s})
            errors.append((type(caught.value), str(caught.value), caught.value.kind))
    assert errors[:3] == errors[3:]
    assert [kind for _, _, kind in errors[:3]] == ["missing", "missing", "bad_option"]


def test_the_time_limit_is_counted_anew_at_every_frame(clip: Clip, tmp_path: Path) -> None:
    excerpt = {"task": "excerpt", "target": str(tmp_path / "x.mp4"), "start_s": None, "end_s": None}
    for options in (excerpt, {"task": "pictures", "frames": list(range(40)), "short_side": 64}):
        told: list[float] = []
        run_task(clip.source, options, told.append)
        assert told == [count / 40 for count in range(1, 41)]


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.usefixtures("breaks_again")
@pytest.mark.parametrize("is_given", [True, False])
def test_a_decoder_that_hangs_or_crashes_the_second_time_ends_alone(is_given: bool, clip: Clip, tmp_path: Path) -> None:
    hangs, crashes = (shutil.copy(clip.source, tmp_path / name) for name in ("hang.mp4", "crash.mp4"))
    kinds = []
    with WorkerProcess(MODULES[0]) as given:
        process = given if is_given else None
        for path in (hangs, crashes):
            limit_s = 1 if path == hangs else 60
            with pytest.raises(VideoError, match=r"longer than 1 s|signal 11") as caught:
                sampled_like(path, clip, 64, timeout_s=limit_s, process=process)
            kinds.append((caught.value.kind, caught.value.where))
            with pytest.raises(VideoError, match=r"longer than 1 s|signal 11") as caught:
                write_excerpt(tmp_path / "excerpt.mp4", path, timeout_s=limit_s, process=process)
            kinds.append((caught.value.kind, caught.value.where))
        assert sampled_like(clip.source, clip, 64, timeout_s=60, process=process).shape[0] == 96
    assert kinds == [("timeout", str(hangs))] * 2 + [("crashed", str(crashes))] * 2
    assert not (tmp_path / "excerpt.mp4").exists()
