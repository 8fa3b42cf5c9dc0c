"""Deployments as rows, and what somebody changed between two of them.

Values of variables may be secret: of a template only image names are kept, of the rest a
fingerprint, and a summary names the part that changed, never its content.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from ops.adapters.kube.fields import (
    NOTHING,
    Labels,
    Pool,
    Raw,
    condition,
    created_at_s,
    time_of,
    wants_gpu,
)
from rca.state import ChangeKind

REVISION = "deployment.kubernetes.io/revision"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
CONTROLLERS = "kube-controller-manager"
_SUMMARY_CHARS_MAX = 200
_IMAGE = "image of "
_CODE = (_IMAGE, "command of ")  # a change of the program; of anything else: of its settings
_RESTART = "restart"
Part = tuple[str, str | int]  # name of a part of the template, its image or its fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRow:
    """A Deployment."""

    namespace: str
    name: str
    labels: Labels  # that its pods carry
    replicas: int
    ready_replicas: int
    revision: str  # "" until the controller has seen it
    template: tuple[Part, ...]
    engine: bool
    created_at_s: float
    rolled_out_at_s: float | None  # last progress of a roll-out, by the server's clock
    written_at_s: float | None  # last change of its spec by anybody but its controller
    autoscaled: bool  # that last change was an autoscaler's


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one Deployment; in which region is its pods' affair."""

    at_s: float
    kind: ChangeKind
    service: str
    labels: Labels  # that its pods carry: whose fleet it is, even after it is deleted
    revision_from: str
    revision_to: str
    summary: str


def deployment_row(raw: Raw, pool: Pool) -> DeploymentRow:
    """Decode a Deployment.

    Raises:
        fields.MALFORMED: it is none.
    """
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or NOTHING
    template = spec["template"]
    written_at_s, autoscaled = _last_write(meta)
    labels = (template.get("metadata") or NOTHING).get("labels") or NOTHING
    return DeploymentRow(
        namespace=sys.intern(meta["namespace"]),
        name=sys.intern(meta["name"]),
        labels=pool.labels(labels),
        replicas=spec.get("replicas", 1),
        ready_replicas=status.get("readyReplicas", 0),
        revision=(meta.get("annotations") or NOTHING).get(REVISION, ""),
        template=tuple(_parts(template)),
        engine=wants_gpu(template["spec"], labels),
        created_at_s=created_at_s(meta),
        rolled_out_at_s=time_of(condition(status, "Progressing").get("lastUpdateTime")),
        written_at_s=written_at_s,
        autoscaled=autoscaled,
    )


def previous_revision(revision: str) -> str:
    """The revision that ran before: a new one, a rollback's too, is the highest so far plus 1."""
    return str(int(revision) - 1) if revision.isdecimal() and int(revision) > 1 else ""


class ChangeLog:
    """What was changed on purpose, told from the rows of a Deployment as they come.

    A new template counts when the controller gives it a revision: from then on pods follow it.
    The template itself comes earlier, so that it is compared with the one of the last revision.
    """

    def __init__(self) -> None:
        self._settled: dict[tuple[str, str], DeploymentRow] = {}  # as of the current revision

    def first(self, row: DeploymentRow) -> list[Change]:
        """A row met in the first list: its last roll-out, as far as the object still tells."""
        self._settled[(row.namespace, row.name)] = row
        before = previous_revision(row.revision)
        if not before or row.rolled_out_at_s is None:
            return []
        at_s = min(row.rolled_out_at_s, row.written_at_s or row.rolled_out_at_s)
        return [_revised(row, at_s, before, ChangeKind.DEPLOY, "before the operator started")]

    def seen(self, old: DeploymentRow | None, row: DeploymentRow, *, now_s: float) -> list[Change]:
        """A row of a later list or of a watch, in place of `old`."""
        key, found = (row.namespace, row.name), []
        settled = self._settled.get(key)
        # An autoscaler that adds replicas answers a load: what caused that came before. One that
        # takes replicas away may itself be a cause.
        if old is not None and (
            row.replicas < old.replicas or (row.replicas > old.replicas and not row.autoscaled)
        ):
            found.append(_scaled(old, row, now_s))
        if settled is None or not settled.revision:
            if row.revision:
                found.append(_revised(row, row.created_at_s, "", ChangeKind.DEPLOY, "created"))
            self._settled[key] = row
        elif row.revision and row.revision != settled.revision:
            at_s = _changed_at_s(settled, row, now_s)
            kind, summary = _template_change(settled, row)
            found.append(_revised(row, at_s, settled.revision, kind, summary))
            self._settled[key] = row
        return found

    def gone(self, row: DeploymentRow, *, now_s: float) -> list[Change]:
        """A row whose object was deleted."""
        self._settled.pop((row.namespace, row.name), None)
        return [
            Change(
                at_s=now_s,
                kind=ChangeKind.DEPLOY,
                service=row.name,
                labels=row.labels,
                revision_from=row.revision,
                revision_to="",
                summary="deleted",
            )
        ]


def _changed_at_s(old: DeploymentRow, new: DeploymentRow, now_s: float) -> float:
    """When the new row's spec was written: a watch that was cut off hears of it late."""
    if new.written_at_s is None or new.written_at_s == old.written_at_s:
        return now_s
    return min(now_s, new.written_at_s)


def _scaled(old: DeploymentRow, new: DeploymentRow, now_s: float) -> Change:
    return Change(
        at_s=_changed_at_s(old, new, now_s),
        kind=ChangeKind.SCALE,
        service=new.name,
        labels=new.labels,
        revision_from=str(old.replicas),
        revision_to=str(new.replicas),
        summary=f"replicas {old.replicas} -> {new.replicas}"
        + (" by the autoscaler" if new.autoscaled else ""),
    )


def _revised(
    row: DeploymentRow, at_s: float, before: str, kind: ChangeKind, summary: str
) -> Change:
    return Change(
        at_s=at_s,
        kind=kind,
        service=row.name,
        labels=row.labels,
        revision_from=before,
        revision_to=row.revision,
        summary=summary[:_SUMMARY_CHARS_MAX],
    )


def _template_change(old: DeploymentRow, new: DeploymentRow) -> tuple[ChangeKind, str]:
    before, after = dict(old.template), dict(new.template)
    moved = [
        name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)
    ]
    if moved in ([], [_RESTART]):
        return ChangeKind.DEPLOY, "restarted, template as before" if moved else "template as before"
    words = [
        f"{name}: {before.get(name, 'none')} -> {after.get(name, 'none')}"
        if name.startswith(_IMAGE)
        else name
        for name in moved
    ]
    code = any(name.startswith(_CODE) for name in moved)
    return ChangeKind.DEPLOY if code else ChangeKind.CONFIG, "; ".join(words)


def _parts(template: Raw) -> Iterator[Part]:
    meta, spec = template.get("metadata") or NOTHING, template["spec"]
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            name = container["name"]
            yield f"{_IMAGE}{name}", sys.intern(container.get("image", ""))
            yield f"command of {name}", _print(container, "command")
            yield f"arguments of {name}", _print(container, "args")
            yield f"environment of {name}", _print(container, "env", "envFrom")
            yield f"resources of {name}", _print(container, "resources")
    annotations = dict(meta.get("annotations") or NOTHING)
    yield _RESTART, annotations.pop(RESTARTED, "")
    yield "annotations", _fingerprint(annotations)
    yield "labels", _print(meta, "labels")
    yield "volumes", _print(spec, "volumes")


def _print(raw: Raw, *names: str) -> int:
    return _fingerprint([raw.get(name) for name in names])


def _fingerprint(content: Any) -> int:
    return hash(orjson.dumps(content, option=orjson.OPT_SORT_KEYS))


def _last_write(meta: Raw) -> tuple[float | None, bool]:
    """When the object was last written, and whether by an autoscaler.

    The Deployment controller's own writes (revision, status) do not count. The autoscaler lives in
    the same process and is told from it by the subresource that it writes.
    """
    times = [
        (field["time"], field.get("manager") == CONTROLLERS)
        for field in meta.get("managedFields") or ()
        if field.get("time")
        and field.get("subresource") != "status"
        and (field.get("manager") != CONTROLLERS or field.get("subresource") == "scale")
    ]
    if not times:
        return None, False
    time, autoscaled = max(times)
    return time_of(time), autoscaled
