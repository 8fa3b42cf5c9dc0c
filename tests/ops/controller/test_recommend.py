"""From an action to the exact request; every kind of action has one, or says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.controller.fleet import recommend
from ops.controller.fleet.api_request import ApiRequest, Verb, request_of
from ops.controller.fleet.recommend import Recommender, dry_run, recommended
from ops.controller.resources.fleet import FleetSpec, Mode
from ops.errors import KubeError
from ops.state import Action, ActionKind, Decision, DecisionKind
from rca.state import Entity


def action(kind, target="service:east/engine", **params):
    return Action(action_id="", kind=kind, target=Entity.parse(target), params=params)


class FakeApi:
    def __init__(self, error=None):
        self.calls, self.error = [], error

    def get(self, path, *, params, timeout_s):
        return {"items": []}

    def patch(self, path, body, *, kind, params, timeout_s):
        self._call("PATCH", path, body, params)

    def create(self, path, body, *, params, timeout_s):
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
    """The count of one region written as the whole would take the other region's pods away."""
    snapshot = fleet.snapshot()
    both = tuple(replace(s, replicas_elsewhere=3) for s in snapshot.services)
    request = request_of(
        action(ActionKind.SCALE_OUT, add=1.0), replace(snapshot, services=both), namespace="shop"
    )
    assert [op["value"] for op in request.body] == [5, 6]


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
    told = dry_run(FakeApi(), request)
    assert told.startswith("accepted: the server would cordon the node; that alone was asked.")
    assert "Not asked: the evictions of the drain" in told


@pytest.mark.parametrize("kind", list(ActionKind))
def test_every_kind_has_a_request_or_a_reason(fleet, kind):
    api = FakeApi()
    found = recommended(api, action(kind, add=1.0), fleet.snapshot(), namespace="shop")
    assert found.dry_run.startswith("accepted" if found.request else "no request: ")
    assert all(params == {"dryRun": "All"} for *_, params in api.calls)


def test_a_refusal_is_an_answer_and_silence_is_none():
    request = ApiRequest(verb=Verb.POST, path="/x", body={})
    budget = KubeError("429: budget", status=429, causes=frozenset({"DisruptionBudget"}))
    assert dry_run(FakeApi(budget), request) == "refused: 429: budget"
    for status in (0, 429, 503):  # no answer, throttled, overloaded: nothing is said of the action
        error = KubeError("told", status=status)
        with pytest.raises(KubeError):
            dry_run(FakeApi(error), request)


def test_a_service_that_is_not_seen_is_named(fleet):
    found = request_of(
        action(ActionKind.SCALE_OUT, "service:east/ghost", add=1.0), fleet.snapshot(), namespace="n"
    )
    assert found == "no Deployment ghost with pods in east is seen in namespace n"


def test_a_shift_of_traffic_says_what_is_not_known_and_how_a_person_finds_it(fleet):
    shift = action(ActionKind.SHIFT_TRAFFIC, "workload:east/", to_region="west", share=0.25)
    found = recommended(FakeApi(), shift, fleet.snapshot(), namespace="shop")
    assert (found.request, found.patch) == ("", "")
    assert found.dry_run.startswith("no request: no core API carries weights of traffic")
    assert "kubectl --namespace shop get httproutes --output yaml" in found.dry_run
    assert found.dry_run.endswith("backendRefs[].weight to 75 for east and 25 for west")


def test_a_limit_of_admission_says_where_it_is_set(fleet):
    limit = action(ActionKind.LIMIT_ADMISSION, "workload:east/", ratio=0.4)
    found = recommended(FakeApi(), limit, fleet.snapshot(), namespace="shop")
    assert found.dry_run.startswith("no request: no API of Kubernetes limits")
    assert found.dry_run.endswith("(gateway, router or engine) to 40% of what arrives")


def allowed(kind=ActionKind.REPLACE_POD, target="pod:east/p-1", reason="dry run"):
    return Decision(
        at_s=1.0, kind=DecisionKind.REFUSE, incident_id="inc-0001", reason=reason,
        action=action(kind, target),
    )  # fmt: skip


RECOMMEND = FleetSpec(mode=Mode.RECOMMEND)


def answers(asking, snapshot, ready=lambda _: True):
    asking.offer(snapshot, ready=ready)
    asking.ask()
    return asking.take()


def test_nothing_is_asked_before_the_incident_is_written(fleet):
    api = FakeApi()
    asking = Recommender(api, namespace="shop")
    asking.note([allowed()], RECOMMEND)
    assert answers(asking, fleet.snapshot(), ready=lambda _: False) == []
    assert api.calls == []
    (told,) = answers(asking, fleet.snapshot(), ready=lambda incident: incident == "inc-0001")
    assert told.details["dry_run"] == "accepted: the server would evict the pod"
    assert asking.num_waiting == 0


@pytest.mark.parametrize(
    "spec", [FleetSpec(), FleetSpec(mode=Mode.RECOMMEND, frozen=True)], ids=["observe", "frozen"]
)
def test_what_waits_is_dropped_when_the_mode_forbids_it(spec):
    asking = Recommender(FakeApi(), namespace="shop")
    asking.note([allowed()], RECOMMEND)
    asking.note([allowed()], spec)
    assert asking.num_waiting == 0


def test_what_the_guard_refuses_is_not_asked_for():
    asking = Recommender(FakeApi(), namespace="shop")
    asking.note([allowed(reason="cool-down of 60 s")], RECOMMEND)
    assert asking.num_waiting == 0


def test_a_server_that_is_silent_is_asked_some_times_and_then_told(fleet):
    asking = Recommender(FakeApi(KubeError("no answer in 3 s")), namespace="shop")
    asking.note([allowed(), allowed()], RECOMMEND)
    told = [answers(asking, fleet.snapshot()) for _ in range(2 * recommend.TRIES_MAX)]
    assert [len(one) for one in told] == [0, 0, 1, 0, 0, 1]
    assert told[2][0].details["dry_run"] == "no answer: no answer in 3 s"


class Meanwhile(FakeApi):
    """Something happens while the server is asked for the first time."""

    def _call(self, *call):
        super()._call(*call)
        if len(self.calls) == 1:
            self.happens()


def test_what_is_decided_while_the_server_is_asked_waits_for_the_next_time(fleet):
    api = Meanwhile()
    asking = Recommender(api, namespace="shop")
    asking.note([allowed()], RECOMMEND)

    def happens():
        asking.note([allowed(target="pod:east/p-2")], RECOMMEND)
        assert asking.take() == []
        asking.offer(fleet.snapshot(), ready=bool)  # not while it is asked

    api.happens = happens
    assert [str(one.action.target) for one in answers(asking, fleet.snapshot())] == ["pod:east/p-1"]
    assert not asking.offered
    assert [str(one.action.target) for one in answers(asking, fleet.snapshot())] == ["pod:east/p-2"]


def test_what_is_forbidden_while_the_server_is_asked_is_neither_asked_nor_told(fleet):
    api = Meanwhile()
    api.happens = lambda: asking.note([], replace(RECOMMEND, frozen=True))
    asking = Recommender(api, namespace="shop")
    asking.note([allowed(), allowed(target="pod:east/p-2")], RECOMMEND)
    assert answers(asking, fleet.snapshot()) == []
    assert len(api.calls) == 1


def test_one_fleet_asks_for_a_while_and_leaves_the_rest_for_its_next_turn(fleet, monkeypatch):
    monkeypatch.setattr(recommend, "ASK_S", 0.0)
    api = FakeApi()
    asking = Recommender(api, namespace="shop")
    asking.note([allowed()], RECOMMEND)
    assert answers(asking, fleet.snapshot()) == []
    assert (asking.num_waiting, asking.offered, api.calls) == (1, False, [])


def test_a_fault_of_ours_in_a_dry_run_is_told_in_the_end(fleet, monkeypatch):
    monkeypatch.setattr(recommend, "TRIES_MAX", 1)
    asking = Recommender(FakeApi(ValueError("of ours")), namespace="shop")
    asking.note([allowed()], RECOMMEND)
    (told,) = answers(asking, fleet.snapshot())
    assert told.details["dry_run"] == "no answer: ValueError, a fault of the operator"
    assert not asking.offered


def test_what_waits_for_answers_is_bounded():
    asking = Recommender(FakeApi(), namespace="shop")
    asking.note([allowed()] * (recommend.WAITING_MAX + 5), RECOMMEND)
    assert asking.num_waiting == recommend.WAITING_MAX


def test_a_body_that_is_too_long_is_absent_never_cut(fleet):
    pod = "p" * (recommend.BODY_BYTES_MAX + 1)
    found = recommended(
        FakeApi(), action(ActionKind.REPLACE_POD, f"pod:east/{pod}"), fleet.snapshot(),
        namespace="shop",
    )  # fmt: skip
    assert found.patch == ""
    assert "too long to be shown" in found.dry_run
