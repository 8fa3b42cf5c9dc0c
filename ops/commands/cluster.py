"""`kubectl midwatch`: what a person asks a cluster about incidents.

It uses the user's own kubeconfig and rights, and changes one thing, a Fleet's `spec.frozen`. Exit
codes: 0 fine, 1 `status` shows an open incident or a line that begins with "!", 2 wrong use, or no
answer. The bodies, and with them the client of the API server, are imported when one runs.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ops.commands import extras
from ops.commands.cluster_asked import Asked

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="What midwatch found in this cluster: fleets, incidents, causes, reports.",
)


class Format(StrEnum):
    """Form of the answer."""

    TEXT = "text"
    JSON = "json"


Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Namespace; else that of the context.")
]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Every namespace.")]
Context = Annotated[str, typer.Option("--context", help="Context of the kubeconfig.")]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", help="Else $KUBECONFIG, else ~/.kube/config.", dir_okay=False),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, or json for machines.")]
Json = Annotated[bool, typer.Option("--json", help="The same as -o json.")]
Timeout = Annotated[float, typer.Option("--timeout-s", help="Limit of one request.", min=0.1)]
IncidentName = Annotated[
    str,
    typer.Argument(help="Name, how it begins, or its Fleet's name; else the only open one."),
]
FleetName = Annotated[str, typer.Argument(help="Name of the Fleet.")]


@app.command()
def status(
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    resolved: Annotated[bool, typer.Option("--resolved", help="Resolved incidents too.")] = False,
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
    as_json: Json = False,
    timeout_s: Timeout = 10.0,
) -> None:
    """Fleets, what is wrong with them ("!"), open incidents. Exit code 1 where there is either.

    Example: kubectl midwatch status -A
    """
    asked = _asked(namespace, context, kubeconfig, output, as_json, timeout_s, everywhere)
    from ops.commands.cluster_look import look_at_fleets

    look_at_fleets(asked, resolved=resolved)


@app.command()
def why(
    incident: IncidentName = "",
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    whole: Annotated[
        bool, typer.Option("--all", help="All evidence and actions, not the first of each.")
    ] = False,
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
    as_json: Json = False,
    timeout_s: Timeout = 10.0,
) -> None:
    """One incident: cause, how sure, two numbers, what was ruled out, what to do and its undo.

    Lines `look` change nothing. Nor does midwatch: what stands under `run` is for you to type.

    Example: kubectl midwatch why chat-20261130-021045-a1b2c -n shop

    Example: kubectl midwatch why chat -n shop
    """
    asked = _asked(namespace, context, kubeconfig, output, as_json, timeout_s, everywhere)
    from ops.commands.cluster_look import explain

    explain(asked, incident, whole=whole)


@app.command()
def report(
    incident: IncidentName = "",
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    out: Annotated[
        Path | None, typer.Option(help="File or folder; else NAME.html where you are.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
    as_json: Json = False,
    timeout_s: Timeout = 10.0,
) -> None:
    """Save the HTML page of an incident: one file, no network.

    Example: kubectl midwatch report chat-20261130-021045-a1b2c -n shop --open
    """
    asked = _asked(namespace, context, kubeconfig, output, as_json, timeout_s, everywhere)
    from ops.commands.cluster_files import save_report

    save_report(asked, incident, out=out, open_it=open_it)


@app.command()
def export(
    incident: IncidentName = "",
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("incident"),
    namespace: Namespace = "",
    everywhere: Everywhere = False,
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
    as_json: Json = False,
    timeout_s: Timeout = 10.0,
) -> None:
    """Save everything the API server has of an incident, and say where its bundle is.

    Example: kubectl midwatch export chat-20261130-021045-a1b2c -n shop --out inc
    """
    asked = _asked(namespace, context, kubeconfig, output, as_json, timeout_s, everywhere)
    from ops.commands.cluster_files import export_incident

    export_incident(asked, incident, out=out)


@app.command()
def freeze(
    fleet: FleetName,
    reason: Annotated[
        str, typer.Option(help="Why, and by whom; status and why show it. Never in the way.")
    ] = "",
    namespace: Namespace = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the server, change nothing.")
    ] = False,
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
    as_json: Json = False,
    timeout_s: Timeout = 10.0,
) -> None:
    """Propose nothing for a fleet until it is unfrozen; watching goes on.

    Example: kubectl midwatch freeze chat -n shop --reason "migration until 9:00, Ada"
    """
    asked = _asked(namespace, context, kubeconfig, output, as_json, timeout_s)
    from ops.commands.cluster_freeze import set_frozen

    set_frozen(asked, fleet, frozen=True, reason=reason, dry_run=dry_run)


@app.command()
def unfreeze(
    fleet: FleetName,
    namespace: Namespace = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the server, change nothing.")
    ] = False,
    context: Context = "",
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
    as_json: Json = False,
    timeout_s: Timeout = 10.0,
) -> None:
    """Propose again.

    Example: kubectl midwatch unfreeze chat -n shop
    """
    asked = _asked(namespace, context, kubeconfig, output, as_json, timeout_s)
    from ops.commands.cluster_freeze import set_frozen

    set_frozen(asked, fleet, frozen=False, reason="", dry_run=dry_run)


def _asked(
    namespace: str,
    context: str,
    kubeconfig: Path | None,
    output: Format,
    as_json: bool,
    timeout_s: float,
    everywhere: bool = False,
) -> Asked:
    extras.need("kubectl midwatch", extras.PLUGIN)
    return Asked(
        namespace=namespace,
        everywhere=everywhere,
        context=context,
        kubeconfig=kubeconfig,
        as_json=as_json or output is Format.JSON,
        timeout_s=timeout_s,
    )
