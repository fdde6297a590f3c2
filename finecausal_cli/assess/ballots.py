"""Let exemplars vote on several dives at once: one comparison for all pairs, then a ballot a dive."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import torch

from finecausal_cli.exemplars.vote import Ballot
from finecausal_cli.model.outputs import Encoding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finecausal_cli.exemplars.bank import Bank
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.model.outputs import PairOutput


def cast_votes_together(
    model: FineCausal,
    queries: Sequence[Encoding],
    bank: Bank,
    places: Sequence[Sequence[int]],
    *,
    attention: bool = False,
) -> list[Ballot]:
    """Compare each dive with its own voters, all pairs in one pass.

    Args:
        model: The network, in evaluation mode.
        queries: One encoding a dive, each of length 1, on the network's device.
        bank: The exemplars.
        places: Places of each dive's voters.
        attention: Keep the attention of the graph and of the stages.

    Returns:
        A ballot a dive: what ``cast_votes`` gives for it alone, for a pair's numbers do not depend on other pairs.
    """
    if not queries:
        return []
    device = queries[0].video.device
    counts = [len(each) for each in places]
    chosen = bank.encodings.select([place for each in places for place in each]).to(device)
    asked = Encoding.concat([query.expand(count) for query, count in zip(queries, counts, strict=True)])
    with torch.inference_mode():
        pairs = model.compare(asked, chosen, attention=attention)
    ballots, first = [], 0
    for each in places:
        executions = torch.tensor([bank.exemplars[place].execution for place in each], dtype=torch.float64)
        ballots.append(Ballot(_rows(pairs, slice(first, first + len(each))), executions))
        first += len(each)
    return ballots


def _rows(pairs: PairOutput, some: slice) -> PairOutput:
    parts = {field.name: getattr(pairs, field.name) for field in fields(pairs)}
    return replace(pairs, **{name: tensor[some] for name, tensor in parts.items() if tensor is not None})
