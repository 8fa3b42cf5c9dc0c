"""`midwatch incident`: show a recorded incident, pack it into one file, diagnose it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Show, export or diagnose again a recorded incident.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of a run, or of one bundle.")]


@app.command()
def show(
    folder: Folder,
    incident_id: Annotated[
        str, typer.Option("--id", help="Which incident; all where none is set.")
    ] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, the whole journal.")] = False,
) -> None:
    """Tell what happened, from the journal alone.

    Example: `midwatch incident show out/replay --id inc-0001`
    """
    from ops.commands.incident_run import show_incidents

    show_incidents(folder, incident_id=incident_id, markdown=markdown, as_json=as_json)


@app.command()
def export(
    folder: Folder,
    incident_id: Annotated[str, typer.Option("--id", help="Which incident.")],
    out: Annotated[Path, typer.Option(help="The file to write, .tar.")],
    truth: Annotated[
        bool, typer.Option("--truth", help="With the truth of the simulated fault.")
    ] = False,
) -> None:
    """Pack one incident's bundle into a tar file that others can unpack and replay.

    Example: `midwatch incident export out/replay --id inc-0001 --out inc-0001.tar`
    """
    from ops.commands.incident_run import export_incident

    export_incident(folder, incident_id=incident_id, out=out, truth=truth)


@app.command()
def diagnose(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle of a live incident.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Diagnose a recorded incident of a real cluster once more: no cluster, no network.

    The same bundle gives the same ranking, to the last bit of every score; exit code 1 says that
    it did not.

    Example: `midwatch incident diagnose bundles/shop/chat-20261130-021004-3f9c1`
    """
    from ops.commands.incident_diagnose_run import run_diagnose

    run_diagnose(bundle, as_json=as_json)
