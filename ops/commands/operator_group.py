"""`midwatch operator`: the processes that watch a cluster, and what they are installed with."""

from __future__ import annotations

import typer

from ops.commands import operator_manifests, operator_run, operator_slo, operator_worker

app = typer.Typer(
    help="Watch a Kubernetes cluster: run the operator and its worker, print their manifests.",
    no_args_is_help=True,
)

app.command()(operator_run.run)
app.command()(operator_worker.worker)
app.command()(operator_manifests.manifests)
app.add_typer(operator_slo.app, name="slo")
