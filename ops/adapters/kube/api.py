"""Calls to a Kubernetes API server: raw JSON, time limits on each, plain errors, refused rights.

The `kubernetes` client loads the configuration and owns TLS and the connections; its typed models
are not used: a pod costs 75 KiB as one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
from kubernetes.client.api_client import ApiClient

from ops.adapters.kube.connect import Login, TokenFile, connect_client
from ops.adapters.kube.lines import LineStream
from ops.adapters.kube.rights import Right
from ops.adapters.kube.transport import CONNECT_S_MAX, Call, Params, Transport
from ops.clock import Deadline
from ops.errors import KubeError

FIELD_MANAGER = "midwatch"


class PatchKind(StrEnum):
    """How the body of a patch is meant."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class KubeApi:
    """One API server. Every method may be called from any thread.

    All methods raise `ops.errors.KubeError`; nothing is tried twice, except once with a freshly
    read token after a 401.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        token: TokenFile | None = None,
        timeout_s: float = 10.0,
        before_write: Callable[[], None] | None = None,
        connect_s_max: float = CONNECT_S_MAX,
    ) -> None:
        """Wrap a configured client; `timeout_s` limits a whole call unless it says otherwise.

        Args:
            before_write: called last before anything but a read is sent, each time that it is sent;
                what it raises holds the call back.
            connect_s_max: of `timeout_s`, for a connection to stand: a write that `before_write`
                has allowed leaves this process no later.
        """
        self._timeout_s = timeout_s
        self._transport = Transport(
            client, token, before_write=before_write or _allow, connect_s_max=connect_s_max
        )

    @classmethod
    def connect(
        cls,
        *,
        kubeconfig: Path | None = None,
        token_file: Path | None = None,
        timeout_s: float = 10.0,
        before_write: Callable[[], None] | None = None,
        connect_s_max: float = CONNECT_S_MAX,
    ) -> KubeApi:
        """Prepare; sends nothing yet.

        Args:
            kubeconfig: None = the ServiceAccount of the pod that this process runs in.
            token_file: token to use instead of the kubeconfig's; re-read when it is rotated.
            before_write, connect_s_max: see `KubeApi`.

        Raises:
            KubeError: no usable configuration.
        """
        client, token = connect_client(kubeconfig=kubeconfig, token_file=token_file)
        return cls(
            client,
            token=token,
            timeout_s=timeout_s,
            before_write=before_write,
            connect_s_max=connect_s_max,
        )

    @property
    def host(self) -> str:
        """Address of the server."""
        return self._transport.host

    @property
    def connect_s_max(self) -> float:
        """Until a connection stands, at most."""
        return self._transport.connect_s_max

    @property
    def forbidden(self) -> frozenset[Right]:
        """Rights whose last use was answered 403; one that works again is no longer here."""
        return self._transport.missing.snapshot()

    def login(self) -> Login:
        """Address and credentials as they are now, for a client of another kind."""
        return self._transport.login()

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def get(
        self, path: str, *, params: Params | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """One object, or a whole list that is known to be short."""
        return _decoded(path, self.get_bytes(path, params=params, timeout_s=timeout_s))

    def get_bytes(
        self, path: str, *, params: Params | None = None, timeout_s: float | None = None
    ) -> bytes:
        """The same, undecoded."""
        return self._whole(Call(method="GET", path=path, params=params or {}), timeout_s)

    def pages(
        self,
        path: str,
        *,
        params: Params | None = None,
        limit: int = 500,
        deadline: Deadline | None = None,
    ) -> Iterator[bytes]:
        """A list page by page, each an undecoded list object of at most `limit` items.

        A 410 in the middle means that the list is too old to be continued: begin again.

        Args:
            deadline: for all pages together; None = the usual time for each.
        """
        asked: dict[str, str | int | bool] = {**(params or {}), "limit": limit}
        while True:
            left_s = None if deadline is None else deadline.left_s()
            if left_s == 0.0:
                raise KubeError(
                    f"GET {path}: the list had not ended when the time was over; allow more time "
                    "or ask for less",
                    reason="Timeout",
                )
            page = self.get_bytes(path, params=asked, timeout_s=left_s)
            more = _decoded(path, page).get("metadata", {}).get("continue")
            yield page
            if not more:
                return
            asked["continue"] = str(more)

    def watch(
        self, path: str, *, params: Params | None = None, read_timeout_s: float
    ) -> LineStream:
        """Lines of a watch, undecoded, until the server ends it.

        Args:
            read_timeout_s: a connection on which nothing arrives for so long counts as dead.

        Returns:
            An iterator whose `close()` ends it at once from any thread.
        """
        call = Call(method="GET", path=path, params={**(params or {}), "watch": True})
        response = self._transport.opened(
            call,
            connect_s=read_timeout_s,
            read_s=min(self._timeout_s, read_timeout_s),  # until the headers
        )
        return LineStream(response, asked=f"watch {path}", read_timeout_s=read_timeout_s)

    def create(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        params: Params | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Create an object in a collection, or post to a subresource."""
        return self._write("POST", path, body, params=params, timeout_s=timeout_s)

    def replace(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        params: Params | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Replace an object; a stale resourceVersion in it is a Conflict."""
        return self._write("PUT", path, body, params=params, timeout_s=timeout_s)

    def patch(
        self,
        path: str,
        body: Any,
        *,
        kind: PatchKind = PatchKind.MERGE,
        params: Params | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Change an object.

        Args:
            body: an object for MERGE and APPLY, a list of operations for JSON.
        """
        return self._write(
            "PATCH", path, body, params=params, timeout_s=timeout_s, content_type=kind.value
        )

    def delete(
        self, path: str, *, params: Params | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Delete an object."""
        call = Call(method="DELETE", path=path, params=params or {})
        return _decoded(path, self._whole(call, timeout_s))

    # --- how

    def _write(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        params: Params | None,
        timeout_s: float | None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        asked = {"fieldManager": FIELD_MANAGER, **(params or {})}
        call = Call(method=method, path=path, params=asked, body=body, content_type=content_type)
        return _decoded(path, self._whole(call, timeout_s))

    def _whole(self, call: Call, timeout_s: float | None) -> bytes:
        return self._transport.whole(
            call, allowed_s=self._timeout_s if timeout_s is None else timeout_s
        )


def _allow() -> None:
    """Every write."""


def _decoded(path: str, body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise KubeError(
            f"{path}: the answer is no JSON ({error}); is the address an API server's?",
            reason="Garbage",
        ) from error
    if not isinstance(answer, dict):
        raise KubeError(
            f"{path}: the answer is {type(answer).__name__}, expected an object; "
            "is the address an API server's?",
            reason="Garbage",
        )
    return answer
