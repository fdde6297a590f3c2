"""Turn a finished training run into what ships: ``python weights/make.py RUN/best TRAIN TEST CALIBRATION [CACHE]``.

Writes ``weights/compact``: half-precision weights, the exemplar bank, the interval, the self-test's expected score, and
the figures of exactly these files on TEST, which the model card quotes. Exemplars are dives that TRAIN trains on. The
interval is that of dives of CALIBRATION, which took no part in training nor in choosing the epoch, compared with the
bank, as a user's dives are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from finecausal_cli.assess.checkup import SELF_TEST_NAME
from finecausal_cli.assess.score_options import ScoreOptions
from finecausal_cli.assess.scorer import Scorer
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.places import default_cache
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.evaluation.run import evaluate, metrics
from finecausal_cli.exemplars.bank import load_bank
from finecausal_cli.exemplars.build import build_bank
from finecausal_cli.training.validation import INTERVAL_LEVEL, conformal_half_width
from finecausal_cli.weights.info import StoredInterval, WeightsInfo
from finecausal_cli.weights.manifest import CONFIG_NAME, read_manifest
from finecausal_cli.weights.store import load_weights, save_weights
from finecausal_cli.whole_file import whole_file

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
NOTE = "trained on simulated dives only; not calibrated for filmed ones"
PER_NUMBER = 10
CLIP, DIVE, HEIGHT_M = "dives/107B-10m-good.mp4", "107B", 10.0
"""The dive that the self-test scores."""


def set_interval(folder: Path, calibration: Path, cache: Path) -> None:
    """Store the interval that covers the stated share of the calibration dives."""
    measured = evaluate(
        calibration,
        folder,
        cache=cache,
        device=torch.device("cpu"),
        bank=lambda digest: load_bank(folder / "bank", weights_digest=digest),
        split="all",
    )
    errors = [abs(one.predicted - one.score) / one.difficulty for one in measured.predictions]
    interval = StoredInterval(level=INTERVAL_LEVEL, execution_half_width=conformal_half_width(errors, INTERVAL_LEVEL))
    manifest = read_manifest(folder)
    info = WeightsInfo.read(manifest.info, folder).model_copy(update={"interval": interval})
    with whole_file(folder / CONFIG_NAME, "the weights' description") as part:
        text = manifest.model_copy(update={"info": info.facts()}).model_dump_json(indent=2)
        part.write_text(text + "\n", encoding="utf-8")


def main(best: Path, dataset: Path, test: Path, calibration: Path, cache: Path) -> None:
    """Write weights, bank, figures and self-test."""
    folder = HERE / "compact"
    device = torch.device("cpu")
    trained = load_weights(best)
    clips = ClipCache(cache, geometry=trained.config.geometry, frame_size=trained.config.frame_size)
    dives = assign_splits([dive for dive in read_dataset(dataset) if dive.score is not None])
    training = [dive for dive in dives if dive.split == "train"]
    info = WeightsInfo.read(trained.info, best).model_copy(update={"note": NOTE})
    save_weights(folder, trained.model, info.facts(), dtype="float16")
    shipped = load_weights(folder)
    seed = json.loads((dataset / "plan.json").read_text(encoding="utf-8"))["seed"]
    build_bank(
        training,
        folder / "bank",
        model=shipped.model,
        weights_digest=shipped.digest,
        cache=clips,
        per_number=PER_NUMBER,
        origin=f"simulated dive (finecausal simulate, seed {seed})",
    )
    set_interval(folder, calibration, cache)
    measured = evaluate(
        test,
        folder,
        cache=cache,
        device=device,
        bank=lambda digest: load_bank(folder / "bank", weights_digest=digest),
        split="all",
    )
    figures = {f"exemplars: the bank, up to {PER_NUMBER} voters": metrics(measured)}
    (folder / "heldout.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    scorer = Scorer.load(str(folder), device="cpu", precision="fp32")
    score = scorer.score(str(EXAMPLES / CLIP), ScoreOptions(dive=DIVE, height_m=HEIGHT_M)).score
    expected = {"clip": CLIP, "dive": DIVE, "height_m": HEIGHT_M, "score": score}
    (folder / SELF_TEST_NAME).write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run, training, testing, calibrating, *rest = map(Path, sys.argv[1:])
    main(run, training, testing, calibrating, rest[0] if rest else default_cache())
