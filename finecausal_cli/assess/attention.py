"""Where the network looked: among snippets, through the graph, and among stages."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.assess.assessment import NODE_TYPES
from finecausal_cli.assess.explanation import GraphAttention, Snippet, StageAttention
from finecausal_cli.model.attention import UNIFORM_ATTENTION, node_type_attention
from finecausal_cli.model.config import STAGES
from finecausal_cli.video.clip import SNIPPET_FRAMES, SNIPPET_STARTS, SNIPPETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from finecausal_cli.assess.assessment import Stage, StageName
    from finecausal_cli.assess.explanation import Row3
    from finecausal_cli.exemplars.vote import Ballot
    from finecausal_cli.video.clip import Clip

_VIDEO = slice(0, SNIPPETS)
_FUSED = slice(NODE_TYPES.index("query_fused") * SNIPPETS, (NODE_TYPES.index("query_fused") + 1) * SNIPPETS)


def view_graph(ballot: Ballot, layer: int | None, head: int | None) -> NDArray[np.float64] | None:
    """Return the graph's attention averaged over the voters.

    Args:
        ballot: The votes, with the attention kept.
        layer: Layer to look at, counted from 1; None takes the mean of all.
        head: Head to look at, counted from 1; None takes the mean of all.

    Returns:
        [36, 36], from source (row) to target (column); every column adds up to 1. None without the graph.
    """
    nodes = ballot.pairs.node_attention
    if nodes is None:
        return None
    chosen: Tensor = nodes.mean(0).cpu().double()
    chosen = chosen.mean(0) if layer is None else chosen[layer - 1]
    chosen = chosen.mean(-1) if head is None else chosen[..., head - 1]
    return np.asarray(chosen.numpy(), np.float64)


def snippet_shares(graph: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how the attention given to the query is shared among its snippets: [9], adding up to 1."""
    given = graph.sum(axis=1)
    by_snippet = given[_VIDEO] + given[_FUSED]
    return np.asarray(by_snippet / by_snippet.sum(), np.float64)


def frames_by_stage(borders: Sequence[int]) -> NDArray[np.float64]:
    """Share out every snippet's frames to the stages.

    Args:
        borders: The four borders of the stages, sampled frames.

    Returns:
        [9, 3], rows adding up to 1.
    """
    rows = [
        [max(0, min(start + SNIPPET_FRAMES, end) - max(start, begin)) for begin, end in pairwise(borders)]
        for start in SNIPPET_STARTS
    ]
    return np.asarray(rows, np.float64) / SNIPPET_FRAMES


def stage_preference(shares: NDArray[np.float64], by_stage: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compare the attention on each stage with what it would get without preference.

    Args:
        shares: [9], share of the attention on each snippet.
        by_stage: [9, 3], each snippet's frames by stage.

    Returns:
        [3]; 1 is no preference, and a stage that no snippet shows gets 0.
    """
    even = by_stage.sum(axis=0) / SNIPPETS
    return np.asarray(np.divide(shares @ by_stage, even, out=np.zeros(len(STAGES)), where=even > 0), np.float64)


def describe_graph(
    ballot: Ballot, stages: Sequence[Stage], layer: int | None, head: int | None
) -> GraphAttention | None:
    """Return the graph's attention, one layer and head or the mean; None in a network without the graph."""
    graph, nodes = view_graph(ballot, layer, head), ballot.pairs.node_attention
    if graph is None or nodes is None:
        return None
    types = node_type_attention(nodes.new_tensor(graph, device="cpu").double()[..., None]).tolist()
    takeoff, flight, entry = stage_preference(snippet_shares(graph), frames_by_stage(_borders(stages))).tolist()
    return GraphAttention(
        layer=layer,
        head=head,
        layers=nodes.shape[1],
        heads=nodes.shape[-1],
        nodes=tuple(tuple(row) for row in graph.tolist()),
        node_types=tuple(tuple(row) for row in types),
        uniform=UNIFORM_ATTENTION,
        stage_shares=(takeoff, flight, entry),
    )


def describe_stage_attention(ballot: Ballot) -> StageAttention | None:
    """Return the temporal causal attention by layer; None in a network without it. It has a single head."""
    stages = ballot.pairs.stage_attention
    if stages is None:
        return None
    layers = stages[:, 0].mean(0).cpu().double()
    return StageAttention(
        matrices=tuple((_three_by_three(layer.tolist()),) for layer in layers),
        mean=_three_by_three(layers.mean(0).tolist()),
    )


def describe_snippets(clip: Clip, stages: Sequence[Stage], graph: NDArray[np.float64] | None) -> tuple[Snippet, ...]:
    """Return when each snippet is, in which stage, and how much attention it gets.

    Args:
        clip: The clip.
        stages: Its three stages.
        graph: [36, 36], from ``view_graph``; None without the graph.
    """
    by_stage = frames_by_stage(_borders(stages))
    names: tuple[StageName, ...] = tuple(stage.name for stage in stages)
    shares = snippet_shares(graph) if graph is not None else None
    mean = graph.sum(axis=1) / (len(graph) - 1) if graph is not None else None
    found = []
    for index, start in enumerate(SNIPPET_STARTS):
        end = start + SNIPPET_FRAMES
        takeoff, flight, entry = by_stage[index].tolist()
        found.append(
            Snippet(
                index=index,
                start_frame=start,
                end_frame=end,
                start_s=clip.time_s(start),
                end_s=clip.time_s(end) if end < len(clip.frames) else stages[-1].end_s,
                stage=names[int(by_stage[index].argmax())],
                stage_shares=(takeoff, flight, entry),
                video_attention=None if mean is None else float(mean[_VIDEO][index]),
                fused_attention=None if mean is None else float(mean[_FUSED][index]),
                attention=None if shares is None else float(shares[index]),
            )
        )
    return tuple(found)


def _borders(stages: Sequence[Stage]) -> list[int]:
    return [stages[0].start_frame, *(stage.end_frame for stage in stages)]


def _three_by_three(rows: list[list[float]]) -> tuple[Row3, Row3, Row3]:
    first, second, third = ((a, b, c) for a, b, c in rows)
    return first, second, third
