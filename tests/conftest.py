"""A tiny fleet for tests that run the simulated world: few services, a small model, own traffic.

`--update-golden` rewrites the stored outputs below tests/golden; read the diff.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings

from ops.catalogue import Catalogue
from ops.replay.draws import mix
from ops.replay.fleet import Fleet
from ops.replay.ledger import Arrivals
from ops.replay.scenario import (
    CallSpec,
    ClientSpec,
    EngineSpec,
    FaultSpec,
    RegionSpec,
    Scenario,
    ServiceSpec,
    TelemetrySpec,
)
from ops.state import SloTarget

# Neither how busy a machine is nor the dice of one run decide whether these tests pass.
# To look further: pytest --hypothesis-profile=default.
settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")


# Five thousand collected tests live to the end: looking through them for garbage takes a fifth of
# the time that collecting takes.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden")


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the tiny fleet calls its parts."""

    regions: tuple[str, ...] = ("north",)
    door: str = "door"
    shelf: str = "shelf"
    store: str = "store"
    ledger: str = "ledger"
    engine: str = "llm"
    classes: tuple[str, str] = ("fast", "slow")


class Steady:
    """Even arrivals at a rate, lengths drawn per request; stands in for `Traffic`."""

    def __init__(self, scenario, *, seed=1, prompt=(50, 300), output=(40, 100), until_s=None):
        self.scenario, self.seed, self.until_s = scenario, seed, until_s
        self.prompt, self.output = prompt, output

    def arrivals(self, rate_rps, *, duration_s):
        end_s = duration_s if self.until_s is None else self.until_s
        regions = [r.name for r in self.scenario.regions]
        num = int(rate_rps * end_s)
        at_s = [(k + 0.5) / rate_rps for k in range(num)]
        return self._fill(at_s, [regions[k % len(regions)] for k in range(num)], 0)

    def more(self, region, at_s, length_s, rate_rps):
        num = int(rate_rps * length_s)
        return self._fill([at_s + (k + 0.5) / rate_rps for k in range(num)], [region] * num, 10**6)

    def own_rate_rps(self):
        return 0.0

    def _fill(self, at_s, regions, first):
        def lengths(span, key):
            low, high = span
            return [
                low + int(mix(self.seed, key, first + k) * (high - low)) for k in range(len(at_s))
            ]

        return Arrivals(at_s, lengths(self.prompt, 101), lengths(self.output, 102), regions)


def tiny_scenario(*, names=Names(), faults=(), client=None, **changes):
    """Door -> shelf (pooled) -> store, door -> engine (pooled), door -> ledger (background)."""
    services = (
        ServiceSpec(
            name=names.door, entry=True, cpu_ms=24.0, cpu_limit_cores=0.25, workers=400,
            hpa_cpu_ratio=0.0, start_s=3.0, image_mib=60.0,
            calls=(
                CallSpec(to=names.shelf, timeout_s=1.0, retries=1, pool=16, pool_timeout_s=2.0),
                CallSpec(to=names.engine, timeout_s=30.0, retries=1, pool=32),
                CallSpec(to=names.ledger, timeout_s=2.0, pool=8, background=True),
            ),
        ),
        ServiceSpec(
            name=names.shelf, cpu_ms=6.0, cpu_limit_cores=0.25, hpa_cpu_ratio=0.0, start_s=3.0,
            image_mib=60.0, calls=(CallSpec(to=names.store, timeout_s=0.5, retries=1, pool=8),),
        ),
        ServiceSpec(
            name=names.store, cpu_ms=5.0, cpu_limit_cores=0.25, hpa_cpu_ratio=0.0, start_s=3.0,
            image_mib=60.0,
        ),
        ServiceSpec(name=names.ledger, replicas=1, cpu_ms=4.0, hpa_cpu_ratio=0.0),
    )  # fmt: skip
    engine = EngineSpec(
        name=names.engine, model="llama-2-7b", tp_degree=1, instances=2, instances_max=3,
        hpa_queue=0.0, sequences_max=4, queue_max=64, image_mib=1200.0, load_weights_s=8.0,
        boot_s=6.0,
    )  # fmt: skip
    share = 1.0 / len(names.regions)
    scenario = Scenario(
        name="tiny",
        regions=tuple(
            RegionSpec(
                name=name, traffic_share=share, cpu_nodes=2, cores_per_node=4.0, gpu_nodes=2,
                gpus_per_node=2, memory_per_node_mib=8192.0,
            )
            for name in names.regions
        ),
        services=services,
        engine=engine,
        slos=(
            SloTarget(name=names.classes[0], ttft_s=0.25, tpot_s=0.025, target_ratio=0.95),
            SloTarget(name=names.classes[1], ttft_s=0.5, tpot_s=0.025, target_ratio=0.95),
        ),
        duration_s=300.0,
        client=replace(
            client or ClientSpec(
                first_token_timeout_s=10.0, total_timeout_s=60.0, cancel_ratio=0.1
            ),
            class_shares=((names.classes[0], 0.7), (names.classes[1], 0.3)),
        ),
        telemetry=TelemetrySpec(),
        faults=tuple(faults),
    )  # fmt: skip
    return replace(scenario, **changes)


def start_fleet(scenario=None, *, rate_rps=4.0, seed=3, catalogue=None, traffic=None):
    """A started fleet; without a catalogue it is not scraped."""
    scenario = scenario or tiny_scenario()
    fleet = Fleet(
        scenario, traffic or Steady(scenario), seed=seed, rate_rps=rate_rps, catalogue=catalogue
    )
    fleet.start()
    return fleet


def with_service(scenario, name, **changes):
    """The scenario with one service changed."""
    return replace(
        scenario,
        services=tuple(replace(s, **changes) if s.name == name else s for s in scenario.services),
    )


def pods_of(fleet, service, region="north"):
    """Pods of one service, oldest first."""
    return list(fleet.cluster.deployments[(region, service)].pods)


@pytest.fixture(scope="session")
def catalogue():
    return Catalogue.load()


@pytest.fixture(scope="session")
def sim():
    """Builders of tiny simulated worlds."""
    return SimpleNamespace(
        Names=Names, Steady=Steady, FaultSpec=FaultSpec, scenario=tiny_scenario,
        start=start_fleet, pods=pods_of, with_service=with_service,
    )  # fmt: skip
