"""A batch as one page that needs nothing else: no network, no script, light and dark, screen, phone and paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.report.batch_rows import interval, points, summarise_rows
from finecausal_cli.report.page import render_page
from finecausal_cli.report.rounding import signed
from finecausal_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.assess.batch.row import Row

_TEMPLATE = "batch_page.html"

_HEADINGS = ("dive", "number", "score", "interval", "execution", "take-off", "flight", "entry")
_FAILED_HEADINGS = ("dive", "kind", "what is wrong")
_BARS = 10

Cells = tuple[str, ...]


def batch_page(rows: Sequence[Row]) -> str:
    """Return the page. Everything from outside is escaped.

    Args:
        rows: Of the batch, in the order to show; verdicts are not needed.
    """
    found = summarise_rows(rows)
    scored = [row for row in rows if row.score is not None]
    made = scored[0] if scored else None
    settings = {(row.weights, row.weights_digest, row.bank_digest, row.precision) for row in scored}
    cards = [("dives", f"{found.count}", f"{found.scored} scored, {found.refused} refused, {found.failed} failed")]
    if found.best is not None and found.worst is not None:
        cards += [
            ("mean", points(found.mean), f"median {points(found.median)}"),
            ("best", points(found.best.score), found.best.source),
            ("worst", points(found.worst.score), found.worst.source),
        ]
    return render_page(
        _TEMPLATE,
        version=__version__,
        cards=cards,
        caveats=_caveats(scored, mixed=len(settings) > 1),
        bars=_bars(scored),
        headings=_HEADINGS,
        scored=[_scored(row) for row in scored],
        failures=found.failures,
        failed_headings=_FAILED_HEADINGS,
        failed=[(row.source, row.error_kind or "", row.error or "") for row in rows if row.score is None],
        made=made,
        level=None if made is None or made.interval_level is None else f"{made.interval_level:.0%}",
    )


def _scored(row: Row) -> Cells:
    return (
        row.source if row.start_s is None else f"{row.source} from {row.start_s:g} s",
        row.dive or "?",
        points(row.score),
        interval(row) or "-",
        points(row.execution),
        *(
            "-" if value is None else signed(value)
            for value in (row.takeoff_points, row.flight_points, row.entry_points)
        ),
    )


def _caveats(scored: Sequence[Row], *, mixed: bool) -> list[str]:
    caveats = []
    if mixed:
        caveats.append(
            "These rows were made with different weights, banks or precisions, so their scores do not compare."
        )
    recognised = sum((row.dive_from or "").startswith("recognised") for row in scored)
    unknown = sum(row.dive is None for row in scored)
    said = []
    if recognised:
        said.append(f"{recognised} dive numbers were recognised, not given")
    if unknown:
        said.append(f"{unknown} are not known, so dives of other numbers voted")
    if said:
        caveats.append(f"Dive numbers: {'; '.join(said)}. Name them with --dive or in a manifest to be sure.")
    return caveats


def _bars(scored: Sequence[Row]) -> list[tuple[str, int, float]]:
    """Return how the scores are spread: range in words, count, share of the longest bar in percent."""
    scores = [row.score for row in scored if row.score is not None]
    if not scores:
        return []
    top = max(_BARS, *(int(score // _BARS + 1) * _BARS for score in scores))
    first = min(int(score // _BARS) * _BARS for score in scores)
    counts = {low: sum(low <= score < low + _BARS for score in scores) for low in range(first, top, _BARS)}
    longest = max(counts.values())
    return [(f"{low} to {low + _BARS}", count, 100 * count / longest) for low, count in counts.items()]
