"""Lines of a streamed answer as they arrive."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import Self

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HttpTimeout

from ops.errors import KubeError

LINE_BYTES_MAX = 16 << 20  # ten times the largest object that a server stores
_PIECE_BYTES = 1 << 16


class LineStream(Iterator[bytes]):
    """Iterator over lines without their end; empty lines are left out.

    One thread iterates, inside a `with` that frees the connection; any thread may `close()`, which
    ends the iteration at once.
    """

    def __init__(
        self, response: urllib3.BaseHTTPResponse, *, asked: str, read_timeout_s: float
    ) -> None:
        """Take over a response whose body is still to be read."""
        # The headers had a shorter limit; a stream may be silent for longer.
        sock = getattr(response.connection, "sock", None)
        if sock is not None:
            sock.settimeout(read_timeout_s)
        self._response, self._asked = response, asked
        self._lines: deque[bytes] = deque()
        self._rest: list[bytes] = []  # pieces of a line that has not ended
        self._rest_bytes = 0
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._response.close()  # one that came to its end keeps its connection for the next call

    def __next__(self) -> bytes:
        """The next line.

        Raises:
            StopIteration: the server ended the answer, or it was closed here.
            KubeError: silence for too long, a broken connection, or a line without end.
        """
        while not self._lines:
            if self._closed.is_set():
                raise StopIteration
            piece = self._read()
            if not piece:
                raise StopIteration
            self._split(piece)
        return self._lines.popleft()

    def close(self) -> None:
        """End the iteration; a reader that waits wakes up."""
        if self._closed.is_set():
            return
        self._closed.set()
        # At its end already: then nobody waits.
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()

    def _read(self) -> bytes:
        try:
            return self._response.read1(_PIECE_BYTES)
        except (HTTPError, ValueError, OSError) as error:
            if self._closed.is_set():
                return b""
            silent = isinstance(error, HttpTimeout)
            raise KubeError(
                f"{self._asked}: "
                + ("nothing arrived in time" if silent else f"the connection broke ({error})")
                + "; it is opened again",
                reason="Timeout" if silent else "Dropped",
            ) from error

    def _split(self, piece: bytes) -> None:
        head, *tail = piece.split(b"\n")
        self._rest.append(head)
        self._rest_bytes += len(head)
        if self._rest_bytes > LINE_BYTES_MAX:
            raise KubeError(
                f"{self._asked}: a line of more than {LINE_BYTES_MAX >> 20} MiB; "
                "is the address an API server's?",
                reason="Garbage",
            )
        if not tail:
            return
        whole = [b"".join(self._rest), *tail[:-1]]
        self._lines.extend(line for line in whole if line)
        self._rest, self._rest_bytes = [tail[-1]], len(tail[-1])
