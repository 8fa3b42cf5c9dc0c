"""The incident of the invented run whose cause was named."""

from __future__ import annotations

from ops.reports import (
    Calibration,
    Candidate,
    Cause,
    Change,
    Command,
    DoneAction,
    EvidenceSeries,
    Finding,
    IncidentReport,
    Lane,
    LostMinutes,
    MissingData,
    Step,
)
from ops.state import IncidentPhase, Verdict
from rca.state import Entity, ResourceClass
from tests.ops.reports.sample_parts import arcs, changes, lane, marks, nodes, series


def named() -> IncidentReport:
    return IncidentReport(
        incident_id="inc-0007",
        phase=IncidentPhase.MITIGATED,
        began_at_s=2135.0,
        first_miss_s=2175.0,
        detected_at_s=2185.0,
        diagnosed_at_s=2205.0,
        mitigated_at_s=2340.0,
        phase_at_s=2340.0,
        now="Users are well. The fault is masked by what is still in force: 117 of session-store "
        "in eu-west.",
        now_at_s=2340.0,
        page_at_s=3040.0,
        cause=cause(),
        candidates=candidates(),
        findings=findings(),
        lanes=lanes(),
        changes=(
            Change(
                at_s=2050.0,
                title="config session-store 117 → 118",
                region="eu-west",
                suspect=True,
                why="85 s before onset, same service",
            ),
            *changes(),
        ),
        next_step=tonight(),
        morning=in_the_morning(),
        done=done(),
        stop=stop(),
        marks=marks(),
        nodes=nodes(),
        arcs=arcs(),
        series=all_series(),
        lost=LostMinutes(
            with_loop=1.6,
            without=18.4,
            oracle=0.5,
            references=(("Restart what looks worst", 21.9),),
        ),
        missing=(
            MissingData(
                what="session_store_pool_in_use",
                since="not collected in eu-west",
                cost="The pool is inferred from calls in flight.",
                settles="8 of 8 in use on each pod from 02:05:35.",
            ),
        ),
        checked=("41 of 1,296 series moved", "4 changes", "61 Kubernetes events"),
        would_settle=("session_store_pool_in_use",),
    )


def cause() -> Cause:
    store = Entity.parse("service:eu-west/session-store")
    return Cause(
        entity=store,
        resource_class=ResourceClass.POOL,
        confidence=0.82,
        onset_s=2135.0,
        calibration=Calibration(hits=44, cases=53, source="from the sweep"),
    )


def findings() -> tuple[Finding, ...]:
    return (
        Finding(
            label="calls to session-db in flight",
            before=30.0,
            after=24.0,
            unit="",
            text="Flat at 3 pods × 8, the new limit, from 02:05:35.",
        ),
        Finding(
            label="gateway call time to session-store, p99",
            before=0.21,
            after=2.4,
            unit="s",
            text="The database itself stays at 150 ms.",
        ),
    )


def lanes() -> tuple[Lane, ...]:
    bad = {36: 0.28, 37: 0.83, 38: 0.6}
    without = {m: min(0.9, 0.3 * (m - 35)) for m in range(36, 67)}
    return (
        lane(
            "eu-west",
            "interactive",
            0.46,
            bad,
            without,
            requests_hit=4098,
            requests_bad=2336,
            limit="TTFT 1.5 s",
            tie="explained by the cause",
        ),
        lane(
            "eu-west",
            "batch",
            0.09,
            {37: 0.31, 38: 0.4},
            dict(list(without.items())[2:]),
            tie="explained by the cause",
        ),
        lane("us-east", "interactive", 0.37, {}, dict.fromkeys(range(42, 46), 0.04)),
        lane("us-east", "batch", 0.08, {}, {}),
    )


def tonight() -> Step:
    return Step(
        title="Pause 118 in us-east.",
        detail="Its wave 2 is due there at 02:45. No running pod changes.",
        commands=(
            Command(
                label="Run",
                text="kubectl --context us-east -n chat rollout pause deploy/session-store",
            ),
            Command(
                label="Undo",
                text="kubectl --context us-east -n chat rollout resume deploy/session-store",
            ),
            Command(
                label="Undo",
                text="kubectl --context eu-west -n chat rollout undo deployment/session-store"
                "  # to 118, brings the fault back",
            ),
        ),
    )


def in_the_morning() -> Step:
    return Step(
        title="Find out why 118 cut the pool before it is rolled out again.",
        commands=(
            Command(
                label="Query",
                text='session_db_calls_in_flight{region="eu-west"}[28m] @ 1773713640',
            ),
        ),
    )


def done() -> tuple[DoneAction, ...]:
    return (
        DoneAction(
            at_s=2215.0,
            title="rolled session-store in eu-west back to 117",
            verdict=Verdict.EFFECTIVE,
            verdict_reason="TTFT p99 3.1 → 0.64 s",
            checked_at_s=2520.0,
            undo="roll it forward to 118",
            undo_command="kubectl --context eu-west -n chat rollout undo "
            "deployment/session-store --to-revision=118",
            undo_note="brings the fault back",
        ),
    )


def stop() -> Step:
    return Step(
        title="Freeze every action of midwatch in this fleet.",
        commands=(
            Command(label="Run", text="kubectl midwatch freeze chat"),
            Command(label="Undo", text="kubectl midwatch unfreeze chat"),
        ),
    )


def candidates() -> tuple[Candidate, ...]:
    rows = (
        (
            "service:eu-west/session-db",
            ResourceClass.LOAD,
            0.09,
            "Callee of the cause",
            "Call time p99 148 → 151 ms; calls fell from 200 to 160/s",
        ),
        (
            "service:eu-west/tokenizer",
            ResourceClass.CODE,
            0.04,
            "Change closest to the first miss",
            "30 s after the onset; call time p99 3.1 → 3.2 ms",
        ),
        (
            "workload:eu-west",
            ResourceClass.LOAD,
            0.01,
            "Requests in progress rose",
            "Arrivals 27.2 → 27.4/s, forecast 24 to 31/s",
        ),
        (
            "link:eu-west/gateway->session-store",
            ResourceClass.NETWORK,
            0.01,
            "Calls on it slowed",
            "No drops before or after; auth slowed alike over other nodes",
        ),
    )
    return tuple(
        Candidate(
            entity=Entity.parse(entity),
            resource_class=resource,
            confidence=confidence,
            suspected=why,
            ruled_out=out,
        )
        for entity, resource, confidence, why, out in rows
    )


def all_series() -> tuple[EvidenceSeries, ...]:
    return (
        series(
            "session-store → session-db",
            "",
            base=30.0,
            peak=24.0,
            onset=2135.0,
            detail="calls in flight, 3 pods",
            limit=24.0,
            limit_label="3 pods × 8 = 24",
            score=4.6,
        ),
        series(
            "gateway → session-store",
            "s",
            base=0.21,
            peak=2.4,
            onset=2140.0,
            detail="call time p99",
            limit=2.5,
            limit_label="timeout 2.5 s",
            score=4.4,
        ),
        series(
            "gateway",
            "",
            base=126.0,
            peak=193.0,
            onset=2150.0,
            detail="requests in progress",
            score=3.1,
        ),
        series(
            "engines, eu-west",
            "",
            base=118.0,
            peak=84.0,
            onset=2165.0,
            detail="running requests, 9 instances",
            score=2.9,
            gap=(2470.0, 2500.0),
        ),
        series(
            "eu-west interactive",
            "s",
            base=0.62,
            peak=3.1,
            onset=2170.0,
            detail="TTFT p99 at the gateway",
            limit=1.5,
            limit_label="limit 1.5 s",
            score=3.8,
        ),
        series("session-db", "s", base=0.15, detail="call time p99", score=0.3),
        series("GPUs, eu-west", "MHz", base=1755.0, detail="SM clock, median of 9", score=0.0),
    )
