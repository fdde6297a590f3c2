"""Show what weights are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.report.layout import add_row, new_table, print_table
from finecausal_cli.report.terminal import printable
from finecausal_cli.weights.info import WeightsInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import Console

    from finecausal_cli.model.config import ModelConfig
    from finecausal_cli.training.recognition import Recognition
    from finecausal_cli.weights.manifest import Manifest
    from finecausal_cli.weights.store import LoadedWeights

_MIB = 2**20


def print_weights_list(bundled: Mapping[str, Manifest], console: Console) -> None:
    """Print one line for each bundled weights."""
    table = new_table("weights", "preset", "features", "picture", "trained on")
    for name, manifest in bundled.items():
        note = str(manifest.info.get("note", "-"))
        config = manifest.model
        add_row(
            table,
            printable(name, console),
            config.preset,
            str(config.features),
            f"{config.frame_size} px",
            printable(note, console),
        )
    print_table(table, console)


def print_weights(folder: Path, manifest: Manifest, console: Console) -> None:
    """Print what weights are and where they come from."""
    info = WeightsInfo.read(manifest.info, folder)
    size = sum((folder / name).stat().st_size for name in manifest.shards if (folder / name).exists())
    interval = info.interval
    facts = {
        "folder": str(folder),
        "size": f"{size / _MIB:.1f} MiB in {len(manifest.shards)} shards",
        "digest": manifest.digest,
        "network": _describe(manifest.model),
        "note": info.note,
        "interval": "none"
        if interval is None
        else f"execution +/- {interval.execution_half_width:.2f} at {interval.level:.0%}",
        **{key: str(value) for key, value in info.training.items()},
    }
    _print_facts(facts, console)


def print_recognition(found: Recognition, console: Console) -> None:
    """Print how well dive numbers are recognised."""
    console.print(
        f"of {found.dives} validation dives {found.right:.1%} recognised, {found.among_three:.1%} among the three "
        f"likeliest; mean certainty {found.certainty:.1%}",
        soft_wrap=True,
    )


def print_verified(folder: Path, loaded: LoadedWeights, console: Console) -> None:
    """Print that weights are whole."""
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    facts = {
        "folder": str(folder),
        "digest": loaded.digest,
        "network": _describe(loaded.config),
        "verdict": f"whole: {len(loaded.model.state_dict())} tensors, {parameters:,} parameters, all finite",
    }
    _print_facts(facts, console)


def _describe(config: ModelConfig) -> str:
    parts = [
        f"{config.preset}, {config.features} features, {config.frame_size} x {config.frame_size} pixels",
        "one trunk" if config.shared_trunk else "two trunks",
        "static branch" if config.static_branch else "",
        f"graph attention reads out {config.readout}" if config.gat else "no graph attention",
        f"causal attention: {config.tca_mode}" if config.tca else "no causal attention",
        "recognises dive numbers" if config.recognises else "",
    ]
    return ", ".join(part for part in parts if part)


def _print_facts(facts: Mapping[str, str], console: Console) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        console.print(f"{printable(name, console):<{width}} {printable(value, console)}", soft_wrap=True)
