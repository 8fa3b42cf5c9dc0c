"""The label that names services is found by what it tells apart."""

from __future__ import annotations

import numpy as np
import pytest

from ops.placement import place_pods, stem
from rca.state import (
    Direction,
    Entity,
    EntityKind,
    MetricFrame,
    MetricKind,
    MetricRole,
    ResourceClass,
    Series,
)


def role(kind, name):
    return MetricRole(
        role="r", entity=Entity(kind, "north", name), kind=MetricKind.STATE,
        resource=ResourceClass.CPU, bad=Direction.UP,
    )  # fmt: skip


def frame(*rows):
    """Rows of (pod or what else speaks, labels)."""
    series, roles = [], []
    for place, (who, labels) in enumerate(rows):
        kind, name = who if isinstance(who, tuple) else (EntityKind.POD, who)
        series.append(Series(f"m{place}", tuple(sorted(labels.items()))))
        roles.append(role(kind, name))
    return MetricFrame(
        times_s=np.array([0.0]), values=np.zeros((1, len(rows))), series=tuple(series),
        roles=tuple(roles), step_s=5.0,
    )  # fmt: skip


def services(*rows, **more):
    return {p: s for p, (_, s, _) in place_pods(frame(*rows), **more).pods.items()}


CART, PAY = "cart-6d9c7bcd5f-x2x4q", "pay-7b9f8c6d5d-zzt4k"


@pytest.mark.parametrize(
    ("pod", "owner"),
    [
        (CART, "cart"),
        ("api-gateway-6f9c4d7b8c-jx2lm", "api-gateway"),
        ("redis-0", "redis"),
        ("node-agent-zzt4k", "node-agent"),
        ("web-server", "web-server"),
        ("10.0.0.1:9100", "10.0.0.1:9100"),
        ("-0", "-0"),
    ],
)
def test_a_pods_name_tells_its_owner(pod, owner):
    assert stem(pod) == owner


def test_a_label_that_is_the_same_everywhere_names_no_service():
    rows = [(CART, {"service": "kubelet", "container": "main", "app": "cart"}),
            (PAY, {"service": "kubelet", "container": "main", "app": "pay"})]  # fmt: skip
    assert services(*rows) == {CART: "cart", PAY: "pay"}
    assert place_pods(frame(*rows)).notes == ("services are named by app of 2 pods",)


def test_a_collector_is_told_from_the_service_beside_it():
    rows = [(CART, {"service": "kubelet"}), (CART, {"service": "cart-svc"}),
            (PAY, {"service": "kubelet"}), (PAY, {"service": "pay-svc"}),
            ("batch-1", {"service": "kubelet"})]  # fmt: skip
    assert services(*rows) == {CART: "cart-svc", PAY: "pay-svc", "batch-1": "batch"}


def test_a_sidecar_is_no_service():
    rows = [(CART, {"container": "cart"}), (CART, {"container": "istio-proxy"}),
            (PAY, {"container": "istio-proxy"}), (PAY, {"container": "pay"})]  # fmt: skip
    assert services(*rows) == {CART: "cart", PAY: "pay"}


def test_the_label_that_spells_services_as_the_mesh_does_comes_first():
    rows = [(CART, {"service": "cart-svc", "deployment": "cart"}),
            (PAY, {"service": "pay-svc", "deployment": "pay"})]  # fmt: skip
    assert services(*rows) == {CART: "cart-svc", PAY: "pay-svc"}
    link = ((EntityKind.LINK, "cart->pay"), {})
    assert services(*rows, link) == {CART: "cart", PAY: "pay"}


def test_without_a_label_the_pods_name_is_taken():
    assert services((CART, {}), (PAY, {})) == {CART: "cart", PAY: "pay"}


def test_replicas_of_one_service_are_one():
    rows = [("cart-0", {"service": "cart"}), ("cart-1", {"service": "cart"})]
    assert services(*rows) == {"cart-0": "cart", "cart-1": "cart"}


def test_a_label_that_was_said_is_believed_and_others_fill_in():
    rows = [(CART, {"service": "a", "team": "money"}), (PAY, {"service": "b"})]
    assert services(*rows, service_label="team") == {CART: "money", PAY: "b"}
    notes = place_pods(frame(*rows), service_label="teem").notes
    assert notes == ("no pod has the label teem: services are named by service of 2 pods",)


def test_a_renamed_pod_is_described_by_renamed_labels_only():
    rows = [(CART, {"exported_pod": CART, "pod": "exporter-0", "service": "exporter",
                    "exported_service": "cart", "node": "n9", "exported_node": "n1"}),
            (PAY, {"pod": PAY, "service": "pay", "node": "n2"})]  # fmt: skip
    placed = place_pods(frame(*rows)).pods
    assert placed == {CART: ("north", "cart", "n1"), PAY: ("north", "pay", "n2")}


def test_the_node_is_what_most_series_say():
    rows = [(CART, {"node": "n1"}), (CART, {"node": "n1"}), (CART, {"node": "exporters"})]
    assert place_pods(frame(*rows)).pods[CART][2] == "n1"


def test_one_name_in_several_namespaces_is_told():
    rows = [(CART, {"service": "redis", "namespace": "a"}), (PAY, {"service": "redis",
            "namespace": "b"}), ("x-0", {"service": "x", "namespace": "a"})]  # fmt: skip
    (note,) = place_pods(frame(*rows)).notes
    assert "1 services have pods in several namespaces, taken as one each: redis;" in note
