"""Examine an installation: versions, devices, decoders, weights, and a clip whose score is known."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from finecausal_cli.config import __version__
from finecausal_cli.errors import FinecausalError
from finecausal_cli.scoring import ScoreOptions
from finecausal_cli.scoring.scorer import Scorer
from finecausal_cli.weights.hub import list_bundled, resolve_weights

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
class Check:
    """One thing that was looked at.

    Attributes:
        subject: What was looked at.
        finding: What was seen.
        well: Whether scoring can work with it.
    """

    subject: str
    finding: str
    well: bool = True


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """All findings."""

    findings: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing stands in the way of scoring."""
        return all(finding.well for finding in self.findings)


def diagnose(weights: str, *, device: str = "auto", self_test: bool = True) -> Diagnostics:
    """Look at everything scoring needs.

    Args:
        weights: Name or folder of the weights to examine.
        device: Where the self-test computes.
        self_test: Score the clip that the weights name for this.
    """
    findings = [
        Check("finecausal", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        Check("libraries", ", ".join(_versions())),
        Check("devices", ", ".join(_devices())),
        *_decoders(),
        Check("bundled weights", ", ".join(list_bundled()) or "none", bool(list_bundled())),
    ]
    findings.append(_guarded("weights", lambda: _weights(weights, device)))
    if self_test:
        findings.append(_guarded("self-test", lambda: _self_test(weights, device)))
    return Diagnostics(tuple(findings))


def _guarded(subject: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except FinecausalError as error:
        return Check(subject, str(error), well=False)


def _versions() -> list[str]:
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} missing")
    return versions


def _devices() -> list[str]:
    threads = torch.get_num_threads()
    devices = [f"cpu ({threads} {'thread' if threads == 1 else 'threads'})"]
    devices += [f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(torch.cuda.device_count())]
    return devices + (["mps"] if torch.backends.mps.is_available() else [])


def _decoders() -> list[Check]:
    findings = []
    for module, role in (("av", "reading and writing"), ("decord", "reading where PyAV would give other pixels")):
        try:
            __import__(module)
            findings.append(Check(f"decoder {module}", role))
        except (ImportError, OSError, RuntimeError) as error:  # the last two from a library that is there but broken
            # Without decord every clip goes through PyAV; without PyAV nothing works.
            findings.append(Check(f"decoder {module}", f"cannot be loaded: {error}", well=module != "av"))
    return findings


def _weights(weights: str, device: str) -> Check:
    scorer = Scorer.load(weights, device=device)
    numbers = {exemplar.dive for exemplar in scorer.bank.exemplars}
    return Check(
        "weights", f"{weights}: whole; bank of {len(scorer.bank.exemplars)} exemplars, {len(numbers)} dive numbers"
    )


def _self_test(weights: str, device: str) -> Check:
    path = resolve_weights(weights) / SELF_TEST_NAME
    if not path.exists():
        return Check("self-test", f"these weights bring none ({SELF_TEST_NAME})")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        name, expected = str(content["clip"]), float(content["score"])
        options = ScoreOptions(dive=str(content["dive"]), height_m=float(content["height_m"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Check("self-test", f"{path}: damaged: {error}", well=False)
    clip = _example(name)
    if clip is None:
        return Check("self-test", f"the example {name} is not installed", well=False)
    score = Scorer.load(weights, device=device, precision="fp32").score(str(clip), options).score
    if score is None:
        return Check("self-test", f"{name} gets no points, expected {expected:.4f}", well=False)
    well = abs(score - expected) <= SELF_TEST_TOLERANCE
    return Check("self-test", f"{name} scores {score:.4f}, expected {expected:.4f}", well)


def _example(name: str) -> Path | None:
    """Find an example clip of an installed wheel or of a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "bundled" / "examples", package.parent / "examples"):
        if (folder / name).exists():
            return folder / name
    return None
