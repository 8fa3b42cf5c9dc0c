"""Prometheus is away, empty, slow, cut off, or of another time: nobody is accused, nobody is well.

One fleet of two pods whose metrics are healthy, as are those of a third pod that the cluster does
not have; the way to its Prometheus goes through a proxy.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.control_plane import answers
from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.installing import path_of, remove_namespace
from tests.cluster.load import pod
from tests.cluster.load_exporter import pod_name
from tests.cluster.own_processes import Operator, add_fleet, condition, wait_for_fleet
from tests.cluster.processes import WAIT_S, Program, eventually, free_ports
from tests.cluster.stack import Prometheus
from tests.cluster.workloads import node, pods_path

RECOVERY_S, PODS = 60.0, 2
NOTICED_S = 15.0
UNKNOWN_S = 120.0  # a minute of patience and a slow machine
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure(
        "Prometheus down, empty, slow, cut off, answering 503, clocks 10 minutes apart: no "
        f"Incident, no fleet called well, recovery within {RECOVERY_S:.0f} s each"
    ),
]


@dataclass
class Metered:
    """A fleet with its exporter and Prometheus, and the operator that reads them."""

    plane: Any
    namespace: str
    exporter: Program
    prometheus: Prometheus
    proxy: FaultProxy

    def wait(self, check, timeout_s=WAIT_S):
        return wait_for_fleet(self.plane, self.namespace, check, timeout_s=timeout_s)

    def incidents(self):
        return self.plane.admin.items(path_of("incidents", self.namespace))


def fresh(fleet):
    return condition(fleet, "Ready") == condition(fleet, "DataFresh") == "True"


def blind(fleet):
    """It says that it has no data, and calls nobody well."""
    assert condition(fleet, "SLOMet") != "True" or condition(fleet, "DataFresh") == "True", fleet
    return condition(fleet, "DataFresh") == "False" and condition(fleet, "SLOMet") != "True"


@pytest.fixture(scope="module")
def metered(installed, tmp_path_factory):
    folder, prefix = tmp_path_factory.mktemp("metered"), "metered"
    namespace = f"{prefix}-000"
    plane = installed
    plane.admin.create("/api/v1/nodes", node("metered", gpus=0))
    plane.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    plane.programs["kube-controller-manager"].ready(
        lambda: plane.admin.exists(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
    )
    for k in range(PODS):
        plane.admin.create(pods_path(namespace), pod(pod_name(k), "metered"))
    (port,) = free_ports(1)
    script = Path(__file__).with_name("load_exporter.py")
    exporter = Program(
        name="exporter", argv=[sys.executable, script, port, PODS + 1, prefix],
        log=folder / "exporter.log",
    ).start()  # fmt: skip
    exporter.ready(lambda: answers(f"http://127.0.0.1:{port}/metrics/0"))
    job = {
        "job_name": "fleet", "honor_labels": True, "metrics_path": "/metrics/0",
        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
    }  # fmt: skip
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    prometheus = Prometheus(folder / "prometheus", config).start()
    proxy = FaultProxy(prometheus.url)
    add_fleet(plane, namespace, slos=[{"name": "chat"}])
    yield Metered(plane, namespace, exporter, prometheus, proxy)
    proxy.close()
    prometheus.stop()
    exporter.stop()
    remove_namespace(plane, namespace)
    plane.admin.delete("/api/v1/nodes/metered")


@pytest.fixture(scope="module")
def operator(metered, tmp_path_factory):
    """One that lives through all the faults."""
    folder = tmp_path_factory.mktemp("operator")
    one = Operator(metered.plane, folder, metrics_url=metered.proxy.url).start()
    yield one
    one.stop()


class Away:
    """Prometheus is not running."""

    def begin(self, metered):
        metered.prometheus.stop()

    def end(self, metered):
        metered.prometheus.start()


class Empty:
    """Prometheus runs and has nothing: its exporters are gone, its disk is new."""

    def begin(self, metered):
        metered.exporter.stop()
        metered.prometheus.wipe()

    def end(self, metered):
        metered.exporter.start()


class Silent:
    """Its exporters do not answer any more; the past is there."""

    def begin(self, metered):
        metered.exporter.pause()

    def end(self, metered):
        metered.exporter.resume()


@dataclass
class Proxied:
    """Something between the operator and Prometheus."""

    method: str
    argument: Any = None

    def begin(self, metered):
        call = getattr(metered.proxy, self.method)
        call() if self.argument is None else call(self.argument)

    def end(self, metered):
        metered.proxy.heal()


FAULTS = {
    "away": Away(), "empty": Empty(), "exporters silent": Silent(),
    "answers after 20 s": Proxied("delay", 20.0), "drips": Proxied("slow", 200.0),
    "half-open": Proxied("half_open"), "reset": Proxied("reset"),
    "503": Proxied("answer", 503), "429": Proxied("answer", 429), "no JSON": Proxied("answer", 200),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_missing_data_are_neither_an_incident_nor_health(metered, operator, say, name):
    fault = FAULTS[name]
    metered.wait(fresh)
    fault.begin(metered)
    try:
        noticed_s = metered.wait(blind, timeout_s=NOTICED_S)
        told = metered.plane.admin.get(path_of("fleets", metered.namespace, "chat"))
    finally:
        fault.end(metered)
    (data,) = (one for one in told["status"]["conditions"] if one["type"] == "DataFresh")
    recovered_s = metered.wait(fresh, timeout_s=RECOVERY_S)
    say(
        f"Prometheus {name}: {data['reason']} after {noticed_s:.1f} s, "
        f"fresh again {recovered_s:.1f} s after the end"
    )
    assert data["message"]
    assert metered.incidents() == []
    assert operator.program.alive


def test_a_pod_that_only_prometheus_knows_is_named_and_counts_for_nobody(metered, operator, say):
    """Alone it takes a minute: a pod that just starts may be measured before it is seen."""
    plane, stranger = metered.plane, pod_name(PODS)
    path = path_of("fleets", metered.namespace, "chat")

    def measured(fleet):
        found = fleet.get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == "PodsMeasured"), {})

    took_s = metered.wait(lambda fleet: measured(fleet).get("reason") == "PodsUnknown", UNKNOWN_S)
    status = plane.admin.get(path)["status"]
    message = measured({"status": status})["message"]
    assert message.startswith(f"1 pod that metrics name is not in the cluster: {stranger};")
    assert "spec.metrics.matchLabels" in message
    assert status["pods"] == PODS
    assert metered.incidents() == []
    plane.admin.create(pods_path(metered.namespace), pod(stranger, "metered"))
    mended_s = metered.wait(lambda fleet: condition(fleet, "PodsMeasured") == "True")
    say(f"unknown pod: told after {took_s:.0f} s, no more {mended_s:.1f} s after it is there")


def test_an_operator_that_starts_on_dripping_answers_says_so(metered, operator, tmp_path, say):
    operator.stop()
    one = Operator(metered.plane, tmp_path, metrics_url=metered.proxy.url)
    path = path_of("fleets", metered.namespace, "chat")
    metered.plane.admin.patch(f"{path}/status", {"status": {"conditions": None}})
    metered.proxy.slow(200.0)
    one.start()
    try:
        eventually(lambda: one.leads, poll_s=0.1, what="a leader")
        noticed_s = metered.wait(blind, timeout_s=NOTICED_S)
    finally:
        metered.proxy.heal()
        one.stop()
    say(f"answers drip from the start: DataFresh False {noticed_s:.1f} s after it began to lead")
    assert metered.incidents() == []


@pytest.mark.parametrize("off_s", [600.0, -600.0])
def test_a_clock_that_is_off_accuses_nobody(metered, operator, tmp_path, say, off_s):
    operator.stop()
    one = Operator(metered.plane, tmp_path, metrics_url=metered.prometheus.url, clock_off_s=off_s)
    # What an earlier operator wrote must not be taken for this one's.
    path = path_of("fleets", metered.namespace, "chat")
    metered.plane.admin.patch(f"{path}/status", {"status": {"conditions": None}})
    one.start()
    try:
        metered.wait(lambda fleet: condition(fleet, "DataFresh") in ("True", "False"))
        told = metered.plane.admin.get(path)["status"]["conditions"]
        (data,) = (c for c in told if c["type"] == "DataFresh")
        metered.wait(lambda fleet: fresh(fleet) or blind(fleet))
        assert metered.incidents() == []
        assert one.program.alive
    finally:
        one.stop()
    say(f"operator's clock {off_s:+.0f} s: DataFresh {data['status']}, {data['reason']}")
