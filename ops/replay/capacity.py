"""Capacity of a healthy fleet: the highest rate at which 99 % of the requests are good.

Some traces hold requests that miss the limits even on an idle fleet, such as prompts of 100,000
tokens. Then 99 % of what a nearly idle fleet serves well is asked for instead of 99 % of all.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from ops import __version__
from ops.errors import ScenarioError
from ops.replay.fleet import Fleet
from ops.replay.scenario import Scenario
from ops.replay.score import minutes
from ops.replay.traffic import Traffic
from serving.sim.cost_model import CostModel

TRIAL_S, SETTLE_S = 420.0, 120.0
GOOD_RATIO = 0.99
PRECISION = 0.03  # of the rate
SEED = 0
IDLE_RPS, IDLE_REQUESTS = 0.125, 150  # a nearly idle fleet, and how many requests tell what it can
TRACE_REQUESTS = 1000  # of a trace in one trial: its bursts and long prompts come seldom


@dataclass(frozen=True, slots=True)
class Capacity:
    """What was measured."""

    rps: float
    idle_good_ratio: float  # share of good requests that an idle fleet reaches; 1 = not in the way


def capacity_rps(scenario: Scenario, traffic: Traffic, *, cache: Path | None = None) -> float:
    """Requests/s of `measure_capacity`."""
    return measure_capacity(scenario, traffic, cache=cache).rps


def measure_capacity(
    scenario: Scenario, traffic: Traffic, *, cache: Path | None = None
) -> Capacity:
    """Bisect the rate; the answer is cached per fleet, graph, traffic source and version.

    The pools stay at their deployed size: autoscaling would measure another fleet.

    Raises:
        ScenarioError: an idle fleet serves no request within its limits.
    """
    fixed = replace(
        scenario,
        faults=(),
        changes=(),
        duration_s=TRIAL_S,
        services=tuple(replace(s, hpa_cpu_ratio=0.0) for s in scenario.services),
        engine=replace(scenario.engine, hpa_queue=0.0),
        traffic=replace(scenario.traffic, diurnal=0.0, load=0.0, step_at_s=0.0),
    )
    key = _key(fixed)
    path = (cache or _cache_folder()) / f"capacity-{key}.json"
    if path.exists():
        try:
            raw = orjson.loads(path.read_bytes())
            return Capacity(float(raw["capacity_rps"]), float(raw["idle_good_ratio"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            path.unlink(missing_ok=True)  # a torn cache entry is measured again
    source = Traffic(fixed, SEED, traffic.table)
    found = _bisect(fixed, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    raw = {
        "capacity_rps": found.rps,
        "idle_good_ratio": found.idle_good_ratio,
        "scenario": scenario.name,
    }
    part.write_bytes(orjson.dumps(raw))
    part.replace(path)
    return found


def _bisect(scenario: Scenario, traffic: Traffic) -> Capacity:
    idle, wanted, high = 1.0, GOOD_RATIO, 1.0
    if not _is_good(scenario, traffic, high, wanted):
        idle = _good_ratio(scenario, traffic, IDLE_RPS)
        if idle <= 0.0:
            raise ScenarioError(
                f"scenario {scenario.name!r}: at {IDLE_RPS} requests/s not one is within its "
                "limits; loosen the SLOs or check the call timeouts and pools"
            )
        wanted, high = GOOD_RATIO * idle, 2.0 * IDLE_RPS
    while _is_good(scenario, traffic, high, wanted) and high < 4096.0:
        high *= 2.0
    low = high / 2.0
    while high / low > 1.0 + PRECISION:
        middle = math.sqrt(low * high)
        if _is_good(scenario, traffic, middle, wanted):
            low = middle
        else:
            high = middle
    return Capacity(low, 1.0 if idle >= GOOD_RATIO else idle)


def _is_good(scenario: Scenario, traffic: Traffic, rate_rps: float, wanted: float) -> bool:
    return _good_ratio(scenario, traffic, rate_rps) >= wanted


def _good_ratio(scenario: Scenario, traffic: Traffic, rate_rps: float) -> float:
    """Share of good requests after the start has settled; 0 where it falls hopelessly behind."""
    wanted = IDLE_REQUESTS if traffic.table is None else TRACE_REQUESTS
    length_s = max(TRIAL_S, SETTLE_S + wanted / rate_rps)
    scenario = replace(scenario, duration_s=length_s)
    fleet = Fleet(scenario, traffic, seed=SEED, rate_rps=rate_rps, catalogue=None)
    fleet.start()
    step_s = 60.0
    for k in range(1, int(scenario.duration_s / step_s) + 1):
        fleet.run_until(k * step_s)
        if len(fleet.users.open) > 400.0 * max(1.0, rate_rps):
            return 0.0  # no need to simulate the rest
    end_s = fleet.kernel.now_s
    found = [m for m in minutes(fleet.users, now_s=end_s) if m.minute * 60.0 >= SETTLE_S]
    num, bad = sum(m.requests for m in found), sum(m.bad for m in found)
    return 1.0 - bad / num if num else 0.0


def _key(scenario: Scenario) -> str:
    trace = scenario.traffic.trace
    stamp = ""
    if trace != "generated":
        stat = Path(trace).stat()
        stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
    engine = scenario.engine
    cost = CostModel.of(gpu=engine.gpu, model=engine.model, tp_degree=engine.tp_degree)
    # Coefficients are fitted anew under the same names: the times that they give tell.
    mixed_s = cost.iteration_s(chunks=[(engine.token_budget, 0)], num_decodes=8, context_sum=8000)
    speed = (mixed_s, *cost.linear_decode(8, 8000))
    text = f"4|{__version__}|{scenario!r}|{speed!r}|{stamp}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "midwatch"
