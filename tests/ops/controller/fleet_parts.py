"""A FleetWork on a fake API server and a Prometheus in memory."""

from __future__ import annotations

from types import SimpleNamespace

from ops.catalogue import Catalogue
from ops.controller.fleet.reporting import ReportQueue
from ops.controller.fleet.shared import Parts
from ops.controller.fleet.tick import ClusterSight
from ops.controller.fleet.work import FleetWork
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.resources.fleet_object import FleetObject
from ops.controller.settings import MetricsEndpoint, Settings
from tests.ops.controller.fake_server import FakeServer
from tests.ops.controller.stored_series import StoredSeries

PATH = "/apis/midwatch.dev/v1alpha1/namespaces/shop/fleets/chat"


def fleet_body(**spec):
    return {
        "metadata": {"namespace": "shop", "name": "chat", "uid": "u1", "generation": 1},
        "spec": {"slos": [{"name": "chat"}], **spec},
    }


class NoAnswer:
    """A diagnoser whose worker never answers."""

    snapshot, trouble = None, ""

    def __call__(self, *_, **__):
        return None


def made_work(*, stored=None, sight=None, add_labels=None, worker_trouble="", **spec):
    """A begun FleetWork; `.server` and `.stored` are its world."""
    server, stored = FakeServer(), stored or StoredSeries()
    server.forbidden, server.pages = frozenset(), lambda path, params=None: iter(())
    server.objects[PATH] = fleet_body(**spec)
    endpoint = MetricsEndpoint(url="http://stored", add_labels=add_labels or {})
    metrics = OperatorMetrics()
    parts = Parts(
        api=server,
        settings=Settings(metrics_endpoints={"default": endpoint}),
        catalogue=Catalogue.load(),
        metrics=metrics,
        reader=lambda _: stored,
        look=lambda *_: sight or ClusterSight(),
        report_queue=lambda fleet, wake, book: ReportQueue(
            place=lambda spec: None, ask=lambda *_, **__: None, wake=wake, entry_of=lambda _: None
        ),
        worker_trouble=lambda: worker_trouble,
        diagnoser=lambda *_: NoAnswer(),
    )
    work = FleetWork(FleetObject.of(server.objects[PATH]), parts)
    work.begin()
    return SimpleNamespace(work=work, server=server, stored=stored, metrics=metrics)


def condition(world, kind):
    """Status, reason and message of a condition as it is stored."""
    for one in world.server.objects[PATH].get("status", {}).get("conditions", ()):
        if one["type"] == kind:
            return one["status"], one["reason"], one["message"]
    return None
