"""A plain client of the API server for tests: JSON in, JSON out, no retries.

Not the product's own: a test must not see the cluster through the code that it checks.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiError(Exception):
    """The server's refusal."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {body.get('reason', '')}: {body.get('message', body)}")
        self.status, self.reason = status, str(body.get("reason", ""))


class Api:
    """Calls of one user; threads may share it."""

    def __init__(self, server: str, *, ca: Path, token: str, timeout_s: float = 30.0) -> None:
        parts = urlsplit(server)
        self.pool = urllib3.HTTPSConnectionPool(
            parts.hostname, parts.port, ssl_context=ssl.create_default_context(cafile=str(ca)),
            headers={"Authorization": f"Bearer {token}"}, timeout=timeout_s, retries=False,
            maxsize=8,
        )  # fmt: skip

    def get(self, path: str, **params: str) -> Any:
        return self.call("GET", path, params=params)

    def create(self, path: str, body: Mapping[str, Any], **params: str) -> Any:
        return self.call("POST", path, body=body, params=params)

    def replace(self, path: str, body: Mapping[str, Any], **params: str) -> Any:
        return self.call("PUT", path, body=body, params=params)

    def patch(self, path: str, body: Any, *, kind: str = "merge", **params: str) -> Any:
        return self.call("PATCH", path, body=body, params=params, content=PATCHES[kind])

    def delete(self, path: str, **params: str) -> Any:
        return self.call("DELETE", path, params=params)

    def call(
        self, method: str, path: str, *, body: Any = None, params: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Any:  # fmt: skip
        """One request; the decoded answer, or its text where it is no JSON.

        Raises:
            ApiError: the server answers 400 or above.
            OSError: it cannot be reached.
        """
        url = f"{path}?{urlencode(params)}" if params else path
        try:
            answer = self.pool.request(
                method, url, body=None if body is None else json.dumps(body),
                headers={**self.pool.headers, "Content-Type": content},
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"{method} {path}: {error}") from error
        try:
            told = json.loads(answer.data)
        except ValueError:
            told = answer.data.decode(errors="replace")
        if answer.status >= 400:
            raise ApiError(answer.status, told if isinstance(told, dict) else {"message": told})
        return told

    def exists(self, path: str) -> bool:
        try:
            self.get(path)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def items(self, path: str, **params: str) -> list[dict[str, Any]]:
        """All objects of a list, page by page."""
        found, more = [], {}
        while True:
            told = self.get(path, limit="500", **params, **more)
            found += told["items"]
            following = told["metadata"].get("continue")
            if not following:
                return found
            more = {"continue": following}

    def everything(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Path of a listable resource and an object of it, for all that discovery names."""
        for path in self.list_paths():
            for item in self.items(path):
                yield path, item

    def list_paths(self) -> list[str]:
        """Cluster-wide list path of every resource that discovery names as listable."""
        groups = [
            f"/apis/{group['preferredVersion']['groupVersion']}"
            for group in self.get("/apis")["groups"]
        ]
        return [
            f"{base}/{resource['name']}"
            for base in ["/api/v1", *groups]
            for resource in self.get(base)["resources"]
            if "list" in resource["verbs"] and "/" not in resource["name"]
        ]

    def close(self) -> None:
        self.pool.close()
