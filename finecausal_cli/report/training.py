"""Show a training run as it goes: on standard error, as a bar on a terminal and as lines in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.filesize import decimal

from finecausal_cli.report.progress import BarDisplay
from finecausal_cli.training.run import Watch

if TYPE_CHECKING:
    from finecausal_cli.data.cache import CacheSize
    from finecausal_cli.evaluation.predict import Summary
    from finecausal_cli.training.checkpoint import Progress

_LINE_EVERY = 50
"""Steps between lines where nobody watches a bar."""

_SMOOTHING = 0.95
"""Share of the running mean that the shown losses keep at each step."""


class TrainingDisplay(BarDisplay):
    """A context that draws a run; give its ``watch`` to the run.

    Args:
        quiet: Show nothing: of the processes that share a run one speaks.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._decoding = self._bar.add_task("reading clips", total=None)
        self._steps = self._bar.add_task("training", total=None, visible=False)
        self._smooth: dict[str, float] = {}
        self.watch = Watch(
            data=self._data,
            decoded=self._decoded,
            cached=self._cached,
            step=self._step,
            waited=self._waited,
            validated=self._validated,
        )

    def _data(self, train: int, val: int, steps: int) -> None:
        self._console.print(f"{train} training dives, {val} validation dives, {steps} steps")
        self._bar.update(self._decoding, total=train + val)
        self._bar.update(self._steps, total=steps)

    def _decoded(self) -> None:
        self._bar.advance(self._decoding)

    def _step(self, progress: Progress, losses: dict[str, float]) -> None:
        self._bar.update(self._decoding, visible=False)
        for name, loss in losses.items():
            self._smooth[name] = _SMOOTHING * self._smooth.get(name, loss) + (1 - _SMOOTHING) * loss
        shown = f"epoch {progress.epoch + 1}  regression {self._smooth['regression']:.3f}"
        self._bar.update(self._steps, completed=progress.step, description=shown, visible=True)
        if not self._console.is_terminal and progress.step % _LINE_EVERY == 0:
            losses_shown = "  ".join(f"{name} {loss:.4f}" for name, loss in self._smooth.items())
            self._console.print(f"epoch {progress.epoch + 1}  step {progress.step}  {losses_shown}", soft_wrap=True)

    def _cached(self, size: CacheSize) -> None:
        self._console.print(f"clip cache: {size.clips} clips, {decimal(size.bytes)}")

    def _waited(self, share: float) -> None:
        self._console.print(f"waited for data {share:.0%} of the epoch")

    def _validated(self, summary: Summary) -> None:
        self._console.print(
            f"validation: rho {summary.rho:.4f}  R-l2 {summary.relative_l2:.3f}  "
            f"AIoU@0.5 {_share(summary.aiou_50)}  AIoU@0.75 {_share(summary.aiou_75)}",
            soft_wrap=True,
        )
        self._console.print(
            f"  mean per number: rho {summary.baseline_rho:.4f}  R-l2 {summary.baseline_relative_l2:.3f}",
            soft_wrap=True,
        )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
