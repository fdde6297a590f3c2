"""Explain a score: interventions on stages, attention, and checks of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from finecausal_cli.model.causal import UNIFORM_ATTENTION, node_type_attention
from finecausal_cli.model.config import STAGE_WEIGHTS, STAGES
from finecausal_cli.model.finecausal import weigh_stages
from finecausal_cli.scoring.background import change_backgrounds, find_backgrounds, measure_foreground
from finecausal_cli.scoring.results import (
    JITTER_FRAMES,
    NODE_TYPES,
    TOLERANCE,
    BankMean,
    Checks,
    Deletion,
    Explanation,
    FrozenFlight,
    GraphAttention,
    Jitter,
    Ranking,
    Snippet,
    StageAttention,
    StageIntervention,
)
from finecausal_cli.video import CLIP_FRAMES, SNIPPET_FRAMES, SNIPPET_STARTS, SNIPPETS
from finecausal_cli.weights import caveat_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from finecausal_cli.model.outputs import Encoding
    from finecausal_cli.retrieval.bank import Bank
    from finecausal_cli.retrieval.voting import ExemplarVotes, VotingContext
    from finecausal_cli.scoring import ExplainOptions
    from finecausal_cli.scoring.results import (
        Assessment,
        AthleteFrame,
        BackgroundChange,
        Measurement,
        Replacement,
        Row3,
        Stage,
        StageName,
        Unit,
    )
    from finecausal_cli.video import Clip


# Where the network looked: among snippets, through the graph, and among stages.

_VIDEO = slice(0, SNIPPETS)
_FUSED = slice(NODE_TYPES.index("query_fused") * SNIPPETS, (NODE_TYPES.index("query_fused") + 1) * SNIPPETS)


def view_graph(votes: ExemplarVotes, layer: int | None, head: int | None) -> NDArray[np.float64] | None:
    """Return the graph's attention averaged over the voters.

    Args:
        votes: The votes, with the attention kept.
        layer: Layer to look at, counted from 1; None takes the mean of all.
        head: Head to look at, counted from 1; None takes the mean of all.

    Returns:
        [36, 36], from source (row) to target (column); every column adds up to 1. None without the graph.
    """
    nodes = votes.pairs.node_attention
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
    votes: ExemplarVotes, stages: Sequence[Stage], layer: int | None, head: int | None
) -> GraphAttention | None:
    """Return the graph's attention, one layer and head or the mean; None in a network without the graph."""
    graph, nodes = view_graph(votes, layer, head), votes.pairs.node_attention
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


def describe_stage_attention(votes: ExemplarVotes) -> StageAttention | None:
    """Return the temporal causal attention by layer; None in a network without it. It has a single head."""
    stages = votes.pairs.stage_attention
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
    snippets = []
    for index, start in enumerate(SNIPPET_STARTS):
        end = start + SNIPPET_FRAMES
        takeoff, flight, entry = by_stage[index].tolist()
        snippets.append(
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
    return tuple(snippets)


def _borders(stages: Sequence[Stage]) -> list[int]:
    return [stages[0].start_frame, *(stage.end_frame for stage in stages)]


def _three_by_three(rows: list[list[float]]) -> tuple[Row3, Row3, Row3]:
    first, second, third = ((a, b, c) for a, b, c in rows)
    return first, second, third


# What the score would be, had a stage been each exemplar's own, the bank's mean or the mean of the bank's best.

_STAGES: tuple[StageName, StageName, StageName] = ("takeoff", "flight", "entry")

_BEST_SHARE = 4
"""The bank's best are one in so many of its dives of a number, one at least."""


@dataclass(frozen=True)
class StageVectors:
    """The stages of one dive as the network describes them, once for each voter.

    Attributes:
        tokens: [V, G, T, 64].
        static_tokens: [V, G, 4, 64] from single frames; only with the static branch.
    """

    tokens: Tensor
    static_tokens: Tensor | None

    @classmethod
    def of_exemplars(cls, context: VotingContext) -> StageVectors:
        """Return each voter's own stages."""
        pairs = context.votes.pairs
        return cls(pairs.tokens[:, 1], None if pairs.static_tokens is None else pairs.static_tokens[:, 1])

    @classmethod
    def of_bank(cls, context: VotingContext, indices: Sequence[int]) -> StageVectors:
        """Return the mean stages of some of the bank's dives, each of them read beside each voter.

        A dive's stages depend on the dive it is compared with, so the mean is taken anew for every voter.

        Args:
            context: The dive and its voters.
            indices: Indices of the dives in the bank, one or more.
        """
        members = context.bank.encodings.select(list(indices)).to(context.query.video.device)
        tokens, static = [], []
        for voter in range(len(context.indices)):
            partner = context.voters.select(slice(voter, voter + 1)).expand(len(members))
            with torch.inference_mode():
                pairs = context.model.compare(members, partner)
            tokens.append(pairs.tokens[:, 0].mean(0))
            if pairs.static_tokens is not None:
                static.append(pairs.static_tokens[:, 0].mean(0))
        return cls(torch.stack(tokens), torch.stack(static) if static else None)


def regress_with(context: VotingContext, stages: StageVectors, replaced: Iterable[int]) -> Tensor:
    """Give the dive other stages and read the differences again, from the temporal causal attention on.

    Args:
        context: The dive and its voters.
        stages: Where the stages come from.
        replaced: Which stages to replace, 0..2.

    Returns:
        Stage differences float64 [V, G], execution units.
    """
    pairs, chosen = context.votes.pairs, list(replaced)
    tokens = pairs.tokens.clone()
    tokens[:, 0, chosen] = stages.tokens[:, chosen]
    static = pairs.static_tokens
    if static is not None and stages.static_tokens is not None:
        static = static.clone()
        static[:, 0, chosen] = stages.static_tokens[:, chosen]
    with torch.inference_mode():
        return context.model.regress(tokens, static).stage_deltas[:, 0].cpu().double()


def replace_stages(
    context: VotingContext, stages: StageVectors, replaced_by: Replacement
) -> tuple[StageIntervention, ...]:
    """Replace one stage at a time and let the later stages follow.

    A replaced take-off also changes how flight and entry are read; no stage changes an earlier one.

    Returns:
        One intervention a stage, in the order of the stages.
    """
    before = context.votes.pairs.stage_deltas[:, 0].cpu().double()

    def intervene_on(index: int) -> StageIntervention:
        changed = regress_with(context, stages, [index]) - before
        takeoff, flight, entry = context.points(changed)
        per_voter = changed @ torch.tensor(STAGE_WEIGHTS, dtype=torch.float64)
        return StageIntervention(
            stage=_STAGES[index],
            replaced_by=replaced_by,
            score=context.score + takeoff + flight + entry,
            change=takeoff + flight + entry,
            stage_changes=(takeoff, flight, entry),
            voters_gaining=int((per_voter > 0).sum()),
        )

    return intervene_on(0), intervene_on(1), intervene_on(2)


def rank(interventions: Sequence[StageIntervention], replaced_by: Replacement) -> Ranking:
    """Order the stages by what their replacement gains, best first; the earlier stage first where two gain the same."""
    ordered = sorted(
        (each for each in interventions if each.replaced_by == replaced_by),
        key=lambda each: (-each.change, STAGES.index(each.stage)),
    )
    first, second, third = ordered
    return Ranking(
        replaced_by=replaced_by,
        stages=(first.stage, second.stage, third.stage),
        changes=(first.change, second.change, third.change),
    )


def bank_stages(bank: Bank, dive: str | None) -> dict[Replacement, tuple[int, ...]]:
    """Return the indices of the dives whose mean stages replace those of a dive of this number.

    The best are those of most execution. Of a single dive there is a mean and no best.
    """
    members = () if dive is None else bank.of_dive(dive)
    by_execution = sorted(members, key=lambda index: (-bank.exemplars[index].execution, index))
    best = by_execution[: max(1, len(members) // _BEST_SHARE)] if len(members) > 1 else ()
    averaged: dict[Replacement, tuple[int, ...]] = {"bank_mean": members, "bank_best": tuple(best)}
    return {replaced_by: indices for replaced_by, indices in averaged.items() if indices}


def intervene(
    context: VotingContext, dive: str | None
) -> tuple[tuple[StageIntervention, ...], dict[Replacement, BankMean]]:
    """Replace every stage by each voter's own and, where the bank knows the dive, by the mean and best of its number.

    Args:
        context: The dive and its voters.
        dive: Its dive number; None if unknown.

    Returns:
        The interventions, replacement by replacement, and what the means were taken over.
    """
    interventions = replace_stages(context, StageVectors.of_exemplars(context), "exemplar")
    means: dict[Replacement, BankMean] = {}
    for replaced_by, indices in bank_stages(context.bank, dive).items():
        interventions += replace_stages(context, StageVectors.of_bank(context, indices), replaced_by)
        means[replaced_by] = BankMean(dive=str(dive), exemplars=len(indices))
    return interventions, means


# Whether an explanation agrees with the score, with itself, and with the network under disturbances.


def check(
    context: VotingContext,
    assessment: Assessment,
    shares: NDArray[np.float64] | None,
    frozen: tuple[Encoding, int] | None = None,
) -> Checks:
    """Run every check.

    Args:
        context: The dive and its voters.
        assessment: The assessment that came of it.
        shares: [9], share of the attention on each snippet; None in a network without graph attention.
        frozen: The encoding of the dive with its flight frozen, and how many frames that are; None without a flight.
    """
    decomposition = abs(sum((assessment.exemplar_value, *assessment.stage_values)) - assessment.value)
    own, difference = compare_with_itself(context)
    return Checks(
        tolerance=TOLERANCE,
        decomposition_error=decomposition,
        self_error=own,
        self_difference=difference,
        holds=max(decomposition, own) <= TOLERANCE,
        jitter=shift_borders(context),
        deletion=None if shares is None else delete_snippets(context, int(shares.argmax())),
        frozen_flight=None if frozen is None else score_frozen(context, *frozen, assessment.unit),
    )


LISTENS: Final[dict[Unit, float]] = {"points": 15.0, "marks": 1.7}
"""What a frozen flight must cost at least, if the score listens to the flight. The mark is as strict as the points at
a difficulty of 2.9."""


def score_frozen(context: VotingContext, encoding: Encoding, frames: int, unit: Unit = "points") -> FrozenFlight:
    """Score the dive with its flight frozen, by the same voters."""
    score = context.rescore(encoding)
    change = score - context.score
    return FrozenFlight(score=score, change=change, frames=frames, moves=change <= -LISTENS[unit])


def freeze_flight(clip: Clip, takeoff_s: float, entry_s: float) -> tuple[Clip, int]:
    """Return the clip with the picture of the flight's first frame held through the flight, and how many frames."""
    times_s = np.asarray(clip.times_s)
    air = np.flatnonzero((times_s >= takeoff_s) & (times_s < entry_s))
    if not len(air):
        return clip, 0
    frames = clip.frames.copy()
    frames[air] = frames[air[0]]
    return replace(clip, frames=frames), len(air)


# Of which stages something may be said.

MOST_BORDER_ERROR_S: Final = 0.3
"""Real seconds by which a border may be off the take-off or entry found in the video. Found take-offs and entries are
themselves off by 0.1 s in the median on filmed dives."""

LEAST_SEEN: Final = 0.25
"""Share of a stage's frames, around the flight, in which the athlete must be seen."""

_BEFORE_S, _AFTER_S = 0.6, 0.12
"""Real time before the take-off and after the entry in which the athlete should be seen."""


def unsure_stages(assessment: Assessment, athlete: Sequence[AthleteFrame]) -> dict[StageName, str]:
    """Return the stages of which nothing may be said, and why.

    A stage's borders are unsure where the video does not tell take-off and entry, or tells them elsewhere. Its athlete
    is not seen where the reader finds one in less than a quarter of its frames around the flight. A stage may also have
    no frames at all, in a clip that begins with the take-off.

    Args:
        assessment: The assessment, with the take-off and the entry that were found.
        athlete: The athlete in each of the 96 sampled frames; joints are empty without an athlete reader.
    """
    takeoff_s, entry_s = assessment.flight_start_s, assessment.entry_start_s
    if takeoff_s is None or entry_s is None:
        missing = "take-off" if takeoff_s is None else "entry"
        return dict.fromkeys(_STAGES, f"the {missing} is not found in the video")
    scale = assessment.time_scale or 1.0
    first, second, third = assessment.stages
    unsure: dict[StageName, str] = {
        stage.name: "no frame of the clip is taken for it" for stage in assessment.stages if stage.is_empty
    }
    for stages, border_s, found_s, what in (
        ((first, second), second.start_s, takeoff_s, "take-off"),
        ((second, third), third.start_s, entry_s, "entry"),
    ):
        off_s = (border_s - found_s) / scale
        if abs(off_s) > MOST_BORDER_ERROR_S:
            why = f"its border is {abs(off_s):.2f} s {'after' if off_s > 0 else 'before'} the {what} in the video"
            unsure |= {stage.name: why for stage in stages if stage.name not in unsure}
    if any(frame.joints for frame in athlete):
        for stage in assessment.stages:
            frames = [
                frame
                for frame in athlete[stage.start_frame : stage.end_frame]
                if takeoff_s - _BEFORE_S * scale <= frame.time_s <= entry_s + _AFTER_S * scale
            ]
            seen = sum(frame.box is not None for frame in frames)
            if stage.name not in unsure and seen < LEAST_SEEN * max(len(frames), 1):
                unsure[stage.name] = f"the athlete is seen in {seen} of its {len(frames)} frames around the flight"
    return {name: unsure[name] for name in _STAGES if name in unsure}


def compare_with_itself(context: VotingContext) -> tuple[float, float]:
    """Give the dive all three stages of each voter, and compare with the voter against itself.

    Returns:
        Largest distance between the two differences over voters and stages, and the largest difference of a voter
        against itself; points.
    """
    stages = StageVectors.of_exemplars(context)
    replaced = regress_with(context, stages, range(len(STAGES)))
    pairs_of_one = stages.tokens[:, None].expand(-1, 2, -1, -1, -1)
    static = None if stages.static_tokens is None else stages.static_tokens[:, None].expand(-1, 2, -1, -1, -1)
    with torch.inference_mode():
        itself = context.model.regress(pairs_of_one, static).stage_deltas[:, 0].cpu().double()
    error = float((replaced - itself).abs().max()) * context.scale
    return error, float(weigh_stages(itself).abs().max()) * context.scale


def shift_borders(context: VotingContext, frames: int = JITTER_FRAMES) -> Jitter:
    """Shift the transitions of both dives of every pair alike, and compare again.

    Each transition moves by minus, nought or plus so many frames, in all eight combinations that move something; the
    first stays in the first half of the clip and the last in the second, as predicted ones do.
    """
    half = CLIP_FRAMES // 2
    shifts = [shift for shift in product((-frames, 0, frames), repeat=2) if any(shift)]
    before, changes = context.votes.pairs.transitions, []
    for shift in shifts:
        first, last = (before + before.new_tensor(shift)).unbind(-1)
        moved = torch.stack((first.clamp(0, half - 1), last.clamp(half, CLIP_FRAMES - 1)), dim=-1)
        changes.append(abs(context.rescore(context.query, moved) - context.score))
    return Jitter(frames=frames, shifts=len(shifts), mean=sum(changes) / len(changes), largest=max(changes))


def delete_snippets(context: VotingContext, snippet: int) -> Deletion:
    """Take each snippet away in turn, the stages cut where they were.

    Args:
        context: The dive and its voters.
        snippet: The one with most attention.
    """
    transitions = context.votes.pairs.transitions
    changes = [
        context.rescore(without_snippet(context.query, index), transitions) - context.score for index in range(SNIPPETS)
    ]
    others = [abs(change) for index, change in enumerate(changes) if index != snippet]
    return Deletion(snippet=snippet, change=changes[snippet], others=sum(others) / len(others), changes=tuple(changes))


def without_snippet(query: Encoding, snippet: int) -> Encoding:
    """Replace a snippet's video and mask features, so its fused ones too, by the means of the dive's other snippets.

    Where the network also reads single frames, the snippet's frames become the mean of the others.
    """
    frames = query.frames
    if frames is not None:
        start = SNIPPET_STARTS[snippet]
        frames = _fill(frames, slice(start, start + SNIPPET_FRAMES))
    row = slice(snippet, snippet + 1)
    return replace(query, video=_fill(query.video, row), mask=_fill(query.mask, row), frames=frames)


def _fill(features: torch.Tensor, span: slice) -> torch.Tensor:
    """Put the mean of the other rows in place of some rows of [1, rows, D]."""
    kept = torch.ones(features.shape[1], dtype=torch.bool, device=features.device)
    kept[span] = False
    filled = features.clone()
    filled[:, span] = features[:, kept].mean(1, keepdim=True)
    return filled


# Explain an assessment: put together what interventions, checks, backgrounds and attention say.


def build_explanation(
    context: VotingContext,
    assessment: Assessment,
    clip: Clip,
    probabilities: NDArray[np.float32],
    options: ExplainOptions,
    *,
    encode: Callable[[Clip], Encoding] | None,
    bank_folder: Path | None,
    athlete: Sequence[AthleteFrame] = (),
    measurements: Sequence[Measurement] = (),
    frozen: tuple[Encoding, int] | None = None,
) -> Explanation:
    """Explain an assessment.

    Args:
        context: The dive and its voters.
        assessment: Its result.
        clip: The clip.
        probabilities: [96, size, size], where the athlete is in the crop in its centre.
        options: What to explain.
        encode: Encodes a clip; None for a network that sees no picture.
        bank_folder: Where the bank's thumbnails lie; None if nowhere.
        athlete: The athlete in each of the 96 sampled frames; empty where no flight was found.
        measurements: What was measured of the dive.
        frozen: The encoding of the dive with its flight frozen, and how many frames that are; None without a flight.
    """
    caveat = caveat_of(assessment.provenance.trained_on)
    notes = [] if caveat is None else [caveat]
    interventions, means = intervene(context, assessment.dive)
    if not means:
        why = "the dive number is not known" if assessment.dive is None else f"the bank has no {assessment.dive}"
        notes.append(f"no stage is replaced by the bank's mean or best: {why}")
    backgrounds: tuple[BackgroundChange, ...] = ()
    if options.backgrounds and encode is None:
        notes.append("no background is changed: these weights read the athlete's body and see no picture")
    elif options.backgrounds and encode is not None:
        pictures, missing = find_backgrounds(context, clip, probabilities, bank_folder)
        notes += missing
        entry_frame = assessment.stages[2].start_frame
        backgrounds = change_backgrounds(context, clip, probabilities, pictures, encode, entry_frame)
    graph = view_graph(context.votes, options.layer, options.head)
    checks = check(context, assessment, None if graph is None else snippet_shares(graph), frozen)
    foreground = measure_foreground(probabilities, assessment.stages)
    if not any(foreground.frames):
        notes.append("no athlete is predicted in any frame: foreground and background are empty")
    return Explanation(
        flight_start_s=assessment.flight_start_s,
        entry_start_s=assessment.entry_start_s,
        time_scale=assessment.time_scale,
        assessment=assessment,
        unit=assessment.unit,
        athlete=tuple(athlete),
        measurements=tuple(measurements),
        unsure_stages=unsure_stages(assessment, athlete),
        interventions=interventions,
        rankings=tuple(rank(interventions, replaced_by) for replaced_by in ("exemplar", *means)),
        bank_mean=means.get("bank_mean"),
        bank_best=means.get("bank_best"),
        checks=checks,
        backgrounds=backgrounds,
        foreground=foreground,
        snippets=describe_snippets(clip, assessment.stages, graph),
        graph_attention=describe_graph(context.votes, assessment.stages, options.layer, options.head),
        stage_attention=describe_stage_attention(context.votes),
        notes=tuple(notes),
    )
