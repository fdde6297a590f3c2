"""One optimiser step: forward, backward, and what the processes and parts of a batch give added up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from finecausal_cli.data.cache import NO_TRANSITION
from finecausal_cli.errors import TrainingError
from finecausal_cli.training.averaging import averaged
from finecausal_cli.training.freezing import freeze, trunks
from finecausal_cli.training.losses import LOSS_NAMES, UncertaintyWeights, all_losses, count_targets
from finecausal_cli.training.options import AUTOCAST
from finecausal_cli.video.transform import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finecausal_cli.data.batch import PairBatch
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.training.batches import Part
    from finecausal_cli.training.options import TrainOptions
    from finecausal_cli.training.processes import Processes

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
        draw_from(self._options.seed, step, part.number)
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
                else self.model.gate(batch.encoding)
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


def draw_from(*facts: int) -> None:
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
