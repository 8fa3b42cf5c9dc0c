"""`midwatch operator worker`: diagnose, report and replay for an operator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands import extras
from ops.controller.log_form import LogForm
from ops.errors import OpsError


def worker(
    config: Annotated[Path, typer.Option(help="Settings, YAML; see docs/operator.md.")] = Path(
        "/etc/midwatch/worker.yaml"
    ),
    log: Annotated[LogForm, typer.Option(help="How log lines look.")] = LogForm.JSON,
    debug: Annotated[bool, typer.Option("--debug", help="Log every request.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only check settings and their files; exit code 2 on a fault."
        ),
    ] = False,
) -> None:
    """Answer an operator's questions: who is to blame, the page of an incident, a replay.

    It needs no right in the cluster: it reads the metrics endpoints that its settings name.

    Example: `midwatch operator worker --config worker.yaml --log text`

    Example: `midwatch operator worker --config worker.yaml --check`
    """
    extras.need("midwatch operator worker", extras.WORKER)
    # Heavy: scipy and, where it is installed, torch.
    from ops.controller.logs import set_up_logs
    from ops.controller.settings import load_settings
    from ops.controller.settings_files import check_settings, named_files, warn_of_files

    try:
        settings = check_settings(config) if check else load_settings(config)
        if settings.granger == "neural":
            extras.need(f"{config}: granger: neural", extras.MODELS, extra="models")
        if check:
            typer.echo(f"{config}: no fault found")
            return
        set_up_logs(log, debug=debug)

        from ops.controller.worker.server import run_worker
        from ops.controller.worker.start import worker_settings

        warn_of_files(named_files(settings))
        run_worker(worker_settings(settings))
    except OpsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
