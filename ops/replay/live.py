"""HTTP of live simulated fleets: /metrics per scrape target, discovery, and faults on command.

GET  /metrics/FLEET/REGION/JOB/TARGET   text format; 503 where the target does not answer
GET  /targets/JOB                       Prometheus' HTTP service discovery
GET  /scrape-configs                    for prometheus.yml; JSON is YAML
GET  /truth                             admin port only: faults so far and what they were
POST /fault?fleet=FLEET                 admin port only: {"kind": "cpu-hog", ...} begins one
POST /heal?fleet=FLEET                  admin port only: {"fault": 0} ends it
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import orjson

from ops.clock import wall_s
from ops.errors import OpsError, ScenarioError
from ops.replay.adopt import unshown
from ops.replay.exporters import JOBS
from ops.replay.exposition import CONTENT_TYPE
from ops.replay.live_fleet import LiveFleet, truth_of
from ops.replay.scenario import FaultSpec

logger = logging.getLogger(__name__)

NOT_SHOWN = (
    "this fault replaces pods, and the cluster does not show the new ones: what is diagnosed from "
    "here on is no fair try; start chaos serve anew afterwards"
)
TICK_S = 0.5
BODY_BYTES_MAX = 64 * 1024
IDLE_S = 60.0  # a connection without a request is closed
JSON = "application/json"
_FAULT_KEYS = {f.name for f in fields(FaultSpec)} - {"start_s"}


class LiveServer:
    """Serves fleets by name until `close`."""

    def __init__(
        self,
        fleets: Mapping[str, LiveFleet],
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        admin: tuple[str, int] | None = ("127.0.0.1", 0),
    ) -> None:
        self.fleets = dict(fleets)
        self._over = Event()
        self._warned: set[str] = set()  # fleets whose pods are no longer those of the cluster
        self._servers = [_Server(listen, self, admin=False)]
        if admin is not None:
            self._servers.append(_Server(admin, self, admin=True))
        self.url = self._servers[0].url
        self.admin_url = self._servers[-1].url if admin is not None else ""
        self._threads = [
            Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            for server in self._servers
        ]
        self._threads.append(Thread(target=self._tick, daemon=True))

    def start(self) -> None:
        """Begin to answer."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; connections that are open are dropped."""
        self._over.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(5.0)

    def wait(self, seconds: float) -> None:
        """Let that much time pass, or less when it is closed."""
        self._over.wait(max(0.0, seconds))

    def _tick(self) -> None:
        """Time goes on without scrapes."""
        while not self._over.wait(TICK_S):
            for name, fleet in self.fleets.items():
                fleet.advance(wall_s())
                if name not in self._warned and (pods := sorted(_unshown(fleet))):
                    self._warned.add(name)
                    logger.warning("%s (%s%s)", NOT_SHOWN, pods[0], ", ..." * (len(pods) > 1))

    # --- answers: status, type, body

    def metrics(self, name: str, region: str, job: str, target: str) -> tuple[int, str, bytes]:
        """One scrape."""
        try:
            text = self.fleets[name].scrape(region, job, target, now_s=wall_s())
        except KeyError as error:
            return _problem(404, f"no such target: {error}; see /targets/JOB")
        if text is None:
            return _problem(503, f"{job} of {target} does not answer")
        return 200, CONTENT_TYPE, text.encode()

    def targets(self, job: str) -> tuple[int, str, bytes]:
        """Discovery of one job."""
        if job not in JOBS:
            return _problem(404, f"job is {job!r}, one of {', '.join(JOBS)}")
        address = self.url.partition("//")[2]
        groups = [
            {
                "targets": [address],
                "labels": {
                    **{key: value for key, value in labels.items() if key != "job"},
                    "__metrics_path__": _path("metrics", name, region, job, target),
                },
            }
            for name, fleet in self.fleets.items()
            for region, target, labels in fleet.targets(job)
        ]
        return _json(groups)

    def scrape_configs(self) -> list[dict[str, Any]]:
        """Scrape jobs for a Prometheus that is to see these fleets."""
        scrape_s = min(f.fleet.scenario.telemetry.scrape_s for f in self.fleets.values())
        return [
            {
                "job_name": job,
                "honor_labels": True,  # containers, GPUs and objects are told by their exporters
                "scrape_interval": f"{round(scrape_s * 1000)}ms",
                "scrape_timeout": f"{round(scrape_s * 800)}ms",
                "http_sd_configs": [{"url": f"{self.url}/targets/{job}", "refresh_interval": "5s"}],
            }
            for job in JOBS
        ]

    def truth(self) -> dict[str, list[Mapping[str, object]]]:
        """Faults of every fleet, in the order in which they began."""
        return {name: [truth_of(f) for f in fleet.faults] for name, fleet in self.fleets.items()}

    def command(self, what: str, name: str, raw: bytes) -> tuple[int, str, bytes]:
        """Begin or end a fault."""
        try:
            fleet = self._fleet(name)
            body = _body(raw)
            if what == "fault":
                told = truth_of(fleet.start_fault(_spec(body)))
                return _json({**told, "warning": NOT_SHOWN} if _unshown(fleet) else told)
            return _json(truth_of(fleet.end_fault(int(body.get("fault", -1)))))
        except (OpsError, TypeError, ValueError) as error:
            return _problem(400, str(error))

    def _fleet(self, name: str) -> LiveFleet:
        if not name and len(self.fleets) == 1:
            return next(iter(self.fleets.values()))
        if name not in self.fleets:
            raise ScenarioError(f"fleet is {name!r}, one of {', '.join(self.fleets)}")
        return self.fleets[name]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], live: LiveServer, *, admin: bool) -> None:
        super().__init__(address, _Handler)
        self.live, self.admin = live, admin
        self.url = f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A scraper that gave up is no news."""
        logger.debug("request of %s not answered", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    wbufsize = -1  # one packet an answer
    server: _Server

    def do_GET(self) -> None:  # the name that http.server calls
        live, path = self.server.live, urlsplit(self.path).path
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match parts:
            case ["metrics", name, region, job, target]:
                self._answer(live.metrics(name, region, job, target))
            case ["targets", job]:
                self._answer(live.targets(job))
            case ["scrape-configs"]:
                self._answer(_json(live.scrape_configs()))
            case ["truth"] if self.server.admin:
                self._answer(_json(live.truth()))
            case _:
                self._answer(_problem(404, f"{path} is not served; see /targets/{JOBS[0]}"))

    def do_POST(self) -> None:  # the name that http.server calls
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            self._answer(_problem(413, f"body has {length} bytes, limit {BODY_BYTES_MAX}"))
            self.close_connection = True
            return
        raw = self.rfile.read(length)
        what = url.path.strip("/")
        if not self.server.admin or what not in ("fault", "heal"):
            self._answer(_problem(404, f"{url.path} takes no commands; POST /fault or /heal"))
            return
        name = parse_qs(url.query).get("fleet", [""])[0]
        self._answer(self.server.live.command(what, name, raw))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name there
        logger.debug(format, *args)

    def _answer(self, answer: tuple[int, str, bytes]) -> None:
        status, kind, body = answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _unshown(fleet: LiveFleet) -> frozenset[str]:
    return unshown(fleet.fleet, fleet.plan.pods)


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _json(value: Any) -> tuple[int, str, bytes]:
    return 200, JSON, orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _problem(status: int, text: str) -> tuple[int, str, bytes]:
    return status, JSON, orjson.dumps({"error": text}, option=orjson.OPT_APPEND_NEWLINE)


def _body(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise ScenarioError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ScenarioError(f"the body is {type(body).__name__}, expected an object")
    return body


def _spec(body: Mapping[str, Any]) -> FaultSpec:
    """A fault as asked for.

    Raises:
        ScenarioError: no kind, or a key that a fault does not have.
    """
    unknown = sorted(set(body) - _FAULT_KEYS)
    if unknown or "kind" not in body:
        raise ScenarioError(
            f"fault has {unknown or 'no kind'}; give kind and any of {sorted(_FAULT_KEYS)}"
        )
    texts = {key: str(body[key]) for key in ("kind", "target", "region") if key in body}
    numbers = {key: float(body[key]) for key in ("length_s", "severity", "ramp_s") if key in body}
    return FaultSpec(start_s=0.0, **texts, **numbers)  # type: ignore[arg-type]
