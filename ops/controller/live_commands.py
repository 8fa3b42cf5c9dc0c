"""Commands for the cluster at hand.

The loop's commands name a kubectl context by its region, as an operator of several clusters has
them. In one cluster the namespace is what a person has to give, to kubectl and to Prometheus.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from ops.reports import Command

T = TypeVar("T")

_CONTEXT = re.compile(r"\bkubectl --context \S+")
_REGION = re.compile(r'\bregion="(?:[^"\\]|\\.)*"')
# Played fleets take a limit from an annotation; nothing in a cluster reads it.
_LIMIT = re.compile(r"^kubectl .*annotate \S+ midwatch\.dev/admission-ratio(?:=(\S+) .*|-)$")
# Deleting a pod asks no disruption budget, and a process 1 may ignore that it is ended.
_POD_GOES = re.compile(r"^kubectl --context \S+ (?:delete pod (\S+)|exec (\S+) -- kill 1)$")
QUERY = "Query"  # label of a command that is PromQL


def here(command: str, *, namespace: str) -> str:
    """A command that is typed in the cluster of `namespace`."""
    limit = _LIMIT.match(command)
    if limit is not None:
        what = f"admit {float(limit[1]):.0%} of the requests" if limit[1] else "admit all requests"
        return f"# no API of Kubernetes does it: {what} where they are taken in (gateway, router)"
    goes = _POD_GOES.match(command)
    if goes is not None:
        return _eviction(goes[1] or goes[2], namespace)
    return _CONTEXT.sub(f"kubectl --namespace {namespace}", command)


def eviction_body(name: str, *, namespace: str) -> dict[str, Any]:
    """The request that takes a pod away as far as disruption budgets allow."""
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}


def _eviction(name: str, namespace: str) -> str:
    """The same as a command; kubectl has no shorter one for a single pod."""
    body = json.dumps(eviction_body(name, namespace=namespace), separators=(",", ":"))
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    return f"echo '{body}' | kubectl --namespace {namespace} create --raw {path} -f -"


def all_here(value: T, *, namespace: str) -> T:
    """The same for every text in a value of dataclasses and tuples, e.g. in a report."""
    found: T = _walk(value, namespace)
    return found


def _walk(value: Any, namespace: str) -> Any:
    if isinstance(value, str):
        # An enumeration is a str too, and must stay what it is.
        plain = type(value) is str and "kubectl --context" in value
        return here(value, namespace=namespace) if plain else value
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_walk(item, namespace) for item in value)
    if isinstance(value, Command) and value.label == QUERY:
        # The region may come from the cluster; what is stored carries the namespace for sure.
        return replace(value, text=_REGION.sub(f'namespace="{namespace}"', value.text))
    if is_dataclass(value) and not isinstance(value, type):
        changed = {}
        for one in fields(value):
            before = getattr(value, one.name)
            after = _walk(before, namespace)
            if after is not before and after != before:
                changed[one.name] = after
        return replace(value, **changed) if changed else value
    return value
