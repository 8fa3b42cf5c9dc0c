"""Asking the worker over HTTP: one method per question, one kind of error."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import aiohttp

from ops.controller.token_file import SCHEME, read_token
from ops.controller.unreached import unreached
from ops.controller.worker_link.codec import decode, encode
from ops.controller.worker_link.wire import (
    DIAGNOSE,
    REPLAY,
    REPORT,
    DiagnoseAnswer,
    DiagnoseRequest,
    ReplayAnswer,
    ReplayRequest,
    ReportAnswer,
    ReportRequest,
)
from ops.errors import SettingsError, WorkerAwayError, WorkerBusyError, WorkerError

DIAGNOSE_S, REPORT_S, REPLAY_S = 60.0, 120.0, 900.0  # that an answer may take
CONNECT_S = 3.0
ANSWER_BYTES_MAX = 32 * 1024 * 1024
RETRY_AFTER_S = 5.0  # where a busy worker does not say

T = TypeVar("T")


class WorkerClient:
    """Asks one worker. Use it in `async with`, or close it."""

    def __init__(
        self,
        url: str,
        *,
        token_file: Path | None = None,
        diagnose_s: float = DIAGNOSE_S,
        report_s: float = REPORT_S,
        replay_s: float = REPLAY_S,
    ) -> None:
        """Open nothing yet; the first question does.

        Args:
            url: scheme, host and port.
            token_file: bearer token, read again for each question.
            diagnose_s, report_s, replay_s: seconds after which an answer is no longer waited for.
        """
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._limits_s = {DIAGNOSE: diagnose_s, REPORT: report_s, REPLAY: replay_s}
        self._session: aiohttp.ClientSession | None = None

    async def diagnose(self, request: DiagnoseRequest) -> DiagnoseAnswer:
        """Rank the causes.

        Raises:
            WorkerError: no usable answer in time; names the URL and what to look at.
            WorkerAwayError: no connection stood.
            WorkerBusyError: too much to do; ask again after `retry_after_s`.
        """
        return await self._ask(DIAGNOSE, request, DiagnoseAnswer)

    async def report(self, request: ReportRequest) -> ReportAnswer:
        """Make the page and the bundle of an incident.

        Raises:
            WorkerError, WorkerBusyError: as `diagnose`.
        """
        return await self._ask(REPORT, request, ReportAnswer)

    async def replay(self, request: ReplayRequest) -> ReplayAnswer:
        """Replay a bundle or a scenario.

        Raises:
            WorkerError, WorkerBusyError: as `diagnose`.
        """
        return await self._ask(REPLAY, request, ReplayAnswer)

    async def close(self) -> None:
        """Close its connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> WorkerClient:
        """Itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    async def _ask(self, path: str, request: Any, kind: type[T]) -> T:
        url, limit_s = f"{self.url}{path}", self._limits_s[path]
        headers = {"Content-Type": "application/json", **self._bearer()}
        body = encode(request)
        timeout = aiohttp.ClientTimeout(total=limit_s, sock_connect=min(CONNECT_S, limit_s))
        try:
            async with self._open().post(
                url, data=io.BytesIO(body), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                raw = await _limited(response, url)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise WorkerAwayError(_unasked(url, error)) from error
        except TimeoutError as error:
            raise WorkerError(
                f"{url} did not answer within {limit_s:g} s; look at the worker's log and load"
            ) from error
        except aiohttp.ClientError as error:
            raise WorkerError(_unasked(url, error)) from error
        if response.status == 200:
            return decode(kind, raw)
        raise _refusal(url, response, raw)

    def _bearer(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"{SCHEME}{read_token(self._token_file)}"}
        except SettingsError as error:
            raise WorkerError(f"the worker cannot be asked: {error}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No proxy from the environment: the worker is in the same cluster.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=16), trust_env=False
            )
        return self._session


def _unasked(url: str, error: Exception) -> str:
    return (
        f"{url} cannot be asked: {unreached(error)}; look whether the worker runs, and whether "
        "worker.url names its Service"
    )


async def _limited(response: aiohttp.ClientResponse, url: str) -> bytes:
    parts, total = [], 0
    async for part in response.content.iter_chunked(1 << 16):
        total += len(part)
        if total > ANSWER_BYTES_MAX:
            raise WorkerError(f"{url} answers with more than {ANSWER_BYTES_MAX} bytes; is it ours?")
        parts.append(part)
    return b"".join(parts)


def _refusal(url: str, response: aiohttp.ClientResponse, raw: bytes) -> WorkerError:
    said = raw[:400].decode("utf-8", errors="replace").strip()
    if response.status == 503:
        after_s = _seconds(response.headers.get("Retry-After"))
        return WorkerBusyError(f"{url} is busy: {said}", retry_after_s=after_s)
    hint = {
        401: "do both sides read the same token file?",
        413: "the fleet is larger than one request holds",
        404: "is this address the worker's?",
    }.get(response.status, "look at the worker's log")
    return WorkerError(f"{url} answers {response.status}: {said}; {hint}")


def _seconds(text: str | None) -> float:
    try:
        return min(max(float(text or ""), 0.1), 60.0)
    except ValueError:
        return RETRY_AFTER_S
