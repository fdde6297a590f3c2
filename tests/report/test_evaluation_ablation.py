from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from finecausal_cli.evaluation.ablation import Variant, VariantResult
from finecausal_cli.report.console import open_console
from finecausal_cli.report.evaluation import ablation_json, print_ablation

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.evaluation.run import Evaluation


def _results(make_evaluation: Callable[..., Evaluation]) -> list[VariantResult]:
    full = tuple(make_evaluation(lift=lift, caveats=("mind",)) for lift in (0.0, 3.0))
    return [
        VariantResult(Variant(gat=False, tca=False), (make_evaluation(caveats=("mind",)),)),
        VariantResult(Variant(gat=True, tca=True), full),
    ]


def test_the_papers_row_stands_below_ours(make_evaluation: Callable[..., Evaluation]) -> None:
    results = _results(make_evaluation)
    stream = io.StringIO()
    print_ablation(results, open_console(stream))
    lines = [line.split() for line in stream.getvalue().splitlines() if line]
    table = lines[next(place for place, line in enumerate(lines) if line[0].startswith("─")) + 1 :]
    first, second = (one.summary for one in results[1].evaluations)
    mean, half = (first.relative_l2 + second.relative_l2) / 2, abs(first.relative_l2 - second.relative_l2) / 2**0.5
    assert table[0][:4] == ["neither", "-", "-", "1"]
    assert table[1] == ["paper", "0.9435", "0.2602", "0.9946", "0.9467"]
    assert table[2] == ["full", "yes", "yes", "2", f"{first.rho:.4f}", f"{mean:.4f}", "1.0000", "1.0000"]
    assert table[3] == ["±", "over", "seeds", "0.0000", f"{half:.4f}", "0.0000", "0.0000"]
    assert table[4] == ["paper", "0.9447", "0.2338", "0.9937", "0.9453"]
    assert [" ".join(row[:-2]) for row in table[5:8]] == ["difficulty", "x number's mark", "mean per number"]
    assert table[8:] == [["note:", "mind"]]
    assert "another data set" in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 80


def test_what_the_shift_costs_each_network(make_evaluation: Callable[..., Evaluation]) -> None:
    full = VariantResult(
        Variant(gat=True, tca=True), tuple(make_evaluation(lift=lift, shifted=True) for lift in (0, 1))
    )
    stream = io.StringIO()
    print_ablation([full], open_console(stream))
    text = stream.getvalue()
    row = next(line.split() for line in text[text.index("Shift") :].splitlines() if line.startswith("full"))
    here = [one.summary.relative_l2 for one in full.evaluations]
    there = [one.shifted.summary.relative_l2 for one in full.evaluations if one.shifted is not None]
    assert row[3] == "+0.0000"  # a constant changes no rank
    assert row[4:] == [f"{sum(here) / 2:.4f}", f"{sum(there) / 2:.4f}", f"{(sum(there) - sum(here)) / 2:+.4f}"]


def test_json_carries_every_seed(make_evaluation: Callable[..., Evaluation]) -> None:
    variants = json.loads(ablation_json(_results(make_evaluation)))["variants"]
    assert [len(one["evaluations"]) for one in variants] == [1, 2]
    assert variants[0]["over_seeds"]["foreground_iou"] is None
