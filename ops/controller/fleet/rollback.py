"""A roll-back as one patch: the pod template of an earlier revision put back into its Deployment.

Source: what `kubectl rollout undo` does: the template is that of the ReplicaSet which carries the
revision, without the label of its hash.
Differs: only the parts that differ are sent, a `test` refuses when another revision came in
between, and annotations of the Deployment itself stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.deployments import REVISION
from ops.adapters.kube.paths import path_of
from ops.adapters.kube.records import HASH_LABEL
from ops.clock import Deadline
from ops.controller.fleet.api_request import WITHHELD, ApiRequest, Verb

HISTORY = "deployment.kubernetes.io/revision-history"  # earlier numbers of a template used again
PAGE = 20  # ReplicaSets a page: each holds a whole template
READ_S = 6.0  # for the Deployment and all pages together
TEMPLATE = "/spec/template"
# Values below one of these names are told; any other text of a template may be a secret.
TOLD = frozenset({"image", "imagePullPolicy", "resources", "valueFrom", "name", "nodeSelector"})

Raw = Mapping[str, Any]
Operation = dict[str, Any]


def read_rollback(api: KubeApi, *, namespace: str, name: str, to_revision: str) -> ApiRequest | str:
    """The request that puts a revision back, or why there is none.

    Raises:
        KubeError: the Deployment or its ReplicaSets cannot be read, or not in time.
    """
    deadline = Deadline.after(READ_S)
    folder = path_of("apps", "v1", "deployments", namespace)
    one = {"fieldSelector": f"metadata.name={name}"}
    found = api.get(folder, params=one, timeout_s=READ_S).get("items") or ()
    if not found:
        return f"no Deployment {name} is there in namespace {namespace}"
    deployment = found[0]
    if not to_revision:
        return f"which revision of {name} ran before is not known"
    selector = selector_text(deployment["spec"].get("selector") or {})
    pages = api.pages(
        path_of("apps", "v1", "replicasets", namespace),
        params={"labelSelector": selector},
        limit=PAGE,
        deadline=deadline,
    )
    sets = (item for page in pages for item in orjson.loads(page).get("items") or ())
    return rollback_request(deployment, sets, to_revision=to_revision)


def rollback_request(
    deployment: Raw, replica_sets: Iterable[Raw], *, to_revision: str
) -> ApiRequest | str:
    """The request for a Deployment and its ReplicaSets as the server holds them, or why none."""
    meta, spec = deployment["metadata"], deployment["spec"]
    name, namespace = meta["name"], meta["namespace"]
    if spec.get("paused"):
        return (
            f"the roll-out of {name} is paused; first: kubectl --namespace {namespace} rollout "
            f"resume deployment/{name}"
        )
    before = _template(replica_sets, owner=meta["uid"], revision=to_revision)
    if before is None:
        return (
            f"revision {to_revision} of {name} is no longer kept (spec.revisionHistoryLimit); see "
            f"kubectl --namespace {namespace} rollout history deployment/{name}"
        )
    operations = list(difference(spec["template"], before, path=TEMPLATE))
    if not operations:
        return f"{name} runs the template of revision {to_revision} already"
    current = (meta.get("annotations") or {}).get(REVISION, "")
    seen = {"op": "test", "path": f"/metadata/annotations/{_escaped(REVISION)}", "value": current}
    shown = [_told(one) for one in operations]
    hint = (
        f"what is withheld shows kubectl --namespace {namespace} rollout history "
        f"deployment/{name} --revision={to_revision}"
    )
    return ApiRequest(
        verb=Verb.PATCH,
        path=path_of("apps", "v1", "deployments", namespace, name),
        body=[seen, *operations],
        shown=[seen, *shown],
        hint=hint if shown != operations else "",
        words=f"kubectl --namespace {namespace} rollout undo deployment/{name} "
        f"--to-revision={to_revision} --dry-run=server",
    )


def difference(old: Any, new: Any, *, path: str) -> Iterator[Operation]:
    """The JSON patch that makes `new` of `old`.

    Source: RFC 6902. Lists of another length are replaced as a whole.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{path}/{_escaped(key)}"
            if key not in new:
                yield {"op": "remove", "path": inner}
            elif key not in old:
                yield {"op": "add", "path": inner, "value": new[key]}
            else:
                yield from difference(old[key], new[key], path=inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from difference(before, after, path=f"{path}/{index}")
    elif old != new:
        yield {"op": "replace", "path": path, "value": new}


def selector_text(selector: Raw) -> str:
    """A label selector as a list's parameter spells it."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, values = one["key"], ",".join(one.get("values") or ())
        match one["operator"]:
            case "Exists":
                parts.append(key)
            case "DoesNotExist":
                parts.append(f"!{key}")
            case operator:
                parts.append(f"{key} {operator.lower()} ({values})")
    return ",".join(parts)


def _template(sets: Iterable[Raw], *, owner: str, revision: str) -> Raw | None:
    for one in sets:
        meta = one["metadata"]
        if all(ref.get("uid") != owner for ref in meta.get("ownerReferences") or ()):
            continue
        notes = meta.get("annotations") or {}
        if revision in (notes.get(REVISION, ""), *notes.get(HISTORY, "").split(",")):
            return _without_hash(one["spec"]["template"])
    return None


def _without_hash(template: Raw) -> Raw:
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**meta, "labels": labels}}


def _told(operation: Operation) -> Operation:
    value = operation.get("value")
    plain = value is None or isinstance(value, bool | int | float)
    if plain or TOLD & set(operation["path"].split("/")):
        return operation
    return {**operation, "value": WITHHELD}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
