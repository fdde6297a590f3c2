"""Explain a verdict: put together what interventions, checks, backgrounds and attention say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finecausal_cli.assess.attention import (
    describe_graph,
    describe_snippets,
    describe_stage_attention,
    snippet_shares,
    view_graph,
)
from finecausal_cli.assess.background import change_backgrounds, find_backgrounds
from finecausal_cli.assess.checks import check
from finecausal_cli.assess.explanation import Explanation
from finecausal_cli.assess.foreground import measure_foreground
from finecausal_cli.assess.interventions import intervene, rank

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.explanation import BackgroundChange, ExplainOptions
    from finecausal_cli.assess.hearing import Hearing
    from finecausal_cli.model.outputs import Encoding
    from finecausal_cli.video.clip import Clip


def explain_verdict(
    hearing: Hearing,
    assessment: Assessment,
    clip: Clip,
    probabilities: NDArray[np.float32],
    options: ExplainOptions,
    *,
    encode: Callable[[Clip], Encoding],
    bank_folder: Path | None,
) -> Explanation:
    """Explain a verdict.

    Args:
        hearing: The dive and its voters.
        assessment: The verdict that came of it.
        clip: The clip.
        probabilities: [96, size, size], where the athlete is in the crop in its centre.
        options: What to explain.
        encode: Encodes a clip.
        bank_folder: Where the bank's thumbnails lie; None if nowhere.
    """
    notes = []
    interventions, taken = intervene(hearing, assessment.dive)
    if not taken:
        why = "the dive number is not known" if assessment.dive is None else f"the bank has no {assessment.dive}"
        notes.append(f"no stage is replaced by the bank's mean or best: {why}")
    backgrounds: tuple[BackgroundChange, ...] = ()
    if options.backgrounds:
        found, missing = find_backgrounds(hearing, clip, probabilities, bank_folder)
        notes += missing
        backgrounds = change_backgrounds(hearing, clip, probabilities, found, encode, assessment.stages[2].start_frame)
    graph = view_graph(hearing.ballot, options.layer, options.head)
    checks = check(hearing, assessment, None if graph is None else snippet_shares(graph))
    foreground = measure_foreground(probabilities, assessment.stages)
    if not any(foreground.frames):
        notes.append("no athlete is predicted in any frame: what is said of foreground and background is empty")
    return Explanation(
        assessment=assessment,
        interventions=interventions,
        rankings=tuple(rank(interventions, replaced_by) for replaced_by in ("exemplar", *taken)),
        bank_mean=taken.get("bank_mean"),
        bank_best=taken.get("bank_best"),
        checks=checks,
        backgrounds=backgrounds,
        foreground=foreground,
        snippets=describe_snippets(clip, assessment.stages, graph),
        graph_attention=describe_graph(hearing.ballot, assessment.stages, options.layer, options.head),
        stage_attention=describe_stage_attention(hearing.ballot),
        notes=tuple(notes),
    )
