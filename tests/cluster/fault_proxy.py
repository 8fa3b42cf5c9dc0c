"""A proxy on the loopback interface that plays the faults of a network and of an overloaded server.

It forwards bytes until it is told otherwise. Before a server with TLS it ends the client's TLS with
the control plane's own certificate and makes another one, so that it can answer 429 by itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.processes import free_ports

CHUNK_BYTES = 65_536
ENDED_S = 60.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends RST
CUT = (OSError, EOFError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class Kind(Enum):
    """What the proxy does."""

    PASS = auto()
    DELAY = auto()  # every answer's bytes come later
    SLOW = auto()  # answers drip
    HALF_OPEN = auto()  # connections stand, bytes vanish: a host that is gone without a word
    RESET = auto()  # connections are torn down with RST
    ANSWER = auto()  # an answer of its own to every request


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One behaviour with its numbers."""

    kind: Kind = Kind.PASS
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class FaultProxy:
    """Forwards to one server; `url` is its address. The methods may be called at any time.

    Args:
        target: http or https address of the server.
        certificates: folder with ca.crt, server.crt and server.key, for https.
    """

    def __init__(self, target: str, *, certificates: Path | None = None) -> None:
        parts = urlsplit(target)
        self.host, self.target_port = parts.hostname or "127.0.0.1", parts.port or 80
        self.inner: ssl.SSLContext | None = None
        self.outer: ssl.SSLContext | None = None
        if parts.scheme == "https":
            assert certificates is not None, "TLS needs the folder of the certificates"
            self.inner = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.inner.load_cert_chain(certificates / "server.crt", certificates / "server.key")
            self.outer = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        (self.port,) = free_ports(1)
        self.url = f"{parts.scheme}://127.0.0.1:{self.port}"
        self.fault = Fault()
        self.num_connections = self.num_answered = 0
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.inner)
        )

    def heal(self) -> None:
        """Forward again; connections that were half open stay lost, as in life."""
        self.fault = Fault()
        self._do(self._each("forget"))

    def delay(self, delay_s: float) -> None:
        """Hold every piece of an answer back for this long."""
        self.fault = Fault(kind=Kind.DELAY, delay_s=delay_s)

    def slow(self, bytes_per_s: float) -> None:
        """Let answers drip at this rate."""
        self.fault = Fault(kind=Kind.SLOW, bytes_per_s=bytes_per_s)

    def half_open(self) -> None:
        """Swallow everything, on all connections that stand and on new ones, without a word."""
        self.fault = Fault(kind=Kind.HALF_OPEN)
        self._do(self._each("lose"))

    def reset(self) -> None:
        """Tear down all connections, and each new one."""
        self.fault = Fault(kind=Kind.RESET)
        self._do(self._each("tear"))

    def answer(
        self, status: int, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Answer every request so; connections that stand end, as they would not be asked."""
        self.fault = Fault(kind=Kind.ANSWER, status=status, headers=headers or {}, body=body)
        self._do(self._each("tear"))

    def close(self) -> None:
        """End it and all connections."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ENDED_S)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ENDED_S)

    async def _each(self, name: str) -> None:
        for one in list(self._open):
            getattr(one, name)()

    async def _end(self) -> None:
        self._server.close()
        await self._each("tear")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(self, reader, writer)
        self._open.add(connection)
        try:
            # Cancelled when the proxy ends; asyncio would log that as a fault of this callback.
            with suppress(*CUT, asyncio.CancelledError):
                await connection.run()
        finally:
            self._open.discard(connection)
            self._tasks.discard(task)
            connection.end()


class Connection:
    """One client's connection and the one to the server behind it."""

    def __init__(
        self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.proxy, self.reader, self.writer = proxy, reader, writer
        self.behind: asyncio.StreamWriter | None = None
        self.lost = False

    async def run(self) -> None:
        """Until one of the two sides ends it."""
        fault = self.proxy.fault
        if fault.kind is Kind.RESET:
            self.tear()
            return
        if fault.kind is Kind.ANSWER:
            await self._answer()
            return
        if fault.kind is Kind.HALF_OPEN:
            self.lost = True
            await self._up(None)
            return
        reader, self.behind = await asyncio.open_connection(
            self.proxy.host, self.proxy.target_port, ssl=self.proxy.outer
        )
        ways = [
            asyncio.ensure_future(self._up(self.behind)),
            asyncio.ensure_future(self._down(reader)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if self.lost:  # the server behind may leave; the client is told nothing
                await ways[0]
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _up(self, behind: asyncio.StreamWriter | None) -> None:
        while data := await self.reader.read(CHUNK_BYTES):
            if not self.lost and behind is not None:
                behind.write(data)
                await behind.drain()

    async def _down(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK_BYTES):
            fault = self.proxy.fault
            if fault.kind is Kind.DELAY:
                await asyncio.sleep(fault.delay_s)
            while fault.kind is Kind.SLOW and data and not self.lost:
                piece = max(1, int(fault.bytes_per_s / 20))
                self.writer.write(data[:piece])
                data = data[piece:]
                await asyncio.sleep(piece / fault.bytes_per_s)
                fault = self.proxy.fault
            if not self.lost:
                self.writer.write(data)
                await self.writer.drain()

    async def _answer(self) -> None:
        """Read requests, answer each, as long as the fault stands."""
        while True:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            fields = dict(
                line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
            )
            await self.reader.readexactly(int(fields.get("content-length", 0)))
            fault = self.proxy.fault
            if fault.kind is not Kind.ANSWER:
                return
            self.proxy.num_answered += 1
            lines = [f"HTTP/1.1 {fault.status} played", f"Content-Length: {len(fault.body)}"]
            lines += [f"{name}: {value}" for name, value in fault.headers.items()]
            self.writer.write("\r\n".join([*lines, "", ""]).encode() + fault.body)
            await self.writer.drain()

    def lose(self) -> None:
        self.lost = True

    def forget(self) -> None:
        """End it if no server stands behind it: the client asks the real one next."""
        if self.behind is None and not self.lost:
            self.tear()

    def tear(self) -> None:
        """Close both sides, the client's with RST."""
        own = self.writer.get_extra_info("socket")
        with suppress(OSError, AttributeError):  # it may have ended by itself
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()
        if self.behind is not None:
            self.behind.transport.abort()

    def end(self) -> None:
        for one in (self.writer, self.behind):
            if one is not None:
                one.transport.abort()
