"""Real Prometheus and Alertmanager as processes on free ports, from the system's packages."""

from __future__ import annotations

import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.control_plane import answers
from tests.cluster.processes import Program, free_ports

PACKAGES = {"prometheus": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager"}
READY_S = 120.0
ANSWER_S = 60.0


class Prometheus:
    """One server; `url` is its address. Its data lies in the folder and outlives a restart.

    Args:
        config: prometheus.yml as data; see `scrape_config`.
        rules: a rule file as data, None for none.
    """

    def __init__(
        self, folder: Path, config: Mapping[str, Any], *, rules: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.write(config, rules=rules)
        self.program = Program(
            name="prometheus",
            argv=[
                program_path("prometheus"), "--config.file=prometheus.yml",
                "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-lifecycle", "--log.level=warn",
            ],
            log=folder / "prometheus.log",
            cwd=folder,
        )  # fmt: skip

    def write(self, config: Mapping[str, Any], *, rules: Mapping[str, Any] | None = None) -> None:
        """Write its configuration; a running server takes it with `reload`."""
        whole = dict(config)
        if rules is not None:
            (self.folder / "rules.yml").write_text(yaml.safe_dump(dict(rules)), encoding="utf-8")
            whole["rule_files"] = ["rules.yml"]
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(whole), encoding="utf-8")

    def start(self) -> Prometheus:
        self.program.start()
        self.program.ready(lambda: answers(f"{self.url}/-/ready"), timeout_s=READY_S)
        return self

    def reload(self) -> None:
        post(f"{self.url}/-/reload", b"")

    def stop(self) -> None:
        self.program.stop()

    def wipe(self) -> None:
        """Stop it, drop all samples, start it again at the same address."""
        self.stop()
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self.start()

    def query(self, text: str) -> list[dict[str, Any]]:
        """Result of an instant query, one entry a series with `metric` and `value`."""
        told = get(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': text})}")
        return list(told["data"]["result"])

    def alerts(self) -> list[dict[str, Any]]:
        """Alerts of its rules that are pending or firing."""
        return list(get(f"{self.url}/api/v1/alerts")["data"]["alerts"])


class Alertmanager:
    """One server without peers; sends every group of alerts to one webhook.

    Args:
        webhook: address that it posts to.
        token: bearer token that it sends there.
        group_by: labels that make a group.
        wait_s: how long a new group waits, and how long a changed one.
        repeat_s: after this long a group that still fires is sent again.
    """

    def __init__(
        self, folder: Path, webhook: str, *, token: str = "",
        group_by: Sequence[str] = ("namespace", "alertname"),
        wait_s: float = 1.0, repeat_s: float = 3600.0,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (port,) = free_ports(1)
        self.url, self.address = f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"
        http: dict[str, Any] = {}
        if token:
            http = {"authorization": {"type": "Bearer", "credentials": token}}
        hook = {"url": webhook, "send_resolved": True, "http_config": http}
        config = {
            "route": {
                "receiver": "midwatch",
                "group_by": list(group_by),
                "group_wait": f"{round(wait_s * 1000)}ms",
                "group_interval": f"{round(wait_s * 1000)}ms",
                "repeat_interval": f"{round(repeat_s * 1000)}ms",
            },
            "receivers": [{"name": "midwatch", "webhook_configs": [hook]}],
        }
        path = folder / "alertmanager.yml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.program = Program(
            name="alertmanager",
            argv=[
                program_path("prometheus-alertmanager"), f"--config.file={path}",
                f"--storage.path={folder}/data", f"--web.listen-address={self.address}",
                "--cluster.listen-address=",
            ],
            log=folder / "alertmanager.log",
        )  # fmt: skip

    def start(self) -> Alertmanager:
        self.program.start()
        self.program.ready(lambda: answers(f"{self.url}/-/ready"), timeout_s=READY_S)
        return self

    def stop(self) -> None:
        self.program.stop()

    def fire(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Post alerts as Prometheus would: labels, annotations, startsAt, endsAt."""
        post(f"{self.url}/api/v2/alerts", json.dumps(list(alerts)).encode())

    def alerts(self) -> list[dict[str, Any]]:
        """What it holds now."""
        return list(get(f"{self.url}/api/v2/alerts"))


def scrape_config(
    targets: Mapping[str, Sequence[str]], *, scrape_s: float = 1.0, alertmanager: str = "",
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A configuration that scrapes these addresses.

    Args:
        targets: job -> addresses.
        alertmanager: address of an Alertmanager, "" for none.
        labels: added to every sample, e.g. the namespace.
    """
    every = f"{round(scrape_s * 1000)}ms"
    config: dict[str, Any] = {
        "global": {
            "scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every,
        },
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [{"targets": list(addresses), "labels": dict(labels or {})}],
            }
            for job, addresses in targets.items()
        ],
    }  # fmt: skip
    if alertmanager:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return config


def program_path(name: str) -> str:
    """Path of an installed program.

    Raises:
        AssertionError: it is not installed; with the package that has it.
    """
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed: apt-get install {PACKAGES[name]}"
    return found


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
        return json.load(answer)


def post(url: str, body: bytes) -> None:
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
        answer.read()
