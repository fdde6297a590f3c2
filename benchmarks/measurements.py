"""Measure what ``finecausal measure`` gets wrong: ``python -m benchmarks.measurements DATASET... [--write]``.

DATASET is the output of ``finecausal simulate --world wild``. Every film is read as any film is (kept in ``--cache``),
measured, and compared with the motion that it was simulated from. A film in which no dive is found counts as one in
which nothing is told. Prints for each fact in how many films it is told, the median, 68% and 90% of the absolute
errors, and for three facts the share of all films within a tolerance. ``--write`` makes these the errors that the
command prints.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from finecausal_cli.athlete.reader import AthleteReader
from finecausal_cli.data.cache import default_cache
from finecausal_cli.data.datasets import read_dataset
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.errors import DatasetError, FinecausalError
from finecausal_cli.scoring.dives import LocatedDive
from finecausal_cli.scoring.measurements import ERRORS_FILE, SIDE_ON, UNITS, CountRecogniser, ReadDive
from finecausal_cli.scoring.tracks import TrackCache
from finecausal_cli.simulator.athlete import JOINT
from finecausal_cli.simulator.recording import DatasetPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from finecausal_cli.data import Dive
    from finecausal_cli.simulator.dive import SimulatedDive

AIR_S, AIR_FRAMES = 0.08, 1.5
TURN_SHARE = 0.05
ENTRY_DEG = 8.0
LEAN_S = 0.15
RATE_OVER_S = 0.12


@dataclass(frozen=True)
class Film:
    """What was told of a film, and what is true.

    Attributes:
        name: Of the film.
        truth: Every fact, as simulated.
        tolerance: The largest error that counts as right, of the facts that have one.
        told: What was told; None where it was not.
        along: Whether the camera was taken to look along the dive.
    """

    name: str
    truth: Mapping[str, float]
    tolerance: Mapping[str, float]
    told: Mapping[str, float | None]
    along: bool = False

    def error(self, fact: str) -> float | None:
        """Return told minus true; None where it is not told."""
        value = self.told.get(fact)
        return None if value is None else value - self.truth[fact]


def plan_of(root: Path) -> DatasetPlan:
    """Return the plan of a simulated dataset, without its photographs, which change nothing of the dives.

    Raises:
        DatasetError: It is none.
    """
    try:
        stored = json.loads((root / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError("no simulated dataset", where=root) from error
    known = {field.name for field in fields(DatasetPlan)} - {"photos"}
    values = {"draw": "classic", "world": "clean", **stored}
    values["dives"] = tuple(values["dives"])
    return DatasetPlan(**{name: value for name, value in values.items() if name in known})


def truth_of(dive: SimulatedDive, record: Mapping[str, Any]) -> dict[str, float]:
    """Return every fact of a simulated dive.

    Raises:
        DatasetError: The record is of another dive: the simulator has changed since.
    """
    motion = dive.motion
    air_s = motion.contact_s - motion.leave_s
    if abs(air_s - record["physics"]["flight_s"]) > 1e-3:
        raise DatasetError("the film was simulated by another version", where=record["video"], hint="simulate again")
    times = np.linspace(motion.leave_s, motion.contact_s, 400)
    centre, turned = motion.track(motion.centre, times), np.degrees(motion.track(motion.somersault, times))
    velocity = np.gradient(centre[:, 2], times)
    number = parse_dive_number(record["dive"])
    steps = round(RATE_OVER_S / (times[1] - times[0]))
    before = motion.body(np.linspace(motion.leave_s - LEAN_S, motion.leave_s, 10))
    ankles = before[:, [JOINT["ankle_l"], JOINT["ankle_r"]]].mean(axis=1)
    out, _, up = (before[:, JOINT["neck"]] - ankles).mean(axis=0)
    return {
        "air_time": air_s,
        "file_air_time": record["entry_start_s"] - record["flight_start_s"],
        "rise": float(centre[:, 2].max() - centre[0, 2]),
        "takeoff_velocity": float(velocity[1]),
        "entry_velocity": float(-velocity[-2]),
        "distance": abs(float(centre[-1, 0] - centre[0, 0])) * abs(np.cos(np.radians(_azimuth_deg(record)))),
        "total_turn": abs(float(turned[-1] - turned[0])),
        "half_somersaults": number.half_somersaults,
        "half_twists": number.half_twists,
        "rotation": float(np.abs(turned[steps:] - turned[:-steps]).max() / (times[steps] - times[0])),
        "opening": air_s - motion.open_s,
        "takeoff_lean": float(np.degrees(np.arctan2(out, up) if not number.armstand else np.arctan2(-out, -up))),
        "entry_angle": dive.seen.entry_deg,
        "splash": dive.seen.splash,
    }


def _azimuth_deg(record: Mapping[str, Any]) -> float:
    """Return the angle of the camera off the side; the picture shows its cosine of what lies in the plane."""
    return float(record.get("camera", {}).get("azimuth_deg", 0.0))


def measure_film(
    dive: Dive, simulated: SimulatedDive, record: Mapping[str, Any], cache: TrackCache, recognise: CountRecogniser
) -> Film:
    """Read and measure a film."""
    truth = truth_of(simulated, record)
    tolerance = {
        "air_time": max(AIR_S, AIR_FRAMES / (record["fps"] * record["time_scale"])),
        "total_turn": TURN_SHARE * truth["total_turn"],
        "entry_angle": ENTRY_DEG,
    }
    told: dict[str, float | None] = {}
    along = False
    try:
        stored = cache.track(dive)
        located = LocatedDive(0.0, 0.0, stored.takeoff_s, stored.entry_s, stored.time_scale)
        read = ReadDive.of(located, stored.track, recognise=recognise)
        told = {fact.name: fact.value for fact in read.measure()}
        along = read.turns is not None and read.turns.rotation.camera < SIDE_ON
    except FinecausalError as error:
        if isinstance(error, DatasetError):
            raise
    return Film(f"{dive.video.parent.parent.name}/{dive.video.stem}", truth, tolerance, told, along)


def films_of(root: Path, cache: TrackCache, first: int, last: int | None) -> Iterator[Film]:
    """Measure films of a dataset, from one number to another."""
    plan, recognise = plan_of(root), CountRecogniser.load()
    for dive in list(read_dataset(root))[first:last]:
        record = json.loads((root / "meta" / f"{dive.video.stem}.json").read_text(encoding="utf-8"))
        yield measure_film(dive, plan.dive(record["index"]), record, cache, recognise)


def errors_of(films: Sequence[Film]) -> dict[str, dict[str, float]]:
    """Return the errors of every fact that is told at all; see ``measurements.measured_errors``."""
    result: dict[str, dict[str, float]] = {}
    for fact in UNITS:
        errors = np.array([abs(error) for film in films if (error := film.error(fact)) is not None])
        if not len(errors):
            continue
        row = {"measured": len(errors) / len(films)}
        if fact == "entry_angle":
            is_along = np.array([film.along for film in films if film.error(fact) is not None])
            if is_along.any() and not is_along.all():
                row["p68_along"] = float(np.quantile(errors[is_along], 0.68))
                errors = errors[~is_along]
        row |= {name: float(np.quantile(errors, q)) for name, q in (("median", 0.5), ("p68", 0.68), ("p90", 0.9))}
        if fact in films[0].tolerance:
            row["within"] = sum(_is_right(film, fact) for film in films) / len(films)
        if fact in ("half_somersaults", "half_twists"):
            row["right"] = float((errors < 0.5).mean())
        result[fact] = {name: round(value, 4) for name, value in row.items()}
    return result


def _is_right(film: Film, fact: str) -> bool:
    error = film.error(fact)
    return error is not None and abs(error) <= film.tolerance[fact]


def table_of(errors: Mapping[str, Mapping[str, float]], films: int) -> Table:
    """Return the table that is printed."""
    table = Table(title=f"{films} films")
    for heading in ("fact", "unit", "measured", "median", "68%", "90%", "within"):
        table.add_column(heading)
    for fact, row in errors.items():
        right = row.get("within", row.get("right"))
        shown = "" if right is None else f"{right:.1%}" + (" of those told" if "right" in row else "")
        numbers = (f"{row[name]:.3g}" for name in ("median", "p68", "p90"))
        table.add_row(fact, UNITS[fact], f"{row['measured']:.1%}", *numbers, shown)  # type: ignore[index]
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, nargs="+")
    parser.add_argument("--cache", type=Path, default=None, help="folder of tracks that were read")
    parser.add_argument("--first", type=int, default=0, help="number of the first film of each dataset")
    parser.add_argument("--last", type=int, default=None, help="number behind the last one")
    parser.add_argument("--worst", type=int, default=0, help="also print so many films for each tolerance")
    parser.add_argument("--write", action="store_true", help="make these the errors that the command prints")
    arguments = parser.parse_args()
    cache = TrackCache(arguments.cache or default_cache(), AthleteReader.load())
    films: list[Film] = []
    for root in arguments.dataset:
        films += progress(list_of(root, cache, arguments), description=str(root))
    errors, console = errors_of(films), Console()
    console.print(table_of(errors, len(films)))
    for fact in films[0].tolerance if arguments.worst else ():
        ranked = sorted(films, key=lambda film, fact=fact: -abs(film.error(fact) or 0))  # type: ignore[misc]
        for film in ranked[: arguments.worst]:
            console.print(f"{fact}: {film.name} told {film.told.get(fact)} true {film.truth[fact]:.2f}")
    if arguments.write:
        names = ", ".join(root.name for root in arguments.dataset)
        content = {"films": len(films), "dataset": names, "facts": errors}
        ERRORS_FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def list_of(root: Path, cache: TrackCache, arguments: argparse.Namespace) -> Iterator[Film]:
    """Measure the films that the arguments ask for."""
    return films_of(root, cache, arguments.first, arguments.last)


if __name__ == "__main__":
    main()
