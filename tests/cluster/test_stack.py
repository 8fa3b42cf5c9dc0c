"""Prometheus, Alertmanager and the proxy, as the other tests of this folder use them."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cluster.api import ApiError
from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.processes import WAIT_S, eventually
from tests.cluster.stack import Alertmanager, Prometheus, scrape_config

pytestmark = pytest.mark.cluster
RULES = {
    "groups": [
        {
            "name": "test",
            "rules": [
                {"alert": "QueueLong", "expr": "queue > 5", "labels": {"severity": "page"}},
            ],
        }
    ]
}


class Listener:
    """Exporter and webhook in one: /metrics gives `text`, what is posted is kept."""

    def __init__(self):
        self.text, self.posted, self.tokens = "", [], []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._say(listener.text.encode())

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.posted.append(json.loads(body))
                listener.tokens.append(self.headers.get("Authorization"))
                self._say(b"")

            def _say(self, body):
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def listener():
    one = Listener()
    yield one
    one.close()


@pytest.fixture
def proxy(listener):
    one = FaultProxy(f"http://{listener.address}")
    yield one
    one.close()


def fetch(url, timeout_s=WAIT_S):
    """Body and the seconds it took."""
    began_s = time.monotonic()
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        return answer.read().decode(), time.monotonic() - began_s


def test_a_rule_fires_through_both_servers_and_resolves(tmp_path, listener):
    alertmanager = Alertmanager(
        tmp_path / "am", f"http://{listener.address}/", token="secret", wait_s=0.2
    ).start()
    config = scrape_config(
        {"engine": [listener.address]}, scrape_s=0.5, alertmanager=alertmanager.address,
        labels={"namespace": "shop"},
    )  # fmt: skip
    listener.text = "queue 9\n"
    prometheus = Prometheus(tmp_path / "prometheus", config, rules=RULES).start()
    try:
        eventually(lambda: listener.posted, what="a notification")
        first = listener.posted[0]
        assert (first["version"], first["status"]) == ("4", "firing")
        assert first["alerts"][0]["labels"] == {
            "alertname": "QueueLong", "severity": "page", "namespace": "shop", "job": "engine",
            "instance": listener.address,
        }  # fmt: skip
        assert set(listener.tokens) == {"Bearer secret"}
        (series,) = prometheus.query("queue")
        assert series["value"][1] == "9"
        listener.text = "queue 1\n"
        eventually(lambda: listener.posted[-1]["status"] == "resolved", what="resolved")
        before = prometheus.url
        prometheus.write(scrape_config({}))
        prometheus.wipe()
        assert prometheus.url == before
        assert prometheus.query("queue") == []
    finally:
        prometheus.stop()
        alertmanager.stop()
    assert not prometheus.program.alive
    assert not alertmanager.program.alive


def test_the_proxy_forwards_delays_and_lets_drip(listener, proxy):
    listener.text = "x" * 1000
    assert fetch(proxy.url)[0] == listener.text
    proxy.delay(0.3)
    assert fetch(proxy.url)[1] >= 0.3
    proxy.slow(2000.0)
    text, took_s = fetch(proxy.url)
    assert text == listener.text
    assert took_s >= 0.4
    proxy.heal()
    eventually(lambda: fetch(proxy.url)[1] < 0.3, what="an answer without a delay")


def test_the_proxy_answers_by_itself(proxy):
    proxy.answer(429, headers={"Retry-After": "7"}, body=b"later")
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(proxy.url)
        assert (refused.value.code, refused.value.headers["Retry-After"]) == (429, "7")
        assert refused.value.read() == b"later"
        refused.value.close()
    assert proxy.num_answered == 2
    proxy.heal()
    assert fetch(proxy.url)[0] == ""


def test_the_proxy_resets(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port), WAIT_S) as standing:
        eventually(lambda: proxy.num_connections == 1)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            standing.recv(1)
    with pytest.raises(OSError, match=r"reset by peer"):
        fetch(proxy.url)


def test_a_half_open_connection_stands_and_says_nothing_even_after_healing(listener, proxy):
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port), WAIT_S) as standing:
        standing.sendall(request)
        assert standing.recv(9000).startswith(b"HTTP/1.1 200")
        proxy.half_open()
        standing.sendall(request)
        standing.settimeout(0.3)
        with pytest.raises(TimeoutError):
            standing.recv(1)
        with pytest.raises(TimeoutError):
            fetch(proxy.url, timeout_s=0.3)
        proxy.heal()
        assert fetch(proxy.url)[0] == ""
        with pytest.raises(TimeoutError):
            standing.recv(1)


def test_the_proxy_stands_before_the_api_server(control_plane):
    proxy = FaultProxy(control_plane.server, certificates=control_plane.folder)
    try:
        config = control_plane.kubeconfig("admin", control_plane.tokens["admin"], server=proxy.url)
        told = control_plane.kubectl("get", "nodes", "-o", "name", kubeconfig=config).stdout
        assert "node/north-0" in told
        proxy.answer(429, headers={"Retry-After": "1"})
        api = type(control_plane.admin)(
            proxy.url, ca=control_plane.ca, token=control_plane.tokens["admin"]
        )
        with pytest.raises(ApiError, match=r"^429"):
            api.get("/api/v1/nodes")
        proxy.heal()
        assert api.get("/api/v1/nodes")["items"]
        api.close()
    finally:
        proxy.close()
