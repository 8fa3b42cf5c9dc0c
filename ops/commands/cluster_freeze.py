"""Bodies of `kubectl midwatch freeze` and `unfreeze`: the one thing the plugin writes."""

from __future__ import annotations

import difflib
import shlex

import typer

from ops.adapters.kube.paths import path_of
from ops.commands.cluster_access import (
    FIELD_MANAGER,
    Cluster,
    Object,
    connect,
    fail,
    show_json,
    told_errors,
)
from ops.commands.cluster_asked import Asked
from ops.controller.resources.fields import GROUP, TEXT_MAX, VERSION
from ops.errors import KubeError


def set_frozen(asked: Asked, name: str, *, frozen: bool, reason: str, dry_run: bool) -> None:
    """Patch `spec.frozen` of a Fleet and say what that means."""
    if len(reason) > TEXT_MAX:
        raise fail(f"--reason has {len(reason)} characters, limit {TEXT_MAX}; shorten it")
    cluster = connect(asked)
    before = _fleet(cluster, name).get("spec") or {}
    was, because = bool(before.get("frozen")), str(before.get("freezeReason") or "")
    params: dict[str, str | int | bool] = {"fieldManager": FIELD_MANAGER}
    if dry_run:
        params["dryRun"] = "All"
    body = {"spec": {"frozen": frozen, "freezeReason": reason}}
    path = path_of(GROUP, VERSION, "fleets", cluster.namespace, name)
    try:
        after = cluster.api.patch(path, body, params=params)
    except KubeError as error:
        verb = "freeze" if frozen else "unfreeze"
        raise fail(f"cannot {verb} {cluster.namespace}/{name}: {error}") from error
    if asked.as_json:
        show_json({"fleet": f"{cluster.namespace}/{name}", "was": was, "spec": after.get("spec")})
        return
    typer.echo(_said(f"{cluster.namespace}/{name}", was, because, frozen=frozen, dry_run=dry_run))
    place = f"{name} -n {cluster.namespace}{cluster.options}"
    if dry_run:
        return
    if frozen:
        typer.echo("midwatch goes on watching and naming causes; it proposes nothing new.")
        if not reason:
            typer.echo("no reason is given, and others will ask: say it again with --reason TEXT")
        typer.echo(f"undo: kubectl midwatch unfreeze {place}")
    elif was:
        again = f" --reason {shlex.quote(because or 'as before')}"
        typer.echo(f"undo: kubectl midwatch freeze {place}{again}")


def _said(fleet: str, was: bool, because: str, *, frozen: bool, dry_run: bool) -> str:
    would = "would be " if dry_run else ""
    if frozen:
        again = f" (it was frozen before: {because or 'no reason given'})" if was else ""
        return f"{fleet} {would or 'is '}frozen{again}."
    return f"{fleet} {would or 'is '}{'no longer frozen' if was else 'not frozen, as before'}."


def _fleet(cluster: Cluster, name: str) -> Object:
    """The Fleet as it is.

    Raises:
        typer.Exit: there is none of this name; near ones are told.
    """
    if not cluster.namespace:
        raise fail("-A changes nothing: name one namespace with -n")
    with told_errors("fleets", cluster.namespace):
        try:
            return cluster.api.get(path_of(GROUP, VERSION, "fleets", cluster.namespace, name))
        except KubeError as error:
            if error.status != 404:
                raise
    names = [raw["metadata"]["name"] for raw in cluster.raw("fleets")]
    near = difflib.get_close_matches(name, names, cutoff=0.3) or names
    raise fail(f"no fleet {name!r} in {cluster.where}; there is {', '.join(near[:5]) or 'none'}")
