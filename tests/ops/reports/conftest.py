"""A sample run with invented data, and the outputs that are stored of it.

`pytest tests/ops/reports --update-golden` writes what the renderers give now; read the diff.
"""

from __future__ import annotations

import math
import re
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ops.reports import (
    Calibration,
    Candidate,
    Cause,
    Change,
    ClockBase,
    Command,
    DoneAction,
    EvidenceSeries,
    Finding,
    IncidentReport,
    Lane,
    LostMinutes,
    Mark,
    MarkKind,
    MissingData,
    RequestLedger,
    RunReport,
    SpreadArc,
    SpreadNode,
    SpreadRole,
    Step,
)
from ops.state import IncidentPhase, Verdict
from rca.incident import Column, Incident, Logs, Spans
from rca.state import Entity, ResourceClass

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "reports"
NIGHT = ClockBase(epoch_s=1773711000.0)  # 17 Mar 2026 01:30:00 UTC


@pytest.fixture
def golden(request):
    """Gives the stored copy of a text, after storing it where that is asked for."""

    def stored(name: str, text: str) -> str:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing; run pytest tests/ops/reports --update-golden"
        return path.read_text(encoding="utf-8")

    return stored


@pytest.fixture
def sample_run():
    """Builds the run that is asked for: "named", "abstained", "healthy" or "two"."""
    return build_run


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


def lane(region, slo_class, share, with_loop, without, **more) -> Lane:
    def minutes(bad):
        quiet = [0.001 + 0.002 * ((7 * m + len(slo_class)) % 3) for m in range(70)]
        return tuple(bad.get(m, quiet[m]) for m in range(70))

    return Lane(
        region=region,
        slo_class=slo_class,
        traffic_ratio=share,
        start_s=0.0,
        bad_with=minutes(with_loop),
        bad_without=minutes(without),
        **more,
    )


def changes() -> tuple[Change, ...]:
    return (
        Change(at_s=660.0, title="flag long-context 5 %", region="us-east", why="other region"),
        Change(at_s=1350.0, title="scale engines 8 → 9", region="eu-west", why="nothing followed"),
        Change(
            at_s=2165.0,
            title="deploy tokenizer 2.3.1",
            region="eu-west",
            why="30 s after onset",
        ),
    )


def series(label, unit, *, base, peak=None, onset=None, detail="", gap=None, **more):
    """Noise around `base`; from `onset` to the roll-back at 2215 s a ramp to `peak` and back."""
    rng = np.random.default_rng(list(label.encode()))
    times = np.arange(1920.0, 2645.0, 5.0)
    values = base * (1 + 0.03 * rng.standard_normal(len(times)))
    if peak is not None:
        up = np.clip((times - onset) / 50.0, 0, 1) * np.clip((2340.0 - times) / 90.0, 0, 1)
        values = values + (peak - base) * up
    if gap is not None:
        values[(times >= gap[0]) & (times < gap[1])] = math.nan
    return EvidenceSeries(
        label=label,
        unit=unit,
        detail=detail,
        times_s=tuple(float(t) for t in times),
        values=tuple(round(float(v), 4) for v in values),
        normal_low=round(base * 0.95, 4),
        normal_high=round(base * 1.05, 4),
        onset_s=onset,
        before=base,
        after=peak if peak is not None else round(base * 1.01, 4),
        **more,
    )


def named() -> IncidentReport:
    store = Entity.parse("service:eu-west/session-store")
    bad = {36: 0.28, 37: 0.83, 38: 0.6}
    without = {m: min(0.9, 0.3 * (m - 35)) for m in range(36, 67)}
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
        cause=Cause(
            entity=store,
            resource_class=ResourceClass.POOL,
            confidence=0.82,
            onset_s=2135.0,
            calibration=Calibration(hits=44, cases=53, source="from the sweep"),
        ),
        candidates=candidates(),
        findings=(
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
        ),
        lanes=(
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
        ),
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
        next_step=Step(
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
        ),
        morning=Step(
            title="Find out why 118 cut the pool before it is rolled out again.",
            commands=(
                Command(
                    label="Query",
                    text='session_db_calls_in_flight{region="eu-west"}[28m] @ 1773713640',
                ),
            ),
        ),
        done=(
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
        ),
        stop=Step(
            title="Freeze every action of midwatch in this fleet.",
            commands=(
                Command(label="Run", text="kubectl midwatch freeze chat"),
                Command(label="Undo", text="kubectl midwatch unfreeze chat"),
            ),
        ),
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


def marks() -> tuple[Mark, ...]:
    rows = (
        (660.0, MarkKind.CHANGE, "flag long-context 5 %, us-east"),
        (1350.0, MarkKind.CHANGE, "scale engines 8 → 9, eu-west"),
        (2050.0, MarkKind.CHANGE, "config session-store 117 → 118, eu-west"),
        (2135.0, MarkKind.BEGAN, "session-store: calls to session-db flat at 24"),
        (2165.0, MarkKind.CHANGE, "deploy tokenizer 2.3.1, eu-west"),
        (2175.0, MarkKind.SLO_MISS, "eu-west interactive: TTFT p99 above 1.5 s"),
        (2185.0, MarkKind.DETECTED, "41 of 1,296 series changed together"),
        (2205.0, MarkKind.DIAGNOSED, "session-store, connection pool, confidence 0.82"),
        (2215.0, MarkKind.ACTION, "roll back session-store in eu-west, 118 → 117"),
        (2340.0, MarkKind.MITIGATED, "first minute within SLO in all four lanes"),
        (2520.0, MarkKind.OUTCOME, "Effective: TTFT p99 0.64 s"),
        (3040.0, MarkKind.PAGE, "14.4× page, in the same run without midwatch"),
    )
    return tuple(Mark(at_s=at_s, kind=kind, text=text) for at_s, kind, text in rows)


def nodes() -> tuple[SpreadNode, ...]:
    rows = (
        ("r118", "config session-store 118", SpreadRole.CHANGE, 2050.0, ""),
        ("store", "session-store", SpreadRole.CAUSE, 2135.0, "connection pool"),
        ("auth", "auth", SpreadRole.VICTIM, 2145.0, ""),
        ("gateway", "gateway", SpreadRole.VICTIM, 2150.0, ""),
        ("engines", "engines, eu-west", SpreadRole.VICTIM, 2165.0, "starved"),
        ("euwi", "eu-west interactive", SpreadRole.SLO_MISS, 2175.0, ""),
        ("euwb", "eu-west batch", SpreadRole.SLO_MISS, 2220.0, ""),
    )
    return tuple(
        SpreadNode(key=key, name=name, role=role, onset_s=onset_s, detail=detail)
        for key, name, role, onset_s, detail in rows
    )


def arcs() -> tuple[SpreadArc, ...]:
    rows = (
        ("r118", "store", "85 s after the change began, same service.", False),
        ("store", "auth", "Waits for session-store: p99 90 ms → 2.4 s. Arc 0.58.", True),
        ("store", "gateway", "Waits for session-store: p99 0.21 → 2.4 s. Arc 0.61.", True),
        ("auth", "gateway", "Waits for auth: arc 0.19.", True),
        ("gateway", "engines", "Called by gateway: running 118 → 84. Arc 0.33.", True),
        ("gateway", "euwi", "Served by gateway: TTFT p99 0.62 → 3.1 s. Arc 0.66.", True),
        ("gateway", "euwb", "Served by gateway: TTFT p99 1.1 → 8.6 s. Arc 0.41.", True),
    )
    return tuple(
        SpreadArc(cause=a, effect=b, text=text, measured=measured) for a, b, text, measured in rows
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
STAMP = 1_800_000_000.0  # 15 Jan 2027
SHOP = ("ads", "cart", "front", "mail", "pay", "stock")
SHOP_CALLS = (("front", "ads"), ("front", "cart"), ("cart", "stock"), ("front", "pay"))
SHOP_LEVELS = {"cpu": 0.2, "mem": 2e8, "latency-90": 0.04, "load": 30.0}


@pytest.fixture
def shop():
    """Draws a recorded incident of a small shop; see `_shop` for what can be broken."""
    return _shop


def _shop(
    *,
    broken=(("pay", "cpu", 4.0),),
    services=SHOP,
    step_s=10.0,
    start_s=STAMP,
    lag_rows=(),
    gap=(),
    calls=SHOP_CALLS,
    users=True,
    traces=False,
    slow="",
    seed=0,
    **more,
):
    """Rows of every service at rest, with noise of 2 %, and what is broken from row 90 on.

    Args:
        broken: (service, metric, factor); lag_rows: (service, rows later than the others).
        gap: (service, metric) without any sample since row 80.
        traces: with spans and logs, in which `slow` is slow by itself and writes error lines.
    """
    rng = np.random.default_rng(seed)
    columns = [Column(s, m) for s in services for m in SHOP_LEVELS]
    values = np.array([SHOP_LEVELS[c.metric] for c in columns])
    values = values * rng.normal(1.0, 0.02, (ROWS, len(columns)))
    if users:
        columns.append(Column("sli", "latency-90"))
        values = np.hstack([values, rng.normal(0.2, 0.004, (ROWS, 1))])
        if broken:
            values[FAULT_ROW:, -1] *= 5.0
    place = {(c.owner, c.metric): n for n, c in enumerate(columns)}
    late = dict(lag_rows)
    for service, metric, factor in broken:
        values[FAULT_ROW + late.get(service, 0) :, place[service, metric]] *= factor
    if gap:
        values[80:, place[gap]] = np.nan
    spans, logs, fault_free = None, None, {}
    fault_at_s = start_s + step_s * FAULT_ROW
    if traces:
        spans, logs = _records(services, calls, fault_at_s, slow, seed)
        quiet = _records(services, calls, 0.0, "", seed + 1)
        fault_free = {"normal_spans": (quiet[0],), "normal_logs": (quiet[1],)}
    fields = {
        "incident_id": "made",
        "times_s": start_s + step_s * np.arange(ROWS),
        "values": values,
        "columns": tuple(columns),
        "step_s": step_s,
        "fault_at_s": fault_at_s,
        "calls": tuple(c for c in calls if set(c) <= set(services)),
        "spans": spans,
        "logs": logs,
    }
    return Incident(**(fields | fault_free | more))


def _records(services, calls, start_s, slow, seed):
    """60 requests through the call graph; each service writes one line a visit."""
    rng = np.random.default_rng([seed, 9])
    callees = {s: [b for a, b in calls if a == s] for s in services}
    root = next(iter(dict(calls)))
    rows, lines = [], []

    def visit(service, trace, parent, at_s):
        number = len(rows)
        rows.append([at_s, trace, number, parent, services.index(service), 0.0])
        own = 0.002 * rng.lognormal(0.0, 0.1) * (20.0 if service == slow else 1.0)
        lines.append((at_s, services.index(service), trace, f"served request {number}"))
        if service == slow:
            lines.append((at_s, services.index(service), trace, "ERROR backend refused it"))
        spent = own + sum(visit(c, trace, number, at_s) for c in callees[service])
        rows[number][5] = spent
        return spent

    for trace in range(60):
        visit(root, trace, -1, start_s + 2.0 * trace)
    table = np.array(rows)
    whole = table[:, 1:5].astype(np.int64)
    spans = Spans(
        start_s=table[:, 0], trace=whole[:, 0], span=whole[:, 1], parent=whole[:, 2],
        service=whole[:, 3], operation=whole[:, 3], duration_s=table[:, 5],
        services=tuple(services), operations=tuple(f"{s}/serve" for s in services),
    )  # fmt: skip
    logs = Logs(
        at_s=np.array([line[0] for line in lines]),
        service=np.array([line[1] for line in lines]),
        trace=np.array([line[2] for line in lines]),
        messages=tuple(line[3] for line in lines),
        services=tuple(services),
    )
    return spans, logs


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--virtual-time-budget=5000",
)
PAPER = {"light": (255, 255, 255), "dark": (14, 19, 24)}
WIDTHS = (1440, 1000, 390)
MEASURE = """<script>
addEventListener('load',function(){document.querySelectorAll('iframe').forEach(function(f){
  var d=f.contentDocument;d.querySelectorAll('details').forEach(function(e){e.open=true;});
  f.dataset.over=d.scrollingElement.scrollWidth-f.clientWidth;
  f.dataset.js=d.documentElement.className;});});
</script>"""


def _chromium(tmp_path, page, *flags, width=1440, height=2400):
    done = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},{height}",
            *flags,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _pixels(path):
    """(width, height, first pixel, different bytes) of a PNG; the first pixel has no filter."""
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    body, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    raw = zlib.decompress(body)
    return width, height, tuple(raw[1:4]), len(set(raw))


def _assert_fits(folder, pages):
    """No page, by kind, is wider than desktop, tablet or phone; the pinned script runs in each."""
    frames = []
    for kind, page in pages.items():
        (folder / f"{kind}.html").write_text(page, encoding="utf-8")
        frames += [
            f'<iframe title="{kind} {width}" src="{kind}.html" '
            f'style="width:{width}px;height:900px;border:0"></iframe>'
            for width in WIDTHS
        ]
    wrapper = folder / "all.html"
    wrapper.write_text(f"<!doctype html>{MEASURE}{''.join(frames)}", encoding="utf-8")
    dom = _chromium(folder, wrapper, "--dump-dom")
    found = re.findall(r'<iframe title="([^"]+)"[^>]*data-over="(-?\d+)" data-js="(\w*)"', dom)
    assert len(found) == len(frames)
    assert [row for row in found if int(row[1]) > 0] == []
    assert {row[2] for row in found} == {"js"}, "the pinned script did not run"


@pytest.fixture
def browser():
    """Headless Chromium; without one the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("chromium is not on PATH")
    return SimpleNamespace(
        run=_chromium, pixels=_pixels, measure=MEASURE, paper=PAPER, assert_fits=_assert_fits
    )
