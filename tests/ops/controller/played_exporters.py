"""Frontends that count requests by the clock, and can be slow, silent, restarted or really ill."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOUNDS = (0.5, 1.0, 2.0, 4.0)


@dataclass
class Frontend:
    """One scrape target of service `gateway`; counters grow whether it is scraped or not."""

    pod: str
    rps: float = 40.0
    bad_ratio: float = 0.01
    delay_s: float = 0.0  # before a scrape is answered
    nan: bool = False
    _good: float = 0.0
    _bad: float = 0.0
    _at_s: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None
    port: int = 0

    def start(self):
        frontend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(frontend.delay_s)
                body = frontend.text().encode()
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", "text/plain; version=0.0.4")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # the scraper gave up

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def restart(self):
        """A new process at the old address: counters begin at zero."""
        self.stop()
        with self._lock:
            self._good = self._bad = 0.0
            self._at_s = time.monotonic()
        self.start()

    def fall_ill(self, bad_ratio):
        with self._lock:
            self._grow()
            self.bad_ratio = bad_ratio

    def _grow(self):
        now_s = time.monotonic()
        grown = self.rps * (now_s - self._at_s)
        self._at_s = now_s
        self._bad += grown * self.bad_ratio
        self._good += grown * (1.0 - self.bad_ratio)

    def text(self):
        with self._lock:
            self._grow()
            good, bad = int(self._good), int(self._bad)
        labels = f'service="gateway",pod="{self.pod}",slo_class="chat"'
        shown = ["NaN", "NaN"] if self.nan else [str(good), str(bad)]
        ttft = "gen_ai_server_time_to_first_token_seconds"
        lines = [
            f'http_requests_total{{{labels},status="200"}} {shown[0]}',
            f'http_requests_total{{{labels},status="503"}} {shown[1]}',
            f"http_server_active_requests{{{labels}}} {4 if not self.nan else 'NaN'}",
            *(f'{ttft}_bucket{{{labels},le="{b}"}} {shown[0]}' for b in (*BOUNDS, "+Inf")),
            f"{ttft}_count{{{labels}}} {shown[0]}",
        ]
        return "\n".join(lines) + "\n"
