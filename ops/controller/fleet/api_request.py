"""An action as the exact request of the API server. Pure.

Only what a core API carries has one. For the others the reason says what is missing and how a
person finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from ops.adapters.kube.paths import path_of
from ops.controller.live_commands import eviction_body
from ops.state import Action, ActionKind, Snapshot

CORDON_ONLY = (
    "cordon the node; that alone was asked. Not asked: the evictions of the drain. A disruption "
    "budget may hold them up; at a pod without a controller, of any namespace, the drain stops and "
    "leaves the node cordoned"
)
WITHHELD = "(withheld: it may be secret)"


class Verb(StrEnum):
    """How the request is sent."""

    PATCH = "PATCH"
    POST = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request; a PATCH is a JSON patch, whose `test` holds it to what was seen.

    Attributes:
        body: what is sent.
        shown: what is told of it, None = all of it; values that may be secret are withheld.
        hint: where a person reads what is withheld.
        words: how a person gets the server's own words, where those may repeat what is withheld.
        would: what the server does with it; of an action in several steps only the first is asked.
    """

    verb: Verb
    path: str
    body: Any
    shown: Any = None
    hint: str = ""
    words: str = ""
    would: str = "carry it out"

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"

    @property
    def text(self) -> str:
        """The body as JSON, as it may be told."""
        return orjson.dumps(self.body if self.shown is None else self.shown).decode()


def request_of(action: Action, snapshot: Snapshot, *, namespace: str) -> ApiRequest | str:
    """The request that carries an action out, or why there is none.

    A roll-back needs more than a snapshot holds: see `ops.controller.fleet.rollback`.
    """
    name = action.target.name
    match action.kind:
        case ActionKind.SCALE_OUT:
            return _scale(action, snapshot, namespace)
        case ActionKind.REPLACE_POD | ActionKind.RESTART_POD:
            path = path_of("", "v1", "pods", namespace, name, "eviction")
            body = eviction_body(name, namespace=namespace)
            return ApiRequest(verb=Verb.POST, path=path, body=body, would="evict the pod")
        case ActionKind.CORDON_DRAIN_NODE:
            operations = [
                {"op": "test", "path": "/metadata/name", "value": name},
                {"op": "add", "path": "/spec/unschedulable", "value": True},
            ]
            path = path_of("", "v1", "nodes", "", name)
            return ApiRequest(verb=Verb.PATCH, path=path, body=operations, would=CORDON_ONLY)
        case ActionKind.SHIFT_TRAFFIC:
            return _no_route(action.target.region, action.params, namespace)
        case ActionKind.LIMIT_ADMISSION:
            return _no_limit(action.params)
        case _:
            return "nothing was done that could be undone"


def _scale(action: Action, snapshot: Snapshot, namespace: str) -> ApiRequest | str:
    """Through the scale subresource; a Deployment over several regions has one count."""
    name, region = action.target.name, action.target.region
    rows = [row for row in snapshot.services if row.service == name]
    row = next((row for row in rows if row.region == region), None)
    if row is None:
        return f"no Deployment {name} with pods in {region} is seen in namespace {namespace}"
    replicas = row.replicas_in_all
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


def _no_route(region: str, params: Mapping[str, object], namespace: str) -> str:
    to, share = str(params.get("to_region", "another region")), params.get("share")
    weights = ""
    if isinstance(share, float | int):
        weights = f" to {100 - round(100 * share)} for {region} and {round(100 * share)} for {to}"
    return (
        "no core API carries weights of traffic, and nothing in the cluster says which HTTPRoute "
        f"serves the users of {region}, or which of its backends is {to}. Find it with kubectl "
        f"--namespace {namespace} get httproutes --output yaml, then set "
        f"spec.rules[].backendRefs[].weight{weights}"
    )


def _no_limit(params: Mapping[str, object]) -> str:
    ratio = params.get("ratio")
    share = f" to {ratio:.0%} of what arrives" if isinstance(ratio, float | int) else ""
    return (
        "no API of Kubernetes limits how many requests are admitted: set it in the configuration "
        f"of what takes the requests in (gateway, router or engine){share}"
    )
