"""Matchers, selectors and moments: what is accepted, what is refused and how it is told."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.adapters.prometheus_selectors import (
    Matcher,
    known_names,
    parse_label,
    parse_matcher,
    parse_moment,
    selector,
)
from ops.catalogue import Catalogue
from ops.encode import promql_text
from ops.errors import PrometheusError

CATALOGUE = Catalogue.load()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.text(max_size=20))
def test_an_escaped_value_ends_at_its_quote_and_unescapes_to_itself(value):
    text = promql_text(value)[1:-1]
    assert "\n" not in text
    assert re.fullmatch(r'(?:[^"\\\n]|\\.)*', text, re.DOTALL)
    assert re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text) == value


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("namespace=prod", Matcher("namespace", "=", "prod")),
        ('pod=~"llm-.*"', Matcher("pod", "=~", "llm-.*")),
        ("a!=b=c", Matcher("a", "!=", "b=c")),
        ("a!~", Matcher("a", "!~", "")),
    ],
)
def test_a_matcher_is_read_with_and_without_quotes(text, matcher):
    assert parse_matcher(text) == matcher


@pytest.mark.parametrize("text", ["", "prod", "=prod", "a-b=c", "1a=b", "namespace>prod"])
def test_another_form_of_a_matcher_is_refused(text):
    with pytest.raises(PrometheusError, match=re.escape(repr(text))):
        parse_matcher(text)


def test_a_label_to_add_has_a_name_and_a_value():
    assert parse_label("region=eu-west-1") == ("region", "eu-west-1")
    for text in ("region", "region=", "=x", "a b=c"):
        with pytest.raises(PrometheusError, match="name=value"):
            parse_label(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000", 1.7e9),
        ("1700000000.25", 1700000000.25),
        ("0", 0.0),
        ("2023-11-14T22:13:20Z", 1.7e9),
        ("2023-11-14T23:13:20+01:00", 1.7e9),
        ("2023-11-14 22:13:20.5Z", 1700000000.5),
        ("20231114T221320Z", 1.7e9),
        ("now", 1000.0),
        ("now-15m", 100.0),
        ("now-1.5s", 998.5),
    ],
)
def test_moments_are_iso_unix_seconds_or_relative(text, seconds):
    assert parse_moment(text, now_s=1000.0) == seconds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("yesterday", "expected 2026-01-02T03:04:05Z"),
        ("", "expected"),
        ("-5", "expected"),
        ("nan", "expected"),
        ("inf", "milliseconds"),
        ("1700000000000", "give 1700000000.000"),
        ("2023-11-14T22:13:20", "time zone; give 2023-11-14T22:13:20Z"),
        ("2023-13-14T22:13:20Z", "expected"),
        ("now-5", "expected"),
        ("now+5m", "expected"),
    ],
)
def test_other_moments_are_refused_with_what_would_do(text, told):
    with pytest.raises(PrometheusError, match=re.escape(told)) as caught:
        parse_moment(text, now_s=1000.0)
    assert repr(text) in str(caught.value)


def test_now_means_nothing_without_a_clock():
    with pytest.raises(PrometheusError, match="'now'"):
        parse_moment("now")


def test_a_selector_names_any_spelling_and_nothing_else():
    assert selector(["vllm:x"], []) == '{__name__="vllm:x"}'
    assert selector(["gen_ai.a", "b"], [Matcher("namespace", "=", "p")]) == (
        '{__name__=~"gen_ai\\\\.a|b",namespace="p"}'
    )


def test_only_names_with_a_role_are_asked_for_in_whatever_spelling():
    stored = [
        "vllm:num_requests_waiting", "vllm_num_requests_waiting", "sglang_num_queue_reqs",
        "gen_ai.server.time_to_first_token_seconds_bucket", "go_goroutines", "up",
        "vllm:time_to_first_token_seconds_bucket", "vllm:time_to_first_token_seconds_sum",
    ]  # fmt: skip
    known = known_names(stored, CATALOGUE)
    assert set(known) == set(stored) - {
        "go_goroutines",
        "vllm:time_to_first_token_seconds_bucket",  # nobody reads the buckets of this role
    }
    wide = known_names(stored, CATALOGUE, bucket_roles=frozenset({"engine_ttft"}))
    assert "vllm:time_to_first_token_seconds_bucket" in wide


def test_conditions_of_the_catalogue_spare_what_would_be_dropped():
    known = known_names(
        ["kube_pod_status_phase", "kube_pod_container_resource_limits", "node_cpu_seconds_total",
         "http_requests_total", "db_client_connections_usage"],
        CATALOGUE,
    )  # fmt: skip
    assert {name: [str(one) for one in matchers] for name, matchers in known.items()} == {
        "kube_pod_status_phase": ['phase=~"Pending"'],
        "kube_pod_container_resource_limits": ['resource=~"cpu|memory"'],
        "node_cpu_seconds_total": [],  # a second entry takes any mode
        "http_requests_total": ['slo_class=~".+"'],  # the status has several names
        "db_client_connections_usage": [],
    }
    assert known_names(["http_requests_total"], CATALOGUE, added={"slo_class": "x"}) == {
        "http_requests_total": ()
    }
