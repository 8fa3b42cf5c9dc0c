"""Many fleets on one control plane, pods that change all the time, and what the operator needs.

Used by tests/bench/bench_cluster_load.py at full size, by tests/cluster/test_load.py at a tenth.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.api import ApiError
from tests.cluster.control_plane import ControlPlane, answers
from tests.cluster.installing import body, path_of
from tests.cluster.load_exporter import SERIES_PER_POD, namespace_of, pod_name
from tests.cluster.own_processes import Operator, condition
from tests.cluster.processes import Program, eventually, free_ports
from tests.cluster.stack import Prometheus
from tests.cluster.workloads import is_ready, node, pods_path

PODS_PER_NODE = 500
SCRAPE_S = 5.0
CREATORS, CHANGERS = 6, 12  # threads: a busy server answers each call late
HISTOGRAM = "ops_watch_to_decision_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much, for how long."""

    fleets: int
    pods: int  # of each fleet
    changes_per_s: float
    warm_s: float = 30.0
    seconds: float = 60.0


def measure(plane: ControlPlane, folder: Path, load: Load) -> dict[str, Any]:
    """Put the load on, let the operator see it, measure it from its own /proc and /metrics.

    Args:
        again: whether to measure once more after these figures; WINDOWS_MAX times at most.

    Returns figures with their units in the names. Latencies are those that the operator counts:
    from the moment at which it hears of a pod's change to the end of its fleet's step.
    """
    with ExitStack() as over:
        over.callback(clear, plane, load)
        populated_s = populate(plane, load)
        metrics_url = start_metrics(folder, load, over)
        operator = Operator(plane, folder, metrics_url=metrics_url, scrape_s=SCRAPE_S)
        over.callback(operator.stop)
        operator.start()
        began_s = time.monotonic()
        for fleet in range(load.fleets):
            made = body("Fleet", "chat", {"slos": [{"name": "chat"}]})
            plane.admin.create(path_of("fleets", namespace_of(fleet)), made)
        eventually(
            lambda: num_watched(plane) == load.fleets, timeout_s=600.0, poll_s=1.0,
            what=f"{load.fleets} Fleets Ready on fresh data",
        )  # fmt: skip
        watched_s = time.monotonic() - began_s
        changer = Changer(plane, load)
        over.callback(changer.stop)
        changer.start()
        time.sleep(load.warm_s)
        figures = window(operator, changer, load)
        figures |= {
            "pods_created_s": round(populated_s, 1),
            "all_fleets_watched_after_s": round(watched_s, 1),
            "incidents": sum(
                len(plane.admin.items(path_of("incidents", namespace_of(fleet))))
                for fleet in range(load.fleets)
            ),
        }
    return figures


def window(operator: Operator, changer: Changer, load: Load) -> dict[str, Any]:
    """Processor time, memory and latencies over the measured seconds."""
    before, cpu_s, changes = operator.metrics(), operator.program.cpu_s(), changer.done
    began_s = time.monotonic()
    time.sleep(load.seconds)
    span_s = time.monotonic() - began_s
    assert operator.program.alive, operator.program.log_tail()
    after = operator.metrics()
    latencies = {
        key: after[key] - before.get(key, 0.0) for key in after if key.startswith(HISTOGRAM)
    }
    stages = {
        name: round(after[key] - before.get(key, 0.0), 2)
        for key in after
        if key.startswith("ops_stage_seconds_sum")
        for name in [key.split('"')[1]]
    }
    return {
        "fleets": load.fleets,
        "pods": load.fleets * load.pods,
        "series": load.fleets * load.pods * SERIES_PER_POD,
        "changes_per_s": round((changer.done - changes) / span_s, 1),
        "seconds": round(span_s, 1),
        "operator_cores": round((operator.program.cpu_s() - cpu_s) / span_s, 3),
        "operator_rss_mib": round(operator.program.rss_mib(), 1),
        "operator_rss_peak_mib": round(operator.program.rss_mib_peak(), 1),
        "decisions": int(latencies.get(f"{HISTOGRAM}_count", 0)),
        "watch_to_decision_s": {
            name: quantile(latencies, share) for name, share in (("p50", 0.5), ("p99", 0.99))
        },
        "thread_seconds_by_stage": stages,
    }


def quantile(histogram: dict[str, float], share: float) -> float | None:
    """Upper bound of a quantile: the bucket that it lies in; None without samples."""
    total = histogram.get(f"{HISTOGRAM}_count", 0.0)
    if not total:
        return None
    bounds = sorted(
        (float(key.split('le="')[1].split('"')[0]), count)
        for key, count in histogram.items()
        if "_bucket" in key
    )
    return next((bound for bound, count in bounds if count >= share * total), math.inf)


def populate(plane: ControlPlane, load: Load) -> float:
    """Create namespaces and bare pods on kwok nodes; seconds until all are ready."""
    began_s, total = time.monotonic(), load.fleets * load.pods
    for k in range(math.ceil(total / PODS_PER_NODE)):
        made = node(node_name(k), gpus=0)
        made["metadata"]["labels"]["load"] = "yes"
        plane.admin.create("/api/v1/nodes", made)
    for fleet in range(load.fleets):
        plane.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace_of(fleet)}})

    def create(fleet: int) -> None:
        account = f"/api/v1/namespaces/{namespace_of(fleet)}/serviceaccounts/default"
        eventually(lambda: plane.admin.exists(account), what=account)
        for k in range(load.pods):
            made = pod(pod_name(k), node_name((fleet * load.pods + k) // PODS_PER_NODE))
            plane.admin.create(pods_path(namespace_of(fleet)), made)

    with ThreadPoolExecutor(CREATORS) as pool:
        list(pool.map(create, range(load.fleets)))
    eventually(
        lambda: sum(map(is_ready, load_pods(plane))) == total, timeout_s=600.0, poll_s=2.0,
        what=f"{total} ready pods",
    )  # fmt: skip
    return time.monotonic() - began_s


def clear(plane: ControlPlane, load: Load) -> None:
    """Delete it all; the pods are gone some time later."""
    with suppress(ApiError, OSError):
        for fleet in range(load.fleets):
            plane.admin.delete(f"/api/v1/namespaces/{namespace_of(fleet)}")
        for item in plane.admin.items("/api/v1/nodes", labelSelector="load=yes"):
            plane.admin.delete(f"/api/v1/nodes/{item['metadata']['name']}")


def pod(name: str, node: str) -> dict[str, Any]:
    """A pod of the service chat; the scheduler, which would take most of the time, is left out."""
    return {
        "metadata": {"name": name, "labels": {"app": "chat"}},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "image": "example.test/chat:1"}],
        },
    }


def node_name(k: int) -> str:
    return f"load-{k:03d}"


def load_pods(plane: ControlPlane) -> Iterable[dict[str, Any]]:
    return plane.admin.items("/api/v1/pods", labelSelector="app=chat")


def num_watched(plane: ControlPlane) -> int:
    """Fleets that are Ready on fresh data."""
    fleets = plane.admin.items("/apis/midwatch.dev/v1alpha1/fleets")
    return sum(
        condition(one, "Ready") == condition(one, "DataFresh") == "True"
        for one in fleets
        if one["metadata"]["namespace"].startswith("load-")
    )


def start_metrics(folder: Path, load: Load, over: ExitStack) -> str:
    """An exporter of all fleets and a real Prometheus that scrapes it; its address."""
    (port,) = free_ports(1)
    exporter = Program(
        name="exporter",
        argv=[sys.executable, Path(__file__).with_name("load_exporter.py"), port, load.pods],
        log=folder / "exporter.log",
    )
    over.callback(exporter.stop)
    exporter.start()
    exporter.ready(lambda: answers(f"http://127.0.0.1:{port}/metrics/0"))
    every = f"{SCRAPE_S:.0f}s"
    jobs = [
        {
            "job_name": namespace_of(fleet), "honor_labels": True,
            "metrics_path": f"/metrics/{fleet}",
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for fleet in range(load.fleets)
    ]  # fmt: skip
    config = {"global": {"scrape_interval": every}, "scrape_configs": jobs}
    prometheus = Prometheus(folder / "prometheus", config)
    over.callback(prometheus.stop)
    return prometheus.start().url


class Changer:
    """Turns pods unready and ready again at a rate; `done` counts."""

    def __init__(self, plane: ControlPlane, load: Load) -> None:
        self.plane, self.load, self.done = plane, load, 0
        self._next, self._lock, self._over = 0, threading.Lock(), threading.Event()
        self._threads = [
            threading.Thread(target=self._run, daemon=True) for _ in range(CHANGERS)
        ]  # fmt: skip

    def start(self) -> None:
        self._began_s = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10.0)

    def _run(self) -> None:
        while True:
            with self._lock:
                number, self._next = self._next, self._next + 1
            due_s = self._began_s + number / self.load.changes_per_s
            if self._over.wait(max(0.0, due_s - time.monotonic())):
                return
            # Each pod twice in turn, so that no fleet has more than one that is not ready.
            fleet = (number // 2) % self.load.fleets
            k = (number // 2 // self.load.fleets) % self.load.pods
            self._set_ready(fleet, k, ready=bool(number % 2))
            with self._lock:
                self.done += 1

    def _set_ready(self, fleet: int, k: int, *, ready: bool) -> None:
        value = "True" if ready else "False"
        conditions = [{"type": kind, "status": value} for kind in ("Ready", "ContainersReady")]
        self.plane.admin.patch(
            f"{pods_path(namespace_of(fleet))}/{pod_name(k)}/status",
            {"status": {"conditions": conditions}},
            kind="strategic",
        )
