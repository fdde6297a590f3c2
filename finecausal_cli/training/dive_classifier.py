"""Train a dive-number classifier: a small network on a backbone's features of every frame.

The backbone is frozen, so each dive is encoded once and training takes a minute. Scores stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.data.batch import normalise
from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import assign_splits, read_dataset
from finecausal_cli.diving import DiveNumber, parse_dive_number
from finecausal_cli.errors import TrainingError
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.frame_encoder import (
    PARTS,
    DiveNumberClassifier,
    FrameBackbone,
    cut_frames,
    log_probs,
    values_of,
)
from finecausal_cli.training import ClassifierOptions, require_one_process
from finecausal_cli.training.trainer import (
    Callbacks,
    Task,
    Trainer,
    TrainerConfig,
    seed_from,
    start_accelerator,
    warmed_cosine,
)
from finecausal_cli.video import crop
from finecausal_cli.weights import WeightsInfo
from finecausal_cli.weights.store import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from finecausal_cli.data import Dive

_BATCH = 64
_LR = 2e-3
_WEIGHT_DECAY = 3e-2
_WARMUP = 50
_LATEST = 3
"""Largest shift in time of a training dive, frames."""

_FEW = 3
_TEMPERATURES = np.geomspace(0.5, 5, 40)


@dataclass(frozen=True)
class ClassifierMetrics:
    """Accuracy of the classifier on held-out dives.

    Attributes:
        dives: Number of dives.
        top1: Share whose number is the likeliest, of all numbers of the training dives.
        top3: Share whose number is among the three likeliest.
        confidence: Mean probability of the likeliest number; near ``top1`` where it is calibrated.
    """

    dives: int
    top1: float
    top3: float
    confidence: float

    def facts(self) -> dict[str, float]:
        """Return what is stored with the weights, by the names of its format."""
        named = {"right": self.top1, "among_three": self.top3, "certainty": self.confidence}
        return {"dives": self.dives, **named}


@dataclass(frozen=True)
class _Features:
    """Features of dives [N, F, 128] by the backbone, and their numbers."""

    vectors: Tensor
    numbers: tuple[DiveNumber, ...]

    @property
    def values(self) -> Tensor:
        """Values of the numbers' parts, [N, parts]."""
        return torch.tensor([values_of(number) for number in self.numbers])


def train_dive_classifier(
    weights: Path,
    dataset: Path,
    folder: Path,
    *,
    cache: Path | None,
    device: torch.device,
    options: ClassifierOptions | None = None,
    total: Callable[[int], object] = lambda _: None,
    advance: Callable[[], object] = lambda: None,
) -> ClassifierMetrics:
    """Write weights with a trained dive-number classifier.

    Args:
        weights: Weights whose backbone reads single frames.
        dataset: Dives with numbers, to train and to validate.
        folder: Where to write the weights.
        cache: Folder of decoded clips; None decodes every time.
        device: Where to compute.
        options: Steps and seed.
        total: Called once with the number of dives and steps.
        advance: Called after each.

    Returns:
        The accuracy on the validation dives.

    Raises:
        TrainingError: The backbone reads no single frames, or there are too few dives with numbers.
        DatasetError: The dataset is wrong.
        WeightsError: The weights cannot be trusted.
        VideoError: A clip cannot be read.
    """
    require_one_process("training the dive classifier")
    loaded = load_weights(weights, device=device)
    backbone = loaded.model.for_inference().video_trunk
    if not isinstance(backbone, FrameBackbone):
        raise TrainingError(
            "the backbone reads no single frames", where=weights, hint="weights of the preset compact do"
        )
    dives = assign_splits([dive for dive in read_dataset(dataset) if dive.number is not None])
    training, held_out = ([dive for dive in dives if dive.split == split] for split in ("train", "val"))
    if not (training and held_out):
        raise TrainingError(
            f"{len(training)} training and {len(held_out)} validation dives with a number", where=dataset
        )
    options = options or ClassifierOptions()
    total(len(training) + len(held_out) + options.steps)
    clips = ClipCache(cache, geometry=loaded.config.geometry, frame_size=loaded.config.frame_size)
    train, val = (_encode(backbone, part, clips, device, advance) for part in (training, held_out))
    classifier = _train(train, options, device, advance)
    numbers = tuple(dict.fromkeys(train.numbers))
    _calibrate(classifier, val, numbers, device)
    metrics = _measure(classifier, val, numbers, device)
    network = FineCausal(loaded.config.model_copy(update={"recognises": True}))
    state = {name: tensor for name, tensor in loaded.model.state_dict().items() if not name.startswith("recogniser.")}
    network.load_state_dict(
        {**state, **{f"recogniser.{name}": tensor for name, tensor in classifier.state_dict().items()}}
    )
    info = WeightsInfo.read(loaded.info, weights)
    facts = {**info.training, "recognition": metrics.facts()}
    save_weights(folder, network, info.model_copy(update={"training": facts}).facts())
    return metrics


def _encode(
    backbone: FrameBackbone,
    dives: Sequence[Dive],
    clips: ClipCache,
    device: torch.device,
    advance: Callable[[], object],
) -> _Features:
    vectors = []
    for dive in dives:
        frames = normalise(crop(clips.load(dive).frames, clips.frame_size)).unsqueeze(0).to(device)
        with torch.inference_mode():
            vectors.append(backbone.read_frames(cut_frames(frames))[0].float().cpu())
        advance()
    return _Features(torch.stack(vectors), tuple(parse_dive_number(dive.number or "") for dive in dives))


class _ClassifierTask(Task[_Features]):
    """Train the classifier on the features of dives, shifted by a few frames."""

    def __init__(self, training: _Features) -> None:
        self.network: DiveNumberClassifier = DiveNumberClassifier()
        scale = self.network.standardise
        assert scale.running_mean is not None and scale.running_var is not None  # noqa: S101, PT018 -- it tracks both
        scale.running_mean.copy_(training.vectors.mean((0, 1)))
        scale.running_var.copy_(training.vectors.var((0, 1)))
        self.batch = lambda _: training  # all of them: they fit in memory, and the loss draws from them

    def loss(self, network: nn.Module, batch: _Features, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross-entropy of the numbers' parts."""
        values, frames = batch.values, batch.vectors.shape[1]
        chosen = torch.randint(len(values), (_BATCH,))
        shift = torch.randint(-_LATEST, _LATEST + 1, (_BATCH, 1))
        when = (torch.arange(frames) + shift).clamp(0, frames - 1)
        logits = network(batch.vectors[chosen[:, None], when].to(device))
        targets = values[chosen].to(device)
        parts = torch.split_with_sizes(logits, [*PARTS.values()], dim=1)
        entropy = [functional.cross_entropy(part, targets[:, index]) for index, part in enumerate(parts)]
        return torch.stack(entropy).sum(), {}

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rate."""
        return warmed_cosine(step, steps, _WARMUP)

    def train_mode(self) -> None:
        """Switch to training mode; inputs are standardised by the statistics of all training dives."""
        self.network.train()
        self.network.standardise.eval()


def _train(
    training: _Features, options: ClassifierOptions, device: torch.device, advance: Callable[[], object]
) -> DiveNumberClassifier:
    seed_from(options.seed)
    task = _ClassifierTask(training)
    config = TrainerConfig(steps=options.steps, lr=_LR, weight_decay=_WEIGHT_DECAY, seed=(options.seed,))
    Trainer(task, config, start_accelerator(device)).fit(Callbacks(step=lambda *_: advance()))
    return task.network.eval()


@torch.no_grad()
def _calibrate(
    classifier: DiveNumberClassifier, val: _Features, numbers: Sequence[DiveNumber], device: torch.device
) -> None:
    """Set the temperature of the least cross-entropy (Guo et al. 2017), so that probabilities are calibrated."""
    logits = classifier(val.vectors.to(device))
    index_of = {number: index for index, number in enumerate(numbers)}
    known = [(row, index_of[number]) for row, number in enumerate(val.numbers) if number in index_of]
    if not known:
        return
    rows, targets = torch.tensor(known, device=device).T

    def cross_entropy(temperature: float) -> float:
        return float(-log_probs(logits[rows] / temperature, numbers)[torch.arange(len(rows)), targets].mean())

    classifier.temperature.fill_(min(_TEMPERATURES.tolist(), key=cross_entropy))


@torch.no_grad()
def _measure(
    classifier: DiveNumberClassifier, val: _Features, numbers: Sequence[DiveNumber], device: torch.device
) -> ClassifierMetrics:
    scores = log_probs(classifier(val.vectors.to(device)), numbers)
    likeliest = scores.topk(min(_FEW, len(numbers)), dim=1).indices.tolist()
    hits = [[numbers[index] == true for index in few] for few, true in zip(likeliest, val.numbers, strict=True)]
    return ClassifierMetrics(
        dives=len(hits),
        top1=sum(few[0] for few in hits) / len(hits),
        top3=sum(any(few) for few in hits) / len(hits),
        confidence=float(scores.exp().amax(1).mean()),
    )
