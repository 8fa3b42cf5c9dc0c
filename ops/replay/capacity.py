"""Capacity of a healthy fleet: the highest rate at which 99 % of the requests are good."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import replace
from pathlib import Path

import orjson

from ops import __version__
from ops.replay.fleet import Fleet
from ops.replay.scenario import Scenario
from ops.replay.score import minutes
from ops.replay.traffic import Traffic

TRIAL_S, SETTLE_S = 420.0, 120.0
GOOD_RATIO = 0.99
PRECISION = 0.03  # of the rate
SEED = 0


def capacity_rps(scenario: Scenario, traffic: Traffic, *, cache: Path | None = None) -> float:
    """Bisect the rate; the answer is cached per fleet, graph, traffic source and version.

    The pools stay at their deployed size: autoscaling would measure another fleet.
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
            return float(orjson.loads(path.read_bytes())["capacity_rps"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            path.unlink(missing_ok=True)  # a torn cache entry is measured again
    source = Traffic(fixed, SEED, traffic.table)
    found = _bisect(fixed, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(orjson.dumps({"capacity_rps": found, "scenario": scenario.name}))
    part.replace(path)
    return found


def _bisect(scenario: Scenario, traffic: Traffic) -> float:
    high = 1.0
    while _good(scenario, traffic, high) and high < 4096.0:
        high *= 2.0
    low = high / 2.0
    while high / low > 1.0 + PRECISION:
        middle = math.sqrt(low * high)
        if _good(scenario, traffic, middle):
            low = middle
        else:
            high = middle
    return low


def _good(scenario: Scenario, traffic: Traffic, rate_rps: float) -> bool:
    fleet = Fleet(scenario, traffic, seed=SEED, rate_rps=rate_rps, catalogue=None)
    fleet.start()
    step_s = 60.0
    for k in range(1, int(TRIAL_S / step_s) + 1):
        fleet.run_until(k * step_s)
        if len(fleet.users.open) > 400.0 * max(1.0, rate_rps):
            return False  # hopelessly behind: no need to simulate the rest
    found = [m for m in minutes(fleet.users, now_s=TRIAL_S) if m.minute * 60.0 >= SETTLE_S]
    num, bad = sum(m.requests for m in found), sum(m.bad for m in found)
    return num > 0 and bad <= (1.0 - GOOD_RATIO) * num


def _key(scenario: Scenario) -> str:
    trace = scenario.traffic.trace
    stamp = ""
    if trace != "generated":
        stat = Path(trace).stat()
        stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
    text = f"{__version__}|{scenario!r}|{stamp}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "midwatch"
