"""A Prometheus of a few lines on the loopback interface: stores samples, answers, remembers."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ops.adapters.real_servers import PROMETHEUS, serve

MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')
READY_S = 120.0
RANGE = re.compile(r"(\{.*\})\[(\d+)ms\]", re.DOTALL)


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    in_url: dict
    in_body: dict
    headers: dict

    @property
    def query(self):
        return (self.in_body or self.in_url).get("query", [""])[0]

    @property
    def at_s(self):
        return (self.in_body or self.in_url).get("time", [""])[0]


@dataclass
class FakePrometheus:
    """Answers like version 2: a range includes both of its ends."""

    url: str = ""
    series: list = field(default_factory=list)  # (labels, [(ms, text of the value)])
    asked: list = field(default_factory=list)
    script: list = field(default_factory=list)  # answers instead of the true ones, in order
    warnings: list = field(default_factory=list)
    samples_max: int = 10**9
    clock_s: float | None = None  # what time() tells
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name, samples, **labels):
        self.series.append(({"__name__": name, **labels}, samples))

    def queries(self):
        return [one.query for one in self.asked if one.path == "/api/v1/query"]

    def answer(self, asked):
        """Status, headers, body."""
        with self.lock:
            self.asked.append(asked)
            if self.script:
                told = self.script.pop(0)
                return told(asked) if callable(told) else told
        if asked.path == "/api/v1/label/__name__/values":
            matchers = asked.in_url.get("match[]", ["{}"])[0]
            names = sorted({labels["__name__"] for labels, _ in self._found(matchers)})
            return good(names)
        if asked.path != "/api/v1/query":
            return 404, {}, b"404 page not found"
        if asked.query == "time()" and self.clock_s is not None:
            return good({"resultType": "scalar", "result": [self.clock_s, str(self.clock_s)]})
        if asked.query.startswith("count by (__name__) ("):
            return self._counts(asked)
        return self._matrix(asked)

    def _counts(self, asked):
        at_ms, counts = round(float(asked.at_s) * 1000), {}
        for labels, samples in self._found(asked.query):
            if any(at_ms - 300_000 < ms <= at_ms for ms, _ in samples):
                counts[labels["__name__"]] = counts.get(labels["__name__"], 0) + 1
        result = [
            {"metric": {"__name__": name}, "value": [at_ms / 1000, str(count)]}
            for name, count in counts.items()
        ]
        return good({"resultType": "vector", "result": result})

    def _matrix(self, asked):
        selector, length_ms = RANGE.fullmatch(asked.query).groups()
        until_ms = round(float(asked.at_s) * 1000)
        after_ms = until_ms - int(length_ms)
        result, total = [], 0
        for labels, samples in self._found(selector):
            values = [[ms / 1000, text] for ms, text in samples if after_ms <= ms <= until_ms]
            total += len(values)
            if values:
                result.append({"metric": labels, "values": values})
        if total > self.samples_max:
            return bad(
                422,
                "execution",
                "query processing would load too many samples into memory in query execution",
            )
        return good({"resultType": "matrix", "result": result}, self.warnings)

    def _found(self, selector):
        matchers = [
            (label, op, re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value))
            for label, op, value in MATCHER.findall(selector)
        ]
        for labels, samples in self.series:
            if all(holds(labels.get(label, ""), op, value) for label, op, value in matchers):
                yield labels, samples


def holds(seen, op, value):
    if op in ("=", "!="):
        return (seen == value) == (op == "=")
    return bool(re.fullmatch(value, seen)) == (op == "=~")


def good(data, warnings=()):
    body = {"status": "success", "data": data}
    if warnings:
        body["warnings"] = list(warnings)
    return (
        200,
        {"Content-Type": "application/json"},
        json.dumps(body, separators=(",", ":")).encode(),
    )


def bad(status, kind, text):
    body = {"status": "error", "errorType": kind, "error": text}
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


@pytest.fixture
def fake_prometheus():
    """A running one; `script` may hold answers, callables that make them, or None to hang."""
    fake, over = FakePrometheus(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer, which is not held back for an acknowledgement

        def serve(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            parts = urlsplit(self.path)
            answer = fake.answer(
                Asked(
                    self.command, parts.path, parse_qs(parts.query), parse_qs(body),
                    dict(self.headers),
                )
            )  # fmt: skip
            if answer is None:
                over.wait(60.0)
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if isinstance(body, bytes):
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            else:  # bytes one by one, until the other side leaves
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                self.close_connection = True
                while not over.wait(0.02):
                    try:
                        self.wfile.write(next(body))
                        self.wfile.flush()
                    except OSError:
                        return

        do_GET = do_POST = serve  # noqa: N815  the names that http.server calls

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield fake
    over.set()
    server.shutdown()
    server.server_close()
    thread.join(5.0)


@pytest.fixture(scope="module")
def serve_prometheus():
    """Starts a real server that holds an OpenMetrics text; gives its URL.

    The servers end with the module.
    """
    running = []

    def started(text, folder, server=PROMETHEUS):
        one = serve(server, text, folder)
        running.append(one)
        print(f"{server} writes to {one.log}")  # pytest shows it with a failure and keeps the file
        return one.url

    yield started
    for one in running:
        one.stop()
