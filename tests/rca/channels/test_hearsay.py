"""Callers that suffer from a callee are not accused for it; the deepest trouble is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rca.channels.hearsay import troubled_below, without_hearsay
from rca.channels.surprise import Split
from rca.channels.trace_tables import FAULT, UNUSED, build_tables
from rca.channels.traces import trace_surprises
from rca.incident import Incident, Logs, Spans

CHAIN = ("front", "cart", "store")
SERVICES = tuple(sorted(CHAIN))
FAULT_S = 120.0


def incident(what="", *, share=0.6, seed=1) -> Incident:
    """front -> cart -> store, one trace a second; the store (or the cart) is ill since the fault.

    what: "fails" (writes it), "slow", "silent" (no span of its own), "early" (the cart returns).
    """
    rng = np.random.default_rng(seed)
    spans, lines = [], []

    def call(trace, at_s, depth, parent):
        """Seconds and whether it failed."""
        name = CHAIN[depth]
        ill = bool(what) and at_s >= FAULT_S and rng.random() < share
        last = depth == len(CHAIN) - 1
        number = len(spans)
        spans.append(None)
        seconds, failed = 0.01 * rng.lognormal(0.0, 0.2), False
        if what == "early" and ill and name == "cart":
            lines.append((at_s, trace, name, "ERROR exception in its handler"))
            failed = True
        elif not last:
            client = len(spans)
            spans.append(None)
            if what == "silent" and ill and CHAIN[depth + 1] == "store":
                waited, failed = 1.0, True
            else:
                waited, failed = call(trace, at_s, depth + 1, client)
            spans[client] = (at_s, trace, client, number, name, f"call {CHAIN[depth + 1]}", waited)
            seconds += waited
            if failed:
                lines.append((at_s, trace, name, f"WARN call to {CHAIN[depth + 1]} failed"))
        elif ill and what == "fails":
            lines.append((at_s, trace, name, "ERROR out of disk, write failed"))
            failed = True
        elif ill and what == "slow":
            seconds, failed = 3.0, True
        if not failed:
            lines.append((at_s, trace, name, "INFO done"))
        spans[number] = (at_s, trace, number, parent, name, "serve", seconds)
        return seconds, failed

    for trace in range(240):
        call(trace, float(trace), 0, -1)
    cells = list(zip(*spans, strict=True))
    operations = tuple(sorted(set(cells[5])))
    said = list(zip(*lines, strict=True))
    return Incident(
        incident_id="x", times_s=np.arange(3.0), values=np.empty((3, 0)), columns=(), step_s=1.0,
        fault_at_s=FAULT_S,
        spans=Spans(
            start_s=np.array(cells[0]), trace=np.array(cells[1]), span=np.array(cells[2]),
            parent=np.array(cells[3]), service=np.array([SERVICES.index(s) for s in cells[4]]),
            operation=np.array([operations.index(o) for o in cells[5]]),
            duration_s=np.array(cells[6]), services=SERVICES, operations=operations,
        ),
        logs=Logs(
            at_s=np.array(said[0]), trace=np.array(said[1]),
            service=np.array([SERVICES.index(s) for s in said[2]]), messages=said[3],
            services=SERVICES,
        ),
    )  # fmt: skip


def tables(*args):
    return build_tables(incident(*args), Split.at(FAULT_S))


def scores(one):
    return {s.name: s for s in trace_surprises(one, Split.at(FAULT_S))}


@pytest.mark.parametrize("what", ["fails", "slow", "silent"])
def test_callers_of_the_ill_service_are_left_out_in_the_traces_that_suffer(what):
    found = tables(what)
    below = troubled_below(found)
    late = found.trace_block[found.span_trace] == FAULT
    services = np.array(found.services)[found.span_service]
    for caller in ("front", "cart"):
        share = below[late & (services == caller)].mean()
        assert 0.45 < share < 0.75
    assert not below[services == "store"].any()
    assert below[~late].mean() < 0.02


@pytest.mark.parametrize(("what", "guilty"), [("fails", "store"), ("early", "cart")])
def test_lines_and_missing_calls_accuse_the_deepest_service_alone(what, guilty):
    found = scores(incident(what))
    for name in ("errors", "sequences"):
        relative = {s: found[name].relative(s) for s in CHAIN}
        assert relative[guilty] > 2.0
        assert all(relative[s] < 0.5 * relative[guilty] for s in CHAIN if s != guilty)


def test_a_handler_that_returns_early_is_not_excused_by_the_calls_it_did_not_make():
    found = scores(incident("early"))["structure"]
    assert found.relative("cart") > 2.0
    assert found.relative("front") < 1.0


def test_a_silent_callee_leaves_no_evidence_against_its_callers():
    found = scores(incident("silent"))
    for name in ("errors", "sequences", "structure"):
        assert max((found[name].relative(s) for s in ("front", "cart")), default=0.0) < 1.0


def test_quiet_time_loses_next_to_nothing():
    found = tables()
    kept = without_hearsay(found)
    assert (kept.span_trace != found.span_trace).mean() < 0.02
    assert kept.trace_block[-1] == UNUSED
    assert len(kept.trace_block) == len(found.trace_block) + 1


def test_logs_without_spans_are_all_kept():
    one = replace(incident("fails"), spans=None)
    found = build_tables(one, Split.at(FAULT_S))
    assert (without_hearsay(found).log_trace == found.log_trace).all()
