"""A whole pretraining: from simulated dives to weights whose trunks know what is to be seen in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from finecausal_cli.data.cache import ClipCache
from finecausal_cli.data.open import read_dataset
from finecausal_cli.data.splits import assign_splits
from finecausal_cli.errors import FinecausalError, TrainingError
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.model.fold import lay_out
from finecausal_cli.pretraining.options import PretrainOptions
from finecausal_cli.pretraining.pupil import Pupil
from finecausal_cli.pretraining.snippets import Shelf, Snippets, put_together
from finecausal_cli.pretraining.validation import examine
from finecausal_cli.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from finecausal_cli.training.log import RunLog
from finecausal_cli.training.options import check_precision
from finecausal_cli.training.processes import process_count
from finecausal_cli.training.record import describe_data, read_run, write_run
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.manifest import CONFIG_NAME
from finecausal_cli.weights.registry import resolve_weights
from finecausal_cli.weights.store import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.pretraining.snippets import Scale
    from finecausal_cli.pretraining.validation import Understood

RUN_NAME = "pretraining.json"
CHECKPOINT_NAME = "pretraining.pt"

NOTE = "no scores yet, only trunks that were taught the motion of"
"""What such weights are, before the dives are named."""

WARMUP = 100
"""Steps over which the learning rate rises."""

GLANCE = 40
"""Validation dives that are looked at before the end, where all are."""

_STEP_SEEDS = 1_000_003


def _nobody(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Watch:
    """How a pretraining tells somebody what it does; every field may stay as it is.

    Attributes:
        data: Called once with the number of training and validation dives and of steps.
        step: Called after each step with the steps done and the losses.
        examined: Called after each look at validation dives.
    """

    data: Callable[[int, int, int], object] = _nobody
    step: Callable[[int, dict[str, float]], object] = _nobody
    examined: Callable[[Understood], object] = _nobody


def pretrain(
    dataset: Path,
    folder: Path,
    *,
    config: ModelConfig,
    options: PretrainOptions,
    cache: Path | None,
    device: torch.device,
    resume: bool = False,
    command: Sequence[str] = (),
    watch: Watch | None = None,
) -> Path:
    """Teach the trunks of a network what the simulator knows of its dives.

    Args:
        dataset: Where simulated dives are; validation dives are looked at, test dives left alone.
        folder: The run's folder, and that of the weights. Without ``resume`` it must not hold a run yet.
        config: The network.
        options: The run. With ``resume`` the run's own options and network are used.
        cache: Folder of decoded clips; None decodes every time.
        device: Where to compute.
        resume: Go on with the run in ``folder``.
        command: The command line, to be recorded.
        watch: Who is told of progress.

    Returns:
        The folder.

    Raises:
        TrainingError: The run cannot start or be resumed.
        DatasetError: The dataset is wrong, or its dives are not simulated ones.
        WeightsError: The weights to start from cannot be trusted or do not fit.
        VideoError: A clip cannot be read.
    """
    if process_count() > 1:
        raise TrainingError("pretraining is the work of one process", hint="start it without torchrun")
    labels = None
    if resume:
        config, options, labels = read_run(folder, PretrainOptions, RUN_NAME)
    elif (folder / RUN_NAME).exists() or (folder / CONFIG_NAME).exists():
        raise TrainingError(
            "a run or weights are already here", where=folder, hint="go on with --resume, or name another folder"
        )
    check_precision(options.precision, config, device)
    dives = assign_splits(read_dataset(dataset))
    described = describe_data(dataset, dives, options)
    if labels not in (None, described["labels_sha256"]):
        raise TrainingError("the run was started on other dives", where=dataset, hint="start anew elsewhere")
    clips = ClipCache(cache, geometry=config.geometry, frame_size=config.frame_size)
    training, held_out = (
        Shelf([dive for dive in dives if dive.split == split], clips, config.frame_size) for split in ("train", "val")
    )
    if not (len(training) and len(held_out)):
        raise TrainingError(
            f"{len(training)} training and {len(held_out)} validation dives", where=dataset, hint="simulate more dives"
        )
    # What a checkpoint goes on from has been loaded long ago, and may be gone.
    is_begun = resume and (folder / CHECKPOINT_NAME).exists()
    teaching = _Teaching(_begin(config, options, is_begun=is_begun), training, options, device)
    if resume:
        teaching.resume(folder)
    else:
        begun = {"from": "random" if options.init is None else options.init}
        write_run(folder, config, options, dataset, dives, begun=begun, processes=1, command=command, name=RUN_NAME)
    told = watch or Watch()
    told.data(len(training), len(held_out), options.steps)
    for batch in teaching.batches():
        losses = teaching.learn(batch)
        told.step(teaching.done, losses)
        is_last = teaching.done == options.steps
        if is_last or teaching.done % options.save_every == 0:
            glance = len(held_out) if is_last else GLANCE
            understood = examine(teaching.pupil, held_out, teaching.scale, glance, device)
            told.examined(understood)
            teaching.save(folder, understood, described)
    return folder


class _Teaching:
    """A network, what it is taught from, and how far it has come."""

    def __init__(self, network: FineCausal, training: Shelf, options: PretrainOptions, device: torch.device) -> None:
        self.network = network
        self.scale = training.scale()
        self.done = 0
        self._training, self._options, self._device = training, options, device
        self._counts = torch.tensor(options.counts_of_seen(), device=device)
        first = training.targets[0]
        self.pupil = Pupil(network, first.motion.shape[1], len(first.seen)).to(device)
        self._optimizer = torch.optim.AdamW(self.pupil.parameters(), options.lr, weight_decay=options.weight_decay)

    def batches(self) -> Iterator[Snippets]:
        """Yield the batches of the steps that are left."""
        loader = DataLoader(
            _Steps(self._training, self.scale, self._options),
            batch_size=None,
            sampler=range(self.done, self._options.steps),
            num_workers=self._options.workers,
            pin_memory=self._device.type == "cuda",
            # Batches come whole and in order: neither sampler nor workers may touch the generator of the run.
            generator=torch.Generator().manual_seed(0),
        )
        for batch in loader:
            if isinstance(batch, FinecausalError):
                raise batch
            yield batch.to(self._device)

    def learn(self, batch: Snippets) -> dict[str, float]:
        """Take one step and return its losses.

        Raises:
            TrainingError: They are no longer finite.
        """
        options, step = self._options, self.done
        share = min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        for group in self._optimizer.param_groups:
            group["lr"] = options.lr * share
        torch.manual_seed(options.seed * _STEP_SEEDS + step)  # the step's own chance, resumed or not
        self.pupil.train()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            losses = self.pupil.losses(batch, self._counts)
        self._optimizer.zero_grad()
        total: Tensor = torch.stack([*losses.values()]).sum()
        if not total.isfinite():
            raise TrainingError(f"the loss is {total.item()} at step {step}", hint="a smaller --lr")
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.pupil.parameters(), options.clip_norm)
        self._optimizer.step()
        self.done += 1
        return {name: loss.item() for name, loss in losses.items()}

    def save(self, folder: Path, understood: Understood, described: dict[str, Any]) -> None:
        """Write weights, a line of the log and, last, the checkpoint that says so."""
        figures = understood.figures()
        note = f"{NOTE} {len(self._training)} dives of the dataset {described['dataset']}"
        facts = {"step": self.done, "understood": figures, **described}
        save_weights(folder, self.network, WeightsInfo(note=note, training=facts).facts())
        RunLog(folder, "step").append({"step": self.done, **figures})
        state = {"pupil": self.pupil.state_dict(), "optimizer": self._optimizer.state_dict()}
        save_checkpoint(folder / CHECKPOINT_NAME, state, Progress(step=self.done))

    def resume(self, folder: Path) -> None:
        """Go back to the checkpoint; to the beginning if the run was stopped before the first.

        Raises:
            TrainingError: It is damaged or of another network.
        """
        path = folder / CHECKPOINT_NAME
        if path.exists():
            state, progress = load_checkpoint(path)
            try:
                self.pupil.load_state_dict(state["pupil"])
                self._optimizer.load_state_dict(state["optimizer"])
            except (KeyError, RuntimeError, ValueError) as error:
                first_line = str(error).partition("\n")[0]
                raise TrainingError(
                    f"a checkpoint of another network or version: {first_line}", where=path, hint="start anew elsewhere"
                ) from None
            self.done = progress.step
        RunLog(folder, "step").forget_after(self.done)


class _Steps(Dataset[Snippets | FinecausalError]):
    """The batches by step. An error is an item too: a loading process would garble it if it raised."""

    def __init__(self, training: Shelf, scale: Scale, options: PretrainOptions) -> None:
        self._training, self._scale, self._options = training, scale, options

    def __getitem__(self, step: int) -> Snippets | FinecausalError:
        options, training = self._options, self._training
        rng = np.random.default_rng((options.seed, step))
        chosen = rng.choice(len(training), min(options.dives, len(training)), replace=False)
        try:
            cuts = [
                cut
                for place in chosen.tolist()
                for cut in training.cut(place, training.draw(place, options.snippets, rng, options.at_takeoff), rng)
            ]
        except FinecausalError as error:
            return error
        return put_together(cuts, self._scale, rng)


def _begin(config: ModelConfig, options: PretrainOptions, *, is_begun: bool) -> FineCausal:
    """Build the network, and fill its trunks and foreground if it starts from others and has not gone on since."""
    torch.manual_seed(options.seed)
    network = lay_out(FineCausal(config))
    if options.init is not None and not is_begun:
        folder = resolve_weights(options.init)
        known = load_weights(folder).model
        try:
            network.video_trunk.load_state_dict(known.video_trunk.state_dict())
            network.parser.load_state_dict(known.parser.state_dict())
        except RuntimeError as error:
            first_line = str(error).partition("\n")[0]
            raise TrainingError(
                f"trunks of another kind: {first_line}",
                where=folder,
                hint="leave out --preset, --geometry, --two-trunks",
            ) from None
    return network
