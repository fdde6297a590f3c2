"""Score diving videos and explain the score (FineCausal, arXiv 2503.23911).

    from finecausal_cli import Scorer, ScoreOptions

    scorer = Scorer.load("compact")
    assessment = scorer.score("dive.mp4", ScoreOptions(dive="107B", height_m=10.0))

``docs/api.md`` shows every name in use. Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from finecausal_cli.config import __version__

if TYPE_CHECKING:
    from finecausal_cli.batch import BatchConfig
    from finecausal_cli.batch.measuring import MeasuredDive, Measurer, measure
    from finecausal_cli.batch.records import Row
    from finecausal_cli.batch.runner import score_many
    from finecausal_cli.errors import FinecausalError, RefusedError
    from finecausal_cli.evaluation import EvaluateOptions
    from finecausal_cli.evaluation.run import Evaluation, evaluate
    from finecausal_cli.model.config import PRESETS, ModelConfig
    from finecausal_cli.retrieval.bank import Bank, load_bank
    from finecausal_cli.scoring import CompareOptions, Corrections, ExplainOptions, ScoreOptions
    from finecausal_cli.scoring.athlete_track import find_dives
    from finecausal_cli.scoring.compare import compare_dives as compare
    from finecausal_cli.scoring.comparison_results import Comparison
    from finecausal_cli.scoring.dives import DiveSearch, LocatedDive
    from finecausal_cli.scoring.results import Assessment, Explanation, Unscored
    from finecausal_cli.scoring.scorer import Scorer
    from finecausal_cli.training import TrainOptions
    from finecausal_cli.training.run import train
    from finecausal_cli.video import Clip
    from finecausal_cli.video.reader import read_clip

_HOMES = {
    "Assessment": "scoring.results",
    "Bank": "retrieval.bank",
    "BatchConfig": "batch",
    "Clip": "video",
    "CompareOptions": "scoring",
    "Comparison": "scoring.comparison_results",
    "Corrections": "scoring",
    "DiveSearch": "scoring.dives",
    "EvaluateOptions": "evaluation",
    "Evaluation": "evaluation.run",
    "ExplainOptions": "scoring",
    "Explanation": "scoring.results",
    "FinecausalError": "errors",
    "LocatedDive": "scoring.dives",
    "MeasuredDive": "batch.measuring",
    "Measurer": "batch.measuring",
    "ModelConfig": "model.config",
    "PRESETS": "model.config",
    "RefusedError": "errors",
    "Row": "batch.records",
    "ScoreOptions": "scoring",
    "Scorer": "scoring.scorer",
    "TrainOptions": "training",
    "Unscored": "scoring.results",
    "compare": "scoring.compare:compare_dives",
    "evaluate": "evaluation.run",
    "find_dives": "scoring.athlete_track",
    "load_bank": "retrieval.bank",
    "measure": "batch.measuring",
    "read_clip": "video.reader",
    "score_many": "batch.runner",
    "train": "training.run",
}
"""Where each public name lives; behind a colon what it is called there."""

__all__ = [
    "PRESETS",
    "Assessment",
    "Bank",
    "BatchConfig",
    "Clip",
    "CompareOptions",
    "Comparison",
    "Corrections",
    "DiveSearch",
    "EvaluateOptions",
    "Evaluation",
    "ExplainOptions",
    "Explanation",
    "FinecausalError",
    "LocatedDive",
    "MeasuredDive",
    "Measurer",
    "ModelConfig",
    "RefusedError",
    "Row",
    "ScoreOptions",
    "Scorer",
    "TrainOptions",
    "Unscored",
    "__version__",
    "compare",
    "evaluate",
    "find_dives",
    "load_bank",
    "measure",
    "read_clip",
    "score_many",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, there = _HOMES[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
