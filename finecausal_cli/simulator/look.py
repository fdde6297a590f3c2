"""What an athlete looks like: skin, hair or cap, and the suit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

    from finecausal_cli.simulator.body import Athlete

Colour = tuple[int, int, int]

_SKIN: tuple[Colour, ...] = (
    (240, 200, 174),
    (230, 184, 150),
    (214, 164, 128),
    (190, 138, 102),
    (160, 110, 78),
    (124, 84, 60),
    (96, 66, 50),
)
_HAIR: tuple[Colour, ...] = ((26, 22, 20), (52, 34, 24), (96, 66, 40), (176, 136, 82), (40, 40, 44), (120, 56, 30))
_SUIT: tuple[Colour, ...] = (
    (18, 24, 60),
    (160, 18, 32),
    (14, 14, 16),
    (20, 90, 160),
    (20, 110, 70),
    (206, 170, 30),
    (90, 30, 110),
    (220, 220, 224),
    (210, 80, 24),
    (20, 130, 140),
)
_CAPPED = 0.12
"""Share of athletes with a cap; most divers wear none."""

Suit = Literal["one-piece", "briefs", "jammers"]
_COVERED: dict[Suit, frozenset[str]] = {
    "one-piece": frozenset({"hips", "belly", "waist", "chest"}),
    "briefs": frozenset({"hips"}),
    "jammers": frozenset({"hips", "shorts"}),
}


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of an athlete, RGB, and what is worn.

    Attributes:
        skin: Of the body.
        hair: Of hair or cap.
        suit: Of the suit.
        cut: The suit's form.
        bun: Whether long hair is tied behind the head.
    """

    skin: Colour
    hair: Colour
    suit: Colour
    cut: Suit
    bun: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, athlete: Athlete) -> Look:
        """Draw skin, hair or cap, and a suit."""
        woman = athlete.sex == "female"
        capped, jammers, tied = rng.random(3) < (_CAPPED, 0.25, 0.75)
        skin = _SKIN[int(rng.integers(len(_SKIN)))]
        hair = _HAIR[int(rng.integers(len(_HAIR)))]
        suit, cap = (_SUIT[int(k)] for k in rng.integers(len(_SUIT), size=2))
        man: Suit = "jammers" if jammers else "briefs"
        return cls(skin, cap if capped else hair, suit, "one-piece" if woman else man, bool(woman and tied))

    def of(self, material: str) -> Colour:
        """Return the colour of a material."""
        if material in ("hair", "bun"):
            return self.hair
        return self.suit if material in _COVERED[self.cut] else self.skin

    def shows(self, material: str) -> bool:
        """Whether there is anything of this material to see."""
        return {"bun": self.bun, "shorts": self.cut == "jammers"}.get(material, True)
