"""A namespace as the reflectors see it, with a ServiceAccount's rights, through a bad line."""

from __future__ import annotations

import time

from ops.adapters.kube.api import KubeApi
from ops.adapters.kube.cache import ClusterCache, Resource
from ops.adapters.kube.cluster_watch import ClusterWatch
from ops.adapters.kube.fields import Pool
from ops.adapters.kube.records import pod_row
from ops.adapters.kube.reflector import Pace
from ops.adapters.kube.view import cluster_view
from tests.cluster.accounts import add_account, grant_everywhere
from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.processes import WAIT_S, eventually
from tests.cluster.workloads import deployment, deployments_path, pods_path

RECOVERY_S = 60.0
PACE = Pace(watch_s=4.0, grace_s=2.0, pause_s_min=0.1, pause_s_max=1.0)
RULES = [
    {"apiGroups": [""], "resources": ["pods", "nodes", "events"], "verbs": ["list", "watch"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"]},
]
ACCOUNT = "watcher"


class Reflected:
    """One namespace, watched with a ServiceAccount's rights through a proxy."""

    def __init__(self, plane, namespace) -> None:
        self.plane, self.namespace = plane, namespace
        self.proxy = FaultProxy(plane.server, certificates=plane.folder)
        self.granted: list[str] = []
        add_account(plane, namespace, ACCOUNT)
        config = plane.kubeconfig(namespace, plane.token(namespace, ACCOUNT), server=self.proxy.url)
        self.api = KubeApi.connect(kubeconfig=config, timeout_s=3.0)
        self.cache = ClusterCache()
        self.watch = ClusterWatch(self.api, self.cache, pace=PACE)

    def grant(self) -> None:
        """What the reflectors need, in the whole cluster, from when this returns."""
        self.granted = grant_everywhere(self.plane, self.namespace, ACCOUNT, RULES)

    def start(self):
        self.watch.start()
        eventually(lambda: all(self.cache.listed(resource) for resource in Resource))
        return self

    def close(self) -> None:
        ended = self.watch.stop(timeout_s=WAIT_S)
        self.api.close()
        self.proxy.close()
        for path in self.granted:
            self.plane.admin.delete(path)
        assert ended, "a reflector's thread did not end"

    def view(self, *, stale_s=7.0):
        return cluster_view(
            self.cache, namespace=self.namespace, match_labels={}, now_s=time.time(),
            stale_s=stale_s,
        )  # fmt: skip

    def deploy(self, name="web", **options):
        return self.plane.admin.create(
            deployments_path(self.namespace), deployment(name, **options)
        )

    def change(self, name="web", **spec):
        path = f"{deployments_path(self.namespace)}/{name}"
        self.plane.admin.patch(path, {"spec": spec}, kind="strategic")

    def ready(self):
        return sum(pod.ready for pod in self.view().pods)

    def same(self) -> bool:
        """Whether the cache holds what the server has; asked until nothing moves in between."""
        items = self.plane.admin.get(pods_path(self.namespace))["items"]
        pool = Pool()
        held = {row.name: row for row in self.cache.rows(self.namespace).pods}
        return held == {raw["metadata"]["name"]: pod_row(raw, pool) for raw in items}
