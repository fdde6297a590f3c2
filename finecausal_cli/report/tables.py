"""The verdict on one dive for a person: a panel and tables that read well at 80 columns.

``finecausal score`` prints ``print_assessment``, ``finecausal explain`` prints ``print_explanation``. Numbers are
rounded so that the columns that are sums still add up as shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.diving.wording import describe_dive
from finecausal_cli.errors import DiveNumberError
from finecausal_cli.report.attention_tables import print_node_attention, print_stage_attention
from finecausal_cli.report.rounding import hundredths_that_add_up, signed
from finecausal_cli.report.terminal import PAGE_COLUMNS, printable, shorten, words

if TYPE_CHECKING:
    from rich.console import Console

    from finecausal_cli.assess.assessment import Assessment

_BAR_CELLS = 12


def print_assessment(assessment: Assessment, console: Console) -> None:
    """Print the verdict: score, stages, voters, attention where present, provenance and caveats."""
    _print_verdict(assessment, console)
    _print_stages(assessment, console)
    _print_interventions(assessment, console)
    _print_votes(assessment, console)
    if assessment.attention is not None:
        print_node_attention(assessment.attention, console)
        print_stage_attention(assessment.attention, console)
    _print_provenance(assessment, console)
    _print_notes(assessment, console)
