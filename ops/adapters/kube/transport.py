"""One HTTP exchange with an API server: token, time limits, statuses as errors, rights noted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from ops.adapters.kube.connect import USER_AGENT, Login, TokenFile
from ops.adapters.kube.paths import query_of
from ops.adapters.kube.refusals import by_admission, no_answer, refusal
from ops.adapters.kube.rights import MissingRights, right_of
from ops.clock import Deadline
from ops.errors import KubeError

logger = logging.getLogger(__name__)

Params = Mapping[str, str | int | bool]
CONNECT_S_MAX = 5.0
BODY_BYTES_MAX = 256 << 20
_PIECE_BYTES = 1 << 18
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_LET_THROUGH = (404, 409, 422)  # said after the rights were looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked of the server."""

    method: str
    path: str
    params: Params
    body: Any = None
    content_type: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Transport:
    """Sends calls; nothing twice, except once with a freshly read token after a 401."""

    def __init__(
        self,
        client: ApiClient,
        token: TokenFile | None,
        *,
        before_write: Callable[[], None],
        connect_s_max: float = CONNECT_S_MAX,
    ) -> None:
        """Wrap a configured client; `token` replaces its own.

        Args:
            before_write: called before each exchange that is no read, also before a second try.
            connect_s_max: until a connection stands.
        """
        self._client, self._token = client, token
        self._before_write, self.connect_s_max = before_write, connect_s_max
        self.missing = MissingRights()

    @property
    def host(self) -> str:
        """Address of the server."""
        return str(self._client.configuration.host)

    def login(self) -> Login:
        """Address and credentials as they are now."""
        known = self._client.configuration
        key = known.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
        token = self._token.read(again=True) if self._token else key.removeprefix("Bearer ")
        return Login(
            server=self.host,
            ca_file=known.ssl_ca_cert,
            cert_file=known.cert_file,
            key_file=known.key_file,
            token=token or None,
            verify=bool(known.verify_ssl),
        )

    def close(self) -> None:
        """Close the idle connections."""
        self._client.close()

    def whole(self, call: Call, *, allowed_s: float) -> bytes:
        """One call to the end of its answer.

        Raises:
            KubeError: refused, or no whole answer within `allowed_s`.
        """
        deadline = Deadline.after(allowed_s)
        response = self.opened(call, connect_s=allowed_s, read_s=allowed_s)
        try:
            return _body(response, call, deadline)
        except HTTPError as error:
            response.close()
            raise no_answer(str(call), self.host, error) from error

    def opened(self, call: Call, *, connect_s: float, read_s: float) -> urllib3.BaseHTTPResponse:
        """Send; the answer has a good status and its body is still to be read.

        Raises:
            KubeError: refused, or no answer in time.
        """
        connect_s = min(connect_s, self.connect_s_max)
        right = right_of(call.method, call.path, watch=bool(call.params.get("watch")))
        for again in (False, True):
            if call.method != "GET":
                self._before_write()
            response = self._exchange(call, timeout=(connect_s, read_s), again=again)
            if response.status != _UNAUTHORIZED or again or self._token is None:
                break
            response.close()
        if 200 <= response.status < 300:
            self.missing.allowed(right)
            return response
        error = refusal(str(call), response, right)
        forbidden, ruled = error.status == _FORBIDDEN, by_admission(str(error))
        if error.status in _LET_THROUGH or (forbidden and ruled):
            self.missing.allowed(right)
        elif forbidden and self.missing.refused(right):
            logger.warning("right missing right=%r", str(right))
        raise error

    def _exchange(
        self, call: Call, *, timeout: tuple[float, float], again: bool
    ) -> urllib3.BaseHTTPResponse:
        query = query_of(call.params)
        try:
            answer = self._client.call_api(
                call.method,
                f"{self.host}{call.path}?{query}" if query else f"{self.host}{call.path}",
                header_params=self._headers(call.content_type, again=again),
                body=call.body,
                _request_timeout=timeout,
            )
        except (HTTPError, ApiException) as error:
            raise no_answer(str(call), self.host, error) from error
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


def _body(response: urllib3.BaseHTTPResponse, call: Call, deadline: Deadline) -> bytes:
    """The whole body, unless it is too large or dribbles in beyond the deadline."""
    pieces, num_bytes = [], 0
    while piece := response.read1(_PIECE_BYTES):
        pieces.append(piece)
        num_bytes += len(piece)
        if num_bytes > BODY_BYTES_MAX:
            response.close()
            raise KubeError(
                f"{call}: the answer has more than {BODY_BYTES_MAX >> 20} MiB; ask for pages",
                reason="TooLarge",
            )
        if deadline.left_s() <= 0.0:
            response.close()
            raise KubeError(
                f"{call}: the answer had not ended when the time was over, after {num_bytes} "
                "bytes; allow more time or ask for less",
                reason="Timeout",
            )
    return b"".join(pieces)
