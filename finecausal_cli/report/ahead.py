"""Begin to find and read a dive before torch is imported and the weights are loaded: that takes as long."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from finecausal_cli.assess.batch.inputs import MANIFEST_SUFFIXES
from finecausal_cli.assess.corrections import resolve_corrections
from finecausal_cli.assess.dive_reading import ReadAhead, viewing_of
from finecausal_cli.assess.score_options import ScoreOptions
from finecausal_cli.errors import FinecausalError
from finecausal_cli.weights.hub import SCHEME
from finecausal_cli.weights.manifest import read_manifest
from finecausal_cli.weights.registry import list_readers, resolve_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_USUAL_SQUARE: Final = 256
"""Side of the squares for the athlete reader that comes with the package; for another one the file is read again."""


@contextmanager
def reading_ahead(path: str, options: Mapping[str, Any], weights: str) -> Iterator[ReadAhead | None]:
    """Read a file ahead while a block runs.

    Args:
        path: The only dive that is asked for.
        options: Arguments of ``ScoreOptions``.
        weights: The weights that will judge.

    Yields:
        What reads; None where it is no plain video file, or something is wrong that is said better later.
    """
    ahead = _begin(path, options, weights)
    if ahead is None:
        yield None
        return
    with ahead:
        yield ahead


def _begin(path: str, options: Mapping[str, Any], weights: str) -> ReadAhead | None:
    is_file = os.path.isfile(path) and os.path.splitext(path)[1].lower() not in MANIFEST_SUFFIXES  # noqa: PTH113, PTH122
    if not is_file or weights.startswith(SCHEME) or find_spec("av") is None:
        return None
    try:
        asked = ScoreOptions(**options)
        corrections, _ = resolve_corrections(path, asked.corrections, asked.start_s, asked.end_s)
        config = read_manifest(resolve_weights(weights)).model
    except (FinecausalError, OSError, ValueError):
        return None
    viewing = viewing_of(config, _USUAL_SQUARE if list_readers() else None)
    return ReadAhead(path, asked.corrected(corrections).wanted, viewing, timeout_s=asked.timeout_s or 120.0)
