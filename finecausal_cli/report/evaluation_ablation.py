"""Show an ablation in the layout of the paper's Table 2, the paper's figures below ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.text import Text

from finecausal_cli.evaluation.ablation import PAPER, describe_ablation
from finecausal_cli.report.evaluation import print_caveats
from finecausal_cli.report.evaluation_rows import SHIFT_SAY, figure
from finecausal_cli.report.layout import add_row, new_table, print_section, print_table
from finecausal_cli.report.rounding import signed
from finecausal_cli.report.terminal import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from finecausal_cli.evaluation.ablation import VariantResult

_FIGURES = ("rho", "relative_l2", "reference_aiou_50", "reference_aiou_75")


def print_ablation(results: Sequence[VariantResult], console: Console) -> None:
    """Print every variant: the mean over its seeds, their standard deviation, and the paper's row."""
    first = results[0].evaluations[0]
    print_section(
        "With and without the causal modules",
        f"{first.summary.dives} dives of {first.setting.dataset}. R-l2 times 100; AIoU in the reference protocol. "
        "The paper's rows (Han et al. 2025, Table 2; its row without both modules is FineParser) are of FineDiving-HM, "
        "another data set: they show the order of the variants there, not a target here.",
        console,
    )
    table = new_table("network", "GAT", "TCA", "seeds", "rho", "R-l2", "AIoU@0.5", "AIoU@0.75")
    for result in results:
        _add_variant(table, result, console)
    baseline = (first.summary.baseline_rho, first.summary.baseline_relative_l2)
    add_row(table, "mean per number", "", "", "", *map(figure, baseline), "", "")
    print_table(table, console)
    if first.shifted is not None:
        _print_shift(results, console)
    notes = dict.fromkeys(note for result in results for one in result.evaluations for note in one.caveats)
    print_caveats(tuple(notes), console)


def ablation_json(results: Sequence[VariantResult]) -> str:
    """Return everything that the ablation found as JSON."""
    return json.dumps(describe_ablation(results), indent=2, allow_nan=False)


def _print_shift(results: Sequence[VariantResult], console: Console) -> None:
    print_section("Shift", f"{SHIFT_SAY} Means over seeds; drop: what rho loses.", console)
    table = new_table("network", "rho", "shifted", "drop", "R-l2", "shifted", "change")
    for result in results:
        cells: list[str] = []
        for name, sign in (("rho", -1), ("relative_l2", 1)):
            here, there = result.spread(name), result.spread(name, shifted=True)
            cells += [figure(here.mean if here else None), figure(there.mean if there else None)]
            cells.append(signed(sign * (there.mean - here.mean), 4) if here and there else "-")
        add_row(table, result.variant.name, *cells)
    print_table(table, console)


def _add_variant(table: Table, result: VariantResult, console: Console) -> None:
    variant = result.variant
    spreads = [result.spread(name) for name in _FIGURES]
    add_row(
        table,
        variant.name,
        "yes" if variant.gat else "-",
        "yes" if variant.tca else "-",
        str(len(result.evaluations)),
        *(figure(spread.mean if spread else None) for spread in spreads),
    )
    if len(result.evaluations) > 1:
        cells = [figure(spread.deviation if spread else None) for spread in spreads]
        add_row(table, words("  ± over seeds", console), "", "", "", *cells)
    published = PAPER[variant]
    cells = [figure(getattr(published, name)) for name in _FIGURES]
    add_row(table, *(Text(cell, style="dim") for cell in ("  paper", "", "", "", *cells)))
