"""Rules of the service graph: it has no circle, entries reach the engine, calls do not multiply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ops.replay.scenario import CallSpec, Scenario, ServiceSpec
from ops.replay.scenario_problems import Problems

CALLS_PER_REQUEST_MAX = 500.0  # expected calls that one request causes, retries not counted

Calls = Mapping[str, tuple[CallSpec, ...]]  # caller -> what it calls


def check_graph(scenario: Scenario, problems: Problems) -> None:
    """Add every broken rule of the graph to `problems`."""
    calls: Calls = {service.name: service.calls for service in scenario.services}
    order: list[str] = []
    cycles = list(_cycles(calls, order))
    for cycle in cycles:
        problems.add("service", f"calls run in a circle: {' -> '.join(cycle)}; remove one of them")
    # A file with broken services would seem to break these rules as well.
    if cycles or problems.any_below("service", "engine", "region"):
        return
    entries = [(i, service) for i, service in enumerate(scenario.services) if service.entry]
    if not entries:
        problems.add("service", "none has entry = true; mark the one that receives user traffic")
        return
    for region in scenario.regions:
        if region.traffic_share > 0 and not any(runs_in(s, region.name) for _, s in entries):
            problems.add("service", f"no entry service runs in {region.name!r}, which has traffic")
    engine = scenario.engine.name
    reaching = _reaching(engine, calls, order)
    num_calls = _calls_per_request(calls, order)
    for i, service in entries:
        if service.name not in reaching:
            problems.add(
                f"service[{i}]",
                f"entry {service.name!r} never reaches the engine {engine!r} by calls that it "
                "waits for; add a [[service.call]] on the way",
            )
        if num_calls[service.name] > CALLS_PER_REQUEST_MAX:
            problems.add(
                f"service[{i}]",
                f"one request causes {num_calls[service.name]:.4g} calls, at most "
                f"{CALLS_PER_REQUEST_MAX:g} are allowed; remove calls that multiply",
            )


def runs_in(service: ServiceSpec, region: str) -> bool:
    """Whether a service has pods in a region."""
    return not service.regions or region in service.regions


def _cycles(calls: Calls, order: list[str]) -> Iterator[list[str]]:
    """Circles, one per call that closes one; `order` receives callees before callers."""
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> Iterator[list[str]]:
        path.append(name)
        for call in calls[name]:
            if call.to in path:
                yield [*path[path.index(call.to) :], call.to]
            elif call.to in calls and call.to not in done:
                yield from visit(call.to)
        done.add(path.pop())
        order.append(name)

    for name in calls:
        if name not in done:
            yield from visit(name)


def _reaching(engine: str, calls: Calls, order: list[str]) -> set[str]:
    """Services that wait, directly or not, for an answer of the engine."""
    found = {engine}
    for name in order:
        if any(c.to in found and not c.background and c.probability > 0 for c in calls[name]):
            found.add(name)
    return found


def _calls_per_request(calls: Calls, order: list[str]) -> Mapping[str, float]:
    """Expected calls below one call of each service."""
    below: dict[str, float] = {}
    for name in order:
        below[name] = sum(c.probability * (1.0 + below.get(c.to, 0.0)) for c in calls[name])
    return below
