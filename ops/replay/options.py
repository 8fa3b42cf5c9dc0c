"""Options that override a scenario, held to the same ranges and rules as a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ops.errors import ScenarioError
from ops.replay.scenario import EngineSpec, RegionSpec, Scenario, ServiceSpec
from ops.replay.scenario_limits import RANGES
from ops.replay.scenario_problems import Problems, unknown
from ops.replay.scenario_rules import check_rules
from serving.sim.profile_files import gpu_key

GENERATED = "generated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What a user may set beside the scenario; None or "" leaves the scenario's own value."""

    trace: str = ""
    trace_format: str = "auto"
    load: float | None = None
    regions: str = ""  # how many of the scenario's regions, or their names
    instances: int | None = None  # per region
    gpu: str = ""
    model: str = ""
    skip_bad_rows: bool = False
    granger: str = "linear"  # model of what leads what; never auto: others repeat what is recorded

    def plain(self) -> dict[str, Any]:
        """Values that differ from the defaults, for a file."""
        default = asdict(ReplayOptions())
        return {key: value for key, value in asdict(self).items() if value != default[key]}

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> ReplayOptions:
        """Read what `plain` gave.

        Raises:
            ScenarioError: an unknown key.
        """
        known = asdict(cls())
        for key in raw:
            if key not in known:
                raise ScenarioError(f"recorded options: {unknown(key, 'option', known)}")
        return cls(**raw)

    def words(self) -> list[str]:
        """The same as arguments of the command line."""
        parts: list[str] = []
        for key, value in self.plain().items():
            name = "--format" if key == "trace_format" else f"--{key.replace('_', '-')}"
            parts += [name] if value is True else [name, f"{value}"]
        return parts


def with_options(scenario: Scenario, options: ReplayOptions) -> Scenario:
    """The scenario as the options want it.

    Raises:
        ScenarioError: a value out of range, or the result breaks a rule; lists every problem.
    """
    problems = Problems()
    if options.load is not None:
        _check_range(problems, "--load", "TrafficSpec.load", options.load)
    if options.instances is not None:
        _check_range(problems, "--instances", "EngineSpec.instances", options.instances)
    _refuse(problems)
    scenario = _with_regions(scenario, options.regions)
    if options.instances is not None:
        scenario = _with_instances(scenario, options.instances)
    engine = replace(
        scenario.engine,
        gpu=gpu_key(options.gpu) or scenario.engine.gpu,
        model=options.model or scenario.engine.model,
    )
    traffic = scenario.traffic
    if options.trace:
        traffic = replace(
            traffic, trace=options.trace, trace_format=options.trace_format, step_at_s=0.0
        )
    if options.load is not None:
        traffic = replace(traffic, load=options.load)
    if traffic.load == 0.0 and traffic.trace == GENERATED:
        problems.add("--load", "0 keeps a trace's own rate; the generator has none, give --trace")
    scenario = replace(scenario, engine=engine, traffic=traffic)
    check_rules(scenario, problems)
    _refuse(problems)
    return scenario


def _check_range(problems: Problems, option: str, name: str, value: float) -> None:
    low, high = RANGES[name]
    if not math.isfinite(value) or not low <= value <= high:
        problems.add(option, f"{value} is out of range; give a value from {low:g} to {high:g}")


def _refuse(problems: Problems) -> None:
    if problems.num_found:
        raise ScenarioError(problems.message("options"))


def _with_regions(scenario: Scenario, wanted: str) -> Scenario:
    """Keep some regions; their shares of the traffic are scaled to sum to one."""
    if not wanted:
        return scenario
    names = [r.name for r in scenario.regions]
    if wanted.isdecimal():
        if not 1 <= int(wanted) <= len(names):
            raise ScenarioError(
                f"options: --regions {wanted}: the scenario has {len(names)} regions; "
                f"give 1 to {len(names)}, or names"
            )
        keep = names[: int(wanted)]
    else:
        keep = [name.strip() for name in wanted.split(",") if name.strip()]
        for name in keep:
            if name not in names:
                raise ScenarioError(f"options: --regions: {unknown(name, 'region', names)}")
    regions = [r for r in scenario.regions if r.name in keep]
    total = sum(r.traffic_share for r in regions)
    if not total > 0.0:
        raise ScenarioError(f"options: --regions {wanted}: no user lives there; add a region")
    return replace(
        scenario,
        regions=tuple(replace(r, traffic_share=r.traffic_share / total) for r in regions),
        services=_services_in(scenario, keep),
        changes=tuple(c for c in scenario.changes if c.region in keep),
        region_rtt_s=tuple(x for x in scenario.region_rtt_s if x[0] in keep and x[1] in keep),
    )


def _services_in(scenario: Scenario, keep: list[str]) -> tuple[ServiceSpec, ...]:
    """Services that still run somewhere, without calls to those that do not."""
    there = [s for s in scenario.services if not s.regions or set(s.regions) & set(keep)]
    names = {s.name for s in there} | {scenario.engine.name}
    return tuple(
        replace(
            s,
            regions=tuple(r for r in s.regions if r in keep),
            calls=tuple(c for c in s.calls if c.to in names),
        )
        for s in there
    )


def _with_instances(scenario: Scenario, instances: int) -> Scenario:
    """So many instances in every region, and GPU nodes enough to hold them."""
    engine = replace(
        scenario.engine,
        instances=instances,
        instances_max=max(instances, scenario.engine.instances_max),
    )
    regions = tuple(
        replace(r, instances=None, gpu_nodes=max(r.gpu_nodes, _nodes_for(r, engine)))
        for r in scenario.regions
    )
    return replace(scenario, engine=engine, regions=regions)


def _nodes_for(region: RegionSpec, engine: EngineSpec) -> int:
    per_node = max(region.gpus_per_node // engine.tp_degree, 1)
    return -(-engine.instances // per_node)
