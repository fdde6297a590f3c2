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

from finecausal_cli.version import __version__

if TYPE_CHECKING:
    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.athlete_track import find_dives
    from finecausal_cli.assess.batch.many import score_many
    from finecausal_cli.assess.batch.pipeline import PipelineOptions
    from finecausal_cli.assess.batch.row import Row
    from finecausal_cli.assess.corrections import Corrections
    from finecausal_cli.assess.dives import DiveSearch, LocatedDive
    from finecausal_cli.assess.score_options import ScoreOptions
    from finecausal_cli.assess.scorer import Scorer
    from finecausal_cli.errors import FinecausalError, RefusedError


__all__ = [
    "Assessment",
    "Corrections",
    "DiveSearch",
    "FinecausalError",
    "LocatedDive",
    "PipelineOptions",
    "RefusedError",
    "Row",
    "ScoreOptions",
    "Scorer",
    "__version__",
    "find_dives",
    "score_many",
]

_HOMES = {
    "Assessment": "finecausal_cli.assess.assessment",
    "Corrections": "finecausal_cli.assess.corrections",
    "DiveSearch": "finecausal_cli.assess.dives",
    "FinecausalError": "finecausal_cli.errors",
    "LocatedDive": "finecausal_cli.assess.dives",
    "PipelineOptions": "finecausal_cli.assess.batch.pipeline",
    "RefusedError": "finecausal_cli.errors",
    "Row": "finecausal_cli.assess.batch.row",
    "ScoreOptions": "finecausal_cli.assess.score_options",
    "Scorer": "finecausal_cli.assess.scorer",
    "find_dives": "finecausal_cli.assess.athlete_track",
    "score_many": "finecausal_cli.assess.batch.many",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
