"""What the caches show of one fleet, also where its selector takes nothing."""

from __future__ import annotations

from ops.adapters.kube.cache import Resource
from ops.adapters.kube.fields import Pool
from ops.adapters.kube.records import pod_row
from ops.controller.fleet.parts import SharedParts
from ops.controller.operator_metrics import OperatorMetrics
from ops.controller.settings import Settings
from tests.ops.adapters.kube.raw_objects import T0_S, raw_pod


def test_a_selector_that_takes_no_pod_is_told_only_once_pods_are_known():
    parts = SharedParts(None, Settings(), OperatorMetrics())
    pod = raw_pod("web-1")
    namespace, label = pod["metadata"]["namespace"], next(iter(pod["metadata"]["labels"].items()))

    def unmatched(**labels):
        return parts.shared.look(namespace, labels, T0_S).unmatched

    assert unmatched(nobody="x") == ""
    parts.cache.replace(Resource.PODS, [pod_row(pod, Pool())])
    told = unmatched(nobody="x")
    assert f"spec.selector nobody=x matches no pod of namespace {namespace}" in told
    assert f"{label[0]}={label[1]}" in told
    assert unmatched(**dict([label])) == ""
    assert unmatched() == ""
