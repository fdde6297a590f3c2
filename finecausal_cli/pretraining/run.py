"""A whole pretraining: from simulated dives to weights whose trunks know what is to be seen in them."""

from __future__ import annotations

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
from finecausal_cli.model.fold import lay_out
from finecausal_cli.pretraining.options import PretrainOptions
from finecausal_cli.pretraining.pupil import Pupil
from finecausal_cli.pretraining.snippets import Shelf, Snippets, put_together
from finecausal_cli.pretraining.validation import examine
from finecausal_cli.training.begin import begin
from finecausal_cli.training.checkpoint import Progress, restore, save_checkpoint
from finecausal_cli.training.log import RunLog
from finecausal_cli.training.options import check_precision
from finecausal_cli.training.processes import process_count
from finecausal_cli.training.record import PRETRAINING_NAME, check_is_free, describe_data, read_run, write_run
from finecausal_cli.training.step import draw_from, warmed_cosine
from finecausal_cli.weights.info import WeightsInfo
from finecausal_cli.weights.store import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from finecausal_cli.data.dive import Dive
    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.pretraining.snippets import Scale
    from finecausal_cli.pretraining.validation import Understood

CHECKPOINT_NAME = "pretraining.pt"

NOTE = "no scores yet, only trunks that were taught the motion of"
"""What such weights are, before the dives are named."""

WARMUP = 100
"""Steps over which the learning rate rises."""

GLANCE = 40
"""Validation dives that are looked at before the end, where all are."""

_DIGITS = 8
"""Digits of a digest (hex) that chance is drawn from."""


def _nobody(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Watch:
    """How a pretraining tells somebody what it does; every field may stay as it is.

    Attributes:
        data: Called once with the number of training and validation dives and of steps.
        decoded: Called after each clip that is made ready.
        step: Called after each step with the steps done and the losses.
        examined: Called after each look at validation dives.
    """

    data: Callable[[int, int, int], object] = _nobody
    decoded: Callable[[], object] = _nobody
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
        folder: The run's folder, and that of the weights. Without ``resume`` it must hold neither yet.
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
    started = read_run(folder, PretrainOptions, PRETRAINING_NAME) if resume else None
    if started is None:
        check_is_free(folder)
    else:
        config, options = started.config, started.options
    check_precision(options.precision, config, device)
    data = _Data.read(dataset, ClipCache(cache, geometry=config.geometry, frame_size=config.frame_size))
    described = describe_data(dataset, data.dives, options)
    if started is not None and started.labels_sha256 != described["labels_sha256"]:
        raise TrainingError("the run was started on other dives", where=dataset, hint="start anew elsewhere")
    # What a checkpoint goes on from has been loaded long ago, and may be gone.
    is_begun = started is not None and (folder / CHECKPOINT_NAME).exists()
    network, begun = begin(config, init=None if is_begun else options.init, seed=options.seed)
    if started is not None:
        begun = started.begun
    teaching = _Teaching(lay_out(network), data.training, options, device, _chance(options, begun))
    told = watch or Watch()
    told.data(len(data.training), len(data.held_out), options.steps)
    for shelf in (data.training, data.held_out):
        shelf.make_ready(told.decoded)
    if started is None:  # only now: a run that could not begin may be begun again
        write_run(
            folder, config, options, dataset, data.dives,
            begun=begun, processes=1, command=command, name=PRETRAINING_NAME,
        )  # fmt: skip
    else:
        teaching.resume(folder)
    for batch in teaching.batches():
        losses = teaching.learn(batch)
        told.step(teaching.done, losses)
        is_last = teaching.done == options.steps
        if is_last or teaching.done % options.save_every == 0:
            glance = len(data.held_out) if is_last else GLANCE
            understood = examine(teaching.pupil, data.held_out, teaching.scale, glance, device)
            told.examined(understood)
            teaching.save(folder, understood, described)
    return folder


def _chance(options: PretrainOptions, begun: dict[str, Any]) -> tuple[int, int]:
    """Return what all chance is drawn from: the seed, and what the run goes on from.

    So of two runs, one of which goes on where the other ended, the second does not see the same snippets again.
    """
    return options.seed, int(begun.get("digest", "0")[:_DIGITS], 16)


@dataclass(frozen=True)
class _Data:
    """The dives of a run.

    Attributes:
        dives: All of them.
        training: Those that are learned from.
        held_out: Those to validate on.
    """

    dives: list[Dive]
    training: Shelf
    held_out: Shelf

    @classmethod
    def read(cls, dataset: Path, clips: ClipCache) -> _Data:
        """Read what is known of all dives.

        Raises:
            DatasetError: It is not that of simulated dives.
            TrainingError: They are too few.
        """
        dives = assign_splits(read_dataset(dataset))
        training, held_out = (
            Shelf([dive for dive in dives if dive.split == split], clips) for split in ("train", "val")
        )
        if not (len(training) and len(held_out)):
            raise TrainingError(
                f"{len(training)} training and {len(held_out)} validation dives",
                where=dataset,
                hint="simulate more dives",
            )
        return cls(dives, training, held_out)


class _Teaching:
    """A network, what it is taught from, and how far it has come."""

    def __init__(
        self,
        network: FineCausal,
        training: Shelf,
        options: PretrainOptions,
        device: torch.device,
        chance: tuple[int, int],
    ) -> None:
        self.network = network
        self.scale = training.scale()
        self.done = 0
        self._training, self._options, self._device, self._chance = training, options, device, chance
        self._counts = torch.tensor(options.counts_of_seen(), device=device)
        first = training.targets[0]
        self.pupil = Pupil(network, first.motion.shape[1], len(first.seen)).to(device)
        self._optimizer = torch.optim.AdamW(self.pupil.parameters(), options.lr, weight_decay=options.weight_decay)

    def batches(self) -> Iterator[Snippets]:
        """Yield the batches of the steps that are left.

        Raises:
            FinecausalError: A clip cannot be read.
        """
        loader = DataLoader(
            _Steps(self._training, self.scale, self._options, self._chance),
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
        for group in self._optimizer.param_groups:
            group["lr"] = options.lr * warmed_cosine(step, options.steps, WARMUP)
        draw_from(*self._chance, step)
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
        state = {name: part.state_dict() for name, part in self._parts().items()}
        save_checkpoint(folder / CHECKPOINT_NAME, state, Progress(step=self.done))

    def resume(self, folder: Path) -> None:
        """Go back to the checkpoint; to the beginning if the run was stopped before the first.

        Raises:
            TrainingError: It is damaged or of another network.
        """
        if (folder / CHECKPOINT_NAME).exists():
            self.done = restore(folder / CHECKPOINT_NAME, self._parts()).step
        RunLog(folder, "step").forget_after(self.done)

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"pupil": self.pupil, "optimizer": self._optimizer}


class _Steps(Dataset[Snippets | FinecausalError]):
    """The batches by step. An error is an item too: a loading process would garble it if it raised."""

    def __init__(self, training: Shelf, scale: Scale, options: PretrainOptions, chance: tuple[int, int]) -> None:
        self._training, self._scale, self._options, self._chance = training, scale, options, chance

    def __getitem__(self, step: int) -> Snippets | FinecausalError:
        options, training = self._options, self._training
        rng = np.random.default_rng((*self._chance, step))
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
