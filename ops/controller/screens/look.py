"""Exact commands that change nothing: what a person looks at, by kind of entity. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rca.state import Entity, EntityKind

SYSTEM = "midwatch-system"  # where the shipped manifests put midwatch
OPERATOR, WORKER = "deployment/midwatch-operator", "deployment/midwatch-worker"
WORKLOADS = ("deployment", "statefulset")
_RECENT = "--since 15m --tail 100"
# Names of Kubernetes alone are put into a command: label values may be anything.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """How kubectl is called here.

    Attributes:
        options: how the user reached this cluster, e.g. " --context eu".
        workload: what runs the pods of the service that is looked at, e.g. "statefulset".
    """

    namespace: str
    options: str = ""
    workload: str = WORKLOADS[0]

    def here(self, words: str) -> str:
        """A command in the namespace of the incident."""
        return f"kubectl{self.options} -n {self.namespace} {words}"

    def everywhere(self, words: str) -> str:
        """A command about the cluster."""
        return f"kubectl{self.options} {words}"

    def reached(self, command: str) -> str:
        """A stored command, typed where the user looks: the cluster must be the same one."""
        if not self.options or " --context " in command:
            return command
        return command.replace("kubectl ", f"kubectl{self.options} ")

    def system(self, words: str) -> str:
        """A command about midwatch itself."""
        return f"kubectl{self.options} -n {SYSTEM} {words}"


def look_commands(entity: str, kubectl: Kubectl) -> list[str]:
    """What tells most about an entity, first what tells most; of its namespace where none is known.

    Args:
        entity: as an Incident stores it, "pod:eu-west/chat-0"; empty where nobody is suspected.
    """
    try:
        known = Entity.parse(entity)
    except ValueError:  # none, or of a later release
        return _namespace((), kubectl)
    names = known.name.split("->") if known.name else []
    if not all(_NAME.fullmatch(name) for name in names):
        return _namespace((), kubectl)
    if len(names) != _NUM_NAMES.get(known.kind, 0):
        return _namespace((), kubectl)
    return _BY_KIND.get(known.kind, _namespace)(names, kubectl)


def service_looked_at(entity: str) -> str:
    """The service whose workload the commands name: of a link the caller; else empty."""
    try:
        known = Entity.parse(entity)
    except ValueError:
        return ""
    name = known.name.partition("->")[0]
    of_service = known.kind in (EntityKind.SERVICE, EntityKind.LINK)
    return name if of_service and _NAME.fullmatch(name) else ""


def worker_commands(kubectl: Kubectl) -> list[str]:
    """Why the worker does not answer."""
    return [
        kubectl.system("get pods -l app.kubernetes.io/name=midwatch-worker"),
        kubectl.system(f"logs {WORKER} --tail 50"),
    ]


def operator_commands(kubectl: Kubectl) -> list[str]:
    """Why the operator writes nothing."""
    return [
        kubectl.system("get pods -l app.kubernetes.io/part-of=midwatch"),
        kubectl.system(f"logs {OPERATOR} --tail 50"),
    ]


def label_commands(kubectl: Kubectl) -> list[str]:
    """Which labels a selector could ask for."""
    return [kubectl.here("get pods --show-labels")]


def _pod(names: Sequence[str], kubectl: Kubectl) -> list[str]:
    name = names[0]
    return [
        kubectl.here(f"describe pod {name}"),
        kubectl.here(f"logs {name} --all-containers {_RECENT}"),
        kubectl.here(f"top pod {name} --containers"),
        kubectl.here(f"get events --field-selector involvedObject.name={name}"),
    ]


def _service(names: Sequence[str], kubectl: Kubectl) -> list[str]:
    name = names[0]
    return [
        kubectl.here(f"get pods -o wide | grep '^{name}-'"),
        kubectl.here(f"describe {kubectl.workload} {name}"),
        kubectl.here(f"logs {kubectl.workload}/{name} --all-containers {_RECENT}"),
        kubectl.here(f"rollout history {kubectl.workload}/{name}"),
    ]


def _node(names: Sequence[str], kubectl: Kubectl) -> list[str]:
    name = names[0]
    about = f"involvedObject.kind=Node,involvedObject.name={name}"
    return [
        kubectl.everywhere(f"describe node {name}"),
        kubectl.everywhere(f"top node {name}"),
        kubectl.everywhere(f"get pods -A -o wide --field-selector spec.nodeName={name}"),
        kubectl.everywhere(f"get events -A --field-selector {about}"),
    ]


def _link(names: Sequence[str], kubectl: Kubectl) -> list[str]:
    either = "|".join(names)
    return [
        kubectl.here(f"get pods -o wide | grep -E '^({either})-'"),
        kubectl.here(f"logs {kubectl.workload}/{names[0]} --all-containers {_RECENT}"),
        kubectl.here(f"get endpointslices | grep '^{names[-1]}'"),
        kubectl.here("get networkpolicies"),
    ]


def _workload(_: Sequence[str], kubectl: Kubectl) -> list[str]:
    return [
        kubectl.here("get hpa"),
        kubectl.here("top pods --sort-by cpu"),
        kubectl.here("get events --sort-by .lastTimestamp"),
    ]


def _registry(_: Sequence[str], kubectl: Kubectl) -> list[str]:
    return [
        kubectl.here("get pods --field-selector status.phase=Pending -o wide"),
        kubectl.here("get events --sort-by .lastTimestamp | grep -i pull"),
    ]


def _namespace(_: Sequence[str], kubectl: Kubectl) -> list[str]:
    return [
        kubectl.here("get pods -o wide"),
        kubectl.here("top pods --sort-by cpu"),
        kubectl.here("get events --sort-by .lastTimestamp"),
    ]


_BY_KIND: dict[EntityKind, Callable[[Sequence[str], Kubectl], list[str]]] = {
    EntityKind.POD: _pod,
    EntityKind.SERVICE: _service,
    EntityKind.NODE: _node,
    EntityKind.LINK: _link,
    EntityKind.WORKLOAD: _workload,
    EntityKind.REGISTRY: _registry,
}
_NUM_NAMES = {
    EntityKind.POD: 1, EntityKind.SERVICE: 1, EntityKind.NODE: 1, EntityKind.LINK: 2,
}  # fmt: skip
