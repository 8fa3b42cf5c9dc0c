"""Rights as the cluster holds them: what our account is granted and what it used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ops.adapters.kube.rights import Right
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installing import OPERATOR, SYSTEM

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNT = "midwatch-operator"


def roles_of(plane: ControlPlane, account: str = ACCOUNT) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and object of every role that is bound to the account."""
    for kind, folder in (
        ("clusterrolebindings", RBAC),
        ("rolebindings", f"{RBAC}/namespaces/{SYSTEM}"),
    ):
        for binding in plane.admin.items(f"{folder}/{kind}"):
            for subject in binding.get("subjects", []):
                if (subject["name"], subject.get("namespace")) == (account, SYSTEM):
                    ref = binding["roleRef"]
                    where = RBAC if ref["kind"] == "ClusterRole" else folder
                    path = f"{where}/{ref['kind'].lower()}s/{ref['name']}"
                    yield path, plane.admin.get(path)


def rights_in(role: dict[str, Any]) -> set[Right]:
    """Each tuple that a role grants; namespace "" where it is one of the whole cluster."""
    return {
        Right(verb, group, *split(resource), role["metadata"].get("namespace", ""))
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def split(resource: str) -> tuple[str, str]:
    name, _, part = resource.partition("/")
    return name, part


def granted(plane: ControlPlane, account: str = ACCOUNT) -> set[Right]:
    """Everything that is granted to the account."""
    return {right for _, role in roles_of(plane, account) for right in rights_in(role)}


def used(plane: ControlPlane, *, since: int = 0) -> set[Right]:
    """Everything that the operator used, as grants spell it.

    A right used in one namespace counts for the grant of that namespace where there is one, else
    for the grant of the whole cluster.
    """
    rights, held = plane.audit.rights_used(user=OPERATOR, since=since), granted(plane)
    return {one if one in held else wide(one) for one in rights}


def wide(right: Right) -> Right:
    return Right(right.verb, right.group, right.resource, right.subresource)
