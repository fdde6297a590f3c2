"""The examples of docs/api.md run, and the public names read well."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python( notest)?\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.thorough
def test_the_examples_run_in_their_order(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT / "examples")
    names: dict[str, object] = {}
    for mark, code in BLOCKS:
        if not mark:
            exec(compile(code, "docs/api.md", "exec"), names)  # noqa: S102 - our own page
    printed = capsys.readouterr().out
    assert "points, execution" in printed
    assert "A minus B: +" in printed
    assert "Clip('dives/626C-10m-excellent.mp4', 96 frames of" in printed
    assert "exemplars, weights" in printed
    assert "Scorer('compact', " in repr(names["scorer"])


@pytest.mark.slow
def test_the_example_of_training_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dataset").symlink_to(ROOT / "examples" / "dataset")
    monkeypatch.chdir(tmp_path)
    (code,) = (code for mark, code in BLOCKS if mark)
    names: dict[str, object] = {}
    exec(compile(code, "docs/api.md", "exec"), names)  # noqa: S102 - our own page
    assert np.isfinite(names["evaluation"].summary.mean_absolute_error)  # type: ignore[attr-defined]


def test_every_public_name_is_in_the_table_of_all_names() -> None:
    import finecausal_cli

    table = PAGE.partition("## All names")[2]
    missing = [name for name in finecausal_cli.__all__ if f"`{name}`" not in table and name != "__version__"]
    assert missing == []
