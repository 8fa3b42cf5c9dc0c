"""The console script `midwatch`: mounts the command groups."""

from __future__ import annotations

from pathlib import Path

import typer

from ops import __version__
from ops.commands import chaos

app = typer.Typer(
    name="midwatch",
    help="Notices what changed in a fleet, names the cause, acts, and shows what it was worth.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)

app.add_typer(chaos.app, name="chaos")


@app.command()
def version() -> None:
    """Print the version. Example: `midwatch version`."""
    typer.echo(__version__)


@app.command()
def replay(out: Path = Path("out/replay")) -> None:
    """Replay a scenario. Example: `midwatch replay --out out/demo`."""
    typer.echo(f"midwatch {__version__}: no scenario is embedded yet, nothing written to {out}")


def main() -> None:
    """Entry point."""
    app()
