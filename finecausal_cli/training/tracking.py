"""Curves of a run for TensorBoard, and for whatever tracker else the user names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finecausal_cli.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from finecausal_cli.training.checkpoint import Progress
    from finecausal_cli.training.options import TrainOptions

BOARD_NAME = "tensorboard"

_PROJECT = "finecausal"


class Curves:
    """Curves over the optimiser steps.

    Args:
        folder: The run's folder; TensorBoard reads ``tensorboard`` in it.
        options: The run; its ``trackers`` are fed too.
        first: Step to go on from; what was drawn beyond it is forgotten.

    Raises:
        TrainingError: A tracker is unknown or not installed.
    """

    def __init__(self, folder: Path, options: TrainOptions, *, first: int) -> None:
        self._trackers = _open_trackers(options.trackers, folder, options)
        # Costs a quarter of a second, and a process that only computes does not need it.
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(folder / BOARD_NAME), purge_step=first + 1 if first else None)

    def step(self, progress: Progress, losses: Mapping[str, float], waiting_share: float) -> None:
        """Draw the losses of a step, and the share of time that went by waiting for data."""
        curves = {f"training/{name}": value for name, value in losses.items()}
        self._draw({**curves, "time/waiting_for_data": waiting_share}, progress.step)

    def validation(self, progress: Progress, figures: Mapping[str, float | int | None]) -> None:
        """Draw the figures of a validation; those that are not numbers are left out."""
        known = {f"validation/{name}": float(value) for name, value in figures.items() if value is not None}
        self._draw(known, progress.step)

    def close(self) -> None:
        """Write what is left."""
        self._board.close()
        for tracker in self._trackers:
            tracker.finish()

    def _draw(self, curves: Mapping[str, float], step: int) -> None:
        for name, value in curves.items():
            self._board.add_scalar(name, value, step)
        for tracker in self._trackers:
            tracker.log(dict(curves), step=step)


def _open_trackers(names: Sequence[str], folder: Path, options: TrainOptions) -> list[Any]:  # accelerate has no types
    """Start the named trackers, those of accelerate."""
    if not names:
        return []
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    available = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise TrainingError(f"no tracker {name!r}", where="--track", hint=f"accelerate knows {known}")
        if name not in available:
            raise TrainingError(f"{name} is not installed", where="--track", hint=f"pip install {name}")
    told = {
        name: value if isinstance(value, int | float | str) else str(value)
        for name, value in options.model_dump().items()
    }
    trackers = []
    for name in names:
        kind = LOGGER_TYPE_TO_CLASS[name]
        tracker = kind(_PROJECT, str(folder)) if kind.requires_logging_directory else kind(_PROJECT)
        tracker.start()
        tracker.store_init_configuration(told)
        trackers.append(tracker)
    return trackers
