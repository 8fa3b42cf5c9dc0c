"""Objects as an API server writes them, with what the rows read."""

from __future__ import annotations

T0 = "2026-11-30T12:00:00Z"
T0_S = 1796040000.0


def raw_pod(name="web-7d9f-abcde", *, namespace="a", node="n1", labels=None, **changes):
    """A pod of the Deployment that its name begins with, running and ready."""
    service, template, _ = (*name.rsplit("-", 2), "", "")[:3]
    ready, phase = changes.pop("ready", True), changes.pop("phase", "Running")
    meta = {
        "name": name,
        "namespace": namespace,
        "creationTimestamp": changes.pop("created", T0),
        "labels": {"app": service, "pod-template-hash": template, **(labels or {})},
        "ownerReferences": [
            {"kind": "ReplicaSet", "name": f"{service}-{template}", "controller": True}
        ],
    }
    if changes.pop("deleting", False):
        meta["deletionTimestamp"] = T0
    resources = changes.pop("resources", {})
    state = changes.pop("state", {"running": {"startedAt": T0}})
    last = changes.pop("last", {})
    restarts = changes.pop("restarts", 0)
    reason = changes.pop("reason", "")
    assert not changes, changes
    return {
        "metadata": meta,
        "spec": {"nodeName": node, "containers": [{"name": "main", "resources": resources}]},
        "status": {
            "phase": phase,
            **({"reason": reason} if reason else {}),
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [
                {"name": "main", "restartCount": restarts, "state": state, "lastState": last}
            ],
        },
    }


def raw_node(name="n1", *, region="north", ready="True", gpus=0, unschedulable=False):
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": T0,
            "labels": {"topology.kubernetes.io/region": region} if region else {},
        },
        "spec": {"unschedulable": True} if unschedulable else {},
        "status": {
            "allocatable": {"nvidia.com/gpu": str(gpus)} if gpus else {},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def raw_deployment(name="web", *, namespace="a", revision="1", replicas=3, **changes):
    container = {"name": "main", "image": "shop/web:1", **changes.pop("container", {})}
    annotations = changes.pop("annotations", {})
    labels = changes.pop("labels", {"app": name})
    meta = {
        "name": name,
        "namespace": namespace,
        "creationTimestamp": T0,
        "annotations": {"deployment.kubernetes.io/revision": revision} if revision else {},
        "managedFields": changes.pop("fields", []),
    }
    conditions = changes.pop("conditions", [])
    assert not changes, changes
    return {
        "metadata": meta,
        "spec": {
            "replicas": replicas,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [container]},
            },
        },
        "status": {"readyReplicas": replicas, "conditions": conditions},
    }


def raw_event(
    name="e1", *, about="web-7d9f-abcde", kind="Pod", namespace="a", count=1, first=T0, last=None,
    reason="BackOff", message="restarting", warning=True,
):  # fmt: skip
    return {
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": first},
        "involvedObject": {"kind": kind, "name": about, "namespace": namespace},
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "count": count,
        "firstTimestamp": first,
        "lastTimestamp": last or first,
    }
