"""Metrics that the catalogue does not list get their role from name and labels."""

from __future__ import annotations

import pytest

from ops.catalogue import Catalogue, WithUnlisted
from rca.state import EntityKind, MetricKind, Series

LISTED = Catalogue.load()
NAMES = ("shop_orders_total", "shop_wait_seconds_sum", "shop_wait_seconds_count",
         "shop_wait_seconds_bucket", "shop_heap", "shop_build_info", "shop_pods_count")  # fmt: skip
ROLES = WithUnlisted(LISTED, NAMES)


def role(name, **labels):
    return ROLES.resolve(Series(name, tuple(sorted({"region": "north", **labels}.items()))))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("shop_orders_total", ("shop_orders", MetricKind.RATE, True, "")),
        ("shop_wait_seconds_sum", ("shop_wait_seconds", MetricKind.LATENCY, True, "sum")),
        ("shop_wait_seconds_count", ("shop_wait_seconds", MetricKind.LATENCY, True, "count")),
        ("shop_heap", ("shop_heap", MetricKind.STATE, False, "")),
        ("shop_pods_count", ("shop_pods_count", MetricKind.STATE, False, "")),
    ],
)
def test_the_name_tells_how_a_value_behaves(name, told):
    found = role(name, pod="cart-0")
    assert (found.role, found.kind, found.counter, found.part) == told


@pytest.mark.parametrize("name", ["shop_wait_seconds_bucket", "shop_build_info", "shop_other"])
def test_buckets_facts_and_what_was_not_asked_for_have_no_role(name):
    assert role(name, pod="cart-0") is None


@pytest.mark.parametrize("labels", [{"code": "503"}, {"status": "5xx"}, {"result": "failure"}])
def test_failures_are_a_metric_of_their_own(labels):
    found = role("shop_orders_total", pod="cart-0", **labels)
    assert (found.role, found.kind) == ("shop_orders_errors", MetricKind.ERRORS)


@pytest.mark.parametrize(
    ("labels", "kind", "name"),
    [
        ({"pod": "cart-0", "instance": "10.0.0.1:80"}, EntityKind.POD, "cart-0"),
        ({"exported_pod": "cart-0", "pod": "exporter-0"}, EntityKind.POD, "cart-0"),
        ({"instance": "10.0.0.1:80", "job": "cart"}, EntityKind.POD, "10.0.0.1:80"),
        ({"job": "cart"}, EntityKind.SERVICE, "cart"),
    ],
)
def test_the_owner_is_pod_instance_or_service(labels, kind, name):
    entity = role("shop_heap", **labels).entity
    assert (entity.kind, entity.name, entity.region) == (kind, name, "north")


def test_without_owner_or_region_nothing_is_known():
    assert role("shop_heap") is None
    assert ROLES.resolve(Series("shop_heap", (("pod", "cart-0"),))) is None


def test_what_is_listed_keeps_its_role():
    one = Series("kube_pod_status_ready",
                 (("condition", "true"), ("pod", "cart-0"), ("region", "north")))  # fmt: skip
    assert ROLES.resolve(one) == LISTED.resolve(one)
