"""The tables of attention as text, the same on a terminal and on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.assess.assessment import NODE_TYPES
from finecausal_cli.report.explanation_rows import Row, Section, time_code
from finecausal_cli.report.rounding import signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.explanation import Explanation, GraphAttention, Row3, Snippet

_PERCENT = 100.0


def snippets(explanation: Explanation, most: int | None = None) -> Section:
    """The snippets, most attended first.

    Args:
        explanation: What to show.
        most: Show so many; None shows all nine.
    """
    deletion = explanation.checks.deletion
    found = sorted(explanation.snippets, key=lambda one: (-(one.attention or 0.0), one.index))
    chosen = found[:most]
    say = (
        f"Share of the attention to the query that falls on each snippet of 16 frames; without preference "
        f"{_PERCENT / len(found):.1f}%. Without it: change of the score with the snippet taken away, points."
    )
    if len(chosen) < len(found):
        say = f"The {len(chosen)} of {len(found)} with most. {say}"
    changes = None if deletion is None else deletion.changes
    return Section(
        "Snippets by attention",
        say,
        ("snippet", "from", "to", "stage", "attention", "without it"),
        tuple(
            (
                str(one.index),
                time_code(one.start_s),
                time_code(one.end_s),
                _stages_of_snippet(one, explanation.assessment),
                "-" if one.attention is None else f"{one.attention:.1%}",
                "-" if changes is None else signed(changes[one.index]),
            )
            for one in chosen
        ),
    )


def _stages_of_snippet(snippet: Snippet, assessment: Assessment) -> str:
    """Name the stage, with the share of its frames there unless all are."""
    shares = {stage.name: share for stage, share in zip(assessment.stages, snippet.stage_shares, strict=True)}
    share = shares[snippet.stage]
    return snippet.stage if share > 0.995 else f"{snippet.stage} {share:.0%}"


def node_attention(graph: GraphAttention) -> Section:
    """How much each kind of node listens to each."""
    names = [name.replace("_", " ") for name in NODE_TYPES]
    return Section(
        "Graph attention by kind of node",
        f"{_which(graph)} Each column listens to the rows: percent of its attention for one node of that kind; in "
        f"brackets the difference from no preference, {_PERCENT * graph.uniform:.2f}.",
        ("from / to", *names),
        tuple(
            (name, *(f"{_PERCENT * cell:.2f} ({signed(_PERCENT * (cell - graph.uniform))})" for cell in row))
            for name, row in zip(names, graph.node_types, strict=True)
        ),
    )


def which_attention(graph: GraphAttention) -> str:
    """Name the layer and head whose attention is shown."""
    layer = f"mean of {graph.layers} layers" if graph.layer is None else f"layer {graph.layer} of {graph.layers}"
    head = f"mean of {graph.heads} heads" if graph.head is None else f"head {graph.head} of {graph.heads}"
    return f"{layer}, {head}"


def _which(graph: GraphAttention) -> str:
    words = which_attention(graph)
    return f"{words[0].upper()}{words[1:]}."


def stage_attention(explanation: Explanation) -> Section | None:
    """How much each stage attends to itself and earlier ones, by layer and head; None in a network without it."""
    attention = explanation.stage_attention
    if attention is None:
        return None
    names = [stage.name for stage in explanation.assessment.stages]
    several_heads = any(len(layer) > 1 for layer in attention.matrices)
    rows: list[Row] = []
    for place, layer in enumerate(attention.matrices, 1):
        for head, matrix in enumerate(layer, 1):
            which = f"layer {place}, head {head}" if several_heads else f"layer {place}"
            rows += _causal_rows(which, names, matrix)
    if len(rows) > len(names):
        rows += _causal_rows("mean", names, attention.mean)
    return Section(
        "Stage attention of the query",
        "Each row shares 100 percent among the columns; a stage sees itself and earlier stages only.",
        ("layer: stage", *names),
        tuple(rows),
    )


def _causal_rows(which: str, names: Sequence[str], matrix: tuple[Row3, Row3, Row3]) -> list[Row]:
    """Write a matrix whose rows sum to 1 in percent, with a dash for a stage that lies ahead."""
    return [
        (
            f"{which}: {name}",
            *("-" if place > stage and cell == 0 else f"{_PERCENT * cell:.1f}" for place, cell in enumerate(row)),
        )
        for stage, (name, row) in enumerate(zip(names, matrix, strict=True))
    ]
