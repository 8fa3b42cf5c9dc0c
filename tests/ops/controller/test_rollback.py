"""A roll-back is the patch that kubectl would make, and tells no secret."""

from __future__ import annotations

import copy
import json

import orjson
import pytest

from ops.controller.fleet.api_request import WITHHELD
from ops.controller.fleet.recommend import TRIES_MAX, Recommender, recommended
from ops.controller.fleet.rollback import (
    READ_S,
    difference,
    rollback_request,
    selector_text,
)
from ops.controller.resources.fleet import FleetSpec, Mode
from ops.errors import KubeError
from ops.guard import DRY_RUN
from ops.state import Action, ActionKind, Decision, DecisionKind
from rca.state import Entity

REVISION = "deployment.kubernetes.io/revision"
SECRET = "postgres://u:hunter2@db"


def template(image="shop:2", dsn="postgres://none", **more):
    env = [{"name": "DSN", "value": dsn}]
    container = {"name": "main", "image": image, "env": env, **more}
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}


def deployment(**spec):
    meta = {"name": "web", "namespace": "shop", "uid": "d-1", "annotations": {REVISION: "7"}}
    selector = {"matchLabels": {"app": "web"}}
    return {"metadata": meta, "spec": {"selector": selector, "template": template(), **spec}}


def replica_set(revision, made, *, owner="d-1", history=""):
    made = copy.deepcopy(made)
    made["metadata"]["labels"]["pod-template-hash"] = f"h{revision}"
    notes = {REVISION: revision, "deployment.kubernetes.io/revision-history": history}
    meta = {"name": f"web-{revision}", "annotations": notes, "ownerReferences": [{"uid": owner}]}
    return {"metadata": meta, "spec": {"template": made}}


SETS = [
    replica_set("6", template("shop:9"), owner="another"),
    replica_set("7", template()),
    replica_set("6", template("shop:1", SECRET)),
]


class FakeApi:
    def __init__(self, found, sets=SETS, error=None):
        self.found, self.sets, self.error = found, sets, error
        self.asked, self.sent = [], []

    def get(self, path, *, params, timeout_s):
        assert timeout_s <= READ_S
        self.asked.append((path, params))
        return {"items": self.found}

    def pages(self, path, *, params, limit, deadline):
        assert deadline.left_s() <= READ_S
        self.asked.append((path, params))
        if self.error:
            raise self.error
        for one in self.sets:
            yield orjson.dumps({"items": [one]})

    def patch(self, path, body, *, kind, params, timeout_s):
        assert params == {"dryRun": "All"}
        self.sent.append(body)


def rollback(revision="6"):
    return Action(
        action_id="", kind=ActionKind.ROLLBACK, target=Entity.parse("service:east/web"),
        params={"to_revision": revision},
    )  # fmt: skip


def allowed(action):
    return Decision(
        at_s=1.0, kind=DecisionKind.REFUSE, incident_id="inc-0001", reason=DRY_RUN, action=action
    )


def roll_back(api, revision="6"):
    return recommended(api, rollback(revision), None, namespace="shop")


def test_the_template_of_the_revision_is_put_back_and_the_server_is_asked():
    api = FakeApi([deployment()])
    found = roll_back(api)
    assert api.asked == [
        ("/apis/apps/v1/namespaces/shop/deployments", {"fieldSelector": "metadata.name=web"}),
        ("/apis/apps/v1/namespaces/shop/replicasets", {"labelSelector": "app=web"}),
    ]
    assert found.request == "PATCH /apis/apps/v1/namespaces/shop/deployments/web"
    assert api.sent == [
        [
            {"op": "test", "path": "/metadata/annotations/deployment.kubernetes.io~1revision",
             "value": "7"},
            {"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value",
             "value": SECRET},
            {"op": "replace", "path": "/spec/template/spec/containers/0/image",
             "value": "shop:1"},
        ]
    ]  # fmt: skip
    assert found.dry_run.startswith("accepted: the server would carry it out")


def test_a_value_that_may_be_secret_is_sent_and_not_told():
    api = FakeApi([deployment()])
    found = roll_back(api)
    assert "hunter2" in str(api.sent)
    assert "hunter2" not in str(found)
    assert [one.get("value") for one in orjson.loads(found.patch)] == ["7", WITHHELD, "shop:1"]
    assert "rollout history deployment/web --revision=6" in found.dry_run


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (0, "Timeout", "no answer: Timeout"),
        (422, "Invalid", "refused: 422 Invalid ("),
        (422, "hunter2", "refused: 422 ("),
        (429, "TooManyRequests", "no answer: 429 TooManyRequests ("),
        (500, "hunter2", "no answer: 500 ("),
    ],
)
@pytest.mark.parametrize(
    "words",
    [SECRET, SECRET[:20], json.dumps('hunter2 "of" \\ the\ndb')],
    ids=["whole", "cut", "quoted"],
)
def test_neither_a_refusal_nor_a_silence_repeats_the_secret(caplog, words, status, reason, told):
    class Refuses(FakeApi):
        def patch(self, path, body, **_):
            raise KubeError(f"Invalid value: {words}", status=status, reason=reason)

    asking = Recommender(Refuses([deployment()]), namespace="shop")
    asking.note([allowed(rollback())], FleetSpec(mode=Mode.RECOMMEND))
    for _ in range(TRIES_MAX):
        asking.offer(None, ready=bool)
        asking.ask()
    (answered,) = asking.take()
    assert "hunter2" not in f"{answered} {caplog.text}"
    dry_run = answered.details["dry_run"]
    assert dry_run.startswith(told)
    again = "kubectl --namespace shop rollout undo deployment/web --to-revision=6 --dry-run=server"
    assert again in dry_run


def test_a_change_of_images_alone_is_told_exactly():
    sets = [replica_set("6", template("shop:1"))]
    request = rollback_request(deployment(), sets, to_revision="6")
    assert request.body == orjson.loads(request.text)
    assert request.hint == ""


def test_a_template_that_was_used_again_is_found_by_its_earlier_number():
    sets = [replica_set("5", template("shop:1"), history="2,4")]
    assert rollback_request(deployment(), sets, to_revision="4").verb == "PATCH"


@pytest.mark.parametrize(
    ("found", "revision", "told"),
    [
        ([], "6", "no request: no Deployment web is there in namespace shop"),
        ([deployment()], "", "no request: which revision of web ran before is not known"),
        ([deployment()], "3", "no request: revision 3 of web is no longer kept"),
        ([deployment()], "7", "no request: web runs the template of revision 7 already"),
        ([deployment(paused=True)], "6", "no request: the roll-out of web is paused; first: "
         "kubectl --namespace shop rollout resume deployment/web"),
    ],
)  # fmt: skip
def test_what_cannot_be_rolled_back_says_why(found, revision, told):
    api = FakeApi(found)
    assert roll_back(api, revision).dry_run.startswith(told)
    assert api.sent == []


def test_a_right_that_is_missing_is_told_and_a_silent_server_is_no_answer():
    refused = KubeError("403 Forbidden: list replicasets.apps", status=403)
    told = roll_back(FakeApi([deployment()], error=refused)).dry_run
    assert told == "no request: 403 Forbidden: list replicasets.apps"
    for silence in (KubeError("no answer"), KubeError("429 TooManyRequests", status=429)):
        with pytest.raises(KubeError):
            roll_back(FakeApi([deployment()], error=silence))


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"a": 1}, [{"op": "remove", "path": "/x/b"}]),
        ({}, {"a/b~": 1}, [{"op": "add", "path": "/x/a~1b~0", "value": 1}]),
        ([1, 2], [1, 3], [{"op": "replace", "path": "/x/1", "value": 3}]),
        ([1], [1, 2], [{"op": "replace", "path": "/x", "value": [1, 2]}]),
        ({"a": 1}, {"a": [1]}, [{"op": "replace", "path": "/x/a", "value": [1]}]),
    ],
)
def test_only_what_differs_is_in_the_patch(old, new, patch):
    assert list(difference(old, new, path="/x")) == patch


def test_a_selector_is_spelled_as_a_list_takes_it():
    rules = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "new", "operator": "Exists"},
    ]
    text = selector_text({"matchLabels": {"app": "web"}, "matchExpressions": rules})
    assert text == "app=web,tier in (a,b),!old,new"
