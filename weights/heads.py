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
    for seed in range(asked.seeds):
        model = train_heads(
            loaded.config,
            training * 2,
            encodings,
            [*own.transitions, *moved],
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
