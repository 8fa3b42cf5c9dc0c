"""A standby replica hands notifications to the one that holds the Lease."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp

from ops.controller.alerts.gate import RefusedError
from ops.controller.unreached import unreached

# () -> None: this process leads; "": nobody is known to lead; else the leader's base address.
Leader = Callable[[], str | None]
FORWARDED = "X-Midwatch-Forwarded"
ANSWER_BYTES_MAX = 64 * 1024


class Forwarder:
    """Posts bodies as they came, once: what was forwarded is not forwarded again."""

    def __init__(self, *, timeout_s: float, cert_file: Path | None = None) -> None:
        """Prepare.

        Args:
            cert_file: the receiver's own certificate. The leader mounts the same Secret, so that
                it must show this one; pods have no names that a certificate could carry.
        """
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=2.0)
        self._cert_file = cert_file
        self._session: aiohttp.ClientSession | None = None

    async def send(self, leader: str, body: bytes, *, authorization: str) -> tuple[int, bytes]:
        """Status and body of the leader's answer.

        Raises:
            RefusedError: 503, it did not answer.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, auto_decompress=False)
        headers = {
            "Authorization": authorization,
            "Content-Type": "application/json",
            FORWARDED: "1",
        }
        try:
            async with self._session.post(
                f"{leader}/alerts",
                data=body,
                headers=headers,
                ssl=self._context(),
                allow_redirects=False,
            ) as answer:
                return answer.status, await answer.content.read(ANSWER_BYTES_MAX)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RefusedError(
                503, "LeaderSilent", "",
                f"the leader at {leader} did not answer: {unreached(error)}; send it again, and "
                "look whether that replica runs",
                retry_after_s=2.0,
            ) from error  # fmt: skip

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()

    def _context(self) -> ssl.SSLContext | bool:
        if self._cert_file is None:
            return True
        context = ssl.create_default_context(cafile=str(self._cert_file))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context
