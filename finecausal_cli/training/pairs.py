"""Train on pairs of dives: losses, steps, validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from finecausal_cli.data.batch import PairBatch, collate, normalise
from finecausal_cli.data.cache import NO_TRANSITION
from finecausal_cli.device import AUTOCAST
from finecausal_cli.errors import TrainingError
from finecausal_cli.evaluation.predict import ErrorSummary, Prediction, bank_of, mean_execution, predict, summarise
from finecausal_cli.model.config import STAGE_WEIGHTS
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.i3d import to_channels_last
from finecausal_cli.retrieval.bank import encode_dives, spread_exemplars
from finecausal_cli.training import freeze, set_training, trunks
from finecausal_cli.training.batches import Part, StepPlan, load_steps
from finecausal_cli.training.checkpoint import Progress, RunLog, restore, save_checkpoint
from finecausal_cli.video import CLIP_FRAMES, SNIPPET_FRAMES, SNIPPET_STARTS
from finecausal_cli.weights import StoredInterval, WeightsInfo
from finecausal_cli.weights.store import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from finecausal_cli.data import Dive
    from finecausal_cli.data.batch import BackgroundSwap, Group
    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.model.outputs import PairOutput
    from finecausal_cli.retrieval.bank import ForegroundCounts
    from finecausal_cli.training import TrainOptions
    from finecausal_cli.training.batches import Views
    from finecausal_cli.training.processes import Processes


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
        for place, name in enumerate(LOSS_NAMES):
            if name in losses:
                variance = self.scale[place].square()
                weighed = losses[name] / (2 * variance) + torch.log1p(variance)
                total = total + weighed * (1.0 if shares is None else shares[name])
        return total


def count_targets(batch: PairBatch) -> dict[str, int]:
    """Count what each loss is a mean over: masks, transitions, pairs and stages that are known."""
    transitions = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]])
    stages = batch.stage_execution[batch.query] - batch.stage_execution[batch.exemplar]
    return {
        "foreground": int(batch.has_mask.sum()),
        "transitions": int((transitions != NO_TRANSITION).sum()),
        "regression": len(batch.query),
        "stages": int((~stages.isnan()).sum()),
    }


def foreground_loss(logits: Sequence[Tensor], batch: PairBatch) -> Tensor | None:
    """Focal loss of the mask predictions (Lin et al. 2017), averaged over pixels, then over predictions.

    Args:
        logits: Mask predictions [U, 9, 16, S, S].
        batch: The batch; dives without a mask do not count.

    Returns:
        A scalar, or None if no dive has a mask.
    """
    if not bool(batch.has_mask.any()):
        return None
    snippets = [batch.masks[:, start : start + SNIPPET_FRAMES] for start in SNIPPET_STARTS]
    target = torch.stack(snippets, 1)[batch.has_mask].to(logits[0].dtype)
    return torch.stack([_focal(one[batch.has_mask], target) for one in logits]).mean()


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
    transitions = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]], 1)
    known = (transitions != NO_TRANSITION).unsqueeze(2)
    if not bool(known.any()):
        return None
    target = functional.one_hot(transitions.clamp(min=0), CLIP_FRAMES).transpose(2, 3)
    known_frames = known.expand(-1, -1, CLIP_FRAMES, -1)
    entropy = functional.binary_cross_entropy_with_logits(
        pairs.frame_logits, target.to(pairs.frame_logits.dtype), reduction="none"
    )
    return entropy[known_frames].mean()


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
    difference = batch.stage_execution[batch.query] - batch.stage_execution[batch.exemplar]
    target = torch.stack([difference, -difference], 1)
    known = ~target.isnan()
    if not bool(known.any()):
        return None
    added = pairs.stage_deltas * pairs.stage_deltas.new_tensor(STAGE_WEIGHTS)
    return functional.mse_loss(added[known] / STAGE_SPREAD, target[known] / STAGE_SPREAD)


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


# A running mean of the weights: what is validated and kept when ``ema`` is on.

Tensors = tuple[Tensor, ...] | list[Tensor]

_WARMUP = 10
"""After n steps the mean keeps at most (1 + n) / (10 + n) of itself, or a short run would end near where it began."""


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a network that follows it: new = kept share * old + rest * current, buffers too.

    Args:
        model: The network; give it to ``update_parameters`` after each step.
        decay: Share that the mean keeps at a step, 0..1, reached as the run goes on.
    """

    def follow(means: Tensors, currents: Tensors, count: Tensor | int) -> None:
        done = int(count)
        kept = min(decay, (1 + done) / (_WARMUP + done))
        if means[0].is_floating_point():
            torch._foreach_lerp_(means, currents, 1 - kept)
        else:  # counters
            torch._foreach_copy_(means, currents)

    mean = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
    mean.requires_grad_(requires_grad=False)
    return mean.eval()


# One optimiser step: forward, backward, and what the processes and parts of a batch give added up.

_SCALE_FACTOR = 10
"""The learned weights of the losses move this much faster than the network."""


def rate_at(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak rate at a step: up in a line over a share of the steps, down in a cosine to zero."""
    warm = max(1, round(warmup * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))


def warmed_cosine(step: int, steps: int, warm: int) -> float:
    """Return the share of the peak rate at a step: a cosine to zero over all steps, held down over the first few."""
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


class Stepper:
    """A network with everything that a step changes.

    Args:
        model: The network, where it shall be trained.
        options: The run.
        processes: This process and the others.
        steps: Steps of the whole run.
    """

    def __init__(self, model: FineCausal, options: TrainOptions, processes: Processes, steps: int) -> None:
        self.model = model
        self.weights = UncertaintyWeights().to(processes.device)
        self._options = options
        self._processes = processes
        self._steps = steps
        freeze(model, options)
        self.optimizer = _optimizer(model, self.weights, options)
        self._parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        self._scaler = torch.amp.GradScaler(processes.device.type, enabled=options.precision == "fp16")
        self.average = averaged(model, options.ema) if options.ema else None

    @property
    def best_model(self) -> FineCausal:
        """The network to validate and to keep: the running mean, if there is one."""
        if self.average is None:
            return self.model
        mean: FineCausal = self.average.module  # type: ignore[assignment]
        return mean

    def parts(self) -> dict[str, Any]:
        """Return everything that a checkpoint keeps, by name."""
        parts = {"model": self.model, "weights": self.weights, "optimizer": self.optimizer, "scaler": self._scaler}
        return parts if self.average is None else {**parts, "average": self.average}

    def __call__(self, parts: Sequence[Part], step: int) -> dict[str, float]:
        """Learn from one batch.

        Args:
            parts: What this process computes of it.
            step: Optimiser steps done so far.

        Returns:
            The batch's losses by name, their weighted sum ``total``, and the norm of its ``gradient`` before clipping.

        Raises:
            TrainingError: The loss is no longer a finite number.
        """
        counts = self._count(parts)
        self.optimizer.zero_grad(set_to_none=True)
        sums = torch.zeros(1 + len(LOSS_NAMES), device=self._processes.device)
        for part in parts:
            sums += self._learn(part, counts, step)
        total, *losses = self._processes.add_up(sums).tolist()
        if not math.isfinite(total):
            raise TrainingError(f"the loss is {total} at step {step}", hint="lower --lr, or use fp32")
        self._add_gradients_up()
        norm = self._move(step)
        known = {name: loss for name, loss in zip(LOSS_NAMES, losses, strict=True) if counts[name]}
        return {"total": total, "gradient": norm, **known}

    def average_statistics(self) -> None:
        """Give every process the mean of all processes' running statistics: each saw its own parts of the batches."""
        if self._processes.count == 1:
            return
        for module in (self.model, self.average):
            for buffer in () if module is None else module.buffers():
                if buffer.is_floating_point():
                    self._processes.add_up(buffer).div_(self._processes.count)

    def _count(self, parts: Sequence[Part]) -> dict[str, int]:
        """Count the targets of the whole batch, of which the processes see parts."""
        each = [count_targets(part.batch) for part in parts if not part.is_spare]
        counted = [sum(counts[name] for counts in each) for name in LOSS_NAMES]
        told = self._processes.add_up(torch.tensor(counted, device=self._processes.device)).tolist()
        counts = dict(zip(LOSS_NAMES, told, strict=True))
        return counts if self._options.stage_supervision else {**counts, "stages": 0}

    def _learn(self, part: Part, counts: Mapping[str, int], step: int) -> Tensor:
        """Add a part's gradients to those of the others; return its share of total and losses."""
        own = dict.fromkeys(LOSS_NAMES, 0) if part.is_spare else count_targets(part.batch)
        shares = {name: own[name] / counts[name] if counts[name] else 0.0 for name in LOSS_NAMES}
        seed_from(self._options.seed, step, part.number)
        part = part.to(self._processes.device)
        losses = self._losses(part.batch, wants_foreground=counts["foreground"] > 0)
        total = self.weights(losses, shares)
        self._scaler.scale(total).backward()
        zero = total.new_zeros(())
        each = [total, *(losses[name] * shares[name] if name in losses else zero for name in LOSS_NAMES)]
        return torch.stack(each).detach()

    def _losses(self, batch: PairBatch, *, wants_foreground: bool) -> dict[str, Tensor]:
        dtype = AUTOCAST.get(self._options.precision)
        with torch.autocast(self._processes.device.type, dtype, enabled=dtype is not None):
            encoding = (
                self.model.encode(normalise(batch.clips), foreground="all" if wants_foreground else "none")
                if batch.encoding is None
                else self.model.project_mask_features(batch.encoding)
            )
        foreground = None if encoding.foreground is None else [one.float() for one in encoding.foreground]
        frames = None if encoding.frames is None else encoding.frames.float()
        encoding = replace(
            encoding, video=encoding.video.float(), mask=encoding.mask.float(), frames=frames, foreground=None
        )
        pairs = self.model.compare(
            encoding.select(batch.query), encoding.select(batch.exemplar), transitions=_known_transitions(batch)
        )
        return all_losses(foreground, pairs, batch, stages=self._options.stage_supervision)

    def _add_gradients_up(self) -> None:
        """Add up the gradients of all processes; each was weighed by its share of the batch already."""
        if self._processes.count == 1:
            return
        used = torch.tensor([one.grad is not None for one in self._parameters], device=self._processes.device)
        used = self._processes.add_up(used.int())
        grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in self._parameters]
        flat = self._processes.add_up(torch.cat([grad.flatten() for grad in grads]))
        pieces = torch.split(flat, [grad.numel() for grad in grads])
        for parameter, grad, piece, count in zip(self._parameters, grads, pieces, used.tolist(), strict=True):
            # What no process used has no gradient, and its moments rest, as with one process.
            parameter.grad = grad.copy_(piece.view(grad.shape)) if count else None

    def _move(self, step: int) -> float:
        rate = rate_at(step, self._steps, self._options.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
        self._scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._options.clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return float(norm)


def seed_from(*facts: int) -> None:
    """Let chance in the network follow from a few numbers alone: seed, step and the like.

    So a resumed run needs no state of a generator, and two processes draw what one draws in two parts.
    """
    torch.manual_seed(int(np.random.SeedSequence(facts).generate_state(1, np.uint32)[0]))


def _known_transitions(batch: PairBatch) -> Tensor | None:
    """Cut the stages where they truly are, if that is known of every dive; else where the network says."""
    transitions = torch.stack([batch.transitions[batch.query], batch.transitions[batch.exemplar]], 1)
    return None if bool((transitions == NO_TRANSITION).any()) else transitions


def _optimizer(model: FineCausal, weights: UncertaintyWeights, options: TrainOptions) -> torch.optim.Optimizer:
    pretrained = {id(parameter) for trunk in trunks(model) for parameter in trunk.parameters()}
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rates: list[tuple[list[nn.Parameter], float, float]] = [
        ([one for one in learning if id(one) in pretrained], options.backbone_lr, options.weight_decay),
        ([one for one in learning if id(one) not in pretrained], options.lr, options.weight_decay),
        (list(weights.parameters()), _SCALE_FACTOR * options.lr, 0.0),
    ]
    groups = [
        {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for parameters, rate, decay in rates
        if parameters
    ]
    return torch.optim.AdamW(groups, lr=options.lr, weight_decay=options.weight_decay)


# Measure a network on the validation dives, during training and for its interval.

INTERVAL_LEVEL = 0.9


def validate(
    model: FineCausal,
    training: Sequence[Dive],
    validation: Sequence[Dive],
    clips: ClipCache,
    options: TrainOptions,
    views: Views | None = None,
) -> ErrorSummary:
    """Score the validation dives against some training dives of each number, and measure.

    Args:
        model: The network, in evaluation mode.
        training: Where the voters are taken from.
        validation: What is scored.
        clips: Where the clips come from.
        options: How many voters.
        views: What the network's frozen trunk makes of the dives; their clips are not read then.
    """
    return summarise(*_predict(model, training, validation, clips, options, views))


def calibrate(
    weights: Path,
    training: Sequence[Dive],
    validation: Sequence[Dive],
    clips: ClipCache,
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
    clips: ClipCache,
    options: TrainOptions,
    views: Views | None,
) -> tuple[list[Prediction], Sequence[ForegroundCounts | None]]:
    voters = spread_exemplars(training, options.bank_per_number)
    if views is None:
        shelf = encode_dives(model, voters, clips)
        queries = encode_dives(model, held_out, clips, foreground=True)
    else:
        shelf, queries = views.encoded(model, voters), views.encoded(model, held_out)
    bank = bank_of(shelf, name="training dives", weights_digest="in training")
    baseline = mean_execution((dive.number, dive.execution) for dive in training)
    predictions = predict(model, queries, bank, baseline=baseline, voters=options.voters)
    return predictions, queries.foreground


# The training loop. Whatever depends on chance is drawn from seed, step and dive, or saved in the checkpoint.

LAST_NAME = "last.pt"

Report = Callable[[Progress, dict[str, float]], object]
Validate = Callable[[FineCausal], ErrorSummary]
Keep = Callable[[FineCausal, ErrorSummary, Progress], object]


class Trainer:
    """Train one network on one set of dives.

    Args:
        model: The network.
        dives: Training dives, all with scores.
        cache: Where their clips come from.
        options: What to do.
        folder: The run's folder: checkpoint and log.
        processes: Where to compute, and with whom.
        views: What the network's frozen trunk makes of the dives, to be learned from in place of clips.
        swap: Shows some dives before other backgrounds.
    """

    def __init__(
        self,
        model: FineCausal,
        dives: Sequence[Dive],
        cache: ClipCache,
        options: TrainOptions,
        folder: Path,
        processes: Processes,
        *,
        views: Views | None = None,
        swap: BackgroundSwap | None = None,
    ) -> None:
        if len(dives) < 2:
            raise TrainingError("fewer than two training dives with a score", hint="pairs need two")
        model = to_channels_last(model.to(processes.device))
        if processes.count > 1 and processes.device.type == "cuda":
            # Over all processes, as if the batch were not divided. Torch has no such thing for a CPU.
            model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        self._dives = dives
        self._cache = cache
        self._views = views
        self._swap = swap
        self._options = options
        self._folder = folder
        self._log = RunLog(folder, "epoch")
        self._processes = processes
        self._plan = StepPlan(dives, options)
        self._stepper = Stepper(model, options, processes, self.steps)
        self._waited = self._begun = 0.0
        self.progress = Progress()

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self._options.epochs * self._plan.steps_per_epoch

    @property
    def model(self) -> FineCausal:
        """The network that is validated and kept."""
        return self._stepper.best_model

    @property
    def waiting_share(self) -> float:
        """Share of the current epoch's time that went by waiting for data, 0..1."""
        passed = time.perf_counter() - self._begun
        return self._waited / passed if passed > 0 else 0.0

    def _collate(self, groups: Sequence[Group], epoch: int) -> PairBatch:
        seed, size = self._options.seed, self._stepper.model.config.frame_size
        if self._views is not None:
            return self._views.collate(groups, self._dives, seed=seed, epoch=epoch)
        return collate(groups, self._dives, self._cache.load, frame_size=size, seed=seed, epoch=epoch, swap=self._swap)

    def resume(self) -> None:
        """Go back to the last checkpoint.

        Raises:
            TrainingError: There is none, or it is damaged or of another network.
        """
        self.progress = restore(self._folder / LAST_NAME, self._stepper.parts())
        if self._processes.is_main:
            self._log.forget_after(self.progress.epoch)

    def fit(self, *, report: Report, validate: Validate, keep: Keep) -> None:
        """Run until the last epoch, or until validation has not improved for long enough.

        Args:
            report: Called after every step with the losses.
            validate: Measures the network on the validation set. The main process alone calls it.
            keep: Called with the network when it is the best so far, before the checkpoint that says so. The main
                process alone calls it.

        Raises:
            TrainingError: The loss is no longer a finite number.
            FinecausalError: A clip cannot be read.
        """
        batches = load_steps(
            self._collate, self._plan, self._options, processes=self._processes, first=self.progress.step
        )
        while self.progress.epoch < self._options.epochs and not self._is_stale():
            self._run_epoch(batches, report)
            done = self.progress.epoch + 1
            self._stepper.average_statistics()
            best, stale = self.progress.best_rho, self.progress.stale
            if done % self._options.validate_every == 0 or done == self._options.epochs:
                best, stale = self._validate(validate, keep)
            self.progress = Progress(done, 0, self.progress.step, best, stale)
            self._save()

    def _is_stale(self) -> bool:
        return self._options.patience is not None and self.progress.stale >= self._options.patience

    def _run_epoch(self, batches: Iterator[list[Part]], report: Report) -> None:
        set_training(self._stepper.model, self._options)
        self._waited, self._begun = 0.0, time.perf_counter()
        for _ in range(self.progress.batch, self._plan.steps_per_epoch):
            asked = time.perf_counter()
            parts = next(batches)
            self._waited += time.perf_counter() - asked
            losses = self._stepper(parts, self.progress.step)
            self.progress = replace(self.progress, batch=self.progress.batch + 1, step=self.progress.step + 1)
            report(self.progress, losses)
            if self.progress.step % self._options.save_every == 0:
                self._stepper.average_statistics()
                self._save()

    def _validate(self, validate: Validate, keep: Keep) -> tuple[float | None, int]:
        best, stale = self.progress.best_rho, self.progress.stale
        if self._processes.is_main:
            was_training = self.model.training
            summary = validate(self.model.eval())
            # Equal predictions have no rho: as bad as can be, yet worth keeping.
            rho = -1.0 if math.isnan(summary.rho) else summary.rho
            stale += 1
            if best is None or rho > best:
                best, stale = rho, 0
                keep(self.model, summary, self.progress)
            self._log.append({"epoch": self.progress.epoch + 1, "step": self.progress.step, **summary.figures()})
            self.model.train(was_training)
        return self._processes.tell((best, stale))

    def _save(self) -> None:
        if self._processes.is_main:
            state = {name: part.state_dict() for name, part in self._stepper.parts().items()}
            save_checkpoint(self._folder / LAST_NAME, state, self.progress)
