"""Teach weights to recognise dive numbers: a small network on what their trunk says of every frame.

The trunk rests, so each dive is read once, and learning takes a minute. Scores stay as they are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
"""Frames by which a dive is shown earlier or later."""

_FEW = 3
_TEMPERATURES = np.geomspace(0.5, 5, 40)


@dataclass(frozen=True)
class Recognition:
    """How well numbers are recognised on dives that were not learned from.

    Attributes:
        dives: How many they are.
        right: Share whose number is thought the likeliest, of all numbers of the training dives.
        among_three: Share whose number is among the three likeliest.
        certainty: Mean probability of the number thought the likeliest; near ``right`` where it can be believed.
    """

    dives: int
    right: float
    among_three: float
    certainty: float


@dataclass(frozen=True)
class _Seen:
    """What the trunk says of dives: vectors [N, F, 128], and their numbers."""

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
) -> Recognition:
    """Write weights that recognise dive numbers too.

    Args:
        weights: Weights whose trunk reads single frames.
        dataset: Dives with numbers; those to train are learned from, those to validate measure it.
        folder: Where to write the weights.
        cache: Folder of decoded clips; None decodes every time.
        device: Where to compute.
        options: Steps and seed.
        total: Told how many dives and steps there are.
        advance: Called after each.

    Returns:
        How well it works on the validation dives.

    Raises:
        TrainingError: The trunk reads no single frames, or there are too few dives with numbers.
        DatasetError: The dataset is wrong.
        WeightsError: The weights cannot be trusted.
        VideoError: A clip cannot be read.
    """
    require_one_process("training the dive classifier")
    loaded = load_weights(weights, device=device)
    trunk = loaded.model.for_inference().video_trunk
    if not isinstance(trunk, FrameBackbone):
        raise TrainingError("the trunk reads no single frames", where=weights, hint="weights of the preset compact do")
    dives = assign_splits([dive for dive in read_dataset(dataset) if dive.number is not None])
    training, held_out = ([dive for dive in dives if dive.split == split] for split in ("train", "val"))
    if not (training and held_out):
        raise TrainingError(
            f"{len(training)} training and {len(held_out)} validation dives with a number", where=dataset
        )
    options = options or ClassifierOptions()
    total(len(training) + len(held_out) + options.steps)
    clips = ClipCache(cache, geometry=loaded.config.geometry, frame_size=loaded.config.frame_size)
    known, asked = (_look(trunk, part, clips, device, advance) for part in (training, held_out))
    recogniser = _train(known, options.steps, options.seed, device, advance)
    numbers = tuple(dict.fromkeys(known.numbers))
    _calibrate(recogniser, asked, numbers, device)
    found = _measure(recogniser, asked, numbers, device)
    network = FineCausal(loaded.config.model_copy(update={"recognises": True}))
    state = {name: tensor for name, tensor in loaded.model.state_dict().items() if not name.startswith("recogniser.")}
    network.load_state_dict(
        {**state, **{f"recogniser.{name}": tensor for name, tensor in recogniser.state_dict().items()}}
    )
    info = WeightsInfo.read(loaded.info, weights)
    facts = {**info.training, "recognition": asdict(found)}
    save_weights(folder, network, info.model_copy(update={"training": facts}).facts())
    return found


def _look(
    trunk: FrameBackbone,
    dives: Sequence[Dive],
    clips: ClipCache,
    device: torch.device,
    advance: Callable[[], object],
) -> _Seen:
    vectors = []
    for dive in dives:
        pictures = normalise(crop(clips.load(dive).frames, clips.frame_size)).unsqueeze(0).to(device)
        with torch.inference_mode():
            vectors.append(trunk.read_frames(cut_frames(pictures))[0].float().cpu())
        advance()
    return _Seen(torch.stack(vectors), tuple(parse_dive_number(dive.number or "") for dive in dives))


class _ClassifierTask(Task[_Seen]):
    """Train the classifier on the vectors of dives, shown a few frames earlier or later."""

    def __init__(self, training: _Seen) -> None:
        self.network: DiveNumberClassifier = DiveNumberClassifier()
        scale = self.network.standardise
        assert scale.running_mean is not None and scale.running_var is not None  # noqa: S101, PT018 -- it tracks both
        scale.running_mean.copy_(training.vectors.mean((0, 1)))
        scale.running_var.copy_(training.vectors.var((0, 1)))
        self._training = training

    def batch(self, step: int) -> _Seen:
        """Return all training dives: they fit in memory, and the loss draws from them."""
        return self._training

    def loss(self, network: nn.Module, batch: _Seen, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
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
    training: _Seen, steps: int, seed: int, device: torch.device, advance: Callable[[], object]
) -> DiveNumberClassifier:
    seed_from(seed)
    task = _ClassifierTask(training)
    config = TrainerConfig(steps=steps, lr=_LR, weight_decay=_WEIGHT_DECAY, seed=(seed,))
    Trainer(task, config, start_accelerator(device)).fit(Callbacks(step=lambda *_: advance()))
    return task.network.eval()


@torch.no_grad()
def _calibrate(
    recogniser: DiveNumberClassifier, asked: _Seen, numbers: Sequence[DiveNumber], device: torch.device
) -> None:
    """Set the temperature at which the true numbers are likeliest (Guo et al. 2017), so that chances mean something."""
    opinions = recogniser(asked.vectors.to(device))
    places = {number: place for place, number in enumerate(numbers)}
    known = [(row, places[number]) for row, number in enumerate(asked.numbers) if number in places]
    if not known:
        return
    rows, true = torch.tensor(known, device=device).T

    def surprise(temperature: float) -> float:
        return float(-log_probs(opinions[rows] / temperature, numbers)[torch.arange(len(rows)), true].mean())

    recogniser.temperature.fill_(min(_TEMPERATURES.tolist(), key=surprise))


@torch.no_grad()
def _measure(
    recogniser: DiveNumberClassifier, asked: _Seen, numbers: Sequence[DiveNumber], device: torch.device
) -> Recognition:
    chances = log_probs(recogniser(asked.vectors.to(device)), numbers)
    likeliest = chances.topk(min(_FEW, len(numbers)), dim=1).indices.tolist()
    hits = [[numbers[place] == true for place in few] for few, true in zip(likeliest, asked.numbers, strict=True)]
    return Recognition(
        dives=len(hits),
        right=sum(few[0] for few in hits) / len(hits),
        among_three=sum(any(few) for few in hits) / len(hits),
        certainty=float(chances.exp().amax(1).mean()),
    )
