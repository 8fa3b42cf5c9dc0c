"""Pods and nodes as slotted rows: what decisions need of 3 KiB of JSON, in a few hundred bytes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from ops.adapters.kube.fields import (
    NOTHING,
    Labels,
    Pool,
    Raw,
    condition,
    created_at_s,
    gpus_of,
    wants_gpu,
)
from ops.state import PodPhase

REGION_LABEL: Final = "topology.kubernetes.io/region"
HASH_LABEL: Final = "pod-template-hash"
SUCCEEDED: Final = "Succeeded"
STATEFUL_SET: Final = "StatefulSet"
NODE: Final = "Node"  # owns static pods, and makes no new one when their copy is deleted
_PHASES = {"Running": PodPhase.RUNNING, "Failed": PodPhase.FAILED, "Pending": PodPhase.PENDING}


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRow:
    """A pod."""

    namespace: str
    name: str
    labels: Labels
    owner_kind: str  # of its controller, "" = none
    owner: str
    node: str  # "" = not scheduled
    phase: PodPhase
    ready: bool
    restarts: int
    created_at_s: float
    engine: bool  # asks for GPUs
    done: bool  # ran to its end: a Job's pod
    reasons: tuple[str, ...]  # why containers wait or ended, or the pod failed

    def label(self, name: str) -> str:
        """Value of a label, "" where it has none."""
        return next((value for key, value in self.labels if key == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node."""

    name: str
    region: str  # "" = not labelled
    ready: bool
    unschedulable: bool
    gpus: int  # that pods may ask for

    namespace = ""  # nodes have none; every row has the attribute


def pod_row(raw: Raw, pool: Pool) -> PodRow:
    """Decode a pod.

    Raises:
        fields.MALFORMED: it is none.
    """
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or NOTHING
    labels = meta.get("labels") or NOTHING
    owner = _controller(meta)
    restarts, reasons = 0, []
    for group in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(group) or ():
            restarts += container.get("restartCount", 0)
            reasons += _reasons(container)
    if status.get("reason"):
        reasons.append(status["reason"])
    ends = "deletionTimestamp" in meta
    phase = status.get("phase", "Pending")
    return PodRow(
        namespace=sys.intern(meta["namespace"]),
        name=meta["name"],
        labels=pool.labels(labels),
        owner_kind=sys.intern(owner.get("kind", "")),
        owner=sys.intern(owner.get("name", "")),
        node=sys.intern(spec.get("nodeName") or ""),
        # Unknown: its node does not report; it runs as far as anybody knows, but is not ready.
        phase=PodPhase.TERMINATING if ends else _PHASES.get(phase, PodPhase.RUNNING),
        ready=not ends and condition(status, "Ready").get("status") == "True",
        restarts=restarts,
        created_at_s=created_at_s(meta),
        engine=wants_gpu(spec, labels),
        done=phase == SUCCEEDED,
        reasons=pool.texts(reasons),
    )


def node_row(raw: Raw, pool: Pool) -> NodeRow:
    """Decode a node; the pool is not needed, decoders share one form.

    Raises:
        fields.MALFORMED: it is none.
    """
    del pool
    meta, status = raw["metadata"], raw.get("status") or NOTHING
    return NodeRow(
        name=sys.intern(meta["name"]),
        region=sys.intern((meta.get("labels") or NOTHING).get(REGION_LABEL, "")),
        ready=condition(status, "Ready").get("status") == "True",
        unschedulable=bool((raw.get("spec") or NOTHING).get("unschedulable", False)),
        gpus=gpus_of(status.get("allocatable") or status.get("capacity")),
    )


def _controller(meta: Raw) -> Raw:
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller"):
            return owner  # type: ignore[no-any-return]
    return NOTHING


def _reasons(container: Raw) -> list[str]:
    """Why a container waits or ended; the end of the one before it counts too."""
    found = []
    for state in (container.get("state") or NOTHING, container.get("lastState") or NOTHING):
        for kind in ("waiting", "terminated"):
            reason = (state.get(kind) or NOTHING).get("reason")
            if reason and reason != "Completed":
                found.append(reason)
    return found
