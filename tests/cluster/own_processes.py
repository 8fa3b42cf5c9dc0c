"""midwatch's own processes as the manifests run them: real programs, tokens of shipped accounts.

kwok runs no containers, so that the Deployments of the manifests are played; what is tested are
these processes, with the rights of the ServiceAccount and nothing more.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.cluster.api import ApiError
from tests.cluster.control_plane import ControlPlane, write_private
from tests.cluster.installing import SYSTEM, body, path_of
from tests.cluster.processes import NO_ANSWER, WAIT_S, Program, eventually, free_ports

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "midwatch-operator"
LEASE_PATH = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/midwatch-operator"
READY_S = 120.0
ANSWER_S = 30.0
# With shorter times than the manifests, so that a takeover does not dominate a test.
LEASE = {
    "namespace": SYSTEM, "name": "midwatch-operator",
    "durationSeconds": 7, "renewSeconds": 4.5, "retrySeconds": 1,
}  # fmt: skip


class Operator:
    """One replica of `midwatch operator run`; `start` may be called again after it ended.

    Args:
        metrics_url: Prometheus of the endpoint named default; "" for none.
        worker: the worker to ask; None for none.
        server: another address of the API server, e.g. a proxy's.
        scrape_s: how often fleets are looked at.
        clock_off_s: this process's wall clock is wrong by so much.
    """

    def __init__(
        self, plane: ControlPlane, folder: Path, *, metrics_url: str = "",
        worker: Worker | None = None, server: str = "", scrape_s: float = 1.0,
        clock_off_s: float = 0.0, name: str = "",
    ) -> None:  # fmt: skip
        self.name = name or f"operator-{secrets.token_hex(3)}"
        self.folder = folder / self.name
        self.folder.mkdir(parents=True)
        hook, probes = free_ports(2)
        self.webhook_url = f"http://127.0.0.1:{hook}/alerts"
        self.probes_url = f"http://127.0.0.1:{probes}"
        self.webhook_token = secrets.token_hex(16)
        write_private(self.folder / "webhook-token", self.webhook_token)
        token = plane.token(SYSTEM, ACCOUNT)
        self.credential = f"JTI={claims(token)['jti']}"  # as the audit log names this token
        write_private(self.folder / "token", token)
        settings: dict[str, Any] = {
            "webhook": {
                "listen": f"127.0.0.1:{hook}", "tokenFile": str(self.folder / "webhook-token"),
            },
            "probes": {"listen": f"127.0.0.1:{probes}"},
            "lease": LEASE,
            "scrapeSeconds": scrape_s,
        }  # fmt: skip
        if metrics_url:
            settings["metricsEndpoints"] = {"default": {"url": metrics_url}}
        if worker is not None:
            settings["worker"] = {"url": worker.url, "tokenFile": str(worker.token_file)}
        config = self.folder / "operator.yaml"
        config.write_text(json.dumps(settings), encoding="utf-8")
        kubeconfig = plane.kubeconfig(ACCOUNT, self.folder / "token", server=server)
        self.program = Program(
            name=self.name,
            argv=[
                sys.executable, "-m", "ops", "operator", "run", "--config", config,
                "--kubeconfig", kubeconfig,
            ],
            log=self.folder / "operator.log",
            env=environment(
                self.folder, clock_off_s=clock_off_s, POD_NAME=self.name, POD_IP="127.0.0.1",
                POD_NAMESPACE=SYSTEM,
            ),
        )  # fmt: skip

    def start(self, *, wait: bool = True) -> Operator:
        """Start it; by default until /livez answers."""
        self.program.start()
        if wait:
            self.program.ready(lambda: self.probe("/livez")[0] == 200, timeout_s=READY_S)
        return self

    def stop(self) -> int | None:
        return self.program.stop(grace_s=10.0)

    def probe(self, path: str) -> tuple[int, Any]:
        """Status and body of a probe; the body decoded where it is JSON; 0 without an answer."""
        try:
            return fetch(f"{self.probes_url}{path}")
        except NO_ANSWER:
            return 0, None

    @property
    def leads(self) -> bool:
        """Whether it says that it leads."""
        return self.metrics().get("ops_leading") == 1.0

    def metrics(self) -> dict[str, float]:
        """Its own metrics by name and labels, as the text has them."""
        status, text = self.probe("/metrics")
        if status != 200:  # not up, or just killed
            return {}
        rows = [
            line.rpartition(" ") for line in str(text).splitlines() if line[:1] not in ("#", "")
        ]
        return {name: float(value) for name, _, value in rows}

    def post_alerts(self, body: bytes, *, timeout_s: float = 10.0) -> int:
        """Post to the webhook as Alertmanager would; the status, 0 without an answer."""
        request = urllib.request.Request(
            self.webhook_url, data=body, method="POST",
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.webhook_token}",
            },
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except NO_ANSWER:
            return 0


class Kept:
    """Starts an operator again after it ended, as a kubelet does: after 1 s, 2 s, 4 s, ..., 60 s.

    Leaving the block stops it.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.statuses: list[int] = []  # exit statuses so far
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Kept:
        self.operator.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(70.0)
        self.operator.stop()

    def _keep(self) -> None:
        while not self._over.wait(0.1):
            process = self.operator.program.process
            assert process is not None, "started before"
            status = process.poll()
            if status is not None:
                self.statuses.append(status)
                self._over.wait(min(2.0 ** (len(self.statuses) - 1), 60.0))
                if not self._over.is_set():
                    self.operator.program.start()


class Worker:
    """`midwatch operator worker`: no rights in the cluster at all.

    Args:
        metrics_url: Prometheus of the endpoint named default.
    """

    def __init__(self, folder: Path, *, metrics_url: str) -> None:
        self.folder = folder / f"worker-{secrets.token_hex(3)}"
        (self.folder / "bundles").mkdir(parents=True)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.token_file = self.folder / "token"
        write_private(self.token_file, secrets.token_hex(16))
        settings = {
            "metricsEndpoints": {"default": {"url": metrics_url}},
            "worker": {"listen": f"127.0.0.1:{port}", "tokenFile": str(self.token_file)},
            "bundleDir": str(self.folder / "bundles"),
        }
        config = self.folder / "worker.yaml"
        config.write_text(json.dumps(settings), encoding="utf-8")
        self.program = Program(
            name="worker",
            argv=[sys.executable, "-m", "ops", "operator", "worker", "--config", config],
            log=self.folder / "worker.log",
            env=environment(self.folder),
        )

    def start(self) -> Worker:
        self.program.start()
        self.program.ready(lambda: fetch(f"{self.url}/livez")[0] == 200, timeout_s=READY_S)
        return self

    def stop(self) -> int | None:
        return self.program.stop(grace_s=10.0)


def environment(home: Path, *, clock_off_s: float = 0.0, **more: str) -> dict[str, str]:
    """What a container would have, and the source of this checkout.

    No KUBECONFIG, and no home in which one could lie.
    """
    env = {
        "HOME": str(home), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more,
    }  # fmt: skip
    if clock_off_s:
        # The system's clock is everybody's: this process alone reads another one.
        hook = home / "clock"
        hook.mkdir(exist_ok=True)
        (hook / "sitecustomize.py").write_text(
            "import time\n_now, _now_ns = time.time, time.time_ns\n"
            f"time.time = lambda: _now() + {clock_off_s!r}\n"
            f"time.time_ns = lambda: _now_ns() + {round(clock_off_s * 1e9)}\n"
        )
        env["PYTHONPATH"] = f"{hook}{os.pathsep}{ROOT}"
    return env


def claims(token: str) -> dict[str, Any]:
    """What a JSON web token says; its signature is not looked at."""
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def fetch(url: str) -> tuple[int, Any]:
    """Status and body of a GET; the body decoded where it is JSON."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
        error.close()
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode(errors="replace")


def condition(thing: Mapping[str, Any], kind: str) -> str:
    """Status of an object's condition: True, False, Unknown, or "" without it."""
    for one in thing.get("status", {}).get("conditions", []):
        if one["type"] == kind:
            return str(one["status"])
    return ""


def add_fleet(plane: ControlPlane, namespace: str, name: str = "chat", **spec: Any) -> Any:
    """Create a Fleet; the object as stored."""
    return plane.admin.create(path_of("fleets", namespace), body("Fleet", name, spec))


def wait_for_fleet(
    plane: ControlPlane, namespace: str, check: Callable[[Any], object], *, name: str = "chat",
    timeout_s: float = WAIT_S,
) -> float:  # fmt: skip
    """Until the Fleet's object is as wanted; seconds that took.

    Raises:
        AssertionError: it is not in time; with its status.
    """
    last: Any = {}

    def holds_now() -> bool:
        nonlocal last
        try:
            last = plane.admin.get(path_of("fleets", namespace, name))
        except (ApiError, *NO_ANSWER) as error:
            last = {"status": str(error)}
            return False
        return bool(check(last))

    try:
        return eventually(holds_now, timeout_s=timeout_s, poll_s=0.1)
    except AssertionError as error:
        told = json.dumps(last.get("status"), indent=1)
        raise AssertionError(f"Fleet {namespace}/{name} after {timeout_s} s: {told}") from error
