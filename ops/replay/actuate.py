"""Actions of the loop on the simulated fleet, each with its delay, and the way back."""

from __future__ import annotations

from collections.abc import Callable

from ops.replay.cluster import Cluster, Deployment
from ops.replay.services import ServiceGraph
from ops.replay.users import Users
from ops.state import Action, ActionKind
from rca.state import ChangeKind, Entity, EntityKind
from serving.sim.kernel import Kernel

API_DELAY_S = 2.0  # from the decision to the control plane's acting on it
ROUTE_DELAY_S = 5.0  # until gateways and clients follow new weights


class Actuator:
    """Applies actions and remembers how to take each one back."""

    def __init__(self, kernel: Kernel, cluster: Cluster, graph: ServiceGraph, users: Users) -> None:
        self._kernel, self._cluster, self._graph, self._users = kernel, cluster, graph, users
        self._undo: dict[str, Callable[[], None]] = {}
        self._handlers: dict[ActionKind, Callable[[Action], str]] = {
            ActionKind.RESTART_POD: self._restart,
            ActionKind.REPLACE_POD: self._replace,
            ActionKind.CORDON_DRAIN_NODE: self._drain,
            ActionKind.SHIFT_TRAFFIC: self._shift,
            ActionKind.SCALE_OUT: self._scale,
            ActionKind.LIMIT_ADMISSION: self._admit,
            ActionKind.ROLLBACK: self._roll_back,
            ActionKind.UNDO: self._take_back,
        }

    def apply(self, action: Action) -> str:
        """Start an action; empty when accepted, else why not."""
        return self._handlers[action.kind](action)

    def _restart(self, action: Action) -> str:
        pod = self._cluster.pod(action.target.name)
        if pod is None:
            return f"pod {action.target.name!r} is gone"
        self._kernel.after(
            API_DELAY_S, lambda: self._cluster.kill_pod(pod, reason="RestartRequested")
        )
        return ""

    def _replace(self, action: Action) -> str:
        pod = self._cluster.pod(action.target.name)
        if pod is None:
            return f"pod {action.target.name!r} is gone"

        def act() -> None:
            deployment = self._cluster.deployments[(pod.region, pod.service)]
            self._cluster.retire_pod(pod)
            self._cluster.reconcile(deployment)

        self._kernel.after(API_DELAY_S, act)
        return ""

    def _drain(self, action: Action) -> str:
        node = self._cluster.nodes.get(action.target.name)
        if node is None:
            return f"node {action.target.name!r} is unknown"

        def act() -> None:
            node.unschedulable = True
            for pod in [p for p in self._cluster.pods() if p.node == node.name]:
                if node.up:
                    self._cluster.retire_pod(pod)
                else:
                    self._cluster.delete_pod(pod)
                self._cluster.reconcile(self._cluster.deployments[(pod.region, pod.service)])

        def back() -> None:
            node.unschedulable = False

        self._undo[action.action_id] = back
        self._kernel.after(API_DELAY_S, act)
        return ""

    def _shift(self, action: Action) -> str:
        source, to = action.target.region, str(action.params.get("to_region", ""))
        share = float(action.params.get("share", 0.0))
        if source not in self._users.weights or to not in self._users.weights:
            return f"no route from {source!r} to {to!r}"
        shift_id, users = action.action_id, self._users

        def act() -> None:
            users.shift(shift_id, home=source, to=to, share=share)

        coming = self._kernel.after(ROUTE_DELAY_S, act)

        def back() -> None:
            Kernel.cancel(coming)  # an undo may overtake the gateways
            users.unshift(shift_id)

        self._undo[shift_id] = back
        return ""

    def _scale(self, action: Action) -> str:
        deployment = self._deployment(action.target)
        if deployment is None:
            return f"{action.target} owns no deployment"
        add = int(action.params.get("add", 1))
        now = sum(1 for p in deployment.pods if not p.quarantined)
        wanted = min(now + add, max(deployment.replicas_max, deployment.replicas))
        if wanted <= now:
            return f"{deployment.service} is at its maximum of {deployment.replicas_max}"

        def act() -> None:
            deployment.replicas_floor = wanted
            self._cluster.reconcile(deployment)

        def back() -> None:
            deployment.replicas_floor = 0
            self._cluster.reconcile(deployment)

        self._undo[action.action_id] = back
        self._kernel.after(API_DELAY_S, act)
        return ""

    def _admit(self, action: Action) -> str:
        region = action.target.region
        ratio = float(action.params.get("ratio", 1.0))

        def act() -> None:
            self._graph.admitted_ratio[region] = ratio

        def back() -> None:
            self._graph.admitted_ratio.pop(region, None)

        self._undo[action.action_id] = back
        self._kernel.after(API_DELAY_S, act)
        return ""

    def _roll_back(self, action: Action) -> str:
        deployment = self._deployment(action.target)
        if deployment is None or deployment.previous is None:
            return f"{action.target} has no earlier revision"
        bad, good = deployment.revision, deployment.previous
        kind = next(
            (
                c.kind for c in reversed(self._cluster.changes)
                if (c.region, c.service) == (deployment.region, deployment.service)
            ),
            ChangeKind.DEPLOY,
        )  # fmt: skip

        def act() -> None:
            if deployment.revision is bad:
                self._cluster.roll_out(
                    deployment, good, kind, summary=f"rollback from {bad.revision_id}"
                )

        def back() -> None:
            if deployment.revision is good:
                self._cluster.roll_out(deployment, bad, kind, summary="rollback undone")

        self._undo[action.action_id] = back
        self._kernel.after(API_DELAY_S, act)
        return ""

    def _take_back(self, action: Action) -> str:
        undo = self._undo.pop(str(action.params.get("action_id", "")), None)
        if undo is None:
            return "nothing to undo"
        self._kernel.after(API_DELAY_S, undo)
        return ""

    def _deployment(self, entity: Entity) -> Deployment | None:
        if entity.kind is EntityKind.POD:
            pod = self._cluster.pod(entity.name)
            return None if pod is None else self._cluster.deployments[(pod.region, pod.service)]
        return self._cluster.deployments.get((entity.region, entity.name))
