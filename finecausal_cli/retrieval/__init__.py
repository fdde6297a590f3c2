"""Exemplars that dives are compared with, and how they vote. Here: the options of a bank; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from finecausal_cli.config import OptionGroup, option
from finecausal_cli.diving import MAX_MARK

OWN_BANK: Final = "mine"
"""The bank of one's own that is changed unless another one is named."""

BUNDLED: Final = "bundled"
"""The bank of the weights themselves."""

RECOGNISED: Final = "the dive number was recognised, not given: name it with --dive to be sure"
NOT_SURE: Final = "the dive number is not sure: name it with --dive"
"""Caveats of a number that counts, and of one that does not."""


@dataclass(frozen=True)
class BankOptions(OptionGroup):
    """Which dives of a dataset become exemplars."""

    panel: ClassVar[str] = OptionGroup.panel

    per_number: int = option(5, "Most exemplars of one dive number.", min=1)
    origin: str = option("", "Where the dives come from, stored with each exemplar.")


def parse_marks(text: str) -> tuple[float, ...]:
    """Read judges' marks, separated by commas or blanks.

    Raises:
        ValueError: It is no list of marks.
    """
    try:
        marks = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise ValueError(f"{text!r} is not a list of marks such as 6.5,7,7") from None
    for mark in marks:
        if not (0 <= mark <= MAX_MARK and float(2 * mark).is_integer()):
            raise ValueError(f"{mark:g} is no mark: 0 to 10 in half points")
    return marks


@dataclass(frozen=True)
class JudgedOptions(OptionGroup):
    """What judges gave a dive, and what else is known of it."""

    panel: ClassVar[str] = "What is known of it"

    score: float | None = option(None, "Final score as judged, points; or give --judges.", min=0)
    judges: tuple[float, ...] = option(
        (), "The judges' marks: 3, 5 or 7 of them.", metavar="6.5,7,7,...", parse=parse_marks
    )
    diver: str | None = option(None, "Who dives.")
    date: str | None = option(None, "When, in any form.")
