"""The whole of it on one control plane: played fleets, Prometheus, Alertmanager, midwatch itself.

Everything is the real program but the fleets' pods: those are kwok's, their metrics simulated.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.catalogue import Catalogue
from ops.replay.live import LiveServer
from tests.cluster.accounts import roles_in_force
from tests.cluster.control_plane import ControlPlane
from tests.cluster.installing import apply
from tests.cluster.own_processes import Operator, Worker, condition, wait_for_fleet
from tests.cluster.played_fleet import (
    RATE_RPS,
    PlayedFleet,
    backfill,
    deploy,
    play,
    played_scenario,
    symptom_rules,
)
from tests.cluster.stack import Alertmanager, Prometheus

SCRAPE_S = 5.0
READY_S = 300.0
STORE_RATIO = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A fleet that a stack is to have; `tag` names its regions apart from those of others."""

    tag: str
    seed: int = 7
    mode: str = "Observe"


@dataclass(kw_only=True)
class WholeStack:
    """Starts in an order that a cluster would have: the fleets were there before midwatch."""

    plane: ControlPlane
    folder: Path
    wanted: Sequence[Wanted]
    manifests: str = "."
    fleets: dict[str, PlayedFleet] = field(default_factory=dict, init=False)
    running: list[Any] = field(default_factory=list, init=False)

    def start(self) -> WholeStack:
        """Start all of it; returns when every Fleet is Ready on fresh data."""
        catalogue, run_id = Catalogue.load(), secrets.token_hex(3)
        namespaces = {one.tag: f"fleet-{one.tag}-{run_id}" for one in self.wanted}
        scenarios = {one.tag: played_scenario(one.tag) for one in self.wanted}
        for one in self.wanted:
            space = {"metadata": {"name": namespaces[one.tag]}}
            self.plane.admin.create("/api/v1/namespaces", space)
            deploy(
                self.plane, namespaces[one.tag], scenarios[one.tag], name="chat", tag=one.tag
            )  # fmt: skip
        apply(self.plane, self.manifests)
        roles_in_force(self.plane)
        began_s = time.monotonic()
        for one in self.wanted:
            self.fleets[one.tag] = play(
                self.plane, namespaces[one.tag], scenarios[one.tag], name="chat", seed=one.seed,
                rate_rps=RATE_RPS, catalogue=catalogue,
            )  # fmt: skip
        # To store a past takes as long as to simulate it; without a lead a gap would follow it.
        end_s = time.time() + STORE_RATIO * (time.monotonic() - began_s)
        for fleet in self.fleets.values():
            fleet.live.anchor(end_s)
        self.exporters = LiveServer({f.namespace: f.live for f in self.fleets.values()})
        self.exporters.start()
        self._start_metrics()
        self.worker = Worker(self.folder, metrics_url=self.prometheus.url)
        self.running.append(self.worker.start())
        self.operator = self.add_operator()
        self.alertmanager = Alertmanager(
            self.folder / "alertmanager", self.operator.webhook_url,
            token=self.operator.webhook_token, group_by=("namespace", "region", "alertname"),
        )  # fmt: skip
        self.running.append(self.alertmanager.start())
        self.prometheus.write(self._config(self.alertmanager.address), rules=self._rules())
        self.prometheus.reload()
        for one in self.wanted:
            self.fleets[one.tag].add(one.mode)
        for fleet in self.fleets.values():
            wait_for_fleet(self.plane, fleet.namespace, is_watched, timeout_s=READY_S)
        return self

    def _start_metrics(self) -> None:
        """Prometheus with the fleets' past, before anybody asks it."""
        self.prometheus = Prometheus(self.folder / "prometheus", self._config(""))
        backfill(self.prometheus.folder, self.fleets.values())
        self.running.append(self.prometheus.start())

    def add_operator(self) -> Operator:
        """One more replica, ready to lead."""
        one = Operator(
            self.plane, self.folder, metrics_url=self.prometheus.url, worker=self.worker,
            scrape_s=SCRAPE_S,
        )  # fmt: skip
        self.running.append(one.start())
        return one

    def stop(self) -> None:
        """End what was started, last first."""
        for one in reversed(self.running):
            one.stop()
        if hasattr(self, "exporters"):
            self.exporters.close()
        for fleet in self.fleets.values():
            fleet.remove()

    def _rules(self) -> Mapping[str, Any]:
        return symptom_rules([fleet.scenario for fleet in self.fleets.values()])

    def _config(self, alertmanager: str) -> dict[str, Any]:
        config: dict[str, Any] = {
            "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
            "scrape_configs": self.exporters.scrape_configs(),
        }
        if alertmanager:
            config["alerting"] = {
                "alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]
            }
        return config


def is_watched(fleet: Mapping[str, Any]) -> bool:
    """Ready, on data that are fresh."""
    return condition(fleet, "Ready") == "True" and condition(fleet, "DataFresh") == "True"
