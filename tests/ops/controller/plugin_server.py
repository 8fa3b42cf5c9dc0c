"""An API server of a few lines, and `kubectl midwatch` run against it."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import orjson
from typer.testing import CliRunner

from ops.adapters.kube.user_config import UserCluster
from ops.commands import cluster_access
from ops.commands.cluster import app
from ops.errors import KubeError

OURS = "/apis/midwatch.dev/v1alpha1"


class Server:
    """Objects by path; remembers patches; refuses what it is told to."""

    def __init__(self, *objects):
        self.objects, self.patches, self.refused = {}, [], {}
        for item in objects:
            self.add(item)

    def add(self, item):
        meta, plural = item["metadata"], f"{item['kind'].lower()}s"
        version = item["apiVersion"]
        root = "/api/v1" if version == "v1" else f"/apis/{version}"
        self.objects[f"{root}/namespaces/{meta['namespace']}/{plural}/{meta['name']}"] = item

    def _check(self, path):
        for part, error in self.refused.items():
            if part in path:
                raise error

    def get(self, path, *, params=None):
        self._check(path)
        if path.endswith("/events"):
            return {"items": []}
        if path not in self.objects:
            raise KubeError(f"get {path}: 404 NotFound: not found", status=404, reason="NotFound")
        return self.objects[path]

    def pages(self, path, *, params=None):
        self._check(path)
        folder, plural = path.rsplit("/", 1)
        found = [
            item
            for place, item in self.objects.items()
            if place.startswith(folder) and f"/{plural}/" in place
        ]
        yield orjson.dumps({"items": found, "metadata": {}})

    def patch(self, path, body, *, params):
        self._check(path)
        self.patches.append((path, body, params))
        return {"spec": body["spec"]}


def runner(monkeypatch):
    """Runs the plugin against a server: `run(server, "status -A")`."""

    def go(server, line):
        user = UserCluster(api=server, namespace="shop", context="eu")
        monkeypatch.setattr(cluster_access, "connect_user", lambda **_: user)
        done = CliRunner().invoke(app, shlex.split(line))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return SimpleNamespace(code=done.exit_code, out=done.stdout, err=done.stderr)

    return go
