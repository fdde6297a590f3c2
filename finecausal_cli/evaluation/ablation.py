"""Ablation as in the paper's Table 2: the network with and without its two causal modules.

The variants are trained beforehand (``finecausal train --ablate ...``), each with any number of seeds, in folders of
any name below one folder. The configuration of the weights tells the variant.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from finecausal_cli.errors import UsageError, WeightsError
from finecausal_cli.evaluation.run import SCHEMA_VERSION, describe_evaluation, evaluate, find_weights, rename
from finecausal_cli.weights import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from finecausal_cli.evaluation import EvaluateOptions
    from finecausal_cli.evaluation.run import Evaluation

MODULES = ("gat", "tca")

_OVER_SEEDS = (
    "rho",
    "relative_l2",
    "mean_absolute_error",
    "aiou_50",
    "aiou_75",
    "reference_aiou_50",
    "reference_aiou_75",
    "foreground_iou",
)


@dataclass(frozen=True, slots=True)
class Published:
    """A row of a published table: FineDiving-HM, 749 test dives, AIoU in the `reference` protocol."""

    method: str
    rho: float
    relative_l2: float
    reference_aiou_50: float
    reference_aiou_75: float


@dataclass(frozen=True, order=True, slots=True)
class Variant:
    """Which of the two modules a network has.

    Attributes:
        gat: Causal intervention by graph attention.
        tca: Temporal causal attention.
    """

    gat: bool
    tca: bool

    @property
    def left_out(self) -> str:
        """The missing modules, as ``train --ablate`` takes them; empty for the full network."""
        return ",".join(module for module in MODULES if not getattr(self, module))

    @property
    def name(self) -> str:
        """Name of the variant."""
        return {"": "full", "gat": "no GAT", "tca": "no TCA", "gat,tca": "neither"}[self.left_out]


PAPER = {
    Variant(gat=False, tca=False): Published("FineParser", 0.9435, 0.2602, 0.9946, 0.9467),
    Variant(gat=True, tca=False): Published("FineCausal, GAT only", 0.9425, 0.2572, 0.9920, 0.9069),
    Variant(gat=False, tca=True): Published("FineCausal, TCA only", 0.9382, 0.2707, 0.9973, 0.9666),
    Variant(gat=True, tca=True): Published("FineCausal", 0.9447, 0.2338, 0.9937, 0.9453),
}
"""Han et al. 2025 (arXiv 2503.23911), Table 2, in its order. Without either module the paper's row is FineParser."""


PAPER_DATASET = "FineDiving-HM"


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over the seeds of a variant.

    Attributes:
        mean: Its mean.
        deviation: Its standard deviation (n - 1); None for one seed.
    """

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class VariantResult:
    """Evaluations of one variant.

    Attributes:
        variant: Which modules it has.
        evaluations: One a seed.
    """

    variant: Variant
    evaluations: tuple[Evaluation, ...]

    def spread(self, figure: str, *, shifted: bool = False) -> Spread | None:
        """Return a metric of `ErrorSummary` over the seeds, also of the shifted dives; None if a seed lacks it."""
        outcomes = [evaluation.shifted if shifted else evaluation.main for evaluation in self.evaluations]
        values = [outcome.summary.figures()[figure] for outcome in outcomes if outcome is not None]
        known = [float(value) for value in values if value is not None]
        if len(known) < len(outcomes) or not known:
            return None
        return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)


def parse_variants(ablate: str) -> tuple[Variant, ...]:
    """Return the variants of an ablation: every combination of the named modules, with fewest modules first.

    Args:
        ablate: ``gat``, ``tca`` or ``gat,tca``.

    Raises:
        UsageError: Another module is named, or none.
    """
    named = [module.strip() for module in ablate.split(",") if module.strip()]
    unknown = [module for module in named if module not in MODULES]
    if unknown or not named:
        raise UsageError(
            f"{(unknown or [ablate])[0]!r} is no module to leave out", where="--ablate", hint="gat, tca or gat,tca"
        )
    return tuple(variant for variant in PAPER if all(module in named or getattr(variant, module) for module in MODULES))


def find_variants(folder: Path, variants: Sequence[Variant]) -> dict[Variant, list[Path]]:
    """Return the weights of each variant below a folder.

    Raises:
        WeightsError: A variant is missing, or a configuration is damaged.
    """
    folders: dict[Variant, list[Path]] = defaultdict(list)
    for weights in find_weights(folder):
        config = read_manifest(weights).model
        folders[Variant(config.gat, config.tca)].append(weights)
    for variant in variants:
        if variant not in folders:
            option = f" --ablate {variant.left_out}" if variant.left_out else ""
            raise WeightsError(
                f"no weights of the variant {variant.name!r}",
                where=folder,
                hint=f"train it: finecausal train DATASET{option} -o {folder / variant.name.replace(' ', '-').lower()}",
            )
    return {variant: folders[variant] for variant in variants}


def evaluate_variants(
    dataset: Path,
    folder: Path,
    variants: Mapping[Variant, Sequence[Path]],
    options: EvaluateOptions | None = None,
    *,
    watch: Callable[[str], object] = lambda name: None,  # noqa: ARG005
    **more: Any,
) -> tuple[VariantResult, ...]:
    """Evaluate every seed of every variant on the same dives.

    Args:
        dataset: The dataset.
        folder: Where the variants lie; names in the results are relative to it.
        variants: Weights of each variant.
        options: Split, exemplars and protocols.
        watch: Called with the name of the weights before each evaluation.
        more: Further arguments of `evaluate`.
    """
    results: list[VariantResult] = []
    for variant, seeds in variants.items():
        evaluations: list[Evaluation] = []
        for weights in seeds:
            name = weights.relative_to(folder).as_posix()
            watch(name)
            evaluations.append(rename(evaluate(dataset, weights, options, **more), name))
        results.append(VariantResult(variant, tuple(evaluations)))
    return tuple(results)


def describe_ablation(results: Sequence[VariantResult]) -> dict[str, Any]:
    """Return an ablation as plain data for JSON."""
    return {
        "schema_version": SCHEMA_VERSION,
        "variants": [
            {
                "name": result.variant.name,
                "gat": result.variant.gat,
                "tca": result.variant.tca,
                "seeds": len(result.evaluations),
                "paper": {"dataset": PAPER_DATASET, **asdict(PAPER[result.variant])},
                "over_seeds": _spreads(result),
                "over_seeds_shifted": _spreads(result, shifted=True) if result.evaluations[0].shifted else None,
                "evaluations": [describe_evaluation(evaluation) for evaluation in result.evaluations],
            }
            for result in results
        ],
    }


def _spreads(result: VariantResult, *, shifted: bool = False) -> dict[str, dict[str, float | None] | None]:
    spreads = {name: result.spread(name, shifted=shifted) for name in _OVER_SEEDS}
    return {name: None if spread is None else asdict(spread) for name, spread in spreads.items()}
