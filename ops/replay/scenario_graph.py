"""Rules of the service graph: it has no circle, entries reach the engine, calls do not multiply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ops.replay.scenario import CallSpec, Scenario, ServiceSpec
from ops.replay.scenario_problems import Problems, shown
from ops.replay.visits import VISITS_MAX

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
    with_traffic = [region.name for region in scenario.regions if region.traffic_share > 0]
    for i, service in entries:
        absent = [name for name in with_traffic if not runs_in(service, name)]
        if absent:
            problems.add(
                f"service[{i}].regions",
                f"entry {service.name!r} does not run in {', '.join(absent)}, which has traffic; "
                "users of each region enter there by every entry service",
            )
    engine = scenario.engine.name
    reaching = _reaching(engine, calls, order)
    for i, service in entries:
        if service.name not in reaching:
            problems.add(
                f"service[{i}]",
                f"entry {service.name!r} never reaches the engine {engine!r} by calls that it "
                "waits for; add a [[service.call]] on the way",
            )
    num_visits = _visits(calls, order)
    total = sum(num_visits[service.name] for _, service in entries)
    if total > VISITS_MAX:
        problems.add(
            "service",
            f"the calls below the entries unfold to {shown(total)} visits, at most {VISITS_MAX} "
            "are allowed; remove calls that multiply",
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


def _visits(calls: Calls, order: list[str]) -> Mapping[str, int]:
    """Places in the call tree below each service, itself included."""
    size: dict[str, int] = {}
    for name in order:
        size[name] = 1 + sum(size.get(call.to, 1) for call in calls[name])
    return size
