"""Train the heads of a pretrained trunk: ``python weights/heads.py PRETRAINED DATASET OUT``.

PRETRAINED is what ``weights/pretrain.py`` wrote. Every dive is encoded once as it is and once more mirrored, moved and
shifted in time; everything behind the trunk is trained on these encodings. OUT are whole weights, with the figures of
the data set's validation dives.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from scipy import stats

from finecausal_cli.data.batch import augment
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.places import default_cache
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.evaluation.predict import bank_of, mean_execution, predict, summarise
from finecausal_cli.exemplars.encode import encode_dives
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.training.heads import HeadOptions, train_heads
from finecausal_cli.video.transform import normalise
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.store import load_weights, save_weights

if TYPE_CHECKING:
    from finecausal_cli.data.dive import Dive
    from finecausal_cli.model.finecausal import FineCausal

CONSOLE = Console(highlight=False, soft_wrap=True)


def even_out(dives: list[Dive], seed: int) -> list[int]:
    """Draw dives so that what their stages cost hangs together no more; as many as there are, some more than once.

    Who enters well has mostly flown well, so a network may read the flight off the splash. Simulated dives are drawn
    from a normal copula; each is drawn again with the ratio of independent to true density of its stages' costs.
    """
    cost = np.array([dive.deductions for dive in dives], float)
    normal = stats.norm.ppf((stats.rankdata(cost, axis=0) - 0.5) / len(cost))
    excess = np.eye(cost.shape[1]) - np.linalg.inv(np.corrcoef(normal.T))
    weight = np.exp(-0.5 * np.einsum("ng,gh,nh->n", normal, excess, normal))
    rng = np.random.default_rng((seed, 1))
    return [int(place) for place in rng.choice(len(dives), len(dives), p=weight / weight.sum())]


@torch.inference_mode()
def encode_augmented(model: FineCausal, dives: list[Dive], cache: ClipCache, seed: int) -> tuple[Encoding, list]:
    """Encode every dive mirrored, moved and shifted at random; return the transitions too, which the shift moves."""
    found, transitions = [], []
    for place, dive in enumerate(track(dives, "encoding once more", console=Console(stderr=True))):
        rng = np.random.default_rng((seed, place))
        clip = augment(cache.load(dive), frame_size=model.config.frame_size, rng=rng)
        found.append(model.encode(normalise(clip.frames).unsqueeze(0)))
        transitions.append(clip.transitions)
    return Encoding.concat(found), transitions


def main() -> None:
    """Encode, train, validate, save."""
    parser = argparse.ArgumentParser(prog="python weights/heads.py", description="Train the heads of a trunk.")
    parser.add_argument("pretrained", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1, help="train so often and keep the best on the validation dives")
    parser.add_argument("--as-drawn", action="store_true", help="take the dives as they are, stages hanging together")
    parser.add_argument("--cache", type=Path, default=default_cache())
    asked = parser.parse_args()
    loaded = load_weights(asked.pretrained)
    trunk = loaded.model.for_inference()
    cache = ClipCache(asked.cache, geometry=loaded.config.geometry, frame_size=loaded.config.frame_size)
    dives = assign_splits([dive for dive in read_dataset(asked.dataset) if dive.score is not None])
    training, held_out = ([dive for dive in dives if dive.split == split] for split in ("train", "val"))
    own, validation = (encode_dives(trunk, part, cache) for part in (training, held_out))
    more, moved = encode_augmented(trunk, training, cache, seed=0)
    encodings = Encoding.concat([own.encodings, more])
    baseline = mean_execution((dive.number, dive.execution) for dive in training)
    best = -1.0
    twice, transitions = training * 2, [*own.transitions, *moved]
    for seed in range(asked.seeds):
        drawn = list(range(len(twice))) if asked.as_drawn else even_out(twice, seed)
        model = train_heads(
            loaded.config,
            [twice[place] for place in drawn],
            encodings.select(drawn),
            [transitions[place] for place in drawn],
            HeadOptions(epochs=asked.epochs, seed=seed),
            report=lambda step, steps, loss: step % 100 or CONSOLE.print(f"step {step} of {steps}  loss {loss:.3f}"),
        )
        model.video_trunk.load_state_dict(loaded.model.video_trunk.state_dict())
        model.parser.heads.load_state_dict(loaded.model.parser.heads.state_dict())
        gate = model.parser.project
        with torch.inference_mode():
            shelf, asking = (
                replace(part, encodings=replace(part.encodings, mask=gate(part.encodings.video)))
                for part in (own, validation)
            )
            bank = bank_of(shelf, name="training dives", weights_digest="heads")
            found = summarise(predict(model, asking, bank, baseline=baseline, voters=10)).figures()
        told = "  ".join(f"{name} {value:.3f}" for name, value in found.items() if isinstance(value, float))
        CONSOLE.print(f"seed {seed}: {told}")
        if found["rho"] > best:
            best = found["rho"]
            training_facts = {"pretrained": loaded.info.get("pretrained"), "heads_seed": seed, "validation": found}
            note = f"trained on {len(training)} dives of the dataset {asked.dataset.resolve().name}"
            save_weights(asked.out, model, WeightsInfo(note=note, training=training_facts).facts())


if __name__ == "__main__":
    main()
