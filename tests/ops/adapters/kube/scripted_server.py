"""An HTTP server that answers each request as the test says: well, badly, slowly or not at all."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class ScriptedServer:
    """`answers` are used up in order, the last one for ever; each writes to the socket itself."""

    answers: deque = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    def __post_init__(self) -> None:
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer.connections += 1
                try:
                    while outer._serve(self):
                        pass
                except OSError:
                    pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, *answers) -> None:
        self.answers.extend(answers)

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, handler) -> bool:
        first = handler.rfile.readline().decode().split()
        if len(first) != 3:
            return False
        headers = {}
        while (line := handler.rfile.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        self.requests.append(Request(first[0], first[1], headers, body))
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.popleft()
        return answer(self, handler) is not False


def says(status: int, body, **headers: str):
    """A whole answer; `body` is JSON unless it is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

    def answer(server, handler):
        handler.wfile.write(
            f"HTTP/1.1 {status} Word\r\nContent-Length: {len(raw)}\r\n{extra}\r\n".encode() + raw
        )

    return answer


def refuses(status: int, reason: str, message: str = "no", **headers: str):
    return says(
        status, {"kind": "Status", "code": status, "reason": reason, "message": message}, **headers
    )


def streams(*pieces: bytes, pause_s: float = 0.0, end: str = "whole"):
    """A chunked answer; `end` is whole, cut (in the middle of a chunk), reset or open."""

    def answer(server, handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if pause_s and server.closing.wait(pause_s):
                return False
        if end == "whole":
            handler.wfile.write(b"0\r\n\r\n")
            return True
        if end == "open":
            server.closing.wait(10.0)
        if end == "cut":
            handler.wfile.write(b'ff\r\n{"half')
        if end == "reset":
            handler.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        return False

    return answer


def silent(server, handler):
    """Takes the request and never answers."""
    server.closing.wait(10.0)
    return False


def hangs_up(server, handler):
    return False
