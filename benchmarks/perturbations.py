"""Measure what a score listens to: ``python -m benchmarks.perturbations DATASET --weights W --limit N [--json F]``.

DATASET is a simulated data set (``dives.csv`` with ``twist_start`` and ``entry_start``), above all one of ``simulate
--world wild``, or a folder of clips with ``labels.json`` (take-off, entry, dive, height_m). Each dive is scored as its
whole file is, then with changes of the picture, which should not matter, then with its flight or splash replaced, which
should cost points or be refused. Dive number and height are given where they are known, so that points compare.

Changed files are written at the frame rate of the original; files of variable rate are left out. Prints, for changes of
the picture: mean absolute and largest change in points, and how many are refused; for flights taken away: how many are
refused, and the points lost with ``--force``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from finecausal_cli.atomic import atomic_write
from finecausal_cli.config import DEFAULT_WEIGHTS
from finecausal_cli.data.manifest import find_manifest, read_manifest
from finecausal_cli.errors import DatasetError, RefusedError, VideoError
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.results import Unscored
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.video.reader import open_footage
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Frames = list[NDArray[np.uint8]]
    Change = Callable[["Film", "Film", np.random.Generator], Frames]

CRF = 14
"""Constant rate factor of the files that are written: no loss that anybody sees."""

COARSE_CRF = 38
"""The same of the change ``codec``."""

BAR = 0.12
"""Height of each black bar, as a share of the picture's."""

BRIGHTER = 1.3
STANDING_S = 2.0
STANDING_GRAIN = 2.0
"""Standard deviation of the grain of a held frame, of 255."""

SHAKE_PX = 2
SHAKE_GRAIN = 5.0
PARTS = 6
"""Parts that a shuffled flight is cut into."""

LOST = 10.0
"""Points by which a score must at least fall to count as lower."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A dive whose flight is known.

    Attributes:
        name: Its file's name.
        path: The file.
        takeoff: First frame in flight.
        entry: First frame at or after the contact with the water.
        options: What is known of it: number, height, difficulty.
    """

    name: str
    path: Path
    takeoff: int
    entry: int
    options: ScoreOptions


@dataclass(frozen=True, slots=True)
class Film:
    """The pictures of a file, uint8 [height, width, 3], RGB; see ``Subject`` for take-off and entry."""

    frames: Frames
    fps: float
    sample_aspect: float
    takeoff: int
    entry: int

    @property
    def flight(self) -> Frames:
        """Pictures from the take-off up to the entry."""
        return self.frames[self.takeoff : self.entry]

    def with_flight(self, flight: Frames) -> Frames:
        """Return the pictures of the whole film with another flight."""
        return [*self.frames[: self.takeoff], *flight, *self.frames[self.entry :]]


@dataclass(frozen=True, slots=True)
class Result:
    """What is said of a file.

    Attributes:
        score: Points, by force if need be; None where even that gives none.
        refused: Why there are no points without force; None where there are.
    """

    score: float | None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A dive as it is, and changed."""

    name: str
    score: float
    changed: dict[str, Result] = field(default_factory=dict)


# The changes: each takes a film, another film, and a random generator, and returns the pictures of a whole film.


def mirrored(film: Film, _: Film, __: np.random.Generator) -> Frames:
    """Swap left and right."""
    return [frame[:, ::-1] for frame in film.frames]


def with_bars(film: Film, _: Film, __: np.random.Generator) -> Frames:
    """Add black bars above and below."""
    bar = round(BAR * film.frames[0].shape[0])
    return [np.pad(frame, ((bar, bar), (0, 0), (0, 0))) for frame in film.frames]


def grey(film: Film, _: Film, __: np.random.Generator) -> Frames:
    """Take the colour away."""
    return [
        np.asarray(cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
        for frame in film.frames
    ]


def brighter(film: Film, _: Film, __: np.random.Generator) -> Frames:
    """Multiply all values, up to white."""
    return [np.minimum(frame * BRIGHTER, 255).round().astype(np.uint8) for frame in film.frames]


def half_size(film: Film, _: Film, __: np.random.Generator) -> Frames:
    """Halve both sides."""
    height, width = film.frames[0].shape[:2]
    return [_resized(frame, (height // 2, width // 2)) for frame in film.frames]


def standing_before(film: Film, _: Film, rng: np.random.Generator) -> Frames:
    """Hold the first picture for a while, with fresh grain in each frame."""
    count = round(STANDING_S * film.fps)
    return [*(_grained(film.frames[0], STANDING_GRAIN, rng) for _ in range(count)), *film.frames]


def unchanged(film: Film, _: Film, __: np.random.Generator) -> Frames:
    """Change nothing: what writing the file anew costs."""
    return film.frames


def frozen(film: Film, _: Film, __: np.random.Generator) -> Frames:
    """Hold the first picture of the flight."""
    return film.with_flight(film.flight[:1] * len(film.flight))


def frozen_shaken(film: Film, _: Film, rng: np.random.Generator) -> Frames:
    """Hold the first picture of the flight as a hand holds a camera, with fresh grain."""
    first = film.flight[0]
    shifts = rng.integers(-SHAKE_PX, SHAKE_PX + 1, (len(film.flight), 2)).tolist()
    return film.with_flight([_grained(np.roll(first, shift, (0, 1)), SHAKE_GRAIN, rng) for shift in shifts])


def shuffled(film: Film, _: Film, rng: np.random.Generator) -> Frames:
    """Cut the flight into parts and put them into another order."""
    parts = np.array_split(np.arange(len(film.flight)), PARTS)
    order = rng.permutation(PARTS)
    while (order == np.arange(PARTS)).all():
        order = rng.permutation(PARTS)
    return film.with_flight([film.flight[index] for part in order for index in parts[part].tolist()])


def foreign_flight(film: Film, other: Film, _: np.random.Generator) -> Frames:
    """Put another dive's flight in the place of this one's, at the same length and size."""
    rows = np.linspace(0, len(other.flight) - 1, len(film.flight)).round().astype(int).tolist()
    size = film.frames[0].shape[:2]
    return film.with_flight([_resized(other.flight[row], size) for row in rows])


def foreign_splash(film: Film, other: Film, _: np.random.Generator) -> Frames:
    """Put everything from another dive's entry on in the place of this one's, at its own pace."""
    splash = other.frames[other.entry :]
    count, size = len(film.frames) - film.entry, film.frames[0].shape[:2]
    rows = np.minimum((np.arange(count) * other.fps / film.fps).round().astype(int), len(splash) - 1).tolist()
    return [*film.frames[: film.entry], *(_resized(splash[row], size) for row in rows)]


def _resized(frame: NDArray[np.uint8], size: Sequence[int]) -> NDArray[np.uint8]:
    height, width = size
    shrinks = height <= frame.shape[0] and width <= frame.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (width, height), interpolation=how), np.uint8)


def _grained(frame: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    grain = rng.normal(0, strength, frame.shape)
    return np.clip(frame + grain, 0, 255).round().astype(np.uint8)


KEPT: dict[str, Change] = {
    "written anew": unchanged,
    "mirror": mirrored,
    "bars": with_bars,
    "grey": grey,
    "brighter": brighter,
    "codec": unchanged,
    "half size": half_size,
    "2 s before": standing_before,
}
"""Changes of the picture that leave the dive as it is."""

TAKEN: dict[str, Change] = {
    "flight frozen": frozen,
    "frozen, shaken": frozen_shaken,
    "flight shuffled": shuffled,
    "another's flight": foreign_flight,
    "another's splash": foreign_splash,
}
"""Changes that leave less than the dive."""


# Which dives, and how they are read.


def subjects_of(folder: Path) -> list[Subject]:
    """Return the dives of a folder whose flight is known.

    Raises:
        DatasetError: There are none.
    """
    labels = folder / "labels.json"
    if find_manifest(folder) is None and labels.exists():
        found = [
            Subject(
                name,
                folder / name,
                label["takeoff"],
                label["entry"],
                ScoreOptions(dive=label.get("dive"), height_m=label.get("height_m")),
            )
            for name, label in json.loads(labels.read_text()).items()
            if label.get("takeoff") is not None and label.get("entry") is not None
        ]
    else:
        found = [
            Subject(
                dive.video.name,
                dive.video,
                dive.twist_start,
                dive.entry_start,
                ScoreOptions(dive=dive.number, height_m=dive.height_m, difficulty=dive.difficulty),
            )
            for dive in read_manifest(folder)
            if dive.twist_start is not None and dive.entry_start is not None
        ]
    if not found:
        raise DatasetError("no dive with a known take-off and entry", where=folder, hint="twist_start and entry_start")
    return found


def read_film(subject: Subject) -> Film | str:
    """Read all pictures of a file; return why not, if it cannot be used."""
    footage = open_footage(subject.path)
    if not footage.is_even:
        return "its frame rate varies"
    if not 0 < subject.takeoff <= subject.entry - PARTS or subject.entry >= len(footage):
        return "its flight is not wholly in the file"
    return Film(
        list(footage.frames()),
        footage.info.fps,
        footage.info.upright_sample_aspect,
        subject.takeoff,
        subject.entry,
    )


def other_of(subjects: Sequence[Subject], index: int) -> Iterator[Subject]:
    """Yield the dives of another number than that of one, the next in order first."""
    number = subjects[index].options.dive
    for other in (*subjects[index + 1 :], *subjects[:index]):
        if number is None or other.options.dive != number:
            yield other


def ask(scorer: Scorer, path: Path, options: ScoreOptions) -> Result:
    """Score a file once, by force, which also tells whether it would have been refused.

    Force changes nothing where there is a whole dive; where there is none, the result says why it was needed.
    """
    try:
        (found,) = scorer.assess(path, replace(options, force=True, attention=False))
    except (RefusedError, VideoError) as error:
        return Result(None, str(error.kind))
    if isinstance(found, Unscored):
        return Result(None, str(found.reason))
    return Result(found.score, found.forced)


def measure(
    scorer: Scorer,
    subjects: Sequence[Subject],
    changes: Sequence[str],
    *,
    limit: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Measured]:
    """Score dives as they are, and changed.

    Args:
        scorer: Loaded once for all of them.
        subjects: The dives.
        changes: Names in ``KEPT`` and ``TAKEN``.
        limit: Stop after so many dives that are scored as they are.
        seed: Random seed of the changes; every dive has random numbers of its own.
        say: Told of every file, one line each.

    Yields:
        One for each dive that is scored as it is.
    """
    done = 0
    with tempfile.TemporaryDirectory(prefix="perturbations-") as folder:
        for index, subject in enumerate(subjects):
            if limit is not None and done >= limit:
                return
            film = read_film(subject)
            if isinstance(film, str):
                say(f"{subject.name}: left out, {film}")
                continue
            base = ask(scorer, subject.path, subject.options)
            if base.score is None or base.refused is not None:
                say(f"{subject.name}: left out, no points as it is: {base.refused or 'its number is not known'}")
                continue
            other = next(
                (read for each in other_of(subjects, index) if isinstance(read := read_film(each), Film)), None
            )
            measured = Measured(subject.name, base.score)
            done += 1
            say(f"{done}. {subject.name}: {base.score:.1f} points as it is")
            for name in changes:
                if other is None and name.startswith("another's"):
                    continue
                path = Path(folder) / "changed.mp4"
                rng = np.random.default_rng([seed, index, *name.encode()])
                pictures = (KEPT | TAKEN)[name](film, other or film, rng)
                crf = COARSE_CRF if name == "codec" else CRF
                write_video(path, pictures, film.fps, crf=crf, sample_aspect=film.sample_aspect)
                result = measured.changed[name] = ask(scorer, path, subject.options)
                say(f"{done}. {subject.name}: {name} {_in_words(result, base.score)}")
            yield measured


def _in_words(result: Result, base: float) -> str:
    change = "no points" if result.score is None else f"{result.score - base:+.2f}"
    return change if result.refused is None else f"{change}, refused: {result.refused}"


# Figures over all dives.


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one change over all dives.

    Attributes:
        count: Dives so changed.
        refused: How many of them are refused.
        mean: Mean absolute change in points, without force; NaN where all are refused.
        largest: The change of the largest absolute value, with its sign.
        judged: Dives with points, by force if need be.
        lost: Mean of the points that these lose by the change; NaN where none has points.
        least_lost: Points that the one loses that loses least; negative where it gains.
        noticed: Dives that are refused without force, or lose ``LOST`` points.
    """

    count: int
    refused: int
    mean: float
    largest: float
    judged: int
    lost: float
    least_lost: float
    noticed: int


def figures(results: Sequence[Measured], name: str) -> Figures:
    """Return the figures of one change."""
    pairs = [(measured.score, measured.changed[name]) for measured in results if name in measured.changed]
    moved = [each.score - base for base, each in pairs if each.score is not None and each.refused is None]
    lost = [base - each.score for base, each in pairs if each.score is not None]
    nothing = float("nan")
    return Figures(
        count=len(pairs),
        refused=sum(each.refused is not None for _, each in pairs),
        mean=float(np.mean(np.abs(moved))) if moved else nothing,
        largest=max(moved, key=abs, default=nothing),
        judged=len(lost),
        lost=float(np.mean(lost)) if lost else nothing,
        least_lost=min(lost, default=nothing),
        noticed=sum(
            each.refused is not None or (each.score is not None and base - each.score >= LOST) for base, each in pairs
        ),
    )


def tables(results: Sequence[Measured], title: str) -> tuple[Table, Table]:
    """Return the table of the pictures changed, and that of the flights taken away."""
    kept = Table("picture changed", "mean change", "largest", "refused", title=title)
    taken = Table(
        "dive taken away", "refused", "forced: points", "mean lost", "least lost", f"refused or {LOST:g} lower"
    )
    for name in KEPT:
        row = figures(results, name)
        if row.count:
            kept.add_row(name, _number(row.mean), _number(row.largest, "+"), f"{row.refused} of {row.count}")
    for name in TAKEN:
        row = figures(results, name)
        if row.count:
            judged = f"{row.judged} of {row.count}"
            lost = _number(row.lost, "+"), _number(row.least_lost, "+")
            taken.add_row(name, f"{row.refused} of {row.count}", judged, *lost, f"{row.noticed} of {row.count}")
    return kept, taken


def _number(value: float, sign: str = "") -> str:
    return "-" if np.isnan(value) else format(value, f"{sign}.2f")


def write_json(path: Path, scorer: Scorer, results: Sequence[Measured]) -> None:
    """Write everything that was measured."""
    name, digest = scorer.weights
    content: dict[str, Any] = {
        "weights": name,
        "weights_digest": digest,
        "bank_digest": scorer.bank.digest,
        "dives": [asdict(measured) for measured in results],
        "figures": {
            name: {key: None if value != value else value for key, value in asdict(figures(results, name)).items()}
            for name in (*KEPT, *TAKEN)
            if any(name in measured.changed for measured in results)
        },
    }
    with atomic_write(path, "The figures") as part:
        part.write_text(json.dumps(content, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perturbations", description=__doc__)
    parser.add_argument("dataset", type=Path, help="a folder with dives.csv, or with labels.json")
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", type=int, help="stop after so many dives that are scored as they are")
    parser.add_argument("--changes", nargs="+", choices=(*KEPT, *TAKEN), default=(*KEPT, *TAKEN), metavar="CHANGE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write what was measured, dive by dive, as it goes")
    args = parser.parse_args(arguments)
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    scorer = Scorer.load(args.weights, device=args.device)
    subjects = subjects_of(args.dataset)
    results: list[Measured] = []
    say = lambda line: progress.print(line, markup=False)  # noqa: E731
    for measured in measure(scorer, subjects, args.changes, limit=args.limit, seed=args.seed, say=say):
        results.append(measured)
        if args.json is not None:
            write_json(args.json, scorer, results)
    if not results:
        sys.exit("no dive is scored as it is: nothing to compare")
    title = f"{len(results)} dives, weights {scorer.weights[0]} {scorer.weights[1][:12]}"
    console = Console(width=100)
    for table in tables(results, title):
        console.print(table)


if __name__ == "__main__":
    main()
