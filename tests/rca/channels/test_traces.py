"""Span and log channels on made-up traces with one planted cause each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rca.channels.surprise import Split
from rca.channels.trace_tables import template
from rca.channels.traces import channel_names, trace_surprises
from rca.incident import Column, Incident, Logs, Spans

FAULT_S = 60.0
AT_FAULT = Split.at(FAULT_S)
SERVICES = ("cart", "front", "mail", "store")


class Shop:
    """front -> cart -> store and front -> mail; knobs act on traces since the fault."""

    def __init__(self, seed: int, *, traces: int = 60, start_s: float = 0.0, **knobs):
        self.rng = np.random.default_rng(seed)
        self.knobs, self.spans, self.logs = knobs, [], []
        for trace in range(traces):
            at_s = start_s + 2.0 * trace
            self.faulty = at_s >= FAULT_S and bool(knobs)
            self.trace(trace, at_s)

    def knob(self, name):
        return self.knobs.get(name) if self.faulty else None

    def own_s(self, service):
        slow = self.knob("slow")
        factor = 8.0 if slow == service else 1.0
        return factor * 0.01 * self.rng.lognormal(0.0, 0.3)

    def gap_s(self, caller, callee):
        far = self.knob("far")
        return (0.5 if far and far in (caller, callee) else 0.001) * self.rng.lognormal(0.0, 0.3)

    def call(self, trace, parent, caller, callee, at_s, below):
        """A client span in the caller and a server span in the callee; returns the total time."""
        client, server = len(self.spans), len(self.spans) + 1
        self.spans += [None, None]
        inner_s = self.own_s(callee) + below(server)
        outer_s = inner_s + self.gap_s(caller, callee)
        self.spans[client] = (at_s, trace, client, parent, caller, f"call {callee}", outer_s)
        self.spans[server] = (at_s, trace, server, client, callee, f"serve {callee}", inner_s)
        return outer_s

    def trace(self, trace, at_s):
        root = len(self.spans)
        self.spans.append(None)
        early = self.knob("early") == "cart" and self.rng.random() < 0.7
        repeat = 2 if self.knob("retry") == "cart" else 1

        def in_cart(span):
            self.say(trace, at_s, "cart", f"INFO look up basket {trace}")
            if early:
                self.say(trace, at_s, "cart", "INFO nothing to do")
                return 0.0
            times = [self.call(trace, span, "cart", "store", at_s, self.in_store(trace, at_s))
                     for _ in range(repeat)]  # fmt: skip
            self.say(trace, at_s, "cart", "INFO basket [items: 3] ready")
            return sum(times)

        total_s = self.call(trace, root, "front", "cart", at_s, in_cart)
        total_s += self.call(trace, root, "front", "mail", at_s, lambda _: 0.0)
        self.spans[root] = (at_s, trace, root, -1, "front", "GET /", total_s + self.own_s("front"))
        self.say(trace, at_s, "front", f"INFO served {trace} in {total_s:.3f} s")

    def in_store(self, trace, at_s):
        def below(_span):
            if self.knob("error") == "store" and self.rng.random() < 0.5:
                self.say(trace, at_s, "store", f"ERROR connection {trace} refused")
            return 0.0

        return below

    def say(self, trace, at_s, service, text):
        self.logs.append((at_s, trace, service, text))

    def tables(self):
        columns = list(zip(*self.spans, strict=True))
        operations = tuple(sorted(set(columns[5])))
        spans = Spans(
            start_s=np.array(columns[0]),
            trace=np.array(columns[1]),
            span=np.array(columns[2]),
            parent=np.array(columns[3]),
            service=np.array([SERVICES.index(s) for s in columns[4]]),
            operation=np.array([operations.index(o) for o in columns[5]]),
            duration_s=np.array(columns[6]),
            services=SERVICES,
            operations=operations,
        )
        at_s, trace, service, message = zip(*self.logs, strict=True)
        logs = Logs(
            at_s=np.array(at_s),
            trace=np.array(trace),
            service=np.array([SERVICES.index(s) for s in service]),
            messages=message,
            services=SERVICES,
        )
        return spans, logs


def incident(seed=0, **knobs) -> Incident:
    spans, logs = Shop(seed, **knobs).tables()
    quiet_spans, quiet_logs = Shop(seed + 1000, traces=40, start_s=9e6).tables()
    return Incident(
        incident_id="made-up",
        times_s=np.arange(10.0),
        values=np.zeros((10, 1)),
        columns=(Column("front", "cpu"),),
        step_s=1.0,
        fault_at_s=FAULT_S,
        spans=spans,
        logs=logs,
        normal_spans=(quiet_spans,),
        normal_logs=(quiet_logs,),
    )


def by_name(found):
    return {surprise.name: surprise for surprise in found}


@pytest.mark.parametrize(
    ("knobs", "channel", "service"),
    [
        ({"slow": "store"}, "self-time", "store"),
        ({"slow": "mail"}, "self-time", "mail"),
        ({"far": "cart"}, "edges", "cart"),
        ({"early": "cart"}, "structure", "cart"),
        ({"retry": "cart"}, "structure", "cart"),
        ({"early": "cart"}, "sequences", "cart"),
        ({"error": "store"}, "errors", "store"),
    ],
)
def test_each_channel_names_what_was_planted(knobs, channel, service):
    found = by_name(trace_surprises(incident(**knobs), AT_FAULT))[channel]
    ranked = sorted(SERVICES, key=found.relative, reverse=True)
    assert ranked[0] == service
    assert found.relative(service) > 1.5
    assert found.evidence[service][0].channel == channel


def test_a_slow_callee_with_one_caller_shares_the_edge_but_a_slow_caller_does_not():
    far = by_name(trace_surprises(incident(far="front"), AT_FAULT))["edges"]
    assert far.relative("front") > 2.0 * max(far.relative("cart"), far.relative("mail"))


def test_evidence_says_how_often_then_and_now():
    found = by_name(trace_surprises(incident(early="cart"), AT_FAULT))["sequences"]
    text = found.evidence["cart"][0].text
    assert "nothing to do" in text or "basket [*] ready" in text
    assert " of 30, " in text or "before" in text


@pytest.mark.parametrize(
    ("knobs", "channel", "service", "labels", "unit"),
    [
        ({"slow": "store"}, "self-time", "store", {"operation", "service"}, "s"),
        ({"far": "mail"}, "edges", "mail", {"caller", "callee"}, "s"),
        ({"early": "cart"}, "structure", "cart", {"operation", "callee", "called"}, "ratio"),
        ({"early": "cart"}, "sequences", "cart", {"line", "beside"}, "ratio"),
        ({"error": "store"}, "errors", "store", {"line", "service"}, "a trace"),
    ],
)
def test_evidence_says_what_it_is_about_in_units_that_people_read(
    knobs, channel, service, labels, unit
):
    one = by_name(trace_surprises(incident(**knobs), AT_FAULT))[channel].evidence[service][0]
    assert one.series is not None and one.series.name == channel
    assert labels <= {name for name, _ in one.series.labels}
    assert one.unit == unit
    if unit == "s":
        assert 0.0 < one.before < one.after < 10.0
        assert f"{one.after * 1e3:.3g} ms" in one.text


@pytest.mark.slow
def test_healthy_traces_stay_near_their_null():
    above = 0
    for seed in range(20):
        found = trace_surprises(incident(seed=10 + seed), AT_FAULT)
        above += any(s.relative(name) > 1.8 for s in found for name in SERVICES)
    assert above <= 1


def test_identifiers_order_and_names_mean_nothing():
    case = incident(early="cart")
    rng = np.random.default_rng(5)
    rows = rng.permutation(len(case.spans))
    lines = np.arange(len(case.logs))
    renamed = {"cart": "zeta", "front": "alpha", "mail": "beta", "store": "gamma"}
    move = rng.permutation(10_000)
    other = replace(
        case,
        spans=Spans(
            start_s=case.spans.start_s[rows],
            trace=move[case.spans.trace[rows]],
            span=move[case.spans.span[rows]],
            parent=np.where(case.spans.parent[rows] < 0, -1, move[case.spans.parent[rows]]),
            service=case.spans.service[rows],
            operation=case.spans.operation[rows],
            duration_s=case.spans.duration_s[rows],
            services=tuple(renamed[s] for s in case.spans.services),
            operations=case.spans.operations,
        ),
        logs=replace(
            case.logs,
            trace=move[case.logs.trace][lines],
            services=tuple(renamed[s] for s in case.logs.services),
        ),
        normal_spans=(
            replace(
                case.normal_spans[0],
                services=tuple(renamed[s] for s in case.normal_spans[0].services),
            ),
        ),
        normal_logs=(
            replace(
                case.normal_logs[0],
                services=tuple(renamed[s] for s in case.normal_logs[0].services),
            ),
        ),
    )
    for mine, theirs in zip(
        trace_surprises(case, AT_FAULT), trace_surprises(other, AT_FAULT), strict=True
    ):
        for service in SERVICES:
            assert theirs.score[renamed[service]] == pytest.approx(mine.score[service], abs=1e-9)


def test_without_spans_or_logs_the_channels_say_so():
    case = incident(slow="store")
    bare = replace(case, spans=None, logs=None, normal_spans=(), normal_logs=())
    found = trace_surprises(bare, AT_FAULT)
    assert [s.name for s in found] == list(channel_names())
    assert all(s.skipped and not s.score for s in found)
    only_spans = by_name(trace_surprises(replace(case, logs=None, normal_logs=()), AT_FAULT))
    assert only_spans["self-time"].relative("store") > 1.5
    assert "log lines" in only_spans["errors"].skipped


def test_fault_free_blocks_may_be_the_only_normal_time():
    case = incident(slow="store")
    late = case.spans.start_s >= FAULT_S
    spans = replace(case.spans, **{
        name: getattr(case.spans, name)[late]
        for name in ("start_s", "trace", "span", "parent", "service", "operation", "duration_s")
    })  # fmt: skip
    found = by_name(trace_surprises(replace(case, spans=spans, logs=None), AT_FAULT))
    assert found["self-time"].relative("store") > 1.5


def test_lines_without_a_trace_are_grouped_by_service_and_time():
    case = incident(early="cart")
    loose = replace(case.logs, trace=np.full(len(case.logs), -1))
    quiet = replace(case.normal_logs[0], trace=np.full(len(case.normal_logs[0]), -1))
    case = replace(case, logs=loose, normal_logs=(quiet,))
    found = by_name(trace_surprises(case, AT_FAULT))["sequences"]
    assert max(SERVICES, key=found.relative) == "cart"


def test_templates_hide_what_varies():
    one = template("INFO  c.S#12 order 77a3f0c2d9 took 12.5 ms [user: bob, id: 5] on <id>")
    assert one == template("INFO  c.S#12 order 0123abcdef took 3 ms [user: al, id: 9] on <id>")
    assert "#12" in one
    assert "bob" not in one
