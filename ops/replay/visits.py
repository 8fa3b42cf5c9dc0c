"""The service graph compiled: one visit per path from an entry service to a callee."""

from __future__ import annotations

from dataclasses import dataclass, field

from ops.errors import ScenarioError
from ops.replay.draws import COLUMNS
from ops.replay.scenario import CallSpec, Scenario, ServiceSpec

VISITS_MAX = 512


@dataclass(slots=True, kw_only=True)
class Visit:
    """One place in the call tree. `index` addresses the draws.

    Attributes:
        column: where its draws begin in a row.
        cpu_s: mean CPU work of one call.
        is_leaf: its caller waits for it, it always happens, and it calls nobody.
    """

    index: int
    service: str
    call: CallSpec | None  # how the parent calls it; None for the entry
    spec: ServiceSpec | None  # None = the engine pool
    children: tuple[Visit, ...] = ()
    column: int = field(init=False)
    cpu_s: float = field(init=False)
    is_leaf: bool = field(init=False)

    def __post_init__(self) -> None:
        self.column = COLUMNS * self.index
        self.cpu_s = self.spec.cpu_ms * 1e-3 if self.spec else 0.0
        self.is_leaf = (
            self.spec is not None
            and not self.spec.calls
            and self.call is not None
            and not self.call.background
            and self.call.probability >= 1.0
        )


def compile_visits(scenario: Scenario) -> tuple[dict[str, Visit], list[Visit]]:
    """Unfold the graph.

    Returns:
        entry service -> its root visit, and all visits by index.

    Raises:
        ScenarioError: a callee is unknown, or the unfolded tree has more than 512 visits.
    """
    specs = {spec.name: spec for spec in scenario.services}
    visits: list[Visit] = []

    def unfold(service: str, call: CallSpec | None, depth: int) -> Visit:
        if len(visits) >= VISITS_MAX or depth > 32:
            raise ScenarioError(
                f"the call graph unfolds to more than {VISITS_MAX} visits or 32 levels at "
                f"{service!r}; remove a cycle or merge calls"
            )
        spec = specs.get(service)
        if spec is None and service != scenario.engine.name:
            raise ScenarioError(f"call to {service!r}, which is no service of {scenario.name!r}")
        visit = Visit(index=len(visits), service=service, call=call, spec=spec)
        visits.append(visit)
        if spec is not None:
            visit.children = tuple(unfold(c.to, c, depth + 1) for c in spec.calls)
        return visit

    roots = {s.name: unfold(s.name, None, 0) for s in scenario.services if s.entry}
    return roots, visits
