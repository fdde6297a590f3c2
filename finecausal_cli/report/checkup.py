"""Show the findings of a checkup."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from finecausal_cli.report.layout import page_columns
from finecausal_cli.report.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console

    from finecausal_cli.assess.checkup import Checkup


def print_checkup(checkup: Checkup, console: Console) -> None:
    """Print one row a finding, and the verdict."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in checkup.findings:
        mark = Text("ok", style="green") if finding.well else Text("!!", style="bold red")
        table.add_row(mark, finding.subject, Text(printable(finding.finding, console)))
    console.print(table, width=page_columns(console))
    console.print("All is well." if checkup.healthy else "Something stands in the way: see the lines marked !!")


def checkup_json(checkup: Checkup) -> str:
    """Return the findings as JSON."""
    return json.dumps({"healthy": checkup.healthy, "findings": [asdict(one) for one in checkup.findings]}, indent=2)
