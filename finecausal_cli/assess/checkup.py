"""Examine an installation: versions, devices, decoders, weights, and a clip whose score is known."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from finecausal_cli.assess.score_options import ScoreOptions
from finecausal_cli.assess.scorer import Scorer
from finecausal_cli.errors import FinecausalError
from finecausal_cli.version import __version__
from finecausal_cli.weights.registry import list_bundled, resolve_weights

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARIES = (
    "torch",
    "torch-geometric",
    "numpy",
    "decord",
    "av",
    "opencv-python-headless",
    "pillow",
    "safetensors",
    "huggingface-hub",
    "typer",
    "rich",
)

SELF_TEST_NAME = "self_test.json"
"""Beside the weights: the bundled clip to score, how, and the score to expect."""

SELF_TEST_TOLERANCE = 0.05
"""Points: what another processor's rounding may change; the decoders agree bit for bit on H.264."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What.
        finding: What was found.
        well: Whether scoring can work with it.
    """

    subject: str
    finding: str
    well: bool = True


@dataclass(frozen=True, slots=True)
class Checkup:
    """All findings."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing stands in the way of scoring."""
        return all(finding.well for finding in self.findings)


def examine(weights: str, *, device: str = "auto", self_test: bool = True) -> Checkup:
    """Look at everything scoring needs.

    Args:
        weights: Name or folder of the weights to examine.
        device: Where the self-test computes.
        self_test: Score the clip that the weights name for this.
    """
    findings = [
        Finding("finecausal", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        Finding("libraries", ", ".join(_versions())),
        Finding("devices", ", ".join(_devices())),
        *_decoders(),
        Finding("bundled weights", ", ".join(list_bundled()) or "none", bool(list_bundled())),
    ]
    findings.append(_guarded("weights", lambda: _weights(weights, device)))
    if self_test:
        findings.append(_guarded("self-test", lambda: _self_test(weights, device)))
    return Checkup(tuple(findings))


def _guarded(subject: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except FinecausalError as error:
        return Finding(subject, str(error), well=False)


def _versions() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} missing")
    return found


def _devices() -> list[str]:
    found = [f"cpu ({torch.get_num_threads()} threads)"]
    found += [f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(torch.cuda.device_count())]
    return found + (["mps"] if torch.backends.mps.is_available() else [])


def _decoders() -> list[Finding]:
    findings = []
    for module, role in (("av", "reading and writing"), ("decord", "reading where PyAV would give other pixels")):
        try:
            __import__(module)
            findings.append(Finding(f"decoder {module}", role))
        except (ImportError, OSError, RuntimeError) as error:  # the last two from a library that is there but broken
            # Without decord every clip goes through PyAV; without PyAV nothing works.
            findings.append(Finding(f"decoder {module}", f"cannot be loaded: {error}", well=module != "av"))
    return findings


def _weights(weights: str, device: str) -> Finding:
    scorer = Scorer.load(weights, device=device)
    numbers = {exemplar.dive for exemplar in scorer.bank.exemplars}
    return Finding(
        "weights", f"{weights}: whole; bank of {len(scorer.bank.exemplars)} exemplars, {len(numbers)} dive numbers"
    )


def _self_test(weights: str, device: str) -> Finding:
    path = resolve_weights(weights) / SELF_TEST_NAME
    if not path.exists():
        return Finding("self-test", f"these weights bring none ({SELF_TEST_NAME})")
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
        name, expected = str(asked["clip"]), float(asked["score"])
        options = ScoreOptions(dive=str(asked["dive"]), height_m=float(asked["height_m"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding("self-test", f"{path}: damaged: {error}", well=False)
    clip = _example(name)
    if clip is None:
        return Finding("self-test", f"the example {name} is not installed", well=False)
    found = Scorer.load(weights, device=device, precision="fp32").score(str(clip), options).score
    well = abs(found - expected) <= SELF_TEST_TOLERANCE
    return Finding("self-test", f"{name} scores {found:.4f}, expected {expected:.4f}", well)


def _example(name: str) -> Path | None:
    """Find an example clip of an installed wheel or of a checkout."""
    package = Path(__file__).resolve().parent.parent
    for shelf in (package / "bundled" / "examples", package.parent / "examples"):
        if (shelf / name).exists():
            return shelf / name
    return None
