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

    def stop(self) -> bool:
        """End; says whether every thread has ended in time."""
        ended = [reflector.stop() for reflector in self._reflectors.values()]
        return all(ended)

    def tallies(self) -> Mapping[str, Tally]:
        """What each watch did so far."""
        return {r.value: reflector.tally for r, reflector in self._reflectors.items()}
