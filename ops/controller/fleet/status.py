"""The status of a Fleet: what the operator sees of it, as conditions and numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from ops.controller.conditions import AS_SCRAPED, Observed, cut, merged
from ops.controller.fleet.classes import classes_seen
from ops.controller.fleet.pods_measured import pods_measured
from ops.controller.moments import rfc3339
from ops.controller.resources.fields import TEXT_MAX, ConditionStatus
from ops.controller.resources.fleet import (
    BurnRateStatus,
    DecisionStatus,
    FleetSpec,
    FleetStatus,
    Mode,
    RegionStatus,
)
from ops.slo import SloMeter, burn_rates
from ops.state import PodRecord

WINDOWS = (("5m", 300.0), ("1h", 3600.0))  # burn rates are told for
REGIONS_MAX, BURN_RATES_MAX = 64, 256
QUIET_S = 30.0  # between two writes where only burn rates and words moved
NUMBERS_S = 8.0  # between two writes where numbers of pods moved
URGENT_S = 1.0  # between two writes at all
ALIVE_S = 120.0  # between two writes at most: what is older, nobody watches any more
YES, NO, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSight:
    """How far the metrics can be trusted.

    Attributes:
        reason: Fresh, Stale, Missing, Contradictory, or NotRead before the first reading and where
            none can be used.
    """

    reason: str = "NotRead"
    detail: str = ""
    spelling: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSight:
    """What of the Incidents could not be written.

    Attributes:
        refused: of their record itself, by name and why; empty where all of it is stored.
        extras: reports and Events, the same.
        given_up: incidents whose end was never written since this process began.
    """

    refused: str = ""
    extras: str = ""
    given_up: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FleetSight:
    """Everything that a status is made of.

    Attributes:
        fault: why the spec cannot be used, else empty.
        step_fault: what went wrong in the operator itself, else empty; what is seen is older.
        stale: what the cluster caches cannot show, in words.
        unmatched: why the selector takes no pod, in words; empty where it takes some.
        missing_rights: rights that the server refused, as text.
        worker_trouble: why the worker does not answer, empty where it does.
        diagnosis_trouble: why this fleet's last question got no answer, empty where it did.
        silent: pods that give no metrics and should.
        unknown: pods that metrics name and the cluster does not have.
    """

    generation: int
    spec: FleetSpec
    fault: str = ""
    fault_reason: str = "InvalidSpec"
    step_fault: str = ""
    data: DataSight = DataSight()
    pods: Sequence[PodRecord] = ()
    stale: str = ""
    unmatched: str = ""
    missing_rights: tuple[str, ...] = ()
    worker_trouble: str = ""
    diagnosis_trouble: str = ""
    record: RecordSight = RecordSight()
    silent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    meter: SloMeter | None = None
    open_incidents: int = 0
    last_decision: DecisionStatus | None = None


def fleet_status(sight: FleetSight, previous: FleetStatus, *, now_s: float) -> FleetStatus:
    """The whole status."""
    # Numbers of the past are shown to nobody as those of now.
    meter = sight.meter if sight.data.reason == "Fresh" else None
    rates = _burn_rates(meter)
    observed = (
        _ready(sight),
        _fresh(sight),
        _slo(sight, rates),
        classes_seen([slo.name for slo in sight.spec.slos], meter),
        _acting(sight),
        _diagnosing(sight),
        _rights(sight),
        _recorded(sight.record),
        pods_measured(
            fresh=sight.data.reason == "Fresh",
            num_pods=len(sight.pods),
            silent=sight.silent,
            unknown=sight.unknown,
        ),
    )
    regions = _regions(sight)
    return FleetStatus(
        observed_generation=sight.generation,
        observed_at=rfc3339(now_s),
        conditions=merged(previous.conditions, observed, now_s=now_s, generation=sight.generation),
        pods=sum(region.pods for region in regions),
        ready_pods=sum(region.ready for region in regions),
        regions=regions[:REGIONS_MAX],
        burn_rates=rates,
        open_incidents=sight.open_incidents,
        metrics_spelling=cut(sight.data.spelling, 64),
        last_decision=sight.last_decision or previous.last_decision,
    )


def decision_status(kind: str, reason: str, *, incident: str, at_s: float) -> DecisionStatus:
    """The newest decision as a status shows it."""
    return DecisionStatus(
        at=rfc3339(at_s), kind=kind, incident=incident, reason=cut(reason, TEXT_MAX)
    )


def worth_writing(new: FleetStatus, old: FleetStatus, *, age_s: float) -> bool:
    """Whether to write now: what matters at once, numbers that only move now and then.

    Args:
        age_s: since the last write.
    """
    if replace(new, observed_at=old.observed_at) == old:
        return age_s >= ALIVE_S
    if age_s < URGENT_S:
        return False
    moved = (new.pods, new.ready_pods, new.regions) != (old.pods, old.ready_pods, old.regions)
    return age_s >= QUIET_S or (moved and age_s >= NUMBERS_S) or _loud(new) != _loud(old)


def _loud(status: FleetStatus) -> tuple[object, ...]:
    """What a person waits for."""
    conditions = tuple((c.type, c.status, c.reason) for c in status.conditions)
    decided = status.last_decision and (status.last_decision.kind, status.last_decision.incident)
    return conditions, status.observed_generation, status.open_incidents, decided


def _ready(sight: FleetSight) -> Observed:
    if sight.fault:
        status, reason, text = NO, sight.fault_reason, sight.fault
    elif sight.step_fault:
        text = f"a step failed by a fault of the operator, whose log says more: {sight.step_fault}"
        status, reason = NO, "StepFailed"
    elif sight.stale:
        status, reason, text = NO, "ClusterNotSeen", f"the cluster is not seen: {sight.stale}"
    elif sight.unmatched and not sight.pods:
        status, reason, text = NO, "NoPods", sight.unmatched
    else:
        status, reason, text = YES, "Watching", f"{len(sight.pods)} pods are watched"
    return Observed(type="Ready", status=status, reason=reason, message=text)


def _fresh(sight: FleetSight) -> Observed:
    data = sight.data
    if data.reason == "NotRead":
        status, text = UNKNOWN, data.detail or "no metrics were read yet"
    else:
        status = YES if data.reason == "Fresh" else NO
        text = data.detail or AS_SCRAPED
    return Observed(type="DataFresh", status=status, reason=data.reason, message=text)


def _slo(sight: FleetSight, rates: Sequence[BurnRateStatus]) -> Observed:
    by_key: dict[tuple[str, str], dict[str, float]] = {}
    for rate in rates:
        by_key.setdefault((rate.region, rate.slo), {})[rate.window] = rate.rate
    burning = {k: r for k, r in by_key.items() if len(r) == len(WINDOWS) and min(r.values()) > 1.0}
    if sight.open_incidents:
        many = sight.open_incidents > 1
        told = f"{sight.open_incidents} incident{'s are' if many else ' is'} open"
        status, reason, text = NO, "IncidentOpen", told
    elif sight.data.reason != "Fresh":
        status, reason, text = UNKNOWN, "NotMeasured", "what users get is not known at present"
    elif burning:
        (region, slo), worst = max(burning.items(), key=lambda item: max(item[1].values()))
        text = f"{region}/{slo} spends its error budget {min(worst.values()):.1f} times too fast"
        status, reason = NO, "BudgetBurns"
    elif not by_key:
        status, reason, text = UNKNOWN, "NotMeasured", "no requests with an SLO class are measured"
    else:
        status, reason = YES, "WithinBudget"
        text = f"{len(by_key)} pairs of region and class are within their error budgets"
    return Observed(type="SLOMet", status=status, reason=reason, message=text)


def _acting(sight: FleetSight) -> Observed:
    spec = sight.spec
    if spec.mode is Mode.ACT:
        reason = "NotAvailable"
        text = "mode Act is not available in this release; the fleet is treated as in Recommend"
    elif spec.mode is Mode.RECOMMEND:
        reason, text = "Recommend", "actions are recommended with their exact patch, none is taken"
    else:
        reason, text = "Observe", "nothing but midwatch's own objects is written"
    if spec.frozen:
        why = f": {spec.freeze_reason}" if spec.freeze_reason else ""
        reason, text = "Frozen", f"frozen, nothing is proposed{why}"
    return Observed(type="Acting", status=NO, reason=reason, message=text)


def _diagnosing(sight: FleetSight) -> Observed:
    if sight.worker_trouble:
        text = f"no cause can be named: {sight.worker_trouble}"
        return Observed(type="Diagnosing", status=NO, reason="WorkerSilent", message=text)
    if sight.diagnosis_trouble and sight.open_incidents:
        text = f"the last question got no answer: {sight.diagnosis_trouble}"
        return Observed(type="Diagnosing", status=NO, reason="NoAnswer", message=text)
    text = "the worker is asked when users suffer"
    return Observed(type="Diagnosing", status=YES, reason="WorkerAnswers", message=text)


def _rights(sight: FleetSight) -> Observed:
    if not sight.missing_rights:
        text = "every right that was used so far is granted"
        return Observed(type="Authorized", status=YES, reason="Granted", message=text)
    text = f"the API server refuses: {'; '.join(sight.missing_rights)}; bind the shipped roles"
    return Observed(type="Authorized", status=NO, reason="RightMissing", message=text)


def _recorded(record: RecordSight) -> Observed:
    if record.refused:
        status, reason, text = NO, "NotWritten", f"not written yet: {record.refused}"
    elif record.given_up:
        many = "s were" if record.given_up > 1 else " was"
        text = f"the end of {record.given_up} incident{many} never written; see the operator's log"
        status, reason = NO, "GivenUp"
    elif record.extras:
        status, reason = NO, "ReportNotWritten"
        text = f"reports or Events are not written yet: {record.extras}"
    else:
        status, reason, text = YES, "Written", "everything that was decided is stored"
    return Observed(type="Recorded", status=status, reason=reason, message=text)


def _regions(sight: FleetSight) -> list[RegionStatus]:
    names = sorted({pod.region for pod in sight.pods} | set(sight.spec.regions))
    return [
        RegionStatus(
            name=cut(name, 63),
            pods=sum(pod.region == name for pod in sight.pods),
            ready=sum(pod.region == name and pod.ready for pod in sight.pods),
        )
        for name in names
    ]


def _burn_rates(meter: SloMeter | None) -> list[BurnRateStatus]:
    """Rates with two digits: their noise is not worth a write."""
    if meter is None:
        return []
    found = []
    for window, span_s in WINDOWS:
        for (region, slo), rate in zip(meter.keys, burn_rates(meter, span_s=span_s), strict=True):
            if isfinite(rate):
                shown = float(f"{max(float(rate), 0.0):.2g}")
                found.append(
                    BurnRateStatus(
                        slo=cut(slo, 63), region=cut(region, 63), window=window, rate=shown
                    )
                )
    return sorted(found, key=lambda r: (r.region, r.slo, r.window))[:BURN_RATES_MAX]
