"""The four watches of a cluster, started and stopped together."""

from __future__ import annotations

from collections.abc import Mapping

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.deployments import deployment_row
from ops.adapters.kube.events import event_row
from ops.adapters.kube.paths import path_of
from ops.adapters.kube.records import node_row, pod_row
from ops.adapters.kube.reflector import Decoder, Pace, Reflector, Tally
from ops.clock import Deadline

_WATCHED: Mapping[Resource, tuple[str, Decoder]] = {
    Resource.NODES: (path_of("", "v1", "nodes"), node_row),
    Resource.PODS: (path_of("", "v1", "pods"), pod_row),
    Resource.DEPLOYMENTS: (path_of("apps", "v1", "deployments"), deployment_row),
    Resource.EVENTS: (path_of("", "v1", "events"), event_row),
}


class ClusterWatch:
    """Fills a cache from all namespaces; needs list and watch of the four resources."""

    def __init__(self, api: KubeApi, cache: ClusterCache, *, pace: Pace | None = None) -> None:
        """Prepare; `start()` begins."""
        self.cache = cache
        self._reflectors = {
            resource: Reflector(api, cache, resource, path=path, decode=decode, pace=pace)
            for resource, (path, decode) in _WATCHED.items()
        }

    def start(self) -> None:
        """Begin, one thread per resource."""
        for reflector in self._reflectors.values():
            reflector.start()

    def stop(self, *, timeout_s: float = 3.0) -> bool:
        """End; says whether every thread has ended in time. One that waits for a dead server's
        first word has not, and ends with the process.
        """
        reflectors, deadline = self._reflectors.values(), Deadline.after(timeout_s)
        for reflector in reflectors:
            reflector.stop(timeout_s=0.0)  # tell all of them before waiting for any
        ended = [reflector.stop(timeout_s=deadline.left_s()) for reflector in reflectors]
        return all(ended)

    def tallies(self) -> Mapping[str, Tally]:
        """What each watch did so far."""
        return {r.value: reflector.tally for r, reflector in self._reflectors.items()}
