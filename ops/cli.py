"""The console script `midwatch`: mounts the command groups."""

from __future__ import annotations

from typing import Annotated

import typer

from ops import __version__
from ops.commands import chaos, incident, operator_group, rca, serving
from ops.commands.replay import replay

app = typer.Typer(
    name="midwatch",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)

app.command()(replay)
app.add_typer(chaos.app, name="chaos")
app.add_typer(incident.app, name="incident")
app.add_typer(operator_group.app, name="operator")
app.add_typer(rca.app, name="rca")
app.add_typer(serving.app, name="serving")


@app.command()
def version() -> None:
    """Print the version. Example: `midwatch version`."""
    typer.echo(__version__)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def midwatch(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Notices what changed in a fleet, names the cause, acts, and shows what it was worth.

    Example: `midwatch replay`
    """


def main() -> None:
    """Entry point."""
    app()
