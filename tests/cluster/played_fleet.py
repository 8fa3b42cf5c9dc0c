"""A fleet that exists twice: as Deployments on kwok nodes, and as a simulation that plays metrics.

The simulated pods carry the names of the real ones and stand on the same nodes, so that what the
API server shows and what Prometheus scrapes speak of one fleet. Truth about a fault comes from the
simulation alone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ops.catalogue import Catalogue
from ops.replay.adopt import adopted_pods
from ops.replay.live_fleet import LiveFleet, LivePlan
from ops.replay.options import ReplayOptions, with_options
from ops.replay.scenario import Scenario
from ops.replay.scenarios import load_embedded
from rca.state import Series
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installing import body, path_of
from tests.cluster.processes import eventually
from tests.cluster.workloads import (
    REGION,
    deployment,
    deployments_path,
    is_ready,
    node,
    pods_path,
)

PART_OF = "app.kubernetes.io/part-of"
POOL = "pool"  # label of nodes: which kind of which fleet
WARM_S = 450.0  # of the past: what is usual is learnt from the first 330 s of it
# Some 60 % of what two regions of the scenario `assistant` can carry within their limits.
SCENARIO, REGIONS, RATE_RPS = "assistant", 2, 7.0
LASTS_S = 4 * 3600.0
PODS_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedFleet:
    """One fleet in its namespace; `live` plays it."""

    plane: ControlPlane
    namespace: str
    name: str
    live: LiveFleet

    @property
    def scenario(self) -> Scenario:
        return self.live.plan.scenario

    def add(self, mode: str = "Recommend") -> Any:
        """Create the Fleet object, with the scenario's SLOs; returns it as stored."""
        spec = {
            "mode": mode,
            "selector": {"matchLabels": {PART_OF: self.name}},
            "slos": [
                {
                    "name": slo.name, "target": slo.target_ratio, "ttftSeconds": slo.ttft_s,
                    "tpotSeconds": slo.tpot_s,
                }
                for slo in self.scenario.slos
            ],
        }  # fmt: skip
        made = body("Fleet", self.name, spec)
        return self.plane.admin.create(path_of("fleets", self.namespace), made)

    def incidents(self) -> list[dict[str, Any]]:
        """Its Incidents, oldest first."""
        found = self.plane.admin.items(path_of("incidents", self.namespace))
        return sorted(found, key=lambda one: one["metadata"]["creationTimestamp"])

    def remove(self) -> None:
        """Delete its namespace and nodes; the simulation is the owner's affair."""
        admin = self.plane.admin
        admin.delete(f"/api/v1/namespaces/{self.namespace}")
        for item in admin.items("/api/v1/nodes", labelSelector=f"fleet={self.namespace}"):
            admin.delete(f"/api/v1/nodes/{item['metadata']['name']}")


def played_scenario(tag: str) -> Scenario:
    """The scenario of every played fleet, its regions named apart by a tag."""
    scenario = with_options(load_embedded(SCENARIO), ReplayOptions(regions=str(REGIONS)))
    names = {region.name: f"{region.name}-{tag}" for region in scenario.regions}
    return replace(
        scenario,
        regions=tuple(replace(one, name=names[one.name]) for one in scenario.regions),
        region_rtt_s=tuple((names[a], names[b], rtt_s) for a, b, rtt_s in scenario.region_rtt_s),
        faults=(),
        changes=(),
    )


def deploy(plane: ControlPlane, namespace: str, scenario: Scenario, *, name: str, tag: str) -> None:
    """Create nodes and Deployments; the pods come soon.

    Every service is one Deployment that is spread over the regions.
    """
    for region in scenario.regions:
        for kind, count, gpus in (
            ("cpu", region.cpu_nodes, 0), ("gpu", region.gpu_nodes, region.gpus_per_node)
        ):  # fmt: skip
            for k in range(count):
                made = node(f"{region.name}-{kind}-{k}", region=region.name, gpus=gpus)
                made["metadata"]["labels"] |= {POOL: f"{tag}-{kind}", "fleet": namespace}
                plane.admin.create("/api/v1/nodes", made)
    services = {one.name: one.replicas for one in scenario.services}
    engine = scenario.engine
    for service, replicas in {**services, engine.name: engine.instances}.items():
        is_engine = service == engine.name
        made = deployment(
            service, replicas=replicas * len(scenario.regions),
            gpus=engine.tp_degree if is_engine else 0, cores="10m", labels={PART_OF: name},
        )  # fmt: skip
        made["spec"]["template"]["spec"] |= {
            "nodeSelector": {POOL: f"{tag}-{'gpu' if is_engine else 'cpu'}"},
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1, "topologyKey": REGION, "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {"matchLabels": {"app": service}},
                }
            ],
        }  # fmt: skip
        plane.admin.create(deployments_path(namespace), made)


def play(
    plane: ControlPlane, namespace: str, scenario: Scenario, *, name: str, seed: int,
    rate_rps: float, catalogue: Catalogue,
) -> PlayedFleet:  # fmt: skip
    """Simulate the past of a deployed fleet; from now on it runs at wall clock."""
    wanted = len(scenario.regions) * (
        sum(one.replicas for one in scenario.services) + scenario.engine.instances
    )
    eventually(
        lambda: sum(map(is_ready, plane.admin.items(pods_path(namespace)))) == wanted,
        timeout_s=PODS_S, what=f"{wanted} ready pods in {namespace}", poll_s=0.2,
    )  # fmt: skip
    objects = [
        *({**one, "kind": "Node"} for one in plane.admin.items("/api/v1/nodes")),
        *({**one, "kind": "Pod"} for one in plane.admin.items(pods_path(namespace))),
    ]
    plan = LivePlan(
        scenario=scenario, seed=seed, rate_rps=rate_rps, warm_s=WARM_S, lasts_s=LASTS_S,
        namespace=namespace, pods=adopted_pods(objects, namespace=namespace),
    )  # fmt: skip
    live = LiveFleet(plan, catalogue=catalogue)
    live.begin()
    return PlayedFleet(plane=plane, namespace=namespace, name=name, live=live)


def backfill(folder: Path, fleets: Iterable[PlayedFleet]) -> None:
    """Write the past of fleets as blocks of a Prometheus that is not started yet."""
    for fleet in fleets:
        text = folder / f"{fleet.namespace}.om"
        with text.open("w", encoding="utf-8") as file:
            file.writelines(fleet.live.history(keep=is_read))
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", text.name, "data"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        text.unlink()


def busy_service(scenario: Scenario) -> str:
    """A service that every request passes: what the entry calls first."""
    entry = next(one for one in scenario.services if one.entry)
    return entry.calls[0].to


def is_read(series: Series) -> bool:
    """Whether somebody reads its past: of histograms only the buckets of what users get."""
    return not series.name.endswith("_bucket") or series.name.startswith("gen_ai_")


def symptom_rules(scenarios: Sequence[Scenario], *, eval_s: float = 5.0) -> dict[str, Any]:
    """Alerts on what users get, too late or not at all, per class, region and namespace.

    As an installation would have them beside its burn rates, which page for slow harm and need
    minutes: a fifth of the requests of half a minute, or two fifths of a quarter.
    """
    limits = {slo.name: slo.ttft_s for scenario in scenarios for slo in scenario.slos}
    ttft = "gen_ai_server_time_to_first_token_seconds"
    rules = []
    for name, limit_s in sorted(limits.items()):
        own = f'slo_class="{name}"'
        every = f"{ttft}_count{{{own}}}"
        rules.append(
            {
                "alert": "UsersWaitTooLong",
                "expr": many_of(every, good=f'{ttft}_bucket{{{own},le="{limit_s!r}"}}'),
                "labels": {"severity": "page", "slo_class": name},
                "annotations": {"summary": f"first tokens of {name} take more than {limit_s:g} s"},
            }
        )
    failed, every = 'http_requests_total{status=~"5xx|4xx"}', "http_requests_total"
    rules.append(
        {
            "alert": "UsersGetErrors",
            "expr": many_of(every, bad=failed),
            "labels": {"severity": "page"},
            "annotations": {"summary": "requests fail"},
        }
    )
    group = {"name": "symptoms", "interval": f"{round(eval_s)}s", "rules": rules}
    return {"groups": [group]}


def many_of(every: str, *, bad: str = "", good: str = "") -> str:
    """Expression: bad ones, or all but the good ones, are many of enough requests."""
    parts = []
    for span, ratio, least in (("30s", 0.2, 15), ("15s", 0.4, 10)):
        total = grown(every, span)
        counted = grown(bad, span) if bad else f"({total} - {grown(good, span)})"
        parts.append(f"({counted} / {total} > {ratio} and {total} > {least})")
    return " or ".join(parts)


def grown(selector: str, span: str) -> str:
    """Expression: how much counters grew in a span, per class, region and namespace."""
    return f"sum by (namespace, region, slo_class) (increase({selector}[{span}]))"
