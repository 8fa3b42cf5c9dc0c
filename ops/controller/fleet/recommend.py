"""A recommended action as the exact request of the API server, and what the server says to it.

The request is sent with dryRun=All: admission, quotas, budgets and rights answer as they would, and
nothing is stored. It is made only for a fleet of mode Recommend that is not frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from ops.adapters.kube.api import KubeApi, PatchKind
from ops.adapters.kube.paths import path_of
from ops.errors import KubeError
from ops.state import Action, ActionKind, Snapshot

DRY_RUN = {"dryRun": "All"}
BODY_CHARS_MAX, ANSWER_CHARS_MAX = 4096, 1024
# Why no request can be shown for the others.
WITHOUT = {
    ActionKind.ROLLBACK: "the template of the earlier revision is in a ReplicaSet, which midwatch "
    "has no right to read; use the command",
    ActionKind.SHIFT_TRAFFIC: "which route carries the traffic is not known; use the command",
    ActionKind.LIMIT_ADMISSION: "which component admits requests is not known; use the command",
    ActionKind.UNDO: "nothing was done that could be undone",
}


class Verb(StrEnum):
    """How the request is sent."""

    PATCH = "PATCH"
    POST = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request; a PATCH is a JSON patch, whose `test` holds it to what was seen."""

    verb: Verb
    path: str
    body: Any

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"

    @property
    def text(self) -> str:
        """The body as JSON."""
        return orjson.dumps(self.body).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """What a status shows beside an action."""

    request: str = ""
    patch: str = ""
    dry_run: str = ""

    def details(self) -> Mapping[str, str]:
        """As details of a decision."""
        return {"request": self.request, "patch": self.patch, "dry_run": self.dry_run}


def request_of(action: Action, snapshot: Snapshot, *, namespace: str) -> ApiRequest | str:
    """The request that carries an action out, or why there is none."""
    name = action.target.name
    match action.kind:
        case ActionKind.SCALE_OUT:
            return _scale(action, snapshot, namespace)
        case ActionKind.REPLACE_POD | ActionKind.RESTART_POD:
            body = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": name, "namespace": namespace},
            }
            path = path_of("", "v1", "pods", namespace, name, "eviction")
            return ApiRequest(verb=Verb.POST, path=path, body=body)
        case ActionKind.CORDON_DRAIN_NODE:
            operations = [
                {"op": "test", "path": "/metadata/name", "value": name},
                {"op": "add", "path": "/spec/unschedulable", "value": True},
            ]
            path = path_of("", "v1", "nodes", "", name)
            return ApiRequest(verb=Verb.PATCH, path=path, body=operations)
        case _:
            return WITHOUT[action.kind]


def recommended(api: KubeApi, action: Action, snapshot: Snapshot, *, namespace: str) -> Recommended:
    """The request of an action with the server's answer to its dry run."""
    request = request_of(action, snapshot, namespace=namespace)
    if isinstance(request, str):
        return Recommended(dry_run=f"no request: {request}")
    return Recommended(
        request=str(request),
        patch=request.text[:BODY_CHARS_MAX],
        dry_run=dry_run(api, request)[:ANSWER_CHARS_MAX],
    )


def dry_run(api: KubeApi, request: ApiRequest) -> str:
    """What the server says; a refusal is an answer, too.

    Raises:
        KubeError: no answer came at all.
    """
    try:
        if request.verb is Verb.PATCH:
            api.patch(request.path, request.body, kind=PatchKind.JSON, params=DRY_RUN)
        else:
            api.create(request.path, request.body, params=DRY_RUN)
    except KubeError as error:
        if error.status == 0:
            raise
        return f"refused: {error}"
    return "accepted: the server would carry it out"


def _scale(action: Action, snapshot: Snapshot, namespace: str) -> ApiRequest | str:
    """Through the scale subresource; a Deployment over several regions has one count."""
    name = action.target.name
    rows = [service for service in snapshot.services if service.service == name]
    if not rows:
        return f"no Deployment {name} is seen in namespace {namespace}"
    replicas = sum(row.replicas for row in rows)
    operations = [
        {"op": "test", "path": "/spec/replicas", "value": replicas},
        {
            "op": "replace",
            "path": "/spec/replicas",
            "value": replicas + round(float(action.params["add"])),
        },
    ]
    path = path_of("apps", "v1", "deployments", namespace, name, "scale")
    return ApiRequest(verb=Verb.PATCH, path=path, body=operations)
