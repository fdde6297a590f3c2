"""Measure scoring, training, a folder and the simulator: times, and their ratios within this run."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import folder, training
from benchmarks.simulate import DIVES, measure, table
from finecausal_cli.data.batch import normalise
from finecausal_cli.retrieval.voting import compare_with_exemplars
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.video import crop
from finecausal_cli.video.reader import read_clip
from finecausal_cli.weights.hub import resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable

CLIP = str(Path(__file__).resolve().parent.parent / "examples" / "dives" / "107B-10m-good.mp4")
EXEMPLARS = 10


def best_of(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest time of several, in seconds, after one run to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def process(*arguments: str) -> float:
    """Return the time a Python process takes, in seconds."""
    return best_of(lambda: subprocess.run([sys.executable, *arguments], capture_output=True, check=True), 3)


def main() -> None:
    """Measure and print."""
    scorer = Scorer.load("compact", device="cpu", precision="fp32")
    plain = load_weights(resolve_weights("compact")).model
    clip = read_clip(CLIP, geometry="fit", frame_size=scorer.frame_size)
    pixels = normalise(crop(clip.frames, scorer.frame_size)).unsqueeze(0)
    query = scorer.encode(clip)
    many, one = list(range(EXEMPLARS)), [0]

    def encode_plain() -> None:
        with torch.inference_mode():
            plain.encode(pixels)

    def pair_by_pair() -> None:
        """As the released code: encode query and exemplar for each pair."""
        for index in many:
            scorer.encode(clip)
            compare_with_exemplars(scorer.model, [scorer.encode(clip)], scorer.bank, [[index]])

    encode = best_of(lambda: scorer.encode(clip))
    single = best_of(lambda: compare_with_exemplars(scorer.model, [query], scorer.bank, [one]))
    ten = best_of(lambda: compare_with_exemplars(scorer.model, [query], scorer.bank, [many]))
    rows = [
        ("decode 96 frames", best_of(lambda: read_clip(CLIP, frame_size=scorer.frame_size)), ""),
        ("encode a clip", encode, ""),
        ("encode, norms not folded", (slow := best_of(encode_plain)), f"{slow / encode:.2f} x folded"),
        ("compare with 1 exemplar", single, ""),
        (f"compare with {EXEMPLARS} exemplars", ten, ""),
        (
            f"{EXEMPLARS} exemplars, encoded for each pair",
            (per_pair := best_of(pair_by_pair, 2)),
            f"{per_pair / (encode + ten):.1f} x encode once",
        ),
        ("score a file, weights loaded", best_of(lambda: scorer.score(CLIP, ScoreOptions(dive="107B"))), ""),
        ("python -c 'import typer, rich'", (bare := process("-c", "import typer, rich")), ""),
        (
            "finecausal --help",
            (start := process("-m", "finecausal_cli", "--help")),
            f"{start / bare:.2f} x the line above",
        ),
    ]
    scoring = Table("what", "seconds", "ratio", title=f"{torch.get_num_threads()} threads, compact, fp32")
    for what, seconds, ratio in rows:
        scoring.add_row(what, f"{seconds:.3f}", ratio)
    console = Console(width=80)
    console.print(scoring)
    console.print(training.table(training.measure()))
    console.print(folder.table(*folder.measure()))
    console.print(table(*measure(DIVES)))
    console.print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
