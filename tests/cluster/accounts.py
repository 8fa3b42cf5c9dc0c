"""ServiceAccounts of tests and what they are granted.

Roles and bindings reach the server's authorizer through watches of its own: the call right after a
grant may still be refused. What is granted here is in force when the call returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ops.adapters.kube.rights import Right
from tests.cluster.control_plane import ControlPlane
from tests.cluster.granted import RBAC, rights_in
from tests.cluster.processes import eventually

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
IN_FORCE_S = 30.0


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
        return eventually(allowed, timeout_s=IN_FORCE_S, poll_s=0.05)
    except AssertionError as error:
        raise AssertionError(f"{user} may not {left[-1]} after {IN_FORCE_S} s") from error


def allows(plane: ControlPlane, user: str, right: Right) -> bool:
    """Whether the server would let this user do it."""
    asked = {
        "verb": right.verb, "group": right.group, "resource": right.resource,
        "subresource": right.subresource, "namespace": right.namespace,
    }  # fmt: skip
    body = {"spec": {"user": user, "resourceAttributes": asked}}
    return bool(plane.admin.create(REVIEWS, body)["status"]["allowed"])


def user_of(namespace: str, account: str) -> str:
    """The name of a ServiceAccount as a user."""
    return f"system:serviceaccount:{namespace}:{account}"
