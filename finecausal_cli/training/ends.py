"""Train the networks that tell the ends of a flight and size the splash, on pictures about the ends of simulated ones.

``end_windows`` makes the pictures; here are the losses, the figures and the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from finecausal_cli.athlete.ends import (
    WINDOW_M,
    EndNetwork,
    SplashNetwork,
    SplashSize,
    end_loss,
    end_readings,
    splash_loss,
)
from finecausal_cli.athlete.reader import AthleteReader, StoredReader, load_network, save_network
from finecausal_cli.device import fast_precision, resolve_device
from finecausal_cli.errors import UsageError, WeightsError
from finecausal_cli.model.i3d import fold_for_inference, to_channels_last
from finecausal_cli.simulator import ALL_DIVES
from finecausal_cli.simulator.recording import find_photos, plan_dataset
from finecausal_cli.training import EndPart, require_one_process
from finecausal_cli.training.athlete_sequence import LR_FLOOR
from finecausal_cli.training.end_windows import (
    FILMED_SHIFT_M,
    Batch,
    DrawnWindows,
    WindowSet,
    cut_windows,
    read_films,
    read_negatives,
)
from finecausal_cli.training.trainer import Callbacks, Task, Trainer, TrainerConfig, linear_cosine, start_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from finecausal_cli.athlete import End
    from finecausal_cli.athlete.ends import EndOutputs
    from finecausal_cli.training import EndOptions

    Report = Callable[[str, int, int, Mapping[str, float]], None]

_DRAWS: Final = 1.6
"""Windows of ends that are drawn, over those that there are."""

_HEIGHTS_M: Final[Mapping[EndPart, tuple[tuple[float | None, float], ...]]] = {
    "takeoff": ((None, 0.34), (3.0, 0.55), (1.0, 0.11))
}
"""From where dives are rendered, None from everywhere, and their shares: take-offs from a springboard, which sinks and
throws, were read half as exactly as those from a platform."""

_FAILED_SHARE: Final = 0.16
"""Failed dives that are rendered for contacts, in the number of the others."""

_WARMUP: Final = 100


@dataclass(frozen=True)
class WindowKind:
    """What is read about an end of a flight.

    Attributes:
        network: Makes the network.
        loss: From its output and the truth.
        filmed_share: Share of a batch whose windows are found in films. Where all were cut by the truth, splashes of 76
            other films were read with a median error of 0.134, with a share of 0.375 of 0.103 (500 steps more).
        weight_decay: Of all parameters.
        figures: Errors of its outputs, and what to compare them with.
    """

    network: Callable[[], nn.Module]
    loss: Callable[[Any, Tensor], Tensor]
    filmed_share: float
    weight_decay: float
    figures: Callable[[Sequence[Any], NDArray[np.float32]], Mapping[str, float]]


def _splash_figures(outputs: Sequence[SplashSize], truth: NDArray[np.float32]) -> Mapping[str, float]:
    """Return the error, beside the spread of the sizes, and the rank correlation."""
    from scipy.stats import spearmanr

    predicted = np.concatenate([each.size.float().cpu().numpy() for each in outputs])
    return {
        "splash_rmse": float(np.sqrt(((predicted - truth) ** 2).mean())),
        "splash_sd": float(truth.std()),
        "splash_rho": float(spearmanr(predicted, truth)[0]),
    }


def _end_figures(outputs: Sequence[EndOutputs], truth: NDArray[np.float32]) -> Mapping[str, float]:
    """Return medians and 90% quantiles of the errors, beside what is known without pictures."""
    read = [each for batch in outputs for each in end_readings(batch)]
    moment = np.abs(np.array([each.moment_s for each in read]) - truth[:, 0])
    lean = np.abs(np.array([each.lean_deg for each in read]) - truth[:, 1])
    return {
        "moment_median_s": float(np.median(moment)),
        "moment_p90_s": float(np.quantile(moment, 0.9)),
        "search_median_s": float(np.median(np.abs(truth[:, 0]))),
        "lean_median_deg": float(np.median(lean)),
        "lean_p90_deg": float(np.quantile(lean, 0.9)),
        "vertical_median_deg": float(np.median(np.abs(truth[:, 1]))),
    }


KINDS: Final[Mapping[EndPart, WindowKind]] = {
    "takeoff": WindowKind(EndNetwork, partial(end_loss, flat_deg=math.inf), 0.44, 3e-2, _end_figures),
    "contact": WindowKind(EndNetwork, end_loss, 0.44, 3e-2, _end_figures),
    "splash": WindowKind(SplashNetwork, splash_loss, 0.375, 1e-2, _splash_figures),
}


class EndTask(Task[Batch]):
    """Train one of the networks.

    Args:
        kind: What is read.
        network: The network.
        train: Windows to train on.
        held_out: Windows to validate on.
        films: Windows as they are found in films, a share of every batch.
        batch_size: Entries a step.
        seed: Of the draws.
    """

    def __init__(
        self,
        kind: WindowKind,
        network: nn.Module,
        train: WindowSet | DrawnWindows,
        held_out: WindowSet,
        *,
        films: WindowSet | DrawnWindows | None = None,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        self.network: nn.Module = to_channels_last(network)
        self._kind = kind
        self._train, self._held_out, self._films = train, held_out, films
        self._batch_size, self._seed = batch_size, seed
        self.batch = self._batch

    def _batch(self, step: int) -> Batch:
        rng = np.random.default_rng(np.random.SeedSequence((self._seed, step, 17)))
        if self._films is None:
            return self._train.draw(rng, self._batch_size)
        filmed = round(self._kind.filmed_share * self._batch_size)
        parts = self._train.draw(rng, self._batch_size - filmed), self._films.draw(rng, filmed)
        return tuple(np.concatenate(pair) for pair in zip(*parts, strict=True))

    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step."""
        *given, truth = (torch.from_numpy(each).to(device) for each in batch)
        loss = self._kind.loss(network(*given), truth)
        return loss, {"entry": loss}

    def validate(
        self, network: nn.Module, device: torch.device, *, is_last: bool = True, held_out: Iterator[Any] | None = None
    ) -> Mapping[str, float]:
        """Return the errors on the held-out windows, as they are read."""
        outputs = []
        for first in range(0, len(self._held_out), self._batch_size):
            *given, _ = self._held_out.plain(first, min(first + self._batch_size, len(self._held_out)))
            outputs.append(network(*(torch.from_numpy(each).to(device) for each in given)))
        return self._kind.figures(outputs, self._held_out.truth)

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the peak rate."""
        return linear_cosine(step, steps, _WARMUP, LR_FLOOR)


def train_end(what: EndPart, run: EndOptions, report: Report | None = None) -> Path:
    """Train one of the networks, or resume its training, and write it with the other networks of a reader.

    Args:
        what: ``splash``, ``takeoff`` or ``contact``.
        run: Data and options.
        report: Called with the phase, the steps done, their number and the losses.

    Returns:
        The folder of the reader.

    Raises:
        DatasetError: A dataset is wrong, or none of its films shows an entry.
        UsageError: There are clips without a dive where they teach nothing.
        WeightsError: The reader it is for cannot be read, or has no network to train further.
        TrainingError: The loss is no longer a finite number, or the folder holds another run.
    """
    require_one_process(f"training the {what} network")
    report, kind = report or (lambda *_: None), KINDS[what]
    if run.negatives and (what != "contact" or not run.films):
        raise UsageError("only the contact network learns from them, beside --films", where="--negatives")
    stored = load_network(run.reader)
    photos = () if run.backgrounds is None else find_photos(run.backgrounds)
    end: End = "takeoff" if what == "takeoff" else "contact"
    torch.manual_seed(run.seed)
    start = _start(what, kind, stored, run)

    def rendered(
        name: str, seed: int, count: int, *, failed: bool = False, height_m: float | None = None
    ) -> list[Path]:
        how: dict[str, Any] = {"draw": "practice", "world": "wild", "photos": photos, "failed": failed}
        plan = plan_dataset(seed, dives=(ALL_DIVES,), height_m=height_m, **how)
        progress = partial(_count, report, f"rendering {name}")
        return cut_windows(what, plan, count, run.out / name, workers=run.workers, progress=progress)

    train: list[Path] = []
    for height_m, share in _HEIGHTS_M.get(what, ((None, 1.0),)):
        name = "train" if height_m is None else f"train-{height_m:g}m"
        train += rendered(name, run.seed, max(1, round(share * run.dives)), height_m=height_m)
    if what == "contact":
        train += rendered("failed", run.seed + 2, max(1, round(_FAILED_SHARE * run.dives)), failed=True)
    held_out = rendered("validation", run.seed + 1, run.held_out)
    device, films = resolve_device(run.device), None
    if run.films:
        # A splash is looked for from the contact on as it is read, an end from where the search finds it.
        kept = stored.ends if what == "splash" else {}
        digest = str(stored.config["digest"])
        reader = AthleteReader(stored.network, stored.sequence, ends=kept, digest=digest, device=device)
        reading = partial(_count, report, "reading films")
        read = [read_films(what, dataset, reader, run.out, progress=reading) for dataset in run.films]
        read += [read_negatives(end, clips, reader, run.out, progress=reading) for clips in run.negatives]
        films = WindowSet(read, WINDOW_M, FILMED_SHIFT_M, end=end)
    drawn = partial(_drawn, start, device, run.seed, report)
    task = EndTask(
        kind,
        start,
        drawn(WindowSet(train, end=end), "looking at rendered ends"),
        WindowSet(held_out, end=end),
        films=None if films is None else drawn(films, "looking at films"),
        seed=run.seed,
    )
    config = TrainerConfig(
        steps=run.steps,
        lr=run.lr,
        weight_decay=kind.weight_decay,
        clip_norm=5.0,
        ema=0.995,
        validate_every=max(run.steps // 6, 1),
        log_losses=True,
        seed=(run.seed,),
        workers=1,
    )
    (run.out / what).mkdir(parents=True, exist_ok=True)
    trainer = Trainer(task, config, start_accelerator(device, fast_precision(device)), run.out / what)
    trainer.resume(missing_ok=True)
    figures = trainer.fit(
        Callbacks(step=lambda at, losses: report(f"training the {what} network", at.step, run.steps, losses))
    )
    network = kind.network()
    network.load_state_dict({name: value.cpu() for name, value in trainer.best_network.state_dict().items()})
    facts = stored.facts
    facts[f"{what}_held_out_simulated"] = {**figures, "dives": run.dives, "steps": run.steps, "seed": run.seed}
    splash = network if isinstance(network, SplashNetwork) else stored.splash
    ends = {**stored.ends, end: network} if isinstance(network, EndNetwork) else stored.ends
    folder = run.out / "reader"
    save_network(folder, stored.network.config, stored.network.state_dict(), facts, stored.sequence, splash, ends)
    return folder


def _start(what: EndPart, kind: WindowKind, stored: StoredReader, run: EndOptions) -> nn.Module:
    """Return the network before the first step."""
    start = kind.network()
    if run.further:
        own = stored.splash if what == "splash" else stored.ends.get("takeoff" if what == "takeoff" else "contact")
        if own is None:
            raise WeightsError(f"has no {what} network to train further", where=run.reader)
        start.load_state_dict(own.state_dict())
    elif isinstance(start, EndNetwork):
        start.look_through(stored.network.backbone)
    return start


def _drawn(
    network: nn.Module, device: torch.device, seed: int, report: Report, windows: WindowSet, phase: str
) -> WindowSet | DrawnWindows:
    """Return windows with what the frozen stages of a network see in them, if it has any."""
    if not isinstance(network, EndNetwork):
        return windows
    see = fold_for_inference(network).to(device).features
    rng, count = np.random.default_rng((seed, len(windows), 20)), round(_DRAWS * len(windows))
    return DrawnWindows(windows, count, see, device, rng, partial(_count, report, phase))


def _count(report: Report, phase: str, done: int, of: int) -> None:
    report(phase, done, of, {})
