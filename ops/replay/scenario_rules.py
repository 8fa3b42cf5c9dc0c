"""Rules between the fields of a scenario: references, capacity, times.

The shape of the service graph is in `scenario_graph`.

Values at fault arrive as NaN, "" or () (see `scenario_file`). Comparisons are written so that
NaN satisfies none of them; names that are "" are passed over.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ops.replay.scenario import FaultSpec, Scenario
from ops.replay.scenario_graph import check_graph, runs_in
from ops.replay.scenario_problems import Problems, unknown
from rca.state import Entity, EntityKind
from serving.errors import ConfigError
from serving.sim.cost_model import CostModel
from serving.sim.profile_files import gpu_keys
from serving.sim.profiles import MODELS

SHARE_TOLERANCE = 1e-6


def check_rules(scenario: Scenario, problems: Problems) -> None:
    """Add every broken rule to `problems`."""
    _check_names(scenario, problems)
    _check_regions(scenario, problems)
    _check_services(scenario, problems)
    _check_calls(scenario, problems)
    check_graph(scenario, problems)
    _check_engine(scenario, problems)
    _check_model(scenario, problems)
    _check_capacity(scenario, problems)
    _check_client(scenario, problems)
    _check_times(scenario, problems)
    for i, fault in enumerate(scenario.faults):
        _check_target(fault, f"fault[{i}]", scenario, problems)
    _check_changes(scenario, problems)


def _check_names(scenario: Scenario, problems: Problems) -> None:
    for key, items in (
        ("region", [region.name for region in scenario.regions]),
        ("service", [service.name for service in scenario.services]),
        ("slo", [slo.name for slo in scenario.slos]),
    ):
        for i in _repeats(items):
            problems.add(f"{key}[{i}].name", f"{items[i]!r} is taken; each {key} needs its own")
        if not items and not problems.any_below(f"{key}:"):
            problems.add(key, f"empty; give at least one [[{key}]]")
    if scenario.engine.name and scenario.engine.name in {s.name for s in scenario.services}:
        problems.add("engine.name", f"{scenario.engine.name!r} is also a service; rename one")


def _check_regions(scenario: Scenario, problems: Problems) -> None:
    names = _region_names(scenario)
    share = sum(region.traffic_share for region in scenario.regions)
    if scenario.regions and abs(share - 1.0) > SHARE_TOLERANCE:
        problems.add("region", f"traffic_share of all regions sums to {share:.6g}, expected 1")
    pairs = [tuple(sorted((a, b))) for a, b, _ in scenario.region_rtt_s]
    for i, (a, b, _) in enumerate(scenario.region_rtt_s):
        for end, name in (("a", a), ("b", b)):
            if name and name not in names:
                problems.add(f"region_rtt[{i}].{end}", unknown(name, "region", names))
        if a and a == b:
            problems.add(f"region_rtt[{i}]", f"joins {a!r} to itself; use region.rtt_s for that")
    for i in _repeats(pairs):
        problems.add(f"region_rtt[{i}]", f"{' and '.join(pairs[i])} are joined twice; drop one")


def _check_services(scenario: Scenario, problems: Problems) -> None:
    names = _region_names(scenario)
    for i, service in enumerate(scenario.services):
        path = f"service[{i}]"
        for j, region in enumerate(service.regions):
            if region and region not in names:
                problems.add(f"{path}.regions[{j}]", unknown(region, "region", names))
        for j in _repeats(list(service.regions)):
            problems.add(f"{path}.regions[{j}]", f"{service.regions[j]!r} is listed twice")
        if service.replicas > service.replicas_max:
            problems.add(
                f"{path}.replicas",
                f"{service.replicas} is above replicas_max {service.replicas_max}",
            )
        if service.memory_base_mib >= service.memory_limit_mib:
            problems.add(
                f"{path}.memory_limit_mib",
                f"{service.memory_limit_mib:g} MiB leaves nothing above memory_base_mib "
                f"{service.memory_base_mib:g}; the pod would be killed at its start",
            )


def _check_calls(scenario: Scenario, problems: Problems) -> None:
    by_name = {service.name: service for service in scenario.services}
    known = _callable(scenario)
    for i, service in enumerate(scenario.services):
        for j, call in enumerate(service.calls):
            path = f"service[{i}].call[{j}].to"
            if call.to and call.to not in known:
                problems.add(path, unknown(call.to, "service of this scenario", known))
            callee = by_name.get(call.to)
            absent = [
                region.name
                for region in scenario.regions
                if callee and runs_in(service, region.name) and not runs_in(callee, region.name)
            ]
            if absent:
                problems.add(
                    path,
                    f"{call.to!r} does not run in {', '.join(absent)}, where {service.name!r} "
                    "calls it; calls stay within a region",
                )


def _check_engine(scenario: Scenario, problems: Problems) -> None:
    engine = scenario.engine
    total = 0.0
    for i, region in enumerate(scenario.regions):
        wanted = engine.instances if region.instances is None else region.instances
        path = "engine.instances" if region.instances is None else f"region[{i}].instances"
        total += wanted
        if wanted > engine.instances_max:
            problems.add(path, f"{wanted} is above engine.instances_max {engine.instances_max}")
        if engine.tp_degree > region.gpus_per_node:
            problems.add(
                "engine.tp_degree",
                f"{engine.tp_degree} GPUs per instance, nodes of {region.name!r} have "
                f"{region.gpus_per_node}; an instance must fit on one node",
            )
            continue
        room = region.gpu_nodes * (region.gpus_per_node // engine.tp_degree)
        if wanted > room:
            problems.add(
                path,
                f"{wanted} instances wanted in {region.name!r}, its GPU nodes hold {room}; "
                "raise gpu_nodes or lower instances",
            )
    if scenario.regions and total == 0:
        problems.add("engine.instances", "no region has an instance; give at least one")
    spec = scenario.traffic
    if engine.prefix_cache and spec.trace == "generated" and spec.conversation_ratio == 0.0:
        text = "nothing to reuse in API calls alone; raise traffic.conversation_ratio above 0"
        problems.add("engine.prefix_cache", text)


def _check_model(scenario: Scenario, problems: Problems) -> None:
    """The cost model knows GPU and model, and the weights leave room for KV."""
    engine = scenario.engine
    for key, value, known in (("gpu", engine.gpu, gpu_keys()), ("model", engine.model, MODELS)):
        if value and value not in known:
            problems.add(f"engine.{key}", unknown(value, f"{key} with coefficients", known))
    if problems.any_below("engine"):
        return
    try:
        CostModel.of(gpu=engine.gpu, model=engine.model, tp_degree=engine.tp_degree).kv_blocks(
            block_tokens=engine.block_tokens, memory_ratio=engine.kv_memory_ratio
        )
    except ConfigError as error:
        problems.add("engine", str(error))


def _check_capacity(scenario: Scenario, problems: Problems) -> None:
    for i, region in enumerate(scenario.regions):
        services = [s for s in scenario.services if runs_in(s, region.name)]
        for what, unit, per_pod, per_node, key in (
            ("CPU", "cores", "cpu_limit_cores", region.cores_per_node, "cores_per_node"),
            (
                "memory",
                "MiB",
                "memory_limit_mib",
                region.memory_per_node_mib,
                "memory_per_node_mib",
            ),
        ):
            for service in services:
                need = getattr(service, per_pod)
                if need > per_node:
                    problems.add(
                        f"region[{i}].{key}",
                        f"{per_node:g} {unit}, a pod of {service.name!r} needs {need:g}; "
                        f"lower its {per_pod}",
                    )
            total = sum(s.replicas * getattr(s, per_pod) for s in services)
            if total > region.cpu_nodes * per_node:
                problems.add(
                    f"region[{i}].cpu_nodes",
                    f"the pods need {total:g} {unit} of {what}, {region.cpu_nodes} nodes have "
                    f"{region.cpu_nodes * per_node:g}; add nodes or lower limits",
                )


def _check_client(scenario: Scenario, problems: Problems) -> None:
    client = scenario.client
    if client.total_timeout_s < client.first_token_timeout_s:
        problems.add(
            "client.total_timeout_s",
            f"{client.total_timeout_s:g} s is shorter than first_token_timeout_s "
            f"{client.first_token_timeout_s:g}",
        )
    path = "client.class_shares"
    classes = {slo.name for slo in scenario.slos}
    shares = dict(client.class_shares)
    if problems.any_below("slo", path):
        return
    for name in shares:
        if name not in classes:
            problems.add(f"{path}.{name}", unknown(name, "[[slo]] of this scenario", classes))
    for name in sorted(classes - set(shares)):
        problems.add(path, f"no share for the class {name!r}; add it, 0 is allowed")
    if abs(sum(shares.values()) - 1.0) > SHARE_TOLERANCE:
        problems.add(path, f"shares sum to {sum(shares.values()):.6g}, expected 1")


def _check_times(scenario: Scenario, problems: Problems) -> None:
    end_s = scenario.duration_s
    for path, at_s in (
        ("scenario.warmup_s", scenario.warmup_s),
        ("traffic.step_at_s", scenario.traffic.step_at_s),
        *((f"fault[{i}].start_s", fault.start_s) for i, fault in enumerate(scenario.faults)),
        *((f"change[{i}].at_s", change.at_s) for i, change in enumerate(scenario.changes)),
    ):
        if at_s >= end_s:
            problems.add(
                path, f"{at_s:g} s is not before the end; scenario.duration_s is {end_s:g}"
            )
    for i, fault in enumerate(scenario.faults):
        if fault.start_s < end_s < fault.start_s + fault.length_s:
            problems.add(
                f"fault[{i}].length_s",
                f"the fault ends at {fault.start_s + fault.length_s:g} s, after the scenario; "
                f"shorten it or raise scenario.duration_s {end_s:g}",
            )
        if fault.ramp_s > fault.length_s:
            problems.add(
                f"fault[{i}].ramp_s", f"{fault.ramp_s:g} s is above length_s {fault.length_s:g}"
            )
    if scenario.telemetry.jitter_s >= scenario.telemetry.scrape_s:
        problems.add(
            "telemetry.jitter_s",
            f"{scenario.telemetry.jitter_s:g} s is not below scrape_s "
            f"{scenario.telemetry.scrape_s:g}; scrapes would overtake each other",
        )


def _check_target(fault: FaultSpec, path: str, scenario: Scenario, problems: Problems) -> None:
    """A target names a region and, where the scenario knows the names, something in it."""
    regions = _region_names(scenario)
    if fault.region and fault.region not in regions:
        problems.add(f"{path}.region", unknown(fault.region, "region", regions))
    if not fault.target:
        return
    path = f"{path}.target"
    try:
        entity = Entity.parse(fault.target)
    except ValueError as error:
        problems.add(path, f"{error}; write kind:region/name, kind one of {', '.join(EntityKind)}")
        return
    if entity.region not in regions:
        problems.add(path, unknown(entity.region, "region", regions))
    if entity.kind is EntityKind.SERVICE and entity.name not in _callable(scenario):
        problems.add(path, unknown(entity.name, "service", _callable(scenario)))
    links = {f"{s.name}->{call.to}" for s in scenario.services for call in s.calls}
    if entity.kind is EntityKind.LINK and entity.name not in links:
        problems.add(path, unknown(entity.name, "call of this scenario", links))


def _check_changes(scenario: Scenario, problems: Problems) -> None:
    regions = _region_names(scenario)
    by_name = {service.name: service for service in scenario.services}
    for i, change in enumerate(scenario.changes):
        if change.region and change.region not in regions:
            problems.add(f"change[{i}].region", unknown(change.region, "region", regions))
        path = f"change[{i}].service"
        if change.service and change.service not in _callable(scenario):
            problems.add(path, unknown(change.service, "service", _callable(scenario)))
        service = by_name.get(change.service)
        if service and change.region in regions and not runs_in(service, change.region):
            problems.add(path, f"{change.service!r} does not run in {change.region!r}")


def _region_names(scenario: Scenario) -> set[str]:
    return {region.name for region in scenario.regions if region.name}


def _callable(scenario: Scenario) -> set[str]:
    """Names that a call may have as its target: services and the engine."""
    names = {service.name for service in scenario.services} | {scenario.engine.name}
    return names - {""}


def _repeats(items: Sequence[Hashable]) -> list[int]:
    """Positions of items that stood earlier already; "" marks a value at fault."""
    seen: set[Hashable] = set()
    found = []
    for i, item in enumerate(items):
        if item in seen and item != "":
            found.append(i)
        seen.add(item)
    return found
