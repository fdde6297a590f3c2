"""What a batch would do: the dives, what is known of them, and who would vote."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from finecausal_cli.assess.batch.identity import options_that_matter
from finecausal_cli.report.layout import add_row, new_table, page_columns, print_table
from finecausal_cli.report.terminal import printable, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from finecausal_cli.assess.batch.inputs import Item
    from finecausal_cli.assess.batch.row import Place
    from finecausal_cli.assess.batch.run import Plan
    from finecausal_cli.exemplars.bank import Bank

_NAME_COLUMNS = 36


def print_dry_run(plan: Plan, items: Sequence[Item], bank: Bank, console: Console) -> None:
    """Print each dive with what would be done and who would vote, then the counts."""
    columns = page_columns(console)
    todo, copies = ({_place(job.item) for job in jobs} for jobs in ((*plan.jobs, *plan.copies), plan.copies))
    done = {row.place: row for row in plan.done}
    table = new_table("dive")
    for heading in ("number", "voters", "would be"):
        table.add_column(heading, overflow="fold")
    counts: Counter[str] = Counter()
    for item in items:
        place = _place(item)
        if place not in todo:
            deed = f"left: {done[place].status}"
        elif item.problem is not None:
            deed = "left out: wrong in the manifest"
        else:
            deed = "copied" if place in copies else "scored"
        counts[deed] += 1
        name = shorten(printable(item.source, console), min(_NAME_COLUMNS, columns - 40))
        number = printable(str(options_that_matter(item.options)["dive"] or "?"), console)
        add_row(table, name, number, _voters(item, bank), deed)
    print_table(table, console)
    said = ", ".join(f"{count} {deed}" for deed, count in counts.items())
    console.print()
    console.print(Text(f"{len(items)} dives: {said}. Nothing was done.", style="bold"), width=columns)


def _place(item: Item) -> Place:
    return item.source, item.options.start_s, item.options.end_s


def _voters(item: Item, bank: Bank) -> str:
    options = item.options
    if options.exemplar is not None:
        return options.exemplar
    if options.dive is None:
        return f"{min(options.voters, len(bank.exemplars))} nearest"
    same = len(bank.of_dive(str(options_that_matter(options)["dive"])))
    if not same:
        return f"{min(options.voters, len(bank.exemplars))} nearest"
    return f"{min(options.voters, same)} of {same} of its number"
