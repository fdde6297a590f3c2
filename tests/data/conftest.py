from pathlib import Path

import numpy as np
import pytest

from finecausal_cli.data.dive import Dive


def _dive(index: int, number: str | None = "107B", **facts) -> Dive:
    given = {"video": Path(f"{index:03d}.mp4"), "score": 40.0 + index % 37, "difficulty": 3.0, **facts}
    return Dive(key=f"{index:03d}.mp4", number=number, **given)


@pytest.fixture(scope="session")
def make_dive():
    """Make dive number ``index`` of a dataset."""
    return _dive


@pytest.fixture
def rng():
    return np.random.default_rng(20)
