"""A fleet's frame over HTTP: what a Fleet names stays a value, whatever it holds."""

from __future__ import annotations

import pytest

from ops.adapters.prometheus import PrometheusReader
from ops.catalogue import Catalogue
from ops.clock import Deadline
from ops.controller.metrics_watch.frame import WatchFrame
from ops.controller.metrics_watch.state import DataState

NOW_S = 1_700_000_000
CATALOGUE = Catalogue.load()
HOSTILE = [
    'shop"} or {namespace=~".+',
    'shop",namespace=~".*',
    "shop\\",
    'shop\n"}[1h] #',
    ".*",
    "shop|other",
]


def read(fake_prometheus, **more):
    fake_prometheus.clock_s = NOW_S
    for k, namespace in enumerate((*HOSTILE, "shop", "other")):
        samples = [(1000 * (NOW_S - 5 * n) - 100, str(k)) for n in range(12, 0, -1)]
        fake_prometheus.add(
            "http_requests_total", samples,
            namespace=namespace, team=namespace, slo_class="chat", status="200",
            service="gw", region="eu",
        )  # fmt: skip
    frame = WatchFrame(CATALOGUE, step_s=5.0, window_s=60.0, wall=lambda: float(NOW_S), **more)
    with PrometheusReader(fake_prometheus.url) as reader:
        return frame.advance(reader, deadline=Deadline.after(10.0))


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_namespace_reads_itself_alone(fake_prometheus, value):
    reading = read(fake_prometheus, namespace=value)
    assert reading.state is DataState.FRESH, reading.detail
    assert [one.label("namespace") for one in reading.frame.series] == [value]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_label_never_leaves_the_fleets_namespace(fake_prometheus, value):
    reading = read(fake_prometheus, namespace="shop", match_labels={"team": value})
    assert reading.state is DataState.MISSING
    assert reading.frame.series == ()
    assert all('namespace="shop"' in query for query in fake_prometheus.queries()[1:])


def test_questions_are_long_bodies_of_posts_and_short_of_answers_limit(fake_prometheus):
    # A range selector as instant query: no limit of 11,000 points holds for it.
    read(fake_prometheus, namespace="shop", match_labels={})
    asked = [one for one in fake_prometheus.asked if one.query != "time()"]
    assert {(one.method, one.path, bool(one.in_url)) for one in asked} == {
        ("POST", "/api/v1/query", False)
    }
