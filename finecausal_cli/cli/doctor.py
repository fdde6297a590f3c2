"""``finecausal doctor``: is everything here that scoring needs, and does it give the numbers it should?"""

from __future__ import annotations

from typing import Annotated

import typer

from finecausal_cli.cli import options as given


def doctor(
    weights: given.Weights = given.WEIGHTS_DEFAULT,
    device: given.Device = "auto",
    output_format: given.Format = given.OutputFormat.TABLE,
    self_test: Annotated[bool, typer.Option("--self-test/--no-self-test", help="Score a bundled clip.")] = True,
) -> None:
    """Check versions, devices, decoders and weights, and score a bundled clip against the expected number."""
    from finecausal_cli.assess.checkup import examine
    from finecausal_cli.report.checkup import checkup_json, print_checkup
    from finecausal_cli.report.progress import working
    from finecausal_cli.report.terminal import open_console

    with working("examining"):
        checkup = examine(weights, device=device, self_test=self_test)
    if output_format is given.OutputFormat.JSON:
        typer.echo(checkup_json(checkup))
    else:
        print_checkup(checkup, open_console())
    if not checkup.healthy:
        raise typer.Exit(1)
