"""Score a folder of dives from Python, and rank them.

    python examples/score_a_folder.py [FOLDER] [RESULTS.jsonl]

The rows are those of ``finecausal score FOLDER -o RESULTS.jsonl``: either resumes the other's file.
"""

# ruff: noqa: T201 -- a script prints

from __future__ import annotations

import sys
from pathlib import Path

from finecausal_cli import Row, Scorer, score_many

DIVES = Path(__file__).resolve().parent / "dives"


def main(folder: Path, results: Path | None) -> None:
    """Print each dive as it is scored, then all from the best to the worst."""
    scorer = Scorer.load("compact", device="cpu")
    rows = score_many(scorer, folder, results=results, on_row=show)
    # A mark needs no dive number, points do: a manifest with numbers gives them.
    ranked = sorted((row for row in rows if row.mark is not None), key=lambda row: -(row.mark or 0))
    print(f"{len(ranked)} of {len(rows)} dives have a mark")
    for row in ranked:
        print(f"{row.mark:7.2f}  {Path(row.source).name}")
    if ranked:
        # The lowest dive again, with its stages, as `finecausal score DIVE` prints them.
        assessment = scorer.score(ranked[-1].source)
        worst = min(assessment.stages, key=lambda stage: stage.marks)
        print(f"most lost in {Path(ranked[-1].source).name}: {worst.name}, {worst.marks:+.2f} marks")


def show(row: Row) -> None:
    """Print the points, the mark or the error of a dive."""
    result = f"{row.error_kind}: {row.error}" if row.mark is None else f"mark {row.mark:.2f} of 10"
    if row.score is not None:
        result += f", {row.score:.2f} points"
    print(f"{Path(row.source).name}: {result}")


if __name__ == "__main__":
    paths = [Path(argument) for argument in sys.argv[1:]]
    main(paths[0] if paths else DIVES, paths[1] if len(paths) > 1 else None)
