"""ServiceAccounts of tests and what they are granted.

Roles and bindings reach the server's authorizer through watches of its own: the call right after a
grant may still be refused. What is granted or taken away here is in force when the call returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ops.adapters.kube.rights import Right
from tests.cluster.control_plane import ControlPlane
from tests.cluster.granted import RBAC, rights_in, roles_of
from tests.cluster.installing import OPERATOR
from tests.cluster.processes import WAIT_S, eventually

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


def add_account(plane: ControlPlane, namespace: str, account: str) -> None:
    """Create a ServiceAccount."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    plane.admin.create(path, {"metadata": {"name": account}})


def grant(
    plane: ControlPlane, namespace: str, account: str, rules: list[dict[str, Any]]
) -> None:  # fmt: skip
    """A Role of this namespace for a ServiceAccount there, of its name."""
    folder = f"{RBAC}/namespaces/{namespace}"
    role = {"metadata": {"name": account, "namespace": namespace}, "rules": rules}
    plane.admin.create(f"{folder}/roles", role)
    bind(plane, folder, namespace, account, kind="Role", role=account)
    in_force(plane, user_of(namespace, account), rights_in(role))


def grant_everywhere(
    plane: ControlPlane, namespace: str, account: str, rules: list[dict[str, Any]]
) -> list[str]:
    """A ClusterRole for a ServiceAccount; paths of what was made: no namespace takes it along."""
    name = f"{account}-{namespace}"
    role = {"metadata": {"name": name}, "rules": rules}
    plane.admin.create(f"{RBAC}/clusterroles", role)
    bind(plane, RBAC, namespace, account, kind="ClusterRole", role=name)
    in_force(plane, user_of(namespace, account), rights_in(role))
    return [f"{RBAC}/{kind}/{name}" for kind in ("clusterroles", "clusterrolebindings")]


def bind(
    plane: ControlPlane, folder: str, namespace: str, account: str, *, kind: str, role: str
) -> None:
    """Bind a ServiceAccount to a role, in a namespace's folder of RBAC or in the cluster's."""
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    bindings = "clusterrolebindings" if folder == RBAC else "rolebindings"
    plane.admin.create(
        f"{folder}/{bindings}", {"metadata": {"name": role}, "roleRef": ref, "subjects": [subject]}
    )


def in_force(plane: ControlPlane, user: str, rights: Iterable[Right]) -> float:
    """Wait until the server acts on what was granted; seconds that took."""
    left = list(rights)

    def allowed() -> bool:
        while left and allows(plane, user, left[-1]):
            left.pop()
        return not left

    try:
        return eventually(allowed, timeout_s=WAIT_S, poll_s=0.05)
    except AssertionError as error:
        raise AssertionError(f"{user} may not {left[-1]} after {WAIT_S} s") from error


def roles_in_force(plane: ControlPlane) -> None:
    """Wait until the server acts on the operator's roles that were applied."""
    for _, role in roles_of(plane):
        # A rule with names allows nothing to who asks without one.
        rules = [rule for rule in role["rules"] if "resourceNames" not in rule]
        in_force(plane, OPERATOR, rights_in({**role, "rules": rules}))


def allows(plane: ControlPlane, user: str, right: Right, *, name: str = "") -> bool:
    """Whether the server would let this user do it, to the object of this name if there is one."""
    asked = {
        "verb": right.verb, "group": right.group, "resource": right.resource,
        "subresource": right.subresource, "namespace": right.namespace, "name": name,
    }  # fmt: skip
    body = {"spec": {"user": user, "resourceAttributes": asked}}
    return bool(plane.admin.create(REVIEWS, body)["status"]["allowed"])


@contextmanager
def without(plane: ControlPlane, right: Right) -> Iterator[None]:
    """Take one tuple out of the roles that grant it to the operator, and put it back."""
    roles = {path: role for path, role in roles_of(plane) if right in rights_in(role)}
    assert roles, f"nobody grants {right}"
    before = {path: role["rules"] for path, role in roles.items()}
    (granting, *_) = [
        rule
        for role in roles.values()
        for rule in role["rules"]
        if right in rights_in({**role, "rules": [rule]})
    ]
    name = granting.get("resourceNames", [""])[0]  # without it such a rule allows nothing

    def held() -> bool:
        return allows(plane, OPERATOR, right, name=name)

    try:
        for path, rules in before.items():
            in_role = path.partition("/namespaces/")[2].partition("/")[0]
            assert in_role == right.namespace, path
            plane.admin.patch(path, {"rules": [r for rule in rules for r in less(rule, right)]})
        eventually(lambda: not held(), what=f"{right} taken away")
        yield
    finally:
        for path, rules in before.items():
            plane.admin.patch(path, {"rules": rules})
        eventually(held, what=f"{right} put back")


def less(rule: dict[str, Any], right: Right) -> list[dict[str, Any]]:
    """A rule without one tuple: apart by resource, so that the others stay."""
    name = f"{right.resource}/{right.subresource}" if right.subresource else right.resource
    parts = []
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            hit = (group, resource) == (right.group, name)
            verbs = [verb for verb in rule["verbs"] if not (hit and verb == right.verb)]
            if verbs:
                parts.append(
                    {**rule, "apiGroups": [group], "resources": [resource], "verbs": verbs}
                )
    return parts


def user_of(namespace: str, account: str) -> str:
    """The name of a ServiceAccount as a user."""
    return f"system:serviceaccount:{namespace}:{account}"
