from __future__ import annotations

import os
import subprocess
import sys

import pytest


def loaded_by(program: str) -> set[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{program}; import sys; print(*sys.modules)"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_the_clip_itself_loads_neither_a_decoder_nor_torch() -> None:
    assert not loaded_by("import finecausal_cli.video") & {"torch", "decord", "av", "PIL"}


def test_reading_a_clip_needs_no_torch_and_no_decord_until_it_is_used() -> None:
    loaded = loaded_by("import finecausal_cli.video.reader, finecausal_cli.video, finecausal_cli.video.writer")
    assert "av" in loaded
    assert not loaded & {"torch", "decord"}


@pytest.mark.parametrize("order", ["decord, torch, av", "torch, av, decord"])
def test_the_libraries_bear_each_other_in_any_order(order: str) -> None:
    pytest.importorskip("decord")
    program = f"import {order}; assert (torch.ones(3) @ torch.ones(3)).item() == 3"
    assert {"torch", "decord", "av"} <= loaded_by(program)
