"""The network: tensors in, numbers out. Nothing here knows of files.

Shapes in this package use one legend: B pairs (or clips), F sampled frames (96), S snippets (9), D features
(1024 at width 1.0), T tokens of a stage (12), G stages (3), V voters, N graph nodes (36). In every pair
axis of length 2, index 0 is the query and index 1 the exemplar.

Attributes of modules are tensor names in files of weights, and fields of `ModelConfig` keys of ``config.json``: a
published format. The backbone is therefore ``video_trunk``, ``parser.trunk`` and ``shared_trunk`` there.

The names below load on first use, so that reading a configuration costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finecausal_cli.model.config import PRESETS, STAGE_WEIGHTS, STAGES, ModelConfig
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import Encoding, PairOutput, Regression

__all__ = ["PRESETS", "STAGES", "STAGE_WEIGHTS", "Encoding", "FineCausal", "ModelConfig", "PairOutput", "Regression"]

_HOMES = {
    "PRESETS": "config",
    "STAGES": "config",
    "STAGE_WEIGHTS": "config",
    "ModelConfig": "config",
    "FineCausal": "finecausal",
    "Encoding": "outputs",
    "PairOutput": "outputs",
    "Regression": "outputs",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
