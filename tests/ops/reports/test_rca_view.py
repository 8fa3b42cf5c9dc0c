"""What the report of a ranking says: cause, evidence, victims, rivals, doubts, what is missing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ops.reports.rca_model import ArcKind, NodeRole
from ops.reports.rca_sentences import compared, state
from ops.reports.rca_view import rank_report
from rca.incident import Column
from rca.localise import localise
from rca.state import ChangeEvent, ChangeKind


def told(incident, *, accused=(), moved=(), **kwargs):
    """The report; `accused` and `moved` pin what the ranking would decide by its own numbers."""
    found = localise(incident)
    if accused:
        services = [
            replace(s, channels=s.channels or ("metric",) if s.name in (*accused, *moved) else ())
            for s in sorted(found.services, key=lambda s: (s.name not in accused, s.rank))
        ]
        ranked = tuple(replace(s, rank=rank) for rank, s in enumerate(services, start=1))
        found = replace(found, services=ranked, accused=tuple(accused), abstained=False)
    return rank_report(found, incident, source="made", **kwargs)


def suspect(report, name):
    return next(item for item in report.suspects if item.name == name)


def test_a_cause_is_named_with_its_measurement_before_and_after(shop):
    report = told(shop())
    assert report.accused == ("pay",) and not report.abstained
    assert report.headline.startswith("pay: cpu rose from 0.2")
    reading = report.named()[0].readings[0]
    assert (reading.label, reading.detail) == ("cpu", "pay")
    assert reading.before == pytest.approx(0.2, rel=0.05)
    assert reading.after == pytest.approx(0.8, rel=0.05)
    assert "usual spread" in reading.text


def test_the_series_shows_the_samples_of_the_table_with_the_band_of_the_normal_rows(shop):
    incident = shop()
    series = told(incident).named()[0].readings[0].series
    column = incident.columns.index(Column("pay", "cpu"))
    shown = np.isin(incident.times_s, series.times_s)
    assert list(series.values) == pytest.approx(incident.values[shown, column])
    normal = incident.values[:90, column]
    assert (series.normal_low, series.normal_high) == pytest.approx(np.percentile(normal, (5, 95)))
    assert series.onset_s == incident.fault_at_s


def test_a_counter_is_drawn_as_its_rate(shop):
    incident = shop()
    values = incident.values.copy()
    place = incident.columns.index(Column("pay", "cpu"))
    values[:, place] = np.cumsum(values[:, place])
    columns = list(incident.columns)
    columns[place] = Column("pay", "cpu.total")
    incident = replace(incident, values=values, columns=tuple(columns))
    reading = told(incident).named()[0].readings[0]
    assert reading.label == "cpu.total"
    assert max(v for v in reading.series.values if not math.isnan(v)) < 0.2


def test_missing_samples_stay_missing(shop):
    incident = shop()
    incident.values[100:105, incident.columns.index(Column("pay", "cpu"))] = np.nan
    series = told(incident).named()[0].readings[0].series
    assert sum(map(math.isnan, series.values)) == 5


def test_users_are_read_from_symptom_columns(shop):
    report = told(shop())
    assert [r.label for r in report.users] == ["latency-90"]
    assert report.users[0].after == pytest.approx(1.0, rel=0.05)
    assert report.users[0].text == "worse than usual"


def test_users_within_their_band_are_said_to_be_well(shop):
    incident = shop()
    incident.values[90:, -1] /= 5.0
    report = told(incident)
    assert report.users_note.startswith("Users notice nothing of it")
    assert state(report).startswith("Cause named, users notice nothing, trouble since")


def test_users_are_read_as_well_where_the_entry_service_is(shop):
    report = told(shop(users=False))
    assert report.users_note == "As well as before, by the entry service front."
    assert [reading.text for reading in report.users] == ["", ""]


def test_users_of_a_record_without_symptoms_are_those_of_the_entry_service(shop):
    incident = shop(users=False, broken=(("pay", "cpu", 4.0), ("front", "latency-90", 3.0)))
    report = told(incident)  # nobody calls front, so users do
    assert [(r.detail, r.label) for r in report.users] == [("front", "latency-90")]


def test_users_that_nobody_measured_are_not_known(shop):
    report = told(shop(users=False, calls=()))
    assert report.users == () and report.users_note.startswith("Not known: no sli_ column")


def test_who_waits_for_the_cause_is_told_from_who_does_not(shop):
    broken = (("stock", "cpu", 6.0), ("cart", "latency-90", 3.0), ("mail", "cpu", 1.5))
    incident = shop(broken=broken, lag_rows=(("cart", 2), ("mail", 2)))
    report = told(incident, accused=("stock",), moved=("cart", "mail"))
    assert "It calls stock and waits for it" in " ".join(suspect(report, "cart").speaks_against)
    assert "It moved 20 s after stock." in suspect(report, "cart").speaks_against
    assert "may be a second fault" in " ".join(suspect(report, "mail").speaks_for)
    assert "calls it, directly or through others" in report.moved_note


def test_a_service_whose_traffic_alone_moved_is_doubted_for_it(shop):
    incident = shop(broken=(("pay", "cpu", 6.0), ("ads", "load", 1.6)))
    report = told(incident, accused=("pay",), moved=("ads",))
    assert "Only traffic moved (load)" in " ".join(suspect(report, "ads").speaks_against)


def test_the_users_own_service_is_doubted_for_showing_everybodys_fault(shop):
    report = told(shop(broken=(("front", "cpu", 4.0),)), accused=("front",))
    assert "everybody's fault shows there" in " ".join(report.named()[0].speaks_against)


def test_two_faults_at_once_are_both_named_and_both_shown(shop):
    incident = shop(broken=(("pay", "cpu", 4.0), ("mail", "mem", 3.0)))
    report = told(incident, accused=("pay", "mail"))
    assert state(report).startswith("2 causes named")
    assert len(report.named()) == 2
    titles = [step.title for step in report.next_steps]
    assert "Confirm on pay." in titles and "Confirm on mail." in titles


def test_of_two_accused_the_one_that_the_other_waits_for_comes_first(shop):
    incident = shop(broken=(("stock", "cpu", 4.0), ("cart", "latency-90", 4.0)))
    report = told(incident, accused=("cart", "stock"))
    assert report.headline.startswith("stock, which cart waits for: cpu rose from 0.2")
    assert report.next_steps[0].title == "Confirm on stock."
    assert [item.name for item in report.named()] == ["stock", "cart"]
    assert "It calls stock and waits for it" in " ".join(suspect(report, "cart").speaks_against)
    assert "second fault" not in " ".join(suspect(report, "stock").speaks_for)


def test_a_quiet_record_names_nobody_and_says_what_would_settle_it(shop):
    report = told(shop(broken=()))
    assert report.abstained and report.accused == ()
    assert report.headline == "No cause found: nothing stands out"
    assert report.next_steps[0].title == "Change nothing on this ranking."
    told_missing = [part for part, _ in report.missing]
    assert "spans" in told_missing and "announced changes" in told_missing
    assert any(text.startswith("Spans:") for text in report.settles)
    assert report.suspects[0].readings, "the leader's measurements are shown all the same"


def test_a_record_that_cannot_be_split_says_so(shop):
    incident = shop(broken=())
    few = replace(
        incident, times_s=incident.times_s[:2], values=incident.values[:2], fault_at_s=None
    )
    report = told(few)
    assert report.headline == "No cause found: nothing can be compared"
    assert compared(report).startswith("Nothing could be compared: 2 rows")
    assert report.graph.nodes == () and report.onsets == ()


def test_changes_are_listed_and_those_of_the_accused_marked(shop):
    def change(service, at_s, summary):
        return ChangeEvent(at_s=at_s, kind=ChangeKind("deploy"), region="", service=service,
                           revision_from="1", revision_to="2", summary=summary)  # fmt: skip

    at_s = shop().fault_at_s
    changes = (change("ads", at_s - 500.0, "routine"), change("pay", at_s - 20.0, "r118"))
    report = told(shop(changes=changes))
    assert [(text, mine) for _, text, mine in report.changes] == [
        ("deploy ads routine", False), ("deploy pay r118", True)
    ]  # fmt: skip
    assert report.since_s == at_s, "the time of a change is not when the service moved"
    assert any(node.detail == "deploy r118" for node in report.onsets)
    details = " ".join(s.detail for s in report.next_steps)
    assert "deploy pay r118." in details and "take back the deploy of pay at" in details
    assert "(r118)" in details and "routine" not in details


def test_a_pod_that_moved_alone_is_taken_out_rather_than_the_service(shop):
    incident = shop()
    columns, values = [], []
    for number, column in enumerate(incident.columns):
        pods = [f"{column.owner}.{k}" for k in (0, 1)] if not column.is_symptom else ["sli"]
        for pod in pods:
            columns.append(Column(pod, column.metric))
            values.append(incident.values[:, number].copy())
            if pod == "pay.0":  # at rest
                values[-1][90:] = values[-1][60:90]
    instances = {c.owner: c.owner.partition(".")[0] for c in columns if not c.is_symptom}
    podded = replace(incident, columns=tuple(columns), values=np.column_stack(values),
                     instances=instances, nodes={"pay.1": "node-b"})  # fmt: skip
    item = told(podded).named()[0]
    assert item.pod == "pay.1"
    assert item.place == "pay.1 on node-b moved, not the other 1"
    assert "take pay.1 out of service" in " ".join(s.detail for s in told(podded).next_steps)


def test_the_order_of_onset_runs_from_the_cause_to_who_waits_for_it(shop):
    broken = (("stock", "cpu", 6.0), ("cart", "latency-90", 4.0), ("front", "latency-90", 3.0))
    incident = shop(broken=broken, lag_rows=(("cart", 1), ("front", 2)))
    report = told(incident, accused=("stock",), moved=("cart", "front"))
    assert [n.name for n in sorted(report.onsets, key=lambda n: n.onset_s)] == [
        "stock", "cart", "front"
    ]  # fmt: skip
    assert [(a.cause, a.effect) for a in report.onset_arcs] == [
        ("stock", "cart"),
        ("cart", "front"),
    ]


def test_onsets_within_one_sample_are_said_to_have_no_order(shop):
    incident = shop(broken=(("pay", "cpu", 6.0), ("ads", "cpu", 3.0)))
    report = told(incident, accused=("pay",), moved=("ads",))
    assert report.onsets == ()
    assert "their order cannot be told" in report.onsets_note


def test_the_graph_runs_from_the_cause_to_the_users_and_tells_calls_from_leads(shop):
    broken = (("stock", "cpu", 6.0), ("cart", "latency-90", 4.0), ("front", "latency-90", 3.0))
    graph = told(shop(broken=broken), accused=("stock",), moved=("cart", "front")).graph
    layer = {node.name: node.layer for node in graph.nodes}
    assert layer["stock"] < layer["cart"] < layer["front"]
    role = {node.name: node.role for node in graph.nodes}
    assert role["stock"] is NodeRole.ACCUSED and role["cart"] is NodeRole.MOVED
    assert [n.name for n in graph.nodes if n.serves_users] == ["front"]
    kinds = {(a.cause, a.effect): a.kind for a in graph.arcs}
    assert kinds["stock", "cart"] is ArcKind.CALL


def test_without_calls_or_leads_the_graph_says_why_it_is_empty(shop):
    incident = shop(calls=())
    found = localise(incident, granger=None)
    report = rank_report(found, incident, source="made")
    assert report.graph.nodes == ()
    assert "names no calls" in report.graph.note and "switched off" in report.graph.note


def test_spans_and_log_lines_are_evidence_with_series_of_their_own(shop):
    report = told(shop(traces=True, slow="stock", broken=()))
    assert report.accused[0] == "stock"
    readings = {r.channel: r for r in report.named()[0].readings}
    own = readings["self-time"]
    assert own.label == "stock/serve" and own.unit == "s"
    assert own.after == pytest.approx(0.04, rel=0.2) and own.before == pytest.approx(2e-3, rel=0.2)
    seen = [v for v in own.series.values if not math.isnan(v)]
    assert min(seen) > 10 * own.series.normal_high
    assert np.median(seen) == pytest.approx(own.after, rel=0.08), "medians, not extremes"
    assert "spans" in own.text
    errors = readings["errors"]
    assert errors.label == "ERROR backend refused it"
    assert errors.series.normal_high == 0.0 and min(errors.series.values) == 1.0


def test_calls_that_only_spans_show_reach_the_graph(shop):
    incident = replace(shop(traces=True, slow="stock", broken=()), calls=())
    arcs = {(a.cause, a.effect): a.text for a in told(incident).graph.arcs}
    assert arcs["stock", "cart"].endswith("120 calls in the spans")


def test_what_was_not_looked_at_has_a_reason(shop):
    rows = {row.channel: row for row in told(shop()).checked}
    assert rows["metric"].used and "24 columns, 90 normal rows, 30 since" in rows["metric"].text
    assert not rows["self-time"].used and rows["self-time"].text
    assert [row.used for row in told(shop()).checked] == sorted(
        (row.used for row in told(shop()).checked), reverse=True
    )


def test_a_clock_that_is_not_unix_time_is_the_records_own(shop):
    report = told(shop(start_s=0.0))
    assert report.clock.simulated
    assert not told(shop()).clock.simulated


def test_four_hundred_services_are_counted_not_listed(shop):
    services = tuple(f"service-{n:03}" for n in range(400))
    calls = tuple((services[n // 3], services[n]) for n in range(1, 400))
    report = told(shop(services=services, broken=(("service-200", "cpu", 5.0),), calls=calls))
    assert report.accused == ("service-200",)
    assert report.num_services == 400 and len(report.suspects) <= 8
    assert 2 <= len(report.graph.nodes) <= 16
    assert f"{len(report.graph.nodes)} of 400 services are shown" in report.graph.note


def test_the_report_does_not_depend_on_the_order_of_columns(shop):
    incident = shop(broken=(("stock", "cpu", 6.0), ("cart", "latency-90", 4.0)))
    order = np.random.default_rng(3).permutation(len(incident.columns))
    mixed = replace(incident, values=incident.values[:, order],
                    columns=tuple(incident.columns[n] for n in order))  # fmt: skip
    assert told(mixed) == told(incident)
