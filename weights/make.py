"""Turn a finished training run into what ships: ``python weights/make.py RUN/best DATASET``.

Calibrates the interval of the run's weights anew, then writes ``weights/compact``: half-precision weights, the exemplar
bank, the self-test's expected score, and the held-out figures of exactly these files, which the model card quotes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from finecausal_cli.assess.checkup import SELF_TEST_NAME
from finecausal_cli.assess.scorer import ScoreOptions, Scorer
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.places import default_cache
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.evaluation.run import evaluate, metrics
from finecausal_cli.exemplars.bank import load_bank
from finecausal_cli.exemplars.build import build_bank
from finecausal_cli.training.options import TrainOptions
from finecausal_cli.training.run import calibrate
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.store import load_weights, save_weights

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
NOTE = "trained on simulated dives only; not calibrated for filmed ones"
ORIGIN = "simulated dive (finecausal simulate, seed 1)"
PER_NUMBER = 5
SELF_TEST = {"clip": "dives/107B-10m-excellent.mp4", "dive": "107B", "height_m": 10.0}


def main(best: Path, dataset: Path, cache: Path) -> None:
    """Write weights, bank, figures and self-test."""
    folder = HERE / "compact"
    device = torch.device("cpu")
    trained = load_weights(best)
    clips = ClipCache(cache, geometry=trained.config.geometry, frame_size=trained.config.frame_size)
    dives = assign_splits([dive for dive in read_dataset(dataset) if dive.score is not None])
    training = [dive for dive in dives if dive.split == "train"]
    validation = [dive for dive in dives if dive.split == "val"]
    options = TrainOptions.model_validate(WeightsInfo.read(trained.info, best).training["options"])
    calibrate(best, training, validation, clips, options, device)
    trained = load_weights(best)
    info = WeightsInfo.read(trained.info, best).model_copy(update={"note": NOTE})
    save_weights(folder, trained.model, info.facts(), dtype="float16")
    shipped = load_weights(folder)
    build_bank(
        training,
        folder / "bank",
        model=shipped.model,
        weights_digest=shipped.digest,
        cache=clips,
        per_number=PER_NUMBER,
        origin=ORIGIN,
    )
    against_training = evaluate(dataset, folder, cache=cache, device=device)
    against_bank = evaluate(
        dataset,
        folder,
        cache=cache,
        device=device,
        bank=lambda digest: load_bank(folder / "bank", weights_digest=digest),
    )
    figures = {
        "exemplars: training dives, up to 10 voters": metrics(against_training),
        f"exemplars: the bank, up to {PER_NUMBER} voters": metrics(against_bank),
    }
    (folder / "heldout.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    clip = str(EXAMPLES / SELF_TEST["clip"])
    options = ScoreOptions(dive=str(SELF_TEST["dive"]), height_m=float(SELF_TEST["height_m"]))
    expected = {
        **SELF_TEST,
        "score": Scorer.load(str(folder), device="cpu", precision="fp32").score(clip, options).score,
    }
    (folder / SELF_TEST_NAME).write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else default_cache())
