"""What a network starts from: weights drawn at random, I3D weights from Kinetics, or weights trained before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from finecausal_cli.errors import TrainingError
from finecausal_cli.model.finecausal import FineCausal
from finecausal_cli.training.options import KINETICS, TRUNK
from finecausal_cli.weights.kinetics import load_kinetics
from finecausal_cli.weights.manifest import read_manifest
from finecausal_cli.weights.registry import resolve_weights
from finecausal_cli.weights.store import load_weights

if TYPE_CHECKING:
    from collections.abc import Iterable

    from finecausal_cli.model.config import ModelConfig

_SHOWN = 3  # names listed in an error before "and n more"
_OPTIONAL = ("intervention.", "tca.", "recogniser.")
"""What an ablation may leave out, and what is learned last."""

_BEFORE_PAIRS = ("video_trunk.", "parser.")
"""What looks at one clip alone."""


def locate_init(init: str) -> str:
    """Return what a network starts from with its path in full, so that a run can be resumed from another folder.

    Raises:
        WeightsError: There are no such weights.
    """
    if init.startswith(KINETICS):
        return KINETICS + str(Path(init.removeprefix(KINETICS)).expanduser().resolve())
    if init.startswith(TRUNK):
        return TRUNK + str(resolve_weights(init.removeprefix(TRUNK)).resolve())
    return str(resolve_weights(init).resolve())


def config_of(init: str) -> ModelConfig | None:
    """Return the network that the weights to start from were trained as; None if they are of a trunk alone.

    Raises:
        WeightsError: The weights are not to be found or damaged.
    """
    return None if init.startswith(KINETICS) else read_manifest(resolve_weights(init.removeprefix(TRUNK))).model


def begin(config: ModelConfig, *, init: str | None, seed: int) -> tuple[FineCausal, dict[str, Any]]:
    """Build the network of a run.

    Args:
        config: What it is made of.
        init: Weights, ``trunk:`` and weights, or ``kinetics:`` and a file; None draws everything by chance.
        seed: Of whatever is not loaded.

    Returns:
        The network, and what is to be recorded of where its weights come from.

    Raises:
        WeightsError: The weights cannot be trusted or do not fit.
        TrainingError: They are of another network.
    """
    torch.manual_seed(seed)
    model = FineCausal(config)
    if init is None:
        return model, {"from": "random"}
    if init.startswith(KINETICS):
        report = load_kinetics(Path(init.removeprefix(KINETICS)), model)
        return model, {
            "from": "kinetics",
            "layout": report.layout,
            "trunks": list(report.trunks),
            "loaded": len(report.loaded),
            "skipped": list(report.skipped),
        }
    if init.startswith(TRUNK):
        taken = _take_over(Path(init.removeprefix(TRUNK)), model, modules=_BEFORE_PAIRS)
        return model, {**taken, "from": "trunk"}
    return model, _take_over(Path(init), model)


def _take_over(folder: Path, model: FineCausal, modules: tuple[str, ...] = ("",)) -> dict[str, Any]:
    """Fill a network from weights of the same network, give or take the modules that an ablation leaves out.

    Args:
        folder: The weights.
        model: The network.
        modules: Beginnings of the names that are taken.
    """
    loaded = load_weights(folder)
    theirs, ours = loaded.model.state_dict(), model.state_dict()
    misfits = [
        name
        for name in sorted(theirs.keys() | ours.keys())
        if name.startswith(modules)
        and not name.startswith(_OPTIONAL)
        and (name not in theirs or name not in ours or theirs[name].shape != ours[name].shape)
    ]
    if misfits:
        more = f" and {len(misfits) - _SHOWN} more" if len(misfits) > _SHOWN else ""
        raise TrainingError(
            f"weights of another network: {', '.join(misfits[:_SHOWN])}{more} do not fit",
            where=folder,
            hint="leave out --preset to train the network that they are of",
        )
    shared = {name: tensor for name, tensor in theirs.items() if name in ours and name.startswith(modules)}
    model.load_state_dict(shared, strict=False)
    return {
        "from": "weights",
        "digest": loaded.digest,
        "loaded": len(shared),
        "skipped": _modules_of(theirs.keys() - shared),
        "drawn": _modules_of(ours.keys() - shared),
    }


def _modules_of(names: Iterable[str]) -> list[str]:
    return sorted({name.partition(".")[0] for name in names})
