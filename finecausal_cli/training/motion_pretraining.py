"""Pretraining of backbones: predict the motion of simulated dives."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.datasets import assign_splits, read_dataset
from finecausal_cli.errors import TrainingError
from finecausal_cli.model.config import FRAMES, SNIPPET_FRAMES, SNIPPET_STRIDE
from finecausal_cli.model.frame_encoder import FRAME_FEATURES, FrameBackbone, FrameParser, cut_frames
from finecausal_cli.model.i3d import to_channels_last
from finecausal_cli.model.segmentation import SpatialActionParser
from finecausal_cli.training import PretrainOptions, check_precision, require_one_process
from finecausal_cli.training.checkpoint import (
    PRETRAINING_NAME,
    describe_data,
    ensure_new_run_dir,
    read_run,
    record_options,
    write_run,
)
from finecausal_cli.training.motion_snippets import SEEN, SnippetDataset, Snippets, collate_snippets
from finecausal_cli.training.run import init_model
from finecausal_cli.training.trainer import Callbacks, Task, Trainer, TrainerConfig, start_accelerator, warmed_cosine
from finecausal_cli.weights import WeightsInfo
from finecausal_cli.weights.store import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from finecausal_cli.data import Dive
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.i3d import I3D
    from finecausal_cli.training.checkpoint import Progress
    from finecausal_cli.training.motion_snippets import Scale


logger = logging.getLogger(__name__)


def counts_of_seen(options: PretrainOptions) -> list[float]:
    """Return the loss weight of each of `SEEN`: [K]."""
    return [options.counts.get(stretch, 1.0) for stretch in SEEN.values()]


# The backbones, prediction heads on their features, and the losses.

HIDDEN = 256
"""Width of the hidden layer of a frame."""

SHARP = 0.2
"""Errors of the motion, in standard deviations, from which on the loss is linear (smooth L1)."""

FOREGROUND_EVERY = 8
"""The foreground of one frame in so many (of an I3D, one snippet) is predicted; it costs as much as the backbone."""

_DROPOUT = 0.2
_MOTION_WEIGHT, _PIXELS_WEIGHT = 2, 4
"""Weights of the losses of the motion and of the foreground's pixels; those of the other losses are 1."""


@dataclass(frozen=True)
class HeadOutputs:
    """Predictions from one backbone's features of B snippets.

    Attributes:
        motion: [B, 16, M].
        stage: Logits [B, 16, 3].
        seen: [B, K], of the whole snippet.
        seen_by_frame: [B, 16, K], of single frames; None where the backbone does not read such.
    """

    motion: Tensor
    stage: Tensor
    seen: Tensor
    seen_by_frame: Tensor | None

    def losses(self, batch: Snippets, counts: Tensor) -> dict[str, Tensor]:
        """Return the losses by name; ``counts`` [K] as for `masked_error`."""
        each = functional.smooth_l1_loss(self.motion.float(), batch.motion, beta=SHARP, reduction="none").mean(-1)
        losses = {
            "motion": _MOTION_WEIGHT * (each * batch.visible).sum() / batch.visible.sum().clamp(min=1),
            "stage": functional.cross_entropy(self.stage.float().flatten(0, 1), batch.stage.flatten()),
            "seen": masked_error(self.seen, batch.seen, batch.shown, counts),
        }
        if self.seen_by_frame is not None:
            truth = batch.seen[:, None]
            losses["seen_by_frame"] = masked_error(self.seen_by_frame, truth, batch.shown_by_frame, counts)
        return losses


@dataclass(frozen=True)
class MaskPrediction:
    """Predicted foreground of some frames (of an I3D, of some snippets).

    Attributes:
        logits: [N, ..., H, W].
        mask: The target, 0 or 1, the same shape.
    """

    logits: Tensor
    mask: Tensor

    def loss(self) -> Tensor:
        """Return cross-entropy of the pixels plus Dice loss."""
        logits, mask = self.logits.float(), self.mask.float()
        probability = logits.sigmoid()
        overlap = 2 * (probability * mask).sum() / (probability.sum() + mask.sum() + 1)
        return _PIXELS_WEIGHT * functional.binary_cross_entropy_with_logits(logits, mask) + 1 - overlap


class PredictionHeads(nn.Module):
    """Heads on a backbone that predict all targets but the foreground.

    Args:
        backbone: The backbone.
        motion: M, values of motion a frame.
        seen: K, quantities that judges see.
    """

    def __init__(self, backbone: I3D | FrameBackbone, motion: int, seen: int) -> None:
        super().__init__()
        self.backbone = backbone
        features = backbone.features
        by_frame = isinstance(backbone, FrameBackbone)
        self.shared = nn.Linear(FRAME_FEATURES, HIDDEN) if by_frame else nn.Linear(features, SNIPPET_FRAMES * HIDDEN)
        self.motion = nn.Linear(HIDDEN, motion)
        self.stage = nn.Linear(HIDDEN, 3)
        self.seen_by_frame = nn.Linear(HIDDEN, seen) if by_frame else None
        self.seen = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(features, seen)
        )

    def forward(self, frames: Tensor, *, taps: bool) -> tuple[HeadOutputs, tuple[Tensor, ...]]:
        """Predict for snippets [B, 3, 16, H, W]; with ``taps``, return intermediate features of the backbone too."""
        if isinstance(self.backbone, FrameBackbone):
            vectors, kept = self.backbone.read_frames(cut_frames(frames), taps=taps)
            vectors = vectors.reshape(len(frames), SNIPPET_FRAMES, FRAME_FEATURES)
            features = self.backbone.join(vectors)
        else:
            features, kept = self.backbone(frames, taps=taps)
            vectors = features
        hidden = functional.relu(self.shared(vectors).reshape(len(frames), SNIPPET_FRAMES, HIDDEN))
        by_frame = None if self.seen_by_frame is None else self.seen_by_frame(hidden)
        return HeadOutputs(self.motion(hidden), self.stage(hidden), self.seen(features), by_frame), kept


class PretrainModel(nn.Module):
    """A network's backbones with prediction heads, and its foreground, which is on the last of them.

    Args:
        network: The network; its other modules are not trained.
        motion: M, values of motion a frame.
        seen: K, quantities that judges see.
    """

    def __init__(self, network: FineCausal, motion: int, seen: int) -> None:
        super().__init__()
        self.parser = network.parser
        backbones = [network.video_trunk, *(() if self.parser.trunk is None else (self.parser.trunk,))]
        self.heads = nn.ModuleList(PredictionHeads(backbone, motion, seen) for backbone in backbones)

    def forward(self, batch: Snippets, every: int) -> tuple[list[HeadOutputs], MaskPrediction]:
        """Predict from each backbone, that of the video features first; the foreground of one frame in ``every``."""
        outputs: list[HeadOutputs] = []
        taps: tuple[Tensor, ...] = ()
        for heads in self.heads:
            output, taps = heads(batch.frames, taps=heads is self.heads[-1])
            outputs.append(output)
        return outputs, self._predict_mask(tuple(tap[::every] for tap in taps), batch, every)

    def _predict_mask(self, taps: tuple[Tensor, ...], batch: Snippets, every: int) -> MaskPrediction:
        if isinstance(self.parser, FrameParser):
            mask = batch.mask.flatten(0, 1)[::every]
            return MaskPrediction(self.parser.heads(taps, cut_frames(batch.frames)[::every]), mask)
        assert isinstance(self.parser, SpatialActionParser)  # noqa: S101 -- only these two see pictures
        return MaskPrediction(self.parser.predict_mask(taps, sides=False)[-1], batch.mask[::every])

    def losses(self, batch: Snippets, counts: Tensor) -> dict[str, Tensor]:
        """Return the losses of a batch by name, added up over the backbones; ``counts`` [K] as for `masked_error`."""
        outputs, foreground = self(batch, FOREGROUND_EVERY)
        each = [output.losses(batch, counts) for output in outputs]
        sums = {name: torch.stack([losses[name] for losses in each]).sum() for name in each[0]}
        return {**sums, "foreground": foreground.loss()}


def masked_error(predicted: Tensor, target: Tensor, shown: Tensor, counts: Tensor) -> Tensor:
    """Return the mean squared error of the quantities that are shown.

    Args:
        predicted: [..., K].
        target: The same, or what broadcasts to it.
        shown: bool [..., K]; the others have no loss.
        counts: [K], loss weights.
    """
    squared = (predicted.float() - target).square().where(shown, torch.zeros((), device=predicted.device))
    return (squared.flatten(0, -2).sum(0) / shown.flatten(0, -2).sum(0).clamp(min=1) * counts).mean()


# Metrics on held-out dives.

STARTS = range(0, FRAMES - SNIPPET_FRAMES + 1, SNIPPET_STRIDE)
"""First frames of the snippets of a whole dive, as the network takes them."""


@dataclass(frozen=True)
class ValidationMetrics:
    """Metrics of a pretraining on some dives.

    Attributes:
        stage: Accuracy of the frames' stages, 0..1.
        foreground_iou: IoU of all their foreground pixels together, 0..1.
        seen: Pearson's correlation of each quantity, predicted from the snippets that show it and averaged over a dive,
            with the target, by its name in `SEEN`; None where either is the same in all dives.
    """

    stage: float
    foreground_iou: float
    seen: dict[str, float | None]

    def figures(self) -> dict[str, Any]:
        """Return all of them by name."""
        return {"stage": self.stage, "foreground_iou": self.foreground_iou, **self.seen}


@torch.no_grad()
def validate_pretraining(model: PretrainModel, dives: Iterable[Snippets], device: torch.device) -> ValidationMetrics:
    """Measure a model on whole dives without augmentation.

    Args:
        model: The model; of two backbones, that of the video features is measured.
        dives: The snippets of each dive, from `HeldOutDives`.
        device: Where the model is.

    Raises:
        VideoError: A clip cannot be read.
    """
    was_training = model.training
    model.eval()
    frames, read = 0, []
    for dive in dives:
        batch = dive.to(device).prepare()
        (output, *_), foreground = model(batch, 1)
        mask, target = foreground.logits > 0, foreground.mask > 0
        shown = batch.shown.float()
        predicted = (output.seen * shown).sum(0) / shown.sum(0).clamp(min=1)
        counts = ((output.stage.argmax(2) == batch.stage).sum(), (mask & target).sum(), (mask | target).sum())
        read.append((torch.stack(counts), torch.stack([predicted.float(), batch.seen[0]])))
        frames += batch.stage.numel()
    model.train(was_training)
    counted, seen = (
        torch.stack(each).cpu().numpy() for each in zip(*read, strict=True)
    )  # the device is waited for here
    correct, intersection, union = counted.sum(0).tolist()
    columns = zip(SEEN, seen[:, 0].T, seen[:, 1].T, strict=True)
    return ValidationMetrics(
        stage=correct / frames,
        foreground_iou=intersection / max(union, 1),
        seen={name: correlation(left, right) for name, left, right in columns},
    )


def correlation(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> float | None:
    """Return Pearson's correlation of two rows of numbers; None where one of them does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r = float(np.corrcoef(left, right)[0, 1]) if len(left) > 1 else math.nan
    return r if math.isfinite(r) else None


# A whole pretraining: from simulated dives to weights with a trained backbone.

CHECKPOINT_NAME = "pretraining.pt"

NOTE = "no scores yet, only backbones pretrained on the motion of"
"""What such weights are, before the dives are named."""

WARMUP = 100
"""Steps over which the learning rate rises."""

VAL_SUBSET = 40
"""Validation dives of a validation before the last, which takes all."""

_DIGITS = 8
"""Digits of a digest (hex) that random numbers follow from."""


def pretrain(
    dataset: Path,
    folder: Path,
    *,
    config: ModelConfig,
    options: PretrainOptions,
    cache: Path | None,
    device: torch.device,
    resume: bool = False,
    changes: Mapping[str, Any] | None = None,
    command: Sequence[str] = (),
    callbacks: Callbacks | None = None,
) -> Path:
    """Pretrain the backbones of a network on the targets that the simulator knows of its dives.

    Args:
        dataset: Simulated dives; validation dives are measured on, test dives are not used.
        folder: The run's folder, and that of the weights. Without ``resume`` it must hold neither yet.
        config: The network.
        options: The run. With ``resume`` the run's own options and network are used.
        cache: Folder of decoded clips; None decodes every time.
        device: Where to compute.
        resume: Go on with the run in ``folder``.
        changes: With ``resume``: options of the run that change, such as ``steps``.
        command: The command line, to be recorded.
        callbacks: Called as the run goes on.

    Returns:
        The folder.

    Raises:
        TrainingError: The run cannot start or be resumed.
        DatasetError: The dataset is wrong, or its dives are not simulated ones.
        WeightsError: The weights to start from cannot be trusted or do not fit.
        VideoError: A clip cannot be read.
    """
    require_one_process("pretraining")
    if config.trunk == "skeleton":
        raise TrainingError("a skeleton network reads tracks and has no pictures to pretrain on", hint="train it")
    started = read_run(folder, PretrainOptions, PRETRAINING_NAME) if resume else None
    if started is None:
        ensure_new_run_dir(folder)
    else:
        config, options = started.config, replace(started.options, **(changes or {}))
    check_precision(options.precision, config, device)
    data = PretrainData.read(dataset, ClipCache(cache, geometry=config.geometry, frame_size=config.frame_size))
    described = describe_data(dataset, data.dives, options)
    if started is not None and started.labels_sha256 != described["labels_sha256"]:
        raise TrainingError("the run was started on other dives", where=dataset, hint="start anew elsewhere")
    # What a checkpoint goes on from has been loaded long ago, and may be gone.
    is_begun = started is not None and (folder / CHECKPOINT_NAME).exists()
    network, begun = init_model(config, init=None if is_begun else options.init, seed=options.seed)
    if started is not None:
        begun = started.begun
    calls = callbacks or Callbacks()
    calls.data(len(data.training), len(data.held_out), options.steps)
    for dives in (data.training, data.held_out):
        dives.make_ready(calls.decoded)
    if started is None:  # only now: a run that could not begin may be begun again
        write_run(
            folder, config, options, dataset, data.dives,
            begun=begun, processes=1, command=command, name=PRETRAINING_NAME,
        )  # fmt: skip
    elif changes:
        record_options(folder, options, PRETRAINING_NAME)
    accelerator = start_accelerator(device, options.precision)
    seed = _seed_sequence(options, begun)
    task = _PretrainTask(to_channels_last(network), data, options, seed, folder, described, calls.validated, device)
    settings = TrainerConfig(
        steps=options.steps,
        lr=options.lr,
        weight_decay=options.weight_decay,
        clip_norm=options.clip_norm,
        validate_every=options.save_every,
        checkpoint_every=options.save_every,
        seed=seed,
        workers=options.workers,
    )
    trainer = Trainer(task, settings, accelerator, folder, checkpoint_name=CHECKPOINT_NAME)
    if started is not None and trainer.resume(missing_ok=True) and trainer.is_done:
        logger.warning("note: the run has ended: --steps lets it go on")
    trainer.fit(calls)
    return folder


def _seed_sequence(options: PretrainOptions, begun: dict[str, Any]) -> tuple[int, int]:
    """Return what all random numbers follow from: the seed, and the initial weights.

    So of two runs, one of which starts from the weights of the other, the second draws other snippets.
    """
    return options.seed, int(begun.get("digest", "0")[:_DIGITS], 16)


@dataclass(frozen=True)
class PretrainData:
    """The dives of a run.

    Attributes:
        dives: All of them.
        training: Those to train on.
        held_out: Those to validate on.
    """

    dives: list[Dive]
    training: SnippetDataset
    held_out: SnippetDataset

    @classmethod
    def read(cls, dataset: Path, clips: ClipCache) -> PretrainData:
        """Read the targets of all dives.

        Raises:
            DatasetError: They are not simulated.
            TrainingError: They are too few.
        """
        dives = assign_splits(read_dataset(dataset))
        training, held_out = (
            SnippetDataset([dive for dive in dives if dive.split == split], clips) for split in ("train", "val")
        )
        if not (len(training) and len(held_out)):
            raise TrainingError(
                f"{len(training)} training and {len(held_out)} validation dives",
                where=dataset,
                hint="simulate more dives",
            )
        return cls(dives, training, held_out)


class HeldOutDives:
    """The snippets of held-out dives, each whole, by index."""

    def __init__(self, dataset: SnippetDataset, scale: Scale) -> None:
        self._dataset, self._scale = dataset, scale

    def __call__(self, index: int) -> Snippets:
        """Return those of a dive; raises ``VideoError`` where its clip cannot be read."""
        return collate_snippets(self._dataset.crop_snippets(index, STARTS, None), self._scale, None)


class SnippetBatches:
    """The snippets of each step, drawn from seed and step."""

    def __init__(self, training: SnippetDataset, scale: Scale, options: PretrainOptions, seed: tuple[int, int]) -> None:
        self._training, self._scale, self._options, self._seed = training, scale, options, seed

    def __call__(self, step: int) -> Snippets:
        """Return those of a step; raises ``VideoError`` where a clip cannot be read."""
        options, training = self._options, self._training
        rng = np.random.default_rng((*self._seed, step))
        chosen = rng.choice(len(training), min(options.dives, len(training)), replace=False)
        snippets = [
            snippet
            for index in chosen.tolist()
            for snippet in training.crop_snippets(
                index, training.draw(index, options.snippets, rng, options.at_takeoff), rng
            )
        ]
        return collate_snippets(snippets, self._scale, rng)


class _PretrainTask(Task[Snippets]):
    """Train backbones and foreground on snippets of simulated dives."""

    def __init__(
        self,
        model: FineCausal,
        data: PretrainData,
        options: PretrainOptions,
        seed: tuple[int, int],
        folder: Path,
        described: dict[str, Any],
        validated: Callable[[ValidationMetrics], object],
        device: torch.device,
    ) -> None:
        first = data.training.targets[0]
        self.network: nn.Module = PretrainModel(model, first.motion.shape[1], len(first.seen))
        self._model, self._data, self._scale = model, data, data.training.scale()
        self._folder, self._described, self._validated = folder, described, validated
        self.batch = SnippetBatches(data.training, self._scale, options, seed)
        self.held_out_batch = HeldOutDives(data.held_out, self._scale)
        self._counts = torch.tensor(counts_of_seen(options), device=device)

    def held_out_count(self, *, is_last: bool) -> int:
        """Return how many validation dives are measured: some, in the end all."""
        count = len(self._data.held_out)
        return count if is_last else min(count, VAL_SUBSET)

    def loss(self, network: nn.Module, batch: Snippets, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the losses, and each."""
        losses = cast("PretrainModel", network).losses(batch.to(device).prepare(), self._counts)
        return torch.stack([*losses.values()]).sum(), losses

    def validate(
        self, network: nn.Module, device: torch.device, *, is_last: bool = True, held_out: Iterator[Any] | None = None
    ) -> dict[str, Any]:
        """Return the metrics on validation dives."""
        dives = self.held_out(is_last=is_last) if held_out is None else held_out
        metrics = validate_pretraining(cast("PretrainModel", network), dives, device)
        self._validated(metrics)
        return metrics.figures()

    def keep(self, network: nn.Module, metrics: Mapping[str, Any], progress: Progress, *, is_best: bool) -> None:
        """Save the weights."""
        note = f"{NOTE} {len(self._data.training)} dives of the dataset {self._described['dataset']}"
        facts = {"step": progress.step, "understood": metrics, **self._described}
        save_weights(self._folder, self._model, WeightsInfo(note=note, training=facts).facts())

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rate."""
        return warmed_cosine(step, steps, WARMUP)
