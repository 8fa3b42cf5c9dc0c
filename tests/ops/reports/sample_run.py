"""An invented run: one incident with a cause, one soon over, one without a cause."""

from __future__ import annotations

import math
from dataclasses import replace

from ops.reports import (
    Candidate,
    Cause,
    Command,
    DoneAction,
    Finding,
    IncidentReport,
    Lane,
    LostMinutes,
    Mark,
    MarkKind,
    MissingData,
    RequestLedger,
    RunReport,
    Step,
)
from ops.state import IncidentPhase, Verdict
from rca.state import Entity, ResourceClass
from tests.ops.reports.sample_named import candidates, named
from tests.ops.reports.sample_parts import NIGHT, changes, lane, series


def build_run(kind: str) -> RunReport:
    incidents = {
        "named": (named(),),
        "abstained": (abstained(),),
        "healthy": (),
        "two": (named(), second()),
    }[kind]
    bad = incidents[0].lanes if incidents else quiet_lanes()
    return RunReport(
        fleet="chat",
        clock=NIGHT,
        duration_s=4200.0,
        seed=7,
        load=0.7,
        ledger=RequestLedger(
            arrived=114_203,
            ok=112_870,
            failed=214,
            timed_out=391,
            rejected=120,
            cancelled=602,
            in_flight=6,
            attempts=114_988,
            retries=785,
        ),
        lanes=bad,
        changes=tuple(replace(item, why="no series moved with it") for item in changes()),
        incidents=incidents,
        commands=(
            Command(label="Replay", text="midwatch replay inc-0007.tar --seed 7 --out replay-0007"),
            Command(
                label="Without",
                text="midwatch replay inc-0007.tar --seed 7 --only without --out without-0007",
            ),
        ),
        replay_note="Expected: journal sha256 3f9c41d8…a07e. The truth is kept apart.",
        versions=(
            ("Made by", "midwatch 0.1.0, commit 9d1f2ab, Python 3.11.7"),
            ("World", "simulated fleet, scenario chat.toml, 2 regions, 17 instances"),
            ("Input", "1,296 series every 5 s; metrics, mesh calls, changes, Kubernetes events"),
            ("Confidence from", "sweep, 150 incidents, 15 fault kinds, seeds 1000 to 1009"),
        ),
        watched=("1,296 series", "4 changes", "61 Kubernetes events", "burn rates of 4 lanes"),
        report_path="out/demo/report.html",
        sample=True,
    )


def quiet_lanes() -> tuple[Lane, ...]:
    return (
        lane("eu-west", "interactive", 0.46, {}, {}),
        lane("eu-west", "batch", 0.09, {}, {}),
        lane("us-east", "interactive", 0.37, {}, {}),
        lane("us-east", "batch", 0.08, {}, {}),
    )


def second() -> IncidentReport:
    """A slow GPU in the other region, five minutes later; the action did not help yet."""
    pod = Entity.parse("pod:us-east/engine-7c9f")
    first = named()
    shift = 600.0
    clock = series("engine-7c9f", "MHz", base=1410.0, peak=705.0, onset=2135.0, detail="GPU clock")
    return replace(
        first,
        incident_id="inc-0008",
        phase=IncidentPhase.DIAGNOSED,
        began_at_s=first.began_at_s + shift,
        first_miss_s=first.first_miss_s + shift,
        detected_at_s=first.detected_at_s + shift,
        diagnosed_at_s=2820.0,
        mitigated_at_s=None,
        phase_at_s=2820.0,
        now_at_s=4200.0,
        morning=None,
        now="Users are not well yet. The check of what was done is still to come; a person must "
        "look if it fails.",
        page_at_s=None,
        cause=Cause(
            entity=pod, resource_class=ResourceClass.GPU_CLOCK, confidence=0.61, onset_s=2735.0
        ),
        candidates=(),
        findings=(
            Finding(label="GPU clock", before=1410.0, after=705.0, unit="MHz", own=True),
            Finding(label="time per output token, p99", before=0.041, after=0.093, unit="s"),
        ),
        lanes=(lane("us-east", "interactive", 0.37, {46: 0.05, 47: 0.08}, {}),),
        changes=(),
        next_step=Step(
            title="Watch the new pod.", detail="It is ready in about 50 s. Nothing else is safe."
        ),
        done=(
            DoneAction(
                at_s=2830.0,
                title="replaced engine-7c9f in us-east",
                verdict=Verdict.PENDING,
                undo="none needed",
            ),
        ),
        marks=tuple(
            Mark(at_s=m.at_s + shift, kind=m.kind, text="engine-7c9f") for m in first.marks[3:4]
        ),
        nodes=(),
        arcs=(),
        series=(replace(clock, times_s=tuple(t + shift for t in clock.times_s), onset_s=2735.0),),
        lost=None,
        missing=(),
        checked=(),
        would_settle=(),
    )


def abstained() -> IncidentReport:
    """The engines' metrics are missing: no cause can be told apart from a gap."""
    first = named()
    return replace(
        first,
        incident_id="inc-0011",
        phase=IncidentPhase.OPEN,
        phase_at_s=2205.0,
        now_at_s=4200.0,
        morning=None,
        lanes=tuple(
            replace(n, tie="no cause is named" if n.minutes_with() else "") for n in first.lanes
        ),
        now="Users are not well and no cause is named. A person must look.",
        diagnosed_at_s=None,
        mitigated_at_s=None,
        cause=None,
        abstained="Two candidates explain the onset equally well, and the engines' metrics, "
        "which would tell them apart, stopped at 02:04:50.",
        candidates=(
            Candidate(
                entity=Entity.parse("node:eu-west/gpu-node-2"),
                resource_class=ResourceClass.GPU_DEVICE,
                confidence=0.34,
                suspected="Both of its pods slowed together",
            ),
            Candidate(
                entity=Entity.parse("service:eu-west/engine"),
                resource_class=ResourceClass.MEMORY,
                confidence=0.31,
                suspected="Its queue grew before any caller's",
            ),
            *candidates()[2:],
        ),
        findings=first.findings[1:],
        changes=changes(),
        next_step=Step(
            title="Send new requests of eu-west to us-east, 20 %.",
            detail="It helps whichever candidate is right and ends by itself after 30 min.",
            commands=(
                Command(label="Run", text="midwatch act shift-traffic eu-west us-east --share 0.2"),
                Command(label="Undo", text="midwatch act shift-traffic eu-west us-east --share 0"),
            ),
        ),
        done=(),
        marks=tuple(m for m in first.marks if m.kind in (MarkKind.CHANGE, MarkKind.BEGAN)),
        nodes=(),
        arcs=(),
        series=tuple(
            replace(
                item,
                values=tuple(
                    math.nan if item.label.startswith("engines") and t > 2090 else v
                    for t, v in zip(item.times_s, item.values, strict=True)
                ),
            )
            for item in first.series[2:5]
        ),
        lost=LostMinutes(with_loop=18.4, without=18.4),
        missing=(
            MissingData(
                what="engine metrics of eu-west, 9 pods",
                since="02:04:50, no scrape since",
                cost="GPU memory and KV use cannot be seen; two candidates stay equal.",
                settles="KV use above 95 % means memory; an XID error means the device.",
            ),
            MissingData(what="spans", since="not collected", cost="Call order is not checked."),
        ),
        checked=("1,296 series, 38 moved", "3 changes", "61 Kubernetes events", "9 hypotheses"),
        would_settle=(
            "DCGM_FI_DEV_XID_ERRORS of gpu-node-2",
            "vllm:kv_cache_usage_perc in eu-west",
        ),
    )


ROWS, FAULT_ROW = 120, 90
