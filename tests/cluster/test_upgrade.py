"""Objects of an older release stay readable and writable after the definitions are re-applied."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import yaml

from ops.controller.resources.fields import parse
from ops.controller.resources.kinds import KINDS
from tests.cluster import binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installing import apply, path_of, served
from tests.cluster.processes import eventually

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.figure("objects of an older release stay valid after an upgrade"),
]
KEPT = Path(__file__).resolve().parents[1] / "manifests" / "kept"
RELEASES = sorted(path.name for path in KEPT.iterdir())
BY_KIND = {kind.kind: kind for kind in KINDS}


def stored_by(release):
    """Objects as that release stored them, with their statuses."""
    return list(yaml.safe_load_all((KEPT / release / "objects.yaml").read_text()))


@pytest.fixture
def server(tmp_path):
    plane = ControlPlane(binaries=binaries.find(), folder=tmp_path / "plane").start()
    yield plane
    plane.stop()


@pytest.mark.parametrize("release", RELEASES)
def test_an_object_of_an_older_release_stays_valid(server, release):
    admin = server.admin
    for kind in KINDS:
        server.kubectl("apply", "-f", KEPT / release / f"{kind.plural}.yaml")
    eventually(lambda: served(server), what="kinds")
    namespace = "older"
    admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    before = {}
    for given in stored_by(release):
        kind, name = BY_KIND[given["kind"]], given["metadata"]["name"]
        admin.create(path_of(kind.plural, namespace), given)
        path = path_of(kind.plural, namespace, name)
        if "status" in given:
            admin.patch(f"{path}/status", {"status": given["status"]})
        before[path] = (kind, admin.get(path))
    apply(server)
    for path, (kind, old) in before.items():
        now = admin.get(path)
        assert subset(old["spec"], now["spec"]), path
        assert subset(old.get("status", {}), now.get("status", {})), path
        # What is stored is not looked at again unless it changes: the whole object anew is.
        again = {
            "apiVersion": now["apiVersion"],
            "kind": now["kind"],
            "metadata": {"name": f"again-{secrets.token_hex(3)}"},
            "spec": now["spec"],
        }
        made = admin.create(path_of(kind.plural, namespace), again, fieldValidation="Strict")
        written = path_of(kind.plural, namespace, made["metadata"]["name"])
        if "status" in now:
            admin.patch(f"{written}/status", {"status": now["status"]})
        admin.patch(path, {"metadata": {"labels": {"touched": "yes"}}})
        assert parse(kind.spec, now["spec"], path=path)
        assert parse(kind.status, now.get("status"), path=path)
    assert len(before) >= 10


def subset(old, new):
    """Whether everything of the old value is still there, as it was."""
    if isinstance(old, dict):
        return all(name in new and subset(inner, new[name]) for name, inner in old.items())
    return bool(old == new)
