"""Calls to a Kubernetes API server: raw JSON, time limits on each, plain errors, refused rights.

The `kubernetes` client loads the configuration and owns TLS and the connections; its typed models
are not used: a pod costs 75 KiB as one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import orjson
import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from ops.adapters.kube.connect import USER_AGENT, TokenFile, connect_client
from ops.adapters.kube.lines import LineStream
from ops.adapters.kube.paths import query_of
from ops.adapters.kube.refusals import no_answer, refusal
from ops.adapters.kube.rights import MissingRights, Right, right_of
from ops.clock import Deadline
from ops.errors import KubeError

logger = logging.getLogger(__name__)

Params = Mapping[str, str | int | bool]
FIELD_MANAGER = "midwatch"
CONNECT_S_MAX = 5.0
BODY_BYTES_MAX = 256 << 20
_PIECE_BYTES = 1 << 18
_UNAUTHORIZED, _FORBIDDEN = 401, 403


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
        self, client: ApiClient, *, token: TokenFile | None = None, timeout_s: float = 10.0
    ) -> None:
        """Wrap a configured client; `timeout_s` limits a whole call unless it says otherwise."""
        self._client, self._token, self._timeout_s = client, token, timeout_s
        self._rights = MissingRights()

    @classmethod
    def connect(
        cls,
        *,
        kubeconfig: Path | None = None,
        token_file: Path | None = None,
        timeout_s: float = 10.0,
    ) -> KubeApi:
        """Prepare; sends nothing yet.

        Args:
            kubeconfig: None = the ServiceAccount of the pod that this process runs in.
            token_file: token to use instead of the kubeconfig's; re-read when it is rotated.

        Raises:
            KubeError: no usable configuration.
        """
        client, token = connect_client(kubeconfig=kubeconfig, token_file=token_file)
        return cls(client, token=token, timeout_s=timeout_s)

    @property
    def host(self) -> str:
        """Address of the server."""
        return str(self._client.configuration.host)

    @property
    def forbidden(self) -> frozenset[Right]:
        """Rights whose last use was answered 403; one that works again is no longer here."""
        return self._rights.snapshot()

    def close(self) -> None:
        """Close the idle connections."""
        self._client.close()

    def get(
        self, path: str, *, params: Params | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """One object, or a whole list that is known to be short."""
        return _decoded(path, self.get_bytes(path, params=params, timeout_s=timeout_s))

    def get_bytes(
        self, path: str, *, params: Params | None = None, timeout_s: float | None = None
    ) -> bytes:
        """The same, undecoded."""
        return self._call("GET", path, params=params, timeout_s=timeout_s)

    def pages(
        self, path: str, *, params: Params | None = None, limit: int = 500
    ) -> Iterator[bytes]:
        """A list page by page, each an undecoded list object of at most `limit` items.

        A 410 in the middle means that the list is too old to be continued: begin again.
        """
        asked: dict[str, str | int | bool] = {**(params or {}), "limit": limit}
        while True:
            page = self.get_bytes(path, params=asked)
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
        response = self._send(
            "GET",
            path,
            params={**(params or {}), "watch": True},
            connect_s=min(CONNECT_S_MAX, read_timeout_s),
            read_s=read_timeout_s,
        )
        return LineStream(response, asked=f"watch {path}")

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
        return _decoded(path, self._call("DELETE", path, params=params, timeout_s=timeout_s))

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
        answer = self._call(
            method, path, params=asked, timeout_s=timeout_s, body=body, content_type=content_type
        )
        return _decoded(path, answer)

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None,
        timeout_s: float | None,
        body: Any = None,
        content_type: str = "",
    ) -> bytes:
        """One call to its end, the reading of the body included."""
        allowed_s = self._timeout_s if timeout_s is None else timeout_s
        deadline = Deadline.after(allowed_s)
        response = self._send(
            method,
            path,
            params=params,
            connect_s=min(CONNECT_S_MAX, allowed_s),
            read_s=allowed_s,
            body=body,
            content_type=content_type,
        )
        asked = f"{method} {path}"
        try:
            return _body(response, asked, deadline)
        except HTTPError as error:
            raise no_answer(asked, self.host, error) from error

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None,
        connect_s: float,
        read_s: float,
        body: Any = None,
        content_type: str = "",
    ) -> urllib3.BaseHTTPResponse:
        """Send; the answer has a good status and its body is still to be read."""
        asked, query = f"{method} {path}", query_of(params or {})
        right = right_of(method, path, watch=bool(params and params.get("watch")))
        for again in (False, True):
            response = self._exchange(
                asked,
                url=f"{self.host}{path}?{query}" if query else f"{self.host}{path}",
                headers=self._headers(content_type, again=again),
                body=body,
                timeout=(connect_s, read_s),
            )
            if response.status != _UNAUTHORIZED or again or self._token is None:
                break
            response.close()
        if 200 <= response.status < 300:
            self._rights.allowed(right)
            return response
        error = refusal(asked, response, right)
        if error.status == _FORBIDDEN:
            self._rights.refused(right)
            logger.warning("right missing right=%r", str(right))
        raise error

    def _exchange(
        self,
        asked: str,
        *,
        url: str,
        headers: dict[str, str],
        body: Any,
        timeout: tuple[float, float],
    ) -> urllib3.BaseHTTPResponse:
        method = asked.partition(" ")[0]
        try:
            answer = self._client.call_api(
                method, url, header_params=headers, body=body, _request_timeout=timeout
            )
        except (HTTPError, ApiException) as error:
            raise no_answer(asked, self.host, error) from error
        return cast("urllib3.BaseHTTPResponse", answer.response)

    def _headers(self, content_type: str, *, again: bool) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        if content_type:
            headers["Content-Type"] = content_type
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.read(again=again)}"
            return headers
        known = self._client.configuration.get_api_key_with_prefix(
            "BearerToken", alias="authorization"
        )
        if known:
            headers["Authorization"] = str(known)
        return headers


def _body(response: urllib3.BaseHTTPResponse, asked: str, deadline: Deadline) -> bytes:
    """The whole body, unless it is too large or dribbles in beyond the deadline."""
    pieces, num_bytes = [], 0
    while piece := response.read1(_PIECE_BYTES):
        pieces.append(piece)
        num_bytes += len(piece)
        if num_bytes > BODY_BYTES_MAX or deadline.left_s() <= 0.0:
            response.close()
            raise KubeError(
                f"{asked}: the answer has more than {BODY_BYTES_MAX >> 20} MiB; ask for pages"
                if num_bytes > BODY_BYTES_MAX
                else f"{asked}: the answer had not ended when the time was over, after "
                f"{num_bytes} bytes; allow more time or ask for less",
                reason="TooLarge" if num_bytes > BODY_BYTES_MAX else "Timeout",
            )
    return b"".join(pieces)


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
