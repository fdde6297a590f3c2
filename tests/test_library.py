"""The library as ``from finecausal_cli import ...`` gives it."""

import subprocess
import sys
from pathlib import Path

import pytest

import finecausal_cli

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_names_are_found_when_they_are_used_and_no_sooner():
    code = (
        "import sys, finecausal_cli\n"
        "assert not {'torch', 'numpy', 'pydantic', 'av'} & set(sys.modules)\n"
        "assert 'Scorer' in dir(finecausal_cli)\n"
        "from finecausal_cli import Row, Scorer\n"
        "assert 'torch' in sys.modules\n"
        "from finecausal_cli.scoring.scorer import Scorer as at_home\n"
        "assert Scorer is at_home is finecausal_cli.Scorer\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_every_name_is_there_and_no_other():
    assert all(getattr(finecausal_cli, name) is not None for name in finecausal_cli.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Judge'"):
        finecausal_cli.Judge  # noqa: B018


@pytest.mark.thorough
def test_score_many_goes_on_where_the_command_stopped(tmp_path):
    """The command's own results, read by a program: nothing is scored again."""

    from finecausal_cli import BatchConfig, ScoreOptions, Scorer, score_many
    from finecausal_cli.config import RuntimeConfig
    from finecausal_cli.report.files import deliver_batch

    dives = tmp_path / "dives"
    dives.mkdir()
    (dives / "a.mp4").write_bytes((EXAMPLES / "dives" / "107B-10m-good.mp4").read_bytes())
    (dives / "b.mp4").write_text("no video")
    results = tmp_path / "r.jsonl"
    runtime = RuntimeConfig(device="cpu")
    config = BatchConfig((str(dives),), ScoreOptions(voters=2), runtime, output=str(results))
    assert deliver_batch(config) == 1
    seen = []
    scorer = Scorer.load(device="cpu")
    rows = score_many(scorer, dives, ScoreOptions(voters=2), results=results, on_row=seen.append)
    assert seen == []
    assert [(Path(row.source).name, row.status) for row in rows] == [("a.mp4", "scored"), ("b.mp4", "failed")]
    alone = scorer.score(str(dives / "a.mp4"), ScoreOptions(voters=2))
    assert rows[0].score == pytest.approx(alone.score, abs=1e-4)
