"""A simulated fleet at wall clock: one simulated second lasts one second. No HTTP lives here.

Scrapes, faults and their ends come from outside, at any moment; the past before the first scrape
can be simulated as fast as possible and written as history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from threading import RLock

import numpy as np

from ops.catalogue import Catalogue
from ops.clock import wall_s
from ops.errors import ScenarioError
from ops.replay.adopt import AdoptedPod, adopt
from ops.replay.exporters import EXPORTERS, Exporter, Target, target_labels
from ops.replay.exposition import TargetText
from ops.replay.faults import ActiveFault, Truth, start_fault
from ops.replay.fleet import Fleet
from ops.replay.openmetrics import metric_chunks
from ops.replay.probes import Labels
from ops.replay.probes_cluster import MOMENTS
from ops.replay.scenario import FaultSpec, Scenario
from ops.replay.telemetry import Telemetry
from ops.replay.traffic import Traffic
from rca.state import MetricFrame, Series
from serving.sim.kernel import Kernel, stream

SCRAPES_KEPT = 20_000
_EXPORTERS = {exporter.job: exporter for exporter in EXPORTERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """What is played. Two fleets of one plan differ only by the faults started in them.

    Attributes:
        warm_s: simulated before the first scrape, as fast as possible.
        lasts_s: how long users come after that.
        namespace: label of every series.
        pods: real pods whose names and nodes the simulated ones take; empty = their own.
    """

    scenario: Scenario
    seed: int
    rate_rps: float
    warm_s: float = 600.0
    lasts_s: float = 4 * 3600.0
    namespace: str = "default"
    pods: tuple[AdoptedPod, ...] = ()


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape that the fleet's own state decided, on the simulated clock."""

    at_s: float
    region: str
    job: str
    target: str


@dataclass(slots=True, kw_only=True)
class StartedFault:
    """A fault of this world and the moments of its life, unix seconds."""

    fault: ActiveFault
    spec: FaultSpec
    began_at_s: float
    ended_at_s: float | None = None

    @property
    def truth(self) -> Truth:
        """What a perfect diagnosis would say."""
        return self.fault.truth


class LiveFleet:
    """Owns the world and its clock. Safe to use from several threads."""

    def __init__(self, plan: LivePlan, *, catalogue: Catalogue | None = None) -> None:
        self.plan = plan
        self.faults: list[StartedFault] = []
        self.scrapes: deque[Scrape] = deque(maxlen=SCRAPES_KEPT)
        self._catalogue = catalogue or Catalogue.load()
        self._lock = RLock()
        self._added: Labels = {"namespace": plan.namespace}
        self._texts: dict[tuple[str, str, str], TargetText] = {}
        self._targets: dict[tuple[str, str], tuple[float, dict[str, Target]]] = {}
        self._gaps = stream(plan.seed, "live/gaps")
        self._phase = float(stream(plan.seed, "live/phase").random())
        self.fleet = make_fleet(plan)
        self.epoch_s = 0.0  # unix time of simulated zero; set by `begin`

    # --- clock

    def begin(self) -> None:
        """Let the past happen; from now on simulated time is wall time."""
        fleet, plan = self.fleet, self.plan
        scenario = fleet.scenario
        fleet.telemetry = Telemetry(
            scenario.telemetry, regions=fleet.regions, catalogue=self._catalogue, seed=plan.seed,
            window_s=max(plan.warm_s, scenario.telemetry.scrape_s), attach=self._added,
        )  # fmt: skip
        fleet.start()
        fleet.run_until(plan.warm_s)
        fleet.stop_watching()
        self.anchor(wall_s())

    def anchor(self, end_s: float) -> None:
        """Give the end of the past another unix time; time stands still until then.

        Before the first scrape only. A moment ahead leaves time to store the history.
        """
        assert not self._texts, "moments were told already"
        self.epoch_s = end_s - self.plan.warm_s

    def history(self, *, keep: Callable[[Series], bool] = lambda _: True) -> Iterator[str]:
        """The past before the first scrape as OpenMetrics text with unix time stamps, in pieces.

        Args:
            keep: which series; all of them unless told otherwise.
        """
        telemetry, plan = self.fleet.telemetry, self.plan
        assert telemetry is not None, "begin() makes the past"
        frame = telemetry.frame(plan.warm_s + telemetry.spec.delay_s, plan.warm_s)
        kept = [k for k, series in enumerate(frame.series) if keep(series)]
        frame = replace(
            frame, values=frame.values[:, kept], series=tuple(frame.series[k] for k in kept),
            roles=tuple(frame.roles[k] for k in kept),
        )  # fmt: skip
        return metric_chunks(_at(frame, self.epoch_s))

    def advance(self, now_s: float) -> float:
        """Let everything up to a unix time happen; returns it on the simulated clock."""
        with self._lock:
            at_s = max(now_s - self.epoch_s, self.fleet.kernel.now_s)
            self.fleet.run_until(at_s)
            return at_s

    # --- what is scraped

    def targets(self, job: str) -> list[tuple[str, str, Labels]]:
        """(region, target, labels that a scrape attaches) of one job."""
        with self._lock:
            return [
                (region, name, target_labels(target, job, self._added))
                for region in self.fleet.regions
                for name, target in self._targets_of(_EXPORTERS[job], region).items()
            ]

    def scrape(self, region: str, job: str, name: str, *, now_s: float) -> str | None:
        """The text of one target; None where it does not answer.

        Raises:
            KeyError: no such target.
        """
        with self._lock:
            exporter = _EXPORTERS[job]
            at_s = self.advance(now_s)
            target = self._targets_of(exporter, region)[name]
            if self._gaps.random() < self.fleet.scenario.telemetry.gap_ratio:
                return None
            self.scrapes.append(Scrape(at_s, region, job, name))
            if not target.up or self.fleet.silenced(region, job):
                return None
            self.fleet.refresh(region, at_s)
            return self._text(target, region, job).render(
                target, collection=self.collection(job, at_s)
            )

    def collection(self, job: str, at_s: float) -> int | None:
        """Number of the exporter's own collection that a scrape finds; None = always fresh."""
        period_s = self.fleet.scenario.telemetry.gpu_collect_s
        if not _EXPORTERS[job].collects or period_s <= 0.0:
            return None
        return int(at_s / period_s + self._phase)

    # --- faults

    def start_fault(self, spec: FaultSpec) -> StartedFault:
        """Begin a fault now, whatever start its spec names.

        Raises:
            ScenarioError: unknown kind, or nothing qualifies as its target.
        """
        with self._lock:
            at_s = self.advance(wall_s())
            if not spec.severity > 0.0:
                raise ScenarioError(f"severity is {spec.severity:g}; give more than 0")
            spec = replace(spec, start_s=at_s)
            fault = begin_fault(self.fleet, self.plan, spec, index=len(self.faults))
            started = StartedFault(fault=fault, spec=spec, began_at_s=at_s + self.epoch_s)
            self.faults.append(started)
            return started

    def end_fault(self, index: int) -> StartedFault:
        """End a fault now. What it has done already stays: users that came, processes that died.

        Raises:
            ScenarioError: no such fault.
        """
        with self._lock:
            at_s = self.advance(wall_s())
            if not 0 <= index < len(self.faults):
                raise ScenarioError(f"fault {index}: {len(self.faults)} were begun, from 0")
            started = self.faults[index]
            if started.ended_at_s is None:
                stop_fault(started.fault)
                started.ended_at_s = at_s + self.epoch_s
            return started

    # --- inside

    def _targets_of(self, exporter: Exporter, region: str) -> dict[str, Target]:
        """Targets now; one sweep over them asks once, not once a target."""
        now_s = self.fleet.kernel.now_s
        key = (region, exporter.job)
        made_s, found = self._targets.get(key, (-1.0, {}))
        if made_s != now_s:
            found = {target.name: target for target in exporter.targets(self.fleet, region)}
            self._targets[key] = (now_s, found)
        return found

    def _text(self, target: Target, region: str, job: str) -> TargetText:
        key = (region, job, target.name)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = TargetText(
                target, job=job, added=self._added, epoch_s=self.epoch_s, catalogue=self._catalogue
            )
        return text


def make_fleet(plan: LivePlan) -> Fleet:
    """The world of a plan, before anything has happened in it.

    Raises:
        ScenarioError: the real pods do not fit the scenario.
    """
    scenario = replace(plan.scenario, duration_s=plan.warm_s + plan.lasts_s)
    if plan.pods:
        scenario = _of_fixed_size(scenario)
    traffic = Traffic.open(scenario, seed=plan.seed)
    fleet = Fleet(scenario, traffic, seed=plan.seed, rate_rps=plan.rate_rps, catalogue=None)
    if plan.pods:
        adopt(fleet, plan.pods)
    return fleet


def begin_fault(fleet: Fleet, plan: LivePlan, spec: FaultSpec, *, index: int) -> ActiveFault:
    """Begin the fault of that number at the fleet's own present, with what it does at once."""
    rng = stream(plan.seed, f"faults/live/{index}/{spec.kind}")
    fault = start_fault(fleet.injector, spec, rng)
    fleet.run_until(fleet.kernel.now_s)
    return fault


def stop_fault(fault: ActiveFault) -> None:
    """End a fault before its time."""
    for timer in fault.timers:
        Kernel.cancel(timer)
    fault.set_level(0.0)


def _of_fixed_size(scenario: Scenario) -> Scenario:
    """Without autoscaling: a pod that it adds would be known to nobody but the simulation."""
    return replace(
        scenario,
        services=tuple(replace(one, hpa_cpu_ratio=0.0) for one in scenario.services),
        engine=replace(scenario.engine, hpa_queue=0.0),
    )


def _at(frame: MetricFrame, epoch_s: float) -> MetricFrame:
    """The frame with unix times, in its rows and in samples that are moments."""
    values = np.array(frame.values, dtype=np.float64)
    moments = [k for k, series in enumerate(frame.series) if series.name in MOMENTS]
    values[:, moments] += epoch_s
    return replace(frame, times_s=frame.times_s + epoch_s, values=values)


def truth_of(started: StartedFault) -> Mapping[str, object]:
    """A fault as plain data for whoever scores a diagnosis; the loop must never see it."""
    truth = started.truth
    return {
        "kind": truth.kind,
        "entity": str(truth.entity),
        "alternatives": sorted(str(entity) for entity in truth.alternatives),
        "resource_classes": sorted(truth.resource_classes),
        "abstain": truth.abstain,
        "began_at_s": started.began_at_s,
        "ended_at_s": started.ended_at_s,
        "until_s": started.began_at_s + started.spec.length_s,
    }
