"""Metrics of many fleets in a process of its own: GET /metrics/N is the text of fleet N.

Twelve series a pod, of the roles that the operator's loop reads; counters grow with the clock, so
that every fleet looks served and healthy. Run: load_exporter.py PORT PODS [PREFIX]
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TTFT = "gen_ai_server_time_to_first_token_seconds"
# Text of one pod; %(t)d is a counter that grows by one a second.
POD = "\n".join(
    [
        "vllm:num_requests_running{@} 3", "vllm:num_requests_waiting{@} 0",
        'vllm:request_success_total{@,finished_reason="stop"} %(t)d',
        'vllm:request_success_total{@,finished_reason="length"} %(t)d',
        'vllm:request_success_total{@,finished_reason="abort"} 0',
        "kube_pod_created{@} 1700000000", "kube_pod_status_ready_time{@} 1700000060",
        'up{@,job="vllm"} 1',
        'http_requests_total{@,slo_class="chat",status="200"} %(t)d',
        'http_requests_total{@,slo_class="chat",status="503"} 0',
        TTFT + '_bucket{@,slo_class="chat",le="2.0"} %(t)d',
        TTFT + '_count{@,slo_class="chat"} %(t)d',
    ]
)  # fmt: skip
SERIES_PER_POD = len(POD.splitlines())


def text_of(fleet: int, pods: int, prefix: str) -> str:
    """Text of one fleet with the counter left open."""
    own = f'namespace="{namespace_of(fleet, prefix)}",service="chat",region="north"'
    return "".join(POD.replace("@", f'{own},pod="{pod_name(k)}"') + "\n" for k in range(pods))


def namespace_of(fleet: int, prefix: str = "load") -> str:
    return f"{prefix}-{fleet:03d}"


def pod_name(k: int) -> str:
    return f"chat-{k:03d}"


def main(port: int, pods: int, prefix: str) -> None:
    texts: dict[int, str] = {}
    began_s = time.time()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            fleet = int(self.path.rpartition("/")[2] or 0)
            if fleet not in texts:
                texts[fleet] = text_of(fleet, pods, prefix)
            body = (texts[fleet] % {"t": 1000 + time.time() - began_s}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "load")
