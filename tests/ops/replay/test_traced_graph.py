"""Traces of sampled requests: they tell what happened and change nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from ops.catalogue import Catalogue
from ops.encode import to_json
from ops.replay.run import World
from ops.replay.scenario import FaultSpec
from ops.replay.scenarios import load_embedded
from ops.replay.services import ServiceGraph
from ops.replay.traced_graph import TracedGraph, TraceLog
from ops.replay.traffic import Traffic

SEED, RATE_RPS, FAULT_S, END_S = 3, 4.0, 40.0, 80.0


def ran(kind="", target="", *, traced=True, ratio=1.0, severity=1.5, **log_times):
    faults = (
        FaultSpec(kind=kind, start_s=FAULT_S, length_s=60.0, target=target, severity=severity),
    )
    scenario = replace(
        load_embedded("small"), faults=faults if kind else (), duration_s=120.0, warmup_s=20.0
    )
    log = TraceLog(seed=SEED, ratio=ratio, **({"from_s": 0.0, "to_s": END_S} | log_times))
    world = World(
        scenario, Traffic.open(scenario, seed=SEED), seed=SEED, rate_rps=RATE_RPS,
        controller=None, catalogue=Catalogue.load(),
        graph=partial(TracedGraph, log=log) if traced else ServiceGraph,
    )  # fmt: skip
    world.run(until_s=END_S, check=True)
    return world, log


@pytest.fixture(scope="module")
def healthy():
    return ran()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pod-kill", "slow-link", "pool-exhaustion"])
def test_a_world_is_the_same_whether_it_is_traced_or_not(kind):
    told, log = ran(kind)
    plain, _ = ran(kind, traced=False)
    assert log.spans
    assert to_json(told.record().ledger) == to_json(plain.record().ledger)
    assert told.record().judged == plain.record().judged
    one, other = told.fleet.snapshot().frame, plain.fleet.snapshot().frame
    assert one.series == other.series
    assert one.values.tobytes() == other.values.tobytes()


def test_spans_of_a_healthy_fleet_are_trees_in_which_callers_contain_callees(healthy):
    _, log = healthy
    spans = {s.span: s for s in log.spans}
    assert len(spans) == len(log.spans) > 500
    for span in log.spans:
        above = spans.get(span.parent)
        if span.parent < 0:
            assert (span.service, span.operation) == ("gateway", "serve")
        elif above is not None:  # its caller had not ended when the recording did
            assert above.trace == span.trace
            assert above.start_s <= span.start_s
            assert above.start_s + above.duration_s >= span.start_s + span.duration_s - 1e-9
            crosses = span.operation in ("serve", "generate")
            assert (above.service != span.service) == crosses
    assert {s.operation for s in log.spans} == {
        "serve", "generate", "call auth", "call retrieval", "call llm",
    }  # fmt: skip


def test_a_finished_trace_has_two_spans_a_call(healthy):
    _, log = healthy
    whole = {s.trace for s in log.spans if s.parent < 0}
    sizes = Counter(s.trace for s in log.spans)
    assert {sizes[t] for t in whole} == {7}  # the root and three calls


def test_only_the_share_and_the_time_that_are_asked_for_are_traced(healthy):
    _, everything = healthy
    _, some = ran(ratio=0.25, from_s=30.0, to_s=60.0)
    roots = [s for s in some.spans if s.parent < 0]
    assert (
        0
        < len(roots)
        < 0.3 * sum(30.0 <= s.start_s < 60.0 for s in everything.spans if s.parent < 0)
    )
    assert all(30.0 <= s.start_s < 60.0 for s in roots)


def test_exceptions_are_told_by_the_service_and_failures_by_its_caller():
    _, log = ran("bad-code", "service:home/auth")
    told = Counter((x.service, x.message) for x in log.lines if " served in " not in x.message)
    assert told[("auth", "ERROR request failed: exception in its handler")] > 5
    assert told[("gateway", "WARN call to auth failed with 500")] > 5
    assert not [x for x in log.lines if "exception" in x.message and x.service != "auth"]
    assert not [x for x in log.lines if "WARN" in x.message and x.at_s < FAULT_S]


def test_a_full_pool_shows_in_the_callers_span_and_line():
    _, log = ran("pool-exhaustion", "service:home/gateway")
    waits = [s for s in log.spans if s.service == "gateway" and s.operation.startswith("call ")]
    assert max(s.duration_s for s in waits if s.start_s > FAULT_S) > 0.0
    assert any("no free connection" in x.message for x in log.lines) or any(
        s.duration_s > 1.0 for s in waits
    )


def test_a_killed_process_loses_the_spans_it_held(healthy):
    _, log = ran("pod-kill", "service:home/llm")
    served = {s.parent for s in log.spans if s.operation == "generate"}
    lost = [s for s in log.spans if s.operation == "call llm" and s.span not in served]
    assert lost
    assert {x.message for x in log.lines if x.message.startswith("WARN call to llm")}
    _, before = healthy
    served = {s.parent for s in before.spans if s.operation == "generate"}
    assert not [s for s in before.spans if s.operation == "call llm" and s.span not in served]
