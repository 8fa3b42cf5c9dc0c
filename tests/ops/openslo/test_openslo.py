"""OpenSLO documents: what becomes of them, and everything that is wrong with them at once."""

from __future__ import annotations

import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.burn_rules import FleetName, rule_file
from ops.catalogue import Catalogue
from ops.errors import SloError
from ops.openslo import Budgeting, BurnCondition, SloClass, read_openslo
from ops.openslo.values import duration_s, duration_text

CATALOGUE = Catalogue.load()
TTFT = "gen_ai_server_time_to_first_token_seconds"


def source(query, kind="Prometheus"):
    return {"metricSource": {"type": kind, "spec": {"query": query}}}


def slo(name="chat", indicator=None, objective=None, **spec):
    return {
        "apiVersion": "openslo/v1", "kind": "SLO", "metadata": {"name": name},
        "spec": {
            "indicator": {"metadata": {"name": "i"}, "spec": indicator or errors()},
            "timeWindow": [{"duration": "28d", "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [objective or {"target": 0.99}],
            **spec,
        },
    }  # fmt: skip


def errors(slo_class="chat"):
    labels = f'slo_class="{slo_class}"' if slo_class else ""
    return {
        "ratioMetric": {
            "counter": True,
            "bad": source(f'sum(rate(http_requests_total{{{labels},status=~"5.."}}[5m]))'),
            "total": source(f"sum(rate(http_requests_total{{{labels}}}[5m]))"),
        }
    }


def within(le="2.0", name=TTFT):
    return {
        "ratioMetric": {
            "good": source(f'sum(rate({name}_bucket{{slo_class="chat",le="{le}"}}[5m]))'),
            "total": source(f'sum(rate({name}_count{{slo_class="chat"}}[5m]))'),
        }
    }


def read(*documents):
    return read_openslo(documents, CATALOGUE, source="slos.yaml")


def test_errors_alone_limit_no_time():
    assert read(slo()).classes == (SloClass(name="chat", target_ratio=0.99),)


@pytest.mark.parametrize(
    "name",
    [
        TTFT,
        "gen_ai.server.time_to_first_token_seconds",
        "dynamo_frontend_time_to_first_token_seconds",
    ],
)
def test_a_bucket_tells_the_limit_in_any_spelling(name):
    ratio = within(name=name)
    if "." in name:
        ratio["ratioMetric"]["good"] = source(
            f'rate({{__name__="{name}_bucket",slo_class="chat",le="2.0"}}[5m])'
        )
        ratio["ratioMetric"]["total"] = source(
            f'rate({{__name__="{name}_count",slo_class="chat"}}[5m])'
        )
    (one,) = read(slo(indicator=ratio)).classes
    assert (one.ttft_s, one.tpot_s) == (2.0, None)


def test_a_threshold_is_a_limit_in_seconds():
    name = "gen_ai_server_time_per_output_token_seconds_bucket"
    query = f'histogram_quantile(0.9, sum by (le) (rate({name}{{slo_class="chat"}}[5m])))'
    (one,) = read(
        slo(
            indicator={"thresholdMetric": source(query)},
            objective={"op": "lte", "value": 0.08, "target": 0.95},
        )
    ).classes
    assert (one.tpot_s, one.target_ratio) == (0.08, 0.95)


def test_several_slos_of_a_class_become_one_entry_and_differences_are_told():
    found = read(
        slo("chat-errors", objective={"targetPercent": 99.5}),
        slo("chat-ttft", indicator=within()),
        slo("chat-slow", indicator=within("5.0")),
        slo("batch", indicator=errors("")),
    )
    assert found.classes == (
        SloClass(name="batch", target_ratio=0.99),
        SloClass(name="chat", target_ratio=0.995, ttft_s=2.0),
    )
    assert "0.995" in found.notes[0]


def test_indicators_policies_and_conditions_may_stand_apart():
    condition = {
        "apiVersion": "openslo/v1", "kind": "AlertCondition", "metadata": {"name": "fast"},
        "spec": {
            "severity": "page",
            "condition": {
                "kind": "burnrate", "op": "gte", "threshold": 2, "lookbackWindow": "1h",
                "alertAfter": "5m",
            },
        },
    }  # fmt: skip
    policy = {
        "apiVersion": "openslo/v1", "kind": "AlertPolicy", "metadata": {"name": "p"},
        "spec": {"conditions": [{"conditionRef": "fast"}], "notificationTargets": []},
    }  # fmt: skip
    sli = {
        "apiVersion": "openslo/v1", "kind": "SLI", "metadata": {"name": "e"}, "spec": errors(),
    }  # fmt: skip
    one = slo(alertPolicies=[{"alertPolicyRef": "p"}, policy], indicatorRef="e")
    del one["spec"]["indicator"]
    found = read(condition, one, policy, sli, {"apiVersion": "openslo/v1", "kind": "Service"})
    fast = BurnCondition(severity="page", threshold=2.0, lookback_s=3600, after_s=300)
    assert found.classes[0].conditions == (fast, fast)


@pytest.mark.parametrize("method", ["Timeslices", "RatioTimeslices"])
def test_slices_are_kept_and_told_to_count_otherwise(method):
    objective = {"target": 0.95, "timeSliceTarget": 0.9, "timeSliceWindow": "1m"}
    found = read(slo(budgetingMethod=method, objective=objective))
    (one,) = found.classes
    assert one.budgeting == Budgeting(method)
    assert (one.slice_s, one.slice_target_ratio) == (60, 0.9)
    assert method in found.notes[0]


def test_all_faults_are_told_at_once_with_path_and_reason():
    wrong = slo("a", objective={"target": 99}, budgetingMethod="Sometimes")
    wrong["spec"]["timeWindow"] = [{"duration": "5 minutes"}]
    query = slo("b", indicator={"ratioMetric": {"good": source("up"), "total": source("up")}})
    foreign = slo("c", indicator={"thresholdMetric": source("x", "Datadog")})
    lost = slo("d", indicatorRef="nowhere", alertPolicies=[{"alertPolicyRef": "none"}])
    del lost["spec"]["indicator"]
    with pytest.raises(SloError) as caught:
        read(
            wrong, query, foreign, lost, {"apiVersion": "openslo/v1", "kind": "Budget"},
            {"apiVersion": "openslo/v1alpha", "kind": "SLO"}, ["no object"], slo("a"),
        )  # fmt: skip
    told = str(caught.value)
    for part in (
        "slos.yaml[0] SLO a.spec.budgetingMethod: is 'Sometimes', expected one of Occurrences",
        "slos.yaml[0] SLO a.spec.objectives[0].target: is 99, expected a share",
        "slos.yaml[0] SLO a.spec.timeWindow[0].duration: is '5 minutes', expected a duration",
        "SLO b.spec.indicator.spec.ratioMetric.good.metricSource.spec.query: is 'up', and names no",
        "metricSource.type: is 'Datadog', only Prometheus is read",
        "SLO d.spec.indicatorRef: is 'nowhere', and no SLI has that name",
        "SLO d.spec.alertPolicies[0]: is 'none', and no AlertPolicy has that name",
        "slos.yaml[4].kind: is 'Budget', expected one of SLO, SLI",
        "slos.yaml[5].apiVersion: is 'openslo/v1alpha', expected openslo/v1",
        "slos.yaml[6]: is ['no object'], expected an OpenSLO object",
        "slos.yaml[7].metadata.name: is 'a' a second time",
    ):
        assert part in told, part


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.update(objectives=[]), "objectives: has 0 entries"),
        (lambda s: s.update(objectives=[{"targetPercent": 100}]), "is 100, expected 0 to 100"),
        (lambda s: s.update(objectives=[{}]), "target: is missing"),
        (lambda s: s.update(timeWindow=[{"duration": "30m"}]), "is 1800 s, expected at least 1h"),
        (lambda s: s.update(timeWindow=[]), "timeWindow: has 0 entries"),
        (lambda s: s["indicator"].update(spec={}), "either ratioMetric or thresholdMetric"),
        (lambda s: s["indicator"].update(spec={"ratioMetric": {}}), "has nothing, expected good"),
        (
            lambda s: s["indicator"].update(
                spec={
                    "ratioMetric": {
                        "good": source(f"{TTFT}_bucket"), "total": source(f"{TTFT}_count"),
                    }
                }
            ),
            "without le",
        ),
        (
            lambda s: s["indicator"].update(
                spec={
                    "ratioMetric": {
                        "bad": source('http_requests_total{slo_class="a"}'),
                        "total": source('http_requests_total{slo_class="b"}'),
                    }
                }
            ),
            "several classes: a, b",
        ),
        (
            lambda s: s.update(budgetingMethod="Timeslices"),
            "timeSliceTarget: is missing",
        ),
        (
            lambda s: s["indicator"].update(spec={"thresholdMetric": source(f"{TTFT}_bucket")}),
            "value: is missing",
        ),
    ],
)  # fmt: skip
def test_each_fault_has_its_reason(change, told):
    one = copy.deepcopy(slo())
    change(one["spec"])
    with pytest.raises(SloError, match=None) as caught:
        read(one)
    assert told in str(caught.value)


def test_slos_of_one_class_need_one_window():
    other = slo("other")
    other["spec"]["timeWindow"] = [{"duration": "7d"}]
    with pytest.raises(SloError, match="class chat has window_s"):
        read(slo(), other)


def test_a_file_without_an_slo_is_none():
    with pytest.raises(SloError, match="no object of kind SLO"):
        read(*yaml.safe_load_all("---\n---\n"))


def test_durations_come_back_in_prometheus_form():
    assert [duration_text(duration_s(t)) for t in ("5m", "1h", "28d", "4w", "1M", "1Q", "90m")] == [
        "5m", "1h", "28d", "28d", "30d", "90d", "90m",
    ]  # fmt: skip


plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-5, 400), st.floats(), st.text(max_size=6),
        st.sampled_from(["28d", "5m", "e", f'{TTFT}_bucket{{slo_class="a",le="2"}}', "burnrate"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_file_is_read_or_told(data):
    condition = {
        "apiVersion": "openslo/v1", "kind": "AlertCondition", "metadata": {"name": "c"},
        "spec": {"condition": {"kind": "burnrate", "threshold": 2, "lookbackWindow": "1h"}},
    }  # fmt: skip
    documents = [
        slo(alertPolicies=[{"spec": {"conditions": [{"conditionRef": "c"}]}}]),
        slo("t", indicator={"thresholdMetric": source(f"{TTFT}_bucket")},
            objective={"op": "lte", "value": 2, "target": 0.9}),
        condition,
    ]  # fmt: skip
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(documents))
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if data.draw(st.booleans()) or not isinstance(place[key], dict | list):
                place[key] = data.draw(plain)
                break
            place = place[key]
    try:
        found = read(*documents)
    except SloError as error:
        assert "slos.yaml" in str(error) or "file" in str(error)
    else:
        for one in found.classes:
            assert 0.0 < one.target_ratio < 1.0
            try:
                rule_file([one], CATALOGUE, FleetName(namespace="a", name="b"))
            except SloError as error:
                assert "too short" in str(error)
