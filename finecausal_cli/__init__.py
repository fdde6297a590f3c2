"""Score diving videos and explain the score (FineCausal, arXiv 2503.23911).

    from finecausal_cli import Scorer, ScoreOptions

    scorer = Scorer.load("compact")
    verdict = scorer.score("dive.mp4", ScoreOptions(dive="107B", height_m=10.0))

``score_many`` scores a folder and gives a row a dive; ``find_dives`` tells where in a video the dives are. Nothing
heavy is imported before one of these names is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from finecausal_cli.config import __version__

if TYPE_CHECKING:
    from finecausal_cli.batch import BatchConfig
    from finecausal_cli.batch.records import Row
    from finecausal_cli.batch.runner import score_many
    from finecausal_cli.errors import FinecausalError, RefusedError
    from finecausal_cli.scoring import Corrections, ScoreOptions
    from finecausal_cli.scoring.athlete_track import find_dives
    from finecausal_cli.scoring.dives import DiveSearch, LocatedDive
    from finecausal_cli.scoring.results import Assessment
    from finecausal_cli.scoring.scorer import Scorer


__all__ = [
    "Assessment",
    "BatchConfig",
    "Corrections",
    "DiveSearch",
    "FinecausalError",
    "LocatedDive",
    "RefusedError",
    "Row",
    "ScoreOptions",
    "Scorer",
    "__version__",
    "find_dives",
    "score_many",
]

_HOMES = {
    "Assessment": "finecausal_cli.scoring.results",
    "Corrections": "finecausal_cli.scoring",
    "DiveSearch": "finecausal_cli.scoring.dives",
    "FinecausalError": "finecausal_cli.errors",
    "LocatedDive": "finecausal_cli.scoring.dives",
    "BatchConfig": "finecausal_cli.batch",
    "RefusedError": "finecausal_cli.errors",
    "Row": "finecausal_cli.batch.records",
    "ScoreOptions": "finecausal_cli.scoring",
    "Scorer": "finecausal_cli.scoring.scorer",
    "find_dives": "finecausal_cli.scoring.athlete_track",
    "score_many": "finecausal_cli.batch.runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
