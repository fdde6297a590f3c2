"""Build the bundled weights from a finished training run: ``python weights/make.py RUN/best DATA OUT``.

DATA holds ``train``, ``test`` and ``calibration``. Writes half-precision weights, the exemplar bank, the interval, the
self-test's expected score, and the metrics of these files on the test dives, which the model card quotes. Exemplars are
training dives. The interval comes from the calibration dives, which took no part in training nor in the choice of the
epoch, compared with the bank as a user's dives are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from finecausal_cli.atomic import atomic_write
from finecausal_cli.data.cache import ClipCache, default_cache
from finecausal_cli.data.datasets import assign_splits, read_dataset
from finecausal_cli.device import resolve_device
from finecausal_cli.evaluation import EvaluateOptions
from finecausal_cli.evaluation.run import evaluate, metrics
from finecausal_cli.model.config import Framing
from finecausal_cli.retrieval import BankOptions
from finecausal_cli.retrieval.bank import build_bank, load_bank
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.doctor import SELF_TEST_NAME
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.training.pairs import INTERVAL_LEVEL, conformal_half_width
from finecausal_cli.weights import CONFIG_NAME, StoredInterval, WeightsInfo, read_manifest
from finecausal_cli.weights.store import load_weights, save_weights

if TYPE_CHECKING:
    import torch

    from finecausal_cli.evaluation.run import Evaluation

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NOTE = "trained on simulated dives only; not calibrated for filmed ones"
PER_NUMBER = 10
FRAMING = Framing(reach=0.635, least=0.56, most=0.71)
"""Size of the athlete in clips of ``finecausal simulate``."""

CLIP, DIVE, HEIGHT_M = "dives/107B-10m-good.mp4", "107B", 10.0
"""The dive that the self-test scores."""


def measure(dives: Path, folder: Path, cache: Path, device: torch.device) -> Evaluation:
    """Score all dives of a dataset against the bank in a folder of weights."""
    return evaluate(
        dives,
        folder,
        EvaluateOptions(split="all"),
        cache=cache,
        device=device,
        bank=lambda digest: load_bank(folder / "bank", weights_digest=digest),
    )


def set_interval(folder: Path, measured: Evaluation) -> None:
    """Store the interval that covers the stated share of the calibration dives."""
    errors = [abs(dive.predicted - dive.score) / dive.difficulty for dive in measured.predictions]
    interval = StoredInterval(level=INTERVAL_LEVEL, execution_half_width=conformal_half_width(errors, INTERVAL_LEVEL))
    manifest = read_manifest(folder)
    info = WeightsInfo.read(manifest.info, folder).model_copy(update={"interval": interval})
    model = manifest.model.model_copy(update={"framing": FRAMING})
    with atomic_write(folder / CONFIG_NAME, "the weights' description") as part:
        text = manifest.model_copy(update={"model": model, "info": info.facts()}).model_dump_json(indent=2)
        part.write_text(text + "\n", encoding="utf-8")


def make_bank(folder: Path, dataset: Path, cache: Path, device: torch.device) -> None:
    """Write the bank of weights, from the dives that were trained on."""
    shipped = load_weights(folder, device=device)
    dives = assign_splits([dive for dive in read_dataset(dataset) if dive.score is not None])
    seed = json.loads((dataset / "plan.json").read_text(encoding="utf-8"))["seed"]
    build_bank(
        [dive for dive in dives if dive.split == "train"],
        folder / "bank",
        BankOptions(per_number=PER_NUMBER, origin=f"simulated dive (finecausal simulate, seed {seed})"),
        model=shipped.model,
        weights_digest=shipped.digest,
        cache=ClipCache(cache, geometry=shipped.config.geometry, frame_size=shipped.config.frame_size),
    )


def main() -> None:
    """Write weights, bank, interval, figures and self-test."""
    parser = argparse.ArgumentParser(prog="python weights/make.py", description="Build the bundled weights from a run.")
    parser.add_argument("best", type=Path, nargs="?", help="weights of the run")
    parser.add_argument("data", type=Path, nargs="?", help="folder of train, test and calibration")
    parser.add_argument("out", type=Path, help="folder of the bundled weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--self-test", action="store_true", help="only write the self-test of the weights in OUT")
    args = parser.parse_args()
    if args.self_test:
        write_self_test(args.out)
        return
    folder, device = args.out, resolve_device(args.device)
    trained = load_weights(args.best)
    info = WeightsInfo.read(trained.info, args.best).model_copy(update={"note": NOTE, "trained_on": "simulated"})
    save_weights(folder, trained.model, info.facts(), dtype="float16")
    make_bank(folder, args.data / "train", args.cache, device)
    set_interval(folder, measure(args.data / "calibration", folder, args.cache, device))
    measured = measure(args.data / "test", folder, args.cache, device)
    figures = {f"exemplars: the bank, up to {PER_NUMBER} voters": metrics(measured)}
    with atomic_write(folder / "heldout.json", "the figures") as part:
        part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write_self_test(folder)


def write_self_test(folder: Path) -> None:
    """Write what weights give a dive of the examples, for ``finecausal doctor``."""
    scorer = Scorer.load(str(folder), device="cpu", precision="fp32")
    score = scorer.score(str(EXAMPLES / CLIP), ScoreOptions(dive=DIVE, height_m=HEIGHT_M)).score
    expected = {"clip": CLIP, "dive": DIVE, "height_m": HEIGHT_M, "score": score}
    with atomic_write(folder / SELF_TEST_NAME, "the self-test") as part:
        part.write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
