"""Simulated dives: motion, faults, judges, picture, and data sets of them. Here: the options; imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from finecausal_cli.config import OptionGroup, option

# fmt: off
DIVES = (
    "101B", "103B", "105B", "107B", "107C", "109B", "109C", "201A", "201B", "201C", "205B", "205C", "207B", "207C",
    "301B", "303C", "305B", "305C", "307C", "401B", "403B", "405B", "405C", "407B", "407C", "409C",
    "5132D", "5152B", "5154B", "5156B", "5172B", "5231D", "5233D", "5235D", "5237D", "5251B", "5253B", "5255B",
    "5331D", "5335D", "5337D", "5353B", "5355B", "612B", "6142D", "614B", "6241B", "6243D", "6245D", "626B", "626C",
    "636C",
)
# fmt: on
"""Dive numbers of a data set unless others are asked for: the 52 of FineDiving (Xu et al., CVPR 2022)."""

ALL_DIVES = "all"
"""In place of a list of dive numbers: every one that the rules list, but for flying ones."""

World = Literal["clean", "wild"]
DrawName = Literal["competition", "practice", "classic"]
LayoutName = Literal["manifest", "finediving", "bodies"]


def _split_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True)
class PlanOptions(OptionGroup):
    """What a data set is made of; `DatasetPlan` explains the fields."""

    panel: ClassVar[str] = OptionGroup.panel

    seed: int = option(0, "Random seed.")
    dives: tuple[str, ...] = option(
        DIVES, "Dive numbers to draw from, e.g. 107B,5253B, or all.", metavar="LIST", parse=_split_list
    )
    confounding: float = option(0.0, "How far the quality of a dive decides its venue, 0 to 1.", min=0, max=1)
    height_m: float | None = option(None, "Only this height in metres; any listed one by default.", flag="--height")
    venue_seed: int | None = option(None, "Show the dives of --seed in the venues of another seed.")
    entry_seed: int | None = option(None, "Give the dives of --seed the entry faults of another seed.")
    world: World = option("clean", "As broadcast from the side (clean), or as spectators film dives (wild).")
    photos: tuple[str, ...] = ()
    draw: DrawName = option(
        "competition",
        "Dives as counted in competition; easy ones more often and from every height (practice); or as this command "
        "drew them before (classic), to reproduce such data.",
        metavar="KIND",
    )
    failed: bool = option(False, "Failed dives only: those that lose their rotation and get 0.")
    varied_poses: bool = option(
        False, "Random poses in place of those of the dive: training data for the athlete reader."
    )


@dataclass(frozen=True)
class SimulateOptions(PlanOptions):
    """What ``finecausal simulate`` writes.

    Attributes:
        negatives: Kinds of clips without a dive to write instead; ``count`` of each.
    """

    count: int = option(100, "Number of dives.", min=1)
    layout: LayoutName = option(
        "manifest",
        "Videos and dives.csv (manifest), the folders and pickles of FineDiving-HM (finediving), or bodies in space "
        "without pictures (bodies).",
        flag="--format",
        metavar="LAYOUT",
    )
    backgrounds: Path | None = option(None, "Photographs to put behind the dives of --world wild.", metavar="FOLDER")
    negatives: tuple[str, ...] = option(
        (),
        "Write --count clips each of what is not a dive instead, e.g. ball,splash; all for every kind.",
        metavar="KIND,...",
        parse=_split_list,
    )
    workers: int = option(1, "Processes that render.", min=1)
    preview: bool = option(False, "Also draw a contact sheet, OUT/preview.png.")

    def plan_fields(self) -> dict[str, Any]:
        """Return what the plan of the data set is made from."""
        return {field.name: getattr(self, field.name) for field in fields(PlanOptions)}
