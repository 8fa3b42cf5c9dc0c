from __future__ import annotations

import pytest

from ops.adapters.kube.paths import ResourcePath, parse_path, path_of, query_of
from ops.adapters.kube.rights import FORGET_S, MissingRights, Right, right_of

KNOWN = [
    (("", "v1", "pods"), "/api/v1/pods"),
    (("", "v1", "pods", "a", "b", "eviction"), "/api/v1/namespaces/a/pods/b/eviction"),
    (("", "v1", "namespaces", "", "a"), "/api/v1/namespaces/a"),
    (("apps", "v1", "deployments", "a"), "/apis/apps/v1/namespaces/a/deployments"),
    (
        ("midwatch.dev", "v1alpha1", "incidents", "a", "b", "status"),
        "/apis/midwatch.dev/v1alpha1/namespaces/a/incidents/b/status",
    ),
]


@pytest.mark.parametrize(("names", "path"), KNOWN)
def test_a_path_is_made_and_read_back(names, path) -> None:
    fields = ("group", "version", "resource", "namespace", "name", "subresource")
    assert path_of(*names) == path
    assert parse_path(path) == ResourcePath(**dict(zip(fields, names, strict=False)))


@pytest.mark.parametrize("path", ["/version", "/readyz", "/api/v1", "/apis/apps/v1", "/"])
def test_a_path_without_a_resource_is_read_as_one(path) -> None:
    assert parse_path(path).resource == ""


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    assert path_of("", "v1", "pods", "a", "../b?x") == "/api/v1/namespaces/a/pods/..%2Fb%3Fx"


def test_truths_are_written_in_small_letters() -> None:
    assert query_of({"watch": True, "limit": 5, "fieldSelector": "a=b"}) == (
        "watch=true&limit=5&fieldSelector=a%3Db"
    )


@pytest.mark.parametrize(
    ("method", "path", "watch", "right", "words"),
    [
        ("GET", "/api/v1/pods", False, Right("list", "", "pods"), "list pods in the whole cluster"),
        (
            "GET",
            "/api/v1/pods",
            True,
            Right("watch", "", "pods"),
            "watch pods in the whole cluster",
        ),
        (
            "PATCH",
            "/apis/midwatch.dev/v1alpha1/namespaces/a/incidents/b/status",
            False,
            Right("patch", "midwatch.dev", "incidents", "status", "a"),
            "patch incidents.midwatch.dev/status in namespace a",
        ),
        (
            "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
            False,
            Right("update", "coordination.k8s.io", "leases", "", "a"),
            "update leases.coordination.k8s.io in namespace a",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/a/pods",
            False,
            Right("deletecollection", "", "pods", "", "a"),
            "deletecollection pods in namespace a",
        ),
    ],
)
def test_the_right_of_a_call_is_what_rbac_calls_it(method, path, watch, right, words) -> None:
    assert right_of(method, path, watch=watch) == right
    assert str(right) == words


def test_a_right_that_works_again_is_missing_no_longer() -> None:
    missing, right = MissingRights(), Right("list", "", "pods")
    missing.refused(right)
    assert missing.snapshot() == {right}
    missing.allowed(right)
    assert not missing.snapshot()


def test_a_right_that_nobody_wants_any_more_is_not_missing_for_ever() -> None:
    now = [0.0]
    missing, right = MissingRights(clock=lambda: now[0]), Right("create", "", "configmaps")
    assert missing.refused(right)
    now[0] = FORGET_S - 1.0
    assert not missing.refused(right)  # still wanted
    now[0] = 2.0 * FORGET_S - 2.0
    assert missing.snapshot() == {right}
    now[0] = 2.0 * FORGET_S
    assert missing.snapshot() == frozenset()
    assert missing.refused(right)  # news again
