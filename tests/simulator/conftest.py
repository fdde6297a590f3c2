from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import cv2
import numpy as np
import pytest

from finecausal_cli.diving import parse_dive_number
from finecausal_cli.simulator.athlete import Faults
from finecausal_cli.simulator.dive import SimulatedDive, simulate_dive
from finecausal_cli.simulator.recording import DatasetPlan

Simulate = Callable[..., SimulatedDive]

ATHLETE_SEED = (1, 2)


@lru_cache(maxsize=256)
def _simulated(number: str, height_m: float, faults: Faults, seed: tuple[int, ...]) -> SimulatedDive:
    return simulate_dive(parse_dive_number(number), height_m, seed, faults)


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    """A dive of one athlete with exactly the named faults; simulated once a session."""

    def call(number: str, height_m: float, seed: tuple[int, ...] = ATHLETE_SEED, **faults: float) -> SimulatedDive:
        return _simulated(number, height_m, Faults(**faults), seed)

    return call


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """In this folder alone: whatever tests come next in this process have the settings they would have alone."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with np.errstate(all="raise", under="ignore"):
        yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="session")
def plan() -> DatasetPlan:
    return DatasetPlan(seed=17)


@pytest.fixture(scope="session")
def sample(plan: DatasetPlan) -> list[SimulatedDive]:
    """The first dives of ``plan``."""
    return [plan.dive(index) for index in range(120)]
