"""How kubectl reaches what runs a service: its pods, and its Deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ops.state import PodPhase, PodRecord, ServiceRecord
from rca.state import Entity

_NAMED_MAX = 3  # pods that are named one by one


class Reach(Protocol):
    """Arguments of kubectl. A service is an entity of that kind."""

    def pods(self, service: Entity) -> tuple[str, ...]:
        """Selectors of its pods, else their names; empty where no pod is known."""
        ...

    def deployment(self, service: Entity) -> str:
        """ "deployment/web"; empty where there is none."""
        ...

    def shell(self, service: Entity) -> str:
        """What a command can be run in; empty where nothing is."""
        ...


class ByName:
    """A label `app` and a Deployment of the service's name, as simulated fleets have them."""

    def pods(self, service: Entity) -> tuple[str, ...]:
        """By the label, because a pod that was named may be gone."""
        return (f"-l app={service.name}",)

    def deployment(self, service: Entity) -> str:
        """Each service has one."""
        return f"deployment/{service.name}"

    def shell(self, service: Entity) -> str:
        """A pod of its Deployment."""
        return self.deployment(service)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsSeen:
    """What a cluster has: nothing is offered that was not seen in it."""

    known_pods: tuple[PodRecord, ...] = ()
    known_services: tuple[ServiceRecord, ...] = ()

    def pods(self, service: Entity) -> tuple[str, ...]:
        """By the labels that they carry, else by name: those that are not well, else the first."""
        own = [pod for pod in self.known_pods if pod.service == service.name]
        if own and all(pod.label for pod in own):
            return tuple(dict.fromkeys(f"-l {pod.label}" for pod in own))
        here = [pod for pod in own if pod.region == service.region]
        ill = [pod for pod in here if not _well(pod)]
        return tuple(pod.name for pod in (ill or here)[:_NAMED_MAX])

    def deployment(self, service: Entity) -> str:
        """A Deployment has a revision; what else is told as a service has another name or kind."""
        found = (one for one in self.known_services if one.service == service.name)
        return f"deployment/{service.name}" if any(one.revision for one in found) else ""

    def shell(self, service: Entity) -> str:
        """A pod that is well, where no Deployment finds one."""
        place = (service.region, service.name)
        well = (p.name for p in self.known_pods if (p.region, p.service) == place and _well(p))
        return self.deployment(service) or next(well, "")


def _well(pod: PodRecord) -> bool:
    return pod.ready and pod.phase is PodPhase.RUNNING
