"""One bounded HTTP exchange with a Prometheus, as the session of prometheus-api-client.

It ends by its deadline whatever the other side does: sockets have time limits, but a resolver
that hangs and a server that sends a byte a second keep within those for ever. So the exchange runs
in a thread, and the caller leaves when the time is over.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from ops.adapters.prometheus_answers import read_error
from ops.adapters.prometheus_login import Login
from ops.clock import Deadline
from ops.errors import PrometheusError, TooLateError, TooMuchError

CONNECT_S_MAX = 5.0
PAUSE_S = 0.5  # before the one retry
BUSY = (429, 502, 503, 504)
_CHUNK_BYTES = 1 << 18
_TOO_MUCH = ("too many", "exceed", "limit", "maximum", "more than")


class Reply:
    """What prometheus-api-client sees: `result`, which it passes through, is the body itself."""

    status_code = 200

    def __init__(self, body: bytes) -> None:
        self._body = body

    def json(self) -> dict[str, dict[str, bytes]]:
        """The undecoded body where the client looks for data."""
        return {"data": {"result": self._body}}


@dataclass(slots=True)
class _Exchange:
    """One exchange under way in its thread."""

    status: int = 0
    location: str = ""
    body: bytes = b""
    num_bytes: int = 0
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Wire:
    """Session for prometheus-api-client with one deadline, one retry and plain errors."""

    verify: bool | str = True  # prometheus-api-client reads these two
    cert = None

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        auth: tuple[str, str] | None,
        login: Login,
        ca_file: Path | None,
        proxies: bool,
        bytes_max: int,
    ) -> None:
        """Prepare; `url` stands in messages, `proxies` allows those of the environment."""
        self.url = url
        self._proxies = proxies
        self._headers, self._auth = dict(headers), auth
        self._login, self._bytes_max = login, bytes_max
        if ca_file is not None:
            self.verify = str(ca_file)
        self._session = self._fresh()
        self._asked, self._deadline = "", Deadline.after(0.0)

    def prepare(self, asked: str, deadline: Deadline) -> None:
        """Say what the next request is for and when it must have ended."""
        self._asked, self._deadline = asked, deadline

    def mount(self, *_: object) -> None:
        """Refuse the client's adapter, whose retries take six seconds for an unreachable host."""

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def request(self, *, method: str, url: str, params: Mapping[str, Any], **_: object) -> Reply:
        """Send; once more where the server is busy or the connection broke.

        Raises:
            TooMuchError: the server or we gave up on the size of the answer.
            PrometheusError: no answer with status 200.
        """
        for tries_left in (1, 0):
            exchange = self._run(method, url, dict(params))
            may_pass = _broken(exchange.error) or exchange.status in BUSY
            if not (may_pass and tries_left and self._deadline.left_s() > PAUSE_S):
                break
            threading.Event().wait(PAUSE_S)
        if exchange.error is not None:
            raise self._failure(exchange.error) from exchange.error
        if exchange.status != 200:
            raise self._refusal(exchange)
        return Reply(exchange.body)

    def _run(self, method: str, url: str, params: dict[str, Any]) -> _Exchange:
        seconds = self._deadline.left_s()
        if seconds <= 0.0:
            raise self._error(
                PrometheusError, "no time was left", "allow more (--deadline-s), or ask for less"
            )
        headers = {"User-Agent": "midwatch", **self._headers, **self._login.headers()}
        exchange = _Exchange()
        threading.Thread(
            target=self._send,
            args=(exchange, self._session, method, url, params, headers, seconds),
            daemon=True,  # what hangs does not keep the program from ending
        ).start()
        if not exchange.done.wait(seconds):
            self._session = self._fresh()  # the thread still holds the old one
            raise self._too_late(exchange)
        return exchange

    def _send(
        self,
        exchange: _Exchange,
        session: requests.Session,
        method: str,
        url: str,
        params: dict[str, Any],
        headers: dict[str, str],
        seconds: float,
    ) -> None:
        deadline = Deadline.after(seconds)
        post = method == "POST"
        try:
            with session.request(
                method,
                url,
                data=params if post else None,  # in the URL, proxies cut long queries off
                params=None if post else params,
                headers=headers,
                timeout=(min(CONNECT_S_MAX, seconds), seconds),
                stream=True,
                allow_redirects=False,  # would turn a POST into a GET and end at a login page
            ) as response:
                exchange.status = response.status_code
                exchange.location = response.headers.get("Location", "")
                parts = []
                for part in response.iter_content(_CHUNK_BYTES):
                    parts.append(part)
                    exchange.num_bytes += len(part)
                    if exchange.num_bytes > self._bytes_max or deadline.left_s() <= 0.0:
                        raise _TooLargeError
            exchange.body = b"".join(parts)
        except Exception as error:  # noqa: BLE001  told by the thread that waits
            exchange.error = error
        exchange.done.set()

    def _fresh(self) -> requests.Session:
        session = requests.Session()
        session.verify = self.verify
        # Where a session has no auth, requests takes it from ~/.netrc, over our own header.
        session.auth = self._auth or (lambda request: request)
        session.trust_env = self._proxies
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=0))
        return session

    def _refusal(self, exchange: _Exchange) -> PrometheusError:
        kind, text = read_error(exchange.body)
        status = exchange.status
        seen = f"it answered {status}" + (f": {text}" if text else "")
        if 300 <= status < 400:
            return self._error(
                PrometheusError,
                f"it answered {status} and sends us to {exchange.location!r}",
                "give the address of Prometheus itself; a login page needs a token",
            )
        if status in (401, 403):
            return self._error(PrometheusError, seen, self._login.step())
        if status in (404, 405):
            return self._error(
                PrometheusError,
                seen,
                "no Prometheus answers there; give the address before /api/v1, with its prefix",
            )
        too_much = status == 422 and any(word in text.lower() for word in _TOO_MUCH)
        if status == 413 or too_much or kind == "timeout":
            return self._error(
                TooMuchError, seen, "narrow time or matchers, or raise the server's limits"
            )
        if status in BUSY:
            return self._error(PrometheusError, seen, "it is busy or starting; try again soon")
        if status == 400:
            return self._error(PrometheusError, seen, "check the matchers that were given")
        return self._error(PrometheusError, seen, "look into its log")

    def _failure(self, error: Exception) -> PrometheusError:
        text = str(error)
        if isinstance(error, _TooLargeError):
            return self._error(
                TooMuchError,
                f"its answer has more than {self._bytes_max} bytes or took too long",
                "narrow time or matchers",
            )
        if isinstance(error, requests.exceptions.SSLError):
            return self._error(
                PrometheusError,
                f"TLS failed: {text}",
                "give the CA's file (--ca-file), or use http://",
            )
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return self._error(
                PrometheusError,
                f"no connection within {CONNECT_S_MAX:g} s",
                "check address and network policy",
                told=False,
            )
        if isinstance(error, requests.exceptions.Timeout) or "timed out" in text:
            return self._error(
                TooLateError, "no answer in time", "allow more time (--timeout-s), or ask less"
            )
        if "Connection refused" in text:
            return self._error(
                PrometheusError,
                "connection refused",
                "nothing listens there: check port and port-forward",
                told=False,
            )
        if "NameResolutionError" in text or "resolve" in text:
            step = "check the host's name and DNS"
            return self._error(PrometheusError, "unknown host", step, told=False)
        if _broken(error):
            return self._error(
                PrometheusError, f"the connection broke twice: {text}", "look at the proxy between"
            )
        return self._error(PrometheusError, f"{type(error).__name__}: {text}", "check the address")

    def _too_late(self, exchange: _Exchange) -> PrometheusError:
        got = f"only {exchange.num_bytes} bytes" if exchange.status else "no answer"
        return self._error(
            TooLateError,
            f"{got} before its time was over",
            "allow more time (--timeout-s), or ask for less",
        )

    def _error(
        self, kind: type[PrometheusError], seen: str, step: str, *, told: bool = True
    ) -> PrometheusError:
        """Args: told: what was asked is told; nobody needs it where no connection came about."""
        asked = f" (asked for {self._asked})" if told else ""
        return kind(f"{self.url}: {seen}{asked}; {step}")


class _TooLargeError(Exception):
    """The body grew beyond what we take, or trickles beyond the deadline."""


def _broken(error: Exception | None) -> bool:
    """Whether the connection broke, as idle ones do; a refused one is no such thing."""
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return True
    return isinstance(error, requests.exceptions.ConnectionError) and (
        "aborted" in str(error) or "reset" in str(error)
    )
