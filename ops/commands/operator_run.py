"""`midwatch operator run`: watch a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands import extras
from ops.controller.log_form import LogForm
from ops.errors import OpsError


def run(
    config: Annotated[Path, typer.Option(help="Settings, YAML; see docs/operator.md.")] = Path(
        "/etc/midwatch/operator.yaml"
    ),
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="How to reach the API server; the pod's own account where not set."),
    ] = None,
    log: Annotated[LogForm, typer.Option(help="How log lines look.")] = LogForm.JSON,
    debug: Annotated[bool, typer.Option("--debug", help="Log every step.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only check settings and their files; exit code 2 on a fault."
        ),
    ] = False,
) -> None:
    """Watch the Fleets of a cluster: detect, open Incidents, name causes, recommend.

    One of several such processes leads, the others wait. It ends in order on SIGTERM, and at once
    with exit code 75 when it can no longer be sure that it leads.

    Example: `midwatch operator run --config operator.yaml --kubeconfig ~/.kube/config --log text`

    Example: `midwatch operator run --config operator.yaml --check`
    """
    extras.need("midwatch operator run", extras.OPERATOR)
    # Heavy: HTTP, kopf, the client of the API server.
    import asyncio

    from ops.controller.logs import set_up_logs
    from ops.controller.settings import load_settings
    from ops.controller.settings_files import check_settings

    try:
        settings = check_settings(config) if check else load_settings(config)
        if check:
            typer.echo(f"{config}: no fault found")
            return
        set_up_logs(log, debug=debug)

        from ops.controller.process import Operator

        asyncio.run(Operator(settings, kubeconfig=kubeconfig).serve())
    except OpsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
