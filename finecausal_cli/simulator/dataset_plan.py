"""What a data set is made of: which dives are drawn at which heights, and how far their venues follow from them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from finecausal_cli.diving.difficulty import heights_for
from finecausal_cli.diving.number import DiveNumber, parse_dive_number
from finecausal_cli.errors import UsageError
from finecausal_cli.simulator.dive import SimulatedDive, simulate_dive
from finecausal_cli.simulator.faults import STAGE_FAULTS, draw_faults, draw_quality
from finecausal_cli.simulator.poses import varied
from finecausal_cli.simulator.render import Setting
from finecausal_cli.simulator.timing import draw_lead
from finecausal_cli.simulator.venue import STYLES
from finecausal_cli.simulator.wild import WildSetting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

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

_COMPETITION_HEIGHTS_M = (3.0, 10.0)
"""Heights at which international competitions, and so the clips of FineDiving, are held."""

_TRAINING_HEIGHT_SHARE = 0.1
"""How often a dive is drawn at another height, relative to a competition's."""

_COMMON_DIFFICULTY = 3.2
"""Difficulty from which a dive number is as common as any; easier ones are rarer, for competitors choose hard dives."""

_LEAST_SHARE = 0.12

_OPTIONAL_SEEDS = ("venue_seed", "entry_seed")

World = Literal["clean", "wild"]

_PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")

_EXECUTION_QUANTILES = (14.5, 17.4, 18.6, 20.0, 20.9, 21.6, 22.6, 23.4, 24.1, 25.5)
"""Execution that 5, 15, ... 95 % of 1,000 simulated dives stay below."""


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What a data set is made of; every dive follows from it and an index.

    Attributes:
        seed: Seed of the whole data set.
        dives: Dive numbers to draw from; the harder, the more often.
        confounding: 0..1, share of dives whose venue follows from their quality.
        height_m: The only height, or None for any height at which a number is listed.
        venue_seed: Seed of the venues; None for that of the dives. The same dives elsewhere: a shift.
        entry_seed: Seed of the faults of the entry; None for that of the dives. The same dives with other entries.
        world: How the dives are seen: as broadcast from the side, or as people film them.
        photos: Paths of photographs that may stand behind them.
        varied_poses: Whether athletes take other poses than their dive has; marks are those of the dive all the same.
    """

    seed: int
    dives: tuple[str, ...] = DIVES
    confounding: float = 0.0
    height_m: float | None = None
    venue_seed: int | None = None
    entry_seed: int | None = None
    world: World = "clean"
    photos: tuple[str, ...] = ()
    varied_poses: bool = False

    def __post_init__(self) -> None:
        if not self.dives:
            raise UsageError("no dive number to simulate", where="dives")
        if not 0 <= self.confounding <= 1:
            raise UsageError(f"confounding is {self.confounding}", where="confounding", hint="it is 0 to 1")
        for text in self.dives:
            self.heights(parse_dive_number(text))

    def heights(self, dive: DiveNumber) -> list[float]:
        """Return the heights the dive may be drawn at.

        Raises:
            UsageError: When there is none.
        """
        listed = [h for h in heights_for(dive) if self.height_m in (None, h)]
        if not listed:
            at = "any height" if self.height_m is None else f"{self.height_m:g} m"
            raise UsageError(f"{dive} is not listed at {at}", where="dives")
        return listed

    def dive(self, index: int) -> SimulatedDive:
        """Simulate dive ``index``."""
        simulated = self._listed_dive(index)
        if not self.varied_poses:
            return simulated
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index, 14)))
        motion = simulated.motion
        return replace(simulated, motion=replace(motion, pose=varied(rng, motion.times, motion.pose)))

    def _listed_dive(self, index: int) -> SimulatedDive:
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, index, 4)))
        numbers = [parse_dive_number(text) for text in self.dives]
        number = numbers[_pick(rng, [self._commonness(dive) for dive in numbers])]
        heights = self.heights(number)
        shares = [1.0 if h in _COMPETITION_HEIGHTS_M else _TRAINING_HEIGHT_SHARE for h in heights]
        height_m = heights[_pick(rng, shares)]
        more_s = self._part(index)[1:]
        drawn = simulate_dive(number, height_m, (self.seed, index), more_s=more_s)
        if self.entry_seed is None:
            return drawn
        other = np.random.default_rng(np.random.SeedSequence((self.entry_seed, index, 6)))
        redrawn = draw_faults(other, number, draw_quality(other))
        entry = {name: getattr(redrawn, name) for name in STAGE_FAULTS["entry"]}
        return simulate_dive(number, height_m, (self.seed, index), replace(drawn.faults, **entry), more_s)

    def _part(self, index: int) -> tuple[str, float, float]:
        """Return which part of dive ``index`` is shown, and how much more than its clip before and after."""
        if self.world == "clean":
            return "plain", 0.0, 0.0
        return draw_lead(np.random.default_rng(np.random.SeedSequence((self._settings_seed, index, 9))))

    def _commonness(self, dive: DiveNumber) -> float:
        """Return how often a number is drawn, relative to the hard ones."""
        hardest = max(heights_for(dive)[height] for height in self.heights(dive))
        return max(min(hardest / _COMMON_DIFFICULTY, 1.0) ** 3, _LEAST_SHARE)

    def setting(self, index: int, simulated: SimulatedDive) -> Setting:
        """Draw the venue of dive ``index``, tied to quality as far as the plan confounds them."""
        return Setting.draw((self._settings_seed, index), self._style(index, simulated))

    def wild_setting(self, index: int, simulated: SimulatedDive) -> WildSetting:
        """Draw how dive ``index`` is filmed; the style of a venue is confounded as in ``setting``."""
        part, style = self._part(index)[0], self._style(index, simulated)
        shown = simulated.motion, simulated.duration_s
        return WildSetting.draw((self._settings_seed, index), shown, part, self.photos, style)

    @property
    def _settings_seed(self) -> int:
        return self.seed if self.venue_seed is None else self.venue_seed

    def _style(self, index: int, simulated: SimulatedDive) -> int | None:
        rng = np.random.default_rng(np.random.SeedSequence((self._settings_seed, index, 5)))
        return confounded_style(simulated) if rng.random() < self.confounding else None

    def stamp(self) -> dict[str, Any]:
        """Return the plan as plain data; seeds nobody asked for are not in it, nor is a clean world."""
        stamp = {name: value for name, value in asdict(self).items() if not (name in _OPTIONAL_SEEDS and value is None)}
        photos = stamp.pop("photos")
        if not stamp["varied_poses"]:
            del stamp["varied_poses"]
        if stamp["world"] == "clean":
            del stamp["world"]
        else:
            names = "\n".join(Path(photo).name for photo in photos)
            stamp["photos"] = [len(photos), hashlib.sha256(names.encode()).hexdigest()[:16]]
        return stamp


def find_photos(folder: str | PathLike[str]) -> tuple[str, ...]:
    """Return the pictures below a folder, by name.

    Raises:
        UsageError: When there is none.
    """
    found = sorted(str(path) for path in Path(folder).rglob("*") if path.suffix.lower() in _PHOTO_ENDINGS)
    if not found:
        raise UsageError(f"no picture in {folder}", where="backgrounds", hint="name a folder with JPEG or PNG files")
    return tuple(found)


def _pick(rng: np.random.Generator, shares: Sequence[float]) -> int:
    """Draw an index with these relative frequencies."""
    edges = np.cumsum(shares)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))


def confounded_style(simulated: SimulatedDive) -> int:
    """Return the venue that confounding gives to a dive: the better the execution, the later in the list."""
    shares = np.linspace(0.05, 0.95, len(_EXECUTION_QUANTILES))
    cuts = np.interp(np.arange(1, len(STYLES)) / len(STYLES), shares, _EXECUTION_QUANTILES)
    return int(np.searchsorted(cuts, simulated.execution))


def plan_dataset(seed: int, *, dives: Sequence[str] = DIVES, **options: Any) -> DatasetPlan:
    """Return the plan for dive numbers in any spelling; ``options`` are further fields of the plan.

    Raises:
        UsageError: When the options make no sense.
    """
    return DatasetPlan(seed, tuple(str(parse_dive_number(text)) for text in dives), **options)
