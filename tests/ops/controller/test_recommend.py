"""From an action to the exact request; every kind of action has one, or says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.controller.fleet.recommend import ApiRequest, Verb, dry_run, recommended, request_of
from ops.errors import KubeError
from ops.state import Action, ActionKind
from rca.state import Entity


def action(kind, target="service:east/engine", **params):
    return Action(action_id="", kind=kind, target=Entity.parse(target), params=params)


class FakeApi:
    def __init__(self, error=None):
        self.calls, self.error = [], error

    def patch(self, path, body, *, kind, params):
        self._call("PATCH", path, body, params)

    def create(self, path, body, *, params):
        self._call("POST", path, body, params)

    def _call(self, *call):
        self.calls.append(call)
        if self.error:
            raise self.error


def test_scaling_goes_through_the_scale_subresource_and_tests_what_was_seen(fleet):
    snapshot = fleet.snapshot()
    snapshot = replace(snapshot, services=tuple(s for s in snapshot.services if s.region == "east"))
    request = request_of(action(ActionKind.SCALE_OUT, add=2.0), snapshot, namespace="shop")
    assert str(request) == "PATCH /apis/apps/v1/namespaces/shop/deployments/engine/scale"
    assert request.body == [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 4},
    ]


def test_one_deployment_over_two_regions_has_one_count(fleet):
    request = request_of(action(ActionKind.SCALE_OUT, add=1.0), fleet.snapshot(), namespace="shop")
    assert [op["value"] for op in request.body] == [4, 5]


@pytest.mark.parametrize("kind", [ActionKind.REPLACE_POD, ActionKind.RESTART_POD])
def test_a_pod_goes_by_eviction_so_that_budgets_have_a_say(fleet, kind):
    request = request_of(action(kind, "pod:east/p-1"), fleet.snapshot(), namespace="shop")
    assert str(request) == "POST /api/v1/namespaces/shop/pods/p-1/eviction"
    assert request.body["kind"] == "Eviction"


def test_a_node_is_cordoned(fleet):
    request = request_of(
        action(ActionKind.CORDON_DRAIN_NODE, "node:east/n-1"), fleet.snapshot(), namespace="shop"
    )
    assert str(request) == "PATCH /api/v1/nodes/n-1"
    assert request.body[-1] == {"op": "add", "path": "/spec/unschedulable", "value": True}


@pytest.mark.parametrize("kind", list(ActionKind))
def test_every_kind_has_a_request_or_a_reason(fleet, kind):
    api = FakeApi()
    found = recommended(api, action(kind, add=1.0), fleet.snapshot(), namespace="shop")
    assert found.dry_run.startswith("accepted" if found.request else "no request: ")
    assert all(params == {"dryRun": "All"} for *_, params in api.calls)


def test_a_refusal_is_an_answer_and_silence_is_none():
    request = ApiRequest(verb=Verb.POST, path="/x", body={})
    told = dry_run(FakeApi(KubeError("429 TooManyRequests: budget", status=429)), request)
    assert told == "refused: 429 TooManyRequests: budget"
    with pytest.raises(KubeError):
        dry_run(FakeApi(KubeError("no answer")), request)


def test_a_service_that_is_not_seen_is_named(fleet):
    found = request_of(
        action(ActionKind.SCALE_OUT, "service:east/ghost", add=1.0), fleet.snapshot(), namespace="n"
    )
    assert found == "no Deployment ghost is seen in namespace n"
