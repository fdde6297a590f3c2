"""Show a pretraining as it goes: on standard error, as a bar on a terminal and as lines in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.pretraining.run import Watch
from finecausal_cli.pretraining.targets import SEEN
from finecausal_cli.report.progress import BarDisplay

if TYPE_CHECKING:
    from finecausal_cli.pretraining.validation import Understood

_LINE_EVERY = 50
"""Steps between lines where nobody watches a bar."""

_UNITS = ("_deg", "_s")


class PretrainingDisplay(BarDisplay):
    """A context that draws a pretraining; give its ``watch`` to it."""

    def __init__(self) -> None:
        super().__init__()
        self._reading = self._bar.add_task("reading clips", total=None)
        self._steps = self._bar.add_task("pretraining", total=None, visible=False)
        self.watch = Watch(data=self._data, decoded=self._decoded, step=self._step, examined=self._examined)

    def _data(self, train: int, val: int, steps: int) -> None:
        self._console.print(f"{train} training dives, {val} validation dives, {steps} steps")
        self._bar.update(self._reading, total=train + val)
        self._bar.update(self._steps, total=steps)

    def _decoded(self) -> None:
        self._bar.advance(self._reading)

    def _step(self, done: int, losses: dict[str, float]) -> None:
        total = sum(losses.values())
        self._bar.update(self._reading, visible=False)
        self._bar.update(self._steps, completed=done, visible=True, description=f"pretraining  loss {total:.2f}")
        if not self._console.is_terminal and done % _LINE_EVERY == 0:
            told = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            self._console.print(f"step {done}  {told}", soft_wrap=True)

    def _examined(self, found: Understood) -> None:
        self._console.print(
            f"validation: stage told right {found.stage:.1%}  foreground IoU {found.foreground_iou:.3f}", soft_wrap=True
        )
        self._console.print("  correlation with what the judges saw:")
        for stretch in dict.fromkeys(SEEN.values()):
            told = "  ".join(
                f"{_words(name)} {'-' if r is None else f'{r:.2f}'}"
                for name, r in found.seen.items()
                if SEEN[name] == stretch
            )
            self._console.print(f"  {stretch:<8} {told}", soft_wrap=True)


def _words(name: str) -> str:
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return name.replace("_", " ")
