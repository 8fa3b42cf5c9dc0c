"""An API server of a few lines: stores objects, merges patches, fails as it is told."""

from __future__ import annotations

import copy
import itertools

from ops.adapters.kube.paths import parse_path
from ops.errors import KubeError


def merged(old, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merged(new.get(key), value)
    return new


class FakeServer:
    """Objects by path. `fail` maps a verb and a resource to a status that is answered."""

    def __init__(self):
        self.objects, self.calls, self.fail = {}, [], {}
        self.after_create = None  # raised after the object was stored: its answer is lost
        self._uids = itertools.count(1)

    def _check(self, verb, path):
        self.calls.append((verb, path))
        place = parse_path(path)
        resource = f"{place.resource}/{place.subresource}".rstrip("/")
        status = self.fail.get((verb, resource)) or self.fail.get("all")
        if status:
            raise KubeError(f"{verb} {path}: {status}", status=status, reason="Told")

    def create(self, path, body):
        self._check("create", path)
        key = f"{path}/{body['metadata']['name']}"
        if key in self.objects:
            raise KubeError(f"{key} exists", status=409, reason="AlreadyExists")
        stored = copy.deepcopy(body)
        stored.pop("status", None)
        stored["metadata"] |= {"uid": f"uid-{next(self._uids)}", "generation": 1,
                               "creationTimestamp": "2026-11-18T11:06:40Z"}  # fmt: skip
        self.objects[key] = stored
        if self.after_create is not None:
            error, self.after_create = self.after_create, None
            raise error
        return copy.deepcopy(stored)

    def patch(self, path, body):
        self._check("patch", path)
        key = path.removesuffix("/status")
        if key not in self.objects:
            raise KubeError(f"{key} not found", status=404, reason="NotFound")
        if path.endswith("/status"):
            body = {"status": body["status"]} if "status" in body else {}
        self.objects[key] = merged(self.objects[key], copy.deepcopy(body))
        return copy.deepcopy(self.objects[key])

    def delete(self, path):
        self._check("delete", path)
        if self.objects.pop(path, None) is None:
            raise KubeError(f"{path} not found", status=404, reason="NotFound")
        return {}

    def of(self, resource):
        """Stored objects of one resource, in the order of their coming."""
        return [o for path, o in self.objects.items() if parse_path(path).resource == resource]
