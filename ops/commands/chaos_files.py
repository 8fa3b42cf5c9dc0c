"""Files that let midwatch watch a played fleet on a cluster whose nodes and pods are played, too.

For Prometheus, Alertmanager, operator and worker, and the objects: Nodes, Pods as kwok plays them
with the names that the metrics speak of, the ReplicaSets that adopt those, and the Fleet with the
scenario's classes.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from ops.burn_rules import FleetName, rule_file
from ops.catalogue import Catalogue
from ops.controller.made.rule_text import rule_text
from ops.controller.resources.fields import API_VERSION
from ops.openslo import SloClass
from ops.replay.adopt import GPU_RESOURCE, REGION_LABEL, AdoptedPod
from ops.replay.fleet import Fleet
from ops.replay.pods import Node, Pod
from ops.replay.scenario import Scenario

PROMETHEUS, ALERTMANAGER = "127.0.0.1:9090", "127.0.0.1:9093"
WORKER, WEBHOOK, PROBES = "127.0.0.1:8082", "127.0.0.1:9443", "127.0.0.1:8080"
PAST, PART_OF = "past.om", "app.kubernetes.io/part-of"
WINDOW_S, WINDOW = 28 * 86_400, "28d"


@dataclass(frozen=True, slots=True, kw_only=True)
class TryOut:
    """One fleet that is not there, and the folder with everything that watches it."""

    folder: Path
    scenario: Scenario
    fleet: Fleet
    namespace: str
    scrape_configs: Sequence[Mapping[str, Any]]

    def write(self) -> None:
        """Write every file; tokens are new and for the owner's eyes alone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("webhook.token", "worker.token"):
            path = self._path(name)
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32), encoding="utf-8")
        (self.folder / "bundles").mkdir(exist_ok=True)
        for name, documents in (
            ("prometheus.yml", [self._prometheus()]),
            ("rules.yml", [self._rules()]),
            ("alertmanager.yml", [self._alertmanager()]),
            ("operator.yaml", [self._operator()]),
            ("worker.yaml", [self._worker()]),
            ("cluster.yaml", self._cluster()),
            ("fleet.yaml", [self._fleet()]),
        ):
            self._path(name).write_text(rule_text(documents), encoding="utf-8")

    def commands(self) -> list[str]:
        """What to start, each in a terminal of its own, in this order."""
        folder, place = quote(str(self.folder.absolute())), quote(self.namespace)
        return [
            "midwatch operator manifests | kubectl apply -f -",
            f"kubectl apply -f {folder}/cluster.yaml",
            f"promtool tsdb create-blocks-from openmetrics {folder}/{PAST} {folder}/data",
            f"prometheus --config.file={folder}/prometheus.yml --storage.tsdb.path={folder}/data "
            f"--web.listen-address={PROMETHEUS}",
            f"{_alertmanager()} --config.file={folder}/alertmanager.yml "
            f"--storage.path={folder}/alerts --web.listen-address={ALERTMANAGER} "
            "--cluster.listen-address=",
            f"midwatch operator worker --config {folder}/worker.yaml --log text",
            f"midwatch operator run --config {folder}/operator.yaml "
            '--kubeconfig "${KUBECONFIG:-$HOME/.kube/config}" --log text',
            f"kubectl apply -f {folder}/fleet.yaml",
            f"kubectl midwatch status -n {place}",
        ]

    def _path(self, name: str) -> Path:
        return self.folder.absolute() / name

    def _prometheus(self) -> dict[str, Any]:
        every = self.scrape_configs[0]["scrape_interval"]
        return {
            "global": {"scrape_interval": every, "evaluation_interval": every},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [ALERTMANAGER]}]}]},
            "scrape_configs": list(self.scrape_configs),
        }

    def _rules(self) -> Mapping[str, Any]:
        classes = [
            SloClass(
                name=slo.name, target_ratio=slo.target_ratio, ttft_s=slo.ttft_s,
                tpot_s=slo.tpot_s, window_s=WINDOW_S,
            )
            for slo in self.scenario.slos
        ]  # fmt: skip
        fleet = FleetName(namespace=self.namespace, name=self.scenario.name)
        return rule_file(classes, Catalogue.load(), fleet)

    def _alertmanager(self) -> dict[str, Any]:
        token = {"credentials_file": str(self._path("webhook.token"))}
        hook = {
            "url": f"http://{WEBHOOK}/alerts", "send_resolved": True, "max_alerts": 500,
            "http_config": {"authorization": token},
        }  # fmt: skip
        return {
            "route": {
                "receiver": "midwatch", "group_by": ["namespace", "alertname"],
                "group_wait": "5s", "group_interval": "10s", "repeat_interval": "4h",
            },
            "receivers": [{"name": "midwatch", "webhook_configs": [hook]}],
        }  # fmt: skip

    def _operator(self) -> dict[str, Any]:
        return {
            "metricsEndpoints": {"default": {"url": f"http://{PROMETHEUS}"}},
            "worker": {"url": f"http://{WORKER}", "tokenFile": str(self._path("worker.token"))},
            "webhook": {"listen": WEBHOOK, "tokenFile": str(self._path("webhook.token"))},
            "probes": {"listen": PROBES},
            "scrapeSeconds": self.scenario.telemetry.scrape_s,
        }

    def _worker(self) -> dict[str, Any]:
        return {
            "metricsEndpoints": {"default": {"url": f"http://{PROMETHEUS}"}},
            "worker": {"listen": WORKER, "tokenFile": str(self._path("worker.token"))},
            "bundleDir": str(self._path("bundles")),
        }

    def _fleet(self) -> dict[str, Any]:
        slos = [
            {
                "name": slo.name, "target": slo.target_ratio, "ttftSeconds": slo.ttft_s,
                "tpotSeconds": slo.tpot_s, "window": WINDOW,
            }
            for slo in self.scenario.slos
        ]  # fmt: skip
        return {
            "apiVersion": API_VERSION,
            "kind": "Fleet",
            "metadata": {"name": self.scenario.name, "namespace": self.namespace},
            "spec": {
                "selector": {"matchLabels": {PART_OF: self.scenario.name}},
                "slos": slos,
            },
        }

    def _cluster(self) -> list[dict[str, Any]]:
        """Namespace, Nodes, Pods, and the ReplicaSets that adopt them.

        A ReplicaSet finds its Pods there and makes none. Without a controller none of them may be
        recommended to be replaced.
        """
        world = self.fleet.cluster
        wanted = [one for one in world.deployments.values() if one.pods]
        pods = [pod for one in wanted for pod in one.pods]
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}},
            *(_node(node) for node in world.nodes.values()),
            *(self._pod(pod) for pod in pods),
            *(self._replica_set(one.pods) for one in wanted),
        ]

    def _replica_set(self, pods: Sequence[Pod]) -> dict[str, Any]:
        """Of one service in one region; what it makes anew goes to a node of that region."""
        made = self._pod(pods[0])
        labels, containers = made["metadata"]["labels"], made["spec"]["containers"]
        where = {REGION_LABEL: pods[0].region}
        template = {
            "metadata": {"labels": dict(labels)},
            "spec": {"nodeSelector": where, "containers": containers},
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{pods[0].service}-{pods[0].region}", "namespace": self.namespace,
                "labels": dict(labels),
            },
            "spec": {
                "replicas": len(pods), "selector": {"matchLabels": labels}, "template": template,
            },
        }  # fmt: skip

    def _pod(self, pod: Pod) -> dict[str, Any]:
        container: dict[str, Any] = {"name": "main", "image": f"example.test/{pod.service}:1"}
        if pod.gpu_indices:
            container["resources"] = {"limits": {GPU_RESOURCE: str(len(pod.gpu_indices))}}
        labels = {
            "app.kubernetes.io/name": pod.service, PART_OF: self.scenario.name,
            REGION_LABEL: pod.region,
        }  # fmt: skip
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod.name, "namespace": self.namespace, "labels": labels},
            "spec": {"nodeName": pod.node, "containers": [container]},
        }


def _alertmanager() -> str:
    """The program as it is called here: Debian's package has a longer name for it."""
    names = ("alertmanager", "prometheus-alertmanager")
    return next((name for name in names if shutil.which(name)), names[0])


def _node(node: Node) -> dict[str, Any]:
    capacity = {"cpu": f"{node.cores:g}", "memory": f"{node.memory_mib:.0f}Mi", "pods": "110"}
    if node.gpus:
        capacity[GPU_RESOURCE] = str(node.gpus)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {REGION_LABEL: node.region},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def named_pods(fleet: Fleet) -> tuple[AdoptedPod, ...]:
    """The fleet's own pods as if a cluster had them: they keep their names, none is added."""
    pods = [pod for one in fleet.cluster.deployments.values() for pod in one.pods]
    return tuple(
        AdoptedPod(region=pod.region, service=pod.service, node=pod.node, name=pod.name)
        for pod in pods
    )
