"""A selector that takes no pod: the message names what was asked for and what is there."""

from __future__ import annotations

from difflib import SequenceMatcher

import pytest

from ops.adapters.kube import near_labels
from ops.adapters.kube.near_labels import why_unmatched
from ops.adapters.kube.records import PodRow
from ops.state import PodPhase


def pod(**labels):
    return PodRow(
        namespace="shop", name="a", labels=tuple(labels.items()), owner_kind="", owner="",
        node="", phase=PodPhase.RUNNING, ready=True, restarts=0, created_at_s=0.0, engine=False,
        done=False, reasons=(),
    )  # fmt: skip


PODS = [pod(app="chat", tier="web"), pod(app="gateway", tier="edge")]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"app": "caht"}, "app is chat or gateway there"),
        ({"app": "gatewy", "tier": "edge"}, "app is gateway or chat there"),
        ({"ap": "chat"}, "no pod there carries ap; they carry app=chat or gateway"),
        ({"zone": "x"}, "they carry app=chat or gateway, tier="),
        ({"app": "chat", "tier": "edge"}, "no pod carries all of them"),
    ],
)
def test_what_is_near_is_named(wanted, says):
    told = why_unmatched(wanted, PODS, namespace="shop")
    assert says in told
    first = next(iter(sorted(wanted.items())))
    assert f"spec.selector {first[0]}={first[1]}" in told


def test_an_empty_namespace_is_said_to_be_empty():
    assert "namespace shop, which has none" in why_unmatched({"app": "x"}, [], namespace="shop")


def test_many_values_are_cut_and_the_hash_of_a_replica_set_is_no_label():
    pods = [pod(app=f"svc-{n:03d}", **{"pod-template-hash": str(n)}) for n in range(50)]
    told = why_unmatched({"app": "svc-04", "pod-template-hash": "x"}, pods, namespace="shop")
    assert "or 45 more" in told
    assert "no pod there carries pod-template-hash" in told
    assert len(told) < 400


def test_of_thousands_of_values_only_the_nearest_are_compared_letter_by_letter(monkeypatch):
    compared = []

    def noted(*, a, b):
        compared.append(b)
        return SequenceMatcher(a=a, b=b)

    monkeypatch.setattr(near_labels.difflib, "SequenceMatcher", noted)
    pods = [pod(app=f"job-{n:04d}") for n in range(3000)] + [pod(app="chat")]
    told = why_unmatched({"app": "chta"}, pods, namespace="shop")
    assert "app is chat or job-" in told and "or 2996 more" in told
    assert len(compared) < 200
