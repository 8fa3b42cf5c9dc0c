"""Servers of Prometheus' HTTP API that tests may start, filled from an OpenMetrics text.

Prometheus 2 is Debian's package. The others are tried where a variable of the environment names
their program; docs/operator-reference.md says how to build them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_S = 120.0
PROMETHEUS, PROMETHEUS3, VICTORIA = "prometheus", "prometheus3", "victoriametrics"
SERVERS = (PROMETHEUS, PROMETHEUS3, VICTORIA)
# Relative error of a sample that is read back: VictoriaMetrics stores decimal numbers.
STORED = {PROMETHEUS: 0.0, PROMETHEUS3: 0.0, VICTORIA: 1e-11}
VARIABLES = {
    PROMETHEUS3: "MIDWATCH_TEST_PROMETHEUS3",
    VICTORIA: "MIDWATCH_TEST_VICTORIAMETRICS",
}


def program_of(server: str) -> str | None:
    """Path of a server's program, None where there is none."""
    variable = VARIABLES.get(server)
    return shutil.which(os.environ.get(variable, "") if variable else server)


def program(server: str) -> str:
    """Path of a server's program; skips the test where there is none."""
    found = program_of(server)
    if found is None:
        pytest.skip(
            f"{VARIABLES[server]} names no program: the path of {server} is expected"
            if server in VARIABLES
            else f"{server} is not installed (Debian package 'prometheus')"
        )
    return found


@dataclass
class RealServer:
    """One running server; its log is kept."""

    process: subprocess.Popen
    url: str
    log: Path

    def wait(self, path):
        """Until it answers at that path."""
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}{path}", timeout=1.0):
                    return self
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise AssertionError(f"it did not become ready:\n{self.log.read_text()}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve(server, text, folder):
    """Start a server that holds the samples of a text."""
    (folder / "metrics.om").write_text(text, encoding="utf-8")
    if server == VICTORIA:
        return _victoria(program(server), text, folder)
    return _prometheus(program(server), folder)


def _prometheus(path, folder):
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "metrics.om", "data"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    (folder / "prometheus.yml").write_text("global: {}\n", encoding="utf-8")
    address = free_address()
    return _started(
        [path, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
         "--storage.tsdb.retention.time=50y", f"--web.listen-address={address}",
         "--query.max-samples=300000"],
        folder, f"http://{address}",
    ).wait("/-/ready")  # fmt: skip


def _victoria(path, text, folder):
    address = free_address()
    server = _started(
        [path, "-storageDataPath=data", f"-httpListenAddr={address}", "-retentionPeriod=100y",
         "-memory.allowedPercent=5"],
        folder, f"http://{address}",
    ).wait("/health")  # fmt: skip
    for asked, body in (
        ("/api/v1/import/prometheus", text.encode()),
        ("/internal/force_flush", b""),
    ):
        with urllib.request.urlopen(f"{server.url}{asked}", data=body or None, timeout=30.0):
            pass
    return server


def scraping(server, jobs, folder):
    """Start an empty server that scrapes these jobs."""
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": jobs}), encoding="utf-8")
    address = free_address()
    victoria = [
        "-promscrape.config=prometheus.yml", "-promscrape.config.strictParse=false",
        "-storageDataPath=data",
        f"-httpListenAddr={address}", "-memory.allowedPercent=5",
    ]  # fmt: skip
    prometheus = [
        "--config.file=prometheus.yml", "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    ]  # fmt: skip
    arguments = victoria if server == VICTORIA else prometheus
    ready = "/health" if server == VICTORIA else "/-/ready"
    return _started([program(server), *arguments], folder, f"http://{address}").wait(ready)


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def _started(arguments, folder, url):
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(arguments, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    return RealServer(process, url, log)
