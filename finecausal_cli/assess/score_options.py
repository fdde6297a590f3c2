"""What a caller may say about a dive that is to be scored."""

from __future__ import annotations

from dataclasses import dataclass, replace

from finecausal_cli.assess.corrections import Corrections, Wanted, parse_athlete
from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How to score one dive. Every field may stay as it is.

    Attributes:
        exemplar: Identifier of the one exemplar to compare with.
        dive: Dive number, e.g. ``107B``.
        height_m: Height of the board or platform, metres.
        difficulty: Degree of difficulty; wins over every other source.
        voters: Most exemplars to compare with.
        start_s: Where the dive starts in the source, seconds.
        end_s: Where it ends, seconds.
        attention: Tell where the model looked.
        seed: Seed of the choice among exemplars of one number.
        timeout_s: Most seconds that reading the clip may take without any progress, in a process that can be killed;
            None sets no limit.
        takeoff_s: When the athlete leaves the board, seconds of the source, where the search is to be corrected.
        entry_s: When the athlete first touches the water.
        athlete: Who the athlete is: ``X,Y`` or ``X,Y,S`` (a point on them, pixels, and when), ``left`` or ``right``.
        all_dives: Score every dive of the source, not the best one alone.
        force: Score what would be refused, too.
    """

    exemplar: str | None = None
    dive: str | None = None
    height_m: float | None = None
    difficulty: float | None = None
    voters: int = 10
    start_s: float | None = None
    end_s: float | None = None
    attention: bool = True
    seed: int = 0
    timeout_s: float | None = None
    takeoff_s: float | None = None
    entry_s: float | None = None
    athlete: str | None = None
    all_dives: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if self.voters < 1:
            raise UsageError(f"{self.voters} voters", where="--voters", hint="1 or more")
        if self.difficulty is not None and not 0 < self.difficulty < 10:
            raise UsageError(f"difficulty {self.difficulty:g}", where="--difficulty", hint="real ones run from 1 to 5")
        if self.exemplar is not None and self.voters != type(self)().voters and self.voters != 1:
            raise UsageError("--exemplar names one voter and --voters asks for more", where="--voters")
        if self.all_dives and self.corrections:
            hint = "leave out --all-dives, or give the part with --start and --end"
            raise UsageError("a correction is of one dive, and --all-dives asks for many", hint=hint)

    @property
    def corrections(self) -> Corrections:
        """What the caller says of the dive.

        Raises:
            UsageError: The times or the athlete make no sense.
        """
        return Corrections(self.takeoff_s, self.entry_s, None if self.athlete is None else parse_athlete(self.athlete))

    def corrected(self, corrections: Corrections) -> ScoreOptions:
        """Return the same with what is known of the dive."""
        return replace(
            self,
            takeoff_s=corrections.takeoff_s,
            entry_s=corrections.entry_s,
            athlete=corrections.athlete_text,
        )

    @property
    def wanted(self) -> Wanted:
        """Which dive of a file these options ask for, were it only one."""
        return Wanted(self.start_s, self.end_s, self.takeoff_s, self.entry_s, self.athlete, force=self.force)

    def with_canonical_number(self) -> ScoreOptions:
        """Return the same with the dive number as it is written in the rules.

        Raises:
            UsageError: It is no dive number.
        """
        return self if self.dive is None else replace(self, dive=str(parse_dive_number(self.dive)))
