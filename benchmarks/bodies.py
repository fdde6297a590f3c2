"""What graph and temporal attention add to a network that reads bodies: ``python -m benchmarks.bodies WEIGHTS``.

The backbone of finished weights is frozen and simulated bodies are encoded once, in a few views. What stands behind it
is trained anew, with and without graph attention (GAT) and temporal causal attention (TCA), with several seeds, and
measured on held-out films against a bank of bodies. Of the full network it is also measured whether its attention names
what matters: a snippet is taken away, the one with most attention, or any other.

A network that reads bodies sees no venue, so there is nothing for a confounded venue to act on but the reader's errors.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.batch import pairs_of, stage_execution
from finecausal_cli.evaluation.predict import bootstrap_interval
from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.retrieval.bank import Bank, Exemplar
from finecausal_cli.retrieval.voting import VotingContext
from finecausal_cli.scoring.explain import delete_snippets, snippet_shares, view_graph
from finecausal_cli.scoring.scorer import load_reader
from finecausal_cli.scoring.tracks import TrackCache
from finecausal_cli.training import build_config
from finecausal_cli.training.body_film import BodyFilm
from finecausal_cli.training.pairs import EXECUTION_SPREAD, STAGE_SPREAD
from finecausal_cli.training.skeleton import by_number
from finecausal_cli.training.skeleton_calibration import encode_tracks, judge_films, spread_bodies
from finecausal_cli.training.track_errors import (
    JudgedBody,
    LeanErrors,
    SplashErrors,
    TrackErrors,
    read_bodies,
    read_films,
)
from finecausal_cli.training.trainer import warmed_cosine
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIANTS = {"full": "", "no GAT": "gat", "no TCA": "tca", "sigmoid fusion only": "gat,tca"}
CPU = torch.device("cpu")
GROUPS, GROUP = 6, 4
LR, WARMUP = 8e-4, 30


class EncodedBodies:
    """Bodies encoded by a frozen backbone, each in some views.

    Args:
        model: The network.
        bodies: The bodies.
        film: Shows them as a reader would read them.
        views: Views of each.
    """

    def __init__(self, model: FineCausal, bodies: Sequence[JudgedBody], film: BodyFilm, views: int) -> None:
        self.bodies = bodies
        parts = []
        for view in range(views):
            for first in range(0, len(bodies), 64):
                tracks = [
                    film(body.motion, body.number.position, np.random.default_rng((view, first + index)))
                    for index, body in enumerate(bodies[first : first + 64])
                    if body.motion is not None
                ]
                parts.append(encode_tracks(model, tracks, CPU))
        self.encodings, self.views = Encoding.concat(parts), views
        self.by_number = {name: [bodies.index(body) for body in members] for name, members in by_number(bodies).items()}

    def draw(self, rng: np.random.Generator) -> tuple[Encoding, list[int]]:
        """Return encodings of groups of bodies of one number, and which they are."""
        names = list(self.by_number)
        shares = np.array([len(members) for members in self.by_number.values()], np.float64) ** 0.75
        chosen: list[int] = []
        for _ in range(GROUPS):
            members = self.by_number[names[rng.choice(len(names), p=shares / shares.sum())]]
            chosen += rng.choice(members, GROUP, replace=len(members) < GROUP).tolist()
        rows = [int(rng.integers(self.views)) * len(self.bodies) + index for index in chosen]
        return self.encodings.select(rows), chosen


def train_heads(start: FineCausal, ablate: str, bodies: EncodedBodies, steps: int, seed: int) -> FineCausal:
    """Train what stands behind a frozen backbone from scratch."""
    torch.manual_seed(seed)
    model = FineCausal(build_config("skeleton", ablate=ablate).model_copy(update={"recognises": True}))
    kept = ("video_trunk.", "recogniser.")
    frozen = {name: tensor for name, tensor in start.state_dict().items() if name.startswith(kept)}
    model.load_state_dict({**model.state_dict(), **frozen})
    model.video_trunk.requires_grad_(requires_grad=False)
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=0.03)
    groups = [tuple(range(first, first + GROUP)) for first in range(0, GROUPS * GROUP, GROUP)]
    query, exemplar = torch.tensor(pairs_of(groups)).unbind(1)
    weights = torch.tensor(STAGE_WEIGHTS)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LR * warmed_cosine(step, steps, WARMUP)
        encoding, chosen = bodies.draw(np.random.default_rng((seed, step)))
        encoding = model.project_mask_features(encoding)
        execution = torch.tensor([bodies.bodies[index].dive.execution for index in chosen])
        stages = torch.tensor([stage_execution(bodies.bodies[index].dive) for index in chosen], dtype=torch.float32)
        output = model.compare(encoding.select(query), encoding.select(exemplar))
        difference = (execution[query] - execution[exemplar]).float() / EXECUTION_SPREAD
        loss = functional.smooth_l1_loss(output.delta[:, 0] / EXECUTION_SPREAD, difference, beta=0.4)
        of_stages = (stages[query] - stages[exemplar]) / STAGE_SPREAD
        known = ~of_stages.isnan().any(1)
        if bool(known.any()):
            weighted = output.stage_deltas[known, 0] * weights / STAGE_SPREAD
            loss = loss + functional.smooth_l1_loss(weighted, of_stages[known], beta=0.4)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
    return model.eval()


def deletions(
    model: FineCausal, encoded: Encoding, exemplars: Sequence[JudgedBody], films: Encoding
) -> tuple[float, float]:
    """Return how many execution units it costs to take away the snippet with most attention, and any other one."""
    named, others = [], []
    items = tuple(
        Exemplar(id=str(index), dive=str(body.number), height_m=None, difficulty=1.0, execution=body.dive.execution)
        for index, body in enumerate(exemplars)
    )
    bank = Bank("bodies", items, encoded, "")
    for index in range(len(films)):
        context = VotingContext.build(model, films.select(index), bank, range(min(6, len(items))), difficulty=1.0)
        graph = view_graph(context.votes, None, None)
        if graph is None:
            continue
        deleted = delete_snippets(context, int(np.argmax(snippet_shares(graph))))
        named.append(abs(deleted.change))
        others.append(deleted.others)
    return float(np.mean(named)), float(np.mean(others))


def main() -> None:
    """Train the variants, measure them and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bodies", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--bodies", type=Path, required=True, help="simulated bodies")
    parser.add_argument("--errors", type=Path, required=True, help="errors.npz of the run")
    parser.add_argument("--films", type=Path, required=True, help="held-out films")
    parser.add_argument("--cache", type=Path, help="tracks that are read already")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    args = parser.parse_args()
    reader = load_reader()
    if reader is None:
        raise SystemExit("the athlete reader's weights are missing")
    start = load_weights(args.weights).model.eval()
    bodies = read_bodies(args.bodies)
    films = read_films([args.films], TrackCache(args.cache, reader))
    film = BodyFilm(TrackErrors.read(args.errors), SplashErrors.of(films), LeanErrors.of(films))
    pool = EncodedBodies(start, bodies, film, args.views)
    exemplars = spread_bodies(bodies, 6)
    shown = [
        film(body.motion, body.number.position, np.random.default_rng((9, index)))
        for index, body in enumerate(exemplars)
        if body.motion is not None
    ]
    results = []
    for name, ablate in VARIANTS.items():
        for seed in range(args.seeds):
            model = train_heads(start, ablate, pool, args.steps, seed)
            encoded = encode_tracks(model, shown, CPU)
            judged = judge_films(model, films, (encoded, exemplars), CPU)
            if judged is None:
                raise SystemExit("too few films whose number has exemplars")
            low, high = bootstrap_interval(judged.true, judged.judged)
            row = {"variant": name, "seed": seed, "low": low, "high": high, **judged.figures()}
            if "gat" not in ablate:
                row["named"], row["others"] = deletions(model, encoded, exemplars, judged.encodings)
            results.append(row)
            Console(stderr=True).print(row)
    table = Table("variant", "seed", "rho", "95% interval", "mean error", "taken away: named", "any other")
    for row in results:
        away = [f"{row[key]:.3f}" if key in row else "-" for key in ("named", "others")]
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        figures = f"{row['rho']:.3f}", interval, f"{row['mean_absolute_error']:.2f}"
        table.add_row(str(row["variant"]), str(row["seed"]), *figures, *away)
    Console().print(table)
    if args.output is not None:
        with atomic_write(args.output, "the results") as part:
            part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
