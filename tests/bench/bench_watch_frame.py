"""What watching costs: 200 fleets of 50 pods, 12 series a pod. Run: make bench, or this file alone.

Writes tests/bench/results/watch_frame.json. A small server in a process of its own answers each
range selector by a text that it made before, as Prometheus would write it; the readers and frames
are those of the operator. Told: bytes of resident memory a series with its window full, and CPU
seconds of a scrape of all fleets, which divided by the step is the share of a core.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import orjson
from circumstances import circumstances

from ops.adapters.prometheus import PrometheusReader
from ops.catalogue import Catalogue
from ops.clock import Deadline
from ops.controller.metrics_watch.frame import WINDOW_S, WatchFrame
from ops.controller.metrics_watch.state import DataState

FLEETS, PODS, STEP_S, START_S, SCRAPES = 200, 50, 5, 1_700_000_000, 5
WANTED = {"cores": 1.0, "mb": 512.0}  # of the whole operator at this load
RESULT = Path(__file__).parent / "results" / "watch_frame.json"
PER_POD = (
    ("vllm:num_requests_running", {}), ("vllm:num_requests_waiting", {}),
    ("vllm:request_success_total", {"finished_reason": "stop"}),
    ("vllm:request_success_total", {"finished_reason": "length"}),
    ("vllm:request_success_total", {"finished_reason": "abort"}),
    ("kube_pod_created", {}), ("kube_pod_status_ready_time", {}), ("up", {"job": "vllm"}),
    ("http_requests_total", {"slo_class": "chat", "status": "200"}),
    ("http_requests_total", {"slo_class": "chat", "status": "503"}),
    ("gen_ai_server_time_to_first_token_seconds_bucket", {"slo_class": "chat", "le": "2.0"}),
    ("gen_ai_server_time_to_first_token_seconds_count", {"slo_class": "chat"}),
)  # fmt: skip


def answer(namespace: str, until_s: float, length_s: float, classes: bool) -> bytes:
    """Samples of one fleet's pods in a range, as Prometheus writes them."""
    first = int(np.ceil((until_s - length_s - START_S) / STEP_S))
    last = min(int(np.floor((until_s - START_S) / STEP_S)), Clock.row)
    result = []
    for pod in range(PODS):
        for name, labels in PER_POD:
            if (name == "http_requests_total") != classes:
                continue
            metric = {
                "__name__": name, "endpoint": "metrics", "instance": f"10.0.{pod}.17:8000",
                "namespace": namespace, "node": f"node-{pod % 30}", "pod": f"llm-7d9f-{pod:05d}",
                "region": "north", "service": "llm", **labels,
            }  # fmt: skip
            rows = range(first, last + 1)
            pairs = [
                [round(START_S + STEP_S * k - 1.0 - pod / PODS, 3), str(k * (pod + 1))]
                for k in rows
            ]
            if pairs:
                result.append({"metric": dict(sorted(metric.items())), "values": pairs})
    return orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


class Clock:
    """The served world's newest row; each question for the time moves on when all fleets asked."""

    row = int(WINDOW_S / STEP_S)


def serve() -> None:
    """Answer on a free port, which is printed, until standard input ends."""
    made: dict[tuple[str, ...], bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            told = parse_qs(self.rfile.read(length).decode())
            query = told["query"][0]
            if query == "time()":
                at_s = START_S + STEP_S * Clock.row + 1.0
                data = {"resultType": "scalar", "result": [at_s, str(at_s)]}
                body = orjson.dumps({"status": "success", "data": data})
            else:
                namespace = query.split('namespace="')[1].split('"')[0]
                key = (query.rpartition("[")[2], told["time"][0], str("slo_class" in query))
                if key not in made:
                    made.clear() if len(made) > 20 else None
                    until_s, length_s = float(told["time"][0]), int(key[0][:-3]) / 1000.0
                    made[key] = answer("@fleet@", until_s, length_s, "slo_class" in query)
                body = made[key].replace(b"@fleet@", namespace.encode())
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            Clock.row += 1
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def scrape(frames: list[WatchFrame], reader: PrometheusReader) -> tuple[float, int]:
    """Read all fleets once; CPU seconds of this process and samples."""
    began, num = time.process_time(), 0
    for frame in frames:
        reading = frame.advance(reader, deadline=Deadline.after(30.0))
        assert reading.state is DataState.FRESH, reading.detail
        num += reading.num_samples
    return time.process_time() - began, num


def measure(port: int) -> dict[str, object]:
    """Memory after the first reading, then CPU of some scrapes."""
    catalogue = Catalogue.load()
    world = {"row": Clock.row, "began": time.monotonic()}

    def now_s() -> float:
        return float(START_S + STEP_S * world["row"] + 1.0)

    reader = PrometheusReader(f"http://127.0.0.1:{port}")
    before_mb = resident_mb()
    frames = [
        WatchFrame(catalogue, namespace=f"fleet-{k:03d}", wall=now_s, monotonic=now_s)
        for k in range(FLEETS)
    ]
    first_cpu_s, first_samples = scrape(frames, reader)
    full_mb = resident_mb()
    taken = []
    for _ in range(SCRAPES):
        world["row"] += 1
        reader._wire._session.put(f"http://127.0.0.1:{port}/next").close()
        taken.append(scrape(frames, reader))
    num_series = FLEETS * PODS * len(PER_POD)
    cores = [cpu_s / STEP_S for cpu_s, _ in taken]
    return {
        "series": num_series,
        "rows": int(WINDOW_S / STEP_S),
        "resident_mb": {"before": round(before_mb, 1), "full": round(full_mb, 1),
                        "after_scrapes": round(resident_mb(), 1)},
        "bytes_per_series": round((full_mb - before_mb) * 2**20 / num_series),
        "cell_bytes_per_series": round(sum(f.num_bytes for f in frames) / num_series),
        "first_reading": {"cpu_s": round(first_cpu_s, 2), "samples": first_samples},
        "cores_at_5_s": {"min": round(min(cores), 3), "median": round(statistics.median(cores), 3),
                         "max": round(max(cores), 3)},
        "samples_per_scrape": taken[-1][1],
    }  # fmt: skip


def main() -> None:
    began = circumstances(seed=0)  # nothing is drawn
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        figures = measure(int(server.stdout.readline()))
    finally:
        server.terminate()
        server.wait()
    figures = {
        **began,
        "wanted_of_the_whole_operator": WANTED,
        **figures,
    }
    memory = figures["resident_mb"]
    print(f"{figures['series']:,} series x {figures['rows']} rows: {memory['full']} MB, "
          f"{memory['before']} MB before; {figures['bytes_per_series']} B a series, "
          f"{figures['cell_bytes_per_series']} B of them cells")  # fmt: skip
    cores = figures["cores_at_5_s"]
    print(f"a scrape of all fleets: {cores['median']} cores ({cores['min']} to {cores['max']}), "
          f"{figures['samples_per_scrape']:,} samples; the first reading "
          f"{figures['first_reading']['cpu_s']} CPU s")  # fmt: skip
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_bytes(
        orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
