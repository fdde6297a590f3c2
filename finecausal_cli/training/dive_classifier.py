"""Teach weights to recognise dive numbers: a small network on what their trunk says of every frame.

The trunk rests, so each dive is read once, and learning takes a minute. Scores stay as they are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
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
from finecausal_cli.training import ClassifierOptions
from finecausal_cli.training.pairs import seed_from, warmed_cosine
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
    recogniser = _train_step(known, options.steps, options.seed, device, advance).eval()
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


def _train_step(
    known: _Seen, steps: int, seed: int, device: torch.device, advance: Callable[[], object]
) -> DiveNumberClassifier:
    seed_from(seed)
    recogniser = DiveNumberClassifier().to(device)
    optimizer = torch.optim.AdamW(recogniser.parameters(), _LR, weight_decay=_WEIGHT_DECAY)
    scale = recogniser.standardise
    assert scale.running_mean is not None and scale.running_var is not None  # noqa: S101, PT018 -- it tracks both
    scale.running_mean.copy_(known.vectors.mean((0, 1)))
    scale.running_var.copy_(known.vectors.var((0, 1)))
    values, frames = known.values, known.vectors.shape[1]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _LR * warmed_cosine(step, steps, _WARMUP)
        seed_from(seed, step)
        chosen = torch.randint(len(values), (_BATCH,))
        shift = torch.randint(-_LATEST, _LATEST + 1, (_BATCH, 1))
        when = (torch.arange(frames) + shift).clamp(0, frames - 1)
        seen = known.vectors[chosen[:, None], when].to(device)
        recogniser.train()
        recogniser.standardise.eval()
        opinions = recogniser(seen)
        asked = values[chosen].to(device)
        parts = torch.split_with_sizes(opinions, [*PARTS.values()], dim=1)
        loss = torch.stack([functional.cross_entropy(part, asked[:, place]) for place, part in enumerate(parts)]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        advance()
    return recogniser


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
