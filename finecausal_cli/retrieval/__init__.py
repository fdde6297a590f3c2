"""Exemplars that dives are compared with, and how they vote. Here: the options of a bank; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from finecausal_cli.config import OptionGroup, option


@dataclass(frozen=True)
class BankOptions(OptionGroup):
    """Which dives of a dataset become exemplars."""

    panel: ClassVar[str] = OptionGroup.panel

    per_number: int = option(5, "Most exemplars of one dive number.", min=1)
    origin: str = option("", "Where the dives come from, stored with each exemplar.")
