"""Faithfulness and stability of explanations over a dataset: deletion, shifted borders, other backgrounds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from finecausal_cli.evaluation.predict import share_interval, spearman
from finecausal_cli.retrieval.voting import VotingContext, choose_voters
from finecausal_cli.scoring.background import change_backgrounds, find_backgrounds, merge_snippets
from finecausal_cli.scoring.explain import (
    compare_with_itself,
    delete_snippets,
    shift_borders,
    snippet_shares,
    view_graph,
)
from finecausal_cli.video import CLIP_FRAMES, Clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from finecausal_cli.data import Dive
    from finecausal_cli.data.cache import ClipCache
    from finecausal_cli.scoring.results import BackgroundChange, Deletion, Jitter
    from finecausal_cli.scoring.scorer import Scorer

_ANY_FPS = 25.0
"""Frame rate of the clips; times are not used."""


@dataclass(frozen=True, slots=True)
class Disturbed:
    """One dive of a dataset and the effect of disturbances on its score.

    Attributes:
        key: The dive.
        score: Its score by the network, points.
        self_error: Difference to the exemplar with all stages replaced by the exemplar's own, points.
        jitter: Borders shifted.
        deletion: Snippets removed; None in a network without graph attention.
        backgrounds: Backgrounds replaced; may be empty.
    """

    key: str
    score: float
    self_error: float
    jitter: Jitter
    deletion: Deletion | None
    backgrounds: tuple[BackgroundChange, ...]


@dataclass(frozen=True, slots=True)
class DeletionFigures:
    """The deletion test over a dataset.

    Attributes:
        dives: How many.
        highest: Mean absolute change of the score without the snippet of most attention, points.
        others: The same without another snippet, points: the effect of a random one.
        more: Dives in which it changes the score more than the others do on average.
        most: Dives in which no other snippet changes the score as much; by chance one in nine.
        more_low: Lower end of Wilson's 95% interval of the share ``more / dives``.
        more_high: Its upper end.
    """

    dives: int
    highest: float
    others: float
    more: int
    most: int
    more_low: float
    more_high: float


@dataclass(frozen=True, slots=True)
class JitterFigures:
    """Stability under shifted borders over a dataset.

    Attributes:
        dives: How many.
        frames: The shift, sampled frames.
        mean: Mean over dives and shifts of the absolute change of the score, points.
        largest_mean: Mean over dives of their largest change, points.
        largest: The largest change of all, points.
    """

    dives: int
    frames: int
    mean: float
    largest_mean: float
    largest: float


@dataclass(frozen=True, slots=True)
class BackgroundFigures:
    """One kind of background over a dataset.

    Attributes:
        dives: How many.
        background: Where it comes from.
        before_entry: Whether it was replaced in the frames before the entry only.
        mean: Mean change of the score, points.
        absolute: Mean absolute change, points.
        rho: Spearman's rho between the scores before and after.
    """

    dives: int
    background: str
    before_entry: bool
    mean: float
    absolute: float
    rho: float


def disturb(
    scorer: Scorer,
    dives: Iterable[Dive],
    clips: ClipCache,
    *,
    voters: int = 10,
    seed: int = 0,
    backgrounds: bool = True,
    advance: Callable[[], object] = lambda: None,
) -> list[Disturbed]:
    """Disturb the dives of a dataset one by one, compared with the bank's exemplars of their number.

    Args:
        scorer: Weights and bank.
        dives: Dives that are not in the bank.
        clips: Where their clips come from.
        voters: Most exemplars per dive.
        seed: Seed of the exemplars' order.
        backgrounds: Also replace the background; encodes every dive four more times.
        advance: Called after each dive.
    """
    results = []
    for dive in dives:
        clip = Clip(clips.load(dive).frames, np.arange(CLIP_FRAMES), _ANY_FPS, dive.key, "cache")
        results.append(_disturb(scorer, dive, clip, voters=voters, seed=seed, backgrounds=backgrounds))
        advance()
    return results


def _disturb(scorer: Scorer, dive: Dive, clip: Clip, *, voters: int, seed: int, backgrounds: bool) -> Disturbed:
    encoding = scorer.encode(clip, foreground=backgrounds)
    indices = choose_voters(scorer.bank, encoding, dive=dive.number, voters=voters, seed=seed).indices
    context = VotingContext.build(scorer.model, encoding, scorer.bank, indices, difficulty=dive.difficulty)
    graph = view_graph(context.votes, None, None)
    changes: tuple[BackgroundChange, ...] = ()
    if encoding.foreground is not None:
        athlete = merge_snippets(encoding.foreground[-1][0])
        pictures, _ = find_backgrounds(context, clip, athlete, scorer.bank_folder)
        changes = change_backgrounds(context, clip, athlete, pictures, scorer.encode, context.votes.borders[2])
    return Disturbed(
        key=dive.key,
        score=context.score,
        self_error=compare_with_itself(context)[0],
        jitter=shift_borders(context),
        deletion=None if graph is None else delete_snippets(context, int(snippet_shares(graph).argmax())),
        backgrounds=changes,
    )


def summarise_deletion(disturbed: Sequence[Disturbed]) -> DeletionFigures | None:
    """Summarise the deletion test; None where no dive has one."""
    deletions = [dive.deletion for dive in disturbed if dive.deletion is not None]
    if not deletions:
        return None
    highest = [abs(deletion.change) for deletion in deletions]
    more = sum(change > deletion.others for change, deletion in zip(highest, deletions, strict=True))
    most = sum(change >= max(map(abs, deletion.changes)) for change, deletion in zip(highest, deletions, strict=True))
    low, high = share_interval(more, len(deletions))
    others = float(np.mean([deletion.others for deletion in deletions]))
    return DeletionFigures(len(deletions), float(np.mean(highest)), others, more, most, low, high)


def summarise_jitter(disturbed: Sequence[Disturbed]) -> JitterFigures:
    """Summarise stability under shifted borders over one dive or more."""
    jitters = [dive.jitter for dive in disturbed]
    largest = [jitter.largest for jitter in jitters]
    mean = float(np.mean([jitter.mean for jitter in jitters]))
    return JitterFigures(len(jitters), jitters[0].frames, mean, float(np.mean(largest)), max(largest))


def summarise_backgrounds(disturbed: Sequence[Disturbed]) -> list[BackgroundFigures]:
    """Summarise each kind of background."""
    groups: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for dive in disturbed:
        for change in dive.backgrounds:
            kind = (change.background, change.end_frame < CLIP_FRAMES)
            groups.setdefault(kind, []).append((dive.score, change.score))
    results = []
    for (background, before_entry), scores in groups.items():
        before, after = np.asarray(scores, np.float64).T
        changes = after - before
        rho = spearman(before, after) if len(scores) > 1 else float("nan")
        figures = float(changes.mean()), float(np.abs(changes).mean()), rho
        results.append(BackgroundFigures(len(scores), background, before_entry, *figures))
    return results


def figures(disturbed: Sequence[Disturbed]) -> dict[str, object]:
    """Return all metrics as plain data."""
    deletion = summarise_deletion(disturbed)
    return {
        "self_error": max(item.self_error for item in disturbed),
        "deletion": None if deletion is None else asdict(deletion),
        "jitter": asdict(summarise_jitter(disturbed)),
        "backgrounds": [asdict(item) for item in summarise_backgrounds(disturbed)],
    }
