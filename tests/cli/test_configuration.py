"""``docs/configuration.md`` says what the options say."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

from finecausal_cli.batch import BatchConfig
from finecausal_cli.cli.options import ResultOptions
from finecausal_cli.cli.research import EvaluationOutput
from finecausal_cli.config import flag_of, info_of
from finecausal_cli.evaluation import EvaluateOptions
from finecausal_cli.scoring import CompareOptions, ExplainOptions, ScoreOptions
from finecausal_cli.simulator import SimulateOptions
from finecausal_cli.training import PretrainOptions, ReaderOptions, TrainOptions

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text()
GROUPS = (
    BatchConfig, CompareOptions, EvaluateOptions, EvaluationOutput, ExplainOptions, PretrainOptions, ReaderOptions,
    ResultOptions, ScoreOptions, SimulateOptions, TrainOptions,
)  # fmt: skip


def test_every_key_that_differs_from_its_flag_is_listed():
    rows = [row for row in TEXT.splitlines() if row.startswith("|")]
    for group in GROUPS:
        for field in fields(group):
            info, flag = info_of(field), flag_of(field)
            if info is not None and not info.file_only and flag != "--" + field.name.replace("_", "-"):
                assert any(f"`{field.name}`" in row and f"`{flag}`" in row for row in rows), f"{group}: {field.name}"


def test_every_key_without_a_flag_is_listed_with_its_default():
    listed = {row[2]: row for row in re.findall(r"^\| (.*?) \| (`(\w+)`) \| (.*?) \| (.*?) \|$", TEXT, re.MULTILINE)}
    for group in GROUPS:
        for field in fields(group):
            info = info_of(field)
            if info is not None and info.file_only:
                assert field.default is not MISSING
                assert listed[field.name][3:] == (str(field.default), info.help)


def test_the_example_is_read(tmp_path):
    from finecausal_cli.cli.options import _Group, read_config

    path = tmp_path / "train.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1])
    values = read_config(path, [_Group.of(TrainOptions, ())])
    assert TrainOptions(**values).clip_norm == 2.0
