"""The only way to a Prometheus: raw samples over HTTP, by the package prometheus-api-client.

The package builds URLs and calls a session. The session is ours (`prometheus_wire`), and so is the
reading of answers (`prometheus_answers`): its own would try an unreachable host for six seconds,
wait for ever by default, send a POST's query in the URL, drop warnings and make an object of every
sample. Its helpers for ranges, which round times to seconds and escape nothing, are not called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from prometheus_api_client import PrometheusConnect

from ops.adapters.prometheus_answers import (
    Answer,
    RawAnswer,
    read_counts,
    read_matrix,
    read_moment,
    read_names,
    read_raw_matrix,
)
from ops.adapters.prometheus_login import Login
from ops.adapters.prometheus_selectors import Matcher, selector
from ops.adapters.prometheus_wire import Wire
from ops.clock import Deadline
from ops.errors import PrometheusError

TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 1 << 28  # about ten million samples
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_QUERY_CHARS_MAX = 200  # of a query in a message

_T = TypeVar("_T")


class PrometheusReader:
    """Reads raw samples of a Prometheus, or of what speaks its API, between given moments.

    Every call ends by its deadline, whatever the server, the network or the resolver do.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
        token_file: Path | None = None,
        basic_auth_file: Path | None = None,
        ca_file: Path | None = None,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: base address, e.g. http://prometheus.monitoring:9090 or https://host/prefix.
            timeout_s: of one request, from its start to the last byte of the answer.
            headers: sent with each request, e.g. X-Scope-OrgID.
            token_file, basic_auth_file: at most one: a bearer token, or user:password; read for
                each request, because they rotate.
            ca_file: certificates to trust instead of the system's.
            answer_bytes_max: of one answer after decompression.

        Raises:
            PrometheusError: the URL is none.
        """
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PrometheusError(f"URL is {url!r}; give one such as http://prometheus:9090")
        if not timeout_s > 0.0:
            raise PrometheusError(f"timeout is {timeout_s} s; give more than 0")
        self.timeout_s = timeout_s
        # Without user and password: it stands in messages.
        host = parts.netloc.rpartition("@")[2]
        self.url = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        self._wire = Wire(
            self.url,
            headers=headers or {},
            auth=(unquote(parts.username), unquote(parts.password or ""))
            if parts.username
            else None,
            login=Login(token_file=token_file, basic_auth_file=basic_auth_file),
            ca_file=ca_file,
            # A proxy cannot reach what is forwarded to this machine.
            proxies=parts.hostname not in _LOOPBACK,
            bytes_max=answer_bytes_max,
        )
        self._client: Any = PrometheusConnect(
            url=self.url, session=self._wire, retry=0, method="POST", timeout=timeout_s
        )

    def names(
        self, *, after_ms: int, until_ms: int, matchers: Sequence[Matcher], deadline: Deadline
    ) -> tuple[str, ...]:
        """Names of metrics stored about that time, sorted; the server may round it to hours.

        Raises:
            PrometheusError: no usable answer.
        """
        params: dict[str, Any] = {"start": _seconds(after_ms), "end": _seconds(until_ms)}
        told = "the names of metrics"
        if matchers:
            params["match[]"] = "{" + ",".join(map(str, matchers)) + "}"
            told += f" of {params['match[]']}"
        return self._ask(
            told,
            deadline,
            lambda: self._client.get_label_values("__name__", params=params)["result"],
            read_names,
        )

    def num_series(
        self, names: Sequence[str], *, at_ms: int, matchers: Sequence[Matcher], deadline: Deadline
    ) -> dict[str, int]:
        """Series of each name that lived at that moment; names without any are left out.

        Raises:
            PrometheusError: no usable answer.
        """
        query = f"count by (__name__) ({selector(names, matchers)})"
        return self._query(query, at_ms, deadline, read_counts)

    def samples(
        self,
        names: Sequence[str],
        *,
        after_ms: int,
        until_ms: int,
        matchers: Sequence[Matcher],
        deadline: Deadline,
    ) -> Answer:
        """Samples as they were scraped, after one moment and until another.

        A range selector: missing stays missing, where a range query repeats the last sample for
        up to five minutes. Up to version 2 the server adds samples of exactly `after_ms`.

        Raises:
            TooMuchError: ask for fewer names or a shorter time.
            PrometheusError: no usable answer.
        """
        query = f"{selector(names, matchers)}[{until_ms - after_ms}ms]"
        return self._query(query, until_ms, deadline, read_matrix)

    def raw_samples(
        self,
        names: Sequence[str],
        *,
        after_ms: int,
        until_ms: int,
        matchers: Sequence[Matcher],
        deadline: Deadline,
    ) -> RawAnswer:
        """As `samples`, without reading the labels: for who asks for the same series again.

        Raises:
            TooMuchError: ask for fewer names or a shorter time.
            PrometheusError: no usable answer.
        """
        query = f"{selector(names, matchers)}[{until_ms - after_ms}ms]"
        return self._query(query, until_ms, deadline, read_raw_matrix)

    def now_s(self, *, deadline: Deadline) -> float:
        """Unix seconds on the server's clock, by which its samples are stamped.

        Raises:
            PrometheusError: no usable answer.
        """
        params = {"nocache": "1"}  # to VictoriaMetrics, which else shows what it was 30 s ago
        return self._ask(
            "time()",
            deadline,
            lambda: self._client.custom_query("time()", params=params),
            read_moment,
        )

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def __enter__(self) -> PrometheusReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _query(self, query: str, at_ms: int, deadline: Deadline, read: Callable[[bytes], _T]) -> _T:
        # The server stops, too, when nobody waits any longer.
        wait_ms = max(1, round(1000.0 * min(self.timeout_s, deadline.left_s())))
        params = {"time": _seconds(at_ms), "timeout": f"{wait_ms}ms"}
        return self._ask(
            query, deadline, lambda: self._client.custom_query(query, params=params), read
        )

    def _ask(
        self, query: str, deadline: Deadline, send: Callable[[], Any], read: Callable[[bytes], _T]
    ) -> _T:
        told = query if len(query) <= _QUERY_CHARS_MAX else f"{query[:_QUERY_CHARS_MAX]}..."
        self._wire.prepare(told, Deadline.after(min(self.timeout_s, deadline.left_s())))
        body = send()
        try:
            return read(body)
        except PrometheusError as error:
            raise PrometheusError(
                f"{self.url}: {error} (asked for {told}); if this is no Prometheus, give the "
                "address before /api/v1 of one"
            ) from error


def _seconds(at_ms: int) -> str:
    """Whole milliseconds as decimal seconds, without the noise of a float."""
    return f"{at_ms // 1000}.{at_ms % 1000:03d}"
