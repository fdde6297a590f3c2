"""Measure clips that begin late or end early: ``python -m benchmarks.cut_clips DATASET... --cache DIR``.

DATASET is the output of ``finecausal simulate --world wild``. Every film is read as any film is (kept in ``--cache``);
then its track is cut as people cut clips, and judged against the bundled bank: with its dive number given, which shows
the error of the points, and without, which shows how often the number is right.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from finecausal_cli.config import DEFAULT_WEIGHTS
from finecausal_cli.data.cache import default_cache
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.errors import FinecausalError, VideoError
from finecausal_cli.evaluation.predict import spearman
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.scoring.tracks import TrackCache
from finecausal_cli.training.skeleton_calibration import encode_tracks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.athlete.track import BodyTrack
    from finecausal_cli.data import Dive

_SPLASH_SHOWN_S: Final = 0.3
"""Real time after the entry that a clip must show for its splash to count as read."""


@dataclass(frozen=True)
class Cut:
    """What a clip shows.

    Attributes:
        name: In words.
        before_s: Real time before the take-off.
        after_s: Real time after the entry.
    """

    name: str
    before_s: float = 9.0
    after_s: float = 9.0

    def __call__(self, track: BodyTrack) -> BodyTrack:
        """Return what is read of such a clip."""
        cut = track.within(-self.before_s, track.air_s + self.after_s)
        return cut if self.after_s >= _SPLASH_SHOWN_S else replace(cut, splash=None, splash_error=0.0)


CUTS: Final = (
    Cut("whole"),
    Cut("begins 0.2 s before the take-off", before_s=0.2),
    Cut("begins at the take-off", before_s=0.0),
    Cut("ends 0.2 s after the entry", after_s=0.2),
)


@dataclass(frozen=True)
class Judged:
    """How clips were judged.

    Attributes:
        true: Points of the judges.
        points: Points with the number given.
        right: Whether the likeliest number is theirs.
        in_three: Whether it is among the likeliest three.
        certainty: Of the likeliest number.
        stated: Whether that is sure enough for points.
    """

    true: list[float]
    points: list[float]
    right: list[bool]
    in_three: list[bool]
    certainty: list[float]
    stated: list[bool]

    def row(self) -> list[str]:
        """Return the figures of the table."""
        error = float(np.abs(np.array(self.points) - np.array(self.true)).mean())
        rho = spearman(self.true, self.points)
        stated = [right for right, is_stated in zip(self.right, self.stated, strict=True) if is_stated]
        shares = (f"{np.mean(values):.1%}" for values in (self.right, self.in_three, self.certainty))
        return [str(len(self.true)), f"{rho:.3f}", f"{error:.2f}", *shares, f"{sum(stated)} of {len(stated)}"]


def judge(scorer: Scorer, dives: Sequence[Dive], tracks: Sequence[BodyTrack]) -> Judged:
    """Judge dives whose tracks are read, each with its number given and without.

    Args:
        scorer: With weights that read bodies.
        dives: Judged dives of known numbers, of which the bank has exemplars.
        tracks: The same ones, as read.
    """
    judged = Judged([], [], [], [], [], [])
    encodings = encode_tracks(scorer.model, tracks, torch.device(scorer.device))
    for index, (dive, track) in enumerate(zip(dives, tracks, strict=True)):
        query = encodings.select([index])
        (given,) = scorer.vote([query], [ScoreOptions(dive=dive.number)], [track])
        (recognised,) = scorer.vote([query], [ScoreOptions()], [track])
        if isinstance(given, FinecausalError) or isinstance(recognised, FinecausalError):
            raise given if isinstance(given, FinecausalError) else recognised  # type: ignore[misc]
        assert dive.score is not None  # noqa: S101 -- judged dives alone
        assert dive.difficulty is not None  # noqa: S101 -- the same
        names = [number for number, _ in recognised[0].candidates]
        judged.true.append(dive.score)
        judged.points.append(given[1].execution * dive.difficulty)
        judged.right.append(names[:1] == [dive.number])
        judged.in_three.append(dive.number in names[:3])
        judged.certainty.append(recognised[0].candidates[0][1] if names else 0.0)
        judged.stated.append(recognised[0].is_sure)
    return judged


def main() -> None:
    """Print the figures of every cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS, help="a folder or a name; the bundled ones by default")
    options = parser.parse_args()
    console = Console(width=120)
    scorer = Scorer.load(options.weights)
    assert scorer.reader is not None  # noqa: S101 -- it comes with the package
    cache, numbers = TrackCache(options.cache, scorer.reader), {each.dive for each in scorer.bank.exemplars}
    dives, tracks = [], []
    for dataset in options.dataset:
        for dive in read_dataset(dataset):
            if dive.score is None or dive.difficulty is None or dive.number not in numbers:
                continue
            try:
                tracks.append(cache.track(dive).track)
            except VideoError as error:
                console.print(f"[dim]refused: {error}[/dim]", soft_wrap=True)
            else:
                dives.append(dive)
    table = Table(title=f"weights {scorer.weights[1]}")
    for heading in ("clip", "dives", "rho", "points off", "number", "in three", "certainty", "stated, right"):
        table.add_column(heading)
    for cut in CUTS:
        table.add_row(cut.name, *judge(scorer, dives, [cut(track) for track in tracks]).row())
    console.print(table)


if __name__ == "__main__":
    main()
