"""Training on pairs of dives: losses, task, validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.data.batch import PairBatch, mirror_rows, normalise, track_input
from finecausal_cli.data.cache import NO_TRANSITION
from finecausal_cli.errors import TrainingError
from finecausal_cli.evaluation.predict import ErrorSummary, Prediction, bank_of, mean_execution, predict, summarise
from finecausal_cli.evaluation.run import BEST, LAST
from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.i3d import to_channels_last
from finecausal_cli.retrieval.bank import encode_dives, spread_exemplars
from finecausal_cli.training import backbones, freeze, set_training
from finecausal_cli.training.batches import PairBatches, Part
from finecausal_cli.training.checkpoint import Progress
from finecausal_cli.training.trainer import Task, TrainerConfig, linear_cosine, sum_counts
from finecausal_cli.video import CLIP_FRAMES, SNIPPET_FRAMES, SNIPPET_STARTS
from finecausal_cli.weights import StoredInterval, WeightsInfo
from finecausal_cli.weights.store import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from accelerate import Accelerator

    from finecausal_cli.data import Dive
    from finecausal_cli.data.batch import BackgroundSwap
    from finecausal_cli.data.cache import DiveInputs
    from finecausal_cli.model.outputs import PairOutput
    from finecausal_cli.retrieval.bank import ForegroundCounts
    from finecausal_cli.training import TrainOptions
    from finecausal_cli.training.batches import Views
    from finecausal_cli.training.checkpoint import HasState


# What training minimises: foreground, transitions, regression and stages, weighted by learned uncertainty.
#
# The first three are the paper's. The fourth is ours: the paper's loss sees the stages only in their weighted sum,
# which many other divisions among the stages give as well. Where it is known what each stage cost a dive (simulated
# dives know), the fourth holds every stage to its own share.

LOSS_NAMES = ("foreground", "transitions", "regression", "stages")
"""The four losses, in the order of the learned weights."""

FOCAL_GAMMA = 2.0
FOCAL_ALPHA = 0.75
"""Weight of foreground pixels against background ones: an athlete covers a few percent of the picture."""

EXECUTION_SPREAD = 5.0
"""Typical spread of execution between dives; puts the regression loss on the scale of the other losses."""

STAGE_SPREAD = EXECUTION_SPREAD / math.sqrt(len(STAGE_WEIGHTS))
"""Spread of one stage's share, if independent stages of equal spread make that of the whole."""


class UncertaintyWeights(nn.Module):
    """Weight losses by learned uncertainty: sum of L / (2 s^2) + log(1 + s^2).

    Source: Kendall et al. 2018, in the positive form of Liebel and Koerner 2018 that the released code uses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(len(LOSS_NAMES)))

    def forward(self, losses: Mapping[str, Tensor], shares: Mapping[str, float] | None = None) -> Tensor:
        """Combine the losses that are present; a batch without masks, say, has no foreground loss.

        Args:
            losses: Mean losses by name.
            shares: Of the targets of a whole batch, the share that each of these means is over; all by default. What a
                batch's parts give then adds up to what the batch gives.
        """
        total = self.scale.new_zeros(())
        for index, name in enumerate(LOSS_NAMES):
            if name in losses:
                variance = self.scale[index].square()
                weighted = losses[name] / (2 * variance) + torch.log1p(variance)
                total = total + weighted * (1.0 if shares is None else shares[name])
        return total


def foreground_loss(logits: Sequence[Tensor], batch: PairBatch) -> Tensor | None:
    """Focal loss of the mask predictions (Lin et al. 2017), averaged over pixels, then over predictions.

    Args:
        logits: Mask predictions [U, 9, 16, S, S].
        batch: The batch; dives without a mask do not count.

    Returns:
        A scalar, or None if no dive has a mask.
    """
    if not batch.counts["foreground"] or batch.masked is None:
        return None
    masks = mirror_rows(batch.masks.clone(), batch.mirrored)
    snippets = [masks[:, start : start + SNIPPET_FRAMES] for start in SNIPPET_STARTS]
    target = torch.stack(snippets, 1).index_select(0, batch.masked).to(logits[0].dtype)
    return torch.stack([_focal(one.index_select(0, batch.masked), target) for one in logits]).mean()


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    wrongness = 1 - torch.exp(-entropy)
    alpha = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    return (alpha * wrongness**FOCAL_GAMMA * entropy).mean()


def transition_loss(pairs: PairOutput, batch: PairBatch) -> Tensor | None:
    """Binary cross-entropy of the 96 frame probabilities against the one frame where a stage begins.

    Returns:
        A scalar, or None if no transition is known.
    """
    count = batch.counts["transitions"]
    if not count:
        return None
    transitions = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]], 1).unsqueeze(2)
    target = transitions == torch.arange(CLIP_FRAMES, device=transitions.device)[:, None]
    entropy = functional.binary_cross_entropy_with_logits(
        pairs.frame_logits, target.to(pairs.frame_logits.dtype), reduction="none"
    )
    return entropy.where(transitions != NO_TRANSITION, 0).sum() / (count * CLIP_FRAMES)


def regression_loss(pairs: PairOutput, batch: PairBatch) -> Tensor:
    """Mean squared error of the execution difference, in both directions, in units of ``EXECUTION_SPREAD``."""
    difference = batch.execution[batch.query] - batch.execution[batch.exemplar]
    target = torch.stack([difference, -difference], 1)
    return functional.mse_loss(pairs.delta / EXECUTION_SPREAD, target / EXECUTION_SPREAD)


def stage_loss(pairs: PairOutput, batch: PairBatch) -> Tensor | None:
    """Mean squared error of what each stage adds to the difference, in both directions, in units of ``STAGE_SPREAD``.

    Returns:
        A scalar, or None if of no pair both dives' stages are known.
    """
    count = batch.counts["stages"]
    if not count:
        return None
    difference = batch.stage_execution[batch.query] - batch.stage_execution[batch.exemplar]
    target = torch.stack([difference, -difference], 1)
    deltas = zip(pairs.stage_deltas.unbind(-1), STAGE_WEIGHTS, strict=True)
    added = torch.stack([delta * weight for delta, weight in deltas], -1)
    error = (added - target.nan_to_num()) / STAGE_SPREAD
    return error.square().where(~target.isnan(), 0).sum() / (2 * count)


def all_losses(
    foreground: Sequence[Tensor] | None, pairs: PairOutput, batch: PairBatch, *, stages: bool = True
) -> dict[str, Tensor]:
    """Compute every loss whose targets the batch has, by name; ``stages`` says whether the fourth is wanted."""
    losses: dict[str, Tensor] = {"regression": regression_loss(pairs, batch)}
    for name, loss in (
        ("foreground", None if foreground is None else foreground_loss(foreground, batch)),
        ("transitions", transition_loss(pairs, batch)),
        ("stages", stage_loss(pairs, batch) if stages else None),
    ):
        if loss is not None:
            losses[name] = loss
    return losses


# What is trained: a network on pairs of dives, each step's batch shared by the processes part by part.

LAST_NAME = "last.pt"
"""The checkpoint in a run's folder."""

_SCALE_FACTOR = 10
"""The learned weights of the losses move this much faster than the network."""

Evaluate = Callable[[FineCausal], ErrorSummary]
Save = Callable[[str, FineCausal, "Mapping[str, Any]", Progress], object]


class PairsTask(Task[list[Part]]):
    """Train a network on pairs of dives.

    Args:
        model: The network.
        dives: Training dives, all with scores.
        cache: Where their clips come from.
        options: The run.
        accelerator: Where to compute, and with which other processes.
        evaluate: Measures the network, in evaluation mode, on the validation dives.
        save: Called after each validation with the name of the weights (the last, and the best where they are),
            network, metrics and progress.
        views: Encodings of the dives by the network's frozen backbone, to be trained on in place of clips.
        swap: Shows some dives before other backgrounds.

    Raises:
        TrainingError: There are fewer than two dives.
    """

    network: FineCausal

    def __init__(
        self,
        model: FineCausal,
        dives: Sequence[Dive],
        cache: DiveInputs,
        options: TrainOptions,
        accelerator: Accelerator,
        *,
        evaluate: Evaluate,
        save: Save,
        views: Views | None = None,
        swap: BackgroundSwap | None = None,
    ) -> None:
        if len(dives) < 2:
            raise TrainingError("fewer than two training dives with a score", hint="pairs need two")
        self.network = to_channels_last(model.to(accelerator.device))
        self.weights = UncertaintyWeights().to(accelerator.device)
        share = accelerator.process_index, accelerator.num_processes
        self.batch = self._batches = PairBatches(
            dives, cache, options, share=share, frame_size=model.config.frame_size, views=views, swap=swap
        )
        self._options, self._accelerator, self._evaluate, self._save = options, accelerator, evaluate, save
        freeze(model, options)

    def config(self) -> TrainerConfig:
        """Return how the trainer is to run this task."""
        options, per_epoch = self._options, self._batches.plan.steps_per_epoch
        return TrainerConfig(
            steps=options.epochs * per_epoch,
            lr=options.lr,
            weight_decay=options.weight_decay,
            clip_norm=options.clip_norm,
            ema=options.ema,
            steps_per_epoch=per_epoch,
            validate_every=options.validate_every * per_epoch,
            checkpoint_every=options.save_every,
            monitor="rho",
            patience=options.patience,
            seed=(options.seed,),
            workers=options.workers,
        )

    def micro_batches(self, batch: list[Part]) -> list[tuple[Part, dict[str, int]]]:
        """Return the parts, each with the number of targets of the whole batch, of which the processes see parts."""
        each = [part.batch.counts for part in batch if not part.is_spare]
        own = [sum(counts[name] for counts in each) for name in LOSS_NAMES]
        counts = dict(zip(LOSS_NAMES, sum_counts(self._accelerator, own), strict=True))
        if not self._options.stage_supervision:
            counts["stages"] = 0
        return [(part, counts) for part in batch]

    def loss(
        self, network: nn.Module, batch: tuple[Part, dict[str, int]], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a part's share of the batch's weighted loss, and of each loss."""
        part, counts = batch
        own = dict.fromkeys(LOSS_NAMES, 0) if part.is_spare else part.batch.counts
        shares = {name: own[name] / counts[name] if counts[name] else 0.0 for name in LOSS_NAMES}
        losses = self.losses(part.batch.to(device), wants_foreground=counts["foreground"] > 0)
        total = self.weights(losses, shares)
        zero = total.new_zeros(())
        return total, {
            name: losses[name] * shares[name] if name in losses else zero for name in LOSS_NAMES if counts[name]
        }

    def losses(self, batch: PairBatch, *, wants_foreground: bool) -> dict[str, Tensor]:
        """Return the mean losses of a batch by name: dives are encoded in autocast, the rest is in fp32."""
        encoding = (
            self.network.encode(_inputs(batch), foreground="all" if wants_foreground else "none")
            if batch.encoding is None
            else self.network.project_mask_features(batch.encoding)
        )
        with torch.autocast(batch.execution.device.type, enabled=False):
            foreground = None if encoding.foreground is None else [one.float() for one in encoding.foreground]
            frames = None if encoding.frames is None else encoding.frames.float()
            encoding = replace(
                encoding, video=encoding.video.float(), mask=encoding.mask.float(), frames=frames, foreground=None
            )
            pairs = self.network.compare(
                encoding.select(batch.query), encoding.select(batch.exemplar), transitions=_known_transitions(batch)
            )
            return all_losses(foreground, pairs, batch, stages=self._options.stage_supervision)

    def validate(
        self, network: nn.Module, device: torch.device, *, is_last: bool = True, held_out: Iterator[Any] | None = None
    ) -> dict[str, Any]:
        """Return the metrics on the validation dives."""
        return self._evaluate(cast("FineCausal", network)).figures()

    def keep(self, network: nn.Module, metrics: Mapping[str, Any], progress: Progress, *, is_best: bool) -> None:
        """Save the last weights, and the best."""
        for name in (LAST, BEST) if is_best else (LAST,):
            self._save(name, cast("FineCausal", network), metrics, progress)

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rates: up over a share of the steps, then down to zero."""
        return linear_cosine(step, steps, max(1, round(self._options.warmup * steps)))

    def parameter_groups(self, config: TrainerConfig) -> list[dict[str, Any]]:
        """Return backbones, the rest of the network, and the weights of the losses, each with its rate."""
        options = self._options
        pretrained = {id(parameter) for backbone in backbones(self.network) for parameter in backbone.parameters()}
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups: list[tuple[list[nn.Parameter], float, float]] = [
            ([one for one in trained if id(one) in pretrained], options.backbone_lr, options.weight_decay),
            ([one for one in trained if id(one) not in pretrained], options.lr, options.weight_decay),
            (list(self.weights.parameters()), _SCALE_FACTOR * options.lr, 0.0),
        ]
        return [{"params": each, "lr": lr, "weight_decay": decay} for each, lr, decay in groups if each]

    def state(self) -> dict[str, HasState]:
        """Return the weights of the losses."""
        return {"weights": self.weights}

    def train_mode(self) -> None:
        """Switch to training mode, except what is frozen."""
        set_training(self.network, self._options)


def _inputs(batch: PairBatch) -> Tensor:
    """Return what the network is given of the dives of a batch."""
    if batch.clips.is_floating_point():
        return track_input(batch.clips)
    return mirror_rows(normalise(batch.clips), batch.mirrored)


def _known_transitions(batch: PairBatch) -> Tensor | None:
    """Return where the stages truly begin, if that is known of every dive; None leaves them to the network."""
    transitions = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]], 1)
    return transitions if batch.counts["transitions"] == transitions.numel() else None


# Measure a network on the validation dives, during training and for its interval.

INTERVAL_LEVEL = 0.9


def validate(
    model: FineCausal,
    training: Sequence[Dive],
    validation: Sequence[Dive],
    clips: DiveInputs,
    options: TrainOptions,
    views: Views | None = None,
) -> ErrorSummary:
    """Score the validation dives against some training dives of each number, and measure.

    Args:
        model: The network, in evaluation mode.
        training: Dives that the voters are chosen from.
        validation: What is scored.
        clips: Where the clips come from.
        options: How many voters.
        views: Encodings of the dives by the network's frozen backbone; their clips are not read then.
    """
    return summarise(*_predict(model, training, validation, clips, options, views))


def calibrate(
    weights: Path,
    training: Sequence[Dive],
    validation: Sequence[Dive],
    clips: DiveInputs,
    options: TrainOptions,
    device: torch.device,
    views: Views | None = None,
) -> None:
    """Store with weights the half-width, in execution units, that covers the stated share of validation dives."""
    loaded = load_weights(weights, device=device)
    predictions, _ = _predict(loaded.model, training, validation, clips, options, views)
    errors = [abs(one.predicted - one.score) / one.difficulty for one in predictions]
    interval = StoredInterval(level=INTERVAL_LEVEL, execution_half_width=conformal_half_width(errors, INTERVAL_LEVEL))
    info = WeightsInfo.read(loaded.info, weights).model_copy(update={"interval": interval})
    save_weights(weights, loaded.model, info.facts())


def conformal_half_width(errors: Sequence[float], level: float) -> float:
    """Return the split-conformal half-width: the ceil((n + 1) level)-th smallest absolute error.

    With fewer errors than the level needs, the largest one is returned, which covers a little less than stated.

    Args:
        errors: Absolute errors on dives that took no part in fitting.
        level: Stated coverage, 0..1.
    """
    rank = int(np.ceil((len(errors) + 1) * level))
    return float(np.sort(np.asarray(errors))[min(rank, len(errors)) - 1])


def _predict(
    model: FineCausal,
    training: Sequence[Dive],
    held_out: Sequence[Dive],
    clips: DiveInputs,
    options: TrainOptions,
    views: Views | None,
) -> tuple[list[Prediction], Sequence[ForegroundCounts | None]]:
    voters = spread_exemplars(training, options.bank_per_number)
    if views is None:
        exemplars = encode_dives(model, voters, clips)
        queries = encode_dives(model, held_out, clips, foreground=True)
    else:
        exemplars, queries = views.encoded(model, voters), views.encoded(model, held_out)
    bank = bank_of(exemplars, name="training dives", weights_digest="in training")
    baseline = mean_execution((dive.number, dive.execution) for dive in training)
    predictions = predict(model, queries, bank, baseline=baseline, voters=options.voters)
    return predictions, queries.foreground
